"""Parity of a student with its teacher: the comparisons, the verdict, and the error that remains.

A student's numbers are results only where it has been shown to agree with its teacher: small errors of energies, forces
and stresses on a trajectory of the teacher that was not used in training, the same structure (pair distances), the same
volume, the same diffusivity in runs of the same length, and a clean run at the highest temperature. Where the teacher's
own runs are short, a comparison is coarse; each criterion therefore states the noise against which it was judged, and
the difference that the data do show is passed on as an error of its own (:class:`TransferError`).

Pure functions of arrays and estimates, without tasks or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superionic.training.dataset import Targets
from superionic.training.metrics import ErrorMetrics, errors
from superionic.training.pair_distances import Overlap
from superionic.transport.conductivity.budget import TransferTerm
from superionic.transport.estimate import Estimate, student_quantile
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = npt.NDArray[np.float64]

_BLOCKS = 4
_WIDENING = (
    1.2  # ratio of the 68 % quantiles of Student's t with three degrees of freedom and of the normal distribution
)


# ---- the verdict --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Criterion:
    """One respect in which a student must agree with its teacher.

    Attributes
    ----------
    name
        The quantity compared, in a few words.
    passed
        Whether the criterion is met; None if it could not be tested.
    words
        The outcome in a sentence, with its numbers.
    value, limit
        The number judged and its limit; None if it is not a single number.
    unit
        Unit of both.
    """

    name: str
    passed: bool | None
    words: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Verdict:
    """The verdict of the gate.

    Attributes
    ----------
    criteria
        All criteria, in order.
    """

    criteria: tuple[Criterion, ...]

    @property
    def passed(self) -> bool:
        """Whether at least one criterion is met and none failed."""
        return any(c.passed for c in self.criteria) and all(c.passed is not False for c in self.criteria)

    @property
    def failed(self) -> tuple[Criterion, ...]:
        """The criteria that failed."""
        return tuple(criterion for criterion in self.criteria if criterion.passed is False)


@dataclass(frozen=True)
class ParityLimits:
    """Limits that a student must meet before its numbers are results.

    Attributes
    ----------
    max_energy_rmse_meV_per_atom, max_stress_rmse_GPa
        Limits of the errors on frames not used in training.
    max_force_error_ratio
        Limit of the RMSE of the forces on these frames, relative to the root mean square of the forces.
    min_overlap
        Smallest overlap of the distributions of pair distances in equal runs (1: equal).
    max_volume_difference_percent
        Largest difference of the mean volumes at constant pressure.
    """

    max_energy_rmse_meV_per_atom: float
    max_force_error_ratio: float
    max_stress_rmse_GPa: float
    min_overlap: float
    max_volume_difference_percent: float


# ---- errors -------------------------------------------------------------------------------------------------------


def rms_force_eV_per_A(targets: Targets) -> float:
    """Return the root mean square of the Cartesian components of all forces, in eV/Å: the scale of a force error."""
    return float(np.sqrt(np.mean(np.concatenate(targets.forces_eV_per_A) ** 2)))


def error_criteria(
    members: Sequence[Targets],
    teacher: Targets,
    *,
    max_energy_rmse_meV_per_atom: float,
    max_force_error_ratio: float,
    max_stress_rmse_GPa: float,
) -> tuple[list[Criterion], list[ErrorMetrics]]:
    """Judge the errors on structures of the teacher on which no member was trained.

    Parameters
    ----------
    members
        Predictions of each member of the committee.
    teacher
        The teacher's labels of the same structures.
    max_energy_rmse_meV_per_atom, max_force_error_ratio, max_stress_rmse_GPa
        Limits on the worst member; the ratio is RMSE over RMS force.

    Returns
    -------
    criteria
        Energy, forces, stress.
    metrics
        Errors of each member.
    """
    metrics = [errors(member, teacher) for member in members]
    energy = max(m.rmse_energy_meV_per_atom for m in metrics)
    force = max(m.rmse_force_meV_per_A for m in metrics)
    rms = 1.0e3 * rms_force_eV_per_A(teacher)
    ratio = force / rms if rms > 0.0 else math.inf
    whose = "of the worst member " if len(members) > 1 else ""
    criteria = [
        Criterion(
            "energy on unseen frames",
            energy <= max_energy_rmse_meV_per_atom,
            f"RMSE {whose}{energy:.2g} meV/atom on {len(teacher)} frames; "
            f"the limit is {max_energy_rmse_meV_per_atom:g} meV/atom",
            energy,
            max_energy_rmse_meV_per_atom,
            "meV/atom",
        ),
        Criterion(
            "forces on unseen frames",
            ratio <= max_force_error_ratio,
            f"RMSE {whose}{force:.3g} meV/Å, {100.0 * ratio:.2g} % of the RMS force of {rms:.3g} meV/Å; "
            f"the limit is {100.0 * max_force_error_ratio:g} %",
            ratio,
            max_force_error_ratio,
            "RMSE / RMS force",
        ),
    ]
    stresses = [m.rmse_stress_GPa for m in metrics if m.rmse_stress_GPa is not None]
    if stresses:
        criteria.append(
            Criterion(
                "stress on unseen frames",
                max(stresses) <= max_stress_rmse_GPa,
                f"RMSE {whose}{max(stresses):.2g} GPa; the limit is {max_stress_rmse_GPa:g} GPa",
                max(stresses),
                max_stress_rmse_GPa,
                "GPa",
            )
        )
    return criteria, metrics


# ---- structure, volume, stability ---------------------------------------------------------------------------------


def structure_criterion(overlaps: Mapping[str, Sequence[Overlap]], *, min_overlap: float) -> Criterion:
    """Judge the pair distances of all runs by the worst pair of elements.

    A pair whose overlap is below the limit still passes where the halves of a run differ as much: the shortfall must
    exceed twice the noise to count.

    Parameters
    ----------
    overlaps
        Overlaps of all pairs, by name of the run.
    min_overlap
        The limit.
    """
    everything = [(name, overlap) for name, pairs in overlaps.items() for overlap in pairs]
    if not everything:
        return Criterion("pair distances", None, "not tested: there is no pair of runs to compare")

    def lacks(overlap: Overlap) -> float:
        return (1.0 - overlap.overlap) - max(1.0 - min_overlap, 2.0 * overlap.noise)

    name, worst = max(everything, key=lambda item: lacks(item[1]))
    lowest = min(overlap.overlap for _, overlap in everything)
    words = (
        f"the worst of {len(everything)} pairs is {worst.pair} in {name}: overlap {worst.overlap:.3f}, noise "
        f"{worst.noise:.3f}; the limit is {min_overlap:g}"
    )
    return Criterion("pair distances", lacks(worst) <= 0.0, words, lowest, min_overlap, "overlap")


@dataclass(frozen=True)
class MeanVolume:
    """Mean volume of a run at constant pressure, in Å³ per atom, with its standard error from blocks of time."""

    A3_per_atom: float
    error: float


def mean_volume(
    cells_A: FloatArray, n_atoms: int, *, correlation_fraction: float = 0.0, discard_fraction: float = 0.3
) -> MeanVolume:
    """Average the volume of a run at constant pressure, without its first part.

    The error is the larger of two: that of the mean of four blocks, widened according to Student's t with three degrees
    of freedom; and σ √(2τ/t) for a correlation time τ in a time t, since volumes are correlated over the relaxation
    time of the barostat, and blocks shorter than that agree better than they should.

    Parameters
    ----------
    cells_A
        Cells of the frames, shape (n_frames, 3, 3), in Å.
    n_atoms
        Number of atoms in the cell.
    correlation_fraction
        τ as a fraction of the length of the whole run.
    discard_fraction
        Fraction of the run discarded at its beginning.
    """
    volumes = np.abs(np.linalg.det(np.asarray(cells_A, dtype=np.float64).reshape(-1, 3, 3))) / n_atoms
    equilibrated = volumes[int(discard_fraction * len(volumes)) :]
    blocks = [float(block.mean()) for block in np.array_split(equilibrated, min(_BLOCKS, len(equilibrated)))]
    error = _WIDENING * float(np.std(blocks, ddof=1)) / math.sqrt(len(blocks)) if len(blocks) > 1 else math.inf
    share = min(1.0, 2.0 * correlation_fraction / (1.0 - discard_fraction))
    return MeanVolume(float(equilibrated.mean()), max(error, float(np.std(equilibrated)) * math.sqrt(share)))


def volume_criterion(
    pairs: Mapping[str, tuple[MeanVolume, Sequence[MeanVolume]]], *, max_difference_percent: float
) -> Criterion:
    """Judge V(T): the worst member at the worst temperature.

    Parameters
    ----------
    pairs
        Volume of the teacher and of each member, by name of the run.
    max_difference_percent
        The limit. A difference that noise explains passes as well: one within the 95 % interval of all comparisons
        together, since the worst of them is judged (Student's t, Bonferroni).
    """
    judged = []
    comparisons = sum(len(members) for _, members in pairs.values())
    # Errors have three degrees of freedom on each side, and are already widened to 68 %.
    reach = student_quantile(1.0 - 0.05 / max(1, comparisons), 2.0 * (_BLOCKS - 1)) / _WIDENING
    for name, (teacher, members) in pairs.items():
        for member in members:
            percent = 100.0 * (member.A3_per_atom / teacher.A3_per_atom - 1.0)
            noise = 100.0 * math.hypot(member.error, teacher.error) / teacher.A3_per_atom
            if not math.isfinite(noise):
                return Criterion("volume at constant pressure", False, f"the run {name} is too short to be judged")
            judged.append((abs(percent) - max(max_difference_percent, reach * noise), percent, noise, name))
    if not judged:
        return Criterion("volume at constant pressure", None, "not tested: there is no run at constant pressure")
    excess, percent, noise, name = max(judged)
    words = (
        f"the largest difference is {percent:+.2g} ± {noise:.2g} % ({name}); the limit is {max_difference_percent:g} %"
    )
    return Criterion("volume at constant pressure", excess <= 0.0, words, abs(percent), max_difference_percent, "%")


# ---- diffusivity --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiffusivityPair:
    """Diffusivities of teacher and members in runs of the same start, cell, length and temperature.

    Attributes
    ----------
    teacher
        Estimate from the teacher's run, in cm²/s.
    members
        Estimate from each member's run, in cm²/s.
    hops
        Numbers of hops: the teacher's, then each member's.
    """

    name: str
    temperature_K: float
    teacher: Estimate
    members: tuple[Estimate, ...]
    hops: tuple[int, ...]


def intervals_overlap(one: Estimate, other: Estimate) -> bool:
    """Return whether the 95 % intervals of two estimates overlap."""
    return one.interval95[0] <= other.interval95[1] and other.interval95[0] <= one.interval95[1]


def diffusivity_criteria(pairs: Sequence[DiffusivityPair], *, few_hops: int = 10) -> list[Criterion]:
    """Judge D in runs of equal length: the 95 % intervals of teacher and each member must overlap.

    There is one criterion for each run. If the teacher's run has fewer hops than ``few_hops``, its words say that the
    test is weak.
    """
    criteria = []
    for pair in pairs:
        apart = [i + 1 for i, member in enumerate(pair.members) if not intervals_overlap(pair.teacher, member)]
        named = ", ".join(f"{member.value:.2g}" for member in pair.members)
        low, high = pair.teacher.interval95
        words = f"teacher {pair.teacher.value:.2g} cm²/s (95 %: {low:.1g} to {high:.2g}), members {named} cm²/s"
        if apart:
            words += f"; the intervals of member(s) {', '.join(map(str, apart))} do not overlap with the teacher's"
        if pair.hops and pair.hops[0] < few_hops:
            words += f"; a weak test, as the teacher's run has {pair.hops[0]} hops"
        criteria.append(Criterion(f"diffusivity, {pair.name}", not apart, words))
    if len({pair.temperature_K for pair in pairs}) < 2:
        words = f"only {len({pair.temperature_K for pair in pairs})} of two temperatures could be compared"
        criteria.append(Criterion("diffusivity at two temperatures", False, words))
    return criteria


@dataclass(frozen=True)
class TransferError:
    """The error that the step from teacher to student adds to a conductivity.

    Attributes
    ----------
    ln_D_difference, ln_D_resolution
        Mean of ln(D_student/D_teacher) over the compared runs, and the standard error of that mean: smaller
        differences cannot be detected.
    ln_D_spread
        Standard deviation of ln D between the members, beyond their statistical errors.
    ln_sigma
        Resulting standard deviation of ln σ: the part of the difference beyond its resolution and the spread, in
        quadrature.
    Ea_difference_eV, Ea_resolution_eV
        Difference of the activation energies (student minus teacher), and its standard error; None with one
        temperature.
    Ea_eV
        Resulting standard deviation of the activation energy.
    temperature_K
        Temperature at which ln_sigma holds; elsewhere the error of Ea adds to it.
    """

    ln_D_difference: float
    ln_D_resolution: float
    ln_D_spread: float
    ln_sigma: float
    Ea_difference_eV: float | None
    Ea_resolution_eV: float | None
    Ea_eV: float
    temperature_K: float

    @property
    def term(self) -> TransferTerm:
        """Its term in the error budget of a conductivity."""
        return TransferTerm(self.ln_sigma, self.Ea_eV, self.temperature_K)


def transfer_error(pairs: Sequence[DiffusivityPair]) -> TransferError | None:
    """Estimate the transfer error from diffusivities at equal length.

    Every observed difference has noise, mostly that of the teacher's short runs. Only the part beyond it counts, as in
    a random-effects estimate by moments (DerSimonian and Laird, Control. Clin. Trials 7, 177 (1986)):
    max(0, difference² − noise²). The resolution records how coarse the test was.

    Parameters
    ----------
    pairs
        Runs of teacher and members; upper bounds are left out.

    Returns
    -------
    TransferError or None
        None if no run has diffusivities of both teacher and student that are more than upper bounds.
    """
    rows = []
    for pair in pairs:
        sound = [m for m in pair.members if not m.is_upper_bound and math.isfinite(m.log_error) and m.value > 0.0]
        teacher = pair.teacher
        if teacher.is_upper_bound or not math.isfinite(teacher.log_error) or teacher.value <= 0.0 or not sound:
            continue
        logs = np.log([m.value for m in sound])
        noise = np.array([max(m.log_error, 1e-6) for m in sound])
        own = float(np.mean(noise**2))
        between = max(float(np.var(logs, ddof=1)) - own, 0.0) if len(sound) > 1 else 0.0
        difference = float(logs.mean() - math.log(teacher.value))
        variance = teacher.log_error**2 + (own + between) / len(sound)
        rows.append((pair.temperature_K, difference, variance, between, len(sound) - 1))
    if not rows:
        return None
    temperatures = np.array([row[0] for row in rows])
    differences = np.array([row[1] for row in rows])
    variances = np.array([row[2] for row in rows])
    weights = 1.0 / variances
    mean = float(weights @ differences / weights.sum())
    resolution = float(1.0 / math.sqrt(weights.sum()))
    freedom = sum(row[4] for row in rows)
    spread2 = sum(row[3] * row[4] for row in rows) / freedom if freedom else 0.0
    ln_sigma = math.sqrt(max(mean**2 - resolution**2, 0.0) + spread2)
    inverse = 1.0 / (BOLTZMANN_EV_PER_K * temperatures)
    middle = float(weights @ inverse / weights.sum())
    slope = slope_error = None
    Ea = 0.0
    if len(np.unique(temperatures)) > 1:
        lever = float(weights @ (inverse - middle) ** 2)
        # ln D = ln D0 − Ea/k_BT: the slope of the difference against 1/k_BT is −ΔEa.
        slope = -float(weights @ ((inverse - middle) * differences)) / lever
        slope_error = 1.0 / math.sqrt(lever)
        Ea = math.sqrt(max(slope**2 - slope_error**2, 0.0))
    return TransferError(
        mean,
        resolution,
        math.sqrt(spread2),
        ln_sigma,
        slope,
        slope_error,
        Ea,
        1.0 / (BOLTZMANN_EV_PER_K * middle),
    )


def stability_criterion(clean_ps: Sequence[float], required_ps: float, temperature_K: float) -> Criterion:
    """Judge the runs that explored for extrapolation: the shortest clean length counts.

    Parameters
    ----------
    clean_ps
        Clean length of each run of the last round, in ps.
    required_ps
        Clean length required of each.
    """
    shortest = min(clean_ps, default=0.0)
    words = f"{shortest:g} ps ran clean at {temperature_K:g} K; {required_ps:g} ps are required"
    return Criterion("a clean run when hot", shortest >= required_ps * (1.0 - 1e-9), words, shortest, required_ps, "ps")
