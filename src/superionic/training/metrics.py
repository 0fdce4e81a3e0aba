"""Errors of a potential against reference labels, in the units in which the field quotes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from superionic.training.dataset import Targets
from superionic.units import GPA_PER_EV_PER_A3


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


def errors(predicted: Targets, reference: Targets) -> ErrorMetrics:
    """Compare a potential's values with reference labels of the same structures.

    Parameters
    ----------
    predicted, reference
        Values of the same structures in the same order; energies in the same frame (see
        :meth:`superionic.training.dataset.LabelledSet.shifted`).

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
    )


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
