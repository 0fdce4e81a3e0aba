"""Tables as CSV files: raw numbers with all their digits, units in the names of the columns."""

from __future__ import annotations

import csv
import math
from io import StringIO

from superionic.report.section import CsvCell, CsvTable


def csv_text(table: CsvTable) -> str:
    """Return the content of a CSV file.

    Raises
    ------
    ValueError
        If a row has not one value for each column.
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
        # A number of numpy is a float as well, and writes itself otherwise.
        return repr(float(value)) if math.isfinite(value) else ""
    return str(value)
