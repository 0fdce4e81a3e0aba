"""Loading a model for a notebook: in this process, or in the environment of its engine."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path
from typing import Any

from superionic.errors import EngineError
from superionic.execution.engines import CORE, resolve_engine
from superionic.execution.worker import call_once
from superionic.execution.worker_process import WorkerProcess
from superionic.potentials.base import Potential, describe_potential, load_potential
from superionic.potentials.remote import RemotePotential, answer


def load_model(name: str, *, model: str | None = None, threads: int = 1, **options: Any) -> Potential:
    """Load a potential by name, ready to evaluate.

    An engine that can be imported here is; any other runs in a process of its own environment
    (``superionic engines install NAME``), which ends with the potential or with this process.

    Parameters
    ----------
    name
        ``"chgnet"``, ``"sevennet"``, ``"mace"``, ``"matgl"``, ``"nep"``, ``"pair"`` or ``"ase"``.
    model
        Which model of that name, such as ``"r2scan"`` of CHGNet; the usual one if None.
    threads
        Threads of the numerical libraries.
    options
        Options of the potential, such as ``file`` and ``energy_convention`` (docs/how-to/potentials.md).

    Returns
    -------
    Potential
        With ``evaluate(atoms)`` and, for ASE, ``calculator()``.

    Raises
    ------
    PotentialError
        If there is no such potential, model or option.
    EngineError
        If the engine is not installed, or breaks down.
    """
    known: dict[str, Any] = {
        key: str(Path(value).absolute()) if key == "file" else value for key, value in options.items()
    }
    engine = describe_potential(name, model, **known).engine
    location = resolve_engine(engine)
    if engine == CORE or location.kind == "current":
        return load_potential(name, model=model, threads=threads, **known)
    try:
        worker = WorkerProcess(location.python, threads=threads)
    except OSError as error:
        raise EngineError(
            f"The engine {engine!r} cannot be started: {error.strerror or error}.",
            where=str(location.python),
            fix=f"superionic engines install {engine}",
        ) from error
    function = f"{answer.__module__}:{answer.__name__}"
    potential = RemotePotential(name, model, known, partial(call_once, location.python, function, worker=worker))
    weakref.finalize(potential, worker.close)
    return potential
