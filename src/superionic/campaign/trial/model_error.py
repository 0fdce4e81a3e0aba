"""What the σ(300 K) of a trial is worth beyond its statistics: learned from crystals whose σ is measured.

The table ``residuals.csv`` in this folder has a row for each crystal that was tried, made by
``benchmarks/first_looks.py --residuals`` with OBELiX's training part (NRC-Mila, CC-BY-4.0). Half of the crystals with
both values set the error, and on the other half one sees whether intervals with it hold what they say.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import scipy

from superionic.transport.estimate import LEVEL_68, LEVEL_95, student_quantile
from superionic.units import BOLTZMANN_EV_PER_K

ENOUGH: Final = 20
"""Crystals tried by one teacher from which on its error is calibrated: ten to set it, ten to test it."""

PRIOR_DECADES: Final = 1.25
"""Assumed until then, unless the crystals tried so far, by any teacher, show more: a mean absolute error of one decade.

Measurements of one composition and space group scatter by 0.85 decades among themselves (OBELiX's training part, pooled
standard deviation), and no model can agree better. The rest, 0.9 decades, is for the teacher, its student, one ordering
and the refined cell.
"""


@dataclass(frozen=True)
class Residual:
    """One crystal that was tried, beside its measured conductivity at room temperature.

    Attributes
    ----------
    crystal, formula, teacher
        Name of its file, what was run, and the teacher.
    measured_S_per_cm
        As the table of measurements has it; an upper bound is negative there and not used.
    outcome
        ``σ(300 K)``, or why there is none.
    residual_decades
        log10 of σ by the trial over the measured one; None where either is missing or a bound.
    statistical_decades
        Standard deviation of it by the statistics of the runs.
    passed
        Whether the student passed its gate; None without a student.
    cpu_s
        CPU seconds of both halves.
    superionic, date
        Version that made the row, and when.
    """

    crystal: str
    formula: str
    teacher: str
    measured_S_per_cm: float
    outcome: str
    residual_decades: float | None
    statistical_decades: float | None
    passed: bool | None
    cpu_s: float
    superionic: str
    date: str


@dataclass(frozen=True)
class ModelError:
    """Error of log10 σ(300 K) that the statistics of the runs do not show.

    Attributes
    ----------
    decades
        Its standard deviation about zero, so that a bias is part of it.
    basis
        ``calibrated`` on measured crystals, or a ``prior`` where too few were tried by this teacher.
    n_crystals, n_seen
        Crystals with both values that were tried by this teacher, and by all teachers.
    n_tested, held68, held95
        Of those not used to set it: how many there are, and how many lie in their 68 % and 95 % intervals; zeros for a
        prior.
    """

    decades: float
    basis: Literal["calibrated", "prior"]
    n_crystals: int
    n_seen: int = 0
    n_tested: int = 0
    held68: int = 0
    held95: int = 0

    @property
    def log_error(self) -> float:
        """The standard deviation of ln σ."""
        return self.decades * math.log(10.0)

    def Ea_eV(self, temperature_K: float, extrapolated_to_K: float) -> float:
        """Return the error of an activation energy that would by itself make that of σ.

        Parameters
        ----------
        temperature_K
            About the middle of the temperatures of the runs, where σ is taken for right.
        extrapolated_to_K
            Temperature at which σ has this error.
        """
        return self.log_error * BOLTZMANN_EV_PER_K / abs(1.0 / extrapolated_to_K - 1.0 / temperature_K)

    @property
    def words(self) -> str:
        """Where it comes from, in a sentence."""
        size = f"a factor of {10.0**self.decades:.0f} ({self.decades:.3g} decades)"
        if self.basis == "prior":
            shown = "" if self.decades == PRIOR_DECADES else f", as the {self.n_seen} crystals tried so far show"
            return (
                f"Not calibrated: {size} is assumed for the model{shown}. Crystals with measured conductivities tried "
                f"by this teacher: {self.n_crystals} of the {ENOUGH} that a calibration needs."
            )
        return (
            f"Calibrated on {self.n_crystals - self.n_tested} crystals with measured conductivities: the model's error "
            f"is {size}. Of {self.n_tested} others, {self.held68} lie in their 68 % interval and {self.held95} in that "
            "of 95 %."
        )


def model_error(teacher: str, residuals: Iterable[Residual]) -> ModelError:
    """Calibrate the error of the σ(300 K) of trials by a teacher, or return the prior.

    Crystals are taken in the order of their names, every second one to set the error, the others to test it. With too
    few of this teacher, those of all teachers may show that the error is larger than the prior.
    """
    seen = [
        (each.teacher, each.residual_decades, each.statistical_decades)
        for each in sorted(residuals, key=lambda each: each.crystal)
        if each.residual_decades is not None and each.statistical_decades is not None
    ]
    known = [(value, error) for own, value, error in seen if own == teacher]
    if len(known) < ENOUGH:
        shown = excess_error([value for _, value, _ in seen], [error for _, _, error in seen])
        return ModelError(max(PRIOR_DECADES, shown), "prior", len(known), len(seen))
    setting, testing = known[::2], known[1::2]
    decades = excess_error(*zip(*setting, strict=True))
    held = [
        sum(
            abs(value) <= student_quantile(level, math.inf) * math.hypot(statistical, decades)
            for value, statistical in testing
        )
        for level in (LEVEL_68, LEVEL_95)
    ]
    return ModelError(decades, "calibrated", len(known), len(seen), len(testing), *held)


def excess_error(residuals: Sequence[float], errors: Sequence[float]) -> float:
    """Return the error that explains residuals beyond their own errors: Σ r²/(s² + τ²) = n solved for τ.

    This is the estimator of Paule and Mandel (J. Res. Natl. Bur. Stand. 87, 377, 1982) with the mean fixed at zero.

    Parameters
    ----------
    residuals, errors
        Values that are zero but for their error, and its known part, n each.
    """
    squares, known = np.square(residuals), np.square(errors)

    def excess(variance: float) -> float:
        return float(np.sum(squares / (known + variance))) - len(squares)

    high = float(np.sum(squares)) / len(squares) if len(squares) else 0.0
    tiny = 1e-12 * high
    if high == 0.0 or excess(tiny) <= 0.0:
        return 0.0
    return math.sqrt(scipy.optimize.brentq(excess, tiny, high * (1.0 + 1e-9)))


# ---- the table -------------------------------------------------------------------------------------------------------

_NUMBERS: Final = ("measured_S_per_cm", "residual_decades", "statistical_decades", "cpu_s")
COLUMNS: Final = tuple(Residual.__dataclass_fields__)


def published() -> tuple[Residual, ...]:
    """Return the rows of the table that comes with superionic."""
    return read_residuals(files(__package__).joinpath("residuals.csv").read_text(encoding="utf-8"))


def read_residuals(text: str) -> tuple[Residual, ...]:
    """Read a table of residuals."""
    return tuple(_row(row) for row in csv.DictReader(text.splitlines()))


def _row(row: dict[str, str]) -> Residual:
    values: dict[str, Any] = dict(row)
    values |= {name: float(row[name]) if row[name] else None for name in _NUMBERS}
    values["passed"] = {"yes": True, "no": False, "": None}[row["passed"]]
    return Residual(**values)


def append_residual(path: Path, residual: Residual) -> None:
    """Append a row to a table of residuals, which is begun if it is not there."""
    begun = path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not begun:
            writer.writerow(COLUMNS)
        writer.writerow(_text(getattr(residual, name)) for name in COLUMNS)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
