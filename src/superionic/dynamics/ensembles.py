"""Build the stepper of a run from its settings: one of our own integrators, or LAMMPS."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.dynamics.evaluation import Evaluation
from superionic.dynamics.integrators import (
    Berendsen,
    BerendsenPressure,
    Chain,
    Integrator,
    Langevin,
    MartynaTobiasKlein,
    NoseHooverChain,
    State,
    StochasticRescaling,
    VelocityVerlet,
)
from superionic.dynamics.settings import MDSettings
from superionic.dynamics.state import MDState, Stepper, pack_rng, unpack_rng
from superionic.errors import CalculationFailed, SuperionicError
from superionic.potentials.base import Prediction

FloatArray = npt.NDArray[np.float64]

_OF_LAMMPS = "lammps_restart"
_NAME = "integrator"
_CONTINUE = "Continue with the engine and integrator that began it, or start a new phase with continued_state."


def build_stepper(atoms: Atoms, state: MDState, settings: MDSettings) -> Stepper:
    """Return the stepper that the settings specify, continuing from ``state``.

    Parameters
    ----------
    atoms
        Structure to move, at the state's positions and momenta; its calculator is an :class:`Evaluation`.
    state
        Current state of the run.

    Raises
    ------
    SuperionicError
        If the state belongs to a run by the other engine, or by another integrator.
    """
    internals = state.internals
    if internals and (_OF_LAMMPS in internals) != (settings.engine == "lammps"):
        raise SuperionicError(f"This state belongs to a run by another engine than {settings.engine}.", fix=_CONTINUE)
    if settings.engine == "lammps":
        from superionic.dynamics.lammps import LammpsIntegrator

        return LammpsIntegrator(atoms, settings, internals, unpack_rng(state.rng), state.step)
    return _OwnStepper(atoms, state, integrator_of(settings, state.masses_amu), _name(settings))


def integrator_of(settings: MDSettings, masses_amu: FloatArray) -> Integrator:
    """Return the integrator that the settings specify, for atoms of these masses, shape (n_atoms,)."""
    mechanics: dict[str, Any] = {"masses_amu": masses_amu, "timestep_fs": settings.timestep_fs}
    if settings.ensemble == "nve":
        return VelocityVerlet(**mechanics)
    bath: dict[str, Any] = {**mechanics, "thermostat_time_fs": settings.thermostat_time_fs}
    piston: dict[str, Any] = {"pressure_GPa": settings.pressure_GPa, "barostat_time_fs": settings.barostat_time_fs}
    if settings.thermostat == "nose-hoover-chain":
        if settings.ensemble == "nvt":
            return NoseHooverChain(**bath, chain_length=settings.chain_length)
        return MartynaTobiasKlein(
            **bath, **piston, chain_length=settings.chain_length, cell_motion=settings.cell_motion
        )
    if settings.ensemble == "npt":
        return BerendsenPressure(**bath, **piston, compressibility_per_GPa=settings.compressibility_per_GPa)
    thermostats = {"csvr": StochasticRescaling, "langevin": Langevin, "berendsen": Berendsen}
    return thermostats[settings.thermostat](**bath)


class _OwnStepper:
    """One of our integrators and its state, copied into ``atoms`` after each step."""

    def __init__(self, atoms: Atoms, state: MDState, integrator: Integrator, name: str) -> None:
        self.atoms = atoms
        self._integrator = integrator
        self._name = name
        self._temperature_K = 0.0
        self._evaluation: Evaluation = atoms.calc
        self._last: tuple[FloatArray, FloatArray, Prediction] | None = None
        bare = State(
            state.positions_A, state.momenta, state.cell_A, state.step, unpack_rng(state.rng).bit_generator.state
        )
        self._state = integrator.begin(bare) if state.step == 0 else self._restored(bare, state)

    def step(self) -> None:
        """Advance the atoms by one time step."""
        try:
            self._state = self._integrator.step(self._state, self._forces, self._temperature_K)
        except (OverflowError, np.linalg.LinAlgError) as error:
            raise CalculationFailed("the thermostat or the cell ran away", {"step": self._state.step}) from error
        self._show(self._state.positions_A, self._state.cell_A)
        self.atoms.arrays["momenta"][:] = self._state.momenta

    def set_temperature(self, temperature_K: float) -> None:
        """Set the target temperature."""
        self._temperature_K = temperature_K

    def internals(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that the next step depends on beyond positions, momenta, cell and random numbers."""
        state = self._state
        return {
            _NAME: np.frombuffer(self._name.encode(), dtype=np.uint8),
            "heat_eV": np.array(state.heat_eV),
            "chain": np.array(state.chain),
            "cell_chain": np.array(state.cell_chain),
            "cell_momentum": state.cell_momentum,
        }

    def random(self) -> npt.NDArray[np.uint64]:
        """Return the state of the random generator, as :attr:`MDState.rng`."""
        return pack_rng(self._state.random)

    def conserved_eV(self) -> float:
        """Return the conserved quantity in eV."""
        return self._integrator.conserved_eV(self._state, self._forces, self._temperature_K)

    def close(self) -> None:
        """Do nothing; there are no resources to release."""

    def _forces(self, positions_A: FloatArray, cell_A: FloatArray) -> Prediction:
        # A state's arrays are never written to, so identical arrays are identical structures.
        if self._last is None or self._last[0] is not positions_A or self._last[1] is not cell_A:
            self._show(positions_A, cell_A)
            self._last = positions_A, cell_A, self._evaluation.predict(self.atoms)
        return self._last[2]

    def _show(self, positions_A: FloatArray, cell_A: FloatArray) -> None:
        self.atoms.arrays["positions"][:] = positions_A
        self.atoms.cell.array[:] = cell_A

    def _restored(self, bare: State, state: MDState) -> State:
        internals = state.internals
        name = np.asarray(internals.get(_NAME, np.zeros(0, dtype=np.uint8))).tobytes().decode()
        if name != self._name:
            origin = f"the integrator {name}" if name else "an integrator of an earlier version, or one that failed"
            raise SuperionicError(
                f"This state belongs to a run by {origin}; {self._name} cannot continue it.", fix=_CONTINUE
            )
        return bare._replace(
            heat_eV=float(internals["heat_eV"]),
            chain=_chain(internals["chain"]),
            cell_chain=_chain(internals["cell_chain"]),
            cell_momentum=internals["cell_momentum"],
        )


def _chain(links: npt.NDArray[Any]) -> Chain:
    return Chain(*(tuple(row) for row in links.tolist()))


def _name(settings: MDSettings) -> str:
    """Return the name stored in a state, which can continue only with the same variables."""
    if settings.ensemble == "nve":
        return "nve"
    if settings.ensemble == "nvt":
        return f"nvt {settings.thermostat}"
    return f"npt {settings.barostat} {settings.cell_motion}"
