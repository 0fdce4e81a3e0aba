"""Directions of different activation energy: seen where they are, not where they are not, and summed rightly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from superionic.errors import AnalysisError
from superionic.transport.analysis import analyse_displacements
from superionic.transport.conductivity.arrhenius import arrhenius_fit_estimates
from superionic.transport.conductivity.direction_lines import direction_lines
from superionic.transport.conductivity.of_temperature import RunTransport, temperature_dependence
from superionic.transport.diffusion.tensor import PAIRS, TensorEstimate, one_shape, pool_tensors
from superionic.transport.estimate import count_like_estimate, pool_orderings
from superionic.units import BOLTZMANN_EV_PER_K as KB

T = (500.0, 600.0, 700.0, 800.0, 900.0)
CELL = np.diag([12.0, 12.0, 18.0])
EA = (0.33, 0.33, 0.15)
AT_700 = (0.10, 0.10, 0.12)


def along(temperature, Ea=EA, at_700=AT_700):
    """Exact D along three axes."""
    return [d * math.exp(-e / KB * (1.0 / temperature - 1.0 / 700.0)) for d, e in zip(at_700, Ea, strict=True)]


def noisy(rng, D, turn=None, cell=CELL, ions=40, spans=16, span_ps=12.5, hop_A=3.0):
    """A tensor as hops of independent ions scatter it: Poisson numbers of steps to and fro along each axis."""
    mean = np.array(D) * span_ps / hop_A**2
    u = hop_A * (rng.poisson(mean, (spans, ions, 3)) - rng.poisson(mean, (spans, ions, 3))).astype(float)
    if turn is not None:
        u = u @ turn
    parts = np.stack([u[..., i] * u[..., j] for i, j in PAIRS], -1).reshape(-1, 6) / (2.0 * span_ps)
    n = len(parts)
    value = np.zeros((3, 3))
    for k, (i, j) in enumerate(PAIRS):
        value[i, j] = value[j, i] = parts[:, k].mean()
    covariance = np.cov(parts.T) / n
    trace = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) / 3.0
    scalar = count_like_estimate(float(np.trace(value)) / 3.0, float(trace @ covariance @ trace))
    return TensorEstimate(value, covariance, cell, 1.0), scalar


def series(seed, D=along, temperatures=T, **kwargs):
    """Noisy σ = D/T, so that ln(σT) is ln D."""
    rng = np.random.default_rng(seed)
    drawn = [noisy(rng, D(t), **kwargs) for t in temperatures]
    of_sigma = [(x.scaled(1.0 / t), scalar.scaled(1.0 / t)) for t, (x, scalar) in zip(temperatures, drawn, strict=True)]
    return temperatures, [tensor for tensor, _ in of_sigma], [scalar for _, scalar in of_sigma]


def runs_of(temperatures, tensors, scalars):
    return [
        RunTransport(t, "", scalar.scaled(1e-4 * t), scalar, None, None, tensor)
        for t, tensor, scalar in zip(temperatures, tensors, scalars, strict=True)
    ]


def material(*given, report=(300.0,)):
    return temperature_dependence(runs_of(*given), form="lnSigmaT", report_temperatures_K=report)


@pytest.mark.parametrize(
    ("Ea", "at_700"),
    [((0.25,) * 3, (0.1,) * 3), ((0.25,) * 3, (0.01, 0.1, 0.4)), ((0.4,) * 3, (0.02,) * 3)],
    ids=["isotropic", "anisotropic, one Ea", "few hops"],
)
def test_directions_of_one_activation_energy_are_seldom_taken_for_different(Ea, at_700):
    result = [direction_lines(*series(seed, lambda t: along(t, Ea, at_700))) for seed in range(100)]
    chance = np.array([each.p_value for each in result if each is not None])
    assert len(chance) > 97
    assert np.mean(chance < 0.01) <= 0.03
    assert np.mean(chance < 0.2) <= 0.25
    assert all(not each.lines for each in result if each is not None and not each.significant)


def test_different_activation_energies_are_seen_and_the_sum_holds_the_truth():
    """c 0.15 eV, ab 0.33 eV, as in Li3YCl6."""
    truth = sum(along(300.0)) / 3.0 / 300.0
    names, inside68, inside95, n, logs, means = [], 0, 0, 100, [], []
    for seed in range(n):
        temperatures, tensors, scalars = series(seed)
        result = direction_lines(temperatures, tensors, scalars)
        if result.usable:
            names.append(tuple((line.name, line.multiplicity) for line in result.lines))
            at_300 = result.predict(300.0)
            inside68 += at_300.interval68[0] <= truth <= at_300.interval68[1]
            inside95 += at_300.interval95[0] <= truth <= at_300.interval95[1]
            logs.append(math.log(at_300.value / truth))
        line = arrhenius_fit_estimates(temperatures, scalars, form="lnSigmaT")
        means.append(math.log(line.predict(300.0).value / truth))
    assert len(names) >= 0.95 * n
    assert names.count((("along c", 1), ("across c", 2))) >= 0.95 * n
    assert inside68 / len(names) == pytest.approx(0.68, abs=0.15)
    assert inside95 / len(names) >= 0.90
    assert abs(np.median(logs)) < 0.1
    assert np.median(means) < math.log(0.5)  # what the line of the mean gives


def test_the_words_say_what_was_summed_and_what_the_mean_would_give():
    result = material(*series(1), report=(300.0, 700.0))
    doubt = next(each for each in result.doubts if each.kind == "directions differ")
    assert doubt.severity == "caution"
    assert "along c" in doubt.words
    assert "across c" in doubt.words
    assert "the line of the mean would give" in doubt.words
    assert result.sigma_line is result.directions
    # within the simulated temperatures it is still the mean of what was seen
    inside = result.conductivity_at(700.0)
    assert inside.value_S_per_cm == pytest.approx(result.line.predict(700.0).value, rel=0.25)
    # band and headline are of one origin
    assert result.band.sigma_S_per_cm[-1] == pytest.approx(result.headline.value_S_per_cm)
    assert dict(result.budget[0].ln_sigma)[300.0] == pytest.approx(result.headline.log_error)


def test_directions_that_agree_leave_the_line_of_the_mean_as_it_is():
    given = series(3, lambda t: along(t, (0.25,) * 3, (0.1,) * 3))
    result = material(*given)
    bare = material(given[0], [None] * len(T), given[2])
    assert bare.directions is None
    assert not result.directions.significant
    assert result.sigma_line is result.line
    assert result.headline == bare.headline
    assert result.band == bare.band
    assert result.doubts == bare.doubts


def test_the_turn_of_crystal_and_axes_in_space_changes_nothing():
    """A cell whose vectors are none of the principal axes: the tensor's own are taken, and the sum is the same."""
    turn = Rotation.from_euler("xyz", [25.0, 40.0, 10.0], degrees=True).as_matrix()
    plain = direction_lines(*series(5))
    turned = direction_lines(*series(5, turn=turn))
    assert turned.frame == "principal"
    assert [line.multiplicity for line in turned.lines] == [1, 2]
    axis = turned.lines[0].directions[0]
    assert abs(axis @ turn[2]) > 0.99
    for one, other in zip(plain.lines, turned.lines, strict=True):
        assert other.fit.Ea_eV == pytest.approx(one.fit.Ea_eV, abs=one.fit.Ea_error_eV)
    assert turned.predict(300.0).value == pytest.approx(plain.predict(300.0).value, rel=0.3)


