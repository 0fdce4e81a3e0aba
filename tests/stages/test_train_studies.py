"""Studies of training on a file of labels, with a trainer of one weight."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from superionic.campaign.study import parse_options, read_table, write_results
from superionic.errors import CampaignFileError, StageError, StructureError
from superionic.potentials.base import describe_potential, load_potential
from superionic.registry import Model, models
from superionic.results.studies import StabilityTest
from superionic.stages.base import ChosenPotential
from superionic.stages.label_file import Facts, read_task
from superionic.stages.studies import SplitRule, check, curve, divide, open_study
from superionic.stages.study_compare import choose_methods, compare
from superionic.stages.study_search import search

SCALE = 1.4
SCALED = ChosenPotential(
    "scaled",
    replace(describe_potential("pair"), name="scaled"),
)
CELL = np.diag([5.2, 5.2, 5.2])


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


@pytest.fixture
def labels(tmp_path):
    """Write 15 labels of five runs; noise makes small sets worse."""
    rng = np.random.default_rng(3)
    teacher, frames = load_potential("pair"), []
    for number in range(15):
        atoms = Atoms("Li4Cl4", cell=CELL, pbc=True, scaled_positions=np.argwhere(np.ones((2, 2, 2))) / 2.0)
        atoms.numbers = [3, 17, 17, 3, 17, 3, 3, 17]
        atoms.positions += rng.normal(0.0, 0.1, (8, 3))
        prediction = teacher.evaluate(atoms)
        forces = SCALE * prediction.forces_eV_per_A + rng.normal(0.0, 0.2, (8, 3))
        stress = SCALE * np.array(prediction.stress_eV_per_A3)
        atoms.calc = SinglePointCalculator(
            atoms, energy=SCALE * prediction.energy_eV - 3.0, forces=forces, stress=stress
        )
        atoms.info.update(run=f"run{number // 3}", temperature_K=300.0 + 100 * (number // 3), phase="rocksalt")
        frames.append(atoms)
    path = tmp_path / "labels.extxyz"
    write(path, frames)
    return path


def opened(bench, path, **more):
    return open_study(bench, str(path), path.name, SCALED, **more)


def test_a_file_is_read_as_it_was_written(labels):
    label_file = read_task(None, file=str(labels), name="labels.extxyz")
    assert len(label_file.atoms) == 15
    assert label_file.facts[4] == Facts(
        run="run1",
        ordering="run1",
        composition="Cl4Li4",
        phase="rocksalt",
        temperature_K=400.0,
        round=0,
        set=None,
    )
    assert label_file.labels[0].stress_eV_per_A3.shape == (6,)


def test_other_names_of_values_and_missing_ones(tmp_path):
    atoms = Atoms("LiCl", cell=CELL, pbc=True, positions=[[0, 0, 0], [2.6, 0, 0]])
    atoms.info.update(REF_energy=-3.5, REF_stress=np.eye(3), origin={"group": "a run"})
    atoms.arrays["REF_forces"] = np.ones((2, 3))
    write(tmp_path / "ref.extxyz", atoms)
    label_file = read_task(None, file=str(tmp_path / "ref.extxyz"), name="ref")
    assert label_file.labels[0].energy_eV == -3.5
    assert label_file.labels[0].stress_eV_per_A3.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert label_file.facts[0].run == "a run"
    write(tmp_path / "bare.extxyz", Atoms("Li", cell=CELL, pbc=True))
    for content in ("bare", "nothing"):
        path = tmp_path / f"{content}.extxyz"
        if not path.exists():
            path.write_text("this is no extended XYZ\n")
        with pytest.raises(StructureError) as caught:
            read_task(None, file=str(path), name=path.name)
        assert caught.value.fix


def fact(run, part=None, number=0):
    return Facts(run, run, "x", None, None, number, part)


def parts(split):
    return split.train, split.validation, split.test


def test_a_division_follows_the_file_then_the_named_runs_then_the_shares():
    by_file = [fact("a", "test"), fact("a"), fact("b", "validation")]
    assert parts(divide(by_file, SplitRule(), 0)) == ((1,), (2,), (0,))
    runs = [fact(f"r{i // 2}") for i in range(10)]
    split = divide(runs, SplitRule(test_runs=("r1",), validation_runs=("r3",)), 0)
    assert parts(split) == ((0, 1, 4, 5, 8, 9), (6, 7), (2, 3))
    split = divide(runs, SplitRule(test_runs=("r1",), validation_fraction=0.3), 0)
    assert split.test == (2, 3)
    assert len(split.validation) == 2
    assert not split.notes
    with pytest.raises(StageError, match="nowhere"):
        divide(runs, SplitRule(test_runs=("nowhere",)), 0)
    with pytest.raises(StageError, match="validation"):
        divide([fact("a", "train"), fact("b", "test")], SplitRule(), 0)


def test_check(workbench, labels):
    checked = check(opened(workbench(), labels))
    assert checked.n_train + checked.n_validation + checked.n_test == 15
    assert [finding for finding in checked.findings if finding.severity == "error"] == []
    # One composition cannot tell lithium's energy from chlorine's, only their sum.
    assert checked.element_references_degenerate
    assert set(checked.element_references_eV) == {"Li", "Cl"}
    assert checked.rms_residual_eV_per_atom < 0.2


def test_a_curve_is_of_nested_sets_on_one_test_set_and_is_not_computed_twice(workbench, labels, tmp_path):
    bench = workbench()
    study = opened(bench, labels, options={"epochs": 30})
    own = [{"n": n, "Ea_error_meV": 60.0 / n} for n in (2, 4, 8)]
    measured = curve(study, [2, 4, 9], seeds=2, same="epochs", worth=0.05, further=[9], table=own)
    assert [row.n for row in measured.rows] == [0, 2, 4, 9, 2, 4, 9]
    assert measured.rows[0].errors.mae_force_meV_per_A > measured.rows[3].errors.mae_force_meV_per_A
    assert measured.laws["mae_force_meV_per_A"].n_points == 6
    assert measured.laws["Ea_error_meV"].b == pytest.approx(1.0)
    assert measured.enough["Ea_error_meV"].verdict == "more labels help"
    assert measured.budget["Ea_error_meV"][0].expected == pytest.approx(60.0 / 17)
    executed = dict(bench.runner._ledger.completions())
    again = curve(opened(bench, labels, options={"epochs": 30}), [2, 4, 9], seeds=2, same="epochs", worth=0.05,
                  further=[9], table=own)  # fmt: skip
    assert again == measured
    assert bench.runner._ledger.completions() == executed
    written = write_results(tmp_path / "out", "curve", measured)
    assert {path.name for path in written} == {"curve.json", "curve.csv", "size_curve.png", "size_curve.svg"}
    rows = json.loads(written[0].read_text())["rows"]
    assert [row["errors"]["mae_force_meV_per_A"] for row in rows] == [
        row.errors.mae_force_meV_per_A for row in measured.rows
    ]
    assert read_table(written[1])[1]["n"] == 2


def test_small_sets_get_as_many_steps(workbench, labels):
    study = opened(workbench(), labels, options={"epochs": 4, "batch_size": 1})
    measured = curve(study, [3, 9], same="steps")
    assert [row.epochs for row in measured.rows] == [0, 12, 4]
    with pytest.raises(StageError, match="sizes"):
        curve(study, [100])


def test_a_search_goes_by_the_validation_loss_alone(workbench, labels):
    bench = workbench()
    study = opened(bench, labels, options={"epochs": 2})
    result = search(study, {"learning_rate": [0.1, 1.0, 2.0], "epochs": [2, 20]})
    losses = [row.validation_loss for row in result.rows]
    assert losses == sorted(losses)
    assert result.best["epochs"] == 20
    assert result.after.mae_force_meV_per_A < result.before.mae_force_meV_per_A
    # Only one training was ever judged on the test set.
    assert sum(task.label.startswith("errors of") for task in bench.runner.used.values()) == 1
    gridded = search(study, {"learning_rate": [0.1, 1.0], "epochs": [2, 20]}, grid=True)
    assert len(gridded.rows) == 4
    with pytest.raises(CampaignFileError, match="force_weight"):
        search(study, {"force_weight": [1.0, 2.0]})


def test_a_comparison_has_errors_forgetting_and_stability(workbench, labels, tmp_path):
    others = tmp_path / "others.extxyz"
    write(others, [Atoms("LiCl", cell=CELL, pbc=True, positions=[[0, 0, 0], [2.6, 0.1 * i, 0]]) for i in range(4)])
    study = opened(workbench(), labels, options={"epochs": 12})
    comparison = compare(study, choose_methods("scaled"), others=str(others), stability=StabilityTest(300.0, 0.02, 1.0))
    rows = {row.method: row for row in comparison.rows}
    assert list(rows) == ["pretrained", "naive", "slow"]
    errors = {name: row.errors.mae_force_meV_per_A for name, row in rows.items()}
    assert errors["naive"] < errors["slow"] < errors["pretrained"]
    moved = {name: row.forgotten.mae_force_meV_per_A for name, row in rows.items()}
    assert moved["naive"] > moved["slow"] > moved["pretrained"] == 0.0
    assert all(row.run.stable and row.run.stable_ps == pytest.approx(0.02) for row in rows.values())
    assert (comparison.n_others, comparison.n_replay) == (2, 2)
    cells = rows["naive"].cells()
    assert cells["forgotten_mae_force_meV_per_A"] == moved["naive"]
    assert cells["stable"] is True
    # The mobile ion is the one that usually conducts; at 300 K the anions keep their sites.
    assert comparison.stability.mobile_ion == "Li"
    assert cells["off_sites"] == 0.0
    assert cells["closest_Li-Cl_A"] == rows["naive"].run.distances[1].closest_A
    assert 1.8 < cells["closest_Li-Cl_A"] < 2.6
    # Its structures are those of the labels at the temperature nearest to its own.
    assert (comparison.labelled.n_labels, comparison.labelled.temperature_K) == (3, 300.0)
    assert [each.pair for each in rows["naive"].overlaps] == ["Li-Li", "Li-Cl", "Cl-Cl"]
    # All push the same atoms together; energies and forces are the pretrained ones times the trained scale.
    curves = {name: row.repulsion[0] for name, row in rows.items()}
    assert len({curve.distances_A for curve in curves.values()}) == 1
    scale = curves["naive"].energies_eV[-1] / curves["pretrained"].energies_eV[-1]
    assert scale == pytest.approx(SCALE, rel=0.1)
    assert curves["naive"].forces_eV_per_A == pytest.approx([scale * f for f in curves["pretrained"].forces_eV_per_A])
    assert cells["hole_Li-Li_A"] is None
    names = {path.name for path in write_results(tmp_path / "out", "compare", comparison)}
    figures = {f"{name}.{kind}" for name in ("pair_distances", "repulsion") for kind in ("csv", "png", "svg")}
    assert names == {"compare.json", "compare.csv"} | figures
    written = (tmp_path / "out" / "repulsion.csv").read_text().splitlines()
    assert written[0] == "method,seed,pair,distance_A,energy_eV,force_eV_per_A"
    assert len(written) - 1 == sum(len(curve.distances_A) for row in comparison.rows for curve in row.repulsion)


def test_a_run_that_blows_up_is_told(workbench, labels, tmp_path):
    study = opened(workbench(), labels, options={"epochs": 1})
    comparison = compare(study, choose_methods("scaled", ["naive"]), stability=StabilityTest(50000.0, 0.5, 10.0))
    run = comparison.rows[1].run
    assert not run.stable
    assert run.stopped
    assert run.stable_ps < 0.5
    # What it did before counts.
    assert run.distances
    assert write_results(tmp_path, "compare", comparison)
    with pytest.raises(CampaignFileError, match="Na"):
        compare(study, choose_methods("scaled", ["naive"]), stability=StabilityTest(300.0, 0.01, 1.0, "Na"))


def test_ways_of_training_are_named():
    assert set(choose_methods("mace")) == {"naive", "frozen", "lora", "multihead", "scratch"}
    with pytest.raises(CampaignFileError, match="multihead"):
        choose_methods("chgnet", ["multihead"])
    with pytest.raises(CampaignFileError, match="pair"):
        choose_methods("pair")


def test_options_as_people_write_them():
    assert parse_options(["learning-rate=1e-4", "freeze=none", "patience=null", "epochs=3"]) == {
        "learning_rate": 1e-4,
        "freeze": "none",
        "patience": None,
        "epochs": 3,
    }
    assert parse_options(["batch_size=2,4"], several=True) == {"batch_size": [2, 4]}
    for wrong in (["epochs"], ["epochs=1", "epochs=2"]):
        with pytest.raises(CampaignFileError):
            parse_options(wrong)


def test_a_table_needs_a_column_of_numbers_of_labels(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("n,sigma\n8,0.1\n16,0.05\n")
    assert read_table(path) == [{"n": 8, "sigma": 0.1}, {"n": 16, "sigma": 0.05}]
    path.write_text("size,sigma\n8,0.1\n")
    with pytest.raises(StructureError, match="column n"):
        read_table(path)
    with pytest.raises(StructureError):
        read_table(tmp_path / "absent.csv")
