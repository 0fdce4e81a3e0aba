"""The ledger: what was done, when, at what cost, and why anything failed.

Results are files (see :mod:`superionic.execution.store`); the ledger is the history of how they came about, a file of
JSON lines to which the one process that runs a campaign appends. It needs no lock and no database, so it works on any
file system, can be read while a run writes it, and on a medium that cannot be written. Losing it, or lines of it,
loses history and timings, never a result.
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
    """What the ledger knows of one task.

    Attributes
    ----------
    state
        ``done``, ``failed`` (a calculation without a result, which is a result too), ``running``, ``error`` or
        ``interrupted``.
    executions
        How often it was carried to an end by a run that noted it.
    started, finished
        When it was last handed to a worker, and when it ended, in seconds since 1970.
    wall_s, cpu_s, gpu_s, peak_MB
        What it cost; GPU time is that of the GPUs that were reserved for its worker, None where there were none.
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
    """The record of one run folder. Safe to use from several threads.

    Parameters
    ----------
    path
        The file. It is made when something is first noted.

    Attributes
    ----------
    notes
        What went wrong with the ledger itself, for the user. It never stops a run.
    """

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
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
        """Close the file; what is known stays readable."""
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(OSError):
                    os.close(self._file)
            self._file = None

    # ---- noting -----------------------------------------------------------------------------------------------------

    @contextmanager
    def recorded_run(self, version: str) -> Iterator[None]:
        """Note that a run of this process begins, and how it ended."""
        self._note({"event": "run", "owner": str(Owner.current()), "version": version})
        try:
            yield
        except BaseException as error:
            self._note({"event": "run ended", "state": "error" if isinstance(error, Exception) else "interrupted"})
            raise
        self._note({"event": "run ended", "state": "done"})

    def started(self, key: str, stage: str, label: str) -> None:
        """Note that a task was handed to an executor."""
        self._note({"event": "started", "key": key, "stage": stage, "label": label})

    def finished(self, key: str, state: str, cost: Mapping[str, float], error: str | None = None) -> None:
        """Note how a task ended (``done``, ``failed`` or ``error``) and what it cost."""
        told = {name: cost[name] for name in ("wall_s", "cpu_s", "gpu_s", "peak_MB") if cost.get(name) is not None}
        self._note({"event": state, "key": key, **told} | ({} if error is None else {"error": error}))

    def adopted(self, key: str, stage: str, label: str, state: str) -> None:
        """Note a result that is in the store although no end was recorded: the run was killed in between."""
        record = self._records.get(key)
        if record is None or record.label != label or record.state != state:
            self._note({"event": "adopted", "key": key, "stage": stage, "label": label, "state": state})

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
            self.notes.append(f"{self._path.name} was no file of history; it was set aside as {aside.name}")
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
            self.notes.append(f"the history cannot be read ({error.strerror}: {self._path}); it is taken for empty")
            return
        damaged = 0
        for line, event in zip(lines, _parsed(lines), strict=True):
            try:
                self._apply(json.loads(line) if event is None else event)
            except (ValueError, KeyError, TypeError, AttributeError):
                damaged += bool(line.strip(b"\0 "))
        if damaged:
            self.notes.append(f"{damaged} lines of {self._path} are damaged and were passed over")

    def _apply(self, event: Mapping[str, Any]) -> None:
        """Take one event into what is known."""
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
            known = before or Record(key, "", "", "")
            self._records[key] = known._replace(
                stage=event["stage"],
                label=event["label"],
                state=event["state"],
                finished=known.finished or float(event["at"]),
                error=None,
            )
        elif name in _ENDS:
            key = event["key"]
            record = self._records[key]
            # Written out, since this is done a hundred thousand times whenever a large campaign is looked at.
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
        """Return what is known of a task, by its whole key."""
        return self._records.get(key)

    def find(self, text: str) -> list[Record]:
        """Return the tasks whose key begins with a text, or whose label contains it (in any case)."""
        folded = text.casefold()
        matches = [r for r in self._records.values() if r.key.startswith(folded) or folded in r.label.casefold()]
        return sorted(matches, key=lambda r: (r.stage, r.label, r.finished is None, r.finished or 0.0))

    def latest(self, stage: str, label: str, *, other_than: str) -> Record | None:
        """Return the newest finished task of a label under another key: its last version before a change."""
        versions = [r for r in self._by_label.get((stage, label), ()) if r.key != other_than]
        return max(versions, key=lambda r: r.finished or 0.0, default=None)

    @property
    def _by_label(self) -> dict[tuple[str, str], list[Record]]:
        # Asked for once for each task that is pending: grouped again only when something was noted.
        count = len(self._records), sum(self._completions.values())
        if getattr(self, "_grouped_at", None) != count:
            self._grouped: dict[tuple[str, str], list[Record]] = {}
            for record in self._records.values():
                if record.state in ("done", "failed"):
                    self._grouped.setdefault((record.stage, record.label), []).append(record)
            self._grouped_at = count
        return self._grouped

    def all(self) -> list[Record]:
        """Return everything, oldest end first."""
        return sorted(self._records.values(), key=lambda r: (r.finished or 0.0, r.key))

    def completions(self) -> dict[str, int]:
        """Return how often each task was carried to its end (once, unless something is wrong)."""
        return dict(self._completions)


def _parsed(lines: Sequence[bytes]) -> Sequence[Any]:
    """Return the events of all lines; None for each if one of them is damaged, so that it is looked for."""
    try:
        events = json.loads(b"[" + b",".join(lines) + b"]")  # in one piece it takes a third of the time
    except ValueError:
        events = None
    return events if events is not None and len(events) == len(lines) else [None] * len(lines)
