"""Which composition, supercell and charges a crystal gets: nothing is lost, guessed or ignored without a word."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from superionic import enumerate_orderings
from superionic.campaign.file.load import parse_campaign
from superionic.campaign.initialise import CrystalOptions, draft_campaign
from superionic.cli import app, main
from superionic.enumeration.request import charges_of_crystal
from superionic.enumeration.series import count_supercells
from superionic.errors import CampaignFileError, CompositionError, StructureError
from superionic.structures.crystal.composition import fitting_indices, integer_compositions
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.structures.crystal.equations import CompositionRequest
from superionic.structures.crystal.oxidation import guess_mobile_ion
from superionic.structures.io.files import read_crystal

CASES = Path(__file__).parents[3] / "shared" / "cases" / "orderings"

HEAD = """\
data_x
_symmetry_space_group_name_H-M '{group}'
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {c}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
{types}loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


@pytest.fixture
def cif(tmp_path):
    def write(rows, *, group="P m -3 m", a=4.0, c=None, types=""):
        path = tmp_path / "x.cif"
        head = HEAD.format(group=group, a=a, c=a if c is None else c, types=types)
        path.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
        return path

    return write


def perovskite(cif, a_site, b_site):
    rows = [f"{e}a {e} 0.5 0.5 0.5 {o}" for e, o in a_site.items()]
    rows += [f"{e}b {e} 0 0 0 {o}" for e, o in b_site.items()]
    return cif([*rows, "O1 O 0.5 0 0 1"])


# ---- supercells that fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a_site", "b_site", "cells"),
    [
        ({"Li": 0.2, "Na": 0.8}, {"Ta": 1}, 5),
        ({"K": 0.3333, "Na": 0.6667}, {"Nb": 1}, 3),
        ({"Li": 0.25, "La": 0.75}, {"Ti": 0.5, "Ga": 0.5}, 4),
        ({"K": 0.1667, "Na": 0.8333}, {"Nb": 1}, 6),
        ({"K": 1}, {"Ta": 0.5, "Nb": 0.5}, 2),
    ],
)
def test_auto_takes_the_cell_that_holds_the_refinement(cif, a_site, b_site, cells):
    values = enumerate_orderings(perovskite(cif, a_site, b_site), supercell="auto").to_dict()
    assert values["multiplicity"] == cells
    assert values["deviation"] < 2e-3
    assert values["lost"] == {}


def test_auto_keeps_every_occupancy_within_what_is_stated():
    rng = np.random.default_rng(3)
    x = np.array([[0.0, 0, 0], [0.5, 0.5, 0.1], [0.3, 0.1, 0.6]])
    for _ in range(6):
        share = round(float(rng.uniform(0.05, 0.95)), 3)
        crystal = crystal_from_sites(
            "mix", np.diag([4.0, 5.0, 6.0]), x, [{"Li": share, "Na": 1 - share}, {"K": 1.0}, {"O": 1.0}]
        )
        charges = {"Li": 1, "Na": 1, "K": 1, "O": -2}
        for cells in fitting_indices(crystal, charges, max_deviation=0.07):
            best = integer_compositions(crystal, (1, 1, cells), charges, max_deviation=0.07, strict=True, limit=1)[0]
            assert 0 < best.totals["Li"] < cells
            assert abs(best.totals["Li"] / cells - share) <= 0.07 + 1e-9


def test_one_atom_more_or_fewer_does_not_take_a_species_away(cif):
    path = perovskite(cif, {"Li": 0.25, "La": 0.75}, {"Ti": 0.5, "Al": 0.5})
    with pytest.raises(CompositionError, match=r"lost (Al|La|Li)") as caught:
        enumerate_orderings(path)
    assert "4 parent cells" in caught.value.fix
    # The advice is right: that supercell fits.
    shape = caught.value.fix.split("such as ")[1].split(",")[0].rstrip(".")
    assert enumerate_orderings(path, supercell=shape).to_dict()["formula"] == "LiLa3Ti2Al2O12"


def test_a_species_that_vanishes_is_named_in_text_and_json(cif):
    path = perovskite(cif, {"Li": 0.05, "Na": 0.95}, {"Ta": 1})
    values = enumerate_orderings(path).to_dict()
    assert values["formula"] == "NaTaO3"
    assert values["lost"] == {"Li": 0.05}
    shown = CliRunner().invoke(app, ["enumerate", str(path), "--count"]).output
    assert "nothing is left of Li (refined: 0.05 atoms)" in " ".join(shown.split())


