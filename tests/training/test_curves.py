from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.errors import StageError
from superionic.training.curves import (
    budget,
    default_sizes,
    enough,
    fit_all,
    fit_power_law,
    nested_groups,
    nested_subsets,
)

SIZES = [8, 16, 32, 64, 128]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=4, max_size=40), st.integers(0, 100))
def test_each_subset_lies_within_the_next_and_spreads_over_runs(groups, seed):
    sizes = sorted({1, len(groups) // 2, len(groups)} - {0})
    subsets = nested_subsets(groups, sizes, seed)
    for small, large in pairwise(subsets):
        assert set(small) < set(large)
    assert [len(part) for part in subsets] == sizes
    for part in subsets:
        counts = [sum(groups[i] == g for i in part) for g in set(groups)]
        room = [groups.count(g) for g in set(groups)]
        # A run is behind another one by more than one structure only where it has no more to give.
        assert all(c == r or c >= max(counts) - 1 for c, r in zip(counts, room, strict=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=4, max_size=40), st.integers(0, 100))
def test_groups_come_whole_but_for_the_last_and_each_subset_lies_within_the_next(groups, seed):
    sizes = list(range(len(groups) + 1))
    subsets = nested_groups(groups, sizes, seed, [{"Li"}] * len(groups))
    assert [len(part) for part in subsets] == sizes
    for small, large in pairwise(subsets):
        assert set(small) < set(large)
    for part in subsets:
        cut = {g for g in set(groups) if 0 < sum(groups[i] == g for i in part) < groups.count(g)}
        assert len(cut) <= 1
        for name in cut:  # of a run that is cut, the first structures in time
            own = [i for i, group in enumerate(groups) if group == name]
            assert [i for i in part if groups[i] == name] == own[: sum(groups[i] == name for i in part)]


def test_groups_that_bring_an_element_come_first():
    groups, elements = [*"aaabbbcccddd"], [{"Li", "Cl"}] * 9 + [{"Li", "Br"}] * 3
    for seed in range(20):
        (part,) = nested_groups(groups, [6], seed, elements)
        assert {9, 10, 11} < set(part)
    orders = {nested_groups(groups, [3], seed, [{"Li"}] * 12)[0] for seed in range(40)}
    assert len(orders) == 4  # otherwise chance decides
    assert nested_groups(groups, [0, 12], 0, elements) == [(), tuple(range(12))]


def test_sizes_out_of_range_are_refused():
    for sizes in ([], [0], [5]):
        with pytest.raises(StageError):
            nested_subsets(["a"] * 4, sizes, 0)


def test_default_sizes_halve():
    assert default_sizes(56) == [4, 7, 14, 28, 56]
    assert default_sizes(1000, 3) == [250, 500, 1000]
    assert default_sizes(3) == [3]


def test_an_exact_power_law_is_found_exactly():
    law = fit_power_law(SIZES, [100.0 * n**-0.4 for n in SIZES])
    assert law.b == pytest.approx(0.4)
    assert math.exp(law.ln_a) == pytest.approx(100.0)
    assert law.gain_per_doubling() == pytest.approx(1.0 - 2**-0.4)
    assert law.b_error == pytest.approx(0.0, abs=1e-7)


def test_the_stated_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    trials = 1000
    for _ in range(trials):
        noisy = [50.0 * n**-0.3 * math.exp(rng.normal(0.0, 0.1)) for n in SIZES]
        low, high = fit_power_law(SIZES, noisy).interval_at(512)
        inside += low <= 50.0 * 512**-0.3 <= high
    assert inside / trials == pytest.approx(0.95, abs=0.02)


def test_enough_is_said_only_with_certainty():
    exact = fit_power_law(SIZES, [10.0 * n**-0.05 for n in SIZES], "force MAE")
    assert enough(exact, 0.1).verdict == "enough"
    assert "force MAE" in enough(exact, 0.1).words
    assert enough(exact, 0.01).verdict == "more labels help"
    rising = fit_power_law(SIZES, [10.0 * n**0.2 for n in SIZES])
    assert enough(rising, 0.1).verdict == "not falling"
    unsure = fit_power_law([8, 16], [10.0, 9.0])
    assert unsure.interval_at(32) is None
    assert enough(unsure, 0.1).verdict == "undecided"


def test_what_the_next_labels_buy():
    law = fit_power_law(SIZES, [100.0 * n**-0.5 for n in SIZES])
    rows = budget(law, [128, 384], cost_per_label_h=0.5)
    assert rows[0].change == pytest.approx(2**-0.5 - 1.0)
    assert rows[1].expected == pytest.approx(100.0 / math.sqrt(512))
    assert rows[1].hours == pytest.approx(192.0)
    assert rows[1].extrapolated == pytest.approx(4.0)


def test_any_table_by_size_is_judged_alike():
    table = [{"n": n, "Ea_error_meV": 80.0 * n**-0.5, "note": "x", "zero": 0.0, "same": 2.0} for n in SIZES]
    laws = fit_all(table)
    assert list(laws) == ["Ea_error_meV"]
    assert laws["Ea_error_meV"].b == pytest.approx(0.5)


def test_too_little_is_refused():
    with pytest.raises(StageError):
        fit_power_law([4, 4], [1.0, 2.0])
    with pytest.raises(ValueError, match="above 0"):
        fit_power_law([4, 8], [1.0, 0.0])
