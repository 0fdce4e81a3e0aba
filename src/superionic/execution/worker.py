"""Worker processes: they run tasks in an engine's environment, one at a time, and stay warm.

The two sides speak JSON lines over pipes: a request names a task (function, settings, keys of its inputs, the store),
the reply says how it ended and what it cost. Results never cross the pipe: the worker reads its inputs from the store
and commits its result there, so a reply that is lost loses nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select as _select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from superionic.errors import CalculationFailed, EngineError, StorageError, SuperionicError
from superionic.execution.engines import worker_environment
from superionic.execution.kept_files import placed
from superionic.execution.store import Store, StoredFailure
from superionic.execution.task import Context, TaskFunction, select

Request = dict[str, Any]
Reply = dict[str, Any]

_PROGRESS_EVERY_S = 0.5


# ---- inside the worker process ------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests from standard input until it ends or the parent process is gone."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to the log, never between our replies
    _die_with(os.getppid())
    cache: dict[str, Any] = {}
    for line in sys.stdin:
        reply = _answer(json.loads(line), cache)
        replies.write(json.dumps(reply) + "\n")


def _die_with(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _answer(request: Request, cache: dict[str, Any]) -> Reply:
    began, cpu_before = time.monotonic(), _cpu_s()
    reply: Reply
    try:
        reply = {"state": _perform(request, cache)}
    except SuperionicError as error:
        reply = {
            "state": "error",
            "kind": type(error).__name__,
            "message": error.message,
            "where": error.where,
            "fix": error.fix,
        }
    except Exception as error:  # noqa: BLE001 - whatever a calculation raises must become a reply
        reply = {
            "state": "error",
            "kind": "unexpected",
            "message": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
        }
    peak_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    reply["cost"] = {"wall_s": time.monotonic() - began, "cpu_s": _cpu_s() - cpu_before, "peak_MB": peak_MB}
    return reply


def _perform(request: Request, cache: dict[str, Any]) -> str:
    store: Store | None = cache.get(f"store:{request['store']}")
    if store is None:
        store = cache[f"store:{request['store']}"] = Store(Path(request["store"]))
    key = request["key"]
    if store.has(key):  # an orphan of a killed run may have finished it meanwhile
        return "failed" if isinstance(store.load(key), StoredFailure) else "done"
    module, _, name = request["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    if isinstance(function, TaskFunction):
        function = function.perform
    loaded: dict[str, Any] = {}
    inputs = {name: _resolve(value, store, loaded) for name, value in request["inputs"].items()}
    scratch = store.scratch(key)
    progress_file = store.progress_file(key)
    try:
        value = function(placed(request["settings"]), inputs, Context(scratch, _progress_writer(progress_file), cache))
    except CalculationFailed as failure:
        value = StoredFailure(failure.reason, failure.details)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        progress_file.unlink(missing_ok=True)
    store.commit(key, request["descriptor"], value)
    return "failed" if isinstance(value, StoredFailure) else "done"


def _resolve(value: Any, store: Store, loaded: dict[str, Any]) -> Any:
    """Look up inputs; a result of which several parts are read is loaded once."""
    if isinstance(value, list):
        return [_resolve(item, store, loaded) for item in value]
    if value["task"] not in loaded:
        loaded[value["task"]] = store.load(value["task"])
    return select(loaded[value["task"]], value["path"])


def _progress_writer(path: Path) -> Callable[[float, str], None]:
    last = 0.0

    def write(fraction: float, message: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _PROGRESS_EVERY_S:
            return
        last = now
        part = path.with_suffix(f".{os.getpid()}")
        try:
            part.write_text(json.dumps({"fraction": fraction, "message": message}))
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)  # progress is a courtesy; the work goes on without it

    return write


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime + children.ru_utime + children.ru_stime


# ---- on the side of the caller ------------------------------------------------------------------------------------


class WorkerDied(Exception):  # noqa: N818 - it names what happened
    """The worker process ended in the middle of a task."""


class WorkerProcess:
    """One warm worker in one environment.

    Parameters
    ----------
    python
        The interpreter of the environment.
    threads
        Threads of the numerical libraries; one by default, since oversubscription slows a step a hundredfold.
    """

    def __init__(self, python: Path, *, threads: int = 1) -> None:
        package_folder = Path(__file__).resolve().parents[1]
        self._log: TextIO = tempfile.TemporaryFile("w+", prefix="superionic-worker-", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("bootstrap.py")), str(package_folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=worker_environment(threads=threads),
            text=True,
            start_new_session=True,  # a Ctrl-C in the terminal is for the campaign to handle, not for its workers
        )

    def call(self, request: Request, *, walltime_s: float | None = None) -> Reply:
        """Send one request and wait for its reply.

        Raises
        ------
        WorkerDied
            If the process ends before it replies.
        TimeoutError
            If it takes longer than ``walltime_s``; the process is killed.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise WorkerDied("the worker has no pipes")
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except (BrokenPipeError, ValueError, OSError) as error:
            raise WorkerDied(self._last_words()) from error
        if walltime_s is not None and not _select.select([stdout], [], [], walltime_s)[0]:
            self.close()
            raise TimeoutError(f"it took longer than {walltime_s:g} s")
        line = stdout.readline()
        if not line:
            self._process.wait()
            raise WorkerDied(self._last_words())
        reply: Reply = json.loads(line)
        return reply

    def close(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue
        self._log.close()

    def _last_words(self) -> str:
        code = self._process.poll()
        try:
            self._log.seek(0)
            tail = self._log.read()[-2000:].strip().splitlines()[-8:]
        except ValueError:  # closed by close_all_workers in another thread
            tail = []
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return "\n".join([f"the worker process ended ({how})", *tail])


_slot = threading.local()
_open_workers: set[WorkerProcess] = set()
_open_workers_lock = threading.Lock()
_closing = threading.Event()


def execute(request: Request) -> Reply:
    """Run one task in the warm worker that this thread keeps for the task's environment.

    A plain function of plain data, so that any :class:`concurrent.futures.Executor` can run it, on this machine or on
    another one that sees the same store. A worker that dies is replaced and the task tried once more; a second death
    is an error of the task.
    """
    workers: dict[tuple[str, int], WorkerProcess] = _slot.__dict__.setdefault("workers", {})
    address = (request["python"], int(request.get("threads", 1)))
    for attempt in (1, 2):
        worker = workers.get(address)
        if worker is None:
            worker = WorkerProcess(Path(address[0]), threads=address[1])
            workers[address] = worker
            with _open_workers_lock:
                _open_workers.add(worker)
        try:
            return worker.call(request, walltime_s=request.get("walltime_s"))
        except (WorkerDied, TimeoutError) as error:
            del workers[address]
            _close(worker)
            if isinstance(error, TimeoutError) or attempt == 2 or _closing.is_set():
                return {"state": "error", "kind": type(error).__name__, "message": str(error), "cost": {}}
    raise AssertionError("unreachable")


def allow_workers() -> None:
    """Let :func:`execute` start workers (again, after :func:`close_all_workers`)."""
    _closing.clear()


def close_all_workers() -> None:
    """End every worker process that :func:`execute` started in this process, and start no more."""
    _closing.set()
    with _open_workers_lock:
        workers = list(_open_workers)
    for worker in workers:
        _close(worker)


def _close(worker: WorkerProcess) -> None:
    with _open_workers_lock:
        _open_workers.discard(worker)
    worker.close()


def call_once(
    python: Path,
    function: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None,
    *,
    threads: int = 1,
    walltime_s: float | None = None,
) -> Any:
    """Run one function in another environment and return its result: a task without a campaign.

    Parameters
    ----------
    python
        Interpreter of the environment.
    function
        ``module:name`` of a task function.
    settings, inputs
        Its arguments; inputs may be anything that a result may be.

    Raises
    ------
    CalculationFailed
        If the function raised it.
    EngineError
        If it failed in any other way.
    """
    with tempfile.TemporaryDirectory(prefix="superionic-call-") as folder:
        store = Store(Path(folder))
        store.commit("0" * 64, {}, dict(inputs or {}))
        request: Request = {
            "store": folder,
            "key": "1" * 64,
            "descriptor": {},
            "function": function,
            "settings": dict(settings),
            "inputs": {name: {"task": "0" * 64, "path": [name]} for name in (inputs or {})},
        }
        worker = WorkerProcess(python, threads=threads)
        try:
            reply = worker.call(request, walltime_s=walltime_s)
        except (WorkerDied, TimeoutError) as error:
            raise EngineError(f"{function} did not answer: {error}", where=str(python)) from error
        finally:
            worker.close()
        if reply["state"] == "error":
            raise error_from_reply(reply, where=str(python))
        value = store.load("1" * 64)
    if isinstance(value, StoredFailure):
        raise CalculationFailed(value.reason, value.details)
    return value


def error_from_reply(reply: Reply, *, where: str | None = None) -> SuperionicError:
    """Turn an error reply into the exception that it stands for."""
    from superionic import errors

    kind = getattr(errors, str(reply.get("kind")), None)
    message = str(reply["message"])
    if isinstance(kind, type) and issubclass(kind, SuperionicError):
        return kind(message, where=reply.get("where") or where, fix=reply.get("fix"))
    error: SuperionicError = EngineError(message, where=where, fix="run again with --debug for the full traceback")
    if "No space left on device" in message:
        error = StorageError(message, where=where, fix="free some space and run the same command again")
    error.add_note(str(reply.get("traceback", "")))
    return error


def request_for(
    *,
    store: Path,
    key: str,
    descriptor: Mapping[str, Any],
    function: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Any],
    python: Path,
    threads: int,
    walltime_s: float | None,
) -> Request:
    """Assemble the plain data that :func:`execute` takes."""
    return {
        "descriptor": dict(descriptor),
        "function": function,
        "inputs": dict(inputs),
        "key": key,
        "python": str(python),
        "settings": dict(settings),
        "store": str(store),
        "threads": threads,
        "walltime_s": walltime_s,
    }


__all__: Sequence[str] = [
    "Reply",
    "Request",
    "WorkerDied",
    "WorkerProcess",
    "allow_workers",
    "call_once",
    "close_all_workers",
    "error_from_reply",
    "execute",
    "request_for",
    "serve",
]
