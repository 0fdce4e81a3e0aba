from __future__ import annotations

import sys
from pathlib import Path

import pytest

from superionic.errors import StorageError
from superionic.execution import kept_files
from superionic.execution.kept_files import first_use, keep, kept, note_first_use, placed
from superionic.execution.worker import call_once


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    kept_files._proved_whole.cache_clear()
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
    assert kept(name).read_bytes() == b"weights"
    assert home in kept(name).parents
    model.write_bytes(b"other weights")
    assert keep(model) != name


def test_the_same_content_under_another_name(model, tmp_path):
    name = keep(model)
    model.rename(tmp_path / "other.npz")
    assert keep(tmp_path / "other.npz") != name
    assert kept(name).read_bytes() == b"weights"


def test_folders_keep_what_is_read_of_them(tmp_path):
    folder = tmp_path / "M3GNet"
    folder.mkdir()
    for member in ("model.json", "state.pt", "README.md"):
        (folder / member).write_text(member)
    name = keep(folder, ("model.json", "state.pt"))
    (folder / "README.md").write_text("changed")
    assert keep(folder, ("model.json", "state.pt")) == name
    assert sorted(entry.name for entry in kept(name).iterdir()) == ["model.json", "state.pt"]


def test_a_damaged_copy_is_noticed_and_made_again(model):
    name = keep(model)
    kept(name).write_bytes(b"bitrot")
    kept_files._proved_whole.cache_clear()
    with pytest.raises(StorageError, match="was changed") as caught:
        kept(name)
    assert "superionic check" in caught.value.fix
    assert keep(model) == name
    assert kept(name).read_bytes() == b"weights"


def test_what_cannot_be_kept_is_said(tmp_path, model, monkeypatch):
    with pytest.raises(StorageError, match="cannot be kept"):
        keep(tmp_path / "absent")
    monkeypatch.setenv("SUPERIONIC_HOME", str(model / "below a file"))
    with pytest.raises(StorageError, match="set SUPERIONIC_HOME") as caught:
        keep(model)
    assert caught.value.where == str(model)


def test_settings_get_their_places(model):
    name = keep(model)
    settings = {"potential": {"options": {"file": name, "precision": "float32"}}, "list": [name, 1], "text": "sha256:x"}
    found = placed(settings)
    assert Path(found["potential"]["options"]["file"]).read_bytes() == b"weights"
    assert found["list"] == [str(kept(name)), 1]
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
