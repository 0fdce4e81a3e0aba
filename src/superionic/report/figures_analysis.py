"""Figures of a stand-alone analysis that the campaign's report does not have."""

from __future__ import annotations

from typing import Final

from superionic.report.plots import BLUE, GREY, Panel, Plot, Series, heat_colours
from superionic.report.values import Record, Results, bounds, mapping, numbers, real, text
from superionic.report.words import with_error

_MOST_PANELS: Final = 6


def running_diffusivity(results: Results) -> Plot | None:
    """Show D against the lag that it is measured at, with the plateau that was taken."""
    panels = []
    for record in results.records("analyse", "runs")[:_MOST_PANELS]:
        panel = _panel(record)
        if panel is not None:
            panels.append(panel)
    if not panels:
        return None
    return Plot(
        "running_diffusivity",
        "diffusion",
        "Does D level off?",
        "Tracer diffusivity as it comes out at each time lag, with one standard error. At short lags ions rattle and "
        "hop to and fro, and D is too large; D counts only where it does not change with the lag any more. Line and "
        "band: the value that was taken and its 68 % interval; shaded: the lags that it rests on.",
        panels,
        columns=2,
        height=340,
    )


def _panel(record: Record) -> Panel | None:
    ladder = mapping(record, "lag_ladder")
    rows = zip(
        numbers(ladder, "lag_ps"), numbers(ladder, "value_cm2_per_s"), numbers(ladder, "error_cm2_per_s"), strict=False
    )
    points = [(t, d, e) for t, d, e in rows if t is not None and d is not None and t > 0]
    if len(points) < 2:
        return None
    tracer = mapping(record, "tracer_diffusivity_cm2_per_s")
    value = real(tracer, "value")
    low, high = bounds(tracer, "interval68")
    start, end = bounds(record, "window_ps")
    x = [p[0] for p in points]
    series = []
    if value is not None and low is not None and high is not None:
        edge = [min(x), max(x)]
        series.append(
            Series(edge, [value] * 2, "68 % interval", "band", BLUE, low=[low] * 2, high=[high] * 2, opacity=0.18)
        )
        series.append(Series(edge, [value] * 2, "D* taken", "line", BLUE, width=1.8))
    series.append(
        Series(
            x,
            [p[1] for p in points],
            "D at this lag",
            colour=heat_colours([real(record, "temperature_K") or 0.0]).popitem()[1],
            low=[p[1] - (p[2] or 0.0) for p in points],
            high=[p[1] + (p[2] or 0.0) for p in points],
            size=7,
        )
    )
    end = end if end is None else min(end, 1.25 * max(x))
    shaded = [(start, end, "lags taken")] if start is not None and end is not None and end > start else []
    guides = [(start, "lag taken")] if start is not None and not shaded else []
    temperature = real(record, "temperature_K")
    title = text(record, "run") + (f", {temperature:g} K" if temperature is not None else "")
    return Panel(
        series,
        x_label="time lag (ps)",
        y_label="tracer diffusivity (cm²/s)",
        title=title,
        x_log=True,
        shaded=shaded,
        guides=guides,
    )


def volume_traces(results: Results) -> Plot | None:
    """Show the volume of runs whose cell changes, with its mean and interval."""
    panels = []
    for record in results.records("analyse", "runs")[:_MOST_PANELS]:
        trace = mapping(record, "volume_trace")
        time, volume = numbers(trace, "time_ps"), numbers(trace, "volume_A3_per_atom")
        mean = mapping(mapping(record, "mean_cell"), "volume_per_atom_A3")
        value = real(mean, "value")
        if len(time) < 2 or len(time) != len(volume) or value is None:
            continue
        edge = [time[0], time[-1]]
        low, high = bounds(mean, "interval68")
        series = [Series(time, volume, "volume", "line", GREY, width=1.0, opacity=0.8)]
        if low is not None and high is not None:
            series.append(
                Series(edge, [value] * 2, "68 % interval", "band", BLUE, low=[low] * 2, high=[high] * 2, opacity=0.25)
            )
        series.append(Series(edge, [value] * 2, "mean", "line", BLUE, width=1.0))
        title = f"{text(record, 'run')}: {with_error(value, real(mean, 'error'), 'Å³/atom')}"
        panels.append(Panel(series, x_label="time (ps)", y_label="volume (Å³/atom)", title=title))
    if not panels:
        return None
    return Plot(
        "volume_traces",
        "volumes",
        "Volume",
        "Volume of the runs whose cell changes. The band is the error of the mean, from the time in which the volume "
        "forgets itself; it is much narrower than the fluctuations.",
        panels,
        columns=2,
        height=300,
    )