def test_species_of_half_an_atom_and_more_stay_where_that_can_be(cif):
    # The nearest neutral composition has no zirconium: eight lithium of twelve sites balance tantalum alone.
    crystal = crystal_from_sites(
        "doped", np.diag([5.0, 6.0, 8.0]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.3], [0.2, 0.3, 0.7]]),
        [{"Li": 0.54}, {"Ta": 0.95, "Zr": 0.05}, {"O": 1.0}],
    )  # fmt: skip
    charges = {"Li": 1, "Ta": 5, "Zr": 4, "O": -5.5}
    best = integer_compositions(crystal, "1x2x6", charges)[0]
    assert best.totals == {"Li": 7, "Zr": 1, "Ta": 11, "O": 12}


def test_equal_deviations_go_to_the_refined_totals():
    x = np.array([[0.0, 0, 0], [0.5, 0.5, 0.4], [0.5, 0.5, 0.03], [0.0, 0.0, 0.5]])
    half = {"Rb": 0.5, "Li": 0.5}
    crystal = crystal_from_sites("tie", np.diag([4.0, 4.0, 7.0]), x, [half, half, {"Br": 1.0}, {"Br": 1.0}])
    best = integer_compositions(crystal, "1x1x1", {"Rb": 1, "Li": 1, "Br": -1})
    assert best[0].totals == {"Rb": 1, "Li": 1, "Br": 2}
    assert best[0] == integer_compositions(crystal, "1x1x1", {"Rb": 1, "Li": 1, "Br": -1}, limit=1)[0]
    assert len({c.deviation for c in best[:4]}) == 1
    # Four sublattices have six such choices, and the refined total comes first among all sixteen.
    x = np.array([[0, 0, 0], [0.5, 0.1, 0.2], [0.1, 0.6, 0.4], [0.7, 0.4, 0.8], [0.3, 0.8, 0.7]], dtype=float)
    cell = np.array([[5.0, 0, 0], [0.3, 6.0, 0], [0.7, 0.2, 7.0]])
    crystal = crystal_from_sites("many", cell, x, [half] * 4 + [{"O": 1.0}])
    assert integer_compositions(crystal, "1x1x1", {"Rb": 1, "Li": 1, "O": -4}, limit=1)[0].totals["Li"] == 2


# ---- charges --------------------------------------------------------------------------------------------------------


def test_integers_within_the_tolerance_win_over_an_average(cif):
    # +0.032 e an atom with Ti4+, which occupancies off by less than 0.1 take away.
    path = perovskite(cif, {"Li": 0.35, "La": 0.65}, {"Ti": 0.86, "Al": 0.14})
    values = enumerate_orderings(path, supercell="2x2x5").to_dict()
    assert values["oxidation_states"]["values"]["Ti"] == 4.0
    assert "net charge of +0.16 e" in values["oxidation_states"]["note"]
    assert (values["formula"], values["distinct"]) == ("Li2La3Ti4AlO15", 1_995_012)


def test_mixed_valence_that_no_small_change_explains_stays_an_average(cif):
    # La0.8Sr0.2MnO3: within the tolerance with Mn3+, but only without any strontium.
    path = perovskite(cif, {"Sr": 0.2, "La": 0.8}, {"Mn": 1})
    values = enumerate_orderings(path, supercell="auto").to_dict()
    assert values["oxidation_states"]["values"]["Mn"] == pytest.approx(3.2)
    assert values["formula"] == "SrLa4Mn5O15"


def test_an_element_with_two_states_takes_nothing_from_the_others(cif):
    types = "loop_\n_atom_type_symbol\n_atom_type_oxidation_number\nV3+ 3\nV4+ 4\nFe2+ 2\nO2- -2\n"
    rows = ["V1 V3+ 0.5 0.5 0.5 0.5", "V2 V4+ 0.5 0.5 0.5 0.5", "Fe1 Fe2+ 0 0 0 0.25", "O1 O2- 0.5 0 0 0.6667"]
    path = cif(rows, types=types)
    states = charges_of_crystal(read_crystal(path), path, None)
    assert states.values["Fe"] == 2.0
    assert states.values["V"] == pytest.approx(3.5, abs=1e-2)
    assert set(states.sources.values()) == {"file"}
    assert any("V the oxidation states +3 and +4: +3.5 on average" in note for note in read_crystal(path).notes)
    assert "Fe: 2" in draft_campaign(path, CrystalOptions("O"))


