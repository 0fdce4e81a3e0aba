"""Probability density of ions on a grid in the cell, counted block by block, with its noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError

FloatArray = NDArray[np.float64]
Shape = tuple[int, int, int]

MOST_VOXELS = 20_000_000
"""Points of a grid: a cell of 100 Å at 0.37 Å, or of 27 Å at 0.1 Å; each costs 70 bytes during the count."""

_MOST_BLOCKS = 32
_FEWEST_BLOCKS = 8
_MOST_BLOCK_VOXELS = 32_000_000
_JACKKNIFE_GROUPS = 8


@dataclass(frozen=True)
class Density:
    """Where ions have been, on a periodic grid.

    Attributes
    ----------
    counts
        (a, b, c) visits, one for each ion and frame; voxel (i, j, k) begins at the fractions (i/a, j/b, k/c).
    cell_A
        (3, 3) mean cell, rows are vectors.
    n_ions, n_frames
        Numbers of ions and frames that were counted.
    block_counts
        (n_blocks, a, b, c) visits in successive stretches of equal length, for the noise; None without.
    block_frames
        Frames in each of them; frames after the last whole stretch are in ``counts`` alone.
    """

    counts: NDArray[np.int64]
    cell_A: FloatArray
    n_ions: int
    n_frames: int
    block_counts: NDArray[np.int32] | None = None
    block_frames: int = 0

    @property
    def shape(self) -> Shape:
        """Voxels along each cell vector."""
        return cast(Shape, self.counts.shape)

    @property
    def voxel_volume_A3(self) -> float:
        """Volume of a grid cell."""
        return float(abs(np.linalg.det(self.cell_A))) / self.counts.size

    @property
    def probability_per_A3(self) -> FloatArray:
        """P with ∫P dV = 1 over the cell, in Å⁻³ (the normalisation of paper A, fig. 5)."""
        return self.counts / (self.n_ions * self.n_frames * self.voxel_volume_A3)

    @property
    def ions_per_A3(self) -> FloatArray:
        """Mean number density of ions, ∫ = n_ions, in Å⁻³, which does not depend on the size of the cell."""
        return self.counts / (self.n_frames * self.voxel_volume_A3)

    @property
    def correlated_visits(self) -> float:
        """Visits per independent visit, g ≥ 1: in successive frames an ion is in nearly the same place.

        g = Σ var(n)/Σ mean(n) over all voxels, n the visits in a stretch of time; the largest of the values for the
        stretches and for two and four of them together (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)). It is
        1 where there are fewer than eight stretches, and a lower bound where visits correlate for longer than those.
        """
        blocks = self.block_counts
        if blocks is None or len(blocks) < _FEWEST_BLOCKS:
            return 1.0
        blocks = blocks.reshape(len(blocks), -1)
        largest = 1.0
        while len(blocks) >= _FEWEST_BLOCKS:
            total = float(blocks.sum())
            mean = blocks.mean(axis=0, dtype=np.float64)
            squares = sum(float(np.square(block - mean).sum()) for block in blocks)
            largest = max(largest, squares / (len(blocks) - 1) * len(blocks) / total)
            even = len(blocks) // 2 * 2
            blocks = blocks[0:even:2] + blocks[1:even:2]
        return largest

    @property
    def relative_noise(self) -> FloatArray:
        """√(g/counts), infinite without visits; g is :attr:`correlated_visits`, 1 (Poisson) if unknown."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.sqrt(self.correlated_visits / self.counts))

    def noise_level_per_A3(self, sigmas: float = 3.0, *, smoothing_A: float = 0.0) -> float:
        """Return the probability density that is ``sigmas`` of its own errors above zero: g·sigmas² visits."""
        return float(self.correlated_visits * sigmas * sigmas) * self.one_visit_per_A3(smoothing_A)

    def isovalue_per_A3(self, share: float = 0.9, *, sigmas: float = 3.0, smoothing_A: float = 0.0) -> float:
        """Return the level of P whose surface encloses ``share`` of the ions, but never below the noise.

        A fixed level such as 1e-4 Å⁻³ depends on the size of the cell; this one does not. With
        ``smoothing_A`` it is the level of the smoothed density, whose noise is lower.
        """
        if not 0.0 < share < 1.0:
            raise AnalysisError(f"The share of the ions inside the surface must lie between 0 and 1, not {share!r}.")
        falling = np.sort(self.smoothed(smoothing_A), axis=None)[::-1]
        enclosing = float(falling[np.searchsorted(np.cumsum(falling), share * falling.sum())])
        return min(max(enclosing, self.noise_level_per_A3(sigmas, smoothing_A=smoothing_A)), float(falling[0]))

    def smoothed(self, sigma_A: float) -> FloatArray:
        """Return P in Å⁻³ convolved with a Gaussian of width ``sigma_A`` (exact in any cell); its integral stays 1."""
        return smooth(self.probability_per_A3, self.cell_A, sigma_A)

    def one_visit_per_A3(self, sigma_A: float = 0.0) -> float:
        """Return P of one visit, smoothed by ``sigma_A`` to a volume (4πσ²)^(3/2), at least one voxel."""
        volume = max(self.voxel_volume_A3, math.pow(4.0 * math.pi * sigma_A * sigma_A, 1.5))
        return 1.0 / (self.n_ions * self.n_frames * volume)

    def sharpened(self, sigma_A: float) -> FloatArray:
        """Return P in Å⁻³, smoothed by ``sigma_A`` against noise, with most of the blur removed.

        ln P changes in proportion to sigma² while sigma is small; so 2 ln P(sigma²) − ln P(2 sigma²) is free of blur
        to first order (Richardson's extrapolation). Voxels without visits within some sigma are zero.
        """
        once = self.smoothed(sigma_A)
        if sigma_A <= 0.0:
            return once
        twice = self.smoothed(math.sqrt(2.0) * sigma_A)
        # with less than a tenth of a visit nearby, there is only the tail of the Gaussian
        visited = once > 0.1 * self.one_visit_per_A3(sigma_A)
        # the wider Gaussian leaves at least 2^(−3/2) of the narrower of any density; less is ringing of the grid
        twice = np.maximum(twice, 2.0**-1.5 * once)
        return np.where(visited, np.square(once) / np.where(visited, twice, 1.0), 0.0)

    def jackknife(self) -> list[Density]:
        """Return the densities that leave out one eighth of the run each; empty with fewer than eight stretches."""
        blocks = self.block_counts
        if blocks is None or len(blocks) < _FEWEST_BLOCKS:
            return []
        groups = np.array_split(np.arange(len(blocks)), _JACKKNIFE_GROUPS)
        return [
            Density(
                self.counts - blocks[group].sum(axis=0, dtype=np.int64),
                self.cell_A,
                self.n_ions,
                self.n_frames - len(group) * self.block_frames,
            )
            for group in groups
        ]


