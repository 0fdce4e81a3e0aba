"""Distillation in a campaign: its section, its plan, and what becomes of a student that fails."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from superionic import Campaign
from superionic.campaign.file.presets import complete
from superionic.campaign.file.schema import CampaignFile, draft_of
from superionic.campaign.trajectories import open_run
from superionic.potentials.base import load_potential
from superionic.report.sections import simulations, student, teachers
from superionic.report.table import Table
from superionic.settings.distil import DistilSettings, resolved
from superionic.settings.rules import broken_rules
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
    return {problem.dotted: f"{problem.message}; {problem.hint}" for problem in broken_rules(draft_of(raw))}


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


def test_from_labels_alone_students_run_over_the_temperatures_and_in_the_cells_of_transport():
    moving = TransportSettings(temperatures_K=[500.0, 600.0, 900.0], supercell="1x1x2")
    filled = resolved(DistilSettings(method="on-policy"), moving)
    assert filled.temperatures_K == (500.0, 900.0)
    assert filled.explore.temperature_K == 990.0
    assert filled.on_policy.gate_supercell == moving.supercell
    # Two students, ten frames each at both ends: 40 of the 600 labels; 200 are seeds, the rest is for three rounds.
    assert filled.on_policy.labels_of_gate(2, 1) == 40
    assert filled.on_policy.labels_of_round(2, 1) == 120
    alone = resolved(DistilSettings(method="on-policy", supercell="2x1x1"), None)
    assert alone.on_policy.gate_supercell == alone.supercell
    assert alone.temperatures_K == (800.0, 1000.0)


def test_settings_of_the_other_way_are_named_where_they_would_be_ignored():
    def idle(distil):
        written = {**MINIMAL, "distil": distil}
        listed = [problem.dotted for problem in broken_rules(draft_of(complete(written)), written)]
        return [place for place in listed if place.startswith("distil")]

    assert idle({"method": "on-policy", "data": {"contacts": 3, "max_force_eV_per_A": 40.0}}) == [
        "distil.data.contacts"
    ]
    assert idle({"method": "on-policy", "npt_ps": 1.0, "held_out_ps": 1.0}) == ["distil.held_out_ps", "distil.npt_ps"]
    runs = {"method": "on-policy", "npt_ps": 1.0, "held_out_ps": 1.0, "on_policy": {"compare_runs": True}}
    assert idle(runs) == ["distil.held_out_ps"]
    assert idle({"on_policy": {"rounds": 2}}) == ["distil.on_policy"]
    # The settings of the preset's own method are nobody's mistake.
    assert idle({"preset": "demo", "method": "teacher-runs"}) == []
    assert idle({"preset": "demo"}) == []


def test_mistakes_of_labels_alone_are_named_with_the_fix():
    def own(**settings):
        return problems({"method": "on-policy", "on_policy": settings})

    assert own() == {}
    assert "leave 0 for 3 round(s)" in own(max_labels=200)["distil.on_policy.max_labels"]
    assert "did you mean 'pair'" in own(seed_potential="pari")["distil.on_policy.seed_potential"]
    assert "fewer than `gate_frames`" in own(gate_ps=0.2)["distil.on_policy.gate_ps"]
    assert "fewer than `seed_frames`" in own(seed_ps=0.05)["distil.on_policy.seed_ps"]


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
    told = [p for p in broken_rules(draft_of(without)) if p.dotted == "transport.potential"]
    assert "needs a `distil` section" in told[0].message
    kept = complete({**MINIMAL, "potentials": {"student": {"engine": "pair"}}})
    assert any("is kept for the potential that the campaign distils" in p.message for p in broken_rules(draft_of(kept)))


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
def test_a_student_drives_another_campaign_by_its_file_and_leaves_it_for_gpumd(refused, root, tmp_path):
    student_file = refused.report_folder / "student" / "student_1.nep.txt"
    shutil.copy(root / "examples" / "li3ycl6" / "licl.cif", tmp_path)
    (tmp_path / "campaign.yaml").write_text(f"""\
