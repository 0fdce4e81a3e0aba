"""The interface between a campaign and a site: an executor, and the number of tasks to submit at a time.

A pool other than Parsl's is a function of the type :data:`Opener`, under a name in the entry-point group
``superionic.sites`` of any installed package; a site file selects it with ``pool: NAME``.
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
"""Labellers whose tasks run in jobs of the kind ``dft``."""
_OWN: Final = {
    "parsl": "superionic.execution.sites.parsl_engine:open_parsl",
    "processes": "superionic.execution.sites.processes:open_processes",
}


@dataclass(frozen=True)
class SiteRun:
    """The arguments of an :data:`Opener`.

    Attributes
    ----------
    run_folder
        Absolute path of the campaign's results, visible to all nodes.
    slots
        Slots on a single machine; their number of threads applies unless the site file states one.
    say
        Receives messages for the user, a line at a time.
    """

    site: Site
    run_folder: Path
    slots: Slots
    say: Callable[[str], None]


@dataclass(frozen=True)
class TaskPool:
    """A set of workers that run tasks.

    Attributes
    ----------
    executor
        Accepts ``submit(execute, request)``. Its future ends with a reply, with a :class:`SuperionicError` if nothing
        can run here any longer, or with any other exception if the machine that ran the task was lost.
    slots
        Number of tasks to submit at a time.
    visibility_s
        Longest time for a result stored there to become visible here.
    progress_every_s
        Shortest interval between two progress reports of a task.
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
    """Start the pool that the site file names; leaving the block ends it, and everything that it started.

    Raises
    ------
    EngineError
        If the pool of the site file is unknown, or cannot be loaded.
    """
    return find_opener(run.site.pool)(run)


def find_opener(name: str) -> Opener:
    """Return the opener of a pool: one of superionic's own, or an entry point of another package.

    Raises
    ------
    EngineError
        If there is none of that name, or it cannot be imported.
    """
    points = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    points |= {own: importlib.metadata.EntryPoint(own, value, GROUP) for own, value in _OWN.items()}
    if name not in points:
        raise EngineError(
            f"there is no pool called {name!r}",
            where="pool in the site file",
            fix=f"choose one of {', '.join(sorted(points))}, or install the package that provides it",
        )
    try:
        opener: Opener = points[name].load()
    except ImportError as error:
        fix = "pip install 'superionic[slurm]'" if name == "parsl" else "install the module named in the message"
        raise EngineError(
            f"the pool {name!r} cannot be loaded: {error}", where="pool in the site file", fix=fix
        ) from error
    return opener


def kind_of(request: Request) -> Kind:
    """Return the kind of job that a task needs, from its request."""
    descriptor: dict[str, Any] = request.get("descriptor", {})
    return kind_of_task(str(descriptor.get("engine", {}).get("name", "core")), descriptor.get("settings", {}))


def kind_of_task(engine: str, settings: Mapping[str, Any]) -> Kind:
    """Return the kind of job in which a task runs, from its engine and settings."""
    if engine in DFT_ENGINES or settings.get("labeller") in DFT_ENGINES:
        return "dft"
    return "core" if engine == "core" else "potential"
