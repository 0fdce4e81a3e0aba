"""The runner: carries out tasks on an executor, and never repeats one.

Stages pass it tasks and receive outcomes. Results in the store are not computed again; the other tasks are submitted
as soon as the results that they read exist. In a *dry* run nothing is submitted: the first stage with missing results
raises :class:`TasksPending`, from which ``status`` and ``check`` know exactly what a run would do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from superionic.errors import StageError
from superionic.execution.dispatch import Dispatch
from superionic.execution.interrupts import Interrupts
from superionic.execution.ledger import Ledger
from superionic.execution.reporting import GuardedReporter, Reporter, SilentReporter
from superionic.execution.store import Store, StoredFailure
from superionic.execution.task import Ref, Task, ref_of
from superionic.execution.worker import PROGRESS_EVERY_S, Reply, execute, request_for

R = TypeVar("R")
T = TypeVar("T")

TASK_LIMIT_S = 24 * 3600.0
"""Default time limit of a task, in s."""


class TasksPending(Exception):  # noqa: N818 - it is news, not an error
    """A dry run reached tasks that are not done."""

    def __init__(self, tasks: Sequence[Task[Any]]) -> None:
        super().__init__(f"{len(tasks)} tasks are not done")
        self.tasks = list(tasks)


@dataclass(frozen=True)
class Failure:
    """A calculation that ended without a result, to be excluded, counted and reported."""

    label: str
    reason: str
    key: str


class Outcome(Generic[R]):
    """How a task ended; its result is read from the store at first use."""

    def __init__(self, task: Task[R], store: Store) -> None:
        self.task = task
        self._store = store

    @cached_property
    def _content(self) -> Any:
        content = self._store.load(self.task.key)
        return content if isinstance(content, StoredFailure) else self.task.read(content)

    @property
    def failure(self) -> Failure | None:
        """The failure, or None."""
        if isinstance(self._content, StoredFailure):
            return Failure(self.task.label, self._content.reason, self.task.key)
        return None

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.failure is None

    @property
    def value(self) -> R:
        """The result.

        Raises
        ------
        StageError
            If the calculation failed.
        """
        if (failure := self.failure) is not None:
            raise StageError(f"{failure.label} failed: {failure.reason}")
        result: R = self._content
        return result


@dataclass(frozen=True)
class Slots:
    """The number of tasks that an executor runs at once, and the threads of each."""

    workers: int
    threads: int = 1


class Runner:
    """Carries out tasks.

    Parameters
    ----------
    store, ledger
        The results and their history.
    executor
        Any :class:`concurrent.futures.Executor`; None for a dry run.
    slots
        Number of tasks submitted to it at a time.
    python_of
        Returns the interpreter of an engine.
    reporter
        Receives progress.
    walltime_s
        Time after which no further task is started.
    interrupts
        Signals that end the run, checked for between tasks.
    task_limit_s
        Time limit of a task that has none of its own, from its start in a worker.
    visibility_s
        Longest time for a result stored on one machine to become visible on another.
    progress_every_s
        Shortest interval between two progress reports of a task.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        *,
        executor: Executor | None,
        slots: Slots,
        python_of: Callable[[str], Path],
        reporter: Reporter | None = None,
        walltime_s: float | None = None,
        interrupts: Interrupts | None = None,
        task_limit_s: float = TASK_LIMIT_S,
        visibility_s: float = 0.0,
        progress_every_s: float = PROGRESS_EVERY_S,
    ) -> None:
        self._interrupts = interrupts or Interrupts()
        self.store = store
        self._ledger = ledger
        self._executor = executor
        self._slots = slots
        self._python_of = python_of
        self._reporter = GuardedReporter(reporter or SilentReporter())
        self._deadline = None if walltime_s is None else time.monotonic() + walltime_s
        self._task_limit_s = task_limit_s
        self._visibility_s = visibility_s
        self._progress_every_s = progress_every_s
        self.used: dict[str, Task[Any]] = {}

    def gather(self, tasks: Sequence[Task[R]]) -> list[Outcome[R]]:
        """Carry out tasks and all that they read, and return the outcomes of the tasks in order.

        A task that reads from a failed one fails too, without being run.

        Raises
        ------
        TasksPending
            In a dry run, if a task is not done.
        SuperionicError
            If a task ended because of wrong input or a broken environment. All other running tasks finish first, so
            that nothing is lost. For what else may go wrong see :mod:`superionic.execution.dispatch`.
        """
        order = _in_order(tasks)
        self.used.update((task.key, task) for task in order)
        missing = [task for task in order if not self.store.has(task.key)]
        done = {task.key for task in order} - {task.key for task in missing}
        for task in order if self._executor is not None else ():  # a dry run writes nothing
            if task.key in done:
                state = "done" if self.store.outcome(task.key) == "value" else "failed"
                self._ledger.adopted(task.key, task.stage, task.label, state)
        if missing and self._executor is None:
            raise TasksPending(missing)
        if order:
            stage = order[-1].stage
            own = [task for task in order if task.stage == stage]
            self._reporter.stage_began(stage, len(own), sum(task.key in done for task in own))
        if missing:
            Dispatch(
                missing,
                done,
                submit=self._submit,
                store=self.store,
                ledger=self._ledger,
                reporter=self._reporter,
                interrupts=self._interrupts,
                at_once=self._slots.workers,
                deadline=self._deadline,
                visibility_s=self._visibility_s,
                progress_every_s=self._progress_every_s,
            ).carry_out()
        return [Outcome(task, self.store) for task in tasks]

    def one(self, task: Task[R]) -> R:
        """Carry out one task and return its result."""
        return self.gather([task])[0].value

    def value_of(self, part: T) -> T:
        """Return the value behind a part of a result (see :class:`superionic.execution.task.Part`).

        Raises
        ------
        StageError
            If the calculation failed.
        """
        ref = ref_of(part)
        # A stored result is read without the ledger, so that it stays available when the run is closed.
        value: Any = Outcome(ref.task, self.store).value if self.store.has(ref.task.key) else self.one(ref.task)
        for step in ref.path:
            value = value[step] if isinstance(step, int) or isinstance(value, Mapping) else getattr(value, step)
        typed: T = value
        return typed

    def _submit(self, task: Task[Any]) -> Future[Reply]:
        if self._executor is None:
            raise TasksPending([task])
        self._ledger.started(task.key, task.stage, task.label)
        request = request_for(
            store=self.store.root,
            key=task.key,
            descriptor=task.descriptor(),
            function=task.moved_to or task.function,
            settings=task.settings,
            inputs={name: _address(value) for name, value in task.inputs.items()},
            python=self._python_of(task.engine),
            threads=self._slots.threads,
            walltime_s=self._task_limit_s if task.walltime_s is None else task.walltime_s,
            progress_every_s=self._progress_every_s,
            visibility_s=self._visibility_s,
            durable=self.store.durable,
        )
        return self._executor.submit(execute, request)


def _in_order(tasks: Sequence[Task[Any]]) -> list[Task[Any]]:
    """Return the tasks and all that they read, each once and after those that it reads."""
    order: dict[str, Task[Any]] = {}
    stack: list[tuple[Task[Any], bool]] = [(task, False) for task in reversed(tasks)]
    while stack:
        task, expanded = stack.pop()
        if task.key in order:
            continue
        if expanded:
            order[task.key] = task
        else:
            stack.append((task, True))
            stack.extend((dependency, False) for dependency in reversed(list(task.dependencies())))
    return list(order.values())


def _address(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"task": value.task.key, "path": list(value.path)}
    return [_address(item) for item in value]
