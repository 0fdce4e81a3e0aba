"""Numbers, units and formulas as text for people."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

UNKNOWN: Final = "–"
MINUS: Final = "\N{MINUS SIGN}"
_SUBSCRIPTS: Final = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPTS: Final = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SMALLEST_PLAIN: Final = -3
_LARGEST_PLAIN: Final = 5


def formula_text(formula: str) -> str:
    """Write the numbers of a chemical formula as subscripts: ``Li3YCl6`` becomes ``Li₃YCl₆``."""
    return re.sub(r"(?<=[A-Za-z)\]])\d+(?:\.\d+)?", lambda match: match.group().translate(_SUBSCRIPTS), formula)


def power_of_ten(exponent: int) -> str:
    """Write ``10⁻⁶`` for -6."""
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _fixed(value: float, decimals: int) -> str:
    written = f"{value:.{max(decimals, 0)}f}"
    if float(written) == 0.0:
        written = written.lstrip("-")
    return written.replace("-", MINUS)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with `digits` significant digits, with a power of ten if it is very small or very large."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    exponent = _exponent(float(f"{value:.{digits - 1}e}"))
    if _SMALLEST_PLAIN <= exponent < _LARGEST_PLAIN:
        return _fixed(value, digits - 1 - exponent)
    return f"{_fixed(value / 10.0**exponent, digits - 1)} × {power_of_ten(exponent)}"


def milli(value_eV: float | None, digits: int = 3) -> str:
    """Write an energy in eV as meV; values below rounding errors of energies become zero."""
    if value_eV is None:
        return UNKNOWN
    return "0" if abs(value_eV) < 5e-7 else number(1000.0 * value_eV, digits)


def _error_decimals(error: float) -> int:
    """Return the number of decimals that gives an error two significant digits."""
    return 1 - _exponent(float(f"{error:.1e}"))


def with_error(value: float | None, error: float | None, unit: str = "") -> str:
    """Write ``0.253 ± 0.019 eV``: the error determines the number of digits of the value."""
    tail = f" {unit}" if unit else ""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if error is None or not math.isfinite(error) or error <= 0:
        return number(value) + tail
    largest = max(abs(value), error)
    exponent = _exponent(largest)
    if _SMALLEST_PLAIN <= exponent < _LARGEST_PLAIN:
        decimals = _error_decimals(error)
        return f"{_fixed(round(value, decimals), decimals)} ± {_fixed(round(error, decimals), decimals)}{tail}"
    scale = 10.0**exponent
    decimals = _error_decimals(error / scale)
    inner = f"{_fixed(value / scale, decimals)} ± {_fixed(error / scale, decimals)}"
    return f"({inner}) × {power_of_ten(exponent)}{tail}"


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """Write ``8.1 to 18``; an end that is unknown or not finite is open, and stated in words."""
    low, high = (None if end is None or not math.isfinite(end) else end for end in (low, high))
    if low is None and high is None:
        return "not bounded"
    if high is None:
        return f"above {number(low, digits)}, no upper bound"
    if low is None or low <= 0 < high:
        return f"below {number(high, digits)}" if low is None or low == 0 else _pair(low, high, digits)
    return _pair(low, high, digits)


def _pair(low: float, high: float, digits: int) -> str:
    largest = max(abs(low), abs(high))
    exponent = _exponent(largest) if largest > 0 else 0
    apart = low != 0.0 != high and exponent - _exponent(min(abs(low), abs(high))) > 2
    if apart or _SMALLEST_PLAIN <= exponent < _LARGEST_PLAIN:
        return f"{number(low, digits)} to {number(high, digits)}"
    scale = 10.0**exponent
    return f"({number(low / scale, digits)} to {number(high / scale, digits)}) × {power_of_ten(exponent)}"


def whole_text(value: float | None) -> str:
    """Write a count with thin spaces between thousands."""
    if value is None:
        return UNKNOWN
    count = int(value)
    if abs(count) >= 10**12:
        return number(float(count), 2) if abs(count) < 10**300 else f"about {power_of_ten(len(str(abs(count))) - 1)}"
    return f"{count:,}".replace(",", "\N{THIN SPACE}").replace("-", MINUS)


def supercell_text(matrix: Sequence[Sequence[int]]) -> str:
    """Write a supercell: ``1 × 1 × 2`` if it is diagonal, else all rows."""
    if any(matrix[i][j] for i in range(3) for j in range(3) if i != j):
        return str([list(row) for row in matrix])
    return " × ".join(str(matrix[i][i]) for i in range(3))


def plural(count: int, one: str, many: str | None = None) -> str:
    """Write ``1 ordering`` or ``12 orderings``."""
    return f"{whole_text(count)} {one if count == 1 else many or one + 's'}"


def listing(items: Sequence[str], conjunction: str = "and") -> str:
    """Write ``a, b and c``."""
    if not items:
        return ""
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def some(names: Sequence[str]) -> str:
    """List up to four names, or the first three and the number of others."""
    return listing(names if len(names) <= 4 else [*names[:3], plural(len(names) - 3, "other")])


def sentence(words: str) -> str:
    """Return `words` with a capital letter and a full stop; ``snake_case`` codes become words."""
    clean = words.strip()
    if re.fullmatch(r"[a-z0-9]+(?:[_-][a-z0-9]+)+", clean):
        clean = clean.replace("_", " ").replace("-", " ")
    if not clean:
        return ""
    if clean[0].isascii():  # a symbol such as σ is not capitalised
        clean = clean[0].upper() + clean[1:]
    return clean if clean[-1] in ".!?" else clean + "."


def safe_name(label: str) -> str:
    """Return a label in a form fit for a file name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", label)
