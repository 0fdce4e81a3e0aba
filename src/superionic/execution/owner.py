"""The identity of a process: host, pid and start time, so that a reused pid is never mistaken for the old process.

What a process leaves behind when it is killed (scratch, half-written files, a lock where the file system has none)
bears the name of its owner, and may be removed once that owner is known to have ended.
"""

from __future__ import annotations

import functools
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FORM: Final = re.compile(r"([A-Za-z0-9.-]{1,200})_([0-9a-f]+)_([0-9]+)_([0-9]+)")


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes
    ----------
    host
        Name of its machine.
    boot
        Boot of that machine and namespace of its process ids, in hexadecimal; pids are unique only within one.
    pid, started
        Its process id, and when it started, in clock ticks since boot (0 where that is unknown).
    """

    host: str
    boot: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> Owner:
        """Return this process."""
        return _known(os.getpid())  # by pid, since a fork is another process

    @classmethod
    def of(cls, pid: int) -> Owner:
        """Return a process of this machine by its pid."""
        host, boot = _machine()
        return cls(host, boot, pid, start_ticks(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Read what :meth:`__str__` wrote; None if it is no such text."""
        match = _FORM.fullmatch(text)
        return None if match is None else cls(match[1], match[2], int(match[3]), int(match[4]))

    def __str__(self) -> str:
        """Return it in a form that can be part of a file's name."""
        return f"{self.host}_{self.boot}_{self.pid}_{self.started}"

    @property
    def is_gone(self) -> bool | None:
        """Whether the process has ended; None if that is unknown here, because it runs on another machine."""
        host, boot = _machine()
        if self.host != host:
            return None
        if self.boot != boot:
            # The same name and another boot: the machine was restarted, or it is a container beside this one.
            return True if self.boot[:16] != boot[:16] else None
        return start_ticks(self.pid) != self.started if self.started else not _exists(self.pid)


def start_ticks(pid: int) -> int | None:
    """Return when a process of this machine started, in clock ticks after boot; None if it has ended.

    A zombie has ended: it only waits for its parent. Without ``/proc``, 0 stands for any running process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        return 0 if _exists(pid) else None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@functools.lru_cache(maxsize=1)
def _known(own_pid: int) -> Owner:
    return Owner.of(own_pid)


@functools.lru_cache(maxsize=1)
def _machine() -> tuple[str, str]:
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:200] or "unknown"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")[:16]
        namespace = f"{Path('/proc/self/ns/pid').stat().st_ino:x}"
    except OSError:
        return host, "0"
    return host, boot + namespace
