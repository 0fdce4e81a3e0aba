from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from ase.build import bulk

from superionic.dynamics.relax import Relaxation, go_on, relax
from superionic.dynamics.relax.optimizers import Optimizer
from superionic.dynamics.relax.quasi_newton import QuasiNewton, deformation, gradient_of_logarithm, model_hessian
from superionic.errors import CalculationFailed, PotentialError, SuperionicError
from superionic.execution.codec import decode, encode, from_tree, to_tree
from superionic.potentials.base import BasePotential, Prediction, describe_potential, load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.units import ev_per_A3, gpa


def test_a_relaxed_crystal_has_neither_forces_nor_stress():
    atoms = li3ycl6_cell()
    remaining = atoms.copy()
    result = relax(atoms, load_potential("pair"), fmax_eV_per_A=0.05)
    assert atoms == remaining
    assert result.converged
    assert result.energy_eV < result.start_energy_eV
    assert result.max_force_eV_per_A <= 0.05
    # The cell's generalised force is volume x stress / n_atoms.
    assert np.abs(result.stress_eV_per_A3).max() * result.atoms.get_volume() / 30 <= 0.06
    again = load_potential("pair").evaluate(result.atoms)
    assert again.energy_eV == pytest.approx(result.energy_eV, abs=1e-9)
    assert from_tree(to_tree(result), Relaxation).energy_eV == result.energy_eV


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


@pytest.mark.parametrize("optimizer", ["QN", "FIRE2", "LBFGS", "BFGS", "GOQN"])
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


@pytest.mark.parametrize("cell", [True, False])
@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_parts_together_equal_one_relaxation_bit_by_bit(optimizer, cell):
    potential = load_potential("pair")
    once = relax(li3ycl6_cell(), potential, optimizer=optimizer, max_steps=9, cell=cell, pressure_GPa=1.0)
    parts = relax(li3ycl6_cell(), potential, optimizer=optimizer, max_steps=0, cell=cell, pressure_GPa=1.0)
    for steps in (1, 3, 0, 5):
        stored = from_tree(decode(*encode(parts)), Relaxation)
        parts = go_on(stored, load_potential("pair"), max_steps=steps)
    assert np.array_equal(parts.atoms.positions, once.atoms.positions)
    assert np.array_equal(parts.atoms.cell.array, once.atoms.cell.array)
    assert (parts.energy_eV, parts.n_steps, parts.n_evaluations) == (once.energy_eV, 9, once.n_evaluations)


def test_the_gradient_of_the_deformation_is_that_of_the_energy():
    atoms, potential = li3ycl6_cell(), load_potential("pair")
    rng = np.random.default_rng(0)

    def deformed(logarithm):
        moved, change = atoms.copy(), deformation(logarithm)
        moved.set_cell(atoms.cell.array @ change, scale_atoms=True)
        return moved

    for size in (0.0, 1e-6, 0.05):
        logarithm = rng.normal(0.0, size, (3, 3)) if size else np.zeros((3, 3))
        logarithm = 0.5 * (logarithm + logarithm.T)
        here = deformed(logarithm)
        xx, yy, zz, yz, xz, xy = potential.evaluate(here).stress_eV_per_A3
        stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        gradient = gradient_of_logarithm(logarithm, here.get_volume() * stress)
        for i, j in ((0, 0), (1, 2), (0, 1)):
            change = np.zeros((3, 3))
            change[i, j] += 0.5e-5
            change[j, i] += 0.5e-5
            up, down = (potential.evaluate(deformed(logarithm + s * change)).energy_eV for s in (1, -1))
            assert (up - down) / 2e-5 == pytest.approx(gradient[i, j], abs=1e-6)


def test_the_model_hessian_is_symmetric_positive_and_knows_the_elastic_cell():
    atoms = li3ycl6_cell()
    hessian = model_hessian(atoms, cell=True)
    assert np.array_equal(hessian, hessian.T)
    assert np.linalg.eigvalsh(hessian).min() > 0.0
    squeeze = np.eye(3).ravel()
    # An isotropic strain costs 9/2 V K e², so its second derivative is 9 V K.
    assert squeeze @ hessian[-9:, -9:] @ squeeze == pytest.approx(9.0 * atoms.get_volume() * ev_per_A3(30.0))
    assert model_hessian(atoms, cell=False).shape == (90, 90)


def test_quasi_newton_solves_a_quadratic_problem_and_takes_no_long_steps():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(12, 12))
    truth = root @ root.T + 2.0 * np.eye(12)
    method, place = QuasiNewton(10.0 * np.eye(12), 4), rng.normal(0.0, 0.05, 12)
    for _ in range(60):
        step = method.step(place, truth @ place)
        assert np.linalg.norm(step.reshape(4, 3), axis=1).max() <= 0.2 + 1e-12
        place = place + step
    assert np.abs(place).max() < 1e-6
    far = QuasiNewton(np.eye(21), 4).step(np.zeros(21), np.full(21, -1e3))
    assert np.abs(far[12:]).max() <= 0.05 + 1e-12


def test_quasi_newton_takes_far_fewer_evaluations_than_fire():
    atoms, potential = bulk("NaCl", "rocksalt", a=5.2, cubic=True), load_potential("pair")
    atoms.positions += 0.2 * np.sin(np.arange(24).reshape(8, 3))
    ends = {name: relax(atoms, potential, optimizer=name) for name in ("QN", "FIRE")}
    assert all(end.converged for end in ends.values())
    assert ends["QN"].energy_eV == pytest.approx(ends["FIRE"].energy_eV, abs=1e-3)
    assert ends["QN"].n_evaluations < 0.5 * ends["FIRE"].n_evaluations


def test_quasi_newton_goes_on_exactly_past_the_renewal_of_its_hessian():
    potential, longest = load_potential("pair"), 45  # it forgets after forty steps
    once = relax(li3ycl6_cell(), potential, optimizer="QN", max_steps=longest, fmax_eV_per_A=1e-9)
    parts = relax(li3ycl6_cell(), potential, optimizer="QN", max_steps=38, fmax_eV_per_A=1e-9)
    for steps in (2, 1, 4):
        parts = go_on(parts, potential, max_steps=steps, fmax_eV_per_A=1e-9)
    assert parts.n_steps == longest
    assert np.array_equal(parts.atoms.positions, once.atoms.positions)
    assert np.array_equal(parts.atoms.cell.array, once.atoms.cell.array)
