"""A worker process from the caller's side: start it, send requests, time them, and end it with all that it started.

See :mod:`superionic.execution.bootstrap` for the two processes that make up a worker, and
:mod:`superionic.execution.worker` for what happens inside.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Final

from superionic.death_signal import all_processes, status_of
from superionic.execution.home import worker_environment

Request = dict[str, Any]
Reply = dict[str, Any]

STOPPED_LIMIT_S = 30.0
"""Longest time in s that a process may be stopped (SIGSTOP) before it is given up."""

_POLL_S: Final = 1.0
_ENDING_S: Final = 12.0
_MARK: Final = "SUPERIONIC_WORKER"


class WorkerDied(Exception):  # noqa: N818 - it names what happened
    """The worker process ended in the middle of a task.

    Parameters
    ----------
    how
        The signal or the exit code with which it ended.
    last_words
        The last lines of its output.
    """

    def __init__(self, how: str, last_words: str = "") -> None:
        super().__init__(f"the worker process ended ({how})" + (f"\n{last_words}" if last_words else ""))
        self.how = how
        self.last_words = last_words


class WorkerProcess:
    """One warm worker in one environment, with its supervisor.

    Parameters
    ----------
    python
        The interpreter of the environment.
    threads
        Threads of the numerical libraries; one by default, since oversubscription slows a step a hundredfold.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, python: Path, *, threads: int = 1) -> None:
        package_folder = Path(__file__).resolve().parents[1]
        self._busy = threading.RLock()
        self._received = b""
        self._mark = uuid.uuid4().hex
        self._log = tempfile.TemporaryFile(prefix="superionic-worker-", buffering=0)  # noqa: SIM115
        bootstrap = str(Path(__file__).with_name("bootstrap.py"))
        try:
            self._process = subprocess.Popen(
                [str(python), bootstrap, str(package_folder), str(os.getpid()), f"{STOPPED_LIMIT_S:g}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=worker_environment(threads=threads) | {_MARK: self._mark},
                bufsize=0,
                start_new_session=True,  # a Ctrl-C in the terminal is for the campaign to handle, not for its workers
            )
        except BaseException:
            self._log.close()
            raise

    @property
    def is_there(self) -> bool:
        """Whether the process is still running."""
        return self._process.poll() is None

    def call(self, request: Request, *, walltime_s: float | None = None) -> Reply:
        """Send one request and wait for its reply.

        Time during which this process is stopped or suspended does not count.

        Raises
        ------
        WorkerDied
            If the process ends before it replies, or is stopped for too long.
        TimeoutError
            If the reply takes longer than ``walltime_s``; the process is ended.
        """
        with self._busy:
            try:
                with contextlib.suppress(BrokenPipeError):  # its supervisor reports how it ended
                    self._send(json.dumps(request).encode() + b"\n")
                return self._wait(walltime_s)
            except OSError as error:
                self._end()
                if isinstance(error, TimeoutError):
                    raise
                raise self._died(self._how()) from error

    def _send(self, line: bytes) -> None:
        if self._process.stdin is None:
            raise BrokenPipeError("the worker has no pipes")
        while line:
            line = line[self._process.stdin.write(line) :]

    def _wait(self, walltime_s: float | None) -> Reply:
        spent_s = stopped_s = 0.0
        before = time.monotonic()
        while True:
            left_s = _POLL_S if walltime_s is None else min(_POLL_S, walltime_s - spent_s)
            line = self._line(max(left_s, 0.0))
            if line is not None:
                with contextlib.suppress(ValueError):  # an empty line, or one cut short by a kill
                    reply: Reply = json.loads(line)
                    if reply["state"] == "ended":
                        self._end()
                        raise self._died(reply["how"])
                    return reply
            now = time.monotonic()
            passed_s, before = min(now - before, 2 * _POLL_S), now
            spent_s += passed_s
            if walltime_s is not None and spent_s >= walltime_s:
                raise TimeoutError(f"it took longer than {_duration(walltime_s)}")
            stopped_s = stopped_s + passed_s if status_of(self._process.pid)[:1] == ["T"] else 0.0
            if stopped_s >= STOPPED_LIMIT_S:
                self._end()
                raise self._died(f"its supervisor was stopped (SIGSTOP) for {STOPPED_LIMIT_S:g} s")

    def _line(self, timeout_s: float) -> bytes | None:
        """Return the next line; None if there is none yet.

        Raises
        ------
        BrokenPipeError
            If there will be no further line.
        """
        pipe = self._process.stdout
        if pipe is None:
            raise BrokenPipeError("the worker has no pipes")
        while b"\n" not in self._received:
            poll = select.poll()  # select.select cannot watch descriptors from 1024 on
            poll.register(pipe.fileno(), select.POLLIN)
            if not poll.poll(timeout_s * 1000.0):
                if not self.is_there:  # a process that it left behind may hold the pipe open
                    raise BrokenPipeError("the worker has ended")
                return None
            part = os.read(pipe.fileno(), 1 << 16)
            if not part:
                raise BrokenPipeError("the worker has ended")
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return line

    def signal_end(self) -> None:
        """Tell the supervisor to end everything, without waiting for it."""
        if self.is_there:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process and everything that it started, at once."""
        self._end()
        with self._busy:  # a call in another thread notices the end within a second
            for file in (self._process.stdin, self._process.stdout, self._log):
                if file is not None:
                    with contextlib.suppress(OSError):
                        file.close()

    def _end(self) -> None:
        self.signal_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_S)
        if self._process.returncode is None or self._process.returncode < 0:
            # The supervisor itself was killed or is stuck. The worker ends with it; this ends the other processes.
            self._process.kill()
            _end_marked(self._mark, group=self._process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDING_S)

    def _how(self) -> str:
        code = self._process.returncode
        return f"exit code {code}" if code is None or code >= 0 else f"signal {-code} to its supervisor"

    def _died(self, how: str) -> WorkerDied:
        try:
            size = os.fstat(self._log.fileno()).st_size
            tail = os.pread(self._log.fileno(), 4000, max(0, size - 4000)).decode(errors="replace")
        except (OSError, ValueError):  # closed by another thread
            tail = ""
        return WorkerDied(how, "\n".join(tail.strip().splitlines()[-8:]))


def _duration(seconds: float) -> str:
    return f"{seconds / 3600.0:.4g} h" if seconds >= 3600.0 else f"{seconds:.4g} s"


def _end_marked(mark: str, *, group: int) -> None:
    """End all processes that inherited a mark, whatever their group, session or parent."""
    variable = f"{_MARK}={mark}".encode()
    if not Path("/proc/self/environ").exists():
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    for _ in range(200):  # one of them may just be starting another
        marked = [pid for pid in all_processes() if variable in _environment_of(pid)]
        if not marked:
            return
        for pid in marked:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
