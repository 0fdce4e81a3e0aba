"""The stage dft on small real campaigns: against the potential itself, VASP's stand-in and GPAW; killed and resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from superionic import Campaign
from superionic.errors import CampaignFileError
from superionic.execution.codec import from_tree, to_tree
from superionic.results.document import to_json
from superionic.stages.dft.relaxing import RelaxationSegment
from superionic.stages.dft.result import DftResult

TEXT = """\
superionic: 1
name: dft
seed: 1
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: p-3m1, file: "FILE"}]
potentials:
  pair: {engine: pair}
  harder: {engine: pair, options: {charge_scale: 1.1}}
  softer: {engine: pair, options: {contact_force_ratio: 0.195, softness_A: 0.32}}
enumerate: {ewald_keep: 2}
rank: {potential: RANKS, relax_top: 2, fmax_eV_per_A: 0.01, warm_start: 0}
hull: {}
dft: {engine: "METHOD", fmax_eV_per_A: 0.01, MORE}
transport: null
analyse: null
"""
# Runs the campaign of the first argument, and is killed in the middle of a segment.
KILLED = """\
import os, signal, sys
from importlib.util import module_from_spec, spec_from_file_location
from superionic import Campaign
from superionic.labels.as_potential import LabellerAsPotential
spec = spec_from_file_location("conftest", sys.argv[2])
conftest = module_from_spec(spec)
spec.loader.exec_module(conftest)
evaluate, calls = LabellerAsPotential.evaluate, []
def until_killed(self, atoms, *, stress=True):
    calls.append(1)
    if len(calls) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return evaluate(self, atoms, stress=stress)
