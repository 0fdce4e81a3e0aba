"""What a run tells while it works, and a reporter that cannot harm the run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from superionic.execution.task import Task


class Reporter(Protocol):
    """What a run tells while it works; the command line draws bars with it."""

    def stage_began(self, stage: str, total: int, already_done: int) -> None:
        """Hear that a stage hands over ``total`` tasks, of which some are done."""

    def task_ended(self, task: Task[Any], state: str, cost: Mapping[str, float]) -> None:
        """Hear that a task ended as ``done``, ``failed`` or ``error``."""

    def running(self, states: Sequence[tuple[Task[Any], float, str]]) -> None:
        """Hear of the tasks under way, with their fraction done and a word on it."""


class SilentReporter:
    """A reporter that says nothing."""

    def stage_began(self, stage: str, total: int, already_done: int) -> None:
        """Say nothing."""

    def task_ended(self, task: Task[Any], state: str, cost: Mapping[str, float]) -> None:
        """Say nothing."""

    def running(self, states: Sequence[tuple[Task[Any], float, str]]) -> None:
        """Say nothing."""


class GuardedReporter:
    """Passes on what a reporter is to hear until that raises; then it says so once, and is silent.

    Parameters
    ----------
    reporter
        Whoever shows the progress of a run.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter: Reporter | None = reporter

    def stage_began(self, stage: str, total: int, already_done: int) -> None:
        """Pass on that a stage hands over tasks."""
        self._pass_on(lambda reporter: reporter.stage_began(stage, total, already_done))

    def task_ended(self, task: Task[Any], state: str, cost: Mapping[str, float]) -> None:
        """Pass on that a task ended."""
        self._pass_on(lambda reporter: reporter.task_ended(task, state, cost))

    def running(self, states: Sequence[tuple[Task[Any], float, str]]) -> None:
        """Pass on which tasks are under way."""
        self._pass_on(lambda reporter: reporter.running(states))

    def _pass_on(self, tell: Callable[[Reporter], None]) -> None:
        if self._reporter is None:
            return
        try:
            tell(self._reporter)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with a display, the work goes on
            self._reporter = None
            with contextlib.suppress(Exception):
                print(
                    f"progress is shown no more ({type(error).__name__}: {error}); the work goes on",
                    file=sys.stderr,
                    flush=True,
                )
