"""Labels from density-functional theory by GPAW: plane waves and projector-augmented waves, one thread.

Fixed choices and their reasons
    - The energy is the free energy of the smeared bands, the one whose derivatives the forces are.
    - The net force (finite grids leave some; meta-GGAs more) is removed evenly from all atoms and recorded.
    - Spin-paired and without point-group symmetry: snapshots of a hot crystal have none, and finding some by accident
      would make two labels of one set differ. Time reversal pairs k with -k.
    - FFTs are planned by rule (``ESTIMATE``), not by stopwatch, so that the same input gives the same bits.
    - A run that does not meet its convergence criteria is tried again by other ways to the same end (:data:`LADDER`);
      if none converges it is a :class:`CalculationFailed`, never a label.
    - The stress is the derivative of the energy at a fixed number of plane waves, as in all plane-wave codes; at a
      finite cutoff it differs from the derivative at fixed cutoff by the Pulay stress (a nearly isotropic constant,
      docs/theory/labels-and-training.md).

k-points
    ``kpoint_spacing_per_A`` is the largest distance between neighbouring points along each reciprocal axis, where
    reciprocal vectors include 2π (length 2π/L for an edge L of a right-angled cell). This is the convention of VASP's
    ``KSPACING``. ``kpoint_offset`` places the grid:

    ``"gamma"`` (both papers)
        Axis i gets N = ceil(b_i/spacing) points j/N; the grid contains Γ.
    ``"offset"`` (few points, large cells)
        Axis i gets N = ceil(b_i/(2 spacing)) points (j + 1/4)/N. Time reversal adds -k to each k, free of cost, and
        the two together have 2N evenly spaced points along each axis, hence the requested spacing with fewer points
        to compute; only cross terms of two axes are lost (on special points of this kind: Baldereschi, Phys. Rev.
        B 7, 5212 (1973); Monkhorst and Pack, Phys. Rev. B 13, 5188 (1976)).
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed, CampaignFileError, EngineError, PotentialError
from superionic.labels.base import Label, Labeller, LabellerIdentity, Progress, refuse_unknown
from superionic.labels.retries import NotConverged, Rung, climb

PINNED_VERSION: Final = "26.7.0"
PINNED_SETUPS: Final = "1.2.1"
_EMPTY_BANDS: Final = 4

FUNCTIONALS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "LDA": "LDA",
        "PBE": "PBE",
        "PBEsol": "PBEsol",
        "SCAN": "MGGA_X_SCAN+MGGA_C_SCAN",
        "r2SCAN": "MGGA_X_R2SCAN+MGGA_C_R2SCAN",
    }
)
"""Our name of a functional → its name in libxc."""

DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "functional": "PBE",
        "ecut_eV": 520.0,
        "kpoint_spacing_per_A": 0.2,
        "kpoint_offset": "gamma",
        "smearing_eV": 0.05,
        "energy_tolerance_eV": 1.0e-5,
        "density_tolerance": 1.0e-4,
        "eigenstates_tolerance": 4.0e-8,
        "max_scf_steps": 100,
    }
)
"""Settings and their defaults. All three tolerances must be met: ``energy_tolerance_eV`` is the largest change of the
energy of the *cell* over the last three electronic steps, ``density_tolerance`` the largest change of the density in
electrons per valence electron, ``eigenstates_tolerance`` the largest residual in eV² per valence electron."""

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        # For 30 atoms of Li9Y3Cl18 one k-point to compute, 33 (idle core) to 55 CPU seconds. Against 500 eV and
        # 2x2x4 points, and after per-element shifts: energy 0.2 meV/atom, forces 4 meV/Å, stress 0.1 GPa from the
        # k-points and a constant isotropic -0.2 GPa from the cutoff (docs/theory/labels-and-training.md).
        "demo": MappingProxyType(
            {
                "functional": "PBE",
                "ecut_eV": 300.0,
                "kpoint_spacing_per_A": 0.7,
                "kpoint_offset": "offset",
                "smearing_eV": 0.05,
                "energy_tolerance_eV": 1.0e-3,
                "density_tolerance": 1.0e-3,
                "eigenstates_tolerance": 1.0e-6,
            }
        ),
        # Paper A: SCAN, 520 eV, Γ-centred grid of about 0.2 Å⁻¹, 1e-5 eV per cell, no symmetry.
        "paper-a": MappingProxyType({"functional": "SCAN", "ecut_eV": 520.0, "kpoint_spacing_per_A": 0.2}),
        # Paper B: static PBE at 350 eV on a Γ-centred grid; 520 eV and 0.2 Å⁻¹ where structures are optimised.
        "paper-b": MappingProxyType({"functional": "PBE", "ecut_eV": 350.0, "kpoint_spacing_per_A": 0.2}),
        "paper-b-relax": MappingProxyType({"functional": "PBE", "ecut_eV": 520.0, "kpoint_spacing_per_A": 0.2}),
    }
)
"""Ready-made settings; ``preset`` in the settings names one, and other keys override it."""

LADDER: Final[tuple[Rung, ...]] = (
    Rung("as set"),
    Rung("mixing", {"mixer": {"name": "pulay", "beta": 0.02, "nmaxold": 10}}),
    Rung("eigensolver", {"eigensolver": {"name": "davidson", "niter": 4}}),
    Rung("smearing", {"eigensolver": {"name": "davidson", "niter": 4}, "first_smearing_eV": 0.3}),
)
"""Ways to converge, in order. The last one converges with wide smearing first and continues with the resulting bands
and density at the smearing of the settings."""


class GpawLabeller:
    """Labels by GPAW in this process; meant to run in the worker process of the gpaw environment.

    Parameters
    ----------
    settings
        Complete settings from :func:`complete_settings`.

    Raises
    ------
    EngineError
        If GPAW cannot be imported here.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        try:
            version = importlib.metadata.version("gpaw")
            setups = importlib.metadata.version("gpaw-data")
        except importlib.metadata.PackageNotFoundError as error:
            raise EngineError(
                "GPAW labels were requested in an environment without GPAW.",
                fix="Install its engine: superionic engines install gpaw",
            ) from error
        self._settings = dict(settings)
        self._identity = _identity(self._settings, version, setups)

    @property
    def identity(self) -> LabellerIdentity:
        """The identity of the labeller."""
        return self._identity

    def label(self, atoms: Atoms, *, scratch: Path | None = None, progress: Progress | None = None) -> Label:
        """Label one structure; see :class:`superionic.labels.base.Labeller`.

        GPAW's own text goes to ``gpaw.txt`` in ``scratch``.
        """
        _plan_ffts_by_rule()
        work = _clean_copy(atoms)
        text = None if scratch is None else scratch / "gpaw.txt"
        values, attempts = climb(LADDER, lambda rung: self.attempt(work, rung, text, progress))
        forces, net_force = values["forces"], values["forces"].sum(axis=0)
        return Label(
            energy_eV=values["energy"],
            forces_eV_per_A=forces - net_force / len(work),
            stress_eV_per_A3=values["stress"],
            provenance=self._identity.provenance() | {"setups": values["setups"]},
            diagnostics={
                "converged": True,
                "net_force_eV_per_A": [float(value) for value in net_force],
                "smearing_energy_eV": 2.0 * (values["energy"] - values["extrapolated"]),
                **values["size"],
                **({"attempts": attempts} if len(attempts) > 1 else {}),
            },
        )

    def attempt(
        self, work: Atoms, rung: Rung, text: Path | None = None, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Run one calculation with the options of a rung; return the values of :meth:`label` before any correction."""
        from gpaw import GPAW, PW, KohnShamConvergenceError

        settings = self._settings
        points = kpoints(np.asarray(work.cell), settings)
        first_smearing = rung.options.get("first_smearing_eV")
        smearing = settings["smearing_eV"]
        parameters = {
            "mode": PW(settings["ecut_eV"]),
            "xc": FUNCTIONALS[settings["functional"]],
            "kpts": points,
            "symmetry": {"point_group": False, "time_reversal": True},
            "occupations": _occupations(smearing if first_smearing is None else max(smearing, first_smearing)),
            "spinpol": False,
            "convergence": {
                "energy": {"name": "energy", "tol": settings["energy_tolerance_eV"], "relative": False},
                "density": settings["density_tolerance"],
                "eigenstates": settings["eigenstates_tolerance"],
            },
            "nbands": -_EMPTY_BANDS,  # negative: this many more than are occupied
            "maxiter": settings["max_scf_steps"],
            "txt": None if text is None else str(text),
            **{name: rung.options[name] for name in ("mixer", "eigensolver") if name in rung.options},
        }
        steps: list[float] = []
        try:
            calculator = GPAW(**parameters)
            calculator.hooks["scf_step"] = _counter(steps, settings["max_scf_steps"], progress)
            work.calc = calculator
            if first_smearing is not None:
                work.get_potential_energy()
                calculator.dft.change(occupations=_occupations(smearing))
                steps.clear()
            energy = float(work.get_potential_energy(force_consistent=True))
            extrapolated = float(work.get_potential_energy())
            forces = np.array(work.get_forces(apply_constraint=False), dtype=np.float64)
            stress = np.array(work.get_stress(apply_constraint=False), dtype=np.float64)
        except KohnShamConvergenceError as error:
            raise NotConverged(
                f"the electronic minimisation did not converge in {settings['max_scf_steps']} steps",
                _failure(work, steps, text),
            ) from error
        except FileNotFoundError as error:
            raise PotentialError(
                f"GPAW has no setup for an element of {work.get_chemical_formula()}: {error}",
                fix="Choose another labeller for this chemistry, or add the setup to GPAW_SETUP_PATH.",
            ) from error
        except (ArithmeticError, AssertionError, RuntimeError, ValueError, np.linalg.LinAlgError) as error:
            raise CalculationFailed(
                f"GPAW stopped: {type(error).__name__}: {error}".strip(), _failure(work, steps, text)
            ) from error
        finally:
            work.calc = None
        if not (math.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
            raise CalculationFailed("GPAW returned a non-finite number", _failure(work, steps, text))
        return {
            "energy": energy,
            "extrapolated": extrapolated,
            "forces": forces,
            "stress": stress,
            "setups": _setup_fingerprints(calculator),
            "size": {
                "scf_steps": len(steps),
                "kpoints": len(points),
                "ibz_kpoints": _half(points),
                "plane_waves": sum(int(np.prod(wfs.psit_nX.desc.shape)) for wfs in calculator.dft.ibzwfs),
            },
        }


def describe(argument: str, settings: Mapping[str, Any]) -> LabellerIdentity:
    """Describe the labeller with the pinned versions, without importing GPAW."""
    del argument
    return _identity(complete_settings(settings), PINNED_VERSION, PINNED_SETUPS)


def load(argument: str, settings: Mapping[str, Any]) -> Labeller:
    """Load the labeller; see :func:`superionic.labels.base.load_labeller`."""
    del argument
    return GpawLabeller(complete_settings(settings))


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Complete settings with preset and defaults, and check them.

    Raises
    ------
    CampaignFileError
        If a key is unknown or a value impossible.
    """
    own = dict(settings)
    preset = own.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise CampaignFileError(
            f"GPAW labels have no preset called {preset!r}.",
            where="label.preset",
            fix=f"Choose one of: {', '.join(PRESETS)}.",
        )
    refuse_unknown(own, ("preset", *DEFAULTS), "GPAW labels have")
    complete = {**DEFAULTS, **(PRESETS[preset] if preset is not None else {}), **own}
    _check_choice(complete, "functional", tuple(FUNCTIONALS))
    _check_choice(complete, "kpoint_offset", ("gamma", "offset"))
    for key in ("ecut_eV", "kpoint_spacing_per_A", "energy_tolerance_eV", "density_tolerance", "eigenstates_tolerance"):
        complete[key] = _checked_number(complete, key, smallest=0.0, inclusive=False)
    complete["smearing_eV"] = _checked_number(complete, "smearing_eV", smallest=0.0, inclusive=True)
    complete["max_scf_steps"] = int(_checked_number(complete, "max_scf_steps", smallest=1.0, inclusive=True))
    return complete


def kpoint_grid(cell_A: npt.ArrayLike, spacing_per_A: float, offset: str = "gamma") -> tuple[int, int, int]:
    """Count the k-points N along each reciprocal axis; see the top of the module.

    Parameters
    ----------
    cell_A
        Cell vectors as rows, shape (3, 3), in Å.
    spacing_per_A
        Largest spacing in Å⁻¹ of neighbouring points, with reciprocal vectors that include 2π.
    offset
        ``"gamma"`` or ``"offset"``.

    Returns
    -------
    tuple of int
        At least 1 each. A quotient that exceeds an integer by less than 1e-6 counts as that integer, so that rounding
        in the cell does not change the grid.
    """
    lengths = 2.0 * math.pi * np.linalg.norm(np.linalg.inv(np.asarray(cell_A, dtype=np.float64)), axis=0)
    quotients = lengths / (2.0 * spacing_per_A if offset == "offset" else spacing_per_A)
    first, second, third = (max(1, math.ceil(number - 1.0e-6)) for number in quotients)
    return first, second, third


def kpoints(cell_A: npt.ArrayLike, settings: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """Return the k-points of the whole zone in units of the reciprocal vectors, shape (n, 3), of equal weight.

    The set always contains -k with k.
    """
    offset = settings["kpoint_offset"]
    shift = 0.25 if offset == "offset" else 0.0
    axes = []
    for number in kpoint_grid(cell_A, settings["kpoint_spacing_per_A"], offset):
        axis = (np.arange(number, dtype=np.float64) + shift) / number
        axes.append(axis - np.ceil(axis - 0.5))
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.concatenate([points, -points]) if offset == "offset" else points


def _identity(settings: Mapping[str, Any], version: str, setups: str) -> LabellerIdentity:
    functional = settings["functional"]
    return LabellerIdentity(
        name="gpaw",
        code="gpaw",
        version=version,
        functional=functional,
        energy_convention=f"GPAW {functional}, PAW setups {setups}, without corrections",
        settings={**settings, "mode": "plane waves", "setups": f"gpaw-data {setups}", "spin": "paired"},
        engine="gpaw",
        stand_in=False,
    )


def _clean_copy(atoms: Atoms) -> Atoms:
    """Copy only what the label depends on: no constraints, calculator, velocities or magnetic moments."""
    if not np.all(atoms.pbc) or abs(atoms.cell.volume) < 1.0e-6:
        raise CalculationFailed(
            "a plane-wave label needs a cell that is periodic in three directions",
            {"pbc": [bool(value) for value in atoms.pbc], "volume_A3": float(atoms.cell.volume)},
        )
    return Atoms(numbers=atoms.numbers.copy(), positions=atoms.positions.copy(), cell=np.array(atoms.cell), pbc=True)


def _plan_ffts_by_rule() -> None:
    """Make GPAW plan its FFTs by rule: plans chosen by timing differ from run to run, and so do the last digits."""
    from gpaw import fftw

    # GPAW's own switch for this purpose (its tests use it); the new plane-wave code takes no flags otherwise.
    fftw.FFTWPlans._overwrite_flags = fftw.ESTIMATE


def _occupations(smearing_eV: float) -> dict[str, Any]:
    if smearing_eV == 0.0:
        return {"name": "fixed-uniform"}
    return {"name": "fermi-dirac", "width": smearing_eV}


def _counter(steps: list[float], largest: int, progress: Progress | None) -> Callable[[Any], None]:
    """Return a hook that records each electronic step and reports it."""

    def note(context: Any) -> None:
        steps.append(float(context.niter))
        if progress is not None:
            # Most labels need ten to twenty steps; the bar slows down rather than reach its end too early.
            progress(min(0.95, len(steps) / (len(steps) + 0.1 * largest)), f"electronic step {len(steps)}")

    return note


def _failure(atoms: Atoms, steps: list[float], text: Path | None) -> dict[str, Any]:
    details: dict[str, Any] = {"formula": atoms.get_chemical_formula(), "scf_steps": len(steps)}
    if text is not None and text.is_file():
        details["last_lines"] = text.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
    return details


def _setup_fingerprints(calculator: Any) -> dict[str, str]:
    """Return the fingerprint of the setup of each element, as GPAW prints it."""
    return {setup.symbol: str(setup.fingerprint) for setup in calculator.dft.setups}


def _half(points: npt.NDArray[np.float64]) -> int:
    """Count the points after merging k and -k."""
    merged: set[tuple[int, ...]] = set()
    for point in points:
        plus, minus = (tuple(int(x) for x in np.round((sign * point) % 1.0 * 1.0e6) % 1_000_000) for sign in (1, -1))
        merged.add(min(plus, minus))
    return len(merged)


def _check_choice(settings: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> None:
    if settings[key] not in choices:
        raise CampaignFileError(
            f"{key} of GPAW labels cannot be {settings[key]!r}.",
            where=f"label.{key}",
            fix=f"Choose one of: {', '.join(choices)}.",
        )


def _checked_number(settings: Mapping[str, Any], key: str, *, smallest: float, inclusive: bool) -> float:
    value = settings[key]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < smallest or (value == smallest and not inclusive):
        comparison = "at least" if inclusive else "more than"
        raise CampaignFileError(
            f"{key} of GPAW labels cannot be {value!r}.",
            where=f"label.{key}",
            fix=f"Give a number that is {comparison} {smallest:g}.",
        )
    return float(value)
