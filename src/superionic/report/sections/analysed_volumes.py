"""Volumes of the user's own trajectories: mean cells, thermal expansion, published volumes."""

from __future__ import annotations

from typing import Final

from superionic.references.compare import Comparison
from superionic.report.csv_tables import CsvTable
from superionic.report.plots import BLUE, GREY, Panel, Plot, Series
from superionic.report.published import short_citation
from superionic.report.section import Section, shown
from superionic.report.table import Table
from superionic.report.words import UNKNOWN, number, with_error
from superionic.results.analysis import Analysis
from superionic.trajectories.analysis import RunAnalysis
from superionic.transport.observables.volumes import SeriesMean

_MOST_PANELS: Final = 6
_ROUNDING: Final = 1e-10
_LABELS: Final = ("a_A", "b_A", "c_A", "alpha_deg", "beta_deg", "gamma_deg", "volume_A3", "volume_A3_per_atom")


def volumes(analysis: Analysis) -> Section:
    """Describe the cells of runs whose cell changes; no blocks if none does."""
    if not any(run.mean_cell is not None for run in analysis.runs):
        return Section("volumes", "Volumes", [])
    return Section("volumes", "Volumes", shown(_traces(analysis), _table(analysis)), [_csv(analysis)])


def _traces(analysis: Analysis) -> Plot:
    panels = [panel for panel in map(_trace, analysis.runs[:_MOST_PANELS]) if panel is not None]
    return Plot(
        "volume_traces",
        "Volume",
        "Volume of the runs whose cell changes. The band is the error of the mean, from the correlation time of the "
        "volume; it is much narrower than the fluctuations.",
        panels,
        height=300,
    )


def _trace(run: RunAnalysis) -> Panel | None:
    mean = None if run.mean_cell is None else run.mean_cell.volume_per_atom_A3
    time, volume = run.volumes.time_ps, run.volumes.volume_A3_per_atom
    if mean is None or len(time) < 2:
        return None
    edge = [time[0], time[-1]]
    low, high = mean.interval68
    return Panel(
        [
            Series(time, volume, "volume", "line", GREY, width=1.0, opacity=0.8),
            Series(edge, [mean.value] * 2, "68 % interval", "band", BLUE, [low] * 2, [high] * 2, opacity=0.25),
            Series(edge, [mean.value] * 2, "mean", "line", BLUE, width=1.0),
        ],
        "time (ps)",
        "volume (Å³/atom)",
        f"{run.name}: {with_error(mean.value, mean.error, 'Å³/atom')}",
    )


def _table(analysis: Analysis) -> Table:
    rows = [
        [run.name, number(run.transport.temperature_K), *(_mean(mean) for mean in _means(run))]
        for run in analysis.runs
        if run.mean_cell is not None
    ]
    notes = []
    expansion = analysis.expansion
    if expansion is not None:
        words = with_error(expansion.linear_per_K, expansion.linear_error_per_K, "K⁻¹")
        notes.append(f"Thermal expansion α = β/3: {words}.")
    notes += [_comparison(run, mean) for run in analysis.runs for mean in run.comparisons]
    notes += [
        f"{run.name} minus the refined cell: {run.refined.words}." for run in analysis.runs if run.refined is not None
    ]
    columns = [
        "Run", "T, K", "a, Å", "b, Å", "c, Å", "α, °", "β, °", "γ, °", "Volume, Å³", "Volume, Å³/atom",
    ]  # fmt: skip
    return Table("Mean cells of runs whose cell changes.", columns, rows, frozenset(range(1, 10)), notes)


def _means(run: RunAnalysis) -> list[SeriesMean | None]:
    cell = run.mean_cell
    return [] if cell is None else [*cell.lengths_A, *cell.angles_deg, cell.volume_A3, cell.volume_per_atom_A3]


def _mean(mean: SeriesMean | None) -> str:
    if mean is None:
        return UNKNOWN
    # Angles of a cell of fixed shape have only rounding errors.
    fixed = mean.error < _ROUNDING * abs(mean.value)
    return number(mean.value, 6) if fixed else with_error(mean.value, mean.error)


def _comparison(run: RunAnalysis, comparison: Comparison) -> str:
    value = comparison.published
    source = short_citation(value.source) + (f", {value.polymorph}" if value.polymorph else "")
    return (
        f"{run.name}: {number(comparison.difference, 2)} % from the {value.kind} volume {number(value.value, 4)} "
        f"Å³/atom at {number(value.temperature_K)} K ({source})."
    )


def _csv(analysis: Analysis) -> CsvTable:
    columns = ["run", "temperature_K", "discarded_ps", "independent_samples"]
    for label in _LABELS:
        columns += [label, f"{label}_error"]
    rows = []
    for run in analysis.runs:
        if run.mean_cell is None:
            continue
        head = (run.name, run.transport.temperature_K, run.mean_cell.discarded_ps)
        values = [part for mean in _means(run) for part in ((None, None) if mean is None else (mean.value, mean.error))]
        rows.append((*head, run.mean_cell.volume_A3.independent_samples, *values))
    return CsvTable("volumes.csv", tuple(columns), tuple(rows))
