"""Numerical descriptors of atomic environments: the potential's own, or built-in ones.

A potential that offers ``descriptors(atoms) -> (n_atoms, d)`` (NEP, CHGNet, MACE) describes atoms as it sees them: two
environments that it cannot distinguish have the same descriptors. The built-in ones need numpy alone, and serve where
a potential has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import PotentialError
from superionic.potentials.base import Potential
from superionic.potentials.neighbours import pairs_within

FloatArray = npt.NDArray[np.float64]

CUTOFF_A = 5.5
_N_RADIAL = 10
_N_ANGULAR = 5


def atomic_descriptors(potential: Potential | None, atoms: Atoms, numbers: Sequence[int]) -> FloatArray:
    """Describe the environment of each atom by the potential, or by the built-in descriptors where it has none.

    Parameters
    ----------
    potential
        The potential; None for the built-in descriptors.
    numbers
        Atomic numbers of the elements that the built-in descriptors distinguish: all elements of the data set.

    Returns
    -------
    array, (n_atoms, d)
    """
    own: Callable[[Atoms], FloatArray] | None = getattr(potential, "descriptors", None)
    if own is None:
        return built_in_descriptors(atoms, numbers)
    return np.asarray(own(atoms), dtype=np.float64)


def built_in_descriptors(atoms: Atoms, numbers: Sequence[int], cutoff_A: float = CUTOFF_A) -> FloatArray:
    """Radial and angular descriptors of each atom; invariant to rotation, reflection and the order of neighbours.

    For each element e of the neighbours, with Gaussians g_k evenly spread up to the cutoff and the cosine cutoff
    f(r) = (1 + cos πr/r_c)/2 (Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007)):
    radial Σ_j g_k(r_ij) f(r_ij), and the lengths of the vector Σ_j g_k f r̂_ij and of the traceless tensor
    Σ_j g_k f (r̂_ij r̂_ij − 1/3), the angular parts of order 1 and 2.

    Parameters
    ----------
    numbers
        Atomic numbers of the elements to distinguish, in any order; duplicates are ignored.

    Returns
    -------
    array, (n_atoms, n_elements × 20)

    Raises
    ------
    PotentialError
        If an element of the structure is not among the numbers.
    """
    elements = np.unique(np.asarray(numbers, dtype=np.int64))
    kinds = np.searchsorted(elements, atoms.numbers)
    if len(elements) == 0 or np.any(elements[np.minimum(kinds, len(elements) - 1)] != atoms.numbers):
        raise PotentialError(
            "The structure has an element that the descriptors do not cover.", fix="Name all elements."
        )
    pairs = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, cutoff_A)
    r = pairs.distances_A
    smooth = 0.5 * (1.0 + np.cos(np.pi * r / cutoff_A))
    unit = pairs.vectors_A / np.maximum(r, 1e-12)[:, None]
    outer = unit[:, :, None] * unit[:, None, :] - np.eye(3) / 3.0
    slots = pairs.centre * len(elements) + kinds[pairs.neighbour]
    n_slots = len(atoms) * len(elements)
    blocks = [_summed(slots, value, n_slots) for value in _gaussians(r, cutoff_A, _N_RADIAL, smooth).T]
    for weight in _gaussians(r, cutoff_A, _N_ANGULAR, smooth).T:
        for parts in (unit, outer.reshape(-1, 9)):
            sums = [_summed(slots, weight * parts[:, k], n_slots) for k in range(parts.shape[1])]
            blocks.append(np.sqrt(np.sum(np.square(sums), axis=0)))
    return np.stack(blocks, axis=1).reshape(len(atoms), -1)


def structure_features(descriptors: FloatArray, atomic_numbers: npt.ArrayLike, numbers: Sequence[int]) -> FloatArray:
    """Describe a structure by its atoms: mean and standard deviation of their descriptors, element by element.

    The mean distinguishes phases and orderings; the spread shows that a few ions are between sites.

    Parameters
    ----------
    descriptors
        (n_atoms, d).
    atomic_numbers
        (n_atoms,).
    numbers
        Atomic numbers of all elements of the data set; the block of an absent element is zero.

    Returns
    -------
    array, (n_elements × 2d,)
    """
    of_atoms = np.asarray(atomic_numbers)
    blocks = []
    for number in np.unique(np.asarray(numbers, dtype=np.int64)):
        rows = descriptors[of_atoms == number]
        # Weighted by the share of the element, so that every atom counts alike in a distance between structures.
        share = np.sqrt(len(rows) / max(1, len(of_atoms)))
        mean, spread = (rows.mean(axis=0), rows.std(axis=0)) if len(rows) else (np.zeros(descriptors.shape[1]),) * 2
        blocks += [share * mean, share * spread]
    return np.concatenate(blocks)


def _gaussians(r: FloatArray, cutoff_A: float, count: int, smooth: FloatArray) -> FloatArray:
    centres = np.linspace(1.0, cutoff_A - 0.5, count)
    width = centres[1] - centres[0]
    values: FloatArray = np.exp(-0.5 * ((r[:, None] - centres) / width) ** 2) * smooth[:, None]
    return values


def _summed(slots: npt.NDArray[np.intp], values: FloatArray, n_slots: int) -> FloatArray:
    return np.bincount(slots, weights=values, minlength=n_slots).astype(np.float64)
