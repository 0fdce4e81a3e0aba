"""Frames at their times: what steps, times, restarts and damage of files in the field mean for a trajectory."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.trajectories.reading import ReadingOptions, open_trajectory
from superionic.trajectories.reading.joining import Numbers, plan
from superionic.trajectories.unwrapping.trajectory import read_unwrapped

_SPEC = importlib.util.spec_from_file_location(
    "trajectory_files", Path(__file__).parents[2] / "benchmarks" / "trajectory_files.py"
)
files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(files)

CELL = files.TRICLINIC
METAL = ReadingOptions(elements=("Li", "Y", "Cl"), units="metal", timestep_fs=1.0)


def paths(n_frames, *, seed=0):
    """Fractional positions of a walk."""
    return files.walk(n_frames, step=0.02, seed=seed)


def dump(path, fractional, steps, *, before=None):
    """A dump with the given steps; ``before(k)`` is what stands in front of frame k."""
    files.lammps_dump(path, fractional, CELL, every=1)
    frames = path.read_text().split("ITEM: TIMESTEP\n")[1:]
    text = ""
    for k, (frame, step) in enumerate(zip(frames, steps, strict=True)):
        text += (before(k) if before else "") + f"ITEM: TIMESTEP\n{step}\n" + frame.split("\n", 1)[1]
    path.write_text(text)
    return path


def xyz(path, fractional, comment, *, rows=None):
    """An XYZ file whose second lines are ``comment(k)``."""
    text = []
    for k, frame in enumerate(fractional % 1.0):
        text += [str(len(files.SYMBOLS)), comment(k)]
        text += [f"{s} {x:.10f} {y:.10f} {z:.10f}" for s, (x, y, z) in zip(files.SYMBOLS, frame @ CELL, strict=True)]
        if rows is not None and rows(k):
            text[-3] = "Cl nan broken"
    path.write_text("\n".join(text) + "\n")
    return path


LATTICE = 'Lattice="' + " ".join(f"{x}" for x in CELL.ravel()) + '" Properties=species:S:1:pos:R:3'


def read(path, options=METAL, **more):
    paths = path if isinstance(path, list) else [path]
    return read_unwrapped([open_trajectory(each, options=options) for each in paths], **more)


def assert_walk(found, fractional, tolerance=5e-5):
    expected = fractional @ CELL
    moved = found.positions_A - found.positions_A[0]
    assert len(moved) == len(expected)
    assert np.abs(moved - (expected - expected[0])).max() < tolerance


def words(found):
    return "; ".join([*map(str, found.notices), *found.flags])


# ---- one frame, then the run -----------------------------------------------------------------------------------------


def test_the_spacing_is_that_of_most_frames_and_so_is_the_time_between_them(tmp_path):
    truth = paths(60)
    kept = np.array([0, *range(10, 60)])
    found = read(dump(tmp_path / "a.dump", truth[kept], 100 * kept))
    assert found.frame_interval_ps == pytest.approx(0.1)
    assert len(found.positions_A) == 60
    assert_walk(replace(found, positions_A=found.positions_A[kept]), truth[kept])
    given = read(tmp_path / "a.dump", replace(METAL, timestep_fs=None), frame_interval_ps=0.1)
    assert given.frame_interval_ps == pytest.approx(0.1)
    timed = xyz(tmp_path / "a.xyz", truth[kept], lambda k: f"Time={100.0 * kept[k]:.8f} {LATTICE}")
    assert read(timed).frame_interval_ps == pytest.approx(0.1)
    assert len(read(timed).positions_A) == 60


@pytest.mark.parametrize("steps", [True, False])
def test_h5md_and_its_times(tmp_path, steps):
    h5py = pytest.importorskip("h5py")
    truth = paths(60)
    kept = np.array([0, *range(10, 60)])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("particles/all")
        group["species"] = np.array([{"Li": 3, "Y": 39, "Cl": 17}[s] for s in files.SYMBOLS])
        position = group.create_group("position")
        position["value"] = truth[kept] % 1.0 @ CELL
        position["value"].attrs["unit"] = "angstrom"
        if steps:
            position["step"] = 100 * kept
        position["time"] = (0.1 * kept).astype(np.float32)
        position["time"].attrs["unit"] = "ps"
        group.create_group("box")["edges"] = CELL
    found = read(tmp_path / "a.h5", ReadingOptions())
    assert found.frame_interval_ps == pytest.approx(0.1, rel=1e-4)
    assert len(found.positions_A) == 60


@pytest.mark.parametrize("steps", [True, False])
def test_xtc_and_its_times(tmp_path, steps):
    pytest.importorskip("MDAnalysis", exc_type=ImportError)
    from MDAnalysis.lib.formats.libmdaxdr import XTCFile

    truth = paths(60)
    kept = np.array([0, *range(10, 60)])
    with XTCFile(str(tmp_path / "a.xtc"), "w") as out:
        for k in kept:
            place = (truth[k] % 1.0 @ CELL / 10).astype(np.float32)
            out.write(place, (CELL / 10).astype(np.float32), 100 * k if steps else 0, 1e4 + 0.1 * k, 1e5)
    found = read(tmp_path / "a.xtc", ReadingOptions(elements=files.SYMBOLS))
    assert found.frame_interval_ps == pytest.approx(0.1, rel=1e-3)
    assert len(found.positions_A) == 60


def test_a_first_frame_that_is_not_on_the_axis_is_left_out_with_a_word(tmp_path):
    truth = paths(40)
    found = read(dump(tmp_path / "a.dump", truth, [37, *range(100, 4000, 100)]))
    assert_walk(found, truth[1:])
    assert "step 37" in words(found)


def test_a_frame_that_was_written_twice_counts_once(tmp_path):
    truth = paths(40)
    twice = np.concatenate([truth[:1], truth])
    found = read(dump(tmp_path / "a.dump", twice, [0, *range(0, 4000, 100)]))
    assert_walk(found, truth)
    assert found.frame_interval_ps == pytest.approx(0.1)
    assert "occurs twice" in words(found)


def test_where_the_spacing_changes_that_of_most_of_the_time_is_taken(tmp_path):
    truth = paths(330)
    fine = [truth[0] + (truth[30] - truth[0]) * s for s in np.linspace(0.0, 1.0, 301)]  # ten times as often at first
    steps = [*range(0, 30001, 100), *range(31000, 330000, 1000)]
    found = read(dump(tmp_path / "a.dump", np.concatenate([fine, truth[31:]]), steps))
    assert found.frame_interval_ps == pytest.approx(1.0)
    assert found.n_filled == 0
    assert_walk(replace(found, positions_A=found.positions_A[30:]), truth[30:])
    assert "270 that lie between were left out" in words(found)


def test_times_that_no_spacing_holds_for_are_refused(tmp_path):
    steps = np.unique(np.geomspace(1, 1e6, 60).astype(int))
    with pytest.raises(AnalysisError, match="evenly"):
        read(dump(tmp_path / "a.dump", paths(len(steps)), steps))


def test_a_time_between_frames_that_the_file_contradicts_is_said(tmp_path):
    path = dump(tmp_path / "a.dump", paths(20), range(0, 2000, 100))
    found = read(path, frame_interval_ps=0.2)
    assert found.frame_interval_ps == pytest.approx(0.2)
    assert "0.1 ps" in words(found)
    assert read(path, frame_interval_ps=0.1).flags == ()


# ---- damage ----------------------------------------------------------------------------------------------------------


def test_frames_that_are_damaged_took_their_time(tmp_path):
    truth = paths(80)
    path = xyz(tmp_path / "a.xyz", truth, lambda _: LATTICE, rows=lambda k: k % 2 == 1)
    found = read(path, frame_interval_ps=0.1)
    assert found.frame_interval_ps == pytest.approx(0.2)
    assert_walk(found, truth[::2])
    lines = files.xdatcar(tmp_path / "XDATCAR", truth, CELL).read_text().split("\n")
    for k in range(1, 80, 2):
        lines[7 + 13 * k + 5] = "nonsense"
    for numbered in (True, False):
        text = "\n".join(lines if numbered else [line.split("configuration")[0] for line in lines])
        (tmp_path / "XDATCAR").write_text(text)
        found = read(tmp_path / "XDATCAR", frame_interval_ps=0.1)
        assert found.frame_interval_ps == pytest.approx(0.2)
        assert_walk(found, truth[::2])


# ---- restarts and order ----------------------------------------------------------------------------------------------


def test_a_restart_in_one_file_replaces_what_it_writes_again(tmp_path):
    truth, branch = paths(60), paths(60, seed=5)
    branch = truth[29] + branch - branch[0]
    once = np.concatenate([truth[:30], branch[1:12], truth[30:]])
    steps = [*range(0, 3000, 100), *range(3000, 4100, 100), *range(3000, 6000, 100)]
    found = read(dump(tmp_path / "a.dump", once, steps))
    assert_walk(found, truth)
    assert "from step 3000 on again" in words(found)
    timed = xyz(tmp_path / "a.xyz", once, lambda k: f"i = {steps[k]}, time = {steps[k]:.3f}, E = -1")
    structure = xyz(tmp_path / "cell.extxyz", truth[:1], lambda _: LATTICE)
    assert_walk(read(timed, ReadingOptions(structure=structure)), truth)
    # The same from the cache, whether it was read to its end or not.
    reader = open_trajectory(tmp_path / "a.dump", options=METAL)
    for _ in range(2):
        assert_walk(read_unwrapped([reader], cache=tmp_path / "cache", cache_key="k"), truth)


def test_files_go_in_the_order_of_their_steps(tmp_path):
    truth = paths(300)
    parts = [
        dump(tmp_path / f"run.{k + 1}", truth[25 * k : 25 * k + 30], range(2500 * k, 2500 * k + 3000, 100))
        for k in range(11)
    ]
    parts[-1] = dump(tmp_path / "run.11", truth[250:], range(25000, 30000, 100))
    found = read(sorted(parts))  # as a shell lists them: 1, 10, 11, 2, …
    assert_walk(found, truth)
    assert "order of their steps: run.1, run.2" in words(found)


def test_files_that_count_anew_have_to_follow_on_one_another(tmp_path):
    truth = paths(90)
    parts = [files.xdatcar(tmp_path / f"X{k}", truth[30 * k : 30 * k + 30], CELL) for k in range(3)]
    assert_walk(read(parts, frame_interval_ps=0.1), truth)
    with pytest.raises(AnalysisError, match="X1 does not continue where X2 ends"):
        read([parts[0], parts[2], parts[1]], frame_interval_ps=0.1)
    dumps = [dump(tmp_path / f"{k}.dump", truth[30 * k : 30 * k + 30], range(0, 3000, 100)) for k in range(3)]
    assert_walk(read(dumps), truth)
    with pytest.raises(AnalysisError, match="--replicas"):
        read([dumps[0], dumps[2]])


def test_the_plan_of_an_axis():
    def told(steps, frames=None):
        steps = np.array(steps)
        return plan([Numbers(steps, np.arange(len(steps)) if frames is None else np.array(frames))])

    assert told([0, 100, 200]).spacing == 100
    assert (told([0, 2, 4, 6], [0, 2, 4, 6]).spacing, told([0, 2, 4, 6], [0, 2, 4, 6]).written) == (2, 1)
    assert told([37, 100, 200, 300]).first == 100
    assert told([0, 100, 200, 100, 200, 300]).replaced == (((1, 3),),)
    assert told([0, 100, 200, 0, 100]).replaced == ((),)
    assert told([100001, 199999, 300000, 400002]).spacing == 100000  # times that were stored with seven digits
    assert told([5]).spacing is None


# ---- LAMMPS ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_units", [True, False])
@pytest.mark.parametrize("with_time", [True, False])
def test_units_and_time_stand_before_the_step(tmp_path, with_units, with_time):
    truth = paths(30)

    def before(k):
        units = "ITEM: UNITS\nreal\n" if with_units and k == 0 else ""
        return units + (f"ITEM: TIME\n{50.0 * k}\n" if with_time else "")

    path = dump(tmp_path / "a.dump", truth, range(0, 3000, 100), before=before)
    options = ReadingOptions(
        elements=("Li", "Y", "Cl"),
        units=None if with_units else "real",
        timestep_fs=None if with_time else 0.5,
    )
    found = read(path, options)
    assert found.frame_interval_ps == pytest.approx(0.05)
    assert_walk(found, truth)
    assert found.flags == ()
    parts = path.read_text().split("ITEM: BOX BOUNDS")
    path.write_text("ITEM: BOX BOUNDS".join([*parts[:12], parts[12].replace("ITEM: ATOMS", "nothing"), *parts[13:]]))
    found = read(path, options)
    assert len(found.positions_A) == 30
    assert found.n_filled == 1
    if with_units:
        with pytest.raises(AnalysisError, match="units are real, not metal"):
            read(path, replace(options, units="metal"))


def test_one_element_is_that_of_all_atoms_of_a_dump_without_types(tmp_path):
    path = files.lammps_dump(tmp_path / "a.dump", paths(5), CELL, columns="id x y z")
    reader = open_trajectory(path, options=replace(METAL, elements=("Al",)))
    assert reader.symbols == ("Al",) * len(files.SYMBOLS)
    with pytest.raises(AnalysisError, match="--elements"):
        open_trajectory(path, options=replace(METAL, elements=("Al", "Ni")))
    named = files.lammps_dump(tmp_path / "b.dump", paths(5), CELL, columns="id element x y z")
    with pytest.raises(AnalysisError, match="its elements are Li, Y, Cl, not Al, Ni"):
        open_trajectory(named, options=replace(METAL, elements=("Al", "Ni")))
    assert open_trajectory(named, options=METAL).symbols == files.SYMBOLS


def test_a_data_file_of_lammps_is_a_structure_where_it_has_masses(tmp_path):
    box = "0 9 xlo xhi\n0 9 ylo yhi\n0 9 zlo zhi"
    text = f"LAMMPS data\n\n2 atoms\n2 atom types\n\n{box}\n\n{{}}Atoms # atomic\n\n1 1 0 0 0\n2 2 1 1 1\n"
    masses = "Masses\n\n1 6.94\n2 35.45\n\n"
    plain = tmp_path / "a.xyz"
    plain.write_text("".join(f"2\nframe {k}\nLi {0.1 * k} 0 0\nCl 1 1 1\n" for k in range(5)))
    data = tmp_path / "a.data"
    data.write_text(text.format(masses))
    options = ReadingOptions(structure=data)
    found = read(plain, options, frame_interval_ps=0.1)
    assert found.symbols == ("Li", "Cl")
    assert np.allclose(found.cells_A, 9.0 * np.eye(3))
    for content, reason in ((text.format(""), "without a section Masses"), ("no structure\n", r"cannot be read: \w")):
        data.write_text(content)
        with pytest.raises(AnalysisError, match=reason):
            read(plain, options, frame_interval_ps=0.1)


# ---- VASP ------------------------------------------------------------------------------------------------------------


def vasprun(path, fractional, *, by_dft, tags=""):
    """Frames of ``by_dft`` are calculations, the others bare structures, as VASP's own force field leaves them."""
    files.vasprun(path, fractional, CELL, potim=2.0)
    text = path.read_text().replace("<parameters>", "<parameters>" + tags)
    head, *frames = text.split(" <calculation>")
    out = head
    for k, frame in enumerate(frames):
        inside, _, rest = frame.partition("</calculation>")
        if by_dft(k):
            out += f" <calculation>{inside}</calculation>{rest}"
        else:
            out += inside[inside.index("<structure") : inside.index("</structure>")] + "</structure>\n" + rest
    path.write_text(out)
    return path


