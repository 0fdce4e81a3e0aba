"""What converges with the number of labels, in a real campaign: trainings, orders, runs, report, files, plan."""

from __future__ import annotations

import csv

import pytest

from superionic import Campaign
from superionic.potentials.exported import read_exported
from superionic.report.sections import series as section_of_series
from superionic.report.sections import sizes as section_of_sizes
from superionic.report.table import Table
from superionic.results.document import from_json, to_json

from .conftest import write_campaign

NAMES = ["fine-tuned@0", "fine-tuned@8", "fine-tuned"]


def rows_of(report, name):
    with (report / "tables" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_number_of_labels_has_a_potential_with_errors_and_an_order(sizes):
    results = sizes.results
    assert from_json(to_json(results)) == results
    assert results.status == "complete"
    of = results.sizes
    assert [(model.n_labels, model.potential) for model in of.models] == [(0, NAMES[0]), (8, NAMES[1]), (16, NAMES[2])]
    assert of.models[-1].n_labels == results.trained.n_train
    assert of.models[-1].key == results.trained.key
    assert of.models[0].key is None
    assert {each.potential: each.reason for each in of.left_out} == {"fine-tuned@500": "the training set has 16 labels"}
    (held_out,) = of.sets
    assert held_out.n_structures == results.trained.n_test == results.validate.errors.n_structures
    assert of.n_validation == results.trained.n_validation
    few, whole = of.models[1].errors[0].errors, of.models[2].errors[0].errors
    # The errors of the potential of all labels are those that `validate` measures with the same labels.
    assert whole.mae_force_meV_per_A == pytest.approx(results.validate.errors.after.mae_force_meV_per_A)
    assert whole.mae_energy_meV_per_atom == pytest.approx(results.validate.errors.after.mae_energy_meV_per_atom)
    assert few.mae_force_meV_per_A > whole.mae_force_meV_per_A
    for model in of.models:
        lowest = min(height.above_eV_per_atom for height in model.heights)
        assert len(model.heights) == 3
        assert lowest == pytest.approx(0.0, abs=1e-9)
    reference = {height.identity: height.above_eV_per_atom for height in of.models[-1].heights}
    for model in of.models[:-1]:
        changes = [1000.0 * abs(each.above_eV_per_atom - reference[each.identity]) for each in model.heights]
        assert model.order.n == model.order.n_compared * 3 == 3
        assert model.order.mean_change_meV_per_atom == pytest.approx(sum(changes) / 3)
        assert model.order.largest_change_meV_per_atom == pytest.approx(max(changes))
    assert of.models[-1].order is None


def test_each_potential_drives_the_runs_of_the_first_series(sizes):
    results = sizes.results
    assert [(each.name, each.potential) for each in results.series] == [
        ("0-labels", "fine-tuned@0"), ("8-labels", "fine-tuned@8"), ("500-labels", "fine-tuned@500"),
    ]  # fmt: skip
    untrained, few, too_many = results.series
    first = {(each.run.ordering, each.run.temperature_K) for each in results.transport.runs}
    assert {(each.run.ordering, each.run.temperature_K) for each in untrained.transport.runs} == first
    assert {each.run.potential for each in untrained.transport.runs} == {"fine-tuned@0"}
    assert untrained.analyse.arrhenius[0].n_runs == 2
    assert "the temperature ran away" in few.not_run  # eight labels are too few, which is a finding
    assert too_many.not_run == "the training set has 16 labels"
    said = [each.words for each in results.statements]
    assert "No potential was trained on 500 labels (`learn.sizes`): the training set has 16 labels." in said
    assert any(words.startswith("The series by the potential of 8 labels: It has no values") for words in said)
    assert any(words.startswith("The last epoch of the training on 8, 16 labels was its best") for words in said)
    assert not any("500-labels" in words for words in said)  # once is enough


def test_the_report_has_a_section_and_files_for_them(sizes):
    section = section_of_sizes.section(sizes.results)
    assert [plot.key for plot in section.plots] == ["sizes_errors", "sizes", "sizes_series"]
    errors, order, compared = [block for block in section.blocks if isinstance(block, Table)]
    assert [row[:2] for row in errors.rows] == [["0", NAMES[0]], ["8", NAMES[1]], ["16", NAMES[2]]]
    assert [row[0] for row in order.rows] == ["0", "8", "16"]
    assert [row[1] for row in compared.rows[:3]] == ["0 labels (as it sampled)", "8 labels", "all 16 labels"]
    assert any(row[1] == "Schlem 2021" for row in compared.rows)
    conductivity = next(panel for panel in section.plots[1].panels if panel.y_log)
    assert {one.x[0] for one in conductivity.series if one.kind == "points"} == {0.0, 16.0}
    assert any("published" in one.label for one in conductivity.series)
    assert section_of_series.section(sizes.results).blocks == []  # there are no others to compare
    rows = rows_of(sizes.report, "sizes.csv")
    assert [row["n_labels"] for row in rows] == ["0", "8", "16"]
    last = sizes.results.sizes.models[-1].errors[0].errors
    assert float(rows[-1]["rmse_energy_meV_per_atom"]) == last.rmse_energy_meV_per_atom  # paper A, figure 2b
    assert [row["spearman"] == "" for row in rows_of(sizes.report, "sizes_order.csv")] == [False, False, True]
    assert len(rows_of(sizes.report, "sizes_energies.csv")) == 9
    driven = rows_of(sizes.report, "sizes_series.csv")
    assert {row["potential"] for row in driven} == set(NAMES)
    assert section_of_sizes.TITLE in (sizes.report / "report.html").read_text(encoding="utf-8")


def test_a_potential_of_fewer_labels_is_exported_with_what_it_was_trained_on(sizes, tmp_path):
    about = read_exported(sizes.campaign.export_model("fine-tuned@8", tmp_path / "few.potential").path)
    few = sizes.results.sizes.models[1]
    assert about.trained_on["task"] == few.key
    assert (about.trained_on["n_train"], about.trained_on["n_validation"]) == (8, sizes.results.trained.n_validation)
    errors = about.trained_on["errors"]
    assert errors["after"]["mae_force_meV_per_A"] == few.errors[0].errors.mae_force_meV_per_A


def test_the_plan_counts_them_and_says_which_number_is_too_large(sizes):
    lines = {line.stage: line.work for line in sizes.campaign.check().lines}
    assert "others on 8 of them; none on 500: the training set will have about 16 labels" in lines["train"]
    assert "the lowest 3 again by potentials of 3 numbers of labels" in lines["rank"]
    assert "8-labels: 2 runs" in lines["transport"]
    assert "500-labels" not in lines["transport"]


def test_numbers_of_labels_repeat_nothing_of_a_campaign_without_them(sizes, root, tmp_path):
    text = sizes.campaign.path.read_text(encoding="utf-8").replace("learn: {sizes: [8, 0, 500]}\n", "")
    alone = Campaign.load(write_campaign(root, tmp_path, text), run_folder=sizes.campaign.run_folder)
    assert alone.status().is_done
