"""Check before each run that LAMMPS moves atoms by the same energy, forces and stress that the potential gives.

The interface rotates the cell, renumbers the components of the virial, and converts units; a mistake in any of these
would give a run that looks sound but is wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.dynamics.lammps.library import Frame, box_of, create_atoms, lammps_version, start_lammps
from superionic.dynamics.state import MDState
from superionic.errors import EngineError
from superionic.potentials.base import Potential, Prediction
from superionic.units import BAR_PER_GPA, ev_per_A3

FloatArray = npt.NDArray[np.float64]

ENERGY_TOLERANCE_EV_PER_ATOM = 1.0e-6
FORCE_TOLERANCE_EV_PER_A = 1.0e-5
STRESS_TOLERANCE_EV_PER_A3 = 1.0e-6


def check_engine_parity(state: MDState, potential: Potential) -> dict[str, float]:
    """Compare one frame evaluated through LAMMPS with the potential itself.

    Parameters
    ----------
    state
        The frame; atoms displaced from their sites test more than a symmetric structure at rest.
    potential
        The potential that will drive the run. It is evaluated twice: in our frame, and in LAMMPS'.

    Returns
    -------
    dict
        Largest differences ``energy_eV_per_atom``, ``force_eV_per_A`` and ``stress_eV_per_A3``.

    Raises
    ------
    EngineError
        If a difference exceeds its tolerance (forces: 1e-5 eV/Å), or LAMMPS is not installed here.
    """
    atoms = state.to_atoms()
    direct = potential.evaluate(atoms)
    differences = compare(through_lammps(atoms, potential.evaluate), direct)
    demand_parity(differences, f"the potential {potential.identity.name} driven by LAMMPS {lammps_version()}")
    return differences


def through_lammps(atoms: Atoms, evaluate: Callable[[Atoms], Prediction]) -> Prediction:
    """Evaluate a potential in LAMMPS' frame by its callback, and read the result from LAMMPS itself."""

    def called(_caller: Any, _step: int, _n: int, _tags: Any, x: FloatArray, f: FloatArray) -> None:
        f[:] = 0.0
        try:
            origin, cell = box_of(instance)
            in_their_frame = Atoms(numbers=atoms.numbers, positions=x - origin, cell=cell, pbc=True)
            prediction = evaluate(in_their_frame)
            f[:] = prediction.forces_eV_per_A
            instance.fix_external_set_energy_global("potential", prediction.energy_eV)
            stress = np.asarray(prediction.stress_eV_per_A3, dtype=np.float64)
            virial = Frame(np.eye(3)).virial(stress, in_their_frame.get_volume())
            instance.fix_external_set_virial_global("potential", virial)
        except BaseException as failure:  # noqa: BLE001 - nothing may travel through LAMMPS; raised after the command
            failures.append(failure)

    failures: list[BaseException] = []
    instance = start_lammps()
    try:
        frame = _filled(instance, atoms)
        instance.commands_list(
            [
                "comm_modify cutoff 0.1",
                "fix potential all external pf/callback 1 1",
                "fix_modify potential energy yes virial yes",
            ]
        )
        instance.set_fix_external_callback("potential", called, None)
        prediction = _read(instance, atoms, frame, failures)
    finally:
        instance.close()
    return prediction


def natively(atoms: Atoms, commands: Sequence[str], constant_eV: float = 0.0) -> Prediction:
    """Evaluate a pair style of LAMMPS.

    Parameters
    ----------
    atoms
        The structure; its types are its atomic numbers in ascending order.
    commands
        ``pair_style``, ``pair_coeff``, and any other commands that it needs.
    constant_eV
        Constant added to LAMMPS' energy.
    """
    instance = start_lammps()
    try:
        frame = _filled(instance, atoms)
        instance.commands_list(list(commands))
        prediction = _read(instance, atoms, frame, [])
    finally:
        instance.close()
    return replace(prediction, energy_eV=prediction.energy_eV + constant_eV)


def compare(actual: Prediction, expected: Prediction) -> dict[str, float]:
    """Return the largest differences of energy per atom, forces and stress."""
    stresses = [np.asarray(one.stress_eV_per_A3, dtype=np.float64) for one in (actual, expected)]
    return {
        "energy_eV_per_atom": abs(actual.energy_eV - expected.energy_eV) / len(expected.forces_eV_per_A),
        "force_eV_per_A": float(np.abs(actual.forces_eV_per_A - expected.forces_eV_per_A).max()),
        "stress_eV_per_A3": float(np.abs(stresses[0] - stresses[1]).max()),
    }


def demand_parity(differences: dict[str, float], what: str) -> None:
    """Raise :class:`EngineError` if a difference exceeds its tolerance, or is NaN."""
    allowed = {
        "energy_eV_per_atom": ENERGY_TOLERANCE_EV_PER_ATOM,
        "force_eV_per_A": FORCE_TOLERANCE_EV_PER_A,
        "stress_eV_per_A3": STRESS_TOLERANCE_EV_PER_A3,
    }
    wrong = [name for name, most in allowed.items() if not differences[name] <= most]
    if wrong:
        deviations = ", ".join(f"{name} by {differences[name]:.2g} (allowed {allowed[name]:.0e})" for name in wrong)
        raise EngineError(
            f"LAMMPS does not reproduce the potential's forces: {what} differs in {deviations}.",
            fix="Use the engine ase; a potential in single precision, or one that depends on the orientation of the "
            "crystal, does not pass.",
        )


def _filled(instance: Any, atoms: Atoms) -> Frame:
    frame = Frame.of(atoms.cell.array)
    kinds, types = np.unique(atoms.numbers, return_inverse=True)
    masses = np.array([atoms.get_masses()[atoms.numbers == kind][0] for kind in kinds])
    cell = frame.cell(atoms.cell.array)
    create_atoms(instance, cell, types + 1, masses, frame.theirs(atoms.positions))
    instance.command("compute push all pressure NULL virial")
    # Thermo output of a quantity makes LAMMPS compute it during the run.
    instance.commands_list(["thermo_style custom step pe c_push[1]", "thermo 1"])
    return frame


def _read(instance: Any, atoms: Atoms, frame: Frame, failures: list[BaseException]) -> Prediction:
    instance.command("run 0 post no")
    if failures:
        raise failures[0]
    n = len(atoms)
    order = np.argsort(instance.numpy.extract_atom("id")[:n])
    forces = frame.ours(instance.numpy.extract_atom("f")[:n][order])
    pressure = np.asarray(instance.numpy.extract_compute("push", 0, 1), dtype=np.float64)
    virial = np.array([ev_per_A3(p / BAR_PER_GPA) for p in pressure.tolist()])
    return Prediction(float(instance.get_thermo("pe")), forces, frame.stress(virial, 1.0))


def run_input(settings: Mapping[str, Any], inputs: Any = None, context: Any = None) -> dict[str, float]:
    """Run an input with LAMMPS, to test what is exported (a task).

    Parameters
    ----------
    settings
        ``text`` of the input; ``folder`` with its files, which also receives the output.

    Returns
    -------
    dict
        ``step``, ``temperature_K`` and ``volume_A3`` at the end.
    """
    del inputs, context
    instance = start_lammps()
    try:
        with contextlib.chdir(settings["folder"]):
            instance.commands_string(settings["text"])
        return {
            "step": float(instance.get_thermo("step")),
            "temperature_K": float(instance.get_thermo("temp")),
            "volume_A3": float(instance.get_thermo("vol")),
        }
    finally:
        instance.close()
