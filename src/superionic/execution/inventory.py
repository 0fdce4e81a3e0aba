"""The content of a store: its results by stage, their sizes, and whether each is intact.

Nothing here trusts the record of earlier checks: :func:`verify_store` reads every byte.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from superionic.execution.ledger import Ledger
from superionic.execution.store import DamagedResult, Kind, Store, verify

UNKNOWN: Final = "unknown"
_FORMAT_1: Final = re.compile(r"[0-9a-f]{64}")
_DAMAGED: Final = re.compile(r"[0-9a-f]{64}(\.failed)?(\.zip)?-[0-9a-f]{8}")
Watch = Callable[[int, int], None]
"""Called with the number of bytes done and their total."""


def unwatched(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class StoredItem:
    """One result of a store, described by its file name and the history.

    Attributes
    ----------
    stage, label
        Stage and label of its task; the label is empty if the history does not have it.
    """

    key: str
    kind: Kind
    stage: str
    label: str
    size_bytes: int


@dataclass(frozen=True)
class Amount:
    """A number of files and their total size."""

    number: int = 0
    size_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.number + other.number, self.size_bytes + other.size_bytes)


@dataclass(frozen=True)
class Fault:
    """A file of a store that is damaged or unreadable, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Verified:
    """The outcome of reading every byte of a store.

    Attributes
    ----------
    checked
        The files examined.
    damaged
        Those whose content has changed.
    unreadable
        Those that cannot be read; they may be intact.
    set_aside
        Whether the damaged ones were moved to ``damaged/``.
    earlier_format
        Number of results of an earlier version, which are not examined: a run that needs one checks and converts it.
    """

    checked: Amount
    damaged: tuple[Fault, ...]
    unreadable: tuple[Fault, ...]
    set_aside: bool
    earlier_format: int

    @property
    def is_whole(self) -> bool:
        """Whether every file could be read and is intact."""
        return not self.damaged and not self.unreadable


def verify_store(store: Store, *, set_aside: bool = False, watch: Watch = unwatched) -> Verified:
    """Verify the checksums of all results.

    Parameters
    ----------
    set_aside
        Move damaged results to ``damaged/``, so that they are computed again. Only for the holder of the run lock.
    watch
        Receives progress.

    Raises
    ------
    StorageError
        If a folder cannot be read, or something damaged cannot be set aside.
    """
    files = [(key, kind, store.path(key, kind)) for key, kind in store.results()]
    sizes = [_size(path) for _, _, path in files]
    total = sum(sizes)
    damaged, unreadable = [], []
    checked = Amount()
    for (key, kind, path), size in zip(files, sizes, strict=True):
        try:
            verify(path, key, kind)
        except DamagedResult as error:
            if not path.exists() and not path.is_symlink():  # a run in progress has replaced a failure
                continue
            damaged.append(Fault(path, str(error)))
            if set_aside:
                store.set_aside(key, kind)
        except OSError as error:
            unreadable.append(Fault(path, error.strerror or str(error)))
        checked += Amount(1, size)
        watch(checked.size_bytes, total)
    return Verified(checked, tuple(damaged), tuple(unreadable), set_aside, _earlier_format(store))


def stored_items(store: Store, ledger: Ledger) -> Iterator[StoredItem]:
    """Yield everything stored, in the order of keys; content is read only for results unknown to the history."""
    for key, kind in store.results():
        path = store.path(key, kind)
        record = ledger.record(key)
        if record is not None and record.stage:
            yield StoredItem(key, kind, record.stage, record.label, _size(path))
        else:
            yield StoredItem(key, kind, _stage_in(path), "", _size(path))


def by_stage(items: Iterable[StoredItem]) -> dict[str, Amount]:
    """Add up number and size of results by stage, in the order of the stages' names."""
    amounts: dict[str, Amount] = {}
    for item in items:
        amounts[item.stage] = amounts.get(item.stage, Amount()) + Amount(1, item.size_bytes)
    return dict(sorted(amounts.items()))


def content_of(path: Path) -> Amount:
    """Count the files of a folder (or a file) and their bytes, without following links; 0 if it does not exist."""
    try:
        status = path.lstat()
    except OSError:
        return Amount()
    if not stat.S_ISDIR(status.st_mode):
        return Amount(1, status.st_size)
    amount = Amount()
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                amount += Amount(1, (Path(folder) / name).lstat().st_size)
    return amount


def damaged_entries(store: Store, *, before: float) -> list[Path]:
    """List what was set aside as damaged before a time, in seconds since 1970, sorted by name and without links."""
    folder = store.root / "damaged"
    try:
        if folder.is_symlink():
            return []
        names = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        path
        for path in names
        # Of its times, a rename changes this one only.
        if _DAMAGED.fullmatch(path.name) and not path.is_symlink() and path.lstat().st_ctime <= before
    ]


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _stage_in(path: Path) -> str:
    """Read the stage from the result itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            task: Any = json.loads(archive.read("task.json"))
        return str(task["stage"])
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError):
        return UNKNOWN


def _earlier_format(store: Store) -> int:
    return sum(1 for path in (store.root / "objects").glob("??/*") if _FORMAT_1.fullmatch(path.name))
