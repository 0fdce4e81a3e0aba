"""Two drivers in one folder: of one machine, of two, and of two where the file system has no locks."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np
from bench import Bench, Ended, Run, Tally, result_files, run_folder
from interposed import Fault

_LONGEST_S = 120.0
_NO_LOCKS = Fault("fail", 1, error=errno.ENOLCK, functions=("flock",), lasting=True)


def two_drivers(bench: Bench, tally: Tally) -> None:
    """Give the command twice at once, and kill the first now and then."""
    rng = np.random.default_rng(bench.seed)
    for number in range(120 if bench.long else 3):
        hosts = (None, None) if number % 3 == 0 else ("one", "two")
        no_locks, killed = number % 3 == 2, number % 4 == 1
        name = bench.names[number // 2 % len(bench.names)]
        with bench.campaign(name) as path:
            if no_locks:
                bench.interposed.arm(_NO_LOCKS, path.parent)
            _together(bench, tally, name, path, hosts, killed=killed, rng=rng)
            bench.interposed.disarm()


def _together(
    bench: Bench,
    tally: Tally,
    name: str,
    path: Path,
    hosts: tuple[str | None, str | None],
    *,
    killed: bool,
    rng: np.random.Generator,
) -> None:
    tally.number += 1
    case = f"{name}, pair {tally.number} on {hosts}{', the first is killed' if killed else ''}"
    runs: list[Run] = []
    for number, host in enumerate(hosts):
        request = {"arguments": bench.arguments(path), "host": host, "renew_s": 0.2}
        runs.append(bench.drivers(number).start(**request))
        time.sleep(float(rng.choice([0.0, 0.05, 0.3])))
    if killed:
        os.kill(runs[0].pid, signal.SIGKILL)
    ended = [run.wait(_LONGEST_S) for run in runs]
    for run, end in zip(runs, ended, strict=True):
        if end is None:
            tally.wrong("manual", f"{case}: a run did not end")
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
    for end in ended:
        if end is not None and not (end.in_words or end.code == -signal.SIGKILL):
            tally.wrong("wordless", f"{case}: {end.code} {end.said[-500:]}")
    refused = [end for end in ended if end is not None and _is_refused(end)]
    if not killed and len(refused) > 1:
        tally.wrong("manual", f"{case}: each was refused for the other")
    before = result_files(run_folder(path.parent))
    request = {"arguments": bench.arguments(path), "host": hosts[0], "renew_s": 0.2}
    last = bench.drivers().start(**request).wait()
    if last is None or last.code != 0:
        tally.wrong("manual", f"{case}: the same command ended with {last}")
        return
    bench.look(tally, name, path, case, before)


def _is_refused(end: Ended) -> bool:
    return end.code == 2 and "another run is working in this folder" in end.said
