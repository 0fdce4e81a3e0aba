"""Descriptions of figures, independent of plotting libraries.

The figures of the report are described by these values and drawn twice: by matplotlib for print (PNG, SVG, PDF) and by
plotly for the screen, so that both show the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Numbers = Sequence[float | None]
Side = Literal["right", "bottom"]
Dash = Literal["solid", "dash", "dot"]
Mesh = tuple[NDArray[np.float64], NDArray[np.int64], str, float]

# Okabe and Ito's colours, distinguishable with all common kinds of colour vision, ordered to differ in lightness.
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREY: Final = "#7b8494"
# Colours on top of data rather than on the page: the same on a light and on a dark page.
INK: Final = "#1f2937"
WHITE: Final = "#ffffff"
_WIDTH_OF_WORDS: Final = 0.12
PALETTE: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#8c6d31", "#5254a3")
ATOM_COLOURS: Final = ("#6b7280", "#CC79A7", "#009E73", "#8c6d31", "#5254a3")
MARKERS: Final = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "x", "star")

# A colour scale that increases in lightness only, so that it is readable in greyscale print (like cividis).
_LADDER: Final = ((0.00, (0, 42, 100)), (0.35, (87, 92, 109)), (0.70, (160, 150, 112)), (1.00, (240, 207, 60)))
ColourScale = tuple[tuple[float, str], ...]
COLOUR_SCALE: Final[ColourScale] = tuple((at, f"rgb({r},{g},{b})") for at, (r, g, b) in _LADDER)
# From cold (dark blue) to hot (amber), increasing in lightness and without green, for temperatures.
_HEAT: Final = ((0.0, (64, 78, 184)), (0.35, (139, 47, 160)), (0.68, (206, 71, 116)), (1.0, (236, 142, 52)))
HEAT_SCALE: Final[ColourScale] = tuple((at, f"rgb({r},{g},{b})") for at, (r, g, b) in _HEAT)


def heat_colour(fraction: float) -> str:
    """Return the colour of a temperature, given as a fraction from 0 (coldest of the figure) to 1 (hottest)."""
    at = min(max(fraction, 0.0), 1.0)
    for (left, low), (right, high) in pairwise(_HEAT):
        if at <= right:
            share = (at - left) / (right - left)
            mixed = [round(a + share * (b - a)) for a, b in zip(low, high, strict=True)]
            return "#{:02x}{:02x}{:02x}".format(*mixed)
    raise AssertionError("the scale ends at 1")


def heat_colours(temperatures: Sequence[float]) -> dict[float, str]:
    """Return one colour for each distinct temperature."""
    distinct = sorted(set(temperatures))
    if len(distinct) == 1:
        return {distinct[0]: VERMILION}
    return {value: heat_colour(rank / (len(distinct) - 1)) for rank, value in enumerate(distinct)}


def pick(index: int) -> str:
    """Return the colour with number `index`, starting over after the last."""
    return PALETTE[index % len(PALETTE)]


def pick_marker(index: int) -> str:
    """Return the marker with number `index`, starting over after the last."""
    return MARKERS[index % len(MARKERS)]


@dataclass(frozen=True)
class Series:
    """One set of points, one line, one band or one set of bars.

    Attributes
    ----------
    x, y
        Coordinates; None leaves a gap.
    low, high
        Lower and upper end of the error bar of each point, or the edges of the band; as values, not as lengths.
    colour_values, colour_label, colour_scale, colour_bar
        Values shown by colour, their label, the colour scale, and the side of the panel on which it is drawn.
    hover
        Text shown on the screen at each point.
    legend
        Whether it appears in the legend.
    """

    x: Numbers
    y: Numbers
    label: str = ""
    kind: Literal["points", "line", "band", "bars"] = "points"
    colour: str = BLUE
    low: Numbers = ()
    high: Numbers = ()
    x_low: Numbers = ()
    x_high: Numbers = ()
    marker: str = "circle"
    filled: bool = True
    dash: Dash = "solid"
    width: float = 1.8
    size: float = 7.0
    opacity: float = 1.0
    hover: Sequence[str] = ()
    colour_values: Numbers = ()
    colour_label: str = ""
    colour_scale: ColourScale = COLOUR_SCALE
    colour_bar: Side = "right"
    bar_width: float | None = None
    legend: bool = True


@dataclass(frozen=True)
class HeatMap:
    """A map of one quantity over two axes; `values` has the shape (len(y), len(x)), NaN for missing values."""

    x: Sequence[float]
    y: Sequence[float]
    values: NDArray[np.float64]
    label: str
    colour_bar: Side = "right"


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    shaded
        Spans ``(x0, x1, label)`` of the x axis.
    guides
        Vertical lines ``(x, label)``.
    categories
        Names at x = 0, 1, 2, … instead of numbers.
    top_axis
        ``(positions, names, title)`` of a second x axis.
    notes, tags
        Text ``(x, y, text)`` in the panel; tags have a background, to be legible on a map.
    bare
        Draw no axes and use one scale for both directions (for composition triangles).
    square
        Use one scale for both directions, and draw the line y = x.
    """

    series: Sequence[Series] = ()
    x_label: str = ""
    y_label: str = ""
    title: str = ""
    x_log: bool = False
    y_log: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    shaded: Sequence[tuple[float, float, str]] = ()
    guides: Sequence[tuple[float, str]] = ()
    categories: Sequence[str] = ()
    top_axis: tuple[Sequence[float], Sequence[str], str] | None = None
    notes: Sequence[tuple[float, float, str]] = ()
    tags: Sequence[tuple[float, float, str]] = ()
    bare: bool = False
    square: bool = False
    heat_map: HeatMap | None = None

    def is_near_right_end(self, x: float) -> bool:
        """Whether words that begin at ``x`` would run out of the stated range of x, which is linear."""
        return self.x_range is not None and x > self.x_range[1] - _WIDTH_OF_WORDS * (self.x_range[1] - self.x_range[0])


