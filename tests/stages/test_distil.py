"""The stage distil, run for real: the pair potential teaches students the dynamics of rock salt, in this process."""

from __future__ import annotations

import copy
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from superionic.errors import StageError
from superionic.execution import worker
from superionic.execution.codec import from_tree, plain_json, to_tree
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.runner import Runner, Slots
from superionic.execution.store import Store
from superionic.execution.task import Context, ref_of, task
from superionic.models.nep.state import Epoch
from superionic.potentials.base import describe_potential
from superionic.results.identity import AxisValue, Material, OrderedCell, Ordering, ReferencePhase
from superionic.results.student import DistilResult
from superionic.settings.distil import DistilSettings, resolved
from superionic.settings.transport import TransportSettings
from superionic.stages import distil, transport
from superionic.stages.base import Candidate, ChosenPotential, Workbench, lowest_of_each, spread
from superionic.stages.predictions import predictions

TEACHER = ChosenPotential("pair", describe_potential("pair"))
STUDENT = {"n_radial": 4, "n_angular": 3, "basis_radial": 6, "basis_angular": 6, "l_max": 2, "n_neurons": 10}
SETTINGS = {
    "temperatures_K": [900, 1200],
    "timestep_fs": 2.0,
    "barostat_time_fs": 1000.0,
    "npt_ps": 0.3,
    "equilibration_ps": 0.1,
    "production_ps": 0.3,
    "held_out_ps": 0.1,
    "held_out_frames": 5,
    "segment_ps": 0.2,
    "data": {"orderings": 1, "snapshots": 12, "distorted": 16, "relax_cycles": 2, "relax_steps": 4, "contacts": 6},
    "epochs": 40,
    "learning_rate": 0.008,
    "refit_epochs": 8,
    "epochs_per_segment": 20,
    "options": {**STUDENT, "cutoff_radial_A": 5.0, "cutoff_angular_A": 4.0, "batch_size": 4},
    "explore": {"rounds": 1, "length_ps": 0.4, "labels_per_round": 6, "temperature_K": 1300.0},
    "parity": {
        "max_energy_rmse_meV_per_atom": 50.0,
        "max_force_error_ratio": 0.9,
        "max_stress_rmse_GPa": 5.0,
        "min_overlap": 0.3,
        "max_volume_difference_percent": 30.0,
    },
}


@task(version=1)
def crystal_task(_context: Context) -> Atoms:
    """Give eight atoms of rock salt."""
    return bulk("LiCl", "rocksalt", a=5.3, cubic=True)


class InThisProcess(Executor):
    """Runs each task at once, with the worker's own code, and notes which."""

    def __init__(self):
        self.cache = {}
        self.made = []

    def submit(self, _function, request, /, *_args, **_kwargs):
        future = Future()
        future.set_result(worker._answer(request, self.cache))
        self.made.append(request["function"].partition(":")[2])
        return future


@pytest.fixture(scope="module")
def executor():
    return InThisProcess()


@pytest.fixture(scope="module")
def bench(executor, tmp_path_factory) -> Workbench:
    folder = tmp_path_factory.mktemp("store")
    store, ledger = Store(folder), Ledger(folder / LEDGER)
    runner = Runner(store, ledger, executor=executor, slots=Slots(1), python_of=lambda _engine: Path("x"))
    return Workbench(runner, 5, "Li", {"Li": 1.0, "Cl": -1.0}, {"pair": TEACHER}, lambda _engine: {})


def settings_with(**changes):
    return resolved(DistilSettings(**{**copy.deepcopy(SETTINGS), **changes}), None)


@pytest.fixture(scope="module")
def crystal(bench) -> Candidate:
    made = bench.at("enumerate").task("crystal", crystal_task.of())
    ordering = Ordering(OrderedCell(Material("salt")), 0)
    return Candidate(ordering, made.result, formula="LiCl", n_atoms=8, relaxed_eV_per_atom=-1.0)


@pytest.fixture(scope="module")
def distilled(bench, crystal):
    return distil.run(settings_with(), bench, [crystal], TEACHER)


def test_students_learn_and_pass_a_gate_that_is_wide_enough(distilled):
    result = distilled.result
    assert result.verdict.passed, result.verdict
    assert [criterion.name for criterion in result.verdict.criteria] == [
        "energy on unseen frames",
        "forces on unseen frames",
        "stress on unseen frames",
        "a clean run when hot",
        "runs that repeat the teacher's",
        "pair distances",
        "volume at constant pressure",
        "diffusivity, salt #0 900 K",
        "diffusivity, salt #0 1200 K",
    ]
    # What they learned is worth more than nothing: errors well below the forces themselves.
    assert result.verdict.criteria[1].value < 0.5
    assert result.committee.force_meV_per_A > 0.0
    assert result.failures == ()
    assert result.teacher.identity.name == "pair"


def test_the_result_counts_what_was_done(distilled):
    result = distilled.result
    data = result.learned_from
    assert (data.snapshots, data.distorted, data.relaxed, data.contacts) == (24, 16, 8, 6)
    assert data.held_out == 5
    new = sum(one.labels for one in result.rounds)
    assert data.total == 24 + 16 + 8 + 6 - data.dropped + new
    assert len(result.members) == 2
    for student in result.members:
        assert all(isinstance(one, Epoch) for one in student.history)
        assert len(student.history) == 40 + 8 * (len(result.rounds) - 1)
        assert student.n_train + student.n_validation == data.total
    assert [runs.label for runs in result.compared] == ["salt #0 900 K", "salt #0 1200 K"]
    for runs in result.compared:
        comparison = runs.comparison
        assert len(comparison.diffusivities_cm2_per_s) == len(comparison.volumes_A3_per_atom) == 3
        assert len(comparison.hops) == 3
        assert [pair.pair for pair in comparison.pairs] == ["Li-Li", "Li-Cl", "Cl-Cl"]


