"""Worker processes: they run tasks in an engine's environment, one at a time, and stay warm.

The two sides speak JSON lines over pipes: a request names a task (function, settings, keys of its inputs, the store),
the reply says how it ended and what it cost. Results never cross the pipe: the worker reads its inputs from the store
and commits its result there, so a reply that is lost loses nothing.

Between the two sides stands a supervisor (see :mod:`superionic.execution.bootstrap`), which ends the worker and all
that it started with this process, on a signal, and after the worker's own end.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

from superionic.errors import CalculationFailed, EngineError, StageError, SuperionicError, storage_error
from superionic.execution.kept_files import with_stored_paths
from superionic.execution.owner import Owner
from superionic.execution.store import Store, StoredFailure
from superionic.execution.task import Context, TaskFunction, select
from superionic.execution.worker_process import Reply, Request, WorkerDied, WorkerProcess

PROGRESS_EVERY_S: Final = 2.0
"""Shortest interval between two progress reports of a task, in s."""

_OF_THE_MACHINE: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE}
    | {errno.ETIMEDOUT, errno.ENOTCONN, errno.ENOLCK, errno.EAGAIN}
)
_TRANSIENT: Final = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EAGAIN})


# ---- inside the worker process ------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests from standard input until it ends."""
    # Tasks and their children read from the null device and write to the log; requests and replies are ours alone.
    requests = os.fdopen(os.dup(0), "r")
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "rb") as null_device:  # noqa: PTH123 - its descriptor is needed
        os.dup2(null_device.fileno(), 0)
    os.dup2(2, 1)
    cache: dict[str, Any] = {}
    for line in requests:
        reply = _answer(json.loads(line), cache)
        replies.write(json.dumps(reply) + "\n")


def _answer(request: Request, cache: dict[str, Any]) -> Reply:
    began, cpu_before = time.monotonic(), _cpu_s()
    reply: Reply
    try:
        reply = {"state": _perform(request, cache)}
    except Exception as error:  # noqa: BLE001 - anything that a calculation raises must become a reply
        reply = _reply_of(error, request)
    peak_kB = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    wall_s = time.monotonic() - began
    reply["cost"] = {"wall_s": wall_s, "cpu_s": _cpu_s() - cpu_before, "peak_MB": peak_kB / 1024.0}
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if count := sum(name.strip() not in ("", "-1") for name in gpus):
        reply["cost"]["gpu_s"] = wall_s * count  # reserved for this worker, whether the task kept them busy or not
    return reply


def _reply_of(error: Exception, request: Request) -> Reply:
    """Distinguish errors that the user can mend, or that the machine caused, from bugs and unforeseen input."""
    system = error if isinstance(error, OSError) else error.__cause__
    number = system.errno if isinstance(system, OSError) else None
    known: SuperionicError | None = error if isinstance(error, SuperionicError) else None
    if known is None and isinstance(error, OSError) and number in _OF_THE_MACHINE:
        known = storage_error(error, doing="do this task")
    if known is None and isinstance(error, ImportError):
        known = _broken_environment(f"{type(error).__name__}: {error}", request, sys.executable)
    if known is None:
        message = "".join(traceback.format_exception_only(error)).strip()
        return {"state": "error", "kind": "unexpected", "message": message, "traceback": traceback.format_exc()}
    return {
        "state": "error",
        "kind": type(known).__name__,
        "message": known.message,
        "where": known.where,
        "fix": known.fix,
        "passing": number in _TRANSIENT,
    }


def _broken_environment(what: str, request: Request, python: str | Path) -> EngineError:
    engine = request.get("descriptor", {}).get("engine", {}).get("name", "core")
    reinstall = "install superionic again in the environment that it runs in"
    fix = reinstall if engine == "core" else f"superionic engines install {engine}"
    return EngineError(f"the environment of the engine {engine!r} is broken: {what}", where=str(python), fix=fix)


