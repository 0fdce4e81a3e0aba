"""Measure how well a labeller fulfils the contract; the contract tests judge the numbers.

The measurements run where the labeller runs, so that one suite serves every adapter in every engine environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed, PotentialError
from superionic.labels.base import Label, Labeller, describe_labeller, load_labeller
from superionic.labels.proof import lithium_chloride
from superionic.units import gpa

_STRAINS = ((0, 0, 0), (1, 2, 3))  # row, column, Voigt index
_DIRECTION = (0.48, -0.60, 0.64)  # of length one, as is the strain, whose order is that of the stress
_STRAIN = (0.30, -0.50, 0.40, 0.45, -0.35, 0.42)
_DISTORTION = ((0.010, 0.004, -0.003), (0.004, -0.007, 0.006), (-0.003, 0.006, 0.002))


def conform(
    settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None
) -> dict[str, Any]:
    """Measure all points of the contract on a two-atom LiCl cell (a task).

    Parameters
    ----------
    settings
        ``labeller`` and ``labeller_settings``; ``step_A``: displacement of the finite differences in Å;
        ``stress``: whether to compare stress with finite differences of the energy (useful if the energy is smooth in
        the cell, which it is not with plane waves of fixed cutoff).
    context
        Context of a task, of which ``scratch`` is used; may be None.

    Returns
    -------
    dict
        ``force_eV_per_A`` and ``stress_eV_per_A3``: largest deviations from central differences of the energy;
        ``permutation_energy_eV``, ``permutation_force_eV_per_A``; ``net_force_eV_per_A``; and whether ``mutated``,
        ``repeatable``, ``described`` (the description without the engine has the same settings hash),
        with ``provenance`` and ``progress`` (the fractions reported).
    """
    del inputs
    scratch = None if context is None else context.scratch
    name, options = settings["labeller"], settings.get("labeller_settings") or {}
    labeller = load_labeller(name, options)
    atoms = lithium_chloride()
    original = atoms.copy()
    fractions: list[float] = []
    first = labeller.label(atoms, scratch=scratch, progress=lambda fraction, _: fractions.append(fraction))
    mutated = atoms != original or atoms.calc is not None or set(atoms.arrays) != set(original.arrays)
    second = labeller.label(atoms, scratch=scratch)
    swapped = labeller.label(atoms[[1, 0]], scratch=scratch)
    step = float(settings.get("step_A", 0.01))
    return {
        "provenance": dict(first.provenance),
        "progress": fractions,
        "mutated": bool(mutated),
        "repeatable": _same(first, second),
        "described": describe_labeller(name, options).settings_hash == first.settings_hash,
        "net_force_eV_per_A": float(np.abs(first.forces_eV_per_A.sum(axis=0)).max()),
        "permutation_energy_eV": abs(swapped.energy_eV - first.energy_eV),
        "permutation_force_eV_per_A": float(np.abs(swapped.forces_eV_per_A[::-1] - first.forces_eV_per_A).max()),
        "force_eV_per_A": _force_error(labeller, atoms, first, step),
        "stress_eV_per_A3": _stress_error(labeller, atoms, first) if settings.get("stress", False) else None,
    }


def derivatives(
    settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None
) -> dict[str, Any]:
    """Compare forces and stress with central differences of the energy on a LiCl cell (a task).

    They are compared along one direction and one strain in which each component has a weight of its own, so that a
    wrong component shows, and two that have changed places, with five calculations instead of nineteen.

    Plane-wave codes give the stress at a fixed number of plane waves. A strain of 1e-5 moves no wave across the cutoff
    unless one lies within 2e-5 of it, so the energies of the two strained cells have the same basis, and that is
    checked: ``same_basis``. Forces are compared before the net force is removed, as only these are the derivatives
    of the energy.

    Parameters
    ----------
    settings
        ``labeller``, ``labeller_settings`` (with tolerances tight enough for the steps), ``step_A`` and ``strain``.
    context
        Context of a task, of which ``scratch`` is used; may be None.

    Returns
    -------
    dict
        ``force_eV_per_A`` and ``stress_GPa``: deviations along that direction and strain; ``net_force_eV_per_A``,
        ``same_basis``, and all components.
    """
    del inputs
    scratch = None if context is None else context.scratch
    labeller = load_labeller(settings["labeller"], settings.get("labeller_settings") or {})
    step, strain = float(settings.get("step_A", 0.01)), float(settings.get("strain", 1.0e-5))
    atoms = lithium_chloride()
    # Strained, so that no two components of the stress are equal and no shell of plane waves is degenerate.
    atoms.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + np.array(_DISTORTION)), scale_atoms=True)
    first = labeller.label(atoms, scratch=scratch)
    net = np.asarray(first.diagnostics.get("net_force_eV_per_A", np.zeros(3)))
    raw = first.forces_eV_per_A + net / len(atoms)
    bases = {first.diagnostics.get("plane_waves")}

    def slope(moved: list[Atoms], width: float) -> float:
        labels = [labeller.label(each, scratch=scratch) for each in moved]
        bases.update(label.diagnostics.get("plane_waves") for label in labels)
        return (labels[0].energy_eV - labels[1].energy_eV) / width

    moved = [atoms.copy() for _ in range(2)]
    for sign, each in zip((1.0, -1.0), moved, strict=True):
        each.positions[1] += sign * step * np.array(_DIRECTION)
    force = float(raw[1] @ _DIRECTION)
    by_force = -slope(moved, 2.0 * step)
    components = np.full(6, np.nan) if first.stress_eV_per_A3 is None else first.stress_eV_per_A3
    stress = float(components @ _STRAIN)
    by_strain = slope([_sheared(atoms, sign * strain) for sign in (1.0, -1.0)], 2.0 * strain)
    return {
        "force_eV_per_A": abs(force - by_force),
        "stress_GPa": float(gpa(abs(stress - by_strain / float(atoms.get_volume())))),
        "net_force_eV_per_A": float(np.linalg.norm(net)),
        "same_basis": len(bases) == 1,
        "forces_eV_per_A": [float(component) for component in raw[1]],
        "stresses_eV_per_A3": [float(component) for component in components],
    }


def rungs(settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None) -> dict[str, Any]:
    """Calculate the LiCl cell by GPAW with each rung of its ladder (a task).

    Parameters
    ----------
    settings
        ``labeller_settings``.

    Returns
    -------
    dict
        By the name of each rung ``energy_eV`` and ``force_eV_per_A`` (largest component), as deviations from those of
        the first rung, and ``scf_steps``.
    """
    del inputs, context
    from superionic.labels.gpaw import LADDER, GpawLabeller, complete_settings

    labeller = GpawLabeller(complete_settings(settings["labeller_settings"]))
    results_of = {rung.name: labeller.attempt(lithium_chloride(), rung) for rung in LADDER}
    first = results_of[LADDER[0].name]
    return {
        name: {
            "energy_eV": abs(values["energy"] - first["energy"]),
            "force_eV_per_A": float(np.abs(values["forces"] - first["forces"]).max()),
            "scf_steps": values["size"]["scf_steps"],
        }
        for name, values in results_of.items()
    }


def refuse(settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None) -> dict[str, Any]:
    """Label a structure that cannot be labelled and return how that ended (a task).

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
    """Return the error of one force component of chlorine; the other atom follows, as the net force is zero."""
    energies = []
    for sign in (1.0, -1.0):
        moved = atoms.copy()
        moved.positions[1, 0] += sign * step_A
        energies.append(labeller.label(moved).energy_eV)
    return abs((energies[1] - energies[0]) / (2.0 * step_A) - float(label.forces_eV_per_A[1, 0]))


