"""The verbs of ``superionic train``: their options and their output."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from rich.console import Console
from rich.table import Table

from superionic.cli.options import JsonOption, LabelKeyOptions, QuietOption, grouped, parse_whole_numbers
from superionic.cli.progress import run_progress

if TYPE_CHECKING:
    from superionic.results.studies import Cell, CompareRow, Comparison, StudyResult
    from superionic.stages.studies import SplitRule, Study
    from superionic.training.metrics import ErrorMetrics

train_app = typer.Typer(
    help=(
        "Train on a file of labels, without a campaign: check the labels, search settings, find how many labels are "
        "enough, compare ways of training. Results are stored: the same command, given again, resumes where it stopped."
    ),
    no_args_is_help=True,
)

_EXIT_PROBLEMS = 2
_UNITS = {
    "energy_meV_per_atom": ("energy", "meV/atom", 1.0),
    "force_meV_per_A": ("force", "meV/Å", 1.0),
    "stress_GPa": ("stress", "MPa", 1000.0),
}
DEFAULT_SEARCH: dict[str, list[Any]] = {
    "learning_rate": [0.001, 0.0003, 0.003],
    "batch_size": [4, 2, 8],
    "freeze": ["none", "embeddings", "two-blocks"],
    "epochs": [50, 100],
}
"""Settings searched by default: those that paper B optimised."""

LabelsArgument = Annotated[
    Path,
    typer.Argument(
        help="Labels: extended XYZ with energy, forces, stress (`run=...` in each comment line: its trajectory), or "
        "any output that `superionic labels import` reads."
    ),
]
SeedsOption = Annotated[int, typer.Option(min=1, help="Number of trainings of each kind, with different seeds.")]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Folder of the results.", show_default="train-NAME beside the labels")
]


@dataclass(frozen=True)
class TrainingOptions:
    """The potential to start from, and how it is trained."""

    heading: ClassVar[str] = "Potential and trainer"

    engine: Annotated[
        str, typer.Option(help="Potential to train: chgnet, sevennet, mace, matgl; with --trainer delta any.")
    ] = "chgnet"
    model: Annotated[
        str | None,
        typer.Option(help="Published model of that engine, e.g. r2scan.", show_default="the engine's default"),
    ] = None
    file: Annotated[Path | None, typer.Option(help="Your own checkpoint to start from (sevennet, mace, matgl).")] = None
    potential_option: Annotated[
        list[str] | None,
        typer.Option(help="Option for loading it, e.g. energy_convention='MP raw PBE(+U)'; repeatable."),
    ] = None
    trainer: Annotated[
        str | None,
        typer.Option(
            help="delta: a correction that is added, for any engine; few labels teach it.",
            show_default="the trainer of the engine",
        ),
    ] = None
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="Option of the trainer, e.g. epochs=100, learning_rate=0.0005; repeatable."),
    ] = None


@dataclass(frozen=True)
class SplitOptions:
    """How labels are divided into training, validation and test set."""

    heading: ClassVar[str] = "Training, validation and test set"

    split_by: Annotated[str, typer.Option(help="What the split never divides: run, ordering or composition.")] = "run"
    test_run: Annotated[
        list[str] | None, typer.Option("--test-run", help="Run to hold out for testing; repeatable.")
    ] = None
    validation_run: Annotated[
        list[str] | None, typer.Option("--validation-run", help="Run that selects the best epoch; repeatable.")
    ] = None
    test_fraction: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of labels held out if no runs are named.")
    ] = 0.2
    validation_fraction: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of labels that selects the best epoch.")
    ] = 0.15
    seed: Annotated[int, typer.Option(help="Seed of splits and trainings.")] = 0

    def rule(self) -> SplitRule:
        """Return the rule by which labels are divided.

        Raises
        ------
        CampaignFileError
            If ``split_by`` is not one of the three.
        """
        from superionic.errors import CampaignFileError
        from superionic.stages.studies import SplitRule

        if self.split_by not in ("run", "ordering", "composition"):
            raise CampaignFileError(
                f"labels cannot be split by {self.split_by!r}",
                where="--split-by",
                fix="use run, ordering or composition",
            )
        return SplitRule(
            self.split_by,  # type: ignore[arg-type]
            self.validation_fraction,
            self.test_fraction,
            tuple(self.test_run or ()),
            tuple(self.validation_run or ()),
        )


@dataclass(frozen=True)
class OutputOptions:
    """Where a verb's results are written, and what it prints."""

    folder: FolderOption = None
    workers: Annotated[int, typer.Option(min=1, help="Number of trainings to run at once.")] = 2
    as_json: JsonOption = False
    quiet: QuietOption = False

    def folder_for(self, labels: Path) -> Path:
        """Return the folder for the results of a file of labels."""
        return self.folder if self.folder is not None else labels.absolute().parent / f"train-{labels.stem}"


