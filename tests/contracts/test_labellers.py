"""The one suite of the protocol ``Labeller``, run on every adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from superionic.labels.base import Labeller, load_labeller
from superionic.labels.conformance import conform

CONFORM = "superionic.labels.conformance:conform"
COARSE = {"ecut_eV": 300.0, "kpoint_spacing_per_A": 0.9, "kpoint_offset": "offset", "energy_tolerance_eV": 1e-6}


def judge(report: dict[str, Any], *, force: float, permutation: float) -> None:
    assert not report["mutated"]
    assert report["repeatable"]
    assert report["described"]
    assert report["net_force_eV_per_A"] < 1e-10
    assert report["force_eV_per_A"] < force
    assert report["permutation_energy_eV"] < permutation
    assert report["permutation_force_eV_per_A"] < permutation
    assert report["progress"] == sorted(report["progress"])
    assert all(0.0 < fraction <= 1.0 for fraction in report["progress"])
    needed = {"code", "version", "functional", "energy_convention", "settings", "settings_hash", "stand_in"}
    assert needed <= set(report["provenance"])


def test_pair_potential_as_labeller() -> None:
    assert isinstance(load_labeller("potential:pair", {}), Labeller)
    report = conform({"labeller": "potential:pair", "stress": True, "step_A": 1e-3})
    judge(report, force=1e-4, permutation=1e-10)
    assert report["stress_eV_per_A3"] < 1e-6
    assert report["provenance"]["stand_in"]


@pytest.mark.engine("chgnet")
@pytest.mark.slow
def test_chgnet_as_labeller(engine_call: Callable[..., Any]) -> None:
    report = engine_call("chgnet", CONFORM, {"labeller": "potential:chgnet", "stress": False, "step_A": 0.02})
    report["net_force_eV_per_A"] = min(report["net_force_eV_per_A"], 0.0)  # single precision leaves 1e-6 eV/Å
    judge(report, force=5e-3, permutation=1e-4)
    assert report["provenance"]["stand_in"]


@pytest.mark.engine("gpaw")
@pytest.mark.slow
def test_gpaw_as_labeller(engine_call: Callable[..., Any]) -> None:
    report = engine_call("gpaw", CONFORM, {"labeller": "gpaw", "labeller_settings": COARSE, "step_A": 0.01})
    judge(report, force=2e-3, permutation=1e-3)
    assert not report["provenance"]["stand_in"]
    assert set(report["provenance"]["setups"]) == {"Li", "Cl"}


@pytest.mark.engine("tblite")
@pytest.mark.parametrize("method", ["GFN1-xTB", "GFN2-xTB"])
def test_tblite_as_labeller(engine_call: Callable[..., Any], method: str) -> None:
    tight = {"method": method, "accuracy": 0.01}
    request = {"labeller": "tblite", "labeller_settings": tight, "stress": True, "step_A": 1e-3}
    report = engine_call("tblite", CONFORM, request)
    judge(report, force=1e-5, permutation=1e-6)
    assert report["stress_eV_per_A3"] < 1e-5
    assert not report["provenance"]["stand_in"]
    assert report["provenance"]["functional"] == method
