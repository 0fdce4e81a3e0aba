"""A file of labelled structures (extended XYZ) as tasks read it: for studies of training without a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from superionic.errors import StructureError
from superionic.execution.task import Context

READ = "superionic.stages.label_file:read_task"
READ_VERSION = 1

_FACTS = ("run", "ordering", "composition", "phase", "temperature_K", "round", "set")
_SETS = ("train", "validation", "test")


def read_task(settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Read structures, their labels, and what the file says of each (see :func:`facts_of`).

    Raises
    ------
    StructureError
        If the file cannot be read, or a structure has no energy or forces.
    """
    import numpy as np
    from ase import Atoms
    from ase.io import read

    path, name = settings["file"], settings["name"]
    try:
        frames = read(path, index=":", format="extxyz")
    except Exception as error:  # whatever ASE's reader stumbles over
        raise StructureError(
            f"the labels cannot be read: {error}", where=name, fix="give an extended XYZ file, as ASE writes it"
        ) from error
    structures, labels, facts = [], [], []
    for number, frame in enumerate(frames):
        values = _values(frame)
        if "energy" not in values or "forces" not in values:
            raise StructureError(
                f"structure number {number} has no energy or forces",
                where=name,
                fix="write them as ASE does (energy, forces, stress), or as REF_energy, REF_forces, REF_stress",
            )
        if not frame.pbc.all():
            raise StructureError(f"structure number {number} is not periodic", where=name, fix='write pbc="T T T"')
        stress = values.get("stress")
        structures.append(Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True))
        labels.append(
            {
                "energy_eV": float(values["energy"]),
                "forces_eV_per_A": np.array(values["forces"], dtype=np.float64),
                "stress_eV_per_A3": None if stress is None else _voigt(np.array(stress, dtype=np.float64)),
                "provenance": _provenance(frame.info, name),
                "diagnostics": {},
            }
        )
        facts.append(facts_of(frame.info, frame.get_chemical_formula(), number))
    if not structures:
        raise StructureError("the file has no structures", where=name, fix="check the file")
    for fact in facts:
        if fact["set"] not in (None, *_SETS):
            raise StructureError(
                f"the set of a structure is {fact['set']!r}", where=name, fix=f"write one of {', '.join(_SETS)}"
            )
    return {"atoms": structures, "labels": labels, "facts": facts}


def facts_of(info: Mapping[str, Any], formula: str, number: int) -> dict[str, Any]:
    """Take what is known of a structure out of its comment line.

    ``run`` (its trajectory; else its ``group``, as data packages have it; else each structure is its own),
    ``ordering``, ``composition`` (else the formula),
    ``phase``, ``temperature_K``, ``round`` (a number) and ``set`` (``train``, ``validation`` or ``test``, where the
    file itself says the split).
    """
    facts: dict[str, Any] = {name: info.get(name) for name in _FACTS}
    for name in ("run", "ordering", "composition", "phase", "set"):
        facts[name] = None if facts[name] is None else str(facts[name])
    facts["temperature_K"] = None if facts["temperature_K"] is None else float(facts["temperature_K"])
    facts["round"] = 0 if facts["round"] is None else int(facts["round"])
    origin = info.get("origin")  # of a data package
    group = origin.get("group") if isinstance(origin, Mapping) else info.get("group")
    facts["run"] = facts["run"] or (str(group) if group else f"structure {number}")
    facts["ordering"] = facts["ordering"] or facts["run"]
    facts["composition"] = facts["composition"] or formula
    return facts


def _provenance(info: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Take what a data package says of the reference; of any other file all labels count as of one."""
    told = info.get("provenance")
    if isinstance(told, Mapping) and "settings_hash" in told:
        return dict(told)
    return {"settings_hash": str(info.get("settings_hash", name)), "file": name}


def _values(frame: Any) -> dict[str, Any]:
    values = dict(getattr(frame.calc, "results", {}) or {})
    for name in ("energy", "forces", "stress"):
        for key in (f"REF_{name}", f"ref_{name}", f"dft_{name}"):
            if key in frame.info:
                values[name] = frame.info[key]
            elif key in frame.arrays:
                values[name] = frame.arrays[key]
    return values


def _voigt(stress: Any) -> Any:
    return stress if stress.shape == (6,) else stress.reshape(3, 3)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
