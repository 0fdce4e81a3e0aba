"""Consistency of the labels of one trajectory: between neighbours the energy falls by the work of the forces.

For successive frames close to each other, in one cell, ΔE = −Σ F·Δr with the mean force of the two (the trapezoidal
rule; its error is of third order in the step). This is independent of any potential and of the zero of the energies: if
the slope of ΔE against the work is 1, energies and forces have the same scale and sign; if it is that of a known error,
one of them is in another unit. A unit common to both leaves the slope unchanged.

Between consecutive steps of molecular dynamics the slope is 1 to some thousandths. If only every tenth step was saved
(20 fs, atoms that move by 0.3 Å), the rule misses part of each vibration: sound labels of LGPS give 0.95 ± 0.05. So the
slope comes with its error, and only one near a known error counts against labels.

If the cell changes from frame to frame, the stress does work too: ΔE = −Σ F·u + V σ:ε, with the strain ε and the
displacements u of the atoms beyond it. So an error of unit or sign of the stress is detected as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.labels.robust import robust_sigma
from superionic.units import GPA_PER_EV_PER_A3

FloatArray = npt.NDArray[np.float64]

_HARTREE_EV, _BOHR_A, _KCAL_EV, _KJ_EV = 27.211386245988, 0.529177210903, 0.0433641, 0.0103643
_SLIPS: Final[Mapping[float, str]] = {
    -1.0: "the sign of energies or forces is wrong",
    1.0 / _BOHR_A: "forces are per Bohr",
    _BOHR_A: "positions are in Bohr",
    1.0 / _HARTREE_EV: "energies are in Hartree",
    2.0 / _HARTREE_EV: "energies are in Rydberg",
    _HARTREE_EV / _BOHR_A: "forces are in Hartree/Bohr",
    0.5 * _HARTREE_EV / _BOHR_A: "forces are in Rydberg/Bohr",
    1.0 / _KCAL_EV: "energies are in kcal/mol",
    _KCAL_EV: "forces are in kcal/mol/Å",
    1.0 / _KJ_EV: "energies are in kJ/mol",
    _KJ_EV: "forces are in kJ/mol/Å",
    1000.0: "energies are in meV",
    0.001: "forces are in meV/Å",
}
_GPA: Final = GPA_PER_EV_PER_A3
_HARTREE_PER_BOHR3: Final = _HARTREE_EV / _BOHR_A**3
_STRESS_SLIPS: Final[Mapping[float, str]] = {
    -1.0: "the sign of the stress is wrong",
    1.0 / _GPA: "the stress is in GPa",
    -1.0 / _GPA: "the stress is in GPa, and its sign is wrong",
    0.1 / _GPA: "the stress is in kbar",
    -0.1 / _GPA: "the stress is in kbar, and its sign is wrong",
    _HARTREE_PER_BOHR3: "the stress is in Hartree/Bohr³",
    -_HARTREE_PER_BOHR3: "the stress is in Hartree/Bohr³, and its sign is wrong",
    0.5 * _HARTREE_PER_BOHR3: "the stress is in Rydberg/Bohr³",
    -0.5 * _HARTREE_PER_BOHR3: "the stress is in Rydberg/Bohr³, and its sign is wrong",
}
"""Factor by which each error of the stress divides its work."""
_LONGEST_STEP_A: Final = 1.0
"""Longest displacement of an atom between two frames for which the trapezoidal rule is used."""
_SAME_CELL_A: Final = 1.0e-6
_LARGEST_STRAIN: Final = 0.06
_OF_THE_ENERGY: Final = 0.2
"""Smallest fraction of the energy changes that a work must contribute for its slope to be determined."""
_FEWEST_STEPS: Final = 5
_CLEAR: Final = 0.95
"""Smallest meaningful correlation of energies and work."""
_SURE: Final = 0.99
"""Smallest correlation on which labels are refused: long steps have errors of their own."""
_WIDTH: Final = 0.25
"""Tolerance of the logarithm of a slope, for the longest steps allowed; the nearest known errors are at ±0.64."""
_OUTLYING: Final = 5.0
_FAR_OUT: Final = 10.0
_FAR_OFF: Final = 0.3
_OF_THE_WORK: Final = 0.1


@dataclass(frozen=True)
class RunWitness:
    """The slope of the energy changes against the work of the forces along one trajectory.

    Attributes
    ----------
    group
        The trajectory.
    members
        Indices of its labels.
    n_steps
        Number of pairs of neighbouring frames compared.
    slope, correlation
        Of ΔE against −Σ F·Δr through the origin.
    n_atoms
        Number of atoms in the cell.
    slope_error
        Standard error of the slope, from the scatter of the work about the energies, which is the rule's own error.
    stress_slope, stress_correlation
        Of the remainder of ΔE after the work of the forces against V σ:ε, if the cell changes; None if it does not.
    volume_A3
        Volume of the first cell.
    """

    group: str
    members: tuple[int, ...]
    n_steps: int
    slope: float
    correlation: float
    n_atoms: int
    slope_error: float = 0.0
    stress_slope: float | None = None
    stress_correlation: float = 0.0
    volume_A3: float = 0.0

    @property
    def stress_slip(self) -> str | None:
        """Description of the error of the stress that matches its slope, or None."""
        slope = self.stress_slope
        if slope is None or self.n_steps < _FEWEST_STEPS or abs(self.stress_correlation) < _SURE or _near(slope, 1.0):
            return None
        volume = max(self.volume_A3, 1.0e-9)
        slips = {
            **_STRESS_SLIPS,
            1.0 / volume: "the stress is a virial, which must be divided by the volume and change sign",
            -1.0 / volume: "the stress is a virial, which must be divided by the volume",
        }
        near = [words for factor, words in slips.items() if _near(slope, factor)]
        return ", or ".join(near) if near else None

    @property
    def clear(self) -> bool:
        """Whether the evidence suffices for a judgement."""
        return self.n_steps >= _FEWEST_STEPS and abs(self.correlation) >= _CLEAR

    @property
    def sound(self) -> bool:
        """Whether energies and forces have the same scale and sign."""
        return self.clear and _near(self.slope, 1.0)

    @property
    def slip(self) -> str | None:
        """Description of the error that matches the slope, or None."""
        if self.sound or self.n_steps < _FEWEST_STEPS or abs(self.correlation) < _SURE:
            return None
        slips = {**_SLIPS, 1.0 / max(2, self.n_atoms): "energies are per atom"}
        near = [words for factor, words in slips.items() if _near(self.slope, factor)]
        return ", or ".join(near) if near else None


@dataclass(frozen=True)
class Trajectories:
    """The trajectories of a set, see :func:`trajectories_of`.

    Attributes
    ----------
    runs
        The trajectories with at least two comparable frames.
    sound
        Labels that fit their neighbours, in runs whose slope is 1.
    misplaced
        Labels whose energy deviates from both neighbours' by this many eV, in runs whose other energies follow the
        work.
    """

    runs: tuple[RunWitness, ...]
    sound: frozenset[int]
    misplaced: Mapping[int, float] = field(default_factory=dict)
    _steps: tuple[tuple[int, int, FloatArray, float], ...] = ()
    _forces: Mapping[int, FloatArray] = field(default_factory=dict)

    def renumbered(self, numbers: Sequence[int]) -> Trajectories:
        """Return the same with the labels renumbered."""
        return Trajectories(
            tuple(replace(run, members=tuple(numbers[i] for i in run.members)) for run in self.runs),
            frozenset(numbers[i] for i in self.sound),
            {numbers[i]: off for i, off in self.misplaced.items()},
            tuple((numbers[first], numbers[second], moved, fall) for first, second, moved, fall in self._steps),
            {numbers[i]: forces for i, forces in self._forces.items()},
        )

    def speaks_against(self, index: int, forces_eV_per_A: FloatArray) -> bool:
        """Return whether alternative forces of a label fit its neighbours clearly worse than its own do."""
        if index not in self.sound:
            return False
        own, other = 0.0, 0.0
        for first, second, moved, difference in self._steps:
            if index in (first, second):
                neighbour = self._forces[second if index == first else first]
                own += (difference - _work(self._forces[index], neighbour, moved)) ** 2
                other += (difference - _work(forces_eV_per_A, neighbour, moved)) ** 2
        return own < 0.5 * other


def trajectories_of(
    structures: Sequence[Atoms],
    energies_eV: Sequence[float] | FloatArray,
    forces_eV_per_A: Sequence[FloatArray],
    groups: Sequence[str],
    stresses_eV_per_A3: Sequence[FloatArray | None] | None = None,
) -> Trajectories:
    """Compare neighbouring labels of each trajectory.

    Parameters
    ----------
    structures
        The n structures.
    energies_eV
        Of the cells, shape (n,), in eV.
    forces_eV_per_A
        One array of shape (n_atoms, 3) per structure, in eV/Å.
    groups
        Trajectory of each structure; the order within one is that in time.
    stresses_eV_per_A3
        Voigt stresses, None if missing; without them frames of changing cells are not compared.
    """
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    energies = np.asarray(energies_eV, dtype=np.float64)
    forces = tuple(np.asarray(array, dtype=np.float64) for array in forces_eV_per_A)
    runs: list[RunWitness] = []
    sound: set[int] = set()
    misplaced: dict[int, float] = {}
    all_steps: list[tuple[int, int, FloatArray, float]] = []
    for group, indices in members.items():
        steps = []
        for first, second in itertools.pairwise(indices):
            moved = _moved(structures[first], structures[second])
            if moved is not None and len(forces[first]) == len(forces[second]) == len(moved):
                steps.append((first, second, moved, float(energies[second] - energies[first])))
        strained = _strained_steps(indices, structures, forces, stresses_eV_per_A3)
        lined = [(*step[:2], sum(step[2:]), float(energies[step[1]] - energies[step[0]])) for step in strained]
        lined += [
            (first, second, _work(forces[first], forces[second], moved), fall) for first, second, moved, fall in steps
        ]
        misplaced |= _misplaced(lined)
        with_stress = _strained_run(group, indices, structures, energies, strained)
        runs += [] if with_stress is None else [with_stress]
        if not steps:
            continue
        work = np.array([_work(forces[first], forces[second], moved) for first, second, moved, _ in steps])
        fall = np.array([difference for *_, difference in steps])
        if not (np.isfinite(work).all() and np.isfinite(fall).all()):
            continue
        size_w, size_f = float(np.vdot(work, work)), float(np.vdot(fall, fall))
        product = float(np.vdot(work, fall))
        correlation = product / float(np.sqrt(size_w * size_f)) if size_w > 0.0 and size_f > 0.0 else 0.0
        # Energies are exact and the work has the rule's own error: fit the work to the energies, not the other way
        # round, which would bias the slope towards 0.
        slope = size_f / product if product != 0.0 else 0.0
        rest = (1.0 - correlation**2) / max(1, len(steps) - 1)
        error = abs(slope) * float(np.sqrt(max(0.0, rest))) / abs(correlation) if correlation != 0.0 else 0.0
        run = RunWitness(group, tuple(indices), len(steps), slope, correlation, len(structures[indices[0]]), error)
        runs.append(run)
        all_steps += steps
        if run.sound:
            residual = np.abs(fall - work)
            allowed = max(_OUTLYING * robust_sigma(fall - work), _OF_THE_WORK * float(np.sqrt(size_w / len(steps))))
            bad = {end for step, off in zip(steps, residual > allowed, strict=True) if off for end in step[:2]}
            sound |= {end for step in steps for end in step[:2]} - bad
    return Trajectories(tuple(runs), frozenset(sound), misplaced, tuple(all_steps), dict(enumerate(forces)))


def _misplaced(steps: Sequence[tuple[int, int, float, float]]) -> dict[int, float]:
    """Return the labels whose energy deviates equally from both neighbours', while all others follow the work, in eV.

    Parameters
    ----------
    steps
        Two neighbours, the work between them, and the difference of their energies.
    """
    if len(steps) < _FEWEST_STEPS + 2:
        return {}
    work, fall = (np.array([step[column] for step in steps]) for column in (2, 3))
    if not (np.isfinite(work).all() and np.isfinite(fall).all()):
        return {}
    rest = fall - work
    bad = np.abs(rest) > max(_FAR_OUT * robust_sigma(rest), _FAR_OFF * float(np.median(np.abs(work))))
    good = ~bad
    if not bad.any() or np.count_nonzero(good) < _FEWEST_STEPS:
        return {}
    sizes = float(np.linalg.norm(work[good])), float(np.linalg.norm(fall[good]))
    if min(sizes) == 0.0 or float(np.vdot(work[good], fall[good])) < _SURE * sizes[0] * sizes[1]:
        return {}
    if not _near(sizes[1] / sizes[0], 1.0):
        return {}
    before = {steps[n][1]: float(rest[n]) for n in np.flatnonzero(bad).tolist()}
    after = {steps[n][0]: float(rest[n]) for n in np.flatnonzero(bad).tolist()}
    return {
        index: off
        for index, off in before.items()
        if index in after and abs(off + after[index]) < _FAR_OFF * min(abs(off), abs(after[index]))
    }


def _strained_steps(
    indices: Sequence[int],
    structures: Sequence[Atoms],
    forces: Sequence[FloatArray],
    stresses: Sequence[FloatArray | None] | None,
) -> list[tuple[int, int, float, float]]:
    """Return the neighbours whose cells differ, with the work of the forces and that of the stress, in eV."""
    rows: list[tuple[int, int, float, float]] = []
    if stresses is None:
        return rows
    for first, second in itertools.pairwise(indices):
        own, other = stresses[first], stresses[second]
        strain = _strain(structures[first], structures[second])
        if strain is None or own is None or other is None:
            continue
        tensor, besides, volume = strain
        if len(forces[first]) != len(besides) or len(forces[second]) != len(besides):
            continue
        voigt = tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
        by_stress = 0.5 * volume * float(np.dot(np.asarray(own) + np.asarray(other), voigt))
        rows.append((first, second, _work(forces[first], forces[second], besides), by_stress))
    return rows


def _strained_run(
    group: str,
    indices: Sequence[int],
    structures: Sequence[Atoms],
    energies: FloatArray,
    steps: Sequence[tuple[int, int, float, float]],
) -> RunWitness | None:
    """Compare the energies of neighbours whose cells differ with both works; None if there are too few."""
    rows = [(by_forces, by_stress, energies[second] - energies[first]) for first, second, by_forces, by_stress in steps]
    work = np.array(rows, dtype=np.float64).reshape(-1, 3)
    if len(work) < _FEWEST_STEPS or not np.isfinite(work).all():
        return None
    fall = work[:, 2]
    sizes = np.linalg.norm(work[:, :2], axis=0)
    total = float(np.linalg.norm(fall))
    if total == 0.0 or not sizes[1] > 0.0:
        return None
    scaled = work[:, :2] / np.maximum(sizes, 1.0e-300)
    coefficients = np.linalg.lstsq(scaled, fall, rcond=1.0e-6)[0]
    left = float(np.linalg.norm(fall - scaled @ coefficients))
    known = np.abs(coefficients) > min(_OF_THE_ENERGY * total, _FAR_OUT * left)
    correlation = float(np.sqrt(max(0.0, 1.0 - (left / total) ** 2)))
    slopes = coefficients / np.maximum(sizes, 1.0e-300)
    by_forces, by_stress = (float(slope) for slope in slopes)
    if known[0] and _near(by_stress, by_forces):
        by_stress /= by_forces  # then the energies are in another unit
    return RunWitness(
        group,
        tuple(indices),
        len(work),
        by_forces if known[0] else 0.0,
        correlation if known[0] else 0.0,
        len(structures[indices[0]]),
        stress_slope=by_stress if known[1] else None,
        stress_correlation=correlation,
        volume_A3=float(abs(np.linalg.det(np.asarray(structures[indices[0]].cell)))),
    )


def _strain(one: Atoms, other: Atoms) -> tuple[FloatArray, FloatArray, float] | None:
    """Return the strain to the next frame, the further displacement of each atom, and the mean volume, or None."""
    first, second = np.asarray(one.cell), np.asarray(other.cell)
    if len(one) != len(other) or not np.array_equal(one.numbers, other.numbers):
        return None
    if np.abs(first - second).max() <= _SAME_CELL_A or abs(np.linalg.det(first)) < 1.0e-6:
        return None
    there, back = np.linalg.solve(first, second) - np.eye(3), np.linalg.solve(second, first) - np.eye(3)
    deformation = 0.5 * (there - back)  # the logarithmic strain to second order, about the midpoint
    if float(np.abs(deformation).max()) > _LARGEST_STRAIN:
        return None
    step = other.positions @ np.linalg.inv(second) - one.positions @ np.linalg.inv(first)
    besides = np.asarray((step - np.round(step)) @ (0.5 * (first + second)), dtype=np.float64)
    if float(np.linalg.norm(besides, axis=1).max(initial=0.0)) > _LONGEST_STEP_A:
        return None
    volume = 0.5 * (abs(float(np.linalg.det(first))) + abs(float(np.linalg.det(second))))
    return 0.5 * (deformation + deformation.T), besides, volume


def _near(slope: float, factor: float) -> bool:
    return slope / factor > 0.0 and abs(float(np.log(slope / factor))) <= _WIDTH


def _work(first: FloatArray, second: FloatArray, moved: FloatArray) -> float:
    """Return −Σ F·Δr with the mean force, in eV."""
    return -0.5 * float(np.vdot(first + second, moved))


def _moved(one: Atoms, other: Atoms) -> FloatArray | None:
    """Return the displacement of each atom to the next frame, or None if the two are not neighbours in a trajectory."""
    cell = np.asarray(one.cell)
    if len(one) != len(other) or not np.array_equal(one.numbers, other.numbers):
        return None
    if np.abs(cell - np.asarray(other.cell)).max(initial=0.0) > _SAME_CELL_A or abs(np.linalg.det(cell)) < 1.0e-6:
        return None
    step = (other.positions - one.positions) @ np.linalg.inv(cell)
    moved = np.asarray((step - np.round(step)) @ cell, dtype=np.float64)
    longest = float(np.linalg.norm(moved, axis=1).max(initial=0.0))
    return moved if 0.0 < longest <= _LONGEST_STEP_A else None
