"""Constant pressure and temperature by the equations of Martyna, Tobias and Klein.

With the cell's vectors as rows of h, the cell flows as h' = h A, positions as r' = p/m + r A, momenta as
p' = F - p Aᵀ - (tr A/g) p, where A follows from the momentum of the cell, and the force on that momentum is

    G = V (P - P₀) + 2K/g,

a tensor with the pressure tensor P, whose kinetic part is Σ p⊗p/(m V). The allowed motion of the cell is a choice of A:

``isotropic``
    A is a multiple of the unit matrix; one degree of freedom.
``axes``
    A = h⁻¹ diag(v) h changes the length of each axis but no angle; three degrees of freedom.
``anisotropic``
    A is symmetric, so that the cell does not rotate; six degrees of freedom.

In each case the volume V of n atoms is distributed as e^(-P₀ V/k_B T) times the partition function of the particles
relative to their centre of mass: for free ones V^(n-1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, expm1

import numpy as np
from ase import units

from superionic.dynamics.integrators.base import Chain, FloatArray, Forces, State, kT_eV
from superionic.dynamics.integrators.nose_hoover import NoseHooverChain, act, chain_energy_eV, resting
from superionic.potentials.base import Prediction
from superionic.units import ev_per_A3

_CELL_MOMENTUM = {"isotropic": (1,), "axes": (3,), "anisotropic": (3, 3)}
_CELL_DEGREES_OF_FREEDOM = {"isotropic": 1, "axes": 3, "anisotropic": 6}


@dataclass(frozen=True, eq=False)
class MartynaTobiasKlein(NoseHooverChain):
    """NPT with chains on particles and cell (Martyna, Tobias and Klein, J. Chem. Phys. 101, 4177 (1994)).

    Factorised as by Martyna, Tuckerman, Tobias and Klein, Mol. Phys. 87, 1117 (1996): chains, kick of the cell, kick of
    the particles, drift of both, and the same in the opposite order. The conserved quantity is the extended enthalpy.

    Attributes
    ----------
    cell_motion
        ``"isotropic"``, ``"axes"`` or ``"anisotropic"``.
    pressure_GPa
        External pressure P₀.
    barostat_time_fs
        Period τ of the cell, from which its mass follows: (g + 3) k_B T τ², a third of that for each direction.
    """

    cell_motion: str
    pressure_GPa: float
    barostat_time_fs: float

    def begin(self, state: State) -> State:
        """Start with thermostats and cell at rest."""
        return (
            super()
            .begin(state)
            ._replace(cell_chain=resting(self.chain_length), cell_momentum=np.zeros(_CELL_MOMENTUM[self.cell_motion]))
        )

    def step(self, state: State, forces: Forces, temperature_K: float) -> State:
        """Make one step."""
        time, mass = self.time, self._cell_mass(temperature_K)
        cell_chain, momentum = self._thermostat_cell(state, temperature_K, mass)
        chain, factor = self.half_step(state.chain, self.twice_kinetic_eV(state.momenta), temperature_K)
        prediction = forces(state.positions_A, state.cell_A)
        momenta = factor * state.momenta
        momentum = momentum + (0.5 * time) * self._cell_force(prediction, momenta, state.cell_A)
        rates, along, back = self._flow(momentum / mass, state.cell_A)
        drag = rates + rates.sum() / self.degrees_of_freedom
        # Momenta follow the transposed flow; both are diagonal in the basis `along`, where the solution is exact.
        turn, turn_back = back.T, along.T
        keep = turn * _exponentials(-0.5 * time * drag) @ turn_back
        kick = turn * (0.5 * time * _relative_exponentials(-0.5 * time * drag)) @ turn_back
        momenta = momenta @ keep + prediction.forces_eV_per_A @ kick
        stretch = along * _exponentials(time * rates) @ back
        drift = along * (time * _relative_exponentials(time * rates)) @ back
        positions = state.positions_A @ stretch + (momenta * self.inverse_masses) @ drift
        cell = state.cell_A @ stretch
        prediction = forces(positions, cell)
        momenta = momenta @ keep + prediction.forces_eV_per_A @ kick
        momentum = momentum + (0.5 * time) * self._cell_force(prediction, momenta, cell)
        chain, factor = self.half_step(chain, self.twice_kinetic_eV(momenta), temperature_K)
        state = state._replace(
            positions_A=positions,
            momenta=factor * momenta,
            cell_A=cell,
            step=state.step + 1,
            chain=chain,
            cell_chain=cell_chain,
            cell_momentum=momentum,
        )
        cell_chain, momentum = self._thermostat_cell(state, temperature_K, mass)
        return state._replace(cell_chain=cell_chain, cell_momentum=momentum)

    def conserved_eV(self, state: State, forces: Forces, temperature_K: float) -> float:
        """Return the enthalpy of the particles plus the energy of the cell and of both chains, in eV."""
        momentum = state.cell_momentum
        return (
            super().conserved_eV(state, forces, temperature_K)
            + ev_per_A3(self.pressure_GPa) * _volume(state.cell_A)
            + 0.5 * float(np.vdot(momentum, momentum)) / self._cell_mass(temperature_K)
            + chain_energy_eV(
                state.cell_chain,
                kT=kT_eV(temperature_K),
                dof=_CELL_DEGREES_OF_FREEDOM[self.cell_motion],
                period=self.barostat_time_fs * units.fs,
            )
        )

    def _cell_mass(self, temperature_K: float) -> float:
        directions = 1 if self.cell_motion == "isotropic" else 3
        period: float = self.barostat_time_fs * units.fs
        return (self.degrees_of_freedom + 3) * kT_eV(temperature_K) * period * period / directions

    def _thermostat_cell(self, state: State, temperature_K: float, mass: float) -> tuple[Chain, FloatArray]:
        momentum = state.cell_momentum
        chain, factor = act(
            state.cell_chain,
            float(np.vdot(momentum, momentum)) / mass,
            kT=kT_eV(temperature_K),
            dof=_CELL_DEGREES_OF_FREEDOM[self.cell_motion],
            period=self.barostat_time_fs * units.fs,
            time=0.5 * self.time,
        )
        return chain, factor * momentum

    def _cell_force(self, prediction: Prediction, momenta: FloatArray, cell_A: FloatArray) -> FloatArray:
        """Return the force on the momentum of the cell, of the same shape, in eV."""
        if prediction.stress_eV_per_A3 is None:
            raise ValueError("a barostat needs the stress")
        volume = _volume(cell_A)
        tensor: FloatArray = (momenta * self.inverse_masses).T @ momenta
        twice_kinetic = float(tensor.trace())
        tensor -= volume * prediction.stress_eV_per_A3[_VOIGT]
        tensor.ravel()[::4] += twice_kinetic / self.degrees_of_freedom - ev_per_A3(self.pressure_GPa) * volume
        if self.cell_motion == "isotropic":
            return np.array([tensor.trace()])
        if self.cell_motion == "axes":
            along: FloatArray = ((cell_A @ tensor) * np.linalg.inv(cell_A).T).sum(axis=1)
            return along
        return tensor

    def _flow(self, velocity: FloatArray, cell_A: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return rates r, basis B and its inverse such that A = B diag(r) B⁻¹."""
        if self.cell_motion == "isotropic":
            return np.full(3, velocity[0]), np.eye(3), np.eye(3)
        if self.cell_motion == "axes":
            return velocity, np.linalg.inv(cell_A).astype(np.float64, copy=False), cell_A
        rates, vectors = np.linalg.eigh(velocity)
        return rates, vectors, vectors.T


_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def _volume(cell_A: FloatArray) -> float:
    (a, b, c), (d, e, f), (g, h, i) = cell_A.tolist()
    return float(abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)))


def _exponentials(x: FloatArray) -> FloatArray:
    return np.array([exp(value) for value in x.tolist()])


def _relative_exponentials(x: FloatArray) -> FloatArray:
    """Return (e^x - 1)/x, which is 1 at 0."""
    return np.array([expm1(value) / value if value else 1.0 for value in x.tolist()])
