"""Each potential proves itself on a stored structure before it is believed.

A wrong combination of package, weights and libraries can load without a word and give wrong energies whose forces
still are their exact derivatives (matgl 4 with older weights: -1.9 instead of -4.3 eV/atom). Only values on record
catch that. They are in ``proof_records.json``, measured with the pinned versions in single precision on one thread
(x86-64).

Tolerances are wide for rounding on another processor (1e-6 eV/atom is usual) and tight for a wrong model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np

from superionic.errors import EngineError
from superionic.potentials.base import Prediction, describe_potential, load_potential
from superionic.potentials.reference import li3ycl6_cell

ENERGY_TOLERANCE_EV_PER_ATOM = 1.0e-4
FORCE_TOLERANCE_EV_PER_A = 2.0e-3
STRESS_TOLERANCE_EV_PER_A3 = 2.0e-5


def prove(settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None) -> dict[str, Any]:
    """Evaluate the stored structure with a potential and compare with the values on record (a task).

    Parameters
    ----------
    settings
        ``potential``: name; ``model``: which one, or ``None`` for the default.
    inputs, context
        Not needed.

    Returns
    -------
    dict
        Name, model, versions here and on record, energy per atom, and the largest differences of energy (eV/atom),
        force (eV/Å) and stress (eV/Å³).

    Raises
    ------
    EngineError
        If a difference exceeds its tolerance, if two evaluations of the same structure differ, or if the engine is not
        installed.
    PotentialError
        If there is no such potential or model.
    """
    del inputs, context
    name, model = settings["potential"], settings.get("model")
    record = record_of(name, model)
    potential = load_potential(name, model=model)
    identity = potential.identity
    first = potential.evaluate(li3ycl6_cell())
    second = potential.evaluate(li3ycl6_cell())
    fix = f"Install the engine again with its pinned versions: superionic engines install {identity.engine}"
    if not _identical(first, second):
        raise EngineError(
            f"{name} ({identity.model}) gave two different results for the same structure.",
            fix=fix,
        )
    differences = compare(first, record)
    tolerances = {
        "energy_eV_per_atom": ENERGY_TOLERANCE_EV_PER_ATOM,
        "force_eV_per_A": FORCE_TOLERANCE_EV_PER_A,
        "stress_eV_per_A3": STRESS_TOLERANCE_EV_PER_A3,
    }
    # Written so that a difference that is not a number fails, too.
    wrong = [key for key, tolerance in tolerances.items() if not differences[key] <= tolerance]
    if wrong:
        told = ", ".join(f"{key} differs by {differences[key]:.3g} (allowed {tolerances[key]:.1g})" for key in wrong)
        raise EngineError(
            f"{name} ({identity.model}, version {identity.version}) is silently wrong: {told}.",
            where="superionic/potentials/proof_records.json",
            fix=fix,
        )
    return {
        "potential": name,
        "model": identity.model,
        "version": identity.version,
        "version_on_record": record["version"],
        "checkpoint_sha256": identity.checkpoint_sha256,
        "energy_convention": identity.energy_convention,
        "licence": identity.licence,
        "energy_eV_per_atom": first.energy_eV / len(first.forces_eV_per_A),
        "differences": differences,
        "tolerances": tolerances,
    }


def measure(name: str, model: str | None = None) -> dict[str, Any]:
    """Evaluate the stored structure: what a record is made from."""
    potential = load_potential(name, model=model)
    prediction = potential.evaluate(li3ycl6_cell())
    if prediction.stress_eV_per_A3 is None:
        raise EngineError(f"{name} gives no stress.", fix="A potential must give energy, forces and stress.")
    return {
        "version": potential.identity.version,
        "checkpoint_sha256": potential.identity.checkpoint_sha256,
        "energy_eV": round(prediction.energy_eV, 6),
        "forces_eV_per_A": np.round(prediction.forces_eV_per_A, 6).tolist(),
        "stress_eV_per_A3": np.round(prediction.stress_eV_per_A3, 8).tolist(),
    }


def record_of(name: str, model: str | None = None) -> dict[str, Any]:
    """Give the values on record of a potential.

    Raises
    ------
    EngineError
        If there are none.
    PotentialError
        If there is no such potential or model.
    """
    key = f"{name}:{describe_potential(name, model).model}"
    text = files("superionic.potentials").joinpath("proof_records.json").read_text(encoding="utf-8")
    records: dict[str, dict[str, Any]] = json.loads(text)
    if key not in records:
        raise EngineError(
            f"There are no values on record for {key}.",
            where="superionic/potentials/proof_records.json",
            fix="Measure them with superionic.potentials.proof.measure and add them.",
        )
    return records[key]


def compare(prediction: Prediction, record: Mapping[str, Any]) -> dict[str, float]:
    """Largest differences between a prediction and a record, per atom for the energy."""
    forces = prediction.forces_eV_per_A
    stress = np.zeros(6) if prediction.stress_eV_per_A3 is None else prediction.stress_eV_per_A3
    return {
        "energy_eV_per_atom": abs(prediction.energy_eV - record["energy_eV"]) / len(forces),
        "force_eV_per_A": float(np.abs(forces - np.array(record["forces_eV_per_A"])).max()),
        "stress_eV_per_A3": float(np.abs(stress - np.array(record["stress_eV_per_A3"])).max()),
    }


def _identical(first: Prediction, second: Prediction) -> bool:
    return (
        first.energy_eV == second.energy_eV
        and np.array_equal(first.forces_eV_per_A, second.forces_eV_per_A)
        and np.array_equal(np.asarray(first.stress_eV_per_A3), np.asarray(second.stress_eV_per_A3))
    )
