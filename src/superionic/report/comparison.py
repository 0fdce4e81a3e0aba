"""Values published by others, read so that they can stand beside ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from superionic.report.values import Record, Results, text
from superionic.report.words import UNKNOWN, interval, number, with_error

_TO_S_PER_CM: Final = {"S/cm": 1.0, "mS/cm": 1e-3, "S cm⁻¹": 1.0, "mS cm⁻¹": 1e-3, "S/m": 1e-2, "µS/cm": 1e-6}


@dataclass(frozen=True)
class Quantity:
    """A value with what is known of its error; a range has ends and no middle.

    Attributes
    ----------
    value, error, low, high
        In the unit of the record that it comes from; None where not given.
    """

    value: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def known(self) -> bool:
        """Whether there is anything to show."""
        return self.value is not None or self.low is not None or self.high is not None

    def written(self) -> str:
        """Return the value as people read it."""
        if self.value is None:
            return interval(self.low, self.high) if self.known else UNKNOWN
        if self.error is not None:
            return with_error(self.value, self.error)
        if self.low is not None or self.high is not None:
            return f"{number(self.value)} ({interval(self.low, self.high)})"
        return number(self.value)


def quantity(found: Any) -> Quantity:
    """Read a number, a range ``[low, high]`` or a mapping with value, error and interval68."""
    if isinstance(found, bool) or found is None:
        return Quantity()
    if isinstance(found, int | float):
        return Quantity(value=float(found))
    if isinstance(found, list) and len(found) == 2:
        ends = [float(end) if isinstance(end, int | float) else None for end in found]
        return Quantity(low=ends[0], high=ends[1])
    if isinstance(found, dict):
        inner = quantity(found.get("interval68"))
        middle, error = quantity(found.get("value")), quantity(found.get("error")).value
        ends_of = inner if inner.known else middle
        return Quantity(middle.value, error, ends_of.low, ends_of.high)
    return Quantity()


@dataclass(frozen=True)
class Comparison:
    """One of our values beside one published value of the same quantity.

    Attributes
    ----------
    kind
        What sort of quantity it is, as far as its name and unit tell.
    temperature_K
        Temperature that it holds for; None if none is named.
    """

    formula: str
    name: str
    kind: Literal["activation energy", "conductivity", "volume", "other"]
    temperature_K: float | None
    ours: Quantity
    published: Quantity
    unit: str
    method: str
    source: str
    doi: str
    bound: str
    experiment: bool

    @property
    def short_source(self) -> str:
        """First author and year of the source, for legends."""
        return short_citation(self.source)

    def in_S_per_cm(self, value: float | None) -> float | None:
        """Convert a conductivity of this comparison to S/cm; None if its unit is not known."""
        factor = _TO_S_PER_CM.get(self.unit)
        return None if value is None or factor is None else value * factor


def short_citation(citation: str) -> str:
    """Shorten ``Z. Liu et al., Nat. Chem. 16, 1584 (2024)`` to ``Liu 2024``; what has another form stays as it is."""
    year = re.search(r"\((\d{4})\)", citation)
    author = re.match(r"(?:[A-Z][\w-]*\.[ -]?)+((?:[a-z]+ )*[A-Z][^\s,]+)", citation)
    return f"{author.group(1)} {year.group(1)}" if year and author else citation


def _method(record: Record) -> str:
    parts = [text(record, "method"), text(record, "polymorph")]
    pressure = record.get("pressure_GPa")
    if isinstance(pressure, int | float) and pressure > 0.01:
        parts.append(f"{pressure:g} GPa")
    return ", ".join(part for part in parts if part)


def _kind(name: str, unit: str) -> Literal["activation energy", "conductivity", "volume", "other"]:
    lower = name.lower()
    if unit in _TO_S_PER_CM or "sigma" in lower or "conductiv" in lower:
        return "conductivity"
    if re.search(r"\bea\b|ea_|activation", lower):
        return "activation energy"
    if "volume" in lower:
        return "volume"
    return "other"


def _temperature(record: Record, name: str) -> float | None:
    for found in (record.get("temperature_K"), record.get("temperature")):
        if isinstance(found, int | float) and not isinstance(found, bool):
            return float(found)
    match = re.search(r"(\d+(?:\.\d+)?)\s*_?K(?![a-z])", name)
    return float(match.group(1)) if match else None


def _readable(name: str, kind: str, temperature_K: float | None) -> str:
    at = f" at {temperature_K:g} K" if temperature_K is not None else ""
    if kind == "activation energy":
        return "activation energy Eₐ"
    if kind == "conductivity":
        return f"conductivity σ{at}"
    if kind == "volume":
        return f"volume{at}"
    return name.replace("_", " ")


def _is_experiment(record: Record, method: str) -> bool:
    kind = text(record, "kind")
    if kind:
        return kind == "measured"
    return any(word in method.lower() for word in ("exp", "impedance", "diffraction", "measured"))


def comparisons(results: Results) -> list[Comparison]:
    """Return all comparisons with published values, in the order of the results."""
    found = []
    for record in results.records("analyse", "comparison"):
        name, unit = text(record, "quantity"), text(record, "unit")
        kind = _kind(name, unit)
        temperature = _temperature(record, name)
        method = _method(record)
        found.append(
            Comparison(
                formula=text(record, "formula"),
                name=_readable(name, kind, temperature),
                kind=kind,
                temperature_K=temperature,
                ours=quantity(record.get("ours")),
                published=quantity(record.get("published")),
                unit="Å³/atom" if unit == "A3/atom" else unit,
                method=method,
                source=text(record, "source"),
                doi=text(record, "doi"),
                bound=text(record, "bound"),
                experiment=_is_experiment(record, method),
            )
        )
    return found
