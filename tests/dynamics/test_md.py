from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from superionic.dynamics.md import Limits, MDSettings, MDState, Segment, continued_state, initial_state, run_segment
from superionic.dynamics.state import pack_rng, unpack_rng
from superionic.errors import AnalysisError, CalculationFailed, PotentialError, SuperionicError
from superionic.execution.codec import decode, encode, from_tree
from superionic.potentials.base import BasePotential, Prediction, describe_potential, load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.trajectories.mean_cell import average_cell
from superionic.units import BOLTZMANN_EV_PER_K

ENSEMBLES = {
    "nve": {"ensemble": "nve"},
    "nose-hoover-chain": {"thermostat": "nose-hoover-chain"},
    "csvr": {"thermostat": "csvr"},
    "langevin": {"thermostat": "langevin"},
    "berendsen": {"thermostat": "berendsen"},
    "npt isotropic": {"ensemble": "npt", "cell_motion": "isotropic"},
    "npt axes": {"ensemble": "npt", "cell_motion": "axes"},
    "npt anisotropic": {"ensemble": "npt", "cell_motion": "anisotropic"},
    "npt berendsen": {"ensemble": "npt", "barostat": "berendsen", "thermostat": "berendsen"},
}
SAME = ("positions_A", "momenta", "cell_A", "rng")
FRAMES = ("steps", "positions_A", "cells_A", "temperatures_K", "potential_energies_eV", "pressures_GPa", "conserved_eV")


def stored(value, kind):
    """Put a value into the store's bytes, and read it again."""
    return from_tree(decode(*encode(value)), kind)


@pytest.mark.parametrize("ramp", [{}, {"ramp_from_K": 100.0, "ramp_steps": 17}], ids=["plain", "ramp"])
@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=ENSEMBLES)
def test_segments_equal_one_run_bit_for_bit(ensemble, ramp):
    settings = MDSettings(temperature_K=600.0, save_every=5, record_pressure=True, **ensemble, **ramp)
    start = initial_state(li3ycl6_cell(), settings, seed=3)
    whole = run_segment(start, load_potential("pair"), settings, 32)
    state, parts = start, []
    for n_steps in (7, 5, 0, 20):
        # Through the store and with a fresh potential, as after a kill.
        part = run_segment(stored(state, MDState), load_potential("pair"), settings, n_steps)
        part = stored(part, Segment)
        state = part.state
        parts.append(part)
    for name in SAME:
        assert np.array_equal(getattr(whole.state, name), getattr(state, name)), name
    assert whole.state.internals.keys() == state.internals.keys()
    for name, value in whole.state.internals.items():
        assert np.array_equal(value, state.internals[name]), name
    for name in FRAMES:
        expected, pieces = getattr(whole, name), [getattr(part, name) for part in parts if len(part.steps)]
        if expected is None:
            assert set(pieces) == {None}
        else:
            assert np.array_equal(expected, np.concatenate(pieces)), name
    assert list(whole.steps) == [0, 5, 10, 15, 20, 25, 30]


