"""Prove each potential on a stored structure before its results are trusted.

A wrong combination of package, weights and libraries can load without an error and give wrong energies whose exact
derivatives the forces still are (matgl 4 with older weights: -1.9 instead of -4.3 eV/atom). Only values on record
catch that. They are in the ``proof_records.json`` of each model, measured with the pinned versions in single precision
on one thread (x86-64). Engines without weights of their own are proved on small networks with fixed random weights,
and users' own files by :func:`prove_file`.

Tolerances are wide enough for rounding on another processor (typically 1e-6 eV/atom) and far below the error of a
wrong model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from ase import Atoms

from superionic.conventions import WINDOW_EV_PER_ATOM, expected_eV_per_atom
from superionic.errors import EngineError
from superionic.potentials.base import Potential, PotentialIdentity, Prediction, describe_potential, load_potential
from superionic.potentials.exported import is_exported, read_exported
from superionic.potentials.reference import cell_of, li3ycl6_cell
from superionic.registry import models

ENERGY_TOLERANCE_EV_PER_ATOM = 1.0e-4
FORCE_TOLERANCE_EV_PER_A = 2.0e-3
STRESS_TOLERANCE_EV_PER_A3 = 2.0e-5
_TOLERANCES = {
    "energy_eV_per_atom": ENERGY_TOLERANCE_EV_PER_ATOM,
    "force_eV_per_A": FORCE_TOLERANCE_EV_PER_A,
    "stress_eV_per_A3": STRESS_TOLERANCE_EV_PER_A3,
}
# For the checks that need no record: central differences in single precision, with a step of 0.01 Å.
_STEP_A = 0.01
_DERIVATIVE_EV_PER_A = 0.03
_PERMUTATION_EV_PER_ATOM = 1.0e-4
_PROBES = ((0, 0), (10, 2), (15, 0))


def prove(settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None) -> dict[str, Any]:
    """Evaluate the stored structure with a potential and compare with the values on record (a task).

    Parameters
    ----------
    settings
        ``potential``: name; ``model``: its model, or ``None`` for the default; or ``models``: several in turn.

    Returns
    -------
    dict
        Name, model, versions here and on record, energy per atom, and the largest differences of energy (eV/atom),
        force (eV/Å) and stress (eV/Å³); of several models the last one, and the largest differences of all.

    Raises
    ------
    EngineError
        If a difference exceeds its tolerance, if two evaluations of the same structure differ, or if the engine is not
        installed.
    PotentialError
        If there is no such potential or model.
    """
    del inputs, context
    name = settings["potential"]
    models = settings.get("models") or [settings.get("model")]
    proof: dict[str, Any] = {}
    for model in models:
        record = record_of(name, model)
        current = _prove_by_record(load_potential(name, model=model), record)
        if proof:
            worst = {key: max(current["differences"][key], proof["differences"][key]) for key in current["differences"]}
            current["differences"] = worst
        proof = current
    return proof


def prove_file(
    settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None
) -> dict[str, Any]:
    """Decide whether a user's checkpoint can be trusted in this engine (a task).

    A file on record must give the values on record. The results of any other must be finite and repeatable, independent
    of the order of the atoms, have forces that are the derivatives of its energy, and, where it covers Li, Y and Cl and
    states a known energy convention, lie within 0.3 eV/atom of what that convention gives for the stored Li9Y3Cl18
    cell. An exported potential must give the values in its file as well. The caller stores the results of the first
    use, which every later use must reproduce.

    Parameters
    ----------
    settings
        ``potential``, ``model`` and ``options`` (with ``file``) as :func:`superionic.potentials.base.load_potential`
        takes them; ``first_use``: what this function returned for the same file before, or None.

    Returns
    -------
    dict
        ``identity`` as plain values, ``basis`` ("values on record", "values in its file", "first use" or "plausible"),
        energy, forces and ``differences``.

    Raises
    ------
    EngineError
        If it cannot be trusted, with the reason.
    """
    del inputs, context
    potential = load_potential(settings["potential"], model=settings.get("model"), **dict(settings["options"]))
    identity = potential.identity
    structure = cell_of(identity.elements)
    first = potential.evaluate(structure)
    results = {
        "energy_eV": first.energy_eV,
        "energy_eV_per_atom": first.energy_eV / len(structure),
        "forces_eV_per_A": np.array(first.forces_eV_per_A),
        "stress_eV_per_A3": np.zeros(6) if first.stress_eV_per_A3 is None else np.array(first.stress_eV_per_A3),
        "identity": {**vars(identity), "elements": list(identity.elements)},
    }
    record: Mapping[str, Any] | None
    record, basis = find_record(identity), "values on record"
    if record is None:
        _demand_plausible(potential, structure, first)
        record, basis = _proof_in_file(settings["options"]), "values in its file"
    if record is None:
        record, basis = settings.get("first_use"), "first use"
    if record is None:
        return {**results, "basis": "plausible", "differences": {}}
    return {**results, "basis": basis, "differences": _demand_record(potential, first, record, basis)}


def _proof_in_file(options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the values that an exported potential brings with it; None for any other file."""
    if not is_exported(options["file"]):
        return None
    return read_exported(options["file"]).proof or None


