"""Observables besides transport: vibrations of the mobile ions, rotation of polyanions, pair distributions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from superionic.report.csv_tables import Cells, CsvTable
from superionic.report.plots import BLUE, Panel, Plot, Series, pick, thin
from superionic.report.runs import NamedRuns, RunName, runs_of_campaign
from superionic.report.section import Paragraph, Section, shown
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, formula_text, interval, number, sentence, some, whole_text, with_error
from superionic.results.campaign import Results
from superionic.transport.observables.pair_distribution import PairDistribution
from superionic.transport.observables.rotation import TURNED_DEG, Rotation
from superionic.transport.observables.together import Observables
from superionic.transport.observables.vibrations import Vibrations

_MOST_PANELS: Final = 6
_MOST_POINTS: Final = 220
_MOST_CURVES: Final = 6
_SHOWN: Final = 0.995
_MOST_CENTRES: Final = 8
_TITLE: Final = "Vibrations, rotations, neighbours"


def section(results: Results) -> Section:
    """Describe the observables of a campaign's runs besides transport; no blocks if none were requested."""
    records = results.analyse.observables if results.analyse is not None else ()
    return observables(runs_of_campaign(results, [(each.run, each.observables) for each in records]))


def observables(runs: NamedRuns[Observables]) -> Section:
    """Describe the observables of runs besides transport; no blocks if none were requested."""
    if not runs:
        return Section("observables", _TITLE, [])
    vibrations = [(name, each.vibrations) for name, each in runs.items if each.vibrations is not None]
    rotations = [(name, one) for name, each in runs.items for one in each.rotations]
    runs_by_flag: dict[str, list[str]] = {}
    for name, each in runs.items:
        for words in each.flags:
            runs_by_flag.setdefault(words, []).append(name.label)
    several = len(runs.items) > 1
    flags = [
        Paragraph(f"{some(names)}: {sentence(words)}" if several else sentence(words))
        for words, names in runs_by_flag.items()
    ]
    blocks = shown(
        _spectra(vibrations),
        _vibration_table(vibrations),
        _correlations(rotations),
        _rotation_table(rotations),
        _functions(runs),
        _coordination_table(runs),
        *flags,
    )
    return Section("observables", _TITLE, blocks, [table for table in _files(runs) if table.rows] if blocks else ())


def _spectra(runs: list[tuple[RunName, Vibrations]]) -> Plot:
    panels = []
    resolved = [(name, each) for name, each in runs if each.mean_frequency_THz is not None]
    for name, each in resolved[:_MOST_PANELS]:  # without a mean frequency, frames are so far apart that spectra fold
        below = np.flatnonzero(np.cumsum(each.spectrum_per_THz) <= _SHOWN * each.spectrum_per_THz.sum())
        drawn = thin(min(len(each.frequencies_THz), int(len(below) * 1.2) + 2), _MOST_POINTS)
        x = [float(each.frequencies_THz[k]) for k in drawn]
        guides = []
        if each.attempt_frequency_THz is not None and each.mean_frequency_THz is not None:
            guides = [(each.attempt_frequency_THz, "attempt"), (each.mean_frequency_THz, "mean")]
        density = Series(x, [float(each.spectrum_per_THz[k]) for k in drawn], "velocities", "line", BLUE, legend=False)
        panels.append(Panel([density], "frequency (THz)", "density (1/THz)", name.label, guides=guides))
    return Plot(
        "vibrations",
        "Vibrations of the mobile ions",
        "Power spectrum of the velocities of the mobile ions, integral 1. Lines: its mean, and the attempt frequency "
        "as defined by GEMDAT. Power at low frequencies comes from jumps.",
        panels,
        height=300,
    )


def _vibration_table(runs: list[tuple[RunName, Vibrations]]) -> Table:
    return table_of(
        "Vibrations of the mobile ions. Attempt frequency and amplitude as defined by GEMDAT, from the distance to the "
        "position in the first frame; the spread is that over the ions. Mean frequency: of the velocity spectrum.",
        runs,
        [
            ("Run", lambda row: row[0].label),
            (
                "Attempt frequency, THz",
                lambda row: with_error(row[1].attempt_frequency_THz, row[1].attempt_frequency_error_THz or 0.0),
            ),
            ("Spread, THz", lambda row: number(row[1].attempt_frequency_spread_THz, 2)),
            ("Amplitude, Å", lambda row: number(row[1].amplitude_A)),
            (
                "Mean frequency, THz",
                lambda row: with_error(row[1].mean_frequency_THz, row[1].mean_frequency_error_THz or 0.0),
            ),
            ("Thermal speed² resolved", lambda row: number(row[1].thermal_share, 2)),
        ],
        numeric=range(1, 6),
    )


