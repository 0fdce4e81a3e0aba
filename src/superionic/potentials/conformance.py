"""Measure how well a potential keeps the contract, and judge the numbers: ``broken(conform({"potential": "NAME"}))``.

The measurement runs where the potential runs, so that one suite serves every adapter in every engine environment.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from ase import Atoms

from superionic.conventions import is_convention
from superionic.errors import PotentialError
from superionic.potentials.base import Potential, Prediction, load_potential
from superionic.potentials.proof import force_error
from superionic.potentials.reference import li3ycl6_cell

_FORCE_PROBES = ((0, 0), (4, 1), (10, 2), (15, 0), (27, 1))
_STRAIN_PROBES = ((0, 0), (2, 2), (1, 2), (0, 1))
_VOIGT = {(0, 0): 0, (1, 1): 1, (2, 2): 2, (1, 2): 3, (0, 2): 4, (0, 1): 5}

_KINDS = ("force", "stress", "net", "same_energy", "same_force", "same_stress")
DOUBLE: Final = MappingProxyType(dict(zip(_KINDS, (1e-5, 1e-7, 1e-8, 1e-10, 1e-8, 1e-10), strict=True)))
"""Largest deviations in double precision: of forces in eV/Å and stress in eV/Å³ from finite differences of the energy,
of the net force, and of energy (eV/atom), forces and stress of equivalent structures."""
SINGLE: Final = MappingProxyType(dict(zip(_KINDS, (5e-3, 2e-5, 1e-4, 1e-6, 2e-4, 1e-6), strict=True)))
"""The same in single precision, with a ``step_A`` of 5e-3, where finite differences and sums in another order vary."""


def broken(report: Mapping[str, Any], limits: Mapping[str, float] = DOUBLE) -> list[str]:
    """Return the points of the contract that a potential does not keep, in words; none if it keeps all.

    Parameters
    ----------
    report
        What :func:`conform` measured.
    limits
        Largest deviations; :data:`DOUBLE`, :data:`SINGLE`, or others of these names.
    """
    said = {
        "the structure is changed": not report["mutated"],
        "a second evaluation differs": report["repeatable"],
        "an element that it does not cover is not refused": report["refuses_unknown_element"],
        "there is a stress that nobody asked for": report["no_stress_unless_asked"],
        f"{report['energy_convention']!r} is no energy convention": is_convention(report["energy_convention"]),
        "torch uses several threads": report["threads"] in (1, None),
        "it does not cover the stored structure": {"Li", "Y", "Cl"} <= set(report["elements"]),
    }
    deviations = [
        ("force_eV_per_A", "force"),
        ("stress_eV_per_A3", "stress"),
        ("net_force_eV_per_A", "net"),
        ("without_stress_force_eV_per_A", "same_force"),
    ]
    for symmetry in ("permutation", "translation", "rotation", "extensivity"):
        deviations += [
            (f"{symmetry}_energy_eV_per_atom", "same_energy"),
            (f"{symmetry}_force_eV_per_A", "same_force"),
            (f"{symmetry}_stress_eV_per_A3", "same_stress"),
        ]
    return [
        *(words for words, kept in said.items() if not kept),
        *(f"{name} is {report[name]:.1e}" for name, kind in deviations if not report[name] < limits[kind]),
    ]


def conform(
    settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None
) -> dict[str, Any]:
    """Measure every point of the contract on the stored structure (a task).

    Parameters
    ----------
    settings
        ``potential``; ``model`` (optional); ``options`` of the adapter (optional); ``step_A``: displacement of the
        finite differences in Å (and, divided by 1 Å, their strain).

    Returns
    -------
    dict
        Largest deviations: ``force_eV_per_A``, ``stress_eV_per_A3`` (against central differences of the energy);
        ``permutation_*``, ``translation_*``, ``rotation_*``, ``extensivity_*`` with ``energy_eV_per_atom``,
        ``force_eV_per_A``, ``stress_eV_per_A3``; ``net_force_eV_per_A``; ``without_stress_force_eV_per_A``; and
        whether ``mutated``, ``repeatable``, ``refuses_unknown_element``, with ``energy_convention``, ``elements`` and
        the number of ``threads`` that torch uses (None without torch).
    """
    del inputs, context
    potential = load_potential(
        settings["potential"], model=settings.get("model"), **dict(settings.get("options") or {})
    )
    step = float(settings.get("step_A", 0.005))
    atoms = li3ycl6_cell()
    original = atoms.copy()
    first = potential.evaluate(atoms)
    mutated = atoms != original or atoms.calc is not None or set(atoms.arrays) != set(original.arrays)
    second = potential.evaluate(atoms)
    without_stress = potential.evaluate(atoms, stress=False)
    report: dict[str, Any] = {
        "energy_convention": potential.identity.energy_convention,
        "elements": list(potential.identity.elements),
        "threads": sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None,
        "mutated": bool(mutated),
        "repeatable": bool(
            first.energy_eV == second.energy_eV and np.array_equal(first.forces_eV_per_A, second.forces_eV_per_A)
        ),
        "refuses_unknown_element": _refuses_unknown(potential),
        "no_stress_unless_asked": without_stress.stress_eV_per_A3 is None,
        "net_force_eV_per_A": float(np.abs(first.forces_eV_per_A.sum(axis=0)).max()),
        "without_stress_force_eV_per_A": float(np.abs(without_stress.forces_eV_per_A - first.forces_eV_per_A).max()),
        "force_eV_per_A": force_error(potential, atoms, without_stress, _FORCE_PROBES, step),
        "stress_eV_per_A3": _stress_error(potential, atoms, first, step),
    }

    order = np.random.Generator(np.random.PCG64(1)).permutation(len(atoms))
    _compare(report, "permutation", potential, first, atoms[order], expected_forces=lambda forces: forces[order])
    moved = atoms.copy()
    # By more than the cell, so that wrapping is tested.
    moved.positions += [13.7, -25.1, 7.3]
    _compare(report, "translation", potential, first, moved, expected_forces=lambda forces: forces)
    rotation = _rotation(0.7, np.array([1.0, -2.0, 0.5]))
    rotated = atoms.copy()
    rotated.set_cell(atoms.cell.array @ rotation.T, scale_atoms=False)
    rotated.positions = atoms.positions @ rotation.T
    _compare(
        report,
        "rotation",
        potential,
        first,
        rotated,
        expected_forces=lambda forces: forces @ rotation.T,
        rotation=rotation,
    )
    doubled = atoms.repeat((1, 1, 2))
    _compare(
        report, "extensivity", potential, first, doubled, expected_forces=lambda forces: np.vstack([forces, forces])
    )
    return report


def conform_all(
    settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None
) -> list[dict[str, Any]]:
    """Run :func:`conform` for each of ``runs`` in one process, which imports its engine once (a task)."""
    return [conform(run, inputs, context) for run in settings["runs"]]


def _stress_error(potential: Potential, atoms: Atoms, first: Prediction, step: float) -> float:
    stress = first.stress_eV_per_A3
    if stress is None:
        return float("nan")
    strain = 0.2 * step
    worst = 0.0
    for i, j in _STRAIN_PROBES:
        energies = []
        for sign in (1.0, -1.0):
            deformation = np.eye(3)
            deformation[i, j] += 0.5 * sign * strain
            deformation[j, i] += 0.5 * sign * strain
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            energies.append(potential.evaluate(strained, stress=False).energy_eV)
        derivative = (energies[0] - energies[1]) / (2.0 * strain) / float(atoms.get_volume())
        worst = max(worst, abs(derivative - stress[_VOIGT[i, j]]))
    return float(worst)


def _compare(
    report: dict[str, Any],
    name: str,
    potential: Potential,
    first: Prediction,
    other: Atoms,
    *,
    expected_forces: Any,
    rotation: np.ndarray | None = None,
) -> None:
    result = potential.evaluate(other)
    energy = result.energy_eV / len(other) - first.energy_eV / len(first.forces_eV_per_A)
    report[f"{name}_energy_eV_per_atom"] = abs(float(energy))
    report[f"{name}_force_eV_per_A"] = float(
        np.abs(result.forces_eV_per_A - expected_forces(first.forces_eV_per_A)).max()
    )
    before, after = _tensor(first.stress_eV_per_A3), _tensor(result.stress_eV_per_A3)
    if rotation is not None:
        before = rotation @ before @ rotation.T
    report[f"{name}_stress_eV_per_A3"] = float(np.abs(after - before).max())


def _tensor(voigt: np.ndarray | None) -> np.ndarray:
    if voigt is None:
        return np.full((3, 3), np.nan)
    xx, yy, zz, yz, xz, xy = voigt
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _rotation(angle: float, axis: np.ndarray) -> np.ndarray:
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross)


def _refuses_unknown(potential: Potential) -> bool:
    """Whether radon, which no potential here covers, is refused with the typed error at every entry point."""
    atoms = li3ycl6_cell()
    atoms.numbers[0] = 86
    calculated = atoms.copy()
    calculated.calc = potential.calculator(stress=False)
    refused = 0
    for attempt in (
        lambda: potential.check_elements(atoms),
        lambda: potential.evaluate(atoms),
        calculated.get_potential_energy,
    ):
        try:
            attempt()
        except PotentialError:
            refused += 1
    return refused == 3


def describe_surroundings(
    settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None
) -> dict[str, Any]:
    """Measure whether a potential's descriptors change when the crystal is rotated, shifted and renumbered (a task).

    Returns
    -------
    dict
        ``shape`` of the descriptors, their ``largest`` magnitude, and the ``largest_change`` of any.
    """
    del inputs, context
    potential: Any = load_potential(settings["name"], model=settings.get("model"))
    atoms = li3ycl6_cell()
    atoms.rattle(0.1, seed=1)
    order = np.random.default_rng(0).permutation(len(atoms))
    other = atoms.copy()
    other.rotate(33.0, (1, 2, 3), rotate_cell=True)
    other.positions += 1.7
    other = other[order]
    other.wrap()
    here, there = potential.descriptors(atoms), potential.descriptors(other)
    return {
        "largest": float(np.abs(here).max()),
        "largest_change": float(np.abs(there - here[order]).max()),
        "shape": list(here.shape),
    }
