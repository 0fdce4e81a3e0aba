"""A study of training on a file of labels, without a campaign file: its workbench, in a folder of its own."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superionic.errors import CampaignFileError, PotentialError, StructureError

if TYPE_CHECKING:
    from superionic.execution.reporting import Reporter
    from superionic.labels.frame_values import LabelKeys
    from superionic.results.studies import StudyResult
    from superionic.stages.studies import SplitRule, Study

WORKERS = 2
"""Default number of trainings at once: each takes a core and half a gigabyte."""


@contextmanager
def open_study(
    labels: str | Path,
    folder: str | Path,
    *,
    engine: str = "chgnet",
    model: str | None = None,
    potential_options: Mapping[str, Any] | None = None,
    trainer: str | None = None,
    options: Mapping[str, Any] | None = None,
    rule: SplitRule | None = None,
    seed: int = 0,
    workers: int | None = None,
    reporter: Reporter | None = None,
    keys: LabelKeys | None = None,
) -> Iterator[Study]:
    """Open a study; everything it computes is stored in ``folder`` and never computed twice.

    Parameters
    ----------
    labels
        Extended XYZ with energy, forces and stress, and in the comment line of each structure ``run`` and, where they
        are known, ``temperature_K``, ``phase``, ``composition``, ``round``, ``set``.
    folder
        Where results go.
    engine, model, potential_options
        The potential to begin with.
    trainer
        Name of the trainer; that of the engine by default. ``delta`` adds a correction to any potential.
    options
        Options of the trainer.
    rule
        How labels are divided.
    seed
        Parent of all seeds.
    workers
        Processes; two if left out.
    reporter
        Hears of progress.
    keys
        Where energies, forces, stresses and virials are in the file, if not where
        :mod:`superionic.labels.frame_values` looks.

    Raises
    ------
    SuperionicError
        If the labels, the potential, its engine or the folder will not do.
    """
    from superionic.campaign.prepare import choose_potential, prove_files, require_engines
    from superionic.execution.engines import CORE, resolve_engine
    from superionic.execution.executors import default_slots, local_executor
    from superionic.execution.interrupts import remembered_interrupts
    from superionic.execution.kept_files import keep
    from superionic.execution.ledger import LEDGER, Ledger
    from superionic.execution.locks import run_lock
    from superionic.execution.runner import Runner
    from superionic.execution.store import Store
    from superionic.stages.base import Workbench
    from superionic.stages.studies import open_study as read
    from superionic.version import __version__

    source = Path(labels)
    if not source.is_file():
        raise StructureError("there is no such file of labels", where=str(labels), fix="check the path")
    potential = choose_potential(engine, engine, model, potential_options or {}, where="--engine")
    if "dispersion" in potential.options:
        raise PotentialError(
            "A training learns labels as they are: a dispersion term beside them would count twice or not at all.",
            where="--potential-option",
            fix="Leave it out; to let the potential learn dispersion, add it to the labels: superionic labels import "
            "LABELS --dispersion d3bj",
        )
    if potential.engine != CORE:
        require_engines([potential.engine])
    prove_files({engine: potential})
    stored = keep(source)
    root = Path(folder)
    store = Store(root / "store")
    store.prepare()
    slots = default_slots(workers or WORKERS)
    with run_lock(root), Ledger(root / LEDGER) as ledger, remembered_interrupts() as interrupts:
        store.sweep()
        with ledger.recorded_run(__version__), local_executor(slots) as executor:
            runner = Runner(
                store,
                ledger,
                executor=executor,
                slots=slots,
                python_of=lambda name: resolve_engine(name).python,
                reporter=reporter,
                interrupts=interrupts,
            )
            bench = Workbench(runner, seed, "", {}, {engine: potential}, lambda name: resolve_engine(name).identity)
            yield read(
                bench,
                stored,
                source.name,
                potential,
                trainer=trainer,
                options=options,
                rule=rule,
                seed=seed,
                keys=keys,
            )


def parse_value(text: str) -> bool | int | float | str | dict[str, Any] | None:
    """Read one value of an option as a campaign file would: true, 3, 1e-4, null, a word, or a JSON object."""
    if text.strip().startswith("{"):
        try:
            table = json.loads(text)
        except ValueError:
            return text.strip()
        return dict(table)
    literals: dict[str, bool | None] = {"true": True, "false": False, "null": None}
    if text.strip() in literals:
        return literals[text.strip()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip()


def parse_options(texts: Sequence[str], *, several: bool = False) -> dict[str, Any]:
    """Read options written as ``name=value``, or as ``name=value,value`` where several are asked for.

    Raises
    ------
    CampaignFileError
        If one is not of this form, or named twice.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name or name in options:
            raise CampaignFileError(
                f"{text!r} is not an option with its value, or names an option twice",
                where="--option",
                fix="write e.g. learning_rate=0.0005" + (",0.001" if several else ""),
            )
        options[name] = [parse_value(part) for part in value.split(",")] if several else parse_value(value)
    return options


def read_table(path: str | Path) -> list[dict[str, Any]]:
    """Read a CSV table whose column ``n`` is a number of labels.

    Raises
    ------
    StructureError
        If it cannot be read or has no such column.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = [{str(k): parse_value(v or "") for k, v in row.items()} for row in csv.DictReader(file)]
    except OSError as error:
        raise StructureError(f"the table cannot be read: {error.strerror}", where=str(path), fix="check it") from error
    if not rows or not all(isinstance(row.get("n"), int) for row in rows):
        raise StructureError("the table has no column n with whole numbers", where=str(path), fix="add one")
    return rows


def write_results(folder: str | Path, name: str, results: StudyResult) -> list[Path]:
    """Write the results of a study: JSON, its rows as CSV, and figures with their data where there are any.

    Returns
    -------
    list of Path
        The files.
    """
    from superionic.report.csv_tables import csv_text
    from superionic.report.size_curve import size_curve
    from superionic.report.training_methods import comparison_plots, comparison_tables
    from superionic.results.studies import Comparison, Curve, LabelCheck

    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    written = [root / f"{name}.json"]
    written[0].write_text(results_json(results) + "\n", encoding="utf-8")
    rows = [] if isinstance(results, LabelCheck) else [row.cells() for row in results.rows]
    if rows:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        written.append(root / f"{name}.csv")
        with written[-1].open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    plots, tables = [], []
    if isinstance(results, Curve) and (plot := size_curve(results)) is not None:
        plots = [plot]
    elif isinstance(results, Comparison):
        plots, tables = comparison_plots(results), comparison_tables(results)
    for table in tables:
        if table.rows:
            written.append(root / table.name)
            written[-1].write_text(csv_text(table), encoding="utf-8")
    for plot in plots:
        from superionic.report.draw_matplotlib import draw

        for kind, data in draw(plot, ("png", "svg")).items():
            written.append(root / f"{plot.key}.{kind}")
            written[-1].write_bytes(data)
    return written


def results_json(results: object) -> str:
    """Return results, such as those of a study, as the text of one strict JSON object."""
    from superionic.execution.codec import plain_json, to_tree

    return json.dumps(plain_json(to_tree(results)), indent=1, sort_keys=True, allow_nan=False)
