"""Sections of reports on the screen: their tables and text, without the figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from superionic.report.section import Section


def show_sections(console: Console, sections: Iterable[Section]) -> None:
    """Print the tables, with their notes, and the paragraphs of sections."""
    from superionic.report.section import Paragraph
    from superionic.report.table import Table as ReportTable
    from superionic.report.table import note_letter

    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, ReportTable):
            console.print(block.caption, style="bold", markup=False)
            table = Table(*block.columns)
            for row in block.rows:
                table.add_row(*row)
            console.print(table)
            for index, note in enumerate(block.notes):
                console.print(f"{note_letter(index)}: {note}", highlight=False, markup=False)
        elif isinstance(block, Paragraph):
            console.print(block.words, highlight=False, markup=False)
