"""The trainer of MACE: exact segments, modes, and the traps of mace's own runner, each with a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from superionic.errors import CampaignFileError, PotentialError, StageError
from superionic.execution.codec import from_tree, to_tree
from superionic.execution.engines import resolve_engine
from superionic.models.mace import weights as mace_weights
from superionic.models.mace.trainer import TrainOptions, TrainState, start
from superionic.training.dataset import LabelledSet, Targets

SCRIPT = r"""
import json, sys, warnings
from dataclasses import replace
from pathlib import Path
import numpy as np
from ase import Atoms
warnings.simplefilter("error")
from superionic.errors import CalculationFailed, SuperionicError
from superionic.execution.codec import from_tree, to_tree
from superionic.potentials import checkpoints
from superionic.models.mace import bridge as mace_bridge
from superionic.models.mace import weights as mace_weights
from superionic.models.mace import potential as adapter
from superionic.potentials.base import load_potential
from superionic.models.mace import trainer as mace
from superionic.models.mace import graphs as mace_graphs
from superionic.models.mace import loop as mace_loop
from superionic.models.mace import network as mace_network
from superionic.training.dataset import LabelledSet, Targets
from superionic.models.mace.trainer import TrainOptions, TrainState, predict, start, train_epochs
mace_network.prepare()
import torch
folder, report = Path(sys.argv[1]), {}

def crystals(symbol, n, seed):
    rng = np.random.default_rng(seed)
    half = 5.13 / 2.0
    cell = half * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    return [Atoms(symbol, positions=[[0.0, 0.0, 0.0], np.full(3, half) + move], cell=cell, pbc=True)
            for move in rng.uniform(-0.3, 0.3, size=(n, 3))]

def labelled(structures, shift_eV=0.0, scale=0.9, stresses=True):
    own = predict(structures, model="test")
    stress = scale * own.stresses_eV_per_A3
    targets = Targets(own.energies_eV + 2.0 * shift_eV, tuple(scale * f for f in own.forces_eV_per_A),
                      stress if stresses else np.full_like(stress, np.nan))
    return LabelledSet(tuple(structures), targets, tuple(str(i) for i in range(len(structures))), "x", "own: x")

def refusal(action):
    try:
        action()
    except (SuperionicError, CalculationFailed) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was refused"

def largest(one, other):
    return float(max(np.abs(one.energies_eV - other.energies_eV).max(),
                     max(np.abs(a - b).max() for a, b in zip(one.forces_eV_per_A, other.forces_eV_per_A))))

data = labelled(crystals("LiCl", 4, 1), shift_eV=1.5)
train, validation = data.subset([0, 1, 2]), data.subset([3])
replay = labelled(crystals("YCl", 3, 2), scale=1.0)
base = {"batch_size": 2, "epochs": 3, "learning_rate": 1e-3}

# segments
ARRAYS = ("trained", "averaged", "first_moments", "second_moments", "largest_moments", "best_weights", "fixed")
def identical(a, b):
    return a.history == b.history and a.best_epoch == b.best_epoch and all(
        getattr(a, n).keys() == getattr(b, n).keys()
        and all(np.array_equal(v, getattr(b, n)[k]) for k, v in getattr(a, n).items()) for n in ARRAYS)
states = {}
report["segments"] = {}
for name, extra in {
    "naive": {"dtype": "float32", "loss": "universal"},
    "lora": {"mode": "lora", "ema_decay": None, "lora_rank": 2},
    "multihead": {"mode": "multihead", "decay_fraction": 1.0},
    "scratch": {"mode": "scratch", "channels": 8, "layers": 1, "correlation": 2, "r_max_A": 4.0, "max_L": 0,
                "amsgrad": False},
}.items():
    options = TrainOptions.from_settings({**base, **extra})
    of = {"replay": replay} if name == "multihead" else {}
    begin = start(None if name == "scratch" else "test", seed=3, options=options, train=train, **of)
    whole = train_epochs(begin, train, validation, 3)
    parts = train_epochs(from_tree(to_tree(begin), TrainState), train, validation, 1)
    parts = train_epochs(from_tree(to_tree(parts), TrainState), train, validation, 9, options)
    states[name] = (begin, whole)
    known = predict(validation.structures, weights=whole.best_weights)
    expected = validation if whole.references is None else validation.shifted(whole.references)
    report["segments"][name] = {
        "identical": identical(whole, parts),
        "epochs": [e["epoch"] for e in whole.history],
        "rates": [e["learning_rate"] for e in whole.history],
        "fitted": None if whole.references is None else dict(whole.references.eV_per_atom),
        "before_meV": whole.history[0]["train"]["mae_energy_meV_per_atom"],
        "replay": [e["replay"] is not None for e in whole.history],
        "finished": whole.finished,
        "best": [whole.best_epoch, whole.best_loss, mace_graphs.loss_over(known, expected.targets, options)],
        "dtypes": sorted({str(a.dtype) for a in [*whole.trained.values(), *whole.second_moments.values()]}),
        "largest_moments": len(whole.largest_moments) > 0, "averaged": len(whole.averaged) > 0,
    }
