"""A file of labelled structures (extended XYZ), read by a task, for studies of training without a campaign."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ase import Atoms

from superionic.errors import CalculationFailed, StructureError
from superionic.execution.task import Context, task
from superionic.labels.base import Label, renewed_provenance
from superionic.labels.frame_values import IsolatedAtom, LabelKeys, element_energies, labelled_frames, not_taken_words
from superionic.labels.imports import import_labels, is_run

SetName = Literal["train", "validation", "test"]
PARTS: tuple[SetName, ...] = get_args(SetName)


@dataclass(frozen=True)
class Facts:
    """Statements of a file about a structure.

    Attributes
    ----------
    run
        Its trajectory; by default its ``group``, as in data packages, else a name of its own.
    ordering, composition
        Its ordering and composition; by default its run and its formula.
    phase, temperature_K
        None if unknown.
    round
        Round of a learning loop; 0 if unknown.
    set
        Its set, if the file states the split.
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
    """The structures of a file, their labels, the file's statements about each, and remarks on what was left out."""

    atoms: tuple[Atoms, ...]
    labels: tuple[Label, ...]
    facts: tuple[Facts, ...]
    notes: tuple[str, ...] = ()
    isolated_atoms_eV: Mapping[str, float] = field(default_factory=dict)
    """Energies of isolated atoms in the file: reference energies of elements (E0), not structures to train on."""


@task(version=3)
def read_task(_context: Context, *, file: str, name: str, keys: LabelKeys | None = None) -> LabelFile:
    """Read a file of labels with the reader of ``superionic labels``, for packages and for outputs of runs.

    Isolated atoms, which many sets include for their energies, are not structures to train on: they are left out, with
    a note.

    Raises
    ------
    StructureError
        If the file cannot be read, or a structure has no energy or forces.
    """
    if is_run(Path(name)):
        return _of_run(Path(file), name)
    try:
        read = list(labelled_frames(Path(file), keys))
    except CalculationFailed as failure:
        raise StructureError(
            f"the labels cannot be read: {failure.reason}",
            where=name,
            fix="give an extended XYZ file, as ASE writes it",
        ) from failure
    structures, labels, facts, notes = [], [], [], []
    stresses_not_taken: set[str] = set()
    isolated: list[tuple[str, float]] = []
    for frame in read:
        if isinstance(frame, IsolatedAtom):
            notes.append(f"left out: {frame.reason}")
            isolated += [] if frame.energy_eV is None else [(frame.symbol, frame.energy_eV)]
            continue
        if isinstance(frame, CalculationFailed):
            raise StructureError(
                f"the labels cannot be read: {frame.reason}",
                where=name,
                fix="write energy, forces and stress as ASE does, or all as REF_energy, REF_forces, REF_stress; or "
                "name the keys with --energy-key, --forces-key, --stress-key or --virial-key",
            )
        atoms, number = frame.atoms, frame.number
        if not atoms.pbc.all():
            raise StructureError(f"structure number {number} is not periodic", where=name, fix='write pbc="T T T"')
        structures.append(Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True))
        labels.append(
            Label(
                energy_eV=frame.energy_eV,
                forces_eV_per_A=frame.forces_eV_per_A,
                stress_eV_per_A3=frame.stress_eV_per_A3,
                provenance=_provenance(atoms.info, name),
            )
        )
        facts.append(facts_of(atoms.info, atoms.get_chemical_formula(), number, name))
        stresses_not_taken.update(frame.not_taken)
    if not structures:
        raise StructureError("the file has no structures", where=name, fix="check the file")
    if stresses_not_taken:
        notes.append(not_taken_words(stresses_not_taken))
    energies, words = element_energies(isolated)
    notes += _words_of(energies, words)
    return LabelFile(tuple(structures), tuple(labels), tuple(facts), tuple(notes), energies)


def _words_of(energies_eV: Mapping[str, float], several: str | None) -> list[str]:
    """Return notes on the use of a file's isolated atoms."""
    words = [] if several is None else [several]
    if energies_eV:
        words.append(
            f"energies of isolated atoms (E0): MACE takes them by --option 'e0s={json.dumps(dict(energies_eV))}'"
        )
    return words


def _of_run(file: Path, name: str) -> LabelFile:
    """Read the output of a run, as ``superionic labels import`` does."""
    imported = import_labels([file], names=[name])
    if not imported.entries:
        reasons = "; ".join(refusal.reason for refusal in imported.refusals[:3])
        raise StructureError(
            f"the labels cannot be read: {reasons}",
            where=name,
            fix="run superionic labels import on it for details, and give the package that it writes",
        )
    facts = [
        facts_of({"run": entry.group}, entry.atoms.get_chemical_formula(), number, name)
        for number, entry in enumerate(imported.entries)
    ]
    notes = [f"left out: {refusal.reason}" for refusal in imported.refusals] + [
        remark.words for remark in imported.remarks
    ]
    return LabelFile(
        tuple(entry.atoms for entry in imported.entries),
        tuple(entry.label for entry in imported.entries),
        tuple(facts),
        (*notes, *_words_of(imported.isolated_atoms_eV, None)),
        imported.isolated_atoms_eV,
    )


def facts_of(info: Mapping[str, Any], formula: str, number: int, name: str = "") -> Facts:
    """Return the statements about a structure in its comment line (see :class:`Facts`).

    Raises
    ------
    StructureError
        If it names an unknown set.
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
    """Return the reference stated by a data package; the labels of any other file count as one reference."""
    own = info.get("provenance")
    if isinstance(own, Mapping) and "settings_hash" in own:
        return renewed_provenance(own)
    return {"settings_hash": str(info.get("settings_hash", name)), "file": name}
