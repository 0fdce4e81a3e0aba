"""The ledger: what was done, when, at what cost, and why anything failed.

Results are files (see :mod:`superionic.execution.store`); the ledger is the record about them, an SQLite database in
write-ahead mode. Losing it loses history and timings, never a result.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superionic.errors import StorageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    key TEXT PRIMARY KEY, stage TEXT NOT NULL, label TEXT NOT NULL, descriptor TEXT NOT NULL, state TEXT NOT NULL,
    executions INTEGER NOT NULL DEFAULT 0, finished REAL, wall_s REAL, cpu_s REAL, peak_MB REAL, error TEXT);
CREATE INDEX IF NOT EXISTS tasks_by_label ON tasks (stage, label, finished);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, key TEXT NOT NULL, event TEXT NOT NULL, detail TEXT);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, started REAL NOT NULL, finished REAL, pid INTEGER, version TEXT, state TEXT);
"""


@dataclass(frozen=True)
class Record:
    """What the ledger knows of one task. ``state`` is ``done``, ``failed``, ``running`` or ``error``."""

    key: str
    stage: str
    label: str
    descriptor: dict[str, Any]
    state: str
    executions: int
    finished: float | None
    wall_s: float | None
    cpu_s: float | None
    peak_MB: float | None
    error: str | None


class Ledger:
    """The record of one run folder. Safe to use from several threads.

    Parameters
    ----------
    path
        The SQLite file; made when absent.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StorageError(
                f"the ledger cannot be opened: {error}",
                where=str(path),
                fix="mend the permissions, or delete this file: results are kept, only timings and history are lost",
            ) from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def begin_run(self, pid: int, version: str) -> int:
        """Note that a run begins and return its number. Tasks that a killed run left as running are marked so."""
        with self._write() as db:
            db.execute("UPDATE tasks SET state='interrupted' WHERE state='running'")
            db.execute("UPDATE runs SET state='interrupted' WHERE finished IS NULL")
            cursor = db.execute(
                "INSERT INTO runs (started, pid, version, state) VALUES (?, ?, ?, 'running')",
                (time.time(), pid, version),
            )
            return int(cursor.lastrowid or 0)

    def end_run(self, run: int, state: str) -> None:
        """Note how a run ended."""
        with self._write() as db:
            db.execute("UPDATE runs SET finished=?, state=? WHERE id=?", (time.time(), state, run))

    @contextmanager
    def recorded_run(self, version: str) -> Iterator[None]:
        """Note that a run of this process begins, and how it ended."""
        number = self.begin_run(os.getpid(), version)
        try:
            yield
        except BaseException as error:
            self.end_run(number, "interrupted" if isinstance(error, KeyboardInterrupt) else "error")
            raise
        self.end_run(number, "done")

    def started(self, key: str, stage: str, label: str, descriptor: Mapping[str, Any]) -> None:
        """Note that a task was handed to an executor."""
        with self._write() as db:
            db.execute(
                "INSERT INTO tasks (key, stage, label, descriptor, state) VALUES (?, ?, ?, ?, 'running') "
                "ON CONFLICT (key) DO UPDATE SET state='running', stage=excluded.stage, label=excluded.label",
                (key, stage, label, json.dumps(descriptor, sort_keys=True)),
            )
            db.execute("INSERT INTO events (at, key, event) VALUES (?, ?, 'started')", (time.time(), key))

    def finished(self, key: str, state: str, cost: Mapping[str, float], error: str | None = None) -> None:
        """Note how a task ended (``done``, ``failed`` or ``error``) and what it cost."""
        now = time.time()
        with self._write() as db:
            db.execute(
                "UPDATE tasks SET state=?, executions=executions+1, finished=?, wall_s=?, cpu_s=?, peak_MB=?, error=? "
                "WHERE key=?",
                (state, now, cost.get("wall_s"), cost.get("cpu_s"), cost.get("peak_MB"), error, key),
            )
            db.execute("INSERT INTO events (at, key, event, detail) VALUES (?, ?, ?, ?)", (now, key, state, error))

    def adopted(self, key: str, stage: str, label: str, descriptor: Mapping[str, Any]) -> None:
        """Note a result that is in the store although no end was recorded: the run was killed in between."""
        with self._write() as db:
            row = db.execute("SELECT state, label FROM tasks WHERE key=?", (key,)).fetchone()
            if row is not None and row[0] in ("done", "failed") and row[1] == label:
                return
            db.execute(
                "INSERT INTO tasks (key, stage, label, descriptor, state, finished) VALUES (?, ?, ?, ?, 'done', ?) "
                "ON CONFLICT (key) DO UPDATE SET label=excluded.label, stage=excluded.stage, "
                "state=CASE WHEN state IN ('done', 'failed') THEN state ELSE 'done' END, "
                "finished=COALESCE(finished, excluded.finished)",
                (key, stage, label, json.dumps(descriptor, sort_keys=True), time.time()),
            )

    def record(self, key: str) -> Record | None:
        """Return what is known of a task, by its whole key."""
        return next(iter(self._records("WHERE key = ?", (key,))), None)

    def find(self, prefix: str) -> list[Record]:
        """Return the tasks whose key begins with ``prefix``, or whose label contains it."""
        escaped = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return self._records(
            "WHERE key LIKE ? ESCAPE '\\' OR label LIKE ? ESCAPE '\\' "
            "ORDER BY stage, label, finished IS NULL, finished",
            (f"{escaped}%", f"%{escaped}%"),
        )

    def latest(self, stage: str, label: str, *, other_than: str) -> Record | None:
        """Return the newest finished task of a label under another key: its last version before a change."""
        found = self._records(
            "WHERE stage=? AND label=? AND key<>? AND state IN ('done', 'failed') ORDER BY finished DESC LIMIT 1",
            (stage, label, other_than),
        )
        return found[0] if found else None

    def all(self) -> list[Record]:
        """Return everything, oldest end first."""
        return self._records("ORDER BY finished, key", ())

    def completions(self) -> dict[str, int]:
        """Return how often each task was carried to its end (once, unless something is wrong)."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT key, COUNT(*) FROM events WHERE event IN ('done', 'failed') GROUP BY key"
            ).fetchall()
        return {str(key): int(count) for key, count in rows}

    def _records(self, clause: str, values: tuple[Any, ...]) -> list[Record]:
        columns = "key, stage, label, descriptor, state, executions, finished, wall_s, cpu_s, peak_MB, error"
        with self._lock:
            rows = self._connection.execute(f"SELECT {columns} FROM tasks {clause}", values).fetchall()  # noqa: S608
        return [Record(row[0], row[1], row[2], json.loads(row[3]), *tuple(row[4:])) for row in rows]
