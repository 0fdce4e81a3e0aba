from __future__ import annotations

import json

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.execution.codec import encode, from_tree, plain_json, to_tree
from superionic.transport import TransportAnalysis, analyse_displacements
from superionic.transport.diffusion.diffusivity import charge_diffusivity, tracer_diffusivity
from superionic.transport.diffusion.hops import count_hops
from superionic.transport.diffusion.increments import average_blocks, fit_lag
from superionic.transport.diffusion.scatter import deviations
from superionic.units import siemens_per_cm


def vibrating(n_frames, n_ions, seed=0):
    return np.random.default_rng(seed).normal(0.0, 0.2, (n_frames, n_ions, 3))


def crystal(n_frames=400, n_mobile=9, hops=(), seed=0):
    """9 lithium-like ions among 21 framework atoms, as the short runs of the demo; hops are (frame, ion, vector)."""
    positions = vibrating(n_frames, 30, seed) + np.random.default_rng(seed + 1).uniform(0, 10, (30, 3))
    for frame, ion, vector in hops:
        positions[frame:, ion] += vector
    return positions, np.arange(30) < n_mobile


def test_fit_lag_parts_sum_to_the_whole():
    blocks = np.random.default_rng(0).normal(size=(50, 6, 3)).cumsum(axis=0)
    fit = fit_lag(blocks, 2.0)
    np.testing.assert_allclose(fit.contributions.sum(), fit.value_A2_per_ps, rtol=1e-12)
    np.testing.assert_allclose(np.trace(fit.tensor_A2_per_ps) / 3.0, fit.value_A2_per_ps, rtol=1e-12)
    np.testing.assert_allclose(deviations(fit.contributions, 5).sum(axis=0), 0.0, atol=1e-12)
    planar = fit_lag(blocks, 2.0, axes=(0, 1))
    np.testing.assert_allclose(np.trace(planar.tensor_A2_per_ps[:2, :2]) / 2.0, planar.value_A2_per_ps, rtol=1e-12)


def test_average_blocks():
    positions = np.arange(7.0)[:, None, None] * np.ones((7, 2, 3))
    np.testing.assert_allclose(average_blocks(positions, 3)[:, 0, 0], [1.0, 4.0])


def test_counts_hops_but_not_vibrations():
    positions = vibrating(1000, 3)
    positions[300:, 0, 0] += 3.0
    positions[600:, 0, 0] -= 3.0
    positions[500:, 1, 2] += 2.5
    assert count_hops(positions, 0.1).tolist() == [2, 1, 0]
    with pytest.raises(AnalysisError):
        count_hops(positions, 0.1, hop_distance_A=0.0)


def test_no_hop_gives_an_upper_bound_and_says_so():
    positions, mask = crystal(n_frames=251)
    result = analyse_displacements(positions, 10.0 * np.eye(3), mask, 0.02, 600.0, 1.0)
    assert result.n_hops == 0
    tracer = result.tracer_diffusivity_cm2_per_s
    assert tracer.is_upper_bound
    # three hops of 3 Å among 9 ions in 5 ps at least
    assert tracer.interval95[1] >= 2.99 * 9.0 / (6.0 * 9 * 5.0) * 1e-4
    assert result.nernst_einstein_conductivity_S_per_cm.is_upper_bound
    text = " ".join(result.flags)
    assert "No hop seen" in text
    assert "shorter than 20 ps (5 ps)" in text
    assert "Only 9 mobile ions" in text
    json.dumps(plain_json(to_tree(result)), allow_nan=False)


def test_few_hops_give_a_wide_interval_and_say_so():
    hops = [(60, 0, [3, 0, 0]), (120, 4, [0, 3, 0]), (190, 7, [0, 0, -3])]
    positions, mask = crystal(n_frames=251, hops=hops)
    result = analyse_displacements(positions, 10.0 * np.eye(3), mask, 0.02, 600.0, 1.0)
    assert result.n_hops == 3
    truth = 3 * 9.0 / (6.0 * 9 * 5.0) * 1e-4
    estimate = result.tracer_diffusivity_cm2_per_s
    assert estimate.interval68[0] < truth < estimate.interval68[1]
    assert estimate.interval95[1] / max(estimate.interval95[0], 1e-12) > 5.0
    assert any(flag.startswith("Few hops (3") for flag in result.flags)
    assert not result.tracer.diffusive
    assert any("too short to show" in flag for flag in result.flags)


