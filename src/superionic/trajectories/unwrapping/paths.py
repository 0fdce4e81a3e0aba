"""Unwrapping: from positions in a cell to paths, in triclinic cells and in cells that change.

The displacement of an atom between two frames is assumed to be the shortest one that periodicity allows. Rounding
fractional coordinates does not give the shortest in a skew cell; so the cell is Minkowski-reduced first (Semaev, CaLC
2001, LNCS 2146, 181), and where the rounded vector is longer than the sphere that fits into the reduced parallelepiped,
its 26 neighbours are tried as well.

Where the cell changes (NPT), adding up images times the instantaneous cell makes the distance of far images follow
every fluctuation of the volume, so that D grows without bound with the length of the run (von Bülow, Bullerjahn and
Hummer, J. Chem. Phys. 153, 021101 (2020); Kulke and Vermaas, J. Chem. Theory Comput. 18, 6161 (2022); Bullerjahn, von
Bülow, Heidari, Hénin and Hummer, J. Chem. Theory Comput. 19, 3406 (2023)). Two ways are free of that:

- ``mean-cell`` (the default): fractional paths times the mean cell. This is the crystal's own frame: an atom that stays
  on its site does not move at all however the cell breathes, and the result does not depend on the direction of time.
- ``toroidal``: the toroidal-view-preserving scheme of these papers, which adds the shortest Cartesian displacements
  under the cell of the later frame. An atom at the boundary of the cell then walks with the fluctuations of the cell
  whenever it crosses, which liquids hide and crystals at low diffusivity may show.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Scheme = Literal["mean-cell", "toroidal"]
SCHEMES: tuple[Scheme, ...] = ("mean-cell", "toroidal")

WATCHED = 0.4
"""Displacements between frames longer than this, in units of the shortest lattice vector, are counted: at 0.5 the
direction in which an atom went is undetermined."""
_REDUCE_AGAIN = 0.05


class Unwrapper:
    """Follow atoms from frame to frame, with one frame of history, so that a trajectory may be streamed.

    Attributes
    ----------
    largest_A
        Longest displacement between successive frames so far, in Å.
    largest_ratio
        The same in units of the shortest lattice vector of its frame.
    n_watched
        Displacements beyond :data:`WATCHED`.
    """

    def __init__(self, n_atoms: int) -> None:
        self.images: FloatArray = np.zeros((n_atoms, 3))
        self.before: FloatArray | None = None
        self.cell_before: FloatArray = np.zeros((3, 3))
        self.path: FloatArray = np.zeros((n_atoms, 3))
        self.largest_A = 0.0
        self.largest_ratio = 0.0
        self.n_watched = 0
        self._reduced_for: FloatArray = np.zeros((3, 3))
        self._operation: FloatArray = np.eye(3)
        self._last: tuple[FloatArray, FloatArray, FloatArray, float, float] | None = None

    def fractional(self, frame: FloatArray, cell_A: FloatArray, *, wrapped: bool = True) -> FloatArray:
        """Return the next frame's continuous fractional positions (n_atoms, 3).

        Parameters
        ----------
        frame
            (n_atoms, 3) fractional positions.
        cell_A
            (3, 3) cell of this frame.
        wrapped
            False if, according to its file, the frame follows the last one without jumps; the images then stay.
        """
        if self.before is not None and wrapped:
            self._follow(frame, self.before, cell_A)
        self.before = frame
        self.cell_before = cell_A
        continuous: FloatArray = frame + self.images
        return continuous

    def toroidal(self, frame: FloatArray, cell_A: FloatArray) -> FloatArray:
        """Return the next frame's Cartesian positions (n_atoms, 3) by the toroidal-view-preserving scheme."""
        inside = frame - np.floor(frame)
        if self.before is None:
            self.path = inside @ cell_A
        else:
            inverse = np.linalg.inv(cell_A)
            before = self.before @ self.cell_before @ inverse
            self.images[:] = 0.0
            self._follow(inside, before, cell_A)
            self.path = self.path + (inside - before + self.images) @ cell_A
        self.before = inside
        self.cell_before = cell_A
        return self.path

    def _follow(self, frame: FloatArray, before: FloatArray, cell_A: FloatArray) -> None:
        from superionic.trajectories.unwrapping.kernels import unwrap_frame

        to_reduced, from_reduced, reduced, safe, shortest = self._reduction(cell_A)
        largest, watched = unwrap_frame(
            np.ascontiguousarray(frame), np.ascontiguousarray(before), self.images, to_reduced, from_reduced, reduced,
            safe, (WATCHED * shortest) ** 2,
        )  # fmt: skip
        displacement = float(np.sqrt(largest))
        self.largest_A = max(self.largest_A, displacement)
        self.largest_ratio = max(self.largest_ratio, displacement / shortest)
        self.n_watched += int(watched)

    def _reduction(self, cell_A: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float, float]:
        """Return both transformations, the reduced cell, the square of the safe radius and the shortest vector."""
        if self._last is not None and np.array_equal(cell_A, self.cell_before):
            return self._last
        scale = float(np.abs(cell_A).max())
        if float(np.abs(cell_A - self._reduced_for).max()) > _REDUCE_AGAIN * scale:
            from ase.geometry.minkowski_reduction import minkowski_reduce

            self._operation = np.asarray(minkowski_reduce(cell_A)[1], dtype=np.float64)
            self._reduced_for = np.array(cell_A)
        operation = self._operation
        reduced = np.ascontiguousarray(operation @ cell_A)
        volume = abs(float(np.linalg.det(reduced)))
        faces = np.cross(reduced[[1, 2, 0]], reduced[[2, 0, 1]])
        heights = volume / np.sqrt((faces**2).sum(axis=1))
        shortest = float(np.sqrt((reduced**2).sum(axis=1).min()))
        inverse = np.ascontiguousarray(np.round(np.linalg.inv(operation)))
        # fractional = r · inverse(cell) = r · inverse(reduced) · operation
        self._last = (inverse, np.ascontiguousarray(operation), reduced, (0.5 * float(heights.min())) ** 2, shortest)
        return self._last
