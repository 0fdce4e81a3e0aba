"""The live page of a campaign: who is answered, what is shown, and that nothing of the campaign is touched."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from superionic import Campaign
from superionic.campaign.live.server import LiveServer
from superionic.campaign.live.watcher import Watcher
from superionic.errors import StorageError

CAMPAIGN = """\
superionic: 1
name: watched
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: a, file: li3ycl6_p-3m1.cif}]
potentials: {pair: {engine: pair}}
enumerate: {ewald_keep: 2}
rank: {relax_top: 1, method: single-points, max_steps: 2, fmax_eV_per_A: 9}
transport: null
analyse: null
"""


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


class Browser:
    """Asks one server, and keeps its cookie."""

    def __init__(self, address: str) -> None:
        self.place = urlsplit(address)
        self.cookie = ""

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        assert self.place.hostname is not None
        connection = http.client.HTTPConnection(self.place.hostname, self.place.port, timeout=60)
        try:
            connection.request("GET", path, headers={"Cookie": self.cookie, **headers})
            answer = connection.getresponse()
            if (cookie := answer.getheader("Set-Cookie")) is not None:
                assert "HttpOnly" in cookie
                assert "SameSite=Strict" in cookie
                self.cookie = cookie.partition(";")[0]
            return answer.status, answer.read()
        finally:
            connection.close()

    def admitted(self) -> Browser:
        assert self.get(f"/?{self.place.query}")[0] == 303
        return self

    def state(self) -> dict:
        status, content = self.get("/state.json")
        assert status == 200
        return json.loads(content)


@pytest.fixture(scope="module")
def server(polymorphs) -> Iterator[LiveServer]:
    with Watcher(polymorphs.campaign, every_s=0.5) as watcher, LiveServer(0, watcher) as opened:
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield opened
        opened.shutdown()


def test_only_who_has_the_token_and_asks_by_the_loopback_address_is_answered(server):
    stranger = Browser(server.address)
    for path in ("/", "/state.json", "/report/report.html", "/live.js", "/?token=guessed"):
        assert stranger.get(path)[0] == 403
    owner = Browser(server.address).admitted()
    assert owner.get("/")[0] == 200
    assert owner.get("/", Host="somewhere.example")[0] == 421
    assert Browser(server.address).get("/", Cookie=owner.cookie[:-1])[0] == 403


def test_only_files_of_the_report_are_given(server, polymorphs):
    browser = Browser(server.address).admitted()
    wait_for(lambda: browser.state()["report"])
    assert b"superionic report" in browser.get("/report/report.html")[1]
    for path in ("/report/../../../etc/passwd", "/report/%2e%2e/%2e%2e/etc/passwd", "/report//etc/passwd", "/report/",
                 "/report/tables", "/report/a%00b", "/watcher.py"):  # fmt: skip
        assert browser.get(path)[0] == 404, path
    results = json.loads(browser.get("/report/results.json")[1])
    assert results == json.loads((polymorphs.report / "results.json").read_text())


def test_the_state_is_that_of_status_and_nothing_of_the_campaign_changes(server, polymorphs):
    before = files(polymorphs.campaign.run_folder)
    browser = Browser(server.address).admitted()
    wait_for(lambda: browser.state()["report"])
    state = browser.state()
    shown = {name: state["status"][name] for name in ("done", "failures", "pending", "run", "trouble", "stages")}
    assert shown == json.loads(json.dumps(polymorphs.campaign.status().to_dict()))
    assert state["problem"] == state["report_problem"] == ""
    assert files(polymorphs.campaign.run_folder) == before


def test_a_port_in_use_is_said(server, polymorphs):
    with pytest.raises(StorageError, match="is in use"):
        polymorphs.campaign.serve(port=server.server_port)


def test_a_campaign_is_followed_from_nothing_to_its_end_and_over_a_mistake_in_its_file(root, tmp_path):
    shutil.copy(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif", tmp_path)
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "superionic.cli", "serve", str(file), "--every", "0.5"]
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            browser = Browser(process.stdout.readline().strip()).admitted()
            wait_for(lambda: browser.state()["status"])
            state = browser.state()
            assert not state["status"]["done"]
            assert state["status"]["stages"][0]["pending"] == 1
            assert not (tmp_path / "runs").exists()
            Campaign.load(file).run(write_report=False)
            wait_for(lambda: browser.state()["status"]["done"])
            results = Campaign.load(file).report(tmp_path / "report", formats=()).with_name("results.json").read_bytes()
            wait_for(lambda: browser.get("/report/results.json")[1] == results)
            file.write_text(CAMPAIGN.replace("relax_top: 1", "relax_top: none"))
            wait_for(lambda: "rank.relax_top" in browser.state()["problem"])
            assert browser.state()["status"]["done"]
            file.write_text(CAMPAIGN.replace("max_steps: 2", "max_steps: 3"))
            wait_for(lambda: not browser.state()["problem"] and not browser.state()["status"]["done"])
            process.terminate()
            assert process.wait(60) == 128 + signal.SIGTERM
            assert list(temporary.iterdir()) == []
        finally:
            process.kill()


def test_a_fault_of_our_own_is_shown_and_the_watcher_goes_on(root, tmp_path):
    shutil.copy(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif", tmp_path)
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)

    mended = threading.Event()

    class Faulty(Campaign):
        def status(self):
            if not mended.is_set():
                raise IndexError("list index out of range")
            return super().status()

    with Watcher(Faulty.load(tmp_path / "campaign.yaml"), every_s=0.5) as watcher:
        wait_for(lambda: watcher.view.problem == "a bug in superionic: IndexError: list index out of range")
        mended.set()
        wait_for(lambda: watcher.view.status is not None and not watcher.view.problem)


def wait_for(condition) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "this did not come"
        time.sleep(0.1)
