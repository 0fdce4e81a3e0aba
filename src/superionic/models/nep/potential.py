"""The fast student: a neuroevolution potential (NEP) evaluated by compiled loops, without torch or any other engine.

Options of :func:`load`: ``weights`` (arrays of :func:`superionic.models.nep.fit.finish`) or ``file`` (a ``nep.txt`` of
GPUMD or of :meth:`NepPotential.to_text`); ``energy_convention`` and ``level_of_theory`` (those of its teacher). The
model ``nep89`` is a published file (``superionic engines install nep89``), whose energies are on record.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import EngineError, PotentialError
from superionic.foreign import read_regular
from superionic.models.nep import NEP89
from superionic.models.nep.model import NepModel
from superionic.potentials.base import BasePotential, PotentialIdentity, Prediction, weights_sha256

FloatArray = npt.NDArray[np.float64]

VERSION = "2"
"""Version of the form and of the kernels: raise it when a number changes."""

_MAX_BYTES = 100_000_000
_LICENCE = "that of its teacher"
_UNSTATED = "not stated"


class NepPotential(BasePotential):
    """A neuroevolution potential; make it with :func:`load`.

    Evaluations share a neighbour list that is made anew only when atoms have moved far enough; results do not depend
    on that history, bit for bit.
    """

    def __init__(self, identity: PotentialIdentity, model: NepModel) -> None:
        from superionic.models.nep.neighbours import NeighbourList

        super().__init__(identity)
        self.model = model
        self._warned = False
        self._list = NeighbourList(float(model.cutoffs_A[0]))
        # What the loops see: the elements of the structure at hand, as rows of the model and by atom among these rows.
        self._numbers = b""
        self._rows: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._types: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and, if ``stress``, stress of ``atoms``; see :class:`Potential`.

        Raises
        ------
        PotentialError
            If an element is not covered, or stress is requested for a structure that is not periodic in all directions.
        """
        from superionic.models.nep import kernels as nep_kernels

        if stress and self.identity.model == NEP89.name and not self._warned:
            self._warned = True
            warnings.warn(f"{NEP89.caution}.", stacklevel=2)
        if stress and not atoms.pbc.all():
            raise PotentialError(
                "Stress needs a structure that is periodic in all directions.", fix="Evaluate it with stress=False."
            )
        positions = self._prepare(atoms)
        arrays = self._arrays
        energies, forces, virial = np.zeros(len(atoms)), np.zeros((len(atoms), 3)), np.zeros((3, 3))
        nep_kernels.evaluate(
            positions,
            self._types,
            self._list.first,
            self._list.neighbours,
            self._list.shift,
            self._list.shifts_A,
            arrays["cutoffs_A"],
            arrays["shape"],
            arrays["c_radial"],
            arrays["c_angular"],
            arrays["scale"],
            arrays["w0"],
            arrays["b0"],
            arrays["w1"],
            arrays["bias_eV"],
            arrays["charges"],
            arrays["zbl_inner_A"],
            arrays["zbl_outer_A"],
            energies,
            forces,
            virial,
        )
        voigt = None
        if stress:
            (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = virial.tolist()
            sides = np.array([xx, yy, zz, 0.5 * (yz + zy), 0.5 * (xz + zx), 0.5 * (xy + yx)])
            voigt = sides / abs(float(np.linalg.det(atoms.cell.array)))
        return Prediction(float(energies.sum()), forces, voigt)

    def descriptors(self, atoms: Atoms) -> FloatArray:
        """Return the scaled descriptors of all atoms, the input of the networks, shape (n_atoms, dim)."""
        from superionic.models.nep import kernels as nep_kernels

        positions = self._prepare(atoms)
        out = np.zeros((len(atoms), self.model.dim))
        nep_kernels.descriptors(
            positions,
            self._types,
            self._list.first,
            self._list.neighbours,
            self._list.shift,
            self._list.shifts_A,
            self._arrays["cutoffs_A"],
            self._arrays["shape"],
            self._arrays["c_radial"],
            self._arrays["c_angular"],
            out,
        )
        scaled: FloatArray = out * self.model.scale
        return scaled

    def extrapolation_grade(self, atoms: Atoms) -> FloatArray:
        """Return how far each atom's surroundings lie outside those of the training set, shape (n_atoms,).

        The largest coefficient, by magnitude, that expresses an atom's descriptors by those of its element's active
        set (MaxVol; Podryabinkin and Shapeev, Comput. Mater. Sci. 140, 171 (2017)): up to 1 is interpolation.

        Raises
        ------
        PotentialError
            If the potential carries no active set (a ``nep.txt`` does not), or does not cover an element.
        """
        if not self.model.active_inverse.size:
            raise PotentialError(
                "This NEP carries no active set, so it cannot tell how far it extrapolates.",
                fix="Load the arrays that superionic.models.nep.fit.finish returned instead of a nep.txt.",
            )
        features = np.column_stack([self.descriptors(atoms), np.ones(len(atoms))])
        grades = np.zeros(len(atoms))
        for kind, row in enumerate(self._rows):
            chosen = self._types == kind
            grades[chosen] = np.abs(features[chosen] @ self.model.active_inverse[row]).max(axis=1)
        return grades

    def to_text(self) -> str:
        """Return the text of a ``nep.txt`` for GPUMD, LAMMPS (NEP) or calorine."""
        return self.model.to_text()

    def _prepare(self, atoms: Atoms) -> FloatArray:
        numbers = atoms.numbers.tobytes()
        if numbers != self._numbers:
            self.check_elements(atoms)
            rows, self._types = np.unique(self.model.types_of(atoms.numbers), return_inverse=True)
            if not self._arrays or not np.array_equal(rows, self._rows):
                # A universal potential has tables of thousands of pairs of elements, a crystal some ten of them.
                self._rows, self._arrays = rows, self.model.of_types(rows).kernel_arrays()
            self._numbers = numbers
        positions = np.ascontiguousarray(atoms.positions, dtype=np.float64)
        self._list.update(positions, np.array(atoms.cell.array, dtype=np.float64), np.array(atoms.pbc, dtype=bool))
        return positions


def describe(model: str | None = None, **options: Any) -> PotentialIdentity:
    """Describe a NEP; its elements and its hash are known only with its ``file``, unless it is ``nep89``.

    Raises
    ------
    PotentialError
        If another model is named (there are none to choose from) or the file is not readable.
    """
    _check_model(model)
    if options.get("file") is not None:
        read, digest = _read(options["file"])
        _check_file(model, digest)
        return _identity(read, digest, **options)
    return _identity(None, NEP89.sha256 if model == NEP89.name else "", **options)


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    file: str | None = None,
    energy_convention: str | None = None,
    level_of_theory: str | None = None,
) -> NepPotential:
    """Load a NEP from arrays or from a ``nep.txt``.

    Raises
    ------
    PotentialError
        If neither or both are given, or what is given is not a NEP.
    EngineError
        If numba is not installed here.
    """
    del threads  # one thread: replicas are what fills the cores
    _check_model(model)
    try:
        import numba  # noqa: F401 - without it an evaluation would take minutes
    except ImportError as error:
        raise EngineError(
            "The student potential needs numba, which is not installed in this Python.",
            fix="Install superionic with its requirements in the Python that runs it; the student runs there.",
        ) from error
    if (weights is None) == (file is None):
        raise PotentialError(
            "A NEP is loaded from weights or from a file, and exactly one of them was expected.",
            fix="Give file: nep.txt in the campaign, or let the distil stage make the weights.",
        )
    if weights is not None:
        read, digest = NepModel.from_arrays(weights), weights_sha256(weights)
    else:
        read, digest = _read(str(file))
    _check_file(model, digest)
    return NepPotential(
        _identity(read, digest, energy_convention=energy_convention, level_of_theory=level_of_theory), read
    )


