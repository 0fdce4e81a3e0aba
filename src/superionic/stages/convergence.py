"""Whether labels are converged: a few of them made anew at a higher plane-wave cutoff and with more k-points.

All labels of a campaign share these errors, so no gate that compares labels with each other sees them. Setups differ in
the cutoff they need (oxygen's far more than chlorine's): at too low a one the forces look right and the stress is off
by gigapascals. Too few k-points err differently in cells of different shape, and so put crystals in the wrong order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from superionic.execution.task import Task
from superionic.labels.base import Label
from superionic.labels.gpaw import kpoint_grid
from superionic.results.learning import ConvergenceCheck
from superionic.stages.base import Snapshot, Workbench
from superionic.stages.labelling import ChosenLabeller
from superionic.units import GPA_PER_EV_PER_A3

if TYPE_CHECKING:
    from superionic.settings.label import LabelSettings

_SAME_CELL = 0.1
"""Cells whose reciprocal vectors differ by less than this share take their k-points alike."""

_FINER = 0.9
"""Spacing of more k-points, over the largest one of the grid that is used: on each axis that is not much better sampled
there is one more."""


@dataclass(frozen=True)
class BetterLabel:
    """A label made anew, with more plane waves or more k-points than the one that is used."""

    snapshot: Snapshot
    raised: Literal["cutoff", "k-points"]
    to: str
    task: Task[Label]


def better_labels(settings: LabelSettings, bench: Workbench, snapshots: Sequence[Snapshot]) -> Iterator[BetterLabel]:
    """Build better labels: higher cutoffs for few structures that together have all elements, k-points for each cell.

    There are none without ``convergence_check`` or plane waves.
    """
    if (ecut_eV := settings.higher_ecut_eV) is not None:
        labeller = ChosenLabeller.of(settings.model_copy(update={"ecut_eV": ecut_eV}), None)
        value = f"{ecut_eV:g} eV"
        for snapshot in _with_all_elements(bench, snapshots):
            made = labeller.label(bench, f"label of {snapshot.id} at {value}", snapshot.structure)
            yield BetterLabel(snapshot, "cutoff", value, made)
    if settings.checks_kpoints:
        for snapshot, spacing, grids in _of_each_cell(settings, bench, snapshots):
            labeller = ChosenLabeller.of(settings.model_copy(update={"kpoint_spacing_per_A": spacing}), None)
            made = labeller.label(bench, f"label of {snapshot.id} at {spacing:g} Å⁻¹", snapshot.structure)
            yield BetterLabel(snapshot, "k-points", grids, made)


def convergence_cautions(settings: LabelSettings, checks: Sequence[ConvergenceCheck]) -> Iterator[str]:
    """Yield a sentence for each structure that changes by more than the limits, and one for cells that shift apart."""
    limits = settings.convergence_check
    if limits is None:
        return
    used = {
        "cutoff": ("The cutoff", f"{settings.ecut_eV:g} eV", "is too low", "at", "Raise `label.ecut_eV`"),
        "k-points": (
            "The spacing of the k-points",
            f"{settings.kpoint_spacing_per_A:g} Å⁻¹",
            "is too large",
            "with a grid of",
            "Lower `label.kpoint_spacing_per_A`",
        ),
    }
    for check in checks:
        changes = []
        if check.mae_force_meV_per_A > limits.max_force_meV_per_A:
            changes.append(
                f"its forces change by {check.mae_force_meV_per_A:.3g} meV/Å (limit {limits.max_force_meV_per_A:g})"
            )
        if check.stress_GPa is not None and abs(check.stress_GPa) > limits.max_stress_GPa:
            changes.append(f"its mean stress changes by {check.stress_GPa:+.2g} GPa (limit {limits.max_stress_GPa:g})")
        if changes:
            what, value, verdict, by, fix = used[check.raised]
            yield (
                f"{what} of the labels, {value}, {verdict} for {check.formula}: {by} {check.to} "
                f"{' and '.join(changes)}. {fix}"
            )
    by_kpoints = sorted((each for each in checks if each.raised == "k-points"), key=lambda c: c.energy_meV_per_atom)
    if len(by_kpoints) > 1:
        low, high = by_kpoints[0], by_kpoints[-1]
        apart = high.energy_meV_per_atom - low.energy_meV_per_atom
        if apart > limits.max_energy_difference_meV_per_atom:
            what, value, verdict, _, fix = used["k-points"]
            yield (
                f"{what} of the labels, {value}, {verdict} to compare energies of different cells: with more k-points "
                f"that of {low.label} ({low.formula}) changes by {low.energy_meV_per_atom:+.1f} meV/atom and that of "
                f"{high.label} ({high.formula}) by {high.energy_meV_per_atom:+.1f} "
                f"(limit of the difference {limits.max_energy_difference_meV_per_atom:g}). {fix}"
            )


def _with_all_elements(bench: Workbench, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """Return structures, each of which adds the most elements to those before it."""
    elements = [set(bench.runner.value_of(snapshot.structure).get_chemical_symbols()) for snapshot in snapshots]
    missing, chosen = set().union(*elements), []
    while missing:
        best = max(range(len(snapshots)), key=lambda index: (len(elements[index] & missing), -index))
        chosen.append(snapshots[best])
        missing -= elements[best]
    return chosen


def _of_each_cell(
    settings: LabelSettings, bench: Workbench, snapshots: Sequence[Snapshot]
) -> Iterator[tuple[Snapshot, float, str]]:
    """Yield the first structure of each kind of cell, the spacing of more k-points, and both grids in words."""
    offset = "gamma" if settings.engine == "vasp" else settings.kpoint_offset
    seen: list[tuple[tuple[int, ...], np.ndarray]] = []
    for snapshot in snapshots:
        cell = np.array(bench.runner.value_of(snapshot.structure).cell)
        grid = kpoint_grid(cell, settings.kpoint_spacing_per_A, offset)
        reciprocal_per_A = 2.0 * np.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
        if any(each == grid and np.all(np.abs(reciprocal_per_A / b - 1.0) < _SAME_CELL) for each, b in seen):
            continue
        seen.append((grid, reciprocal_per_A))
        largest = float(np.max(reciprocal_per_A / grid)) / (2.0 if offset == "offset" else 1.0)
        spacing = round(_FINER * largest, 3)
        finer = kpoint_grid(cell, spacing, offset)
        yield snapshot, spacing, f"{'x'.join(map(str, finer))} in place of {'x'.join(map(str, grid))}"


def compared(better: BetterLabel, used: Label, made_anew: Label) -> ConvergenceCheck:
    """Return how far a label changes with more plane waves or k-points."""
    forces = 1.0e3 * np.abs(made_anew.forces_eV_per_A - used.forces_eV_per_A)
    stress_GPa = None
    if used.stress_eV_per_A3 is not None and made_anew.stress_eV_per_A3 is not None:
        stress_GPa = float(np.mean((made_anew.stress_eV_per_A3 - used.stress_eV_per_A3)[:3]) * GPA_PER_EV_PER_A3)
    return ConvergenceCheck(
        label=better.snapshot.id,
        formula=better.snapshot.formula,
        raised=better.raised,
        to=better.to,
        energy_meV_per_atom=1.0e3 * (made_anew.energy_eV - used.energy_eV) / len(used.forces_eV_per_A),
        mae_force_meV_per_A=float(forces.mean()),
        max_force_meV_per_A=float(forces.max()),
        stress_GPa=stress_GPa,
    )
