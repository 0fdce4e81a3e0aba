"""The average cell of a run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase.geometry import cell_to_cellpar, cellpar_to_cell

from superionic.errors import AnalysisError

FloatArray = npt.NDArray[np.float64]


def average_cell(cells_A: FloatArray, discard_fraction: float = 0.2) -> FloatArray:
    """Return the cell with the average lengths, angles and volume of an NPT run.

    Parameters
    ----------
    cells_A
        Cells of the frames, shape (n_frames, 3, 3), in Å.
    discard_fraction
        Fraction of the frames discarded at the start (paper B keeps the last 112 of 140 ps, i.e. 0.2).

    Returns
    -------
    ndarray
        Shape (3, 3), in Å: the average lengths and angles, scaled isotropically to the average volume, and
        oriented like the mean of the cells.

    Raises
    ------
    AnalysisError
        If no frame is left, or the fraction is not in [0, 1).
    """
    cells = np.asarray(cells_A, dtype=np.float64).reshape(-1, 3, 3)
    if not 0.0 <= discard_fraction < 1.0:
        raise AnalysisError(f"discard_fraction is {discard_fraction}.", fix="Give a number from 0 to below 1.")
    production = cells[int(np.floor(discard_fraction * len(cells))) :]
    if len(production) == 0:
        raise AnalysisError("There is no frame to average the cell over.", fix="Run longer or save more often.")
    parameters = np.mean([cell_to_cellpar(cell) for cell in production], axis=0)
    cell = np.asarray(cellpar_to_cell(parameters), dtype=np.float64)
    volume = float(np.mean(np.abs(np.linalg.det(production))))
    cell *= (volume / abs(float(np.linalg.det(cell)))) ** (1.0 / 3.0)
    # The rotation that brings it closest to the mean of the cells (orthogonal Procrustes).
    left, _, right = np.linalg.svd(cell.T @ production.mean(axis=0))
    turned: FloatArray = cell @ (left @ right)
    return turned
