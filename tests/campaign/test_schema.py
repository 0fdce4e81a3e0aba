"""The campaign file as data: defaults, presets, canonical settings, checks of values seen together, reference."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from superionic.campaign.file.presets import CRYSTALS, complete, presets
from superionic.campaign.file.reference import MARKER, reference_markdown, schema_text, write_reference
from superionic.campaign.file.schema import CampaignFile, draft_of, json_schema
from superionic.chemistry import ELEMENTS
from superionic.settings.base import FINE_TUNED, STUDENT, PresetName, parse_formula
from superionic.settings.inputs import CrystalInput
from superionic.settings.label import GateSettings
from superionic.settings.rules import broken_rules
from superionic.settings.stages import OPTIONAL, STAGES, sections
from superionic.settings.transport import TransportSettings

ROOT = Path(__file__).resolve().parents[2]
RENEW = "make reference"
ADDED = {stage.name for stage in STAGES if stage.is_one_folder}

MINIMAL = {
    "superionic": 1,
    "name": "test",
    "mobile_ion": "Li",
    "oxidation_states": {"Li": 1, "Y": 3, "Cl": -1, "Br": -1},
    "crystals": [{"name": "p", "file": "p.cif"}],
}


MACE = {"mace": {"engine": "mace", "file": "mace-mp-0.npz", "energy_convention": "MP raw PBE(+U)"}}


def potential_of(preset):
    return {"potentials": MACE} if preset == "paper-a" else {}


def campaign(**changes):
    return CampaignFile.model_validate({**copy.deepcopy(MINIMAL), **changes})


def problems(**changes):
    return {
        problem.dotted: problem.message
        for problem in broken_rules(draft_of(complete({**copy.deepcopy(MINIMAL), **changes})))
    }


def test_the_elements_are_those_of_ase():
    from ase.data import chemical_symbols

    assert tuple(chemical_symbols[1:]) == ELEMENTS


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("Li3YCl6", {"Li": 3, "Y": 1, "Cl": 6}),
        ("No2Y", {"No": 2, "Y": 1}),
        ("Li2.5Zr0.5Cl6", {"Li": 2.5, "Zr": 0.5, "Cl": 6}),
        ("HOH", {"H": 2, "O": 1}),
    ],
)
def test_formulas(text, counts):
    assert parse_formula(text) == counts


@pytest.mark.parametrize("text", ["", "Li3(YCl6)", "Xx2", "li3", "Li0Cl", "3Li", "Li-3", "Li 3"])
def test_wrong_formulas(text):
    with pytest.raises(ValueError, match="formula"):
        parse_formula(text)


def test_a_minimal_campaign_has_no_learning():
    file = campaign()
    assert file.stages == ("enumerate", "rank", "hull", "transport", "analyse", "report")
    assert set(OPTIONAL) - ADDED == {"select", "sample", "label", "train", "validate", "learn", "distil", "volumes"}
    assert file.rank.potential == "chgnet"
    assert file.transport.potential == "chgnet"
    with pytest.raises(KeyError):
        file.stage_settings("train")
    with pytest.raises(KeyError):
        file.section("trian")


def test_the_presets_are_those_that_a_file_can_name():
    assert set(presets()) == set(get_args(PresetName))


@pytest.mark.parametrize("preset", sorted(presets()))
def test_presets_are_whole_campaigns(preset):
    file = campaign(preset=preset, **potential_of(preset))
    with_student = "distil" in presets()[preset]
    left_out = ({"distil", "volumes"} | ADDED) - set(presets()[preset])
    assert file.stages == tuple(stage for stage in sections() if stage not in left_out)
    assert file.transport.potential == (STUDENT if with_student else FINE_TUNED)
    for stage, values in presets()[preset].items():
        if stage == CRYSTALS:
            assert set(values) <= set(CrystalInput.model_fields)
            continue
        settings = file.stage_settings(stage)
        assert set(values) <= set(settings), f"{preset}.{stage} sets a key that the schema lacks"
        for key, value in values.items():
            if isinstance(value, dict):
                assert value.items() <= settings[key].items()
            elif key != "supercell":
                assert settings[key] == value


def test_explicit_values_win_over_the_section_preset_and_that_over_the_file_preset():
    file = campaign(preset="demo", label={"preset": "paper-a"}, train={"epochs": 7})
    assert file.label.functional == "SCAN"
    assert file.label.ecut_eV == 520.0
    assert file.train.epochs == 7
    assert file.train.batch_size == presets()["demo"]["train"]["batch_size"]
    own = campaign(preset="demo", label={"preset": "paper-a", "ecut_eV": 400})
    assert (own.label.functional, own.label.ecut_eV) == ("SCAN", 400.0)
    partly = campaign(preset="paper-a", transport={"long_runs": {"below_K": 900}}, train=None)
    assert partly.transport.long_runs.below_K == 900.0
    assert partly.transport.long_runs.production_ps == 800.0


def test_null_leaves_a_stage_out_with_those_of_the_preset_that_need_it():
    file = campaign(preset="paper-a", train=None)
    assert (file.train, file.section("learn")) == (None, None)
    assert file.section("validate") is not None, "the labels check the potential as it is"
    assert campaign(preset="paper-a", label=None, potentials=MACE).section("validate") is None
    assert file.hull.repeat_with_fine_tuned is False
    assert file.transport.potential == "chgnet"
    assert campaign(transport=None).analyse is None
    left = ("enumerate", "rank", "distil", "transport", "analyse", "report")
    assert campaign(preset="demo", hull=None).stages == left


def test_settings_are_canonical():
    whole = campaign(transport={"temperatures_K": [600, 700], "production_ps": 100, "pressure_GPa": -0.0})
    real = campaign(transport={"temperatures_K": [600.0, 700.0], "production_ps": 1e2, "pressure_GPa": 0})
    assert json.dumps(whole.stage_settings("transport")) == json.dumps(real.stage_settings("transport"))
    by_preset = campaign(preset="paper-b", enumerate={"preset": "paper-b"}).stage_settings("enumerate")
    by_hand = campaign(enumerate=presets()["paper-b"]["enumerate"]).stage_settings("enumerate")
    assert json.dumps(by_preset) == json.dumps(by_hand)
    assert "preset" not in by_preset


def test_transport_may_be_a_list_of_series_that_are_as_the_first_where_they_say_nothing_else():
    series = [{"name": "a", "potential": "chgnet", "temperatures_K": [600, 800]}, {"name": "b", "pressure_GPa": 1.0}]
    file = campaign(preset="paper-b", transport=series, train=None, learn=None, select=None, sample=None, label=None)
    first, second = file.transport_series
    assert file.transport == file.section("transport") == first
    assert second == first.model_copy(update={"name": "b", "pressure_GPa": 1.0})
    assert first.production_ps == presets()["paper-b"]["transport"]["production_ps"]
    assert list(file.stage_settings("transport")) == ["a", "b"]
    alone = campaign(transport={"temperatures_K": [600, 800]})
    assert alone.transport_series == (alone.transport,)
    assert alone.transport.name is None
    filled = complete({**copy.deepcopy(MINIMAL), "transport": series})
    assert complete(filled) == filled


def test_the_mistakes_of_a_series_are_found_in_its_place():
    good = {"name": "a", "temperatures_K": [600]}
    assert problems(transport=[good, {}]) == {"transport[1]": "a series of runs in a list needs a `name`"}
    assert problems(transport=[good, {"name": "A"}]) == {
        "transport[1].name": "the name 'A' is also that of transport[0]"
    }
    assert list(problems(transport=[good, {"name": "b", "potential": "none"}])) == ["transport[1].potential"]
    assert list(problems(transport=[good, {"name": "b", "timestep_fs": 3}])) == ["transport[1].save_every_fs"]
    runs = [good | {"production_ps": 100}, {"name": "b", "production_ps": 10}]
    assert "runs of 10 ps" in problems(transport=runs, analyse={"window_ps": [5, 50]})["analyse.window_ps"]


def sized(**changes):
    stages = {"select": {}, "sample": {}, "label": {"engine": "potential:chgnet"}, "train": {}}
    return {"learn": {"sizes": [500, 0, 250]}, **stages, **changes}


def test_each_number_of_labels_drives_a_series_like_the_first_unless_the_file_lists_some():
    file = campaign(**sized(transport={"production_ps": 7, "draws": {}}))
    assert file.learn.sizes == (0, 250, 500)
    first, *others = file.transport_series
    assert (first.name, first.potential) == (None, FINE_TUNED)
    assert [(each.name, each.potential) for each in others] == [
        ("0-labels", "fine-tuned@0"), ("250-labels", "fine-tuned@250"), ("500-labels", "fine-tuned@500"),
    ]  # fmt: skip
    assert {each.production_ps for each in others} == {7}
    assert {each.draws for each in others} == {None}
    listed = [{"name": "all"}, {"name": "few", "potential": "fine-tuned@250", "production_ps": 3}]
    file = campaign(**sized(transport=listed))
    assert [each.name for each in file.transport_series] == ["all", "few"]
    by_other = campaign(**sized(transport={"potential": "chgnet"}))
    assert len(by_other.transport_series) == 1


def test_mistakes_about_numbers_of_labels():
    good = {"name": "all"}
    assert problems(**sized(transport=[good, {"name": "few", "potential": "fine-tuned@250"}])) == {}
    found = problems(**sized(transport=[good, {"name": "few", "potential": "fine-tuned@251"}]))
    assert found == {"transport[1].potential": "there is no potential 'fine-tuned@251'"}
    assert "has not all labels" in problems(**sized(transport={"potential": "fine-tuned@250"}))["transport.potential"]
    assert "there is no potential" in problems(**sized(volumes={"potential": "fine-tuned@250"}))["volumes.potential"]
    assert "of a series for" in problems(**sized(transport=[good, {"name": "250-labels"}]))["transport[1].name"]
    untested = sized(train={"test_fraction": 0}, validate=None)
    assert "no labels to judge them on" in problems(**untested)["learn.sizes"]
    with pytest.raises(ValidationError, match="each may stand here once"):
        campaign(**sized(learn={"sizes": [250, 250]}))


def test_execution_is_in_no_stage_settings():
    plain, busy = campaign(), campaign(execution={"workers": 7, "threads_per_worker": 2, "walltime_h": 1})
    assert busy.execution.workers == 7
    for stage in plain.stages:
        assert plain.stage_settings(stage) == busy.stage_settings(stage)


def test_a_campaign_is_frozen_survives_pickling_and_its_own_dump():
    file = campaign(preset="demo", composition_axes=[AXIS])
    with pytest.raises(ValidationError):
        file.seed = 3
    assert pickle.loads(pickle.dumps(file)) == file
    assert CampaignFile.model_validate(file.model_dump(mode="json", by_alias=True)) == file
    assert CampaignFile.model_validate_json(file.model_dump_json(by_alias=True)) == file


def test_what_goes_in_is_not_changed():
    raw = {**copy.deepcopy(MINIMAL), "preset": "demo", "rank": {"relax_top": 3}}
    before = copy.deepcopy(raw)
    completed = complete(raw)
    assert raw == before
    assert complete(completed) == completed
    completed["train"]["epochs"] = -1
    assert presets()["demo"]["train"]["epochs"] > 0


@pytest.mark.parametrize(
    ("written", "matrix"),
    [
        ("1x1x2", ((1, 0, 0), (0, 1, 0), (0, 0, 2))),
        ("2 × 1 × 3", ((2, 0, 0), (0, 1, 0), (0, 0, 3))),
        ([1, 2, 3], ((1, 0, 0), (0, 2, 0), (0, 0, 3))),
        ([[1, 1, 0], [-1, 1, 0], [0, 0, 1]], ((1, 1, 0), (-1, 1, 0), (0, 0, 1))),
    ],
)
def test_supercells(written, matrix):
    crystal = campaign(crystals=[{"name": "p", "file": "p", "supercell": written}]).crystals[0]
    assert crystal.supercell == matrix
    assert crystal.all_supercells == (matrix,)


@pytest.mark.parametrize(
    "written",
    ["1x1", "1x1x1.5", "axbxc", "0x1x1", 2, None, [1, 1], [1, 1, 0], [1.0, 1, 1], [True, 1, 1], [[1, 0, 0], [0, 1, 0]],
     [[1, 0, 0], [0, 1, 0], [0, 0, 0]], [[0, 1, 0], [1, 0, 0], [0, 0, 1]]],
)  # fmt: skip
def test_wrong_supercells(written):
    with pytest.raises(ValidationError):
        campaign(crystals=[{"name": "p", "file": "p", "supercell": written}])


def test_all_supercells_are_told_once():
    crystal = {"name": "p", "file": "p", "supercell": "1x1x1", "further_supercells": ["1x1x2", [1, 1, 1]]}
    assert len(campaign(crystals=[crystal]).crystals[0].all_supercells) == 2


CRYSTAL = {"name": "p", "file": "p.cif"}
OVERFULL = {**CRYSTAL, "occupancies": {"Y2": {"Y": 0.7, "Li": 0.4}}}
CONSTRAINT = {"weights": {"Br": 1}}
AXIS = {"replace": "Cl", "by": "Br", "formula_unit": "Li3YCl6", "values": [0, 3, 6]}


def test_the_grid_of_paper_a_is_cut_by_its_constraint():
    file = campaign(
        oxidation_states={"Li": 1, "Y": 3, "In": 3, "Cl": -1, "Br": -1},
        composition_axes=[
            {"replace": "Y", "by": "In", "formula_unit": "Li3YCl6", "values": [0, 0.25, 0.5, 1]},
            {"replace": "Cl", "by": "Br", "formula_unit": "Li3YCl6", "values": [0, 1.5, 3, 4.5, 6]},
        ],
        composition_constraints=[{"weights": {"In": 6, "Br": 1}, "minimum": 6}],  # x + y >= 1 with Br = 6 y
    )
    pairs = {(point["In"], point["Br"] / 6) for point in file.grid()}
    wanted = {(x, y) for x in (0, 0.25, 0.5, 1) for y in (0, 0.25, 0.5, 0.75, 1) if x + y >= 1}
    assert pairs == wanted
    assert campaign().grid() == ({},)
    assert file.stage_settings("hull")["formula_unit"] == "Li3YCl6"


@pytest.mark.parametrize(
    ("place", "words", "changes"),
    [
        ("oxidation_states", "no oxidation state", {"mobile_ion": "Na"}),
        ("oxidation_states.Li", "must have a charge", {"oxidation_states": {"Li": 0, "Cl": -1}}),
        ("oxidation_states", "no composition can be neutral", {"oxidation_states": {"Li": 1, "Y": 3}}),
        ("crystals[1].name", "also that of crystals[0]", {"crystals": [CRYSTAL, {**CRYSTAL, "name": "P"}]}),
        ("references[0].name", "also that of crystals[0]", {"references": [{"name": "p", "file": "a"}]}),
        ("composition_axes[0].by", "no oxidation state", {"composition_axes": [{**AXIS, "by": "I"}]}),
        ("composition_axes[0].by", "replaced by itself", {"composition_axes": [{**AXIS, "by": "Cl"}]}),
        ("composition_axes[1].by", "also brought in", {"composition_axes": [AXIS, AXIS]}),
        ("composition_axes[0].values", "has 6", {"composition_axes": [{**AXIS, "values": [0, 7]}]}),
        ("composition_axes[0].formula_unit", "has no Cl", {"composition_axes": [{**AXIS, "formula_unit": "Li3YI6"}]}),
        (
            "composition_axes[0].along[0].ratio",
            "replaces 12 Y",
            {"composition_axes": [{**AXIS, "along": [{"replace": "Y", "by": "Li", "ratio": 2}]}]},
        ),
        ("composition_constraints[0]", "neither", {"composition_constraints": [{"weights": {}}]}),
        (
            "composition_constraints[0].weights.I",
            "no composition axis",
            {"composition_axes": [AXIS], "composition_constraints": [{"weights": {"I": 1}, "minimum": 0}]},
        ),
        (
            "composition_constraints",
            "no point",
            {"composition_axes": [AXIS], "composition_constraints": [{"weights": {"Br": 1}, "minimum": 7}]},
        ),
        (
            "composition_constraints[0].minimum",
            "above the maximum",
            {"composition_axes": [AXIS], "composition_constraints": [{**CONSTRAINT, "minimum": 3, "maximum": 1}]},
        ),
        ("crystals[0].occupancies.Y2", "more than 1", {"crystals": [OVERFULL]}),
        ("rank.potential", "no potential 'chgnt'", {"rank": {"potential": "chgnt"}}),
        ("rank", "several potentials", {"potentials": {"a": {"engine": "pair"}, "b": {"engine": "chgnet"}}}),
        ("transport.potential", "needs a `train`", {"transport": {"potential": "fine-tuned"}}),
        ("potentials.fine-tuned", "is kept", {"potentials": {"fine-tuned": {"engine": "pair"}}}),
        ("label.engine", "no potential 'x'", {"preset": "demo", "label": {"engine": "potential:x"}}),
        ("label.engine", "not a reference method", {"preset": "demo", "label": {"engine": "cp2k"}}),
        ("label.kpoint_offset", "Γ-centred", {"preset": "demo", "label": {"engine": "vasp"}}),
        ("label.engine", "no finished labels", {"preset": "demo", "label": {"engine": "finished"}}),
        ("train", "needs `label`", {"preset": "demo", "label": None, "train": {}}),
        ("analyse", "needs `transport`", {"transport": None, "analyse": {}}),
        ("train.trainer", "cannot train", {"preset": "demo", "potentials": {"p": {"engine": "pair"}}}),
        ("train.validation_fraction", "nothing to train", {"preset": "demo", "train": {"validation_fraction": 0.8}}),
        ("train.test_fraction", "not seen", {"preset": "demo", "train": {"test_fraction": 0}}),
        (
            "train.energy_weight",
            "above 0",
            {"preset": "demo", "train": {"energy_weight": 0, "force_weight": 0, "stress_weight": 0}},
        ),
        ("hull.repeat_with_fine_tuned", "needs a `train`", {"hull": {"repeat_with_fine_tuned": True}}),
        ("sample.temperatures_K", "several rounds", {"preset": "paper-b", "train": None}),
        ("transport.save_every_fs", "whole number of time steps", {"transport": {"timestep_fs": 3}}),
        ("transport.segment_ps", "whole number of save intervals", {"transport": {"segment_ps": 0.015}}),
        ("transport.production_ps", "shorter than one", {"transport": {"production_ps": 0.001}}),
        ("sample.snapshots", "saves 10 frames", {"preset": "demo", "sample": {"snapshots": 11}}),
        ("transport.barostat", "only the size", {"transport": {"barostat": "berendsen"}}),
    ],
)  # fmt: skip
def test_values_seen_together(place, words, changes):
    found = problems(**changes)
    assert words in found.get(place, ""), found
    with pytest.raises(ValidationError):
        campaign(**changes)


def test_a_sound_campaign_has_no_problems():
    assert problems() == {}
    for preset in presets():
        assert problems(preset=preset, composition_axes=[AXIS], **potential_of(preset)) == {}


@pytest.mark.parametrize("wrong", [None, 3, "x", [], [1], {"a": 1}, [{}], [None], {"name": [1]}, True])
def test_values_seen_together_never_break_on_wrong_types(wrong):
    for key in CampaignFile.model_fields:
        alias = "validate" if key == "validate_" else key
        for preset in (None, "demo"):
            raw = {**copy.deepcopy(MINIMAL), "preset": preset, "composition_axes": [AXIS], alias: wrong}
            list(broken_rules(draft_of(complete(raw))))
    for stage, section in sections().items():
        for key in section.model_fields:
            list(broken_rules(draft_of(complete({**copy.deepcopy(MINIMAL), "preset": "demo", stage: {key: wrong}}))))
    for section, entry in (("crystals", {}), ("composition_axes", AXIS), ("composition_constraints", {})):
        for key in (
            "name",
            "file",
            "replace",
            "by",
            "formula_unit",
            "values",
            "along",
            "weights",
            "minimum",
            "occupancies",
        ):
            list(broken_rules(draft_of(complete({**copy.deepcopy(MINIMAL), section: [{**entry, key: wrong}]}))))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0, "300", True, None, [300]])
def test_numbers_are_numbers(value):
    with pytest.raises(ValidationError):
        campaign(select={"temperature_K": value})


def test_every_knob_says_what_it_is():
    for model in (*sections().values(), GateSettings, CampaignFile):
        for name, found in model.model_fields.items():
            assert found.description, f"{model.__name__}.{name}"
            assert found.description.endswith((".", ")")), f"{model.__name__}.{name}"


def test_paper_b_numbers_are_the_defaults_of_transport():
    default = TransportSettings()
    assert default.temperatures_K == tuple(float(t) for t in range(400, 751, 50))
    assert (default.npt_ps, default.production_ps, default.thermostat_time_fs) == (140.0, 2000.0, 100.0)
    assert default.npt_ps * (1 - default.npt_discard_fraction) == pytest.approx(112.0)


def test_the_gates_are_those_of_the_labels_room():
    import dataclasses

    from superionic.labels.gates import Gates

    assert dataclasses.asdict(Gates()) == GateSettings().model_dump()


def test_the_label_presets_are_those_of_gpaw():
    from superionic.labels.gpaw import DEFAULTS
    from superionic.labels.gpaw import PRESETS as GPAW_PRESETS

    plain = campaign(preset="demo", label={"preset": None}).stage_settings("label")
    assert set(DEFAULTS) <= set(plain)
    for preset in presets():
        settings = campaign(preset=preset, **potential_of(preset)).stage_settings("label")
        assert {key: settings[key] for key in DEFAULTS} == {**DEFAULTS, **GPAW_PRESETS[preset]}


def test_the_options_are_those_of_the_trainer():
    import dataclasses

    from superionic.models.chgnet.trainer import FREEZE, TrainOptions

    section = sections()["train"]
    assert {field.name for field in dataclasses.fields(TrainOptions)} <= set(section.model_fields)
    assert all(f"`{name}`" in section.model_fields["freeze"].description for name in FREEZE)


def test_the_choices_are_those_of_the_dynamics_room():
    from superionic.dynamics.relax import Optimizer
    from superionic.dynamics.settings import Barostat, CellMotion, Thermostat

    fields = TransportSettings.model_fields
    assert get_args(fields["thermostat"].annotation) == get_args(Thermostat)
    assert get_args(fields["barostat"].annotation) == get_args(Barostat)
    assert get_args(fields["cell_motion"].annotation) == get_args(CellMotion)
    assert get_args(sections()["rank"].model_fields["optimizer"].annotation) == get_args(Optimizer)


def test_the_reference_page_is_in_step_with_the_schema():
    page = (ROOT / "docs" / "campaign-file.md").read_text(encoding="utf-8")
    assert MARKER + page.split(MARKER)[1] == reference_markdown(), (
        "run: python -m superionic.campaign.file.reference docs"
    )
    for preset in presets():
        assert f"`{preset}`" in page.split(MARKER)[0]


def test_the_json_schema_is_in_step():
    text = (ROOT / "docs" / "campaign.schema.json").read_text(encoding="utf-8")
    assert text == schema_text(), f"run: {RENEW}"
    schema = json_schema()
    assert schema["required"] == ["superionic", "name", "mobile_ion", "oxidation_states", "crystals"]
    assert schema["additionalProperties"] is False
    assert "validate" in schema["properties"]


def test_writing_the_reference_keeps_what_is_written_by_hand(tmp_path):
    write_reference(tmp_path)
    page = tmp_path / "campaign-file.md"
    page.write_text("# By hand\n\n" + MARKER + "\nold\n", encoding="utf-8")
    write_reference(tmp_path)
    assert page.read_text(encoding="utf-8") == "# By hand\n\n" + reference_markdown()
