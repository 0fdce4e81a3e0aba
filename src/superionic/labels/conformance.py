"""Measures how well a labeller keeps the contract; the contract tests judge the numbers.

It runs where the labeller runs, so that one suite serves every adapter in every engine environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed, PotentialError
from superionic.labels.base import Label, Labeller, describe_labeller, load_labeller
from superionic.labels.proof import lithium_chloride

_STRAINS = ((0, 0, 0), (1, 2, 3))  # row, column, Voigt index


def conform(
    settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None
) -> dict[str, Any]:
    """Measure all points of the contract on a two-atom LiCl cell (a task).

    Parameters
    ----------
    settings
        ``labeller`` and ``labeller_settings``; ``step_A``: displacement of the finite differences in Å;
        ``stress``: whether to compare stress with finite differences of the energy (of use where the energy is smooth
        in the cell, which it is not in plane waves of fixed cutoff).
    inputs
        Not needed.
    context
        Context of a task, of which ``scratch`` is used; may be None.

    Returns
    -------
    dict
        ``force_eV_per_A`` and ``stress_eV_per_A3``: largest deviations from central differences of the energy;
        ``permutation_energy_eV``, ``permutation_force_eV_per_A``; ``net_force_eV_per_A``; and whether ``mutated``,
        ``repeatable``, ``described`` (the description without the engine has the same settings hash),
        ``round_trip`` (through plain values), with ``provenance`` and ``progress`` (the fractions reported).
    """
    del inputs
    scratch = None if context is None else context.scratch
    name, options = settings["labeller"], settings.get("labeller_settings") or {}
    labeller = load_labeller(name, options)
    atoms = lithium_chloride()
    kept = atoms.copy()
    fractions: list[float] = []
    first = labeller.label(atoms, scratch=scratch, progress=lambda fraction, _: fractions.append(fraction))
    mutated = atoms != kept or atoms.calc is not None or set(atoms.arrays) != set(kept.arrays)
    second = labeller.label(atoms, scratch=scratch)
    swapped = labeller.label(atoms[[1, 0]], scratch=scratch)
    step = float(settings.get("step_A", 0.01))
    return {
        "provenance": dict(first.provenance),
        "progress": fractions,
        "mutated": bool(mutated),
        "repeatable": _same(first, second),
        "round_trip": _same(first, Label.from_dict(first.to_dict())),
        "described": describe_labeller(name, options).settings_hash == first.settings_hash,
        "net_force_eV_per_A": float(np.abs(first.forces_eV_per_A.sum(axis=0)).max()),
        "permutation_energy_eV": abs(swapped.energy_eV - first.energy_eV),
        "permutation_force_eV_per_A": float(np.abs(swapped.forces_eV_per_A[::-1] - first.forces_eV_per_A).max()),
        "force_eV_per_A": _force_error(labeller, atoms, first, step),
        "stress_eV_per_A3": _stress_error(labeller, atoms, first) if settings.get("stress", False) else None,
    }


def refuse(settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None) -> dict[str, Any]:
    """Label a structure that cannot be labelled and tell how that ended (a task).

    Parameters
    ----------
    settings
        As for :func:`conform`.
    inputs
        ``atoms``.
    context
        Context of a task; may be None.

    Returns
    -------
    dict
        ``outcome``: ``"label"``, ``"failed"`` (:class:`CalculationFailed`) or ``"refused"``
        (:class:`PotentialError`); ``reason`` and ``details``.
    """
    labeller = load_labeller(settings["labeller"], settings.get("labeller_settings") or {})
    try:
        labeller.label((inputs or {})["atoms"], scratch=None if context is None else context.scratch)
    except CalculationFailed as failure:
        return {"outcome": "failed", "reason": failure.reason, "details": failure.details}
    except PotentialError as error:
        return {"outcome": "refused", "reason": str(error), "details": {}}
    return {"outcome": "label", "reason": "", "details": {}}


def _same(one: Label, other: Label) -> bool:
    return bool(
        one.energy_eV == other.energy_eV
        and np.array_equal(one.forces_eV_per_A, other.forces_eV_per_A)
        and one.stress_eV_per_A3 is not None
        and other.stress_eV_per_A3 is not None
        and np.array_equal(one.stress_eV_per_A3, other.stress_eV_per_A3)
        and one.provenance == other.provenance
    )


def _force_error(labeller: Labeller, atoms: Atoms, label: Label, step_A: float) -> float:
    """Of one component of chlorine; the other atom follows, as the net force is zero."""
    energies = []
    for sign in (1.0, -1.0):
        moved = atoms.copy()
        moved.positions[1, 0] += sign * step_A
        energies.append(labeller.label(moved).energy_eV)
    return abs((energies[1] - energies[0]) / (2.0 * step_A) - float(label.forces_eV_per_A[1, 0]))


def _stress_error(labeller: Labeller, atoms: Atoms, label: Label) -> float:
    strain, worst = 1.0e-4, 0.0
    for row, column, voigt in _STRAINS:
        energies = []
        for sign in (1.0, -1.0):
            deformation = np.eye(3)
            deformation[row, column] += 0.5 * sign * strain
            deformation[column, row] += 0.5 * sign * strain
            strained = atoms.copy()
            strained.set_cell(np.asarray(atoms.cell) @ deformation, scale_atoms=True)
            energies.append(labeller.label(strained).energy_eV)
        slope = (energies[0] - energies[1]) / (2.0 * strain) / float(atoms.get_volume())
        if label.stress_eV_per_A3 is not None:
            worst = max(worst, abs(slope - float(label.stress_eV_per_A3[voigt])))
    return worst
