"""Hostile inputs: what may reach superionic as a file, a setting or a word of the command line, and what is asked.

Each is derived from a sound input, which stands among them and must be accepted. Nothing here judges; see `judge.py`.
The inputs are the same at every call; ``scale`` multiplies those that are damaged at random. The families stand in
modules of their own, ``*_inputs.py``.
"""

from __future__ import annotations

import gzip
import io
import itertools
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
for _folder in ("benchmarks", "tests/labels"):
    sys.path.append(str(ROOT / _folder))

Content = bytes | str | Callable[[Path], Any]
"""What a file holds, or what makes it."""


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes
    ----------
    name
        Family and what is hostile about it.
    ask
        Words of the command line, or the name of a reader in :mod:`judge` and the file that it reads (``read:NAME``).
    files
        Names in the folder of the input, and what they hold.
    sound
        Whether it has to be accepted.
    """

    name: str
    ask: tuple[str, ...]
    files: Mapping[str, Content] = field(default_factory=dict)
    sound: bool = False

    def write(self, folder: Path) -> None:
        """Make the files."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)


def all_inputs(scale: int = 1, only: str = "") -> Iterator[Input]:
    """Yield all inputs with ``only`` in their names, sound ones first; some hold megabytes, so they are not kept."""
    from campaign_inputs import campaigns
    from crystal_inputs import crystals, enumerations
    from label_inputs import labels
    from potential_inputs import potentials, results
    from trajectory_inputs import trajectories

    families = {
        "campaign": campaigns,
        "crystal": crystals,
        "enumerate": enumerations,
        "trajectory": trajectories,
        "labels": labels,
        "potential": potentials,
        "results": results,
    }
    asked = only.partition(":")[0]
    chosen = [families[asked]] if asked in families else families.values()
    found = itertools.chain.from_iterable(family(scale) for family in chosen)
    return (each for each in found if only in each.name)


NUMBERS = (
    "1e308",
    "-1e308",
    "1e-308",
    "1e999",
    "nan",
    "-0",
    "-1",
    "0",
    "1000000000",
    "9223372036854775808",
    "1" * 400,
    "1e17",
)
_NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])")


def damaged(data: bytes, number: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield ``number`` damaged copies of each kind: cut off, bytes changed or lost, a number replaced."""
    rng = np.random.default_rng(seed)
    spots = [match.span() for match in _NUMBER.finditer(data)]
    for k in range(number):
        yield f"cut {k}", data[: int(rng.integers(0, len(data)))]
        changed = bytearray(data)
        for place in rng.integers(0, len(data), int(rng.integers(1, 12))):
            changed[place] = int(rng.integers(0, 256))
        if k % 3 == 2:
            at = int(rng.integers(0, len(data)))
            del changed[at : at + int(rng.integers(1, 400))]
        yield f"bytes {k}", bytes(changed)
        if spots:
            begin, end = spots[int(rng.integers(0, len(spots)))]
            word = NUMBERS[int(rng.integers(0, len(NUMBERS)))]
            yield f"number {k}", data[:begin] + word.encode() + data[end:]


def sparse(gigabytes: float) -> Callable[[Path], None]:
    """Make a file of zeros that takes no room on the disk."""
    return lambda path: path.touch() or os.truncate(path, int(gigabytes * 1e9))  # type: ignore[func-returns-value]


def fifo(path: Path) -> None:
    """Make a pipe that nobody writes to: whoever opens it waits for ever."""
    os.mkfifo(path)


def folder(path: Path) -> None:
    """Make a folder where a file is expected."""
    path.mkdir()


def loop(path: Path) -> None:
    """Make a symbolic link to itself."""
    path.symlink_to(path.name)


def zeros(path: Path) -> None:
    """Make a link to the device that never ends."""
    path.symlink_to("/dev/zero")


NO_FILES: Mapping[str, Content] = {
    "pipe": fifo,
    "folder": folder,
    "link to itself": loop,
    "endless device": zeros,
    "empty": b"",
    "sparse": sparse(6.0),
    "binary": bytes(range(256)) * 40,
    "UTF-16": "superionic: 1\n".encode("utf-16"),
    "NUL bytes": b"\0" * 5000,
    "one long line": b"x" * 3_000_000,
}
"""What stands where a file is expected."""


@cache
def gzip_of_zeros(megabytes: int) -> bytes:
    """Return a small gzip file that unpacks to many zeros."""
    return gzip.compress(bytes(50_000_000)) * (megabytes // 50)


def npz(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an npz whose members are given as raw bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(shape: tuple[int, ...], data: bytes = b"", kind: str = "<f8") -> bytes:
    """Return an npy whose head may say more than its data hold."""
    head = str({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data