LabellerAsPotential.evaluate = until_killed
Campaign.load(sys.argv[1]).run(executor=conftest.InThisProcess(), write_report=False)
"""
CONFTEST = Path(__file__).with_name("conftest.py")


def in_this_process():
    spec = spec_from_file_location("stages_conftest", CONFTEST)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.InThisProcess()


def campaign(root, folder, *, ranks="pair", method="potential:softer", more="relax: 1, single_points: 2"):
    folder.mkdir(exist_ok=True)
    text = TEXT.replace("FILE", str(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"))
    text = text.replace("RANKS", ranks).replace("METHOD", method).replace("MORE", more)
    (folder / "c.yaml").write_text(text)
    return folder / "c.yaml"


def run(file):
    executor = in_this_process()
    results = Campaign.load(file).run(executor=executor, write_report=False)
    return results, results.further_result(DftResult), executor.made


def test_a_killed_relaxation_goes_on_from_its_last_segment_and_gives_the_same_bytes(root, tmp_path):
    more = "relax: 2, segment_steps: 3, max_steps: 11, optimizer: QN"
    file = campaign(root, tmp_path / "killed", more=more)
    done = subprocess.run([sys.executable, "-c", KILLED, str(file), str(CONFTEST)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed, _, made = run(file)
    whole, _, made_at_once = run(campaign(root, tmp_path / "whole", more=more))
    assert 0 < made.count("relax_segment_task") < made_at_once.count("relax_segment_task")
    assert to_json(resumed) == to_json(whole)


def test_energies_of_a_method_that_scales_all_of_them_scale_and_geometries_stay(root, tmp_path):
    """Charges that are larger by a tenth scale all energies by 1.21, and leave the structures at rest."""
    results, dft, _ = run(campaign(root, tmp_path, method="potential:harder", more="relax: 1, single_points: 2"))
    (hull,) = results.hull
    points, relaxed = dft.energies
    assert [kind.of for kind in dft.energies] == ["single points", "relaxed structures"]
    assert (dft.stand_in, dft.potential, dft.failures) == ("harder", "pair", ())
    assert len(dft.structures) == 2
    above = {entry.identity: entry.e_above_hull_eV_per_atom for entry in hull.entries}
    for each, entry in zip(dft.structures, points.diagram.entries, strict=True):
        assert each.single_point_eV_per_atom == pytest.approx(1.21 * each.potential_eV_per_atom)
        assert entry.e_above_hull_eV_per_atom == pytest.approx(1.21 * above[each.identity], abs=1e-12)
    assert all(group.same_lowest for kind in dft.energies for group in kind.ranking.groups)
    # Only the lowest is relaxed; its forces are larger by 1.21 than those at which the potential stopped.
    (lowest,) = [each for each in dft.structures if each.relaxed is not None]
    assert lowest.potential_eV_per_atom == min(each.potential_eV_per_atom for each in dft.structures)
    assert lowest.relaxed.converged
    assert abs(lowest.volume_percent) < 0.1
    assert [entry.identity for entry in relaxed.diagram.entries] == [lowest.identity]


@pytest.mark.usefixtures("fake_vasp")
def test_vasp_relaxes_as_the_potential_that_stands_in_for_it(root, tmp_path):
    steps = "relax: 1, max_steps: 2, segment_steps: 1"
    of_vasp = steps + ", kpoint_spacing_per_A: 0.8, vasp: {version: 6.3.2}"
    _, vasp, _ = run(campaign(root, tmp_path / "vasp", ranks="softer", method="vasp", more=of_vasp))
    _, pair, _ = run(campaign(root, tmp_path / "pair", ranks="softer", method="potential:pair", more=steps))
    assert (vasp.reference.code, vasp.reference.version, vasp.reference.functional) == ("vasp", "6.3.2", "PBE")
    (by_vasp,), (by_pair,) = vasp.structures, pair.structures
    assert by_vasp.relaxed.n_steps == 2
    assert by_vasp.single_point_eV_per_atom == pytest.approx(by_pair.single_point_eV_per_atom, abs=1e-8)
    assert by_vasp.relaxed.energy_eV_per_atom == pytest.approx(by_pair.relaxed.energy_eV_per_atom, abs=1e-6)
    assert by_vasp.relaxed.cell.lengths_A == pytest.approx(by_pair.relaxed.cell.lengths_A, abs=1e-6)
    assert by_vasp.relaxed.energy_eV_per_atom < by_vasp.single_point_eV_per_atom
    assert vasp.energies[-1].diagram.energy_convention == vasp.reference.energy_convention


@pytest.mark.engine("gpaw")
@pytest.mark.slow
def test_gpaw_relaxes_a_cell_in_segments_bit_by_bit(engine_call):
    settings = {"ecut_eV": 200.0, "kpoint_spacing_per_A": 1.5, "kpoint_offset": "offset", "max_scf_steps": 60}
    method = {"labeller": "gpaw", "labeller_settings": settings}
    atoms = bulk("LiCl", "rocksalt", a=5.0)
    atoms.positions[1] += [0.1, 0.05, 0.0]

    def segment(steps, **inputs):
        how = {"optimizer": "QN", "fmax_eV_per_A": 0.02, "relax_cell": True, "steps": steps}
        tree = engine_call("gpaw", "superionic.stages.dft.relaxing:relax_segment_task", {**method, **how}, inputs)
        return from_tree(tree, RelaxationSegment, "segment")

    label = engine_call(
        "gpaw",
        "superionic.stages.labelling:label_task",
        {"labeller": "gpaw", "labeller_settings": settings},
        {"atoms": atoms},
    )
    whole = segment(3, atoms=atoms, label=label)
    part = segment(1, before=to_tree(segment(2, atoms=atoms, label=label)))
    assert part.relaxed.energy_eV == whole.relaxed.energy_eV
    assert np.array_equal(part.relaxed.atoms.positions, whole.relaxed.atoms.positions)
    assert np.array_equal(part.relaxed.atoms.cell.array, whole.relaxed.atoms.cell.array)
    assert whole.relaxed.energy_eV < whole.relaxed.start_energy_eV
    assert whole.reference.code == "gpaw"


def test_something_must_be_calculated(root, tmp_path):
    with pytest.raises(CampaignFileError, match="nothing is calculated"):
        Campaign.load(campaign(root, tmp_path, more="relax: 0"))
    with pytest.raises(CampaignFileError, match="is not a reference method"):
        Campaign.load(campaign(root, tmp_path, method="finished"))
