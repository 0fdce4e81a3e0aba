"""Errors of a conductivity that statistics do not hold, put beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from superionic.transport.conductivity.arrhenius import ArrheniusFit
from superionic.transport.estimate import PooledEstimate, student_quantile
from superionic.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from superionic.transport.conductivity.direction_lines import DirectionLines

ErrorSource = Literal["statistics", "orderings", "transfer"]

_SOURCE_WORDS: dict[ErrorSource, str] = {
    "statistics": "statistics of the runs, and the Arrhenius line",
    "orderings": "differences between orderings",
    "transfer": "transfer from the teacher to the student",
}


@dataclass(frozen=True)
class TransferTerm:
    """What it adds that a student potential stands in for its teacher.

    Attributes
    ----------
    ln_sigma
        Standard deviation of ln σ at ``temperature_K``.
    Ea_eV
        Standard deviation of the activation energy, independent of it.
    temperature_K
        Where the two are independent: about the middle of the temperatures of the comparison.
    """

    ln_sigma: float
    Ea_eV: float
    temperature_K: float

    def log_error(self, temperature_K: float) -> float:
        """Give the standard deviation of ln σ at a temperature; it grows away from where the two were compared."""
        lever = (1.0 / temperature_K - 1.0 / self.temperature_K) / BOLTZMANN_EV_PER_K
        return math.hypot(self.ln_sigma, self.Ea_eV * lever)


@dataclass(frozen=True)
class BudgetTerm:
    """One source of the errors of Ea and ln σ; sources are independent, and add in quadrature to the whole.

    Attributes
    ----------
    source
        Where the error comes from.
    Ea_eV
        Its standard deviation of the activation energy; None where the fit has no error.
    ln_sigma
        ``(temperature_K, standard deviation of ln σ)`` at each report temperature, in the order asked.
    """

    source: ErrorSource
    Ea_eV: float | None
    ln_sigma: tuple[tuple[float, float], ...]

    @property
    def words(self) -> str:
        """The source in words."""
        return _SOURCE_WORDS[self.source]


def error_budget(
    fit: ArrheniusFit,
    line: ArrheniusFit | DirectionLines,
    conductivities: Sequence[PooledEstimate],
    temperatures_K: Sequence[float],
    transfer: TransferTerm | None = None,
) -> tuple[BudgetTerm, ...]:
    """Set the parts of the errors of Ea and of σ(T) side by side.

    The variance of the line is shared out between the statistics of the runs and the differences between orderings as
    the variances of the points are (:func:`superionic.transport.estimate.pool_orderings`).

    Parameters
    ----------
    fit
        That Ea is from.
    line
        That σ is read off, with errors, or the lines of the directions.
    conductivities
        σ at each simulated temperature.
    temperatures_K
        Where σ is read off.
    transfer
        What a student potential adds.

    Returns
    -------
    tuple of BudgetTerm
        Statistics first; orderings where there are several at one temperature; the transfer where it is known.
    """
    errors = [(each.statistical**2, each.ordering**2) for each in conductivities if math.isfinite(each.statistical)]
    together = sum(one + other for one, other in errors)
    share = sum(other for _, other in errors) / together if together > 0.0 else 0.0
    points = [line.predict(temperature) for temperature in temperatures_K]

    def part(fraction: float, source: ErrorSource) -> BudgetTerm:
        root = math.sqrt(fraction)
        return BudgetTerm(
            source,
            None if fit.Ea_error_eV is None else root * fit.Ea_error_eV,
            tuple((p.temperature_K, root * p.log_error) for p in points if p.log_error is not None),
        )

    budget = [part(1.0 - share, "statistics")]
    if max(each.n_orderings for each in conductivities) > 1:
        budget.append(part(share, "orderings"))
    if transfer is not None:
        budget.append(BudgetTerm("transfer", transfer.Ea_eV, tuple((t, transfer.log_error(t)) for t in temperatures_K)))
    return tuple(budget)


def widened(
    value: float, interval: tuple[float, float] | None, log_error: float, level: float
) -> tuple[float, float] | None:
    """Widen an interval of a positive number by an independent error of its logarithm, in quadrature.

    Parameters
    ----------
    value
        The number.
    interval
        Its interval; None stays None, and an open end stays open.
    log_error
        Standard deviation of the logarithm that comes on top.
    level
        Probability of the interval.
    """
    if interval is None or value <= 0.0:
        return interval
    extra = student_quantile(level, math.inf) * log_error
    low, high = interval
    if low > 0.0:
        low = value * math.exp(-math.hypot(math.log(value / low), extra))
    if math.isfinite(high):
        high = value * math.exp(math.hypot(math.log(high / value), extra))
    return low, high
