"""The gate on a student's own frames, against errors that were put in by hand and an exact equation of state."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from superionic.potentials.base import BasePotential, Prediction, describe_potential
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.on_policy import OnPolicyLimits, bulk_modulus_GPa, compare_own_frames, on_policy_criteria
from superionic.units import GPA_PER_EV_PER_A3

LIMITS = OnPolicyLimits(
    max_energy_bias_meV_per_atom=3.0,
    max_energy_scatter_meV_per_atom=3.0,
    max_force_error_ratio=0.2,
    max_element_force_error_ratio=0.35,
    max_stress_rmse_GPa=0.3,
    max_pressure_difference_GPa=0.15,
    max_volume_difference_percent=1.5,
)


def labelled(n: int) -> LabelledSet:
    """Rock salt, n times, every force component 1 eV/Å and no stress."""
    salt = bulk("LiCl", "rocksalt", a=5.1, cubic=True)
    targets = Targets(np.zeros(n), (np.ones((8, 3)),) * n, np.zeros((n, 6)))
    return LabelledSet((salt,) * n, targets, ("run",) * n, "teacher", "scale")


def said(energies_meV_per_atom=(0.0, 0.0), chlorine=0.0, pressures_GPa=(0.0, 0.0)) -> Targets:
    """What a student says: energies, an error of the forces on Cl, pressures."""
    n = len(energies_meV_per_atom)
    forces = np.ones((8, 3))
    forces[labelled(1).structures[0].numbers == 17] += chlorine
    stresses = np.zeros((n, 6))
    stresses[:, :3] = -np.array(pressures_GPa)[:, None] / GPA_PER_EV_PER_A3
    return Targets(8.0e-3 * np.array(energies_meV_per_atom), (forces,) * n, stresses)


def test_bias_scatter_forces_by_element_and_pressure_are_those_put_in():
    seen = compare_own_frames(labelled(2), said((1.0, 3.0), 0.1, (0.05, 0.07)), 20.0)
    assert seen.energy_bias_meV_per_atom == pytest.approx(2.0)
    assert seen.energy_scatter_meV_per_atom == pytest.approx(math.sqrt(2.0))
    assert [(one.element, one.rmse_meV_per_A) for one in seen.elements] == [("Li", 0.0), ("Cl", pytest.approx(100.0))]
    # Half of the atoms are wrong by a tenth: 100 / sqrt 2 over all.
    assert seen.errors.rmse_force_meV_per_A == pytest.approx(100.0 / math.sqrt(2.0))
    assert seen.pressure_difference_GPa == pytest.approx(0.06)
    assert seen.pressure_error_GPa == pytest.approx(0.01)
    # A student whose pressure is too high by 0.06 GPa swells by 0.06 / 20.
    assert seen.volume_difference_percent == pytest.approx(0.3)


def test_the_worst_run_is_judged_whatever_its_sign():
    fine = compare_own_frames(labelled(2), said(), 20.0)
    low = compare_own_frames(labelled(2), said((-5.0, -5.0), 0.4, (-0.6, -0.6)), 20.0)
    criteria = {one.name: one for one in on_policy_criteria([("cold", fine), ("hot", low)], LIMITS)}
    assert [name for name, one in criteria.items() if one.passed is False] == [
        "energy bias on own frames",
        "forces on own frames",
        "forces by element on own frames",
        "stress on own frames",
        "mean pressure on own frames",
        "volume that the pressure makes",
    ]
    assert criteria["energy scatter on own frames"].passed
    assert criteria["energy bias on own frames"].value == pytest.approx(-5.0)
    assert criteria["forces by element on own frames"].value == pytest.approx(0.4)
    assert "worst on Cl in hot" in criteria["forces by element on own frames"].words
    assert criteria["volume that the pressure makes"].value == pytest.approx(-3.0)
    assert all(one.passed for one in on_policy_criteria([("cold", fine)], LIMITS))


def test_without_a_bulk_modulus_the_volume_is_not_judged_and_without_runs_nothing_is():
    unknown = replace(compare_own_frames(labelled(2), said(), 20.0), bulk_modulus_GPa=None)
    assert on_policy_criteria([("cold", unknown)], LIMITS)[-1].passed is None
    assert [one.passed for one in on_policy_criteria([], LIMITS)] == [None]


class Spring(BasePotential):
    """A crystal whose energy is ½ B V₀ (V/V₀ − 1)², so that −V dp/dV = B V/V₀ exactly."""

    def __init__(self, B_GPa: float, V0_A3: float) -> None:
        super().__init__(replace(describe_potential("pair"), elements=("Li", "Cl")))
        self.B, self.V0 = B_GPa / GPA_PER_EV_PER_A3, V0_A3

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Energy, forces of zero, and the stress."""
        x = atoms.get_volume() / self.V0 - 1.0
        voigt = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) * self.B * x
        return Prediction(0.5 * self.B * self.V0 * x**2, np.zeros((len(atoms), 3)), voigt if stress else None)


@pytest.mark.parametrize("scale", [1.0, 1.1])
def test_the_bulk_modulus_is_that_of_the_equation_of_state_at_the_volume_of_the_frame(scale):
    salt = bulk("LiCl", "rocksalt", a=5.1, cubic=True)
    potential = Spring(30.0, float(salt.get_volume()) / scale)
    assert bulk_modulus_GPa(potential, salt) == pytest.approx(30.0 * scale, rel=1e-9)
    assert bulk_modulus_GPa(Spring(-30.0, float(salt.get_volume())), salt) is None
