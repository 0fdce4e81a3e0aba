from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kB

from superionic.errors import CampaignFileError, EngineError
from superionic.labels.base import describe_labeller, load_labeller
from superionic.labels.proof import lithium_chloride
from superionic.labels.tblite import DEFAULTS, METHODS, PINNED_VERSION, _smearing_energy_eV, complete_settings

DERIVATIVES = "superionic.labels.conformance:derivatives"
REFUSE = "superionic.labels.conformance:refuse"


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"ecut_eV": 300}, "label.tblite"),
        ({"method": "GFN0-xTB"}, "label.tblite.method"),
        ({"accuracy": 0.0}, "label.tblite.accuracy"),
        ({"electronic_temperature_K": float("nan")}, "label.tblite.electronic_temperature_K"),
        ({"max_scf_steps": True}, "label.max_scf_steps"),
    ],
)
def test_wrong_settings_are_told_with_a_fix(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(CampaignFileError) as caught:
        describe_labeller("tblite", settings)
    assert caught.value.where == where
    assert caught.value.fix


def test_every_setting_is_part_of_the_reference() -> None:
    other = {"method": "GFN2-xTB", "electronic_temperature_K": 400, "accuracy": 1.0, "max_scf_steps": 9}
    assert other.keys() == DEFAULTS.keys()
    hashes = {describe_labeller("tblite", {key: value}).settings_hash for key, value in other.items()}
    assert len(hashes | {describe_labeller("tblite", {}).settings_hash}) == 1 + len(other)
    assert complete_settings({"accuracy": 1}) == complete_settings({"accuracy": 1.0})
    described = describe_labeller("tblite", {})
    assert (described.functional, described.version, described.engine) == ("GFN1-xTB", PINNED_VERSION, "tblite")
    assert not described.stand_in


def test_defaults_are_those_of_the_campaign_file() -> None:
    from superionic.settings.label import TbliteSettings

    fields = TbliteSettings().model_dump()
    assert fields == {key: DEFAULTS[key] for key in fields}


def test_entropy_of_the_electrons() -> None:
    # A half-filled orbital has two ways for each spin: TS = 2 kT ln 2. Full and empty ones have none.
    assert _smearing_energy_eV([2.0, 1.0, 0.0], 300.0) == pytest.approx(-2.0 * kB * 300.0 * math.log(2.0), rel=1e-12)
    assert _smearing_energy_eV([2.0, 0.0], 300.0) == 0.0


@pytest.mark.skipif(importlib.util.find_spec("tblite") is not None, reason="tblite is installed in this environment")
def test_without_tblite_the_error_says_how_to_get_it() -> None:
    with pytest.raises(EngineError, match="engines install tblite"):
        load_labeller("tblite", {})


@pytest.mark.engine("tblite")
def test_tblite_proves_itself(engine_call: Callable[..., Any]) -> None:
    found = engine_call("tblite", "superionic.labels.proof:prove", {"labeller": "tblite"})
    assert found["deviations"]["energy_eV"] < 1e-6
    assert found["labeller"]["version"] == PINNED_VERSION


@pytest.mark.engine("tblite")
@pytest.mark.parametrize("method", METHODS)
def test_forces_and_stress_are_the_derivatives_of_the_energy(engine_call: Callable[..., Any], method: str) -> None:
    tight = {"method": method, "accuracy": 1e-3}
    request = {"labeller": "tblite", "labeller_settings": tight, "step_A": 1e-3, "strain": 1e-5}
    found = engine_call("tblite", DERIVATIVES, request)
    assert found["force_eV_per_A"] < 4e-6
    assert found["stress_GPa"] < 3e-5
    # They are worth comparing: none is near zero.
    assert min(abs(value) for value in found["forces_eV_per_A"]) > 0.01
    assert min(abs(value) for value in found["stresses_eV_per_A3"]) > 1e-4


@pytest.mark.engine("tblite")
def test_hot_electrons_too(engine_call: Callable[..., Any]) -> None:
    # At 5000 K the entropy is 0.5 eV: leaving it out of the energy would show in the forces.
    hot = {"accuracy": 1e-3, "electronic_temperature_K": 5000.0}
    found = engine_call("tblite", DERIVATIVES, {"labeller": "tblite", "labeller_settings": hot, "step_A": 1e-3})
    assert found["force_eV_per_A"] < 1e-5


@pytest.mark.engine("tblite")
def test_unconverged_or_impossible_is_a_failed_calculation(engine_call: Callable[..., Any]) -> None:
    def outcome(atoms: Atoms, **settings: Any) -> dict[str, Any]:
        request = {"labeller": "tblite", "labeller_settings": settings}
        found: dict[str, Any] = engine_call("tblite", REFUSE, request, {"atoms": atoms})
        return found

    assert outcome(lithium_chloride())["outcome"] == "label"
    unconverged = outcome(lithium_chloride(), max_scf_steps=2)
    assert unconverged["outcome"] == "failed"
    assert "did not converge in 2 steps" in unconverged["reason"]
    molecule = Atoms("LiCl", positions=[[0, 0, 0], [0, 0, 2.0]], cell=[8, 8, 8], pbc=False)
    assert outcome(molecule)["outcome"] == "failed"
    on_top = lithium_chloride()
    on_top.positions[1] = on_top.positions[0]
    assert outcome(on_top)["outcome"] == "failed"
    assert outcome(bulk("UCl", "rocksalt", a=5.5))["outcome"] == "refused"
