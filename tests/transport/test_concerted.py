"""Concerted jumps: independent walkers have as many partners as chance gives, strings have all of theirs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.sites.concerted import concerted_jumps
from superionic.transport.sites.jumps import follow_sites
from superionic.transport.sites.positions import SiteSet

EDGE, A = 6, 3.0
DT_PS = 0.1
STEPS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
GRID = np.array(list(itertools.product(range(EDGE), repeat=3)))


def occupation(places):
    """Follow (n_frames, n_ions, 3) places in units of the lattice."""
    sites = SiteSet(GRID / EDGE, ("x",) * len(GRID), np.eye(3) * EDGE * A)
    return follow_sites(np.ascontiguousarray(places * A), sites, DT_PS)


def independent(seed, *, n_ions=60, n_frames=6000, rate_per_ps=0.05):
    rng = np.random.default_rng(seed)
    jumps = rng.random((n_frames, n_ions)) < rate_per_ps * DT_PS
    steps = STEPS[rng.integers(6, size=(n_frames, n_ions))] * jumps[..., None]
    return rng.integers(0, EDGE, (n_ions, 3)) + np.cumsum(steps, axis=0)


def strings(seed, *, length=3, n_events=120, n_frames=6000):
    """Four rows of ions along x, far from one another, each of which goes on as a whole at times of its own."""
    rng = np.random.default_rng(seed)
    rows = [(0, 0), (0, 3), (3, 0), (3, 3)]
    start = np.array([(x, y, z) for y, z in rows for x in range(length)], dtype=float)
    moved = np.zeros((n_frames, len(start), 3))
    for row in range(len(rows)):
        frames = np.sort(rng.choice(np.arange(30, n_frames - 30, 40), n_events // 4, replace=False))
        for frame in frames:
            for k in range(length):  # one after the other, 0.1 ps apart, the foremost first
                moved[frame + length - 1 - k :, row * length + k, 0] += 1.0
    return start + moved


def test_independent_jumps_have_the_partners_that_chance_gives():
    ratios, inside, chance = [], [], []
    for seed in range(6):
        result = concerted_jumps(occupation(independent(seed)))
        assert result.n_jumps > 1000
        ratios.append(result.ratio)
        inside.append(abs(result.ratio - 1.0) <= 2.0 * result.ratio_error)
        chance.append(result.by_chance)
    assert np.mean(ratios) == pytest.approx(1.0, abs=4.0 * np.std(ratios, ddof=1) / np.sqrt(6))
    assert sum(inside) >= 5
    # Of the 6 · 216 directed jumps, 4 · 6 − 2 begin or end where a given one does (itself and its reverse do so twice);
    # the others make them at 59 · 0.05 per ps, and ± 1 ps is 21 frames.
    expected = 1.0 - np.exp(-2.1 * 59 * 0.05 * (4 * 6 - 2) / (216 * 6))
    assert np.mean(chance) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("length", [2, 3])
def test_strings_have_all_their_partners(length):
    result = concerted_jumps(occupation(strings(1, length=length)))
    assert result.n_jumps == 120 * length
    assert result.fraction == 1.0
    assert result.by_chance < 0.2
    assert result.ratio - 1.0 > 3.0 * result.ratio_error
    expected = [0] * 5
    expected[length - 1] = 120
    assert result.strings == tuple(expected)


def test_few_jumps_say_nothing_and_senseless_windows_are_refused():
    few = occupation(independent(0, n_ions=2, n_frames=300))
    assert concerted_jumps(few) is None
    many = occupation(independent(0, n_ions=20, n_frames=2000))
    with pytest.raises(AnalysisError, match="positive"):
        concerted_jumps(many, window_ps=0.0)
    with pytest.raises(AnalysisError, match="half the width"):
        concerted_jumps(many, distance_A=9.5)
