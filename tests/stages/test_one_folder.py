"""A stage of one folder and one line in STAGES: every room knows it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).parent / "one_folder" / "command.py"
TEXT = """\
superionic: 1
name: one-folder
seed: 1
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: P-3m1, file: FILE}]
potentials: {pair: {engine: pair}}
enumerate: {ewald_keep: 1}
rank: {relax_top: 1, max_steps: 1}
hull: null
spacing: {}
transport: null
analyse: null
"""


@pytest.fixture(scope="module")
def seen(root, tmp_path_factory):
    file = tmp_path_factory.mktemp("campaign") / "c.yaml"
    file.write_text(TEXT.replace("FILE", str(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif")))
    done = subprocess.run([sys.executable, str(COMMAND), str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_is_planned_run_and_found_done(seen):
    assert seen["plan"] == ["enumerate", "rank", "spacing", "report"]  # the hull before it is left out
    assert seen["waiting"] == ["waiting"]
    assert seen["status"]["spacing"] == ["done", 1]
    assert seen["explained"] == "spacing"


def test_its_result_is_right_and_in_report_and_schemas(seen):
    assert seen["shortest_in_bcc_A"] == pytest.approx(4.0 * math.sqrt(3.0) / 2.0)
    assert 2.0 < seen["shortest_A"] < 4.0
    ((_, formula, distance),) = seen["rows"]
    assert formula == "Li₃YCl₆"
    assert float(distance) == pytest.approx(seen["shortest_A"], abs=0.01)
    assert ["4 Distances of mobile ions", "1 ordering measured"] in seen["workflow"]
    assert seen["section"] == {"$ref": "#/$defs/SpacingSettings"}
    assert "## `spacing`" in seen["reference"]
    assert {"$ref": "#/$defs/SpacingResult"} in seen["variants"]["anyOf"]
