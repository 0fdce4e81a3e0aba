from __future__ import annotations

import pytest

from superionic.report.tables_ranking import comparisons, culling, ranking_doubts
from superionic.report.values import Results


def results(**rank):
    return Results({"campaign": "x", "stages": {"rank": rank}})


GROUP = {
    "audits": [{"audited": 6, "culled": 50, "entered": 1}, {"audited": 6, "culled": 30, "entered": 0}],
    "culled": 30,
    "evaluations": 1500,
    "evaluations_if_all": 4000.4,
    "group": "P-3m1 Li3YCl6",
    "orderings": 100,
    "recall": 0.8,
    "recall_interval95": [0.6, 0.95],
    "relaxed": 76,
    "wanted": 20,
    "widened": True,
}
OTHER = {
    "after": "same structures",
    "first": "chgnet",
    "second": "sevennet",
    "groups": [
        {
            "formula": "Li3YCl6",
            "kendall": {"value": 0.25, "low": 0.1, "high": 0.4},
            "lowest_count": 5,
            "lowest_shared": 0.4,
            "mean_difference_left_meV_per_atom": 0.0,
            "n": 12,
            "same_lowest": False,
            "spearman": {"value": 0.31, "low": 0.1, "high": 0.5},
            "spread_meV_per_atom": [2.0, 3.0],
        }
    ],
}


def test_the_page_tells_what_was_culled_and_what_may_be_missing():
    table = culling(results(halving=[GROUP]))
    assert table.rows[0][:7] == ["P-3m1 Li3YCl6", "100", "76", "30", "1\u2009500", "4\u2009000", "1 of 6; 0 of 6"]
    assert table.rows[0][-1] == "yes"
    assert len(table.columns) == len(table.rows[0])
    doubts = ranking_doubts(results(halving=[GROUP]))
    assert [severity for severity, _ in doubts] == ["caution", "info"]
    assert "20 lowest orderings" in doubts[0][1]
    assert "80 %" in doubts[0][1]
    assert ranking_doubts(results(halving=[{**GROUP, "recall": 1.0, "widened": False}])) == []


def test_the_page_tells_how_far_potentials_agree():
    table = comparisons(results(comparisons=[OTHER]))
    assert len(table.columns) == len(table.rows[0])
    assert table.rows[0][:4] == ["sevennet", "same structures", "Li₃YCl₆", "12"]
    assert "2 of 5" in table.rows[0]
    ((severity, words),) = ranking_doubts(results(comparisons=[OTHER]))
    assert severity == "caution"
    assert "chgnet and sevennet" in words


@pytest.mark.parametrize("table", [culling, comparisons])
def test_without_them_there_is_no_table(table):
    assert table(results()) is None
    assert table(results(halving=[], comparisons=[])) is None
