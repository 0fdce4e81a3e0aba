"""Sites of the mobile ions, from a known crystal or from maxima of the density."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.density.grid import Density
from superionic.transport.sites.percolation import merge_tree

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SiteSet:
    """Sites in a cell.

    Parameters
    ----------
    fractional
        (n, 3) fractional coordinates; they may lie outside the cell.
    labels
        Kind of each site: a Wyckoff label of the crystal ("4h"), or "i1", "i2", … for interstitials.
    cell_A
        (3, 3) cell, rows are vectors.

    Raises
    ------
    AnalysisError
        If there are no sites, the numbers of sites and labels differ, or two sites lie within 0.1 Å.
    """

    fractional: FloatArray
    labels: tuple[str, ...]
    cell_A: FloatArray

    def __post_init__(self) -> None:
        for field in ("fractional", "cell_A"):
            array = np.array(getattr(self, field), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, field, array)
        if self.fractional.ndim != 2 or self.fractional.shape[1:] != (3,) or len(self.fractional) == 0:
            raise AnalysisError(f"Sites must have the shape (sites, 3), not {self.fractional.shape}.")
        if len(self.labels) != len(self.fractional):
            raise AnalysisError(f"{len(self.fractional)} sites have {len(self.labels)} labels.")
        if self.cell_A.shape != (3, 3) or abs(np.linalg.det(self.cell_A)) < 1e-9:
            raise AnalysisError("The cell has no volume.")
        if len(self.fractional) > 1 and float(self.nearest_distances_A.min()) < 0.1:
            raise AnalysisError(
                "Two sites lie within 0.1 Å.", fix="Give one site for each place, or merge split sites first."
            )

    def __len__(self) -> int:
        return len(self.fractional)

    @property
    def positions_A(self) -> FloatArray:
        """(n, 3) Cartesian positions."""
        return np.asarray(self.fractional @ self.cell_A)

    @property
    def nearest_distances_A(self) -> FloatArray:
        """(n,) distance of each site to the nearest site, including its own images."""
        points, _, _ = images_around(self.fractional, self.cell_A)
        from scipy.spatial import cKDTree

        distances, _ = cKDTree(points).query(self.positions_A - np.floor(self.fractional) @ self.cell_A, k=2)
        return np.asarray(distances[:, 1])

    @property
    def kinds(self) -> dict[str, IntArray]:
        """Sites of each label, in the order of first appearance."""
        names = np.asarray(self.labels, dtype=object)
        return {name: np.flatnonzero(names == name) for name in dict.fromkeys(self.labels)}

    def shifted(self, shift_A: FloatArray) -> SiteSet:
        """Return all sites moved by the displacement of the mean framework from that of the crystal."""
        return SiteSet(self.fractional + np.asarray(shift_A) @ np.linalg.inv(self.cell_A), self.labels, self.cell_A)

    def apart(self, other: SiteSet, *, closest_A: float = 1.0) -> IntArray:
        """Return the indices of the sites of ``other`` that lie at least ``closest_A`` from all of these."""
        points, _, _ = images_around(self.fractional, self.cell_A)
        from scipy.spatial import cKDTree

        wrapped = other.fractional - np.floor(other.fractional)
        distances, _ = cKDTree(points).query(wrapped @ self.cell_A)
        return np.flatnonzero(distances >= closest_A)

    def joined(self, other: SiteSet, *, closest_A: float = 1.0) -> SiteSet:
        """Return these sites and those of ``other`` that lie at least ``closest_A`` from all of these."""
        far = self.apart(other, closest_A=closest_A)
        return SiteSet(
            np.concatenate([self.fractional, other.fractional[far]]),
            (*self.labels, *(other.labels[k] for k in far)),
            self.cell_A,
        )


def images_around(fractional: FloatArray, cell_A: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
    """Return all images of sites that may be the nearest, or second nearest, to some point of the home cell.

    Returns
    -------
    points, sites, cells
        (m, 3) Cartesian positions in Å; (m,) the site of each; (m, 3) its cell, so that position = (x + cell) @ cell_A.
    """
    # no point is farther from an image of a site than half the sum of the edges; the next image is one edge away
    lengths = np.linalg.norm(cell_A, axis=1)
    reach = 0.5 * lengths.sum() + lengths.min()
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell_A), axis=0)
    floors = np.floor(fractional).astype(np.int64)
    home = fractional - floors
    spans = [range(-math.ceil(reach / h) - 1, math.ceil(reach / h) + 2) for h in heights]
    shifts = np.array(list(itertools.product(*spans)), dtype=np.int64)
    places = home[None, :, :] + shifts[:, None, :]
    margin = reach / heights
    near = ((places > -margin) & (places < 1.0 + margin)).all(axis=2)
    which = np.nonzero(near)
    return places[near] @ cell_A, which[1], shifts[which[0]] - floors[which[1]]


def sites_in_supercell(
    fractional: FloatArray, labels: Sequence[str], matrix: IntArray, parent_cell_A: FloatArray
) -> SiteSet:
    """Repeat the sites of a parent cell in the supercell whose vectors are ``matrix`` @ ``parent_cell_A``.

    The supercell keeps the parent's origin; copies of one site are consecutive.
    """
    matrix = np.asarray(matrix, dtype=np.int64)
    multiplicity = abs(round(float(np.linalg.det(matrix))))
    if multiplicity == 0:
        raise AnalysisError("The supercell has no volume.")
    corners = np.array(list(itertools.product((0, 1), repeat=3))) @ matrix
    grid = [range(low, high + 1) for low, high in zip(corners.min(axis=0) - 1, corners.max(axis=0) + 1, strict=True)]
    vectors = np.array(list(itertools.product(*grid)), dtype=np.int64)
    inside = vectors @ np.linalg.inv(matrix)
    vectors = vectors[((inside > -1e-9) & (inside < 1.0 - 1e-9)).all(axis=1)]
    places = (np.asarray(fractional)[:, None, :] + vectors[None, :, :]).reshape(-1, 3) @ np.linalg.inv(matrix)
    names = tuple(label for label in labels for _ in range(multiplicity))
    supercell = np.asarray(matrix @ np.asarray(parent_cell_A), dtype=np.float64)
    return SiteSet(places - np.floor(places + 1e-9), names, supercell)


def operations_in_supercell(
    rotations: IntArray, translations: FloatArray, matrix: IntArray
) -> tuple[IntArray, FloatArray]:
    """Express operations x → R x + t of a parent in the supercell ``matrix``, the parent's translations included.

    Operations that are no symmetry of the supercell's lattice are left out. Returns rotations (n, 3, 3), translations
    (n, 3).
    """
    matrix = np.asarray(matrix, dtype=np.int64)
    inverse = np.linalg.inv(matrix)
    cosets = sites_in_supercell(np.zeros((1, 3)), ["o"], matrix, np.eye(3)).fractional
    operations: list[tuple[IntArray, FloatArray]] = []
    for rotation, translation in zip(np.asarray(rotations), np.asarray(translations), strict=True):
        # rows are vectors here: x_parent = x_super @ matrix
        transformed = matrix @ rotation.T @ inverse
        whole = np.rint(transformed)
        if np.abs(transformed - whole).max() < 1e-6:
            moved = translation @ inverse + cosets
            operations += [(whole.T.astype(np.int64), t - np.floor(t)) for t in moved]
    return np.array([r for r, _ in operations]), np.array([t for _, t in operations])


@dataclass(frozen=True, eq=False)
class Basins:
    """The basins of attraction of the maxima of a density.

    Attributes
    ----------
    sites
        One site for each basin, at the centre of its denser half, by falling occupancy.
    occupancies
        (n,) mean number of ions in each basin.
    peaks_per_A3
        (n,) highest probability density of each.
    labels
        (a, b, c) basin of each voxel, −1 where the density is zero.
    edges
        (m, 5) pairs of adjacent basins, and the cell of the second relative to the first.
    saddles_per_A3
        (m,) highest density on the boundary of each pair.
    spreads_A2
        (n, 3, 3) covariance of the positions within each basin.
    """

    sites: SiteSet
    occupancies: FloatArray
    peaks_per_A3: FloatArray
    labels: IntArray
    edges: IntArray
    saddles_per_A3: FloatArray
    spreads_A2: FloatArray


def density_basins(
    density: Density,
    *,
    smoothing_A: float = 0.25,
    persistence: float = 1.0,
    sigmas: float = 3.0,
    fewest_ions: float = 0.002,
) -> Basins:
    """Find the maxima of the density and the basins around them.

    A maximum counts if it rises above the highest saddle to a higher maximum by ``persistence`` in ln P (in k_BT) and
    by ``sigmas`` times the noise of both; if not, its basin joins the one across that saddle (topological persistence,
    Edelsbrunner, Letscher and Zomorodian, Discrete Comput. Geom. 28, 511 (2002)). Basins with fewer than
    ``fewest_ions`` ions on average are left out.

    Raises
    ------
    AnalysisError
        If nothing rises above the noise.
    """
    from superionic.transport.sites.percolation_kernels import climb

    grid = density.smoothed(smoothing_A)
    # below a tenth of a visit there are only tails of the Gaussian
    grid[grid < 0.1 * density.one_visit_per_A3(smoothing_A)] = 0.0
    tree = merge_tree(grid)
    shape = np.array(grid.shape, dtype=np.int64)
    flat = grid.ravel()
    label, cell = np.full(flat.size, -1, dtype=np.int64), np.zeros((flat.size, 3), dtype=np.int64)
    climb(flat, tree.order, shape, label, cell)
    per_visit = density.correlated_visits * density.one_visit_per_A3(smoothing_A)
    peak, saddle = flat[tree.peaks], flat[tree.saddles]
    height = np.log(peak / saddle)
    noise = np.sqrt(per_visit / peak + per_visit / saddle)
    label, cell = _join_basins(label, cell, tree.links[height < np.maximum(persistence, sigmas * noise)])
    ions = flat * density.voxel_volume_A3 * density.n_ions
    rep, inverse = np.unique(label[tree.order], return_inverse=True)
    number = np.full(flat.size, -1, dtype=np.int64)
    number[tree.order] = inverse
    held = np.bincount(inverse, weights=ions[tree.order], minlength=len(rep))
    enough = held >= fewest_ions
    if not enough.any():
        raise AnalysisError("No place holds enough ions to be a site.", fix="Analyse a longer run.")
    rank = np.full(len(rep), -1, dtype=np.int64)
    order = np.argsort(-held, kind="stable")
    rank[order[enough[order]]] = np.arange(int(enough.sum()))
    number = np.where(number >= 0, rank[number], -1).astype(np.int64)
    centres, spreads, peaks = _centres(number, cell, flat, density.cell_A, grid.shape)
    pairs, saddles = _boundaries(number, cell, flat, grid.shape)
    base = np.floor(centres).astype(np.int64)
    # cells so far are relative to that of the peak; from here on to the site, which is wrapped into the cell
    pairs[:, 2:] += base[pairs[:, 1]] - base[pairs[:, 0]]
    sites = SiteSet(centres - base, tuple(f"i{k + 1}" for k in range(len(centres))), density.cell_A)
    occupied = np.asarray(held[order[enough[order]]], dtype=np.float64)
    return Basins(sites, occupied, peaks, number.reshape(grid.shape), pairs, saddles, spreads)


def _join_basins(label: IntArray, cell: IntArray, links: IntArray) -> tuple[IntArray, IntArray]:
    """Join basins across ``links``; every basin gets the label of one peak, and cells are relative to it."""
    from superionic.transport.sites.percolation_kernels import find_root, join_edges

    peaks = np.unique(label[label >= 0])
    index = np.full(len(label), -1, dtype=np.int64)
    index[peaks] = np.arange(len(peaks))
    u, w = links[:, 0], links[:, 1]
    shift = (links[:, 5:8] - cell[w]) - (links[:, 2:5] - cell[u])
    edges = np.column_stack([index[label[u]], index[label[w]], shift]).astype(np.int64)
    n = len(peaks)
    parent, offset = np.arange(n, dtype=np.int64), np.zeros((n, 3), dtype=np.int64)
    size, rank, axes = (np.full(n, start, dtype=np.int64) for start in (1, 0, 0))
    join_edges(np.ascontiguousarray(edges), parent, offset, size, np.zeros((n, 3, 3), dtype=np.int64), rank, axes)
    root = np.array([find_root(parent, offset, k) for k in range(n)], dtype=np.int64)
    known = label >= 0
    mine = index[label[known]]
    new_label, new_cell = label.copy(), cell.copy()
    new_label[known] = peaks[root[mine]]
    new_cell[known] += offset[mine]
    return new_label, new_cell


def _centres(
    number: IntArray, cell: IntArray, flat: FloatArray, cell_A: FloatArray, shape: tuple[int, ...]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the centre of the denser half (at least half the peak), covariance and peak of each basin."""
    n = int(number.max()) + 1
    peaks = np.zeros(n)
    inside = np.flatnonzero(number >= 0)
    np.maximum.at(peaks, number[inside], flat[inside])
    places = (np.stack(np.unravel_index(inside, shape), axis=1) + 0.5) / np.array(shape) + cell[inside]
    which, weights = number[inside], flat[inside]
    dense = weights >= 0.5 * peaks[which]

    def mean(values: FloatArray, voxels: NDArray[np.bool_]) -> FloatArray:
        total = np.bincount(which[voxels], weights[voxels], n)
        return np.asarray(np.bincount(which[voxels], weights[voxels] * values[voxels], n) / total)

    centres = np.stack([mean(places[:, k], dense) for k in range(3)], axis=1)
    everything = np.ones(len(which), dtype=bool)
    middle = np.stack([mean(places[:, k], everything) for k in range(3)], axis=1)
    off = (places - middle[which]) @ cell_A
    spreads = np.stack([mean(off[:, i] * off[:, j], everything) for i in range(3) for j in range(3)], axis=1)
    return centres, spreads.reshape(n, 3, 3), peaks


