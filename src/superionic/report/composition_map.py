"""Compositions on two axes as a map: a triangle or a square, with a ring at each composition."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.composition_axes import Point
from superionic.report.plots import GREY, WHITE, HeatMap, Series

Place = tuple[float, float]
"""Position of a composition on a map, with both coordinates between 0 and 1."""

RING_RADIUS: Final = 0.047
RING: Final = "#6b7280"  # legible on a light and on a dark page
_RING_STEPS: Final = 40
_CELLS: Final = 181
_DIGITS: Final = 4


@dataclass(frozen=True)
class CompositionMap:
    """Compositions on two axes, laid out for a figure: in a triangle if the grid has three corners, else in a square.

    Attributes
    ----------
    places
        Position of each composition.
    corners
        The compositions that enclose all others, counter-clockwise.
    """

    places: Mapping[Point, Place]
    corners: tuple[Point, ...]

    @property
    def ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ranges of both axes, with room for rings and names."""
        return (-0.17, 1.17), (-0.17, max(y for _, y in self.places.values()) + 0.17)

    @property
    def outline(self) -> Series:
        """The border, interrupted by the rings on it."""
        x: list[float | None] = []
        y: list[float | None] = []
        for first, last in zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True):
            start, end = np.array(self.places[first]), np.array(self.places[last])
            length = float(np.linalg.norm(end - start))
            along = (end - start) / length
            offsets = [np.array(place) - start for place in self.places.values()]
            stops = sorted(float(o @ along) for o in offsets if abs(along[0] * o[1] - along[1] * o[0]) < 1e-6)
            for here, there in itertools.pairwise(stops):
                for stop in (here + RING_RADIUS, there - RING_RADIUS):
                    x.append(float(start[0] + stop * along[0]))
                    y.append(float(start[1] + stop * along[1]))
                x.append(None)
                y.append(None)
        return Series(x, y, "", "line", GREY, width=1.2, legend=False)

    def beside(self, corner: Point, gap: float = 0.1) -> Place:
        """Return a position outside the border for the name of a corner."""
        x, y = self.places[corner]
        low, high = (f(place[1] for place in self.places.values()) for f in (min, max))
        return x, y - gap if y < 0.5 * (low + high) else y + gap


def composition_map(points: Sequence[Point]) -> CompositionMap | None:
    """Lay out compositions on two axes in the plane; None if they lie on one line.

    Three corners make an equilateral triangle, whose sides are pseudo-binary systems; other shapes are
    drawn over both axes, each from its lowest to its highest value.
    """
    distinct = sorted(set(points))
    corners = _convex_corners(distinct)
    if len(corners) < 3:
        return None
    if len(corners) == 3:
        start = corners.index(min(corners, key=lambda corner: (corner[1], corner[0])))
        corners = [*corners[start:], *corners[:start]]
        triangle = np.array([(0.0, 0.0), (1.0, 0.0), (0.5, math.sqrt(3) / 2)])
        places = _barycentric(np.array(distinct), np.array(corners)) @ triangle
    else:
        values = np.array(distinct)
        low, high = values.min(axis=0), values.max(axis=0)
        places = (values - low) / (high - low)
    return CompositionMap(
        {point: (float(x), float(y)) for point, (x, y) in zip(distinct, places, strict=True)}, tuple(corners)
    )


def _barycentric(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the barycentric coordinates (n, 3) of (n, 2) points with respect to three corners."""
    matrix = np.vstack([corners.T, np.ones(3)])
    shares: NDArray[np.float64] = np.linalg.solve(matrix, np.vstack([points.T, np.ones(len(points))])).T
    return shares


def _convex_corners(points: Sequence[Point]) -> list[Point]:
    """Return the corners of the convex hull of sorted points, counter-clockwise (Andrew's monotone chain)."""

    def half(ordered: Sequence[Point]) -> list[Point]:
        chain: list[Point] = []
        for point in ordered:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 1e-9:
                chain.pop()
            chain.append(point)
        return chain

    lower, upper = half(points), half(points[::-1])
    return lower[:-1] + upper[:-1]


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def rings(places: Mapping[Point, Place], stable: Mapping[Point, bool], *, on_colours: bool) -> list[Series]:
    """Draw a ring around each composition: solid on the hull, dashed above it.

    Parameters
    ----------
    places
        Position of each composition.
    stable
        Whether each is on the hull.
    on_colours
        Whether the rings are drawn on a colour map, where a white line beneath makes them legible.
    """
    series = []
    if on_colours:
        x, y = _circles([places[point] for point in stable])
        series.append(Series(x, y, "", "line", WHITE, width=6.0, legend=False))
    for on_hull, words in ((True, "on the hull (stable at 0 K)"), (False, "above the hull")):
        x, y = _circles([places[point] for point in stable if stable[point] is on_hull])
        if x:
            series.append(Series(x, y, words, "line", RING, dash="solid" if on_hull else "dot", width=2.2))
    return series


def _circles(places: Sequence[Place]) -> tuple[list[float | None], list[float | None]]:
    """Return one line with gaps that circles all positions."""
    x: list[float | None] = []
    y: list[float | None] = []
    for x_at, y_at in places:
        angles = [2 * math.pi * step / _RING_STEPS for step in range(_RING_STEPS + 1)]
        x += [*(x_at + RING_RADIUS * math.cos(angle) for angle in angles), None]
        y += [*(y_at + RING_RADIUS * math.sin(angle) for angle in angles), None]
    return x, y


def interpolated(places: Sequence[Place], values: Sequence[float], label: str) -> HeatMap:
    """Interpolate values linearly in the Delaunay triangles between positions; NaN outside."""
    from scipy.interpolate import LinearNDInterpolator

    corners = np.array(places)
    low, high = corners.min(axis=0), corners.max(axis=0)
    x = np.linspace(low[0], high[0], _CELLS)
    y = np.linspace(low[1], high[1], _CELLS)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    between = np.asarray(LinearNDInterpolator(corners, np.array(values))(grid), dtype=np.float64)
    # Digits that colours cannot show would only make the page larger.
    largest = max(abs(value) for value in values)
    decimals = _DIGITS - 1 - math.floor(math.log10(largest)) if largest > 0 else 0
    return HeatMap(x.tolist(), y.tolist(), np.round(between, decimals), label, colour_bar="bottom")
