"""Chains of Nosé–Hoover thermostats in plain floats, in the place of those inside ASE's integrators.

The equations and their factorisation are those of :mod:`ase.md.nose_hoover_chain` (Martyna, Klein and Tuckerman,
J. Chem. Phys. 97, 2635 (1992); Suzuki–Yoshida weights of fourth order). ASE computes the kinetic energy of all atoms
six times for each of the two half steps and each link of the chain as an array; that is 1 ms a step for 240
atoms. A chain sees the particles only through 2K, and scales it by a known factor: so one sum and some forty
multiplications are enough.
"""

from __future__ import annotations

from math import exp

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_CUBE_ROOT_2 = 2.0 ** (1.0 / 3.0)
_WEIGHTS = (1.0 / (2.0 - _CUBE_ROOT_2), -_CUBE_ROOT_2 / (2.0 - _CUBE_ROOT_2), 1.0 / (2.0 - _CUBE_ROOT_2))


class Chain:
    """Positions and momenta of a chain that thermostats one quantity of several degrees of freedom.

    Attributes
    ----------
    dof
        Degrees of freedom that the first link sees.
    positions, momenta
        Of the links, as plain floats.
    """

    def __init__(self, dof: int, links: int) -> None:
        self.dof = dof
        self.positions = [0.0] * links
        self.momenta = [0.0] * links
        self._kT = 1.0
        self._masses = [1.0] * links

    def set_temperature(self, kT: float, tau: float, *, first: int | None = None) -> None:
        """Set k_B T (eV) and the coupling time (ASE's unit), from which the masses of the links follow.

        The mass of the first link is ``first`` x kT tau², or with ``None`` that of its degrees of freedom.
        """
        self._kT = kT
        self._masses = [(self.dof if first is None else first) * kT * tau**2]
        self._masses += [kT * tau**2] * (len(self.momenta) - 1)

    def scale(self, twice_kinetic: float, time: float) -> float:
        """Let the chain act for ``time``.

        Parameters
        ----------
        twice_kinetic
            2K of what it thermostats, in eV.
        time
            In ASE's unit.

        Returns
        -------
        float
            Factor by which the momenta that make up K are to be multiplied.
        """
        p, q, x = self.momenta, self._masses, self.positions
        kT, target, last = self._kT, self.dof * self._kT, len(self.momenta) - 1
        factor = 1.0
        for weight in _WEIGHTS:
            delta = weight * time
            half, quarter = 0.5 * delta, 0.25 * delta
            for j in range(last, -1, -1):
                pull = p[j - 1] ** 2 / q[j - 1] - kT if j > 0 else twice_kinetic - target
                drag = exp(-quarter * p[j + 1] / q[j + 1]) if j < last else 1.0
                p[j] = (p[j] * drag + half * pull) * drag
            for j in range(last + 1):
                x[j] += delta * p[j] / q[j]
            scaling = exp(-delta * p[0] / q[0])
            factor *= scaling
            twice_kinetic *= scaling * scaling
            for j in range(last + 1):
                pull = p[j - 1] ** 2 / q[j - 1] - kT if j > 0 else twice_kinetic - target
                drag = exp(-quarter * p[j + 1] / q[j + 1]) if j < last else 1.0
                p[j] = (p[j] * drag + half * pull) * drag
        return factor

    def energy_eV(self) -> float:
        """Energy of the chain: its part of the conserved quantity."""
        kinetic = sum(0.5 * p * p / q for p, q in zip(self.momenta, self._masses, strict=True))
        return kinetic + self._kT * (self.dof * self.positions[0] + sum(self.positions[1:]))


class ParticleChain(Chain):
    """In the place of ``NoseHooverChainThermostat`` of ASE."""

    def __init__(self, dof: int, links: int, masses: FloatArray) -> None:
        super().__init__(dof, links)
        self._inverse_masses: FloatArray = 1.0 / masses

    def integrate_nhc(self, p: FloatArray, delta: float) -> FloatArray:
        """Scale the momenta, shape (n_atoms, 3), in place."""
        twice_kinetic = float(np.vdot(p, p * self._inverse_masses))
        p *= self.scale(twice_kinetic, delta)
        return p

    def get_thermostat_energy(self) -> float:
        """Energy in eV."""
        return self.energy_eV()


class CellChain(Chain):
    """In the place of the MTK barostats of ASE: a chain on the momentum of the cell.

    ``dof`` counts the degrees of freedom of the cell: 1 (size), 3 (axes) or 9 (all).
    """

    def __init__(self, dof: int, links: int) -> None:
        super().__init__(dof, links)
        self.W = 1.0

    def integrate_nhc_baro(self, p: FloatArray | float, delta: float) -> FloatArray | float:
        """Scale the momentum of the cell, a number or an array."""
        return p * self.scale(float(np.vdot(p, p)) / self.W, delta)

    def get_barostat_energy(self) -> float:
        """Energy in eV."""
        return self.energy_eV()
