"""Weak coupling of temperature and pressure, which reproduces published work but samples no known ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from superionic.dynamics.integrators.base import FloatArray, Forces, Integrator, State, kT_eV
from superionic.units import ev_per_A3


@dataclass(frozen=True, eq=False)
class Berendsen(Integrator):
    """NVT of Berendsen, Postma, van Gunsteren, DiNola and Haak, J. Chem. Phys. 81, 3684 (1984).

    Momenta are scaled by √(1 + (dt/τ)(T₀/T - 1)), by at most a tenth, and a step of velocity Verlet follows. The total
    momentum is subtracted, since scaling makes it grow at the cost of the other degrees of freedom. The conserved
    quantity is the energy less the heat of the scaling.

    Attributes
    ----------
    thermostat_time_fs
        Coupling time τ.
    """

    thermostat_time_fs: float

    def step(self, state: State, forces: Forces, temperature_K: float) -> State:
        """Scale the momenta, then make a step at constant energy."""
        momenta, heat = self.scaled(state.momenta, temperature_K)
        positions, momenta = self.verlet(state, forces, momenta)
        return state._replace(positions_A=positions, momenta=momenta, step=state.step + 1, heat_eV=state.heat_eV + heat)

    def scaled(self, momenta: FloatArray, temperature_K: float) -> tuple[FloatArray, float]:
        """Return the momenta after the scaling, and the heat that it added, in eV."""
        before = self.twice_kinetic_eV(momenta)
        ratio = self.degrees_of_freedom * kT_eV(temperature_K) / before if before > 0.0 else inf
        square = 1.0 + self.timestep_fs / self.thermostat_time_fs * (ratio - 1.0)
        momenta = self.without_drift(min(1.1, sqrt(max(0.81, square))) * momenta)
        return momenta, 0.5 * (self.twice_kinetic_eV(momenta) - before)


@dataclass(frozen=True, eq=False)
class BerendsenPressure(Berendsen):
    """NPT of the same paper: lengths are scaled by 1 - β dt (P₀ - P)/(3 τ_P), isotropically.

    The pressure is that at the start of the step, and the scaling accompanies the drift, so that a step takes one
    evaluation. The conserved quantity is the energy less the heat and the work of the scaling, -P dV with the pressure
    of the potential after it, which is exact to first order in dV.

    Attributes
    ----------
    pressure_GPa
        Target P₀.
    barostat_time_fs
        Coupling time τ_P.
    compressibility_per_GPa
        β; it sets the rate, not the mean.
    """

    pressure_GPa: float
    barostat_time_fs: float
    compressibility_per_GPa: float

    def step(self, state: State, forces: Forces, temperature_K: float) -> State:
        """Scale the momenta, then make a step at constant energy that scales lengths with its drift."""
        prediction = forces(state.positions_A, state.cell_A)
        volume = abs(float(np.linalg.det(state.cell_A)))
        momenta, heat = self.scaled(state.momenta, temperature_K)
        pressure = self.twice_kinetic_eV(momenta) / (3.0 * volume) + _static_pressure(prediction.stress_eV_per_A3)
        surplus = ev_per_A3(self.pressure_GPa) - pressure
        rate = self.compressibility_per_GPa / ev_per_A3(1.0) * self.timestep_fs / self.barostat_time_fs
        scale = 1.0 - rate * surplus / 3.0
        time = self.time
        momenta = momenta + (0.5 * time) * prediction.forces_eV_per_A
        positions = scale * (state.positions_A + time * (momenta * self.inverse_masses))
        cell = scale * state.cell_A
        prediction = forces(positions, cell)
        momenta = momenta + (0.5 * time) * prediction.forces_eV_per_A
        work = -_static_pressure(prediction.stress_eV_per_A3) * volume * (scale**3 - 1.0)
        return state._replace(
            positions_A=positions,
            momenta=momenta,
            cell_A=cell,
            step=state.step + 1,
            heat_eV=state.heat_eV + heat + work,
        )


def _static_pressure(stress_eV_per_A3: FloatArray | None) -> float:
    if stress_eV_per_A3 is None:
        raise ValueError("a barostat needs the stress")
    return -float(stress_eV_per_A3[:3].sum()) / 3.0
