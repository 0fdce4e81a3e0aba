"""The stages *train* and *validate* with a trainer of one weight: every number can be worked out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from superionic.campaign import learning
from superionic.settings.train import TrainSettings, ValidateSettings
from superionic.errors import CampaignFileError, StageError, StructureError
from superionic.execution.task import Ref
from superionic.labels.base import Label
from superionic.potentials import base as potentials
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.stages import train, validate
from superionic.stages.base import Candidate, ChosenPotential
from superionic.stages.fitting import dataset_task
from superionic.stages.replay import replay_data
from superionic.training import base

SCALE = 1.4
SHIFT_EV = {"Li": 0.3, "Y": -0.2, "Cl": 0.5}
SCALED = ChosenPotential("scaled", "core", {"name": "scaled", "model": None, "options": {}}, {"name": "scaled"})


@pytest.fixture(autouse=True)
def scaled(monkeypatch):
    """Register the fake potential and its trainer."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(potentials._ADAPTERS, "scaled", "scaled_springs")
    monkeypatch.setattr(base, "TRAINERS", {**base.TRAINERS, "scaled": "scaled_springs"})
    monkeypatch.setattr(base, "METHODS", {**base.METHODS, "scaled": {"naive": {}, "slow": {"learning_rate": 0.1}}})
    yield
    sys.modules.pop("scaled_springs", None)


def structures_task(settings, _inputs, _context):
    """Give displaced cells and labels that are SCALE times the pair potential's (a task)."""
    rng = np.random.default_rng(settings["seed"])
    teacher = load_potential("pair")
    atoms, labels = [], []
    for number in range(settings["n"]):
        cell: Atoms = li3ycl6_cell()
        cell.positions += rng.normal(0.0, 0.1, cell.positions.shape)
        found = teacher.evaluate(cell)
        energy = SCALE * found.energy_eV + sum(SHIFT_EV[s] for s in cell.get_chemical_symbols())
        provenance = {"settings_hash": "one", "energy_convention": "own: test"}
        stress = settings.get("stress_factor", 1.0) * SCALE * np.array(found.stress_eV_per_A3)
        label = Label(energy, SCALE * found.forces_eV_per_A, stress, provenance, {"number": number})
        atoms.append(cell)
        labels.append(label.to_dict())
    return {"atoms": atoms, "labels": labels}


def labelled(bench, n_runs=6, per_run=1, rounds=1, **more):
    """Make candidates of several rounds; each label is the whole result of a task of its own."""
    candidates = []
    for number in range(rounds):
        for run in range(n_runs):
            made = bench.task(
                "label",
                f"made {number} {run}",
                f"{__name__}:structures_task",
                1,
                {"n": per_run, "seed": 100 * number + run, **more},
            )
            for k in range(per_run):
                name = f"label {number} {run} {k}"
                inputs = {"label": Ref(made, ("labels", k))}
                label = bench.task("label", name, f"{__name__}:one_task", 1, {}, inputs)
                facts = {
                    "formula": "Li3YCl6",
                    "label": label,
                    "run": f"#{run} {400 + 200 * number} K",
                    "temperature_K": 400.0 + 200.0 * number,
                }
                name = f"#{run} {400 + 200 * number} K snapshot {k}"
                candidates.append(Candidate(name, "P-3m1", "", Ref(made, ("atoms", k)), facts))
    return candidates


def one_task(_settings, inputs, _context):
    """Give one label as the result of a task."""
    return dict(inputs["label"])


def settings(**changes):
    values = TrainSettings(epochs=6, epochs_per_segment=2, patience=None, **changes).model_dump(mode="json")
    return {name: value for name, value in values.items() if name != "preset"}


def test_a_training_finds_scale_and_shift_and_lowers_the_errors(workbench):
    bench = workbench(scaled={})
    candidates = labelled(bench)
    result = train.run(settings(), bench, candidates, SCALED)
    summary = result.summary
    assert summary["trainer"] == "scaled"
    assert summary["best_epoch"] == 6
    assert [row["epoch"] for row in summary["history"]] == list(range(7))
    weights = bench.runner.one(result.tasks["weights"])["weights"]
    # Six steps of a third of the way from 1 to the slope of the labels.
    assert weights["scale"][0] == pytest.approx(SCALE - (SCALE - 1.0) * (2 / 3) ** 6)
    tuned = SCALED.tuned(result.tasks["weights"]["weights"])
    limits = ValidateSettings().model_dump(mode="json")
    checked = validate.run(limits, bench, candidates, tuned, result.tasks["baseline"], result.tasks["dataset"])
    before, after = checked.summary["before"], checked.summary["after"]
    assert checked.summary["set"] == "test"
    assert after["mae_force_meV_per_A"] == pytest.approx(before["mae_force_meV_per_A"] * (2 / 3) ** 6, rel=1e-6)


