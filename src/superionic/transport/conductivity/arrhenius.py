"""Activation energy from an Arrhenius line, and predictions at other temperatures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.errors import AnalysisError, CalculationFailed
from superionic.shown import Shown
from superionic.transport.estimate import LEVEL_68, LEVEL_95, Estimate, normal_quantile, student_quantile
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = NDArray[np.float64]
ArrheniusForm = Literal["lnD", "lnSigmaT"]

TINY_PROBABILITY = 0.01
"""Probability of chance below which scatter about a line enlarges its errors."""
HIGHEST_EA_EV = 2.0
"""Activation energies above this cannot belong to hops that molecular dynamics observes.

At an attempt frequency of 10¹³ s⁻¹ and 2 eV, an ion hops 4·10⁴ times a second at 1200 K: a nanosecond of a thousand
ions holds 0.04 hops. A steeper line through values from such runs joins different processes (a framework that melts
between two temperatures), or is noise.
"""
_ZERO_COUNT_95 = -math.log(0.05)


@dataclass(frozen=True)
class Prediction:
    """The fitted quantity at one temperature, with log-normal intervals in the unit of the input.

    ``log_error`` is the standard deviation of its logarithm; None where the fit has no error (two points without
    errors), and the intervals are then None as well.
    """

    temperature_K: float
    value: float
    log_error: float | None
    interval68: tuple[float, float] | None
    interval95: tuple[float, float] | None
    extrapolated: bool


@dataclass(frozen=True, repr=False)
class ArrheniusFit(Shown):
    """A straight line y = ln(prefactor) − Ea/(k_B T), with y = ln D or ln(σT).

    Attributes
    ----------
    form
        Which quantity y is.
    Ea_eV, Ea_error_eV
        Activation energy and its standard error; the error is None where the data do not determine one.
    ln_prefactor
        Logarithm of the prefactor in the unit of the input (times K for ln(σT)).
    covariance
        (2, 2) covariance of (ln_prefactor, Ea_eV); None where there is no error.
    degrees_of_freedom
        inf where the points have errors (normal intervals), points − 2 where the error comes from the scatter
        (Student's t).
    reduced_chi2
        χ² per degree of freedom of points with errors; None for two points or without errors.
    temperature_range_K
        Range of the points in the fit; beyond it a prediction is marked as extrapolated.
    used
        (n,) whether each point is a measured value in the fit; the others are upper bounds.
    flags
        Sentences for the reader.
    """

    form: ArrheniusForm
    Ea_eV: float
    Ea_error_eV: float | None
    ln_prefactor: float
    covariance: FloatArray | None
    degrees_of_freedom: float
    reduced_chi2: float | None
    temperature_range_K: tuple[float, float]
    used: tuple[bool, ...]
    flags: tuple[str, ...]

    def predict(self, temperature_K: float) -> Prediction:
        """Predict D or σ at a temperature, with intervals from the full covariance."""
        if not (math.isfinite(temperature_K) and temperature_K > 0.0):
            raise AnalysisError(f"A temperature must be positive, not {temperature_K!r} K.")
        gradient = np.array([1.0, -1.0 / (BOLTZMANN_EV_PER_K * temperature_K)])
        y = self.ln_prefactor + float(gradient[1]) * self.Ea_eV
        value = math.exp(y) / (temperature_K if self.form == "lnSigmaT" else 1.0)
        low, high = self.temperature_range_K
        extrapolated = not low * (1.0 - 1e-9) <= temperature_K <= high * (1.0 + 1e-9)
        if self.covariance is None:
            return Prediction(temperature_K, value, None, None, None, extrapolated)
        log_error = math.sqrt(max(float(gradient @ self.covariance @ gradient), 0.0))
        intervals = []
        for level in (LEVEL_68, LEVEL_95):
            width = student_quantile(level, self.degrees_of_freedom) * log_error
            width = min(width, 600.0)  # beyond the range of floating point an interval says nothing more
            intervals.append((value * math.exp(-width), value * math.exp(width)))
        return Prediction(temperature_K, value, log_error, intervals[0], intervals[1], extrapolated)


def arrhenius_fit(
    temperatures_K: Sequence[float] | FloatArray,
    values: Sequence[float] | FloatArray,
    errors: Sequence[float] | FloatArray | None = None,
    *,
    form: ArrheniusForm = "lnD",
    upper_bounds: Sequence[float | None] | None = None,
    bound_log_errors: Sequence[float | None] | None = None,
) -> ArrheniusFit:
    """Fit a weighted straight line to ln D, or ln(σT), against 1/(k_B T) (paper A eq. 3, paper B eq. 3).

    With errors, the weights are 1/(relative error)², and the covariance follows from the errors; it is multiplied by
    the reduced χ² where chance explains the scatter about the line in less than 1 % of cases. Without errors, the
    weights are equal, and the covariance comes from the scatter (none for two points).

    A point that is only an upper bound enters through the probability of seeing no hop, exp(−λ), where λ is
    proportional to D and a 95 % bound is λ = 3.0: it pulls down a line that passes above it, and otherwise hardly
    counts. A bound that is the upper end of a measured value (D had not levelled off, and may lie anywhere below) has
    its own error, and enters through the probability that the measured value is no lower than the line.

    Parameters
    ----------
    temperatures_K
        (n,) temperatures, of which at least two different ones have a value.
    values
        (n,) D or σ in any unit; values that are zero, negative or not finite are left out and flagged.
    errors
        (n,) standard errors in the same unit, or None.
    upper_bounds
        (n,) None for a measured value, or the 95 % upper bound of the value.
    bound_log_errors
        (n,) for a bound that is the upper end of a measurement, the standard error of its logarithm (the bound lies
        1.96 of them above the measured value); None for all others.

    Raises
    ------
    AnalysisError
        For arrays of different lengths, temperatures or errors that are not positive, or an unknown form.
    CalculationFailed
        Where fewer than two temperatures have a value that is more than an upper bound.
    """
    T, quantity, sigma, bounds = _checked(temperatures_K, values, errors, form, upper_bounds)
    flags: list[str] = []
    used = np.isfinite(quantity) & (quantity > 0.0) & np.isnan(bounds)
    if (bad := int(np.count_nonzero(~used & np.isnan(bounds)))) > 0:
        flags.append(f"{bad} of {len(T)} points have no positive value and are left out of the Arrhenius fit.")
    if len(np.unique(T[used])) < 2:
        raise CalculationFailed(
            "An activation energy needs values, not only upper bounds, at two temperatures at least.",
            {"temperatures_K": T.tolist(), "used": used.tolist()},
        )
    y = np.full(len(T), np.nan)
    y[used] = np.log(quantity[used] * (T[used] if form == "lnSigmaT" else 1.0))
    design = np.stack([np.ones(len(T)), -1.0 / (BOLTZMANN_EV_PER_K * T)], axis=1)
    n = int(np.count_nonzero(used))
    dof, reduced, covariance = math.inf, None, None
    if sigma is None:
        parameters, unscaled, chi2 = weighted_line(design[used], y[used], np.ones(n))
        if n > 2:
            covariance, dof = unscaled * chi2 / (n - 2), float(n - 2)
        else:
            flags.append("Two points without errors: the activation energy has no error.")
    else:
        log_sigma = sigma[used] / quantity[used]
        parameters, covariance, chi2 = weighted_line(design[used], y[used], log_sigma)
        if n > 2:
            reduced = chi2 / (n - 2)
            if reduced > 1.0 and float(scipy.special.chdtrc(n - 2, chi2)) < TINY_PROBABILITY:
                covariance = covariance * reduced
                flags.append(
                    f"The points scatter about the Arrhenius line more than their errors allow (χ² per degree of "
                    f"freedom {reduced:.2g}): there may be more than one regime; the error of Ea is enlarged to match."
                )
        if n == 2:
            flags.append("Two temperatures only: nothing tests whether one Arrhenius line holds.")
    censored = np.isfinite(bounds)
    if censored.any():
        limits = np.log(bounds[censored] * (T[censored] if form == "lnSigmaT" else 1.0))
        count = int(np.count_nonzero(censored))
        respected = bool(np.all(design[censored] @ parameters <= limits))
        if covariance is not None:
            scatters = [math.nan] * len(T) if bound_log_errors is None else bound_log_errors
            own = np.array([math.nan if each is None else each for each in scatters], dtype=np.float64)[censored]
            parameters, covariance = with_bounds(parameters, covariance, Bounds(design[censored], limits, own))
        how = "the line respects them" if respected else "the line through the other points passes above one of them"
        where = ", ".join(f"{t:g}" for t in T[censored])
        flags.append(
            f"{count} of {len(T)} points of the Arrhenius fit are upper bounds (at {where} K) and count as such; {how}."
        )
    Ea_error = None if covariance is None else math.sqrt(float(covariance[1, 1]))
    if Ea_error is not None and abs(float(parameters[1])) < 2.0 * Ea_error:
        flags.append(f"The activation energy is not significant: {parameters[1]:.2f} ± {Ea_error:.2f} eV.")
    return ArrheniusFit(
        form=form,
        Ea_eV=float(parameters[1]),
        Ea_error_eV=Ea_error,
        ln_prefactor=float(parameters[0]),
        covariance=covariance,
        degrees_of_freedom=dof,
        reduced_chi2=reduced,
        temperature_range_K=(float(T[used].min()), float(T[used].max())),
        used=tuple(bool(x) for x in used),
        flags=tuple(flags),
    )


def arrhenius_fit_estimates(
    temperatures_K: Sequence[float] | FloatArray, estimates: Sequence[Estimate], *, form: ArrheniusForm = "lnD"
) -> ArrheniusFit:
    """Fit estimates of D or σ: their skewed intervals give the weights, and upper bounds are treated as such."""
    if len(estimates) != len(temperatures_K):
        raise AnalysisError(f"{len(temperatures_K)} temperatures do not go with {len(estimates)} estimates.")
    bounded = [e.is_upper_bound or not math.isfinite(e.log_error) for e in estimates]
    return arrhenius_fit(
        temperatures_K,
        [e.value for e in estimates],
        [1.0 if is_bound else e.value * max(e.log_error, 1e-9) for e, is_bound in zip(estimates, bounded, strict=True)],
        form=form,
        upper_bounds=[e.interval95[1] if is_bound else None for e, is_bound in zip(estimates, bounded, strict=True)],
        bound_log_errors=[
            bound_log_error(e) if is_bound else None for e, is_bound in zip(estimates, bounded, strict=True)
        ],
    )


def bound_log_error(estimate: Estimate) -> float | None:
    """Return the error of ln(bound) where the bound is the upper end of a measurement; None for a bound by counting.

    Such a value exceeds its standard error: it is a bound not because hops were few, but because it may include motion
    that is not diffusion.
    """
    if not (estimate.is_upper_bound and 0.0 < estimate.error < estimate.value):
        return None
    high68, high95 = estimate.interval68[1], estimate.interval95[1]
    if not (0.0 < high68 < high95 < math.inf):
        return None
    return math.log(high95 / high68) / (normal_quantile(LEVEL_95) - 1.0)


@dataclass(frozen=True, eq=False)
class Bounds:
    """Upper bounds that a line of the logarithm should respect.

    Attributes
    ----------
    design
        (n, parameters) design matrix of the line at each bound.
    limits
        (n,) logarithm of each 95 % bound.
    log_errors
        (n,) errors by :func:`bound_log_error`; NaN for a bound by counting.
    """

    design: FloatArray
    limits: FloatArray
    log_errors: FloatArray

    def pull(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the first and second derivatives of −ln(likelihood) with respect to the line at each bound."""
        expected = _ZERO_COUNT_95 * np.exp(np.minimum(y - self.limits, 50.0))
        measured = np.isfinite(self.log_errors)
        if not measured.any():
            return expected, expected
        s = np.where(measured, self.log_errors, 1.0)
        u = (self.limits - y) / s - normal_quantile(LEVEL_95)
        ratio = np.exp(-0.5 * u**2 - 0.5 * math.log(2.0 * math.pi) - scipy.special.log_ndtr(u))
        return np.where(measured, ratio / s, expected), np.where(measured, ratio * (ratio + u) / s**2, expected)


def _checked(
    temperatures_K: Sequence[float] | FloatArray,
    values: Sequence[float] | FloatArray,
    errors: Sequence[float] | FloatArray | None,
    form: str,
    upper_bounds: Sequence[float | None] | None,
) -> tuple[FloatArray, FloatArray, FloatArray | None, FloatArray]:
    T = np.asarray(temperatures_K, dtype=np.float64)
    quantity = np.asarray(values, dtype=np.float64)
    sigma = None if errors is None else np.asarray(errors, dtype=np.float64)
    bounds = np.full(T.shape, np.nan)
    if upper_bounds is not None:
        bounds = np.array([np.nan if bound is None else bound for bound in upper_bounds], dtype=np.float64)
    if form not in ("lnD", "lnSigmaT"):
        raise AnalysisError(f"There is no Arrhenius form {form!r}.", fix="Use 'lnD' or 'lnSigmaT'.")
    if (
        T.ndim != 1
        or quantity.shape != T.shape
        or bounds.shape != T.shape
        or (sigma is not None and sigma.shape != T.shape)
    ):
        raise AnalysisError("Temperatures, values, errors and bounds must be lists of one length.")
    if not np.all(np.isfinite(T)) or np.any(T <= 0.0):
        raise AnalysisError("Temperatures must be positive, in K.")
    if np.any(bounds <= 0.0):
        raise AnalysisError("Upper bounds must be positive.")
    if sigma is not None and (not np.all(np.isfinite(sigma)) or np.any(sigma <= 0.0)):
        raise AnalysisError("Errors must be positive and finite.", fix="Leave the errors out to weight points equally.")
    return T, quantity, sigma, bounds


def positive_series(
    temperatures_K: Sequence[float] | FloatArray,
    values: Sequence[float] | FloatArray,
    log_errors: Sequence[float] | FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return temperatures, values and errors as arrays (n,), checked.

    Raises
    ------
    AnalysisError
        For lists of different lengths, or numbers that are not positive.
    """
    T = np.asarray(temperatures_K, dtype=np.float64)
    y = np.asarray(values, dtype=np.float64)
    sigma = np.asarray(log_errors, dtype=np.float64)
    if not T.shape == y.shape == sigma.shape or T.ndim != 1:
        raise AnalysisError("Temperatures, values and errors must be lists of one length.")
    if not (np.all(T > 0.0) and np.all(y > 0.0) and np.all(sigma > 0.0) and np.all(np.isfinite(sigma))):
        raise AnalysisError("Temperatures, values and errors must be positive.")
    return T, y, sigma


def weighted_line(design: FloatArray, y: FloatArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Solve weighted least squares by QR; return parameters, covariance and χ²."""
    q, r = np.linalg.qr(design / sigma[:, None])
    scaled = y / sigma
    parameters = np.linalg.solve(r, q.T @ scaled)
    inverse = np.linalg.inv(r)
    residual = (y - design @ parameters) / sigma
    return cast(FloatArray, parameters), cast(FloatArray, inverse @ inverse.T), float(residual @ residual)


def with_bounds(parameters: FloatArray, covariance: FloatArray, bounds: Bounds) -> tuple[FloatArray, FloatArray]:
    """Combine a line with its bounds by Newton's method; −ln(likelihood) is convex."""
    precision = np.linalg.inv(covariance)
    start, x = parameters, parameters.copy()
    hessian = precision
    for _ in range(200):
        first, second = bounds.pull(bounds.design @ x)
        gradient = precision @ (x - start) + bounds.design.T @ first
        hessian = precision + bounds.design.T @ (second[:, None] * bounds.design)
        step = np.linalg.solve(hessian, gradient)
        x = x - step
        if float(step @ hessian @ step) < 1e-20:
            break
    return x, np.linalg.inv(hessian)
