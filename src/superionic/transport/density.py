"""Probability density of ions on a grid in the cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError

FloatArray = NDArray[np.float64]

_CHUNK_POSITIONS = 2_000_000


@dataclass(frozen=True)
class Density:
    """Where ions have been, on a periodic grid.

    Attributes
    ----------
    counts
        (a, b, c) visits, one for each ion and frame.
    cell_A
        (3, 3) mean cell, rows are vectors.
    n_ions, n_frames
        Behind the counts.
    """

    counts: NDArray[np.int64]
    cell_A: FloatArray
    n_ions: int
    n_frames: int

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
        """Mean number of ions per volume, ∫ = n_ions, in Å⁻³: this one does not depend on the size of the cell."""
        return self.counts / (self.n_frames * self.voxel_volume_A3)

    @property
    def relative_noise(self) -> FloatArray:
        """1/√counts, infinite where nothing was seen; a lower bound, since visits in successive frames correlate."""
        with np.errstate(divide="ignore"):
            return 1.0 / np.sqrt(self.counts)


def probability_density(
    positions_A: FloatArray,
    cells_A: FloatArray,
    *,
    grid_spacing_A: float = 0.25,
    shape: tuple[int, int, int] | None = None,
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

    Raises
    ------
    AnalysisError
        For wrong shapes, a cell without volume or a spacing that is not positive.
    """
    positions_A, cells_A = np.asarray(positions_A), np.asarray(cells_A, dtype=np.float64)
    if positions_A.ndim != 3 or positions_A.shape[2] != 3 or positions_A.size == 0:
        raise AnalysisError(f"Positions must have the shape (frames, ions, 3), not {positions_A.shape}.")
    n_frames, n_ions, _ = positions_A.shape
    if cells_A.shape not in {(3, 3), (n_frames, 3, 3)}:
        raise AnalysisError(f"Cells must have the shape (3, 3) or ({n_frames}, 3, 3), not {cells_A.shape}.")
    mean_cell = cells_A if cells_A.ndim == 2 else cells_A.mean(axis=0)
    if not np.all(np.abs(np.linalg.det(cells_A)) > 1e-9):
        raise AnalysisError("The cell has no volume.")
    if shape is None:
        if not (math.isfinite(grid_spacing_A) and grid_spacing_A > 0.0):
            raise AnalysisError(f"The grid spacing must be positive, not {grid_spacing_A!r} Å.")
        lengths = np.linalg.norm(mean_cell, axis=1)
        shape = cast(tuple[int, int, int], tuple(max(1, math.ceil(x / grid_spacing_A - 1e-9)) for x in lengths))
    grid = np.array(shape)
    counts = np.zeros(int(grid.prod()), dtype=np.int64)
    inverse = np.linalg.inv(cells_A)
    chunk = max(1, _CHUNK_POSITIONS // n_ions)
    for start in range(0, n_frames, chunk):
        part = np.asarray(positions_A[start : start + chunk], dtype=np.float64)
        fractional = part @ (inverse if inverse.ndim == 2 else inverse[start : start + chunk])
        index = np.floor((fractional - np.floor(fractional)) * grid).astype(np.int64)
        index %= grid  # a coordinate just below zero may round up to the edge
        flat = (index[..., 0] * shape[1] + index[..., 1]) * shape[2] + index[..., 2]
        counts += np.bincount(flat.ravel(), minlength=counts.size)
    return Density(counts.reshape(shape), mean_cell.copy(), n_ions, n_frames)
