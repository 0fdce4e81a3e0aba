"""What the stages of one folder show: each describes its own result, in the module ``report`` of its folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from superionic.report.section import Section
from superionic.results.campaign import Results, Statement
from superionic.results.further import StageResult
from superionic.settings.stages import Stage, stage_named


def sections(results: Results) -> tuple[Section, ...]:
    """Return the section of each stage of one folder that has run."""
    return tuple(_part(result, "section")(result, results) for result in results.further)


def doubts(results: Results) -> Iterator[Statement]:
    """Yield what readers must know about the results of stages of one folder."""
    for result in results.further:
        yield from _part(result, "doubts")(result)


def row(stage: Stage, results: Results) -> tuple[str, str]:
    """Return the title of a stage of one folder, and its outcome in words; empty if it has not run."""
    result = next((each for each in results.further if each.stage == stage.name), None)
    title: str = stage.part("report", "TITLE")
    return title, "" if result is None else stage.part("report", "words")(result)


def _part(result: StageResult, name: str) -> Any:
    return stage_named(result.stage).part("report", name)
