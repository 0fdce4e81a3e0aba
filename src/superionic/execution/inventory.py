"""What is in a store: which results, of which stages, how large, and whether each is what was stored.

Nothing here trusts what an earlier look noted: :func:`verify_store` reads every byte.
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
"""Hears how many bytes of how many are done."""


def unwatched(done: int, total: int) -> None:
    """Hear of progress, and say nothing."""


@dataclass(frozen=True)
class StoredItem:
    """One result of a store, by the name of its file and by the history.

    Attributes
    ----------
    key, kind
        Of the result.
    stage, label
        Of its task; the label is empty where the history does not know it.
    size_bytes
        Of its file.
    """

    key: str
    kind: Kind
    stage: str
    label: str
    size_bytes: int


@dataclass(frozen=True)
class Amount:
    """A number of things and the bytes that they take."""

    number: int = 0
    size_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.number + other.number, self.size_bytes + other.size_bytes)


@dataclass(frozen=True)
class Fault:
    """A file of a store that is not as it should be, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Verified:
    """What a look at every byte of a store gave.

    Attributes
    ----------
    checked
        The files looked at.
    damaged
        Those with other content than was stored.
    unreadable
        Those that cannot be read; they may be whole.
    set_aside
        Whether the damaged ones were moved to ``damaged/``.
    earlier_format
        Results of an earlier version, which are not looked at: a run that meets one checks it and takes it over.
    """

    checked: Amount
    damaged: tuple[Fault, ...]
    unreadable: tuple[Fault, ...]
    set_aside: bool
    earlier_format: int

    @property
    def is_whole(self) -> bool:
        """Whether every file could be read and is what was stored."""
        return not self.damaged and not self.unreadable


def verify_store(store: Store, *, set_aside: bool = False, watch: Watch = unwatched) -> Verified:
    """Compute the checksums of all results anew.

    Parameters
    ----------
    store
        The store.
    set_aside
        Move what is damaged to ``damaged/``, so that it is computed again. Only for the holder of the run lock.
    watch
        Hears of progress.

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
            if not path.exists() and not path.is_symlink():  # a run at work has replaced a failure
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
    """Yield everything stored, in the order of the keys, without a look at its content where the history knows it."""
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
    """Count the files of a folder (or a file) and their bytes; nothing behind symbolic links, 0 where there is none."""
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
    """List what was set aside as damaged before a time, in seconds since 1970; by name, and no links."""
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
        # A rename changes the time of the entry itself, and no other.
        if _DAMAGED.fullmatch(path.name) and not path.is_symlink() and path.lstat().st_ctime <= before
    ]


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _stage_in(path: Path) -> str:
    """Read the stage out of a result itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            task: Any = json.loads(archive.read("task.json"))
        return str(task["stage"])
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError):
        return UNKNOWN


def _earlier_format(store: Store) -> int:
    return sum(1 for path in (store.root / "objects").glob("??/*") if _FORMAT_1.fullmatch(path.name))