def test_a_refined_charge_that_no_composition_balances_is_refused_everywhere_with_a_fix_that_works(cif, tmp_path):
    # As many a NASICON is deposited: the lithium that balances aluminium was not refined.
    places = ("0.5 0 0", "0 0.5 0", "0 0 0.5", "0.5 0.5 0", "0.5 0 0.45")
    anions = [f"F{k} F {place} 1" for k, place in enumerate(places)]
    path = cif(["Li1 Li 0.5 0.5 0.5 1", "Ge1 Ge 0 0 0 0.75", "Al1 Al 0 0 0 0.25", *anions], group="P 1")
    for refuse in (enumerate_orderings, draft_campaign):
        with pytest.raises(
            CompositionError, match=r"Al\+3, Ge\+4, F-1 the refined .* net charge of -0\.25 e"
        ) as caught:
            refuse(path)
        assert "0.25 is enough, which leaves no Al" in caught.value.fix
    accepted = enumerate_orderings(path, max_deviation=0.25).to_dict()
    assert (accepted["formula"], accepted["lost"]) == ("LiGeF5", {"Al": 0.25})
    text = draft_campaign(path, CrystalOptions(max_deviation=0.25), folder=tmp_path)
    assert parse_campaign(text, tmp_path / "c.yaml").enumerate.max_composition_deviation == 0.25
    assert "nothing is left of Al" in text


def test_what_no_composition_balances_can_still_be_counted_as_the_fix_says(cif):
    path = cif(["Li1 Li 0 0 0 0.5", "S1 S 0.5 0.5 0.5 1"])
    with pytest.raises(CompositionError, match="neutral") as caught:
        enumerate_orderings(path, supercell="1x1x2")
    assert "give the charges Li=0, S=0" in caught.value.fix
    assert enumerate_orderings(path, supercell="1x1x2", oxidation_states={"Li": 0, "S": 0}).to_dict()["raw"] == 2


def test_the_nearest_neutral_composition_is_reached_as_the_fix_says(cif):
    path = cif(["La1 La 0.5 0.5 0.5 0.78", "Ti1 Ti 0 0 0 1", "O1 O 0.5 0 0 1"], types="")
    given = {"La": 2.0, "Ti": 4.0, "O": -2.0}
    with pytest.raises(CompositionError) as caught:
        enumerate_orderings(path, supercell="auto", oxidation_states={"Ti": 4.0, "La": 2.0})
    assert "add --charges La=2,Ti=4,O=-2 --max-deviation 1 --supercell auto" in caught.value.fix
    values = enumerate_orderings(path, supercell="auto", oxidation_states=given, max_deviation=1.0).to_dict()
    assert values["formula"] == "LaTiO3"


def test_the_end_of_an_axis_that_the_crystal_lacks_gets_a_charge(cif):
    path = cif(["Na1 Na 0 0 0 1", "I1 I 0.5 0.5 0.5 1"])
    for axis in ("Cl:I:x=0.5", "I:Cl:x=0.5"):
        values = enumerate_orderings(path, axes=[axis], supercell="1x1x2").to_dict()
        assert values["formula"] == "Na2ICl"
        assert values["oxidation_states"]["values"]["Cl"] == -1.0


def test_a_vacancy_of_rounding_makes_no_mobile_ion(cif):
    crystal = read_crystal(perovskite(cif, {"Na": 0.25, "La": 0.75}, {"Ti": 0.5, "Mg": 0.499}))
    assert guess_mobile_ion(crystal) == "Na"
    # Even a true vacancy on the site of a divalent cation leaves the monovalent one in front.
    assert guess_mobile_ion(read_crystal(perovskite(cif, {"Na": 1}, {"Ti": 0.5, "Mg": 0.4}))) == "Na"
    assert guess_mobile_ion(read_crystal(perovskite(cif, {"Na": 1}, {"Li": 0.4}))) == "Li"


# ---- protons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [0.36, 0.40, 0.31])
def test_two_protons_are_never_on_one_bond(cif, z):
    # Four half-occupied places on two O-H...O bonds of 2.75 Å: one proton a bond is 4 of 6 decorations.
    path = cif(["Li1 Li 0.5 0.5 0.5 1", "O1 O 0 0 0 1", f"H1 H 0 0 {z} 0.5"], group="P 4/m m m", a=3.5, c=2.75)
    values = enumerate_orderings(path, supercell="1x1x2").to_dict()
    assert (values["raw"], values["raw_allowed"], values["distinct_allowed"]) == (6, 4, 2)


def test_the_protons_of_a_water_molecule_stay(cif):
    h = 0.757 / 6.0  # of half the 1.51 Å between them
    rows = ["O1 O 0.5 0.5 0.4 1", f"H1 H {0.5 + h:.5f} 0.5 0.4976 0.9", "Li1 Li 0 0 0 0.5", "Cl1 Cl 0 0.5 0.9 0.3"]
    path = cif(rows, group="P m m 2", a=6.0)
    values = enumerate_orderings(path, supercell="1x1x1", max_deviation=1.0).to_dict()
    assert values["excluded_pairs"] == 0


