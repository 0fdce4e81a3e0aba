from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from superionic.structures.io.files import parse_crystal

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "orderings.py"


def run(*arguments):
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "src"))
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_orderings", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_tiny_mode_counts_lists_and_ranks():
    done = run("--tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    row = next(line for line in done.stdout.splitlines() if "li3ycl6 1x1x1" in line)
    case, sites, raw, distinct = [cell.strip() for cell in row.strip("|").split("|")][:4]
    assert (case, sites, raw, distinct) == ("li3ycl6 1x1x1", "35", "360", "30")
    assert "all counts agree" in done.stdout


def test_known_count_that_is_not_ours_fails(benchmark, tmp_path, monkeypatch, capsys):
    entry = {"cif": "a.cif", "supercell": "(1, 1, 1)", "raw": 360, "distinct": 31, "blocks": []}
    (tmp_path / "known_counts.json").write_text(json.dumps({"fixed_supercell": {"A1": entry}}), encoding="utf-8")
    counts = {"sites": 35, "raw": 360, "distinct": 30, "group_order": 12, "count_s": 0.001, "peak_MB": 100.0}
    monkeypatch.setattr(benchmark.Runner, "run", lambda *_, **__: counts)
    monkeypatch.setattr(sys, "argv", ["orderings.py", "--data", str(tmp_path), "--no-start"])
    assert benchmark.main() == 1
    assert "FAILED: A1: superionic counts distinct 30, known 31" in capsys.readouterr().out


def test_listing_that_misses_an_ordering_fails(benchmark, tmp_path):
    case = benchmark.Case("A1", tmp_path / "a.cif", "1x1x1", "per-orbit")
    found = {"raw": 360, "distinct": 30, "listed": 30, "ranked": 29, "listed_raw": 360, "ranked_raw": 360}
    assert benchmark.check_counts(case, found) == ["A1: superionic's ranked is 29, its distinct 30"]


class Answers:
    """Stands in for the processes of peers."""

    def __init__(self, listed):
        self.listed, self.asked = listed, []

    def run(self, python, what, **job):
        self.asked.append((python, what, job["structure"]))
        answer = self.listed[len(self.asked) - 1]
        if isinstance(answer, str):
            return answer
        return {"counted": None, "listed": answer, "whole_s": 2.0, "peak_MB": 100.0}


def ours(raw, distinct):
    return {
        "raw": raw,
        "distinct": distinct,
        "listed": distinct,
        "list_s": 0.001,
        "whole_s": 0.01,
        "structure": f"{raw}.json",
    }


def test_peer_that_lists_another_number_is_a_failure(benchmark, tmp_path, capsys):
    case = benchmark.Case("A1", tmp_path / "a.cif", "1x1x1", "per-orbit")
    wrong = benchmark.run_peers(Answers([31]), [case], {"A1": ours(360, 30)}, {"bsym": ("python", "2.2.0")})
    assert len(wrong) == 1
    assert "bsym counts None and lists 31, superionic 30" in wrong[0]
    assert "× 200" in capsys.readouterr().out  # 2 s over 0.01 s


def test_peer_over_its_limit_is_not_asked_for_larger_cases(benchmark, tmp_path, capsys):
    cases = [benchmark.Case(name, tmp_path / "a.cif", "1x1x1", "per-orbit") for name in ("A1", "A2", "A3")]
    found = {"A1": ours(10, 5), "A2": ours(100, 50), "A3": ours(1000, 500)}
    answers = Answers([5, "over 60 s"])
    assert benchmark.run_peers(answers, cases, found, {"icet": ("python", "4.0")}) == []
    assert [structure for _, _, structure in answers.asked] == ["10.json", "100.json"]
    assert "not tried: A2 was over a limit" in capsys.readouterr().out


def test_input_of_supercell_reads_back_as_the_same_disordered_cell(benchmark, tmp_path):
    structure = {
        "cell": [[4.0, 0.0, 0.0], [-2.0, 3.0, 0.0], [0.5, 1.0, 5.0]],
        "fractional": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.1], [0.25, 0.3, 0.6]],
        "groups": [{"sites": [0, 1], "counts": {"Li": 1, "X": 1}}, {"sites": [2], "counts": {"Cl": 1}}],
    }
    benchmark.supercell(structure, "supercell", tmp_path)
    crystal = parse_crystal(tmp_path / "case.cif")
    lengths_A = np.linalg.norm(structure["cell"], axis=1)
    assert np.allclose(np.linalg.norm(crystal.cell_A, axis=1), lengths_A)
    assert crystal.volume_A3 == pytest.approx(60.0)
    assert np.allclose(crystal.fractional, structure["fractional"])
    assert [dict(site.species) for site in crystal.sites] == [{"Li": 0.5}, {"Li": 0.5}, {"Cl": 1.0}]


def test_newest_version_of_each_peer_is_taken(benchmark):
    class Versions:
        def run(self, python, what):
            return {"old": {"shry": "1.1.10", "icet": "3.2"}, "new": {"shry": "1.1.9", "icet": "4.0"}}[python]

    best = benchmark.newest_peers(Versions(), ["old", "new"])
    assert best["shry"] == ("old", "1.1.10")
    assert best["icet"] == ("new", "4.0")
