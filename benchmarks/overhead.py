"""Measure what a task costs besides its work: time, inodes and memory, against joblib.Memory on the same function.

Run with ``python benchmarks/overhead.py [--tasks 2000] [--workers 2] [--folder F]``; ``--folder`` chooses the disk.
The same tasks (an addition and an array of three numbers) are carried out by workers of superionic and called through
joblib.Memory, once to do and store them and once to find them done.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from superionic.cli.main import GC_THRESHOLDS
from superionic.execution.executors import local_executor
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.probes import add
from superionic.execution.runner import Runner, Slots, TasksPending
from superionic.execution.store import Store
from superionic.execution.task import Task


def tasks(count: int) -> list[Task]:
    name = f"{add.__module__}:{add.__qualname__}"
    return [Task("rank", f"probe {i}", name, 1, settings={"amount": i}) for i in range(count)]


def peak_MB() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def inodes(folder: Path) -> int:
    return sum(1 + len(files) for _, _, files in os.walk(folder))


def ours(folder: Path, count: int, workers: int, durable: bool) -> dict[str, float]:
    store, slots = Store(folder / "store", durable=durable), Slots(workers)
    store.prepare()
    before, began = peak_MB(), time.perf_counter()
    with Ledger(folder / LEDGER) as ledger, ledger.recorded_run("0"), local_executor(slots) as executor:
        runner = Runner(store, ledger, executor=executor, slots=slots, python_of=lambda _: Path(sys.executable))
        runner.gather(tasks(1))
        began = time.perf_counter()
        runner.gather(tasks(count))
        done = time.perf_counter()
    grown = peak_MB() - before
    again = time.perf_counter()
    ledger = Ledger(folder / LEDGER)
    store = Store(folder / "store", read_only=True)
    runner = Runner(store, ledger, executor=None, slots=slots, python_of=lambda _: Path(sys.executable))
    try:
        runner.gather(tasks(count))
    except TasksPending as pending:
        raise SystemExit(f"{len(pending.tasks)} tasks are not done") from pending
    read = time.perf_counter()
    return {
        "ms": (done - began) / count * 1e3,
        "again_s": read - again,
        "inodes": inodes(folder / "store" / "objects") / count,
        "grown_MB": grown,
    }


def joblibs(folder: Path, count: int) -> dict[str, float]:
    from joblib import Memory

    def probe(amount: int) -> dict[str, object]:
        return {"array": np.full(3, float(amount)), "sum": float(amount)}

    cached = Memory(folder, verbose=0).cache(probe)
    began = time.perf_counter()
    for i in range(count):
        cached(i)
    done = time.perf_counter()
    for i in range(count):
        cached.check_call_in_cache(i)
    read = time.perf_counter()
    return {"ms": (done - began) / count * 1e3, "again_s": read - done, "inodes": inodes(folder) / count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    gc.set_threshold(*GC_THRESHOLDS)  # as in each command of the command line
    root = Path(tempfile.mkdtemp(prefix="superionic-overhead-", dir=arguments.folder))
    count = arguments.tasks
    try:
        peer = joblibs(root / "joblib", count)
        rows = [("joblib.Memory, in one process, no fsync", peer)]
        for durable in (False, True):
            name = f"superionic, {arguments.workers} workers, {'durable' if durable else 'durable: false'}"
            rows.append((name, ours(root / str(durable), count, arguments.workers, durable)))
        print(f"{count} tasks of no work\n")
        print("| | ms a task | ratio | found done again, s | ratio | inodes a result | memory grown by, MB |")
        print("|---|---|---|---|---|---|---|")
        for name, row in rows:
            print(
                f"| {name} | {row['ms']:.2f} | {row['ms'] / peer['ms']:.2f} | {row['again_s']:.2f} | "
                f"{row['again_s'] / peer['again_s']:.2f} | {row['inodes']:.2f} | {row.get('grown_MB', 0.0):.0f} |"
            )
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