# ---- axes -----------------------------------------------------------------------------------------------------------


def test_sites_listed_as_empty_are_filled_by_what_follows(cif):
    rows = ["Na1 Na 0 0 0 1", "Na2 Na 0.5 0.5 0 0", "P1 P 0.5 0.5 0.5 1", "O1 O 0.5 0 0 1"]
    path = cif(rows, types="")
    charges = {"Na": 1, "P": 5, "Si": 4, "O": -2}
    points = enumerate_orderings(
        path, axes=["P:Si:x=0,0.5,1,Na=follows"], supercell="1x1x2", oxidation_states=charges, min_distance_A=None
    ).points
    assert [(p.label, p.counted.composition.formula) for p in points] == [
        ("x=0", "NaPO3"), ("x=0.5", "Na3SiPO6"), ("x=1", "Na2SiO3"),
    ]  # fmt: skip
    assert not enumerate_orderings(path, oxidation_states=charges).to_dict()["lost"]
    # Without an axis that fills them they are not there, as before.
    assert enumerate_orderings(path, oxidation_states=charges).to_dict()["n_sites"] == 5


def test_points_that_are_left_out_say_which_why_and_what_would_help(cif):
    path = cif(["Na1 Na 0 0 0 1", "I1 I 0.5 0.5 0.5 1"])
    result = CliRunner().invoke(app, ["enumerate", str(path), "--axis", "I:Br:x=0..1:0.5", "--count", "--json"])
    (refused,) = json.loads(result.output)["refused"]
    assert refused["grid_point"] == "x=0.5"
    assert "No charge-neutral" in refused["reason"]
    assert "2 parent cells" in refused["fix"]
    text = CliRunner().invoke(app, ["enumerate", str(path), "--axis", "I:Br:x=0..1:0.5", "--count"]).output
    assert "left out: x=0.5:" in " ".join(text.split())
    assert "Use a supercell of 2 parent cells" in " ".join(text.split())
    with pytest.raises(CompositionError, match=r"x=0\.5: No charge-neutral"):
        enumerate_orderings(path, axes=["I:Br:x=0.5"])


def test_supercells_by_hermite_normal_forms_take_the_axis(cif):
    path = cif(["Na1 Na 0 0 0 1", "I1 I 0.5 0.5 0.5 1"])
    by_index = count_supercells(path, 2, axes=["I:Br:x=0.5"]).to_dict()["by_index"]
    assert by_index[0]["problem"] is not None
    # One iodide and one bromide in each of the three cells of index 2.
    assert (by_index[1]["supercells"], by_index[1]["raw"], by_index[1]["distinct"]) == (3, 6, 3)
    with pytest.raises(CompositionError, match="2 points") as caught:
        count_supercells(path, 2, axes=["I:Br:x=0.5,1"])
    assert "I:Br:x=0.5" in caught.value.fix


# ---- options and refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--count", "--thermal"], "--thermal"),
        (["--count", "--temperature-K", "300"], "--temperature-K"),
        (["--count", "--sweeps", "10"], "--sweeps"),
        (["--count", "--search-budget", "10"], "--search-budget"),
        (["--count", "--formula-unit", "KTaO3"], "--formula-unit"),
        (["--count", "--diagonal"], "--diagonal"),
        (["--count", "--any-composition"], "--any-composition"),
        (["--hnf", "--max-index", "1", "--count", "--exchangeable"], "--exchangeable"),
        (["--hnf", "--max-index", "1", "--count", "--min-distance", "1"], "--min-distance"),
        (["--hnf", "--max-index", "1", "--count", "--seed", "1"], "--seed"),
        (["--hnf", "--max-index", "1", "--count", "--supercell", "1x1x2"], "--supercell"),
        (["--hnf", "--max-index", "1", "--count", "--any-composition", "--coupled"], "--coupled"),
        (["--hnf", "--max-index", "1", "--count", "--any-composition", "--axis", "Ta:Nb:x=0.5"], "--axis"),
        (["--count", "--sample", "5"], None),
    ],
)
def test_an_option_without_effect_is_refused(cif, capsys, options, named):
    path = perovskite(cif, {"K": 1}, {"Ta": 0.5, "Nb": 0.5})
    with pytest.raises(SystemExit) as ended:
        main(["enumerate", str(path), *options, "--json"])
    assert ended.value.code == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["fix"]
    if named is not None:
        assert error["where"] == named
        assert "has no effect" in error["message"]