superionic: 1
name: another
mobile_ion: Li
oxidation_states: {{Li: 1, Cl: -1}}
crystals: [{{name: licl, file: licl.cif}}]
potentials: {{mine: {{engine: nep, file: {student_file}, energy_convention: 'own: a student'}}}}
rank: {{method: single-points, relax_top: 1, max_steps: 1, fmax_eV_per_A: 99}}
transport: {{temperatures_K: [900], replicas: 1}}
""")
    campaign = Campaign.load(tmp_path / "campaign.yaml")
    campaign.run(until="rank")
    written = [path for path in campaign.export("gpumd", tmp_path / "out") if path.name == "nep.txt"]
    assert written
    salt = read(tmp_path / "licl.cif")
    salt.rattle(0.1, seed=1)
    here, there = (
        load_potential("nep", file=str(path), energy_convention="own: a student").evaluate(salt)
        for path in (student_file, written[0])
    )
    assert there.energy_eV == pytest.approx(here.energy_eV, abs=1e-12)


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


ALONE = """\
distil:
  method: on-policy
  teachers: [pair, harder]
  require_parity: false
  temperatures_K: [900, 1200]
  explore: {temperature_K: 1300}
  segment_ps: 0.4
  epochs: 30
  learning_rate: 0.008
  epochs_per_segment: 40
  options: {n_radial: 4, n_angular: 3, l_max: 2, n_neurons: 10, batch_size: 4, cutoff_angular_A: 4}
  on_policy:
    {max_labels: 46, seed_labels: 28, contacts: 4, seed_runs: 1, seed_ps: 0.1, seed_frames: 2, rounds: 1, runs: 1,
     run_ps: [0.2], final_epochs: 40, gate_frames: 3, gate_npt_ps: 0.2, gate_ps: 0.2, repairs: 1, repair_frames: 4}
