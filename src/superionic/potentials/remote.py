"""A potential that is evaluated in another process, for an engine that cannot be imported into this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms

from superionic.potentials.base import BasePotential, PotentialIdentity, Prediction, load_potential

Ask = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
"""Function that calls :func:`answer` in the other process, with these settings and inputs."""


class RemotePotential(BasePotential):
    """A potential in another, long-lived process, with the protocol of one that is loaded here.

    Parameters
    ----------
    name, model, options
        As for :func:`superionic.potentials.base.load_potential`.
    ask
        Function that calls the other process.

    Raises
    ------
    PotentialError, EngineError
        As :func:`superionic.potentials.base.load_potential` in the other process.
    """

    def __init__(self, name: str, model: str | None, options: Mapping[str, Any], ask: Ask) -> None:
        self._settings = {"name": name, "model": model, "options": dict(options)}
        self._ask = ask
        identity = ask(self._settings, {})
        super().__init__(PotentialIdentity(**{**identity, "elements": tuple(identity["elements"])}))

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and, if ``stress``, the stress of ``atoms``, evaluated in the other process."""
        structure = {
            "numbers": atoms.numbers,
            "positions": atoms.positions,
            "cell": atoms.cell.array,
            "pbc": np.asarray(atoms.pbc),
        }
        values = self._ask({**self._settings, "stress": stress}, {"atoms": structure})
        return Prediction(values["energy_eV"], values["forces_eV_per_A"], values["stress_eV_per_A3"])


def answer(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Return the identity of a potential, or evaluate it on ``inputs["atoms"]``; it is loaded once."""
    potential = context.cache.get("remote")
    if potential is None:
        potential = load_potential(settings["name"], model=settings["model"], **settings["options"])
        context.cache["remote"] = potential
    if "atoms" not in inputs:
        return asdict(potential.identity)
    prediction = potential.evaluate(Atoms(**inputs["atoms"]), stress=settings["stress"])
    return {
        "energy_eV": prediction.energy_eV,
        "forces_eV_per_A": prediction.forces_eV_per_A,
        "stress_eV_per_A3": prediction.stress_eV_per_A3,
    }