def _correlations(rotations: list[tuple[RunName, Rotation]]) -> Plot:
    panels = []
    for group in dict.fromkeys(each.group for _, each in rotations):
        members = [(name, each) for name, each in rotations if each.group == group][:_MOST_CURVES]
        series = []
        for index, (name, each) in enumerate(members):
            positive = [k for k in range(len(each.lags_ps)) if each.lags_ps[k] > 0.0]
            x = [float(each.lags_ps[k]) for k in positive]
            y = [float(each.correlation[k]) for k in positive]
            low, high = (
                [float(each.correlation[k] + sign * each.correlation_error[k]) for k in positive]
                for sign in (-1.0, 1.0)
            )
            series += [
                Series(x, y, "", "band", pick(index), low, high, opacity=0.18, legend=False),
                Series(x, y, name.in_group, "line", pick(index), width=2.0),
            ]
        panels.append(Panel(series, "time lag (ps)", "C(t)", formula_text(group), x_log=True))
    return Plot(
        "rotation",
        "Do polyanions rotate?",
        "Orientation autocorrelation C(t) = ⟨u(0)·u(t)⟩ of the bonds of each kind of polyanion, with one standard "
        "error from the scatter between them. A curve that stays level near 1 means that they only librate; one that "
        "falls to 0 means that they rotate.",
        panels[:_MOST_PANELS],
        height=320,
    )


def _rotation_table(rotations: list[tuple[RunName, Rotation]]) -> Table:
    return table_of(
        f"Polyanions. Turned: a bond has rotated by more than {TURNED_DEG:g}° from its first direction. Rotation "
        "time: τ of C(t) = a exp(−t/τ) after the decay of the librations.",
        rotations,
        [
            ("Run", lambda row: row[0].label),
            ("Polyanion", lambda row: formula_text(row[1].group)),
            ("Number", lambda row: whole_text(row[1].n_groups)),
            ("Turned, %", lambda row: number(100.0 * row[1].fraction_turned)),
            ("Rotation time, ps", lambda row: _time(row[1])),
            ("95 % interval, ps", lambda row: interval(*row[1].interval95_ps)),
            ("a", lambda row: number(row[1].plateau)),
        ],
        numeric=range(2, 7),
    )


def _time(rotation: Rotation) -> str:
    if rotation.rotation_time_ps is not None:
        return number(rotation.rotation_time_ps)
    low = rotation.interval95_ps[0]
    return f"above {number(low, 2)}" if low > 0.0 else UNKNOWN


def _functions(runs: NamedRuns[Observables]) -> Plot:
    panels = []
    for name, each in runs.hottest():
        for site in dict.fromkeys((pair.centre, pair.site) for pair in each.pairs):
            members = [pair for pair in each.pairs if (pair.centre, pair.site) == site][:_MOST_CURVES]
            series = []
            for index, pair in enumerate(members):
                drawn = thin(len(pair.r_A), _MOST_POINTS)
                curve = [float(pair.r_A[k]) for k in drawn], [float(pair.g[k]) for k in drawn]
                series.append(Series(*curve, pair.neighbour, "line", pick(index), width=1.6))
            around = site[0] if site[1] is None else f"{site[0]} on {site[1]}"
            panels.append(Panel(series, "r (Å)", "g(r)", f"Around {around}, {name.label}"))
    return Plot(
        "pair_distributions",
        "Neighbours",
        "Partial pair distribution functions: density of each element around atoms of another (for mobile ions, also "
        "around those on each kind of site), relative to its mean density. For the hottest run of each structure; the "
        f"first {_MOST_CENTRES} are drawn, pair_distributions.csv has all.",
        panels[:_MOST_CENTRES],
        height=300,
    )


def _coordination_table(runs: NamedRuns[Observables]) -> Table:
    return table_of(
        "Coordination numbers: neighbours within the first minimum of g(r), with the standard error from five parts of "
        "the run. Pairs whose g(r) has no first minimum are left out.",
        [(name, pair) for name, each in runs.items for pair in each.pairs if pair.coordination_number is not None],
        [
            ("Run", lambda row: row[0].label),
            ("Around", lambda row: row[1].centre),
            ("On site", lambda row: row[1].site or "all"),
            ("Neighbour", lambda row: row[1].neighbour),
            ("First peak, Å", lambda row: number(row[1].first_peak_A)),
            ("Shell ends, Å", lambda row: number(row[1].first_minimum_A)),
            ("Neighbours", lambda row: with_error(row[1].coordination_number, row[1].coordination_error or 0.0)),
        ],
        numeric=(4, 5, 6),
    )


