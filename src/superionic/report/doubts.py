"""What a reader must know before using the numbers of a campaign: the doubts of all sections."""

from __future__ import annotations

from typing import Final

from superionic.report.sections import (
    cells,
    composition,
    conductivity,
    diffusion,
    failures,
    model,
    orderings,
    paths,
    ranking,
    simulations,
    stability,
    student,
    workflow,
)
from superionic.results.campaign import Results, Severity, Statement

# In the order in which doubts of one gravity are said: those about the headline first.
_SECTIONS: Final = (
    workflow,
    student,
    conductivity,
    diffusion,
    simulations,
    cells,
    model,
    paths,
    stability,
    composition,
    ranking,
    orderings,
    failures,
)
_GRAVITY: Final[tuple[Severity, ...]] = ("warning", "caution", "info")


def statements(results: Results) -> tuple[Statement, ...]:
    """Return the doubts of all sections, each once, the gravest first."""
    unique = dict.fromkeys(doubt for section in _SECTIONS for doubt in section.doubts(results))
    return tuple(sorted(unique, key=lambda doubt: _GRAVITY.index(doubt.severity)))