def test_three_directions_of_their_own():
    result = direction_lines(*series(7, lambda t: along(t, (0.45, 0.28, 0.12), (0.2, 0.1, 0.05)), ions=120))
    assert [line.name for line in result.lines] == ["along a", "along b", "along c"]
    for line, truth in zip(result.lines, (0.45, 0.28, 0.12), strict=True):
        assert line.fit.Ea_eV == pytest.approx(truth, abs=3.0 * line.fit.Ea_error_eV)


def test_an_upper_bound_counts_as_one_for_every_direction():
    temperatures, tensors, scalars = series(8)
    hop = 9.0 / (6.0 * 40 * 200.0)
    bound = count_like_estimate(0.0, 0.0, bound_per_hop=hop / 300.0)
    plain = direction_lines(temperatures, tensors, scalars)
    result = direction_lines((300.0, *temperatures), [None, *tensors], [bound, *scalars])
    assert result.lines[0].points[0].is_upper_bound
    assert result.lines[0].fit.used == (False, True, True, True, True, True)
    # three hops along c would have been seen with 95 % probability
    assert result.predict(300.0).value < plain.predict(300.0).value


def test_a_direction_in_which_nothing_moved_at_the_coldest_is_bounded_by_what_one_hop_would_be():
    temperatures, tensors, scalars = series(10)
    still = np.diag(np.diag(tensors[0].value) * [0.0, 1.0, 1.0])
    covariance = tensors[0].covariance.copy()
    covariance[[0, 4, 5]] = covariance[:, [0, 4, 5]] = 0.0
    cold = TensorEstimate(still, covariance, CELL, 1.0)
    scalar = count_like_estimate(float(np.trace(still)) / 3.0, float(covariance[:3, :3].sum()) / 9.0)
    result = direction_lines(temperatures, [cold, *tensors[1:]], [scalar, *scalars[1:]])
    assert result.usable
    assert all(0.0 < line.fit.Ea_error_eV < 0.2 for line in result.lines)
    three = direction_lines(*series(11, lambda t: along(t, (0.7, 0.25, 0.1), (0.02, 0.1, 0.1)), ions=80))
    first = next(line for line in three.lines if line.name == "along a")
    assert first.fit.Ea_eV == pytest.approx(0.7, abs=4.0 * first.fit.Ea_error_eV)


