"""`superionic init --budget 8h`: sizes that fit into a time by the plan, and what was given up for it."""

from __future__ import annotations

import itertools
import re
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from superionic.campaign.budget import LADDER
from superionic.campaign.file.load import load_campaign
from superionic.campaign.initialise import draft_campaign
from superionic.campaign.plan import PlanLine, estimate_plan
from superionic.cli.main import main
from superionic.cli.options import parse_budget_h
from superionic.errors import CampaignFileError
from superionic.structures.io.files import read_crystal

# A cube of 5 Å with LiCl in it, whose Li has two places.
CIF = """\
data_cube
_cell_length_a 5.0
_cell_length_b 5.0
_cell_length_c 5.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li 0 0 0 0.5
Li2 Li 0.5 0.5 0.1 0.5
Cl1 Cl 0.5 0.5 0.5 1
"""
ALL_THE_TIME_H = 1e5


@pytest.fixture
def cif(tmp_path):
    path = tmp_path / "cube.cif"
    path.write_text(CIF, encoding="utf-8")
    return path


def written(cif: Path, budget_h: float):
    """Return the file that is written for a time, its text, and what its plan says."""
    text = draft_campaign(cif, folder=cif.parent, budget_h=budget_h)
    path = cif.parent / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    file = load_campaign(path)
    # The plan of `check` but for the engines, which need not be installed here.
    return file, text, estimate_plan(file, {"cube": read_crystal(cif)}, {}, cif.parent).wall_hours


def sizes(file) -> tuple[float, ...]:
    atoms = 1
    for row in file.transport.supercell:
        atoms *= sum(row)
    of_runs = (file.transport.replicas, file.transport.npt_ps, file.transport.production_ps)
    of_teacher = (file.distil.on_policy.max_labels, file.distil.on_policy.seed_labels)
    return (file.enumerate.ewald_keep, *of_teacher, atoms, len(file.transport.temperatures_K), *of_runs)


def test_nothing_grows_down_the_ladder():
    for larger, smaller in itertools.pairwise(LADDER):
        more, less = (
            [len(size) if isinstance(size, tuple) else size for size in astuple(s)] for s in (larger, smaller)
        )
        assert all(a >= b for a, b in zip(more, less, strict=True))
        assert more != less


def test_sizes_fall_with_the_time_and_the_plan_of_the_file_fits_it(cif):
    file, text, longest_h = written(cif, ALL_THE_TIME_H)
    assert "Nothing was given up" in text
    # An ordering has 5 x 5 x 10 Å, as half the places of Li are empty, and four atoms; no side is below 16 Å.
    assert "supercell: 1x1x2" in text
    assert [row[axis] for axis, row in enumerate(file.transport.supercell)] == [4, 4, 2]
    largest = before = sizes(file)
    for share in (0.999, 0.1, 0.02):
        file, text, hours = written(cif, share * longest_h)
        assert 0.0 < hours <= share * longest_h
        now = sizes(file)
        assert all(a >= b for a, b in zip(before, now, strict=True))
        assert now != before
        # What was given up stands in the file with its values.
        said = f"production of each run: {now[-1]:g} ps instead of {largest[-1]:g} ps"
        assert (said in text) == (now[-1] != largest[-1])
        assert ("atoms of a run:" in text) == (now[3] != largest[3])
        if share == 0.999:  # no more was given up than need be: the next size in the ladder, which is that of replicas
            assert (now[5], now[:5], now[6:]) == (before[5] // 2, before[:5], before[6:])
        before = now
    assert f"atoms of a run: {4 * now[3]} instead of 128" in text
    assert "orderings kept" not in text  # there are but two


def test_where_the_least_does_not_fit_nothing_is_written_and_the_fix_works(cif, capsys):
    out = cif.parent / "new.yaml"
    init = ["init", str(cif), "-o", str(out), "--budget"]
    with pytest.raises(SystemExit) as caught:
        main([*init, "0.001min"])
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert not out.exists()
    # 10 Å along each axis are the fewest cells that reach 9 Å.
    words = " ".join(said.split())
    assert "labels by the teacher: 300; atoms of a run: 16; temperatures: 3 from 700 K" in words
    enough = re.search(r"--budget (\d+min)", said)
    assert enough is not None
    with pytest.raises(SystemExit) as caught:
        main([*init, enough[1]])
    assert caught.value.code == 0
    assert f"sized for {enough[1]}" in capsys.readouterr().out
    assert load_campaign(out).transport.production_ps >= 60


@pytest.mark.parametrize(("text", "hours"), [("8h", 8.0), ("30min", 0.5), ("2d", 48.0), (" 1.5 h", 1.5), (None, None)])
def test_times_have_units(text, hours):
    assert parse_budget_h(text) == hours


@pytest.mark.parametrize("text", ["8", "8 hours", "-1h", "h", "1e3h", ""])
def test_other_times_are_refused(text):
    with pytest.raises(CampaignFileError, match="is not a time") as caught:
        parse_budget_h(text)
    assert "8h" in caught.value.fix


def test_a_stage_takes_as_long_as_its_longest_chain_however_many_workers_there_are():
    def wall(cpu_hours: float, chain: float, workers: int, spent: float = 0.0) -> float:
        line = PlanLine("transport", "", 1, cpu_hours, 0.0, spent_cpu_hours=spent, chain_share=chain / cpu_hours)
        return line.wall_hours(workers)

    assert wall(12.0, 4.0, 1) == pytest.approx(12.0)
    assert wall(12.0, 4.0, 2) == pytest.approx(8.0)  # two of three runs, and then the third
    assert wall(12.0, 4.0, 3) == wall(12.0, 4.0, 64) == pytest.approx(4.0)
    assert wall(12.0, 7.0, 2) == pytest.approx(7.0)  # the others fit beside it
    assert wall(12.0, 4.0, 2, spent=6.0) == pytest.approx(4.0)
    assert wall(12.0, 0.0001, 4) == pytest.approx(3.0, rel=1e-3)


def test_a_run_of_the_plan_is_a_chain(cif):
    file, _, _ = written(cif, ALL_THE_TIME_H)
    plan = estimate_plan(file, {"cube": read_crystal(cif)}, {}, cif.parent)
    (line,) = (line for line in plan.lines if line.stage == "transport")
    runs = len(file.transport.temperatures_K) * file.transport.replicas
    # All runs are equally long; what the teacher says of their frames comes on top.
    assert line.wall_hours(10**6) == pytest.approx(line.cpu_hours / runs, rel=0.1)
    assert replace(plan, workers=10**6).wall_hours > line.cpu_hours / runs * 0.9
    assert "transport" in replace(plan, workers=10**6).chained
