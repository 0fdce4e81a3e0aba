"""Potentials measured on labels whose errors are known because they were put into them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from superionic.campaign import comparing
from superionic.campaign.comparing import ComparedModel, _at_hand, _chosen, advise, compare_models, evaluate_models
from superionic.campaign.prepare import choose_potential
from superionic.cli.train import evaluate_command
from superionic.errors import CampaignFileError, PotentialError, StructureError
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.training.dataset import Targets
from superionic.training.metrics import errors
from superionic.units import GPA_PER_EV_PER_A3

SHIFT_EV_PER_ATOM, FIRMER, BIAS_GPA = 0.25, 1.25, 1.5


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """Labels of a reference that lies lower, is firmer and feels less pressure than the pair potential."""
    potential, frames, forces = load_potential("pair"), [], []
    for seed in range(12):
        atoms = li3ycl6_cell()
        atoms.rattle(0.05, seed=seed)
        made = potential.evaluate(atoms)
        forces.append(made.forces_eV_per_A)
        stress = np.array(made.stress_eV_per_A3)
        stress[:3] -= BIAS_GPA / GPA_PER_EV_PER_A3
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=made.energy_eV - SHIFT_EV_PER_ATOM * len(atoms),
            forces=FIRMER * made.forces_eV_per_A,
            stress=stress,
        )
        frames.append(atoms)
    file = tmp_path_factory.mktemp("labels") / "labels.extxyz"
    write(file, frames)
    return file, np.concatenate(forces)


def test_errors_that_were_put_in_come_out(labels, tmp_path):
    file, forces = labels
    table = tmp_path / "table.csv"
    command = [sys.executable, "-m", "superionic.cli", "models", "compare", str(file), "--model", "pair"]
    done = subprocess.run([*command, "--json", "--csv", str(table)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    (pair,) = result["models"]
    assert result["n_labels"] == 12
    assert pair["shift_eV_per_atom"] == pytest.approx(SHIFT_EV_PER_ATOM, abs=1e-7)
    assert pair["errors"]["mae_energy_meV_per_atom"] == pytest.approx(0.0, abs=1e-4)
    assert pair["errors"]["force_slope"] == pytest.approx(1.0 / FIRMER, abs=1e-6)
    assert pair["errors"]["mae_force_meV_per_A"] == pytest.approx(
        1e3 * (FIRMER - 1.0) * np.abs(forces).mean(), rel=1e-5
    )
    assert pair["errors"]["mean_error_stress_GPa"] == pytest.approx(BIAS_GPA, abs=1e-4)
    assert pair["cpu_us_per_atom"] > 0.0
    with table.open(encoding="utf-8") as handle:
        (row,) = csv.DictReader(handle)
    assert float(row["force_slope"]) == pair["errors"]["force_slope"]
    ranking, sampling, teacher = result["advice"]
    assert sampling["name"] is None
    assert "fine-tune" in sampling["reason"]
    assert "0.80 of the reference's" in teacher["reason"]
    assert "+1.50 GPa" in ranking["reason"]


def test_a_part_of_the_labels_and_what_cannot_be_compared(labels, tmp_path):
    file, _ = labels
    assert compare_models([file], ["pair"], most=3).n_labels == 3
    with pytest.raises(PotentialError, match="no potential called 'pear'"):
        compare_models([file], ["pear"])
    empty = tmp_path / "empty.extxyz"
    empty.write_text("")
    with pytest.raises(StructureError, match="no labels to compare with"):
        compare_models([empty], ["pair"])


def test_any_models_are_evaluated_on_any_sets_with_one_shift_for_each_model(labels, tmp_path, capsys):
    frames = read(labels[0], ":4")
    for atoms in frames[2:]:  # the second set lies 0.2 eV/atom higher: a shift for each set would hide that
        atoms.calc.results["energy"] += 0.2 * len(atoms)
    write(tmp_path / "low.extxyz", frames[:2])
    write(tmp_path / "high.extxyz", frames[2:])
    files = [str(tmp_path / name) for name in ("low.extxyz", "high.extxyz")]
    result = evaluate_models(["pair"], files)
    assert result.sets == {"low": 2, "high": 2}
    assert result.shifts_eV_per_atom["pair"] == pytest.approx(SHIFT_EV_PER_ATOM - 0.1, abs=1e-6)
    low, high = result.rows
    assert (low.set, high.set) == ("low", "high")
    assert low.errors.mean_error_energy_meV_per_atom == pytest.approx(100.0, abs=1e-3)
    assert high.errors.mean_error_energy_meV_per_atom == pytest.approx(-100.0, abs=1e-3)
    assert high.errors.force_slope == pytest.approx(1.0 / FIRMER, abs=1e-6)
    evaluate_command([*files, "pair"], csv=tmp_path / "table.csv")
    assert "errors on labels" in capsys.readouterr().out
    with (tmp_path / "table.csv").open(encoding="utf-8") as handle:
        assert [(row["model"], row["set"], row["labels"]) for row in csv.DictReader(handle)] == [
            ("pair", "low", "2"),
            ("pair", "high", "2"),
        ]
    with pytest.raises(CampaignFileError, match="no potentials"):
        evaluate_command(files)
    with pytest.raises(CampaignFileError, match="no labels"):
        evaluate_command(["pair"])


def test_corrections_by_element_are_no_error(labels, tmp_path):
    frames, potential = read(labels[0], ":3"), load_potential("pair")
    salts = [bulk("LiCl", "rocksalt", a=5.1 + 0.05 * n, cubic=True) for n in range(3)]
    for atoms in salts:
        made = potential.evaluate(atoms)
        atoms.calc = SinglePointCalculator(
            atoms, energy=made.energy_eV - SHIFT_EV_PER_ATOM * len(atoms), forces=made.forces_eV_per_A
        )
    for atoms in [*frames, *salts]:
        atoms.calc.results["energy"] += 0.6 * atoms.get_chemical_symbols().count("Cl")
    write(tmp_path / "both.extxyz", [*frames, *salts])
    (pair,) = compare_models([tmp_path / "both.extxyz"], ["pair"]).models
    assert pair.errors.mae_energy_meV_per_atom == pytest.approx(0.0, abs=1e-4)
    by_set = evaluate_models(["pair"], [tmp_path / "both.extxyz"])
    assert by_set.rows[0].errors.mae_energy_meV_per_atom == pytest.approx(0.0, abs=1e-4)


def candidate(name, *, energy_meV, force_meV, slope, cost_us, bias_GPa=0.0, n=20):
    """A candidate whose errors are computed from values that have just these."""
    rng = np.random.default_rng(1)
    forces = [rng.standard_normal((10, 3)) for _ in range(n)]
    signs = [rng.choice([-1.0, 1.0], (10, 3)) for _ in range(n)]
    # Errors that have nothing to do with the forces leave the slope alone.
    noise = [
        sign - np.vdot(sign, force) / np.vdot(force, force) * force for sign, force in zip(signs, forces, strict=True)
    ]
    stress = np.zeros((n, 6))
    reference = Targets(np.zeros(n), tuple(forces), stress)
    stress = stress.copy()
    stress[:, :3] += bias_GPa / GPA_PER_EV_PER_A3
    predicted = Targets(
        1e-2 * energy_meV * np.resize([1.0, -1.0], n),
        tuple(slope * force + 1e-3 * force_meV * off for force, off in zip(forces, noise, strict=True)),
        stress,
    )
    return ComparedModel(name, name, "own: x", errors(predicted, reference), 0.0, cost_us)


@pytest.mark.engine("sevennet")
def test_without_names_every_installed_model_of_known_error_is_a_candidate():
    assert {"sevennet:7net-l3i5", "sevennet:7net-0"} <= set(_at_hand())
    assert _chosen("sevennet").identity.model == "7net-l3i5"


def test_each_purpose_has_its_own_best():
    exact = candidate("exact", energy_meV=1.1, force_meV=20, slope=0.99, cost_us=8000)
    quick = candidate("quick", energy_meV=1.2, force_meV=35, slope=0.97, cost_us=900)
    soft = candidate("soft", energy_meV=4.0, force_meV=36, slope=0.80, cost_us=40, bias_GPa=2.7)
    assert {advice.purpose: advice.name for advice in advise([soft, quick, exact])} == {
        "ranking": "quick",  # no more than a quarter worse than the best, at a ninth of its cost
        "sampling": "quick",  # the soft one would be faster, but what it shows is that of a hotter crystal
        "teacher": "exact",
    }


def test_what_is_unfit_for_cells_teaches_nothing_and_may_sample_in_them():
    first_look = replace(candidate("first look", energy_meV=1.0, force_meV=20, slope=1.0, cost_us=20), rigid_cell=True)
    exact = candidate("exact", energy_meV=1.1, force_meV=22, slope=0.99, cost_us=8000)
    ranking, sampling, teacher = advise([first_look, exact])
    assert (ranking.name, sampling.name, teacher.name) == ("exact", "first look", "exact")
    assert "keep cells as they are" in sampling.reason
    assert {advice.name for advice in advise([first_look])} == {None}


def test_few_labels_and_a_pressure_that_is_off_are_said():
    few = candidate("few", energy_meV=1.0, force_meV=20, slope=1.0, cost_us=1, bias_GPa=-0.5, n=5)
    for advice in advise([few]):
        assert "-0.50 GPa" in advice.reason
        assert "5 labels decide little" in advice.reason


@pytest.mark.engine("chgnet")
def test_a_candidate_may_have_dispersion(labels):
    file, _ = labels
    found = evaluate_models(["chgnet", "chgnet+d3bj"], [file])
    plain, corrected = found.rows
    assert corrected.errors.mae_force_meV_per_A == pytest.approx(plain.errors.mae_force_meV_per_A, rel=1e-3)
    assert any(note.startswith("chgnet+d3bj has D3(BJ), the labels have no dispersion") for note in found.notes)


def test_dispersion_that_the_labels_lack_is_added_for_a_potential_that_has_it(labels, monkeypatch):
    pytest.importorskip("dftd3")
    file, _ = labels

    def with_term(name):
        return choose_potential(name, "pair", None, {"dispersion": {"method": "d3bj", "functional": "PBE"}}, where=name)

    plain = evaluate_models(["pair"], [file])
    monkeypatch.setattr(comparing, "_chosen", with_term)
    corrected = evaluate_models(["pair"], [file])
    # The term is in both, so that the errors are those of the potentials without it.
    assert corrected.rows[0].errors.mae_force_meV_per_A == pytest.approx(plain.rows[0].errors.mae_force_meV_per_A)
    assert corrected.rows[0].errors.mean_error_stress_GPa == pytest.approx(plain.rows[0].errors.mean_error_stress_GPa)
    assert corrected.notes == (
        "pair has D3(BJ, PBE), the labels have no dispersion: D3(BJ, PBE) was added to them for it",
    )
    assert plain.notes == ()
