"""The short version of ``make faults``, kind by kind: nothing lost or changed, no manual step, nothing left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("faults are tried on Linux, with a C compiler")
    return tmp_path_factory.mktemp("faults")


@pytest.mark.slow
@pytest.mark.skipif("SUPERIONIC_TEST_FAULTS" not in os.environ, reason="run by `make faults-short`")
@pytest.mark.parametrize("kind", ["kills", "crashes", "errors", "damages", "drivers"])
def test_nothing_is_lost_or_changed_by(kind, work):
    command = [sys.executable, str(FAULTS), "--short", "--only", kind, "--work", str(work)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
