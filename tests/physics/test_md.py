"""Molecular dynamics against statistical mechanics."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from superionic.dynamics.md import MDSettings, initial_state, run_segment
from superionic.potentials.base import load_potential

POTENTIAL = load_potential("pair", cutoff_A=5.0)


def crystal(lattice_A=5.5):
    """NaCl, 8 ions: small enough for long runs, so small that 3n and 3n - 3 degrees of freedom differ by 14 %."""
    return bulk("NaCl", "rocksalt", a=lattice_A, cubic=True)


def run(n_steps, atoms=None, **settings):
    wanted = MDSettings(**{"temperature_K": 300.0, "timestep_fs": 2.0, "save_every": 2, **settings})
    return run_segment(
        initial_state(crystal() if atoms is None else atoms, wanted, seed=11), POTENTIAL, wanted, n_steps
    )


def mean_and_error(values, skip):
    """Mean and its standard error from ten blocks."""
    kept = np.asarray(values)[skip:]
    blocks = np.array([block.mean() for block in np.array_split(kept, 10)])
    return kept.mean(), blocks.std(ddof=1) / np.sqrt(len(blocks))


def test_nve_energy_is_conserved_to_second_order_in_the_time_step():
    spreads = []
    for timestep_fs in (2.0, 1.0):
        segment = run(round(600 / timestep_fs), ensemble="nve", timestep_fs=timestep_fs, save_every=1)
        energy = segment.conserved_eV / 8
        half = len(energy) // 2
        assert abs(energy[half:].mean() - energy[:half].mean()) < 2e-5, "drift in eV/atom in 0.6 ps"
        spreads.append(energy.std())
    # Velocity Verlet: the error of the energy goes with the square of the time step.
    assert spreads[0] / spreads[1] == pytest.approx(4.0, rel=0.25)


@pytest.mark.parametrize("thermostat", ["nose-hoover-chain", "csvr", "langevin", "berendsen"])
def test_nvt_mean_temperature(thermostat):
    segment = run(1500, thermostat=thermostat, thermostat_time_fs=50.0)
    mean, error = mean_and_error(segment.temperatures_K, 100)
    assert abs(mean - 300.0) < max(4.0 * error, 3.0)
    assert np.abs(segment.state.momenta.sum(axis=0)).max() < 1e-8
    if thermostat != "berendsen":
        # Canonical: var T / T² = 2/g with g = 3n - 3. Berendsen's thermostat does not give that.
        spread = segment.temperatures_K[100:].std() / mean
        assert spread == pytest.approx(np.sqrt(2.0 / 21.0), rel=0.25)


def test_chain_and_rescaling_conserve_their_extended_energy():
    for thermostat in ("nose-hoover-chain", "csvr"):
        segment = run(400, thermostat=thermostat, timestep_fs=1.0)
        assert np.ptp(segment.conserved_eV) / 8 < 2e-3


@pytest.mark.parametrize(
    "cell_motion",
    [
        pytest.param("isotropic", marks=pytest.mark.slow),
        pytest.param("axes", marks=pytest.mark.slow),
        pytest.param("anisotropic", marks=pytest.mark.slow),
    ],
)
def test_npt_mean_pressure_and_conserved_enthalpy(cell_motion):
    segment = run(
        2000,
        ensemble="npt",
        cell_motion=cell_motion,
        pressure_GPa=1.0,
        thermostat_time_fs=50.0,
        barostat_time_fs=200.0,
    )
    mean, error = mean_and_error(segment.pressures_GPa, 300)
    assert abs(mean - 1.0) < max(4.0 * error, 0.1)
    temperature, temperature_error = mean_and_error(segment.temperatures_K, 300)
    assert abs(temperature - 300.0) < max(4.0 * temperature_error, 6.0)
    assert np.ptp(segment.conserved_eV) / 8 < 5e-3


def test_berendsen_barostat_reaches_its_pressure():
    segment = run(
        1000, ensemble="npt", barostat="berendsen", thermostat="berendsen", pressure_GPa=1.0, barostat_time_fs=200.0
    )
    mean, error = mean_and_error(segment.pressures_GPa, 300)
    assert abs(mean - 1.0) < max(4.0 * error, 0.2)


def test_pressure_of_free_particles_is_the_ideal_gas_law():
    from superionic.potentials.base import BasePotential, Prediction, describe_potential
    from superionic.units import BOLTZMANN_EV_PER_K, gpa

    class Free(BasePotential):
        def evaluate(self, atoms, *, stress=True):
            return Prediction(0.0, np.zeros((len(atoms), 3)), np.zeros(6) if stress else None)

    settings = MDSettings(temperature_K=300.0, ensemble="nve", record_pressure=True)
    atoms = crystal().repeat(2)
    segment = run_segment(initial_state(atoms, settings, 1), Free(describe_potential("pair")), settings, 10)
    expected = gpa((len(atoms) - 1) * BOLTZMANN_EV_PER_K * segment.temperatures_K / atoms.get_volume())
    assert segment.pressures_GPa == pytest.approx(expected)


def test_a_crystal_vibrates_at_the_frequency_of_its_force_constant():
    # One sublattice against the other along x: the frequency from MD equals the one from finite differences.
    atoms = crystal()
    sodium = atoms.numbers == 11
    masses = atoms.get_masses()
    reduced = masses[sodium][0] * masses[~sodium][0] / (masses[sodium][0] + masses[~sodium][0])
    step_A = 1e-4
    moved = atoms.copy()
    moved.positions[sodium, 0] += step_A
    constant = -POTENTIAL.evaluate(moved).forces_eV_per_A[sodium, 0].mean() / step_A
    # sqrt(eV/Å²/amu) = 98.2269 rad/ps
    period_fs = 1e3 * 2 * np.pi / (np.sqrt(constant / reduced) * 98.22694788)
    settings = MDSettings(temperature_K=1e-6, ensemble="nve", timestep_fs=0.5, save_every=1)
    displaced = atoms.copy()
    displaced.positions[sodium, 0] += 0.01 * masses[~sodium][0] / masses.sum() * 8
    displaced.positions[~sodium, 0] -= 0.01 * masses[sodium][0] / masses.sum() * 8
    segment = run_segment(initial_state(displaced, settings, 0), POTENTIAL, settings, round(3 * period_fs / 0.5))
    relative = (segment.positions_A[:, sodium, 0] - atoms.positions[sodium, 0]).mean(axis=1)
    crossings = np.nonzero(np.diff(np.sign(relative)))[0]
    fraction = relative[crossings] / (relative[crossings] - relative[crossings + 1])
    measured_fs = 2.0 * np.diff(0.5 * (crossings + fraction)).mean()
    assert measured_fs == pytest.approx(period_fs, rel=5e-3)
