"""Labels, training and validation: what the potential of a campaign has learned, and how accurate it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from superionic.labels.base import Reference
from superionic.report.composition_axes import material_columns, ordering_cells
from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.own_results import is_fine_tuned
from superionic.report.plots import BLUE, VERMILION, Panel, Plot, Series
from superionic.report.section import Block, Paragraph, Section, shown
from superionic.report.sections import held_out, rungs
from superionic.report.sections.provenance import setting_rows
from superionic.report.sections.workflow import method_words
from superionic.report.table import Table, table_of
from superionic.report.words import MINUS, UNKNOWN, formula_text, number, plural, sentence, whole_text
from superionic.results.campaign import Results, Statement
from superionic.results.learning import (
    Exploration,
    LabelResult,
    LearningResult,
    SampledRun,
    TrainResult,
    ValidateResult,
)
from superionic.training.metrics import EpochErrors, EpochRecord, softness_words

KEY: Final = "model"
_TITLE: Final = "Labels, training and validation"
_FEW_LABELS: Final = 50
_FEW_STRUCTURES: Final = 20
_BLIND: Final = 0.3
"""Ratio of a committee's largest disagreement to its error on unseen labels below which agreement means little."""
_MOST_PANELS: Final = 4

# One row for each statistic: its name in files, its display name, its unit, and how to read it.
_OF_EPOCHS: Final[tuple[tuple[str, str, Callable[[EpochErrors], float | None]], ...]] = (
    ("loss", "loss", lambda e: e.loss),
    ("mae_energy_meV_per_atom", "MAE energy (meV/atom)", lambda e: e.mae_energy_meV_per_atom),
    ("rmse_energy_meV_per_atom", "RMSE energy (meV/atom)", lambda e: e.rmse_energy_meV_per_atom),
    ("mae_force_meV_per_A", "MAE force (meV/Å)", lambda e: e.mae_force_meV_per_A),
    ("rmse_force_meV_per_A", "RMSE force (meV/Å)", lambda e: e.rmse_force_meV_per_A),
    ("mae_stress_GPa", "MAE stress (GPa)", lambda e: e.mae_stress_GPa),
    ("rmse_stress_GPa", "RMSE stress (GPa)", lambda e: e.rmse_stress_GPa),
)
_PARTS: Final[tuple[tuple[str, Callable[[EpochRecord], EpochErrors | None]], ...]] = (
    ("train", lambda record: record.train),
    ("validation", lambda record: record.validation),
    ("replay", lambda record: record.replay),
)


def section(results: Results) -> Section:
    """Describe the labels, the training of each round and the errors of the last potential."""
    if not (results.sample or results.label):
        return Section(KEY, _TITLE, [Paragraph("The potential was not trained in this campaign.", "missing")])
    blocks: list[Block] = []
    if results.label:
        blocks += [
            Paragraph(_label_words(results.label)),
            _reference_table(results.label),
            _convergence_table(results.label),
        ]
    blocks += [_selected_table(results), _sampling_table(results)]
    if results.learning is not None:
        blocks += [Paragraph(f"The active loop ended: {results.learning.ended}."), _exploration_table(results.learning)]
    blocks.append(_round_table(results))
    if results.train:
        blocks += [_preflight_table(results.train[-1]), *rungs.blocks(results.rungs)]
        blocks += [_learning_curve(train) for train in (results.trained,) if train is not None]
    elif results.validate is not None:
        words = f"Nothing was trained: the labels check the potential {results.validate.potential} as it is."
        blocks.append(Paragraph(words))
    else:
        blocks.append(Paragraph("No potential was trained.", "missing"))
    if results.validate is not None:
        blocks += held_out.blocks(results.validate.errors)
    elif results.train:
        blocks.append(Paragraph("The trained potential was not validated.", "missing"))
    if results.train:
        blocks += [_element_table(train) for train in (results.trained,) if train is not None]
    return Section(KEY, _TITLE, shown(*blocks), [table for table in _files(results) if table.rows])


def doubts(results: Results) -> Iterator[Statement]:
    """Yield statements on how far labels, training and errors can be trusted."""
    yield from _about_sampling(results)
    yield from _about_learning(results)
    if results.label:
        yield from _about_labels(results.label[-1].reference)
        for words in (words for labels in results.label for words in labels.convergence_cautions):
            yield Statement("warning", f"{words}.", "labels may not be converged")
    if results.rungs is not None:
        yield Statement("info", f"Of the rungs of the ladder, {rungs.going_on(results.rungs)}")
    if results.train:
        yield from _about_training(results.trained or results.train[-1], is_fine_tuned(results))
    if results.validate is not None:
        yield from _about_errors(results.validate, fine_tuned=is_fine_tuned(results))


