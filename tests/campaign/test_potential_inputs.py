"""Potentials in the campaign file: keys of each engine, files of users, engines that are missing."""

from __future__ import annotations

import json
import shutil
import zipfile

import pytest

from superionic import Campaign
from superionic.campaign import prepare
from superionic.campaign.file.load import load_campaign
from superionic.campaign.spaces import choose_potentials
from superionic.errors import CampaignFileError, EngineError, PotentialError
from superionic.execution.codec import to_tree
from superionic.execution.engine_specs import ENGINES

HEAD = """\
superionic: 1
name: test
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: p, file: p.cif}]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, root):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    shutil.copy(root / "examples/li3ycl6/li3ycl6_p-3m1.cif", tmp_path / "p.cif")
    (tmp_path / "mace.npz").write_bytes(b"")
    return tmp_path


def load(folder, potentials, rest=""):
    file = folder / "campaign.yaml"
    file.write_text(f"{HEAD}potentials:\n  it: {potentials}\n{rest}", encoding="utf-8")
    return load_campaign(file)


def model_folder(folder, name="m3gnet", elements=("Li", "Y", "Cl"), weights=b"weights"):
    """A model of matgl, as far as it is read without matgl."""
    path = folder / name
    path.mkdir()
    settings = {"kwargs": {"model": {"@class": "M3GNet", "init_args": {"element_types": list(elements)}}}}
    (path / "model.json").write_text(json.dumps(settings))
    (path / "state.pt").write_bytes(weights)
    return path


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{engine: mac}", "did you mean 'mace'?"),
        ("{engine: mace}", "a potential of the engine mace needs 'file' (it is an .npz made by"),
        ("{engine: mace, file: mace.npz}", "needs 'energy_convention' (write one of: MP2020-corrected PBE(+U)"),
        ("{engine: mace, file: mice.npz, energy_convention: MatPES PBE}", "did you mean 'mace.npz'?"),
        ("{engine: mace, file: mace.npz, energy_convention: MatPES-PBE}", "did you mean 'MatPES PBE'?"),
        ("{engine: mace, file: mace.npz, energy_convention: 'own: '}", "'own: ' is not an energy convention"),
        ("{engine: mace, fil: mace.npz}", "unknown key 'fil' (did you mean 'file'?)"),
        ("{engine: mace, trust_sha256: abc}", "'abc' is no SHA-256"),
        ("{engine: mace, modal: r2scan}", "'modal' says something about a `file`"),
        ("{engine: matgl, file: mace.npz}", "mace.npz is no folder"),
        ("{engine: matgl, file: nowhere}", "nowhere does not exist"),
        ("{engine: chgnet, precision: float16}", "must be one of float32, float64; it is 'float16'"),
        (
            "{engine: sevennet, precision: float64}",
            "the engine sevennet has no 'precision' (it knows: energy_convention",
        ),
        ("{engine: sevennet, modal: PBE}", "'modal' says something about a `file`, and there is none"),
        ("{engine: pair, file: mace.npz}", "the engine pair has no 'file' (it knows: only `model` and `options`)"),
        ("{engine: ase}", "a potential of the engine ase needs 'calculator'"),
        ("{engine: ase, calculator: x, elements: [Li, Yy], energy_convention: 'own: x'}", "'Yy' is not the symbol"),
        ("{engine: nep}", "a potential of the engine nep needs 'file' (it is a nep.txt)"),
    ],
)
def test_mistakes_are_named(folder, entry, said):
    with pytest.raises(CampaignFileError) as caught:
        load(folder, entry)
    assert said in caught.value.message


def test_a_file_enters_keys_by_its_content_and_not_by_its_place(folder):
    model_folder(folder)
    entry = "{engine: matgl, file: m3gnet, energy_convention: 'own: mine', precision: float64}"
    chosen = choose_potentials(load(folder, entry))["it"]
    assert chosen.engine == "matgl"
    assert chosen.options["file"] == f"sha256:{chosen.identity.checkpoint_sha256}/m3gnet"
    assert chosen.options["precision"] == "float64"
    assert chosen.identity.energy_convention == "own: mine"
    assert str(folder) not in json.dumps([chosen.task_settings(), to_tree(chosen.identity)])
    (folder / "m3gnet" / "state.pt").write_bytes(b"other weights")
    assert choose_potentials(load(folder, entry))["it"].task_settings() != chosen.task_settings()


def test_an_element_that_a_file_does_not_cover(folder):
    model_folder(folder, elements=("Li", "Cl"))
    with pytest.raises(PotentialError, match="does not know Y") as caught:
        choose_potentials(load(folder, "{engine: matgl, file: m3gnet, energy_convention: 'own: mine'}"))
    assert caught.value.where == "potentials.it"


def test_a_file_that_is_none_is_an_error_with_its_place(folder):
    with pytest.raises(PotentialError, match="no MACE file") as caught:
        choose_potentials(load(folder, "{engine: mace, file: mace.npz, energy_convention: 'own: mine'}"))
    assert caught.value.where == str(folder / "mace.npz")
    with pytest.raises(PotentialError, match="No installed package") as caught:
        choose_potentials(load(folder, "{engine: ase, calculator: x, elements: [Li], energy_convention: 'own: x'}"))
    assert caught.value.where == "potentials.it"
    with pytest.raises(PotentialError, match="no option nonsense"):
        choose_potentials(load(folder, "{engine: pair, options: {nonsense: 1}}"))


def test_a_file_is_proved_once_for_each_version_of_its_engine(folder, monkeypatch):
    import numpy as np

    model_folder(folder)
    chosen = choose_potentials(load(folder, "{engine: matgl, file: m3gnet, energy_convention: 'own: mine'}"))
    asked, identity = [], {"packages": {"matgl": "2.0.6"}}

    class Location:
        python = "python"

    def call_once(python, function, settings):
        asked.append((function, settings["first_use"]))
        return {
            "basis": "plausible", "differences": {}, "energy_eV": -130.0, "energy_eV_per_atom": -4.3,
            "forces_eV_per_A": np.zeros((30, 3)), "stress_eV_per_A3": np.zeros(6),
            "identity": {"elements": ["Li", "Y", "Cl"]},
        }  # fmt: skip

    monkeypatch.setattr(prepare, "resolve_engine", lambda name: Location)
    monkeypatch.setattr("superionic.execution.worker.call_once", call_once)
    Location.identity = identity
    prepare.prove_files(chosen)
    prepare.prove_files(chosen)
    assert asked == [("superionic.potentials.proof:prove_file", None)]
    assert prepare.known_elements(chosen["it"].identity.name, chosen["it"].options) == ("Li", "Y", "Cl")
    Location.identity = {"packages": {"matgl": "4.1.2"}}
    prepare.prove_files(chosen)
    assert len(asked) == 2
    assert asked[1][1]["energy_eV"] == -130.0


# ---- engines that are missing ----


def test_missing_engines_are_named_with_one_command(folder):
    campaign = Campaign(
        load(folder, "{engine: chgnet}\n  other: {engine: sevennet}", "rank: {potential: it}\n"), folder / "c.yaml"
    )
    with pytest.raises(EngineError, match="The engines chgnet, sevennet are not installed") as caught:
        campaign.check()
    assert "superionic engines install chgnet sevennet" in caught.value.fix
    assert "--install-engines" in caught.value.fix
    with pytest.raises(EngineError, match="The engines"):
        campaign.run()


def test_run_installs_what_is_missing_when_asked(folder, monkeypatch):
    from superionic.execution import engine_install

    installed = []

    def install(name, *, say, allow_cuda, rebuild):
        installed.append(name)
        say(f"{name}: ready")
        raise EngineError(f"no network for {name}")

    monkeypatch.setattr(engine_install, "install_engine", install)
    campaign = Campaign(
        load(
            folder,
            "{engine: chgnet}\n  other: {engine: mace, file: mace.npz, energy_convention: 'own: x'}",
            "rank: {potential: it}\n",
        ),
        folder / "c.yaml",
    )
    monkeypatch.setattr("superionic.models.mace.bridge.read_settings", lambda file: {"atomic_numbers": [3, 17, 39]})
    said = []
    with pytest.raises(EngineError, match="no network"):
        campaign.run(install_engines=True, say=said.append)
    assert sorted(installed) == ["chgnet", "mace"]
    assert sorted(said) == ["chgnet: ready", "mace: ready"]


def test_mace_and_sevennet_exclude_each_other_and_so_have_environments_of_their_own():
    assert ENGINES["mace"].pinned_version("e3nn") == "0.4.4"
    assert ENGINES["sevennet"].pinned_version("e3nn") >= "0.5"
    assert ENGINES["matgl"].pinned_version("dgl") == "1.1.3"


def test_the_bridge_is_read_without_mace(folder):
    """An .npz that is a zip without settings is named as such by `check`."""
    with zipfile.ZipFile(folder / "mace.npz", "w") as file:
        file.writestr("x", "y")
    with pytest.raises(PotentialError, match="no MACE file"):
        choose_potentials(load(folder, "{engine: mace, file: mace.npz, energy_convention: 'own: mine'}"))
