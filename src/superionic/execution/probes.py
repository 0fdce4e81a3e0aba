"""Task functions that only exercise a worker, to test whether an executor runs, fails, crashes and times out properly.

The tests use them, and so can anyone who writes an executor for a new cluster.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from superionic.errors import CalculationFailed, PotentialError
from superionic.execution.task import Context


def add(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Add ``amount`` to the sum of the inputs ``terms``."""
    total = settings["amount"] + sum(float(term) for term in inputs.get("terms", []))
    return {"array": np.full(3, total), "sum": total}


def calculation_fails(settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> None:
    """Fail as a calculation does: the reason is data."""
    raise CalculationFailed(settings["reason"], {"step": 3})


def input_is_wrong(_settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> None:
    """Fail as a wrong input does."""
    raise PotentialError("this probe is always wrong", fix="do not run it")


def raises(_settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> None:
    """Fail as a bug in the code does."""
    raise ZeroDivisionError("a fault")


def crash(_settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> None:
    """Kill the worker process."""
    os.kill(os.getpid(), signal.SIGKILL)


def wait(settings: Mapping[str, Any], _inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Wait for ``seconds``, reporting progress."""
    steps = 10
    for step in range(steps):
        time.sleep(settings["seconds"] / steps)
        context.progress((step + 1) / steps, "waiting")
    return {"seconds": settings["seconds"]}


def remember(_settings: Mapping[str, Any], _inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Count the calls to this worker process, in its cache."""
    context.cache["calls"] = context.cache.get("calls", 0) + 1
    (context.scratch / "file").write_text("gone when the task ends")
    return {"calls": context.cache["calls"], "pid": os.getpid(), "scratch": str(context.scratch)}


def length_of(settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Count the bytes of ``file``: a task receives a stored file as its path."""
    return {"bytes": Path(settings["file"]).stat().st_size}


def start_children(settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> None:
    """Start processes that only a signal ends, write all pids to ``file``, this one's first, and wait.

    One is an ordinary child, one has its own session, and one has left its parent as a daemon does.
    """
    command = ["sleep", "600"]
    pids = [os.getpid(), *(subprocess.Popen(command, start_new_session=own).pid for own in (False, True)), _daemon()]
    file = Path(settings["file"])
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.write_text(" ".join(map(str, pids)))
    part.replace(file)
    time.sleep(600.0)


def _daemon() -> int:
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        pid = os.fork()
        if pid == 0:
            os.execvp("sleep", ["sleep", "600"])  # noqa: S606 - a daemon is what it is to become
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reading, 20))


def fail_at_first(settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Fail ``times`` times in the way ``how``, then succeed; each call adds a line to ``file``, which counts them.

    The ways are ``crash``, ``raise``, ``exit``, ``wait``, ``stop`` (this process) and ``stop the supervisor``.
    """
    with Path(settings["file"]).open("a+") as file:
        file.write(f"{os.getpid()}\n")
        file.flush()
        file.seek(0)
        calls = len(file.readlines())
    if calls > settings["times"]:
        return {"calls": calls}
    how = settings["how"]
    if how == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "raise":
        raise ZeroDivisionError("a fault")
    elif how == "exit":
        os._exit(3)
    elif how.startswith("stop"):
        os.kill(os.getpid() if how == "stop" else os.getppid(), signal.SIGSTOP)
    time.sleep(600.0)
    raise AssertionError("unreachable")


def look_around(settings: Mapping[str, Any], _inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return where this runs, after ``seconds``."""
    time.sleep(settings["seconds"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return {
        "host": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "cores": cores,
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "scratch": str(context.scratch),
    }
