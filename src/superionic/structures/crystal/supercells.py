"""Supercells of a parent crystal: their sites, and how the parent's symmetry permutes them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from superionic.errors import StructureError
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.crystal.hermite import compact_basis, inequivalent_hermite_matrices
from superionic.structures.crystal.symmetry import FloatArray, IntArray, map_sites, row_hermite

_TRANSLATION_TOLERANCE_A = 0.01
_ONE_CENTRE_A = 0.3

MOST_IMAGES = 120_000_000
"""Largest number of sites × operations of a supercell whose permutations are stored: a gigabyte."""


@dataclass(frozen=True)
class Supercell:
    """An integer matrix on the parent: its rows are the supercell's vectors in units of the parent's.

    Parameters
    ----------
    matrix
        3 × 3 integers with a positive determinant.

    Raises
    ------
    StructureError
        If the determinant is not positive.
    """

    matrix: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]

    def __post_init__(self) -> None:
        if self.multiplicity < 1:
            raise StructureError(
                f"The supercell {[list(r) for r in self.matrix]} has the determinant {self._determinant()}.",
                fix="Give an integer matrix with a positive determinant.",
            )

    def _determinant(self) -> int:
        (a, b, c), (d, e, f), (g, h, i) = self.matrix
        return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)

    @property
    def multiplicity(self) -> int:
        """Number of parent cells in the supercell."""
        return self._determinant()

    @property
    def array(self) -> IntArray:
        """(3, 3) integers."""
        return np.array(self.matrix, dtype=np.int64)

    def __str__(self) -> str:
        (a, b, c), (d, e, f), (g, h, i) = self.matrix
        if (b, c, d, f, g, h) == (0, 0, 0, 0, 0, 0):
            return f"{a}x{e}x{i}"
        return str([list(row) for row in self.matrix]).replace(" ", "")

    @classmethod
    def parse(cls, value: Any) -> Supercell:
        """Read ``"1x1x2"``, ``[1, 1, 2]`` or a 3 × 3 matrix of integers.

        Raises
        ------
        StructureError
            If the value is not one of these.
        """
        if isinstance(value, Supercell):
            return value
        if isinstance(value, str):
            match = re.fullmatch(r"\s*([0-9]{1,18})\s*[x×*]\s*([0-9]{1,18})\s*[x×*]\s*([0-9]{1,18})\s*", value)
            if match:
                return cls.diagonal(*(int(v) for v in match.groups()))
        else:
            try:
                array = np.asarray(value)
                numeric = array.dtype.kind in "iuf" and bool(np.all((array == np.round(array)) & (abs(array) < 1e15)))
            except (TypeError, ValueError, RecursionError):
                numeric = False
            if numeric and array.shape == (3,):
                return cls.diagonal(*(int(v) for v in array))
            if numeric and array.shape == (3, 3):
                rows = [(int(r[0]), int(r[1]), int(r[2])) for r in array]
                return cls((rows[0], rows[1], rows[2]))
        raise StructureError(
            f"{str(value)[:100]!r} is not a supercell.", fix='Write "1x1x2", [1, 1, 2] or three rows of three integers.'
        )

    @classmethod
    def diagonal(cls, a: int, b: int, c: int) -> Supercell:
        """Repeat the parent a, b and c times along its vectors."""
        return cls(((a, 0, 0), (0, b, 0), (0, 0, c)))


@dataclass(frozen=True, eq=False)
class SupercellSites:
    """The sites of a supercell and the permutations of them by the parent's symmetry.

    Parameters
    ----------
    cell_A
        (3, 3) vectors of the supercell as rows, in Å.
    fractional
        (n, 3) fractional coordinates in the supercell. The copies of a parent site are adjacent, in the order of
        the parent's sites.
    parent_site
        (n,) index of the parent site of each.
    permutations
        (n_ops, n): ``permutations[g, i]`` is the site onto which operation g carries site i. The operations are those
        of the parent that keep the lattice of the supercell, its translations included, modulo that lattice.
    orbits
        (n,) index of the parent's sublattice of each site.
    alternatives
        (n_pairs, 2): sites i < j of different groups of one unit, of which only one can be there.
    """

    cell_A: FloatArray
    fractional: FloatArray
    parent_site: IntArray
    permutations: IntArray
    orbits: IntArray
    supercell: Supercell
    alternatives: IntArray

    def __post_init__(self) -> None:
        for field in ("cell_A", "fractional", "parent_site", "permutations", "orbits", "alternatives"):
            array = np.asarray(getattr(self, field))
            if array.flags.writeable:  # a read-only array need not be copied: permutations may be large
                array = np.array(array)
                array.setflags(write=False)
            object.__setattr__(self, field, array)

    @property
    def n_sites(self) -> int:
        """Number of sites, the vacant ones included."""
        return len(self.fractional)

    @property
    def group_order(self) -> int:
        """Number of operations."""
        return len(self.permutations)

    @property
    def translations(self) -> IntArray:
        """(n_translations, n): the permutations that are pure translations, centrings included; the identity first.

        An operation that permutes the sites like a translation is counted as one.
        """
        moves = self.fractional[self.permutations[:, 0]] - self.fractional[0]
        candidates = np.arange(self.group_order)
        # A few sites rule out nearly all other operations; those that remain are checked on every site.
        for probe in (np.linspace(0, self.n_sites - 1, min(8, self.n_sites)).astype(np.int64), slice(None)):
            moved = self.fractional[self.permutations[candidates][:, probe]]
            miss = moved - self.fractional[probe] - moves[candidates, None]
            away = np.abs((miss - np.round(miss)) @ self.cell_A).max(axis=(1, 2))
            candidates = candidates[away < _TRANSLATION_TOLERANCE_A]
        unique: IntArray = np.unique(self.permutations[candidates], axis=0)
        return unique


@dataclass(frozen=True)
class Compactness:
    """The distance of a supercell from its own periodic images.

    Parameters
    ----------
    shortest_A
        Length of its shortest lattice vector in Å.
    ratio
        The same relative to the largest possible for a cell of this volume (that of face-centred cubic); 1 is the best.
    """

    shortest_A: float
    ratio: float


def compactness(crystal: DisorderedCrystal, supercell: Supercell | str | Sequence[Any]) -> Compactness:
    """Measure the shortest periodic distance of a supercell."""
    return _compactness(crystal, compact_basis(Supercell.parse(supercell).array, crystal.cell_A))


def _compactness(crystal: DisorderedCrystal, reduced: IntArray) -> Compactness:
    """Measure a reduced basis, whose shortest lattice vector is one of the three."""
    vectors = reduced @ crystal.cell_A
    shortest = float(np.min(np.linalg.norm(vectors, axis=1)))
    largest = 2.0 ** (1.0 / 6.0) * float(abs(np.linalg.det(vectors))) ** (1.0 / 3.0)
    return Compactness(shortest, min(shortest / largest, 1.0))


def inequivalent_supercells(crystal: DisorderedCrystal, index: int, *, diagonal_only: bool = False) -> list[Supercell]:
    """List the supercells of an index that no symmetry of the parent carries into one another, most compact first.

    Parameters
    ----------
    crystal
        The parent. For the convention of enumeration codes give it in its primitive cell.
    index
        Number of parent cells in the supercell.
    diagonal_only
        Only supercells that repeat the parent along its own vectors.

    Returns
    -------
    list of Supercell
        In Minkowski-reduced, right-handed form.

    Raises
    ------
    StructureError
        If the index is not positive.
    """
    ranked = []
    for matrix in inequivalent_hermite_matrices(index, crystal.rotations, diagonal_only=diagonal_only):
        reduced = compact_basis(matrix, crystal.cell_A)
        edges = np.linalg.norm(reduced @ crystal.cell_A, axis=1)
        cell = Supercell.parse(matrix if diagonal_only else reduced)
        ranked.append((-round(_compactness(crystal, reduced).ratio, 6), round(float(edges.sum()), 6), cell.matrix))
    return [Supercell(matrix) for _, _, matrix in sorted(ranked)]


def supercell_sites(crystal: DisorderedCrystal, supercell: Supercell | str | Sequence[Any]) -> SupercellSites:
    """Build the sites of a supercell and the permutations of them by the parent's operations.

    Everything after the mapping of the parent's own sites is integer arithmetic on cosets of the supercell's lattice,
    so that no tolerance grows with the supercell.

    Parameters
    ----------
    supercell
        Anything that :meth:`Supercell.parse` reads.

    Raises
    ------
    StructureError
        If it has too many sites and operations to be stored.
    """
    parsed = Supercell.parse(supercell)
    _demand_size(crystal, parsed)
    matrix = parsed.array
    hermite = row_hermite(matrix)
    cells = _coset_vectors(hermite)
    n_cells, n_parent = len(cells), len(crystal.sites)
    fractional = crystal.fractional
    inverse = np.linalg.inv(matrix.astype(np.float64))
    in_supercell = (fractional[:, None, :] + cells[None, :, :]) @ inverse
    wrapped = in_supercell - np.floor(in_supercell + 1e-10)
    orbits = np.array([s.orbit for s in crystal.sites], dtype=np.int64)

    retained = [g for g, rotation in enumerate(crystal.rotations) if _keeps_lattice(rotation, matrix)]
    images, shifts = map_sites(
        crystal.cell_A,
        fractional,
        [int(o) for o in orbits],
        crystal.rotations[retained],
        crystal.translations[retained],
    )
    # The cosets are an abelian group: added[t, u] is the coset of t + u.
    added = _coset_index((cells[:, None, :] + cells[None, :, :]).reshape(-1, 3), hermite).reshape(n_cells, n_cells)
    permutations = np.empty((len(retained), n_cells, n_parent, n_cells), dtype=np.int64)
    for g, operation in enumerate(retained):
        # Site (j, T) goes to (image of j, R T + shift of j), and on by each translation of the parent.
        rotated = _coset_index(cells @ crystal.rotations[operation].T, hermite)
        shifted = _coset_index(shifts[g], hermite)
        moved = added[shifted[:, None], rotated[None, :]]
        permutations[g] = images[g][None, :, None] * n_cells + added[:, moved]
    flat = permutations.reshape(len(retained) * n_cells, n_parent * n_cells)
    flat.setflags(write=False)
    cell_A = matrix @ crystal.cell_A
    placed = np.where(np.abs(wrapped) < 1e-10, 0.0, wrapped).reshape(-1, 3)
    parent_site = np.repeat(np.arange(n_parent), n_cells)
    return SupercellSites(
        cell_A=cell_A,
        fractional=placed,
        parent_site=parent_site,
        permutations=flat,
        orbits=np.repeat(orbits, n_cells),
        supercell=parsed,
        alternatives=_alternative_pairs(crystal, cell_A, placed, parent_site, flat),
    )


def _alternative_pairs(
    crystal: DisorderedCrystal, cell_A: FloatArray, placed: FloatArray, parent_site: IntArray, permutations: IntArray
) -> IntArray:
    """Return (n_pairs, 2) the pairs of sites in different groups of the same unit, which share a centre."""
    grouped = [k for k, parent in enumerate(parent_site.tolist()) if crystal.sites[parent].alternative is not None]
    alternatives = [a for k in grouped if (a := crystal.sites[int(parent_site[k])].alternative) is not None]
    if not grouped:
        return np.zeros((0, 2), dtype=np.int64)
    centres = placed[grouped] + np.array([a.to_centre_A for a in alternatives]) @ np.linalg.inv(cell_A)
    pairs = []
    for i, one in enumerate(alternatives):
        steps = centres[i + 1 :] - centres[i]
        near = np.linalg.norm((steps - np.round(steps)) @ cell_A, axis=1) < _ONE_CENTRE_A
        pairs += [
            (grouped[i], grouped[j])
            for j in (np.flatnonzero(near) + i + 1).tolist()
            if alternatives[j].assembly == one.assembly and alternatives[j].group != one.group
        ]
    site_pairs = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    codes = site_pairs[:, 0] * len(placed) + site_pairs[:, 1]
    for operation in permutations:
        moved = np.sort(operation[site_pairs], axis=1)
        if not np.isin(moved[:, 0] * len(placed) + moved[:, 1], codes).all():
            raise StructureError(
                "The symmetry of the sites carries atoms of one disorder group into several groups.",
                where=crystal.name,
                fix="Give the file the space group that the groups have, with the atoms of all of them; or write one "
                "file for each alternative, with occupancy 1.",
            )
    return site_pairs


def _demand_size(crystal: DisorderedCrystal, supercell: Supercell) -> None:
    """Refuse a supercell whose operations on its sites do not fit in memory."""
    n_parent, n_operations, n_cells = len(crystal.sites), len(crystal.rotations), supercell.multiplicity
    most = math.isqrt(MOST_IMAGES // (n_parent * n_operations))
    largest = max(abs(entry) for row in supercell.matrix for entry in row)
    if n_cells > most or largest > MOST_IMAGES:
        edge = max(1, math.floor(max(1, most) ** (1.0 / 3.0) + 1e-9))
        raise StructureError(
            f"The supercell {supercell} has {n_parent * n_cells:,} sites and up to {n_operations * n_cells:,} symmetry "
            "operations, which do not fit in memory.",
            where=crystal.name,
            fix=f"Take a supercell of no more than {max(1, most):,} cells of this crystal, such as "
            f"{edge}x{edge}x{edge}.",
        )


def _keeps_lattice(rotation: IntArray, matrix: IntArray) -> bool:
    """Return whether the rotated vectors of the supercell lie on the supercell's lattice."""
    image = (matrix @ rotation.T) @ np.linalg.inv(matrix.astype(np.float64))
    return bool(np.all(np.abs(image - np.round(image)) < 1e-6))


def _coset_vectors(hermite: IntArray) -> IntArray:
    """Return (n_cells, 3) one parent lattice vector for each parent cell in the supercell."""
    a, b, c = (int(hermite[i, i]) for i in range(3))
    grid = np.indices((a, b, c), dtype=np.int64).reshape(3, -1)
    return np.ascontiguousarray(grid.T)


def _coset_index(vectors: IntArray, hermite: IntArray) -> IntArray:
    """Return (m,) the index in :func:`_coset_vectors` of each lattice vector modulo the supercell's lattice."""
    reduced = vectors.copy()
    for axis in range(3):
        reduced -= (reduced[:, axis] // hermite[axis, axis])[:, None] * hermite[axis]
    _, b, c = (int(hermite[i, i]) for i in range(3))
    return (reduced[:, 0] * b + reduced[:, 1]) * c + reduced[:, 2]
