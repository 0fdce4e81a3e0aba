"""What all kinds of fault share: campaigns to try them on, drivers to kill, a look at what is there afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import subjects
from interposed import Interposed

from superionic.execution.ledger import LEDGER, Ledger
from superionic.report.folder import MANIFEST

_MARK: Final = "FAULTS_MARK"
GONE_WITHIN_S: Final = 5.0
"""How soon after a run ended everything that it started must be gone."""
_LONGEST_S: Final = 300.0


@dataclass
class Tally:
    """What became of one kind of fault; each count but the first is of things that must not be.

    Attributes
    ----------
    number
        Faults that were tried.
    lost
        Results that were not there at the end, or histories of the past.
    changed
        Files of results or report that differ from those of an undisturbed run.
    twice
        Whole results that were made once more.
    manual
        Times that the same command did not lead on.
    left
        Processes, and what is swept by runs, that were still there at the end.
    wordless
        Times that a run ended without words for it, by a traceback or without an end.
    cases
        What went wrong, one line each.
    skipped
        Why the kind was not tried; empty if it was.
    """

    kind: str
    number: int = 0
    lost: int = 0
    changed: int = 0
    twice: int = 0
    manual: int = 0
    left: int = 0
    wordless: int = 0
    cases: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.changed or self.twice or self.manual or self.left or self.wordless)

    def wrong(self, what: str, case: str, number: int = 1) -> None:
        """Count something that must not be."""
        if number:
            setattr(self, what, getattr(self, what) + number)
            self.cases.append(f"{what}: {case}")
            print(f"  {self.kind}: {what}: {case}", flush=True)


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes
    ----------
    code
        Exit code; negative for a signal.
    said
        What it printed.
    """

    code: int
    said: str

    @property
    def in_words(self) -> bool:
        """Whether it was done, or refused with words for the user."""
        foreign = "Traceback" in self.said or "a bug in superionic" in self.said
        return not foreign and (self.code == 0 or (self.code == 2 and len(self.said.strip()) > 20))


class Run:
    """A run under way, in a process that :class:`Drivers` forked."""

    def __init__(self, drivers: Drivers, pid: int, said: Path) -> None:
        self.pid = pid
        self._drivers = drivers
        self._said = said

    def wait(self, timeout_s: float = _LONGEST_S) -> Ended | None:
        """Return how it ended; None if it has not within a time."""
        line = self._drivers.line(timeout_s)
        if line is None:
            return None
        # One that was killed before it opened the file has said nothing.
        return Ended(int(line), self._said.read_text(errors="replace") if self._said.exists() else "")


class Drivers:
    """A process that becomes a driver of a campaign whenever it is asked; see :mod:`driver`."""

    def __init__(self, folder: Path, campaign: Path | None, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._received = b""
        self._count = 0
        self._log = (folder / "drivers.log").open("ab")
        script = str(Path(__file__).with_name("driver.py"))
        self._process = subprocess.Popen(
            [sys.executable, script, *([] if campaign is None else [str(campaign)])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=dict(environment), bufsize=0,
        )  # fmt: skip
        self.pid = self._process.pid

    def start(self, **request: Any) -> Run:
        """Fork a process for a request (``arguments`` of the command line, or an ``operation``)."""
        self._count += 1
        said = self._folder / f"said-{self.pid}-{self._count}"
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps({**request, "said": str(said)}) + "\n").encode())
        line = self.line(_LONGEST_S)
        if line is None:
            raise RuntimeError("no driver can be forked")
        return Run(self, int(line), said)

    def line(self, timeout_s: float) -> str | None:
        """Return the next line; None if there is none within a time."""
        import select

        pipe = self._process.stdout
        assert pipe is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._received:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            part = os.read(pipe.fileno(), 4096)
            if not part:
                raise RuntimeError(f"the process that forks drivers ended; see {self._log.name}")
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


