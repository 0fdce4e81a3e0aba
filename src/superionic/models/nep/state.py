"""How a student is trained, and where its training stands between two segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superionic.errors import CampaignFileError
from superionic.models.nep.model import LEARNED, NepModel

Arrays = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class NepOptions:
    """Form of the student and how it learns.

    Attributes
    ----------
    cutoff_radial_A, cutoff_angular_A
        Reach of the radial and of the angular descriptors in Å.
    n_radial, n_angular
        Radial functions of each kind of descriptor.
    basis_radial, basis_angular
        Chebyshev functions that each of them is made of.
    l_max
        Highest angular momentum of the three-body descriptors, 1 to 4.
    four_body, five_body
        Whether the four-body (l = 2) and five-body (l = 1) invariants are used.
    n_neurons
        Width of the hidden layer of each element's network.
    epochs
        Passes over the data, over which the learning rate falls to its final value.
    batch_size
        Structures per step.
    learning_rate, final_learning_rate
        Of Adam; it follows half a cosine between the two after ``warmup_steps`` steps of linear rise.
    energy_weight, force_weight, stress_weight
        Weights in the loss of the squared errors of energy per atom (eV²), force component (eV²/Å²) and virial per atom
        (eV²).
    soft_force_eV_per_A
        Structures whose forces have a root mean square F count 1/(1 + (F/this)²): close contacts are there to be
        repelled, not to be reproduced to the last meV.
    contact_fraction
        ZBL's repulsion of two elements ends at this fraction of their shortest distance in the training set, and at
        ``longest_zbl_A`` at most.
    longest_zbl_A
        Longest reach of ZBL in Å; 0 for none.
    """

    cutoff_radial_A: float = 6.0
    cutoff_angular_A: float = 5.0
    n_radial: int = 8
    n_angular: int = 6
    basis_radial: int = 9
    basis_angular: int = 9
    l_max: int = 4
    four_body: bool = True
    five_body: bool = True
    n_neurons: int = 32
    epochs: int = 300
    batch_size: int = 2
    learning_rate: float = 1.0e-3
    final_learning_rate: float = 1.0e-5
    warmup_steps: int = 100
    energy_weight: float = 20.0
    force_weight: float = 1.0
    stress_weight: float = 1.0
    soft_force_eV_per_A: float = 3.0
    contact_fraction: float = 0.95
    longest_zbl_A: float = 2.5

    def __post_init__(self) -> None:
        positive = ["cutoff_radial_A", "cutoff_angular_A", "n_radial", "n_angular", "basis_radial", "basis_angular"]
        positive += ["n_neurons", "epochs", "batch_size", "learning_rate", "final_learning_rate", "soft_force_eV_per_A"]
        wrong = [name for name in positive if not getattr(self, name) > 0]
        wrong += [name for name in ("energy_weight", "force_weight", "stress_weight") if not getattr(self, name) >= 0]
        wrong += ["l_max"] if not 1 <= self.l_max <= 4 else []
        wrong += ["four_body"] if self.four_body and self.l_max < 2 else []
        wrong += ["cutoff_angular_A"] if self.cutoff_angular_A > self.cutoff_radial_A else []
        wrong += ["contact_fraction"] if not 0.0 < self.contact_fraction <= 1.0 else []
        wrong += ["longest_zbl_A"] if not 0.0 <= self.longest_zbl_A < self.cutoff_angular_A else []
        if wrong:
            raise CampaignFileError(
                f"Options of the student are out of their ranges: {', '.join(dict.fromkeys(wrong))}.",
                fix="Cutoffs, sizes and rates are positive, l_max is 1 to 4 (2 for four_body), the angular cutoff not "
                "beyond the radial one.",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes in the form that :class:`superionic.models.nep.model.NepModel` takes."""
        return (
            self.n_radial,
            self.basis_radial,
            self.n_angular,
            self.basis_angular,
            self.l_max,
            int(self.four_body),
            int(self.five_body),
        )


@dataclass(frozen=True)
class EpochErrors:
    """Errors of the student on one part of the data, after an epoch.

    Attributes
    ----------
    loss
        Weighted mean of the squared errors.
    rmse_energy_eV_per_atom, rmse_force_eV_per_A, rmse_stress_GPa
        Root mean square errors over the structures.
    """

    loss: float
    rmse_energy_eV_per_atom: float
    rmse_force_eV_per_A: float
    rmse_stress_GPa: float


@dataclass(frozen=True)
class Epoch:
    """One pass over the data.

    Attributes
    ----------
    epoch
        Counts from 1 and goes on through refits.
    learning_rate
        Of its last step.
    train, validation
        Errors on the two parts; None without a validation part.
    """

    epoch: int
    learning_rate: float
    train: EpochErrors
    validation: EpochErrors | None


@dataclass(frozen=True, eq=False)
class NepState:
    """Where a training stands, to the last bit.

    Attributes
    ----------
    options
        How it is trained.
    seed
        Of the first weights and of the order of the batches.
    model
        The student as it is now.
    centre
        Mean scaled descriptors of each element at the beginning, shape (n_types, dim): the networks are trained on
        what differs from them.
    first_moments, second_moments
        Of Adam, by name of the parameters.
    steps, epoch
        Steps of Adam and epochs done.
    schedule_from
        Step at which the schedule of the learning rate began (a refit begins it again).
    best_model, best_epoch, best_loss
        The student of the lowest validation loss so far.
    history
        One entry per epoch.
    """

    options: NepOptions
    seed: int
    model: NepModel
    centre: npt.NDArray[np.float64]
    first_moments: Arrays
    second_moments: Arrays
    steps: int
    epoch: int
    schedule_from: int
    best_model: NepModel
    best_epoch: int
    best_loss: float | None
    history: tuple[Epoch, ...]


def zeros_like(model: NepModel) -> Arrays:
    """Zeros in the shape of each learned array."""
    return {name: np.zeros(getattr(model, name).shape) for name in LEARNED}
