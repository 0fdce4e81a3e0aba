"""The proof that GPAW computes here what it computed when its values were put on record.

A rock-salt LiCl cell of two atoms, chlorine off its site so that forces and shear stress are alive, labelled by the
adapter itself: what is proved is the whole way of a label, and not only that a library can be imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed, EngineError
from superionic.labels.base import load_labeller

SETTINGS: Final[Mapping[str, Any]] = {
    "functional": "PBE",
    "ecut_eV": 300.0,
    "kpoint_spacing_per_A": 0.6,
    "kpoint_offset": "offset",
    "smearing_eV": 0.05,
    "energy_tolerance_eV": 1.0e-5,
}
"""Labeller settings of the proof."""

# Recorded with GPAW 26.7.0, gpaw-data 1.2.1, libxc 5.2.3, OpenBLAS, x86-64.
ENERGY_EV: Final = -7.052833564
FORCE_ON_LI_EV_PER_A: Final = (0.0615848, 0.0237736, -0.0572460)
STRESS_EV_PER_A3: Final = (-0.02159539, -0.01937592, -0.02072811, 0.01163398, 0.01159237, 0.01166451)

ENERGY_TOLERANCE_EV: Final = 2.0e-4
FORCE_TOLERANCE_EV_PER_A: Final = 2.0e-3
STRESS_TOLERANCE_EV_PER_A3: Final = 2.0e-5


def lithium_chloride() -> Atoms:
    """Give the cell of the proof: primitive rock salt, a = 5.13 Å, with Cl displaced by (0.10, 0.05, -0.08) Å."""
    half = 5.13 / 2.0
    cell = np.array([[0.0, half, half], [half, 0.0, half], [half, half, 0.0]])
    positions = np.array([[0.0, 0.0, 0.0], [half + 0.10, half + 0.05, half - 0.08]])
    return Atoms("LiCl", positions=positions, cell=cell, pbc=True)


def prove(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Label the cell of the proof and compare with the values on record.

    Parameters
    ----------
    settings, inputs
        Not used.
    context
        Context of a task: ``scratch`` and ``progress``.

    Returns
    -------
    dict
        The values found, those on record, and the largest deviations.

    Raises
    ------
    EngineError
        If GPAW cannot be imported, does not finish, or a value is off by more than its tolerance.
    """
    del settings, inputs
    labeller = load_labeller("gpaw", SETTINGS)
    atoms = lithium_chloride()
    try:
        label = labeller.label(atoms, scratch=context.scratch, progress=context.progress)
    except CalculationFailed as error:
        raise EngineError(
            f"GPAW did not finish its proof, a two-atom LiCl cell: {error.reason}.",
            fix="Install it again with its pinned versions: superionic engines install gpaw",
        ) from error
    stress = label.stress_eV_per_A3
    if stress is None:
        raise EngineError("GPAW gave no stress for the two-atom LiCl cell of its proof.")
    deviations = {
        "energy_eV": abs(label.energy_eV - ENERGY_EV),
        "forces_eV_per_A": float(np.abs(label.forces_eV_per_A[0] - np.array(FORCE_ON_LI_EV_PER_A)).max()),
        "stress_eV_per_A3": float(np.abs(stress - np.array(STRESS_EV_PER_A3)).max()),
    }
    allowed = {
        "energy_eV": ENERGY_TOLERANCE_EV,
        "forces_eV_per_A": FORCE_TOLERANCE_EV_PER_A,
        "stress_eV_per_A3": STRESS_TOLERANCE_EV_PER_A3,
    }
    found = {
        "labeller": labeller.identity.provenance(),
        "energy_eV": label.energy_eV,
        "forces_eV_per_A": label.forces_eV_per_A[0].tolist(),
        "stress_eV_per_A3": stress.tolist(),
        "deviations": deviations,
    }
    off = [name for name, deviation in deviations.items() if not deviation <= allowed[name]]
    if off:
        name = off[0]
        raise EngineError(
            f"GPAW is not to be trusted here: for the two-atom LiCl cell of its proof {name} is off by "
            f"{deviations[name]:.2e} (allowed: {allowed[name]:.0e}).",
            fix="Check libxc and BLAS, then install it again with its pinned versions: superionic engines install gpaw",
        )
    return found