@train_app.command("check")
@grouped
def check_command(
    labels: LabelsArgument,
    training: TrainingOptions,
    split: SplitOptions,
    label_keys: LabelKeyOptions,
    output: OutputOptions,
) -> None:
    """Check labels before training: units, signs, leakage, missing elements, ranges, duplicates.

    Exit code 2 if a problem would spoil the training.
    """
    from superionic.campaign.study import results_json
    from superionic.stages.studies import check

    with _study(labels, training, split, label_keys, output) as study:
        result = check(study)
    _write(output, labels, "check", result)
    if output.as_json:
        typer.echo(results_json(result))
    else:
        parts = (("train", result.n_train), ("validation", result.n_validation), ("test", result.n_test))
        for part, number in parts:
            runs = result.runs[part]
            typer.echo(f"{part:<11}{number:>5} labels of {len(runs)} runs: {', '.join(runs[:6])}")
        shifts = ", ".join(f"{element} {value:+.3f}" for element, value in result.element_references_eV.items())
        typer.echo(f"energy references (eV/atom): {shifts}")
        typer.echo(f"residual of the energies: {1000 * result.rms_residual_eV_per_atom:.1f} meV/atom")
        _notes(result)
        for finding in result.findings:
            typer.echo(f"{finding.severity}: {finding.name}: {finding.evidence}\n  fix: {finding.fix}")
        if not result.findings:
            typer.echo("no problems in these labels")
    if any(finding.severity == "error" for finding in result.findings):
        raise typer.Exit(_EXIT_PROBLEMS)


@train_app.command("curve")
@grouped
def curve_command(
    labels: LabelsArgument,
    training: TrainingOptions,
    split: SplitOptions,
    label_keys: LabelKeyOptions,
    output: OutputOptions,
    sizes: Annotated[
        str | None, typer.Option(help="Training-set sizes, e.g. 8,16,32.", show_default="halvings of all")
    ] = None,
    same: Annotated[
        str, typer.Option(help="Budget that all sizes share: steps (so that small sets get more epochs) or epochs.")
    ] = "steps",
    worth: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=0.9,
            help="Smallest relative reduction of an error that makes doubling the labels worthwhile.",
        ),
    ] = 0.1,
    further: Annotated[str | None, typer.Option(help="Numbers of further labels to plan for, e.g. 100,500.")] = None,
    hours_per_label: Annotated[float | None, typer.Option(help="Cost of one label in hours, for the plan.")] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Your own CSV of errors by size: a column n (labels) and others, such as an error of Ea."),
    ] = None,
    seeds: SeedsOption = 1,
) -> None:
    """Train on nested subsets, and estimate what further labels would gain.

    All sizes are evaluated on one test set. A power law is fitted to each error; "enough" means that doubling the
    labels would lower it by less than --worth.
    """
    from superionic.campaign.study import read_table, results_json
    from superionic.errors import CampaignFileError
    from superionic.stages.studies import curve

    own_table = read_table(table) if table is not None else []
    train_sizes, planned = parse_whole_numbers(sizes, "--sizes"), parse_whole_numbers(further, "--further")
    if same not in ("steps", "epochs"):
        raise CampaignFileError(f"sizes cannot share {same!r}", where="--same", fix="use steps or epochs")
    with _study(labels, training, split, label_keys, output) as study:
        result = curve(
            study,
            train_sizes,
            seeds=seeds,
            same=same,
            worth=worth,
            further=planned,
            cost_per_label_h=hours_per_label,
            table=own_table,
        )
    written = _write(output, labels, "curve", result)
    if output.as_json:
        typer.echo(results_json(result))
        return
    _error_table([row.cells() for row in result.rows], ["n", "seed", "best_epoch"], f"test set: {result.n_test} labels")
    for trained in result.rows:
        _softness("before training" if trained.n == 0 else f"{trained.n} labels (seed {trained.seed})", trained.errors)
    for name, verdict in result.enough.items():
        if name.startswith("mae_") or not name.startswith("rmse_"):
            typer.echo(verdict.words.replace(name, _heading(name)[0]))
    for name, rows in result.budget.items():
        word, unit, scale = _heading(name)
        for row in rows if name.startswith("mae_") else ():
            between = (
                "" if row.low is None or row.high is None else f" ({scale * row.low:.3g} to {scale * row.high:.3g})"
            )
            hours = "" if row.hours is None else f", {row.hours:.3g} h"
            far = "" if row.extrapolated <= 4.0 else "; far beyond the sizes measured"
            typer.echo(f"{row.further} more labels{hours}: {word} {scale * row.expected:.3g}{between} {unit}{far}")
    _notes(result)
    _say_where(written)


