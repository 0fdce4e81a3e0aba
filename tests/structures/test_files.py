from __future__ import annotations

import json
import os
import warnings

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from superionic import __version__
from superionic.errors import StructureError
from superionic.structures.crystal.disordered import close_pairs
from superionic.structures.io.files import (
    parse_crystal,
    read_crystal,
    read_oxidation_states,
    write_cif,
    write_extxyz,
    write_structures,
)

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


HEAD = "data_x\n_cell_length_a {a}\n_cell_length_b {b}\n_cell_length_c {c}\n_cell_angle_alpha {alpha}\n"
HEAD += "_cell_angle_beta {beta}\n_cell_angle_gamma {gamma}\n{symmetry}\n"
P1 = "_space_group_name_H-M_alt 'P 1'"
TABLE = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n"


def cif(tmp_path, sites, symmetry=P1, a=4.0, b=None, c=None, alpha=90, beta=90, gamma=90):
    b, c = a if b is None else b, a if c is None else c
    file = tmp_path / "x.cif"
    file.write_text(
        HEAD.format(a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma, symmetry=symmetry) + TABLE + sites + "\n"
    )
    return file


def operations(*texts):
    return "\n".join(["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{t}'" for t in texts)])


@pytest.mark.parametrize(
    ("symmetry", "cell", "number", "n_sites"),
    [
        ("_space_group_IT_number 225", {}, 225, 4),
        ("_symmetry_space_group_name_H-M 'F m -3 m'", {}, 225, 4),
        ("_symmetry_space_group_name_H-M Fm-3m", {}, 225, 4),
        ("_symmetry_space_group_name_H-M F m -3 m", {}, 225, 4),
        ("_space_group_name_Hall '-F 4 2 3'", {}, 225, 4),
        ("_symmetry_space_group_name_H-M 'R -3 m'", {"c": 9.0, "gamma": 120}, 166, 3),
        ("_symmetry_space_group_name_H-M 'R -3 m :R'", {"alpha": 70, "beta": 70, "gamma": 70}, 166, 1),
        ("_symmetry_space_group_name_H-M 'C 2/m'", {"b": 7.0, "c": 6.0, "beta": 104}, 12, 2),
        ("_symmetry_space_group_name_H-M 'I 2/m'", {"b": 7.0, "c": 6.0, "beta": 104}, 12, 2),
        ("_symmetry_space_group_name_H-M 'B 2/m'", {"b": 7.0, "c": 6.0, "gamma": 104}, 12, 2),
        ("_symmetry_space_group_name_H-M 'F d -3 m :2'", {}, 227, 16),
        ("_symmetry_space_group_name_H-M 'F d -3 m S'", {}, 227, 8),
        ("_symmetry_space_group_name_H-M 'P 1'\n_symmetry_Int_Tables_number 1", {}, 221, 1),
    ],
)
def test_operations_follow_from_the_name_of_the_group(tmp_path, symmetry, cell, number, n_sites):
    crystal = parse_crystal(cif(tmp_path, "Cu1 0 0 0 1", symmetry, **cell))
    assert (crystal.spacegroup_number, len(crystal.sites)) == (number, n_sites)


def test_names_give_the_operations_that_pymatgen_finds(tmp_path):
    from pymatgen.symmetry.groups import SpaceGroup

    from superionic.structures.io.operations import operations_by_name

    for name in ("Pnma", "P2_1/c", "Ia-3d", "P-3m1", "I-4", "P6_3mc", "Cmcm", "F-43m"):
        system = SpaceGroup(name).crystal_system
        angles = {"monoclinic": (90, 104, 90), "hexagonal": (90, 90, 120), "trigonal": (90, 90, 120)}
        lengths = {"orthorhombic": (4, 5, 6), "monoclinic": (4, 5, 6), "cubic": (4, 4, 4)}
        from ase.geometry import cellpar_to_cell

        cell = cellpar_to_cell([*lengths.get(system, (4, 4, 6)), *angles.get(system, (90, 90, 90))])
        rotations, translations, _ = operations_by_name(None, name, None, cell, "here")
        ours = {
            (tuple(r.flat), tuple(np.round(t * 24).astype(int) % 24))
            for r, t in zip(rotations, translations, strict=True)
        }
        theirs = {
            (
                tuple(int(v) for v in op.rotation_matrix.flat),
                tuple(np.round(op.translation_vector * 24).astype(int) % 24),
            )
            for op in SpaceGroup(name).symmetry_ops
        }
        assert ours == theirs, name


