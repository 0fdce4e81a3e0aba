"""Each thing that is done to a run folder, alone: so small that a fault can be tried at every one of its calls.

``prepare`` makes the folder in which an operation is done, the operation is done in a process of its own (twice if the
first is ended by a fault), and ``demand`` sees that the folder is then as if nothing had happened.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from superionic.errors import storage_error
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.locks import run_lock
from superionic.execution.owner import Owner
from superionic.execution.store import Store, StoredFailure
from superionic.report.folder import report_folder

KEYS: Final = tuple(f"{n:02x}" + "5" * 62 for n in range(4))
VALUE: Final[dict[str, Any]] = {"energies": np.arange(6000.0), "name": "x"}
_DEAD: Final = Owner(Owner.current().host, Owner.current().boot, 4194304, 12345)


def commit(root: Path) -> None:
    """Store a result, a failure, and a result in the place of a failure."""
    store = Store(root)
    store.commit(KEYS[0], {"stage": "a"}, VALUE)
    store.commit(KEYS[1], {"stage": "b"}, StoredFailure("no", {}))
    store.commit(KEYS[2], {"stage": "c"}, VALUE)
    store.flush()


def forget(root: Path) -> None:
    """Forget a failure and a result, and store results in their places."""
    store = Store(root)
    for key in (KEYS[2], KEYS[3]):
        if store.outcome(key) is not None and store.load(key) != 2:
            store.forget(key)
        store.commit(key, {"stage": "d"}, 2)
    commit(root)


def set_aside(root: Path) -> None:
    """Meet a damaged result, a folder in the place of one and a result of format 1, and make them anew."""
    store = Store(root)
    for key in (KEYS[0], KEYS[3]):
        if not store.has(key):
            store.commit(key, {"stage": "a"}, VALUE)
    if store.load(KEYS[3])["name"] != "x":
        raise AssertionError("a result of format 1 was lost")
    commit(root)


def sweep(root: Path) -> None:
    """Sweep away what dead processes left, and use a scratch."""
    store = Store(root)
    store.prepare()
    store.sweep()
    try:
        store.scratch(KEYS[0]).rmdir()
    except OSError as error:
        raise storage_error(error, doing="use scratch, as a worker would say") from error
    commit(root)


def lease(root: Path) -> None:
    """Take the run folder, from a process that is gone, and give it back."""
    with run_lock(root):
        pass


def ledger(root: Path) -> None:
    """Note a run with two tasks."""
    with Ledger(root / LEDGER) as noted, noted.recorded_run("1"):
        for key in KEYS[:2]:
            noted.started(key, "stage", "label")
            noted.finished(key, "done", {"wall_s": 1.0})
        noted.adopted(KEYS[2], "stage", "label", "done")


def report(root: Path) -> None:
    """Write a report over an earlier one."""
    with report_folder(root / "report") as folder:
        folder.write("results.json", b"new" * 9000)
        with folder.aside() as aside:
            (aside / "figures").mkdir()
            (aside / "figures" / "a.svg").write_bytes(b"drawn")
        folder.write("tables/a.csv", b"1,2\n")


OPERATIONS: Final[dict[str, Callable[[Path], None]]] = {
    operation.__name__: operation for operation in (commit, forget, set_aside, sweep, lease, ledger, report)
}


def warm() -> None:
    """Import and do what is done only once in a process."""
    with tempfile.TemporaryDirectory(prefix="superionic-faults-") as folder:
        for number, (name, operation) in enumerate(OPERATIONS.items()):
            root = Path(folder, str(number))
            prepare(name, root)
            operation(root)


# ---- before ---------------------------------------------------------------------------------------------------------


def prepare(name: str, root: Path) -> None:
    """Make the folder that an operation finds."""
    root.mkdir(parents=True)
    if name == "commit":
        Store(root).commit(KEYS[2], {"stage": "c"}, StoredFailure("before", {}))
    elif name == "forget":
        Store(root).commit(KEYS[2], {"stage": "d"}, StoredFailure("before", {}))
        Store(root).commit(KEYS[3], {"stage": "d"}, 1)
    elif name == "set_aside":
        store = Store(root)
        store.commit(KEYS[0], {"stage": "a"}, VALUE)
        data = bytearray(store.path(KEYS[0]).read_bytes())
        data[100] ^= 4
        store.path(KEYS[0]).write_bytes(bytes(data))
        _write_format_1(store, KEYS[3])
        store.path(KEYS[1]).mkdir(parents=True)
    elif name == "sweep":
        Store(root).prepare()
        for what in ("part", "grave", "scratch-" + KEYS[0][:16]):
            left = root / "tmp" / f"{what}-{_DEAD}-{'0' * 32}"
            if what.startswith("scratch"):
                (left / "below").mkdir(parents=True)
                (left / "below" / "WAVECAR").write_text("x")
            else:
                left.write_text("x")
        (root / "progress" / f"{KEYS[0]}.json").write_text("{}")
        (root / "tmp" / "of somebody else").write_text("x")
    elif name == "lease":
        (root / "run.lease").write_text(str(_DEAD))
    elif name == "ledger":
        with Ledger(root / LEDGER) as noted, noted.recorded_run("0"):
            noted.started(KEYS[3], "stage", "earlier")
            noted.finished(KEYS[3], "done", {"wall_s": 2.0})
    elif name == "report":
        with report_folder(root / "report") as folder:
            folder.write("results.json", b"old")
            folder.write("figures/stale.png", b"old")
        (root / "report" / "mine.txt").write_text("of the user")


def _write_format_1(store: Store, key: str) -> None:
    import hashlib

    from superionic.execution import codec

    text, arrays = codec.encode(VALUE)
    files = {"task.json": b"{}\n", "result.json": text.encode(), "arrays.npz": arrays}
    folder = store.path(key).with_suffix("")
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sums = {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    (folder / "manifest.json").write_text(json.dumps({"key": key, "outcome": "value", "files": sums}))


# ---- after ----------------------------------------------------------------------------------------------------------


def content(root: Path) -> dict[str, bytes]:
    """Return what there is to be compared: everything but histories, locks, and what was set aside."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not _is_history(path.relative_to(root).parts[0]) and not _is_packed(path)
    }


def _is_history(top: str) -> bool:
    return top in ("damaged", "run.lock", "verified.txt") or top.startswith(LEDGER)


def _is_packed(path: Path) -> bool:
    """Whether a file is of a result of format 1 that has been packed; its folder goes last, and may stay."""
    return path.parent.with_suffix(".zip").is_file()


def earlier_is_known(root: Path) -> bool:
    """Tell whether the ledger still has what it had before the operation."""
    record = Ledger(root / LEDGER).record(KEYS[3])
    return record is not None and record.state == "done" and record.wall_s == 2.0


def is_sound(root: Path) -> bool:
    """Tell whether no file of the store pretends to be a result that it is not, whatever was interrupted."""
    if not (root / "objects").is_dir():
        return True
    (root / "verified.txt").unlink(missing_ok=True)
    store = Store(root, read_only=True)
    for key in KEYS:
        if store.outcome(key) is not None:
            store.load(key)
    return True


def clear(root: Path) -> None:
    """Do what the next run does first: sweep, in a process that is not the one that was ended."""
    if (root / "tmp").is_dir():
        Store(root).sweep()
