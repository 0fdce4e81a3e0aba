"""What the report says of a pre-screen that was tested on too few orderings to tell its recall."""

from __future__ import annotations

import pytest

from superionic.report.sections.ranking import _about_prescreen
from superionic.results.identity import Material
from superionic.results.ranking import PrescreenAudit


def said(audited: int, entered: int, recall: float):
    audit = PrescreenAudit(Material("a"), "LiCl", 6, 24, audited, entered, 2, recall, (0.0, 1.0), 0.0)
    return list(_about_prescreen("LiCl", "nep89", audit))


@pytest.mark.parametrize(
    ("entered", "severity", "words"), [(0, "caution", "none of them"), (1, "warning", "1 of them")]
)
def test_one_audit_tells_no_recall(entered, severity, words):
    (statement,) = said(1, entered, 0.0)
    assert statement.severity == severity
    assert words in statement.words
    assert "%" not in statement.words
    assert "prescreen_audit" in statement.words


def test_ten_audits_do():
    (statement,) = said(10, 4, 0.5)
    assert statement.severity == "warning"
    assert "kept about 50 %" in statement.words
    assert said(10, 0, 0.99) == []
