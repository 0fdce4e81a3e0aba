"""What the polyhedra of two neighbouring sites share: the face, edge or corner that a jump between them crosses.

The polyhedron of a site is made of the anions around it. Two polyhedra with three or more common anions share a face,
with two an edge, with one a corner (Pauling, J. Am. Chem. Soc. 51, 1010 (1929)).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from superionic.transport.sites.positions import SiteSet

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Sharing = Literal["face", "edge", "corner", "nothing"]

_REACH: Final = 1.6
"""Anions farther than this times the nearest one belong to no polyhedron of a site: the second shell of a regular
octahedron is at 1.73 times, of a tetrahedron at 1.91 times the first."""
_CUTOFF_A: Final = 6.0


def sharing_of(shared_anions: int) -> Sharing:
    """Return what two polyhedra with a number of common anions share."""
    names: tuple[Sharing, ...] = ("nothing", "corner", "edge", "face")
    return names[min(shared_anions, 3)]


def shared_anions(sites: SiteSet, rows: IntArray, anions_A: FloatArray) -> IntArray:
    """Count the anions that belong to the polyhedra of both ends of jumps.

    Parameters
    ----------
    sites
        Sites of the mobile ions.
    rows
        (n, 5) from, to, and cell of the end relative to the start.
    anions_A
        (m, 3) mean positions of the anions.

    Returns
    -------
    (n,) int
        Common anions of each pair of sites.
    """
    shells = anion_shells(sites, anions_A)
    return np.array(
        [
            len(shells[start] & {(anion, a + u, b + v, c + w) for anion, a, b, c in shells[end]})
            for start, end, u, v, w in np.asarray(rows).tolist()
        ],
        dtype=np.int64,
    ).reshape(-1)


def anion_shells(sites: SiteSet, anions_A: FloatArray) -> list[set[tuple[int, int, int, int]]]:
    """Return, for each site, its anions with their cells: those before the largest relative gap of distances.

    Parameters are those of :func:`shared_anions`. A site without an anion within 6 Å has none.
    """
    from scipy.spatial import cKDTree

    cell = np.asarray(sites.cell_A)
    fractional = np.asarray(anions_A, dtype=np.float64).reshape(-1, 3) @ np.linalg.inv(cell)
    floors, homes = np.floor(fractional).astype(np.int64), np.floor(sites.fractional).astype(np.int64)
    reach = np.ceil(_CUTOFF_A * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int)
    shifts = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))), dtype=np.int64)
    images = ((fractional - floors)[None] + shifts[:, None]).reshape(-1, 3)
    tree, places = cKDTree(images @ cell), (sites.fractional - homes) @ cell
    shells = []
    for place, home, near in zip(places, homes, tree.query_ball_point(places, _CUTOFF_A), strict=True):
        index = np.array(near, dtype=np.int64)
        distances = np.linalg.norm(images[index] @ cell - place, axis=1)
        order = np.argsort(distances, kind="stable")
        which, anion = np.divmod(index[order[: _shell_size(distances[order].tolist())]], len(fractional))
        cells = shifts[which] - floors[anion] + home
        shells.append({(k, a, b, c) for k, (a, b, c) in zip(anion.tolist(), cells.tolist(), strict=True)})
    return shells


def _shell_size(distances_A: Sequence[float]) -> int:
    """Return the number of anions before the largest relative gap of rising distances, within the reach."""
    if not distances_A:
        return 0
    within = [each for each in distances_A if each <= _REACH * distances_A[0]]
    closed = [*within, distances_A[len(within)] if len(within) < len(distances_A) else _CUTOFF_A]
    gaps = [after / before for before, after in itertools.pairwise(closed)]
    return int(np.argmax(gaps)) + 1
