"""Reading crystal files in a process of their own, with limits of time and memory.

Files come from anywhere, and readers of crystal files have hung, crashed and run code that a file held
(CVE-2024-23346). So the text is read in a child process, ``python -m superionic.structures.io.reading``. It is started
when the first file is read, kept for the next ones, and ended when it has been idle, has read some hundred files, or
has misbehaved. Only JSON crosses the pipes; numbers cross exactly, since Python writes them so that they read back the
same.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from superionic.errors import StructureError

MAX_FILES: Final = 500
"""A reader process is replaced after this many files."""

IDLE_S: Final = 20.0
"""A reader process idle for this long is ended."""

_START_S: Final = 60.0
_MAX_REPLY_BYTES: Final = 256_000_000
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def read_in_child(request: Mapping[str, Any], *, time_limit_s: float, memory_limit_MB: int) -> dict[str, Any]:
    """Have a request answered by the reader process.

    Parameters
    ----------
    request
        ``what`` (``crystal`` or ``oxidation states``), ``text``, ``kind``, ``where``, ``block``, ``name``, ``symprec``,
        ``keep_empty``.
    time_limit_s
        The child is killed after this time; its CPU time has the same limit.
    memory_limit_MB
        Largest address space of the child, where the system can limit it.

    Raises
    ------
    StructureError
        If the file is refused, or the child ran out of time or memory, or died.
    """
    where = str(request["where"])
    line = json.dumps({**request, "time_limit_s": time_limit_s, "memory_limit_MB": memory_limit_MB}).encode()
    with _state.lock:
        try:
            try:
                reply = _state.answer(line, time_limit_s)
            except _Died as death:
                if not (death.was_killed or death.at_start):
                    raise
                _state.end_child()
                reply = _state.answer(line, time_limit_s)
        except _TookTooLong:
            _state.end_child()
            raise _out_of_limits(f"Reading the file took over {time_limit_s:g} s", where) from None
        except _Died as death:
            _state.end_child()
            if death.out_of_time:
                raise _out_of_limits(f"Reading the file took over {time_limit_s:g} s", where) from None
            if death.at_start:
                raise _no_reader(str(death)) from None
            raise _crashed(where, str(death)) from None
        except BaseException:  # an interrupt leaves an answer in the pipe that belongs to no request
            _state.end_child()
            raise
        state = reply.get("state")
        if state not in {"read", "refused"}:
            _state.end_child()
    if state == "refused":
        message, fix = str(reply.get("message")), reply.get("fix")
        place = reply.get("where")
        raise StructureError(
            message, where=None if place is None else str(place), fix=None if fix is None else str(fix)
        )
    if state == "out of memory":
        raise _out_of_limits(f"Reading the file used over {memory_limit_MB / 1024:.3g} GB", where)
    result = reply.get("result")
    if state != "read" or not isinstance(result, dict):
        raise _crashed(where, "it returned nonsense")
    return result


def start_reader() -> None:
    """Start the child that reads crystal files, if there is none, without waiting for it.

    It takes as long to start as most callers take for their own imports, which run meanwhile.
    """
    with suppress(StructureError, OSError), _state.lock:  # the next reading of a file reports what is wrong
        _state.child_for_next_file()


def close_reader() -> None:
    """End the reader process, if there is one; the next file starts another."""
    with _state.lock:
        _state.end_child()


def _out_of_limits(message: str, where: str) -> StructureError:
    return StructureError(
        f"{message}; it was stopped.",
        where=where,
        fix="Give the unit cell of the crystal, in a file with nothing else, or raise the limit.",
    )


def _crashed(where: str, how: str) -> StructureError:
    return StructureError(
        f"The file crashed the parser ({how}).",
        where=where,
        fix="Correct the file, or export the crystal again with another program.",
    )


# ---- the side of the parent -----------------------------------------------------------------------------------------


class _TookTooLong(Exception):  # noqa: N818 - never leaves this module
    pass


class _Died(Exception):  # noqa: N818 - never leaves this module
    def __init__(
        self, how: str, *, out_of_time: bool = False, was_killed: bool = False, at_start: bool = False
    ) -> None:
        super().__init__(how)
        self.out_of_time = out_of_time
        self.was_killed = was_killed
        self.at_start = at_start


class _Child:
    """A reader process and the pipes to it."""

    def __init__(self) -> None:
        source = str(Path(__file__).resolve().parents[2])
        path = os.environ.get("PYTHONPATH")
        environment = {
            **os.environ,
            **dict.fromkeys(_THREADS, "1"),
            "PYTHONPATH": source if not path else os.pathsep.join([source, path]),
        }
        # -P: modules are never taken from the working folder, where the files that are read may lie.
        command = [sys.executable, "-P", "-W", "ignore", "-m", "superionic.structures.io.reading"]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                bufsize=0,
            )
        except (OSError, ValueError, TypeError) as error:
            raise _no_reader(str(error)) from error
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()  # type: ignore[union-attr]
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._left = b""
        self.closed = threading.Event()
        self.files = 0
        self.last_used = time.monotonic()
        self._is_ready = False

    def send(self, line: bytes, limit_s: float) -> None:
        self._wait_until_ready()
        self.files += 1
        deadline = time.monotonic() + limit_s
        view = memoryview(line + b"\n")
        while view:
            self._wait(self._in, select.POLLOUT, deadline)
            try:
                view = view[os.write(self._in, view) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self._death() from None

    def receive(self, limit_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + limit_s
        pieces = [self._left]
        size = len(self._left)
        while not pieces[-1].endswith(b"\n"):
            self._wait(self._out, select.POLLIN, deadline)
            try:
                piece = os.read(self._out, 1 << 20)
            except BlockingIOError:
                continue
            if not piece:
                raise self._death()
            pieces.append(piece)
            size += len(piece)
            if size > _MAX_REPLY_BYTES:
                raise _Died("it returned nonsense")
        self.last_used = time.monotonic()
        try:
            reply = json.loads(b"".join(pieces))
        except (ValueError, RecursionError):
            raise _Died("it returned nonsense") from None
        if not isinstance(reply, dict):
            raise _Died("it returned nonsense")
        return reply

    def _wait_until_ready(self) -> None:
        """Wait until the child has imported what it needs; from then on its time belongs to the files."""
        if self._is_ready:
            return
        try:
            first = self.receive(_START_S)
        except _TookTooLong as error:
            raise _no_reader("it took too long") from error
        except _Died as death:  # by a signal before Python handles signals, which looks like any other failure
            raise _Died(str(death), at_start=True) from death
        if first != {"state": "ready"}:
            raise _no_reader("it returned nonsense")
        self._is_ready = True

    def _wait(self, handle: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(handle, event)
        remaining = deadline - time.monotonic()
        if remaining <= 0.0 or not poll.poll(remaining * 1000.0):
            raise _TookTooLong

    def _death(self) -> _Died:
        """Describe how the child ended."""
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return _Died("it closed its pipe")
        import signal

        if code == -getattr(signal, "SIGXCPU", 24):
            return _Died("it ran out of time", out_of_time=True)
        killed = code in {-signal.SIGINT, -signal.SIGTERM, -9, -1}  # KILL and HUP, which not all systems name
        return _Died(f"signal {-code}" if code < 0 else f"exit code {code}", was_killed=killed)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Kill the child (it holds nothing that could be lost) and reap it, so that no zombie remains."""
        self.closed.set()
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        self.close_pipes()

    def close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def disown(self) -> None:
        """Forget a child that is another process's, after a fork: close our copies of its pipes and no more."""
        self.close_pipes()
        self._process.returncode = 0
        self.closed.set()


