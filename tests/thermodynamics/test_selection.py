from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superionic.errors import StageError
from superionic.thermodynamics import boltzmann_selection


def test_lowest_of_each_composition_is_always_kept():
    energies = [0.5, 0.4, 0.0, 0.0, 3.0, 2.0]
    names = ["a", "a", "b", "b", "c", "c"]
    for seed in range(20):
        chosen = boltzmann_selection(energies, names, n=4, rng=np.random.default_rng(seed))
        assert len(chosen) == 4
        assert {1, 2, 5} <= set(chosen.tolist())
        assert np.array_equal(chosen, np.unique(chosen))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_size_and_uniqueness(m, n, seed):
    rng = np.random.default_rng(seed)
    energies = rng.exponential(size=m)
    chosen = boltzmann_selection(energies, [0] * m, n=n, rng=rng)
    assert len(chosen) == min(n, m)
    assert len(set(chosen.tolist())) == len(chosen)
    assert int(np.argmin(energies)) in chosen


def test_same_seed_same_selection_and_far_above_hull_does_not_underflow():
    energies = np.linspace(0, 500.0, 30)
    first, again = (boltzmann_selection(energies, [0] * 30, n=10, rng=np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.tolist() == list(range(10))


def test_degeneracy_weighs_in():
    count = 0
    rng = np.random.default_rng(7)
    for _ in range(2000):
        chosen = boltzmann_selection([-1.0, 0.1, 0.1], [0, 0, 0], n=2, rng=rng, degeneracies=[1, 9, 1])
        count += int(1 in chosen)
    assert abs(count / 2000 - 0.9) < 5 * np.sqrt(0.09 / 2000)


@pytest.mark.parametrize(
    ("energies", "names", "options"),
    [
        ([0.0, 1.0], ["a"], {"n": 1}),
        ([0.0, np.nan], ["a", "a"], {"n": 1}),
        ([0.0, 1.0], ["a", "b"], {"n": 1}),
        ([0.0, 1.0], ["a", "a"], {"n": 1, "temperature_K": 0.0}),
        ([0.0, 1.0], ["a", "a"], {"n": 1, "degeneracies": [1, 0]}),
        ([0.0, 1.0], ["a", "a"], {"n": 1, "degeneracies": [1]}),
    ],
)
def test_selection_refuses_bad_input(energies, names, options):
    with pytest.raises(StageError) as caught:
        boltzmann_selection(energies, names, rng=np.random.default_rng(0), **options)
    assert caught.value.fix
