"""Which motion of the framework is a melt, and what a crystal says in which all atoms are mobile."""

from __future__ import annotations

import math

import numpy as np
import pytest

from superionic.dynamics.analysis import Question, analyse_trajectory
from superionic.dynamics.unwrapped import UnwrappedTrajectory
from superionic.transport.analysis import analyse_displacements

DT_PS = 0.1
EDGE_A = 6.0
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
    found = analyse_displacements(positions, 2 * EDGE_A * np.eye(3), mobile, DT_PS)
    assert found.framework_moved == 0.0
    assert not any("melting" in flag for flag in found.flags)
    assert any("Polyanions turn: 12 of 40" in flag for flag in found.flags)


def test_ligands_that_leave_their_polyanion_are_none_that_turn():
    positions, mobile = polyanions(2000, leave=True)
    found = analyse_displacements(positions, 2 * EDGE_A * np.eye(3), mobile, DT_PS)
    assert found.framework_moved == pytest.approx(8 / 40)
    assert any("melting" in flag for flag in found.flags)


def test_a_framework_that_diffuses_is_flagged():
    positions, mobile = polyanions(2000)
    positions[:, :40] += np.cumsum(np.random.default_rng(1).normal(0.0, 0.1, (2000, 40, 3)), axis=0)
    found = analyse_displacements(positions, 2 * EDGE_A * np.eye(3), mobile, DT_PS)
    assert found.framework_moved > 0.9
    assert any("melting" in flag for flag in found.flags)


def test_where_all_atoms_are_mobile_momentum_leaves_no_collective_motion():
    steps = np.random.default_rng(2).normal(0.0, 0.15, (3000, 32, 3))
    steps -= steps.mean(axis=1, keepdims=True)  # the momentum of a run is zero
    trajectory = UnwrappedTrajectory(("Al",) * 32, np.cumsum(steps, axis=0).astype(np.float32), 9.0 * np.eye(3), DT_PS)
    found = analyse_trajectory(trajectory, Question(mobile=("Al",), temperature_K=900.0)).result.transport
    assert found.tracer_diffusivity_cm2_per_s.value == pytest.approx(0.15**2 / (2 * DT_PS) * 1e-4, rel=0.1)
    assert found.charge_diffusivity_cm2_per_s.is_unknown
    assert found.haven_ratio.is_unknown
    assert found.ionic_conductivity_S_per_cm is None
    assert any("momentum" in flag for flag in found.flags)
    free = np.cumsum(np.random.default_rng(3).normal(0.0, 0.15, (3000, 32, 3)), axis=0)
    walkers = analyse_displacements(free, 9.0 * np.eye(3), np.ones(32, dtype=bool), DT_PS)
    assert 0.3 < walkers.haven_ratio.value < 3.0
