"""`superionic init`: a commented file that loads, with guesses that are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from superionic.campaign.best_installed import first_potential, named_entry
from superionic.campaign.file.load import parse_campaign
from superionic.campaign.initialise import CrystalOptions, draft_campaign, guess_settings
from superionic.campaign.prepare import fetch_weights
from superionic.errors import CompositionError, PotentialError, StructureError
from superionic.structures.crystal.oxidation import find_oxidation_states

ROOT = Path(__file__).resolve().parents[2]
CIF = ROOT / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"
SHARED = ROOT.parent / "shared" / "data" / "obelix_train" / "train_randomized_cifs"

CUBE = """\
data_cube
_cell_length_a 5.0
_cell_length_b 5.0
_cell_length_c 5.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


def cube(folder, name, *sites):
    path = folder / f"{name}.cif"
    rows = [f"{symbol}{i} {symbol} {place} {occupancy}" for i, (symbol, place, occupancy) in enumerate(sites)]
    path.write_text(CUBE + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_the_demo_crystal():
    text = draft_campaign(CIF, name="demo", folder=ROOT)
    loaded = parse_campaign(text, ROOT / "campaign.yaml")
    assert loaded.mobile_ion == "Li"
    assert loaded.oxidation_states == {"Li": 1.0, "Y": 3.0, "Cl": -1.0}
    assert loaded.crystals[0].file == str(CIF)
    assert loaded.train is None
    # A universal potential would drive these runs for days; a student of it, from labels alone, does it in an hour.
    assert (loaded.distil.method, loaded.transport.potential) == ("on-policy", "student")
    assert "a guess" in text
    assert "neutral" in text
    assert "examples/li3ycl6/" in text


def test_the_potential_is_the_most_accurate_that_is_installed_and_the_file_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    everything = first_potential(is_installed=lambda _: True)
    # Nequix is the better one, but its weights are not here: its installation downloads them.
    assert everything.entry == {"engine": "sevennet", "model": "7net-l3i5"}
    assert "41 meV/Å" in everything.reason
    assert "engines install nequix, which downloads its weights" in everything.reason
    weights = tmp_path / ".cache" / "nequix" / "models" / "nequix-omat-1.nqx"
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert first_potential(is_installed=lambda _: True).name == "nequix:nequix-omat-1"
    assert "better" not in first_potential(is_installed=lambda _: True).reason
    assert first_potential(is_installed=lambda name: name == "chgnet").name == "chgnet:0.3.0"
    nothing = first_potential(is_installed=lambda _: False)
    assert nothing.name == "sevennet:7net-l3i5"
    assert "superionic engines install sevennet" in nothing.reason
    with pytest.raises(PotentialError, match="no potential called 'sevenet'") as caught:
        first_potential("sevenet")
    assert caught.value.fix == "did you mean 'sevennet'?"
    text = draft_campaign(CIF, folder=ROOT, potential="sevennet:7net-l3i5")
    assert "universal: {engine: sevennet, model: 7net-l3i5}    # as you said" in text
    assert parse_campaign(text, ROOT / "campaign.yaml").potentials["universal"].model == "7net-l3i5"


def test_a_name_stands_for_the_most_accurate_model_a_model_or_a_file(shared, tmp_path):
    assert named_entry("sevennet") == {"engine": "sevennet", "model": "7net-l3i5"}  # its default is 7net-0
    assert named_entry("sevennet:7net-0") == {"engine": "sevennet", "model": "7net-0"}
    assert named_entry("nep89") == named_entry("nep:nep89") == {"engine": "nep", "model": "nep89"}
    assert named_entry("pair") == {"engine": "pair"}
    assert named_entry("sevennet:7net-0+d3bj") == {"engine": "sevennet", "model": "7net-0", "dispersion": "d3bj"}
    text = draft_campaign(CIF, folder=tmp_path, potential="sevennet+d3bj")
    assert "{engine: sevennet, model: 7net-l3i5, dispersion: d3bj}" in text
    with pytest.raises(PotentialError, match="functional"):
        named_entry("nep89+d3bj")
    with pytest.raises(PotentialError, match="no model 'nope'") as caught:
        named_entry("sevennet:nope", where="--teacher")
    assert caught.value.where == "--teacher"
    # What a campaign file would be refused for is refused before it is written.
    for name, needs in (("mace", "a file"), ("ase", "calculator and elements")):
        with pytest.raises(PotentialError, match=f"{name} needs {needs}"):
            draft_campaign(CIF, folder=tmp_path, potential=name)
    with pytest.raises(PotentialError, match="takes no file"):
        named_entry(f"chgnet:{CIF}")
    for name, dispersion, why in (
        ("nep89", None, "unfit"),
        ("nep89", "d3bj", "functional"),
        ("pair", "d3bj", "functional"),
    ):
        with pytest.raises(PotentialError, match=why) as caught:
            draft_campaign(CIF, folder=tmp_path, potential=name, dispersion=dispersion)
        assert caught.value.where == "--potential"
    # A file on record needs nothing more; the energies of any other get a convention of their own.
    file = shared / "models" / "nequix" / "nequix-omat-1.nqx"
    text = draft_campaign(CIF, folder=tmp_path, potential=f"nequix:{file}")
    entry = parse_campaign(text, tmp_path / "campaign.yaml").potentials["universal"]
    assert (entry.engine, Path(entry.file).resolve(), entry.energy_convention) == (
        "nequix",
        file.resolve(),
        None,
    )
    (tmp_path / "mine.nqx").write_bytes(file.read_bytes() + b" ")
    entry = named_entry(f"nequix:{tmp_path / 'mine.nqx'}")
    assert (entry["model"], entry["energy_convention"]) == ("mine.nqx", "own: mine.nqx")


@pytest.mark.engine("nequix")
def test_an_engine_without_its_weights_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    said = []
    fetch_weights("nequix", said.append)
    assert said[0] == "nequix: downloading the weights of nequix-omat-1"
    assert "without nequix-omat-1: The file of nequix-omat-1 is not here, and cannot be downloaded" in said[1]
    assert str(tmp_path / ".cache") in said[1]


def test_the_commented_lines_load_too():
    text = draft_campaign(CIF, folder=ROOT).replace("#~ ", "")
    loaded = parse_campaign(text, ROOT / "campaign.yaml")
    assert loaded.train is not None
    assert loaded.distil.teacher is None  # the last potential, which is the fine-tuned one then


def test_what_the_user_says_wins():
    text = draft_campaign(CIF, CrystalOptions("Cl", {"Y": 2.5, "Br": -1}), name="my name", folder=ROOT)
    loaded = parse_campaign(text, ROOT / "campaign.yaml")
    assert loaded.name == "my-name"
    assert loaded.mobile_ion == "Cl"
    assert loaded.oxidation_states["Y"] == 2.5
    assert loaded.oxidation_states["Br"] == -1.0
    assert "net charge" in text
    assert "as you said" in text


def test_a_mobile_ion_that_is_not_there():
    with pytest.raises(StructureError, match="has no Na"):
        draft_campaign(CIF, CrystalOptions("Na"))
    with pytest.raises(StructureError, match="not the symbol"):
        draft_campaign(CIF, CrystalOptions("Lithium"))
    with pytest.raises(StructureError, match="does not exist"):
        draft_campaign(ROOT / "nothing.cif")


def test_no_ion_that_conducts(tmp_path):
    path = cube(tmp_path, "gan", ("Ga", "0 0 0", 1), ("N", "0.5 0.5 0.5", 1))
    with pytest.raises(StructureError, match="none of the ions") as caught:
        draft_campaign(path)
    assert "--mobile-ion" in caught.value.fix


def test_the_ion_on_vacant_sites_is_guessed(tmp_path):
    path = cube(
        tmp_path, "mix", ("Li", "0 0 0", 1), ("Na", "0.5 0.5 0", 0.5), ("Na", "0 0.5 0.5", 0.5), ("O", "0.5 0.5 0.5", 1)
    )
    loaded = parse_campaign(draft_campaign(path, folder=tmp_path), tmp_path / "c.yaml")
    assert loaded.mobile_ion == "Na"


def test_names_that_yaml_would_read_as_numbers(tmp_path):
    path = cube(tmp_path, "419", ("Li", "0 0 0", 1), ("Cl", "0.5 0.5 0.5", 1))
    loaded = parse_campaign(draft_campaign(path, folder=tmp_path), tmp_path / "c.yaml")
    assert (loaded.name, loaded.crystals[0].name) == ("419", "419")


def test_difficult_file_names(tmp_path):
    path = cube(tmp_path, 'a "b": #c {d} é', ("Li", "0 0 0", 1), ("Cl", "0.5 0.5 0.5", 1))
    loaded = parse_campaign(draft_campaign(path, folder=tmp_path), tmp_path / "c.yaml")
    assert loaded.crystals[0].file == str(path)
    assert loaded.name == "a-b-c-d"


def test_charges_of_one_sign_are_refused(tmp_path):
    path = cube(tmp_path, "alloy", ("Li", "0 0 0", 1), ("Mg", "0.5 0.5 0.5", 1))
    with pytest.raises(CompositionError, match="both signs") as caught:
        draft_campaign(path)
    assert "--charges Li=1,Mg=-1" in caught.value.fix


def test_what_a_guess_leaves_out_is_said(tmp_path):
    path = cube(
        tmp_path,
        "two",
        ("Li", "0 0 0", 1),
        ("Na", "0.5 0.5 0", 0.95),
        ("Mg", "0.5 0.5 0", 0.05),
        ("S", "0.5 0.5 0.5", 1),
    )
    guess = guess_settings(path, CrystalOptions(supercell="1x1x1"))
    assert (guess.composition.formula, guess.mobile_ion) == ("NaLiS", "Li")
    lost, net, ion = guess.cautions
    assert "NaLiS stands for the refined" in lost
    assert "nothing is left of Mg (refined: 0.05 atoms)" in lost
    assert "+0.05 e for 3 atoms" in net
    assert ion == "that Li is the mobile ion is a guess; Na, which may move too, counts as framework (--mobile-ion)"
    assert not any("a guess" in caution for caution in guess_settings(path, CrystalOptions("Na")).cautions[1:])
    # What is stated is written into the file, and nothing where it is the default.
    stated = CrystalOptions(supercell="2x1x1", max_deviation=0.3, min_distance_A=1.2)
    text = draft_campaign(path, stated, folder=tmp_path)
    loaded = parse_campaign(text, tmp_path / "c.yaml")
    assert (loaded.enumerate.max_composition_deviation, loaded.enumerate.min_distance_A) == (0.3, 1.2)
    assert loaded.crystals[0].supercell == ((2, 0, 0), (0, 1, 0), (0, 0, 1))


@pytest.mark.parametrize(
    ("amounts", "charges"),
    [
        ({"Li": 9, "Y": 3, "Cl": 18}, {"Li": 1, "Y": 3, "Cl": -1}),
        ({"Li": 6, "P": 1, "S": 5, "Cl": 1}, {"Li": 1, "P": 5, "S": -2, "Cl": -1}),
        ({"Li": 10, "Ge": 1, "P": 2, "S": 12}, {"Li": 1, "Ge": 4, "P": 5, "S": -2}),
        ({"Na": 3, "Zr": 2, "Si": 2, "P": 1, "O": 12}, {"Na": 1, "Zr": 4, "Si": 4, "P": 5, "O": -2}),
        ({"Li": 7, "La": 3, "Zr": 2, "O": 12}, {"Li": 1, "La": 3, "Zr": 4, "O": -2}),
        ({"Li": 5, "Bi": 1, "O": 5}, {"Li": 1, "Bi": 5, "O": -2}),
        ({"Li": 2.94, "Y": 1.0, "Cl": 6.0}, {"Li": 1, "Y": 3, "Cl": -1}),
        ({"Li": 3, "N": 1}, {"Li": 1, "N": -3}),
        ({"Ag": 1, "I": 1}, {"Ag": 1, "I": -1}),
    ],
)
def test_charges_of_known_electrolytes(amounts, charges):
    assert find_oxidation_states(amounts).values == charges


def test_an_element_without_known_charge():
    with pytest.raises(CompositionError, match="No charge is known for Ar"):
        find_oxidation_states({"Li": 1, "Ar": 1})
    assert find_oxidation_states({"Li": 1, "Ar": 1}, {"Ar": -1}).values == {"Li": 1.0, "Ar": -1.0}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared crystals are not here")
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.cif"))[:9], ids=lambda path: path.stem)
def test_drafts_of_refined_crystals_load(path):
    text = draft_campaign(path)
    parse_campaign(text, Path("campaign.yaml"))
    parse_campaign(text.replace("#~ ", ""), Path("campaign.yaml"))
