from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from superionic.errors import StorageError
from superionic.execution import codec
from superionic.execution import store as store_module
from superionic.execution.owner import Owner
from superionic.execution.store import Store, StoredFailure

KEY = "ab" + "0" * 62


def damage(path: Path, where: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[min(int(where * len(data)), len(data) - 1)] ^= 1
    path.write_bytes(bytes(data))


def test_a_result_is_found_again_by_a_new_store(tmp_path):
    Store(tmp_path).commit(KEY, {"stage": "x"}, {"a": np.arange(4.0)})
    store = Store(tmp_path)
    assert store.outcome(KEY) == "value"
    assert np.array_equal(store.load(KEY)["a"], np.arange(4.0))
    assert store.descriptor(KEY) == {"stage": "x"}
    assert not list((tmp_path / "tmp").iterdir())
    assert list(store.results()) == [(KEY, "value")]


def test_a_result_is_one_file_that_any_unpacker_reads_and_equal_results_are_equal_in_bytes(tmp_path):
    for name in ("a", "b"):
        Store(tmp_path / name).commit(KEY, {"stage": "x"}, {"a": np.arange(4.0)})
    path = Store(tmp_path / "a").path(KEY)
    assert path.read_bytes() == Store(tmp_path / "b").path(KEY).read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "task.json", "result.json", "arrays.npz"]
        assert json.loads(archive.read("task.json")) == {"stage": "x"}
    data = path.read_bytes()
    assert data[-64:].decode() == hashlib.sha256(data[:-64]).hexdigest()


def test_a_failure_is_kept_as_data(tmp_path):
    store = Store(tmp_path)
    store.commit(KEY, {}, StoredFailure("blew up", {"step": 7}))
    assert store.outcome(KEY) == "failure"
    assert store.load(KEY) == StoredFailure("blew up", {"step": 7})
    assert list(Store(tmp_path).results()) == [(KEY, "failure")]


def test_a_failure_never_wins_over_a_result_whichever_comes_first(tmp_path):
    store = Store(tmp_path)
    store.commit(KEY, {}, StoredFailure("the driver died", {}))
    store.commit(KEY, {}, 1)
    assert (store.outcome(KEY), store.load(KEY)) == ("value", 1)
    store.commit(KEY, {}, StoredFailure("the driver died", {}))
    assert (Store(tmp_path).outcome(KEY), Store(tmp_path).load(KEY)) == ("value", 1)
    assert list(store.results()) == [(KEY, "value")]


@pytest.mark.parametrize("where", [0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97, 1.0])
@pytest.mark.parametrize("value", [{"a": np.arange(4.0)}, StoredFailure("no", {})])
def test_a_flipped_bit_anywhere_is_damage_that_is_moved_aside_and_made_again(tmp_path, where, value):
    Store(tmp_path).commit(KEY, {}, value)
    kind = Store(tmp_path).outcome(KEY)
    (tmp_path / "verified.txt").unlink()
    path = Store(tmp_path).path(KEY, kind)
    before = path.read_bytes()
    damage(path, where)
    store = Store(tmp_path)
    assert not store.has(KEY)
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    store.commit(KEY, {}, value)
    assert store.outcome(KEY) == kind
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 300])
def test_a_truncated_file_counts_as_absent(tmp_path, size):
    store = Store(tmp_path)
    store.commit(KEY, {}, {"a": np.arange(4.0)})
    with store.path(KEY).open("r+b") as file:
        file.truncate(size)
    assert not Store(tmp_path).has(KEY)


def test_a_result_under_the_name_of_another_task_is_damage(tmp_path):
    store, other = Store(tmp_path), "cd" + KEY[2:]
    store.commit(KEY, {}, 1)
    store.path(other).parent.mkdir()
    store.path(KEY).rename(store.path(other))
    assert not Store(tmp_path).has(other)
    store.commit("ef" + KEY[2:], {}, StoredFailure("no", {}))
    failure = store.path("ef" + KEY[2:], "failure")
    failure.rename(store.path("ef" + KEY[2:]))  # a failure under the name of a value
    assert not Store(tmp_path).has("ef" + KEY[2:])


def test_a_result_that_changed_after_it_was_verified_is_noticed_when_it_is_read(tmp_path):
    store = Store(tmp_path)
    store.commit(KEY, {}, {"a": np.arange(40.0)})
    assert store.has(KEY)
    times = store.path(KEY).stat()
    damage(store.path(KEY))
    os.utime(store.path(KEY), ns=(times.st_atime_ns, times.st_mtime_ns))  # bits that rot leave no trace
    with pytest.raises(StorageError, match="damaged"):
        store.load(KEY)
    assert not store.has(KEY)


