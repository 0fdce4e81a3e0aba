"""Study of training: a comparison of ways to train, with a test of forgetting and a test of stability."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms

from superionic.dynamics.md import Limits, MDSettings, initial_state, run_segment
from superionic.errors import CalculationFailed, CampaignFileError, StageError
from superionic.execution.runner import Outcome
from superionic.execution.task import Context, Task, task
from superionic.results.learning import ErrorsApart
from superionic.results.studies import CompareRow, Comparison, StabilityRun, StabilityTest
from superionic.stages.base import ChosenPotential, load
from superionic.stages.predictions import predictions
from superionic.stages.replay import Structures, predicted_task
from superionic.stages.studies import Fit, Study, all_options, train, training_seed
from superionic.training.dataset import Targets
from superionic.training.metrics import ErrorMetrics
from superionic.training.metrics import errors as errors_of


@dataclass(frozen=True)
class _Entrant:
    """One row of the comparison: its tasks."""

    method: str
    seed: int
    fitted: Fit | None
    forgotten: Task[ErrorMetrics] | None
    run: Task[StabilityRun] | None

    @property
    def tasks(self) -> list[Task[Any]]:
        """The tasks on which its row depends."""
        errors = None if self.fitted is None else self.fitted.errors
        return [one for one in (errors, self.forgotten, self.run) if one is not None]


def choose_methods(trainer: str, names: Sequence[str] | None = None) -> dict[str, Mapping[str, Any]]:
    """Return the ways of training of a trainer by name; all of them by default.

    Raises
    ------
    CampaignFileError
        If there is no such trainer, or it lacks one of the ways.
    """
    from superionic.registry import trainable

    trainers = trainable()
    if trainer not in trainers:
        raise CampaignFileError(
            f"There is no trainer for {trainer!r}.", where="--engine", fix=f"use one of: {', '.join(trainers)}"
        )
    known = trainers[trainer].methods
    for name in names or ():
        if name not in known:
            raise CampaignFileError(
                f"{trainer} has no way of training called {name!r}", where="--methods", fix=f"use: {', '.join(known)}"
            )
    return {name: known[name] for name in (names or known)}


def compare(
    study: Study,
    methods: Mapping[str, Mapping[str, Any]],
    *,
    others: str | None = None,
    stability: StabilityTest | None = None,
    seeds: int = 1,
) -> Comparison:
    """Train in several ways on the same labels with the same budget, and compare the results.

    Parameters
    ----------
    methods
        Options of each method that differ, by name (``methods`` of :class:`superionic.registry.Model`).
    others
        Stored name of a file with structures of other chemistries, for the test of forgetting; by default the
        built-in set.
    stability
        A run of the first test structure; None to skip it.
    seeds
        Number of trainings of each method.
    """
    from superionic.training.base import NEEDS_REPLAY

    bench = study.bench
    foreign = bench.task(
        "structures of other chemistries",
        others_task.of(file=others, elements=study.potential.identity.elements, seed=study.seed),
    )
    parts = [foreign.result.atoms[i] for i in range(len(bench.runner.one(foreign).atoms))]
    # Half of the structures are replay data and half the test, so that no multi-head training is tested on its replay.
    replayed, tested = parts[::2], parts[1::2]
    own = predictions(bench, "replay before training", replayed, study.potential)
    before = predictions(bench, "judge before training", tested, study.potential)
    replay = bench.task("replay data", predicted_task.of(atoms=replayed, targets=own.result))
    fits: list[tuple[str, int, Fit | None]] = [("pretrained", 0, None)]
    for name, changes in methods.items():
        for number in range(seeds):
            fitted = train(
                study,
                f"{name}, seed {number + 1}",
                study.split.train,
                all_options(study, changes),
                training_seed(study, number),
                replay.result if name == NEEDS_REPLAY else None,
            )
            fits.append((name, number, fitted))
    entrants = []
    for name, number, entered in fits:
        potential = study.potential if entered is None else entered.tuned
        label = name if entered is None else entered.label
        forgotten: Task[ErrorMetrics] | None = None
        if (
            methods.get(name, {}).get("mode") != "scratch"
        ):  # a new network of MACE knows only the elements of its labels
            after = predictions(bench, f"other chemistries after {label}", tested, potential)
            call = forgotten_task.of(after=after.result, before=before.result)
            forgotten = bench.task(f"forgotten by {label}", call)
        run: Task[StabilityRun] | None = None
        if stability is not None:
            first = study.data.atoms[(study.split.test or study.split.validation)[0]]
            hot = stability_task.of(potential=potential, how=stability, seed=study.seed, atoms=first)
            run = bench.task(f"stability of {label}", hot)
        entrants.append(_Entrant(name, number, entered, forgotten, run))
    bench.runner.gather([one for entrant in entrants for one in entrant.tasks])
    return Comparison(
        rows=tuple(_row(study, entrant, entrants) for entrant in entrants),
        by=_apart(study, entrants),
        n_others=len(tested),
        n_replay=len(replayed),
        n_test=len(study.split.test),
        options=all_options(study),
        stability=stability,
        notes=study.split.notes,
    )


def _row(study: Study, entrant: _Entrant, entrants: Sequence[_Entrant]) -> CompareRow:
    runner = study.bench.runner
    row = CompareRow(entrant.method, entrant.seed)
    if entrant.fitted is None:
        trained = next(other.fitted for other in entrants if other.fitted is not None)
        outcome = runner.gather([trained.errors])[0]
        row = replace(row, errors=outcome.value.before if outcome.ok else None)
    else:
        outcome = runner.gather([entrant.fitted.errors])[0]
        if outcome.failure is not None:
            return replace(row, failed=outcome.failure.reason)
        ended = runner.one(entrant.fitted.finish)
        row = replace(row, best_epoch=ended.best_epoch, epochs=ended.epochs, errors=outcome.value.after)
    return replace(
        row,
        forgotten=None if entrant.forgotten is None else runner.one(entrant.forgotten),
        run=None if entrant.run is None else _ended(runner.gather([entrant.run])[0]),
    )


def _apart(study: Study, entrants: Sequence[_Entrant]) -> dict[str, tuple[ErrorsApart, ...]]:
    fits = [entrant.fitted for entrant in entrants if entrant.fitted is not None]
    outcomes = study.bench.runner.gather([fitted.errors for fitted in fits])
    return {fitted.label: outcome.value.by for fitted, outcome in zip(fits, outcomes, strict=True) if outcome.ok}


def _ended(outcome: Outcome[StabilityRun]) -> StabilityRun:
    if outcome.failure is not None:
        return StabilityRun(stable=False, stable_ps=0.0, stopped=outcome.failure.reason, mean_temperature_K=math.nan)
    return outcome.value


# ---- task functions -------------------------------------------------------------------------------------------------


@task(version=2)
def others_task(_context: Context, *, file: str | None, elements: Sequence[str], seed: int) -> Structures:
    """Return structures of other chemistries covered by the potential, from a file or the built-in set."""
    from superionic.training.forgetting import other_chemistries

    if file is None:
        structures = other_chemistries(seed, elements)
    else:
        from ase.io import read

        structures = [atoms for atoms in read(file, index=":") if atoms.pbc.all()]
        for atoms in structures:
            atoms.calc = None
    if len(structures) < 2:
        raise StageError(
            "there are too few structures of other chemistries for a forgetting test", fix="give a file with more"
        )
    return Structures(tuple(structures))


@task(version=2)
def forgotten_task(_context: Context, *, after: Targets, before: Targets) -> ErrorMetrics:
    """Compare predictions on other chemistries after training with those before."""
    return errors_of(after, before)


@task(version=2)
def stability_task(
    context: Context, *, potential: ChosenPotential, how: StabilityTest, seed: int, atoms: Atoms
) -> StabilityRun:
    """Run at high temperature, and report whether the run was stable to its end."""
    driver = load(potential, context)
    md = MDSettings(temperature_K=how.temperature_K, thermostat="csvr", timestep_fs=how.timestep_fs, save_every=20)
    n_steps = max(1, round(1000.0 * how.length_ps / md.timestep_fs))
    state, done, stopped = initial_state(atoms, md, seed % 2**32), 0, None
    temperatures: list[float] = []
    while done < n_steps and stopped is None:
        n = min(250, n_steps - done)
        try:
            segment = run_segment(state, driver, md, n, limits=Limits())
        except CalculationFailed as failure:
            stopped = failure.reason
            break
        state, done = segment.state, done + n
        temperatures += [float(t) for t in segment.temperatures_K]
        stopped = segment.stopped
        context.progress(done / n_steps, f"{done} of {n_steps} steps")
    return StabilityRun(
        stable=stopped is None,
        stable_ps=done * md.timestep_fs * 1.0e-3,
        stopped=stopped or "",
        mean_temperature_K=float(np.mean(temperatures)) if temperatures else math.nan,
    )
