from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from superionic.report import html
from superionic.report.csv_tables import csv_text
from superionic.report.draw_matplotlib import draw, drawn_from
from superionic.report.html import page
from superionic.report.plots import Panel, Plot, Series
from superionic.report.section import (
    Code,
    CsvTable,
    Line,
    Lines,
    Links,
    Paragraph,
    Section,
    Sources,
    Statements,
)
from superionic.report.table import Table
from superionic.results.campaign import Statement

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\" ' & $x^{$ \u2028"


class Page(HTMLParser):
    """Collects what a page holds."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(re.sub(r"<script.*?</script>", "", source, flags=re.DOTALL))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(autouse=True)
def _without_plotly(monkeypatch):
    monkeypatch.setattr(html, "_plotly_source", lambda: "")  # five megabytes that these tests do not need


def plot(key="hull", words="words", **panel):
    series = [Series([0.0, 1.0, None], [1.0, 2.0, 3.0], words), Series([0, 1], [1, 2], f"{words}2", "line")]
    return Plot(key, words, words, [Panel(series, words, words, words, **panel)])


def rendered(*blocks, csv=(), title="campaign", **more):
    sections = [Section("summary", "Summary", [Paragraph("first")]), Section("place", "Place", blocks, csv)]
    return page(kind="superionic report", title=title, version="1", sections=sections, **more)


def test_words_of_users_cannot_become_markup():
    blocks = [
        Paragraph(EVIL),
        Lines((Line(EVIL, EVIL, "warning"),)),
        Statements(EVIL, (Statement("warning", EVIL), Statement("info", EVIL), Statement("info", EVIL))),
        Code(EVIL),
        Links((EVIL,)),
        Sources(((EVIL, EVIL),)),
        Table(EVIL, [EVIL, EVIL], [[EVIL, EVIL]] * 40, notes=[EVIL]),
        plot(words=EVIL, shaded=[(0.0, 1.0, EVIL)], notes=[(0.0, 1.0, EVIL)]),
    ]
    source = rendered(*blocks, title=EVIL)
    found = Page(source)
    assert "<script>alert" not in source
    assert not any(tag == "img" for tag, _ in found.tags)
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert EVIL.replace("\u2028", "") in "".join(found.words).replace("\u2028", "")
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', source, re.DOTALL).group(1))
    assert charts["chart-hull-0"]["data"][0]["meta"] == EVIL


def test_the_page_loads_nothing_and_names_nothing_twice():
    source = rendered(plot("one"), plot("two"), Table("t", ["a"], [["b"]]), formats=("png", "svg"))
    found = Page(source)
    assert len(found.ids) == len(set(found.ids))
    policy = next(a["content"] for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    targets = [value for _, a in found.tags for name, value in a.items() if name in ("src", "href")]
    assert {"figures/one.png", "figures/two.svg"} <= set(targets)
    assert all(target.startswith(("#", "data:", "figures/")) for target in targets)


def test_long_tables_are_folded_and_very_long_ones_end():
    short, long = ([["x", str(row)] for row in range(count)] for count in (30, 1234))
    source = rendered(Table("short", ["a", "b"], short), Table("long", ["a", "b"], long, frozenset({1})))
    assert source.count('class="fold"') == 1
    assert "Show all 1\N{THIN SPACE}000 rows" in source
    assert "234 further rows in the files below." in source
    assert Page(source).tags.count(("td", {"class": "number short"})) == 1000


def test_sections_name_their_files():
    csv = [CsvTable("hull #1.csv", ("a",), ()), CsvTable("b.csv", ("a",), ())]
    source = rendered(Paragraph("words"), csv=csv)
    assert 'href="tables/hull%20%231.csv"' in source
    assert 'href="b.csv"' in rendered(Paragraph("words"), csv=csv, tables="")


def test_the_first_screen_has_five_lines_at_most():
    with pytest.raises(ValueError, match="five"):
        Lines(tuple(Line("words") for _ in range(6)))


def test_csv_keeps_all_digits_and_leaves_empty_what_is_not_known():
    table = CsvTable("a.csv", ("x", "y"), ((0.1 + 0.2, None), (float("inf"), True), (12, 'a "b", c')))
    assert csv_text(table) == 'x,y\n0.30000000000000004,\n,true\n12,"a ""b"", c"\n'
    with pytest.raises(ValueError, match=r"a\.csv"):
        csv_text(CsvTable("a.csv", ("x", "y"), ((1,),)))


def test_figure_files_carry_no_date_and_no_random_names():
    first, second = (draw(plot(), ("png", "svg", "pdf")) for _ in range(2))
    assert first == second
    assert b"matplotlib" not in first["png"][:1000].lower()
    assert b"dc:date" not in first["svg"]
    assert b"CreationDate" not in first["pdf"]


def test_ends_that_are_not_finite_are_drawn_as_open():
    series = Series([1.0, 2.0], [1.0, 2.0], low=[0.0, 0.0], high=[float("inf"), 3.0])
    found = Plot("a", "c", "d", [Panel([series], y_log=True)])
    assert len(draw(found, ("svg",))["svg"]) < 100_000
    assert "Infinity" not in rendered(found)


def test_the_checksum_of_a_figure_knows_its_data():
    assert drawn_from(plot()) == drawn_from(plot())
    assert drawn_from(plot(words="other")) != drawn_from(plot())


def test_importing_the_report_draws_nothing():
    code = (
        "import sys, superionic.report.export;"
        "sys.exit(any(name in sys.modules for name in ('matplotlib', 'plotly', 'jinja2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_doubts_without_a_short_name_are_doubts_all_the_same():
    from superionic.report.sections.summary import trust_line
    from superionic.results.campaign import Statement

    (line,) = trust_line([Statement("caution", "Few hops (14)."), Statement("info", "Read from a file.")])
    assert line.severity == "caution"
    assert "reservations" in line.words
    assert "1 caution and 1 note" in line.detail
    (calm,) = trust_line([Statement("info", "Read from a file.")])
    assert "no serious doubt" in calm.words
