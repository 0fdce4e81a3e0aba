"""Removing results that no campaign file needs any more.

A change of settings leaves the results under the old ones in the store, so that changing back costs nothing. What is
needed is what a walk through a campaign asks for; everything else of its run folder can go. Nothing is removed on a
guess: a campaign file that cannot be read, or a campaign that is not finished, stops the cleaning.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from superionic.campaign.file.load import MAX_BYTES, read_text
from superionic.campaign.file.yaml_text import parse_yaml
from superionic.campaign.run import Campaign
from superionic.errors import CampaignFileError, StorageError, storage_error
from superionic.execution.inventory import Amount, StoredItem, content_of, damaged_entries, stored_items
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.locks import run_lock
from superionic.execution.store import Store

_DAY_S: Final = 86400.0


@dataclass(frozen=True)
class Cleaning:
    """What is, or would be, removed from one run folder.

    Attributes
    ----------
    campaigns
        The campaign files whose results it holds.
    needed
        Number of results that they need.
    unneeded
        The other results.
    leftovers
        Files left behind by processes that have ended.
    damaged
        Files set aside as damaged long enough ago.
    deleted
        Whether all that was removed.
    """

    run_folder: Path
    campaigns: tuple[Path, ...]
    needed: int
    unneeded: tuple[StoredItem, ...]
    leftovers: Amount
    damaged: Amount
    deleted: bool


def clean(
    paths: Sequence[Path],
    *,
    run_folder: Path | None = None,
    delete: bool = False,
    damaged_days: float | None = None,
) -> tuple[Cleaning, ...]:
    """Find what no campaign file needs, and remove it if asked to.

    Parameters
    ----------
    paths
        Folders with campaign files, or campaign files.
    run_folder
        The run folder of all of them; each has its own if None.
    delete
        Whether to remove it.
    damaged_days
        Include what was set aside as damaged at least this many days ago; nothing of it if None.

    Returns
    -------
    tuple of Cleaning
        One for each run folder that exists.

    Raises
    ------
    CampaignFileError
        If there is no campaign file, or one that cannot be read.
    StorageError
        If a campaign is not finished, another run works in a run folder, or something cannot be removed.
    """
    folders: dict[Path, list[Campaign]] = {}
    for campaign in _campaigns(paths, run_folder):
        folders.setdefault(campaign.run_folder.resolve(), []).append(campaign)
    stores = {root: owners for root, owners in folders.items() if (root / "store").is_dir()}
    with ExitStack() as locks:
        for root in stores if delete else ():
            locks.enter_context(run_lock(root))
        needed = {root: set().union(*map(_needed_keys, campaigns)) for root, campaigns in stores.items()}
        return tuple(
            _clean_one(root, campaigns, needed[root], delete=delete, damaged_days=damaged_days)
            for root, campaigns in stores.items()
        )


def _clean_one(
    root: Path, campaigns: Sequence[Campaign], needed: set[str], *, delete: bool, damaged_days: float | None
) -> Cleaning:
    store = Store(root / "store")
    items = list(stored_items(store, Ledger(root / LEDGER)))
    unneeded = tuple(item for item in items if item.key not in needed)
    old = [] if damaged_days is None else damaged_entries(store, before=time.time() - damaged_days * _DAY_S)
    cleaning = Cleaning(
        run_folder=campaigns[0].run_folder,
        campaigns=tuple(campaign.path for campaign in campaigns),
        needed=len(items) - len(unneeded),
        unneeded=unneeded,
        leftovers=_amount(store.leftovers()),
        damaged=_amount(iter(old)),
        deleted=delete,
    )
    if delete:
        for key in dict.fromkeys(item.key for item in unneeded):
            store.forget(key)
        store.sweep()
        for path in old:
            _remove(path)
    return cleaning


def _needed_keys(campaign: Campaign) -> set[str]:
    """Return the keys of all results that a finished campaign asks for.

    Raises
    ------
    StorageError
        If it is not finished: what it will ask for is not known.
    """
    walked = campaign._dry_walk(campaign._ledger())
    if walked.pending or walked.trouble is not None:
        reason = (
            f"{len(walked.pending)} tasks are to be done" if walked.pending else f"it cannot go on: {walked.trouble}"
        )
        raise StorageError(
            f"the campaign is not finished ({reason}), so it is not known which results it needs; nothing is removed",
            where=str(campaign.path),
            fix="finish it with `superionic run`, or name the campaign files (or folders) that are finished",
        )
    return set(walked.flow.bench.runner.used)


def _campaigns(paths: Sequence[Path], run_folder: Path | None) -> list[Campaign]:
    files = list(dict.fromkeys(file for path in paths for file in _campaign_files(path)))
    if not files:
        raise CampaignFileError(
            "there is no campaign file", where=", ".join(map(str, paths)), fix="name a campaign file, or its folder"
        )
    return [Campaign.load(file, run_folder=run_folder) for file in files]


def _campaign_files(path: Path) -> Iterator[Path]:
    """Yield the campaign files of a folder: all YAML files that are one, or may be one with a mistake in it.

    Raises
    ------
    CampaignFileError
        If a file cannot be read.
    """
    if not path.is_dir():
        yield path
        return
    for file in sorted({*path.glob("*.yaml"), *path.glob("*.yml")}):
        if file.is_file() and file.stat().st_size > MAX_BYTES:
            continue
        text = read_text(file)
        if "superionic" not in text:
            continue
        value = parse_yaml(text).value
        if not isinstance(value, Mapping) or "superionic" in value:
            yield file


def _amount(paths: Iterator[Path]) -> Amount:
    sizes = [content_of(path).size_bytes for path in paths]
    return Amount(len(sizes), sum(sizes))


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise storage_error(error, where=path, doing="remove what was set aside as damaged") from error
