"""The stages *train* and *validate* with a trainer of one weight: every number can be worked out."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from superionic.errors import CampaignFileError, StageError, StructureError
from superionic.execution.task import Context, task
from superionic.labels.base import Label
from superionic.potentials.base import describe_potential, load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.registry import Model, models
from superionic.results.identity import Material, OrderedCell, Ordering
from superionic.settings.train import TrainSettings, ValidateSettings
from superionic.stages import train, validate
from superionic.stages.base import Candidate, ChosenPotential, Snapshot
from superionic.stages.fitting import Data, divided_task
from superionic.stages.label import one_of_task
from superionic.stages.replay import replay_data
from superionic.training.dataset import Split

SCALE = 1.4
SHIFT_EV = {"Li": 0.3, "Y": -0.2, "Cl": 0.5}
SCALED = ChosenPotential(
    "scaled",
    replace(describe_potential("pair"), name="scaled"),
)


@pytest.fixture(autouse=True)
def scaled(monkeypatch):
    """Register the fake potential and its trainer."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(models(), "scaled", Model(
        name="scaled", package="scaled_springs", potential="scaled_springs", evaluation_s_per_atom=1e-4,
        trainer="scaled_springs", methods={"naive": {}, "slow": {"learning_rate": 0.1}},
    ))  # fmt: skip
    yield
    sys.modules.pop("scaled_springs", None)


@dataclass(frozen=True)
class Made:
    """Structures with their labels."""

    atoms: tuple[Atoms, ...]
    labels: tuple[Label, ...]


@task(version=1)
def made_task(_context: Context, *, n: int, seed: int, stress_factor: float) -> Made:
    """Give displaced cells and labels that are SCALE times the pair potential's."""
    rng = np.random.default_rng(seed)
    teacher = load_potential("pair")
    atoms, labels = [], []
    for number in range(n):
        cell: Atoms = li3ycl6_cell()
        cell.positions += rng.normal(0.0, 0.1, cell.positions.shape)
        prediction = teacher.evaluate(cell)
        energy = SCALE * prediction.energy_eV + sum(SHIFT_EV[s] for s in cell.get_chemical_symbols())
        provenance = {"settings_hash": "one", "energy_convention": "own: test"}
        stress = stress_factor * SCALE * np.array(prediction.stress_eV_per_A3)
        atoms.append(cell)
        labels.append(Label(energy, SCALE * prediction.forces_eV_per_A, stress, provenance, {"number": number}))
    return Made(tuple(atoms), tuple(labels))


def labelled(bench, n_runs=6, per_run=1, rounds=1, stress_factor=1.0, crystals=("P-3m1",)):
    """Make snapshots of several rounds; each label is the whole result of a task of its own."""
    snapshots = []
    for number in range(rounds):
        for run in range(n_runs):
            call = made_task.of(n=per_run, seed=100 * number + run, stress_factor=stress_factor)
            made = bench.at("label").task(f"made {number} {run}", call)
            temperature = 400.0 + 200.0 * number
            for k in range(per_run):
                one = one_of_task.of(label=made.result.labels[k])
                label = bench.at("label").task(f"label {number} {run} {k}", one)
                crystal = crystals[len(snapshots) % len(crystals)]
                ordering = Ordering(OrderedCell(Material(crystal)), run)
                name = f"{ordering.id} {temperature:g} K"
                snapshots.append(
                    Snapshot(
                        f"{name} snapshot {k}",
                        made.result.atoms[k],
                        "Li3YCl6",
                        name,
                        ordering,
                        temperature,
                        number + 1,
                        label.result,
                    )
                )
    return snapshots


def settings(**changes):
    return TrainSettings(epochs=6, epochs_per_segment=2, patience=None, **changes)


def judged(bench, snapshots, trained):
    """Validate what was trained."""
    tuned = SCALED.tuned(trained.weights[0])
    return validate.run(ValidateSettings(), bench, snapshots, tuned, trained.training, trained.dataset)


def test_a_training_finds_scale_and_shift_and_lowers_the_errors(workbench):
    bench = workbench(scaled={})
    snapshots = labelled(bench)
    trained = train.run(settings(), bench, snapshots, SCALED)
    result = trained.result
    assert result.trainer == "scaled"
    assert result.best_epoch == 6
    assert [record.epoch for record in result.history] == list(range(7))
    assert result.history[-1].train.mae_force_meV_per_A < result.history[0].train.mae_force_meV_per_A
    weights = bench.runner.value_of(trained.weights[0])
    # Six steps of a third of the way from 1 to the slope of the labels.
    assert weights["scale"][0] == pytest.approx(SCALE - (SCALE - 1.0) * (2 / 3) ** 6)
    errors = judged(bench, snapshots, trained).errors
    assert errors.set == "test"
    factor = errors.after.mae_force_meV_per_A / errors.before.mae_force_meV_per_A
    assert factor == pytest.approx((2 / 3) ** 6, rel=1e-6)
    forces = errors.parity.force_eV_per_A
    assert len(forces.reference) == len(forces.after) == errors.after.n_forces
    off = np.abs(np.array(forces.after) - np.array(forces.reference))
    assert 1000.0 * off.mean() == pytest.approx(errors.after.mae_force_meV_per_A)


