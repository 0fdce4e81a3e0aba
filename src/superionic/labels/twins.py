"""Identical structures, up to exchanging atoms of an element, a common shift, or wrapping into the cell.

Pairs are searched in a tree by numbers invariant under these changes, |Σ_i w(Z_i) exp(2πi h·f_i)| for a few h, in a
time that grows as n log n with the number of structures. Close pairs are then compared atom by atom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy
from ase import Atoms

FloatArray = npt.NDArray[np.float64]

_HARMONICS: Final = np.array(
    [
        (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, -1, 0), (1, 0, -1), (0, 1, -1), (1, 1, 1),
        (2, 0, 0), (0, 2, 0), (0, 0, 2), (2, 1, 0), (0, 2, 1), (1, 0, 2), (1, 1, -1), (1, -1, 1), (-1, 1, 1),
    ],
    dtype=np.float64,
)  # fmt: skip


def first_twins(structures: Sequence[Atoms], tolerance_A: float) -> list[int | None]:
    """Return for each structure the first identical one of the list, or None.

    Parameters
    ----------
    structures
        Periodic in three directions; a twin has the same cell vectors.
    tolerance_A
        No atom and no cell vector of twins differs by more, once they are superimposed.

    Returns
    -------
    list
        Indices of earlier structures that have no twin before them.
    """
    twins: list[int | None] = [None] * len(structures)
    by_composition: dict[bytes, list[int]] = {}
    copies: dict[bytes, int] = {}
    for index, atoms in enumerate(structures):
        # Copies to the last bit need no search; many of them would all be close to each other.
        exact = atoms.numbers.tobytes() + atoms.positions.tobytes() + np.asarray(atoms.cell).tobytes()
        if (first := copies.setdefault(exact, index)) != index:
            twins[index] = first
            continue
        by_composition.setdefault(np.sort(atoms.numbers).tobytes(), []).append(index)
    for members in by_composition.values():
        if len(members) == 1:
            continue
        cells = np.array([np.asarray(structures[index].cell) for index in members])
        shortest = float(np.linalg.norm(cells, axis=2).min())
        # Moving an atom by t changes its phase by 2π h·Δf, with |Δf| ≤ t/height of the cell; |h| ≤ √5.
        heights = 1.0 / np.linalg.norm(np.linalg.inv(cells), axis=1)
        turned = 2.0 * np.pi * np.abs(_HARMONICS).sum(axis=1).max() * tolerance_A / min(float(heights.min()), shortest)
        invariants = np.array([_invariants(structures[index]) for index in members])
        # Both parts in units of the difference allowed.
        features = np.hstack([invariants / turned, cells.reshape(len(members), 9) / tolerance_A])
        tree = scipy.spatial.cKDTree(features)
        firsts: set[int] = set()
        for position, index in enumerate(members):
            near = tree.query_ball_point(features[position], 1.0 + 1.0e-6, p=np.inf)
            for other in sorted(firsts.intersection(near)):
                if same_crystal(structures[index], structures[members[other]], tolerance_A):
                    twins[index] = members[other]
                    break
            else:
                firsts.add(position)
    return [twin if twin is None or twins[twin] is None else twins[twin] for twin in twins]


def same_crystal(one: Atoms, other: Atoms, tolerance_A: float) -> bool:
    """Return whether two structures of one composition are twins, see :func:`first_twins`."""
    cell = np.asarray(one.cell)
    if len(one) != len(other) or np.abs(cell - np.asarray(other.cell)).max() > tolerance_A:
        return False
    a, b = (_fractions(atoms) for atoms in (one, other))
    if np.array_equal(one.numbers, other.numbers) and _farthest(a - b, cell) <= tolerance_A:
        return True
    elements, counts = np.unique(one.numbers, return_counts=True)
    rarest = elements[np.argmin(counts)]
    start = a[one.numbers == rarest][0]
    for target in b[other.numbers == rarest]:
        shift = target - start
        if _laid_on(a + shift, one.numbers, b, other.numbers, cell, tolerance_A):
            return True
    return False


def _laid_on(
    a: FloatArray,
    numbers_a: npt.NDArray[np.int64],
    b: FloatArray,
    numbers_b: npt.NDArray[np.int64],
    cell: FloatArray,
    tolerance_A: float,
) -> bool:
    """Return whether each atom of ``a`` lies on one of ``b`` of its element, up to a small common shift."""
    moved = np.zeros_like(a)
    for number in np.unique(numbers_a):
        mine, theirs = np.flatnonzero(numbers_a == number), np.flatnonzero(numbers_b == number)
        steps = b[theirs][None, :, :] - a[mine][:, None, :]
        steps -= np.round(steps)
        distances = np.linalg.norm(steps @ cell, axis=2)
        nearest = distances.argmin(axis=1)
        # The atom used to superimpose the two may itself be off by the tolerance.
        if len(set(nearest.tolist())) < len(mine) or distances[np.arange(len(mine)), nearest].max() > 2 * tolerance_A:
            return False
        moved[mine] = steps[np.arange(len(mine)), nearest]
    return _farthest(moved - 0.5 * (moved.max(axis=0) + moved.min(axis=0)), cell) <= tolerance_A


def _farthest(steps: FloatArray, cell: FloatArray) -> float:
    return float(np.linalg.norm((steps - np.round(steps)) @ cell, axis=1).max())


def _fractions(atoms: Atoms) -> FloatArray:
    return np.asarray(atoms.positions @ np.linalg.inv(np.asarray(atoms.cell)), dtype=np.float64)


def _invariants(atoms: Atoms) -> FloatArray:
    """Return |Σ w exp(2πi h·f)|/Σ w, which an atom changes by no more than the change of its phase."""
    weights = np.sqrt(np.asarray(atoms.numbers, dtype=np.float64))
    phases = np.exp(2.0j * np.pi * (_fractions(atoms) @ _HARMONICS.T))
    return np.asarray(np.abs(weights @ phases) / weights.sum(), dtype=np.float64)
