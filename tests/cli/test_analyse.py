"""The verb ``superionic analyse`` and its Python twin."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import superionic
from superionic.cli import main
from superionic.errors import AnalysisError, StorageError
from superionic.results.analysis import read_analysis
from superionic.results.document import VERSION, read_results

_SPEC = importlib.util.spec_from_file_location(
    "trajectory_files", Path(__file__).parents[2] / "benchmarks" / "trajectory_files.py"
)
files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(files)

CELL = np.array([[12.0, 0.0, 0.0], [3.0, 12.0, 0.0], [-3.0, 2.0, 12.0]])
# 24 Li, 8 Y, 48 Cl: neutral.
SYMBOLS = ("Li",) * 24 + ("Y",) * 8 + ("Cl",) * 48
DT_FS = 100.0


def hopping(rate: float, *, n_frames: int = 1500, seed: int = 0) -> np.ndarray:
    """Unwrapped fractional positions: Li hops on a 4 × 4 × 4 grid, the rest rattles, and the whole drifts."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) / 4.0
    jumps = np.zeros((n_frames, 24, 3))
    frames, ions = np.nonzero(rng.random((n_frames, 24)) < rate)
    jumps[frames, ions, rng.integers(0, 3, len(frames))] = rng.choice([-0.25, 0.25], len(frames))
    others = np.concatenate([grid[:28], grid[30:58]]) + 0.125
    paths = np.concatenate([grid[:24] + np.cumsum(jumps, axis=0), np.broadcast_to(others, (n_frames, 56, 3))], axis=1)
    return paths + rng.normal(0.0, 0.005, paths.shape) + np.linspace(0.0, 0.4, n_frames)[:, None, None]


def true_diffusivity(rate: float) -> float:
    """D of these hops in cm²/s."""
    squares = (np.linalg.norm(CELL / 4.0, axis=1) ** 2).mean()
    return rate * squares / (6.0 * DT_FS * 1.0e-3) * 1.0e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("runs")
    for temperature, rate in ((600, 0.02), (800, 0.06)):
        paths = hopping(rate, seed=temperature)
        files.xdatcar(made / f"{temperature}.xdatcar", paths, CELL, SYMBOLS)
        scale = 1.0 + 2e-5 * (temperature - 600) + 0.002 * np.random.default_rng(temperature).normal(size=len(paths))
        files.lammps_dump(made / f"{temperature}.dump", paths, CELL * scale[:, None, None], SYMBOLS)
    files.xdatcar(made / "second.xdatcar", hopping(0.02, seed=5), CELL, SYMBOLS)
    return made


def run(capsys, *arguments):
    """Run the command line; return its exit code, output and errors."""
    code = 0
    try:
        main([str(a) for a in arguments])
    except SystemExit as ended:
        code = ended.code or 0
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_json_has_the_names_that_are_promised(folder, capsys):
    code, out, _ = run(
        capsys, "analyse", folder / "600.xdatcar", "--mobile", "Li", "--frame-interval-fs", DT_FS,
        "--temperature-K", 600, "--json",
    )  # fmt: skip
    assert code == 0
    document = json.loads(out)
    assert (document["format"], document["version"]) == ("superionic analysis", VERSION)
    [found_run] = document["runs"]
    values = found_run["transport"]
    for name in (
        "tracer_diffusivity_cm2_per_s",
        "charge_diffusivity_cm2_per_s",
        "haven_ratio",
        "nernst_einstein_conductivity_S_per_cm",
    ):
        assert {"value", "error", "interval68", "interval95"} <= set(values[name])
    assert len(values["window_ps"]) == 2
    assert values["n_hops"] > 500
    assert values["flags"] == []
    found = values["tracer_diffusivity_cm2_per_s"]
    assert found["interval95"][0] < true_diffusivity(0.02) < found["interval95"][1]
    assert abs(values["haven_ratio"]["value"] - 1.0) < 3.0 * values["haven_ratio"]["error"]
    assert found_run["charges"] == {"Li": 1.0, "Y": 3.0, "Cl": -1.0}
    volume = np.linalg.det(CELL)
    sigma = 24 * 1.602176634e-19**2 * found["value"] * 1e-4 / (volume * 1e-30 * 1.380649e-23 * 600) / 100
    assert values["nernst_einstein_conductivity_S_per_cm"]["value"] == pytest.approx(sigma, rel=1e-6)


