"""How fast a stage goes, what it has cost, and how long the rest of it may take: from what its tasks took so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superionic.execution.ledger import Record
    from superionic.execution.task import Task


@dataclass(frozen=True)
class Pace:
    """Costs of a stage.

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


def pace(
    done: Iterable[Task[Any]],
    pending: Sequence[Task[Any]],
    records: Mapping[str, Record],
    earlier: Callable[[Task[Any]], Record | None],
) -> Pace:
    """Judge the pace of a stage.

    Parameters
    ----------
    done, pending
        Its tasks; of the pending ones, what is read stands before what reads it.
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
    known = len(costs) == len(expected)
    walls = {key: cost[0] for key, cost in expected.items() if cost is not None}
    at_once = max(1.0, worked / busy) if busy > 0.0 else 1.0
    return Pace(
        cpu_s=sum(record.cpu_s or 0.0 for _, record in timed),
        gpu_s=sum(record.gpu_s or 0.0 for _, record in timed),
        tasks_per_h=3600.0 * count / busy if busy > 0.0 else None,
        cpu_left_s=sum(cpu for _, cpu in costs) if known else None,
        # However many are at work, a task waits for those that it reads.
        left_s=max(sum(walls.values()) / at_once, _longest_chain_s(pending, walls)) if known else None,
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
