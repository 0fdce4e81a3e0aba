"""Measure how well a molecular-dynamics engine keeps the contract; the tests judge the numbers.

The measurement runs where the engine runs, so that one suite serves both. The potential is the pair potential of this
project.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.build import bulk

from superionic.dynamics.md import MDSettings, initial_state, run_segment
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell

FloatArray = npt.NDArray[np.float64]

ENSEMBLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "nve": {"ensemble": "nve"},
    "nose-hoover-chain": {"thermostat": "nose-hoover-chain"},
    "csvr": {"thermostat": "csvr"},
    "langevin": {"thermostat": "langevin"},
    "berendsen": {"thermostat": "berendsen"},
    "npt isotropic": {"ensemble": "npt", "cell_motion": "isotropic"},
    "npt axes": {"ensemble": "npt", "cell_motion": "axes"},
    "npt anisotropic": {"ensemble": "npt", "cell_motion": "anisotropic"},
    "npt berendsen": {"ensemble": "npt", "barostat": "berendsen", "thermostat": "berendsen"},
}
"""All ensembles by name: arguments of :class:`MDSettings`."""

_ONLY_ORTHOGONAL = ("npt axes", "npt berendsen")
_FRAMES = (
    "steps",
    "positions_A",
    "cells_A",
    "temperatures_K",
    "potential_energies_eV",
    "kinetic_energies_eV",
    "pressures_GPa",
    "conserved_eV",
)
_STATE = ("positions_A", "momenta", "cell_A", "rng")


def restart(settings: Mapping[str, Any], inputs: Any = None, context: Any = None) -> dict[str, list[str]]:
    """Compare one run of 32 steps with segments of 7, 5, 0 and 20 (a task).

    Parameters
    ----------
    settings
        ``engine``; ``ensembles``: names.

    Returns
    -------
    dict
        For each ensemble, with and without a heating ramp, the names of what differs in any bit.
    """
    del inputs, context
    report = {}
    for name in settings["ensembles"]:
        for ramp in ({}, {"ramp_from_K": 100.0, "ramp_steps": 17}):
            md_settings = MDSettings(
                **{
                    "temperature_K": 600.0,
                    "save_every": 5,
                    "record_pressure": True,
                    "engine": settings["engine"],
                    **ENSEMBLES[name],
                    **ramp,
                }
            )
            report[f"{name}, ramp" if ramp else name] = _unlike(_start(name), md_settings)
    return report


def observe(settings: Mapping[str, Any], inputs: Any = None, context: Any = None) -> dict[str, Any]:
    """Make one run of rock-salt NaCl, 8 ions, and average over it (a task).

    Parameters
    ----------
    settings
        ``md``: arguments of :class:`MDSettings`; ``n_steps``; ``skip``: frames left out at the start; ``seed``.

    Returns
    -------
    dict
        ``temperature_K``, ``potential_energy_eV``, ``volume_A3`` and (where recorded) ``pressure_GPa`` as pairs of mean
        and standard error from ten blocks; ``temperature_spread``: standard deviation over mean; ``conserved_span_eV``
        or None; ``momentum``: largest component of the total momentum at the end; ``positions_A`` of the last frame;
        ``engine_parity``.
    """
    del inputs, context
    md_settings = MDSettings(**settings["md"])
    potential = load_potential("pair", cutoff_A=5.0)
    start = initial_state(bulk("NaCl", "rocksalt", a=5.5, cubic=True), md_settings, settings["seed"])
    segment = run_segment(start, potential, md_settings, settings["n_steps"])
    skip = settings["skip"]
    temperatures = segment.temperatures_K[skip:]
    report: dict[str, Any] = {
        "temperature_K": _mean(temperatures),
        "potential_energy_eV": _mean(segment.potential_energies_eV[skip:]),
        "volume_A3": _mean(np.abs(np.linalg.det(segment.cells_A))[skip:]),
        "temperature_spread": float(temperatures.std() / temperatures.mean()),
        "conserved_span_eV": None if segment.conserved_eV is None else float(np.ptp(segment.conserved_eV)),
        "momentum": float(np.abs(segment.state.momenta.sum(axis=0)).max()),
        "positions_A": segment.positions_A[-1],
        "engine_parity": None if segment.engine_parity is None else dict(segment.engine_parity),
    }
    if segment.pressures_GPa is not None:
        report["pressure_GPa"] = _mean(segment.pressures_GPa[skip:])
    return report


def _start(name: str) -> Atoms:
    if name in _ONLY_ORTHOGONAL:
        return bulk("NaCl", "rocksalt", a=5.5, cubic=True)
    atoms = li3ycl6_cell()
    atoms.rattle(0.05, seed=1)
    atoms.rotate(30, (1, 2, 3), rotate_cell=True)
    return atoms


def _unlike(atoms: Atoms, md_settings: MDSettings) -> list[str]:
    state = start = initial_state(atoms, md_settings, seed=3)
    whole = run_segment(start, load_potential("pair", cutoff_A=5.0), md_settings, 32)
    parts = []
    for n_steps in (7, 5, 0, 20):
        # From a copy and with a fresh potential, as after an interruption.
        parts.append(run_segment(deepcopy(state), load_potential("pair", cutoff_A=5.0), md_settings, n_steps))
        state = parts[-1].state
    unlike = [name for name in _STATE if not np.array_equal(getattr(whole.state, name), getattr(state, name))]
    unlike += sorted(whole.state.internals.keys() ^ state.internals.keys())
    unlike += [
        name
        for name, value in whole.state.internals.items()
        if value.tobytes() != state.internals.get(name, np.zeros(0)).tobytes()
    ]
    for name in _FRAMES:
        expected = getattr(whole, name)
        values = [getattr(part, name) for part in parts if len(part.steps)]
        if expected is None:
            same = all(value is None for value in values)
        else:
            same = np.array_equal(expected, np.concatenate(values))
        if not same:
            unlike.append(name)
    return unlike


def _mean(values: FloatArray) -> tuple[float, float]:
    blocks = np.array([block.mean() for block in np.array_split(values, 10)])
    return float(values.mean()), float(blocks.std(ddof=1) / np.sqrt(len(blocks)))


def refused(settings: Mapping[str, Any], inputs: Any = None, context: Any = None) -> dict[str, Any]:
    """Make one step of an ensemble in an oblique cell with LAMMPS, which should refuse it (a task)."""
    del inputs, context
    md_settings = MDSettings(temperature_K=300.0, engine="lammps", **ENSEMBLES[settings["ensemble"]])
    segment = run_segment(initial_state(li3ycl6_cell(), md_settings, 0), load_potential("pair"), md_settings, 1)
    return {"n_evaluations": segment.n_evaluations}
