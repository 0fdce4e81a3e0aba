"""The stage volumes, run for real in this process, against what a crystal at rest and a straight line must give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from superionic.dynamics.relax import relax
from superionic.execution.task import Context, task
from superionic.potentials.base import load_potential
from superionic.results.identity import Material, OrderedCell, Ordering, Run
from superionic.results.volumes import VolumeRun
from superionic.settings.volumes import VolumesSettings
from superionic.stages import volumes
from superionic.stages.base import Candidate
from superionic.stages.replay import Structures
from superionic.transport.observables.volumes import MeanCell, SeriesMean, VolumeTrace
from superionic.units import GPA_PER_EV_PER_A3

CELL = Ordering(OrderedCell(Material("licl")), 0)
SHORT = {
    "supercell": "1x1x1",
    "temperatures_K": [10.0],
    "timestep_fs": 2.0,
    "heating_ps": 0.0,
    "nvt_before_npt_ps": 0.0,
    "npt_ps": 2.0,
    "npt_discard_fraction": 0.5,
    "barostat_time_fs": 300.0,
    "cell_motion": "isotropic",
    "save_every_fs": 10.0,
    "segment_ps": 1.0,
    "fmax_eV_per_A": 0.001,
}


def licl():
    return bulk("LiCl", "rocksalt", a=5.13, cubic=True)


@task(version=1)
def crystal_task(_context: Context) -> Structures:
    """Give rock salt of eight atoms, as the ranking relaxes it: without pressure."""
    return Structures((relax(licl(), load_potential("pair"), fmax_eV_per_A=0.01).atoms,))


@pytest.fixture(autouse=True)
def importable(monkeypatch, root):
    monkeypatch.syspath_prepend(str(root))


def series(bench, **more):
    crystal = bench.at("rank").task("relaxed", crystal_task.of())
    candidate = replace(Candidate(CELL, crystal.result.atoms[0], "LiCl"), relaxed_eV_per_atom=0.0)
    return volumes.run(VolumesSettings(**{**SHORT, **more}), bench, [candidate], [bench.potentials["pair"]])


def test_the_cell_at_rest_bears_the_pressure_and_a_cold_run_has_its_volume(workbench):
    # At 1 GPa, since rock salt by this potential is not far from leaving its structure where nothing presses.
    result = series(workbench(), pressure_GPa=1.0)
    (cell,), (run,) = result.relaxed, result.runs
    assert cell.converged
    # The potential itself, asked for the stress of that cell, answers with the pressure.
    edge = cell.lengths_A[0]
    assert (8 * cell.volume_A3_per_atom, cell.angles_deg[0]) == (pytest.approx(edge**3), pytest.approx(90.0))
    stress = load_potential("pair").evaluate(bulk("LiCl", "rocksalt", a=edge, cubic=True)).stress_eV_per_A3
    assert -GPA_PER_EV_PER_A3 * np.array(stress[:3]) == pytest.approx([1.0] * 3, abs=0.01)
    mean = run.mean_cell.volume_per_atom_A3
    assert mean.value == pytest.approx(cell.volume_A3_per_atom, rel=5e-3)  # at 10 K
    assert run.run.pressure_GPa == 1.0
    assert run.length_ps == pytest.approx(2.0)
    assert run.mean_cell.discarded_ps == pytest.approx(1.0, abs=0.02)
    assert result.expansions == ()  # one temperature has no slope


def test_the_expansion_is_the_slope_of_the_volumes_for_each_ordering():
    def at(index, temperature, volume):
        still = SeriesMean(volume, 0.01, (volume, volume), (volume, volume), 0.1, 1.0, 50.0)
        cell = MeanCell((still,) * 3, (still,) * 3, still, still, 0.0, ())
        ordering = Ordering(OrderedCell(Material("licl")), index)
        run = Run(ordering, temperature, 1, "pair", 1e-4, None, f"{index} {temperature}")
        return VolumeRun(run, "LiCl", "k", 8, CELL.cell.supercell, 1.0, cell, VolumeTrace(), None, ())

    rows = [at(0, t, 20.0 + 0.002 * (t - 300.0)) for t in (200.0, 300.0, 400.0)] + [at(1, 300.0, 30.0)]
    (only,) = volumes.expansions(rows)
    assert only.ordering.index == 0
    assert only.expansion.volumetric_per_K == pytest.approx(0.002 / 20.0)  # at the mean temperature, 300 K
    assert only.expansion.linear_per_K == pytest.approx(0.002 / 60.0)
