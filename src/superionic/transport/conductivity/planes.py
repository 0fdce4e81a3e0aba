"""D in the planes of a crystal and along their normals, with errors, and the activation energy of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError, CalculationFailed
from superionic.transport.conductivity.arrhenius import ArrheniusFit, arrhenius_fit_estimates
from superionic.transport.conductivity.of_temperature import TemperaturePoint
from superionic.transport.diffusion.tensor import TensorEstimate
from superionic.transport.estimate import Estimate

FloatArray = NDArray[np.float64]

PLANES: Final = ("ab", "ac", "bc")
NORMALS: Final = ("c*", "b*", "a*")
NAMES: Final = tuple(
    name for plane, normal in zip(PLANES, NORMALS, strict=True) for name in (f"in {plane}", f"along {normal}")
)
"""Names of the values of :func:`values_of_planes`, in their order."""
_ENDS: Final = ((0, 1), (0, 2), (1, 2))


@dataclass(frozen=True, eq=False)
class PlaneLine:
    """Diffusion in one plane of the cell, or along its normal.

    Attributes
    ----------
    name
        Such as ``in ab`` or ``along c*``, by the vectors of the simulated cell and of its reciprocal.
    temperatures_K, diffusivities_cm2_per_s
        D at each temperature at which it is known, an upper bound included: in a plane, with n = 2 (paper A, figure
        S11).
    fit
        The line of ln D against 1/T; None where fewer than two temperatures have more than an upper bound.
    """

    name: str
    temperatures_K: tuple[float, ...]
    diffusivities_cm2_per_s: tuple[Estimate, ...]
    fit: ArrheniusFit | None


def values_of_planes(tensor: TensorEstimate) -> tuple[Estimate, ...]:
    """Return the mean of a tensor over each plane and its value along the normal, in the order of `NAMES`."""
    return tuple(tensor.mean_along(directions) for directions in _directions(tensor.cell_A))


def plane_lines(points: Sequence[TemperaturePoint]) -> tuple[PlaneLine, ...]:
    """Return D in each plane and along each normal over temperature; empty where no temperature has a tensor.

    At a temperature where D is an upper bound, all of it may be in any one plane or along any one normal.
    """
    values: list[tuple[float, tuple[Estimate, ...]]] = []
    for point in points:
        tensor, D = point.conductivity_tensor_S_per_cm, point.diffusivity_cm2_per_s.estimate
        if tensor is not None:
            values.append(
                (
                    point.temperature_K,
                    values_of_planes(tensor.scaled(D.value / point.conductivity_S_per_cm.estimate.value)),
                )
            )
        elif D.is_upper_bound:
            values.append((point.temperature_K, tuple(D.scaled(factor) for _ in PLANES for factor in (1.5, 3.0))))
    if all(point.conductivity_tensor_S_per_cm is None for point in points):
        return ()
    temperatures = tuple(temperature for temperature, _ in values)
    return tuple(
        PlaneLine(name, temperatures, of_name, _line(temperatures, of_name))
        for name, of_name in zip(NAMES, zip(*(each for _, each in values), strict=True), strict=True)
    )


def _line(temperatures_K: Sequence[float], diffusivities: Sequence[Estimate]) -> ArrheniusFit | None:
    try:
        return arrhenius_fit_estimates(temperatures_K, diffusivities)
    except (AnalysisError, CalculationFailed):
        return None


def _directions(cell_A: FloatArray) -> list[FloatArray]:
    """Return orthogonal unit vectors (2, 3) in each plane, and its normal (1, 3), in the order of `NAMES`."""
    directions = []
    for first, second in _ENDS:
        along = cell_A[first] / np.linalg.norm(cell_A[first])
        normal = np.cross(cell_A[first], cell_A[second])
        normal /= np.linalg.norm(normal)
        directions += [np.array([along, np.cross(normal, along)]), normal[None]]
    return directions
