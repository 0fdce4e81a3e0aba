"""The repulsion by the potential that drives runs, in real campaigns: without a hole, and with one."""

from __future__ import annotations

import pytest

from superionic import Campaign
from superionic.errors import StageError
from superionic.report.section import Paragraph
from superionic.report.sections import simulations

from .conftest import write_campaign

# Born–Mayer repulsion this soft loses against the attraction of unlike charges below 0.8 Å.
SOFT = """\
superionic: 1
name: soft
seed: 3
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals:
  - {name: p-3m1, file: li3ycl6_p-3m1.cif}
potentials:
  soft: {engine: pair, options: {softness_A: 0.44}}
enumerate: {ewald_keep: 1}
rank: {relax_top: 1, fmax_eV_per_A: 0.3, max_steps: 30, warm_start: 0}
hull: null
transport: {supercell: 1x1x1, temperatures_K: [300], timestep_fs: 1, heating_ps: 0, nvt_before_npt_ps: 0,
  npt_ps: 0, production_ps: 0.01, save_every_fs: 2, segment_ps: 1}
analyse: null
"""


def test_a_hole_within_reach_is_a_warning_with_a_figure(root, tmp_path):
    results = Campaign.load(write_campaign(root, tmp_path, SOFT)).run(write_report=False)
    (test,) = results.transport.repulsion
    assert ("Li", "Cl") in {curve.pair for curve in test.curves if curve.hole is not None}
    said = [each for each in simulations.doubts(results) if each.short == "the repulsion has a hole"]
    assert said[0].severity == "warning"
    assert "potential soft has holes" in said[0].words
    assert "Li–Cl below" in said[0].words
    section = simulations.section(results)
    figure = next(plot for plot in section.plots if plot.key == "repulsion")
    assert [panel.title for panel in figure.panels[::2]] == ["–".join(curve.pair) for curve in test.curves[:6]]
    table = next(table for table in section.csv if table.name == "repulsion.csv")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["energy_eV"] for row in rows] == [energy for curve in test.curves for energy in curve.energies_eV]
    assert {row["ordering"] for row in rows} == {test.ordering.id}


def test_potentials_that_repel_are_said_to(polymorphs):
    (test,) = polymorphs.results.transport.repulsion
    # The ordering of most elements is pushed together: of the middle composition, so that Cl meets Br.
    assert ("Cl", "Br") in {curve.pair for curve in test.curves}
    assert {curve.hole for curve in test.curves} == {None}
    assert not [each for each in polymorphs.results.statements if "repulsion" in each.words]
    section = simulations.section(polymorphs.results)
    words = [block.words for block in section.blocks if isinstance(block, Paragraph)]
    assert any("Cl–Br" in each for each in words)


def test_a_campaign_whose_runs_all_fall_into_a_hole_says_so(root, tmp_path):
    longer = SOFT.replace("production_ps: 0.01", "production_ps: 0.04")
    with pytest.raises(StageError, match="fell into each other: Li and Cl") as caught:
        Campaign.load(write_campaign(root, tmp_path, longer)).run()
    assert "the repulsion by this one has holes: Li–Cl below" in caught.value.fix