def _identity(
    model: NepModel | None,
    digest: str,
    *,
    energy_convention: str | None = None,
    level_of_theory: str | None = None,
    **_other: Any,
) -> PotentialIdentity:
    if digest == NEP89.sha256:
        return PotentialIdentity(
            name="nep",
            model=NEP89.name,
            version=VERSION,
            checkpoint_sha256=digest,
            energy_convention=energy_convention or NEP89.energy_convention,
            level_of_theory=level_of_theory or NEP89.level_of_theory,
            elements=NEP89.elements,
            licence=NEP89.licence,
        )
    return PotentialIdentity(
        name="nep",
        model="student",
        version=VERSION,
        checkpoint_sha256=digest,
        energy_convention=energy_convention or _UNSTATED,
        level_of_theory=level_of_theory or _UNSTATED,
        elements=() if model is None else tuple(model.elements[k] for k in np.argsort(model.numbers)),
        licence=_LICENCE,
        engine="core",
        fine_tuned=True,
    )


def _read(file: str) -> tuple[NepModel, str]:
    try:
        raw = read_regular(file, _MAX_BYTES)
    except OSError as error:
        raise PotentialError(
            f"The NEP file cannot be read: {error.strerror}.", where=file, fix="Correct its path."
        ) from error
    return NepModel.from_text(raw.decode("utf-8", errors="replace"), where=file), hashlib.sha256(raw).hexdigest()


def _check_model(model: str | None) -> None:
    if model not in (None, "student", NEP89.name):
        raise PotentialError(
            f"There is no NEP model {model!r} to choose.",
            fix=f"Leave `model` out and give `file`, or choose {NEP89.name}.",
        )


def _check_file(model: str | None, digest: str) -> None:
    if model == NEP89.name and digest != NEP89.sha256:
        raise PotentialError(
            f"This is not the file of {NEP89.name} on record (SHA-256 {NEP89.sha256[:12]}...).",
            fix=f"Leave `file` out: superionic engines install {NEP89.name}; or leave `model` out.",
        )
