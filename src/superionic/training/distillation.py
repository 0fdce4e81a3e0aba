"""Training data for a fast potential, the student, from a slow one, the teacher.

Pure functions, without tasks or files: structures that cover where a student may go (other volumes, strains, rattled
and partly relaxed geometries, pairs pushed together), their labels by the teacher, and compact sets of both. The stage
``distil`` calls them, and they can be called directly (see ``docs/how-to/distil.md``).

A student trained only on the teacher's molecular dynamics is wrong just outside it, where a fast run soon goes: an
unprotected run diverged within 400 fs. Part of the data are therefore geometries that the teacher's own runs do not
visit, and pairs at short distances are included on purpose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed, StageError
from superionic.potentials.base import Potential, Prediction, evaluate_each
from superionic.potentials.neighbours import pairs_within
from superionic.potentials.repulsion import CONTACT_RANGE_A, pair_at
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.snapshots import random_strain

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Progress = Callable[[float, str], None]

_LONGEST_MOVE_A = 0.1
_MOVE_PER_FORCE_A2_PER_EV = 0.02


# ---- geometries ---------------------------------------------------------------------------------------------------


def distorted_structures(
    atoms: Atoms,
    count: int,
    rng: np.random.Generator,
    *,
    volumes: tuple[float, float] = (0.94, 1.08),
    max_strain: float = 0.03,
    rattles_A: Sequence[float] = (0.05, 0.15, 0.3),
) -> list[Atoms]:
    """Scale, strain and rattle a structure.

    Volumes are spread evenly over their range (one in each of ``count`` equal parts, in random order); the rattling
    amplitudes are used in turn.

    Parameters
    ----------
    atoms
        The structure, usually relaxed.
    count
        Number of structures.
    volumes
        Smallest and largest volume, relative to that of the structure.
    max_strain
        Largest component of an additional random symmetric strain.
    rattles_A
        Standard deviations of the displacements along each axis, in Å.

    Returns
    -------
    list of Atoms
        Without calculators.
    """
    low, high = volumes
    if not 0.0 < low <= high:
        raise ValueError(f"volumes must be a rising pair of positive factors, not {volumes}")
    places = (rng.permutation(count) + rng.random(count)) / max(count, 1)
    made = []
    for number in range(count):
        copy = _bare(atoms)
        factor = (low + (high - low) * float(places[number])) ** (1.0 / 3.0)
        copy.set_cell(copy.cell.array * factor, scale_atoms=True)
        if max_strain > 0.0:
            copy = random_strain(copy, max_strain, rng)
        amplitude = rattles_A[number % len(rattles_A)] if rattles_A else 0.0
        copy.positions += amplitude * rng.standard_normal((len(copy), 3))
        made.append(_bare(copy))
    return made


def close_contacts(
    atoms: Atoms,
    count: int,
    rng: np.random.Generator,
    *,
    fractions: tuple[float, float] = (0.55, 0.95),
    rattle_A: float = 0.1,
    first_kind: int = 0,
) -> list[Atoms]:
    """Push one pair of atoms together in each of some copies of a structure.

    The kinds of pairs are used in turn, so that rare ones occur as often as common ones. The pair is drawn at random
    from those of its kind within 5 Å, and brought to a random fraction of the shortest distance of its kind in the
    structure, along the line between the two atoms, each of which moves half the way.

    Parameters
    ----------
    count
        Number of structures.
    fractions
        Smallest and largest fraction.
    rattle_A
        Standard deviation of the displacements of all other atoms, in Å.
    first_kind
        How many contacts other structures have had: the kinds go on in turn from there.

    Returns
    -------
    list of Atoms
        Fewer than ``count`` only if no two atoms are within 5 Å of one another.
    """
    pairs = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, CONTACT_RANGE_A)
    first, second = atoms.numbers[pairs.centre], atoms.numbers[pairs.neighbour]
    # Each pair from one end only, and never an atom with its own image.
    once = pairs.centre < pairs.neighbour
    kinds = sorted({(int(a), int(b)) for a, b in zip(first[once], second[once], strict=True)})
    kinds = sorted({(min(kind), max(kind)) for kind in kinds})
    made: list[Atoms] = []
    for number in range(count if kinds else 0):
        a, b = kinds[(first_kind + number) % len(kinds)]
        of_kind = np.flatnonzero(once & (((first == a) & (second == b)) | ((first == b) & (second == a))))
        pair = int(rng.choice(of_kind))
        vector = pairs.vectors_A[pair]
        target = float(rng.uniform(*fractions)) * float(pairs.distances_A[of_kind].min())
        copy = _bare(atoms)
        copy.positions += rattle_A * rng.standard_normal((len(copy), 3))
        i, j = int(pairs.centre[pair]), int(pairs.neighbour[pair])
        # The pair has the distance exactly; all others keep their rattle.
        copy.positions[i], copy.positions[j] = pair_at(atoms.positions, (i, j), vector, target)
        made.append(copy)
    return made


def rattled_and_relaxed(
    atoms: Atoms,
    potential: Potential,
    rng: np.random.Generator,
    *,
    cycles: int,
    rattle_A: float = 0.3,
    steps: int = 8,
    max_strain: float = 0.0,
    progress: Progress | None = None,
) -> LabelledSet:
    """Rattle and relax for a few steps, repeatedly: a walk through the basins around a structure.

    Every geometry on the way has the label that its step computed anyway. The relaxation is a descent along the forces
    with steps of at most 0.1 Å; it is not meant to converge.

    Parameters
    ----------
    atoms
        The initial structure.
    potential
        The teacher.
    cycles
        Number of cycles; the geometries of one cycle share a group.
    rattle_A
        Standard deviation of the displacements along each axis, in Å.
    steps
        Number of steps of each relaxation.
    max_strain
        Largest component of the random strain of each cycle.
    progress
        Called with the fraction done and a word.

    Returns
    -------
    LabelledSet
        Labelled geometries; an evaluation that fails ends its cycle and is left out.
    """
    structures: list[Atoms] = []
    groups: list[str] = []
    values: list[Prediction] = []
    current = _bare(atoms)
    for cycle in range(cycles):
        walker = random_strain(current, max_strain, rng) if max_strain > 0.0 else _bare(current)
        walker.positions += rattle_A * rng.standard_normal((len(walker), 3))
        for step in range(steps):
            try:
                prediction = potential.evaluate(walker)
            except CalculationFailed:
                break
            if not prediction.is_finite:
                break
            structures.append(_bare(walker))
            groups.append(f"cycle {cycle + 1}")
            values.append(prediction)
            move = _MOVE_PER_FORCE_A2_PER_EV * (step + 1) * prediction.forces_eV_per_A
            walker.positions += np.clip(move, -_LONGEST_MOVE_A, _LONGEST_MOVE_A)
        else:
            # Only fractional coordinates carry over to the next cycle; each strain starts from the original cell.
            current = Atoms(walker.numbers, scaled_positions=walker.get_scaled_positions(), cell=atoms.cell, pbc=True)
        if progress is not None:
            progress((cycle + 1) / cycles, "cycles")
    return _as_set(structures, groups, values, potential)


def evenly(count: int, number: int) -> list[int]:
    """Return ``number`` evenly spread indices of ``range(count)``, including the last; all if there are fewer."""
    if number >= count:
        return list(range(count))
    return [int(np.ceil((k + 1) * count / number)) - 1 for k in range(number)]


def pick_by_grade(grades: Sequence[float], number: int) -> list[int]:
    """Select frames of one run by extrapolation: the highest grade in each of ``number`` equal intervals of time.

    Parameters
    ----------
    grades
        Grade of each frame, in order of time.
    number
        Number of frames to select.

    Returns
    -------
    list of int
        Indices in order of time; all if there are no more than ``number``.
    """
    if len(grades) <= number:
        return list(range(len(grades)))
    parts = np.array_split(np.arange(len(grades)), number)
    return [int(part[int(np.argmax(np.asarray(grades)[part]))]) for part in parts]


# ---- labels -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TeacherLabels:
    """Labels by a teacher, and the structures left out.

    Attributes
    ----------
    labelled
        Structures with finite labels and no force above the limit.
    dropped
        Reason for each structure left out.
    """

    labelled: LabelledSet
    dropped: tuple[str, ...]


def label_structures(
    potential: Potential,
    structures: Sequence[Atoms],
    groups: Sequence[str],
    *,
    max_force_eV_per_A: float = np.inf,
    progress: Progress | None = None,
) -> TeacherLabels:
    """Label structures with a potential.

    Parameters
    ----------
    potential
        The teacher.
    groups
        Group of each (see :class:`superionic.training.dataset.LabelledSet`).
    max_force_eV_per_A
        A label with a larger force on an atom is left out: there the teacher itself is unreliable.
    progress
        Called with the fraction done and a word.
    """
    labelled: list[Atoms] = []
    labelled_groups: list[str] = []
    values: list[Prediction] = []
    dropped: list[str] = []
    for number, (atoms, group, prediction) in enumerate(
        zip(structures, groups, evaluate_each(potential, structures), strict=True)
    ):
        reason = ""
        if isinstance(prediction, CalculationFailed):
            reason = prediction.reason
        else:
            largest = float(np.linalg.norm(prediction.forces_eV_per_A, axis=1).max())
            if not prediction.is_finite:
                reason = "a value is not finite"
            elif largest > max_force_eV_per_A:
                reason = f"a force of {largest:.0f} eV/Å is above the limit of {max_force_eV_per_A:g} eV/Å"
            else:
                labelled.append(atoms)
                labelled_groups.append(group)
                values.append(prediction)
        if reason:
            dropped.append(reason)
        if progress is not None:
            progress((number + 1) / len(structures), "structures")
    return TeacherLabels(_as_set(labelled, labelled_groups, values, potential), tuple(dropped))


def _as_set(
    structures: Sequence[Atoms], groups: Sequence[str], values: Sequence[Prediction], potential: Potential
) -> LabelledSet:
    identity = potential.identity
    reference = f"{identity.name}|{identity.model}|{identity.checkpoint_sha256}"
    return LabelledSet(
        tuple(structures),
        Targets(
            np.array([value.energy_eV for value in values], dtype=np.float64),
            tuple(np.array(value.forces_eV_per_A) for value in values),
            np.array([value.stress_eV_per_A3 for value in values], dtype=np.float64).reshape(-1, 6),
        ),
        tuple(groups),
        hashlib.sha256(reference.encode()).hexdigest(),
        identity.energy_convention,
    )


# ---- sets in few arrays -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PackedStructures:
    """Structures in a few arrays: a set of a thousand is stored and read in milliseconds.

    Attributes
    ----------
    n_atoms
        Number of atoms of each structure, shape (n,).
    numbers
        Atomic numbers of all atoms, one structure after the other, shape (total,).
    positions_A
        Their positions, shape (total, 3), in Å.
    cells_A
        Cell vectors as rows, shape (n, 3, 3), in Å.
    groups
        Group of each structure (see :class:`superionic.training.dataset.LabelledSet`).
    """

    n_atoms: IntArray
    numbers: IntArray
    positions_A: FloatArray
    cells_A: FloatArray
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.n_atoms)

    @property
    def structures(self) -> list[Atoms]:
        """The structures."""
        edges = np.concatenate([[0], np.cumsum(self.n_atoms)]).astype(int)
        return [
            Atoms(
                numbers=self.numbers[first:last],
                positions=self.positions_A[first:last],
                cell=self.cells_A[index],
                pbc=True,
            )
            for index, (first, last) in enumerate(pairwise(edges))
        ]


@dataclass(frozen=True, eq=False)
class PackedTargets:
    """Energies, forces and stresses of structures in three arrays.

    Attributes
    ----------
    energies_eV
        Shape (n,), in eV.
    forces_eV_per_A
        Forces on all atoms, one structure after the other, shape (total, 3), in eV/Å.
    stresses_eV_per_A3
        Shape (n, 6), in eV/Å³.
    """

    energies_eV: FloatArray
    forces_eV_per_A: FloatArray
    stresses_eV_per_A3: FloatArray

    def targets(self, n_atoms: IntArray) -> Targets:
        """Return the targets, with forces split by the number of atoms of each structure."""
        edges = np.cumsum(n_atoms)[:-1]
        forces = np.split(self.forces_eV_per_A, edges) if len(n_atoms) else []
        return Targets(self.energies_eV, tuple(forces), self.stresses_eV_per_A3)


@dataclass(frozen=True, eq=False)
class PackedSet(PackedTargets, PackedStructures):
    """A labelled set in a few arrays.

    Attributes
    ----------
    settings_hash, energy_convention
        As in :class:`superionic.training.dataset.LabelledSet`; the other attributes are those of the base classes.
    """

    settings_hash: str
    energy_convention: str

    @property
    def labelled(self) -> LabelledSet:
        """The labelled set."""
        return LabelledSet(
            tuple(self.structures), self.targets(self.n_atoms), self.groups, self.settings_hash, self.energy_convention
        )


def pack_structures(structures: Sequence[Atoms], groups: Sequence[str]) -> PackedStructures:
    """Pack structures into a few arrays."""
    return PackedStructures(
        n_atoms=np.array([len(atoms) for atoms in structures], dtype=np.int64),
        numbers=np.concatenate([np.zeros(0, np.int64), *(np.asarray(a.numbers, np.int64) for a in structures)]),
        positions_A=np.concatenate([np.zeros((0, 3)), *(a.positions for a in structures)]),
        cells_A=np.array([atoms.cell.array for atoms in structures], dtype=np.float64).reshape(-1, 3, 3),
        groups=tuple(str(group) for group in groups),
    )


def pack_labelled(labelled: LabelledSet) -> PackedSet:
    """Pack a labelled set into a few arrays."""
    bare, targets = pack_structures(labelled.structures, labelled.groups), labelled.targets
    return PackedSet(
        n_atoms=bare.n_atoms,
        numbers=bare.numbers,
        positions_A=bare.positions_A,
        cells_A=bare.cells_A,
        groups=bare.groups,
        energies_eV=np.array(targets.energies_eV),
        forces_eV_per_A=np.concatenate([np.zeros((0, 3)), *targets.forces_eV_per_A]),
        stresses_eV_per_A3=np.array(targets.stresses_eV_per_A3),
        settings_hash=labelled.settings_hash,
        energy_convention=labelled.energy_convention,
    )


def merge_sets(sets: Sequence[LabelledSet]) -> LabelledSet:
    """Join sets of one reference, in order.

    Raises
    ------
    StageError
        If all are empty, or the labels are not all from one reference.
    """
    filled = [labelled for labelled in sets if len(labelled)]
    if not filled:
        raise StageError("The teacher gave no label that can be used.", fix="Raise the limit on its forces.")
    if len({(labelled.settings_hash, labelled.energy_convention) for labelled in filled}) > 1:
        raise StageError(
            "Labels of different teachers would be mixed in one set.", fix="Label all structures with one potential."
        )
    return LabelledSet(
        tuple(atoms for labelled in filled for atoms in labelled.structures),
        Targets(
            np.concatenate([labelled.targets.energies_eV for labelled in filled]),
            tuple(forces for labelled in filled for forces in labelled.targets.forces_eV_per_A),
            np.concatenate([labelled.targets.stresses_eV_per_A3 for labelled in filled]),
        ),
        tuple(group for labelled in filled for group in labelled.groups),
        filled[0].settings_hash,
        filled[0].energy_convention,
    )


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, pbc=True)
