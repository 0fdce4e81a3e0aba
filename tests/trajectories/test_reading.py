"""Readers of trajectories, against what was written and against what ASE and pymatgen read."""

from __future__ import annotations

import gzip
import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.trajectories.reading import ReadingOptions, open_trajectory
from superionic.trajectories.reading.text_kernels import POWERS, read_rows
from superionic.trajectories.unwrapping.trajectory import read_unwrapped

_SPEC = importlib.util.spec_from_file_location(
    "trajectory_files", Path(__file__).parents[2] / "benchmarks" / "trajectory_files.py"
)
files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(files)

OPTIONS = ReadingOptions(elements=("Li", "Y", "Cl"), units="metal", timestep_fs=2.0)
CELL = files.TRICLINIC


def whole(reader, size=7):
    blocks = list(reader.blocks(size))
    return (
        np.concatenate([b.steps for b in blocks]),
        np.concatenate([b.fractional for b in blocks]),
        np.concatenate([b.cells_A for b in blocks]),
    )


def interval(reader):
    """Time between the frames of a file."""
    return read_unwrapped([reader]).frame_interval_ps


def assert_same_places(found, expected, tolerance):
    """Equal up to whole cells."""
    change = found - expected
    assert np.abs(change - np.round(change)).max() < tolerance


# ---- against what was written ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("kind", ["xdatcar", "lammps_dump", "extxyz", "vasprun"])
def test_a_file_is_read_as_it_was_written(tmp_path, kind, changing):
    fractional = files.walk(30)
    cells = files.breathing(CELL, 30) if changing else CELL
    path = getattr(files, kind)(tmp_path / f"{kind}.file", fractional, cells)
    reader = open_trajectory(path, options=OPTIONS)
    assert reader.symbols == files.SYMBOLS
    steps, found, found_cells = whole(reader)
    assert len(found) == 30
    assert len(set(np.diff(steps))) == 1
    assert_same_places(found, fractional, 2e-8)
    assert np.abs(found_cells - cells).max() < 1e-6
    assert reader.notices == []
    again = whole(reader, size=1000)
    assert np.array_equal(again[1], found)


@pytest.mark.parametrize(
    ("columns", "unwrapped"),
    [
        ("id type x y z", False),
        ("z y x type id", False),
        ("id type xs ys zs", False),
        ("id type xu yu zu", True),
        ("xsu id ysu type zsu", True),
        ("id type x y z ix iy iz", True),
        ("iz iy ix id mass xs ys zs", True),
        ("element id x y z", False),
    ],
)
def test_columns_of_a_dump_may_be_any_in_any_order(tmp_path, columns, unwrapped):
    fractional, cells = files.walk(20, step=0.1), files.breathing(CELL, 20)
    path = files.lammps_dump(tmp_path / "run.dump", fractional, cells, columns=columns)
    reader = open_trajectory(path, options=ReadingOptions(elements=OPTIONS.elements, units="metal"))
    assert reader.symbols == files.SYMBOLS
    assert reader.unwrapped is unwrapped
    _, found, _ = whole(reader)
    if unwrapped:
        assert np.abs(found - fractional).max() < 1e-9
    else:
        assert_same_places(found, fractional, 1e-9)


def test_units_time_and_general_boxes_of_a_dump(tmp_path):
    text = (
        "ITEM: TIME\n{t}\nITEM: TIMESTEP\n{s}\nITEM: NUMBER OF ATOMS\n1\n"
        "ITEM: BOX BOUNDS abc origin\n1 0 0 0.1\n0.2 1 0 0.2\n0.3 0.1 1 0.3\n"
        "ITEM: ATOMS id element x y z\n1 Li 0.6 0.7 0.8\n"
    )
    # LAMMPS writes the units once, and the time of a frame before its step.
    frames = "".join(text.format(t=0.5 * k, s=10 * k) for k in range(3))
    (tmp_path / "a.dump").write_text("ITEM: UNITS\nnano\n" + frames)
    reader = open_trajectory(tmp_path / "a.dump")
    assert interval(reader) == pytest.approx(500.0)  # 0.5 ns
    assert reader.notices == []
    _, found, cells = whole(reader)
    assert np.allclose(cells[0], [[10, 0, 0], [2, 10, 0], [3, 1, 10]])
    assert np.allclose(found[0, 0] @ cells[0], [5, 5, 5])


