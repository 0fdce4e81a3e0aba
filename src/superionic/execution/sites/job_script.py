"""The shell scripts of jobs: the request to the scheduler, and the environment of the node."""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from superionic.execution.home import superionic_home
from superionic.execution.sites import slurm
from superionic.execution.sites.node import ENDS_VARIABLE, GPUS_VARIABLE, SCRATCH_VARIABLE

if TYPE_CHECKING:
    from superionic.execution.sites.site_file import Block, Queue, Site

_EXPORTED = ("SUPERIONIC_VASP", "PMG_VASP_PSP_DIR", "SUPERIONIC_PACKAGE_INDEX")


def block_script(site: Site, block: Block, *, name: str, log: Path, command: str) -> str:
    """Return the script of a job that runs tasks: it starts ``command`` once on each node.

    Parameters
    ----------
    name, log
        Name of the job, and the file for its output.
    command
        Shell command of one node's workers.
    """
    cores = block.cores_per_node
    shape = [f"--ntasks-per-node={cores}", "--cpus-per-task=1"] if block.mpi_launch else _one_task(cores)
    if block.memory_per_worker_GB is not None:
        shape.append(f"--mem={round(block.memory_per_worker_GB * block.workers_per_node * 1024)}M")
    if block.gpus_per_node:
        shape.append(f"--gres=gpu:{block.gpus_per_node}")
    gpus = ",".join(map(str, range(block.gpus_per_node)))
    head = _head(
        site.queue_of(block), [f"--nodes={block.nodes}", *shape], name=name, log=log, walltime_h=block.walltime_h
    )
    seconds = int(slurm.hours(block.walltime_h)) * 60
    launch = f'export SUPERIONIC_VASP={shlex.quote(f"{block.mpi_launch} ")}"${{SUPERIONIC_VASP:-vasp_std}}"'
    lines = [
        *head,
        *environment_lines(site),
        *site.queue_of(block).setup,
        *([launch] if block.mpi_launch else []),
        *([f'export {GPUS_VARIABLE}="${{CUDA_VISIBLE_DEVICES:-{gpus}}}"'] if gpus else []),
        f"export PARSL_CORES={cores}",
        f"export {ENDS_VARIABLE}=$(( $(date +%s) + {seconds} ))",
        f'export {SCRATCH_VARIABLE}="{site.scratch}/superionic-${{SLURM_JOB_ID:-$$}}"',
        f"trap 'rm -rf \"${SCRATCH_VARIABLE}\"' EXIT",
        (f"srun --ntasks={block.nodes} --ntasks-per-node=1 {command}" if block.nodes > 1 else command),
    ]
    return "\n".join(lines) + "\n"


def driver_script(site: Site, *, name: str, script: Path, log: Path, command: Sequence[str]) -> str:
    """Return the script of the job that runs a campaign and submits its own successor.

    Its first argument is the largest number of successors; further arguments are options of the command, for this job
    and not for its successors. The successor is submitted at the start, to run when this job has ended in any way, so
    that the campaign survives the crash of a node as well as the end of the walltime. When the campaign is done, or
    ends with an error that only the user can mend, the successor is cancelled.
    """
    driver = site.driver
    shape = ["--nodes=1", *_one_task(driver.cores)]
    if driver.memory_GB is not None:
        shape.append(f"--mem={round(driver.memory_GB * 1024)}M")
    head = _head(
        site.queue_of(driver),
        [*shape, "--signal=B:TERM@120"],
        name=name,
        log=log,
        walltime_h=driver.walltime_h,
        append=True,
    )
    # The variables that Slurm set for this job must not become options of its successor.
    clean = "env $(compgen -e | sed -n '/^SLURM_CONF$/d; s/^SLURM/-u SLURM/p')"
    body = f"""
left=${{1:-0}}
follower=
if [ "$left" -gt 0 ]; then
    follower=$({clean} sbatch --parsable --dependency="afterany:$SLURM_JOB_ID" {shlex.quote(str(script))} $((left - 1)))
    follower=${{follower%%;*}}
    [ -n "$follower" ] || echo "no successor of this job could be submitted" >&2
fi
set -m  # otherwise background processes ignore Ctrl-C
{shlex.join(command)} "${{@:2}}" &
child=$!
stopped=
trap 'stopped=1; kill -TERM "$child" 2>/dev/null' TERM
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
# After an end from outside (a signal, the walltime) the successor continues; after an exit of its own it is cancelled.
if [ -z "$stopped" ] && [ "$code" -lt 128 ] && [ -n "$follower" ]; then scancel "$follower"; fi
exit "$code"
"""
    return "\n".join([*head, *environment_lines(site), *site.queue_of(driver).setup, body.strip()]) + "\n"


def environment_lines(site: Site, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return shell lines that give a node what this machine has: programs, engines, and the user's VASP."""
    home = site.superionic_home or str(superionic_home())
    paths = dict.fromkeys([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)])
    exports = [f"export {name}={shlex.quote(environment[name])}" for name in _EXPORTED if name in environment]
    return [
        f'export PATH={shlex.quote(os.pathsep.join(paths))}:"$PATH"',
        f"export SUPERIONIC_HOME={shlex.quote(home)}",
        "export PYTHONNOUSERSITE=1",
        *exports,
    ]


def _one_task(cores: int) -> list[str]:
    return ["--ntasks-per-node=1", f"--cpus-per-task={cores}"]


def _head(
    queue: Queue, shape: Sequence[str], *, name: str, log: Path, walltime_h: float, append: bool = False
) -> list[str]:
    options = [
        f"--job-name={name}",
        f"--output={shlex.quote(str(log))}",
        *(["--open-mode=append"] if append else []),
        f"--time={slurm.hours(walltime_h)}",
        *shape,
        "--no-requeue",
        *(
            f"--{key}={value}"
            for key in ("partition", "account", "qos", "constraint")
            if (value := getattr(queue, key))
        ),
        *queue.sbatch,
    ]
    return ["#!/bin/bash", *(f"#SBATCH {option}" for option in options)]
