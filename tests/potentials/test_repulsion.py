"""Repulsion of pairs, against pair potentials whose curves are known on paper."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.optimize import brentq

from superionic.errors import SuperionicError
from superionic.potentials.base import BasePotential, Prediction, load_potential
from superionic.potentials.repulsion import find_hole, holes_within_reach, repulsion_curves
from superionic.units import BOLTZMANN_EV_PER_K

A_EV, B_PER_A, C_EV_A6 = 1000.0, 3.5, 40.0


def buckingham_eV(r):
    return A_EV * math.exp(-B_PER_A * r) - C_EV_A6 / r**6


def slope_eV_per_A(r):
    return -A_EV * B_PER_A * math.exp(-B_PER_A * r) + 6.0 * C_EV_A6 / r**7


class Buckingham(BasePotential):
    """exp−6 between two atoms: its energy falls without bound at short distances."""

    def __init__(self):
        super().__init__(load_potential("pair").identity)

    def evaluate(self, atoms, *, stress=True):
        vector = atoms.positions[1] - atoms.positions[0]
        r = float(np.linalg.norm(vector))
        push = slope_eV_per_A(r) * vector / r
        return Prediction(buckingham_eV(r), np.array([push, -push]), np.zeros(6) if stress else None)


DIMER = Atoms("Li2", positions=[[0, 0, 0], [2.0, 2.0, 1.0]])


def test_a_curve_is_that_of_the_pair_and_its_hole_that_of_the_formula():
    (curve,) = repulsion_curves(DIMER, Buckingham(), step_A=0.01)
    assert curve.pair == ("Li", "Li")
    assert curve.distances_A[0] == pytest.approx(3.0)
    assert curve.distances_A[-1] == pytest.approx(0.5)
    start = buckingham_eV(3.0)
    assert curve.energies_eV == pytest.approx([buckingham_eV(r) - start for r in curve.distances_A])
    assert curve.forces_eV_per_A == pytest.approx([-slope_eV_per_A(r) for r in curve.distances_A])
    # Buckingham's catastrophe is at the root of the derivative, its barrier the energy there.
    top = brentq(slope_eV_per_A, 0.8, 1.5)
    assert curve.core_A == pytest.approx(0.65 * 2 * 1.28)
    assert curve.hole.distance_A == pytest.approx(top, abs=0.01)
    assert curve.hole.barrier_eV == pytest.approx(buckingham_eV(top) - start, rel=1e-3)
    assert curve.hole.depth_eV == pytest.approx(buckingham_eV(top) - buckingham_eV(0.5), rel=1e-3)
    # Above 20 kT no collision in nanoseconds reaches it.
    reached_K = curve.hole.barrier_eV / (20.0 * BOLTZMANN_EV_PER_K)
    assert holes_within_reach([curve], 0.99 * reached_K) == ()
    assert holes_within_reach([curve, curve], 1.01 * reached_K) == (curve.hole_words,)
    assert curve.hole_words.startswith("Li–Li below ")


def test_a_crystal_has_a_curve_for_each_pair_of_neighbours_and_a_repulsive_one_no_hole():
    crystal = bulk("LiCl", "rocksalt", a=5.14, cubic=True)
    crystal.rattle(0.05, seed=2)
    potential = load_potential("pair")
    curves = repulsion_curves(crystal, potential)
    assert [curve.pair for curve in curves] == [("Li", "Li"), ("Li", "Cl"), ("Cl", "Cl")]
    for curve in curves:
        assert list(curve.distances_A) == sorted(curve.distances_A, reverse=True)
        assert curve.energies_eV[0] == pytest.approx(0.0, abs=1e-9)
        assert curve.hole is None
        assert not curve.ended
        # The force is the derivative of the energy: Simpson's rule over steps of 0.1 Å, where the curve is smooth.
        r, e, f = (np.array(v) for v in (curve.distances_A, curve.energies_eV, curve.forces_eV_per_A))
        smooth = np.flatnonzero((r < 2.4) & (r > 1.2))[::2]
        for k in smooth[:-1]:
            work = (r[k] - r[k + 2]) / 6.0 * (f[k] + 4.0 * f[k + 1] + f[k + 2])
            assert e[k + 2] - e[k] == pytest.approx(work, rel=0.02, abs=0.02)
    only = repulsion_curves(crystal, potential, pairs=[("Cl", "Li")])
    assert only == curves[1:2]
    with pytest.raises(SuperionicError, match="K-Li"):
        repulsion_curves(crystal, potential, pairs=[("K", "Li")])


def test_the_python_of_the_guide_runs(capsys, monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    code = (root / "docs" / "how-to" / "train.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    exec(compile(code, "train.md", "exec"), {})
    assert capsys.readouterr().out.count("no hole") == 5


def test_what_is_a_hole_and_what_is_not():
    distances = [3.0, 2.5, 2.0, 1.6, 1.4, 1.2, 1.0]
    # A site that the pair slips into on its way is outside the core.
    assert find_hole(distances, [0.0, 0.8, 0.2, 2.0, 3.0, 5.0, 9.0], 1.8) is None
    turned = find_hole(distances, [0.0, 0.8, 0.2, 2.0, 1.5, 1.0, 9.0], 1.8)
    assert (turned.distance_A, turned.barrier_eV, turned.depth_eV) == (1.6, 2.0, 1.0)
    # A pair that attracts down to its core has no barrier at all.
    below = find_hole(distances, [0.0, -0.5, -1.0, -1.5, -2.0, 4.0, 9.0], 1.8)
    assert (below.distance_A, below.barrier_eV, below.depth_eV) == (1.6, 0.0, 0.5)


def test_a_curve_ends_where_the_potential_gives_up():
    class GivesUp(Buckingham):
        def evaluate(self, atoms, *, stress=True):
            prediction = super().evaluate(atoms, stress=stress)
            r = float(np.linalg.norm(atoms.positions[1] - atoms.positions[0]))
            return prediction if r > 1.45 else Prediction(math.nan, prediction.forces_eV_per_A)

    (curve,) = repulsion_curves(DIMER, GivesUp())
    assert curve.distances_A[-1] == pytest.approx(1.5)
    assert curve.ended.startswith("at 1.40 Å")
