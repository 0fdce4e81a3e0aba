"""The shell scripts of jobs: what is asked of the scheduler, and what is said to the node before work begins."""

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

_HANDED_ON = ("SUPERIONIC_VASP", "PMG_VASP_PSP_DIR", "SUPERIONIC_PACKAGE_INDEX")


def block_script(site: Site, block: Block, *, name: str, log: Path, command: str) -> str:
    """Return the script of a job that runs tasks: ``command`` once on each node, for as long as it has work.

    Parameters
    ----------
    name, log
        Name of the job, and the file that its output goes to.
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
    """Return the script of the job that runs a campaign and follows itself.

    Its first argument says how many follow at most; what comes after it are further options of the command, for this
    job and not for its followers. The follower is handed in first thing, to start when this job has ended in whatever
    way, so that the crash of a node is survived as well as the end of the walltime; when the campaign is done, or ends
    by a mistake that only its user can mend, the follower is cancelled.
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
    # Slurm's words to this job are no wishes for the one that follows it.
    clean = "env $(compgen -e | sed -n '/^SLURM_CONF$/d; s/^SLURM/-u SLURM/p')"
    body = f"""
left=${{1:-0}}
follower=
if [ "$left" -gt 0 ]; then
    follower=$({clean} sbatch --parsable --dependency="afterany:$SLURM_JOB_ID" {shlex.quote(str(script))} $((left - 1)))
    follower=${{follower%%;*}}
    [ -n "$follower" ] || echo "no job could be handed in to follow this one" >&2
fi
set -m  # otherwise what runs in the background is made deaf to Ctrl-C
{shlex.join(command)} "${{@:2}}" &
child=$!
stopped=
trap 'stopped=1; kill -TERM "$child" 2>/dev/null' TERM
wait "$child"; code=$?
while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
# What ended it from outside (a signal, the walltime) is no reason to stop; its own exit code is.
if [ -z "$stopped" ] && [ "$code" -lt 128 ] && [ -n "$follower" ]; then scancel "$follower"; fi
exit "$code"
"""
    return "\n".join([*head, *environment_lines(site), *site.queue_of(driver).setup, body.strip()]) + "\n"


def environment_lines(site: Site, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return shell lines that make a node see what this machine sees: programs, engines, and the user's VASP."""
    home = site.superionic_home or str(superionic_home())
    paths = dict.fromkeys([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)])
    handed_on = [f"export {name}={shlex.quote(environment[name])}" for name in _HANDED_ON if name in environment]
    return [
        f'export PATH={shlex.quote(os.pathsep.join(paths))}:"$PATH"',
        f"export SUPERIONIC_HOME={shlex.quote(home)}",
        "export PYTHONNOUSERSITE=1",
        *handed_on,
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
