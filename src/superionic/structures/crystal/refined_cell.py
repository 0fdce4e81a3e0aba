"""Compare the cell of a calculation with the refined cell of the crystal it started from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from superionic.structures.crystal.disordered import DisorderedCrystal

FloatArray = NDArray[np.float64]
Triple = tuple[float, float, float]

CAUTION_PERCENT: Final = 3.0
WARNING_PERCENT: Final = 6.0
"""Differences of a volume or a length from the refined one above which a caution or a warning is shown. Volumes
relaxed with PBE are some 1 to 4 % too large, and heating from room temperature to 600 K adds another 2 to 3 %."""
_OTHER_ATOMS: Final = 0.1
"""A composition counts as different from the refined one if more than this fraction of its atoms is different."""
_WHOLE: Final = 0.02


@dataclass(frozen=True)
class RefinedCell:
    """The cell of a crystal as refined.

    Attributes
    ----------
    lengths_A, angles_deg
        a, b, c and α, β, γ.
    composition
        Amount of each element in the cell.
    formula_units
        Formula units in the cell, of the reduced formula; 1 where the amounts are not integers.
    basis
        Rows of the cell of which supercells are made, in units of the refined vectors: the primitive one, or the same.
    """

    lengths_A: Triple
    angles_deg: Triple
    volume_A3: float
    composition: Mapping[str, float]
    formula_units: int
    basis: tuple[Triple, Triple, Triple] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    @classmethod
    def of(cls, crystal: DisorderedCrystal, *, primitive: bool = False) -> RefinedCell:
        """Take the cell of a crystal, whose supercells are made of its primitive cell or of the cell itself."""
        from superionic.structures.crystal.disordered import primitive_basis_of

        amounts = crystal.composition
        whole = [round(amount) for amount in amounts.values()]
        near = all(n > 0 and abs(n - amount) <= _WHOLE for n, amount in zip(whole, amounts.values(), strict=True))
        lengths, angles = parameters(np.asarray(crystal.cell_A))
        units = math.gcd(*whole) if near and whole else 1
        cell = cls(lengths, angles, crystal.volume_A3, amounts, units)
        if not primitive:
            return cell
        first, second, third = ((x, y, z) for x, y, z in primitive_basis_of(crystal).tolist())
        return replace(cell, basis=(first, second, third))

    def is_of(self, composition: Mapping[str, float] | Mapping[str, Fraction]) -> bool:
        """Whether a composition (atoms of each element, in any number of cells) is close to the refined one."""
        amounts = {element: float(amount) for element, amount in composition.items()}
        total, own = sum(amounts.values()), sum(self.composition.values())
        if not (total > 0.0 and own > 0.0):
            return False
        shares = [
            abs(amounts.get(element, 0.0) / total - self.composition.get(element, 0.0) / own)
            for element in {*amounts, *self.composition}
        ]
        return 0.5 * sum(shares) <= _OTHER_ATOMS


@dataclass(frozen=True)
class CellDifference:
    """The difference of a calculated cell from the refined one, per parent cell whatever supercell was calculated.

    Attributes
    ----------
    lengths_A, angles_deg, volume_A3
        Mean cell of the calculation.
    volume_per_formula_unit_A3, refined_volume_per_formula_unit_A3
        Both volumes divided by the number of formula units of the refined cell.
    volume_percent
        Difference of the volumes relative to the refined one.
    lengths_percent
        The same for a, b and c.
    """

    lengths_A: Triple
    angles_deg: Triple
    volume_A3: float
    volume_per_formula_unit_A3: float
    refined_volume_per_formula_unit_A3: float
    volume_percent: float
    lengths_percent: Triple
    angles_difference_deg: Triple

    @property
    def severity(self) -> Literal["caution", "warning"] | None:
        """How serious the difference is; None where the cells agree."""
        largest = max(abs(self.volume_percent), *(abs(value) for value in self.lengths_percent))
        if largest > WARNING_PERCENT:
            return "warning"
        return "caution" if largest > CAUTION_PERCENT else None

    @property
    def words(self) -> str:
        """The differences, in words."""
        parts = [f"{name} {value:+.1f} %" for name, value in zip("abc", self.lengths_percent, strict=True)]
        parts += [
            f"{name} {value:+.1f}°"
            for name, value in zip("αβγ", self.angles_difference_deg, strict=True)
            if abs(value) >= 0.05
        ]
        return (
            f"volume {self.volume_percent:+.1f} % ({self.volume_per_formula_unit_A3:.4g} instead of "
            f"{self.refined_volume_per_formula_unit_A3:.4g} Å³ per formula unit; {', '.join(parts)})"
        ).replace("-", "−")


def parameters(cell_A: FloatArray) -> tuple[Triple, Triple]:
    """Return the lengths in Å and the angles in degrees of a (3, 3) cell."""
    from ase.geometry import cell_to_cellpar

    a, b, c, alpha, beta, gamma = (float(value) for value in cell_to_cellpar(cell_A))
    return (a, b, c), (alpha, beta, gamma)


def in_setting_of(
    refined: RefinedCell,
    lengths_A: Sequence[float],
    angles_deg: Sequence[float],
    supercell: Sequence[Sequence[int]] | NDArray[np.integer],
) -> tuple[Triple, Triple, float]:
    """Return lengths in Å, angles in degrees and volume in Å³ of a calculated cell per refined cell, in its setting.

    Parameters are those of :func:`compare_with_refined`.
    """
    from ase.geometry import cellpar_to_cell

    matrix = np.asarray(supercell, dtype=np.float64) @ np.array(refined.basis)
    supercell_A = np.asarray(cellpar_to_cell([*lengths_A, *angles_deg]), dtype=np.float64)
    cell: FloatArray = np.asarray(np.linalg.inv(matrix) @ supercell_A, dtype=np.float64)
    return *parameters(cell), float(abs(np.linalg.det(cell)))


def compare_with_refined(
    refined: RefinedCell,
    lengths_A: Sequence[float],
    angles_deg: Sequence[float],
    supercell: Sequence[Sequence[int]] | NDArray[np.integer],
) -> CellDifference:
    """Compare a calculated cell with the refined one.

    Parameters
    ----------
    lengths_A, angles_deg
        a, b, c and α, β, γ of the calculated cell.
    supercell
        (3, 3) integers: the supercell's vectors in units of those of the crystal, or of its primitive cell.
    """
    lengths, angles, volume = in_setting_of(refined, lengths_A, angles_deg, supercell)

    def percent(value: float, reference: float) -> float:
        return 100.0 * (value / reference - 1.0)

    a, b, c = (percent(value, reference) for value, reference in zip(lengths, refined.lengths_A, strict=True))
    alpha, beta, gamma = (value - reference for value, reference in zip(angles, refined.angles_deg, strict=True))
    return CellDifference(
        lengths_A=lengths,
        angles_deg=angles,
        volume_A3=volume,
        volume_per_formula_unit_A3=volume / refined.formula_units,
        refined_volume_per_formula_unit_A3=refined.volume_A3 / refined.formula_units,
        volume_percent=percent(volume, refined.volume_A3),
        lengths_percent=(a, b, c),
        angles_difference_deg=(alpha, beta, gamma),
    )
