from __future__ import annotations

import json

import numpy as np
import pytest

from superionic import enumerate_orderings
from superionic.enumeration.chosen import list_lowest
from superionic.enumeration.counted import counted_spaces
from superionic.enumeration.lattice_of import lattice_of, nearest_shells
from superionic.enumeration.learning import (
    KnownEnergies,
    LearningSettings,
    decoration_of_repeated,
    draws_of_larger_cell,
    first_decorations,
    learned_draws,
    propose,
)
from superionic.enumeration.monte_carlo import monte_carlo, most_informative
from superionic.errors import AnalysisError, CompositionError
from superionic.execution.codec import to_tree
from superionic.structures.io.files import read_crystal
from superionic.structures.orderings.electrostatics import supercell_ewald_matrix
from superionic.structures.orderings.ranking import lowest_orderings
from superionic.structures.orderings.space import OrderingSpace
from superionic.units import BOLTZMANN_EV_PER_K

CHARGES = {"Li": 1.0, "Y": 3.0, "Cl": -1.0}


@pytest.fixture(scope="module")
def small(lyc_file) -> OrderingSpace:
    """360 decorations, 30 of them distinct: everything about it can be summed."""
    return counted_spaces(read_crystal(lyc_file), "1x1x1", CHARGES)[0].space


@pytest.fixture(scope="module")
def larger(lyc_file) -> OrderingSpace:
    return counted_spaces(read_crystal(lyc_file), "1x1x2", CHARGES)[0].space


def test_draws_follow_boltzmann(small):
    temperature, dielectric = 800.0, 10.0
    beta = 1.0 / (BOLTZMANN_EV_PER_K * temperature)
    everything = list_lowest(small, CHARGES, 1000)
    energies = everything.energies_eV / dielectric
    weights = everything.table.degeneracies * np.exp(-beta * (energies - energies.min()))
    weights /= weights.sum()
    mean = weights @ energies
    capacity = beta**2 * (weights @ energies**2 - mean**2)

    draws = 500
    found = monte_carlo(small, CHARGES, draws, temperature_K=temperature, dielectric=dielectric, seed=1)
    told = found.evidence
    assert told.converged
    assert told.flags == ()
    assert abs(told.mean_energy_eV - mean) < 5 * told.mean_energy_error_eV
    assert abs(told.heat_capacity_kB - capacity) < 5 * told.heat_capacity_error_kB
    # The draws themselves: each distinct ordering as often as its weight says, within what counting allows.
    assert found.times_drawn.sum() == draws
    times = {codes.tobytes(): int(n) for codes, n in zip(found.table.codes, found.times_drawn, strict=True)}
    expected = draws * weights
    observed = np.array([times.pop(codes.tobytes(), 0) for codes in everything.table.codes])
    assert not times
    often = expected >= 5
    chi2 = float(np.sum((observed[often] - expected[often]) ** 2 / expected[often]))
    assert chi2 < often.sum() + 5 * np.sqrt(2 * often.sum())
    assert abs(observed[~often].sum() - expected[~often].sum()) < 5 * np.sqrt(expected[~often].sum() + 1)
    # Energies are those of bare point charges, as everywhere.
    lowest = dict(zip([c.tobytes() for c in everything.table.codes], everything.energies_eV, strict=True))
    np.testing.assert_allclose(found.energies_eV, [lowest[c.tobytes()] for c in found.table.codes], rtol=0, atol=1e-9)


def test_a_high_permittivity_leaves_chance_alone(larger):
    told = monte_carlo(larger, CHARGES, 100, dielectric=1e6, n_sweeps=2000).evidence
    order = told.order_parameters
    assert len(order) > 10
    assert all(abs(p.warren_cowley) < 5 * p.error + 1e-9 for p in order)
    assert told.heat_capacity_kB < 1e-6
    cold = monte_carlo(larger, CHARGES, 100, dielectric=10.0, n_sweeps=2000).evidence
    # Y on both of two sites 3 Å apart is as good as excluded.
    worst = most_informative(cold.order_parameters, 1)[0]
    assert (worst.species_a, worst.species_b, worst.warren_cowley > 0.9) == ("Y", "Y", True)
    json.dumps(to_tree(cold), allow_nan=False)


def test_a_seed_is_a_run(small):
    def drawn(seed):
        found = monte_carlo(small, CHARGES, 20, n_sweeps=500, seed=seed)
        return found.table.codes.tolist(), found.times_drawn.tolist(), found.evidence

    assert drawn(3) == drawn(3)
    assert drawn(3)[:2] != drawn(4)[:2]


