"""Diverse choices on sets whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from superionic.errors import AnalysisError
from superionic.training.diverse import cur_rows, farthest_points, shares


def clusters(rng, sizes=(400, 60, 25, 10, 5)):
    """Points of five clusters, the rare ones far away: a trajectory that visits a new site now and then."""
    centres = rng.normal(size=(len(sizes), 6)) * 10.0
    parts = [centre + rng.normal(size=(size, 6)) for centre, size in zip(centres, sizes, strict=True)]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.concatenate(parts), labels


def test_farthest_points_match_brute_force():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(30, 4))
    distances = cdist(rows, rows)
    expected = [3]
    while len(expected) < 12:
        expected.append(int(np.argmax(distances[expected].min(axis=0))))
    assert farthest_points(rows, 12, first=3).tolist() == expected
    # With the first five taken by others, the same are still to come.
    assert farthest_points(rows, 7, taken=expected[:5]).tolist() == expected[5:]
    assert farthest_points(rows, 7, known=rows[expected[:5]]).tolist() == expected[5:]


def test_farthest_points_cover_better_than_chance_and_find_all_rare_clusters():
    rng = np.random.default_rng(5)
    rows, labels = clusters(rng)
    chosen = farthest_points(rows, 20)
    by_chance = [rng.choice(len(rows), 20, replace=False) for _ in range(50)]
    assert set(labels[chosen]) == set(range(5))

    def coverage(rows, indices):  # the largest distance of a row from its nearest chosen one
        return np.linalg.norm(rows[:, None] - rows[indices], axis=2).min(axis=1).max()

    assert coverage(rows, chosen) < min(coverage(rows, indices) for indices in by_chance)
    assert np.mean([len(set(labels[indices])) for indices in by_chance]) < 4.5


def test_cur_picks_independent_rows_first_and_one_of_each_direction():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0][:4]
    # Forty rows along four directions, of very different lengths; both signs, so that their mean is zero.
    lengths = np.repeat([8.0, 4.0, 2.0, 1.0], 5)
    rows = np.concatenate([np.repeat(axes, 5, axis=0), -np.repeat(axes, 5, axis=0)])
    rows *= np.concatenate([lengths * np.tile(np.linspace(0.5, 1.0, 5), 4)] * 2)[:, None]
    chosen = cur_rows(rows, 4)
    assert np.linalg.matrix_rank(rows[chosen]) == 4
    # The longest row of each direction, the longest direction first.
    assert [int(index) % 20 for index in chosen] == [4, 9, 14, 19]


def test_cur_reproduces_a_set_better_than_chance():
    rng = np.random.default_rng(1)
    # Ten directions of falling weight.
    rows = rng.normal(size=(200, 10)) * 0.5 ** np.arange(10) @ np.linalg.qr(rng.normal(size=(10, 10)))[0]
    rows -= rows.mean(axis=0)

    def left(indices):
        basis = np.linalg.svd(rows[indices], full_matrices=False)[2]
        return float(np.sum((rows - rows @ basis.T @ basis) ** 2))

    by_chance = [left(rng.choice(200, 4, replace=False)) for _ in range(100)]
    assert left(cur_rows(rows, 4)) < np.quantile(by_chance, 0.1)


def test_beyond_the_rank_cur_goes_on_among_what_is_left():
    rows = np.column_stack([np.linspace(-1, 1, 9), np.zeros(9)])
    chosen = cur_rows(rows, 6)
    assert len(set(chosen.tolist())) == 6
    assert set(chosen.tolist()[:2]) == {0, 8}
    assert sorted(cur_rows(rows, 100).tolist()) == list(range(9))


@given(st.integers(1, 30), st.integers(1, 6), st.integers(0, 40), st.integers(0, 1000))
def test_no_structure_is_chosen_twice_not_even_a_copy(m, d, n, seed):
    rng = np.random.default_rng(seed)
    distinct = rng.integers(-2, 3, size=(m, d)).astype(float)
    rows = distinct[rng.integers(0, m, size=2 * m)]
    different = len(np.unique(rows, axis=0))
    for chosen in (farthest_points(rows, n), cur_rows(rows, n)):
        assert len(np.unique(rows[chosen], axis=0)) == len(chosen) == min(n, different)


def test_choices_are_reproducible_and_do_not_hang_on_the_zero_or_a_turn_of_the_features():
    rows, _ = clusters(np.random.default_rng(8))
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(6, 6)))[0]
    moved = rows @ turn + 5.0
    assert farthest_points(rows, 15).tolist() == farthest_points(moved, 15).tolist()
    assert cur_rows(rows, 15).tolist() == cur_rows(rows.copy(), 15).tolist() == cur_rows(moved, 15).tolist()


def test_what_others_took_is_not_taken_again():
    rows, _ = clusters(np.random.default_rng(3))
    gone = [0, 5, 100, 499]
    for pick in (farthest_points, cur_rows):
        assert not set(gone) & set(pick(rows, 30, taken=gone).tolist())


def test_shares_add_up():
    assert shares(10, {"a": 0.5, "b": 0.25, "c": 0.25}) == {"a": 5, "b": 3, "c": 2}
    assert shares(3, {"a": 1.0, "b": 1.0}) == {"a": 2, "b": 1}
    assert shares(0, {"a": 1.0}) == {"a": 0}
    for total in range(40):
        assert sum(shares(total, {"a": 0.1, "b": 0.7, "c": 1.3}).values()) == total
    with pytest.raises(AnalysisError):
        shares(3, {"a": 0.0})


@pytest.mark.parametrize(
    "call",
    [
        lambda: farthest_points(np.zeros(3), 1),
        lambda: farthest_points(np.full((3, 2), np.nan), 1),
        lambda: farthest_points(np.zeros((3, 2)), 1, taken=[3]),
        lambda: farthest_points(np.zeros((3, 2)), 1, first=3),
        lambda: farthest_points(np.zeros((3, 2)), 1, known=np.zeros((1, 3))),
        lambda: cur_rows(np.zeros((3, 2)), -1),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(AnalysisError) as caught:
        call()
    assert caught.value.fix
