"""The models that there are: each a folder that says all about itself, found without a list of names.

A model is a package with a :class:`Model` called ``MODEL``: every package of :mod:`superionic.models`, and what an
installed distribution names in the entry-point group ``superionic.models``::

    [project.entry-points."superionic.models"]
    my-model = "my_package:MODEL"

Whoever needs to know something of a model (which keys its entry in a campaign takes, how long an evaluation lasts, who
is to be cited, which environment it runs in) asks here. Importing a model's package imports no engine.
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


@dataclass(frozen=True)
class Model:
    """Everything about a family of interatomic potentials that others have to know.

    Attributes
    ----------
    name
        Name in campaign files and on the command line.
    package
        The package of the model (``__name__``), where its ``proof_records.json`` lies if values are on record.
    potential
        Module that offers ``describe(model, **options) -> PotentialIdentity`` and ``load(model, weights, threads,
        **options) -> Potential``; see :mod:`superionic.potentials.base`.
    evaluation_s_per_atom
        CPU seconds of an evaluation with forces, per atom, on one thread: for plans.
    engine
        The environment in which it runs; None where superionic's own is enough.
    trainer
        Module that trains it; see :mod:`superionic.training.base`. None where nothing does.
    from_labels
        Whether training makes a potential of its own out of the labels, whatever sampled, in superionic's environment.
    methods
        Ways of training that a bake-off compares → options by which the trainer takes them.
    keys, needed
        What an entry in a campaign may say besides ``engine``, ``model`` and ``options``, and which of it it must.
    file
        What its ``file`` is, for people; None where it takes none.
    members
        Names of the files in it, where ``file`` is a folder.
    citation
        Reference and DOI; None where the model's own documents name none.
    lammps
        ``module:function`` that gives the lines of a LAMMPS input from symbols and options; None where there are none.
    in_lammps
        Whether the engine ``lammps`` evaluates it.
    data
        Files of others that it evaluates under a name: each is a ``model`` of it once it is installed.
    caution
        What there is to know before it is chosen, in a sentence; shown by ``check`` and ``engines list``.
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

    def data_named(self, model: str | None) -> DataSpec | None:
        """Return the file that a ``model`` stands for; None where it stands for none."""
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
        If an installed distribution registers something that is no model, or a name that is taken.
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
                f"The entry point {entry.name!r} of the group {GROUP} ({entry.value}) is no model of that name"
                + (": the name is taken." if entry.name in known else "."),
                fix="Let it name a `superionic.registry.Model` whose name is that of the entry point and new.",
            )
        known[model.name] = model
    return dict(sorted(known.items()))


def find(name: object) -> Model | None:
    """Return the model of a name; None if there is none, or it is no name at all."""
    return models().get(name) if isinstance(name, str) else None


def trainable() -> dict[str, Model]:
    """Return the models that have a trainer, by name."""
    return {name: model for name, model in models().items() if model.trainer is not None}


def resolve(name: str) -> Any:
    """Import what ``module:name`` says."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
