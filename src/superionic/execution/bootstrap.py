"""Start a worker in any Python environment: ``python bootstrap.py PACKAGE_FOLDER PARENT STOPPED_LIMIT_S``.

An engine environment holds the engine's pins and nothing of ours. This file makes the one package ``superionic``
importable there from the folder that the core uses, and no other package of the core's environment, so that both
sides always run the same code and the engine keeps its own versions of everything else.

Two processes come of it. The first stays as small as it is now and becomes the *supervisor*, its child the worker.
Whatever the worker starts is below the supervisor too, also what left its process group, its session or its parent, and
the supervisor sees to it that all of it ends: with the worker, with the process ``PARENT`` that asked for it, or on a
signal. The kernel ends the worker if the supervisor is killed itself.

Where the kernel knows neither death signals nor the adoption of orphans (anything but Linux), the same is reached by
looking every second, but for what left its parent.
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
    # The signal means that a thread ended, which need not be the end of the parent; so it only wakes the supervisor.
    kernel = _module("death_signal", Path(package_folder, "death_signal.py"))
    kernel.end_with_parent(signal.SIGCHLD)
    kernel.adopt_orphans()
    if os.getppid() != parent:
        raise SystemExit("the process that asked for this worker is gone")
    supervisor = os.getpid()
    worker = os.fork()
    if worker:
        os.close(0)  # so that a request to a worker that has ended is refused
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
    """Wait until there is a reason to end, end everything below, and say how the worker ended."""
    how: str | None = None
    ended: tuple[int, float] | None = None
    stopped_s: float | None = None
    before = time.monotonic()
    while how is None:
        order = _next_signal(_POLL_S)
        now = time.monotonic()
        # Of time that this process was stopped itself (a suspended job), the worker is not to blame for having been so.
        passed_s, before = min(now - before, 2 * _POLL_S), now
        stopped_s = None if stopped_s is None else stopped_s + passed_s
        for pid, status, peak_MB in _changes():
            if pid != worker:
                continue  # an orphan that had come to us has ended
            if os.WIFSTOPPED(status):
                stopped_s = 0.0
            elif os.WIFCONTINUED(status):
                stopped_s = None
            else:
                ended = os.waitstatus_to_exitcode(status), peak_MB
        if ended is not None:
            how = _in_words(*ended)
        elif order in _ORDERS or os.getppid() != parent:
            how = ""
        elif stopped_s is not None and stopped_s >= stopped_limit_s:
            how = f"it was stopped (SIGSTOP) for {stopped_limit_s:g} s"
    if ended is None:
        os.kill(worker, signal.SIGKILL)
    _end_all_below(kernel)
    if how:  # otherwise nobody is there to read it
        with contextlib.suppress(OSError):
            os.set_blocking(1, False)
            # The worker may have been killed in the middle of a line.
            os.write(1, ("\n" + json.dumps({"state": "ended", "how": how}) + "\n").encode())


def _next_signal(timeout_s: float) -> int | None:
    if hasattr(signal, "sigtimedwait"):
        news = signal.sigtimedwait(_WAKING, timeout_s)
        return None if news is None else news.si_signo
    time.sleep(timeout_s / 10)
    return signal.sigwait(_WAKING) if signal.sigpending() & _WAKING else None


def _changes() -> Iterator[tuple[int, int, float]]:
    """Yield pid, status and largest memory in MB of all children that ended, were stopped or went on."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if pid == 0:
                return
            yield pid, status, usage.ru_maxrss / 1024.0


def _in_words(code: int, peak_MB: float) -> str:
    if code >= 0:
        return f"exit code {code}"
    if code == -signal.SIGKILL:  # not by us
        return f"signal 9, as when memory runs out; its largest memory was {peak_MB:.0f} MB"
    return f"signal {-code}"


def _end_all_below(kernel: Any) -> None:
    """Kill and reap until there is no child any more. Each child that ends leaves its own children to us."""
    own = str(os.getpid())
    latest = time.monotonic() + _ENDING_S  # a process that waits for a dead disk ends when that answers
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
    # The folder of this very file heads sys.path; its modules must not shadow top-level ones.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
    _module("superionic", folder / "__init__.py", [str(folder)])


def _module(name: str, file: Path, parts: list[str] | None = None) -> Any:
    """Import a module, or a package with its parts, from its file."""
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=parts)
    if spec is None or spec.loader is None:
        raise SystemExit(f"superionic cannot be found: {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
