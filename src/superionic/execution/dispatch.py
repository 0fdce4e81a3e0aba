"""Dispatch: send tasks through an executor until each is done or has failed.

What can go wrong, and what follows:

- A calculation fails (:class:`superionic.errors.CalculationFailed`): its failure is stored as its outcome.
- A bug, a crash, too little memory, or more time than a task may take: the task is tried a second time, and then fails
  as well. The other tasks continue.
- The machine that ran the task is lost (whatever exception a future raises), or a file system did not answer: the task
  is submitted again, several times, for it is not to blame. A result stored meanwhile is used.
- An error that the user must mend (any other of :mod:`superionic.errors`), or an executor that accepts no more tasks:
  no further task is started, running ones finish, and the error is raised.
"""

from __future__ import annotations

import heapq
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from superionic.errors import EngineError, StageError, StorageError, SuperionicError
from superionic.execution.interrupts import Interrupts
from superionic.execution.ledger import Ledger
from superionic.execution.store import Store, StoredFailure
from superionic.execution.task import Task
from superionic.execution.worker import Reply, error_from_reply, look_again

if TYPE_CHECKING:
    from superionic.execution.reporting import Reporter

TRIES: Final = 2
"""How often a task is tried that crashes, raises an unforeseen exception or takes too long."""
LOSSES: Final = 5
"""How often a task may be lost with its machine."""

_PAUSES_S: Final = (0.0, 5.0, 20.0, 60.0)  # before a task is handed to another machine again
_POLL_S: Final = 0.25
_LEAST_READING_INTERVAL_S: Final = 1.0
_FLUSH_EVERY_S: Final = 5.0
_REPEATED: Final = ("unexpected", "WorkerDied", "TimeoutError")


@dataclass(frozen=True)
class _Unseen:
    """A task whose worker says that its outcome is stored, and the latest time at which it should be visible here."""

    task: Task[Any]
    cost: Mapping[str, float]
    latest: float


