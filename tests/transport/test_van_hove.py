from __future__ import annotations

import itertools

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.diffusion.gaussianity import NonGaussianCounter, log_lags
from superionic.transport.diffusion.van_hove import VanHoveCounter, insphere_radius, shell_volumes

SKEW = np.array([[9.0, 0.0, 0.0], [-4.5, 7.8, 0.0], [1.0, 0.7, 8.0]])


def brownian(seed, *, n_frames=3000, n_ions=40, step=0.1):
    return np.cumsum(np.random.default_rng(seed).normal(0, step, (n_frames, n_ions, 3)), axis=0)


def non_gaussian(positions, frame_interval_ps, **options):
    counter = NonGaussianCounter(log_lags(len(positions) // 4, 40), **options)
    counter.add(positions)
    return counter.result(frame_interval_ps)


def van_hove(positions, cell, frame_interval_ps, *, n_lags=24, most_origins=300, **options):
    stride = max(1, len(positions) // most_origins)
    counter = VanHoveCounter(cell, log_lags(len(positions) // 4, n_lags), stride=stride, **options)
    counter.add(positions)
    return counter.result(frame_interval_ps)


def test_brownian_motion_is_gaussian():
    positions = brownian(0, n_ions=100)
    measured = non_gaussian(positions, 0.1)
    assert np.all(np.abs(measured.alpha2[:25]) < 4 * measured.error[:25] + 1e-3)
    np.testing.assert_allclose(measured.msd_A2[:15], 3 * 0.01 * measured.lags_ps[:15] / 0.1, rtol=0.05)
    plane = non_gaussian(positions, 0.1, axes=(0, 1))
    assert np.all(np.abs(plane.alpha2[:25]) < 4 * plane.error[:25] + 1e-3)


def test_jump_model_is_exact():
    """Jumps ±a along the axes as a Poisson process of λ jumps: ⟨r²⟩ = λa², ⟨r⁴⟩ = λa⁴ + 5/3 (λa²)², α₂ = 3/(5λ)."""
    rng = np.random.default_rng(1)
    rate, a, n = 0.05, 3.0, 400
    jumps = rng.poisson(rate / 6, (1500, n, 6)).astype(float)
    steps = a * np.stack([jumps[..., 2 * k] - jumps[..., 2 * k + 1] for k in range(3)], axis=-1)
    measured = non_gaussian(np.cumsum(steps, axis=0), 1.0)
    expected = 3.0 / (5.0 * rate * measured.lags_ps)
    early = measured.lags_ps <= 100
    assert np.all(np.abs(measured.alpha2 - expected)[early] < 4 * measured.error[early])
    np.testing.assert_allclose(measured.alpha2[0], expected[0], rtol=0.05)
    assert measured.peak[0] == 1.0


def test_blocks_do_not_matter():
    positions = brownian(2, n_frames=200, n_ions=5)
    drift = np.random.default_rng(0).normal(size=(200, 3))
    whole, parts = (NonGaussianCounter((1, 7, 40), stride=3) for _ in range(2))
    whole.add(positions)
    pairs = VanHoveCounter(SKEW, (0, 1, 7, 40), stride=3), VanHoveCounter(SKEW, (0, 1, 7, 40), stride=3)
    pairs[0].add(positions)
    for start, stop in itertools.pairwise([0, 1, 2, 50, 101, 200]):
        parts.add((positions + drift[:, None])[start:stop], drift[start:stop])
        pairs[1].add(positions[start:stop])
    np.testing.assert_allclose(whole.result(1.0).alpha2, parts.result(1.0).alpha2, atol=1e-9)
    assert whole.result(1.0).n_origins.tolist() == [67, 65, 54]
    one, two = (counter.result(1.0) for counter in pairs)
    np.testing.assert_array_equal(one.self_per_A3, two.self_per_A3)
    np.testing.assert_array_equal(one.distinct_per_A3, two.distinct_per_A3)
    assert one.n_origins.tolist() == [67, 67, 65, 54]


@pytest.mark.parametrize("edge", [1.0, 3.0])  # one bin of ions, and many of which most are out of range
def test_the_distinct_part_counts_every_pair_that_is_in_range(edge):
    rng = np.random.default_rng(4)
    cell = edge * SKEW
    earlier, later = (rng.uniform(-2.0, 2.0, (80, 3)) @ cell for _ in range(2))  # not wrapped
    counter = VanHoveCounter(cell, (0, 1), stride=1)
    counter.add(np.stack([earlier, later]))
    measured = counter.result(1.0)
    edges = measured.distinct_edges_A
    assert edges[-1] == min(insphere_radius(cell), 10.0)
    # All pairs, each by the image that fractions round to: row 0 is the mean over both frames, row 1 the one pair.
    expected = np.zeros((2, len(edges) - 1))
    for row, one, other in ((0, earlier, earlier), (0, later, later), (1, earlier, later)):
        apart = (other[:, None] - one[None]) @ np.linalg.inv(cell)
        distances = np.linalg.norm((apart - np.rint(apart)) @ cell, axis=-1)
        np.fill_diagonal(distances, np.inf)
        expected[row] += np.histogram(distances, edges)[0]
    expected /= np.array([[2 * 80.0], [80.0]]) * shell_volumes(edges)
    np.testing.assert_allclose(measured.distinct_per_A3, expected, rtol=1e-12)


def test_self_part_is_normalised_and_gaussian():
    positions = brownian(3, n_ions=60)
    measured = van_hove(positions, SKEW, 1.0, r_max_A=6.0)
    total = (measured.self_per_A3 * shell_volumes(measured.edges_A)).sum(axis=1)
    np.testing.assert_allclose(total + measured.beyond, 1.0, atol=1e-12)
    np.testing.assert_allclose((measured.radial_self_per_A * np.diff(measured.edges_A)).sum(axis=1), total)
    at = int(np.argmin(np.abs(measured.lags_ps - 50)))
    variance = 0.01 * measured.lags_ps[at]
    r = 0.5 * (measured.edges_A[1:] + measured.edges_A[:-1])
    expected = np.exp(-(r**2) / (2 * variance)) / (2 * np.pi * variance) ** 1.5
    middle = (r > 0.5) & (r < 1.5)
    np.testing.assert_allclose(measured.self_per_A3[at][middle], expected[middle], rtol=0.1)


def test_distinct_part_of_an_ideal_gas_is_flat():
    rng = np.random.default_rng(4)
    positions = (rng.uniform(0, 1, (1, 60, 3)) @ SKEW) + brownian(5, n_frames=1200, n_ions=60, step=0.5)
    measured = van_hove(positions, SKEW, 1.0, most_origins=200, n_lags=6, bin_A=0.5)
    assert measured.mean_density_per_A3 == pytest.approx(59 / np.linalg.det(SKEW))
    assert measured.distinct_edges_A[-1] == pytest.approx(insphere_radius(SKEW))
    late = measured.distinct_per_A3[-1]
    np.testing.assert_allclose(late[2:], measured.mean_density_per_A3, rtol=0.05)


def test_distances_are_those_of_the_nearest_image():
    """ρg(r) of a static pair against all images by brute force, in a skewed cell."""
    rng = np.random.default_rng(6)
    places = rng.uniform(-3, 3, (12, 3)) @ SKEW
    counter = VanHoveCounter(SKEW, (0,), bin_A=0.25)
    counter.add(places[None])
    measured = counter.result(1.0)
    shifts = np.array(list(itertools.product(range(-9, 10), repeat=3))) @ SKEW
    off = (places[:, None] - places[None])[..., None, :] + shifts
    distances = np.linalg.norm(off, axis=-1)
    distances[np.arange(12), np.arange(12)] = np.inf
    expected, _ = np.histogram(distances, bins=measured.distinct_edges_A)
    np.testing.assert_allclose(measured.distinct_per_A3[0] * 12 * shell_volumes(measured.distinct_edges_A), expected)


def test_wrong_input():
    assert log_lags(100, 5) == (1, 3, 10, 32, 100)
    for call in (
        lambda: log_lags(0),
        lambda: NonGaussianCounter((5,)).result(1.0),
        lambda: VanHoveCounter(SKEW, (5,)).result(1.0),
        lambda: VanHoveCounter(SKEW, (5,), bin_A=0.0),
        lambda: NonGaussianCounter((0,)),
        lambda: NonGaussianCounter((1,)).add(np.zeros((3, 3))),
    ):
        with pytest.raises(AnalysisError):
            call()
