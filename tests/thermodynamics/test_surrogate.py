from __future__ import annotations

import itertools

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.thermodynamics.lattice_mc.cluster_basis import cluster_basis
from superionic.thermodynamics.lattice_mc.ground_state import search_ground_state
from superionic.thermodynamics.lattice_mc.lattice import EwaldEnergy, SwapSpace
from superionic.thermodynamics.lattice_mc.order_parameters import pair_shells
from superionic.thermodynamics.lattice_mc.sampling import run_monte_carlo
from superionic.thermodynamics.lattice_mc.surrogate import fit_surrogate


def lattice(n=3):
    grid = np.indices((n, n, n)).reshape(3, -1).T
    return np.eye(3) * n, grid / n, grid


def translations(grid, n):
    index = {tuple(v): k for k, v in enumerate(grid)}
    return np.array([[index[tuple((v + t) % n)] for v in grid] for t in grid])


@pytest.fixture(scope="module")
def ternary():
    """27 sites in two blocks of 14 and 13: three species on one, two on the other."""
    cell, x, grid = lattice()
    block_of = np.repeat([0, 1], [14, 13])
    start = np.array([0] * 5 + [1] * 5 + [2] * 4 + [0] * 6 + [1] * 7, dtype=np.uint8)
    return SwapSpace(block_of, start, (None, None)), pair_shells(cell, x, block_of, 1.5), grid


def shuffled(space, n, seed):
    rng = np.random.default_rng(seed)
    rows = np.repeat(space.start[None], n, axis=0)
    for block in np.unique(space.block_of):
        here = space.block_of == block
        rows[:, here] = rng.permuted(rows[:, here], axis=1)
    return rows


def test_features_have_mean_zero_in_a_random_alloy(ternary):
    space, shells, _ = ternary
    basis = cluster_basis(space, shells, triplet_cutoff_A=1.45)
    features = basis.features(shuffled(space, 3000, 0))
    # Not exactly: without replacement pairs are anticorrelated by 1/(N − 1).
    assert np.all(np.abs(features.mean(axis=0)) < 1.0)
    assert np.all((features.std(axis=0) > 0.2) & (features.std(axis=0) < 3.0))
    assert len({i for i, _ in basis.terms}) == len(basis.orbits)


def test_tables_and_features_are_the_same_energy(ternary):
    space, shells, _ = ternary
    rng = np.random.default_rng(1)
    m = rng.normal(size=(27, 27))
    ewald = EwaldEnergy(m + m.T, np.tile([1.0, -1.0, 0.5], (27, 1)), rng.normal(size=27), 3.0)
    basis = cluster_basis(space, shells, triplet_cutoff_A=1.45, ewald=ewald)
    rows = shuffled(space, 80, 2)
    model = fit_surrogate(basis, rows, rng.normal(size=80) + 0.3 * ewald.energies(rows))
    model = type(model)(**{**vars(model), "coefficients_eV": rng.normal(size=len(basis.terms)) * 0.05})
    run = run_monte_carlo(space, model, temperature_K=[500.0, 1500.0], n_sweeps=60, record_every=1)
    # The loops add changes up; features know nothing of tables, pairs by site, or swaps.
    exact = model.energies(run.state.snapshots.reshape(-1, 27)).reshape(-1, 2)
    assert np.ptp(exact) > 0.1
    np.testing.assert_allclose(run.state.energies_eV, exact, rtol=0, atol=1e-9)


def test_a_hidden_cluster_expansion_is_recovered_exactly(ternary):
    space, shells, _ = ternary
    basis = cluster_basis(space, shells, triplet_cutoff_A=1.45)
    rng = np.random.default_rng(3)
    sizes = np.array([len(basis.orbits[i].blocks) for i, _ in basis.terms])
    truth = np.where(sizes == 2, rng.normal(size=len(sizes)), 0.0)
    rows = shuffled(space, 120, 4)
    model = fit_surrogate(basis, rows, basis.features(rows) @ truth - 7.0)
    assert model.triplet_cutoff_A == 0.0
    assert model.error_eV < 1e-4
    test = shuffled(space, 50, 5)
    np.testing.assert_allclose(model.energies(test), basis.features(test) @ truth - 7.0, atol=1e-3)


def test_a_term_needs_two_energies(ternary):
    space, shells, _ = ternary
    basis = cluster_basis(space, shells, triplet_cutoff_A=1.45)
    truth = np.random.default_rng(6).normal(size=len(basis.terms))
    for count in (8, 20, 40):
        rows = shuffled(space, count, 7)
        assert fit_surrogate(basis, rows, basis.features(rows) @ truth).n_terms <= count // 2 < len(basis.terms)


def test_triplets_are_taken_where_they_matter(ternary):
    space, shells, _ = ternary
    basis = cluster_basis(space, shells, triplet_cutoff_A=1.45)
    truth = np.random.default_rng(6).normal(size=len(basis.terms))
    rows = shuffled(space, 400, 7)
    model = fit_surrogate(basis, rows, basis.features(rows) @ truth)
    assert model.triplet_cutoff_A > 0.0
    assert model.error_eV < 1e-3


