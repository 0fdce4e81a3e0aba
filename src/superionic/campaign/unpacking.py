"""From an archive back to a folder in which the campaign goes on where it ended.

An archive may come from anybody. Nothing in it is trusted: names that lead elsewhere, links, two files of one name,
encrypted or foreign members, sizes that are not what was said or that no honest archive has, and any checksum that does
not match end the import, and leave nothing behind. What is checked is that all is as it was exported, not who exported
it, nor whether the numbers are right.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import re
import shutil
import stat
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from superionic.campaign.archive import FORMAT, HEADER, MANIFEST, MOST_RATIO, RUNS, SLACK_BYTES, Header
from superionic.errors import StorageError, storage_error
from superionic.execution.codec import from_tree
from superionic.execution.inventory import Watch, unwatched
from superionic.execution.ledger import LEDGER
from superionic.execution.store import DamagedResult, Kind, verify

_CHUNK_BYTES: Final = 1 << 20
_LINE: Final = re.compile(r"([0-9a-f]{64})  (.+)")
_RESULT: Final = re.compile(r"store/objects/([0-9a-f]{2})/(\1[0-9a-f]{62})(\.failed)?\.zip")
_MEMBERS: Final = frozenset({"manifest.json", "task.json", "result.json", "arrays.npz"})
_LONGEST_PART: Final = 255
_ENCRYPTED: Final = 0x1 | 0x40
_KEPT_FREE_BYTES: Final = 64 << 20
# What the standard library raises on the way through a damaged archive.
_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError, RuntimeError)


@dataclass(frozen=True)
class Unpacked:
    """A campaign that was taken out of an archive.

    Attributes
    ----------
    n_files, n_results
        Files, and how many of them are results of tasks.
    size_bytes
        Of all files.
    superionic
        Version that wrote the archive.
    """

    campaign: Path
    n_files: int
    n_results: int
    size_bytes: int
    superionic: str


def import_archive(source: Path, into: Path, *, watch: Watch = unwatched) -> Unpacked:
    """Unpack an archive that :func:`superionic.campaign.archive.export_campaign` wrote, and verify all that is in it.

    Parameters
    ----------
    into
        The folder to make; it may be there if it is empty.
    watch
        Hears of progress.

    Raises
    ------
    StorageError
        If the folder has something in it, the archive is damaged or not one of ours, or the disk is full. Nothing is
        left behind.
    """
    if into.is_symlink() or (into.exists() and (not into.is_dir() or any(into.iterdir()))):
        raise StorageError("the folder is not empty", where=str(into), fix="choose another folder with --into")
    if not into.absolute().parent.is_dir():
        raise StorageError("the folder above does not exist", where=str(into), fix="make it, or check the path")
    draft = into.absolute().with_name(f".{into.absolute().name}.{uuid.uuid4().hex[:8]}")
    try:
        try:
            with zipfile.ZipFile(source) as archive:
                unpacked = _unpack(archive, source, draft, watch)
        except _DAMAGE as error:
            raise _refused(f"it is damaged, or no archive at all ({error or type(error).__name__})", source) from error
        draft.rename(into)
    except OSError as error:
        if error.errno == errno.EINVAL:  # a damaged archive that names a place before its beginning
            raise _refused("it is damaged", source) from error
        raise storage_error(error, where=source, doing="import the archive") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    name = unpacked.campaign.relative_to(draft)
    return Unpacked(into / name, unpacked.n_files, unpacked.n_results, unpacked.size_bytes, unpacked.superionic)


def _unpack(archive: zipfile.ZipFile, source: Path, draft: Path, watch: Watch) -> Unpacked:
    members = archive.infolist()
    _check_members(members, source)
    total = sum(member.file_size for member in members)
    free = shutil.disk_usage(draft.parent).free
    if total + _KEPT_FREE_BYTES > free:
        raise StorageError(
            f"the archive unpacks to {total / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free",
            where=str(draft.parent),
            fix="free some space, or choose a folder on another disk with --into",
        )
    header, checksums = _read_head(archive, {member.filename: member for member in members}, source)
    draft.mkdir()
    n_bytes = 0
    for member in members:
        digest = _extract(archive, member, draft / member.filename)
        if member.filename != MANIFEST and digest != checksums[member.filename]:
            raise _refused(f"{member.filename} has another checksum than {MANIFEST} says", source)
        n_bytes += member.file_size
        watch(n_bytes, total)
    n_results = _verify_results([member.filename for member in members], header.run_folder, draft, source)
    campaign = draft / header.campaign
    if header.campaign not in checksums or campaign.parent != draft:
        raise _refused(f"it has no campaign file {header.campaign!r}", source)
    return Unpacked(campaign, len(members), n_results, total, header.superionic)


def _check_members(members: Sequence[zipfile.ZipInfo], source: Path) -> None:
    """Check that all members are plain files with names of their own below the folder, and of believable sizes."""
    names: set[str] = set()
    for member in members:
        shown = repr(member.filename[:100])
        name = PurePosixPath(member.filename)
        parts = member.filename.split("/")
        if (
            member.filename != member.orig_filename
            or not member.filename.isprintable()
            or "\\" in member.filename
            or name.is_absolute()
            or any(part in ("", ".", "..") or len(part.encode()) > _LONGEST_PART for part in parts)
        ):
            raise _refused(f"{shown} is not the name of a file below the folder", source)
        mode = member.external_attr >> 16
        if member.is_dir() or stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _refused(f"{shown} is a link, a folder or a device, not a file", source)
        if member.flag_bits & _ENCRYPTED:
            raise _refused(f"{shown} is encrypted", source)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused(f"{shown} is compressed in a way that superionic does not use", source)
        if member.filename in names:
            raise _refused(f"there are two files of the name {shown}", source)
        names.add(member.filename)
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    if clash := sorted(folders & names):
        raise _refused(f"{clash[0]!r} is both a file and a folder", source)
    size = source.stat().st_size
    if sum(member.compress_size for member in members) > size:
        raise _refused("its files overlap", source)
    if sum(member.file_size for member in members) > MOST_RATIO * size + SLACK_BYTES:
        raise _refused(f"it would unpack to more than {MOST_RATIO} times its size", source)


def _read_head(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], source: Path
) -> tuple[Header, dict[str, str]]:
    """Read the archive's own description, and the checksum of each file."""
    if HEADER not in members or MANIFEST not in members:
        raise _refused(f"it has no {HEADER} and {MANIFEST}: superionic has not written it", source)
    tree = json.loads(b"".join(_content(archive, members[HEADER])))
    shown = tree.get("format") if isinstance(tree, dict) else None
    if shown != FORMAT:
        raise _refused(f"its format is {shown!r}, and this superionic reads {FORMAT}", source)
    header: Header = from_tree(tree, Header, HEADER)
    checksums: dict[str, str] = {}
    for line in b"".join(_content(archive, members[MANIFEST])).decode("utf-8").splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[2] in checksums:
            raise _refused(f"{MANIFEST} has an invalid line: {line[:80]!r}", source)
        checksums[match[2]] = match[1]
    differing = sorted(set(checksums) ^ (set(members) - {MANIFEST}))
    if differing:
        raise _refused(f"{differing[0]!r} is in the archive or in {MANIFEST}, not in both", source)
    described = [member.file_size for name, member in members.items() if name not in (HEADER, MANIFEST)]
    if header.files != len(described) or header.bytes != sum(described):
        raise _refused(f"its files have other sizes than {HEADER} says", source)
    return header, checksums


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> str:
    """Write one file and return its checksum."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("xb") as file:
        for chunk in _content(archive, member):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a member piece by piece, never more of it than its size says.

    Not by ``ZipFile.read``, which unpacks all that there is before it looks at the size.
    """
    left = member.file_size
    with archive.open(member) as content:
        while chunk := content.read(_CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile(f"{member.filename} is longer than it says")
            yield chunk
    if left:
        raise zipfile.BadZipFile(f"{member.filename} is shorter than it says")


def _verify_results(names: Sequence[str], run: str, draft: Path, source: Path) -> int:
    """Check that below ``runs`` there is nothing but report, history, and results that are those of their keys."""
    n_results = 0
    for name in names:
        if not name.startswith(f"{RUNS}/"):
            continue
        inside = name.removeprefix(f"{run}/")
        match = _RESULT.fullmatch(inside)
        if match is None:
            if inside == name or not (inside == LEDGER or inside.startswith("report/")):
                raise _refused(f"{name} is neither a result nor a report", source)
            continue
        kind: Kind = "failure" if match[3] else "value"
        _demand_stored(draft / name, source)
        try:
            verify(draft / name, match[2], kind)
        except DamagedResult as error:
            raise _refused(str(error), source) from error
        n_results += 1
    return n_results


def _demand_stored(path: Path, source: Path) -> None:
    """Check that a result is packed as the store does, without compression, so that no bomb hides in it."""
    with zipfile.ZipFile(path) as result, contextlib.ExitStack() as opened:
        members = result.infolist()
        names = {member.filename for member in members}
        if "arrays.npz" in names:
            arrays = opened.enter_context(result.open("arrays.npz"))
            members += opened.enter_context(zipfile.ZipFile(arrays)).infolist()
        if not names <= _MEMBERS or any(
            member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size for member in members
        ):
            raise _refused(f"{path.name} is not packed as results are", source)


def _refused(why: str, source: Path) -> StorageError:
    return StorageError(
        f"the archive is refused: {why}",
        where=str(source),
        fix="fetch it again and compare its checksum with the one published; nothing of it was kept",
    )
