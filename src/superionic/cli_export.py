"""``superionic export``: the transport runs of a campaign as input of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export_command(
    campaign: Annotated[Path, typer.Argument(help="Campaign file (YAML), or the folder that holds campaign.yaml.")],
    form: Annotated[str, typer.Option("--format", "-f", help="lammps or gpumd.")] = "lammps",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to.  [default: export/FORMAT in the run folder]")
    ] = None,
    run_folder: Annotated[Path | None, typer.Option("--run-folder", help="Where the campaign's results are.")] = None,
) -> None:
    """Write the transport runs as input of LAMMPS or GPUMD, one folder a run. Nothing is computed."""
    from superionic.campaign.run import Campaign

    path = campaign / "campaign.yaml" if (campaign / "campaign.yaml").is_file() else campaign
    opened = Campaign.load(path, run_folder=run_folder)
    folder = output if output is not None else opened.run_folder / "export" / form
    written = opened.export(form, folder)
    runs = {path.relative_to(folder).parts[0] for path in written}
    typer.echo(f"{len(runs)} runs for {form} in {folder}")
