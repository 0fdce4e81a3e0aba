"""The store: results as files, addressed by the key of their task.

A result is one file, ``objects/ab/KEY.zip`` (``KEY.failed.zip`` for a calculation that ended without one): an
uncompressed archive of the task's description (``task.json``), its result (``result.json`` and ``arrays.npz``) and a
manifest that repeats the key and the outcome. The comment of the archive is the SHA-256 of every byte before it, so
that no change to the file goes unnoticed and no file can be mistaken for that of another task. The file is written
under ``tmp/`` and appears by one atomic rename: a file that exists is complete, and a kill leaves none. Nothing is
locked: two workers that finish the same task write the same bytes. A failure never hides a result.

The store removes and renames only files whose names it made itself, and nothing behind a symbolic link within it, which
may lead to anyone's files. (The store itself, or a folder above it, may be a link to another disk.) Files under
``tmp/`` bear the name of the process that made them and are removed once that process has ended. A file is damaged only
if it is missing or its content does not match its checksum; a file that cannot be read is an error, and stays.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from superionic.errors import StorageError, storage_error
from superionic.execution import codec
from superionic.execution.owner import Owner

Kind = Literal["value", "failure"]
_FORMAT: Final = 2
_SUFFIX: Final[dict[Kind, str]] = {"value": ".zip", "failure": ".failed.zip"}
_DIGEST_BYTES: Final = 64
_FIXED_DATE: Final = (1980, 1, 1, 0, 0, 0)
_CHUNK_BYTES: Final = 1 << 20
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_OBJECT: Final = re.compile(r"([0-9a-f]{64})(\.failed)?\.zip")
_OWNED: Final = re.compile(r"(?:scratch-[0-9a-f]{16}|part|probe|grave)-(.+)-[0-9a-f]{32}")
_OLD_FOLDERS: Final = re.compile(r"(scratch-)?[0-9a-f]{16}-[0-9a-f]{32}")  # of format 1, all of whose runs have ended
_PROGRESS: Final = re.compile(r"[0-9a-f]{64}\.(json|[0-9]+)")
_VERIFIED: Final = "verified.txt"
_Stamp = tuple[int, int]


_BECAUSE_OF: Final = "because_of"


@dataclass(frozen=True)
class StoredFailure:
    """A calculation that ended without a result, and why."""

    reason: str
    details: Mapping[str, Any]

    def of_dependent(self, label: str) -> StoredFailure:
        """Return the failure of a task that reads this one, of a label: the first that failed and why, however far."""
        if self.because_of is not None:
            return self
        return StoredFailure(f"{label} failed: {self.reason}", {_BECAUSE_OF: label})

    @property
    def because_of(self) -> str | None:
        """Label of the task that failed first, where this one only reads it; None where it failed itself."""
        return self.details.get(_BECAUSE_OF)


@dataclass(frozen=True)
class StoredFile:
    """The archive of one result: its path, members and size, and the SHA-256 of all but its last 64 bytes."""

    path: Path
    members: tuple[str, ...]
    size_bytes: int
    sha256: str


class DamagedResult(Exception):  # noqa: N818 - it names a finding
    """A file of the store does not have the content that it was written with."""


class Store:
    """Content-addressed results below one folder.

    Nothing is created or written before the first result.

    Parameters
    ----------
    read_only
        Change nothing: damaged results count as absent and stay where they are.
    durable
        Wait until the disk has the data, so that a result survives a power cut as well as a kill. Costs some
        milliseconds a result; the names of many results are written at once, by :meth:`flush`.
    scratch_root
        Folder for the scratch of tasks; ``tmp/`` if None.
    """

    def __init__(
        self, root: Path, *, read_only: bool = False, durable: bool = True, scratch_root: Path | None = None
    ) -> None:
        self.root = root
        self._objects = root / "objects"
        self._tmp = root / "tmp"
        self._progress = root / "progress"
        self._read_only = read_only
        self.durable = durable
        self._scratch_root = scratch_root
        self._prepared = False
        self._known: dict[str, Kind] = {}
        self._trusted: dict[str, _Stamp] | None = None
        self._unflushed: set[Path] = set()

    def prepare(self) -> None:
        """Create the folders of the store, and check that they can be written.

        Raises
        ------
        StorageError
            If they cannot.
        """
        try:
            for folder in (self._objects, self._tmp, self._progress):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self._own_name("probe")
            probe.write_text("ok")
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise _storage_error(error, self.root) from error
        self._prepared = True

    # ---- reading ----------------------------------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Return whether an intact result or failure is stored; see :meth:`outcome`."""
        return self.outcome(key) is not None

    def outcome(self, key: str) -> Kind | None:
        """Return what is stored under a key: a ``value``, a ``failure``, or nothing (None).

        Damaged files are moved aside and count as absent. Checksums are computed once: a file that was verified before
        and still has the same size and modification time is trusted, in this process and in later ones.

        Raises
        ------
        StorageError
            If a file cannot be read, or a damaged one cannot be moved aside.
        """
        if key in self._known:
            return self._known[key]
        for kind in ("value", "failure"):
            if self._is_there(key, kind):
                self._known[key] = kind
                return kind
        if not self._read_only and self._convert_format_1(key):
            return self.outcome(key)
        return None

    def load(self, key: str) -> Any:
        """Return a result, or a :class:`StoredFailure`.

        Raises
        ------
        StorageError
            If no intact result is stored under this key, or it cannot be read.
        """
        kind = self.outcome(key)
        if kind is None:
            raise StorageError(f"no result is stored under {key}", where=str(self.root), fix="run the campaign again")
        path = self.path(key, kind)
        try:
            with _archive(path) as archive:
                arrays = archive.read("arrays.npz") if "arrays.npz" in archive.namelist() else b""
                value = codec.decode(archive.read("result.json").decode(), arrays)
        except OSError as error:
            raise _unreadable(error, path) from error
        except (zipfile.BadZipFile, ValueError, KeyError) as error:  # changed since it was verified
            self._set_aside(path)
            raise StorageError(
                f"a result is damaged: {error}",
                where=str(path),
                fix="run the same command again: it is then computed again",
            ) from error
        return StoredFailure(value["reason"], value["details"]) if kind == "failure" else value

    def plain(self, key: str) -> dict[str, Any]:
        """Return the plain values of a result without reading its arrays, for which placeholders stand.

        Raises
        ------
        StorageError
            If no intact result is stored under this key, or it cannot be read.
        """
        kind = self.outcome(key)
        if kind is None:
            raise StorageError(f"no result is stored under {key}", where=str(self.root), fix="run the campaign again")
        try:
            with _archive(self.path(key, kind)) as archive:
                content: dict[str, Any] = json.loads(archive.read("result.json"))
        except OSError as error:
            raise _unreadable(error, self.path(key, kind)) from error
        except (zipfile.BadZipFile, ValueError, KeyError) as error:  # changed since it was verified
            raise StorageError(f"a result is damaged: {error}", where=str(self.path(key, kind))) from error
        return content

    def descriptor(self, key: str) -> dict[str, Any] | None:
        """Return the description of the task behind a stored result; None if there is no result."""
        kind = self.outcome(key)
        if kind is None:
            return None
        try:
            with _archive(self.path(key, kind)) as archive:
                content: dict[str, Any] = json.loads(archive.read("task.json"))
        except OSError as error:
            raise _unreadable(error, self.path(key, kind)) from error
        return content

    def file(self, key: str) -> StoredFile | None:
        """Return the archive of a result; None if there is no result."""
        kind = self.outcome(key)
        if kind is None:
            return None
        path = self.path(key, kind)
        try:
            with _archive(path) as archive:
                return StoredFile(path, tuple(archive.namelist()), path.stat().st_size, archive.comment.decode("ascii"))
        except OSError as error:
            raise _unreadable(error, path) from error

    def path(self, key: str, kind: Kind = "value") -> Path:
        """Return the file of a result or of a failure, whether it exists or not."""
        return self._objects / key[:2] / f"{key}{_SUFFIX[kind]}"

    def results(self) -> Iterator[tuple[str, Kind]]:
        """Yield key and kind of everything stored, by file names alone, in order.

        Raises
        ------
        StorageError
            If a folder cannot be read.
        """
        try:
            for folder in sorted(self._objects.iterdir()) if self._objects.is_dir() else ():
                for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                    match = _OBJECT.fullmatch(path.name)
                    if match and match[1].startswith(folder.name):
                        yield match[1], "failure" if match[2] else "value"
        except OSError as error:
            raise _unreadable(error, self._objects) from error

    def _is_there(self, key: str, kind: Kind) -> bool:
        name = f"{key}{_SUFFIX[kind]}"
        try:
            # Taken before the file is read, so that a change meanwhile is noticed next time. A string, and a Path only
            # where one is needed, because a hundred thousand of these must take no longer than a second.
            status = os.stat(f"{self._objects}/{key[:2]}/{name}")  # noqa: PTH116
            stamp = (status.st_size, status.st_mtime_ns)
            trusted = self._trusted if self._trusted is not None else self._trust()
            if trusted.get(name) != stamp or not stat.S_ISREG(status.st_mode):
                verify(self.path(key, kind), key, kind)
                self._remember(name, stamp)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except DamagedResult:
            if not self._read_only:
                self._set_aside(self.path(key, kind))
            return False
        except OSError as error:
            raise _unreadable(error, self.path(key, kind)) from error
        return True

    def _trust(self) -> dict[str, _Stamp]:
        """Return size and time of each verified file; malformed lines of the record are skipped."""
        if self._trusted is None:
            self._trusted = {}
            record = self.root / _VERIFIED
            with contextlib.suppress(OSError, UnicodeDecodeError, StorageError):
                if not self._read_only and not stat.S_ISREG(record.lstat().st_mode):
                    self._set_aside(record)
                for line in record.read_text(encoding="ascii").splitlines() if record.is_file() else ():
                    name, _, stamp = line.partition(" ")
                    size, _, time = stamp.partition(" ")
                    if size.isdigit() and time.isdigit():
                        self._trusted[name] = (int(size), int(time))
        return self._trusted

    def _remember(self, name: str, stamp: _Stamp) -> None:
        self._trust()[name] = stamp
        self._unflushed.add(self._objects / name[:2])
        if not self._read_only:
            # A courtesy to the next run, which otherwise computes the checksums again.
            with contextlib.suppress(OSError), _appended(self.root / _VERIFIED) as file:
                file.write(f"{name} {stamp[0]} {stamp[1]}\n".encode())

    # ---- writing ----------------------------------------------------------------------------------------------------

    def commit(self, key: str, descriptor: Mapping[str, Any], value: Any) -> None:
        """Store a result (or a :class:`StoredFailure`) under a key, atomically.

        An existing result stays; an existing failure is replaced by a result.

        Raises
        ------
        StorageError
            If the disk is full or the folder cannot be written; nothing is left behind.
        TypeError
            If the value cannot be encoded.
        """
        failed = isinstance(value, StoredFailure)
        kind: Kind = "failure" if failed else "value"
        text, arrays = codec.encode({"details": value.details, "reason": value.reason} if failed else value)
        task = codec.canonical_json(descriptor) + "\n"
        self.put(key, kind, {"task.json": task.encode(), "result.json": text.encode(), "arrays.npz": arrays})

    def put(self, key: str, kind: Kind, members: Mapping[str, bytes]) -> None:
        """Store the members of a result unchanged; see :meth:`commit`."""
        if not self._prepared:
            self.prepare()
        target = self.path(key, kind)
        staging = self._own_name("part")
        try:
            if target.exists() or (kind == "failure" and self.path(key, "value").exists()):
                return
            with staging.open("xb") as file:
                _write_archive(file, key, kind, members)
                if self.durable:
                    os.fsync(file.fileno())
            target.parent.mkdir(exist_ok=True)
            if kind == "value":  # first, so that the two never exist together
                self.path(key, "failure").unlink(missing_ok=True)
            staging.replace(target)
            self._unflushed.add(target.parent)
        except OSError as error:
            raise _storage_error(error, self.root) from error
        finally:
            with contextlib.suppress(OSError):
                staging.unlink(missing_ok=True)
        self._known.pop(key, None)

    def flush(self) -> None:
        """Write the names of results stored or verified since the last call to the disk, as their files are already.

        A power cut before that loses results, which are then computed again, but never leaves a wrong one.

        Raises
        ------
        StorageError
            If the disk refuses them.
        """
        if self.durable and not self._read_only:
            try:
                for folder in self._unflushed:
                    _fsync_folder(folder)
            except OSError as error:
                raise _storage_error(error, self.root) from error
        self._unflushed.clear()

    def forget(self, key: str) -> None:
        """Remove a result, so that it is computed again.

        Raises
        ------
        StorageError
            If it cannot be removed, or lies behind a symbolic link.
        """
        self._known.pop(key, None)
        _demand_key(key, self.root)
        for kind in ("value", "failure"):
            grave = self._own_name("grave")  # renamed in one step, so that no reader and no kill meets half a file
            if self._move(self.path(key, kind), grave):
                with contextlib.suppress(OSError):  # a later sweep removes it
                    _remove(grave)

    def scratch(self, key: str) -> Path:
        """Create and return a private folder for a task; the caller removes it."""
        folder = self._own_name(f"scratch-{key[:16]}", self._scratch_root)
        folder.mkdir(parents=True)
        return folder

    def progress_file(self, key: str) -> Path:
        """Return the small file in which a running task reports progress."""
        return self._progress / f"{key}.json"

    def sweep(self) -> None:
        """Remove what ended processes left under ``tmp/`` and ``progress/``. Only for the holder of the run lock.

        Raises
        ------
        StorageError
            If one of the two is a symbolic link, or cannot be read or written.
        """
        try:
            for leftover in self.leftovers():
                _remove(leftover)
        except OSError as error:
            raise _storage_error(error, self.root) from error

    def leftovers(self) -> Iterator[Path]:
        """Yield the paths that :meth:`sweep` removes.

        Raises
        ------
        StorageError
            As in :meth:`sweep`.
        """
        for folder in (self._tmp, self._progress):
            try:
                _demand_no_link(folder)
                names = sorted(folder.iterdir())
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _storage_error(error, self.root) from error
            yield from (path for path in names if _is_abandoned(path.name, in_progress=folder is self._progress))

    def set_aside(self, key: str, kind: Kind) -> None:
        """Move a damaged result out of the way, to ``damaged/``, so that it is computed again.

        Raises
        ------
        StorageError
            If it cannot be moved, or lies behind a symbolic link.
        """
        self._set_aside(self.path(key, kind))

    def _own_name(self, what: str, folder: Path | None = None) -> Path:
        return (folder or self._tmp) / f"{what}-{Owner.current()}-{uuid.uuid4().hex}"

    def _set_aside(self, path: Path) -> None:
        damaged = self.root / "damaged"
        try:
            damaged.mkdir(exist_ok=True)
        except OSError as error:
            raise _storage_error(error, self.root) from error
        self._move(path, damaged / f"{path.name}-{uuid.uuid4().hex[:8]}", links_too=True)
        self._known.pop(path.name[:64], None)

    def _move(self, path: Path, target: Path, *, links_too: bool = False) -> bool:
        """Move a file (of a link, the link itself) within the store; return whether there was one."""
        try:
            for checked in (self._objects, path.parent, target.parent, *(() if links_too else (path,))):
                _demand_no_link(checked)
            path.rename(target)
        except FileNotFoundError:  # another process was first
            return False
        except OSError as error:
            raise _storage_error(error, self.root) from error
        return True

    def _convert_format_1(self, key: str) -> bool:
        """Pack a result that an earlier version stored as a folder of files; return whether there was one."""
        folder = self._objects / key[:2] / key
        try:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                return False
            manifest = json.loads((folder / "manifest.json").read_text())
            members = {name: (folder / name).read_bytes() for name in ("task.json", "result.json")}
            members["arrays.npz"] = (folder / "arrays.npz").read_bytes() if "arrays.npz" in manifest["files"] else b""
            whole = manifest["key"] == key and all(
                hashlib.sha256(members[name]).hexdigest() == facts["sha256"]
                for name, facts in manifest["files"].items()
            )
            kind: Kind = {"value": "value", "failure": "failure"}[manifest["outcome"]]  # type: ignore[assignment]
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, KeyError, TypeError):
            # A kill or a partial copy leaves a folder without its manifest: its result is computed again.
            try:
                is_folder = folder.is_dir()
            except OSError as error:
                raise _unreadable(error, folder) from error
            if is_folder:
                self._set_aside(folder)
            return False
        except OSError as error:
            raise _unreadable(error, folder) from error
        if not whole:
            self._set_aside(folder)
            return False
        self.put(key, kind, members)
        grave = self._own_name("grave")
        if self._move(folder, grave):
            with contextlib.suppress(OSError):  # a later sweep removes it
                _remove(grave)
        return True


