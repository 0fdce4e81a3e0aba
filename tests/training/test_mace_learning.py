"""What training MACE achieves: errors fall, and a second head with replay forgets less than naive fine-tuning."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from superionic.execution.engines import resolve_engine

# A foundation is trained from scratch on LiCl and NaCl of one pair potential, and tuned to LiCl of another (weaker
# charges). Held-out NaCl of the first potential tells what was forgotten.
SCRIPT = r"""
import json, sys, warnings
import numpy as np
from ase import Atoms
warnings.simplefilter("error")
from superionic.potentials.base import load_potential
from superionic.training.dataset import LabelledSet, Targets
from superionic.models.mace.trainer import TrainOptions, predict, start, train_epochs
from superionic.training.metrics import errors

def labelled(symbol, n, seed, charge_scale, constant=5.2):
    rng = np.random.default_rng(seed)
    pair = load_potential("pair", charge_scale=charge_scale)
    half = constant / 2.0
    structures = []
    for _ in range(n):
        cell = half * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]) @ (
            np.eye(3) + rng.uniform(-0.03, 0.03, size=(3, 3)))
        structures.append(Atoms(symbol, scaled_positions=[[0.0] * 3, np.full(3, 0.5) + rng.uniform(-0.1, 0.1, 3)],
                                cell=cell, pbc=True))
    p = [pair.evaluate(atoms) for atoms in structures]
    targets = Targets(np.array([x.energy_eV for x in p]), tuple(x.forces_eV_per_A for x in p),
                      np.array([x.stress_eV_per_A3 for x in p]))
    return LabelledSet(tuple(structures), targets, tuple(str(i) for i in range(n)), str(charge_scale), "own: pair")

def joined(*sets):
    return LabelledSet(
        tuple(a for s in sets for a in s.structures),
        Targets(np.concatenate([s.targets.energies_eV for s in sets]),
                tuple(f for s in sets for f in s.targets.forces_eV_per_A),
                np.concatenate([s.targets.stresses_eV_per_A3 for s in sets])),
        tuple(str(i) for i in range(sum(len(s) for s in sets))), "joined", "own: pair")

def error(labels, **what):
    e = errors(predict(labels.structures, **what), labels.targets)
    return e.rmse_force_meV_per_A

old = joined(labelled("LiCl", 8, 1, 1.0), labelled("NaCl", 8, 2, 1.0, 5.7))
held = joined(labelled("LiCl", 3, 3, 1.0), labelled("NaCl", 3, 4, 1.0, 5.7))
sodium = labelled("NaCl", 6, 5, 1.0, 5.7)
new, test = labelled("LiCl", 8, 6, 0.6), labelled("LiCl", 6, 7, 0.6)
form = {"channels": 8, "layers": 1, "correlation": 2, "r_max_A": 4.5, "max_L": 0}
options = TrainOptions(mode="scratch", epochs=80, batch_size=4, ema_decay=0.9, patience=None, **form)
foundation = train_epochs(start(seed=1, options=options, train=old), old, held, 80)
before, weights = foundation.history[0]["validation"], foundation.best_weights
after = foundation.history[foundation.best_epoch]["validation"]
report = {"scratch": [before["rmse_force_meV_per_A"], after["rmse_force_meV_per_A"]],
          "foundation": [error(sodium, weights=weights), error(test, weights=weights)]}
for mode, replay in {"naive": None, "multihead": old}.items():
    options = TrainOptions(mode=mode, epochs=40, batch_size=4, ema_decay=0.9, patience=None)
    begin = start(weights=weights, seed=2, options=options, train=new, replay=replay)
    tuned = train_epochs(begin, new, None, 40).best_weights
    report[mode] = [error(sodium, weights=tuned, **({} if replay is None else {"head": "foundation"})),
                    error(test, weights=tuned)]
    report[f"{mode}_wrong_head"] = error(test, weights=tuned, **({} if replay is None else {"head": "foundation"}))
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report(root: Path) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    command = [str(resolve_engine("mace").python), "-c", SCRIPT]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert out.returncode == 0, out.stderr
    report: dict[str, Any] = json.loads(out.stdout.splitlines()[-1])
    return report


pytestmark = [pytest.mark.slow, pytest.mark.engine("mace")]


def test_learning_reduces_the_errors_on_structures_that_were_not_seen(report: dict[str, Any]) -> None:
    before, after = report["scratch"]
    assert after < 0.6 * before
    assert report["naive"][1] < 0.7 * report["foundation"][1]
    assert report["multihead"][1] < 0.9 * report["foundation"][1]


def test_a_second_head_with_replay_forgets_less_than_naive_fine_tuning(report: dict[str, Any]) -> None:
    pretrained, naive, multihead = report["foundation"][0], report["naive"][0], report["multihead"][0]
    assert naive > 1.5 * pretrained
    assert multihead < 1.2 * pretrained
    assert multihead < 0.6 * naive


def test_the_wrong_head_is_worse_on_the_new_labels(report: dict[str, Any]) -> None:
    assert report["multihead"][1] < 0.85 * report["multihead_wrong_head"]
