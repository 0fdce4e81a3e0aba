"""Transport in orderings drawn at a temperature in large cells, beside that of the lowest orderings of small ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from superionic.report.composition_axes import material_cells, material_columns, unit_formula
from superionic.report.csv_tables import CsvTable, csv_table, estimate_cells, estimate_columns
from superionic.report.plots import BLUE, ORANGE, VERMILION, Panel, Plot, Series, xy
from superionic.report.runs import materials, simulated
from superionic.report.section import Paragraph, Section, shown
from superionic.report.sections.orderings import about_monte_carlo
from superionic.report.sigma import SigmaUnit
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, interval, milli, number, supercell_text, whole_text, with_error
from superionic.results.campaign import Results, Statement
from superionic.results.draws import DrawnCell, DrawsResult
from superionic.results.transport import MaterialTransport
from superionic.transport.conductivity.of_temperature import TemperaturePoint
from superionic.transport.estimate import Estimate, ratio_estimate

_TITLE: Final = "Orderings drawn at a temperature"
_MOST_PANELS: Final = 4


@dataclass(frozen=True)
class _Compared:
    """The draws of one material beside its lowest orderings, whose cell has fewer atoms; σ(T) is None without one."""

    name: str
    cell: DrawnCell
    lowest_atoms: int | None
    lowest: MaterialTransport | None
    drawn: MaterialTransport | None

    def points(self) -> Iterator[tuple[TemperaturePoint, TemperaturePoint]]:
        """Yield the averages of both at the temperatures of both."""
        if self.lowest is not None and self.drawn is not None:
            of_lowest = {point.temperature_K: point for point in self.lowest.dependence.points}
            for point in self.drawn.dependence.points:
                if point.temperature_K in of_lowest:
                    yield of_lowest[point.temperature_K], point


def _compared(results: Results, draws: DrawsResult) -> list[_Compared]:
    lowest = {each.material: each for each in materials(results)}
    atoms = {run.run.ordering.material: run.n_atoms for run in simulated(results)}
    several = len({cell.formula for cell in draws.cells}) < len(draws.cells)

    def name(cell: DrawnCell) -> str:
        formula = unit_formula(results, cell.formula)
        return f"{formula} ({cell.cell.material.crystal})" if several else formula

    return [
        _Compared(name(cell), cell, atoms.get(one), lowest.get(one), draws.of(one))
        for cell in draws.cells
        for one in [cell.cell.material]
    ]


def section(results: Results) -> Section:
    """Compare draws with the lowest orderings; without content where the campaign draws none."""
    draws = results.draws
    if draws is None:
        return Section("draws", _TITLE, [])
    compared = _compared(results, draws)
    if not compared:
        return Section("draws", _TITLE, [Paragraph("No ordering of a large cell could be drawn.", "missing")])
    lead = Paragraph(
        "A sample has neither its lowest ordering nor a random one. A cluster expansion, fitted to energies in small "
        "cells, stands in for the potential; Monte Carlo on it draws orderings of a large cell, and each draw is run "
        "by itself, so that an ordering counts as often as it was drawn."
    )
    blocks = (lead, _plot(draws, compared), _conductivities(compared), _energies(compared), _cells(draws, compared))
    return Section("draws", _TITLE, shown(*blocks), [_csv(results, compared), _draws_csv(results, draws)])


def doubts(results: Results) -> Iterator[Statement]:
    """Say what is held against the Monte Carlo runs, and which draws have no conductivity."""
    if results.draws is None:
        return
    for each in _compared(results, results.draws):
        yield from about_monte_carlo(f"{each.name} in the large cell", each.cell.evidence)
        if each.drawn is None:
            yield Statement("caution", f"{each.name}: none of the draws of the large cell has a conductivity.")
    if not results.draws.cells:
        yield Statement("caution", "No ordering of a large cell could be drawn; see “Failures and rejections”.")


def _plot(draws: DrawsResult, compared: list[_Compared]) -> Plot:
    panels = [panel for each in compared[:_MOST_PANELS] if (panel := _panel(draws, each)).series]
    return Plot(
        "draws",
        "Conductivity of draws and of the lowest ordering",
        "Stars: single draws. Points with 68 % intervals: the average over draws, and the lowest ordering; lines: "
        "their Arrhenius fits. The stars scatter by the statistical error of single runs besides the difference "
        "between orderings.",
        panels,
        columns=1 if len(panels) == 1 else 2,
        height=400,
    )


def _panel(draws: DrawsResult, each: _Compared) -> Panel:
    series: list[Series] = []
    for label, transport, colour, marker in (
        ("lowest ordering", each.lowest, BLUE, "circle"),
        ("average over draws", each.drawn, VERMILION, "square"),
    ):
        if transport is None:
            continue
        band = transport.dependence.band
        if band is not None:
            inverse = [1000.0 * value for value in band.inverse_temperature_per_K]
            series.append(Series(inverse, band.sigma_S_per_cm, label, "line", colour, legend=False))
        points = [(point.temperature_K, point.conductivity_S_per_cm.estimate) for point in transport.dependence.points]
        points = [(t, estimate) for t, estimate in points if not estimate.is_upper_bound]
        x, y = xy((1000.0 / t, estimate.value) for t, estimate in points)
        low, high = xy(estimate.interval68 for _, estimate in points)
        if points:
            series.append(Series(x, y, label, colour=colour, marker=marker, low=low, high=high))
    stars = [
        (1000.0 / run.run.temperature_K, estimate.value)
        for run in draws.runs
        if run.run.ordering.cell == each.cell.cell
        and (estimate := run.analysis.nernst_einstein_conductivity_S_per_cm) is not None
        and not estimate.is_upper_bound
    ]
    if stars:
        x, y = xy(stars)
        series.append(Series(x, y, "single draws", colour=ORANGE, marker="star", size=9.0, opacity=0.6))
    return Panel(series, "1000/T (K⁻¹)", "ionic conductivity σ (S/cm)", each.name, y_log=True)


def _conductivities(compared: list[_Compared]) -> Table:
    rows = [(each, *pair) for each in compared for pair in each.points()]
    values = [point.conductivity_S_per_cm.estimate.value for _, *pair in rows for point in pair]
    unit = SigmaUnit.of_numbers(values)

    def sigma(point: TemperaturePoint) -> str:
        estimate = point.conductivity_S_per_cm.estimate
        if estimate.is_upper_bound:
            return f"< {unit.value(estimate.interval95[1])}"
        return with_error(unit.of_value(estimate.value), unit.of_value(estimate.error))

    return table_of(
        "Nernst–Einstein conductivity of draws against the lowest ordering, at the temperatures of the runs.",
        rows,
        [
            ("Composition", lambda row: row[0].name),
            ("Temperature, K", lambda row: f"{row[1].temperature_K:g}"),
            (f"Lowest ordering, {unit.name}", lambda row: sigma(row[1])),
            (f"Average over draws, {unit.name}", lambda row: sigma(row[2])),
            ("Draws", lambda row: whole_text(row[2].conductivity_S_per_cm.n_orderings)),
            ("Ratio", lambda row: _ratio_words(_ratio(row[1], row[2]))),
            ("68 % interval", lambda row: interval(*_ratio(row[1], row[2]).interval68)),
        ],
        numeric=range(1, 7),
    )


def _ratio(lowest: TemperaturePoint, drawn: TemperaturePoint) -> Estimate:
    return ratio_estimate(drawn.conductivity_S_per_cm.estimate, lowest.conductivity_S_per_cm.estimate)


def _ratio_words(ratio: Estimate) -> str:
    return UNKNOWN if ratio.is_upper_bound else number(ratio.value)


def _energies(compared: list[_Compared]) -> Table:
    def energy(transport: MaterialTransport | None) -> str:
        if transport is None or transport.dependence.Ea_eV is None:
            return UNKNOWN
        return with_error(transport.dependence.Ea_eV, transport.dependence.Ea_error_eV)

    rows = [
        [each.name, energy(each.lowest), energy(each.drawn)]
        for each in compared
        if any(one is not None and one.dependence.Ea_eV is not None for one in (each.lowest, each.drawn))
    ]
    columns = ["Composition", "Lowest ordering, eV", "Average over draws, eV"]
    return Table("Activation energies.", columns, rows, frozenset({1, 2}))


def _cells(draws: DrawsResult, compared: list[_Compared]) -> Table:
    def above(each: _Compared) -> str:
        heights = _heights(draws, each.cell)
        return milli(float(np.mean(heights))) if heights else UNKNOWN

    def error(each: _Compared) -> str:
        surrogate = each.cell.evidence.surrogate
        return number(None if surrogate is None else surrogate.error_meV_per_atom, 2)

    return table_of(
        "The draws. Error: of the cluster expansion on energies left out of the fit. Above the lowest: mean relaxed "
        "energy of the draws, relative to that of the lowest ordering of small cells. A cell of another size alone may "
        "change the conductivity where one of both is small.",
        compared,
        [
            ("Composition", lambda each: each.name),
            ("Large cell", lambda each: supercell_text(each.cell.cell.supercell)),
            ("Atoms", lambda each: whole_text(each.cell.n_atoms)),
            ("Atoms, lowest ordering", lambda each: whole_text(each.lowest_atoms)),
            ("Temperature, K", lambda each: f"{each.cell.evidence.temperature_K:g}"),
            ("Energies fitted", lambda each: whole_text(sum(count for _, count in each.cell.energies))),
            ("Error, meV/atom", error),
            ("Independent draws", lambda each: whole_text(each.cell.evidence.independent_draws)),
            ("Above the lowest, meV/atom", above),
        ],
        numeric=range(2, 9),
    )


def _heights(draws: DrawsResult, cell: DrawnCell) -> list[float]:
    own = [each for each in draws.orderings if each.ordering.cell == cell.cell]
    return [each.above_lowest_eV_per_atom for each in own if each.above_lowest_eV_per_atom is not None]


def _csv(results: Results, compared: list[_Compared]) -> CsvTable:
    rows = [(each, *pair) for each in compared for pair in each.points()]
    return csv_table(
        "draws_conductivities.csv",
        (*material_columns(results), "formula", "temperature_K"),
        [
            (
                (
                    *material_cells(results, row[0].cell.cell.material),
                    row[0].cell.formula,
                    row[1].temperature_K,
                ),
                row,
            )
            for row in rows
        ],
        [
            (estimate_columns("lowest_S_per_cm"), lambda row: estimate_cells(row[1].conductivity_S_per_cm.estimate)),
            (estimate_columns("draws_S_per_cm"), lambda row: estimate_cells(row[2].conductivity_S_per_cm.estimate)),
            (estimate_columns("ratio"), lambda row: estimate_cells(_ratio(row[1], row[2]))),
            ("n_draws", lambda row: row[2].conductivity_S_per_cm.n_orderings),
        ],
    )


def _draws_csv(results: Results, draws: DrawsResult) -> CsvTable:
    sigma = {
        (run.run.ordering, run.run.temperature_K, run.run.replica): run.analysis.nernst_einstein_conductivity_S_per_cm
        for run in draws.runs
    }
    formula = {cell.cell: (cell.formula, cell.n_atoms) for cell in draws.cells}
    heights = {each.ordering: (each.relaxed_eV_per_atom, each.above_lowest_eV_per_atom) for each in draws.orderings}
    return csv_table(
        "draws.csv",
        (*material_columns(results), "formula", "draw", "n_atoms", "temperature_K", "replica"),
        [
            (
                (
                    *material_cells(results, ordering.material),
                    formula[ordering.cell][0],
                    ordering.index,
                    formula[ordering.cell][1],
                    temperature,
                    replica,
                ),
                (ordering, estimate),
            )
            for (ordering, temperature, replica), estimate in sigma.items()
        ],
        [
            ("relaxed_eV_per_atom", lambda row: heights[row[0]][0]),
            ("above_lowest_eV_per_atom", lambda row: heights[row[0]][1]),
            (estimate_columns("nernst_einstein_conductivity_S_per_cm"), lambda row: estimate_cells(row[1])),
        ],
    )
