"""Loading a model for a notebook: in this process, or in the environment of its engine."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from superionic.errors import EngineError
from superionic.execution.engines import CORE, EngineLocation, resolve_engine
from superionic.execution.kept_files import stored_path
from superionic.execution.worker import call_once
from superionic.execution.worker_process import WorkerProcess
from superionic.potentials.base import (
    DispersedPotential,
    Potential,
    describe_potential,
    dispersion_of,
    load_potential,
)
from superionic.potentials.dispersion import Dispersion
from superionic.potentials.remote import RemotePotential, answer
from superionic.registry import find


def load_model(
    name: str,
    *,
    model: str | None = None,
    threads: int = 1,
    dispersion: str | Mapping[str, Any] | Dispersion | None = None,
    **options: Any,
) -> Potential:
    """Load a potential by name, ready to evaluate.

    An engine that can be imported here is; any other runs in a process of its own environment
    (``superionic engines install NAME``), which ends with the potential or with this process.

    Parameters
    ----------
    name
        ``"chgnet"``, ``"sevennet"``, ``"mace"``, ``"matgl"``, ``"nequix"``, ``"diep"``, ``"nep"``, ``"pair"`` or
        ``"ase"``.
    model
        Which model of that name, such as ``"r2scan"`` of CHGNet; the usual one if None.
    threads
        Threads of the numerical libraries.
    dispersion
        ``"d3bj"`` adds D3(BJ) with the parameters of the potential's functional; where nothing names that,
        ``{"method": "d3bj", "functional": "PBE"}`` does.
    options
        Options of the potential, such as ``file`` and ``energy_convention`` (docs/how-to/potentials.md).

    Returns
    -------
    Potential
        With ``evaluate(atoms)`` and, for ASE, ``calculator()``.

    Raises
    ------
    PotentialError
        If there is no such potential, model or option, or it has dispersion already.
    EngineError
        If the engine (or the library of the dispersion term) is not installed, or breaks down.
    """
    resolved: dict[str, Any] = {
        key: str(Path(value).absolute()) if key == "file" else value for key, value in options.items()
    }
    family = find(name)
    data = None if family is None else family.data_named(model)
    if data is not None and "file" not in resolved:
        resolve_engine(data.name)
        resolved["file"] = str(stored_path(data.kept_name))
    engine = describe_potential(name, model, **resolved).engine
    location = resolve_engine(engine)
    if engine == CORE or location.kind == "current":
        return load_potential(name, model=model, threads=threads, dispersion=dispersion, **resolved)
    process = EngineProcess(location, threads)
    potential = RemotePotential(name, model, resolved, process)
    weakref.finalize(potential, process.close)
    if dispersion is None:
        return potential
    return DispersedPotential(potential, dispersion_of(dispersion, potential.identity))  # the term is evaluated here


class EngineProcess:
    """A process in an engine's environment that evaluates one potential; started when needed, again if it has ended.

    Parameters
    ----------
    location
        The Python of the engine.
    threads
        Threads of its numerical libraries.
    """

    def __init__(self, location: EngineLocation, threads: int = 1) -> None:
        self._location = location
        self._threads = threads
        self._worker: WorkerProcess | None = None

    def __call__(self, settings: Mapping[str, Any], inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have :func:`superionic.potentials.remote.answer` called there.

        Raises
        ------
        EngineError
            If the process cannot be started, or ends.
        """
        if self._worker is None or not self._worker.is_there:
            self.close()
            self._worker = self._started()
        function = f"{answer.__module__}:{answer.__name__}"
        try:
            values: Mapping[str, Any] = call_once(
                self._location.python, function, settings, inputs, worker=self._worker
            )
        except Exception:
            raise
        except BaseException:  # an interrupt leaves a reply in the pipe that belongs to no request
            self.close()
            raise
        return values

    def close(self) -> None:
        """End the process, if there is one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _started(self) -> WorkerProcess:
        try:
            return WorkerProcess(self._location.python, threads=self._threads)
        except OSError as error:
            raise EngineError(
                f"The engine {self._location.name!r} cannot be started: {error.strerror or error}.",
                where=str(self._location.python),
                fix=f"superionic engines install {self._location.name}",
            ) from error
