from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from superionic.campaign.labelled_files import import_to
from superionic.errors import CalculationFailed, CampaignFileError
from superionic.labels.base import Label, load_labeller
from superionic.labels.imports import find_files, import_labels, stated_provenance
from superionic.labels.packages import Entry, read_package, write_package
from superionic.potentials.reference import li3ycl6_cell

from .test_vasprun import text_of


def entries(n: int) -> list[Entry]:
    rng = np.random.default_rng(4)
    labeller = load_labeller("potential:pair", {})
    made = []
    for number in range(n):
        atoms = li3ycl6_cell()
        atoms.positions += rng.normal(0.0, 0.1, atoms.positions.shape)
        atoms.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + rng.normal(0.0, 0.01, (3, 3))), scale_atoms=True)
        source = {"file": f'a "quoted" \\ name {number}', "sha256": "0" * 64}
        made.append(Entry(atoms, labeller.label(atoms), f"run {number // 2}", source))
    return made


def test_a_package_gives_back_every_bit_and_all_provenance(tmp_path: Path) -> None:
    path, again = tmp_path / "labels.extxyz", tmp_path / "again.extxyz"
    made = entries(4)
    made[2] = Entry(
        made[2].atoms,
        Label(
            1e-17, made[2].label.forces_eV_per_A, None, made[2].label.provenance, {"converged": True, "x": [1, None]}
        ),
        "run 1",
    )
    write_package(path, made)
    found = [entry for entry in read_package(path) if isinstance(entry, Entry)]
    assert len(found) == 4
    for one, other in zip(made, found, strict=True):
        assert np.array_equal(one.atoms.positions, other.atoms.positions)
        assert np.array_equal(np.asarray(one.atoms.cell), np.asarray(other.atoms.cell))
        assert np.array_equal(one.atoms.numbers, other.atoms.numbers)
        assert one.label.energy_eV == other.label.energy_eV
        assert np.array_equal(one.label.forces_eV_per_A, other.label.forces_eV_per_A)
        assert (one.label.stress_eV_per_A3 is None) == (other.label.stress_eV_per_A3 is None)
        if one.label.stress_eV_per_A3 is not None:
            assert np.array_equal(one.label.stress_eV_per_A3, other.label.stress_eV_per_A3)
        assert one.label.provenance == other.label.provenance
        assert one.label.diagnostics == other.label.diagnostics
        assert (one.group, dict(one.source)) == (other.group, dict(other.source))
    write_package(again, found)
    assert again.read_bytes() == path.read_bytes()


def test_other_programs_read_a_package(tmp_path: Path) -> None:
    path = tmp_path / "labels.extxyz"
    (made,) = entries(1)
    write_package(path, [made])
    atoms = read(path)
    assert atoms.get_potential_energy() == made.label.energy_eV
    assert np.array_equal(atoms.get_forces(), made.label.forces_eV_per_A)
    assert np.array_equal(atoms.get_stress(), made.label.stress_eV_per_A3)


