"""How sampling, labelling and training follow one another: the section `learn`, the ladder, the active loop, kills."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from superionic import Campaign
from superionic.campaign.file.presets import complete, presets
from superionic.campaign.file.schema import CampaignFile, draft_of
from superionic.campaign.learning import judged
from superionic.execution.ledger import LEDGER, Ledger
from superionic.results.learning import Exploration
from superionic.settings.learn import LadderSettings, LearnSettings, learning_of
from superionic.settings.rules import broken_rules
from superionic.settings.sample import SampleSettings

MINIMAL = {
    "superionic": 1,
    "name": "test",
    "mobile_ion": "Li",
    "oxidation_states": {"Li": 1, "Cl": -1},
    "crystals": [{"name": "p", "file": "p.cif"}],
}


def filled(preset=None, **sections):
    own = {} if preset else {"select": {}, "label": {}, "train": {}, "sample": {}}
    return complete({**MINIMAL, **({"preset": preset} if preset else {}), **own, **sections})


def problems(**sections):
    return {
        problem.dotted: f"{problem.message}; {problem.hint}" for problem in broken_rules(draft_of(filled(**sections)))
    }


def plan_of(**sections):
    file = CampaignFile.model_validate(filled(**sections))
    assert file.sample is not None
    return learning_of(file.learn, file.sample)


# ---- the section ----------------------------------------------------------------------------------------------------


def test_files_without_the_section_mean_what_they_meant():
    one = plan_of()
    assert (one.strategy, one.members, one.rounds) == ("one-shot", 1, (((800.0, 30),),))
    several = plan_of(sample={"temperatures_K": [200, 400, 600]})
    assert several.strategy == "ladder"
    assert several.rounds == (((200.0, 30),), ((400.0, 30),), ((600.0, 30),))


def test_each_preset_has_its_strategy():
    assert plan_of(preset="demo").strategy == "one-shot"
    mace = {"engine": "mace", "file": "mace-mp-0.npz", "energy_convention": "MP raw PBE(+U)"}
    a = plan_of(preset="paper-a", potentials={"mace": mace})
    assert (a.strategy, a.rounds) == ("one-shot", (((800.0, 30),),))
    b = plan_of(preset="paper-b")
    assert (b.strategy, b.rounds) == ("ladder", tuple(((t, 75),) for t in (200.0, 400.0, 600.0, 800.0)))


def test_the_presets_select_and_sample_as_the_papers_say():
    a, b = presets()["paper-a"], presets()["paper-b"]
    # Paper A: 30 snapshots of each run make about 2500 structures; Boltzmann factor at 800 K; 5 + 10 ps; ±3 %.
    assert 30 * a["select"]["count"] == pytest.approx(2500, rel=0.01)
    assert a["select"]["temperature_K"] == 800.0
    assert [a["sample"][k] for k in ("equilibration_ps", "production_ps", "snapshots", "max_strain")] == [
        5,
        10,
        30,
        0.03,
    ]
    # Paper B: one structure of each end member; 10^6 steps of 1 fs, every 10th stored; 150 to 300 labels a rung.
    assert b["select"]["count"] == 1
    steps = b["sample"]["production_ps"] * 1000 / b["sample"]["timestep_fs"]
    assert (steps, b["sample"]["save_every_fs"]) == (1.0e6, 10.0)
    assert 150 <= 2 * b["sample"]["snapshots"] <= 300
    assert b["sample"]["snapshot_method"] == "farthest-point"


def test_a_ladder_by_its_spacing_fills_the_temperatures():
    assert LadderSettings(from_K=200, step_K=200, to_K=800).rungs == (200, 400, 600, 800)
    assert LadderSettings(from_K=300, step_K=150, to_K=700).rungs == (300, 450, 600, 700)
    assert LadderSettings(from_K=500, step_K=100, to_K=500).rungs == (500,)
    assert LadderSettings(from_K=800, step_K=100, to_K=500).rungs == ()
    assert LadderSettings(from_K=1, step_K=0.001, to_K=500).rungs == ()
    ladder = {"from_K": 300, "step_K": 150, "to_K": 600}
    assert plan_of(learn={"ladder": ladder}).rounds == (((300.0, 30),), ((450.0, 30),), ((600.0, 30),))
    # It wins over the rungs of a preset, and completing twice changes nothing further.
    raw = filled(preset="paper-b", learn={"ladder": ladder})
    assert raw["sample"]["temperatures_K"] == [300, 450, 600]
    assert complete(raw) == raw


def test_budgets_are_one_number_or_one_for_each_temperature():
    plan = plan_of(sample={"temperatures_K": [200, 400], "snapshots": [50, 80]})
    assert plan.rounds == (((200.0, 50),), ((400.0, 80),))
    once = plan_of(sample={"temperatures_K": [200, 400], "snapshots": [50, 80]}, learn={"strategy": "one-shot"})
    assert once.rounds == (((200.0, 50), (400.0, 80)),)
    found = problems(sample={"temperatures_K": [200, 400], "snapshots": [50]})
    assert "1 budgets for 2 temperatures" in found["sample.snapshots"]
    found = problems(sample={"temperatures_K": [200, 400], "snapshots": [50, 5000], "production_ps": 10})
    assert "5000 snapshots are asked" in found["sample.snapshots"]


def test_the_active_loop_has_a_committee_and_its_own_temperatures():
    plan = plan_of(learn={"strategy": "active"})
    assert (plan.members, plan.explored_K) == (3, (800.0,))
    plan = plan_of(learn={"strategy": "active", "members": 2, "active": {"temperatures_K": [500, 700]}})
    assert (plan.members, plan.explored_K, plan.active.max_rounds) == (2, (500.0, 700.0), 5)
    assert learning_of(LearnSettings(), SampleSettings()).explored_K == ()


def test_mistakes_are_named_with_the_fix():
    found = problems(learn={"strategy": "active", "members": 1})
    assert "two members" in found["learn.members"]
    found = problems(learn={"ladder": {"from_K": 200, "step_K": 100, "to_K": 400}}, sample={"temperatures_K": [300]})
    assert "200, 300, 400 K" in found["learn.ladder"]
    assert "no ladder" in problems(learn={"ladder": {"from_K": 400, "step_K": 100, "to_K": 200}})["learn.ladder"]
    found = problems(learn={"strategy": "one-shot", "ladder": {"from_K": 200, "step_K": 100, "to_K": 400}})
    assert "strategy: ladder" in found["learn.ladder"]
    active = {"collect_above_eV_per_A": 2.0, "check_every_fs": 3.0}
    found = problems(learn={"strategy": "active", "active": active}, sample={"timestep_fs": 2})
    assert "before a frame above 2 eV/Å" in found["learn.active.stop_above_eV_per_A"]
    assert "whole number of time steps" in found["learn.active.check_every_fs"]
    assert "members: 3" in problems(sample={"snapshot_method": "committee"})["sample.snapshot_method"]
    assert problems(sample={"snapshot_method": "committee"}, learn={"members": 2}) == {}
    assert "needs shares" in problems(sample={"snapshot_method": "mixture"})["sample.snapshot_mixture"]
    assert "no mixture" in problems(sample={"snapshot_mixture": {"cur": 1.0}})["sample.snapshot_mixture"]
    mixed = {"snapshot_method": "mixture", "snapshot_mixture": {"cur": 0.5, "committee": 0.5}}
    assert "needs a committee" in problems(sample=mixed)["sample.snapshot_method"]
    alone = complete({**MINIMAL, "learn": {}})
    assert any(p.dotted == "learn" and "`train`" in p.message for p in broken_rules(draft_of(alone)))


def test_any_potential_may_sample_for_a_training_from_labels():
    sections = {"potentials": {"pair": {"engine": "pair"}}}
    assert "cannot train" in problems(**sections)["train.trainer"]
    assert problems(**sections, train={"trainer": "nep"}) == {}
    found = problems(**sections, train={"trainer": "nep", "options": {"n_neuron": 3}})
    assert "n_neurons" in found["train.options.n_neuron"]


def test_agreement_counts_only_of_members_that_differ_in_runs_that_came_to_their_end():
    active = plan_of(learn={"strategy": "active"}).active

    def agrees(above=0, worst=0.05, stopped=0, **more):
        explored = Exploration(length_ps=1.0, looked_at=100, worst_eV_per_A=worst, above=above)
        return judged(2, [explored], stopped, active.model_copy(update=more)).agrees

    assert agrees()
    assert agrees(above=2)
    assert not agrees(above=3)
    assert not agrees(worst=0.0)  # the same weights in all members
    assert not agrees(stopped=1)
    assert agrees(done_ps=1.0)
    assert not agrees(done_ps=5.0)


# ---- campaigns ------------------------------------------------------------------------------------------------------

TEXT = """\
superionic: 1
name: learning
seed: 3
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals:
  - {name: P-3m1, file: li3ycl6_p-3m1.cif}