@pytest.mark.parametrize("n_frames", [2, 3, 4, 7, 10, 19])
def test_tiny_runs_return(n_frames):
    positions, mask = crystal(n_frames=n_frames, hops=[(n_frames // 2, 1, [3, 0, 0])])
    result = analyse_displacements(positions, 10.0 * np.eye(3), mask, 0.1, 600.0, 1.0)
    estimate = result.tracer_diffusivity_cm2_per_s
    assert np.isfinite(estimate.interval95).all()
    assert estimate.interval95[0] <= estimate.value <= estimate.interval95[1]
    assert any("shorter than" in flag for flag in result.flags)
    json.dumps(plain_json(to_tree(result)), allow_nan=False)


def test_one_ion_and_motionless_ions():
    still = np.zeros((50, 4, 3))
    result = tracer_diffusivity(still, 0.1)
    assert result.A2_per_ps.value == 0.0
    assert result.A2_per_ps.is_upper_bound
    assert charge_diffusivity(still, 0.1, 1.0, result).A2_per_ps.is_upper_bound
    walk = np.random.default_rng(0).normal(0, 0.5, (2000, 1, 3)).cumsum(axis=0)
    one = tracer_diffusivity(walk, 0.1)
    assert one.A2_per_ps.interval95[0] < 0.125 / 0.1 < one.A2_per_ps.interval95[1]


def test_pure_rattling_is_at_most_a_bound():
    rng = np.random.default_rng(4)
    positions = vibrating(2000, 20, 4)
    positions[:, :, 0] += 3.0 * (np.cumsum(rng.random((2000, 20)) < 0.05, axis=0) % 2)
    result = tracer_diffusivity(positions, 0.1)
    assert result.n_hops > 100
    rattling = result.n_hops * 9.0 / (6.0 * 20 * 200.0)
    assert result.A2_per_ps.interval95[1] < 0.05 * rattling


def test_ions_that_hop_together_have_the_error_of_one():
    rng = np.random.default_rng(2)
    times = np.sort(rng.integers(0, 4000, 60))
    walk = np.zeros((4000, 3))
    for time in times:
        walk[time:] += 3.0 * np.eye(3)[rng.integers(3)] * rng.choice([-1, 1])
    together = walk[:, None, :] + vibrating(4000, 30, 1)
    estimate = tracer_diffusivity(together, 0.1).A2_per_ps
    assert estimate.error / estimate.value > 0.09  # 60 events, not 1,800


def test_same_input_gives_the_same_bits():
    positions, mask = crystal(hops=[(100, 0, [3, 0, 0]), (200, 1, [3, 0, 0])])
    first, second = (
        encode(analyse_displacements(positions, 10.0 * np.eye(3), mask, 0.1, 500.0, 1.0)) for _ in range(2)
    )
    assert first == second


def test_conductivity_haven_and_names_of_the_published_form():
    rng = np.random.default_rng(0)
    positions = np.concatenate(
        [rng.normal(0, 0.3, (3000, 20, 3)).cumsum(axis=0), rng.normal(0, 0.1, (3000, 10, 3))], axis=1
    )
    positions += rng.normal(0, 0.2, (3000, 1, 3)).cumsum(axis=0)  # drift of the whole
    mask = np.arange(30) < 20
    charges = np.where(mask, 1.0, -2.0)
    result = analyse_displacements(positions, 12.0 * np.eye(3), mask, 0.5, temperature_K=700.0, charges=charges)
    truth = 0.09 / 2.0 / 0.5
    d_star = result.tracer_diffusivity_cm2_per_s
    assert d_star.value == pytest.approx(truth * 1e-4, rel=0.1)
    expected = siemens_per_cm(20 * d_star.value * 1e4, 12.0**3, 700.0)
    assert result.nernst_einstein_conductivity_S_per_cm.value == pytest.approx(expected, rel=1e-12)
    ratio = d_star.value / result.charge_diffusivity_cm2_per_s.value
    assert result.haven_ratio.value == pytest.approx(ratio, rel=1e-12)
    assert not any("framework" in flag.lower() for flag in result.flags)
    scalar = analyse_displacements(positions, 12.0 * np.eye(3), mask, 0.5, 700.0, 1.0)
    assert encode(scalar) == encode(result)
    text = json.dumps(plain_json(to_tree(result)), allow_nan=False)
    assert encode(from_tree(json.loads(text), TransportAnalysis)) == encode(result)
    plain = analyse_displacements(positions, 12.0 * np.eye(3), mask, 0.5)
    assert plain.nernst_einstein_conductivity_S_per_cm is None
    assert plain.tracer_diffusivity_cm2_per_s == d_star


def test_a_changing_cell_and_masses_are_accepted():
    positions, mask = crystal(n_frames=100)
    cells = np.eye(3) * np.linspace(9.0, 11.0, 100)[:, None, None]
    result = analyse_displacements(positions, cells, mask, 0.1, 500.0, 1.0, masses=np.full(30, 35.0))
    assert result.volume_A3 == pytest.approx(np.mean(np.linspace(9.0, 11.0, 100) ** 3))


def test_a_melting_framework_is_flagged():
    hops = [(30 * i, 10 + i, [3, 0, 0]) for i in range(1, 12)]
    positions, mask = crystal(hops=hops)
    result = analyse_displacements(positions, 10.0 * np.eye(3), mask, 0.1)
    assert any("framework moves" in flag for flag in result.flags)


def test_literature_fits_stand_beside():
    walk = np.random.default_rng(0).normal(0, 0.3, (3000, 40, 3)).cumsum(axis=0)
    result = tracer_diffusivity(walk, 0.5)
    assert result.he2018 is not None
    assert result.paper_b is not None
    assert result.he2018.window_ps[1] <= 0.7 * 2999 * 0.5
    assert result.paper_b.window_ps[1] <= 500.0
    n_eff = result.he2018.effective_hops
    relative = result.he2018.error_A2_per_ps / result.he2018.value_A2_per_ps
    assert relative == pytest.approx(3.43 / np.sqrt(n_eff) + 0.04)
    assert result.paper_b.value_A2_per_ps == pytest.approx(0.09, rel=0.3)
    assert tracer_diffusivity(vibrating(100, 5), 0.1).he2018 is None


def test_wrong_input_names_itself():
    positions, mask = crystal(n_frames=20)
    cell = 10.0 * np.eye(3)
    for call, words in (
        (lambda: analyse_displacements(positions[:1], cell, mask, 0.1), "one frame"),
        (lambda: analyse_displacements(positions, cell, mask[:-1], 0.1), "mask"),
        (lambda: analyse_displacements(positions, cell, np.zeros(30, dtype=bool), 0.1), "No mobile ion"),
        (lambda: analyse_displacements(positions, cell[:2], mask, 0.1), "cell"),
        (lambda: analyse_displacements(positions, cell, mask, 0.0), "between frames"),
        (lambda: analyse_displacements(positions, cell, mask, 0.1, -5.0, 1.0), "temperature"),
        (lambda: analyse_displacements(positions, cell, mask, 0.1, 500.0, 0.0), "charges"),
        (lambda: analyse_displacements(positions, cell, mask, 0.1, 500.0, np.ones(4)), "Charges"),
        (lambda: analyse_displacements(positions * np.nan, cell, mask, 0.1), "finite"),
        (lambda: analyse_displacements(positions, cell, mask, 0.1, axes=(3,)), "axes"),
        (lambda: tracer_diffusivity(positions[0], 0.1), "shape"),
    ):
        with pytest.raises(AnalysisError, match=words):
            call()


def test_single_precision_and_planes_of_the_cell():
    """Positions in single precision give the same; the ac plane of a skew cell is found by its vectors."""
    from superionic.transport.analysis import analyse_displacements

    rng = np.random.default_rng(8)
    cell = np.array([[9.0, 0.0, 0.0], [-4.5, 7.8, 0.0], [1.0, 0.5, 8.0]])
    steps = rng.normal(size=(3001, 12, 2)) * [0.3, 0.1]
    along = cell[0] / np.linalg.norm(cell[0])
    across = np.cross(np.cross(cell[0], cell[2]), cell[0])
    across /= np.linalg.norm(across)
    positions = steps.cumsum(axis=0) @ np.array([along, across])
    mask = np.ones(12, dtype=bool)
    plane = analyse_displacements(positions, cell, mask, 0.1, plane=(0, 2))
    truth = 0.5 * (0.3**2 + 0.1**2) / (2 * 0.1)
    assert plane.tracer.A2_per_ps.value == pytest.approx(truth, rel=0.1)
    tensor = plane.tracer.tensor_A2_per_ps
    assert tensor[0, 0] / tensor[1, 1] == pytest.approx(9.0, rel=0.3)
    assert abs(tensor[2, 2]) < 1e-9
    single = analyse_displacements(positions.astype(np.float32), cell, mask, 0.1, plane=(0, 2))
    assert single.tracer.A2_per_ps.value == pytest.approx(plane.tracer.A2_per_ps.value, rel=1e-4)
    with pytest.raises(AnalysisError, match="two of the cell's vectors"):
        analyse_displacements(positions, cell, mask, 0.1, plane=(1, 1))
