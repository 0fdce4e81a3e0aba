"""Conductivities as text, and as cells of files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from superionic.report.csv_tables import Cells
from superionic.report.words import interval, number
from superionic.transport.conductivity.line import ConductivityAt

SIGMA_COLUMNS: Final = (
    "sigma_S_per_cm", "sigma_low68_S_per_cm", "sigma_high68_S_per_cm", "sigma_low95_S_per_cm", "sigma_high95_S_per_cm",
)  # fmt: skip


def sigma_cells(value: ConductivityAt | None) -> Cells:
    """Return the cells in the columns of a conductivity; empty if there is none."""
    if value is None:
        return (None,) * len(SIGMA_COLUMNS)
    return (value.value_S_per_cm, *value.interval68_S_per_cm, *value.interval95_S_per_cm)


_LARGE_S_PER_CM: Final = 0.1


@dataclass(frozen=True)
class SigmaUnit:
    """A unit in which conductivities need no powers of ten: its name, and its number per S/cm."""

    name: str
    per_S_per_cm: float

    @classmethod
    def of(cls, values: Iterable[ConductivityAt | None]) -> SigmaUnit:
        """Choose the unit by the largest of some values."""
        return cls.of_numbers(None if value is None else value.value_S_per_cm for value in values)

    @classmethod
    def of_numbers(cls, values_S_per_cm: Iterable[float | None]) -> SigmaUnit:
        """Choose the unit by the largest of some values in S/cm: S/cm from 0.1 S/cm on, as in hot runs, else mS/cm."""
        largest = max((value for value in values_S_per_cm if value is not None), default=0.0)
        return cls("S/cm", 1.0) if largest >= _LARGE_S_PER_CM else cls("mS/cm", 1000.0)

    def of_value(self, sigma_S_per_cm: float | None) -> float | None:
        """Return a conductivity in this unit."""
        return None if sigma_S_per_cm is None else self.per_S_per_cm * sigma_S_per_cm

    def value(self, sigma_S_per_cm: float) -> str:
        """Write a conductivity, without the unit."""
        return number(self.per_S_per_cm * sigma_S_per_cm, 2)

    def ends(self, interval_S_per_cm: tuple[float, float]) -> str:
        """Write an interval, without the unit."""
        low, high = interval_S_per_cm
        return interval(self.per_S_per_cm * low, self.per_S_per_cm * high)


def sigma_words(value: ConductivityAt) -> str:
    """Write σ at a temperature, or its upper bound."""
    unit = SigmaUnit.of([value])
    known = (
        f"< {unit.value(value.interval95_S_per_cm[1])}"
        if value.is_upper_bound
        else f"= {unit.value(value.value_S_per_cm)}"
    )
    return f"σ({value.temperature_K:g} K) {known} {unit.name}"


def sigma_detail(value: ConductivityAt, span_K: tuple[float, float] | None) -> str:
    """Write the interval of a conductivity, and how it was obtained."""
    unit = SigmaUnit.of([value])
    certainty = "an upper bound (95 %)" if value.is_upper_bound else f"68 %: {unit.ends(value.interval68_S_per_cm)}"
    if value.origin == "runs":
        return f"{certainty} · average of the runs at this temperature"
    span = f"{span_K[0]:g}–{span_K[1]:g} K" if span_K is not None else "the simulated temperatures"
    how = "extrapolated" if value.extrapolated else "interpolated"
    return f"{certainty} · {how} from {span}" + (", direction by direction" if value.origin == "directions" else "")
