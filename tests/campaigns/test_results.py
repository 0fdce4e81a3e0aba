"""Results as objects: from real campaigns to ``results.json`` and back, joined by identity and never by name."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import jsonschema
import pytest

from superionic import Campaign
from superionic.errors import StorageError
from superionic.results.document import VERSION, from_json, json_schema, read_results, to_json
from superionic.results.identity import AxisValue, Material, Ordering

ALL = ("two-axes", "polymorphs", "monte-carlo", "ladder", "committee")


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_file_through_the_codec_equals_what_the_run_returned(finished, name):
    campaign = finished(name).campaign
    again = campaign.run(write_report=False)
    text = (campaign.report_folder / "results.json").read_text(encoding="utf-8")
    assert from_json(text) == again == campaign.load_results() == pickle.loads(pickle.dumps(again))
    assert to_json(from_json(text)) == text


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_file_keeps_the_published_schema(finished, name):
    document = json.loads((finished(name).report / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, json_schema())
    assert document["version"] == VERSION


def test_the_published_schema_is_that_of_the_types(root):
    published = json.loads((root / "docs" / "results.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "renew it: superionic schema --results > docs/results.schema.json"
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.mark.slow
def test_hull_and_conductivity_of_one_material_meet(two_axes, polymorphs):
    for one in (two_axes, polymorphs):
        results = one.results
        placed = {entry.identity.material for entry in results.hull[-1].entries if isinstance(entry.identity, Ordering)}
        conducting = {material.material for material in results.analyse.arrhenius}
        assert len(conducting) == 6
        assert conducting <= placed
        assert {run.run.ordering.material for run in results.transport.runs} == conducting
    assert Material("c2m", (AxisValue("In", 0.5), AxisValue("Br", 3.0))) in {
        material.material for material in two_axes.results.analyse.arrhenius
    }
    assert {material.material.crystal for material in polymorphs.results.analyse.arrhenius} == {"p-3m1", "c2m"}


@pytest.mark.slow
def test_the_headline_is_the_first_report_temperature(polymorphs, two_axes):
    for material in polymorphs.results.analyse.arrhenius:
        dependence = material.dependence
        assert dependence.report_temperatures_K == (350.0, 800.0)
        if dependence.headline is not None:
            assert dependence.headline.temperature_K == 350.0
    for material in two_axes.results.analyse.arrhenius:
        assert material.dependence.report_temperatures_K == (800.0,)


@pytest.mark.slow
def test_replicas_are_runs_of_one_ordering(monte_carlo):
    runs = [run.run for run in monte_carlo.results.transport.runs]
    assert [run.replica for run in runs] == [1, 2]
    assert len({run.ordering for run in runs}) == 1
    assert len({run.label for run in runs}) == 2
    (material,) = monte_carlo.results.analyse.arrhenius
    assert material.dependence.points[0].n_runs == 2
    assert material.dependence.fit is None
    assert material.dependence.no_line_reason


@pytest.mark.slow
def test_a_file_of_another_version_is_refused_with_words(finished, tmp_path: Path):
    document = json.loads((finished("ladder").report / "results.json").read_text(encoding="utf-8"))
    with pytest.raises(StorageError, match="version 3"):
        from_json(json.dumps({**document, "version": 3}))
    old = {"campaign": "x", "stages": {}, "superionic": "0.1.0"}
    with pytest.raises(StorageError, match=r"superionic 0\.1\.0") as refused:
        from_json(json.dumps(old))
    assert "superionic report" in str(refused.value.fix)
    with pytest.raises(StorageError, match="not JSON"):
        from_json("{")
    with pytest.raises(StorageError, match="does not hold"):
        from_json("[]")
    document["transport"] = {"runs": 1}
    with pytest.raises(StorageError, match=r"damaged.*results\.transport"):
        from_json(json.dumps(document))
    with pytest.raises(StorageError, match="there are no results"):
        read_results(tmp_path / "results.json")


@pytest.mark.slow
def test_a_campaign_on_its_way_has_results_of_what_is_done(root, tmp_path, finished):
    from tests.campaigns.conftest import LADDER, write_campaign

    campaign = Campaign.load(write_campaign(root, tmp_path, LADDER))
    results = campaign.run(until="hull")
    assert results.status == "incomplete"
    assert results.warnings == ("Not done yet: select, sample, label, train, validate.",)
    assert results.enumerate == finished("ladder").results.enumerate
    assert (results.select, results.sample, results.transport) == (None, (), None)
    assert campaign.load_results() == results
