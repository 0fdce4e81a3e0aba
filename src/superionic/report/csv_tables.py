"""Tables as CSV files: unrounded numbers, with units in the names of the columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TypeVar

from superionic.transport.estimate import Estimate

T = TypeVar("T")
CsvCell = str | int | float | bool | None
Cells = tuple[CsvCell, ...]
CsvColumn = tuple[str | tuple[str, ...], Callable[[T], CsvCell | Cells]]
"""One column or several: their names, and a function that returns their cells for an item."""


@dataclass(frozen=True)
class CsvTable:
    """A table with all rows and all digits.

    Attributes
    ----------
    name
        Name of the file, e.g. ``"hull.csv"``.
    columns
        Names with units, e.g. ``"sigma_S_per_cm"``.
    rows
        Rows with one value for each column; None and non-finite numbers become empty cells.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Cells, ...]


def csv_table(
    name: str, identity: Sequence[str], items: Iterable[tuple[Cells, T]], columns: Sequence[CsvColumn[T]]
) -> CsvTable:
    """Build a table from its columns.

    Parameters
    ----------
    identity
        Names of the first columns, which identify the subject of a row.
    items
        For each row the cells of these columns, and its item.
    columns
        The other columns.
    """
    names = [each for names, _ in columns for each in ((names,) if isinstance(names, str) else names)]
    rows = ((*cells, *(value for _, of in columns for value in _several(of(item)))) for cells, item in items)
    return CsvTable(name, (*identity, *names), tuple(rows))


def _several(cells: CsvCell | Cells) -> Cells:
    return cells if isinstance(cells, tuple) else (cells,)


def estimate_columns(name: str) -> tuple[str, ...]:
    """Return the names of the columns of an estimate."""
    return (name, *(f"{name}_{part}" for part in ("error", "low68", "high68", "low95", "high95", "is_upper_bound")))


def estimate_cells(estimate: Estimate | None) -> Cells:
    """Return the cells of an estimate; empty if there is none."""
    if estimate is None:
        return (None,) * 7
    return (
        estimate.value, estimate.error, *estimate.interval68, *estimate.interval95, estimate.is_upper_bound,
    )  # fmt: skip


def csv_text(table: CsvTable) -> str:
    """Return the content of a CSV file.

    Raises
    ------
    ValueError
        If a row does not have one value for each column.
    """
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(f"a row of {table.name} has {len(row)} values for {len(table.columns)} columns")
        writer.writerow([_cell(value) for value in row])
    return buffer.getvalue()


def _cell(value: CsvCell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # A numpy float is a float too, but has another repr.
        return repr(float(value)) if math.isfinite(value) else ""
    return str(value)
