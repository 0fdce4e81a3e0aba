"""Cells against temperature: runs at constant pressure without production, the relaxed cell, thermal expansion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from superionic.report.composition_axes import material_columns, ordering_cells, unit_formula
from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.plots import Panel, Plot, Series, pick, xy
from superionic.report.runs import runs_of_campaign
from superionic.report.section import Section, shown
from superionic.report.sections.simulations import published_volumes
from superionic.report.table import Table
from superionic.report.words import UNKNOWN, number, plural, with_error
from superionic.results.campaign import Results, Statement
from superionic.results.volumes import RelaxedCell, VolumeRun, VolumesResult
from superionic.transport.observables.volumes import SeriesMean

KEY: Final = "cell-series"
_TITLE: Final = "Cells against temperature"
_LABELS: Final = ("a_A", "b_A", "c_A", "alpha_deg", "beta_deg", "gamma_deg", "volume_A3_per_atom")
_MICRO: Final = 1.0e6
_DRIFTING: Final = 0.02
_LEFT_PERCENT: Final = 4.0
"""Thermal expansion up to 200 K is some 1 to 2 %; a larger step from the relaxed cell is another structure."""
_ROUNDING: Final = 1e-10


def section(results: Results) -> Section:
    """Describe the series; no blocks if the campaign leaves the stage out."""
    series = results.volumes
    if series is None:
        return Section(KEY, _TITLE, [])
    return Section(KEY, _TITLE, shown(_plot(results, series), _table(results, series)), [_csv(results, series)])


def doubts(results: Results) -> Iterator[Statement]:
    """Yield the doubts about the series: cells that still drift, and orderings whose runs left the relaxed cell."""
    for series in results.volumes_of_each:
        yield from _doubts_about(series)


def _doubts_about(series: VolumesResult) -> Iterator[Statement]:
    by = f"by {series.potential} at {series.pressure_GPa:g} GPa"
    drifts = [abs(each.drift) for each in series.runs if each.drift is not None and abs(each.drift) > _DRIFTING]
    if drifts:
        yield Statement(
            "warning",
            f"In {len(drifts)} of {plural(len(series.runs), 'run')} at constant pressure {by} the volume had not "
            f"equilibrated at the end (it still changed by up to {100 * max(drifts):.0f} %): run longer "
            "(`volumes.npt_ps`).",
            "volumes not equilibrated",
        )
    for cell in series.relaxed:
        runs = sorted((r for r in series.runs if r.run.ordering == cell.ordering), key=lambda r: r.run.temperature_K)
        coldest = runs[0].mean_cell.volume_per_atom_A3 if runs else None
        if coldest is None:
            continue
        percent = 100.0 * (coldest.value / cell.volume_A3_per_atom - 1.0)
        if abs(percent) > _LEFT_PERCENT:
            yield Statement(
                "caution",
                f"The cell of {cell.ordering.id} at {runs[0].run.temperature_K:g} K {by} is {abs(percent):.0f} % "
                f"{'larger' if percent > 0 else 'smaller'} than the relaxed one: the run left that structure, or the "
                "relaxation ended in a saddle point; its volume at 0 K is not the start of the series.",
            )


def _plot(results: Results, series: VolumesResult) -> Plot:
    runs = runs_of_campaign(results, [(each.run, each) for each in series.runs])
    drawn: list[Series] = []
    for index, (group, members) in enumerate(runs.groups().items()):
        means = [(each.run.temperature_K, each.mean_cell.volume_per_atom_A3) for _, each in members]
        points = sorted((t, mean.value, *mean.interval68) for t, mean in means if mean is not None)
        ordering = members[0][1].run.ordering
        still = [(0.0, cell.volume_A3_per_atom) for cell in series.relaxed if cell.ordering == ordering]
        line = xy([*still, *((t, value) for t, value, _, _ in points)])
        drawn.append(Series(*line, group, "line", pick(index)))
        drawn.append(
            Series(
                *line,
                group,
                colour=pick(index),
                low=[*(value for _, value in still), *(low for _, _, low, _ in points)],
                high=[*(value for _, value in still), *(high for _, _, _, high in points)],
                hover=[
                    *(f"relaxed: {number(value, 4)} Å³/atom" for _, value in still),
                    *(f"{t:g} K: {number(value, 4)} Å³/atom" for t, value, _, _ in points),
                ],
                legend=False,
            )
        )
    drawn += published_volumes(results, [members[0][1] for members in runs.groups().values()])
    return Plot(
        "volume_of_temperature",
        _TITLE,
        f"Mean volume at {number(series.pressure_GPa)} GPa by {series.potential}, with 68 % intervals from the "
        "correlation time; at 0 K the relaxed cell. Squares, diamonds and triangles: published and measured volumes of "
        "the same polymorph at the same pressure.",
        [Panel(drawn, "temperature (K)", "volume (Å³/atom)")],
        height=340,
    )


def _table(results: Results, series: VolumesResult) -> Table:
    rows = []
    for cell in series.relaxed:
        values = [number(value, 5) for value in (*cell.lengths_A, *cell.angles_deg)]
        mark = "" if cell.converged else ", not converged"
        rows.append([cell.ordering.id, unit_formula(results, cell.formula), f"0, relaxed{mark}", *values,
                     number(cell.volume_A3_per_atom, 5), UNKNOWN])  # fmt: skip
    for each in series.runs:
        drift = UNKNOWN if each.drift is None else f"{100 * each.drift:+.1f}".replace("-", "−")
        rows.append([each.run.ordering.id, unit_formula(results, each.formula), number(each.run.temperature_K),
                     *(_mean(mean) for mean in _means(each)), drift])  # fmt: skip
    notes = [
        f"{each.ordering.id}: volumetric thermal expansion β = "
        f"{with_error(_MICRO * each.expansion.volumetric_per_K, _MICRO * each.expansion.volumetric_error_per_K)} "
        f"· 10⁻⁶ K⁻¹ at {number(each.expansion.mean_temperature_K, 3)} K, linear α = β/3 = "
        f"{with_error(_MICRO * each.expansion.linear_per_K, _MICRO * each.expansion.linear_error_per_K)} · 10⁻⁶ K⁻¹."
        + "".join(f" {flag}" for flag in each.expansion.flags)
        for each in series.expansions
    ]
    columns = [
        "Ordering",
        "Composition",
        "T, K",
        "a, Å",
        "b, Å",
        "c, Å",
        "α, °",
        "β, °",
        "γ, °",
        "V, Å³/atom",
        "Drift, %",
    ]
    caption = (
        f"Mean cells of {plural(len(series.runs), 'run')} at {number(series.pressure_GPa)} GPa and relaxed cells, in "
        "the setting of the runs. Drift: change of the volume between the last two quarters."
    )
    return Table(caption, columns, rows, frozenset(range(2, 11)), notes)


def _means(each: VolumeRun) -> tuple[SeriesMean | None, ...]:
    cell = each.mean_cell
    return (*cell.lengths_A, *cell.angles_deg, cell.volume_per_atom_A3)


def _mean(mean: SeriesMean | None) -> str:
    if mean is None:
        return UNKNOWN
    # What does not move has only rounding errors.
    return number(mean.value, 6) if mean.error < _ROUNDING * abs(mean.value) else with_error(mean.value, mean.error)


def _csv(results: Results, series: VolumesResult) -> CsvTable:
    values = tuple(name for label in _LABELS for name in (label, f"{label}_error"))
    expansion = {each.ordering: each.expansion for each in series.expansions}

    def cells(each: VolumeRun | RelaxedCell) -> Cells:
        if isinstance(each, RelaxedCell):
            own = (*each.lengths_A, *each.angles_deg, each.volume_A3_per_atom)
            return tuple(part for value in own for part in (value, None))
        pairs = ((None, None) if mean is None else (mean.value, mean.error) for mean in _means(each))
        return tuple(part for pair in pairs for part in pair)

    def ordering(each: VolumeRun | RelaxedCell) -> Cells:
        return ordering_cells(results, each.ordering if isinstance(each, RelaxedCell) else each.run.ordering)

    def beta(each: VolumeRun | RelaxedCell) -> Cells:
        fit = None if isinstance(each, RelaxedCell) else expansion.get(each.run.ordering)
        return (None, None) if fit is None else (fit.volumetric_per_K, fit.volumetric_error_per_K)

    every: list[VolumeRun | RelaxedCell] = [*series.relaxed, *series.runs]
    return csv_table(
        "cells_of_temperature.csv",
        (*material_columns(results), "ordering"),
        [(ordering(each), each) for each in every],
        [
            ("formula", lambda each: each.formula),
            ("potential", lambda _: series.potential),
            ("pressure_GPa", lambda _: series.pressure_GPa),
            ("temperature_K", lambda each: 0.0 if isinstance(each, RelaxedCell) else each.run.temperature_K),
            ("replica", lambda each: None if isinstance(each, RelaxedCell) else each.run.replica),
            (values, cells),
            (("volumetric_expansion_per_K", "volumetric_expansion_error_per_K"), beta),
            ("drift", lambda each: None if isinstance(each, RelaxedCell) else each.drift),
            ("key", lambda each: each.key),
        ],
    )
