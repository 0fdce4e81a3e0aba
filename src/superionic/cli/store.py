"""The verbs of ``superionic store``: look after stored results, and move a whole campaign elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from superionic.cli.options import CampaignArgument, JsonOption, RunFolderOption, open_campaign
from superionic.cli.progress import byte_bar

if TYPE_CHECKING:
    from superionic.campaign.cleaning import Cleaning
    from superionic.execution.inventory import StoredItem

store_app = typer.Typer(
    help="Stored results: verify them, show their size, remove what is not needed; archive a campaign.",
    no_args_is_help=True,
)
_EXIT_DAMAGE = 1
_MOST_LINES = 20
_LARGEST = 10

LocationArgument = Annotated[
    Path, typer.Argument(help="Campaign file, folder that holds campaign.yaml, or run folder.")
]


@store_app.command("verify")
def verify_command(
    location: LocationArgument,
    run_folder: RunFolderOption = None,
    set_aside: Annotated[
        bool,
        typer.Option("--set-aside", help="Move damaged results to store/damaged; the next run computes them again."),
    ] = False,
) -> None:
    """Read every byte of every result and compare it with its checksum. Changes nothing without --set-aside.

    Exit code 0 if all results are intact, 1 if not.
    """
    from contextlib import nullcontext

    from superionic.execution.inventory import verify_store
    from superionic.execution.locks import run_lock
    from superionic.execution.store import Store

    root = _run_folder(location, run_folder)
    with run_lock(root) if set_aside else nullcontext(), byte_bar("verifying") as watch:
        inspection = verify_store(Store(root / "store", read_only=not set_aside), set_aside=set_aside, watch=watch)
    checked = inspection.checked
    typer.echo(
        f"{checked.number} results, {size_text(checked.size_bytes)}: {len(inspection.damaged)} damaged, "
        f"{len(inspection.unreadable)} cannot be read"
    )
    for state, faults in (("damaged", inspection.damaged), ("cannot be read", inspection.unreadable)):
        for fault in faults[:_MOST_LINES]:
            typer.echo(f"  {state}: {fault.path}: {fault.reason}")
        _and_more(len(faults))
    if inspection.earlier_format:
        typer.echo(f"{inspection.earlier_format} results of an earlier version skipped; a run converts them")
    if inspection.damaged:
        typer.echo(
            f"set aside in {root / 'store' / 'damaged'}; superionic run computes them again"
            if set_aside
            else "--set-aside moves them out of the way, and superionic run then computes them again"
        )
    if not inspection.is_whole:
        raise typer.Exit(_EXIT_DAMAGE)


@store_app.command("gc")
def gc_command(
    places: Annotated[list[Path], typer.Argument(help="Folders with campaign files, or campaign files.")],
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove them; without this option they are only listed.")
    ] = False,
    damaged_days: Annotated[
        float | None,
        typer.Option(
            "--damaged-days", min=0.0, help="Also remove what was set aside as damaged at least this many days ago."
        ),
    ] = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run-folder", help="The run folder that all these campaign files share.")
    ] = None,
) -> None:
    """Remove results that no campaign file needs, such as those of former settings. A dry run by default.

    If a campaign is unfinished or its file has an error, nothing is removed, since its needs are unknown.
    """
    from superionic.campaign.cleaning import clean

    cleanings = clean(places, run_folder=run_folder, delete=delete, damaged_days=damaged_days)
    for cleaning in cleanings:
        _show_cleaning(cleaning)
    if not cleanings:
        typer.echo("there are no results yet")
    elif not delete:
        typer.echo("nothing was removed; add --delete to remove it")


@store_app.command("size")
def size_command(location: LocationArgument, run_folder: RunFolderOption = None, as_json: JsonOption = False) -> None:
    """Show what takes up space in a run folder: results by stage, the largest ones, and other files."""
    from superionic.execution.inventory import by_stage, content_of, stored_items
    from superionic.execution.ledger import LEDGER, Ledger
    from superionic.execution.store import Store

    root = _run_folder(location, run_folder)
    items = list(stored_items(Store(root / "store", read_only=True), Ledger(root / LEDGER)))
    stages = by_stage(items)
    others = {
        "scratch": content_of(root / "store" / "tmp"),
        "damaged": content_of(root / "store" / "damaged"),
        "report": content_of(root / "report"),
        "history": content_of(root / LEDGER),
    }
    largest = sorted(items, key=lambda item: (-item.size_bytes, item.key))[:_LARGEST]
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "run_folder": str(root),
                    "stages": {name: vars(amount) for name, amount in stages.items()},
                    **{name: vars(amount) for name, amount in others.items()},
                    "largest": [vars(item) for item in largest],
                },
                indent=1,
            )
        )
        return
    table = Table("", "files", "size")
    for name, amount in (stages | others).items():
        table.add_row(name, str(amount.number), size_text(amount.size_bytes))
    total = sum(amount.size_bytes for amount in (stages | others).values())
    table.add_row("all", "", size_text(total))
    console = Console(soft_wrap=True)
    console.print(table)
    for item in largest:
        console.print(f"{size_text(item.size_bytes):>10}  {_name(item)}", markup=False, highlight=False)


@store_app.command("export")
def export_command(
    campaign: CampaignArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Archive to write.", show_default="NAME.zip in this folder")
    ] = None,
    run_folder: RunFolderOption = None,
    title: Annotated[str | None, typer.Option(help="Title of the data set.", show_default="that of the report")] = None,
    author: Annotated[list[str] | None, typer.Option(help="Name of an author; repeatable.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the data: SPDX identifier, e.g. CC-BY-4.0, or URL.")] = "",
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Archive the campaign even if it is not finished.")
    ] = False,
) -> None:
    """Write one archive for Zenodo or another machine: campaign, inputs, results, report, provenance, checksums.

    It follows the RO-Crate standard, and unpacks, with any ZIP program, into the folder of a campaign.
    """
    from superionic.campaign.archive import export_campaign
    from superionic.campaign.provenance import Publication

    opened = open_campaign(campaign, run_folder)
    publication = Publication(title or opened.file.report.title or opened.file.name, tuple(author or ()), licence)
    with byte_bar("archiving") as watch:
        archived = export_campaign(
            opened, out or Path(f"{opened.file.name}.zip"), publication=publication, unfinished=unfinished, watch=watch
        )
    typer.echo(
        f"{archived.path}: {size_text(archived.size_bytes)}, {archived.n_files} files "
        f"({size_text(archived.content_bytes)}), of which {archived.n_results} are results of tasks"
    )
    if archived.to_do:
        typer.echo(f"the campaign is not finished: {archived.to_do} tasks remain")
    if not licence:
        typer.echo("the archive states no licence; add one with --licence, e.g. CC-BY-4.0")


@store_app.command("import")
def import_command(
    archive: Annotated[Path, typer.Argument(help="Archive written by superionic store export.")],
    into: Annotated[Path, typer.Option("--into", help="Folder to create; it may exist if it is empty.")],
) -> None:
    """Unpack an archive into a new folder and verify every checksum; a damaged or foreign one leaves nothing behind."""
    from superionic.campaign.unpacking import import_archive

    with byte_bar("unpacking") as watch:
        archived = import_archive(archive, into, watch=watch)
    typer.echo(
        f"{into}: {archived.n_files} files, {size_text(archived.size_bytes)}, identical to what superionic "
        f"{archived.superionic} exported"
    )
    typer.echo(f"next: superionic status {archived.campaign}")


# ---- helpers --------------------------------------------------------------------------------------------------------


def _run_folder(location: Path, run_folder: Path | None) -> Path:
    """Return the run folder named by ``run_folder`` or ``location``, or that of the campaign at ``location``.

    Raises
    ------
    StorageError
        If nothing is stored there.
    """
    from superionic.errors import StorageError

    is_run_folder = (location / "store").is_dir() and not (location / "campaign.yaml").is_file()
    root = location if run_folder is None and is_run_folder else open_campaign(location, run_folder).run_folder
    if not (root / "store").is_dir():
        raise StorageError(
            "there are no results yet", where=str(root), fix="check the path, or begin with superionic run"
        )
    return root


def _show_cleaning(cleaning: Cleaning) -> None:
    from superionic.execution.inventory import Amount, by_stage

    removed = "removed" if cleaning.deleted else "not needed"
    campaigns = ", ".join(path.name for path in cleaning.campaigns)
    typer.echo(f"{cleaning.run_folder}: {cleaning.needed} results are needed by {campaigns}")
    for stage, amount in by_stage(cleaning.unneeded).items():
        typer.echo(f"  {removed}: {stage}: {amount.number} results, {size_text(amount.size_bytes)}")
    for origin, amount in (
        ("left behind by processes that have ended", cleaning.leftovers),
        ("set aside as damaged", cleaning.damaged),
    ):
        if amount.number:
            typer.echo(f"  {removed}: {origin}: {amount.number}, {size_text(amount.size_bytes)}")
    total = sum((cleaning.leftovers, cleaning.damaged, *by_stage(cleaning.unneeded).values()), Amount()).size_bytes
    typer.echo(f"  {'freed' if cleaning.deleted else 'would be freed'}: {size_text(total)}")


def _name(item: StoredItem) -> str:
    return f"{item.stage}: {item.label or item.key}" + (" (failed)" if item.kind == "failure" else "")


def _and_more(number: int) -> None:
    if number > _MOST_LINES:
        typer.echo(f"  ... and {number - _MOST_LINES} more")


def size_text(size_bytes: int) -> str:
    """Return a size with a decimal unit: ``1.2 MB``."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.add_typer(store_app, name="store")
