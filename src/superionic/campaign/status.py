"""What a campaign has done, what a run would do and why, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from superionic.campaign.explain import Descriptor, descriptor_of
from superionic.execution.store import StoredFailure
from superionic.report.words import plural

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.flow import Flow
    from superionic.errors import StageError
    from superionic.execution.ledger import Ledger, Record
    from superionic.execution.owner import Owner
    from superionic.execution.store import Store
    from superionic.execution.task import Task

_RUNNING: Final = "is being done"


@dataclass(frozen=True)
class Pending:
    """A task that a run would do, and why."""

    stage: str
    label: str
    key: str
    reason: str

    @property
    def is_running(self) -> bool:
        """Whether a run is doing it now."""
        return self.reason == _RUNNING


@dataclass(frozen=True)
class StageStatus:
    """One stage.

    Attributes
    ----------
    stage
        Its name.
    state
        ``done``, ``pending`` (the next to be done), ``failed`` (no run can go on from there) or ``waiting`` (for
        stages before it).
    done, failed, pending
        Numbers of tasks; those of waiting stages are not known before the stages above them are done.
    running
        Number of pending tasks that are running.
    cpu_s, gpu_s
        CPU and GPU time spent on its finished tasks.
    tasks_per_h
        Tasks finished for each hour in which any was at work; None before the first.
    cpu_left_s, left_s
        Estimated CPU time of the pending tasks, and time to wait for them; None where unknown.
    """

    stage: str
    state: str
    done: int
    failed: int
    pending: int
    running: int
    cpu_s: float
    gpu_s: float
    tasks_per_h: float | None
    cpu_left_s: float | None
    left_s: float | None


@dataclass(frozen=True)
class Status:
    """The state of a campaign.

    Attributes
    ----------
    failures
        Stage, label and reason of each calculation that ended without a result; those that only needed one of these
        are counted in its reason.
    trouble
        Why a run cannot go on, e.g. because every label failed; None if it can.
    owner
        The run that is at work; None if there is none.
    """

    stages: tuple[StageStatus, ...]
    pending: tuple[Pending, ...]
    failures: tuple[tuple[str, str, str], ...]
    trouble: str | None = None
    owner: Owner | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return all(stage.state == "done" for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for ``--json``."""
        return {
            "done": self.is_done,
            "failures": [{"stage": s, "label": label, "reason": reason} for s, label, reason in self.failures],
            "pending": [vars(entry) for entry in self.pending],
            "run": None if self.owner is None else {"host": self.owner.host, "pid": self.owner.pid},
            "trouble": self.trouble,
            "stages": [vars(stage) for stage in self.stages],
        }


def make_status(
    file: CampaignFile,
    flow: Flow,
    pending: Sequence[Task[Any]],
    ledger: Ledger,
    trouble: StageError | None,
    owner: Owner | None = None,
) -> Status:
    """Compare what the walk asked for with what the store and the ledger have."""
    missing = {task.key for task in pending}
    everything = {**flow.bench.runner.used, **{task.key: task for task in pending}}
    records = {record.key: record for record in ledger.all()}
    store = flow.bench.runner.store
    failed = {key for key in everything if key not in missing and store.outcome(key) == "failure"}
    running = {task.key for task in pending if task.key in records and records[task.key].state == "running"}
    if owner is None:
        running = set()  # of a run that was killed
    stages = []
    for stage in file.computing:
        tasks = [task for task in everything.values() if task.stage == stage]
        done = [task for task in tasks if task.key not in missing]
        to_do = [task for task in tasks if task.key in missing]
        state = _state(stage, flow, is_over=not missing and trouble is None, is_stuck=trouble is not None)
        pace = _pace(done, to_do, records, lambda task: ledger.latest(task.stage, task.label, other_than=task.key))
        if state not in ("done", "pending"):  # what is left of the others is not known yet
            pace = replace(pace, cpu_left_s=None, left_s=None)
        n_failed, n_running = (sum(task.key in keys for task in tasks) for keys in (failed, running))
        stages.append(StageStatus(stage, state, len(done), n_failed, len(to_do), n_running, **vars(pace)))
    failures = _first_failures([(task, store.load(key)) for key, task in everything.items() if key in failed])
    waiting = []
    for task in pending:
        is_running = task.key in running
        reason = _RUNNING if is_running else why_pending(task, records, ledger, store, missing)
        waiting.append(Pending(task.stage, task.label, task.key, reason))
    return Status(tuple(stages), tuple(waiting), tuple(failures), None if trouble is None else str(trouble), owner)


def _first_failures(failed: Sequence[tuple[Task[Any], Any]]) -> list[tuple[str, str, str]]:
    """Return stage, label and reason of the tasks that failed themselves, with how many were given up for each."""
    kept = [(task, each) for task, each in failed if isinstance(each, StoredFailure)]
    given_up = Counter(each.because_of for _, each in kept)
    rows = []
    for task, each in kept:
        if each.because_of is None:
            after = given_up[task.label]
            tail = f" (and {plural(after, 'task')} that need{'s' if after == 1 else ''} it)" if after else ""
            rows.append((task.stage, task.label, f"{each.reason}{tail}"))
    return rows


def _state(stage: str, flow: Flow, *, is_over: bool, is_stuck: bool) -> str:
    """Return the state of a stage, given whether all is done, or the walk cannot go on from where it is."""
    if is_over or (stage in flow.ended and stage != flow.reached):
        return "done"
    if stage != flow.reached:
        return "waiting"
    return "failed" if is_stuck else "pending"


