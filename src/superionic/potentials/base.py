"""The protocol that every potential follows, and the loading of potentials by name.

A potential turns ``ase.Atoms`` into energy, forces and (when asked for) stress. It declares its
identity (:class:`PotentialIdentity`) even where its engine cannot be imported, so that plans, checks and reports can
describe it in an environment without torch.

Signs and units are those of ASE: forces are -dE/dr in eV/Å; stress is (1/V) dE/dε in eV/Å³ in Voigt order
xx, yy, zz, yz, xz, xy (positive under tension, negative under compression).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from superionic.conventions import dispersion_in, with_dispersion
from superionic.errors import CalculationFailed, EngineError, PotentialError
from superionic.potentials.dispersion import Dispersion
from superionic.potentials.exported import Exported, base_of, is_exported, read_exported, read_weights
from superionic.potentials.pair_correction import PairCorrection, corrected_weights
from superionic.registry import find, models

FloatArray = npt.NDArray[np.float64]

FINE_TUNED_FROM: Final = "fine-tuned from: "
"""Beginning of the level of theory of a fine-tuned potential, before that of the potential it was made from."""


@dataclass(frozen=True)
class PotentialIdentity:
    """What must agree for two energies to be comparable, and what a record must state about a potential.

    Attributes
    ----------
    name
        Name in the registry, e.g. ``"chgnet"``.
    model
        Which model of that name, e.g. ``"0.3.0"``.
    version
        Version of the code that evaluates it (the pinned one in :func:`describe_potential`, the installed one in a
        loaded potential).
    checkpoint_sha256
        SHA-256 of the checkpoint file, of the arrays of fine-tuned weights, or of the parameters of an analytic
        potential.
    energy_convention
        Zero and corrections of the energies: a term of :mod:`superionic.conventions`. Energies of different conventions
        are never placed on one hull.
    level_of_theory
        What the potential was trained to reproduce.
    elements
        Chemical symbols of the elements covered, in order of atomic number. Empty only in the description of a user's
        file that cannot be read without its engine; never in a loaded potential.
    licence
        Licence of the model (and of the code where they differ).
    engine
        Name of the engine environment that can evaluate it; ``"core"`` where none is needed.
    fine_tuned
        Whether the weights differ from the published ones.
    """

    name: str
    model: str
    version: str
    checkpoint_sha256: str
    energy_convention: str
    level_of_theory: str
    elements: tuple[str, ...]
    licence: str
    engine: str = "core"
    fine_tuned: bool = False

    def check_elements(self, atoms: Atoms) -> None:
        """Raise :class:`PotentialError` if an element of ``atoms`` is not covered."""
        missing = sorted(set(atoms.get_chemical_symbols()) - set(self.elements))
        if missing:
            raise PotentialError(
                f"The potential {self.name} ({self.model}) does not cover the element(s) {', '.join(missing)}.",
                fix="Choose a potential that covers them; `superionic engines list` shows what each one covers.",
            )


def frozen(forces: npt.ArrayLike, stress: npt.ArrayLike | None) -> tuple[FloatArray, FloatArray | None]:
    """Copy forces (n_atoms, 3) and a Voigt stress (6,) into read-only arrays.

    Raises
    ------
    ValueError
        If a shape is wrong.
    """
    force_array, stress_array = np.array(forces, dtype=np.float64), None
    if force_array.ndim != 2 or force_array.shape[1] != 3:
        raise ValueError(f"forces must have shape (n_atoms, 3), not {force_array.shape}")
    force_array.setflags(write=False)
    if stress is not None:
        stress_array = np.array(stress, dtype=np.float64)
        if stress_array.shape != (6,):
            raise ValueError(f"stress must have shape (6,), not {stress_array.shape}")
        stress_array.setflags(write=False)
    return force_array, stress_array


@dataclass(frozen=True)
class Prediction:
    """Energy, forces and stress of one structure, as a potential predicts them.

    Attributes
    ----------
    energy_eV
        Potential energy of the whole cell in eV.
    forces_eV_per_A
        Forces, shape (n_atoms, 3), in eV/Å.
    stress_eV_per_A3
        Stress in Voigt order xx, yy, zz, yz, xz, xy, shape (6,), in eV/Å³ (ASE's sign); ``None`` if not asked for.
    """

    energy_eV: float
    forces_eV_per_A: FloatArray
    stress_eV_per_A3: FloatArray | None = None

    def __post_init__(self) -> None:
        forces, stress = frozen(self.forces_eV_per_A, self.stress_eV_per_A3)
        object.__setattr__(self, "energy_eV", float(self.energy_eV))
        object.__setattr__(self, "forces_eV_per_A", forces)
        object.__setattr__(self, "stress_eV_per_A3", stress)

    @property
    def is_finite(self) -> bool:
        """Whether energy, forces and stress are all finite numbers."""
        return bool(
            np.isfinite(self.energy_eV)
            and np.isfinite(self.forces_eV_per_A).all()
            and (self.stress_eV_per_A3 is None or np.isfinite(self.stress_eV_per_A3).all())
        )


@runtime_checkable
class Potential(Protocol):
    """The protocol of a potential. Adapters inherit :class:`BasePotential`, which leaves only ``evaluate`` to write."""

    @property
    def identity(self) -> PotentialIdentity:
        """Identity of the potential."""
        ...

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and, if ``stress``, the stress of ``atoms``, which are not modified.

        Raises
        ------
        PotentialError
            If an element is not covered.
        CalculationFailed
            If a position is not finite or the cell has no volume.
        """
        ...

    def calculator(self, *, stress: bool = True) -> Calculator:
        """Return an ASE calculator of this potential; without ``stress`` it is cheaper and cannot compute stress."""
        ...

    def check_elements(self, atoms: Atoms) -> None:
        """Raise :class:`PotentialError` if an element is not covered."""
        ...


class BasePotential:
    """What all adapters share: the identity, the element check and the ASE calculator.

    Attributes
    ----------
    together
        Number of structures worth passing to :meth:`evaluate_many` at once.
    """

    together = 1

    def __init__(self, identity: PotentialIdentity) -> None:
        self._identity = identity

    @property
    def identity(self) -> PotentialIdentity:
        """Identity of the potential."""
        return self._identity

    def check_elements(self, atoms: Atoms) -> None:
        """Raise :class:`PotentialError` if an element of ``atoms`` is not covered."""
        self._identity.check_elements(atoms)

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and, if ``stress``, the stress of ``atoms``; see :class:`Potential`."""
        raise NotImplementedError

    def evaluate_many(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Prediction]:
        """Evaluate several unrelated structures, in one batch where that is faster."""
        return [self.evaluate(atoms, stress=stress) for atoms in structures]

    def calculator(self, *, stress: bool = True) -> PotentialCalculator:
        """Return an ASE calculator that evaluates this potential."""
        return PotentialCalculator(self, stress=stress)


class SummedPotential(BasePotential):
    """A potential and a term that is added to it.

    Parameters
    ----------
    term
        Its ``evaluate`` returns energy, forces and Voigt stress, as :class:`Dispersion` and :class:`PairCorrection` do.
    """

    def __init__(self, identity: PotentialIdentity, potential: Potential, term: Dispersion | PairCorrection) -> None:
        super().__init__(identity)
        self.potential = potential
        self.term = term

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and, if ``stress``, the stress of ``atoms``; see :class:`Potential`."""
        return self._with_term(atoms, self.potential.evaluate(atoms, stress=stress), stress=stress)

    def _with_term(self, atoms: Atoms, bare: Prediction, *, stress: bool) -> Prediction:
        energy_eV, forces, voigt = self.term.evaluate(atoms, stress=stress)
        both = bare.stress_eV_per_A3 is not None and voigt is not None
        return Prediction(
            bare.energy_eV + energy_eV,
            bare.forces_eV_per_A + forces,
            bare.stress_eV_per_A3 + voigt if both else None,  # type: ignore[operator]
        )

    def __getattr__(self, name: str) -> Any:
        # Descriptors and grades belong to the learned part; a term that is added has none.
        if name in ("descriptors", "extrapolation_grade", "grade_limit_text", "state_arrays"):
            return getattr(self.potential, name)
        raise AttributeError(name)


class DispersedPotential(SummedPotential):
    """A potential with a dispersion term added; everything else is passed on to the potential itself.

    Parameters
    ----------
    potential
        A potential whose energies contain no dispersion term.

    Raises
    ------
    PotentialError
        If the energies of the potential already contain one.
    """

    def __init__(self, potential: Potential, dispersion: Dispersion) -> None:
        super().__init__(dispersed(potential.identity, dispersion), potential, dispersion)


class CorrectedPotential(SummedPotential):
    """A potential with a correction learned from labels added.

    Parameters
    ----------
    potential
        The potential that was corrected, loaded with its own weights.
    correction
        What is added.
    weights
        All weights, those of the correction included, for the checksum.
    """

    def __init__(self, potential: Potential, correction: PairCorrection, weights: Mapping[str, np.ndarray]) -> None:
        own = potential.identity
        level = own.level_of_theory if own.fine_tuned else f"{FINE_TUNED_FROM}{own.level_of_theory}"
        identity = replace(own, level_of_theory=level, checkpoint_sha256=weights_sha256(weights), fine_tuned=True)
        super().__init__(identity, potential, correction)
        self.together = potential.together if isinstance(potential, BasePotential) else 1

    def evaluate_many(self, structures: Sequence[Atoms], *, stress: bool = True) -> list[Prediction]:
        """Evaluate several unrelated structures, in batches as the potential itself does."""
        if not isinstance(self.potential, BasePotential):
            return super().evaluate_many(structures, stress=stress)
        bare = self.potential.evaluate_many(structures, stress=stress)
        return [self._with_term(atoms, one, stress=stress) for atoms, one in zip(structures, bare, strict=True)]


def dispersed(identity: PotentialIdentity, dispersion: Dispersion) -> PotentialIdentity:
    """Return the identity of a potential with a dispersion term added.

    Raises
    ------
    PotentialError
        If the energies of the potential already contain one.
    """
    level, convention = identity.level_of_theory, identity.energy_convention
    present = dispersion_in(convention) or dispersion_in(level)
    if present is not None:
        raise PotentialError(
            f"The energies of {identity.name} {identity.model} already include dispersion ({present}): {convention}.",
            where="dispersion",
            fix="Remove `dispersion` from this potential.",
        )
    return with_term(identity, dispersion.term(convention, level))


def with_term(identity: PotentialIdentity, term: str) -> PotentialIdentity:
    """Return the identity of a potential whose energies include a dispersion term, added or learned."""
    return replace(
        identity,
        energy_convention=with_dispersion(identity.energy_convention, term),
        level_of_theory=with_dispersion(identity.level_of_theory, term),
    )


def evaluate_each(potential: Potential, structures: Sequence[Atoms]) -> Iterator[Prediction | CalculationFailed]:
    """Evaluate structures with stress, in batches that suit the potential; yield the failure of one that fails.

    Raises
    ------
    PotentialError
        If an element is not covered.
    """
    together = potential.together if isinstance(potential, BasePotential) else 1
    for first in range(0, len(structures), together):
        batch = structures[first : first + together]
        if isinstance(potential, BasePotential) and together > 1:
            with contextlib.suppress(CalculationFailed):  # one failed: evaluate each alone to learn which
                predictions = potential.evaluate_many(batch)
                yield from predictions
                continue
        for atoms in batch:
            try:
                yield potential.evaluate(atoms)
            except CalculationFailed as failure:
                yield failure


class PotentialCalculator(Calculator):  # type: ignore[misc]  # ASE has no type hints
    """ASE calculator around any :class:`Potential`.

    Parameters
    ----------
    potential
        The potential to evaluate.
    stress
        Whether stress is evaluated (with every call, so that NPT pays for one evaluation a step, not two). Without it
        a request for stress raises ASE's ``PropertyNotImplementedError``.

    Raises
    ------
    CalculationFailed
        On evaluation, if the potential returns a number that is not finite.
    """

    def __init__(self, potential: Potential, *, stress: bool = True) -> None:
        super().__init__()
        self.potential = potential
        self._with_stress = stress
        self.implemented_properties = ["energy", "free_energy", "forces", *(["stress"] if stress else [])]
        self._checked: bytes | None = None
        self.n_evaluations = 0

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """List what changed since the last evaluation, by exact comparison (cheaper than ASE's own)."""
        del tol
        last = self.atoms
        if last is None or len(last) != len(atoms):
            return list(all_changes)
        changes = []
        if not np.array_equal(last.positions, atoms.positions):
            changes.append("positions")
        if not np.array_equal(last.numbers, atoms.numbers):
            changes.append("numbers")
        if not np.array_equal(last.cell.array, atoms.cell.array):
            changes.append("cell")
        if not np.array_equal(last.pbc, atoms.pbc):
            changes.append("pbc")
        return changes

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: Any = all_changes
    ) -> None:
        """Evaluate the potential (ASE's own entry point)."""
        super().calculate(atoms, properties, system_changes)
        current: Atoms = self.atoms
        numbers = current.numbers.tobytes()
        if numbers != self._checked:
            self.potential.check_elements(current)
            self._checked = numbers
        prediction = self.potential.evaluate(current, stress=self._with_stress)
        self.n_evaluations += 1
        if not prediction.is_finite:
            raise CalculationFailed(
                "the potential returned an energy, force or stress that is not a finite number",
                {"energy_eV": prediction.energy_eV, "n_atoms": len(current)},
            )
        self.results = {
            "energy": prediction.energy_eV,
            "free_energy": prediction.energy_eV,
            "forces": np.array(prediction.forces_eV_per_A),
        }
        if prediction.stress_eV_per_A3 is not None:
            self.results["stress"] = np.array(prediction.stress_eV_per_A3)


