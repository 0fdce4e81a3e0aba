from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superionic.errors import CompositionError
from superionic.settings.base import parse_formula
from superionic.thermodynamics.composition import (
    atoms_in,
    end_member_amounts,
    exact_composition,
    extreme,
    reduced_composition,
    reduced_formula,
)

HALIDES = [{"Li": 3, "In": 1, "Cl": 6}, {"Li": 3, "In": 1, "Br": 6}, {"Li": 3, "Y": 1, "Br": 6}]


@pytest.mark.parametrize(
    ("composition", "formula"),
    [
        ({"Cl": 18, "Y": 3, "Li": 9}, "Li3YCl6"),
        ({"Li": 9, "Y": 3, "Cl": 9, "Br": 9}, "Li3YBr3Cl3"),
        ({"Na": 3, "Zr": 2, "Si": 2, "P": 1, "O": 12}, "Na3Zr2Si2PO12"),
        ({"Li": 3.5, "P": 0.5, "Ge": 0.5, "S": 2, "O": 2}, "Li7GePS4O4"),
        ({"La": 3, "Li": 7, "Zr": 2, "O": 12, "Ga": 0}, "Li7La3Zr2O12"),
        ({"Al": 1, "Li": 3, "H": 6}, "Li3AlH6"),
        ({"U": 1, "O": 2}, "UO2"),
        ({"He": 4}, "He"),
    ],
)
def test_reduced_formula_puts_cations_first(composition, formula):
    assert reduced_formula(composition) == formula


def test_floats_are_read_as_the_simple_fraction_they_round():
    assert reduced_composition({"Li": 1 / 3, "Cl": 2 / 3}) == {"Cl": 2, "Li": 1}
    assert reduced_composition({"Li": 0.1, "Cl": 0.3}) == {"Cl": 3, "Li": 1}


@given(st.lists(st.integers(0, 12), min_size=3, max_size=3).filter(any), st.integers(1, 7))
def test_end_member_amounts_are_recovered_exactly(amounts, scale):
    elements = sorted({element for member in HALIDES for element in member})
    composition = {
        element: scale * sum(n * member.get(element, 0) for n, member in zip(amounts, HALIDES, strict=True))
        for element in elements
    }
    assert end_member_amounts(composition, HALIDES) == tuple(Fraction(scale * n) for n in amounts)


def test_quaternary_composition_in_the_pseudo_ternary():
    # Li3In0.5Y0.5Br3Cl3 of paper A: half Li3InCl6, half Li3YBr6
    cell = {"Li": 6, "In": 1, "Y": 1, "Br": 6, "Cl": 6}
    assert end_member_amounts(cell, HALIDES) == (1, 0, 1)


def test_composition_off_the_plane_is_refused():
    with pytest.raises(CompositionError, match="not a mixture") as caught:
        end_member_amounts({"Li": 2, "In": 1, "Cl": 6}, HALIDES, where="entry 'a'")
    assert caught.value.where == "entry 'a'"
    assert caught.value.fix


def test_composition_beyond_an_end_member_is_refused_unless_asked_for():
    beyond = {"Li": 3, "Y": 1, "Cl": 6}
    with pytest.raises(CompositionError, match="outside the range"):
        end_member_amounts(beyond, HALIDES)
    assert end_member_amounts(beyond, HALIDES, inside=False) == (1, -1, 1)


def test_dependent_end_members_are_refused():
    with pytest.raises(CompositionError, match="not independent"):
        end_member_amounts({"Li": 1, "Cl": 1}, [{"Li": 1, "Cl": 1}, {"Li": 2, "Cl": 2}])
    with pytest.raises(CompositionError, match="No end members"):
        end_member_amounts({"Li": 1, "Cl": 1}, [])


@pytest.mark.parametrize("bad", [{}, {"Li": 0}, {"Li": -1}, {"Li": float("nan")}, {"Xx": 1}, {"X": 1}])
def test_impossible_compositions_are_refused(bad):
    with pytest.raises(CompositionError):
        exact_composition(bad)


def test_atoms_in():
    assert atoms_in({"Li": 3.5, "P": 0.5}) == 4


def test_compositions_that_are_no_mixtures_of_others():
    named = ["Li3YCl6", "Li3YCl3Br3", "Li3YBr6", "Li6Y2Cl12", "Li3InCl6"]
    assert extreme([parse_formula(formula) for formula in named]) == [0, 2, 4]
    assert extreme([parse_formula("Li3YCl6")]) == [0]
