"""Labels, training and validation: what the potential of a campaign has learned, and how accurate it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from superionic.labels.base import Reference
from superionic.report.composition_axes import material_columns, ordering_cells
from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.own_results import is_fine_tuned
from superionic.report.plots import BLUE, ORANGE, VERMILION, Panel, Plot, Series, parity_series, pick, thin
from superionic.report.section import Block, Paragraph, Section, shown
from superionic.report.sections.provenance import setting_rows
from superionic.report.sections.workflow import method_words
from superionic.report.table import Table, table_of
from superionic.report.words import MINUS, UNKNOWN, formula_text, number, plural, sentence, whole_text
from superionic.results.campaign import Results, Statement
from superionic.results.learning import (
    ErrorsApart,
    Exploration,
    HeldOutErrors,
    LabelResult,
    LearningResult,
    Parity,
    ParityPoints,
    RungComparison,
    RungErrors,
    SampledRun,
    TrainResult,
    ValidateResult,
)
from superionic.training.metrics import EpochErrors, EpochRecord, ErrorMetrics, softness_words

KEY: Final = "model"
_TITLE: Final = "Labels, training and validation"
_FEW_LABELS: Final = 50
_FEW_STRUCTURES: Final = 20
_BLIND: Final = 0.3
"""Ratio of a committee's largest disagreement to its error on unseen labels below which agreement means little."""
_MOST_PARITY_POINTS: Final = 1500
_MOST_PANELS: Final = 4
_KINDS: Final = {"composition": "composition", "phase": "phase", "temperature_K": "temperature"}

# One row for each statistic: its name in files, its display name, its unit, and how to read it.
_ERRORS: Final[tuple[tuple[str, str, str, Callable[[ErrorMetrics], float | None]], ...]] = (
    ("mae_energy_meV_per_atom", "Energy, MAE", "meV/atom", lambda e: e.mae_energy_meV_per_atom),
    ("rmse_energy_meV_per_atom", "Energy, RMSE", "meV/atom", lambda e: e.rmse_energy_meV_per_atom),
    ("mae_force_meV_per_A", "Force, MAE", "meV/Å", lambda e: e.mae_force_meV_per_A),
    ("rmse_force_meV_per_A", "Force, RMSE", "meV/Å", lambda e: e.rmse_force_meV_per_A),
    ("mae_stress_GPa", "Stress, MAE", "GPa", lambda e: e.mae_stress_GPa),
    ("rmse_stress_GPa", "Stress, RMSE", "GPa", lambda e: e.rmse_stress_GPa),
)
_SHAPE: Final[tuple[tuple[str, Callable[[ErrorMetrics], float | None]], ...]] = (
    ("force_slope", lambda e: e.force_slope),
    ("force_slope_low95", lambda e: None if e.force_slope_interval95 is None else e.force_slope_interval95[0]),
    ("force_slope_high95", lambda e: None if e.force_slope_interval95 is None else e.force_slope_interval95[1]),
    ("mean_error_stress_GPa", lambda e: e.mean_error_stress_GPa),
)
"""Softness and bias, by their names in files."""
_OF_SETS: Final[tuple[tuple[str, Callable[[ErrorMetrics], float | None]], ...]] = (
    ("n_forces", lambda e: e.n_forces),
    ("n_stresses", lambda e: e.n_stresses),
    ("mean_error_energy_meV_per_atom", lambda e: e.mean_error_energy_meV_per_atom),
)
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
    if not results.sample:
        return Section(KEY, _TITLE, [Paragraph("The potential was not trained in this campaign.", "missing")])
    blocks: list[Block] = []
    if results.label:
        blocks += [
            Paragraph(_label_words(results.label)),
            _reference_table(results.label),
            _cutoff_table(results.label),
        ]
    blocks += [_selected_table(results), _sampling_table(results)]
    if results.learning is not None:
        blocks += [Paragraph(f"The active loop ended: {results.learning.ended}."), _exploration_table(results.learning)]
    blocks.append(_round_table(results))
    if results.train:
        blocks += [_preflight_table(results.train[-1]), *_rung_blocks(results.rungs)]
        blocks += [_learning_curve(train) for train in (results.trained,) if train is not None]
    elif results.validate is not None:
        words = f"Nothing was trained: the labels check the potential {results.validate.potential} as it is."
        blocks.append(Paragraph(words))
    else:
        blocks.append(Paragraph("No potential was trained.", "missing"))
    if results.validate is not None:
        errors = results.validate.errors
        blocks += [_error_table(errors), _apart_table(errors), _parity_plot(errors)]
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
        for words in (words for labels in results.label for words in labels.cutoff_cautions):
            yield Statement("warning", f"{words}.", "cutoff of the labels is too low")
    if results.rungs is not None:
        yield Statement("info", f"Of the rungs of the ladder, {going_on(results.rungs)}")
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


