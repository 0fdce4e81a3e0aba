"""Descriptors of surroundings, and committees."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from superionic.errors import EngineError, PotentialError
from superionic.potentials.base import load_potential
from superionic.potentials.committee import Committee
from superionic.potentials.descriptors import (
    atomic_descriptors,
    built_in_descriptors,
    structure_features,
)
from superionic.potentials.reference import li3ycl6_cell
from superionic.training.committee import disagreement
from superionic.training.dataset import Targets
from superionic.training.diverse import farthest_points

NUMBERS = [3, 17, 39]


def rattled(seed=1, width=0.1):
    atoms = li3ycl6_cell()
    atoms.rattle(width, seed=seed)
    return atoms


def moved(atoms, order):
    """The same crystal, turned, shifted, mirrored, and with its atoms in another order."""
    other = atoms.copy()
    other.rotate(33.0, (1, 2, 3), rotate_cell=True)
    other.set_cell(np.array(other.cell) @ np.diag([1.0, 1.0, -1.0]), scale_atoms=True)
    other.positions += 1.7
    other.wrap()
    return other[order]


def test_built_in_descriptors_do_not_see_turns_shifts_mirrors_or_order():
    atoms = rattled()
    order = np.random.default_rng(0).permutation(len(atoms))
    here, there = built_in_descriptors(atoms, NUMBERS), built_in_descriptors(moved(atoms, order), NUMBERS)
    assert here.shape == (30, 60)
    np.testing.assert_allclose(there, here[order], atol=1e-10)


def test_built_in_descriptors_are_continuous_at_the_cutoff_and_see_angles():
    atoms = bulk("LiCl", "rocksalt", a=5.13, cubic=True)
    distances = np.sort(atoms.get_all_distances(mic=True)[0])
    step = 1.0e-4
    for cutoff in (distances[1] + step, distances[4] + step):
        below, above = (built_in_descriptors(atoms, [3, 17], cutoff + shift) for shift in (-2 * step, 0.0))
        assert np.abs(above - below).max() < 1e-2
    # Two neighbours in line or at right angles: the same distances, so only angular descriptors differ.
    from ase import Atoms

    line = Atoms("Li3", positions=[[0, 0, 0], [2.5, 0, 0], [-2.5, 0, 0]])
    bent = Atoms("Li3", positions=[[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0]])
    difference = np.abs(built_in_descriptors(line, [3], 4.0) - built_in_descriptors(bent, [3], 4.0))[0]
    assert difference[:10].max() < 1e-12
    assert difference[10:].max() > 0.1


def test_an_element_that_is_not_named_is_refused():
    with pytest.raises(PotentialError):
        built_in_descriptors(li3ycl6_cell(), [3, 17])


def test_structures_are_told_apart_by_one_ion_that_moved():
    atoms = li3ycl6_cell()
    hopped = atoms.copy()
    hopped.positions[int(np.flatnonzero(atoms.numbers == 3)[0])] += 1.0

    def features(structure):
        return structure_features(built_in_descriptors(structure, NUMBERS), structure.numbers, NUMBERS)

    still, shaken = features(atoms), features(rattled(width=0.01))
    assert np.linalg.norm(features(hopped) - still) > 3.0 * np.linalg.norm(shaken - still)
    # An element that a structure lacks leaves its block empty, and lengths agree.
    assert features(atoms[atoms.numbers != 39]).shape == still.shape


def test_farthest_points_in_descriptors_find_the_one_strange_frame():
    frames = [rattled(seed, 0.02) for seed in range(30)]
    frames[17].positions[0] += [0.0, 0.0, 1.2]
    rows = [structure_features(built_in_descriptors(frame, NUMBERS), frame.numbers, NUMBERS) for frame in frames]
    assert farthest_points(np.array(rows), 2).tolist() == [0, 17]


def test_a_potential_without_descriptors_gets_the_built_in_ones():
    pair = load_potential("pair")
    atoms = rattled()
    np.testing.assert_array_equal(atomic_descriptors(pair, atoms, NUMBERS), built_in_descriptors(atoms, NUMBERS))


def test_a_committee_says_how_much_its_members_disagree():
    members = [load_potential("pair", charge_scale=scale) for scale in (1.0, 0.9, 0.95)]
    committee = Committee(members)
    atoms = rattled()
    said = [member.evaluate(atoms) for member in members]
    targets = [Targets(np.array([s.energy_eV]), (s.forces_eV_per_A,), np.array([s.stress_eV_per_A3])) for s in said]
    np.testing.assert_allclose(committee.force_deviations(atoms), disagreement(targets).forces_eV_per_A[0])
    np.testing.assert_array_equal(committee.extrapolation_grade(atoms), committee.force_deviations(atoms))
    np.testing.assert_array_equal(committee.evaluate(atoms).forces_eV_per_A, said[0].forces_eV_per_A)
    mean = Committee(members, drive="mean").evaluate(atoms)
    assert mean.energy_eV == pytest.approx(np.mean([s.energy_eV for s in said]))
    np.testing.assert_allclose(mean.stress_eV_per_A3, np.mean([s.stress_eV_per_A3 for s in said], axis=0))
    assert Committee(members, drive="mean").evaluate(atoms, stress=False).stress_eV_per_A3 is None
    with pytest.raises(PotentialError):
        Committee(members[:1])


@pytest.mark.parametrize(("engine", "model", "width"), [("chgnet", None, 64), ("mace", "test", 8)])
def test_the_potentials_own_descriptors_are_invariant(engine_call, engine, model, width):
    try:
        result = engine_call(
            engine, "superionic.potentials.conformance:describe_surroundings", {"name": engine, "model": model}
        )
    except EngineError as error:
        pytest.skip(str(error))
    assert result["shape"] == [30, width]
    assert result["largest_change"] < 1e-4 * result["largest"]
