"""Random kills: of the driver, of a worker's supervisor, of a worker, of any child (an engine's, the reader of
crystal files), at any moment.

After a driver's death the same command is given again, at once or when all that it started is gone. Nothing but a
driver is killed twice in one run: a task that kills its worker twice is a failure, and rightly so.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from bench import GONE_WITHIN_S, Bench, Ended, Run, Tally, result_files, run_folder

_SIGNALS: Final = ("KILL", "TERM", "HUP", "INT", "STOP, then KILL")
_CODES: Final = (
    0,
    *(code for n in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT) for code in (-n, 128 + n)),
)


def random_kills(bench: Bench, tally: Tally) -> None:
    """Kill at random moments."""
    number = 1000 if bench.long else 24
    spans: dict[str, float] = {}
    bench.drivers()  # what it does to be warm is not part of a run
    for name in bench.names:
        with bench.campaign(name) as path:
            began = time.monotonic()
            bench.run(path)
            spans[name] = time.monotonic() - began
    while tally.number < number:
        rng = np.random.default_rng([bench.seed, tally.number])  # so that it can go on where it was stopped
        name = bench.names[int(rng.integers(len(bench.names)))] if bench.long or rng.random() < 0.5 else bench.names[0]
        state = "new" if bench.long and rng.random() < 0.2 else "begun"
        with bench.campaign(name, state) as path:
            _kill_until_done(bench, tally, name, path, spans[name], rng)
        bench.keep(tally)


def _kill_until_done(
    bench: Bench, tally: Tally, name: str, path: Path, span_s: float, rng: np.random.Generator
) -> None:
    first = tally.number
    case = f"{name}, kills {first + 1} and later"
    before: dict[str, int] = {}
    while True:
        run = bench.drivers().start(arguments=bench.arguments(path))
        ended, what = _disturbed(bench, tally, run, span_s, rng)
        if ended is None:
            tally.wrong("manual", f"{case}: a run did not end after {what}")
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            bench.end_all()
            return
        foreign = "Traceback" in ended.said or "a bug in superionic" in ended.said
        if foreign or ended.code not in _CODES:
            tally.wrong("wordless", f"{case}: after {what}: {ended.code} {ended.said[-500:]}")
        if rng.random() < 0.5:
            alive = bench.left_running(GONE_WITHIN_S)
            tally.wrong("left", f"{case}: {GONE_WITHIN_S:g} s after {what}: {alive}", len(alive))
        now = result_files(run_folder(path.parent))
        again = [file for file in before if now.get(file) != before[file]]
        tally.wrong("twice", f"{case}: {again[:3]}", len(again))
        before = now
        if ended.code == 0:
            break
    bench.look(tally, name, path, case, before)


def _disturbed(
    bench: Bench, tally: Tally, run: Run, span_s: float, rng: np.random.Generator
) -> tuple[Ended | None, str]:
    """Kill another process than the driver, or the driver, or both, and return how the run ended and what was done."""
    done: list[str] = []
    while True:
        # What is there already shortens a run that goes on, so its end is met too.
        ended = run.wait(float(rng.uniform(0.0, 0.75 * span_s)))
        if ended is not None:
            return ended, " and ".join(done) or "nothing"
        processes = _by_kind(bench, run)
        others = [kind for kind in processes if kind != "driver"]
        victim = str(rng.choice(others)) if others and not done and rng.random() < 0.5 else "driver"
        how = str(rng.choice(_SIGNALS))
        tally.number += _kill(processes, victim, how, rng)
        done.append(f"{how} of the {victim}")
        if victim == "driver" or rng.random() < 0.3:
            return run.wait(), " and ".join(done)


def _kill(processes: Mapping[str, list[int]], victim: str, how: str, rng: np.random.Generator) -> int:
    """Send a signal to a process of a run; return the number of those that were hit."""
    pid = int(rng.choice(processes[victim]))
    with suppress(ProcessLookupError):
        if how == "STOP, then KILL":
            os.kill(pid, signal.SIGSTOP)
            time.sleep(float(rng.uniform(0.0, 0.3)))
            os.kill(pid, signal.SIGKILL)
        else:
            os.kill(pid, getattr(signal, f"SIG{how}"))
        return 1
    return 0


def _by_kind(bench: Bench, run: Run) -> dict[str, list[int]]:
    """Return the processes of a run that there are now."""
    commands = bench.processes()
    commands.pop(run.pid, None)
    bootstraps = {pid for pid, command in commands.items() if "bootstrap.py" in command}
    workers = {pid for pid in bootstraps if _parent(pid) in bootstraps}
    kinds = {
        "driver": {run.pid},
        "supervisor": bootstraps - workers,
        "worker": workers,
        "child": {pid for pid, command in commands.items() if "bootstrap.py" not in command}
        - {pid for pid, command in commands.items() if "driver.py" in command},  # before its exec
    }
    return {kind: sorted(pids) for kind, pids in kinds.items() if pids}


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0
