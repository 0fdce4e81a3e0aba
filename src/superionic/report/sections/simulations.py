"""Molecular dynamics: the runs, their volumes, and what speaks against them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from superionic.references.values import Approach, PublishedValue
from superionic.report.csv_tables import CsvTable
from superionic.report.plots import GREY, Panel, Plot, Series, pick, thin
from superionic.report.published import published_values, source_words
from superionic.report.runs import NamedRuns, runs_of_campaign
from superionic.report.section import Block, Paragraph, Section
from superionic.report.table import Notes, Table
from superionic.report.words import UNKNOWN, number, sentence, whole_text, with_error
from superionic.results.campaign import Results, Statement
from superionic.results.transport import SimulatedRun

_MOST_PANELS: Final = 6
_MOST_CURVE_POINTS: Final = 220
_SHORT_PS: Final = 100.0
_SMALL_CELL: Final = 100
_DRIFTING: Final = 0.02
_FAR_OUTSIDE: Final = 10.0
_APPROACHES: Final[dict[Approach, tuple[str, str]]] = {
    "measured": ("measured", "square"),
    "dft": ("by DFT", "diamond"),
    "universal": ("by universal potentials", "triangle-up"),
    "fine-tuned": ("by fine-tuned potentials", "triangle-down"),
}


def section(results: Results) -> Section:
    """Describe the runs of the stage *transport*."""
    if results.transport is None:
        return Section("simulations", "Simulations", [Paragraph("No molecular dynamics was run.", "missing")])
    runs = runs_of_campaign(results, [(each.run, each) for each in results.transport.runs])
    blocks: list[Block] = [plot for plot in [_volumes(results, runs)] if plot is not None]
    if runs:
        blocks.append(_table(runs))
    return Section("simulations", "Simulations", blocks, [_csv(runs)])


def doubts(results: Results) -> Iterator[Statement]:
    """Say what speaks against the runs."""
    runs = results.transport.runs if results.transport is not None else ()
    if not runs:
        return
    yield from _about_extrapolation(runs)
    atoms = min(each.n_atoms for each in runs)
    if atoms < _SMALL_CELL:
        words = f"The simulation cell has {atoms} atoms; finite-size effects on diffusion are likely."
        yield Statement("caution", words, f"small cell ({atoms} atoms)")
    drifts = [abs(each.npt_drift) for each in runs if each.npt_drift is not None and abs(each.npt_drift) > _DRIFTING]
    if drifts:
        yield Statement(
            "warning",
            f"In {len(drifts)} of {len(runs)} transport runs the volume had not come to rest at the end of the NPT "
            f"part (it still changed by up to {100 * max(drifts):.0f} %), and conductivity depends strongly on volume.",
            "volumes not at rest",
        )
    shortest, longest = min(each.length_ps for each in runs), max(each.length_ps for each in runs)
    if shortest < _SHORT_PS:
        span = f"are {shortest:g} ps long" if shortest == longest else f"are {shortest:g} to {longest:g} ps long"
        words = f"The runs {span}. Published diffusivities of this kind rest on hundreds to thousands of picoseconds."
        yield Statement("caution", words, f"short runs ({shortest:g} ps)")


def _about_extrapolation(runs: tuple[SimulatedRun, ...]) -> Iterator[Statement]:
    grades = [each.worst_extrapolation for each in runs if each.worst_extrapolation is not None]
    far = [grade for grade in grades if grade > _FAR_OUTSIDE]
    if far:
        yield Statement(
            "warning",
            f"In {len(far)} of {len(grades)} transport runs the student extrapolated far beyond its data (highest "
            f"grade {max(far):.3g}, where {_FAR_OUTSIDE:g} is far): raise `distil.explore.temperature_K` or "
            "`length_ps`.",
            "the student extrapolated",
        )


# ---- volumes ---------------------------------------------------------------------------------------------------------


def _volumes(results: Results, runs: NamedRuns[SimulatedRun]) -> Plot | None:
    """Show the volume in the constant-pressure runs against time, and its mean against temperature."""
    panels = []
    for group, members in list(runs.groups().items())[:_MOST_PANELS]:
        series = []
        for name, each in members:
            kept = thin(len(each.npt.time_ps), _MOST_CURVE_POINTS)
            if len(kept) > 1:
                line = ([each.npt.time_ps[i] for i in kept], [each.npt.volume_A3_per_atom[i] for i in kept])
                series.append(Series(*line, name.in_group, "line", runs.colour_of(name), width=1.3, opacity=0.9))
        if series:
            panels.append(
                Panel(series, x_label="time (ps)", y_label="volume (Å³/atom)", title=f"{group}: at constant pressure")
            )
    panels.append(_mean_volumes(results, runs))
    if not any(panel.series for panel in panels):
        return None
    return Plot(
        "volumes",
        "Volumes",
        "Volume while the cell adapts to temperature and pressure, and the volume used in the runs at constant volume "
        "that follow. A trace that still drifts at its end has not come to rest, and conductivity depends strongly on "
        "volume. Squares, diamonds and triangles: published volumes of the same polymorph at the same pressure, in the "
        "colour of the composition where there are several.",
        panels,
        height=310,
    )


def _mean_volumes(results: Results, runs: NamedRuns[SimulatedRun]) -> Panel:
    series = []
    for index, (group, members) in enumerate(runs.groups().items()):
        points = sorted((each.run.temperature_K, each.volume_A3_per_atom, each.run.label) for _, each in members)
        hover = [f"{run}: {number(v, 4)} Å³/atom at {t:g} K" for t, v, run in points]
        series.append(
            Series([t for t, _, _ in points], [v for _, v, _ in points], group, colour=pick(index), hover=hover, size=8)
        )
    series += _published(results, runs)
    return Panel(series, x_label="temperature (K)", y_label="volume (Å³/atom)", title="Volume against temperature")


def _published(results: Results, runs: NamedRuns[SimulatedRun]) -> list[Series]:
    """Return published volumes in the colours of their compositions; grey for one composition."""
    several = len(runs.groups()) > 1
    series, seen = [], set()
    for index, members in enumerate(runs.groups().values()):
        each = members[0][1]
        place = (each.run.ordering.material.crystal, each.formula, each.run.pressure_GPa)
        if place in seen:
            continue
        seen.add(place)
        crystal, formula, pressure = place
        groups: dict[Approach, list[PublishedValue]] = {}
        for value in published_values(results, crystal, formula, "volume_per_atom", pressure):
            if value.temperature_K is not None:
                groups.setdefault(value.approach, []).append(value)
        for approach, values in groups.items():
            words, marker = _APPROACHES[approach]
            series.append(
                Series(
                    [value.temperature_K for value in values],
                    [value.value for value in values],
                    f"published, {words}",
                    colour=pick(index) if several else GREY,
                    marker=marker,
                    filled=approach == "measured",
                    size=8,
                    hover=[
                        f"{value.formula}: {source_words(value)}: {number(value.value, 4)} Å³/atom" for value in values
                    ],
                )
            )
    return series


# ---- runs ------------------------------------------------------------------------------------------------------------


def _table(runs: NamedRuns[SimulatedRun]) -> Table:
    notes = Notes()
    rows = [
        [
            name.label,
            f"{each.ensemble.upper()} {each.thermostat}".strip() or UNKNOWN,
            number(each.run.temperature_K),
            number(each.mean_temperature_K),
            number(each.length_ps),
            f"{whole_text(each.n_atoms)} ({whole_text(each.n_mobile)})",
            number(each.run.pressure_GPa),
            _mean_volume(each),
            number(each.volume_A3_per_atom, 4),
            notes.refer([sentence(flag) for flag in each.flags]),
        ]
        for name, each in runs.items
    ]
    columns = [
        "Run", "Ensemble", "T set, K", "T mean, K", "Length, ps", "Atoms (mobile)", "Pressure, GPa",
        "Volume at this pressure, Å³/atom", "Volume of the run, Å³/atom", "Remarks",
    ]  # fmt: skip
    return Table("Runs of molecular dynamics.", columns, rows, frozenset(range(2, 9)), notes.words)


def _mean_volume(each: SimulatedRun) -> str:
    volume = None if each.mean_cell is None else each.mean_cell.volume_per_atom_A3
    return UNKNOWN if volume is None else with_error(volume.value, volume.error)


def _csv(runs: NamedRuns[SimulatedRun]) -> CsvTable:
    columns = (
        *runs.columns, "formula", "ensemble", "thermostat", "length_ps", "mean_temperature_K", "n_atoms", "n_mobile",
        "volume_A3_per_atom", "npt_volume_A3_per_atom", "npt_volume_error_A3_per_atom", "npt_volume_low68_A3_per_atom",
        "npt_volume_high68_A3_per_atom", "npt_discarded_ps", "npt_independent_samples", "npt_drift",
        "worst_extrapolation", "flags", "key",
    )  # fmt: skip
    rows = []
    for name, each in runs.items:
        cell = each.mean_cell
        volume = None if cell is None else cell.volume_per_atom_A3
        rows.append(
            (
                *name.cells,
                each.formula,
                each.ensemble,
                each.thermostat,
                each.length_ps,
                each.mean_temperature_K,
                each.n_atoms,
                each.n_mobile,
                each.volume_A3_per_atom,
                None if volume is None else volume.value,
                None if volume is None else volume.error,
                *((None, None) if volume is None else volume.interval68),
                None if cell is None else cell.discarded_ps,
                None if volume is None else volume.independent_samples,
                each.npt_drift,
                each.worst_extrapolation,
                "; ".join(each.flags),
                each.key,
            )
        )
    return CsvTable("volumes.csv", columns, tuple(rows))