def _about_sampling(results: Results) -> Iterator[Statement]:
    runs = [run for sampled in results.sample for run in sampled.runs]
    plain = [run for run in runs if run.explored is None]
    stopped = [run for run in plain if run.stopped is not None]
    if stopped:
        reasons = "; ".join(sorted({f"{run.run.label}: {run.stopped}" for run in stopped})[:3])
        words = f"{len(stopped)} of {len(plain)} sampling runs were stopped by a monitor, and sampled up to that point"
        yield Statement("caution", f"{words} ({reasons}).")
    melted = [run for run in runs if any("melts" in flag for flag in run.flags)]
    if melted:
        temperatures = ", ".join(f"{t:g}" for t in sorted({run.run.temperature_K for run in melted}))
        where = f"{len(melted)} of {len(runs)} sampling runs (at {temperatures} K)"
        yield Statement("info", f"The framework left its sites in {where}: some labels are of a melt.")


def _about_learning(results: Results) -> Iterator[Statement]:
    learning = results.learning
    if learning is None:
        return
    last = learning.rounds[-1]
    disagreement = (
        f"{last.above} of {last.looked_at} frames in {last.length_ps:.3g} ps were above the threshold, "
        f"the largest disagreement was {last.worst_eV_per_A:.2g} eV/Å"
    )
    if learning.agrees:
        yield Statement("info", f"The active loop ended because the committee agrees: {disagreement}.")
    else:
        words = f"The active loop ended before the committee agreed ({learning.ended}): {disagreement}."
        yield Statement("caution", words, "the committee did not agree")
    if results.validate is None:
        return
    # A committee whose disagreement is far below its error on unseen labels is blind to that error.
    worst, error = 1.0e3 * last.worst_eV_per_A, results.validate.errors.after.rmse_force_meV_per_A
    if worst < _BLIND * error:
        words = (
            f"The committee disagrees by {worst:.2g} meV/Å at most, but its error on unseen labels is {error:.3g}: its "
            "members are too similar to show where they are wrong. Train longer, or trust the error, not the agreement."
        )
        yield Statement("caution", words)


def _about_labels(reference: Reference) -> Iterator[Statement]:
    if reference.code.startswith("potential:"):
        words = (
            f"The labels come from a stand-in potential ({reference.code.removeprefix('potential:')}), not from a DFT "
            "code: they test the workflow, not the material."
        )
        yield Statement("warning", words, "labels by a stand-in")


def _about_training(train: TrainResult, fine_tuned: bool) -> Iterator[Statement]:
    if train.element_references.degenerate:
        words = (
            "The labels have too few compositions to determine the energy of each element: only their sum over "
            "these compositions was fitted, and energies of other compositions keep the pretrained scale."
        )
        yield Statement("info", words)
    for note in train.notes:
        yield Statement("caution", sentence(note))
    if train.n_train < _FEW_LABELS:
        how = "fine-tuned" if fine_tuned else "trained from scratch"
        effect = "That corrects offsets and softness of the potential, but it is" if fine_tuned else "That is"
        words = (
            f"The potential was {how} on {plural(train.n_train, 'label')}. {effect} far from the hundreds to thousands "
            "of labels of a production model."
        )
        yield Statement("caution", words, f"trained on {plural(train.n_train, 'label')}")


def _about_errors(result: ValidateResult, *, fine_tuned: bool) -> Iterator[Statement]:
    errors = result.errors
    if errors.before is None:
        name = f"Potential {result.potential}, on labels"
    else:
        name = f"{'Fine-tuned' if fine_tuned else 'Trained'} potential"
        if errors.set != "test":
            yield Statement("caution", f"There was no test set; the errors are those of the {errors.set} set.")
    for words in result.cautions:
        yield Statement("caution", f"{name}: {words}.", "errors above the limits")
    if errors.before is not None and (soft := softness_words(errors.before)) is not None:
        yield Statement("info", f"Before training the potential was {soft}.")
    if errors.n_structures < _FEW_STRUCTURES:
        words = (
            f"The errors of the potential are measured on {plural(errors.n_structures, 'structure')} only, and are "
            "themselves uncertain."
        )
        yield Statement("caution", words)
    if errors.before is None:
        return
    before, after = errors.before.rmse_force_meV_per_A, errors.after.rmse_force_meV_per_A
    if after > before:
        words = f"Training made the forces worse on the held-out set ({number(before)} to {number(after)} meV/Å RMSE)."
        yield Statement("warning", words, "training made the forces worse")


