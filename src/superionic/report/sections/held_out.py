"""Errors of a potential on labels that its training did not use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from superionic.report.csv_tables import CsvTable
from superionic.report.plots import ORANGE, Panel, Plot, Series, parity_series, thin
from superionic.report.section import Block
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, formula_text, number, plural, whole_text
from superionic.results.learning import ErrorsApart, HeldOutErrors, Parity, ParityPoints, ValidateResult
from superionic.training.metrics import ErrorMetrics

_MOST_PARITY_POINTS: Final = 1500
_KINDS: Final = {"composition": "composition", "phase": "phase", "temperature_K": "temperature"}

ERRORS: Final[tuple[tuple[str, str, str, Callable[[ErrorMetrics], float | None]], ...]] = (
    ("mae_energy_meV_per_atom", "Energy, MAE", "meV/atom", lambda e: e.mae_energy_meV_per_atom),
    ("rmse_energy_meV_per_atom", "Energy, RMSE", "meV/atom", lambda e: e.rmse_energy_meV_per_atom),
    ("mae_force_meV_per_A", "Force, MAE", "meV/Å", lambda e: e.mae_force_meV_per_A),
    ("rmse_force_meV_per_A", "Force, RMSE", "meV/Å", lambda e: e.rmse_force_meV_per_A),
    ("mae_stress_GPa", "Stress, MAE", "GPa", lambda e: e.mae_stress_GPa),
    ("rmse_stress_GPa", "Stress, RMSE", "GPa", lambda e: e.rmse_stress_GPa),
)
SHAPE: Final[tuple[tuple[str, Callable[[ErrorMetrics], float | None]], ...]] = (
    ("force_slope", lambda e: e.force_slope),
    ("force_slope_low95", lambda e: None if e.force_slope_interval95 is None else e.force_slope_interval95[0]),
    ("force_slope_high95", lambda e: None if e.force_slope_interval95 is None else e.force_slope_interval95[1]),
    ("mean_error_stress_GPa", lambda e: e.mean_error_stress_GPa),
)
"""Softness and bias, by their names in files."""
_OF_SETS: Final[tuple[tuple[str, Callable[[ErrorMetrics], float | None]], ...]] = (
    ("n_forces", lambda e: e.n_forces),
    ("n_stresses", lambda e: e.n_stresses),
    ("mean_error_energy_meV_per_atom", lambda e: e.mean_error_energy_meV_per_atom),
)


def blocks(errors: HeldOutErrors) -> list[Block]:
    """Return the errors, those of parts of the set, and predictions against reference."""
    return [_error_table(errors), _apart_table(errors), _parity_plot(errors)]


def files(result: ValidateResult) -> Iterator[CsvTable]:
    """Yield the same as tables."""
    yield _errors_csv(result.errors, result.key)
    yield _apart_csv(result.errors, result.key)
    yield _parity_csv(result.errors.parity)


def _error_table(errors: HeldOutErrors) -> Table:
    both = [side for side in (errors.before, errors.after) if side is not None]
    rows = []
    for _, words, unit, value_of in ERRORS:
        values = [value_of(side) for side in both]
        if any(value is not None for value in values):
            rows.append([words, *map(number, values), unit, *_change(values)])
    no_change = [UNKNOWN] * (len(both) - 1)
    if errors.after.mean_error_stress_GPa is not None:
        biases = [number(side.mean_error_stress_GPa) for side in both]
        rows.append(["Stress, mean signed error", *biases, "GPa", *no_change])
    rows.append(["Forces, slope (95 % interval)", *map(_slope, both), "", *no_change])
    caption = (
        f"Errors against the reference on {_set_words(errors)}. A slope "
        "of predicted against reference forces below 1 indicates a soft potential, which melts too early and whose "
        "barriers are too low; a negative mean error of the normal stresses (tension positive) makes cells too large."
    )
    if errors.before is None:
        return Table(caption, ["Quantity", "Error", "Unit"], rows, frozenset({1}))
    return Table(caption, ["Quantity", "Before", "After", "Unit", "Change"], rows, frozenset({1, 2, 4}))


def _change(values: Sequence[float | None]) -> list[str]:
    """Return the change from before to after training, in a list of its own; an empty one where there is one value."""
    if len(values) == 1:
        return []
    before, after = values
    return [f"{number(100 * (after - before) / before, 2)} %" if before and after is not None else UNKNOWN]


def _set_words(errors: HeldOutErrors) -> str:
    structures = plural(errors.n_structures, "structure")
    return f"all labels ({structures})" if errors.before is None else f"the {errors.set} set ({structures})"


def _slope(errors: ErrorMetrics) -> str:
    """Return the slope of the forces with its interval."""
    if errors.force_slope is None:
        return UNKNOWN
    within = errors.force_slope_interval95
    return f"{errors.force_slope:.3f}" + ("" if within is None else f" ({within[0]:.3f} to {within[1]:.3f})")


def _apart_table(errors: HeldOutErrors) -> Table:
    def change(row: ErrorsApart, value_of: Callable[[ErrorMetrics], float | None], scale: float = 1.0) -> str:
        values = [value_of(side) for side in (row.before, row.after) if side is not None]
        return " → ".join(UNKNOWN if value is None else number(scale * value, 3) for value in values)

    return table_of(
        "Mean absolute errors on all labels, slopes and signed errors."
        if errors.before is None
        else f"Mean absolute errors on the {errors.set} set, slopes and signed errors, before → after training.",
        errors.by,
        [
            ("By", lambda row: _KINDS.get(row.by, row.by)),
            ("Value", _kind_words),
            ("Structures", lambda row: whole_text(row.after.n_structures)),
            ("Energy, meV/atom", lambda row: change(row, lambda e: e.mae_energy_meV_per_atom)),
            ("Forces, meV/Å", lambda row: change(row, lambda e: e.mae_force_meV_per_A)),
            ("Stress, MPa", lambda row: change(row, lambda e: e.mae_stress_GPa, 1000.0)),
            ("Slope of forces", lambda row: change(row, lambda e: e.force_slope)),
            ("Mean signed stress, MPa", lambda row: change(row, lambda e: e.mean_error_stress_GPa, 1000.0)),
        ],
        numeric=range(2, 8),
    )


def _kind_words(row: ErrorsApart) -> str:
    if row.by == "temperature_K":
        return f"{row.value:g} K" if not isinstance(row.value, str) else row.value
    return formula_text(str(row.value)) if row.by == "composition" else str(row.value)


def _parity_plot(errors: HeldOutErrors) -> Plot:
    panels = [
        Panel(
            _parity_series(points),
            f"reference ({unit})",
            f"predicted ({unit})",
            title + (_slopes(errors) if points is errors.parity.force_eV_per_A else ""),
            square=True,
        )
        for title, unit, points in _of_parity(errors.parity)
        if points.reference
    ]
    return Plot(
        "parity",
        "Predictions against reference",
        f"Each point compares the potential with the reference on {_set_words(errors)}"
        f"{'' if errors.before is None else ', which training did not use'}. On the diagonal the two agree; "
        "a slope of the forces below 1 indicates a soft potential.",
        panels,
        columns=3,
        height=330,
    )


def _slopes(errors: HeldOutErrors) -> str:
    after = errors.after.force_slope
    if errors.before is None:
        return "" if after is None else f": slope {after:.2f}"
    before = errors.before.force_slope
    return "" if before is None or after is None else f": slope {before:.2f} before, {after:.2f} after training"


def _of_parity(parity: Parity) -> tuple[tuple[str, str, ParityPoints], ...]:
    return (
        ("Energy", "eV/atom", parity.energy_eV_per_atom),
        ("Force components", "eV/Å", parity.force_eV_per_A),
        ("Stress components", "GPa", parity.stress_GPa),
    )


def _parity_series(points: ParityPoints) -> list[Series]:
    drawn = thin(len(points.reference), _MOST_PARITY_POINTS)
    reference, after = ([side[i] for i in drawn] for side in (points.reference, points.after))
    if points.before is None:
        return [parity_series(reference, after, "as published")]
    series, before = parity_series(reference, after, "after training"), [points.before[i] for i in drawn]
    return [replace(series, y=before, label="before training", colour=ORANGE, filled=False, marker="diamond"), series]


def _errors_csv(errors: HeldOutErrors, key: str) -> CsvTable:
    statistics = sorted([*((name, value_of) for name, _, _, value_of in ERRORS), *_OF_SETS, *SHAPE])
    rows = tuple(
        (errors.set, errors.n_structures, name, _value(value_of, errors.before), value_of(errors.after), key)
        for name, value_of in statistics
    )
    return CsvTable("errors.csv", ("set", "n_structures", "statistic", "before", "after", "key"), rows)


def _apart_csv(errors: HeldOutErrors, key: str) -> CsvTable:
    statistics = [*((name, value_of) for name, _, _, value_of in ERRORS), *SHAPE]
    columns = [f"{name}_{when}" for name, _ in statistics for when in ("before", "after")]
    rows = tuple(
        (
            row.by,
            row.value,
            row.after.n_structures,
            *(_value(value_of, side) for _, value_of in statistics for side in (row.before, row.after)),
            key,
        )
        for row in errors.by
    )
    return CsvTable("errors_apart.csv", ("by", "value", "n_structures", *columns, "key"), rows)


def _value(value_of: Callable[[ErrorMetrics], float | None], errors: ErrorMetrics | None) -> float | None:
    return None if errors is None else value_of(errors)


def _parity_csv(parity: Parity) -> CsvTable:
    rows = tuple(
        (title.lower(), unit, reference, before, after)
        for title, unit, points in _of_parity(parity)
        for reference, before, after in zip(
            points.reference, points.before or [None] * len(points.reference), points.after, strict=True
        )
    )
    return CsvTable("parity.csv", ("quantity", "unit", "reference", "before", "after"), rows)
