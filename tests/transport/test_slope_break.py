"""The test for two Arrhenius regimes: it finds what is there, and finds nothing in a straight line."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit, minimize

from superionic.errors import AnalysisError
from superionic.transport.conductivity.slope_break import slope_break
from superionic.units import BOLTZMANN_EV_PER_K

T = np.arange(400.0, 851.0, 50.0)
X = 1.0 / (BOLTZMANN_EV_PER_K * T)


def broken_line(below: float, above: float, at_K: float) -> np.ndarray:
    x_break = 1.0 / (BOLTZMANN_EV_PER_K * at_K)
    return -above * X - (below - above) * np.maximum(X - x_break, 0.0)


def test_a_break_is_found_with_its_slopes():
    rng = np.random.default_rng(1)
    sigma = np.full(len(T), 0.08)
    result = slope_break(T, np.exp(broken_line(0.45, 0.20, 600.0) + rng.normal(0.0, sigma)), sigma)
    assert result is not None
    assert result.significant
    assert result.p_value < 1e-3
    assert abs(result.temperature_K - 600.0) < 60.0
    assert abs(result.Ea_below_eV - 0.45) < 3.0 * result.Ea_below_error_eV
    assert abs(result.Ea_above_eV - 0.20) < 3.0 * result.Ea_above_error_eV
    assert "breaks at" in (result.flag or "")


def test_the_fit_is_the_least_of_chi_squared():
    """Another minimiser, free to put the break anywhere, finds no better broken line than the grid allows for."""
    rng = np.random.default_rng(4)
    sigma = rng.uniform(0.05, 0.15, len(T))
    y = broken_line(0.40, 0.25, 650.0) + rng.normal(0.0, sigma)
    result = slope_break(T, np.exp(y), sigma)
    assert result is not None

    def line(x: np.ndarray, start: float, below: float, above: float, at: float) -> np.ndarray:
        return start - above * x - (below - above) * np.maximum(x - at, 0.0)

    at = 1.0 / (BOLTZMANN_EV_PER_K * result.temperature_K)
    own, covariance = curve_fit(lambda x, *p: line(x, *p, at), X, y, [0.0, 0.3, 0.3], sigma, absolute_sigma=True)
    assert own[1:] == pytest.approx([result.Ea_below_eV, result.Ea_above_eV], abs=1e-6)
    errors = np.sqrt(np.diag(covariance))[1:]
    assert errors == pytest.approx([result.Ea_below_error_eV, result.Ea_above_error_eV], rel=1e-4)

    def chi2(p: np.ndarray) -> float:
        return float(np.sum(((y - line(X, *p)) / sigma) ** 2))

    free = minimize(chi2, [*own, at], method="Nelder-Mead", options={"maxiter": 4000})
    assert free.fun > chi2(np.array([*own, at])) - 0.3


def test_a_straight_line_is_called_broken_as_rarely_as_said():
    rng = np.random.default_rng(2)
    sigma = rng.uniform(0.05, 0.2, len(T))
    values = np.exp(-0.3 * X + rng.normal(0.0, sigma, (300, len(T))))
    p = np.array([result.p_value for row in values if (result := slope_break(T, row, sigma)) is not None])
    assert len(p) == 300
    assert np.count_nonzero(p < 0.01) <= 9  # 3 expected
    assert 0.40 < np.mean(p < 0.5) < 0.60


def test_few_points_give_no_answer_and_bad_ones_an_error():
    assert slope_break(T[:4], np.ones(4), np.ones(4)) is None
    with pytest.raises(AnalysisError, match="one length"):
        slope_break(T, np.ones(3), np.ones(3))
    with pytest.raises(AnalysisError, match="positive"):
        slope_break(T, np.zeros(len(T)), np.ones(len(T)))
