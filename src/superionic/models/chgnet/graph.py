"""CHGNet's crystal graph, built with array operations.

The graph is that of ``chgnet.graph.CrystalGraphConverter``, edge for edge in the same order (tested), in a third of the
time or less: the converter creates a Python object for each bond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]

_TOLERANCE_A = 1.0e-8  # of the converter's neighbour search


@dataclass(frozen=True)
class GraphArrays:
    """Indices of the graph.

    Attributes
    ----------
    atom_graph
        Centre and neighbour of each directed bond, shape (n_directed, 2).
    image
        Lattice vector of the neighbour's image, shape (n_directed, 3).
    directed2undirected
        Undirected bond of each directed one, shape (n_directed,).
    undirected2directed
        First directed bond of each undirected one, shape (n_undirected,).
    bond_graph
        Angles: centre, then undirected and directed index of the first bond and of the second, shape (n_angles, 5).
    n_isolated
        Number of atoms without any neighbour.
    """

    atom_graph: IntArray
    image: npt.NDArray[np.float64]
    directed2undirected: IntArray
    undirected2directed: IntArray
    bond_graph: IntArray
    n_isolated: int


def build_graph(
    positions_A: FloatArray, cell_A: FloatArray, pbc: npt.NDArray[np.bool_], atom_cutoff_A: float, bond_cutoff_A: float
) -> GraphArrays:
    """Build the graph of one structure, with pymatgen's compiled neighbour search (which CHGNet requires)."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    coordinates = np.ascontiguousarray(positions_A, dtype=np.float64)
    centre, neighbour, image, distance = find_points_in_spheres(
        coordinates,
        coordinates,
        r=float(atom_cutoff_A),
        pbc=np.ascontiguousarray(pbc, dtype=np.int64),
        lattice=np.ascontiguousarray(cell_A, dtype=np.float64),
        tol=_TOLERANCE_A,
    )
    keep = ~((centre == neighbour) & (distance <= _TOLERANCE_A))
    centre, neighbour, image, distance = centre[keep], neighbour[keep], image[keep], distance[keep]
    n_atoms, n_bonds = len(coordinates), len(centre)
    if n_bonds == 0:
        empty = np.zeros(0, dtype=np.int32)
        return GraphArrays(
            np.zeros((0, 2), np.int32), np.zeros((0, 3)), empty, empty, np.zeros((0, 5), np.int32), n_atoms
        )
    reverse = _reverse_bonds(centre, neighbour, image, n_atoms)
    index = np.arange(n_bonds)
    first = np.minimum(index, reverse)
    undirected2directed = np.nonzero(first == index)[0]
    number = np.empty(n_bonds, dtype=np.int64)
    number[undirected2directed] = np.arange(len(undirected2directed))
    directed2undirected = number[first]
    return GraphArrays(
        atom_graph=np.stack([centre, neighbour], axis=1).astype(np.int32),
        image=np.asarray(image, dtype=np.float64),
        directed2undirected=directed2undirected.astype(np.int32),
        undirected2directed=undirected2directed.astype(np.int32),
        bond_graph=_angles(
            centre=centre,
            neighbour=neighbour,
            distance=distance,
            directed2undirected=directed2undirected,
            undirected2directed=undirected2directed,
            reverse=reverse,
            cutoff=bond_cutoff_A,
            n_atoms=n_atoms,
        ),
        n_isolated=n_atoms - len(np.unique(centre)),
    )


def _reverse_bonds(
    centre: npt.NDArray[np.int64], neighbour: npt.NDArray[np.int64], image: FloatArray, n_atoms: int
) -> npt.NDArray[np.int64]:
    """Return the index of the reverse of each bond."""
    shift = np.rint(image).astype(np.int64)
    reach = int(np.abs(shift).max()) + 1
    base = 2 * reach + 1

    def key(
        start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], offset: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        packed = start.astype(np.int64) * n_atoms + end
        for axis in range(3):
            packed = packed * base + (offset[:, axis] + reach)
        return packed

    forward = key(centre, neighbour, shift)
    order = np.argsort(forward, kind="stable")
    backward = key(neighbour, centre, -shift)
    place = np.minimum(np.searchsorted(forward[order], backward), len(order) - 1)
    reverse = order[place]
    if (forward[reverse] != backward).any():
        raise ValueError("a bond without its reverse: the neighbour search is not symmetric")
    return reverse


def _angles(
    *,
    centre: npt.NDArray[np.int64],
    neighbour: npt.NDArray[np.int64],
    distance: FloatArray,
    directed2undirected: npt.NDArray[np.int64],
    undirected2directed: npt.NDArray[np.int64],
    reverse: npt.NDArray[np.int64],
    cutoff: float,
    n_atoms: int,
) -> IntArray:
    """Return all pairs of short bonds that share a centre, in the converter's order."""
    # Around each atom the converter groups bonds by neighbouring atom, in the order in which those first occur.
    pair = centre.astype(np.int64) * n_atoms + neighbour
    _, first_met, which = np.unique(pair, return_index=True, return_inverse=True)
    order = np.lexsort((np.arange(len(centre)), first_met[which], centre))
    around = order[distance[order] < cutoff]
    counts = np.bincount(centre[around], minlength=n_atoms)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])

    short = undirected2directed[distance[undirected2directed] <= cutoff]
    # Each undirected bond counts from both of its ends, one after the other.
    first = np.stack([short, reverse[short]], axis=1).ravel()
    repeats = counts[centre[first]]
    left = np.repeat(first, repeats)
    within = np.arange(len(left)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    right = around[starts[centre[left]] + within]
    different = left != right
    left, right = left[different], right[different]
    columns = (centre[left], directed2undirected[left], left, directed2undirected[right], right)
    return np.stack(columns, axis=1).astype(np.int32)
