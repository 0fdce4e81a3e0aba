"""The commands of Slurm: sbatch, squeue, scancel and sinfo, with explanations of their errors."""

from __future__ import annotations

import getpass
import hashlib
import math
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from superionic.errors import EngineError

ENDED: Final = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
)
TIMEOUT_S: Final = 30.0
_JOB: Final = re.compile(r"Submitted batch job (\d+)|^(\d+)(?:;\S+)?$", re.MULTILINE)
_HINTS: Final = (
    ("invalid account", "name an account that you may use: `account` in the site file (sacctmgr show associations)"),
    ("invalid qos", "name a QOS that you may use: `qos` in the site file"),
    ("invalid partition", "name a partition of this cluster: `partition` in the site file (sinfo)"),
    ("submit limit", "ask for fewer jobs at a time: `max_jobs` in the site file, or wait for your other jobs"),
    ("time limit", "ask for less time: `walltime_h` in the site file; sinfo shows what each partition allows"),
    ("limit", "ask for fewer or shorter jobs: `max_jobs`, `walltime_h`, `cores_per_worker` in the site file"),
    ("node configuration", "no node has that many cores, GPUs or that much memory: see `sinfo -N -l`"),
    ("gres", "no node has such GPUs: see `sinfo -o '%N %G'`, and `gpus_per_node` in the site file"),
    ("feature", "no node has these features: `constraint` in the site file"),
)


class SbatchRefused(Exception):  # noqa: N818 - it names what happened
    """The scheduler refused a job; the message is its own."""


@dataclass(frozen=True)
class Job:
    """A job as squeue shows it."""

    id: str
    state: str
    name: str
    reason: str

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.state in ENDED


def name_of(run_folder: Path, part: str = "") -> str:
    """Return the prefix of the names of all jobs of a run folder, or of those of one part of it."""
    tag = hashlib.sha256(str(run_folder.resolve()).encode()).hexdigest()[:10]
    return f"superionic.{tag}.{part}"


def is_there() -> bool:
    """Return whether this machine has the commands of Slurm."""
    return shutil.which("sbatch") is not None


def sbatch(script: Path, arguments: Sequence[str] = (), options: Sequence[str] = ()) -> str:
    """Submit a script and return the id of its job.

    Raises
    ------
    SbatchRefused
        If sbatch refuses the job; with its message.
    """
    done = _call(["sbatch", "--parsable", *options, str(script), *arguments])
    match = _JOB.search(done.stdout)
    if done.returncode != 0 or match is None:
        raise SbatchRefused(_words(done) or f"sbatch ended with exit code {done.returncode}")
    return match[1] or match[2]


def jobs(prefix: str = "superionic.") -> dict[str, Job] | None:
    """Return the user's jobs whose names start with ``prefix``, by id; None if the scheduler does not answer.

    A missing job has ended, and the scheduler has forgotten it.
    """
    done = _call(["squeue", "--noheader", "--states=all", "--format=%i|%T|%j|%r", f"--user={getpass.getuser()}"])
    if done.returncode != 0:
        return None
    listed = (Job(*line.split("|", 3)) for line in done.stdout.splitlines() if line.count("|") >= 3)
    return {job.id: job for job in listed if job.name.startswith(prefix)}


def alive(prefix: str) -> list[Job]:
    """Return the user's jobs that have not ended and whose names start with ``prefix``.

    Raises
    ------
    EngineError
        If the scheduler does not answer.
    """
    listed = jobs(prefix)
    if listed is None:
        raise EngineError(
            "Slurm does not answer, so the list of jobs is unknown",
            where="squeue",
            fix="try again in a minute; if that does not help, ask the operators of the cluster",
        )
    return [job for job in listed.values() if not job.ended]


def scancel(ids: Sequence[str]) -> None:
    """Cancel jobs; those that have already ended are no error."""
    if ids:
        _call(["scancel", *ids])


def cancel_all(prefix: str) -> list[Job]:
    """Cancel the user's jobs whose names start with ``prefix``, and return those that had not ended.

    Raises
    ------
    EngineError
        If the scheduler does not answer.
    """
    cancelled = alive(prefix)
    scancel([job.id for job in cancelled])
    return cancelled


def partitions() -> dict[str, str]:
    """Return the partitions of the cluster, each with a description of its nodes and limits."""
    done = _call(["sinfo", "--noheader", "--format=%R|%l|%D|%c"])
    rows = (line.strip().split("|") for line in done.stdout.splitlines() if line.count("|") == 3)
    return {name: f"{nodes} nodes with {cores} cores, at most {limit}" for name, limit, nodes, cores in rows}


def refusal(words: str) -> EngineError:
    """Return the error that explains why jobs are refused, with a fix for the message of sbatch."""
    low = words.lower()
    fix = next(
        (hint for sign, hint in _HINTS if sign in low), "correct the site file, and try: superionic doctor --site"
    )
    return EngineError(f"the scheduler refuses jobs: {words}", where="sbatch", fix=fix)


def hours(walltime_h: float) -> str:
    """Return a time in hours in the form that sbatch takes: whole minutes, rounded up."""
    return str(max(1, math.ceil(walltime_h * 60.0 - 1e-9)))


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"{command[0]} did not answer within {TIMEOUT_S:.0f} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]} cannot be started: {error.strerror}")


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Drop the variables that Slurm set for the driver's own job, since jobs that it submits would inherit them."""
    of_the_user = {"SLURM_CONF", "SLURM_CLUSTERS"}
    return {name: value for name, value in environment.items() if name in of_the_user or not name.startswith("SLURM")}


def _words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines)[:600]
