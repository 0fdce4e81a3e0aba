"""Signals that end a run: Ctrl-C, SIGTERM, SIGHUP, none of which can get lost.

Python raises an exception wherever the main thread happens to be. If that is a destructor or a callback from C (a
compiler's, a database's), the exception is printed or dropped there and the program goes on as if nothing had been
said. So the signal is remembered, and whoever waits for work asks for it.
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
# A terminal that closes hangs up more than once, and programs that wrap others pass on what the others heard already.
_SAME_WISH_S: Final = 0.5


class Interrupted(KeyboardInterrupt):
    """The process was asked to end, by Ctrl-C or from outside.

    Attributes
    ----------
    signal
        The signal that asked.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number


class Interrupts:
    """Whether the process was asked to end.

    Attributes
    ----------
    signal
        The first signal that asked; None as long as none did.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._since = 0.0

    def check(self) -> None:
        """Raise :class:`Interrupted` if there was a signal, although it was raised before and got lost."""
        if self.signal is not None:
            raise Interrupted(self.signal)

    def hear(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal: the first raises :class:`Interrupted`, a further one ends the process at once."""
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), now
            raise Interrupted(self.signal)
        if number != signal.SIGHUP and now - self._since > _SAME_WISH_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def deafness() -> str | None:
    """Return a warning if Ctrl-C cannot stop this process, and how to stop it; None if it can.

    A shell without job control (every script) starts what it puts in the background with the interrupt ignored, and
    programs inherit that. Taking the interrupt back would let a Ctrl-C that is meant for the script end the run as
    well, so it is left as it is, and said.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        return None
    return (
        "this run cannot be interrupted with Ctrl-C: whatever started it (a script, in the background) made it ignore "
        f"interrupts. To stop it: kill {os.getpid()}; all finished work is kept"
    )


@contextmanager
def remembered_interrupts() -> Iterator[Interrupts]:
    """Remember the signals that end a run while the block runs.

    A signal that is ignored (SIGHUP under ``nohup``) or has another handler is left alone. Blocks may be nested: the
    inner ones share what the outermost remembers. Outside the main thread nothing is remembered anew.

    When :class:`Interrupted` leaves the outermost block, SIGTERM or SIGHUP is raised again, now that everything is in
    order: a program that has no other use for it ends as it would have done without superionic.
    """
    outer = next((interrupts for number in _BY_DEFAULT if (interrupts := _of(number)) is not None), None)
    if outer is not None or threading.current_thread() is not threading.main_thread():
        yield outer or Interrupts()
        return
    interrupts = Interrupts()
    before = {number: signal.getsignal(number) for number, usual in _BY_DEFAULT.items()}
    heard = [number for number, usual in _BY_DEFAULT.items() if before[number] == usual]
    for number in heard:
        signal.signal(number, interrupts.hear)
    again: signal.Signals | None = None
    try:
        yield interrupts
    except Interrupted as error:
        again = error.signal
        raise
    finally:
        for number in heard:
            signal.signal(number, before[number])
        if again is not None and again != signal.SIGINT:
            signal.raise_signal(again)


def _of(number: signal.Signals) -> Interrupts | None:
    """Return whose handler a signal has, if it is one of these."""
    owner = getattr(signal.getsignal(number), "__self__", None)
    return owner if isinstance(owner, Interrupts) else None