def _boundaries(
    number: IntArray, cell: IntArray, flat: FloatArray, shape: tuple[int, ...]
) -> tuple[IntArray, FloatArray]:
    """Find the pairs of adjacent basins, with the cell of the second, and the highest density between them."""
    index = np.arange(len(flat)).reshape(shape)
    grid = np.stack(np.unravel_index(np.arange(len(flat)), shape), axis=1)
    half = [step for step in itertools.product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]
    rows, levels = [], []
    for step in half:
        other = np.roll(index, tuple(-s for s in step), axis=(0, 1, 2)).ravel()
        crossed = np.floor_divide(grid + np.array(step), np.array(shape))
        # origin of the second basin relative to the first's, from the cells of both voxels
        relative_cell = crossed + cell[index.ravel()] - cell[other]
        differ = (number >= 0) & (number[other] >= 0) & ((number != number[other]) | (relative_cell != 0).any(axis=1))
        rows.append(np.column_stack([number[differ], number[other[differ]], relative_cell[differ]]))
        levels.append(np.minimum(flat[differ], flat[other[differ]]))
    pairs, heights = np.concatenate(rows), np.concatenate(levels)
    # each pair once: from the lower number to the higher; an image of itself in the direction of the first sign
    first_sign = np.array([next((v for v in row if v), 0) for row in pairs[:, 2:]], dtype=np.int64).reshape(-1)
    turn = (pairs[:, 0] > pairs[:, 1]) | ((pairs[:, 0] == pairs[:, 1]) & (first_sign < 0))
    pairs[turn] = np.column_stack([pairs[turn][:, 1], pairs[turn][:, 0], -pairs[turn][:, 2:]])
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    best = np.zeros(len(unique))
    np.maximum.at(best, inverse.ravel(), heights)
    return unique, best