begin, whole = states["multihead"]
other = train_epochs(replace(begin, seed=4), train, validation, 1)
one = train_epochs(begin, train, validation, 1)
report["another_seed"] = any(not np.array_equal(other.trained[k], v) for k, v in one.trained.items())
report["constants_trained"] = [n for n in begin.trained if "bessel" in n or "atomic_energies" in n]

# the second head begins as a copy of the first, and each stays the head it is called
first = predict(replay.structures, model="test")
report["heads_at_start"] = [largest(first, predict(replay.structures, weights=begin.best_weights, head=h))
                            for h in ("foundation", "tuned")]
tuned = predict(train.structures, weights=whole.best_weights)
old = predict(train.structures, weights=whole.best_weights, head="foundation")
report["heads_differ"] = largest(tuned, old)
kept = {"energy_convention": "own: x", "precision": "float64", "weights": whole.best_weights}
through = {h: load_potential("mace", head=h, **kept).evaluate(train.structures[0]).energy_eV
           for h in (None, "tuned", "foundation")}
report["heads_loaded"] = [through[None] - tuned.energies_eV[0], through["tuned"] - tuned.energies_eV[0],
                          through["foundation"] - old.energies_eV[0]]
report["head_unknown"] = refusal(lambda: load_potential("mace", head="dft", **kept))

# files: checksum, precision, heads
network = adapter.test_network()
single = folder / "single.npz"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mace_bridge.write(network.float(), single)
with np.load(single) as file:
    report["file_dtype"] = str(file["weight:node_embedding.linear.weight"].dtype)
double = start(file=str(single), seed=1, options=TrainOptions(epochs=1), train=train)
report["file"] = [double.file_sha256 == checkpoints.checksum(single),
                  sorted({str(a.dtype) for a in double.trained.values()}),
                  largest(first, predict(replay.structures, weights=double.best_weights))]
several = folder / "several.npz"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    foreign = mace_weights.unpack(whole.best_weights)
    foreign.heads = ["pt_head", "Default"]
    mace_bridge.write(foreign, several)
report["file_heads"] = [refusal(lambda: start(file=str(several), seed=1, train=train)),
                        refusal(lambda: predict(train.structures, file=str(several), head="dft"))]
chosen = start(file=str(several), seed=1, options=TrainOptions(foundation_head="pt_head"), train=train)
report["head_chosen"] = largest(old, predict(train.structures, weights=chosen.best_weights))
written = mace.write_file(whole.best_weights, str(folder / "tuned.npz"))
report["written"] = [largest(tuned, predict(train.structures, file=str(folder / "tuned.npz"))),
                     written == checkpoints.checksum(folder / "tuned.npz")]
report["origin"] = refusal(lambda: load_potential("mace", file=str(several), weights=double.best_weights,
                                                  energy_convention="own: x"))
(folder / "pickle.model").write_bytes(b"never loaded")
report["pickle"] = refusal(lambda: start(file=str(folder / "pickle.model"), seed=1, train=train))
# the head of a file is not asked of weights that have heads of their own
again = start(weights=whole.best_weights, seed=1, options=replace(begin.options, foundation_head="pt_head"),
              train=train, replay=replay)
report["rung"] = [largest(tuned, predict(train.structures, weights=again.best_weights)),
                  json.loads(again.fixed[mace_weights.SETTINGS].tobytes())["heads"]]

# frames
plain = TrainOptions(epochs=2, batch_size=2)
report["frame"] = refusal(lambda: train_epochs(start("test", seed=1, options=plain), train, validation, 1))
declared = {"Li": -1.9 + 1.5, "Cl": -1.8 + 1.5}
report["declared"] = dict(start("test", seed=1, options=replace(plain, e0s=declared), train=train)
                          .references.eV_per_atom)
