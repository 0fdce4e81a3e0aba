"""The ledger: what was done, when, at what cost, and why anything failed.

Results are files (see :mod:`superionic.execution.store`); the ledger is their history, a file of JSON lines to which
the one process that runs a campaign appends. It needs no lock and no database, so it works on any file system, and can
be read while a run writes it or from a read-only medium. Losing it, or lines of it, loses history and timings, never a
result.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from superionic.execution.owner import Owner

LEDGER: Final = "history.jsonl"
_ENDS: Final = ("done", "failed", "error")


class Record(NamedTuple):
    """The history of one task.

    Attributes
    ----------
    state
        ``done``, ``failed`` (a calculation without a result, which is a result too), ``running``, ``error`` or
        ``interrupted``.
    executions
        Number of times that a run recorded the end of the task.
    started, finished
        When it was last submitted, and when it ended, in seconds since 1970.
    wall_s, cpu_s, gpu_s, peak_MB
        Cost; GPU time is that of the GPUs reserved for its worker, None if there were none.
    """

    key: str
    stage: str
    label: str
    state: str
    executions: int = 0
    started: float | None = None
    finished: float | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    gpu_s: float | None = None
    peak_MB: float | None = None
    error: str | None = None


class Ledger:
    """The history of one run folder. Safe to use from several threads.

    Parameters
    ----------
    path
        Its file, created by the first entry.

    Attributes
    ----------
    notes
        Problems with the ledger itself, for the user. They never stop a run.
    energy_J
        Energy that the machine used during the runs; None if none was measured.
    """

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self.energy_J: float | None = None
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._is_lost = False
        self._records: dict[str, Record] = {}
        self._completions: Counter[str] = Counter()
        self._read()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; records stay available."""
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(OSError):
                    os.close(self._file)
            self._file = None

    # ---- noting -----------------------------------------------------------------------------------------------------

    @contextmanager
    def recorded_run(self, version: str) -> Iterator[None]:
        """Record that a run of this process starts, and how it ends."""
        self._note({"event": "run", "owner": str(Owner.current()), "version": version})
        try:
            yield
        except BaseException as error:
            self._note({"event": "run ended", "state": "error" if isinstance(error, Exception) else "interrupted"})
            raise
        self._note({"event": "run ended", "state": "done"})

    def started(self, key: str, stage: str, label: str) -> None:
        """Record that a task was submitted to an executor."""
        self._note({"event": "started", "key": key, "stage": stage, "label": label})

    def finished(self, key: str, state: str, cost: Mapping[str, float], error: str | None = None) -> None:
        """Record how a task ended (``done``, ``failed`` or ``error``) and what it cost."""
        measured = {name: cost[name] for name in ("wall_s", "cpu_s", "gpu_s", "peak_MB") if cost.get(name) is not None}
        self._note({"event": state, "key": key, **measured} | ({} if error is None else {"error": error}))

    def adopted(self, key: str, stage: str, label: str, state: str) -> None:
        """Record a result that is in the store although no end was recorded, because the run was killed in between."""
        record = self._records.get(key)
        if record is None or record.label != label or record.state != state:
            self._note({"event": "adopted", "key": key, "stage": stage, "label": label, "state": state})

    def used_energy(self, joules: float) -> None:
        """Record energy that the machine used since the last record."""
        self._note({"event": "energy", "joules": round(joules, 3)})

    def _note(self, event: dict[str, Any]) -> None:
        event = {"at": round(time.time(), 3), **event}
        line = (json.dumps(event, ensure_ascii=True) + "\n").encode()
        with self._lock:
            self._apply(event)
            if self._is_lost:
                return
            try:
                if self._file is None:
                    self._file = self._open()
                while line:
                    line = line[os.write(self._file, line) :]
            except OSError as error:
                self._is_lost = True
                self.notes.append(
                    f"the history of this run cannot be written ({error.strerror}: {self._path}); results are kept, "
                    "timings and costs of this run are not"
                )

    def _open(self) -> int:
        if self._path.is_symlink() or (self._path.exists() and not self._path.is_file()):
            aside = self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex[:8]}")
            self._path.rename(aside)
            self.notes.append(f"{self._path.name} is not a history file; it was set aside as {aside.name}")
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":  # a kill or a full disk cut the last line off
            os.write(file, b"\n")
        return file

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            if not self._path.is_file():
                return
            lines = self._path.read_bytes().splitlines()
        except OSError as error:
            self.notes.append(f"the history cannot be read ({error.strerror}: {self._path}); it counts as empty")
            return
        damaged = 0
        for line, event in zip(lines, _parsed(lines), strict=True):
            try:
                self._apply(json.loads(line) if event is None else event)
            except (ValueError, KeyError, TypeError, AttributeError):
                damaged += bool(line.strip(b"\0 "))
        if damaged:
            self.notes.append(f"{damaged} lines of {self._path} are damaged and were skipped")

    def _apply(self, event: Mapping[str, Any]) -> None:
        """Update the records by one event."""
        name = event["event"]
        if name == "run":
            for key, record in self._records.items():
                if record.state == "running":
                    self._records[key] = record._replace(state="interrupted")
        elif name == "started":
            key, at = event["key"], float(event["at"])
            before = self._records.get(key)
            ends = 0 if before is None else before.executions
            self._records[key] = Record(key, event["stage"], event["label"], "running", ends, started=at)
        elif name == "adopted":
            key, before = event["key"], self._records.get(event["key"])
            record = before or Record(key, "", "", "")
            self._records[key] = record._replace(
                stage=event["stage"],
                label=event["label"],
                state=event["state"],
                finished=record.finished or float(event["at"]),
                error=None,
            )
        elif name == "energy":
            self.energy_J = (self.energy_J or 0.0) + float(event["joules"])
        elif name in _ENDS:
            key = event["key"]
            record = self._records[key]
            # Written out for speed: reading a large campaign does this a hundred thousand times.
            self._records[key] = Record(
                key,
                record.stage,
                record.label,
                name,
                record.executions + 1,
                record.started,
                float(event["at"]),
                event.get("wall_s"),
                event.get("cpu_s"),
                event.get("gpu_s"),
                event.get("peak_MB"),
                event.get("error"),
            )
            if name != "error":
                self._completions[key] += 1

    def record(self, key: str) -> Record | None:
        """Return the record of a task by its full key."""
        return self._records.get(key)

    def find(self, text: str) -> list[Record]:
        """Return the tasks whose key begins with a text, or whose label contains it, regardless of case."""
        folded = text.casefold()
        matches = [r for r in self._records.values() if r.key.startswith(folded) or folded in r.label.casefold()]
        return sorted(matches, key=lambda r: (r.stage, r.label, r.finished is None, r.finished or 0.0))

    def latest(self, stage: str, label: str, *, other_than: str) -> Record | None:
        """Return the newest finished task of a label under another key: its last version before a change."""
        versions = [r for r in self._by_label.get((stage, label), ()) if r.key != other_than]
        return max(versions, key=lambda r: r.finished or 0.0, default=None)

    @property
    def _by_label(self) -> dict[tuple[str, str], list[Record]]:
        # Needed once for each pending task: grouped again only after new entries.
        count = len(self._records), sum(self._completions.values())
        if getattr(self, "_grouped_at", None) != count:
            self._grouped: dict[tuple[str, str], list[Record]] = {}
            for record in self._records.values():
                if record.state in ("done", "failed"):
                    self._grouped.setdefault((record.stage, record.label), []).append(record)
            self._grouped_at = count
        return self._grouped

    def all(self) -> list[Record]:
        """Return all records, oldest end first."""
        return sorted(self._records.values(), key=lambda r: (r.finished or 0.0, r.key))

    def completions(self) -> dict[str, int]:
        """Return how often each task was completed (once, unless something is wrong)."""
        return dict(self._completions)


def _parsed(lines: Sequence[bytes]) -> Sequence[Any]:
    """Return the events of all lines; None for each if any is damaged, so that lines are then parsed one by one."""
    try:
        events = json.loads(b"[" + b",".join(lines) + b"]")  # parsing them as one takes a third of the time
    except ValueError:
        events = None
    return events if events is not None and len(events) == len(lines) else [None] * len(lines)
