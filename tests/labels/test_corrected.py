"""Labels to which dispersion is added, and those to which it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from superionic.campaign.labelled_files import check_package
from superionic.errors import CampaignFileError, PotentialError, StageError
from superionic.labels.base import Label, LabellerIdentity, describe_labeller
from superionic.labels.corrected import dispersion_of_label, with_dispersion_term
from superionic.labels.packages import read_package
from superionic.potentials.dispersion import Dispersion
from superionic.training.dataset import LabelledSet

from .test_labels_cli import call, runs
from .test_vasprun import text_of


def licl() -> Atoms:
    atoms = bulk("LiCl", "rocksalt", a=5.13)
    atoms.rattle(0.1, seed=1)
    return atoms


def label(*, functional: str = "PBE", stress: bool = True, **settings: Any) -> Label:
    convention = f"VASP {functional}, PBE_54 potentials, without corrections"
    who = LabellerIdentity("vasp", "vasp", "6.3.2", functional, convention, {"ENCUT": 520, **settings})
    return Label(-7.0, np.full((2, 3), 0.1), np.full(6, 0.01) if stress else None, who.provenance(), {"scf_steps": 9})


def test_the_term_is_added_and_named() -> None:
    before, atoms = label(), licl()
    after = with_dispersion_term(before, atoms, "d3bj")
    energy, forces, stress = Dispersion("PBE").evaluate(atoms)
    # torch-dftd 0.5.3 gives -0.450454 eV with these cutoffs but for those of the neighbours.
    assert energy == pytest.approx(-0.450454, abs=1e-6)
    assert after.energy_eV == before.energy_eV + energy
    np.testing.assert_array_equal(after.forces_eV_per_A, before.forces_eV_per_A + forces)
    np.testing.assert_array_equal(after.stress_eV_per_A3, before.stress_eV_per_A3 + stress)
    assert after.provenance["functional"] == "PBE-D3(BJ)"
    assert after.provenance["energy_convention"].endswith("without corrections + D3(BJ)")
    assert after.diagnostics == {"scf_steps": 9, "dispersion_eV": energy}
    assert with_dispersion_term(label(stress=False), atoms, "d3bj").stress_eV_per_A3 is None


def test_each_functional_has_parameters_of_its_own() -> None:
    energies = {}
    for functional in ("PBE", "PBEsol", "SCAN", "r2SCAN"):
        energies[functional] = with_dispersion_term(label(functional=functional), licl(), "d3bj").energy_eV + 7.0
    assert len(set(energies.values())) == 4
    assert energies["PBE"] < energies["r2SCAN"] < energies["SCAN"] < 0.0  # r2SCAN and SCAN have more of it themselves
    with pytest.raises(PotentialError, match="functional of the dispersion term is not known") as caught:
        with_dispersion_term(label(functional="HSE06"), licl(), "d3bj")
    assert "functional: PBE" in str(caught.value.fix)


def test_labels_with_and_without_it_make_no_set_together() -> None:
    atoms = licl()
    with pytest.raises(StageError, match="2 different references"):
        LabelledSet.from_labels([atoms, atoms], [label(), with_dispersion_term(label(), atoms, "d3bj")])
    # Other cutoffs are another reference, too.
    terms = [Dispersion("PBE"), Dispersion("PBE", cutoff_A=20.0)]
    assert len({with_dispersion_term(label(), atoms, term).settings_hash for term in terms}) == 2


@pytest.mark.parametrize(
    "there",
    [
        label(functional="PBE-D3(BJ)", IVDW=12),
        label(functional="SCAN+rVV10", LUSE_VDW=True),
        label(functional="optB86b-vdW"),
        label(IVDW=11),
    ],
)
def test_labels_that_have_dispersion_are_refused(there: Label) -> None:
    assert dispersion_of_label(there.provenance) is not None
    with pytest.raises(StageError, match="have dispersion already"):
        with_dispersion_term(there, licl(), "d3bj")


def test_tight_binding_and_a_dispersed_potential_have_it() -> None:
    assert dispersion_of_label(describe_labeller("tblite", {}).provenance()) == "GFN1-xTB"
    options = {"options": {"dispersion": {"functional": "PBE"}}}
    assert dispersion_of_label(describe_labeller("potential:pair", options).provenance()) == "D3(BJ, PBE)"
    assert dispersion_of_label(describe_labeller("potential:pair", {}).provenance()) is None


def test_import_adds_it_from_the_command_line(tmp_path: Path) -> None:
    plain, with_it = tmp_path / "plain.extxyz", tmp_path / "with.extxyz"
    folder = runs(tmp_path, [text_of()])
    assert call("import", str(folder), "--out", str(plain))[0] == 0
    code, output = call("import", str(folder), "--out", str(with_it), "--dispersion", "d3bj")
    assert code == 0
    assert "PBE-D3(BJ)" in output
    (before,), (after,) = read_package(plain), read_package(with_it)
    energy, _, _ = Dispersion("PBE").evaluate(before.atoms)
    assert after.label.energy_eV - before.label.energy_eV == pytest.approx(energy, abs=1e-8)
    # What is compared with it in a check has the same term.
    checked = check_package(with_it, baseline="pair")
    assert checked.entries[0].label.provenance["functional"] == "PBE-D3(BJ)"
    with pytest.raises(StageError, match="have dispersion already"):
        call("import", str(with_it), "--out", str(tmp_path / "twice.extxyz"), "--dispersion", "d3bj")
    with pytest.raises(CampaignFileError, match="no dispersion term"):
        call("import", str(folder), "--dispersion", "d4")