def merge_by_symmetry(
    sites: SiteSet,
    occupancies: FloatArray,
    rotations: IntArray,
    translations: FloatArray,
    *,
    tolerance_A: float = 0.8,
    complete: bool = False,
) -> tuple[SiteSet, FloatArray]:
    """Give symmetry-equivalent sites one label, and average their positions over the symmetry.

    Parameters
    ----------
    sites, occupancies
        Sites found in a density, and their mean numbers of ions.
    rotations, translations
        (n_ops, 3, 3) and (n_ops, 3) operations of the average crystal in this cell (:func:`operations_in_supercell`).
    tolerance_A
        Sites that an operation brings within this distance are equivalent.
    complete
        Whether to add equivalent positions without a site, with the occupancy 0.

    Returns
    -------
    sites, occupancies
        Labels are "i1", "i2", …, by falling mean occupancy of the orbit; each position is the mean over all
        operations of the images of its equivalents.
    """
    x, cell = np.asarray(sites.fractional), np.asarray(sites.cell_A)
    points, which, cells = images_around(x, cell)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    nearest = cKDTree(points)
    n = len(x)
    total, count, links = np.zeros_like(x), np.zeros(n), np.zeros((n, n), dtype=bool)
    lone: list[tuple[FloatArray, int]] = []
    for rotation, translation in zip(rotations, translations, strict=True):
        moved = x @ np.asarray(rotation).T + translation
        moved -= np.floor(moved)
        distance, image = nearest.query(moved @ cell)
        near = distance <= tolerance_A
        to = which[image[near]]
        np.add.at(total, to, moved[near] - cells[image[near]])
        np.add.at(count, to, 1)
        links[np.flatnonzero(near), to] = True
        if complete:
            lone += [(moved[i], int(i)) for i in np.flatnonzero(~near)]
    _, component = connected_components(coo_array(links), directed=False)
    first = np.full(n, n, dtype=np.int64)
    np.minimum.at(first, component, np.arange(n))
    orbit = first[component]
    places = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], x)
    held = np.asarray(occupancies, dtype=np.float64)
    if complete and lone:
        for place, i in lone:
            off = place - places
            if np.linalg.norm((off - np.rint(off)) @ cell, axis=1).min() > tolerance_A:
                places, held, orbit = np.vstack([places, place]), np.append(held, 0.0), np.append(orbit, orbit[i])
    mean = {k: float(held[orbit == k].mean()) for k in dict.fromkeys(orbit.tolist())}
    names = {k: f"i{n + 1}" for n, k in enumerate(sorted(mean, key=lambda k: (-mean[k], k)))}
    labels = tuple(names[int(k)] for k in orbit)
    return SiteSet(places - np.floor(places), labels, cell), held
