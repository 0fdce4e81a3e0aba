"""A text file read through a window of bytes, so that its length does not matter."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from superionic.errors import AnalysisError
from superionic.foreign import open_regular, size

_WINDOW = 1 << 22
_MOST_WINDOW = 1 << 29
"""Largest number of bytes in memory; one frame or calculation has to fit."""
_COMPRESSED: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_NEAR_BYTES = 256
LONGEST_LINE = 1 << 16
"""Longest line of a header."""


class Window:
    """Bytes of a file from ``begin`` to ``end`` of ``data``; ``more`` reads more, ``begin`` moves with the reader.

    Parameters
    ----------
    path
        The file; ``.gz``, ``.bz2`` and ``.xz`` are decompressed.

    Raises
    ------
    AnalysisError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_bytes(path)
        self._compressed = path.suffix.lower() in _COMPRESSED
        self.n_bytes = None if self._compressed else path.stat().st_size
        """Size of the file; None if it is compressed."""
        self.data = bytearray(_WINDOW)
        self.array: npt.NDArray[np.uint8] = np.frombuffer(self.data, dtype=np.uint8)
        self.begin = 0
        self.end = 0
        self.base = 0
        """Offset in the file of the first byte of ``data``."""
        self.ended = False
        self.passed = b""
        self.just_before = b""
        self.fault: str | None = None
        """Why reading ended early: a truncated compressed file, or a disk error."""

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def place(self) -> int:
        """Offset of ``begin`` in the file."""
        return self.base + self.begin

    def seek(self, place: int) -> None:
        """Go to an offset in the file."""
        self._file.seek(place)
        self.base, self.begin, self.end, self.ended = place, 0, 0, False

    def more(self) -> bool:
        """Read more; return False at the end of the file."""
        if self.ended:
            return False
        if self.begin > 0:
            remaining = self.end - self.begin
            self.array[:remaining] = self.array[self.begin : self.end].copy()
            self.base += self.begin
            self.begin, self.end = 0, remaining
        if self.end == len(self.data) >= _MOST_WINDOW:
            self.fault = f"a frame has more than {size(_MOST_WINDOW)}: the file is damaged there"
            self.ended = True
            return False
        if self.end == len(self.data):
            larger = bytearray(2 * len(self.data))
            larger[: self.end] = self.data[: self.end]
            self.data = larger
            self.array = np.frombuffer(larger, dtype=np.uint8)
        try:
            if self._compressed:  # read1 returns what can be decompressed; read would lose it if the file is truncated
                chunk = self._file.read1(len(self.data) - self.end)
                count = len(chunk)
                self.data[self.end : self.end + count] = chunk
            else:
                count = self._file.readinto(memoryview(self.data)[self.end :])
        except (OSError, EOFError, lzma.LZMAError) as error:
            self.fault = f"the file cannot be read on: {error}"
            count = 0
        if count == 0:
            self.ended = True
            return False
        self.end += count
        return True

    def line(self, at: int) -> tuple[bytes, int] | None:
        """Return the line that begins at index ``at`` of ``data``, and where the next begins; None at the end.

        The window may move: ``at`` counts from ``begin`` on.
        """
        while True:
            start = self.begin + at
            stop = self.data.find(b"\n", start, self.end)
            if stop >= 0:
                return bytes(self.data[start:stop]), stop + 1 - self.begin
            if self.end - start > LONGEST_LINE:
                return bytes(self.data[start : start + LONGEST_LINE]), start + LONGEST_LINE - self.begin
            if not self.more():
                start = self.begin + at
                return (bytes(self.data[start : self.end]), self.end - self.begin) if start < self.end else None

    def find(self, words: bytes, at: int = 0) -> int | None:
        """Return where ``words`` occur next, counted from ``begin``, and skip what is before (``begin`` moves).

        ``passed`` then holds what was skipped, as far as it is still in memory, without white space at its ends, and
        ``just_before`` its last bytes.
        """
        self.begin += at
        self.passed, self.just_before = b"", b""
        while True:
            index = self.data.find(words, self.begin, self.end)
            stop = index if index >= 0 else max(self.begin, self.end - len(words))
            near = bytes(self.data[max(self.begin, stop - _NEAR_BYTES) : stop])
            self.just_before = (self.just_before + near)[-_NEAR_BYTES:]
            if len(self.passed) < LONGEST_LINE:
                self.passed = (self.passed + self.data[self.begin : stop][:LONGEST_LINE]).lstrip()
            if index >= 0:
                self.passed = self.passed.rstrip()
                return index - self.begin
            self.begin = stop
            if not self.more():
                self.passed = (self.passed + self.data[self.begin : self.end]).strip()
                return None

    def table(
        self, at: int, slots: npt.NDArray[np.int64], hash_column: int, out: npt.NDArray[np.float64]
    ) -> tuple[int, int, int, int]:
        """Read the rows that begin at index ``at``, reading as much of the file as they need.

        Returns
        -------
        status, index behind the last row (or of the row that failed), row that failed, hash of a column
            See :func:`superionic.trajectories.reading.text_kernels.read_rows`.
        """
        from superionic.trajectories.reading.text_kernels import NEEDS_MORE, POWERS, read_rows

        while True:
            known_end = self.ended
            status, stop, row, digest = read_rows(
                self.array, self.begin + at, self.end, known_end, POWERS, slots, hash_column, out
            )
            if status != NEEDS_MORE or known_end:
                return int(status), int(stop) - self.begin, int(row), int(digest)
            self.more()  # at the end of the file the last row may lack its line break

    def column(self, at: int, n_rows: int, number: int) -> tuple[str, ...] | None:
        """Return the words of one column of the rows that begin at ``at``; None if one of them lacks it."""
        column_words = []
        for _ in range(n_rows):
            line = self.line(at)
            words = [] if line is None else line[0].split()
            if line is None or len(words) <= number:
                return None
            column_words.append(words[number].decode("latin-1"))
            at = line[1]
        return tuple(column_words)

    def unfinished(self, at: int) -> bool:
        """Return whether the file ends at index ``at`` in the middle of a number, as far as can be determined.

        A file cut off between two digits ends in a number that looks complete. It counts as complete only if it has as
        many decimals as the number above it.
        """
        if not self.ended or at < self.end or self.end == 0 or self.data[self.end - 1] in b"\r\n":
            return False
        lines = bytes(self.data[max(0, self.end - LONGEST_LINE) : self.end]).split(b"\n")[-2:]
        words = [line.split()[-1] if line.split() else b"" for line in lines]
        if len(words) < 2 or b"." not in words[0] or b"." not in words[1]:
            return True
        return len(words[0].rsplit(b".", 1)[1]) != len(words[1].rsplit(b".", 1)[1])


def open_bytes(path: Path) -> Any:
    """Open a file for reading bytes, decompressing by its name.

    Raises
    ------
    AnalysisError
        If it cannot be opened.
    """
    opener = _COMPRESSED.get(path.suffix.lower())
    try:
        file = open_regular(path)
        if opener is not None:
            file.close()
            file = opener(path)
    except OSError as error:
        raise AnalysisError(
            f"The trajectory cannot be opened: {error.strerror or error}.", where=str(path), fix="Check its name."
        ) from error
    return file


def head(path: Path, most: int = 65536) -> bytes:
    """Return the first bytes of a file, as far as they can be read."""
    data = b""
    with open_bytes(path) as file:
        try:
            while len(data) < most and (chunk := file.read1(most - len(data))):
                data += chunk
        except (OSError, EOFError, lzma.LZMAError):
            pass
    return data