@train_app.command("search")
@grouped
def search_command(
    labels: LabelsArgument,
    training: TrainingOptions,
    split: SplitOptions,
    label_keys: LabelKeyOptions,
    output: OutputOptions,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            help="Values of an option to try, e.g. learning_rate=0.001,0.0003; repeatable.",
            show_default="paper B",
        ),
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Try all combinations instead of one option after the other.")
    ] = False,
    seeds: SeedsOption = 1,
) -> None:
    """Search for the best settings by validation loss (paper B: batch size, epochs, rate, frozen layers).

    Only the best setting is evaluated on the test set.
    """
    from superionic.campaign.study import parse_options, results_json
    from superionic.results.studies import shown
    from superionic.stages.study_search import search

    choices = parse_options(vary, several=True) if vary else DEFAULT_SEARCH
    with _study(labels, training, split, label_keys, output) as study:
        result = search(study, choices, grid=grid, seeds=seeds)
    written = _write(output, labels, "search", result)
    if output.as_json:
        typer.echo(results_json(result))
        return
    for row in result.rows:
        spread = f" ± {0.5 * row.spread:.4f}" if seeds > 1 else ""
        changes = _settings(row.changes) or "initial settings"
        typer.echo(f"{row.validation_loss:.5f}{spread}  best epoch {row.best_epoch[0]}  {changes}")
    typer.echo("best: " + (_settings(result.rows[0].changes) or "the initial settings"))
    before: dict[str, Cell] = {"training": "before", **shown(result.before)}
    after: dict[str, Cell] = {"training": "after", **shown(result.after)}
    _error_table([before, after], ["training"], f"{result.set} set")
    _softness("before training", result.before)
    _softness("after training", result.after)
    _notes(result)
    _say_where(written)


