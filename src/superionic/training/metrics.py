"""Errors of a potential against reference labels, in the customary units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from superionic.training.dataset import Targets
from superionic.units import GPA_PER_EV_PER_A3

SOFT_BELOW: Final = 0.9
"""Slope of the forces below which a potential counts as soft, and above whose reciprocal as stiff: barriers and melting
temperatures are off by a tenth, and an extrapolation to 300 K along a barrier of 0.3 eV by a factor of 3."""
_BIASED_GPA: Final = 0.2
"""Mean error of the stress that changes the volume by 1 % at a bulk modulus of 20 GPa."""
_RESAMPLED: Final = 1000
_KBAR_PER_GPA: Final = 10.0


@dataclass(frozen=True)
class ErrorMetrics:
    """Errors over a set.

    Attributes
    ----------
    n_structures, n_forces, n_stresses
        Numbers of energies, force components and stress components included.
    mae_energy_meV_per_atom, rmse_energy_meV_per_atom
        Errors of the energy per atom, each structure counted once.
    mean_error_energy_meV_per_atom
        Mean signed error (predicted minus reference): a shift common to all structures, which cancels in energy
        differences.
    mae_force_meV_per_A, rmse_force_meV_per_A
        Errors of the Cartesian components of all forces.
    mae_stress_GPa, rmse_stress_GPa
        Errors of the nine components of the symmetric stress tensor (off-diagonal ones count twice, as in CHGNet's own
        trainer); ``None`` if no structure has both a predicted and a reference stress.
    mean_error_stress_GPa
        Mean signed error (predicted minus reference) of the three normal components, tension positive as in ASE: the
        negative of the error of the pressure. ``None`` without stresses.
    force_slope
        ⟨F·F_ref⟩ / ⟨F_ref²⟩ over all force components: below 1 for a potential that is softer than its reference
        (B. Deng et al., npj Comput. Mater. 11, 9 (2025)). Errors uncorrelated with the forces do not change it.
        ``None`` if all reference forces are zero.
    force_slope_interval95
        Its 95 % interval by bootstrap over structures; ``None`` for a single structure.
    """

    n_structures: int
    n_forces: int
    n_stresses: int
    mae_energy_meV_per_atom: float
    rmse_energy_meV_per_atom: float
    mean_error_energy_meV_per_atom: float
    mae_force_meV_per_A: float
    rmse_force_meV_per_A: float
    mae_stress_GPa: float | None
    rmse_stress_GPa: float | None
    mean_error_stress_GPa: float | None = None
    force_slope: float | None = None
    force_slope_interval95: tuple[float, float] | None = None


def errors(predicted: Targets, reference: Targets, *, softness: bool = True) -> ErrorMetrics:
    """Calculate the errors of predictions against reference labels of the same structures.

    Parameters
    ----------
    predicted, reference
        Values of the same structures in the same order; energies with the same zero (see
        :meth:`superionic.training.dataset.LabelledSet.shifted`).
    softness
        Whether to calculate the slope of the forces and the mean error of the stresses as well.

    Raises
    ------
    ValueError
        If there are no structures, or the two sides differ in their structures.
    """
    if len(predicted) != len(reference) or len(predicted) == 0:
        raise ValueError("compare at least one structure, and the same ones on both sides")
    if not np.array_equal(predicted.n_atoms, reference.n_atoms):
        raise ValueError("the structures on the two sides have different numbers of atoms")
    energy = 1.0e3 * (predicted.energies_eV - reference.energies_eV) / reference.n_atoms
    force = 1.0e3 * (np.concatenate(predicted.forces_eV_per_A) - np.concatenate(reference.forces_eV_per_A)).ravel()
    difference = predicted.stresses_eV_per_A3 - reference.stresses_eV_per_A3
    present = np.isfinite(difference).all(axis=1)
    stress = GPA_PER_EV_PER_A3 * difference[present][:, [0, 1, 2, 3, 4, 5, 3, 4, 5]].ravel()
    normal = GPA_PER_EV_PER_A3 * difference[present][:, :3]
    slope, interval = force_slope(predicted, reference) if softness else (None, None)
    return ErrorMetrics(
        n_structures=len(energy),
        n_forces=len(force),
        n_stresses=len(stress),
        mae_energy_meV_per_atom=_mae(energy),
        rmse_energy_meV_per_atom=_rmse(energy),
        mean_error_energy_meV_per_atom=float(np.mean(energy)),
        mae_force_meV_per_A=_mae(force),
        rmse_force_meV_per_A=_rmse(force),
        mae_stress_GPa=_mae(stress) if len(stress) else None,
        rmse_stress_GPa=_rmse(stress) if len(stress) else None,
        mean_error_stress_GPa=float(np.mean(normal)) if softness and len(stress) else None,
        force_slope=slope,
        force_slope_interval95=interval,
    )


def force_slope(predicted: Targets, reference: Targets) -> tuple[float | None, tuple[float, float] | None]:
    """Return the slope of predicted against reference forces through the origin, and its 95 % interval.

    The slope is ⟨F·F_ref⟩ / ⟨F_ref²⟩; see :class:`ErrorMetrics`. The interval is from 1000 resamplings of the
    structures. Frames of one run resemble each other, so it may be too narrow for a set of few runs.

    Parameters
    ----------
    predicted, reference
        As for :func:`errors`.
    """
    pairs = list(zip(predicted.forces_eV_per_A, reference.forces_eV_per_A, strict=True))
    product = np.array([np.vdot(one, other) for one, other in pairs])
    square = np.array([np.vdot(other, other) for _, other in pairs])
    total = float(square.sum())
    if not total > 0.0:
        return None, None
    slope = float(product.sum()) / total
    # A structure at rest has no weight, so a sample of such structures alone would be 0/0.
    moving = square > 0.0
    n = int(np.count_nonzero(moving))
    if n < 2:
        return slope, None
    rng = np.random.default_rng(0)
    slopes = np.empty(_RESAMPLED)
    for k in range(_RESAMPLED):
        drawn = np.bincount(rng.integers(0, n, n), minlength=n)
        slopes[k] = (drawn @ product[moving]) / (drawn @ square[moving])
    low, high = np.quantile(slopes, [0.025, 0.975])
    return slope, (float(low), float(high))


def softness_words(metrics: ErrorMetrics, limit: float | None = SOFT_BELOW) -> str | None:
    """Describe how much softer or stiffer a potential is than its reference; None if it is neither.

    If all energies of a potential are s times the true ones, its behaviour at T is the true one at T/s: it melts at s
    times the true temperature, and its barriers are s times the true ones.

    Parameters
    ----------
    metrics
        Errors of the potential.
    limit
        Slope below which it counts as soft, and above whose reciprocal as stiff; None: never.
    """
    slope = metrics.force_slope
    if slope is None or limit is None or limit <= slope <= 1.0 / limit:
        return None
    within = metrics.force_slope_interval95
    interval = "" if within is None else f" (95 % interval {within[0]:.2f} to {within[1]:.2f})"
    so = f"its forces are {slope:.2f} times those of the reference{interval}"
    if slope < limit:
        return (
            f"too soft: {so}. It melts too early and its barriers are too low by about as much, so ions move too "
            "fast; its behaviour at one temperature is the true one at a higher temperature"
        )
    return f"too stiff: {so}. Its barriers are too high by about as much, so ions move too slowly"


def stress_bias_words(metrics: ErrorMetrics, limit_GPa: float | None = _BIASED_GPA) -> str | None:
    """Describe a systematic error of the stresses, and its effect on cells; None if it is within the limit.

    Parameters
    ----------
    metrics
        Errors of the potential.
    limit_GPa
        Size of the mean error up to which nothing is said; None: never say anything.
    """
    bias = metrics.mean_error_stress_GPa
    if bias is None or limit_GPa is None or abs(bias) <= limit_GPa:
        return None
    way = "large" if bias < 0.0 else "small"
    return (
        f"stresses off by {bias:+.2g} GPa ({_KBAR_PER_GPA * bias:+.2g} kbar) on average (normal "
        f"components, tension positive): relaxed cells and those at constant pressure come out too {way}"
    )


def epoch_entry(loss: float, predicted: Targets, reference: Targets) -> dict[str, Any]:
    """Build the entry of a trainer's history that :func:`epoch_record` reads: loss and errors, without the softness."""
    of_softness = ("mean_error_stress_GPa", "force_slope", "force_slope_interval95")
    values = asdict(errors(predicted, reference, softness=False))
    return {"loss": loss, **{name: value for name, value in values.items() if name not in of_softness}}