@dataclass(frozen=True)
class Level:
    """A surface of a density.

    Attributes
    ----------
    value
        Density on it.
    movable
        Whether the reader of the page can choose another value.
    """

    value: float
    label: str
    colour: str
    opacity: float
    movable: bool = False


@dataclass(frozen=True)
class Volume:
    """A periodic density of which the page draws surfaces.

    Attributes
    ----------
    density_per_A3
        (a, b, c) densities on the points (i/a, j/b, k/c) of the cell; the page has them to 3 %.
    lowest_per_A3
        Lowest value that the reader can choose.
    levels
        The surfaces that are drawn.
    """

    density_per_A3: NDArray[np.float64]
    lowest_per_A3: float
    levels: Sequence[Level]


@dataclass(frozen=True)
class Markers:
    """Points in space of one kind, such as the atoms of an element or the sites of a kind."""

    label: str
    positions_A: NDArray[np.float64]
    colour: str
    marker: Literal["circle", "diamond"] = "circle"
    filled: bool = True
    size: float = 5.5
    hover: Sequence[str] = ()


@dataclass(frozen=True)
class Segments:
    """Lines of one kind, (n, 2, 3) ends in Å, such as the jumps between two kinds of sites."""

    label: str
    ends_A: NDArray[np.float64]
    colour: str
    width: float
    dash: Dash = "solid"


@dataclass(frozen=True)
class Surface:
    """A view into a cell: surfaces of equal density, atoms, sites and lines between them.

    Attributes
    ----------
    cell_A
        Cell vectors as rows, (3, 3), in Å.
    markers
        Atoms and sites.
    segments
        Lines, such as the jumps between sites.
    volume
        The density whose surfaces the page draws.
    print_meshes
        The same surfaces for print: ``(vertices (n, 3) in Å, triangles (m, 3), colour, opacity)``.
    """

    cell_A: NDArray[np.float64]
    markers: Sequence[Markers]
    segments: Sequence[Segments] = ()
    volume: Volume | None = None
    print_meshes: Sequence[Mesh] = ()

    @property
    def legend(self) -> list[Series]:
        """What its parts look like, for the legend."""
        surfaces = () if self.volume is None else self.volume.levels
        return [
            *(Series((), (), each.label, "bars", each.colour, opacity=each.opacity) for each in surfaces),
            *(Series((), (), m.label, colour=m.colour, marker=m.marker, filled=m.filled) for m in self.markers),
            *(Series((), (), each.label, "line", each.colour, dash=each.dash) for each in self.segments),
        ]


@dataclass(frozen=True)
class Plot:
    """A figure of the report: one or several panels that share a legend.

    Attributes
    ----------
    key
        Name of its files and of its anchor on the page.
    caption
        What it shows and how to read it.
    files
        Paths, relative to the page, of files with its data.
    """

    key: str
    title: str
    caption: str
    panels: Sequence[Panel] = ()
    surface: Surface | None = None
    columns: int = 2
    height: int = 380
    files: Sequence[str] = ()


def parity_series(x: Sequence[float], y: Sequence[float], label: str) -> Series:
    """Return points that compare two calculations, smaller and paler if there are many."""
    size, opacity = (7.0, 0.8) if len(x) < 100 else (4.0, 0.55)
    return Series(x, y, label, colour=BLUE, size=size, opacity=opacity)


def xy(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the coordinates of points, for a series."""
    pairs = list(points)
    return [x for x, _ in pairs], [y for _, y in pairs]


def thin(n: int, most: int) -> list[int]:
    """Return at most `most` indices of ``range(n)``, evenly spread, with both ends."""
    if n <= most:
        return list(range(n))
    return sorted({round(index * (n - 1) / (most - 1)) for index in range(most)})


def thin_log(n: int, most: int) -> list[int]:
    """Return at most `most` indices of ``range(n)``, evenly spread on a logarithmic axis, with both ends."""
    if n <= most:
        return list(range(n))
    spread = np.geomspace(1, n, most)
    return sorted({round(position) - 1 for position in spread.tolist()})