def test_errors_are_told_by_temperature_and_phase(workbench):
    bench = workbench(scaled={})
    candidates = labelled(bench, rounds=2)
    candidates = [replace(c, crystal="C2/m" if i % 2 else "P-3m1") for i, c in enumerate(candidates)]
    result = train.run(settings(test_fraction=0.3), bench, candidates, SCALED)
    tuned = SCALED.tuned(result.tasks["weights"]["weights"])
    limits = ValidateSettings().model_dump(mode="json")
    checked = validate.run(limits, bench, candidates, tuned, result.tasks["baseline"], result.tasks["dataset"])
    rows = checked.summary["by"]
    assert {(row["by"], row["value"]) for row in rows} == {
        ("phase", "C2/m"),
        ("phase", "P-3m1"),
        ("temperature_K", 400.0),
        ("temperature_K", 600.0),
    }
    for row in rows:
        assert row["mae_force_meV_per_A_after"] < row["mae_force_meV_per_A_before"]
    for kind in ("phase", "temperature_K"):
        assert sum(row["n_structures"] for row in rows if row["by"] == kind) == checked.summary["n_structures"]


@pytest.mark.parametrize("split_by", ["run", "ordering"])
def test_what_is_held_out_in_one_round_is_held_out_in_the_next(workbench, split_by):
    bench = workbench(scaled={})
    candidates = labelled(bench, n_runs=6, rounds=3)
    chosen = settings(split_by=split_by, test_fraction=0.25, validation_fraction=0.2)
    parts = []
    for n in (6, 12, 18):
        result = train.run(chosen, bench, candidates[:n], SCALED, f"round {n // 6}")
        parts.append(bench.runner.one(result.tasks["dataset"]))
    for early, late in ((0, 1), (1, 2)):
        n = 6 * (early + 1)
        for part in ("train", "validation", "test"):
            assert parts[early][part] == [i for i in parts[late][part] if i < n]
    groups = [train.group_of(candidate, split_by) for candidate in candidates]
    assert {groups[i] for i in parts[2]["test"]}.isdisjoint(groups[i] for i in parts[2]["train"])
    if split_by == "ordering":
        assert set(groups) == {f"#{i}" for i in range(6)}
        assert {candidates[i].facts["temperature_K"] for i in parts[2]["test"]} == {400.0, 600.0, 800.0}


def test_rounds_are_those_of_the_candidates_where_they_say_so(workbench):
    candidates = labelled(workbench(scaled={}), n_runs=2, rounds=2)
    assert train.rounds_of(candidates) == [0, 0, 1, 1]
    told = [replace(c, facts={**c.facts, "round": 7 - i}) for i, c in enumerate(candidates)]
    assert train.rounds_of(told) == [7, 6, 5, 4]


def test_a_turned_sign_of_stress_stops_the_campaign_before_it_trains(workbench):
    bench = workbench(scaled={})
    candidates = labelled(bench, stress_factor=-1.0)
    with pytest.raises(StageError, match="sign of stresses") as caught:
        train.run(settings(), bench, candidates, SCALED)
    assert "preflight: warn" in (caught.value.fix or "")
    assert not any("training " in task.label and task.label[-1].isdigit() for task in bench.runner.used.values())
    warned = train.run(settings(preflight="warn"), bench, candidates, SCALED)
    assert any("sign of stresses" in note for note in warned.summary["notes"])


