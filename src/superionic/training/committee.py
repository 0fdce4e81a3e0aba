"""A committee of students or fine-tuned potentials: several trained alike from different data and initial weights.

Where its members disagree, the data do not determine the prediction: their standard deviation is an uncertainty of
energies, forces and stresses. It is blind to what all members have in common (the functional form, the teacher), so it
is a lower bound.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from superionic.training.dataset import Split, Targets, split_groups
from superionic.units import GPA_PER_EV_PER_A3

FloatArray = npt.NDArray[np.float64]


def member_split(
    groups: Sequence[str], validation_fraction: float, seed: int, *, only_training: Collection[str] = ()
) -> Split:
    """Divide the groups into the training and validation sets of one committee member.

    Each member has its own seed and so leaves out different groups: the spread of the committee then reflects the
    choice of data, and not only the start of the training.

    Parameters
    ----------
    groups
        Group of each structure: its common origin with others.
    validation_fraction
        Share of the structures left out to select the epoch.
    seed
        Seed of this member.
    only_training
        Groups that are never left out: the errors of structures that no run should visit, such as close contacts, would
        swamp those that select the epoch.
    """
    always_trained = set(only_training)
    free = [index for index, group in enumerate(groups) if group not in always_trained]
    split = split_groups(
        [groups[index] for index in free], validation_fraction=validation_fraction, test_fraction=0.0, seed=seed
    )
    validation = {free[index] for index in split.validation}
    train = tuple(index for index in range(len(groups)) if index not in validation)
    return replace(split, train=train, validation=tuple(sorted(validation)))


@dataclass(frozen=True)
class CommitteeSpread:
    """Spread of the members of a committee over a set.

    Attributes
    ----------
    energy_meV_per_atom
        Root-mean-square spread of the energy per atom.
    force_meV_per_A
        Root-mean-square spread of a Cartesian component, comparable with the RMSE of the forces.
    largest_force_meV_per_A
        Largest spread of the force on an atom.
    stress_GPa
        Root-mean-square spread of a component.
    """

    energy_meV_per_atom: float
    force_meV_per_A: float
    largest_force_meV_per_A: float
    stress_GPa: float


@dataclass(frozen=True)
class Disagreement:
    """Standard deviations over the members of a committee.

    Attributes
    ----------
    energies_eV_per_atom
        Of the energy per atom of each structure, shape (n,).
    forces_eV_per_A
        Of the force on each atom, one array of shape (n_atoms,) per structure: the root of the summed variances of the
        three components.
    stresses_GPa
        Root mean square over the six components of each structure, shape (n,).
    """

    energies_eV_per_atom: FloatArray
    forces_eV_per_A: tuple[FloatArray, ...]
    stresses_GPa: FloatArray

    def summary(self) -> CommitteeSpread:
        """Return root mean squares over the set, and the largest value of an atom."""
        forces = np.concatenate(self.forces_eV_per_A)
        return CommitteeSpread(
            energy_meV_per_atom=1.0e3 * float(np.sqrt(np.mean(self.energies_eV_per_atom**2))),
            force_meV_per_A=1.0e3 * float(np.sqrt(np.mean(forces**2) / 3.0)),
            largest_force_meV_per_A=1.0e3 * float(forces.max()),
            stress_GPa=float(np.sqrt(np.mean(self.stresses_GPa**2))),
        )


def disagreement(predictions: Sequence[Targets]) -> Disagreement:
    """Calculate the spread of the predictions of a committee for the same structures.

    Parameters
    ----------
    predictions
        Predictions of each of at least two members.

    Raises
    ------
    ValueError
        If there are fewer than two members, or their structures differ.
    """
    if len(predictions) < 2:
        raise ValueError("a committee has at least two members")
    if len({tuple(targets.n_atoms.tolist()) for targets in predictions}) > 1:
        raise ValueError("the members must have evaluated the same structures")
    n_atoms = predictions[0].n_atoms
    energies = np.array([targets.energies_eV / n_atoms for targets in predictions])
    forces = []
    for index in range(len(n_atoms)):
        of_members = np.array([targets.forces_eV_per_A[index] for targets in predictions])
        forces.append(np.sqrt(of_members.var(axis=0, ddof=1).sum(axis=1)))
    stresses = GPA_PER_EV_PER_A3 * np.array([targets.stresses_eV_per_A3 for targets in predictions])
    spread = np.sqrt(stresses.var(axis=0, ddof=1).mean(axis=1))
    return Disagreement(energies.std(axis=0, ddof=1), tuple(forces), spread)


def committee_mean(predictions: Sequence[Targets]) -> Targets:
    """Average the predictions of a committee for the same structures."""
    return Targets(
        np.mean([targets.energies_eV for targets in predictions], axis=0),
        tuple(
            np.mean([targets.forces_eV_per_A[index] for targets in predictions], axis=0)
            for index in range(len(predictions[0]))
        ),
        np.mean([targets.stresses_eV_per_A3 for targets in predictions], axis=0),
    )
