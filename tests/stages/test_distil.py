"""The stage distil, run for real: the pair potential teaches students the dynamics of rock salt, in this process."""

from __future__ import annotations

import copy
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from ase.build import bulk

from superionic.settings.distil import DistilSettings, resolved
from superionic.errors import CalculationFailed, StageError
from superionic.execution.codec import decode, encode
from superionic.execution.runner import Failure
from superionic.execution.task import Context, Ref, Task, select
from superionic.stages import analyse, distil, transport
from superionic.stages.base import Candidate, ChosenPotential, Workbench
from superionic.stages.distil_data import lowest_of_each
from superionic.stages.predictions import predictions

TEACHER = ChosenPotential(
    "pair",
    "core",
    {"name": "pair", "model": None, "options": {}},
    {"energy_convention": "pair potential", "level_of_theory": "rigid ions", "name": "pair"},
)
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


def crystal_task(_settings, _inputs, _context):
    """Give eight atoms of rock salt."""
    return {"atoms": bulk("LiCl", "rocksalt", a=5.3, cubic=True)}


class InProcess:
    """A runner that does every task at once, here; results go through the codec as in the store."""

    def __init__(self, tmp_path):
        self.context = Context(tmp_path, lambda fraction, word="": None, {})
        self.results = {}
        self.made = []
        self.store = None

    def gather(self, tasks):
        return [self._outcome(task) for task in tasks]

    def one(self, task):
        return self.gather([task])[0].value

    def _outcome(self, task):
        return Outcome(task, self._result(task))

    def _result(self, task):
        if task.key not in self.results:
            inputs = {name: self._resolve(value) for name, value in task.inputs.items()}
            if any(isinstance(value, CalculationFailed) for value in inputs.values()):
                self.results[task.key] = CalculationFailed("what it reads failed")
            else:
                module, _, name = task.function.partition(":")
                function = crystal_task if name == "crystal_task" else getattr(import_module(module), name)
                try:
                    result = function(copy.deepcopy(task.settings), inputs, self.context)
                    self.results[task.key] = decode(*encode(result))
                except CalculationFailed as failure:
                    self.results[task.key] = failure
            self.made.append(task)
        return self.results[task.key]

    def _resolve(self, value):
        if isinstance(value, Ref):
            found = self._result(value.task)
            return found if isinstance(found, CalculationFailed) else select(found, value.path)
        found = [self._resolve(item) for item in value]
        return next((item for item in found if isinstance(item, CalculationFailed)), found)


class Outcome:
    def __init__(self, task, content):
        self.task, self.content = task, content

    @property
    def failure(self):
        if isinstance(self.content, CalculationFailed):
            return Failure(self.task.label, self.content.reason, self.task.key)
        return None

    @property
    def ok(self):
        return self.failure is None

    @property
    def value(self):
        assert self.ok, self.content
        return self.content


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    return InProcess(tmp_path_factory.mktemp("scratch"))


def bench_of(runner) -> Workbench:
    return Workbench(runner, 5, "Li", {"Li": 1.0, "Cl": -1.0}, {}, lambda engine: {})


def settings_with(**changes):
    merged = {**copy.deepcopy(SETTINGS), **changes}
    return resolved(DistilSettings(**merged).model_dump(mode="json", exclude={"preset"}), None)


CRYSTAL = Candidate(
    "salt #0",
    "salt",
    "",
    Task("enumerate", "crystal", "tests:crystal_task", 1)["atoms"],
    {"relaxed_eV_per_atom": -1.0, "formula": "LiCl"},
)


@pytest.fixture(scope="module")
def distilled(runner):
    return distil.run(settings_with(), bench_of(runner), [CRYSTAL], TEACHER)


