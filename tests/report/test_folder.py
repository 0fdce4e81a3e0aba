from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from superionic.errors import StorageError
from superionic.execution.owner import Owner
from superionic.report.folder import MANIFEST, report_folder


def files_in(path):
    return sorted(found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file())


def test_files_of_an_earlier_report_go_and_those_of_others_stay(tmp_path):
    with report_folder(tmp_path) as folder:
        for name in ("report.html", "figures/hull.png", "structures/p-3m1_#4.cif", "tables/old.csv"):
            folder.write(name, b"first")
    (tmp_path / "figures" / "mine.png").write_bytes(b"mine")
    (tmp_path / "tables" / "old.csv").write_bytes(b"my notes")
    with report_folder(tmp_path) as folder:
        folder.write("report.html", b"second")
    assert files_in(tmp_path) == [MANIFEST, "figures/mine.png", "report.html", "tables/old.csv"]
    assert (tmp_path / "report.html").read_bytes() == b"second"
    assert not (tmp_path / "structures").exists()


def test_nothing_outside_is_removed_whatever_the_manifest_says(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "report"
    outside.mkdir()
    with report_folder(inside) as folder:
        folder.write("figures/hull.png", b"data")
    for name in ("precious", "hull.png"):
        (outside / name).write_bytes(b"data")
    manifest = json.loads((inside / MANIFEST).read_text())
    entry = manifest["files"]["figures/hull.png"]
    manifest["files"] |= {"../outside/precious": entry, (outside / "precious").as_posix(): entry}
    (inside / MANIFEST).write_text(json.dumps(manifest))
    # What the report wrote in `figures` now lies behind a link.
    (inside / "figures" / "hull.png").unlink()
    (inside / "figures").rmdir()
    (inside / "figures").symlink_to(outside)
    with report_folder(inside) as folder:
        folder.write("report.html", b"")
    assert files_in(outside) == ["hull.png", "precious"]


def test_a_link_in_the_place_of_a_file_stays(tmp_path):
    with report_folder(tmp_path) as folder:
        folder.write("tables/a.csv", b"data")
    (tmp_path / "elsewhere").write_bytes(b"data")
    (tmp_path / "tables" / "a.csv").unlink()
    (tmp_path / "tables" / "a.csv").symlink_to(tmp_path / "elsewhere")
    with report_folder(tmp_path):
        pass
    assert (tmp_path / "tables" / "a.csv").is_symlink()
    assert (tmp_path / "elsewhere").exists()


def test_a_file_is_written_in_place_of_a_link_and_not_through_it(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "report").mkdir()
    for name in ("report.html", ".report.html.part"):
        (tmp_path / "report" / name).symlink_to(tmp_path / "precious")
    with report_folder(tmp_path / "report") as folder:
        folder.write("report.html", b"page")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / "report" / "report.html").read_bytes() == b"page"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2, "files": {}}', '{"version": 1, "files": {"a": 1}}'])
def test_a_manifest_that_cannot_be_read_names_nothing(tmp_path, text):
    (tmp_path / "report.html").write_bytes(b"old")
    (tmp_path / MANIFEST).write_text(text)
    with report_folder(tmp_path) as folder:
        folder.write("results.json", b"{}")
    assert files_in(tmp_path) == [MANIFEST, "report.html", "results.json"]


def test_a_figure_is_kept_while_its_data_and_its_file_are_the_same(tmp_path):
    with report_folder(tmp_path) as folder:
        folder.write("figures/hull.png", b"drawn", drawn_from="data")
    with report_folder(tmp_path) as folder:
        assert folder.keep("figures/hull.png", drawn_from="data") is not None
        assert folder.keep("figures/other.png", drawn_from="data") is None
    with report_folder(tmp_path) as folder:
        assert folder.keep("figures/hull.png", drawn_from="other data") is None
        assert folder.keep("figures/hull.png", drawn_from="data") is not None
    (tmp_path / "figures" / "hull.png").write_bytes(b"dRawn")
    with report_folder(tmp_path) as folder:
        assert folder.keep("figures/hull.png", drawn_from="data") is None
        folder.write("figures/hull.png", b"drawn", drawn_from="data")
    (tmp_path / "figures" / "hull.png").unlink()
    with report_folder(tmp_path) as folder:
        assert folder.keep("figures/hull.png", drawn_from="data") is None


def test_files_with_the_same_content_are_left_alone(tmp_path):
    with report_folder(tmp_path) as folder:
        path = folder.write("results.json", b"{}")
    os.utime(path, ns=(1, 1))
    with report_folder(tmp_path) as folder:
        folder.write("results.json", b"{}")
    assert path.stat().st_mtime_ns == 1


def test_a_report_that_fails_leaves_the_earlier_one(tmp_path):
    def interrupted():
        with report_folder(tmp_path) as folder, folder.aside() as place:
            (place / "half.cif").write_bytes(b"half")
            raise KeyboardInterrupt

    with report_folder(tmp_path) as folder, folder.aside() as place:
        (place / "structures").mkdir()
        (place / "structures" / "whole.cif").write_bytes(b"whole")
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert files_in(tmp_path) == [MANIFEST, "structures/whole.cif"]
    assert not list(tmp_path.glob(".part-*"))


def test_what_a_killed_report_left_goes_and_a_folder_in_the_place_of_a_file_stays_under_another_name(tmp_path):
    gone = replace(Owner.current(), pid=4194304, started=1)
    (tmp_path / f".part-{gone}-abc_d").mkdir()
    (tmp_path / f".part-{gone}-abc_d" / "half.cif").write_bytes(b"half")
    (tmp_path / f".part-{Owner.current()}-abc_d").mkdir()
    (tmp_path / "results.json").mkdir()
    (tmp_path / "results.json" / "mine").write_bytes(b"mine")
    with report_folder(tmp_path) as folder:
        folder.write("results.json", b"{}")
    assert [path.name for path in tmp_path.glob(".part-*")] == [f".part-{Owner.current()}-abc_d"]
    assert (tmp_path / "results.json").read_bytes() == b"{}"
    assert [path.read_bytes() for path in tmp_path.glob("results.json.*/mine")] == [b"mine"]


def test_an_unwritable_folder_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as caught, report_folder(tmp_path / "file" / "report"):
        pass
    assert caught.value.fix
    assert str(tmp_path) in caught.value.where


@pytest.mark.parametrize("place", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_in_the_place_of_the_manifest_stays_aside_or_goes(tmp_path, place):
    place(tmp_path / MANIFEST)
    with report_folder(tmp_path) as folder:
        folder.write("report.html", b"new")
    names = {path.name.partition(".files.json.")[2] for path in tmp_path.iterdir()} - {""}
    assert len(names) == (place is Path.mkdir)
    assert json.loads((tmp_path / MANIFEST).read_text())["files"].keys() == {"report.html"}
