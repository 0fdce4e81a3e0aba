"""Several series of runs in one campaign, and several campaigns, side by side: results, report, files, CLI, Python."""

from __future__ import annotations

import contextlib
import csv
import json

import pytest

import superionic
from superionic import Campaign
from superionic.cli import main
from superionic.errors import AnalysisError
from superionic.report.sections import series as section_of_series
from superionic.report.table import Table
from superionic.results.document import from_json, to_json

from .conftest import write_campaign

NAMES = ["1-bar", "10-kbar", "softer", "too-hot"]


def rows_of(report, name):
    with (report / "tables" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_series_is_analysed_by_itself(series):
    results = series.results
    assert from_json(to_json(results)) == results
    assert results.status == "complete"
    assert results.transport.series == "1-bar"
    assert [each.name for each in results.series] == NAMES[1:]
    assert [(each.potential, each.pressure_GPa) for each in results.series] == [
        ("pair", 1.0), ("softer", 1e-4), ("pair", None),
    ]  # fmt: skip
    runs = [each.run for each in results.transport.runs]
    for each in results.series[:2]:
        assert {run.run.series for run in each.transport.runs} == {each.name}
        assert len(each.transport.runs) == len(each.analyse.runs) == len(results.transport.runs) == 2
        assert each.analyse.arrhenius[0].n_runs == 2
        assert each.analyse.densities == ()
        runs += [run.run for run in each.transport.runs]
    assert len({run.label for run in runs}) == 6
    first, squeezed, softer = results.of_each_series[:3]
    volumes = [view.transport.runs[0].mean_cell.volume_per_atom_A3.value for view in (first, squeezed, softer)]
    assert volumes[1] < volumes[0] < volumes[2]  # a pressure compresses, and weaker charges attract less
    assert len({view.analyse.arrhenius[0].dependence.points[0].diffusivity_cm2_per_s.estimate.value
                for view in (first, squeezed, softer)}) == 3  # fmt: skip


def test_a_series_that_cannot_run_is_a_finding(series):
    hot = series.results.series[-1]
    assert hot.transport is None
    assert hot.analyse is None
    assert "every transport run failed" in hot.not_run
    said = [statement.words for statement in series.results.statements if "too-hot" in statement.words]
    assert said[0].startswith("The series too-hot has no values: every transport run failed")
    assert any(each.words.startswith("Series 10-kbar: ") for each in series.results.statements)


def test_a_campaign_with_the_first_series_alone_repeats_none_of_its_dynamics(series, root, tmp_path):
    text = series.campaign.path.read_text(encoding="utf-8")
    head, _, rest = text.partition("  - name: 1-bar\n")
    block, _, tail = rest.partition("  - {name: 10-kbar")
    mapping = "".join(f"{line[2:]}\n" for line in block.splitlines())
    alone = write_campaign(root, tmp_path, head + mapping + tail[tail.index("\nanalyse:") + 1 :])
    pending = Campaign.load(alone, run_folder=series.campaign.run_folder).status().pending
    assert {task.label.split(" of ")[0] for task in pending} == {"trajectory"}


def test_the_report_has_a_table_like_that_of_the_paper(series):
    section = section_of_series.section(series.results)
    table = next(block for block in section.blocks if isinstance(block, Table))
    by = {(row[1], row[2], row[3]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert [row[1] for row in table.rows[:4]] == NAMES
    volumes = [name for name in table.columns if name.startswith("V(")]
    assert volumes == ["V(0 K), Å³/atom", "V(300 K), Å³/atom"]  # those of the stage `volumes`, not of the runs
    # Paper B, table 1: neutron diffraction and impedance of three samples; the fine-tuned CHGNet at 10 kbar.
    schlem = next(row for (source, _, _), row in by.items() if source == "Schlem 2021")
    assert schlem["V(300 K), Å³/atom"] == "21.9"
    assert schlem["Eₐ, eV"] == "0.411; 0.44; 0.49"
    assert schlem["σ(300 K), mS/cm"] == "0.09; 0.06; 0.04"
    tuned = next(row for (_, how, pressure), row in by.items() if "fine-tuned" in how and pressure == "1")
    assert tuned["Eₐ, eV"] == "0.24 ± 0.01"
    assert tuned["V(300 K), Å³/atom"] == "22.6"
    softer = by["softer", "softer", "0.0001"]
    of_stage = series.results.volumes.runs[0].mean_cell.volume_per_atom_A3.value
    assert float(softer["V(300 K), Å³/atom"].split(" ")[0]) == pytest.approx(of_stage, abs=0.1)
    again = [(each.potential, each.pressure_GPa) for each in series.results.further_volumes]
    assert again == [("pair", 1e-4), ("pair", 1.0)]  # not twice for one pair, and not for runs in the relaxed cell
    squeezed = series.results.further_volumes[1]
    mean = squeezed.runs[0].mean_cell.volume_per_atom_A3.value
    assert float(by["10-kbar", "pair", "1"]["V(300 K), Å³/atom"].split(" ")[0]) == pytest.approx(mean, abs=0.1)
    assert squeezed.relaxed[0].volume_A3_per_atom < series.results.further_volumes[0].relaxed[0].volume_A3_per_atom
    assert by["too-hot", "pair", "–"]["V(300 K), Å³/atom"] == "–"
    titles = [panel.title for plot in section.plots for panel in plot.panels]
    assert len(titles) == 2
    assert titles[0].endswith("conductivity")
    assert titles[1].endswith("volume")
    page = (series.report / "report.html").read_text(encoding="utf-8")
    assert section_of_series.TITLE in page
    assert [plot.title for plot in section.plots] == ["Conductivity and volume by each series"]


def test_files_have_every_value_of_every_series(series):
    views = dict(zip(NAMES, series.results.of_each_series, strict=True))
    rows = rows_of(series.report, "series.csv")
    assert [(row["series"], row["temperature_K"]) for row in rows] == [
        (n, t) for n in NAMES for t in ("300.0", "900.0")
    ]
    for row in rows:
        analysed = views[row["series"]].analyse
        if analysed is None:
            assert row["Ea_eV"] == row["sigma_S_per_cm"] == row["key"] == ""
            assert row["n_runs"] == "0"
            continue
        line = analysed.arrhenius[0]
        assert row["key"] == line.key
        value = line.dependence.conductivity_at(float(row["temperature_K"]))
        assert row["sigma_S_per_cm"] == ("" if value is None else repr(value.value_S_per_cm))
    volumes = rows_of(series.report, "series_volumes.csv")
    assert {(row["series"], float(row["temperature_K"])) for row in volumes} == {
        (name, temperature) for name in NAMES[:3] for temperature in (0.0, 300.0, 900.0, 1200.0)
    }
    published = rows_of(series.report, "series_published.csv")
    assert {row["pressure_GPa"] for row in published} == {"", "0.0001", "1.0"}


def test_the_analysis_of_trajectories_keeps_series_apart(series):
    made = superionic.analyse(series.campaign.run_folder, mobile="Li", report_temperatures_K=(900,))
    assert {(each.series, each.dependence.n_runs) for each in made.arrhenius} == {(name, 2) for name in NAMES[:3]}


def test_campaigns_are_compared_from_the_command_line_and_from_python(
    series, polymorphs, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "250")
    compared = superionic.compare_campaigns([series.campaign.path, polymorphs.campaign])
    names = [view.name for view in compared.series]
    assert names == [*(f"series: {name}" for name in NAMES), "polymorphs"]
    frame = compared.to_frame("series_volumes")
    trigonal = frame[(frame["spacegroup_number"] == 164) & (frame["formula"] == "Li3YCl6")]
    assert set(trigonal["series"]) == {*(f"series: {name}" for name in NAMES[:3]), "polymorphs"}
    monoclinic = frame[frame["spacegroup_number"] == 12]
    assert set(monoclinic["series"]) == {"polymorphs"}
    assert compared.figures == ("series",)
    drawn = [
        each for plot in compared.section.plots for panel in plot.panels for each in panel.series if each.label in names
    ]
    colours = {each.label: {other.colour for other in drawn if other.label == each.label} for each in drawn}
    assert all(len(own) == 1 for own in colours.values())  # one in all panels
    assert len(set.union(*colours.values())) == len(colours)  # and a different one for each
    with contextlib.suppress(SystemExit):
        main(["compare", str(series.campaign.path), str(polymorphs.campaign.path.parent), "-o", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "Schlem 2021" in shown
    assert (tmp_path / "compare.html").is_file()
    assert (tmp_path / "tables" / "series.csv").is_file()
    with contextlib.suppress(SystemExit):
        main(["compare", str(series.campaign.path), "--json"])
    tables = json.loads(capsys.readouterr().out)
    assert [row["series"] for row in tables["series"]][::2] == NAMES


def test_campaigns_without_transport_are_not_compared(series, halving):
    with pytest.raises(AnalysisError, match="has no transport runs"):
        superionic.compare_campaigns([series.results, halving.results])
