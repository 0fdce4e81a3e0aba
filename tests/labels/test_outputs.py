"""Outputs of VASP (OUTCAR), pw.x and CP2K, and DeePMD systems: numbers, signs, units, convergence, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator

from superionic.campaign.labelled_files import check_package
from superionic.labels.gates import check_labels
from superionic.labels.imports import find_files, import_labels, stated_provenance
from superionic.labels.outcar import read_outcar
from superionic.labels.packages import MOMENTS, Entry, read_package, write_package
from superionic.stages.label_file import read_task

from .public_outputs import cp2k, cp2k_positions, deepmd, espresso, outcar, vasprun

STATED = stated_provenance("vasp", "6.4", "PBE")


def frames(number: int = 3) -> list[Atoms]:
    """Give structures with numbers of no potential, all different, so that no order or sign can be mistaken."""
    made = []
    for n in range(number):
        atoms = bulk("Cu", cubic=True) * (1, 1, 2)
        atoms.symbols = ["Au"] * 3 + ["Cu"] * 5
        atoms.set_cell(np.array(atoms.cell) @ (np.eye(3) + np.array([[0, 0.02, 0], [0, 0, 0.01], [0, 0, 0]])), True)
        rng = np.random.default_rng(n)
        atoms.positions += rng.normal(0.0, 0.05, (8, 3))
        forces = rng.normal(0.0, 1.0, (8, 3))
        stress = np.array([0.011, -0.022, 0.033, 0.004, -0.005, 0.006])
        calculator: Calculator = SinglePointCalculator(
            atoms, energy=-25.0 - 0.1 * n, forces=forces - forces.mean(axis=0), stress=stress
        )
        atoms.calc = calculator
        made.append(atoms)
    return made


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def files(folder: Path, made: list[Atoms]) -> dict[str, Path]:
    (folder / "md-pos-1.xyz").write_text(cp2k_positions(made))
    return {
        "outcar": written(folder, "OUTCAR", outcar(made)),
        "espresso": written(folder, "pw.pwo", espresso(made)),
        "cp2k": written(folder, "cp2k.log", cp2k(made)),
        "deepmd": deepmd(folder / "system", made),
    }


@pytest.mark.parametrize("kind", ["outcar", "espresso", "cp2k", "deepmd"])
def test_numbers_are_those_of_the_code_in_our_signs_and_units(tmp_path: Path, kind: str) -> None:
    made = frames()
    found = import_labels([files(tmp_path, made)[kind]], stated=STATED)
    assert found.refusals == ()
    assert len(found.entries) == 3
    for atoms, entry in zip(made, found.entries, strict=True):
        assert entry.atoms.get_chemical_symbols() == atoms.get_chemical_symbols()
        assert np.abs(entry.atoms.positions - atoms.positions).max() < 1.0e-5
        assert np.abs(np.array(entry.atoms.cell) - np.array(atoms.cell)).max() < 1.0e-6
        assert entry.label.energy_eV == pytest.approx(atoms.get_potential_energy(), abs=2.0e-6)
        assert np.abs(entry.label.forces_eV_per_A - atoms.get_forces()).max() < 2.0e-6
        assert entry.label.stress_eV_per_A3 == pytest.approx(atoms.get_stress(), abs=3.0e-6)


@pytest.mark.parametrize("kind", ["outcar", "espresso", "cp2k"])
def test_import_check_and_train_have_one_reader(tmp_path: Path, kind: str) -> None:
    path = files(tmp_path, frames())[kind]
    read = read_task(None, file=str(path), name=path.name)  # type: ignore[arg-type]
    imported = import_labels([path]).entries
    checked = check_package(path).entries
    assert [label.energy_eV for label in read.labels] == [entry.label.energy_eV for entry in imported]
    assert [entry.label.energy_eV for entry in checked] == [entry.label.energy_eV for entry in imported]
    assert len({fact.run for fact in read.facts}) == 1


def test_steps_that_ran_into_nelm_are_named_and_the_others_kept(tmp_path: Path) -> None:
    run = read_outcar(written(tmp_path, "OUTCAR", outcar(frames(), unconverged=[1])))
    assert len(run.steps) == 2
    assert run.left_out == (
        "the electronic minimisation did not converge: EDIFF was not reached in 60 steps in ionic step 2",
    )


@pytest.mark.parametrize("kind", ["espresso", "cp2k"])
def test_steps_that_did_not_converge_are_named(tmp_path: Path, kind: str) -> None:
    made = frames()
    (tmp_path / "md-pos-1.xyz").write_text(cp2k_positions(made))
    text = {"espresso": espresso, "cp2k": cp2k}[kind](made, unconverged=[2])
    found = import_labels([written(tmp_path, "a.out", text)])
    assert len(found.entries) == 2
    assert [refusal.reason for refusal in found.refusals] == ["the electronic minimisation did not converge in step 3"]


def test_the_energy_of_pw_is_the_last_one_where_each_iteration_prints_one(tmp_path: Path) -> None:
    found = import_labels([written(tmp_path, "a.out", espresso(frames(1), iprint=True))])
    assert found.entries[0].label.energy_eV == pytest.approx(-25.0, abs=1.0e-6)


def test_an_outcar_is_of_one_reference_with_its_vasprun(tmp_path: Path) -> None:
    made = frames(1)
    echo = {"KSPACING": 0.5, "PREC": "Accurate"}
    tags = {"ISMEAR": 0, "EDIFF": 1e-5}
    by_xml = vasprun(made[0], grid=(3, 3, 3), tags=tags, echo=echo)
    first = import_labels([written(tmp_path, "vasprun.xml", by_xml)]).entries[0].label.provenance
    second = import_labels([written(tmp_path, "OUTCAR", outcar(made))]).entries[0].label.provenance
    assert first["settings"] == second["settings"]
    assert first["settings_hash"] == second["settings_hash"]
    assert first["setups"] == second["setups"]
    # Beside the vasprun.xml the OUTCAR says nothing new; where that cannot be read, it stands in.
    both = [tmp_path / "OUTCAR", tmp_path / "vasprun.xml"]
    assert [entry.source["file"].split("/")[-1] for entry in import_labels(both).entries] == ["vasprun.xml"]
    (tmp_path / "vasprun.xml").write_text(by_xml[:3000])
    assert [entry.source["file"].split("/")[-1] for entry in import_labels(both).entries] == ["OUTCAR"]


def functional(path: Path) -> str:
    found = import_labels([path])
    assert found.refusals == ()
    return str(found.entries[0].label.provenance["functional"])


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({}, "PBE"),
        ({"IVDW": 10}, "PBE-D2"),
        ({"IVDW": 11}, "PBE-D3(0)"),
        ({"IVDW": 12}, "PBE-D3(BJ)"),
        ({"IVDW": 13}, "PBE-D4"),
        ({"LVDW": True}, "PBE-D2"),
        ({"METAGGA": "R2SCAN", "IVDW": 13}, "r2SCAN-D4"),
        ({"METAGGA": "SCAN", "LUSE_VDW": True, "BPARAM": 15.7}, "SCAN+rVV10"),
    ],
)
def test_a_dispersion_correction_is_part_of_the_functional(tmp_path: Path, tags: dict[str, Any], name: str) -> None:
    made = frames(1)
    by_xml = written(tmp_path, "vasprun.xml", vasprun(made[0], echo=tags))
    assert functional(by_xml) == name
    incar = {key: {True: ".TRUE."}.get(value, str(value)) for key, value in tags.items()}
    assert functional(written(tmp_path, "OUTCAR", outcar(made, incar=incar))) == name


def test_the_other_codes_name_their_dispersion_too(tmp_path: Path) -> None:
    made = frames(1)
    assert functional(written(tmp_path, "a.pwo", espresso(made, dispersion=True))) == "PBE-D3"
    assert functional(written(tmp_path, "b.pwo", espresso(made))) == "PBE"
    bj = ["DFT-D3 (Version 3.1)", "Potential Form: S. Grimme et al, JCP 132: 154104 (2010)", "BJ Damping"]
    assert functional(written(tmp_path, "c.out", cp2k(made, vdw=bj))) == "PBE-D3(BJ)"
    assert functional(written(tmp_path, "d.out", cp2k(made))) == "PBE"


def test_sets_with_and_without_dispersion_do_not_mix_in_silence(tmp_path: Path) -> None:
    made = frames(4)
    for n, atoms in enumerate(made):
        (tmp_path / f"vasprun.{n}.xml").write_text(vasprun(atoms, echo={"IVDW": 12} if n == 3 else {}))
    found = import_labels(sorted(tmp_path.glob("*.xml")))
    verdicts = check_labels([e.atoms for e in found.entries], [e.label for e in found.entries])
    assert [verdict.passed for verdict in verdicts] == [True, True, True, False]
    assert "has another reference" in verdicts[3].reason


def test_what_an_old_outcar_does_not_say_is_not_guessed(tmp_path: Path) -> None:
    made = frames(1)
    found = import_labels([written(tmp_path, "OUTCAR", outcar(made, repeats=False))])
    assert "does not repeat its INCAR" in found.remarks[0].words
    assert "settings_of" in found.entries[0].label.provenance["settings"]
    found = import_labels([written(tmp_path, "OUTCAR", outcar(made, repeats=False, dispersion_eV=-0.5))])
    assert not found.entries
    assert "which van der Waals correction" in found.refusals[0].reason


def test_magnetic_moments_are_kept(tmp_path: Path) -> None:
    made = frames(1)
    moments = [2.0, -2.0, 0.5, 0.0, 0.0, 0.0, 0.1, 0.0]
    outcar_file = written(tmp_path, "OUTCAR", outcar(made, moments=moments))
    by_outcar = import_labels([outcar_file]).entries
    assert by_outcar[0].label.diagnostics[MOMENTS] == moments
    # A vasprun.xml has none: those of the OUTCAR of its run are taken.
    by_xml = import_labels([written(tmp_path, "vasprun.xml", vasprun(made[0], tags={"ISPIN": 2}))]).entries
    assert by_xml[0].label.diagnostics[MOMENTS] == moments
    write_package(tmp_path / "a.extxyz", by_outcar)
    (again,) = read_package(tmp_path / "a.extxyz")
    assert isinstance(again, Entry)
    assert again.label.diagnostics[MOMENTS] == moments
    from ase.io import read

    assert read(tmp_path / "a.extxyz").get_magnetic_moments().tolist() == moments
    # Those of extended XYZ of others stand in a column of their own.
    theirs = (tmp_path / "a.extxyz").read_text().replace("provenance=", "x=").replace("diagnostics=", "y=")
    found = import_labels([written(tmp_path, "b.extxyz", theirs.replace("origin=", "z="))], stated=STATED)
    assert found.entries[0].label.diagnostics[MOMENTS] == moments


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "type_map.raw").unlink(), "type_map.raw"),
        (lambda folder: (folder / "nopbc").touch(), "not periodic"),
        (lambda folder: (folder / "set.000" / "force.npy").unlink(), "force.npy is missing"),
        (lambda folder: np.save(folder / "set.000" / "force.npy", np.zeros((3, 7))), "the shape (3, 7)"),
        (lambda folder: (folder / "set.000" / "box.npy").write_bytes(b"\x93NUMPY"), "box.npy is cut off"),
        (lambda folder: (folder / "type_map.raw").write_text("A\nB\n"), "no element"),
    ],
)
def test_a_damaged_system_is_refused_with_the_reason(tmp_path: Path, change: Any, reason: str) -> None:
    file = deepmd(tmp_path / "system", frames())
    change(tmp_path / "system")
    found = import_labels([file], stated=STATED)
    assert not found.entries
    assert reason in found.refusals[0].reason


def test_a_system_says_nothing_of_its_method(tmp_path: Path) -> None:
    found = import_labels([deepmd(tmp_path / "system", frames())])
    assert "give code, version, functional" in found.refusals[0].reason


def test_a_folder_of_all_kinds_comes_in_without_a_word(tmp_path: Path) -> None:
    files(tmp_path, frames())
    found = import_labels(find_files([tmp_path]), stated=STATED)
    assert found.refusals == ()
    assert len(found.entries) == 12
