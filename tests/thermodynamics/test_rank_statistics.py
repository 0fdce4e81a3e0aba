from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from superionic.thermodynamics.culling import cut, drawn, expected_missed, missed_by_prescreen, noise_eV_per_atom
from superionic.thermodynamics.rank_statistics import (
    correlations,
    element_shift,
    overlap_of_lowest,
    proportion_interval,
)


def test_correlations_are_those_of_scipy_and_their_intervals_hold_the_value():
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    found = correlations(x, y, 1)
    assert found.spearman.value == pytest.approx(spearmanr(x, y).statistic)
    assert found.kendall.value == pytest.approx(kendalltau(x, y).statistic)
    for measure in (found.spearman, found.kendall):
        assert measure.low < measure.value < measure.high
    assert correlations(x, y, 1) == found
    assert correlations([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], 1).spearman.value is None
    assert correlations([1.0, 2.0], [1.0, 2.0], 1).kendall.value is None


def test_intervals_of_correlation_cover_the_truth():
    rng = np.random.default_rng(1)
    covered = 0
    truth = 6.0 / np.pi * np.arcsin(0.6 / 2.0)  # Spearman's rho of a normal pair with correlation 0.6
    for seed in range(40):
        x = rng.normal(size=60)
        y = 0.6 * x + 0.8 * rng.normal(size=60)
        found = correlations(x, y, seed).spearman
        covered += found.low <= truth <= found.high
    assert covered >= 34


def test_the_overlap_of_the_lowest():
    assert overlap_of_lowest([1, 2, 3, 4], [4, 3, 2, 1], 2) == 0.0
    assert overlap_of_lowest([1, 2, 3, 4], [1, 3, 2, 4], 2) == 0.5
    assert overlap_of_lowest([1, 2], [2, 1], 5) == 1.0


def test_the_interval_of_a_proportion_is_exact():
    assert proportion_interval(0, 0, 7) == (0.0, 7.0)
    assert proportion_interval(3, 3, 3) == (3.0, 3.0)
    low, high = proportion_interval(0, 10, 100)
    assert low == 0.0
    # With 26 of 100, ten draws miss all with a chance of 4 %; with 31, of 2 %.
    assert 26 <= high <= 31
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(300):
        count = int(rng.hypergeometric(20, 80, 15))
        low, high = proportion_interval(count, 15, 100)
        inside += low <= 20 <= high
    assert inside >= 0.95 * 300 - 12
    with pytest.raises(ValueError, match="must hold"):
        proportion_interval(4, 3, 10)


def test_a_shift_for_each_element_takes_away_two_scales_but_no_chemistry():
    compositions = [{"Li": 3, "Y": 1, "Cl": 6}, {"Li": 3, "Y": 1, "Br": 6}, {"Li": 1, "Cl": 1}, {"Li": 1, "Br": 1},
                    {"Y": 1, "Cl": 3}, {"Y": 1, "Br": 3}]  # fmt: skip
    scale = {"Li": 0.1, "Y": -0.7, "Cl": 0.3, "Br": 0.2}
    differences = [sum(scale[s] * n for s, n in c.items()) for c in compositions]
    _, left = element_shift(differences, compositions)
    assert left == pytest.approx(np.zeros(6), abs=1e-12)
    differences[0] += 0.5
    _, left = element_shift(differences, compositions)
    assert int(np.argmax(np.abs(left))) == 0


def test_a_cut_keeps_the_share_the_wanted_and_all_within_the_noise():
    energies = np.array([0.5, 0.1, 0.2, 0.4, 0.3])
    assert cut(energies, 1, 0.4, 0.0).kept.tolist() == [False, True, True, False, False]
    assert cut(energies, 3, 0.2, 0.0).kept.tolist() == [False, True, True, False, True]
    within = cut(energies, 1, 0.2, 0.25)
    assert within.kept.tolist() == [False, True, True, False, True]
    assert within.gaps_eV_per_atom == pytest.approx([0.4, 0.0, 0.1, 0.3, 0.2])
    # What differs by rounding only keeps the order of the listing.
    assert cut(np.array([1e-9, 0.0, 5.0]), 1, 0.1, -1.0).kept.tolist() == [True, False, False]


def test_noise_needs_two_and_sees_the_farthest():
    assert noise_eV_per_atom(np.array([0.1])) == np.inf
    assert noise_eV_per_atom(np.array([0.1, 0.1])) == 0.0
    assert noise_eV_per_atom(np.array([0.0] * 9 + [1.0])) == pytest.approx(1.0)


def test_the_number_missed_is_that_of_the_tail():
    rng = np.random.default_rng(3)
    falls = rng.normal(1.0, 0.1, 400)
    heights = np.full(1000, 1.1645)  # 5 % of a normal distribution fall farther
    expected, low, high = expected_missed(heights, [falls], [0] * 1000, 1)
    assert expected == pytest.approx(50.0, rel=0.25)
    assert low < expected < high
    assert expected_missed(np.zeros(0), [falls], [], 1) == (0.0, 0.0, 0.0)
    assert expected_missed(np.ones(3), [np.ones(1)], [0, 0, 0], 1) == (3.0, 0.0, 3.0)


def test_draws_are_without_repetition_and_enough():
    assert drawn(10, 0.0, 20, 1) == list(range(10))
    assert len(drawn(1000, 0.02, 6, 1)) == 20
    assert len(drawn(100, 0.02, 6, 1)) == 6
    assert drawn(1000, 0.02, 6, 1) == drawn(1000, 0.02, 6, 1) != drawn(1000, 0.02, 6, 2)
    assert drawn(0, 0.5, 5, 1) == []


def test_what_a_prescreen_misses_is_estimated_from_a_random_sample_on_any_scale():
    rng = np.random.default_rng(5)
    differences, inside = [], 0
    for _ in range(30):
        cheap = rng.normal(0.0, 1.0, 150)
        # The cheap energies are on a scale of their own (point charges), and scatter about the true order.
        true = 0.02 * cheap + rng.normal(0.0, 0.015, 150)
        order = np.argsort(cheap)
        ranked, out = order[:40], rng.permutation(order[40:])
        threshold = np.sort(true[ranked])[19]
        audited, unseen = out[:15], out[15:]
        expected, low, high = missed_by_prescreen(
            cheap[ranked], true[ranked], cheap[audited], true[audited], cheap[unseen], threshold, 1
        )
        missed = int(np.sum(true[unseen] < threshold))
        differences.append((expected, missed))
        inside += low <= missed <= high
        assert low <= expected <= high
    expected, missed = np.mean(differences, axis=0)
    assert missed > 2.0
    # The tail of Student's t is the heavier one, so that the recall is not overstated.
    assert 0.9 * missed < expected < 1.7 * missed
    assert inside >= 27
    nothing = np.zeros(0)
    assert missed_by_prescreen(cheap, true, cheap, true, nothing, 0.0, 1) == (0.0, 0.0, 0.0)
    assert missed_by_prescreen(cheap, true, nothing, nothing, cheap[:3], 0.0, 1) == (3.0, 0.0, 3.0)
