"""Unwrapped positions on disk: written block by block, resumed after a kill, memory-mapped when complete.

Three files for each trajectory: ``KEY.positions`` and ``KEY.cells`` are plain numbers, ``KEY.state.npz`` says how many
of them are valid and how far the reading was. The state is renamed into place after its numbers were written, so that
an interruption at any time leaves a valid state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from superionic.errors import AnalysisError
from superionic.trajectories.reading.base import ReadingOptions

_VERSION = 2
_END_BYTES = 65536


def key_of(files: Sequence[Path], options: ReadingOptions, formats: Sequence[str], scheme: str) -> str:
    """Return a key of files (by size, date and their first and last 64 KiB) and of the way they are read."""
    facts: list[Any] = [_VERSION, scheme, list(formats), {k: str(v) for k, v in asdict(options).items()}]
    for file in [*files, *([options.structure] if options.structure is not None else [])]:
        about = file.stat()
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            digest.update(opened.read(_END_BYTES))
            opened.seek(max(0, about.st_size - _END_BYTES))
            digest.update(opened.read(_END_BYTES))
        facts.append([about.st_size, about.st_mtime_ns, digest.hexdigest()])
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


class Cache:
    """The files of one trajectory.

    Parameters
    ----------
    folder
        Folder, created if missing.
    key
        From :func:`key_of`.
    n_atoms
        Number of atoms in a frame.

    Raises
    ------
    AnalysisError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, key: str, n_atoms: int) -> None:
        self._n_atoms = n_atoms
        self._positions_path = folder / f"{key}.positions"
        self._cells_path = folder / f"{key}.cells"
        self._state_path = folder / f"{key}.state.npz"
        self._files: tuple[IO[bytes], IO[bytes]] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f".{key}.probe").write_bytes(b"")
            (folder / f".{key}.probe").unlink()
        except OSError as error:
            raise AnalysisError(
                f"The cache cannot be written: {error.strerror or error}.",
                where=str(folder),
                fix="Choose another --cache.",
            ) from error

    def load(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]], npt.NDArray[np.float64]] | None:
        """Return facts and arrays of the saved state and the cells up to it; None if there is no complete state."""
        try:
            with np.load(self._state_path, allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in saved.files if name != "facts"}
                facts: dict[str, Any] = json.loads(str(saved["facts"]))
            n = int(facts["n_frames"])
            whole = self._positions_path.stat().st_size >= n * self._n_atoms * 12
            if not whole or self._cells_path.stat().st_size < n * 72:
                return None
            cells = np.fromfile(self._cells_path, dtype=np.float64, count=n * 9).reshape(n, 3, 3)
        except (OSError, ValueError, KeyError, BadZipFile):
            return None
        self._open("r+b", n)
        return facts, arrays, cells

    def complete(self, facts: Mapping[str, Any]) -> bool:
        """Return whether all files had been read when this state was saved."""
        return bool(facts.get("complete"))

    def append(self, positions: npt.NDArray[np.float32], cells: npt.NDArray[np.float64]) -> None:
        """Append frames."""
        if self._files is None:
            self._open("w+b", 0)
        assert self._files is not None  # noqa: S101 - opened above
        self._files[0].write(positions.data)
        self._files[1].write(np.ascontiguousarray(cells, dtype=np.float64).data)

    def save(self, facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Save the state, which validates what was written so far."""
        if self._files is None:
            self._open("w+b", 0)
        for file in self._files or ():
            file.flush()
        words = json.dumps({**facts, "complete": not facts["place"]}, sort_keys=True)
        part = self._state_path.with_suffix(".part")
        with part.open("wb") as out:
            np.savez(out, allow_pickle=False, facts=np.array(words), **dict(arrays))
        part.replace(self._state_path)

    def positions(self, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
        """Map the positions; changes to the map stay in memory (compiled loops need writable arrays)."""
        return np.memmap(self._positions_path, dtype=np.float32, mode="c", shape=shape)

    def close(self) -> None:
        """Close the files."""
        for file in self._files or ():
            file.close()
        self._files = None

    def _open(self, mode: str, n_frames: int) -> None:
        files = (self._positions_path.open(mode), self._cells_path.open(mode))
        for file, size in zip(files, (self._n_atoms * 12, 72), strict=True):
            file.truncate(n_frames * size)
            file.seek(n_frames * size)
        self._files = files
