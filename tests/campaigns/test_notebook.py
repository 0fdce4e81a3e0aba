"""A campaign in a notebook: its results show themselves, and give the report's figures and tables one by one."""

from __future__ import annotations

import csv
import re

import pytest

from superionic.errors import AnalysisError


def test_every_table_and_figure_of_the_report_can_be_had_by_name(polymorphs):
    results = polymorphs.campaign.load_results()
    files = {path.stem for path in (polymorphs.report / "tables").glob("*.csv")}
    assert set(results.tables) == files >= {"hull", "diffusivities", "arrhenius"}
    drawn = {path.stem for path in (polymorphs.report / "figures").glob("*.svg")}
    without_densities = {name for name in drawn if not name.startswith("density_")}
    assert without_densities <= set(results.figures) <= drawn


def test_a_frame_holds_what_the_csv_file_holds(polymorphs):
    frame = polymorphs.results.to_frame("hull")
    with (polymorphs.report / "tables" / "hull.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(frame.columns) == list(rows[0])
    column = "e_above_hull_eV_per_atom"
    assert [float(row[column]) for row in rows] == pytest.approx(frame[column].tolist(), abs=1e-12)


def test_the_arrhenius_plot_is_drawn_unasked(polymorphs):
    figure = polymorphs.results.plot()
    labels = [axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes]
    assert any("1000" in label and "T" in label for label in labels)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_figure_that_is_not_there_names_those_that_are(polymorphs):
    with pytest.raises(AnalysisError, match="no figure called 'hul'") as caught:
        polymorphs.results.plot("hul")
    assert "hull" in str(caught.value.fix)


def test_results_and_what_they_consist_of_say_themselves_in_five_lines(polymorphs):
    results = polymorphs.results
    parts = [results, *results.hull, *results.rank, results.enumerate, results.transport, results.analyse]
    parts += [*results.analyse.runs[:2], *results.analyse.arrhenius[:2]]
    for part in parts:
        assert 1 <= len(repr(part).splitlines()) <= 5, repr(part)
        assert part._repr_html_().startswith("<table>")
    assert re.search(r"σ\(350 K\)|no σ", repr(results))
    analysis = results.analyse.runs[0].analysis
    assert re.search(r"tracer diffusivity (\S+\(\S+\)\S*|< \S+) cm²/s", repr(analysis))


def test_stage_results_give_a_row_for_each_thing(polymorphs):
    hull = polymorphs.results.hull[0]
    frame = hull.to_frame()
    assert frame["identity"].tolist() == [entry.identity.id for entry in hull.entries]
    runs = polymorphs.results.analyse.to_frame()
    assert len(runs) == len(polymorphs.results.analyse.runs)
    assert runs["tracer_diffusivity_cm2_per_s"].iloc[0] == pytest.approx(
        polymorphs.results.analyse.runs[0].analysis.tracer_diffusivity_cm2_per_s.value
    )
