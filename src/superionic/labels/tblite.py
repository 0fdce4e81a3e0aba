"""Labels from extended tight binding (GFN1-xTB, GFN2-xTB) by tblite: a fast, free reference for tests and methods.

Limitations
    - The library samples the Γ point only and offers no other. Energies of cells of different size are therefore not
      comparable while cells are small (rock-salt LiCl: 8 and 64 atoms differ by 0.27 eV/atom), and pressures are
      not reliable. Use cells with edges of 10 Å or more, and one cell for a set.
    - Neutral and spin-paired, one thread. The energy includes the entropy of the electronic temperature, so that
      forces and stress are its derivatives, to rounding; but the energy has steps of some 1e-7 eV where the nearest
      image of an atom changes, as the sums over images at Γ take the nearest ones.
    - The library stops with an error when the self-consistent charges do not converge; in addition, the charges it
      returns must add up to zero and all numbers must be finite. Anything else is a :class:`CalculationFailed`, never a
      label.

Methods: GFN1-xTB, Grimme, Bannwarth and Shushkov, J. Chem. Theory Comput. 13, 1989 (2017); GFN2-xTB, Bannwarth, Ehlert
and Grimme, J. Chem. Theory Comput. 15, 1652 (2019).
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.units import Bohr, Hartree, kB

from superionic.errors import CalculationFailed, CampaignFileError, EngineError, PotentialError
from superionic.labels.base import Label, Labeller, LabellerIdentity, Progress, refuse_unknown

PINNED_VERSION: Final = "0.8.0"
METHODS: Final = ("GFN1-xTB", "GFN2-xTB")
_HEAVIEST: Final = 86  # radon: both methods have parameters up to here
_CHARGE_TOLERANCE: Final = 1.0e-6

DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {"method": "GFN1-xTB", "electronic_temperature_K": 300.0, "accuracy": 0.1, "max_scf_steps": 250}
)
"""Settings and their defaults. ``accuracy`` is tblite's: it scales the thresholds of convergence and the cutoffs of
integrals (1 is the library's own default; at 0.1 forces of LiCl are converged to 1e-6 eV/Å)."""


class TbliteLabeller:
    """Labels by tblite in this process; meant to run in the worker process of the tblite environment.

    Parameters
    ----------
    settings
        Complete settings from :func:`complete_settings`.

    Raises
    ------
    EngineError
        If tblite is not installed here.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        try:
            version = importlib.metadata.version("tblite")
        except importlib.metadata.PackageNotFoundError as error:
            raise EngineError(
                "Labels by tblite were requested in an environment without tblite.",
                fix="Install its engine: superionic engines install tblite",
            ) from error
        self._settings = dict(settings)
        self._identity = _identity(self._settings, version)

    @property
    def identity(self) -> LabellerIdentity:
        """The identity of the labeller."""
        return self._identity

    def label(self, atoms: Atoms, *, scratch: Path | None = None, progress: Progress | None = None) -> Label:
        """Label one structure; see :class:`superionic.labels.base.Labeller`. Nothing is written to ``scratch``."""
        del scratch
        _check_structure(atoms)
        result = self._calculate(atoms)
        volume = abs(float(atoms.cell.volume))
        energy = float(result.get("energy")) * Hartree
        forces = -np.array(result.get("gradient"), dtype=np.float64) * (Hartree / Bohr)
        virial = np.array(result.get("virial"), dtype=np.float64) * Hartree
        stress = (0.5 * (virial + virial.T) / volume).ravel()[[0, 4, 8, 5, 2, 1]]
        charges = np.asarray(result.get("charges"), dtype=np.float64)
        details = {"formula": atoms.get_chemical_formula()}
        if not (math.isfinite(energy) and all(np.isfinite(values).all() for values in (forces, stress, charges))):
            raise CalculationFailed("tblite returned a non-finite number", details)
        if abs(float(charges.sum())) > _CHARGE_TOLERANCE * len(atoms):
            raise CalculationFailed(
                f"the charges of a neutral cell add up to {float(charges.sum()):.1e} e: they are not self-consistent",
                details,
            )
        if progress is not None:
            progress(1.0, "self-consistent")
        net_force = forces.sum(axis=0)
        temperature = self._settings["electronic_temperature_K"]
        return Label(
            energy_eV=energy,
            forces_eV_per_A=forces - net_force / len(atoms),
            stress_eV_per_A3=stress,
            provenance=self._identity.provenance(),
            diagnostics={
                "converged": True,
                "net_force_eV_per_A": [float(value) for value in net_force],
                "smearing_energy_eV": _smearing_energy_eV(result.get("orbital-occupations"), temperature),
            },
        )

    def _calculate(self, atoms: Atoms) -> Any:
        from tblite.exceptions import TBLiteRuntimeError, TBLiteTypeError, TBLiteValueError
        from tblite.interface import Calculator

        settings = self._settings
        try:
            calculator = Calculator(
                settings["method"],
                np.array(atoms.numbers),
                np.array(atoms.positions) / Bohr,
                charge=0.0,
                uhf=0,
                lattice=np.array(atoms.cell) / Bohr,
                periodic=np.array([True, True, True]),
            )
            calculator.set("verbosity", 0)
            calculator.set("accuracy", settings["accuracy"])
            calculator.set("temperature", settings["electronic_temperature_K"] * kB / Hartree)
            calculator.set("max-iter", settings["max_scf_steps"])
            return calculator.singlepoint()
        except (TBLiteRuntimeError, TBLiteTypeError, TBLiteValueError) as error:
            text = " ".join(str(error).split())
            reason = f"tblite stopped: {text}"
            if "not converged" in text:
                reason = f"the self-consistent charges did not converge in {settings['max_scf_steps']} steps"
            details = {"formula": atoms.get_chemical_formula(), "message": text}
            raise CalculationFailed(reason, details) from error


def describe(argument: str, settings: Mapping[str, Any]) -> LabellerIdentity:
    """Describe the labeller with the pinned version, without importing tblite."""
    del argument
    return _identity(complete_settings(settings), PINNED_VERSION)


def load(argument: str, settings: Mapping[str, Any]) -> Labeller:
    """Load the labeller; see :func:`superionic.labels.base.load_labeller`."""
    del argument
    return TbliteLabeller(complete_settings(settings))


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings with defaults, and check them.

    Raises
    ------
    CampaignFileError
        If a key is unknown or a value impossible.
    """
    refuse_unknown(settings, tuple(DEFAULTS), "Labels by tblite have", "label.tblite")
    complete = {**DEFAULTS, **settings}
    if complete["method"] not in METHODS:
        raise CampaignFileError(
            f"The method of labels by tblite cannot be {complete['method']!r}.",
            where="label.tblite.method",
            fix=f"Choose one of: {', '.join(METHODS)}.",
        )
    for key in ("electronic_temperature_K", "accuracy"):
        complete[key] = _positive(complete[key], f"label.tblite.{key}")
    complete["max_scf_steps"] = max(1, int(_positive(complete["max_scf_steps"], "label.max_scf_steps")))
    return complete


def _identity(settings: Mapping[str, Any], version: str) -> LabellerIdentity:
    method = settings["method"]
    return LabellerIdentity(
        name="tblite",
        code="tblite",
        version=version,
        functional=method,
        energy_convention=f"{method} total energies, without corrections",
        settings={**settings, "kpoints": "Γ", "charge": 0, "spin": "paired"},
        engine="tblite",
        stand_in=False,
    )


def _check_structure(atoms: Atoms) -> None:
    if not np.all(atoms.pbc) or abs(atoms.cell.volume) < 1.0e-6:
        raise CalculationFailed(
            "a label by tblite needs a cell that is periodic in three directions",
            {"pbc": [bool(value) for value in atoms.pbc], "volume_A3": float(atoms.cell.volume)},
        )
    if np.any(atoms.numbers < 1) or np.any(atoms.numbers > _HEAVIEST):
        raise PotentialError(
            f"GFN-xTB has no parameters for an element of {atoms.get_chemical_formula()}: it ends with Rn.",
            fix="Choose another labeller for this chemistry.",
        )


def _smearing_energy_eV(occupations: npt.ArrayLike, temperature_K: float) -> float:
    """Return -TS in eV of Fermi-occupied orbitals: kT Σ 2 [f ln f + (1 - f) ln(1 - f)], f half the occupation."""
    # Mermin, Phys. Rev. 137, A1441 (1965); full and empty orbitals have none.
    half = np.clip(0.5 * np.asarray(occupations, dtype=np.float64).ravel(), 0.0, 1.0)
    partly = half[(half > 0.0) & (half < 1.0)]
    return float(2.0 * kB * temperature_K * np.sum(partly * np.log(partly) + (1.0 - partly) * np.log1p(-partly)))


def _positive(value: Any, where: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value <= 0.0:
        raise CampaignFileError(f"{where} cannot be {value!r}.", where=where, fix="Give a number greater than 0.")
    return float(value)
