"""Constant temperature by a chain of Nosé–Hoover thermostats.

A chain depends on what it thermostats only through the kinetic energy, and scales the momenta by one factor, so plain
floats suffice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from ase import units

from superionic.dynamics.integrators.base import Chain, Forces, Integrator, State, kT_eV

_CUBE_ROOT_2 = 2.0 ** (1.0 / 3.0)
_WEIGHTS = (1.0 / (2.0 - _CUBE_ROOT_2), -_CUBE_ROOT_2 / (2.0 - _CUBE_ROOT_2), 1.0 / (2.0 - _CUBE_ROOT_2))
"""Suzuki's and Yoshida's weights of fourth order."""


@dataclass(frozen=True, eq=False)
class NoseHooverChain(Integrator):
    """NVT with a chain of thermostats (Martyna, Klein and Tuckerman, J. Chem. Phys. 97, 2635 (1992)).

    Half a step of the chain, a step of velocity Verlet, half a step of the chain (Martyna, Tuckerman, Tobias and Klein,
    Mol. Phys. 87, 1117 (1996)). The conserved quantity is the extended energy.

    Attributes
    ----------
    thermostat_time_fs
        Period τ of the thermostats, from which their masses follow: g k_B T τ² and k_B T τ².
    chain_length
        Number of thermostats.
    """

    thermostat_time_fs: float
    chain_length: int

    def begin(self, state: State) -> State:
        """Start with thermostats at rest."""
        return state._replace(chain=resting(self.chain_length))

    def step(self, state: State, forces: Forces, temperature_K: float) -> State:
        """Make one step."""
        chain, momenta = state.chain, state.momenta
        chain, factor = self.half_step(chain, self.twice_kinetic_eV(momenta), temperature_K)
        positions, momenta = self.verlet(state, forces, factor * momenta)
        chain, factor = self.half_step(chain, self.twice_kinetic_eV(momenta), temperature_K)
        return state._replace(positions_A=positions, momenta=factor * momenta, chain=chain, step=state.step + 1)

    def half_step(self, chain: Chain, twice_kinetic_eV: float, temperature_K: float) -> tuple[Chain, float]:
        """Let the chain act on the particles for half a time step; return it and the factor for their momenta."""
        return act(
            chain,
            twice_kinetic_eV,
            kT=kT_eV(temperature_K),
            dof=self.degrees_of_freedom,
            period=self.thermostat_time_fs * units.fs,
            time=0.5 * self.time,
        )

    def conserved_eV(self, state: State, forces: Forces, temperature_K: float) -> float:
        """Return the energy of the particles and of the chain, in eV."""
        return super().conserved_eV(state, forces, temperature_K) + chain_energy_eV(
            state.chain,
            kT=kT_eV(temperature_K),
            dof=self.degrees_of_freedom,
            period=self.thermostat_time_fs * units.fs,
        )


def resting(links: int) -> Chain:
    """Return a chain of thermostats at rest."""
    return Chain((0.0,) * links, (0.0,) * links)


def act(chain: Chain, twice_kinetic: float, *, kT: float, dof: int, period: float, time: float) -> tuple[Chain, float]:
    """Propagate a chain, and the kinetic energy that it thermostats, for a time.

    Martyna, Tuckerman, Tobias and Klein (1996): the chain's part of the Liouville operator, factorised symmetrically in
    three steps with Suzuki's and Yoshida's weights.

    Parameters
    ----------
    chain
        Positions and momenta of the links.
    twice_kinetic
        2K of what it thermostats, in eV.
    kT
        k_B T in eV.
    dof
        Degrees of freedom that make up K.
    period, time
        Period of the chain and time for which it acts, in ASE's unit.

    Returns
    -------
    tuple
        The chain afterwards, and the factor for the momenta that make up K.
    """
    x, p = list(chain.positions), list(chain.momenta)
    last, target = len(p) - 1, dof * kT
    inverse = 1.0 / (kT * period * period)
    inverses = [inverse / dof, *([inverse] * last)]
    factor = 1.0
    for weight in _WEIGHTS:
        step = weight * time
        half, quarter = 0.5 * step, 0.25 * step
        for j in range(last, -1, -1):
            pull = p[j - 1] * p[j - 1] * inverses[j - 1] - kT if j else twice_kinetic - target
            drag = exp(-quarter * p[j + 1] * inverse) if j < last else 1.0
            p[j] = (p[j] * drag + half * pull) * drag
        for j in range(last + 1):
            x[j] += step * p[j] * inverses[j]
        scaling = exp(-step * p[0] * inverses[0])
        factor *= scaling
        twice_kinetic *= scaling * scaling
        for j in range(last + 1):
            pull = p[j - 1] * p[j - 1] * inverses[j - 1] - kT if j else twice_kinetic - target
            drag = exp(-quarter * p[j + 1] * inverse) if j < last else 1.0
            p[j] = (p[j] * drag + half * pull) * drag
    return Chain(tuple(x), tuple(p)), factor


def chain_energy_eV(chain: Chain, *, kT: float, dof: int, period: float) -> float:
    """Return the energy of a chain, its part of the conserved quantity, in eV; parameters as for :func:`act`."""
    first, *others = chain.momenta
    kinetic = 0.5 * (first * first / dof + sum(p * p for p in others)) / (kT * period * period)
    return kinetic + kT * (dof * chain.positions[0] + sum(chain.positions[1:]))
