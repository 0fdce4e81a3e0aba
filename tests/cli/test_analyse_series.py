"""Trajectories at several temperatures: directions of different activation energy, upper bounds, samples."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

import superionic
from superionic.cli import main
from superionic.errors import AnalysisError
from superionic.results.analysis import read_analysis
from superionic.units import BOLTZMANN_EV_PER_K as KB

T = (500, 600, 700, 800)
CELL = np.diag([25.0, 25.0, 30.0])


def walk(rng, rates, frames=201, ions=40):
    """Ions that hop by 3 Å along x, y and z, so often in a picosecond; and eight chloride ions that stay."""
    hops = rng.poisson(rates, (frames, ions, 3)) - rng.poisson(rates, (frames, ions, 3))
    mobile = 3.0 * np.cumsum(hops, axis=0) + rng.normal(0.0, 0.2, (frames, ions, 3))
    still = np.tile(rng.random((8, 3)) * 25.0, (frames, 1, 1))
    return np.concatenate([mobile, still], axis=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """c 0.12 eV, ab 0.36 eV: as fast as one another at 700 K. At 400 K nothing moves, as the run is short."""
    path = tmp_path_factory.mktemp("series")
    rng = np.random.default_rng(2)
    for t in T:
        ab, c = (0.05 * math.exp(-Ea / KB * (1.0 / t - 1.0 / 700.0)) for Ea in (0.36, 0.12))
        frames = [Atoms("Li40Cl8", positions=p, cell=CELL, pbc=True) for p in walk(rng, (ab, ab, c))]
        write(path / f"{t}.xyz", frames, format="extxyz")
    write(path / "400.xyz", [Atoms("Li40Cl8", positions=p, cell=CELL, pbc=True) for p in walk(rng, (0.0,) * 3, 41)])
    return path


def arguments(folder, temperatures=T):
    files = [str(folder / f"{t}.xyz") for t in temperatures]
    return [
        *files, "--temperatures-K", ",".join(map(str, temperatures)), "--mobile", "Li", "--frame-interval-fs", "1000",
        "--charges", "Li=1,Cl=-5", "--sites", "none",
    ]  # fmt: skip


def test_directions_are_summed_in_text_json_files_and_python(folder, tmp_path, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as done:
        main(["analyse", *arguments(folder)])
    assert done.value.code in (0, None)
    analysed = superionic.analyse(
        [folder / f"{t}.xyz" for t in T], temperatures_K=T, mobile="Li", frame_interval_fs=1000,
        charges={"Li": 1.0, "Cl": -5.0},
    )  # fmt: skip
    analysed.write(out, formats=("png",), samples=300)
    text = " ".join(capsys.readouterr().out.split())
    assert "by direction: 0.1" in text
    assert "along c" in text
    assert "summed over the directions" in text
    values = json.loads((out / "result.json").read_text())
    found = values["arrhenius"][0]["dependence"]
    lines = {line["name"]: line["fit"] for line in found["directions"]["lines"]}
    for name, truth in (("along c", 0.12), ("across c", 0.36)):
        # ln(σT) of walkers whose rates are activated has their activation energy
        assert abs(lines[name]["Ea_eV"] - truth) < 3.0 * lines[name]["Ea_error_eV"]
    again = read_analysis(out / "result.json")
    assert again == analysed
    dependence = again.arrhenius[0].dependence
    assert dependence.headline.origin == "directions"
    assert dependence.headline.value_S_per_cm > 2.0 * dependence.line.predict(300.0).value
    with (out / "arrhenius_directions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["direction"], row["axes"]) for row in rows] == [("along c", "1")] * 4 + [("across c", "2")] * 4
    page = (out / "analysis.html").read_text()
    assert "Directions of different activation energy" in page
    assert "Thin lines and open points" in page
    with np.load(out / "samples.npz") as archive:
        sigma = archive["sigma_S_per_cm"][:, 0]
    assert len(sigma) == 300 == len((out / "samples.csv").read_text().splitlines()) - 1
    low, high = dependence.headline.interval95_S_per_cm
    assert np.mean((sigma > low) & (sigma < high)) == pytest.approx(0.95, abs=0.05)
    np.testing.assert_array_equal(sigma, again.samples(300)[0].sigma_S_per_cm[:, 0])


def test_a_temperature_without_motion_is_an_upper_bound_everywhere(folder, tmp_path):
    files = [folder / f"{t}.xyz" for t in (400, *T)]
    found = superionic.analyse(
        files, temperatures_K=(400, *T), mobile="Li", frame_interval_fs=1000, charges={"Li": 1.0, "Cl": -5.0}
    )
    dependence = found.arrhenius[0].dependence
    assert dependence.line.used == (False, True, True, True, True)
    assert dependence.points[0].conductivity_tensor_S_per_cm is None
    assert all(line.points[0].is_upper_bound for line in dependence.directions.lines)
    page = found.write(tmp_path / "out", formats=("png",)).read_text()
    assert "Triangles pointing down: 95 % upper bounds" in page
    assert "upper bounds (at 400 K) and count as such" in page


def test_the_command_line_says_which_temperatures_are_bounds(folder, capsys):
    with pytest.raises(SystemExit) as done:
        main(["analyse", *arguments(folder, (400, *T))])
    assert done.value.code in (0, None)
    assert "1 of 5 points of the Arrhenius fit are upper bounds (at 400 K)" in " ".join(capsys.readouterr().out.split())


def test_the_command_line_writes_samples(tmp_path):
    rng = np.random.default_rng(0)
    frames = [
        Atoms("Li4Cl4", positions=[*p[:4], *p[-4:]], cell=np.diag([9.0] * 3), pbc=True)
        for p in walk(rng, (0.02,) * 3, 51)
    ]
    write(tmp_path / "small.xyz", frames, format="extxyz")
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as done:
        main([
            "analyse", str(tmp_path / "small.xyz"), "--mobile", "Li", "--frame-interval-fs", "1000", "--sites", "none",
            "--out", str(out), "--samples", "20",
        ])  # fmt: skip
    assert done.value.code in (0, None)
    names = "tracer_diffusivity_cm2_per_s,charge_diffusivity_cm2_per_s"
    lines = (out / "samples.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == (names, 21)
    assert (out / "samples.npz").is_file()


def test_samples_need_a_folder_and_a_sensible_number(folder, capsys):
    for more, words in ((["--samples", "10"], "--out FOLDER"), (["--samples", "0"], "number of samples is")):
        with pytest.raises(SystemExit) as done:
            main(["analyse", *arguments(folder), *more])
        assert done.value.code == 2
        assert words in " ".join(capsys.readouterr().err.split())


def test_one_run_gives_samples_of_its_own(folder):
    found = superionic.analyse(folder / "800.xyz", mobile="Li", frame_interval_fs=1000)
    (drawn,) = found.samples(500)
    low, high = found.runs[0].transport.tracer_diffusivity_cm2_per_s.interval68
    inside = (drawn.tracer_diffusivity_cm2_per_s > low) & (drawn.tracer_diffusivity_cm2_per_s < high)
    assert np.mean(inside) == pytest.approx(0.68, abs=0.07)
    assert drawn.sigma_S_per_cm.shape == (500, 0)
    with pytest.raises(AnalysisError, match="number of samples is"):
        found.samples(0)