def test_frame_intervals_are_taken_from_the_files_that_know_them(tmp_path):
    fractional = files.walk(3)
    assert interval(open_trajectory(files.vasprun(tmp_path / "v.xml", fractional, CELL, potim=1.5))) == 0.0015
    dump = files.lammps_dump(tmp_path / "a.dump", fractional, CELL, every=50)
    assert interval(open_trajectory(dump, options=OPTIONS)) == pytest.approx(0.1)
    assert open_trajectory(files.xdatcar(tmp_path / "XDATCAR", fractional, CELL)).step_ps is None


def test_old_xdatcars(tmp_path):
    fractional = files.walk(5)
    no_names = files.xdatcar(tmp_path / "XDATCAR", fractional, CELL, elements=False)
    with pytest.raises(AnalysisError, match="--elements"):
        open_trajectory(no_names)
    reader = open_trajectory(no_names, options=OPTIONS)
    assert reader.symbols == files.SYMBOLS
    assert_same_places(whole(reader)[1], fractional, 1e-8)
    blank = tmp_path / "XDATCAR_blank"
    lines = ["" if line.startswith("Direct") else line for line in no_names.read_text().splitlines()]
    blank.write_text("\n".join(lines) + "\n\n")
    reader = open_trajectory(blank, options=OPTIONS)
    assert_same_places(whole(reader)[1], fractional, 1e-8)
    assert len(whole(reader)[1]) == 5
    assert reader.notices == []
    old = tmp_path / "XDATCAR_4"
    head = ["  12  12    1", "  0.1E+02  0.9E-09  0.8E-09  0.1E-08  0.2E-14", "  0.1E-15", "  CAR ", " some system"]
    old.write_text("\n".join([*head, *lines[lines.index("") :]]) + "\n")
    with pytest.raises(AnalysisError, match="--structure"):
        open_trajectory(old)
    from ase import Atoms
    from ase.io import write

    write(tmp_path / "POSCAR", Atoms(files.SYMBOLS, scaled_positions=fractional[0] % 1, cell=CELL, pbc=True))
    reader = open_trajectory(old, options=ReadingOptions(structure=tmp_path / "POSCAR"))
    _, found, cells = whole(reader)
    assert len(found) == 5
    assert_same_places(found, fractional, 1e-8)
    assert np.allclose(cells, CELL)


def test_compressed_files(tmp_path):
    fractional = files.walk(40)
    path = files.xdatcar(tmp_path / "XDATCAR", fractional, CELL)
    packed = tmp_path / "XDATCAR.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert np.array_equal(whole(open_trajectory(packed))[1], whole(open_trajectory(path))[1])
    packed.write_bytes(packed.read_bytes()[:-3000])
    reader = open_trajectory(packed)
    assert 0 < len(whole(reader)[1]) < 40
    assert any("cannot be read on" in notice.reason for notice in reader.notices)


# ---- against ASE and pymatgen ---------------------------------------------------------------------------------------


def images(n_frames=6, *, seed=4):
    from ase import Atoms

    fractional, cells = files.walk(n_frames, seed=seed, step=0.05), files.breathing(CELL, n_frames)
    return [
        Atoms(files.SYMBOLS, scaled_positions=frame, cell=cell, pbc=True)
        for frame, cell in zip(fractional, cells, strict=True)
    ]


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj", "XDATCAR"])
def test_what_ase_writes(tmp_path, name):
    from ase.io import write

    frames = images()
    write(tmp_path / name, frames, **({"format": "vasp-xdatcar"} if name == "XDATCAR" else {}))
    reader = open_trajectory(tmp_path / name)
    assert reader.symbols == files.SYMBOLS
    _, found, cells = whole(reader, size=4)
    assert np.abs(cells - np.array([f.cell.array for f in frames])).max() < 1e-6
    assert_same_places(found, np.array([f.get_scaled_positions(wrap=False) for f in frames]), 2e-7)


