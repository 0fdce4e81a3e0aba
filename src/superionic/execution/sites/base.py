"""The seam: a campaign asks for a place to run its tasks, and gets an executor and how many tasks it takes at once.

Another engine than Parsl is a function of the type :data:`Opener`, under a name in the entry-point group
``superionic.sites`` of any installed package; a site file chooses it with ``pool: NAME``.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from superionic.errors import EngineError
from superionic.execution.executors import local_executor
from superionic.execution.runner import Slots
from superionic.execution.worker import PROGRESS_EVERY_S, Request

if TYPE_CHECKING:
    from superionic.execution.sites.site_file import Kind, Site

GROUP: Final = "superionic.sites"
DFT_ENGINES: Final = frozenset({"gpaw", "vasp", "tblite"})
"""Labellers whose tasks run in the jobs of ``dft``."""
_OWN: Final = {
    "parsl": "superionic.execution.sites.parsl_engine:open_parsl",
    "processes": "superionic.execution.sites.processes:open_processes",
}


@dataclass(frozen=True)
class SiteRun:
    """What an engine is given.

    Attributes
    ----------
    site
        The site file.
    run_folder
        Folder of the campaign's results, seen by all nodes; absolute.
    slots
        What the campaign would use on one machine; its threads hold where the site file says nothing.
    say
        Hears what people should know, a line at a time.
    """

    site: Site
    run_folder: Path
    slots: Slots
    say: Callable[[str], None]


@dataclass(frozen=True)
class TaskPool:
    """Where tasks can run.

    Attributes
    ----------
    executor
        Takes ``submit(execute, request)``. A future of it ends with a reply; with a :class:`SuperionicError` if nothing
        can run here any more; with any other exception if the machine that had the task was lost.
    slots
        How many tasks to hand over at once.
    visibility_s
        How long a result that was stored there may take to be seen here.
    progress_every_s
        How often at most a task says how far it is.
    """

    executor: Executor
    slots: Slots
    visibility_s: float = 0.0
    progress_every_s: float = PROGRESS_EVERY_S


Opener = Callable[[SiteRun], AbstractContextManager[TaskPool]]


@contextmanager
def local_place(slots: Slots) -> Iterator[TaskPool]:
    """Start worker processes on this machine, without a site file."""
    with local_executor(slots) as executor:
        yield TaskPool(executor, slots)


def open_site(run: SiteRun) -> AbstractContextManager[TaskPool]:
    """Start what the site file names; leaving the block ends it, and everything that it started.

    Raises
    ------
    EngineError
        If the pool of the site file is not known, or cannot be loaded.
    """
    return find_opener(run.site.pool)(run)


def find_opener(name: str) -> Opener:
    """Return an engine by its name: one of superionic's own, or an entry point of another package.

    Raises
    ------
    EngineError
        If there is none, or it cannot be imported.
    """
    points = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    points |= {own: importlib.metadata.EntryPoint(own, value, GROUP) for own, value in _OWN.items()}
    if name not in points:
        raise EngineError(
            f"there is no pool {name!r}",
            where="pool in the site file",
            fix=f"choose one of {', '.join(sorted(points))}, or install the package that provides it",
        )
    try:
        opener: Opener = points[name].load()
    except ImportError as error:
        fix = "pip install 'superionic[slurm]'" if name == "parsl" else "install what the message names"
        raise EngineError(
            f"the pool {name!r} cannot be loaded: {error}", where="pool in the site file", fix=fix
        ) from error
    return opener


def kind_of(request: Request) -> Kind:
    """Tell what a task needs, from the plain data that describes it."""
    descriptor: dict[str, Any] = request.get("descriptor", {})
    return kind_of_task(str(descriptor.get("engine", {}).get("name", "core")), descriptor.get("settings", {}))


def kind_of_task(engine: str, settings: Mapping[str, Any]) -> Kind:
    """Tell in which jobs a task of an engine and with some settings runs."""
    if engine in DFT_ENGINES or settings.get("labeller") in DFT_ENGINES:
        return "dft"
    return "core" if engine == "core" else "potential"
