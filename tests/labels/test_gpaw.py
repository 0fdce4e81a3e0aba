from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from superionic.errors import CampaignFileError, EngineError
from superionic.labels.base import describe_labeller, load_labeller
from superionic.labels.gpaw import DEFAULTS, PRESETS, complete_settings, kpoint_grid, kpoints


def test_spacing_includes_two_pi() -> None:
    # Edge 2π Å: the reciprocal vector has length 1 Å⁻¹, so a spacing of 0.25 Å⁻¹ needs four points.
    assert kpoint_grid(np.diag([2 * math.pi, 4 * math.pi, math.pi]), 0.25) == (4, 2, 8)
    assert kpoint_grid(np.diag([2 * math.pi, 4 * math.pi, math.pi]), 0.26) == (4, 2, 8)
    assert kpoint_grid(np.diag([2 * math.pi, 4 * math.pi, math.pi]), 0.24) == (5, 3, 9)


def test_rounding_in_the_cell_does_not_change_the_grid() -> None:
    cell = np.diag([2 * math.pi] * 3)
    assert kpoint_grid(cell * (1 - 1e-9), 0.25) == kpoint_grid(cell * (1 + 1e-9), 0.25) == (4, 4, 4)


def test_hexagonal_cell_uses_heights_not_edges() -> None:
    a, c = 11.2, 6.03
    cell = np.array([[a, 0, 0], [-a / 2, a * math.sqrt(0.75), 0], [0, 0, c]])
    # |b| = 2π/(a sin 60°) = 0.648 Å⁻¹ and 2π/c = 1.042 Å⁻¹.
    assert kpoint_grid(cell, 0.7) == (1, 1, 2)
    assert kpoint_grid(cell, 0.64) == (2, 2, 2)
    assert kpoint_grid(cell, 0.7, "offset") == (1, 1, 1)
    assert kpoint_grid(cell, 0.32, "offset") == (2, 2, 2)


def test_gamma_grid_has_gamma_and_offset_grid_has_not() -> None:
    cell = np.diag([5.0, 6.0, 12.0])
    for spacing in (2.0, 0.7, 0.5):
        gamma = kpoints(cell, {"kpoint_spacing_per_A": spacing, "kpoint_offset": "gamma"})
        offset = kpoints(cell, {"kpoint_spacing_per_A": spacing, "kpoint_offset": "offset"})
        assert np.any(np.all(gamma == 0.0, axis=1))
        assert not np.any(np.all(np.abs(offset) < 1e-9, axis=1))


@pytest.mark.parametrize("offset", ["gamma", "offset"])
@pytest.mark.parametrize("spacing", [3.0, 0.7, 0.5, 0.3])
def test_grid_is_closed_under_time_reversal(offset: str, spacing: float) -> None:
    points = kpoints(np.diag([5.0, 6.0, 12.0]), {"kpoint_spacing_per_A": spacing, "kpoint_offset": offset})
    keys = {tuple(np.round(point % 1.0, 6) % 1.0) for point in points}
    assert keys == {tuple(np.round(-point % 1.0, 6) % 1.0) for point in points}
    assert len(keys) == len(points)


def test_offset_grid_and_its_partners_have_the_asked_spacing() -> None:
    spacing = 0.3
    cell = np.diag([5.0, 9.0, 30.0])
    points = kpoints(cell, {"kpoint_spacing_per_A": spacing, "kpoint_offset": "offset"})
    for axis, edge in enumerate((5.0, 9.0, 30.0)):
        along = np.unique(np.round(points[:, axis] % 1.0, 9))
        gaps = np.diff([*along, along[0] + 1.0])
        assert np.allclose(gaps, gaps[0])
        assert gaps[0] * 2 * math.pi / edge <= spacing
        assert 2 * gaps[0] * 2 * math.pi / edge > spacing or len(along) == 2


@pytest.mark.parametrize(("offset", "along_short"), [("gamma", 1.0), ("offset", 0.0)])
def test_grid_integrates_waves_along_an_axis(offset: str, along_short: float) -> None:
    # The mean over the grid of cos(2π k·R) is zero for lattice vectors R along an axis, up to the period of the grid.
    points = kpoints(np.diag([5.0, 5.0, 14.0]), {"kpoint_spacing_per_A": 0.45, "kpoint_offset": offset})
    for vector in ([1, 0, 0], [0, 2, 0]):
        assert abs(np.cos(2 * math.pi * points @ np.array(vector)).mean()) < 1e-12
    assert np.cos(2 * math.pi * points @ np.array([0, 0, 1])).mean() == pytest.approx(along_short, abs=1e-12)


