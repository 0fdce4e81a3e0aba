"""Networks that span the crystal: of the density grid above a level, and of jumps between sites.

A cluster *winds* along an axis if a walk within it returns to its starting point in another periodic image, displaced
along that axis: then it is infinite. This is exact for any cell, and unlike "touches both faces" it is not
fooled by a path that enters through one face and leaves through another (Newman and Ziff, Phys. Rev. E 64, 016706
(2001), on wrapping). A channel along [110] winds along a and b, in one dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.density.grid import Density
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

AXES = ("a", "b", "c")


@dataclass(frozen=True)
class MergeTree:
    """The clusters of a periodic grid as the level falls, from :func:`merge_tree`.

    Attributes
    ----------
    axis_levels
        (3,) highest level at which the grid above it winds along a, b, c; zero where it never does.
    dimension_levels
        (3,) highest level at which one cluster winds in one, two, three independent directions; zero where none does.
    peaks, saddles
        (n,) flat voxel of each peak that ends in a higher one, and of the saddle where that happens, by falling level.
    links
        (n, 8) for each: the voxels beside the saddle, in the ending cluster and in the other, and their cells.
    order
        Voxels above zero by falling value.
    """

    axis_levels: FloatArray
    dimension_levels: FloatArray
    peaks: IntArray
    saddles: IntArray
    links: IntArray
    order: IntArray


def merge_tree(grid: FloatArray) -> MergeTree:
    """Follow the clusters of a periodic grid (a, b, c) as the level falls; voxels touch in 26 directions.

    Raises
    ------
    AnalysisError
        For a grid with fewer than three points along an axis, or negative or infinite values.
    """
    from superionic.transport.sites.percolation_kernels import flood

    values = np.array(grid, dtype=np.float64)
    if values.ndim != 3 or min(values.shape) < 3:
        raise AnalysisError(f"A grid needs three points along each axis, not {values.shape}.")
    if not np.isfinite(values).all() or values.min() < 0.0:
        raise AnalysisError("A density must be finite and not negative.")
    flat = values.ravel()
    above = np.flatnonzero(flat)
    order = above[np.argsort(-flat[above], kind="stable")]
    axis_at, rank_at = np.full(3, -1, dtype=np.int64), np.full(3, -1, dtype=np.int64)
    merges = np.zeros((len(order), 10), dtype=np.int64)
    n_merges = flood(flat, order, np.array(values.shape, dtype=np.int64), axis_at, rank_at, merges)
    merges = merges[:n_merges]
    levels = [np.where(at >= 0, flat[at], 0.0) for at in (axis_at, rank_at)]
    links = np.concatenate([merges[:, 1:3], merges[:, 4:10]], axis=1)
    return MergeTree(levels[0], levels[1], merges[:, 0].copy(), merges[:, 3].copy(), links, order)


@dataclass(frozen=True)
class DensityPercolation:
    """The levels at which the density spans the crystal, and their free-energy barriers.

    Attributes
    ----------
    levels_per_A3
        Highest isovalue of P (∫P dV = 1) at which the surface spans a, b, c; zero where it never does.
    barriers_eV, barrier_errors_eV
        −k_B T ln(level/highest density), with its error; infinite where the density does not span the axis.
    dimension_barriers_eV
        The same for one, two and three independent directions.
    """

    temperature_K: float
    levels_per_A3: tuple[float, float, float]
    barriers_eV: tuple[float, float, float]
    barrier_errors_eV: tuple[float, float, float]
    dimension_barriers_eV: tuple[float, float, float]


def density_percolation(
    density: Density, temperature_K: float, *, smoothing_A: float = 0.2, with_errors: bool = True
) -> DensityPercolation:
    """Find the barriers at which the density spans the crystal.

    Parameters
    ----------
    density
        Density of the mobile ions.
    smoothing_A
        Width of the Gaussian that smooths the noise; its blur is removed to first order.
    with_errors
        Whether to estimate errors by a jackknife over eighths of the run, at nine times the cost.

    Notes
    -----
    The barrier is measured from the densest point to the lowest point of the best path, so it includes the difference
    in free energy between kinds of sites; it belongs to the one-ion density, averaged over the other ions. Noise makes
    the best path look better than it is, as the best of many is chosen. Compare the errors.
    """
    if temperature_K <= 0.0:
        raise AnalysisError(f"The temperature must be positive, not {temperature_K!r} K.")

    def barriers(grid: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        tree = merge_tree(grid)
        top = float(np.max(grid))
        with np.errstate(divide="ignore"):
            energies = [
                BOLTZMANN_EV_PER_K * temperature_K * np.log(top / levels)
                for levels in (tree.axis_levels, tree.dimension_levels)
            ]
        return tree.axis_levels, energies[0], energies[1]

    levels, by_axis, by_dimension = barriers(density.sharpened(smoothing_A))
    errors = np.full(3, np.inf)
    parts = density.jackknife() if with_errors else []
    if parts:
        spread = np.array([barriers(part.sharpened(smoothing_A))[1] for part in parts])
        n = len(parts)
        known = np.isfinite(spread).all(axis=0) & np.isfinite(by_axis)
        errors[known] = np.sqrt((n - 1) / n * np.square(spread[:, known] - spread[:, known].mean(axis=0)).sum(axis=0))
    return DensityPercolation(temperature_K, *(_three(x) for x in (levels, by_axis, errors, by_dimension)))


def _three(values: FloatArray) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))


@dataclass(frozen=True)
class Cluster:
    """A connected part of a network of sites.

    Attributes
    ----------
    sites
        Sites in it, by rising index.
    dimension
        0 for a cage, 1 for a channel, 2 for a layer, 3 for a framework.
    axes
        Axes along which it winds, of "a", "b", "c".
    windings
        ``dimension`` independent integer vectors: displacements, in cells, of closed walks within the cluster.
    """

    sites: tuple[int, ...]
    dimension: int
    axes: tuple[str, ...]
    windings: tuple[tuple[int, int, int], ...]


def network_clusters(n_sites: int, edges: IntArray) -> list[Cluster]:
    """Find the clusters of a periodic network, the largest dimension first, then the largest.

    Parameters
    ----------
    edges
        (n, 5) from, to, and the cell (three integers) of the end relative to the start.
    """
    from superionic.transport.sites.percolation_kernels import find_root, join_edges

    edges = np.array(edges, dtype=np.int64).reshape(-1, 5)
    if len(edges) and (edges[:, :2].min() < 0 or edges[:, :2].max() >= n_sites):
        raise AnalysisError(f"The edges of a network of {n_sites} sites must name sites below {n_sites}.")
    parent = np.arange(n_sites, dtype=np.int64)
    offset, basis = np.zeros((n_sites, 3), dtype=np.int64), np.zeros((n_sites, 3, 3), dtype=np.int64)
    size, rank, axes = (np.full(n_sites, start, dtype=np.int64) for start in (1, 0, 0))
    join_edges(edges, parent, offset, size, basis, rank, axes)
    members: dict[int, list[int]] = {}
    for site in range(n_sites):
        members.setdefault(int(find_root(parent, offset, site)), []).append(site)
    clusters = [
        Cluster(
            tuple(sites),
            int(rank[root]),
            tuple(name for bit, name in enumerate(AXES) if axes[root] & (1 << bit)),
            tuple((int(v[0]), int(v[1]), int(v[2])) for v in basis[root, : rank[root]]),
        )
        for root, sites in members.items()
    ]
    return sorted(clusters, key=lambda cluster: (-cluster.dimension, -len(cluster.sites), cluster.sites))


@dataclass(frozen=True)
class Span:
    """Network of a set of kinds of jumps.

    Attributes
    ----------
    kinds
        The kinds of jumps used.
    barrier_eV
        The highest barrier among them.
    dimension, axes
        Largest dimension of its clusters, and every axis along which one of them winds.
    """

    kinds: tuple[str, ...]
    barrier_eV: float
    dimension: int
    axes: tuple[str, ...]


def network_spans(
    n_sites: int, edges: IntArray, kinds: Sequence[str], barriers_eV: Sequence[float]
) -> tuple[list[Span], list[Span]]:
    """Find what each kind of jump spans alone, and what the kinds span together when added by rising barrier.

    Parameters
    ----------
    edges
        (n, 5) from, to, and cell of the end.
    kinds
        (n,) name of the kind of each edge, such as "4h–4h 3.6 Å".
    barriers_eV
        (n,) barrier of each edge; a kind has the median of its edges.

    Returns
    -------
    alone, together
        One :class:`Span` for each kind, by rising barrier.
    """
    edges = np.asarray(edges, dtype=np.int64).reshape(-1, 5)
    names = np.asarray(kinds, dtype=object)
    values = np.asarray(barriers_eV, dtype=np.float64)
    height = {name: float(np.median(values[names == name])) for name in dict.fromkeys(kinds)}
    ordered = sorted(height, key=lambda name: (height[name], name))

    def span(span_kinds: Sequence[str]) -> Span:
        used = np.isin(names.astype(str), list(span_kinds))
        clusters = network_clusters(n_sites, edges[used])
        axes = {axis for cluster in clusters for axis in cluster.axes}
        return Span(
            tuple(span_kinds),
            max(height[name] for name in span_kinds),
            max(cluster.dimension for cluster in clusters),
            tuple(axis for axis in AXES if axis in axes),
        )

    return [span([name]) for name in ordered], [span(ordered[: k + 1]) for k in range(len(ordered))]
