"""``superionic store`` as a user meets it: what it says, and its exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from superionic import Campaign
from superionic.cli import main
from superionic.execution.store import Store

CAMPAIGN = """\
superionic: 1
name: listed
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: a, file: li3ycl6_p-3m1.cif}]
potentials: {pair: {engine: pair}}
enumerate: {ewald_keep: 2}
rank: {relax_top: 1, method: single-points, max_steps: 2, fmax_eV_per_A: 9}
transport: null
analyse: null
"""
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a campaign of few tasks, run to its end; not to be changed."""
    folder = tmp_path_factory.mktemp("done")
    shutil.copy(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif", folder)
    (folder / "campaign.yaml").write_text(CAMPAIGN)
    Campaign.load(folder / "campaign.yaml").run(write_report=False)
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line here and return exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["store", *map(str, arguments)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_export_and_import_say_what_they_did_and_what_is_next(call, done, tmp_path):
    code, out, _ = call("export", done, "--out", tmp_path / "a.zip", "--author", "A. Author")
    assert code == 0
    assert "are results of tasks" in out
    assert "states no licence" in out
    code, out, _ = call("import", tmp_path / "a.zip", "--into", tmp_path / "in")
    assert code == 0
    assert f"next: superionic status {tmp_path / 'in' / 'campaign.yaml'}" in out
    assert Campaign.load(tmp_path / "in" / "campaign.yaml").status().is_done
    code, _, err = call("import", tmp_path / "a.zip", "--into", tmp_path / "in")
    assert code == 2
    assert "not empty" in err


def test_verify_says_what_is_damaged_and_sets_it_aside_if_asked_to(call, done, tmp_path):
    folder = shutil.copytree(done, tmp_path / "copy")
    store = Store(folder / "runs" / "listed" / "store")
    key, kind = next(iter(store.results()))
    for place in (folder, folder / "campaign.yaml", folder / "runs" / "listed"):
        code, out, _ = call("verify", place)
        assert (code, "0 damaged, 0 cannot be read" in out) == (0, True)
    store.path(key, kind).write_bytes(b"damaged")
    code, out, _ = call("verify", folder)
    assert (code, "1 damaged" in out, "--set-aside" in out) == (1, True, True)
    assert store.path(key, kind).exists()
    assert call("verify", folder, "--set-aside")[0] == 1
    assert not store.path(key, kind).exists()
    assert call("verify", folder)[0] == 0
    code, _, err = call("verify", tmp_path)
    assert (code, "campaign file" in err) == (2, True)


def test_size_counts_by_stage(call, done):
    code, out, _ = call("size", done, "--json")
    found = json.loads(out)
    number = len(list(Store(done / "runs" / "listed" / "store").results()))
    assert code == 0
    assert sum(stage["number"] for stage in found["stages"].values()) == number
    assert set(found["stages"]) == {"enumerate", "rank", "hull"}
    assert found["largest"][0]["size_bytes"] == max(item["size_bytes"] for item in found["largest"])
    assert "rank" in call("size", done)[1]


def test_gc_shows_first_and_removes_when_asked_to(call, done, tmp_path):
    folder = shutil.copytree(done, tmp_path / "copy")
    path = folder / "campaign.yaml"
    path.write_text(CAMPAIGN.replace("ewald_keep: 2", "ewald_keep: 1"))
    campaign = Campaign.load(path)
    assert call("gc", folder)[0] == 2  # the new settings are not done yet
    campaign.run(write_report=False)
    store = Store(campaign.run_folder / "store")
    before = len(list(store.results()))
    code, out, _ = call("gc", folder)
    assert (code, "not needed: enumerate" in out, "--delete" in out) == (0, True, True)
    assert len(list(store.results())) == before
    code, out, _ = call("gc", folder, "--delete")
    assert (code, "removed: enumerate" in out) == (0, True)
    assert len(list(store.results())) < before
    assert "removed" not in call("gc", folder, "--delete")[1]
    assert campaign.status().is_done
