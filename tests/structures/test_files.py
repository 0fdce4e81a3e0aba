from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk

from superionic.errors import StructureError
from superionic.structures.disordered import close_pairs
from superionic.structures.files import read_crystal, write_cif, write_extxyz

CIF = """data_test
_symmetry_space_group_name_H-M 'P m -3 m'
_symmetry_Int_Tables_number 221
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma {gamma}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""

GOOD = "Cs1 Cs 0 0 0 1.0\nCl1 Cl 0.5 0.5 0.5 1.0"


def write(tmp_path, sites=GOOD, a="4.1", gamma="90"):
    file = tmp_path / "test.cif"
    file.write_text(CIF.format(sites=sites, a=a, gamma=gamma))
    return file


@pytest.mark.parametrize(
    ("folder", "name", "formula", "cell_formula", "number", "shortest"),
    [
        ("li3ycl6", "li3ycl6_p-3m1", "Li3YCl6", "Li9 Y3 Cl18", 164, 2.44),
        ("li3ycl6-xbrx", "li3ycl6_p-3m1", "Li3YCl6", "Li9 Y3 Cl18", 164, 2.44),
        ("li3ycl6-xbrx", "li3ybr6_c2m", "Li3YBr6", "Li6 Y2 Br12", 12, 2.51),
        ("li3ycl6", "licl", "LiCl", "Li4 Cl4", 225, 2.565),
        ("li3ycl6", "ycl3", "YCl3", "Y4 Cl12", 12, 2.58),
    ],
)
def test_examples_read_and_are_sane(examples, folder, name, formula, cell_formula, number, shortest):
    crystal = read_crystal(examples / folder / f"{name}.cif")
    assert crystal.formula == formula
    assert crystal.cell_formula == cell_formula
    assert crystal.spacegroup_number == number
    _, _, distances = close_pairs(crystal.cell_A, crystal.fractional, 3.5)
    assert distances[0] == pytest.approx(shortest, abs=0.01)


def test_example_sublattices_are_those_of_the_refinement(lyc):
    found = {s.name: (s.wyckoff, s.multiplicity, dict(s.species)) for s in lyc.sublattices}
    assert found == {
        "Li1": ("h", 6, {"Li": 0.875}),
        "Li2": ("g", 6, {"Li": 0.625}),
        "Y1": ("a", 1, {"Y": 1.0}),
        "Y2": ("d", 2, {"Y": 0.566}),
        "Y3": ("d", 2, {"Y": 0.434}),
        "Cl1": ("i", 6, {"Cl": 1.0}),
        "Cl2": ("i", 6, {"Cl": 1.0}),
        "Cl3": ("i", 6, {"Cl": 1.0}),
    }
    assert len(lyc.rotations) == 12
    assert not lyc.is_ordered
    assert lyc.density_g_per_cm3 == pytest.approx(2.44, abs=0.01)


def test_species_written_on_one_site_share_it(tmp_path):
    crystal = read_crystal(write(tmp_path, "Cs1 Cs 0 0 0 1\nCl1 Cl 0.5 0.5 0.5 0.25\nBr1 Br 0.5 0.5 0.5 0.5"))
    (mixed,) = [s for s in crystal.sublattices if len(s.species) == 2]
    assert dict(mixed.species) == {"Br": 0.5, "Cl": 0.25}
    assert mixed.vacancy == pytest.approx(0.25)
    assert crystal.formula == "CsBr0.5Cl0.25"


def test_round_trip_of_a_disordered_crystal(tmp_path, lyc):
    write_cif(tmp_path / "out.cif", lyc)
    again = read_crystal(tmp_path / "out.cif")
    assert again.spacegroup_number == 164
    assert again.composition == pytest.approx(lyc.composition)
    assert sorted(s.multiplicity for s in again.sublattices) == sorted(s.multiplicity for s in lyc.sublattices)


def test_ordered_formats(tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.info["energy_note"] = "kept"
    write_extxyz(tmp_path / "a.extxyz", [atoms, atoms])
    atoms.write(tmp_path / "POSCAR", format="vasp")
    write_cif(tmp_path / "a.cif", atoms)
    for name in ("a.extxyz", "POSCAR", "a.cif"):
        crystal = read_crystal(tmp_path / name)
        assert crystal.spacegroup_number == 225
        assert crystal.is_ordered
        assert crystal.formula == "NaCl"
        assert len(crystal.primitive().sites) == 2


def test_pymatgen_json(tmp_path):
    structure = {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "lattice": {"matrix": (4.1 * np.eye(3)).tolist()},
        "sites": [
            {"species": [{"element": "Cs", "occu": 1}], "abc": [0, 0, 0]},
            {"species": [{"element": "Cl", "occu": 0.5}, {"element": "Br", "occu": 0.5}], "abc": [0.5, 0.5, 0.5]},
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(structure))
    crystal = read_crystal(tmp_path / "c.json", name="mixed")
    assert (crystal.name, crystal.spacegroup_number) == ("mixed", 221)
    assert crystal.composition == {"Cs": 1.0, "Br": 0.5, "Cl": 0.5}


@pytest.mark.parametrize(
    ("sites", "a", "gamma", "says"),
    [
        ("Cs1 Cs 0 0 0 1.2\nCl1 Cl 0.5 0.5 0.5 1", "4.1", "90", "between 0 and 1"),
        ("Cs1 Cs 0 0 0 nan\nCl1 Cl 0.5 0.5 0.5 1", "4.1", "90", "between 0 and 1"),
        ("Cs1 Cs 0 0 0 -0.2\nCl1 Cl 0.5 0.5 0.5 1", "4.1", "90", "between 0 and 1"),
        ("Cs1 Cs 0 0 0 0.7\nCl1 Cl 0 0 0 0.7", "4.1", "90", "sum to 1.4"),
        ("Cs1 Cs 0 0 x 1", "4.1", "90", "coordinate"),
        ("Cs1 Cs 0 0 0 1\nCl1 Cl 0.01 0 0 1", "4.1", "90", "apart"),
        (GOOD, "0.0", "90", "positive number"),
        (GOOD, "nan", "90", "positive number"),
        (GOOD, "4.1", "0.001", "no volume"),
        (GOOD, "4.1", "180", "no volume"),
        ("Qq1 Qq 0 0 0 1", "4.1", "90", "Qq"),
        ("", "4.1", "90", "atoms"),
    ],
)
def test_bad_crystals_are_refused_with_a_fix(tmp_path, sites, a, gamma, says):
    file = write(tmp_path, sites, a, gamma)
    with pytest.raises(StructureError, match=says) as caught:
        read_crystal(file)
    assert str(file) in str(caught.value.where)
    assert caught.value.fix


def test_the_line_of_a_bad_site_is_named(tmp_path):
    file = write(tmp_path, "Cs1 Cs 0 0 0 1\nCl1 Cl 0.5 0.5 0.5 1.7")
    with pytest.raises(StructureError) as caught:
        read_crystal(file)
    line = file.read_text().splitlines().index("Cl1 Cl 0.5 0.5 0.5 1.7") + 1
    assert f"line {line}, site Cl1" in str(caught.value.where)


def test_files_that_are_no_crystals(tmp_path):
    (tmp_path / "empty.cif").write_text("")
    (tmp_path / "text.cif").write_text("hello\n")
    (tmp_path / "noatoms.cif").write_text("data_x\n_cell_length_a 3\n")
    (tmp_path / "POSCAR").write_text("hello\n")
    (tmp_path / "s.json").write_text("{}")
    (tmp_path / "a.xyz").write_text("1\nno cell\nH 0 0 0\n")
    (tmp_path / "a.docx").write_text("x")
    (tmp_path / "folder.cif").mkdir()
    for name in ("empty.cif", "text.cif", "noatoms.cif", "POSCAR", "s.json", "a.xyz", "a.docx", "folder.cif", "no.cif"):
        with pytest.raises(StructureError) as caught:
            read_crystal(tmp_path / name)
        assert name in str(caught.value.where)
        assert caught.value.fix


def test_split_sites_are_no_overlap(tmp_path):
    crystal = read_crystal(write(tmp_path, "Cs1 Cs 0 0 0 1\nLi1 Li 0.5 0.5 0.55 0.16"))
    (split,) = [s for s in crystal.sublattices if s.name == "Li1"]
    assert split.multiplicity == 6
