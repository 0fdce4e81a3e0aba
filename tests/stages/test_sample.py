"""The stage sample, run for real in this process: which frames are chosen, and what becomes of a run that stops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from superionic.errors import StageError
from superionic.execution.task import Context, task
from superionic.potentials.base import load_potential
from superionic.potentials.committee import Committee
from superionic.potentials.reference import li3ycl6_cell
from superionic.results.identity import Material, OrderedCell, Ordering
from superionic.settings.learn import ActiveSettings
from superionic.settings.sample import SampleSettings
from superionic.stages import sample
from superionic.stages.base import Candidate
from superionic.stages.fitting import Shifts
from superionic.stages.replay import Structures
from superionic.stages.sample.choice import BEFORE_THE_STOP, Frames, choose, last_frames
from superionic.training.distillation import pick_by_grade
from superionic.training.snapshots import farthest_point_sampling, random_snapshots

SHORT = {
    "temperatures_K": [600.0],
    "timestep_fs": 2.0,
    "equilibration_ps": 0.04,
    "production_ps": 0.2,
    "segment_ps": 0.1,
    "save_every_fs": 10.0,
    "snapshots": 6,
    "max_strain": 0.0,
}
EXPLORE = ActiveSettings(collect_above_eV_per_A=0.02, stop_above_eV_per_A=50.0, check_every_fs=10.0, labels_per_round=6)
CELL = Ordering(OrderedCell(Material("cell")), 0)


def settings(**more):
    return SampleSettings(**{**SHORT, **more})


@task(version=1)
def crystal_task(_context: Context) -> Structures:
    """Give the cell of 30 atoms."""
    return Structures((li3ycl6_cell(),))


@task(version=1)
def weights_task(_context: Context, *, scale: float) -> Shifts:
    """Stand for the weights of a training."""
    return Shifts({"scale": scale})


def sampled(bench, chosen, potential, temperature_K=600.0, *, count=6, **more):
    """Sample the cell of 30 atoms."""
    crystal = bench.at("rank").task("relaxed", crystal_task.of())
    candidate = Candidate(CELL, crystal.result.atoms[0], "Li3YCl6")
    return sample.run(chosen, bench, [candidate], potential, temperature_K, count=count, **more)


@pytest.fixture(autouse=True)
def importable(monkeypatch, root):
    monkeypatch.syspath_prepend(str(root))


def structures(bench, output):
    return [bench.runner.value_of(snapshot.structure) for snapshot in output.snapshots]


# ---- the choice of frames -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames():
    """Sixty frames that shake, one of which, the 41st, has an ion between sites; the 42nd is a copy of it."""
    atoms = li3ycl6_cell()
    rng = np.random.default_rng(4)
    positions = atoms.positions + rng.normal(scale=0.03, size=(60, 30, 3))
    positions[41, 0] += [0.0, 0.0, 1.3]
    positions[42] = positions[41]
    return Frames(atoms.numbers, positions, np.repeat(np.array(atoms.cell)[None], 60, axis=0))


class Doubting(Committee):
    """Disagrees most about the frames whose first ion is high."""

    def force_deviations(self, atoms):
        return np.full(len(atoms), 0.01) + 0.5 * (atoms.positions[0, 2] - li3ycl6_cell().positions[0, 2] > 1.0)


def chosen(frames, count, method, mixture=None, **more):
    arguments = {"rng": np.random.default_rng(0), "candidate_frames": 60, "potential": None, **more}
    return choose(frames, count, method, mixture or {}, **arguments)


def test_the_methods_of_the_papers_are_as_they_were(frames):
    expected = random_snapshots(60, 10, np.random.default_rng(0))
    assert chosen(frames, 10, "random") == [(int(frame), "random") for frame in expected]
    expected = farthest_point_sampling(frames.positions_A, frames.cells_A[0], 10)
    assert [frame for frame, _ in chosen(frames, 10, "farthest-point")] == expected.tolist()


@pytest.mark.parametrize("method", ["descriptors", "cur"])
def test_choices_by_features_find_the_strange_frame_and_not_its_copy(frames, method):
    found = [frame for frame, _ in chosen(frames, 5, method, potential=load_potential("pair"))]
    assert len(set(found) & {41, 42}) == 1
    assert len(set(found)) == 5


def test_a_committee_chooses_where_it_disagrees_and_without_one_descriptors_decide(frames):
    members = [load_potential("pair"), load_potential("pair", charge_scale=0.9)]
    found = chosen(frames, 4, "committee", potential=Doubting(members))
    assert {41, 42} & {frame for frame, _ in found}
    assert {method for _, method in found} == {"committee"}
    assert {method for _, method in chosen(frames, 4, "committee", potential=members[0])} == {"descriptors"}


def test_a_mixture_has_its_shares_and_takes_no_frame_twice(frames):
    mixture = {"descriptors": 0.5, "random": 0.25, "farthest-point": 0.25}
    found = chosen(frames, 12, "mixture", mixture, potential=load_potential("pair"), taken=[3, 41])
    methods = [method for _, method in found]
    assert {name: methods.count(name) for name in mixture} == {"descriptors": 6, "random": 3, "farthest-point": 3}
    assert len({frame for frame, _ in found} | {3, 41}) == 14


def test_no_more_frames_are_chosen_than_there_are_and_candidates_are_thinned(frames):
    assert len(chosen(frames, 100, "random")) == 60
    found = chosen(frames, 20, "cur", potential=load_potential("pair"), candidate_frames=10)
    assert [method for _, method in found].count("cur") <= 10
    assert len({frame for frame, _ in found}) == 20  # chance fills what few candidates left


def test_the_last_frames_are_apart():
    assert last_frames(50, 3, 10.0) == [45, 47, 49]
    assert last_frames(2, 3, 10.0) == [1]
    assert last_frames(50, 3, 100.0) == [47, 48, 49]
    assert last_frames(50, 0, 10.0) == []


# ---- the stage ------------------------------------------------------------------------------------------------------


def test_a_run_gives_snapshots_that_know_their_run_and_ordering(workbench):
    bench = workbench()
    output = sampled(bench, settings(), bench.potentials["pair"])
    assert len(output.snapshots) == 6
    first = output.snapshots[0]
    assert (first.run, first.ordering, first.temperature_K, first.round) == ("cell #0 600 K", CELL, 600.0, 1)
    assert first.id == "cell #0 600 K snapshot 1"
    (run,) = output.result.runs
    assert run.run.ordering == CELL
    assert run.run.potential == output.result.potential == "pair"
    assert run.stopped is None
    assert run.chosen_by == {"random": 6}
    assert run.n_frames == 21


def test_strain_is_applied_to_each_snapshot_and_bounded(workbench):
    bench = workbench()
    output = sampled(bench, settings(max_strain=0.03), bench.potentials["pair"])
    cell = np.array(li3ycl6_cell().cell)
    strains = [np.linalg.solve(cell, np.array(atoms.cell)) - np.eye(3) for atoms in structures(bench, output)]
    assert all(0.0 < np.abs(strain).max() <= 0.03 + 1e-12 for strain in strains)
    assert len({round(strain[0, 0], 12) for strain in strains}) == 6


def test_replicas_are_runs_of_their_own(workbench):
    bench = workbench()
    output = sampled(bench, settings(replicas=2), bench.potentials["pair"], count=3, number=4)
    assert [run.run.replica for run in output.result.runs] == [1, 2]
    assert {snapshot.run for snapshot in output.snapshots} == {"cell #0 600 K replica 1", "cell #0 600 K replica 2"}
    assert {snapshot.round for snapshot in output.snapshots} == {output.result.round} == {4}


def test_a_run_that_stops_gives_its_last_frames_unstrained_and_the_reason(workbench):
    bench = workbench()
    # Y and Cl come within 75 % of the sum of their covalent radii in the course of the run, not at its start.
    hot = {"max_strain": 0.03, "equilibration_ps": 0.0}
    strict = settings(**hot, monitors={"min_distance_fraction": 0.75, "last_frames": 2})
    output = sampled(bench, strict, bench.potentials["pair"], 1500.0)
    (run,) = output.result.runs
    assert run.stopped is not None
    assert "fell into each other" in run.stopped
    assert output.result.failures == ()
    last = structures(bench, output)[-2:]
    assert run.chosen_by[BEFORE_THE_STOP] == len(last) == 2
    cell = np.array(li3ycl6_cell().cell)
    assert all(np.array_equal(np.array(atoms.cell), cell) for atoms in last)


def test_a_run_that_stops_before_its_production_still_gives_its_last_frames(workbench):
    bench = workbench()
    strict = settings(equilibration_ps=0.2, monitors={"min_distance_fraction": 0.72})
    output = sampled(bench, strict, bench.potentials["pair"], 1500.0)
    (run,) = output.result.runs
    assert run.n_frames == 0
    assert set(run.chosen_by) == {BEFORE_THE_STOP}
    assert 1 <= len(output.snapshots) <= 3


def test_runs_that_stop_before_their_first_frame_fail_the_stage(workbench):
    bench = workbench()
    impossible = settings(monitors={"min_distance_fraction": 0.99})
    with pytest.raises(StageError, match="every sampling run failed"):
        sampled(bench, impossible, bench.potentials["pair"])


def committee_of(bench, monkeypatch, scales=(1.0, 0.9)):
    """A committee of pair potentials; which scale a member has is decided by the weights' own task."""
    from superionic.potentials import base

    plain = base.load_potential
    weights = tuple(
        bench.at("train").task(f"weights {scale}", weights_task.of(scale=scale)).result.element_references_eV
        for scale in scales
    )
    given = iter(range(10**6))

    def load(name, *, weights=None, **options):
        del weights
        return plain(name, **{**options, "charge_scale": scales[next(given) % len(scales)]})

    monkeypatch.setattr(base, "load_potential", load)
    return replace(bench.potentials["pair"], weights=weights[0], committee=weights)


