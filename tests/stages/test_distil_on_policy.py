"""Students made from labels alone, for real: the pair potential labels rock salt, and the students run."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from superionic.errors import StageError
from superionic.execution.codec import from_tree, plain_json, to_tree
from superionic.execution.task import Context, task
from superionic.potentials.base import describe_potential
from superionic.results.identity import AxisValue, Material, OrderedCell, Ordering
from superionic.results.student import DistilResult
from superionic.settings.distil import DistilSettings, resolved
from superionic.stages import distil
from superionic.stages.base import Candidate, ChosenPotential
from superionic.stages.distil.seeds import in_refined_cells, seeds_of, starts_of
from superionic.structures.io.files import read_crystal

TEACHER = ChosenPotential("pair", describe_potential("pair"))
STUDENT = {"n_radial": 4, "n_angular": 3, "basis_radial": 6, "basis_angular": 6, "l_max": 2, "n_neurons": 10}
SETTINGS = {
    "method": "on-policy",
    "temperatures_K": [600, 900],
    "timestep_fs": 2.0,
    "barostat_time_fs": 1000.0,
    "segment_ps": 0.2,
    "epochs": 30,
    "refit_epochs": 10,
    "learning_rate": 0.008,
    "epochs_per_segment": 30,
    "options": {**STUDENT, "cutoff_radial_A": 5.0, "cutoff_angular_A": 4.0, "batch_size": 4},
    "explore": {"temperature_K": 1000.0},
    "on_policy": {
        "max_labels": 92,
        "seed_labels": 36,
        "volumes": [0.94, 1.10],
        "contacts": 4,
        "seed_runs": 2,
        "seed_ps": 0.1,
        "seed_frames": 3,
        "rounds": 2,
        "runs": 2,
        "run_ps": [0.2, 0.3],
        "final_epochs": 40,
        "gate_frames": 4,
        "gate_npt_ps": 0.2,
        "gate_ps": 0.4,
    },
    "parity": {
        "max_energy_bias_meV_per_atom": 30.0,
        "max_energy_scatter_meV_per_atom": 30.0,
        "max_force_error_ratio": 0.9,
        "max_element_force_error_ratio": 0.9,
        "max_stress_rmse_GPa": 5.0,
        "max_pressure_difference_GPa": 3.0,
        "max_volume_difference_percent": 20.0,
    },
}


@task(version=1)
def crystal_task(_context: Context, *, a_A: float) -> Atoms:
    """Give eight atoms of rock salt."""
    return bulk("LiCl", "rocksalt", a=a_A, cubic=True)


def settings_with(**changes):
    return resolved(DistilSettings(**{**copy.deepcopy(SETTINGS), **changes}), None)


@pytest.fixture(scope="module")
def bench(workbench_of_module):
    return workbench_of_module


@pytest.fixture(scope="module")
def crystal(bench) -> Candidate:
    made = bench.at("enumerate").task("crystal", crystal_task.of(a_A=5.3))
    ordering = Ordering(OrderedCell(Material("salt")), 0)
    return Candidate(ordering, made.result, formula="LiCl", n_atoms=8, relaxed_eV_per_atom=-1.0)


def test_the_refined_cell_is_that_of_the_refined_composition_alone(root):
    host = read_crystal(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif")
    orderings = [
        Candidate(Ordering(OrderedCell(Material("p-3m1")), number), None, formula=formula)
        for number, formula in enumerate(("Li9Y3Cl18", "Li3YCl6", "Li3YBr3Cl3", "Li3YBr6"))
    ]
    assert list(in_refined_cells(orderings, {"p-3m1": host})) == [one.id for one in orderings[:2]]


@pytest.fixture(scope="module")
def cells(bench, crystal):
    # The crystal as refined is larger than the relaxed ordering.
    return {crystal.id: bench.at("enumerate").task("refined", crystal_task.of(a_A=5.4)).result}


class Killed(BaseException):
    """The end of a process."""


@pytest.fixture(scope="module")
def killed(bench, crystal, cells):
    """Have the stage killed after the labels of its first round; gives what was done by then."""
    executor = bench.runner._executor
    submit = executor.submit

    def killer(function, request, /, *args, **kwargs):
        if request["function"].endswith(":errors_task"):
            raise Killed
        return submit(function, request, *args, **kwargs)

    executor.submit = killer
    with pytest.raises(Killed):
        distil.run(settings_with(), bench, [crystal], TEACHER, cells)
    executor.submit = submit
    return tuple(executor.made)


@pytest.fixture(scope="module")
def distilled(bench, crystal, cells, killed):
    """The stage, gone on with after it was killed."""
    return distil.run(settings_with(), bench, [crystal], TEACHER, cells)


def test_a_stage_that_was_killed_goes_on_where_it_was(bench, killed, distilled):
    made = bench.runner._executor.made
    assert killed.count("label_task") == 7  # two short runs, two batches of seeds, two sets at random, one apart
    after = made[len(killed) :]
    assert after[0] == "errors_task"
    assert not {"seed_task", "seed_structures_task", "first_segment_task"} & set(after[:2])
    assert len(set(bench.runner.used)) >= len(made)  # no task was done twice


def test_students_learn_from_labels_alone_and_pass_a_gate_that_is_wide_enough(distilled):
    result = distilled.result
    assert result.verdict.passed, result.verdict
    assert [criterion.name for criterion in result.verdict.criteria] == [
        "runs in the production cell",
        "energy bias on own frames",
        "energy scatter on own frames",
        "forces on own frames",
        "forces by element on own frames",
        "stress on own frames",
        "mean pressure on own frames",
        "volume that the pressure makes",
    ]
    assert result.method == "on-policy"
    assert (result.compared, result.transfer, result.failures) == ((), None, ())


def test_the_budget_of_labels_holds_and_every_label_is_counted(distilled):
    result = distilled.result
    data = result.learned_from
    assert data.snapshots + data.distorted + data.contacts + data.relaxed == 36
    new = [one.labels for one in result.rounds]
    # (92 - 36 - 2 ends x 2 students x 4 frames) / 2 rounds / (2 students x 2 runs) = 5 of each run.
    assert new == [20, 20]
    assert data.total == 36 + sum(new) - data.dropped
    assert data.held_out == result.on_policy.labels == 16
    assert data.total + data.held_out <= 92


def test_the_error_is_measured_on_random_frames_before_they_are_learned(distilled):
    for one in distilled.result.rounds:
        # Two of the five frames of each of a student's two runs were drawn at random.
        assert [member.n_structures for member in one.errors] == [4, 4]
        assert {run.temperature_K for run in one.explorations} <= set(np.arange(600.0, 1001.0))
        assert [run.member for run in one.explorations] == [1, 1, 2, 2]


def test_each_student_is_judged_on_its_own_frames_at_both_ends(distilled):
    gate = distilled.result.on_policy
    assert [(run.temperature_K, run.member) for run in gate.runs] == [(600, 1), (600, 2), (900, 1), (900, 2)]
    for run in gate.runs:
        seen = run.frames
        assert [one.element for one in seen.elements] == ["Li", "Cl"]
        assert seen.errors.mean_error_energy_meV_per_atom == pytest.approx(seen.energy_bias_meV_per_atom)
        assert seen.pressure_difference_GPa == pytest.approx(-seen.errors.mean_error_stress_GPa, abs=1e-9)
        # Rock salt of this pair potential: some tens of GPa, as alkali halides.
        assert 10.0 < seen.bulk_modulus_GPa < 100.0
        assert math.isfinite(seen.pressure_error_GPa)


def test_an_epoch_is_judged_on_runs_of_the_students_alone(bench, distilled):
    dataset = next(task for task in distilled.students[0].dependencies() if ":own_dataset" in task.function)
    data = bench.runner.one(dataset)
    own = {group for group in data.set.groups if group.startswith("round ")}
    for split in data.splits:
        assert split.validation
        assert {data.set.groups[index] for index in split.validation} < own
        assert not set(split.validation) & set(split.train)


def test_seeds_are_at_the_cell_of_the_crystal_and_span_both_volumes(bench, distilled, crystal, cells):
    seed = next(bench.runner.one(task) for task in bench.runner.used.values() if task.label == f"seed {crystal.id}")
    assert seed.atoms.get_volume() == pytest.approx(5.4**3)
    assert seed.low_A3_per_atom == pytest.approx(0.94 * 5.3**3 / 8)
    assert seed.high_A3_per_atom == pytest.approx(1.10 * 5.4**3 / 8)


def test_the_result_comes_back_from_json_as_it_was(distilled):
    assert from_tree(plain_json(to_tree(distilled.result)), DistilResult) == distilled.result


def test_a_second_walk_does_nothing_and_a_stricter_gate_repeats_only_the_verdict(bench, crystal, cells, distilled):
    made = bench.runner._executor.made
    before = len(made)
    assert distil.run(settings_with(), bench, [crystal], TEACHER, cells).result == distilled.result
    assert len(made) == before
    # Without repairs: students that fail learn the frames on which they did, and run again.
    own = {**SETTINGS["on_policy"], "repairs": 0}
    strict = settings_with(parity={**SETTINGS["parity"], "max_pressure_difference_GPa": 1e-9}, on_policy=own)
    judged = distil.run(strict, bench, [crystal], TEACHER, cells).result
    assert made[before:] == ["own_verdict_task"]
    assert [one.name for one in judged.verdict.failed] == ["mean pressure on own frames"]


def test_a_budget_holds_with_many_orderings_and_a_hopeless_one_is_refused(bench, crystal, cells):
    many = [
        replace(crystal, identity=Ordering(OrderedCell(Material("salt", (AxisValue("Br", n),))), 0)) for n in range(30)
    ]
    starts = starts_of(settings_with(), bench.at("distil"), many, cells, TEACHER)
    assert len(starts) == 30
    seeds = seeds_of(settings_with(), bench.at("distil"), starts, TEACHER, TEACHER)
    # Ten of the thirty: three labels each, of the 30 that two short runs leave of 36.
    assert seeds.relaxed == 20
    assert seeds.frames + seeds.relaxed + seeds.distorted + seeds.contacts == 36
    with pytest.raises(StageError, match="leave 0 for a round") as caught:
        distil.run(settings_with(on_policy={**SETTINGS["on_policy"], "gate_frames": 12}), bench, many, TEACHER, cells)
    assert "gate_orderings" in caught.value.fix


def test_a_single_student_goes_by_its_grade_and_runs_of_the_teacher_are_compared_where_asked_for(bench, crystal, cells):
    own = {**SETTINGS["on_policy"], "compare_runs": True, "max_labels": 68, "rounds": 1, "final_epochs": 15}
    settings = settings_with(students=1, on_policy=own, npt_ps=0.2, equilibration_ps=0.0, production_ps=0.2)
    result = distil.run(settings, bench, [crystal], TEACHER, cells).result
    assert (len(result.members), result.committee) == (1, None)
    # 68 - 36 seeds - 8 for the gate leave 12 for each of two runs, which save ten frames beside their start.
    assert [one.labels for one in result.rounds] == [20]
    assert [runs.temperature_K for runs in result.compared] == [600.0, 900.0]
    names = [criterion.name for criterion in result.verdict.criteria]
    assert names[8:] == [
        "runs that repeat the teacher's",
        "pair distances",
        "volume at constant pressure",
        "diffusivity, salt #0 600 K",
        "diffusivity, salt #0 900 K",
    ]
