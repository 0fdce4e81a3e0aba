"""First looks at crystals: small real runs by the pair potential, and what is said of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import superionic as si
from superionic.campaign import trial
from superionic.campaign.file.load import load_campaign
from superionic.campaign.initialise import CrystalOptions
from superionic.campaign.trial import first_look
from superionic.campaign.trial.cost import UnitCosts, with_measured
from superionic.cli.main import main
from superionic.errors import CampaignFileError, PotentialError
from superionic.transport.estimate import Estimate
from superionic.transport.observables.framework import FrameworkMotion

EXAMPLE = Path(__file__).parents[3] / "examples" / "li3ycl6"
PAIR = {"engine": "pair"}


@pytest.fixture
def short(monkeypatch):
    """Shorter runs of fewer atoms, hotter since the pair potential is stiff."""
    monkeypatch.setattr(first_look, "TEMPERATURES_K", (1500.0,))
    monkeypatch.setattr(first_look, "ATOMS", 30)
    monkeypatch.setattr(first_look, "_PRODUCTION_PS", 6.0)
    monkeypatch.setattr(first_look, "_LEAST_PRODUCTION_PS", 6.0)


@pytest.mark.usefixtures("short")
def test_a_conductor_and_an_insulator(tmp_path, monkeypatch):
    look = si.try_crystal(EXAMPLE / "li3ycl6_p-3m1.cif", quick=True, potential=PAIR, folder=tmp_path / "a").first_look
    assert look.verdict == "conducts"
    hottest = look.temperatures[-1]
    assert hottest.hops_per_ion > 1.0
    assert hottest.framework_holds
    assert hottest.dimension is not None
    assert hottest.dimension > 0
    assert "that Li is the mobile ion is a guess (--mobile-ion)" in look.cautions
    # Without its teacher the trial ends there, with the look.
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "nothing-installed"))
    ended = si.try_crystal(EXAMPLE / "li3ycl6_p-3m1.cif", potential="pair", teacher="sevennet", folder=tmp_path / "a")
    assert (ended.first_look.verdict, ended.screening) == ("conducts", None)
    assert "engines install sevennet" in ended.ended
    # Rock salt has a vacancy for none of its ions, and no time would bring one.
    monkeypatch.setattr(first_look, "_PRODUCTION_PS", 1.0)
    monkeypatch.setattr(first_look, "_LEAST_PRODUCTION_PS", 1.0)
    tried = si.try_crystal(EXAMPLE / "licl.cif", potential=PAIR, teacher=PAIR, folder=tmp_path / "b")
    look = tried.first_look
    assert (tried.screening, tried.ended) == (None, "no conductivity is screened: LiCl does not move")
    assert (look.formula, look.mobile_ion, look.verdict) == ("LiCl", "Li", "does not move")
    assert all(each.hops_per_ion < 0.05 and each.diffusivity_cm2_per_s.is_upper_bound for each in look.temperatures)
    assert "no hops up to 1500 K" in look.reason


@pytest.mark.usefixtures("short")
def test_runs_that_all_fail_tell_nothing_and_are_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(first_look, "_TEXT", first_look._TEXT.replace("timestep_fs: 2", "timestep_fs: 10"))
    monkeypatch.setattr(first_look, "TEMPERATURES_K", (9000.0,))
    tried = si.try_crystal(EXAMPLE / "licl.cif", potential=PAIR, teacher=PAIR, folder=tmp_path)
    assert (tried.first_look.verdict, tried.first_look.formula, tried.screening) == ("cannot be told", "LiCl", None)
    assert "every transport run failed" in tried.first_look.reason
    assert tried.ended == "no conductivity is screened: whether LiCl conducts cannot be told"


def test_ions_of_the_framework_that_hop_are_a_caution():
    hopping = FrameworkMotion(n_ions=50, n_left=2, n_turned=0, most_at_once=0.02, melts_from_ps=None)
    still = Estimate(0.0, 1e-8, (0.0, 1e-8), (0.0, 2e-8), True)
    run = first_look.TrialTemperature(700.0, 20.0, still, 0.0, True, hopping.flags(), None, None)
    (caution,) = first_look.framework_cautions([run])
    assert caution.startswith("700 K: Ions of the framework hop: 2 of 50 left their sites")


@pytest.mark.usefixtures("short")
def test_from_the_command_line_and_again_without_computing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE / "licl.cif", tmp_path)
    monkeypatch.setattr(first_look, "_PRODUCTION_PS", 1.0)
    monkeypatch.setattr(first_look, "_LEAST_PRODUCTION_PS", 1.0)
    by_pair = ["try", "licl.cif", "--potential", "pair", "--teacher", "pair"]
    with pytest.raises(SystemExit):
        main([*by_pair, "--plan", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert not list(tmp_path.glob("try-*"))  # a plan writes nothing
    assert {line["stage"] for line in said["first_look"]["stages"]} == {"enumerate", "rank", "transport", "analyse"}
    assert said["first_look"]["spaces"][0]["formula"] == said["screening"]["spaces"][0]["formula"] == "LiCl"
    work = {line["stage"]: line["work"] for line in said["screening"]["stages"]}
    rounds = "up to 300 labels by the teacher, 1 student, 2 rounds of 6 runs"
    assert work["distil"] == f"{rounds}; repairs, should runs for the gate go wrong, not counted"
    for _ in range(2):
        with pytest.raises(SystemExit):
            main([*by_pair, "--json"])
        said = json.loads(capsys.readouterr().out)
        assert said["first_look"]["verdict"] == "does not move"
    with pytest.raises(SystemExit):
        main([*by_pair, "--quiet"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "LiCl does not move" in shown
    assert "no conductivity is screened" in shown


def test_the_file_is_a_campaign_sized_for_a_minute(tmp_path):
    one = trial.Trial(EXAMPLE / "li3ycl6_p-3m1.cif", potential=PAIR, folder=tmp_path)
    one.campaign()
    file = load_campaign(one.file)
    assert file.transport.temperatures_K == first_look.TEMPERATURES_K
    assert "supercell: 2x1x2              # 120 atoms" in one.text
    one.file.write_text(one.text + "# mine\n", encoding="utf-8")
    with pytest.raises(CampaignFileError, match="was changed") as caught:
        one.campaign()
    assert "superionic run" in caught.value.fix


def test_the_plan_counts_steps_at_the_cost_of_one_measured_here(tmp_path):
    one = trial.Trial(EXAMPLE / "li3ycl6_p-3m1.cif", potential=PAIR, folder=tmp_path)
    planned = one.plan(quick=True)
    assert planned.cautions == one.guess.cautions == ("that Li is the mobile ion is a guess (--mobile-ion)",)
    assert planned.to_dict()["cautions"] == list(planned.cautions)
    plan = planned.first_look
    lines = {line.stage: line for line in plan.lines}
    assert {lines[stage].basis for stage in ("rank", "transport", "analyse")} == {"measured here"}
    known = with_measured(one.campaign().check(), UnitCosts(load_s=0.0, step_s=0.01, pace=0.0), one.campaign().file)
    seconds = {line.stage: 3600.0 * line.cpu_hours for line in known.lines}
    # Three runs of 23 ps, 2 fs a step; five relaxations of sixty steps in a quarter of the atoms.
    assert seconds["transport"] == pytest.approx(34_500 * 0.01)
    assert seconds["rank"] == pytest.approx(5 * 60 * 0.01 / 4)


def test_refusals_name_the_option_that_is_wrong(tmp_path):
    crystal = EXAMPLE / "licl.cif"
    assert trial.Trial(crystal, potential="nep89", teacher=PAIR).file.name == "first-look-nep89.yaml"
    with pytest.raises(PotentialError, match="no potential called 'nep98'") as caught:
        trial.Trial(crystal, potential="nep98")
    assert (caught.value.where, caught.value.fix) == ("--potential", "did you mean 'nep89'?")
    with pytest.raises(PotentialError) as caught:
        trial.Trial(crystal, teacher="sevennet:nope")
    assert caught.value.where == "--teacher"
    po = tmp_path / "po.cif"
    po.write_text(crystal.read_text(encoding="utf-8").replace("Cl", "At"), encoding="utf-8")
    one = trial.Trial(po, folder=tmp_path, teacher=PAIR, options=CrystalOptions(oxidation_states={"At": -1}))
    with pytest.raises(PotentialError, match="nep89 does not know At") as caught:
        one.plan(quick=True)
    assert "leave out --quick" in caught.value.fix


def test_each_teacher_has_a_screening_of_its_own(tmp_path):
    first, second = (
        trial.Trial(EXAMPLE / "licl.cif", folder=tmp_path, teacher=teacher) for teacher in ("sevennet", PAIR)
    )
    assert (first.screening_file.name, second.screening_file.name) == (
        "screening-7net-l3i5.yaml",
        "screening-pair.yaml",
    )
    for one in (first, second):  # a better teacher, and the same line again
        campaign = one.screening_campaign(None)
        assert campaign.file.distil.teacher == one.screening_file.stem.removeprefix("screening-")
    assert first.screening_campaign(None).run_folder != second.screening_campaign(None).run_folder


def test_what_is_stated_of_the_crystal_stands_in_both_files(tmp_path):
    options = CrystalOptions(supercell="2x1x1", max_deviation=0.3, min_distance_A=1.2)
    one = trial.Trial(EXAMPLE / "licl.cif", folder=tmp_path, teacher=PAIR, options=options)
    for campaign in (one.campaign(), one.screening_campaign(None)):
        sought = campaign.file.enumerate
        assert (sought.max_composition_deviation, sought.min_distance_A, sought.ewald_keep) == (0.3, 1.2, 5)
        assert campaign.file.crystals[0].supercell == ((2, 0, 0), (0, 1, 0), (0, 0, 1))
