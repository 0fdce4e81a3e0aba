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


def test_what_has_no_manifest_is_set_aside_so_that_it_can_be_made_again(tmp_path):
    store = Store(tmp_path)
    store.commit(KEY, {}, 1)
    (store.folder(KEY) / "manifest.json").unlink()
    store = Store(tmp_path)
    assert not store.has(KEY)
    store.commit(KEY, {}, 1)
    assert store.load(KEY) == 1


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"files": []}', '{"files": {}, "outcome": "value"}', '{"files": {"../x": {}}}', "\xff"]
)
def test_a_manifest_that_says_something_else_is_damage(tmp_path, text):
    store = Store(tmp_path)
    store.commit(KEY, {}, 1)
    (store.folder(KEY) / "manifest.json").write_text(text, encoding="latin-1")
    assert not Store(tmp_path).has(KEY)
    assert len(list((tmp_path / "damaged").iterdir())) == 1


FAULTS = [errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EACCES, errno.EPERM]


@pytest.mark.parametrize("number", FAULTS)
@pytest.mark.parametrize("part", ["manifest.json", "result.json", "arrays.npz"])
def test_what_cannot_be_read_is_said_and_is_no_damage(tmp_path, monkeypatch, number, part):
    Store(tmp_path).commit(KEY, {}, {"a": np.arange(4.0)})
    plain = Path.open

    def fail(path, *arguments, **options):
        if path.name == part:
            raise OSError(number, os.strerror(number), str(path))
        return plain(path, *arguments, **options)

    verified = Store(tmp_path)
    assert verified.has(KEY)
    with monkeypatch.context() as failing:
        failing.setattr(Path, "open", fail)
        with pytest.raises(StorageError, match="cannot be read") as caught:
            Store(tmp_path).has(KEY)
        with pytest.raises(StorageError, match="cannot be read"):
            verified.load(KEY)
    assert caught.value.where.endswith(part)
    assert "nothing was moved or removed" in caught.value.fix
    assert ("open files" in caught.value.fix) == (number in (errno.EMFILE, errno.ENFILE))
    assert not (tmp_path / "damaged").exists()
    assert np.array_equal(Store(tmp_path).load(KEY)["a"], np.arange(4.0))


@pytest.mark.parametrize("number", FAULTS)
def test_a_folder_that_cannot_be_looked_into_is_said_and_is_no_absence(tmp_path, monkeypatch, number):
    Store(tmp_path).commit(KEY, {}, 1)
    store, plain = Store(tmp_path), Path.stat

    def fail(path, **options):
        if KEY in path.parts:
            raise OSError(number, os.strerror(number), str(path))
        return plain(path, **options)

    with monkeypatch.context() as failing:
        failing.setattr(Path, "stat", fail)
        with pytest.raises(StorageError, match="cannot be read"):
            store.has(KEY)
    assert store.load(KEY) == 1


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


def theirs(folder: Path) -> Path:
    """A folder of the user, with names in it that the store might have given."""
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    (folder / f"{KEY}.json").write_text("years of work")
    (folder / f"{KEY[:16]}-{'a' * 32}").mkdir()
    (folder / f"{KEY[:16]}-{'a' * 32}" / "data").write_text("years of work")
    return folder


