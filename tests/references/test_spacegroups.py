from __future__ import annotations

import pytest

from superionic.errors import AnalysisError
from superionic.references import spacegroup_number, spacegroup_symbol


def test_polymorphs_of_the_papers():
    symbols = ("P-3m1", "C2/m", "Pnma", "Cmcm", "Pmn21", "R-3c")
    assert [spacegroup_number(symbol) for symbol in symbols] == [164, 12, 62, 63, 31, 167]
    assert spacegroup_number("P2_1/c") == spacegroup_number("P 21/c") == spacegroup_number(14) == 14
    assert spacegroup_number("R-3c:H") == 167


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_all_symbols_against_spglib():
    spglib = pytest.importorskip("spglib")
    standard = {}
    for hall in range(1, 531):
        group = spglib.get_spacegroup_type(hall)
        standard.setdefault(group.number, group.international_short)
    assert {number: spacegroup_number(symbol) for number, symbol in standard.items()} == {n: n for n in standard}
    assert [spacegroup_symbol(n) for n in range(1, 231)] == [standard[n].replace("_", "") for n in range(1, 231)]


@pytest.mark.parametrize("wrong", ["", "C2/q", "Pbnm", 0, 231, -1])
def test_what_is_no_space_group_is_refused(wrong):
    with pytest.raises(AnalysisError, match="space group"):
        spacegroup_number(wrong)
