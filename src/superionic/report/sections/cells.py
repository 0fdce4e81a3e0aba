"""Relaxed cells, and cells of runs at constant pressure, compared with the refined cells of the crystals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from superionic.report.composition_axes import material_columns, ordering_cells, unit_formula
from superionic.report.csv_tables import CsvTable, csv_table
from superionic.report.plots import GREY, ORANGE, VERMILION, Panel, Plot, Series, pick
from superionic.report.section import Block, Paragraph, Section, shown
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, number, plural
from superionic.results.campaign import Results, Statement
from superionic.results.cells import CellComparison, LatticeConstants, lattice_constants
from superionic.results.identity import Material, Ordering
from superionic.structures.crystal.refined_cell import CAUTION_PERCENT, WARNING_PERCENT, Triple

KEY: Final = "cells"
_TITLE: Final = "Cells against the refinement"
_MOST_ORDERINGS: Final = 8
_AXES: Final = ("a", "b", "c")
_ANGLES: Final = ("alpha", "beta", "gamma")


def section(results: Results) -> Section:
    """Describe the differences between calculated and refined cells."""
    refined = {crystal.name: crystal.cell for crystal in results.crystals}
    lattices = lattice_constants(refined, results.rank)
    blocks: list[Block] = [_lattices_table(results, lattices)]
    if results.cells:
        compared = _shown(results)
        blocks = [_plot(results, compared), _table(results, compared), *blocks]
    else:
        words = "No cell of a refined composition was relaxed or simulated at constant pressure."
        blocks = [Paragraph(words, "missing"), *blocks]
    files = [_csv(results), _lattices_csv(results, lattices)]
    return Section(KEY, _TITLE, shown(*blocks), [file for file in files if file.rows])


def doubts(results: Results) -> Iterator[Statement]:
    """Report cells far from the refined ones: the worst of each material and potential, of relaxations and of runs."""
    groups: dict[tuple[Material, str, bool], list[CellComparison]] = {}
    for one in _shown(results):
        groups.setdefault((one.ordering.material, one.potential, one.run is None), []).append(one)
    for (material, _, _), members in groups.items():
        worst = max(members, key=lambda one: abs(one.difference.volume_percent))
        serious = [one for one in members if one.difference.severity is not None]
        if worst.difference.severity is None and serious:
            worst = serious[0]
        severity = worst.difference.severity
        if severity is None:
            continue
        others = f" (the largest difference of {plural(len(members), 'cell')})" if len(members) > 1 else ""
        part = f"; {worst.part}" if worst.part else ""
        consequence = " Conductivity and activation energy depend strongly on volume." if severity == "warning" else ""
        yield Statement(
            severity,
            f"The cell of {unit_formula(results, worst.formula)} ({material.label}) {worst.what} deviates from the "
            f"refined one: {worst.difference.words}{others}{part}.{consequence}",
            "cells deviate from the refined ones",
        )


def percent_of(results: Results, ordering: Ordering, potential: str, run: str | None) -> str:
    """Return the difference of a volume from the refined one in per cent, for tables of other sections."""
    for one in results.cells:
        if (one.ordering, one.potential, one.run) == (ordering, potential, run):
            return f"{one.difference.volume_percent:+.1f}".replace("-", "−")
    return UNKNOWN


def _shown(results: Results) -> list[CellComparison]:
    """Return the relaxed cells of the lowest ordering of each material by each potential, and those of all runs."""
    lowest: dict[tuple[Material, str], CellComparison] = {}
    for one in results.cells:
        if one.run is None:
            group = (one.ordering.material, one.potential)
            if group not in lowest or _energy(one) < _energy(lowest[group]):
                lowest[group] = one
    return [*lowest.values(), *(one for one in results.cells if one.run is not None)]


def _energy(one: CellComparison) -> float:
    return math.inf if one.relaxed_eV_per_atom is None else one.relaxed_eV_per_atom


def _plot(results: Results, compared: list[CellComparison]) -> Plot:
    series = []
    groups = list(dict.fromkeys((one.ordering, one.potential) for one in compared))[:_MOST_ORDERINGS]
    for index, (ordering, potential) in enumerate(groups):
        members = sorted(
            (one for one in compared if (one.ordering, one.potential) == (ordering, potential)),
            key=lambda one: one.temperature_K or 0.0,
        )
        series.append(
            Series(
                [one.temperature_K or 0.0 for one in members],
                [one.difference.volume_percent for one in members],
                f"{unit_formula(results, members[0].formula)} · {ordering.id}, {potential}",
                colour=pick(index),
                size=8,
                hover=[f"{one.what}: {one.difference.words}" for one in members],
            )
        )
    last = max((one.temperature_K or 0.0 for one in compared), default=0.0) or 1.0
    for level, colour in ((0.0, GREY), (CAUTION_PERCENT, ORANGE), (WARNING_PERCENT, VERMILION)):
        for sign in (1.0, -1.0) if level else (1.0,):
            words = f"±{level:g} %" if level else "as refined"
            ends = [sign * level] * 2
            series.append(Series([0.0, last], ends, words, "line", colour, dash="dot", width=1.2, legend=sign > 0.0))
    return Plot(
        KEY,
        _TITLE,
        "Difference of relaxed volumes (at 0 K) and of averages at constant pressure from the refined ones. Dotted: "
        f"the refined volume, {CAUTION_PERCENT:g} % (a caution) and {WARNING_PERCENT:g} % (a warning). Crystals are "
        "usually refined at room temperature; from there to 600 K their volume expands by 1 to 3 %.",
        [Panel(series, "temperature (K)", "volume minus the refined one (%)")],
        height=330,
    )


def _table(results: Results, compared: list[CellComparison]) -> Table:
    refined = {crystal.name: crystal.cell for crystal in results.crystals}
    left_out = sorted({
        crystal.formula for crystal in results.crystals
        if crystal.name not in {one.ordering.material.crystal for one in compared}
    })  # fmt: skip
    table = table_of(
        "Cells in the setting of the refined crystal, and their differences from it.",
        compared,
        [
            ("Ordering", lambda one: one.ordering.id),
            ("Composition", lambda one: unit_formula(results, one.formula)),
            ("Cell", lambda one: one.what),
            ("Volume, Å³ per formula unit", lambda one: number(one.difference.volume_per_formula_unit_A3, 5)),
            ("Refined", lambda one: number(one.difference.refined_volume_per_formula_unit_A3, 5)),
            ("Difference, %", lambda one: _signed(one.difference.volume_percent)),
            ("Thermal part, %", lambda one: UNKNOWN if one.thermal_percent is None else _signed(one.thermal_percent)),
            ("a, b, c, Å", lambda one: _three(one.difference.lengths_A, ".3f")),
            ("Refined a, b, c", lambda one: _three(refined[one.ordering.material.crystal].lengths_A, ".3f")),
            ("Differences, %", lambda one: " ".join(_signed(value) for value in one.difference.lengths_percent)),
            ("α, β, γ, °", lambda one: _three(one.difference.angles_deg, ".1f")),
            ("Refined α, β, γ", lambda one: _three(refined[one.ordering.material.crystal].angles_deg, ".1f")),
        ],
        numeric=(3, 4, 5, 6),
    )
    if not left_out:
        return table
    words = f"Not compared, since no cell has the refined composition: {', '.join(left_out)}."
    return Table(table.caption + " " + words, table.columns, table.rows, table.numeric)


def _lattices_table(results: Results, lattices: Sequence[LatticeConstants]) -> Table:
    return table_of(
        "Lattice constants of the lowest ordering of each composition, relaxed by the ranking potential: per refined "
        "cell, and in its setting.",
        lattices,
        [
            ("Composition", lambda one: unit_formula(results, one.formula)),
            ("Ordering", lambda one: one.ordering.id),
            ("Potential", lambda one: one.potential),
            *((f"{name}, Å", lambda one, i=i: f"{one.lengths_A[i]:.3f}") for i, name in enumerate("abc")),
            *((f"{name}, °", lambda one, i=i: f"{one.angles_deg[i]:.2f}") for i, name in enumerate("αβγ")),
            ("V, Å³", lambda one: f"{one.volume_A3:.2f}"),
            ("V, Å³ per atom", lambda one: number(one.volume_A3_per_atom, 4)),
        ],
        numeric=range(3, 11),
    )


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _three(values: Triple, form: str) -> str:
    return " ".join(f"{value:{form}}" for value in values)


def _lattices_csv(results: Results, lattices: Sequence[LatticeConstants]) -> CsvTable:
    return csv_table(
        "lattice_constants.csv",
        (*material_columns(results), "ordering"),
        [(ordering_cells(results, one.ordering), one) for one in lattices],
        [
            ("formula", lambda one: one.formula),
            ("potential", lambda one: one.potential),
            (tuple(f"{name}_A" for name in _AXES), lambda one: one.lengths_A),
            (tuple(f"{name}_deg" for name in _ANGLES), lambda one: one.angles_deg),
            ("volume_A3", lambda one: one.volume_A3),
            ("volume_A3_per_atom", lambda one: one.volume_A3_per_atom),
            ("relaxed_eV_per_atom", lambda one: one.relaxed_eV_per_atom),
        ],
    )


def _csv(results: Results) -> CsvTable:
    return csv_table(
        "cells.csv",
        (*material_columns(results), "ordering"),
        [(ordering_cells(results, one.ordering), one) for one in results.cells],
        [
            ("formula", lambda one: one.formula),
            ("potential", lambda one: one.potential),
            ("run", lambda one: one.run),
            ("temperature_K", lambda one: one.temperature_K),
            ("pressure_GPa", lambda one: one.pressure_GPa),
            ("volume_A3_per_formula_unit", lambda one: one.difference.volume_per_formula_unit_A3),
            ("refined_volume_A3_per_formula_unit", lambda one: one.difference.refined_volume_per_formula_unit_A3),
            ("volume_difference_percent", lambda one: one.difference.volume_percent),
            ("thermal_percent", lambda one: one.thermal_percent),
            (tuple(f"{name}_A" for name in _AXES), lambda one: one.difference.lengths_A),
            (tuple(f"{name}_difference_percent" for name in _AXES), lambda one: one.difference.lengths_percent),
            (tuple(f"{name}_deg" for name in _ANGLES), lambda one: one.difference.angles_deg),
            (tuple(f"{name}_difference_deg" for name in _ANGLES), lambda one: one.difference.angles_difference_deg),
            ("severity", lambda one: one.difference.severity),
        ],
    )
