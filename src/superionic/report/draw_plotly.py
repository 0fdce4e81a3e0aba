"""Drawing plots for the screen: the data and layout that plotly.js shows, as plain JSON values.

They are written out here rather than through plotly's Python objects: so the page holds no template and no random
names, and the same data make the same bytes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.draw_matplotlib import cell_edges
from superionic.report.plots import COLOUR_SCALE, GREY, INK, WHITE, Numbers, Panel, Series, Side, Surface, Volume

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
GRID: Final = "#e5e7eb"
LINE: Final = "#9ca3af"
_DIGITS: Final = 6
_CLEAR: Final = "rgba(0,0,0,0)"
_TICKS: Final = {"linecolor": LINE, "ticks": "outside", "ticklen": 4, "tickcolor": LINE, "zeroline": False}


def _round(value: float | None) -> float | None:
    """Round to the digits that a screen can show."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def _list(values: Numbers) -> list[float | None]:
    return [_round(value) for value in values]


def _words(words: str) -> str:
    """Escape characters that plotly would read as markup."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _packed(values: NDArray[Any], kind: str) -> dict[str, str]:
    """Pack an array as plotly's typed array, in little-endian order on every machine."""
    data = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
    return {"dtype": kind, "bdata": base64.b64encode(data).decode("ascii")}


