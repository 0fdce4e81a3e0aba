"""Tests of what a campaign needs, before it needs it: Python, engines, disk, locks, GPU, scheduler, and nodes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from superionic.errors import SuperionicError
from superionic.execution.engines import CORE, list_engines
from superionic.execution.home import superionic_home
from superionic.execution.runner import Slots
from superionic.execution.sites import slurm
from superionic.execution.sites.base import SiteRun, find_opener, open_site
from superionic.execution.sites.site_file import KINDS, Kind, Site
from superionic.execution.store import Store
from superionic.execution.worker import execute, request_for

State = Literal["ok", "warn", "fail"]

_LEAST_FREE_GB: Final = 5.0
_LITTLE_MEMORY_GB: Final = 4.0
_SLOW_FSYNC_MS: Final = 50.0
_SYNCS: Final = 20
_ENGINE_OF: Final[dict[Kind, str]] = {"core": CORE, "potential": "a potential", "dft": "gpaw"}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table.

    Attributes
    ----------
    state
        ``ok``, ``warn`` (it works, but) or ``fail``.
    what, seen, fix
        What was tested, the outcome, and the remedy; the last is empty where none is needed.
    """

    state: State
    what: str
    seen: str
    fix: str = ""


def examine(site: Site | None, folder: Path, *, probe_wait_s: float | None) -> list[Finding]:
    """Test everything, and return the findings.

    Parameters
    ----------
    site
        A site file, whose scheduler and jobs are tested too.
    folder
        Where run folders will be; test files are written there, and removed.
    probe_wait_s
        How long a task in a job of each kind may take, in s; None to run none.
    """
    findings = [*_python(), *_engines(), *_gpu(), *_disk(folder)]
    if site is not None:
        findings += _scheduler(site)
        if probe_wait_s is not None and all(finding.state != "fail" for finding in findings):
            findings += _probes(site, folder, probe_wait_s)
    return findings


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", "Python", f"{version} at {sys.executable}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        memory_GB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        yield Finding("ok", "machine", f"{cores} cores")
        return
    few = memory_GB < _LITTLE_MEMORY_GB
    fix = "use fewer workers: a potential takes one to three GB each" if few else ""
    yield Finding("warn" if few else "ok", "machine", f"{cores} cores, {memory_GB:.0f} GB of memory", fix)


def _engines() -> Iterator[Finding]:
    yield Finding("ok", "engines are kept in", str(superionic_home()))
    absent = []
    for status in list_engines():
        if status.state in ("current", "installed"):
            # An environment has its record only after it reproduced the values on record.
            how = "in this Python" if status.state == "current" else "installed, and proved when it was"
            yield Finding("ok", f"engine {status.name}", f"{status.requirement} {how}")
        elif status.state == "absent":
            absent.append(status.name)
        else:
            fix = f"superionic engines install {status.name}"
            yield Finding("warn", f"engine {status.name}", f"{status.requirement} is {status.state}", fix)
    if absent:
        fix = "superionic engines install NAME, for those that a campaign needs"
        yield Finding("ok", "engines not installed", ", ".join(absent), fix)


def _gpu() -> Iterator[Finding]:
    if shutil.which("nvidia-smi") is None:
        yield Finding("ok", "GPU of this machine", "none; potentials run on its cores")
        return
    try:
        query = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30.0,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("warn", "GPU of this machine", f"nvidia-smi: {error}", "ask who runs the machine for its driver")
        return
    yield Finding("ok", "GPU of this machine", "; ".join(query.stdout.split("\n")).strip("; "))


def _disk(folder: Path) -> Iterator[Finding]:
    check = f"disk of {folder}"
    try:
        free_GB = shutil.disk_usage(folder).free / 1e9
        low = free_GB < _LEAST_FREE_GB
        yield Finding("warn" if low else "ok", check, f"{free_GB:.0f} GB free", "free some space" if low else "")
        with tempfile.TemporaryDirectory(prefix="superionic-doctor-", dir=folder) as scratch:
            yield from _writing(Path(scratch))
            yield _locks(Path(scratch))
    except OSError as error:
        yield Finding(
            "fail", check, f"cannot be used: {error.strerror or error}", "choose a folder that you may write to"
        )