@pytest.mark.parametrize("changing", [False, True])
def test_xdatcar_as_pymatgen_and_ase_read_it(tmp_path, changing):
    from ase.io import read
    from pymatgen.io.vasp.outputs import Xdatcar

    cells = files.breathing(CELL, 8) if changing else CELL
    path = files.xdatcar(tmp_path / "XDATCAR", files.walk(8), cells)
    _, found, found_cells = whole(open_trajectory(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Xdatcar(path).structures
    assert np.abs(found - np.array([s.frac_coords for s in theirs])).max() < 1e-12
    assert np.abs(found_cells - np.array([s.lattice.matrix for s in theirs])).max() < 1e-12
    if not changing:
        frames = read(path, index=":", format="vasp-xdatcar")
        assert np.abs(found @ CELL - np.array([f.positions for f in frames])).max() < 1e-10


def test_dump_as_ase_reads_it(tmp_path):
    from ase.io import read

    path = files.lammps_dump(tmp_path / "a.dump", files.walk(8), files.breathing(CELL, 8))
    theirs = read(path, index=":", format="lammps-dump-text", specorder=["Li", "Y", "Cl"])
    _, found, cells = whole(open_trajectory(path, options=OPTIONS))
    assert np.abs(cells - np.array([f.cell.array for f in theirs])).max() < 1e-9
    inside = [(f.positions - f.get_celldisp().T) @ np.linalg.inv(f.cell.array) for f in theirs]
    assert_same_places(found, np.array(inside), 1e-9)


def test_vasprun_as_ase_reads_it(tmp_path):
    import xml.etree.ElementTree as ET

    path = files.vasprun(tmp_path / "vasprun.xml", files.walk(5), files.breathing(CELL, 5))
    _, found, cells = whole(open_trajectory(path))
    calculations = ET.parse(path).getroot().findall("calculation")
    for k, calculation in enumerate(calculations):
        rows = {v.get("name"): [[float(x) for x in r.text.split()] for r in v] for v in calculation.iter("varray")}
        assert np.array_equal(found[k], rows["positions"])
        assert np.array_equal(cells[k], rows["basis"])


# ---- binary formats with optional libraries -------------------------------------------------------------------------


@pytest.mark.parametrize("with_image", [False, True])
def test_h5md(tmp_path, with_image):
    h5py = pytest.importorskip("h5py")
    fractional, cells = files.walk(9, step=0.1), files.breathing(CELL, 9)
    inside = fractional % 1.0
    numbers = {"Li": 3, "Y": 39, "Cl": 17}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("particles/all")
        group["species"] = np.array([numbers[s] for s in files.SYMBOLS])
        position = group.create_group("position")
        position["value"] = np.einsum("fia,fab->fib", inside, cells) / 10.0
        position["value"].attrs["unit"] = "nm"
        position["step"] = np.arange(9) * 50
        position["time"] = np.arange(9) * 0.1
        position["time"].attrs["unit"] = "ps"
        group.create_group("box").create_group("edges")["value"] = cells / 10.0
        if with_image:
            group.create_group("image")["value"] = np.floor(fractional).astype(int)
    reader = open_trajectory(tmp_path / "a.h5")
    assert reader.symbols == files.SYMBOLS
    assert interval(reader) == pytest.approx(0.1)
    assert reader.unwrapped is with_image
    steps, found, found_cells = whole(reader)
    assert list(np.diff(steps)) == [50] * 8
    assert np.abs(found - (fractional if with_image else inside)).max() < 1e-12
    assert np.abs(found_cells - cells).max() < 1e-12


@pytest.mark.parametrize("kind", ["xtc", "dcd"])
def test_xtc_and_dcd(tmp_path, kind):
    pytest.importorskip("MDAnalysis", exc_type=ImportError)
    fractional, cells = files.walk(9, step=0.05) % 1.0, files.breathing(CELL, 9)
    path = tmp_path / f"a.{kind}"
    positions = np.einsum("fia,fab->fib", fractional, cells).astype(np.float32)
    if kind == "xtc":
        from MDAnalysis.lib.formats.libmdaxdr import XTCFile

        with XTCFile(str(path), "w") as out:
            for k in range(9):
                out.write(positions[k] / 10, (cells[k] / 10).astype(np.float32), 100 * k, 0.2 * k, 1000)
    else:
        from ase.geometry import cell_to_cellpar
        from MDAnalysis.lib.formats.libdcd import DCDFile

        with DCDFile(str(path), "w") as out:
            out.write_header("a test", len(files.SYMBOLS), 0, 10, 0.02, 1)
            for k in range(9):
                a, b, c, alpha, beta, gamma = cell_to_cellpar(cells[k])
                out.write(positions[k], np.array([a, gamma, b, beta, alpha, c]))
    with pytest.raises(AnalysisError, match="--structure"):
        open_trajectory(path)
    reader = open_trajectory(path, options=ReadingOptions(elements=files.SYMBOLS, timestep_fs=2.0))
    assert reader.n_frames == 9
    assert interval(reader) == pytest.approx(0.2 if kind == "xtc" else 0.02)
    _, found, found_cells = whole(reader)
    assert_same_places(found, fractional, 2e-3 if kind == "xtc" else 1e-6)
    assert np.abs(np.linalg.det(found_cells) - np.linalg.det(cells)).max() < 0.5


def test_a_missing_library_is_said_with_the_command_that_installs_it(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(AnalysisError, match=r"pip install 'superionic\[h5md\]'"):
        open_trajectory(tmp_path / "a.h5")


# ---- errors that name the fix ---------------------------------------------------------------------------------------


def test_what_a_dump_does_not_say_is_asked_for(tmp_path):
    path = files.lammps_dump(tmp_path / "a.dump", files.walk(3), CELL)
    with pytest.raises(AnalysisError, match="--units metal"):
        open_trajectory(path, options=ReadingOptions(elements=("Li", "Y", "Cl")))
    with pytest.raises(AnalysisError, match="--elements Li,Y,Cl"):
        open_trajectory(path, options=ReadingOptions(units="metal"))
    with pytest.raises(AnalysisError, match="type 3"):
        open_trajectory(path, options=ReadingOptions(units="metal", elements=("Li", "Y")))
    with pytest.raises(AnalysisError, match="not an element"):
        open_trajectory(path, options=ReadingOptions(units="metal", elements=("Li", "Yy", "Cl")))
    with pytest.raises(AnalysisError, match="lj"):
        open_trajectory(path, options=ReadingOptions(units="lj", elements=("Li", "Y", "Cl")))


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\0" * 500, b"3\ncomment\nLi 0 0 0\n", b"ITEM: TIMESTEP\n0\n"])
def test_a_file_that_is_no_trajectory(tmp_path, content):
    for name in ("a.file", "XDATCAR", "a.extxyz", "a.traj"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AnalysisError):
            open_trajectory(tmp_path / name)
    with pytest.raises(AnalysisError, match="no such file"):
        open_trajectory(tmp_path / "missing")
    with pytest.raises(AnalysisError, match="--format"):
        open_trajectory(tmp_path / "a.file", format="gro")


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_numbers_are_read_as_python_reads_them():
    rng = np.random.default_rng(0)
    words = [
        "0",
        "-0.0",
        "+1.5",
        "1.",
        ".5",
        "-.25e1",
        "1e-300",
        "12345678901234567890",
        "0.1234567890123456789",
        "3D-2",
    ]
    words += [f"{x:.8f}" for x in rng.normal(0, 100, 2000)] + [f"{x:.15e}" for x in rng.normal(0, 1e-9, 2000)]
    words += ["0.000000000000000000000123456789", "00000000000000000000001.5"]
    text = np.frombuffer(bytearray("\n".join(words).encode()), dtype=np.uint8)
    out = np.empty((len(words), 1))
    status, _, _, _ = read_rows(text, 0, len(text), True, POWERS, np.zeros(1, dtype=np.int64), -1, out)
    assert status == 0
    expected = np.array([float(w.replace("D", "e")) for w in words])
    assert np.abs(out[:, 0] - expected).max() <= 1e-14 * np.abs(expected).max()
    usual = slice(10, 2010)
    assert np.array_equal(out[usual, 0], expected[usual])
    nonzero = expected != 0.0
    assert np.abs(out[nonzero, 0] / expected[nonzero] - 1.0).max() < 5e-16


@pytest.mark.parametrize("word", ["nan", "***", "1.2.3", "--1", "e5", "1e", "1,5", "0x10"])
def test_what_is_no_number_is_not_read(word):
    text = np.frombuffer(bytearray(f"1 {word} 2\n".encode()), dtype=np.uint8)
    status, *_ = read_rows(text, 0, len(text), True, POWERS, np.arange(3), -1, np.empty((1, 3)))
    assert status == 2
