"""D3(BJ): its limits, its derivatives, and the numbers of other programs."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from ase.units import Bohr, Hartree

from superionic.conventions import D3_LI3YCL6
from superionic.errors import PotentialError
from superionic.execution.engines import dispersion_problem, resolve_engine
from superionic.potentials.base import load_potential
from superionic.potentials.dispersion import FUNCTIONALS, LIBRARY, Dispersion
from superionic.potentials.proof import record_of
from superionic.potentials.reference import li3ycl6_cell
from superionic.units import GPA_PER_EV_PER_A3

PBE = Dispersion("PBE")
LICL = {"functional": "PBE", "cutoff_A": 12.0}


def rattled_licl() -> Atoms:
    atoms = bulk("LiCl", "rocksalt", a=5.13)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_two_argon_atoms_far_apart_attract_as_c6_over_r6():
    # C6 of two free argon atoms in D3 (J. Chem. Phys. 132, 154104 (2010)): 64.6462 atomic units.
    far = Dispersion("PBE", cutoff_A=200.0)
    for distance_A in (60.0, 120.0):
        pair = Atoms("Ar2", positions=[[0.0, 0.0, 0.0], [0.0, 0.0, distance_A]])
        energy, forces, stress = far.evaluate(pair, stress=False)
        distance = distance_A / Bohr
        assert -energy / Hartree * distance**6 == pytest.approx(64.6462, rel=3e-3)
        assert forces[0, 2] == pytest.approx(-6.0 * energy / distance_A, rel=3e-3)  # towards the other
        assert stress is None


def test_the_energy_of_water_is_the_one_that_simple_dftd3_documents():
    # From its documentation, with PBE. Three atoms this near have next to no energy of three bodies.
    energy, _, _ = PBE.evaluate(molecule("H2O"), stress=False)
    assert energy == pytest.approx(-0.009781920198843976, abs=1e-8)


def test_a_crystal_has_the_values_of_another_program():
    # torch-dftd 0.5.3, float64, cutoff 32 Å, neighbours counted to 16 Å, PBE, BJ, without three bodies.
    energy, forces, stress = Dispersion("PBE", coordination_cutoff_A=16.0).evaluate(rattled_licl())
    assert energy == pytest.approx(-0.45045376184918845, rel=1e-6)
    of_one = [0.0017084150210936997, -0.0008733899581363289, 0.001062905758244218]
    np.testing.assert_allclose(forces, [of_one, [-value for value in of_one]], atol=1e-8)
    expected = [0.01385390353397952, 0.013833220876721114, 0.013837351740646427, 5.792e-07, 7.985e-07, -3.769e-07]
    np.testing.assert_allclose(stress, expected, atol=1e-8)


def test_forces_and_stress_are_derivatives_of_the_energy():
    term, atoms, step = Dispersion(**LICL), rattled_licl(), 1e-4
    _, forces, stress = term.evaluate(atoms)

    def energy(moved: Atoms) -> float:
        return term.evaluate(moved)[0]

    def moved(axis: int, by: float) -> Atoms:
        copy = atoms.copy()
        copy.positions[0, axis] += by
        return copy

    def strained(row: int, column: int, by: float) -> Atoms:
        strain = np.zeros((3, 3))
        strain[row, column] += by / 2.0
        strain[column, row] += by / 2.0
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return copy

    for axis in range(3):
        slope = (energy(moved(axis, step)) - energy(moved(axis, -step))) / (2.0 * step)
        assert forces[0, axis] == pytest.approx(-slope, abs=1e-7)
    for value, (row, column) in zip(stress, [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)], strict=True):
        slope = (energy(strained(row, column, step)) - energy(strained(row, column, -step))) / (2.0 * step)
        assert value == pytest.approx(slope / atoms.get_volume(), abs=1e-7)


def test_a_supercell_has_the_energy_of_its_cells_and_the_same_stress():
    term, cell = Dispersion(**LICL), rattled_licl()
    several = make_supercell(cell, [[2, 0, 0], [0, 1, 1], [0, 0, 1]])
    (energy, forces, stress), (of_all, on_all, same) = term.evaluate(cell), term.evaluate(several)
    assert of_all == pytest.approx(2.0 * energy, rel=1e-12)
    np.testing.assert_allclose(same, stress, atol=1e-12)
    np.testing.assert_allclose(np.unique(np.round(on_all, 9), axis=0), np.unique(np.round(forces, 9), axis=0))


def test_the_usual_cutoffs_are_far_enough_for_a_halide():
    cell = li3ycl6_cell()
    usual, further = PBE.evaluate(cell), Dispersion("PBE", cutoff_A=60.0, coordination_cutoff_A=16.0).evaluate(cell)
    assert usual[0] / len(cell) == pytest.approx(further[0] / len(cell), abs=2e-4)
    assert np.mean(usual[2][:3]) * GPA_PER_EV_PER_A3 == pytest.approx(
        np.mean(further[2][:3]) * GPA_PER_EV_PER_A3, abs=0.003
    )
    # It pulls the crystal together by what paper B pressed its cells with, and more.
    assert 1.5 < np.mean(usual[2][:3]) * GPA_PER_EV_PER_A3 < 1.8


@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_messages_name_what_the_term_is_worth(functional):
    cell = li3ycl6_cell()
    energy, _, stress = Dispersion(functional).evaluate(cell)
    worth = (energy / len(cell), -float(np.mean(stress[:3])) * GPA_PER_EV_PER_A3)
    assert worth == pytest.approx(D3_LI3YCL6[functional], abs=0.005)


def test_a_potential_with_the_term_has_the_sum_and_stays_what_it_is():
    term = {"method": "d3bj", "functional": "PBE"}
    bare, both, atoms = load_potential("pair"), load_potential("pair", dispersion=term), li3ycl6_cell()
    without, with_it = bare.evaluate(atoms), both.evaluate(atoms)
    energy, forces, stress = PBE.evaluate(atoms)
    assert with_it.energy_eV == pytest.approx(without.energy_eV + energy, abs=1e-10)
    np.testing.assert_allclose(with_it.forces_eV_per_A, without.forces_eV_per_A + forces, atol=1e-12)
    np.testing.assert_allclose(with_it.stress_eV_per_A3, without.stress_eV_per_A3 + stress, atol=1e-12)
    assert both.evaluate(atoms, stress=False).stress_eV_per_A3 is None
    assert both.identity.energy_convention == "pair potential + D3(BJ, PBE)"
    assert both.identity.checkpoint_sha256 == bare.identity.checkpoint_sha256


def test_what_the_library_cannot_do_is_refused_before_it_is_asked():
    with pytest.raises(PotentialError, match="up to atomic number 103"):  # the library would read foreign memory
        PBE.evaluate(Atoms("Og2", positions=[[0, 0, 0], [0, 0, 4]]), stress=False)
    with pytest.raises(PotentialError, match="periodic in all directions"):
        PBE.evaluate(Atoms("Ar"))
    for wrong in ({"functional": "LDA"}, {"cutoff_A": 0.0, "functional": "PBE"}, {"damping": "zero"}, "d2", {}):
        with pytest.raises(PotentialError):
            Dispersion.of(wrong)


@pytest.mark.engine("chgnet")
def test_an_engine_adds_it_to_the_values_on_record(engine_call):
    if (problem := dispersion_problem(resolve_engine("chgnet"))) is not None:
        pytest.skip(f"{LIBRARY} {problem}: superionic engines install chgnet")
    atoms, record = li3ycl6_cell(), record_of("chgnet")
    settings = {"name": "chgnet", "model": None, "options": {"dispersion": "d3bj"}, "stress": True}
    inputs = {"atoms": {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array, "pbc": True}}
    values = engine_call("chgnet", "superionic.potentials.remote:answer", settings, inputs)
    energy, forces, _ = PBE.evaluate(atoms)
    assert values["energy_eV"] == pytest.approx(record["energy_eV"] + energy, abs=1e-3)
    np.testing.assert_allclose(values["forces_eV_per_A"], np.array(record["forces_eV_per_A"]) + forces, atol=1e-3)
