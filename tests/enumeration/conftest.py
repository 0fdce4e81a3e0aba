from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "orderings"


@pytest.fixture(scope="session")
def lyc_file() -> Path:
    return ROOT / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"


@pytest.fixture(scope="session")
def lyb_file() -> Path:
    return ROOT / "examples" / "li3ycl6-xbrx" / "li3ybr6_c2m.cif"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the shared data are not here")
    return SHARED
