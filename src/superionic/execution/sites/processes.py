"""The pool ``processes``: the workers are processes of this machine, without a scheduler or Parsl."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from superionic.execution.runner import Slots
from superionic.execution.sites.base import SiteRun, TaskPool


@contextmanager
def open_processes(run: SiteRun) -> Iterator[TaskPool]:
    """Provide as many worker processes as a job of ``core`` has on one node."""
    block = run.site.kinds.core
    slots = Slots(block.workers_per_node, block.threads or run.slots.threads)
    executor = ProcessPoolExecutor(slots.workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield TaskPool(executor, slots)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
