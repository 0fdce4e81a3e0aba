"""Gates that compare labels with the predictions of a baseline, for instance the potential that made the structures.

A universal potential deviates from density-functional theory by tens of meV/Å, an error of units by factors. The
difference of a label from such a baseline, its *residual*, is therefore a far sharper test than the label itself. All
scales are estimated robustly from the set, so a baseline may be soft, offset or of another functional:

- forces: F = a F₀ + r, one factor a for the set (the median over labels of F·F₀/F₀·F₀), and the scatter of each label's
  rms r in units of its rms F₀ on a logarithmic scale;
- stress: σ = b σ₀ + p 1 + r, with b and p by least absolute deviations over all labels;
- energy: (E − E₀)/N less per-element shifts (references of two codes differ by a sum over atoms), and less a part in
  proportion to E₀'s own deviation from such shifts where the labels are many (a soft potential is soft in all).

Three tests apply to each label. Is its residual an outlier of the set? Does a known error (Hartree for eV, Bohr for Å,
Rydberg, kbar for GPa, a wrong sign) explain it better than no error does, by a likelihood ratio for normal errors?
Would two of its forces fit better if exchanged? One test applies to the set as a whole: are the factors a and b
plausible, or do all labels share one error? A baseline whose forces or stresses do not even point in the direction of
the labels' (median cosine below 0.6) is not used for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.labels.base import Label
from superionic.labels.robust import MAD_TO_SIGMA, element_design, least_absolute, robust_sigma, widened
from superionic.units import GPA_PER_EV_PER_A3

FloatArray = npt.NDArray[np.float64]
Finding = tuple[str, str]
"""Short name of the gate, and the reason."""

_FEWEST: Final = 6  # robust scales of fewer labels are meaningless
_HARTREE: Final = 27.211386245988
_BOHR: Final = 0.529177210903
FORCE_SLIPS: Final[Mapping[str, float]] = {
    "Hartree taken for eV": 1.0 / _HARTREE,
    "eV taken for Hartree": _HARTREE,
    "Rydberg taken for eV": 2.0 / _HARTREE,
    "eV taken for Rydberg": 0.5 * _HARTREE,
    "per Bohr taken for per Å": _BOHR,
    "per Å taken for per Bohr": 1.0 / _BOHR,
    "Hartree/Bohr taken for eV/Å": _BOHR / _HARTREE,
    "eV/Å taken for Hartree/Bohr": _HARTREE / _BOHR,
    "Rydberg/Bohr taken for eV/Å": 2.0 * _BOHR / _HARTREE,
    "eV/Å taken for Rydberg/Bohr": 0.5 * _HARTREE / _BOHR,
    "the sign is wrong": -1.0,
}
"""Factor by which each error multiplies forces."""
STRESS_SLIPS: Final[Mapping[str, float]] = {
    "the sign is wrong": -1.0,
    "kbar taken for GPa": 10.0,
    "GPa taken for kbar": 0.1,
    "kbar taken for GPa, and the sign is wrong": -10.0,
    "GPa taken for kbar, and the sign is wrong": -0.1,
    "GPa taken for eV/Å³": GPA_PER_EV_PER_A3,
    "eV/Å³ taken for GPa": 1.0 / GPA_PER_EV_PER_A3,
}
"""Factor by which each error multiplies stress."""
_SLIP_EVIDENCE: Final = 9.0  # natural logarithm of the likelihood ratio required in favour of an error
_SWAP_EVIDENCE: Final = 20.0  # higher, as there are as many swaps as pairs of atoms, and errors have heavy tails
_SMALLEST_FORCE_SCATTER: Final = 0.10  # of the logarithm of a label's residual
_SMALLEST_FORCE_EV_PER_A: Final = 0.02
_SMALLEST_STRESS_GPA: Final = 0.05
_SMALLEST_ENERGY_EV_PER_ATOM: Final = 3.0e-4
_FORCE_FACTOR: Final = (0.4, 2.5)  # factor of the set: softened potentials are well inside
_STRESS_FACTOR: Final = (0.3, 3.0)
_LIKENESS: Final = 0.6  # smallest cosine of the angle between label and prediction of a useful baseline


@dataclass(frozen=True)
class Baseline:
    """Predictions of a potential for the structures of a set.

    Attributes
    ----------
    energies_eV
        Energies of the cells, shape (n,), in eV.
    forces_eV_per_A
        One array of shape (n_atoms, 3) per structure, in eV/Å.
    stresses_eV_per_A3
        Voigt stresses, shape (n, 6), in eV/Å³.
    """

    energies_eV: FloatArray
    forces_eV_per_A: tuple[FloatArray, ...]
    stresses_eV_per_A3: FloatArray


@dataclass(frozen=True)
class Sharpness:
    """Thresholds of the gates on residuals, in robust standard deviations; ``None`` switches one off."""

    energy_sigma: float | None
    force_sigma: float | None
    stress_sigma: float | None


def residual_findings(
    structures: Sequence[Atoms],
    labels: Sequence[Label],
    baseline: Baseline,
    sharpness: Sharpness,
    *,
    refuted: Callable[[int, FloatArray], bool] | None = None,
) -> list[list[Finding]]:
    """Compare labels with a baseline.

    Parameters
    ----------
    structures, labels
        Of n structures; finite and complete (see :func:`superionic.labels.gates.check_label`).
    baseline
        Predictions for the same structures, in the same order.
    sharpness
        Thresholds of the gates.
    refuted
        Function that returns whether better evidence than the baseline, such as the neighbours in a trajectory,
        contradicts alternative forces of a label.

    Returns
    -------
    list of list
        For each label, the findings against it. Fewer than six labels are tested only for errors of the whole set.
    """
    findings: list[list[Finding]] = [[] for _ in labels]
    if not labels:
        return findings
    if sharpness.force_sigma is not None:
        _forces(structures, labels, baseline, sharpness.force_sigma, findings, refuted)
    if sharpness.stress_sigma is not None:
        _stresses(labels, baseline, sharpness.stress_sigma, findings)
    if sharpness.energy_sigma is not None:
        _energies(structures, labels, baseline, sharpness.energy_sigma, findings)
    return findings


# ---- forces ----------------------------------------------------------------------------------------------------------


def _forces(
    structures: Sequence[Atoms],
    labels: Sequence[Label],
    baseline: Baseline,
    sigma: float,
    findings: list[list[Finding]],
    refuted: Callable[[int, FloatArray], bool] | None,
) -> None:
    labelled = [np.asarray(label.forces_eV_per_A) for label in labels]
    expected = [np.asarray(forces) for forces in baseline.forces_eV_per_A]
    size = np.array([max(_rms(forces), _SMALLEST_FORCE_EV_PER_A) for forces in expected])
    factors = np.array(
        [float(np.vdot(f, f0)) / max(float(np.vdot(f0, f0)), 1e-12) for f, f0 in zip(labelled, expected, strict=True)]
    )
    factor = float(np.median(factors))
    likeness = np.array([_cosine(f, f0) for f, f0 in zip(labelled, expected, strict=True)])
    if abs(float(np.median(likeness))) < _LIKENESS:
        return  # the baseline knows too little of these forces to judge them
    if not _FORCE_FACTOR[0] <= factor <= _FORCE_FACTOR[1]:
        reason = (
            f"the forces of the whole set are {factor:.3g} times those of the baseline{_named(factor, FORCE_SLIPS)}"
        )
        for own in findings:
            own.append(("unit-slip-of-set", reason))
        return
    if len(labels) < _FEWEST:
        return
    predicted = [factor * forces for forces in expected]
    relative = np.array([_rms(f - p) for f, p in zip(labelled, predicted, strict=True)]) / size
    centre = float(np.median(relative))
    scatter = np.log(np.maximum(relative, 1e-9) / max(centre, 1e-9))
    limit = sigma * max(robust_sigma(scatter), _SMALLEST_FORCE_SCATTER) * widened(len(labels))
    per_element = _element_noise(structures, labelled, predicted, size)
    for index, (f, p) in enumerate(zip(labelled, predicted, strict=True)):
        noise = max(centre * float(size[index]), _SMALLEST_FORCE_EV_PER_A)
        slip = _best_slip(f, p, noise, FORCE_SLIPS)
        if slip is not None:
            findings[index].append(
                ("force-slip", f"the forces are {factors[index] / factor:.3g} times those expected{slip}")
            )
            continue
        symbols = structures[index].get_chemical_symbols()
        scale = np.array([per_element[symbol] for symbol in symbols]) * float(size[index])
        swap = _best_swap(f, p, np.maximum(scale, _SMALLEST_FORCE_EV_PER_A))
        if swap is not None and refuted is not None and refuted(index, _exchanged(f, swap)):
            swap = None
        if swap is not None:
            i, j = swap
            findings[index].append(
                (
                    "swapped-forces",
                    f"the forces on atoms {i} ({symbols[i]}) and {j} ({symbols[j]}) appear to be exchanged",
                )
            )
        elif scatter[index] > limit:
            findings[index].append(
                (
                    "force-outlier",
                    (
                        f"the forces differ from the baseline by {relative[index] / max(centre, 1e-9):.1f} times as "
                        f"much as in the other labels (allowed: {np.exp(limit):.1f} times)"
                    ),
                )
            )


def _exchanged(forces: FloatArray, swap: tuple[int, int]) -> FloatArray:
    changed = forces.copy()
    changed[list(swap)] = forces[list(reversed(swap))]
    return changed


def _element_noise(
    structures: Sequence[Atoms], labelled: Sequence[FloatArray], predicted: Sequence[FloatArray], size: FloatArray
) -> dict[str, float]:
    """Return the robust residual of a force component of each element, in units of the rms force of its label."""
    pooled: dict[str, list[FloatArray]] = {}
    for atoms, f, p, scale in zip(structures, labelled, predicted, size, strict=True):
        symbols = np.array(atoms.get_chemical_symbols())
        for symbol in np.unique(symbols):
            pooled.setdefault(str(symbol), []).append(np.abs((f - p)[symbols == symbol]).ravel() / scale)
    return {symbol: MAD_TO_SIGMA * float(np.median(np.concatenate(parts))) for symbol, parts in pooled.items()}


def _best_swap(labelled: FloatArray, predicted: FloatArray, noise: FloatArray) -> tuple[int, int] | None:
    """Return two atoms whose forces fit far better if exchanged, or None.

    For errors of standard deviation s_i on atom i, exchanging forces i and j changes the logarithm of the likelihood by
    [|F_i − P_i|²/s_i² + |F_j − P_j|²/s_j² − |F_j − P_i|²/s_i² − |F_i − P_j|²/s_j²]/2.
    """
    if len(labelled) < 2:
        return None
    weights = 1.0 / noise**2
    distances = (
        np.sum((labelled[None, :, :] - predicted[:, None, :]) ** 2, axis=-1) * weights[:, None]
    )  # [place, force]
    own = np.diag(distances)
    gain = 0.5 * (own[:, None] + own[None, :] - distances - distances.T)
    np.fill_diagonal(gain, -np.inf)
    place = int(np.argmax(gain))
    i, j = sorted(divmod(place, len(labelled)))
    return (i, j) if gain[i, j] > _SWAP_EVIDENCE else None


# ---- stress ----------------------------------------------------------------------------------------------------------


def _stresses(labels: Sequence[Label], baseline: Baseline, sigma: float, findings: list[list[Finding]]) -> None:
    own = [index for index, label in enumerate(labels) if label.stress_eV_per_A3 is not None]
    usable = [index for index in own if np.isfinite(baseline.stresses_eV_per_A3[index]).all()]
    if len(usable) < _FEWEST:
        return
    labelled = np.array([labels[index].stress_eV_per_A3 for index in usable]) * GPA_PER_EV_PER_A3
    expected = baseline.stresses_eV_per_A3[usable] * GPA_PER_EV_PER_A3
    normal = np.tile([1.0, 1.0, 1.0, 0.0, 0.0, 0.0], len(usable))
    design = np.column_stack([expected.ravel(), normal])
    (factor, pressure), _ = least_absolute(design, labelled.ravel(), floor=0.2 * _SMALLEST_STRESS_GPA)
    offset = pressure * normal.reshape(-1, 6)
    likeness = np.array([_cosine(g - p, e) for g, p, e in zip(labelled, offset, expected, strict=True)])
    if abs(float(np.median(likeness))) < _LIKENESS:
        return
    if not _STRESS_FACTOR[0] <= factor <= _STRESS_FACTOR[1]:
        reason = (
            f"the stresses of the whole set are {factor:.3g} times those of the baseline{_named(factor, STRESS_SLIPS)}"
        )
        for index in usable:
            findings[index].append(("unit-slip-of-set", reason))
        return
    predicted = (design @ np.array([factor, pressure])).reshape(-1, 6)
    residual = labelled - predicted
    noise = np.array(
        [
            max(MAD_TO_SIGMA * float(np.median(np.abs(residual[:, part]))), _SMALLEST_STRESS_GPA)
            for part in (slice(0, 3), slice(3, 6))
        ]
    )
    noise = np.repeat(noise, 3)
    size = np.sqrt(np.mean((residual / noise) ** 2, axis=1))
    centre = max(float(np.median(size)), 1.0)
    scatter = np.log(np.maximum(size, 1e-9) / centre)
    limit = sigma * max(robust_sigma(scatter), _SMALLEST_FORCE_SCATTER) * widened(len(usable))
    for row, index in enumerate(usable):
        slip = _best_slip(labelled[row], predicted[row], noise, STRESS_SLIPS)
        if slip is not None:
            findings[index].append(("stress-slip", f"the stress is not what the baseline expects{slip}"))
        elif scatter[row] > limit:
            worst = int(np.argmax(np.abs(residual[row]) / noise))
            findings[index].append(
                (
                    "stress-outlier",
                    (
                        f"a component of the stress is {residual[row, worst]:+.2f} GPa from what the baseline expects; "
                        f"in the other labels it is {noise[worst]:.2f} GPa"
                    ),
                )
            )


# ---- energy ----------------------------------------------------------------------------------------------------------


def _energies(
    structures: Sequence[Atoms],
    labels: Sequence[Label],
    baseline: Baseline,
    sigma: float,
    findings: list[list[Finding]],
) -> None:
    if len(labels) < _FEWEST:
        return
    design, n_atoms = element_design(structures)
    expected = baseline.energies_eV / n_atoms
    target = np.array([label.energy_eV for label in labels]) / n_atoms - expected
    parameters = int(np.linalg.matrix_rank(design, tol=1e-6))
    if len(labels) >= 5 * (parameters + 1):
        _, motion = least_absolute(design, expected, floor=_SMALLEST_ENERGY_EV_PER_ATOM)
        # Bounded, so that a structure with an extreme energy has no leverage.
        bound = 4.0 * robust_sigma(motion)
        design = np.column_stack([design, np.clip(motion, -bound, bound)])
        parameters += 1
    _, residual = least_absolute(design, target, floor=_SMALLEST_ENERGY_EV_PER_ATOM)
    residual = residual - float(np.median(residual))
    scale = max(robust_sigma(residual, parameters), _SMALLEST_ENERGY_EV_PER_ATOM)
    allowed = sigma * widened(len(labels) - parameters)
    for index, deviation in enumerate(residual):
        if abs(deviation) > allowed * scale:
            findings[index].append(
                (
                    "energy-outlier",
                    (
                        f"the energy is {1000 * deviation:+.1f} meV/atom from what the baseline expects, "
                        f"{abs(deviation) / scale:.1f} robust standard deviations of the set (allowed: {allowed:.1f})"
                    ),
                )
            )


# ---- shared ----------------------------------------------------------------------------------------------------------


def _best_slip(
    labelled: FloatArray, predicted: FloatArray, noise: float | FloatArray, slips: Mapping[str, float]
) -> str | None:
    """Return the known error that explains a label far better than none does, or None.

    It multiplies value and error alike. For n values x with prediction p and error s, ln L = −Σ (x/k − p)²/(2 s²)
    − n ln|k|; an error is accepted if its ln L exceeds that of k = 1 by a margin.
    """
    plain = float(np.sum(((labelled - predicted) / noise) ** 2))
    best, name = 0.0, None
    for words, slip in slips.items():
        misfit = float(np.sum(((labelled / slip - predicted) / noise) ** 2))
        gain = 0.5 * (plain - misfit) - labelled.size * np.log(abs(slip))
        # The corrected values must also fit by themselves: what fits neither way is reported as an outlier.
        if gain > max(best, _SLIP_EVIDENCE) and misfit < 9.0 * labelled.size:
            best, name = gain, words
    return None if name is None else f": {name}?"


def _named(factor: float, slips: Mapping[str, float]) -> str:
    near = near_slips(factor, slips)
    return f": {', or '.join(near)}?" if near else ""


def near_slips(factor: float, slips: Mapping[str, float]) -> list[str]:
    """Return the known errors within 40 per cent of a factor; a baseline resolves no finer."""
    return [words for words, slip in slips.items() if factor / slip > 0 and abs(np.log(factor / slip)) < np.log(1.4)]


def _cosine(one: FloatArray, other: FloatArray) -> float:
    return float(np.vdot(one, other)) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1.0e-12)


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
