"""Label files from the field that went wrong once, where they are at hand; what is right is asserted for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from superionic.campaign.labelled_files import check_package, import_to
from superionic.cli import app
from superionic.errors import CampaignFileError
from superionic.labels.frame_values import IsolatedAtom
from superionic.labels.imports import Imported
from superionic.labels.packages import Entry, read_package
from superionic.labels.trajectories import trajectories_of
from superionic.models.nep.model import NepModel
from superionic.stages.label_file import LabelFile, read_task
from superionic.training.preflight import Finding, preflight

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "labels"
STATED = {"code": "vasp", "version": "6", "functional": "PBE", "energy_convention": None}

pytestmark = [
    pytest.mark.field,
    pytest.mark.skipif(not CASES.is_dir(), reason="the files from the field are not here"),
]


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Imported]:
    def imported(name: str, **options: Any) -> Imported:
        return import_to([CASES / name], tmp_path / "labels.extxyz", stated=STATED, **options)

    return imported


def trained(name: str) -> LabelFile:
    found: LabelFile = read_task(None, file=str(CASES / name), name=name)  # type: ignore[arg-type]
    return found


def looked_over(name: str, groups: list[str] | None = None, **parts: Any) -> list[Finding]:
    read = trained(name)
    runs = [fact.run for fact in read.facts] if groups is None else groups
    return preflight(read.atoms, read.labels, None, groups=runs, **({"train": range(len(runs))} | parts))


def test_01_a_fixed_density_is_no_label(load: Callable[..., Imported]) -> None:
    found = load("01_icharg11_uniform_vasprun.xml.gz")
    assert not found.entries
    assert "ICHARG = 11" in found.refusals[0].reason


def test_02_another_kind_of_run_costs_itself_alone(load: Callable[..., Imported], tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(CASES / "08_same_parent_name", folder)
    shutil.copy(CASES / "02_nmr_vasprun.xml.gz", folder)
    found = import_to([folder], tmp_path / "out.extxyz")
    assert len(found.entries) == 3
    assert [refusal.file.split("/")[-1] for refusal in found.refusals] == ["02_nmr_vasprun.xml.gz"]


def test_03_reference_before_prediction(load: Callable[..., Imported]) -> None:
    found, read = load("03_ref_and_predicted_keys.extxyz"), trained("03_ref_and_predicted_keys.extxyz")
    assert len(found.entries) == len(read.labels) == 20
    for label in (found.entries[0].label, read.labels[0]):
        assert label.energy_eV == -39.61725432
        assert label.forces_eV_per_A[0].tolist() == [-0.14526062, -0.26865607, -0.28899462]
        volume = found.entries[0].atoms.get_volume()
        assert label.stress_eV_per_A3[0] * volume == pytest.approx(-0.4572978683526501)


def test_04_a_virial_is_a_stress(load: Callable[..., Imported]) -> None:
    found, read = load("04_lps_virial_only.extxyz"), trained("04_lps_virial_only.extxyz")
    assert len(found.entries) == 3
    volume = found.entries[0].atoms.get_volume()
    for label in (found.entries[0].label, read.labels[0]):
        expected = [-18.20432039, -22.16315442, -13.68101099, 0.06194374, 1.50002889, 0.65747515]
        assert label.stress_eV_per_A3 * volume == pytest.approx(expected)


def test_05_sound_molecular_dynamics_is_sound() -> None:
    name = "05_lgps_aimd_22frames_package.extxyz.gz"
    checked = check_package(CASES / name)
    assert checked.passed
    assert len(checked.entries) == 22
    (run,) = trajectories_of(
        [entry.atoms for entry in checked.entries],
        [entry.label.energy_eV for entry in checked.entries],
        [entry.label.forces_eV_per_A for entry in checked.entries],
        [entry.group for entry in checked.entries],
    ).runs
    assert run.sound
    # Every tenth step of the run: between consecutive ones the slope is 0.9990.
    assert abs(run.slope - 0.9990) < 2.0 * run.slope_error < 0.1
    assert [finding for finding in looked_over(name) if finding.severity == "error"] == []


@pytest.mark.slow
@pytest.mark.engine("chgnet")
@pytest.mark.parametrize("name", ["05_lgps_aimd_22frames_package.extxyz.gz", "15_energies_shifted_to_zero.extxyz.gz"])
def test_05_15_a_pretrained_potential_is_no_judge_of_sound_runs(name: str, tmp_path: Path) -> None:
    words = ["train", "check", str(CASES / name), "--folder", str(tmp_path / "study"), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert [finding for finding in json.loads(done.stdout)["findings"] if finding["severity"] == "error"] == []


@pytest.mark.slow
@pytest.mark.engine("chgnet")
def test_05_no_forces_have_changed_places() -> None:
    assert check_package(CASES / "05_lgps_aimd_22frames_package.extxyz.gz", baseline="chgnet").passed


def test_07_an_isolated_atom_is_named(load: Callable[..., Imported]) -> None:
    found = load("07_isolated_atom")
    assert len(found.entries) == 1
    assert found.refusals == ()
    (remark,) = [remark for remark in found.remarks if "isolated atom (Si)" in remark.words]
    assert remark.file == "a/vasprun.xml.gz"
    assert list(found.isolated_atoms_eV) == ["Si"]


def test_08_three_runs_are_three_groups(load: Callable[..., Imported]) -> None:
    groups = [entry.group for entry in load("08_same_parent_name").entries]
    assert groups == [f"{name}/outputs/vasprun.xml.gz" for name in "abc"]


def test_09_an_empty_line_is_no_end(load: Callable[..., Imported]) -> None:
    assert len(load("09_blank_line_between_frames.extxyz").entries) == 2
    assert len(trained("09_blank_line_between_frames.extxyz").labels) == 2


def test_10_the_free_energy_in_both(load: Callable[..., Imported]) -> None:
    name = "10_ase_written_E0_and_free_energy.extxyz"
    assert load(name).entries[0].label.energy_eV == trained(name).labels[0].energy_eV == -253.15557734


def test_11_a_charge_is_another_reference(load: Callable[..., Imported]) -> None:
    charged, neutral = (load(name).entries[0].label for name in ("11_charged", "11_neutral"))
    assert charged.settings_hash != neutral.settings_hash
    assert charged.provenance["settings"]["net_charge_e"] == -1.0
    assert "net_charge_e" not in neutral.provenance["settings"]


@pytest.mark.parametrize(
    ("name", "n_labels", "left_out"),
    [
        ("12_one_unconverged_step_vasprun.xml.gz", 2, "did not converge in 21 steps (NELM) in ionic step 1"),
        ("12_no_stress_vasprun.xml.gz", 3, None),
        ("12_cut_in_third_step_vasprun.xml.gz", 2, "after ionic step 2"),
    ],
)
def test_12_whole_frames_are_kept(
    load: Callable[..., Imported], name: str, n_labels: int, left_out: str | None
) -> None:
    found = load(name)
    assert len(found.entries) == n_labels
    if left_out is None:
        assert "3 of 3 labels have no stress" in found.remarks[0].words
    else:
        assert left_out in found.refusals[0].reason


def test_13_one_title_a_block(load: Callable[..., Imported]) -> None:
    one, other = (load(f"13_blocks_{name}").entries[0].label for name in ("Li_Y_Cl", "Li_Y_Li_Cl"))
    assert one.provenance["setups"] == other.provenance["setups"]
    assert other.provenance["setups"]["Cl"] == "PAW_PBE Cl 06Sep2000"
    assert one.settings_hash == other.settings_hash


def test_14_the_grid_that_was_used(load: Callable[..., Imported]) -> None:
    (entry,) = load("14_kspacing_022_but_8x8x8_vasprun.xml.gz").entries
    assert entry.label.provenance["settings"]["kpoints"]["grid"] == [8, 8, 8]


def test_15_a_zero_of_its_own_is_no_error() -> None:
    assert [f for f in looked_over("15_energies_shifted_to_zero.extxyz.gz") if f.severity == "error"] == []


def test_16_twins_whatever_their_order_and_origin() -> None:
    name = "16_permuted_and_translated_twins.extxyz"
    sets = [fact.set for fact in trained(name).facts]
    parts = {part: [i for i, own in enumerate(sets) if own == part] for part in ("train", "validation", "test")}
    found = {finding.name: finding.evidence for finding in looked_over(name, **parts)}
    assert "3 held-out structures are also in the training set" in found["the same structure in two parts"]


def test_17_eleven_elements() -> None:
    model = NepModel.from_text((CASES / "17_eleven_elements_written_nep.txt").read_text(encoding="utf-8"))
    lines = model.to_text().splitlines()
    assert lines[:2] == ["nep4_zbl 11 Li Na Mg Al Si P S Cl Ge Y Zr", "zbl 0.75 1.5"]
    again = NepModel.from_text(model.to_text())
    assert np.array_equal(again.zbl_outer_A, model.zbl_outer_A)
    assert np.array_equal(again.c_radial, model.c_radial)


def test_18_no_stress_of_a_model_with_energies_of_a_reference(load: Callable[..., Imported]) -> None:
    name = "18_REF_labels_with_model_stress.extxyz"
    found, read = load(name), trained(name)
    assert len(found.entries) == 12
    for label in (found.entries[0].label, read.labels[0]):
        assert label.energy_eV == -39.31309917
        assert label.stress_eV_per_A3 is None
    assert "--stress-key" in found.remarks[0].words
    assert "--stress-key" in read.notes[0]


def test_an_import_of_everything_twice_is_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    shutil.copytree(CASES, folder)
    first = import_to([folder], folder / "labels.extxyz", stated=STATED)
    again = import_to([folder], folder / "labels.extxyz", stated=STATED)
    assert len(first.entries) == len(again.entries) > 70
    assert first.refusals == again.refusals
    with pytest.raises(CampaignFileError):
        import_to([folder / "labels.extxyz"], folder / "labels.extxyz")
    packed = list(read_package(folder / "labels.extxyz"))
    assert len([entry for entry in packed if isinstance(entry, Entry)]) == len(first.entries)
    assert all(isinstance(entry, (Entry, IsolatedAtom)) for entry in packed)