@dataclass(frozen=True)
class KindErrors:
    """Errors of the structures that share one value of a property.

    Attributes
    ----------
    by
        Property by which structures are grouped: ``"composition"``, ``"phase"`` or ``"temperature_K"``.
    value
        Value of the property.
    errors
        Errors of the structures with that value.
    """

    by: str
    value: str | float
    errors: ErrorMetrics


def errors_by(
    predicted: Targets, reference: Targets, kinds: Mapping[str, Sequence[str | float | None]]
) -> list[KindErrors]:
    """Calculate errors separately by composition, phase, temperature or any other property.

    Parameters
    ----------
    predicted, reference
        As for :func:`errors`.
    kinds
        For each property, its value for each structure; None if unknown.

    Returns
    -------
    list of KindErrors
        One for each value of each property with at least two values, in ascending order.
    """
    rows = []
    for kind, values in kinds.items():
        distinct = sorted({value for value in values if value is not None})
        if len(distinct) < 2:
            continue
        for value in distinct:
            members = [index for index, one in enumerate(values) if one == value]
            rows.append(KindErrors(kind, value, errors(predicted.subset(members), reference.subset(members))))
    return rows


@dataclass(frozen=True)
class EpochErrors:
    """Loss and errors on one set of labels after an epoch; None for those that a trainer does not calculate."""

    loss: float | None = None
    mae_energy_meV_per_atom: float | None = None
    rmse_energy_meV_per_atom: float | None = None
    mae_force_meV_per_A: float | None = None
    rmse_force_meV_per_A: float | None = None
    mae_stress_GPa: float | None = None
    rmse_stress_GPa: float | None = None


@dataclass(frozen=True)
class EpochRecord:
    """Errors after one pass over the labels.

    Attributes
    ----------
    epoch
        Number of the epoch; 0 is before training.
    learning_rate
        Learning rate at the end of the epoch.
    train, validation, replay
        Errors on these sets; None if there is no such set.
    """

    epoch: int
    learning_rate: float | None
    train: EpochErrors | None
    validation: EpochErrors | None
    replay: EpochErrors | None


def epoch_record(entry: Mapping[str, Any]) -> EpochRecord:
    """Read one entry of the history of a trainer's state (see :class:`superionic.training.state.LoopState`)."""
    names = [field.name for field in fields(EpochErrors)]
    parts = {
        part: None if values is None else EpochErrors(**{name: values[name] for name in names if name in values})
        for part, values in ((part, entry.get(part)) for part in ("train", "validation", "replay"))
    }
    return EpochRecord(entry["epoch"], entry["learning_rate"], **parts)


def _mae(values: npt.NDArray[np.float64]) -> float:
    return float(np.mean(np.abs(values)))


def _rmse(values: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
