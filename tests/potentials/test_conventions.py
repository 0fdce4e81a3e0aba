from __future__ import annotations

import itertools
import json
from importlib.resources import files

import pytest

from superionic.conventions import (
    CONVENTIONS,
    MP2020,
    MP_RAW,
    OWN,
    WINDOW_EV_PER_ATOM,
    advice,
    difference,
    dispersion_in,
    expected_eV_per_atom,
    functional_in,
    is_convention,
    same_dispersion,
    without_dispersion,
)
from superionic.errors import PotentialError
from superionic.potentials.base import describe_potential
from superionic.potentials.proof import record_of
from superionic.thermodynamics.formation import Entry
from superionic.thermodynamics.hull import convex_hull


@pytest.mark.parametrize(
    ("name", "model"),
    [("chgnet", "0.3.0"), ("chgnet", "r2scan"), ("sevennet", "7net-0"), ("sevennet", "7net-mf-0/R2SCAN")],
)
def test_reference_energies_are_those_on_record(name, model):
    convention = CONVENTIONS[describe_potential(name, model).energy_convention]
    assert record_of(name, model)["energy_eV"] / 30 == pytest.approx(convention.reference_eV_per_atom, abs=0.001)


def test_records_of_files_lie_where_their_conventions_say():
    records = json.loads(files("superionic.models.matgl").joinpath("proof_records.json").read_text())
    for key, convention in (
        ("matgl:M3GNet-MP-2021.2.8", MP_RAW),
        ("matgl:TensorNet-MatPES-PBE-2025.1", "MatPES PBE"),
        ("matgl:TensorNet-MatPES-r2SCAN-2025.1", "MatPES r2SCAN"),
    ):
        expected = CONVENTIONS[convention].reference_eV_per_atom
        assert records[key]["energy_eV"] / 30 == pytest.approx(expected, abs=0.005)


def test_the_window_tells_corrected_from_raw_energies():
    corrected, raw = (CONVENTIONS[name].reference_eV_per_atom for name in (MP2020, MP_RAW))
    assert abs(corrected - raw) > WINDOW_EV_PER_ATOM
    for wrong in (-1.9, -3.1):  # matgl 4 with older weights
        assert all(abs(wrong - c.reference_eV_per_atom) > 1 for c in CONVENTIONS.values() if c.reference_eV_per_atom)


def test_the_vocabulary_is_closed_but_for_own_words():
    assert all(map(is_convention, CONVENTIONS))
    assert is_convention("own: SCAN, VASP 6.4")
    for wrong in ("", "PBE", "r2SCAN", OWN, "own:SCAN", "own:   "):
        assert not is_convention(wrong)
    assert "did you mean 'MP raw PBE(+U)'" in advice("MP raw PBE")


def test_the_two_r2scan_models_do_not_share_a_convention():
    first = describe_potential("chgnet", "r2scan").energy_convention
    assert first != describe_potential("sevennet", "7net-mf-0/R2SCAN").energy_convention


def test_chgnet_and_raw_pbe_on_one_hull_are_refused_with_the_reason():
    corrected = describe_potential("chgnet").energy_convention
    raw = describe_potential("sevennet").energy_convention
    entries = [
        Entry("Li3YCl6 by CHGNet", {"Li": 9, "Y": 3, "Cl": 18}, record_of("chgnet")["energy_eV"], corrected, "a"),
        Entry("LiCl by SevenNet", {"Li": 1, "Cl": 1}, -7.37, raw, "LiCl"),
        Entry("YCl3 by SevenNet", {"Y": 1, "Cl": 3}, -17.9, raw, "YCl3"),
    ]
    with pytest.raises(PotentialError) as caught:
        convex_hull(entries, [{"Li": 1, "Cl": 1}, {"Y": 1, "Cl": 3}])
    assert "cannot be put on one hull" in caught.value.message
    assert "the first carries the Materials Project's corrections" in caught.value.message
    assert "-0.365 eV/atom on Li3YCl6" in caught.value.message
    assert "one potential" in caught.value.fix


def test_every_difference_has_a_reason():
    for first, second in itertools.permutations([*CONVENTIONS, "own: SCAN"], 2):
        assert difference(first, second)
    assert "the second carries" in difference(MP_RAW, MP2020)
    assert "+0.367 eV/atom" not in difference("MatPES PBE", "MatPES r2SCAN")
    assert "+4.281 eV/atom" in difference("MatPES PBE", "MatPES r2SCAN")


