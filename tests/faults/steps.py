"""Crash points and errors: a kill, half a write, or an error at each call by which files are used.

Each operation on a run folder is tried alone at every call. Whole campaigns are tried at each kind of call on each kind
of file, of driver and of workers, at one of them by lot. The short version tries some of all these, others with another
seed.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import operations
import subjects
from bench import Bench, Ended, Tally, result_files, run_folder
from interposed import Call, Fault

_LONGEST_S: Final = 60.0
_READING: Final = ("open", "read", "stat", "opendir", "statvfs")
_WRITING: Final = (
    "create",
    "write",
    "fsync",
    "truncate",
    "rename",
    "link",
    "unlink",
    "rmdir",
    "mkdir",
    "utime",
    "close",
)
_AT: Final[dict[str, tuple[str, ...]]] = {
    "ENOSPC": ("create", "write", "fsync", "truncate", "rename", "link", "mkdir", "close"),
    "EIO": (*_READING, *_WRITING),
    "ESTALE": (*_READING, *_WRITING),
    "ENOLCK": ("flock",),
    "EMFILE": ("open", "create", "opendir"),
    "EROFS": ("create", "rename", "link", "unlink", "rmdir", "mkdir", "utime"),
}
"""Calls at which an error is met."""


def crash_points(bench: Bench, tally: Tally) -> None:
    """Kill at every call of each operation and at calls of whole campaigns."""
    for name in operations.OPERATIONS:
        calls = list(enumerate(_calls_of_operation(bench, name), 1))
        for number, call in calls if bench.long else calls[bench.seed % 16 :: 16]:
            for action in ("kill", "half") if call.name == "write" else ("kill",):
                _try_operation(bench, tally, name, Fault(action, number), call)
    rng = np.random.default_rng(bench.seed)
    for role in ("driver", "worker"):
        for name in subjects.NAMES:
            kinds = _kinds(_calls_of_campaign(bench, name, role))
            for (call, part), count in _some(bench, kinds, 1):
                action = "half" if call == "write" and rng.random() < 0.5 else "kill"
                at = int(rng.integers(1, count + 1))
                _try_campaign(bench, tally, name, Fault(action, at, role, functions=(call,), part=part))


def errors(bench: Bench, tally: Tally) -> None:
    """Let every call of each operation fail, by each error that it can meet, and calls of whole campaigns."""
    for name in operations.OPERATIONS:
        calls = _calls_of_operation(bench, name)
        numbered = list(enumerate(calls, 1))
        for number, call in numbered if bench.long else numbered[bench.seed % 32 :: 32]:
            for error in _errors_at(call):
                for lasting in _lasting(bench, error):
                    fault = Fault("fail", number, error=getattr(errno, error), lasting=lasting, functions=_AT[error])
                    # Of the calls that this error can meet, it is the so-many-th.
                    same = sum(each.name in _AT[error] for each in calls[:number])
                    _try_operation(bench, tally, name, _numbered(fault, same), call)
            if call.name == "write":
                _try_operation(bench, tally, name, Fault("short", number), call)
    rng = np.random.default_rng(bench.seed)
    for role in ("driver", "worker"):
        for name in subjects.NAMES:
            kinds = _kinds(_calls_of_campaign(bench, name, role))
            for (call, part), count in _some(bench, kinds, 1):
                error, lasting = str(rng.choice(_errors_at(Call(call, part)))), bool(rng.random() < 0.5)
                functions = _AT[error] if lasting else (call,)
                at, number = int(rng.integers(1, count + 1)), getattr(errno, error)
                fault = Fault("fail", at, role, number, functions, "" if lasting else part, lasting)
                _try_campaign(bench, tally, name, fault)


def _errors_at(call: Call) -> list[str]:
    return [error for error, functions in _AT.items() if call.name in functions]


def _lasting(bench: Bench, error: str) -> tuple[bool, ...]:
    """Return whether an error stays: a full disk does, a stale handle may not."""
    return (False, True) if bench.long else (error in ("ENOSPC", "EROFS", "ENOLCK"),)


def _numbered(fault: Fault, number: int) -> Fault:
    from dataclasses import replace

    return replace(fault, at=number)


def _kinds(calls: Sequence[Call]) -> list[tuple[tuple[str, str], int]]:
    """Return the kinds of call on each kind of file, and how often each is met."""
    return sorted(Counter((call.name, _part(call.path)) for call in calls).items())


def _part(path: str) -> str:
    """Return what the paths of a kind of file have in common."""
    for part in (
        "/tmp/part-", "/tmp/scratch-", "/tmp/grave-", "/tmp/probe-", "/tmp", "/progress", "/objects/", "/objects",
        "/verified.txt", "/damaged", "/history.jsonl", "/run.lock", "/run.lease", "/report/",
    ):  # fmt: skip
        if part in path:
            return part
    return ""


def _some(bench: Bench, values: list[Any], count: int) -> list[Any]:
    """Return all in the long version, and so many, evenly spread, in the short one."""
    if bench.long or len(values) <= count:
        return values
    shift = bench.seed % (len(values) // count)
    return [values[shift + n * len(values) // count] for n in range(count)]


# ---- operations -----------------------------------------------------------------------------------------------------


def _calls_of_operation(bench: Bench, name: str) -> list[Call]:
    root = bench.folder()
    operations.prepare(name, root)
    bench.interposed.watch("driver", root)
    ended = _operate(bench, name, root)
    calls = bench.interposed.seen()
    shutil.rmtree(root)
    if ended.code != 0 or not calls:
        raise RuntimeError(f"the operation {name} does not work undisturbed: {ended.said}")
    return calls


def _operate(bench: Bench, name: str, root: Path) -> Ended:
    run = bench.drivers(-1).start(operation=name, root=str(root))
    ended = run.wait(_LONGEST_S)
    if ended is None:
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        return Ended(-signal.SIGKILL, f"it did not end within {_LONGEST_S:g} s")
    return ended


def _expected(bench: Bench, name: str) -> dict[str, bytes]:
    root = bench.root / f"expected-{name}"
    if not root.exists():
        operations.prepare(name, root)
        _operate(bench, name, root)
    return operations.content(root)


def _try_operation(bench: Bench, tally: Tally, name: str, fault: Fault, call: Call) -> None:
    expected = _expected(bench, name)
    root = bench.folder()
    operations.prepare(name, root)
    bench.interposed.arm(fault, root)
    disturbed = _operate(bench, name, root)
    at = bench.interposed.disarm()
    error = errno.errorcode.get(fault.error, "")
    case = f"{name}: {fault.action} {error}{' from then on' if fault.lasting else ''} at {fault.at} ({at or call})"
    tally.number += bool(at)
    if fault.action in ("kill", "half"):
        if at and disturbed.code != -signal.SIGKILL:
            tally.wrong("wordless", f"{case}: it ended with {disturbed.code}")
    elif not disturbed.in_words:
        tally.wrong("wordless", f"{case}: {disturbed.code} {disturbed.said[-600:]}")
    try:
        operations.is_sound(root)
    except Exception as problem:  # noqa: BLE001 - whatever the store says of what is there
        tally.wrong("changed", f"{case}: {problem}")
    again = _operate(bench, name, root)
    if again.code != 0:
        tally.wrong("manual", f"{case}: {again.said[-600:]}")
    operations.clear(root)
    now = operations.content(root)
    tally.wrong("lost", f"{case}: {sorted(set(expected) - set(now))}", len(set(expected) - set(now)))
    tally.wrong("left", f"{case}: {sorted(set(now) - set(expected))}", len(set(now) - set(expected)))
    other = [file for file in now if file in expected and now[file] != expected[file]]
    tally.wrong("changed", f"{case}: {other}", len(other))
    if name == "ledger" and not operations.earlier_is_known(root):
        tally.wrong("lost", f"{case}: what the ledger knew before")
    shutil.rmtree(root)


# ---- campaigns ------------------------------------------------------------------------------------------------------


def _calls_of_campaign(bench: Bench, name: str, role: str) -> list[Call]:
    with bench.campaign(name) as path:
        bench.interposed.watch(role, path.parent)
        ended = bench.run(path)
        calls = bench.interposed.seen()
    if ended.code != 0 or not calls:
        raise RuntimeError(f"the campaign does not work undisturbed: {ended.said}")
    return calls


def _try_campaign(bench: Bench, tally: Tally, name: str, fault: Fault) -> None:
    with bench.campaign(name) as path:
        bench.interposed.arm(fault, path.parent)
        ended = bench.run(path)
        at = bench.interposed.disarm()
        error = errno.errorcode.get(fault.error, "")
        what = f"{fault.action} {error}{' from then on' if fault.lasting else ''} at {fault.at}"
        case = f"{name}, {fault.role}: {what} ({at or (fault.functions, fault.part)})"
        tally.number += bool(at)
        if fault.action in ("kill", "half") and fault.role == "driver":
            if at and ended.code != -signal.SIGKILL:
                tally.wrong("wordless", f"{case}: it ended with {ended.code}")
        elif not ended.in_words:
            tally.wrong("wordless", f"{case}: {ended.code} {ended.said[-800:]}")
        before = result_files(run_folder(path.parent))
        ended = bench.run(path)
        if ended.code != 0:
            tally.wrong("manual", f"{case}: the same command ended with {ended.code}: {ended.said[-300:]}")
            return
        bench.look(tally, name, path, case, before)
