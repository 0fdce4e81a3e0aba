"""The runner: carries tasks to their ends on an executor, and never does one twice.

Stages hand it tasks and get outcomes. What the store has is not done again; the rest is submitted as soon as the
results that it reads are there. In a *dry* run nothing is submitted: the first stage whose results are not all there
raises :class:`TasksPending`, which is how ``status`` and ``check`` know exactly what a run would do.
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
"""Longest time of a task, in s, where nothing else is said."""


class TasksPending(Exception):  # noqa: N818 - it is news, not an error
    """A dry run came to tasks that have not been done."""

    def __init__(self, tasks: Sequence[Task[Any]]) -> None:
        super().__init__(f"{len(tasks)} tasks are not done")
        self.tasks = list(tasks)


@dataclass(frozen=True)
class Failure:
    """A calculation that ended without a result: data, to be excluded, counted and reported."""

    label: str
    reason: str
    key: str


class Outcome(Generic[R]):
    """How a task ended; its result is read from the store when it is asked for."""

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
    """How many tasks an executor runs at once, and with how many threads each."""

    workers: int
    threads: int = 1


class Runner:
    """Carries tasks to their ends.

    Parameters
    ----------
    store, ledger
        Where results and their record are.
    executor
        Any :class:`concurrent.futures.Executor`; None for a dry run.
    slots
        How many tasks to hand to it at once.
    python_of
        Tells the interpreter of an engine.
    reporter
        Hears of progress.
    walltime_s
        Time after which no further task is started.
    interrupts
        Interrupts from the keyboard, asked for between tasks.
    task_limit_s
        Longest time of a task that has none of its own, from when a worker begins it.
    visibility_s
        How long a result that was stored on one machine may take to be seen on another one.
    progress_every_s
        How often at most a task says how far it is.
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
        """Do the tasks, and whatever they read, and return their outcomes in order.

        A task that reads from a failed one fails itself, without being run.

        Raises
        ------
        TasksPending
            In a dry run, if anything is not done yet.
        SuperionicError
            If a task ended by a mistake of the input or by a broken environment. All other tasks under way are
            brought to their end first, so that nothing is lost. For what else may go wrong see
            :mod:`superionic.execution.dispatch`.
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
        """Do one task and return its result."""
        return self.gather([task])[0].value

    def value_of(self, part: T) -> T:
        """Return the value behind a part of a result (see :class:`superionic.execution.task.Part`).

        Raises
        ------
        StageError
            If the calculation failed.
        """
        ref = ref_of(part)
        # What is there is read from the store alone, so that it can be had when the run and its ledger are closed.
        value: Any = Outcome(ref.task, self.store).value if self.store.has(ref.task.key) else self.one(ref.task)
        for step in ref.path:
            value = value[step] if isinstance(step, int) or isinstance(value, Mapping) else getattr(value, step)
        found: T = value
        return found

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
    """Return the tasks and everything they read, each once, what is read before what reads it."""
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