def _stress_error(labeller: Labeller, atoms: Atoms, label: Label) -> float:
    strain, worst = 1.0e-4, 0.0
    for row, column, voigt in _STRAINS:
        energies = [labeller.label(_strained(atoms, row, column, s * strain)).energy_eV for s in (1.0, -1.0)]
        slope = (energies[0] - energies[1]) / (2.0 * strain) / float(atoms.get_volume())
        if label.stress_eV_per_A3 is not None:
            worst = max(worst, abs(slope - float(label.stress_eV_per_A3[voigt])))
    return worst


def _strained(atoms: Atoms, row: int, column: int, strain: float) -> Atoms:
    deformation = np.eye(3)
    deformation[row, column] += 0.5 * strain
    deformation[column, row] += 0.5 * strain
    strained = atoms.copy()
    strained.set_cell(np.asarray(atoms.cell) @ deformation, scale_atoms=True)
    return strained


def _sheared(atoms: Atoms, strain: float) -> Atoms:
    """Strain a cell by all components of :data:`_STRAIN` at once."""
    xx, yy, zz, yz, xz, xy = strain * np.array(_STRAIN)
    tensor = np.array([[xx, xy / 2.0, xz / 2.0], [xy / 2.0, yy, yz / 2.0], [xz / 2.0, yz / 2.0, zz]])
    strained = atoms.copy()
    strained.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + tensor), scale_atoms=True)
    return strained
