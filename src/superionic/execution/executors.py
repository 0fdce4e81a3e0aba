"""Executors: where tasks run. The rooms above know them as :class:`concurrent.futures.Executor` only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from superionic.execution.runner import Slots
from superionic.execution.worker import all_workers_ended


def default_slots(workers: int | None = None, threads: int = 1) -> Slots:
    """Return slots for ``workers`` workers; by default, for one on each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return Slots(workers if workers is not None else max(1, cores // threads), threads)


@contextmanager
def local_executor(slots: Slots) -> Iterator[Executor]:
    """Provide the executor of one machine: a thread per slot, each with its own warm worker processes.

    The threads only wait; the work is done in worker processes, one per slot and engine environment, which keep their
    potential loaded. A worker that crashes takes one task with it and not the pool. Leaving the block, normally or by
    an exception, ends all workers at once, with every process that they started.
    """
    pool = ThreadPoolExecutor(max_workers=slots.workers, thread_name_prefix="slot")
    try:
        yield pool
    finally:
        with all_workers_ended():
            pool.shutdown(wait=True, cancel_futures=True)