def potential_names() -> tuple[str, ...]:
    """Return the names that :func:`load_potential` accepts, in alphabetical order."""
    return tuple(models())


def describe_potential(
    name: str,
    model: str | None = None,
    *,
    dispersion: str | Mapping[str, Any] | Dispersion | None = None,
    **options: Any,
) -> PotentialIdentity:
    """Describe a potential without importing its engine.

    Parameters
    ----------
    model
        Which model; ``None`` for the default one of that name.
    dispersion
        Term to add to it: ``"d3bj"``, or the fields of :class:`superionic.potentials.dispersion.Dispersion`.
    options
        Options with which it is loaded; a user's ``file``, and what the user states about it, enter the description.

    Returns
    -------
    PotentialIdentity
        With the pinned version and the checkpoint's SHA-256 on record.

    Raises
    ------
    PotentialError
        If there is no such potential or model, or the dispersion term does not fit it.
    """
    exported = _exported(name, options)
    identity = _adapter(name).describe(model, **options) if exported is None else _identity_of(exported)
    if not isinstance(identity, PotentialIdentity):
        raise TypeError(f"{name}: describe() must return a PotentialIdentity")
    return identity if dispersion is None else dispersed(identity, dispersion_of(dispersion, identity))


def dispersion_of(specification: str | Mapping[str, Any] | Dispersion, identity: PotentialIdentity) -> Dispersion:
    """Build the dispersion term of a potential from a user's specification; its energies name the functional."""
    return Dispersion.of(specification, identity.energy_convention, identity.level_of_theory)