def _transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def _error_bar(values: Numbers, low: Numbers, high: Numbers, colour: str) -> dict[str, Any]:
    above = [0.0 if a is None or b is None else max(b - a, 0.0) for a, b in zip(values, high or values, strict=True)]
    below = [0.0 if a is None or b is None else max(a - b, 0.0) for a, b in zip(values, low or values, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": _list(above),
        "arrayminus": _list(below),
        "color": colour,
        "thickness": 1.3,
        "width": 3,
    }


def _colour_bar(words: str, side: Side, place: int = 0) -> dict[str, Any]:
    """Return the colour bar on one side of a panel; below it, `place` counts colour bars from the top."""
    bar: dict[str, Any] = {"title": {"text": _words(words), "side": side}, "thickness": 12}
    if side == "right":
        return bar
    return bar | {"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.22 * place, "yanchor": "top"}


def _points(series: Series) -> dict[str, Any]:
    symbol = series.marker if series.filled else f"{series.marker}-open"
    marker: dict[str, Any] = {"symbol": symbol, "size": series.size, "opacity": series.opacity}
    if series.colour_values:
        marker |= {
            "color": _list(series.colour_values),
            "colorscale": [list(stop) for stop in series.colour_scale],
            "showscale": True,
            "line": {"color": WHITE, "width": 1},
            "colorbar": _colour_bar(series.colour_label, series.colour_bar) | {"len": 0.85},
        }
    else:
        marker |= {"color": series.colour, "line": {"width": 1.4, "color": series.colour}}
        if series.filled:
            marker["line"] = {"width": 0}
    trace: dict[str, Any] = {"type": "scatter", "mode": "markers", "marker": marker}
    if series.low or series.high:
        trace["error_y"] = _error_bar(series.y, series.low, series.high, series.colour)
    if series.x_low or series.x_high:
        trace["error_x"] = _error_bar(series.x, series.x_low, series.x_high, series.colour)
    return trace


def _traces(series: Series) -> list[dict[str, Any]]:
    base: dict[str, Any] = {
        "x": _list(series.x),
        "y": _list(series.y),
        "name": _words(series.label),
        "meta": series.label,
        "showlegend": False,
    }
    if series.hover:
        base |= {"hovertext": [_words(words) for words in series.hover], "hoverinfo": "text"}
    if series.kind == "points":
        return [base | _points(series)]
    if series.kind == "line":
        line = {"color": series.colour, "width": series.width, "dash": series.dash}
        return [base | {"type": "scatter", "mode": "lines", "line": line, "opacity": series.opacity}]
    if series.kind == "band":
        pairs = zip(series.x, series.low, series.high, strict=True)
        known = [(x, low, high) for x, low, high in pairs if x is not None and low is not None and high is not None]
        around = {
            "x": _list([x for x, _, _ in known] + [x for x, _, _ in reversed(known)]),
            "y": _list([low for _, low, _ in known] + [high for _, _, high in reversed(known)]),
        }
        fill = {"fill": "toself", "fillcolor": _transparent(series.colour, series.opacity), "line": {"width": 0}}
        return [base | around | fill | {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}]
    bar: dict[str, Any] = {"type": "bar", "marker": {"color": series.colour, "opacity": series.opacity}}
    bar["width"] = series.bar_width or 0.6
    if series.low or series.high:
        bar["error_y"] = _error_bar(series.y, series.low, series.high, GREY)
    return [base | bar]


def _axis(title: str, *, log: bool, span: tuple[float, float] | None) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "title": {"text": _words(title), "standoff": 8},
        "type": "log" if log else "linear",
        "gridcolor": GRID,
        **_TICKS,
        "showline": True,
        "automargin": True,
        "exponentformat": "power",
        "separatethousands": False,
    }
    if log:
        axis |= {"minor": {"ticks": "outside", "ticklen": 2, "tickcolor": LINE}, "dtick": 1}
    if span is not None:
        axis["range"] = [_round(math.log10(end)) if log else _round(end) for end in span]
    return axis


def _log_ticks(axis: dict[str, Any], values: list[float]) -> None:
    """Set ticks of a logarithmic axis at 1, 2 and 5 if it spans less than about two decades, else one per decade."""
    positive = [value for value in values if value > 0]
    if not positive:
        return
    low, high = min(positive), max(positive)
    decades = math.log10(high / low)
    if decades < 1.6 and low >= 1e-3 and high < 1e5:
        axis["tickformat"] = "~g"  # whole numbers: without it plotly writes the digit alone between powers of ten
    if 0.0 < decades < 0.3:
        step = 10.0 ** math.floor(math.log10((high - low) / 2.0))
        axis["dtick"] = (
            f"L{step * (5.0 if (high - low) / step > 10.0 else 2.0 if (high - low) / step > 4.0 else 1.0):g}"
        )
    elif decades < 1.6:
        axis["dtick"] = "D2"
    elif decades > 8:
        axis["dtick"] = math.ceil(decades / 6)


def _span_of(panel: Panel, axis: str) -> list[float]:
    values: list[float] = []
    for series in panel.series:
        groups = (series.x, series.x_low, series.x_high) if axis == "x" else (series.y, series.low, series.high)
        values += [value for group in groups for value in group if value is not None and math.isfinite(value)]
    return values


def _square(panel: Panel, layout: dict[str, Any]) -> dict[str, Any] | None:
    values = _span_of(panel, "x") + _span_of(panel, "y")
    if not values:
        return None
    low, high = min(values), max(values)
    pad = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    ends = [_round(low - pad), _round(high + pad)]
    layout["xaxis"]["range"] = ends
    layout["yaxis"]["range"] = ends
    line = {"type": "scatter", "x": ends, "y": ends, "mode": "lines", "line": {"color": LINE, "width": 1}}
    return line | {"hoverinfo": "skip", "showlegend": False}


def _layout(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "modebar": {"bgcolor": _CLEAR, "color": LINE, "activecolor": GREY},
        "font": {"family": FONT, "size": 12.5, "color": INK},
        "paper_bgcolor": _CLEAR,
    }


def panel_json(panel: Panel, height: int) -> dict[str, Any]:
    """Return ``{"data": [...], "layout": {...}}`` of one panel for plotly.js."""
    x_axis = _axis(panel.x_label, log=panel.x_log, span=panel.x_range)
    y_axis = _axis(panel.y_label, log=panel.y_log, span=panel.y_range)
    if panel.x_log:
        _log_ticks(x_axis, list(panel.x_range or _span_of(panel, "x")))
    if panel.y_log:
        _log_ticks(y_axis, list(panel.y_range or _span_of(panel, "y")))
    layout = _layout(height) | {
        "margin": {"l": 62, "r": 16, "t": 30, "b": 52},
        "plot_bgcolor": _CLEAR,
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {"font": {"family": FONT}},
        "barmode": "group" if sum(series.kind == "bars" for series in panel.series) > 1 else "overlay",
        "xaxis": x_axis,
        "yaxis": y_axis,
        "shapes": [],
        "annotations": [],
    }
    data = [trace for series in panel.series for trace in _traces(series)]
    if panel.heat_map is not None:
        data.append(
            {
                "type": "heatmap",
                "x": _list(list(panel.heat_map.x)),
                "y": _list(list(panel.heat_map.y)),
                "z": [_list(row) for row in panel.heat_map.values.tolist()],
                "colorscale": [list(stop) for stop in COLOUR_SCALE],
                "colorbar": _colour_bar(panel.heat_map.label, panel.heat_map.colour_bar, 1) | {"len": 0.85},
                "hoverongaps": False,
            }
        )
        x_axis["showgrid"] = y_axis["showgrid"] = False
    _decorate(panel, layout)
    if panel.square:
        diagonal = _square(panel, layout)
        data = [diagonal, *data] if diagonal else data
    if panel.top_axis is not None:
        positions, names, title = panel.top_axis
        layout["xaxis2"] = {
            "overlaying": "x",
            "matches": "x",
            "side": "top",
            "tickvals": _list(list(positions)),
            "ticktext": list(names),
            "title": {"text": _words(title), "standoff": 6},
            "showgrid": False,
            **_TICKS,
        }
        layout["margin"]["t"] = 72
        data.append(
            {"type": "scatter", "xaxis": "x2", "x": [None], "y": [None], "hoverinfo": "skip", "showlegend": False}
        )
    return {"data": data, "layout": layout}


def _decorate(panel: Panel, layout: dict[str, Any]) -> None:
    for x0, x1, _ in panel.shaded:
        look = {"fillcolor": _transparent(LINE, 0.18), "line": {"width": 0}, "layer": "below"}
        layout["shapes"].append({"type": "rect", **_column(x0, x1), **look})
    for x_at, words in panel.guides:
        place = math.log10(x_at) if panel.x_log else x_at
        line = {"color": GREY, "width": 1, "dash": "dot"}
        layout["shapes"].append({"type": "line", "line": line, **_column(x_at, x_at)})
        side = "right" if panel.is_near_right_end(x_at) else "left"
        layout["annotations"].append(
            _note(_round(place), 1, words) | {"yref": "paper", "xanchor": side, "yanchor": "top"}
        )
    for x_at, y_at, words in panel.notes:
        y_place = math.log10(y_at) if panel.y_log else y_at
        layout["annotations"].append(_note(_round(x_at), _round(y_place), words))
    for x_at, y_at, words in panel.tags:
        ground = {"bgcolor": _transparent(WHITE, 0.85), "borderpad": 1, "font": {"size": 10.5, "color": INK}}
        layout["annotations"].append(_note(_round(x_at), _round(y_at), words) | ground)
    if panel.categories:
        layout["xaxis"] |= {
            "tickvals": list(range(len(panel.categories))),
            "ticktext": [_words(name) for name in panel.categories],
            "showgrid": False,
            "tickangle": -35 if sum(len(name) for name in panel.categories) > 60 else 0,
        }
    if panel.bare:
        for axis in ("xaxis", "yaxis"):
            layout[axis] = {"visible": False, "automargin": True}
            span = panel.x_range if axis == "xaxis" else panel.y_range
            if span is not None:
                layout[axis]["range"] = list(span)
        layout["yaxis"] |= {"scaleanchor": "x", "scaleratio": 1}
        layout["margin"] = {"l": 10, "r": 10, "t": 10, "b": 10}


def _column(x0: float, x1: float) -> dict[str, Any]:
    """Return the position of a shape as high as the panel."""
    return {"xref": "x", "yref": "paper", "x0": _round(x0), "x1": _round(x1), "y0": 0, "y1": 1}


def _note(x: float | None, y: float | None, words: str) -> dict[str, Any]:
    return {"x": x, "y": y, "text": _words(words), "showarrow": False, "font": {"size": 11.5}}


def surface_json(surface: Surface, height: int) -> dict[str, Any]:
    """Return ``{"data": [...], "layout": {...}}`` of a view into a cell for plotly.js.

    With a density there is a ``"volume"`` besides, from which the page's own script makes the surfaces.
    """
    path: list[Sequence[float] | None] = []
    for start, end in cell_edges(surface.cell_A):
        path += [start, end, None]
    edges = {axis: [None if point is None else _round(point[i]) for point in path] for i, axis in enumerate("xyz")}
    frame = {"type": "scatter3d", "mode": "lines", "line": {"color": GREY, "width": 3}, "hoverinfo": "skip"}
    data: list[dict[str, Any]] = [frame | edges]
    for lines in surface.segments:
        places = np.full((len(lines.ends_A), 3, 3), np.nan)  # the third point is a gap between two lines
        places[:, :2] = lines.ends_A
        trace: dict[str, Any] = {axis: _list(places[:, :, i].ravel().tolist()) for i, axis in enumerate("xyz")}
        look = {"color": lines.colour, "width": 2.2 * lines.width, "dash": lines.dash}
        data.append(trace | {"type": "scatter3d", "mode": "lines", "line": look} | _named(lines.label))
    for points in surface.markers:
        place = {axis: _list(points.positions_A[:, i].tolist()) for i, axis in enumerate("xyz")}
        symbol = points.marker if points.filled else f"{points.marker}-open"
        marker = {"size": points.size, "color": points.colour, "symbol": symbol, "line": {"width": 0}}
        trace = {"type": "scatter3d", "mode": "markers", "marker": marker} | place | _named(points.label)
        if points.hover:
            trace |= {"hovertext": [_words(words) for words in points.hover], "hoverinfo": "text"}
        data.append(trace)
    corners = np.array(cell_edges(surface.cell_A)).reshape(-1, 3)
    extents = corners.max(axis=0) - corners.min(axis=0)
    layout = _layout(height) | {
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "showlegend": False,
        "scene": {
            **{f"{axis}axis": {"visible": False} for axis in "xyz"},
            "aspectmode": "manual",
            "aspectratio": dict(zip("xyz", (1.9 * extents / extents.max()).tolist(), strict=True)),
            "camera": {"projection": {"type": "orthographic"}, "eye": {"x": 1.5, "y": 1.2, "z": 0.7}},
        },
    }
    chart = {"data": data, "layout": layout}
    return chart if surface.volume is None else chart | {"volume": _volume(surface.volume, surface.cell_A)}


def _named(label: str) -> dict[str, Any]:
    return {"name": _words(label), "meta": label, "hoverinfo": "name"}


def _volume(volume: Volume, cell_A: NDArray[np.float64]) -> dict[str, Any]:
    """Return a density for the page's script, in 255 steps of its logarithm above the lowest level.

    Steps of a byte: 0 is below ``lowest``, b is lowest·(highest/lowest)^((b − 1)/254).
    """
    density = np.asarray(volume.density_per_A3, dtype=np.float64)
    highest = float(density.max())
    span = math.log(highest / volume.lowest_per_A3)
    with np.errstate(divide="ignore"):
        steps = 1.0 + 254.0 * np.log(density / volume.lowest_per_A3) / span
    return {
        "shape": list(density.shape),
        "cell": [[_round(x) for x in row] for row in cell_A.tolist()],
        "steps": _packed(np.rint(np.maximum(steps, 0.0)), "u1")["bdata"],
        "lowest": _round(volume.lowest_per_A3),
        "highest": _round(highest),
        "levels": [
            {
                "value": _round(level.value),
                "label": level.label,
                "colour": level.colour,
                "opacity": level.opacity,
                "movable": level.movable,
            }
            for level in volume.levels
        ],
    }
