"""The second half of a trial: its campaign, and what a small real one by the pair potential says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from superionic.campaign import trial
from superionic.campaign.file.load import parse_campaign
from superionic.campaign.initialise import CrystalOptions, guess_settings
from superionic.campaign.trial.first_look import FirstLook, TrialTemperature
from superionic.campaign.trial.model_error import ModelError, model_error, published
from superionic.campaign.trial.screening import (
    judge_screening,
    screening_temperatures_K,
    screening_text,
    with_model_error,
)
from superionic.cli.main import main
from superionic.transport.conductivity.line import ConductivityAt
from superionic.transport.estimate import Estimate

CIF = Path(__file__).parents[3] / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"
PAIR = {"engine": "pair"}
SMALLER = {
    "  epochs: 120": "  epochs: 40\n  learning_rate: 0.008\n"
    "  options: {n_radial: 4, n_angular: 3, l_max: 2, n_neurons: 10, batch_size: 4, cutoff_angular_A: 4}",
    "refit_epochs: 40": "refit_epochs: 10",
    "final_epochs: 250": "final_epochs: 60",
    "supercell: 1x1x2                # 60 atoms": "supercell: 1x1x1                # 30 atoms",
    "max_labels: 240": "max_labels: 60",
    "seed_labels: 96": "seed_labels: 36",
    "run_ps: [4, 8]": "run_ps: [0.4, 0.4]\n    seed_ps: 0.1\n    seed_runs: 2",
    "runs: 6": "runs: 2",
    "gate_frames: 8": "gate_frames: 3",
    "gate_ps: 4": "gate_ps: 0.4",
    "supercell: 2x1x2": "supercell: 1x1x1",
    "[630, 700, 790, 900]": "[1000, 1400]",
    "below_K: 790": "below_K: 1200",
    "heating_ps: 1": "heating_ps: 0.1",
    "nvt_equilibration_ps: 4\n": "nvt_equilibration_ps: 0.2\n",
    "nvt_equilibration_ps: 4,": "nvt_equilibration_ps: 0.2,",
    "production_ps: 80": "production_ps: 6",
    "production_ps: 160": "production_ps: 12",
    "density_grid_A: null": "density_grid_A: null\n  sites: none",
}


def look(*temperatures):
    """Write a first look: of each temperature whether ions diffuse and whether the framework holds."""
    runs = tuple(
        TrialTemperature(
            t, 20.0, Estimate(1e-5, 1e-6, (9e-6, 1.1e-5), (8e-6, 1.2e-5), not moves), 3.0, holds, (), 3, ()
        )
        for t, moves, holds in temperatures
    )
    return FirstLook("LiX", "Li", 100, "nep89", "conducts", "", runs, (), "")


def test_temperatures_end_where_the_framework_still_holds():
    holding = look((700.0, True, True), (850.0, True, True), (1000.0, True, True))
    assert screening_temperatures_K(holding) == (600.0, 690.0, 820.0, 1000.0)
    assert screening_temperatures_K(look((700.0, False, True), (1000.0, True, False)))[-1] == 700.0
    assert screening_temperatures_K(look((700.0, False, True), (1000.0, True, False)))[0] == 490.0
    assert screening_temperatures_K(look((700.0, True, False), (850.0, True, True)))[-1] == 650.0
    assert screening_temperatures_K(None) == (630.0, 700.0, 790.0, 900.0)


def test_the_file_is_a_campaign_of_one_student_that_never_moves_the_cell():
    guess = guess_settings(CIF, CrystalOptions())
    teacher, fast = {"engine": "nequix", "model": "nequix-omat-1"}, {"engine": "nep", "model": "nep89"}
    file = parse_campaign(
        screening_text(CIF, guess, ".", teacher, fast, (600.0, 690.0, 820.0, 1000.0)), Path("screening.yaml")
    )
    assert list(file.potentials) == ["nep89", "nequix-omat-1"]
    assert (file.rank.potential, file.rank.relax_cell, file.distil.teacher) == ("nep89", False, "nequix-omat-1")
    own = file.distil.on_policy
    assert (file.distil.students, own.max_labels, own.seed_potential) == (1, 240, "nep89")
    assert (file.transport.npt_ps, own.gate_npt_ps, own.constant_pressure) == (0.0, 0.0, False)
    assert file.transport.long_runs.below_K == 820.0
    assert file.transport.long_runs.production_ps == 160.0
    # Where the fast potential lacks an element, the teacher ranks fewer orderings and moves the seeds itself.
    alone = parse_campaign(screening_text(CIF, guess, ".", teacher, None, (900.0,)), Path("screening.yaml"))
    assert list(alone.potentials) == ["nequix-omat-1"]
    assert (alone.enumerate.ewald_keep, alone.distil.on_policy.seed_potential) == (2, None)


def test_an_element_that_the_fast_potential_lacks_is_found_before_anything_is_run(tmp_path):
    assert trial.Trial(CIF, folder=tmp_path, teacher=PAIR).lacking == ()
    text = CIF.read_text(encoding="utf-8").replace("Y", "Po")
    (tmp_path / "po.cif").write_text(text, encoding="utf-8")
    options = CrystalOptions(oxidation_states={"Li": 1, "Po": 3, "Cl": -1})
    assert trial.Trial(tmp_path / "po.cif", folder=tmp_path, teacher=PAIR, options=options).lacking == ("Po",)


def test_the_error_of_the_model_is_added_in_quadrature():
    stated = ConductivityAt(300.0, 1e-3, (5e-4, 2e-3), (2.5e-4, 4e-3), math.log(2.0), True, False, "line")
    error = ModelError(math.log10(3.0), "prior", 0)
    wide = with_model_error(stated, error)
    assert wide.log_error == pytest.approx(math.hypot(math.log(2.0), math.log(3.0)))
    assert math.log(wide.interval68_S_per_cm[1] / 1e-3) == pytest.approx(wide.log_error, rel=1e-3)
    assert math.log(1e-3 / wide.interval95_S_per_cm[0]) == pytest.approx(
        math.hypot(math.log(4.0), 1.96 * math.log(3.0)), rel=1e-3
    )


def test_a_small_trial_to_the_end(tmp_path, monkeypatch, capsys):
    written = trial.screening_text

    def smaller(*arguments):
        text = written(*arguments)
        for old, new in SMALLER.items():
            assert old in text, old
            text = text.replace(old, new)
        return text

    monkeypatch.setattr(trial, "screening_text", smaller)
    monkeypatch.setattr(trial.Trial, "lacking", ("Y",))  # without a first look, by the teacher alone
    command = ["try", str(CIF), "--folder", str(tmp_path / "try"), "--potential", "pair", "--teacher", "pair"]
    with pytest.raises(SystemExit):
        main([*command, "--quiet"])
    shown = " ".join(capsys.readouterr().out.split())
    tried = trial.Trial(CIF, folder=tmp_path / "try", potential=PAIR, teacher=PAIR).run()  # nothing is left to compute
    seen = tried.screening
    assert (tried.first_look, tried.ended) == (None, "")
    assert (seen.formula, seen.mobile_ion, seen.n_atoms, seen.teacher) == ("Li3YCl6", "Li", 30, "pair")
    assert seen.model_error == model_error("pair", published())
    assert [each.temperature_K for each in seen.temperatures] == [1000.0, 1400.0]
    assert seen.model_error.words in shown
    assert f"by a student of pair ({seen.n_labels} labels), 30 atoms in the refined cell" in shown
    assert all(words in shown for words in (*seen.cautions, *seen.improvements))
    with pytest.raises(SystemExit):
        main([*command, "--json"])
    assert json.loads(capsys.readouterr().out)["screening"]["reason"] == seen.reason
    assert seen.cautions[0] == "that Li is the mobile ion is a guess (--mobile-ion)"
    # Where the analysis gives no line, that is the reason, and not a framework that does not hold.
    results = trial.Trial(CIF, folder=tmp_path / "try", teacher=PAIR).screening_campaign(None).run(write_report=False)
    repaired = sum(one.labels for one in results.distil.rounds if one.is_repair)  # besides the budget of labels
    assert 40 <= seen.n_labels - repaired <= 60
    bare = replace(results, analyse=replace(results.analyse, arrhenius=()))
    unlined = judge_screening(bare, guess_settings(CIF, CrystalOptions()), seen.model_error, "", "")
    assert (unlined.conductivity, unlined.reason) == (None, "the analysis of the runs gave no line")
    # Where nothing moves, that is said instead.
    still = tuple(
        replace(each, hops_per_ion=0.0, diffusivity_cm2_per_s=replace(each.diffusivity_cm2_per_s, is_upper_bound=True))
        for each in seen.temperatures
    )
    monkeypatch.setattr("superionic.campaign.trial.screening.runs_by_temperature", lambda _: still)
    resting = judge_screening(bare, guess_settings(CIF, CrystalOptions()), seen.model_error, "", "")
    assert resting.reason.startswith("no hops up to 1400 K in ")
    # σ(300 K) and Ea are wider than the line alone says by the error of the model.
    own = seen.dependence
    assert seen.conductivity == with_model_error(own.headline, seen.model_error)
    assert "screening: σ(300 K) = " in shown
    assert seen.Ea_error_eV > own.Ea_error_eV
