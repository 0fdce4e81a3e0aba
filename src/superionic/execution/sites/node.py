"""Tasks on a node: with scratch and engines on the node's own disk, and within the time limit of the job.

This module reads the environment variables that the job script exports: ``SUPERIONIC_SCRATCH`` (a folder on the node's
own disk), ``SUPERIONIC_JOB_ENDS`` (seconds since 1970) and ``SUPERIONIC_GPUS`` (those of the job, as CUDA names them).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from superionic.execution.worker import Reply, Request, execute

SCRATCH_VARIABLE: Final = "SUPERIONIC_SCRATCH"
ENDS_VARIABLE: Final = "SUPERIONIC_JOB_ENDS"
GPUS_VARIABLE: Final = "SUPERIONIC_GPUS"

_LEAST_S: Final = 20.0
"""Time before the end of a job, in s, at which its task is given up so that it can be submitted elsewhere."""


class JobTimeUp(Exception):  # noqa: N818 - it names what happened
    """The job's time limit was reached before the task's own, so that the task should run in another job."""


def execute_on_node(request: Request) -> Reply:
    """Run one task as :func:`superionic.execution.worker.execute` does, on this node's own disk.

    Raises
    ------
    JobTimeUp
        If the job's time limit is reached first.
    """
    _take_own_gpu()
    scratch = os.environ.get(SCRATCH_VARIABLE)
    if scratch:
        Path(scratch).mkdir(parents=True, exist_ok=True)
        request = {**request, "scratch_root": scratch}
        if "pack" in request:
            request["python"] = str(local_python(Path(request["python"]), Path(request["pack"]), Path(scratch)))
    own_s = request.get("walltime_s")
    left_s = float(os.environ.get(ENDS_VARIABLE, "inf")) - time.time() - _LEAST_S
    if left_s <= 0.0:
        raise JobTimeUp("the time limit of this job is reached")
    if own_s is not None and own_s <= left_s:
        return execute(request)
    reply = execute({**request, "walltime_s": None if left_s == float("inf") else left_s})
    if reply["state"] == "error" and reply.get("kind") == "TimeoutError":
        raise JobTimeUp(f"the job's time limit was reached after {left_s:.0f} s of this task")
    return reply


def _take_own_gpu() -> None:
    """Show this worker and its children one GPU of the job: the one of its rank among the node's workers."""
    gpus = [name for name in os.environ.get(GPUS_VARIABLE, "").split(",") if name]
    rank = int(os.environ.get("PARSL_WORKER_RANK", "0"))
    if rank < len(gpus):
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[rank]


def execute_many(requests: Sequence[Request], budget_s: float) -> list[Reply | None]:
    """Run tasks one after the other until ``budget_s`` have passed; None stands for those that were not started.

    Short tasks thus share one message, without having to wait long for a slow one among them.
    """
    began = time.monotonic()
    replies: list[Reply | None] = []
    for request in requests:
        over_budget = replies and time.monotonic() - began > budget_s
        replies.append(None if over_budget else execute_on_node(request))
    return replies


def local_python(python: Path, pack: Path, scratch: Path) -> Path:
    """Return an engine's interpreter on the node's own disk, unpacking the engine at its first use.

    Parameters
    ----------
    python
        The interpreter in the engine's environment on the shared file system, ``…/NAME/bin/python``.
    pack
        Archive of that environment; see :func:`superionic.execution.sites.packing.pack_engine`.
    scratch
        Folder on the node's own disk.

    Returns
    -------
    Path
        The interpreter of the copy, or the shared one if there is no room for a copy.
    """
    target = scratch / "engines" / pack.stem
    target.mkdir(parents=True, exist_ok=True)
    done = target / "unpacked"
    with (target / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # on the local disk; the node's other workers wait for the copy
        if not done.exists():
            completed = subprocess.run(
                ["tar", "-xf", str(pack), "-C", str(target)], check=False, stdin=subprocess.DEVNULL, capture_output=True
            )
            if completed.returncode != 0:
                return python
            done.touch()
    return target / python.relative_to(python.parents[1])
