"""How runs end: whatever becomes of their output, and by signals; and how far they say they are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from superionic import Campaign
from superionic.execution.ledger import LEDGER, Ledger

SUPERIONIC = [sys.executable, "-m", "superionic.cli"]
PATIENCE_S = 100.0


def closed_pipe() -> int:
    """Return the end for writing of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def results_of(path: Path) -> int:
    """Count the results that are stored."""
    return len(list((path.parent / "runs" / "small" / "store" / "objects").glob("*/*")))


def wait_for_results(path: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while results_of(path) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert results_of(path) >= count


@pytest.mark.parametrize("target", ["closed pipe", "/dev/full", "closed"])
def test_a_run_whose_output_fails_goes_on_to_its_end(target, small_campaign):
    path = small_campaign()
    out = closed_pipe() if target == "closed pipe" else os.open("/dev/full", os.O_WRONLY)
    command = [*SUPERIONIC, "run", str(path), "--until", "hull"]
    if target == "closed":
        command = ["sh", "-c", '"$@" >&- 2>&-', "sh", *command]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, stdout=out, stderr=out, env=environment, check=False)
    os.close(out)
    assert done.returncode == 0
    status = {stage.stage: stage.state for stage in Campaign.load(path).status().stages}
    assert status["hull"] == "done"
    assert (path.parent / "runs" / "small" / "report" / "report.html").is_file()


def test_a_run_that_cannot_print_its_results_says_so_in_ascii(finished):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*SUPERIONIC, "run", str(finished())],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            check=False,
        )
    assert done.returncode == 0
    assert b"some of what was printed may be lost (No space left on device); the work is not" in done.stderr
    assert done.stderr.isascii()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_run_as_an_interrupt_does(number, small_campaign):
    path = small_campaign()
    process = subprocess.Popen([*SUPERIONIC, "run", str(path), "--quiet"], stderr=subprocess.PIPE, text=True)
    wait_for_results(path, 1)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}; all finished work is kept; go on with: superionic run {path} --quiet" in said
    assert "Traceback" not in said
    campaign = Campaign.load(path)
    with Ledger(campaign.run_folder / LEDGER) as ledger:
        assert not ledger.notes
    lines = (campaign.run_folder / LEDGER).read_text().splitlines()
    assert json.loads(lines[-1])["state"] == "interrupted"
    assert any(stage.done for stage in campaign.status().stages)


@pytest.mark.usefixtures("interruptible")
def test_a_hangup_that_is_ignored_stays_ignored(small_campaign):
    path = small_campaign()
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *SUPERIONIC, "run", str(path), "--quiet"],  # as nohup does
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_results(path, 1)
    before = results_of(path)
    process.send_signal(signal.SIGHUP)
    wait_for_results(path, before + 1)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in said


def test_status_and_check_go_by_what_was_measured(finished):
    path = finished(("production_ps: 0.2", "production_ps: 0.24"))
    campaign = Campaign.load(path)
    status = campaign.status()
    stages = {stage.stage: stage for stage in status.stages}
    transport = stages["transport"]
    assert status.owner is None
    assert (transport.state, transport.pending, transport.running) == ("pending", 4, 0)
    assert transport.tasks_per_h > 0
    # Two segments, each with what collects its run: one after the other, whatever number of workers.
    assert 0 < transport.left_s <= 4 * 3600 / transport.tasks_per_h * 50
    assert stages["rank"].left_s == 0
    assert stages["analyse"].left_s is None
    plan = {line.stage: line for line in campaign.check().lines}
    assert plan["rank"].basis == plan["transport"].basis == "measured"
    assert plan["rank"].cpu_hours == plan["rank"].spent_cpu_hours == stages["rank"].cpu_s / 3600
    assert plan["transport"].cpu_hours == pytest.approx((transport.cpu_s + transport.cpu_left_s) / 3600)
    assert campaign.check().wall_hours > 0
    shown = subprocess.run(
        [*SUPERIONIC, "status", str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120", "PYTHONIOENCODING": "ascii"},
        check=True,
    ).stdout
    assert "cost so far:" in shown
    assert "no run is at work here" in shown
    assert "estimated from what tasks took so far: transport needs about" in shown
    assert "not counting analyse" in shown
    assert shown.isascii()


def test_watching_ends_when_all_is_done(small_campaign):
    path = small_campaign()
    with subprocess.Popen([*SUPERIONIC, "run", str(path), "--until", "hull", "--quiet"]) as run:
        wait_for_results(path, 1)
        watching = subprocess.Popen(
            [*SUPERIONIC, "status", str(path), "--watch", "--every", "0.2", "--json"], stdout=subprocess.PIPE, text=True
        )
        assert watching.stdout is not None
        seen = json.loads(watching.stdout.readline())
        assert run.wait(PATIENCE_S) == 0
    assert not seen["done"]
    # Stages after the hull are left: it goes on watching until nobody looks any more.
    watching.stdout.close()
    assert watching.wait(PATIENCE_S) == 141


def test_a_report_can_go_elsewhere(finished, tmp_path):
    path = finished()
    report = Campaign.load(path).report_folder
    before = {file: file.stat().st_mtime_ns for file in report.rglob("*")}
    done = subprocess.run(
        [*SUPERIONIC, "report", str(path), "--folder", str(tmp_path / "elsewhere")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()) == tmp_path / "elsewhere" / "report.html"
    assert {file: file.stat().st_mtime_ns for file in report.rglob("*")} == before
    (tmp_path / "file").write_text("in the way")
    refused = subprocess.run(
        [*SUPERIONIC, "report", str(path), "--folder", str(tmp_path / "file" / "report")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "cannot write the report: a part of the path is a file" in refused.stderr
