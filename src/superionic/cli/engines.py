"""The verbs of ``superionic engines``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from superionic.cli.options import JsonOption

if TYPE_CHECKING:
    from superionic.execution.engines import EngineStatus

engines_app = typer.Typer(
    help="Engines: potentials and DFT codes, each in an environment of its own.", no_args_is_help=True
)
_EXIT_USER_ERROR = 2

EnginesArgument = Annotated[list[str], typer.Argument(help="Engines, e.g. chgnet gpaw.")]


@engines_app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List the engines: version, licence, and whether each is installed."""
    from superionic.execution.engines import list_engines

    engines = list_engines()
    if as_json:
        typer.echo(json.dumps([{**vars(s), "python": s.python and str(s.python)} for s in engines], indent=1))
    else:
        _show_engines(engines)


@engines_app.command("install")
def install_command(
    names: EnginesArgument,
    allow_cuda: Annotated[
        bool, typer.Option("--allow-cuda", help="Accept a CUDA build of PyTorch on a machine without a GPU.")
    ] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Rebuild the environment from scratch.")] = False,
    where_possible: Annotated[
        bool, typer.Option("--where-possible", help="Skip engines that this Python is too new for.")
    ] = False,
) -> None:
    """Build the environment of each engine from pinned versions and test the engine; two at a time."""
    from superionic.campaign.prepare import install_engines
    from superionic.execution.engine_specs import engine_spec

    engines = list(dict.fromkeys(names))
    if where_possible:
        engines = [name for name in engines if engine_spec(name).fits_python(sys.version_info[:2])]
    install_engines(engines, typer.echo, allow_cuda=allow_cuda, rebuild=rebuild)


@engines_app.command("check")
def check_command(
    names: EnginesArgument,
    file: Annotated[
        Path | None, typer.Option(help="Check this checkpoint (or folder) in the one engine named.")
    ] = None,
    energy_convention: Annotated[
        str | None,
        typer.Option(help="Convention of its energies, e.g. 'MP raw PBE(+U)'; see the how-to on potentials."),
    ] = None,
    modal: Annotated[str | None, typer.Option(help="Level of theory, or head, of a file that has several.")] = None,
    trust_sha256: Annotated[
        str | None,
        typer.Option("--trust", help="SHA-256 of a file to load even though loading runs code stored in it."),
    ] = None,
) -> None:
    """Test that engines, or a checkpoint in one, reproduce recorded values; what does not is refused in every run."""
    from superionic.execution.engines import check_engine

    if file is not None:
        _check_file(names, file, energy_convention=energy_convention, modal=modal, trust_sha256=trust_sha256)
        return
    reports = [check_engine(name) for name in names]
    for report in reports:
        typer.echo(f"{report.name}: {'right' if report.passed else 'WRONG'}: {report.message}")
    if not all(report.passed for report in reports):
        raise typer.Exit(_EXIT_USER_ERROR)


@engines_app.command("convert")
def convert_command(
    engine: Annotated[str, typer.Argument(help="mace")],
    file: Annotated[Path, typer.Argument(help="A .model file of MACE. Loading it runs the code stored in it.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Safe file to write.", show_default="beside the file, with .npz"),
    ] = None,
    trust_sha256: Annotated[
        str | None, typer.Option("--trust", help="SHA-256 of the file, as confirmation that you trust its source.")
    ] = None,
) -> None:
    """Convert a pickled checkpoint to a safe file of settings and arrays."""
    from superionic.errors import EngineError
    from superionic.execution.engines import resolve_engine
    from superionic.execution.worker import call_once

    if engine != "mace":
        raise EngineError(
            f"Files of {engine} need no conversion.", fix="Only .model files of mace, which are pickles, are converted."
        )
    target = output or file.with_suffix(".npz")
    converted = call_once(
        resolve_engine(engine).python,
        "superionic.models.mace.bridge:convert",
        {"file": str(file.absolute()), "output": str(target.absolute()), "trust_sha256": trust_sha256},
    )
    typer.echo(f"wrote {target} (SHA-256 {converted['sha256']})")


def _check_file(names: list[str], file: Path, **options: str | None) -> None:
    """Test a user's checkpoint and print on what evidence it is accepted."""
    from superionic.campaign.prepare import check_file
    from superionic.errors import EngineError

    if len(names) != 1:
        raise EngineError("A file is checked in exactly one engine.", fix="Name one engine.")
    stated = {name: value for name, value in options.items() if value is not None}
    proof = check_file(names[0], None, {"file": str(file.absolute()), **stated})
    identity = proof["identity"]
    evidence = "it reproduces the values on record" if proof["basis"] == "values on record" else "it is plausible"
    typer.echo(
        f"{names[0]}: {evidence}: {identity['model']}, {proof['energy_eV_per_atom']:.4f} eV/atom for the stored cell, "
        f"{identity['energy_convention']}, {len(identity['elements'])} elements, "
        f"SHA-256 {identity['checkpoint_sha256']}"
    )


def _show_engines(engines: Sequence[EngineStatus]) -> None:
    """Print a table of the engines."""
    table = Table("engine", "version", "state", "licence", "for")
    for engine in engines:
        table.add_row(engine.name, engine.requirement, engine.state, engine.licence, engine.purpose)
    console = Console()
    console.print(table)
    for engine in engines:
        if engine.caution is not None:
            console.print(f"[yellow]caution:[/] {escape(f'{engine.name}: {engine.caution}')}.", highlight=False)


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.add_typer(engines_app, name="engines")