references:
  - {name: LiCl, file: licl.cif}
  - {name: YCl3, file: ycl3.cif}
potentials:
  pair: {engine: pair}
  softer: {engine: pair, options: {charge_scale: 0.9}}
enumerate: {ewald_keep: 2}
rank: {relax_top: 1, fmax_eV_per_A: 0.5, max_steps: 20, method: single-points, potential: pair}
select: {count: 1}
sample:
  potential: pair
  temperatures_K: [300, 600]
  timestep_fs: 2
  replicas: 2
  equilibration_ps: 0
  production_ps: 0.08
  segment_ps: 0.08
  snapshots: [4, 3]
  monitors: {max_drift_meV_per_atom: null}
label: {engine: "potential:softer", gates: {energy_outlier_sigma: null}}
learn: {strategy: ladder}
train:
  trainer: nep
  epochs: 6
  epochs_per_segment: 2
  patience: null
  validation_fraction: 0.2
  test_fraction: 0.2
  preflight: warn
  options: {n_radial: 3, n_angular: 2, l_max: 2, n_neurons: 6, cutoff_radial_A: 4.5, cutoff_angular_A: 3.5}
validate: {}
transport: null
analyse: null
"""
ACTIVE = """\
learn:
  strategy: active
  members: 2
  active: {max_rounds: 1, labels_per_round: 4, collect_above_eV_per_A: 0.01, stop_above_eV_per_A: 50}
