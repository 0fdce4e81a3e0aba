"""Time and temperature from what lies beside a trajectory, or stands in it: INCAR, LAMMPS log, comments of extxyz."""

from __future__ import annotations

import numpy as np
import pytest

import superionic
from superionic.errors import AnalysisError
from superionic.trajectories.reading import ReadingOptions, open_trajectory

SYMBOLS = ("Li",) * 4 + ("Cl",) * 4
CELL = np.eye(3) * 8.0
N_FRAMES = 40


def paths() -> np.ndarray:
    """Return fractional positions: Li diffuses, Cl rattles."""
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) / 2.0
    steps = rng.normal(0.0, 0.02, (N_FRAMES, 8, 3))
    steps[:, 4:] *= 0.0
    return grid + np.cumsum(steps, axis=0) + rng.normal(0.0, 0.002, steps.shape)


def xdatcar(path, *, rise=1, first=1):
    rows = ["LiCl", "1.0", *(" ".join(map(str, row)) for row in CELL), "Li Cl", "4 4"]
    for k, frame in enumerate(paths()):
        rows += [f"Direct configuration= {first + k * rise:5d}", *(" ".join(f"{x:.8f}" for x in row) for row in frame)]
    path.write_text("\n".join(rows) + "\n")
    return path


def dump(path, *, every=10):
    rows = []
    for k, frame in enumerate(paths()):
        rows += ["ITEM: TIMESTEP", str(k * every), "ITEM: NUMBER OF ATOMS", "8", "ITEM: BOX BOUNDS pp pp pp"]
        rows += ["0 8"] * 3 + ["ITEM: ATOMS id element xu yu zu"]
        rows += [f"{i + 1} {SYMBOLS[i]} " + " ".join(f"{8.0 * x:.8f}" for x in row) for i, row in enumerate(frame)]
    path.write_text("\n".join(rows) + "\n")
    return path


INCAR = (
    "SYSTEM = x ! POTIM = 9\n# POTIM = 8\nIBRION = 0; POTIM = 2.0\n nblock = 5\nTEBEG = 700 ; TEEND = 700\nPOTIM = 7\n"
)


def test_an_xdatcar_takes_time_and_temperature_from_its_incar(tmp_path):
    (tmp_path / "INCAR").write_text(INCAR)
    result = superionic.analyse(xdatcar(tmp_path / "XDATCAR"), mobile="Li")
    [run] = result.runs
    assert run.frame_interval_ps == pytest.approx(0.010)
    assert run.transport.temperature_K == 700.0
    said = " ".join(str(notice) for notice in run.notices)
    assert "10 fs between frames, as the INCAR next to it says (POTIM × 5)" in said
    assert "700 K" in said


def test_configurations_numbered_by_steps_give_the_same_time(tmp_path):
    (tmp_path / "INCAR").write_text(INCAR)
    result = superionic.analyse(xdatcar(tmp_path / "XDATCAR", rise=5, first=5), mobile="Li")
    assert result.runs[0].frame_interval_ps == pytest.approx(0.010)


@pytest.mark.parametrize(
    ("name", "text", "rise"),
    [
        ("600K.xdatcar", INCAR, 1),  # may be of another run
        ("XDATCAR", INCAR.replace("IBRION = 0", "IBRION = 2"), 1),  # a relaxation
        ("XDATCAR", INCAR, 3),  # numbered as no run of this INCAR numbers
        ("XDATCAR", INCAR + "ML_LMLFF = .TRUE.\n", 1),  # the default of ML_OUTBLOCK is not the same in all versions
    ],
)
def test_an_incar_that_may_be_of_another_run_is_not_taken(tmp_path, name, text, rise):
    (tmp_path / "INCAR").write_text(text)
    with pytest.raises(AnalysisError, match="does not state the time between frames"):
        superionic.analyse(xdatcar(tmp_path / name, rise=rise), mobile="Li")


def test_what_is_given_against_the_incar_is_taken_with_cautions(tmp_path):
    (tmp_path / "INCAR").write_text(INCAR)
    path = xdatcar(tmp_path / "XDATCAR")
    [run] = superionic.analyse(path, mobile="Li", frame_interval_fs=20.0, temperature_K=600.0).runs
    assert (run.frame_interval_ps, run.transport.temperature_K) == (pytest.approx(0.020), 600.0)
    assert any("0.01 ps between frames" in flag for flag in run.flags)
    assert any("says 700 K; 600 K, as stated, was used" in flag for flag in run.flags)