def content(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("part", ["tmp", "progress"])
def test_sweep_does_not_reach_through_a_link(tmp_path, part):
    outside = theirs(tmp_path / "outside")
    before = content(outside)
    store = Store(tmp_path / "store")
    (tmp_path / "store" / part).rmdir()
    (tmp_path / "store" / part).symlink_to(outside)
    with pytest.raises(StorageError, match="symbolic link") as caught:
        store.sweep()
    assert caught.value.where == str(tmp_path / "store" / part)
    assert "whole run folder" in caught.value.fix
    assert content(outside) == before


def test_sweep_removes_only_what_bears_a_name_of_its_own_making(tmp_path):
    outside = theirs(tmp_path / "outside")
    before = content(outside)
    store = Store(tmp_path / "store")
    tmp, progress = tmp_path / "store" / "tmp", tmp_path / "store" / "progress"
    hexes = "0123456789abcdef"
    own = [tmp / f"scratch-{hexes}-{hexes * 2}", tmp / f"{hexes}-{hexes * 2}"]
    for folder in own:
        folder.mkdir()
        (folder / "half").write_text("x")
        (folder / "link").symlink_to(outside)
    own += [tmp / f"probe-{hexes * 2}", progress / f"{KEY}.json", progress / f"{KEY}.4711"]
    for file in own[2:]:
        file.write_text("x")
    others = [tmp / "notes.txt", progress / "notes.json", tmp / f"scratch-{hexes}", tmp / f"{hexes}-{hexes * 2}.tar"]
    for file in others:
        file.write_text("x")
    others += [tmp / "mine", progress / "mine"]
    for folder in others[4:]:
        folder.mkdir()
        (folder / "data").write_text("x")
    links = [tmp / f"{hexes[::-1]}-{hexes * 2}", progress / f"{KEY[::-1]}.json"]
    links[0].symlink_to(outside)
    links[1].symlink_to(outside / "thesis.tex")
    store.sweep()
    assert not any(path.exists() for path in own)
    assert all(path.exists() for path in others)
    assert all(path.is_symlink() for path in links)
    assert content(outside) == before


@pytest.mark.parametrize("part", ["objects", f"objects/{KEY[:2]}", f"objects/{KEY[:2]}/{KEY}", "tmp"])
def test_forget_does_not_reach_through_a_link(tmp_path, part):
    store = Store(tmp_path / "store")
    store.commit(KEY, {}, StoredFailure("x", {}))
    moved = tmp_path / "outside"
    (tmp_path / "store" / part).rename(moved)
    (tmp_path / "store" / part).symlink_to(moved)
    before = content(moved)
    with pytest.raises(StorageError, match="symbolic link"):
        store.forget(KEY)
    assert content(moved) == before
    assert Store(tmp_path / "store").has(KEY)  # and what is whole can be read all the same


@pytest.mark.parametrize("part", ["objects", f"objects/{KEY[:2]}", f"objects/{KEY[:2]}/{KEY}", "damaged"])
def test_setting_aside_does_not_reach_through_a_link(tmp_path, part):
    store = Store(tmp_path / "store")
    store.commit(KEY, {}, 1)
    (store.folder(KEY) / "result.json").write_text("2")
    (tmp_path / "store" / "damaged").mkdir()
    moved = tmp_path / "outside"
    (tmp_path / "store" / part).rename(moved)
    (tmp_path / "store" / part).symlink_to(moved)
    before = content(moved)
    with pytest.raises(StorageError, match="symbolic link"):
        Store(tmp_path / "store").has(KEY)
    assert content(moved) == before


def test_a_store_on_another_disk_by_a_link_works_as_any_other(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = Store(tmp_path / "store")
    store.commit(KEY, {}, 1)
    store.scratch(KEY)
    store.sweep()
    assert not list((tmp_path / "disk" / "tmp").iterdir())
    (store.folder(KEY) / "result.json").write_text("2")
    assert not Store(tmp_path / "store").has(KEY)
    store.commit(KEY, {}, 1)
    store.forget(KEY)
    assert not store.has(KEY)


@pytest.mark.parametrize("key", ["../../outside", "", "ab", KEY.upper()])
def test_forget_takes_keys_and_nothing_else(tmp_path, key):
    outside = theirs(tmp_path / "outside")
    before = content(outside)
    store = Store(tmp_path / "store")
    store.commit(KEY, {}, 1)
    with pytest.raises(StorageError, match="not the key of a result"):
        store.forget(key)
    assert content(outside) == before
    assert store.has(KEY)


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
