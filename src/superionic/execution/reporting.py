"""Progress reports of a run, and a reporter whose failures cannot harm the run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from superionic.execution.task import Task


class Reporter(Protocol):
    """Receives the progress of a run; that of the command line draws bars."""

    def stage_began(self, stage: str, total: int, already_done: int) -> None:
        """Report that a stage submits ``total`` tasks, of which some are done already."""

    def task_ended(self, task: Task[Any], state: str, cost: Mapping[str, float]) -> None:
        """Report that a task ended as ``done``, ``failed`` or ``error``."""

    def running(self, states: Sequence[tuple[Task[Any], float, str]]) -> None:
        """Report the running tasks, each with the fraction done and a message."""


class SilentReporter:
    """A reporter that shows nothing."""

    def stage_began(self, stage: str, total: int, already_done: int) -> None:
        """Do nothing."""

    def task_ended(self, task: Task[Any], state: str, cost: Mapping[str, float]) -> None:
        """Do nothing."""

    def running(self, states: Sequence[tuple[Task[Any], float, str]]) -> None:
        """Do nothing."""


class GuardedReporter:
    """Passes progress on to a reporter until that raises; then says so once, and stays silent.

    Parameters
    ----------
    reporter
        The reporter to guard.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter: Reporter | None = reporter

    def stage_began(self, stage: str, total: int, already_done: int) -> None:
        """Pass on that a stage submits tasks."""
        self._pass_on(lambda reporter: reporter.stage_began(stage, total, already_done))

    def task_ended(self, task: Task[Any], state: str, cost: Mapping[str, float]) -> None:
        """Pass on that a task ended."""
        self._pass_on(lambda reporter: reporter.task_ended(task, state, cost))

    def running(self, states: Sequence[tuple[Task[Any], float, str]]) -> None:
        """Pass on which tasks are running."""
        self._pass_on(lambda reporter: reporter.running(states))

    def _pass_on(self, report: Callable[[Reporter], None]) -> None:
        if self._reporter is None:
            return
        try:
            report(self._reporter)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with a display, the run continues
            self._reporter = None
            with contextlib.suppress(Exception):
                print(
                    f"progress is no longer shown ({type(error).__name__}: {error}); the run continues",
                    file=sys.stderr,
                    flush=True,
                )