def test_arguments_without_effect_are_refused(cif):
    path = perovskite(cif, {"K": 1}, {"Ta": 0.5, "Nb": 0.5})
    for wrong in ({"thermal": True}, {"diagonal_only": True}, {"formula_unit": "KTaO3"}):
        with pytest.raises(CompositionError, match="has no effect"):
            enumerate_orderings(path, supercell="1x1x2", **wrong)
    with pytest.raises(CompositionError, match="supercell has no effect"):
        enumerate_orderings(path, supercell="1x1x2", max_index=2)


def test_settings_of_another_method_are_refused(tmp_path, lyc_file):
    text = draft_campaign(lyc_file, folder=tmp_path)
    parse_campaign(text, tmp_path / "c.yaml")
    for setting, method in (("sample_draws: 5", "sample"), ("monte_carlo: {temperature_K: 300}", "monte-carlo")):
        idle = text.replace("  method: auto", f"  {setting}\n  method: auto")
        with pytest.raises(CampaignFileError, match="has no effect with `method: auto`"):
            parse_campaign(idle, tmp_path / "c.yaml")
        parse_campaign(idle.replace("method: auto", f"method: {method}"), tmp_path / "c.yaml")


def test_a_refusal_with_json_is_one_object(cif, capsys, tmp_path):
    path = cif(["Ar1 Ar 0 0 0 0.5"])
    for arguments in (["enumerate", str(path)], ["enumerate", str(tmp_path / "no.cif")], ["enumerate", "--no-such"]):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        assert ended.value.code == 2
        assert set(json.loads(capsys.readouterr().out)["error"]) == {"message", "where", "fix"}


def test_advice_is_sought_only_when_it_is_read(monkeypatch):
    x = np.array([[0.0, 0, 0], [0.5, 0.5, 0.4]])
    crystal = crystal_from_sites("odd", np.diag([4.0, 4.0, 7.0]), x, [{"Li": 0.5, "Na": 0.5}, {"F": 1.0}])
    looked: list[int] = []
    smallest = CompositionRequest.smallest_index

    def seen(self, most, **options):
        looked.append(most)
        return smallest(self, most, **options)

    monkeypatch.setattr(CompositionRequest, "smallest_index", seen)
    with pytest.raises(CompositionError) as caught:  # `match` would read the whole text
        integer_compositions(crystal, "1x1x1", {"Li": 1, "Na": 1, "F": -1})
    assert looked == []
    assert "2 parent cells" in caught.value.fix
    assert looked
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # errors come back from workers


def test_a_list_of_sites_is_no_crystal(cif):
    with pytest.raises(StructureError, match="sites of Li and nothing else"):
        draft_campaign(cif(["Li1 Li 0 0 0 1", "Li2 Li 0.5 0.5 0.5 1"]))


# ---- the files of the cases, where they are ------------------------------------------------------------------------


@pytest.mark.field
@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("c28_third_auto", {"supercell": "auto"}, {"multiplicity": 3, "formula": "Na2LiCl3"}),
        ("c27_llto_auto", {"supercell": "auto"}, {"multiplicity": 4, "formula": "LiLa3Ti2Al2O12"}),
        ("c23_sum", {"supercell": "auto"}, {"multiplicity": 3, "formula": "KNaLiCl3"}),
        ("c36_tolerance", {"supercell": "2x2x5"}, {"formula": "Li2La3Ti4AlO15", "distinct": 1_995_012}),
        ("c26_tie", {}, {"formula": "KNaCl2"}),
        ("c42_axis_missing_end", {"axes": ["Cl:Br:x=0.5"]}, {"formula": "Li2BrCl"}),
        ("c43_hh", {"supercell": "1x1x2"}, {"distinct_allowed": 2}),
        ("c13_disorder_groups", {}, {"raw_allowed": 2, "distinct_allowed": 1}),
        ("c16_two_states", {}, {"formula": "FeCo2O4"}),
        ("c21_garnet", {}, {"formula": "Li5La3Nb2O12"}),
        ("c37_enumlib119", {"supercell": "auto"}, {"multiplicity": 5, "formula": "Li3MnNiO5"}),
        ("c38_sto_vacancies", {"supercell": "2x2x2"}, {"raw": 276, "distinct": 7}),
        ("c40_average_given", {"supercell": "auto"}, {"formula": "Sr3La7Mn10O30"}),
    ],
)
def test_the_cases(name, options, expected):
    values = enumerate_orderings(CASES / f"{name}.cif", **options).to_dict()
    assert {key: values[key] for key in expected} == expected
