"""What a campaign cost, against its history read line by line."""

from __future__ import annotations

import csv
import json

import pytest

from superionic.cli.main import main
from superionic.report.cost_page import FORMAT
from superionic.results.cost import CampaignCost
from superionic.results.document import read_file


def history(finished) -> dict[str, dict]:
    """The last end of each task, with its stage."""
    ends: dict[str, dict] = {}
    stages: dict[str, str] = {}
    path = finished.campaign.run_folder / "history.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "started":
            stages[event["key"]] = event["stage"]
        elif event["event"] in ("done", "failed"):
            ends[event["key"]] = event | {"stage": stages[event["key"]]}
    return ends


def test_stages_add_up_to_the_history(ladder):
    cost, ends = ladder.campaign.cost(), history(ladder)
    assert {stage.stage for stage in cost.stages} >= {each["stage"] for each in ends.values()}
    for stage in cost.stages:
        own = [each for each in ends.values() if each["stage"] == stage.stage]
        assert (stage.tasks, stage.untimed) == (len(own), 0)
        assert stage.cpu_s == pytest.approx(sum(each["cpu_s"] for each in own))
        assert stage.wall_s == pytest.approx(sum(each["wall_s"] for each in own))
    assert cost.cpu_s == pytest.approx(sum(each["cpu_s"] for each in ends.values()))


def test_a_label_is_put_against_a_step(ladder):
    cost, results = ladder.campaign.cost(), ladder.results
    (label,) = cost.labels
    assert label.stand_in
    accepted, requested = (sum(getattr(each, n) for each in results.label) for n in ("n_accepted", "n_requested"))
    assert results.rungs is not None
    tests = sum(each.n_structures for each in results.rungs.sets) + len(results.rungs.rejected)
    assert accepted <= label.labels <= requested + tests  # some of the test sets were held out of the others
    assert label.median_atoms == 30.0  # Li9Y3Cl18
    # Two rungs of two replicas of 0.08 ps: the first by the pair potential, the second by what it taught.
    dynamics = {each.potential: each for each in cost.dynamics}
    assert set(dynamics) == {"pair", "fine-tuned"}
    assert dynamics["pair"].simulated_ps == pytest.approx(0.16)
    assert 0.0 < dynamics["fine-tuned"].simulated_ps <= 0.16 + 1e-9  # a monitor may stop it
    for each in dynamics.values():
        assert each.atom_ps == pytest.approx(30 * each.simulated_ps)
        assert each.cpu_s_per_atom_ps == pytest.approx(each.cpu_s / each.atom_ps)
        assert each.cpu_s_per_atom_step == pytest.approx(each.cpu_s_per_atom_ps * 0.002)
    for ratio in cost.ratios:
        step = dynamics[ratio.potential].cpu_s_per_atom_step
        assert ratio.cpu_ratio == pytest.approx(label.cpu_s_per_atom / step)
        assert ratio.gpu_ratio is None
    assert cost.assumptions
    assert (cost.energy_Wh is None) == bool(cost.energy_absent)


def test_without_labels_there_is_a_reason_and_no_ratio(monte_carlo, capsys):
    cost = monte_carlo.campaign.cost()
    assert (cost.ratios, cost.labels) == ((), ())
    assert "no label" in cost.ratio_absent
    # One ordering, two replicas of 3 ps of production, 0.2 ps of NPT and 0.1 ps of heating.
    (md,) = cost.dynamics
    assert md.simulated_ps == pytest.approx(2 * 3.3)
    with pytest.raises(SystemExit) as ended:
        main(["cost", str(monte_carlo.campaign.path), "--json"])
    assert ended.value.code in (0, None)
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == FORMAT
    assert document["dynamics"][0]["simulated_ps"] == pytest.approx(6.6)


def test_the_page_stands_beside_the_report_and_leaves_it_alone(monte_carlo):
    folder = monte_carlo.campaign.cost_folder
    cost = read_file(folder / "cost.json", CampaignCost, kind=FORMAT, fix="")
    assert cost.stages == monte_carlo.campaign.cost().stages
    with (folder / "cost_stages.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["stage"] for row in csv.DictReader(stream)] == [stage.stage for stage in cost.stages]
    assert "By stage" in (folder / "cost.html").read_text(encoding="utf-8")
    assert "cost" not in json.loads((monte_carlo.report / "results.json").read_text(encoding="utf-8"))