def test_a_reader_changes_nothing(tmp_path):
    root = tmp_path / "store"
    assert not Store(root, read_only=True).has(KEY)
    assert not root.exists()
    Store(root).commit(KEY, {}, 1)
    damage(Store(root).path(KEY))
    before = content(root)
    assert not Store(root, read_only=True).has(KEY)
    assert content(root) == before


def old_layout(root: Path, value: object) -> Path:
    """Write a result as version 0.1 did, a folder of files."""
    text, arrays = codec.encode(value)
    files = {"result.json": text.encode(), "task.json": b'{"stage":"x"}\n'} | ({"arrays.npz": arrays} if arrays else {})
    facts = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    folder = root / "objects" / KEY[:2] / KEY
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    manifest = {"files": facts, "format": 1, "key": KEY, "outcome": "value"}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return folder


def test_results_of_version_0_1_are_taken_over(tmp_path):
    folder = old_layout(tmp_path, {"a": np.arange(4.0)})
    store = Store(tmp_path)
    assert store.outcome(KEY) == "value"
    assert np.array_equal(store.load(KEY)["a"], np.arange(4.0))
    assert store.descriptor(KEY) == {"stage": "x"}
    assert not folder.exists()


@pytest.mark.parametrize("name", ["manifest.json", "result.json", "arrays.npz", "task.json"])
def test_what_is_not_whole_of_version_0_1_is_set_aside_and_made_again(tmp_path, name):
    folder = old_layout(tmp_path, {"a": np.arange(4.0)})
    (folder / name).unlink()
    store = Store(tmp_path)
    assert not store.has(KEY)
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    store.commit(KEY, {}, 1)
    assert store.load(KEY) == 1


FAULTS = [errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EACCES, errno.EPERM]


@pytest.mark.parametrize("number", FAULTS)
def test_what_cannot_be_read_is_said_and_is_no_damage(tmp_path, monkeypatch, number):
    Store(tmp_path).commit(KEY, {}, {"a": np.arange(4.0)})
    plain = Path.open

    def fail(path, *arguments, **options):
        if path.name.startswith(KEY):
            raise OSError(number, os.strerror(number), str(path))
        return plain(path, *arguments, **options)

    with monkeypatch.context() as failing:
        failing.setattr(Path, "open", fail)
        with pytest.raises(StorageError, match="cannot be read") as caught:
            Store(tmp_path).has(KEY)
    assert caught.value.where.endswith(f"{KEY}.zip")
    assert "nothing was moved or removed" in caught.value.fix
    assert ("open files" in caught.value.fix) == (number in (errno.EMFILE, errno.ENFILE))
    assert not (tmp_path / "damaged").exists()
    assert np.array_equal(Store(tmp_path).load(KEY)["a"], np.arange(4.0))


@pytest.mark.parametrize("number", FAULTS)
def test_a_folder_that_cannot_be_looked_into_is_said_and_is_no_absence(tmp_path, monkeypatch, number):
    Store(tmp_path).commit(KEY, {}, 1)
    store, plain = Store(tmp_path), os.stat

    def fail(path, *arguments, **options):
        if KEY in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return plain(path, *arguments, **options)

    with monkeypatch.context() as failing:
        failing.setattr(store_module.os, "stat", fail)
        with pytest.raises(StorageError, match="cannot be read"):
            store.has(KEY)
    assert store.load(KEY) == 1


def test_the_second_of_two_equal_commits_is_dropped(tmp_path):
    store = Store(tmp_path)
    store.commit(KEY, {}, 1)
    before = store.path(KEY).stat().st_ino
    store.commit(KEY, {}, 1)
    assert store.path(KEY).stat().st_ino == before
    assert not list((tmp_path / "tmp").iterdir())


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.prepare()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module.os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full") as caught:
        store.commit(KEY, {}, 1)
    assert "free" in str(caught.value)
    assert not store.has(KEY)
    assert not list((tmp_path / "tmp").iterdir())


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        Store(tmp_path / "file" / "store").prepare()


