"""The law of Vogel, Tammann and Fulcher: recovered where it holds, and not seen along a straight line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from superionic.errors import AnalysisError
from superionic.transport.conductivity.of_temperature import RunTransport, temperature_dependence
from superionic.transport.conductivity.vogel import vogel_fit
from superionic.transport.estimate import count_like_estimate
from superionic.units import BOLTZMANN_EV_PER_K as KB

T = np.array([300.0, 340.0, 400.0, 480.0, 600.0, 800.0])


def vogel(T, A=50.0, B=900.0, T0=200.0):
    return A * np.exp(-B / (T - T0))


def test_an_exact_law_gives_its_parameters():
    result = vogel_fit(T, vogel(T), [0.05] * len(T))
    assert pytest.approx(200.0, abs=0.05) == result.T0_K
    assert pytest.approx(900.0, rel=1e-3) == result.B_K
    assert result.B_eV == pytest.approx(900.0 * KB, rel=1e-3)
    assert result.ln_prefactor == pytest.approx(math.log(50.0), abs=1e-3)
    assert result.significant
    assert result.value_at(250.0) == pytest.approx(float(vogel(250.0)), rel=1e-2)
    assert result.value_at(199.0) is None


def test_equals_an_independent_fit_with_its_errors():
    rng = np.random.default_rng(0)
    values = vogel(T) * np.exp(rng.normal(0.0, 0.05, len(T)))
    result = vogel_fit(T, values, [0.05] * len(T))
    other, covariance = curve_fit(
        lambda t, a, b, t0: a - b / (t - t0), T, np.log(values), p0=(4.0, 800.0, 180.0), sigma=[0.05] * len(T),
        absolute_sigma=True,
    )  # fmt: skip
    np.testing.assert_allclose([result.ln_prefactor, result.B_K, result.T0_K], other, rtol=1e-3)
    np.testing.assert_allclose(
        [result.ln_prefactor_error, result.B_error_K, result.T0_error_K], np.sqrt(np.diag(covariance)), rtol=0.02
    )


def test_a_straight_line_is_seldom_taken_for_curved():
    rng = np.random.default_rng(1)
    line = np.exp(-0.3 / (KB * T))
    n, seen = 400, 0
    for _ in range(n):
        result = vogel_fit(T, line * np.exp(rng.normal(0.0, 0.1, len(T))), [0.1] * len(T))
        seen += result is not None and result.significant
    assert seen / n <= 0.025


def test_a_plot_that_bends_the_other_way_has_no_such_law():
    two = np.exp(-0.15 / (KB * T)) + 50.0 * np.exp(-0.4 / (KB * T))
    assert vogel_fit(T, two, [0.01] * len(T)) is None
    assert vogel_fit(T[:4], vogel(T[:4]), [0.05] * 4) is None
    for values, errors, words in ((vogel(T)[:3], [0.1] * 6, "one length"), (-vogel(T), [0.1] * 6, "positive")):
        with pytest.raises(AnalysisError, match=words):
            vogel_fit(T, values, errors)


def test_curvature_is_a_doubt_and_never_the_headline():
    runs = []
    for t in T:
        sigma = count_like_estimate(float(vogel(t)) / t, (0.05 * float(vogel(t)) / t) ** 2)
        runs.append(RunTransport(float(t), "", sigma.scaled(1e-4 * t), sigma))
    result = temperature_dependence(runs, form="lnSigmaT", report_temperatures_K=[260.0, 400.0])
    assert result.vogel.significant
    doubt = next(each for each in result.doubts if each.kind == "curved")
    assert doubt.severity == "caution"
    assert "T₀ = 200 ±" in doubt.words
    assert "where the law would give" in doubt.words
    assert result.headline.origin == "line"
    assert result.headline.value_S_per_cm == pytest.approx(result.line.predict(260.0).value)
    few = temperature_dependence(runs[:4], form="lnSigmaT", report_temperatures_K=[260.0])
    assert few.vogel is None
