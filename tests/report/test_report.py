from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from superionic.errors import StorageError
from superionic.report.draw_matplotlib import draw
from superionic.report.export import write_report
from superionic.report.figures import all_plots
from superionic.report.html import page
from superionic.report.summary import statements
from superionic.report.values import STAGES, Results, plain


class Page(HTMLParser):
    """Collects what a page holds."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.words: list[str] = []
        self.feed(re.sub(r"<script.*?</script>", "", source, flags=re.DOTALL))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if (
                name in ("src", "href")
                and value
                and not value.startswith(("#", "data:", "figures/", "tables/", "results.json"))
            ):
                self.outside.append(value)

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def rendered(results, arrays=None) -> str:
    view = Results(results)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "superionic.report.html._plotly_source", lambda: ""
        )  # five megabytes that these tests do not need
        return page(view, all_plots(view, arrays or {}), arrays or {})


def charts_of(html: str) -> dict:
    return json.loads(
        re.search(r'<script type="application/json" id="charts">(.*?)</script>', html, re.DOTALL).group(1)
    )


def test_the_whole_report(demo_results, density_arrays, tmp_path):
    for entry in demo_results["stages"]["analyse"]["runs"]:
        entry["flags"] = ["no_remark_twice"]
    files = write_report(demo_results, tmp_path / "report", arrays=density_arrays, formats=("svg",))
    html = files.html.read_text(encoding="utf-8")
    found = Page(html)
    assert files.html.stat().st_size < 8e6
    assert html.count("plotly.js v") == 1
    assert found.outside == []
    assert len(found.ids) == len(set(found.ids))
    for words in (
        "8.4 mS/cm",
        "0.250 ± 0.045 eV",
        "extrapolated from 600 K",
        "GPAW 26.7.0 PBE",
        "2 students learned from 296 structures labelled by fine-tuned",
        "They passed the gate.",
        "the students' diffusivity is 1.06 times the teacher's",
        "RMS force 905 meV/Å",
        "Böhm 2025",
        "superionic explain",
    ):
        assert words in found.text
    assert found.text.count("No remark twice.") == 1
    assert json.loads(files.json.read_text()) == plain(demo_results)
    assert {"orderings.csv", "hull.csv", "errors.csv", "diffusivities.csv", "arrhenius.csv"} <= set(files.csv)
    expected = [
        "ewald_histogram",
        "ranking",
        "hull",
        "learning_curve",
        "parity",
        "student_parity",
        "student_learning",
        "student_distances",
        "student_properties",
        "volumes",
        "msd",
        "anisotropy",
        "arrhenius",
    ]
    assert [path.stem for path in files.figures][: len(expected)] == expected
    assert files.figures[-1].stem.startswith("density_")
    assert not list((tmp_path / "report").rglob("*.part"))


def test_csv_tables_hold_all_digits(demo_results, tmp_path):
    files = write_report(demo_results, tmp_path, formats=())
    with files.csv["diffusivities.csv"].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    runs = demo_results["stages"]["analyse"]["runs"]
    assert [float(row["tracer_diffusivity_cm2_per_s"]) for row in rows] == [
        run["tracer_diffusivity_cm2_per_s"]["value"] for run in runs
    ]
    assert rows[0]["haven_ratio"] == ""
    with files.csv["arrhenius_points.csv"].open(newline="") as stream:
        points = list(csv.DictReader(stream))
    fit = demo_results["stages"]["analyse"]["arrhenius"][0]
    assert [float(row["sigma_high68"]) for row in points] == [pair[1] for pair in fit["sigma_interval68"]]


def test_the_same_results_make_the_same_bytes_in_another_process(demo_results, density_arrays, tmp_path):
    one = write_report(demo_results, tmp_path / "1", arrays=density_arrays, formats=())
    code = (
        "import json, sys, numpy; from superionic.report.export import write_report;"
        "results = json.load(open(sys.argv[1]));"
        "write_report(results, sys.argv[2], arrays={'density-0': numpy.load(sys.argv[3])}, formats=())"
    )
    np.save(tmp_path / "grid.npy", density_arrays["density-0"])
    command = [sys.executable, "-c", code, str(one.json), str(tmp_path / "2"), str(tmp_path / "grid.npy")]
    subprocess.run(command, check=True)
    paths = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*") if path.is_file())
    assert paths == sorted(path.relative_to(tmp_path / "2") for path in (tmp_path / "2").rglob("*") if path.is_file())
    for path in paths:
        assert (tmp_path / "1" / path).read_bytes() == (tmp_path / "2" / path).read_bytes(), path


def test_figure_files_carry_no_date_and_no_random_names(triangle_results):
    plots = [plot for plot in all_plots(Results(triangle_results), {}) if plot.key == "hull"]
    first, second = (draw(plots[0], ("png", "svg", "pdf")) for _ in range(2))
    assert first == second
    assert b"matplotlib" not in first["png"][:1000].lower()
    assert b"dc:date" not in first["svg"]
    assert b"CreationDate" not in first["pdf"]


@pytest.mark.parametrize("stage", STAGES)
def test_any_stage_may_be_missing(demo_results, stage):
    del demo_results["stages"][stage]
    assert Page(rendered(demo_results)).text


@pytest.mark.parametrize("stage", STAGES)
def test_any_stage_may_be_empty(demo_results, stage):
    emptied = {key: [] if isinstance(value, list) else value for key, value in demo_results["stages"][stage].items()}
    demo_results["stages"][stage] = emptied
    assert Page(rendered(demo_results)).text


@pytest.mark.parametrize("results", [{}, {"stages": {}}, {"stages": {"analyse": {"runs": []}}}])
def test_nothing_is_said_to_be_nothing(results, tmp_path):
    files = write_report(results, tmp_path)
    found = Page(files.html.read_text(encoding="utf-8"))
    assert "This campaign has no results yet." in found.text
    assert "There is no conductivity, activation energy or stability to report yet." in found.text
    assert "Stability was not computed." in found.text
    assert files.figures == ()
    assert files.html.stat().st_size < 100_000


def nothing_known(value):
    """Return the same shape with every number unknown."""
    if isinstance(value, dict):
        return {key: nothing_known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nothing_known(item) for item in value]
    return None if isinstance(value, int | float) and not isinstance(value, bool) else value


@pytest.mark.parametrize("name", ["demo_results", "line_results", "triangle_results"])
def test_every_number_may_be_unknown(request, name):
    results = plain(request.getfixturevalue(name))
    assert Page(rendered(nothing_known(results))).text


def test_not_finite_numbers_become_null(demo_results, tmp_path):
    run = demo_results["stages"]["analyse"]["runs"][0]
    run["tracer_diffusivity_cm2_per_s"] = {
        "value": 1e-7,
        "error": np.inf,
        "interval68": [0.0, np.inf],
        "interval95": [0, np.inf],
    }
    demo_results["stages"]["rank"]["entries"][0]["relaxed_eV_per_atom"] = np.float32("nan")
    files = write_report(demo_results, tmp_path, formats=())
    written = json.loads(files.json.read_text())
    assert written["stages"]["analyse"]["runs"][0]["tracer_diffusivity_cm2_per_s"]["interval68"] == [0.0, None]
    assert written["stages"]["rank"]["entries"][0]["relaxed_eV_per_atom"] is None
    assert "no upper bound" in Page(files.html.read_text(encoding="utf-8")).text


def test_words_of_users_cannot_become_markup(demo_results):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>$x^{$"
    demo_results["campaign"] = evil
    demo_results["stages"]["analyse"]["arrhenius"][0]["formula"] = evil
    demo_results["stages"]["hull"]["entries"][0]["id"] = evil
    demo_results["stages"]["label"]["rejected"] = [{"label": evil, "reason": evil}]
    demo_results["stages"]["rank"]["entries"][0]["id"] = evil
    html = rendered(demo_results)
    assert "<script>alert" not in html
    assert "img" not in Page(html).tags
    assert charts_of(html)
    plots = [plot for plot in all_plots(Results(demo_results), {}) if plot.key == "hull"]
    assert draw(plots[0], ("svg",))["svg"]


@pytest.mark.parametrize("name", ["demo_results", "line_results", "triangle_results"])
def test_the_charts_are_valid_plotly(request, name, density_arrays):
    plotly = pytest.importorskip("plotly.graph_objects")
    charts = charts_of(rendered(request.getfixturevalue(name), density_arrays))
    assert charts
    for chart in charts.values():
        plotly.Figure({"data": chart["data"], "layout": chart["layout"]})


def test_hull_by_number_of_end_members(demo_results, line_results, triangle_results):
    def hull_of(results):
        return next(plot for plot in all_plots(Results(results), {}) if plot.key == "hull")

    assert hull_of(demo_results).panels[0].categories
    line = hull_of(line_results).panels[0]
    assert "Li₃YBr₆" in line.x_label
    drawn = next(series for series in line.series if series.label == "convex hull")
    lowest = min(y for series in line.series for y in series.y)
    assert min(drawn.y) == lowest
    assert hull_of(triangle_results).panels[0].bare


def test_published_values_meet_ours_of_the_same_composition(demo_results):
    for record in demo_results["stages"]["analyse"]["comparison"]:
        record["formula"] = "Li3YCl6"  # ours is written Li9Y3Cl18
    plots = {plot.key: plot for plot in all_plots(Results(demo_results), {})}
    labels = {series.label for series in plots["arrhenius"].panels[0].series}
    assert any("measured (published)" in label for label in labels)
    pairs = plots["conductivity_and_activation_energy"].panels[0].series
    assert len(pairs) == 4
    assert any("Asano 2018" in series.label for series in pairs)


def test_trust_is_said_in_words(demo_results):
    demo_results["stages"]["label"]["labeller"]["code"] = "potential:pair"
    demo_results["warnings"] = ["few_structures"]
    found = statements(Results(demo_results))
    words = " ".join(statement.words for statement in found)
    assert found[0].severity == "warning"
    assert "Few structures." in words
    assert "stand-in potential (pair), not from a DFT code" in words
    assert "1 of 3 runs saw fewer than 30 hops" in words
    assert "statistically thin: the 68 % interval spans a factor of 7.3" in words
    assert "Stability was not tested" in words
    assert "12 ps long" in words
    assert len({statement.words for statement in found}) == len(found)


def test_two_temperatures_are_called_two(line_results):
    words = " ".join(statement.words for statement in statements(Results(line_results)))
    assert "Two temperatures fix an Arrhenius line but cannot show whether it is straight" in words
    assert "7 others" in words


def test_a_missing_grid_is_named(demo_results):
    assert "was not at hand" in Page(rendered(demo_results, {})).text


def test_stale_figures_go_and_files_of_others_stay(demo_results, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "polymorphs.png").write_bytes(b"old")
    (tmp_path / "figures" / "mine.png").write_bytes(b"mine")
    demo_results["stages"] = {"train": demo_results["stages"]["train"]}
    write_report(demo_results, tmp_path, formats=("svg",))
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["learning_curve.svg", "mine.png"]


def test_an_unwritable_folder_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as caught:
        write_report({}, tmp_path / "file" / "report")
    assert caught.value.fix
    assert str(tmp_path) in caught.value.where


def test_what_is_not_data_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"results\.stages\.rank"):
        write_report({"stages": {"rank": object()}}, tmp_path)
    with pytest.raises(ValueError, match="gif"):
        write_report({}, tmp_path, formats=("gif",))


def test_importing_the_report_draws_nothing():
    code = (
        "import sys, superionic.report.export; sys.exit(any(name in sys.modules for name in ('matplotlib', 'plotly')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_assets_are_part_of_the_package():
    import superionic.report as room

    folder = Path(room.__file__).parent
    assert (folder / "page.css").is_file()
    assert (folder / "page.js").is_file()
