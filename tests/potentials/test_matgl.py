"""matgl's adapter against matgl's own calculator on published weights, in its environment."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from superionic.execution.engines import resolve_engine

FOLDERS = {
    "m3gnet": "M3GNet-MP-2021.2.8-PES",
    "pbe": "TensorNet-MatPES-PBE-v2025.1-PES",
    "r2scan": "TensorNet-MatPES-r2SCAN-v2025.1-PES",
}

SCRIPT = r"""
import json, os, shutil, sys, warnings
os.environ.update(MATGL_BACKEND=sys.argv[2], DGLBACKEND="pytorch")
from pathlib import Path
import numpy as np
from superionic.errors import EngineError, PotentialError
from superionic.potentials.reference import li3ycl6_cell
folder, report, atoms = Path(sys.argv[1]), {}, li3ycl6_cell()
warnings.simplefilter("ignore")
names = json.loads(sys.argv[3])
def values(atoms):
    return [float(atoms.get_potential_energy()), atoms.get_forces().tolist(), atoms.get_stress().tolist()]
if sys.argv[2] == "PYG":
    # Theirs: loads TensorNet with its own backend, for comparison only.
    from matgl.apps.pes import Potential
    from matgl.ext.ase import PESCalculator
    for name in names:
        theirs = li3ycl6_cell()
        theirs.calc = PESCalculator(Potential.load(folder / name), stress_unit="eV/A3", use_voigt=True)
        report[name] = values(theirs)
else:
    from superionic.potentials.base import load_potential
    from superionic.potentials.proof import prove_file
    for name in names:
        told = prove_file({"potential": "matgl", "options": {"file": str(folder / name)}})
        report[name] = [told["energy_eV"], told["forces_eV_per_A"].tolist(), told["stress_eV_per_A3"].tolist(),
                        told["basis"], told["differences"]]
    from matgl.apps._pes_dgl import Potential
    from matgl.ext._ase_dgl import PESCalculator
    theirs = li3ycl6_cell()
    theirs.calc = PESCalculator(Potential.load(folder / names[0]), stress_unit="eV/A3", use_voigt=True)
    report["theirs"] = values(theirs)
    import torch
    report["threads"] = torch.get_num_threads()
    # An unknown file: the same weights with energies scaled, as a wrong combination of versions gives them.
    copy = Path(sys.argv[4]) / "scaled"
    shutil.copytree(folder / names[0], copy)
    copy.chmod(0o755)
    (copy / "state.pt").unlink()
    state = torch.load(folder / names[0] / "state.pt", weights_only=True, map_location="cpu")
    state["element_refs.property_offset"] = state["element_refs.property_offset"] * 0.4
    torch.save(state, copy / "state.pt")
    for key, options in {"trap": {"energy_convention": "MP raw PBE(+U)"}, "unstated": {}}.items():
        try:
            prove_file({"potential": "matgl", "options": {"file": str(copy), **options}})
        except (EngineError, PotentialError) as error:
            report[key] = error.message
    # A checkpoint that runs code.
    class Bad:
        def __reduce__(self):
            return (os.system, ("touch " + str(copy / "ran"),))
    torch.save({"a": Bad()}, copy / "state.pt")
    try:
        load_potential("matgl", file=str(copy), energy_convention="own: x")
    except PotentialError as error:
        report["bad"] = error.message
    report["ran"] = (copy / "ran").exists()
print(json.dumps(report))
"""


def run(root, folder, backend, names, scratch):
    python = resolve_engine("matgl").python
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    command = [str(python), "-c", SCRIPT, str(folder), backend, json.dumps(names), str(scratch)]
    out = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def report(root, shared, tmp_path_factory):
    folder = shared / "models"
    if not all((folder / name).is_dir() for name in FOLDERS.values()):
        pytest.skip("no model files beside the repository")
    names, scratch = list(FOLDERS.values()), tmp_path_factory.mktemp("matgl")
    return run(root, folder, "DGL", names, scratch), run(root, folder, "PYG", names[1:], scratch)


pytestmark = [pytest.mark.slow, pytest.mark.engine("matgl")]


def test_published_weights_reproduce_the_values_on_record(report):
    ours = report[0]
    for name, energy in ((FOLDERS["m3gnet"], -4.2531), (FOLDERS["pbe"], -4.2728), (FOLDERS["r2scan"], -8.5540)):
        assert ours[name][0] / 30 == pytest.approx(energy, abs=1e-3)
        assert ours[name][3] == "values on record"
        assert ours[name][4]["energy_eV_per_atom"] < 1e-5
    assert ours["threads"] == 1


def test_both_networks_in_one_process_equal_matgls_own_calculators(report):
    ours, theirs = report
    pairs = [(ours[FOLDERS["m3gnet"]], ours["theirs"])]
    pairs += [(ours[FOLDERS[name]], theirs[FOLDERS[name]]) for name in ("pbe", "r2scan")]
    for mine, other in pairs:
        assert mine[0] / 30 == pytest.approx(other[0] / 30, abs=5e-6)
        assert max(abs(a - b) for x, y in zip(mine[1], other[1], strict=True) for a, b in zip(x, y, strict=True)) < 1e-3
        assert mine[2] == pytest.approx(other[2], abs=5e-6)


def test_the_trap_of_wrong_energies_is_refused_with_the_reason(report):
    assert "eV/atom for the stored Li9Y3Cl18 cell" in report[0]["trap"]
    assert "'MP raw PBE(+U)' are near -4.25" in report[0]["trap"]
    assert "correct derivatives" in report[0]["trap"]
    assert "energy convention of this" in report[0]["unstated"]


def test_a_checkpoint_that_runs_code_is_refused_before_it_does(report):
    assert "plain data" in report[0]["bad"]
    assert report[0]["ran"] is False