def test_steps_of_vasps_own_force_field_are_frames(tmp_path):
    truth = paths(60)
    for k, by_dft in enumerate((lambda k: True, lambda k: k % 10 == 0, lambda k: False)):
        found = read(vasprun(tmp_path / f"{k}.xml", truth, by_dft=by_dft), ReadingOptions())
        assert_walk(found, truth, 2e-4)
        assert found.frame_interval_ps == pytest.approx(0.002)
        assert found.notices == ()


@pytest.mark.parametrize(
    ("tags", "temperature", "said"),
    [
        ('<i name="TEBEG"> 800.0</i>', 800.0, ""),
        ('<i name="TEBEG"> 800.0</i><i name="TEEND"> 800.0</i>', 800.0, ""),
        ('<i name="TEBEG"> 300.0</i><i name="TEEND"> 900.0</i>', None, "from 300 to 900 K"),
        ('<i name="TEBEG"> 800.0</i><i name="SMASS"> -3.0</i>', 800.0, "without a thermostat"),
        ("", None, ""),
    ],
)
def test_the_temperature_of_a_vasprun(tmp_path, tags, temperature, said):
    reader = open_trajectory(vasprun(tmp_path / "v.xml", paths(5), by_dft=lambda k: True, tags=tags))
    assert reader.temperature_K == temperature
    assert said in words(read_unwrapped([reader]))


