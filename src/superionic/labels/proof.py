"""The proof that GPAW or tblite reproduces its recorded values on this machine.

A rock-salt LiCl cell of two atoms, with chlorine off its site so that forces and shear stress do not vanish, is
labelled by the adapter itself: this tests the whole path of a label, and not only that a library can be imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed, EngineError
from superionic.labels.base import load_labeller


@dataclass(frozen=True)
class Record:
    """Recorded values of a labeller for the cell of the proof, with tolerances for other machines.

    Attributes
    ----------
    code
        Display name.
    settings
        Labeller settings of the proof.
    energy_eV, force_on_Li_eV_per_A, stress_eV_per_A3
        Recorded values.
    tolerances
        Largest deviations of ``energy_eV``, ``forces_eV_per_A`` and ``stress_eV_per_A3``.
    fix
        What to do if a value is off.
    """

    code: str
    settings: Mapping[str, Any]
    energy_eV: float
    force_on_Li_eV_per_A: tuple[float, float, float]
    stress_eV_per_A3: tuple[float, float, float, float, float, float]
    tolerances: Mapping[str, float]
    fix: str


RECORDS: Final[Mapping[str, Record]] = MappingProxyType(
    {
        # Recorded with GPAW 26.7.0, gpaw-data 1.2.1, libxc 5.2.3, OpenBLAS, x86-64.
        "gpaw": Record(
            code="GPAW",
            settings={
                "functional": "PBE",
                "ecut_eV": 300.0,
                "kpoint_spacing_per_A": 0.6,
                "kpoint_offset": "offset",
                "smearing_eV": 0.05,
                "energy_tolerance_eV": 1.0e-5,
            },
            energy_eV=-7.052833564,
            force_on_Li_eV_per_A=(0.0615848, 0.0237736, -0.0572460),
            stress_eV_per_A3=(-0.02159539, -0.01937592, -0.02072811, 0.01163398, 0.01159237, 0.01166451),
            tolerances={"energy_eV": 2.0e-4, "forces_eV_per_A": 2.0e-3, "stress_eV_per_A3": 2.0e-5},
            fix="Check libxc and BLAS, then reinstall it with its pinned versions: superionic engines install gpaw",
        ),
        # Recorded with tblite 0.8.0 (wheel), x86-64.
        "tblite": Record(
            code="tblite",
            settings={"method": "GFN1-xTB", "accuracy": 0.01},
            energy_eV=-123.015353155,
            force_on_Li_eV_per_A=(0.11991608, 0.05801794, -0.09424545),
            stress_eV_per_A3=(-0.22471975, -0.22422595, -0.22447043, -0.00046601, -0.00093090, 0.00056469),
            tolerances={"energy_eV": 1.0e-6, "forces_eV_per_A": 1.0e-5, "stress_eV_per_A3": 1.0e-6},
            fix="Reinstall it with its pinned versions: superionic engines install tblite",
        ),
    }
)
"""By the name of the labeller."""


def lithium_chloride() -> Atoms:
    """Return the cell of the proof: primitive rock salt, a = 5.13 Å, with Cl displaced by (0.10, 0.05, -0.08) Å."""
    half = 5.13 / 2.0
    cell = np.array([[0.0, half, half], [half, 0.0, half], [half, half, 0.0]])
    positions = np.array([[0.0, 0.0, 0.0], [half + 0.10, half + 0.05, half - 0.08]])
    return Atoms("LiCl", positions=positions, cell=cell, pbc=True)


def prove(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Label the cell of the proof and compare with the recorded values.

    Parameters
    ----------
    settings
        ``labeller``: ``"gpaw"`` (default) or ``"tblite"``.
    context
        Context of a task: ``scratch`` and ``progress``.

    Returns
    -------
    dict
        The computed values, and their largest deviations from the recorded ones.

    Raises
    ------
    EngineError
        If the code cannot be imported, does not finish, or a value is off by more than its tolerance.
    """
    del inputs
    name = str(settings.get("labeller", "gpaw"))
    record = RECORDS[name]
    labeller = load_labeller(name, record.settings)
    atoms = lithium_chloride()
    try:
        label = labeller.label(atoms, scratch=context.scratch, progress=context.progress)
    except CalculationFailed as error:
        raise EngineError(
            f"{record.code} did not finish its proof, a two-atom LiCl cell: {error.reason}.",
            fix=f"Reinstall it with its pinned versions: superionic engines install {name}",
        ) from error
    stress = label.stress_eV_per_A3
    if stress is None:
        raise EngineError(f"{record.code} gave no stress for the two-atom LiCl cell of its proof.")
    deviations = {
        "energy_eV": abs(label.energy_eV - record.energy_eV),
        "forces_eV_per_A": float(np.abs(label.forces_eV_per_A[0] - np.array(record.force_on_Li_eV_per_A)).max()),
        "stress_eV_per_A3": float(np.abs(stress - np.array(record.stress_eV_per_A3)).max()),
    }
    allowed = record.tolerances
    result = {
        "labeller": labeller.identity.provenance(),
        "energy_eV": label.energy_eV,
        "forces_eV_per_A": label.forces_eV_per_A[0].tolist(),
        "stress_eV_per_A3": stress.tolist(),
        "deviations": deviations,
    }
    off = [what for what, deviation in deviations.items() if not deviation <= allowed[what]]
    if off:
        what = off[0]
        raise EngineError(
            f"{record.code} cannot be trusted here: for the two-atom LiCl cell of its proof {what} is off by "
            f"{deviations[what]:.2e} (allowed: {allowed[what]:.0e}).",
            fix=record.fix,
        )
    return result
