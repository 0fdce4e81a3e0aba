"""Jumps between sites, detected with hysteresis: counts, times, rates, networks and the jump diffusivity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.density.grid import FrameBlock
from superionic.transport.estimate import Estimate, count_like_estimate
from superionic.transport.sites.jump_rates import JumpNetwork, ResidenceTime
from superionic.transport.sites.positions import SiteSet, images_around
from superionic.transport.sites.residence import StayDistribution

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

COMMIT = 0.8
"""Fraction of the way to the next site at which an ion is assigned to it; 0.5 is half-way."""

BLURRED = 6.7
"""Sites closer than this many vibrational amplitudes cannot be distinguished well; such results are flagged."""

_VOXEL_A = 0.5
_JUMPS_AT_ONCE = 100_000
_FEWEST_FRAMES = 100


class SiteTracker:
    """Follow ions from site to site, block by block, in constant memory (except for the list of jumps).

    Each ion belongs to one site at any time: the one that it entered last. It is reassigned to another site n when n is
    the nearest and the ion has covered ``commit`` of the way from its site s to n, measured along the line between
    them: |r − r_s|² − |r − r_n|² ≥ (2·commit − 1)·|r_n − r_s|². Turning back before is not a jump. This is assignment
    by the last-visited core (Schütte et al., J. Chem. Phys. 134, 204105 (2011)), with planes as boundaries of cores:
    they ignore sidewise vibration, which is irrelevant to the jump. A jump is dated by the frame in which the ion left
    the Voronoi cell of its old site for the last time.

    Parameters
    ----------
    sites
        The sites. Their cell is the mean cell; with a changing cell positions are mapped onto it affinely.
    columns
        Indices of the mobile ions among the atoms of each block; all atoms if omitted.
    commit
        Between 0.5 (no hysteresis) and 1.
    """

    def __init__(self, sites: SiteSet, columns: NDArray[np.int64] | None = None, *, commit: float = COMMIT) -> None:
        if not 0.5 <= commit < 1.0:
            raise AnalysisError(f"An ion must go between 0.5 and 1 of the way to the next site, not {commit!r}.")
        self._sites, self._columns, self._commit = sites, columns, commit
        self._cell = np.array(sites.cell_A)
        self._inverse: FloatArray = np.asarray(np.linalg.inv(self._cell), dtype=np.float64)
        self._table = _nearest_table(sites)
        nearest = sites.nearest_distances_A
        self._safe = np.square(0.5 * nearest) * (1.0 - 1e-12)
        self._inner = np.square((1.0 - commit) * nearest)
        n = len(sites)
        self._time_on, self._time_out = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self._moments = np.zeros((n, 4))
        self._n_frames = 0
        self._site = np.zeros(0, dtype=np.int64)
        self._start = np.zeros(0, dtype=np.int64)
        self._rows: list[IntArray] = []
        self._buffer = np.zeros((0, 8), dtype=np.int64)

    def add(
        self, positions_A: NDArray[Any], cells_A: FloatArray | None = None, origins_A: FloatArray | None = None
    ) -> None:
        """Follow the ions through a block of frames.

        Parameters
        ----------
        positions_A
            (n_frames, n_atoms, 3) unwrapped positions in Å, float32 or float64.
        cells_A
            (n_frames, 3, 3) for a changing cell; (3, 3), or None for the cell of the sites.
        origins_A
            (n_frames, 3) subtracted from the positions: the drift of the framework.

        Raises
        ------
        AnalysisError
            For wrong shapes.
        """
        from superionic.transport.sites.jumps_kernels import follow

        cells: FloatArray = self._cell if cells_A is None else np.asarray(cells_A, dtype=np.float64)
        block = FrameBlock.checked(positions_A, cells, self._columns, origins_A)
        n_ions, n_frames = len(block.columns), len(block.positions)
        if self._n_frames == 0:
            self._site = np.full(n_ions, -1, dtype=np.int64)
            self._image, self._home = np.zeros((n_ions, 3), dtype=np.int64), np.zeros((n_ions, 3))
            self._left, self._settled = np.full(n_ions, -1, dtype=np.int64), np.zeros(n_ions, dtype=np.int64)
        elif len(self._site) != n_ions:
            raise AnalysisError(f"A block has {n_ions} ions, the blocks before have {len(self._site)}.")
        maps: FloatArray = np.ascontiguousarray(block.inverse @ self._cell, dtype=np.float64)
        if len(maps) == 1:
            same = float(np.abs(maps[0] - np.eye(3)).max()) < 1e-12
            maps = np.repeat(maps, 0 if same else n_frames, axis=0)
        if len(self._buffer) < 2 * n_ions:
            self._buffer = np.zeros((max(_JUMPS_AT_ONCE, 2 * n_ions), 8), dtype=np.int64)
        progress, begin = np.zeros(1, dtype=np.int64), 0
        while begin < n_frames:
            n_jumps = follow(
                block.positions, block.columns, block.origins, maps, self._inverse, self._cell,
                *self._table, self._safe, self._inner, self._commit, self._n_frames, self._site, self._image,
                self._home, self._left, self._settled, self._time_on, self._time_out, self._moments, self._buffer,
                begin, progress,
            )  # fmt: skip
            self._rows.append(self._buffer[:n_jumps].copy())
            begin = int(progress[0])
        self._n_frames += n_frames

    def result(self, frame_interval_ps: float) -> SiteOccupation:
        """Return the jumps and occupancies of all frames so far.

        Raises
        ------
        AnalysisError
            If there are no frames, or the frame interval is not positive.
        """
        if self._n_frames == 0:
            raise AnalysisError("There are no frames to follow.")
        if not frame_interval_ps > 0.0:
            raise AnalysisError(f"The frame interval must be positive, not {frame_interval_ps!r} ps.")
        rows = np.concatenate(self._rows)
        rows = rows[np.lexsort((rows[:, 2], rows[:, 0], rows[:, 1]))]
        inside = np.maximum(self._time_on - self._time_out, 1)[:, None]
        offsets = self._moments[:, :3] / inside
        squares = np.maximum(self._moments[:, 3] / inside[:, 0] - np.square(offsets).sum(axis=1), 0.0)
        return SiteOccupation(
            sites=self._sites,
            frame_interval_ps=frame_interval_ps,
            n_frames=self._n_frames,
            n_ions=len(self._site),
            last_site=self._site.copy(),
            left_frame=rows[:, 0].copy(),
            arrival_frame=rows[:, 1].copy(),
            ion=rows[:, 2].copy(),
            start=rows[:, 3].copy(),
            end=rows[:, 4].copy(),
            shift=rows[:, 5:].copy(),
            frames_on=self._time_on.copy(),
            frames_between=self._time_out.copy(),
            offsets_A=offsets,
            amplitudes_A=np.sqrt(squares / 3.0),
        )


def _nearest_table(sites: SiteSet) -> tuple[IntArray, IntArray, IntArray, IntArray, FloatArray]:
    """Return a grid's shape and, for each voxel, the sites (with cell and position) nearest to some point of it."""
    from scipy.spatial import cKDTree

    cell = np.asarray(sites.cell_A)
    shape = np.maximum(np.ceil(np.linalg.norm(cell, axis=1) / _VOXEL_A), 1).astype(np.int64)
    points, which, cells = images_around(sites.fractional, cell)
    centres = (
        np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3) + 0.5
    ) / shape
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) / shape @ cell
    half = float(np.linalg.norm(corners, axis=1).max())
    tree = cKDTree(points)
    nearest, _ = tree.query(centres @ cell)
    neighbours = tree.query_ball_point(centres @ cell, nearest + 2.0 * half + 1e-9, return_sorted=True)
    first = np.concatenate([[0], np.cumsum([len(rows) for rows in neighbours])]).astype(np.int64)
    rows = np.fromiter(itertools.chain.from_iterable(neighbours), dtype=np.int64, count=int(first[-1]))
    return shape, first, which[rows].astype(np.int64), np.ascontiguousarray(cells[rows]), points[rows]