def _cutoff_table(labels: Sequence[LabelResult]) -> Table:
    return table_of(
        "Labels made anew at a higher plane-wave cutoff: their values less those of the labels used.",
        [check for one in labels for check in one.cutoff],
        [
            ("Structure", lambda one: one.label),
            ("Composition", lambda one: formula_text(one.formula)),
            ("Cutoff, eV", lambda one: f"{one.ecut_eV:g}"),
            ("Energy, meV/atom", lambda one: number(one.energy_meV_per_atom)),
            ("Forces, mean, meV/Å", lambda one: number(one.mae_force_meV_per_A)),
            ("Forces, largest, meV/Å", lambda one: number(one.max_force_meV_per_A)),
            ("Mean normal stress, GPa", lambda one: UNKNOWN if one.stress_GPa is None else number(one.stress_GPa)),
        ],
        numeric=range(2, 7),
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


def _rung_blocks(rungs: RungComparison | None) -> Iterator[Block]:
    """Yield the errors of all rungs on the same test sets, as a figure and as a table (paper B, figures 2b and c)."""
    if rungs is None:
        return
    panels = []
    for name, words, unit, value_of in _ERRORS:
        if not name.startswith("mae_"):
            continue
        series = []
        for index, test_set in enumerate(rungs.sets):
            rows = [row for row in rungs.errors if row.set == test_set.name and value_of(row.errors) is not None]
            places = [0.0 if row.temperature_K is None else row.temperature_K for row in rows]
            values = [value_of(row.errors) for row in rows]
            hover = [f"{_rung_words(row)}: {number(value)} {unit}" for row, value in zip(rows, values, strict=True)]
            colour = pick(index)
            series.append(Series(places, values, test_set.name, "line", colour))
            series.append(Series(places, values, test_set.name, colour=colour, size=6, hover=hover, legend=False))
        panels.append(Panel(series, "rung (K); 0: pretrained", f"{words} ({unit})"))
    sets = "; ".join(
        f"{each.name}: {plural(each.n_structures, 'label')}"
        + (f" at {each.temperatures_K[0]:g} to {each.temperatures_K[-1]:g} K" if each.temperatures_K else "")
        for each in rungs.sets
    )
    yield Plot(
        "rungs",
        "Errors of the rungs on the same test sets",
        f"Mean absolute errors of the potential of each rung on labels that no rung was trained on ({sets}).",
        panels,
        columns=3,
        height=320,
    )
    yield table_of(
        f"Mean absolute errors of each rung. {going_on(rungs)}",
        rungs.errors,
        [
            ("Rung", lambda row: _rung_words(row) + (" (goes on)" if row.round == rungs.goes_on else "")),
            ("Test set", lambda row: row.set),
            ("Structures", lambda row: whole_text(row.errors.n_structures)),
            ("Energy, meV/atom", lambda row: number(row.errors.mae_energy_meV_per_atom, 3)),
            ("Forces, meV/Å", lambda row: number(row.errors.mae_force_meV_per_A, 3)),
            ("Stress, MPa", lambda row: _MPa(row.errors.mae_stress_GPa)),
            ("Slope of forces", lambda row: number(row.errors.force_slope, 3)),
        ],
        numeric=range(2, 7),
    )


def _MPa(stress_GPa: float | None) -> str:
    return UNKNOWN if stress_GPa is None else number(1000.0 * stress_GPa, 3)


def _rung_words(row: RungErrors) -> str:
    return "pretrained" if row.temperature_K is None else f"{row.temperature_K:g} K"


def going_on(rungs: RungComparison) -> str:
    """Say which rung has the smallest errors, and which one goes on."""
    named = {row.round: _rung_words(row) for row in rungs.errors}
    if rungs.best is None:
        return "No set could be compared; the last rung goes on."
    best = f"{named[rungs.best]} has the smallest errors over all sets and quantities (geometric mean of their ratios)"
    if rungs.goes_on == rungs.best:
        return f"{best}, and its potential goes on."
    return f"{best}, but the last rung, {named.get(rungs.goes_on, UNKNOWN)}, goes on (`learn.production_rung: last`)."


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


def _error_table(errors: HeldOutErrors) -> Table:
    both = [side for side in (errors.before, errors.after) if side is not None]
    rows = []
    for _, words, unit, value_of in _ERRORS:
        values = [value_of(side) for side in both]
        if any(value is not None for value in values):
            rows.append([words, *map(number, values), unit, *_change(values)])
    no_change = [UNKNOWN] * (len(both) - 1)
    if errors.after.mean_error_stress_GPa is not None:
        biases = [number(side.mean_error_stress_GPa) for side in both]
        rows.append(["Stress, mean signed error", *biases, "GPa", *no_change])
    rows.append(["Forces, slope (95 % interval)", *map(_slope, both), "", *no_change])
    caption = (
        f"Errors against the reference on {_set_words(errors)}. A slope "
        "of predicted against reference forces below 1 indicates a soft potential, which melts too early and whose "
        "barriers are too low; a negative mean error of the normal stresses (tension positive) makes cells too large."
    )
    if errors.before is None:
        return Table(caption, ["Quantity", "Error", "Unit"], rows, frozenset({1}))
    return Table(caption, ["Quantity", "Before", "After", "Unit", "Change"], rows, frozenset({1, 2, 4}))


def _change(values: Sequence[float | None]) -> list[str]:
    """Return the change from before to after training, in a list of its own; an empty one where there is one value."""
    if len(values) == 1:
        return []
    before, after = values
    return [f"{number(100 * (after - before) / before, 2)} %" if before and after is not None else UNKNOWN]


def _set_words(errors: HeldOutErrors) -> str:
    structures = plural(errors.n_structures, "structure")
    return f"all labels ({structures})" if errors.before is None else f"the {errors.set} set ({structures})"


def _slope(errors: ErrorMetrics) -> str:
    """Return the slope of the forces with its interval."""
    if errors.force_slope is None:
        return UNKNOWN
    within = errors.force_slope_interval95
    return f"{errors.force_slope:.3f}" + ("" if within is None else f" ({within[0]:.3f} to {within[1]:.3f})")


def _apart_table(errors: HeldOutErrors) -> Table:
    def change(row: ErrorsApart, value_of: Callable[[ErrorMetrics], float | None], scale: float = 1.0) -> str:
        values = [value_of(side) for side in (row.before, row.after) if side is not None]
        return " → ".join(UNKNOWN if value is None else number(scale * value, 3) for value in values)

    return table_of(
        "Mean absolute errors on all labels, slopes and signed errors."
        if errors.before is None
        else f"Mean absolute errors on the {errors.set} set, slopes and signed errors, before → after training.",
        errors.by,
        [
            ("By", lambda row: _KINDS.get(row.by, row.by)),
            ("Value", _kind_words),
            ("Structures", lambda row: whole_text(row.after.n_structures)),
            ("Energy, meV/atom", lambda row: change(row, lambda e: e.mae_energy_meV_per_atom)),
            ("Forces, meV/Å", lambda row: change(row, lambda e: e.mae_force_meV_per_A)),
            ("Stress, MPa", lambda row: change(row, lambda e: e.mae_stress_GPa, 1000.0)),
            ("Slope of forces", lambda row: change(row, lambda e: e.force_slope)),
            ("Mean signed stress, MPa", lambda row: change(row, lambda e: e.mean_error_stress_GPa, 1000.0)),
        ],
        numeric=range(2, 8),
    )


def _kind_words(row: ErrorsApart) -> str:
    if row.by == "temperature_K":
        return f"{row.value:g} K" if not isinstance(row.value, str) else row.value
    return formula_text(str(row.value)) if row.by == "composition" else str(row.value)


def _parity_plot(errors: HeldOutErrors) -> Plot:
    panels = [
        Panel(
            _parity_series(points),
            f"reference ({unit})",
            f"predicted ({unit})",
            title + (_slopes(errors) if points is errors.parity.force_eV_per_A else ""),
            square=True,
        )
        for title, unit, points in _of_parity(errors.parity)
        if points.reference
    ]
    return Plot(
        "parity",
        "Predictions against reference",
        f"Each point compares the potential with the reference on {_set_words(errors)}"
        f"{'' if errors.before is None else ', which training did not use'}. On the diagonal the two agree; "
        "a slope of the forces below 1 indicates a soft potential.",
        panels,
        columns=3,
        height=330,
    )


def _slopes(errors: HeldOutErrors) -> str:
    after = errors.after.force_slope
    if errors.before is None:
        return "" if after is None else f": slope {after:.2f}"
    before = errors.before.force_slope
    return "" if before is None or after is None else f": slope {before:.2f} before, {after:.2f} after training"


def _of_parity(parity: Parity) -> tuple[tuple[str, str, ParityPoints], ...]:
    return (
        ("Energy", "eV/atom", parity.energy_eV_per_atom),
        ("Force components", "eV/Å", parity.force_eV_per_A),
        ("Stress components", "GPa", parity.stress_GPa),
    )


def _parity_series(points: ParityPoints) -> list[Series]:
    drawn = thin(len(points.reference), _MOST_PARITY_POINTS)
    reference, after = ([side[i] for i in drawn] for side in (points.reference, points.after))
    if points.before is None:
        return [parity_series(reference, after, "as published")]
    series, before = parity_series(reference, after, "after training"), [points.before[i] for i in drawn]
    return [replace(series, y=before, label="before training", colour=ORANGE, filled=False, marker="diamond"), series]


def _files(results: Results) -> Iterator[CsvTable]:
    yield _sampling_csv(results)
    yield _labels_csv(results)
    yield _exploration_csv(results)
    yield _learning_csv(results)
    yield _elements_csv(results)
    yield _rungs_csv(results)
    if results.validate is not None:
        errors, key = results.validate.errors, results.validate.key
        yield _errors_csv(errors, key)
        yield _apart_csv(errors, key)
        yield _parity_csv(errors.parity)


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


def _rungs_csv(results: Results) -> CsvTable:
    statistics = [*((name, value_of) for name, _, _, value_of in _ERRORS), *_SHAPE]
    rungs = results.rungs
    rows = (
        tuple(
            (
                row.round,
                row.temperature_K,
                row.set,
                row.errors.n_structures,
                *(value_of(row.errors) for _, value_of in statistics),
                row.round == rungs.goes_on,
                rungs.key,
            )
            for row in rungs.errors
        )
        if rungs is not None
        else ()
    )
    names = ("round", "rung_K", "set", "n_structures", *(name for name, _ in statistics), "goes_on", "key")
    return CsvTable("rungs.csv", names, rows)


def _errors_csv(errors: HeldOutErrors, key: str) -> CsvTable:
    statistics = sorted([*((name, value_of) for name, _, _, value_of in _ERRORS), *_OF_SETS, *_SHAPE])
    rows = tuple(
        (errors.set, errors.n_structures, name, _value(value_of, errors.before), value_of(errors.after), key)
        for name, value_of in statistics
    )
    return CsvTable("errors.csv", ("set", "n_structures", "statistic", "before", "after", "key"), rows)


def _apart_csv(errors: HeldOutErrors, key: str) -> CsvTable:
    statistics = [*((name, value_of) for name, _, _, value_of in _ERRORS), *_SHAPE]
    columns = [f"{name}_{when}" for name, _ in statistics for when in ("before", "after")]
    rows = tuple(
        (
            row.by,
            row.value,
            row.after.n_structures,
            *(_value(value_of, side) for _, value_of in statistics for side in (row.before, row.after)),
            key,
        )
        for row in errors.by
    )
    return CsvTable("errors_apart.csv", ("by", "value", "n_structures", *columns, "key"), rows)


def _value(value_of: Callable[[ErrorMetrics], float | None], errors: ErrorMetrics | None) -> float | None:
    return None if errors is None else value_of(errors)


def _parity_csv(parity: Parity) -> CsvTable:
    rows = tuple(
        (title.lower(), unit, reference, before, after)
        for title, unit, points in _of_parity(parity)
        for reference, before, after in zip(
            points.reference, points.before or [None] * len(points.reference), points.after, strict=True
        )
    )
    return CsvTable("parity.csv", ("quantity", "unit", "reference", "before", "after"), rows)
