"""Draws are distributed as the intervals and errors say that they were drawn from, and belong together."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.conductivity.budget import TransferTerm
from superionic.transport.conductivity.of_temperature import RunTransport, temperature_dependence
from superionic.transport.conductivity.posterior import draw, posterior_samples, samples_of_estimates
from superionic.transport.estimate import Estimate, count_like_estimate, ratio_estimate
from superionic.units import BOLTZMANN_EV_PER_K as KB

T = (500.0, 600.0, 700.0, 800.0)
N = 20_000


def material(bounded=False, transfer=None, scatter=(1.0,) * 4, form="lnD"):
    runs = []
    for t, factor in zip(T, scatter, strict=True):
        s = factor * math.exp(-0.3 / (KB * t)) / t
        sigma = count_like_estimate(s, (0.1 * s) ** 2)
        if bounded and t == 500.0:
            sigma = count_like_estimate(0.0, 0.0, bound_per_hop=0.5 * s)
        ionic = count_like_estimate(2.0 * s, (0.4 * s) ** 2)
        haven = ratio_estimate(count_like_estimate(s, (0.02 * s) ** 2), count_like_estimate(2.0 * s, (0.35 * s) ** 2))
        runs.append(RunTransport(t, "", sigma.scaled(1e-4 * t), sigma, ionic, haven))
    return temperature_dependence(runs, form=form, report_temperatures_K=[300.0, 650.0], transfer=transfer)


@pytest.mark.parametrize(
    "estimate",
    [
        count_like_estimate(1.0, 0.01),
        count_like_estimate(1.0, 0.3, degrees_of_freedom=4.0),
        count_like_estimate(0.0, 0.0, bound_per_hop=1.0),
        count_like_estimate(1.0, 0.04, force_upper_bound=True),
        Estimate(1.0, 0.0, (1.0, 1.0), (1.0, 1.0)),
    ],
)
def test_intervals_hold_as_many_draws_as_they_say(estimate):
    drawn = draw(estimate, np.random.default_rng(0).normal(size=100_000))
    assert np.all(drawn >= 0.0)
    for (low, high), level in ((estimate.interval68, 0.6827), (estimate.interval95, 0.95)):
        inside = np.mean((drawn >= low) & (drawn <= high))
        assert inside == pytest.approx(1.0 if low == high else level, abs=0.006)


def test_what_nothing_bounds_has_no_draws():
    unknown = Estimate(0.0, math.inf, (0.0, math.inf), (0.0, math.inf), is_upper_bound=True)
    assert np.all(np.isnan(draw(unknown, np.zeros(3))))


@pytest.mark.parametrize("form", ["lnD", "lnSigmaT"])
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("transfer", [None, TransferTerm(0.2, 0.02, 650.0)])
def test_the_line_scatters_as_its_errors_say(bounded, transfer, form):
    result = material(bounded, transfer, form=form)
    drawn = result.samples(N)
    assert np.mean(drawn.Ea_eV) == pytest.approx(result.Ea_eV, abs=0.05 * result.Ea_error_eV)
    assert np.std(drawn.Ea_eV) == pytest.approx(result.Ea_error_eV, rel=0.03)
    assert drawn.sigma_temperature_K.tolist() == [300.0, 650.0]
    for column, value in zip(drawn.sigma_S_per_cm.T, result.predictions, strict=True):
        assert np.std(np.log(column)) == pytest.approx(value.log_error, rel=0.03)
        low, high = value.interval95_S_per_cm
        assert np.mean((column >= low) & (column <= high)) == pytest.approx(0.95, abs=0.01)


def test_draws_of_one_row_belong_together():
    """The line of each draw is the line through its D, and D_σ shares with D* what their ratio does not see."""
    drawn = material().samples(200)
    x = np.stack([np.ones(4), -1.0 / (KB * np.array(T))], axis=1)
    ln_D = np.log(drawn.tracer_diffusivity_cm2_per_s)
    refit = np.linalg.lstsq(x, ln_D.T)[0]
    np.testing.assert_allclose(refit[1], drawn.Ea_eV, atol=0.004)
    np.testing.assert_allclose(refit[0], drawn.ln_D0, atol=0.08)
    many = material().samples(N)
    one, two = np.log(many.tracer_diffusivity_cm2_per_s[:, 1]), np.log(many.charge_diffusivity_cm2_per_s[:, 1])
    haven = material().points[1].haven_ratio.estimate
    assert np.std(one - two) == pytest.approx(haven.log_error, rel=0.05)
    assert np.median(np.exp(one - two)) == pytest.approx(0.5, rel=0.02)


def test_scatter_beyond_the_errors_is_in_the_draws():
    result = material(scatter=(2.0, 0.5, 2.0, 0.5))
    assert np.std(result.samples(N).Ea_eV) == pytest.approx(result.Ea_error_eV, rel=0.03)


def test_tables_and_archives_hold_the_draws():
    drawn = material().samples(50, seed=3)
    lines = drawn.to_csv().splitlines()
    names = lines[0].split(",")
    assert len(lines) == 51
    assert names[0] == "tracer_diffusivity_cm2_per_s_500K"
    assert names[-3:] == ["ln_D0_cm2_per_s", "sigma_S_per_cm_300K", "sigma_S_per_cm_650K"]
    table = np.loadtxt(lines[1:], delimiter=",")
    np.testing.assert_allclose(table[:, names.index("Ea_eV")], drawn.Ea_eV, rtol=1e-5)
    with np.load(io.BytesIO(drawn.to_npz())) as archive:
        np.testing.assert_array_equal(archive["sigma_S_per_cm"], drawn.sigma_S_per_cm)
        assert archive["temperature_K"].tolist() == list(T)
    assert drawn.to_npz() == posterior_samples(material(), 50, seed=3).to_npz()
    assert drawn.to_csv() != material().samples(50, seed=4).to_csv()


def test_one_run_has_draws_of_its_own():
    D = count_like_estimate(1e-5, 1e-12)
    drawn = samples_of_estimates(700.0, D, D.scaled(2.0), ratio_estimate(D, D.scaled(2.0)), D.scaled(100.0), 1000)
    assert drawn.Ea_eV is None
    np.testing.assert_allclose(drawn.sigma_S_per_cm, 100.0 * drawn.tracer_diffusivity_cm2_per_s)
    assert list(drawn.columns) == [
        "tracer_diffusivity_cm2_per_s_700K", "charge_diffusivity_cm2_per_s_700K", "sigma_S_per_cm_700K"
    ]  # fmt: skip
    for n in (0, 10**7):
        with pytest.raises(AnalysisError, match="number of samples is"):
            material().samples(n)
