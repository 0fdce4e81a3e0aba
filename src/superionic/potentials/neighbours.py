"""Pairs of atoms within a cutoff under periodic boundary conditions, in plain numpy.

The list is a function of the structure alone (no skin, no history), so that an evaluation is bitwise the same at any
point of a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

_PAIRS_AT_ONCE = 2_000_000
_ENOUGH_FOR_A_TREE = 100


@dataclass(frozen=True)
class Pairs:
    """Directed pairs: every pair appears once from each end.

    Attributes
    ----------
    centre, neighbour
        Atom indices, shape (n_pairs,); sorted by centre.
    vectors_A
        From centre to (the image of the) neighbour, shape (n_pairs, 3), in Å.
    distances_A
        Their lengths, shape (n_pairs,), in Å.
    """

    centre: IntArray
    neighbour: IntArray
    vectors_A: FloatArray
    distances_A: FloatArray


def pairs_within(positions_A: FloatArray, cell_A: FloatArray, pbc: npt.ArrayLike, cutoff_A: float) -> Pairs:
    """Find all directed pairs of atoms (images included) closer than ``cutoff_A``.

    Parameters
    ----------
    positions_A
        Cartesian positions, shape (n_atoms, 3), in Å; need not be wrapped into the cell.
    cell_A
        Cell vectors as rows, shape (3, 3), in Å. Rows of directions that are not periodic may be zero.
    pbc
        Periodicity along each cell vector, shape (3,).
    cutoff_A
        Cutoff in Å. It may exceed the cell: all images are found.
    """
    positions = np.asarray(positions_A, dtype=np.float64)
    if len(positions) == 0:
        empty = np.zeros(0, dtype=np.intp)
        return Pairs(empty, empty, np.zeros((0, 3)), np.zeros(0))
    periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), 3)
    basis = _complete(np.asarray(cell_A, dtype=np.float64), periodic)
    inverse = np.linalg.inv(basis)
    fractional = positions @ inverse
    fractional = np.where(periodic, fractional - np.floor(fractional), fractional)
    wrapped = fractional @ basis
    # An image that lies further outside than the cutoff over the height of the cell cannot be a neighbour.
    reach = cutoff_A * np.linalg.norm(inverse, axis=0)
    counts = np.where(periodic, np.ceil(reach).astype(int), 0)
    grids = [np.arange(-count, count + 1) for count in counts]
    shifts = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, 3)
    # Axis by axis: each is a small table of shifts against atoms.
    in_reach = np.ones((1, len(positions)), dtype=bool)
    for axis, grid in enumerate(grids):
        coordinate = fractional[None, :, axis] + grid[:, None]
        inside = ((coordinate > -reach[axis]) & (coordinate < 1.0 + reach[axis])) | (not periodic[axis])
        in_reach = (in_reach[:, None, :] & inside[None, :, :]).reshape(-1, len(positions))
    image, ghost_index = np.nonzero(in_reach)
    ghosts = wrapped[ghost_index] + shifts[image] @ basis
    is_home = (shifts[image] == 0).all(axis=1)

    home_ghost = np.full(len(positions), -1)
    home_ghost[ghost_index[is_home]] = np.nonzero(is_home)[0]
    # A tree also finds the pairs of ghosts, so it is faster only where an atom has few neighbours.
    few = len(ghosts) > _ENOUGH_FOR_A_TREE and len(ghosts) * cutoff_A**3 < abs(float(np.linalg.det(basis)))
    search = _by_tree if few and periodic.all() else _by_rows
    centre, ghost, vectors, squares = search(wrapped, ghosts, home_ghost, cutoff_A)
    return Pairs(centre, ghost_index[ghost], vectors, np.sqrt(squares))


def _by_rows(
    wrapped: FloatArray, ghosts: FloatArray, home_ghost: IntArray, cutoff_A: float
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Compare every atom with every ghost."""
    centres: list[IntArray] = []
    neighbours: list[IntArray] = []
    vectors: list[FloatArray] = []
    squares: list[FloatArray] = []
    rows = max(1, _PAIRS_AT_ONCE // max(1, len(ghosts)))
    for start in range(0, len(wrapped), rows):
        stop = min(start + rows, len(wrapped))
        # Component by component: far less memory traffic than an (n, m, 3) array.
        square = np.zeros((stop - start, len(ghosts)))
        for axis in range(3):
            square += (ghosts[None, :, axis] - wrapped[start:stop, None, axis]) ** 2
        square[np.arange(stop - start), home_ghost[start:stop]] = np.inf
        local, ghost = np.nonzero(square < cutoff_A**2)
        centres.append(local + start)
        neighbours.append(ghost)
        vectors.append(ghosts[ghost] - wrapped[local + start])
        squares.append(square[local, ghost])
    return np.concatenate(centres), np.concatenate(neighbours), np.concatenate(vectors), np.concatenate(squares)


def _by_tree(
    wrapped: FloatArray, ghosts: FloatArray, home_ghost: IntArray, cutoff_A: float
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Find the same pairs in the same order, to the last bit, with a tree of the ghosts."""
    from scipy.spatial import cKDTree

    atom_of = np.full(len(ghosts), -1)
    atom_of[home_ghost] = np.arange(len(wrapped))
    either = cKDTree(ghosts).query_pairs(cutoff_A * (1.0 + 1e-9), output_type="ndarray")
    both = np.concatenate([either, either[:, ::-1]])
    both = both[atom_of[both[:, 0]] >= 0]
    centre, ghost = atom_of[both[:, 0]], both[:, 1]
    order = np.lexsort((ghost, centre))
    centre, ghost = centre[order], ghost[order]
    vectors = ghosts[ghost] - wrapped[centre]
    squares = np.zeros(len(centre))
    for axis in range(3):
        squares += vectors[:, axis] ** 2
    inside = squares < cutoff_A**2
    return centre[inside], ghost[inside], vectors[inside], squares[inside]


def _complete(cell: FloatArray, periodic: npt.NDArray[np.bool_]) -> FloatArray:
    """Return a non-singular basis: directions that are not periodic get a unit vector normal to the others."""
    if periodic.all():
        return cell
    basis = cell.copy()
    for axis in np.nonzero(~periodic)[0]:
        first, second = basis[(axis + 1) % 3], basis[(axis + 2) % 3]
        normal = np.cross(first, second)
        if np.linalg.norm(normal) < 1e-12:
            normal = np.eye(3)[axis]
        basis[axis] = normal / np.linalg.norm(normal)
    return basis
