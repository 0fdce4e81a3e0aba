"""Copies of the user's files that results depend on, stored by checksum.

A task's settings name such a file by its content and never by its path: ``sha256:<checksum>/<name>``. The file itself
is copied to ``$SUPERIONIC_HOME/files``, beside the engines, where every worker that can run an engine can read it; the
worker replaces the name by the path of the copy before it calls the task's function. So moving a checkpoint repeats no
work, changing one does, and a run can continue without the original.

Settings hold the user's own text as well, even whole crystal files, so a string counts as such a name only if all of it
has exactly that form. Nothing in this folder is ever removed: a damaged copy is set aside, an unreadable one is an
error.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from superionic.errors import StorageError, explained
from superionic.execution.home import superionic_home

_PREFIX: Final = "sha256:"
# The checksum and a plain file name, without folders. Since control characters (such as line breaks) are excluded, the
# text of a file cannot be mistaken for a name, whatever its first line is.
_NAME: Final = re.compile(r"sha256:([0-9a-f]{64})/((?!\.{1,2}\Z)[^/\x00-\x1f\x7f]+)")
_NOT_THERE: Final = (FileNotFoundError, NotADirectoryError)


class _Changed(Exception):  # noqa: N818 - it names a finding
    """The checksum of a stored file differs from that in its name."""


def keep(path: str | Path, members: Sequence[str] = ()) -> str:
    """Store a copy of a file (or of the ``members`` of a folder) and return the name by which tasks refer to it.

    Raises
    ------
    StorageError
        If it cannot be read, or the copy cannot be written.
    """
    source = Path(path)
    try:
        digest = _checksum(source, members)
        name = f"{_PREFIX}{digest}/{source.name}"
        if _NAME.fullmatch(name) is None:
            raise StorageError(
                "the file cannot be stored: its path ends without a name, or the name has control characters",
                where=repr(str(path)),
                fix="give a path that ends with the file's name; rename the file if its name has control characters",
            )
        target = _path_of(name)
        if not _is_there(target):
            _copy(source, members, target)
    except OSError as error:
        what, fix = explained(error)
        raise StorageError(
            f"the file cannot be stored: {what}",
            where=str(path),
            fix=f"{fix}; or set SUPERIONIC_HOME to another folder",
        ) from error
    return name


def stored_path(name: str) -> Path:
    """Return the path of a stored file.

    Raises
    ------
    StorageError
        If it is missing, has changed (it is then set aside), or cannot be read.
    """
    path = _path_of(name)
    try:
        _verify(path)
    except (*_NOT_THERE, IsADirectoryError, _Changed) as damage:
        _set_aside(path)
        raise StorageError(
            "a file that results depend on is missing or has changed",
            where=str(path),
            fix="run `superionic check` where the original file is; it is copied again",
        ) from damage
    except OSError as error:
        raise _unreadable(error, path) from error
    return path


def with_stored_paths(value: Any) -> Any:
    """Return settings with the names of stored files replaced by their paths, and all else unchanged."""
    if isinstance(value, str):
        return str(stored_path(value)) if _NAME.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {key: with_stored_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_stored_paths(item) for item in value]
    return value


def first_use(name: str, engine: str) -> dict[str, Any] | None:
    """Return the values noted about a stored file when an engine first used it, or None.

    Raises
    ------
    StorageError
        If there is a note that cannot be read: writing it again would lose its content.
    """
    note = _note(name, engine)
    try:
        values: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    except (*_NOT_THERE, ValueError):
        return None
    except OSError as error:
        raise _unreadable(error, note) from error
    return values


def note_first_use(name: str, engine: str, values: Mapping[str, Any]) -> None:
    """Note plain values about a stored file and an engine, once and for all."""
    note = _note(name, engine)
    try:
        _write_new(note, json.dumps(dict(values), sort_keys=True).encode())
    except OSError as error:
        what, fix = explained(error)
        raise StorageError(
            f"the first use of a file cannot be noted: {what}",
            where=str(note),
            fix=f"{fix}; or set SUPERIONIC_HOME to another folder",
        ) from error


def _path_of(name: str) -> Path:
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise StorageError(
            "this is not the name of a stored file",
            where=repr(name[:100]),
            fix="run `superionic check` where the original file is, and use the name under which it is stored",
        )
    return superionic_home() / "files" / parts[1] / parts[2]


def _is_there(path: Path) -> bool:
    """Return whether a file or folder exists; in some versions ``Path.exists`` is False on a failing disk."""
    try:
        path.stat()
    except _NOT_THERE:
        return False
    return True


@functools.cache  # once per process: a checkpoint may have a hundred megabytes
def _verify(path: Path) -> bool:
    members = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else ()
    if _checksum(path, members) != path.parent.name:
        raise _Changed
    return True


def _set_aside(path: Path) -> None:
    """Move a damaged file aside, so that it can be copied again; it is not removed, since it may be of value."""
    try:
        path.lstat()
    except _NOT_THERE:
        return
    except OSError as error:
        raise _unreadable(error, path) from error
    aside = path.parent.parent / f"damaged-{path.parent.name}-{uuid.uuid4().hex[:8]}"
    reason = "its folder is a symbolic link"
    if not path.parent.is_symlink():
        try:
            aside.mkdir()
            path.rename(aside / path.name)
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            return
    raise StorageError(
        f"a file that results depend on has changed, and cannot be set aside: {reason}",
        where=str(path),
        fix="move it away yourself, then run `superionic check` where the original file is; it is copied again",
    )


def _unreadable(error: OSError, path: Path) -> StorageError:
    what, fix = explained(error)
    return StorageError(
        f"a file that results depend on cannot be read: {what}",
        where=str(error.filename or path),
        fix=f"{fix}; nothing was moved or removed",
    )


def _note(name: str, engine: str) -> Path:
    path = _path_of(name)
    return path.parent.parent / f"{path.parent.name}.{engine}.json"


def _checksum(source: Path, members: Sequence[str]) -> str:
    """Return the same checksum as :func:`superionic.potentials.checkpoints.checksum`."""
    if not members:
        return hashlib.sha256(source.read_bytes()).hexdigest()
    lines = [f"{hashlib.sha256((source / name).read_bytes()).hexdigest()}  {name}\n" for name in members]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _copy(source: Path, members: Sequence[str], target: Path) -> None:
    """Copy into a new folder that appears complete, by one rename."""
    home = target.parent.parent
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as draft:
        inside = Path(draft) / "kept"
        inside.mkdir()
        if members:
            (inside / source.name).mkdir()
            for name in members:
                shutil.copyfile(source / name, inside / source.name / name)
        else:
            shutil.copyfile(source, inside / source.name)
        try:
            inside.rename(target.parent)
        except OSError:
            # Another process was first, or the same content is stored under another name: add this name to it.
            if not _is_there(target):
                (inside / source.name).rename(target)


def _write_new(path: Path, content: bytes) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".note-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
