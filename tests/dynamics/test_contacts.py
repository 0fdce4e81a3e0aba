"""The nearest contact: what a search for all pairs gives."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

from superionic.dynamics.contacts import nearest_share
from superionic.dynamics.md import MDSettings
from superionic.dynamics.monitors import Limits, Monitor
from superionic.errors import CalculationFailed
from superionic.potentials.neighbours import pairs_within

SKEW = np.array([[9.0, 0.0, 0.0], [-4.5, 7.8, 0.0], [1.0, 0.7, 8.0]])


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_least_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions, radii = rng.uniform(-2.0, 3.0, (40, 3)) @ SKEW, rng.uniform(0.5, 1.5, 40)
    pairs = pairs_within(positions, SKEW, True, 3.0)
    expected = (pairs.distances_A / (radii[pairs.centre] + radii[pairs.neighbour])).min()
    assert expected < 1.0
    assert nearest_share(positions, SKEW, np.linalg.inv(SKEW), radii) == pytest.approx(expected, abs=1e-12)


def test_a_position_that_is_no_number_is_not_passed_over() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0], [3.0, 0.0, 0.0]])
    assert np.isnan(nearest_share(positions, SKEW, np.linalg.inv(SKEW), np.ones(3)))


@pytest.mark.parametrize("edge", [2.2, 9.0])  # in the small cell, images beyond the nearest count
def test_a_run_stops_at_a_contact_through_the_boundary_and_not_just_before(edge: float) -> None:
    limits = Limits()
    allowed = limits.distance_fraction * 2.0 * float(covalent_radii[17])
    settings = MDSettings(ensemble="nvt", temperature_K=300.0)
    for factor, stops in ((0.999, True), (1.001, False)):
        gap = factor * allowed
        positions = [[0.01, 1.0, 1.0], [0.01 - gap, 1.0, 1.0]]
        atoms = Atoms("Cl2", positions=positions, cell=[max(edge, 2.0 * gap + 0.3), edge + 1.0, edge + 1.0], pbc=True)
        monitor = Monitor(atoms.numbers, settings, limits, float(atoms.get_volume()))
        if stops:
            with pytest.raises(CalculationFailed, match="Cl and Cl"):
                monitor.check_structure(atoms, 1)
        else:
            monitor.check_structure(atoms, 1)
