"""The store: results as files, found by the key of their task.

A result is written into a folder of its own under ``tmp/``, with a manifest of checksums, and appears under
``objects/`` by one atomic rename. What is there is whole; what was cut off by a kill is not there. Nothing is locked:
two workers that finish the same task write the same bytes, and the second rename is dropped.

The store removes and renames only what bears a name of its own making, and nothing behind a symbolic link within it:
such a link leads to files that may be anybody's. (The store itself, or a folder above, may be a link to another disk.)
Only what is missing or has other content than its manifest says is damage; what cannot be read is an error, and stays.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from superionic.errors import StorageError
from superionic.execution import codec

_CHECK_WHOLE_BELOW_BYTES = 64 * 1024 * 1024
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_OWN_FOLDERS: Final = re.compile(r"(scratch-)?[0-9a-f]{16}-[0-9a-f]{32}")
_OWN_FILES: Final = re.compile(r"probe-[0-9a-f]{32}|[0-9a-f]{64}\.(json|[0-9]+)")
_DAMAGE: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True)
class StoredFailure:
    """A calculation that ended without a result, and why."""

    reason: str
    details: Mapping[str, Any]


class Store:
    """Content-addressed results below one folder.

    Parameters
    ----------
    root
        The folder; made when absent.

    Raises
    ------
    StorageError
        If the folder cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "objects"
        self._tmp = root / "tmp"
        self._progress = root / "progress"
        self._verified: set[str] = set()
        try:
            for folder in (self._objects, self._tmp, self._progress):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self._tmp / f"probe-{uuid.uuid4().hex}"
            probe.write_text("ok")
            probe.unlink(missing_ok=True)  # a run that begins now may have swept it away
        except OSError as error:
            raise _storage_error(error, root) from error

    def folder(self, key: str) -> Path:
        """Return the folder of a result, whether it exists or not."""
        return self._objects / key[:2] / key

    def has(self, key: str) -> bool:
        """Tell whether a whole, undamaged result is there. Damaged ones are moved aside and count as absent.

        Raises
        ------
        StorageError
            If there is a result that cannot be read, or a damaged one that cannot be moved aside.
        """
        if key in self._verified:
            return True
        folder = self.folder(key)
        try:
            whole = _is_whole(folder)
        except OSError as error:
            raise _unreadable(error, folder) from error
        if not whole:
            self._set_aside(key)
            return False
        self._verified.add(key)
        return True

    def load(self, key: str) -> Any:
        """Return a result, or a :class:`StoredFailure`.

        Raises
        ------
        StorageError
            If there is no whole result under this key, or it cannot be read.
        """
        if not self.has(key):
            raise StorageError(f"no result is stored under {key}", where=str(self.root), fix="run the campaign again")
        folder = self.folder(key)
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            text = (folder / "result.json").read_text()
            archive = (folder / "arrays.npz").read_bytes() if "arrays.npz" in manifest["files"] else b""
        except OSError as error:
            raise _unreadable(error, folder) from error
        value = codec.decode(text, archive)
        if manifest["outcome"] == "failure":
            return StoredFailure(value["reason"], value["details"])
        return value

    def descriptor(self, key: str) -> dict[str, Any]:
        """Return what a stored result was made from."""
        text = (self.folder(key) / "task.json").read_text()
        found: dict[str, Any] = json.loads(text)
        return found

    def commit(self, key: str, descriptor: Mapping[str, Any], value: Any) -> None:
        """Store a result (or a :class:`StoredFailure`) under a key, atomically.

        Raises
        ------
        StorageError
            If the disk is full or the folder cannot be written; nothing is left behind.
        TypeError
            If the value cannot be encoded.
        """
        failed = isinstance(value, StoredFailure)
        text, archive = codec.encode({"details": value.details, "reason": value.reason} if failed else value)
        files = {"result.json": text.encode(), "task.json": (codec.canonical_json(descriptor) + "\n").encode()}
        if archive:
            files["arrays.npz"] = archive
        manifest = {
            "files": {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in sorted(files.items())},
            "format": 1,
            "key": key,
            "outcome": "failure" if failed else "value",
        }
        files["manifest.json"] = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
        staging = self._tmp / f"{key[:16]}-{uuid.uuid4().hex}"
        try:
            staging.mkdir()
            for name, data in files.items():
                _write_durably(staging / name, data)
            target = self.folder(key)
            target.parent.mkdir(exist_ok=True)
            try:
                staging.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        except OSError as error:
            raise _storage_error(error, self.root) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def forget(self, key: str) -> None:
        """Remove a result, so that it is computed again.

        Raises
        ------
        StorageError
            If it cannot be removed, or lies behind a symbolic link.
        """
        self._verified.discard(key)
        grave = self._tmp / f"{key[:16]}-{uuid.uuid4().hex}"
        if self._move(key, grave):  # in one step: nobody sees half a result, nor does a kill leave one
            shutil.rmtree(grave, ignore_errors=True)

    def scratch(self, key: str) -> Path:
        """Make and return a private folder for a task; the caller removes it."""
        folder = self._tmp / f"scratch-{key[:16]}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        return folder

    def progress_file(self, key: str) -> Path:
        """Return the small file in which a running task says how far it is."""
        return self._progress / f"{key}.json"

    def sweep(self) -> None:
        """Remove what killed runs left under ``tmp/`` and ``progress/``. Only for the holder of the run lock.

        Raises
        ------
        StorageError
            If one of the two is a symbolic link, or cannot be read or written.
        """
        for folder in (self._tmp, self._progress):
            try:
                _demand_no_link(folder)
                for leftover in folder.iterdir():
                    _remove_own(leftover)
            except OSError as error:
                raise _storage_error(error, self.root) from error

    def _set_aside(self, key: str) -> None:
        damaged = self.root / "damaged"
        if os.path.lexists(self.folder(key)):
            try:
                damaged.mkdir(exist_ok=True)
            except OSError as error:
                raise _storage_error(error, self.root) from error
            self._move(key, damaged / f"{key}-{uuid.uuid4().hex[:8]}")

    def _move(self, key: str, target: Path) -> bool:
        """Move a result within the store, and tell whether there was one."""
        folder = self.folder(key)
        if _KEY.fullmatch(key) is None:
            raise StorageError(
                "this is not the key of a result, and nothing is moved or removed by it",
                where=str(folder),
                fix="if it comes from the ledger, delete ledger.sqlite: only timings and history are lost",
            )
        try:
            for place in (self._objects, folder.parent, folder, target.parent):
                _demand_no_link(place)
            folder.rename(target)
        except FileNotFoundError:  # another process was first
            return False
        except OSError as error:
            raise _storage_error(error, self.root) from error
        return True


