"""A campaign as one file: for a repository of data such as Zenodo, or another machine.

The archive is a ZIP file with fixed dates: the same campaign gives the same bytes. It holds the campaign file and all
files that it refers to, the results that it needs, report, history and provenance, laid out as the folder of a campaign
is, so that whoever unpacks it by any program has that folder; besides, a checksum of each file
(``manifest-sha256.txt``, as ``sha256sum --check`` reads it) and a description by the RO-Crate standard.
:mod:`superionic.campaign.unpacking` is the way back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from superionic.campaign.file.inputs import gather_inputs
from superionic.campaign.provenance import (
    Contents,
    Described,
    Provenance,
    Publication,
    crate_metadata,
    period,
    provenance,
)
from superionic.errors import StorageError, storage_error
from superionic.execution.codec import to_tree
from superionic.execution.inventory import Watch, unwatched
from superionic.execution.ledger import LEDGER
from superionic.execution.store import DamagedResult, Store, verify
from superionic.report.folder import MANIFEST as FILES
from superionic.version import __version__

if TYPE_CHECKING:
    from superionic.campaign.run import Campaign
    from superionic.execution.store import Kind
    from superionic.execution.task import Task

FORMAT: Final = 1
MANIFEST: Final = "manifest-sha256.txt"
HEADER: Final = "archive.json"
CRATE: Final = "ro-crate-metadata.json"
PROVENANCE: Final = "provenance.json"
README: Final = "README.md"
RUNS: Final = "runs"
MOST_RATIO: Final = 100
"""An archive never unpacks to more than this many times its own size plus some megabytes."""
SLACK_BYTES: Final = 16 << 20

_OWN_NAMES: Final = frozenset({MANIFEST, HEADER, CRATE, PROVENANCE, README, RUNS})
_FIXED_DATE: Final = (1980, 1, 1, 0, 0, 0)
_CHUNK_BYTES: Final = 1 << 20
_NAMED_IN_REPORT: Final = {"report.html": "report", "results.json": "all results, as superionic schema --results says"}


@dataclass(frozen=True)
class Header:
    """The description of an archive, ``archive.json``.

    Attributes
    ----------
    superionic
        The version that wrote it.
    campaign, run_folder
        The campaign file and its run folder, as paths in the archive.
    files, bytes
        Number and size of all files but this one and the manifest of checksums.
    """

    format: int
    superionic: str
    campaign: str
    run_folder: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Exported:
    """An archive that was written.

    Attributes
    ----------
    n_files, n_results
        Files in it, and how many of them are results of tasks.
    content_bytes, size_bytes
        Size of what is in it, and of the archive.
    to_do
        Tasks of the campaign that are not done.
    """

    path: Path
    n_files: int
    n_results: int
    content_bytes: int
    size_bytes: int
    to_do: int


def export_campaign(
    campaign: Campaign,
    out: Path,
    *,
    publication: Publication | None = None,
    unfinished: bool = False,
    watch: Watch = unwatched,
) -> Exported:
    """Write a campaign as one archive. Nothing else is written, and nothing computed.

    Parameters
    ----------
    out
        The archive to write.
    publication
        What only its authors know; only the title of the report if None.
    unfinished
        Archive a campaign even if it is not finished.
    watch
        Hears of progress.

    Raises
    ------
    StorageError
        If the archive exists or cannot be written, the campaign is not finished, or a result is damaged.
    """
    if out.exists():
        raise StorageError("the archive exists already", where=str(out), fix="choose another --out, or move it away")
    with tempfile.TemporaryDirectory(prefix="superionic-export-") as folder:
        parts = _Parts(campaign, Path(folder))
        if parts.to_do and not unfinished:
            raise StorageError(
                f"the campaign is not finished: {parts.trouble or f'{parts.to_do} tasks are to be done'}",
                where=str(campaign.path),
                fix="finish it with `superionic run`, or add --unfinished to archive what is there",
            )
        about = publication or Publication(campaign.file.report.title or campaign.file.name)
        draft = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}")
        try:
            for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
                with zipfile.ZipFile(draft, "w", compression) as file:
                    writer = _Writer(file, watch, parts.size_bytes)
                    _write(writer, parts, about)
                if writer.content_bytes <= MOST_RATIO * draft.stat().st_size + SLACK_BYTES:
                    break  # otherwise it looks like an attack, and is refused when unpacked
            draft.rename(out)
        except OSError as error:
            raise storage_error(error, where=out, doing="write the archive") from error
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
        return Exported(
            out, len(writer.written), len(parts.kinds), writer.content_bytes, out.stat().st_size, parts.to_do
        )


class _Parts:
    """Everything that goes into the archive of a campaign."""

    def __init__(self, campaign: Campaign, folder: Path) -> None:
        ledger = campaign._ledger()
        walked = campaign._dry_walk(ledger)
        bench = walked.flow.bench
        self.trouble = walked.trouble
        self.to_do = len(walked.pending) or int(walked.trouble is not None)
        self.campaign = campaign
        self.store: Store = bench.runner.store
        self.tasks: dict[str, Task[Any]] = bench.runner.used
        outcomes = {key: self.store.outcome(key) for key in self.tasks}
        self.kinds: dict[str, Kind] = {key: kind for key, kind in outcomes.items() if kind is not None}
        self.run = f"{RUNS}/{campaign.file.name}"
        self.inputs = gather_inputs(campaign.path, reserved=_OWN_NAMES | {campaign.path.name})
        self.report = {f"{self.run}/report/{name}": path for name, path in _report(campaign, folder / "report").items()}
        events = _history(campaign.run_folder / LEDGER)
        self.history = "".join(json.dumps(event) + "\n" for event in events).encode()
        versions = sorted({str(event["version"]) for event in events if "version" in event}) or [__version__]
        self.made_by = provenance(self.tasks, self.kinds, ledger, bench.potentials, versions)
        self.when = period(self.tasks, ledger)
        results = [self.store.path(key, kind) for key, kind in self.kinds.items()]
        files = [*self.inputs.files.values(), *self.report.values(), *results]
        self.size_bytes = sum(path.stat().st_size for path in files)

    def result_name(self, key: str) -> str:
        """Return the name that a result has in the archive."""
        return f"{self.run}/store/objects/{key[:2]}/{self.store.path(key, self.kinds[key]).name}"


class _Writer:
    """Writes members one after the other, and remembers size and checksum of each."""

    def __init__(self, file: zipfile.ZipFile, watch: Watch, total: int) -> None:
        self.written: dict[str, Described] = {}
        self.content_bytes = 0
        self._file = file
        self._watch = watch
        self._total = total

    def write(self, name: str, source: Path | bytes, description: str = "") -> Described:
        """Write a file.

        Raises
        ------
        StorageError
            If it cannot be read.
        """
        if "\n" in name or "\\" in name or not name.isprintable():
            raise StorageError(
                "the name of a file has characters that some systems refuse", where=repr(name), fix="rename the file"
            )
        digest, size = hashlib.sha256(), 0
        info = zipfile.ZipInfo(name, date_time=_FIXED_DATE)
        info.create_system, info.external_attr = 3, 0o100644 << 16
        info.compress_type = self._file.compression
        info.file_size = len(source) if isinstance(source, bytes) else source.stat().st_size
        with self._file.open(info, "w") as target:
            for chunk in _chunks(source):
                digest.update(chunk)
                size += len(chunk)
                target.write(chunk)
                self.content_bytes += len(chunk)
                self._watch(min(self.content_bytes, self._total), self._total)
        entry = Described(name, description, size, digest.hexdigest())
        self.written[name] = entry
        return entry


def _write(writer: _Writer, parts: _Parts, publication: Publication) -> None:
    path, inputs = parts.campaign.path, parts.inputs
    campaign = writer.write(path.name, path if inputs.text is None else inputs.text.encode(), "campaign file")
    named = tuple(writer.write(name, file, "input of the campaign") for name, file in sorted(inputs.files.items()))
    report = {name: writer.write(name, file) for name, file in parts.report.items()}
    for key, kind in sorted(parts.kinds.items()):
        file = parts.store.path(key, kind)
        _demand_whole(file, key, kind)
        writer.write(parts.result_name(key), file)
    records = (
        writer.write(f"{parts.run}/{LEDGER}", parts.history, "history: what was done, when, and at what cost"),
        writer.write(PROVENANCE, _json(parts.made_by), "how each result came about: task, engine, versions, inputs"),
        writer.write(README, _readme(parts, publication).encode(), "how to read this archive"),
    )
    folder = f"{parts.run}/report"
    contents = Contents(
        campaign=campaign,
        inputs=named,
        report=tuple(
            Described(entry.name, description, entry.size_bytes, entry.sha256)
            for name, description in _NAMED_IN_REPORT.items()
            if (entry := report.get(f"{folder}/{name}")) is not None
        ),
        records=records,
        report_folder=f"{folder}/",
        results_folder=f"{parts.run}/store/objects/",
        n_results=len(parts.kinds),
    )
    writer.write(CRATE, crate_metadata(contents, publication, parts.made_by, parts.when).encode())
    header = Header(
        format=FORMAT,
        superionic=__version__,
        campaign=campaign.name,
        run_folder=parts.run,
        files=len(writer.written),
        bytes=writer.content_bytes,
    )
    writer.write(HEADER, _json(header))
    lines = [f"{entry.sha256}  {name}\n" for name, entry in sorted(writer.written.items())]
    writer.write(MANIFEST, "".join(lines).encode())


def _report(campaign: Campaign, folder: Path) -> dict[str, Path]:
    """Write the report anew, since that in the run folder may be of other settings, and return its files by name.

    It begins with a copy of that one, so that figures which are still right need not be drawn again.
    """
    with contextlib.suppress(OSError):
        shutil.copytree(campaign.report_folder, folder, symlinks=True)
    campaign.report(folder)
    names = json.loads((folder / FILES).read_text(encoding="utf-8"))["files"]
    return {name: folder / name for name in sorted([*names, FILES])}


def _demand_whole(file: Path, key: str, kind: Kind) -> None:
    try:
        verify(file, key, kind)
    except DamagedResult as error:
        raise StorageError(
            f"a result is damaged: {error}",
            where=str(file),
            fix="superionic store verify CAMPAIGN --set-aside, then superionic run makes it again",
        ) from error


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise storage_error(error, where=source, doing="read what goes into the archive") from error


def _history(path: Path) -> list[dict[str, Any]]:
    """Return the events of the history without the names of machines, which are private."""
    events = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                events.append({name: value for name, value in event.items() if name != "owner"})
    return events


def _json(value: Provenance | Header) -> bytes:
    return (json.dumps(to_tree(value), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _readme(parts: _Parts, publication: Publication) -> str:
    name = parts.campaign.path.name
    return f"""# {publication.title}

A campaign of superionic {__version__}: how ions move in disordered crystals, from the crystals to conductivities.

- `{parts.run}/report/report.html` opens in any browser; `results.json` and `tables/` beside it have the numbers.
- `{name}` is the campaign file; the crystals and other files that it refers to are beside it.
- `{PROVENANCE}` says of each result which task made it, with which versions, from which other results.
- `{parts.run}/store/objects/` holds the result of each task as a ZIP file named by the key of the task.
- `{CRATE}` describes all this for machines (RO-Crate); `sha256sum --check {MANIFEST}` sees that all is whole.

To go on from here: `superionic store import THIS.zip --into FOLDER`, then `superionic status FOLDER/{name}`.
"""
