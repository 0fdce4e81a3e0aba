"""D in planes and along their normals: by hand, with errors as often right as they say, and Ea of each."""

from __future__ import annotations

import math

import numpy as np
import pytest

from superionic.transport.conductivity.of_temperature import TemperaturePoint
from superionic.transport.conductivity.planes import NAMES, plane_lines, values_of_planes
from superionic.transport.diffusion.tensor import TensorEstimate
from superionic.transport.estimate import count_like_estimate, pool_orderings

from .test_direction_lines import T, along, series

HEXAGONAL = np.array([[11.0, 0.0, 0.0], [-5.5, 5.5 * math.sqrt(3.0), 0.0], [0.0, 0.0, 6.0]])
D = {"x": 2.0, "y": 1.0, "z": 4.0}


def points_of(temperatures, tensors, scalars):
    """One run at each temperature; σ = 1e4 D / T."""
    return [
        TemperaturePoint(
            t, 1, pool_orderings([scalar], [""]), pool_orderings([scalar.scaled(1e-4 * t)], [""]), None, None, tensor
        )
        for t, tensor, scalar in zip(temperatures, tensors, scalars, strict=True)
    ]


def test_the_planes_of_a_hexagonal_cell_by_hand():
    """b* is along y; a* is 30° from x: D along it is 2 cos² 30° + 1 sin² 30° = 1.75."""
    variance = 1.0e-4
    tensor = TensorEstimate(np.diag(list(D.values())), variance * np.eye(6), HEXAGONAL, 1.0)
    estimates = dict(zip(NAMES, values_of_planes(tensor), strict=True))
    assert {name: each.value for name, each in estimates.items()} == pytest.approx(
        {"in ab": 1.5, "along c*": 4.0, "in ac": 3.0, "along b*": 1.0, "in bc": 2.625, "along a*": 1.75}
    )
    assert estimates["in ab"].error == pytest.approx(math.sqrt(variance / 2.0), rel=1e-3)
    assert estimates["along c*"].error == pytest.approx(math.sqrt(variance), rel=1e-3)
    across = math.sqrt(variance * (0.75**2 + 0.25**2 + (2.0 * math.sqrt(0.75 * 0.25)) ** 2))
    assert estimates["along a*"].error == pytest.approx(across, rel=1e-3)


def test_errors_of_planes_are_right_as_often_as_they_say():
    """Walkers along c with Ea 0.15 eV, in ab with 0.33 eV: D at 900 K and Ea of each within their errors."""
    scores: dict[str, list[float]] = {"D in ab": [], "D along c*": [], "Ea in ab": [], "Ea along c*": []}
    truth = along(900.0)
    for seed in range(60):
        lines = {line.name: line for line in plane_lines(points_of(*series(seed)))}
        for name, D_true, Ea_true in (("in ab", truth[0], 0.33), ("along c*", truth[2], 0.15)):
            line = lines[name]
            assert line.temperatures_K == T
            hot = line.diffusivities_cm2_per_s[-1]
            scores[f"D {name}"].append((hot.value - 1e-4 * D_true) / hot.error)
            scores[f"Ea {name}"].append((line.fit.Ea_eV - Ea_true) / line.fit.Ea_error_eV)
    for name, values in scores.items():
        assert np.mean(np.abs(values) < 1.0) == pytest.approx(0.68, abs=0.15), name
        assert np.mean(np.abs(values) < 2.0) > 0.88, name


def test_a_bound_bounds_every_plane_and_one_temperature_gives_no_energy():
    temperatures, tensors, scalars = series(3, temperatures=(800.0, 900.0))
    still = count_like_estimate(0.0, 0.0, bound_per_hop=1e-6)
    points = points_of(temperatures, [None, tensors[1]], [still, scalars[1]])
    bound = points[0].diffusivity_cm2_per_s.estimate
    lines = {line.name: line for line in plane_lines(points)}
    assert {line.fit for line in lines.values()} == {None}
    assert lines["in ab"].diffusivities_cm2_per_s[0].interval95[1] == pytest.approx(1.5 * bound.interval95[1])
    assert lines["along c*"].diffusivities_cm2_per_s[0].interval95[1] == pytest.approx(3.0 * bound.interval95[1])
    assert plane_lines([points[0]]) == ()
