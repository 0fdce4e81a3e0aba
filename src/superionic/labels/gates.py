"""The gates that a label must pass before it may enter a training set, each with its reason on record.

A label that fails is neither repaired nor dropped in silence: :func:`check_labels` returns the verdict on each one,
with every gate that it failed. :func:`check_structure` checks a structure before its label is computed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from ase import Atoms
from ase.geometry import minkowski_reduce

from superionic.labels.base import Label
from superionic.labels.residuals import FORCE_SLIPS, Baseline, Sharpness, near_slips, residual_findings
from superionic.labels.robust import FloatArray, element_design, least_absolute, robust_sigma, widened
from superionic.labels.trajectories import Trajectories, trajectories_of
from superionic.labels.twins import first_twins
from superionic.units import gpa

_SMALLEST_SIGMA_EV_PER_ATOM = 1.0e-3  # below this spread a deviation reflects the spread rather than the label
_NORMAL_QUANTILE_85 = 1.4395  # of the absolute value of a normal variable
_FEWEST_FOR_OUTLIERS = 6  # a median absolute deviation of fewer numbers rejects sound labels
_SMALLEST_LOG_FORCE_SIGMA = 0.25  # forces of 300 and 1200 K differ by a factor of two, which is not an error of units
_AT_REST_EV_PER_A = 0.1  # rms force near a minimum of the energy
_BALANCED_EV_PER_A, _BALANCED = (
    0.02,
    0.02,
)  # net force left by rounding and grids; also as a fraction of the largest force
_FARTHEST_A = 1.0e6
_LOW = 0.1  # quantile of the labels not at rest; one at rest has an energy below nearly all of them
_MOST_FAILED = 0.34  # fraction of a trajectory; if more stand out, the whole trajectory does
_OF_SINGLE_LABELS = ("force-outlier", "force-slip", "energy-outlier")


@dataclass(frozen=True)
class Gates:
    """Thresholds of the gates; ``None`` switches one off.

    Attributes
    ----------
    max_net_force_eV_per_A
        Largest net force on the cell that the code left (before it was removed).
    max_stress_GPa
        Largest absolute component of the stress.
    min_distance_A
        Shortest distance between two atoms.
    max_smearing_energy_eV_per_atom
        Largest energy of smearing, a sign of a metal or of a broken electronic state where an insulator is expected.
    energy_outlier_sigma, force_outlier_sigma, stress_outlier_sigma
        Largest deviation from the rest of the set in units of a robust standard deviation. With predictions of a
        baseline it is the deviation of the residual from the baseline (:mod:`superionic.labels.residuals`); without,
        energies per atom are compared after per-element shifts (standard deviation at least 1 meV/atom), and the sizes
        of forces on a logarithmic scale.
    duplicate_distance_A
        Two structures of a set are duplicates if no atom and no cell vector differs by more, whatever the order of the
        atoms of an element and wherever the origin (:mod:`superionic.labels.twins`).
    """

    max_force_eV_per_A: float | None = 30.0
    max_net_force_eV_per_A: float | None = 0.5
    max_stress_GPa: float | None = 50.0
    min_distance_A: float | None = 0.8
    max_smearing_energy_eV_per_atom: float | None = 0.01
    energy_outlier_sigma: float | None = 4.5
    force_outlier_sigma: float | None = 6.0
    stress_outlier_sigma: float | None = 6.0
    duplicate_distance_A: float | None = 1.0e-3


@dataclass(frozen=True)
class GateFailure:
    """One gate that a label did not pass.

    Attributes
    ----------
    gate
        Short name of the gate, stable across versions.
    reason
        The fault, with numbers, for people.
    """

    gate: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The verdict of the gates on one label: no failures, or all of them."""

    failures: tuple[GateFailure, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the label may enter the set."""
        return not self.failures

    @property
    def reason(self) -> str:
        """All reasons in one line; empty if the label passed."""
        return "; ".join(failure.reason for failure in self.failures)


def shortest_distance(atoms: Atoms) -> float:
    """Return the shortest distance in Å between two atoms, or an atom and its own image; infinite for a lone atom.

    The cell is Minkowski-reduced first; in a reduced cell the shortest vector of any pair lies among the 27 images
    around the wrapped one. That bounds the distance, and a tree of the images within the bound finds it.
    """
    positions = np.asarray(atoms.positions, dtype=np.float64)
    if len(positions) == 0:
        return float("inf")
    cell, _ = minkowski_reduce(np.asarray(atoms.cell), pbc=atoms.pbc)
    inverse = np.linalg.pinv(cell)
    fractions = positions @ inverse
    wrapped = positions - np.where(atoms.pbc, np.floor(fractions), 0.0) @ cell
    steps = list(itertools.product(*(range(-2, 3) if periodic else (0,) for periodic in atoms.pbc)))
    shifts = np.array(steps, dtype=np.float64) @ cell
    lengths = np.linalg.norm(shifts, axis=1)
    bound = float(lengths[lengths > 0.0].min(initial=np.inf))
    if len(positions) > 1:
        bound = min(bound, float(scipy.spatial.cKDTree(wrapped).query(wrapped, k=2)[0][:, 1].min()))
    if not np.isfinite(bound):
        return bound
    images = (wrapped[None, :, :] + shifts[:, None, :]).reshape(-1, 3)
    margin = bound * np.linalg.norm(inverse, axis=0) + 1.0e-9
    places = images @ inverse
    near = ((places >= -margin) & (places <= 1.0 + margin))[:, atoms.pbc].all(axis=1)
    return min(bound, float(scipy.spatial.cKDTree(images[near]).query(wrapped, k=2)[0][:, 1].min()))


def check_structure(atoms: Atoms, gates: Gates | None = None) -> Verdict:
    """Check a structure before its label is computed: finite, periodic, no atoms on top of each other."""
    thresholds = Gates() if gates is None else gates
    failures = _finite_structure(atoms)
    if not failures:
        failures += _distance(atoms, thresholds)
    return Verdict(tuple(failures))


def check_label(atoms: Atoms, label: Label, gates: Gates | None = None, *, asked: Atoms | None = None) -> Verdict:
    """Check one label by itself.

    Parameters
    ----------
    atoms
        The structure that comes with the label.
    gates
        Thresholds of the gates; the documented ones by default.
    asked
        The structure that was requested, if the label came back from outside: species, order, cell and positions must
        match.

    Returns
    -------
    Verdict
        With every gate that failed.
    """
    thresholds = Gates() if gates is None else gates
    failures = _finite_structure(atoms)
    if not failures:
        failures += _distance(atoms, thresholds)
    if asked is not None:
        failures += same_structure(atoms, asked)
    shapes = _shapes(atoms, label)
    failures += shapes or _values(label, thresholds)
    return Verdict(tuple(failures))


def check_labels(
    structures: Sequence[Atoms],
    labels: Sequence[Label],
    gates: Gates | None = None,
    *,
    asked: Sequence[Atoms] | None = None,
    baseline: Baseline | None = None,
    groups: Sequence[str] | None = None,
) -> list[Verdict]:
    """Check labels as a set: each by itself, then one reference for all, duplicates and outliers.

    The reference (settings hash, and setups per element) shared by most of the sound labels is retained; in a tie, the
    one that came first. The later one of two duplicates fails. Outliers are judged among labels that passed everything
    else, if there are at least six: with a baseline by their residuals, without one by the energies per atom after
    per-element shifts and by the sizes of the forces. All scales are medians, so that outliers do not shift them.
    Labels that fit their neighbours in a trajectory (:mod:`superionic.labels.trajectories`) are not outliers merely
    because they are at rest or hot; a trajectory whose energy changes disagree with the work of the forces fails as a
    whole, if the ratio is that of a known error of units or sign.

    Parameters
    ----------
    structures, labels
        Of equal length.
    gates
        Thresholds of the gates.
    asked
        The structures that were requested, if the labels came back from outside.
    baseline
        Predictions of a potential for the structures: the one that generated them, or any other for this chemistry.
    groups
        Trajectory of each label, in order of time; None if unknown.

    Returns
    -------
    list of Verdict
        One for each label, in order.
    """
    thresholds = Gates() if gates is None else gates
    failures: list[list[GateFailure]] = [
        list(check_label(atoms, label, thresholds, asked=None if asked is None else asked[index]).failures)
        for index, (atoms, label) in enumerate(zip(structures, labels, strict=True))
    ]
    _one_reference(labels, failures)
    _duplicates(structures, thresholds, failures)
    trajectories = None if groups is None else _trajectories(structures, labels, groups, failures)
    before = [len(own) for own in failures]
    if baseline is not None:
        _residuals(structures, labels, baseline, thresholds, trajectories, failures)
    _force_outliers(structures, labels, thresholds, failures)
    if baseline is None:
        _energy_outliers(structures, labels, thresholds, failures)
    if trajectories is not None:
        _acquit_by_neighbours(trajectories, before, failures)
    return [Verdict(tuple(own)) for own in failures]


def _trajectories(
    structures: Sequence[Atoms],
    labels: Sequence[Label],
    groups: Sequence[str],
    failures: list[list[GateFailure]],
) -> Trajectories:
    """Judge each trajectory by its own labels."""
    sound = _sound(failures)
    trajectories = trajectories_of(
        [structures[i] for i in sound],
        [labels[i].energy_eV for i in sound],
        [labels[i].forces_eV_per_A for i in sound],
        [groups[i] for i in sound],
        [labels[i].stress_eV_per_A3 for i in sound],
    ).renumbered(sound)
    for run in trajectories.runs:
        if run.slip is not None:
            for index in run.members:
                failures[index].append(
                    GateFailure(
                        "work-of-forces",
                        f"along the trajectory the energy falls by {run.slope:.3g} times the work of the forces: "
                        f"{run.slip}?",
                    )
                )
        if run.stress_slip is not None:
            for index in run.members:
                failures[index].append(
                    GateFailure(
                        "work-of-stress",
                        f"along the trajectory the energy changes by {run.stress_slope:.3g} times the work of the "
                        f"stress: {run.stress_slip}?",
                    )
                )
    for index, off in trajectories.misplaced.items():
        failures[index].append(
            GateFailure(
                "off-trajectory",
                f"the energy is {1000 * off / len(structures[index]):+.1f} meV/atom from the value that both its "
                "neighbours in the trajectory imply by the work of forces and stress",
            )
        )
    return trajectories


def _acquit_by_neighbours(trajectories: Trajectories, before: Sequence[int], failures: list[list[GateFailure]]) -> None:
    """Withdraw failures of single labels that fit their neighbours; a run that stands out as a whole stays out."""
    for run in trajectories.runs:
        failing = [index for index in run.members if len(failures[index]) > before[index]]
        if len(failing) > _MOST_FAILED * len(run.members):
            continue
        for index in trajectories.sound.intersection(failing):
            own = failures[index][before[index] :]
            failures[index][before[index] :] = [failure for failure in own if failure.gate not in _OF_SINGLE_LABELS]


def _finite_structure(atoms: Atoms) -> list[GateFailure]:
    if len(atoms) == 0:
        return [GateFailure("structure", "the structure has no atoms")]
    if not (np.isfinite(atoms.positions).all() and np.isfinite(np.asarray(atoms.cell)).all()):
        return [GateFailure("structure", "a position or cell vector is not a finite number")]
    if float(np.abs(atoms.positions).max()) > _FARTHEST_A or float(np.abs(np.asarray(atoms.cell)).max()) > _FARTHEST_A:
        return [GateFailure("structure", f"a position or cell vector is longer than {_FARTHEST_A:g} Å")]
    if not np.all(atoms.pbc) or abs(float(np.linalg.det(np.asarray(atoms.cell)))) < 1.0e-6:
        return [GateFailure("structure", "the structure is not periodic in three directions")]
    return []


def _distance(atoms: Atoms, gates: Gates) -> list[GateFailure]:
    if gates.min_distance_A is None:
        return []
    distance = shortest_distance(atoms)
    if distance >= gates.min_distance_A:
        return []
    return [
        GateFailure("shortest-distance", f"two atoms are {distance:.3f} Å apart (allowed: {gates.min_distance_A:g} Å)")
    ]


def same_structure(atoms: Atoms, asked: Atoms) -> list[GateFailure]:
    """Compare a returned structure with the requested one: species in order, cell, and positions modulo the cell."""
    if len(atoms) != len(asked):
        return [GateFailure("same-structure", f"{len(atoms)} atoms came back for {len(asked)} requested")]
    if not np.array_equal(atoms.numbers, asked.numbers):
        return [GateFailure("same-structure", "species or their order are not those requested")]
    if not np.allclose(np.asarray(atoms.cell), np.asarray(asked.cell), rtol=0.0, atol=1.0e-4):
        return [GateFailure("same-structure", "the cell is not the one requested")]
    shift = (atoms.positions - asked.positions) @ np.linalg.inv(np.asarray(asked.cell))
    moved = np.linalg.norm((shift - np.round(shift)) @ np.asarray(asked.cell), axis=1).max()
    if not moved < 1.0e-3:
        return [GateFailure("same-structure", f"an atom is {moved:.3f} Å from its requested position")]
    return []


def _shapes(atoms: Atoms, label: Label) -> list[GateFailure]:
    if label.forces_eV_per_A.shape != (len(atoms), 3):
        return [GateFailure("complete", f"{len(label.forces_eV_per_A)} forces came with {len(atoms)} atoms")]
    stress = label.stress_eV_per_A3
    finite = np.isfinite(label.energy_eV) and np.isfinite(label.forces_eV_per_A).all()
    if not finite or (stress is not None and not np.isfinite(stress).all()):
        return [GateFailure("finite", "energy, a force or a stress is not a finite number")]
    return []


def _values(label: Label, gates: Gates) -> list[GateFailure]:
    failures = []
    if not label.diagnostics.get("converged", False):
        failures.append(GateFailure("converged", "the label does not state that its calculation converged"))
    largest = float(np.linalg.norm(label.forces_eV_per_A, axis=1).max(initial=0.0))
    if gates.max_force_eV_per_A is not None and largest > gates.max_force_eV_per_A:
        failures.append(
            GateFailure(
                "largest-force",
                f"the largest force is {largest:.2f} eV/Å (allowed: {gates.max_force_eV_per_A:g} eV/Å)",
            )
        )
    removed = label.diagnostics.get("net_force_eV_per_A", np.zeros(3))
    net = float(np.linalg.norm(removed) + np.linalg.norm(label.forces_eV_per_A.sum(axis=0)))
    if gates.max_net_force_eV_per_A is not None and not net <= gates.max_net_force_eV_per_A:
        failures.append(
            GateFailure(
                "net-force",
                f"the net force is {net:.3f} eV/Å (allowed: {gates.max_net_force_eV_per_A:g} eV/Å)",
            )
        )
    if (masked := _masked(label)) is not None:
        failures.append(GateFailure("masked-forces", masked))
    if label.stress_eV_per_A3 is not None and gates.max_stress_GPa is not None:
        stress = float(gpa(float(np.abs(label.stress_eV_per_A3).max())))
        if stress > gates.max_stress_GPa:
            failures.append(
                GateFailure(
                    "largest-stress", f"the largest stress is {stress:.1f} GPa (allowed: {gates.max_stress_GPa:g} GPa)"
                )
            )
    smearing = abs(float(label.diagnostics.get("smearing_energy_eV", 0.0))) / max(1, len(label.forces_eV_per_A))
    if gates.max_smearing_energy_eV_per_atom is not None and smearing > gates.max_smearing_energy_eV_per_atom:
        failures.append(
            GateFailure(
                "smearing",
                f"the smearing energy is {1000 * smearing:.1f} meV/atom "
                f"(allowed: {1000 * gates.max_smearing_energy_eV_per_atom:g} meV/atom)",
            )
        )
    return failures


def _masked(label: Label) -> str | None:
    """Return a reason if the forces on some atoms were set to 0 by constraints, or None.

    The forces on all atoms sum to 0. If some are exactly 0 and the others do not balance, those of the fixed atoms were
    not printed; a force may also be 0 by symmetry, and then the others balance.
    """
    forces = label.forces_eV_per_A
    still = np.flatnonzero(~forces.any(axis=1))
    net = float(np.linalg.norm(forces.sum(axis=0)))
    scale = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
    if len(still) == 0 or net <= max(_BALANCED_EV_PER_A, _BALANCED * scale):
        return None
    return (
        f"the forces on {len(still)} atoms are exactly 0 and the others do not balance ({net:.3f} eV/Å): forces of "
        "fixed atoms are missing"
    )


def _one_reference(labels: Sequence[Label], failures: list[list[GateFailure]]) -> None:
    sound = _sound(failures)
    hashes = [labels[index].settings_hash for index in sound]
    if not hashes:
        return
    main = Counter(hashes).most_common(1)[0][0]  # in a tie, the one that came first
    setups: dict[str, str] = {}
    for index, label in enumerate(labels):
        if label.settings_hash != main:
            failures[index].append(
                GateFailure(
                    "one-reference",
                    f"the label has another reference (settings {label.settings_hash[:12]}, the set has {main[:12]})",
                )
            )
            continue
        if failures[index]:
            continue
        own: Mapping[str, str] = label.provenance.get("setups", {})
        different = sorted(element for element in own if setups.setdefault(element, own[element]) != own[element])
        if different:
            failures[index].append(
                GateFailure("one-reference", f"another setup (pseudopotential) of {', '.join(different)} was used")
            )


def _duplicates(structures: Sequence[Atoms], gates: Gates, failures: list[list[GateFailure]]) -> None:
    if gates.duplicate_distance_A is None:
        return
    sound = _sound(failures)
    for index, twin in zip(sound, first_twins([structures[i] for i in sound], gates.duplicate_distance_A), strict=True):
        if twin is not None:
            failures[index].append(GateFailure("duplicate", f"the structure equals number {sound[twin]} of the set"))


def _sound(failures: list[list[GateFailure]]) -> list[int]:
    return [index for index, own in enumerate(failures) if not own]


def _residuals(
    structures: Sequence[Atoms],
    labels: Sequence[Label],
    baseline: Baseline,
    gates: Gates,
    trajectories: Trajectories | None,
    failures: list[list[GateFailure]],
) -> None:
    sound = _sound(failures)

    def refuted(place: int, forces_eV_per_A: FloatArray) -> bool:
        return trajectories is not None and trajectories.speaks_against(sound[place], forces_eV_per_A)

    part = Baseline(
        baseline.energies_eV[sound],
        tuple(baseline.forces_eV_per_A[index] for index in sound),
        baseline.stresses_eV_per_A3[sound],
    )
    sharpness = Sharpness(gates.energy_outlier_sigma, gates.force_outlier_sigma, gates.stress_outlier_sigma)
    findings_of = residual_findings(
        [structures[i] for i in sound], [labels[i] for i in sound], part, sharpness, refuted=refuted
    )
    for index, findings in zip(sound, findings_of, strict=True):
        failures[index].extend(GateFailure(gate, reason) for gate, reason in findings)


def _shifted_energies(structures: Sequence[Atoms], labels: Sequence[Label]) -> FloatArray:
    """Return energies per atom after per-element shifts, with a median of 0, in eV/atom."""
    design, n_atoms = element_design(structures)
    target = np.array([label.energy_eV for label in labels]) / n_atoms
    _, residuals = least_absolute(design, target, floor=_SMALLEST_SIGMA_EV_PER_ATOM)
    return np.asarray(residuals - float(np.median(residuals)), dtype=np.float64)


def _force_outliers(
    structures: Sequence[Atoms], labels: Sequence[Label], gates: Gates, failures: list[list[GateFailure]]
) -> None:
    sound = _sound(failures)
    if gates.force_outlier_sigma is None or len(sound) < _FEWEST_FOR_OUTLIERS:
        return
    sizes = np.array([np.sqrt(np.mean(np.square(labels[index].forces_eV_per_A))) for index in sound])
    centre = float(np.median(sizes))
    if centre <= 0.0:
        return
    logarithms = np.log(np.maximum(sizes, 1.0e-9 * centre) / centre)
    sigma = max(robust_sigma(logarithms), _SMALLEST_LOG_FORCE_SIGMA)
    # Small forces at a low energy belong to a structure at rest and say nothing about units.
    at_rest = min(_AT_REST_EV_PER_A, centre)
    energies = _shifted_energies([structures[i] for i in sound], [labels[i] for i in sound])
    moving = energies[sizes >= at_rest]
    low = energies <= (np.quantile(moving, _LOW) if len(moving) else np.inf)
    for place, (index, size, logarithm) in enumerate(zip(sound, sizes, logarithms, strict=True)):
        near = near_slips(size / centre, FORCE_SLIPS)
        if abs(logarithm) > gates.force_outlier_sigma * sigma and near and not (size < at_rest and low[place]):
            failures[index].append(
                GateFailure(
                    "force-outlier",
                    f"the forces are {size / centre:.3g} times those of the other labels: an error of units "
                    f"({', or '.join(near)})?",
                )
            )


def _energy_outliers(
    structures: Sequence[Atoms], labels: Sequence[Label], gates: Gates, failures: list[list[GateFailure]]
) -> None:
    sound = _sound(failures)
    if gates.energy_outlier_sigma is None or len(sound) < _FEWEST_FOR_OUTLIERS:
        return
    design, _ = element_design([structures[i] for i in sound])
    residuals = _shifted_energies([structures[i] for i in sound], [labels[i] for i in sound])
    # Sets of several temperatures are not normally distributed; the quantile retains the hot ones, as long as fewer
    # than one in seven labels is wrong.
    middle = robust_sigma(residuals, np.linalg.matrix_rank(design, tol=1e-6))
    wide = float(np.quantile(np.abs(residuals), 0.85)) / _NORMAL_QUANTILE_85
    sigma = max(middle, wide, _SMALLEST_SIGMA_EV_PER_ATOM)
    allowed = gates.energy_outlier_sigma * widened(len(sound))
    for index, residual in zip(sound, residuals, strict=True):
        if abs(residual) > allowed * sigma:
            failures[index].append(
                GateFailure(
                    "energy-outlier",
                    f"the energy is {1000 * residual:+.1f} meV/atom from the rest, {abs(residual) / sigma:.1f} robust "
                    f"standard deviations (allowed: {allowed:.1f})",
                )
            )
