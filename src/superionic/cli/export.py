"""The verb ``superionic export``: runs for other programs, and trained potentials for other campaigns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from superionic.cli.options import CampaignArgument, RunFolderOption, open_campaign

_RUNS = "runs"


class _RunsByDefault(TyperGroup):
    """A group of which ``runs`` need not be named: ``superionic export CAMPAIGN`` is older than its sister."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = next((argument for argument in args if not argument.startswith("-")), None)
        if first is not None and first not in self.commands:
            args = [_RUNS, *args]
        return super().parse_args(ctx, args)


export_app = typer.Typer(
    cls=_RunsByDefault,
    no_args_is_help=True,
    help=(
        "Write runs for LAMMPS or GPUMD ([b]superionic export CAMPAIGN[/b] is short for [b]superionic export runs "
        "CAMPAIGN[/b]), or a trained potential for other campaigns."
    ),
)


@export_app.command(_RUNS)
def runs_command(
    campaign: CampaignArgument,
    form: Annotated[str, typer.Option("--format", "-f", help="lammps or gpumd.")] = "lammps",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write.", show_default="export/FORMAT in the run folder"),
    ] = None,
    run_folder: RunFolderOption = None,
) -> None:
    """Write the transport runs as input for LAMMPS or GPUMD, a folder for each. Nothing is computed."""
    opened = open_campaign(campaign, run_folder)
    folder = output if output is not None else opened.run_folder / "export" / form
    runs = {path.relative_to(folder).parts[0] for path in opened.export(form, folder)}
    typer.echo(f"{len(runs)} runs for {form} in {folder}")


@export_app.command("model")
def model_command(
    campaign: CampaignArgument,
    name: Annotated[
        str,
        typer.Argument(
            help="fine-tuned, fine-tuned@N (of N labels), round-N, student-N, or student-N-of-TEACHER where there are "
            "several."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="File to write.")],
    run_folder: RunFolderOption = None,
) -> None:
    """Write a potential that the campaign trained into a file, which another campaign takes as `file`.

    The file has the weights, what they were trained on and by which versions, their errors, their energy convention,
    the licence of what they started from, and values of a stored cell that every campaign checks before it uses it.
    """
    made = open_campaign(campaign, run_folder).export_model(name, out)
    identity = made.exported.identity
    typer.echo(f"{made.name}, engine {made.engine}: {made.path}")
    typer.echo(f"energies: {identity['energy_convention']}; licence: {identity['licence']}")
    typer.echo(f"in a campaign file: potentials: {{mine: {{engine: {made.engine}, file: {made.path.name}}}}}")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.add_typer(export_app, name="export")
