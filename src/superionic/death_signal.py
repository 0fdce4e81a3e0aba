"""What the kernel says of processes, and its death signal: a process must not outlive the one that started it.

Only the standard library is imported, since workers load this file before anything else of superionic.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from pathlib import Path

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


def all_processes() -> list[int]:
    """Return the pids of all processes; none where there is no ``/proc``."""
    try:
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except OSError:
        return []


def status_of(pid: int) -> list[str]:
    """Return state, parent, group, session and so on of a process (the fields of ``/proc/PID/stat``), or nothing."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
