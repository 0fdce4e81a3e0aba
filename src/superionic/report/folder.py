"""The folder of a report: every file is written completely, and stale files of an earlier report are removed.

A manifest, ``.files.json``, lists each file that a report wrote, with its size and checksum. Only files that it lists
are ever removed, and only if they are unchanged: other files, changed ones, and anything behind a symbolic link stay.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from superionic.errors import storage_error
from superionic.execution.codec import ShapeError, from_tree
from superionic.execution.owner import Owner

MANIFEST: Final = ".files.json"


@dataclass(frozen=True)
class WrittenFile:
    """The entry of one file in the manifest.

    Attributes
    ----------
    sha256, size
        Checksum and size of its content.
    drawn_from
        Checksum of the data from which a figure was drawn; empty for other files.
    """

    sha256: str
    size: int
    drawn_from: str = ""


@dataclass(frozen=True)
class _Manifest:
    version: int
    files: dict[str, WrittenFile]


class ReportFolder:
    """A folder into which a report is being written; see :func:`report_folder`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = _read_manifest(path / MANIFEST)
        self._now: dict[str, WrittenFile] = {}

    def write(self, name: str, data: bytes, *, drawn_from: str = "") -> Path:
        """Write a file, completely or not at all; a file that has this content already is left alone.

        Parameters
        ----------
        name
            Path within the folder, with ``/`` between its parts.
        data
            The content.
        drawn_from
            Checksum of the data from which a figure was drawn.
        """
        entry = WrittenFile(hashlib.sha256(data).hexdigest(), len(data), drawn_from)
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _is_as_written(target, entry):
            part = target.with_name(f".{target.name}.part")
            part.unlink(missing_ok=True)
            try:
                with part.open("xb") as stream:
                    stream.write(data)
                if target.is_dir() and not target.is_symlink():  # not ours, so it stays, under another name
                    target.rename(target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}"))
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        self._now[name] = entry
        return target

    def keep(self, name: str, *, drawn_from: str) -> Path | None:
        """Keep a figure that an earlier report drew from the same data, if it is unchanged; return its path or None."""
        entry = self._before.get(name)
        target = self.path / name
        if entry is None or entry.drawn_from != drawn_from or not _is_as_written(target, entry):
            return None
        self._now[name] = entry
        return target

    @contextmanager
    def aside(self) -> Iterator[Path]:
        """Yield an empty folder; files written there become part of the report."""
        self.path.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".part-{Owner.current()}-", dir=self.path))
        try:
            yield staging
            for file in sorted(path for path in staging.rglob("*") if path.is_file()):
                self.write(file.relative_to(staging).as_posix(), file.read_bytes())
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Paths, within the folder, of the files written so far."""
        return tuple(self._now)

    def close(self) -> None:
        """Remove files that only the earlier report had, and write the manifest."""
        for name, entry in self._before.items():
            if name not in self._now and _is_ours(self.path, name, entry):
                target = self.path / name
                target.unlink()
                if target.parent != self.path and not any(target.parent.iterdir()):
                    target.parent.rmdir()
        files = {name: asdict(self._now[name]) for name in sorted(self._now)}
        text = json.dumps({"version": 1, "files": files}, ensure_ascii=False, indent=1) + "\n"
        self.write(MANIFEST, text.encode())


@contextmanager
def report_folder(path: Path | str) -> Iterator[ReportFolder]:
    """Open a folder for a report; stale files of an earlier one are removed once everything is written.

    Raises
    ------
    StorageError
        If the folder cannot be written. Files already written stay.
    """
    target = Path(path)
    try:
        folder = ReportFolder(target)
        target.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        yield folder
        folder.close()
    except OSError as error:
        raise storage_error(error, where=target, doing="write the report") from error


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed while writing a report have left."""
    for leftover in folder.glob(".part-*_*-*"):
        owner = Owner.parse(leftover.name.removeprefix(".part-").rpartition("-")[0])
        if owner is not None and owner.is_gone and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)


def _read_manifest(path: Path) -> dict[str, WrittenFile]:
    """Read the manifest of an earlier report; one that is missing, damaged or of another version counts as empty."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # a folder or a pipe in its place
            return {}
        read: _Manifest = from_tree(json.loads(path.read_text(encoding="utf-8")), _Manifest)
    except (FileNotFoundError, ValueError, ShapeError):
        return {}
    return read.files if read.version == 1 else {}


def _is_as_written(path: Path, entry: WrittenFile) -> bool:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_size == entry.size
        and hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    )


def _is_ours(folder: Path, name: str, entry: WrittenFile) -> bool:
    """Return whether a file is in the folder itself, behind no symbolic link, and unchanged since it was written."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
        return False
    if any((folder / PurePosixPath(*parts[:depth])).is_symlink() for depth in range(1, len(parts))):
        return False
    return _is_as_written(folder / name, entry)
