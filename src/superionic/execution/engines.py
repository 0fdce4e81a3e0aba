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
import importlib.resources
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from superionic.engine_spec import DataSpec, EngineSpec
from superionic.errors import CalculationFailed, EngineError, StorageError, SuperionicError
from superionic.execution.engine_specs import DATA, ENGINES, engine_spec
from superionic.execution.home import superionic_home
from superionic.execution.kept_files import stored_path
from superionic.registry import models

Say = Callable[[str], None]
Kind = Literal["current", "environment"]
State = Literal["current", "installed", "outdated", "incomplete", "absent"]

CORE = "core"
DISPERSION_PINS = "dispersion.txt"
"""Pins of the library of the dispersion term, which is added to an engine's own packages and changes none of them."""

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
    caution: str | None = None


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
    if name in DATA:
        return _data_location(DATA[name])
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
                caution=next((m.caution for m in models().values() if m.engine is spec), None),
            )
        )
    for name in sorted(DATA):
        data = DATA[name]
        try:
            place: EngineLocation | None = _data_location(data)
        except EngineError:
            place = None
        statuses.append(
            EngineStatus(
                name=name,
                requirement=f"{data.requirement}, of which one file",
                purpose=data.purpose,
                licence=data.licence,
                state="absent" if place is None else "installed",
                python=None if place is None else place.python,
                identity={} if place is None else place.identity,
                caution=data.caution,
            )
        )
    return statuses


def dispersion_pins() -> dict[str, str]:
    """Return distribution → version of the library of the dispersion term (first) and of what it needs."""
    text = (importlib.resources.files("superionic.execution") / "pins" / DISPERSION_PINS).read_text(encoding="utf-8")
    lines = [line.partition("==") for line in text.splitlines() if "==" in line and not line.startswith("#")]
    return {name: version.strip() for name, _, version in lines}


def dispersion_problem(location: EngineLocation) -> str | None:
    """Say why the library of the dispersion term cannot be used at a location; None where it can."""
    name, version = next(iter(dispersion_pins().items()))
    if location.kind == "current":
        try:
            installed = [importlib.metadata.version(name)]
        except importlib.metadata.PackageNotFoundError:
            installed = []
    else:
        folders = location.python.parent.parent.glob(f"[Ll]ib*/**/site-packages/{name}-*.dist-info")
        installed = [folder.name.removeprefix(f"{name}-").removesuffix(".dist-info") for folder in folders]
    if version in installed:
        return None
    return f"is installed in version {installed[0]}, and {version} is needed" if installed else "is not installed"


def check_engine(name: str) -> EngineReport:
    """Test that an installed engine reproduces a value on record.

    Raises
    ------
    EngineError
        If the engine is unknown or not installed. A failed proof is reported, not raised.
    """
    location = resolve_engine(name)
    return prove_engine(DATA[name] if name in DATA else engine_spec(name), location)


def prove_engine(spec: EngineSpec | DataSpec, location: EngineLocation) -> EngineReport:
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


def _data_location(spec: DataSpec) -> EngineLocation:
    """Return where a file of others is evaluated: here, if it is kept and whole."""
    try:
        stored_path(spec.kept_name)
    except StorageError as error:
        raise EngineError(
            f"The file of {spec.name} is not installed.",
            where=str(superionic_home() / "files"),
            fix=f"superionic engines install {spec.name}",
        ) from error
    return EngineLocation(spec.name, Path(sys.executable), "current", {"files": {spec.name: spec.sha256}})


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
