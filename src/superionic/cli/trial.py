"""The verb try: a first look at a crystal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from superionic.cli.options import CrystalArgument, JsonOption, QuietOption, StatedCrystal, grouped
from superionic.cli.progress import run_progress
from superionic.shown import number_text

if TYPE_CHECKING:
    from superionic.campaign.trial import FirstLook, TrialTemperature
    from superionic.transport.estimate import Estimate


@grouped
def try_command(
    stated: StatedCrystal,
    crystal: CrystalArgument,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be run and what it costs, by timing some steps; run nothing.")
    ] = False,
    potential: Annotated[
        str, typer.Option(help="Potential that runs it: nep89, or an engine with its usual model, such as chgnet.")
    ] = "nep89",
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where the campaign and its runs go.", show_default="try-NAME")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.", show_default="one per core")] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look, in about a minute, whether and how a crystal conducts: hot runs by a fast potential in the refined cell.

    It tells conductors from insulators, along which axes ions move, and whether the framework holds. It gives no
    conductivity at room temperature: for that, write a campaign (superionic init).
    """
    from superionic.campaign.trial import Trial, named_potential
    from superionic.cli.campaign import show_plan
    from superionic.results.document import to_json

    trial = Trial(crystal, folder=folder, potential=named_potential(potential), options=stated.options())
    if plan:
        made = trial.plan()
        if as_json:
            typer.echo(json.dumps(made.to_dict(), indent=1))
        else:
            show_plan(trial.campaign(), made)
        return
    with run_progress(quiet=quiet or as_json) as reporter:
        look = trial.run(reporter=reporter, workers=workers)
    if as_json:
        typer.echo(to_json(look, kind="superionic first look"), nl=False)
    else:
        _show(look)


def _show(look: FirstLook) -> None:
    console = Console(soft_wrap=True)
    table = Table("T (K)", "length (ps)", "D* (cm²/s)", f"hops per {look.mobile_ion}", "framework", "paths")
    for each in look.temperatures:
        table.add_row(
            f"{each.temperature_K:g}",
            f"{each.length_ps:g}",
            _diffusivity(each.diffusivity_cm2_per_s),
            f"{each.hops_per_ion:.2f}",
            "holds" if each.framework_holds else "leaves its sites",
            _paths(each),
        )
    console.print(table)
    for caution in look.cautions:
        console.print(f"caution: {caution}", style="yellow", highlight=False)
    console.print(f"[bold]{look.formula} {look.verdict}[/]: {look.reason}", highlight=False)
    console.print(f"by {look.potential}, {look.n_atoms} atoms in the refined cell; no σ at room temperature follows")
    console.print(f"go on from {look.campaign}, or write a campaign: superionic init CRYSTAL", highlight=False)


def _diffusivity(estimate: Estimate) -> str:
    if estimate.is_upper_bound:
        return f"< {estimate.interval95[1]:.1e}"
    return number_text(estimate.value, estimate.error)


def _paths(each: TrialTemperature) -> str:
    if each.dimension is None or each.axes is None:
        return "?"
    return f"{each.dimension}D ({', '.join(each.axes)})" if each.dimension else "none without end"


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("try")(try_command)
