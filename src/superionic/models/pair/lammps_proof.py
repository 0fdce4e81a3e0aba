"""A check that LAMMPS reproduces the values on record.

Two things are checked on the stored Li9Y3Cl18 cell with displaced ions: that one of LAMMPS's own pair styles gives the
energy, forces and stress of our pair potential, which has the same formula; and that a short run at constant pressure,
driven through the callback, ends with the values on record, and identically when repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from ase import Atoms

from superionic.dynamics.lammps.library import lammps_version
from superionic.dynamics.lammps.parity import compare, natively
from superionic.dynamics.md import MDSettings, initial_state, run_segment
from superionic.errors import EngineError
from superionic.models.pair.lammps import pair_commands, pair_self_energy_eV
from superionic.models.pair.potential import PairPotential
from superionic.potentials.reference import li3ycl6_cell

SETTINGS: Final = MDSettings(
    temperature_K=600.0,
    ensemble="npt",
    cell_motion="anisotropic",
    pressure_GPa=0.5,
    barostat_time_fs=200.0,
    save_every=20,
    engine="lammps",
)
"""Settings of the run."""

N_STEPS: Final = 40

# Recorded with LAMMPS 2025.7.22.4.0, MPICH 5.0.2, numpy 2.4.6, x86-64.
ON_RECORD: Final[Mapping[str, float]] = {
    "potential_energy_eV": -207.7086683659855,
    "volume_A3": 685.2514236077315,
    "temperature_K": 916.6180905452034,
}
TOLERANCES: Final[Mapping[str, float]] = {"potential_energy_eV": 1e-5, "volume_A3": 1e-4, "temperature_K": 1e-2}
NATIVE_TOLERANCES: Final[Mapping[str, float]] = {
    "energy_eV_per_atom": 1.0e-8,
    "force_eV_per_A": 1.0e-8,
    "stress_eV_per_A3": 1.0e-8,
}


def displaced_cell() -> Atoms:
    """Return the stored cell with displaced ions, so that no force is zero by symmetry."""
    atoms = li3ycl6_cell()
    places = np.arange(atoms.positions.size, dtype=np.float64).reshape(-1, 3)
    atoms.positions += 0.05 * np.sin(7.0 * places + 1.0)
    return atoms


def prove(settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None) -> dict[str, Any]:
    """Compare LAMMPS with our pair potential and with the values on record (a task).

    Returns
    -------
    dict
        ``version``, the values at the end of the run (``found``), and ``deviations`` of the native pair style and of
        the run.

    Raises
    ------
    EngineError
        If LAMMPS is not installed, or a value deviates by more than its tolerance.
    """
    del settings, inputs, context
    atoms = displaced_cell()
    potential = PairPotential()
    symbols = [Atoms(numbers=[number]).get_chemical_formula() for number in np.unique(atoms.numbers)]
    self_energy = pair_self_energy_eV(potential, atoms.get_chemical_symbols())
    native = compare(natively(atoms, pair_commands(potential, symbols), self_energy), potential.evaluate(atoms))
    start = initial_state(atoms, SETTINGS, seed=1)
    first, second = (run_segment(start, potential, SETTINGS, N_STEPS) for _ in range(2))
    values = {
        "potential_energy_eV": float(first.potential_energies_eV[-1]),
        "volume_A3": first.state.volume_A3,
        "temperature_K": float(first.temperatures_K[-1]),
    }
    run = {name: abs(values[name] - value) for name, value in ON_RECORD.items()}
    fix = "Install the engine again with its pinned versions: superionic engines install lammps"
    if not np.array_equal(first.state.positions_A, second.state.positions_A):
        raise EngineError("LAMMPS gave two different trajectories from the same start.", fix=fix)
    for what, deviations, allowed in (
        ("its own pair style", native, NATIVE_TOLERANCES),
        (f"a run of {N_STEPS} steps", run, TOLERANCES),
    ):
        # Written so that NaN fails, too.
        wrong = [name for name, most in allowed.items() if not deviations[name] <= most]
        if wrong:
            deviating = ", ".join(
                f"{name} is off by {deviations[name]:.3g} (allowed {allowed[name]:.0e})" for name in wrong
            )
            raise EngineError(f"LAMMPS {lammps_version()} is not to be trusted here: in {what} {deviating}.", fix=fix)
    return {
        "version": lammps_version(),
        "found": values,
        "deviations": {f"native {name}": value for name, value in native.items()} | run,
        "engine_parity": dict(first.engine_parity or {}),
    }