def test_xdatcars_as_they_are(tmp_path):
    truth = paths(40)
    path = files.xdatcar(tmp_path / "XDATCAR", truth, CELL)
    text = path.read_text()
    lines = text.split("\n")

    def with_elements(symbols):
        out, at = [], 0
        for number, line in enumerate(lines):
            is_row = number > 6 and len(line.split()) == 3 and "=" not in line
            out.append(line + f" {symbols[at % len(symbols)]}" if is_row else line)
            at += is_row
        return "\n".join(out)

    def same(content):
        path.write_text(content)
        found = read(path, ReadingOptions(), frame_interval_ps=0.1)
        assert_walk(found, truth)
        assert found.frame_interval_ps == pytest.approx(0.1)
        assert found.notices == ()

    same(with_elements(files.SYMBOLS))
    same("\n".join("Direct configuration=     1" if line.startswith("Direct") else line for line in lines))
    same(text.rstrip("\n"))
    path.write_text(with_elements(("Cl", *files.SYMBOLS[1:-1], "Li")))
    with pytest.raises(AnalysisError, match="the elements of its rows"):
        read(path, ReadingOptions(), frame_interval_ps=0.1)


# ---- XYZ -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comment", "interval", "said"),
    [
        (lambda k: f" i = {5 * k:8d}, time = {10.0 * k:12.3f}, E = -100.0", 0.01, "no cell"),
        (lambda k: f"Time={10.0 * k} energy=-1", 0.01, "in fs"),
        (lambda k: f"time_ps={0.01 * k} energy=-1", 0.01, "no cell"),
        (lambda k: f"time={0.01 * k} energy=-1", None, "not known"),
        (lambda k: f"step {k}", None, "no cell"),
        (lambda k: f"Atoms. Timestep: {5 * k}", 0.01, "no cell"),
    ],
)
def test_times_of_comment_lines_and_the_cell_of_a_structure(tmp_path, comment, interval, said):
    truth = paths(30)
    path = xyz(tmp_path / "run-pos-1.xyz", truth, comment)
    with pytest.raises(AnalysisError, match="--structure"):
        open_trajectory(path)
    structure = xyz(tmp_path / "cell.extxyz", truth[:1], lambda _: LATTICE)
    options = ReadingOptions(structure=structure, timestep_fs=2.0 if "Timestep" in comment(0) else None)
    if interval is None:
        with pytest.raises(AnalysisError, match="--frame-interval-fs"):
            read(path, options)
    found = read(path, options, frame_interval_ps=None if interval else 0.01)
    assert_walk(found, truth)
    assert found.frame_interval_ps == pytest.approx(0.01)
    assert said in words(found)