def test_ions_of_equal_charge_mix_by_chance(lyc_file):
    result = enumerate_orderings(
        lyc_file, axes=["Cl:Br:x=3"], supercell="1x1x1", monte_carlo_samples=50, sweeps=2000, temperature_K=900.0
    )
    values = result.to_dict()
    assert (values["method"], values["evidence"]["temperature_K"]) == ("monte-carlo", 900.0)
    assert sum(values["times_drawn"]) == values["evidence"]["independent_draws"] == 50
    mixed = [p for p in values["evidence"]["order_parameters"] if {p["species_a"], p["species_b"]} == {"Br", "Cl"}]
    assert mixed
    assert all(abs(p["warren_cowley"]) < 5 * p["error"] + 1e-9 for p in mixed)
    frames = result.atoms()
    assert all(frame.info["method"] == "monte-carlo" for frame in frames)
    assert sum(frame.info["times_drawn"] for frame in frames) == 50


def test_what_cannot_be_drawn_is_said(small, lyc_file):
    few = monte_carlo(small, CHARGES, 5000, n_sweeps=200)
    assert any("of 5000 draws are independent" in flag for flag in few.evidence.flags)
    assert few.times_drawn.sum() == few.evidence.independent_draws < 5000
    for wrong in ({"number": 0}, {"temperature_K": 0.0}, {"dielectric": -1.0}, {"n_sweeps": 0}):
        with pytest.raises(CompositionError):
            monte_carlo(small, CHARGES, **{"number": 1, **wrong})
    with pytest.raises(CompositionError, match="or drawn at a temperature"):
        enumerate_orderings(lyc_file, monte_carlo_samples=5, sample_draws=5)


def test_without_freedom_there_is_no_monte_carlo(tmp_path):
    from ase.build import bulk
    from ase.io import write

    path = tmp_path / "licl.cif"
    write(path, bulk("LiCl", "rocksalt", a=5.13, cubic=True))
    with pytest.raises(CompositionError, match="no freedom"):
        enumerate_orderings(path, monte_carlo_samples=5)


def test_shells_are_the_nearest_of_each_pair_of_groups(larger):
    one, two = nearest_shells(larger, 1), nearest_shells(larger, 2)
    assert len(one.distances_A) == len(np.unique(two.blocks, axis=0))
    assert len(two.distances_A) <= 2 * len(one.distances_A)
    for blocks, distance in zip(one.blocks, one.distances_A, strict=True):
        assert distance == min(two.distances_A[np.all(two.blocks == blocks, axis=1)])
    assert np.bincount(two.shell).min() > 0


LEARNING = LearningSettings(temperature_K=800.0, n_sweeps=1000, pair_cutoff_A=5.0, triplet_cutoff_A=0.0)


def learn(space, energy, *, initial, max_rounds, tolerance=0.3, batch=6, fails=lambda row: False):
    """The loop that the campaign spreads over tasks."""
    asked = [first_decorations(space, CHARGES, initial, temperature_K=800.0, dielectric=5.0, n_sweeps=1000, seed=1)]
    known, values, fits, expected, met = [], [], [], np.zeros(0), None
    for number in range(max_rounds + 1):
        good = np.array([not fails(row) for row in asked[-1]])
        new = energy(asked[-1][good])
        known, values = [*known, *asked[-1][good]], [*values, *new]
        energies = KnownEnergies(
            decorations=np.array(known),
            energies_eV=np.array(values),
            tried=np.concatenate(asked),
            fresh=new if number else expected,
            expected_eV=expected[good] if number else expected,
        )
        if number == max_rounds:
            break
        found = propose(space, CHARGES, energies, batch, LEARNING, number)
        error, met = found.fit.error_on_fresh_meV_per_atom, found.error_on_met_meV_per_atom
        if not len(found.decorations) or (error is not None and error < tolerance):
            break
        fits, expected = [*fits, found.fit], found.expected_eV
        asked.append(found.decorations)
    chosen = learned_draws(
        space,
        CHARGES,
        energies,
        20,
        LEARNING,
        tolerance_meV_per_atom=tolerance,
        fits=fits,
        seed=7,
        energy_name="test",
        error_on_met_meV_per_atom=met,
    )
    return chosen, asked