@dataclass(frozen=True, eq=False)
class SiteOccupation:
    """Site occupation and jumps of the ions.

    Attributes
    ----------
    sites, frame_interval_ps, n_frames, n_ions
        Sites, frames and ions that were followed.
    last_site
        (n_ions,) site of each ion at the end.
    left_frame, arrival_frame, ion, start, end
        (n_jumps,) each jump, by arrival: the frame in which the ion left the Voronoi cell of its old site for the last
        time, the one in which it was assigned to the new site, the ion, the old and the new site.
    shift
        (n_jumps, 3) cell of the new site relative to the old one.
    frames_on
        (n_sites,) frames × ions on each site. An ion is on the site that it entered last until it enters another,
        so these sum to n_ions × n_frames.
    frames_between
        (n_sites,) those of them in which the ion was nearer to another site than to its own: in transit, or on an
        excursion from which it returned.
    offsets_A
        (n_sites, 3) mean position of the ions within the Voronoi cell, relative to the site.
    amplitudes_A
        (n_sites,) root mean square displacement of the ions along one axis.
    """

    sites: SiteSet
    frame_interval_ps: float
    n_frames: int
    n_ions: int
    last_site: IntArray
    left_frame: IntArray
    arrival_frame: IntArray
    ion: IntArray
    start: IntArray
    end: IntArray
    shift: IntArray
    frames_on: IntArray
    frames_between: IntArray
    offsets_A: FloatArray
    amplitudes_A: FloatArray

    @property
    def n_jumps(self) -> int:
        """Number of jumps."""
        return len(self.ion)

    @property
    def duration_ps(self) -> float:
        """Observed time in ps."""
        return self.n_frames * self.frame_interval_ps

    @property
    def occupancies(self) -> FloatArray:
        """(n_sites,) mean number of ions on each site; the sum is exactly the number of ions."""
        return self.frames_on / self.n_frames

    @property
    def between(self) -> float:
        """Share of the ions' time in which they were nearer to another site than to their own."""
        return float(self.frames_between.sum()) / (self.n_frames * self.n_ions)

    @property
    def vectors_A(self) -> FloatArray:
        """(n_jumps, 3) from the old site to the new one."""
        x = self.sites.fractional
        return np.asarray((x[self.end] - x[self.start] + self.shift) @ self.sites.cell_A)

    @property
    def back_jumps(self) -> float:
        """Share of jumps that the same ion's next jump undoes; NaN if no jump is followed by another."""
        order = np.lexsort((self.arrival_frame, self.ion))
        ion, start, end, shift = (x[order] for x in (self.ion, self.start, self.end, self.shift))
        followed = ion[1:] == ion[:-1]
        if not followed.any():
            return math.nan
        undone = (end[1:] == start[:-1]) & (start[1:] == end[:-1]) & (shift[1:] == -shift[:-1]).all(axis=1)
        return float(undone[followed].mean())

    def stays(self) -> tuple[IntArray, FloatArray, NDArray[np.bool_]]:
        """Return all stays on sites: site, length in ps, and whether the stay was completed.

        The first stay of an ion counts from the start of the run, since exponential stays have no memory.
        """
        order = np.lexsort((self.arrival_frame, self.ion))
        ion, left = self.ion[order], self.left_frame[order]
        previous = np.where(np.diff(ion, prepend=-1) != 0, 0, np.concatenate([[0], left[:-1]])[: len(left)])
        whole = (left - previous) * self.frame_interval_ps
        last_left = np.zeros(self.n_ions, dtype=np.int64)
        np.maximum.at(last_left, ion, left)
        cut = (self.n_frames - last_left) * self.frame_interval_ps
        return (
            np.concatenate([self.start[order], self.last_site]),
            np.concatenate([whole, cut]),
            np.concatenate([np.ones(len(whole), dtype=bool), np.zeros(len(cut), dtype=bool)]),
        )

    def sites_at(self, frames: IntArray) -> IntArray:
        """Return the site of each ion in given frames, (n, n_ions); -1 in transit between sites."""
        site_of = np.empty((len(frames), self.n_ions), dtype=np.int64)
        order = np.lexsort((self.arrival_frame, self.ion))
        edges = np.searchsorted(self.ion[order], np.arange(self.n_ions + 1))
        for ion in range(self.n_ions):
            own = order[edges[ion] : edges[ion + 1]]
            sites = np.concatenate([self.start[own[:1]], self.end[own]]) if len(own) else self.last_site[ion : ion + 1]
            site_of[:, ion] = sites[np.searchsorted(self.arrival_frame[own], frames, side="right")]
            left = np.searchsorted(self.left_frame[own], frames, side="right")  # jumps begun by then
            site_of[left > np.searchsorted(self.arrival_frame[own], frames, side="right"), ion] = -1
        return site_of

    def residence_times(self) -> dict[str, ResidenceTime]:
        """Return the mean residence time on each kind of site, including stays cut off by the end of the run."""
        site, length, ended = self.stays()
        return {
            label: ResidenceTime.of(length[on_kind], ended[on_kind])
            for label, members in self.sites.kinds.items()
            if (on_kind := np.isin(site, members)).any()
        }

    def stay_distributions(self) -> dict[str, StayDistribution | None]:
        """Return the distribution of the stays on each kind of site that began within the run; None if none ended."""
        site, length, ended = self.stays()
        order = np.lexsort((self.arrival_frame, self.ion))
        has_jumped = np.isin(np.arange(self.n_ions), self.ion)
        begun = np.concatenate([np.diff(self.ion[order], prepend=-1) == 0, has_jumped])
        return {
            label: StayDistribution.of(length[on_kind], ended[on_kind])
            for label, members in self.sites.kinds.items()
            if (on_kind := np.isin(site, members) & begun).any()
        }

    def kind_occupancies(self) -> dict[str, tuple[int, float]]:
        """Return for each label the number of sites and the mean number of ions on one of them."""
        occupancies = self.occupancies
        return {label: (len(k), float(occupancies[k].mean())) for label, k in self.sites.kinds.items()}

    def edges(self) -> JumpNetwork:
        """Return the network of all jumps."""
        rows = np.column_stack([self.start, self.end, self.shift]).reshape(-1, 5)
        unique, counts = np.unique(rows, axis=0, return_counts=True)
        return JumpNetwork(
            self.sites,
            unique,
            counts.astype(np.int64),
            np.asarray(self.frames_on * self.frame_interval_ps, dtype=np.float64),
        )

    def jump_diffusivity(self, *, dimensions: int = 3) -> Estimate:
        """Return D_J = Σ|v|²/(2 d N t) in Å²/ps over all jumps: the tracer diffusivity of uncorrelated jumps.

        The error is that of a Poisson number of jumps of these lengths.
        """
        squares = np.square(self.vectors_A).sum(axis=1)
        scale = 2.0 * dimensions * self.n_ions * self.duration_ps
        value = float(squares.sum()) / scale
        error = math.sqrt(float(np.square(squares).sum())) / scale
        usual = float(squares.mean()) if len(squares) else float(self.sites.nearest_distances_A.mean() ** 2)
        return count_like_estimate(value, error**2, bound_per_hop=None if self.n_jumps else usual / scale)

    def flags(self) -> list[str]:
        """Return sentences on possible faults of the assignment."""
        flags = []
        inside = self.frames_on - self.frames_between
        visited = inside > max(_FEWEST_FRAMES, 0.01 * self.n_frames * self.n_ions / len(self.sites))
        ratio = self.sites.nearest_distances_A[visited] / np.maximum(self.amplitudes_A[visited], 1e-9)
        if len(ratio) and float(ratio.min()) < BLURRED:
            worst = np.flatnonzero(visited)[int(np.argmin(ratio))]
            flags.append(
                f"Sites are blurred: site {worst} ({self.sites.labels[worst]}) has its next site "
                f"{float(ratio.min()):.1f} amplitudes of vibration away; below {BLURRED:g}, vibration passes for jumps."
            )
        off = np.linalg.norm(self.offsets_A, axis=1)
        if visited.any() and float(off[visited].max()) > 0.25 * float(self.sites.nearest_distances_A.min()):
            worst = int(np.argmax(np.where(visited, off, 0.0)))
            flags.append(
                f"Ions are on average {off[worst]:.1f} Å from site {worst} ({self.sites.labels[worst]}): "
                "a site may be missing, or the framework may have moved."
            )
        if self.n_jumps < 10:
            flags.append(f"Only {self.n_jumps} jumps were seen: rates have wide intervals.")
        return flags


def follow_sites(
    positions_A: NDArray[Any],
    sites: SiteSet,
    frame_interval_ps: float,
    *,
    columns: Sequence[int] | None = None,
    cells_A: FloatArray | None = None,
    commit: float = COMMIT,
) -> SiteOccupation:
    """Follow ions through a whole trajectory at once; see :class:`SiteTracker` for long ones."""
    tracker = SiteTracker(sites, None if columns is None else np.asarray(columns, dtype=np.int64), commit=commit)
    tracker.add(positions_A, cells_A)
    return tracker.result(frame_interval_ps)
