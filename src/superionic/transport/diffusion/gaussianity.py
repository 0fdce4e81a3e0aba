"""Deviation of displacements from Gaussian: the parameter α₂(t), and pairs of frames at given lags."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def log_lags(longest: int, count: int = 40) -> tuple[int, ...]:
    """Return integer lags from 1 to ``longest`` frames, about evenly spaced in their logarithm."""
    if longest < 1:
        raise AnalysisError(f"The longest lag must be at least one frame, not {longest}.")
    return tuple(int(x) for x in np.unique(np.rint(np.geomspace(1, longest, count)).astype(np.int64)))


class LaggedFrames:
    """Pairs of frames separated by given lags, block by block; only the time origins are stored.

    Parameters
    ----------
    stride
        Interval between time origins, in frames.
    columns
        Indices of the atoms to keep; all if omitted.
    """

    def __init__(self, lags: tuple[int, ...], stride: int, columns: NDArray[np.int64] | None) -> None:
        if not lags or min(lags) < 1 or stride < 1:
            raise AnalysisError("Lags and stride must be at least one frame.")
        self.lags, self._stride = tuple(sorted(set(lags))), stride
        self._columns = None if columns is None else np.asarray(columns, dtype=np.int64)
        self._origins: deque[tuple[int, NDArray[Any]]] = deque()
        self._next = 0

    def add(
        self, positions_A: NDArray[Any], origins_A: FloatArray | None = None
    ) -> Iterator[tuple[int, int, NDArray[Any], NDArray[Any]]]:
        """Yield (index of the lag, frame of the origin, earlier and later positions (n, 3)) of a block of frames."""
        positions = np.asarray(positions_A)
        if positions.ndim != 3 or positions.shape[2] != 3:
            raise AnalysisError(f"Positions must have the shape (frames, ions, 3), not {positions.shape}.")
        for k in range(len(positions)):
            now = self._next
            self._next += 1
            starts = [
                (i, now - lag) for i, lag in enumerate(self.lags) if now >= lag and (now - lag) % self._stride == 0
            ]
            if not starts and now % self._stride:
                continue
            frame = positions[k] if self._columns is None else positions[k, self._columns]
            if origins_A is not None:
                frame = frame - origins_A[k]
            if now % self._stride == 0:
                self._origins.append((now, np.array(frame)))
            while self._origins and self._origins[0][0] < now - self.lags[-1]:
                self._origins.popleft()
            oldest = self._origins[0][0] if self._origins else 0
            for i, start in starts:
                yield i, start, self._origins[(start - oldest) // self._stride][1], frame


@dataclass(frozen=True, eq=False)
class NonGaussianity:
    """The non-Gaussian parameter of displacements.

    Attributes
    ----------
    lags_ps
        (n,) times.
    alpha2, error
        (n,) α₂ = d⟨r⁴⟩/((d + 2)⟨r²⟩²) − 1 and its standard error from the scatter between ions; zero for Brownian
        motion, large where a few ions jump and the others rattle.
    msd_A2
        (n,) ⟨r²⟩.
    dimensions
        d.
    n_origins
        (n,) time origins behind each value.
    """

    lags_ps: FloatArray
    alpha2: FloatArray
    error: FloatArray
    msd_A2: FloatArray
    dimensions: int
    n_origins: IntArray

    @property
    def peak(self) -> tuple[float, float]:
        """Time in ps and height of the maximum, where motion is most heterogeneous."""
        at = int(np.nanargmax(self.alpha2))
        return float(self.lags_ps[at]), float(self.alpha2[at])


class NonGaussianCounter:
    """Accumulate α₂(t) block by block (Rahman, Phys. Rev. 136, A405 (1964), eq. 10 and below).

    Parameters
    ----------
    lags
        Lags in frames (:func:`log_lags`).
    stride
        Interval between time origins, in frames.
    columns
        Indices of the mobile ions; all atoms if omitted.
    axes
        Cartesian axes to include.
    """

    def __init__(
        self,
        lags: tuple[int, ...],
        *,
        stride: int = 1,
        columns: NDArray[np.int64] | None = None,
        axes: tuple[int, ...] = (0, 1, 2),
    ) -> None:
        self._frames = LaggedFrames(lags, stride, columns)
        self._axes = list(axes)
        self._squares: FloatArray | None = None

    def add(self, positions_A: NDArray[Any], origins_A: FloatArray | None = None) -> None:
        """Add a block of unwrapped positions (n_frames, n_atoms, 3) in Å, less ``origins_A`` (n_frames, 3)."""
        for i, _, earlier, later in self._frames.add(positions_A, origins_A):
            moved = later.astype(np.float64)[:, self._axes] - earlier[:, self._axes]
            square = np.einsum("ia,ia->i", moved, moved)
            if self._squares is None:
                n = len(self._frames.lags)
                self._squares, self._fourths = np.zeros((n, len(square))), np.zeros((n, len(square)))
                self._n = np.zeros(n, dtype=np.int64)
            self._squares[i] += square
            self._fourths[i] += square * square
            self._n[i] += 1

    def result(self, frame_interval_ps: float) -> NonGaussianity:
        """Return α₂ of all frames so far.

        Raises
        ------
        AnalysisError
            If no pair of frames has the shortest lag.
        """
        if self._squares is None:
            raise AnalysisError("There are no frames at these lags.", fix="Ask for shorter lags.")
        counted = self._n > 0
        d, n_ions = len(self._axes), self._squares.shape[1]
        squares, fourths = (
            self._squares[counted] / self._n[counted, None],
            self._fourths[counted] / self._n[counted, None],
        )

        def alpha(second: FloatArray, fourth: FloatArray) -> FloatArray:
            return np.asarray(d / (d + 2.0) * fourth / np.square(second) - 1.0)

        second, fourth = squares.sum(axis=1), fourths.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = alpha(second / n_ions, fourth / n_ions)
            error = np.full(len(value), math.nan)
            if n_ions > 1:
                left_out = alpha((second[:, None] - squares) / (n_ions - 1), (fourth[:, None] - fourths) / (n_ions - 1))
                spread = left_out - left_out.mean(axis=1, keepdims=True)
                error = np.sqrt((n_ions - 1) / n_ions * np.square(spread).sum(axis=1))
        lags = np.array(self._frames.lags)[counted] * frame_interval_ps
        return NonGaussianity(lags, value, error, second / n_ions, d, self._n[counted])
