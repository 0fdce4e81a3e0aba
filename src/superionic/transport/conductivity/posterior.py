"""Joint posterior samples of D*, D_σ, Ea, ln D₀ and σ, for further propagation of errors."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.conductivity.arrhenius import ArrheniusFit, Bounds, arrhenius_fit_estimates, bound_log_error
from superionic.transport.conductivity.model_form import width_factor
from superionic.transport.estimate import LEVEL_68, LEVEL_95, Estimate, normal_quantile, student_quantile
from superionic.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from superionic.transport.conductivity.of_temperature import TemperatureDependence, TemperaturePoint

FloatArray = NDArray[np.float64]

MOST_SAMPLES: Final = 1_000_000
"""Largest number of samples in one call."""
_FIXED_DATE: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class TransportSamples:
    """Samples of all quantities; the values of one row belong together.

    Attributes
    ----------
    temperature_K
        (n_temperatures,) temperatures of the runs; NaN where not known.
    tracer_diffusivity_cm2_per_s, charge_diffusivity_cm2_per_s
        (n, n_temperatures) D* and D_σ; NaN where D_σ is not known.
    Ea_eV, ln_D0
        (n,) activation energy of the requested line, and logarithm of the prefactor of D* in cm²/s; None without a
        line.
    sigma_temperature_K
        (n_sigma,) temperatures of σ: the report temperatures, or those of the runs where there is no line.
    sigma_S_per_cm
        (n, n_sigma) Nernst–Einstein σ.
    """

    temperature_K: FloatArray
    tracer_diffusivity_cm2_per_s: FloatArray
    charge_diffusivity_cm2_per_s: FloatArray
    Ea_eV: FloatArray | None
    ln_D0: FloatArray | None
    sigma_temperature_K: FloatArray
    sigma_S_per_cm: FloatArray

    @property
    def columns(self) -> dict[str, FloatArray]:
        """Every column (n,) by its name in a table."""
        columns: dict[str, FloatArray] = {}
        for number, temperature in enumerate(self.temperature_K):
            at = f"_{temperature:g}K" if math.isfinite(temperature) else ""
            columns[f"tracer_diffusivity_cm2_per_s{at}"] = self.tracer_diffusivity_cm2_per_s[:, number]
            columns[f"charge_diffusivity_cm2_per_s{at}"] = self.charge_diffusivity_cm2_per_s[:, number]
        if self.Ea_eV is not None and self.ln_D0 is not None:
            columns["Ea_eV"] = self.Ea_eV
            columns["ln_D0_cm2_per_s"] = self.ln_D0
        for number, temperature in enumerate(self.sigma_temperature_K):
            columns[f"sigma_S_per_cm_{temperature:g}K"] = self.sigma_S_per_cm[:, number]
        return columns

    def to_csv(self) -> str:
        """Return a CSV table, one sample a line, with six digits."""
        columns = self.columns
        rows = np.stack(list(columns.values()), axis=1)
        lines = [",".join("" if math.isnan(x) else f"{x:.6g}" for x in row) for row in rows.tolist()]
        return "\n".join([",".join(columns), *lines]) + "\n"

    def to_npz(self) -> bytes:
        """Return an archive of arrays for :func:`numpy.load`, named as the attributes."""
        arrays = {name: value for name, value in vars(self).items() if value is not None}
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                member = io.BytesIO()
                np.lib.format.write_array(member, array, allow_pickle=False)
                # With a fixed date the same samples give the same bytes.
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=_FIXED_DATE), member.getvalue())
        return packed.getvalue()


def check_samples(n: int) -> None:
    """Raise :class:`AnalysisError` for a number of samples outside the range allowed."""
    if not 1 <= n <= MOST_SAMPLES:
        raise AnalysisError(
            f"The number of samples is {n}.", where="--samples", fix=f"Give 1 to {MOST_SAMPLES}, e.g. --samples 1000."
        )


def draw(estimate: Estimate, scores: FloatArray) -> FloatArray:
    """Return values of a quantity at standard normal scores, consistent with its 68 % and 95 % intervals.

    The values follow a line in the logarithm between and beyond the ends of the intervals, or a decaying exponential
    where these begin at zero. NaN where nothing bounds the quantity.
    """
    (low68, high68), (low95, high95) = estimate.interval68, estimate.interval95
    if not math.isfinite(high95):
        return np.full(len(scores), np.nan)
    if high95 <= low95:
        return np.full(len(scores), estimate.value)
    if low68 <= 0.0 or low95 <= 0.0:
        decays = -scipy.special.log_ndtr(-scores)
        knots = np.array([0.0, -math.log1p(-LEVEL_68), -math.log1p(-LEVEL_95)])
        return _along(decays, knots, np.array([0.0, high68, high95]))
    z_68, z_95 = normal_quantile(LEVEL_68), normal_quantile(LEVEL_95)
    knots, ends = np.array([-z_95, -z_68, z_68, z_95]), np.log([low95, low68, high68, high95])
    if low68 < estimate.value < high68:
        knots, ends = np.insert(knots, 2, 0.0), np.insert(ends, 2, math.log(estimate.value))
    return np.exp(_along(scores, knots, ends))


def posterior_samples(dependence: TemperatureDependence, n: int, *, seed: int = 0) -> TransportSamples:
    """Sample σ(T) jointly with the quantities that it depends on.

    D* at each temperature is drawn from its intervals, and D_σ with the correlation to D* that their Haven ratio
    implies. The line moves with the D* to which it was fitted, according to its covariance, upper bounds included; the
    error of a student potential, and what the scatter between teachers adds, are added. Where directions differ in
    activation energy, σ is drawn independently from their joint posterior.

    Parameters
    ----------
    dependence
        From :func:`superionic.transport.conductivity.of_temperature.temperature_dependence`.
    n
        Number of samples.
    seed
        Seed of the random numbers; the same seed gives the same samples.

    Returns
    -------
    TransportSamples
        Without columns for report temperatures at which σ cannot be stated.

    Raises
    ------
    AnalysisError
        For fewer than one sample, or more than a million.
    """
    check_samples(n)
    rng = np.random.default_rng(seed)
    points = dependence.points
    scores = rng.normal(size=(n, len(points)))
    independent = rng.normal(size=(n, len(points)))
    tracer = np.stack(
        [draw(point.diffusivity_cm2_per_s.estimate, scores[:, i]) for i, point in enumerate(points)], axis=1
    )
    charge = np.stack([_charge(point, scores[:, i], independent[:, i]) for i, point in enumerate(points)], axis=1)
    temperatures = [point.temperature_K for point in points]
    report_sigma = [(t, dependence.conductivity_at(t)) for t in dependence.report_temperatures_K]
    stated_sigma = [(t, value) for t, value in report_sigma if value is not None]
    if dependence.line is None or dependence.fit is None:
        sigma = tuple(
            (p.temperature_K, draw(p.conductivity_S_per_cm.estimate, scores[:, i])) for i, p in enumerate(points)
        )
        return _samples(temperatures, tracer, charge, None, sigma)
    sigma_estimates = [point.conductivity_S_per_cm.estimate for point in points]
    d_estimates = [point.diffusivity_cm2_per_s.estimate for point in points]
    of_sigma = _line_draws(dependence.line, temperatures, sigma_estimates, scores)
    of_d = _line_draws(
        arrhenius_fit_estimates(temperatures, d_estimates, form="lnD"), temperatures, d_estimates, scores
    )
    transfer, (z_ln, z_Ea) = dependence.transfer, rng.normal(size=(2, n))
    transfer_ln, transfer_Ea, at = 0.0 * z_ln, 0.0 * z_Ea, math.inf
    if transfer is not None:
        transfer_ln, transfer_Ea, at = transfer.ln_sigma * z_ln, transfer.Ea_eV * z_Ea, transfer.temperature_K
    directions = dependence.directions
    summed = directions is not None and directions.usable
    joint = rng.normal(size=(n, 2 * len(directions.lines))) if directions is not None and summed else None
    ln_moves, Ea_moves = _model_moves(dependence, rng, n)
    columns = []
    for temperature, value in stated_sigma:
        if value.origin == "runs":
            i = temperatures.index(min(temperatures, key=lambda t: abs(t - temperature)))
            drawn = draw(sigma_estimates[i], scores[:, i])
        elif directions is not None and joint is not None:
            drawn = directions.samples(temperature, joint)
        else:
            inverse = 1.0 / (BOLTZMANN_EV_PER_K * temperature)
            drawn = np.exp(of_sigma[:, 0] - of_sigma[:, 1] * inverse) / temperature
        lever = (1.0 / temperature - 1.0 / at) / BOLTZMANN_EV_PER_K
        moved = drawn * np.exp(transfer_ln - transfer_Ea * lever)
        columns.append((temperature, moved * np.exp(np.clip(ln_moves.get(temperature, 0.0), -600.0, 600.0))))
    Ea = (of_d if dependence.form == "lnD" else of_sigma)[:, 1] + transfer_Ea + Ea_moves
    return _samples(temperatures, tracer, charge, (Ea, of_d[:, 0]), columns)


def samples_of_estimates(
    temperature_K: float | None,
    tracer_cm2_per_s: Estimate,
    charge_cm2_per_s: Estimate,
    haven_ratio: Estimate,
    sigma_S_per_cm: Estimate | None,
    n: int,
    *,
    seed: int = 0,
) -> TransportSamples:
    """Sample D*, D_σ and σ of one run, or of replicas; see :func:`posterior_samples`."""
    check_samples(n)
    rng = np.random.default_rng(seed)
    scores, own = rng.normal(size=(2, n))
    tracer = draw(tracer_cm2_per_s, scores)[:, None]
    charge = draw(charge_cm2_per_s, _shared(tracer_cm2_per_s, charge_cm2_per_s, haven_ratio, scores, own))[:, None]
    sigma = []
    if sigma_S_per_cm is not None and temperature_K is not None:
        sigma.append((temperature_K, draw(sigma_S_per_cm, scores)))
    return _samples([math.nan if temperature_K is None else temperature_K], tracer, charge, None, sigma)


def _samples(
    temperatures_K: Sequence[float],
    tracer: FloatArray,
    charge: FloatArray,
    line: tuple[FloatArray, FloatArray] | None,
    sigma: Sequence[tuple[float, FloatArray]],
) -> TransportSamples:
    Ea, ln_D0 = (None, None) if line is None else line
    return TransportSamples(
        temperature_K=np.array(temperatures_K, dtype=np.float64),
        tracer_diffusivity_cm2_per_s=tracer,
        charge_diffusivity_cm2_per_s=charge,
        Ea_eV=Ea,
        ln_D0=ln_D0,
        sigma_temperature_K=np.array([t for t, _ in sigma], dtype=np.float64),
        sigma_S_per_cm=np.stack([drawn for _, drawn in sigma], axis=1) if sigma else np.zeros((len(tracer), 0)),
    )


def _model_moves(
    dependence: TemperatureDependence, rng: np.random.Generator, n: int
) -> tuple[dict[float, FloatArray], FloatArray]:
    """Draw what the scatter between teachers adds to ln σ at each report temperature, and to Ea, (n,) each.

    Draws lie along the differences between the teachers' lines, so that Ea and σ move together as they do between
    teachers. Their length has the tails of Student's t, scaled to the 68 % width of the budget.
    """
    model = dependence.model_form
    term = next((term for term in dependence.budget if term.source == "model form"), None)
    if model is None or term is None:
        return {}, np.zeros(n)
    k = len(model.teachers)
    size = np.sqrt((k - 1) / rng.chisquare(k - 1, n)) * width_factor(k, LEVEL_68) / student_quantile(LEVEL_68, k - 1)
    along = rng.normal(size=(n, k)) / math.sqrt(k - 1) * size[:, None]

    def moves(values: Sequence[float], whole: float, added: float) -> FloatArray:
        differences = np.array(values) - np.mean(values)
        return np.asarray(along @ differences * (added / whole if whole > 0.0 else 0.0))

    of_ln = {
        t: moves([each.ln_sigma(t) for each in model.teachers], model.log_error(t), added) for t, added in term.ln_sigma
    }
    return of_ln, moves([each.Ea_eV for each in model.teachers], model.Ea_error_eV(), term.Ea_eV or 0.0)


def _charge(point: TemperaturePoint, scores: FloatArray, own: FloatArray) -> FloatArray:
    """Sample D_σ, which is D* times the ratio of the two conductivities."""
    nernst, tracer = point.conductivity_S_per_cm.estimate, point.diffusivity_cm2_per_s.estimate
    if point.ionic_conductivity_S_per_cm is None or point.haven_ratio is None or min(nernst.value, tracer.value) <= 0.0:
        return np.full(len(scores), np.nan)
    charge = point.ionic_conductivity_S_per_cm.estimate.scaled(tracer.value / nernst.value)
    return draw(charge, _shared(tracer, charge, point.haven_ratio.estimate, scores, own))


def _shared(tracer: Estimate, charge: Estimate, haven: Estimate, scores: FloatArray, own: FloatArray) -> FloatArray:
    """Return scores of D_σ, correlated with those of D* such that their ratio has its stated error."""
    one, two, ratio = tracer.log_error, charge.log_error, haven.log_error
    if not all(math.isfinite(each) and each > 0.0 for each in (one, two, ratio)):
        return own
    common = min(max((one**2 + two**2 - ratio**2) / (2.0 * one * two), 0.0), 0.999)
    return common * scores + math.sqrt(1.0 - common**2) * own


def _line_draws(
    fit: ArrheniusFit, temperatures_K: Sequence[float], estimates: Sequence[Estimate], scores: FloatArray
) -> FloatArray:
    """Return (n, 2) ln prefactor and Ea: the line as each sample of the values moves it, with the fit's covariance.

    A least-squares line is linear in its data, with the factor covariance times design over error; the weight of an
    upper bound is the curvature of its likelihood.
    """
    best = np.array([fit.ln_prefactor, fit.Ea_eV])
    if fit.covariance is None:
        return np.tile(best, (len(scores), 1))
    T = np.array(temperatures_K)
    design = np.stack([np.ones(len(T)), -1.0 / (BOLTZMANN_EV_PER_K * T)], axis=1)
    weights = np.zeros(len(T))
    for i, (estimate, used) in enumerate(zip(estimates, fit.used, strict=True)):
        factor = T[i] if fit.form == "lnSigmaT" else 1.0
        if used:
            weights[i] = 1.0 / max(estimate.log_error, 1e-9)
        elif math.isfinite(estimate.interval95[1]) and estimate.interval95[1] > 0.0:
            own = bound_log_error(estimate)
            bound = Bounds(
                design[i : i + 1],
                np.array([math.log(estimate.interval95[1] * factor)]),
                np.array([math.nan if own is None else own]),
            )
            weights[i] = math.sqrt(float(bound.pull(design[i : i + 1] @ best)[1][0]))
    moves = (design * weights[:, None]) @ fit.covariance
    # Where scatter about the line enlarged its errors, the samples are spread accordingly.
    covariance = moves.T @ moves
    root = np.linalg.cholesky(fit.covariance) @ np.linalg.inv(np.linalg.cholesky(covariance))
    return np.asarray(best + scores @ moves @ root.T)


def _along(x: FloatArray, knots: FloatArray, values: FloatArray) -> FloatArray:
    """Interpolate linearly between knots, and extrapolate the first and last pieces beyond the ends."""
    piece = np.clip(np.searchsorted(knots, x) - 1, 0, len(knots) - 2)
    slopes = np.diff(values) / np.diff(knots)
    return np.asarray(values[piece] + slopes[piece] * (x - knots[piece]))
