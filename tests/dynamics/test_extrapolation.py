"""A run that watches how far its potential extrapolates, with a potential whose grade is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from superionic.dynamics.md import Limits, MDSettings, Segment, initial_state, run_segment
from superionic.errors import CalculationFailed, PotentialError, SuperionicError
from superionic.execution.codec import decode, encode, from_tree
from superionic.execution.task import Context, Part, Task, ref_of
from superionic.potentials.base import BasePotential, Prediction, describe_potential, load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.results.identity import ONCE
from superionic.settings.sample import SampleSettings
from superionic.stages import chains
from superionic.stages.base import ChosenPotential

SETTINGS = MDSettings(temperature_K=300.0, ensemble="nve", save_every=5)


class Graded(BasePotential):
    """Free particles; the grade of the first atom is that of the moment, the others are at home."""

    def __init__(self, grades):
        super().__init__(describe_potential("pair"))
        self._grades = iter(grades)

    def evaluate(self, atoms, *, stress=True):
        return Prediction(0.0, np.zeros((len(atoms), 3)), np.zeros(6) if stress else None)

    def extrapolation_grade(self, atoms):
        return np.array([next(self._grades)] + [0.5] * (len(atoms) - 1))


class Bursting(Graded):
    """Heats itself without end; its grade stays low."""

    def evaluate(self, atoms, *, stress=True):
        return Prediction(0.0, 30.0 * np.sin(7.0 * atoms.positions), np.zeros(6) if stress else None)


def run(grades, n_steps=40, potential=Graded, start=None, settings=SETTINGS, **limits):
    state = start or initial_state(li3ycl6_cell(), settings, 0)
    # The free particles meet after a while, which is not what is tested.
    asked = {"extrapolation_every": 10, "collect_extrapolation": 2.0, "max_extrapolation": 9.0, **limits}
    requested = Limits(distance_fraction=1e-3, **asked)
    return run_segment(state, potential(grades), settings, n_steps, limits=requested)


def test_the_largest_grade_over_the_atoms_is_recorded():
    segment = run([1.0, 1.5, 0.2, 0.4, 1.9])
    assert segment.extrapolation_steps.tolist() == [0, 10, 20, 30, 40]
    assert segment.extrapolation.tolist() == [1.0, 1.5, 0.5, 0.5, 1.9]
    assert segment.stopped is None
    assert len(segment.collected_grades) == 0
    assert segment.collected_positions_A.shape == (0, 30, 3)


def test_nothing_is_recorded_unless_asked_for():
    segment = run([], extrapolation_every=0)
    assert len(segment.extrapolation) == len(segment.extrapolation_steps) == 0


def test_frames_of_high_grade_are_collected():
    segment = run([1.0, 2.5, 1.0, 8.9, 1.0])
    assert segment.stopped is None
    assert segment.collected_grades.tolist() == [2.5, 8.9]
    frames = dict(zip(segment.steps.tolist(), segment.positions_A, strict=True))
    assert np.array_equal(segment.collected_positions_A, [frames[10], frames[30]])
    assert np.array_equal(segment.collected_cells_A[0], segment.cells_A[0])


@pytest.mark.parametrize("grade", [9.1, float("nan"), float("inf")])
def test_a_run_ends_cleanly_above_the_limit(grade):
    segment = run([1.0, 3.0, grade])
    assert segment.stopped.startswith("after 0.020 ps the potential extrapolates")
    assert segment.state.step == 20
    assert segment.steps.tolist() == [0, 5, 10, 15], "the frames before it are kept, its own is not"
    assert len(segment.extrapolation) == 3
    # What broke it is the most interesting structure to label.
    assert segment.collected_grades[:1] == [3.0]
    assert np.array_equal(segment.collected_grades[1:], [grade], equal_nan=True)
    assert np.array_equal(segment.collected_positions_A[-1], segment.state.positions_A)
    assert from_tree(decode(*encode(segment)), Segment).stopped == segment.stopped


def test_collected_frames_are_spread_over_the_segment():
    grades = [1.0, *np.linspace(3.0, 8.0, 40)]
    segment = run(grades, n_steps=400, max_collected=8)
    steps = [10 * (1 + int(np.argmin(abs(np.linspace(3.0, 8.0, 40) - g)))) for g in segment.collected_grades]
    assert 4 <= len(steps) <= 8
    assert len(set(np.diff(steps).tolist())) == 1, "evenly"
    assert steps[0] == 10
    assert steps[-1] >= 300
    ended = run([*grades[:-1], 99.0], n_steps=400, max_collected=8)
    assert ended.collected_grades[-1] == 99.0
    assert len(ended.collected_grades) <= 8
    assert len(run(grades, n_steps=400, max_collected=0).collected_grades) == 0


def test_a_run_that_blows_up_while_it_collects_ends_without_losing_what_it_has():
    settings = MDSettings(temperature_K=300.0, ensemble="nve", save_every=1)
    segment = run([3.0] * 99, n_steps=500, potential=Bursting, settings=settings)
    assert "ran away" in segment.stopped
    assert len(segment.collected_grades) >= 1
    assert len(segment.steps) >= 1
    with pytest.raises(CalculationFailed, match="ran away"):
        run([3.0] * 99, n_steps=500, potential=Bursting, settings=settings, max_collected=0)


def test_a_potential_without_a_grade_is_refused():
    state = initial_state(li3ycl6_cell(), SETTINGS, 0)
    with pytest.raises(PotentialError, match="cannot tell whether it extrapolates") as caught:
        run_segment(state, load_potential("pair"), SETTINGS, 1, limits=Limits(extrapolation_every=5))
    assert caught.value.fix


@pytest.mark.parametrize("wrong", [{"extrapolation_every": -1}, {"max_collected": -1}, {"check_every": 0}])
def test_impossible_limits_are_refused(wrong):
    with pytest.raises(SuperionicError) as caught:
        Limits(**wrong)
    assert caught.value.fix


# ---- in a chain of tasks ----


class Workbench:
    """What a chain needs of a workbench; it keeps the calls, so that they can be done in this process."""

    def __init__(self):
        self.calls = {}

    def task(self, label, call, *, engine=None):
        settings, inputs = call.settings_and_inputs()
        task = Task("test", label, call.function.name, call.function.version, settings, inputs, engine or "core")
        self.calls[task.key] = call
        return task

    def seed_for(self, *words):
        return len(words)


def chained(limits, bench=None, **md):
    selected = ChosenPotential("graded", describe_potential("pair"))
    nvt = MDSettings(300.0, save_every=5, **md)
    phases = [
        chains.Phase("npt", replace(nvt, ensemble="npt"), 0.02, 0.01, limits=limits),
        chains.Phase("production", nvt, 0.03, 0.01, "npt", 0.0, limits=limits),
    ]
    structure = Task("test", "structure", "x:y", 1).result
    return chains.chain(bench or Workbench(), "run", structure, ONCE, selected, phases)


def carry_out(limits, tmp_path, potential, monkeypatch):
    """Do the tasks of a chain in this process; give the results of NPT, average cell and production."""
    monkeypatch.setattr(chains, "load", lambda *_: potential)
    bench = Workbench()
    built = chained(limits, bench)
    context = Context(tmp_path, lambda *_: None, {})
    results = {}

    def value(part):
        if isinstance(part, list):
            return [value(one) for one in part]
        if not isinstance(part, Part):
            return part
        ref = ref_of(part)
        measured = li3ycl6_cell() if ref.task.label == "structure" else results[ref.task.key]
        for step in ref.path:
            measured = getattr(measured, step)
        return measured

    order = [*built.segments("npt"), built.average_cell, *built.segments("production")]
    for task in order:
        call = bench.calls[task.key]
        results[task.key] = call.function(context, **{name: value(part) for name, part in call.arguments.items()})
    return [results[task.key] for task in order]


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_chain_after_an_early_end_is_simply_finished(at, tmp_path, monkeypatch):
    limits = Limits(extrapolation_every=10, max_extrapolation=9.0)
    done = carry_out(limits, tmp_path, Graded([1.0] * at + [99.0]), monkeypatch)
    segments = [done[0], done[1], *done[3:]]
    assert [len(segment.extrapolation) for segment in segments].count(0) == len(segments) - max(1, at)
    reason = segments[-1].stopped
    assert "extrapolates" in reason
    first = next(i for i, segment in enumerate(segments) if segment.stopped)
    assert all(segment.stopped == reason for segment in segments[first:])
    assert all(len(segment.positions_A) == 0 for segment in segments[first + 1 :])
    assert segments[-1].positions_A.shape == (0, 30, 3)
    assert len(segments[-1].collected_positions_A) == 0
    assert (done[2].cell is None) == (at == 0)


def test_a_chain_without_limits_has_no_such_inputs(tmp_path, monkeypatch):
    assert all("stopped" not in task.inputs for task in chained(None).segments("npt", "production"))
    done = carry_out(None, tmp_path, load_potential("pair"), monkeypatch)
    assert done[-1].stopped is None
    assert sum(len(segment.times_ps) for segment in done[3:]) == 7


def test_a_chain_of_lammps_runs_in_its_environment():
    built = chained(None, engine="lammps")
    assert {task.engine for task in built.segments("npt", "production")} == {"lammps"}
    assert built.average_cell.engine == "core"
    assert {task.engine for task in chained(None).segments("npt", "production")} == {"core"}


def test_the_engine_comes_from_the_stage():
    assert chains.md_settings(SampleSettings(), 300.0, "nvt").engine == "ase"
    assert chains.md_settings(SampleSettings(), 300.0, "nvt", engine="lammps").engine == "lammps"
