"""The verb try: a first look at a crystal, and a screening of its conductivity."""

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
    from collections.abc import Sequence

    from superionic.campaign.trial import TrialResult
    from superionic.campaign.trial.first_look import FirstLook, TrialTemperature
    from superionic.campaign.trial.screening import Screening
    from superionic.transport.estimate import Estimate


@grouped
def try_command(
    stated: StatedCrystal,
    crystal: CrystalArgument,
    quick: Annotated[bool, typer.Option("--quick", help="Take the first look alone, in about a minute.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be run and what it costs, by timing some steps; run nothing.")
    ] = False,
    potential: Annotated[
        str,
        typer.Option(help="Potential of the first look: nep89, or an engine with its usual model, such as chgnet."),
    ] = "nep89",
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Potential that labels for the student: ENGINE or ENGINE:MODEL.",
            show_default="the most accurate that is installed",
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where the campaigns and their runs go.", show_default="try-NAME")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.", show_default="one per core")] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether and how a crystal conducts and, to about a decade, how well.

    The first look takes about a minute: hot runs by a fast potential in the refined cell tell conductors from
    insulators, along which axes ions move, and whether the framework holds. If ions move, a student of the most
    accurate potential at hand gives σ(T), the activation energy and σ(300 K), in some ten minutes on two cores. That is
    a screening: its intervals include what such numbers were worth on measured crystals or, before enough were tried,
    a stated assumption.
    """
    from superionic.campaign.trial import Trial, named_potential, named_teacher
    from superionic.cli.campaign import show_plan
    from superionic.results.document import to_json

    trial = Trial(
        crystal,
        folder=folder,
        potential=named_potential(potential),
        teacher=None if teacher is None else named_teacher(teacher),
        options=stated.options(),
    )
    if plan:
        made = trial.plan(quick=quick)
        if as_json:
            typer.echo(json.dumps(made.to_dict(), indent=1))
        else:
            for name, half in (("first look", made.first_look), ("screening", made.screening)):
                if half is not None:
                    show_plan(name, half)
        return
    with run_progress(quiet=quiet or as_json) as reporter:
        tried = trial.run(quick=quick, reporter=reporter, workers=workers)
    if as_json:
        typer.echo(to_json(tried, kind="superionic trial"), nl=False)
    else:
        _show(tried)


def _show(tried: TrialResult) -> None:
    console = Console(soft_wrap=True)
    if tried.first_look is not None:
        _show_look(console, tried.first_look)
    if tried.screening is not None:
        _show_screening(console, tried.screening)
    else:
        console.print(f"{tried.ended}; for more, write a campaign: superionic init CRYSTAL", highlight=False)


def _show_look(console: Console, look: FirstLook) -> None:
    _show_runs(console, look.temperatures, look.mobile_ion)
    for caution in look.cautions:
        console.print(f"caution: {caution}", style="yellow", highlight=False)
    console.print(f"[bold]{look.formula} {look.verdict}[/]: {look.reason}", highlight=False)
    console.print(f"by {look.potential}, {look.n_atoms} atoms in the refined cell ({look.campaign})", highlight=False)


def _show_screening(console: Console, seen: Screening) -> None:
    _show_runs(console, seen.temperatures, seen.mobile_ion)
    for caution in seen.cautions:
        console.print(f"caution: {caution}", style="yellow", highlight=False)
    if seen.conductivity is None:
        console.print(f"[bold]no σ(300 K)[/]: {seen.reason}", highlight=False)
    else:
        from superionic.report.sigma import SigmaUnit, sigma_words

        at = seen.conductivity
        unit = SigmaUnit.of([at])
        within = f"68 %: {unit.ends(at.interval68_S_per_cm)}, 95 %: {unit.ends(at.interval95_S_per_cm)} {unit.name}"
        console.print(f"[bold]screening: {sigma_words(at)}[/], {within}", highlight=False)
    if seen.Ea_eV is not None:
        console.print(f"Ea = {number_text(seen.Ea_eV, seen.Ea_error_eV)} eV", highlight=False)
    console.print(seen.model_error.words, highlight=False)
    console.print(
        f"by a student of {seen.teacher} ({seen.n_labels} labels), {seen.n_atoms} atoms in the refined cell",
        highlight=False,
    )
    console.print("what would make it better:", highlight=False)
    for improvement in seen.improvements:
        console.print(f"  {improvement}", highlight=False)
    console.print(f"go on from {seen.campaign}; its report: superionic report {seen.campaign}", highlight=False)


def _show_runs(console: Console, runs: Sequence[TrialTemperature], mobile_ion: str) -> None:
    table = Table("T (K)", "length (ps)", "D* (cm²/s)", f"hops per {mobile_ion}", "framework", "paths")
    for each in runs:
        table.add_row(
            f"{each.temperature_K:g}",
            f"{each.length_ps:g}",
            _diffusivity(each.diffusivity_cm2_per_s),
            f"{each.hops_per_ion:.2f}",
            "holds" if each.framework_holds else "leaves its sites",
            _paths(each),
        )
    console.print(table)


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
