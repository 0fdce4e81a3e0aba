"""Surfaces of equal density in a cell of any shape, by marching tetrahedra.

Each box of the grid is cut into six tetrahedra around one diagonal; a surface crosses a tetrahedron in one triangle or
two, without the ambiguous cases of marching cubes (A. Doi and A. Koide, IEICE Trans. E74, 214 (1991)).
"""

from __future__ import annotations

from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

_MOST_POINTS_PER_AXIS: Final = 34


def coarsen(grid: NDArray[np.float64], most: int = _MOST_POINTS_PER_AXIS) -> NDArray[np.float64]:
    """Return `grid` (n1, n2, n3) averaged over neighbouring points, with at most `most` points along each axis."""
    coarse = np.asarray(grid, dtype=np.float64)
    for axis in range(3):
        length = coarse.shape[axis]
        if length > most:
            edges = np.unique(np.floor(np.arange(most) * length / most).astype(np.int64))
            widths = np.diff(np.append(edges, length))
            shape = [1, 1, 1]
            shape[axis] = len(widths)
            coarse = np.add.reduceat(coarse, edges, axis=axis) / widths.reshape(shape)
    return coarse


def enclosing_level(grid: NDArray[np.float64], share: float) -> float:
    """Return the density above which the grid points contain a `share` (0 to 1) of the total probability."""
    ordered = np.sort(np.asarray(grid, dtype=np.float64), axis=None)[::-1]
    total = float(ordered.sum())
    if total <= 0.0:
        return 0.0
    index = int(np.searchsorted(np.cumsum(ordered), share * total))
    return float(ordered[min(index, ordered.size - 1)])


def _tetrahedra() -> list[list[tuple[int, int, int]]]:
    """Return the corners of the six tetrahedra of a box, each a path from one end of its diagonal to the other."""
    out = []
    for order in permutations(range(3)):
        corner = [0, 0, 0]
        path = [(0, 0, 0)]
        for axis in order:
            corner[axis] = 1
            path.append((corner[0], corner[1], corner[2]))
        out.append(path)
    return out


def _triangles_of_case(inside: tuple[bool, ...]) -> list[tuple[tuple[int, int], ...]]:
    """Return the triangles of one pattern of corners inside; each corner of a triangle is an edge (inside, outside)."""
    ins = [corner for corner in range(4) if inside[corner]]
    outs = [corner for corner in range(4) if not inside[corner]]
    if len(ins) == 1:
        return [tuple((ins[0], out) for out in outs)]
    if len(ins) == 3:
        return [tuple((corner, outs[0]) for corner in ins)]
    if len(ins) == 2:
        (i, j), (k, m) = ins, outs
        return [((i, k), (i, m), (j, m)), ((i, k), (j, m), (j, k))]
    return []


def isosurface(
    grid: NDArray[np.float64], cell_A: NDArray[np.float64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the surface on which a periodic density has the value `level`.

    Parameters
    ----------
    grid
        Density on the points (i/n1, j/n2, k/n3) of the cell, shape (n1, n2, n3); periodic.
    cell_A
        Cell vectors as rows, (3, 3), in Å.
    level
        Value on the surface, in the unit of `grid`.

    Returns
    -------
    vertices, triangles
        Positions (n, 3) in Å and vertex numbers (m, 3); the triangles turn their front to the lower density. Both are
        empty if the density nowhere crosses `level`.
    """
    density = np.pad(np.asarray(grid, dtype=np.float64), ((0, 1), (0, 1), (0, 1)), mode="wrap")
    shape = np.array(density.shape)
    strides = np.array([shape[1] * shape[2], shape[2], 1], dtype=np.int64)
    flat = density.ravel()
    boxes = np.stack(np.meshgrid(*(np.arange(n - 1) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    origins = boxes @ strides
    pairs: list[NDArray[np.int64]] = []
    for path in _tetrahedra():
        corners = origins[:, None] + np.array(path, dtype=np.int64) @ strides
        inside = flat[corners] > level
        codes = inside @ np.array([1, 2, 4, 8])
        for code in range(1, 15):
            pattern = tuple(bool(code & (1 << corner)) for corner in range(4))
            crossed = corners[codes == code]
            for triangle in _triangles_of_case(pattern) if len(crossed) else []:
                edges = [np.stack([crossed[:, a], crossed[:, b]], axis=-1) for a, b in triangle]
                pairs.append(np.stack(edges, axis=1))
    if not pairs:
        return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
    crossed = np.concatenate(pairs)  # (m, 3 corners, 2 grid points: inside, outside)
    keys, triangles = np.unique(crossed.reshape(-1, 2), axis=0, return_inverse=True)
    triangles = triangles.reshape(-1, 3).astype(np.int64)
    inner, outer = flat[keys[:, 0]], flat[keys[:, 1]]
    share = ((inner - level) / (inner - outer))[:, None]
    cell = np.asarray(cell_A, dtype=np.float64)

    def place(points: NDArray[np.int64]) -> NDArray[np.float64]:
        index = np.stack(np.unravel_index(points, tuple(shape)), axis=-1)
        return np.asarray((index / (shape - 1)) @ cell, dtype=np.float64)

    start, end = place(keys[:, 0]), place(keys[:, 1])
    vertices = start + share * (end - start)
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    outward = (end - start)[triangles].sum(axis=1)
    turned = np.einsum("ij,ij->i", normals, outward) < 0.0
    triangles[turned] = triangles[turned][:, ::-1]
    areas = np.linalg.norm(normals, axis=1)
    return vertices, triangles[areas > 0.0]
