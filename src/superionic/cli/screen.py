"""Standard output and error that cannot end the work: closed pipes, full disks, terminals without σ and Å.

What cannot be written is remembered and passed over; the rest of the program never hears of it. Signs that the device
cannot show are written out in ASCII.
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


_FOR_GOOD: Final = (errno.EPIPE, errno.EBADF)


class Screen(io.TextIOBase):
    """A text stream on another one whose errors stay in here.

    It has no ``buffer``: whoever would write bytes past it has to write text.

    Parameters
    ----------
    stream
        The stream of the interpreter.
    error
        What is wrong with it from the beginning, if anything is.

    Attributes
    ----------
    error
        Why it could not be written; None as long as it could. A disk that was full is tried again the next time, so
        that a log goes on when there is space; a pipe that nobody reads is not.
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
        # Undecodable bytes of file names go through where the stream lets them; all else that it lacks is ours.
        self.errors = "surrogateescape" if stream.errors == "surrogateescape" else "strict"

    def write(self, text: str) -> int:
        """Write text, as far as the device takes it."""
        if not isinstance(text, str):
            raise TypeError("a screen takes text")
        self.is_used = self.is_used or bool(text)
        with self._errors_kept():
            if not self._is_gone:
                self._stream.write(plain(text, self.encoding, self.errors or "strict"))
        return len(text)

    def flush(self) -> None:
        """Write what waits in the buffer."""
        with self._errors_kept():
            if not self._is_gone:
                self._stream.flush()

    def close(self) -> None:
        """Write what waits in the buffer; the stream below is not ours to close."""
        self.flush()

    def writable(self) -> bool:
        """Tell that this can be written."""
        return True

    def isatty(self) -> bool:
        """Tell whether the stream below is a terminal."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def fileno(self) -> int:
        """Return the number of the file below."""
        return self._stream.fileno()

    def leave(self) -> None:
        """Write what waits in the buffer, if that can be done, and see that the stream can fail nobody after us."""
        self.flush()
        if self.error is not None and not self._is_gone:
            self._give_up()

    @contextmanager
    def _errors_kept(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:  # whoever reads is slow; this part is lost, the next may come through
            return
        except OSError as error:
            self.error = error
            if error.errno in _FOR_GOOD:
                self._give_up()
        except ValueError:  # somebody has closed it
            self.error = OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._give_up()

    def _give_up(self) -> None:
        """Lead the stream nowhere, with what waits in its buffer and what libraries write past us."""
        self._is_gone = True
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


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
    """Return the screen on a stream; one that was closed before we began goes nowhere."""
    if stream is not None:
        return Screen(stream)
    closed = OSError(errno.EBADF, os.strerror(errno.EBADF))
    with contextlib.suppress(OSError):
        os.fstat(number)
        return Screen(open(os.devnull, "w", encoding="utf-8"), closed)  # noqa: PTH123 - a device, not a path
    # The number is free: the next file that is opened would get it, and with it whatever is written to the screen.
    opened = os.open(os.devnull, os.O_RDWR)
    while opened < number:
        opened = os.dup(opened)
    return Screen(os.fdopen(number, "w", encoding="utf-8"), closed)


def plain(text: str, encoding: str, errors: str = "strict") -> str:
    """Return a text with the signs that an encoding lacks written out: ``3 mS/cm at sigma``, ``A^3``."""
    try:
        text.encode(encoding, errors)
    except UnicodeEncodeError:
        return "".join(_shown(sign, encoding, errors) for sign in text)
    return text


def plain_json(text: str) -> str:
    """Return the text of a JSON document, by escapes in ASCII where standard output cannot show it as it is."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "".join(sign if sign.isascii() else json.dumps(sign)[1:-1] for sign in text)
    return text


def _shown(sign: str, encoding: str, errors: str) -> str:
    try:
        sign.encode(encoding, errors)
    except UnicodeEncodeError:
        pass
    else:
        return sign
    if sign in _PLAIN:
        return _PLAIN[sign]
    kind, _, name = unicodedata.name(sign, "").partition(" LETTER ")
    if kind in ("GREEK SMALL", "GREEK CAPITAL"):
        word = name.partition(" WITH ")[0].removeprefix("FINAL ").lower()
        return word.capitalize() if kind == "GREEK CAPITAL" else word
    if unicodedata.combining(sign):
        return ""
    apart = unicodedata.normalize("NFKD", sign).replace("⁄", "/")
    return apart.encode("ascii", "ignore").decode("ascii") or "?"
