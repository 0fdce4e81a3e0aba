"""What the command line shows: tables and progress bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from superionic.results.identity import Ordering

if TYPE_CHECKING:
    from superionic.campaign.explain import Explanation
    from superionic.campaign.plan import Plan
    from superionic.campaign.run import Campaign
    from superionic.campaign.status import Status
    from superionic.execution.engines import EngineStatus
    from superionic.execution.reporting import Reporter
    from superionic.execution.task import Task
    from superionic.results.campaign import Results
    from superionic.transport.conductivity_of_temperature import TemperatureDependence

_SHOWN_PENDING = 12
_LOG_EVERY_S = 30.0


@contextmanager
def progress(*, quiet: bool) -> Iterator[Reporter | None]:
    """Provide a reporter: bars on a terminal, a line now and then elsewhere, none when quiet."""
    console = Console(stderr=True)
    if quiet:
        yield None
    elif console.is_terminal:
        columns = (
            TextColumn("[bold]{task.description:<11}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
        )
        bars = Progress(*columns, console=console)
        with suppress(Exception):  # a display that fails is no reason to stop: the bars are then not drawn
            bars.start()
        try:
            yield _Bars(bars)
        finally:
            with suppress(Exception):
                bars.stop()
    else:
        yield _Lines(console)


@contextmanager
def listing_progress(*, quiet: bool) -> Iterator[Callable[[str, int], None] | None]:
    """Provide a callback that shows how many orderings a listing has met; None when quiet or not on a terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    with console.status("reading the crystal") as status:
        yield lambda label, met: status.update(f"{label} {met:,} orderings looked at".strip())


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._ids: dict[str, TaskID] = {}
        self._totals: dict[str, list[int]] = {}
        self._seen: dict[str, set[str]] = {}

    def stage_began(self, stage: str, total: int, already_done: int) -> None:
        if stage not in self._ids:
            self._ids[stage] = self._bars.add_task(stage, total=0, now="")
            self._totals[stage] = [0, 0]
        known = self._totals[stage]
        known[0], known[1] = max(known[0], known[1] - already_done + total), max(known[1], already_done)
        self._bars.update(self._ids[stage], total=known[0], completed=known[1])

    def task_ended(self, task: Task[Any], state: str, cost: Mapping[str, float]) -> None:
        del cost
        if task.stage in self._ids:
            self._totals[task.stage][1] += 1
            self._bars.advance(self._ids[task.stage])
        if state != "done":
            self._bars.console.print(f"[yellow]{state}[/]: {escape(task.label)}")

    def running(self, states: Sequence[tuple[Task[Any], float, str]]) -> None:
        now: dict[str, list[str]] = {}
        for task, fraction, message in states:
            now.setdefault(task.stage, []).append(f"{task.label} {fraction:.0%} {message}".strip())
        for stage, bar in self._ids.items():
            self._bars.update(bar, now=escape(" | ".join(now.get(stage, []))[:100]))


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()
        self._done = 0

    def stage_began(self, stage: str, total: int, already_done: int) -> None:
        if already_done < total:
            self._console.print(f"{stage}: {total - already_done} of {total} tasks to do", highlight=False)

    def task_ended(self, task: Task[Any], state: str, cost: Mapping[str, float]) -> None:
        self._done += 1
        now = time.monotonic()
        if state != "done" or now - self._last > _LOG_EVERY_S or cost.get("wall_s", 0.0) > _LOG_EVERY_S / 3:
            self._last = now
            self._console.print(
                f"  {task.stage}: {escape(task.label)} {state} ({cost.get('wall_s', 0.0):.1f} s)", highlight=False
            )

    def running(self, states: Sequence[tuple[Task[Any], float, str]]) -> None:
        now = time.monotonic()
        if states and now - self._last > _LOG_EVERY_S:
            self._last = now
            text = " | ".join(f"{task.label} {fraction:.0%} {message}".strip() for task, fraction, message in states)
            self._console.print(f"  … {escape(text)}", highlight=False)


def show_plan(campaign: Campaign, plan: Plan) -> None:
    """Print the plan of a campaign."""
    console = Console()
    console.print(f"[bold]{escape(campaign.file.name)}[/]: the campaign file is valid")
    for name, notes in plan.notes.items():
        for note in notes:
            console.print(f"[yellow]note:[/] {escape(name)}: {escape(note)}", highlight=False)
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
    engines = ", ".join(f"{name} ({kind})" for name, kind in plan.engines.items()) or "none needed"
    console.print(f"engines: {engines}")
    spent = f", of which {_hours(plan.spent_cpu_hours)} are spent" if plan.spent_cpu_hours > 0.0 else ""
    wait = f"{_hours(plan.wall_hours)}{' more' if spent else ''} with {plan.workers} workers"
    console.print(f"estimated: {_hours(plan.cpu_hours)} of CPU time{spent}; {wait}")
    console.print(f"files go to {plan.run_folder}", soft_wrap=True, highlight=False)


