"""Damaged files: what is whole is read, what is not is said, nothing crashes and nothing is dropped in silence."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.trajectories.reading import ReadingOptions, open_trajectory

_SPEC = importlib.util.spec_from_file_location(
    "trajectory_files", Path(__file__).parents[2] / "benchmarks" / "trajectory_files.py"
)
files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(files)

OPTIONS = ReadingOptions(elements=("Li", "Y", "Cl"), units="metal", timestep_fs=2.0)
KINDS = ("xdatcar", "xdatcar_npt", "lammps_dump", "extxyz", "vasprun")
FRAMES = 12


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    fractional, cells = files.walk(FRAMES), files.breathing(files.TRICLINIC, FRAMES)
    made = {"xdatcar": files.xdatcar(folder / "XDATCAR", fractional, files.TRICLINIC)}
    made["xdatcar_npt"] = files.xdatcar(folder / "XDATCAR_npt", fractional, cells)
    for kind in KINDS[2:]:
        made[kind] = getattr(files, kind)(folder / kind, fractional, cells)
    return {kind: path.read_bytes() for kind, path in made.items()}, fractional


def read(path, size=5):
    """Frames by their content, and the notices; None where the head alone is damaged."""
    try:
        reader = open_trajectory(path, format=None, options=OPTIONS)
    except AnalysisError:
        return None
    blocks = list(reader.blocks(size))
    frames = np.concatenate([b.fractional for b in blocks]) if blocks else np.zeros((0, len(files.SYMBOLS), 3))
    return frames, list(reader.notices)


def whose(frame, truth):
    """Number of the frame that this one is, None if it is none of them."""
    change = frame - truth
    distance = np.abs(change - np.round(change)).max(axis=(1, 2))
    return int(np.argmin(distance)) if distance.min() < 1e-6 else None


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_gives_its_whole_frames_and_says_what_is_missing(tmp_path, whole_files, kind):
    data, truth = whole_files[0][kind], whole_files[1]
    ends = np.random.default_rng(7).integers(0, len(data), 60)
    path = tmp_path / kind
    for end in ends:
        path.write_bytes(data[:end])
        found = read(path)
        if found is None:
            assert end < len(data) / FRAMES * 2.1
            continue
        frames, notices = found
        assert [whose(frame, truth) for frame in frames] == list(range(len(frames)))
        before = read_count(kind, data, end)
        # The last number of a cut line may be whole or not: nobody can know.
        assert len(frames) in (before, before + 1)
        if len(frames) == before and data[:end].rstrip() != data[: ends_of_frames(kind, data)[before]].rstrip():
            assert notices or trailing(kind, data, end, before), (end, len(frames))


def ends_of_frames(kind, data):
    """Byte behind each frame; the first entry is the head of the file."""
    mark = {
        "xdatcar": b"Direct",
        "xdatcar_npt": b"Direct",
        "lammps_dump": b"ITEM: TIMESTEP",
        "extxyz": b"12\n",
        "vasprun": b" <calculation>",
    }[kind]
    if kind == "vasprun":
        return [
            data.index(mark),
            *[i + len(b"</varray>") for i in positions_of(data, b"</varray>", b'name="positions"')],
        ]
    lines = data.split(b"\n")
    per_frame = {"xdatcar": 13, "xdatcar_npt": 20, "lammps_dump": 21, "extxyz": 14}[kind]
    head = 7 if kind == "xdatcar" else 0
    places = np.cumsum([0, *[len(line) + 1 for line in lines]])
    return [int(places[head + per_frame * k]) for k in range(FRAMES + 1)]


def positions_of(data, closing, opening):
    at, found = data.index(b"<calculation>"), []
    while (start := data.find(opening, at)) >= 0:
        at = data.index(closing, start)
        found.append(at)
    return found


def read_count(kind, data, end):
    return sum(place <= end for place in ends_of_frames(kind, data)[1:])


def trailing(kind, data, end, before):
    """What is left may be the head of a frame without any atom, which no notice needs to name."""
    left = data[ends_of_frames(kind, data)[before] : end]
    return left.count(b"\n") <= (9 if kind != "vasprun" else 40)


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_lines_lose_their_frame_only(tmp_path, whole_files, kind):
    data, truth = whole_files[0][kind], whole_files[1]
    rng = np.random.default_rng(11)
    path = tmp_path / kind
    ends = ends_of_frames(kind, data)
    for trial in range(40):
        lines = data.split(b"\n")
        starts = np.cumsum([0, *[len(line) + 1 for line in lines]])
        # Behind the first frame, so that the file can be opened.
        behind = ends[1] + (400 if kind == "vasprun" else 0)
        usable = [i for i in range(len(lines) - 1) if starts[i] >= behind and len(lines[i]) > 0]
        number = int(rng.choice(usable))
        change = trial % 4
        if change == 0:
            lines[number] = b"#### garbage \xff\xfe here"
        elif change == 1:
            lines[number] = lines[number][: len(lines[number]) // 2]
        elif change == 2:
            del lines[number]
        else:
            lines.insert(number, bytes(rng.integers(0, 256, 80, dtype=np.uint8)).replace(b"\n", b" "))
        path.write_bytes(b"\n".join(lines))
        found = read(path)
        assert found is not None
        frames, notices = found
        known = [whose(frame, truth) for frame in frames]
        good = [k for k in known if k is not None]
        assert good == sorted(set(good))
        assert len(good) >= FRAMES - 2
        # A number that lost its last digits is still a number; everything else is noticed.
        if len(good) < FRAMES:
            assert notices or len(frames) == FRAMES, (trial, number)


@pytest.mark.parametrize("kind", KINDS)
def test_random_bytes_never_crash(tmp_path, whole_files, kind):
    data = whole_files[0][kind]
    rng = np.random.default_rng(5)
    path = tmp_path / kind
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 30)):
            damaged[place] = rng.integers(0, 256)
        if rng.random() < 0.3:
            at = int(rng.integers(0, len(data)))
            del damaged[at : at + int(rng.integers(1, 2000))]
        path.write_bytes(bytes(damaged))
        found = read(path)
        if found is not None:
            frames, notices = found
            assert np.isfinite(frames).all()
            assert all(str(notice) for notice in notices)


def test_a_traj_that_is_cut_is_refused_or_read(tmp_path):
    from ase import Atoms
    from ase.io import write

    frames = [
        Atoms("Li4", positions=np.random.default_rng(k).random((4, 3)), cell=[3, 3, 3], pbc=True) for k in range(9)
    ]
    write(tmp_path / "a.traj", frames)
    data = (tmp_path / "a.traj").read_bytes()
    for end in np.random.default_rng(2).integers(0, len(data), 25):
        (tmp_path / "b.traj").write_bytes(data[:end])
        found = read(tmp_path / "b.traj")
        if found is not None:
            assert len(found[0]) + len(found[1]) == 9