def _label_words(labels: Sequence[LabelResult]) -> str:
    reference = labels[-1].reference
    accepted, requested = sum(one.n_accepted for one in labels), sum(one.n_requested for one in labels)
    left_out = sum(len(one.rejected) + len(one.failures) for one in labels)
    words = f"{accepted} of {requested} labels by {method_words(reference)} passed the gates"
    if len(labels) > 1:
        words += f" in {plural(len(labels), 'round')}"
    refused = plural(left_out, "was", "were")
    return words + (f"; {refused} refused (see “Failures and rejections”)." if left_out else ".")


def _reference_table(labels: Sequence[LabelResult]) -> Table:
    rows = []
    for reference in {one.reference.settings_hash: one.reference for one in labels}.values():
        named = (
            ("code", reference.code),
            ("version", reference.version),
            ("functional", reference.functional),
            ("energy scale", reference.energy_convention),
            ("stand-in", "yes" if reference.stand_in else "no"),
            ("hash of all settings", reference.settings_hash),
        )
        rows += [[name, value or UNKNOWN] for name, value in named]
        rows += [[name.replace("_", " "), value] for name, value in setting_rows(reference.settings)]
    return Table("Reference method of the labels.", ["Setting", "Value"], rows)


def _convergence_table(labels: Sequence[LabelResult]) -> Table:
    return table_of(
        "Labels made anew with more plane waves or k-points: their values less those of the labels used.",
        [check for one in labels for check in one.convergence],
        [
            ("Structure", lambda one: one.label),
            ("Composition", lambda one: formula_text(one.formula)),
            ("More", lambda one: f"{one.raised}: {one.to}"),
            ("Energy, meV/atom", lambda one: number(one.energy_meV_per_atom)),
            ("Forces, mean, meV/Å", lambda one: number(one.mae_force_meV_per_A)),
            ("Forces, largest, meV/Å", lambda one: number(one.max_force_meV_per_A)),
            ("Mean normal stress, GPa", lambda one: UNKNOWN if one.stress_GPa is None else number(one.stress_GPa)),
        ],
        numeric=range(3, 7),
    )


def _selected_table(results: Results) -> Table:
    return table_of(
        "Orderings selected.",
        results.select.selected if results.select is not None else (),
        [
            ("Ordering", lambda one: one.ordering.id),
            ("Composition", lambda one: formula_text(one.formula)),
            ("Why", lambda one: sentence(one.reason)),
        ],
    )


def _sampling_table(results: Results) -> Table:
    runs = [(sampled.round, run) for sampled in results.sample for run in sampled.runs]
    columns: list[tuple[str, Callable[[tuple[int, SampledRun]], str]]] = []
    if len({sampled.round for sampled in results.sample}) > 1:
        columns.append(("Round", lambda each: str(each[0])))
    columns.append(("Ordering", lambda each: each[1].run.ordering.id))
    if any(run.run.replica > 1 for _, run in runs):
        columns.append(("Replica", lambda each: str(each[1].run.replica)))
    columns.append(("Potential", lambda each: each[1].run.potential))
    first = len(columns)
    columns += [
        ("Temperature set, K", lambda each: number(each[1].run.temperature_K)),
        ("Mean temperature, K", lambda each: number(each[1].mean_temperature_K)),
        ("Frames", lambda each: whole_text(each[1].n_frames)),
        ("Structures taken", lambda each: whole_text(each[1].n_snapshots)),
        ("Chosen by", lambda each: _chosen_by(each[1]) or UNKNOWN),
        ("Stopped", lambda each: UNKNOWN if each[1].stopped is None else sentence(each[1].stopped)),
    ]
    return table_of("Runs from which structures for labels were taken.", runs, columns, range(first, first + 4))


def _chosen_by(run: SampledRun) -> str:
    return "; ".join(f"{method}: {count}" for method, count in run.chosen_by.items())


