"""Another potential as a named stand-in for a reference method.

It serves tests (the pair potential labels in milliseconds), distillation (a fine-tuned teacher labels for a student)
and studies of method. Its labels say so: ``provenance["stand_in"]`` is true, and the code is ``potential:<name>``.
Nothing trained on such labels is closer to density-functional theory than the potential that made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.labels.base import Label, Labeller, LabellerIdentity, Progress, refuse_unknown
from superionic.potentials.base import Potential, PotentialIdentity, describe_potential, load_potential, weights_sha256

_OWN_SETTINGS = ("model", "options")


class PotentialLabeller:
    """Labels with a potential of the registry.

    Parameters
    ----------
    potential
        The loaded potential.
    options
        Options with which it was loaded, for the record.
    """

    def __init__(self, potential: Potential, options: Mapping[str, Any]) -> None:
        self._potential = potential
        self._identity = _identity(potential.identity, options)

    @property
    def identity(self) -> LabellerIdentity:
        """The identity of the labeller."""
        return self._identity

    def label(self, atoms: Atoms, *, scratch: Path | None = None, progress: Progress | None = None) -> Label:
        """Label one structure; see :class:`superionic.labels.base.Labeller`."""
        del scratch  # nothing is written
        self._potential.check_elements(atoms)
        prediction = self._potential.evaluate(atoms)
        if not prediction.is_finite:
            raise CalculationFailed(
                "the potential used in place of a reference returned a non-finite number",
                {"labeller": self._identity.name, "n_atoms": len(atoms)},
            )
        if progress is not None:
            progress(1.0, "evaluated")
        net_force = np.asarray(prediction.forces_eV_per_A).sum(axis=0)
        return Label(
            energy_eV=prediction.energy_eV,
            forces_eV_per_A=prediction.forces_eV_per_A,
            stress_eV_per_A3=prediction.stress_eV_per_A3,
            provenance=self._identity.provenance(),
            diagnostics={"converged": True, "net_force_eV_per_A": [float(value) for value in net_force]},
        )


def describe(
    name: str, settings: Mapping[str, Any], *, weights: Mapping[str, np.ndarray] | None = None
) -> LabellerIdentity:
    """Describe the labeller ``potential:<name>`` without importing its engine.

    Parameters
    ----------
    name
        Name of the potential in its registry.
    settings
        ``model`` (which model of that name) and ``options`` (passed on to the potential's adapter).
    weights
        Weights of a fine-tuned model by parameter name.
    """
    model, options = _own(settings)
    identity = describe_potential(name, model, dispersion=options.get("dispersion"))
    return _identity(identity, options, weights=weights)


def load(name: str, settings: Mapping[str, Any], *, weights: Mapping[str, np.ndarray] | None = None) -> Labeller:
    """Load the labeller ``potential:<name>``; parameters as :func:`describe`."""
    model, options = _own(settings)
    return PotentialLabeller(load_potential(name, model=model, weights=weights, **options), options)


def _own(settings: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    refuse_unknown(settings, _OWN_SETTINGS, "A potential as labeller has")
    return settings.get("model"), dict(settings.get("options") or {})


def _identity(
    potential: PotentialIdentity, options: Mapping[str, Any], *, weights: Mapping[str, np.ndarray] | None = None
) -> LabellerIdentity:
    checkpoint = potential.checkpoint_sha256 if weights is None else weights_sha256(weights)
    return LabellerIdentity(
        name=f"potential:{potential.name}",
        code=f"potential:{potential.name}",
        version=potential.version,
        functional=potential.level_of_theory,
        energy_convention=potential.energy_convention,
        settings={
            "model": potential.model,
            "checkpoint_sha256": checkpoint,
            "fine_tuned": potential.fine_tuned or weights is not None,
            "options": dict(options),
        },
        engine=potential.engine,
        stand_in=True,
    )
