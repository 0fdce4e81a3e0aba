"""Constant energy: velocity Verlet."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.dynamics.integrators.base import Forces, Integrator, State


@dataclass(frozen=True, eq=False)
class VelocityVerlet(Integrator):
    """NVE (Swope, Andersen, Berens and Wilson, J. Chem. Phys. 76, 637 (1982)); the conserved quantity is the energy."""

    def step(self, state: State, forces: Forces, temperature_K: float) -> State:
        """Make one step; the temperature is ignored."""
        del temperature_K
        positions, momenta = self.verlet(state, forces, state.momenta)
        return state._replace(positions_A=positions, momenta=momenta, step=state.step + 1)
