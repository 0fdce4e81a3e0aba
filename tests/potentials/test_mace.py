"""MACE's adapter and its bridge against MACE's own calculator, in its environment."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from superionic.errors import PotentialError
from superionic.execution.engines import resolve_engine
from superionic.potentials.base import describe_potential

SCRIPT = r"""
import contextlib, io, json, os, sys, warnings
from pathlib import Path
import numpy as np
from superionic.errors import EngineError, PotentialError
from superionic.potentials import checkpoints
from superionic.models.mace import bridge as mace_bridge
from superionic.models.mace import potential as adapter
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell
folder, atoms, report = Path(sys.argv[1]), li3ycl6_cell(), {}
with warnings.catch_warnings():
    warnings.simplefilter("error")
    single = load_potential("mace", model="test")
    many = [single.evaluate(atoms, stress=i % 2 == 0) for i in range(5)]
report["repeats"] = all(np.array_equal(p.forces_eV_per_A, many[0].forces_eV_per_A) for p in many)
report["threads"] = sys.modules["torch"].get_num_threads()
report["switch"] = os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
double = load_potential("mace", model="test", precision="float64")
prediction = double.evaluate(atoms)
report["precisions"] = abs(prediction.energy_eV - many[0].energy_eV) / 30
warnings.simplefilter("ignore")
import torch
with contextlib.redirect_stdout(io.StringIO()):
    from mace.calculators import MACECalculator
network = adapter.test_network()
with contextlib.redirect_stdout(io.StringIO()):
    theirs = li3ycl6_cell()
    theirs.calc = MACECalculator(models=[network], device="cpu", default_dtype="float64")
report["against_their_calculator"] = [
    abs(float(theirs.get_potential_energy() - prediction.energy_eV)),
    float(np.abs(theirs.get_forces() - prediction.forces_eV_per_A).max()),
    float(np.abs(theirs.get_stress() - prediction.stress_eV_per_A3).max())]

# the bridge
os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
model, bridge = folder / "small.model", folder / "small.npz"
torch.save(adapter.test_network(), model)
digest = checkpoints.checksum(model)
options = {"energy_convention": "own: x", "precision": "float64"}
report["refused"] = []
for trust in (None, "0" * 64):
    try:
        load_potential("mace", file=str(model), trust_sha256=trust, **options)
    except PotentialError as error:
        report["refused"].append(error.message)
trusted = load_potential("mace", file=str(model), trust_sha256=digest, **options)
report["trusted"] = trusted.evaluate(atoms).energy_eV - prediction.energy_eV
mace_bridge.convert({"file": str(model), "output": str(bridge), "trust_sha256": digest})
first = bridge.read_bytes()
mace_bridge.convert({"file": str(model), "output": str(bridge), "trust_sha256": digest})
report["same_bytes"] = first == bridge.read_bytes()
safe = load_potential("mace", file=str(bridge), **options)
report["bridged"] = safe.evaluate(atoms).energy_eV - prediction.energy_eV
report["identity"] = [list(safe.identity.elements), safe.identity.checkpoint_sha256 == checkpoints.checksum(bridge)]

# fine-tuned weights, and what does not fit
weights = safe.state_arrays()
tuned = load_potential("mace", file=str(bridge), weights={**weights, "scale_shift.shift": np.array(0.25)}, **options)
report["tuned"] = [tuned.evaluate(atoms).energy_eV - prediction.energy_eV, tuned.identity.fine_tuned]
weights.pop("node_embedding.linear.weight")
for key, action in {
    "weights": lambda: load_potential("mace", file=str(bridge), weights=weights, **options),
    "head": lambda: load_potential("mace", file=str(bridge), modal="r2scan", **options),
    "precision": lambda: load_potential("mace", file=str(bridge), energy_convention="own: x", precision="float16"),
    "nothing": lambda: load_potential("mace"),
}.items():
    try:
        action()
    except PotentialError as error:
        report[key] = error.message
with np.load(bridge) as file:
    arrays = {name: file[name] for name in file.files}
arrays["weight:readouts.0.linear.weight"] = arrays["weight:readouts.0.linear.weight"] * 1.01
np.savez(folder / "changed.npz", **arrays)
try:
    load_potential("mace", file=str(folder / "changed.npz"), **options)
except EngineError as error:
    report["changed"] = error.message
settings = json.loads(arrays["settings"].tobytes())
for name, value in {"interaction_cls": "os.system", "gate": "exec"}.items():
    odd = np.frombuffer(json.dumps({**settings, name: value}).encode(), dtype=np.uint8)
    np.savez(folder / "odd.npz", **{**arrays, "settings": odd})
    try:
        load_potential("mace", file=str(folder / "odd.npz"), **options)
    except PotentialError as error:
        report[name] = error.message
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report(root, tmp_path_factory):
    python = resolve_engine("mace").python
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    command = [str(python), "-c", SCRIPT, str(tmp_path_factory.mktemp("mace"))]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


pytestmark = pytest.mark.slow
with_mace = pytest.mark.engine("mace")


@with_mace
def test_adapter_equals_maces_own_calculator_and_repeats_bit_by_bit(report):
    energy, force, stress = report["against_their_calculator"]
    assert energy < 1e-9
    assert force < 1e-12
    assert stress < 1e-14
    assert report["repeats"]
    assert report["threads"] == 1
    assert report["precisions"] < 1e-6


@with_mace
def test_importing_mace_leaves_later_loads_safe(report):
    assert report["switch"] is None


@with_mace
def test_a_pickle_is_loaded_only_by_its_checksum(report):
    assert len(report["refused"]) == 2
    assert all("would run code" in message for message in report["refused"])
    assert abs(report["trusted"]) < 1e-9


@with_mace
def test_the_bridge_is_true_and_deterministic(report):
    assert abs(report["bridged"]) < 1e-9
    assert report["same_bytes"]
    assert report["identity"] == [["Li", "Cl", "Y"], True]
    assert "other numbers here than where it was made" in report["changed"]
    assert "has no 'os.system'" in report["interaction_cls"]
    assert "no gate 'exec'" in report["gate"]


@with_mace
def test_weights_and_options_are_checked(report):
    assert report["tuned"] == [pytest.approx(30 * 0.25), True]
    assert "do not fit" in report["weights"]
    assert "no head 'r2scan'" in report["head"]
    assert "float16" in report["precision"]
    assert "no model of its own" in report["nothing"]


def test_a_file_that_is_no_bridge_is_refused_without_mace(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    (tmp_path / "y.npz").write_bytes(b"no zip")
    np.savez(tmp_path / "z.npz", settings=np.array([{"a": 1}], dtype=object))
    for name in ("x.npz", "y.npz", "z.npz", "absent.npz"):
        with pytest.raises(PotentialError, match=r"no MACE file|cannot be read"):
            describe_potential("mace", file=str(tmp_path / name), energy_convention="own: x")
