from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from superionic.errors import CalculationFailed, CampaignFileError, EngineError, PotentialError
from superionic.labels.base import describe_labeller, load_labeller
from superionic.labels.conformance import conform
from superionic.labels.vasp import VaspDied, potcar_name
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell

FAKE = Path(__file__).with_name("fake_vasp.py")
COARSE = {"kpoint_spacing_per_A": 0.8, "version": "6.3.2"}
TITLES = {"Li_sv": "PAW_PBE Li_sv 10Sep2004", "Y_sv": "PAW_PBE Y_sv 25May2007", "Cl": "PAW_PBE Cl 06Sep2000"}


@pytest.fixture(autouse=True)
def vasp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (name, title) in enumerate(TITLES.items()):
        folder = tmp_path / "psp" / ("potpaw_PBE.54" if number else "POT_GGA_PAW_PBE_54") / name
        folder.mkdir(parents=True)
        (folder / "POTCAR").write_text(f"  {title}\n 3.0\n End of Dataset\n")
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "psp"))
    monkeypatch.setenv("SUPERIONIC_VASP", f"{sys.executable} {FAKE}")
    monkeypatch.delenv("FAKE_VASP", raising=False)


def mixed_up() -> Atoms:
    atoms = li3ycl6_cell()
    return atoms[np.random.default_rng(2).permutation(len(atoms))]


def test_round_trip_is_exact_to_print(tmp_path: Path) -> None:
    atoms = mixed_up()
    label = load_labeller("vasp", COARSE).label(atoms, scratch=tmp_path)
    true = load_potential("pair").evaluate(atoms)
    # VASP prints eight digits after the point; positions go out with sixteen.
    assert label.energy_eV == round(true.energy_eV, 8)
    assert np.abs(label.forces_eV_per_A - true.forces_eV_per_A).max() < 0.51e-8
    kB = 1602.1766208
    assert np.abs(label.stress_eV_per_A3 - true.stress_eV_per_A3).max() < 0.51e-8 / kB
    assert np.sign(label.stress_eV_per_A3[0]) == np.sign(true.stress_eV_per_A3[0])
    assert label.provenance["setups"] == {"Li": TITLES["Li_sv"], "Cl": TITLES["Cl"], "Y": TITLES["Y_sv"]}
    assert label.diagnostics["scf_steps"] == 4
    assert label.diagnostics["smearing_energy_eV"] == pytest.approx(-0.002)


def test_the_contract_of_labellers() -> None:
    report = conform({"labeller": "vasp", "labeller_settings": COARSE, "stress": False, "step_A": 1e-3})
    assert not report["mutated"]
    assert report["repeatable"]
    assert report["described"]
    assert report["net_force_eV_per_A"] < 1e-6
    assert report["force_eV_per_A"] < 1e-4
    assert report["permutation_energy_eV"] < 1e-8
    assert report["permutation_force_eV_per_A"] < 1e-8


def test_inputs_say_everything(tmp_path: Path) -> None:
    settings = {**COARSE, "functional": "SCAN", "incar": {"NCORE": 4}}
    label = load_labeller("vasp", settings).label(mixed_up(), scratch=tmp_path)
    incar = (tmp_path / "vasp-0" / "INCAR").read_text()
    for line in ("METAGGA = Scan", "ENCUT = 520.0", "EDIFF = 1e-05", "ISYM = 0", "LASPH = True", "NCORE = 4"):
        assert line.lower() in incar.lower()
    assert "GGA = PE" not in incar
    kpoints = (tmp_path / "vasp-0" / "KPOINTS").read_text()
    assert "Gamma" in kpoints
    assert "1 1 2" in kpoints
    assert label.provenance["functional"] == "SCAN"
    plain = {key: value for key, value in settings.items() if key != "incar"}
    assert label.settings_hash == describe_labeller("vasp", plain).settings_hash  # cores change no number
    assert label.settings_hash != describe_labeller("vasp", COARSE).settings_hash


def test_the_version_is_part_of_the_reference(tmp_path: Path) -> None:
    unstated = load_labeller("vasp", {"kpoint_spacing_per_A": 0.8}).label(li3ycl6_cell(), scratch=tmp_path)
    assert unstated.provenance["version"] == "6.3.2"
    assert unstated.settings_hash == describe_labeller("vasp", COARSE).settings_hash
    with pytest.raises(EngineError, match=r"VASP 6.3.2 ran"):
        load_labeller("vasp", {**COARSE, "version": "6.4.1"}).label(li3ycl6_cell(), scratch=tmp_path)


