"""Constant temperature by friction and noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import exp, sqrt

import numpy as np

from superionic.dynamics.integrators.base import FloatArray, Forces, Integrator, State, kT_eV


@dataclass(frozen=True, eq=False)
class Langevin(Integrator):
    """NVT by the splitting BAOAB of Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013).

    Half a kick (B), half a drift (A), friction and noise solved exactly for the whole step (O), half a drift and half a
    kick. Of such splittings its positions are closest to canonical: exactly canonical for harmonic vibrations, whose
    kinetic energy at full steps is low by a fraction (ω dt)²/4 (0.1 % for 10 THz and 1 fs). The noise is projected
    onto zero total momentum by mass, which leaves the g = 3n - 3 other degrees of freedom canonical.

    The conserved quantity is the energy less the heat of the steps O (Bussi and Parrinello, Phys. Rev. E 75, 056707
    (2007)).

    Attributes
    ----------
    thermostat_time_fs
        Inverse friction.
    """

    thermostat_time_fs: float

    def step(self, state: State, forces: Forces, temperature_K: float) -> State:
        """Make one step."""
        half = 0.5 * self.time
        momenta = state.momenta + half * forces(state.positions_A, state.cell_A).forces_eV_per_A
        positions = state.positions_A + half * (momenta * self.inverse_masses)
        before = self.twice_kinetic_eV(momenta)
        decay = exp(-self.timestep_fs / self.thermostat_time_fs)
        random = self.generator_at(state.random)
        width = sqrt((1.0 - decay * decay) * kT_eV(temperature_K))
        noise = width * (self._root_masses * random.standard_normal(momenta.shape))
        momenta = decay * momenta + self.without_drift(noise)
        heat = 0.5 * (self.twice_kinetic_eV(momenta) - before)
        positions = positions + half * (momenta * self.inverse_masses)
        momenta = momenta + half * forces(positions, state.cell_A).forces_eV_per_A
        return state._replace(
            positions_A=positions,
            momenta=momenta,
            step=state.step + 1,
            random=random.bit_generator.state,
            heat_eV=state.heat_eV + heat,
        )

    @cached_property
    def _root_masses(self) -> FloatArray:
        return np.repeat(np.sqrt(self.masses_amu[:, None]), 3, axis=1)