def _writing(folder: Path) -> Iterator[Finding]:
    times = []
    for count in range(_SYNCS):
        began = time.perf_counter()
        draft, final = folder / "draft", folder / f"final-{count}"
        with draft.open("wb") as file:
            file.write(b"0" * 4096)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(final)
        times.append(1e3 * (time.perf_counter() - began))
        if not final.exists() or draft.exists():
            fix = "choose another file system: results appear by renaming"
            yield Finding("fail", "renaming files", "the new name does not show at once", fix)
            return
    typical_ms = sorted(times)[len(times) // 2]
    slow = typical_ms > _SLOW_FSYNC_MS
    fix = "set `durable: false` in the campaign's `execution`, or choose another disk" if slow else ""
    yield Finding("warn" if slow else "ok", "writing a result to the disk", f"{typical_ms:.1f} ms each", fix)


def _locks(folder: Path) -> Finding:
    try:
        with (folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        fix = "nothing need be done: a lease, renewed every few seconds, stands in for the lock"
        return Finding("warn", "file locks", f"not here ({error.strerror})", fix)
    return Finding("ok", "file locks", "work")


def _scheduler(site: Site) -> Iterator[Finding]:
    try:
        find_opener(site.pool)
        yield Finding("ok", "executor of tasks", f"{site.pool} can be used")
    except SuperionicError as error:
        yield Finding("fail", "executor of tasks", error.message, error.fix or "")
    if site.scheduler != "slurm":
        return
    if not slurm.is_there():
        fix = "call this on a login node of the cluster, or set `scheduler: local` for a trial"
        yield Finding("fail", "Slurm", "its commands are not on this machine", fix)
        return
    listed = slurm.jobs()
    if listed is None:
        yield Finding(
            "fail", "Slurm", "its controller does not answer (squeue)", "try later, or ask who runs the cluster"
        )
        return
    yield Finding("ok", "Slurm", f"answers; {sum(not job.ended for job in listed.values())} jobs of superionic's")
    partitions = slurm.partitions()
    for name in sorted({site.queue_of(site.block(kind)[1]).partition or "" for kind in KINDS} - {""}):
        fits = name in partitions
        fix = "" if fits else f"choose one of {', '.join(sorted(partitions))}"
        yield Finding("ok" if fits else "fail", f"partition {name}", partitions.get(name, "there is none"), fix)


def _probes(site: Site, folder: Path, wait_s: float) -> Iterator[Finding]:
    """Run one task through a job of each kind, all at the same time."""
    with tempfile.TemporaryDirectory(prefix="superionic-doctor-", dir=folder) as scratch:
        root = Path(scratch).resolve()
        store = Store(root / "store", durable=False)
        store.prepare()
        messages: list[str] = []
        kinds = [kind for kind in KINDS if site.block(kind)[0] == kind]
        try:
            with open_site(SiteRun(site, root, Slots(1), messages.append)) as place:
                began = time.monotonic()
                futures = {}
                for number, kind in enumerate(kinds):
                    request = request_for(
                        store=store.root,
                        key=f"{number:064x}",
                        descriptor={"engine": {"name": _ENGINE_OF[kind]}},
                        function="superionic.execution.probes:look_around",
                        settings={"seconds": 0.0},
                        inputs={},
                        python=Path(sys.executable),
                        threads=1,
                        walltime_s=None,
                    )
                    futures[kind] = request["key"], place.executor.submit(execute, request)
                for kind, (key, future) in futures.items():
                    yield _probed(kind, key, future, store, max(0.0, began + wait_s - time.monotonic()))
        except SuperionicError as error:
            yield Finding("fail", "a task in a job", error.message, error.fix or "")
        for line in dict.fromkeys(messages):
            yield Finding("warn", "the scheduler", line)


def _probed(kind: Kind, key: str, future: object, store: Store, wait_s: float) -> Finding:
    from concurrent.futures import Future

    if not isinstance(future, Future):
        raise TypeError("an executor gives futures")
    check = f"a task in a job of `{kind}`"
    try:
        reply = future.result(timeout=wait_s)
    except NotInTime:
        return Finding("warn", check, "waited in the queue too long", "give it longer with --wait, or ask for less")
    except SuperionicError as error:
        return Finding("fail", check, error.message, error.fix or "")
    except Exception as error:  # noqa: BLE001 - whatever an engine raises for a lost machine
        return Finding("fail", check, f"the job was lost: {error}", "see the logs in the run folder's `site`")
    if reply["state"] != "done":
        return Finding("fail", check, str(reply.get("message")), str(reply.get("fix") or ""))
    node = store.load(key)
    gpus = f", GPU {node['gpu']}" if node["gpu"] else ""
    return Finding("ok", check, f"ran on {node['host']} with {node['cores']} cores{gpus}, scratch {node['scratch']}")
