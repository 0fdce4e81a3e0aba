"""The verbs ``superionic models ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from superionic.cli.options import JsonOption

if TYPE_CHECKING:
    from superionic.campaign.comparing import ModelComparison

models_app = typer.Typer(help="Potentials, measured on labels of your crystal.", no_args_is_help=True)


@models_app.command("compare")
def compare_command(
    labels: Annotated[
        list[Path], typer.Argument(help="Labels: extended XYZ, outputs of codes, folders of them; twenty are enough.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A candidate: ENGINE (its most accurate model), ENGINE:MODEL or ENGINE:FILE, e.g. sevennet:7net-0 or "
            "nequix:nequix-omat-1.nqx, each also with +d3bj at its end; repeatable.",
            show_default="those installed that need no file",
        ),
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=1, help="Compare with this many labels, evenly spread.", show_default="all")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure potentials on labels of a reference method, and recommend one for each purpose.

    Errors of energy (after a shift of each element for each model), forces and stress; slope of the forces, below 1
    where a model is softer than the reference; bias of the stress, tension positive; CPU time of an evaluation.
    """
    from superionic.campaign.comparing import compare_models
    from superionic.execution.codec import plain_json, to_tree

    result = compare_models(labels, model or None, most=most)
    if csv is not None:
        _write(csv, result)
    if as_json:
        typer.echo(json.dumps(plain_json(to_tree(result)), indent=1, sort_keys=True, allow_nan=False))
        return
    _show(result)


_COLUMNS = ("model", "meV/atom", "RMSE", "meV/Å", "RMSE", "MPa", "slope", "bias GPa", "µs/atom")


def _show(result: ModelComparison) -> None:
    console = Console()
    table = Table(title=f"mean absolute errors on {result.n_labels} labels")
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for each in result.models:
        errors = each.errors
        table.add_row(
            each.name,
            f"{errors.mae_energy_meV_per_atom:.2f}",
            f"{errors.rmse_energy_meV_per_atom:.2f}",
            f"{errors.mae_force_meV_per_A:.1f}",
            f"{errors.rmse_force_meV_per_A:.1f}",
            "–" if errors.mae_stress_GPa is None else f"{1000.0 * errors.mae_stress_GPa:.0f}",
            "–" if errors.force_slope is None else f"{errors.force_slope:.3f}",
            "–" if errors.mean_error_stress_GPa is None else f"{errors.mean_error_stress_GPa:+.2f}",
            f"{each.cpu_us_per_atom:.0f}",
        )
    console.print(table)
    for advice in result.advice:
        console.print(f"for {advice.purpose}: [b]{escape(advice.name or 'none')}[/]: {escape(advice.reason)}.")
    for each in result.models:
        if each.failures:
            console.print(f"{escape(each.name)}: {len(each.failures)} structures failed: {escape(each.failures[0])}.")
        if each.caution is not None:
            console.print(f"[yellow]caution:[/] {escape(f'{each.name}: {each.caution}')}.", highlight=False)
    for words in result.notes:
        console.print(f"note: {escape(words)}", highlight=False)
    for reason in result.left_out:
        console.print(f"left out: {escape(reason)}", highlight=False)


def _write(file: Path, result: ModelComparison) -> None:
    import csv

    from superionic.errors import storage_error

    names = (
        "name", "model", "energy_convention", "n_labels", "mae_energy_meV_per_atom", "rmse_energy_meV_per_atom",
        "mae_force_meV_per_A", "rmse_force_meV_per_A", "mae_stress_GPa", "rmse_stress_GPa", "force_slope",
        "mean_error_stress_GPa", "shift_eV_per_atom", "cpu_us_per_atom",
    )  # fmt: skip
    rows = []
    for each in result.models:
        values = {"n_labels": each.errors.n_structures, **vars(each.errors), **vars(each)}
        rows.append([values[name] for name in names])
    try:
        with file.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([names, *rows])
    except OSError as error:
        raise storage_error(error, where=file, doing="write the file") from error


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.add_typer(models_app, name="models")