def test_an_exploration_collects_what_the_committee_disagrees_about_and_tells_the_share(workbench, monkeypatch):
    bench = workbench()
    committee = committee_of(bench, monkeypatch)
    output = sampled(bench, settings(), committee, count=4, explore=EXPLORE, round_label="round 2")
    (run,) = output.result.runs
    assert run.run.label == "cell #0 600 K round 2"
    assert run.chosen_by == {"committee": 4}
    assert run.explored.length_ps == pytest.approx(0.24)
    assert run.explored.looked_at == 26  # every 10 fs of both phases, and both starts
    assert run.explored.above == run.explored.looked_at
    assert run.explored.worst_eV_per_A > 0.02


def test_an_exploration_that_disagrees_about_nothing_gives_nothing(workbench, monkeypatch):
    bench = workbench()
    committee = committee_of(bench, monkeypatch, (1.0, 1.0))
    output = sampled(bench, settings(), committee, count=4, explore=EXPLORE)
    assert output.snapshots == ()
    assert output.result.runs[0].explored.above == 0


def test_an_exploration_is_stopped_by_disagreement_and_its_last_frame_is_collected(workbench, monkeypatch):
    bench = workbench()
    committee = committee_of(bench, monkeypatch, (1.0, 0.7))
    limits = EXPLORE.model_copy(update={"stop_above_eV_per_A": 0.5})
    output = sampled(bench, settings(), committee, 900.0, count=4, explore=limits)
    (run,) = output.result.runs
    assert "the committee disagrees" in run.stopped
    assert len(output.snapshots) >= 1


def test_grades_are_picked_over_the_whole_run():
    assert pick_by_grade([1, 5, 2, 2, 9, 3], 3) == [1, 2, 4]
