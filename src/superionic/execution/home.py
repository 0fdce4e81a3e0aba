"""Where superionic keeps what outlives a campaign, and the environment variables that its worker processes have."""

from __future__ import annotations

import os
from pathlib import Path


def superionic_home() -> Path:
    """Return ``$SUPERIONIC_HOME``, or else the folder ``superionic`` among the user's data; engines live in it."""
    home = os.environ.get("SUPERIONIC_HOME")
    if home:
        return Path(home).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "superionic"


def worker_environment(threads: int = 1) -> dict[str, str]:
    """Return the complete environment variables for a worker process.

    One thread a process, and threads that wait without spinning, because oversubscribed cores are ruinous: two threads
    beside another job made a CHGNet step of 65 ms take 8.4 s. Hash seeds are fixed, so that no order of a set can make
    two runs differ. Python paths of the caller are left out: they would leak packages into the engine.
    """
    environment = clean_environment()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        environment[variable] = str(threads)
    environment |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_DYNAMIC": "FALSE", "MKL_DYNAMIC": "FALSE"}
    environment |= {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
    return environment


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would mix other Python packages into a virtual environment.

    Nor must an engine go without compiled modules, as it would where an image of a container forbids to write them:
    each worker would compile the engine's thousands of modules anew, at twice the time of its start.
    """
    dropped = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT"}
    dropped.add("PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment["PYTHONNOUSERSITE"] = "1"
    return environment