def _prove_by_record(potential: Potential, record: Mapping[str, Any]) -> dict[str, Any]:
    identity = potential.identity
    first = potential.evaluate(li3ycl6_cell())
    _demand_repeatable(identity, first, potential.evaluate(li3ycl6_cell()))
    return {
        "potential": identity.name,
        "model": identity.model,
        "version": identity.version,
        "version_on_record": record["version"],
        "checkpoint_sha256": identity.checkpoint_sha256,
        "energy_convention": identity.energy_convention,
        "licence": identity.licence,
        "energy_eV_per_atom": first.energy_eV / len(first.forces_eV_per_A),
        "differences": _demand_record(potential, first, record, "values on record"),
        "tolerances": dict(_TOLERANCES),
    }


def _demand_record(
    potential: Potential, prediction: Prediction, record: Mapping[str, Any], basis: str
) -> dict[str, float]:
    identity = potential.identity
    differences = compare(prediction, record)
    # Written so that a difference of NaN fails as well.
    wrong = [key for key, tolerance in _TOLERANCES.items() if not differences[key] <= tolerance]
    if not wrong:
        return differences
    deviations = ", ".join(f"{key} differs by {differences[key]:.3g} (allowed {_TOLERANCES[key]:.1g})" for key in wrong)
    energies = f"{prediction.energy_eV / len(prediction.forces_eV_per_A):.3f} eV/atom"
    known = f"{record['energy_eV'] / len(prediction.forces_eV_per_A):.3f}"
    raise EngineError(
        f"{identity.name} ({identity.model}, version {identity.version}) is silently wrong: {deviations}; the stored "
        f"cell has {energies} and not {known} ({basis}).",
        where=f"{models()[identity.name].package}, proof_records.json" if basis == "values on record" else None,
        fix=_fix(identity),
    )