@pytest.mark.parametrize(
    ("sites", "symmetry", "says", "place"),
    [
        ("Cu1 0 0 0 1", "_symmetry_space_group_name_H-M 'F d -3 m'", "two origins", "x.cif"),
        ("Cu1 0 0 0 1", "_symmetry_space_group_name_H-M 'P 5'", "No setting", "x.cif"),
        ("Cu1 0 0 0 1", "_symmetry_space_group_name_H-M 'P -3 m 1'", "fits the cell", "x.cif"),
        ("Cu1 .1 .2 .3 1", "_space_group_IT_number 225\n" + operations("x,y,z"), "only the identity", "x.cif"),
        ("Cu1 0 0 0 1", operations("x,y,z", "-x,-y,z", "y,x,z"), "not a group", "line 10"),
        ("Cu1 0 0 0 1", operations("-x,-y,-z"), "identity is missing", "line 10"),
        ("Cu1 0 0 0 1", operations("x,y,z", "-y,x-y,z", "-x+y,-x,z"), "do not fit", "line 10"),
        ("Cu1 0 0 0 1", operations("x,y,z", "__import__('os')"), "not a symmetry operation", "line 11"),
        ("Cu1 0 0 0 1", operations("x,y,z", "x" + "+1" * 50000 + ",y,z"), "not a symmetry operation", "line 11"),
        ("Cu1 0 0 0 1", operations("x,y,z", "x,x,z"), "not a symmetry operation", "line 11"),
        ("Cu1 0 0 0 1", operations("x,y,z", "x+1/0,y,z"), "not a symmetry operation", "line 11"),
        ("Cu1 0 0 0 1\nCl1 0.5 0.5 0.5", "", "one of its rows is not complete", "line 17"),
        ("Cu1 0 0 0 ?\nCl1 0.5 0.5 0.5 1", "", "unknown", "line 15, site Cu1"),
        ("Cu1 0 0 " + "9" * 5000 + " 1", "", "coordinate", "line 15, site Cu1"),
        ("Cu1 0 0 1e20 1", "", "coordinate", "line 15, site Cu1"),
        ("Cu1 0 0 ٣ 1", "", "coordinate", "line 15, site Cu1"),
        ("Cu1 0 0 0,5 1", "", "coordinate", "line 15, site Cu1"),
        ("Cu1 0 0 0 1_0", "", "between 0 and 1", "line 15, site Cu1"),
        ("Cu1 0 0 0 1\nCu1 1 0 0 1", "", "of Cu is 2; it must", "line 16, site Cu1"),
        ("Cu1 0 0 0 1\n;\ntext", "", "has no end", "line 16"),
        ("Cu1 0 0 0 1\0", "", "binary", "x.cif"),
        ("Cu1 0 0 0 1\n_cell_length_a 4", "", "given twice", "line 16"),
        ("\n".join(f"Cu{i} {i / 3000} 0 0 0.1" for i in range(2001)), "", "2,001 sites; at most 2,000", "x.cif"),
        ("Cu1 0 0 0 1\n" * 10_001, "", "more than 10,000 rows", "line 10015"),
    ],
)
def test_bad_cifs_name_the_line_and_the_fix(tmp_path, sites, symmetry, says, place):
    with pytest.raises(StructureError, match=says) as caught:
        read_crystal(cif(tmp_path, sites, symmetry or P1))
    assert place in str(caught.value.where)
    assert caught.value.fix
    assert len(str(caught.value)) < 600


def test_missing_loop_names_the_line(tmp_path):
    file = cif(tmp_path, "Cu1 0 0 0 1")
    file.write_text(file.read_text().replace("loop_\n", ""))
    with pytest.raises(StructureError, match="_atom_site_label has no value"):
        read_crystal(file)