def test_types_by_numbers_and_units_of_length_of_xyz_files(tmp_path):
    truth = paths(3)
    path = xyz(tmp_path / "a.xyz", truth, lambda k: f"Atoms. Timestep: {100 * k} {LATTICE}")
    text = path.read_text()
    for element, number in (("Li", "1"), ("Y", "2"), ("Cl", "3")):
        text = text.replace(f"\n{element} ", f"\n{number} ")
    path.write_text(text)
    with pytest.raises(AnalysisError, match="--elements"):
        open_trajectory(path)
    found = read(path, ReadingOptions(elements=("Li", "Y", "Cl"), timestep_fs=1.0))
    assert (found.symbols, found.frame_interval_ps) == (files.SYMBOLS, pytest.approx(0.1))
    path.write_text(text.replace("Atoms.", "positions{atomic_unit}"))
    with pytest.raises(AnalysisError, match="unit of length"):
        open_trajectory(path, options=METAL)


def test_a_structure_of_other_atoms_is_refused(tmp_path):
    truth = paths(3)
    path = xyz(tmp_path / "a.xyz", truth, lambda k: f"frame {k}")
    structure = xyz(tmp_path / "cell.extxyz", truth[:1], lambda _: LATTICE)
    structure.write_text(structure.read_text().replace("Y ", "Sc "))
    with pytest.raises(AnalysisError, match="same order"):
        open_trajectory(path, options=ReadingOptions(structure=structure))