def test_a_person_sees_a_table_with_units_and_intervals(folder, capsys):
    code, out, _ = run(capsys, "analyse", folder / "600.xdatcar", "--frame-interval-fs", DT_FS, "--temperature-K", 600)
    assert code == 0
    for words in ("cm²/s", "S/cm", "68 %", "95 %", "Li +1, Y +3, Cl -1", "drift of Y, Cl removed", "hops counted"):
        assert words in out


def test_no_temperature_no_conductivity_and_it_is_said(folder):
    found = superionic.analyse(folder / "600.xdatcar", mobile="Li", frame_interval_fs=DT_FS)
    assert found.runs[0].transport.nernst_einstein_conductivity_S_per_cm is None
    assert any("--temperature-K" in flag for flag in found.runs[0].flags)


def test_options_change_what_they_say(folder):
    path = folder / "600.xdatcar"
    usual = superionic.analyse(path, frame_interval_fs=DT_FS, temperature_K=600).runs[0]
    halved = superionic.analyse(path, frame_interval_fs=DT_FS, temperature_K=600, skip_ps=75.0, stride=2).runs[0]
    assert halved.transport.duration_ps == pytest.approx(74.8, abs=0.3)
    planar = superionic.analyse(path, frame_interval_fs=DT_FS, temperature_K=600, axes="xy").runs[0]
    tensor = usual.transport.tracer.tensor_A2_per_ps
    expected = 0.5 * (tensor[0, 0] + tensor[1, 1]) * 1e-4
    assert planar.transport.tracer_diffusivity_cm2_per_s.value == pytest.approx(expected, rel=0.2)
    doubled = superionic.analyse(path, frame_interval_fs=DT_FS, temperature_K=600, charges={"Li": 2.0}).runs[0]
    ratio = (
        doubled.transport.nernst_einstein_conductivity_S_per_cm.value
        / usual.transport.nernst_einstein_conductivity_S_per_cm.value
    )
    assert ratio == pytest.approx(4.0)
    drifting = superionic.analyse(path, frame_interval_fs=DT_FS, drift="none").runs[0]
    assert drifting.drift == "none"
    assert any("drift" in flag.lower() for flag in drifting.flags)
    by_number = superionic.analyse(path, frame_interval_fs=DT_FS, drift="number", framework=["Y"]).runs[0]
    assert by_number.framework == ("Y",)
    assert by_number.transport.tracer_diffusivity_cm2_per_s.value == pytest.approx(
        usual.transport.tracer_diffusivity_cm2_per_s.value, rel=0.05
    )


def test_a_window_of_the_users_own(folder, capsys):
    path = folder / "600.xdatcar"
    found = superionic.analyse(path, frame_interval_fs=DT_FS, temperature_K=600, window_ps=(2.0, 20.0)).runs[0]
    assert found.transport.window_ps == (2.0, 20.0)
    expected = true_diffusivity(0.02)
    estimate = found.transport.tracer_diffusivity_cm2_per_s
    assert abs(estimate.value - expected) < 4.0 * estimate.error
    arguments = ("analyse", path, "--frame-interval-fs", DT_FS, "--from-ps", 2)
    code, out, _ = run(capsys, *arguments, "--to-ps", 20)
    assert code == 0
    assert "D at lags of 2 to 20 ps" in out
    for more, words in (((), "--to-ps"), (("--to-ps", 1), "shorter one first"), (("--to-ps", 1e6), "does not fit")):
        code, _, error = run(capsys, *arguments, *more)
        assert code == 2
        assert words in error


