"""Figures of volumes and displacements."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from superionic.report.comparison import Comparison, comparisons
from superionic.report.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Panel,
    Plot,
    Series,
    heat_colours,
    pick,
    pick_marker,
)
from superionic.report.values import Record, Results, bounds, mapping, numbers, real, text, thin, thin_log
from superionic.report.words import composition_key, number

CompositionKey = tuple[tuple[str, float], ...]
_MOST_PANELS: Final = 6
_MOST_CURVE_POINTS: Final = 220


def by_id(found: list[Record]) -> dict[str, list[Record]]:
    """Group records by their id, in the order of first appearance."""
    groups: dict[str, list[Record]] = {}
    for record in found:
        groups.setdefault(text(record, "id"), []).append(record)
    return groups


def _heat(found: list[Record]) -> dict[float, str]:
    known = [temperature for record in found if (temperature := real(record, "temperature_K")) is not None]
    return heat_colours(known) if known else {}


def _run_name(record: Record) -> str:
    temperature = real(record, "temperature_K")
    return f"{temperature:g} K" if temperature is not None else text(record, "run")


def volumes(results: Results) -> Plot | None:
    """Show the volume in the constant-pressure runs against time, and its mean against temperature."""
    runs = results.records("transport", "runs")
    names = results.labels_by_id()
    colours = _heat(runs)
    panels = []
    for identity, found in list(by_id(runs).items())[:_MOST_PANELS]:
        series = []
        for record in found:
            trace = mapping(record, "npt")
            time, volume = numbers(trace, "time_ps"), numbers(trace, "volume_A3_per_atom")
            if len(time) != len(volume) or len(time) < 2:
                continue
            kept = thin(len(time), _MOST_CURVE_POINTS)
            colour = colours.get(real(record, "temperature_K") or 0.0, GREY)
            line = ([time[i] for i in kept], [volume[i] for i in kept])
            series.append(Series(*line, _run_name(record), "line", colour, width=1.3, opacity=0.9))
        if series:
            title = f"{names.get(identity, identity)}: at constant pressure"
            panels.append(Panel(series, x_label="time (ps)", y_label="volume (Å³/atom)", title=title))
    means = _mean_volumes(results, names)
    if means is not None:
        panels.append(means)
    if not panels:
        return None
    return Plot(
        "volumes",
        "volumes",
        "Volumes",
        "Volume while the cell adapts to temperature and pressure, and the volume used in the "
        "runs at constant volume that "
        "follow. A trace that still drifts at its end has not come to rest, and conductivity "
        "depends strongly on volume.",
        panels,
        columns=2,
        height=310,
    )


def _mean_volumes(results: Results, names: dict[str, str]) -> Panel | None:
    series = []
    formulas: dict[str, str] = {}
    for record in results.records("analyse", "runs") + results.records("analyse", "arrhenius"):
        formulas.setdefault(text(record, "id"), text(record, "formula"))
    for index, (identity, found) in enumerate(by_id(results.records("transport", "runs")).items()):
        pairs = [(real(r, "temperature_K"), real(r, "volume_A3_per_atom"), text(r, "run")) for r in found]
        points = sorted((t, v, run) for t, v, run in pairs if t is not None and v is not None)
        if points:
            hover = [f"{run}: {number(v, 4)} Å³/atom at {t:g} K" for t, v, run in points]
            x, y = [p[0] for p in points], [p[1] for p in points]
            series.append(Series(x, y, names.get(identity, identity), colour=pick(index), hover=hover, size=8))
    if not series:
        return None
    series += _published_volumes(results, {composition_key(formula) for formula in formulas.values()})
    return Panel(series, x_label="temperature (K)", y_label="volume (Å³/atom)", title="Volume against temperature")


def _published_volumes(results: Results, formulas: set[CompositionKey]) -> list[Series]:
    groups: dict[str, list[Comparison]] = {}
    for item in comparisons(results):
        if (
            item.kind == "volume"
            and item.temperature_K is not None
            and item.published.value is not None
            and composition_key(item.formula) in formulas
        ):
            groups.setdefault(f"{item.short_source} ({item.method})" if item.method else item.short_source, []).append(
                item
            )
    return [
        Series(
            [item.temperature_K for item in found],
            [item.published.value for item in found],
            label,
            colour=GREY,
            marker=pick_marker(index + 1),
            filled=False,
            size=8,
            hover=[f"{label}: {item.published.written()} {item.unit}" for item in found],
        )
        for index, (label, found) in enumerate(groups.items())
    ]


def displacements(results: Results) -> Plot | None:
    """Show mean squared displacements on logarithmic axes, with the span that was fitted."""
    runs = results.records("analyse", "runs")
    names = results.labels_by_id()
    colours = _heat(runs)
    panels = []
    for identity, found in list(by_id(runs).items())[:_MOST_PANELS]:
        series, windows = [], []
        for record in found:
            curve = mapping(record, "msd")
            pairs = zip(numbers(curve, "lags_ps"), numbers(curve, "msd_A2"), strict=False)
            points = [(t, m) for t, m in pairs if t is not None and m is not None and t > 0 and m > 0]
            if len(points) < 2:
                continue
            start, end = bounds(record, "window_ps")
            if start is not None and end is not None:
                windows.append((max(start, points[0][0]), end))
            kept = [points[i] for i in thin_log(len(points), _MOST_CURVE_POINTS)]
            colour = colours.get(real(record, "temperature_K") or 0.0, GREY)
            x, y = [p[0] for p in kept], [p[1] for p in kept]
            series.append(Series(x, y, _run_name(record), "line", colour, width=1.2, opacity=0.75))
            if start is not None and end is not None:
                inside = [p for p in kept if start <= p[0] <= end]
                fitted = ([p[0] for p in inside], [p[1] for p in inside])
                series.append(Series(*fitted, _run_name(record), "line", colour, width=3.0, legend=False))
        if series:
            highest = max(value for s in series for value in s.y if value is not None)
            first = min(value for s in series for value in s.x if value is not None)
            series.append(_slope_one(first, max(v for s in series for v in s.x if v is not None), highest))
            shades = [(start, end, "fitted span") for start, end in sorted(set(windows))]
            title = names.get(identity, identity)
            panels.append(
                Panel(
                    series,
                    x_label="time lag (ps)",
                    y_label="mean squared displacement (Å²)",
                    title=title,
                    x_log=True,
                    y_log=True,
                    shaded=shades,
                )
            )
    if not panels:
        return None
    return Plot(
        "msd",
        "diffusion",
        "Mean squared displacements of the mobile ion",
        "Averaged over all time origins and ions. Where ions diffuse, the curve runs parallel to "
        "the dotted line (slope 1); "
        "a flat curve means that ions only rattle in their sites. The shaded span, drawn bold, gave the diffusivity.",
        panels,
        columns=2,
        height=360,
    )


def _slope_one(first: float, last: float, highest: float) -> Series:
    middle = (first * last) ** 0.5
    level = 1.25 * highest
    return Series([middle, last], [level * middle / last, level], "slope 1", "line", GREY, dash="dot", width=1.4)


_DIRECTIONS: Final = {
    "xx": Series([], [], "along x", "line", BLUE, width=2.2),
    "yy": Series([], [], "along y", "line", ORANGE, dash="dash", width=2.2),
    "zz": Series([], [], "along z", "line", GREEN, dash="dot", width=2.2),
}


def anisotropy(results: Results) -> Plot | None:
    """Show the displacements along x, y and z of the hottest run of each ordering."""
    names = results.labels_by_id()
    panels: list[Panel] = []
    for identity, found in list(by_id(results.records("analyse", "runs")).items()):
        usable = [r for r in found if all(len(numbers(mapping(r, "msd"), key)) > 1 for key in ("xx", "yy", "zz"))]
        if not usable or len(panels) == _MOST_PANELS:
            continue
        record = max(usable, key=lambda item: real(item, "temperature_K") or 0.0)
        curve = mapping(record, "msd")
        lags = numbers(curve, "lags_ps")
        _, end = bounds(record, "window_ps")
        kept = [i for i in range(len(lags)) if end is None or (lags[i] or 0.0) <= 1.6 * end]
        kept = [kept[i] for i in thin(len(kept), _MOST_CURVE_POINTS)]
        series = []
        for key, look in _DIRECTIONS.items():
            values = numbers(curve, key)
            if len(values) == len(lags):
                line = ([lags[i] for i in kept], [values[i] for i in kept])
                series.append(replace(look, x=line[0], y=line[1]))
        title = f"{names.get(identity, identity)}, {_run_name(record)}"
        panels.append(Panel(series, x_label="time lag (ps)", y_label="displacement² (Å²)", title=title))
    if not panels:
        return None
    return Plot(
        "anisotropy",
        "diffusion",
        "Is diffusion the same in all directions?",
        "Mean squared displacement along the Cartesian axes (z is along c* where the cell is in "
        "standard setting). Curves "
        "that part mean that ions move more easily along some directions; with few hops, chance parts them too.",
        panels,
        columns=3 if len(panels) > 2 else 2,
        height=310,
    )
