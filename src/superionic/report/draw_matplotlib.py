"""Drawing plots for print: PNG, SVG or PDF files by matplotlib, the same bytes for the same data."""

from __future__ import annotations

import functools
import hashlib
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata, resources
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from superionic.execution.codec import encode
from superionic.report.plots import (
    COLOUR_SCALE,
    INK,
    WHITE,
    ColourScale,
    HeatMap,
    Numbers,
    Panel,
    Plot,
    Series,
    Side,
    Surface,
)
from superionic.report.words import number, power_of_ten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4b5563",
    "axes.labelcolor": "#1f2937",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.7,
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "superionic",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
}
_MARKERS: Final = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "cross": "P",
    "x": "X",
    "star": "*",
}
_DASHES: Final = {"solid": "-", "dash": "--", "dot": ":"}
# Without these entries the files would contain their date of creation.
_METADATA: Final[dict[str, dict[str, Any]]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "superionic"},
    "pdf": {"CreationDate": None, "Creator": "superionic"},
}
_MANY_POINTS: Final = 1500


def _gaps(values: Numbers) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None or not math.isfinite(value) else value for value in values])


def _safe(words: str) -> str:
    return words.replace("$", r"\$")


def _root(axes: Axes) -> Any:
    return axes.get_figure(root=True)


def _colour_map(scale: ColourScale) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    stops = []
    for at, colour in scale:
        red, green, blue = (int(part) / 255.0 for part in colour[4:-1].split(","))
        stops.append((at, (red, green, blue)))
    return LinearSegmentedColormap.from_list("superionic", stops)


def _draw_colour_bar(axes: Axes, drawn: Any, words: str, side: Side) -> None:
    look: dict[str, Any] = {"aspect": 30, "shrink": 0.6} if side == "bottom" else {"shrink": 0.8}
    _root(axes).colorbar(drawn, ax=axes, label=_safe(words), location=side, **look)


def _errors(series: Series, values: Numbers, low: Numbers, high: Numbers) -> Any:
    if not low and not high:
        return None
    middle = _gaps(values)
    below = middle - _gaps(low) if low else np.zeros_like(middle)
    above = _gaps(high) - middle if high else np.zeros_like(middle)
    return np.clip(np.nan_to_num(np.stack([below, above])), 0.0, None)


def _draw_points(axes: Axes, series: Series, label: str) -> None:
    x, y = _gaps(series.x), _gaps(series.y)
    marker = _MARKERS.get(series.marker, "o")
    raster = len(x) > _MANY_POINTS
    if series.colour_values:
        drawn = axes.scatter(
            x,
            y,
            c=_gaps(series.colour_values),
            cmap=_colour_map(series.colour_scale),
            s=(0.8 * series.size) ** 2,
            marker=marker,
            edgecolors="white",
            linewidths=0.7,
            label=label,
            zorder=3,
        )
        _draw_colour_bar(axes, drawn, series.colour_label, series.colour_bar)
    else:
        axes.errorbar(
            x,
            y,
            yerr=_errors(series, series.y, series.low, series.high),
            xerr=_errors(series, series.x, series.x_low, series.x_high),
            fmt=marker,
            color=series.colour,
            markerfacecolor=series.colour if series.filled else "none",
            markersize=series.size * 0.8,
            markeredgewidth=0.0 if raster else 1.0,
            elinewidth=1.1,
            capsize=2.0,
            alpha=series.opacity,
            label=label,
            rasterized=raster,
            zorder=3,
        )


def _draw(axes: Axes, series: Series, extent: set[str]) -> None:
    label = "_nolegend_"
    if series.legend and series.label and series.label not in extent:
        extent.add(series.label)
        label = _safe(series.label)
    x, y = _gaps(series.x), _gaps(series.y)
    if series.kind == "points":
        _draw_points(axes, series, label)
    elif series.kind == "line":
        style = _DASHES[series.dash]
        axes.plot(x, y, style, color=series.colour, lw=series.width, alpha=series.opacity, label=label, zorder=2)
    elif series.kind == "band":
        low, high = _gaps(series.low), _gaps(series.high)
        axes.fill_between(x, low, high, color=series.colour, alpha=series.opacity, lw=0, label=label, zorder=1)
    else:
        axes.bar(
            x,
            y,
            width=series.bar_width or 0.6,
            color=series.colour,
            alpha=series.opacity,
            yerr=_errors(series, series.y, series.low, series.high),
            error_kw={"elinewidth": 1.0, "capsize": 2.0},
            label=label,
            zorder=2,
        )


def _draw_heat_map(axes: Axes, heat_map: HeatMap) -> None:
    drawn = axes.pcolormesh(
        heat_map.x, heat_map.y, heat_map.values, cmap=_colour_map(COLOUR_SCALE), shading="nearest", rasterized=True
    )
    axes.grid(visible=False)
    _draw_colour_bar(axes, drawn, heat_map.label, heat_map.colour_bar)


