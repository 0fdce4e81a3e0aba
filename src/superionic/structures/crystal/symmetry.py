"""Space-group symmetry of an occupancy-labelled parent crystal, on plain arrays.

Two sites count as the same kind only if the same species sit on them with the same occupancies. The operations are
found by spglib (Togo, Shinohara & Tanaka, Sci. Technol. Adv. Mater. Methods 4, 2384822 (2024)).

Conventions: rows of ``cell_A`` are lattice vectors; an operation maps the fractional column vector x to R x + t.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import StructureError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Symmetry:
    """The space group of a labelled crystal.

    Parameters
    ----------
    rotations
        (n_ops, 3, 3) integer rotation parts; centring translations of the cell are operations of their own.
    translations
        (n_ops, 3) translation parts in [0, 1).
    number, symbol
        International number (1-230) and Hermann-Mauguin symbol.
    wyckoffs
        Wyckoff letter of each site, in the standard setting.
    orbits
        For each site the index of its crystallographic orbit, numbered by first appearance.
    """

    rotations: IntArray
    translations: FloatArray
    number: int
    symbol: str
    wyckoffs: tuple[str, ...]
    orbits: tuple[int, ...]


def find_symmetry(
    cell_A: FloatArray, fractional: FloatArray, labels: Sequence[int], *, symprec: float = 0.01
) -> Symmetry:
    """Find the space group of a labelled crystal.

    Parameters
    ----------
    cell_A
        (3, 3) lattice vectors as rows, in Å.
    fractional
        (n, 3) fractional coordinates.
    labels
        One integer a site; sites are equivalent only if their labels agree.
    symprec
        Distance tolerance in Å. It is lowered tenfold, twice at most, where sites lie closer together than that.

    Raises
    ------
    StructureError
        If no symmetry can be found at any of the tolerances.
    """
    dataset = None
    for tolerance in (symprec, symprec / 10, symprec / 100):
        dataset = _dataset(cell_A, fractional, labels, tolerance)
        if dataset is not None:
            break
    if dataset is None:
        raise StructureError(
            "The symmetry of the crystal could not be determined.",
            where=f"{len(labels)} sites, tolerance {symprec:g} Å",
            fix="Look for sites on top of each other, or try another `symprec`.",
        )
    rotations = np.asarray(dataset.rotations, dtype=np.int64)
    translations = _snap(np.asarray(dataset.translations, dtype=np.float64), cell_A, symprec)
    # The orbits come from the operations themselves, since orderings are reduced by these.
    images, _ = map_sites(cell_A, fractional, labels, rotations, translations, tolerance_A=max(0.05, 5 * symprec))
    first: dict[int, int] = {}
    orbits = tuple(first.setdefault(int(o), len(first)) for o in images.min(axis=0))
    return Symmetry(
        rotations=rotations,
        translations=translations,
        number=int(dataset.number),
        symbol=str(dataset.international),
        wyckoffs=tuple(str(w) for w in dataset.wyckoffs),
        orbits=orbits,
    )


def _dataset(cell_A: FloatArray, fractional: FloatArray, labels: Sequence[int], tolerance: float) -> Any:
    import spglib

    failure: tuple[type[Exception], ...] = (getattr(spglib, "SpglibError", RuntimeError),)
    try:
        with warnings.catch_warnings():
            # spglib 2.7+ announces that it will raise instead of returning None; both are handled here.
            warnings.simplefilter("ignore", DeprecationWarning)
            return spglib.get_symmetry_dataset((cell_A, fractional, list(labels)), symprec=tolerance)
    except failure:
        return None


def _snap(translations: FloatArray, cell_A: FloatArray, tolerance_A: float) -> FloatArray:
    """Round translations to multiples of 1/24 if all lie within the tolerance of one, else leave them all."""
    exact = np.round(translations * 24) / 24
    off = np.linalg.norm((translations - exact) @ cell_A, axis=1)
    snapped = exact if np.all(off <= tolerance_A) else translations
    wrapped: FloatArray = snapped - np.floor(snapped + 1e-9)
    return np.where(np.abs(wrapped) < 1e-9, 0.0, wrapped)


def map_sites(
    cell_A: FloatArray,
    fractional: FloatArray,
    labels: Sequence[int],
    rotations: IntArray,
    translations: FloatArray,
    *,
    tolerance_A: float = 0.05,
) -> tuple[IntArray, IntArray]:
    """Map each site by each operation onto a site and a lattice vector.

    Parameters
    ----------
    cell_A, fractional, labels
        As in :func:`find_symmetry`.
    rotations, translations
        (n_ops, 3, 3) and (n_ops, 3).
    tolerance_A
        Largest distance in Å between an image and the site it is taken for.

    Returns
    -------
    images : (n_ops, n) int
        ``images[g, i]`` is the site onto which operation g carries site i.
    shifts : (n_ops, n, 3) int
        R x_i + t = x_images[g, i] + shifts[g, i], up to the tolerance.

    Raises
    ------
    StructureError
        If an operation does not map the sites onto themselves one to one.
    """
    n_ops, n_sites = len(rotations), len(fractional)
    images = np.zeros((n_ops, n_sites), dtype=np.int64)
    shifts = np.zeros((n_ops, n_sites, 3), dtype=np.int64)
    kinds = np.asarray(labels)
    # A vector shorter than the tolerance changes no fractional coordinate by more than this.
    narrow = tolerance_A * np.linalg.norm(np.linalg.inv(cell_A), axis=0)
    axis = int(np.argmin(narrow))
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        x = fractional[members]
        step = max(1, _PAIRS_AT_ONCE // len(members) ** 2)
        for start in range(0, n_ops, step):
            part = slice(start, start + step)
            moved = x @ rotations[part].transpose(0, 2, 1) + translations[part, None, :]
            # One coordinate rules out nearly all pairs; the distance is computed for the rest.
            along = moved[:, :, None, axis] - x[:, axis]
            along -= np.round(along)
            op, source, target = np.nonzero(np.abs(along) <= narrow[axis] + 1e-12)
            difference = moved[op, source] - x[target]
            lattice = np.round(difference)
            squared = np.sum(((difference - lattice) @ cell_A) ** 2, axis=1)
            near = np.flatnonzero(squared <= tolerance_A**2)
            near = near[np.lexsort((squared[near], source[near], op[near]))]
            slot = op[near] * len(members) + source[near]
            # Where there are several targets the nearest comes first.
            _, first = np.unique(slot, return_index=True)
            near = near[first]
            hit = np.zeros(moved.shape[:2], dtype=np.int64)
            hit[op[near], target[near]] += 1
            wrong = np.flatnonzero(~np.all(hit == 1, axis=1))
            if len(wrong):
                raise StructureError(
                    "A symmetry operation does not map the sites of the crystal onto themselves.",
                    where=f"operation {start + wrong[0]}, largest miss "
                    f"{_largest_miss_A(cell_A, moved[wrong[0]], x):.3f} Å",
                    fix="Try a smaller `symprec`, or give positions with more digits.",
                )
            images[start + op[near], members[source[near]]] = members[target[near]]
            shifts[start + op[near], members[source[near]]] = lattice[near].astype(np.int64)
    return images, shifts


def _largest_miss_A(cell_A: FloatArray, moved: FloatArray, x: FloatArray) -> float:
    difference = moved[:, None, :] - x
    distances = np.linalg.norm((difference - np.round(difference)) @ cell_A, axis=2)
    return float(distances.min(axis=1).max())


def action_on(permutations: IntArray, blocks: Sequence[Sequence[int]]) -> IntArray:
    """Restrict permutations to blocks of sites, numbered one after another.

    Parameters
    ----------
    permutations
        (n_ops, n) permutations of all sites.
    blocks
        Indices of the sites of each block; no operation may carry a site out of its block.

    Returns
    -------
    (n_ops, m) int
        How the operations permute the sites of the blocks, in the blocks' own numbering.

    Raises
    ------
    StructureError
        If a site does not exist, or a block is not closed under the operations.
    """
    n_sites = permutations.shape[1]
    label = np.full(n_sites, -1, dtype=np.int64)
    position = np.full(n_sites, -1, dtype=np.int64)
    index = np.array([m for b in blocks for m in b], dtype=np.int64)
    if len(index) and (index.min() < 0 or index.max() >= n_sites):
        raise StructureError(
            f"The composition names site {int(index.max())}; the supercell has {n_sites} sites.",
            fix="Use the composition with the supercell that it was made for.",
        )
    position[index] = np.arange(len(index))
    label[index] = np.repeat(np.arange(len(blocks)), [len(b) for b in blocks])
    images = permutations[:, index]
    if np.any(label[images] != label[index]):
        raise StructureError(
            "A symmetry operation carries a site of one group of the composition into another group.",
            fix="Use the composition with the supercell and the crystal that it was made for.",
        )
    mapped: IntArray = position[images]
    return mapped


def symmetrise(
    cell_A: FloatArray, fractional: FloatArray, labels: Sequence[int], symmetry: Symmetry, *, tolerance_A: float = 0.05
) -> tuple[FloatArray, FloatArray]:
    """Move cell and sites onto their symmetry, so that equivalent orderings have equal energies to rounding.

    The metric tensor is averaged over the point group and each position over its images. A cell that obeys its
    symmetry to 1e-10 relative is kept as it is.

    Returns
    -------
    cell_A : (3, 3)
    fractional : (n, 3)
        Not wrapped: positions stay close to the original ones.
    """
    metric = cell_A @ cell_A.T
    average = np.mean([r.T @ metric @ r for r in symmetry.rotations.astype(np.float64)], axis=0)
    cell = cell_A
    if np.max(np.abs(average - metric)) > 1e-10 * np.max(np.abs(metric)):
        inverse = np.linalg.inv(cell_A)
        squared = inverse @ average @ inverse.T
        values, vectors = np.linalg.eigh(0.5 * (squared + squared.T))
        cell = cell_A @ (vectors * np.sqrt(values)) @ vectors.T
    images, shifts = map_sites(
        cell, fractional, labels, symmetry.rotations, symmetry.translations, tolerance_A=tolerance_A
    )
    summed = np.zeros_like(fractional)
    for rotation, translation, image, shift in zip(
        symmetry.rotations, symmetry.translations, images, shifts, strict=True
    ):
        summed[image] += fractional @ rotation.T + translation - shift
    return cell, summed / len(symmetry.rotations)


def primitive_basis(rotations: IntArray, translations: FloatArray, cell_A: FloatArray) -> FloatArray:
    """Return a reduced basis of the lattice of all pure translations.

    Parameters
    ----------
    rotations, translations
        (n_ops, 3, 3) and (n_ops, 3): the operations of the crystal.
    cell_A
        (3, 3) lattice vectors as rows, in Å.

    Returns
    -------
    (3, 3) float
        Rows are the primitive vectors in units of the vectors of the cell; right-handed like the cell.
    """
    from ase.geometry.minkowski_reduction import minkowski_reduce

    centrings = translations[np.all(rotations == np.eye(3, dtype=np.int64), axis=(1, 2))]
    count = len(centrings)
    if count == 1:
        return np.eye(3)
    # The translations form a group of order `count`, so that count × t is a lattice vector of the cell.
    scaled = np.rint(centrings * count).astype(np.int64)
    rows = row_hermite(np.vstack([scaled, count * np.eye(3, dtype=np.int64)]))
    basis = rows.astype(np.float64) / count
    _, operation = minkowski_reduce(basis @ cell_A)
    reduced: FloatArray = np.asarray(operation, dtype=np.float64) @ basis
    return reduced if np.linalg.det(reduced) > 0 else -reduced


def row_hermite(matrix: IntArray) -> IntArray:
    """Return the row-style Hermite normal form (upper triangular, positive diagonal) of an integer matrix of rank 3.

    Parameters
    ----------
    matrix
        (m, 3) integers, m ≥ 3; its rows span a lattice.

    Returns
    -------
    (3, 3) int
        The basis of the same lattice with zeros below the diagonal and reduced entries above it.
    """
    rows = [[int(v) for v in row] for row in matrix]
    result: list[list[int]] = []
    for column in range(3):
        while True:
            nonzero = sorted((r for r in rows if r[column]), key=lambda r: abs(r[column]))
            if len(nonzero) <= 1:
                break
            pivot = nonzero[0]
            for row in nonzero[1:]:
                factor = row[column] // pivot[column]
                for k in range(3):
                    row[k] -= factor * pivot[k]
        if not nonzero:
            raise StructureError("The vectors do not span three dimensions.", fix="Give three independent vectors.")
        pivot = nonzero[0]
        rows = [r for r in rows if r is not pivot]
        if pivot[column] < 0:
            pivot = [-v for v in pivot]
        for above in result:
            factor = above[column] // pivot[column]
            for k in range(3):
                above[k] -= factor * pivot[k]
        result.append(pivot)
    return np.array(result, dtype=np.int64)
