"""Distillation in a campaign: its section, its plan, and what becomes of a student that fails."""

from __future__ import annotations

import shutil

import pytest

from superionic import Campaign
from superionic.campaign.schema import CampaignFile
from superionic.campaign.schema_checks import cross_problems
from superionic.campaign.schema_presets import complete
from superionic.report.sections import student
from superionic.report.table import Table
from superionic.settings.distil import DistilSettings, resolved
from superionic.settings.transport import TransportSettings

MINIMAL = {
    "superionic": 1,
    "name": "test",
    "mobile_ion": "Li",
    "oxidation_states": {"Li": 1, "Cl": -1},
    "crystals": [{"name": "p", "file": "p.cif"}],
    "potentials": {"pair": {"engine": "pair"}},
}


def problems(distil, **more):
    raw = complete({**MINIMAL, "distil": distil, **more})
    return {problem.dotted: f"{problem.message}; {problem.hint}" for problem in cross_problems(raw)}


def test_a_campaign_with_a_student_lets_it_drive_transport():
    file = CampaignFile.model_validate({**MINIMAL, "distil": {}})
    assert file.transport.potential == "student"
    assert file.stages.index("distil") == file.stages.index("transport") - 1
    assert "distil" not in CampaignFile.model_validate(MINIMAL).stages


def test_what_is_left_out_follows_transport():
    moving = TransportSettings(
        timestep_fs=2.0, pressure_GPa=1.0, cell_motion="axes", barostat_time_fs=300.0, temperatures_K=[600.0, 900.0]
    )
    filled = resolved(DistilSettings(), moving)
    assert (filled.timestep_fs, filled.pressure_GPa, filled.cell_motion) == (2.0, 1.0, "axes")
    assert filled.barostat_time_fs == 300.0
    assert filled.temperatures_K == (720.0, 900.0)
    assert filled.explore.temperature_K == 990.0
    assert filled.explore.clean_ps == filled.explore.length_ps
    alone = resolved(DistilSettings(), None)
    assert alone.temperatures_K == (800.0, 1000.0)
    assert (alone.timestep_fs, alone.pressure_GPa, alone.cell_motion) == (1.0, 1.0e-4, "isotropic")


def test_what_is_given_stays():
    given = DistilSettings(
        temperatures_K=[500, 700], timestep_fs=0.5, explore={"temperature_K": 800, "clean_ps": 3}, students=3
    )
    filled = resolved(given, TransportSettings(temperatures_K=[600.0, 900.0]))
    assert filled.temperatures_K == (500.0, 700.0)
    assert (filled.timestep_fs, filled.students) == (0.5, 3)
    assert (filled.explore.temperature_K, filled.explore.clean_ps) == (800.0, 3.0)


def test_mistakes_are_named_with_the_fix():
    assert "did you mean 'pair'" in problems({"teacher": "pari"})["distil.teacher"]
    assert "needs a `train` section" in problems({"teacher": "fine-tuned"})["distil.teacher"]
    assert "two temperatures" in problems({"temperatures_K": [800.0]})["distil.temperatures_K"]
    assert "did you mean 'n_neurons'" in problems({"options": {"n_neuron": 20}})["distil.options.n_neuron"]
    assert "stands in `distil` itself" in problems({"options": {"epochs": 20}})["distil.options.epochs"]
    assert "would not have been compared" in problems({"npt_ps": 0.0})["distil.npt_ps"]
    assert problems({"npt_ps": 0.0}, transport={"npt_ps": 0.0}) == {}
    assert "whole number of time steps" in problems({"timestep_fs": 3.0})["distil.save_every_fs"]
    assert "fewer than four frames" in problems({"timestep_fs": 1.0, "held_out_ps": 0.05})["distil.held_out_ps"]
    without = complete({**MINIMAL, "transport": {"potential": "student"}})
    told = [p for p in cross_problems(without) if p.dotted == "transport.potential"]
    assert "needs a `distil` section" in told[0].message
    kept = complete({**MINIMAL, "potentials": {"student": {"engine": "pair"}}})
    assert any("is kept for the potential that the campaign distils" in p.message for p in cross_problems(kept))