def test_options_of_a_trainer_are_judged(workbench):
    bench = workbench(scaled={})
    assert train.options_for(settings(options={"mode": "other"}), SCALED)[1]["mode"] == "other"
    assert "learning_rate" not in train.options_for(settings(), SCALED)[1]
    with pytest.raises(CampaignFileError, match="unknown"):
        train.options_for(settings(options={"modus": 1}), SCALED)
    pair = bench.potentials["pair"]
    with pytest.raises(CampaignFileError, match="no trainer"):
        train.options_for(settings(), pair)


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
    monkeypatch.setattr(base, "METHODS", {**base.METHODS, "scaled": {"multihead": {"mode": "multihead"}}})
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
    candidates = labelled(bench)
    options = {"options": {"mode": "multihead"}}
    result = train.run(settings(replay=replay_file(tmp_path / "a" / "r.xyz"), **options), bench, candidates, SCALED)
    (given,) = replayed
    assert given.targets.energies_eV.tolist() == [-100.0, -101.0, -102.0]
    assert [float(forces[0, 0]) for forces in given.targets.forces_eV_per_A] == [0.0, 1.0, 2.0]
    assert np.isnan(given.targets.stresses_eV_per_A3[0]).all()
    assert given.targets.stresses_eV_per_A3[1].tolist() == [0.01] * 6
    assert result.summary["n_replay"] == 3
    assert not any("replay" in note for note in result.summary["notes"])
    # The same content elsewhere is the same training; other content is another one.
    again = settings(replay=replay_file(tmp_path / "b" / "r.xyz"), **options)
    assert train.run(again, bench, candidates, SCALED).tasks["weights"].key == result.tasks["weights"].key
    other = settings(replay=replay_file(tmp_path / "b" / "r.xyz", n=2), **options)
    assert train.run(other, bench, candidates, SCALED).tasks["weights"].key != result.tasks["weights"].key
    plain = train.run(settings(), bench, candidates, SCALED)
    assert replayed[-1] is None
    assert "n_replay" not in plain.summary


def test_the_pretrained_potential_labels_the_ranking_or_the_structures_of_a_file(
    workbench, replayed, tmp_path, monkeypatch
):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    bench = workbench(scaled={})
    candidates = labelled(bench)
    ranked = candidates[:2]
    options = {"mode": "multihead"}
    train.run(settings(replay="foundation", options=options), bench, candidates, SCALED, "", ranked)
    given = replayed[-1]
    relaxed = [bench.runner.one(c.structure.task)["atoms"][c.structure.path[1]] for c in ranked]
    for atoms, first, energy in zip(given.structures, relaxed, given.targets.energies_eV, strict=True):
        moved = (atoms.get_scaled_positions() - first.get_scaled_positions() + 0.5) % 1.0 - 0.5
        assert 0.05 < np.sqrt(np.mean((moved @ first.cell.array) ** 2)) < 0.12
        assert 0.001 < np.abs(atoms.cell.array - first.cell.array).max() < 0.5
        assert energy == pytest.approx(load_potential("pair").evaluate(atoms).energy_eV)
    with pytest.raises(StructureError, match="no ranked structures"):
        train.run(settings(replay="foundation", options=options), bench, candidates, SCALED)
    # All members of a committee replay the same.
    of_ranking = settings(replay="foundation", options=options)
    first = train.run(of_ranking, bench, candidates, SCALED, "", ranked)
    learning._members(of_ranking, bench, candidates, SCALED, first, 3, "")
    assert all(np.array_equal(m.targets.energies_eV, given.targets.energies_eV) for m in replayed[-2:])
    assert len(replayed) == 3
    # What a file says is left aside where the pretrained potential is to label it.
    task = replay_data(replay_file(tmp_path / "r.xyz"), bench, "train", SCALED, (), by_foundation=True)
    found = bench.runner.one(task)
    assert found["n"] == 3
    assert found["targets"]["energies_eV"][0] == pytest.approx(
        load_potential("pair").evaluate(li3ycl6_cell()).energy_eV
    )


def test_declared_energies_are_taken_as_they_are():
    cells = [li3ycl6_cell() for _ in range(3)]
    declared = {"Li": 1.0, "Y": -2.0, "Cl": 0.5}
    shift = sum(declared[symbol] for symbol in cells[0].get_chemical_symbols())
    labels = [{"energy_eV": -100.0 + shift + 0.3 * number} for number in range(3)]
    parts = {"train": [0, 1], "validation": [2], "test": []}
    inputs = {"atoms": cells, "labels": labels, "baseline": np.full(3, -100.0), "declared": declared}
    found = dataset_task({"parts": parts}, inputs, None)
    assert found["element_references_eV"] == declared
    assert not found["degenerate"]
    assert found["shifts_eV"] == pytest.approx(np.full(3, shift))
    assert found["rms_residual_eV_per_atom"] == pytest.approx(0.3 / np.sqrt(2) / len(cells[0]))
