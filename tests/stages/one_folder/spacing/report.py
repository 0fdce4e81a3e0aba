"""What the report shows of the stage."""

from __future__ import annotations

from collections.abc import Iterator

from superionic.stages.spacing.result import SpacingResult

from superionic.report.csv_tables import CsvTable
from superionic.report.section import Section, shown
from superionic.report.table import Table
from superionic.report.words import formula_text, number, plural
from superionic.results.campaign import Results, Statement

TITLE = "Distances of mobile ions"


def words(result: SpacingResult) -> str:
    """Summarise the stage in one line."""
    return f"{plural(len(result.orderings), 'ordering')} measured"


def section(result: SpacingResult, _results: Results) -> Section:
    """Show the distances."""
    rows = [[each.ordering.id, formula_text(each.formula), number(each.shortest_A)] for each in result.orderings]
    table = Table("Shortest distance between mobile ions.", ["Ordering", "Formula", "Distance (Å)"], rows)
    csv = CsvTable(
        "spacing.csv",
        ("ordering", "formula", "shortest_A", "key"),
        tuple((each.ordering.id, each.formula, each.shortest_A, each.key) for each in result.orderings),
    )
    return Section("spacing", TITLE, shown(table), [csv])


def doubts(result: SpacingResult) -> Iterator[Statement]:
    """Warn of ions that are too close to be a crystal's."""
    close = sum(each.shortest_A < 1.5 for each in result.orderings)
    if close:
        yield Statement("caution", f"Mobile ions are less than 1.5 Å apart in {plural(close, 'ordering')}.")
