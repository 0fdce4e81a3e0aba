"""Predictions of a potential for many structures, as training and validation need them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.execution.task import Context, Task, task
from superionic.potentials.base import evaluate_each
from superionic.potentials.repulsion import RepulsionCurve, repulsion_curves
from superionic.stages.base import ChosenPotential, Workbench, load
from superionic.training.dataset import Targets

_TIMED = 3


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


@dataclass(frozen=True)
class Repulsion:
    """Curves of the pairs of elements in one structure."""

    curves: tuple[RepulsionCurve, ...]


@task(version=1)
def repulsion_task(context: Context, *, potential: ChosenPotential, atoms: Atoms, step_A: float) -> Repulsion:
    """Push the nearest two atoms of each pair of elements together."""
    return Repulsion(repulsion_curves(atoms, load(potential, context), step_A=step_A, progress=context.progress))


@dataclass(frozen=True)
class TimedPredictions:
    """Predictions of a potential for structures, and their cost.

    Attributes
    ----------
    targets
        Energies, forces and stresses of the structures whose evaluation succeeded.
    evaluated
        Indices of these structures.
    failures
        Reasons of failure of the others.
    cpu_s_per_atom
        CPU time of an evaluation after loading and compilation, per atom.
    """

    targets: Targets
    evaluated: tuple[int, ...]
    failures: tuple[str, ...]
    cpu_s_per_atom: float


@task(version=1)
def timed_task(context: Context, *, potential: ChosenPotential, atoms: Sequence[Atoms]) -> TimedPredictions:
    """Evaluate structures, where failures do not affect the others, and time repeated evaluations of one of them."""
    loaded = load(potential, context)
    predicted, evaluated, failures = [], [], []
    for number, outcome in enumerate(evaluate_each(loaded, atoms)):
        if isinstance(outcome, CalculationFailed):
            failures.append(outcome.reason)
        else:
            predicted.append(outcome)
            evaluated.append(number)
        context.progress((number + 1) / len(atoms), "structures")
    # As in dynamics: a structure that moves a little, after a first evaluation that compiles and builds lists.
    timed = [atoms[evaluated[0]].copy() for _ in range(_TIMED)] if evaluated else []
    for seed, structure in enumerate(timed):
        structure.rattle(0.01, seed=seed)
    for structure in timed[:1]:
        loaded.evaluate(structure)
    began = time.process_time()
    for structure in timed:
        loaded.evaluate(structure)
    spent_s = time.process_time() - began
    targets = Targets(
        np.array([prediction.energy_eV for prediction in predicted]),
        tuple(np.array(prediction.forces_eV_per_A) for prediction in predicted),
        np.array([prediction.stress_eV_per_A3 for prediction in predicted]).reshape(-1, 6),
    )
    return TimedPredictions(
        targets, tuple(evaluated), tuple(failures), spent_s / max(sum(len(structure) for structure in timed), 1)
    )
