"""The runner: carries tasks to their ends on an executor, and never does one twice.

Stages hand it tasks and get outcomes. What the store has is not done again; the rest is submitted as soon as the
results that it reads are there. In a *dry* run nothing is submitted: the first stage whose results are not all there
raises :class:`TasksPending`, which is how ``status`` and ``check`` know exactly what a run would do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from superionic.errors import StageError
from superionic.execution.interrupts import Interrupts
from superionic.execution.ledger import Ledger
from superionic.execution.reporting import GuardedReporter
from superionic.execution.store import Store, StoredFailure
from superionic.execution.task import Ref, Task, ref_of
from superionic.execution.worker import Reply, error_from_reply, execute, request_for

R = TypeVar("R")
T = TypeVar("T")

_POLL_S = 0.25
_WALLTIME_IS_UP: Reply = {
    "kind": "StageError",
    "message": "the time of this run is up; all finished work is kept",
    "where": "execution.walltime_h",
    "fix": "run the same command again to go on",
}


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
    ) -> None:
        self._interrupts = interrupts or Interrupts()
        self.store = store
        self._ledger = ledger
        self._executor = executor
        self._slots = slots
        self._python_of = python_of
        self._reporter = GuardedReporter(reporter or SilentReporter())
        self._deadline = None if walltime_s is None else time.monotonic() + walltime_s
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
            brought to their end first, so that nothing is lost.
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
            self._carry_out(missing, done)
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

    def _carry_out(self, missing: list[Task[Any]], done: set[str]) -> None:
        waiting = list(missing)
        running: dict[Future[Reply], Task[Any]] = {}
        trouble: Reply | None = None
        while waiting or running:
            self._interrupts.check()
            if trouble is None and waiting and self._deadline is not None and time.monotonic() > self._deadline:
                trouble = _WALLTIME_IS_UP
            if trouble is None:
                self._start_what_can(waiting, running, done)
            elif not running:
                break
            finished, _ = wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in finished:
                task = running.pop(future)
                reply = future.result()
                self._ledger.finished(task.key, reply["state"], reply["cost"], _error_text(reply))
                self._reporter.task_ended(task, reply["state"], reply["cost"])
                if reply["state"] == "error":
                    trouble = trouble or {**reply, "task": task}
                else:
                    done.add(task.key)
            self._reporter.running([(task, *self._progress(task)) for task in running.values()])
        if trouble is _WALLTIME_IS_UP:
            raise error_from_reply(trouble)
        if trouble is not None:
            task = trouble["task"]
            raise error_from_reply(trouble, where=f"{task.stage}: {task.label} (key {task.key[:12]})")

    def _start_what_can(
        self, waiting: list[Task[Any]], running: dict[Future[Reply], Task[Any]], done: set[str]
    ) -> None:
        for task in list(waiting):
            if len(running) >= self._slots.workers:
                return
            needed = list(task.dependencies())
            if not all(dependency.key in done for dependency in needed):
                continue
            waiting.remove(task)
            failed = next((d for d in needed if self.store.outcome(d.key) == "failure"), None)
            if failed is not None:
                reason = self.store.load(failed.key).reason
                self._ledger.started(task.key, task.stage, task.label)
                self.store.commit(task.key, task.descriptor(), StoredFailure(f"{failed.label} failed: {reason}", {}))
                self._ledger.finished(task.key, "failed", {}, reason)
                self._reporter.task_ended(task, "failed", {})
                done.add(task.key)
                continue
            running[self._submit(task)] = task

    def _submit(self, task: Task[Any]) -> Future[Reply]:
        if self._executor is None:
            raise TasksPending([task])
        self._ledger.started(task.key, task.stage, task.label)
        request = request_for(
            store=self.store.root,
            key=task.key,
            descriptor=task.descriptor(),
            function=task.function,
            settings=task.settings,
            inputs={name: _address(value) for name, value in task.inputs.items()},
            python=self._python_of(task.engine),
            threads=self._slots.threads,
            walltime_s=task.walltime_s,
        )
        return self._executor.submit(execute, request)

    def _progress(self, task: Task[Any]) -> tuple[float, str]:
        try:
            news = json.loads(self.store.progress_file(task.key).read_text())
            return float(news["fraction"]), str(news["message"])
        except (OSError, ValueError, KeyError):
            return 0.0, ""


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


def _error_text(reply: Reply) -> str | None:
    if reply["state"] != "error":
        return None
    return str(reply.get("traceback") or reply.get("message"))
