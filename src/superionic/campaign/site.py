"""Loading a site file: all mistakes at once, as for campaign files; and the presets to start from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from superionic.campaign.file.load import error_of, read_text
from superionic.campaign.file.messages import validation_problems
from superionic.campaign.file.presets import merged
from superionic.campaign.file.yaml_text import Position, parse_yaml
from superionic.execution.ledger import Ledger
from superionic.execution.sites.base import kind_of_task
from superionic.execution.sites.site_file import Site
from superionic.execution.task import Task
from superionic.settings.rules import Problem, did_you_mean

if TYPE_CHECKING:
    from superionic.execution.sites.site_file import Kind

REFERENCE: Final = "docs/how-to/slurm.md describes every key, and has files to start from."

_MEMORY_MARGIN: Final = 1.25
_MEMORY_UNASKED_GB: Final = 2.0
"""Least memory per core that clusters grant to a job that requests none."""
_CORE: Final = {"workers_per_node": 16, "memory_per_worker_GB": 2.0, "walltime_h": 4.0, "max_jobs": 2}
_DFT: Final = {
    "cores_per_worker": 32,
    "memory_per_worker_GB": 96.0,
    "walltime_h": 24.0,
    "longest_task_h": 6.0,
    "max_jobs": 4,
    "mpi_launch": "srun -n 32",
}
PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "slurm-cpu": {
        "kinds": {
            "core": _CORE,
            "potential": {
                "workers_per_node": 16,
                "memory_per_worker_GB": 4.0,
                "walltime_h": 12.0,
                "longest_task_h": 2.0,
                "max_jobs": 4,
            },
            "dft": _DFT,
        },
    },
    "slurm-gpu": {
        "kinds": {
            "core": _CORE,
            "potential": {
                "workers_per_node": 4,
                "cores_per_worker": 4,
                "memory_per_worker_GB": 16.0,
                "gpus_per_node": 4,
                "walltime_h": 12.0,
                "longest_task_h": 2.0,
                "max_jobs": 4,
            },
            "dft": _DFT,
        },
        "pack_engines": True,
    },
    # A Slurm on one machine, for a trial: small jobs, and frequent polling disturbs nobody.
    "slurm-here": {
        "kinds": {"core": {"walltime_h": 0.5, "longest_task_h": 0.1, "max_jobs": 2}},
        "driver": {"walltime_h": 0.5},
        "poll_s": 2.0,
        "heartbeat_s": 3,
        "progress_every_s": 2.0,
    },
}
"""What each preset sets; the file's own keys win, key by key."""


def load_site(path: str | Path) -> Site:
    """Read and validate a site file.

    Raises
    ------
    CampaignFileError
        If it cannot be read or has mistakes; the message lists all of them, each with its place and what to do.
    """
    source = Path(path)
    return parse_site(read_text(source, what="site file", reference=REFERENCE), source)


def parse_site(text: str, path: str | Path) -> Site:
    """Validate the text of a site file as if it stood at ``path``; see :func:`load_site`."""
    document = parse_yaml(text)
    raw = document.value
    if isinstance(raw, dict):
        preset = raw.get("preset")
        if preset is None or (isinstance(preset, str) and preset in PRESETS):
            completed = merged(PRESETS[preset] if preset is not None else {}, raw)
            try:
                site = Site.model_validate(completed)
                if not document.problems:
                    return site
                problems = []
            except ValidationError as error:
                problems = validation_problems(error, raw, completed, Site)
        else:
            hint = did_you_mean(str(preset), PRESETS) or f"choose one of {', '.join(PRESETS)}"
            problems = [Problem(("preset",), f"there is no preset {preset!r}", hint)]
        document.problems.extend((problem, document.place(problem)) for problem in problems)
    elif not document.problems:
        message = "the file is empty" if raw is None else "the file is not a mapping of keys to values"
        document.problems.append((Problem((), message), Position(1, 1)))
    raise error_of(document, Path(path), what="site file", reference=REFERENCE)


def fit_memory(site: Site, tasks: Iterable[Task[Any]], ledger: Ledger) -> tuple[Site, tuple[str, ...]]:
    """Raise the memory that a site file requests to what tasks of a campaign were measured to use.

    Parameters
    ----------
    tasks, ledger
        What the campaign has done, and what it cost.

    Returns
    -------
    site, words
        The site with more memory a worker where that is needed, and a sentence on each such kind of job.
    """
    largest: dict[Kind, float] = {}
    for task in tasks:
        record = ledger.record(task.key)
        if record is not None and record.peak_MB is not None:
            kind = site.block(kind_of_task(task.engine, task.settings))[0]
            largest[kind] = max(largest.get(kind, 0.0), record.peak_MB / 1024.0)
    sentences = []
    for kind, used_GB in sorted(largest.items()):
        _, block = site.block(kind)
        asked_GB = block.memory_per_worker_GB
        needed_GB = math.ceil(2.0 * _MEMORY_MARGIN * used_GB) / 2.0
        if needed_GB > (_MEMORY_UNASKED_GB if asked_GB is None else asked_GB):
            stated = "the cluster's default" if asked_GB is None else f"{asked_GB:g} GB"
            sentences.append(
                f"jobs of {kind}: {needed_GB:g} GB of memory a worker instead of {stated}, since tasks of this "
                f"campaign used {used_GB:.2g} GB"
            )
            grown = block.model_copy(update={"memory_per_worker_GB": needed_GB})
            site = site.model_copy(update={"kinds": site.kinds.model_copy(update={kind: grown})})
    return site, tuple(sentences)
