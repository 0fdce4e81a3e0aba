"""Predictions of a potential for many structures, as training and validation need them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.execution.task import Context, Task, task
from superionic.stages.base import ChosenPotential, Workbench, load
from superionic.training.dataset import Targets


def predictions(bench: Workbench, label: str, structures: Sequence[Atoms], potential: ChosenPotential) -> Task[Targets]:
    """Build the task that evaluates a potential on many structures, given as parts of results."""
    return bench.task(label, predict_task.of(potential=potential, atoms=structures))


# ---- task functions -------------------------------------------------------------------------------------------------


@task(version=1)
def predict_task(context: Context, *, potential: ChosenPotential, atoms: Sequence[Atoms]) -> Targets:
    """Evaluate energies, forces and stresses of structures."""
    loaded = load(potential, context)
    evaluated = []
    for done, structure in enumerate(atoms, 1):
        try:
            evaluated.append(loaded.evaluate(structure))
        except CalculationFailed as failure:
            which = f"structure number {done - 1} ({structure.get_chemical_formula()})"
            raise CalculationFailed(f"{which}: {failure.reason}", failure.details) from failure
        context.progress(done / len(atoms), "structures")
    return Targets(
        np.array([prediction.energy_eV for prediction in evaluated]),
        tuple(np.array(prediction.forces_eV_per_A) for prediction in evaluated),
        np.array([prediction.stress_eV_per_A3 for prediction in evaluated]),
    )