class Dispatch:
    """Carries tasks out.

    Parameters
    ----------
    tasks
        Tasks to carry out, each after those that it reads. Of several that can start, the first does.
    done
        Keys of the stored results that the tasks read; those of tasks that finish are added.
    submit
        Submits a task to the executor.
    store, ledger, reporter, interrupts
        See :class:`superionic.execution.runner.Runner`.
    at_once
        Largest number of tasks submitted at a time.
    deadline
        Time (:func:`time.monotonic`) after which no task is started, or None.
    visibility_s
        Longest time for a result stored elsewhere to become visible here.
    progress_every_s
        Interval at which tasks report progress; their progress files are read about as often.
    """

    def __init__(
        self,
        tasks: Sequence[Task[Any]],
        done: set[str],
        *,
        submit: Callable[[Task[Any]], Future[Reply]],
        store: Store,
        ledger: Ledger,
        reporter: Reporter,
        interrupts: Interrupts,
        at_once: int,
        deadline: float | None,
        visibility_s: float,
        progress_every_s: float,
    ) -> None:
        self._submit = submit
        self._store = store
        self._ledger = ledger
        self._reporter = reporter
        self._interrupts = interrupts
        self._at_once = at_once
        self._deadline = deadline
        self._visibility_s = visibility_s
        self._read_progress_every_s = max(_LEAST_READING_INTERVAL_S, progress_every_s / 2.0)

        self._done = done
        self._order = {task.key: (position, task) for position, task in enumerate(tasks)}
        self._needs: dict[str, set[str]] = {}
        self._readers: dict[str, list[str]] = {}
        self._ready: list[tuple[int, str]] = []
        for position, task in enumerate(tasks):
            needs = {needed.key for needed in task.dependencies()} - done
            for key in needs:
                self._readers.setdefault(key, []).append(task.key)
            if needs:
                self._needs[task.key] = needs
            else:
                self._ready.append((position, task.key))
        self._running: dict[Future[Reply], Task[Any]] = {}
        self._unseen: dict[str, _Unseen] = {}
        self._paused: list[tuple[float, tuple[int, str]]] = []
        self._tries: Counter[str] = Counter()
        self._losses: Counter[str] = Counter()
        self._trouble: SuperionicError | None = None
        self._progress: dict[str, tuple[float, str]] = {}
        self._progress_read = 0.0
        self._flushed = time.monotonic()

    def carry_out(self) -> None:
        """Carry out all tasks.

        Raises
        ------
        SuperionicError
            If the user must mend something, or the time is up; raised once the running tasks have finished.
        """
        while self._ready or self._running or self._unseen or self._paused:
            self._interrupts.check()
            self._end_pauses()
            out_of_time = self._deadline is not None and time.monotonic() > self._deadline
            if out_of_time and self._trouble is None and (self._ready or self._needs or self._paused):
                self._trouble = StageError(
                    "the time limit of this run has passed; all finished work is kept",
                    where="execution.walltime_h",
                    fix="run the same command again to continue",
                )
            if self._trouble is None:
                self._start_ready_tasks()
            elif not self._running and not self._unseen:
                break
            self._wait()
            self._reporter.running(self._states())
            if time.monotonic() - self._flushed >= _FLUSH_EVERY_S:
                self._flush()
        self._flush()
        if self._trouble is not None:
            raise self._trouble

    def _flush(self) -> None:
        self._store.flush()
        self._flushed = time.monotonic()

    def _start_ready_tasks(self) -> None:
        while self._ready and len(self._running) < self._at_once and self._trouble is None:
            task = self._order[heapq.heappop(self._ready)[1]][1]
            if (outcome := self._store.outcome(task.key)) is not None:  # an earlier try, or another run, has done it
                state = "done" if outcome == "value" else "failed"
                self._ledger.adopted(task.key, task.stage, task.label, state)
                self._end(task, state, {})
                continue
            failed = next((d for d in task.dependencies() if self._store.outcome(d.key) == "failure"), None)
            if failed is not None:
                self._ledger.started(task.key, task.stage, task.label)
                failure: StoredFailure = self._store.load(failed.key)
                self._record_failure(task, failure.of_dependent(failed.label), {})
                continue
            try:
                self._running[self._submit(task)] = task
            except SuperionicError as error:
                self._stop(error)
            except Exception as error:  # noqa: BLE001 - each executor raises its own exception once it has shut down
                trouble = EngineError(
                    f"the executor accepts no more tasks ({type(error).__name__}: {error}); all finished work is kept",
                    fix="run the same command again to continue",
                )
                trouble.__cause__ = error
                self._stop(trouble)

    def _wait(self) -> None:
        if self._running:
            finished, _ = wait(self._running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in finished:
                self._settle(self._running.pop(future), future)
        elif self._unseen or self._paused:
            time.sleep(_POLL_S)
        for key, entry in list(self._unseen.items()):
            if self._settle_unseen(entry):
                del self._unseen[key]

    def _settle_unseen(self, entry: _Unseen) -> bool:
        """Record the stored outcome of a task, or give the task up if overdue; return whether either was done."""
        is_late = time.monotonic() >= entry.latest
        try:
            seen = self._take(entry.task, entry.cost)
        except StorageError as error:  # on a network file system this may pass too
            if is_late:
                self._ledger.finished(entry.task.key, "error", entry.cost, error.message)
                self._stop(error)
            return is_late
        if not seen and is_late:
            self._lose(entry.task, "its result does not appear in the run folder", entry.cost)
        elif not seen:
            look_again(self._store, entry.task.key)
        return seen or is_late

    def _settle(self, task: Task[Any], future: Future[Reply]) -> None:
        try:
            reply = future.result()
        except SuperionicError as error:  # nothing can run there any longer
            self._ledger.finished(task.key, "error", {}, error.message)
            self._stop(error)
            return
        except Exception as error:  # noqa: BLE001 - each executor raises its own exception for a lost machine
            self._lose(task, f"{type(error).__name__}: {error}".strip(": "), {})
            return
        cost = reply["cost"]
        if reply["state"] != "error":
            self._unseen[task.key] = _Unseen(task, cost, time.monotonic() + self._visibility_s)
        elif reply.get("passing"):
            self._lose(task, reply["message"], cost, error_from_reply(reply, where=_location(task)))
        elif reply["kind"] in _REPEATED:
            self._repeat(task, reply)
        else:
            self._ledger.finished(task.key, "error", cost, reply["message"])
            self._reporter.task_ended(task, "error", cost)
            self._stop(error_from_reply(reply, where=_location(task)))

    def _repeat(self, task: Task[Any], reply: Reply) -> None:
        self._tries[task.key] += 1
        more = {name: str(reply[name]) for name in ("traceback", "last_words") if reply.get(name)}
        if self._tries[task.key] < TRIES or self._trouble is not None:
            self._requeue(task, reply["cost"], more.get("traceback") or str(reply["message"]))
        else:
            details = {"kind": reply["kind"], "tries": TRIES, **more}
            self._record_failure(task, StoredFailure(reply["message"], details), reply["cost"])

    def _lose(
        self, task: Task[Any], why: str, cost: Mapping[str, float], trouble: SuperionicError | None = None
    ) -> None:
        """Resubmit a task lost with its machine or connection; after the last try stop, or record a failure."""
        self._losses[task.key] += 1
        if self._losses[task.key] < LOSSES:
            # A node that fails at once would use up all tries in seconds.
            pause_s = _PAUSES_S[self._losses[task.key] - 1] if self._visibility_s else 0.0
            self._requeue(task, cost, why, pause_s)
        elif trouble is not None:
            self._ledger.finished(task.key, "error", cost, why)
            self._stop(trouble)
        else:
            self._record_failure(task, StoredFailure(f"lost {LOSSES} times with its machine ({why})", {}), cost)

    def _requeue(self, task: Task[Any], cost: Mapping[str, float], why: str, pause_s: float = 0.0) -> None:
        self._ledger.finished(task.key, "error", cost, why)
        entry = (self._order[task.key][0], task.key)
        if pause_s:
            self._paused.append((time.monotonic() + pause_s, entry))
        else:
            heapq.heappush(self._ready, entry)

    def _end_pauses(self) -> None:
        for pause in [pause for pause in self._paused if pause[0] <= time.monotonic()]:
            self._paused.remove(pause)
            heapq.heappush(self._ready, pause[1])

    def _record_failure(self, task: Task[Any], failure: StoredFailure, cost: Mapping[str, float]) -> None:
        self._store.commit(task.key, task.descriptor(), failure)
        self._take(task, cost, failure.reason)

    def _take(self, task: Task[Any], cost: Mapping[str, float], reason: str | None = None) -> bool:
        """Record the stored outcome of a task; return whether there is one."""
        outcome = self._store.outcome(task.key)
        if outcome is None:
            return False
        state = "done" if outcome == "value" else "failed"
        self._ledger.finished(task.key, state, cost, reason if state == "failed" else None)
        self._end(task, state, cost)
        return True

    def _end(self, task: Task[Any], state: str, cost: Mapping[str, float]) -> None:
        self._reporter.task_ended(task, state, cost)
        self._done.add(task.key)
        for reader in self._readers.pop(task.key, ()):
            self._needs[reader].discard(task.key)
            if not self._needs[reader]:
                del self._needs[reader]
                heapq.heappush(self._ready, (self._order[reader][0], reader))

    def _stop(self, error: SuperionicError) -> None:
        self._trouble = self._trouble or error

    def _states(self) -> list[tuple[Task[Any], float, str]]:
        """Return the running tasks, each with the fraction done and a message."""
        if time.monotonic() - self._progress_read >= self._read_progress_every_s:
            self._progress = {task.key: self._progress_of(task) for task in self._running.values()}
            self._progress_read = time.monotonic()
        return [(task, *self._progress.get(task.key, (0.0, ""))) for task in self._running.values()]

    def _progress_of(self, task: Task[Any]) -> tuple[float, str]:
        try:
            progress = json.loads(self._store.progress_file(task.key).read_text())
            return float(progress["fraction"]), str(progress["message"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0, ""


def _location(task: Task[Any]) -> str:
    return f"{task.stage}: {task.label} (key {task.key[:12]})"
