"""A small correction that is added to a potential: a smooth function of distance for each pair of elements.

The energy is E = Σ_(i<j) φ_ab(r_ij) + Σ_i s_a, with one function φ_ab for each pair of elements a, b and one constant
s_a for each element. A function is a sum of cubic B-splines on equal intervals (C. de Boor, A Practical Guide to
Splines (1978), chapter IX), so energies, forces and stresses are linear in all coefficients, and the functions have
continuous second derivatives. A spline of which the labels say nothing has the coefficient 0. So pairs of elements
that no label has are left as they were, and at distances shorter than any of the labels the function fades out within
four intervals. :mod:`superionic.training.delta` fits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import PotentialError
from superionic.potentials.neighbours import pairs_within

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PREFIX: Final = "correction."
_VOIGT: Final = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Rows:
    """What one structure contributes to a linear fit: energy, forces and stress for each coefficient being one.

    Attributes
    ----------
    energy
        In eV, shape (m,): first the functions of all pairs of elements, then the constants of the elements.
    forces_per_A
        In eV/Å, shape (3 n_atoms, m).
    stress_per_A3
        Voigt stress in eV/Å³ (ASE's sign), shape (6, m).
    """

    energy: FloatArray
    forces_per_A: FloatArray
    stress_per_A3: FloatArray


@dataclass(frozen=True, eq=False)
class PairCorrection:
    """A correction by pairs of atoms.

    Attributes
    ----------
    numbers
        Atomic numbers of the elements that it knows, ascending, shape (n,).
    functions_eV
        Coefficients of the splines, shape (n (n + 1) / 2, k): pairs of elements in the order of
        ``np.triu_indices(n)``; spline 0 ends at the cutoff, each next one an interval before.
    constants_eV
        Constant of each element, shape (n,).
    cutoff_A, spacing_A
        Reach of the functions, and the interval of their splines.
    """

    numbers: IntArray
    functions_eV: FloatArray
    constants_eV: FloatArray
    cutoff_A: float
    spacing_A: float

    @classmethod
    def zero(cls, numbers: IntArray, cutoff_A: float, spacing_A: float) -> PairCorrection:
        """Return the correction of these elements that changes nothing."""
        n = len(numbers)
        shape = n * (n + 1) // 2, int(np.ceil(cutoff_A / spacing_A))
        return cls(np.asarray(numbers, dtype=np.int64), np.zeros(shape), np.zeros(n), cutoff_A, spacing_A)

    @property
    def coefficients(self) -> FloatArray:
        """All coefficients in the order of :class:`Rows`, shape (m,)."""
        return np.concatenate([self.functions_eV.ravel(), self.constants_eV])

    def with_coefficients(self, coefficients: FloatArray) -> PairCorrection:
        """Return the correction with other coefficients, as :attr:`coefficients` gives them."""
        functions, constants = np.split(np.asarray(coefficients, dtype=np.float64), [self.functions_eV.size])
        return PairCorrection(
            self.numbers, functions.reshape(self.functions_eV.shape), constants, self.cutoff_A, self.spacing_A
        )

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> tuple[float, FloatArray, FloatArray | None]:
        """Return energy in eV, forces in eV/Å, shape (n_atoms, 3), and Voigt stress in eV/Å³, shape (6,), or None.

        Raises
        ------
        PotentialError
            If stress is requested for a structure that is not periodic in all directions.
        """
        if stress and not atoms.pbc.all():
            raise PotentialError(
                "Stress needs a structure that is periodic in all directions.", fix="Evaluate it with stress=False."
            )
        pairs = self._splines(atoms)
        coefficients = self.functions_eV.ravel()[pairs.column]
        slopes = 0.5 * (coefficients * pairs.slope).sum(axis=1)[:, None] * pairs.direction
        energy = 0.5 * float((coefficients * pairs.value).sum()) + float(self.constants_eV @ self._counts(atoms))
        forces = np.stack(
            [2.0 * np.bincount(pairs.centre, slopes[:, axis], minlength=len(atoms)) for axis in range(3)], axis=1
        )
        if not stress:
            return energy, forces, None
        virial = pairs.vector_A.T @ slopes
        return energy, forces, np.array([virial[a, b] for a, b in _VOIGT]) / atoms.get_volume()

    def rows(self, atoms: Atoms) -> Rows:
        """Return what a structure, periodic in all directions, contributes to a linear fit."""
        pairs = self._splines(atoms)
        n, m = len(atoms), self.functions_eV.size
        column = pairs.column.ravel()
        energy = np.bincount(column, 0.5 * pairs.value.ravel(), minlength=m)
        slopes = pairs.slope[:, :, None] * pairs.direction[:, None, :]
        place = (pairs.centre[:, None] * m + pairs.column).ravel()
        by_axis = [np.bincount(place, slopes[:, :, axis].ravel(), minlength=n * m).reshape(n, m) for axis in range(3)]
        stress = [
            np.bincount(column, (0.5 * pairs.vector_A[:, a, None] * slopes[:, :, b]).ravel(), minlength=m)
            for a, b in _VOIGT
        ]
        none = np.zeros((3 * n, len(self.numbers)))
        return Rows(
            np.concatenate([energy, self._counts(atoms)]),
            np.hstack([np.stack(by_axis, axis=1).reshape(3 * n, m), none]),
            np.hstack([np.array(stress) / atoms.get_volume(), none[:6]]),
        )

    def to_weights(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays by name, among the weights of a potential; see :func:`corrected_weights`."""
        return {
            f"{_PREFIX}numbers": self.numbers,
            f"{_PREFIX}functions_eV": self.functions_eV,
            f"{_PREFIX}constants_eV": self.constants_eV,
            f"{_PREFIX}grid_A": np.array([self.cutoff_A, self.spacing_A]),
        }

    def _counts(self, atoms: Atoms) -> FloatArray:
        counts: FloatArray = (atoms.numbers[:, None] == self.numbers).sum(axis=0).astype(np.float64)
        return counts

    def _splines(self, atoms: Atoms) -> _Splines:
        """Evaluate the splines of all directed pairs of elements that it knows."""
        pairs = pairs_within(atoms.positions, np.array(atoms.cell.array), atoms.pbc, self.cutoff_A)
        kinds = np.full(int(max(self.numbers.max(initial=0), atoms.numbers.max(initial=0))) + 1, -1)
        kinds[self.numbers] = np.arange(len(self.numbers))
        of_atoms = kinds[atoms.numbers]
        one, other = of_atoms[pairs.centre], of_atoms[pairs.neighbour]
        known = (one >= 0) & (other >= 0)
        low, high = np.minimum(one, other)[known], np.maximum(one, other)[known]
        n = len(self.numbers)
        kind = low * n - low * (low - 1) // 2 + high - low
        distance = pairs.distances_A[known]
        place = (self.cutoff_A - distance) / self.spacing_A
        interval = np.floor(place).astype(np.int64)
        t = (place - interval)[:, None]
        value = np.hstack([t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, 4 - 6 * t**2 + 3 * t**3, (1 - t) ** 3]) / 6.0
        slope = np.hstack([t**2, 1 + 2 * t - 3 * t**2, 3 * t**2 - 4 * t, -((1 - t) ** 2)]) / (-2.0 * self.spacing_A)
        spline = interval[:, None] - np.arange(4)
        inside = spline >= 0
        column = kind[:, None] * self.functions_eV.shape[1] + np.where(inside, spline, 0)
        vector = pairs.vectors_A[known]
        return _Splines(pairs.centre[known], vector, vector / distance[:, None], column, value * inside, slope * inside)


@dataclass(frozen=True)
class _Splines:
    """The four splines that are not zero at the distance of each directed pair.

    Attributes
    ----------
    centre
        Atom at its beginning, shape (p,).
    vector_A, direction
        From it to the neighbour, and that of length one, shape (p, 3).
    column
        Which coefficients, shape (p, 4).
    value, slope
        Of the splines, the slope per Å by the distance, shape (p, 4).
    """

    centre: npt.NDArray[np.intp]
    vector_A: FloatArray
    direction: FloatArray
    column: IntArray
    value: FloatArray
    slope: FloatArray


def corrected_weights(
    weights: Mapping[str, npt.NDArray[Any]] | None,
) -> tuple[Mapping[str, npt.NDArray[Any]] | None, PairCorrection | None]:
    """Divide the weights of a potential into those of its network (None: the published ones) and a correction.

    Parameters
    ----------
    weights
        Arrays by name, as a trainer gave them; None for the published ones.
    """
    own = {name: array for name, array in (weights or {}).items() if not name.startswith(_PREFIX)}
    if weights is None or len(own) == len(weights):
        return weights, None
    numbers, functions, constants, grid = (
        np.asarray(weights[f"{_PREFIX}{name}"]) for name in ("numbers", "functions_eV", "constants_eV", "grid_A")
    )
    return own or None, PairCorrection(numbers, functions, constants, float(grid[0]), float(grid[1]))
