"""The store: results as files, found by the key of their task.

A result is written into a folder of its own under ``tmp/``, with a manifest of checksums, and appears under
``objects/`` by one atomic rename. What is there is whole; what was cut off by a kill is not there. Nothing is locked:
two workers that finish the same task write the same bytes, and the second rename is dropped.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superionic.errors import StorageError
from superionic.execution import codec

_CHECK_WHOLE_BELOW_BYTES = 64 * 1024 * 1024


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
            probe.unlink()
        except OSError as error:
            raise _storage_error(error, root) from error

    def folder(self, key: str) -> Path:
        """Return the folder of a result, whether it exists or not."""
        return self._objects / key[:2] / key

    def has(self, key: str) -> bool:
        """Tell whether a whole, undamaged result is there. Damaged ones are moved aside and count as absent."""
        if key in self._verified:
            return True
        folder = self.folder(key)
        if not (folder / "manifest.json").is_file():
            return False
        if not _is_whole(folder):
            self._set_aside(folder)
            return False
        self._verified.add(key)
        return True

    def load(self, key: str) -> Any:
        """Return a result, or a :class:`StoredFailure`.

        Raises
        ------
        StorageError
            If there is no whole result under this key.
        """
        if not self.has(key):
            raise StorageError(f"no result is stored under {key}", where=str(self.root), fix="run the campaign again")
        folder = self.folder(key)
        manifest = json.loads((folder / "manifest.json").read_text())
        archive = folder / "arrays.npz"
        value = codec.decode((folder / "result.json").read_text(), archive.read_bytes() if archive.exists() else b"")
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
        """Remove a result, so that it is computed again."""
        self._verified.discard(key)
        shutil.rmtree(self.folder(key), ignore_errors=True)

    def scratch(self, key: str) -> Path:
        """Make and return a private folder for a task; the caller removes it."""
        folder = self._tmp / f"scratch-{key[:16]}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        return folder

    def progress_file(self, key: str) -> Path:
        """Return the small file in which a running task says how far it is."""
        return self._progress / f"{key}.json"

    def sweep(self) -> None:
        """Remove what killed runs left under ``tmp/`` and ``progress/``. Only for the holder of the run lock."""
        for folder in (self._tmp, self._progress):
            for leftover in folder.iterdir():
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)

    def _set_aside(self, folder: Path) -> None:
        damaged = self.root / "damaged"
        damaged.mkdir(exist_ok=True)
        folder.rename(damaged / f"{folder.name}-{uuid.uuid4().hex[:8]}")


def _is_whole(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, facts in manifest["files"].items():
            path = folder / name
            if path.stat().st_size != facts["bytes"]:
                return False
            if facts["bytes"] <= _CHECK_WHOLE_BELOW_BYTES and _sha256(path.read_bytes()) != facts["sha256"]:
                return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


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
