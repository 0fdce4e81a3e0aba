"""Rotation of polyanions: rigid tetrahedra that turn in known ways."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation as Turn

from superionic.errors import AnalysisError
from superionic.transport.observables.rotation import find_bonds, rotation

CELL = np.eye(3) * 16.0
DT_PS = 0.1
TETRAHEDRON = 2.05 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
GRID = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * 8.0
SYMBOLS = ("Li",) * 8 + ("P",) * 8 + ("S",) * 32
C3 = np.array(
    [
        Turn.from_rotvec(angle * v / np.linalg.norm(v)).as_matrix()
        for v in TETRAHEDRON
        for angle in (2 * np.pi / 3, -2 * np.pi / 3)
    ]
)
RESTING = np.broadcast_to(np.eye(3), (8, 3, 3))


def trajectory(turns):
    """Return positions of Li beside PS4 groups with these orientations: (n_frames, 8, 3, 3) matrices."""
    turns = np.asarray(turns)
    sulfur = (GRID + 1.0)[:, None] + np.einsum("fgab,lb->fgla", turns, TETRAHEDRON)
    still = np.broadcast_to(np.concatenate([GRID + 4.0, GRID + 1.0]), (len(turns), 16, 3))
    return np.concatenate([still, sulfur.reshape(len(turns), 32, 3)], axis=1)


def jumping(rate_per_ps, n_frames, seed):
    """Turn each group by 120° about one of its threefold axes, by chance, at a rate."""
    rng = np.random.default_rng(seed)
    state = np.array(RESTING)
    rows = []
    for _ in range(n_frames):
        for k in np.flatnonzero(rng.random(8) < 1.0 - np.exp(-rate_per_ps * DT_PS)):
            state[k] = state[k] @ C3[rng.integers(8)]
        rows.append(state.copy())
    return trajectory(rows)


def of(positions):
    [bonds] = find_bonds(SYMBOLS, positions, CELL, exclude=("Li",))
    return bonds, rotation(positions, bonds, DT_PS)


def test_jumps_about_threefold_axes_fade_with_their_rate():
    # Of eight turns two leave a bond in place and six take it by the tetrahedral angle: ⟨cos⟩ = 2/8 − 6/8/3 = 0,
    # so C(t) = exp(−k t) exactly.
    rate = 0.1
    bonds, result = of(jumping(rate, 6000, seed=1))
    assert (bonds.name, result.n_groups, result.n_bonds, result.n_broken) == ("PS4", 8, 32, 0)
    low, high = result.interval95_ps
    assert low < 1.0 / rate < high
    assert result.rotation_time_ps == pytest.approx(1.0 / rate, rel=0.2)
    assert result.plateau == pytest.approx(1.0, abs=0.1)
    assert result.fraction_turned == 1.0
    some = result.lags_ps < 10.0
    off = np.abs(result.correlation - np.exp(-rate * result.lags_ps))[some]
    assert off.max() < 0.08
    assert result.correlation[0] == pytest.approx(1.0)


def test_rotational_diffusion_fades_with_twice_its_constant():
    rng = np.random.default_rng(4)
    constant = 0.02  # in 1/ps: a small turn has ⟨θ²⟩ = 2 D Δt about each axis
    state = np.array(RESTING)
    rows = []
    for _ in range(5000):
        steps = rng.normal(0.0, np.sqrt(2.0 * constant * DT_PS), (8, 3))
        state = Turn.from_rotvec(steps).as_matrix() @ state
        rows.append(state)
    _, result = of(trajectory(rows))
    low, high = result.interval95_ps
    assert low < 1.0 / (2.0 * constant) < high
    assert result.rotation_time_ps == pytest.approx(1.0 / (2.0 * constant), rel=0.25)


def test_librations_are_no_rotation():
    rng = np.random.default_rng(2)
    angle = 0.15  # rad about each axis: ⟨u(0)·u(t)⟩ → ⟨u⟩² = about 1 − 2 · 0.15²
    rows = [Turn.from_rotvec(rng.normal(0.0, angle, (8, 3))).as_matrix() for _ in range(1500)]
    _, result = of(trajectory(rows))
    assert result.fraction_turned == 0.0
    assert result.rotation_time_ps is None
    assert result.plateau == pytest.approx(np.exp(-2.0 * angle**2), abs=0.01)
    assert result.interval95_ps[0] > 100.0
    assert result.interval95_ps[1] == np.inf
    assert "longer than" in result.flags[0]


def test_one_of_eight_that_turns_once_is_an_eighth():
    rows = np.array([RESTING] * 400)
    rows[200:, 3] = C3[0]
    _, result = of(trajectory(rows))
    assert result.fraction_turned == 0.125


def test_what_is_a_polyanion():
    def names(symbols, positions, exclude=("Li",)):
        return [each.name for each in find_bonds(symbols, np.array([positions] * 5), CELL, exclude=exclude)]

    tetrahedron = TETRAHEDRON / 2.05
    phosphate = ("P", *("O",) * 4), np.concatenate([[[8.0] * 3], 8.0 + 1.55 * tetrahedron])
    assert names(*phosphate) == ["PO4"]
    borohydride = ("B", *("H",) * 4), np.concatenate([[[8.0] * 3], 8.0 + 1.21 * tetrahedron])
    assert names(*borohydride) == ["BH4"]
    halide = ("Y", *("Cl",) * 4), np.concatenate([[[8.0] * 3], 8.0 + 2.6 * tetrahedron])
    assert names(*halide) == []  # metals hold no polyanion
    across = ("P", *("S",) * 4), np.concatenate([[[0.1] * 3], np.mod(0.1 + 2.05 * tetrahedron, 16.0)])
    [bonds] = find_bonds(across[0], np.array([across[1]] * 5), CELL)
    vectors = across[1][bonds.ligands] + bonds.shifts_A - across[1][bonds.centres]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.full(4, 2.05))  # across the boundary of the cell


def test_bonds_that_break_are_left_out_and_none_is_refused():
    positions = trajectory([RESTING] * 50)
    [bonds] = find_bonds(SYMBOLS, positions, CELL, exclude=("Li",))
    positions[25:, 16] += 3.0
    assert rotation(positions, bonds, DT_PS).n_broken == 1
    positions[25:, 16:] += 3.0
    with pytest.raises(AnalysisError, match="All bonds of PS4 break"):
        rotation(positions, bonds, DT_PS)
