"""The tuple of stages against all that goes by a stage's name."""

from __future__ import annotations

import dataclasses
import typing
from importlib import import_module

import pytest

from superionic.campaign.plan import _Costs
from superionic.campaign.schema import CampaignFile
from superionic.campaign.walk import Outputs
from superionic.results.campaign import Results
from superionic.settings.stages import STAGES

NAMES = [stage.name for stage in STAGES]


def test_the_stages_stand_in_the_order_of_the_papers():
    assert [
        *("enumerate", "rank", "hull", "select", "sample", "label", "train", "validate"),
        *("distil", "transport", "analyse", "report"),
    ] == NAMES
    for place, stage in enumerate(STAGES):
        assert stage.needs is None or stage.needs in NAMES[:place]


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_a_stage_has_a_section_and_an_estimate(stage):
    field = next(f for name, f in CampaignFile.model_fields.items() if (f.alias or name) == stage.name)
    assert stage.settings in {field.annotation, *typing.get_args(field.annotation)}
    assert (field.default is None) or not stage.is_optional
    assert callable(getattr(_Costs, stage.name))


@pytest.mark.parametrize("stage", STAGES[:-1], ids=NAMES[:-1])
def test_a_stage_that_computes_has_a_module_and_a_place_among_outputs_and_results(stage):
    assert callable(import_module(f"superionic.stages.{stage.name}").run)
    assert stage.name in {field.name for field in dataclasses.fields(Outputs)}
    assert stage.name in {field.name for field in dataclasses.fields(Results)}


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_failures_of_a_stage_are_called_by_a_name(stage):
    hints = typing.get_type_hints(Results).get(stage.name)
    results = [each for each in typing.get_args(hints) if dataclasses.is_dataclass(each)]
    can_fail = any("failures" in {field.name for field in dataclasses.fields(each)} for each in results)
    assert can_fail == bool(stage.calculation)
