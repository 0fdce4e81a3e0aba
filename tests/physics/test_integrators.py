"""Integrators against statistical mechanics: distributions that are known, and the order of the error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from superionic.dynamics.integrators import (
    Berendsen,
    BerendsenPressure,
    Langevin,
    MartynaTobiasKlein,
    NoseHooverChain,
    State,
    StochasticRescaling,
    VelocityVerlet,
)
from superionic.potentials.base import Prediction
from superionic.units import BOLTZMANN_EV_PER_K, ev_per_A3

T = 300.0
KT = BOLTZMANN_EV_PER_K * T
P_GPA = 0.5
MASSES = np.array([7.0, 7.0, 7.0, 7.0, 35.0, 35.0, 35.0, 35.0])
DOF = 3 * len(MASSES) - 3
SIDE_A = (len(MASSES) * KT / ev_per_A3(P_GPA)) ** (1.0 / 3.0)
CUBE = SIDE_A * np.eye(3)
LOOSE = {"thermostat_time_fs": 50.0}
PRESSED = {"pressure_GPa": P_GPA, "barostat_time_fs": 150.0}


class Gas:
    """Free particles."""

    nothing = Prediction(0.0, np.zeros((len(MASSES), 3)), np.zeros(6))

    def __call__(self, positions_A, cell_A):
        return self.nothing


class Lattice:
    """Each pair of atoms has a spring and a term of fourth order in its displacement from the pair of their sites.

    The energy depends on displacements alone, so that the partition function of the positions does not know the cell.
    """

    def __init__(self, spring=0.2, quartic=40.0, n=8):
        self.sites = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])[:n] / 2.0
        # Uneven, and mostly anharmonic: a chain does not sample vibrations that know nothing of each other.
        uneven = (
            np.triu(np.random.default_rng(0).uniform(0.0, 2.0, (n, n)), 1) if quartic else np.triu(np.ones((n, n)), 1)
        )
        self.spring, self.quartic = spring * (uneven + uneven.T), quartic

    def __call__(self, positions_A, cell_A):
        moved = positions_A - self.sites @ cell_A
        apart = moved[:, None] - moved
        square = (apart * apart).sum(axis=2)
        pull = (self.spring + self.quartic * square)[:, :, None] * apart
        energy = 0.25 * (self.spring * square + 0.5 * self.quartic * square * square).sum()
        stress = 0.5 * np.einsum("ijk,ijl->kl", apart, pull) / abs(np.linalg.det(cell_A))
        return Prediction(energy, -pull.sum(axis=1), stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])


def begin(integrator, forces, cell_A=CUBE, seed=0, temperature_K=T):
    rng = np.random.default_rng(seed)
    masses = integrator.masses_amu
    momenta = np.sqrt(masses * BOLTZMANN_EV_PER_K * temperature_K)[:, None] * rng.normal(size=(len(masses), 3))
    momenta -= masses[:, None] * momenta.sum(axis=0) / masses.sum()
    positions = getattr(forces, "sites", np.zeros((len(masses), 3))) @ cell_A
    return integrator.begin(State(positions, momenta, cell_A, 0, np.random.PCG64(seed).state))


def states(integrator, forces, n_steps, **more):
    state = begin(integrator, forces, **more)
    for _ in range(n_steps):
        state = integrator.step(state, forces, T)
        yield state


def mean_and_error(values):
    values = np.asarray(values)
    blocks = np.array([block.mean() for block in np.array_split(values, 10)])
    return values.mean(), blocks.std(ddof=1) / np.sqrt(10)


def of(name, timestep_fs, masses=MASSES):
    basic = {"masses_amu": masses, "timestep_fs": timestep_fs}
    if name == "nve":
        return VelocityVerlet(**basic)
    if name == "berendsen npt":
        return BerendsenPressure(**basic, **LOOSE, **PRESSED, compressibility_per_GPa=0.1)
    if name in ("isotropic", "axes", "anisotropic"):
        return MartynaTobiasKlein(**basic, **LOOSE, **PRESSED, chain_length=3, cell_motion=name)
    if name == "chain":
        return NoseHooverChain(**basic, **LOOSE, chain_length=3)
    return {"csvr": StochasticRescaling, "langevin": Langevin, "berendsen": Berendsen}[name](**basic, **LOOSE)


ALL = ("nve", "chain", "csvr", "langevin", "berendsen", "berendsen npt", "isotropic", "axes", "anisotropic")


@pytest.mark.parametrize("name", ALL)
def test_the_error_of_what_is_conserved_goes_with_the_square_of_the_time_step(name):
    lattice, errors = Lattice(), []
    for timestep_fs in (2.0, 1.0):
        integrator = of(name, timestep_fs)
        squares = []
        for seed in range(16 if name in ("csvr", "langevin") else 2):
            start = begin(integrator, lattice, seed=seed)
            at_start = integrator.conserved_eV(start, lattice, T)
            path = states(integrator, lattice, round(300 / timestep_fs), seed=seed)
            squares += [(integrator.conserved_eV(state, lattice, T) - at_start) ** 2 for state in path]
        errors.append(np.sqrt(np.mean(squares)))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.25)


@pytest.mark.parametrize("name", ["chain", "csvr", "langevin"])
def test_kinetic_energies_are_canonical_and_each_element_has_its_share(name):
    integrator, lattice = of(name, 2.0), Lattice()
    each = np.array(
        [(state.momenta**2).sum(axis=1) / MASSES / KT for state in states(integrator, lattice, 12000)][::40]
    )
    # 2K/kT has the chi-squared distribution of g degrees of freedom: ten bins of equal probability.
    bins = np.floor(10 * stats.chi2.cdf(each.sum(axis=1), DOF)).astype(int)
    expected = len(each) / 10
    chi_squared = ((np.bincount(bins, minlength=10) - expected) ** 2).sum() / expected
    assert stats.chi2.sf(chi_squared, 9) > 1e-3
    if name == "chain":
        return  # It scales all momenta alike, and the forces of so few atoms share slowly.
    # Equipartition at zero total momentum: <p²/m> = 3 kT (1 - m/M).
    for element, mass in ((slice(0, 4), 7.0), (slice(4, 8), 35.0)):
        mean, error = mean_and_error(each[:, element].mean(axis=1))
        assert error < 0.2
        assert abs(mean - 3.0 * (1.0 - mass / MASSES.sum())) < 4.0 * error


def test_langevin_positions_in_a_spring_are_exact_at_any_time_step():
    # Leimkuhler and Matthews (2013): BAOAB samples a harmonic well exactly up to ω dt = 2, though momenta are off.
    masses, spring, time_fs = np.array([6.0, 12.0]), 1.0, 10.0
    pair = Lattice(spring=spring, quartic=0.0, n=2)
    frequency = np.sqrt(spring / 4.0) * 0.0982269478846  # per fs: √(eV/Å²/amu) = 98.23 per ps; reduced mass 4
    integrator = Langevin(masses, 1.0 / frequency, thermostat_time_fs=time_fs)
    apart, momenta = [], []
    for state in states(integrator, pair, 6000):
        moved = state.positions_A - pair.sites @ CUBE
        apart.append(((moved[1] - moved[0]) ** 2).sum())
        momenta.append((state.momenta[0] ** 2).sum() / 4.0)
    mean, error = mean_and_error(apart)
    assert error < 0.03 * mean
    assert abs(mean - 3.0 * KT / spring) < 4.0 * error
    mean, error = mean_and_error(momenta)
    assert abs(mean - 3.0 * KT * (1.0 - 1.0 / 4.0)) < 4.0 * error


@pytest.mark.parametrize("motion", ["isotropic", "axes", "anisotropic"])
def test_the_volume_of_a_gas_has_its_gamma_distribution(motion):
    # Density V^(n-1) e^(-PV/kT): mean and variance of PV/kT are n.
    integrator, gas, n = of(motion, 4.0), Gas(), len(MASSES)
    rows = []
    for state in states(integrator, gas, 16_000):
        cell = float(np.vdot(state.cell_momentum, state.cell_momentum))
        rows.append((np.linalg.det(state.cell_A), integrator.twice_kinetic_eV(state.momenta), cell))
    volume, kinetic, cell = np.array(rows[500:]).T / KT
    reduced = ev_per_A3(P_GPA) * volume
    # The mass of the cell is (g + 3) kT τ², a third of that where it moves by direction; its momentum has one degree of
    # freedom, three or six, since a cell that does not turn has no more.
    mass = (DOF + 3) * KT * (150.0 * 0.0982269478846) ** 2 / (1 if motion == "isotropic" else 3)
    degrees = {"isotropic": 1, "axes": 3, "anisotropic": 6}[motion]
    for values, exact in (
        (reduced, n),
        ((reduced - n) ** 2, n),
        (kinetic, DOF),
        ((kinetic - DOF) ** 2, 2 * DOF),
        (cell / mass, degrees),
    ):
        mean, error = mean_and_error(values)
        assert error < 0.25 * exact
        assert abs(mean - exact) < 4.0 * error


def test_axes_change_their_lengths_and_no_angle():
    hexagonal = SIDE_A * np.array([[1.0, 0.0, 0.0], [-0.5, np.sqrt(0.75), 0.0], [0.1, 0.2, 0.9]])
    integrator, lattice = of("axes", 2.0), Lattice()
    for state in states(integrator, lattice, 500, cell_A=hexagonal):
        lengths = np.linalg.norm(state.cell_A, axis=1)
    directions = state.cell_A / lengths[:, None]
    assert directions == pytest.approx(hexagonal / np.linalg.norm(hexagonal, axis=1)[:, None], abs=1e-12)
    ratios = lengths / np.linalg.norm(hexagonal, axis=1)
    assert ratios.max() / ratios.min() > 1.01


def test_weak_coupling_relaxes_exponentially():
    # A gas: the deviation of T shrinks by 1 - dt/τ a step, that of P V by the barostat's rate times P.
    integrator, gas = of("berendsen", 1.0), Gas()
    start = begin(integrator, gas, temperature_K=400.0)
    target, first = DOF * KT, integrator.twice_kinetic_eV(start.momenta)
    for number, state in enumerate(states(integrator, gas, 100, temperature_K=400.0), 1):
        expected = target + (first - target) * (1.0 - 1.0 / 50.0) ** number
        assert integrator.twice_kinetic_eV(state.momenta) == pytest.approx(expected, rel=1e-12)
    pressed = replace(of("berendsen npt", 1.0), compressibility_per_GPa=2.0)
    *_, last = states(pressed, gas, 3000)
    assert ev_per_A3(P_GPA) * np.linalg.det(last.cell_A) == pytest.approx((len(MASSES) - 1) * KT, rel=1e-6)