"""


@pytest.fixture(scope="module")
def alone(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    shutil.copy(root / "examples" / "li3ycl6" / "licl.cif", folder)
    before, after = TEXT.split("distil:\n")
    before = before.replace("rank: {", "rank: {potential: pair, ").replace(
        "  pair: {engine: pair}\n", "  pair: {engine: pair}\n  harder: {engine: pair, options: {charge_scale: 1.1}}\n"
    )
    after = "transport:\n" + after.split("transport:\n")[1]
    after = after.replace("[900, 1200]", "[1800, 2400]")
    (folder / "campaign.yaml").write_text(before + ALONE + after.replace("null}", "null, sites: none}"))
    campaign = Campaign.load(folder / "campaign.yaml")
    campaign.run()
    return campaign


@pytest.mark.slow
def test_the_report_shows_labels_and_errors_by_round_and_the_gate_by_run(alone):
    results = alone.load_results()
    found = results.distil
    assert results.status == "student failed parity"
    section = student.section(results)
    tables = [block for block in section.blocks if isinstance(block, Table)]
    n_gate = len(found.on_policy.runs)
    assert 1 <= n_gate <= 4  # students of so little training do not all hold out
    # Nor are they right: they learned from runs on whose frames they were off, and failed again.
    last = found.rounds[-1]
    assert last.is_repair
    assert any(not seen.ended for seen in last.explorations)
    assert last.labels >= 2
    assert [len(table.rows) for table in tables] == [len(found.verdict.criteria), 4, n_gate, n_gate, len(found.rounds)]
    assert [row[6] for row in tables[-1].rows] == [str(one.labels) for one in found.rounds]
    files = {table.name: table for table in section.csv}
    assert all(len(row) == len(table.columns) for table in section.csv for row in table.rows)
    frames = files["student_own_frames.csv"]
    runs = [dict(zip(frames.columns, row, strict=True)) for row in frames.rows]
    assert [(run["temperature_K"], run["potential"], run["element"]) for run in runs] == [
        (run.temperature_K, f"student {run.member}", element)
        for run in found.on_policy.runs
        for element in ("Li", "Cl")
    ]
    assert runs[0]["pressure_difference_GPa"] == found.on_policy.runs[0].frames.pressure_difference_GPa
    rounds = files["student_rounds.csv"]
    errors = [metrics.rmse_force_meV_per_A for one in found.rounds for metrics in one.errors]
    assert [row[rounds.columns.index("rmse_force_meV_per_A")] for row in rounds.rows] == errors
    page = (alone.report_folder / "report.html").read_text(encoding="utf-8")
    assert "before they learned them" in page
    assert "frames of the students" in page
    lines = {line.stage: line for line in alone.check().lines}
    assert "labels by the teacher" in lines["distil"].work
    assert "each for 2 teachers: pair, harder" in lines["distil"].work
    assert lines["transport"].work.startswith("8 runs")


@pytest.mark.slow
def test_students_learn_from_how_their_runs_for_the_gate_ended_and_run_again(alone):
    text = alone.path.read_text(encoding="utf-8")
    path = alone.path.with_name("strict.yaml")
    # A run ends early where the student extrapolates at all: students of so few labels do.
    strict = text.replace("temperature_K: 1300}", "temperature_K: 1300, stop_above: 1.05}").replace(
        "name: salt", "name: strict"
    )
    path.write_text(strict.replace("teachers: [pair, harder]", "teacher: pair"), encoding="utf-8")
    campaign = Campaign.load(path)
    results = campaign.run(until="distil", write_report=False)
    found = results.distil
    first, repair = found.rounds
    assert all(seen.ended for seen in repair.explorations)
    assert 1 <= repair.labels <= 4 * len(repair.explorations)
    assert repair.errors == ()
    assert (first.is_repair, repair.is_repair) == (False, True)
    assert repair.structures == first.structures + first.labels
    assert found.learned_from.total == repair.structures + repair.labels
    tables = [block for block in student.section(results).blocks if isinstance(block, Table)]
    assert any("are repairs" in table.caption for table in tables)


@pytest.mark.slow
def test_students_of_each_teacher_run_and_stand_side_by_side(alone):
    results = alone.load_results()
    (further,) = results.teachers
    assert (results.distil.teacher.name, further.name, further.not_used) == ("pair", "harder", "")
    assert {run.run.potential for run in further.transport.runs} == {"student of harder"}
    for moved in (results.transport, further.transport):  # a run may fail: it is counted
        assert len(moved.runs) + len(moved.failures) == 4
        assert {run.run.member for run in moved.runs} <= {1, 2}
    own, other = results.analyse.arrhenius[0], further.arrhenius[0]
    # In a perfect crystal hardly an ion moves within a picosecond: the lines meet in one task, if there are lines.
    made = alone.explain(own.key).descriptor
    assert made.function.endswith(":arrhenius_of_teachers_task")
    assert made.settings["teachers"] == ["pair", "harder"]
    assert made.keys_of("others") == (other.key,)
    energies = [own.dependence.Ea_eV, other.dependence.Ea_eV]
    section = teachers.section(results)
    gates, table = (block for block in section.blocks if isinstance(block, Table))
    assert [row[0] for row in gates.rows] == [row[1] for row in table.rows] == ["pair", "harder"]
    (file,) = section.csv
    rows = [dict(zip(file.columns, row, strict=True)) for row in file.rows]
    assert [row["Ea_eV"] for row in rows] == energies
    coldest = [run.volume_A3_per_atom for run in further.transport.runs if run.run.temperature_K == 1800.0]
    assert f"1800 K: {sum(coldest) / len(coldest):.6g}" in rows[1]["volumes_A3_per_atom"]
    page = (alone.report_folder / "report.html").read_text(encoding="utf-8")
    assert "Students of several teachers" in page
    assert len(list((alone.report_folder / "student").iterdir())) == 4
    assert alone.status().is_done


@pytest.mark.slow
def test_each_teacher_has_the_last_word_on_frames_of_the_runs_of_its_students(alone):
    results = alone.load_results()
    own, others = results.transport, results.teachers[0].transport
    for moved in (own, others):
        judged = [run for run in moved.runs if run.own_frames is not None]
        assert judged
        assert {run.own_frames.errors.n_structures for run in judged} <= {2, 3}
        worst = max(abs(run.own_frames.energy_bias_meV_per_atom) for run in judged)
        bias = next(each for each in moved.verdict.criteria if each.name == "energy bias on own frames")
        assert abs(bias.value) == worst
    # By another way: the last frame of a run, by the teacher and by the student as it was exported.
    run = next(run for run in own.runs if run.own_frames is not None)
    opened = next(each for each in open_run(alone.run_folder) if each.run == run.run)
    *_, last = opened.reader.blocks()
    frame = Atoms(opened.reader.symbols, scaled_positions=last.fractional[-1], cell=last.cells_A[-1], pbc=True)
    exported = alone.report_folder / "student" / f"student_{run.run.member}.nep.txt"
    fast = load_potential("nep", file=str(exported), energy_convention="own: a student").evaluate(frame)
    slow = load_potential("pair").evaluate(frame)
    off, size = (np.sqrt(np.mean(x**2)) for x in (fast.forces_eV_per_A - slow.forces_eV_per_A, slow.forces_eV_per_A))
    ratio = off / size
    assert 0.3 * run.own_frames.force_ratio < ratio < 3.0 * run.own_frames.force_ratio
    table = next(
        block
        for block in simulations.section(results).blocks
        if isinstance(block, Table) and block.caption.startswith("The student against its teacher")
    )
    assert [row[0] for row in table.rows] == [each.run.label for each in own.runs if each.own_frames is not None]
    contradicted = [each for each in results.statements if "differ on frames of production runs" in each.words]
    assert len(contradicted) == [own.verdict.passed, others.verdict.passed].count(False)


def test_one_frame_of_a_run_is_refused():
    assert "no spread" in problems({"production_frames": 1})["distil.production_frames"]
    assert problems({"production_frames": 0}) == {}


def test_mistakes_in_several_teachers_are_named_with_the_fix():
    assert "did you mean 'pair'" in problems({"teachers": ["pair", "pari"]})["distil.teachers[1]"]
    assert "needs a `train` section" in problems({"teachers": ["pair", "fine-tuned"]})["distil.teachers[1]"]
    assert "both given" in problems({"teacher": "pair", "teachers": ["pair"]})["distil.teachers"]
    two = {**MINIMAL["potentials"], "softer": {"engine": "pair"}}
    raw = {"potentials": two, "rank": {"potential": "pair"}}
    assert problems({"teachers": ["pair", "softer"]}, **raw) == {}
    driven = problems({"teachers": ["pair", "softer"]}, transport={"potential": "pair"}, **raw)
    assert "students of further teachers do nothing" in driven["distil.teachers"]


def test_students_run_no_composition_that_they_did_not_learn():
    run = {"compositions": ["Li3YCl6", "LiCl"]}
    assert "also LiCl" in problems({"compositions": ["Li6Y2Cl12"]}, transport=run)["distil.compositions"]
    assert "all compositions" in problems({"compositions": ["Li3YCl6"]}, transport={})["distil.compositions"]
    assert problems({"compositions": ["ClLi", "Li3YCl6"]}, transport=run) == {}
    other = {"potential": "pair", **run}  # not driven by students
    assert "distil.compositions" not in problems({"compositions": ["LiCl"]}, transport=other)


@pytest.mark.slow
def test_what_students_from_labels_alone_failed_is_said_with_a_way_out(alone):
    first = next(doubt for doubt in student.doubts(alone.load_results()) if doubt.severity == "warning")
    assert "distil.on_policy.max_labels" in first.words
    cautions = [doubt.words for doubt in student.doubts(alone.load_results()) if doubt.severity == "caution"]
    assert any("not in diffusivities" in words for words in cautions)