def _no_reader(how: str) -> StructureError:
    return StructureError(
        f"The process that reads crystal files could not be started ({how}).",
        where=str(sys.executable),
        fix="Run `python -m superionic.structures.io.reading < /dev/null` with this Python to see why.",
    )


class _State:
    """The one reader process of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._child: _Child | None = None
        self._registered = False

    def child_for_next_file(self) -> _Child:
        child = self._child
        if child is not None and (child.files >= MAX_FILES or not child.is_alive):
            self.end_child()
            child = None
        if child is None:
            if not self._registered:
                self._registered = True
                atexit.register(self.at_exit)
                if hasattr(os, "register_at_fork"):
                    os.register_at_fork(after_in_child=self.after_fork)
            child = self._child = _Child()
            threading.Thread(target=self._end_when_idle, args=(child,), name="reader idle", daemon=True).start()
        child.last_used = time.monotonic()
        return child

    def answer(self, line: bytes, limit_s: float) -> dict[str, Any]:
        child = self.child_for_next_file()
        child.send(line, limit_s)
        return child.receive(limit_s)

    def end_child(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def at_exit(self) -> None:
        locked = self.lock.acquire(timeout=1.0)  # a thread that is still reading must not delay the exit
        self.end_child()
        if locked:
            self.lock.release()

    def after_fork(self) -> None:
        self.lock = threading.Lock()
        if self._child is not None:
            self._child.disown()
            self._child = None

    def _end_when_idle(self, child: _Child) -> None:
        while not child.closed.wait(max(0.05, child.last_used + IDLE_S - time.monotonic())):
            with self.lock:
                if self._child is child and time.monotonic() - child.last_used >= IDLE_S:
                    self.end_child()


_state = _State()


# ---- the side of the child ------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests from standard input, one JSON line each, until it ends."""
    import signal

    from superionic.structures.io import parsing

    with suppress(OSError, ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    replies = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # output of libraries must not mix with our replies
    _warm_up(parsing)
    _limit_files()
    _reply(replies, {"state": "ready"})
    for line in sys.stdin.buffer:
        _reply(replies, _answer(json.loads(line), parsing))


def _answer(request: dict[str, Any], parsing: Any) -> dict[str, Any]:
    import numpy as np

    _limit(float(request["time_limit_s"]), int(request["memory_limit_MB"]))
    text, kind, where = request["text"], request["kind"], request["where"]
    try:
        if request["what"] == "crystal":
            crystal = parsing.crystal_of_text(
                text,
                kind,
                where,
                name=request["name"],
                symprec=request["symprec"],
                block=request["block"],
                keep_empty=request["keep_empty"],
            )
            result = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in crystal.to_dict().items()}
        else:
            oxidation = parsing.oxidation_states_of_text(text, kind, where, block=request["block"])
            result = {
                "states": None if oxidation.states is None else dict(oxidation.states),
                "reason": oxidation.reason,
                "several": {element: list(charges) for element, charges in oxidation.several.items()},
            }
    except StructureError as error:
        return {"state": "refused", "message": error.message, "where": error.where, "fix": error.fix}
    except MemoryError:
        return {"state": "out of memory"}
    return {"state": "read", "result": result}


def _reply(handle: int, value: dict[str, Any]) -> None:
    try:
        data = json.dumps(value, allow_nan=False).encode() + b"\n"
    except (ValueError, TypeError, MemoryError):
        data = b'{"state": "nonsense"}\n'
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _warm_up(parsing: Any) -> None:
    """Import and exercise everything once, so that the first file does not bear the cost."""
    cell = "".join(f"_cell_length_{k} 4\n" for k in "abc")
    cell += "".join(f"_cell_angle_{k} 90\n" for k in ("alpha", "beta", "gamma"))
    cell += "_space_group_it_number 1\n"
    table = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nCs1 0 0 0\n"
    parsing.crystal_of_text(f"data_x\n{cell}{table}", "cif", "x", name="x")


def _limit_files() -> None:
    """Disallow what reading text does not need: writing files, and core dumps."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _limit(time_s: float, memory_MB: int) -> None:
    try:
        import resource
    except ImportError:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = usage.ru_utime + usage.ru_stime
    for kind, limit in ((resource.RLIMIT_CPU, int(used + time_s) + 2), (resource.RLIMIT_AS, memory_MB << 20)):
        with suppress(OSError, ValueError):
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (limit, hard))


if __name__ == "__main__":
    serve()
