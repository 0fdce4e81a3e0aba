"""A file of labelled structures (extended XYZ) as tasks read it: for studies of training without a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from superionic.errors import StructureError
from superionic.execution.task import Context, task
from superionic.labels.base import Label
from superionic.structures.frames import frames_of

FloatArray = NDArray[np.float64]
SetName = Literal["train", "validation", "test"]
PARTS: tuple[SetName, ...] = get_args(SetName)


@dataclass(frozen=True)
class Facts:
    """What a file says of a structure.

    Attributes
    ----------
    run
        Its trajectory; else its ``group``, as data packages have it; else each structure is its own.
    ordering, composition
        What it is of; else its run and its formula.
    phase, temperature_K
        None where they are not known.
    round
        Of a learning loop; 0 where it is not known.
    set
        Where the file itself says the split.
    """

    run: str
    ordering: str
    composition: str
    phase: str | None
    temperature_K: float | None
    round: int
    set: SetName | None


@dataclass(frozen=True)
class LabelFile:
    """The structures of a file, their labels, and what the file says of each."""

    atoms: tuple[Atoms, ...]
    labels: tuple[Label, ...]
    facts: tuple[Facts, ...]


@task(version=1)
def read_task(_context: Context, *, file: str, name: str) -> LabelFile:
    """Read a file of labels.

    Raises
    ------
    StructureError
        If the file cannot be read, or a structure has no energy or forces.
    """
    try:
        frames = list(frames_of(Path(file)))
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
            Label(
                energy_eV=float(values["energy"]),
                forces_eV_per_A=np.array(values["forces"], dtype=np.float64),
                stress_eV_per_A3=None if stress is None else _voigt(np.array(stress, dtype=np.float64)),
                provenance=_provenance(frame.info, name),
            )
        )
        facts.append(facts_of(frame.info, frame.get_chemical_formula(), number, name))
    if not structures:
        raise StructureError("the file has no structures", where=name, fix="check the file")
    return LabelFile(tuple(structures), tuple(labels), tuple(facts))


def facts_of(info: Mapping[str, Any], formula: str, number: int, name: str = "") -> Facts:
    """Take what is known of a structure out of its comment line (see :class:`Facts`).

    Raises
    ------
    StructureError
        If it is said to be in a part of the labels that there is none of.
    """
    words = {
        key: str(info[key]) for key in ("run", "ordering", "composition", "phase", "set") if info.get(key) is not None
    }
    origin = info.get("origin")  # of a data package
    group = origin.get("group") if isinstance(origin, Mapping) else info.get("group")
    run = words.get("run") or (str(group) if group else f"structure {number}")
    part = words.get("set")
    if part not in (None, *PARTS):
        raise StructureError(f"the set of a structure is {part!r}", where=name, fix=f"write one of {', '.join(PARTS)}")
    temperature, round_number = info.get("temperature_K"), info.get("round")
    return Facts(
        run=run,
        ordering=words.get("ordering") or run,
        composition=words.get("composition") or formula,
        phase=words.get("phase"),
        temperature_K=None if temperature is None else float(temperature),
        round=0 if round_number is None else int(round_number),
        set=part,
    )


def _provenance(info: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Take what a data package says of the reference; of any other file all labels count as of one."""
    own = info.get("provenance")
    if isinstance(own, Mapping) and "settings_hash" in own:
        return dict(own)
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


def _voigt(stress: FloatArray) -> FloatArray:
    return stress if stress.shape == (6,) else stress.reshape(3, 3)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