def test_same_seed_same_run_other_seed_other_run():
    settings = MDSettings(temperature_K=600.0)
    first, second, third = (initial_state(li3ycl6_cell(), settings, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.momenta, second.momenta)
    assert not np.array_equal(first.momenta, third.momenta)


def test_start_has_no_total_momentum_and_the_temperature_of_the_ramp():
    atoms = li3ycl6_cell().repeat(3)
    settings = MDSettings(temperature_K=800.0, ramp_from_K=100.0, ramp_steps=50)
    state = initial_state(atoms, settings, seed=0)
    assert np.abs(state.momenta.sum(axis=0)).max() < 1e-10
    assert state.temperature_K == pytest.approx(100.0, rel=0.1)
    assert settings.target_temperature_K(25) == pytest.approx(450.0)
    assert settings.target_temperature_K(50) == settings.target_temperature_K(5000) == 800.0


def test_state_and_input_are_left_as_they_are():
    atoms = li3ycl6_cell()
    remaining = atoms.copy()
    settings = MDSettings(temperature_K=300.0, ensemble="npt")
    state = initial_state(atoms, settings, seed=0)
    before = {name: np.array(getattr(state, name)) for name in SAME}
    run_segment(state, load_potential("pair"), settings, 5)
    assert atoms == remaining
    assert all(np.array_equal(before[name], getattr(state, name)) for name in SAME)
    with pytest.raises(ValueError, match="read-only"):
        state.positions_A[0, 0] = 1.0


def test_positions_are_unwrapped():
    atoms = li3ycl6_cell()
    settings = MDSettings(temperature_K=300.0, ensemble="nve", save_every=1)
    state = initial_state(atoms, settings, seed=0)
    fast = replace(state, momenta=state.momenta + 40.0 * state.masses_amu[:, None] * [0.01, 0, 0])
    with pytest.raises(CalculationFailed, match="ran away"):
        run_segment(fast, load_potential("pair"), settings, 50)
    segment = run_segment(fast, load_potential("pair"), settings, 300, limits=Limits(temperature_factor=1e6))
    drift = segment.positions_A[-1] - segment.positions_A[0]
    assert drift[:, 0].mean() > 11.2
    assert np.abs(np.diff(segment.positions_A, axis=0)).max() < 0.5


def test_evaluations_are_one_a_step():
    for ensemble in ENSEMBLES.values():
        settings = MDSettings(temperature_K=300.0, **ensemble)
        segment = run_segment(initial_state(li3ycl6_cell(), settings, 0), load_potential("pair"), settings, 10)
        assert segment.n_evaluations == 11, ensemble


@pytest.mark.parametrize("cell_motion", [None, "isotropic", "axes", "anisotropic"])
def test_chains_and_barostats_go_where_those_of_ase_go(cell_motion):
    from ase import units
    from ase.md import nose_hoover_chain as nhc

    npt = {} if cell_motion is None else {"ensemble": "npt", "cell_motion": cell_motion}
    settings = MDSettings(temperature_K=600.0, save_every=40, **npt)
    crystal = li3ycl6_cell()
    if cell_motion == "axes":
        # In an oblique cell ASE's motion of the axes changes their angles.
        crystal.set_cell(np.diag(np.linalg.norm(crystal.cell.array, axis=1)), scale_atoms=True)
    start = initial_state(crystal, settings, seed=3)
    ours = run_segment(start, load_potential("pair"), settings, 40)
    atoms = start.to_atoms()
    atoms.calc = load_potential("pair").calculator()
    # ASE has the Boltzmann constant of 2014, counts 3n degrees of freedom of the ions, and nine of a cell that has six.
    kT, tau, counted = BOLTZMANN_EV_PER_K * 600.0, 100.0 * units.fs, len(atoms) - 1
    arguments = {"temperature_K": kT / units.kB, "tdamp": tau}
    if cell_motion is not None:
        arguments |= {"pressure_au": 1.0e-4 / 160.2176634, "pdamp": 10.0 * tau}
    if cell_motion == "axes":
        arguments["mask"] = np.array([True, True, True])
    integrators = {"isotropic": nhc.IsotropicMTKNPT, "axes": nhc.MaskedMTKNPT, "anisotropic": nhc.MTKNPT}
    theirs = integrators.get(cell_motion, nhc.NoseHooverChainNVT)(atoms, 1.0 * units.fs, **arguments)
    theirs._thermostat._num_atoms_global = counted
    theirs._thermostat._Q[0] = 3 * counted * kT * tau**2
    if cell_motion is not None:
        barostat, cell_dof = theirs._barostat, {"isotropic": 1, "axes": 3, "anisotropic": 6}[cell_motion]
        theirs._num_atoms_global = barostat._num_atoms_global = counted
        barostat._W = (3 if cell_motion == "isotropic" else 1) * (counted + 1) * kT * (10.0 * tau) ** 2
        barostat._cell_dof, barostat._R[0] = cell_dof, cell_dof * kT * (10.0 * tau) ** 2
    for _ in range(40):
        theirs.step()
    assert np.abs(ours.state.positions_A - atoms.positions).max() < 1e-11
    assert np.abs(ours.state.cell_A - atoms.cell.array).max() < 1e-11
    assert ours.conserved_eV[-1] == pytest.approx(theirs.get_conserved_energy(), abs=1e-9)


def test_progress_is_told():
    result = []
    settings = MDSettings(temperature_K=300.0)
    run_segment(
        initial_state(li3ycl6_cell(), settings, 0),
        load_potential("pair"),
        settings,
        20,
        progress=lambda fraction, message: result.append((fraction, message)),
    )
    assert result[-1][0] == 1.0
    assert [fraction for fraction, _ in result] == sorted(fraction for fraction, _ in result)


class _Custom(BasePotential):
    def __init__(self, forces, energy=0.0):
        super().__init__(describe_potential("pair"))
        self._forces, self._energy = forces, energy

    def evaluate(self, atoms, *, stress=True):
        return Prediction(self._energy, self._forces(atoms), np.zeros(6) if stress else None)


def test_blow_ups_are_failed_calculations_with_the_last_good_frame():
    settings = MDSettings(temperature_K=300.0, ensemble="nve", save_every=1)
    state = initial_state(li3ycl6_cell(), settings, 0)
    pull = _Custom(lambda atoms: 30.0 * np.sin(7.0 * atoms.positions))
    with pytest.raises(CalculationFailed, match="ran away") as caught:
        run_segment(state, pull, settings, 500)
    details = caught.value.details
    assert details["last_good"]["n_frames"] >= 1
    assert details["last_good"]["last_step"] < details["step"]
    assert details["time_ps"] == pytest.approx(details["step"] * 1e-3)
    nan = _Custom(lambda atoms: np.full((len(atoms), 3), np.nan))
    with pytest.raises(CalculationFailed, match="finite"):
        run_segment(state, nan, settings, 5)


def test_atoms_in_each_other_and_exploding_cells_are_failures():
    settings = MDSettings(temperature_K=300.0, ensemble="nve")
    close = Atoms("LiCl", positions=[[0, 0, 0], [0.8, 0, 0]], cell=[9, 9, 9], pbc=True)
    with pytest.raises(CalculationFailed, match=r"Li and Cl|Cl and Li"):
        run_segment(initial_state(close, settings, 0), load_potential("pair"), settings, 5)
    blowing = MDSettings(
        temperature_K=300.0, ensemble="npt", barostat="berendsen", thermostat="berendsen", pressure_GPa=-300.0
    )
    with pytest.raises(CalculationFailed, match="volume"):
        run_segment(
            initial_state(li3ycl6_cell(), blowing, 0),
            load_potential("pair"),
            blowing,
            500,
            limits=Limits(temperature_factor=1e6),
        )


def test_an_element_that_is_not_covered_is_the_users_error():
    atoms = li3ycl6_cell()
    atoms.numbers[0] = 86
    settings = MDSettings(temperature_K=300.0)
    with pytest.raises(PotentialError, match="Rn"):
        run_segment(initial_state(atoms, settings, 0), load_potential("pair"), settings, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ensemble": "nvp"},
        {"timestep_fs": 0.0},
        {"temperature_K": float("nan")},
        {"ramp_steps": 10},
        {"ramp_from_K": 100.0},
        {"ensemble": "npt", "thermostat": "csvr"},
        {"ensemble": "npt", "thermostat": "berendsen", "barostat": "berendsen", "cell_motion": "anisotropic"},
        {"save_every": 0},
    ],
)
def test_impossible_settings_are_refused_with_a_fix(wrong):
    with pytest.raises(SuperionicError) as caught:
        MDSettings(**{"temperature_K": 300.0, **wrong})
    assert caught.value.fix


