"""Files of the user that results depend on, kept by their checksum.

A task's settings name such a file by what is in it and never by where it lies: ``sha256:<checksum>/<name>``. The file
itself is copied to ``$SUPERIONIC_HOME/files``, beside the engines, where every worker that can run an engine can read
it; the worker puts its place into the settings before it calls the task's function. So moving a checkpoint repeats no
work, changing one does, and a run can go on when the original is gone.

Settings hold words of the user as well, whole crystal files among them, so a string is such a name only if all of it
has exactly that form. Nothing in here is ever removed: a damaged copy is set aside, an unreadable one is an error.
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
# The checksum and a plain file name, which leads nowhere else. Without control characters (a line break is one), the
# text of a file cannot be mistaken for a name, whatever its first line is.
_NAME: Final = re.compile(r"sha256:([0-9a-f]{64})/((?!\.{1,2}\Z)[^/\x00-\x1f\x7f]+)")
_NOT_THERE: Final = (FileNotFoundError, NotADirectoryError)


class _Changed(Exception):  # noqa: N818 - it names what was found
    """A kept file has another checksum than its name says."""


def keep(path: str | Path, members: Sequence[str] = ()) -> str:
    """Keep a file (or the ``members`` of a folder) and return the name by which tasks refer to it.

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
                "the file cannot be kept: its path ends without a name, or with control characters in it",
                where=repr(str(path)),
                fix="give a path that ends with the name of the file; rename the file if it has control characters",
            )
        target = _place(name)
        if not _is_there(target):
            _copy(source, members, target)
    except OSError as error:
        what, fix = explained(error)
        raise StorageError(
            f"the file cannot be kept: {what}", where=str(path), fix=f"{fix}; or set SUPERIONIC_HOME to another folder"
        ) from error
    return name


def kept(name: str) -> Path:
    """Return where a kept file lies.

    Raises
    ------
    StorageError
        If it is not there, is not what it was (it is then set aside), or cannot be read.
    """
    place = _place(name)
    try:
        _proved_whole(place)
    except (*_NOT_THERE, IsADirectoryError, _Changed) as damage:
        _set_aside(place)
        raise StorageError(
            "a file that results depend on is not there any more, or was changed",
            where=str(place),
            fix="run `superionic check` where the original file is; it is copied again",
        ) from damage
    except OSError as error:
        raise _unreadable(error, place) from error
    return place


def placed(value: Any) -> Any:
    """Return settings with the names of kept files replaced by their places; everything else as it is."""
    if isinstance(value, str):
        return str(kept(value)) if _NAME.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {key: placed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [placed(item) for item in value]
    return value


def first_use(name: str, engine: str) -> dict[str, Any] | None:
    """Return what was noted about a kept file when an engine first used it, or None.

    Raises
    ------
    StorageError
        If there is a note that cannot be read: it would be written anew, and what it says be lost.
    """
    note = _note(name, engine)
    try:
        found: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    except (*_NOT_THERE, ValueError):
        return None
    except OSError as error:
        raise _unreadable(error, note) from error
    return found


def note_first_use(name: str, engine: str, values: Mapping[str, Any]) -> None:
    """Note plain values about a kept file and an engine, once and for all."""
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


def _place(name: str) -> Path:
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise StorageError(
            "this is not the name of a kept file",
            where=repr(name[:100]),
            fix="run `superionic check` where the original file is, and use the name that it is kept under",
        )
    return superionic_home() / "files" / parts[1] / parts[2]


def _is_there(path: Path) -> bool:
    """Tell whether there is a file or folder; ``Path.exists`` takes a failing disk for an absence in some versions."""
    try:
        path.stat()
    except _NOT_THERE:
        return False
    return True


@functools.cache  # once a process: a checkpoint may have a hundred megabytes
def _proved_whole(place: Path) -> bool:
    members = sorted(entry.name for entry in place.iterdir()) if place.is_dir() else ()
    if _checksum(place, members) != place.parent.name:
        raise _Changed
    return True


def _set_aside(place: Path) -> None:
    """Move a damaged file out of the way, so that it can be copied again. Only its user may know what it is worth."""
    try:
        place.lstat()
    except _NOT_THERE:
        return
    except OSError as error:
        raise _unreadable(error, place) from error
    aside = place.parent.parent / f"damaged-{place.parent.name}-{uuid.uuid4().hex[:8]}"
    why = "its folder is a symbolic link"
    if not place.parent.is_symlink():
        try:
            aside.mkdir()
            place.rename(aside / place.name)
        except OSError as error:
            why = error.strerror or str(error)
        else:
            return
    raise StorageError(
        f"a file that results depend on was changed, and cannot be set aside: {why}",
        where=str(place),
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
    place = _place(name)
    return place.parent.parent / f"{place.parent.name}.{engine}.json"


def _checksum(source: Path, members: Sequence[str]) -> str:
    """Checksum as that of :func:`superionic.potentials.checkpoints.checksum`."""
    if not members:
        return hashlib.sha256(source.read_bytes()).hexdigest()
    lines = [f"{hashlib.sha256((source / name).read_bytes()).hexdigest()}  {name}\n" for name in members]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _copy(source: Path, members: Sequence[str], target: Path) -> None:
    """Copy into a folder of its own that appears whole, by one rename."""
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
            # Another process was first, or the same content is kept under another name: add this name to it.
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
