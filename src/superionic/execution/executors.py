"""Executors: where tasks run. Above this room only :class:`concurrent.futures.Executor` is known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

from superionic.execution.runner import Slots
from superionic.execution.worker import all_workers_ended


def default_slots(workers: int | None = None, threads: int = 1) -> Slots:
    """Return one worker for each core that this process may use, unless told otherwise."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return Slots(workers if workers is not None else max(1, cores // threads), threads)


@contextmanager
def local_executor(slots: Slots) -> Iterator[Executor]:
    """Provide the executor of one machine: a thread per slot, each with its own warm worker processes.

    The threads only wait; the work is done in worker processes, one per slot and engine environment, which keep their
    potential loaded. A worker that crashes takes one task with it and not the pool. Leaving the block ends all of
    them at once, and all that they started, whether it is left in peace or by an exception.
    """
    pool = ThreadPoolExecutor(max_workers=slots.workers, thread_name_prefix="slot")
    try:
        yield pool
    finally:
        with all_workers_ended():
            pool.shutdown(wait=True, cancel_futures=True)
