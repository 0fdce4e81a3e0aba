"""Orderings of a large cell, drawn at a temperature and run beside the lowest ones."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from superionic import Campaign
from superionic.errors import CampaignFileError
from superionic.report.sections import draws

from .conftest import TEXTS, write_campaign

TWICE = ((1, 0, 0), (0, 1, 0), (0, 0, 2))


def test_draws_of_a_large_cell_are_run_as_they_are(two_axes):
    drawn = two_axes.results.draws
    (cell,) = drawn.cells
    assert cell.cell.supercell == TWICE
    assert (cell.formula, cell.n_atoms) == ("Li3InBr3Cl3", 40)
    assert cell.evidence.surrogate.fits[0].energies == sum(count for _, count in cell.energies) >= 10
    # an ordering that was drawn twice is run twice, so that it counts as often
    assert len(drawn.orderings) == cell.evidence.independent_draws == 2
    assert {run.run.ordering for run in drawn.transport.runs} == {each.ordering for each in drawn.orderings}
    assert {run.n_atoms for run in drawn.transport.runs} == {40}
    assert {run.supercell for run in drawn.transport.runs} == {((1, 0, 0), (0, 1, 0), (0, 0, 1))}
    assert drawn.failures == ()
    # they take no part in what the report states of the lowest orderings
    lowest = {run.run.ordering for run in two_axes.results.transport.runs}
    assert lowest.isdisjoint(each.ordering for each in drawn.orderings)


def test_the_average_over_draws_is_compared_with_the_lowest_ordering(two_axes):
    drawn = two_axes.results.draws
    (average,) = drawn.arrhenius
    for point in average.dependence.points:
        single = [
            run.analysis.nernst_einstein_conductivity_S_per_cm.value
            for run in drawn.runs
            if run.run.temperature_K == point.temperature_K
        ]
        assert point.conductivity_S_per_cm.estimate.value == pytest.approx(np.mean(single))
        assert point.conductivity_S_per_cm.n_orderings == len(single) == 2
    lowest = next(each for each in two_axes.results.analyse.arrhenius if each.material == average.material)
    section = draws.section(two_axes.results)
    (plot,) = section.plots
    assert {series.label for series in plot.panels[0].series} >= {"lowest ordering", "average over draws"}
    with (two_axes.report / "tables" / "draws_conductivities.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["temperature_K"]) for row in rows] == [900.0, 1200.0]
    for row, one, other in zip(rows, lowest.dependence.points, average.dependence.points, strict=True):
        values = [point.conductivity_S_per_cm.estimate.value for point in (one, other)]
        assert float(row["ratio"]) == pytest.approx(values[1] / values[0])


def test_the_plan_runs_a_draw_in_its_own_cell(two_axes):
    (line,) = (line for line in two_axes.campaign.check().lines if line.stage == "transport")
    assert "2 draws of each of 1 at 900 K" in line.work
    assert "4 runs" in line.work
    assert line.work.endswith("40 atoms")


def test_a_large_cell_is_a_multiple_of_a_small_one(tmp_path, root):
    text = TEXTS["two-axes"].replace("li3ybr6_c2m.cif}", "li3ybr6_c2m.cif, supercell: 1x2x1}")
    with pytest.raises(CampaignFileError, match="no multiple of a supercell of c2m"):
        Campaign.load(write_campaign(root, tmp_path, text))