from superionic.execution.task import Context
from superionic.stages.fitting import train_task
report["declared_shifts"] = mace.declared_shifts(train.structures, replace(plain, e0s=declared), model="test")
labels = [{"energy_eV": e, "forces_eV_per_A": f, "stress_eV_per_A3": s, "provenance": {
    "settings_hash": "x", "energy_convention": "own: x"}, "diagnostics": {}} for e, f, s in zip(
    data.targets.energies_eV, data.targets.forces_eV_per_A, data.targets.stresses_eV_per_A3)]
told = train_task.perform(
    {"trainer": "mace", "seed": 1, "n_epochs": 1, "options": {"epochs": 1, "e0s": declared}, "state": None,
     "replay": None, "potential": {"name": "mace", "model": "test", "options": {}}},
    {"atoms": list(data.structures), "labels": labels,
     "dataset": {"split": {"train": [0, 1, 2], "validation": [3], "test": [], "leak_free": True},
                 "element_references": {"eV_per_atom": {}, "rank": 0, "rms_residual_eV_per_atom": 0.0},
                 "shifts_eV": np.full(4, 99.0)}},
    Context(folder, lambda *_: None, {})).state
report["declared_in_a_stage"] = [told["references"]["eV_per_atom"],
                                 told["history"][0]["validation"]["mae_energy_meV_per_atom"]]
for name, e0s in {"declared_wrong": {"Li": -7.0, "Cl": -460.0}, "declared_lacks": {"Li": 1.0}}.items():
    report[name] = refusal(lambda: start("test", seed=1, options=replace(plain, e0s=e0s), train=train))
off = replace(replay, targets=replace(replay.targets, energies_eV=replay.targets.energies_eV - 2.0))
multi = replace(plain, mode="multihead")
report["replay_frame"] = refusal(lambda: start("test", seed=1, options=multi, train=train, replay=off))
pseudo = start("test", seed=1, options=replace(multi, replay_labels="foundation"), train=train, replay=off)
report["pseudo"] = [float(np.abs(pseudo.replay.targets.energies_eV - replay.targets.energies_eV).max()),
                    list(pseudo.notes)]
report["made"] = float(np.abs(mace.pseudo_labelled(replay.structures, model="test").targets.energies_eV
                              - replay.targets.energies_eV).max())

# elements and form
foreign = replace(train, structures=tuple(crystals("NaCl", 3, 1)))
begin = start("test", seed=1, options=plain, train=train)
report["elements"] = [
    refusal(lambda: start("test", seed=1, options=plain, train=foreign)),
    refusal(lambda: start("test", seed=1, options=multi, train=train, replay=foreign)),
    refusal(lambda: train_epochs(replace(begin, references=None), train, foreign, 1)),
    refusal(lambda: predict(foreign.structures, model="test"))]
report["form"] = [refusal(lambda: start("test", seed=1, options=replace(plain, **{n: v}), train=train)) for n, v in
                  {"r_max_A": 5.0, "channels": 128}.items()]
same = replace(plain, r_max_A=4.5, channels=8, max_L=1, layers=2, correlation=2)
report["same_form"] = refusal(lambda: start("test", seed=1, options=same, train=train))

# what is frozen keeps its weights
report["frozen"] = {}
for freeze in ("embeddings", "all-but-readout"):
    options = replace(plain, mode="frozen", freeze=freeze, epochs=1)
    f = train_epochs(start("test", seed=1, options=options, train=train), train, None, 1)
    moved = {n.split(".")[0] for n, a in f.best_weights.items() if not np.array_equal(a, begin.best_weights[n])}
    report["frozen"][freeze] = sorted(moved)

# patience, broken labels, labels without stress
wild = train_epochs(replace(begin, options=replace(plain, epochs=60, patience=2, learning_rate=0.3,
                                                   ema_decay=None)), train, validation, 60)
report["patience"] = [wild.epoch, wild.best_epoch, wild.finished]
broken = replace(train, targets=replace(train.targets, forces_eV_per_A=(np.full((2, 3), np.nan),) * 3))
report["broken"] = refusal(lambda: train_epochs(begin, broken, None, 1))
few = Targets(train.targets.energies_eV, train.targets.forces_eV_per_A,
              np.where([[True], [False], [False]], train.targets.stresses_eV_per_A3, np.nan))
