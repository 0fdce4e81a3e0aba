"""Replay data of a multi-head training in the campaign file: what is refused at once, and a campaign that trains so."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from superionic import Campaign
from superionic.campaign.file.load import parse_campaign
from superionic.errors import CampaignFileError
from superionic.execution.engines import resolve_engine
from superionic.execution.ledger import LEDGER, Ledger

TEXT = """\
superionic: 1
name: c
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: p, file: p.cif}]
potentials:
  m: {engine: mace, file: m.npz, energy_convention: "own: test"}
  c: {engine: chgnet}
rank: {potential: c}
select: {}
sample: {potential: m}
label: {}
train: TRAIN
"""
MULTIHEAD = "options: {mode: multihead}"


@pytest.fixture
def folder(tmp_path):
    for name in ("p.cif", "m.npz"):
        (tmp_path / name).write_text("")
    (tmp_path / "r.xyz").write_text('1\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:forces:R:3 energy=1\n')
    (tmp_path / "bare.xyz").write_text('1\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3\n')
    (tmp_path / "poscar.xyz").write_text("Li Cl\n1.0\n")
    return tmp_path


def load(folder, train, *changes):
    text = TEXT.replace("TRAIN", train)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_campaign(text, folder / "c.yaml")


@pytest.mark.parametrize(
    ("train", "changes", "place", "message", "fix"),
    [
        (f"{{{MULTIHEAD}}}", (), "train.options.mode", "without replay data forgets", "add `replay: FILE`"),
        ("{replay: r.xyz}", (), "train.replay", "multi-head training alone", "mode: multihead"),
        ("{replay: r.xyz, options: {mode: lora}}", (), "train.replay", "multi-head training alone", "mode: multihead"),
        (f"{{replay: R.xyz, {MULTIHEAD}}}", (), "train.replay", "cannot be read", "did you mean 'r.xyz'?"),
        (f"{{replay: ., {MULTIHEAD}}}", (), "train.replay", "cannot be read", "foundation"),
        (f"{{replay: bare.xyz, {MULTIHEAD}}}", (), "train.replay", "no energy and no forces", "replay_labels"),
        (f"{{replay: poscar.xyz, {MULTIHEAD}}}", (), "train.replay", "no extended XYZ", "as ASE does"),
        (f"{{replay: '', {MULTIHEAD}}}", (), "train.replay", "must not be empty", ""),
        ("{replay: foundation}", [("potential: m", "potential: c")], "train.replay", "'chgnet' cannot learn", "mace"),
        ("{trainer: nep, replay: r.xyz}", (), "train.replay", "'nep' cannot learn", "mace"),
        (f"{{{MULTIHEAD}}}", [("potential: m", "potential: c")], "train.options.mode", "mode", "has only the options"),
        ("{replay_weight: 2}", (), "train.replay_weight", "no replay data to weigh", "add `replay`"),
        (f"{{replay: foundation, replay_weight: 0, {MULTIHEAD}}}", (), "train.replay_weight", "above 0", ""),
        ("{e0s: {Li: -1, Cl: -2}}", (), "train.e0s", "the energy of Y is missing", "every element"),
        ("{e0s: {Li: -1, Y: 0, Cl: -2, Xx: 1}}", (), "train.e0s", "'Xx' is not the symbol", ""),
        ("{e0s: {Li: 1, Y: 0, Cl: 1}, options: {mode: scratch}}", (), "train.e0s", "new network", "another `mode`"),
        (
            "{e0s: {Li: 1, Y: 0, Cl: 1}}",
            [("potential: m", "potential: c")],
            "train.e0s",
            "'chgnet' fits the energies",
            "leave",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_at_once(folder, train, changes, place, message, fix):
    with pytest.raises(CampaignFileError) as caught:
        load(folder, train, *changes)
    told = next(line for line in str(caught.value).splitlines() if place in line)
    assert message in told
    assert fix in told


def test_replay_data_are_a_file_beside_the_campaign_or_the_word_foundation(folder):
    assert load(folder, f"{{replay: r.xyz, {MULTIHEAD}}}").train.replay == str(folder / "r.xyz")
    settings = load(folder, f"{{replay: foundation, replay_weight: 2, {MULTIHEAD}}}").stage_settings("train")
    assert (settings["replay"], settings["replay_weight"]) == ("foundation", 2.0)
    bare = load(folder, "{replay: bare.xyz, options: {mode: multihead, replay_labels: foundation}}")
    assert bare.train.replay == str(folder / "bare.xyz")
    declared = load(folder, "{e0s: {Li: -1, Y: 0, Cl: -2}}").stage_settings("train")
    assert declared["e0s"] == {"Li": -1.0, "Y": 0.0, "Cl": -2.0}


# ---- a campaign with a small network --------------------------------------------------------------------------------

MAKE = r"""
import sys, warnings
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from superionic.models.mace import bridge as mace_bridge
from superionic.models.mace.potential import test_network
from superionic.potentials.reference import li3ycl6_cell
from superionic.models.mace import trainer as mace
from superionic.models.mace import network as mace_network
mace_network.prepare()
import numpy as np
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    mace_bridge.write(test_network(), sys.argv[1] + "/m.npz")
cells = []
for seed in range(4):
    cell = li3ycl6_cell()
    cell.positions += np.random.default_rng(seed).normal(0.0, 0.1, cell.positions.shape)
    cells.append(cell)
