"""The frames of an extended XYZ file of any length and origin, one after another.

ASE trusts the header of a frame: for 10⁹ atoms it reads 10⁹ lines beyond the end of the file, and a column declared
10⁹ wide is allocated. So a file is cut into its frames here, and ASE is handed one complete frame at a time.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from superionic.foreign import open_unpacked

if TYPE_CHECKING:
    from ase import Atoms

LONGEST_LINE: Final = 10_000_000
"""Largest number of characters in a line; a comment with its provenance has some thousands."""

MOST_COLUMNS: Final = 1000
"""Largest number of columns per atom."""

_PROPERTIES: Final = re.compile(r'properties\s*=\s*"?([^\s"]+)', re.IGNORECASE)
_MOST_VECTORS: Final = 3


def frames_of(path: Path) -> Iterator[Atoms]:
    """Yield the frames of an extended XYZ file as ASE reads them; ``.gz``, ``.bz2`` and ``.xz`` are unpacked.

    Raises
    ------
    OSError
        If the file cannot be read, or is not a file.
    ValueError
        At a frame that is cut off, or whose header, lines or columns are not those of an extended XYZ file.
    Exception
        Whatever else ASE raises on a damaged frame.
    """
    for text in texts_of(path):
        yield frame_of(text)


def texts_of(path: Path) -> Iterator[str]:
    """Yield the text of each frame unparsed; errors as for :func:`frames_of`, except those of ASE."""
    with open_unpacked(path) as file, io.TextIOWrapper(file, "utf-8") as text:
        yield from _cut(text)


def frame_of(text: str) -> Atoms:
    """Read the text of one frame; ASE raises errors of every kind on a damaged one."""
    from ase.io.extxyz import read_xyz

    return next(iter(read_xyz(io.StringIO(text), index=0)))


def _cut(file: IO[str]) -> Iterator[str]:
    """Yield the text of each frame; empty lines between frames, which editors and `cat` leave, are skipped."""
    line = _line(file)
    while line:
        head = line.strip()
        if not head:
            line = _line(file)
            continue
        if not re.fullmatch(r"[0-9]{1,12}", head):
            raise ValueError(f"{head[:40]!r} is where the number of atoms is expected")
        count, lines = int(head), [line, _line(file)]
        check_columns(lines[1])
        for number in range(count):
            line = _line(file)
            if not line:
                raise ValueError(f"the frame has {number} atoms, but its header states {head}")
            lines.append(line)
        line = _line(file)
        while line.lstrip().startswith("VEC") and len(lines) < count + 2 + _MOST_VECTORS:
            lines.append(line)
            line = _line(file)
        yield "".join(lines)


def _line(file: IO[str]) -> str:
    line = file.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise ValueError(f"a line has more than {LONGEST_LINE:,} characters")
    return line


def check_columns(comment: str) -> None:
    """Check that the columns declared in a comment line are plausible, before ASE allocates them.

    Raises
    ------
    ValueError
        If they are not.
    """
    match = _PROPERTIES.search(comment)
    counts = match.group(1).split(":")[2::3] if match is not None else []
    if any(not re.fullmatch(r"[0-9]{1,4}", count) for count in counts) or sum(map(int, counts)) > MOST_COLUMNS:
        raise ValueError("its Properties are damaged, or name more than 1,000 columns")
