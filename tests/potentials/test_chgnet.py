"""CHGNet's adapter against CHGNet's own calculator, in its environment."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from superionic.execution.engines import resolve_engine

SCRIPT = r"""
import contextlib, hashlib, io, json, sys, warnings
import numpy as np
from superionic.errors import CalculationFailed, PotentialError
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell
with warnings.catch_warnings():
    warnings.simplefilter("error")
    potential = load_potential("chgnet")
    prediction = potential.evaluate(li3ycl6_cell())
report = {"hash": hashlib.sha256(prediction.forces_eV_per_A.tobytes()).hexdigest(), "energy": prediction.energy_eV}
if sys.argv[1] == "compare":
    warnings.simplefilter("ignore")
    import torch
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet
    from pymatgen.io.ase import AseAtomsAdaptor
    with contextlib.redirect_stdout(io.StringIO()):
        model = CHGNet.load(verbose=False, use_device="cpu")
        calculator = CHGNetCalculator(model, use_device="cpu")
    report["graphs"], report["differences"] = [], []
    for seed in range(3):
        atoms = li3ycl6_cell().repeat((1, 1, 1 + seed % 2))
        atoms.rattle(0.1 * seed, seed=seed)
        atoms.wrap()
        ours, theirs = potential._graph(atoms), model.graph_converter(AseAtomsAdaptor.get_structure(atoms))
        report["graphs"].append(all(torch.equal(getattr(ours, k), getattr(theirs, k)) for k in (
            "atom_graph", "neighbor_image", "directed2undirected", "undirected2directed", "bond_graph")))
        prediction = potential.evaluate(atoms)
        atoms.calc = calculator
        report["differences"].append([
            abs(float(prediction.energy_eV - atoms.get_potential_energy())) / len(atoms),
            float(np.abs(prediction.forces_eV_per_A - atoms.get_forces()).max()),
            float(np.abs(prediction.stress_eV_per_A3 - atoms.get_stress()).max())])
    weights = potential.state_arrays()
    tuned = load_potential("chgnet", weights=weights)
    report["same_weights_same_forces"] = bool(np.array_equal(
        tuned.evaluate(li3ycl6_cell()).forces_eV_per_A, potential.evaluate(li3ycl6_cell()).forces_eV_per_A))
    report["fine_tuned"] = tuned.identity.fine_tuned
    report["other_hash"] = tuned.identity.checkpoint_sha256 != potential.identity.checkpoint_sha256
    weights.pop(sorted(weights)[0])
    try:
        load_potential("chgnet", weights=weights)
    except PotentialError as error:
        report["refused"] = bool(error.fix)
    lonely = li3ycl6_cell()[[0]]
    lonely.set_cell(np.eye(3) * 30)
    try:
        potential.evaluate(lonely)
    except CalculationFailed as failure:
        report["lonely"] = failure.reason
print(json.dumps(report))
"""


def run(mode, root):
    python = resolve_engine("chgnet").python
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    out = subprocess.run(
        [str(python), "-c", SCRIPT, mode], capture_output=True, text=True, env=environment, check=False
    )
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.engine("chgnet")
def test_adapter_equals_chgnets_own_calculator_and_itself_in_another_process(root):
    report = run("compare", root)
    assert report["graphs"] == [True, True, True]
    for energy, force, stress in report["differences"]:
        assert energy < 2e-6
        assert force < 5e-4
        assert stress < 2e-6
    assert report["same_weights_same_forces"]
    assert report["fine_tuned"]
    assert report["other_hash"]
    assert report["refused"]
    assert "no neighbour" in report["lonely"]
    again = run("alone", root)
    assert (again["hash"], again["energy"]) == (report["hash"], report["energy"])
