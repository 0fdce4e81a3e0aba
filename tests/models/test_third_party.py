"""A model of another package: one folder and one entry point, and every room knows it."""

from __future__ import annotations

from importlib.metadata import entry_points
from types import SimpleNamespace

import pytest

from superionic import Campaign, registry
from superionic.errors import CampaignFileError, EngineError

pytestmark = pytest.mark.skipif(
    not [point for point in entry_points(group=registry.GROUP) if point.name == "toy"],
    reason="the toy model is not installed: pip install --no-deps tests/models/toy_model",
)
TEXT = """\
superionic: 1
name: toy
seed: 1
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: P-3m1, file: FILE}]
potentials: {mine: {engine: toy}}
enumerate: {ewald_keep: 3}
rank: {potential: mine, fmax_eV_per_A: 0.2, max_steps: 5}
select: null
sample: null
transport: null
analyse: null
"""


def written(root, folder, text=TEXT):
    file = folder / "c.yaml"
    file.write_text(text.replace("FILE", str(root / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif")))
    return file


def test_a_campaign_runs_with_it_in_workers_and_cites_it(root, tmp_path):
    file = written(root, tmp_path)
    assert "rank" in {line.stage for line in Campaign.load(file).check().lines}
    results = Campaign.load(file).run()
    (ranked,) = results.rank
    assert ranked.potential.name == "toy"
    assert len(ranked.entries) == 3
    page = (tmp_path / "runs" / "toy" / "report" / "report.html").read_text(encoding="utf-8")
    assert "10.1098/rspa.1924.0082" in page


def test_its_entry_in_a_campaign_is_judged_by_what_the_model_says(root, tmp_path):
    with pytest.raises(CampaignFileError, match="the engine toy has no 'precision'"):
        Campaign.load(written(root, tmp_path, TEXT.replace("engine: toy", "engine: toy, precision: float64")))
    with pytest.raises(CampaignFileError, match="toy"):
        Campaign.load(written(root, tmp_path, TEXT.replace("engine: toy", "engine: toyy")))


def test_a_name_that_is_taken_and_what_is_no_model_are_refused(monkeypatch):
    for name, value, match in (
        ("chgnet", registry.models()["chgnet"], "already in use"),
        ("odd", object(), "not such a model"),
    ):
        point = SimpleNamespace(name=name, value="somewhere:MODEL", load=lambda value=value: value)
        monkeypatch.setattr(registry, "entry_points", lambda group, point=point: [point])
        with pytest.raises(EngineError, match=match):
            registry.models.__wrapped__()