report["stress_notes"] = list(start("test", seed=1, options=plain, train=replace(train, targets=few)).notes)
heavy = replace(plain, energy_weight=0.0, force_weight=0.0)
whole_set = labelled(train.structures, scale=1.0).targets
report["stress_loss"] = [mace_graphs.loss_over(whole_set.subset(i), few.subset(i), heavy) for i in ([0, 1, 2], [0])]

# the losses are mace's
from mace.modules import UniversalLoss, WeightedEnergyForcesStressLoss
from mace.tools.torch_geometric import Batch
class Reference(dict):
    def __getattr__(self, name):
        return self[name]
predicted = labelled(data.structures, scale=1.0).targets
reference = Targets(predicted.energies_eV + 0.3, tuple(0.5 * f + 0.01 for f in predicted.forces_eV_per_A),
                    0.7 * predicted.stresses_eV_per_A3)
reference.forces_eV_per_A[0].setflags(write=True)
reference.forces_eV_per_A[0][0] = [150.0, 0.0, 0.0]
reference.forces_eV_per_A[0][1] = [0.0, 250.0, 300.0]
def as_batch(t):
    n = len(t)
    full = t.stresses_eV_per_A3[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(-1, 3, 3)
    ones = torch.ones(n, dtype=torch.float64)
    return Reference(
        energy=torch.tensor(np.array(t.energies_eV)), forces=torch.tensor(np.concatenate(t.forces_eV_per_A)),
        stress=torch.tensor(full), ptr=torch.arange(0, 2 * n + 1, 2), weight=ones, energy_weight=ones,
        forces_weight=ones, stress_weight=ones)
GPA = 160.21766208
report["losses"] = []
for name, theirs in {"stress": WeightedEnergyForcesStressLoss, "universal": UniversalLoss}.items():
    options = TrainOptions(loss=name, energy_weight=3.0, force_weight=7.0, stress_weight=0.1)
    value = float(theirs(energy_weight=3.0, forces_weight=7.0, stress_weight=0.1 * GPA**2)
                  (as_batch(reference), as_batch(predicted), ddp=False))
    report["losses"].append(mace_graphs.loss_over(predicted, reference, options) / value)
print(json.dumps(report))
"""


def _structures() -> LabelledSet:
    atoms = Atoms("LiCl", positions=[[0.0] * 3, [2.5] * 3], cell=5.0 * np.eye(3), pbc=True)
    targets = Targets(np.zeros(2), (np.zeros((2, 3)),) * 2, np.full((2, 6), np.nan))
    return LabelledSet((atoms, atoms), targets, ("a", "b"), "x", "own: x")


# ---- without the engine -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"epoch": 3}, "epoch"),
        ({"mode": "multi"}, "multi"),
        ({"loss": "weighted"}, "weighted"),
        ({"dtype": "float16"}, "float16"),
        ({"freeze": "half", "mode": "frozen"}, "half"),
        ({"mode": "frozen"}, "none"),
        ({"initial": "random"}, "random"),
        ({"mode": "lora", "freeze": "embeddings"}, "embeddings"),
        ({"mode": "multihead", "replay_weight": 0.0}, "0.0"),
        ({"batch_size": 0}, "0"),
        ({"learning_rate": float("nan")}, "nan"),
        ({"learning_rate": None}, "None"),
        ({"force_weight": -1.0}, "-1.0"),
        ({"ema_decay": 1.0}, "1.0"),
        ({"patience": 0}, "0"),
        ({"max_L": -1}, "-1"),
    ],
)
def test_wrong_options_are_told_with_a_fix(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(CampaignFileError) as caught:
        TrainOptions.from_settings(settings)
    assert word in caught.value.message
    assert caught.value.fix


def test_defaults_are_paper_a_and_options_round_trip() -> None:
    options = TrainOptions()
    # mace's own: patience 2048, and 1e-4 for multi-head whatever --lr says.
    assert (options.epochs, options.patience, options.learning_rate) == (500, 20, 0.01)
    form = TrainOptions(mode="scratch").architecture()
    assert form == {"channels": 128, "layers": 2, "correlation": 3, "r_max_A": 5.0, "max_L": 1}
    full = TrainOptions(mode="multihead", e0s={"Li": -1.0}, learning_rate=0.02, ema_decay=None)
    assert TrainOptions.from_settings(json.loads(json.dumps(asdict(full)))) == full


@pytest.mark.parametrize("replay", [None, "empty"])
def test_multihead_is_never_dropped_in_silence(replay: str | None) -> None:
    labels = replace_stress(_structures())
    empty = labels.subset([]) if replay else None
    with pytest.raises(CampaignFileError, match="needs replay data") as caught:
        start("test", seed=1, options=TrainOptions(mode="multihead"), train=labels, replay=empty)
    assert "replay_labels: foundation" in str(caught.value.fix)


def replace_stress(labelled: LabelledSet) -> LabelledSet:
    return replace(labelled, targets=replace(labelled.targets, stresses_eV_per_A3=np.zeros((2, 6))))


def test_replay_data_that_no_mode_would_use_are_refused() -> None:
    labels = replace_stress(_structures())
    with pytest.raises(CampaignFileError, match="no use for replay"):
        start("test", seed=1, options=TrainOptions(), train=labels, replay=labels)


def test_a_new_network_needs_its_labels() -> None:
    with pytest.raises(CampaignFileError, match="none are given"):
        start(seed=1, options=TrainOptions(mode="scratch"))


def test_a_stress_weight_without_stresses_is_refused() -> None:
    with pytest.raises(StageError, match="no training label has a stress") as caught:
        start("test", seed=1, train=_structures())
    assert "stress_weight: 0" in str(caught.value.fix)


def _state(**changes: Any) -> TrainState:
    arrays = ("fixed", "trained", "averaged", "first_moments", "second_moments", "largest_moments", "best_weights")
    values: dict[str, Any] = {name: {"a": np.arange(3.0)} for name in arrays}
    values |= {"model": "m", "file_sha256": "", "seed": 1, "options": TrainOptions(epochs=10, patience=3), "epoch": 4}
    values |= {"steps": 8, "best_epoch": 2, "best_loss": 0.5, "references": None, "replay": _structures()}
    values |= {"notes": ("n",), "history": ({"epoch": 0},), "file": "here"}
    return TrainState(**{**values, **changes})


def test_state_round_trip_patience_and_end() -> None:
    again = from_tree(to_tree(_state()), TrainState)
    assert again.options == _state().options
    assert np.array_equal(again.trained["a"], np.arange(3.0))
    assert again.replay is not None
    assert len(again.replay) == 2
    assert again.notes == ("n",)
    assert again.file == "here"
    assert not _state().finished
    assert _state(epoch=5).stopped_early
    assert not _state(epoch=5, best_epoch=3).finished
    assert _state(epoch=10, best_epoch=9).finished
    assert not _state(epoch=9, best_epoch=0, best_loss=None).stopped_early


def test_a_head_is_named_or_the_tuned_one() -> None:
    assert mace_weights.choose_head(["Default"], None) == 0
    assert mace_weights.choose_head(["foundation", "tuned"], None) == 1
    assert mace_weights.choose_head(["foundation", "tuned"], "foundation") == 0
    for heads, head in ((["pt_head", "Default"], None), (["Default"], "tuned")):
        with pytest.raises(PotentialError, match="Name one"):
            mace_weights.choose_head(heads, head)


def test_importing_the_trainer_imports_no_torch() -> None:
    code = "import sys, superionic.models.mace.trainer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- in the engine's environment ----------------------------------------------------------------------------------

with_mace = pytest.mark.engine("mace")


@pytest.fixture(scope="module")
def report(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    command = [str(resolve_engine("mace").python), "-c", SCRIPT, str(tmp_path_factory.mktemp("mace"))]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert out.returncode == 0, out.stderr
    report: dict[str, Any] = json.loads(out.stdout.splitlines()[-1])
    return report


@with_mace
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["naive", "lora", "multihead", "scratch"])
def test_segments_equal_one_run_bit_for_bit(report: dict[str, Any], mode: str) -> None:
    segments = report["segments"][mode]
    assert segments["identical"]
    assert segments["epochs"] == [0, 1, 2, 3]
    assert segments["finished"]
    _, loss, again = segments["best"]
    assert again == pytest.approx(loss, rel=1e-3 if mode == "naive" else 1e-9)  # single precision
    assert segments["averaged"] == (mode != "lora")
    assert segments["largest_moments"] == (mode != "scratch")
    if mode != "scratch":
        # The shift of the labels is found and does not reach the network.
        assert segments["fitted"] == pytest.approx({"Li": 1.5, "Cl": 1.5}, abs=1e-5)
        assert segments["before_meV"] < 0.01
    assert segments["replay"] == [mode == "multihead"] * 4
    assert report["another_seed"]


@with_mace
@pytest.mark.slow
def test_the_learning_rate_is_what_the_options_say(report: dict[str, Any]) -> None:
    # A constant rate in multi-head training, where mace's runner takes 1e-4; a cosine in the others.
    assert report["segments"]["multihead"]["rates"] == [0.0, 1e-3, 1e-3, 1e-3]
    rates = report["segments"]["naive"]["rates"][1:]
    assert rates == sorted(rates, reverse=True)
    assert 1e-5 < rates[-1] < rates[0] < 1e-3


@with_mace
@pytest.mark.slow
def test_both_heads_begin_as_the_checkpoint_and_keep_their_names(report: dict[str, Any]) -> None:
    assert max(report["heads_at_start"]) < 1e-10
    assert report["heads_differ"] > 1e-3
    assert np.abs(report["heads_loaded"]).max() < 1e-9
    assert "no head 'dft'" in report["head_unknown"]
    assert report["constants_trained"] == []
    difference, heads = report["rung"]
    assert difference < 1e-10
    assert heads == ["foundation", "tuned"]


@with_mace
@pytest.mark.slow
def test_files_checksum_heads_and_trust(report: dict[str, Any]) -> None:
    assert report["file"][0]
    assert "several heads" in report["file_heads"][0]
    assert "no head 'dft'" in report["file_heads"][1]
    assert report["head_chosen"] < 1e-9
    assert report["written"][0] < 1e-9
    assert report["written"][1]
    assert "another checkpoint" in report["origin"]
    assert "would run code" in report["pickle"]


@with_mace
@pytest.mark.slow
def test_a_checkpoint_in_single_precision_is_trained_in_the_precision_that_was_asked_for(
    report: dict[str, Any],
) -> None:
    assert report["file_dtype"] == "float32"
    _, dtypes, difference = report["file"]
    assert dtypes == ["float64"]
    assert difference < 1e-5
    assert report["segments"]["naive"]["dtypes"] == ["float32"]
    assert report["segments"]["lora"]["dtypes"] == ["float64"]


@with_mace
@pytest.mark.slow
def test_labels_of_another_energy_frame_are_refused(report: dict[str, Any]) -> None:
    assert "another zero of energy" in report["frame"]
    assert "+1.500 eV/atom" in report["frame"]
    for shifts in (report["declared"], report["declared_shifts"], report["declared_in_a_stage"][0]):
        assert shifts == pytest.approx({"Li": 1.5, "Cl": 1.5})
    assert report["declared_in_a_stage"][1] < 1e-6  # taken off once, not twice
    assert "Correct e0s" in report["declared_wrong"]
    assert "lacks Cl" in report["declared_lacks"]
    assert "replay labels lie -1.000 eV/atom" in report["replay_frame"]
    difference, notes = report["pseudo"]
    assert difference < 1e-9
    assert any("labelled by the checkpoint itself" in note for note in notes)
    assert report["made"] < 1e-9


@with_mace
@pytest.mark.slow
def test_elements_and_form_that_the_checkpoint_lacks_are_refused_before_training(report: dict[str, Any]) -> None:
    sets = ("the training set", "the replay data", "the validation set", "the set")
    for text, name in zip(report["elements"], sets, strict=True):
        assert "does not cover Na" in text
        assert name in text
    assert all("that of the checkpoint" in text for text in report["form"])
    assert report["same_form"] == "nothing was refused"


@with_mace
@pytest.mark.slow
def test_frozen_modules_keep_their_weights(report: dict[str, Any]) -> None:
    assert report["frozen"] == {
        "embeddings": ["interactions", "products", "readouts"],
        "all-but-readout": ["readouts"],
    }


@with_mace
@pytest.mark.slow
def test_training_ends_early_and_on_broken_labels(report: dict[str, Any]) -> None:
    epoch, best, finished = report["patience"]
    assert epoch == best + 2 < 60
    assert finished
    assert "not a finite number" in report["broken"]


@with_mace
@pytest.mark.slow
def test_losses_are_those_of_mace_and_missing_stresses_do_not_dilute(report: dict[str, Any]) -> None:
    assert report["losses"] == pytest.approx([1.0, 1.0], rel=1e-6)
    assert "2 of 3 labels of the training set have no stress" in report["stress_notes"]
    with_missing, alone = report["stress_loss"]
    assert with_missing > 0.0
    assert with_missing == pytest.approx(alone, rel=1e-12)
