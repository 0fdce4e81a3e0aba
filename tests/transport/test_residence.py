"""Distribution of stays: Kaplan–Meier against scipy's, and laws that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from superionic.transport.sites.residence import StayDistribution


def censored(true, limits):
    return np.minimum(true, limits), true <= limits


def test_it_is_kaplan_and_meier_as_scipy_has_it():
    rng = np.random.default_rng(0)
    lengths, ended = censored(np.round(rng.gamma(0.7, 5.0, 150), 1) + 0.1, np.round(rng.uniform(0.0, 12.0, 150), 1))
    stays = StayDistribution.of(lengths, ended)
    theirs = stats.ecdf(stats.CensoredData(uncensored=lengths[ended], right=lengths[~ended])).sf
    assert stays.survival == pytest.approx(theirs.evaluate(stays.times_ps), abs=1e-12)
    ends = theirs.confidence_interval(0.95, method="log-log")
    inside = (stays.times_ps > 0.0) & (stays.survival > 0.0)
    assert stays.low95[inside] == pytest.approx(ends.low.evaluate(stays.times_ps)[inside], abs=1e-9)
    assert stays.high95[inside] == pytest.approx(ends.high.evaluate(stays.times_ps)[inside], abs=1e-9)
    assert (stays.n_ended, stays.n_cut) == (int(ended.sum()), int((~ended).sum()))


def test_exponential_stays_that_are_mostly_cut_off_have_their_law_and_the_shape_one():
    rng = np.random.default_rng(1)
    inside_shape, inside_median, off = [], [], []
    for _ in range(200):
        lengths, ended = censored(rng.exponential(8.0, 120), rng.uniform(4.0, 10.0, 120))
        stays = StayDistribution.of(lengths, ended)
        low, high = stays.shape95
        inside_shape.append(low <= 1.0 <= high)
        low, high = stays.median95_ps
        inside_median.append(low <= 8.0 * math.log(2.0) <= high)
        off.append(np.interp(4.0, stays.times_ps, stays.survival) - math.exp(-0.5))
    assert 0.9 <= np.mean(inside_shape) <= 0.99
    assert 0.9 <= np.mean(inside_median) <= 1.0
    assert abs(np.mean(off)) < 4.0 * np.std(off) / math.sqrt(200)


@pytest.mark.parametrize("shape", [0.5, 2.0])
def test_a_weibull_law_comes_back(shape):
    rng = np.random.default_rng(2)
    stays = StayDistribution.of(*censored(3.0 * rng.weibull(shape, 3000), np.full(3000, 4.0)))
    assert stays.shape == pytest.approx(shape, rel=0.06)
    assert stays.shape95[0] < shape < stays.shape95[1]
    assert stays.median_ps == pytest.approx(3.0 * math.log(2.0) ** (1.0 / shape), rel=0.1)
    assert len(stays.times_ps) <= 200
    law = np.exp(-((stays.times_ps / 3.0) ** shape))
    assert np.abs(stays.survival - law).max() < 0.04


def test_quick_returns_among_long_stays_have_a_shape_below_one():
    rng = np.random.default_rng(3)
    quick = rng.random(400) < 0.5
    stays = StayDistribution.of(*censored(rng.exponential(np.where(quick, 0.2, 20.0)), np.full(400, 50.0)))
    assert stays.shape95[1] < 0.8


def test_few_stays_say_what_they_can():
    assert StayDistribution.of(np.array([3.0, 4.0]), np.array([False, False])) is None
    stays = StayDistribution.of(np.array([3.0, 4.0, 9.0]), np.array([True, False, False]))
    assert (stays.shape, stays.median_ps) == (None, math.inf)
    assert stays.survival == pytest.approx([1.0, 2.0 / 3.0])