def gone() -> Owner:
    """Return a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return replace(Owner.current(), pid=process.pid, started=1)


def test_sweep_removes_what_a_killed_run_left_and_not_what_is_at_work(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.prepare()
    mine = store.scratch(KEY)
    mine.joinpath("half").write_text("x")
    elsewhere = replace(Owner.current(), host="another-machine")
    for owner in (gone(), elsewhere):
        monkeypatch.setattr(Owner, "current", classmethod(lambda _cls, owner=owner: owner))
        store.scratch(KEY).joinpath("half").write_text("x")
    monkeypatch.undo()
    store.progress_file(KEY).write_text("{}")
    store.sweep()
    left = list((tmp_path / "tmp").iterdir())
    assert mine in left
    assert [path for path in left if path != mine] == list((tmp_path / "tmp").glob("*another-machine*"))
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
    store.prepare()
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
    store.prepare()
    tmp, progress = tmp_path / "store" / "tmp", tmp_path / "store" / "progress"
    hexes = "0123456789abcdef"
    own = [tmp / f"scratch-{hexes}-{gone()}-{hexes * 2}", tmp / f"{hexes}-{hexes * 2}"]
    for folder in own:
        folder.mkdir()
        (folder / "half").write_text("x")
        (folder / "link").symlink_to(outside)
    own += [
        tmp / f"probe-{gone()}-{hexes * 2}",
        tmp / f"part-{gone()}-{hexes * 2}",
        progress / f"{KEY}.json",
        progress / f"{KEY}.4711",
    ]
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


@pytest.mark.parametrize("part", ["objects", f"objects/{KEY[:2]}", f"objects/{KEY[:2]}/{KEY}.zip", "tmp"])
def test_forget_does_not_reach_through_a_link(tmp_path, part):
    store = Store(tmp_path / "store")
    store.commit(KEY, {}, 1)
    moved = tmp_path / "outside"
    (tmp_path / "store" / part).rename(moved)
    (tmp_path / "store" / part).symlink_to(moved)
    before = content(moved)
    with pytest.raises(StorageError, match="symbolic link"):
        store.forget(KEY)
    assert content(moved) == before
    assert Store(tmp_path / "store").has(KEY)  # and what is whole can be read all the same


@pytest.mark.parametrize("part", ["objects", f"objects/{KEY[:2]}", "damaged"])
def test_setting_aside_does_not_reach_through_a_link(tmp_path, part):
    store = Store(tmp_path / "store")
    store.commit(KEY, {}, 1)
    damage(store.path(KEY))
    (tmp_path / "store" / "damaged").mkdir()
    moved = tmp_path / "outside"
    (tmp_path / "store" / part).rename(moved)
    (tmp_path / "store" / part).symlink_to(moved)
    before = content(moved)
    with pytest.raises(StorageError, match="symbolic link"):
        Store(tmp_path / "store").has(KEY)
    assert content(moved) == before


@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
def test_what_is_no_file_is_set_aside_as_it_is(tmp_path, what):
    store = Store(tmp_path / "store")
    store.commit(KEY, {}, 1)
    theirs = tmp_path / "theirs"
    theirs.write_text("years of work")
    for path in (store.path(KEY), tmp_path / "store" / "verified.txt"):
        path.unlink(missing_ok=True)
        if what == "link":
            path.symlink_to(theirs)
        elif what == "folder":
            path.mkdir()
        else:
            os.mkfifo(path)
    store = Store(tmp_path / "store")
    assert not store.has(KEY)
    store.commit(KEY, {}, 2)
    assert Store(tmp_path / "store").load(KEY) == 2
    assert theirs.read_text() == "years of work"
    assert len(list((tmp_path / "store" / "damaged").iterdir())) == 2


def test_a_store_on_another_disk_by_a_link_works_as_any_other(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = Store(tmp_path / "store")
    store.commit(KEY, {}, 1)
    (tmp_path / "disk" / "tmp" / f"part-{gone()}-{'0' * 32}").write_text("x")
    store.sweep()
    assert not list((tmp_path / "disk" / "tmp").iterdir())
    damage(store.path(KEY))
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


def test_what_was_verified_is_trusted_by_its_size_and_time(tmp_path, monkeypatch):
    Store(tmp_path).commit(KEY, {}, {"x": np.arange(5.0)})
    assert Store(tmp_path).has(KEY)
    hashed = []
    monkeypatch.setattr(store_module, "verify", lambda path, *_: hashed.append(path))
    assert Store(tmp_path).has(KEY)
    assert not hashed
    # Another time or size is looked at again.
    os.utime(Store(tmp_path).path(KEY), ns=(1, 1))
    for _ in range(2):
        assert Store(tmp_path).has(KEY)
        assert len(hashed) == 1


def test_records_of_verification_that_are_cut_off_or_cannot_be_written_do_no_harm(tmp_path):
    Store(tmp_path).commit(KEY, {}, {"x": 1})
    record = tmp_path / "verified.txt"
    record.write_text(f"{KEY}.zip 12")
    assert Store(tmp_path).has(KEY)
    record.unlink()
    record.mkdir()  # nothing can be written there, even by root
    assert Store(tmp_path).has(KEY)
    assert Store(tmp_path).load(KEY) == {"x": 1}