def load_potential(
    name: str,
    *,
    model: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    dispersion: str | Mapping[str, Any] | Dispersion | None = None,
    **options: Any,
) -> Potential:
    """Load a potential, ready to evaluate.

    Parameters
    ----------
    model
        Which model; ``None`` for the default one of that name.
    weights
        Fine-tuned weights as arrays by parameter name; they replace the published ones. Those of a correction
        (:mod:`superionic.training.delta`) are added to the potential.
    threads
        Threads that the engine may use in this process. More than one is seldom faster for cells of tens of atoms,
        and results may then differ in the last digits.
    dispersion
        Term to add to it, see :func:`describe_potential`.
    options
        Options of the adapter (see its module).

    Raises
    ------
    PotentialError
        If there is no such potential, model or option, or the dispersion term does not fit it.
    EngineError
        If its engine is not importable here, or its checkpoint is not the one on record.
    """
    adapter, exported = _adapter(name), _exported(name, options)
    potential: Potential
    try:
        if exported is None:
            own, correction = corrected_weights(weights)
            potential = adapter.load(model, weights=own, threads=threads, **options)
            if weights is not None and correction is not None:
                potential = CorrectedPotential(potential, correction, weights)
        else:
            potential = _load_exported(exported, weights, threads, options)
    except ModuleNotFoundError as error:
        engine = describe_potential(name, model, **options).engine
        raise EngineError(
            f"The potential {name} needs the module {error.name}, which is not installed in this environment.",
            fix=f"Install its engine: superionic engines install {engine}",
        ) from error
    if dispersion is None:
        return potential
    return DispersedPotential(potential, dispersion_of(dispersion, potential.identity))


