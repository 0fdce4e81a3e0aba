"""Standard output and error whose failures cannot stop a run: closed pipes, full disks, terminals without σ and Å.

A failure to write is recorded and passed over; the rest of the program never sees it. Characters that the device
cannot show are spelled out in ASCII.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

_PLAIN: Final = {
    "±": "+-", "−": "-", "⁻": "-", "–": "-", "—": "-", "→": "->", "←": "<-", "≥": ">=", "≤": "<=", "≈": "~", "×": "x",
    "·": "*", "°": "deg", "µ": "u", "μ": "u", "√": "sqrt", "∫": "int ", "∞": "inf", "•": "*", "⏎": "\\n", "“": '"',
    "”": '"', "„": '"', "‘": "'", "’": "'", "…": "...", "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip


_PERMANENT: Final = (errno.EPIPE, errno.EBADF)


class Screen(io.TextIOBase):
    """A text stream around another one, which keeps that one's errors to itself.

    It has no ``buffer``, so that nothing can write bytes past it.

    Parameters
    ----------
    stream
        The interpreter's stream.
    error
        Why the stream cannot be written from the outset, if it cannot.

    Attributes
    ----------
    error
        Why the last write failed; None while all succeed. A full disk is tried again at the next write, so
        that a log continues once there is space; a pipe without a reader is not.
    is_used
        Whether anything was written.
    """

    encoding = "ascii"
    errors: str | None = "strict"

    def __init__(self, stream: TextIO, error: OSError | None = None) -> None:
        self.error = error
        self.is_used = False
        self._is_gone = error is not None
        self._stream = stream
        self.encoding = stream.encoding or "ascii"
        # Undecodable bytes of file names pass where the stream lets them; other characters that it lacks we spell out.
        self.errors = "surrogateescape" if stream.errors == "surrogateescape" else "strict"

    def write(self, text: str) -> int:
        """Write as much of a text as the device takes; return the length of the text."""
        if not isinstance(text, str):
            raise TypeError("a screen takes text")
        self.is_used = self.is_used or bool(text)
        with self._errors_recorded():
            if not self._is_gone:
                self._stream.write(plain(text, self.encoding, self.errors or "strict"))
        return len(text)

    def flush(self) -> None:
        """Write out the buffer."""
        with self._errors_recorded():
            if not self._is_gone:
                self._stream.flush()

    def close(self) -> None:
        """Write out the buffer; the stream below is not ours to close."""
        self.flush()

    def writable(self) -> bool:
        """Return True: a screen can be written."""
        return True

    def isatty(self) -> bool:
        """Return whether the stream below is a terminal."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def fileno(self) -> int:
        """Return the file descriptor of the stream below."""
        return self._stream.fileno()

    def leave(self) -> None:
        """Write out the buffer if possible, and make sure that the stream fails for nobody after us."""
        self.flush()
        if self.error is not None and not self._is_gone:
            self._give_up()

    @contextmanager
    def _errors_recorded(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:  # the reader is slow; this part is lost, the next may get through
            return
        except OSError as error:
            self.error = error
            if error.errno in _PERMANENT:
                self._give_up()
        except ValueError:  # the stream is closed
            self.error = OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._give_up()

    def _give_up(self) -> None:
        """Redirect the stream to the null device, with its buffer and what libraries write past us."""
        self._is_gone = True
        with contextlib.suppress(OSError, ValueError):
            null_device = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null_device, self._stream.fileno())
            os.close(null_device)


@contextmanager
def screens() -> Iterator[tuple[Screen, Screen]]:
    """Put a :class:`Screen` on standard output and on standard error while the block runs."""
    before = sys.stdout, sys.stderr
    out, err = _screen(1, sys.stdout), _screen(2, sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        out.leave()
        err.leave()
        if before[0] is not None:
            sys.stdout = before[0]
        if before[1] is not None:
            sys.stderr = before[1]


def _screen(number: int, stream: TextIO | None) -> Screen:
    """Return the screen around a stream; output to one that was closed before we started is discarded."""
    if stream is not None:
        return Screen(stream)
    closed = OSError(errno.EBADF, os.strerror(errno.EBADF))
    with contextlib.suppress(OSError):
        os.fstat(number)
        return Screen(open(os.devnull, "w", encoding="utf-8"), closed)  # noqa: PTH123 - a device, not a path
    # The descriptor is free: the next file opened would get it, and with it everything written to the screen.
    opened = os.open(os.devnull, os.O_RDWR)
    while opened < number:
        opened = os.dup(opened)
    return Screen(os.fdopen(number, "w", encoding="utf-8"), closed)


def plain(text: str, encoding: str, errors: str = "strict") -> str:
    """Return a text with the characters that an encoding lacks spelled out: ``3 mS/cm at sigma``, ``A^3``."""
    try:
        text.encode(encoding, errors)
    except UnicodeEncodeError:
        return "".join(_spelled_out(character, encoding, errors) for character in text)
    return text


def plain_json(text: str) -> str:
    """Return the text of a JSON document, with the characters that standard output lacks escaped."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "".join(letter if letter.isascii() else json.dumps(letter)[1:-1] for letter in text)
    return text


def _spelled_out(character: str, encoding: str, errors: str) -> str:
    try:
        character.encode(encoding, errors)
    except UnicodeEncodeError:
        pass
    else:
        return character
    if character in _PLAIN:
        return _PLAIN[character]
    kind, _, name = unicodedata.name(character, "").partition(" LETTER ")
    if kind in ("GREEK SMALL", "GREEK CAPITAL"):
        word = name.partition(" WITH ")[0].removeprefix("FINAL ").lower()
        return word.capitalize() if kind == "GREEK CAPITAL" else word
    if unicodedata.combining(character):
        return ""
    decomposed = unicodedata.normalize("NFKD", character).replace("⁄", "/")
    return decomposed.encode("ascii", "ignore").decode("ascii") or "?"