def test_settings_are_stored_exactly():
    settings = MDSettings(temperature_K=450.0, ensemble="npt", pressure_GPa=1.0)
    assert stored(settings, MDSettings) == settings


def test_random_state_is_exact_in_six_integers():
    rng = np.random.Generator(np.random.PCG64(7))
    rng.standard_normal(3)
    rng.integers(0, 5, dtype=np.uint32)
    twin = unpack_rng(pack_rng(rng.bit_generator.state))
    assert np.array_equal(rng.standard_normal(10), twin.standard_normal(10))
    assert rng.integers(0, 2**32, dtype=np.uint32) == twin.integers(0, 2**32, dtype=np.uint32)


def test_continued_state_keeps_fractions_and_starts_counting_anew():
    settings = MDSettings(temperature_K=600.0, ensemble="npt")
    end = run_segment(initial_state(li3ycl6_cell(), settings, 0), load_potential("pair"), settings, 20).state
    cell = 1.02 * np.array(end.cell_A)
    new = continued_state(end, cell_A=cell)
    assert new.step == 0
    assert not new.internals
    assert np.array_equal(new.momenta, end.momenta)
    assert new.positions_A @ np.linalg.inv(cell) == pytest.approx(end.positions_A @ np.linalg.inv(end.cell_A))
    assert new.reference_volume_A3 == pytest.approx(new.volume_A3)


def test_average_cell_is_the_cell_of_a_constant_run_in_its_own_orientation():
    cell = li3ycl6_cell().cell.array
    assert average_cell(np.stack([cell] * 5)) == pytest.approx(cell)
    breathing = np.stack([cell * factor for factor in (5.0, 0.9, 1.1, 0.9, 1.1)])
    average = average_cell(breathing, discard_fraction=0.2)
    assert abs(np.linalg.det(average)) == pytest.approx(np.mean(np.abs(np.linalg.det(breathing[1:]))))
    assert average / np.linalg.norm(average) == pytest.approx(cell / np.linalg.norm(cell))
    with pytest.raises(AnalysisError):
        average_cell(breathing, discard_fraction=1.0)
