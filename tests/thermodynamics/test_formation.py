from __future__ import annotations

import pickle

import pytest

from superionic.errors import CompositionError, PotentialError
from superionic.thermodynamics import Entry, formation_energies


def entry(name, composition, energy, convention="PBE", **options):
    return Entry(name, composition, energy, convention, **options)


def test_formation_energy_against_binary_halides():
    references = [entry("LiCl", {"Li": 4, "Cl": 4}, -4 * 7.0), entry("YCl3", {"Y": 2, "Cl": 6}, -2 * 17.0)]
    (result,) = formation_energies([entry("a", {"Li": 9, "Y": 3, "Cl": 18}, -3 * (3 * 7.0 + 17.0 + 0.5))], references)
    assert result.references == ("LiCl", "YCl3")
    assert result.composition == {"Li": 3, "Y": 1, "Cl": 6}
    assert result.coordinates == (0.75, 0.25)
    assert result.eV_per_atom == -0.05
    # 9 LiCl + 3 YCl3: twelve formula units of the references, unless the entry or the caller says otherwise
    assert result.eV_per_formula_unit == -0.125
    assert result.energy_convention == "PBE"


def test_formula_unit_reduced_given_or_of_elements():
    elements = [entry("Li", {"Li": 2}, -4.0), entry("Cl", {"Cl": 2}, -4.0)]
    salt = {"Li": 4, "Cl": 4}
    (by_elements,) = formation_energies([entry("a", salt, -24.0)], elements)
    assert by_elements.eV_per_atom == -1.0
    assert by_elements.eV_per_formula_unit == -2.0
    (given,) = formation_energies([entry("a", salt, -24.0, formula_units=2)], elements)
    assert given.eV_per_formula_unit == -4.0
    mixed = {"Li": 12, "Y": 4, "Cl": 6, "Br": 18}
    ends = [entry("c", {"Li": 3, "Y": 1, "Cl": 6}, -10.0), entry("b", {"Li": 3, "Y": 1, "Br": 6}, -9.0)]
    (mixing,) = formation_energies([entry("m", mixed, -37.0 - 0.4)], ends)
    assert mixing.eV_per_formula_unit == pytest.approx(-0.1, abs=1e-14)
    (reduced,) = formation_energies([entry("m", mixed, -37.0 - 0.4)], ends, formula_unit="reduced")
    assert reduced.formula_units == 2.0  # Li6Y2Br9Cl3
    assert reduced.eV_per_formula_unit == pytest.approx(-0.2, abs=1e-14)


def test_lowest_reference_counts_and_is_its_own_zero():
    high, low = entry("high", {"Li": 1, "Cl": 1}, -6.9), entry("low", {"Li": 4, "Cl": 4}, -28.0)
    results = formation_energies([high, low], [high, low])
    assert results[0].references == ("low",)
    assert results[0].eV_per_atom == pytest.approx(0.05, abs=1e-14)
    assert results[1].eV_per_atom == 0.0


def test_energy_conventions_do_not_mix():
    entries = [entry("a", {"Li": 1, "Cl": 1}, -7.0), entry("b", {"Li": 1, "Cl": 1}, -7.1, "MP2020-corrected PBE(+U)")]
    with pytest.raises(PotentialError, match="MP2020") as caught:
        formation_energies(entries[:1], entries[1:])
    assert caught.value.fix


@pytest.mark.parametrize("energy", [float("nan"), float("inf")])
def test_entry_refuses_failed_calculations(energy):
    with pytest.raises(PotentialError, match="leave failed"):
        entry("a", {"Li": 1}, energy)


def test_entry_validates_and_copies():
    composition = {"Li": 3, "Y": 1, "Cl": 6, "Br": 0}
    made = entry("a", composition, -40)
    composition["Li"] = 5
    assert made.composition == {"Cl": 6, "Li": 3, "Y": 1}
    assert (made.n_atoms, made.formula, made.energy_eV_per_atom) == (10, "Li3YCl6", -4.0)
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(CompositionError, match="fraction of an atom"):
        entry("a", {"Li": 0.5}, -1.0)
    with pytest.raises(CompositionError, match="formula units"):
        entry("a", {"Li": 1}, -1.0, formula_units=0)
    with pytest.raises(CompositionError, match="no entries"):
        formation_energies([], [])
