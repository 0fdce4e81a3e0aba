"""Figures of the student: how it learned, and how it compares with its teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from superionic.report.plots import BLUE, GREY, VERMILION, Panel, Plot, Series, pick
from superionic.report.values import Record, Results, bounds, flat_numbers, mapping, numbers, real, records, text, thin
from superionic.report.words import number

Ends = tuple[float | None, float | None, float | None]
"""A value with the lower and upper end of its error bar."""

_MOST_PARITY_POINTS: Final = 1500
_MOST_DISTANCE_PANELS: Final = 6
_PARTS: Final[tuple[tuple[str, str, Literal["solid", "dot"]], ...]] = (
    ("train_", "training", "dot"),
    ("validation_", "validation", "solid"),
)


def learning(results: Results) -> Plot | None:
    """Show the errors of each student against the epoch."""
    found = results.stage("distil").get("history")
    members = [[row for row in member if isinstance(row, dict)] for member in found] if isinstance(found, list) else []
    panels = []
    for key, words in (
        ("rmse_force_eV_per_A", "RMSE of forces (eV/Å)"),
        ("rmse_energy_eV_per_atom", "RMSE of energies (eV/atom)"),
    ):
        series = []
        for index, rows in enumerate(members):
            epochs = [real(row, "epoch") for row in rows]
            for prefix, part, dash in _PARTS:
                values = [real(row, prefix + key) for row in rows]
                values = [value if value is None or value > 0 else None for value in values]
                if any(value is not None for value in values):
                    label = f"student {index + 1}, {part}"
                    series.append(Series(epochs, values, label, "line", pick(index), dash=dash))
        if series:
            panels.append(Panel(series, x_label="epoch", y_label=words, y_log=True))
    if not panels:
        return None
    return Plot(
        "student_learning",
        "student",
        "How the students learned",
        "Errors against the teacher after each pass over the data, on the data that each student learns from and on "
        "those that it leaves out. A rise begins where frames of an exploration came to the data.",
        panels,
        columns=2,
        height=300,
    )


def parity(results: Results) -> Plot | None:
    """Show energies and forces of the students against those of the teacher on unseen frames."""
    found = mapping(results.stage("distil"), "parity")
    panels = []
    for key, title, unit in (
        ("energy_eV_per_atom", "Energy", "eV/atom"),
        ("force_eV_per_A", "Force components", "eV/Å"),
    ):
        data = mapping(found, key)
        teacher, student = flat_numbers(data, "teacher"), flat_numbers(data, "student")
        if not teacher or len(teacher) != len(student):
            continue
        kept = thin(len(teacher), _MOST_PARITY_POINTS)
        few = len(kept) < 100
        series = Series(
            [teacher[i] for i in kept],
            [student[i] for i in kept],
            "mean of the students",
            colour=BLUE,
            size=7.0 if few else 4.0,
            opacity=0.8 if few else 0.55,
        )
        panels.append(
            Panel([series], x_label=f"teacher ({unit})", y_label=f"student ({unit})", title=title, square=True)
        )
    if not panels:
        return None
    return Plot(
        "student_parity",
        "student",
        "Students against their teacher",
        "Each point is a value on frames of a run of the teacher from which no student has learned.",
        panels,
        columns=2,
        height=330,
    )


def distances(results: Results) -> Plot | None:
    """Show the radial distribution functions of teacher and students in the hottest run that both made."""
    compared = results.records("distil", "compared")
    if not compared:
        return None
    run = max(compared, key=lambda record: real(record, "temperature_K") or 0.0)
    panels = []
    for pair in records(run, "pairs")[:_MOST_DISTANCE_PANELS]:
        r, members = numbers(pair, "r_A"), pair.get("members")
        series = [Series(r, numbers(pair, "teacher"), "teacher", "line", GREY, width=3.0)]
        for index, member in enumerate(members if isinstance(members, list) else []):
            values = numbers({"g": member}, "g")
            if len(values) == len(r):
                series.append(Series(r, values, f"student {index + 1}", "line", pick(index), width=1.3))
        overlaps = [value for value in numbers(pair, "overlaps") if value is not None]
        title = text(pair, "pair").replace("-", "–")
        title += f" (overlap {min(overlaps):.3f})" if overlaps else ""
        panels.append(Panel(series, x_label="distance (Å)", y_label="g(r)", title=title))
    if not panels:
        return None
    return Plot(
        "student_distances",
        "student",
        "Structure in equal runs",
        f"Radial distribution functions of teacher and students in {text(run, 'run')}: same start, cell and length.",
        panels,
        columns=3,
        height=260,
    )


def properties(results: Results) -> Plot | None:
    """Show volumes and diffusivities of teacher and students at each temperature."""
    compared = results.records("distil", "compared")
    volumes = _of_all(compared, "volumes_A3_per_atom", _volume)
    diffusivities = _of_all(compared, "diffusivities_cm2_per_s", _diffusivity)
    panels = []
    if volumes:
        panels.append(Panel(volumes, x_label="temperature (K)", y_label="volume (Å³/atom)", title="Constant pressure"))
    if diffusivities:
        panels.append(
            Panel(diffusivities, x_label="temperature (K)", y_label="D* (cm²/s)", title="Equal runs", y_log=True)
        )
    if not panels:
        return None
    return Plot(
        "student_properties",
        "student",
        "Volumes and diffusivities of teacher and students",
        "Bars are 68 % for volumes and 95 % for diffusivities. The runs are as short as the teacher's, so intervals "
        "are wide; the students' long runs are in the sections below. An open end of a bar is not drawn.",
        panels,
        columns=2,
        height=320,
    )


def _volume(value: Record) -> Ends:
    mean, error = real(value, "value"), real(value, "error")
    return (mean, None, None) if mean is None or error is None else (mean, mean - error, mean + error)


def _diffusivity(value: Record) -> Ends:
    mean = real(value, "value")
    low, high = bounds(value, "interval95")
    return (mean if mean is not None and mean > 0 else None, low if low is not None and low > 0 else None, high)


def _of_all(compared: list[Record], key: str, read: Callable[[Record], Ends]) -> list[Series]:
    """Return one series for the teacher and each student, side by side at each temperature."""
    most = max((len(records(run, key)) for run in compared), default=0)
    series = []
    for index in range(most):
        x: list[float | None] = []
        y: list[float | None] = []
        low: list[float | None] = []
        high: list[float | None] = []
        for run in compared:
            values, temperature = records(run, key), real(run, "temperature_K")
            if index >= len(values) or temperature is None:
                continue
            mean, lower, upper = read(values[index])
            if mean is None:
                continue
            x.append(temperature + 4.0 * index)
            y.append(mean)
            low.append(lower)
            high.append(upper)
        if x:
            label = "teacher" if index == 0 else f"student {index}"
            colour = VERMILION if index == 0 else pick(2 * (index - 1))
            hover = [f"{label}, {number(t)} K: {number(v)}" for t, v in zip(x, y, strict=True)]
            marker = "circle" if index == 0 else "square"
            series.append(Series(x, y, label, colour=colour, low=low, high=high, marker=marker, hover=hover, size=8))
    return series