@train_app.command("compare")
@grouped
def compare_command(
    labels: LabelsArgument,
    training: TrainingOptions,
    split: SplitOptions,
    label_keys: LabelKeyOptions,
    output: OutputOptions,
    methods: Annotated[
        str | None,
        typer.Option(help="Ways to train, e.g. naive,frozen,scratch (mace: also lora, multihead).", show_default="all"),
    ] = None,
    others: Annotated[
        Path | None,
        typer.Option(
            help="Structures of other chemistries for the test of forgetting.", show_default="14 simple crystals"
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature-K", help="Temperature of the stability test; take your highest.")
    ] = 800.0,
    length: Annotated[
        float, typer.Option("--length-ps", min=0, help="Length of the stability test; 0 leaves it out.")
    ] = 2.0,
    timestep: Annotated[
        float, typer.Option("--timestep-fs", min=0.1, max=10, help="Time step of the stability test.")
    ] = 2.0,
    mobile: Annotated[
        str | None,
        typer.Option(help="Mobile ion: all others should keep their sites.", show_default="the first that conducts"),
    ] = None,
    seeds: SeedsOption = 1,
) -> None:
    """Compare ways of training on the same labels with the same budget: errors, forgetting, stability, repulsion.

    Forgetting: how far predictions for other chemistries move from those of the pretrained potential. Stability: a run
    at high temperature, which must not blow up; its pair distances beside those of the labels. Repulsion: two atoms of
    each pair of elements pushed together, whose energy must not turn over (paper A, table S2, figures S6 and S7).
    """
    from superionic.campaign.study import results_json
    from superionic.execution.kept_files import keep
    from superionic.results.studies import StabilityTest, shown
    from superionic.stages.study_compare import choose_methods, compare

    stability = StabilityTest(temperature, length, timestep, mobile or "") if length > 0 else None
    compared = choose_methods(
        training.trainer or training.engine, None if methods is None else [name.strip() for name in methods.split(",")]
    )
    with _study(labels, training, split, label_keys, output) as study:
        stored = None if others is None else keep(others)
        result = compare(study, compared, others=stored, stability=stability, seeds=seeds)
    written = _write(output, labels, "compare", result)
    if output.as_json:
        typer.echo(results_json(result))
        return
    columns = ["method", "seed", "best_epoch"]
    _error_table([row.cells() for row in result.rows], columns, f"test set: {result.n_test} labels")
    for row in result.rows:
        if row.errors is not None:
            _softness(f"{row.method} (seed {row.seed})", row.errors)
    moved: list[dict[str, Cell]] = [
        {"method": row.method, "seed": row.seed, **shown(row.forgotten)}
        for row in result.rows
        if row.forgotten is not None
    ]
    _error_table(moved, columns[:2], f"change from the pretrained potential on {result.n_others} other structures")
    _show_runs(result)
    _show_repulsion(result)
    for row in result.rows:
        if row.failed is not None:
            typer.echo(f"{row.method} (seed {row.seed}) failed: {row.failed}")
    _notes(result)
    _say_where(written)


@train_app.command("evaluate")
def evaluate_command(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... LABELS...",
            help="Potentials (ENGINE, ENGINE:MODEL or ENGINE:FILE, e.g. chgnet or nep:nep.txt) and files or folders of "
            "labels, each a test set of its own.",
        ),
    ],
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure any potentials on any test sets, in one table (paper B, figures 2b, c and S1 to S3).

    Errors of energy (after a shift of each element for each potential, over all sets), forces and stress, and the slope
    of the forces. Nothing is trained. `superionic models compare` recommends a potential from one set.
    """
    from superionic.campaign.comparing import evaluate_models
    from superionic.errors import CampaignFileError
    from superionic.execution.codec import plain_json, to_tree
    from superionic.registry import find
    from superionic.results.studies import shown

    models = [each for each in what if not Path(each).exists() and find(each.partition(":")[0]) is not None]
    sets = [each for each in what if each not in models]
    if not models or not sets:
        raise CampaignFileError(
            "potentials are measured on labels, and there are no " + ("potentials" if not models else "labels"),
            where="superionic train evaluate " + " ".join(what),
            fix="name at least one potential and one file of labels, such as: chgnet labels.extxyz",
        )
    result = evaluate_models(models, sets)
    rows: list[dict[str, Cell]] = [
        {"model": row.model, "set": row.set, "labels": row.errors.n_structures, **shown(row.errors)}
        for row in result.rows
    ]
    if csv is not None:
        _write_rows(csv, rows)
    if as_json:
        typer.echo(json.dumps(plain_json(to_tree(result)), indent=1, sort_keys=True, allow_nan=False))
        return
    _error_table(rows, ["model", "set", "labels"], "errors on labels")
    for words in result.notes:
        typer.echo(f"note: {words}")
    for words in result.left_out:
        typer.echo(f"left out: {words}")


# ---- helpers --------------------------------------------------------------------------------------------------------


@contextmanager
def _study(
    labels: Path, training: TrainingOptions, split: SplitOptions, label_keys: LabelKeyOptions, output: OutputOptions
) -> Iterator[Study]:
    from superionic.campaign.study import open_study, parse_options

    rule = split.rule()
    loading = parse_options(training.potential_option or [])
    if training.file is not None:
        loading["file"] = str(training.file.absolute())
    with (
        run_progress(quiet=output.quiet or output.as_json) as reporter,
        open_study(
            labels,
            output.folder_for(labels),
            engine=training.engine,
            model=training.model,
            potential_options=loading,
            trainer=training.trainer,
            options=parse_options(training.option or []),
            rule=rule,
            seed=split.seed,
            workers=output.workers,
            reporter=reporter,
            keys=label_keys.keys(),
        ) as study,
    ):
        yield study


def _write(output: OutputOptions, labels: Path, name: str, result: StudyResult) -> list[Path]:
    from superionic.campaign.study import write_results

    return write_results(output.folder_for(labels), name, result)


def _write_rows(file: Path, rows: Sequence[Mapping[str, Cell]]) -> None:
    import csv

    from superionic.errors import storage_error

    try:
        with file.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise storage_error(error, where=file, doing="write the file") from error


def _error_table(rows: Sequence[Mapping[str, Cell]], first: Sequence[str], title: str) -> None:
    table = Table(title=f"{title} (mean absolute / root mean square)", title_justify="left")
    for name in first:
        table.add_column(name.replace("_", " "), no_wrap=True)
    # Mean absolute and root mean square in one column, so that the table fits into 80.
    shown = [
        ([f"mae_{what}", f"rmse_{what}"], f"{word}\n{unit}", scale) for what, (word, unit, scale) in _UNITS.items()
    ]
    shown += [(["mean_error_stress_GPa"], "bias\nMPa", 1000.0), (["force_slope"], "slope\nforces", 1.0)]
    for _, heading, _ in shown:
        table.add_column(heading, justify="right")
    for row in rows:
        cells = ["" if row.get(name) is None else str(row[name]) for name in first]
        for keys, _, scale in shown:
            values = [row.get(key) for key in keys]
            cells.append(" / ".join(f"{v * scale:.3g}" if isinstance(v, (int, float)) else "-" for v in values))
        table.add_row(*cells)
    Console().print(table)


def _show_runs(result: Comparison) -> None:
    """Show how the hot runs went, and how near their atoms came to one another."""
    test, labelled = result.stability, result.labelled
    if test is None or labelled is None:
        return
    runs = {_whose(row): row for row in result.rows if row.run is not None}
    for name, row in runs.items():
        if row.run is None:
            continue
        end = "stable" if row.run.stable else f"stopped: {row.run.stopped}"
        typer.echo(f"{name} at {test.temperature_K:g} K: {row.run.stable_ps:g} ps, {end}")
        if row.run.off_sites:
            others = f"atoms other than {test.mobile_ion}" if test.mobile_ion else "atoms"
            typer.echo(f"  up to {100.0 * row.run.off_sites:.0f} % of the {others} were off their sites at once")
    by_pair: dict[str, dict[str, str]] = {}
    for each in labelled.distances:
        cells = {"labels": "-" if each.closest_A is None else f"{each.closest_A:.2f}"}
        for name, row in runs.items():
            closest = {one.pair: one.closest_A for one in row.run.distances} if row.run is not None else {}
            overlap = {one.pair: f" ({one.overlap:.2f})" for one in row.overlaps}.get(each.pair, "")
            near = closest.get(each.pair)
            cells[name] = "-" if near is None else f"{near:.2f}{overlap}"
        by_pair[each.pair.replace("-", "–")] = cells
    _pair_table(by_pair, "closest distances in Å, and in brackets overlap with the distances in the labels")


def _show_repulsion(result: Comparison) -> None:
    """Show where the repulsion of two atoms turns over, and the energy that they need to get there."""
    by_pair: dict[str, dict[str, str]] = {}
    for row in result.rows:
        for curve in row.repulsion:
            words = f"to {min(curve.distances_A):.1f} Å none" if curve.ended and curve.distances_A else "none"
            if curve.hole is not None:
                words = f"{curve.hole.distance_A:.1f} Å, {curve.hole.barrier_eV:.2g} eV"
            by_pair.setdefault("–".join(curve.pair), {})[_whose(row)] = words
    _pair_table(by_pair, "holes in the repulsion: where energies fall inwards, and the barrier before")


def _whose(row: CompareRow) -> str:
    return row.method if row.epochs is None else f"{row.method} (seed {row.seed})"


def _pair_table(by_pair: Mapping[str, Mapping[str, str]], title: str) -> None:
    """Show a row for each pair of elements and a column for each potential."""
    table = Table(title=title, title_justify="left")
    table.add_column("pair", no_wrap=True)
    names = list(dict.fromkeys(name for cells in by_pair.values() for name in cells))
    for name in names:
        table.add_column(name.replace(" (", "\n("), justify="right")
    for pair, cells in by_pair.items():
        table.add_row(pair, *(cells.get(name, "-") for name in names))
    if by_pair:
        Console().print(table)


def _softness(whose: str, errors: ErrorMetrics) -> None:
    from superionic.training.metrics import softness_words, stress_bias_words

    for caution in (softness_words(errors), stress_bias_words(errors)):
        if caution is not None:
            typer.echo(f"caution: {whose}: {caution}.")


def _heading(name: str) -> tuple[str, str, float]:
    """Return the words, the unit and the factor with which a column is shown."""
    kind, _, what = name.partition("_")
    word, unit, scale = _UNITS.get(what, (name, "", 1.0))
    return (f"{word} {kind.upper()}" if what in _UNITS else name), unit, scale


def _settings(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in changes.items())


def _notes(result: StudyResult) -> None:
    for note in result.notes:
        typer.echo(f"caution: {note}")


def _say_where(written: Sequence[Path]) -> None:
    typer.echo("wrote " + ", ".join(str(path) for path in written))


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.add_typer(train_app, name="train")
