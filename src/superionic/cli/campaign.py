"""The verbs of a campaign and their output: init, check, run, status, report, serve, cost, explain, schema."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from superionic.cli.cluster import show_site
from superionic.cli.options import (
    CampaignArgument,
    CrystalArgument,
    JsonOption,
    QuietOption,
    RetryFailedOption,
    RunFolderOption,
    SiteOption,
    StatedCrystal,
    UntilOption,
    grouped,
    open_campaign,
    parse_budget_h,
    read_site,
)
from superionic.cli.progress import run_progress
from superionic.cli.tables import show_sections

if TYPE_CHECKING:
    from superionic.campaign.explain import Explanation
    from superionic.campaign.plan import Plan
    from superionic.campaign.run import Campaign
    from superionic.campaign.status import Status
    from superionic.results.campaign import Results
    from superionic.results.cost import CampaignCost
    from superionic.results.learning import ValidateResult
    from superionic.transport.conductivity.of_temperature import TemperatureDependence

_SHOWN_PENDING = 12


@grouped
def init_command(
    crystal: CrystalArgument,
    stated: StatedCrystal,
    output: Annotated[Path, typer.Option("--output", "-o", help="Campaign file to write.")] = Path("campaign.yaml"),
    name: Annotated[str | None, typer.Option(help="Name of the campaign.", show_default="from the file name")] = None,
    dispersion: Annotated[
        Literal["d3bj"] | None, typer.Option(help="Dispersion added to the potential: layered crystals need it.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Wall time that it may take on this machine, e.g. 30min, 8h or 2d: orderings, labels, cells, "
            "temperatures and lengths are the most generous whose plan fits, and the file says what was given up.",
            show_default="the usual sizes",
        ),
    ] = None,
    potential: Annotated[
        str | None,
        typer.Option(
            help="Potential that ranks and teaches: ENGINE (its most accurate model), ENGINE:MODEL or ENGINE:FILE.",
            show_default="the most accurate one that is installed",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing campaign file.")] = False,
) -> None:
    """Write a commented campaign file for a crystal, in which a fast student of the potential drives the dynamics.

    With --budget it is sized for that time; if not even the smallest campaign fits, nothing is written.
    """
    from superionic.campaign.best_installed import first_potential
    from superionic.campaign.initialise import draft_campaign
    from superionic.errors import CampaignFileError

    if output.exists() and not force:
        raise CampaignFileError(
            "the file already exists", where=str(output), fix="choose another --output, or add --force"
        )
    chosen = first_potential(potential)
    text = draft_campaign(
        crystal,
        stated.options(),
        name=name,
        folder=output.resolve().parent,
        dispersion=dispersion,
        budget_h=parse_budget_h(budget),
        potential=potential,
    )
    _write(output, text)
    sized = "" if budget is None else f", sized for {budget}: its first lines say what was given up"
    typer.echo(f"potential: {chosen.name}, {chosen.reason}")
    typer.echo(f"wrote {output}{sized}; read it, then: superionic check {output}")


def check_command(
    campaign: CampaignArgument, run_folder: RunFolderOption = None, site: SiteOption = None, as_json: JsonOption = False
) -> None:
    """Validate a campaign and print its plan: stages, counts, estimated hours, files. Nothing is computed."""
    opened, cluster = open_campaign(campaign, run_folder), read_site(site)
    plan = opened.check()
    if as_json:
        typer.echo(json.dumps(plan.to_dict(), indent=1))
        return
    show_plan(opened.file.name, plan)
    if cluster is not None:
        show_site(*opened.fit_site(cluster), plan)


def run_command(
    campaign: CampaignArgument,
    until: UntilOption = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.", show_default="one per core")] = None,
    retry_failed: RetryFailedOption = False,
    run_folder: RunFolderOption = None,
    site: SiteOption = None,
    install_engines: Annotated[
        bool, typer.Option("--install-engines", help="First install the engines that the campaign needs and lacks.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Do everything that is not yet done, then write the report.

    Finished work is never repeated, whatever stopped the run; after a change of settings only what depends on the
    change is computed again.
    """
    from superionic.execution.interrupts import warn_of_ignored_interrupts

    opened, cluster = open_campaign(campaign, run_folder), read_site(site)
    if (warning := warn_of_ignored_interrupts()) is not None:
        typer.echo(warning, err=True)
    with run_progress(quiet=quiet) as reporter:
        results = opened.run(
            until=until,
            reporter=reporter,
            workers=workers,
            site=cluster,
            retry_failed=retry_failed,
            install_engines=install_engines,
            say=lambda line: typer.echo(line, err=True),
        )
    _show_results(opened, results)


