"""The kernel's death signal: a process that must not outlive the one that started it.

Only the standard library is imported, since workers load this file before anything else of superionic.
"""

from __future__ import annotations

import ctypes
import signal
import sys

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def end_with_parent(number: int = signal.SIGKILL) -> bool:
    """Have this process sent a signal when the thread that started it ends; tell whether the kernel can do that."""
    return _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> bool:
    """Become the parent of every process below this one that loses its own; tell whether the kernel can do that."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> bool:
    zero = ctypes.c_ulong(0)
    return _LIBC is not None and _LIBC.prctl(option, ctypes.c_ulong(value), zero, zero, zero) == 0
