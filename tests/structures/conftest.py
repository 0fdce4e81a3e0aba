from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "orderings"

CHARGES = {"Li": 1, "Na": 1, "Y": 3, "Zr": 4, "Si": 4, "P": 5, "O": -2, "Cl": -1, "Br": -1}


@pytest.fixture(scope="session")
def examples() -> Path:
    return ROOT / "examples"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the shared data are not here")
    return SHARED


@pytest.fixture(scope="session")
def charges() -> dict[str, int]:
    return CHARGES


@pytest.fixture(scope="session")
def lyc(examples):
    from superionic.structures.io.files import read_crystal

    return read_crystal(examples / "li3ycl6" / "li3ycl6_p-3m1.cif")