own = mace.predict(cells, file=sys.argv[1] + "/m.npz")
for cell, energy, forces, stress in zip(cells, own.energies_eV, own.forces_eV_per_A, own.stresses_eV_per_A3):
    cell.calc = SinglePointCalculator(cell, energy=energy, forces=forces, stress=stress)
write(sys.argv[1] + "/replay.xyz", cells)
"""
SMALL = """\
superionic: 1
name: small
seed: 7
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: P-3m1, file: li3ycl6_p-3m1.cif}]
potentials:
  pair: {engine: pair}
  m: {engine: mace, file: m.npz, energy_convention: "own: test", precision: float64}
enumerate: {ewald_keep: 4}
rank: {potential: pair, relax_top: 3, fmax_eV_per_A: 0.3, max_steps: 20, method: single-points}
hull: null
select: null
sample: null
label: null
transport: null
analyse: null
execution: {workers: 1}
"""
LEARNING = """\
select: {count: 3}
sample:
  potential: m
  temperatures_K: [300]
  timestep_fs: 0.5
  equilibration_ps: 0.005
  production_ps: 0.01
  segment_ps: 0.01
  save_every_fs: 5
  snapshots: 2
label:
  engine: "potential:pair"
  gates: {energy_outlier_sigma: null, force_outlier_sigma: null, stress_outlier_sigma: null}
train:
  epochs: 2
  epochs_per_segment: 2
  patience: null
  batch_size: 4
  validation_fraction: 0.3
  test_fraction: 0.3
  preflight: warn
  replay: REPLAY
  replay_weight: 0.5
  options: {mode: multihead, ema_decay: null}
validate: {}
"""


def small(root, folder, replay):
    shutil.copy(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif", folder)
    text = SMALL.replace("hull: null\nselect: null\nsample: null\nlabel: null\n", LEARNING.replace("REPLAY", replay))
    (folder / "campaign.yaml").write_text(text)
    return Campaign.load(folder / "campaign.yaml")


def executed(campaign):
    with Ledger(campaign.run_folder / LEDGER) as ledger:
        return sum(ledger.completions().values())


@pytest.mark.slow
@pytest.mark.engine("mace")
def test_a_campaign_trains_a_second_head_and_goes_on_learning_its_replay_data(root: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    python = resolve_engine("mace").python
    subprocess.run([str(python), "-c", MAKE, str(tmp_path)], env=environment, check=True)
    by_itself = small(root, tmp_path, "foundation").run()
    (trained,) = by_itself.train
    assert trained.trainer == "mace"
    assert trained.n_replay == 3  # the relaxed orderings
    assert any("labelled by the checkpoint itself" in note for note in trained.notes)
    assert [record.epoch for record in trained.history] == [0, 1, 2]
    assert trained.history[0].replay.mae_force_meV_per_A < 1e-6  # its own labels
    assert trained.history[2].replay.loss > 0.0
    assert by_itself.validate.errors.after != by_itself.validate.errors.before
    # The same from a file; where that lies changes nothing.
    campaign = small(root, tmp_path, "replay.xyz")
    (of_file,) = campaign.run(write_report=False).train
    assert of_file.n_replay == 4
    assert of_file.history[0].replay.mae_energy_meV_per_atom < 1e-3
    before = executed(campaign)
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "replay.xyz", tmp_path / "moved" / "replay.xyz")
    small(root, tmp_path, "moved/replay.xyz").run(write_report=False)
    assert executed(campaign) == before
