"""Sets of labelled structures: building them, splitting them without leakage, and shifting them to a potential's zero.

Reference codes do not share a zero of energy: the energies of a universal potential carry Materials Project
corrections, those of a PAW code the energies of its own isolated atoms. The difference is, to very good accuracy, a sum
over atoms, which :func:`fit_element_references` fits; a fine-tuning that does not subtract it first spends its steps on
learning a constant and forgets what it knew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import StageError
from superionic.labels.base import Label

_RANK = 1.0e-9
_DETERMINED_EV = 0.1
_OPEN_EV = 1.0
_SIGNIFICANT = 3.0
_SMALLEST_SCATTER_EV_PER_ATOM = 0.005
"""Least scatter of the energies of one composition, from temperature and method; few structures cannot show it."""
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Targets:
    """Energies, forces and stresses of n structures, from a reference or from a potential.

    Attributes
    ----------
    energies_eV
        Energies of the cells, shape (n,), in eV.
    forces_eV_per_A
        One array of shape (n_atoms, 3) per structure, in eV/Å.
    stresses_eV_per_A3
        Voigt stresses, shape (n, 6), in eV/Å³ (ASE's sign); rows of NaN for structures without one.
    """

    energies_eV: FloatArray
    forces_eV_per_A: tuple[FloatArray, ...]
    stresses_eV_per_A3: FloatArray

    def __post_init__(self) -> None:
        energies = _frozen(self.energies_eV)
        forces = tuple(_frozen(array) for array in self.forces_eV_per_A)
        stresses = _frozen(self.stresses_eV_per_A3).reshape(-1, 6)
        if energies.ndim != 1 or len(forces) != len(energies) or len(stresses) != len(energies):
            raise ValueError("energies, forces and stresses must be of the same number of structures")
        if any(array.ndim != 2 or array.shape[1] != 3 for array in forces):
            raise ValueError("forces must have shape (n_atoms, 3)")
        object.__setattr__(self, "energies_eV", energies)
        object.__setattr__(self, "forces_eV_per_A", forces)
        object.__setattr__(self, "stresses_eV_per_A3", stresses)

    @classmethod
    def of_labels(cls, labels: Sequence[Label], shifts_eV: Sequence[float] | FloatArray | None = None) -> Targets:
        """Return the values of labels, with ``shifts_eV`` of each cell subtracted from its energy."""
        missing = np.full(6, np.nan)
        energies = np.array([label.energy_eV for label in labels])
        return cls(
            energies - (0.0 if shifts_eV is None else np.asarray(shifts_eV, dtype=np.float64)),
            tuple(label.forces_eV_per_A for label in labels),
            np.array([missing if s is None else s for s in (label.stress_eV_per_A3 for label in labels)]),
        )

    def __len__(self) -> int:
        return len(self.energies_eV)

    @property
    def n_atoms(self) -> IntArray:
        """Number of atoms of each structure, shape (n,)."""
        return np.array([len(forces) for forces in self.forces_eV_per_A], dtype=np.int64)

    def subset(self, indices: Sequence[int] | IntArray) -> Targets:
        """Return a selection of the structures, in the order of ``indices``."""
        positions = [int(index) for index in indices]
        return Targets(
            self.energies_eV[positions],
            tuple(self.forces_eV_per_A[i] for i in positions),
            self.stresses_eV_per_A3[positions],
        )


@dataclass(frozen=True)
class LabelledSet:
    """Structures with their labels, all from one reference.

    Attributes
    ----------
    structures
        The structures, without calculators.
    targets
        Their labels.
    groups
        Trajectory or other common origin of each structure. Structures of one group are correlated and stay on one
        side of a split.
    settings_hash
        Hash of the reference, which all labels share.
    energy_convention
        Zero and corrections of the energies.
    """

    structures: tuple[Atoms, ...]
    targets: Targets
    groups: tuple[str, ...]
    settings_hash: str
    energy_convention: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "structures", tuple(_bare(atoms) for atoms in self.structures))
        object.__setattr__(self, "groups", tuple(str(group) for group in self.groups))
        if not len(self.structures) == len(self.targets) == len(self.groups):
            raise ValueError("structures, targets and groups must be equal in number")
        for atoms, forces in zip(self.structures, self.targets.forces_eV_per_A, strict=True):
            if len(atoms) != len(forces):
                raise ValueError(f"{len(forces)} forces for the {len(atoms)} atoms of {atoms.get_chemical_formula()}")

    def __len__(self) -> int:
        return len(self.structures)

    @classmethod
    def from_labels(
        cls,
        structures: Sequence[Atoms],
        labels: Sequence[Label],
        groups: Sequence[str] | None = None,
        *,
        energy_shifts_eV: Sequence[float] | None = None,
    ) -> LabelledSet:
        """Build a set from labels that have passed the gates.

        Parameters
        ----------
        structures, labels
            Of equal length.
        groups
            Trajectory of each structure; by default each is its own.
        energy_shifts_eV
            Energies to subtract from the labels, one for each cell, in eV (see :func:`fit_element_references`).

        Raises
        ------
        StageError
            If the set is empty or its labels are not all from one reference.
        """
        if not labels:
            raise StageError(
                "No label passed the gates, so there is nothing to train on.", fix="See why the gates rejected them."
            )
        hashes = dict.fromkeys(label.settings_hash for label in labels)
        if len(hashes) > 1:
            raise StageError(
                f"Labels of {len(hashes)} different references would be mixed in one set.",
                fix="Label all structures with the same code, version and settings, or train on each set by itself.",
            )
        targets = Targets.of_labels(labels, energy_shifts_eV)
        convention = str(labels[0].provenance.get("energy_convention", "not stated"))
        named = [str(number) for number in range(len(labels))] if groups is None else groups
        return cls(tuple(structures), targets, tuple(named), next(iter(hashes)), convention)

    def subset(self, indices: Sequence[int] | IntArray) -> LabelledSet:
        """Return a selection of the structures, in the order of ``indices``."""
        positions = [int(index) for index in indices]
        return replace(
            self,
            structures=tuple(self.structures[i] for i in positions),
            targets=self.targets.subset(positions),
            groups=tuple(self.groups[i] for i in positions),
        )

    def compositions(self) -> list[dict[str, int]]:
        """Count each element in each structure, elements in order of atomic number."""
        return [composition_of(atoms) for atoms in self.structures]

    def shifted(self, references: ElementReferences) -> LabelledSet:
        """Subtract per-element shifts from the energies, which then have the zero of the potential of the fit."""
        offsets = references.energies_eV(self.compositions())
        return replace(self, targets=replace(self.targets, energies_eV=self.targets.energies_eV - offsets))


@dataclass(frozen=True)
class Split:
    """Indices of the three parts of a set, each in ascending order.

    Attributes
    ----------
    train, validation, test
        Indices into the set.
    leak_free
        Whether no trajectory lies in two parts.
    notes
        Remarks on the split for the report, in sentences.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    leak_free: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ElementReferences:
    """Per-element energies by which two references differ.

    Attributes
    ----------
    eV_per_atom
        Shift of each element, in eV per atom of it.
    rank
        Number of independent compositions in the fit; those that differ by noise alone count as one.
    rms_residual_eV_per_atom
        Root mean square of the differences that the shifts do not explain.
    """

    eV_per_atom: Mapping[str, float]
    rank: int
    rms_residual_eV_per_atom: float

    @property
    def degenerate(self) -> bool:
        """Whether the compositions do not determine each element's shift.

        Where they do not, the sum over a cell is right only for combinations of the compositions in the fit (a single
        composition is always degenerate); elsewhere the minimum-norm shifts are a guess.
        """
        return self.rank < len(self.eV_per_atom)

    def energies_eV(self, compositions: Sequence[Mapping[str, int]]) -> FloatArray:
        """Sum the shifts over the atoms of each composition; the result, in eV, has shape (n,).

        Raises
        ------
        StageError
            If an element was not in the fit.
        """
        unknown = sorted({element for counts in compositions for element in counts} - set(self.eV_per_atom))
        if unknown:
            raise StageError(
                f"The energy reference of {', '.join(unknown)} is not known: no training label contains it.",
                fix="Put at least one structure with each element into the training part.",
            )
        return np.array(
            [sum(number * self.eV_per_atom[element] for element, number in counts.items()) for counts in compositions]
        )

    def shift_eV(self, symbols: Sequence[str]) -> float:
        """Sum the shifts over atoms of these chemical symbols, in eV; errors as in :meth:`energies_eV`."""
        return float(self.energies_eV([Counter(symbols)])[0])


def composition_of(atoms: Atoms) -> dict[str, int]:
    """Count each element, in order of atomic number."""
    symbols = dict(zip((int(z) for z in atoms.numbers), atoms.get_chemical_symbols(), strict=True))
    return {symbols[z]: int(np.count_nonzero(atoms.numbers == z)) for z in sorted(symbols)}


def fit_element_references(
    energy_differences_eV: npt.ArrayLike, compositions: Sequence[Mapping[str, int]]
) -> ElementReferences:
    """Fit per-element shifts s so that differences of cell energies are sums over atoms.

    Minimise the sum over structures of ((ΔE − Σ_el n_el s_el)/N)², with N atoms in the cell, and take the minimiser of
    smallest norm. A combination of elements that hardly varies between the compositions counts as constant where its
    shift is known no better than to 1 eV, or no better than to 0.1 eV while it is below three times its error. Fitted,
    it would be the noise of the energies divided by a small number.

    Parameters
    ----------
    energy_differences_eV
        Reference energy minus the potential's energy of each cell, shape (n,), in eV. Use the training set only.
    compositions
        Counts of each element in each cell.

    Returns
    -------
    ElementReferences
        See ``degenerate``: with fewer independent compositions than elements, some shifts are undetermined.

    Raises
    ------
    ValueError
        If there is nothing to fit, or a difference is not finite.
    """
    differences = np.asarray(energy_differences_eV, dtype=np.float64)
    if differences.ndim != 1 or len(differences) == 0 or len(differences) != len(compositions):
        raise ValueError("give one energy difference for each of at least one composition")
    if not np.isfinite(differences).all():
        raise ValueError("an energy difference is not finite")
    elements = sorted({element for counts in compositions for element in counts}, key=_atomic_number)
    numbers = np.array([[counts.get(element, 0) for element in elements] for counts in compositions], dtype=np.float64)
    n_atoms = numbers.sum(axis=1)
    design, target = numbers / n_atoms[:, None], differences / n_atoms
    shifts, _, rank, _ = np.linalg.lstsq(design, target, rcond=_RANK)
    residual = target - design @ shifts
    left, sizes, directions = np.linalg.svd(design, full_matrices=False)
    known = sizes > _RANK * sizes[0]
    along = np.where(known, (left.T @ target) / np.where(known, sizes, 1.0), 0.0)
    freedom = max(1, len(target) - int(rank))
    scatter = max(float(np.sqrt(residual @ residual / freedom)), _SMALLEST_SCATTER_EV_PER_ATOM)
    errors = scatter / np.where(known, sizes, np.inf)
    open_ = (errors > _OPEN_EV) | ((errors > _DETERMINED_EV) & (np.abs(along) < _SIGNIFICANT * errors))
    noise = known & open_
    if noise.any():
        shifts = directions.T @ np.where(noise, 0.0, along)
        residual, rank = target - design @ shifts, rank - int(np.count_nonzero(noise))
    return ElementReferences(
        eV_per_atom={element: float(shift) for element, shift in zip(elements, shifts, strict=True)},
        rank=int(rank),
        rms_residual_eV_per_atom=float(np.sqrt(np.mean(residual**2))),
    )


def undetermined_references(
    compositions: Sequence[Mapping[str, int]], rms_residual_eV_per_atom: float
) -> dict[str, float]:
    """Return the shifts of :func:`fit_element_references` that the compositions leave undetermined, with their errors.

    The covariance of a linear fit is σ²(AᵀA)⁻¹, with A the fractions of the elements and σ the scatter per structure.
    An element that takes part in a combination without any effect on the energies has an infinite error.

    Parameters
    ----------
    compositions
        Counts of each element in each cell of the fit.
    rms_residual_eV_per_atom
        Residual of the fit.

    Returns
    -------
    dict
        Standard deviation in eV of each shift that is not known to 0.1 eV.
    """
    elements = sorted({element for counts in compositions for element in counts}, key=_atomic_number)
    numbers = np.array([[counts.get(element, 0) for element in elements] for counts in compositions], dtype=np.float64)
    _, sizes, directions = np.linalg.svd(numbers / numbers.sum(axis=1)[:, None], full_matrices=True)
    padded = np.zeros(len(elements))
    padded[: len(sizes)] = sizes
    freedom = max(1, len(compositions) - int(np.count_nonzero(padded > _RANK * padded.max())))
    sigma = rms_residual_eV_per_atom * float(np.sqrt(len(compositions) / freedom))
    spread = np.where(padded > _RANK * padded.max(), sigma / np.maximum(padded, 1.0e-300), np.inf)
    present = np.abs(directions) > 1.0e-6
    parts = np.where(present, directions, 1.0) * spread[:, None]
    deviations = np.sqrt(np.sum(np.where(present, parts, 0.0) ** 2, axis=0))
    return {
        element: float(deviation)
        for element, deviation in zip(elements, deviations, strict=True)
        if deviation > _DETERMINED_EV
    }


def undetermined_combinations(
    compositions: Sequence[Mapping[str, int]], rms_residual_eV_per_atom: float
) -> tuple[Mapping[str, float], ...]:
    """Return combinations of the elements' shifts that the compositions leave open; see `undetermined_references`.

    Returns
    -------
    tuple of mappings
        In each, the amounts by which shifts can change together, the largest by 1, with an effect on the energies that
        is lost in their scatter: for LiCl alone, Li by +1 and Cl by −1.
    """
    elements = sorted({element for counts in compositions for element in counts}, key=_atomic_number)
    numbers = np.array([[counts.get(element, 0) for element in elements] for counts in compositions], dtype=np.float64)
    _, sizes, directions = np.linalg.svd(numbers / numbers.sum(axis=1)[:, None], full_matrices=True)
    padded = np.zeros(len(elements))
    padded[: len(sizes)] = sizes
    scatter = max(rms_residual_eV_per_atom, _SMALLEST_SCATTER_EV_PER_ATOM)
    open_ = directions[scatter > _DETERMINED_EV * padded]
    # The directions are an arbitrary basis of the open space; elimination gives those of the fewest elements.
    for row in range(len(open_)):
        column = int(np.argmax(np.abs(open_[row])))
        open_[row] /= open_[row, column]
        for other in range(len(open_)):
            if other != row:
                open_[other] -= open_[other, column] * open_[row]
    combinations = []
    for direction in open_:
        largest = direction[int(np.argmax(np.abs(direction)))]
        if largest != 0.0:
            normalised = direction / largest
            combinations.append(
                {e: round(float(x), 3) for e, x in zip(elements, normalised, strict=True) if abs(x) > 5.0e-4}
            )
    return tuple(combinations)


def split_groups(
    groups: Sequence[str], *, validation_fraction: float, test_fraction: float, seed: int, within_groups: bool = True
) -> Split:
    """Split into training, validation and test sets, each group as a whole in one of them.

    Groups are shuffled by the seed and assigned in that order, each to the set that is furthest below its share. If
    there are too few groups for the sets, and ``within_groups`` allows it, the sequence is cut into contiguous blocks
    instead (neighbours in time stay together except at the cuts), and the result is marked as not leak-free.

    Parameters
    ----------
    groups
        Trajectory of each structure; the order within a group is the order in time.
    validation_fraction, test_fraction
        Shares of the structures, with a sum below 1. A share above 0 gets at least one structure.
    within_groups
        Whether groups may be cut if there are too few of them.

    Raises
    ------
    StageError
        If there are fewer structures than sets, or too few groups that must not be cut.
    ValueError
        If a fraction is negative or nothing would be left for training.
    """
    if min(validation_fraction, test_fraction) < 0.0 or validation_fraction + test_fraction >= 1.0:
        raise ValueError("fractions must not be negative, and must leave something for training")
    shares = (1.0 - validation_fraction - test_fraction, validation_fraction, test_fraction)
    parts = [part for part in range(3) if shares[part] > 0.0]
    if len(groups) < len(parts):
        raise StageError(
            f"{len(groups)} label(s) cannot be split into {len(parts)} parts.",
            fix="Label more snapshots, or set validation_fraction or test_fraction to 0.",
        )
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    notes: list[str] = []
    if len(members) >= len(parts):
        dealt = _deal_groups(list(members.values()), shares, parts, np.random.default_rng(seed))
    elif within_groups:
        dealt = _cut_in_time([index for group in members.values() for index in group], shares, parts)
        notes.append(
            f"{len(members)} trajectories are too few for {len(parts)} parts, so trajectories were cut in time: errors "
            "on held-out labels are smaller than they would be on new trajectories."
        )
    else:
        raise StageError(
            f"{len(members)} trajectories cannot be split into {len(parts)} parts without leakage.",
            fix="Sample more trajectories, or allow cuts within trajectories.",
        )
    train, validation, test = (tuple(sorted(part)) for part in dealt)
    return Split(train, validation, test, leak_free=not notes, notes=tuple(notes))


def _deal_groups(
    groups: list[list[int]], shares: tuple[float, float, float], parts: list[int], rng: np.random.Generator
) -> list[list[int]]:
    total = sum(len(group) for group in groups)
    dealt: list[list[int]] = [[], [], []]
    for remaining, position in zip(range(len(groups), 0, -1), rng.permutation(len(groups)), strict=True):
        empty = [part for part in parts if not dealt[part]]
        # The last groups go to sets that have none; the others to the set furthest below its share (training on ties).
        candidates = empty if len(empty) >= remaining else parts
        part = max(candidates, key=lambda p: (shares[p] * total - len(dealt[p]), -p))
        dealt[part].extend(groups[int(position)])
    return dealt


def _cut_in_time(order: list[int], shares: tuple[float, float, float], parts: list[int]) -> list[list[int]]:
    total = len(order)
    sizes = [0, 0, 0]
    for part in parts[1:]:
        sizes[part] = max(1, round(shares[part] * total))
    while total - sum(sizes) < 1:
        sizes[max(parts[1:], key=lambda p: sizes[p])] -= 1
    sizes[0] = total - sum(sizes)
    first, second = sizes[0], sizes[0] + sizes[1]
    return [order[:first], order[first:second], order[second:]]


def _atomic_number(symbol: str) -> int:
    from ase.data import atomic_numbers

    return int(atomic_numbers[symbol])


def _frozen(values: npt.ArrayLike) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(
        numbers=atoms.numbers.copy(), positions=atoms.positions.copy(), cell=np.array(atoms.cell), pbc=atoms.pbc
    )
