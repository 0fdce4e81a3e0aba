"""What all integrators share: the state, the call for forces, and kinetic energy without the centre of mass.

The unit of time that goes with Å, eV and amu is Å √(amu/eV), ASE's own (10.18 fs); parameters are in fs and converted
with :data:`ase.units.fs`.

Degrees of freedom: the total momentum stays zero, which leaves g = 3n - 3 for n atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ase import units

from superionic.potentials.base import Prediction
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = npt.NDArray[np.float64]

Forces = Callable[[FloatArray, FloatArray], Prediction]
"""Energy, forces and stress at positions, shape (n_atoms, 3), in a cell, shape (3, 3), both in Å.

It should cache its last result: a step needs the forces at its start and at its end, and the next step starts where
this one ended.
"""


class Chain(NamedTuple):
    """Positions (no unit) and momenta (eV times ASE's unit of time) of a chain of thermostats, one of each a link."""

    positions: tuple[float, ...] = ()
    momenta: tuple[float, ...] = ()


class State(NamedTuple):
    """Everything that the next step depends on; its arrays are never written to.

    Attributes
    ----------
    positions_A
        Unwrapped positions, shape (n_atoms, 3), in Å.
    momenta
        Momenta, shape (n_atoms, 3), in ASE's unit √(amu·eV).
    cell_A
        Cell vectors as rows, shape (3, 3), in Å.
    step
        Steps made since the start of the run.
    random
        State of the random generator (PCG64), as ``bit_generator.state`` gives it.
    heat_eV
        Energy that the bath has added so far, for thermostats that scale or kick momenta.
    chain, cell_chain
        Thermostats of the particles and of the cell.
    cell_momentum
        Momentum of the cell (eV times ASE's unit of time): shape (1,) of its size, (3,) of its axes, (3, 3) of all.
    """

    positions_A: FloatArray
    momenta: FloatArray
    cell_A: FloatArray
    step: int
    random: Mapping[str, Any]
    heat_eV: float = 0.0
    chain: Chain = Chain()
    cell_chain: Chain = Chain()
    cell_momentum: FloatArray = np.zeros(0)


@dataclass(frozen=True, eq=False)
class Integrator:
    """Parameters of an integrator; see the package for the meaning of its methods.

    Attributes
    ----------
    masses_amu
        Masses, shape (n_atoms,).
    timestep_fs
        Time step.
    """

    masses_amu: FloatArray
    timestep_fs: float

    def begin(self, state: State) -> State:
        """Add the integrator's own variables at their starting values."""
        return state

    def step(self, state: State, forces: Forces, temperature_K: float) -> State:
        """Make one step towards ``temperature_K``."""
        raise NotImplementedError

    def conserved_eV(self, state: State, forces: Forces, temperature_K: float) -> float:
        """Return the conserved quantity, the energy of particles and bath together, in eV."""
        del temperature_K
        energy = forces(state.positions_A, state.cell_A).energy_eV
        return energy + 0.5 * self.twice_kinetic_eV(state.momenta) - state.heat_eV

    @property
    def degrees_of_freedom(self) -> int:
        """3n - 3, and 1 for a single atom."""
        return max(1, 3 * len(self.masses_amu) - 3)

    @property
    def time(self) -> float:
        """Time step in ASE's unit."""
        return float(self.timestep_fs * units.fs)

    @cached_property
    def inverse_masses(self) -> FloatArray:
        """1/m of each coordinate, shape (n_atoms, 3), in 1/amu; numpy is slow at broadcasting short rows."""
        return np.repeat(1.0 / self.masses_amu[:, None], 3, axis=1)

    @cached_property
    def _mass_shares(self) -> FloatArray:
        return np.repeat(self.masses_amu[:, None] / self.masses_amu.sum(), 3, axis=1)

    @cached_property
    def _generator(self) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(0))

    def generator_at(self, random: Mapping[str, Any]) -> np.random.Generator:
        """Return the random generator that continues from a :attr:`State.random`; valid until the next call."""
        self._generator.bit_generator.state = random
        return self._generator

    def twice_kinetic_eV(self, momenta: FloatArray) -> float:
        """Return Σ p²/m in eV."""
        return float(np.vdot(momenta, momenta * self.inverse_masses))

    def verlet(self, state: State, forces: Forces, momenta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Make a step of velocity Verlet from ``momenta``; return positions and momenta.

        Swope, Andersen, Berens and Wilson, J. Chem. Phys. 76, 637 (1982), eqs. 5 and 6: half a kick, a drift, and half
        a kick with the new forces.
        """
        time = self.time
        momenta = momenta + (0.5 * time) * forces(state.positions_A, state.cell_A).forces_eV_per_A
        positions = state.positions_A + time * (momenta * self.inverse_masses)
        momenta = momenta + (0.5 * time) * forces(positions, state.cell_A).forces_eV_per_A
        return positions, momenta

    def without_drift(self, momenta: FloatArray) -> FloatArray:
        """Subtract the velocity of the centre of mass, so that the total momentum is zero."""
        result: FloatArray = momenta - self._mass_shares * np.einsum("ij->j", momenta)
        return result


def kT_eV(temperature_K: float) -> float:
    """Return k_B T in eV."""
    return BOLTZMANN_EV_PER_K * temperature_K
