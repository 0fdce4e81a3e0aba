"""Optimisers (FIRE, BFGS and others) whose state can be saved and restored bit by bit; the package relaxes with them.

ASE's optimisers write restart files that leave out some of what the next step depends on (FIRE's counter of steps, for
instance). Here each returns all of it as arrays and numbers, and restores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from ase import Atoms

FloatArray = npt.NDArray[np.float64]
Optimizer = Literal["QN", "FIRE", "FIRE2", "LBFGS", "BFGS", "GOQN"]

# What the next step of ASE's optimisers depends on, besides coordinates and forces. LBFGS and BFGS keep some of it in
# an object of their own.
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "FIRE": ("vel", "dt", "a", "Nsteps"),
    "FIRE2": ("v", "dt", "a", "Nsteps"),
    "LBFGS": ("r0", "f0"),
    "BFGS": ("pos0", "forces0"),
    "GOQN": (
        "hessian", "oldpos", "oldG", "oldenergy", "energy_estimate", "gbar_estimate", "old_gbar", "V", "radius",
    ),
}  # fmt: skip


# Steps after which the quasi-Newton method resets its Hessian, which on a rough energy surface can go irrecoverably
# wrong (in one of sixty relaxations with CHGNet).
_RENEW_AFTER = 40


class Driver(Protocol):
    """Moves atoms downhill, step by step."""

    def step(self) -> None:
        """Take one step."""
        ...

    def memory(self) -> dict[str, Any]:
        """Return all that the next step depends on, besides the atoms and their forces."""
        ...


def driver(
    name: Optimizer,
    atoms: Atoms,
    pressure_eV_per_A3: float | None,
    reference_cell_A: FloatArray,
    memory: Mapping[str, Any],
) -> Driver:
    """Return the optimiser of that name, restored from its memory.

    Parameters
    ----------
    atoms
        Atoms to move, with their calculator.
    pressure_eV_per_A3
        Pressure on the cell; ``None`` fixes the cell.
    reference_cell_A
        Cell relative to which the deformation is measured, shape (3, 3).
    memory
        Memory of an earlier optimiser of that name; empty at the start.
    """
    if name == "QN":
        return _Ours(atoms, pressure_eV_per_A3, reference_cell_A, memory)
    target: Any = atoms
    if pressure_eV_per_A3 is not None:
        from ase.filters import FrechetCellFilter

        target = FrechetCellFilter(atoms, scalar_pressure=pressure_eV_per_A3)
        target.orig_cell = np.array(reference_cell_A)
    return _OfAse(name, target, memory)


class _Ours:
    """The quasi-Newton method in the positions of the undeformed cell and the logarithm of the deformation."""

    def __init__(
        self,
        atoms: Atoms,
        pressure_eV_per_A3: float | None,
        reference_cell_A: FloatArray,
        memory: Mapping[str, Any],
    ) -> None:
        from superionic.dynamics.relax.quasi_newton import QuasiNewton, model_hessian

        self._atoms, self._pressure, self._reference = atoms, pressure_eV_per_A3, reference_cell_A
        cell = pressure_eV_per_A3 is not None
        if memory:
            self._at, self._age = np.array(memory["at"]), int(memory["age"])
            self._method = QuasiNewton(np.zeros((len(self._at), len(self._at))), len(atoms))
            self._method.remember(memory)
        else:
            self._at = np.concatenate([atoms.positions.ravel(), np.zeros(9 if cell else 0)])
            self._method, self._age = QuasiNewton(model_hessian(atoms, cell=cell), len(atoms)), 0

    def step(self) -> None:
        from superionic.dynamics.relax.quasi_newton import QuasiNewton, deformation, model_hessian

        if self._age == _RENEW_AFTER:
            cell = self._pressure is not None
            self._method, self._age = QuasiNewton(model_hessian(self._atoms, cell=cell), len(self._atoms)), 0
        self._age += 1
        self._at = self._at + self._method.step(self._at, self._gradient())
        places = self._at[: 3 * len(self._atoms)].reshape(-1, 3)
        if self._pressure is None:
            self._atoms.positions = places
            return
        change = deformation(self._at[-9:].reshape(3, 3))
        self._atoms.set_cell(self._reference @ change)
        self._atoms.positions = places @ change

    def memory(self) -> dict[str, Any]:
        return {**self._method.memory(), "age": self._age, "at": self._at.copy()}

    def _gradient(self) -> FloatArray:
        from superionic.dynamics.relax.quasi_newton import deformation, gradient_of_logarithm

        forces = self._atoms.get_forces()
        if self._pressure is None:
            return np.asarray(-forces.ravel(), dtype=np.float64)
        logarithm = self._at[-9:].reshape(3, 3)
        stress = self._atoms.get_stress(voigt=False) + self._pressure * np.eye(3)
        virial = self._atoms.get_volume() * stress
        return np.concatenate(
            [(-forces @ deformation(logarithm).T).ravel(), gradient_of_logarithm(logarithm, virial).ravel()]
        )


class _OfAse:
    def __init__(self, name: str, target: Any, memory: Mapping[str, Any]) -> None:
        from ase import optimize

        self._name = name
        kind = optimize.GoodOldQuasiNewton if name == "GOQN" else getattr(optimize, name)
        self._optimizer = kind(target, logfile=None)
        if not memory:
            return
        for attribute in _ATTRIBUTES[name]:
            if attribute in memory:
                setattr(self._optimizer, attribute, _copied(memory[attribute]))
        if name == "LBFGS":
            state = self._optimizer.state
            state.iteration = memory["iteration"]
            state.s, state.y = list(np.array(memory["s"])), list(np.array(memory["y"]))
            state.rho = [float(value) for value in memory["rho"]]
        elif name == "BFGS" and "inner_hessian" in memory:
            self._optimizer.update(None, None, None, None)  # creates the object that holds the Hessian
            self._optimizer.state.hessian = np.array(memory["inner_hessian"])

    def step(self) -> None:
        self._optimizer.step()

    def memory(self) -> dict[str, Any]:
        memory = {
            attribute: _copied(getattr(self._optimizer, attribute))
            for attribute in _ATTRIBUTES[self._name]
            if getattr(self._optimizer, attribute, None) is not None
        }
        state: Any = getattr(self._optimizer, "state", None)
        if self._name == "LBFGS" and state.s:
            memory |= {"iteration": state.iteration, "s": np.array(state.s), "y": np.array(state.y)}
            memory["rho"] = np.array(state.rho, dtype=np.float64)
        elif self._name == "LBFGS":
            memory |= {"iteration": state.iteration, "s": [], "y": [], "rho": []}
        elif self._name == "BFGS" and state is not None:
            memory["inner_hessian"] = np.array(state.hessian)
        return memory


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim > 0:
        return value.copy()
    return value if isinstance(value, int) and not isinstance(value, bool) else float(value)
