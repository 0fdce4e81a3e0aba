"""Free energy along paths between sites, from the density of the ions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.density.grid import Density
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FreeEnergyProfile:
    """−k_B T ln P along the path of least free energy between two positions.

    Attributes
    ----------
    fractional
        (n, 3) points of the path, from the first position to the second, unwrapped.
    distance_A
        (n,) length of the path up to each point.
    free_energy_eV, error_eV
        (n,) free energy relative to the lowest point of the path, and its standard error from parts of the run (NaN if
        the run is too short to divide).
    """

    fractional: FloatArray
    distance_A: FloatArray
    free_energy_eV: FloatArray
    error_eV: FloatArray
    temperature_K: float
    barrier_error_eV: float

    @property
    def saddle(self) -> int:
        """Index of the highest point."""
        return int(np.argmax(self.free_energy_eV))

    @property
    def barrier_eV(self) -> float:
        """Free energy of the saddle above the lowest point before it."""
        top = self.saddle
        return float(self.free_energy_eV[top] - self.free_energy_eV[: top + 1].min())

    @property
    def is_seen(self) -> bool:
        """Whether ions visited every point of the path."""
        return bool(np.isfinite(self.free_energy_eV).all())


def free_energy_profile(
    density: Density,
    start: FloatArray | Sequence[float],
    end: FloatArray | Sequence[float],
    temperature_K: float,
    *,
    smoothing_A: float = 0.2,
    margin_A: float = 2.5,
    longest: float = math.inf,
) -> FreeEnergyProfile:
    """Find the path between two positions with the lowest saddle, and the free energy along it.

    Among all paths whose lowest density is the largest possible (the minimax path), the one of largest flux is
    chosen: the least ∫ ds/P (Huo and Straub, J. Chem. Phys. 107, 5000 (1997)).

    Parameters
    ----------
    density
        Density of the mobile ions.
    start, end
        Fractional coordinates, unwrapped: the end may be an image of the start in another cell. The path begins and
        ends at the densest voxel within 0.7 Å.
    smoothing_A
        Width of the Gaussian that smooths the noise; its blur is removed to first order
        (:meth:`~superionic.transport.density.grid.Density.sharpened`).
    margin_A
        How far the path may go outside the box around both ends.
    longest
        Largest sum of the distances of a point on the path from both ends, in units of the distance between the ends
        (2 Å more than that distance is always allowed). With 1.6, a path between two sites does not cross a third.

    Raises
    ------
    AnalysisError
        If no path visited by ions connects the two positions.
    """
    from superionic.transport.sites.pathways_kernels import largest_flux_path, widest_level

    if not longest > 1.0:
        raise AnalysisError(
            f"`longest` is the length of a path over the straight distance, and must exceed 1; it is {longest!r}."
        )
    if temperature_K <= 0.0:
        raise AnalysisError(f"The temperature must be positive, not {temperature_K!r} K.")
    kt = BOLTZMANN_EV_PER_K * temperature_K
    shape = np.array(density.shape)
    cell = np.asarray(density.cell_A)
    grid = density.sharpened(smoothing_A)
    step_A = np.linalg.norm(cell, axis=1) / shape
    reach = np.ceil(margin_A / np.minimum(step_A, 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0) / shape)).astype(
        int
    )
    places = [_densest(grid, np.asarray(place, dtype=np.float64), cell) for place in (start, end)]
    low = np.minimum(*places) - reach
    size = np.maximum(*places) + reach + 1 - low
    box = grid[np.ix_(*(np.arange(low[k], low[k] + size[k]) % shape[k] for k in range(3)))]
    box = np.where(_on_the_way(low, size, places, shape, cell, longest), box, 0.0).ravel()
    first, last = (int(np.ravel_multi_index(tuple(place - low), tuple(size))) for place in places)
    size64 = size.astype(np.int64)
    level = float(widest_level(box, size64, first, last))
    before = np.full(len(box), -1, dtype=np.int64)
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=3)), dtype=np.float64) / shape @ cell
    lengths = np.linalg.norm(steps, axis=1).reshape(3, 3, 3)
    if level <= 0.0 or not largest_flux_path(box, size64, lengths, first, last, level, before):
        raise AnalysisError(
            "No ion was observed on the way between the two positions.",
            fix="Analyse a longer or hotter run, or use a larger smoothing.",
        )
    walk = [last]
    while walk[-1] != first:
        walk.append(int(before[walk[-1]]))
    voxels = np.stack(np.unravel_index(walk[::-1], tuple(size)), axis=1) + low
    fractional = (voxels + 0.5) / shape
    distance = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fractional, axis=0) @ cell, axis=1))])
    where = tuple((voxels % shape).T)
    values = -kt * np.log(grid[where])
    errors, barrier_error = _errors(density, where, smoothing_A, kt, values)
    return FreeEnergyProfile(fractional, distance, values - values.min(), errors, temperature_K, barrier_error)


def _on_the_way(
    low: IntArray, size: IntArray, places: Sequence[IntArray], shape: IntArray, cell: FloatArray, longest: float
) -> NDArray[np.bool_]:
    """Return which voxels of a box lie within the ellipsoid around both ends of a path."""
    if not math.isfinite(longest):
        return np.ones(tuple(size), dtype=bool)
    ends = [(place + 0.5) / shape @ cell for place in places]
    apart = float(np.linalg.norm(ends[1] - ends[0]))
    middles = (np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1) + low + 0.5) / shape @ cell
    detour = np.linalg.norm(middles - ends[0], axis=-1) + np.linalg.norm(middles - ends[1], axis=-1)
    return np.asarray(detour <= max(longest * apart, apart + 2.0))


def _densest(grid: FloatArray, place: FloatArray, cell: FloatArray, *, within_A: float = 0.7) -> IntArray:
    """Return the unwrapped voxel of the largest density near a place."""
    shape = np.array(grid.shape)
    centre = np.floor(place * shape).astype(np.int64)
    reach = np.ceil(within_A * np.linalg.norm(np.linalg.inv(cell), axis=0) * shape).astype(int)
    offsets = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))))
    candidates = centre + offsets
    near = np.linalg.norm(((candidates + 0.5) / shape - place) @ cell, axis=1) <= within_A
    candidates = candidates[near] if near.any() else centre[None, :]
    values = grid[tuple((candidates % shape).T)]
    return np.asarray(candidates[int(np.argmax(values))], dtype=np.int64)


def _errors(
    density: Density, where: tuple[IntArray, ...], smoothing_A: float, kt: float, values: FloatArray
) -> tuple[FloatArray, float]:
    """Return the standard errors of F along a fixed path, by a jackknife over parts of the run."""
    parts = density.jackknife()
    if not parts:
        return np.full(len(values), np.nan), math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.array([-kt * np.log(part.sharpened(smoothing_A)[where]) for part in parts])
        n, top = len(parts), int(np.argmax(values))
        bottom = int(np.argmin(values[: top + 1]))
        off = spread - spread.mean(axis=0)
        barriers = spread[:, top] - spread[:, bottom]
        errors = np.sqrt((n - 1) / n * np.square(off).sum(axis=0))
        barrier = math.sqrt((n - 1) / n * float(np.square(barriers - barriers.mean()).sum()))
    return errors, barrier
