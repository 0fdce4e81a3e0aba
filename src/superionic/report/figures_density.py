"""Figures of where the mobile ions are: surfaces of equal probability density, and projections."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.isosurface import coarsen, enclosing_level, isosurface
from superionic.report.plots import BLUE, SKY, HeatMap, Mesh, Panel, Plot, Surface
from superionic.report.values import Record, Results, numbers, real, records, text
from superionic.report.words import number
from superionic.transport.density import smooth

_MOST_MAPS: Final = 3
_OUTER_SHARE: Final = 0.9
_INNER_SHARE: Final = 0.5
_PRINT_POINTS_PER_AXIS: Final = 18
_AXES: Final = "abc"


def density_plots(results: Results, arrays: Mapping[str, NDArray[Any]]) -> list[Plot]:
    """Return figures of the density maps whose grids are at hand: the hottest of each ordering, at most three."""
    found = [item for item in results.records("analyse", "densities") if _grid(item, arrays) is not None]
    hottest: dict[str, Record] = {}
    for item in found:
        rival = hottest.get(text(item, "id"))
        if rival is None or (real(item, "temperature_K") or 0.0) > (real(rival, "temperature_K") or 0.0):
            hottest[text(item, "id")] = item
    plots = []
    for item in list(hottest.values())[:_MOST_MAPS]:
        grid = _grid(item, arrays)
        cell = _cell(item)
        if grid is not None and cell is not None:
            plots.append(_plot(item, grid, cell, results))
    return plots


def maps_without_grid(results: Results, arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return the runs whose density map is named in the results but whose grid is not at hand."""
    return [text(item, "run") for item in results.records("analyse", "densities") if _grid(item, arrays) is None]


def _grid(item: Record, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float64] | None:
    found = arrays.get(text(item, "array"))
    if found is None or np.ndim(found) != 3 or min(np.shape(found)) < 2:
        return None
    grid = np.asarray(found, dtype=np.float64)
    return grid if bool(np.isfinite(grid).all()) and float(grid.max()) > 0 else None


def _cell(item: Record) -> NDArray[np.float64] | None:
    rows = item.get("cell_A")
    cell = np.array(rows, dtype=np.float64) if isinstance(rows, list) else np.zeros(0)
    return cell if cell.shape == (3, 3) and abs(float(np.linalg.det(cell))) > 1e-9 else None


def _framework(item: Record) -> list[tuple[str, NDArray[np.float64]]]:
    groups: dict[str, list[list[float]]] = {}
    for atom in records(item, "framework"):
        place = [value for value in numbers(atom, "position_A") if value is not None]
        if len(place) == 3:
            groups.setdefault(text(atom, "symbol"), []).append(place)
    return [(symbol, np.array(groups[symbol])) for symbol in sorted(groups)]


def _plot(item: Record, grid: NDArray[np.float64], cell: NDArray[np.float64], results: Results) -> Plot:
    smoothing = real(item, "smoothing_A") or 0.0
    grid = smooth(grid, cell, smoothing)
    coarse = coarsen(grid)
    asked = real(item, "isovalue_per_A3")
    outer = asked if asked is not None and 0 < asked < float(coarse.max()) else enclosing_level(coarse, _OUTER_SHARE)
    inner = enclosing_level(coarse, _INNER_SHARE)
    levels = [(outer, SKY, 0.35)] + ([(inner, BLUE, 0.75)] if inner > outer else [])
    meshes = _meshes(coarse, cell, levels)
    print_meshes = _meshes(coarsen(grid, _PRINT_POINTS_PER_AXIS), cell, levels)
    held = float(coarse[coarse >= outer].sum() / coarse.sum())
    lengths = np.linalg.norm(cell, axis=1)
    panels = [_projection(grid, axis, lengths) for axis in range(3)]
    name = results.labels_by_id().get(text(item, "id"), text(item, "id"))
    temperature = real(item, "temperature_K")
    at = f" at {temperature:g} K" if temperature is not None else ""
    ion = text(results.stage("analyse"), "mobile_ion") or "the mobile ion"
    shown = (
        f"Pale surface: {number(outer, 2)} Å⁻³, which encloses {100 * held:.0f} % of the "
        "probability; dark surface: the densest "
        f"{100 * _INNER_SHARE:.0f} %. "
        if len(meshes) > 1
        else f"Surface: {number(outer, 2)} Å⁻³, which encloses {100 * held:.0f} % of the probability. "
    )
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", text(item, "run") or text(item, "id"))
    return Plot(
        f"density_{safe}",
        "density",
        f"Where {ion} is: {name}{at}",
        f"Probability density of {ion} over the run (its integral over the cell is 1), with the framework as points. "
        + (f"Smoothed by {number(smoothing, 2)} Å. " if smoothing > 0.0 else "")
        + shown
        + "Connected surfaces are paths that ions took in this run; a path not seen may only be one not taken yet. "
        "The maps show the density integrated along each cell vector, in fractions of the other two.",
        panels,
        Surface(meshes, print_meshes, _framework(item), cell),
        columns=2,
        height=370,
    )


def _meshes(grid: NDArray[np.float64], cell: NDArray[np.float64], levels: list[tuple[float, str, float]]) -> list[Mesh]:
    meshes = []
    for level, colour, opacity in levels:
        vertices, triangles = isosurface(grid, cell, level)
        meshes.append((vertices, triangles, f"density {number(level, 2)} Å⁻³", colour, opacity))
    return meshes


def _projection(grid: NDArray[np.float64], axis: int, lengths: NDArray[np.float64]) -> Panel:
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
