"""The error of the model's form: exact factors, coverage on teachers with a known truth, and its line in the budget."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize

from superionic.errors import AnalysisError
from superionic.transport.conductivity.model_form import width_factor
from superionic.transport.conductivity.of_temperature import RunTransport, temperature_dependence
from superionic.transport.estimate import LEVEL_68, LEVEL_95, Estimate
from superionic.units import BOLTZMANN_EV_PER_K as KB

TEMPERATURES = (600.0, 700.0, 800.0)


def run_at(temperature, Ea, relative=0.05, ln_sigma0=7.6):
    """A run with an exact Arrhenius law of σT, and this relative error."""
    sigma = math.exp(ln_sigma0 - Ea / (KB * temperature)) / temperature
    two = 1.959963984540054 * relative

    def estimate(value):
        inner = (value * math.exp(-relative), value * math.exp(relative))
        return Estimate(value, relative * value, inner, (value * math.exp(-two), value * math.exp(two)))

    return RunTransport(temperature, "", estimate(1e-4 * sigma * temperature), estimate(sigma))


def line_of(Ea, *, report=(300.0,), **options):
    given = {name: options.pop(name) for name in ("relative", "ln_sigma0") if name in options}
    runs = [run_at(temperature, Ea, **given) for temperature in TEMPERATURES]
    return temperature_dependence(runs, form="lnSigmaT", report_temperatures_K=report, **options)


@pytest.mark.parametrize("level", [LEVEL_68, LEVEL_95])
def test_for_two_teachers_the_factor_has_a_closed_form(level):
    # With the mean m and half the difference r of two standard normal numbers, m/r is Cauchy distributed, and the
    # first is within factor * S = factor * √2 |r| of the truth where |m/r + 1| is below factor * √2.
    def excess(factor):
        edge = math.sqrt(2.0) * factor
        return (math.atan(edge - 1.0) + math.atan(edge + 1.0)) / math.pi - level

    assert width_factor(2, level) == pytest.approx(optimize.brentq(excess, 0.1, 100.0), rel=1e-6)
    with pytest.raises(AnalysisError, match="no scatter"):
        width_factor(1, level)


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_the_first_of_a_few_normal_numbers_is_as_near_to_the_truth_as_the_factor_says(n):
    drawn = np.random.default_rng(n).standard_normal((400_000, n))
    over = np.abs(drawn[:, 0]) / drawn.std(axis=1, ddof=1)
    for level in (LEVEL_68, LEVEL_95):
        assert np.mean(over < width_factor(n, level)) == pytest.approx(level, abs=0.003)
    assert width_factor(50, LEVEL_95) == pytest.approx(1.96, abs=0.01)  # many: their scatter is that of each


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_budget_holds_the_true_activation_energy_as_often_as_it_says(n):
    """Teachers scatter by 60 meV about a truth of 0.3 eV, and each student's line has a statistical error besides."""
    rng = np.random.default_rng(10 * n)
    statistics = line_of(0.3).Ea_error_eV
    assert 0.005 < statistics < 0.02
    Ea = 0.3 + rng.normal(0.0, math.hypot(0.06, statistics), (40_000, n))
    scatter = Ea.std(axis=1, ddof=1)
    for level, z, low, high in ((LEVEL_68, 1.0, 0.66, 0.70), (LEVEL_95, 1.96, 0.94, 0.96)):
        half = np.maximum(z * statistics, width_factor(n, level) * scatter)
        assert low <= np.mean(np.abs(Ea[:, 0] - 0.3) < half) <= high
    # The stated error is that half-width, and the lines of the budget add to it in quadrature.
    for draw in Ea[:2]:
        others = {f"teacher {k}": line_of(energy) for k, energy in enumerate(draw[1:], 2)}
        stated = line_of(draw[0], teacher="teacher 1", others=others)
        whole = max(statistics, width_factor(n, LEVEL_68) * float(np.std(draw, ddof=1)))
        assert stated.Ea_eV == pytest.approx(draw[0])
        assert stated.Ea_error_eV == pytest.approx(whole)
        assert [term.source for term in stated.budget] == ["statistics", "model form"]
        assert math.hypot(*(term.Ea_eV for term in stated.budget)) == pytest.approx(whole)
        errors = [dict(term.ln_sigma)[300.0] for term in stated.budget]
        assert math.hypot(*errors) == pytest.approx(stated.headline.log_error)


def test_intervals_of_sigma_reach_as_far_as_the_scatter_of_the_teachers_demands():
    plain = line_of(0.3)
    # The same slope, and prefactors apart by ln 2 and ln 4: ln σ scatters by ln 2 at all temperatures.
    lines = {f"{k}": line_of(0.3, ln_sigma0=7.6 + k * math.log(2.0)) for k in (1, 2)}
    given = line_of(0.3, teacher="0", others=lines, report=(300.0, 700.0))
    at_700 = given.conductivity_at(700.0)
    assert at_700.value_S_per_cm == pytest.approx(plain.conductivity_at(700.0).value_S_per_cm)
    for interval, level in ((at_700.interval68_S_per_cm, LEVEL_68), (at_700.interval95_S_per_cm, LEVEL_95)):
        reach = width_factor(3, level) * math.log(2.0)
        assert np.log(np.array(interval) / at_700.value_S_per_cm) == pytest.approx([-reach, reach])
    assert given.Ea_error_eV == plain.Ea_error_eV  # which teachers do not differ in
    assert given.band.high68_S_per_cm[0] > plain.band.high68_S_per_cm[0]
    words = next(doubt.words for doubt in given.doubts if doubt.kind == "teachers differ")
    assert "(2)" in words
    assert "third" not in words
    samples = given.samples(20_000).sigma_S_per_cm[:, given.report_temperatures_K.index(700.0)]
    low, high = np.quantile(samples, [0.1587, 0.8413])
    assert low == pytest.approx(at_700.interval68_S_per_cm[0], rel=0.05)
    assert high == pytest.approx(at_700.interval68_S_per_cm[1], rel=0.05)


def test_teachers_that_agree_do_not_make_the_error_smaller():
    plain = line_of(0.3)
    given = line_of(0.3, teacher="a", others={"b": plain, "c": plain})
    assert given.Ea_error_eV == plain.Ea_error_eV
    assert given.headline == plain.headline
    assert given.budget[-1].Ea_eV == 0.0
    assert given.doubts == plain.doubts


def test_a_teacher_without_a_line_is_left_out_with_a_flag():
    one_temperature = temperature_dependence([run_at(600.0, 0.3)], form="lnSigmaT", report_temperatures_K=[300.0])
    given = line_of(0.3, teacher="a", others={"b": one_temperature, "c": line_of(0.4)})
    assert [line.teacher for line in given.model_form.teachers] == ["a", "c"]
    assert any("students of b" in flag for flag in given.flags)
    alone = line_of(0.3, teacher="a", others={"b": one_temperature})
    assert alone.model_form is None
    assert [term.source for term in alone.budget] == ["statistics"]
