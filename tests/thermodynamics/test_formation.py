from __future__ import annotations

import pickle

import pytest

from superionic.errors import CompositionError, PotentialError
from superionic.thermodynamics import Entry, convex_hull


def entry(name, composition, energy, convention="PBE", **options):
    return Entry(name, composition, energy, convention, **options)


def test_formation_energy_against_binary_halides():
    references = [entry("LiCl", {"Li": 4, "Cl": 4}, -4 * 7.0), entry("YCl3", {"Y": 2, "Cl": 6}, -2 * 17.0)]
    found = convex_hull([entry("a", {"Li": 9, "Y": 3, "Cl": 18}, -3 * (3 * 7.0 + 17.0 + 0.5))], references)
    assert found.end_member_names == ("LiCl", "YCl3")
    assert found.coordinates.tolist() == [[0.75, 0.25]]
    assert found.formation_energies_eV_per_atom.tolist() == [-0.05]
    # 9 LiCl + 3 YCl3: twelve formula units of the references, unless the entry or the caller says otherwise
    assert found.formation_energies_eV_per_formula_unit.tolist() == [-0.125]
    assert found.energy_convention == "PBE"


def test_formula_unit_reduced_given_or_of_elements():
    elements = [entry("Li", {"Li": 2}, -4.0), entry("Cl", {"Cl": 2}, -4.0)]
    salt = {"Li": 4, "Cl": 4}
    by_elements = convex_hull([entry("a", salt, -24.0)], elements)
    assert by_elements.formation_energies_eV_per_atom.tolist() == [-1.0]
    assert by_elements.formation_energies_eV_per_formula_unit.tolist() == [-2.0]
    given = convex_hull([entry("a", salt, -24.0, formula_units=2)], elements)
    assert given.formation_energies_eV_per_formula_unit.tolist() == [-4.0]
    mixed = entry("m", {"Li": 12, "Y": 4, "Cl": 6, "Br": 18}, -37.0 - 0.4)
    ends = [entry("c", {"Li": 3, "Y": 1, "Cl": 6}, -10.0), entry("b", {"Li": 3, "Y": 1, "Br": 6}, -9.0)]
    assert convex_hull([mixed], ends).formation_energies_eV_per_formula_unit[0] == pytest.approx(-0.1, abs=1e-14)
    reduced = convex_hull([mixed], ends, formula_unit="reduced")
    assert reduced.formula_units.tolist() == [2.0]  # Li6Y2Br9Cl3
    assert reduced.formation_energies_eV_per_formula_unit[0] == pytest.approx(-0.2, abs=1e-14)


def test_lowest_reference_counts_and_is_its_own_zero():
    high, low = entry("high", {"Li": 1, "Cl": 1}, -6.9), entry("low", {"Li": 4, "Cl": 4}, -28.0)
    found = convex_hull([high, low], [{"Li": 1, "Cl": 1}])
    assert found.end_member_names == ("low",)
    assert found.formation_energies_eV_per_atom.tolist() == [pytest.approx(0.05, abs=1e-14), 0.0]


def test_energy_conventions_do_not_mix():
    entries = [entry("a", {"Li": 1, "Cl": 1}, -7.0), entry("b", {"Li": 1, "Cl": 1}, -7.1, "MP2020-corrected PBE(+U)")]
    with pytest.raises(PotentialError, match="MP2020") as caught:
        convex_hull(entries[:1], entries[1:])
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
        convex_hull([], [])