def test_temperatures_give_an_activation_energy_and_thermal_expansion(folder, capsys, tmp_path):
    code, out, _ = run(
        capsys, "analyse", folder / "600.dump", folder / "800.dump", "--temperatures-K", "600,800", "--arrhenius",
        "--units", "metal", "--elements", "Li,Y,Cl", "--timestep-fs", 1, "--report-K", "350,700",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert code == 0
    values = json.loads(out)
    assert len(values["runs"]) == 2
    kB = 8.617333262e-5
    truth = np.log(3.0 * 800 / 800) / (1 / 600 - 1 / 800) * kB
    fit = values["arrhenius"][0]["dependence"]
    assert abs(fit["Ea_eV"] - truth) < 4.0 * fit["Ea_error_eV"]
    assert [p["temperature_K"] for p in fit["predictions"]] == [350.0, 700.0]
    assert fit["predictions"][0]["extrapolated"]
    assert not fit["predictions"][1]["extrapolated"]
    expansion = values["expansion"]
    assert abs(expansion["volumetric_per_K"] - 6e-5) < 4.0 * expansion["volumetric_error_per_K"]
    assert values["runs"][0]["mean_cell"]["volume_per_atom_A3"]["value"] == pytest.approx(
        np.linalg.det(CELL) / 80, rel=2e-3
    )
    made = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {
        "analysis.html", "result.json", "diffusivities.csv", "msd.csv", "arrhenius.csv", "conductivities.csv",
        "volumes.csv", "density_000.cube", "figures/msd.png", "figures/arrhenius.png", "figures/volume_traces.png",
    } <= made  # fmt: skip
    assert (tmp_path / "out" / "result.json").read_text() == out
    assert values["runs"][0]["name"] == "600.dump"
    page = (tmp_path / "out" / "analysis.html").read_text()
    assert "http://" not in page.split("<script>")[0]
    for words in ("σ(350 K) = ", "extrapolated from 600–800 K", "Eₐ = ", "Error budget", "Mean cells"):
        assert words in page
    assert "300 K" not in page.split("<script>")[0].split("published")[0]
    from ase.io.cube import read_cube

    with (tmp_path / "out" / "density_000.cube").open() as file:
        cube = read_cube(file)
    voxel = abs(np.linalg.det(cube["atoms"].cell.array)) / cube["data"].size
    assert cube["data"].sum() * voxel == pytest.approx(0.529177**3, abs=1e-3)  # the file is in Bohr⁻³
    assert len(cube["atoms"]) == 56


def test_replicas_are_averaged(folder):
    paths = [folder / "600.xdatcar", folder / "second.xdatcar"]
    found = superionic.analyse(paths, frame_interval_fs=DT_FS, temperature_K=600, replicas=True)
    assert len(found.runs) == 2
    pooled = found.pooled.tracer_diffusivity_cm2_per_s
    single = [r.transport.tracer_diffusivity_cm2_per_s for r in found.runs]
    assert pooled.value == pytest.approx(np.mean([e.value for e in single]))
    assert pooled.interval95[0] < true_diffusivity(0.02) < pooled.interval95[1]
    ratio = found.pooled.haven_ratio
    charge = found.pooled.charge_diffusivity_cm2_per_s
    assert ratio.value == pytest.approx(pooled.value / charge.value)  # of averages, not the average of ratios
    assert 0.0 < ratio.interval95[0] < 1.0 < ratio.interval95[1]
    with pytest.raises(AnalysisError, match="--replicas"):  # two runs are not one run
        superionic.analyse(paths, frame_interval_fs=DT_FS, temperature_K=600)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["600.xdatcar"], "--frame-interval-fs"),
        (["600.xdatcar", "--mobile", "Na", "--frame-interval-fs", "100"], "Li, Y, Cl"),
        (["600.xdatcar", "--framework", "Zr", "--frame-interval-fs", "100"], "--framework"),
        (["600.xdatcar", "--mobile", "Li,Y,Cl", "--drift", "mass", "--frame-interval-fs", "100"], "--drift none"),
        (["600.xdatcar", "--drift", "weight", "--frame-interval-fs", "100"], "number"),
        (["600.xdatcar", "--axes", "q", "--frame-interval-fs", "100"], "xyz"),
        (["600.xdatcar", "--temperatures-K", "600,700", "--frame-interval-fs", "100"], "one temperature for each"),
        (["600.xdatcar", "--temperatures-K", "hot", "--frame-interval-fs", "100"], "600,700,800"),
        (["600.xdatcar", "--arrhenius", "--temperature-K", "600", "--frame-interval-fs", "100"], "two temperatures"),
        (["600.xdatcar", "--charges", "Na=1", "--frame-interval-fs", "100"], "--charges"),
        (["600.dump"], "--units"),
        (["600.dump", "--units", "metal"], "--elements"),
        (["nothing.here"], "no such file"),
        (["600.xdatcar", "--unwrap", "magic", "--frame-interval-fs", "100"], "toroidal"),
    ],
)
def test_mistakes_name_the_fix(folder, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    code, out, err = run(capsys, "analyse", *arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert words in err


def test_walkers_without_a_crystal_have_the_usual_charge(tmp_path):
    path = files.xdatcar(tmp_path / "XDATCAR", hopping(0.02)[:, :24], CELL, ("Li",) * 24)
    found = superionic.analyse(path, frame_interval_fs=DT_FS, temperature_K=600).runs[0]
    assert found.transport.nernst_einstein_conductivity_S_per_cm.value > 0.0
    assert any("usual one was used: Li +1" in flag for flag in found.flags)


def test_a_damaged_file_is_analysed_and_its_damage_is_said(folder, tmp_path):
    lines = (folder / "600.xdatcar").read_text().splitlines()
    lines[7 + 81 * 300 + 5] = "garbage"
    (tmp_path / "XDATCAR").write_text("\n".join(lines[: 7 + 81 * 900 + 33]))
    found = superionic.analyse(tmp_path / "XDATCAR", frame_interval_fs=DT_FS, temperature_K=600).runs[0]
    assert found.transport.duration_ps == pytest.approx(89.9)
    assert len(found.notices) == 2
    assert any("Not everything could be read" in flag for flag in found.flags)
    assert any("missing frames" in flag for flag in found.flags)


def test_what_is_written_is_read_back_equal(folder, tmp_path):
    found = superionic.analyse(
        [folder / "600.dump", folder / "800.dump"], temperatures_K=[600, 800], units="metal",
        elements=["Li", "Y", "Cl"], timestep_fs=1, sites="density", density_grid_A=0.5,
    )  # fmt: skip
    found.write(tmp_path, formats=("svg",))
    again = read_analysis(tmp_path / "result.json")
    assert again == found
    assert again.to_json() == found.to_json()
    assert again.arrhenius[0].dependence.conductivity_at(450.0) == found.arrhenius[0].dependence.conductivity_at(450.0)
    with pytest.raises(StorageError, match="does not hold superionic results"):
        read_results(tmp_path / "result.json")


def test_the_first_report_temperature_is_the_headline(folder):
    files = [folder / "600.xdatcar", folder / "800.xdatcar"]
    found = (
        superionic.analyse(files, temperatures_K=[600, 800], frame_interval_fs=DT_FS, report_temperatures_K=(350.0,))
        .arrhenius[0]
        .dependence
    )
    assert found.headline.temperature_K == 350.0
    assert [point.temperature_K for point in found.predictions] == [350.0]
    assert found.verdict.kind == "extrapolated"


CIF = """data_grid
_symmetry_space_group_name_H-M 'P 1'
_cell_length_a {lengths[0]:.6f}
_cell_length_b {lengths[1]:.6f}
_cell_length_c {lengths[2]:.6f}
_cell_angle_alpha {angles[0]:.6f}
_cell_angle_beta {angles[1]:.6f}
_cell_angle_gamma {angles[2]:.6f}
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li 0 0 0 0.375
M1 Y {place} {place} {place} 0.14
X1 Cl {place} {place} {place} 0.86
"""


def crystal_file(path, *, place=0.5, stretched=1.0):
    """The disordered crystal of the hopping ions: a Li site and one of Y and Cl in a cell of a quarter of the edges."""
    from ase.cell import Cell

    found = Cell(CELL / 4.0).cellpar() * [stretched, 1, 1, 1, 1, 1]
    path.write_text(CIF.format(lengths=found[:3], angles=found[3:], place=place))
    return path


def test_where_ions_go_is_told_on_the_sites_of_the_crystal(folder, capsys, tmp_path):
    code, out, _ = run(
        capsys, "analyse", folder / "600.xdatcar", "--frame-interval-fs", DT_FS, "--temperature-K", 600, "--json",
        "--sites", crystal_file(tmp_path / "c.cif"), "--isovalue", 2e-3, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)["runs"][0]["migration"]
    assert [kind["label"] for kind in found["site_kinds"]] == ["Li1 (1a)"]
    assert found["site_kinds"][0]["n_sites"] == 64
    assert found["site_kinds"][0]["refined_occupancy"] == pytest.approx(0.375)
    assert found["site_kinds"][0]["occupancy"] == pytest.approx(24 / 64)
    assert found["site_kinds"][0]["residence"]["mean_ps"] == pytest.approx(
        5.0, rel=0.15
    )  # a hop in 50 frames of 0.1 ps
    stays = found["site_kinds"][0]["stays"]
    assert stays["median95_ps"][0] < 5.0 * np.log(2.0) < stays["median95_ps"][1]
    assert stays["shape95"][0] < 1.0 < stays["shape95"][1]
    assert found["n_jumps"] == pytest.approx(1500 * 24 * 0.02, rel=0.15)
    together = found["concerted"]
    assert together["ratio"] == pytest.approx(1.0, abs=3.0 * together["ratio_error"])
    assert sum(n * count for n, count in enumerate(together["strings"][:4], 1)) <= found["n_jumps"]
    assert found["crystal"]["supercell"] == [[4, 0, 0], [0, 4, 0], [0, 0, 4]]
    assert found["clusters"][0]["axes"] == ["a", "b", "c"]
    assert found["tracer_factor"] == pytest.approx(1.0, abs=0.25)
    made = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {
        "CHGCAR_density_000.vasp", "density_000.cube", "sites.csv", "site_kinds.csv", "jumps.csv", "jump_rates.csv",
        "percolation.csv", "van_hove.csv", "non_gaussian.csv", "figures/density_600-xdatcar.png",
        "residence.csv", "concerted.csv", "figures/residence.png",
        "figures/network_600-xdatcar.png", "figures/van_hove_600-xdatcar.png", "figures/non_gaussian.png",
    } <= made  # fmt: skip
    jumps = (tmp_path / "out" / "jumps.csv").read_text().splitlines()
    assert len(jumps) == found["n_jumps"] + 1
    page = (tmp_path / "out" / "analysis.html").read_text()
    for words in (
        "Occupancy of the sites",
        "Residence times",
        "Concerted jumps",
        "Percolation",
        "Sites are those of",
        "4 × 4 × 4",
        "CHGCAR_density_000.vasp",
    ):
        assert words in page
    assert "Surface: 0.0020" in page or "surface: 0.0020" in page


def test_sites_of_the_density_and_none(folder, capsys):
    path = folder / "600.xdatcar"
    found = superionic.analyse(path, frame_interval_fs=DT_FS, sites="density")  # no temperature
    assert found.trajectories[0].migration.occupation.occupancies.sum() == pytest.approx(24.0)
    migration = found.runs[0].migration
    assert sum(site.occupancy for site in migration.sites) == pytest.approx(24.0)
    assert migration.percolation is None
    assert migration.profiles == ()
    assert any("No temperature" in flag for flag in found.runs[0].migration_flags)
    assert superionic.analyse(path, frame_interval_fs=DT_FS).runs[0].migration is None
    code, out, _ = run(capsys, "analyse", path, "--frame-interval-fs", DT_FS, "--sites", "density")
    assert code == 0
    assert "jumps between sites connect the crystal along a, b, c" in out


def test_ions_without_sites_still_have_a_diffusivity(tmp_path):
    rng = np.random.default_rng(0)
    steps = rng.normal(0.0, 0.004, (3000, 24, 3))
    others = np.broadcast_to(rng.random((56, 3)), (3000, 56, 3)) + rng.normal(0.0, 0.002, (3000, 56, 3))
    paths = np.concatenate([rng.random((24, 3)) + np.cumsum(steps, axis=0), others], axis=1)
    files.xdatcar(tmp_path / "fluid", paths[:7], CELL, SYMBOLS)
    found = superionic.analyse(tmp_path / "fluid", frame_interval_fs=DT_FS, sites="density", temperature_K=900)
    assert found.runs[0].migration is None
    assert found.runs[0].migration_flags[0].startswith("No sites: 7 frames are too few")
    assert found.runs[0].density is not None
    page = found.write(tmp_path / "out").read_text()
    assert "too few to see where ions go" in page


def test_a_crystal_that_does_not_fit_is_refused(folder, capsys, tmp_path):
    path = crystal_file(tmp_path / "c.cif", stretched=1.3)
    code, out, err = run(capsys, "analyse", folder / "600.xdatcar", "--frame-interval-fs", DT_FS, "--sites", path)
    assert code == 2
    assert out == ""
    assert "of the crystal" in " ".join(err.split())
    assert "--sites density" in err
    code, _, err = run(capsys, "analyse", folder / "600.xdatcar", "--frame-interval-fs", DT_FS, "--sites", "maxima")
    assert code == 2
    assert "Choose density, none" in err
