"""The verb try: a first look at a crystal, and a screening of its conductivity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from superionic.cli.options import CrystalArgument, JsonOption, QuietOption, StatedCrystal, grouped
from superionic.cli.progress import run_progress
from superionic.shown import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from superionic.campaign.trial import Trial, TrialPlan
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
        typer.Option(
            help="Potential of the first look: nep89, ENGINE (its most accurate model), ENGINE:MODEL or ENGINE:FILE."
        ),
    ] = "nep89",
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Potential that labels for the student: ENGINE (its most accurate model), ENGINE:MODEL or "
            "ENGINE:FILE.",
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
    from superionic.campaign.trial import Trial

    trial = Trial(crystal, folder=folder, potential=potential, teacher=teacher, options=stated.options())
    if plan:
        _show_plan(trial.plan(quick=quick), as_json=as_json)
    else:
        _run(trial, quick=quick, workers=workers, quiet=quiet, as_json=as_json)


def _show_plan(plan: TrialPlan, *, as_json: bool) -> None:
    from superionic.cli.campaign import show_plan

    if as_json:
        typer.echo(json.dumps(plan.to_dict(), indent=1))
        return
    for name, half in (("first look", plan.first_look), ("screening", plan.screening)):
        if half is not None:
            show_plan(name, half)
    _show_cautions(Console(soft_wrap=True), plan.cautions)


def _run(trial: Trial, *, quick: bool, workers: int | None, quiet: bool, as_json: bool) -> None:
    """Run a trial; the first look is shown as soon as it is taken."""
    from superionic.campaign.trial import TrialResult
    from superionic.results.document import to_json

    console = Console(soft_wrap=True)
    with run_progress(quiet=quiet or as_json) as reporter:
        look = trial.take_look(quick=quick, reporter=reporter, workers=workers)
    if look is not None and not as_json:
        _show_look(console, look)
    if quick:
        tried = TrialResult(look, None, "only a first look was asked for")
    else:
        with run_progress(quiet=quiet or as_json) as reporter:
            tried = trial.screen(look, reporter=reporter, workers=workers)
    if as_json:
        typer.echo(to_json(tried, kind="superionic trial"), nl=False)
    elif tried.screening is not None:
        _show_screening(console, tried.screening, () if look is None else look.cautions)
    else:
        console.print(f"{escape(tried.ended)}; for more, write a campaign: superionic init CRYSTAL", highlight=False)


def _show_look(console: Console, look: FirstLook) -> None:
    _show_runs(console, look.temperatures, look.mobile_ion)
    _show_cautions(console, look.cautions)
    console.print(f"[bold]{look.words}[/]: {escape(look.reason)}", highlight=False)
    console.print(f"by {look.potential}, {look.n_atoms} atoms in the refined cell ({look.campaign})", highlight=False)


def _show_cautions(console: Console, cautions: Iterable[str]) -> None:
    for caution in cautions:
        console.print(f"caution: {escape(caution)}", style="yellow", highlight=False)


def _show_screening(console: Console, seen: Screening, shown: Sequence[str]) -> None:
    """Show a screening; cautions that were shown with the first look are not repeated."""
    _show_runs(console, seen.temperatures, seen.mobile_ion)
    _show_cautions(console, (caution for caution in seen.cautions if caution not in shown))
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
    if not runs:
        return
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
