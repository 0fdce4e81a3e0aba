"""Files of the user that results depend on, kept by their checksum.

A task's settings name such a file by what is in it and never by where it lies: ``sha256:<checksum>/<name>``. The file
itself is copied to ``$SUPERIONIC_HOME/files``, beside the engines, where every worker that can run an engine can read
it; the worker puts its place into the settings before it calls the task's function. So moving a checkpoint repeats no
work, changing one does, and a run can go on when the original is gone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from superionic.errors import StorageError
from superionic.execution.engines import superionic_home

_PREFIX: Final = "sha256:"


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
        target = _place(name)
        if not target.exists():
            _copy(source, members, target)
    except OSError as error:
        raise StorageError(
            f"the file cannot be kept: {error.strerror or error}",
            where=str(path),
            fix="check the path, or set SUPERIONIC_HOME to a folder that you may write",
        ) from error
    return name


def kept(name: str) -> Path:
    """Return where a kept file lies.

    Raises
    ------
    StorageError
        If it is not there, or is not what it was.
    """
    place = _place(name)
    if not _is_whole(place):
        with contextlib.suppress(OSError):
            shutil.rmtree(place.parent)
        raise StorageError(
            "a file that results depend on is not there any more, or was changed",
            where=str(place),
            fix="run `superionic check` where the original file is; it is copied again",
        )
    return place


def placed(value: Any) -> Any:
    """Return settings with the names of kept files replaced by their places; everything else as it is."""
    if isinstance(value, str) and value.startswith(_PREFIX) and "/" in value:
        return str(kept(value))
    if isinstance(value, Mapping):
        return {key: placed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [placed(item) for item in value]
    return value


def first_use(name: str, engine: str) -> dict[str, Any] | None:
    """Return what was noted about a kept file when an engine first used it, or None."""
    try:
        found: dict[str, Any] = json.loads(_note(name, engine).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def note_first_use(name: str, engine: str, values: Mapping[str, Any]) -> None:
    """Note plain values about a kept file and an engine, once and for all."""
    note = _note(name, engine)
    try:
        _write_new(note, json.dumps(dict(values), sort_keys=True).encode())
    except OSError as error:
        raise StorageError(
            f"the first use of a file cannot be noted: {error.strerror}",
            where=str(note),
            fix="set SUPERIONIC_HOME to a folder that you may write",
        ) from error


def _place(name: str) -> Path:
    digest, _, file = name.removeprefix(_PREFIX).partition("/")
    return superionic_home() / "files" / digest / file


@functools.cache  # once a process: a checkpoint may have a hundred megabytes
def _proved_whole(place: Path) -> bool:
    members = sorted(entry.name for entry in place.iterdir()) if place.is_dir() else ()
    if _checksum(place, members) != place.parent.name:
        raise OSError
    return True


def _is_whole(place: Path) -> bool:
    try:
        return place.exists() and _proved_whole(place)
    except OSError:
        return False


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
            if not target.exists():
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
