from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import CampaignFileError, PotentialError
from superionic.execution.codec import decode, encode, from_tree
from superionic.labels.base import Label, LabellerIdentity, describe_labeller, load_labeller, renewed_provenance


def identity(**changes: object) -> LabellerIdentity:
    values = {
        "name": "gpaw",
        "code": "gpaw",
        "version": "1",
        "functional": "PBE",
        "energy_convention": "raw",
        "settings": {"ecut_eV": 300.0},
    }
    return LabellerIdentity(**{**values, **changes})


def test_hash_changes_with_everything_that_changes_a_number() -> None:
    reference = identity().settings_hash
    changed = [
        identity(version="2"),
        identity(functional="SCAN"),
        identity(code="vasp"),
        identity(energy_convention="corrected"),
        identity(settings={"ecut_eV": 301.0}),
    ]
    assert len({reference, *(other.settings_hash for other in changed)}) == 6
    assert identity(engine="elsewhere").settings_hash == reference


def test_label_round_trip_and_immutability() -> None:
    label = Label(1.5, np.ones((2, 3)), None, {"settings_hash": "h"}, {"scf_steps": 3})
    again = from_tree(decode(*encode(label)), Label)
    assert again.energy_eV == 1.5
    assert again.stress_eV_per_A3 is None
    assert np.array_equal(again.forces_eV_per_A, label.forces_eV_per_A)
    assert again.diagnostics == {"scf_steps": 3}
    with pytest.raises(ValueError, match="read-only"):
        label.forces_eV_per_A[0, 0] = 0.0


@pytest.mark.parametrize(("forces", "stress"), [(np.ones(3), None), (np.ones((2, 3)), np.ones((3, 3)))])
def test_label_refuses_wrong_shapes(forces: np.ndarray, stress: np.ndarray | None) -> None:
    with pytest.raises(ValueError, match="shape"):
        Label(0.0, forces, stress, {"settings_hash": "h"})


def test_label_must_carry_its_settings_hash() -> None:
    with pytest.raises(ValueError, match="hash"):
        Label(0.0, np.ones((1, 3)), None, {})


@pytest.mark.parametrize("name", ["cp2k", "vasp:x", "potential", "gpaw:x", "tblite:x", ""])
def test_unknown_labeller_is_an_error_with_a_fix(name: str) -> None:
    with pytest.raises(CampaignFileError) as caught:
        load_labeller(name, {})
    assert "potential:<name>" in str(caught.value)


def test_unknown_potential_as_labeller() -> None:
    with pytest.raises(PotentialError):
        describe_labeller("potential:nothing", {})


def test_potential_labeller_is_named_as_a_stand_in() -> None:
    described = describe_labeller("potential:pair", {})
    assert described.stand_in
    assert described.code == "potential:pair"
    assert described.energy_convention == "pair potential"
    with pytest.raises(CampaignFileError, match="ecut"):
        describe_labeller("potential:pair", {"ecut_eV": 300})


def test_fine_tuned_weights_change_the_hash() -> None:
    plain = describe_labeller("potential:chgnet", {})
    tuned = describe_labeller("potential:chgnet", {}, weights={"a": np.zeros(2, dtype=np.float32)})
    assert plain.settings_hash != tuned.settings_hash
    assert tuned.settings["fine_tuned"]


def test_packages_of_before_get_todays_name_of_a_dispersion_correction() -> None:
    settings = {"ENCUT": 520.0, "IVDW": 12}
    named = {"code": "vasp", "functional": "PBE+vdW", "energy_convention": "VASP PBE+vdW, PAW_PBE potentials"}
    old = identity(**named, settings=settings).provenance()
    now = identity(
        code="vasp",
        functional="PBE-D3(BJ)",
        energy_convention="VASP PBE-D3(BJ), PAW_PBE potentials",
        settings=settings,
    ).provenance()
    assert renewed_provenance(old) == now
    assert renewed_provenance(now) == now
    without = identity(code="vasp", settings={"ENCUT": 520.0}).provenance()
    assert renewed_provenance(without) == without