def test_leave_one_out_is_what_leaving_out_gives(ternary):
    space, shells, _ = ternary
    rows = shuffled(space, 30, 8)
    rng = np.random.default_rng(9)
    basis = cluster_basis(space, shells)
    model = fit_surrogate(basis, rows, basis.features(rows)[:, 0] + 0.1 * rng.normal(size=30))
    target = basis.features(rows)[:, 0] + 0.1 * rng.normal(size=30)
    model = fit_surrogate(basis, rows, target)
    chosen = model.coefficients_eV != 0
    x = basis.features(rows)[:, chosen]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    errors = []
    for k in range(30):
        keep = np.arange(30) != k
        design = np.column_stack([np.ones(29), x[keep]])
        ridge = 30 * model.penalty * np.diag([0.0] + [1.0] * x.shape[1])
        weights = np.linalg.solve(design.T @ design + ridge, design.T @ target[keep])
        errors.append(target[k] - weights @ np.concatenate([[1.0], x[k]]))
    assert model.error_eV == pytest.approx(float(np.sqrt(np.mean(np.square(errors)))), rel=1e-6)


def test_symmetry_splits_a_shell_by_orbits():
    cell, x, grid = lattice()
    space = SwapSpace(np.zeros(27, dtype=int), np.repeat([0, 1], [14, 13]).astype(np.uint8), (None,))
    shells = pair_shells(cell, x, space.block_of, 1.1)
    # Translations alone do not make x, y and z equal.
    assert len(cluster_basis(space, shells).orbits) == 1
    split = cluster_basis(space, shells, permutations=translations(grid, 3))
    assert sorted(len(o.sites) for o in split.orbits) == [27, 27, 27]


def test_sites_have_terms_where_a_block_joins_orbits():
    cell, x, grid = lattice()
    space = SwapSpace(np.zeros(27, dtype=int), np.repeat([0, 1, 2], [9, 10, 8]).astype(np.uint8), (None,))
    in_plane = translations(grid, 3)[grid[:, 0] == 0]  # three planes, which nothing makes equal
    basis = cluster_basis(space, pair_shells(cell, x, space.block_of, 1.1), permutations=in_plane)
    assert [len(o.sites) for o in basis.orbits if len(o.blocks) == 1] == [9, 9, 9]
    # An energy by which a species prefers one plane, and nothing else.
    rows = shuffled(space, 60, 2)
    first = grid[:, 0] == 0
    truth = -0.3 * (rows[:, first] == 1).sum(axis=1) + 0.1 * (rows[:, first] == 2).sum(axis=1)
    model = fit_surrogate(basis, rows, truth)
    assert (model.pair_cutoff_A, model.triplet_cutoff_A) == (0.0, 0.0)
    assert model.error_eV < 1e-5
    run = run_monte_carlo(space, model, temperature_K=[400.0, 1200.0], n_sweeps=60, record_every=1)
    snapshots = run.state.snapshots.reshape(-1, 27)
    exact = -0.3 * (snapshots[:, first] == 1).sum(axis=1) + 0.1 * (snapshots[:, first] == 2).sum(axis=1)
    np.testing.assert_allclose(run.state.energies_eV, exact.reshape(-1, 2), atol=1e-4)
    # Where the group makes all sites of a block equal, their sum is constant and there is no term.
    whole = cluster_basis(space, pair_shells(cell, x, space.block_of, 1.1), permutations=translations(grid, 3))
    assert all(len(o.blocks) > 1 for o in whole.orbits)


def test_ewald_as_a_term_finds_the_dielectric_constant():
    cell, x, _ = lattice()
    rng = np.random.default_rng(0)
    space = SwapSpace(np.zeros(27, dtype=int), np.repeat([0, 1], [14, 13]).astype(np.uint8), (None,))
    m = rng.normal(size=(27, 27))
    ewald = EwaldEnergy(m + m.T, np.tile([1.0, 0.0], (27, 1)), np.zeros(27), 1.0)
    basis = cluster_basis(space, pair_shells(cell, x, space.block_of, 1.1), ewald=ewald)
    rows = shuffled(space, 60, 1)
    model = fit_surrogate(basis, rows, ewald.energies(rows) / 5.0 + 2.0)
    assert model.coefficients_eV[0] == pytest.approx(0.2, abs=1e-4)


def test_impossible_requests_are_refused(ternary):
    space, shells, _ = ternary
    basis = cluster_basis(space, shells)
    with pytest.raises(AnalysisError, match="finite"):
        fit_surrogate(basis, shuffled(space, 6, 0), np.full(6, np.nan))


def test_a_surrogate_can_be_searched_for_its_ground_state():
    cell, x, _ = lattice()
    block_of = np.repeat([0, 1], [6, 6])
    start = np.array([0, 0, 1, 1, 2, 2, 0, 0, 0, 1, 1, 1], dtype=np.uint8)
    space = SwapSpace(block_of, start, (2, None))
    basis = cluster_basis(space, pair_shells(cell, x[:12], block_of, 1.5), triplet_cutoff_A=1.45)
    rows = shuffled(space, 300, 0)
    weights = np.random.default_rng(1).normal(size=len(basis.terms))
    model = fit_surrogate(basis, rows, basis.features(rows) @ weights)
    found = search_ground_state(space, model, budget=300_000, keep=5)
    first = sorted(set(itertools.permutations(start[:6].tolist())))
    second = sorted(set(itertools.permutations(start[6:].tolist())))
    everything = np.array([a + b for a, b in itertools.product(first, second)], dtype=np.uint8)
    np.testing.assert_allclose(found.energies_eV, np.sort(model.energies(everything))[:5], atol=1e-9)
    assert found.converged
    assert not found.interchangeable
