from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from superionic.errors import CalculationFailed, EngineError, PotentialError, StageError, StorageError
from superionic.execution.executors import default_slots, local_executor
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.locks import run_lock
from superionic.execution.runner import Runner, Slots, TasksPending
from superionic.execution.store import Store
from superionic.execution.task import Ref, Task, select
from superionic.execution.worker import call_once

PROBES = "superionic.execution.probes"
PYTHON = Path(sys.executable)


def task(label: str, function: str = "add", *, inputs=None, walltime_s=None, version=1, **settings) -> Task:
    return Task("test", label, f"{PROBES}:{function}", version, settings, inputs or {}, walltime_s=walltime_s)


@pytest.fixture
def make(tmp_path):
    ledgers = []

    def runner(executor, workers=2, walltime_s=None) -> Runner:
        ledger = Ledger(tmp_path / LEDGER)
        ledgers.append(ledger)
        return Runner(
            Store(tmp_path / "store"),
            ledger,
            executor=executor,
            slots=Slots(workers),
            python_of=lambda _: PYTHON,
            walltime_s=walltime_s,
        )

    yield runner
    for ledger in ledgers:
        ledger.close()


def test_a_key_depends_on_everything_that_a_result_depends_on_and_on_nothing_else():
    base = task("a", amount=1.0)
    assert base.key == task("another label", amount=1.0, walltime_s=5.0).key
    others = [
        task("a", amount=2.0),
        task("a", amount=1.0, version=2),
        task("a", "remember", amount=1.0),
        Task("test", "a", f"{PROBES}:add", 1, {"amount": 1.0}, {}, "chgnet", {"packages": {"torch": "2"}}),
        Task("test", "a", f"{PROBES}:add", 1, {"amount": 1.0}, {"terms": [base["sum"]]}),
        Task("other", "a", f"{PROBES}:add", 1, {"amount": 1.0}),
    ]
    assert len({base.key, *(other.key for other in others)}) == 7


def test_a_graph_of_tasks_is_done_once(make):
    a, b = task("a", amount=1.0), task("b", amount=2.0)
    c = task("c", amount=10.0, inputs={"terms": [a["sum"], b["sum"]]})
    with local_executor(Slots(2)) as executor:
        runner = make(executor)
        assert runner.one(c)["sum"] == 13.0
        assert np.array_equal(runner.one(c)["array"], np.full(3, 13.0))
    ledger = runner._ledger
    assert ledger.completions() == {a.key: 1, b.key: 1, c.key: 1}
    dry = make(None)
    assert dry.one(c)["sum"] == 13.0
    with pytest.raises(TasksPending) as pending:
        dry.gather([task("d", amount=4.0), c])
    assert [t.label for t in pending.value.tasks] == ["d"]


def test_a_failed_calculation_is_data_and_fails_what_reads_it(make):
    bad = task("bad", "calculation_fails", reason="did not converge")
    after = task("after", amount=1.0, inputs={"terms": [bad["sum"]]})
    good = task("good", amount=1.0)
    last = task("last", amount=1.0, inputs={"terms": [after["sum"]]})
    with local_executor(Slots(2)) as executor:
        *outcomes, end = make(executor).gather([bad, after, good, last])
        assert end.failure.reason == "bad failed: did not converge"  # the first of the chain, not the whole of it
        assert outcomes[0].failure.reason == "did not converge"
        assert outcomes[1].failure.reason == "bad failed: did not converge"
        assert outcomes[2].value["sum"] == 1.0
        with pytest.raises(StageError, match="did not converge"):
            outcomes[0].value  # noqa: B018


def test_what_the_user_has_to_mend_ends_the_run_but_not_the_other_tasks(make):
    others = [task(f"other {i}", "wait", seconds=0.2 + i / 100) for i in range(2)]
    with local_executor(Slots(2)) as executor:
        runner = make(executor)
        with pytest.raises(PotentialError, match="always wrong"):
            runner.gather([others[0], task("bad", "input_is_wrong"), others[1]])
        assert runner.store.has(others[0].key)
        record = runner._ledger.record(task("bad", "input_is_wrong").key)
        assert record.state == "error"
        # Nothing is stored for an error, so the next run tries again; the pool is as good as before.
        assert runner.one(task("next", amount=5.0))["sum"] == 5.0


def test_workers_stay_warm_and_scratch_goes(make):
    tasks = [task(f"call {i}", "remember", number=i) for i in range(4)]
    with local_executor(Slots(1)) as executor:
        results = [outcome.value for outcome in make(executor, workers=1).gather(tasks)]
    assert [result["calls"] for result in results] == [1, 2, 3, 4]
    assert len({result["pid"] for result in results}) == 1
    assert not any(Path(result["scratch"]).exists() for result in results)


def test_no_worker_outlives_its_executor(make):
    with local_executor(Slots(1)) as executor:
        pid = make(executor, workers=1).one(task("pid", "remember"))["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_walltime_ends_a_run_with_what_is_done_kept(make):
    tasks = [task(f"wait {i}", "wait", seconds=0.3, number=i) for i in range(6)]
    with local_executor(Slots(1)) as executor:
        runner = make(executor, workers=1, walltime_s=0.5)
        with pytest.raises(StageError, match="time limit of this run has passed"):
            runner.gather(tasks)
        assert 1 <= sum(runner.store.has(t.key) for t in tasks) < 6


def test_the_walltime_stops_nothing_when_all_is_under_way(make):
    with local_executor(Slots(1)) as executor:
        assert make(executor, workers=1, walltime_s=0.3).one(task("last", "wait", seconds=0.9))["seconds"] == 0.9


def test_only_one_run_at_a_time_and_nothing_to_clear(tmp_path):
    with run_lock(tmp_path), pytest.raises(StorageError, match=str(os.getpid())), run_lock(tmp_path):
        pass
    with run_lock(tmp_path):
        pass


def test_call_once_runs_a_function_elsewhere():
    assert call_once(PYTHON, f"{PROBES}:add", {"amount": 1.0}, {"terms": [2.0]})["sum"] == 3.0
    with pytest.raises(CalculationFailed, match="why"):
        call_once(PYTHON, f"{PROBES}:calculation_fails", {"reason": "why"})
    with pytest.raises(EngineError, match="signal 9"):
        call_once(PYTHON, f"{PROBES}:crash", {})


def test_parts_of_results_are_selected_or_missed_clearly():
    assert select({"a": [1, {"b": 2}]}, ["a", 1, "b"]) == 2
    with pytest.raises(KeyError, match="no part"):
        select({"a": 1}, ["a", "b"])
    assert Ref(task("x"), ("a",)) == task("x")["a"]


def test_default_slots_take_every_core_once():
    assert default_slots(workers=3) == Slots(3, 1)
    assert default_slots().workers >= 1


def test_the_value_of_a_part_is_had_after_the_ledger_is_closed(make):
    base = task("a", amount=1.0)
    with local_executor(Slots(1)) as executor:
        runner = make(executor)
        made = runner.one(base)
    runner._ledger.close()
    assert runner.value_of(base.result["sum"]) == made["sum"]
