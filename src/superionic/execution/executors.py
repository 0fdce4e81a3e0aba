"""Executors: where tasks run. Above this room only :class:`concurrent.futures.Executor` is known."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from superionic.errors import StorageError
from superionic.execution.runner import Slots
from superionic.execution.worker import allow_workers, close_all_workers


def default_slots(workers: int | None = None, threads: int = 1) -> Slots:
    """Return one worker for each core that this process may use, unless told otherwise."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return Slots(workers if workers is not None else max(1, cores // threads), threads)


@contextmanager
def local_executor(slots: Slots) -> Iterator[Executor]:
    """Provide the executor of one machine: a thread per slot, each with its own warm worker processes.

    The threads only wait; the work is done in worker processes, one per slot and engine environment, which keep their
    potential loaded. A worker that crashes takes one task with it and not the pool. Leaving the block ends all of
    them at once, whether it is left in peace or by an exception.
    """
    allow_workers()
    pool = ThreadPoolExecutor(max_workers=slots.workers, thread_name_prefix="slot")
    try:
        yield pool
    finally:
        close_all_workers()
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def run_lock(root: Path) -> Iterator[None]:
    """Hold the run folder for one run. The kernel drops the lock with the process: nothing is ever left to clear.

    Raises
    ------
    StorageError
        If another process holds it.
    """
    with (root / "run.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise StorageError(
                f"another run is working in this folder (process {holder})",
                where=str(root),
                fix="wait for it, or stop it; there is no lock file to remove",
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
