from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from superionic.dynamics.relax import Relaxation, relax
from superionic.errors import CalculationFailed, PotentialError, SuperionicError
from superionic.potentials.base import BasePotential, Prediction, describe_potential, load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.units import gpa


def test_a_relaxed_crystal_has_neither_forces_nor_stress():
    atoms = li3ycl6_cell()
    kept = atoms.copy()
    result = relax(atoms, load_potential("pair"), fmax_eV_per_A=0.05)
    assert atoms == kept
    assert result.converged
    assert result.energy_eV < result.start_energy_eV
    assert result.max_force_eV_per_A <= 0.05
    # The cell's generalised force is volume x stress / n_atoms.
    assert np.abs(result.stress_eV_per_A3).max() * result.atoms.get_volume() / 30 <= 0.06
    again = load_potential("pair").evaluate(result.atoms)
    assert again.energy_eV == pytest.approx(result.energy_eV, abs=1e-9)
    assert Relaxation.from_dict(result.to_dict()).energy_eV_per_atom == result.energy_eV_per_atom


def test_relaxation_is_deterministic():
    runs = [relax(li3ycl6_cell(), load_potential("pair"), max_steps=15) for _ in range(2)]
    assert np.array_equal(runs[0].atoms.positions, runs[1].atoms.positions)
    assert np.array_equal(runs[0].atoms.cell.array, runs[1].atoms.cell.array)


def test_positions_only_keeps_the_cell():
    result = relax(li3ycl6_cell(), load_potential("pair"), cell=False, max_steps=10)
    assert np.array_equal(result.atoms.cell.array, li3ycl6_cell().cell.array)
    assert result.stress_eV_per_A3 is None
    assert result.volume_change == 0.0


def test_unconverged_is_returned_and_says_so():
    result = relax(li3ycl6_cell(), load_potential("pair"), max_steps=3)
    assert not result.converged
    assert result.n_steps == 3


@pytest.mark.parametrize("optimizer", ["FIRE2", "LBFGS", "BFGS", "GOQN"])
def test_other_optimizers_go_down_too(optimizer):
    result = relax(li3ycl6_cell(), load_potential("pair"), optimizer=optimizer, max_steps=15)
    assert result.energy_eV < result.start_energy_eV


def test_pressure_squeezes():
    salt = bulk("NaCl", "rocksalt", a=5.6)
    free = relax(salt, load_potential("pair"), fmax_eV_per_A=0.02)
    squeezed = relax(free.atoms, load_potential("pair"), fmax_eV_per_A=0.02, pressure_GPa=5.0)
    assert squeezed.atoms.get_volume() < free.atoms.get_volume()
    pressure = -gpa(float(squeezed.stress_eV_per_A3[:3].mean()))
    assert pressure == pytest.approx(5.0, abs=0.5)


def test_an_explosion_is_a_failed_calculation():
    class Repelling(BasePotential):
        def evaluate(self, atoms, *, stress=True):
            forces = 1e5 * (atoms.positions - atoms.positions.mean(axis=0))
            return Prediction(0.0, forces, np.full(6, -1.0) if stress else None)

    class NotANumber(BasePotential):
        def evaluate(self, atoms, *, stress=True):
            return Prediction(np.nan, np.zeros((len(atoms), 3)), np.zeros(6) if stress else None)

    for broken in (Repelling, NotANumber):
        with pytest.raises(CalculationFailed):
            relax(li3ycl6_cell(), broken(describe_potential("pair")))
    collapsed = li3ycl6_cell()
    collapsed.positions[1] = collapsed.positions[0] + [0.1, 0, 0]
    with pytest.raises(CalculationFailed, match=r"into each other|beyond reason"):
        relax(collapsed, load_potential("pair"))


def test_wrong_requests():
    atoms = li3ycl6_cell()
    with pytest.raises(SuperionicError, match="optimizer") as caught:
        relax(atoms, load_potential("pair"), optimizer="SGD")
    assert caught.value.fix
    atoms.numbers[0] = 86
    with pytest.raises(PotentialError):
        relax(atoms, load_potential("pair"))