@pytest.mark.parametrize("kind", ["xdatcar", "dump", "xyz", "vasprun"])
def test_lines_may_end_as_windows_ends_them(tmp_path, kind):
    truth = paths(12)
    path = tmp_path / kind
    if kind == "xdatcar":
        files.xdatcar(path, truth, CELL)
    elif kind == "dump":
        dump(path, truth, range(0, 1200, 100), before=lambda k: f"ITEM: TIME\n{0.1 * k}\n")
    elif kind == "xyz":
        xyz(path, truth, lambda k: f"Time={100.0 * k} {LATTICE}")
    else:
        files.vasprun(path, truth, CELL, potim=100.0)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    found = read(path, replace(METAL, timestep_fs=None), frame_interval_ps=0.1)
    assert_walk(found, truth, 2e-4)
    assert found.flags == ()


def test_what_ase_says_of_its_runs(tmp_path):
    from ase import Atoms, units
    from ase.calculators.lj import LennardJones
    from ase.md.nose_hoover_chain import NoseHooverChainNVT

    atoms = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 1.2]], cell=[9, 9, 9], pbc=True, calculator=LennardJones())
    atoms.set_velocities([[0.01, 0.0, 0.0], [-0.01, 0.02, 0.0]])
    run = NoseHooverChainNVT(
        atoms,
        2.0 * units.fs,
        temperature_K=90.0,
        tdamp=100 * units.fs,
        trajectory=str(tmp_path / "a.traj"),
        loginterval=5,
    )
    run.run(20)
    assert open_trajectory(tmp_path / "a.traj").step_ps == pytest.approx(0.01)
