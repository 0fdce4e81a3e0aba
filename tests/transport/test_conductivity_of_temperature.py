"""σ(T): exact lines give exact numbers, errors add up and cover, and what is no result is not given as one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.analysis import analyse_displacements
from superionic.transport.conductivity.budget import TransferTerm
from superionic.transport.conductivity.line import read_off
from superionic.transport.conductivity.of_temperature import RunTransport, temperature_dependence
from superionic.transport.estimate import Estimate, count_like_estimate, pool_orderings
from superionic.units import BOLTZMANN_EV_PER_K as KB

T = (600.0, 700.0, 800.0, 900.0)
TRANSFER = TransferTerm(ln_sigma=0.4, Ea_eV=0.05, temperature_K=740.0)


def log_normal(value, relative):
    """An estimate whose logarithm has this standard deviation."""
    two = 1.959963984540054 * relative
    inner = (value * math.exp(-relative), value * math.exp(relative))
    return Estimate(value, relative * value, inner, (value * math.exp(-two), value * math.exp(two)))


def sigma(temperature, Ea=0.3, sigma0=2.0e3):
    return sigma0 / temperature * math.exp(-Ea / (KB * temperature))


def run_at(temperature, Ea=0.3, relative=0.1, ordering="", factor=1.0):
    """A run of a material with an exact Arrhenius law: σT and D are both straight, with one Ea."""
    s = factor * sigma(temperature, Ea)
    return RunTransport(temperature, ordering, log_normal(1e-4 * s * temperature, relative), log_normal(s, relative))


def bound_at(temperature):
    bound = count_like_estimate(0.0, 0.0, bound_per_hop=1e-4)
    return RunTransport(temperature, "", bound.scaled(1e-4), bound)


def material(temperatures=T, report=(300.0,), form="lnSigmaT", transfer=None, **kwargs):
    return temperature_dependence(
        [run_at(t, **kwargs) for t in temperatures], form=form, report_temperatures_K=report, transfer=transfer
    )


def kinds(result):
    return [doubt.kind for doubt in result.doubts]


# ---- the line ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["lnD", "lnSigmaT"])
def test_an_exact_law_gives_its_activation_energy_and_conductivities(form):
    result = material(report=(300.0, 750.0), form=form)
    assert result.Ea_eV == pytest.approx(0.3, abs=1e-12)
    assert result.form == form == result.fit.form
    assert result.line.form == "lnSigmaT"
    assert result.no_line_reason is None
    for given in result.predictions:
        assert given.value_S_per_cm == pytest.approx(sigma(given.temperature_K), rel=1e-9)
        assert given.origin == "line"
        assert given.log_error == pytest.approx(math.log(given.interval68_S_per_cm[1] / given.value_S_per_cm), rel=1e-3)
    assert [p.extrapolated for p in result.predictions] == [True, False]
    assert result.headline == result.predictions[0]
    # weighted least squares by hand: the variance of a slope is that of y over the spread of x
    x = 1.0 / (KB * np.array(T))
    assert result.Ea_error_eV == pytest.approx(0.1 / math.sqrt(np.sum((x - x.mean()) ** 2)), rel=1e-9)


def test_report_temperatures_keep_their_order_and_the_first_is_the_headline():
    result = material(report=(800.0, 300.0, 350.0))
    assert [p.temperature_K for p in result.predictions] == [800.0, 300.0, 350.0]
    assert result.headline.temperature_K == 800.0
    assert [t for t, _ in result.budget[0].ln_sigma] == [800.0, 300.0, 350.0]
    assert result.report_temperatures_K == (800.0, 300.0, 350.0)


def test_the_headline_is_at_the_temperature_asked_for_and_says_so():
    cold = material(report=[350.0])
    assert cold.headline.temperature_K == 350.0
    assert cold.headline.value_S_per_cm == pytest.approx(sigma(350.0), rel=1e-9)
    assert cold.verdict.kind == "extrapolated"
    assert cold.verdict.severity == "caution"
    assert "σ(350 K)" in cold.verdict.words
    assert "600–900 K" in cold.verdict.words
    hot = material(report=[800.0])
    assert hot.headline.temperature_K == 800.0
    assert hot.headline.simulated
    assert not hot.headline.extrapolated
    assert hot.headline.origin == "line"
    assert (hot.verdict.kind, hot.verdict.severity) == ("sound", "info")
    assert "σ(800 K) is firm" in hot.verdict.words
    assert hot.doubts == ()
    for result in (cold, hot):
        assert not any("300 K" in doubt.words for doubt in result.doubts)


def test_replicas_are_averaged_before_orderings_and_the_order_of_runs_does_not_matter():
    runs = [run_at(t, ordering=o, factor=f) for t in T for o, f in (("a", 0.8), ("a", 1.0), ("b", 1.4))]
    result = temperature_dependence(runs, form="lnD", report_temperatures_K=[300.0])
    again = temperature_dependence(runs[::-1], form="lnD", report_temperatures_K=[300.0])
    assert result.n_runs == 12
    first = result.points[0]
    assert (first.temperature_K, first.n_runs, first.conductivity_S_per_cm.n_orderings) == (600.0, 3, 2)
    assert first.conductivity_S_per_cm.estimate.value == pytest.approx((0.9 + 1.4) / 2 * sigma(600.0))
    assert first.diffusivity_cm2_per_s.estimate.value == pytest.approx(1.15 * sigma(600.0) * 600.0 * 1e-4)
    assert again.headline.value_S_per_cm == pytest.approx(result.headline.value_S_per_cm, rel=1e-12)


def test_ionic_conductivity_and_haven_ratio_are_averaged_where_every_run_has_them():
    plain = run_at(600.0)
    nernst, haven = plain.nernst_einstein_conductivity_S_per_cm, log_normal(0.5, 0.1)
    ionic, blocked = nernst.scaled(2.0), Estimate(0.0, 1e-9, (0.0, 1e-9), (0.0, 2e-9), is_upper_bound=True)
    unbounded = Estimate(math.inf, math.inf, (0.0, math.inf), (0.0, math.inf), is_upper_bound=True)

    def run(temperature, ordering, ionic, haven):
        return RunTransport(temperature, ordering, plain.tracer_diffusivity_cm2_per_s, nernst, ionic, haven)

    runs = [plain, run(650.0, "a", ionic, haven), run(700.0, "a", ionic, haven), run(700.0, "a", ionic, haven)]
    runs += [run(750.0, "a", blocked, unbounded), run(800.0, "a", blocked, unbounded), run(800.0, "b", ionic, haven)]
    points = temperature_dependence(runs, form="lnD", report_temperatures_K=[300.0]).points
    assert points[0].ionic_conductivity_S_per_cm is points[0].haven_ratio is None
    assert points[1].haven_ratio.estimate == haven
    assert points[2].ionic_conductivity_S_per_cm == pool_orderings([ionic, ionic], ["a", "a"])
    assert points[2].haven_ratio.estimate.value == pytest.approx(0.5)
    assert points[3].haven_ratio.estimate == unbounded
    # Of averages: one run without collective motion does not make the ratio of both infinite.
    assert points[4].haven_ratio.estimate.value == pytest.approx(1.0)
    assert points[4].haven_ratio.n_orderings == 2


# ---- errors ------------------------------------------------------------------------------------------------------


def test_predictions_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    truth, inside68, inside95, n = sigma(300.0), 0, 0, 600
    for _ in range(n):
        noise = rng.normal(0.0, 0.2, len(T))
        runs = [run_at(t, relative=0.2, factor=math.exp(x)) for t, x in zip(T, noise, strict=True)]
        given = temperature_dependence(runs, form="lnSigmaT", report_temperatures_K=[300.0]).headline
        inside68 += given.interval68_S_per_cm[0] <= truth <= given.interval68_S_per_cm[1]
        inside95 += given.interval95_S_per_cm[0] <= truth <= given.interval95_S_per_cm[1]
    assert inside68 / n == pytest.approx(0.68, abs=0.06)
    assert inside95 / n == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("transfer", [None, TRANSFER])
def test_the_band_holds_the_predictions(transfer):
    result = material(report=(300.0, 700.0), transfer=transfer)
    band = result.band
    inverse = np.array(band.inverse_temperature_per_K)
    assert len(inverse) == 60
    assert inverse[0] == 1.0 / 900.0
    assert inverse[-1] == 1.0 / 300.0
    columns = {
        "sigma_S_per_cm": [p.value_S_per_cm for p in result.predictions],
        "low68_S_per_cm": [p.interval68_S_per_cm[0] for p in result.predictions],
        "high68_S_per_cm": [p.interval68_S_per_cm[1] for p in result.predictions],
        "low95_S_per_cm": [p.interval95_S_per_cm[0] for p in result.predictions],
        "high95_S_per_cm": [p.interval95_S_per_cm[1] for p in result.predictions],
    }
    for name, values in columns.items():
        drawn = np.interp([1.0 / 300.0, 1.0 / 700.0], inverse, np.log(getattr(band, name)))
        assert drawn == pytest.approx(np.log(values), abs=2e-3)


def test_the_budget_adds_in_quadrature_to_the_errors():
    runs = [run_at(t, ordering=o, factor=f) for t in T for o, f in (("a", 0.7), ("b", 1.3))]
    result = temperature_dependence(runs, form="lnD", report_temperatures_K=(300.0, 800.0), transfer=TRANSFER)
    assert [term.source for term in result.budget] == ["statistics", "orderings", "transfer"]
    assert all(term.words for term in result.budget)
    assert math.sqrt(sum(term.Ea_eV**2 for term in result.budget)) == pytest.approx(result.Ea_error_eV, rel=1e-12)
    for i, given in enumerate(result.predictions):
        parts = [term.ln_sigma[i] for term in result.budget]
        assert {t for t, _ in parts} == {given.temperature_K}
        assert math.sqrt(sum(part**2 for _, part in parts)) == pytest.approx(given.log_error, rel=1e-12)
    assert [t.source for t in material().budget] == ["statistics"]


def test_the_transfer_widens_the_intervals_and_leaves_the_values():
    plain, wider = material(), material(transfer=TRANSFER)
    assert wider.Ea_eV == plain.Ea_eV
    assert wider.Ea_error_eV == pytest.approx(math.hypot(plain.Ea_error_eV, 0.05))
    assert wider.headline.value_S_per_cm == plain.headline.value_S_per_cm
    # normal quantiles on a log axis: half the width of 68 % is the standard deviation itself
    expected = math.hypot(plain.headline.log_error, TRANSFER.log_error(300.0))
    assert wider.headline.log_error == pytest.approx(expected)
    low, high = wider.headline.interval68_S_per_cm
    assert 0.5 * math.log(high / low) == pytest.approx(expected, rel=1e-3)
    assert np.all(np.array(wider.band.low95_S_per_cm) < plain.band.low95_S_per_cm)


def test_a_break_of_the_line_is_a_doubt():
    temperatures = np.arange(450.0, 951.0, 50.0)
    factor = [math.exp(-0.3 / KB * max(1.0 / t - 1.0 / 700.0, 0.0)) for t in temperatures]
    runs = [run_at(t, relative=0.03, factor=f) for t, f in zip(temperatures, factor, strict=True)]
    result = temperature_dependence(runs, form="lnSigmaT", report_temperatures_K=[300.0])
    assert result.slope_break.significant
    assert result.flags[-1] == result.slope_break.flag
    assert "two regimes" in kinds(result)
    assert result.verdict.kind == "two regimes"


# ---- what is no result -------------------------------------------------------------------------------------------


def test_no_conductivity_is_extrapolated_along_a_negative_activation_energy():
    result = material(Ea=-0.64, relative=0.1, report=(300.0, 700.0, 750.0))
    assert result.Ea_eV == pytest.approx(-0.64)
    assert len(result.predictions) == 3
    assert result.headline is None
    assert (result.verdict.kind, result.verdict.severity) == ("unphysical", "warning")
    assert "Ea = −0.64 ± 0.02 eV" in result.verdict.words
    assert "No σ(300 K)" in result.verdict.words
    assert result.doubts[0].kind == "unphysical"
    stands = result.conductivity_at(700.0)  # as the runs found it
    assert stands.origin == "runs"
    assert stands.value_S_per_cm == pytest.approx(sigma(700.0, Ea=-0.64))
    assert result.verdict_at(700.0).kind == "sound"
    between = result.conductivity_at(750.0)
    assert between.origin == "line"
    assert result.verdict_at(750.0).kind == "unphysical"


def test_so_steep_a_line_is_none_of_hops():
    result = material(Ea=2.5)
    assert result.headline is None
    assert result.verdict.kind == "unphysical"
    assert "2.50" in result.verdict.words
    assert material(Ea=1.5).headline is not None


def test_an_activation_energy_within_its_error_of_zero_is_a_caution():
    result = material(Ea=0.02, relative=0.3)
    assert result.headline is not None
    (doubt,) = [doubt for doubt in result.doubts if doubt.kind == "insignificant"]
    assert doubt.severity == "caution"
    assert "within two errors of zero" in doubt.words
    # what a student potential may add to Ea counts as well
    assert "unphysical" in kinds(material(Ea=-0.07, relative=0.1))
    assert "insignificant" in kinds(material(Ea=-0.07, relative=0.1, transfer=TRANSFER))


def test_nothing_is_extrapolated_along_a_line_that_rises_on_cooling():
    # Noise may turn the sign of a small slope; the colder, the better the crystal would conduct.
    result = material(Ea=-0.01, relative=0.3)
    assert result.headline is None
    (doubt,) = [doubt for doubt in result.doubts if doubt.kind == "insignificant"]
    assert doubt.severity == "warning"
    assert "No σ(300 K) can be extrapolated" in doubt.words
    inside = result.points[0].temperature_K
    assert result.conductivity_at(inside) is not None


def test_a_wide_interval_is_statistically_thin():
    result = material(relative=0.6, report=(300.0, 800.0))
    factor = result.headline.precision.factor
    assert factor > 3.0
    assert result.headline.precision.grade == "thin"
    assert (result.verdict.kind, result.verdict.severity) == ("statistically thin", "warning")
    assert "σ(300 K) is statistically thin" in result.verdict.words
    assert kinds(result)[0] == "statistically thin"
    assert result.doubts[0].temperatures_K == (300.0,)
    assert result.verdict_at(800.0).kind == "sound"
    assert result.verdict_at(800.0).severity == "caution"
    assert result.conductivity_at(800.0).precision.words.startswith("fair: factor ")


def test_two_temperatures_fix_a_line_but_do_not_test_it():
    result = material((600.0, 900.0), report=(750.0,))
    assert kinds(result) == ["two temperatures"]
    assert result.verdict.kind == "two temperatures"
    with_bound = temperature_dependence(
        [run_at(600.0), run_at(900.0), bound_at(500.0)], form="lnD", report_temperatures_K=[750.0]
    )
    assert kinds(with_bound) == ["two temperatures"]


def test_without_a_line_the_reason_is_said_and_the_runs_stand():
    bounds = temperature_dependence(
        [bound_at(t) for t in T], form="lnD", report_temperatures_K=(300.0, 700.0), transfer=TRANSFER
    )
    assert bounds.line is bounds.fit is bounds.band is bounds.Ea_eV is bounds.headline is None
    assert bounds.predictions == bounds.budget == ()
    assert "upper bounds" in bounds.no_line_reason
    assert bounds.flags == (f"No activation energy: {bounds.no_line_reason}",)
    assert (bounds.verdict.kind, bounds.verdict.severity) == ("no line", "warning")
    assert "no σ(300 K)" in bounds.verdict.words
    assert "upper bounds only" in bounds.verdict.words
    stands = bounds.conductivity_at(700.0)
    assert stands.is_upper_bound
    assert math.isinf(stands.log_error)
    assert stands.interval95_S_per_cm[1] == pytest.approx(-math.log(0.05) * 1e-4, rel=1e-6)
    assert bounds.verdict_at(700.0).kind == "upper bound"
    one = material((800.0,), report=(800.0,))
    assert one.headline.origin == "runs"
    assert one.headline.value_S_per_cm == pytest.approx(sigma(800.0))
    assert one.verdict.kind == "sound"
    assert [(d.kind, d.severity) for d in one.doubts] == [("no line", "caution")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runs": []}, "no run"),
        ({"report_temperatures_K": []}, "no report temperature"),
        ({"report_temperatures_K": [0.0]}, "positive"),
        ({"runs": [run_at(600.0), RunTransport(math.nan, "", log_normal(1.0, 0.1), log_normal(1.0, 0.1))]}, "positive"),
        ({"form": "lnSigma"}, "no Arrhenius form"),
    ],
)
def test_wrong_input(change, words):
    given = {"runs": [run_at(600.0)], "form": "lnD", "report_temperatures_K": [300.0]} | change
    with pytest.raises(AnalysisError, match=words):
        temperature_dependence(given.pop("runs"), **given)


def test_a_conductivity_is_read_off_its_own_line_only():
    with pytest.raises(AnalysisError, match="lnD"):
        read_off(material(form="lnD").fit, 300.0)


# ---- from a trajectory -------------------------------------------------------------------------------------------


def walk(temperature_K, charges):
    rng = np.random.default_rng(1)
    steps = rng.normal(0.0, 0.2, (4000, 5, 3)) * np.array([1.0, 1.0, 0.5])
    positions = np.concatenate([np.cumsum(steps, axis=0), np.zeros((4000, 3, 3))], axis=1)
    mask = np.arange(8) < 5
    return analyse_displacements(positions, 10.0 * np.eye(3), mask, 0.05, temperature_K, charges)


def test_a_run_and_its_directions():
    analysis = walk(600.0, 1.0)
    run = RunTransport.of(analysis, ordering="a")
    assert run.temperature_K == 600.0
    assert run.nernst_einstein_conductivity_S_per_cm == analysis.nernst_einstein_conductivity_S_per_cm
    assert run.ionic_conductivity_S_per_cm == analysis.ionic_conductivity_S_per_cm
    assert run.haven_ratio == analysis.haven_ratio
    tracer = analysis.tracer
    x, y, z = np.diagonal(tracer.tensor_cm2_per_s)
    assert (x + y + z) / 3.0 == pytest.approx(tracer.cm2_per_s.value)
    assert z == pytest.approx(0.25 * (x + y) / 2.0, rel=0.3)
    principal = tracer.principal_cm2_per_s
    assert sum(principal) == pytest.approx(x + y + z)
    assert principal == tuple(sorted(principal, reverse=True))
    assert tracer.he2018.value_cm2_per_s == pytest.approx(1e-4 * tracer.he2018.value_A2_per_ps)
    assert tracer.he2018.error_cm2_per_s == pytest.approx(1e-4 * tracer.he2018.error_A2_per_ps)
    for temperature, charges in ((None, 1.0), (600.0, None)):
        with pytest.raises(AnalysisError, match="charges"):
            RunTransport.of(walk(temperature, charges))