@pytest.mark.parametrize("command", ["{vasp}", "sh -c '{vasp}; exit $?'"])
def test_a_killed_vasp_is_no_failure_of_the_calculation(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VASP", "killed")
    monkeypatch.setenv("SUPERIONIC_VASP", command.format(vasp=f"{sys.executable} {FAKE}"))
    with pytest.raises(VaspDied, match="signal 9"):
        load_labeller("vasp", COARSE).label(mixed_up(), scratch=tmp_path)


@pytest.mark.parametrize(
    ("mode", "word"),
    [
        ("crash", "exit code 1"),
        ("cut", "cut off"),
        ("shuffled", "species or their order"),
        ("foreign", "cell is not the one"),
        ("encut", "ENCUT is 400.0, not 520.0"),
        ("converges:AMIX=never", "tried in this order: as set, mixing, eigensolver, smearing"),
    ],
)
def test_answers_to_other_questions_are_refused(
    mode: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VASP", mode)
    atoms = Atoms("LiCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[2.9, 3.0, 3.1], pbc=True)
    with pytest.raises(CalculationFailed, match=word):
        load_labeller("vasp", {**COARSE, "max_scf_steps": 5}).label(atoms, scratch=tmp_path)


@pytest.mark.parametrize(
    ("tag", "rungs"),
    [
        ("AMIX=0.1", ["as set", "mixing"]),
        ("ALGO=All", ["as set", "mixing", "eigensolver"]),
        ("ISTART=1", ["as set", "mixing", "eigensolver", "smearing"]),
    ],
)
def test_the_ladder_ends_at_the_settings_that_were_asked_for(
    tag: str, rungs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VASP", f"converges:{tag}")
    atoms = Atoms("LiCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[2.9, 3.0, 3.1], pbc=True)
    label = load_labeller("vasp", {**COARSE, "max_scf_steps": 5}).label(atoms, scratch=tmp_path)
    assert [attempt["rung"] for attempt in label.diagnostics["attempts"]] == rungs
    assert (
        label.diagnostics["attempts"][0]["outcome"] == "the electronic minimisation did not converge in 5 steps (NELM)"
    )
    assert label.settings_hash == describe_labeller("vasp", COARSE).settings_hash
    assert "SIGMA = 0.05" in (tmp_path / f"vasp-{len(rungs) - 1}" / "INCAR").read_text()


def test_what_is_the_users_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labeller = load_labeller("vasp", COARSE)
    monkeypatch.setenv("SUPERIONIC_VASP", "no-such-vasp")
    with pytest.raises(EngineError, match="cannot be started"):
        labeller.label(li3ycl6_cell(), scratch=tmp_path)
    monkeypatch.delenv("SUPERIONIC_VASP")
    with pytest.raises(EngineError, match="SUPERIONIC_VASP"):
        labeller.label(li3ycl6_cell(), scratch=tmp_path)
    sodium = Atoms("NaCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3, 3, 3], pbc=True)
    with pytest.raises(PotentialError, match="no POTCAR Na_pv of PBE_54"):
        labeller.label(sodium, scratch=tmp_path)
    monkeypatch.delenv("PMG_VASP_PSP_DIR")
    with pytest.raises(PotentialError, match="PMG_VASP_PSP_DIR"):
        labeller.label(sodium, scratch=tmp_path)


def test_pseudopotentials_are_paper_as_and_else_the_materials_projects() -> None:
    none: dict[str, dict[str, str]] = {"potcars": {}}
    names = [potcar_name(element, none) for element in ("Li", "Y", "In", "Zr", "Ge", "Mg", "La")]
    assert names == ["Li_sv", "Y_sv", "In_d", "Zr_sv", "Ge_d", "Mg_pv", "La"]
    assert potcar_name("Li", {"potcars": {"Li": "Li"}}) == "Li"


@pytest.mark.parametrize(
    ("settings", "word"), [({"encut": 3}, "encut"), ({"functional": "HSE"}, "HSE"), ({"incar": {"ENCUT": 3}}, "ENCUT")]
)
def test_wrong_settings_are_told(settings: dict[str, object], word: str) -> None:
    with pytest.raises(CampaignFileError, match=word):
        load_labeller("vasp", settings)
