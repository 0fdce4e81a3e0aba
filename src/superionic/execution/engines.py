"""Engine environments: potentials and DFT codes, each installed in its own exact versions.

Universal potentials and DFT codes require conflicting versions, take up more than a gigabyte, and some are GPL. So each
*engine* has its own virtual environment under ``$SUPERIONIC_HOME/engines/NAME``, built from the exact versions in
``pins/NAME.txt``. Code of an engine runs in a worker process of that environment
(:mod:`superionic.execution.worker`); superionic itself is not installed there, since the worker imports its source.

An environment is valid only once its ``engine.json`` exists. That file is written last, by an atomic rename, after the
engine has been imported and has reproduced a value on record. An incomplete environment is therefore recognised and
built again, and nothing has to be cleaned up by hand after a kill.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from superionic.engine_spec import EngineSpec
from superionic.errors import CalculationFailed, EngineError, SuperionicError
from superionic.execution.engine_specs import ENGINES, engine_spec
from superionic.execution.home import superionic_home

Say = Callable[[str], None]
Kind = Literal["current", "environment"]
State = Literal["current", "installed", "outdated", "incomplete", "absent"]

CORE = "core"
_CORE_PACKAGES = ("ase", "numpy", "pymatgen", "scipy", "spglib")
_RECORD = "engine.json"
_RECORD_FORMAT = 1


@dataclass(frozen=True)
class EngineLocation:
    """A Python in which an engine can be used.

    Attributes
    ----------
    name
        The engine.
    python
        Its interpreter.
    kind
        ``"current"`` (the interpreter of this process) or ``"environment"``.
    identity
        ``{"packages": {distribution: version}}``: everything about the engine that a result depends on. It names no
        path, date or machine, so that the same versions give the same task keys anywhere.
    """

    name: str
    python: Path
    kind: Kind
    identity: dict[str, Any]


@dataclass(frozen=True)
class EngineStatus:
    """One line of ``superionic engines list``."""

    name: str
    requirement: str
    purpose: str
    licence: str
    state: State
    python: Path | None
    identity: dict[str, Any]


@dataclass(frozen=True)
class EngineReport:
    """The outcome of an engine's proof.

    Attributes
    ----------
    passed
        Whether the engine reproduced the values on record.
    message
        The outcome, or the reason for the failure, in a sentence.
    values
        The return value of the proof function.
    """

    name: str
    passed: bool
    message: str
    location: EngineLocation
    values: dict[str, Any]


def engine_folder(name: str) -> Path:
    """Return the folder of an engine's environment, whether it exists or not."""
    return superionic_home() / "engines" / name


def resolve_engine(name: str) -> EngineLocation:
    """Find the Python in which an engine can be used: this one if it has the pinned engine, else its environment.

    Raises
    ------
    EngineError
        If the engine is unknown, or is not installed, or not in the pinned version.
    """
    if name == CORE:
        return EngineLocation(CORE, Path(sys.executable), "current", _current_identity(_CORE_PACKAGES))
    spec = engine_spec(name)
    current = current_location(spec)
    if current is not None:
        return current
    state, location = _inspect(spec)
    if location is None:
        problem = {
            "absent": "is not installed",
            "incomplete": "is only partly installed: its installation was interrupted",
            "outdated": "is installed in versions other than this superionic needs, or for a Python that has changed",
        }[state]
        raise EngineError(
            f"The engine {name!r} ({spec.requirement}) {problem}.",
            where=str(engine_folder(name)),
            fix=f"superionic engines install {name}",
        )
    return location


def list_engines() -> list[EngineStatus]:
    """Return the status of each known engine, in alphabetical order: whether and where it is installed."""
    statuses = []
    for name in sorted(ENGINES):
        spec = ENGINES[name]
        location = current_location(spec)
        state: State = "current"
        if location is None:
            state, location = _inspect(spec)
        statuses.append(
            EngineStatus(
                name=name,
                requirement=spec.requirement,
                purpose=spec.purpose,
                licence=spec.licence,
                state=state,
                python=None if location is None else location.python,
                identity={} if location is None else location.identity,
            )
        )
    return statuses