def test_the_result_comes_back_from_json_as_it_was(distilled):
    assert from_tree(plain_json(to_tree(distilled.result)), DistilResult) == distilled.result


def test_nothing_of_the_unseen_run_is_learned(distilled):
    trained = {task for student in distilled.students for task in student.dependencies() if ":dataset" in task.function}
    read = {ref.task.label for task in trained for ref in task.inputs["sets"]}
    assert read
    assert not any("held out" in label for label in read)


def test_a_second_walk_does_nothing_and_says_the_same(bench, executor, crystal, distilled):
    before = len(executor.made)
    again = distil.run(settings_with(), bench, [crystal], TEACHER)
    assert len(executor.made) == before
    assert again.result == distilled.result


def test_a_stricter_gate_repeats_only_the_verdict(bench, executor, crystal, distilled):
    before = len(executor.made)
    strict = settings_with(parity={**SETTINGS["parity"], "max_force_error_ratio": 1e-4})
    judged = distil.run(strict, bench, [crystal], TEACHER).result
    assert executor.made[before:] == ["verdict_task"]
    assert not judged.verdict.passed
    assert judged.errors == distilled.result.errors


def test_the_students_evaluate_as_a_committee(bench, crystal, distilled):
    members = distil.committee_of(distilled, TEACHER)
    assert [member.name for member in members] == ["student", "student"]
    assert len({ref_of(member.weights).task.key for member in members}) == 2
    assert all(member.identity.energy_convention == TEACHER.identity.energy_convention for member in members)

    def energy(potential):
        task = predictions(bench.at("validate"), "x", [crystal.structure], potential)
        return bench.runner.one(task).energies_eV[0]

    energies, teacher = [energy(member) for member in members], energy(TEACHER)
    assert energies[0] != energies[1]
    assert np.allclose(energies, teacher, atol=8 * 0.05)


def test_a_student_that_extrapolates_returns_to_the_teacher(bench, crystal, distilled):
    eager = settings_with(
        explore={**SETTINGS["explore"], "stop_above": 1.001, "collect_above": 1.0, "check_every_fs": 2.0}
    )
    result = distil.run(eager, bench, [crystal], TEACHER).result
    first, second = result.rounds
    assert "extrapolates" in first.explorations[0].ended
    assert 0 < first.labels <= 6
    assert second.structures == first.structures + first.labels
    assert len(result.errors.first) == 2
    assert result.verdict.criteria[3].passed is (second.explorations[0].clean_ps >= 0.4)


def test_the_teachers_failure_is_said_with_a_way_out(bench, crystal):
    hot = settings_with(temperatures_K=[900, 10_000], timestep_fs=10.0)
    with pytest.raises(StageError, match="the teacher's own runs failed") as caught:
        distil.run(hot, bench, [crystal], TEACHER)
    assert "temperatures_K" in caught.value.fix


def test_counts_are_lowered_to_the_room_there_is(bench, crystal):
    small = settings_with(data={**SETTINGS["data"], "max_structures": 30})
    start = distil._first_data(small, bench, [crystal], [], TEACHER)
    assert start.snapshots + start.distorted + start.contacts + start.relaxed <= 24


def test_the_lowest_ordering_of_each_composition_comes_first(crystal):
    def candidate(crystal_name, bromine, index, energy):
        material = Material(crystal_name, (AxisValue("Br", bromine),))
        return replace(crystal, identity=Ordering(OrderedCell(material), index), relaxed_eV_per_atom=energy)

    phase = replace(crystal, identity=ReferencePhase("LiCl"), relaxed_eV_per_atom=-9.0)
    a, b = candidate("p", 0, 0, -1.0), candidate("p", 0, 1, -2.0)
    c, d = candidate("p", 3, 0, -3.0), candidate("q", 0, 0, -4.0)
    everyone = [a, b, c, d, phase]
    assert lowest_of_each(everyone, 1) == [b, c, d]
    assert lowest_of_each(everyone, 2) == [b, a, c, d]
    assert [spread(n, k) for n, k in ((5, 2), (5, 3), (3, 9), (4, 1))] == [[0, 4], [0, 2, 4], [0, 1, 2], [0]]


def test_replicas_take_turns_with_the_members_and_tell_how_far_they_extrapolate(bench, crystal, distilled):
    members = distil.committee_of(distilled, TEACHER)
    settings = TransportSettings(
        temperatures_K=[900.0, 1200.0],
        replicas=3,
        timestep_fs=2.0,
        thermostat="csvr",
        heating_ps=0.0,
        nvt_before_npt_ps=0.0,
        npt_ps=0.0,
        nvt_equilibration_ps=0.0,
        production_ps=0.4,
        save_every_fs=20.0,
        segment_ps=0.2,
    )
    moved = transport.run(settings, bench, [crystal], members).result
    assert [one.run.member for one in moved.runs] == [1, 2, 1, 1, 2, 1]
    assert {one.run.potential for one in moved.runs} == {"student"}
    assert all(one.worst_extrapolation > 0 for one in moved.runs)
    by_teacher = transport.run(settings.model_copy(update={"replicas": 1}), bench, [crystal], (TEACHER,)).result
    assert [one.run.member for one in by_teacher.runs] == [None, None]
    assert [one.worst_extrapolation for one in by_teacher.runs] == [None, None]