def test_rounded_and_negative_coordinates_meet_their_special_position(tmp_path):
    hexagonal = operations("x,y,z", "-y,x-y,z", "-x+y,-x,z")
    crystal = parse_crystal(cif(tmp_path, "Li1 0.333 -0.333 0 1", hexagonal, a=9.0, c=5.0, gamma=120))
    assert len(crystal.sites) == 1
    third = np.asarray(crystal.sites[0].fractional)
    assert third[:2] == pytest.approx([1 / 3, 2 / 3], abs=1e-12)


def test_a_site_refined_off_its_special_position_is_split(tmp_path):
    crystal = parse_crystal(cif(tmp_path, "Li1 0.04 0 0 0.5\nCl1 0.5 0.5 0.5 1", operations("x,y,z", "-x,y,z")))
    assert [s.multiplicity for s in crystal.sublattices] == [2, 1]


def test_occupancy_defaults(tmp_path):
    assert parse_crystal(cif(tmp_path, "Cu1 0 0 0 .")).is_ordered
    assert parse_crystal(cif(tmp_path, "Cu1 0 0 0 ?\nCl1 0.5 0.5 0.5 ?")).formula == "CuCl"


def test_first_block_with_atoms_counts_and_quotes_texts_and_comments_are_passed_over(tmp_path):
    file = cif(tmp_path, "'Cu1' 0 0 0 1 # a comment\nCl1 0.5 0.5 .5(2) 1")
    first = "data_global\n_title\n;\n loop_ _atom_site_label data_y\n;\n_note 'it''s' \n"
    file.write_bytes(("\ufeff" + first + file.read_text() + "data_z\n" + TABLE + "Au1 0 0 0 1\n").encode())
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert parse_crystal(file).formula == "CuCl"


def test_magnetic_and_modulated_cifs_are_refused_and_the_fix_works(tmp_path):
    loop = "loop_\n_space_group_symop_magn_{0}.id\n_space_group_symop_magn_{0}.xyz\n"
    magnetic = loop.format("operation") + "1 x,y,z,+1\n2 -x,-y,-z,-1\n"
    magnetic += loop.format("centering") + "1 x,y,z,+1\n2 x+1/2,y+1/2,z+1/2,-1\n"
    with pytest.raises(StructureError, match="magnetic space group") as caught:
        parse_crystal(cif(tmp_path, "Fe1 0 0 0 1", magnetic))
    assert "_space_group_symop_operation_xyz" in caught.value.fix
    nuclear = operations("x,y,z", "-x,-y,-z", "x+1/2,y+1/2,z+1/2", "-x+1/2,-y+1/2,-z+1/2")
    crystal = parse_crystal(cif(tmp_path, "Fe1 0 0 0 1", f"{nuclear}\n{magnetic}"))
    assert (crystal.spacegroup_number, len(crystal.sites)) == (229, 2)
    assert any("magnetic" in note for note in crystal.notes)
    for symmetry in ("_cell_modulation_dimension 1\n" + P1, "_space_group_ssg_name 'P m(00g)'\n" + P1):
        with pytest.raises(StructureError, match="modulated") as caught:
            parse_crystal(cif(tmp_path, "Fe1 0 0 0 1", symmetry))
        assert caught.value.fix
    assert parse_crystal(cif(tmp_path, "Fe1 0 0 0 1", "_cell_modulation_dimension 0\n" + P1)).formula == "Fe"


