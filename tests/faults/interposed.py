"""The library that lets calls of the file system fail, or kill their process: built, and told what to do.

A block of memory, mapped by every process that preloads the library, says what is to happen; so it can be said to
processes that run already, and there is no hook in what is tested.
"""

from __future__ import annotations

import ctypes
import mmap
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("interposed.c")
_ACTIONS: Final = {"log": 1, "kill": 2, "fail": 3, "half": 4, "short": 5}
_ROLES: Final = {"driver": 1, "worker": 2}


@dataclass(frozen=True)
class Fault:
    """What is to happen at a call.

    Attributes
    ----------
    action
        ``kill`` the process at a call, or when ``half`` of a write is done; let a call ``fail``; let a write be
        ``short``.
    at
        Number of the call, from 1.
    role
        Whose calls count: of the ``driver`` or the ``worker``.
    error
        Number of the error of a call that fails.
    functions
        Names of the calls that count, as the library gives them; all if empty.
    part
        What is in the paths that count.
    lasting
        Whether all later calls fail as well.
    """

    action: str
    at: int
    role: str = "driver"
    error: int = 0
    functions: tuple[str, ...] = ()
    part: str = ""
    lasting: bool = False


@dataclass(frozen=True)
class Call:
    """A call that was made: its name, and its path below the folder that is watched."""

    name: str
    path: str


class _Block(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("action", "role", "error", "lasting")),
        ("at", ctypes.c_long),
        ("count", ctypes.c_long),
        ("fired", ctypes.c_int),
        ("log", ctypes.c_int),
        *((name, ctypes.c_char * size) for name, size in (("under", 1024), ("part", 256), ("functions", 512))),
        ("fired_at", ctypes.c_char * 1024),
    )


class Interposed:
    """The library, with its block of memory.

    Parameters
    ----------
    folder
        Where both are made.
    """

    def __init__(self, folder: Path) -> None:
        self._library = folder / "interposed.so"
        self._control = folder / "control"
        self._log = folder / "calls"
        if not self._library.exists():
            command = ["cc", "-shared", "-fPIC", "-O1", "-D_LARGEFILE64_SOURCE", "-o", self._library, SOURCE, "-ldl"]
            subprocess.run(command, check=True)
        self._control.write_bytes(b"\0" * ctypes.sizeof(_Block))
        with self._control.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), ctypes.sizeof(_Block))
        self._block = _Block.from_buffer(self._memory)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a process, and whatever it starts, has the library."""
        return {"LD_PRELOAD": str(self._library), "FAULTS_CONTROL": str(self._control)}

    def arm(self, fault: Fault, under: Path) -> None:
        """Let something happen at calls below a folder."""
        self.disarm()
        block = self._block
        block.role, block.error, block.lasting = _ROLES[fault.role], fault.error, fault.lasting
        block.at, block.count, block.fired = fault.at, 0, 0
        block.under, block.part = str(under).encode(), fault.part.encode()
        block.functions = f",{','.join(fault.functions)},".encode() if fault.functions else b""
        block.fired_at = str(self._log).encode() if fault.action == "log" else b""
        block.action = _ACTIONS[fault.action]

    def disarm(self) -> str:
        """Let nothing happen any more, and return the call at which it did; nothing if it did not."""
        self._block.action = 0
        return self._block.fired_at.decode() if self._block.fired else ""

    def watch(self, role: str, under: Path) -> None:
        """Begin to note the calls of a role below a folder."""
        self._log.unlink(missing_ok=True)
        self.arm(Fault("log", 0, role), under)

    def seen(self) -> list[Call]:
        """Return the calls since :meth:`watch`, and note no more."""
        self.disarm()
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return [Call(*line.partition(" ")[::2]) for line in lines]
