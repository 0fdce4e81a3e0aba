"""Files that come from anywhere: only regular ones are opened, and no more of them is read than is sensible.

A pipe would be waited for, a device never ends, and a file of gigabytes where one of kilobytes belongs fills the
memory. All of that is an :class:`OSError` in words here, which those who read files report as they do any other.
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
_TOO_LARGE: Final = errno.EINVAL  # EFBIG is what the system says of a file that it cannot write
_OPENERS: Final[Mapping[str, Callable[[IO[bytes]], Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""What unpacks an open file, by the end of its name."""
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
        What is larger is refused; None for no limit.

    Raises
    ------
    OSError
        If it cannot be opened, is no regular file, or is too large; ``strerror`` says so in words.
    """
    try:
        # A pipe is not waited for: what it is can be seen only when it is open, lest it be exchanged meanwhile.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except ValueError as error:  # a NUL byte
        raise OSError(errno.EINVAL, f"its path cannot be that of a file ({error})") from error
    about = os.fstat(handle)
    refusal = next(((number, words) for is_kind, number, words in _KINDS if is_kind(about.st_mode)), None)
    if refusal is None and most_bytes is not None and about.st_size > most_bytes:
        refusal = _TOO_LARGE, f"it is too large: {size(about.st_size)}, where no more than {size(most_bytes)} are read"
    if refusal is not None:
        os.close(handle)
        raise OSError(*refusal, str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: str | Path, most_bytes: int) -> bytes:
    """Return what a regular file holds, if that is no more than ``most_bytes``; raise OSError as `open_regular`."""
    with open_regular(path, most_bytes) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:  # it grows while it is read, or does not say its size, as those in /proc
        raise OSError(_TOO_LARGE, f"it is too large: more than {size(most_bytes)}", str(path))
    return data


def sha256_of(path: str | Path, most_bytes: int | None = None) -> str:
    """Return the SHA-256 of a regular file, without holding it; raise OSError as `open_regular`."""
    digest = hashlib.sha256()
    with open_regular(path, most_bytes) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def size(n_bytes: int) -> str:
    """Say a number of bytes as people do."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes} bytes"


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file, unpacked where the end of its name says that it is packed; errors of the system pass."""
    opener = _OPENERS.get(path.suffix.lower())
    with open_regular(path) as raw, opener(raw) if opener else raw as file:
        yield file


def shown(text: str, limit: int = 40) -> str:
    """Make a piece of a file fit to be shown: printable, on one line, short."""
    clean = "".join(c if c.isprintable() else "�" for c in " ".join(text[: 4 * limit].split()))
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
