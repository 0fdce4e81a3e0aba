"""The crystals of the stand-in for a foundation model: every one is neutral, and has the formula of its name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from superionic import read_crystal

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
def crystals(root: Path) -> Iterator[ModuleType]:
    sys.path.insert(0, str(root / "benchmarks"))
    import stand_in_crystals

    yield stand_in_crystals
    sys.path.remove(str(root / "benchmarks"))


def test_every_crystal_has_its_formula_and_is_neutral(crystals: ModuleType, tmp_path: Path) -> None:
    formulas = {}
    for crystal in crystals.CRYSTALS:
        cif = tmp_path / f"{crystal.name}.cif"
        crystal.write_cif(cif)
        assert cif.read_text().startswith(f"# {crystal.source}\n")
        read = read_crystal(cif)
        formulas[crystal.name] = read.formula
        charge = sum(crystals.OXIDATION_STATES[element] * amount for element, amount in read.composition.items())
        assert abs(charge) < 1e-4, crystal.name
    assert formulas == FORMULAS
