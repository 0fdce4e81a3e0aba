"""The run lock: one run at a time in a run folder, even if several machines share it.

Two locks are held. The kernel's file lock ends with its process, so that none is ever left to clear; but some network
file systems apply it within one machine only, or not at all. So the holder also renews a *lease*, a small file with its
name, every few seconds. A lease is void if its holder is known to have ended, or if it was not renewed for long. Its
age is measured by the clock of the file server, since those of two machines may differ.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from superionic.errors import StorageError, storage_error
from superionic.execution.owner import Owner

_RENEW_S = 15.0
_VOID_AFTER_S = 90.0
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextmanager
def run_lock(
    root: Path, *, say: Callable[[str], None] = print, renew_s: float = _RENEW_S, void_after_s: float = _VOID_AFTER_S
) -> Iterator[None]:
    """Hold the run folder for one run.

    If another machine held it and has been silent for a while, wait until its lease is void.

    Parameters
    ----------
    say
        Receives a message if it waits, and for which process.
    renew_s, void_after_s
        Interval at which the lease is renewed, and the age at which it is void.

    Raises
    ------
    StorageError
        If another process holds it, or it cannot be written.
    """
    lease = root / "run.lease"
    try:
        file = (root / "run.lock").open("a+")
    except OSError as error:
        raise storage_error(error, where=root, doing="lock the run folder") from error
    try:
        try:
            _lock(file, root, lease)
            _sweep(lease)
            _take(lease, root, say, void_after_s)
        except OSError as error:
            raise storage_error(error, where=root, doing="lock the run folder") from error
        with _renewed(lease, renew_s):
            yield
    finally:
        with contextlib.suppress(OSError):  # nothing was written to it
            file.close()


def run_owner(root: Path) -> Owner | None:
    """Return the process that holds a run folder, as far as reading alone can tell; None if none does."""
    lease = root / "run.lease"
    holder, renewed = _holder(lease), _renewal(lease)
    if holder is None or renewed is None or holder.is_gone is True:
        return None
    if holder.is_gone is None and time.time() - renewed / 1e9 > _VOID_AFTER_S:
        return None
    return holder


def _lock(file: IO[str], root: Path, lease: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise _is_held(root, _holder(lease)) from error
        # The file system has no locks (ENOLCK, EOPNOTSUPP …): the lease alone must do.


def _take(lease: Path, root: Path, say: Callable[[str], None], void_after_s: float) -> None:
    """Write our own lease, once that of another process is void."""
    announced = False
    renewed = _renewal(lease)
    while not _create(lease):
        holder = _holder(lease)
        if holder is not None and holder != Owner.current():
            if holder.is_gone is False or _renewal(lease) not in (renewed, None):
                raise _is_held(root, holder)
            age = _server_time(root) - (renewed or 0) / 1e9
            if holder.is_gone is None and age <= void_after_s:
                if not announced:
                    announced = True
                    say(
                        f"a run on {holder.host} (process {holder.pid}) held this folder {max(age, 0.0):.0f} s ago; "
                        f"waiting up to {void_after_s:.0f} s to see whether it still does"
                    )
                time.sleep(min(1.0, void_after_s / 10))
                continue
        _void(lease, holder, root)


def _create(lease: Path) -> bool:
    """Write our own lease if there is none; if several processes try at once, one succeeds."""
    draft = _own_name(lease)
    try:
        draft.write_text(str(Owner.current()), encoding="ascii")
        os.link(draft, lease)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        return _create_without_links(lease)
    finally:
        with contextlib.suppress(OSError):  # the next run removes it
            draft.unlink(missing_ok=True)
    return True


def _create_without_links(lease: Path) -> bool:
    try:
        with lease.open("x", encoding="ascii") as file:
            file.write(str(Owner.current()))
    except FileExistsError:
        return False
    return True


def _void(lease: Path, holder: Owner | None, root: Path) -> None:
    """Remove the lease of a run that has ended, unless another process has put its own in its place meanwhile."""
    aside = _own_name(lease)
    try:
        lease.rename(aside)
    except FileNotFoundError:
        return
    mine = _holder(aside) == holder
    if not mine:
        with contextlib.suppress(FileExistsError):
            os.link(aside, lease)
    aside.unlink(missing_ok=True)
    if not mine:
        raise _is_held(root, _holder(lease))


@contextmanager
def _renewed(lease: Path, renew_s: float) -> Iterator[None]:
    over = threading.Event()

    def renew() -> None:
        while not over.wait(renew_s):
            with contextlib.suppress(OSError):  # tried again next time; the disk may be full for a while
                os.utime(lease)

    thread = threading.Thread(target=renew, daemon=True, name="lease")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(OSError):
            if _holder(lease) == Owner.current():
                lease.unlink()


def _holder(lease: Path) -> Owner | None:
    try:
        return Owner.parse(lease.read_text(encoding="ascii"))
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _renewal(lease: Path) -> int | None:
    try:
        return lease.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _server_time(root: Path) -> float:
    """Return the time by the clock that stamps files in this folder."""
    probe = _own_name(root / "run.lease")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _own_name(lease: Path) -> Path:
    return lease.with_name(f"{lease.name}.{Owner.current()}.{uuid.uuid4().hex[:8]}")


def _sweep(lease: Path) -> None:
    """Remove what ended processes left beside the lease."""
    for path in lease.parent.glob(f"{lease.name}.*_*.*"):
        owner = Owner.parse(path.name.removeprefix(f"{lease.name}.").rpartition(".")[0])
        if owner is not None and owner.is_gone:
            path.unlink(missing_ok=True)


def _is_held(root: Path, holder: Owner | None) -> StorageError:
    who = "" if holder is None else f" (process {holder.pid} on {holder.host})"
    return StorageError(
        f"another run is working in this folder{who}",
        where=str(root),
        fix="wait for it, or stop it; there is no lock file to remove",
    )
