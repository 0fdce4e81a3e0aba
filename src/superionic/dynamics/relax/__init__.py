"""Relaxation of positions and cell, at once or in parts that together equal one relaxation bit by bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.dynamics.relax.optimizers import Optimizer, driver
from superionic.errors import CalculationFailed, SuperionicError
from superionic.potentials.base import Potential
from superionic.potentials.neighbours import pairs_within
from superionic.shown import Shown
from superionic.units import ev_per_A3

FloatArray = npt.NDArray[np.float64]

# Outside these limits a relaxation has lost its initial crystal.
_CLOSEST_A = 0.5
_LARGEST_FORCE_EV_PER_A = 1.0e4
_VOLUME_FACTOR = 3.0


@dataclass(frozen=True, eq=False, repr=False)
class Relaxation(Shown):
    """Result of a relaxation so far, with all that it needs to continue.

    Attributes
    ----------
    atoms
        The structure, without calculator.
    forces_eV_per_A
        Its forces, shape (n_atoms, 3), in eV/Å.
    stress_eV_per_A3
        Its stress (Voigt, ASE's sign), shape (6,), in eV/Å³; ``None`` if the cell was fixed.
    n_steps
        Steps of the optimiser since the start.
    n_evaluations
        Evaluations of the potential since the start.
    converged
        Whether the largest (generalised) force fell below the threshold. An unconverged result is returned, not raised.
    start_energy_eV
        Energy of the initial structure.
    start_volume_A3
        Volume of the initial structure.
    optimizer, pressure_GPa
        As in :func:`relax`.
    reference_cell_A
        Cell relative to which the deformation is measured, shape (3, 3), in Å.
    memory
        State of the optimiser, as arrays and numbers.
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
    optimizer: Optimizer
    pressure_GPa: float
    reference_cell_A: FloatArray
    memory: Mapping[str, Any]

    @property
    def volume_change(self) -> float:
        """Relative change of the volume."""
        return float(self.atoms.get_volume()) / self.start_volume_A3 - 1.0

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield self.atoms.get_chemical_formula(), "converged" if self.converged else "not converged"
        yield "after", f"{self.n_steps} steps ({self.optimizer})"
        yield "energy", f"{self.energy_eV:.6f} eV, {self.energy_eV / len(self.atoms):.6f} eV/atom"
        yield "largest force", f"{self.max_force_eV_per_A:.2g} eV/Å"
        yield "volume", f"{self.atoms.get_volume():.3f} Å³ ({100.0 * self.volume_change:+.2f} %)"


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
        Initial structure, which is not modified.
    potential
        A potential, see :func:`superionic.potentials.base.load_potential`.
    fmax_eV_per_A
        Threshold for the largest force (paper B: 0.01 eV/Å). With ``cell`` it also applies to the generalised force
        on the cell, volume × (stress + pressure) / n_atoms, row by row.
    max_steps
        Steps after which the relaxation stops unconverged.
    cell
        Whether the cell relaxes too, through ASE's Frechet filter, which makes the cell's force a true gradient (of
        the energy in the logarithm of the deformation).
    optimizer
        ``"QN"`` (quasi-Newton from a Hessian of springs, :mod:`superionic.dynamics.relax.quasi_newton`: the fewest
        evaluations), ``"FIRE"`` (paper B), ``"FIRE2"``, ``"LBFGS"``, ``"BFGS"`` or ``"GOQN"`` (good old quasi-Newton).
    pressure_GPa
        Hydrostatic pressure with ``cell``.
    progress
        Called every ten steps.

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
    moving.calc = potential.calculator(stress=cell)
    started = Relaxation(
        atoms=moving,
        energy_eV=float(moving.get_potential_energy()),
        forces_eV_per_A=np.array(moving.get_forces()),
        stress_eV_per_A3=np.array(moving.get_stress()) if cell else None,
        n_steps=0,
        n_evaluations=1,
        converged=False,
        max_force_eV_per_A=0.0,
        start_energy_eV=float(moving.get_potential_energy()),
        start_volume_A3=float(moving.get_volume()),
        optimizer=optimizer,
        pressure_GPa=pressure_GPa,
        reference_cell_A=moving.cell.array.copy(),
        memory={},
    )
    _check(moving, started.start_volume_A3, 0)
    return go_on(started, potential, fmax_eV_per_A=fmax_eV_per_A, max_steps=max_steps, progress=progress)


def go_on(
    before: Relaxation,
    potential: Potential,
    *,
    fmax_eV_per_A: float = 0.01,
    max_steps: int = 500,
    progress: Callable[[float, str], None] | None = None,
) -> Relaxation:
    """Continue a relaxation as if it had never stopped: the parts together equal one relaxation, bit by bit.

    Parameters
    ----------
    before
        Result so far, which is not modified.
    potential
        The same potential as before.
    fmax_eV_per_A, progress
        As for :func:`relax`.
    max_steps
        Further steps after which the relaxation stops unconverged.

    Raises
    ------
    CalculationFailed
        As for :func:`relax`.
    """
    cell = before.stress_eV_per_A3 is not None
    moving = Atoms(
        numbers=before.atoms.numbers, positions=before.atoms.positions, cell=before.atoms.cell, pbc=before.atoms.pbc
    )
    moving.calc = calculator = potential.calculator(stress=cell)
    _remember_evaluation(calculator, moving, before)
    pressure = ev_per_A3(before.pressure_GPa)
    optimizer = driver(before.optimizer, moving, pressure if cell else None, before.reference_cell_A, before.memory)
    n_steps = 0
    # logm and expm of an exploding cell overflow before the check below sees it.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), warnings.catch_warnings():
        # scipy's logm warns even for errors of 1e-13.
        warnings.filterwarnings("ignore", message="logm result may be inaccurate", category=RuntimeWarning)
        try:
            while not (converged := _largest_force(moving, cell, pressure) < fmax_eV_per_A) and n_steps < max_steps:
                optimizer.step()
                n_steps += 1
                _check(moving, before.start_volume_A3, before.n_steps + n_steps)
                if progress is not None and n_steps % 10 == 0:
                    progress(n_steps / max_steps, f"step {n_steps} of at most {max_steps}")
        except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
            step = before.n_steps + n_steps
            raise CalculationFailed(
                "the relaxation broke down numerically", {"step": step, "message": str(error)}
            ) from error

    forces = np.array(moving.get_forces())
    return replace(
        before,
        atoms=moving.copy(),
        energy_eV=float(moving.get_potential_energy()),
        forces_eV_per_A=forces,
        stress_eV_per_A3=np.array(moving.get_stress()) if cell else None,
        n_steps=before.n_steps + n_steps,
        n_evaluations=before.n_evaluations + calculator.n_evaluations,
        converged=converged,
        max_force_eV_per_A=float(np.linalg.norm(forces, axis=1).max()),
        memory=optimizer.memory(),
    )


def _remember_evaluation(calculator: Any, atoms: Atoms, before: Relaxation) -> None:
    """Pass the last evaluation of the previous part to the calculator, so that it is not repeated."""
    calculator.atoms = atoms.copy()
    calculator.results = {
        "energy": before.energy_eV,
        "free_energy": before.energy_eV,
        "forces": np.array(before.forces_eV_per_A),
    }
    if before.stress_eV_per_A3 is not None:
        calculator.results["stress"] = np.array(before.stress_eV_per_A3)


def _largest_force(atoms: Atoms, cell: bool, pressure_eV_per_A3: float) -> float:
    """Return the largest norm of a force on an atom or of a row of the generalised force on the cell, in eV/Å."""
    largest = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    if cell:
        stress = atoms.get_stress(voigt=False) + pressure_eV_per_A3 * np.eye(3)
        rows = np.linalg.norm(stress, axis=1) * atoms.get_volume() / len(atoms)
        largest = max(largest, float(rows.max()))
    return largest


def _check(atoms: Atoms, start_volume: float, step: int) -> None:
    """Raise if the structure has lost its initial crystal."""
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
