"""The keys of the main results, the settings of all stages, and the files with all digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from superionic.report.section import Code, Links, Paragraph, Section
from superionic.report.table import Table
from superionic.results.campaign import Results


def section(results: Results, files: Sequence[str]) -> Section:
    """Return keys, settings and files.

    Parameters
    ----------
    files
        Paths, relative to the page, of further files beside tables and figures.
    """
    settings = [
        [stage, name, value]
        for stage, values in results.settings.items()
        for name, value in setting_rows(values if isinstance(values, Mapping) else {"": values})
    ]
    return Section(
        "provenance",
        "Provenance",
        [
            Paragraph(
                "Every number here is the result of a task, stored under a key made from its inputs, its "
                "settings and the versions of its tools. To see where a number comes from, run in the folder of the "
                "campaign:"
            ),
            Code("superionic explain KEY"),
            Paragraph(
                "What the campaign cost, by stage, by potential and by label, is on a page of its own, cost/cost.html "
                "in the run folder, and shown by:"
            ),
            Code("superionic cost CAMPAIGN"),
            Table("Keys of the main results.", ["What", "Key"], [list(pair) for pair in _keys(results)]),
            Table("Settings of all stages.", ["Stage", "Setting", "Value"], settings),
            Paragraph("Files beside this page:"),
            Links(tuple(files)),
        ],
    )


def _keys(results: Results) -> Iterator[tuple[str, str]]:
    if results.enumerate is not None:
        for space in results.enumerate.spaces:
            yield f"orderings of {space.cell.id}", space.key
    for number, hull in enumerate(results.hull, 1):
        yield f"hull by {hull.potential}" + (f" ({number})" if len(results.hull) > 1 else ""), hull.key
    for train in results.train:
        yield f"training, round {train.round}", train.key
    if results.validate is not None:
        yield "errors of the potential", results.validate.key
    if results.distil is not None:
        for number, student in enumerate(results.distil.members, 1):
            yield f"student {number}", student.key
        yield "verdict on the students", results.distil.key
    yield from _keys_of_further_teachers(results)
    if results.analyse is not None:
        for material in results.analyse.arrhenius:
            yield f"σ(T) of {material.material.label}", material.key
        for run in results.analyse.runs:
            yield f"diffusivity: {run.run.label}", run.key


def _keys_of_further_teachers(results: Results) -> Iterator[tuple[str, str]]:
    for teacher in results.teachers:
        for number, student in enumerate(teacher.distil.members, 1):
            yield f"student {number} of {teacher.name}", student.key
        yield f"verdict on the students of {teacher.name}", teacher.distil.key
        for material in teacher.arrhenius:
            yield f"σ(T) of {material.material.label} by the students of {teacher.name}", material.key


def setting_rows(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the value of each setting."""
    for name, value in values.items():
        path = f"{above}.{name}" if above else name
        if isinstance(value, Mapping) and value:
            yield from setting_rows(value, path)
        else:
            yield path, _written(value)


def _written(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_written(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_written(item)}" for name, item in value.items()) or "none"
    return f"{value:.12g}" if isinstance(value, float) else str(value)
