"""Workers that crash, hang, are stopped, are lost or lose their driver: real processes, waited for by what they do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from superionic.errors import CalculationFailed, EngineError, StorageError
from superionic.execution import dispatch, worker, worker_process
from superionic.execution.executors import local_executor
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.owner import Owner, start_ticks
from superionic.execution.reporting import SilentReporter
from superionic.execution.runner import Runner, Slots
from superionic.execution.store import Store, StoredFailure
from superionic.execution.task import Task
from superionic.execution.worker import all_workers_ended, execute, request_for
from superionic.execution.worker_process import WorkerDied, WorkerProcess

PROBES = "superionic.execution.probes"
PYTHON = Path(sys.executable)
PATIENCE_S = 60.0

DRIVER = f"""\
import sys
from pathlib import Path
from superionic.execution.executors import local_executor
from superionic.execution.ledger import Ledger
from superionic.execution.runner import Runner, Slots
from superionic.execution.store import Store
from superionic.execution.task import Task

root, file = Path(sys.argv[1]), sys.argv[2]
with local_executor(Slots(1)) as executor:
    Runner(
        Store(root / "store"),
        Ledger(root / "{LEDGER}"),
        executor=executor,
        slots=Slots(1),
        python_of=lambda _: Path(sys.executable),
    ).one(Task("test", "t", "{PROBES}:start_children", 1, {{"file": file}}))
"""

VASP = """\
import os, subprocess, sys, time
from pathlib import Path

