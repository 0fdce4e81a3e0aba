"""What a reader must know before using the numbers of a campaign: the doubts of all sections."""

from __future__ import annotations

from typing import Final

from superionic.report.sections import composition, failures, stability, workflow
from superionic.results.campaign import Results, Severity, Statement

_SECTIONS: Final = (workflow, stability, composition, failures)
_GRAVITY: Final[tuple[Severity, ...]] = ("warning", "caution", "info")


def statements(results: Results) -> tuple[Statement, ...]:
    """Return the doubts of all sections, each once, the gravest first."""
    unique = dict.fromkeys(doubt for section in _SECTIONS for doubt in section.doubts(results))
    return tuple(sorted(unique, key=lambda doubt: _GRAVITY.index(doubt.severity)))
