"""The report of real campaigns: its first screen, its files, and that nothing is drawn twice."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html import unescape

import pytest

from superionic.references import all_values
from superionic.report import export
from superionic.report.contents import report_sections
from superionic.report.doubts import statements
from superionic.report.export import write_report
from superionic.report.folder import MANIFEST
from superionic.report.section import Lines, Section, Statements
from superionic.report.sections import comparison, failures, summary
from superionic.results.document import from_json

CAMPAIGNS = ("two-axes", "polymorphs", "monte-carlo", "ladder", "committee")


@pytest.fixture(params=CAMPAIGNS)
def any_campaign(request, finished):
    return finished(request.param)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def words_of(page):
    text = re.sub(r"<(script|style).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_the_results_are_in_the_folder_and_come_back_equal(any_campaign):
    text = (any_campaign.report / "results.json").read_text(encoding="utf-8")
    assert from_json(text) == any_campaign.results


def test_all_that_the_report_wrote_is_in_its_manifest_and_on_its_page(any_campaign):
    named = set(json.loads((any_campaign.report / MANIFEST).read_text())["files"])
    there = {
        path.relative_to(any_campaign.report).as_posix() for path in any_campaign.report.rglob("*") if path.is_file()
    }
    assert named == there - {MANIFEST}
    page = unescape((any_campaign.report / "report.html").read_text(encoding="utf-8"))
    for name in named - {"report.html"}:
        assert name in page, name


def test_keys_of_sections_and_figures_are_unique(any_campaign):
    sections = report_sections(any_campaign.results, {}, ())
    for keys in (
        [section.key for section in sections],
        [plot.key for section in sections for plot in section.plots],
        [table.name for section in sections for table in section.csv],
    ):
        assert [key for key, count in Counter(keys).items() if count > 1] == []


def test_the_doubts_are_said_once_the_gravest_first(any_campaign):
    found = any_campaign.results.statements
    assert found == statements(any_campaign.results)
    assert len({statement.words for statement in found}) == len(found)
    gravity = [("warning", "caution", "info").index(statement.severity) for statement in found]
    assert gravity == sorted(gravity)
    page = words_of(any_campaign.report / "report.html")
    assert all(" ".join(statement.words.split()) in page for statement in found)


def test_the_headline_is_at_the_first_temperature_asked_for(two_axes):
    first = summary.section(two_axes.results).blocks[0]
    assert isinstance(first, Lines)
    assert "σ(800 K)" in first.lines[0].words
    assert first.lines[-1].words.startswith("Trust: ")
    assert len(first.lines) <= 5
    page = words_of(two_axes.report / "report.html")
    assert "σ(300 K)" not in page
    assert "not computed" not in page


def test_materials_have_their_numbers_in_the_file(polymorphs):
    rows = rows_of(polymorphs.report / "tables" / "materials.csv")
    found = {each.material: each for each in polymorphs.results.analyse.arrhenius}
    assert len(rows) == 2 * len(found)
    for material, each in found.items():
        own = [
            row
            for row in rows
            if row["crystal"] == material.crystal and float(row["Br_per_Li3YCl6"]) == material.point[0].value
        ]
        assert [float(row["temperature_K"]) for row in own] == [350.0, 800.0]
        for row in own:
            value = each.dependence.conductivity_at(float(row["temperature_K"]))
            assert row["sigma_S_per_cm"] == ("" if value is None else repr(value.value_S_per_cm))
            assert row["Ea_eV"] == ("" if each.dependence.Ea_eV is None else repr(each.dependence.Ea_eV))
            assert float(row["e_above_hull_eV_per_atom"]) >= 0.0
            assert row["key"] == each.key


def test_no_headline_along_a_line_that_rises_on_cooling(polymorphs, two_axes):
    for campaign in (polymorphs, two_axes):
        for each in campaign.results.analyse.arrhenius:
            headline = each.dependence.headline
            if headline is not None and headline.extrapolated:
                assert each.dependence.Ea_eV > 0.0


def test_published_values_stand_beside_ours_of_the_same_polymorph_and_pressure(polymorphs):
    spacegroups = {crystal.name: crystal.spacegroup_number for crystal in polymorphs.results.crystals}
    found = list(comparison.comparisons(polymorphs.results))
    assert {item.own.quantity for item in found} >= {"volume_per_atom", "conductivity", "mae_force"}
    for item in (item for item in found if item.of.material is not None):  # errors on labels are of no one material
        published = item.published
        assert published in all_values()
        assert published.spacegroup in (None, spacegroups[item.of.material.crystal])
        assert abs((published.pressure_GPa or 0.0) - (item.own.pressure_GPa or 0.0)) < 0.01
    rows = rows_of(polymorphs.report / "tables" / "comparison.csv")
    assert [float(row["ours"]) for row in rows] == [item.own.value for item in found]
    assert [float(row["published"]) for row in rows] == [item.published.value for item in found]


def test_every_run_at_constant_pressure_is_compared_by_its_volume(monte_carlo):
    from superionic.report.own_results import own_results

    volumes = [own for own in own_results(monte_carlo.results) if own.run is not None]
    assert [own.run for own in volumes] == [run.run for run in monte_carlo.results.transport.runs]


def test_failures_have_their_keys(any_campaign):
    rows = rows_of(any_campaign.report / "tables" / "rejections.csv")
    assert [row["key"] for row in rows] == [item.key for item in failures.left_out(any_campaign.results)]
    assert all(len(row["key"]) == 64 for row in rows)


def test_what_has_not_run_is_said_and_breaks_nothing(any_campaign):
    stages = ("enumerate", "select", "learning", "validate", "distil", "transport", "analyse", "draws")
    rounds = ("rank", "hull", "sample", "label", "train")
    for changes in ({name: None} for name in stages), ({name: ()} for name in rounds):
        for change in changes:
            report_sections(replace(any_campaign.results, **change), {}, ())
    without = ("statements", "warnings", "cells", "further")
    nothing = replace(any_campaign.results, **dict.fromkeys(stages), **dict.fromkeys((*rounds, *without), ()))
    sections = report_sections(nothing, {}, ())
    words = " ".join(block.words for section in sections for block in section.blocks if hasattr(block, "words"))
    assert "This campaign has no results yet." in words
    assert "There is no conductivity, activation energy or stability to report yet." in words
    drawn = [plot.key for section in sections for plot in section.plots]
    assert drawn == [f"crystal_{crystal.name}" for crystal in nothing.crystals]


def test_the_same_results_make_the_same_bytes_in_another_process(monte_carlo, tmp_path):
    code = (
        "import sys; from superionic.report.export import write_report;"
        "from superionic.results.document import read_results;"
        "write_report(read_results(sys.argv[1]), sys.argv[2], formats=())"
    )
    write_report(monte_carlo.results, tmp_path / "1", formats=())
    command = [sys.executable, "-c", code, str(monte_carlo.report / "results.json"), str(tmp_path / "2")]
    subprocess.run(command, check=True)
    paths = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*") if path.is_file())
    assert paths == sorted(path.relative_to(tmp_path / "2") for path in (tmp_path / "2").rglob("*") if path.is_file())
    for path in paths:
        assert (tmp_path / "1" / path).read_bytes() == (tmp_path / "2" / path).read_bytes(), path


def test_only_what_changed_is_drawn_again(monte_carlo, tmp_path, monkeypatch):
    drawn = []

    def counted(plot, formats):
        drawn.append(plot.key)
        return {kind: f"{plot.key} drawn".encode() for kind in formats}

    monkeypatch.setattr(export, "draw", counted)
    first = write_report(monte_carlo.results, tmp_path)
    assert len(drawn) == len(first.figures) // 2 > 3
    drawn.clear()
    assert write_report(monte_carlo.results, tmp_path).figures == first.figures
    assert drawn == []
    (tmp_path / "figures" / "msd.png").unlink()
    (tmp_path / "figures" / "hull.svg").write_bytes(b"scribbled over")
    write_report(monte_carlo.results, tmp_path)
    assert sorted(drawn) == ["hull", "msd"]


def test_what_the_next_report_does_not_have_is_removed(monte_carlo, tmp_path):
    def structures(place):
        (place / "structures").mkdir()
        (place / "structures" / "one.cif").write_text("data_one")

    write_report(monte_carlo.results, tmp_path, formats=("svg",), further=structures)
    (tmp_path / "figures" / "mine.svg").write_text("mine")
    assert (tmp_path / "structures" / "one.cif").exists()
    write_report(replace(monte_carlo.results, transport=None, analyse=None), tmp_path, formats=("svg",))
    assert not (tmp_path / "structures").exists()
    assert sorted(path.stem for path in (tmp_path / "figures").iterdir()) == [
        "cells",
        "crystal_p-3m1",
        "hull",
        "mine",
        "published_values",
        "site_occupancies",
    ]


def test_unknown_formats_are_refused(monte_carlo, tmp_path):
    with pytest.raises(ValueError, match="gif"):
        write_report(monte_carlo.results, tmp_path, formats=("gif",))


def test_the_charts_are_valid_plotly(two_axes, monte_carlo):
    plotly = pytest.importorskip("plotly.graph_objects")
    for campaign in (two_axes, monte_carlo):
        page = (campaign.report / "report.html").read_text(encoding="utf-8")
        charts = json.loads(re.search(r'id="charts">(.*?)</script>', page, re.DOTALL).group(1))
        assert charts
        for chart in charts.values():
            plotly.Figure({"data": chart["data"], "layout": chart["layout"]})


def test_the_settings_are_a_table(two_axes):
    page = words_of(two_axes.report / "report.html")
    assert "transport temperatures_K 900, 1200" in page
    assert "{" not in page


def test_a_section_is_made_of_blocks_that_the_page_knows(any_campaign):
    for section in report_sections(any_campaign.results, {}, ()):
        assert isinstance(section, Section)
        assert not isinstance(section.blocks[0], Statements)
