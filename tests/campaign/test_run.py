from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from superionic import Campaign
from superionic.campaign.run import Campaign as CampaignClass
from superionic.errors import CampaignFileError, CompositionError, EngineError, StageError, StorageError
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.store import Store, StoredFailure
from superionic.labels.packages import read_package
from superionic.potentials.base import load_potential

STAGES = ["enumerate", "rank", "hull", "select", "sample", "label", "transport", "analyse"]


def products(folder: Path) -> dict[str, bytes]:
    """All files of a report."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def done(finished) -> CampaignClass:
    return Campaign.load(finished())


def test_a_campaign_goes_from_a_disordered_crystal_to_a_report(done):
    results = done.load_results()
    (space,) = results.enumerate.spaces
    assert (space.counted.count.raw, space.counted.count.distinct) == (360, 30)
    assert space.counted.composition.formula == "Li3YCl6"
    assert sum(space.histogram.raw) == 360
    assert (space.method, space.listed, space.counted.excluded_pairs) == ("list", 30, 0)
    assert np.all(np.diff([ordering.ewald_eV for ordering in space.orderings]) > -1e-6)
    (ranked,), (hull,), (labelled,) = results.rank, results.hull, results.label
    assert len([entry for entry in ranked.entries if entry.relaxed_eV_per_atom is not None]) == 4
    assert hull.end_members == ("LiCl", "YCl3")
    assert len(results.sample) == 1
    assert (results.train, results.validate, results.distil, results.learning) == ((), None, None, None)
    assert labelled.reference.stand_in
    assert labelled.n_accepted == labelled.n_requested == 2
    simulated = results.transport.runs
    assert [each.run.temperature_K for each in simulated] == [800.0, 1000.0]
    assert all(each.n_mobile == 9 for each in simulated)
    assert all(each.length_ps == pytest.approx(0.2) for each in simulated)
    assert [each.run for each in results.analyse.runs] == [each.run for each in simulated]
    for each in results.analyse.runs:
        tracer = each.analysis.tracer_diffusivity_cm2_per_s
        low, high = tracer.interval95
        assert low <= tracer.value <= high
    said = " ".join(statement.words for statement in results.statements)
    assert "stand-in" in said
    assert "hops" in said
    assert "30 atoms" in said
    report = done.report_folder
    assert (report / "report.html").stat().st_size > 10_000
    with (report / "tables" / "diffusivities.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    from ase.io import read

    relaxed = read(report / "structures" / "relaxed.extxyz", ":")
    assert len(relaxed) == 4
    assert all(np.isfinite(atoms.info["relaxed_eV_per_atom"]) for atoms in relaxed)


def test_a_second_run_does_nothing_and_a_change_redoes_only_what_depends_on_it(done, finished):
    with Ledger(done.run_folder / LEDGER) as ledger:
        before = ledger.completions()
    done.run(write_report=False)
    with Ledger(done.run_folder / LEDGER) as ledger:
        assert ledger.completions() == before
        assert set(before.values()) == {1}
    changed = Campaign.load(finished(("production_ps: 0.2", "production_ps: 0.24")))
    status = changed.status()
    assert not status.is_done
    assert {task.stage for task in status.pending} == {"transport"}
    reasons = {task.label: task.reason for task in status.pending}
    # The first five segments are those of before; one more is new, and what collects them has another input.
    simulated = changed.load_results().transport.runs[0]
    lowest = simulated.run.ordering.id
    assert reasons == {f"{lowest} {temperature} K production 6": "new" for temperature in (800, 1000)} | {
        f"trajectory of {lowest} {temperature} K": "changed: it reads “"
        f"{lowest} {temperature} K production 6”, which changed"
        for temperature in (800, 1000)
    }
    assert simulated.length_ps == pytest.approx(0.2)
    changed.run(write_report=False)
    with Ledger(done.run_folder / LEDGER) as ledger:
        after = ledger.completions()
        stages = {record.stage for record in ledger.all() if record.key in set(after) - set(before)}
    assert set(after.values()) == {1}
    assert stages == {"transport", "analyse"}


def test_status_says_which_setting_changed(finished):
    status = Campaign.load(finished(("timestep_fs: 2\n  heating", "timestep_fs: 1\n  heating"))).status()
    heating = next(task for task in status.pending if "heating" in task.label)
    assert "md.timestep_fs 2.0 → 1.0" in heating.reason
    assert {stage.stage: stage.state for stage in status.stages}["analyse"] == "waiting"
    assert {stage.stage: stage.state for stage in status.stages}["rank"] == "done"


def test_a_new_seed_reruns_what_is_random_and_nothing_else(finished):
    status = Campaign.load(finished(("seed: 7", "seed: 8"))).status()
    # All 30 orderings are listed, not drawn, so the first random choice is the selection.
    assert {stage.stage for stage in status.stages if stage.state == "done"} == {"enumerate", "rank", "hull"}
    assert [task.label for task in status.pending] == ["selection"]
    assert "seed" in status.pending[0].reason


def test_a_fit_that_failed_is_said_and_not_only_missing(finished):
    campaign = Campaign.load(finished())
    (material,) = campaign.load_results().analyse.arrhenius
    store = Store(campaign.run_folder / "store")
    store.forget(material.key)
    store.commit(material.key, {}, StoredFailure("it took longer than 1 h", {}))  # as a run leaves it at a time limit
    campaign.report()
    results = campaign.load_results()
    assert results.analyse.arrhenius == ()
    (failure,) = results.analyse.failures
    assert (failure.label, failure.reason) == (f"Arrhenius fit of {material.material.label}", "it took longer than 1 h")
    assert any("1 analysis failed" in statement.words for statement in results.statements)
    with (campaign.report_folder / "tables" / "rejections.csv").open() as file:
        assert failure.key in [row["key"] for row in csv.DictReader(file)]


def test_execution_settings_change_nothing(finished):
    campaign = Campaign.load(finished(("analyse:", "execution: {workers: 1}\nanalyse:")))
    assert campaign.status().is_done


def test_until_stops_after_the_stage_and_a_later_run_goes_on(small_campaign):
    campaign = Campaign.load(small_campaign())
    results = campaign.run(until="hull", write_report=False)
    assert results.status == "incomplete"
    assert results.enumerate is not None
    assert (len(results.rank), len(results.hull)) == (1, 1)
    assert (results.sample, results.label) == ((), ())
    assert (results.select, results.transport, results.analyse) == (None, None, None)
    assert any("Not done yet" in warning for warning in results.warnings)
    with pytest.raises(CampaignFileError, match="no stage 'train'"):
        campaign.run(until="train")


def test_a_comment_in_a_crystal_file_is_never_taken_for_a_file(small_campaign, tmp_path, monkeypatch):
    from ase.io import read

    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "precious").write_text("years of work")
    path = small_campaign(("file: licl.cif", "file: licl.vasp"))
    poscar = path.parent / "licl.vasp"
    read(path.parent / "licl.cif").write(poscar, format="vasp")
    # Below home/files, two folders up are tmp_path.
    lines = ["sha256:../../theirs/x", *poscar.read_text().splitlines()[1:]]
    poscar.write_text("\n".join(lines) + "\n")
    results = Campaign.load(path).run(until="hull", write_report=False)
    assert results.hull[0].end_members == ("LiCl", "YCl3")
    assert (tmp_path / "theirs" / "precious").read_text() == "years of work"


def test_the_walltime_of_the_campaign_file_stops_a_run_that_a_later_one_goes_on_with(done, finished, small_campaign):
    limited = ("analyse:", "execution: {walltime_h: 1.0e-9}\nanalyse:")
    campaign = Campaign.load(small_campaign(limited))
    with pytest.raises(StageError, match="the time limit of this run has passed") as caught:
        campaign.run()
    assert caught.value.where == "execution.walltime_h"
    assert "run the same command again" in caught.value.fix
    assert not campaign.status().is_done
    # A limit that comes in the middle: what was done before it is kept and not done again.
    path = small_campaign()
    Campaign.load(path).run(until="hull", write_report=False)
    with pytest.raises(StageError, match="the time limit of this run has passed"):
        Campaign.load(small_campaign(limited)).run()
    with Ledger(campaign.run_folder / LEDGER) as ledger:
        before = ledger.completions()
    assert before
    going_on = Campaign.load(small_campaign(("analyse:", "execution: {walltime_h: 1}\nanalyse:")))
    going_on.run()
    with Ledger(campaign.run_folder / LEDGER) as ledger:
        assert set(ledger.completions().values()) == {1}
        assert set(before) < set(ledger.completions())
    assert products(going_on.report_folder) == products(done.report_folder)
    # Where nothing is left to do, a limit stops nothing.
    Campaign.load(finished(limited)).run(write_report=False)


def test_any_executor_will_do(finished_folder, small_campaign):
    campaign = Campaign.load(small_campaign())
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        results = campaign.run(until="hull", executor=executor, write_report=False)
    before = Campaign.load(finished_folder / "campaign.yaml").load_results()
    assert results.hull == before.hull


def test_explain_leads_from_a_number_to_its_settings_and_files(done):
    key = done.load_results().analyse.runs[0].key
    found = done.explain(key[:10])
    assert found.record is not None
    assert found.record.stage == "analyse"
    assert [label for refs in found.inputs.values() for _, label in refs if label.startswith("transport: ")]
    assert {"result.json", "task.json"} <= set(found.file.members)
    assert hashlib.sha256(found.file.path.read_bytes()[:-64]).hexdigest() == found.file.sha256
    plain = json.loads(json.dumps(found.to_dict()))  # as --json prints it
    assert plain["task"]["key"] == key
    assert plain["task"]["descriptor"]["settings"] == found.descriptor.settings
    assert {ref["key"] for refs in plain["inputs"].values() for ref in refs} == set(found.descriptor.input_keys)
    assert done.explain("relaxation").record is None
    assert len(done.explain("relaxation").matches) == 4
    with pytest.raises(StorageError, match="nothing in this campaign"):
        done.explain("no such thing")


def test_labels_are_exported_with_where_they_come_from(done, tmp_path):
    (sampled,) = done.load_results().sample
    (run,) = sampled.runs
    assert done.export_labels(tmp_path / "labels.extxyz") == 2
    entries = list(read_package(tmp_path / "labels.extxyz"))
    potential = load_potential("pair")
    for entry in entries:
        assert entry.group == entry.facts["run"] == run.run.label
        assert (entry.facts["round"], entry.facts["temperature_K"]) == (sampled.round, sampled.temperature_K)
        assert entry.source["campaign"] == "small"
        assert done.explain(entry.source["task"]).record.stage == "label"
        assert entry.label.energy_eV == pytest.approx(potential.evaluate(entry.atoms).energy_eV)
    assert len({entry.source["task"] for entry in entries}) == 2


def test_the_results_are_the_same_bytes_wherever_and_however_often_they_are_made(done, small_campaign):
    other = Campaign.load(small_campaign(folder="elsewhere"))
    other.run(workers=1)
    assert products(other.report_folder) == products(done.report_folder)


def test_workers_of_a_killed_run_end_by_themselves(small_campaign):
    path = small_campaign()
    process = subprocess.Popen(
        [sys.executable, "-m", "superionic.cli", "run", str(path), "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        process.wait()
        pytest.skip("no /proc")
    workers: list[int] = []
    deadline = time.monotonic() + 60
    while not workers and time.monotonic() < deadline:
        time.sleep(0.1)
        for task in Path(f"/proc/{process.pid}/task").glob("*/children"):
            workers += [int(pid) for pid in task.read_text().split()]
    process.kill()
    process.wait()
    assert workers
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def run_until_something_is_done(path: Path) -> subprocess.Popen[str]:
    """Start a run of a campaign and return it when its first result is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "superionic.cli", "run", str(path), "--quiet"], stderr=subprocess.PIPE, text=True
    )
    objects = path.parent / "runs" / "small" / "store" / "objects"
    deadline = time.monotonic() + 100
    while not any(objects.glob("*/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_from_the_keyboard_ends_the_run_with_a_word_and_nothing_lost(small_campaign):
    path = small_campaign()
    process = run_until_something_is_done(path)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"stopped by Ctrl-C; all finished work is kept; continue with: superionic run {path} --quiet" in said
    assert "cannot be interrupted" not in said
    assert "Traceback" not in said
    assert any(stage.done for stage in Campaign.load(path).status().stages)


@pytest.mark.usefixtures("interruptible")
def test_a_run_that_ignores_interrupts_says_so_and_how_to_stop_it(small_campaign):
    path = small_campaign()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # children inherit it, as from a script's background
    process = run_until_something_is_done(path)
    objects = path.parent / "runs" / "small" / "store" / "objects"
    before = len(list(objects.glob("*/*")))
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 100
    while len(list(objects.glob("*/*"))) < before + 2 and time.monotonic() < deadline:  # it goes on
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.count("cannot be interrupted with Ctrl-C") == 1
    assert f"kill {process.pid}" in said
    assert any(stage.done for stage in Campaign.load(path).status().stages)


def test_a_mobile_ion_that_is_not_in_the_crystal_is_refused(small_campaign):
    path = small_campaign(("mobile_ion: Li", "mobile_ion: Na"), ("{Li: 1,", "{Li: 1, Na: 1,"))
    with pytest.raises(CampaignFileError, match="mobile ion Na is not in the crystal"):
        Campaign.load(path).check()


def test_charges_that_cannot_balance_are_refused(small_campaign):
    path = small_campaign(("Y: 3", "Y: 7"))
    with pytest.raises(CompositionError) as caught:
        Campaign.load(path).check()
    assert caught.value.fix


def test_an_engine_that_is_not_installed_is_named_with_the_command_that_installs_it(
    small_campaign, monkeypatch, tmp_path
):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "nowhere"))
    path = small_campaign(("pair: {engine: pair}", "pair: {engine: chgnet}"))
    with pytest.raises(EngineError, match="chgnet") as caught:
        Campaign.load(path).check()
    assert "superionic engines install chgnet" in str(caught.value)