def _square(axes: Axes) -> None:
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], "-", color="#9ca3af", lw=1.0, zorder=0)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")


def _tick(value: float, position: float) -> str:
    """Format a tick of a logarithmic axis, as plain text, since matplotlib's math text is slow."""
    del position
    exponent = math.log10(value) if value > 0 else 0.0
    whole = abs(exponent - round(exponent)) < 1e-9
    return power_of_ten(round(exponent)) if whole and abs(exponent) > 2.5 else f"{value:g}"


def _minor_tick(axis: Any) -> Any:
    """Return the formatter that labels 2 and 5 between powers of ten if an axis spans less than about two decades."""

    def write(value: float, position: float) -> str:
        del position
        low, high = sorted(axis.get_view_interval())
        lead = value / 10.0 ** math.floor(math.log10(value) + 1e-9) if value > 0 else 0.0
        named = min(abs(lead - 2), abs(lead - 5)) < 1e-6 and low > 0 and math.log10(high / low) < 1.6
        return number(value, 1) if named else ""

    return write


def _fill(axes: Axes, panel: Panel) -> None:
    if panel.x_log:
        axes.set_xscale("log", nonpositive="mask")
    if panel.y_log:
        axes.set_yscale("log", nonpositive="mask")
    for axis, logarithmic in ((axes.xaxis, panel.x_log), (axes.yaxis, panel.y_log)):
        if logarithmic:
            axis.set_major_formatter(_tick)
            axis.set_minor_formatter(_minor_tick(axis))
    extent: set[str] = set()
    if panel.heat_map is not None:
        _draw_heat_map(axes, panel.heat_map)
    for x0, x1, words in panel.shaded:
        axes.axvspan(x0, x1, color="#9ca3af", alpha=0.18, lw=0, zorder=0, label=_safe(words) or "_nolegend_")
    for series in panel.series:
        _draw(axes, series, extent)
    _annotate(axes, panel)
    if panel.x_range is not None:
        axes.set_xlim(*panel.x_range)
    if panel.y_range is not None:
        axes.set_ylim(*panel.y_range)
    axes.set(xlabel=_safe(panel.x_label), ylabel=_safe(panel.y_label))
    if panel.title:
        axes.set_title(_safe(panel.title), loc="left", color="#1f2937")
    _frame(axes, panel)


def _frame(axes: Axes, panel: Panel) -> None:
    if panel.bare:
        axes.set_axis_off()
        axes.set_aspect("equal")
    if panel.square:
        _square(axes)
    if panel.top_axis is not None:
        positions, names, title = panel.top_axis
        upper = axes.secondary_xaxis("top")
        upper.set_xticks(list(positions), list(names))
        upper.set_xlabel(_safe(title))


def _annotate(axes: Axes, panel: Panel) -> None:
    for x_at, words in panel.guides:
        axes.axvline(x_at, color="#6b7280", lw=0.9, ls=":", zorder=1)
        place = axes.get_xaxis_transform()
        side = "right" if panel.is_near_right_end(x_at) else "left"
        axes.text(x_at, 0.99, f" {_safe(words)} ", transform=place, fontsize=7.5, color="#4b5563", va="top", ha=side)
    for x_at, y_at, words in panel.notes:
        axes.text(x_at, y_at, _safe(words), fontsize=8.5, ha="center", va="center", color="#1f2937")
    for x_at, y_at, words in panel.tags:
        ground = {"facecolor": WHITE, "edgecolor": "none", "alpha": 0.85, "pad": 1.2}
        axes.text(x_at, y_at, _safe(words), fontsize=7.5, ha="center", va="center", color=INK, bbox=ground, zorder=5)
    if panel.categories:
        crowded = sum(len(name) for name in panel.categories) > 36
        axes.set_xticks(range(len(panel.categories)), [_safe(name) for name in panel.categories])
        if crowded:
            axes.tick_params(axis="x", labelrotation=35)
            for name in axes.get_xticklabels():
                name.set_horizontalalignment("right")
                name.set_rotation_mode("anchor")
        axes.grid(visible=False, axis="x")


def _bars_below(panel: Panel) -> int:
    """Count the colour bars below a panel, which take space from it."""
    sides = [series.colour_bar for series in panel.series if series.colour_values]
    return [*sides, panel.heat_map.colour_bar if panel.heat_map is not None else "right"].count("bottom")