def _exploration_table(learning: LearningResult) -> Table:
    return table_of(
        "Disagreement of the committee in its own runs.",
        learning.rounds,
        [
            ("Round", lambda one: str(one.round)),
            ("Explored, ps", lambda one: number(one.length_ps)),
            ("Frames evaluated", lambda one: whole_text(one.looked_at)),
            ("Above the threshold", lambda one: f"{whole_text(one.above)} ({number(100 * one.share_above, 2)} %)"),
            ("Largest disagreement, eV/Å", lambda one: number(one.worst_eV_per_A, 2)),
            ("Runs stopped", lambda one: whole_text(one.stopped)),
            ("Labels", lambda one: whole_text(one.labels)),
        ],
        numeric=range(7),
    )


def _round_table(results: Results) -> Table:
    accepted = {one.round: one.n_accepted for one in results.label}

    def temperatures(train: TrainResult) -> str:
        sampled = sorted({one.temperature_K for one in results.sample if one.round == train.round})
        return ", ".join(f"{t:g}" for t in sampled) or UNKNOWN

    def best(train: TrainResult, value_of: Callable[[EpochErrors], float | None]) -> str:
        errors = next((record.validation for record in train.history if record.epoch == train.best_epoch), None)
        return UNKNOWN if errors is None else number(value_of(errors))

    return table_of(
        "The rounds of learning, with root-mean-square errors on the validation set at the best epoch.",
        results.train if len(results.train) > 1 else (),
        [
            ("Round", lambda train: str(train.round)),
            ("Sampled at, K", temperatures),
            ("New labels", lambda train: whole_text(accepted.get(train.round))),
            ("Trained on", lambda train: whole_text(train.n_train)),
            (
                "Best epoch",
                lambda train: f"{train.best_epoch} of {max((each.epoch for each in train.history), default=0)}",
            ),
            ("Energy, meV/atom", lambda train: best(train, lambda errors: errors.rmse_energy_meV_per_atom)),
            ("Force, meV/Å", lambda train: best(train, lambda errors: errors.rmse_force_meV_per_A)),
            ("Stress, GPa", lambda train: best(train, lambda errors: errors.rmse_stress_GPa)),
        ],
        numeric=(0, 2, 3, 5, 6, 7),
    )


def _preflight_table(train: TrainResult) -> Table:
    rows = [[finding.name, finding.severity, finding.evidence, finding.fix] for finding in train.preflight]
    return Table(
        "Problems of the labels detected before training.", ["What", "Severity", "Evidence", "What to do"], rows
    )


def _element_table(train: TrainResult) -> Table:
    shifts = sorted(train.element_references.eV_per_atom.items())
    rows = [[symbol, f"{shift:+.4f}".replace("-", MINUS)] for symbol, shift in shifts]
    caption = "Energy of each element that brings the labels to the energy scale of the potential."
    return Table(caption, ["Element", "Shift, eV/atom"], rows, frozenset({1}))


def _learning_curve(train: TrainResult) -> Plot:
    epochs = [float(record.epoch) for record in train.history]
    panels = []
    for _, words, value_of in _OF_EPOCHS:
        series = []
        for part, label, colour in ((_PARTS[0], "training set", BLUE), (_PARTS[1], "validation set", VERMILION)):
            values = [_positive(part[1](record), value_of) for record in train.history]
            if part is _PARTS[0] and all(value is None for value in values):
                break  # this trainer does not record it
            if any(value is not None for value in values):
                hover = [f"epoch {number(e)}: {number(v)}" for e, v in zip(epochs, values, strict=True)]
                series.append(Series(epochs, values, label, "line", colour))
                series.append(Series(epochs, values, label, colour=colour, size=5, hover=hover, legend=False))
        if series:
            guides = [(float(train.best_epoch), "best")]
            panels.append(Panel(series, "epoch", words, y_log=True, guides=guides))
    caption = (
        "Loss (and errors, if recorded) after each pass over the labels. The weights used are those of the epoch "
        "with the lowest validation loss. A validation curve that rises while the training curve still falls means "
        "overfitting."
    )
    title = "Learning curve" if train.round == 1 else f"Learning curve of round {train.round}"
    return Plot("learning_curve", title, caption, panels[:_MOST_PANELS], height=300)


def _positive(errors: EpochErrors | None, value_of: Callable[[EpochErrors], float | None]) -> float | None:
    value = None if errors is None else value_of(errors)
    return value if value is not None and value > 0 else None


