"""The engine of molecular dynamics in a campaign, and its runs as input of other programs."""

from __future__ import annotations

import pytest

from superionic import Campaign
from superionic.campaign.file.schema import draft_of
from superionic.campaign.prepare import needed_engines
from superionic.cli import main
from superionic.errors import PotentialError, StageError
from superionic.settings.rules import broken_rules


def found(**sections):
    raw = {"potentials": {"chgnet": {"engine": "chgnet"}, "fast": {"engine": "pair"}}, "rank": {"potential": "chgnet"}}
    raw |= {"select": {}, "sample": {}, "label": {}}
    problems = [problem for problem in broken_rules(draft_of({**raw, **sections})) if problem.path[-1] == "md_engine"]
    return [(problem.path[0], problem.message) for problem in problems]


@pytest.mark.parametrize(
    ("sections", "stages"),
    [
        ({"transport": {"md_engine": "lammps"}}, ["transport"]),
        ({"transport": {"md_engine": "lammps", "potential": "fast"}}, []),
        ({"transport": {"md_engine": "ase"}, "sample": {"md_engine": "lammps"}}, ["sample"]),
        ({"sample": {"md_engine": "lammps", "potential": "fast"}}, []),
        ({"distil": {}, "transport": {"md_engine": "lammps"}}, []),
        ({"distil": {}, "transport": {"md_engine": "lammps", "potential": "student"}}, []),
        ({"distil": {}, "train": {}, "transport": {"md_engine": "lammps", "potential": "fine-tuned"}}, ["transport"]),
        ({"train": {}, "transport": {"md_engine": "lammps"}}, ["transport"]),
    ],
)
def test_lammps_runs_only_what_lives_with_it(sections, stages):
    problems = found(**sections)
    assert [stage for stage, _ in problems] == stages
    assert all("engine chgnet" in message for _, message in problems)


def test_the_engine_of_the_dynamics_is_needed_too(small_campaign):
    plain = Campaign.load(small_campaign())
    assert needed_engines(plain.file, {}) == []
    other = Campaign.load(small_campaign(("transport:\n", "transport:\n  md_engine: lammps\n"), folder="other"))
    assert needed_engines(other.file, {}) == ["lammps"]


@pytest.mark.slow
@pytest.mark.engine("lammps")
def test_a_campaign_runs_with_lammps_and_records_the_parity(small_campaign):
    campaign = Campaign.load(small_campaign(("transport:\n", "transport:\n  md_engine: lammps\n")))
    results = campaign.run()
    assert [each.run.temperature_K for each in results.transport.runs] == [800, 1000]
    assert not results.transport.failures
    with campaign._ledger() as ledger:
        segments = [record for record in ledger.all() if record.label.endswith("production 1")]
    store = campaign._open_store()
    parities = [store.load(record.key)["engine_parity"] for record in segments if record.stage == "transport"]
    assert len(parities) == 2
    assert all(parity["force_eV_per_A"] < 1e-10 for parity in parities)


def test_the_runs_are_exported(finished_folder, tmp_path, capsys):
    file = finished_folder / "campaign.yaml"
    with pytest.raises(SystemExit) as ended:
        main(["export", str(file), "--output", str(tmp_path / "out")])
    assert ended.value.code == 0
    assert "2 runs for lammps" in capsys.readouterr().out
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert len(folders) == 2
    for folder in folders:
        text = (tmp_path / "out" / folder / "in.run").read_text()
        assert "pair_style lepton" in text
        assert "change_box" in text
        assert (tmp_path / "out" / folder / "run.data").read_text().count("\n") > 30
    campaign = Campaign.load(file)
    with pytest.raises(PotentialError, match="GPUMD"):
        campaign.export("gpumd", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_nothing_is_exported_of_what_is_not_there(small_campaign, tmp_path):
    campaign = Campaign.load(small_campaign())
    with pytest.raises(StageError, match="not ranked") as caught:
        campaign.export("lammps", tmp_path / "out")
    assert "--until rank" in caught.value.fix
