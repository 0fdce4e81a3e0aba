"""Dispersion (van der Waals forces) as a separate term: D3 with Becke–Johnson damping, by the library simple-dftd3.

Semilocal functionals such as PBE lack it, and so do potentials trained on them: layered halides come out a tenth
too large at 1 bar. The term is a sum over pairs of atoms, −Σ s_n C_n/(R^n + (a1 R0 + a2)^n) with n = 6 and 8, whose
coefficients depend on the elements and on how many neighbours each atom has (S. Grimme, J. Antony, S. Ehrlich and
H. Krieg, J. Chem. Phys. 132, 154104 (2010); S. Grimme, S. Ehrlich and L. Goerigk, J. Comput. Chem. 32, 1456 (2011)).
The three-body term is left out, as in VASP's IVDW = 12.

The term needs no training: it is added to a potential (``dispersion`` of
:func:`superionic.potentials.base.load_potential`) or to labels
(:func:`superionic.labels.corrected.with_dispersion_term`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.units import Bohr, Hartree

from superionic.conventions import functional_in
from superionic.errors import CalculationFailed, EngineError, PotentialError

FloatArray = npt.NDArray[np.float64]

METHODS: Final = ("d3bj",)
FUNCTIONALS: Final = ("PBE", "PBEsol", "SCAN", "r2SCAN")
"""Functionals of the potentials and labels here for which D3(BJ) parameters have been published."""

LIBRARY: Final = "dftd3"
VERSION: Final = "1.7.0"
"""The only version of the library accepted, since the numbers of two versions may differ."""

EVALUATION_S_PER_ATOM: Final = 0.0002
"""CPU seconds of an evaluation with forces and stress, per atom of a dense crystal, at the usual cutoffs: for plans."""

LAST_NUMBER: Final = 103
"""Atomic number of the last element that D3 covers."""

_CUTOFF_A: Final = 32.0
_COORDINATION_CUTOFF_A: Final = 11.0


@dataclass(frozen=True)
class Dispersion:
    """A D3(BJ) term.

    Attributes
    ----------
    functional
        Functional whose energies it corrects: one of :data:`FUNCTIONALS`; it sets the damping.
    method
        ``"d3bj"``.
    cutoff_A
        Distance up to which pairs count. At the default the energy of Li3YCl6 is within 0.2 meV/atom, and its
        pressure within 0.003 GPa, of the sum to infinity; the cost grows as the cube.
    coordination_cutoff_A
        Distance up to which neighbours are counted; their number has converged at the default.
    version
        Version of the library, see :data:`VERSION`.

    Raises
    ------
    PotentialError
        If a value is impossible.
    """

    functional: str
    method: str = METHODS[0]
    cutoff_A: float = _CUTOFF_A
    coordination_cutoff_A: float = _COORDINATION_CUTOFF_A
    version: str = VERSION

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("functional", FUNCTIONALS), ("version", (VERSION,))):
            if getattr(self, name) not in known:
                raise PotentialError(
                    f"Dispersion has no {name} {getattr(self, name)!r}.",
                    where=f"dispersion.{name}",
                    fix=f"Write {' or '.join(known)}.",
                )
        for name in ("cutoff_A", "coordination_cutoff_A"):
            value = float(getattr(self, name))
            if not 0.0 < value <= 200.0:
                raise PotentialError(
                    f"{name} of dispersion must lie between 0 and 200 Å, and is {value:g}.",
                    where=f"dispersion.{name}",
                    fix="Leave it out for the default.",
                )
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, specification: str | Mapping[str, Any] | Dispersion, *levels: str) -> Dispersion:
        """Build the term from a user's specification.

        Parameters
        ----------
        specification
            ``"d3bj"``, or the fields by name.
        levels
            Energy convention, level of theory or functional of what it is added to; where the specification has no
            functional, the first that names one is used.

        Raises
        ------
        PotentialError
            If a field is unknown or impossible, or nothing names the functional.
        """
        if isinstance(specification, Dispersion):
            return specification
        values: dict[str, Any] = {"method": specification} if isinstance(specification, str) else dict(specification)
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise PotentialError(
                f"Dispersion has no field {', '.join(unknown)}.",
                where="dispersion",
                fix=f"Use only: {', '.join(known)}.",
            )
        if values.get("functional") is None:
            values["functional"] = next((name for level in levels if (name := functional_in(level))), None)
        if values["functional"] is None:
            raise PotentialError(
                f"The functional of the dispersion term is not known: {' / '.join(levels)!r} names none that "
                "D3(BJ) has parameters for.",
                where="dispersion",
                fix=f"State it: dispersion: {{method: {values.get('method', METHODS[0])}, functional: PBE}} (or "
                f"{', '.join(FUNCTIONALS[1:])}).",
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values: what :meth:`of` takes, and what the keys of tasks depend on."""
        return asdict(self)

    def term(self, *levels: str) -> str:
        """Return the name of the term in energy conventions; in brackets is what differs from the default.

        Parameters
        ----------
        levels
            As for :meth:`of`.
        """
        functional = next((name for level in levels if (name := functional_in(level))), None)
        words = ["BJ"] if self.functional == functional else ["BJ", self.functional]
        if self.cutoff_A != _CUTOFF_A:
            words.append(f"to {self.cutoff_A:g} Å")
        if self.coordination_cutoff_A != _COORDINATION_CUTOFF_A:
            words.append(f"neighbours to {self.coordination_cutoff_A:g} Å")
        return f"D3({', '.join(words)})"

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> tuple[float, FloatArray, FloatArray | None]:
        """Evaluate the term.

        Parameters
        ----------
        atoms
            n atoms, periodic in any number of directions.
        stress
            Whether to evaluate stress, which requires periodicity in all directions.

        Returns
        -------
        energy, forces, stress
            In eV; (n, 3) in eV/Å; Voigt order xx, yy, zz, yz, xz, xy, shape (6,), in eV/Å³ with ASE's sign, or None.

        Raises
        ------
        EngineError
            If the library is not installed in this Python, or in another version.
        PotentialError
            If an element is not covered, or stress is requested for a structure that is not periodic in all directions.
        CalculationFailed
            If the library refuses the structure.
        """
        interface = _library()
        if stress and not atoms.pbc.all():
            raise PotentialError(
                "Stress needs a structure that is periodic in all directions.", fix="Evaluate it with stress=False."
            )
        if len(atoms) and int(atoms.numbers.max()) > LAST_NUMBER:  # beyond it the library reads past its tables
            raise PotentialError(
                f"D3 covers elements up to atomic number {LAST_NUMBER}; the structure has {max(atoms.numbers)}.",
                fix="Leave out `dispersion`.",
            )
        damping = _damping(self.functional)
        try:
            model = interface.DispersionModel(
                atoms.numbers, atoms.positions / Bohr, atoms.cell.array / Bohr, np.asarray(atoms.pbc)
            )
            pairs, coordination = self.cutoff_A / Bohr, self.coordination_cutoff_A / Bohr
            model.set_realspace_cutoff(pairs, 0.0, coordination)
            computed = model.get_dispersion(damping, grad=True)
        except RuntimeError as error:
            raise CalculationFailed(f"the dispersion library failed: {error}", {"n_atoms": len(atoms)}) from error
        forces = -np.asarray(computed["gradient"]) * (Hartree / Bohr)
        voigt = None
        if stress:
            tensor = np.asarray(computed["virial"]) * Hartree / atoms.get_volume()
            voigt = (0.5 * (tensor + tensor.T))[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        return float(computed["energy"]) * Hartree, forces, voigt


def library_problem() -> str | None:
    """Return why the library cannot be used in this Python; None where it can."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version(LIBRARY)
    except PackageNotFoundError:
        return "is not installed"
    return None if installed == VERSION else f"is installed in version {installed}, and {VERSION} is needed"


@cache
def _library() -> Any:
    problem = library_problem()
    if problem is not None:
        raise missing_library(problem, sys.executable)
    from dftd3 import interface

    return interface


def missing_library(problem: str, python: str) -> EngineError:
    """Return the error that the library is missing in an interpreter's environment, with the way to install it."""
    return EngineError(
        f"Dispersion is evaluated by the library {LIBRARY} (simple-dftd3), which {problem}.",
        where=python,
        fix=f"{python} -m pip install {LIBRARY}=={VERSION}",
    )


@cache
def _damping(functional: str) -> Any:
    return _library().RationalDampingParam(method=functional.lower(), atm=False)