def test_students_learn_and_pass_a_gate_that_is_wide_enough(distilled):
    summary = distilled.summary
    assert summary["verdict"]["passed"], summary["verdict"]
    tested = [item["name"] for item in summary["verdict"]["criteria"]]
    assert tested == [
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
    assert summary["verdict"]["criteria"][1]["value"] < 0.5
    assert summary["committee"]["force_meV_per_A"] > 0.0
    assert summary["failures"] == []


def test_the_summary_counts_what_was_done(distilled):
    data = distilled.summary["data"]
    assert (data["snapshots"], data["distorted"], data["relaxed"], data["contacts"]) == (24, 16, 8, 6)
    assert data["held_out"] == 5
    new = sum(entry["labels"] for entry in distilled.summary["rounds"])
    assert data["total"] == 24 + 16 + 8 + 6 - data["dropped"] + new
    assert len(distilled.summary["history"]) == 2
    rounds = len(distilled.summary["rounds"])
    assert len(distilled.summary["history"][0]) == 40 + 8 * (rounds - 1)
    assert [run["temperature_K"] for run in distilled.summary["compared"]] == [900.0, 1200.0]
    for run in distilled.summary["compared"]:
        assert len(run["diffusivities_cm2_per_s"]) == len(run["volumes_A3_per_atom"]) == 3
        assert [pair["pair"] for pair in run["pairs"]] == ["Li-Li", "Li-Cl", "Cl-Cl"]


def test_nothing_of_the_unseen_run_is_learned(runner, distilled):
    trained = [task for task in runner.made if task.function.endswith(":dataset_task")]
    read = {ref.task.label for task in trained for ref in task.inputs["sets"]}
    assert read
    assert not any("held out" in label for label in read)


def test_a_second_walk_does_nothing_and_says_the_same(runner, distilled):
    before = len(runner.made)
    again = distil.run(settings_with(), bench_of(runner), [CRYSTAL], TEACHER)
    assert len(runner.made) == before
    assert again.summary == distilled.summary


def test_a_stricter_gate_repeats_only_the_verdict(runner, distilled):
    before = len(runner.made)
    strict = settings_with(parity={**SETTINGS["parity"], "max_force_error_ratio": 1e-4})
    judged = distil.run(strict, bench_of(runner), [CRYSTAL], TEACHER)
    assert [task.label for task in runner.made[before:]] == ["verdict"]
    assert not judged.summary["verdict"]["passed"]


def test_the_students_evaluate_as_a_committee(runner, distilled):
    members = distil.committee_of(distilled, TEACHER)
    assert [member.name for member in members] == ["student", "student"]
    assert len({member.weights.task.key for member in members}) == 2
    assert all(member.identity["energy_convention"] == "pair potential" for member in members)
    bench = bench_of(runner)

    def energy(potential):
        task = predictions(bench, "validate", "x", [CRYSTAL.structure], potential)
        return runner.one(task)["energies_eV"][0]

    energies, teacher = [energy(member) for member in members], energy(TEACHER)
    assert energies[0] != energies[1]
    assert np.allclose(energies, teacher, atol=8 * 0.05)


def test_a_student_that_extrapolates_returns_to_the_teacher(runner, distilled):
    eager = settings_with(
        explore={**SETTINGS["explore"], "stop_above": 1.001, "collect_above": 1.0, "check_every_fs": 2.0}
    )
    found = distil.run(eager, bench_of(runner), [CRYSTAL], TEACHER)
    rounds = found.summary["rounds"]
    assert len(rounds) == 2
    assert "extrapolates" in rounds[0]["explorations"][0]["ended"]
    assert 0 < rounds[0]["labels"] <= 6
    assert rounds[1]["structures"] == rounds[0]["structures"] + rounds[0]["labels"]
    assert len(found.summary["errors"]["first"]) == 2
    stability = found.summary["verdict"]["criteria"][3]
    assert stability["passed"] is (rounds[1]["explorations"][0]["clean_ps"] >= 0.4)


def test_the_teachers_failure_is_said_with_a_way_out(runner):
    hot = settings_with(temperatures_K=[900, 200000])
    with pytest.raises(StageError, match="the teacher's own runs failed") as caught:
        distil.run(hot, bench_of(runner), [CRYSTAL], TEACHER)
    assert "temperatures_K" in caught.value.fix


def test_counts_are_lowered_to_the_room_there_is(runner):
    small = settings_with(data={**SETTINGS["data"], "max_structures": 30})
    start = distil._first_data(small, bench_of(runner), [CRYSTAL], [], TEACHER)
    assert sum(start.counts.values()) <= 24


def test_the_lowest_ordering_of_each_composition_comes_first():
    def candidate(name, crystal, label, energy, reference=False):
        return replace(
            CRYSTAL,
            id=name,
            crystal=crystal,
            composition_label=label,
            facts={"relaxed_eV_per_atom": energy},
            is_reference=reference,
        )

    everyone = [
        candidate("a", "p", "Br=0", -1.0),
        candidate("b", "p", "Br=0", -2.0),
        candidate("c", "p", "Br=3", -3.0),
        candidate("d", "q", "Br=0", -4.0),
        candidate("LiCl", "LiCl", "", -9.0, reference=True),
    ]
    assert [c.id for c in lowest_of_each(everyone, 1)] == ["b", "c", "d"]
    assert [c.id for c in lowest_of_each(everyone, 2)] == ["b", "a", "c", "d"]
    assert [distil._spread(n, k) for n, k in ((5, 2), (5, 3), (3, 9), (4, 1))] == [[0, 4], [0, 2, 4], [0, 1, 2], [0]]


# ---- what the students drive --------------------------------------------------------------------------------------

TRANSPORT = {
    "supercell": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "per_composition": 1,
    "max_energy_above_hull_meV_per_atom": None,
    "temperatures_K": [900.0, 1200.0],
    "replicas": 3,
    "timestep_fs": 2.0,
    "thermostat": "csvr",
    "thermostat_time_fs": 100.0,
    "barostat": "mtk",
    "barostat_time_fs": 1000.0,
    "cell_motion": "isotropic",
    "pressure_GPa": 1e-4,
    "heating_from_K": 100.0,
    "heating_ps": 0.0,
    "nvt_before_npt_ps": 0.0,
    "npt_ps": 0.0,
    "npt_discard_fraction": 0.2,
    "nvt_equilibration_ps": 0.0,
    "production_ps": 0.4,
    "long_runs": None,
    "save_every_fs": 20.0,
    "segment_ps": 0.2,
}
ANALYSE = {
    "sites": "none",
    "axes": ["x", "y", "z"],
    "arrhenius_form": "lnD",
    "report_temperatures_K": [300.0],
    "density_grid_A": None,
}


def test_replicas_take_turns_with_the_members_and_tell_how_far_they_extrapolate(runner, distilled):
    members = distil.committee_of(distilled, TEACHER)
    settings = TRANSPORT
    moved = transport.run(settings, bench_of(runner), [CRYSTAL], members)
    assert [run["member"] for run in moved.summary["runs"]] == [1, 2, 1, 1, 2, 1]
    assert {run["potential"] for run in moved.summary["runs"]} == {"student"}
    assert all(run["worst_extrapolation"] > 0 for run in moved.summary["runs"])
    by_teacher = transport.run({**settings, "replicas": 1}, bench_of(runner), [CRYSTAL], (TEACHER,))
    assert [run["member"] for run in by_teacher.summary["runs"]] == [None, None]
    assert [run["worst_extrapolation"] for run in by_teacher.summary["runs"]] == [None, None]
    analysed = analyse.run(ANALYSE, bench_of(runner), moved.candidates)
    assert [run["member"] for run in analysed.summary["runs"]] == [1, 2, 1, 1, 2, 1]


def estimates(values):
    return [
        {"value": v, "error": 0.1 * v, "interval68": [0.9 * v, 1.1 * v], "interval95": [0.8 * v, 1.2 * v]}
        | {"is_upper_bound": False}
        for v in values
    ]


def test_the_transfer_error_is_a_part_of_its_own_in_the_budget():
    settings = {
        "form": "lnD",
        "orderings": ["a", "a", "a"],
        "report_temperatures_K": [300.0],
        "temperatures_K": [600.0, 750.0, 900.0],
    }
    inputs = {"conductivities": estimates([0.01, 0.05, 0.15]), "diffusivities": estimates([1e-6, 6e-6, 2e-5])}
    plain = analyse.arrhenius_task(settings, inputs, None)
    transfer = {"Ea_eV": 0.04, "ln_sigma": 0.5, "temperature_K": 740.0}
    wider = analyse.arrhenius_task({**settings, "transfer": transfer}, inputs, None)
    assert [part["source"] for part in plain["budget"]] == ["statistics of the runs, and the Arrhenius line"]
    assert wider["Ea_eV"] == plain["Ea_eV"]
    assert wider["Ea_error_eV"] == pytest.approx(np.hypot(plain["Ea_error_eV"], 0.04))
    assert [part["Ea_eV"] for part in wider["budget"]] == [plain["Ea_error_eV"], 0.04]
    statistics, model = (part["ln_sigma"]["300"] for part in wider["budget"])
    assert model > 0.5
    room, before = wider["sigma_300K_mS_per_cm"], plain["sigma_300K_mS_per_cm"]
    assert room["value"] == before["value"]
    # Normal quantiles on a log axis: the half-width of 68 % is the standard deviation itself.
    assert np.log(room["interval68"][1] / room["value"]) == pytest.approx(np.hypot(statistics, model), rel=1e-3)
    assert room["interval95"][0] < before["interval95"][0] < before["interval95"][1] < room["interval95"][1]
    assert np.all(np.array(wider["band"]["low68"]) < plain["band"]["low68"])
    assert np.all(np.array(wider["band"]["high95"]) > plain["band"]["high95"])
