"""The rungs of a ladder on the same test sets (paper B, figures 2b, c and S1 to S3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from superionic.report.csv_tables import CsvTable
from superionic.report.plots import Panel, Plot, Series, pick, pick_marker, thin, xy
from superionic.report.section import Block
from superionic.report.sections.held_out import ERRORS, SHAPE
from superionic.report.table import table_of
from superionic.report.words import UNKNOWN, number, plural, whole_text
from superionic.results.learning import RungComparison, RungErrors

_MOST_POINTS: Final = 1500


def blocks(rungs: RungComparison | None) -> Iterator[Block]:
    """Yield the errors of all rungs on the same test sets, as a figure and as a table (paper B, figures 2b and c)."""
    if rungs is None:
        return
    panels = []
    for name, words, unit, value_of in ERRORS:
        if not name.startswith("mae_"):
            continue
        series = []
        for index, test_set in enumerate(rungs.sets):
            rows = [row for row in rungs.errors if row.set == test_set.name and value_of(row.errors) is not None]
            places = [0.0 if row.temperature_K is None else row.temperature_K for row in rows]
            values = [value_of(row.errors) for row in rows]
            hover = [f"{_rung_words(row)}: {number(value)} {unit}" for row, value in zip(rows, values, strict=True)]
            colour = pick(index)
            series.append(Series(places, values, test_set.name, "line", colour))
            series.append(Series(places, values, test_set.name, colour=colour, size=6, hover=hover, legend=False))
        panels.append(Panel(series, "rung (K); 0: pretrained", f"{words} ({unit})"))
    sets = "; ".join(
        f"{each.name}: {plural(each.n_structures, 'label')}"
        + (f" at {each.temperatures_K[0]:g} to {each.temperatures_K[-1]:g} K" if each.temperatures_K else "")
        for each in rungs.sets
    )
    yield Plot(
        "rungs",
        "Errors of the rungs on the same test sets",
        f"Mean absolute errors of the potential of each rung on labels that no rung was trained on ({sets}).",
        panels,
        columns=3,
        height=320,
    )
    yield table_of(
        f"Mean absolute errors of each rung. {going_on(rungs)}",
        rungs.errors,
        [
            ("Rung", lambda row: _rung_words(row) + (" (goes on)" if row.round == rungs.goes_on else "")),
            ("Test set", lambda row: row.set),
            ("Structures", lambda row: whole_text(row.errors.n_structures)),
            ("Energy, meV/atom", lambda row: number(row.errors.mae_energy_meV_per_atom, 3)),
            ("Forces, meV/Å", lambda row: number(row.errors.mae_force_meV_per_A, 3)),
            ("Stress, MPa", lambda row: _MPa(row.errors.mae_stress_GPa)),
            ("Slope of forces", lambda row: number(row.errors.force_slope, 3)),
        ],
        numeric=range(2, 7),
    )
    yield _energies(rungs)


def files(rungs: RungComparison | None) -> Iterator[CsvTable]:
    """Yield the errors of all rungs, and the energies of all structures of the sets."""
    yield _errors_csv(rungs)
    yield _energies_csv(rungs)


def _energies(rungs: RungComparison) -> Plot:
    """Draw what each rung predicts for each structure (paper B, figures S1a to S3a).

    Differences from the labels are drawn: next to the range of the energies, the errors of a good model are not seen.
    """
    named = _named(rungs)
    panels = []
    for of_set in rungs.energies:
        series = []
        for index, predicted in enumerate(of_set.predicted_eV_per_atom):
            points = [
                (label, 1000.0 * (energy - label), formula)
                for formula, label, energy in zip(of_set.formulas, of_set.labels_eV_per_atom, predicted, strict=True)
                if energy is not None
            ]
            if not points:
                continue
            drawn = [points[i] for i in thin(len(points), _MOST_POINTS)]
            hover = [f"{formula}, {named[index]}: {number(off)} meV/atom" for _, off, formula in drawn]
            x, y = xy((label, off) for label, off, _ in drawn)
            marker = pick_marker(index)
            series.append(Series(x, y, named[index], colour=pick(index), marker=marker, size=5, hover=hover))
        panels.append(Panel(series, "label (eV/atom)", "predicted − label (meV/atom)", of_set.set))
    return Plot(
        "rung_energies",
        "Energies of the test sets by each rung",
        "Each point is a structure; above zero, the potential of the rung puts its energy too high.",
        panels,
        columns=2,
        height=320,
    )


def _named(rungs: RungComparison) -> dict[int, str]:
    return {row.round: _rung_words(row) for row in rungs.errors}


def _MPa(stress_GPa: float | None) -> str:
    return UNKNOWN if stress_GPa is None else number(1000.0 * stress_GPa, 3)


def _rung_words(row: RungErrors) -> str:
    return "pretrained" if row.temperature_K is None else f"{row.temperature_K:g} K"


def going_on(rungs: RungComparison) -> str:
    """Say which rung has the smallest errors, and which one goes on."""
    named = _named(rungs)
    if rungs.best is None:
        return "No set could be compared; the last rung goes on."
    best = f"{named[rungs.best]} has the smallest errors over all sets and quantities (geometric mean of their ratios)"
    if rungs.goes_on == rungs.best:
        return f"{best}, and its potential goes on."
    return f"{best}, but the last rung, {named.get(rungs.goes_on, UNKNOWN)}, goes on (`learn.production_rung: last`)."


def _errors_csv(rungs: RungComparison | None) -> CsvTable:
    statistics = [*((name, value_of) for name, _, _, value_of in ERRORS), *SHAPE]
    rows = (
        tuple(
            (
                row.round,
                row.temperature_K,
                row.set,
                row.errors.n_structures,
                *(value_of(row.errors) for _, value_of in statistics),
                row.round == rungs.goes_on,
                rungs.key,
            )
            for row in rungs.errors
        )
        if rungs is not None
        else ()
    )
    names = ("round", "rung_K", "set", "n_structures", *(name for name, _ in statistics), "goes_on", "key")
    return CsvTable("rungs.csv", names, rows)


def _energies_csv(rungs: RungComparison | None) -> CsvTable:
    rows = (
        []
        if rungs is None
        else [
            (of_set.set, formula, label, round_number, predicted[index], rungs.key)
            for of_set in rungs.energies
            for round_number, predicted in enumerate(of_set.predicted_eV_per_atom)
            for index, (formula, label) in enumerate(zip(of_set.formulas, of_set.labels_eV_per_atom, strict=True))
        ]
    )
    names = ("set", "formula", "label_eV_per_atom", "round", "predicted_eV_per_atom", "key")
    return CsvTable("rung_energies.csv", names, tuple(rows))
