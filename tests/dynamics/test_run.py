"""Molecular dynamics in one call: conserved, continued exactly, and read as a trajectory like any file."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

import superionic
from superionic.dynamics.run import run_md
from superionic.errors import AnalysisError, PotentialError, SuperionicError
from superionic.potentials.base import load_potential


@pytest.fixture(scope="module")
def crystal():
    return bulk("LiCl", "rocksalt", a=5.2, cubic=True).repeat((2, 1, 1))


@pytest.fixture(scope="module")
def potential():
    return load_potential("pair", cutoff_A=5.0)


def test_nve_conserves_energy_and_says_the_temperature(crystal, potential):
    run = run_md(crystal, potential, temperature_K=300, ps=0.2, ensemble="nve", save_every=5)
    frame = run.to_frame()
    total = frame["potential_energy_eV"] + frame["kinetic_energy_eV"]
    assert np.ptp(total) / len(crystal) < 1e-4
    assert frame["time_ps"].tolist() == pytest.approx(np.arange(41) * 0.005)
    assert frame["temperature_K"].iloc[0] == pytest.approx(300, rel=0.5)
    assert run.temperature_K is None
    assert "NVE" in repr(run)
    assert len(repr(run).splitlines()) <= 5


def test_two_halves_are_one_whole_bit_by_bit(crystal, potential):
    whole = run_md(crystal, potential, temperature_K=500, ps=0.04, seed=3)
    half = run_md(crystal, potential, temperature_K=500, ps=0.02, seed=3)
    rest = run_md(half, potential, ps=0.02)
    for name in ("positions_A", "temperatures_K", "potential_energies_eV", "times_ps"):
        parts = np.concatenate([getattr(half.segment, name), getattr(rest.segment, name)])
        assert np.array_equal(parts, getattr(whole.segment, name))


def test_a_run_is_analysed_as_its_file_would_be(crystal, potential, tmp_path):
    run = run_md(crystal, potential, temperature_K=900, ps=0.4, save_every=4, seed=1)
    first, second = run, run_md(run, potential, ps=0.2)
    symbols = crystal.get_chemical_symbols()
    frames = [
        crystal.__class__(symbols, positions=positions, cell=cell, pbc=True)
        for each in (first, second)
        for positions, cell in zip(each.segment.positions_A, each.segment.cells_A, strict=True)
    ]
    for atoms in frames:
        atoms.wrap()
    write(tmp_path / "run.extxyz", frames)
    options = {"mobile": "Li", "temperature_K": 900}
    ours = superionic.analyse([first, second], **options).runs[0]
    theirs = superionic.analyse(tmp_path / "run.extxyz", frame_interval_fs=4, **options).runs[0]
    assert ours.n_frames == theirs.n_frames == 151
    assert ours.frame_interval_ps == pytest.approx(theirs.frame_interval_ps)
    for name in ("tracer_diffusivity_cm2_per_s", "haven_ratio"):
        one, other = getattr(ours.transport, name), getattr(theirs.transport, name)
        assert one.interval95 == pytest.approx(other.interval95, rel=1e-3, abs=1e-12)


def test_mistakes_name_the_fix(crystal, potential, tmp_path):
    with pytest.raises(SuperionicError, match="temperature is missing") as caught:
        run_md(crystal, potential, ps=1)
    assert "temperature_K" in str(caught.value.fix)
    with pytest.raises(SuperionicError, match="less than a step"):
        run_md(crystal, potential, temperature_K=300, ps=1e-5)
    with pytest.raises(PotentialError, match="does not cover"):
        run_md(bulk("Ne", cubic=True), potential, temperature_K=300, ps=1)
    run = run_md(crystal, potential, temperature_K=300, ps=0.01)
    # A run goes on as it was: what would change it is not ignored.
    for more in ({"temperature_K": 900}, {"ensemble": "npt"}, {"seed": 1}, {"settings": run.settings}):
        with pytest.raises(
            SuperionicError, match=rf"{next(iter(more))} would have no effect together with a run that goes on"
        ):
            run_md(run, potential, ps=0.01, **more)
    with pytest.raises(SuperionicError, match="timestep_fs would have no effect together with settings"):
        run_md(crystal, potential, ps=0.01, settings=run.settings, timestep_fs=2)
    (tmp_path / "store").mkdir()
    with pytest.raises(AnalysisError, match="run folder"):
        superionic.analyse([run, tmp_path])
