"""The types of the fields of a campaign file, which all sections share, and formulas.

Nothing here knows a stage. The models are strict: text is not read as a number, nor a truth value as 1.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from superionic.chemistry import ELEMENTS
from superionic.registry import DELTA, Model, models, trainable
from superionic.settings.rules import FileName, Section

PresetName = Literal["demo", "paper-a", "paper-b"]
"""Names of the presets; what each sets is in ``superionic/campaign/file/presets.yaml``."""
Optimizer = Literal["QN", "FIRE", "FIRE2", "LBFGS", "BFGS", "GOQN"]
"""As in :mod:`superionic.dynamics.relax.optimizers`, without the science that importing it takes."""

if TYPE_CHECKING:
    ModelName = str
    TrainerName = str
else:

    def _name_of(known: Mapping[str, Model], *further: str) -> object:
        """Take the name of any model that is installed; the documents name those that come with superionic."""
        own = [*further, *(name for name, model in known.items() if model.is_own)]
        return Annotated[Literal[(*further, *known)], WithJsonSchema({"enum": own, "type": "string"})]

    ModelName = _name_of(models())
    """Name of a model; see :mod:`superionic.registry`."""
    TrainerName = _name_of(trainable(), DELTA)
    """Name of a model that has a trainer, or of the trainer of corrections."""

FINE_TUNED: Final = "fine-tuned"
"""The name that stands for the potential which this campaign trains."""


def at_size(labels: int) -> str:
    """Return the name of the potential that this campaign trains on a number of its labels: `fine-tuned@250`."""
    return f"{FINE_TUNED}@{labels}"


def is_trained(potential: str | None) -> bool:
    """Return whether a name is that of a potential which the campaign trains, on all of its labels or on some."""
    return potential is not None and potential.partition("@")[0] == FINE_TUNED and potential != at_size(0)


STUDENT: Final = "student"
"""The name that stands for the fast potential which this campaign distils."""

MOST_REPETITIONS: Final = 100_000
"""Cells of the crystal in a supercell; how many atoms that may be is known once the crystal is read."""

_LONGEST_FORMULA: Final = 300
_MOST_OF_ONE: Final = 100_000.0
_FORMULA_PART = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?|\.\d+)?")


class StageSection(Section):
    """Base of the sections that configure a stage; any of them may start from a preset of its own."""

    preset: PresetName | None = Field(
        default=None,
        description="Preset that fills what this section leaves out; it wins over the preset of the whole file.",
    )


def parse_formula(formula: str) -> dict[str, float]:
    """Read a plain chemical formula such as ``Li3YCl6`` or ``Li2.5Y0.5Zr0.5Cl6``.

    Parameters
    ----------
    formula
        Element symbols, each followed by its count (1 where left out); no brackets.

    Returns
    -------
    dict of str to float
        Count of each element, in the order written; repeated symbols are added up.

    Raises
    ------
    ValueError
        If the text is not such a formula, names an unknown element, or has a count of zero.
    """
    if len(formula) > _LONGEST_FORMULA:
        raise ValueError(f"'{formula[:40]}...' has {len(formula)} letters and is no formula such as Li3YCl6")
    counts: dict[str, float] = {}
    position = 0
    for part in _FORMULA_PART.finditer(formula):
        if part.start() != position:
            break
        symbol, count = part.group(1), float(part.group(2) or 1)
        if symbol not in ELEMENTS:
            raise ValueError(f"'{symbol}' in the formula '{formula}' is not an element")
        if count <= 0:
            raise ValueError(f"the count of {symbol} in the formula '{formula}' is zero")
        if count > _MOST_OF_ONE:
            raise ValueError(f"the count of {symbol} in the formula '{formula[:40]}' is above {_MOST_OF_ONE:,.0f}")
        counts[symbol] = counts.get(symbol, 0.0) + count
        position = part.end()
    if position != len(formula) or not counts:
        raise ValueError(f"'{formula}' is not a formula such as Li3YCl6 (symbols and counts, without brackets)")
    return counts


def _check_element(symbol: str) -> str:
    if symbol not in ELEMENTS:
        raise ValueError(f"'{symbol[:40]}' is not the symbol of an element")
    return symbol


def _check_formula(formula: str) -> str:
    parse_formula(formula)
    return formula


def _matrix(value: Any) -> Any:
    """Bring "1x1x2", [1, 1, 2] or a 3×3 list to a 3×3 tuple of integers; raise ValueError where it is none."""
    expected = 'a supercell is "1x1x2", [1, 1, 2] or a 3×3 list of whole numbers'
    if isinstance(value, str):
        parts = re.split(r"\s*[x×*]\s*", value.strip())
        if len(parts) != 3 or not all(re.fullmatch(r"[0-9]{1,18}", part) for part in parts):
            raise ValueError(expected)
        value = [int(part) for part in parts]
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise ValueError(expected)
    if all(isinstance(entry, int) and not isinstance(entry, bool) for entry in value):
        if min(value) < 1:
            raise ValueError("the repetitions of a supercell are 1 or more")
        _check_repetitions(math.prod(value), max(value))
        return tuple(tuple(value[i] if i == j else 0 for j in range(3)) for i in range(3))
    rows = []
    for row in value:
        whole = isinstance(row, (list, tuple)) and len(row) == 3 and all(type(entry) is int for entry in row)
        if not whole:
            raise ValueError(expected)
        rows.append(tuple(row))
    (a, b, c), (d, e, f), (g, h, i) = rows
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if determinant < 1:
        raise ValueError("the determinant of a supercell matrix is 1 or more (a right-handed cell that is not flat)")
    _check_repetitions(determinant, max(abs(entry) for row in rows for entry in row))
    return tuple(rows)


def _check_repetitions(number: int, largest: int) -> None:
    if number > MOST_REPETITIONS or largest > MOST_REPETITIONS:
        said = f"{number:,}" if max(number, largest) < 10**15 else "far too many"
        raise ValueError(f"the supercell repeats the cell {said} times; no more than {MOST_REPETITIONS:,} are taken")


def each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a name that stands in a list twice; for pydantic."""
    if len(set(names)) < len(names):
        raise ValueError("each may stand here once")
    return names


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        raise ValueError("the values must rise and differ from one another")
    return values


