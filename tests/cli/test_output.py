"""Output cannot end the work: closed pipes, full disks, terminals without σ, displays that fail."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from superionic.cli.screen import Screen, plain, plain_json
from superionic.errors import storage_error
from superionic.execution.reporting import GuardedReporter

SUPERIONIC = [sys.executable, "-m", "superionic.cli"]


def closed_pipe() -> int:
    """Return the end for writing of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def test_signs_that_a_device_lacks_are_written_out():
    text = "σ(300 K) = 3 ± 1 mS/cm, Å³/atom, 10⁻³ cm² s⁻¹, ≥ 5 μs, Δx → ½"
    assert plain(text, "ascii") == "sigma(300 K) = 3 +- 1 mS/cm, A3/atom, 10-3 cm2 s-1, >= 5 us, Deltax -> 1/2"
    assert plain("σ in Å²", "latin-1") == "sigma in Å²"
    assert plain(text, "utf-8") == text
    assert plain("中 e\N{COMBINING ACUTE ACCENT}", "ascii") == "? e"
    assert plain("\udcff", "utf-8", "surrogateescape") == "\udcff"
    assert plain("\udcff", "utf-8") == "?"


def test_json_keeps_its_signs_by_escapes(monkeypatch):
    text = json.dumps({"words": "σ in Å², 𝜎"}, ensure_ascii=False)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    escaped = plain_json(text)
    assert escaped.isascii()
    assert json.loads(escaped) == json.loads(text)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC])
def test_a_screen_keeps_the_errors_of_its_device(number):
    file = closed_pipe() if number == errno.EPIPE else os.open("/dev/full", os.O_WRONLY)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        screen = Screen(stream)
        for _ in range(3):
            assert screen.write("σ\n") == 2
            screen.flush()
        assert screen.error is not None
        assert screen.error.errno == number
        screen.leave()
        print("by others, past the screen", file=stream, flush=True)
    screen.write("after it was closed")


def test_a_log_on_a_full_disk_goes_on_when_there_is_space(tmp_path):
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        screen = Screen(stream)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            screen.write("while it was full\n")
            screen.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert screen.error is not None
        screen.write("after\n")
        screen.leave()
    assert (tmp_path / "log").read_text() == "while it was full\nafter\n"


def test_a_stream_that_somebody_closed_is_a_screen_with_an_error(tmp_path):
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        screen = Screen(stream)
        screen.write("before\n")
        screen.flush()
    screen.write("after\n")
    assert screen.error is not None
    assert screen.error.errno == errno.EBADF
    assert not screen.isatty()
    assert (tmp_path / "log").read_text() == "before\n"


def test_a_reporter_that_fails_is_silenced_after_one_word(capsys):
    class Failing:
        heard = 0

        def stage_began(self, stage, total, already_done):
            self.heard += 1

        def task_ended(self, task, state, cost):
            self.heard += 1

        def running(self, states):
            self.heard += 1
            raise ZeroDivisionError("no columns")

    failing = Failing()
    reporter = GuardedReporter(failing)
    reporter.stage_began("rank", 2, 0)
    for _ in range(3):
        reporter.running([])
    reporter.stage_began("hull", 1, 0)
    assert failing.heard == 2
    said = capsys.readouterr().err
    assert said == "progress is no longer shown (ZeroDivisionError: no columns); the run continues\n"


@pytest.mark.parametrize(
    ("number", "what", "fix"),
    [
        (errno.ENOSPC, "disk is full", "free some space"),
        (errno.EDQUOT, "quota", "quota -s"),
        (errno.EIO, "disk, or the connection to it, failed", "dmesg"),
        (errno.EROFS, "read-only", "--folder"),
        (errno.EMFILE, "too many files open", "ulimit -n"),
        (errno.ENFILE, "too many files open", "fs.file-max"),
        (errno.ENOLCK, "does not support locks", "--run-folder"),
        (errno.ESTALE, "stale file handle", "run the same command again"),
        (errno.EACCES, "permission denied", "fix the permissions"),
        (errno.ENOMEM, "no memory left", "fewer --workers"),
        (errno.EXDEV, os.strerror(errno.EXDEV), "run the same command again"),
    ],
)
def test_failures_of_the_system_name_what_mends_them(number, what, fix):
    found = storage_error(OSError(number, os.strerror(number)), where=Path("runs"), doing="write the report")
    assert found.message.startswith("cannot write the report: ")
    assert what in found.message
    assert found.where == "runs"
    assert fix in found.fix
    assert storage_error(OSError(number, "", "a/file"), where="runs", doing="x").where == "a/file"


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("closed pipe", 141, ""),
        ("/dev/full", 2, "cannot print the result: the disk is full"),
        ("closed", 2, "is closed"),
    ],
)
def test_a_verb_that_only_prints_fails_when_it_cannot(target, code, said):
    out = closed_pipe() if target == "closed pipe" else os.open("/dev/full", os.O_WRONLY)
    command = [*SUPERIONIC, "schema"]
    if target == "closed":
        command = ["sh", "-c", '"$@" >&-', "sh", *command]
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    os.close(out)
    assert done.returncode == code
    assert said in done.stderr
    assert bool(done.stderr) == bool(said)


def test_errors_in_words_cannot_fail_either(tmp_path):
    command = ["sh", "-c", '"$@" 2>&-', "sh", *SUPERIONIC, "check", str(tmp_path / "absent.yaml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_a_stray_error_of_the_system_is_said_in_words(tmp_path, monkeypatch, capsys):
    from superionic.cli import main

    def fail(*_arguments, **_options):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a/file")

    monkeypatch.setattr("superionic.campaign.file.schema.json_schema", fail)
    with pytest.raises(SystemExit) as ended:
        main(["schema"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "cannot continue: this process has too many files open" in said
    assert "ulimit -n" in said
    with pytest.raises(OSError, match="Too many"):
        main(["schema", "--debug"])
