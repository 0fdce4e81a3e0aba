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
from superionic.cli import main
from superionic.errors import StorageError
from superionic.execution.ledger import LEDGER, Ledger

SUPERIONIC = [sys.executable, "-m", "superionic.cli"]
PATIENCE_S = 100.0


def results_of(path: Path) -> int:
    """Count the results that are stored."""
    return len(list((path.parent / "runs" / "small" / "store" / "objects").glob("*/*")))


def wait_for_results(path: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while results_of(path) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert results_of(path) >= count


def test_a_run_that_nobody_hears_goes_on_to_its_end(small_campaign):
    path = small_campaign()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        ["sh", "-c", '"$@" 2>&-', "sh", *SUPERIONIC, "run", str(path), "--until", "hull"], stdout=writing, check=False
    )
    os.close(writing)
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
    assert b"part of the output may be lost (No space left on device); the results are safe" in done.stderr
    assert done.stderr.isascii()


@pytest.mark.usefixtures("interruptible")
def test_a_hangup_ends_a_run_as_an_interrupt_does(small_campaign):
    path = small_campaign()
    process = subprocess.Popen([*SUPERIONIC, "run", str(path), "--quiet"], stderr=subprocess.PIPE, text=True)
    wait_for_results(path, 1)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert f"stopped by SIGHUP; all finished work is kept; continue with: superionic run {path} --quiet" in said
    assert "Traceback" not in said
    campaign = Campaign.load(path)
    with Ledger(campaign.run_folder / LEDGER) as ledger:
        assert not ledger.notes
    lines = (campaign.run_folder / LEDGER).read_text().splitlines()
    assert json.loads(lines[-1])["state"] == "interrupted"
    assert any(stage.done for stage in campaign.status().stages)


def test_a_hangup_that_is_ignored_stays_ignored_and_sigterm_ends_the_run(small_campaign):
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
    assert "no run is in progress" in shown
    assert "estimated from the tasks so far: transport needs about" in shown
    assert "not counting analyse" in shown
    assert shown.isascii()


def test_watching_goes_on_until_all_is_done_or_nobody_looks(finished):
    watch = [*SUPERIONIC, "status", "--watch", "--every", "0.1", "--json"]
    path = finished()
    done = subprocess.run([*watch, str(path)], capture_output=True, text=True, check=True).stdout
    assert json.loads(done)["done"]
    path = finished(("production_ps: 0.2", "production_ps: 0.24"))
    process = subprocess.Popen([*watch, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert not any(look["done"] for look in looks)
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 141


def test_a_report_can_go_elsewhere(finished, tmp_path, capsys):
    path = finished()
    report = Campaign.load(path).report_folder
    before = {file: file.stat().st_mtime_ns for file in report.rglob("*")}
    with pytest.raises(SystemExit) as ended:
        main(["report", str(path), "--folder", str(tmp_path / "elsewhere")])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "elsewhere" / "report.html")
    assert {file: file.stat().st_mtime_ns for file in report.rglob("*")} == before
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write the report: a part of the path is a file"):
        Campaign.load(path).report(tmp_path / "file" / "report")
