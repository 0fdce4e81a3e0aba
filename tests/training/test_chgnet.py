from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from superionic.errors import CampaignFileError
from superionic.execution.codec import from_tree, to_tree
from superionic.models.chgnet.trainer import TrainOptions, TrainState


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"epoch": 3}, "epoch"),
        ({"freeze": "half"}, "half"),
        ({"batch_size": 0}, "0"),
        ({"learning_rate": float("nan")}, "nan"),
        ({"force_weight": -1.0}, "-1.0"),
        ({"patience": 0}, "0"),
    ],
)
def test_wrong_options_are_told_with_a_fix(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(CampaignFileError) as caught:
        TrainOptions.from_settings(settings)
    assert word in caught.value.message
    assert caught.value.fix


def state(**changes: Any) -> TrainState:
    values: dict[str, Any] = {
        "model": "0.3.0",
        "seed": 1,
        "options": TrainOptions(epochs=10, patience=3),
        "epoch": 4,
        "weights": {"a": np.arange(3, dtype=np.float32)},
        "first_moments": {},
        "second_moments": {},
        "steps": 8,
        "best_weights": {"a": np.zeros(3, dtype=np.float32)},
        "best_epoch": 2,
        "best_loss": 0.5,
        "references": None,
        "history": ({"epoch": 0},),
    }
    return TrainState(**{**values, **changes})


def test_state_round_trip() -> None:
    again = from_tree(to_tree(state()), TrainState)
    assert again.options == state().options
    assert np.array_equal(again.weights["a"], state().weights["a"])
    assert again.history == ({"epoch": 0},)


def test_patience_and_end() -> None:
    assert not state().finished
    assert state(epoch=5).stopped_early
    assert state(epoch=5, best_epoch=3).finished is False
    assert state(epoch=10, best_epoch=9).finished
    assert not state(epoch=9, best_epoch=0, best_loss=None).stopped_early


def test_importing_the_trainer_imports_no_torch() -> None:
    code = "import sys, superionic.models.chgnet.trainer, superionic.labels.gpaw; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.engine("chgnet")
@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["none", "all-but-readout"])
def test_segments_equal_one_run_bit_for_bit(engine_call: Callable[..., Any], freeze: str) -> None:
    options = {"epochs": 3, "batch_size": 2, "learning_rate": 1e-3, "freeze": freeze}
    report = engine_call(
        "chgnet", "superionic.training.conformance:resume_exactly", {"options": options, "shift_eV": 1.5}
    )
    assert report["identical"]
    assert report["another_seed"]
    assert [entry["epoch"] for entry in report["history"]] == [0, 1, 2, 3]
    losses = [entry["validation"]["loss"] for entry in report["history"]]
    assert report["best_epoch"] == losses.index(min(losses))
    training = [entry["train"]["loss"] for entry in report["history"]]
    assert training[-1] < training[0]
    # The shift of the labels is found again and does not reach the network.
    assert report["eV_per_atom"] == pytest.approx({"Li": 1.5, "Cl": 1.5}, abs=1e-6)
    assert report["history"][0]["train"]["mae_energy_meV_per_atom"] < 30.0
    convolutions = [name for name in report["frozen"] if name.startswith("atom_conv_layers.0")]
    assert bool(convolutions) == (freeze == "all-but-readout")
    assert "composition_model.fc.weight" in report["frozen"]
    rates = [entry["learning_rate"] for entry in report["history"][1:]]
    assert rates == sorted(rates, reverse=True)