def test_a_ramp_has_no_temperature_and_a_machine_learned_run_its_own_spacing(tmp_path):
    text = INCAR.replace("TEEND = 700", "TEEND = 900") + "ML_LMLFF = T\nML_OUTBLOCK = 20\n"
    (tmp_path / "INCAR").write_text(text)
    reader = open_trajectory(xdatcar(tmp_path / "XDATCAR"))
    assert (reader.temperature_K, reader.step_ps) == (None, pytest.approx(0.040))
    next(reader.blocks())
    assert any("from 700 to 900 K" in notice.reason for notice in reader.notices)


LOG = """LAMMPS (2 Aug 2023)
units real
variable T equal 650
timestep 0.5
fix 1 all nvt temp 300 300 100
run 1000
unfix 1
fix 2 all nvt/omp temp ${T} ${T} &
  100.0
fix 2 all nvt/omp temp 650 650 &
  100.0
timestep ${dt}
timestep 2
dump 1 all custom 10 out/a.dump id element xu yu zu
run 400  # production
   Step Temp
      0  650
undump 1
timestep 1
run 100
"""


def test_a_dump_takes_units_time_step_and_temperature_from_the_log_that_wrote_it(tmp_path):
    (tmp_path / "log.lammps").write_text(LOG)
    [run] = superionic.analyse(dump(tmp_path / "a.dump"), mobile="Li").runs
    assert run.frame_interval_ps == pytest.approx(0.020)
    assert run.transport.temperature_K == 650.0
    assert any("time step 2 fs (real)" in str(notice) for notice in run.notices)


def test_a_log_of_another_dump_says_nothing(tmp_path):
    (tmp_path / "log.lammps").write_text(LOG)
    with pytest.raises(AnalysisError, match="does not state its units"):
        open_trajectory(dump(tmp_path / "b.dump"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timestep_fs": 1.0}, "has 2 fs"),
        ({"units": "metal"}, "log.lammps next to the dump states that its units are real, not metal"),
    ],
)
def test_what_contradicts_the_log_is_refused_and_the_fix_works(tmp_path, options, words):
    (tmp_path / "log.lammps").write_text(LOG)
    path = dump(tmp_path / "a.dump")
    with pytest.raises(AnalysisError, match=words):
        open_trajectory(path, options=ReadingOptions(**options))
    [run] = superionic.analyse(path, mobile="Li", frame_interval_fs=10.0).runs  # as the fix of the first says
    assert run.frame_interval_ps == pytest.approx(0.010)
    assert any("0.02 ps between frames" in flag for flag in run.flags)


@pytest.mark.parametrize(("second", "temperature"), [("500", 500.0), ("512.5", None)])
def test_a_temperature_of_extxyz_is_taken_where_it_stays(tmp_path, second, temperature):
    rows = []
    for k, frame in enumerate(paths()):
        lattice = " ".join(str(x) for x in CELL.ravel())
        stated = "500.0" if k == 0 else second
        rows += ["8", f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 time_fs={20.0 * k} temperature={stated}']
        rows += [f"{s} " + " ".join(f"{8.0 * x:.8f}" for x in row) for s, row in zip(SYMBOLS, frame, strict=True)]
    path = tmp_path / "a.extxyz"
    path.write_text("\n".join(rows) + "\n")
    [run] = superionic.analyse(path, mobile="Li").runs
    assert run.transport.temperature_K == temperature
    assert run.frame_interval_ps == pytest.approx(0.020)
    assert temperature is not None or any("that of the moment" in str(notice) for notice in run.notices)


def test_files_at_two_temperatures_are_no_one_run_and_the_fix_works(tmp_path):
    files = []
    for temperature in (600, 800):
        folder = tmp_path / str(temperature)
        folder.mkdir()
        (folder / "INCAR").write_text(INCAR.replace("700", str(temperature)))
        files.append(xdatcar(folder / "XDATCAR"))
    with pytest.raises(AnalysisError, match="600 to 800 K") as refused:
        superionic.analyse(files, mobile="Li")
    assert "--temperatures-K 600,800" in refused.value.fix
    result = superionic.analyse(files, mobile="Li", temperatures_K=[600, 800], arrhenius=False)
    assert [run.transport.temperature_K for run in result.runs] == [600.0, 800.0]
