"""Softness of the potentials of a real campaign: in results, report, CSV, figure and statements."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from superionic import Campaign
from superionic.errors import CampaignFileError
from superionic.report.sections import model
from superionic.training.metrics import softness_words

from .conftest import CHECKED, LADDER, write_campaign


def rows_of(folder, name):
    (path,) = folder.rglob(name)
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_slope_and_bias_are_those_of_the_points_of_the_parity_figure(ladder):
    errors = ladder.results.validate.errors
    for side, metrics in (("before", errors.before), ("after", errors.after)):
        points = [row for row in rows_of(ladder.report, "parity.csv") if row["quantity"] == "force components"]
        reference = np.array([float(row["reference"]) for row in points])
        predicted = np.array([float(row[side]) for row in points])
        assert metrics.force_slope == pytest.approx(predicted @ reference / (reference @ reference))
        low, high = metrics.force_slope_interval95
        assert low <= metrics.force_slope <= high
        stress = getattr(errors.parity.stress_GPa, side)
        bias = np.reshape(stress, (-1, 6)) - np.reshape(errors.parity.stress_GPa.reference, (-1, 6))
        assert metrics.mean_error_stress_GPa == pytest.approx(bias[:, :3].mean())


def test_charges_that_are_a_tenth_smaller_make_forces_softer_by_their_square(ladder):
    """The labels are of charges 0.9 times those of the potential, whose energies are all proportional to q²."""
    assert ladder.results.validate.errors.before.force_slope == pytest.approx(1.0 / 0.9**2, rel=1e-9)


def test_all_rungs_are_measured_on_the_same_sets(ladder):
    rungs, validated = ladder.results.rungs, ladder.results.validate.errors
    assert [(each.name, each.n_structures) for each in rungs.sets] == [
        ("held-out labels", validated.n_structures),
        ("orderings", 1),
    ]
    errors = {(row.temperature_K, row.set): row.errors for row in rungs.errors}
    assert set(errors) == {(t, each.name) for t in (None, 300.0, 600.0) for each in rungs.sets}
    # The last rung goes on here, and `validate` measured it, and the pretrained potential, on the held-out labels.
    assert errors[600.0, "held-out labels"] == validated.after
    assert errors[None, "held-out labels"] == validated.before
    assert errors[None, "orderings"].force_slope == pytest.approx(1.0 / 0.9**2, rel=1e-9)
    assert rungs.goes_on == 2
    rows = rows_of(ladder.report, "rungs.csv")
    assert [float(row["mae_force_meV_per_A"]) for row in rows] == [
        row.errors.mae_force_meV_per_A for row in rungs.errors
    ]
    page = (ladder.report / "report.html").read_text(encoding="utf-8")
    assert "Errors of the rungs on the same test sets" in page


def test_energies_of_the_test_sets_by_each_rung_have_the_errors_of_the_rungs(ladder):
    rungs = ladder.results.rungs
    rows = rows_of(ladder.report, "rung_energies.csv")
    for row in rungs.errors:
        off = [
            1000.0 * (float(each["predicted_eV_per_atom"]) - float(each["label_eV_per_atom"]))
            for each in rows
            if (each["set"], int(each["round"])) == (row.set, row.round)
        ]
        assert len(off) == row.errors.n_structures
        assert sum(map(abs, off)) / len(off) == pytest.approx(row.errors.mae_energy_meV_per_atom)
    assert (ladder.report / "figures" / "rung_energies.png").is_file()


def test_files_page_and_statements_say_it(ladder):
    errors = ladder.results.validate.errors
    rows = {row["statistic"]: row for row in rows_of(ladder.report, "errors.csv")}
    assert float(rows["force_slope"]["after"]) == errors.after.force_slope
    assert float(rows["force_slope_low95"]["before"]) == errors.before.force_slope_interval95[0]
    assert float(rows["mean_error_stress_GPa"]["before"]) == errors.before.mean_error_stress_GPa
    page = (ladder.report / "report.html").read_text(encoding="utf-8")
    assert "Forces, slope (95 % interval)" in page
    assert f": slope {errors.before.force_slope:.2f} before, {errors.after.force_slope:.2f} after training" in page
    words = [statement.words for statement in model.doubts(ladder.results)]
    for when, metrics in (("Before training", errors.before), ("potential:", errors.after)):
        said = softness_words(metrics)
        assert any(when in one and (said or "") in one for one in words) == (said is not None)


def test_labels_check_a_potential_that_is_not_trained(root, tmp_path):
    path = write_campaign(root, tmp_path, CHECKED)
    campaign = Campaign.load(path)
    checked = campaign.run().validate
    errors = checked.errors
    assert (checked.potential, errors.set, errors.n_structures) == ("pair", "all", 8)
    assert errors.before is None
    assert all(row.before is None for row in errors.by)
    assert errors.after.force_slope == pytest.approx(1.0 / 0.9**2, rel=1e-9)
    rows = rows_of(campaign.report_folder, "parity.csv")
    assert {row["before"] for row in rows} == {""}
    page = (campaign.report_folder / "report.html").read_text(encoding="utf-8")
    assert "the labels check the potential pair as it is" in page
    assert "Nothing was trained on the labels: the potential pair was compared with them as it is." in page
    assert "Errors against the reference on all labels (8 structures)" in page
    assert "<th>Before" not in page
    assert "before training" not in page
    # Without training, the errors are those of the potential that samples, or of the one that `validate` names.
    path.write_text(CHECKED.replace("validate: {}", "validate: {potential: softer}"), encoding="utf-8")
    campaign = Campaign.load(path)
    of_labels = campaign.run().validate
    assert of_labels.potential == "softer"
    assert of_labels.errors.after.force_slope == pytest.approx(1.0, rel=1e-12)
    # One shift of each element is taken off; nothing is left of the energies either.
    assert of_labels.errors.after.mae_energy_meV_per_atom == pytest.approx(0.0, abs=1e-9)


def test_the_potential_that_is_checked_must_be_one_of_the_campaign(root, tmp_path):
    text = CHECKED.replace("validate: {}", "validate: {potential: sofer}")
    with pytest.raises(CampaignFileError, match="no potential 'sofer'"):
        Campaign.load(write_campaign(root, tmp_path, text))
    text = LADDER.replace("validate: {}", "validate: {potential: softer}")
    with pytest.raises(CampaignFileError, match="that `train` makes is validated"):
        Campaign.load(write_campaign(root, tmp_path, text))