# ---- the archive of one result --------------------------------------------------------------------------------------


class _Hashed:
    """A stream that hashes all that passes except for its last bytes, which it replaces by the digest."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._tail = b""

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        if len(view) >= _DIGEST_BYTES:
            self._pass(self._tail)
            self._pass(view[:-_DIGEST_BYTES])
            self._tail = bytes(view[-_DIGEST_BYTES:])
        else:
            joined = self._tail + bytes(view)
            self._pass(joined[:-_DIGEST_BYTES])
            self._tail = joined[-_DIGEST_BYTES:]
        return len(view)

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        self._file.write(self._hash.hexdigest().encode())
        self._file.flush()

    def _pass(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self._file.write(data)


class _Watched:
    """A file for :mod:`zipfile` that records disk errors, some of which zipfile reports as errors of the archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            self.error = error
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            # A damaged archive leads before the start of the file (EINVAL); that is no disk error.
            self.error = None if error.errno == errno.EINVAL else error
            raise

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive for reading; failure to read it is an OSError, never damage."""
    with path.open("rb") as file:
        watched = _Watched(file)
        try:
            with zipfile.ZipFile(watched) as archive:
                yield archive
        except (zipfile.BadZipFile, ValueError, KeyError):
            if watched.error is not None:
                raise watched.error from None
            raise


def _write_archive(file: BinaryIO, key: str, kind: Kind, members: Mapping[str, bytes]) -> None:
    manifest = json.dumps({"format": _FORMAT, "key": key, "outcome": kind}, sort_keys=True) + "\n"
    stream = _Hashed(file)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name, data in {"manifest.json": manifest.encode(), **members}.items():
            if data:
                member = zipfile.ZipInfo(name, date_time=_FIXED_DATE)  # equal results are equal in bytes
                member.create_system, member.external_attr = 3, 0o644 << 16
                archive.writestr(member, data)
        archive.comment = b"0" * _DIGEST_BYTES  # reserves the space for the digest
    stream.finish()


def verify(path: Path, key: str, kind: Kind) -> None:
    """Check that a file is, byte by byte, what was stored under a key.

    Raises
    ------
    DamagedResult
        If it is not.
    OSError
        If it cannot be read.
    """
    if not path.is_file():
        raise DamagedResult(f"{path.name} is not a regular file")  # but perhaps a pipe, which would block
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
        digest = hashlib.sha256()
        while left > 0:
            data = file.read(min(left, _CHUNK_BYTES))
            if not data:
                break
            digest.update(data)
            left -= len(data)
        if left != 0 or file.read() != digest.hexdigest().encode():
            raise DamagedResult(f"{path.name} does not match its checksum")
        try:
            with _archive(path) as archive:
                manifest = json.loads(archive.read("manifest.json"))
        except (zipfile.BadZipFile, ValueError, KeyError) as error:
            raise DamagedResult(f"{path.name} is not an archive of the store: {error}") from error
    if manifest != {"format": _FORMAT, "key": key, "outcome": kind}:
        raise DamagedResult(f"{path.name} holds the result of another task")


# ---- files ----------------------------------------------------------------------------------------------------------


def _demand_key(key: str, root: Path) -> None:
    if _KEY.fullmatch(key) is None:
        raise StorageError(
            "this is not the key of a result; nothing was moved or removed",
            where=f"{root}: {key}",
            fix="give the 64 digits of a key as printed by `superionic status --all`",
        )


def _demand_no_link(path: Path) -> None:
    try:
        is_link = stat.S_ISLNK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_link:
        raise StorageError(
            "this part of the store is a symbolic link; nothing behind it is moved or removed",
            where=str(path),
            fix="replace the link by the folder or file itself; to keep a run on another disk, move its whole run "
            "folder there and link that, or use --run-folder",
        )


def _is_abandoned(name: str, *, in_progress: bool) -> bool:
    """Return whether a file, by its name, was made by the store for a process that has ended."""
    if in_progress:
        return _PROGRESS.fullmatch(name) is not None
    match = _OWNED.fullmatch(name)
    owner = None if match is None else Owner.parse(match[1])
    return (owner is not None and owner.is_gone is True) or _OLD_FOLDERS.fullmatch(name) is not None


def _remove(leftover: Path) -> None:
    """Remove a file or folder, but not a link, since the store makes none."""
    try:
        mode = leftover.lstat().st_mode
        if stat.S_ISDIR(mode):
            shutil.rmtree(leftover, ignore_errors=True)
        elif stat.S_ISREG(mode):
            leftover.unlink()
    except FileNotFoundError:  # a worker that outlived its run has removed it
        return


def _appended(path: Path) -> BinaryIO:
    """Open a file for appending, without following a link or waiting for a pipe."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    return os.fdopen(descriptor, "ab")


def _fsync_folder(folder: Path) -> None:
    """Make a rename within a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_error(error: OSError, root: Path) -> StorageError:
    return storage_error(error, where=root, doing="write the run folder")


def _unreadable(error: OSError, path: Path) -> StorageError:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        fix = "raise the limit of open files (`ulimit -n 4096`)"
    else:
        fix = "repair the disk or correct the permissions"
    return StorageError(
        f"a result cannot be read: {error.strerror or error}",
        where=str(error.filename or path),
        fix=f"{fix} and run the same command again; nothing was moved or removed",
    )
