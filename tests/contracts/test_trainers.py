"""One suite for every trainer; run in the environment of its engine."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise

import pytest

from superionic.errors import CampaignFileError
from superionic.registry import DELTA, trainable
from superionic.stages.study_compare import choose_methods
from superionic.training.base import options_of, trainer, trainer_names

RESUME = "superionic.training.conformance:resume_exactly"
SHARED = ("epochs", "batch_size", "learning_rate", "energy_weight", "force_weight", "stress_weight", "patience")


@pytest.mark.parametrize("name", trainer_names())
def test_the_names_of_the_contract_are_there(name):
    module = trainer(name)
    for word in ("TrainOptions", "TrainState", "start", "train_epochs", "predict"):
        assert hasattr(module, word), word
    options = module.TrainOptions
    assert is_dataclass(options)
    assert options.__dataclass_params__.frozen
    assert all(f.default is not MISSING or f.default_factory is not MISSING for f in fields(options))
    # A correction is fitted to all labels at once, by steps whose length follows from them.
    without = {"batch_size", "learning_rate"} if name == DELTA else set()
    assert set(SHARED) - without <= {f.name for f in fields(options)}
    assert module.TrainState.__dataclass_params__.frozen


@pytest.mark.parametrize("name", trainer_names())
def test_importing_a_trainer_imports_no_engine(name):
    engines = ("torch", "e3nn", "dgl", "sevenn")
    code = f"import sys, {trainer(name).__name__}; sys.exit(any(m in sys.modules for m in {engines}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", trainer_names())
def test_options_are_judged_by_name(name):
    with pytest.raises(CampaignFileError, match="no_such"):
        options_of(name, {}, {"no_such": 1})
    with pytest.raises(CampaignFileError):
        options_of(name, {"epochs": 0})
    # None is the trainer's own default, and a shared setting that it lacks is left out.
    accepted = options_of(name, {"epochs": 7, "learning_rate": None, "not_of_any_trainer": 3})
    assert accepted == {"epochs": 7}
    # But no patience is never, whatever the trainer's own is.
    without = trainer(name).TrainOptions.from_settings(options_of(name, {"patience": None}))
    assert without.patience is None
    for changes in choose_methods(name).values():
        assert options_of(name, {}, changes) == dict(changes)


def test_there_is_no_trainer_of_that_name():
    with pytest.raises(CampaignFileError) as caught:
        trainer("pair")
    assert "chgnet" in (caught.value.fix or "")


def test_every_trainer_has_its_ways():
    for model in trainable().values():
        assert model.methods
        assert importlib.import_module(model.trainer).__doc__


def judge(report, *, precision, frame=True):
    assert report["identical"]
    assert report["another_seed"]
    assert not report["mutated"]
    assert report["options_refused"]
    assert [entry["epoch"] for entry in report["history"]] == list(range(report["epoch"] + 1))
    losses = [entry["validation"]["loss"] for entry in report["history"]]
    assert report["best_epoch"] == losses.index(min(losses))
    for entry in report["history"]:
        for part in ("train", "validation"):
            assert {"loss", "mae_energy_meV_per_atom", "mae_force_meV_per_A", "mae_stress_GPa"} <= set(entry[part])
    rates = [entry["learning_rate"] for entry in report["history"][1:]]
    assert all(later <= before for before, later in pairwise(rates))
    assert report["history"][-1]["train"]["loss"] < report["history"][0]["train"]["loss"]
    assert (report["predicted_change"] > 0.0) == (report["best_epoch"] > 0)
    # The potential that a campaign loads with the weights is the one that was trained.
    assert report["loaded_force_eV_per_A"] < precision
    # And so is the one that other campaigns load from its file.
    assert report["exported"]
    if frame:  # the shift of the labels is found again and does not reach the network
        assert report["eV_per_atom"] == pytest.approx({"Li": 1.5, "Cl": 1.5}, abs=1e-4)


OPTIONS = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-3}


@pytest.mark.slow
@pytest.mark.engine("chgnet")
@pytest.mark.parametrize("more", [{}, {"freeze": "all-but-readout"}, {"freeze": "one-block"}])
def test_chgnet(engine_call, more):
    report = engine_call("chgnet", RESUME, {"trainer": "chgnet", "options": {**OPTIONS, **more}, "shift_eV": 1.5})
    judge(report, precision=2e-4)
    assert "composition_model.fc.weight" in report["frozen"]
    first = [name for name in report["frozen"] if name.startswith("atom_conv_layers.0")]
    assert bool(first) == bool(more)


@pytest.mark.slow
@pytest.mark.engine("chgnet")
def test_chgnet_from_random_weights(engine_call):
    options = {**OPTIONS, "initial": "random"}
    report = engine_call("chgnet", RESUME, {"trainer": "chgnet", "options": options, "shift_eV": 1.5})
    judge(report, precision=2e-4)


@pytest.mark.slow
@pytest.mark.engine("mace")
@pytest.mark.parametrize("more", [{}, {"mode": "frozen", "freeze": "embeddings"}, {"mode": "lora"}])
def test_mace(engine_call, more):
    settings = {
        "trainer": "mace",
        "model": "test",
        "options": {**OPTIONS, **more},
        "shift_eV": 1.5,
        "potential_options": {"precision": "float64"},
    }
    judge(engine_call("mace", RESUME, settings), precision=1e-6)


@pytest.mark.slow
@pytest.mark.engine("sevennet")
@pytest.mark.parametrize("model", ["7net-0", "7net-mf-0/PBE"])
def test_sevennet(engine_call, model):
    settings = {"trainer": "sevennet", "model": model, "options": {**OPTIONS, "learning_rate": 1e-4}, "shift_eV": 1.5}
    judge(engine_call("sevennet", RESUME, settings), precision=2e-4)


@pytest.mark.slow
@pytest.mark.engine("matgl")
@pytest.mark.parametrize("model", ["test-m3gnet", "test-tensornet"])
def test_matgl(engine_call, model):
    # The energies of the small networks are scaled up, and so are their steps.
    settings = {"trainer": "matgl", "model": model, "options": {**OPTIONS, "learning_rate": 2e-5}, "shift_eV": 1.5}
    judge(engine_call("matgl", RESUME, settings), precision=5e-3)
