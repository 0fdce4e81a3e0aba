"""The tuple of stages against all that goes by a stage's name."""

from __future__ import annotations

import dataclasses
import pkgutil
import tomllib
import typing
from importlib import import_module

import pytest

from superionic import stages
from superionic.campaign.file.messages import section_of
from superionic.campaign.file.schema import CampaignFile
from superionic.campaign.plan import _Costs
from superionic.campaign.walk import Outputs
from superionic.execution.task import TaskFunction
from superionic.results.campaign import Results
from superionic.results.further import StageResult
from superionic.settings.stages import STAGES

NAMES = [stage.name for stage in STAGES]

# The task functions of superionic 0.1 as keys have them: a campaign that was run finds its results by these names.
NAMES_IN_KEYS = {
    "analyse": "analyse_task arrhenius_task density_task",
    "analyse_migration": "migration_task",
    "analyse_observables": "observables_task",
    "chains": "average_cell_task first_segment_task next_segment_task",
    "distil_data": "distort_task frames_task label_task rattle_relax_task start_task",
    "distil_gate": "compare_task merge_task predict_task verdict_task",
    "distil.production": "compare_frames_task frames_of_run_task",
    "distil_learning": "collected_task dataset_task finish_task train_task",
    "duplicates": "merge_task repeated_starts_task",
    "enumerate": "integer_compositions_task list_task monte_carlo_task reference_task sample_task search_task",
    "fitting": "dataset_task declared_task divided_task errors_task finish_task preflight_task train_task",
    "hull": "hull_task",
    "label": "gates_task import_task label_task one_of_task structures_task",
    "label_file": "read_task",
    "learned_orderings": "draw_task evaluate_task propose_task start_task",
    "predictions": "predict_task repulsion_task",
    "rank_compare": "compare_task",
    "relaxations": "relax_batch_task relaxed_task single_points_task warm_start_task",
    "replay": "displaced_task labels_task predicted_task structures_task",
    "sample": "collected_task snapshots_task",
    "select": "select_task",
    "study_compare": "forgotten_task labelled_distances_task others_task stability_task",
    "transport": "collect_task",
    "rungs": "rung_errors_task",
    "volumes": "describe_task relaxed_cell_task",
}


def test_the_stages_stand_in_the_order_of_the_papers():
    assert [
        *("enumerate", "rank", "hull", "select", "sample", "label", "train", "validate"),
        *("distil", "volumes", "transport", "analyse", "report"),
    ] == [stage.name for stage in STAGES if not stage.is_one_folder]
    for place, stage in enumerate(STAGES):
        assert stage.needs is None or stage.needs in NAMES[:place]


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_a_stage_has_a_section_and_an_estimate(stage):
    field = next(f for name, f in CampaignFile.model_fields.items() if (f.alias or name) == stage.name)
    assert stage.settings is section_of(field.annotation)
    assert (field.default is None) or not stage.is_optional
    assert callable(stage.part("", "plan") if stage.is_one_folder else getattr(_Costs, stage.name))


@pytest.mark.parametrize("stage", STAGES[:-1], ids=NAMES[:-1])
def test_a_stage_that_computes_has_a_module_and_a_place_among_outputs_and_results(stage):
    assert callable(import_module(f"superionic.stages.{stage.name}").run)
    if stage.is_one_folder:
        assert issubclass(stage.result, StageResult)
        assert all(callable(stage.part("report", name)) for name in ("words", "section", "doubts"))
        return
    assert stage.name in {field.name for field in dataclasses.fields(Outputs)}
    assert stage.name in {field.name for field in dataclasses.fields(Results)}


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_failures_of_a_stage_are_called_by_a_name(stage):
    if stage.is_one_folder:
        assert stage.calculation  # any task of it may fail
        return
    hints = typing.get_type_hints(Results).get(stage.name)
    results = [each for each in typing.get_args(hints) if dataclasses.is_dataclass(each)]
    can_fail = any("failures" in {field.name for field in dataclasses.fields(each)} for each in results)
    assert can_fail == bool(stage.calculation)


def test_task_functions_keep_their_names_in_keys_wherever_they_are():
    modules = [import_module(found.name) for found in pkgutil.walk_packages(stages.__path__, "superionic.stages.")]
    tasks = [value for module in modules for value in vars(module).values() if isinstance(value, TaskFunction)]
    named = {
        f"superionic.stages.{module}:{name}" for module, all_of in NAMES_IN_KEYS.items() for name in all_of.split()
    }
    assert named <= {function.name for function in tasks}
    for function in tasks:
        module, _, name = function.address.partition(":")
        assert getattr(import_module(module), name) is function


def test_import_linter_keeps_all_stages_apart(root):
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (apart,) = [contract for contract in contracts if contract["name"] == "No stage imports another"]
    assert apart["modules"] == ["superionic.stages.*"]
    shared = {ignored.rpartition(".")[2] for ignored in apart["ignore_imports"]}
    assert shared.isdisjoint(NAMES)
