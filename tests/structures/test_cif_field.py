"""CIFs as the field has them: which elements and which symmetry are meant, and what is said where that is open."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from superionic.campaign.file.load import parse_campaign
from superionic.campaign.initialise import CrystalOptions, draft_campaign
from superionic.campaign.run import Campaign
from superionic.cli import app
from superionic.enumeration.chosen import search
from superionic.enumeration.counted import counted_spaces
from superionic.enumeration.request import enumerate_orderings
from superionic.errors import CompositionError, StructureError
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.io.cif.text import block_text
from superionic.structures.io.files import parse_crystal, read_crystal, read_oxidation_states
from superionic.structures.io.symbols import (
    Witnesses,
    element_of_label,
    occupants_of_symbol,
    parse_sum_formula,
    writes_capitals,
)
from superionic.structures.orderings.counting import count_by_index
from superionic.structures.orderings.sampling import sample_raw

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "orderings"
COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
ROCK_SALT = "_space_group_name_H-M_alt 'F m -3 m'"


def block(rows, symmetry=ROCK_SALT, *, columns=COLUMNS, a=5.2, c=None, alpha=90, gamma=90, name="x"):
    b, c = (a, a if c is None else c) if isinstance(a, float | int) else (a[1], a[2])
    first = a if isinstance(a, float | int) else a[0]
    head = f"data_{name}\n_cell_length_a {first}\n_cell_length_b {b}\n_cell_length_c {c}\n_cell_angle_alpha {alpha}\n"
    head += f"_cell_angle_beta {alpha}\n_cell_angle_gamma {gamma}\n{symmetry}\n"
    return head + "loop_\n" + "".join(f"_atom_site_{name}\n" for name in columns) + "\n".join(rows) + "\n"


def write(folder, *args, **options):
    file = folder / "x.cif"
    file.write_text(block(*args, **options), encoding="utf-8")
    return file


# ---- who the atoms are ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "element", "charge"),
    [
        ("Li", "Li", None), ("LI", "Li", None), ("Li+", "Li", 1.0), ("Li1+", "Li", 1.0), ("O2-", "O", -2.0),
        ("O-2", "O", -2.0), ("Fe2.5+", "Fe", 2.5), ("CL1-", "Cl", -1.0), ("Na1", "Na", None), ("D", "H", None),
        ("Cval", "C", None), ("CO3+", "Co", 3.0), ("Li0+", "Li", 0.0),
    ],
)  # fmt: skip
def test_a_symbol_is_an_element_and_its_charge(symbol, element, charge):
    (occupant,) = occupants_of_symbol(symbol, Witnesses(), "here")
    assert (occupant.element, occupant.charge_e, occupant.amount) == (element, charge, None)


@pytest.mark.parametrize(
    ("symbol", "fix"),
    [
        ("Cl/Br", "Cl, Br"), ("NH3", "N, H"), ("NH4+", "N, H"), ("OH", "O, H"), ("H2O", "H, O"), ("FeNi", "Fe, Ni"),
        ("CN", "C, N"), ("CO", "C, O"), ("CO3", "C, O"), ("PO4", "P, O"), ("BH4", "B, H"), ("Va", "vacant"),
        ("T", "Si or Al"), ("Wat", "one element"), ("X", "vacant"), ("Li?", "one element"), ("(Fe,Ni)", "Fe, Ni"),
        ("0.5Li + 0.5Li", "one element"), ("Li" * 100, "one element"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_to_write(tmp_path, symbol, fix):
    with pytest.raises(StructureError, match="not a chemical element") as caught:
        read_crystal(write(tmp_path, [f"A1 '{symbol}' 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"]))
    assert "line 16, site A1" in str(caught.value.where)
    assert fix in caught.value.fix


def test_the_fix_of_a_shared_symbol_works(tmp_path):
    rows = ["Li1 Li 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 0.5", "Br1 Br 0.5 0.5 0.5 0.5"]
    assert read_crystal(write(tmp_path, rows)).cell_formula == "Li4 Br2 Cl2"
    mixed = read_crystal(write(tmp_path, ["Li1 Li 0 0 0 1", "X1 '0.5Cl + 0.5Br' 0.5 0.5 0.5 1"]))
    assert mixed.composition == {"Li": 4.0, "Br": 2.0, "Cl": 2.0}


@pytest.mark.parametrize(
    ("symbol", "occupancy", "expected"),
    [
        ("0.8Nb + 0.2Zr", "1", {"Nb": 0.8, "Zr": 0.2}),
        ("0.615(5)Nb+0.385(5)Zr", "1", {"Nb": 0.615, "Zr": 0.385}),
        ("Nb0.8Zr0.2", "0.5", {"Nb": 0.4, "Zr": 0.1}),
        ("0.5Nb5+ + 0.2Zr4+", "1.0", {"Nb": 0.5, "Zr": 0.2}),
        ("0.5Nb, 0.2Zr", "0.7", {"Nb": 0.5, "Zr": 0.2}),
    ],
)
def test_amounts_in_a_symbol(tmp_path, symbol, occupancy, expected):
    crystal = read_crystal(write(tmp_path, [f"M1 '{symbol}' 0 0 0 {occupancy}", "O1 O 0.5 0.5 0.5 1"]))
    (metal,) = [s for s in crystal.sublattices if "Nb" in s.species]
    assert dict(metal.species) == pytest.approx(expected)
    if "+ +" in symbol:  # each occupant keeps its own charge
        assert read_oxidation_states(tmp_path / "x.cif").states == {"Nb": 5.0, "Zr": 4.0}


def test_amounts_that_contradict_the_occupancy(tmp_path):
    with pytest.raises(StructureError, match=r"sum to 0\.7 and the occupancy is 0\.5") as caught:
        read_crystal(write(tmp_path, ["M1 '0.5Nb + 0.2Zr' 0 0 0 0.5"]))
    assert "one row for each element" in caught.value.fix


def test_capitals_are_elements_where_the_file_writes_so(tmp_path):
    assert writes_capitals(["LI", "CO", "O"])
    assert not writes_capitals(["Li", "CO", "O"])
    rows = ["LI1 LI 0 0 0 1", "CO1 CO 0.5 0.5 0.5 1", "O1 O 0.25 0.25 0.25 1"]
    assert read_crystal(write(tmp_path, rows)).composition == {"Li": 4.0, "Co": 4.0, "O": 8.0}
    with pytest.raises(StructureError, match="'CO' is not"):
        read_crystal(write(tmp_path, [row.replace(" LI", " Li") for row in rows]))
    named = f"{ROCK_SALT}\n_chemical_formula_sum 'Li Co O2'"
    assert read_crystal(write(tmp_path, [row.replace(" LI", " Li") for row in rows], named)).formula == "LiCoO2"


@pytest.mark.parametrize(
    ("label", "element"),
    [
        ("Li1", "Li"), ("CL2", "Cl"), ("Na(1)", "Na"), ("O1A", "O"), ("Fe3+17b", "Fe"), ("LiA", "Li"), ("O_a1", "O"),
        ("D1", "H"), ("Oa2", "O"), ("Se", "Se"),
    ],
)  # fmt: skip
def test_labels_that_name_an_element(label, element):
    assert element_of_label(label, Witnesses(), "here") == element


@pytest.mark.parametrize(
    "label",
    ["Wat", "T1", "OH", "OH1", "O-H(1)", "OW1", "HO1", "NH3", "Li/Na1", "Li0.5Na0.5", "M1", "1", "Fe-Mn1", "CN2"],
)
def test_labels_that_do_not(tmp_path, label):
    columns = tuple(c for c in COLUMNS if c != "type_symbol")
    with pytest.raises(StructureError, match="does not identify its element") as caught:
        read_crystal(write(tmp_path, ["Li1 0 0 0 1", f"{label} 0.5 0.5 0.5 1"], columns=columns))
    assert "_atom_site_type_symbol" in caught.value.fix
    # the fix, followed
    assert read_crystal(write(tmp_path, ["Li1 Li 0 0 0 1", f"{label} Cl 0.5 0.5 0.5 1"])).formula == "LiCl"


def test_the_sum_formula_decides_about_labels(tmp_path):
    water = Witnesses(frozenset({"Li", "Cl", "O", "H"}))
    assert element_of_label("OW1", water, "here") == "O"
    assert element_of_label("CA1", Witnesses(frozenset({"C", "H"})), "here") == "C"
    assert element_of_label("HO1", Witnesses(frozenset({"Ho", "O"})), "here") == "Ho"
    assert element_of_label("Se1", water, "here") == "Se"  # nothing else is meant; the formula is compared afterwards
    for label in ("OH1", "W1", "Wat"):
        with pytest.raises(StructureError):
            element_of_label(label, water, "here")


def test_a_sum_formula():
    assert parse_sum_formula("Li6 P S5 Cl1").amounts == {"Li": 6.0, "P": 1.0, "S": 5.0, "Cl": 1.0}
    assert parse_sum_formula("Li0.5La0.50TiO3").rounding == {"Li": 0.05, "La": 0.005, "Ti": 0.0, "O": 0.0}
    assert parse_sum_formula("D2 O").amounts == {"H": 2.0, "O": 1.0}
    for text in ("(Li, Na) Cl", "Li x Cl", "NH3 ?", "", "Li. Cl"):
        assert parse_sum_formula(text) is None


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("'Li Cl'\n_cell_formula_units_Z 4", None),
        ("'Li4 Cl4'\n_cell_formula_units_Z 4", None),  # as pymatgen writes it
        ("'Li0.98 Cl1.0'", None),
        ("'Li2 Cl'", " instead of "),
        ("'Li Cl'\n_cell_formula_units_Z 8", "not the 8"),
        ("'Li Cl H2 O'", ("no site holds O",)),
        ("'Li Cl H2'", "hydrogen was not located"),
        ("'Li Cl,Br'", None),
        ("'(Li,Na) Cl'", "cannot be read"),
        ("'Li Br'", ("no site holds Br",)),
    ],
)
def test_the_atoms_are_checked_against_the_sum_formula(tmp_path, formula, says):
    rows = ["Li1 Li 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"]
    if formula == "'Li Cl,Br'":
        rows[1:] = ["Cl1 Cl 0.5 0.5 0.5 0.5", "Br1 Br 0.5 0.5 0.5 0.5"]
        formula = "'Li Cl0.5 Br0.5'"
    file = write(tmp_path, rows, f"{ROCK_SALT}\n_chemical_formula_sum {formula}")
    if isinstance(says, tuple):
        with pytest.raises(StructureError, match=says[0]) as caught:
            read_crystal(file)
        assert "_chemical_formula_sum" in caught.value.fix
        return
    notes = read_crystal(file).notes
    assert (notes == ()) if says is None else (says in " ".join(notes))


def test_what_is_read_otherwise_is_said(tmp_path):
    rows = ["Li1 Li 0 0 0 1 .", "D1 D 0.5 0.5 0.5 1 2"]
    crystal = read_crystal(write(tmp_path, rows, columns=(*COLUMNS, "attached_hydrogens")))
    assert crystal.formula == "LiH"
    assert any("deuterium counts as hydrogen (D)" in note for note in crystal.notes)
    assert any("attached" in note for note in crystal.notes)


# ---- columns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["occupation", "ocupancy", "occ", "occupancies", "sof", "site_occupancy"])
def test_a_misspelt_occupancy_is_refused_with_the_right_name(tmp_path, column):
    rows = ["Li1 Li 0 0 0 0.9", "Cl1 Cl 0.5 0.5 0.5 0.9"]
    file = write(tmp_path, rows, columns=(*COLUMNS[:-1], column))
    with pytest.raises(StructureError, match=f"_atom_site_{column} is unknown") as caught:
        read_crystal(file)
    assert "_atom_site_occupancy" in caught.value.fix
    file.write_text(file.read_text().replace(f"_atom_site_{column}\n", "_atom_site_occupancy\n"))
    assert read_crystal(file).composition == pytest.approx({"Li": 3.6, "Cl": 3.6})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("_atom_sites_occupancy", "_atom_site_occupancy"),
        ("_atom_site_typ_symbol", "_atom_site_type_symbol"),
        ("_atom_site_disorder_asembly", "_atom_site_disorder_assembly"),
    ],
)
def test_other_slips(tmp_path, wrong, right):
    text = block(["Li1 Li 0 0 0 0.5 .", "Cl1 Cl 0.5 0.5 0.5 1 ."], columns=(*COLUMNS, "disorder_assembly"))
    file = tmp_path / "x.cif"
    file.write_text(text.replace(right, wrong))
    with pytest.raises(StructureError, match=f"{wrong} is unknown") as caught:
        read_crystal(file)
    assert right in caught.value.fix


def test_unknown_columns_are_named_and_known_ones_are_not(tmp_path):
    columns = (*COLUMNS, "charge", "U_iso_or_equiv", "symmetry_multiplicity", "Wyckoff_symbol", "adp_type")
    rows = ["Li1 Li 0 0 0 1 0.7 0.01 4 a Uiso", "Cl1 Cl 0.5 0.5 0.5 1 -0.7 0.01 4 b Uiso"]
    crystal = read_crystal(write(tmp_path, rows, columns=columns))
    assert crystal.notes == ("not read, since unknown: _atom_site_charge",)


# ---- symmetry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "symmetry",
    [
        "_space_group_name_H-M_full 'F 4/m -3 2/m'",
        "_symmetry_space_group_name_H-M 'F m 3 m'",
        "_symmetry_space_group_name_H-M Fm3m",
        "_space_group_name_H-M_alt 'F m \N{MINUS SIGN}3 m'",
        "_space_group_name_H-M_alt 'F m 3\N{COMBINING MACRON} m'",
        "_space_group_name_H-M_alt 'Fm-3m (225)'\n_space_group_IT_number 225\n_space_group_name_Hall '-F 4 2 3'",
        "_space_group_IT_number '225'",
        "_space_group_name_Hall 'nonsense'\n_space_group_name_H-M_alt 'F m -3 m'",
    ],
)
def test_names_of_one_group(tmp_path, symmetry):
    rows = ["Li1 Li 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 0.5", "Br1 Br 0.5 0.5 0.5 0.5"]
    crystal = read_crystal(write(tmp_path, rows, symmetry))
    assert (crystal.spacegroup_number, len(crystal.sites)) == (225, 8)


@pytest.mark.parametrize(
    ("name", "options", "n_sites"),
    [
        # general positions, so that all operations count; the cells of each system
        ("C m c a", {"a": (5, 13, 5.5)}, 16), ("A b a 2", {"a": (5, 6, 7)}, 8), ("B b a 2", {"a": (5, 6, 7)}, 8),
        ("A b m 2", {"a": (5, 6, 7)}, 8), ("C c c b:2", {"a": (5, 6, 7)}, 16), ("P2(1)/c", {"a": (5, 6, 7)}, 4),
        ("P2_1/c", {"a": (5, 6, 7)}, 4), ("P 21/c", {"a": (5, 6, 7)}, 4), ("P a 3", {}, 24), ("I a 3 d", {}, 96),
        ("R -3 c RS", {"alpha": 46.1, "gamma": 46.1}, 12), ("R -3 c", {"alpha": 46.1, "gamma": 46.1}, 12),
        ("R 3 2", {"alpha": 89.459, "gamma": 89.459}, 6), ("R-3cH", {"c": 17.0, "gamma": 120}, 36),
        ("R -3 c HR", {"c": 17.0, "gamma": 120}, 36), ("R -3 2/c", {"c": 17.0, "gamma": 120}, 36),
        ("R -3 c (hexagonal axes)", {"c": 17.0, "gamma": 120}, 36), ("F d -3 m O2", {}, 192),
        ("F d -3 m (origin choice 1)", {}, 192), ("P 32", {"c": 8.0, "gamma": 120}, 3),
    ],
)  # fmt: skip
def test_names_without_operations(tmp_path, name, options, n_sites):
    options = {"a": 9.0, **options}
    crystal = parse_crystal(
        write(tmp_path, ["Li1 Li 0.1234 0.0567 0.2891 0.1"], f"_symmetry_space_group_name_H-M '{name}'", **options)
    )
    assert len(crystal.sites) == n_sites


def test_older_names_have_the_operations_of_the_newer(tmp_path):
    from superionic.structures.io.operations import operations_by_name

    for older, newer in (
        ("C m c a", "C m c e"),
        ("A b a 2", "A e a 2"),
        ("A c a m", "A e a m"),
        ("C m c b", "C m c e"),
    ):
        first, second = (operations_by_name(None, n, None, np.diag([5.0, 6.0, 7.0]), "x") for n in (older, newer))
        assert np.array_equal(first[0], second[0])
        assert np.array_equal(first[1], second[1])


def test_an_open_setting_is_said_and_what_is_open_otherwise_is_refused(tmp_path):
    rows = ["Li1 Li 0.1 0.2 0.3 0.1"]
    crystal = parse_crystal(write(tmp_path, rows, "_space_group_IT_number 15", a=(5, 6, 7)))
    assert len(crystal.sites) == 8
    assert any("leaves the setting open" in n and "C 1 2/c 1 was taken" in n for n in crystal.notes)
    for symmetry, says in (
        ("_space_group_name_H-M_alt 'P 3 m'", "may mean the space groups 156 and 157"),
        ("_space_group_name_H-M_alt 'F d -3 m'", "two origins"),
        ("_space_group_name_H-M_alt 'P 1'\n_space_group_IT_number 225", "gives the number 225"),
        ("_cell_measurement_temperature 300", "states no usable symmetry"),
        ("_space_group_name_H-M_alt ?", "states no usable symmetry"),
        ("_symetry_space_group_name_H-M 'F m -3 m'", "_symetry_space_group_name_h-m is unknown"),
    ):
        hexagonal = {"c": 9.0, "gamma": 120} if "P 3 m" in symmetry else {}
        with pytest.raises(StructureError, match=says) as caught:
            parse_crystal(write(tmp_path, rows, symmetry, **hexagonal))
        assert caught.value.fix
    # the fixes, followed
    named = "_space_group_name_H-M_alt 'P 3 m'\n_space_group_IT_number 157"
    assert len(parse_crystal(write(tmp_path, rows, named, c=9.0, gamma=120)).sites) == 6
    coded = "_space_group_name_H-M_alt 'F d -3 m'\n_space_group.IT_coordinate_system_code 2"
    assert len(parse_crystal(write(tmp_path, ["Li1 Li 0 0 0 1"], coded)).sites) == 16
    assert len(parse_crystal(write(tmp_path, rows, "_space_group_name_H-M_alt 'P 1'")).sites) == 1


# ---- data blocks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def two_phases(tmp_path):
    first = block(["Li1 Li 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1"], a=5.14, name="phase1")
    second = block(["Li1 Li+ 0 0 0 1", "Cl1 Cl1- 0.5 0.5 0.5 0.5", "Br1 Br1- 0.5 0.5 0.5 0.5"], a=5.5, name="phase2")
    file = tmp_path / "two.cif"
    file.write_text(f"data_global\n_audit_creation_method 'data_ x'\n{first}{second}")
    return file


def test_data_blocks_are_said_and_chosen(two_phases):
    crystal = read_crystal(two_phases)
    assert crystal.cell_formula == "Li4 Cl4"
    assert any("2 data blocks with atoms (phase1, phase2)" in note for note in crystal.notes)
    second = read_crystal(two_phases, block="Phase2")
    assert (second.cell_formula, second.notes) == ("Li4 Br2 Cl2", ())
    assert read_oxidation_states(two_phases).states is None
    assert read_oxidation_states(two_phases, block="phase2").states == {"Li": 1.0, "Cl": -1.0, "Br": -1.0}
    with pytest.raises(StructureError, match="no data block 'nix'") as caught:
        read_crystal(two_phases, block="nix")
    assert "phase1, phase2" in caught.value.fix
    only = block_text(two_phases.read_text(), "phase2")
    assert only.startswith("data_phase2")
    assert "5.14" not in only


def test_only_cifs_have_blocks(tmp_path):
    (tmp_path / "POSCAR").write_text("x\n1.0\n4 0 0\n0 4 0\n0 0 4\nLi Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n")
    with pytest.raises(StructureError, match="Only CIFs have data blocks"):
        read_crystal(tmp_path / "POSCAR", block="x")


def test_blocks_in_text_json_and_campaigns(two_phases, monkeypatch):
    runner = CliRunner()
    said = runner.invoke(app, ["enumerate", str(two_phases), "--count"])
    assert "2 data blocks" in said.output
    values = json.loads(runner.invoke(app, ["enumerate", str(two_phases), "--count", "--json"]).output)
    assert "2 data blocks" in values["notes"][0]
    chosen = ["enumerate", str(two_phases), "--count", "--json", "--block", "phase2"]
    values = json.loads(runner.invoke(app, chosen).output)
    assert (values["formula"], values["notes"]) == ("Li2BrCl", [])
    series = ["--hnf", "--max-index", "1", "--block", "phase2"]
    values = json.loads(runner.invoke(app, ["enumerate", str(two_phases), "--count", "--json", *series]).output)
    assert values["notes"] == []
    text = draft_campaign(two_phases, CrystalOptions(block="phase2"), folder=two_phases.parent)
    assert 'block: "phase2"' in text
    campaign = Campaign(parse_campaign(text, two_phases.parent / "campaign.yaml"), two_phases.parent / "campaign.yaml")
    assert campaign.crystals["two"].cell_formula == "Li4 Br2 Cl2"
    from superionic.campaign.spaces import build_spaces

    (space,) = build_spaces(campaign.file, campaign.crystals)
    assert space.settings.text == block_text(two_phases.read_text(), "phase2")
    noted = draft_campaign(two_phases, folder=two_phases.parent)
    assert "# Note: the file has 2 data blocks" in noted
    parse_campaign(noted, two_phases.parent / "campaign.yaml")


# ---- oxidation states and empty sites -------------------------------------------------------------------------------


def test_one_element_in_two_states_keeps_the_charges_of_the_others(tmp_path):
    spinel = "_symmetry_space_group_name_H-M 'F d -3 m :2'"
    rows = [
        "Co1 Co2+ 0.125 0.125 0.125 0.5", "Fe1 Fe3+ 0.125 0.125 0.125 0.5", "Co2 Co2+ 0.5 0.5 0.5 0.25",
        "Co3 Co3+ 0.5 0.5 0.5 0.5", "Fe2 Fe3+ 0.5 0.5 0.5 0.25", "O1 O2- 0.26 0.26 0.26 1",
    ]  # fmt: skip
    file = write(tmp_path, rows, spinel, a=8.24)
    found = read_oxidation_states(file)
    assert found.states == {"Co": 2.5, "Fe": 3.0, "O": -2.0}
    assert "+2 and +3: +2.5 on average" in found.reason
    assert any("+2.5 on average" in note for note in read_crystal(file).notes)
    result = enumerate_orderings(file, supercell="primitive")
    assert result.oxidation_states["values"] == {"Co": 2.5, "Fe": 3.0, "O": -2.0}
    assert result.oxidation_states["source"] == "file"
    text = draft_campaign(file, CrystalOptions("Co"), folder=tmp_path)
    loaded = parse_campaign(text, tmp_path / "campaign.yaml")
    assert loaded.oxidation_states == {"Co": 2.5, "Fe": 3.0, "O": -2.0}
    assert "all from the file; an average for Co" in text


def test_sites_of_occupancy_0_are_filled_by_an_axis(tmp_path):
    rows = ["Li1 Li 0 0 0 1", "Na1 Na 0 0 0 0.000", "P1 P 0.5 0.5 0.5 1", "F1 F 0.25 0 0 1", "Li2 Li 0.5 0 0 0"]
    file = write(tmp_path, rows, "_space_group_name_H-M_alt 'P m -3 m'", a=7.0)
    crystal = read_crystal(file)
    assert crystal.composition == {"Li": 1.0, "P": 1.0, "F": 6.0}
    assert crystal.is_ordered
    kept = read_crystal(file, keep_empty=["Li"])
    assert kept.sublattice("Li2").multiplicity == 3
    assert kept.composition == pytest.approx(crystal.composition, abs=1e-6)
    said = "listed with occupancy 0: Na1, Li2; nothing is there unless a composition axis fills it"
    assert said in crystal.notes
    charges = {"Li": 1.0, "P": 5.0, "Si": 4.0, "F": -1.0}  # neutral by hand at x = 0; x = 1 takes one more lithium
    assert enumerate_orderings(file, oxidation_states=charges).points[0].counted.distinct == 1
    result = enumerate_orderings(file, oxidation_states=charges, axes=["P:Si:x=0..1:1,Li=follows"])
    assert [p.counted.composition.totals["Li"] for p in result.points] == [1, 2]
    assert result.points[1].counted.count.raw == 3
    assert result.points[1].counted.distinct == 1


def test_sites_of_one_element_are_no_crystal_for_a_campaign(tmp_path):
    file = write(tmp_path, ["Li1 Li 0 0 0 1", "Li2 Li 0.25 0.25 0.25 0.3"])
    with pytest.raises(StructureError, match="sites of Li and nothing else") as caught:
        draft_campaign(file, folder=tmp_path)
    assert "--sites" in caught.value.fix


# ---- disorder groups ------------------------------------------------------------------------------------------------

GROUPED = (*COLUMNS, "disorder_assembly", "disorder_group")


PHOSPHATE = [(0.137 if k >> i & 1 else 0.863) for k in range(8) for i in range(3)]


def phosphate(occupancies=(0.5, 0.5), columns="A {group}"):
    """PO4 in two orientations: the eight corners of a cube, taken in turn by two tetrahedra."""
    rows = ["P1 P 0 0 0 1 . .", "Li1 Li 0.5 0 0 1 . .", "Li2 Li 0 0.5 0 1 . .", "Li3 Li 0 0 0.5 1 . ."]
    for k in range(8):
        x, y, z = PHOSPHATE[3 * k : 3 * k + 3]
        group = 1 if k.bit_count() % 2 else 2
        rows.append(f"O{k} O {x} {y} {z} {occupancies[group - 1]} {columns.format(group=group)}")
    return rows


def numbers(crystal, supercell, min_distance_A=1.5):
    (space,) = counted_spaces(crystal, supercell, {"Li": 1, "P": 5, "O": -2}, min_distance_A=min_distance_A)
    return space.allowed.raw, space.allowed.distinct


P1 = "_space_group_name_H-M_alt 'P 1'"


def test_atoms_of_a_disorder_group_go_together(tmp_path):
    crystal = read_crystal(write(tmp_path, phosphate(), P1, columns=GROUPED, a=6.5))
    assert (crystal.spacegroup_number, crystal.formula) == (221, "Li3PO4")
    assert "one is there, with all its atoms" in crystal.notes[0]
    # Each PO4 turns by itself: 2^n, and of two in a row both alike or not; neither depends on a smallest distance.
    for distance in (1.5, None):
        assert numbers(crystal, "1x1x1", distance) == (2, 1)
        assert numbers(crystal, "1x1x2", distance) == (4, 2)
        # In a ring of three the reflections of the crystal leave none or one that differs.
        assert numbers(crystal, "1x1x3", distance) == (8, 2)
    again = DisorderedCrystal.from_dict(crystal.to_dict())
    assert numbers(again, "1x1x2") == (4, 2)
    assert numbers(crystal.primitive(), "1x1x2") == (4, 2)
    with pytest.raises(StructureError, match="fill each site independently"):
        count_by_index(crystal, 2)
    # 2-colourings of the corners of a cube, alike by its symmetry and by exchange of the colours: the 14 NPN classes of
    # Boolean functions of three variables. A walk through all sites is long, and swaps of two sites connect nothing.
    (eight,) = counted_spaces(crystal, "2x2x2", {"Li": 1, "P": 5, "O": -2})
    assert (eight.allowed.raw, eight.allowed.distinct, eight.plan.method) == (256, 14, "sample")
    with pytest.raises(CompositionError, match="lead from none"):
        search(eight.space, {"Li": 1, "P": 5, "O": -2}, 3)


def test_every_ordering_of_disorder_groups_has_whole_groups(tmp_path):
    crystal = read_crystal(write(tmp_path, phosphate(), P1, columns=GROUPED, a=6.5))
    (space,) = counted_spaces(crystal, "1x2x2", {"Li": 1, "P": 5, "O": -2}, min_distance_A=None)
    sites = space.space.sites
    drawn = sample_raw(space.space, 20, np.random.default_rng(1))
    for species in np.array(space.space.symbols)[space.space.site_codes(drawn.decorations)]:
        for centre in np.flatnonzero(species == "P"):
            steps = sites.fractional - sites.fractional[centre]
            steps -= np.round(steps)
            near = np.linalg.norm(steps @ sites.cell_A, axis=1) < 1.6
            oxygen = steps[near & (species == "O")]
            assert len(oxygen) == 4
            assert len({bool(np.prod(np.sign(x)) > 0) for x in oxygen}) == 1


def test_groups_are_found_on_special_positions_turned_and_unequal(tmp_path):
    # The two tetrahedra as two orbits of P-43m, one row each: their rows alone do not tell that four atoms go together.
    rows = ["P1 P 0 0 0 1 . .", "Li1 Li 0.5 0 0 1 . .", "O1 O 0.137 0.137 0.137 0.5 A 1"]
    rows.append("O2 O 0.863 0.863 0.863 0.5 A 2")
    crystal = read_crystal(write(tmp_path, rows, "_space_group_name_H-M_alt 'P -4 3 m'", columns=GROUPED, a=6.5))
    assert numbers(crystal, "1x1x2", None) == (4, 2)
    # Three of four one way: four cells hold it, one holds none.
    crystal = read_crystal(write(tmp_path, phosphate((0.75, 0.25)), P1, columns=GROUPED, a=6.5))
    assert numbers(crystal, "1x1x4", None)[0] == 4
    assert numbers(crystal, "1x1x1", None) == (1, 1)  # whole groups, so that the nearest counts hold one orientation
    # Turned by 20° about z, so that atoms of the two groups are 0.6 Å apart and symmetry is low.
    turn = Rotation.from_euler("z", 20, degrees=True).as_matrix()
    rows = phosphate()[:4]
    for group, angle in ((1, np.eye(3)), (2, turn)):
        for k in (1, 2, 4, 7):
            x = angle @ (np.array(PHOSPHATE[3 * k : 3 * k + 3]) - np.round(PHOSPHATE[3 * k : 3 * k + 3]))
            rows.append(f"O{group}{k} O {x[0]:.5f} {x[1]:.5f} {x[2]:.5f} 0.5 A {group}")
    crystal = read_crystal(write(tmp_path, rows, P1, columns=GROUPED, a=6.5))
    # No symmetry makes the groups equal, so that each keeps its occupancy: one of two units has it.
    assert numbers(crystal, "1x1x2", None)[0] == 2


def test_groups_that_leave_units_empty_are_refused_and_both_fixes_work(tmp_path):
    rows = phosphate((0.4, 0.4))
    with pytest.raises(StructureError, match="disorder group 2 of the assembly A go together") as caught:
        read_crystal(write(tmp_path, rows, P1, columns=GROUPED, a=6.5))
    assert "site O0" in str(caught.value.where)
    one = [*rows[:4], *(row.replace(" 0.4 A 1", " 1 A 1") for row in rows if row.endswith("A 1"))]
    crystal = read_crystal(write(tmp_path, one, P1, columns=GROUPED, a=6.5))
    assert (crystal.formula, crystal.is_ordered, crystal.notes) == ("Li3PO4", True, ())
    free = [row.rsplit(" ", 2)[0] for row in rows]
    assert read_crystal(write(tmp_path, free, P1, a=6.5)).composition["O"] == pytest.approx(3.2)


def test_a_molecule_little_moved_is_held_together_by_its_bonds(tmp_path):
    # Thiocyanate, S-C 1.63 Å and C-N 1.17 Å, and the same 0.5 Å aside: each atom is near its own alternative alone.
    rows = ["Li1 Li 0.8 0.8 0.8 1 . ."]
    for group, (x, occupancy) in {1: (0.2, 0.5), 2: (0.2 + 0.5 / 6.5, 0.5)}.items():
        for element, y_A in (("S", 1.0), ("C", 2.63), ("N", 3.80)):
            rows.append(f"{element}{group} {element} {x:.5f} {y_A / 6.5:.5f} 0.3 {occupancy} A {group}")
    crystal = read_crystal(write(tmp_path, rows, P1, columns=GROUPED, a=6.5))
    assert crystal.composition == {"C": 1, "Li": 1, "N": 1, "S": 1}
    (space,) = counted_spaces(crystal, "1x1x2", {"Li": 1, "S": -2, "C": 4, "N": -3}, min_distance_A=None)
    assert space.allowed.raw == 2  # one unit of two holds the one group; were atoms free, 2^3


def test_groups_that_the_symmetry_mixes_are_refused(tmp_path):
    # Two opposite faces of the cube instead of two tetrahedra: which of their atoms are near each other tells nothing.
    rows = phosphate()[:4]
    rows += [f"O{k} O {' '.join(map(str, PHOSPHATE[3 * k : 3 * k + 3]))} 0.5 A {1 + (k & 1)}" for k in range(8)]
    with pytest.raises(StructureError, match="go together"):
        read_crystal(write(tmp_path, rows, P1, columns=GROUPED, a=6.5))
    # Two sides of a square, which a fourfold axis carries into the two others.
    rows = ["Li1 Li 0 0 0 1 . .", "O1 O 0.1 0.1 0.5 0.5 A 1", "O2 O -0.1 0.1 0.5 0.5 A 2"]
    crystal = read_crystal(write(tmp_path, rows, "_space_group_name_H-M_alt 'P m'", columns=GROUPED, a=6.5))
    with pytest.raises(StructureError, match="into several groups"):
        numbers(crystal, "1x1x1")


def test_groups_of_one_site_and_shared_positions_are_read(tmp_path):
    rows = ["Na1 Na 0 0 0 0.5 . 1", "K1 K 0 0 0 0.5 . 2", "Cl1 Cl .5 .5 .5 0.3 . 1", "Br1 Br .5 .5 .5 0.7 . 2"]
    crystal = read_crystal(write(tmp_path, rows, columns=GROUPED))
    assert (crystal.composition, crystal.notes) == ({"K": 2, "Na": 2, "Br": pytest.approx(2.8), "Cl": 1.2}, ())
    split = ["Li1 Li 0.02 0 0 0.1 A 1", "Li2 Li 0.1 0.1 0 0.05 A 2", "Cl1 Cl 0.5 0.5 0.5 1 . ."]
    (note,) = read_crystal(write(tmp_path, split, columns=GROUPED)).notes
    assert "Li1, Li2" in note


# ---- the files that went wrong --------------------------------------------------------------------------------------

READ = {
    "c01_same_label": ("Ge1.6 Sb1.6 Te4", 225), "c02_amounts_in_symbol": ("Al15.992 Cu8.008 O32", 227),
    "c07_r32_rhombohedral": ("Ni3 S2", 155), "c08_rs": ("Ca2 C2 O6", 167), "c08b_no_suffix": ("Ca2 C2 O6", 167),
    "c10h_full_tag": ("Na18 Zr12 Si12 P6 O72", 167), "c10g": ("Na18 Zr12 Si12 P6 O72", 167),
    "c18_ia3d": ("Al8 Ga8 O96", 230), "c30_cmca": ("La8 Cu4 O16", None), "c31_fm3m": ("Na2 Li2 Cl4", 225),
    "c13_disorder_groups": ("Li3 P O4", 221),
    "c33_hm_full": ("Li4 Br2 Cl2", 225), "c45_nasicon_x0": ("Na6 Zr12 P18 O72", 167),
}  # fmt: skip
REFUSED = {
    "c03_nh3_symbol": "NH3", "c04_oh_f": "OH", "c05_wat_label": "O-H", "c06_occupation": "_atom_site_occupation",
    "c11_slash_symbol": "Cl/Br",
    "c17_run_together": "coordinate", "c35_t_label": "T1",
}  # fmt: skip


@pytest.mark.field
@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize("name", [*READ, *REFUSED])
def test_shared_cases(name):
    if name in REFUSED:
        with pytest.raises(StructureError, match=REFUSED[name]) as caught:
            read_crystal(CASES / f"{name}.cif")
        assert caught.value.fix
        return
    formula, number = READ[name]
    crystal = read_crystal(CASES / f"{name}.cif")
    assert crystal.cell_formula == formula
    assert number is None or crystal.spacegroup_number == number