"""


def written(root: Path, folder: Path, learn: str = "learn: {strategy: ladder}\n", *replacements) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("li3ycl6_p-3m1.cif", "licl.cif", "ycl3.cif"):
        shutil.copy(root / "examples" / "li3ycl6" / name, folder / name)
    text = TEXT.replace("learn: {strategy: ladder}\n", learn)
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "campaign.yaml"
    path.write_text(text)
    return path


@pytest.mark.slow
def test_one_shot_samples_all_temperatures_with_the_pretrained_potential(root, tmp_path):
    path = written(root, tmp_path, "learn: {strategy: one-shot}\n")
    results = Campaign.load(path).run(until="train", write_report=False)
    assert {sampled.potential for sampled in results.sample} == {"pair"}
    assert [(labels.round, labels.n_requested) for labels in results.label] == [(1, 14)]
    assert results.validate is None


@pytest.fixture(scope="module")
def active(root, tmp_path_factory):
    """A folder with an active loop that ran undisturbed, its results, and what every task gave."""
    folder = tmp_path_factory.mktemp("active")
    campaign = Campaign.load(written(root, folder, ACTIVE))
    return folder, campaign.run(write_report=False), products(campaign.run_folder / "store")


@pytest.mark.slow
def test_the_active_loop_labels_what_the_committee_disagrees_about_until_it_may_not_go_on(root, active):
    folder, results, _ = active
    learning = results.learning
    assert [entry.round for entry in learning.rounds] == [2, 3]
    plain = [run for sampled in results.sample for run in sampled.runs if run.explored is None]
    assert sum(run.n_snapshots for run in plain) == 14
    assert 1 <= learning.rounds[0].labels <= 4
    assert learning.ended == "all rounds are used up"
    assert not learning.agrees
    assert [(train.round, [member.member for member in train.members]) for train in results.train] == [
        (1, [2]),
        (2, [2]),
    ]
    said = " ".join(statement.words for statement in results.statements)
    assert "before the committee agreed (all rounds are used up)" in said
    # A committee that errs more than it disagrees is doubted.
    worst, error = 1.0e3 * learning.rounds[-1].worst_eV_per_A, results.validate.errors.after.rmse_force_meV_per_A
    assert ("too alike" in said) == (worst < 0.3 * error)
    # A threshold that nothing reaches: the loop ends after its first exploration.
    easy = ACTIVE.replace("collect_above_eV_per_A: 0.01", "collect_above_eV_per_A: 49.9")
    calm = Campaign.load(written(root, folder, easy)).run(write_report=False)
    assert calm.learning.ended == "the committee agrees"
    # Runs that fell over all the same (the committee was wrong together) gave their last frames.
    rounds = calm.learning.rounds
    assert sum(labels.n_requested for labels in calm.label) == 14 + sum(entry.labels for entry in rounds)
    assert rounds[-1].stopped == rounds[-1].above == 0
    # And a budget of labels ends it, too.
    poor = ACTIVE.replace("max_rounds: 1", "max_rounds: 1, max_labels: 14")
    spent = Campaign.load(written(root, folder, poor)).run(write_report=False)
    assert spent.learning.ended == "all labels are used up"


def products(store: Path) -> dict[str, bytes]:
    """What every task gave, by its key."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted((store / "objects").rglob("*"))
        if path.is_file()
    }


