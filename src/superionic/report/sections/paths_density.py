"""Figures of where the mobile ions are: surfaces of equal probability density, and projections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.isosurface import coarsen, enclosing_level, isosurface
from superionic.report.plots import BLUE, SKY, HeatMap, Mesh, Panel, Plot, Surface
from superionic.report.runs import NamedRuns, RunName
from superionic.report.words import number
from superionic.transport.density import smooth
from superionic.transport.density_map import DensityMap, FrameworkSite

FloatArray = NDArray[np.float64]

_MOST_MAPS: Final = 3
_OUTER_SHARE: Final = 0.9
_INNER_SHARE: Final = 0.5
_PRINT_POINTS_PER_AXIS: Final = 18
_AXES: Final = "abc"


@dataclass(frozen=True)
class NamedGrid:
    """A density map with its grid (a, b, c) in Å⁻³, ∫P = 1."""

    density: DensityMap
    grid: NDArray[Any]


def density_plots(ion: str, maps: NamedRuns[NamedGrid]) -> list[Plot]:
    """Draw density maps: the hottest of each structure, at most three."""
    return [_plot(ion, *each) for each in maps.hottest()[:_MOST_MAPS]]


def safe_name(label: str) -> str:
    """Return a name that can be that of a file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", label)


def framework_atoms(sites: tuple[FrameworkSite, ...]) -> list[tuple[str, FloatArray]]:
    """Return the places (n, 3) of each element of the framework."""
    symbols = sorted({site.symbol for site in sites})
    return [(symbol, np.array([site.position_A for site in sites if site.symbol == symbol])) for symbol in symbols]


def _plot(ion: str, name: RunName, item: NamedGrid) -> Plot:
    density = item.density
    cell = np.asarray(density.cell_A)
    grid = smooth(np.asarray(item.grid, dtype=np.float64), cell, density.smoothing_A)
    coarse = coarsen(grid)
    asked = density.isovalue_per_A3
    outer = asked if 0 < asked < float(coarse.max()) else enclosing_level(coarse, _OUTER_SHARE)
    inner = enclosing_level(coarse, _INNER_SHARE)
    levels = [(outer, SKY, 0.35)] + ([(inner, BLUE, 0.75)] if inner > outer else [])
    meshes = _meshes(coarse, cell, levels)
    print_meshes = _meshes(coarsen(grid, _PRINT_POINTS_PER_AXIS), cell, levels)
    held = float(coarse[coarse >= outer].sum() / coarse.sum())
    lengths = np.linalg.norm(cell, axis=1)
    shown = (
        f"Pale surface: {number(outer, 2)} Å⁻³, which encloses {100 * held:.0f} % of the probability; dark surface: "
        f"the densest {100 * _INNER_SHARE:.0f} %. "
        if len(meshes) > 1
        else f"Surface: {number(outer, 2)} Å⁻³, which encloses {100 * held:.0f} % of the probability. "
    )
    return Plot(
        f"density_{safe_name(name.label)}",
        f"Where {ion} is: {name.title}",
        f"Probability density of {ion} over the run (its integral over the cell is 1), with the framework as points. "
        + (f"Smoothed by {number(density.smoothing_A, 2)} Å. " if density.smoothing_A > 0.0 else "")
        + shown
        + "Connected surfaces are paths that ions took in this run; a path not seen may only be one not taken yet. "
        "The maps show the density integrated along each cell vector, in fractions of the other two.",
        [_projection(grid, axis, lengths) for axis in range(3)],
        Surface(meshes, print_meshes, framework_atoms(density.framework), cell),
        height=370,
    )


def _meshes(grid: FloatArray, cell: FloatArray, levels: list[tuple[float, str, float]]) -> list[Mesh]:
    meshes = []
    for level, colour, opacity in levels:
        vertices, triangles = isosurface(grid, cell, level)
        meshes.append((vertices, triangles, f"density {number(level, 2)} Å⁻³", colour, opacity))
    return meshes


def _projection(grid: FloatArray, axis: int, lengths: FloatArray) -> Panel:
    across, up = (other for other in range(3) if other != axis)
    coarse = coarsen(grid, 60)
    values = coarse.mean(axis=axis).T * lengths[axis]
    x = ((np.arange(values.shape[1]) + 0.5) / values.shape[1]).tolist()
    y = ((np.arange(values.shape[0]) + 0.5) / values.shape[0]).tolist()
    return Panel(
        x_label=f"along {_AXES[across]} (fraction of {lengths[across]:.2f} Å)",
        y_label=f"along {_AXES[up]} (fraction of {lengths[up]:.2f} Å)",
        title=f"Seen along {_AXES[axis]}",
        heat_map=HeatMap(x, y, values, "density (Å⁻²)"),
    )
