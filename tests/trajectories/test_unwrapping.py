"""Unwrapping: true paths back from wrapped ones, in skew cells, in cells that change, over several files, with gaps."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.trajectories.reading import Block, ReadingOptions, ReadWarning, open_trajectory
from superionic.trajectories.reading.joining import Numbers, TimeAxis, plan
from superionic.trajectories.unwrapping.cache import key_of
from superionic.trajectories.unwrapping.paths import SCHEMES, Unwrapper
from superionic.trajectories.unwrapping.trajectory import MOST_FILLED, read_unwrapped
from superionic.transport.diffusion.msd import mean_squared_displacement

_SPEC = importlib.util.spec_from_file_location(
    "trajectory_files", Path(__file__).parents[2] / "benchmarks" / "trajectory_files.py"
)
files = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(files)

CELL = files.TRICLINIC
OPTIONS = ReadingOptions(elements=("Li", "Y", "Cl"), units="metal", timestep_fs=2.0)
VERY_SKEW = np.array([[8.0, 0.0, 0.0], [23.7, 6.0, 0.0], [-20.0, 13.0, 7.0]])


def unwrap(fractional, cells, scheme="mean-cell"):
    """Unwrap a whole trajectory at once."""
    cells = np.broadcast_to(cells, (len(fractional), 3, 3))
    unwrapper = Unwrapper(fractional.shape[1])
    if scheme == "toroidal":
        return np.stack([unwrapper.toroidal(*each).copy() for each in zip(fractional, cells, strict=True)])
    return np.stack([unwrapper.fractional(*each) for each in zip(fractional, cells, strict=True)]) @ cells.mean(axis=0)


def same_paths(found, expected, tolerance):
    """Equal up to where each atom began."""
    assert np.abs((found - found[0]) - (expected - expected[0])).max() < tolerance


# ---- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [np.diag([9.0, 8.0, 7.0]), CELL, VERY_SKEW], ids=["orthorhombic", "triclinic", "skew"])
def test_paths_come_back_from_wrapped_positions(cell):
    rng = np.random.default_rng(0)
    paths = np.cumsum(rng.normal(0.0, 0.4, (200, 30, 3)), axis=0)
    fractional = paths @ np.linalg.inv(cell)
    same_paths(unwrap(fractional % 1.0, cell), paths, 1e-11)
    same_paths(unwrap(fractional % 1.0, cell, scheme="toroidal"), paths, 1e-11)


def test_rounding_fractions_would_fail_where_the_cell_is_skew():
    rng = np.random.default_rng(0)
    paths = np.cumsum(rng.normal(0.0, 0.4, (200, 30, 3)), axis=0)
    steps = np.diff(paths @ np.linalg.inv(VERY_SKEW) % 1.0, axis=0)
    naive = np.cumsum((steps - np.round(steps)) @ VERY_SKEW, axis=0)
    assert np.abs(naive - (paths[1:] - paths[0])).max() > 5.0


def test_the_shortest_displacement_is_found_beyond_the_inscribed_sphere():
    rng = np.random.default_rng(1)
    shifts = np.array(np.meshgrid(*[np.arange(-3, 4)] * 3)).reshape(3, -1).T
    for _ in range(5):
        cell = CELL + rng.normal(0.0, 1.0, (3, 3))
        start, end = rng.random((200, 3)), rng.random((200, 3))
        unwrapper = Unwrapper(200)
        unwrapper.fractional(start, cell)
        moved = (unwrapper.fractional(end, cell) - start) @ cell
        images = ((end - start)[:, None] + shifts) @ cell
        shortest = np.sqrt((images**2).sum(axis=2)).min(axis=1)
        assert np.allclose(np.linalg.norm(moved, axis=1), shortest)
        assert unwrapper.largest_A == pytest.approx(shortest.max())


def test_a_crystal_that_breathes_stands_still_in_the_mean_cell():
    rng = np.random.default_rng(2)
    sites = np.concatenate([rng.random((20, 3)), np.zeros((4, 3))])  # some at the corner, where they cross all the time
    fractional = sites + rng.normal(0.0, 0.005, (1200, 24, 3))
    cells = files.breathing(CELL, 1200, amplitude=0.01)
    still = unwrap(fractional % 1.0, cells)
    assert np.abs(still - still[0]).max() < 0.6
    half = mean_squared_displacement(still, 1.0, max_lag_fraction=0.5)
    assert half.msd_A2[550] < 1.2 * half.msd_A2[10]
    # The toroidal scheme keeps its word for most atoms, but those that cross walk with the volume.
    walked = unwrap(fractional % 1.0, cells, scheme="toroidal")
    corner = mean_squared_displacement(walked[:, 20:], 1.0, max_lag_fraction=0.5)
    assert corner.msd_A2[550] > 3.0 * corner.msd_A2[10]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_diffusion_is_right_in_a_cell_that_changes(scheme):
    """Free walkers of a known D; images times the cell of the moment (the naive way) give far too much."""
    rng = np.random.default_rng(3)
    n_frames, n_ions, step = 1500, 100, 0.15
    cells = files.breathing(CELL, n_frames, amplitude=0.01)
    steps = rng.normal(0.0, step, (n_frames, n_ions, 3)) @ np.linalg.inv(CELL)
    fractional = 6.0 * rng.random((n_ions, 3)) + np.cumsum(steps, axis=0)  # some in far images
    msd = mean_squared_displacement(unwrap(fractional % 1.0, cells, scheme=scheme), 1.0, max_lag_fraction=0.1)
    slope = (msd.msd_A2[140] - msd.msd_A2[20]) / 120.0
    assert slope == pytest.approx(3 * step**2, rel=0.08)
    naive = mean_squared_displacement(np.einsum("fia,fab->fib", fractional, cells), 1.0, max_lag_fraction=0.1)
    assert naive.msd_A2[1] > 1.5 * 3 * step**2


# ---- files ----------------------------------------------------------------------------------------------------------


class Frames:
    """A reader of frames in memory."""

    format = "frames"
    n_frames = None
    step_ps = 0.1
    name = "frames"

    def __init__(self, fractional, *, steps=None, cell=CELL, unwrapped=False, counts_steps=True):
        self.fractional, self.unwrapped, self.counts_steps = fractional, unwrapped, counts_steps
        self.symbols = ("Li",) * fractional.shape[1]
        self.steps = np.arange(len(fractional)) if steps is None else np.asarray(steps)
        self.cells = np.broadcast_to(cell, (len(fractional), 3, 3))
        self.notices: list[ReadWarning] = []
        self.place = {}

    def blocks(self, frames_per_block=16, start=None):
        for k in range(0 if start is None else start["frame"], len(self.steps), frames_per_block):
            part = slice(k, k + frames_per_block)
            self.place = {"frame": k + frames_per_block}
            yield Block(self.steps[part], self.fractional[part], self.cells[part])


@pytest.mark.parametrize("unwrapped", [False, True])
def test_several_files_are_one_path(unwrapped):
    truth = files.walk(100, 5, step=0.08)
    first, second = truth[:60].copy(), truth[60:].copy()
    if unwrapped:
        second -= np.floor(second[0])  # a new run begins in the cell again
    else:
        first, second = first % 1.0, second % 1.0
    readers = [Frames(first, unwrapped=unwrapped), Frames(second, unwrapped=unwrapped, counts_steps=False)]
    found = read_unwrapped(readers)
    same_paths(found.positions_A, truth @ CELL, 2e-5)
    assert found.flags == ()
    assert not found.cell_varies


def test_a_frame_that_stands_twice_is_left_out_and_an_overlap_is_cut():
    truth = files.walk(100, 5)
    wrapped = truth % 1.0
    for counts in (False, True):
        steps = np.arange(59, 100) if counts else None
        readers = [Frames(wrapped[:60], counts_steps=counts), Frames(wrapped[59:], steps=steps, counts_steps=counts)]
        found = read_unwrapped(readers)
        same_paths(found.positions_A, truth @ CELL, 2e-5)
    branch = np.concatenate([wrapped[:50], (wrapped[50:60] + 0.2) % 1.0])  # steps of a run that was killed
    found = read_unwrapped([Frames(branch), Frames(wrapped[50:], steps=np.arange(50, 100))])
    same_paths(found.positions_A, truth @ CELL, 2e-5)
    assert any("next file" in str(notice) for notice in found.notices)


def test_few_missing_frames_are_filled_and_said():
    truth = files.walk(100, 5)
    kept = np.delete(np.arange(100), [40, 41, 42])
    found = read_unwrapped([Frames(truth[kept] % 1.0, steps=50 * kept)])
    assert len(found.positions_A) == 100
    assert found.n_filled == 3
    assert any("3 missing frames" in flag for flag in found.flags)
    expected = truth @ CELL
    same_paths(found.positions_A[kept], expected[kept], 2e-5)
    middle = expected[39] + (expected[43] - expected[39]) * 0.5 - expected[0]
    assert np.abs(found.positions_A[41] - found.positions_A[0] - middle).max() < 2e-5


def test_a_long_gap_divides_the_trajectory():
    truth = files.walk(200, 5)
    kept = np.concatenate([np.arange(60), np.arange(60 + MOST_FILLED + 1, 200)])
    found = read_unwrapped([Frames(truth[kept] % 1.0, steps=kept)])
    assert len(found.positions_A) == 200 - 60 - MOST_FILLED - 1
    assert found.n_left_out == 60
    assert any("60 frames were left out" in flag for flag in found.flags)
    same_paths(found.positions_A, (truth @ CELL)[60 + MOST_FILLED + 1 :], 2e-5)


def test_uneven_frames():
    truth = files.walk(60, 5) % 1.0
    steps = np.concatenate([np.arange(59) * 100, [5830]])  # LAMMPS writes the last step of a run as well
    found = read_unwrapped([Frames(truth, steps=steps)])
    assert len(found.positions_A) == 59
    assert any("5830" in str(notice) for notice in found.notices)
    growing = np.cumsum(np.arange(60) % 7 + 1)
    with pytest.raises(AnalysisError, match="evenly"):
        read_unwrapped([Frames(truth, steps=growing)])


def test_the_time_axis_takes_the_commonest_spacing():
    steps = np.array([0, 30, 40, 50, 60])
    told = plan([Numbers(steps, np.arange(5))])
    assert (told.spacing, told.written) == (10, 10)
    axis = TimeAxis(told.spacing, told.first)
    assert [axis.take(step)[0] for step in (0, 30, 40, 40, 45, 50, 10)] == [0, 3, 4, None, None, 5, 6]


def test_frames_too_far_apart_are_flagged():
    rng = np.random.default_rng(0)
    found = read_unwrapped([Frames(rng.random((20, 5, 3)))])
    assert any("their direction is uncertain" in flag for flag in found.flags)
    calm = read_unwrapped([Frames(files.walk(20, 5) % 1.0)])
    assert calm.flags == ()
    assert calm.largest_displacement_A < 2.0


def test_mean_cell_and_parts_of_a_run_whose_cell_changes(tmp_path):
    fractional, cells = files.walk(80), files.breathing(CELL, 80)
    path = files.lammps_dump(tmp_path / "a.dump", fractional, cells)
    found = read_unwrapped([open_trajectory(path, options=OPTIONS)])
    assert found.frame_interval_ps == pytest.approx(0.2)
    assert found.cell_varies
    assert np.allclose(found.mean_cell_A, cells.mean(axis=0))
    same_paths(found.positions_A, fractional @ cells.mean(axis=0), 5e-5)
    part = found.part(skip_ps=1.0, stride=3)
    assert len(part.positions_A) == len(part.cells_A) == 25
    assert part.frame_interval_ps == pytest.approx(0.6)
    assert np.array_equal(part.positions_A, found.positions_A[5::3])
    with pytest.raises(AnalysisError, match="--skip-ps"):
        found.part(skip_ps=100.0)


# ---- the cache ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changing"),
    [("xdatcar", False), ("xdatcar", True), ("lammps_dump", True), ("extxyz", True), ("vasprun", False)],
)
def test_a_reading_that_was_killed_goes_on_where_it_was(tmp_path, kind, changing, monkeypatch):
    import superionic.trajectories.unwrapping.trajectory as module

    fractional = files.walk(800, step=0.03)
    cells = files.breathing(CELL, 800) if changing else CELL
    data = getattr(files, kind)(tmp_path / kind, fractional, cells)
    key = key_of([data], OPTIONS, [kind], "mean-cell")
    expected = read_unwrapped([open_trajectory(data, options=OPTIONS)], frame_interval_ps=0.1)
    monkeypatch.setattr(module, "_SAVE_EVERY_S", 0.0)

    class KilledError(Exception):
        pass

    def kill(done, total):
        if done > 300:
            raise KilledError

    cache = tmp_path / "cache"
    with pytest.raises(KilledError):
        read_unwrapped(
            [open_trajectory(data, options=OPTIONS)], frame_interval_ps=0.1, cache=cache, cache_key=key, progress=kill
        )
    seen = []
    resumed = read_unwrapped(
        [open_trajectory(data, options=OPTIONS)],
        frame_interval_ps=0.1,
        cache=cache,
        cache_key=key,
        progress=lambda done, total: seen.append(done),
    )
    assert seen[0] > 256  # what was read before the kill was not read again
    assert np.array_equal(resumed.positions_A, expected.positions_A)
    assert np.array_equal(resumed.cells_A, expected.cells_A)
    mapped = read_unwrapped(
        [open_trajectory(data, options=OPTIONS)],
        frame_interval_ps=0.1,
        cache=cache,
        cache_key=key,
        progress=lambda done, total: pytest.fail("read again"),
    )
    assert np.array_equal(mapped.positions_A, expected.positions_A)


def test_a_cache_of_another_file_or_a_damaged_one_is_not_used(tmp_path):
    fractional = files.walk(30)
    data = files.xdatcar(tmp_path / "XDATCAR", fractional, CELL)
    key = key_of([data], OPTIONS, ["xdatcar"], "mean-cell")
    arguments = {"frame_interval_ps": 0.1, "cache": tmp_path / "cache", "cache_key": key}
    first = read_unwrapped([open_trajectory(data)], **arguments)
    expected = np.array(first.positions_A)
    for ending, content in ((".positions", b"\0" * 40), (".state.npz", b"nonsense")):
        (tmp_path / "cache" / f"{key}{ending}").write_bytes(content)
        assert np.array_equal(read_unwrapped([open_trajectory(data)], **arguments).positions_A, expected)
    files.xdatcar(data, files.walk(30, seed=9), CELL)
    assert key_of([data], OPTIONS, ["xdatcar"], "mean-cell") != key
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AnalysisError, match="--cache"):
        read_unwrapped([open_trajectory(data)], **{**arguments, "cache": tmp_path / "file" / "x"})


def test_long_trajectories_go_through_a_file(tmp_path, monkeypatch):
    import superionic.trajectories.unwrapping.trajectory as module

    for cells in (CELL, files.breathing(CELL, 600)):
        data = files.lammps_dump(tmp_path / "a.dump", files.walk(600), cells)
        monkeypatch.setattr(module, "_IN_MEMORY_BYTES", 512_000_000)
        small = read_unwrapped([open_trajectory(data, options=OPTIONS)])
        monkeypatch.setattr(module, "_IN_MEMORY_BYTES", 50_000)
        large = read_unwrapped([open_trajectory(data, options=OPTIONS)])
        assert isinstance(large.positions_A, np.memmap)
        assert np.array_equal(small.positions_A, large.positions_A)


def test_what_has_to_be_said(tmp_path):
    path = files.xdatcar(tmp_path / "XDATCAR", files.walk(5), CELL)
    with pytest.raises(AnalysisError, match="--frame-interval-fs"):
        read_unwrapped([open_trajectory(path)])
    other = files.xdatcar(tmp_path / "XDATCAR2", files.walk(5, 3), CELL, symbols=("Li",) * 3)
    with pytest.raises(AnalysisError, match="--replicas"):
        read_unwrapped([open_trajectory(path), open_trajectory(other)], frame_interval_ps=0.1)
    one = files.xdatcar(tmp_path / "XDATCAR3", files.walk(1), CELL)
    with pytest.raises(AnalysisError, match="1 whole frame"):
        read_unwrapped([open_trajectory(one)], frame_interval_ps=0.1)