@pytest.mark.parametrize(
    ("text", "dispersion", "functional"),
    [
        ("PBE-D2", "D2", "PBE"),
        ("PBE-D3(0)", "D3(0)", "PBE"),
        ("VASP PBE-D3(BJ), PBE_54 potentials, without corrections", "D3(BJ)", "PBE"),
        ("PBE-TS/HI", "TS/HI", "PBE"),
        ("PBE-MBD@rsSCS", "MBD@rsSCS", "PBE"),
        ("PBE-dDsC", "dDsC", "PBE"),
        ("PBE-simple-DFT-D3", "simple-DFT-D3", "PBE"),
        ("SCAN+rVV10", "rVV10", "SCAN"),
        ("r2SCAN-D4", "D4", "r2SCAN"),
        ("rev-vdW-DF2", "rev-vdW-DF2", None),
        ("GFN1-xTB", "GFN1-xTB", None),
        ("PBE", None, "PBE"),
        ("PBEsol", None, "PBEsol"),
        ("MatPES r2SCAN", None, "r2SCAN"),
        ("OMat24 PBE(+U)", None, "PBE"),
        ("GPAW PBE, PAW setups 24.11.0, without corrections", None, "PBE"),
        ("own: HSE06", None, None),
        ("own: PBE0", None, None),
        ("VASP HSE06, PBE_54 potentials, without corrections", None, None),
        ("pair potential", None, None),
    ],
)
def test_what_a_name_says_of_dispersion_and_of_the_functional(text, dispersion, functional):
    assert dispersion_in(text) == dispersion
    assert functional_in(text) == functional


def test_a_dispersion_term_makes_another_convention():
    names = {
        given: describe_potential("chgnet", model, dispersion=given).energy_convention
        for model, given in ((None, "d3bj"), ("r2scan", None))
    }
    assert names == {"d3bj": "MP2020-corrected PBE(+U) + D3(BJ)", None: "MP r2SCAN (CHGNet)"}
    both = describe_potential("chgnet", "r2scan", dispersion="d3bj")
    assert both.energy_convention == "MP r2SCAN (CHGNet) + D3(BJ)"  # with the parameters of r2SCAN
    other = {"functional": "PBE", "cutoff_A": 20}
    odd = describe_potential("chgnet", "r2scan", dispersion=other).energy_convention
    assert odd == "MP r2SCAN (CHGNet) + D3(BJ, PBE, to 20 Å)"
    for name in (both.energy_convention, odd, "own: PBE, mine + D3(BJ)"):
        assert is_convention(name)
    assert without_dispersion(odd) == "MP r2SCAN (CHGNet)"
    assert without_dispersion(MP_RAW) == MP_RAW
    assert not is_convention("PBE + D3(BJ)")
    assert expected_eV_per_atom(f"{MP_RAW} + D3(BJ)") == pytest.approx(-4.250 - 0.208, abs=1e-9)


def test_energies_with_and_without_dispersion_on_one_hull_are_refused_with_the_reason():
    plain, with_it = (describe_potential("sevennet", dispersion=given).energy_convention for given in (None, "d3bj"))
    entries = [
        Entry("Li3YCl6", {"Li": 9, "Y": 3, "Cl": 18}, -133.7, with_it, "a"),
        Entry("LiCl", {"Li": 1, "Cl": 1}, -7.37, plain, "LiCl"),
        Entry("YCl3", {"Y": 1, "Cl": 3}, -17.9, plain, "YCl3"),
    ]
    with pytest.raises(PotentialError) as caught:
        convex_hull(entries, [{"Li": 1, "Cl": 1}, {"Y": 1, "Cl": 3}])
    words = "the first carries the dispersion term D3(BJ) and the second does not: -0.208 eV/atom and -1.66 GPa"
    assert words in caught.value.message
    assert "the second carries" in difference("MatPES r2SCAN", "MatPES r2SCAN + D3(BJ)")
    assert "-0.099 eV/atom" in difference("MatPES r2SCAN", "MatPES r2SCAN + D3(BJ)")
    assert "their dispersion terms are two" in difference("own: PBE + D3(BJ)", "own: PBE + D4")


def test_dispersion_is_not_added_twice():
    learned = {"file": "x", "energy_convention": f"{MP_RAW} + D3(BJ)"}
    for options in (learned, {**learned, "energy_convention": "own: PBE-D3(BJ), VASP"}):
        with pytest.raises(PotentialError, match=r"already include dispersion \(D3"):
            describe_potential("nep", dispersion="d3bj", **{**options, "file": None})


def test_corrections_of_one_kind():
    assert same_dispersion("D3(BJ)", "D3(BJ, PBE)")
    assert same_dispersion(None, None)
    assert not same_dispersion(None, "D3(BJ)")
    assert not same_dispersion("rVV10", "D3(BJ)")
