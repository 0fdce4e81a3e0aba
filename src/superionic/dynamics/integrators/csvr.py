"""Constant temperature by stochastic rescaling of all velocities."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt

from superionic.dynamics.integrators.base import Forces, Integrator, State, kT_eV


@dataclass(frozen=True, eq=False)
class StochasticRescaling(Integrator):
    """NVT of Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007).

    The kinetic energy is drawn by the exact solution of its own stochastic equation over a time step (eq. A7), and a
    step of velocity Verlet follows. The conserved quantity is the energy less the heat that the rescaling has added.

    Attributes
    ----------
    thermostat_time_fs
        Relaxation time of the kinetic energy.
    """

    thermostat_time_fs: float

    def step(self, state: State, forces: Forces, temperature_K: float) -> State:
        """Rescale, then make a step at constant energy."""
        kinetic = 0.5 * self.twice_kinetic_eV(state.momenta)
        random = self.generator_at(state.random)
        first = float(random.standard_normal())
        others = 2.0 * float(random.standard_gamma(0.5 * (self.degrees_of_freedom - 1)))  # chi-squared of g - 1
        decay = exp(-self.timestep_fs / self.thermostat_time_fs)
        share = 0.5 * (1.0 - decay) * kT_eV(temperature_K)
        drawn = decay * kinetic + share * (first * first + others) + 2.0 * first * sqrt(decay * share * kinetic)
        # A single atom has no momentum relative to the centre of mass, and nothing to rescale.
        factor = drawn / kinetic if kinetic > 0.0 else 1.0
        positions, momenta = self.verlet(state, forces, sqrt(max(0.0, factor)) * state.momenta)
        return state._replace(
            positions_A=positions,
            momenta=momenta,
            step=state.step + 1,
            random=random.bit_generator.state,
            heat_eV=state.heat_eV + (factor - 1.0) * kinetic,
        )
