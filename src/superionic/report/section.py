"""The parts of a section of the report: figures, tables and text on one subject, and its tables as CSV.

A section is data. The page, the files beside it and the page of ``superionic analyse`` are all made from sections, so
that each subject is described in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from superionic.report.csv_tables import CsvTable
from superionic.report.plots import Plot
from superionic.report.table import Table
from superionic.results.campaign import Severity, Statement


@dataclass(frozen=True)
class Paragraph:
    """Text; of the kind ``quiet`` for asides, or ``missing`` to say what is absent and why."""

    words: str
    kind: Literal["plain", "quiet", "missing"] = "plain"


@dataclass(frozen=True)
class Line:
    """One line of the summary: a result in a few words, and in small print how it was obtained."""

    words: str
    detail: str = ""
    severity: Severity = "info"


@dataclass(frozen=True)
class Lines:
    """The summary at the top: the results and how far to trust them, in at most five lines."""

    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        if len(self.lines) > 5:
            raise ValueError(f"the summary has five lines at most, not {len(self.lines)}")


@dataclass(frozen=True)
class Statements:
    """What a reader must know, in order of importance."""

    title: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Code:
    """A command to type."""

    text: str


@dataclass(frozen=True)
class Links:
    """Files beside the page, by their path relative to it."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class Sources:
    """Numbered sources: ``(citation, DOI)``; the DOI may be empty."""

    sources: tuple[tuple[str, str], ...]


Block = Paragraph | Table | Plot | Lines | Statements | Code | Links | Sources


@dataclass(frozen=True)
class Section:
    """One subject.

    Attributes
    ----------
    key
        Its anchor on the page.
    title
        Its heading.
    blocks
        Its content, in order.
    csv
        Its tables as files.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    csv: Sequence[CsvTable] = ()

    @property
    def plots(self) -> tuple[Plot, ...]:
        """Its figures."""
        return tuple(block for block in self.blocks if isinstance(block, Plot))


def shown(*blocks: Block) -> list[Block]:
    """Return the blocks without empty tables and figures."""
    return [block for block in blocks if not _is_empty(block)]


def _is_empty(block: Block) -> bool:
    if isinstance(block, Plot):
        drawn = any(panel.series or panel.heat_map is not None for panel in block.panels)
        return block.surface is None and not drawn
    return isinstance(block, Table) and not block.rows
