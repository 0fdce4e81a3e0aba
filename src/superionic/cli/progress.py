"""The progress of a verb on standard error: bars and lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from superionic.execution.reporting import Reporter
    from superionic.execution.task import Task

_LOG_EVERY_S = 30.0


@contextmanager
def run_progress(*, quiet: bool) -> Iterator[Reporter | None]:
    """Provide a reporter: bars on a terminal, occasional lines elsewhere, None when quiet."""
    console = Console(stderr=True)
    if quiet:
        yield None
    elif console.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("[bold]{task.description:<11}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
        )
        bars = Progress(*columns, console=console)
        with suppress(Exception):  # a display that fails must not stop the run: the bars are then not drawn
            bars.start()
        try:
            yield _Bars(bars)
        finally:
            with suppress(Exception):
                bars.stop()
    else:
        yield _Lines(console)


@contextmanager
def byte_bar(words: str) -> Iterator[Callable[[int, int], None]]:
    """Provide a callback that takes the bytes done and their total, and shows them as a bar on a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns: list[Any] = [TextColumn(words), BarColumn(), DownloadColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(words, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


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
        counts = self._totals[stage]
        counts[0], counts[1] = max(counts[0], counts[1] - already_done + total), max(counts[1], already_done)
        self._bars.update(self._ids[stage], total=counts[0], completed=counts[1])

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