def check_engine(name: str) -> EngineReport:
    """Test that an installed engine reproduces a value on record.

    Raises
    ------
    EngineError
        If the engine is unknown or not installed. A failed proof is reported, not raised.
    """
    location = resolve_engine(name)
    return prove_engine(engine_spec(name), location)


def prove_engine(spec: EngineSpec, location: EngineLocation) -> EngineReport:
    """Run an engine's proof function in the Python at ``location``.

    The function returns its values, with ``differences`` (or ``deviations``) by quantity; it raises an exception if
    they are too large.
    """
    from superionic.execution.worker import call_once

    try:
        values = call_once(location.python, spec.proof, dict(spec.proof_settings), {}, threads=1)
    except CalculationFailed as failure:
        return EngineReport(spec.name, False, failure.reason, location, dict(failure.details))
    except SuperionicError as error:
        return EngineReport(spec.name, False, error.message, location, {})
    return EngineReport(
        spec.name, True, _agreement(values.get("differences") or values.get("deviations") or {}), location, dict(values)
    )


def _agreement(differences: Mapping[str, float]) -> str:
    listed = ", ".join(f"{name} by {value:.1g}" for name, value in differences.items())
    return "reproduces the values on record" + (f"; differs in {listed}" if listed else "")


# ---- installed environments ------------------------------------------------------------------------------------------


def write_record(spec: EngineSpec, folder: Path, versions: Mapping[str, str]) -> None:
    """Declare an environment complete; the last step of an installation."""
    python = engine_python(folder)
    record = {
        "format": _RECORD_FORMAT,
        "engine": spec.name,
        "identity": {"packages": {package: versions[package] for package in spec.main_packages}},
        "interpreter": str(python.resolve()),
        "recipe_sha256": spec.recipe_sha256(),
        "python": versions["python"],
    }
    draft = folder / f"{_RECORD}.tmp"
    with draft.open("w", encoding="utf-8") as file:
        file.write(json.dumps(record, indent=2, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / _RECORD)


def engine_python(folder: Path) -> Path:
    """Return the interpreter of the environment in ``folder``."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _inspect(spec: EngineSpec) -> tuple[State, EngineLocation | None]:
    """Judge an environment by its record alone; nothing is imported or run."""
    folder = engine_folder(spec.name)
    if not folder.exists():
        return "absent", None
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        up_to_date = (
            record["format"] == _RECORD_FORMAT
            and record["recipe_sha256"] == spec.recipe_sha256()
            # A venv's interpreter is a link, which leads elsewhere after an upgrade of the system's Python.
            and record["interpreter"] == str(engine_python(folder).resolve(strict=True))
        )
        identity = dict(record["identity"])
    except FileNotFoundError:
        return ("outdated" if (folder / _RECORD).exists() else "incomplete"), None
    except (OSError, ValueError, KeyError, TypeError):
        return "incomplete", None
    if not up_to_date:
        return "outdated", None
    return "installed", EngineLocation(spec.name, engine_python(folder), "environment", identity)


def environment_location(spec: EngineSpec) -> EngineLocation | None:
    """Return the engine's environment if it is complete and up to date."""
    return _inspect(spec)[1]


def current_location(spec: EngineSpec) -> EngineLocation | None:
    """Return this interpreter if it has the engine in the pinned version."""
    try:
        version = importlib.metadata.version(spec.distribution)
        importable = importlib.util.find_spec(spec.module) is not None
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    if not importable or version.partition("+")[0] != spec.version:
        return None
    return EngineLocation(spec.name, Path(sys.executable), "current", _current_identity(spec.main_packages))


def _current_identity(packages: tuple[str, ...]) -> dict[str, Any]:
    versions = {}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {"packages": versions}
