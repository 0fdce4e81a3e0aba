from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from superionic.errors import StorageError
from superionic.execution import store as store_module
from superionic.execution.ledger import Ledger
from superionic.execution.store import Store, StoredFailure

KEY = "ab" + "0" * 62


def test_a_result_is_found_again_by_a_new_store(tmp_path):
    Store(tmp_path).commit(KEY, {"stage": "x"}, {"a": np.arange(4.0)})
    store = Store(tmp_path)
    assert store.has(KEY)
    assert np.array_equal(store.load(KEY)["a"], np.arange(4.0))
    assert store.descriptor(KEY) == {"stage": "x"}
    assert not list((tmp_path / "tmp").iterdir())


def test_a_failure_is_kept_as_data(tmp_path):
    store = Store(tmp_path)
    store.commit(KEY, {}, StoredFailure("blew up", {"step": 7}))
    assert store.load(KEY) == StoredFailure("blew up", {"step": 7})


@pytest.mark.parametrize("name", ["result.json", "arrays.npz", "task.json"])
def test_a_damaged_result_is_moved_aside_and_counts_as_absent(tmp_path, name):
    Store(tmp_path).commit(KEY, {}, {"a": np.arange(4.0)})
    path = Store(tmp_path).folder(KEY) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    store = Store(tmp_path)
    assert not store.has(KEY)
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    store.commit(KEY, {}, {"a": np.arange(4.0)})
    assert store.has(KEY)


def test_a_truncated_or_missing_file_counts_as_absent(tmp_path):
    store = Store(tmp_path)
    store.commit(KEY, {}, {"a": np.arange(4.0)})
    (store.folder(KEY) / "arrays.npz").unlink()
    assert not Store(tmp_path).has(KEY)


def test_the_second_of_two_equal_commits_is_dropped(tmp_path):
    store = Store(tmp_path)
    store.commit(KEY, {}, 1)
    before = (store.folder(KEY) / "manifest.json").stat().st_ino
    store.commit(KEY, {}, 1)
    assert (store.folder(KEY) / "manifest.json").stat().st_ino == before
    assert not list((tmp_path / "tmp").iterdir())


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path, monkeypatch):
    store = Store(tmp_path)

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "_write_durably", full)
    with pytest.raises(StorageError, match="disk is full") as caught:
        store.commit(KEY, {}, 1)
    assert "free some space" in str(caught.value)
    assert not store.has(KEY)
    assert not list((tmp_path / "tmp").iterdir())


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        Store(tmp_path / "file" / "store")


def test_sweep_removes_what_a_killed_run_left(tmp_path):
    store = Store(tmp_path)
    store.scratch(KEY).joinpath("half").write_text("x")
    store.progress_file(KEY).write_text("{}")
    store.sweep()
    assert not list((tmp_path / "tmp").iterdir())
    assert not list((tmp_path / "progress").iterdir())


def test_load_of_an_unknown_key_says_what_to_do(tmp_path):
    with pytest.raises(StorageError, match="no result is stored"):
        Store(tmp_path).load(KEY)


def test_the_ledger_keeps_state_cost_and_the_last_version_of_a_label(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.begin_run(os.getpid(), "0")
    ledger.started("k1", "rank", "relaxation of x", {"settings": {"a": 1}})
    ledger.finished("k1", "done", {"wall_s": 2.0, "cpu_s": 1.5, "peak_MB": 10.0})
    ledger.started("k2", "rank", "relaxation of x", {"settings": {"a": 2}})
    record = ledger.record("k1")
    assert record is not None
    assert (record.state, record.cpu_s, record.executions) == ("done", 1.5, 1)
    before = ledger.latest("rank", "relaxation of x", other_than="k2")
    assert before is not None
    assert before.descriptor == {"settings": {"a": 1}}
    assert ledger.completions() == {"k1": 1}
    ledger.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    again.begin_run(os.getpid(), "0")
    cut = again.record("k2")
    assert cut is not None
    assert cut.state == "interrupted"
    assert [record.key for record in again.find("of x")] == ["k1", "k2"]
    assert again.find("%") == []
    again.close()


def test_a_result_whose_end_was_not_recorded_is_adopted_once(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.started("k1", "rank", "x", {})
    ledger.adopted("k1", "rank", "x", {})
    record = ledger.record("k1")
    assert record is not None
    assert record.state == "done"
    assert record.executions == 0
    ledger.close()


def test_a_broken_ledger_is_said(tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError, match="ledger cannot be opened"):
        Ledger(tmp_path / "ledger.sqlite")
