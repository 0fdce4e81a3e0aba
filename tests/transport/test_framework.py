"""Which motion of the framework is a melt, and what a crystal says in which all atoms are mobile."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from superionic.trajectories.analysis import AnalysisOptions, analyse_trajectory
from superionic.trajectories.unwrapping.trajectory import UnwrappedTrajectory
from superionic.transport.analysis import analyse_displacements
from superionic.transport.observables.framework import MELTING_SHARE, Framework, framework_motion

DT_PS = 0.1
EDGE_A = 6.0
KINDS = np.array([15, 16, 16, 16, 16] * 8 + [3] * 8)
TETRAHEDRON = 2.05 / math.sqrt(3.0) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def polyanions(n_frames, *, leave=False, seed=0):
    """8 PS4 on a lattice, half of which turn by 120° some times, and 8 free ions; ``leave``: S change the polyanion."""
    rng = np.random.default_rng(seed)
    centres = EDGE_A * np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], dtype=float)
    places = np.empty((n_frames, 8, 5, 3))
    order = np.tile(np.arange(4), (8, 1))
    owner = np.tile(np.arange(8)[:, None], (1, 4))
    for k in range(n_frames):
        if k and k % 200 == 0:
            for which in range(0, 8, 2):
                order[which, :3] = np.roll(order[which, :3], 1)
            if leave:
                owner[:, 3] = np.roll(owner[:, 3], 1)
        places[k, :, 0] = centres
        places[k, :, 1:] = centres[owner] + TETRAHEDRON[order]
    places += rng.normal(0.0, 0.1, places.shape)
    ions = np.cumsum(rng.normal(0.0, 0.1, (n_frames, 8, 3)), axis=0)
    return np.concatenate([places.reshape(n_frames, 40, 3), ions], axis=1), np.arange(48) >= 40


def test_polyanions_that_turn_are_no_melt():
    positions, mobile = polyanions(2000)
    measured = analyse_displacements(positions, 2 * EDGE_A * np.eye(3), mobile, DT_PS)
    assert measured.framework_moved == 0.0
    assert not any("melting" in flag for flag in measured.flags)
    assert any("Polyanions turn: 12 of 40" in flag for flag in measured.flags)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("turn_rad", [0.01, 0.05, 0.3])
def test_polyanions_that_turn_all_the_time_are_no_melt(seed, turn_rad):
    """Rigid PS4 by rotational diffusion, from a fraction of a turn in the run to many."""
    rng = np.random.default_rng(seed)
    positions, mobile = polyanions(600, seed=seed)
    for k in range(8):
        turn = Rotation.random(rng=rng)
        for frame in range(600):
            turn = Rotation.from_rotvec(rng.normal(0.0, turn_rad, 3)) * turn
            positions[frame, 5 * k + 1 : 5 * k + 5] = positions[frame, 5 * k] + turn.apply(TETRAHEDRON)
    measured = analyse_displacements(positions, 2 * EDGE_A * np.eye(3), mobile, DT_PS, kinds=KINDS)
    assert measured.framework.n_left == 0
    assert measured.framework.n_turned > 10 or turn_rad == 0.01


def test_ligands_that_leave_their_polyanion_are_none_that_turn():
    positions, mobile = polyanions(2000, leave=True)
    measured = analyse_displacements(positions, 2 * EDGE_A * np.eye(3), mobile, DT_PS)
    assert measured.framework_moved == pytest.approx(8 / 40)
    assert not measured.framework.melts
    assert any("Ions of the framework hop: 8 of 40" in flag for flag in measured.flags)


def test_a_framework_that_diffuses_is_flagged():
    positions, mobile = polyanions(2000)
    positions[:, :40] += np.cumsum(np.random.default_rng(1).normal(0.0, 0.1, (2000, 40, 3)), axis=0)
    measured = analyse_displacements(positions, 2 * EDGE_A * np.eye(3), mobile, DT_PS)
    assert measured.framework_moved > 0.9
    assert measured.framework.melts_from_ps < 0.2 * measured.duration_ps
    assert any("melting" in flag for flag in measured.flags)


SALT_A = 5.0


def fcc(n=3, edge_A=SALT_A):
    corners = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    cells = np.array([[i, j, k] for i in range(n) for j in range(n) for k in range(n)])
    return edge_A * (cells[:, None] + corners).reshape(-1, 3), n * edge_A * np.eye(3)


def oscillators(n_frames, n_ions, amplitude_A, memory_frames, rng):
    """Overdamped oscillators: normal deviates of ``amplitude_A`` an axis whose memory fades within some frames."""
    keep = math.exp(-1.0 / memory_frames)
    places = rng.normal(0.0, amplitude_A, (n_frames, n_ions, 3))
    for k in range(1, n_frames):
        places[k] = keep * places[k - 1] + math.sqrt(1.0 - keep**2) * places[k]
    return places


def motion(sites, cell, displacements, frame_interval_ps):
    n = len(sites)
    return framework_motion(sites + displacements, cell, np.ones(n, dtype=bool), frame_interval_ps, np.full(n, 17))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("duration_ps", "frame_interval_ps"), [(2.0, 0.02), (20.0, 0.1), (300.0, 0.5)])
def test_ions_that_vibrate_by_half_an_angstrom_stay(seed, duration_ps, frame_interval_ps):
    sites, cell = fcc()
    n_frames, rng = round(duration_ps / frame_interval_ps), np.random.default_rng(seed)
    phases = rng.uniform(0.0, 2 * math.pi, (len(sites), 3))
    frequencies_per_ps = rng.uniform(0.7, 3.0, (len(sites), 3))  # soft modes of 20 to 100 cm⁻¹
    times = np.arange(n_frames)[:, None, None] * frame_interval_ps
    harmonic = 0.5 * np.sin(2 * math.pi * frequencies_per_ps * times + phases)
    assert motion(sites, cell, harmonic, frame_interval_ps).n_left == 0
    # Half an Å of standard deviation along each axis, which is 0.87 Å in all, and hardly any averaging in 2 ps.
    overdamped = oscillators(n_frames, len(sites), 0.5, 0.2 / frame_interval_ps, rng)
    measured = motion(sites, cell, overdamped, frame_interval_ps)
    assert measured.n_left <= 3
    assert not measured.melts


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("duration_ps", "diffusivity"), [(3.0, 1.0), (20.0, 0.3), (200.0, 0.02)])
def test_a_framework_of_random_walkers_melts_within_the_run(seed, duration_ps, diffusivity):
    sites, cell = fcc()
    n_frames, rng = 300, np.random.default_rng(seed)
    step = math.sqrt(2 * diffusivity * duration_ps / n_frames)
    walk = np.cumsum(rng.normal(0.0, step, (n_frames, len(sites), 3)), axis=0)
    measured = motion(sites, cell, walk + rng.normal(0.0, 0.3, walk.shape), duration_ps / n_frames)
    assert measured.melts
    assert measured.melts_from_ps < 0.6 * duration_ps
    # A tenth of that motion: some ions have left, and it is said.
    slow = motion(sites, cell, walk / 3.0 + rng.normal(0.0, 0.2, walk.shape), duration_ps / n_frames)
    assert slow.n_left > 0
    assert any("framework" in flag for flag in slow.flags())


@pytest.mark.parametrize("seed", range(3))
def test_some_ions_that_hop_are_counted_and_a_drift_of_the_whole_is_not(seed):
    sites, cell = fcc()
    rng = np.random.default_rng(seed)
    moved = oscillators(400, len(sites), 0.3, 2.0, rng)
    moved += np.linspace(0.0, 30.0, 400)[:, None, None] * np.array([1.0, -0.5, 0.2])
    assert motion(sites, cell, moved, DT_PS).n_left == 0
    for ion, frame in ((5, 100), (50, 200), (90, 300)):
        moved[frame:, ion] += [2.5, 2.5, 0.0]
    measured = motion(sites, cell, moved, DT_PS)
    assert (measured.n_left, measured.n_ions, measured.melts) == (3, 108, False)
    assert measured.most_at_once == pytest.approx(3 / 108)
    assert any("hop: 3 of 108" in flag for flag in measured.flags())
    assert not any("melting" in flag for flag in measured.flags())


def lennard_jones(temperature, edge_A, n_steps=1000, seed=0):
    """108 atoms of argon in a fixed cell by Langevin dynamics; temperature in units of the well depth, frames in ps."""
    sites, cell = fcc(3, edge_A)
    length, sigma = cell[0, 0] / 3.4, 3.4
    place, rng = sites / sigma, np.random.default_rng(seed)
    velocity = rng.normal(0.0, math.sqrt(temperature), place.shape)
    step, friction, frames = 0.005, 1.0, []

    def forces(place):
        between = place[:, None] - place[None]
        between -= length * np.round(between / length)
        square = np.einsum("ija,ija->ij", between, between)
        np.fill_diagonal(square, np.inf)
        inverse = np.where(square < (length / 2) ** 2, square, np.inf) ** -3
        return np.einsum("ij,ija->ia", (48 * inverse**2 - 24 * inverse) / square, between)

    force = forces(place)
    for k in range(n_steps):
        velocity += 0.5 * step * force
        place = place + 0.5 * step * velocity
        keep = math.exp(-friction * step)
        velocity = keep * velocity + math.sqrt(temperature * (1 - keep**2)) * rng.normal(size=place.shape)
        place = place + 0.5 * step * velocity
        force = forces(place)
        velocity += 0.5 * step * force
        if k % 10 == 0:
            frames.append(place * sigma)
    return np.array(frames), cell, 10 * step * 2.16


def test_argon_melts_where_it_is_hot_and_thin_and_stays_where_it_is_cold():
    kinds, everything = np.full(108, 18), np.ones(108, dtype=bool)
    for temperature, edge_A, melts in ((0.45, 5.3, False), (1.6, 5.75, True)):
        frames, cell, interval_ps = lennard_jones(temperature, edge_A)
        measured = framework_motion(frames, cell, everything, interval_ps, kinds)
        assert measured.melts == melts
        assert (measured.share_left > 0.9) == melts
        # The monitor of a run, which sees one structure at a time, says the same of the last one.
        off = Framework(frames[0], cell, kinds).off_sites(frames[-1], cell).left.mean()
        assert (off > MELTING_SHARE) == melts


def test_where_all_atoms_are_mobile_momentum_leaves_no_collective_motion():
    steps = np.random.default_rng(2).normal(0.0, 0.15, (3000, 32, 3))
    steps -= steps.mean(axis=1, keepdims=True)  # the momentum of a run is zero
    trajectory = UnwrappedTrajectory(("Al",) * 32, np.cumsum(steps, axis=0).astype(np.float32), 9.0 * np.eye(3), DT_PS)
    measured = analyse_trajectory(trajectory, AnalysisOptions(mobile=("Al",), temperature_K=900.0)).result.transport
    assert measured.tracer_diffusivity_cm2_per_s.value == pytest.approx(0.15**2 / (2 * DT_PS) * 1e-4, rel=0.1)
    assert measured.charge_diffusivity_cm2_per_s.is_unknown
    assert measured.haven_ratio.is_unknown
    assert measured.ionic_conductivity_S_per_cm is None
    assert any("momentum" in flag for flag in measured.flags)
    free = np.cumsum(np.random.default_rng(3).normal(0.0, 0.15, (3000, 32, 3)), axis=0)
    walkers = analyse_displacements(free, 9.0 * np.eye(3), np.ones(32, dtype=bool), DT_PS)
    assert 0.3 < walkers.haven_ratio.value < 3.0
