"""Segments put together again, and averages over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase.geometry import cell_to_cellpar, cellpar_to_cell

from superionic.dynamics.md import Segment
from superionic.errors import AnalysisError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Consecutive segments as one; attributes as in :class:`superionic.dynamics.md.Segment`."""

    numbers: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    positions_A: FloatArray
    cells_A: FloatArray
    temperatures_K: FloatArray
    potential_energies_eV: FloatArray
    kinetic_energies_eV: FloatArray
    pressures_GPa: FloatArray | None
    conserved_eV: FloatArray | None
    frame_interval_ps: float
    flags: tuple[str, ...]

    @property
    def times_ps(self) -> FloatArray:
        """Time of each frame from the first one, in ps."""
        spacing = self.frame_interval_ps
        times: FloatArray = np.arange(len(self.steps), dtype=np.float64) * spacing
        return times


def concatenate(segments: Sequence[Segment]) -> Trajectory:
    """Put consecutive segments of one run together.

    Raises
    ------
    AnalysisError
        If there are none, or they do not follow on one another.
    """
    if not segments:
        raise AnalysisError("There is no segment to put together.", fix="Run at least one segment first.")
    first = segments[0]
    steps = np.concatenate([segment.steps for segment in segments])
    if len(steps) > 1 and (np.diff(steps) != np.diff(steps)[0]).any():
        raise AnalysisError(
            "The segments do not follow on one another: frames are missing or double.",
            fix="Give all segments of one run, in order.",
        )
    if any(segment.frame_interval_ps != first.frame_interval_ps for segment in segments):
        raise AnalysisError("The segments keep frames at different intervals.", fix="Give segments of one run only.")
    flags = tuple(dict.fromkeys(flag for segment in segments for flag in segment.flags))
    return Trajectory(
        numbers=np.array(first.state.numbers),
        steps=steps,
        positions_A=np.concatenate([segment.positions_A for segment in segments]),
        cells_A=np.concatenate([segment.cells_A for segment in segments]),
        temperatures_K=np.concatenate([segment.temperatures_K for segment in segments]),
        potential_energies_eV=np.concatenate([segment.potential_energies_eV for segment in segments]),
        kinetic_energies_eV=np.concatenate([segment.kinetic_energies_eV for segment in segments]),
        pressures_GPa=_joined([segment.pressures_GPa for segment in segments]),
        conserved_eV=_joined([segment.conserved_eV for segment in segments]),
        frame_interval_ps=first.frame_interval_ps,
        flags=flags,
    )


def average_cell(cells_A: FloatArray, discard_fraction: float = 0.2) -> FloatArray:
    """Cell with the average lengths, angles and volume of an NPT run.

    Parameters
    ----------
    cells_A
        Cells of the frames, shape (n_frames, 3, 3), in Å.
    discard_fraction
        Fraction of the frames at the start that is left out (paper B: the last 112 of 140 ps are kept, i.e. 0.2).

    Returns
    -------
    ndarray
        Shape (3, 3), in Å: the average lengths and angles, scaled isotropically to the average volume, and turned
        like the mean of the cells.

    Raises
    ------
    AnalysisError
        If no frame is left, or the fraction is not in [0, 1).
    """
    cells = np.asarray(cells_A, dtype=np.float64).reshape(-1, 3, 3)
    if not 0.0 <= discard_fraction < 1.0:
        raise AnalysisError(f"discard_fraction is {discard_fraction}.", fix="Give a number from 0 to below 1.")
    kept = cells[int(np.floor(discard_fraction * len(cells))) :]
    if len(kept) == 0:
        raise AnalysisError("There is no frame to average the cell over.", fix="Run longer or save more often.")
    parameters = np.mean([cell_to_cellpar(cell) for cell in kept], axis=0)
    cell = np.asarray(cellpar_to_cell(parameters), dtype=np.float64)
    volume = float(np.mean(np.abs(np.linalg.det(kept))))
    cell *= (volume / abs(float(np.linalg.det(cell)))) ** (1.0 / 3.0)
    # The rotation that brings it closest to the mean of the cells (orthogonal Procrustes).
    left, _, right = np.linalg.svd(cell.T @ kept.mean(axis=0))
    turned: FloatArray = cell @ (left @ right)
    return turned


def _joined(parts: list[FloatArray | None]) -> FloatArray | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if len(present) == len(parts) else None
