"""A folder for faults, and a check of one kind of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def nothing_is_wrong_after(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """See that nothing is lost or changed, no manual step needed, nothing left, by faults of some kinds."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("faults are tried on Linux, with a C compiler")
    work = tmp_path_factory.mktemp("faults")

    def check(*kinds: str) -> None:
        script = Path(__file__).parent
        only = [argument for kind in kinds for argument in ("--only", kind)]
        command = [sys.executable, str(script), "--short", *only, "--work", str(work)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]

    return check