DRIVER = '''\
"""Run a campaign and be killed at a moment of the n-th task of a stage: by what is reached, never by the clock."""

import os, signal, sys, threading, time
from pathlib import Path

from superionic.cli import main
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.worker import WorkerProcess

campaign, stage, moment, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
stages, seen, lock = {}, [], threading.Lock()
plain_started, plain_finished, plain_call = Ledger.started, Ledger.finished, WorkerProcess.call


def reached(key, *moments):
    if moment not in moments or stages.get(key) != stage:
        return False
    with lock:
        seen.append(key)
        return len(seen) == number


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def started(ledger, key, its_stage, *rest):
    stages[key] = its_stage
    plain_started(ledger, key, its_stage, *rest)
    if reached(key, "noted"):
        die()


def call(worker, request, **options):
    if not reached(request["key"], "at work"):
        return plain_call(worker, request, **options)
    threading.Thread(target=die_when_at_work, args=(Path(request["store"]), request["key"]), daemon=True).start()
    plain_call(worker, request, **options)
    threading.Event().wait()  # done before we could look: it must not be recorded, death is near


def die_when_at_work(store, key):
    result = store / "objects" / key[:2] / f"{key}.zip"
    while not any(store.glob(f"tmp/scratch-{key[:16]}-*")) and not result.exists():
        time.sleep(0.001)
    die()


def finished(ledger, key, *rest):
    ours = reached(key, "stored", "recorded")
    if ours and moment == "stored":
        die()
    plain_finished(ledger, key, *rest)
    if ours:
        die()


Ledger.started, Ledger.finished, WorkerProcess.call = started, finished, call
main(["run", campaign, "--quiet", "--workers", "2"])
'''
# Noted in the ledger but not begun; in the worker's hands; its result stored but not recorded; recorded. Kills at
# random are in tests/faults. One kill ends two tasks at most, as there are two workers.
KILLS = [("label", "noted", 1), ("label", "stored", 1), ("train", "at work", 1), ("train", "recorded", 1)]
KILLS += [("train", "stored", 2)]


@pytest.mark.slow
def test_kills_at_each_moment_of_labelling_and_training_change_no_byte(root, tmp_path, active):
    path = written(root, tmp_path / "killed", ACTIVE)
    ledger = path.parent / "runs" / "learning" / LEDGER
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}

    def run_until(stage: str, moment: str, number: int) -> int:
        command = [sys.executable, str(tmp_path / "driver.py"), str(path), stage, moment, str(number)]
        return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode

    for stage, moment, number in KILLS:
        code = run_until(stage, moment, number)
        if code == 0:  # a stage was used up before its kills were: begin anew
            shutil.rmtree(path.parent / "runs")
            code = run_until(stage, moment, number)
        assert code == -signal.SIGKILL, (stage, moment, number)
        with Ledger(ledger) as found:
            last = max(found.find(""), key=lambda record: record.finished or 0.0)
            open_ones = [record for record in found.find("") if record.state == "running"]
            assert stage in {record.stage for record in ([last] if moment == "recorded" else open_ones)}, moment
    assert run_until("no stage", "at work", 1) == 0
    ours = products(path.parent / "runs" / "learning" / "store")
    assert ours == active[2]
    assert any(b"arrays.npz" in data for data in ours.values())
    with Ledger(ledger) as found:
        assert max(found.completions().values()) == 1
