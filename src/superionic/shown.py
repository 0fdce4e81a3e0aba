"""Results as a notebook shows them: a few lines of text, a table, a data frame, made from the names of their fields.

Names carry their units (``tracer_diffusivity_cm2_per_s``), so that a result can describe itself:
``tracer diffusivity 3.44(22)e-05 cm²/s``. Values with an error are those with the attributes ``value``, ``error``,
``interval95`` and ``is_upper_bound``.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

_SIGNS: Final = {"A": "Å", "A2": "Å²", "A3": "Å³", "cm2": "cm²", "percent": "%", "deg": "°"}
_UNIT = re.compile(
    r"_(?=(?:per_)?(?:cm2|S|eV|meV|K|ps|fs|A|A2|A3|GPa|g|s|deg|amu|percent)(?:_per_|$))"
    r"((?:per_)?[A-Za-z0-9]+(?:_per_(?:formula_unit|[A-Za-z0-9]+))*)$"
)
_MOST_LINES: Final = 5
_WIDTH: Final = 100
_LONGEST_FACT: Final = 60
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"


def number_text(value: float, error: float | None = None) -> str:
    """Write a number as physicists do: ``0.253(19)``, ``3.44(22)e-05``; without an error in four digits.

    Parameters
    ----------
    value
        The number.
    error
        Its standard error, which is written with two digits; ignored unless it is positive and finite.
    """
    if error is None or not (math.isfinite(value) and math.isfinite(error) and error > 0.0):
        return f"{value:.4g}"
    largest = max(abs(value), error)
    last = _exponent(error, 1) - 1  # the second digit of the error is the last one written
    exponent = _exponent(largest, max(_exponent(largest, 0) - last, 0))
    if last > 0 or exponent < -4:  # plain digits would claim too much precision, or be long
        value, error, last, tail = value / 10.0**exponent, error / 10.0**exponent, last - exponent, f"e{exponent:+03d}"
    else:
        tail = ""
    decimals = max(-last, 0)
    rounded = f"{error:.{decimals}f}"
    return f"{value:.{decimals}f}({rounded if float(rounded) >= 1.0 else rounded.replace('.', '').lstrip('0')}){tail}"


def _exponent(value: float, decimals: int) -> int:
    """Return the power of ten of a positive number that is rounded to so many decimals in scientific notation."""
    return int(f"{value:.{decimals}e}".partition("e")[2])


def words_and_unit(name: str) -> tuple[str, str]:
    """Split the name of a field into words and a unit: ``volume_A3`` becomes ``("volume", "Å³")``."""
    unit = _UNIT.search(name)
    if unit is None:
        return _words(name), ""
    first, *others = unit.group(1).removeprefix("per_").split("_per_")
    if unit.group(1).startswith("per_"):
        first, others = "1", [first, *others]
    signs = [_SIGNS.get(each, each.replace("_", " ")) for each in (first, *others)]
    return _words(name[: unit.start()]), "/".join(signs)


def _words(name: str) -> str:
    words = name.removeprefix("n_").replace("_", " ")
    return words.replace("haven", "Haven").replace("nernst einstein", "Nernst–Einstein")


class Shown:
    """A dataclass that displays itself: declare it with ``repr=False``.

    A class may describe itself in its own way by overriding :meth:`_facts` (text) and :meth:`_records` (table rows).
    """

    def _facts(self) -> Iterable[tuple[str, str]]:
        """Yield the facts to display, the most important first: words, and a value with its unit."""
        named = [(field.name, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        errors = {name: value for name, value in named if "_error" in name and isinstance(value, float)}
        for name, value in sorted(named, key=lambda pair: not _is_estimate(pair[1])):
            unit = _UNIT.search(name)
            stem = name[: unit.start()] if unit else name
            error = errors.get(f"{stem}_error{name[len(stem) :]}")
            if isinstance(value, Shown) and not _is_estimate(value):
                yield from value._facts()
            elif name not in errors:
                yield from fact(name, value, error)

    def _records(self) -> Iterable[Mapping[str, Any]]:
        """Yield the rows of the table: those of the first tuple of results among the fields, or one of all."""
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, tuple) and value and all(is_dataclass(item) for item in value):
                return [record(item) for item in value]
        return [record(self)]

    def __repr__(self) -> str:
        facts = [f"{words} {value}".strip() for words, value in self._facts()]
        whole = [each.replace(" ", _NO_BREAK) if len(each) < _LONGEST_FACT else each for each in facts]
        lines = textwrap.wrap(
            f"{type(self).__name__}: " + f"{_NO_BREAK}· ".join(whole),
            _WIDTH,
            subsequent_indent="    ",
            max_lines=_MOST_LINES,
            placeholder=" …",
            break_long_words=False,
            break_on_hyphens=False,
        )
        return "\n".join(lines).replace(_NO_BREAK, " ")

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td style="text-align:left">{escape(words)}</td><td style="text-align:left">{escape(value)}</td></tr>'
            for words, value in self._facts()
        )
        return f"<table><caption>{escape(type(self).__name__)}</caption><tbody>{rows}</tbody></table>"

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each result in this one; column names carry the units."""
        import pandas as pd

        return pd.DataFrame([dict(each) for each in self._records()])


def fact(name: str, value: Any, error: float | None = None) -> Iterator[tuple[str, str]]:
    """Yield words and text for a field, if its value (with its error) fits in a few words."""
    value = getattr(value, "estimate", value)
    words, unit = words_and_unit(name)
    tail = f" {unit}" if unit else ""
    if _is_estimate(value):
        if value.is_upper_bound:
            known = math.isfinite(value.interval95[1])
            yield words, f"< {value.interval95[1]:.2g}{tail} (95 %)" if known else "not bounded"
        else:
            yield words, number_text(value.value, value.error) + tail
    elif isinstance(value, bool):
        yield words, "yes" if value else "no"
    elif isinstance(value, int):
        yield words, f"{value:,}{tail}" if abs(value) < 10**9 else f"{float(value):.3g}{tail}"
    elif isinstance(value, float):
        yield words, number_text(value, error) + tail
    elif isinstance(value, str) and value and name != "key":
        yield words, textwrap.shorten(value, _LONGEST_FACT, placeholder="…")
    elif isinstance(value, tuple) and value:
        if all(isinstance(item, str) for item in value):
            yield words, textwrap.shorten(", ".join(value), _LONGEST_FACT, placeholder=", …")
        elif all(isinstance(item, int | float) for item in value) and len(value) <= 3:
            yield words, " to ".join(number_text(item) for item in value) + tail
        else:
            yield words, f"({len(value)})"


def record(item: Any) -> dict[str, Any]:
    """Return the plain values of a result by name: an estimate as several columns, a labelled object by its label."""
    columns: dict[str, Any] = {}
    for field in fields(item):
        value = getattr(item, field.name)
        value = getattr(value, "estimate", value)
        if _is_estimate(value):
            columns[field.name] = value.value
            columns[f"{field.name}_error"] = value.error
            columns[f"{field.name}_low95"], columns[f"{field.name}_high95"] = value.interval95
            columns[f"{field.name}_is_upper_bound"] = value.is_upper_bound
        elif value is None or isinstance(value, str | int | float):
            columns[field.name] = value
        elif isinstance(label := getattr(value, "label", getattr(value, "id", None)), str):
            columns[field.name] = label
        elif isinstance(value, Shown):
            columns = columns | {name: part for name, part in record(value).items() if name not in columns}
    return columns


def _is_estimate(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("value", "error", "interval95", "is_upper_bound"))
