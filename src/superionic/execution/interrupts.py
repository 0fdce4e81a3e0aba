"""An interrupt from the keyboard that cannot get lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. If that is a destructor or a callback from C
(a compiler's, a database's), the exception is printed or dropped there and the program goes on as if nothing had been
said. So the wish is remembered, and whoever waits for work asks for it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Whether an interrupt has been asked for."""

    def __init__(self) -> None:
        self.asked = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if an interrupt was asked for, although it was raised before and got lost."""
        if self.asked:
            raise KeyboardInterrupt


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
    """Remember interrupts while the block runs; not outside the main thread or under another handler."""
    found = Interrupts()
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield found
        return

    def remember(_number: int, _frame: FrameType | None) -> None:
        found.asked = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, remember)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
