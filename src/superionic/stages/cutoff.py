"""Whether the plane-wave cutoff of labels suffices: a few of them made anew at a higher one.

Setups differ in what they need (oxygen's far more than chlorine's), and a label at too low a cutoff converges, passes
every gate that looks at one set of settings, and has a stress that is off by gigapascals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from ase.units import GPa

from superionic.execution.runner import Failure
from superionic.labels.base import Label
from superionic.results.learning import CutoffCheck
from superionic.stages.base import Snapshot, Workbench, failures_of
from superionic.stages.labelling import ChosenLabeller

if TYPE_CHECKING:
    from superionic.settings.label import LabelSettings

PLANE_WAVE_ENGINES: Final = ("gpaw", "vasp")


def check_cutoff(
    settings: LabelSettings, bench: Workbench, labelled: Sequence[Snapshot]
) -> tuple[tuple[CutoffCheck, ...], tuple[Failure, ...]]:
    """Label few structures, which together have all elements, at a higher cutoff, and compare.

    Parameters
    ----------
    settings
        The ``label`` section; nothing is done without ``cutoff_check`` or plane waves.
    bench
        The workbench of the stage.
    labelled
        Structures with labels as the method gave them, without a dispersion term.
    """
    check = settings.cutoff_check
    if check is None or settings.engine not in PLANE_WAVE_ENGINES:
        return (), ()
    ecut_eV = round(check.factor * settings.ecut_eV, 6)
    higher = ChosenLabeller.of(settings.model_copy(update={"ecut_eV": ecut_eV}), None)
    chosen = _with_all_elements(bench, labelled)
    tasks = [
        higher.label(bench, f"label of {snapshot.id} at {ecut_eV:g} eV", snapshot.structure) for snapshot in chosen
    ]
    outcomes = bench.runner.gather(tasks)
    checks = tuple(
        _compared(snapshot, ecut_eV, bench.runner.value_of(snapshot.label), bench.runner.value_of(outcome.task.result))
        for snapshot, outcome in zip(chosen, outcomes, strict=True)
        if outcome.ok and snapshot.label is not None
    )
    return checks, failures_of(outcomes)


def cutoff_cautions(settings: LabelSettings, checks: Sequence[CutoffCheck]) -> Iterator[str]:
    """Yield a sentence for each structure whose forces or stress change by more than the limits."""
    limits = settings.cutoff_check
    if limits is None:
        return
    for check in checks:
        changes = []
        if check.mae_force_meV_per_A > limits.max_force_meV_per_A:
            changes.append(f"forces by {check.mae_force_meV_per_A:.3g} meV/Å (limit {limits.max_force_meV_per_A:g})")
        if check.stress_GPa is not None and abs(check.stress_GPa) > limits.max_stress_GPa:
            changes.append(f"the mean stress by {check.stress_GPa:+.2g} GPa (limit {limits.max_stress_GPa:g})")
        if changes:
            yield (
                f"The cutoff of the labels, {settings.ecut_eV:g} eV, is too low: at {check.ecut_eV:g} eV those of "
                f"{check.formula} change: {' and '.join(changes)}. Raise `label.ecut_eV`"
            )


def _with_all_elements(bench: Workbench, labelled: Sequence[Snapshot]) -> list[Snapshot]:
    """Return structures, each of which adds the most elements to those before it."""
    elements = [set(bench.runner.value_of(snapshot.structure).get_chemical_symbols()) for snapshot in labelled]
    missing, chosen = set().union(*elements), []
    while missing:
        best = max(range(len(labelled)), key=lambda index: (len(elements[index] & missing), -index))
        chosen.append(labelled[best])
        missing -= elements[best]
    return chosen


def _compared(snapshot: Snapshot, ecut_eV: float, label: Label, higher: Label) -> CutoffCheck:
    forces = 1.0e3 * np.abs(higher.forces_eV_per_A - label.forces_eV_per_A)
    stress_GPa = None
    if label.stress_eV_per_A3 is not None and higher.stress_eV_per_A3 is not None:
        stress_GPa = float(np.mean((higher.stress_eV_per_A3 - label.stress_eV_per_A3)[:3]) / GPa)
    return CutoffCheck(
        label=snapshot.id,
        formula=snapshot.formula,
        ecut_eV=ecut_eV,
        energy_meV_per_atom=1.0e3 * (higher.energy_eV - label.energy_eV) / len(label.forces_eV_per_A),
        mae_force_meV_per_A=float(forces.mean()),
        max_force_meV_per_A=float(forces.max()),
        stress_GPa=stress_GPa,
    )
