"""Similarity of the structures of two runs, from distributions of the distances between atoms of two elements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from superionic.potentials.neighbours import pairs_within

FloatArray = npt.NDArray[np.float64]

_MOST_FRAMES = 200


@dataclass(frozen=True)
class PairDistances:
    """Distribution of the distances between atoms of two elements, in two halves of a run.

    Attributes
    ----------
    pair
        Symbols, e.g. ``"Li-Cl"``.
    edges_A
        Edges of the bins, shape (n + 1,), in Å.
    counts
        Number of pairs in each bin, in the first and in the second half of the run, shape (2, n).
    g
        Radial distribution function of the whole run, shape (n,).
    neighbours
        Mean number of atoms of the second element within range of an atom of the first.
    closest_A
        Shortest distance in any frame; None if no two atoms are within range.
    """

    pair: str
    edges_A: FloatArray
    counts: FloatArray
    g: FloatArray
    neighbours: float
    closest_A: float | None

    @property
    def centres_A(self) -> FloatArray:
        """Centres of the bins."""
        middle: FloatArray = 0.5 * (self.edges_A[1:] + self.edges_A[:-1])
        return middle


def pair_distances(
    positions_A: FloatArray, cell_A: FloatArray, numbers: npt.ArrayLike, *, r_max_A: float = 6.0, bin_A: float = 0.1
) -> list[PairDistances]:
    """Count the pair distances of a run, or of other structures of the same atoms, for each pair of elements.

    Parameters
    ----------
    positions_A
        Shape (n_frames, n_atoms, 3), in Å; at most 200 frames, evenly spread, are used.
    cell_A
        Cell vectors as rows, in Å: shape (3, 3), or (n_frames, 3, 3) where frames have cells of their own.
    numbers
        Atomic numbers, shape (n_atoms,).
    r_max_A, bin_A
        Range and width of the bins.

    Returns
    -------
    list of PairDistances
        In order of atomic numbers.
    """
    from ase.data import chemical_symbols

    atomic = np.asarray(numbers, dtype=np.int64)
    n_bins = max(1, round(r_max_A / bin_A))
    edges = np.linspace(0.0, r_max_A, n_bins + 1)
    kinds = [(int(a), int(b)) for i, a in enumerate(np.unique(atomic)) for b in np.unique(atomic)[i:]]
    counts = {kind: np.zeros((2, n_bins)) for kind in kinds}
    closest = dict.fromkeys(kinds, math.inf)
    n_frames = len(positions_A)
    sampled = np.unique(np.linspace(0, n_frames - 1, min(n_frames, _MOST_FRAMES)).round().astype(int))
    for order, frame in enumerate(sampled):
        half = 0 if 2 * order < len(sampled) else 1
        cell = cell_A if cell_A.ndim == 2 else cell_A[frame]
        pairs = pairs_within(positions_A[frame], cell, np.ones(3, dtype=bool), r_max_A)
        # The distance between an atom and its own image is set by the cell in every run: it would feign agreement.
        others = pairs.centre != pairs.neighbour
        first, second = atomic[pairs.centre[others]], atomic[pairs.neighbour[others]]
        bins = np.minimum((pairs.distances_A[others] / r_max_A * n_bins).astype(int), n_bins - 1)
        for a, b in kinds:
            of_kind = (first == a) & (second == b)
            counts[a, b][half] += np.bincount(bins[of_kind], minlength=n_bins)[:n_bins]
            closest[a, b] = min(closest[a, b], float(pairs.distances_A[others][of_kind].min(initial=math.inf)))
    volumes = np.abs(np.linalg.det(cell_A))
    # Densities are averaged, not volumes.
    volume = float(volumes) if cell_A.ndim == 2 else 1.0 / float(np.mean(1.0 / volumes[sampled]))
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    distances = []
    for a, b in kinds:
        n_a, n_b = int(np.sum(atomic == a)), int(np.sum(atomic == b))
        ideal = len(sampled) * n_a * n_b / volume * shells
        distances.append(
            PairDistances(
                f"{chemical_symbols[a]}-{chemical_symbols[b]}",
                edges,
                counts[a, b],
                np.asarray(counts[a, b].sum(axis=0) / ideal),
                float(counts[a, b].sum()) / (len(sampled) * n_a),
                closest[a, b] if math.isfinite(closest[a, b]) else None,
            )
        )
    return distances


@dataclass(frozen=True)
class Overlap:
    """Overlap of two distributions of pair distances.

    Attributes
    ----------
    pair
        Symbols.
    overlap
        Common area of the two normalised distributions: 1 if they are equal, 0 if they are disjoint.
    noise
        Amount by which the overlap of two equivalent runs of this length would fall short of 1 by chance, from the
        difference between the halves of each run.
    """

    pair: str
    overlap: float
    noise: float


def distance_overlap(one: PairDistances, other: PairDistances) -> Overlap | None:
    """Compare the distances between two elements in two runs.

    With p and q the shares of distances in each bin, the overlap is Σ min(p, q) = 1 − Σ|p − q|/2. Two halves of one run
    differ by d; two whole runs would then differ by d/√2 by chance alone, if the halves are independent.

    Returns
    -------
    Overlap or None
        None if an atom has on average less than one such neighbour within range in both runs: atoms that occasionally
        cross the edge of the range prove nothing.
    """
    if max(one.neighbours, other.neighbours) < 1.0:
        return None
    p, q = _shares(one.counts.sum(axis=0)), _shares(other.counts.sum(axis=0))
    halves = [0.5 * float(np.abs(_shares(run.counts[0]) - _shares(run.counts[1])).sum()) for run in (one, other)]
    noise = math.sqrt(0.5 * (halves[0] ** 2 + halves[1] ** 2)) / math.sqrt(2.0)
    return Overlap(one.pair, float(np.minimum(p, q).sum()), noise)


def _shares(counts: FloatArray) -> FloatArray:
    total = float(counts.sum())
    shares: FloatArray = counts / total if total > 0.0 else np.zeros_like(counts)
    return shares
