from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from superionic.errors import AnalysisError, CompositionError
from superionic.thermodynamics.lattice_mc import ground_state
from superionic.thermodynamics.lattice_mc.ground_state import search_ground_state
from superionic.thermodynamics.lattice_mc.lattice import CallableEnergy, EwaldEnergy, IdealMixing, SwapSpace
from superionic.thermodynamics.lattice_mc.order_parameters import pair_shells, warren_cowley
from superionic.thermodynamics.lattice_mc.sampling import TemperatureLadder, run_monte_carlo
from superionic.units import BOLTZMANN_EV_PER_K

SHARED = Path(__file__).parents[3] / "shared" / "data" / "orderings"
CHARGES = {"Li": 1, "Y": 3, "Cl": -1, "X": 0}


def arrangements(space):
    """All decorations with the counts of a space, block after block, exclusions or not."""
    parts = []
    for block in range(len(space.vacancies)):
        codes = space.start[space.block_of == block]
        parts.append(sorted(set(itertools.permutations(codes.tolist()))))
    rows = [np.concatenate(choice) for choice in itertools.product(*parts)]
    return np.array(rows, dtype=np.uint8)


def two_species(n, k):
    """All decorations of one block with the first code on k of n sites."""
    rows = np.ones((0, n), dtype=np.uint8)
    chosen = np.array(list(itertools.combinations(range(n), k)))
    rows = np.ones((len(chosen), n), dtype=np.uint8)
    rows[np.arange(len(chosen))[:, None], chosen] = 0
    return rows