def test_agrees_with_pymatgen(tmp_path, examples):
    from pymatgen.io.cif import CifParser

    for file in sorted(examples.glob("*/*.cif")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (theirs,) = CifParser(file, occupancy_tolerance=10).parse_structures(primitive=False)
        ours = parse_crystal(file)
        assert len(ours.sites) == len(theirs)
        assert np.allclose(ours.cell_A, theirs.lattice.matrix, atol=1e-6)
        composition = {str(e): v for e, v in theirs.composition.get_el_amt_dict().items()}
        assert dict(ours.composition) == pytest.approx(composition, abs=1e-3)


def test_oxidation_states(tmp_path):
    base = cif(tmp_path, "Cu1 0 0 0 1\nO1 0.5 0.5 0.5 1").read_text()
    types = "loop_\n_atom_type_symbol\n_atom_type_oxidation_number\n"

    def states(text):
        (tmp_path / "o.cif").write_text(text)
        found = read_oxidation_states(tmp_path / "o.cif")
        return found.states, found.reason

    assert states(base) == (None, "the file gives no oxidation states")
    assert states(base + types + "Cu2+ 2\nO2- -2\n") == ({"Cu": 2.0, "O": -2.0}, None)
    assert states(base + types + "Cu 2\nO -2\nLi 1\n") == ({"Cu": 2.0, "O": -2.0}, None)
    assert states(base + types + "Cu2+ .\nO2- ?\n") == ({"Cu": 2.0, "O": -2.0}, None)
    assert states(base + types + "Cu 0\nO 0\n")[0] is None
    # An element with two states takes nothing away from the others.
    assert states(base + types + "Cu1+ 1\nCu2+ 2\nO2- -2\n") == ({"O": -2.0}, None)
    assert read_oxidation_states(tmp_path / "o.cif").several == {"Cu": (1.0, 2.0)}
    symbols = base.replace("_atom_site_label\n", "_atom_site_label\n_atom_site_type_symbol\n")
    symbols = symbols.replace("Cu1 ", "Cu1 Cu+ ").replace("O1 ", "O1 O2- ")
    assert states(symbols) == ({"Cu": 1.0, "O": -2.0}, None)


def test_json_keeps_charges_and_runs_nothing(tmp_path):
    data = {
        "@module": "os",
        "@class": "system",
        "lattice": {"matrix": (4.1 * np.eye(3)).tolist()},
        "sites": [
            {
                "species": [{"element": "Fe", "oxidation_state": 2.0, "occu": 0.5}],
                "xyz": [2.05, 2.05, 2.05],
                "properties": {"x": {"@module": "os", "@callable": "abort"}},
            },
            {"species": [{"element": "O", "oxidation_state": -2, "occu": 1}], "abc": [0, 0, 0], "label": "O9"},
        ],
    }
    file = tmp_path / "s.json"
    file.write_text(json.dumps(data))
    crystal = read_crystal(file)
    assert crystal.composition == {"Fe": 0.5, "O": 1.0}
    assert [s.label for s in crystal.sites] == ["Fe", "O9"]
    assert read_oxidation_states(file).states == {"Fe": 2.0, "O": -2.0}
    data["sites"][1]["species"][0].update(element="Fe", oxidation_state=3)
    file.write_text(json.dumps(data))
    found = read_oxidation_states(file)
    assert found.states == {"Fe": pytest.approx((0.5 * 2 + 3) / 1.5, abs=1e-6)}
    assert "+2 and +3: +2.66667 on average" in found.reason


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 10_000, '{"lattice": {"matrix": NaN}}', "[]", '{"sites": []}'])
def test_bad_json(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(StructureError) as caught:
        read_crystal(tmp_path / "s.json")
    assert caught.value.fix


def test_extxyz_with_the_occupancies_of_ase(tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.info["occupancy"] = {"0": {"Na": 0.5, "K": 0.25}, "1": {"Cl": 1.0}}
    atoms.set_array("spacegroup_kinds", np.array([0 if s == "Na" else 1 for s in atoms.get_chemical_symbols()]))
    ase.io.write(tmp_path / "a.extxyz", atoms)
    assert read_crystal(tmp_path / "a.extxyz").composition == {"K": 1.0, "Na": 2.0, "Cl": 4.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi Cl\n1\nDirect\n0 0 0\n", "do not fit"),
        ("x\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi\n2\nDirect\n0 0 0\n", "ends before a position"),
        ("x\n1.0\n4 0 0\n0 4 0\n0 0 nan\nLi\n1\nDirect\n0 0 0\n", "not a vector"),
        ("x\n1.0\n4 0 0\n0 4 0\n0 0 0\nLi\n1\nDirect\n0 0 0\n", "volume"),
        ("x\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi\n999999\nDirect\n0 0 0\n", "sites"),
    ],
)
def test_bad_poscars(tmp_path, text, says):
    (tmp_path / "POSCAR").write_text(text)
    with pytest.raises(StructureError, match=says):
        read_crystal(tmp_path / "POSCAR")


def test_poscar_variants(tmp_path):
    body = "{comment}\n{scale}\n4 0 0\n0 4 0\n0 0 4\n{names}1 1\n{mode}\n0 0 0 T T F\n{half} {half} {half} T T T\n"
    for scale, edge in (("1.0", 4.0), ("-27", 3.0), ("0.5 0.5 0.5", 2.0)):
        for names, comment in (("Cs Cl\n", "x"), ("Cs_sv Cl/a1b2\n", "x"), ("", "Cs Cl")):
            for mode, half in (("Direct", 0.5), ("Selective dynamics\nCartesian", 2.0)):
                if edge == 2.0 and names:
                    continue
                (tmp_path / "a.vasp").write_text(
                    body.format(comment=comment, scale=scale, names=names, mode=mode, half=half)
                )
                if edge == 2.0:
                    assert parse_crystal(tmp_path / "a.vasp").volume_A3 == pytest.approx(8.0)
                    continue
                crystal = parse_crystal(tmp_path / "a.vasp")
                assert crystal.spacegroup_number == 221
                assert crystal.volume_A3 == pytest.approx(edge**3)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path):
    file = cif(tmp_path, "Cu1 0 0 0 1")
    file.chmod(0)
    with pytest.raises(StructureError, match="cannot be read"):
        read_crystal(file)


