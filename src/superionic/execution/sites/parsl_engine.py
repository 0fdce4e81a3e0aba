"""Pilot jobs by Parsl's HighThroughputExecutor: each job runs one task after the other.

The executor provides an interchange process that knows which workers are free, encrypted messages, heartbeats, and as
many jobs as there is work for. This module works around what goes wrong with it:

- a killed driver leaves the interchange, and so its jobs, alive: here the interchange dies with this process;
- an interchange that dies leaves every future open: here it is watched, and its tasks are reported as lost;
- a job that the scheduler has forgotten keeps its last state: here a job that squeue does not list has ended;
- refused jobs are requested again for ever: here the run ends with the message of sbatch after several refusals;
- jobs of a killed driver keep running: here the next driver cancels those of its run folder.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.jobs.job_status_poller import JobStatusPoller
from parsl.jobs.states import JobState, JobStatus
from parsl.launchers import SimpleLauncher
from parsl.providers.cluster_provider import ClusterProvider
from parsl.utils import Timer

from superionic.errors import EngineError, SuperionicError
from superionic.execution.runner import Slots
from superionic.execution.sites import slurm
from superionic.execution.sites.base import SiteRun, TaskPool, kind_of
from superionic.execution.sites.job_script import block_script
from superionic.execution.sites.node import execute_many, execute_on_node
from superionic.execution.sites.packing import pack_engine
from superionic.execution.worker import Request, execute

if TYPE_CHECKING:
    from superionic.execution.sites.site_file import Block, Kind

_STRATEGY_S: Final = 2.0
_IDLE_S: Final = 60.0
_LONGEST_WAIT_S: Final = 300.0
_ASK_AGAIN_S: Final = 20.0
_AHEAD: Final = 2  # messages sent per worker: one being worked on, one waiting
_BATCH: Final = 16  # most tasks in one message
_BATCH_S: Final = 5.0
_SUBMITTED: Final = 8  # tasks submitted per worker, so that short ones can share messages
_KEPT_LOGS: Final = 5
_STATES: Final = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.HELD,
    "SUSPENDED": JobState.HELD,
    "STOPPED": JobState.HELD,
    "CANCELLED": JobState.CANCELLED,
    "COMPLETED": JobState.COMPLETED,
    "TIMEOUT": JobState.TIMEOUT,
    "PREEMPTED": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
}


@contextmanager
def open_parsl(run: SiteRun) -> Iterator[TaskPool]:
    """Provide the workers of a site through Parsl.

    Raises
    ------
    EngineError
        If the site file names Slurm, and this machine lacks its commands.
    """
    if run.site.scheduler == "slurm":
        if not slurm.is_there():
            raise EngineError(
                "the commands of Slurm were not found on this machine",
                where="scheduler in the site file",
                fix="run on a login node of the cluster, or set `scheduler: local` for a trial here",
            )
        _cancel_leftover_jobs(run)
    executor = ParslExecutor(run)
    try:
        slots = Slots(_SUBMITTED * run.site.workers, run.slots.threads)
        yield TaskPool(executor, slots, run.site.visibility_s, run.site.progress_every_s)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _cancel_leftover_jobs(run: SiteRun) -> None:
    """Cancel the jobs that an earlier driver of this run folder left; retry while the scheduler does not answer."""
    latest = time.monotonic() + _LONGEST_WAIT_S
    while True:
        try:
            left = slurm.cancel_all(slurm.name_of(run.run_folder, "tasks."))
        except EngineError as error:
            if time.monotonic() > latest:
                raise
            run.say(f"{error.message}; trying again")
            time.sleep(_ASK_AGAIN_S)
        else:
            if left:
                run.say(f"cancelled {len(left)} jobs that an earlier run of this folder had left")
            return


class ParslExecutor(Executor):
    """Submits tasks to jobs of their kind, which are requested when the first task of the kind arrives.

    Parameters
    ----------
    run
        The site, the run folder, and the receiver of messages.
    """

    def __init__(self, run: SiteRun) -> None:
        self._run = run
        self._logs = _new_log_folder(run.run_folder)
        self._pools: dict[str, _Pool] = {}
        self._packs: dict[str, Path | None] = {}
        self._closed = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``function`` on a node; tasks (``submit(execute, request)``) run in jobs of their kind."""
        if self._closed:
            raise RuntimeError("the executor was shut down")
        if function is not execute or len(args) != 1:
            return self._pool("core").call(function, *args, **kwargs)
        request = args[0]
        pool = self._pool(kind_of(request))
        site = self._run.site
        request = dict(request)
        if site.durable is not None:
            request["durable"] = site.durable
        if pool.block.threads is not None:
            request["threads"] = pool.block.threads
        if site.pack_engines and (pack := self._pack(request["python"])) is not None:
            request["pack"] = str(pack)
        return pool.perform(request)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all jobs and the processes that send them tasks."""
        self._closed = True
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def _pool(self, kind: Kind) -> _Pool:
        name, block = self._run.site.block(kind)
        pool = self._pools.get(name)
        if pool is not None and pool.broken:
            pool.close()
            pool = None
        if pool is None:
            pool = self._pools[name] = _Pool(self._run, name, block, self._logs)
        return pool

    def _pack(self, python: str) -> Path | None:
        if python not in self._packs:
            self._packs[python] = pack_engine(Path(python))
        return self._packs[python]


class _Pool:
    """The jobs of one kind."""

    def __init__(self, run: SiteRun, name: str, block: Block, logs: Path) -> None:
        self.block = block
        self._say = run.say
        self._jobs = (SlurmJobs if run.site.scheduler == "slurm" else LocalJobs)(run, name, block, logs / name)
        self._htex = _start(run, name, block, self._jobs, logs, self._judge)
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Request, Future[Any]]] = deque()
        self._open: set[Future[Any]] = set()
        self._messages = 0
        self._closing = False
        self.broken = False
        self._poller = JobStatusPoller(strategy="htex_auto_scale", max_idletime=_IDLE_S, strategy_period=_STRATEGY_S)
        self._poller.add_executors([self._htex])
        threading.Thread(target=self._watch, name=f"interchange-{name}", daemon=True).start()

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Run any function on a node."""
        future: Future[Any] = Future()
        with self._lock:
            self._open.add(future)
        self._send(function, args, kwargs, partial(self._settle, future))
        return future

    def perform(self, request: Request) -> Future[Any]:
        """Run a task; tasks that must wait for a worker anyway share messages."""
        future: Future[Any] = Future()
        with self._lock:
            self._open.add(future)
            self._waiting.append((request, future))
        self._send_waiting()
        return future

    def close(self) -> None:
        """End the jobs, the interchange, and the futures that are still open."""
        self._closing = True
        # Not the poller's own close, which may wait for ever for an answer from a dead interchange.
        Timer.close(self._poller, timeout=0.0 if self.broken else 2 * slurm.TIMEOUT_S)
        self._jobs.end_all()
        with suppress(Exception):  # the sockets of an interchange that may be dead
            self._htex.shutdown(timeout=5.0)
        self._fail_all(BrokenExecutor("the executor was shut down"))

    # ---- messages ---------------------------------------------------------------------------------------------------

    def _send_waiting(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._messages >= _AHEAD * self.block.workers:
                    return
                share = math.ceil(len(self._waiting) / (_AHEAD * self.block.workers))
                batch = [self._waiting.popleft() for _ in range(min(share, _BATCH, len(self._waiting)))]
                self._messages += 1
            requests = [request for request, _ in batch]
            if len(batch) == 1:
                self._send(execute_on_node, (requests[0],), {}, partial(self._answered, batch))
            else:
                self._send(execute_many, (requests, _BATCH_S), {}, partial(self._answered, batch))

    def _send(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], then: Callable[[Any], None]
    ) -> None:
        try:
            sent = self._htex.submit(function, {}, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - any exception becomes that of the future
            sent = Future()
            sent.set_exception(error)
        sent.add_done_callback(then)

    def _answered(self, batch: list[tuple[Request, Future[Any]]], done: Future[Any]) -> None:
        with self._lock:
            self._messages -= 1
        if done.exception() is not None or len(batch) == 1:
            for _, future in batch:
                self._settle(future, done)
        else:
            not_started = []
            for (request, future), reply in zip(batch, done.result(), strict=True):
                if reply is None:
                    not_started.append((request, future))
                else:
                    self._settle(future, reply=reply)
            with self._lock:
                self._waiting.extendleft(reversed(not_started))
        self._send_waiting()

    def _settle(self, future: Future[Any], done: Future[Any] | None = None, *, reply: Any = None) -> None:
        with self._lock:
            if future not in self._open:
                return
            self._open.discard(future)
        error = None if done is None else done.exception()
        if error is not None:
            # If no jobs are to be had, the executor raises a substitute for our own exception.
            future.set_exception(self._htex.executor_exception if self._htex.bad_state_is_set else error)
        else:
            future.set_result(reply if done is None else done.result())

    def _fail_all(self, error: Exception) -> None:
        with self._lock:
            waiting, self._open = list(self._open), set()
            self._waiting.clear()
        for future in waiting:
            future.set_exception(error)

    # ---- watching ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._htex.interchange_proc.wait()
        if not self._closing:
            self.broken = True
            self._fail_all(BrokenExecutor("the process that sends tasks to the jobs has ended"))

    def _judge(self, htex: Any, status: dict[str, JobStatus]) -> None:
        """End the run if all jobs are refused, or if one after the other ends before a worker reports."""
        if self._closing or htex.bad_state_is_set:
            return
        alive = any(not each.terminal for each in status.values())
        if self._jobs.refused and not alive:
            if self._jobs.refused >= self._jobs.allowed:
                self._give_up(htex, slurm.refusal(self._jobs.refusal))
            return
        last = [status[block] for block in sorted(status, key=int)][-self._jobs.allowed :]
        last = [
            each for each in last if each.state != JobState.FAILED or each.exit_code is not None or not each.message
        ]
        if not alive and len(last) == self._jobs.allowed and all(each.state == JobState.MISSING for each in last):
            self._give_up(
                htex,
                EngineError(
                    f"{len(last)} jobs in a row ended before any of their workers reported; output of the last one: "
                    f"{self._jobs.last_words() or 'nothing'}",
                    where=str(self._jobs.folder),
                    fix="check that nodes have this folder and this Python, and that the lines of `setup` work",
                ),
            )

    def _give_up(self, htex: Any, error: SuperionicError) -> None:
        htex.set_bad_state_and_fail_all(error)
        self._fail_all(error)


class _Executor(HighThroughputExecutor):  # type: ignore[misc]  # Parsl has no types
    """Parsl's executor, except that it ends no job for idleness while that still waits in the queue."""

    def scale_in(self, blocks: int, max_idletime: float | None = None) -> list[str]:
        """End ``blocks`` jobs; with ``max_idletime`` (in s), at most as many, of those idle for longer."""
        if max_idletime is None:
            ended: list[str] = super().scale_in(blocks)
            return ended
        busy: set[str] = set()
        idle: dict[str, float] = {}
        for manager in self.connected_managers():
            name = manager["block_id"]
            if manager["active"] and name in self.blocks_to_job_id:
                idle[name] = min(manager["idle_duration"], idle.get(name, math.inf))
                if manager["tasks"] or manager["idle_duration"] <= max_idletime:
                    busy.add(name)
        longest_idle = sorted(idle.keys() - busy, key=lambda name: (-idle[name], name))[: max(0, blocks)]
        for name in longest_idle:
            self._hold_block(name)
        if longest_idle:
            self.provider.cancel([self.blocks_to_job_id[name] for name in longest_idle])
        return longest_idle


class _Jobs(ClusterProvider):  # type: ignore[misc]  # Parsl has no types
    """Jobs of one kind, in the form that Parsl requests them."""

    def __init__(self, run: SiteRun, name: str, block: Block, folder: Path) -> None:
        super().__init__(
            label=name,
            nodes_per_block=block.nodes,
            init_blocks=0,
            min_blocks=block.min_jobs,
            max_blocks=block.max_jobs,
            parallelism=1.0,
            walltime="00:00:00",  # stated in the script
            launcher=SimpleLauncher(),
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.allowed = run.site.refusals
        self.refused = 0
        self.refusal = ""
        self._site, self._block, self._say = run.site, block, run.say
        self._name = slurm.name_of(run.run_folder, f"tasks.{name}")
        self._count = 0
        self._not_before = 0.0
        self._closed = threading.Event()

    @property
    def status_polling_interval(self) -> float:
        """Interval in s between two queries about the jobs."""
        return float(self._site.poll_s)

    def submit(self, command: str, tasks_per_node: int, job_name: str = "") -> str:
        """Submit one more job and return its id."""
        if self._closed.is_set() or time.monotonic() < self._not_before:
            raise slurm.SbatchRefused(self.refusal)
        self._count += 1
        script, log = self.folder / f"job-{self._count}.sh", self.folder / f"job-{self._count}.log"
        script.write_text(
            block_script(self._site, self._block, name=self._name, log=log, command=command), encoding="utf-8"
        )
        try:
            job = self._start(script, log)
        except slurm.SbatchRefused as refusal:
            if str(refusal) != self.refusal:
                self._say(f"a job was refused: {refusal}")
            self.refused, self.refusal = self.refused + 1, str(refusal)
            wait_s = 0.0 if self.refused < self.allowed else 2.0 ** (self.refused - self.allowed + 2)
            self._not_before = time.monotonic() + min(wait_s, _LONGEST_WAIT_S)
            raise
        if self._closed.is_set():  # while the job was being submitted
            self._end([job])
            raise slurm.SbatchRefused("the run is ending")
        self.refused, self.refusal = 0, ""
        self.resources[job] = {"status": JobStatus(JobState.PENDING), "log": log}
        return job

    def cancel(self, job_ids: list[str]) -> list[bool]:
        """End jobs."""
        self._end(job_ids)
        for job in job_ids:
            self.resources[job]["status"] = JobStatus(JobState.CANCELLED)
        return [True] * len(job_ids)

    def end_all(self) -> None:
        """End every job that is not known to have ended, and submit no more."""
        self._closed.set()
        self.cancel(self._alive())

    def last_words(self) -> str:
        """Return the end of the last job's output."""
        for resource in reversed(list(self.resources.values())):
            with suppress(OSError):
                lines = [
                    line.strip() for line in resource["log"].read_text(errors="replace").splitlines() if line.strip()
                ]
                return "; ".join(lines[-3:])[-500:]
        return ""

    def _alive(self) -> list[str]:
        return [job for job, resource in self.resources.items() if not resource["status"].terminal]

    def _start(self, script: Path, log: Path) -> str:
        raise NotImplementedError

    def _end(self, ids: list[str]) -> None:
        raise NotImplementedError


class SlurmJobs(_Jobs):
    """Jobs of Slurm."""

    def _start(self, script: Path, log: Path) -> str:
        return slurm.sbatch(script)

    def _end(self, ids: list[str]) -> None:
        slurm.scancel(ids)

    def _status(self) -> None:
        alive = self._alive()
        listed = slurm.jobs(self._name) if alive else None
        if listed is None:
            return  # the controller does not answer; it is queried again later
        for job in alive:
            state = listed[job].state if job in listed else "COMPLETED"  # a forgotten job has ended
            default = JobState.FAILED if state in slurm.ENDED else JobState.RUNNING
            known = _STATES.get(state, default)
            self.resources[job]["status"] = JobStatus(known)
            if known in (JobState.TIMEOUT, JobState.FAILED):
                self._say(f"job {job} ended: {state.lower().replace('_', ' ')}; its unfinished tasks run again")


class LocalJobs(_Jobs):
    """The same jobs as processes of this machine."""

    def __init__(self, run: SiteRun, name: str, block: Block, folder: Path) -> None:
        super().__init__(run, name, block, folder)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def _start(self, script: Path, log: Path) -> str:
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes[str(process.pid)] = process
        return str(process.pid)

    def _end(self, ids: list[str]) -> None:
        for job in ids:
            with suppress(ProcessLookupError):
                os.killpg(int(job), signal.SIGTERM)
        for job in ids:
            try:
                self._processes[job].wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(int(job), signal.SIGKILL)

    def _status(self) -> None:
        for job in self._alive():
            code = self._processes[job].poll()
            state = JobState.RUNNING if code is None else JobState.COMPLETED
            self.resources[job]["status"] = JobStatus(state)


def _start(
    run: SiteRun, name: str, block: Block, jobs: _Jobs, logs: Path, judge: Callable[[Any, dict[str, JobStatus]], None]
) -> Any:
    site = run.site
    scripts = Path(sysconfig.get_path("scripts"))
    workers = f"{shlex.quote(sys.executable)} {shlex.quote(str(scripts / 'process_worker_pool.py'))}"
    htex = _Executor(
        label=name,
        provider=jobs,
        launch_cmd=DEFAULT_LAUNCH_CMD.replace("process_worker_pool.py", workers),
        interchange_launch_cmd=_interchange(scripts / "interchange.py"),
        address=site.address or "127.0.0.1",  # replaced below; otherwise Parsl would query a server on the internet
        cores_per_worker=float(block.cores_per_worker),
        max_workers_per_node=block.workers_per_node,
        heartbeat_period=site.heartbeat_s,
        heartbeat_threshold=3 * site.heartbeat_s,
        drain_period=block.drain_s,
        address_probe_timeout=max(10, 3 * site.heartbeat_s),
        block_error_handler=judge,
    )
    if site.address is None:
        htex.address, htex.all_addresses = None, _addresses()
    htex.run_dir, htex.run_id = str(logs), str(uuid.uuid4())
    (logs / name).mkdir(parents=True, exist_ok=True)
    # Parsl logs refused jobs as errors with tracebacks; messages report them instead.
    logging.getLogger("parsl").setLevel(logging.CRITICAL)
    htex.start()
    return htex


def _interchange(script: Path) -> list[str]:
    """Return the command of the interchange: unaffected by Ctrl-C, and killed with this process where possible."""
    command = [sys.executable, str(script)]
    if shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "KILL", *command]
    return ["setsid", *command] if shutil.which("setsid") else command


def _addresses() -> set[str]:
    """Return the addresses of this machine, by name and by interface."""
    import psutil  # type: ignore[import-untyped]

    addresses = {
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family == socket.AF_INET
    }
    with suppress(OSError):
        addresses.add(socket.gethostbyname(socket.gethostname()))
    return addresses


def _new_log_folder(run_folder: Path) -> Path:
    """Create the folder for this run's scripts and logs, and remove the oldest ones."""
    root = run_folder / "site"
    root.mkdir(parents=True, exist_ok=True)
    old = sorted((int(entry.name), entry) for entry in root.iterdir() if entry.name.isdigit())
    for _, entry in old[: -_KEPT_LOGS + 1]:
        shutil.rmtree(entry, ignore_errors=True)
    folder = root / str(old[-1][0] + 1 if old else 1)
    folder.mkdir()
    return folder