def why_pending(task: Task[Any], records: Mapping[str, Record], ledger: Ledger, store: Store, missing: set[str]) -> str:
    """Return why a task has to be done: it is new, was cut off, ended in an error, or something it reads changed."""
    record = records.get(task.key)
    if record is not None and record.state in ("interrupted", "running"):
        return "was cut off"
    if record is not None and record.state == "error":
        last = (record.error or "").strip().splitlines()
        return f"ended in an error: {last[-1] if last else 'unknown'}"
    if record is not None:
        return "its result is gone or damaged"
    before = ledger.latest(task.stage, task.label, other_than=task.key)
    if before is None:
        waits = next((d.label for d in task.dependencies() if d.key in missing), None)
        return "new" if waits is None else f"new (after: {waits})"
    old, new = descriptor_of(before.key, store), Descriptor(**task.descriptor())
    if old is None:
        return "changed"
    changes = _differences(old.settings, new.settings, "")
    parts = (("engine", old.engine, new.engine), ("version", old.version, new.version))
    changes += [f"{part} {_short(was)} → {_short(now)}" for part, was, now in parts if was != now]
    if not changes:
        labels = {d.key: d.label for d in task.dependencies()}
        changed = [labels[key] for key in new.input_keys if key not in old.input_keys and key in labels]
        changes = [f"it reads “{label}”, which changed" for label in changed[:2]]
    return "changed: " + "; ".join(changes[:4]) if changes else "changed"


def _differences(old: Any, new: Any, place: str) -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        changes = []
        for name in sorted({*old, *new}):
            path = f"{place}.{name}" if place else name
            if name not in old:
                changes.append(f"{path} is new ({_short(new[name])})")
            elif name not in new:
                changes.append(f"{path} is gone")
            else:
                changes += _differences(old[name], new[name], path)
        return changes
    return [] if old == new else [f"{place} {_short(old)} → {_short(new)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


@dataclass(frozen=True)
class _Pace:
    """The pace of a stage, its cost so far, and an estimate of the remainder from the tasks that are done.

    Attributes
    ----------
    cpu_s, gpu_s
        CPU and GPU time of its finished tasks.
    tasks_per_h
        Tasks that were finished for each hour in which any was at work: pauses between runs do not count. None before
        the first that was timed.
    cpu_left_s, left_s
        Estimates for the tasks that are known and not done: their CPU time, and the time to wait for them if as many
        are at work at once as so far. None where a task is of a kind that was not timed before.
    """

    cpu_s: float
    gpu_s: float
    tasks_per_h: float | None
    cpu_left_s: float | None
    left_s: float | None


def _pace(
    done: Iterable[Task[Any]],
    pending: Sequence[Task[Any]],
    records: Mapping[str, Record],
    earlier: Callable[[Task[Any]], Record | None],
) -> _Pace:
    """Estimate the pace of a stage.

    Parameters
    ----------
    done, pending
        Its tasks; a pending one stands after those whose results it reads.
    records
        The record of each task, by key.
    earlier
        Gives the record of the same task under other settings, or None.
    """
    timed = [(task, records[task.key]) for task in done if task.key in records]
    kinds: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for task, record in timed:
        if (cost := _cost(record)) is not None:
            kinds.setdefault((task.function, task.engine), []).append(cost)
    means = {kind: (fmean(w for w, _ in costs), fmean(c for _, c in costs)) for kind, costs in kinds.items()}
    worked, busy = _busy_s([record for _, record in timed])
    count = sum(len(costs) for costs in kinds.values())
    expected = {task.key: means.get((task.function, task.engine)) or _cost(earlier(task)) for task in pending}
    costs = [cost for cost in expected.values() if cost is not None]
    all_known = len(costs) == len(expected)
    walls = {key: cost[0] for key, cost in expected.items() if cost is not None}
    at_once = max(1.0, worked / busy) if busy > 0.0 else 1.0
    return _Pace(
        cpu_s=sum(record.cpu_s or 0.0 for _, record in timed),
        gpu_s=sum(record.gpu_s or 0.0 for _, record in timed),
        tasks_per_h=3600.0 * count / busy if busy > 0.0 else None,
        cpu_left_s=sum(cpu for _, cpu in costs) if all_known else None,
        # However many are at work, a task waits for those that it reads.
        left_s=max(sum(walls.values()) / at_once, _longest_chain_s(pending, walls)) if all_known else None,
    )


def _cost(record: Record | None) -> tuple[float, float] | None:
    """Return wall and CPU time of a finished task, if both were measured."""
    if record is None or record.wall_s is None or record.cpu_s is None:
        return None
    return record.wall_s, record.cpu_s


def _busy_s(records: Sequence[Record]) -> tuple[float, float]:
    """Return the time that tasks took, added up, and the time in which at least one was at work."""
    spans = sorted(
        (record.finished - record.wall_s, record.finished)
        for record in records
        if record.finished is not None and record.wall_s is not None
    )
    busy, until = 0.0, float("-inf")
    for began, ended in spans:
        busy += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return sum(ended - began for began, ended in spans), busy


def _longest_chain_s(pending: Sequence[Task[Any]], walls: Mapping[str, float]) -> float:
    ends: dict[str, float] = {}
    for task in pending:
        ready = max((ends.get(dependency.key, 0.0) for dependency in task.dependencies()), default=0.0)
        ends[task.key] = ready + walls[task.key]
    return max(ends.values(), default=0.0)
