"""Whether the plane-wave cutoff of labels suffices: a few of them made anew at a higher one.

Setups differ in what they need (oxygen's far more than chlorine's), and a label at too low a cutoff converges, passes
every gate that looks at one set of settings, and has a stress that is off by gigapascals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from superionic.execution.task import Task
from superionic.labels.base import Label
from superionic.results.learning import CutoffCheck
from superionic.stages.base import Snapshot, Workbench
from superionic.stages.labelling import ChosenLabeller
from superionic.units import GPA_PER_EV_PER_A3

if TYPE_CHECKING:
    from superionic.settings.label import LabelSettings


def higher_labels(settings: LabelSettings, bench: Workbench, snapshots: Sequence[Snapshot]) -> dict[str, Task[Label]]:
    """Build labels at a higher cutoff of few structures that together have all elements, by the names of these.

    There are none without ``cutoff_check`` or plane waves.
    """
    ecut_eV = settings.higher_ecut_eV
    if ecut_eV is None:
        return {}
    labeller = ChosenLabeller.of(settings.model_copy(update={"ecut_eV": ecut_eV}), None)
    return {
        snapshot.id: labeller.label(bench, f"label of {snapshot.id} at {ecut_eV:g} eV", snapshot.structure)
        for snapshot in _with_all_elements(bench, snapshots)
    }


def cutoff_cautions(settings: LabelSettings, checks: Sequence[CutoffCheck]) -> Iterator[str]:
    """Yield a sentence for each structure whose forces or stress change by more than the limits."""
    limits = settings.cutoff_check
    if limits is None:
        return
    for check in checks:
        changes = []
        if check.mae_force_meV_per_A > limits.max_force_meV_per_A:
            changes.append(
                f"its forces change by {check.mae_force_meV_per_A:.3g} meV/Å (limit {limits.max_force_meV_per_A:g})"
            )
        if check.stress_GPa is not None and abs(check.stress_GPa) > limits.max_stress_GPa:
            changes.append(f"its mean stress changes by {check.stress_GPa:+.2g} GPa (limit {limits.max_stress_GPa:g})")
        if changes:
            yield (
                f"The cutoff of the labels, {settings.ecut_eV:g} eV, is too low for {check.formula}: at "
                f"{check.ecut_eV:g} eV {' and '.join(changes)}. Raise `label.ecut_eV`"
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


def compared(snapshot: Snapshot, ecut_eV: float, label: Label, higher: Label) -> CutoffCheck:
    """Return how far a label changes at the higher cutoff."""
    forces = 1.0e3 * np.abs(higher.forces_eV_per_A - label.forces_eV_per_A)
    stress_GPa = None
    if label.stress_eV_per_A3 is not None and higher.stress_eV_per_A3 is not None:
        stress_GPa = float(np.mean((higher.stress_eV_per_A3 - label.stress_eV_per_A3)[:3]) * GPA_PER_EV_PER_A3)
    return CutoffCheck(
        label=snapshot.id,
        formula=snapshot.formula,
        ecut_eV=ecut_eV,
        energy_meV_per_atom=1.0e3 * (higher.energy_eV - label.energy_eV) / len(label.forces_eV_per_A),
        mae_force_meV_per_A=float(forces.mean()),
        max_force_meV_per_A=float(forces.max()),
        stress_GPa=stress_GPa,
    )