def test_cells_of_several_shapes_are_not_compared():
    temperatures, tensors, scalars = series(9)
    other = TensorEstimate(tensors[0].value, tensors[0].covariance, np.diag([12.0, 24.0, 18.0]), 1.0)
    assert not one_shape([CELL, other.cell_A])
    assert one_shape([CELL, 1.02 * CELL])
    assert direction_lines(temperatures, [other, *tensors[1:]], scalars) is None
    assert direction_lines(temperatures[:1], tensors[:1], scalars[:1]) is None
    with pytest.raises(AnalysisError, match="positive"):
        direction_lines(*series(9)).predict(-1.0)


def test_a_run_gives_its_tensor_in_the_frame_of_its_cell():
    """Walkers that hop along c four times as often; the crystal may lie in space as it likes."""
    rng = np.random.default_rng(4)
    rates = np.array([0.2, 0.2, 0.8])
    hops = rng.poisson(rates, (400, 60, 3)) - rng.poisson(rates, (400, 60, 3))
    walk = 3.0 * np.cumsum(hops, axis=0) + rng.normal(0.0, 0.2, (400, 60, 3))
    still = np.zeros((400, 6, 3))
    turn = Rotation.from_euler("xyz", [70.0, 10.0, 200.0], degrees=True).as_matrix()
    result = []
    for rotation in (np.eye(3), turn):
        positions = np.concatenate([walk @ rotation, still], axis=1)
        result.append(analyse_displacements(positions, CELL @ rotation, np.arange(66) < 60, 0.5, 600.0, 1.0))
    plain, turned = (each.diffusivity_tensor_cm2_per_s for each in result)
    np.testing.assert_allclose(plain.value, turned.value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(plain.cell_A, CELL, atol=1e-9)
    values, covariance = plain.along(np.eye(3))
    np.testing.assert_allclose(values, 1e-4 * 9.0 * rates * 2 / (2 * 0.5), rtol=0.15)
    # hops along different axes are independent, and the mean has the error of D*
    correlation = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.all(np.abs(correlation - np.eye(3)) < 0.25)
    error = result[0].tracer_diffusivity_cm2_per_s.error
    assert math.sqrt(float(covariance.sum())) / 3.0 == pytest.approx(error, rel=1e-9)
    planar = analyse_displacements(
        np.concatenate([walk, still], axis=1), CELL, np.arange(66) < 60, 0.5, 600.0, 1.0, axes=(0, 1)
    )
    assert planar.diffusivity_tensor_cm2_per_s is None


def test_tensors_are_averaged_as_their_scalars_are():
    rng = np.random.default_rng(6)
    drawn = [noisy(rng, (0.1, 0.1, 0.1)) for _ in range(3)]
    tensors, scalars = [t for t, _ in drawn], [s for _, s in drawn]
    orderings = ["a", "a", "b"]
    pooled = pool_orderings(scalars, orderings)
    result = pool_tensors(tensors, orderings, pooled)
    expected = 0.25 * tensors[0].value + 0.25 * tensors[1].value + 0.5 * tensors[2].value
    np.testing.assert_allclose(result.value, expected, rtol=1e-9)
    assert float(np.trace(result.value)) / 3.0 == pytest.approx(pooled.estimate.value)
    assert math.sqrt(float(result.covariance[:3, :3].sum())) / 3.0 >= pooled.estimate.error * (1.0 - 1e-9)
    bound = pool_orderings([count_like_estimate(0.0, 0.0, bound_per_hop=1.0)], ["a"])
    assert pool_tensors([tensors[0]], ["a"], bound) is None
