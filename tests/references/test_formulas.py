from __future__ import annotations

from fractions import Fraction

import pytest

from superionic.errors import CompositionError
from superionic.references import normal_formula, parse_formula


@pytest.mark.parametrize(
    "formula",
    [
        "Li3YCl6",
        "YLi3Cl6",
        "Cl6YLi3",
        "Li9Y3Cl18",
        "Li1.5Y0.5Cl3",
        "Li₃YCl₆",
        " Li3 Y1 Cl6 ",
        "Li3(YCl6)",
        "LiLi2Y(Cl3)2",
    ],
)
def test_one_compound_many_spellings(formula):
    assert normal_formula(formula) == "Cl6Li3Y"


def test_brackets_and_decimals():
    assert parse_formula("Na3Zr2(SiO4)2PO4") == {"Na": 3, "Zr": 2, "Si": 2, "O": 12, "P": 1}
    assert parse_formula("Li3[In0.5Y.5]Br6") == {"Li": 3, "In": Fraction(1, 2), "Y": Fraction(1, 2), "Br": 6}
    assert normal_formula("Ca3[Fe(CN)6]2") == "C12Ca3Fe2N12"


def test_different_compounds_differ():
    assert normal_formula("Li3YCl6") != normal_formula("Li3YBr6")
    assert normal_formula("CO") != normal_formula("Co")


@pytest.mark.parametrize("bad", ["", "li3ycl6", "3Li", "Li3YCl6)", "(Li3YCl6", "Li3-xYCl6", "Li0", "Li3 + YCl3", "()2"])
def test_what_is_no_formula_is_refused(bad):
    with pytest.raises(CompositionError, match="formula"):
        parse_formula(bad)
