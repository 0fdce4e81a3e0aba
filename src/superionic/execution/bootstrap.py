"""Start a worker in any Python environment: ``python bootstrap.py PACKAGE_FOLDER PARENT STOPPED_LIMIT_S``.

An engine environment holds the engine's pins and nothing of ours. This file makes the one package ``superionic``
importable there from the folder that the core uses, and no other package of the core's environment, so that both
sides always run the same code and the engine keeps its own versions of everything else.

Two processes result. The first stays as small as it is now and becomes the *supervisor*; its child is the worker. All
processes that the worker starts stay below the supervisor, even those that leave its process group, its session or
their parent. The supervisor ends them all when the worker ends, when the process ``PARENT`` that started it ends, or on
a signal. If the supervisor itself is killed, the kernel ends the worker.

Where the kernel has neither death signals nor the adoption of orphans (anything but Linux), checks once a second
achieve the same, except for processes that have left their parent.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ORDERS = frozenset({signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT})
_WAKING = _ORDERS | {signal.SIGCHLD}
_POLL_S = 1.0
_ENDING_S = 10.0


def _main(package_folder: str, parent: int, stopped_limit_s: float) -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAKING)
    # The signal means that a thread of the parent ended, perhaps not the parent; so it only wakes the supervisor.
    kernel = _module("death_signal", Path(package_folder, "death_signal.py"))
    kernel.end_with_parent(signal.SIGCHLD)
    kernel.adopt_orphans()
    if os.getppid() != parent:
        raise SystemExit("the process that started this worker has ended")
    supervisor = os.getpid()
    worker = os.fork()
    if worker:
        os.close(0)  # so that a request to a worker that has ended fails at once
        _supervise(worker, parent, stopped_limit_s, kernel)
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if not kernel.end_with_parent():
        threading.Thread(target=_watch, args=(supervisor,), daemon=True).start()
    if os.getppid() != supervisor:
        return
    _provide_superionic(package_folder)
    from superionic.execution.worker import serve

    serve()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)


# ---- the supervisor -------------------------------------------------------------------------------------------------


def _supervise(worker: int, parent: int, stopped_limit_s: float, kernel: Any) -> None:
    """Wait for a reason to end, end all processes below, and report how the worker ended."""
    how: str | None = None
    ended: tuple[int, float] | None = None
    stopped_s: float | None = None
    before = time.monotonic()
    while how is None:
        order = _next_signal(_POLL_S)
        now = time.monotonic()
        # Time during which this process was stopped too (a suspended job) is not held against the worker.
        passed_s, before = min(now - before, 2 * _POLL_S), now
        stopped_s = None if stopped_s is None else stopped_s + passed_s
        for pid, status, peak_MB in _changes():
            if pid != worker:
                continue  # an adopted orphan has ended
            if os.WIFSTOPPED(status):
                stopped_s = 0.0
            elif os.WIFCONTINUED(status):
                stopped_s = None
            else:
                ended = os.waitstatus_to_exitcode(status), peak_MB
        if ended is not None:
            how = _description(*ended)
        elif order in _ORDERS or os.getppid() != parent:
            how = ""
        elif stopped_s is not None and stopped_s >= stopped_limit_s:
            how = f"it was stopped (SIGSTOP) for {stopped_limit_s:g} s"
    if ended is None:
        os.kill(worker, signal.SIGKILL)
    _end_all_below(kernel)
    if how:  # otherwise there is no reader
        with contextlib.suppress(OSError):
            os.set_blocking(1, False)
            # The worker may have been killed in the middle of a line.
            os.write(1, ("\n" + json.dumps({"state": "ended", "how": how}) + "\n").encode())


def _next_signal(timeout_s: float) -> int | None:
    if hasattr(signal, "sigtimedwait"):
        received = signal.sigtimedwait(_WAKING, timeout_s)
        return None if received is None else received.si_signo
    time.sleep(timeout_s / 10)
    return signal.sigwait(_WAKING) if signal.sigpending() & _WAKING else None


def _changes() -> Iterator[tuple[int, int, float]]:
    """Yield pid, status and peak memory in MB of all children that ended, stopped or continued."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                return
            yield pid, status, usage.ru_maxrss / 1024.0


def _description(code: int, peak_MB: float) -> str:
    if code >= 0:
        return f"exit code {code}"
    if code == -signal.SIGKILL:  # not by us
        return f"signal 9, as when memory runs out; its peak memory was {peak_MB:.0f} MB"
    return f"signal {-code}"


def _end_all_below(kernel: Any) -> None:
    """Kill and reap until no child is left. Each child that ends leaves its own children to this process."""
    own = str(os.getpid())
    latest = time.monotonic() + _ENDING_S  # a process that waits for a dead disk ends only when that answers
    while time.monotonic() < latest:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for child in kernel.all_processes():
            if kernel.status_of(child)[1:2] == [own]:
                with contextlib.suppress(OSError):
                    os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


# ---- the worker -----------------------------------------------------------------------------------------------------


def _provide_superionic(package_folder: str) -> None:
    folder = Path(package_folder)
    # The folder of this file is first in sys.path; its modules must not shadow top-level ones.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
    _module("superionic", folder / "__init__.py", [str(folder)])


def _module(name: str, file: Path, parts: list[str] | None = None) -> Any:
    """Import a module, or a package with its submodule folders, from its file."""
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=parts)
    if spec is None or spec.loader is None:
        raise SystemExit(f"superionic is missing: {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
