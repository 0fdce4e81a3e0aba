"""First looks at crystals: small real runs by the pair potential, and what is said of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import superionic as si
from superionic.campaign import trial
from superionic.campaign.file.load import load_campaign
from superionic.campaign.trial import first_look
from superionic.campaign.trial.cost import UnitCosts, with_measured
from superionic.cli.main import main
from superionic.errors import CampaignFileError, PotentialError

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
    # Rock salt has a vacancy for none of its ions, and no time would bring one.
    monkeypatch.setattr(first_look, "_PRODUCTION_PS", 1.0)
    monkeypatch.setattr(first_look, "_LEAST_PRODUCTION_PS", 1.0)
    tried = si.try_crystal(EXAMPLE / "licl.cif", potential=PAIR, teacher=PAIR, folder=tmp_path / "b")
    look = tried.first_look
    assert (tried.screening, tried.ended) == (None, "no conductivity is screened, as the crystal does not move")
    assert (look.formula, look.mobile_ion, look.verdict) == ("LiCl", "Li", "does not move")
    assert all(each.hops_per_ion < 0.05 and each.diffusivity_cm2_per_s.is_upper_bound for each in look.temperatures)
    assert "no hops up to 1500 K" in look.reason


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
    assert said["first_look"]["spaces"][0]["formula"] == said["screening"]["spaces"][0]["formula"] == "LiCl"
    work = {line["stage"]: line["work"] for line in said["screening"]["stages"]}
    assert work["distil"] == "up to 300 labels by the teacher, 1 student, 2 rounds of 6 runs"
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
    plan = one.plan(quick=True).first_look
    lines = {line.stage: line for line in plan.lines}
    assert "report" not in lines  # a first look writes none
    assert {lines[stage].basis for stage in ("rank", "transport", "analyse")} == {"measured here"}
    known = with_measured(one.campaign().check(), UnitCosts(load_s=0.0, step_s=0.01, pace=0.0), one.campaign().file)
    seconds = {line.stage: 3600.0 * line.cpu_hours for line in known.lines}
    # Three runs of 23 ps, 2 fs a step; five relaxations of sixty steps in a quarter of the atoms.
    assert seconds["transport"] == pytest.approx(34_500 * 0.01)
    assert seconds["rank"] == pytest.approx(5 * 60 * 0.01 / 4)


def test_an_unknown_potential_is_refused_with_those_that_are_known():
    assert trial.named_potential("nep89") == trial.FAST
    with pytest.raises(PotentialError) as caught:
        trial.named_potential("nep98")
    assert "nep89, " in caught.value.fix
