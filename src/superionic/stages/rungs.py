"""The potentials of all rungs of a ladder on the same test sets, and the best rung (paper B, figures 2b and c)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from superionic.execution.task import Context, Task, task
from superionic.results.learning import LabelledTestSet, RungComparison, RungErrors, SetEnergies
from superionic.stages.base import ChosenPotential, Snapshot, Workbench
from superionic.stages.fitting import Data, Dataset
from superionic.stages.predictions import predictions
from superionic.training.dataset import ElementReferences, LabelledSet, Targets, composition_of
from superionic.training.metrics import ErrorMetrics, errors

HELD_OUT: Final = "held-out labels"
ORDERINGS: Final = "orderings"
END_MEMBERS: Final = "runs of sampled compositions"
MIXTURES: Final = "runs of other compositions"


@dataclass(frozen=True)
class Rung:
    """The potential of a rung.

    Attributes
    ----------
    round
        Number of its round, from 1; 0 for the pretrained potential.
    temperature_K
        Temperature of its sampling; None for the pretrained potential.
    potential
        The potential, without dispersion of its own.
    dataset
        The data it was trained on, whose energies of the elements bring labels to its zero; that of the last rung for
        the pretrained one.
    """

    round: int
    temperature_K: float | None
    potential: ChosenPotential
    dataset: Task[Dataset]


@dataclass(frozen=True)
class ErrorsOfRungs:
    """What the rungs, in their order, predict for the test sets.

    Attributes
    ----------
    errors
        Errors of each rung on each set, in their order; None where a set has no energy that can be compared.
    labels_eV_per_atom, predicted_eV_per_atom
        Energies of all structures by the labels, and by each rung at the zero of the labels; None where a rung has
        seen no label with one of the elements.
    """

    errors: tuple[tuple[ErrorMetrics | None, ...], ...]
    labels_eV_per_atom: tuple[float, ...]
    predicted_eV_per_atom: tuple[tuple[float | None, ...], ...]


def run(
    bench: Workbench, rungs: Sequence[Rung], sets: Mapping[str, Sequence[Snapshot]], *, goes_on: str
) -> RungComparison:
    """Compare the potentials of all rungs on labelled test sets.

    Parameters
    ----------
    bench
        The workbench of the stage whose tasks these are.
    rungs
        The pretrained potential and those of the rungs, in their order.
    sets
        Labelled snapshots, none of which any rung was trained on, by the name of their set.
    goes_on
        ``"last"`` or ``"best"``: the rung whose potential goes on.
    """
    compared = errors_on_sets(bench, "rungs", [(_words(rung), rung.potential, rung.dataset) for rung in rungs], sets)
    found = bench.runner.one(compared)
    rows = tuple(
        RungErrors(rung.round, rung.temperature_K, name, measured)
        for rung, of_rung in zip(rungs, found.errors, strict=True)
        for name, measured in zip(sets, of_rung, strict=True)
        if measured is not None
    )
    best = best_round(rows)
    last = rungs[-1].round
    return RungComparison(
        sets=described(sets),
        errors=rows,
        energies=_energies(found, sets),
        best=best,
        goes_on=best if goes_on == "best" and best is not None else last,
        key=compared.key,
    )


def errors_on_sets(
    bench: Workbench,
    of: str,
    potentials: Sequence[tuple[str, ChosenPotential, Task[Dataset]]],
    sets: Mapping[str, Sequence[Snapshot]],
) -> Task[ErrorsOfRungs]:
    """Build the task of the errors of several potentials on the same labelled test sets.

    Parameters
    ----------
    of
        What the potentials are, for the label of the task.
    potentials
        Each with its name in labels and the data it was trained on (:class:`Rung`).
    sets
        Labelled snapshots by the name of their set; one that is empty has no errors.
    """
    data = Data.of([snapshot for snapshots in sets.values() for snapshot in snapshots])
    predicted = [
        predictions(bench, f"predictions of {words} for the test sets", data.atoms, potential)
        for words, potential, _ in potentials
    ]
    call = rung_errors_task.of(
        data=data,
        predicted=[each.result for each in predicted],
        references=[dataset.result.element_references for _, _, dataset in potentials],
        sets=[name for name, snapshots in sets.items() for _ in snapshots],
    )
    return bench.task(f"errors of all {of}", call)


def described(sets: Mapping[str, Sequence[Snapshot]]) -> tuple[LabelledTestSet, ...]:
    """Describe test sets."""
    return tuple(
        LabelledTestSet(
            name,
            len(snapshots),
            tuple(sorted({snapshot.formula for snapshot in snapshots})),
            tuple(sorted({s.temperature_K for s in snapshots if s.temperature_K is not None})),
        )
        for name, snapshots in sets.items()
    )


def _energies(found: ErrorsOfRungs, sets: Mapping[str, Sequence[Snapshot]]) -> tuple[SetEnergies, ...]:
    energies, start = [], 0
    for name, snapshots in sets.items():
        members = slice(start, start + len(snapshots))
        start = members.stop
        energies.append(
            SetEnergies(
                name,
                tuple(snapshot.formula for snapshot in snapshots),
                found.labels_eV_per_atom[members],
                tuple(of_rung[members] for of_rung in found.predicted_eV_per_atom),
            )
        )
    return tuple(energies)


def best_round(rows: Sequence[RungErrors]) -> int | None:
    """Return the round of the rung with the smallest errors over all sets; None without any.

    Each mean absolute error (energy, forces, stress) of each set is divided by the smallest of all rungs, and the
    geometric mean of these ratios decides, so that no unit and no set outweighs the others; of equals the later rung.
    The pretrained potential takes no part.
    """
    values: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        if row.round == 0:
            continue
        for name in ("mae_energy_meV_per_atom", "mae_force_meV_per_A", "mae_stress_GPa"):
            value = getattr(row.errors, name)
            if value is not None:
                values.setdefault((row.set, name), {})[row.round] = value
    rounds = sorted({row.round for row in rows if row.round > 0})
    whole = [of_rung for of_rung in values.values() if len(of_rung) == len(rounds) and min(of_rung.values()) > 0.0]
    if not rounds:
        return None
    scores = {n: sum(math.log(each[n] / min(each.values())) for each in whole) for n in rounds}
    return min(rounds, key=lambda n: (round(scores[n], 12), -n))


def evenly_between(number: int, count: int) -> list[int]:
    """Return indices of `count` of `number` things in a row, evenly spread between its ends: 2, 5, 8 for 3 of 11."""
    count = min(number, count)
    return [round((k + 1) * (number + 1) / (count + 1)) - 1 for k in range(count)]


def _words(rung: Rung) -> str:
    return "the pretrained potential" if rung.temperature_K is None else f"the rung of {rung.temperature_K:g} K"


@task(version=2)
def rung_errors_task(
    _context: Context,
    *,
    data: Data,
    predicted: Sequence[Targets],
    references: Sequence[ElementReferences],
    sets: Sequence[str],
) -> ErrorsOfRungs:
    """Calculate the errors of each rung on each set, after the labels were brought to the rung's zero of energy."""
    compositions = [composition_of(structure) for structure in data.atoms]
    n_atoms = [len(structure) for structure in data.atoms]
    names = list(dict.fromkeys(sets))
    table, predictions_eV = [], []
    for targets, energies in zip(predicted, references, strict=True):
        known = [set(counts) <= set(energies.eV_per_atom) for counts in compositions]
        shifts = [
            float(energies.energies_eV([counts])[0]) if has_all else math.nan
            for counts, has_all in zip(compositions, known, strict=True)
        ]
        labels = LabelledSet.from_labels(data.atoms, data.labels, energy_shifts_eV=shifts).targets
        row: list[ErrorMetrics | None] = []
        for name in names:
            members = [i for i, of in enumerate(sets) if of == name and np.isfinite(shifts[i])]
            row.append(errors(targets.subset(members), labels.subset(members)) if members else None)
        table.append(tuple(row))
        per_atom = (targets.energies_eV + np.array(shifts)) / n_atoms
        predictions_eV.append(tuple(float(energy) if np.isfinite(energy) else None for energy in per_atom))
    labels_eV = tuple(label.energy_eV / n for label, n in zip(data.labels, n_atoms, strict=True))
    return ErrorsOfRungs(tuple(table), labels_eV, tuple(predictions_eV))
