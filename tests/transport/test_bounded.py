"""Upper bounds count as upper bounds: in averages, along the line, and for σ where it is extrapolated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from superionic.transport.conductivity.arrhenius import arrhenius_fit_estimates, bound_log_error
from superionic.transport.conductivity.bounded import respect_bounds
from superionic.transport.conductivity.of_temperature import RunTransport, temperature_dependence
from superionic.transport.estimate import count_like_estimate, pool
from superionic.units import BOLTZMANN_EV_PER_K as KB

T = (500.0, 560.0, 630.0, 720.0, 830.0, 970.0)
EA = 0.3


def hops(rng, t, hottest=400.0):
    mean = hottest * math.exp(-EA / KB * (1.0 / t - 1.0 / T[-1]))
    return mean, int(rng.poisson(mean))


def few_hops(rng, t):
    """A crystal whose coldest two runs are too short to see hops."""
    mean, seen = hops(rng, t)
    if t < 600.0:
        mean *= 0.01
        seen = int(rng.poisson(mean))
    unit = math.exp(-EA / (KB * t)) / mean
    return count_like_estimate(seen * unit, seen * unit**2, bound_per_hop=unit if seen == 0 else None)


def not_level(rng, t):
    """Cages hold the coldest two: what is seen is D times one to four, and anything below is possible."""
    mean, seen = hops(rng, t)
    unit = math.exp(-EA / (KB * t)) / mean
    if t > 600.0:
        return count_like_estimate(seen * unit, seen * unit**2)
    excess = rng.choice([1.0, 1.3, 2.0, 4.0])
    value = max(seen, 1) * unit * excess
    return count_like_estimate(value, value * unit * excess, force_upper_bound=True)


@pytest.mark.parametrize("kind", [few_hops, not_level])
def test_two_of_six_temperatures_bounded_leave_intervals_that_hold(kind):
    rng, n, censored = np.random.default_rng(5), 300, 0
    Ea95 = sigma95 = sigma68 = 0
    truth = math.exp(-EA / (KB * 300.0)) / 300.0
    for _ in range(n):
        drawn = [(t, kind(rng, t)) for t in T]
        # the fit alone, since it is what gives both
        fit = arrhenius_fit_estimates(T, [e.scaled(1.0 / t) for t, e in drawn], form="lnSigmaT")
        censored += len(T) - sum(fit.used)
        Ea95 += abs(fit.Ea_eV - EA) <= 1.96 * fit.Ea_error_eV
        low, high = fit.predict(300.0).interval95
        sigma95 += low <= truth <= high
        low, high = fit.predict(300.0).interval68
        sigma68 += low <= truth <= high
    assert censored / n > 1.5
    assert Ea95 / n >= 0.92
    assert sigma95 / n >= 0.92
    assert sigma68 / n == pytest.approx(0.68, abs=0.08)


def test_a_bound_above_the_line_pulls_nothing_and_one_below_does():
    values = [count_like_estimate(math.exp(-EA / (KB * t)), (0.05 * math.exp(-EA / (KB * t))) ** 2) for t in T]
    plain = arrhenius_fit_estimates(T[1:], values[1:])

    def with_first(factor):
        bound = count_like_estimate(
            values[0].value * factor, (0.1 * values[0].value * factor) ** 2, force_upper_bound=True
        )
        assert bound_log_error(bound) == pytest.approx(0.1, rel=0.1)
        return arrhenius_fit_estimates(T, [bound, *values[1:]])

    far, near, below = (with_first(factor) for factor in (3.0, 1.0, 0.5))
    assert far.Ea_eV == pytest.approx(plain.Ea_eV, abs=1e-6)
    # anything below what was measured is as likely, and what is above is not: the line gives way a little
    assert plain.Ea_eV < near.Ea_eV < plain.Ea_eV + plain.Ea_error_eV
    assert below.Ea_eV > near.Ea_eV + plain.Ea_error_eV
    for each in (far, near, below):
        assert each.used == (False, True, True, True, True, True)
        assert any("upper bounds (at 500 K)" in flag for flag in each.flags)


def test_a_bound_by_counting_has_no_error_of_its_own():
    assert bound_log_error(count_like_estimate(0.0, 0.0, bound_per_hop=1.0)) is None
    assert bound_log_error(count_like_estimate(1.0, 2.0)) is None
    assert bound_log_error(count_like_estimate(1.0, 0.01)) is None


def test_replicas_that_did_not_level_off_hold_no_average_up():
    measured = count_like_estimate(1.0, 0.01)
    open_below = count_like_estimate(3.0, 0.09, force_upper_bound=True)
    two = [open_below, open_below.scaled(1.6)]
    average = respect_bounds(pool(two), two, [1.0, 1.0])
    assert average.is_upper_bound
    assert average.interval95[0] == 0.0
    assert average.interval95[1] == pool(two).interval95[1]
    mixed = respect_bounds(pool([measured, open_below]), [measured, open_below], [1.0, 1.0])
    assert not mixed.is_upper_bound
    assert mixed.interval68[0] == pytest.approx(0.25 * pool([measured, open_below]).interval68[0])
    assert mixed.interval68[0] < 0.5 < mixed.interval68[1]  # nothing but the half of the measured one
    # hops that are counted still add up
    counted = [count_like_estimate(0.0, 0.0, bound_per_hop=1.0), count_like_estimate(2.0, 2.0)]
    assert respect_bounds(pool(counted), counted, [1.0, 1.0]) == pool(counted)


def test_a_temperature_that_bounds_is_said_and_not_drawn_as_a_value():
    def run(t, estimate):
        return RunTransport(t, "", estimate.scaled(1e-4 * t), estimate)

    sigma = [math.exp(-EA / (KB * t)) / t for t in T]
    estimates = [count_like_estimate(s, (0.1 * s) ** 2) for s in sigma]
    cold = [count_like_estimate(f * sigma[0], (0.1 * sigma[0]) ** 2, force_upper_bound=True) for f in (2.0, 4.0)]
    runs = [run(T[0], each) for each in cold] + [run(t, e) for t, e in zip(T[1:], estimates[1:], strict=True)]
    result = temperature_dependence(runs, form="lnSigmaT", report_temperatures_K=[300.0, T[0]])
    assert result.points[0].conductivity_S_per_cm.estimate.is_upper_bound
    assert result.line.used == (False, True, True, True, True, True)
    assert result.line.temperature_range_K == (560.0, 970.0)
    assert result.Ea_eV == pytest.approx(EA, abs=1e-3)  # three times too high at 500 K would have made it 0.24 eV
    assert any("upper bounds (at 500 K) and count as such" in flag for flag in result.flags)
    assert result.conductivity_at(T[0]).extrapolated
