from __future__ import annotations

import math

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.estimate import Estimate, count_like_estimate, pool, pool_orderings, ratio_estimate


def test_many_hops_give_the_normal_interval():
    estimate = count_like_estimate(10.0, 0.01)
    assert estimate.error == pytest.approx(0.1, rel=1e-3)
    np.testing.assert_allclose(estimate.interval68, (9.9, 10.1), atol=2e-3)
    np.testing.assert_allclose(estimate.interval95, (10 - 0.196, 10 + 0.196), atol=5e-3)
    assert not estimate.is_upper_bound


@pytest.mark.parametrize("mean", [6.5, 12.0, 60.0])
def test_intervals_of_poisson_counts_cover(mean):
    rng = np.random.default_rng(5)
    counts = rng.poisson(mean, 4000)
    table = {n: count_like_estimate(float(n), float(n)) for n in set(counts.tolist()) if n > 0}
    inside = [table[n].interval68[0] <= mean <= table[n].interval68[1] for n in counts.tolist() if n > 0]
    far = [table[n].interval95[0] <= mean <= table[n].interval95[1] for n in counts.tolist() if n > 0]
    assert 0.60 < np.mean(inside) < 0.77
    assert 0.92 < np.mean(far) < 0.985


def test_no_hop_gives_the_poisson_limit():
    estimate = count_like_estimate(-1e-4, 1e-8, bound_per_hop=2.0)
    assert estimate.value == 0.0
    assert estimate.is_upper_bound
    assert estimate.interval95 == (0.0, pytest.approx(2.0 * 2.99573, rel=1e-5))
    assert estimate.interval68 == (0.0, pytest.approx(2.0 * 1.148, rel=1e-3))
    assert estimate.log_error == math.inf


def test_the_interval_does_not_jump_at_one_effective_hop():
    above, below = count_like_estimate(1.0, 0.999), count_like_estimate(1.0, 1.001)
    assert below.is_upper_bound
    assert above.interval68[1] == pytest.approx(below.interval68[1], rel=0.01)


def test_few_degrees_of_freedom_widen():
    assert count_like_estimate(10.0, 0.01, degrees_of_freedom=3).error > 1.15 * count_like_estimate(10.0, 0.01).error


def test_ratio():
    ratio = ratio_estimate(count_like_estimate(10.0, 0.01), count_like_estimate(5.0, 0.25))
    assert ratio.value == 2.0
    assert ratio.error == pytest.approx(0.2, rel=0.03)
    assert ratio.interval95[0] < ratio.interval68[0] < 2.0 < ratio.interval68[1] < ratio.interval95[1]
    zero = count_like_estimate(0.0, 1e-6, bound_per_hop=1e-3)
    assert ratio_estimate(count_like_estimate(1.0, 0.01), zero).value == math.inf
    assert ratio_estimate(zero, count_like_estimate(1.0, 0.01)).interval68[0] == 0.0
    weak = count_like_estimate(1e-3, 1e-4)
    assert ratio_estimate(count_like_estimate(1.0, 0.01), weak).interval95[1] == math.inf


def test_scaled():
    estimate = count_like_estimate(10.0, 0.01).scaled(1e-4)
    assert estimate.value == pytest.approx(1e-3)
    assert estimate.interval68[1] == pytest.approx(1.0010e-3, rel=0.01)
    with pytest.raises(AnalysisError):
        estimate.scaled(-1.0)


def test_pool():
    one = count_like_estimate(10.0, 0.04)
    assert pool([one]) is one
    same = pool([one, one, one, one])
    assert same.value == pytest.approx(10.0)
    assert same.error == pytest.approx(0.1, rel=0.01)
    spread = pool([count_like_estimate(v, 1e-4) for v in (8.0, 10.0, 12.0)])
    assert spread.error > 2.0 / math.sqrt(3.0)  # the orderings differ: their scatter rules
    assert pool([one, count_like_estimate(20.0, 0.04)], weights=[1.0, 0.0]).value == pytest.approx(10.0)
    bound = Estimate(0.0, 1.0, (0.0, 1.1), (0.0, 3.0), is_upper_bound=True)
    assert pool([bound, bound]).is_upper_bound
    with pytest.raises(AnalysisError):
        pool([])
    with pytest.raises(AnalysisError):
        pool([one, one], weights=[1.0, -1.0])


def test_orderings_that_differ_get_a_variance_of_their_own():
    """One-way random effects with known parts: the split is right on average, and nothing is invented where none is."""
    rng = np.random.default_rng(3)
    for spread in (0.0, 0.3):
        splits = []
        for _ in range(400):
            truths = rng.normal(1.0, spread, 4)
            runs = [count_like_estimate(rng.normal(truth, 0.1), 0.01) for truth in truths for _ in range(2)]
            pooled = pool_orderings(runs, [name for name in "abcd" for _ in range(2)])
            splits.append((pooled.statistical, pooled.ordering, pooled.n_orderings))
        statistical, ordering, _ = np.mean(splits, axis=0)
        assert statistical == pytest.approx(0.1 / np.sqrt(8), rel=0.25)
        assert np.sqrt(np.mean(np.square(splits)[:, 1])) == pytest.approx(spread / 2.0, abs=0.03)
        assert ordering < 0.02 or spread > 0.0


def test_two_replicas_that_differ_a_little_keep_a_useful_interval():
    pooled = pool([count_like_estimate(0.9, 0.01), count_like_estimate(1.15, 0.01)])
    assert pooled.interval95[1] < 2.0
    assert pooled.interval95[0] > 0.5
