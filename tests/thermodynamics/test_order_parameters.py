from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.thermodynamics.lattice_mc.order_parameters import (
    autocorrelation_time,
    equilibrated_from,
    mean_and_error,
    pair_shells,
    warren_cowley,
)


def cubic(n):
    """n³ sites of a simple cubic lattice of 1 Å, as fractional coordinates and a cell."""
    grid = np.indices((n, n, n)).reshape(3, -1).T
    return np.eye(3) * n, grid / n, grid


def test_shells_of_the_simple_cubic_lattice():
    cell, x, _ = cubic(4)
    shells = pair_shells(cell, x, np.zeros(64, dtype=int), 1.8)
    assert shells.distances_A == pytest.approx([1.0, np.sqrt(2), np.sqrt(3)])
    assert np.bincount(shells.shell).tolist() == [64 * 6 // 2, 64 * 12 // 2, 64 * 8 // 2]


def test_shells_count_periodic_images_and_leave_out_a_site_with_itself():
    cell, x, _ = cubic(2)
    shells = pair_shells(cell, x, np.zeros(8, dtype=int), 2.1)
    # At 1 Å each site sees each of three neighbours twice; at 2 Å only its own image.
    assert np.bincount(shells.shell)[0] == 8 * 6 // 2
    assert shells.distances_A[-1] < 1.9


def test_shells_between_blocks_put_the_earlier_block_first():
    cell, x, grid = cubic(2)
    block_of = 1 - grid.sum(axis=1) % 2
    shells = pair_shells(cell, x, block_of, 1.1)
    assert shells.blocks.tolist() == [[0, 1]]
    assert set(block_of[shells.first]) == {0}


def test_no_pair_in_reach_is_an_error():
    cell, x, _ = cubic(2)
    with pytest.raises(AnalysisError, match="longer cutoff"):
        pair_shells(cell, x, np.zeros(8, dtype=int), 0.5)


def test_rock_salt_order_has_the_known_parameters():
    cell, x, grid = cubic(4)
    block_of = np.zeros(64, dtype=int)
    codes = (grid.sum(axis=1) % 2).astype(np.uint8)
    parameters, values = warren_cowley(codes[None], pair_shells(cell, x, block_of, 1.5), block_of)
    # All neighbours are unlike, no second neighbours are; by chance 32/63 of the pairs would be.
    assert values[0] == pytest.approx([1.0 - 63.0 / 32.0, 1.0])
    assert [(p.code_a, p.code_b) for p in parameters] == [(0, 1), (0, 1)]


def test_the_mean_over_all_permutations_is_zero_for_three_species_and_two_blocks():
    cell, x, grid = cubic(4)
    block_of = np.sort((grid[:, 0] % 2).astype(np.int64))
    shells = pair_shells(cell, x, block_of, 1.5)
    rng = np.random.default_rng(0)
    first = np.repeat([0, 1, 2], [10, 10, 12]).astype(np.uint8)
    second = np.repeat([0, 1], [8, 24]).astype(np.uint8)
    draws = np.array([np.concatenate([rng.permutation(first), rng.permutation(second)]) for _ in range(4000)])
    parameters, values = warren_cowley(draws, shells, block_of)
    error = values.std(axis=0) / np.sqrt(len(values))
    assert len(parameters) >= 10
    assert np.max(np.abs(values.mean(axis=0)) / error) < 4.0


def test_autocorrelation_time_of_an_autoregressive_process():
    rng = np.random.default_rng(1)
    a, n = 0.9, 200_000
    x = np.zeros(n)
    noise = rng.normal(size=n)
    for k in range(1, n):
        x[k] = a * x[k - 1] + noise[k]
    exact = 0.5 + a / (1.0 - a)
    assert autocorrelation_time(x) == pytest.approx(exact, rel=0.06)
    assert autocorrelation_time(rng.normal(size=10_000)) == pytest.approx(0.5, abs=0.05)
    assert autocorrelation_time(np.ones(100)) == 0.5
    _, error = mean_and_error(x)
    assert error == pytest.approx(np.sqrt(x.var() * 2 * exact / n), rel=0.05)


def test_equilibration_is_found():
    rng = np.random.default_rng(2)
    series = rng.normal(size=2000)
    assert equilibrated_from(series) < 300
    series[:600] += 10.0
    assert 550 <= equilibrated_from(series) <= 800
