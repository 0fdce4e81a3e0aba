"""Calculations that failed or were refused, and are left out of the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from superionic.execution.runner import Failure
from superionic.report.csv_tables import CsvTable
from superionic.report.section import Paragraph, Section
from superionic.report.table import Table
from superionic.report.words import plural, sentence
from superionic.results.campaign import Results, Statement
from superionic.results.learning import Rejection
from superionic.settings.stages import STAGES


@dataclass(frozen=True)
class LeftOut:
    """One item left out of the results: its stage, what it is, the reason, and the key under which that is stored."""

    stage: str
    what: str
    reason: str
    key: str


def section(results: Results) -> Section:
    """List everything that failed or was refused, with its reason."""
    items = list(left_out(results))
    rows = [[item.stage, item.what, sentence(item.reason)] for item in items]
    table = Table("Left out of the results.", ["Stage", "What", "Why"], rows)
    return Section(
        "failures",
        "Failures and rejections",
        [table if items else Paragraph("Nothing failed and nothing was refused.")],
        [
            CsvTable(
                "rejections.csv",
                ("stage", "label", "reason", "key"),
                tuple((item.stage, item.what, item.reason, item.key) for item in items),
            )
        ],
    )


def doubts(results: Results) -> Iterator[Statement]:
    """Say how many calculations of each stage are missing, and which relaxations are unfinished."""
    stages = [item.stage for item in left_out(results)]
    for stage in STAGES:
        if count := stages.count(stage.name):
            verb = "was" if count == 1 else "were"
            many = "analyses" if stage.calculation == "analysis" else None
            words = f"{plural(count, stage.calculation, many)} failed or {verb} refused and left out"
            yield Statement("caution", f"{words}; see “Failures and rejections”.")
    entries = [entry for ranking in results.rank[:1] for entry in ranking.entries]
    unconverged = sum(entry.converged is False for entry in entries)
    if unconverged:
        words = (
            f"{unconverged} of {plural(len(entries), 'relaxation')} did not reach the force criterion; "
            "their energies are upper bounds."
        )
        yield Statement("caution", words)


def left_out(results: Results) -> Iterator[LeftOut]:
    """Yield everything that failed or was refused, in the order of the stages."""
    for stage, failures in _failures(results):
        for each in failures:
            yield LeftOut(stage, each.label, each.reason, each.key)


def _failures(results: Results) -> Iterator[tuple[str, Sequence[Failure | Rejection]]]:
    if results.enumerate is not None:
        yield "enumerate", results.enumerate.failures
    for ranking in results.rank:
        yield "rank", ranking.failures
        for comparison in ranking.comparisons:
            yield "rank", comparison.failures
    for sampled in results.sample:
        yield "sample", sampled.failures
    for labels in results.label:
        yield "label", (*labels.rejected, *labels.failures)
    if results.rungs is not None:
        yield "label", (*results.rungs.rejected, *results.rungs.failures)
    rest = [
        ("distil", results.distil),
        *(("volumes", each) for each in results.volumes_of_each),
        ("transport", results.transport),
        ("analyse", results.analyse),
        *(("transport", series.transport) for series in results.series),
        *(("analyse", series.analyse) for series in results.series),
    ]
    for stage, result in rest:
        if result is not None:
            yield stage, result.failures
    for further in results.further:
        yield further.stage, further.failures
    if results.draws is not None:
        yield "transport", results.draws.failures
        yield "transport", () if results.draws.transport is None else results.draws.transport.failures
    for teacher in results.teachers:
        yield "distil", teacher.distil.failures
        yield "transport", () if teacher.transport is None else teacher.transport.failures
        yield "analyse", teacher.failures
