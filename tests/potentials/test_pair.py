from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.optimize import minimize_scalar
from scipy.special import erfc

from superionic.errors import PotentialError
from superionic.models.pair.potential import PairParameters, PairPotential
from superionic.potentials.base import load_potential
from superionic.units import COULOMB_EV_A


def test_a_single_pair_is_the_formula():
    p = PairParameters()
    r, contact = 2.5, p.radii_A["Li"] + p.radii_A["Cl"]

    def bare(x: float) -> float:
        strength = p.contact_force_ratio * p.softness_A * COULOMB_EV_A / contact**2
        return strength * np.exp((contact - x) / p.softness_A) - COULOMB_EV_A * erfc(p.damping_per_A * x) / x

    h = 1e-6
    slope_at_cutoff = (bare(p.cutoff_A + h) - bare(p.cutoff_A - h)) / (2 * h)
    pair = bare(r) - bare(p.cutoff_A) - (r - p.cutoff_A) * slope_at_cutoff
    self_term = (
        -2 * COULOMB_EV_A * (erfc(p.damping_per_A * p.cutoff_A) / (2 * p.cutoff_A) + p.damping_per_A / np.sqrt(np.pi))
    )
    atoms = Atoms("LiCl", positions=[[0, 0, 0], [r, 0, 0]], cell=[40, 40, 40], pbc=True)
    assert PairPotential().evaluate(atoms).energy_eV == pytest.approx(pair + self_term, abs=1e-8)


@pytest.mark.parametrize(
    ("formula", "structure", "lattice_A"),
    [
        ("NaCl", "rocksalt", 5.64),
        ("LiCl", "rocksalt", 5.14),
        ("KBr", "rocksalt", 6.60),
        ("LiF", "rocksalt", 4.03),
        ("MgO", "rocksalt", 4.21),
        ("CaF2", "fluorite", 5.46),
    ],
)
def test_lattice_constants_of_ionic_crystals(formula, structure, lattice_A):
    potential = load_potential("pair")
    result = minimize_scalar(
        lambda a: potential.evaluate(bulk(formula, structure, a=a), stress=False).energy_eV,
        bounds=(0.85 * lattice_A, 1.2 * lattice_A),
        method="bounded",
    )
    assert result.x == pytest.approx(lattice_A, rel=0.07)


def test_energy_and_forces_vanish_smoothly_at_the_cutoff():
    potential = load_potential("pair")
    cutoff = potential.parameters.cutoff_A
    atoms = Atoms("LiCl", positions=[[0, 0, 0], [cutoff - 1e-4, 0, 0]], cell=[40, 40, 40], pbc=True)
    assert np.abs(potential.evaluate(atoms).forces_eV_per_A).max() < 1e-4
    inside = potential.evaluate(atoms).energy_eV
    atoms.positions[1, 0] = cutoff + 1e-4
    assert abs(potential.evaluate(atoms).energy_eV - inside) < 1e-8


def test_charges_can_be_given_and_change_the_identity():
    standard = load_potential("pair")
    other = load_potential("pair", charges_e={"Li": 0.5}, charge_scale=0.8)
    assert other.parameters.charges_e["Li"] == 0.5
    assert other.parameters.charges_e["Cl"] == -1
    assert other.identity.checkpoint_sha256 != standard.identity.checkpoint_sha256


@pytest.mark.parametrize(
    "options",
    [{"weights": {}}, {"cutoff": 5.0}, {"softness_A": -1.0}, {"charges_e": {"Xx": 1.0}}],
)
def test_wrong_options_are_refused_with_a_fix(options):
    with pytest.raises(PotentialError) as caught:
        load_potential("pair", **options)
    assert caught.value.fix