def _files(runs: NamedRuns[Observables]) -> list[CsvTable]:
    def table(name: str, columns: tuple[str, ...], rows: Iterator[Cells]) -> CsvTable:
        return CsvTable(name, (*runs.columns, *columns), tuple(rows))

    return [
        table(
            "vibrations.csv",
            (
                "attempt_frequency_THz", "attempt_frequency_error_THz", "attempt_frequency_spread_THz", "amplitude_A",
                "mean_frequency_THz", "mean_frequency_error_THz", "thermal_share",
            ),
            _vibration_rows(runs),
        ),
        table("velocity_spectrum.csv", ("frequency_THz", "density_per_THz"), _spectrum_rows(runs)),
        table(
            "rotation.csv",
            (
                "polyanion", "number", "bonds", "bonds_broken", "fraction_turned", "plateau", "rotation_time_ps",
                "rotation_time_low95_ps", "rotation_time_high95_ps",
            ),
            _rotation_rows(runs),
        ),
        table("orientation_correlation.csv", ("polyanion", "lag_ps", "correlation", "error"), _curve_rows(runs)),
        table(
            "coordination.csv",
            (
                "centre", "site", "neighbour", "centres", "first_peak_A", "first_minimum_A", "coordination_number",
                "coordination_error",
            ),
            _coordination_rows(runs),
        ),
        table("pair_distributions.csv", ("centre", "site", "neighbour", "r_A", "g", "coordination"), _pair_rows(runs)),
    ]  # fmt: skip


def _vibration_rows(runs: NamedRuns[Observables]) -> Iterator[Cells]:
    for name, each in runs.items:
        if (vibrations := each.vibrations) is not None:
            yield (
                *name.cells, vibrations.attempt_frequency_THz, vibrations.attempt_frequency_error_THz,
                vibrations.attempt_frequency_spread_THz, vibrations.amplitude_A, vibrations.mean_frequency_THz,
                vibrations.mean_frequency_error_THz, vibrations.thermal_share,
            )  # fmt: skip


def _spectrum_rows(runs: NamedRuns[Observables]) -> Iterator[Cells]:
    for name, each in runs.items:
        if (vibrations := each.vibrations) is not None:
            for frequency, density in zip(vibrations.frequencies_THz, vibrations.spectrum_per_THz, strict=True):
                yield (*name.cells, float(frequency), float(density))


def _rotation_rows(runs: NamedRuns[Observables]) -> Iterator[Cells]:
    for name, each in runs.items:
        for rotation in each.rotations:
            yield (
                *name.cells, rotation.group, rotation.n_groups, rotation.n_bonds, rotation.n_broken,
                rotation.fraction_turned, rotation.plateau, rotation.rotation_time_ps, *rotation.interval95_ps,
            )  # fmt: skip


def _curve_rows(runs: NamedRuns[Observables]) -> Iterator[Cells]:
    for name, each in runs.items:
        for rotation in each.rotations:
            for row in zip(rotation.lags_ps, rotation.correlation, rotation.correlation_error, strict=True):
                yield (*name.cells, rotation.group, *(float(value) for value in row))


def _coordination_rows(runs: NamedRuns[Observables]) -> Iterator[Cells]:
    for name, pair in _pairs(runs):
        yield (
            *name.cells, pair.centre, pair.site, pair.neighbour, pair.n_centres, pair.first_peak_A,
            pair.first_minimum_A, pair.coordination_number, pair.coordination_error,
        )  # fmt: skip


def _pair_rows(runs: NamedRuns[Observables]) -> Iterator[Cells]:
    for name, pair in _pairs(runs):
        for r, g, within in zip(pair.r_A, pair.g, pair.coordination, strict=True):
            yield (*name.cells, pair.centre, pair.site, pair.neighbour, round(float(r), 6), float(g), float(within))


def _pairs(runs: NamedRuns[Observables]) -> Iterator[tuple[RunName, PairDistribution]]:
    for name, each in runs.items:
        for pair in each.pairs:
            yield name, pair