def _demand_plausible(potential: Potential, structure: Atoms, prediction: Prediction) -> None:
    """Raise EngineError if a checkpoint without a record cannot be right."""
    identity = potential.identity
    who = f"{identity.name} ({identity.model}, version {identity.version})"
    if not prediction.is_finite:
        raise EngineError(f"{who} gives numbers that are not finite for the stored cell.", fix=_fix(identity))
    _demand_repeatable(identity, prediction, potential.evaluate(structure))
    n_atoms = len(structure)
    order = np.random.Generator(np.random.PCG64(1)).permutation(n_atoms)
    shuffled = potential.evaluate(structure[order], stress=False).energy_eV
    if not abs(shuffled - prediction.energy_eV) / n_atoms <= _PERMUTATION_EV_PER_ATOM:
        raise EngineError(
            f"{who} gives another energy when the atoms are listed in another order, by "
            f"{abs(shuffled - prediction.energy_eV) / n_atoms:.2g} eV/atom.",
            fix=_fix(identity),
        )
    worst = force_error(potential, structure, prediction)
    if not worst <= _DERIVATIVE_EV_PER_A:
        raise EngineError(
            f"{who} gives forces that are not the derivatives of its energy: they differ by {worst:.2g} eV/Å.",
            fix=_fix(identity),
        )
    expected = expected_eV_per_atom(identity.energy_convention)
    if expected is None or not {"Li", "Y", "Cl"} <= set(identity.elements):
        return
    energy = prediction.energy_eV / n_atoms
    if not abs(energy - expected) <= WINDOW_EV_PER_ATOM:
        raise EngineError(
            f"{who} gives {energy:.2f} eV/atom for the stored Li9Y3Cl18 cell, but energies of the convention "
            f"{identity.energy_convention!r} are near {expected:.2f}. Either the weights do not fit the program, or "
            "the convention is another one. (The forces are correct derivatives, so no other check would show it.)",
            fix="Correct energy_convention if the file has another one; else do not use the file with this engine.",
        )


def force_error(
    potential: Potential,
    structure: Atoms,
    prediction: Prediction,
    probes: Sequence[tuple[int, int]] = _PROBES,
    step_A: float = _STEP_A,
) -> float:
    """Return the largest deviation of forces (atom, axis) from central differences of the energy, in eV/Å."""
    worst = 0.0
    for atom, axis in probes:
        energies = []
        for sign in (1.0, -1.0):
            moved = structure.copy()
            moved.positions[atom, axis] += sign * step_A
            energies.append(potential.evaluate(moved, stress=False).energy_eV)
        slope = (energies[0] - energies[1]) / (2.0 * step_A)
        worst = max(worst, abs(slope + prediction.forces_eV_per_A[atom, axis]))
    return float(worst)


def _demand_repeatable(identity: PotentialIdentity, first: Prediction, second: Prediction) -> None:
    if not _identical(first, second):
        raise EngineError(
            f"{identity.name} ({identity.model}) gave two different results for the same structure.",
            fix=_fix(identity),
        )


def _fix(identity: PotentialIdentity) -> str:
    if identity.engine == "core":
        return "Use another file; if it is superionic's own potential, install superionic again."
    return f"Install the engine again with its pinned versions: superionic engines install {identity.engine}"


def measure(name: str, model: str | None = None, **options: Any) -> dict[str, Any]:
    """Evaluate the stored structure, for a record."""
    potential = load_potential(name, model=model, **options)
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
    """Return the values on record of a potential.

    Raises
    ------
    EngineError
        If there are none.
    PotentialError
        If there is no such potential or model.
    """
    key = f"{name}:{describe_potential(name, model).model}"
    records = _records(name)
    if key not in records:
        raise EngineError(
            f"There are no values on record for {key}.",
            where=f"{models()[name].package}, proof_records.json",
            fix="Measure them with superionic.potentials.proof.measure and add them.",
        )
    return records[key]


def find_record(identity: PotentialIdentity) -> dict[str, Any] | None:
    """Return the values on record of a loaded potential, by its name, model and checksum; None if there are none."""
    record = _records(identity.name).get(f"{identity.name}:{identity.model}")
    return record if record is not None and record["checkpoint_sha256"] == identity.checkpoint_sha256 else None


def _records(name: str) -> dict[str, dict[str, Any]]:
    """Read the values on record of a model; none where its package has no such file."""
    file = files(models()[name].package).joinpath("proof_records.json")
    records: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return records


def compare(prediction: Prediction, record: Mapping[str, Any]) -> dict[str, float]:
    """Return the largest differences between a prediction and a record, per atom for the energy."""
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
