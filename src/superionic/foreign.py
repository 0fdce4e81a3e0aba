"""Files of any origin: only regular files are opened, and no more of them is read than is sensible.

Reading a pipe would block, a device never ends, and a file of gigabytes in place of one of kilobytes fills the memory.
All of these raise an :class:`OSError` with an explanation, which callers report like any other.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

_CHUNK: Final = 1 << 20
_TOO_LARGE: Final = errno.EINVAL  # EFBIG is what the system reports for a file that it cannot write
_OPENERS: Final[Mapping[str, Callable[[IO[bytes]], Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""Functions that decompress an open file, by suffix."""
_KINDS: Final = (
    (stat.S_ISDIR, errno.EISDIR, "it is a folder"),
    (stat.S_ISFIFO, errno.EINVAL, "it is a pipe, not a file"),
    (stat.S_ISSOCK, errno.EINVAL, "it is a socket, not a file"),
    (stat.S_ISCHR, errno.EINVAL, "it is a device, not a file"),
    (stat.S_ISBLK, errno.EINVAL, "it is a device, not a file"),
)


def open_regular(path: str | Path, most_bytes: int | None = None) -> IO[bytes]:
    """Open a regular file for reading.

    Parameters
    ----------
    path
        The file; links are followed.
    most_bytes
        Larger files are refused; None for no limit.

    Raises
    ------
    OSError
        If it cannot be opened, is not a regular file, or is too large; ``strerror`` says so in words.
    """
    try:
        # Do not block on a pipe. The kind is checked on the open file, which cannot be exchanged meanwhile.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except ValueError as error:  # a NUL byte
        raise OSError(errno.EINVAL, f"its path cannot be that of a file ({error})") from error
    about = os.fstat(handle)
    refusal = next(((number, words) for is_kind, number, words in _KINDS if is_kind(about.st_mode)), None)
    if refusal is None and most_bytes is not None and about.st_size > most_bytes:
        refusal = _TOO_LARGE, f"it is too large: {size(about.st_size)}, where at most {size(most_bytes)} are read"
    if refusal is not None:
        os.close(handle)
        raise OSError(*refusal, str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: str | Path, most_bytes: int) -> bytes:
    """Return the contents of a regular file of at most ``most_bytes``; raise OSError as `open_regular`."""
    with open_regular(path, most_bytes) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:  # it grows while it is read, or does not state its size, like files in /proc
        raise OSError(_TOO_LARGE, f"it is too large: more than {size(most_bytes)}", str(path))
    return data


def sha256_of(path: str | Path, most_bytes: int | None = None) -> str:
    """Return the SHA-256 of a regular file, without loading it whole; raise OSError as `open_regular`."""
    digest = hashlib.sha256()
    with open_regular(path, most_bytes) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def size(n_bytes: int) -> str:
    """Write a number of bytes for people to read."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes} bytes"


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file, decompressed if its suffix says that it is compressed; system errors propagate."""
    opener = _OPENERS.get(path.suffix.lower())
    with open_regular(path) as raw, opener(raw) if opener else raw as file:
        yield file


def shown(text: str, limit: int = 40) -> str:
    """Make a piece of a file presentable: printable, on one line, short."""
    clean = "".join(c if c.isprintable() else "�" for c in " ".join(text[: 4 * limit].split()))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
