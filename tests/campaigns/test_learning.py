"""A ladder in a real campaign: what each rung samples, labels and learns, and what the report shows of it."""

from __future__ import annotations

from superionic.report.sections import model
from superionic.report.table import Table


def test_a_ladder_samples_with_what_it_has_learned(ladder):
    campaign, results = ladder.campaign, ladder.results
    runs = [run for sampled in results.sample for run in sampled.runs]
    assert [(run.run.temperature_K, run.run.potential) for run in runs] == [
        (300.0, "pair"),
        (300.0, "pair"),
        (600.0, "fine-tuned"),
        (600.0, "fine-tuned"),
    ]
    assert [run.n_snapshots for run in runs] == [4, 4, 3, 3]
    assert [sampled.round for sampled in results.sample] == [1, 2]
    assert [labels.round for labels in results.label] == [1, 2]
    assert sum(labels.n_requested for labels in results.label) == 14
    first, last = results.train
    accepted = [labels.n_accepted for labels in results.label]
    assert first.n_train + first.n_validation + first.n_test == accepted[0]
    assert last.n_train + last.n_validation + last.n_test == sum(accepted)
    errors = results.validate.errors
    assert errors.n_structures == errors.after.n_structures == last.n_test > 0
    assert errors.after != errors.before
    assert campaign.status().is_done


def test_the_section_has_a_row_for_each_round_run_and_number_and_the_files_all_digits(ladder):
    results = ladder.results
    section = model.section(results)
    tables = {block.caption: block for block in section.blocks if isinstance(block, Table)}
    rounds = next(table for caption, table in tables.items() if caption.startswith("The rounds of learning"))
    assert [row[0] for row in rounds.rows] == ["1", "2"]
    assert len(tables["Runs from which structures for labels were taken."].rows) == 4
    assert tables["Reference method of the labels."].rows[0] == ["code", "potential:pair"]
    assert [plot.key for plot in section.plots] == ["rungs", "rung_energies", "learning_curve", "parity"]
    files = {table.name: table for table in section.csv}
    assert {len(row) == len(table.columns) for table in files.values() for row in table.rows} == {True}
    errors = {row[2]: row[3:5] for row in files["errors.csv"].rows}
    found = results.validate.errors
    assert errors["rmse_force_meV_per_A"] == (found.before.rmse_force_meV_per_A, found.after.rmse_force_meV_per_A)
    epochs = files["learning_curve.csv"]
    assert [row[:2] for row in epochs.rows] == [
        (n, record.epoch) for n in (1, 2) for record in results.train[0].history
    ]
    last = results.train[1].history[-1]
    assert epochs.rows[-1][epochs.columns.index("train_loss")] == last.train.loss
    parity = [row for row in files["parity.csv"].rows if row[0] == "force components"]
    assert tuple(row[4] for row in parity) == found.parity.force_eV_per_A.after
    said = " ".join(doubt.words for doubt in model.doubts(results))
    assert "stand-in potential (pair)" in said
    assert f"trained from scratch on {results.train[-1].n_train} labels" in said
