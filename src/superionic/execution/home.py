"""The folder for what outlives a campaign, and the environment variables of worker processes."""

from __future__ import annotations

import os
from pathlib import Path


def superionic_home() -> Path:
    """Return ``$SUPERIONIC_HOME``, by default the folder ``superionic`` of the user's data; it holds the engines."""
    home = os.environ.get("SUPERIONIC_HOME")
    if home:
        return Path(home).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "superionic"


def worker_environment(threads: int = 1) -> dict[str, str]:
    """Return all environment variables of a worker process.

    There is one thread a process, and threads wait without spinning, because oversubscribed cores are ruinous: with two
    threads beside another job, a CHGNet step of 65 ms took 8.4 s. Hash seeds are fixed, so that two runs cannot differ
    by the order of a set. Python paths of the caller are left out, since they would leak packages into the engine.
    """
    environment = clean_environment()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        environment[variable] = str(threads)
    environment |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_DYNAMIC": "FALSE", "MKL_DYNAMIC": "FALSE"}
    environment |= {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
    return environment


def clean_environment() -> dict[str, str]:
    """Return this process's environment without variables that mix other packages into a virtual environment.

    PYTHONDONTWRITEBYTECODE, which container images may set, goes as well: with it each worker would compile the
    engine's thousands of modules again, which doubles the time to start.
    """
    dropped = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT"}
    dropped.add("PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment["PYTHONNOUSERSITE"] = "1"
    return environment