def status_command(
    campaign: CampaignArgument,
    run_folder: RunFolderOption = None,
    all_tasks: Annotated[bool, typer.Option("--all", help="List every pending task.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until everything is done.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.1, help="With --watch: seconds between refreshes.")] = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Show what is done, what failed, what a run would do and why; its speed, its cost so far and the time left."""
    opened = open_campaign(campaign, run_folder)
    while True:
        state = opened.status()
        if as_json:
            typer.echo(json.dumps(state.to_dict(), indent=None if watch else 1))
        else:
            _show_status(opened, state, all_tasks=all_tasks, clear=watch)
        if not watch or state.is_done or state.trouble is not None or getattr(sys.stdout, "error", None) is not None:
            return
        time.sleep(every_s)


def report_command(
    campaign: CampaignArgument,
    run_folder: RunFolderOption = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Folder to write.", show_default="report in the run folder")
    ] = None,
) -> None:
    """Write the report (HTML, JSON, CSV, figures, structures) from the results so far."""
    typer.echo(str(open_campaign(campaign, run_folder).report(folder)))


def serve_command(
    campaign: CampaignArgument,
    run_folder: RunFolderOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port.", show_default="a free one")] = 0,
    every_s: Annotated[float, typer.Option("--every", min=0.5, help="Seconds between looks at the campaign.")] = 3.0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the default browser.")] = False,
) -> None:
    """Show a campaign as a live page: stages, speed, cost, time left, failures, and the report as results come.

    The page is on this machine only, behind the token in the address that is printed, and changes nothing. It shows
    runs of this or any other machine that use the same run folder. From another machine: ssh -L PORT:127.0.0.1:PORT.
    """

    def announce(address: str) -> None:
        typer.echo(address)
        typer.echo("open this address in a browser of this machine; Ctrl-C ends the page, not the campaign", err=True)
        if open_browser:
            import webbrowser

            webbrowser.open(address)

    open_campaign(campaign, run_folder).serve(port=port, every_s=every_s, announce=announce)


def cost_command(
    campaign: CampaignArgument,
    run_folder: RunFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a campaign cost: time by stage, s per atom and ps by potential, a label against a step, energy.

    The ratio of a label to a step is that of ab initio molecular dynamics with the settings of the labels to the
    potential; what it assumes is printed with it. [b]superionic report[/b] writes the same as a page, as JSON and as
    CSV, into the folder cost beside the report.
    """
    cost = open_campaign(campaign, run_folder).cost()
    if as_json:
        from superionic.report.cost_page import FORMAT
        from superionic.results.document import to_json

        typer.echo(to_json(cost, kind=FORMAT), nl=False)
    else:
        _show_cost(cost)


def explain_command(
    campaign: CampaignArgument,
    what: Annotated[
        str, typer.Argument(help="Key of a task (its first characters are enough), or words of its label.")
    ],
    run_folder: RunFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a number comes from: settings, inputs, versions, cost and files of a task."""
    explanation = open_campaign(campaign, run_folder).explain(what)
    if as_json:
        typer.echo(json.dumps(explanation.to_dict(), indent=1))
    else:
        _show_explanation(explanation)


def schema_command(
    results: Annotated[bool, typer.Option("--results", help="Print the schema of results.json instead.")] = False,
) -> None:
    """Print the JSON schema of the campaign file (for editors), or that of results.json."""
    from superionic.campaign.file import schema as campaign_file
    from superionic.results import document

    typer.echo(json.dumps(document.json_schema() if results else campaign_file.json_schema(), indent=1))


def _write(path: Path, text: str) -> None:
    from superionic.errors import storage_error

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise storage_error(error, where=path, doing="write the file") from error


def show_plan(name: str, plan: Plan) -> None:
    """Print the plan of the campaign of this name."""
    console = Console()
    console.print(f"[bold]{escape(name)}[/]: the campaign file is valid")
    for crystal, notes in plan.notes.items():
        for note in notes:
            console.print(f"[yellow]note:[/] {escape(crystal)}: {escape(note)}", highlight=False)
    spaces = Table("crystal", "composition", "formula", "atoms", "raw orderings", "distinct", "off refinement")
    for space in plan.spaces:
        spaces.add_row(
            space.cell.material.crystal,
            space.cell.material.composition_label or "–",
            space.formula,
            str(space.n_atoms),
            _big(space.raw),
            _big(space.distinct),
            f"{space.deviation:.3f}",
        )
    console.print(spaces)
    for space in plan.spaces:
        for caution in space.cautions:
            console.print(f"[yellow]caution:[/] {escape(f'{space.cell.id}: {caution}')}", highlight=False)
    stages = Table("stage", "work", "CPU time", "spent", "basis", "files")
    for line in plan.lines:
        spent = _hours(line.spent_cpu_hours) if line.spent_cpu_hours > 0.0 else ""
        costs = _hours(line.cpu_hours), spent, line.basis
        stages.add_row(line.stage, line.work, *costs, f"{line.megabytes:.1f} MB")
    console.print(stages)
    engines = ", ".join(f"{engine} ({kind})" for engine, kind in plan.engines.items()) or "none needed"
    console.print(f"engines: {engines}")
    for potential, caution in plan.cautions.items():
        console.print(f"[yellow]caution:[/] {escape(f'potential {potential}: {caution}')}.", highlight=False)
    spent = f", of which {_hours(plan.spent_cpu_hours)} already spent" if plan.spent_cpu_hours > 0.0 else ""
    wait = f"{_hours(plan.wall_hours)}{' more' if spent else ''} with {plan.workers} workers"
    console.print(f"estimated: {_hours(plan.cpu_hours)} of CPU time{spent}; {wait}")
    if plan.chained:
        named = ", ".join(plan.chained)
        console.print(f"more workers do not shorten {named}: runs and trainings there go step by step")
    console.print(f"files go to {plan.run_folder}", soft_wrap=True, highlight=False)


def _validation_line(result: ValidateResult) -> str:
    errors = result.errors
    sides = [side for side in (errors.before, errors.after) if side is not None]
    force = " → ".join(f"{side.mae_force_meV_per_A:.0f}" for side in sides)
    slopes = [side.force_slope for side in sides if side.force_slope is not None]
    slope = f", force slope {' → '.join(f'{each:.2f}' for each in slopes)}" if len(slopes) == len(sides) else ""
    if errors.before is None:
        return f"{result.potential}: force MAE {force} meV/Å{slope} on {errors.n_structures} labels"
    return f"fine-tuning: force MAE {force} meV/Å{slope} on {errors.n_structures} unseen structures"


def _show_results(campaign: Campaign, results: Results) -> None:
    """Print the main results of a run."""
    from superionic.results.identity import Ordering

    console = Console(soft_wrap=True)
    for hull in results.hull[-1:]:
        lowest: dict[str, tuple[Ordering, float]] = {}
        for entry in sorted(hull.entries, key=lambda entry: entry.e_above_hull_eV_per_atom):
            if isinstance(entry.identity, Ordering):
                lowest.setdefault(entry.formula, (entry.identity, 1000 * entry.e_above_hull_eV_per_atom))
        for formula, (ordering, above) in lowest.items():
            crystal = ordering.material.crystal
            console.print(f"{formula} ({crystal}): {above:.1f} meV/atom above the hull", highlight=False)
    if results.validate is not None:
        console.print(_validation_line(results.validate), highlight=False)
    for material in results.analyse.arrhenius if results.analyse is not None else ():
        _show_dependence(console, material.material.label, material.dependence)
    for statement in results.statements:
        if statement.severity != "info":
            console.print(f"{statement.severity}: {statement.words}", style="yellow", highlight=False)
    console.print(f"report: {campaign.report_folder / 'report.html'}", highlight=False)


def _show_dependence(console: Console, name: str, dependence: TemperatureDependence) -> None:
    """Print the activation energy and σ at the report temperatures, where the data support them."""
    error = "" if dependence.Ea_error_eV is None else f" ± {dependence.Ea_error_eV:.2f}"
    Ea = "" if dependence.Ea_eV is None else f" Ea = {dependence.Ea_eV:.2f}{error} eV"
    console.print(f"{name}:{Ea}", highlight=False)
    for flag in dependence.flags:
        console.print(f"  {flag}", style="yellow", highlight=False)
    for temperature in dependence.report_temperatures_K:
        point = dependence.conductivity_at(temperature)
        if point is None and dependence.no_line_reason:
            continue  # among the flags
        if point is None:
            verdict = dependence.verdict_at(temperature).words
            console.print(f"  no σ({temperature:g} K): {verdict}", style="yellow", highlight=False)
            continue
        low, high = point.interval68_S_per_cm
        how = ", extrapolated" if point.extrapolated else ""
        console.print(
            f"  σ({temperature:g} K) = {1000 * point.value_S_per_cm:.3g} mS/cm "
            f"(68 %: {1000 * low:.2g} to {1000 * high:.2g}{how})",
            highlight=False,
        )


def _show_status(campaign: Campaign, status: Status, *, all_tasks: bool, clear: bool = False) -> None:
    """Print the state of a campaign; with ``clear``, empty the screen first, if it is a terminal."""
    console = Console(soft_wrap=True)
    if clear:
        console.clear()
    on_gpus = any(stage.gpu_s for stage in status.stages)
    gpu_column = ["GPU time"] if on_gpus else []
    table = Table("stage", "state", "done", "failed", "to do", "tasks/h", "CPU time", *gpu_column, "left")
    for stage in status.stages:
        to_do = "?" if stage.state == "waiting" else str(stage.pending)
        speed = "" if stage.tasks_per_h is None else _big(round(stage.tasks_per_h))
        left = "" if stage.left_s is None or not stage.pending else f"about {_hours(stage.left_s / 3600)}"
        costs = [_hours(stage.cpu_s / 3600), *([_hours(stage.gpu_s / 3600)] if on_gpus else [])]
        table.add_row(stage.stage, stage.state, str(stage.done), str(stage.failed), to_do, speed, *costs, left)
    console.print(table)
    for line in _progress_in_words(status):
        console.print(line, highlight=False, markup=False)
    for where, label, reason in status.failures:
        console.print(f"failed: {where}: {label}: {reason}", style="yellow", highlight=False, markup=False)
    shown = status.pending if all_tasks else status.pending[:_SHOWN_PENDING]
    for task in shown:
        console.print(f"to do: {task.stage}: {task.label} ({task.reason})", highlight=False, markup=False)
    if len(shown) < len(status.pending):
        console.print(f"… and {len(status.pending) - len(shown)} more (--all lists them)")
    if status.trouble is not None:
        console.print(f"a run cannot continue: {status.trouble}", style="red", highlight=False, markup=False)
    if status.is_done:
        console.print(f"all done; report: {campaign.report_folder / 'report.html'}", highlight=False)


def _show_cost(cost: CampaignCost) -> None:
    """Print the tables of the page of costs."""
    from superionic.report.cost_page import cost_sections

    console = Console(soft_wrap=True)
    show_sections(console, cost_sections(cost))
    known = f"{cost.energy_Wh:.3g} Wh" if cost.energy_Wh is not None else f"not known: {cost.energy_absent}"
    console.print(f"energy: {known}", highlight=False, markup=False)


def _progress_in_words(status: Status) -> Iterator[str]:
    spent, on_gpus = sum(stage.cpu_s for stage in status.stages), sum(stage.gpu_s for stage in status.stages)
    gpus = f" and {_hours(on_gpus / 3600)} of GPU time" if on_gpus else ""
    yield f"cost so far: {_hours(spent / 3600)} of CPU time{gpus}"
    if status.is_done:
        return
    if status.owner is None:
        yield "no run is in progress"
    else:
        running = sum(stage.running for stage in status.stages)
        yield f"a run is in progress on {status.owner.host} (process {status.owner.pid}): {running} tasks running"
    stage = next((stage for stage in status.stages if stage.state == "pending"), None)
    if stage is None or stage.left_s is None:
        return
    line = f"estimated from the tasks so far: {stage.stage} needs about {_hours(stage.left_s / 3600)} more"
    if status.owner is not None:
        end = datetime.now().astimezone() + timedelta(seconds=stage.left_s)
        line += f", until {end:%a %d %b %H:%M}"
    waiting = [each.stage for each in status.stages if each.state == "waiting"]
    yield line + (f"; not counting {', '.join(waiting)}" if waiting else "")


def _show_explanation(explanation: Explanation) -> None:
    """Print the provenance of a task."""
    console = Console(soft_wrap=True)
    if explanation.record is None:
        console.print("several tasks match; give the key of one:")
        for record in explanation.matches:
            console.print(
                f"  {record.key[:12]}  {record.stage}: {record.label} ({record.state})", markup=False, highlight=False
            )
        return
    record = explanation.record
    console.print(f"[bold]{escape(record.stage)}: {escape(record.label)}[/] ({record.state})")
    lines = [f"key       {record.key}"]
    descriptor = explanation.descriptor
    if descriptor is not None:
        lines += [f"function  {descriptor.function} (version {descriptor.version})", f"engine    {descriptor.engine}"]
    if record.cpu_s is not None:
        lines.append(
            f"cost      {record.cpu_s:.1f} s CPU, {record.wall_s or 0:.1f} s wall, {record.peak_MB or 0:.0f} MB"
        )
    if descriptor is not None:
        lines += [f"setting   {name} = {_short(value)}" for name, value in descriptor.settings.items()]
    for name, references in explanation.inputs.items():
        lines += [f"input     {name} ← {key[:12]}  {label}" for key, label in references[:_SHOWN_PENDING]]
        if len(references) > _SHOWN_PENDING:
            lines.append(f"input     {name} ← … {len(references) - _SHOWN_PENDING} more")
    if (file := explanation.file) is not None:
        lines.append(f"file      {file.path}  {file.size_bytes} bytes: {', '.join(file.members)}")
        lines.append(f"sha256    {file.sha256} (of all but the last 64 bytes, which hold it)")
    if record.error:
        lines.append(f"error     {record.error}")
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _short(value: Any) -> str:
    text = str(value).replace("\n", "⏎")
    return text if len(text) <= 160 else f"{text[:157]}…"


def _big(count: int) -> str:
    return f"{count:,}".replace(",", " ") if count < 10**9 else f"{count:.3e}"


def _hours(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    if hours < 2:
        return f"{hours * 60:.0f} min"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.command("init")(init_command)
    app.command("check")(check_command)
    app.command("run")(run_command)
    app.command("status")(status_command)
    app.command("report")(report_command)
    app.command("serve")(serve_command)
    app.command("cost")(cost_command)
    app.command("explain")(explain_command)
    app.command("schema")(schema_command)
