"""Errors of a potential against reference labels, in the units in which the field quotes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from superionic.training.dataset import Targets
from superionic.units import GPA_PER_EV_PER_A3

SOFT_BELOW: Final = 0.9
"""Slope of the forces below which a potential is called soft, and above the reciprocal of which stiff: barriers and
melting temperatures are off by a tenth, and what is extrapolated to 300 K from a barrier of 0.3 eV by a factor of 3."""
_BIASED_GPA: Final = 0.2
"""Mean error of the stress that changes a volume by a per cent where the bulk modulus is 20 GPa."""
_RESAMPLED: Final = 1000
_KBAR_PER_GPA: Final = 10.0


@dataclass(frozen=True)
class ErrorMetrics:
    """Errors over a set.

    Attributes
    ----------
    n_structures, n_forces, n_stresses
        Numbers of energies, of force components and of stress components that entered.
    mae_energy_meV_per_atom, rmse_energy_meV_per_atom
        Of the energy per atom, each structure counted once.
    mean_error_energy_meV_per_atom
        Mean signed error (predicted less reference): a shift common to all structures, felt by no energy difference.
    mae_force_meV_per_A, rmse_force_meV_per_A
        Of the Cartesian components of all forces.
    mae_stress_GPa, rmse_stress_GPa
        Of the nine components of the symmetric stress tensor (off-diagonal ones count twice, as in CHGNet's own
        trainer); ``None`` if no structure has a stress on both sides.
    mean_error_stress_GPa
        Mean signed error (predicted less reference) of the three normal components, tension positive as in ASE: minus
        the error of the pressure. ``None`` without stresses.
    force_slope
        ⟨F·F_ref⟩ / ⟨F_ref²⟩ over all force components: below 1 for a potential that is softer than its reference
        (B. Deng et al., npj Comput. Mater. 11, 9 (2025)). Errors of the forces that have nothing to do with the forces
        themselves leave it alone. ``None`` if all reference forces are zero.
    force_slope_interval95
        Its 95 % interval by bootstrap over structures; ``None`` for a single one.
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
    """Compare a potential's values with reference labels of the same structures.

    Parameters
    ----------
    predicted, reference
        Values of the same structures in the same order; energies in the same frame (see
        :meth:`superionic.training.dataset.LabelledSet.shifted`).
    softness
        Whether the slope of the forces and the mean error of the stresses are computed as well.

    Raises
    ------
    ValueError
        If the two are of different structures or empty.
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
    """Slope of predicted against reference forces through the origin, and its 95 % interval.

    The slope is ⟨F·F_ref⟩ / ⟨F_ref²⟩; see :class:`ErrorMetrics`. The interval is that of 1000 resamplings of the
    structures. Frames of one run resemble each other, so that it may be too narrow where there are few runs.

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
    # A structure at rest has no weight, so a sample of such alone says nothing.
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
    """Say that a potential is softer (or stiffer) than its reference; None where it is not.

    If all energies of a potential are s times the right ones, what it shows at T is what is right at T/s: it melts at s
    times the right temperature, and its barriers are s times the right ones.

    Parameters
    ----------
    metrics
        Of the potential.
    limit
        Slope below which it is soft, and above the reciprocal of which it is stiff; None: never.
    """
    slope = metrics.force_slope
    if slope is None or limit is None or limit <= slope <= 1.0 / limit:
        return None
    within = metrics.force_slope_interval95
    interval = "" if within is None else f" (95 % interval {within[0]:.2f} to {within[1]:.2f})"
    so = f"its forces are {slope:.2f} times those of the reference{interval}"
    if slope < limit:
        return (
            f"too soft: {so}. It melts too early and its barriers are too low by about as much, so that ions move too "
            "fast; what it shows at a temperature is right for a higher one"
        )
    return f"too stiff: {so}. Its barriers are too high by about as much, so that ions move too slowly"


def stress_bias_words(metrics: ErrorMetrics, limit_GPa: float | None = _BIASED_GPA) -> str | None:
    """Say that the stresses of a potential are shifted, and which way its cells err; None where they are not.

    Parameters
    ----------
    metrics
        Of the potential.
    limit_GPa
        Size of the mean error above which it is said; None: never.
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
    """Make the entry of a trainer's history that :func:`epoch_record` reads: loss and errors, without the softness."""
    of_softness = ("mean_error_stress_GPa", "force_slope", "force_slope_interval95")
    values = asdict(errors(predicted, reference, softness=False))
    return {"loss": loss, **{name: value for name, value in values.items() if name not in of_softness}}


@dataclass(frozen=True)
class KindErrors:
    """Errors of the structures of one kind.

    Attributes
    ----------
    by
        What structures are sorted by: ``"composition"``, ``"phase"``, ``"temperature_K"``.
    value
        Which ones these are.
    errors
        Over them.
    """

    by: str
    value: str | float
    errors: ErrorMetrics


def errors_by(
    predicted: Targets, reference: Targets, kinds: Mapping[str, Sequence[str | float | None]]
) -> list[KindErrors]:
    """Errors apart by composition, phase, temperature or whatever structures are sorted by.

    Parameters
    ----------
    predicted, reference
        As for :func:`errors`.
    kinds
        Name of a kind to what each structure is of it; None where that is not known.

    Returns
    -------
    list of KindErrors
        One for each value of each kind that has two values or more, rising.
    """
    rows = []
    for kind, values in kinds.items():
        found = sorted({value for value in values if value is not None})
        if len(found) < 2:
            continue
        for value in found:
            members = [index for index, one in enumerate(values) if one == value]
            rows.append(KindErrors(kind, value, errors(predicted.subset(members), reference.subset(members))))
    return rows


@dataclass(frozen=True)
class EpochErrors:
    """Loss and errors on one part of the labels after an epoch; None where a trainer does not compute one."""

    loss: float | None = None
    mae_energy_meV_per_atom: float | None = None
    rmse_energy_meV_per_atom: float | None = None
    mae_force_meV_per_A: float | None = None
    rmse_force_meV_per_A: float | None = None
    mae_stress_GPa: float | None = None
    rmse_stress_GPa: float | None = None


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the labels.

    Attributes
    ----------
    epoch
        0 is before training.
    learning_rate
        At its end.
    train, validation, replay
        Errors on the parts; None where there is none.
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
        part: EpochErrors(**{name: found[name] for name in names if name in found}) if found is not None else None
        for part, found in ((part, entry.get(part)) for part in ("train", "validation", "replay"))
    }
    return EpochRecord(entry["epoch"], entry["learning_rate"], **parts)


def _mae(values: npt.NDArray[np.float64]) -> float:
    return float(np.mean(np.abs(values)))


def _rmse(values: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
