"""Energy, forces and stress for an integrator, with little overhead over the potential itself.

ASE's calculators copy the structure and compare it several times a step. That takes a third of a millisecond for
240 atoms, as long as a whole step of a fast potential. Here the last prediction is stored with its positions and cell;
nothing else can change during a run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.potentials.base import Potential, Prediction

FloatArray = npt.NDArray[np.float64]


class Evaluation:
    """Minimal calculator of :class:`ase.Atoms` around a potential.

    Parameters
    ----------
    stress
        Whether stress is evaluated, with every call, so that NPT pays for one evaluation a step.

    Raises
    ------
    CalculationFailed
        On evaluation, if the potential returns a number that is not finite.
    """

    name = "superionic"

    def __init__(self, potential: Potential, *, stress: bool) -> None:
        self.potential = potential
        self.n_evaluations = 0
        self._stress = stress
        self._structure: tuple[bytes, bytes] = (b"", b"")
        self._prediction: Prediction | None = None

    def predict(self, atoms: Atoms) -> Prediction:
        """Return the prediction for ``atoms``, evaluated once for each structure."""
        # Bytes are compared, so that a NaN equals itself and no tolerance hides a change.
        structure = atoms.arrays["positions"].tobytes(), atoms.cell.array.tobytes()
        last = self._prediction
        if last is not None and structure == self._structure:
            return last
        prediction = self.potential.evaluate(atoms, stress=self._stress)
        self.n_evaluations += 1
        if not prediction.is_finite:
            raise CalculationFailed(
                "the potential returned an energy, force or stress that is not a finite number",
                {"energy_eV": prediction.energy_eV, "n_atoms": len(atoms)},
            )
        self._structure, self._prediction = structure, prediction
        return prediction

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        """Return the energy in eV (ASE's entry point)."""
        del force_consistent
        return self.predict(atoms).energy_eV

    def get_forces(self, atoms: Atoms) -> FloatArray:
        """Return the forces in eV/Å (ASE's entry point)."""
        return np.array(self.predict(atoms).forces_eV_per_A)

    def get_stress(self, atoms: Atoms) -> FloatArray:
        """Return the stress in eV/Å³ in Voigt order (ASE's entry point)."""
        stress: Any = self.predict(atoms).stress_eV_per_A3
        return np.array(stress)