def _demand_no_link(place: Path) -> None:
    try:
        is_link = stat.S_ISLNK(place.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_link:
        raise StorageError(
            "this part of the store is a symbolic link; nothing behind it is moved or removed",
            where=str(place),
            fix="put what belongs to the store back in the place of the link; to keep a run on another disk, move its "
            "whole run folder there and link that, or use --run-folder",
        )


def _remove_own(leftover: Path) -> None:
    """Remove a file or folder that the store made; others' are left alone, and so are links, which it never makes."""
    try:
        mode = leftover.lstat().st_mode
        if stat.S_ISDIR(mode) and _OWN_FOLDERS.fullmatch(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)
        elif stat.S_ISREG(mode) and _OWN_FILES.fullmatch(leftover.name):
            leftover.unlink()
    except FileNotFoundError:  # a worker that outlived its run has removed it
        return


def _is_whole(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, facts in manifest["files"].items():
            if Path(name).name != name:
                return False
            path = folder / name
            if path.stat().st_size != facts["bytes"]:
                return False
            if facts["bytes"] <= _CHECK_WHOLE_BELOW_BYTES and _sha256(path.read_bytes()) != facts["sha256"]:
                return False
        return "result.json" in manifest["files"] and manifest["outcome"] in ("failure", "value")
    except (*_DAMAGE, ValueError, KeyError, TypeError, AttributeError):
        return False  # every other OSError says that we could not look, not that anything is wrong with what is there


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _storage_error(error: OSError, root: Path) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            "the disk is full; all finished work is kept",
            where=str(root),
            fix="free some space (or move the whole campaign folder) and run the same command again",
        )
    return StorageError(
        f"cannot write the run folder: {error.strerror or error}",
        where=str(error.filename or root),
        fix="choose a folder that you may write to with --run-folder, or mend its permissions",
    )


def _unreadable(error: OSError, folder: Path) -> StorageError:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        fix = "raise the limit of open files (`ulimit -n 4096`)"
    else:
        fix = "mend the disk or the permissions"
    return StorageError(
        f"a result cannot be read: {error.strerror or error}",
        where=str(error.filename or folder),
        fix=f"{fix} and run the same command again; nothing was moved or removed",
    )
