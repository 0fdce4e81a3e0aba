"""A campaign whose potential is corrected by a few labels: what trains, validates, runs, reports and leaves it."""

from __future__ import annotations

import numpy as np
import pytest

from superionic import Campaign, load_model
from superionic.errors import CampaignFileError
from superionic.potentials.base import load_potential
from superionic.potentials.exported import read_weights
from superionic.potentials.reference import li3ycl6_cell

from .conftest import CORRECTED, write_campaign


def test_the_correction_lowers_the_errors_on_labels_that_it_has_not_seen(corrected):
    errors, trained = corrected.results.validate.errors, corrected.results.trained
    assert errors.set == "test"
    assert errors.after.mae_force_meV_per_A < 0.5 * errors.before.mae_force_meV_per_A
    assert trained.trainer == "delta"
    assert trained.best_epoch > 0
    assert not any("keep that potential" in note for note in trained.notes)
    best = trained.history[trained.best_epoch]
    assert best.validation.rmse_force_meV_per_A < trained.history[0].validation.rmse_force_meV_per_A


def test_the_corrected_potential_drives_the_runs_and_is_named_in_the_report(corrected):
    assert {run.run.potential for run in corrected.results.transport.runs} == {"fine-tuned"}
    page = (corrected.report / "report.html").read_text()
    assert "corrected by a function of distance for each pair of elements" in page


def test_it_leaves_the_campaign_as_a_file_with_the_same_energies(corrected, tmp_path):
    path = corrected.campaign.export_model("fine-tuned", tmp_path / "corrected.potential").path
    cell = li3ycl6_cell()
    cell.rattle(0.05, seed=1)
    by_file = load_model("pair", file=str(path))
    direct = load_potential("pair", weights=read_weights(path))
    assert np.array_equal(by_file.evaluate(cell).forces_eV_per_A, direct.evaluate(cell).forces_eV_per_A)
    assert by_file.identity.fine_tuned
    assert by_file.identity.energy_convention == "pair potential"
    assert (
        np.abs(by_file.evaluate(cell).forces_eV_per_A - load_model("pair").evaluate(cell).forces_eV_per_A).max() > 1e-3
    )


def test_without_a_trainer_the_file_is_told_of_the_correction(root, tmp_path):
    path = write_campaign(root, tmp_path, CORRECTED.replace("  trainer: delta\n", ""))
    with pytest.raises(CampaignFileError, match="cannot train the potential 'pair'") as refused:
        Campaign.load(path)
    assert "trainer: delta" in str(refused.value)
    path = write_campaign(
        root, tmp_path, CORRECTED.replace("production_ps: 0.2", "production_ps: 0.2\n  md_engine: lammps")
    )
    with pytest.raises(CampaignFileError, match="does not evaluate the correction"):
        Campaign.load(path)
