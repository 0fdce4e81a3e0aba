"""Error budget of a conductivity: statistics, orderings, transfer from teacher to student, and the model's form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from superionic.transport.conductivity.arrhenius import ArrheniusFit
from superionic.transport.conductivity.model_form import ModelForm, remainder
from superionic.transport.estimate import PooledEstimate, student_quantile
from superionic.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from superionic.transport.conductivity.direction_lines import DirectionLines

ErrorSource = Literal["statistics", "orderings", "transfer", "model form"]

_SOURCE_WORDS: dict[ErrorSource, str] = {
    "statistics": "statistics of the runs, and the Arrhenius line",
    "orderings": "differences between orderings",
    "transfer": "transfer from the teacher to the student",
    "model form": "model form: students of different teachers",
}


@dataclass(frozen=True)
class TransferTerm:
    """Error added by using a student potential in place of its teacher.

    Attributes
    ----------
    ln_sigma
        Standard deviation of ln σ at ``temperature_K``.
    Ea_eV
        Standard deviation of the activation energy, independent of it.
    temperature_K
        Temperature at which the two are independent: about the middle of those of the comparison.
    """

    ln_sigma: float
    Ea_eV: float
    temperature_K: float

    def log_error(self, temperature_K: float) -> float:
        """Return the standard deviation of ln σ at a temperature, which grows away from those of the comparison."""
        lever = (1.0 / temperature_K - 1.0 / self.temperature_K) / BOLTZMANN_EV_PER_K
        return math.hypot(self.ln_sigma, self.Ea_eV * lever)


@dataclass(frozen=True)
class BudgetTerm:
    """One source of the errors of Ea and ln σ; sources are independent, and add in quadrature to the whole.

    Attributes
    ----------
    source
        Origin of the error.
    Ea_eV
        Its contribution to the standard deviation of the activation energy; None where the fit has no error.
    ln_sigma
        ``(temperature_K, standard deviation of ln σ)`` at each report temperature, in the requested order.
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
    model_form: ModelForm | None = None,
) -> tuple[BudgetTerm, ...]:
    """List the contributions to the errors of Ea and of σ(T).

    The variance of the line is shared out between the statistics of the runs and the differences between orderings as
    the variances of the points are (:func:`superionic.transport.estimate.pool_orderings`).

    Parameters
    ----------
    fit
        The line that gives Ea.
    line
        The line, with errors, or the lines of the directions, that σ is read off.
    conductivities
        σ at each simulated temperature.
    temperatures_K
        Temperatures at which σ is read off.
    transfer
        Error that a student potential adds.
    model_form
        Lines of students of several teachers: what their scatter adds to all the other terms.

    Returns
    -------
    tuple of BudgetTerm
        Statistics first; orderings where there are several at one temperature; the transfer where it is known; the
        model's form where there are several teachers.
    """
    errors = [(each.statistical**2, each.ordering**2) for each in conductivities if math.isfinite(each.statistical)]
    total = sum(one + other for one, other in errors)
    share = sum(other for _, other in errors) / total if total > 0.0 else 0.0
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
    if model_form is not None:
        others = [term.Ea_eV for term in budget if term.Ea_eV is not None]
        logs = [dict(term.ln_sigma) for term in budget]
        budget.append(
            BudgetTerm(
                "model form",
                remainder(model_form.Ea_error_eV(), math.hypot(*others)) if others else None,
                tuple(
                    (t, remainder(model_form.log_error(t), math.hypot(*(each[t] for each in logs if t in each))))
                    for t in temperatures_K
                ),
            )
        )
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
        Standard deviation of the additional error of the logarithm.
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
