from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.signal import lfilter

from superionic.errors import AnalysisError
from superionic.transport.sites.jump_rates import JumpNetwork, ResidenceTime, poisson_limits
from superionic.transport.sites.jumps import SiteTracker, follow_sites
from superionic.transport.sites.percolation import network_clusters
from superionic.transport.sites.positions import SiteSet

STEPS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])


def cubic_sites(edge, a=3.0, matrix=None):
    grid = np.array(list(itertools.product(range(edge), repeat=3))) / edge
    cell = a * edge * (np.eye(3) if matrix is None else matrix)
    return SiteSet(grid, ("x",) * len(grid), cell)


def walkers(
    *, seed, n_ions=40, duration=200.0, dt=0.05, hops=10.0, vibration=0.3, rest=0.2, hop_time=0.2, directions=6
):
    """Poisson jumps along the edges of a lattice of 3 Å, none before the one before has ended, and OU vibration."""
    rng = np.random.default_rng(seed)
    n_frames = round(duration / dt) + 1
    times = np.arange(n_frames) * dt
    keep = np.exp(-dt / 0.1)
    noise = rng.normal(0, vibration * np.sqrt(1 - keep**2), (n_frames, n_ions, 3))
    noise[0] = rng.normal(0, vibration, (n_ions, 3))
    path = np.zeros((n_frames, n_ions, 3)) + rng.integers(0, 6, (n_ions, 3))
    truth = []
    for ion in range(n_ions):
        now = rng.exponential(duration / hops)
        while now + hop_time + rest < duration:
            step = STEPS[rng.integers(directions)]
            path[:, ion] += np.clip((times - now) / hop_time, 0, 1)[:, None] * step
            truth.append((ion, now + hop_time / 2, *step))
            now += hop_time + rest + rng.exponential(duration / hops)
    return 3.0 * path + lfilter([1.0], [1.0, -keep], noise, axis=0), truth


def compared(measured, truth, *, within_ps=0.6):
    """Share of true jumps found (same ion, same vector, same time), and found ones that are not true."""
    times, vectors = measured.left_frame * measured.frame_interval_ps, np.rint(measured.vectors_A / 3.0)
    free = np.ones(measured.n_jumps, dtype=bool)
    hits = 0
    for ion, time, *step in truth:
        same = free & (measured.ion == ion) & (np.abs(times - time) < within_ps) & (vectors == step).all(axis=1)
        if same.any():
            free[np.flatnonzero(same)[0]] = False
            hits += 1
    return hits / len(truth), free.sum() / len(truth)


@pytest.mark.parametrize(("vibration", "dt"), [(0.1, 0.05), (0.3, 0.05), (0.4, 0.1), (0.45, 0.1)])
def test_true_jumps_are_found_and_no_others(vibration, dt):
    positions, truth = walkers(seed=1, vibration=vibration, dt=dt, n_ions=72)
    result = follow_sites(positions.astype(np.float32), cubic_sites(6), dt)
    measured, false = compared(result, truth)
    assert measured >= 0.995
    assert false < 0.005
    assert result.frames_on.sum() == result.n_ions * result.n_frames
    assert result.occupancies.sum() == pytest.approx(72, abs=1e-9)
    assert (result.frames_on >= 0).all()
    assert 0.0 <= result.between < 0.03
    assert np.average(result.amplitudes_A, weights=result.frames_on) == pytest.approx(vibration, rel=0.1)


def test_occupancies_follow_the_truth_frame_by_frame():
    positions, _ = walkers(seed=2, vibration=0.05, n_ions=12, duration=60.0, hops=20.0)
    sites = cubic_sites(6)
    nearest = np.rint(positions / 3.0).astype(int) % 6
    flat = (nearest[..., 0] * 6 + nearest[..., 1]) * 6 + nearest[..., 2]
    np.testing.assert_array_equal(
        np.bincount(flat.ravel(), minlength=216), follow_sites(positions, sites, 0.05).frames_on
    )


