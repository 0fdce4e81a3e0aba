"""Van Hove correlation functions: where an ion is after a time, and where the other ions are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.diffusion.gaussianity import LaggedFrames

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class VanHove:
    """G_s(r, t) and G_d(r, t) of one kind of ions (van Hove, Phys. Rev. 95, 249 (1954)).

    Attributes
    ----------
    lags_ps
        (n_lags,) times.
    edges_A
        (n_bins + 1,) edges of the bins of r.
    self_per_A3
        (n_lags, n_bins) density of an ion at distance r from its earlier position; ∫4πr² G_s dr = 1 less ``beyond``.
    beyond
        (n_lags,) share of displacements longer than the last edge.
    distinct_edges_A
        (m + 1,) edges for G_d, up to the radius of the sphere that fits into the cell, beyond which images overlap.
    distinct_per_A3
        (n_lags, m) density of the other ions at distance r from the ion's earlier position; tends to (N − 1)/V.
    mean_density_per_A3
        (N − 1)/V.
    n_origins
        (n_lags,) time origins behind each.
    """

    lags_ps: FloatArray
    edges_A: FloatArray
    self_per_A3: FloatArray
    beyond: FloatArray
    distinct_edges_A: FloatArray
    distinct_per_A3: FloatArray
    mean_density_per_A3: float
    n_origins: IntArray

    @property
    def radial_self_per_A(self) -> FloatArray:
        """(n_lags, n_bins) probability 4πr² G_s of a displacement of length r; its integral is 1 less ``beyond``."""
        return np.asarray(self.self_per_A3 * shell_volumes(self.edges_A) / np.diff(self.edges_A))

    @property
    def distinct_over_mean(self) -> FloatArray:
        """(n_lags, m) G_d over the mean density."""
        return np.asarray(self.distinct_per_A3 / max(self.mean_density_per_A3, 1e-12))

    @property
    def r_A(self) -> FloatArray:
        """(n_bins,) middles of the bins of G_s."""
        return np.asarray(0.5 * (self.edges_A[1:] + self.edges_A[:-1]))

    @property
    def distinct_r_A(self) -> FloatArray:
        """(m,) middles of the bins of G_d."""
        return np.asarray(0.5 * (self.distinct_edges_A[1:] + self.distinct_edges_A[:-1]))


def shell_volumes(edges_A: FloatArray) -> FloatArray:
    """Return the volumes of the shells between radii."""
    return np.asarray(4.0 / 3.0 * np.pi * np.diff(np.power(edges_A, 3)))


def insphere_radius(cell_A: FloatArray) -> float:
    """Return the radius of the largest sphere in a cell: half the least distance between opposite faces, in Å.

    A vector shorter than that has fractional coordinates within ±1/2, so rounding identifies it among its images in any
    cell; beyond it, shells are truncated or counted twice.
    """
    return float(0.5 / np.linalg.norm(np.linalg.inv(cell_A), axis=0).max())


class VanHoveCounter:
    """Accumulate both functions block by block.

    Parameters
    ----------
    cell_A
        (3, 3) cell; the mean one if it changes, in which the distances of G_d are then measured.
    lags
        Lags in frames; 0 adds the pair distribution ρg(r) as the first row of G_d.
    stride
        Interval between time origins, in frames.
    columns
        Indices of the mobile ions; all atoms if omitted.
    r_max_A, bin_A
        Range and width of the bins of G_s; those of G_d end at :func:`insphere_radius`.
    """

    def __init__(
        self,
        cell_A: FloatArray,
        lags: tuple[int, ...],
        *,
        stride: int = 1,
        columns: NDArray[np.int64] | None = None,
        r_max_A: float = 10.0,
        bin_A: float = 0.1,
        distinct: bool = True,
    ) -> None:
        if not 0.0 < bin_A < r_max_A:
            raise AnalysisError("The bins must be narrower than the range.")
        self._cell = np.array(cell_A, dtype=np.float64)
        self._inverse: FloatArray = np.asarray(np.linalg.inv(self._cell), dtype=np.float64)
        self._lags = tuple(sorted(set(lags)))
        self._frames = LaggedFrames(tuple(lag for lag in self._lags if lag > 0) or (1,), stride, columns)
        self._stride, self._columns, self._distinct = stride, columns, distinct
        self._edges: FloatArray = np.arange(round(r_max_A / bin_A) + 1, dtype=np.float64) * bin_A
        reach = min(insphere_radius(self._cell), r_max_A)
        self._distinct_edges: FloatArray = np.linspace(0.0, reach, max(1, int(reach / bin_A)) + 1)
        n = len(self._lags)
        self._self = np.zeros((n, len(self._edges) - 1), dtype=np.int64)
        self._beyond, self._n = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self._pairs = np.zeros((n, len(self._distinct_edges) - 1), dtype=np.int64)
        self._n_ions = 0
        self._frame = 0

    def add(self, positions_A: NDArray[Any], origins_A: FloatArray | None = None) -> None:
        """Add a block of unwrapped positions (n_frames, n_atoms, 3) in Å, less ``origins_A`` (n_frames, 3)."""
        positions = np.asarray(positions_A)
        if self._lags[0] == 0:
            for k in range((-self._frame) % self._stride, len(positions), self._stride):
                frame = positions[k] if self._columns is None else positions[k, self._columns]
                self._count(0, frame, frame)
        self._frame += len(positions)
        skip = int(self._lags[0] == 0)
        if self._lags[-1] == 0:
            return
        for i, _, earlier, later in self._frames.add(positions, origins_A):
            self._count(i + skip, earlier, later)

    def _count(self, i: int, earlier: NDArray[Any], later: NDArray[Any]) -> None:
        self._n_ions = len(earlier)
        self._n[i] += 1
        moved = later.astype(np.float64) - earlier
        lengths = np.sqrt(np.einsum("ia,ia->i", moved, moved))
        width = self._edges[1]
        index = (lengths / width).astype(np.int64)
        inside = index < len(self._edges) - 1
        self._self[i] += np.bincount(index[inside], minlength=len(self._edges) - 1)
        self._beyond[i] += int((~inside).sum())
        if not self._distinct:
            return
        from superionic.transport.pair_kernels import count_separations

        before, after = (np.ascontiguousarray(x.astype(np.float64) @ self._inverse) for x in (earlier, later))
        edges = self._distinct_edges
        count_separations(before, after, self._cell, self._inverse, edges[-1], edges[1], self._pairs[i])

    def result(self, frame_interval_ps: float) -> VanHove:
        """Return the functions of all frames so far.

        Raises
        ------
        AnalysisError
            If no pair of frames has any of the lags.
        """
        counted = self._n > 0
        if not counted.any():
            raise AnalysisError("There are no frames at these lags.", fix="Ask for shorter lags.")
        norm = (self._n[counted] * self._n_ions)[:, None].astype(np.float64)
        volume = abs(float(np.linalg.det(self._cell)))
        return VanHove(
            lags_ps=np.array(self._lags)[counted] * frame_interval_ps,
            edges_A=self._edges,
            self_per_A3=self._self[counted] / norm / shell_volumes(self._edges),
            beyond=self._beyond[counted] / norm[:, 0],
            distinct_edges_A=self._distinct_edges,
            distinct_per_A3=self._pairs[counted] / norm / shell_volumes(self._distinct_edges),
            mean_density_per_A3=(self._n_ions - 1) / volume,
            n_origins=self._n[counted],
        )
