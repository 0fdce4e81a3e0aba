"""Relaxation of positions and cell."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed, SuperionicError
from superionic.potentials.base import Potential
from superionic.potentials.neighbours import pairs_within
from superionic.units import ev_per_A3

FloatArray = npt.NDArray[np.float64]
Optimizer = Literal["FIRE", "FIRE2", "LBFGS", "BFGS", "GOQN"]

# A relaxation that ends outside these has left the crystal that it began as.
_CLOSEST_A = 0.5
_LARGEST_FORCE_EV_PER_A = 1.0e4
_VOLUME_FACTOR = 3.0


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Outcome of a relaxation.

    Attributes
    ----------
    atoms
        The structure at the end, without calculator.
    energy_eV
        Its energy in eV.
    forces_eV_per_A
        Its forces, shape (n_atoms, 3), in eV/Å.
    stress_eV_per_A3
        Its stress (Voigt, ASE's sign), shape (6,), in eV/Å³; ``None`` if the cell was kept.
    n_steps
        Steps of the optimiser.
    n_evaluations
        Evaluations of the potential.
    converged
        Whether the largest (generalised) force went below the threshold. An unconverged result is returned, not raised.
    max_force_eV_per_A
        Largest force on an atom at the end.
    start_energy_eV
        Energy of the structure that was given.
    start_volume_A3
        Volume of the structure that was given.
    """

    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: FloatArray
    stress_eV_per_A3: FloatArray | None
    n_steps: int
    n_evaluations: int
    converged: bool
    max_force_eV_per_A: float
    start_energy_eV: float
    start_volume_A3: float

    @property
    def energy_eV_per_atom(self) -> float:
        """Energy per atom in eV."""
        return self.energy_eV / len(self.atoms)

    @property
    def volume_change(self) -> float:
        """Relative change of the volume."""
        return float(self.atoms.get_volume()) / self.start_volume_A3 - 1.0

    def to_dict(self) -> dict[str, Any]:
        """Atoms, arrays and JSON scalars; exact."""
        return {
            "atoms": self.atoms.copy(),
            "energy_eV": self.energy_eV,
            "forces_eV_per_A": np.array(self.forces_eV_per_A),
            "stress_eV_per_A3": None if self.stress_eV_per_A3 is None else np.array(self.stress_eV_per_A3),
            "n_steps": self.n_steps,
            "n_evaluations": self.n_evaluations,
            "converged": self.converged,
            "max_force_eV_per_A": self.max_force_eV_per_A,
            "start_energy_eV": self.start_energy_eV,
            "start_volume_A3": self.start_volume_A3,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Relaxation:
        """Inverse of :meth:`to_dict`."""
        return cls(**values)


def relax(
    atoms: Atoms,
    potential: Potential,
    *,
    fmax_eV_per_A: float = 0.01,
    max_steps: int = 500,
    cell: bool = True,
    optimizer: Optimizer = "FIRE",
    pressure_GPa: float = 0.0,
    progress: Callable[[float, str], None] | None = None,
) -> Relaxation:
    """Relax positions and, if ``cell``, the cell.

    Parameters
    ----------
    atoms
        Where to start; left as it is.
    potential
        Anything that :func:`superionic.potentials.base.load_potential` gives.
    fmax_eV_per_A
        Threshold for the largest force (paper B: 0.01 eV/Å). With ``cell`` it also applies to the generalised force
        on the cell, volume x stress / n_atoms.
    max_steps
        Steps after which it stops unconverged.
    cell
        Whether the cell relaxes too, through ASE's Frechet filter, which makes the cell's force a true gradient (of
        the energy in the logarithm of the deformation).
    optimizer
        ``"FIRE"`` (paper B), ``"FIRE2"``, ``"LBFGS"``, ``"BFGS"`` or ``"GOQN"`` (good old quasi-Newton).
    pressure_GPa
        Hydrostatic pressure with ``cell``.
    progress
        Called at each tenth step.

    Raises
    ------
    CalculationFailed
        If the potential returns a number that is not finite, or the structure explodes or collapses.
    PotentialError
        If the potential does not cover an element.
    """
    if optimizer not in get_args(Optimizer):
        raise SuperionicError(
            f"There is no optimizer {optimizer!r}.", fix=f"Choose one of: {', '.join(get_args(Optimizer))}."
        )
    potential.check_elements(atoms)
    moving = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    calculator = potential.calculator(stress=cell)
    moving.calc = calculator
    start_volume = float(moving.get_volume())
    start_energy = float(moving.get_potential_energy())
    _check(moving, start_volume, 0)

    target = _filtered(moving, pressure_GPa) if cell else moving
    dynamics = _optimizer_class(optimizer)(target, logfile=None)
    n_steps, converged = 0, False
    # logm and expm of an exploding cell overflow before the check below sees it.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), warnings.catch_warnings():
        # scipy's logm says this of errors of 1e-13, too.
        warnings.filterwarnings("ignore", message="logm result may be inaccurate", category=RuntimeWarning)
        try:
            for below in dynamics.irun(fmax=fmax_eV_per_A, steps=max_steps):
                converged = bool(below)
                n_steps = int(dynamics.nsteps)
                _check(moving, start_volume, n_steps)
                if progress is not None and n_steps % 10 == 0:
                    progress(n_steps / max_steps, f"step {n_steps} of at most {max_steps}")
        except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
            raise CalculationFailed(
                "the relaxation broke down numerically", {"step": n_steps, "message": str(error)}
            ) from error

    forces = np.array(moving.get_forces())
    final = moving.copy()
    return Relaxation(
        atoms=final,
        energy_eV=float(moving.get_potential_energy()),
        forces_eV_per_A=forces,
        stress_eV_per_A3=np.array(moving.get_stress()) if cell else None,
        n_steps=n_steps,
        n_evaluations=calculator.n_evaluations,
        converged=converged,
        max_force_eV_per_A=float(np.linalg.norm(forces, axis=1).max()),
        start_energy_eV=start_energy,
        start_volume_A3=start_volume,
    )


def _filtered(atoms: Atoms, pressure_GPa: float) -> Any:
    from ase.filters import FrechetCellFilter

    return FrechetCellFilter(atoms, scalar_pressure=ev_per_A3(pressure_GPa))


def _optimizer_class(name: Optimizer) -> Any:
    from ase import optimize

    if name == "GOQN":
        return optimize.GoodOldQuasiNewton
    return getattr(optimize, name)


def _check(atoms: Atoms, start_volume: float, step: int) -> None:
    """Raise if the structure is no longer the one that it began as."""
    volume = float(atoms.get_volume())
    largest = float(np.abs(atoms.get_forces()).max())
    ratio = volume / start_volume
    if not np.isfinite(ratio) or not 1.0 / _VOLUME_FACTOR < ratio < _VOLUME_FACTOR:
        raise CalculationFailed("the cell exploded or collapsed", {"step": step, "volume_ratio": ratio})
    if not np.isfinite(largest) or largest > _LARGEST_FORCE_EV_PER_A:
        raise CalculationFailed("a force grew beyond reason", {"step": step, "force_eV_per_A": largest})
    pairs = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, _CLOSEST_A)
    if len(pairs.distances_A) > 0:
        closest = float(pairs.distances_A.min())
        raise CalculationFailed("two atoms fell into each other", {"step": step, "distance_A": closest})