def _figure(plot: Plot) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(plot.panels) + (plot.surface is not None)
    columns = max(1, min(plot.columns, count))
    rows = math.ceil(count / columns)
    width = 6.6 if columns == 1 else 3.7 * columns
    height = (3.3 if columns > 1 else 4.0) + 0.7 * max((_bars_below(panel) for panel in plot.panels), default=0)
    figure = Figure(figsize=(width, rows * height + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, columns)
    for index, panel in enumerate(plot.panels):
        _fill(figure.add_subplot(grid[index // columns, index % columns]), panel)
    if plot.surface is not None:
        place = grid[(count - 1) // columns, (count - 1) % columns]
        _draw_surface(figure.add_subplot(place, projection="3d"), plot.surface)
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        longest = max(len(label) for label in handles)
        across = max(1, min(len(handles), int(width * 13 / (longest + 6))))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=across)
    return figure


def _draw_surface(axes: Any, surface: Surface) -> None:
    from mpl_toolkits.mplot3d.art3d import Line3DCollection  # type: ignore[import-untyped]

    for vertices, triangles, colour, opacity in surface.print_meshes:
        if len(triangles):
            x, y, z = vertices.T
            axes.plot_trisurf(x, y, z, triangles=triangles, color=colour, alpha=opacity, lw=0, rasterized=True)
    axes.add_collection3d(Line3DCollection(cell_edges(surface.cell_A), colors="#6b7280", linewidths=0.8))
    for lines in surface.segments:
        look = {"colors": lines.colour, "linewidths": lines.width, "linestyles": _DASHES[lines.dash]}
        axes.add_collection3d(Line3DCollection(lines.ends_A, label=_safe(lines.label), **look))
    for points in surface.markers:
        shape = {"circle": "o", "diamond": "D"}[points.marker]
        look = {"color": points.colour} if points.filled else {"facecolors": "none", "edgecolors": points.colour}
        x, y, z = points.positions_A.T
        axes.scatter(
            x, y, z, s=points.size**2, marker=shape, label=_safe(points.label), depthshade=False, clip_on=False, **look
        )
    corners = np.array(cell_edges(surface.cell_A)).reshape(-1, 3)
    corners = np.concatenate([corners, *(lines.ends_A.reshape(-1, 3) for lines in surface.segments)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    axes.set_proj_type("ortho")
    axes.view_init(elev=22, azim=-35)
    # as large as the projection allows: in this view a tall cell extends beyond its edges
    elevation, azimuth = np.radians(22.0), np.radians(-35.0)
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    up = np.array([-np.sin(elevation) * np.cos(azimuth), -np.sin(elevation) * np.sin(azimuth), np.cos(elevation)])
    extent = max(float(np.ptp(corners @ right)), float(np.ptp(corners @ up)), 1e-6)
    zoom = min(0.93 * float(np.linalg.norm(high - low)) / extent, 1.8)
    axes.set_box_aspect(np.maximum(high - low, 1e-6), zoom=zoom)
    axes.set_axis_off()


def cell_edges(cell_A: np.ndarray[Any, np.dtype[np.float64]]) -> list[list[list[float]]]:
    """Return the twelve edges of a cell as pairs of points in Å."""
    edges = []
    for axis in range(3):
        first, second = (cell_A[other] for other in range(3) if other != axis)
        for i in (0, 1):
            for j in (0, 1):
                start = i * first + j * second
                edges.append([start.tolist(), (start + cell_A[axis]).tolist()])
    return edges


@functools.cache
def _drawing_code() -> str:
    """Return what the bytes of a figure depend on besides its data: this code, and the version of matplotlib."""
    room = resources.files("superionic.report")
    code = "".join(
        room.joinpath(name).read_text(encoding="utf-8") for name in ("draw_matplotlib.py", "plots.py", "words.py")
    )
    return f"{metadata.version('matplotlib')} {code}"


def drawn_from(plot: Plot) -> str:
    """Return a checksum of all that the files of a plot depend on; while it is unchanged they are not drawn again."""
    text, arrays = encode(plot)
    checksum = hashlib.sha256(_drawing_code().encode())
    for part in (text.encode(), arrays):
        checksum.update(b"\0" + part)
    return checksum.hexdigest()


def draw(plot: Plot, formats: tuple[str, ...]) -> dict[str, bytes]:
    """Draw a plot once and return the bytes of each file, by format ("png", "svg", "pdf").

    The bytes depend only on the data and on the version of matplotlib: they contain no date and no random names.
    """
    with _style():
        figure = _figure(plot)
        files = {}
        for kind in formats:
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, dpi=160, metadata=_METADATA[kind])
            files[kind] = buffer.getvalue()
            figure.set_layout_engine("none")  # the first format has laid out the panels; the others keep that layout
    return files


def figure_of(plot: Plot) -> Figure:
    """Draw a plot as a figure of matplotlib, which a notebook displays."""
    with _style():
        figure: Figure = _figure(plot)
    png = functools.partial(draw, plot, ("png",))
    figure._repr_png_ = lambda: png()["png"]  # type: ignore[attr-defined]  # also without matplotlib's inline mode
    return figure


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # A glyph that the bundled font lacks, or a panel too narrow for its text, must not cost a figure.
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield
