"""A model's file that a package of others carries: installed, listed, proved and guarded as engines are."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from types import MappingProxyType

import pytest

import superionic
from superionic import Campaign
from superionic.errors import EngineError, PotentialError
from superionic.execution import engine_install, engine_specs, engines, kept_files
from superionic.execution.engine_install import install_engine
from superionic.execution.engines import list_engines, resolve_engine
from superionic.execution.kept_files import stored_path
from superionic.models.nep import NEP89
from superionic.potentials.base import describe_potential, load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.registry import models

CONTENT = b"nep4 1 Li\n"
SMALL = dataclasses.replace(
    NEP89,
    name="small",
    requirement="carrier==1.0",
    wheel=(),
    member="Carrier/data/small.txt",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    kept_files._verify.cache_clear()
    return tmp_path / "home"


@pytest.fixture
def carrier(home, tmp_path, monkeypatch):
    """A package that carries a file; pip finds it in a folder."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        info = "carrier-1.0.dist-info"
        wheel.writestr("Carrier/data/small.txt", CONTENT)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    register(monkeypatch, SMALL)


def register(monkeypatch, spec):
    known = MappingProxyType({spec.name: spec})
    for module in (engine_specs, engines, engine_install):
        monkeypatch.setattr(module, "DATA", known)


def state_of(name):
    return next(status for status in list_engines() if status.name == name)


def test_it_is_taken_out_of_the_package_once_and_kept(carrier):
    assert state_of("small").state == "absent"
    with pytest.raises(EngineError, match="not installed") as caught:
        resolve_engine("small")
    assert caught.value.fix == "superionic engines install small"
    said = []
    install_engine("small", say=said.append, prove=False)
    assert stored_path(SMALL.kept_name).read_bytes() == CONTENT
    assert state_of("small").state == "installed"
    assert "GPL-3.0-or-later" in said[0]
    assert SMALL.caution in said[-1]
    said.clear()
    install_engine("small", say=said.append)
    assert said == ["small: installed already"]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sha256": "0" * 64}, "not the one on record"),
        ({"requirement": "carrier==2.0"}, "cannot be downloaded"),
    ],
)
def test_another_file_is_refused_and_leaves_nothing(carrier, monkeypatch, changes, match):
    register(monkeypatch, dataclasses.replace(SMALL, **changes))
    with pytest.raises(EngineError, match=match) as caught:
        install_engine("small", say=lambda _line: None, prove=False)
    assert "name its" in caught.value.fix
    assert state_of("small").state == "absent"


# ---- NEP89 ----


def test_nep89_is_described_without_its_file():
    identity = describe_potential("nep", "nep89")
    assert identity.checkpoint_sha256.startswith("75168ece")
    assert (identity.energy_convention, identity.engine, len(identity.elements)) == ("own: NEP89", "core", 89)
    assert models()["nep"].data_named("nep89") is NEP89
    assert models()["nep"].data_named(None) is None


def test_another_nep_is_not_taken_for_it(tmp_path):
    numbers = "0\n" * 40
    file = tmp_path / "nep.txt"
    file.write_text(f"nep4 1 Li\ncutoff 5 4 9 9\nn_max 0 0\nbasis_size 0 0\nl_max 1 0 0\nANN 1 0\n{numbers}")
    with pytest.raises(PotentialError, match=r"nep89|nep\.txt"):
        load_potential("nep", model="nep89", file=str(file))


TEXT = """\
superionic: 1
name: quick
seed: 1
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: P-3m1, file: FILE}]
potentials: {quick: {engine: nep, model: nep89}, pair: {engine: pair}}
enumerate: {ewald_keep: 3}
select: null
sample: null
"""
RIGID = "rank: {potential: quick, relax_cell: false}\n"
NONE = "transport: null\nanalyse: null\n"


@pytest.mark.parametrize(
    ("rest", "fix"),
    [
        ("rank: {potential: quick}\n" + NONE, "rank.relax_cell: false"),
        (
            "rank: {potential: pair, compare_with: [quick], compare_after: relaxation}\n" + NONE,
            "rank.relax_cell: false",
        ),
        (RIGID + "transport: {temperatures_K: [600, 700, 800]}\n", "transport.npt_ps: 0"),
        (RIGID + "transport: {potential: quick, npt_ps: 5, temperatures_K: [600, 700, 800]}\n", "transport.npt_ps: 0"),
    ],
)
def test_no_cell_follows_its_pressure(root, tmp_path, home, rest, fix):
    with pytest.raises(PotentialError, match="unfit") as caught:
        campaign(root, tmp_path, rest).check()
    assert fix in caught.value.fix
    assert caught.value.where == "potentials.quick"


@pytest.mark.parametrize(
    "rest",
    [
        RIGID + NONE,
        "rank: {potential: pair, compare_with: [quick]}\n" + NONE,
        "rank: {potential: pair, prescreen: quick, prescreen_steps: 5}\n" + NONE,
        RIGID + "transport: {npt_ps: 0, temperatures_K: [600, 700, 800]}\n",
        RIGID + "transport: {potential: pair, temperatures_K: [600, 700, 800]}\n",
    ],
)
def test_in_cells_that_stay_it_asks_only_to_be_installed(root, tmp_path, home, rest):
    with pytest.raises(EngineError, match="not installed") as caught:
        campaign(root, tmp_path, rest).check()
    assert caught.value.fix == "superionic engines install nep89"


def test_notebooks_are_told_to_install_it(home):
    with pytest.raises(EngineError, match="not installed"):
        superionic.load_model("nep", model="nep89")


def campaign(root, folder, rest):
    file = folder / "c.yaml"
    file.write_text((TEXT + rest).replace("FILE", str(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif")))
    return Campaign.load(file)


def installed():
    try:
        resolve_engine("nep89")
    except EngineError:
        return False
    return True


@pytest.mark.skipif(not installed(), reason="nep89 is not installed")
def test_its_header_names_the_elements_on_record_and_it_is_cautioned_against(root, tmp_path):
    assert engines.check_engine("nep89").passed
    potential = superionic.load_model("nep", model="nep89")
    assert potential.identity == describe_potential("nep", "nep89")
    with pytest.warns(UserWarning, match="its pressure is wrong"):
        potential.evaluate(li3ycl6_cell())
    assert tuple(potential.model.elements) == NEP89.elements
    plan = campaign(root, tmp_path, RIGID + NONE).check()
    assert plan.cautions == {"quick": NEP89.caution}
    assert plan.engines == {"nep89": "current"}