def test_presets_go_under_given_settings() -> None:
    for name in PRESETS:
        assert complete_settings({"preset": name}).keys() == DEFAULTS.keys()
    assert complete_settings({"preset": "paper-a"})["functional"] == "SCAN"
    assert complete_settings({"preset": "paper-b", "ecut_eV": 400})["ecut_eV"] == 400.0


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"ecut": 300}, "ecut"),
        ({"preset": "fast"}, "fast"),
        ({"functional": "B3LYP"}, "B3LYP"),
        ({"ecut_eV": -1.0}, "-1.0"),
        ({"ecut_eV": "300"}, "300"),
        ({"smearing_eV": float("nan")}, "nan"),
        ({"kpoint_offset": "shifted"}, "shifted"),
    ],
)
def test_wrong_settings_are_told_with_a_fix(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(CampaignFileError) as caught:
        describe_labeller("gpaw", settings)
    assert word in caught.value.message
    assert caught.value.fix


def test_settings_that_are_equal_hash_equal() -> None:
    assert (
        describe_labeller("gpaw", {"ecut_eV": 300}).settings_hash
        == describe_labeller("gpaw", {"ecut_eV": 300.0}).settings_hash
    )
    assert describe_labeller("gpaw", {}).settings_hash != describe_labeller("gpaw", {"preset": "demo"}).settings_hash


@pytest.mark.skipif(importlib.util.find_spec("gpaw") is not None, reason="GPAW is installed in this environment")
def test_without_gpaw_the_error_says_how_to_get_it() -> None:
    with pytest.raises(EngineError, match="engines install gpaw"):
        load_labeller("gpaw", {})


@pytest.mark.engine("gpaw")
@pytest.mark.slow
def test_unconverged_or_impossible_is_a_failed_calculation(engine_call: Callable[..., Any]) -> None:
    coarse = {"ecut_eV": 200.0, "kpoint_spacing_per_A": 3.0, "max_scf_steps": 3}
    half = 2.56
    cell = [[0, half, half], [half, 0, half], [half, half, 0]]
    good = Atoms("LiCl", positions=[[0, 0, 0], [half, half, half]], cell=cell, pbc=True)

    def outcome(atoms: Atoms) -> dict[str, Any]:
        request = {"labeller": "gpaw", "labeller_settings": coarse}
        return engine_call("gpaw", "superionic.labels.conformance:refuse", request, {"atoms": atoms})

    unconverged = outcome(good)
    assert unconverged["outcome"] == "failed"
    assert "did not converge in 3 steps; tried in this order: as set, mixing, eigensolver" in unconverged["reason"]
    assert unconverged["details"]["scf_steps"] == 3
    assert len(unconverged["details"]["attempts"]) == 4
    molecule = Atoms("LiCl", positions=[[0, 0, 0], [0, 0, 2.0]], cell=[8, 8, 8], pbc=False)
    assert outcome(molecule)["outcome"] == "failed"
    unknown = Atoms("UCl", positions=[[0, 0, 0], [half, half, half]], cell=cell, pbc=True)
    assert outcome(unknown)["outcome"] == "refused"


@pytest.mark.engine("gpaw")
@pytest.mark.slow
@pytest.mark.parametrize("functional", ["PBE", "r2SCAN"])
def test_forces_and_stress_are_the_derivatives_of_the_energy(engine_call: Callable[..., Any], functional: str) -> None:
    tight = {
        "functional": functional,
        "ecut_eV": 300.0,
        "kpoint_spacing_per_A": 1.3,
        "kpoint_offset": "offset",
        "energy_tolerance_eV": 1e-9,
        "density_tolerance": 1e-9,
        "eigenstates_tolerance": 1e-15,
    }
    request = {"labeller": "gpaw", "labeller_settings": tight, "step_A": 0.005, "strain": 1e-5}
    found = engine_call("gpaw", "superionic.labels.conformance:derivatives", request)
    assert found["same_basis"]
    assert found["force_eV_per_A"] < 4e-4
    # By PBE about 0.01 GPa at most in any component, as the weights are 0.3 and more; r2SCAN converges less far.
    assert found["stress_GPa"] < {"PBE": 0.0035, "r2SCAN": 0.008}[functional]


@pytest.mark.engine("gpaw")
@pytest.mark.slow
def test_all_rungs_of_the_ladder_lead_to_the_same_label(engine_call: Callable[..., Any]) -> None:
    coarse = {
        "ecut_eV": 250.0,
        "kpoint_spacing_per_A": 1.3,
        "kpoint_offset": "offset",
        "density_tolerance": 1e-6,  # at 1e-4 forces of two rungs differ by 10 meV/Å, as far as that tolerance lets them
        "eigenstates_tolerance": 1e-10,
    }
    found = engine_call("gpaw", "superionic.labels.conformance:rungs", {"labeller_settings": coarse})
    assert set(found) == {"as set", "mixing", "eigensolver", "smearing"}
    for name, values in found.items():
        assert values["energy_eV"] < 1e-6, name
        assert values["force_eV_per_A"] < 1e-3, name
