"""``superionic store``: look after what campaigns have stored, and take a whole campaign elsewhere."""

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
    help="Stored results: verify them, see their size, remove what is not needed; archive a campaign.",
    no_args_is_help=True,
)
_EXIT_DAMAGE = 1
_MOST_LINES = 20
_LARGEST = 10

PlaceArgument = Annotated[Path, typer.Argument(help="Campaign file, folder that holds campaign.yaml, or run folder.")]


@store_app.command("verify")
def verify_command(
    place: PlaceArgument,
    run_folder: RunFolderOption = None,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Move what is damaged to store/damaged; the next run makes it again.")
    ] = False,
) -> None:
    """Read every byte of every result and compare it with its checksum. Changes nothing without --set-aside.

    Exit code 0 if all is whole, 1 if not.
    """
    from contextlib import nullcontext

    from superionic.execution.inventory import verify_store
    from superionic.execution.locks import run_lock
    from superionic.execution.store import Store

    root = _run_folder(place, run_folder)
    with run_lock(root) if set_aside else nullcontext(), byte_bar("verifying") as watch:
        found = verify_store(Store(root / "store", read_only=not set_aside), set_aside=set_aside, watch=watch)
    typer.echo(
        f"{found.checked.number} results, {size_text(found.checked.size_bytes)}: {len(found.damaged)} damaged, "
        f"{len(found.unreadable)} cannot be read"
    )
    for what, faults in (("damaged", found.damaged), ("cannot be read", found.unreadable)):
        for fault in faults[:_MOST_LINES]:
            typer.echo(f"  {what}: {fault.path}: {fault.reason}")
        _and_more(len(faults))
    if found.earlier_format:
        typer.echo(f"{found.earlier_format} results of an earlier version were not looked at; a run takes them over")
    if found.damaged:
        typer.echo(
            f"set aside in {root / 'store' / 'damaged'}; superionic run makes them again"
            if set_aside
            else "--set-aside moves them out of the way, and superionic run makes them again"
        )
    if not found.is_whole:
        raise typer.Exit(_EXIT_DAMAGE)


@store_app.command("gc")
def gc_command(
    places: Annotated[list[Path], typer.Argument(help="Folders with campaign files, or campaign files.")],
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; without this it is only shown.")] = False,
    damaged_days: Annotated[
        float | None,
        typer.Option("--damaged-days", min=0.0, help="Also what was set aside as damaged so many days ago or earlier."),
    ] = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run-folder", help="The run folder that all these campaign files share.")
    ] = None,
) -> None:
    """Remove results that no campaign file needs, such as those of settings that were changed. A dry run by default.

    A campaign that is not finished, or whose file has a mistake, stops it: nothing is removed on a guess.
    """
    from superionic.campaign.cleaning import clean

    found = clean(places, run_folder=run_folder, delete=delete, damaged_days=damaged_days)
    for cleaning in found:
        _show_cleaning(cleaning)
    if not found:
        typer.echo("there are no results yet")
    elif not delete:
        typer.echo("nothing was removed; --delete does it")


@store_app.command("size")
def size_command(place: PlaceArgument, run_folder: RunFolderOption = None, as_json: JsonOption = False) -> None:
    """Show what takes space in a run folder: results by stage, the largest ones, and all besides."""
    from superionic.execution.inventory import by_stage, content_of, stored_items
    from superionic.execution.ledger import LEDGER, Ledger
    from superionic.execution.store import Store

    root = _run_folder(place, run_folder)
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
    title: Annotated[str | None, typer.Option(help="Title of the data.", show_default="that of the report")] = None,
    author: Annotated[list[str] | None, typer.Option(help="Name of an author; once for each.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the data: SPDX identifier, e.g. CC-BY-4.0, or URL.")] = "",
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Also if the campaign is not finished.")] = False,
) -> None:
    """Write one archive for Zenodo or another machine: campaign, inputs, results, report, provenance, checksums.

    It is described by the RO-Crate standard, and opens with any program for ZIP files as the folder of a campaign.
    """
    from superionic.campaign.archive import export_campaign
    from superionic.campaign.provenance import Publication

    opened = open_campaign(campaign, run_folder)
    publication = Publication(title or opened.file.report.title or opened.file.name, tuple(author or ()), licence)
    with byte_bar("archiving") as watch:
        made = export_campaign(
            opened, out or Path(f"{opened.file.name}.zip"), publication=publication, unfinished=unfinished, watch=watch
        )
    typer.echo(
        f"{made.path}: {size_text(made.size_bytes)}, {made.n_files} files ({size_text(made.content_bytes)}), of which "
        f"{made.n_results} are results of tasks"
    )
    if made.to_do:
        typer.echo(f"the campaign is not finished: {made.to_do} tasks are to be done")
    if not licence:
        typer.echo("no licence is stated in it: --licence, e.g. CC-BY-4.0, does that")


@store_app.command("import")
def import_command(
    archive: Annotated[Path, typer.Argument(help="Archive that superionic store export wrote.")],
    into: Annotated[Path, typer.Option("--into", help="Folder to make; it may be there if it is empty.")],
) -> None:
    """Unpack an archive into a new folder and verify every checksum; a damaged or foreign one leaves nothing behind."""
    from superionic.campaign.unpacking import import_archive

    with byte_bar("unpacking") as watch:
        made = import_archive(archive, into, watch=watch)
    typer.echo(
        f"{into}: {made.n_files} files, {size_text(made.size_bytes)}, all as exported by superionic {made.superionic}"
    )
    typer.echo(f"next: superionic status {made.campaign}")


# ---- helpers --------------------------------------------------------------------------------------------------------


def _run_folder(place: Path, run_folder: Path | None) -> Path:
    """Return the run folder that is named, or that of the campaign.

    Raises
    ------
    StorageError
        If nothing is stored there.
    """
    from superionic.errors import StorageError

    is_one = run_folder is None and (place / "store").is_dir() and not (place / "campaign.yaml").is_file()
    root = place if is_one else open_campaign(place, run_folder).run_folder
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
    for what, amount in (
        ("left behind by processes that are gone", cleaning.leftovers),
        ("set aside as damaged", cleaning.damaged),
    ):
        if amount.number:
            typer.echo(f"  {removed}: {what}: {amount.number}, {size_text(amount.size_bytes)}")
    total = sum((cleaning.leftovers, cleaning.damaged, *by_stage(cleaning.unneeded).values()), Amount()).size_bytes
    typer.echo(f"  {'freed' if cleaning.deleted else 'would be freed'}: {size_text(total)}")


def _name(item: StoredItem) -> str:
    return f"{item.stage}: {item.label or item.key}" + (" (failed)" if item.kind == "failure" else "")


def _and_more(number: int) -> None:
    if number > _MOST_LINES:
        typer.echo(f"  ... and {number - _MOST_LINES} more")


def size_text(size_bytes: int) -> str:
    """Return a size as people read it: ``1.2 MB``."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.add_typer(store_app, name="store")
