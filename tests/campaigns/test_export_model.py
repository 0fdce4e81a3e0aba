"""A trained potential leaves its campaign: one exports it, another takes it, with the same energies to the last bit."""

from __future__ import annotations

import contextlib
import json
import zipfile

import numpy as np
import pytest
from ase import Atoms

from superionic import Campaign, load_model
from superionic.cli import main
from superionic.errors import CampaignFileError, EngineError, PotentialError
from superionic.potentials.base import load_potential
from superionic.potentials.exported import read_exported, read_weights, write_exported

from .conftest import write_campaign

SECOND = """\
superionic: 1
name: second
seed: 3
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals:
  - {name: p-3m1, file: li3ycl6_p-3m1.cif}
potentials:
  mine: {engine: nep, file: mine.potential}
enumerate: {ewald_keep: 1}
rank: {relax_top: 1, fmax_eV_per_A: 1000, max_steps: 1, method: single-points}
hull: null
transport:
  {supercell: 1x1x1, temperatures_K: [300], timestep_fs: 1, heating_ps: 0, nvt_before_npt_ps: 0, npt_ps: 0,
   production_ps: 0.02, segment_ps: 0.02, save_every_fs: 1}
analyse: null
"""


@pytest.fixture(scope="module")
def exported(ladder, tmp_path_factory):
    """The potential that goes on from the ladder, in a file."""
    return ladder.campaign.export_model("fine-tuned", tmp_path_factory.mktemp("exported") / "mine.potential").path


def test_the_file_says_what_it_is_and_what_it_was_trained_on(ladder, exported):
    about, trained = read_exported(exported), ladder.results.trained
    assert about.identity["energy_convention"] == "pair potential"  # that of the potential that sampled
    assert about.identity["model"] == "fine-tuned of ladder"
    assert about.identity["elements"] == ["Li", "Cl", "Y"]  # that it learned, of many that the first potential knows
    with pytest.raises(PotentialError, match="Br"):
        load_potential("nep", file=str(exported)).evaluate(
            Atoms("LiBr", [[0, 0, 0], [0, 0, 2.6]], cell=[9] * 3, pbc=True)
        )
    on = about.trained_on
    assert (on["campaign"], on["trainer"], on["task"]) == ("ladder", "nep", trained.key)
    assert (on["n_train"], on["n_validation"], on["n_test"]) == (trained.n_train, trained.n_validation, trained.n_test)
    after = ladder.results.validate.errors.after
    assert on["errors"]["after"]["mae_force_meV_per_A"] == after.mae_force_meV_per_A
    assert on["errors"]["n_structures"] == ladder.results.validate.errors.n_structures
    assert on["labels"]["stand_in"] is True
    assert on["started_from"]["licence"]
    with zipfile.ZipFile(exported) as archive:
        assert json.loads(archive.read("potential.json"))["format"] == "superionic potential"


def test_exported_twice_it_is_the_same_file(ladder, exported, tmp_path):
    with contextlib.suppress(SystemExit):
        main(["export", "model", str(ladder.campaign.path), "fine-tuned", str(tmp_path / "again.potential")])
    assert (tmp_path / "again.potential").read_bytes() == exported.read_bytes()
    with pytest.raises(PotentialError, match="'student'") as refused:
        ladder.campaign.export_model("student", tmp_path / "none")
    assert "fine-tuned, round-1, round-2" in refused.value.fix


def test_another_campaign_takes_it_with_the_same_energies(root, exported, tmp_path):
    path = write_campaign(root, tmp_path, SECOND)
    (tmp_path / "mine.potential").write_bytes(exported.read_bytes())
    campaign = Campaign.load(path)
    results = campaign.run(write_report=False)
    (entry,) = results.rank[0].entries
    flow = campaign._dry_walk(campaign._ledger()).flow
    structure = flow.bench.runner.value_of(flow.outputs.ranked[0].structure)
    # The weights as the training gave them, without the file around them.
    weights = read_weights(exported)
    direct = load_potential("nep", weights=weights, energy_convention="pair potential")
    assert entry.relaxed_eV_per_atom == direct.evaluate(structure).energy_eV / len(structure)
    assert results.rank[0].potential.energy_convention == "pair potential"
    assert results.transport.runs[0].run.potential == "mine"
    by_file = load_model("nep", file=str(exported))
    assert np.array_equal(by_file.evaluate(structure).forces_eV_per_A, direct.evaluate(structure).forces_eV_per_A)
    assert by_file.identity.fine_tuned


def test_what_does_not_fit_the_file_is_refused(root, exported, tmp_path):
    (tmp_path / "mine.potential").write_bytes(exported.read_bytes())
    entries = {
        "{engine: nep, file: mine.potential, energy_convention: MatPES PBE}": (PotentialError, "'pair potential', not"),
        "{engine: mace, file: mine.potential}": (PotentialError, "of the engine nep, not of mace"),
        "{engine: nep, file: mine.potential, level_of_theory: PBE}": (CampaignFileError, "on record in the file"),
        "{engine: chgnet, file: ycl3.cif}": (CampaignFileError, "made by `superionic export model`"),
    }
    for entry, (kind, words) in entries.items():
        path = write_campaign(root, tmp_path, SECOND.replace("{engine: nep, file: mine.potential}", entry))
        with pytest.raises(kind, match=words):
            Campaign.load(path).run(until="enumerate")


def test_a_file_that_gives_other_values_than_its_proof_is_refused(root, exported, tmp_path):
    path = write_campaign(root, tmp_path, SECOND)
    about, weights = read_exported(exported), read_weights(exported)
    changed = {**about.proof, "energy_eV": about.proof["energy_eV"] + 1.0}
    write_exported(tmp_path / "mine.potential", type(about)(**{**vars(about), "proof": changed}), weights)
    with pytest.raises(EngineError, match=r"silently wrong.*values in its file"):
        Campaign.load(path).run(until="rank")
    name = min(weights)
    write_exported(tmp_path / "mine.potential", about, {**weights, name: weights[name] + 1})
    with pytest.raises(PotentialError, match="not those that were exported"):
        load_potential("nep", file=str(tmp_path / "mine.potential"))
    (tmp_path / "mine.potential").write_bytes(exported.read_bytes()[:-200])
    with pytest.raises((PotentialError, EngineError)):
        load_potential("nep", file=str(tmp_path / "mine.potential"))
