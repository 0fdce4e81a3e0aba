"""ASE's MTK integrators without their detours.

The equations, their factorisation and every order of operators are those of :mod:`ase.md.nose_hoover_chain` (Martyna,
Tobias and Klein, J. Chem. Phys. 101, 4177 (1994)). What is different: the atoms are updated in place and only when
something has moved, the kinetic stress is one product of matrices, and the cell's momentum is diagonalised once
where it is used four times in a row. That halves the time that a step takes beside the potential.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, MaskedMTKNPT
from scipy.special import exprel

FloatArray = npt.NDArray[np.float64]


class _Light:
    """What all three share; ``atoms.calc`` must be an :class:`superionic.dynamics.evaluation.Evaluation`."""

    atoms: Any
    masses: FloatArray
    _q: FloatArray
    _p: FloatArray

    def _cell_now(self) -> FloatArray:
        raise NotImplementedError

    def _update_atoms(self) -> None:
        arrays = self.atoms.arrays
        arrays["positions"][:] = self._q
        arrays["momenta"][:] = self._p
        self.atoms.cell.array[:] = self._cell_now()

    def _get_forces(self) -> FloatArray:
        self._update_atoms()
        forces: FloatArray = self.atoms.calc.predict(self.atoms).forces_eV_per_A
        return forces

    def _pressure_tensor_volume(self) -> FloatArray:
        """Volume times the pressure tensor with its kinetic part, shape (3, 3), in eV."""
        self._update_atoms()
        atoms = self.atoms
        xx, yy, zz, yz, xz, xy = atoms.calc.predict(atoms).stress_eV_per_A3.tolist()
        static = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        tensor: FloatArray = (self._p / self.masses).T @ self._p - self._get_volume() * static
        return tensor

    def _get_volume(self) -> float:
        raise NotImplementedError


class LightIsotropic(_Light, IsotropicMTKNPT):  # type: ignore[misc]  # ASE has no type hints
    """The cell changes its size."""

    def _cell_now(self) -> FloatArray:
        return self._cell0 * np.exp(self._eps)  # type: ignore[no-any-return]

    def _get_volume(self) -> float:
        return float(self._volume0 * np.exp(3 * self._eps))

    def _get_pressure(self) -> float:
        return float(np.trace(self._pressure_tensor_volume())) / (3.0 * self._get_volume())


class _LightCell(_Light):
    """The cell changes its shape: the momentum of the cell is a symmetric matrix."""

    _h: FloatArray
    _p_g: FloatArray
    _known: tuple[FloatArray, FloatArray, FloatArray] | None = None

    def _cell_now(self) -> FloatArray:
        return self._h

    def _get_volume(self) -> float:
        (a, b, c), (d, e, f), (g, h, i) = self._h.tolist()
        return float(abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)))

    def _modes(self) -> tuple[FloatArray, FloatArray]:
        momentum = self._p_g
        if self._known is None or not np.array_equal(self._known[0], momentum):
            values, vectors = np.linalg.eigh(momentum)
            self._known = (momentum.copy(), values, vectors)
        return self._known[1], self._known[2]

    def _integrate_q(self, delta: float) -> None:
        values, modes = self._modes()
        x = values * (delta / self._barostat.W)  # type: ignore[attr-defined]
        moved = (self._q @ modes) * np.exp(x) + (self._p / self.masses) @ modes * (delta * exprel(x))
        self._q = moved @ modes.T

    def _integrate_p(self, delta: float) -> None:
        forces = self._get_forces()
        values, modes = self._modes()
        drag = values + values.sum() / (3 * self._num_atoms_global)  # type: ignore[attr-defined]
        x = drag * (-delta / self._barostat.W)  # type: ignore[attr-defined]
        self._p = ((self._p @ modes) * np.exp(x) + (forces @ modes) * (delta * exprel(x))) @ modes.T

    def _integrate_q_cell(self, delta: float) -> None:
        values, modes = self._modes()
        stretch = np.exp(values * (delta / self._barostat.W))  # type: ignore[attr-defined]
        self._h = (self._h @ modes * stretch) @ modes.T

    def _pull(self) -> FloatArray:
        """Force on the cell, shape (3, 3), in eV."""
        tensor = self._pressure_tensor_volume()
        twice_kinetic = float(np.vdot(self._p, self._p / self.masses))
        outside = self._pressure_au * self._get_volume()  # type: ignore[attr-defined]
        counted = 3 * self._num_atoms_global  # type: ignore[attr-defined]
        tensor.ravel()[::4] += twice_kinetic / counted - outside
        return tensor


class LightAnisotropic(_LightCell, MTKNPT):  # type: ignore[misc]
    """All of the cell changes."""

    def _integrate_p_cell(self, delta: float) -> None:
        self._p_g = self._p_g + delta * self._pull()


class LightAxes(_LightCell, MaskedMTKNPT):  # type: ignore[misc]
    """The lengths of the axes change."""

    _p_g = MaskedMTKNPT._p_g
    _p_c: FloatArray

    def _integrate_p_cell(self, delta: float) -> None:
        along = ((self._h0_basis @ self._pull()) * self._h0_basis).sum(axis=1)
        self._p_c = self._p_c + delta * along
