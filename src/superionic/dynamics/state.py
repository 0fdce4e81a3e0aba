"""The complete state of a molecular-dynamics run: all that is needed to continue it exactly.

It holds momenta, not velocities, because a conversion there and back would lose the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.dynamics.settings import MDSettings
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = npt.NDArray[np.float64]

_ARRAYS = ("positions_A", "momenta", "masses_amu", "cell_A")


@dataclass(frozen=True, eq=False)
class MDState:
    """State between two steps.

    Attributes
    ----------
    numbers
        Atomic numbers, shape (n_atoms,).
    positions_A
        Unwrapped positions, shape (n_atoms, 3), in Å.
    momenta
        Momenta, shape (n_atoms, 3), in ASE's unit √(amu·eV).
    masses_amu
        Masses, shape (n_atoms,), in amu.
    cell_A
        Cell vectors as rows, shape (3, 3), in Å.
    pbc
        Periodicity, shape (3,).
    step
        Number of steps made since the start of the run.
    rng
        State of the random generator (PCG64) as six unsigned 64-bit integers.
    reference_volume_A3
        Volume at the start of the run, for the volume monitor.
    internals
        Variables of the thermostat and barostat by name, as arrays of floats or (LAMMPS' restart file) bytes.
    """

    numbers: npt.NDArray[np.int64]
    positions_A: FloatArray
    momenta: FloatArray
    masses_amu: FloatArray
    cell_A: FloatArray
    pbc: npt.NDArray[np.bool_]
    step: int
    rng: npt.NDArray[np.uint64]
    reference_volume_A3: float
    internals: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", _frozen(self.numbers, np.int64))
        object.__setattr__(self, "pbc", _frozen(self.pbc, np.bool_))
        object.__setattr__(self, "rng", _frozen(self.rng, np.uint64))
        for name in _ARRAYS:
            object.__setattr__(self, name, _frozen(getattr(self, name), np.float64))
        internals = {key: _frozen(value, _internal_dtype(value)) for key, value in sorted(self.internals.items())}
        object.__setattr__(self, "internals", internals)
        n = len(self.numbers)
        shapes = {"positions_A": (n, 3), "momenta": (n, 3), "masses_amu": (n,), "cell_A": (3, 3)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {getattr(self, name).shape}")

    @property
    def kinetic_energy_eV(self) -> float:
        """Kinetic energy in eV."""
        return float(0.5 * np.sum(self.momenta**2 / self.masses_amu[:, None]))

    @property
    def temperature_K(self) -> float:
        """Instantaneous temperature 2K/(g k_B) with g = 3n - 3: the total momentum stays zero."""
        return 2.0 * self.kinetic_energy_eV / (degrees_of_freedom(len(self.numbers)) * BOLTZMANN_EV_PER_K)

    @property
    def volume_A3(self) -> float:
        """Volume of the cell in Å³."""
        return float(abs(np.linalg.det(self.cell_A)))

    def to_atoms(self) -> Atoms:
        """Return the structure with momenta; positions are unwrapped."""
        atoms = Atoms(numbers=self.numbers, positions=self.positions_A, cell=self.cell_A, pbc=self.pbc)
        atoms.set_masses(self.masses_amu)
        atoms.set_momenta(self.momenta)
        return atoms


class Stepper(Protocol):
    """Protocol of what moves the atoms of a run: our integrators, or LAMMPS.

    It moves an :class:`ase.Atoms` whose calculator is an :class:`superionic.dynamics.evaluation.Evaluation`.
    """

    atoms: Atoms

    def step(self) -> None:
        """Advance the atoms by one time step."""

    def set_temperature(self, temperature_K: float) -> None:
        """Set the target temperature, which NVE ignores."""

    def internals(self) -> dict[str, npt.NDArray[Any]]:
        """Return :attr:`MDState.internals`: what the next step depends on beyond the other fields."""

    def random(self) -> npt.NDArray[np.uint64]:
        """Return :attr:`MDState.rng`."""

    def conserved_eV(self) -> float | None:
        """Return the conserved quantity in eV; ``None`` where there is none."""

    def close(self) -> None:
        """Release resources."""


def initial_state(atoms: Atoms, settings: MDSettings, seed: int) -> MDState:
    """Start a run: Maxwell–Boltzmann velocities with zero total momentum.

    Parameters
    ----------
    atoms
        The structure, periodic in all directions. Its own momenta are ignored.
    settings
        Settings of the run; velocities start at ``ramp_from_K`` if there is a ramp, at ``temperature_K`` otherwise.
    seed
        Seed of the velocities and of the stochastic thermostats.

    Notes
    -----
    Momenta are drawn, not rescaled to the exact temperature, so that replicas sample the canonical ensemble from the
    start.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    masses = np.array(atoms.get_masses(), dtype=np.float64)
    width = np.sqrt(masses * BOLTZMANN_EV_PER_K * settings.start_temperature_K)
    momenta = width[:, None] * rng.standard_normal((len(atoms), 3))
    momenta -= masses[:, None] * (momenta.sum(axis=0) / masses.sum())
    return MDState(
        numbers=atoms.numbers,
        positions_A=atoms.positions,
        momenta=momenta,
        masses_amu=masses,
        cell_A=atoms.cell.array,
        pbc=atoms.pbc,
        step=0,
        rng=pack_rng(rng.bit_generator.state),
        reference_volume_A3=float(atoms.get_volume()),
    )


def continued_state(state: MDState, *, cell_A: npt.ArrayLike | None = None) -> MDState:
    """Start the next phase of a protocol from the end of the last one.

    Positions, momenta and the random stream continue; the step count and the thermostat start afresh. With ``cell_A``
    the structure is strained to that cell at fixed fractional coordinates (for instance the mean cell of an NPT run).
    """
    cell = np.array(state.cell_A if cell_A is None else cell_A, dtype=np.float64)
    positions = np.array(state.positions_A)
    if cell_A is not None:
        positions = positions @ np.linalg.inv(state.cell_A) @ cell
    return MDState(
        numbers=state.numbers,
        positions_A=positions,
        momenta=state.momenta,
        masses_amu=state.masses_amu,
        cell_A=cell,
        pbc=state.pbc,
        step=0,
        rng=state.rng,
        reference_volume_A3=float(abs(np.linalg.det(cell))),
    )


def degrees_of_freedom(n_atoms: int) -> int:
    """Return 3n - 3: the total momentum is conserved (or constrained) at zero in every ensemble here."""
    return max(1, 3 * n_atoms - 3)


def pack_rng(state: Mapping[str, Any]) -> npt.NDArray[np.uint64]:
    """Pack the state of a PCG64 generator (``bit_generator.state``) into six unsigned 64-bit integers."""
    mask = (1 << 64) - 1
    numbers = []
    for key in ("state", "inc"):
        numbers += [state["state"][key] >> 64, state["state"][key] & mask]
    return np.array([*numbers, state["has_uint32"], state["uinteger"]], dtype=np.uint64)


def unpack_rng(packed: npt.NDArray[np.uint64]) -> np.random.Generator:
    """Return the random generator of a state packed by :func:`pack_rng`."""
    numbers = [int(number) for number in packed]
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": (numbers[0] << 64) | numbers[1], "inc": (numbers[2] << 64) | numbers[3]},
        "has_uint32": numbers[4],
        "uinteger": numbers[5],
    }
    return np.random.Generator(bits)


def _internal_dtype(value: Any) -> Any:
    return np.uint8 if getattr(value, "dtype", None) == np.uint8 else np.float64


def _frozen(value: Any, dtype: Any) -> npt.NDArray[Any]:
    array = np.array(value, dtype=dtype)
    array.setflags(write=False)
    return array
