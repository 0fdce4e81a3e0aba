"""Map the sites of a known crystal into the cell of a trajectory: find supercell, orientation and origin."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError, StructureError
from superionic.structures.crystal.refined_cell import RefinedCell
from superionic.transport.estimate import Estimate
from superionic.transport.sites.migration import Migration
from superionic.transport.sites.migration_summary import CrystalFit, MigrationSummary
from superionic.transport.sites.positions import SiteSet, images_around, operations_in_supercell, sites_in_supercell

if TYPE_CHECKING:
    from superionic.structures.crystal.disordered import DisorderedCrystal

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LARGEST_STRAIN = 0.08
"""A cell fits if no direction is longer or shorter than in the supercell of the crystal by more than this fraction."""
LARGEST_MISFIT_A = 1.0
"""The framework fits if the rms distance of its mean positions from sites of the crystal is at most this."""

_SYMMETRY_TOLERANCE_A = 0.3
_AS_GOOD_A = 0.1
_MOST_MATRICES = 96
_REFINEMENTS = 3


@dataclass(frozen=True, eq=False)
class CrystalSites:
    """The mobile ions' sites of a crystal in the cell of a trajectory.

    Attributes
    ----------
    sites
        Labelled by sublattice and Wyckoff position, such as ``"Li1 (6h)"``.
    occupancies
        For each label the refined occupancy of one site by mobile ions.
    operations
        Rotations and translations of the crystal in this cell.
    crystal
        Name of the crystal.
    refined
        The crystal's cell, or its primitive cell if the run used that.
    matrix
        (3, 3) integers: the trajectory's cell vectors in units of this cell's.
    strain
        Largest relative change of a length from the crystal to the trajectory, with its sign.
    misfit_A
        Root-mean-square distance of the framework's mean positions from their sites; None without a framework.
    rival_misfit_A
        The same for another mapping of the crystal that gives sites other labels and fits about as well; None without
        such.
    flags
        Remarks for the reader.
    """

    sites: SiteSet
    occupancies: dict[str, float]
    operations: tuple[IntArray, FloatArray]
    crystal: str
    refined: RefinedCell
    matrix: IntArray
    strain: float
    misfit_A: float | None
    rival_misfit_A: float | None
    flags: tuple[str, ...]

    @property
    def fit(self) -> CrystalFit:
        """How the crystal was mapped onto the trajectory."""
        return CrystalFit(
            name=self.crystal,
            supercell=tuple(tuple(int(x) for x in row) for row in self.matrix),
            strain=self.strain,
            framework_misfit_A=self.misfit_A,
            rival_misfit_A=self.rival_misfit_A,
        )


def summary_of(migration: Migration, tracer_cm2_per_s: Estimate, sites: CrystalSites | None) -> MigrationSummary:
    """Summarise the migration of the ions, on the sites of a crystal if there is one."""
    if sites is None:
        return MigrationSummary.of(migration, tracer_cm2_per_s)
    return MigrationSummary.of(
        migration,
        tracer_cm2_per_s,
        crystal=sites.fit,
        refined_occupancies=sites.occupancies,
        flags=sites.flags,
    )


def crystal_sites(
    crystal: DisorderedCrystal,
    mobile: Sequence[str],
    cell_A: FloatArray,
    framework: Sequence[str] = (),
    framework_positions_A: FloatArray | None = None,
) -> CrystalSites:
    """Find the sites of a crystal's mobile ions in the cell of a trajectory.

    Cell and framework are compared with all supercells of the crystal of about this size, in all orientations and from
    all origins that put one atom of the framework onto a site of its kind. The best fit is used, except that the
    crystal's own axes and origin take precedence if they fit about as well (within 0.1 Å).

    Parameters
    ----------
    crystal
        The crystal, which may be disordered.
    mobile
        Elements of the mobile ions.
    cell_A
        (3, 3) mean cell of the trajectory.
    framework, framework_positions_A
        Elements of the other atoms, and their (n, 3) mean positions. Elements that the crystal lacks (after a
        substitution) may be on any site that is not of a mobile ion alone.

    Raises
    ------
    AnalysisError
        If the crystal has no site of a mobile ion, or cell or framework does not fit within :data:`LARGEST_STRAIN` and
        :data:`LARGEST_MISFIT_A`.
    """
    if not any(species in mobile for site in crystal.sites for species in site.species):
        raise AnalysisError(
            f"The crystal has no site of {' or '.join(mobile)}; it holds {', '.join(crystal.species)}.",
            where=crystal.name,
            fix="Give the file of the crystal with its mobile ions, or take the sites of the density: --sites density.",
        )
    cell = np.asarray(cell_A, dtype=np.float64)
    places = np.zeros((0, 3)) if framework_positions_A is None else np.asarray(framework_positions_A, dtype=np.float64)
    parent, matrices = crystal, _matrices(np.asarray(crystal.cell_A), cell)
    if not matrices:
        # the run may use a primitive cell, into which the crystal's own cell does not fit
        parent = crystal.primitive()
        matrices = _matrices(np.asarray(parent.cell_A), cell)
    if not matrices:
        ratio = abs(float(np.linalg.det(cell))) / crystal.volume_A3
        lengths = " × ".join(f"{x:.2f}" for x in np.linalg.norm(cell, axis=1))
        raise AnalysisError(
            f"The cell of the trajectory ({lengths} Å, {ratio:.2f} times the volume of the crystal's) is not a "
            f"supercell of the crystal within {100 * LARGEST_STRAIN:g} % of every length.",
            where=crystal.name,
            fix="Give the crystal that the run was made from, or take the sites of the density: --sites density.",
        )
    fits = [
        _Fit(misfit, matrix, shift, strain)
        for matrix, strain in matrices
        for misfit, shift in _origins(parent, mobile, matrix, cell, framework, places)
    ]
    best = min(fits, key=lambda fit: round(fit.misfit_A, 6), default=None)
    if best is None or best.misfit_A > LARGEST_MISFIT_A:
        how_far = (
            "has other elements" if best is None else f"is {best.misfit_A:.2f} Å (rms) from the sites of the crystal"
        )
        raise AnalysisError(
            f"The framework of the trajectory {how_far}; at most {LARGEST_MISFIT_A:g} Å fit.",
            where=crystal.name,
            fix="Give the crystal that the run was made from, or take the sites of the density: --sites density.",
        )
    # A run started from the crystal has its axes and its origin. A framework of higher symmetry than the crystal fits
    # in other ways as well, sometimes slightly better, and these exchange labels.
    adopted = fits[0] if fits[0].misfit_A <= best.misfit_A + _AS_GOOD_A and _is_direct(fits[0].matrix) else best
    placed = _placed(crystal, parent, mobile, adopted, cell, has_framework=len(places) > 0)
    rival = _rival(placed, fits, adopted, lambda fit: _placed(crystal, parent, mobile, fit, cell, has_framework=True))
    if rival is None:
        return placed
    flags = list(placed.flags)
    if adopted is not fits[0]:
        flags.append(
            f"The crystal fits in two ways that exchange labels ({adopted.misfit_A:.2f} and {rival:.2f} Å): to be sure "
            "which site is which, give a run with the axes and the origin of the crystal."
        )
    return replace(placed, rival_misfit_A=rival, flags=tuple(flags))


@dataclass(frozen=True, eq=False)
class _Fit:
    """One mapping of the crystal onto the trajectory."""

    misfit_A: float
    matrix: IntArray
    shift: FloatArray
    strain: float


def _is_direct(matrix: IntArray) -> bool:
    """Whether no axis is reversed, as supercells are usually written."""
    return bool((np.diag(matrix) > 0).all())


def _rival(
    placed: CrystalSites, fits: Sequence[_Fit], adopted: _Fit, place: Callable[[_Fit], CrystalSites]
) -> float | None:
    """Return the misfit of another mapping of the crystal that fits about as well and gives sites other labels."""
    from scipy.spatial import cKDTree

    points, which, _ = images_around(placed.sites.fractional, placed.sites.cell_A)
    tree = cKDTree(points)
    for fit in sorted(fits, key=lambda fit: round(fit.misfit_A, 6)):
        if fit is adopted or fit.misfit_A > adopted.misfit_A + _AS_GOOD_A:
            continue
        other = place(fit).sites
        _, nearest = tree.query((other.fractional - np.floor(other.fractional)) @ other.cell_A)
        if any(placed.sites.labels[which[k]] != label for k, label in zip(nearest, other.labels, strict=True)):
            return fit.misfit_A
    return None


def _placed(
    crystal: DisorderedCrystal,
    parent: DisorderedCrystal,
    mobile: Sequence[str],
    fit: _Fit,
    cell_A: FloatArray,
    *,
    has_framework: bool,
) -> CrystalSites:
    matrix, shift = fit.matrix, fit.shift
    held = [sum(n for species, n in site.species.items() if species in mobile) for site in parent.sites]
    mobile_sites = [k for k, amount in enumerate(held) if amount > 0.0]
    multiplicities = {s.name: s.multiplicity for s in crystal.sublattices}
    names = {}
    for number, sublattice in enumerate(parent.sublattices):
        wyckoff = f" ({multiplicities[sublattice.name]}{sublattice.wyckoff})" if sublattice.wyckoff else ""
        names[number] = f"{sublattice.name}{wyckoff}"
    labels = [names[parent.sites[k].orbit] for k in mobile_sites]
    inverse = np.linalg.inv(matrix)
    sites = sites_in_supercell(parent.fractional[mobile_sites] + shift, labels, matrix, inverse @ cell_A)
    translations = parent.translations + shift - np.einsum("nij,j->ni", parent.rotations, shift)
    flags = []
    nearest = float(sites.nearest_distances_A.min())
    if nearest < 1.0:
        flags.append(
            f"Sites of the crystal are as near as {nearest:.2f} Å to one another: split sites, between which ions "
            "rattle; read their jumps and occupancies together."
        )
    return CrystalSites(
        sites=SiteSet(sites.fractional, sites.labels, cell_A),
        occupancies={names[parent.sites[k].orbit]: held[k] for k in mobile_sites},
        operations=operations_in_supercell(parent.rotations, translations, matrix),
        crystal=crystal.name,
        refined=RefinedCell.of(parent),
        matrix=matrix,
        strain=fit.strain,
        misfit_A=fit.misfit_A if has_framework else None,
        rival_misfit_A=None,
        flags=tuple(flags),
    )


def _matrices(parent_A: FloatArray, cell_A: FloatArray) -> list[tuple[IntArray, float]]:
    """Return the integer matrices whose supercell has the shape of the cell, with the strain of each, least first."""
    direct = np.rint(cell_A @ np.linalg.inv(parent_A)).astype(np.int64)
    strains: dict[tuple[int, ...], float] = {}
    shells = [_vectors(parent_A, float(length)) for length in np.linalg.norm(cell_A, axis=1)]
    gram, places = cell_A @ cell_A.T, [shell @ parent_A for shell in shells]
    lengths = np.sqrt(np.diag(gram))
    cosines = [[p @ q.T for q in places] for p in places]
    slack = 3.0 * LARGEST_STRAIN

    def close(i: int, j: int) -> NDArray[np.bool_]:
        return np.asarray(np.abs(cosines[i][j] - gram[i, j]) < slack * lengths[i] * lengths[j])

    first, second, third = close(0, 1), close(0, 2), close(1, 2)
    volume = float(np.linalg.det(cell_A))
    for a, b in zip(*np.nonzero(first), strict=True):
        for c in np.flatnonzero(second[a] & third[b]):
            matrix = np.array([shells[0][a], shells[1][b], shells[2][c]])
            if np.linalg.det(matrix) * np.linalg.det(parent_A) * volume <= 0.0:
                continue  # a mirror image
            strain = _strain(matrix @ parent_A, cell_A)
            if abs(strain) <= LARGEST_STRAIN:
                strains[tuple(matrix.ravel().tolist())] = strain
    direct_key = tuple(direct.ravel().tolist())
    ordered = sorted(strains.items(), key=lambda item: (item[0] != direct_key, round(abs(item[1]), 6), item[0]))
    return [(np.array(key, dtype=np.int64).reshape(3, 3), strain) for key, strain in ordered[:_MOST_MATRICES]]


def _vectors(parent_A: FloatArray, length_A: float) -> IntArray:
    """Return the lattice vectors of about a length."""
    reach = length_A / (1.0 - LARGEST_STRAIN)
    spans = [int(np.floor(reach * x + 1e-9)) for x in np.linalg.norm(np.linalg.inv(parent_A), axis=0)]
    grid = np.array(list(itertools.product(*(range(-n, n + 1) for n in spans))), dtype=np.int64)
    lengths = np.linalg.norm(grid @ parent_A, axis=1)
    return np.asarray(grid[(np.abs(length_A - lengths) <= LARGEST_STRAIN * lengths) & (lengths > 0.0)])


def _strain(supercell_A: FloatArray, cell_A: FloatArray) -> float:
    """Return the largest principal stretch − 1 from one cell to another, whatever the rotation."""
    stretches = np.linalg.svd(np.linalg.inv(supercell_A) @ cell_A, compute_uv=False) - 1.0
    return float(stretches[np.argmax(np.abs(stretches))])


def _origins(
    parent: DisorderedCrystal,
    mobile: Sequence[str],
    matrix: IntArray,
    cell_A: FloatArray,
    framework: Sequence[str],
    places_A: FloatArray,
) -> Iterator[tuple[float, FloatArray]]:
    """Yield misfit and origin (fractions of the parent's cell) of the mappings of the crystal onto the framework."""
    from scipy.spatial import cKDTree

    if len(places_A) == 0:
        yield 0.0, np.zeros(3)
        return
    metric = np.linalg.inv(matrix) @ cell_A
    atoms = places_A @ np.linalg.inv(metric)
    symbols = np.asarray(framework)
    members, trees, targets = [], [], []
    for symbol in dict.fromkeys(framework):
        allowed = [k for k, site in enumerate(parent.sites) if symbol in site.species]
        if not allowed:
            allowed = [k for k, site in enumerate(parent.sites) if set(site.species) - set(mobile)]
        if not allowed:
            return
        members.append(np.flatnonzero(symbols == symbol))
        targets.append(parent.fractional[allowed])
        points, _, _ = images_around(parent.fractional[allowed], metric)
        trees.append((cKDTree(points), points))
    anchor = min(range(len(members)), key=lambda k: (len(targets[k]), len(members[k])))
    starts = [np.zeros(3), *(atoms[members[anchor][0]] - target for target in targets[anchor])]
    for start in starts:
        shift, misfit = start, np.inf
        for _ in range(_REFINEMENTS):
            total, squares = np.zeros(3), 0.0
            for which, (tree, points) in zip(members, trees, strict=True):
                x = atoms[which] - shift
                inside = (x - np.floor(x)) @ metric
                _, index = tree.query(inside)
                off = inside - points[index]
                total += off.sum(axis=0)
                squares += float(np.square(off).sum())
            misfit = float(np.sqrt(squares / len(atoms)))
            move = total / len(atoms)
            if float(np.linalg.norm(move)) < 1e-6:
                break
            shift = shift + move @ np.linalg.inv(metric)
        yield misfit, shift


def framework_symmetry(
    cell_A: FloatArray, symbols: Sequence[str], positions_A: FloatArray
) -> tuple[IntArray, FloatArray] | None:
    """Return the operations of the mean framework, which define equivalent sites; None if none can be found."""
    from superionic.structures.crystal.symmetry import find_symmetry

    if len(symbols) == 0:
        return None
    kinds = {symbol: k for k, symbol in enumerate(dict.fromkeys(symbols))}
    try:
        symmetry = find_symmetry(
            cell_A,
            positions_A @ np.linalg.inv(cell_A),
            [kinds[symbol] for symbol in symbols],
            symprec=_SYMMETRY_TOLERANCE_A,
        )
    except StructureError:
        return None
    return np.asarray(symmetry.rotations), np.asarray(symmetry.translations)


def mean_places(blocks: Iterable[tuple[NDArray[Any], FloatArray, FloatArray | None]], columns: IntArray) -> FloatArray:
    """Return the (n, 3) mean positions of some atoms, with the drift removed."""
    total, count = np.zeros((len(columns), 3)), 0
    for positions, _, drift in blocks:
        total += positions[:, columns].sum(axis=0, dtype=np.float64)
        total -= 0.0 if drift is None else drift.sum(axis=0)
        count += len(positions)
    return np.asarray(total / max(count, 1), dtype=np.float64)