def test_energies_of_a_small_cell_order_a_larger_one(small, larger):
    everything = list_lowest(small, CHARGES, 1000)
    structures, energies = everything.atoms(small), everything.energies_eV / 12.0
    repeated = [decoration_of_repeated(larger, atoms) for atoms in structures]
    screened = lattice_of(larger, CHARGES, np.random.default_rng(0)).screened(12.0)
    assert screened.energies(np.array(repeated)) == pytest.approx(2.0 * energies)
    noisy = energies + np.random.default_rng(0).normal(0.0, 0.003, len(energies))  # 0.1 meV/atom
    drawn = draws_of_larger_cell(
        larger, CHARGES, structures, noisy, 20, LEARNING, tolerance_meV_per_atom=0.3, seed=7, energy_name="test"
    )
    evidence = drawn.evidence
    assert evidence.surrogate.fits[0].energies == len(structures)
    assert evidence.surrogate.error_meV_per_atom == pytest.approx(0.1, abs=0.05)
    # What the draws follow is the energy itself, whose averages are known without a fit.
    direct = monte_carlo(larger, CHARGES, 20, temperature_K=800.0, dielectric=12.0, n_sweeps=1000, seed=8).evidence
    error = np.hypot(evidence.mean_energy_error_eV, direct.mean_energy_error_eV)
    assert evidence.mean_energy_eV == pytest.approx(direct.mean_energy_eV, abs=4.0 * error)
    assert drawn.times_drawn.sum() == evidence.independent_draws


def test_a_small_cell_that_does_not_repeat_to_the_large_one_is_left_out(small, larger):
    lowest = list_lowest(small, CHARGES, 6)
    (atoms, *_), energies = lowest.atoms(small), lowest.energies_eV
    other = atoms.copy()
    other.symbols[next(atom.index for atom in other if atom.symbol == "Li")] = "Y"
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array * 1.01, scale_atoms=True)
    assert decoration_of_repeated(larger, other) is None
    assert decoration_of_repeated(larger, strained) is None
    with pytest.raises(AnalysisError, match="2 orderings of smaller cells 0 repeat"):
        draws_of_larger_cell(
            larger,
            CHARGES,
            [other, strained],
            energies[:2],
            5,
            LEARNING,
            tolerance_meV_per_atom=1.0,
            seed=1,
            energy_name="test",
        )


def test_a_surrogate_learns_energies_that_it_can_have(larger):
    screened = lattice_of(larger, CHARGES, np.random.default_rng(0)).screened(12.0)
    shells = nearest_shells(larger, 1)
    near = shells.shell == 0
    assert larger.blocks[shells.blocks[0, 0]].species[0] == "Li"

    def energy(decorations):
        # Screened charges, and neighbours that attract each other, of which charges know nothing.
        together = (decorations[:, shells.first[near]] == 0) & (decorations[:, shells.second[near]] == 0)
        return screened.energies(decorations) - 0.1 * together.sum(axis=1)

    chosen, asked = learn(larger, energy, initial=20, max_rounds=4)
    told = chosen.evidence
    surrogate = told.surrogate
    assert surrogate.surrogate_converged
    assert surrogate.error_meV_per_atom < 0.1
    fits = surrogate.fits
    assert fits[0].error_on_fresh_meV_per_atom is None
    assert fits[-1].error_on_fresh_meV_per_atom == surrogate.error_meV_per_atom
    assert fits[-1].energies == sum(map(len, asked)) < 50
    everything = np.concatenate(asked)
    assert len(np.unique(everything, axis=0)) == len(everything)
    assert larger.allows(everything).all()
    # The sum over all 1,176,120 decorations.
    listed = lowest_orderings(larger, supercell_ewald_matrix(larger.sites), CHARGES, 100_000)
    assert listed.degeneracies.sum() == 1_176_120
    exact = energy(listed.decorations)
    weights = listed.degeneracies * np.exp(-(exact - exact.min()) / (BOLTZMANN_EV_PER_K * 800.0))
    mean = weights @ exact / weights.sum()
    unweighted = listed.degeneracies @ screened.energies(listed.decorations) / 1_176_120
    assert abs(told.mean_energy_eV - mean) < 5 * told.mean_energy_error_eV + 0.005 < 0.1 * abs(unweighted - mean)


def test_a_small_space_is_evaluated_until_nothing_new_is_met(small):
    lattice = lattice_of(small, CHARGES, np.random.default_rng(0))
    broken = None

    def fails(row):
        nonlocal broken
        broken = row.tobytes() if broken is None else broken
        return row.tobytes() == broken

    chosen, asked = learn(small, lattice.screened(8.0).energies, initial=10, max_rounds=9, fails=fails)
    told = chosen.evidence.surrogate
    assert told.all_that_is_met_was_evaluated or told.surrogate_converged
    # The one that failed is not asked for again.
    assert sum(row.tobytes() == broken for part in asked for row in part) == 1
    assert told.fits[-1].energies == sum(map(len, asked)) - 1


def test_learning_that_is_cut_short_says_so(larger):
    noise = np.random.default_rng(5)
    chosen, _ = learn(larger, lambda rows: noise.normal(0.0, 3.0, len(rows)), initial=8, max_rounds=1)
    assert not chosen.evidence.surrogate.surrogate_converged
    assert not chosen.evidence.converged
    assert chosen.evidence.surrogate.error_meV_per_atom > 10
    assert len(chosen) > 0