def test_errors_are_told_by_temperature_and_phase(workbench):
    bench = workbench(scaled={})
    snapshots = labelled(bench, rounds=2, crystals=("P-3m1", "C2/m"))
    errors = judged(bench, snapshots, train.run(settings(test_fraction=0.3), bench, snapshots, SCALED)).errors
    assert {(row.by, row.value) for row in errors.by} == {
        ("phase", "C2/m"),
        ("phase", "P-3m1"),
        ("temperature_K", 400.0),
        ("temperature_K", 600.0),
    }
    for row in errors.by:
        assert row.after.mae_force_meV_per_A < row.before.mae_force_meV_per_A
    for kind in ("phase", "temperature_K"):
        assert sum(row.after.n_structures for row in errors.by if row.by == kind) == errors.n_structures


@pytest.mark.parametrize("split_by", ["run", "ordering"])
def test_what_is_held_out_in_one_round_is_held_out_in_the_next(workbench, split_by):
    bench = workbench(scaled={})
    snapshots = labelled(bench, n_runs=6, rounds=3)
    split_settings = settings(split_by=split_by, test_fraction=0.25, validation_fraction=0.2)
    splits = []
    for n in (6, 12, 18):
        trained = train.run(split_settings, bench, snapshots[:n], SCALED, f"round {n // 6}")
        splits.append(bench.runner.one(trained.dataset).split)
    for early, late in ((0, 1), (1, 2)):
        n = 6 * (early + 1)
        for part in ("train", "validation", "test"):
            assert getattr(splits[early], part) == tuple(i for i in getattr(splits[late], part) if i < n)
    groups = [train.group_of(snapshot, split_by) for snapshot in snapshots]
    assert {groups[i] for i in splits[2].test}.isdisjoint(groups[i] for i in splits[2].train)
    if split_by == "ordering":
        assert set(groups) == {f"P-3m1 #{i}" for i in range(6)}
        assert {snapshots[i].temperature_K for i in splits[2].test} == {400.0, 600.0, 800.0}


def test_a_turned_sign_of_stress_stops_the_campaign_before_it_trains(workbench):
    bench = workbench(scaled={})
    snapshots = labelled(bench, stress_factor=-1.0)
    with pytest.raises(StageError, match="sign of stresses") as caught:
        train.run(settings(), bench, snapshots, SCALED)
    assert "preflight: warn" in (caught.value.fix or "")
    assert not any("training " in task.label and task.label[-1].isdigit() for task in bench.runner.used.values())
    warned = train.run(settings(preflight="warn"), bench, snapshots, SCALED)
    assert any("sign of stresses" in note for note in warned.result.notes)
    assert "error" in {finding.severity for finding in warned.result.preflight}


def test_options_of_a_trainer_are_judged(workbench):
    bench = workbench(scaled={})
    assert train.options_for(settings(options={"mode": "other"}), SCALED)[1]["mode"] == "other"
    assert "learning_rate" not in train.options_for(settings(), SCALED)[1]
    with pytest.raises(CampaignFileError, match="modus"):
        train.options_for(settings(options={"modus": 1}), SCALED)
    pair = bench.potentials["pair"]
    with pytest.raises(CampaignFileError, match="no trainer"):
        train.options_for(settings(), pair)


def test_the_members_of_a_committee_have_splits_of_their_own_and_one_test_set(workbench):
    bench = workbench(scaled={})
    snapshots = labelled(bench, n_runs=12)
    trained = train.run(settings(), bench, snapshots, SCALED, "round 2", number=2, members=3)
    assert [member.member for member in trained.result.members] == [2, 3]
    assert len(trained.weights) == 3
    assert trained.result.round == 2
    used = {task.label: task for task in bench.runner.used.values()}
    splits = [bench.runner.one(used[f"training set of member {n} round 2"]).split for n in (2, 3)]
    first = bench.runner.one(trained.dataset).split
    assert {split.test for split in splits} == {first.test}
    assert splits[0].validation != splits[1].validation


# ---- replay data ----------------------------------------------------------------------------------------------------


@pytest.fixture
def replayed(monkeypatch):
    """Let the fake trainer take replay data, and give what it is handed."""
    import scaled_springs

    handed = []
    start = scaled_springs.start

    def take(*arguments, replay=None, **more):
        handed.append(replay)
        return start(*arguments, **more)

    monkeypatch.setattr(scaled_springs, "start", take)
    monkeypatch.setitem(models(), "scaled", replace(models()["scaled"], methods={"multihead": {"mode": "multihead"}}))
    return handed