def foreign(folder: Path) -> Path:
    atoms = Atoms("LiCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3.0, 3.0, 3.0], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-3.5, forces=np.zeros((2, 3)), stress=np.zeros(6))
    bare = atoms.copy()
    path = folder / "foreign.extxyz"
    write(path, [atoms, bare])
    return path


def test_frames_of_others_need_a_statement_of_who_made_them(tmp_path: Path) -> None:
    path = foreign(tmp_path)
    refused = import_labels([path])
    assert not refused.entries
    assert [refusal.reason.split(":")[0] for refusal in refused.refusals] == [
        "frame 0 does not state its method",
        "frame 1 has no energy and no forces",
    ]
    stated = import_labels([path], stated=stated_provenance("cp2k", "2024.1", "PBE"))
    ((entry,), (other,)) = stated.entries, stated.refusals
    assert entry.label.provenance["code"] == "cp2k"
    assert entry.label.diagnostics == {"converged": True, "stated": True}
    assert entry.label.energy_eV == -3.5
    assert "no energy" in other.reason


def test_a_package_cut_off_gives_what_is_whole_and_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "labels.extxyz"
    write_package(path, entries(3))
    text = path.read_text()
    path.write_text(text[: int(0.8 * len(text))])
    found = import_labels([path])
    assert len(found.entries) == 2
    ((reason),) = (refusal.reason for refusal in found.refusals)
    assert "frame 2 is cut off" in reason
    path.write_text(text[:-3])  # in the last number, which would be another one
    assert "its last number may have lost digits" in import_labels([path]).refusals[0].reason
    path.write_text(text[: int(0.2 * len(text))])
    with pytest.raises(CalculationFailed):
        list(read_package(path))


def test_a_folder_of_runs_comes_in_with_reasons_for_what_does_not(tmp_path: Path) -> None:
    for number, text in enumerate([text_of(), text_of(energy=-17.0, steps=5), text_of(changes=(-0.1,) * 59)]):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        (folder / "vasprun.xml").write_text(text)
        (folder / "OUTCAR").write_text("...")
        (folder / "notes.txt").write_text("...")
    files = find_files([tmp_path])
    assert len(files) == 6
    found = import_labels(files, every=2)
    assert [(entry.group, entry.source["file"]) for entry in found.entries] == [
        ("run0/vasprun.xml", "run0/vasprun.xml"),
        *[("run1/vasprun.xml", "run1/vasprun.xml")] * 3,
    ]
    assert all(len(entry.source["sha256"]) == 64 for entry in found.entries)
    reasons = {refusal.file: refusal.reason for refusal in found.refusals}
    assert "did not converge" in reasons["run2/vasprun.xml"]
    # An OUTCAR is refused where nothing was read of its run.
    assert "does not begin as an OUTCAR" in reasons["run2/OUTCAR"]
    assert len(reasons) == 2
    named = import_labels(find_files([tmp_path / "run0" / "notes.txt"]))
    assert "not read" in named.refusals[0].reason


def test_what_is_no_gpw_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gpw"
    path.write_bytes(b"- of ULM this is not" * 10)
    assert "gpw" in import_labels([path]).refusals[0].reason


def test_a_gpw_file_is_read_in_the_core_environment(tmp_path: Path) -> None:
    """A file with the parts of GPAW's that are read; a real one was tried by hand."""
    from ase.io import ulm
    from ase.io.trajectory import write_atoms

    def make(path: Path, **results: object) -> Path:
        writer = ulm.open(path, "w", tag="gpaw")
        writer.write(version=7, gpaw_version="26.7.0", ha=27.2, bohr=0.529)
        atoms = Atoms("LiCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3.0, 3.0, 3.0], pbc=True)
        write_atoms(writer.child("atoms"), atoms)
        writer.child("results").write(**results)
        parameters = {"mode": {"name": "pw", "ecut": 300.0}, "xc": {"name": "PBE"}}
        writer.child("parameters").write(**parameters, kpts={"size": np.array([4, 4, 4]), "gamma": True})
        waves = writer.child("wave_functions")
        waves.write(fermi_levels=np.array([0.1]), eigenvalues=np.zeros((1, 1, 2)), occupations=np.zeros((1, 1, 2)))
        waves.child("kpts").write(ibzkpts=np.zeros((1, 3)), bzkpts=np.zeros((1, 3)), bz2ibz=np.zeros(1), weights=[1.0])
        writer.close()
        return path

    forces, stress = np.array([[0.1, 0.0, 0.0], [-0.08, 0.0, 0.0]]), np.arange(6.0)
    path = make(tmp_path / "a.gpw", energy=-3.0, free_energy=-3.01, forces=forces, stress=stress)
    ((entry,), ()) = (found := import_labels([path])).entries, found.refusals
    assert entry.label.energy_eV == -3.01
    assert entry.label.diagnostics["net_force_eV_per_A"][0] == pytest.approx(0.02)
    assert entry.label.forces_eV_per_A[0, 0] == pytest.approx(0.09)
    assert np.array_equal(entry.label.stress_eV_per_A3, stress)
    assert (entry.label.provenance["version"], entry.label.provenance["functional"]) == ("26.7.0", "PBE")
    assert import_labels([path], kpoint_spacing_per_A=0.6).entries
    assert "coarser" in import_labels([path], kpoint_spacing_per_A=0.2).refusals[0].reason
    partial = make(tmp_path / "b.gpw", energy=-3.0, free_energy=-3.01, forces=forces)
    assert "stress is not in the file" in import_labels([partial]).refusals[0].reason


def test_files_are_named_by_their_paths_from_the_folder_that_was_given(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        (tmp_path / name / "outputs").mkdir(parents=True)
        (tmp_path / name / "outputs" / "vasprun.xml").write_text(text_of(energy=-17.0 - number))
    found = import_to([tmp_path], tmp_path / "labels.extxyz")
    assert [entry.group for entry in found.entries] == [f"{name}/outputs/vasprun.xml" for name in "abc"]
    # Two folders that were given, with the same paths in both.
    found = import_to([tmp_path / "a", tmp_path / "b"], tmp_path / "other.extxyz")
    assert [entry.group for entry in found.entries] == ["a/outputs/vasprun.xml", "b/outputs/vasprun.xml"]
    named = import_labels(find_files([tmp_path / "a", tmp_path / "c"]))
    assert [entry.group for entry in named.entries] == ["a/outputs/vasprun.xml", "c/outputs/vasprun.xml"]


def test_an_import_does_not_read_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "vasprun.xml").write_text(text_of(steps=2))
    out = tmp_path / "labels.extxyz"
    for _ in range(3):
        assert len(import_to([tmp_path], out).entries) == 2
    # Nor, under another name, what the same files gave before.
    found = import_to([tmp_path], tmp_path / "again.extxyz")
    assert len(found.entries) == 2
    assert "2 labels are left out" in found.remarks[0].words
    # Without the file that it is of, a package is read.
    (tmp_path / "vasprun.xml").unlink()
    (tmp_path / "again.extxyz").unlink()
    assert len(import_to([tmp_path], tmp_path / "third.extxyz").entries) == 2
    with pytest.raises(CampaignFileError, match="written over"):
        import_to([out], out)


def test_files_of_workflow_managers_are_known_by_name(tmp_path: Path) -> None:
    import bz2
    import gzip
    import lzma

    text = text_of().encode()
    packed = {
        "vasprun.xml.relax1.gz": gzip.compress(text),
        "vasprun.xml.relax2.bz2": bz2.compress(text),
        "vasprun.xml.xz": lzma.compress(text),
        "vasprun.relax3.xml": text,
    }
    for name, content in {**packed, "OUTCAR.relax1.gz": b"...", "OUTCAR.relax7.gz": b"..."}.items():
        (tmp_path / name).write_bytes(content)
    found = import_labels(find_files([tmp_path]))
    assert sorted(entry.source["file"].split("/")[-1] for entry in found.entries) == sorted(packed)
    assert [refusal.file.split("/")[-1] for refusal in found.refusals] == ["OUTCAR.relax7.gz"]


def test_a_file_of_another_kind_of_run_costs_itself_alone(tmp_path: Path) -> None:
    shifts = text_of(tags={"LCHIMAG": True})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "vasprun.xml").write_text(shifts)
    (tmp_path / "vasprun.xml").write_text(text_of())
    odd = text_of().replace('<array name="atomtypes">', '<array name="other">')
    (tmp_path / "a" / "vasprun.b.xml").write_text(odd)
    found = import_labels(find_files([tmp_path]))
    assert len(found.entries) == 1
    assert [refusal.file for refusal in found.refusals] == ["a/vasprun.b.xml", "a/vasprun.xml"]


def test_an_isolated_atom_is_named_and_left_out(tmp_path: Path) -> None:
    one = {
        "symbols": ["Si"],
        "cell": np.diag([15.0, 15.5, 16.0]),
        "scaled": np.zeros((1, 3)),
        "forces": np.zeros((1, 3)),
    }
    (tmp_path / "vasprun.xml").write_text(text_of(**one))
    (tmp_path / "vasprun.2.xml").write_text(text_of())
    found = import_labels(find_files([tmp_path]))
    assert len(found.entries) == 1
    assert found.refusals == ()
    assert found.remarks[0].words.startswith("it is an isolated atom (Si), not a label of a crystal: its energy, -17.1")
    assert found.isolated_atoms_eV == {"Si": -17.12345678}


def test_packages_of_before_have_the_reference_of_today(tmp_path: Path) -> None:
    (tmp_path / "vasprun.xml").write_text(text_of())
    (entry,) = import_labels([tmp_path / "vasprun.xml"]).entries
    settings = {**entry.label.provenance["settings"], "EDIFF": 1e-4}
    old = replace(entry.label, provenance={**entry.label.provenance, "settings": settings, "settings_hash": "old"})
    write_package(tmp_path / "a.extxyz", [replace(entry, label=old)])
    (again,) = import_labels([tmp_path / "a.extxyz"]).entries
    assert again.label.provenance == entry.label.provenance
