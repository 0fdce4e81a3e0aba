"""What a campaign has done, what a run would do and why, and what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from superionic.campaign.explain import keys_in
from superionic.campaign.pace import pace

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.flow import Flow
    from superionic.errors import StageError
    from superionic.execution.ledger import Ledger, Record
    from superionic.execution.owner import Owner
    from superionic.execution.store import Store
    from superionic.execution.task import Task


@dataclass(frozen=True)
class Pending:
    """A task that a run would do, and why."""

    stage: str
    label: str
    key: str
    reason: str


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
        How many of the pending ones are being done now.
    cpu_s, gpu_s
        CPU and GPU time spent on its finished tasks.
    tasks_per_h
        Tasks finished for each hour in which any was at work; None before the first.
    cpu_left_s, left_s
        Estimated CPU time of the pending tasks, and time to wait for them; None where it cannot be told.
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
        Stage, label and reason of each calculation that ended without a result.
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
    failed_keys = {key for key in everything if key not in missing and store.outcome(key) == "failure"}
    reached = flow.reached
    stages = []
    for stage in file.computing:
        tasks = [task for task in everything.values() if task.stage == stage]
        done = [task for task in tasks if task.key not in missing]
        over = not missing and trouble is None
        state = "done" if (stage in flow.ended and stage != reached) or over else "waiting"
        if stage == reached and not over:
            state = "pending" if trouble is None else "failed"
        failed = [task for task in done if task.key in failed_keys]
        to_do = [task for task in tasks if task.key in missing]
        running = 0
        if owner is not None:
            running = sum(task.key in records and records[task.key].state == "running" for task in to_do)
        goes = pace(done, to_do, records, lambda task: ledger.latest(task.stage, task.label, other_than=task.key))
        known = state in ("done", "pending")  # what is left of the others is not known yet
        stages.append(
            StageStatus(
                stage=stage,
                state=state,
                done=len(done),
                failed=len(failed),
                pending=len(to_do),
                running=running,
                cpu_s=goes.cpu_s,
                gpu_s=goes.gpu_s,
                tasks_per_h=goes.tasks_per_h,
                cpu_left_s=goes.cpu_left_s if known else None,
                left_s=goes.left_s if known else None,
            )
        )
    failures = [
        (task.stage, task.label, str(getattr(store.load(task.key), "reason", "unknown")))
        for task in everything.values()
        if task.key in failed_keys
    ]
    waiting = [
        Pending(t.stage, t.label, t.key, "is being done")
        if owner is not None and t.key in records and records[t.key].state == "running"
        else Pending(t.stage, t.label, t.key, why_pending(t, records, ledger, store, missing))
        for t in pending
    ]
    return Status(tuple(stages), tuple(waiting), tuple(failures), None if trouble is None else str(trouble), owner)


def why_pending(task: Task[Any], records: Mapping[str, Record], ledger: Ledger, store: Store, missing: set[str]) -> str:
    """Say why a task has to be done: it is new, was cut off, ended in an error, or something that it reads changed."""
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
    old, new = store.descriptor(before.key), task.descriptor()
    if old is None:
        return "changed"
    changes = [*_differences(old["settings"], new["settings"], "")]
    changes += [
        f"{part} {_short(old[part])} → {_short(new[part])}" for part in ("engine", "version") if old[part] != new[part]
    ]
    if not changes:
        labels = {d.key: d.label for d in task.dependencies()}
        before_keys, now_keys = set(keys_in(old["inputs"])), keys_in(new["inputs"])
        changed = [labels[key] for key in dict.fromkeys(now_keys) if key not in before_keys and key in labels]
        changes = [f"it reads “{label}”, which changed" for label in changed[:2]]
    return "changed: " + "; ".join(changes[:4]) if changes else "changed"


def _differences(old: Any, new: Any, place: str) -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = []
        for name in sorted({*old, *new}):
            path = f"{place}.{name}" if place else name
            if name not in old:
                found.append(f"{path} is new ({_short(new[name])})")
            elif name not in new:
                found.append(f"{path} is gone")
            else:
                found += _differences(old[name], new[name], path)
        return found
    return [] if old == new else [f"{place} {_short(old)} → {_short(new)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
