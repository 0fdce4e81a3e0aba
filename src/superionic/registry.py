"""The registry of models: each is a folder with everything specific to it, and is found without a list of names.

A model is a package with a :class:`Model` called ``MODEL``: every package of :mod:`superionic.models`, and those that
installed distributions register in the entry-point group ``superionic.models``::

    [project.entry-points."superionic.models"]
    my-model = "my_package:MODEL"

Code that needs a property of a model (the keys of its entry in a campaign, the cost of an evaluation, its citation, the
environment in which it runs) looks it up here. Importing a model's package imports no engine.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Final

from superionic.engine_spec import DataSpec, EngineSpec
from superionic.errors import EngineError

GROUP: Final = "superionic.models"
"""Group of entry points, and the package that holds the models that come with superionic."""

DELTA: Final = "delta"
"""The trainer that belongs to no model: a correction added to any potential (:mod:`superionic.training.delta`)."""


VOLUME_OF_COSTS_A3: Final = 22.0
"""Volume of an atom, in Å³, of the crystals in which models were timed: that of Li3YCl6."""


@dataclass(frozen=True)
class MeasuredModel:
    """A published model whose errors are known, so that it can be chosen where nobody names one.

    Attributes
    ----------
    model
        Value of ``model`` in a campaign file.
    force_error_meV_per_A
        Mean absolute error of its forces on the 80 labels of Li3YCl6 by PBE of ``examples/li3ycl6-ladder``.
    evaluation_s_per_atom
        CPU seconds of an evaluation with forces, per atom, on one thread; that of the family if None.
    file
        File with its weights that its package keeps once they are downloaded, ``~`` for the home folder; empty for
        weights that come with the package.
    """

    model: str
    force_error_meV_per_A: float
    evaluation_s_per_atom: float | None = None
    file: str = ""


@dataclass(frozen=True)
class Model:
    """Everything that the rest of superionic needs to know about a family of interatomic potentials.

    Attributes
    ----------
    name
        Name in campaign files and on the command line.
    package
        The package of the model (``__name__``), which contains its ``proof_records.json`` if values are on record.
    potential
        Module that offers ``describe(model, **options) -> PotentialIdentity`` and ``load(model, weights, threads,
        **options) -> Potential``; see :mod:`superionic.potentials.base`.
    evaluation_s_per_atom
        CPU seconds of an evaluation with forces, per atom, on one thread, in a crystal of
        :data:`VOLUME_OF_COSTS_A3`; for plans, which scale it with the density.
    engine
        The environment in which it runs; None if superionic's own suffices.
    trainer
        Module that trains it, see :mod:`superionic.training.base`; None if it cannot be trained.
    from_labels
        Whether training creates a new potential from the labels, whichever potential sampled, in superionic's
        environment.
    methods
        Training methods for comparison → options of the trainer for each.
    keys, needed
        Allowed keys of its entry in a campaign, besides ``engine``, ``model`` and ``options``, and the required ones.
    file
        Description of its ``file`` for users; None if it takes none.
    members
        Names of the files in ``file``, if that is a folder.
    citation
        Reference and DOI; None if the model's own documents name none.
    lammps
        ``module:function`` that returns the lines of a LAMMPS input for symbols and options; None if there are none.
    in_lammps
        Whether the engine ``lammps`` can evaluate it.
    data
        Published files that it can evaluate by name: each is one of its ``model`` values once it is installed.
    caution
        A warning to read before using it, in a sentence; shown by ``check`` and ``engines list``.
    measured
        Its models of known error that need no file of the user's.
    """

    name: str
    package: str
    potential: str
    evaluation_s_per_atom: float
    engine: EngineSpec | None = None
    trainer: str | None = None
    from_labels: bool = False
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    keys: frozenset[str] = frozenset()
    needed: tuple[str, ...] = ()
    file: str | None = None
    members: tuple[str, ...] = ()
    citation: tuple[str, str] | None = None
    lammps: str | None = None
    in_lammps: bool = False
    data: tuple[DataSpec, ...] = ()
    caution: str | None = None
    measured: tuple[MeasuredModel, ...] = ()

    def evaluation_of(self, model: str | None) -> float:
        """Return the CPU seconds of an evaluation of a ``model``, per atom."""
        own = next((each.evaluation_s_per_atom for each in self.measured if each.model == model), None)
        return self.evaluation_s_per_atom if own is None else own

    def data_named(self, model: str | None) -> DataSpec | None:
        """Return the file for which a ``model`` stands; None if it stands for none."""
        return next((spec for spec in self.data if spec.name == model), None)

    @property
    def is_own(self) -> bool:
        """Whether the model comes with superionic."""
        return self.package.startswith(f"{GROUP}.")


@cache
def models() -> dict[str, Model]:
    """Return all models by name, in alphabetical order.

    Raises
    ------
    EngineError
        If an installed distribution registers something other than a model, or a name already in use.
    """
    home = importlib.import_module(GROUP)
    known: dict[str, Model] = {
        model.name: model
        for info in pkgutil.iter_modules(home.__path__)
        for model in [importlib.import_module(f"{GROUP}.{info.name}").MODEL]
    }
    for entry in entry_points(group=GROUP):
        model = entry.load()
        if not isinstance(model, Model) or model.name != entry.name or model.name in known:
            raise EngineError(
                f"The entry point {entry.name!r} of the group {GROUP} ({entry.value}) is not such a model"
                + (": the name is already in use." if entry.name in known else "."),
                fix="Register a `superionic.registry.Model` with the name of the entry point, not yet in use.",
            )
        known[model.name] = model
    return dict(sorted(known.items()))


def find(name: object) -> Model | None:
    """Return the model of this name; None if there is none, or the value is not a name."""
    return models().get(name) if isinstance(name, str) else None


def trainable() -> dict[str, Model]:
    """Return the models that have a trainer, by name."""
    return {name: model for name, model in models().items() if model.trainer is not None}


def resolve(name: str) -> Any:
    """Import the object named by ``module:name``."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