_STATED: Final = ("file", "energy_convention", "level_of_theory", "modal", "trust_sha256")
"""Options about a file that an exported one states itself."""


def _exported(name: str, options: Mapping[str, Any]) -> Exported | None:
    """Return what the ``file`` among the options says of itself, if it is an exported potential.

    Raises
    ------
    PotentialError
        If it is of another engine, or the options contradict it.
    """
    file = options.get("file")
    if file is None or not is_exported(file):
        return None
    exported = read_exported(file)
    of, convention = exported.identity["name"], exported.identity["energy_convention"]
    if of != name:
        raise PotentialError(
            f"The file holds a potential of the engine {of}, not of {name}.",
            where=str(file),
            fix=f"Write engine: {of}.",
        )
    if options.get("energy_convention") not in (None, convention):
        raise PotentialError(
            f"The energies of this potential are {convention!r}, not {options['energy_convention']!r}.",
            where=str(file),
            fix="Leave energy_convention out: it is on record in the file.",
        )
    return exported


def _identity_of(exported: Exported) -> PotentialIdentity:
    return PotentialIdentity(**{**exported.identity, "elements": tuple(exported.identity["elements"])})


def _load_exported(
    exported: Exported, weights: Mapping[str, np.ndarray] | None, threads: int, options: Mapping[str, Any]
) -> Potential:
    """Load an exported potential, with further weights if it was trained on."""
    identity, file = _identity_of(exported), str(options["file"])
    own = read_weights(file) if weights is None else weights
    digest = weights_sha256(own)
    if weights is None and digest != identity.checkpoint_sha256:
        raise PotentialError(
            "The weights in this file are not those that were exported: it is damaged.",
            where=file,
            fix="Fetch it again, or export it again: superionic export model CAMPAIGN NAME FILE",
        )
    settings = {**exported.options, **{key: value for key, value in options.items() if key not in _STATED}}
    if (base := base_of(file)) is not None:
        settings["file"] = base
    potential = load_potential(identity.name, model=exported.model, weights=own, threads=threads, **settings)
    if isinstance(potential, BasePotential):
        # What it was trained to reproduce, such as a dispersion that its labels had, is known to the file alone.
        potential._identity = replace(identity, checkpoint_sha256=digest, version=potential.identity.version)
    return potential


def weights_sha256(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of named arrays: of name, dtype, shape and bytes, in order of name."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        array = np.ascontiguousarray(weights[key])
        digest.update(f"{key}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _adapter(name: str) -> Any:
    model = find(name)
    if model is None:
        raise PotentialError(
            f"There is no potential called {name!r}.",
            fix=f"Choose one of: {', '.join(potential_names())}.",
        )
    return importlib.import_module(model.potential)