def test_hostile_paths_and_sizes(tmp_path):
    with pytest.raises(StructureError):
        read_crystal("a\0b.cif")
    with (tmp_path / "big.cif").open("wb") as file:
        file.truncate(30_000_000)
    with pytest.raises(StructureError, match="30 MB"):
        read_crystal(tmp_path / "big.cif")


def test_written_structures_keep_what_is_known_of_them(tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.info = {"degeneracy": 12, "ewald_eV": -35.123456789012345, "source": "a b.cif", "counts": {"Na": 4}}
    other = atoms.copy()
    (single,) = write_structures(tmp_path / "one.extxyz", [atoms, other])
    frames = ase.io.read(single, index=":")
    assert len(frames) == 2
    assert frames[0].info["ewald_eV"] == atoms.info["ewald_eV"]
    assert frames[0].info["degeneracy"] == 12
    assert frames[1].info["superionic"] == __version__
    cifs = write_structures(tmp_path / "a.cif", [atoms, other])
    assert [p.name for p in cifs] == ["a_0001.cif", "a_0002.cif"]
    assert "# degeneracy: 12" in cifs[0].read_text()
    assert "# source: a b.cif" in cifs[0].read_text()
    poscars = write_structures(tmp_path / "folder", [atoms, other], format="poscar")
    assert [p.name for p in poscars] == ["ordering_0001.vasp", "ordering_0002.vasp"]
    assert "degeneracy=12" in poscars[0].read_text().splitlines()[0]
    for path in (single, *cifs, *poscars):
        crystal = parse_crystal(path)
        assert (crystal.formula, crystal.spacegroup_number) == ("NaCl", 225)
    assert write_structures(tmp_path / "POSCAR", [atoms]) == [tmp_path / "POSCAR"]
    assert not list(tmp_path.rglob("*.part"))
    with pytest.raises(StructureError, match="cannot be written as"):
        write_structures(tmp_path / "a.docx", [atoms])
    with pytest.raises(StructureError, match="no structures"):
        write_structures(tmp_path / "a.cif", [])


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "out.extxyz").mkdir()
    (tmp_path / "out.extxyz" / "x").touch()
    with pytest.raises(StructureError, match="cannot be written"):
        write_extxyz(tmp_path / "out.extxyz", [bulk("Cu")])
    assert [p.name for p in tmp_path.iterdir()] == ["out.extxyz"]