def _perform(request: Request, cache: dict[str, Any]) -> str:
    store: Store | None = cache.get(f"store:{request['store']}")
    if store is None:
        scratch_root = request.get("scratch_root")
        store = Store(
            Path(request["store"]),
            durable=request.get("durable", True),
            scratch_root=None if scratch_root is None else Path(scratch_root),
        )
        cache[f"store:{request['store']}"] = store
    key = request["key"]
    _demand_driver(request)
    if (before := store.outcome(key)) is not None:  # another worker has done it meanwhile
        return "failed" if before == "failure" else "done"
    module, _, name = request["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    if isinstance(function, TaskFunction):
        function = function.perform
    loaded: dict[str, Any] = {}
    _await(request["inputs"], store, time.monotonic() + float(request.get("visibility_s", 0.0)))
    inputs = {name: _resolve(value, store, loaded) for name, value in request["inputs"].items()}
    progress_file = store.progress_file(key)
    progress = _progress_writer(progress_file, float(request.get("progress_every_s", PROGRESS_EVERY_S)))
    context = _WorkerContext(partial(store.scratch, key), progress, cache)
    try:
        value = function(with_stored_paths(request["settings"]), inputs, context)
    except CalculationFailed as failure:
        _demand_driver(request)  # without one, its files may have been removed while it ran
        value = StoredFailure(failure.reason, failure.details)
    finally:
        if "scratch" in vars(context):
            shutil.rmtree(context.scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            progress_file.unlink(missing_ok=True)
    store.commit(key, request["descriptor"], value)
    return "failed" if isinstance(value, StoredFailure) else "done"


class _WorkerContext(Context):
    """A context whose scratch folder is made at its first use: most tasks need none, and it costs milliseconds."""

    def __init__(
        self, make_scratch: Callable[[], Path], progress: Callable[[float, str], None], cache: dict[str, Any]
    ) -> None:
        vars(self).update(progress=progress, cache=cache, make_scratch=make_scratch)

    @cached_property
    def scratch(self) -> Path:
        """A private folder, removed when the task ends."""
        make: Callable[[], Path] = vars(self)["make_scratch"]
        return make()


class _DriverGone(Exception):  # noqa: N818 - it names what happened
    """The run that requested this task has ended."""


def _demand_driver(request: Request) -> None:
    """Refuse to work for a run that is known to have ended; for a run on another machine that is not known."""
    driver = Owner.parse(str(request.get("driver")))
    if driver is not None and driver.is_gone:
        raise _DriverGone(f"the run that requested this task ({driver}) has ended")


def _await(inputs: Any, store: Store, latest: float) -> None:
    """Wait until the results that a task reads are visible here, at most until ``latest``."""
    if isinstance(inputs, Mapping) and "task" in inputs:
        while store.outcome(inputs["task"]) is None and time.monotonic() < latest:
            look_again(store, inputs["task"])
            time.sleep(0.5)
        return
    for value in inputs.values() if isinstance(inputs, Mapping) else inputs:
        _await(value, store, latest)


def look_again(store: Store, key: str) -> None:
    """Make a network file system ask its server whether a result exists, which listing a folder does."""
    with contextlib.suppress(OSError):
        list(store.path(key).parent.iterdir())


def _resolve(value: Any, store: Store, loaded: dict[str, Any]) -> Any:
    """Look up inputs; a result from which several parts are read is loaded once."""
    if isinstance(value, list):
        return [_resolve(item, store, loaded) for item in value]
    if value["task"] not in loaded:
        loaded[value["task"]] = store.load(value["task"])
    return select(loaded[value["task"]], value["path"])


def _progress_writer(path: Path, every_s: float) -> Callable[[float, str], None]:
    last = -every_s

    def write(fraction: float, message: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every_s:
            return
        last = now
        part = path.with_suffix(f".{os.getpid()}")
        try:
            part.write_text(json.dumps({"fraction": fraction, "message": message}))
            part.replace(path)
        except OSError:  # progress is a courtesy; the task continues without it
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    return write


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime + children.ru_utime + children.ru_stime


# ---- in the calling process ---------------------------------------------------------------------------------------

_slot = threading.local()
_open_workers: set[WorkerProcess] = set()
_open_workers_lock = threading.Lock()
_closing = threading.Event()


def execute(request: Request) -> Reply:
    """Run one task in the warm worker that this thread keeps for the task's environment.

    A plain function of plain data, so that any :class:`concurrent.futures.Executor` can run it, on this machine or on
    another that sees the same store. The task is tried once; retries are up to the runner. The ``walltime_s`` of the
    request counts from here, where the work is done.

    Returns
    -------
    dict
        ``state`` is ``done``, ``failed`` (the store has the reason) or ``error``. The ``kind`` of an error is the name
        of an exception of :mod:`superionic.errors` (with ``passing`` if another attempt may succeed, as when a file
        system did not answer), or ``unexpected``, ``WorkerDied`` or ``TimeoutError``.
    """
    workers: dict[tuple[str, int], WorkerProcess] = _slot.__dict__.setdefault("workers", {})
    address = (request["python"], int(request.get("threads", 1)))
    worker = workers.pop(address, None)
    if worker is not None and not worker.is_there:
        _close(worker)  # it died between two tasks
        worker = None
    began = time.monotonic()
    try:
        if worker is None:
            worker = _open(address, request)
        reply = worker.call(request, walltime_s=request.get("walltime_s"))
    except SuperionicError as error:
        reply = _reply_of(error, request)
    except TimeoutError as error:
        reply = {"state": "error", "kind": "TimeoutError", "message": str(error)}
    except WorkerDied as error:
        message = f"the worker process ended ({error.how})"
        reply = {"state": "error", "kind": "WorkerDied", "message": message, "last_words": error.last_words}
        if _closing.is_set():  # ended by us: nothing is wrong with the task
            reply = _reply_of(_ending(), request)
    reply.setdefault("cost", {"wall_s": time.monotonic() - began})
    if worker is not None:
        if reply.get("kind") in ("unexpected", "WorkerDied", "TimeoutError") or not worker.is_there:
            _close(worker)  # an unexpected exception leaves a warm worker in an unknown state
        else:
            workers[address] = worker
    return reply


def _open(address: tuple[str, int], request: Request) -> WorkerProcess:
    python, threads = address
    with _open_workers_lock:
        if _closing.is_set():
            raise _ending()
        try:
            worker = WorkerProcess(Path(python), threads=threads)
        except OSError as error:
            raise _cannot_start(error, request, python) from error
        _open_workers.add(worker)
    return worker


def _cannot_start(error: OSError, request: Request, python: str) -> SuperionicError:
    if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ENOEXEC, errno.ELOOP):
        return _broken_environment(f"its Python cannot be started ({error.strerror})", request, python)
    return storage_error(error, doing="start a worker process")


def _ending() -> StageError:
    return StageError("the run is ending; all finished work is kept", fix="run the same command again to continue")


@contextmanager
def all_workers_ended() -> Iterator[None]:
    """End every worker process that :func:`execute` started in this process; while the block runs, none is started.

    A task that is requested or running meanwhile ends with :class:`superionic.errors.StageError`, which is no failure
    of the task.
    """
    with _open_workers_lock:
        _closing.set()
        workers = list(_open_workers)
    try:
        for worker in workers:
            worker.signal_end()
        for worker in workers:
            _close(worker)
        yield
    finally:
        _closing.clear()


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
    worker: WorkerProcess | None = None,
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
    worker
        A warm worker of that environment, which is left running; without it, one is started and ended.

    Raises
    ------
    CalculationFailed
        If the function raised it.
    EngineError
        If the call failed in any other way.
    """
    with tempfile.TemporaryDirectory(prefix="superionic-call-") as folder:
        store = Store(Path(folder), durable=False)
        store.commit("0" * 64, {}, dict(inputs or {}))
        request: Request = {
            "store": folder,
            "key": "1" * 64,
            "descriptor": {},
            "function": function,
            "settings": dict(settings),
            "inputs": {name: {"task": "0" * 64, "path": [name]} for name in (inputs or {})},
            "durable": False,
        }
        try:
            process = worker or WorkerProcess(python, threads=threads)
        except OSError as error:
            raise EngineError(
                f"{function} cannot be run: {error.strerror or error}",
                where=str(error.filename or python),
                fix="install its engine again: superionic engines install NAME (`superionic engines list` shows them)",
            ) from error
        try:
            reply = process.call(request, walltime_s=walltime_s)
        except (WorkerDied, TimeoutError) as error:
            raise EngineError(f"{function} did not answer: {error}", where=str(python)) from error
        finally:
            if process is not worker:
                process.close()
        if reply["state"] == "error":
            raise error_from_reply(reply, where=str(python))
        value = store.load("1" * 64)
    if isinstance(value, StoredFailure):
        raise CalculationFailed(value.reason, value.details)
    return value


def error_from_reply(reply: Reply, *, where: str | None = None) -> SuperionicError:
    """Return the exception that an error reply stands for."""
    from superionic import errors

    kind = getattr(errors, str(reply.get("kind")), None)
    message = str(reply["message"])
    if isinstance(kind, type) and issubclass(kind, SuperionicError):
        return kind(message, where=reply.get("where") or where, fix=reply.get("fix"))
    error = EngineError(message, where=where, fix="run again with --debug for the full traceback")
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
    progress_every_s: float = PROGRESS_EVERY_S,
    visibility_s: float = 0.0,
    durable: bool = True,
) -> Request:
    """Assemble the plain data that :func:`execute` takes."""
    return {
        "descriptor": dict(descriptor),
        "driver": str(Owner.current()),
        "durable": durable,
        "function": function,
        "inputs": dict(inputs),
        "key": key,
        "progress_every_s": progress_every_s,
        "python": str(python),
        "settings": dict(settings),
        "store": str(store),
        "threads": threads,
        "visibility_s": visibility_s,
        "walltime_s": walltime_s,
    }


__all__: Sequence[str] = [
    "Reply",
    "Request",
    "WorkerDied",
    "WorkerProcess",
    "all_workers_ended",
    "call_once",
    "error_from_reply",
    "execute",
    "look_again",
    "request_for",
    "serve",
]
