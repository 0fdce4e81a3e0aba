"""Checks before a fine-tuning for problems that would make it fail silently.

A universal potential is a good witness for labels: its forces and stresses are right to some tens of per cent and its
energies, after subtraction of per-element references, to some hundredths of an eV per atom. Labels in a wrong unit or
of a wrong sign therefore show as a slope between label and prediction near the factor of that unit, whereas a sound set
gives a slope near 1. Leakage, missing elements, duplicates and ranges show in the labels alone.

Every finding has a name, the evidence with numbers, and a remedy. An *error* is one that no sound set gives; a
*caution* is reported and stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.labels.base import Label
from superionic.labels.trajectories import RunWitness, trajectories_of
from superionic.labels.twins import first_twins
from superionic.training.dataset import Targets, composition_of, fit_element_references
from superionic.units import GPA_PER_EV_PER_A3

FloatArray = npt.NDArray[np.float64]

_HARTREE_EV, _BOHR_A = 27.211386, 0.529177
_KCAL_EV, _KJ_EV = 0.0433641, 0.0103643
_ENERGY_SLIPS: Final[Mapping[float, str]] = {
    _HARTREE_EV: "they look like eV where a code gave Hartree and they were multiplied once too often",
    1.0 / _HARTREE_EV: "they are in Hartree",
    2.0 / _HARTREE_EV: "they are in Rydberg",
    1.0 / _KCAL_EV: "they are in kcal/mol",
    1.0 / _KJ_EV: "they are in kJ/mol",
    1000.0: "they are in meV",
    -1.0: "their sign is turned",
}
_FORCE_SLIPS: Final[Mapping[float, str]] = {
    _HARTREE_EV / _BOHR_A: "they were multiplied by Hartree/Bohr once too often",
    _BOHR_A / _HARTREE_EV: "they are in Hartree/Bohr",
    2.0 * _BOHR_A / _HARTREE_EV: "they are in Rydberg/Bohr",
    _BOHR_A: "they are in eV/Bohr",
    1.0 / _BOHR_A: "a length in them is in Bohr where Å is meant",
    1.0 / _KCAL_EV: "they are in kcal/mol/Å",
    1.0 / _KJ_EV: "they are in kJ/mol/Å",
    1000.0: "they are in meV/Å",
    -1.0: "they are gradients, not forces: their sign is turned",
}
_STRESS_SLIPS: Final[Mapping[float, str]] = {
    -1.0: "their sign is turned (VASP and many codes give compression as positive; here, as in ASE, tension is)",
    GPA_PER_EV_PER_A3: "they are in GPa",
    -GPA_PER_EV_PER_A3: "they are in GPa, and their sign is turned",
    10.0 * GPA_PER_EV_PER_A3: "they are in kbar",
    -10.0 * GPA_PER_EV_PER_A3: "they are in kbar, and their sign is turned",
    0.1: "they were divided by 10 (kbar taken for GPa, or the other way round)",
    -0.1: "they were divided by 10 (kbar taken for GPa), and their sign is turned",
    10.0: "they were multiplied by 10 (GPa taken for kbar)",
    -10.0: "they were multiplied by 10 (GPa taken for kbar), and their sign is turned",
    _BOHR_A**3 / _HARTREE_EV: "they are in Hartree/Bohr³",
}
_FEWEST_WITHOUT_MEAN: Final = 6
_FEWEST_ENERGIES: Final = 8
_AT_REST_EV_PER_A: Final = 0.1
_CORRELATED: Final = 0.6
_USUAL: Final = (0.8, 1.5)
"""Range of slopes of sound labels: universal potentials are soft (Deng et al., npj Comput. Mater. 11, 9 (2025))."""
_BEARABLE: Final = (0.7, 1.75)
_FACTOR_OF_UNITS: Final = 5.0
"""Energy units other than eV (Hartree, kcal/mol, meV) differ from it by a larger factor."""
_OF_THEIR_SPREAD: Final = 20.0
_SAME_A: Final = 1.0e-3
_NEARLY_SAME_A: Final = 0.05
_OUTSIDE: Final = 1.25


@dataclass(frozen=True)
class Finding:
    """A problem, or a possible one.

    Attributes
    ----------
    name
        Short name, stable across versions.
    severity
        ``"error"`` or ``"caution"``; see the docstring of the module.
    evidence
        The observation, with its numbers.
    fix
        The remedy.
    """

    name: str
    severity: Literal["error", "caution"]
    evidence: str
    fix: str


def preflight(
    structures: Sequence[Atoms],
    labels: Sequence[Label],
    baseline: Targets | None,
    *,
    train: Sequence[int],
    validation: Sequence[int] = (),
    test: Sequence[int] = (),
    groups: Sequence[str] | None = None,
    elements: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    with_replay: bool = False,
) -> list[Finding]:
    """Check a labelled set before training.

    Parameters
    ----------
    structures
        The n structures.
    baseline
        Predictions of the pretrained potential for them; None skips the checks that need them.
    train, validation, test
        Indices of the three sets.
    groups
        Run of each structure.
    elements
        Elements that the potential covers; None skips that check.
    options
        Options of the training, of which ``stress_weight`` and a multi-head ``mode`` are checked.
    with_replay
        Whether there are replay data for a multi-head training.

    Returns
    -------
    list of Finding
        Errors first.
    """
    options = {} if options is None else options
    targets = Targets.of_labels(labels)
    findings = [*_one_reference(labels), *_finite(targets), *_covered(structures, train, elements)]
    if not any(finding.name == "broken numbers" for finding in findings):
        named = [str(number) for number in range(len(targets))] if groups is None else groups
        runs = trajectories_of(structures, targets.energies_eV, targets.forces_eV_per_A, named, _stresses(targets)).runs
        findings += _work(runs)
        if baseline is not None:
            findings += _units(structures, targets, baseline, _witnessed(runs, len(targets)))
    findings += _leakage(structures, train, validation, test, groups)
    findings += _ranges(structures, targets, train, test)
    findings += _weights(targets, options, with_replay=with_replay)
    return sorted(findings, key=lambda finding: finding.severity != "error")


def slope(reference: FloatArray, predicted: FloatArray) -> tuple[float, float]:
    """Return the slope of labels against predictions, as a signed ratio of sizes, and their correlation.

    The slope is a ratio of root mean squares rather than a regression: it is the same in both directions, and errors of
    the potential do not bias it towards 0.
    """
    a, b = np.asarray(reference, dtype=np.float64).ravel(), np.asarray(predicted, dtype=np.float64).ravel()
    size_a, size_b = float(np.sqrt(np.mean(a**2))), float(np.sqrt(np.mean(b**2)))
    if size_a == 0.0 or size_b == 0.0:
        return 0.0, 0.0
    correlation = float(np.mean(a * b)) / (size_a * size_b)
    return float(np.copysign(size_a / size_b, correlation)), correlation


def _one_reference(labels: Sequence[Label]) -> Iterator[Finding]:
    hashes = {label.settings_hash for label in labels}
    if len(hashes) > 1:
        yield Finding(
            "mixed references",
            "error",
            f"the labels are from {len(hashes)} different codes, versions or settings",
            "Train on each set separately, or label all structures with one reference.",
        )


def _finite(targets: Targets) -> Iterator[Finding]:
    broken = [
        index
        for index, (energy, forces) in enumerate(zip(targets.energies_eV, targets.forces_eV_per_A, strict=True))
        if not (np.isfinite(energy) and np.isfinite(forces).all())
    ]
    if broken:
        yield Finding(
            "broken numbers",
            "error",
            f"{len(broken)} labels have an energy or force that is not finite; the first is number {broken[0]}",
            "Leave them out, and check how they were read.",
        )


def _covered(structures: Sequence[Atoms], train: Sequence[int], elements: Sequence[str] | None) -> Iterator[Finding]:
    present = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
    unknown = sorted(present - set(elements)) if elements else []
    if unknown:
        yield Finding(
            "elements not covered",
            "error",
            f"the potential does not cover {', '.join(unknown)}",
            "Start from a potential that covers them.",
        )
    trained = {symbol for index in train for symbol in structures[index].get_chemical_symbols()}
    untrained = sorted(present - trained)
    if untrained:
        yield Finding(
            "elements only held out",
            "error",
            f"no training label contains {', '.join(untrained)}, so their energy reference cannot be fitted",
            "Put at least one structure with each element into the training set, or split by run.",
        )


def _work(runs: Sequence[RunWitness]) -> Iterator[Finding]:
    """Check energies against forces along each trajectory, which needs no potential."""
    for run in runs:
        if run.slip is not None:
            yield Finding(
                "energies against forces",
                "error",
                f"along {run.group} the energy falls by {run.slope:.3g} times the work of the forces "
                f"({run.n_steps} steps, correlation {run.correlation:.2f}): {run.slip}",
                "Check how energies (eV of the whole cell), forces (eV/Å) and positions (Å) are read.",
            )
        if run.stress_slip is not None:
            yield Finding(
                "energies against stresses",
                "error",
                f"along {run.group} the energy changes by {run.stress_slope:.3g} times the work of the stress "
                f"({run.n_steps} steps, correlation {run.stress_correlation:.2f}): {run.stress_slip}",
                "Check how stresses are read from the reference: they must be in eV/Å³, positive under tension.",
            )


def _stresses(targets: Targets) -> list[FloatArray | None]:
    return [row if np.isfinite(row).all() else None for row in targets.stresses_eV_per_A3]


def _witnessed(runs: Sequence[RunWitness], n_labels: int) -> bool:
    """Return whether trajectories confirm energies against forces: for most of the set, and contradicted by none."""
    vouched = sum(len(run.members) for run in runs if run.sound)
    return 2 * vouched > n_labels and all(run.slip is None for run in runs)


def _units(structures: Sequence[Atoms], targets: Targets, baseline: Targets, witnessed: bool) -> Iterator[Finding]:
    """Check units and signs with the pretrained potential.

    Where trajectories confirm energies and forces relative to each other, the potential need only exclude a wrong unit
    common to both, and no such unit is within a factor of five of eV.
    """
    n_atoms = targets.n_atoms
    forces, predicted = np.concatenate(targets.forces_eV_per_A), np.concatenate(baseline.forces_eV_per_A)
    # Near an energy minimum, the residual forces say nothing about their unit.
    if len(forces) and max(_rms(forces), _rms(predicted)) > _AT_REST_EV_PER_A:
        ratio, correlation = slope(forces, predicted)
        if not (witnessed and 1.0 / _FACTOR_OF_UNITS < ratio < _FACTOR_OF_UNITS):
            yield from _slip("forces", ratio, correlation, _FORCE_SLIPS)
    both = np.isfinite(targets.stresses_eV_per_A3).all(axis=1)
    if both.any():
        one, other = targets.stresses_eV_per_A3[both], baseline.stresses_eV_per_A3[both]
        if len(one) >= _FEWEST_WITHOUT_MEAN:  # two functionals differ by a pressure, which is not a mistake
            one, other = one - one.mean(axis=0), other - other.mean(axis=0)
        yield from _slip("stresses", *slope(one, other), _STRESS_SLIPS, sure=len(one) >= _FEWEST_WITHOUT_MEAN)
    compositions = [composition_of(atoms) for atoms in structures]
    # Minus the part explained by elements, the energies are those of displacements, as telling as forces.
    left = [
        energies - fit_element_references(energies, compositions).energies_eV(compositions)
        for energies in (targets.energies_eV, baseline.energies_eV)
    ]
    per_atom = [values / n_atoms for values in left]
    if len(structures) > 2 and float(np.std(per_atom[1])) > 1.0e-3 and not witnessed:
        sure = len(structures) >= _FEWEST_ENERGIES
        slips = {**_ENERGY_SLIPS, 1.0 / float(max(2.0, np.median(n_atoms))): "they are per atom"}
        yield from _slip("energies", *slope(per_atom[0], per_atom[1]), slips, sure=sure)
    references = fit_element_references(targets.energies_eV - baseline.energies_eV, compositions)
    size = float(np.median(np.abs(targets.energies_eV) / n_atoms))
    if not 0.2 < size < 2.0e4:
        # Small energies whose spread is comparable with their size are counted from a zero of their own.
        spread = float(np.std(targets.energies_eV / n_atoms))
        shifted = size <= 0.2 and (witnessed or size < _OF_THEIR_SPREAD * spread)
        yield Finding(
            "energies out of range",
            "caution" if shifted else "error",
            f"the median size of the energies is {size:.3g} eV/atom"
            + (": they are counted from another zero than that of a code" if shifted else ""),
            "Give energies of the whole cell in eV, not per atom and not in another unit."
            + (" A shift common to all compositions does no harm." if shifted else ""),
        )
    residual = references.rms_residual_eV_per_atom
    if residual > 0.2:
        yield Finding(
            "energies do not fit the structures",
            "error" if residual > 1.0 else "caution",
            f"after the per-element shift, labels and pretrained potential still differ by {residual:.2g} eV/atom "
            "(root mean square; 0.01 to 0.05 is usual)",
            "Check that energies are of the whole cell, force-consistent, and in the order of the structures.",
        )


def _slip(
    what: str, ratio: float, correlation: float, slips: Mapping[float, str], *, sure: bool = True
) -> Iterator[Finding]:
    """Judge a slope; with too few labels to be sure, nothing is more than a caution."""
    evidence = f"{what} are {ratio:.3g} times those of the pretrained potential (correlation {correlation:.2f})"
    name = f"unit of {what}" if ratio > 0.0 else f"sign of {what}"
    low, high = _USUAL
    near = sorted(
        (f for f in slips if f * ratio > 0.0 and low <= ratio / f <= high), key=lambda f: abs(np.log(ratio / f))
    )
    fix = f"Check how {what} are read from the reference; they must be in "
    fix += {"forces": "eV/Å.", "stresses": "eV/Å³ with tension positive.", "energies": "eV of the whole cell."}[what]
    if abs(correlation) < _CORRELATED:
        if abs(correlation) < 0.3 or not 1.0 / 3.0 < abs(ratio) < 3.0:
            yield Finding(
                f"{what} unlike the potential's",
                "error" if what == "forces" else "caution",
                evidence,
                "Check that labels and structures are in the same order, and their atoms too.",
            )
        return
    if low <= ratio <= high:
        return
    if near:
        evidence += ", so " + ", or ".join(slips[factor] for factor in near)
    if not sure:
        yield Finding(name, "caution", f"{evidence}; there are too few labels to be sure", fix)
    elif _BEARABLE[0] <= ratio <= _BEARABLE[1]:
        fix += " A potential that is very soft or stiff gives such a slope too."
        yield Finding(name, "caution", evidence, fix)
    else:  # a slope that fits no mistake is due to the potential, however soft or stiff
        yield Finding(name, "error" if near else "caution", evidence, fix)


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _leakage(
    structures: Sequence[Atoms],
    train: Sequence[int],
    validation: Sequence[int],
    test: Sequence[int],
    groups: Sequence[str] | None,
) -> Iterator[Finding]:
    sides = (("validation", validation), ("test", test))
    overlap = (set(train) & set(test)) | (set(train) & set(validation)) | (set(validation) & set(test))
    if overlap:
        yield Finding(
            "a structure in two parts", "error", f"{len(overlap)} structures are in two of the sets", "Split again."
        )
    if groups is not None:
        for name, part in sides:
            shared = sorted({groups[i] for i in train} & {groups[i] for i in part})
            if shared:
                yield Finding(
                    f"runs in training and {name}",
                    "caution",
                    f"{len(shared)} runs are in both sets, e.g. {shared[0]}: errors look smaller than they are",
                    "Sample more runs, so that whole ones can be held out.",
                )
    same, nearly = _twins(structures, train, [*validation, *test])
    if same:
        yield Finding(
            "the same structure in two parts",
            "error",
            f"{len(same)} held-out structures are also in the training set, "
            f"e.g. number {same[0][1]} equals number {same[0][0]}",
            "Leave duplicates out; check that no structure was exported twice.",
        )
    if nearly:
        worst = min(nearly, key=lambda pair: pair[2])
        yield Finding(
            "nearly the same structure in two parts",
            "caution",
            f"{len(nearly)} held-out structures differ from a training structure by less than {_NEARLY_SAME_A} Å on "
            f"average (numbers {worst[0]} and {worst[1]}: {worst[2]:.3f} Å)",
            "Hold out whole runs, or take snapshots further apart.",
        )
    double, _ = _twins(structures, train, train)
    if double:
        yield Finding(
            "duplicates",
            "caution",
            f"{len(double)} structures occur twice in the training set",
            "Leave out one of each pair, which counts double in the loss.",
        )


def _twins(
    structures: Sequence[Atoms], first: Sequence[int], second: Sequence[int]
) -> tuple[list[tuple[int, int]], list[tuple[int, int, float]]]:
    """Return pairs of equal structures, and of nearly equal ones with the same atoms in the same order and cell."""
    looked_at = list(dict.fromkeys([*first, *second]))
    of_class = first_twins([structures[i] for i in looked_at], _SAME_A)
    named = {index: index if twin is None else looked_at[twin] for index, twin in zip(looked_at, of_class, strict=True)}
    in_first, in_second = set(first), set(second)
    within = first is second or in_first == in_second
    classes: dict[int, list[int]] = {}
    for index in first:
        classes.setdefault(named[index], []).append(index)
    same, nearly = [], []
    for index in second:
        twins = [i for i in classes.get(named[index], []) if i != index and not (within and i > index)]
        if twins:
            same.append((twins[0], index))
    doubled = {index for _, index in same}
    by_kind: dict[bytes, list[int]] = {}
    for index in looked_at:
        by_kind.setdefault(structures[index].numbers.tobytes(), []).append(index)
    for members in by_kind.values():
        fractions = np.array([structures[i].get_scaled_positions(wrap=True) for i in members])
        cells = np.array([structures[i].cell.array for i in members])
        for position, index in enumerate(members):
            if index not in in_second or index in doubled:
                continue
            step = fractions - fractions[position]
            step -= np.round(step)
            moved = np.linalg.norm(np.einsum("nai,nij->naj", step, 0.5 * (cells + cells[position])), axis=2)
            bent = np.abs(cells - cells[position]).max(axis=(1, 2))
            mean = np.maximum(moved.mean(axis=1), bent)
            others = [k for k, other in enumerate(members) if other in in_first and other != index]
            if within:
                others = [k for k in others if members[k] < index]
            close = [k for k in others if mean[k] < _NEARLY_SAME_A]
            if close:
                best = min(close, key=lambda k: mean[k])
                nearly.append((members[best], index, float(mean[best])))
    return same, nearly


def _ranges(
    structures: Sequence[Atoms], targets: Targets, train: Sequence[int], test: Sequence[int]
) -> Iterator[Finding]:
    if not len(train) or not len(test):
        return
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in structures])
    forces = np.array([np.abs(array).max() for array in targets.forces_eV_per_A])
    departures = []
    for name, values, unit in (("volume", volumes, "Å³/atom"), ("largest force", forces, "eV/Å")):
        low, high = values[list(train)].min(), values[list(train)].max()
        slack = 0.05 * low if name == "volume" else (_OUTSIDE - 1.0) * high
        outside = [i for i in test if values[i] > high + slack or (name == "volume" and values[i] < low - slack)]
        if outside:
            furthest = max(outside, key=lambda i: abs(values[i] - 0.5 * (low + high)))
            span = f"{low:.3g} to {high:.3g} {unit}"
            departures.append(f"{len(outside)} by {name} ({values[furthest]:.3g} against {span})")
    kinds = {tuple(sorted(composition_of(structures[i]).items())) for i in train}
    new_compositions = [i for i in test if tuple(sorted(composition_of(structures[i]).items())) not in kinds]
    if new_compositions:
        departures.append(f"{len(new_compositions)} by composition")
    if departures:
        yield Finding(
            "test outside the range of training",
            "caution",
            "test structures lie outside the range of training: " + "; ".join(departures),
            "Errors there are those of an extrapolation: label such structures for training too, if they will occur.",
        )


def _weights(targets: Targets, options: Mapping[str, Any], *, with_replay: bool) -> Iterator[Finding]:
    with_stress = int(np.isfinite(targets.stresses_eV_per_A3).all(axis=1).sum())
    if options.get("stress_weight", 1.0) == 0.0 and with_stress:
        yield Finding(
            "stress is not trained",
            "caution",
            f"{with_stress} labels have a stress, but its weight is 0: volumes and NPT runs will drift",
            "Give stress_weight a value above 0.",
        )
    if options.get("stress_weight", 0.0) > 0.0 and with_stress < len(targets):
        yield Finding(
            "labels without stress",
            "caution",
            f"{len(targets) - with_stress} of {len(targets)} labels have no stress",
            "Let the reference calculate it, if volumes matter.",
        )
    if options.get("mode") == "multihead" and not with_replay:
        yield Finding(
            "multi-head without replay",
            "error",
            "a multi-head training has no replay data, and libraries then silently fall back to naive training",
            "Give replay data, or choose mode: naive.",
        )