class DensityCounter:
    """Count visits block by block in constant memory; the result does not depend on the division into blocks.

    Parameters
    ----------
    cell_A
        (3, 3) cell of the first frames; it sets the grid.
    columns
        Indices of the atoms that count among those of each block; all if omitted.
    grid_spacing_A
        Largest edge of a grid cell along each cell vector.
    shape
        Grid points along each vector, instead of the spacing.

    Raises
    ------
    AnalysisError
        For wrong shapes, a cell without volume or a spacing that is not positive.
    """

    def __init__(
        self,
        cell_A: FloatArray,
        columns: NDArray[np.int64] | None = None,
        *,
        grid_spacing_A: float = 0.25,
        shape: Shape | None = None,
    ) -> None:
        self._shape = grid_shape(cell_A, grid_spacing_A) if shape is None else shape
        self._columns = columns
        n_voxels = math.prod(self._shape)
        self._most = min(_MOST_BLOCKS, max(_FEWEST_BLOCKS * 2, _MOST_BLOCK_VOXELS // n_voxels)) // 2 * 2
        self._blocks = [np.zeros(n_voxels, dtype=np.int32)]
        self._length = 1  # frames in a stretch
        self._filled = 0  # frames in the last stretch
        self._total = np.zeros(n_voxels, dtype=np.int64)  # of stretches that left the list
        self._cells = np.zeros((3, 3))
        self._n_frames = 0
        self._n_ions = 0

    def add(self, positions_A: NDArray[Any], cells_A: FloatArray, origins_A: FloatArray | None = None) -> None:
        """Count a block of frames.

        Parameters
        ----------
        positions_A
            (n_frames, n_atoms, 3) positions in Å, wrapped or not, float32 or float64.
        cells_A
            (3, 3), or (n_frames, 3, 3) for a changing cell.
        origins_A
            (n_frames, 3) subtracted from the positions: the drift of the framework.
        """
        from superionic.transport.density.kernels import count_visits

        block = FrameBlock.checked(positions_A, cells_A, self._columns, origins_A)
        n_frames = len(block.positions)
        if self._n_ions not in {0, len(block.columns)}:
            raise AnalysisError(f"A block has {len(block.columns)} ions, the blocks before have {self._n_ions}.")
        self._n_ions = len(block.columns)
        shape = np.array(self._shape, dtype=np.int64)
        start = 0
        while start < n_frames:
            if self._filled == self._length:
                self._next_stretch()
            stop = min(n_frames, start + self._length - self._filled)
            count_visits(
                block.positions, block.columns, block.origins, block.inverse, start, stop, shape, self._blocks[-1]
            )
            self._filled += stop - start
            start = stop
        self._cells += block.cells.mean(axis=0) * n_frames
        self._n_frames += n_frames

    def _next_stretch(self) -> None:
        if len(self._blocks) == self._most:
            self._blocks = [first + second for first, second in zip(self._blocks[::2], self._blocks[1::2], strict=True)]
            self._length *= 2
        self._blocks.append(np.zeros(len(self._total), dtype=np.int32))
        self._filled = 0

    def result(self) -> Density:
        """Return the density of all frames so far.

        Raises
        ------
        AnalysisError
            If there are none.
        """
        if self._n_frames == 0:
            raise AnalysisError("There are no frames to count.")
        whole = self._blocks if self._filled == self._length else self._blocks[:-1]
        counts = self._total + sum(block.astype(np.int64) for block in self._blocks)
        blocks = np.stack(whole).reshape(-1, *self._shape) if len(whole) >= _FEWEST_BLOCKS else None
        return Density(
            counts.reshape(self._shape),
            self._cells / self._n_frames,
            self._n_ions,
            self._n_frames,
            blocks,
            0 if blocks is None else self._length,
        )


@dataclass(frozen=True)
class FrameBlock:
    """A block of frames, checked and contiguous, for compiled loops.

    Attributes
    ----------
    positions, columns, origins, cells, inverse
        (n_frames, n_atoms, 3); (n_ions,); (n_frames, 3) or (1, 3); (n_frames, 3, 3) or (1, 3, 3), twice.
    """

    positions: NDArray[Any]
    columns: NDArray[np.int64]
    origins: FloatArray
    cells: FloatArray
    inverse: FloatArray

    @classmethod
    def checked(
        cls,
        positions_A: NDArray[Any],
        cells_A: FloatArray,
        columns: NDArray[np.int64] | None = None,
        origins_A: FloatArray | None = None,
    ) -> FrameBlock:
        """Check shapes and make arrays contiguous; float32 stays float32.

        Raises
        ------
        AnalysisError
            For wrong shapes or a cell without volume.
        """
        positions = np.asarray(positions_A)
        cells = np.asarray(cells_A, dtype=np.float64)
        if positions.ndim != 3 or positions.shape[2] != 3 or positions.size == 0:
            raise AnalysisError(f"Positions must have the shape (frames, ions, 3), not {positions.shape}.")
        n_frames, n_atoms, _ = positions.shape
        if cells.shape not in {(3, 3), (n_frames, 3, 3)}:
            raise AnalysisError(f"Cells must have the shape (3, 3) or ({n_frames}, 3, 3), not {cells.shape}.")
        if not np.all(np.abs(np.linalg.det(cells)) > 1e-9):
            raise AnalysisError("The cell has no volume.")
        if positions.dtype not in (np.float32, np.float64):
            positions = positions.astype(np.float64)
        indices = np.arange(n_atoms) if columns is None else np.asarray(columns, dtype=np.int64)
        if indices.ndim != 1 or len(indices) == 0 or indices.min() < 0 or indices.max() >= n_atoms:
            raise AnalysisError(f"The columns of the ions must be indices below {n_atoms}.")
        origins = np.zeros((1, 3)) if origins_A is None else np.asarray(origins_A, dtype=np.float64)
        if origins.shape not in {(1, 3), (n_frames, 3)}:
            raise AnalysisError(f"Origins must have the shape ({n_frames}, 3), not {origins.shape}.")
        cells = cells.reshape(-1, 3, 3)
        contiguous = _writable(positions)
        return cls(contiguous, _writable(indices), _writable(origins), cells, _writable(np.linalg.inv(cells)))


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array itself if it is contiguous and writable, else a copy: compiled loops accept only this kind."""
    return np.require(array, requirements=["C", "W"])


class FrameworkCentre:
    """The motion of the framework's centre since the first frame, block by block.

    Parameters
    ----------
    columns
        Indices of the framework atoms.
    weights
        Their masses, for the centre of mass; the geometric centre if omitted.
    """

    def __init__(self, columns: NDArray[np.int64], weights: FloatArray | None = None) -> None:
        self._columns = np.array(columns, dtype=np.int64)
        if len(self._columns) == 0:
            raise AnalysisError(
                "There are no framework atoms to measure the drift by.",
                fix="Name the framework atoms, or analyse without removing the drift.",
            )
        masses = np.ones(len(self._columns)) if weights is None else np.array(weights, dtype=np.float64)
        self._weights = masses / masses.sum()
        self._first: FloatArray | None = None

    def add(self, positions_A: NDArray[Any]) -> FloatArray:
        """Return (n_frames, 3) displacements of the centre in Å of a block of positions (n_frames, n_atoms, 3)."""
        from superionic.transport.density.kernels import weighted_centres

        centres = np.empty((len(positions_A), 3))
        weighted_centres(_writable(np.asarray(positions_A)), self._columns, self._weights, centres)
        if self._first is None and len(centres):
            self._first = centres[0].copy()
        return centres if self._first is None else centres - self._first


def grid_shape(cell_A: FloatArray, grid_spacing_A: float) -> Shape:
    """Return the voxels along each cell vector whose edges are at most ``grid_spacing_A``.

    Raises
    ------
    AnalysisError
        For a spacing that is not positive, or that makes more than :data:`MOST_VOXELS`.
    """
    if not (math.isfinite(grid_spacing_A) and grid_spacing_A > 0.0):
        raise AnalysisError(
            f"The grid spacing must be positive, not {grid_spacing_A!r} Å.", fix="Give a spacing such as 0.25."
        )
    lengths = np.linalg.norm(np.asarray(cell_A, dtype=np.float64), axis=1)
    with np.errstate(over="ignore"):
        along = lengths / grid_spacing_A
        n_voxels = float(np.prod(np.maximum(along, 1.0)))
    if not n_voxels <= MOST_VOXELS:
        least = float(np.prod(lengths) / MOST_VOXELS) ** (1.0 / 3.0)
        raise AnalysisError(
            f"A density on a grid of {grid_spacing_A:g} Å has {n_voxels:.3g} points in this cell "
            f"({', '.join(f'{x:.4g}' for x in lengths)} Å); no more than {MOST_VOXELS:,} fit in memory.",
            fix=f"Use a spacing of {math.ceil(1000.0 * least) / 1000.0:g} Å or more, or no density.",
        )
    return cast(Shape, tuple(max(1, math.ceil(x - 1e-9)) for x in along))


def smooth(grid: FloatArray, cell_A: FloatArray, sigma_A: float) -> FloatArray:
    """Convolve a periodic grid (a, b, c) with an isotropic Gaussian of ``sigma_A`` in Å, in any cell; not negative."""
    if sigma_A <= 0.0:
        return np.array(grid, dtype=np.float64)
    reciprocal = 2.0 * np.pi * np.linalg.inv(cell_A)  # columns are the reciprocal vectors
    a, b, c = grid.shape
    indices = (np.fft.fftfreq(a, 1.0 / a), np.fft.fftfreq(b, 1.0 / b), np.fft.rfftfreq(c, 1.0 / c))
    h, k, m = np.meshgrid(*indices, indexing="ij")
    wave = sum(np.square(reciprocal[x, 0] * h + reciprocal[x, 1] * k + reciprocal[x, 2] * m) for x in range(3))
    convolved = np.fft.irfftn(np.fft.rfftn(grid) * np.exp(-0.5 * sigma_A**2 * wave), s=grid.shape, axes=(0, 1, 2))
    convolved = np.maximum(convolved, 0.0)
    total = float(convolved.sum())
    return np.asarray(convolved * (float(np.sum(grid)) / total if total > 0.0 else 1.0))


def probability_density(
    positions_A: NDArray[Any],
    cells_A: FloatArray,
    *,
    grid_spacing_A: float = 0.25,
    shape: Shape | None = None,
    columns: NDArray[np.int64] | None = None,
) -> Density:
    """Count the visits of ions on a grid in fractional coordinates.

    Parameters
    ----------
    positions_A
        (n_frames, n_ions, 3) positions in Å, wrapped or not.
    cells_A
        (3, 3), or (n_frames, 3, 3) for a cell that changes.
    grid_spacing_A
        Largest edge of a grid cell along each cell vector.
    shape
        Grid points along each vector, instead of the spacing.
    columns
        Indices of the atoms that count; all if omitted.

    Raises
    ------
    AnalysisError
        For wrong shapes, a cell without volume or a spacing that is not positive.
    """
    block = FrameBlock.checked(positions_A, cells_A, columns)
    mean_cell = block.cells.mean(axis=0)
    counter = DensityCounter(mean_cell, columns, grid_spacing_A=grid_spacing_A, shape=shape)
    counter.add(positions_A, cells_A)
    return counter.result()
