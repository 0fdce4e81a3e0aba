"""A Slurm of its own on this machine: three nodes, made by a script and gone afterwards."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from superionic.execution.sites import slurm

SCRIPT: Final = Path(__file__).resolve().parents[3] / "shared" / "slurm" / "slurm-here"
_SHAPE: Final = {"SLURM_HERE_NODES": "3", "SLURM_HERE_CPUS": "4", "SLURM_HERE_GPUS": "2"}


class NoSlurmError(Exception):
    """No Slurm can be made here; the message says why."""


@dataclass(frozen=True)
class Cluster:
    """A running Slurm."""

    environment: dict[str, str]

    @property
    def conf(self) -> str:
        """What SLURM_CONF has to be."""
        return f"{self.environment['SLURM_HERE']}/slurm.conf"

    def call(self, *arguments: str) -> None:
        """Call the script that made it."""
        subprocess.run([str(SCRIPT), *arguments], env=self.environment, check=True, timeout=120, capture_output=True)

    def set_state(self, node: str, state: str) -> None:
        """Drain a node, or let it work again."""
        reason = ["Reason=tried"] if state == "drain" else []
        command = ["scontrol", "update", f"NodeName={node}", f"State={state}", *reason]
        subprocess.run(command, env={**self.environment, "SLURM_CONF": self.conf}, check=True)

    def alive(self, prefix: str = "superionic.") -> list[slurm.Job]:
        """Return the jobs that have not ended."""
        jobs = slurm.jobs(prefix)
        assert jobs is not None
        return [job for job in jobs.values() if not job.ended]

    def running(self) -> list[slurm.Job]:
        """Return the jobs that have a node."""
        return [job for job in self.alive() if job.state == "RUNNING"]

    def node_of(self, job: slurm.Job) -> str:
        """Return the name of the node on which a job runs; empty if it has none."""
        command = ["squeue", "--noheader", "--format=%N", "--jobs", job.id]
        environment = {**self.environment, "SLURM_CONF": self.conf}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()

    def becomes(self, condition: Callable[[], object], limit_s: float) -> float:
        """Wait for something, and return how long it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < limit_s, f"not within {limit_s} s"
            time.sleep(0.2)
        return time.monotonic() - began


@contextmanager
def slurm_here() -> Iterator[Cluster]:
    """Make a Slurm, and end it afterwards.

    Raises
    ------
    NoSlurmError
        If there is no script for it, or it does not work.
    """
    if not SCRIPT.is_file():
        raise NoSlurmError("the script that makes a Slurm is not here")
    if shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None and getpass.getuser() != "root":
        raise NoSlurmError("Slurm is not installed, and cannot be by this user")
    # Sockets have short names only, and pytest's folders long ones.
    folder = Path("/tmp") / f"slurm-test-{os.getpid()}"
    cluster = Cluster({**os.environ, "SLURM_HERE": str(folder), **_SHAPE})
    started = subprocess.run(
        [str(SCRIPT), "start"], env=cluster.environment, capture_output=True, text=True, check=False
    )
    if started.returncode != 0:
        raise NoSlurmError(f"no Slurm could be made: {started.stderr.strip()[-300:]}")
    try:
        yield cluster
    finally:
        subprocess.run([str(SCRIPT), "stop"], env=cluster.environment, check=False, capture_output=True)
        Path(f"{folder}.lock").unlink(missing_ok=True)
