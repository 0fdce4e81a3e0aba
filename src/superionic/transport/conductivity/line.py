"""The conductivity at a temperature, read off a line of ln(σT), and the band of the line, with all errors combined."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from superionic.errors import AnalysisError
from superionic.shown import Shown
from superionic.transport.conductivity.arrhenius import ArrheniusFit
from superionic.transport.conductivity.budget import TransferTerm, widened
from superionic.transport.conductivity.model_form import ModelForm, reaching
from superionic.transport.estimate import LEVEL_68, LEVEL_95, Estimate
from superionic.transport.precision import Precision, precision_of

if TYPE_CHECKING:
    from superionic.transport.conductivity.direction_lines import DirectionLines

Interval = tuple[float, float]

_BAND_POINTS = 60


@dataclass(frozen=True, repr=False)
class ConductivityAt(Shown):
    """σ at one temperature.

    Attributes
    ----------
    value_S_per_cm
        σ; for an upper bound (`is_upper_bound`) read ``interval95_S_per_cm[1]`` instead.
    interval68_S_per_cm, interval95_S_per_cm
        Intervals that hold the truth with 68.27 % and 95 % probability; the error of a student potential and the
        scatter between teachers are part of them where they are known.
    log_error
        Standard deviation of ln σ, all errors added in quadrature; inf for an upper bound.
    extrapolated
        Whether the temperature lies outside the range of the fit.
    simulated
        Whether there are runs at exactly this temperature.
    origin
        ``line``: read off the line through all temperatures; ``directions``: the sum of the lines of the directions,
        which differ in activation energy; ``runs``: the average of the runs at this temperature.
    """

    temperature_K: float
    value_S_per_cm: float
    interval68_S_per_cm: Interval
    interval95_S_per_cm: Interval
    log_error: float
    extrapolated: bool
    simulated: bool
    origin: Literal["line", "directions", "runs"]

    @property
    def is_upper_bound(self) -> bool:
        """Whether the interval begins at zero, so that only its upper end is meaningful."""
        return self.interval68_S_per_cm[0] <= 0.0 < self.interval95_S_per_cm[1]

    @property
    def precision(self) -> Precision:
        """Precision of σ, from the 68 % interval."""
        return precision_of(self.interval68_S_per_cm)

    def _facts(self) -> Iterator[tuple[str, str]]:
        low, high = self.interval95_S_per_cm
        known = f"< {high:.2g} S/cm (95 %)" if self.is_upper_bound else f"{self.value_S_per_cm:.3g} S/cm"
        yield f"σ({self.temperature_K:g} K)", known
        if not self.is_upper_bound:
            yield "95 %:", f"{low:.2g} to {high:.2g} S/cm" + (", extrapolated" if self.extrapolated else "")


@dataclass(frozen=True)
class ConductivityBand:
    """The line with its intervals for a figure: (n,) numbers each, from the hottest to the coldest temperature.

    Intervals are widened by the error of a student potential and the scatter between teachers where they are known.
    """

    inverse_temperature_per_K: tuple[float, ...]
    sigma_S_per_cm: tuple[float, ...]
    low68_S_per_cm: tuple[float, ...]
    high68_S_per_cm: tuple[float, ...]
    low95_S_per_cm: tuple[float, ...]
    high95_S_per_cm: tuple[float, ...]


def read_off(
    line: ArrheniusFit | DirectionLines,
    temperature_K: float,
    *,
    transfer: TransferTerm | None = None,
    model_form: ModelForm | None = None,
    simulated: bool = False,
) -> ConductivityAt:
    """Read σ off a line of ln(σT), or off those of the directions, summed.

    Parameters
    ----------
    line
        A fit of σ in S/cm with errors, of the form ``lnSigmaT``.
    transfer
        Error that a student potential adds; independent, so added in quadrature to the logarithm's.
    model_form
        Lines of students of several teachers: intervals reach at least as far as their scatter demands.
    simulated
        Whether there are runs at this temperature.

    Raises
    ------
    AnalysisError
        For a line of another form or without errors, or a temperature that is not positive.
    """
    if line.form != "lnSigmaT":
        raise AnalysisError(f"A conductivity is read off a line of ln(σT), not of the form {line.form!r}.")
    point = line.predict(temperature_K)
    if point.log_error is None or point.interval68 is None or point.interval95 is None:
        raise AnalysisError(
            "The line has no errors, and so the conductivity read off it would have none.",
            fix="Fit estimates, or give the errors of the points.",
        )
    value = float(point.value)
    further = (transfer, model_form, temperature_K)
    return ConductivityAt(
        temperature_K=temperature_K,
        value_S_per_cm=value,
        interval68_S_per_cm=_with_further(value, point.interval68, LEVEL_68, *further),
        interval95_S_per_cm=_with_further(value, point.interval95, LEVEL_95, *further),
        log_error=_log_error(point.log_error, *further),
        extrapolated=point.extrapolated,
        simulated=simulated,
        origin="line" if isinstance(line, ArrheniusFit) else "directions",
    )


def of_runs(
    estimate_S_per_cm: Estimate,
    temperature_K: float,
    *,
    transfer: TransferTerm | None = None,
    model_form: ModelForm | None = None,
) -> ConductivityAt:
    """Return σ from the runs at this temperature alone; an upper bound stays one."""
    e = estimate_S_per_cm
    further = (transfer, model_form, temperature_K)
    return ConductivityAt(
        temperature_K=temperature_K,
        value_S_per_cm=e.value,
        interval68_S_per_cm=_with_further(e.value, e.interval68, LEVEL_68, *further),
        interval95_S_per_cm=_with_further(e.value, e.interval95, LEVEL_95, *further),
        log_error=_log_error(e.log_error, *further),
        extrapolated=False,
        simulated=True,
        origin="runs",
    )


def conductivity_band(
    line: ArrheniusFit | DirectionLines,
    temperatures_K: Sequence[float],
    report_temperatures_K: Sequence[float],
    *,
    transfer: TransferTerm | None = None,
    model_form: ModelForm | None = None,
) -> ConductivityBand:
    """Read a line off at 60 temperatures, evenly spaced in 1/T.

    They go from the hottest simulated temperature to the coldest one simulated or reported. Parameters and errors are
    those of :func:`read_off`.
    """
    inverse = np.linspace(1.0 / max(temperatures_K), 1.0 / min([*report_temperatures_K, *temperatures_K]), _BAND_POINTS)
    inverse_temperatures = [float(x) for x in inverse]
    points = [read_off(line, 1.0 / x, transfer=transfer, model_form=model_form) for x in inverse_temperatures]
    return ConductivityBand(
        inverse_temperature_per_K=tuple(inverse_temperatures),
        sigma_S_per_cm=tuple(p.value_S_per_cm for p in points),
        low68_S_per_cm=tuple(p.interval68_S_per_cm[0] for p in points),
        high68_S_per_cm=tuple(p.interval68_S_per_cm[1] for p in points),
        low95_S_per_cm=tuple(p.interval95_S_per_cm[0] for p in points),
        high95_S_per_cm=tuple(p.interval95_S_per_cm[1] for p in points),
    )


def _log_error(
    statistics: float, transfer: TransferTerm | None, model_form: ModelForm | None, temperature_K: float
) -> float:
    whole = statistics if transfer is None else math.hypot(statistics, transfer.log_error(temperature_K))
    return whole if model_form is None else max(whole, model_form.log_error(temperature_K))


def _with_further(
    value: float,
    interval: Interval,
    level: float,
    transfer: TransferTerm | None,
    model_form: ModelForm | None,
    temperature_K: float,
) -> Interval:
    wider = None if transfer is None else widened(value, interval, transfer.log_error(temperature_K), level)
    low, high = interval if wider is None else wider
    if model_form is not None:
        low, high = reaching(value, (low, high), model_form.log_error(temperature_K, level))
    return float(low), float(high)