def _files(results: Results) -> Iterator[CsvTable]:
    yield _sampling_csv(results)
    yield _labels_csv(results)
    yield _exploration_csv(results)
    yield _learning_csv(results)
    yield _elements_csv(results)
    yield from rungs.files(results.rungs)
    if results.validate is not None:
        yield from held_out.files(results.validate)


def _sampling_csv(results: Results) -> CsvTable:
    explored = ("explored_ps", "looked_at", "above_threshold", "worst_eV_per_A")
    return csv_table(
        "sampling.csv",
        ("round", *material_columns(results), "ordering"),
        [
            ((sampled.round, *ordering_cells(results, run.run.ordering)), run)
            for sampled in results.sample
            for run in sampled.runs
        ],
        [
            ("formula", lambda run: run.formula),
            ("temperature_K", lambda run: run.run.temperature_K),
            ("replica", lambda run: run.run.replica),
            ("potential", lambda run: run.run.potential),
            ("pressure_GPa", lambda run: run.run.pressure_GPa),
            ("mean_temperature_K", lambda run: run.mean_temperature_K),
            ("n_frames", lambda run: run.n_frames),
            ("n_snapshots", lambda run: run.n_snapshots),
            ("chosen_by", _chosen_by),
            (explored, lambda run: _explored(run.explored)),
            ("stopped", lambda run: run.stopped),
            ("flags", lambda run: "; ".join(run.flags)),
            ("key", lambda run: run.key),
        ],
    )


def _explored(explored: Exploration | None) -> Cells:
    return (
        (None,) * 4
        if explored is None
        else (explored.length_ps, explored.looked_at, explored.above, explored.worst_eV_per_A)
    )


def _labels_csv(results: Results) -> CsvTable:
    return csv_table(
        "labels.csv",
        (),
        [((), one) for one in results.label],
        [
            ("round", lambda one: one.round),
            ("code", lambda one: one.reference.code),
            ("version", lambda one: one.reference.version),
            ("functional", lambda one: one.reference.functional),
            ("energy_convention", lambda one: one.reference.energy_convention),
            ("settings_hash", lambda one: one.reference.settings_hash),
            ("stand_in", lambda one: one.reference.stand_in),
            ("baseline", lambda one: one.baseline),
            ("n_requested", lambda one: one.n_requested),
            ("n_finished", lambda one: one.n_finished),
            ("n_accepted", lambda one: one.n_accepted),
            ("n_rejected", lambda one: len(one.rejected)),
            ("n_failed", lambda one: len(one.failures)),
        ],
    )


def _exploration_csv(results: Results) -> CsvTable:
    return csv_table(
        "exploration.csv",
        (),
        [((), one) for one in (results.learning.rounds if results.learning is not None else ())],
        [
            ("round", lambda one: one.round),
            ("length_ps", lambda one: one.length_ps),
            ("looked_at", lambda one: one.looked_at),
            ("above_threshold", lambda one: one.above),
            ("share_above", lambda one: one.share_above),
            ("worst_eV_per_A", lambda one: one.worst_eV_per_A),
            ("stopped", lambda one: one.stopped),
            ("agrees", lambda one: one.agrees),
            ("labels", lambda one: one.labels),
        ],
    )


def _learning_csv(results: Results) -> CsvTable:
    """Return all epochs of all rounds, without columns that no trainer of the campaign fills."""
    columns = {
        f"{part}_{name}": (errors_of, value_of) for part, errors_of in _PARTS for name, _, value_of in _OF_EPOCHS
    }
    records = [(train, record) for train in results.train for record in train.history]

    def cell(record: EpochRecord, column: str) -> float | None:
        errors_of, value_of = columns[column]
        errors = errors_of(record)
        return None if errors is None else value_of(errors)

    filled = [name for name in columns if any(cell(record, name) is not None for _, record in records)]
    rows = tuple(
        (train.round, record.epoch, record.learning_rate, *(cell(record, name) for name in filled), train.key)
        for train, record in records
    )
    return CsvTable("learning_curve.csv", ("round", "epoch", "learning_rate", *filled, "key"), rows)


def _elements_csv(results: Results) -> CsvTable:
    rows = tuple(
        (train.round, symbol, shift, train.element_references.degenerate)
        for train in results.train
        for symbol, shift in sorted(train.element_references.eV_per_atom.items())
    )
    return CsvTable("element_references.csv", ("round", "element", "shift_eV_per_atom", "degenerate"), rows)