TEXT = """\
superionic: 1
name: salt
seed: 3
mobile_ion: Li
oxidation_states: {Li: 1, Cl: -1}
crystals:
  - {name: salt, file: licl.cif}
potentials:
  pair: {engine: pair}
rank: {relax_top: 1, fmax_eV_per_A: 0.3, max_steps: 40}
distil:
  temperatures_K: [900, 1200]
  npt_ps: 0.2
  equilibration_ps: 0
  production_ps: 0.3
  held_out_ps: 0.1
  held_out_frames: 5
  segment_ps: 0.2
  data: {orderings: 1, snapshots: 10, distorted: 12, relax_cycles: 2, relax_steps: 4, contacts: 4}
  epochs: 12
  epochs_per_segment: 12
  options: {n_radial: 4, n_angular: 3, l_max: 2, n_neurons: 10, batch_size: 4, cutoff_angular_A: 4}
  explore: {rounds: 0, length_ps: 0.2}
transport:
  supercell: 1x1x1
  temperatures_K: [900, 1200]
  replicas: 2
  timestep_fs: 2
  heating_ps: 0
  nvt_before_npt_ps: 0
  npt_ps: 0.1
  production_ps: 0.2
  segment_ps: 0.2
analyse: {density_grid_A: null}
"""


@pytest.fixture(scope="module")
def refused(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("salt")
    shutil.copy(root / "examples" / "li3ycl6" / "licl.cif", folder)
    (folder / "campaign.yaml").write_text(TEXT)
    campaign = Campaign.load(folder / "campaign.yaml")
    campaign.run()
    return campaign


@pytest.mark.slow
def test_the_plan_tells_what_a_student_costs(refused):
    lines = {line.stage: line for line in refused.check().lines}
    assert "of the teacher" in lines["distil"].work
    assert lines["distil"].cpu_hours > 0


@pytest.mark.slow
def test_a_student_that_fails_drives_nothing_and_the_report_says_why_and_what_to_do(refused):
    results = refused.load_results()
    assert not results.distil.verdict.passed
    assert results.status == "refused: student failed parity"
    assert results.transport is None
    assert results.warnings == ()
    first = next(doubt for doubt in student.doubts(results) if doubt.severity == "warning")
    assert first in results.statements
    assert first.words.startswith("The student failed parity with its teacher, and was not used")
    assert "forces on unseen frames" in first.words
    assert "transport.potential" in first.words
    page = (refused.report_folder / "report.html").read_text(encoding="utf-8")
    assert "They did not pass the gate." in page
    assert refused.status().is_done
    assert sorted(path.name for path in (refused.report_folder / "student").iterdir()) == [
        "student_1.nep.txt",
        "student_2.nep.txt",
    ]


@pytest.mark.slow
def test_the_section_shows_what_the_gate_saw_and_gives_every_number(refused):
    results = refused.load_results()
    found = results.distil
    section = student.section(results)
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [
        len(found.verdict.criteria),
        len(found.errors.first) + len(found.errors.after) + 2,  # their mean, and their disagreement
        len(found.rounds),
    ]
    assert [plot.key for plot in section.plots] == [
        "student_parity",
        "student_learning",
        "student_distances",
        "student_properties",
    ]
    files = {table.name: table for table in section.csv}
    assert all(len(row) == len(table.columns) for table in section.csv for row in table.rows)
    runs = [dict(zip(files["student_runs.csv"].columns, row, strict=True)) for row in files["student_runs.csv"].rows]
    assert [(run["ordering"], run["temperature_K"], run["potential"]) for run in runs[:3]] == [
        ("salt #0", 900.0, "teacher"),
        ("salt #0", 900.0, "student 1"),
        ("salt #0", 900.0, "student 2"),
    ]
    comparison = found.compared[0].comparison
    assert [run["tracer_diffusivity_cm2_per_s"] for run in runs[:3]] == [
        estimate.value for estimate in comparison.diffusivities_cm2_per_s
    ]
    assert [run["volume_A3_per_atom"] for run in runs[:3]] == [
        volume.A3_per_atom for volume in comparison.volumes_A3_per_atom
    ]
    curve = files["student_learning_curve.csv"]
    assert len(curve.rows) == sum(len(member.history) for member in found.members)


@pytest.mark.slow
def test_without_the_demand_the_numbers_come_with_a_warning(refused):
    path = refused.path
    path.write_text(TEXT.replace("distil:\n", "distil:\n  require_parity: false\n"))
    campaign = Campaign.load(path)
    results = campaign.run(write_report=False)
    path.write_text(TEXT)
    assert results.status == "student failed parity"
    assert [one.run.member for one in results.transport.runs] == [1, 2, 1, 2]
    assert any("are not results until it passes" in statement.words for statement in results.statements)
    assert results.analyse.arrhenius
