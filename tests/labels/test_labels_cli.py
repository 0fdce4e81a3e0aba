from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from superionic.cli import app
from superionic.errors import CampaignFileError
from superionic.labels.base import Label
from superionic.labels.packages import Entry, write_package

from .test_packages import entries, foreign
from .test_vasprun import text_of


def call(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["labels", *words], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def runs(folder: Path, texts: list[str]) -> Path:
    for number, text in enumerate(texts):
        (folder / "runs" / str(number)).mkdir(parents=True)
        (folder / "runs" / str(number) / "vasprun.xml").write_text(text)
    return folder / "runs"


def test_import_writes_a_package_and_says_what_it_refused(tmp_path: Path) -> None:
    out = tmp_path / "labels.extxyz"
    folder = runs(tmp_path, [text_of(), text_of(energy=-17.5), text_of(changes=(-0.1,) * 59)])
    code, output = call("import", str(folder), "--out", str(out))
    assert code == 1
    assert "2 labels in" in output
    assert "2 by vasp 6.3.2, PBE" in output
    assert "2/vasprun.xml: the electronic minimisation did not converge in 60 steps" in output
    code, output = call("import", str(folder), "-o", str(out), "--json")
    told = json.loads(output)
    assert told["n_labels"] == 2
    assert told["refused"][0]["file"] == "2/vasprun.xml"
    code, output = call("check", str(out), "--json")
    assert json.loads(output)["n_passed"] == 1  # both have the same structure
    assert code == 1


def test_import_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(CampaignFileError, match="No finished calculations"):
        call("import", str(tmp_path))
    with pytest.raises(CampaignFileError, match="no such file"):
        call("import", str(tmp_path / "x"))
    folder = runs(tmp_path, [text_of(changes=(-0.1,) * 59)])
    code, _ = call("import", str(folder), "-o", str(tmp_path / "out.extxyz"))
    assert code == 2
    assert not (tmp_path / "out.extxyz").exists()


def test_frames_of_others_are_imported_on_the_word_of_their_owner(tmp_path: Path) -> None:
    path, out = foreign(tmp_path), tmp_path / "out.extxyz"
    assert call("import", str(path), "-o", str(out))[0] == 2
    with pytest.raises(CampaignFileError, match="version and functional are missing"):
        call("import", str(path), "-o", str(out), "--code", "cp2k")
    code, output = call(
        "import", str(path), "-o", str(out), "--code", "cp2k", "--code-version", "2024.1", "--functional", "PBE"
    )
    assert code == 1  # the frame without energy
    assert "1 by cp2k 2024.1, PBE" in output


def test_check_names_the_labels_that_fail(tmp_path: Path) -> None:
    made, path = entries(12), tmp_path / "labels.extxyz"
    write_package(path, made)
    assert call("check", str(path)) == (0, f"{path}: 12 of 12 labels pass\n{reference_line(made[0].label, 12)}\n")
    poisoned = list(made)
    hartree = replace(made[3].label, energy_eV=27.2 * made[3].label.energy_eV)
    poisoned[3] = Entry(made[3].atoms, hartree, "run 1")
    poisoned[5] = Entry(made[5].atoms, replace(made[5].label, diagnostics={}), "run 1")
    write_package(path, poisoned)
    code, output = call("check", str(path))
    assert code == 1
    assert "10 of 12 labels pass" in output
    assert "    3  Cl18Li9Y3" in output
    assert "does not state that its calculation converged" in output


def test_check_with_a_baseline_sees_a_wrong_sign(tmp_path: Path) -> None:
    made, path = entries(12), tmp_path / "labels.extxyz"
    turned = replace(made[4].label, stress_eV_per_A3=-made[4].label.stress_eV_per_A3)
    made[4] = Entry(made[4].atoms, turned, "run 1")
    write_package(path, made)
    assert call("check", str(path))[0] == 0
    code, output = call("check", str(path), "--baseline", "pair")
    assert code == 1
    assert "11 of 12 labels pass" in output
    assert "the sign is wrong" in output


def reference_line(label: Label, number: int) -> str:
    provenance = label.provenance
    return (
        f"  {number:>5} by {provenance['code']} {provenance['version']}, {provenance['functional']} "
        f"(settings {label.settings_hash[:12]})"
    )


def test_two_references_in_a_file_are_told(tmp_path: Path) -> None:
    made, path = entries(8), tmp_path / "labels.extxyz"
    provenance = {**made[6].label.provenance, "version": "2", "settings_hash": "x"}
    other = replace(made[6].label, provenance=provenance)
    made[6] = Entry(made[6].atoms, other, "run 1")
    write_package(path, made)
    code, output = call("check", str(path))
    assert code == 1
    assert "2 reference methods in one file" in output
    assert "another reference" in output
