"""Signals that end a run: Ctrl-C, SIGTERM and SIGHUP, none of which can be lost.

Python raises an exception wherever the main thread happens to be. If that is a destructor or a callback from C (a
compiler's, a database's), the exception is printed or dropped there and the program continues as if nothing had
happened. So the signal is recorded, and the loop that waits for work checks for it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_BY_DEFAULT: Final = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
# A closing terminal hangs up more than once, and wrapper programs pass on signals that their child has received too.
_SAME_SIGNAL_S: Final = 0.5


class Interrupted(KeyboardInterrupt):
    """The process was asked to end, by Ctrl-C or from outside.

    Attributes
    ----------
    signal
        The signal received.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number


class Interrupts:
    """Whether the process was asked to end.

    Attributes
    ----------
    signal
        The first signal received; None if there was none.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._since = 0.0

    def check(self) -> None:
        """Raise :class:`Interrupted` if there was a signal, even if it was raised before and lost."""
        if self.signal is not None:
            raise Interrupted(self.signal)

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal: the first raises :class:`Interrupted`, a further one ends the process at once."""
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), now
            raise Interrupted(self.signal)
        if number != signal.SIGHUP and now - self._since > _SAME_SIGNAL_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def warn_of_ignored_interrupts() -> str | None:
    """Return a warning that says how to stop this process if Ctrl-C cannot; None if it can.

    A shell without job control (any script) starts background processes with the interrupt ignored, and programs
    inherit that. Restoring the interrupt would let a Ctrl-C meant for the script end the run as well, so it stays
    ignored, with a warning.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        return None
    return (
        "this run cannot be interrupted with Ctrl-C: it was started (by a script, in the background) so as to ignore "
        f"interrupts. To stop it: kill {os.getpid()}; all finished work is kept"
    )


@contextmanager
def remembered_interrupts() -> Iterator[Interrupts]:
    """Record the signals that end a run while the block runs.

    A signal that is ignored (SIGHUP under ``nohup``) or has another handler is left alone. Blocks may be nested: the
    inner ones share the record of the outermost. Outside the main thread no further signals are recorded.

    When :class:`Interrupted` leaves the outermost block, SIGTERM or SIGHUP is raised again, now that everything is in
    order, so that a program without a handler of its own ends as it would without superionic.
    """
    outer = next((interrupts for number in _BY_DEFAULT if (interrupts := _of(number)) is not None), None)
    if outer is not None or threading.current_thread() is not threading.main_thread():
        yield outer or Interrupts()
        return
    interrupts = Interrupts()
    before = {number: signal.getsignal(number) for number, usual in _BY_DEFAULT.items()}
    handled = [number for number, usual in _BY_DEFAULT.items() if before[number] == usual]
    for number in handled:
        signal.signal(number, interrupts.handle)
    again: signal.Signals | None = None
    try:
        yield interrupts
    except Interrupted as error:
        again = error.signal
        raise
    finally:
        for number in handled:
            signal.signal(number, before[number])
        if again is not None and again != signal.SIGINT:
            signal.raise_signal(again)


def _of(number: signal.Signals) -> Interrupts | None:
    """Return the :class:`Interrupts` that handles a signal, if one does."""
    owner = getattr(signal.getsignal(number), "__self__", None)
    return owner if isinstance(owner, Interrupts) else None
