"""The errors that superionic raises on purpose.

A *wrong input* is an exception of this module: it says what is wrong, where, and what to do about it. The command
line prints it on one screen and exits with code 2; it never shows a traceback unless ``--debug`` is given.

A *failed calculation* (an SCF cycle that did not converge, a run that blew up) is data, not a wrong input:
:class:`CalculationFailed` is caught where the calculation was started, recorded with its reason, excluded and counted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any, Final


class SuperionicError(Exception):
    """Base of all errors that a user can fix.

    Parameters
    ----------
    message
        What is wrong, in one sentence.
    where
        The file at fault, and the position in it.
    fix
        What to do about it, as an instruction.
    """

    def __init__(self, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.message]
        if self.where is not None:
            parts.append(f"Where: {self.where}")
        if self.fix is not None:
            parts.append(f"Fix: {self.fix}")
        return "\n".join(parts)


class CampaignFileError(SuperionicError):
    """The campaign file cannot be read or does not validate; carries all its problems at once."""


class StructureError(SuperionicError):
    """A crystal structure is missing, malformed or physically impossible."""


class CompositionError(SuperionicError):
    """No integer, charge-neutral composition meets the request."""


class PotentialError(SuperionicError):
    """A potential is unknown, does not cover an element, or would be mixed with one of another energy convention."""


class EngineError(SuperionicError):
    """An engine environment is not installed, is broken, or failed its proof against the energy on record."""


class StorageError(SuperionicError):
    """The run folder cannot be written, is full, is damaged, or is in use by another run."""


_AGAIN: Final = "run the same command again"
_ROOM: Final = f"free some space and {_AGAIN}; all finished work is kept"
_ELSEWHERE: Final = "choose a folder that you may write to (--run-folder, --folder, --out)"
_IF_IT_PERSISTS: Final = "if it persists, have the file system remounted or move the folder to another disk"
# The meaning of each system failure for somebody who runs a campaign, and its remedy.
_FAILURES: Final[Mapping[int, tuple[str, str]]] = {
    errno.ENOSPC: ("the disk is full", f"{_ROOM} (`df -h` shows the space, `df -i` the number of files)"),
    errno.EDQUOT: ("your quota of disk space or files is used up", f"{_ROOM} (`quota -s` shows the quota)"),
    errno.EFBIG: ("the file system or `ulimit -f` allows no file of this size", "raise the limit, or change the disk"),
    errno.EIO: (
        "the disk, or the connection to it, failed (input/output error)",
        f"read what the system reports about it (`dmesg`), move the folder to a disk that works, and {_AGAIN}",
    ),
    errno.EROFS: ("the file system is read-only", _ELSEWHERE),
    errno.EMFILE: (
        "this process has too many files open",
        f"raise the limit (`ulimit -n 4096`) or use fewer --workers, and {_AGAIN}",
    ),
    errno.ENFILE: (
        "this machine has too many files open",
        f"end other programs or have `fs.file-max` raised, and {_AGAIN}",
    ),
    errno.ENOMEM: ("there is no memory left", f"use fewer --workers or ask for more memory, and {_AGAIN}"),
    errno.ENOLCK: (
        "the file system does not support locks",
        "have it mounted with locks (NFS: lockd, or local_lock=flock), or choose another disk with --run-folder",
    ),
    errno.ESTALE: (
        "a file on the network file system was replaced, or its server restarted (stale file handle)",
        f"{_AGAIN}; {_IF_IT_PERSISTS}",
    ),
    errno.ETIMEDOUT: ("the file system did not answer in time", f"{_AGAIN}; {_IF_IT_PERSISTS}"),
    errno.ENOTCONN: ("the file system is not connected any more", f"have it remounted and {_AGAIN}"),
    errno.EACCES: ("permission denied", f"fix the permissions, or {_ELSEWHERE}"),
    errno.EPERM: ("the system does not permit it", f"fix the permissions, or {_ELSEWHERE}"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", f"fix the path, or {_ELSEWHERE}"),
    errno.EISDIR: ("it is a folder, not a file", "name a file"),
    errno.ELOOP: ("symbolic links form a loop", "fix the links"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "choose a shorter name or path"),
    errno.EBADF: ("it is closed", "leave it open, or send it to a file"),
}


def explained(error: OSError) -> tuple[str, str]:
    """Return the meaning of a system failure, and its remedy."""
    reason = error.strerror or str(error) or type(error).__name__
    return _FAILURES.get(error.errno or 0, (reason, f"fix that and {_AGAIN}"))


def storage_error(error: OSError, *, where: str | os.PathLike[str] | None = None, doing: str) -> StorageError:
    """Turn a system failure into a StorageError that states its meaning and remedy.

    Parameters
    ----------
    error
        The error raised by the system.
    where
        The file or folder, for errors that do not name one themselves.
    doing
        The action that failed, as a verb with its object: ``"write the report"``.

    Returns
    -------
    StorageError
        The error to raise, from ``error``.
    """
    what, fix = explained(error)
    place = error.filename if isinstance(error.filename, str | os.PathLike) else where
    return StorageError(f"cannot {doing}: {what}", where=None if place is None else os.fspath(place), fix=fix)


class StageError(SuperionicError):
    """A stage cannot continue, for instance because every calculation in it failed."""


class AnalysisError(SuperionicError):
    """A trajectory does not allow the requested analysis."""


class CalculationFailed(Exception):  # noqa: N818 - it names an outcome, not a user's mistake
    """A calculation ended without a usable result; the reason is data for the record.

    Parameters
    ----------
    reason
        Why, in one sentence.
    details
        Plain values (numbers, strings) that help to understand the failure.
    """

    def __init__(self, reason: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details: dict[str, Any] = dict(details or {})
