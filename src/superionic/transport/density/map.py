"""What a figure of the ions' density needs besides the density itself (:mod:`.grid`): framework and isovalue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.transport.density.grid import Density

FloatArray = NDArray[np.float64]

SMOOTHING_A = 0.3
"""Smoothing of the density in figures: single voxels have too few visits for a surface."""
SHARE_INSIDE = 0.9
"""Share of the ions that the surface encloses, unless its level is below the noise."""


@dataclass(frozen=True)
class FrameworkSite:
    """Mean position of a framework atom.

    Attributes
    ----------
    position_A
        Cartesian position.
    """

    symbol: str
    position_A: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class DensityMap:
    """Cell, framework and isovalue of a density on a grid.

    Attributes
    ----------
    cell_A
        (3, 3) mean cell, rows are vectors.
    isovalue_per_A3
        Level of the surface to draw (∫P = 1).
    smoothing_A
        Width of the Gaussian that smooths the density before it is drawn; the level refers to the smoothed density.
    """

    cell_A: FloatArray
    framework: tuple[FrameworkSite, ...]
    isovalue_per_A3: float
    smoothing_A: float

    @classmethod
    def of(
        cls, density: Density, framework: tuple[FrameworkSite, ...], isovalue_per_A3: float | None = None
    ) -> DensityMap:
        """Describe a density; without an isovalue, use one that encloses 90 % of the ions and is above the noise."""
        level = isovalue_per_A3 or density.isovalue_per_A3(SHARE_INSIDE, smoothing_A=SMOOTHING_A)
        return cls(np.asarray(density.cell_A), framework, level, SMOOTHING_A)


def framework_sites(symbols: list[str], places_A: FloatArray) -> tuple[FrameworkSite, ...]:
    """Build framework sites from elements and their (n, 3) mean positions."""
    return tuple(
        FrameworkSite(symbol, (float(x), float(y), float(z)))
        for symbol, (x, y, z) in zip(symbols, places_A, strict=True)
    )
