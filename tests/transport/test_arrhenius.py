from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from superionic.errors import AnalysisError, CalculationFailed
from superionic.transport.conductivity.arrhenius import arrhenius_fit, arrhenius_fit_estimates
from superionic.transport.estimate import count_like_estimate
from superionic.units import BOLTZMANN_EV_PER_K as KB

T = np.array([500.0, 600.0, 700.0, 800.0])


def line(temperatures, Ea=0.3, D0=1e-3):
    return D0 * np.exp(-Ea / (KB * np.asarray(temperatures)))


@pytest.mark.parametrize("form", ["lnD", "lnSigmaT"])
def test_exact_line(form):
    values = line(T) / (T if form == "lnSigmaT" else 1.0)
    fit = arrhenius_fit(T, values, 0.1 * values, form=form)
    assert fit.Ea_eV == pytest.approx(0.3, abs=1e-12)
    assert np.exp(fit.ln_prefactor) == pytest.approx(1e-3, rel=1e-10)
    at_300 = fit.predict(300.0)
    assert at_300.extrapolated
    assert not fit.predict(500.0).extrapolated
    assert at_300.value == pytest.approx(float(line(300.0)) / (300.0 if form == "lnSigmaT" else 1.0), rel=1e-9)
    low, high = at_300.interval68
    assert low * high == pytest.approx(at_300.value**2)


def test_equals_an_independent_weighted_fit_with_covariance():
    rng = np.random.default_rng(0)
    temperatures = np.linspace(300, 1100, 9)
    relative = rng.uniform(0.02, 0.2, 9)
    values = line(temperatures) * np.exp(rng.normal(0, relative))
    fit = arrhenius_fit(temperatures, values, relative * values)
    result, covariance = curve_fit(
        lambda x, a, b: a - b * x, 1 / (KB * temperatures), np.log(values), sigma=relative, absolute_sigma=True
    )
    np.testing.assert_allclose([fit.ln_prefactor, fit.Ea_eV], result, rtol=1e-7)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-6)


def test_intervals_at_room_temperature_cover():
    rng = np.random.default_rng(1)
    truth = float(line(300.0))
    relative = np.array([0.3, 0.2, 0.1, 0.08])
    inside68 = inside95 = 0
    n = 1000
    for _ in range(n):
        values = line(T) * np.exp(rng.normal(0, relative))
        predicted = arrhenius_fit(T, values, relative * values).predict(300.0)
        inside68 += predicted.interval68[0] <= truth <= predicted.interval68[1]
        inside95 += predicted.interval95[0] <= truth <= predicted.interval95[1]
    assert inside68 / n == pytest.approx(0.683, abs=0.04)
    assert inside95 / n == pytest.approx(0.95, abs=0.02)


def test_without_errors_the_scatter_gives_them():
    rng = np.random.default_rng(2)
    truth = float(line(300.0))
    inside = 0
    for _ in range(600):
        predicted = arrhenius_fit(T, line(T) * np.exp(rng.normal(0, 0.1, 4))).predict(300.0)
        inside += predicted.interval68[0] <= truth <= predicted.interval68[1]
    assert inside / 600 == pytest.approx(0.683, abs=0.06)


def test_two_points():
    bare = arrhenius_fit(T[:2], line(T[:2]))
    assert bare.Ea_eV == pytest.approx(0.3)
    assert bare.Ea_error_eV is None
    assert bare.predict(300.0).interval68 is None
    assert any("no error" in flag for flag in bare.flags)
    weighted = arrhenius_fit(T[:2], line(T[:2]), 0.1 * line(T[:2]))
    expected = math.hypot(0.1, 0.1) / (1 / (KB * 500) - 1 / (KB * 600))
    assert weighted.Ea_error_eV == pytest.approx(expected)
    assert any("Two temperatures only" in flag for flag in weighted.flags)


def test_scatter_beyond_the_errors_enlarges_them():
    values = line(T) * np.array([2.0, 0.5, 2.0, 0.5])
    fit = arrhenius_fit(T, values, 0.02 * values)
    assert fit.reduced_chi2 > 100
    assert any("more than one regime" in flag for flag in fit.flags)
    assert fit.Ea_error_eV > 0.05


def test_upper_bounds():
    values, errors = line(T), 0.2 * line(T)
    loose = arrhenius_fit(T, values, errors, upper_bounds=[100 * values[0], None, None, None])
    assert loose.Ea_eV == pytest.approx(0.3, abs=0.002)
    assert loose.used == (False, True, True, True)
    assert loose.temperature_range_K == (600.0, 800.0)
    tight = arrhenius_fit(T, values, errors, upper_bounds=[0.05 * values[0], None, None, None])
    assert tight.Ea_eV > 0.32
    assert any("passes above" in flag for flag in tight.flags)
    with pytest.raises(CalculationFailed, match="two temperatures"):
        arrhenius_fit(T[:2], values[:2], errors[:2], upper_bounds=[values[0], None])


def test_fit_of_estimates():
    estimates = [count_like_estimate(v, (0.1 * v) ** 2) for v in line(T)]
    estimates[0] = count_like_estimate(0.0, 0.0, bound_per_hop=float(line(500.0)))
    fit = arrhenius_fit_estimates(T, estimates)
    assert fit.Ea_eV == pytest.approx(0.3, abs=0.03)
    assert fit.used == (False, True, True, True)
    exact = arrhenius_fit_estimates(T[1:], [count_like_estimate(v, 0.0) for v in line(T[1:])])
    assert exact.Ea_eV == pytest.approx(0.3, abs=1e-6)
    with pytest.raises(AnalysisError):
        arrhenius_fit_estimates(T, estimates[:2])


def test_values_that_are_not_positive_are_left_out_and_named():
    values = line(T)
    values[1] = 0.0
    fit = arrhenius_fit(T, values, np.full(4, 1e-8))
    assert not fit.used[1]
    assert any("left out" in flag for flag in fit.flags)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperatures_K": [500.0, -1.0, 700.0, 800.0]}, "Temperatures"),
        ({"errors": [0.1, 0.0, 0.1, 0.1]}, "Errors"),
        ({"values": [1.0, 2.0]}, "one length"),
        ({"form": "lnX"}, "no Arrhenius form"),
        ({"upper_bounds": [0.0, None, None, None]}, "Upper bounds"),
    ],
)
def test_wrong_input(change, words):
    given = {"temperatures_K": T, "values": line(T), "errors": 0.1 * line(T)} | change
    with pytest.raises(AnalysisError, match=words):
        arrhenius_fit(**given)
    with pytest.raises(AnalysisError, match="positive"):
        arrhenius_fit(T, line(T)).predict(0.0)
