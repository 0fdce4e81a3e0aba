"""Look at a campaign time and again without touching it, and keep a report of what is done so far.

The look is that of ``superionic status``: it reads the run folder and writes nothing there. The report is written to a
temporary folder, which goes when the watcher is closed.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from superionic.errors import SuperionicError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.status import Status

_IDLE_SHARE: Final = 5.0
"""A look waits this many times as long as the last one took, so that it takes a sixth of a core at most."""
_REPORT_IDLE_SHARE: Final = 20.0
"""The same for reports, which take longer."""
_MOST_LISTED: Final = 6
"""Pending tasks that a view lists, besides all that are being done."""


class Watched(Protocol):
    """What is watched: :class:`superionic.campaign.run.Campaign`, which itself opens the live page."""

    file: CampaignFile
    path: Path
    run_folder: Path

    @classmethod
    def load(cls, path: str | Path, *, run_folder: str | Path | None = None) -> Self:
        """Read the campaign file."""

    def status(self) -> Status:
        """Tell what is done, what a run would do, and what failed."""

    def report(self, folder: Path | None = None, *, formats: Sequence[str] = ...) -> Path:
        """Write the report of what is done so far."""


@dataclass(frozen=True)
class View:
    """What the last look at a campaign showed.

    Attributes
    ----------
    status
        The state of the campaign; None before the first look, and if none succeeded yet.
    looked_s
        When the state was read, in seconds since the epoch.
    problem
        Why the last look failed; empty if it did not. The state is then that of the look before.
    report
        How often the report was written; 0 while there is none.
    reported_s
        When it was written last, in seconds since the epoch.
    report_problem
        Why there is no newer one; empty if there is nothing newer to report.
    """

    status: Status | None = None
    looked_s: float = 0.0
    problem: str = ""
    report: int = 0
    reported_s: float = 0.0
    report_problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for the page: as ``status --json``, but with no more than the next few pending tasks."""
        values: dict[str, Any] = {
            "looked_s": self.looked_s,
            "problem": self.problem,
            "report": self.report,
            "reported_s": self.reported_s,
            "report_problem": self.report_problem,
            "status": None,
        }
        if self.status is not None:
            running = [task for task in self.status.pending if task.is_running]
            waiting = [task for task in self.status.pending if not task.is_running]
            shown = replace(self.status, pending=(*running, *waiting[:_MOST_LISTED]))
            values["status"] = shown.to_dict() | {
                "n_pending": len(self.status.pending),
                "running": [{"stage": task.stage, "label": task.label} for task in running],
            }
        return values


class Watcher:
    """Looks at a campaign in a thread of its own, until it is closed.

    Parameters
    ----------
    campaign
        The campaign. Its file is read anew when it changes.
    every_s
        Time between two looks, in s; longer where a look takes long.
    """

    def __init__(self, campaign: Watched, every_s: float = 3.0) -> None:
        self._campaign = campaign
        self._every_s = every_s
        self._made = Path(tempfile.mkdtemp(prefix="superionic-live-"))
        self._file_is_of = _changed_s(campaign.path)
        self._view = View()
        self._reported: int | None = None
        self._next_report_s = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="superionic live page", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        shutil.rmtree(self._made, ignore_errors=True)

    @property
    def title(self) -> str:
        """Name of the campaign."""
        return self._campaign.file.name

    @property
    def view(self) -> View:
        """What the last look showed."""
        return self._view

    @property
    def report_folder(self) -> Path:
        """Where the report is; there may be none yet."""
        return self._made / "report"

    def _watch(self) -> None:
        pause_s = 0.0
        while not self._closing.wait(pause_s):
            began = time.monotonic()
            self._look()
            took_s = time.monotonic() - began
            if not self._closing.is_set() and time.monotonic() >= self._next_report_s:
                self._report()
            pause_s = max(self._every_s, _IDLE_SHARE * took_s)

    def _look(self) -> None:
        try:
            if (changed_s := _changed_s(self._campaign.path)) != self._file_is_of:
                self._campaign = type(self._campaign).load(self._campaign.path, run_folder=self._campaign.run_folder)
                self._file_is_of = changed_s
            self._view = replace(self._view, status=self._campaign.status(), looked_s=time.time(), problem="")
        except Exception as error:  # noqa: BLE001 - a folder being copied, a file half written, a bug: all are shown
            self._view = replace(self._view, problem=_in_words(error))

    def _report(self) -> None:
        status = self._view.status
        done = 0 if status is None else sum(stage.done for stage in status.stages)
        if done in (0, self._reported):
            return
        began = time.monotonic()
        try:
            self._campaign.report(self.report_folder, formats=())
        except Exception as error:  # noqa: BLE001 - shown, like those above
            self._view = replace(self._view, report_problem=_in_words(error))
        else:
            self._reported = done
            number = self._view.report + 1
            self._view = replace(self._view, report=number, reported_s=time.time(), report_problem="")
        self._next_report_s = time.monotonic() + _REPORT_IDLE_SHARE * (time.monotonic() - began)


def _in_words(error: Exception) -> str:
    """Say what went wrong: an error must not end the thread, whose page would stand still without a word."""
    expected = isinstance(error, (SuperionicError, OSError))
    return str(error) if expected else f"a bug in superionic: {type(error).__name__}: {error}"


def _changed_s(path: Path) -> float | None:
    """Return when a file was changed last; None if it cannot be told."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