def show_results(campaign: Campaign, results: Results) -> None:
    """Print the main results of a run."""
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
        errors = results.validate.errors
        slopes = errors.before.force_slope, errors.after.force_slope
        slope = "" if slopes[0] is None or slopes[1] is None else f", force slope {slopes[0]:.2f} → {slopes[1]:.2f}"
        console.print(
            f"fine-tuning: force MAE {errors.before.mae_force_meV_per_A:.0f} → "
            f"{errors.after.mae_force_meV_per_A:.0f} meV/Å{slope} on {errors.n_structures} unseen structures",
            highlight=False,
        )
    for material in results.analyse.arrhenius if results.analyse is not None else ():
        _show_dependence(console, material.material.label, material.dependence)
    for statement in results.statements:
        if statement.severity != "info":
            console.print(f"{statement.severity}: {statement.words}", style="yellow", highlight=False)
    console.print(f"report: {campaign.report_folder / 'report.html'}", highlight=False)


def _show_dependence(console: Console, name: str, dependence: TemperatureDependence) -> None:
    """Print the activation energy and σ at the report temperatures, as far as they may be given."""
    if dependence.Ea_eV is not None:
        error = "" if dependence.Ea_error_eV is None else f" ± {dependence.Ea_error_eV:.2f}"
        console.print(f"{name}: Ea = {dependence.Ea_eV:.2f}{error} eV", highlight=False)
    for flag in dependence.flags:
        console.print(f"  {flag}", style="yellow", highlight=False)
    for temperature in dependence.report_temperatures_K:
        point = dependence.conductivity_at(temperature)
        if point is None:
            words = dependence.verdict_at(temperature).words
            console.print(f"  no σ({temperature:g} K): {words}", style="yellow", highlight=False)
            continue
        low, high = point.interval68_S_per_cm
        how = ", extrapolated" if point.extrapolated else ""
        console.print(
            f"  σ({temperature:g} K) = {1000 * point.value_S_per_cm:.3g} mS/cm "
            f"(68 %: {1000 * low:.2g} to {1000 * high:.2g}{how})",
            highlight=False,
        )


def show_status(campaign: Campaign, status: Status, *, all_tasks: bool, clear: bool = False) -> None:
    """Print the state of a campaign; with ``clear`` on an empty screen, if it is a terminal."""
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
        console.print(f"a run cannot go on: {status.trouble}", style="red", highlight=False, markup=False)
    if status.is_done:
        console.print(f"all done; report: {campaign.report_folder / 'report.html'}", highlight=False)


def _progress_in_words(status: Status) -> Iterator[str]:
    spent, on_gpus = sum(stage.cpu_s for stage in status.stages), sum(stage.gpu_s for stage in status.stages)
    gpus = f" and {_hours(on_gpus / 3600)} of GPU time" if on_gpus else ""
    yield f"cost so far: {_hours(spent / 3600)} of CPU time{gpus}"
    if status.is_done:
        return
    if status.owner is None:
        yield "no run is at work here"
    else:
        running = sum(stage.running for stage in status.stages)
        yield f"a run is at work on {status.owner.host} (process {status.owner.pid}): {running} tasks under way"
    stage = next((stage for stage in status.stages if stage.state == "pending"), None)
    if stage is None or stage.left_s is None:
        return
    line = f"estimated from what tasks took so far: {stage.stage} needs about {_hours(stage.left_s / 3600)} more"
    if status.owner is not None:
        end = datetime.now().astimezone() + timedelta(seconds=stage.left_s)
        line += f", until {end:%a %d %b %H:%M}"
    later = [later.stage for later in status.stages if later.state == "waiting"]
    yield line + (f"; not counting {', '.join(later)}" if later else "")


def show_explanation(found: Explanation) -> None:
    """Print the provenance of a task."""
    console = Console(soft_wrap=True)
    if found.record is None:
        console.print("several tasks match; name one by its key:")
        for record in found.matches:
            console.print(
                f"  {record.key[:12]}  {record.stage}: {record.label} ({record.state})", markup=False, highlight=False
            )
        return
    record = found.record
    console.print(f"[bold]{escape(record.stage)}: {escape(record.label)}[/] ({record.state})")
    lines = [f"key       {record.key}"]
    if found.descriptor:
        lines.append(f"function  {found.descriptor['function']} (version {found.descriptor['version']})")
        lines.append(f"engine    {found.descriptor['engine']}")
    if record.cpu_s is not None:
        lines.append(
            f"cost      {record.cpu_s:.1f} s CPU, {record.wall_s or 0:.1f} s wall, {record.peak_MB or 0:.0f} MB"
        )
    lines += [f"setting   {name} = {_short(value)}" for name, value in found.descriptor.get("settings", {}).items()]
    for name, references in found.inputs.items():
        lines += [f"input     {name} ← {key[:12]}  {label}" for key, label in references[:_SHOWN_PENDING]]
        if len(references) > _SHOWN_PENDING:
            lines.append(f"input     {name} ← … {len(references) - _SHOWN_PENDING} more")
    if found.file is not None:
        lines.append(f"file      {found.file.path}  {found.file.size_bytes} bytes: {', '.join(found.file.members)}")
        lines.append(f"sha256    {found.file.sha256} (of all but the last 64 bytes, which repeat it)")
    if record.error:
        lines.append(f"error     {record.error}")
    for line in lines:
        console.print(line, markup=False, highlight=False)


def show_engines(engines: Sequence[EngineStatus]) -> None:
    """Print the engines."""
    table = Table("engine", "version", "state", "licence", "for")
    for engine in engines:
        table.add_row(engine.name, engine.requirement, engine.state, engine.licence, engine.purpose)
    Console().print(table)


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
