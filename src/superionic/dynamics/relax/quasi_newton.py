"""A quasi-Newton minimiser for crystals that starts from a Hessian of springs and an elastic cell.

The method is BFGS with the steps of eigenvectors (Nocedal and Wright, Numerical Optimization, 2006, chapter 6): the
step along an eigenvector of the Hessian is its gradient over the absolute eigenvalue. What saves evaluations is the
initial Hessian. A multiple of the unit matrix knows neither that a bond is stiff along itself and soft across, nor
that the cell is far stiffer than an atom; springs between neighbours (the idea of Lindh et al., Chem. Phys. Lett. 241,
423 (1995), and of Packwood et al., J. Chem. Phys. 144, 164109 (2016)) and an isotropic elastic solid do. The constants
below were optimised on halides (``benchmarks/ranking.py``); they affect how fast it converges, not where.

Coordinates are the positions in the undeformed cell, in Å, and the logarithm of the deformation, a symmetric matrix:
cells do not rotate, and the gradient is exact at any deformation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.potentials.neighbours import pairs_within
from superionic.units import ev_per_A3

FloatArray = npt.NDArray[np.float64]

# A spring at the sum of the covalent radii, in eV/Å²; how fast springs weaken with distance; the stiffest allowed.
_SPRING_EV_PER_A2 = 1.5
_DECAY = 4.0
_STIFFEST_EV_PER_A2 = 4.5
_REACH_A = 6.0
# Isotropic part of a spring, and a spring that ties each atom to its position.
_SIDEWAYS = 0.1
_TETHER_EV_PER_A2 = 2.0
_BULK_MODULUS_GPA = 30.0
_POISSON_RATIO = 0.25
# Rotations of the cell cost no energy, but the Hessian must not be singular.
_ROTATION_EV = 15.0
# Longest move of an atom and largest component of the strain in one step; softest eigenvalue that a step uses.
_LONGEST_MOVE_A = 0.2
_LARGEST_STRAIN = 0.05
_SOFTEST = 0.05
_NO_MOVE = 1.0e-7
# Below this the quotient of differences is replaced by the derivative half-way: both are exact to 1e-9 there.
_SAME_EIGENVALUE = 1.0e-4


def model_hessian(atoms: Atoms, *, cell: bool) -> FloatArray:
    """Return a model Hessian of a crystal.

    Parameters
    ----------
    cell
        Whether to append nine rows for the logarithm of the deformation to those of the atoms.

    Returns
    -------
    numpy.ndarray
        Shape (3 n_atoms, 3 n_atoms), or nine larger with ``cell``; symmetric and positive definite; in eV/Å², the
        block of the cell in eV.
    """
    from ase.data import covalent_radii

    n = len(atoms)
    pairs = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, _REACH_A)
    i, j = pairs.centre, pairs.neighbour
    touching = covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]]
    stiffness = _SPRING_EV_PER_A2 * np.exp(-_DECAY * (pairs.distances_A / touching - 1.0))
    stiffness = np.minimum(stiffness, _STIFFEST_EV_PER_A2)
    along = pairs.vectors_A / pairs.distances_A[:, None]
    blocks = stiffness[:, None, None] * (
        (1.0 - _SIDEWAYS) * along[:, :, None] * along[:, None, :] + _SIDEWAYS * np.eye(3)
    )
    springs = np.zeros((n, n, 3, 3))
    np.add.at(springs, (i, i), blocks)
    np.add.at(springs, (i, j), -blocks)
    size = 3 * n + (9 if cell else 0)
    hessian = np.zeros((size, size))
    hessian[: 3 * n, : 3 * n] = springs.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n) + _TETHER_EV_PER_A2 * np.eye(3 * n)
    if cell:
        hessian[3 * n :, 3 * n :] = _elastic(float(atoms.get_volume()))
    return 0.5 * (hessian + hessian.T)


def _elastic(volume_A3: float) -> FloatArray:
    """Return the second derivative of the energy of an isotropic elastic solid by its strain, shape (9, 9), in eV."""
    bulk = ev_per_A3(_BULK_MODULUS_GPA)
    shear = 1.5 * bulk * (1.0 - 2.0 * _POISSON_RATIO) / (1.0 + _POISSON_RATIO)
    unit = np.eye(3)
    dilation = np.einsum("ij,kl->ijkl", unit, unit)
    straight, crossed = np.einsum("ik,jl->ijkl", unit, unit), np.einsum("il,jk->ijkl", unit, unit)
    elastic = (bulk - 2.0 * shear / 3.0) * dilation + shear * (straight + crossed)
    stiffness: FloatArray = (volume_A3 * elastic + 0.5 * _ROTATION_EV * (straight - crossed)).reshape(9, 9)
    return stiffness


def deformation(logarithm: FloatArray) -> FloatArray:
    """Return the exponential of a symmetric matrix, shape (3, 3), by which rows of vectors are multiplied."""
    values, vectors = np.linalg.eigh(logarithm)
    exponential: FloatArray = (vectors * np.exp(values)) @ vectors.T
    return exponential


def gradient_of_logarithm(logarithm: FloatArray, virial_eV: FloatArray) -> FloatArray:
    """Return the derivative of the energy by the logarithm of the deformation, shape (3, 3), in eV.

    With cell C exp(U), a change dU is the strain exp(-U) d exp(U). The derivative of the exponential is that of
    Daleckii and Krein: in the eigenvectors of U, elementwise times (exp u_i - exp u_j)/(u_i - u_j).

    Parameters
    ----------
    logarithm
        U, symmetric, shape (3, 3).
    virial_eV
        Volume times (stress + pressure), shape (3, 3), in eV.
    """
    values, vectors = np.linalg.eigh(logarithm)
    exponentials = np.exp(values)
    gaps = values[:, None] - values[None, :]
    close = np.abs(gaps) < _SAME_EIGENVALUE
    differences = exponentials[:, None] - exponentials[None, :]
    middle = np.exp(0.5 * (values[:, None] + values[None, :]))
    factors = np.where(close, middle, differences / np.where(close, 1.0, gaps))
    rotated = vectors.T @ (virial_eV @ ((vectors / exponentials) @ vectors.T)) @ vectors
    gradient: FloatArray = vectors @ (factors * 0.5 * (rotated + rotated.T)) @ vectors.T
    return 0.5 * (gradient + gradient.T)


class QuasiNewton:
    """BFGS from an initial Hessian.

    Parameters
    ----------
    hessian
        Initial Hessian, shape (n, n), symmetric.
    n_atoms
        Number of atoms; the first 3 n_atoms coordinates are theirs, the rest those of the cell.
    """

    def __init__(self, hessian: FloatArray, n_atoms: int) -> None:
        self.hessian = np.array(hessian)
        self.n_atoms = n_atoms
        self._place: FloatArray | None = None
        self._gradient: FloatArray | None = None

    def step(self, place: FloatArray, gradient: FloatArray) -> FloatArray:
        """Update the Hessian by the gradient at a place, and return the step from there; all of shape (n,)."""
        if self._place is not None and self._gradient is not None:
            self._learn(place - self._place, gradient - self._gradient)
        self._place, self._gradient = place.copy(), gradient.copy()
        values, vectors = np.linalg.eigh(self.hessian)
        step: FloatArray = -vectors @ ((gradient @ vectors) / np.maximum(np.abs(values), _SOFTEST))
        atoms, cell = step[: 3 * self.n_atoms].reshape(-1, 3), step[3 * self.n_atoms :]
        longest = float(np.linalg.norm(atoms, axis=1).max()) / _LONGEST_MOVE_A
        strain = float(np.abs(cell).max()) / _LARGEST_STRAIN if len(cell) else 0.0
        return step / max(1.0, longest, strain)

    def memory(self) -> dict[str, Any]:
        """Return all that the next step depends on; the symmetric matrix as its lower triangle."""
        if self._place is None or self._gradient is None:
            return {"hessian": _packed(self.hessian)}
        return {"hessian": _packed(self.hessian), "place": self._place.copy(), "gradient": self._gradient.copy()}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`memory` returned, bit by bit."""
        self.hessian = _unpacked(np.asarray(memory["hessian"]), len(self.hessian))
        if "place" in memory:
            self._place, self._gradient = np.array(memory["place"]), np.array(memory["gradient"])

    def _learn(self, move: FloatArray, change: FloatArray) -> None:
        if float(np.abs(move).max()) < _NO_MOVE:
            return
        expected = self.hessian @ move
        curvature, model = float(move @ change), float(move @ expected)
        if curvature == 0.0 or model == 0.0:
            return
        # Both products are symmetric to the last bit, which `_packed` relies on.
        self.hessian = self.hessian + np.outer(change, change) / curvature - np.outer(expected, expected) / model


def _packed(matrix: FloatArray) -> FloatArray:
    triangle: FloatArray = matrix[np.tril_indices(len(matrix))]
    return triangle


def _unpacked(values: FloatArray, size: int) -> FloatArray:
    matrix = np.zeros((size, size))
    rows, columns = np.tril_indices(size)
    matrix[rows, columns] = values
    matrix[columns, rows] = values
    return matrix