def ising(shape, coupling_eV):
    """Nearest neighbours on a periodic grid: `coupling_eV` s s' a bond, s = ±1 for the two codes."""
    grid = np.indices(shape).reshape(len(shape), -1).T
    index = {tuple(v): k for k, v in enumerate(grid)}
    matrix = np.zeros((len(grid), len(grid)))
    for k, v in enumerate(grid):
        for step in np.vstack([np.eye(len(shape), dtype=int), -np.eye(len(shape), dtype=int)]):
            matrix[k, index[tuple((v + step) % shape)]] += 0.5 * coupling_eV
    n = len(grid)
    start = np.repeat([0, 1], [n // 2, n - n // 2]).astype(np.uint8)
    energy = EwaldEnergy(matrix, np.tile([1.0, -1.0], (n, 1)), np.zeros(n))
    return SwapSpace(np.zeros(n, dtype=int), start, (None,)), energy, grid


def random_ions(seed=0, scale=0.02):
    """Two blocks, one with three species, in a random field; 11 sites, 4200 decorations."""
    rng = np.random.default_rng(seed)
    block_of = np.repeat([0, 1], [6, 5])
    start = np.array([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 1], dtype=np.uint8)
    m = rng.normal(size=(11, 11)) * scale
    charges = np.where((block_of == 0)[:, None], [1.0, 3.0, 0.0], [-1.0, -2.0, 0.0])
    energy = EwaldEnergy(m + m.T, charges, rng.normal(size=11) * scale, -5.0)
    return SwapSpace(block_of, start, (2, None)), energy


def boltzmann(energies, temperature):
    weights = np.exp(-(energies - energies.min()) / (BOLTZMANN_EV_PER_K * temperature))
    return weights / weights.sum()


def chi_squared_tail(counts, chances):
    expected = counts.sum() * chances
    return chi2.sf(float(np.sum((counts - expected) ** 2 / expected)), len(counts) - 1)


def count_visits(states, all_rows):
    index = {row.tobytes(): k for k, row in enumerate(all_rows)}
    counts = np.zeros(len(all_rows))
    for row in states:
        counts[index[row.tobytes()]] += 1
    return counts


def test_ideal_mixing_is_uniform():
    space = SwapSpace(np.repeat([0, 1], [4, 3]), np.array([0, 0, 1, 2, 0, 1, 1], dtype=np.uint8), (2, None))
    rows = arrangements(space)
    run = run_monte_carlo(space, IdealMixing(), temperature_K=300.0, n_sweeps=60_000, record_every=6)
    counts = count_visits(run.state.snapshots[:, 0], rows)
    assert len(rows) == 36
    assert chi_squared_tail(counts, np.full(len(rows), 1 / len(rows))) > 1e-3
    assert run.acceptance[0] == 1.0
    assert run.converged


@pytest.mark.parametrize("pairs", [[(0, 1), (2, 3), (4, 5)], [(0, 1), (1, 2), (5, 6), (3, 7)]])
def test_exclusions_leave_a_uniform_choice_of_what_they_allow(pairs):
    start = np.array([0, 2, 1, 2, 0, 2, 2, 2], dtype=np.uint8)
    # The first list couples sites within the block of vacancies; the second also reaches a blocked site.
    blocked = np.arange(8) == 6
    space = SwapSpace(np.zeros(8, dtype=int), start, (2,), np.array(pairs), blocked)
    rows = arrangements(space)
    rows = rows[space.allows(rows)]
    run = run_monte_carlo(space, IdealMixing(), temperature_K=300.0, n_sweeps=80_000, record_every=8)
    assert space.allows(run.state.snapshots[:, 0]).all()
    assert 10 < len(rows) < 105
    counts = count_visits(run.state.snapshots[:, 0], rows)
    assert chi_squared_tail(counts, np.full(len(rows), 1 / len(rows))) > 1e-3


def test_a_jammed_block_still_moves():
    """Each of six split positions holds one ion: it can only hop to its own twin."""
    pairs = np.arange(12).reshape(6, 2)
    space = SwapSpace(np.zeros(12, dtype=int), np.tile([0, 1], 6).astype(np.uint8), (1,), pairs)
    run = run_monte_carlo(space, IdealMixing(), temperature_K=300.0, n_sweeps=20_000, record_every=4)
    sides = run.state.snapshots[:, 0, ::2]
    counts = np.bincount(sides @ (1 << np.arange(6)), minlength=64)
    assert chi_squared_tail(counts.astype(float), np.full(64, 1 / 64)) > 1e-3


def test_ideal_mixing_has_no_short_range_order():
    grid = np.indices((4, 4, 4)).reshape(3, -1).T
    block_of = np.sort(grid[:, 0] % 2)
    start = np.concatenate([np.repeat([0, 1, 2], [10, 12, 10]), np.repeat([0, 1], [20, 12])]).astype(np.uint8)
    space = SwapSpace(block_of, start, (2, None))
    shells = pair_shells(4 * np.eye(3), grid / 4, block_of, 1.5)
    run = run_monte_carlo(space, IdealMixing(), temperature_K=300.0, n_sweeps=4000, shells=shells)
    pulls = run.order.values / run.order.errors
    assert np.max(np.abs(pulls)) < 4.0
    assert 0.4 < np.sqrt(np.mean(pulls**2)) < 1.6


@pytest.mark.parametrize(("shape", "coupling"), [((4, 4), 0.05), ((4, 4), -0.05), ((2, 2, 4), 0.04)])
def test_lattice_gas_against_the_exact_sum(shape, coupling):
    space, energy, grid = ising(shape, coupling)
    rows = two_species(16, 8)
    levels = energy.energies(rows)
    temperatures = np.array([900.0, 1500.0, 3000.0, 6000.0])
    cell = np.zeros((3, 3))
    np.fill_diagonal(cell, [*shape, *[9.0] * (3 - len(shape))])
    x = np.zeros((16, 3))
    x[:, : len(shape)] = grid / np.array(shape)
    shells = pair_shells(cell, x, space.block_of, 1.5)
    _, alphas = warren_cowley(rows, shells, space.block_of)
    run = run_monte_carlo(space, energy, temperature_K=temperatures, n_sweeps=12_000, seed=3, shells=shells)
    pulls = []
    for k, temperature in enumerate(temperatures):
        p = boltzmann(levels, temperature)
        mean = p @ levels
        capacity = (p @ levels**2 - mean**2) / (BOLTZMANN_EV_PER_K * temperature**2)
        pulls.append((run.energies_eV[k] - mean) / run.energy_errors_eV[k])
        pulls.append((run.heat_capacities_eV_per_K[k] - capacity) / run.heat_capacity_errors_eV_per_K[k])
        pulls += list((run.order.values[k] - p @ alphas) / run.order.errors[k])
    assert np.max(np.abs(pulls)) < 4.5
    assert np.sqrt(np.mean(np.square(pulls))) < 1.7


def test_boltzmann_weights_of_every_decoration():
    """Detailed balance on two blocks in a field: each of 900 decorations is met as often as it should be."""
    space, energy = random_ions()
    rows = arrangements(space)
    run = run_monte_carlo(space, energy, temperature_K=[800.0, 2000.0], n_sweeps=150_000, record_every=5, seed=1)
    for k, temperature in enumerate(run.temperatures_K):
        p = boltzmann(energy.energies(rows), temperature)
        counts = count_visits(run.state.snapshots[::4, k], rows)
        # Rare ones are put together, as χ² asks for.
        common = p * counts.sum() > 10
        chances, seen = p[common], counts[common]
        if not common.all():
            chances, seen = np.append(chances, p[~common].sum()), np.append(seen, counts[~common].sum())
        assert len(rows) == 90 * 10
        assert chi_squared_tail(seen, chances) > 1e-3


def test_exact_averages_of_ions_at_several_temperatures():
    space, energy = random_ions(seed=4, scale=0.05)
    levels = energy.energies(arrangements(space))
    run = run_monte_carlo(space, energy, ladder=TemperatureLadder(300.0, 6000.0), n_sweeps=15_000, seed=5)
    for k, temperature in enumerate(run.temperatures_K):
        p = boltzmann(levels, temperature)
        assert abs(run.energies_eV[k] - p @ levels) < 4.5 * run.energy_errors_eV[k]
    assert run.temperatures_K[0] == 300.0
    assert run.temperatures_K[-1] == 6000.0
    assert np.all(run.exchange > 0.15)
    assert run.round_trips > 50
    assert run.converged, run.flags
    for samples, energies in zip(run.samples, run.sample_energies_eV, strict=True):
        np.testing.assert_allclose(energy.energies(samples), energies, atol=1e-9)


def test_the_adapted_ladder_exchanges_as_asked():
    space, energy, _ = ising((4, 4, 4), 0.04)
    run = run_monte_carlo(space, energy, ladder=TemperatureLadder(800.0, 12_000.0), n_sweeps=2000)
    assert np.all((run.exchange > 0.15) & (run.exchange < 0.55))
    assert 0.2 < run.exchange.mean() < 0.45
    assert 5 <= len(run.temperatures_K) <= 9
    cut = run_monte_carlo(space, energy, ladder=TemperatureLadder(800.0, 12_000.0, max_replicas=3), n_sweeps=200)
    assert any("cut to 3" in flag for flag in cut.flags)


def assert_same_state(one, other):
    for field in dataclasses.fields(one):
        np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def test_segments_make_the_same_run():
    space, energy = random_ions()
    whole = run_monte_carlo(space, energy, temperature_K=[500.0, 900.0], n_sweeps=1300, seed=7)
    state = None
    for n in (1, 499, 300, 500):
        part = run_monte_carlo(
            space, energy, temperature_K=[500.0, 900.0] if state is None else None, n_sweeps=n, seed=7, state=state
        )
        state = part.state
    assert_same_state(whole.state, part.state)
    np.testing.assert_array_equal(whole.energies_eV, part.energies_eV)
    other = run_monte_carlo(space, energy, temperature_K=[500.0, 900.0], n_sweeps=1300, seed=8)
    assert not np.array_equal(other.state.energies_eV, whole.state.energies_eV)


def test_without_numba_the_run_is_the_same_bit_for_bit(monkeypatch):
    from superionic.thermodynamics.lattice_mc import kernels

    space, energy = random_ions()
    pairs = np.array([[0, 1]])
    space = SwapSpace(space.block_of, np.array([0, 2, 1, 1, 0, 2, 0, 0, 1, 1, 1]), (2, None), pairs)
    compiled = run_monte_carlo(space, energy, temperature_K=[500.0, 900.0], n_sweeps=60)
    quenched = ground_state._quenched(space, energy, compiled.state, 2)
    monkeypatch.setitem(sys.modules, "numba", None)
    spec = importlib.util.spec_from_file_location(kernels.__name__, kernels.__file__)
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    monkeypatch.setitem(sys.modules, kernels.__name__, plain)
    monkeypatch.setattr("superionic.thermodynamics.lattice_mc.kernels", plain)
    interpreted = run_monte_carlo(space, energy, temperature_K=[500.0, 900.0], n_sweeps=60)
    assert not hasattr(plain.run_sweeps, "py_func")
    assert_same_state(compiled.state, interpreted.state)
    np.testing.assert_array_equal(quenched, ground_state._quenched(space, energy, interpreted.state, 2))


def test_a_called_energy_makes_the_same_moves_as_its_tables():
    space, energy = random_ions()
    by_tables = run_monte_carlo(space, energy, temperature_K=[500.0, 900.0], n_sweeps=50, record_every=1)
    called = run_monte_carlo(
        space, CallableEnergy(energy.energies), temperature_K=[500.0, 900.0], n_sweeps=50, record_every=1
    )
    np.testing.assert_array_equal(called.state.snapshots, by_tables.state.snapshots)
    np.testing.assert_allclose(called.state.energies_eV, by_tables.state.energies_eV, atol=1e-12)


def test_failed_energies_reject_their_moves_and_are_flagged():
    space, energy = random_ions()

    def flaky(rows):
        return np.where(rows[:, 0] == 1, np.nan, energy.energies(rows))

    run = run_monte_carlo(space, CallableEnergy(flaky), temperature_K=2000.0, n_sweeps=200, record_every=1)
    assert not np.any(run.state.snapshots[:, 0, 0] == 1)
    assert run.state.n_failed > 10
    assert any("failed" in flag for flag in run.flags)


def test_short_or_stuck_runs_are_flagged():
    space, energy, _ = ising((4, 4), 0.05)
    short = run_monte_carlo(space, energy, temperature_K=[100.0, 110.0], n_sweeps=30)
    assert not short.converged
    apart = run_monte_carlo(space, energy, temperature_K=[50.0, 20_000.0], n_sweeps=2000)
    assert any("exchange" in flag for flag in apart.flags)


def brute_force(energy, rows, permutations, keep):
    """The lowest energies of distinct orderings, by looking at all decorations."""
    from superionic.thermodynamics.lattice_mc.kernels import canonical

    levels = energy.energies(rows)
    lowest = np.argsort(levels, kind="stable")[: 300 * keep]
    images = canonical(np.ascontiguousarray(rows[lowest]), np.array(permutations))
    found = {}
    for image, level in zip(images, levels[lowest], strict=True):
        found.setdefault(image.tobytes(), level)
    return sorted(found.values())[:keep], found


def test_search_finds_the_lowest_levels_of_a_grid():
    space, energy, grid = ising((4, 4), 0.05)
    index = {tuple(v): k for k, v in enumerate(grid)}
    shifts = np.array([[index[tuple((v + t) % 4)] for v in grid] for t in grid])
    levels, _ = brute_force(energy, two_species(16, 8), shifts, 10)
    found = search_ground_state(space, energy, budget=500_000, keep=10, permutations=shifts)
    np.testing.assert_allclose(found.energies_eV, levels, atol=1e-9)
    assert found.converged
    assert found.evidence.n_agreeing == 6
    assert found.evidence.attempts <= 500_000
    again = search_ground_state(space, energy, budget=500_000, keep=10, permutations=shifts)
    np.testing.assert_array_equal(found.decorations, again.decorations)


def test_species_of_equal_charge_are_one_to_the_search():
    space, energy = random_ions()
    charges = np.where((space.block_of == 0)[:, None], [1.0, 1.0, 0.0], [-1.0, -1.0, 0.0])
    same = EwaldEnergy(energy.matrix, charges, energy.field)
    found = search_ground_state(space, same, budget=100_000, keep=30)
    assert found.interchangeable
    # Where the two vacancies sit is all that matters: C(6, 2) patterns.
    assert len(found.decorations) == 15
    assert np.all(np.bincount(found.decorations[0, :6]) == 2)
    assert found.energies_eV[0] == pytest.approx(same.energies(arrangements(space)).min())
    flat = search_ground_state(space, EwaldEnergy(energy.matrix, charges * 0.0 + 1.0, energy.field), keep=3)
    assert flat.converged
    assert flat.interchangeable


def test_searches_that_disagree_are_not_converged():
    """A spin glass of 60 sites: a few sweeps each are not enough, some thousand are."""
    rng = np.random.default_rng(0)
    n = 60
    m = rng.normal(size=(n, n))
    energy = EwaldEnergy(m + m.T, np.tile([1.0, -1.0], (n, 1)), np.zeros(n))
    space = SwapSpace(np.zeros(n, dtype=int), np.repeat([0, 1], 30).astype(np.uint8), (None,))
    found = search_ground_state(space, energy, budget=20_000, n_searches=4, agree=4)
    assert not found.converged
    assert found.evidence.n_agreeing < 4
    enough = search_ground_state(space, energy, budget=1_000_000, n_searches=4, agree=4)
    assert enough.converged
    assert enough.energies_eV[0] <= found.energies_eV[0] + 1e-9


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize("supercell", ["1x1x1", "1x1x2"])
def test_search_equals_brute_force_on_crystals(supercell):
    from superionic.structures.crystal.composition import integer_compositions
    from superionic.structures.crystal.supercells import supercell_sites
    from superionic.structures.io.files import read_crystal
    from superionic.structures.orderings.electrostatics import ewald_matrix
    from superionic.structures.orderings.space import ordering_space

    crystal = read_crystal(SHARED / "lyc_orbit.cif")
    sites = supercell_sites(crystal, supercell)
    composition = integer_compositions(crystal, supercell, CHARGES)[0]
    listed = ordering_space(sites, composition)
    fixed = np.zeros(sites.n_sites)
    for group, counts in zip(composition.groups, composition.counts, strict=True):
        fixed[list(group)] = CHARGES[next(iter(counts))]
    energy = EwaldEnergy.from_sites(
        ewald_matrix(sites.cell_A, sites.fractional),
        listed.members,
        listed.block_of,
        [[CHARGES[s] for s in b.species] for b in listed.blocks],
        fixed,
    )
    start = np.concatenate([np.repeat(np.arange(len(b.counts)), b.counts) for b in listed.blocks])
    space = SwapSpace(listed.block_of, start, tuple(b.species.index("X") for b in listed.blocks))
    parts = [two_species(b.size, b.counts[0]) for b in listed.blocks]
    chosen = np.indices([len(p) for p in parts]).reshape(len(parts), -1)
    rows = np.concatenate([p[c] for p, c in zip(parts, chosen, strict=True)], axis=1)
    levels, images = brute_force(energy, rows, listed.permutations, 10)
    found = search_ground_state(space, energy, permutations=listed.permutations, keep=10, budget=1_000_000)
    np.testing.assert_allclose(found.energies_eV, levels, atol=1e-9)
    assert all(row.tobytes() in images for row in found.decorations)
    assert found.converged
    assert np.all(found.evidence.found_by >= 2)


def test_wrong_requests_are_refused():
    space, energy = random_ions()
    for wrong in (
        {},
        {"temperature_K": -3.0},
        {"temperature_K": [500.0, 400.0]},
        {"temperature_K": 3.0, "n_sweeps": 0},
    ):
        with pytest.raises(AnalysisError):
            run_monte_carlo(space, energy, **wrong)
    with pytest.raises(AnalysisError, match="swapped"):
        run_monte_carlo(SwapSpace(np.zeros(3, dtype=int), np.zeros(3), (None,)), IdealMixing(), temperature_K=300.0)
    other = SwapSpace(space.block_of, np.array([0, 0, 0, 1, 2, 2, 0, 0, 1, 1, 1]), (2, None))
    state = run_monte_carlo(space, energy, temperature_K=300.0, n_sweeps=1).state
    with pytest.raises(AnalysisError, match="another space"):
        run_monte_carlo(other, energy, state=state)
    with pytest.raises(AnalysisError, match="surrogate"):
        search_ground_state(space, CallableEnergy(energy.energies))
    with pytest.raises(AnalysisError, match="agree"):
        search_ground_state(space, energy, n_searches=2, agree=3)
    with pytest.raises(CompositionError, match="exclusion"):
        SwapSpace(np.zeros(2, dtype=int), np.zeros(2), (1,), np.array([[0, 1]]))
    with pytest.raises(AnalysisError, match="one energy for each row"):
        run_monte_carlo(space, CallableEnergy(lambda _: np.zeros(7)), temperature_K=300.0)


def test_search_keeps_exclusions():
    rng = np.random.default_rng(3)
    m = rng.normal(size=(14, 14))
    energy = EwaldEnergy(m + m.T, np.tile([1.0, 0.0], (14, 1)), rng.normal(size=14))
    pairs = np.array([[0, 1], [1, 2], [3, 9], [4, 5], [6, 12]])
    start = np.ones(14, dtype=np.uint8)
    start[[0, 2, 3, 4, 6]] = 0
    space = SwapSpace(np.zeros(14, dtype=int), start, (1,), pairs)
    rows = two_species(14, 5)
    levels = np.sort(energy.energies(rows[space.allows(rows)]))[:15]
    assert levels[0] > energy.energies(rows).min() + 1e-6
    found = search_ground_state(space, energy, budget=300_000, keep=15)
    assert space.allows(found.decorations).all()
    np.testing.assert_allclose(found.energies_eV, levels, atol=1e-9)
