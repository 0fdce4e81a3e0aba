"""The stand-in for a foundation model of MACE: its crystals are what they are called, and its campaigns valid."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from superionic import read_crystal
from superionic.campaign.file.load import parse_campaign
from superionic.conventions import OMAT24

FORMULAS = {
    "nasicon-x0": "NaZr2P3O12",
    "nasicon-x1": "Na2Zr2SiP2O12",
    "nasicon-x2": "Na3Zr2Si2PO12",
    "nasicon-x3": "Na4Zr2Si3O12",
    "oxysulfide-x0": "Li3PS4",
    "oxysulfide-x0.5": "Li7GePS4O4",
    "oxysulfide-x1": "Li4GeO4",
    "halide-in1-br0": "Li3InCl6",
    "halide-in0-br1": "Li3YBr6",
    "halide-in0.5-br0.5": "Li6YInBr6Cl6",
    "trigonal-br0.5": "Li3YBr3Cl3",
    "licl": "LiCl",
    "libr": "LiBr",
    "ycl3": "YCl3",
    "incl3": "InCl3",
    "ybr3": "YBr3",
    "li3po4": "Li3PO4",
    "li4geo4": "Li4GeO4",
    "gamma-li3ps4": "Li3PS4",
}


@pytest.fixture(scope="module")
def benchmark(root: Path) -> Iterator[Callable[[str], ModuleType]]:
    sys.path.insert(0, str(root / "benchmarks"))
    yield import_module
    sys.path.remove(str(root / "benchmarks"))


def test_every_crystal_has_its_formula_and_is_neutral(benchmark: Callable[[str], ModuleType], tmp_path: Path) -> None:
    crystals, formulas = benchmark("stand_in_crystals"), {}
    for crystal in crystals.CRYSTALS:
        cif = tmp_path / f"{crystal.name}.cif"
        crystal.write_cif(cif)
        assert cif.read_text().startswith(f"# {crystal.source}\n")
        read = read_crystal(cif)
        formulas[crystal.name] = read.formula
        charge = sum(crystals.OXIDATION_STATES[element] * amount for element, amount in read.composition.items())
        assert abs(charge) < 1e-4, crystal.name
    assert formulas == FORMULAS


def test_its_campaigns_differ_in_the_training_alone(
    benchmark: Callable[[str], ModuleType], root: Path, tmp_path: Path
) -> None:
    (tmp_path / "stand-in.npz").write_text("")
    label = (root / "examples" / "li3ycl6-ladder" / "labels.extxyz").read_text(encoding="utf-8").splitlines()[:32]
    (tmp_path / "learned.extxyz").write_text("\n".join(label) + "\n", encoding="utf-8")
    texts = benchmark("stand_in").campaigns(OMAT24, 40)
    naive, multihead = (parse_campaign(texts[name], tmp_path / f"{name}.yaml") for name in ("naive", "multihead"))
    assert multihead.train.replay == str(tmp_path / "learned.extxyz")
    assert (naive.train.options["mode"], multihead.train.options["mode"]) == ("naive", "multihead")
    for section in ("sample", "label", "validate"):
        assert naive.stage_settings(section) == multihead.stage_settings(section)
