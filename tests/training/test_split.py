from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.training.dataset import split_groups
from superionic.training.split import split_in_rounds

FRACTIONS = {"validation_fraction": 0.2, "test_fraction": 0.2}

sets = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 4)).map(lambda pair: (f"run {pair[0]}", pair[1])),
    min_size=6,
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(sets, st.integers(0, 2**31))
def test_what_a_later_round_brings_changes_nothing_of_the_earlier(labels, seed):
    labels.sort(key=lambda pair: pair[1])
    first = labels[0][1]
    if sum(number == first for _, number in labels) < 3:
        return
    whole = split_in_rounds(*zip(*labels, strict=True), **FRACTIONS, seed=seed)
    assert sorted(whole.train + whole.validation + whole.test) == list(range(len(labels)))
    for last in sorted({number for _, number in labels}):
        n = sum(number <= last for _, number in labels)
        part = split_in_rounds(*zip(*labels[:n], strict=True), **FRACTIONS, seed=seed)
        assert part.train == tuple(i for i in whole.train if i < n)
        assert part.validation == tuple(i for i in whole.validation if i < n)
        assert part.test == tuple(i for i in whole.test if i < n)


@settings(max_examples=200, deadline=None)
@given(sets, st.integers(0, 2**31))
def test_a_leak_free_split_has_each_run_on_one_side(labels, seed):
    labels = [(group, 1 + (number > 2)) for group, number in labels]
    labels.sort(key=lambda pair: pair[1])
    if sum(number == labels[0][1] for _, number in labels) < 3:
        return
    split = split_in_rounds(*zip(*labels, strict=True), **FRACTIONS, seed=seed)
    sides = [{labels[i][0] for i in part} for part in (split.train, split.validation, split.test)]
    if split.leak_free:
        assert sum(map(len, sides)) == len(set().union(*sides))  # no label on two sides


def test_one_round_is_split_as_ever():
    groups = [f"run {i // 3}" for i in range(30)]
    assert split_in_rounds(groups, [5] * 30, **FRACTIONS, seed=4) == split_groups(groups, **FRACTIONS, seed=4)


def test_a_run_that_tested_never_trains():
    # Four runs a rung, three rungs; the same orderings go on from rung to rung.
    orderings = [f"#{i % 4}" for i in range(48)]
    rounds = [1 + i // 16 for i in range(48)]
    split = split_in_rounds(orderings, rounds, **FRACTIONS, seed=0)
    held_out = {orderings[i] for i in split.test}
    assert held_out
    assert held_out.isdisjoint(orderings[i] for i in split.train)
    assert {rounds[i] for i in split.test} == {1, 2, 3}


def test_shares_are_met_as_rounds_of_two_runs_come_in():
    groups = [f"run {i // 5}" for i in range(100)]
    split = split_in_rounds(groups, [i // 10 for i in range(100)], **FRACTIONS, seed=3)
    assert not split.leak_free  # two runs cannot be split into three parts, so the first two were cut
    assert abs(len(split.test) - 20) <= 5
    assert abs(len(split.validation) - 20) <= 5


def test_rounds_must_be_as_many():
    with pytest.raises(ValueError, match="round of each"):
        split_in_rounds(["a"], [1, 2], **FRACTIONS, seed=0)
