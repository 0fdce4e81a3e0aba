"""The potential of the toy model."""

from __future__ import annotations

import hashlib
from typing import Any

from ase import Atoms
from ase.calculators.lj import LennardJones

from superionic.errors import PotentialError
from superionic.potentials.base import BasePotential, PotentialIdentity, Prediction

ELEMENTS = ("Li", "Cl", "Y")
PARAMETERS = {"sigma": 2.4, "epsilon": 0.05, "rc": 6.0, "ro": 5.0, "smooth": True}


class ToyPotential(BasePotential):
    """All ions alike."""

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Energy, forces and stress by ASE's calculator."""
        self.check_elements(atoms)
        copy = atoms.copy()
        copy.calc = LennardJones(**PARAMETERS)
        return Prediction(copy.get_potential_energy(), copy.get_forces(), copy.get_stress() if stress else None)


def describe(model: str | None = None, **options: Any) -> PotentialIdentity:
    """Say who it is."""
    if model not in (None, "one-size") or options:
        raise PotentialError(f"The toy has no model {model!r} and no options.", fix="Leave `model` and `options` out.")
    return PotentialIdentity(
        name="toy",
        model="one-size",
        version="1.0",
        checkpoint_sha256=hashlib.sha256(repr(sorted(PARAMETERS.items())).encode()).hexdigest(),
        energy_convention="own: Lennard-Jones ions of one size",
        level_of_theory="Lennard-Jones ions of one size (not a material's energy)",
        elements=ELEMENTS,
        licence="MIT",
    )


def load(model: str | None = None, *, weights: Any = None, threads: int = 1, **options: Any) -> ToyPotential:
    """Load it."""
    del threads
    if weights is not None:
        raise PotentialError("The toy has no weights.", fix="Leave them out.")
    return ToyPotential(describe(model, **options))