def test_the_plan_counts_before_anything_runs(small_campaign):
    campaign = Campaign.load(small_campaign())
    plan = campaign.check()
    assert [line.stage for line in plan.lines] == [*STAGES, "report"]
    assert plan.spaces[0].distinct == 30
    assert plan.cpu_hours < 0.2
    assert json.dumps(plan.to_dict())
    assert {line.kind for line in plan.lines} == {"core"}
    assert not campaign.run_folder.exists()


def test_labels_by_a_dft_code_are_planned_for_its_jobs(small_campaign):
    plan = Campaign.load(small_campaign(('label: {engine: "potential:pair"}', "label: {engine: vasp}"))).check()
    assert {line.stage: line.kind for line in plan.lines} == {
        **dict.fromkeys([*STAGES, "report"], "core"),
        "label": "dft",
    }


def test_two_campaign_files_of_one_name_in_one_folder_are_refused(small_campaign):
    path = small_campaign()
    other = path.with_name("other.yml")
    other.write_text(path.read_text().replace("name: small", "name: another"))
    Campaign.load(path)
    other.write_text(path.read_text())
    with pytest.raises(CampaignFileError, match=r"other\.yml is a campaign of the same name, 'small'") as refused:
        Campaign.load(path)
    assert "--run-folder" in str(refused.value.fix)
    Campaign.load(path, run_folder=path.parent / "elsewhere")
    # Files that are no campaigns do not matter, nor what cannot be read.
    other.write_text("superionic: [small")
    (path.parent / "bytes.yaml").write_bytes(b"\xff superionic small")
    Campaign.load(path)


def test_finished_labels_that_check_a_potential_need_no_sampling(finished):
    path = finished()
    Campaign.load(path).export_labels(path.with_name("own.extxyz"))
    text = path.read_text()
    text = (
        text[: text.index("select:")]
        + "label: {engine: finished, finished: {files: [own.extxyz]}}\nvalidate: {}\ntransport: null\n"
    )
    path.write_text(text)
    campaign = Campaign.load(path)
    assert [line.stage for line in campaign.check().lines if line.stage in ("select", "sample")] == []
    results = campaign.run()
    (labels,) = results.label
    assert (labels.n_finished, labels.n_accepted, results.sample) == (2, 2, ())
    # The pair potential labelled them.
    assert results.validate.potential == "pair"
    assert results.validate.errors.after.rmse_force_meV_per_A == pytest.approx(0.0, abs=1e-6)
    assert "2 of 2 labels" in (path.parent / "runs" / "small" / "report" / "report.html").read_text()
    path.write_text(text + "train: {trainer: nep}\n")
    with pytest.raises(CampaignFileError, match="`label` needs `sample`"):
        Campaign.load(path)
