"""Point-charge (Ewald) energies of many orderings of one supercell from one matrix.

The energy of a periodic array of point charges is a quadratic form of the charges, E = qᵀ M q, and M depends
only on the cell and the positions. So it is built once for a supercell, and each ordering costs a matrix product.

With erfc(αr)/r in real space, Gaussians in reciprocal space, the self-energy of the Gaussians and a homogeneous
background that makes a charged cell neutral (Ewald, Ann. Phys. 369, 253 (1921); de Leeuw, Perram & Smith, Proc. R.
Soc. London A 373, 27 (1980), with conducting surroundings):

    M_ij = ke/2 [ Σ'_L erfc(α|r_ij + L|)/|r_ij + L| + (4π/V) Σ_{k≠0} exp(−k²/4α²)/k² cos(k·r_ij)
                  − δ_ij 2α/√π − π/(V α²) ]

where the prime leaves out L = 0 for i = j. The sum does not depend on α.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from superionic.chemistry import VACANCY
from superionic.errors import CompositionError
from superionic.structures.crystal.supercells import SupercellSites
from superionic.structures.crystal.symmetry import FloatArray, IntArray
from superionic.structures.orderings.ordering import OrderingTable
from superionic.units import COULOMB_EV_A

_REACH = 6.1
"""erfc(6.1) = 6e-18 and exp(-6.1²) = 7e-17: both sums are cut where nothing is left in double precision."""

_CHUNK = 1 << 21
_REAL_CHUNK = 1 << 14
_FEW_VALUES = 100_000
"""So many complementary error functions take less time than the import of :mod:`scipy.special`."""

# Coefficients of Moshier's rational approximations, the highest power first.
_ERF_NUMERATOR = (
    9.60497373987051638749, 90.0260197203842689217, 2232.00534594684319226, 7003.32514112805075473,
    55592.3013010394962768,
)  # fmt: skip
_ERF_DENOMINATOR = (
    1.0, 33.5617141647503099647, 521.357949780152679795, 4594.32382970980127987, 22629.0000613890934246,
    49267.3942608635921086,
)  # fmt: skip
_ERFC_NUMERATOR = (
    2.46196981473530512524e-10, 0.564189564831068821977, 7.46321056442269912687, 48.6371970985681366614,
    196.520832956077098242, 526.445194995477358631, 934.528527171957607540, 1027.55188689515710272,
    557.535335369399327526,
)  # fmt: skip
_ERFC_DENOMINATOR = (
    1.0, 13.2281951154744992508, 86.7072140885989742329, 354.937778887819891062, 975.708501743205489753,
    1823.90916687909736289, 2246.33760818710981792, 1656.66309194161350182, 557.535340817727675546,
)  # fmt: skip


def supercell_ewald_matrix(sites: SupercellSites) -> FloatArray:
    """Build the matrix M of the point-charge energy of a supercell, one row for each symmetry-distinct site.

    Parameters
    ----------
    sites
        The supercell; its sites obey its operations.

    Returns
    -------
    (n_sites, n_sites) float
        As :func:`ewald_matrix` gives it.
    """
    n = sites.n_sites
    first = sites.permutations.min(axis=0)  # the smallest site of each orbit represents it
    representatives = np.unique(first)
    rows = _ewald_rows(sites.cell_A, sites.fractional, representatives)
    matrix = np.empty((n, n))
    for row, site in zip(rows, representatives, strict=True):
        images, operations = np.unique(sites.permutations[:, site], return_index=True)
        # M[g i, g j] = M[i, j].
        matrix[images[:, None], sites.permutations[operations]] = row
    symmetric: FloatArray = 0.5 * (matrix + matrix.T)
    return symmetric


def ewald_matrix(cell_A: FloatArray, fractional: FloatArray, *, alpha_per_A: float | None = None) -> FloatArray:
    """Build the matrix M of the point-charge energy E = qᵀ M q of one cell.

    Parameters
    ----------
    cell_A
        (3, 3) lattice vectors as rows, in Å.
    fractional
        (n, 3) fractional coordinates; no two sites coincide.
    alpha_per_A
        Width parameter of the Gaussians in 1/Å. The result does not depend on it; the default balances the two sums.

    Returns
    -------
    (n, n) float
        In eV/e², symmetric; self terms included. For a cell of net charge Q the energy includes a homogeneous
        background of charge −Q, so that energies of cells of unequal charge are not comparable.
    """
    rows = _ewald_rows(cell_A, fractional, np.arange(len(fractional)), alpha_per_A)
    symmetric: FloatArray = 0.5 * (rows + rows.T)
    return symmetric


def _ewald_rows(
    cell_A: FloatArray, fractional: FloatArray, rows: IntArray, alpha_per_A: float | None = None
) -> FloatArray:
    cell = np.asarray(cell_A, dtype=np.float64)
    x = np.asarray(fractional, dtype=np.float64)
    volume = float(abs(np.linalg.det(cell)))
    # Real-space work grows as r_c³ and reciprocal work as k_c³ for each pair, but the latter is a plain matrix product.
    alpha = 1.6 * (np.pi**1.5 / volume) ** (1.0 / 3.0) if alpha_per_A is None else float(alpha_per_A)
    matrix = _real_space(cell, x, rows, alpha) + _reciprocal_space(cell, x, rows, alpha, volume)
    matrix[np.arange(len(rows)), rows] -= 2.0 * alpha / np.sqrt(np.pi)
    matrix -= np.pi / (volume * alpha**2)
    result: FloatArray = 0.5 * COULOMB_EV_A * matrix
    return result


def _lattice_points(basis: FloatArray, radius: float) -> IntArray:
    """Return integer vectors whose lattice points may lie within a radius of a cell that is one vector wide."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(basis), axis=0)
    reach = np.ceil(radius / heights).astype(int) + 1
    axes = [np.arange(-r, r + 1) for r in reach]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _real_space(cell: FloatArray, x: FloatArray, rows: IntArray, alpha: float) -> FloatArray:
    cutoff = _REACH / alpha
    images = _lattice_points(cell, cutoff)
    difference = x[rows, None, :] - x[None, :, :]
    wrapped = (difference - np.round(difference)) @ cell
    translations = images @ cell
    # Separations are shorter than the sum of the half-diagonals; images beyond that contribute nothing.
    longest = float(np.linalg.norm(wrapped, axis=2).max()) if len(rows) else 0.0
    translations = translations[np.linalg.norm(translations, axis=1) <= cutoff + longest + 1e-9]
    total = np.zeros(difference.shape[:2])
    erfc = _erfc_for(total.size * len(translations))
    step = max(1, _REAL_CHUNK // max(1, total.size))
    for start in range(0, len(translations), step):
        r = np.linalg.norm(wrapped + translations[start : start + step, None, None], axis=3)
        near = (r <= cutoff) & (r > 1e-8)
        terms = np.zeros(r.shape)
        terms[near] = erfc(alpha * r[near]) / r[near]
        for term in terms:
            total += term
    return total


def _erfc_for(n_values: int) -> Callable[[FloatArray], FloatArray]:
    """Return the complementary error function that takes less time for so many values; both give the same bits."""
    if n_values <= _FEW_VALUES:
        return erfc_of_few
    from scipy.special import erfc

    function: Callable[[FloatArray], FloatArray] = erfc
    return function


def erfc_of_few(x: FloatArray) -> FloatArray:
    """Return erfc(x) for 0 ≤ x < 8 by the approximation that scipy takes, in the order of its sums.

    It is slower than scipy's for each value, but importing :mod:`scipy.special` takes longer than all that goes into
    the Ewald matrix of a small cell. Source: S. L. Moshier, Methods and Programs for Mathematical Functions (1989),
    the rational approximations of erf below 1 and of exp(x²) erfc(x) from 1 to 8.

    Parameters
    ----------
    x
        (n,), each at least 0 and below 8.

    Returns
    -------
    (n,) float
    """
    result = np.empty(len(x))
    is_near = x < 1.0
    near, far = x[is_near], x[~is_near]
    square = near * near
    result[is_near] = 1.0 - near * _polynomial(square, _ERF_NUMERATOR) / _polynomial(square, _ERF_DENOMINATOR)
    gaussian = np.array([math.exp(value) for value in (-far * far).tolist()])
    result[~is_near] = gaussian * _polynomial(far, _ERFC_NUMERATOR) / _polynomial(far, _ERFC_DENOMINATOR)
    return result


def _polynomial(x: FloatArray, coefficients: tuple[float, ...]) -> FloatArray:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def _reciprocal_space(cell: FloatArray, x: FloatArray, rows: IntArray, alpha: float, volume: float) -> FloatArray:
    reciprocal = np.asarray(2.0 * np.pi * np.linalg.inv(cell).T, dtype=np.float64)
    cutoff = 2.0 * alpha * _REACH
    integers = _lattice_points(reciprocal, cutoff)
    # k and −k are alike: one of each pair, twice.
    half = integers[np.lexsort((integers[:, 2], integers[:, 1], integers[:, 0]))]
    half = half[len(half) // 2 + 1 :]
    k2 = np.sum((half @ reciprocal) ** 2, axis=1)
    half, k2 = half[k2 <= cutoff**2], k2[k2 <= cutoff**2]
    weights = np.sqrt(2.0 * 4.0 * np.pi / volume * np.exp(-k2 / (4.0 * alpha**2)) / k2)
    total = np.zeros((len(rows), len(x)))
    step = max(1, _CHUNK // max(1, len(x)))
    for start in range(0, len(half), step):
        phase = 2.0 * np.pi * (x @ half[start : start + step].T)
        factor = weights[start : start + step]
        cosine, sine = np.cos(phase) * factor, np.sin(phase) * factor
        total += cosine[rows] @ cosine.T + sine[rows] @ sine.T
    return total


def ewald_energies(matrix: FloatArray, charges: FloatArray) -> FloatArray:
    """Return the point-charge energies of many decorations of one cell.

    Parameters
    ----------
    matrix
        (n_sites, n_sites) from :func:`ewald_matrix`, in eV/e².
    charges
        (n_structures, n_sites) or (n_sites,) in e; 0 on vacant sites.

    Returns
    -------
    (n_structures,) float
        In eV per cell.
    """
    q = np.atleast_2d(np.asarray(charges, dtype=np.float64))
    energies = np.empty(len(q))
    step = max(1, _CHUNK // max(1, q.shape[1]))
    for start in range(0, len(q), step):
        part = q[start : start + step]
        energies[start : start + step] = np.einsum("ij,ij->i", part @ matrix, part)
    return energies


def charges_of(species: Sequence[str], oxidation_states: Mapping[str, int | float]) -> FloatArray:
    """Return the charge in e of each species of a sequence, 0 for vacancies.

    Raises
    ------
    CompositionError
        If a species has no oxidation state.
    """
    missing = sorted({s for s in species if s != VACANCY and s not in oxidation_states})
    if missing:
        raise CompositionError(
            f"No oxidation state is given for {', '.join(missing)}.",
            fix=f"Add it, such as oxidation_states: {{{missing[0]}: 1}}.",
        )
    return np.array([0.0 if s == VACANCY else float(oxidation_states[s]) for s in species])


def table_energies(matrix: FloatArray, table: OrderingTable, oxidation_states: Mapping[str, int | float]) -> FloatArray:
    """Return the point-charge energy of each ordering of a table, in eV per cell."""
    values = charges_of(table.symbols, oxidation_states)
    energies = np.empty(len(table))
    step = max(1, _CHUNK // max(1, table.codes.shape[1]))
    for start in range(0, len(table), step):
        energies[start : start + step] = ewald_energies(matrix, values[table.codes[start : start + step]])
    return energies


def lowest(energies_eV: FloatArray, n: int, *, resolution_eV: float = 1e-6) -> IntArray:
    """Return the indices of the `n` lowest energies, lowest first; equal ones (to the resolution) keep their order.

    Energies are equal in exact arithmetic wherever symmetry or equal charges make them so; rounding first keeps the
    order from depending on the last bit.
    """
    levels = np.round(np.asarray(energies_eV, dtype=np.float64) / resolution_eV)
    order: IntArray = np.argsort(levels, kind="stable")[: max(0, n)]
    return order
