"""What a figure of the ions' density needs besides the grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.transport.density.grid import Density

FloatArray = NDArray[np.float64]

SMOOTHING_A = 0.3
"""Of the density in figures: single voxels hold too few visits for a surface."""
SHARE_INSIDE = 0.9
"""Share of the ions that the surface encloses, unless that is below the noise."""


@dataclass(frozen=True)
class FrameworkSite:
    """Mean place of an atom that is not mobile.

    Attributes
    ----------
    symbol
        Its element.
    position_A
        Cartesian.
    """

    symbol: str
    position_A: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class DensityMap:
    """A density on a grid without the grid.

    Attributes
    ----------
    cell_A
        (3, 3) mean cell, rows are vectors.
    framework
        The atoms around the ions.
    isovalue_per_A3
        Level of the surface that is drawn (∫P = 1).
    smoothing_A
        Width of the Gaussian that the density is folded with before it is drawn; the level is that of the smoothed one.
    """

    cell_A: FloatArray
    framework: tuple[FrameworkSite, ...]
    isovalue_per_A3: float
    smoothing_A: float

    @classmethod
    def of(
        cls, density: Density, framework: tuple[FrameworkSite, ...], isovalue_per_A3: float | None = None
    ) -> DensityMap:
        """Take a level that encloses 90 % of the ions and is above the noise, unless one is given."""
        level = isovalue_per_A3 or density.isovalue_per_A3(SHARE_INSIDE, smoothing_A=SMOOTHING_A)
        return cls(np.asarray(density.cell_A), framework, level, SMOOTHING_A)


def framework_sites(symbols: list[str], places_A: FloatArray) -> tuple[FrameworkSite, ...]:
    """Make sites out of elements and their (n, 3) mean places."""
    return tuple(
        FrameworkSite(symbol, (float(x), float(y), float(z)))
        for symbol, (x, y, z) in zip(symbols, places_A, strict=True)
    )
