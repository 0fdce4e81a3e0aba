"""What `superionic analyse --observables` says in words, JSON, CSV and figures, where the answers are known."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import superionic
from superionic.cli import main
from superionic.errors import AnalysisError
from superionic.results.analysis import read_analysis

FREQUENCY_THZ = 8.0
AMPLITUDE_A = 0.2
DT_PS = 0.01
N_FRAMES = 1200
CELL = np.eye(3) * 12.0
TETRAHEDRON = 2.05 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
GRID = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * 6.0
SYMBOLS = ("Li",) * 24 + ("P",) * 8 + ("S",) * 32


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Write eight PS4, one of which turns at half time, and three Li by each that vibrate along x."""
    t = np.arange(N_FRAMES)[:, None, None] * DT_PS
    lithium = np.concatenate([GRID + np.eye(3)[axis] * 3.0 for axis in range(3)])
    wave = np.zeros((N_FRAMES, 24, 3))
    wave[..., 0] = AMPLITUDE_A * np.cos(2.0 * np.pi * FREQUENCY_THZ * t[..., 0])
    sulfur = np.array(np.broadcast_to(GRID[:, None] + TETRAHEDRON, (N_FRAMES, 8, 4, 3)))
    sulfur[N_FRAMES // 2 :, 0] = GRID[0] + TETRAHEDRON[[0, 2, 3, 1]]
    centres = np.broadcast_to(GRID, (N_FRAMES, 8, 3))
    drift = np.linspace(0.0, 0.5, N_FRAMES)[:, None, None]
    positions = np.concatenate([lithium + wave, centres, sulfur.reshape(N_FRAMES, 32, 3)], axis=1) + drift
    lattice = " ".join(f"{x:g}" for x in CELL.ravel())
    lines = []
    for k, frame in enumerate(positions):
        lines += [str(len(SYMBOLS)), f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 time_ps={k * DT_PS:.3f}']
        lines += [f"{s} {x:.6f} {y:.6f} {z:.6f}" for s, (x, y, z) in zip(SYMBOLS, frame, strict=True)]
    file = tmp_path_factory.mktemp("run") / "ps4.extxyz"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_all_of_it_from_the_command_line(path, tmp_path, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["analyse", str(path), "--mobile", "Li", "--observables", "all", "--out", str(out)])
    assert not ended.value.code
    printed = " ".join(capsys.readouterr().out.split())
    assert "attempt frequency 8.0" in printed
    assert "8 PS4: 12 % turned during the run" in printed
    found = read_analysis(out / "result.json").runs[0].observables
    vibrations = found.vibrations
    assert vibrations.attempt_frequency_THz == pytest.approx(FREQUENCY_THZ, rel=0.01)
    assert vibrations.amplitude_A == pytest.approx(2.0 * AMPLITUDE_A, rel=0.04)  # 12.5 frames a period
    assert vibrations.mean_frequency_THz == pytest.approx(FREQUENCY_THZ, rel=0.01)
    [turning] = found.rotations
    assert (turning.group, turning.n_groups, turning.fraction_turned) == ("PS4", 8, 0.125)
    pairs = {(each.centre, each.neighbour): each for each in found.pairs if each.site is None}
    assert pairs["P", "S"].coordination_number == pytest.approx(4.0, abs=1e-9)
    assert pairs["P", "S"].first_peak_A == pytest.approx(2.05, abs=0.05)
    assert pairs["P", "Li"].coordination_number == pytest.approx(6.0, abs=1e-9)
    tables = {name: list(csv.DictReader((out / name).read_text().splitlines())) for name in CSV}
    assert float(tables["vibrations.csv"][0]["attempt_frequency_THz"]) == vibrations.attempt_frequency_THz
    assert tables["rotation.csv"][0]["fraction_turned"] == "0.125"
    row = next(r for r in tables["coordination.csv"] if (r["centre"], r["neighbour"], r["site"]) == ("P", "S", ""))
    assert float(row["coordination_number"]) == pytest.approx(4.0, abs=1e-9)
    assert len(tables["pair_distributions.csv"]) == len(found.pairs) * 160
    page = (out / "analysis.html").read_text()
    for words in ("Vibrations of the mobile ions", "Do polyanions rotate?", "Neighbours"):
        assert words in page
    assert (out / "figures" / "rotation.png").exists()


CSV = (
    "vibrations.csv", "velocity_spectrum.csv", "rotation.csv", "orientation_correlation.csv", "coordination.csv",
    "pair_distributions.csv",
)  # fmt: skip


def test_one_of_it_from_python_and_none_by_default(path):
    [run] = superionic.analyse(path, mobile="Li", observables="rotation").runs
    assert run.observables.vibrations is None
    assert run.observables.pairs == ()
    assert [each.group for each in run.observables.rotations] == ["PS4"]
    [run] = superionic.analyse(path, mobile="Li").runs
    assert run.observables is None


def test_an_unknown_one_is_refused_with_those_that_there_are(path, capsys):
    with pytest.raises(AnalysisError, match="no observable 'rdf'") as refused:
        superionic.analyse(path, mobile="Li", observables="rdf")
    assert "vibrations, rotation, pairs" in refused.value.fix
    with pytest.raises(SystemExit):
        main(["analyse", str(path), "--mobile", "Li", "--observables", "pairs", "--json"])
    [run] = json.loads(capsys.readouterr().out)["runs"]
    assert run["observables"]["vibrations"] is None
    assert len(run["observables"]["pairs"]) == 9
