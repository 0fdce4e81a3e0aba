"""Engine environments as single archives: loading CHGNet looks up 37,000 files, on a file server that all share."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from superionic.errors import StorageError
from superionic.execution.home import superionic_home


def pack_engine(python: Path) -> Path | None:
    """Return the archive of the engine environment whose interpreter is ``python``; create it if it does not exist.

    Returns
    -------
    Path or None
        None if the interpreter does not belong to an engine's environment.

    Raises
    ------
    StorageError
        If the archive cannot be written.
    """
    folder = python.parents[1]
    engines = superionic_home() / "engines"
    if folder.parent != engines or not (folder / "engine.json").is_file():
        return None
    # The record changes with everything that the environment was built from.
    version = hashlib.sha256((folder / "engine.json").read_bytes()).hexdigest()[:16]
    archive = superionic_home() / "packed" / f"{folder.name}-{version}.tar"
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    draft = archive.with_name(f"{archive.name}.{os.getpid()}.tmp")
    completed = subprocess.run(
        ["tar", "-cf", str(draft), "-C", str(folder), "."], check=False, stdin=subprocess.DEVNULL, capture_output=True
    )
    if completed.returncode != 0:
        draft.unlink(missing_ok=True)
        raise StorageError(
            f"the engine {folder.name} cannot be packed: {completed.stderr.decode(errors='replace').strip()[-300:]}",
            where=str(archive),
            fix="free some space, or set `pack_engines: false` in the site file",
        )
    draft.replace(archive)
    return archive