rank = subprocess.Popen(["sleep", "600"], start_new_session=True)
file = Path(sys.argv[1])
file.with_suffix(".part").write_text(f"{os.getpid()} {rank.pid}")
file.with_suffix(".part").rename(file)
time.sleep(600)
"""


def task(label: str, function: str = "add", *, walltime_s: float | None = None, **settings) -> Task:
    return Task("test", label, f"{PROBES}:{function}", 1, settings, walltime_s=walltime_s)


def eventually(condition: Callable[[], bool]) -> bool:
    """Tell whether something comes true before patience ends."""
    latest = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > latest:
            return False
        time.sleep(0.01)
    return True


def pids_in(file: Path) -> list[int]:
    assert eventually(file.exists)
    return [int(word) for word in file.read_text().split()]


def gone(pids: list[int]) -> bool:
    return all(start_ticks(pid) is None for pid in pids)


def request(store: Path, function: str, *, key: str = "1" * 64, python: Path = PYTHON, engine="core", **settings):
    return request_for(
        store=store,
        key=key,
        descriptor={"engine": {"name": engine}},
        function=f"{PROBES}:{function}",
        settings=settings,
        inputs={},
        python=python,
        threads=1,
        walltime_s=None,
    )


@pytest.fixture
def make(tmp_path):
    def runner(executor: Executor, **options) -> Runner:
        options = {"slots": Slots(2), "python_of": lambda _: PYTHON, **options}
        return Runner(Store(tmp_path / "store"), Ledger(tmp_path / LEDGER), executor=executor, **options)

    return runner


# ---- nothing outlives what started it -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_all_that_a_task_started_ends_with_the_driver(tmp_path, number):
    def usual_signals() -> None:  # however this suite was started
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(tmp_path / "pids")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=usual_signals) as driver:  # noqa: PLW1509 - only signals are set
        pids = pids_in(tmp_path / "pids")
        assert not gone(pids[:1])
        driver.send_signal(number)
        assert eventually(lambda: gone(pids))
    assert Store(tmp_path / "store").outcome(task("t", "start_children", file=str(tmp_path / "pids")).key) is None


@pytest.fixture
def at_work(tmp_path):
    """Start a worker with children, and return it, their pids, and how the call ends."""
    process = WorkerProcess(PYTHON)
    ends: list[BaseException] = []

    def call() -> None:
        try:
            process.call(request(tmp_path / "store", "start_children", file=str(tmp_path / "pids")))
        except WorkerDied as error:
            ends.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    yield process, pids_in(tmp_path / "pids"), ends, thread
    process.close()
    thread.join()


def test_closing_a_worker_ends_all_that_it_started(at_work):
    process, pids, ends, thread = at_work
    process.close()
    assert gone(pids)
    thread.join(PATIENCE_S)
    assert len(ends) == 1


def test_a_task_whose_run_is_ending_is_no_failure_and_workers_come_again(tmp_path):
    replies: list[dict] = []
    asked = request(tmp_path / "store", "start_children", file=str(tmp_path / "pids"))
    thread = threading.Thread(target=lambda: replies.append(execute(asked)))
    thread.start()
    pids = pids_in(tmp_path / "pids")
    with all_workers_ended():
        thread.join(PATIENCE_S)
        replies.append(execute(request(tmp_path / "store", "add", amount=1)))
    assert gone(pids)
    assert [(reply["kind"], reply["message"]) for reply in replies] == [
        ("StageError", "the run is ending; all finished work is kept")
    ] * 2
    assert execute(request(tmp_path / "store", "add", amount=1))["state"] == "done"
    with all_workers_ended():
        pass


@pytest.mark.parametrize("whom", ["worker", "supervisor"])
def test_killing_a_worker_or_its_supervisor_ends_all_that_it_started(at_work, whom):
    process, pids, ends, thread = at_work
    os.kill(pids[0] if whom == "worker" else process._process.pid, signal.SIGKILL)
    thread.join(PATIENCE_S)
    assert gone(pids)
    assert "signal 9" in ends[0].how
    assert ("memory" in ends[0].how) == (whom == "worker")


def test_a_time_limit_ends_all_that_a_task_started(tmp_path):
    file = tmp_path / "pids"
    for limit_s in (2.0, 8.0, 32.0):  # on a busy machine it takes a while to have children at all
        process = WorkerProcess(PYTHON)
        with pytest.raises(TimeoutError, match=f"longer than {limit_s:g} s"):
            process.call(request(tmp_path / "store", "start_children", file=str(file)), walltime_s=limit_s)
        process.close()
        if file.exists():
            break
    assert gone(pids_in(file))


@pytest.mark.parametrize("stop", ["worker", "supervisor", "close"])
def test_vasp_and_its_ranks_end_with_the_worker(tmp_path, monkeypatch, stop):
    script, file = tmp_path / "vasp.py", tmp_path / "pids"
    script.write_text(VASP)
    for name in ("Li_sv", "Cl"):
        (tmp_path / "psp" / "potpaw_PBE.54" / name).mkdir(parents=True)
        (tmp_path / "psp" / "potpaw_PBE.54" / name / "POTCAR").write_text(f"  PAW_PBE {name} 01Jan2000\n")
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "psp"))
    monkeypatch.setenv("SUPERIONIC_VASP", f"{sys.executable} {script} {file}")
    process = WorkerProcess(PYTHON)
    asked = request(tmp_path / "store", "add", labeller="vasp", labeller_settings={"version": "6"}, stress=False)
    asked["function"] = "superionic.labels.conformance:conform"

    def call() -> None:
        with pytest.raises(WorkerDied):
            process.call(asked)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        pids = pids_in(file)
        if stop == "close":
            process.close()
        else:
            parent = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(parent if stop == "worker" else process._process.pid, signal.SIGKILL)
        future.result(PATIENCE_S)
    process.close()
    assert gone(pids)


def test_a_worker_whose_driver_is_gone_begins_nothing_and_stores_no_failure(tmp_path):
    with subprocess.Popen(["sleep", "600"]) as driver:
        owner = Owner.of(driver.pid)
        asked = {**request(tmp_path / "store", "add", amount=1.0), "driver": str(owner)}
        failing = {**asked, "function": f"{__name__}:kill_and_fail", "settings": {"pid": driver.pid}}
        assert worker._answer(failing, {})["state"] == "error"
    assert worker._answer(asked, {})["state"] == "error"
    assert Store(tmp_path / "store").outcome(asked["key"]) is None
    assert worker._answer({**asked, "driver": str(Owner.current())}, {})["state"] == "done"


def kill_and_fail(settings, _inputs, _context) -> None:
    os.kill(settings["pid"], signal.SIGKILL)
    assert eventually(lambda: gone([settings["pid"]]))
    raise CalculationFailed("its scratch is gone")


# ---- two tries, then a failure --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["crash", "raise", "exit"])
def test_a_task_is_tried_twice(make, tmp_path, how):
    bad = task("bad", "fail_at_first", file=str(tmp_path / "calls"), times=1, how=how)
    with local_executor(Slots(2)) as executor:
        runner = make(executor)
        assert runner.one(bad) == {"calls": 2}
    assert runner._ledger.completions() == {bad.key: 1}
    assert len(set((tmp_path / "calls").read_text().split())) == 2  # in a fresh process, whatever it was


@pytest.mark.parametrize(
    ("how", "reason", "details"),
    [
        ("crash", r"signal 9, as when memory runs out; its peak memory was \d+ MB", ""),
        ("raise", "ZeroDivisionError: a fault", "in fail_at_first"),
        ("exit", "exit code 3", ""),
        ("wait", "longer than 1 s", ""),
    ],
)
def test_what_goes_wrong_twice_is_a_failure_and_the_other_tasks_go_on(make, tmp_path, how, reason, details):
    limit_s = 1.0 if how == "wait" else None
    bad = task("bad", "fail_at_first", file=str(tmp_path / "calls"), times=9, how=how, walltime_s=limit_s)
    after = Task("test", "after", f"{PROBES}:add", 1, {"amount": 1.0}, {"terms": [bad["sum"]]})
    others = [task(f"other {i}", amount=float(i)) for i in range(4)]
    with local_executor(Slots(2)) as executor:
        runner = make(executor)
        outcomes = runner.gather([bad, after, *others])
    assert [outcome.value["sum"] for outcome in outcomes[2:]] == [0.0, 1.0, 2.0, 3.0]
    assert re.search(reason, outcomes[0].failure.reason)
    assert outcomes[1].failure.reason == f"bad failed: {outcomes[0].failure.reason}"
    stored = runner.store.load(bad.key)
    assert isinstance(stored, StoredFailure)
    assert stored.details["tries"] == 2
    assert details in str(stored.details)
    assert runner._ledger.record(bad.key).state == "failed"
    assert runner.gather([bad])[0].failure is not None  # and is not tried again


def test_a_stopped_process_is_given_up(make, tmp_path, monkeypatch):
    monkeypatch.setattr(worker_process, "STOPPED_LIMIT_S", 1.0)
    ways = ("stop", "stop the supervisor")
    tasks = [task(how, "fail_at_first", file=str(tmp_path / how), times=1, how=how) for how in ways]
    with local_executor(Slots(2)) as executor:
        runner = make(executor)
        assert [outcome.value for outcome in runner.gather(tasks)] == [{"calls": 2}, {"calls": 2}]
    assert gone([int(word) for how in ways for word in (tmp_path / how).read_text().split()])
    history = (tmp_path / LEDGER).read_text()
    assert history.count("was stopped (SIGSTOP) for 1 s") == 2


def test_a_python_that_is_not_there_is_an_error_with_its_fix(tmp_path):
    absent = tmp_path / "engines" / "chgnet" / "bin" / "python"
    reply = execute(request(tmp_path / "store", "add", python=absent, engine="chgnet", amount=1.0))
    assert (reply["kind"], reply["fix"]) == ("EngineError", "superionic engines install chgnet")
    assert reply["where"] == str(absent)
    with pytest.raises(EngineError, match="engines install"):
        worker.call_once(absent, f"{PROBES}:add", {"amount": 1.0})


def test_a_task_that_lacks_a_module_or_meets_a_full_disk_is_for_the_user_to_mend(tmp_path):
    asked = request(tmp_path / "store", "add", engine="mace", amount=1.0)
    reply = worker._answer({**asked, "function": "superionic_of_another_kind:add"}, {})
    assert (reply["kind"], reply["fix"]) == ("EngineError", "superionic engines install mace")
    reply = worker._answer({**asked, "function": f"{__name__}:fill_the_disk"}, {})
    assert (reply["kind"], reply["passing"]) == ("StorageError", False)
    reply = worker._answer({**asked, "function": f"{__name__}:lose_the_file_system"}, {})
    assert (reply["kind"], reply["passing"]) == ("StorageError", True)


def fill_the_disk(_settings, _inputs, _context) -> None:
    with Path("/dev/full").open("w") as file:
        file.write("more")


def lose_the_file_system(_settings, _inputs, _context) -> None:
    raise OSError(116, "Stale file handle")


# ---- executors whose machines are lost ------------------------------------------------------------------------------


class Unsteady(Executor):
    """Loses the first tasks that it is given, before or after they were worked on."""

    def __init__(self, losses: int, *, after_work: bool = False, error: Exception | None = None) -> None:
        self.losses = losses
        self.submitted = 0
        self.after_work = after_work
        self.error = error or BrokenProcessPool("a process in the pool was terminated abruptly")

    def submit(self, _function, asked, /, *_args, **_kwargs) -> Future:
        future: Future = Future()
        self.submitted += 1
        lost = self.submitted <= self.losses
        if not lost or self.after_work:
            reply = worker._answer(asked, {})
        if lost:
            future.set_exception(self.error)
        else:
            future.set_result(reply)
        return future


def test_a_task_that_is_lost_with_its_machine_is_handed_in_again(make):
    executor = Unsteady(dispatch.LOSSES - 1)
    assert make(executor).one(task("a", amount=1.0))["sum"] == 1.0
    assert executor.submitted == dispatch.LOSSES


def test_a_result_that_outlived_its_machine_is_used(make):
    executor = Unsteady(1, after_work=True)
    runner = make(executor)
    assert runner.one(task("a", amount=1.0))["sum"] == 1.0
    assert executor.submitted == 1
    assert runner._ledger.record(task("a", amount=1.0).key).state == "done"


def test_a_task_that_is_lost_again_and_again_is_a_failure(make):
    runner = make(Unsteady(dispatch.LOSSES), slots=Slots(1))
    outcomes = runner.gather([task("a", amount=1.0), task("b", amount=2.0)])
    assert outcomes[0].failure.reason.startswith("lost 5 times with its machine (BrokenProcessPool: a process")
    assert outcomes[1].value["sum"] == 2.0


def test_an_executor_at_its_end_ends_the_run_in_words(make):
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(EngineError, match="accepts no more tasks"):
        make(pool).one(task("a", amount=1.0))
    with pytest.raises(StorageError, match="no account"):
        make(Unsteady(1, error=StorageError("no account"))).one(task("a", amount=1.0))


class LateReporter(SilentReporter):
    """Lets results appear when the runner has looked for them once already."""

    def __init__(self, executor: Late) -> None:
        self.executor = executor

    def running(self, _states) -> None:
        for asked in self.executor.asked:
            worker._answer(asked, {})
        self.executor.asked.clear()


class Late(Executor):
    """Says that tasks are done whose results are not to be seen yet."""

    def __init__(self) -> None:
        self.asked: list = []
        self.submitted = 0

    def submit(self, _function, asked, /, *_args, **_kwargs) -> Future:
        self.submitted += 1
        self.asked.append(asked)
        future: Future = Future()
        future.set_result({"state": "done", "cost": {}})
        return future


def test_a_result_that_a_network_file_system_shows_late_is_waited_for(make):
    executor = Late()
    runner = make(executor, reporter=LateReporter(executor), visibility_s=PATIENCE_S)
    assert runner.one(task("a", amount=1.0))["sum"] == 1.0
    assert executor.submitted == 1


def test_a_result_that_does_not_appear_is_made_again(make):
    executor = Late()
    outcome = make(executor).gather([task("a", amount=1.0)])[0]
    assert executor.submitted == dispatch.LOSSES
    assert "does not appear" in outcome.failure.reason