def test_flicker_at_the_barrier_is_no_jump():
    """An ion that comes back from beyond the middle has not jumped; one that goes on has, once."""
    x = np.array([0, 0.2, 1.0, 1.6, 1.9, 1.4, 1.7, 2.0, 1.2, 0.1, 0, 1.6, 1.4, 1.6, 2.6, 3.0, 1.6, 1.4, 2.9, 3.1])
    positions = np.zeros((len(x), 1, 3))
    positions[:, 0, 0] = x
    measured = follow_sites(positions, cubic_sites(3), 1.0)
    assert measured.n_jumps == 1
    assert (measured.left_frame.item(), measured.arrival_frame.item()) == (13, 14)
    assert measured.shift.tolist() == [[0, 0, 0]]
    assert measured.between == pytest.approx((4 + 2 + 1 + 1) / 20)
    eager = follow_sites(positions, cubic_sites(3), 1.0, commit=0.5)
    assert eager.n_jumps > 5
    with pytest.raises(AnalysisError, match="of the way"):
        SiteTracker(cubic_sites(3), commit=1.0)


def test_images_and_blocks():
    positions, _ = walkers(seed=3, n_ions=6, duration=100.0, hops=30.0, vibration=0.2)
    sites = cubic_sites(2)
    whole = follow_sites(positions, sites, 0.05)
    tracker = SiteTracker(sites, np.array([1, 2, 3, 4, 5, 6]))
    drift = np.cumsum(np.random.default_rng(0).normal(0, 0.1, (len(positions), 3)), axis=0)
    padded = np.concatenate([np.zeros((len(positions), 1, 3)), positions], axis=1) + drift[:, None]
    for start, stop in itertools.pairwise([0, 1, 5, 900, len(positions)]):
        tracker.add(padded[start:stop], origins_A=drift[start:stop])
    parts = tracker.result(0.05)
    for name in ("left_frame", "arrival_frame", "ion", "start", "end", "shift", "frames_on", "frames_between"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    np.testing.assert_allclose(np.linalg.norm(whole.vectors_A, axis=1), 3.0)
    total = np.zeros((6, 3))
    np.add.at(total, whole.ion, whole.vectors_A)
    np.testing.assert_allclose(total, np.rint((positions[-1] - positions[0]) / 3.0) * 3.0, atol=1e-9)


def test_triclinic_and_changing_cells():
    shear = np.array([[1.0, 0, 0], [0.35, 0.95, 0], [-0.2, 0.3, 0.9]])
    positions, truth = walkers(seed=4, n_ions=20, vibration=0.1)
    sheared = cubic_sites(6, matrix=shear)
    assert compared(follow_sites(positions, cubic_sites(6), 0.05), truth) == (1.0, 0.0)
    measured = follow_sites(positions @ shear, sheared, 0.05)
    assert measured.n_jumps == len(truth)
    breathing = 1.0 + 0.03 * np.sin(np.arange(len(positions)) / 50.0)
    cells = breathing[:, None, None] * sheared.cell_A
    moving = follow_sites(positions @ shear * breathing[:, None, None], sheared, 0.05, cells_A=cells)
    np.testing.assert_array_equal(moving.arrival_frame, measured.arrival_frame)
    np.testing.assert_array_equal(moving.frames_on, measured.frames_on)


def test_jump_diffusivity_is_that_of_free_walkers():
    values, errors = [], []
    for seed in range(8):
        positions, truth = walkers(seed=10 + seed, n_ions=30, dt=0.1, rest=0.0)
        estimate = follow_sites(positions, cubic_sites(6), 0.1).jump_diffusivity()
        exact = len(truth) * 9.0 / (6 * 30 * len(positions) * 0.1)
        assert estimate.value == pytest.approx(exact, rel=0.01)
        values.append(estimate.value)
        errors.append(estimate.error)
    assert np.mean(errors) == pytest.approx(np.mean(values) / math.sqrt(30 * 10), rel=0.1)
    still = follow_sites(np.zeros((10, 2, 3)), cubic_sites(2), 1.0).jump_diffusivity()
    assert still.value == 0.0
    assert still.is_upper_bound
    assert still.interval95[1] > 0.0


def test_residence_time_counts_cut_stays():
    """The likeliest mean of exponential stays with cut ends is unbiased even where most are cut."""
    rng = np.random.default_rng(5)
    inside = []
    for _ in range(400):
        stays = rng.exponential(8.0, 40)
        result = ResidenceTime.of(np.minimum(stays, 5.0), stays < 5.0)
        inside.append(result.interval68_ps[0] <= 8.0 <= result.interval68_ps[1])
    assert 0.6 <= np.mean(inside) <= 0.8
    assert ResidenceTime.of(np.full(3, 5.0), np.zeros(3, dtype=bool)).mean_ps == math.inf
    positions, truth = walkers(seed=6, rest=0.0, n_ions=60)
    measured = follow_sites(positions, cubic_sites(6), 0.05)
    (time,) = measured.residence_times().values()
    assert time.n_ended == measured.n_jumps
    assert time.n_cut == 60
    assert time.mean_ps == pytest.approx(60 * measured.duration_ps / len(truth), rel=0.01)
    site, length, _ = measured.stays()
    np.testing.assert_allclose(np.bincount(site, length, 216), measured.frames_on * 0.05)


def test_rates_network_and_kinds():
    """Jumps along a and b only: layers; rates are the counts over the time on the site."""
    positions, truth = walkers(seed=7, directions=4, n_ions=60, hops=30.0, dt=0.1)
    measured = follow_sites(positions, cubic_sites(3), 0.1)
    network = measured.edges()
    assert network.counts.sum() == measured.n_jumps
    np.testing.assert_allclose(network.lengths_A, 3.0)
    (kind,) = network.kinds()
    assert kind.count == measured.n_jumps
    assert kind.rate_per_ps == pytest.approx(measured.n_jumps / (60 * measured.duration_ps))
    assert kind.interval95_per_ps[0] < len(truth) / (60 * 200.0) < kind.interval95_per_ps[1]
    assert {c.axes for c in network_clusters(27, network.rows)} == {("a", "b")}
    # detailed balance within the noise: N_ij − N_ji is at most 4 √(N_ij + N_ji)
    flow = np.zeros((27, 27))
    np.add.at(flow, (network.rows[:, 0], network.rows[:, 1]), network.counts)
    assert np.all(np.abs(flow - flow.T) <= 4 * np.sqrt(flow + flow.T) + 1e-9)
    assert set(network.kind_names()) == {"x–x 3.0 Å"}
    assert measured.back_jumps == pytest.approx(0.25, abs=0.05)
    empty = follow_sites(np.zeros((5, 1, 3)), cubic_sites(2), 1.0)
    assert isinstance(empty.edges(), JumpNetwork)
    assert empty.edges().kinds() == []
    assert math.isnan(empty.back_jumps)


def test_caged_ions_have_a_low_tracer_factor():
    """To-and-fro jumps count in D_J and not in D*: f = D*/D_J is far below 1."""
    rng = np.random.default_rng(8)
    side = np.cumsum(rng.random((4000, 20)) < 0.05, axis=0) % 2
    positions = np.zeros((4000, 20, 3))
    positions[..., 0] = 3.0 * side + rng.normal(0, 0.2, side.shape)
    measured = follow_sites(positions, cubic_sites(4), 0.1)
    assert measured.back_jumps == 1.0
    assert measured.n_jumps == np.abs(np.diff(side, axis=0)).sum()
    (cage, *_) = network_clusters(64, measured.edges().rows)
    assert cage.dimension == 0


def test_flags_say_where_it_breaks_down():
    positions, _ = walkers(seed=9, vibration=0.7, n_ions=20, duration=50.0)
    assert any("blurred" in flag for flag in follow_sites(positions, cubic_sites(6), 0.05).flags())
    good, _ = walkers(seed=9, vibration=0.2, n_ions=20, duration=50.0)
    assert follow_sites(good, cubic_sites(6), 0.05).flags() == []
    assert any("Only 0 jumps" in flag for flag in follow_sites(np.zeros((5, 1, 3)), cubic_sites(2), 1.0).flags())
    off = follow_sites(good + np.array([0.9, 0, 0]), cubic_sites(6), 0.05)
    assert any("Å from site" in flag for flag in off.flags())


def test_poisson_limits():
    assert poisson_limits(0, 0.95)[0] == 0.0
    assert poisson_limits(0, 0.90)[1] == pytest.approx(-math.log(0.05))
    low, high = poisson_limits(100, 0.6827)
    assert (low, high) == (pytest.approx(90.0, abs=0.5), pytest.approx(111.0, abs=0.5))


def test_wrong_input():
    tracker = SiteTracker(cubic_sites(2))
    with pytest.raises(AnalysisError, match="no frames"):
        tracker.result(1.0)
    tracker.add(np.zeros((2, 3, 3)))
    with pytest.raises(AnalysisError, match="has 2 ions"):
        tracker.add(np.zeros((2, 2, 3)))
    with pytest.raises(AnalysisError, match="interval"):
        tracker.result(0.0)