def replay_file(path, n=3):
    cells = []
    for number in range(n):
        cell = li3ycl6_cell()
        cell.positions[0] += 0.1 * number
        force, stress = np.full((len(cell), 3), float(number)), np.full(6, 0.01) if number else None
        cell.calc = SinglePointCalculator(cell, energy=-100.0 - number, forces=force, stress=stress)
        cells.append(cell)
    path.parent.mkdir(exist_ok=True)
    write(path, cells)
    return str(path)


def test_replay_labels_of_a_file_reach_the_trainer_by_their_content(workbench, replayed, tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    bench = workbench(scaled={})
    snapshots = labelled(bench)
    options = {"options": {"mode": "multihead"}}
    trained = train.run(settings(replay=replay_file(tmp_path / "a" / "r.xyz"), **options), bench, snapshots, SCALED)
    (given,) = replayed
    assert given.targets.energies_eV.tolist() == [-100.0, -101.0, -102.0]
    assert [float(forces[0, 0]) for forces in given.targets.forces_eV_per_A] == [0.0, 1.0, 2.0]
    assert np.isnan(given.targets.stresses_eV_per_A3[0]).all()
    assert given.targets.stresses_eV_per_A3[1].tolist() == [0.01] * 6
    assert trained.result.n_replay == 3
    assert not any("replay" in note for note in trained.result.notes)
    # The same content elsewhere is the same training; other content is another one.
    again = settings(replay=replay_file(tmp_path / "b" / "r.xyz"), **options)
    assert train.run(again, bench, snapshots, SCALED).result.key == trained.result.key
    other = settings(replay=replay_file(tmp_path / "b" / "r.xyz", n=2), **options)
    assert train.run(other, bench, snapshots, SCALED).result.key != trained.result.key
    plain = train.run(settings(), bench, snapshots, SCALED)
    assert replayed[-1] is None
    assert plain.result.n_replay is None


def test_the_pretrained_potential_labels_the_ranking_or_the_structures_of_a_file(
    workbench, replayed, tmp_path, monkeypatch
):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    bench = workbench(scaled={})
    snapshots = labelled(bench)
    ranked = [Candidate(snapshot.ordering, snapshot.structure, snapshot.formula) for snapshot in snapshots[:2]]
    of_ranking = settings(replay="foundation", options={"mode": "multihead"})
    train.run(of_ranking, bench, snapshots, SCALED, "", ranked)
    given = replayed[-1]
    relaxed = [bench.runner.value_of(candidate.structure) for candidate in ranked]
    for atoms, first, energy in zip(given.structures, relaxed, given.targets.energies_eV, strict=True):
        moved = (atoms.get_scaled_positions() - first.get_scaled_positions() + 0.5) % 1.0 - 0.5
        assert 0.05 < np.sqrt(np.mean((moved @ first.cell.array) ** 2)) < 0.12
        assert 0.001 < np.abs(atoms.cell.array - first.cell.array).max() < 0.5
        assert energy == pytest.approx(load_potential("pair").evaluate(atoms).energy_eV)
    with pytest.raises(StructureError, match="no ranked structures"):
        train.run(of_ranking, bench, snapshots, SCALED)
    # All members of a committee replay the same.
    train.run(of_ranking, bench, snapshots, SCALED, "", ranked, members=3)
    assert all(np.array_equal(m.targets.energies_eV, given.targets.energies_eV) for m in replayed[-2:])
    assert len(replayed) == 3
    # What a file says is left aside where the pretrained potential is to label it.
    made = replay_data(replay_file(tmp_path / "r.xyz"), bench.at("train"), SCALED, (), by_foundation=True)
    replayed = bench.runner.one(made)
    assert len(replayed) == 3
    assert replayed.targets.energies_eV[0] == pytest.approx(load_potential("pair").evaluate(li3ycl6_cell()).energy_eV)


def test_declared_energies_are_taken_as_they_are():
    cells = [li3ycl6_cell() for _ in range(3)]
    declared = {"Li": 1.0, "Y": -2.0, "Cl": 0.5}
    shift = sum(declared[symbol] for symbol in cells[0].get_chemical_symbols())
    forces = np.zeros((len(cells[0]), 3))
    labels = [Label(-100.0 + shift + 0.3 * number, forces, None, {"settings_hash": "one"}) for number in range(3)]
    dataset = divided_task(
        None,
        data=Data(cells, labels),
        baseline=np.full(3, -100.0),
        declared=declared,
        split=Split((0, 1), (2,), (), leak_free=True),
    )
    assert dataset.element_references.eV_per_atom == declared
    assert not dataset.element_references.degenerate
    assert dataset.shifts_eV == pytest.approx(np.full(3, shift))
    assert dataset.element_references.rms_residual_eV_per_atom == pytest.approx(0.3 / np.sqrt(2) / len(cells[0]))
