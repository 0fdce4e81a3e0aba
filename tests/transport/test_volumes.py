"""Mean cells and thermal expansion: stated errors are right as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.observables.volumes import (
    correlation_samples,
    equilibrated_from,
    mean_cell,
    series_mean,
    thermal_expansion,
)


def correlated(n, memory, rng, size=1):
    """Gaussian series (size, n) of variance 1 whose correlation falls to 1/e in `memory` frames."""
    keep = np.exp(-1.0 / memory)
    out = np.empty((size, n))
    out[:, 0] = rng.normal(size=size)
    for k in range(1, n):
        out[:, k] = keep * out[:, k - 1] + np.sqrt(1.0 - keep**2) * rng.normal(size=size)
    return out


def test_the_correlation_time_of_a_known_process():
    rng = np.random.default_rng(0)
    result = np.mean([correlation_samples(x) for x in correlated(20_000, 25.0, rng, 20)])
    assert result == pytest.approx(25.0, rel=0.08)  # ∫ exp(−t/25)
    assert correlation_samples(rng.normal(size=5000)) == pytest.approx(0.5, abs=0.1)
    assert correlation_samples(np.full(100, 3.0)) == 0.5


def test_stated_errors_of_means_cover_the_truth():
    rng = np.random.default_rng(1)
    means = [series_mean(x, 0.1) for x in correlated(2000, 20.0, rng, 400)]
    inside68 = np.mean([m.interval68[0] <= 0.0 <= m.interval68[1] for m in means])
    inside95 = np.mean([m.interval95[0] <= 0.0 <= m.interval95[1] for m in means])
    assert 0.62 < inside68 < 0.75
    assert 0.91 < inside95 < 0.98
    scatter = np.std([m.value for m in means])
    assert np.mean([m.error for m in means]) == pytest.approx(scatter, rel=0.1)
    assert means[0].correlation_time_ps == pytest.approx(2.0, rel=0.6)


def test_a_relaxing_start_is_left_out():
    rng = np.random.default_rng(2)
    series = 100.0 + 0.1 * correlated(4000, 10.0, rng)[0] + 5.0 * np.exp(-np.arange(4000) / 150.0)
    first = equilibrated_from(series)
    assert 400 <= first <= 1600
    assert equilibrated_from(rng.normal(size=1000)) <= 500


def test_mean_cell_of_a_triclinic_run():
    rng = np.random.default_rng(3)
    cell = np.array([[9.0, 0.0, 0.0], [2.5, 8.0, 0.0], [-1.5, 1.0, 10.0]])
    scale = 1.0 + 0.01 * correlated(5000, 15.0, rng, 3).T
    result = mean_cell(cell * scale[:, :, None], 0.1, n_atoms=24)
    a, b, c = (mean.value for mean in result.lengths_A)
    expected = np.linalg.norm(cell, axis=1)
    for mean, length in zip((a, b, c), expected, strict=True):
        assert mean == pytest.approx(length, rel=0.003)
    assert result.angles_deg[2].value == pytest.approx(np.degrees(np.arccos(2.5 / expected[1])), abs=1e-6)
    assert abs(result.volume_A3.value - 720.0) < 4.0 * result.volume_A3.error
    assert result.volume_per_atom_A3.value == pytest.approx(result.volume_A3.value / 24)
    assert result.flags == ()


def test_few_samples_and_drift_are_flagged():
    rng = np.random.default_rng(4)
    cell = np.eye(3) * 10.0
    slow = mean_cell(cell * (1.0 + 0.01 * correlated(300, 60.0, rng)[0])[:, None, None], 0.1)
    assert any("independent samples" in flag for flag in slow.flags)
    with pytest.raises(AnalysisError):
        mean_cell(cell, 0.1)
    with pytest.raises(AnalysisError):
        series_mean(np.array([1.0]), 0.1)


def test_thermal_expansion_is_recovered_within_its_error():
    rng = np.random.default_rng(5)
    T = np.array([300.0, 400.0, 500.0, 600.0, 700.0])
    sigma = np.array([1.0, 1.0, 1.5, 2.0, 2.0])
    V = 2000.0 * (1.0 + 9e-5 * (T - 500.0))
    fits = [thermal_expansion(T, V + rng.normal(0.0, sigma), sigma) for _ in range(500)]
    truth = [9e-5 / (1.0 + 9e-5 * (fit.mean_temperature_K - 500.0)) for fit in fits]
    pulls = [(f.volumetric_per_K - t) / f.volumetric_error_per_K for f, t in zip(fits, truth, strict=True)]
    assert abs(np.mean(pulls)) < 0.15
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)
    assert fits[0].linear_per_K == pytest.approx(fits[0].volumetric_per_K / 3.0)


def test_what_a_line_cannot_say():
    two = thermal_expansion([300.0, 600.0], [100.0, 101.0], [0.1, 0.1])
    assert any("Two temperatures" in flag for flag in two.flags)
    curved = thermal_expansion([300.0, 400.0, 500.0, 600.0], [100.0, 101.0, 101.0, 104.0], [0.05] * 4)
    assert any("not a straight line" in flag for flag in curved.flags)
    for arguments in (
        ([300.0], [1.0], [0.1]),
        ([300.0, 300.0], [1.0, 1.0], [0.1, 0.1]),
        ([1.0, 2.0], [1.0, -1.0], [0.1] * 2),
    ):
        with pytest.raises(AnalysisError):
            thermal_expansion(*arguments)
