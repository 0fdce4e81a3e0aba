from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from superionic.errors import StorageError
from superionic.execution import kept_files
from superionic.execution.kept_files import first_use, keep, note_first_use, stored_path, with_stored_paths
from superionic.execution.worker import call_once


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    kept_files._verify.cache_clear()
    return tmp_path / "home"


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(b"weights")
    return path


def test_a_name_tells_the_content_and_not_the_place(model, tmp_path, home):
    name = keep(model)
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "model.npz").write_bytes(b"weights")
    assert keep(other / "model.npz") == name
    assert str(tmp_path) not in name
    model.unlink()
    assert stored_path(name).read_bytes() == b"weights"
    assert home in stored_path(name).parents
    model.write_bytes(b"other weights")
    assert keep(model) != name


def test_the_same_content_under_another_name(model, tmp_path):
    name = keep(model)
    model.rename(tmp_path / "other.npz")
    assert keep(tmp_path / "other.npz") != name
    assert stored_path(name).read_bytes() == b"weights"


def test_folders_keep_what_is_read_of_them(tmp_path):
    folder = tmp_path / "M3GNet"
    folder.mkdir()
    for member in ("model.json", "state.pt", "README.md"):
        (folder / member).write_text(member)
    name = keep(folder, ("model.json", "state.pt"))
    (folder / "README.md").write_text("changed")
    assert keep(folder, ("model.json", "state.pt")) == name
    assert sorted(entry.name for entry in stored_path(name).iterdir()) == ["model.json", "state.pt"]


def test_a_damaged_copy_is_noticed_and_made_again(model):
    name = keep(model)
    stored_path(name).write_bytes(b"bitrot")
    kept_files._verify.cache_clear()
    with pytest.raises(StorageError, match="has changed") as caught:
        stored_path(name)
    assert "superionic check" in caught.value.fix
    assert keep(model) == name
    assert stored_path(name).read_bytes() == b"weights"


def test_a_damaged_copy_is_set_aside_and_never_removed(model, home):
    name = keep(model)
    model.rename(model.with_name("same.npz"))
    other = keep(model.with_name("same.npz"))
    stored_path(name).write_bytes(b"the only copy of something")
    kept_files._verify.cache_clear()
    with pytest.raises(StorageError, match="has changed"):
        stored_path(name)
    (aside,) = (home / "files").glob("damaged-*")
    assert (aside / "model.npz").read_bytes() == b"the only copy of something"
    assert stored_path(other).read_bytes() == b"weights"  # the same content under another name is whole


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE, errno.ESTALE])
def test_a_copy_that_cannot_be_read_is_said_and_stays(model, home, monkeypatch, number):
    name = keep(model)
    place = stored_path(name)
    kept_files._verify.cache_clear()

    def fail(path):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as failing:
        failing.setattr(Path, "read_bytes", fail)
        with pytest.raises(StorageError, match="cannot be read") as caught:
            stored_path(name)
    assert "nothing was moved or removed" in caught.value.fix
    assert place.read_bytes() == b"weights"
    assert [entry.name for entry in (home / "files").iterdir()] == [place.parent.name]
    assert stored_path(name) == place


def test_a_folder_behind_a_link_is_not_reached_into(model, home, tmp_path):
    name = keep(model)
    place = stored_path(name)
    kept_files._verify.cache_clear()
    theirs = tmp_path / "theirs"
    place.parent.rename(theirs)
    (theirs / "model.npz").write_bytes(b"somebody's own")
    place.parent.symlink_to(theirs)
    with pytest.raises(StorageError, match="cannot be set aside"):
        stored_path(name)
    assert (theirs / "model.npz").read_bytes() == b"somebody's own"


DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        "sha256:../../theirs/x",
        "sha256:../../theirs/x\n1.0\n",
        f"sha256:{DIGEST}/../../../theirs/x",
        f"sha256:{DIGEST}/..",
        f"sha256:{DIGEST}/.",
        f"sha256:{DIGEST}/",
        f"sha256:{DIGEST}",
        f"sha256:{DIGEST}/a/b",
        f"sha256:{DIGEST}/a\0b",
        f"sha256:{DIGEST}/POSCAR\n1.0\n4 0 0\n",
        f"sha256:{DIGEST}/model.npz\n",
        f" sha256:{DIGEST}/model.npz",
        f"sha256:{DIGEST[:-1]}/model.npz",
        f"sha256:{DIGEST.upper()}/model.npz",
        f"sha256:{DIGEST[:-1]}\u0661/model.npz",
        "sha256:/etc/passwd",
    ],
)
def test_what_only_looks_like_a_kept_file_passes_and_touches_nothing(text, home, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "precious").write_text("years of work")
    (home / "files").mkdir(parents=True)
    assert with_stored_paths({"text": text, "list": [text]}) == {"text": text, "list": [text]}
    with pytest.raises(StorageError, match="not the name of a stored file"):
        stored_path(text)
    assert (theirs / "precious").read_text() == "years of work"
    assert not list((home / "files").iterdir())


def test_a_name_that_cannot_be_told_from_text_is_not_kept(tmp_path):
    odd = tmp_path / "two\nlines"
    odd.write_bytes(b"x")
    with pytest.raises(StorageError, match="control characters") as caught:
        keep(odd)
    assert "rename" in caught.value.fix


def test_names_of_all_other_kinds_are_kept(tmp_path):
    for title in ("a b", "..model", "…", "a..b", ".hidden"):
        (tmp_path / title).write_bytes(title.encode())
        name = keep(tmp_path / title)
        assert with_stored_paths([name]) == [str(stored_path(name))]
        assert stored_path(name).read_bytes() == title.encode()


def test_what_cannot_be_kept_is_said(tmp_path, model, monkeypatch):
    with pytest.raises(StorageError, match="cannot be stored"):
        keep(tmp_path / "absent")
    monkeypatch.setenv("SUPERIONIC_HOME", str(model / "below a file"))
    with pytest.raises(StorageError, match="set SUPERIONIC_HOME") as caught:
        keep(model)
    assert caught.value.where == str(model)


def test_settings_get_their_places(model):
    name = keep(model)
    settings = {"potential": {"options": {"file": name, "precision": "float32"}}, "list": [name, 1], "text": "sha256:x"}
    found = with_stored_paths(settings)
    assert Path(found["potential"]["options"]["file"]).read_bytes() == b"weights"
    assert found["list"] == [str(stored_path(name)), 1]
    assert found["text"] == "sha256:x"
    assert settings["list"][0] == name


def test_a_worker_puts_in_the_place(model):
    name = keep(model)
    assert call_once(Path(sys.executable), "superionic.execution.probes:length_of", {"file": name}) == {"bytes": 7}


def test_first_use_is_noted_for_each_engine(model):
    name = keep(model)
    assert first_use(name, "mace") is None
    note_first_use(name, "mace", {"energy_eV": -1.5})
    assert first_use(name, "mace") == {"energy_eV": -1.5}
    assert first_use(name, "sevennet") is None


def test_a_note_that_cannot_be_read_is_not_written_anew(model, monkeypatch):
    name = keep(model)
    note_first_use(name, "mace", {"energy_eV": -1.5})

    def fail(path, **_):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(StorageError, match="cannot be read"):
        first_use(name, "mace")
