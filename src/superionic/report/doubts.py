"""Statements that a reader must know before using the numbers of a campaign: the doubts of all sections."""

from __future__ import annotations

from typing import Final

from superionic.report.sections import (
    cells,
    composition,
    conductivity,
    diffusion,
    draws,
    failures,
    further,
    model,
    orderings,
    paths,
    ranking,
    series,
    simulations,
    sizes,
    stability,
    student,
    teachers,
    volumes,
    workflow,
)
from superionic.results.campaign import Results, Severity, Statement

# The order of doubts of equal severity: those about the headline come first.
_SECTIONS: Final = (
    workflow,
    student,
    conductivity,
    teachers,
    draws,
    diffusion,
    simulations,
    volumes,
    cells,
    model,
    paths,
    stability,
    composition,
    ranking,
    orderings,
    further,
    failures,
    sizes,
    series,
)
_SEVERITIES: Final[tuple[Severity, ...]] = ("warning", "caution", "info")


def statements(results: Results) -> tuple[Statement, ...]:
    """Return the doubts of all sections, each once, the most serious first."""
    unique = dict.fromkeys(doubt for section in _SECTIONS for doubt in section.doubts(results))
    return tuple(sorted(unique, key=lambda doubt: _SEVERITIES.index(doubt.severity)))
