"""The verb ``superionic compare``: the transport of several campaigns side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from superionic.cli.options import JsonOption
from superionic.cli.tables import show_sections


def compare_command(
    campaigns: Annotated[
        list[Path], typer.Argument(help="Campaign files (YAML), or folders that hold campaign.yaml, with reports.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for a page with the figure, and the tables as CSV.", show_default="none"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare campaigns: volume, activation energy and conductivity of the same materials, published values beside.

    Each series of runs is a row: by a potential, at a pressure. Materials are the same where formula and space group
    agree. What is compared is what the last reports say; [b]superionic report[/b] renews one.
    """
    from superionic.campaign.side_by_side import compare_campaigns

    compared = compare_campaigns(campaigns)
    page = None if output is None else compared.write(output)
    section = compared.section
    if as_json:
        tables = {
            each.name.removesuffix(".csv"): [dict(zip(each.columns, row, strict=True)) for row in each.rows]
            for each in section.csv
        }
        typer.echo(json.dumps(tables, indent=1))
        return
    show_sections(Console(soft_wrap=True), [section])
    if page is not None:
        typer.echo(f"page, figure and tables: {page}")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("compare")(compare_command)
