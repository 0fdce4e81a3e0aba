from __future__ import annotations

import contextlib
import errno
import os

import pytest

from superionic.execution.ledger import Ledger


def noted(path):
    with contextlib.suppress(KeyboardInterrupt), Ledger(path) as ledger, ledger.recorded_run("0"):
        ledger.started("k1", "rank", "relaxation of x")
        ledger.finished("k1", "done", {"wall_s": 2.0, "cpu_s": 1.5, "peak_MB": 10.0})
        ledger.started("k2", "rank", "relaxation of x")
        raise KeyboardInterrupt


def test_the_ledger_keeps_state_cost_and_the_last_version_of_a_label(tmp_path):
    path = tmp_path / "history.jsonl"
    noted(path)
    ledger = Ledger(path)
    record = ledger.record("k1")
    assert record is not None
    assert (record.state, record.cpu_s, record.executions) == ("done", 1.5, 1)
    before = ledger.latest("rank", "relaxation of x", other_than="k2")
    assert before is not None
    assert before.key == "k1"
    assert ledger.completions() == {"k1": 1}
    assert [record.key for record in ledger.find("of X")] == ["k1", "k2"]
    assert ledger.find("%") == []
    with ledger.recorded_run("0"):
        cut = ledger.record("k2")
    assert cut is not None
    assert cut.state == "interrupted"
    ledger.close()


@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_a_result_whose_end_was_not_recorded_is_adopted_once_with_its_outcome(tmp_path, outcome):
    path = tmp_path / "history.jsonl"
    with Ledger(path) as ledger:
        ledger.started("k1", "rank", "x")
        ledger.adopted("k1", "rank", "x", outcome)
        size = path.stat().st_size
        ledger.adopted("k1", "rank", "x", outcome)
        assert path.stat().st_size == size
    record = Ledger(path).record("k1")
    assert record is not None
    assert (record.state, record.executions) == (outcome, 0)


def test_a_line_that_a_kill_cut_off_costs_that_line_only(tmp_path):
    path = tmp_path / "history.jsonl"
    noted(path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with Ledger(path) as ledger:
            ledger.started("k3", "rank", "y")
        again = Ledger(path)
        assert again.record("k3").label == "y"
        assert len(again.notes) <= 1


def test_damage_is_passed_over_and_said(tmp_path):
    path = tmp_path / "history.jsonl"
    noted(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"\xff\x00 no history\n" + lines[1] + b'{"event": "done"}\n[]\n' + lines[2])
    ledger = Ledger(path)
    assert ledger.record("k1").state == "done"
    assert ledger.notes[0].startswith("3 lines of")


def test_what_is_no_file_is_set_aside_and_the_history_begun_anew(tmp_path):
    path, outside = tmp_path / "history.jsonl", tmp_path / "outside"
    for make in (path.mkdir, lambda: path.symlink_to(outside)):
        make()
        with Ledger(path) as ledger:
            ledger.started("k1", "rank", "x")
        assert "was set aside" in ledger.notes[0]
        assert Ledger(path).record("k1") is not None
        path.unlink()
    assert not outside.exists()
    assert len(list(tmp_path.glob("history.jsonl.*"))) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_a_history_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path, monkeypatch, number):
    ledger = Ledger(tmp_path / "history.jsonl")
    ledger.started("k1", "rank", "x")

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", full)
    ledger.finished("k1", "done", {})
    ledger.started("k2", "rank", "y")
    assert len(ledger.notes) == 1
    assert "results are kept" in ledger.notes[0]
    assert ledger.record("k1").state == "done"


def test_reading_makes_no_file(tmp_path):
    ledger = Ledger(tmp_path / "history.jsonl")
    assert ledger.all() == []
    assert not list(tmp_path.iterdir())
