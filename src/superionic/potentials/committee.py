"""Several potentials trained for one task from different data and starts, as one potential with an uncertainty.

Where the members disagree about forces, the training data do not determine them. The extrapolation grade of a
committee is this disagreement, by which molecular dynamics collects frames and stops (query by committee: Seung, Opper
and Sompolinsky 1992; for potentials Artrith and Behler, Phys. Rev. B 85, 045439 (2012)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import PotentialError
from superionic.potentials.base import BasePotential, Potential, Prediction

FloatArray = npt.NDArray[np.float64]


class Committee(BasePotential):
    """A committee, in which the first member or the mean of all drives the dynamics.

    Parameters
    ----------
    members
        At least two potentials, of one energy convention.
    drive
        ``first`` evaluates the first member alone (one evaluation a step); ``mean`` averages all.

    Raises
    ------
    PotentialError
        If there are fewer than two members, or their energy conventions differ.
    """

    grade_limit_text = "the committee disagrees: a force by {grade:.2f} eV/Å, the limit is {limit:g} eV/Å"

    def __init__(self, members: Sequence[Potential], drive: Literal["first", "mean"] = "first") -> None:
        if len(members) < 2:
            raise PotentialError("A committee needs at least two members.", fix="Train more of them.")
        if len({member.identity.energy_convention for member in members}) > 1:
            raise PotentialError(
                "The members of a committee have different energy conventions.",
                fix="Train all on the same kind of labels.",
            )
        common = set.intersection(*(set(member.identity.elements) for member in members))
        first = members[0].identity
        super().__init__(replace(first, elements=tuple(e for e in first.elements if e in common)))
        self.members = tuple(members)
        self.drive = drive

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and stress of the first member or of the mean; see :class:`Potential`."""
        if self.drive == "first":
            return self.members[0].evaluate(atoms, stress=stress)
        predictions = [member.evaluate(atoms, stress=stress) for member in self.members]
        stresses = [one.stress_eV_per_A3 for one in predictions if one.stress_eV_per_A3 is not None]
        return Prediction(
            float(np.mean([one.energy_eV for one in predictions])),
            np.mean([one.forces_eV_per_A for one in predictions], axis=0),
            np.mean(stresses, axis=0) if stress else None,
        )

    def force_deviations(self, atoms: Atoms) -> FloatArray:
        """Return the disagreement about the force on each atom, shape (n_atoms,), in eV/Å.

        It is the root of the summed variances (n − 1) of the three components over the members, as in
        :func:`superionic.training.committee.disagreement`.
        """
        forces = np.array([member.evaluate(atoms, stress=False).forces_eV_per_A for member in self.members])
        deviations: FloatArray = np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1))
        return deviations

    def extrapolation_grade(self, atoms: Atoms) -> FloatArray:
        """Return :meth:`force_deviations`, in eV/Å, which :class:`superionic.dynamics.monitors.Limits` compares."""
        return self.force_deviations(atoms)

    def __getattr__(self, name: str) -> object:
        # Descriptors are those of the first member, where it has any.
        if name == "descriptors":
            return self.members[0].descriptors  # type: ignore[attr-defined]
        raise AttributeError(name)
