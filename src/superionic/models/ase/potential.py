"""Any ASE calculator as a potential, by the name under which an installed package registers it.

A campaign file cannot name code. A calculator is therefore provided by an *entry point*, in the group :data:`GROUP`, of
a package that the user has installed in the Python of superionic::

    [project.entry-points."superionic.potentials"]
    my-potential = "my_package.calculators:make"

``make(**options)`` returns an ASE calculator with energy and forces (and stress, for variable cells). The campaign
states what a calculator does not reveal: the elements that it covers, and its energy convention.

Options of :func:`load`: ``calculator`` (the registered name); ``elements``; ``energy_convention``;
``level_of_theory``; ``version`` (of the package, as planned; any other is refused); all others are passed to ``make``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError

from superionic.conventions import advice, is_convention
from superionic.errors import CalculationFailed, EngineError, PotentialError
from superionic.potentials import checkpoints
from superionic.potentials.base import BasePotential, PotentialIdentity, Prediction

GROUP = "superionic.potentials"


class ASEPotential(BasePotential):
    """An ASE calculator as a potential; create it with :func:`load`."""

    def __init__(self, identity: PotentialIdentity, calculator: Calculator) -> None:
        super().__init__(identity)
        self._calculator = calculator

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and stress; see :class:`superionic.potentials.base.Potential`.

        Raises
        ------
        PotentialError
            If an element is not covered, or the stress is requested of a calculator without one.
        CalculationFailed
            If the calculator reports a failure.
        """
        self.check_elements(atoms)
        if stress and "stress" not in self._calculator.implemented_properties:
            raise PotentialError(
                f"The calculator {self.identity.model} gives no stress.",
                fix="Use it at fixed cell, or choose another potential.",
            )
        copy = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        copy.calc = self._calculator
        try:
            energy = float(copy.get_potential_energy())
            forces = np.array(copy.get_forces(apply_constraint=False), dtype=np.float64)
            voigt = np.array(copy.get_stress(), dtype=np.float64) if stress else None
        except CalculatorError as error:
            raise CalculationFailed(
                f"the calculator {self.identity.model} failed: {error}", {"n_atoms": len(atoms)}
            ) from error
        return Prediction(energy, forces, voigt)


def describe(model: str | None = None, **options: Any) -> PotentialIdentity:
    """Describe a registered calculator by its package's metadata and the user's options, without importing it."""
    name = options.get("calculator")
    if name is None:
        return PotentialIdentity(
            name="ase",
            model=model or "-",
            version="-",
            checkpoint_sha256="",
            energy_convention=checkpoints.NOT_STATED,
            level_of_theory=checkpoints.NOT_STATED,
            elements=(),
            licence="that of the calculator",
        )
    return _identity(_entry_point(str(name)), model, options)


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    **options: Any,
) -> ASEPotential:
    """Load a registered calculator.

    Parameters
    ----------
    model
        A name for it.
    weights
        Must be None.
    threads
        Ignored; worker processes set the threads of their libraries by environment variables.
    options
        See the docstring of the module.

    Raises
    ------
    PotentialError
        If it is not registered, or its elements or convention are not stated.
    EngineError
        If its package has another version than planned, or the calculator cannot be created.
    """
    del threads
    if weights is not None:
        raise PotentialError("An ASE calculator takes no weights.", fix="Leave the weights out.")
    name = options.get("calculator")
    if name is None:
        raise PotentialError("No ASE calculator is named.", fix="Give the `calculator` by its registered name.")
    entry_point = _entry_point(str(name))
    identity = _identity(entry_point, model, options)
    if options.get("version") not in (None, identity.version):
        raise EngineError(
            f"The calculator {name} has version {identity.version}; the campaign was planned with "
            f"{options['version']}.",
            fix="Run superionic in the environment in which the campaign was planned, or plan it again.",
        )
    own = {key: value for key, value in options.items() if key not in _OURS}
    try:
        calculator = entry_point.load()(**own)
    except Exception as error:
        raise EngineError(
            f"The calculator {name} cannot be created: {type(error).__name__}: {error}",
            where=entry_point.value,
            fix="Correct its package, or its options in the campaign.",
        ) from error
    if not hasattr(calculator, "get_potential_energy") or not {"energy", "forces"} <= set(
        getattr(calculator, "implemented_properties", ())
    ):
        raise EngineError(
            f"{entry_point.value} does not return an ASE calculator with energy and forces.", fix="Correct its package."
        )
    return ASEPotential(identity, calculator)


_OURS = ("calculator", "elements", "energy_convention", "level_of_theory", "version")


def _entry_point(name: str) -> EntryPoint:
    known = {point.name: point for point in entry_points(group=GROUP)}
    if name not in known:
        raise PotentialError(
            f"No installed package registers a calculator {name!r}.",
            fix=f"Registered are: {', '.join(sorted(known)) or 'none'}; see docs/how-to/potentials.md.",
        )
    return known[name]


def _identity(point: EntryPoint, model: str | None, options: Mapping[str, Any]) -> PotentialIdentity:

    elements: Sequence[str] = options.get("elements") or ()
    convention, theory = options.get("energy_convention"), options.get("level_of_theory")
    if not elements or convention is None or not is_convention(convention):
        raise PotentialError(
            f"The campaign must state the elements and the energy convention of the calculator {point.name}.",
            fix=f"Add elements: [Li, ...] and energy_convention; {advice(convention or '')}.",
        )
    package = "?" if point.dist is None else point.dist.name
    version = "?" if point.dist is None else point.dist.version
    own = {key: value for key, value in options.items() if key not in _OURS}
    made_of = json.dumps([package, version, point.value, own], sort_keys=True, default=str)
    return PotentialIdentity(
        name="ase",
        model=model or point.name,
        version=f"{package} {version}",
        checkpoint_sha256=hashlib.sha256(made_of.encode()).hexdigest(),
        energy_convention=convention,
        level_of_theory=theory or convention,
        elements=checkpoints.by_number(elements),
        licence=f"that of {package}",
        engine="core",
    )
