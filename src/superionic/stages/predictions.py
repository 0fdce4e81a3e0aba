"""Predictions of a potential for many structures: what training starts from and what validation compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import ChosenPotential, Workbench, potential_of

_PREDICT_VERSION = 1


def predictions(
    bench: Workbench, stage: str, label: str, structures: Sequence[Ref], potential: ChosenPotential
) -> Task:
    """Build the task that evaluates a potential on many structures."""
    return bench.task(
        stage,
        label,
        "superionic.stages.predictions:predict_task",
        _PREDICT_VERSION,
        {},
        {"atoms": structures},
        potential=potential,
    )


# ---- task functions -----------------------------------------------------------------------------------------------


def predict_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Evaluate energies, forces and stresses of structures."""
    import numpy as np

    potential = potential_of(settings, inputs, context)
    energies, forces, stresses = [], [], []
    for done, atoms in enumerate(inputs["atoms"]):
        prediction = potential.evaluate(atoms)
        energies.append(prediction.energy_eV)
        forces.append(np.array(prediction.forces_eV_per_A))
        stresses.append(np.array(prediction.stress_eV_per_A3))
        context.progress((done + 1) / len(inputs["atoms"]), "structures")
    return {"energies_eV": np.array(energies), "forces_eV_per_A": forces, "stresses_eV_per_A3": np.array(stresses)}