class Bench:
    """A folder for trying faults, with what an undisturbed run of each campaign gives.

    Parameters
    ----------
    root
        The folder; it may be used again, and what is in it is then not made anew.
    long
        Whether to try all that can be tried.
    seed
        Of everything that is drawn by lot.

    Attributes
    ----------
    keep
        Called with a tally now and then, by kinds that can go on from one.
    """

    def __init__(self, root: Path, *, long: bool, seed: int) -> None:
        self.root, self.long, self.seed = root, long, seed
        self.keep: Callable[[Tally], None] = lambda _tally: None
        root.mkdir(parents=True, exist_ok=True)
        self.interposed = Interposed(root)
        self._mark = uuid.uuid4().hex
        self.environment = {**subjects.environment(root), **self.interposed.environment, _MARK: self._mark}
        self._drivers: dict[int, Drivers] = {}
        self._count = 0
        self.names = (*subjects.NAMES, subjects.WHOLE) if long else subjects.NAMES
        self.undisturbed: dict[str, dict[str, bytes]] = {}
        for name in self.names:
            folder = root / f"undisturbed-{name}"
            if not (folder / "done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                path = subjects.write(name, folder)
                subprocess.run(self.command(path), env=self.environment, stdout=subprocess.DEVNULL, check=True)
                (folder / "done").touch()
            self.undisturbed[name] = products(run_folder(folder))

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        for drivers in self._drivers.values():
            drivers.close()
        self.end_all()

    def command(self, campaign: Path) -> list[str]:
        """Return the command that is given again and again."""
        return [sys.executable, "-m", "superionic.cli", *self.arguments(campaign)]

    def arguments(self, campaign: Path) -> list[str]:
        """Return its arguments; workers are started often, and one is enough where they have no children."""
        workers = 2 if "label:" in campaign.read_text() else 1
        return ["run", str(campaign), "--quiet", "--workers", str(workers)]

    def drivers(self, number: int = 0) -> Drivers:
        """Return a process that forks drivers, one of as many as there are to be at once; -1 is for operations."""
        if number not in self._drivers:
            if number < 0:
                self._drivers[number] = Drivers(self.root, None, self.environment)
            else:
                with self.campaign("pair", "begun") as warm:
                    self._drivers[number] = Drivers(self.root, warm, self.environment)
                    self._drivers[number].line(_LONGEST_S)
        return self._drivers[number]

    def folder(self) -> Path:
        """Return the path of a new folder."""
        self._count += 1
        return self.root / f"case-{os.getpid()}-{self._count}"

    @contextmanager
    def campaign(self, name: str, state: str = "begun") -> Iterator[Path]:
        """Yield the file of a campaign in a folder of its own; the folder goes afterwards.

        Parameters
        ----------
        state
            ``finished``, ``begun`` (all but the last stages is done) or ``new``.
        """
        folder = self.folder()
        try:
            path = subjects.write(name, folder)
            if state != "new":
                shutil.copytree(self.root / f"undisturbed-{name}" / "runs", folder / "runs")
            if state == "begun":
                _forget_the_end(run_folder(folder))
            yield path
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, campaign: Path) -> Ended:
        """Run a campaign as far as it goes."""
        return self.command_line(*self.arguments(campaign))

    def command_line(self, *arguments: str) -> Ended:
        """Give a command of the command line, and wait for its end."""
        run = self.drivers().start(arguments=arguments)
        ended = run.wait()
        if ended is None:
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            return Ended(-signal.SIGKILL, f"it did not end within {_LONGEST_S:g} s")
        return ended

    # ---- the look afterwards ----------------------------------------------------------------------------------------

    def finish(self, tally: Tally, name: str, campaign: Path, case: str) -> bool:
        """Give the same command, undisturbed, and see that it leads to the end; then :meth:`look`."""
        ended = self.run(campaign)
        if ended.code != 0:
            tally.wrong("manual", f"{case}: the same command ended with {ended.code}: {_short(ended.said)}")
            self.end_all()
            return False
        self.look(tally, name, campaign, case)
        return True

    def look(self, tally: Tally, name: str, campaign: Path, case: str, before: Mapping[str, int] | None = None) -> None:
        """Compare a finished campaign with the undisturbed one.

        Parameters
        ----------
        before
            Numbers of the files of whole results before the last run; another one afterwards was made again.
        """
        folder = run_folder(campaign.parent)
        left, right = self.undisturbed[name], products(folder)
        missing = sorted(set(left) - set(right))
        tally.wrong("lost", f"{case}: {missing[:3]}", len(missing))
        other = sorted(file for file in right if left.get(file) != right[file])
        tally.wrong("changed", f"{case}: {other[:3]}", len(other))
        with Ledger(folder / LEDGER) as ledger:
            twice = [key for key, count in ledger.completions().items() if count > 1]
        now = result_files(folder)
        twice += [file for file, number in (before or {}).items() if now.get(file, number) != number]
        tally.wrong("twice", f"{case}: {twice[:3]}", len(set(twice)))
        alive = self.left_running(GONE_WITHIN_S)
        tally.wrong("left", f"{case}: {alive}", len(alive))
        swept = [path.name for place in ("tmp", "progress") for path in (folder / "store" / place).glob("*")]
        swept += [path.name for path in folder.glob("run.lease*")]
        tally.wrong("left", f"{case}: {swept[:3]}", len(swept))

    def processes(self) -> dict[int, str]:
        """Return pids and commands of all processes of runs."""
        variable = f"{_MARK}={self._mark}".encode()
        servers = {drivers.pid for drivers in self._drivers.values()}
        alive: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in servers:
                with suppress(OSError):
                    if variable in (entry / "environ").read_bytes().split(b"\0"):
                        alive[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return alive

    def left_running(self, within_s: float) -> list[str]:
        """Return the commands of processes of runs that are still there after a time."""
        deadline = time.monotonic() + within_s
        while (alive := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return list(alive.values())

    def end_all(self) -> None:
        """End what should have ended by itself."""
        for _ in range(100):
            for pid in (alive := self.processes()):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if not alive:
                return
            time.sleep(0.02)


def _forget_the_end(folder: Path) -> None:
    with Ledger(folder / LEDGER) as ledger:
        records = ledger.all()
    for record in records:
        if record.stage not in subjects.BEGUN:
            (folder / "store" / "objects" / record.key[:2] / f"{record.key}.zip").unlink()
    (folder / LEDGER).unlink()
    # Figures are kept by the next report where their data are the same; one of them is to be drawn.
    figures = sorted((folder / "report" / "figures").glob("*.svg"))
    pages = [path for path in (folder / "report").iterdir() if path.is_file() and path.name != MANIFEST]
    for path in (figures[-1], figures[-1].with_suffix(".png"), *pages):
        path.unlink()


def run_folder(folder: Path) -> Path:
    """Return the run folder of a campaign."""
    return folder / "runs" / "small"


def products(folder: Path) -> dict[str, bytes]:
    """Return all files of results and report."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for place in ("store/objects", "report")
        for path in sorted((folder / place).rglob("*"))
        if path.is_file()
    }


def result_files(folder: Path) -> dict[str, int]:
    """Return the numbers by which the file system knows the files of results."""
    return {path.name: path.lstat().st_ino for path in (folder / "store" / "objects").glob("*/*.zip")}


def _short(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-4:])[-500:]