def _plain_zero(value: float) -> float:
    return value + 0.0  # -0.0 becomes 0.0, so that one number has one canonical form


Number = Annotated[float, AfterValidator(_plain_zero)]
HOTTEST_K: Final = 10_000.0
Temperature = Annotated[float, Field(ge=1, le=10_000)]
"""A temperature in K: below 1 K nothing moves and Boltzmann factors overflow; above 10,000 K nothing is a crystal."""
TimeStep = Annotated[float, Field(gt=0, le=10)]
"""A time step in fs; more than 10 fs is not a time step of molecular dynamics."""
RelaxationTime = Annotated[float, Field(ge=0.1, le=1e6)]
"""A relaxation time of a thermostat or barostat in fs."""
Interval = Annotated[float, Field(gt=0, le=1e6)]
"""An interval within a run, in fs."""
Duration = Annotated[float, Field(gt=0, le=1e7)]
"""Length of a run in ps, up to 10 µs."""
DurationOrZero = Annotated[float, Field(ge=0, le=1e7), AfterValidator(_plain_zero)]
Pressure = Annotated[float, Field(ge=-1000, le=1000), AfterValidator(_plain_zero)]
"""A pressure in GPa."""
Charge = Annotated[float, Field(ge=-10, le=10), AfterValidator(_plain_zero)]
"""An oxidation state in e."""
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0), AfterValidator(_plain_zero)]
Fraction = Annotated[float, Field(ge=0, lt=1), AfterValidator(_plain_zero)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Element = Annotated[str, AfterValidator(_check_element)]
Formula = Annotated[str, AfterValidator(_check_formula)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=80)]
"""A name that may become part of a file name: letters, digits and ``. _ + -``."""

InputFile = Annotated[str, Field(min_length=1), FileName()]
"""A file, relative to the campaign file where the path is not absolute."""

RowsOfMatrix = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
Row = Annotated[tuple[int, int, int], Field(strict=False)]
_MATRIX_SCHEMA: Final[list[dict[str, Any]]] = [
    {"type": "string", "pattern": r"^\s*[1-9][0-9]*(\s*[x×*]\s*[1-9][0-9]*){2}\s*$"},
    {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 3, "maxItems": 3},
    {
        "type": "array",
        "items": {"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3},
        "minItems": 3,
        "maxItems": 3,
    },
]
Matrix = Annotated[
    tuple[Row, Row, Row],
    Field(strict=False),
    BeforeValidator(_matrix),
    WithJsonSchema({"anyOf": _MATRIX_SCHEMA}, mode="validation"),
]
"""A supercell as a 3×3 matrix of integers whose rows are the new lattice vectors in the old ones."""

PRIMITIVE: Final = ("primitive", "prim")
"""What a file may write for the supercell of a crystal, as on the command line."""

CrystalMatrix = Annotated[
    Matrix, WithJsonSchema({"anyOf": [*_MATRIX_SCHEMA, {"enum": list(PRIMITIVE)}]}, mode="validation")
]
"""A supercell of a crystal; completing the file has spelled out what stands for its primitive cell."""

Temperatures = Annotated[
    tuple[Temperature, ...], Field(strict=False, min_length=1, max_length=100), AfterValidator(_rising)
]
"""Temperatures in K, rising, each once."""

Amount = Annotated[float, Field(ge=0, le=1000), AfterValidator(_plain_zero)]
Amounts = Annotated[tuple[Amount, ...], Field(strict=False, min_length=1, max_length=1000), AfterValidator(_rising)]
"""An interval [from, to]."""

Formulas = Annotated[tuple[Formula, ...], Field(strict=False)]
