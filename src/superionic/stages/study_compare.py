"""Study of training: a comparison of ways to train, with tests of forgetting, of stability and of the repulsion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms

from superionic.dynamics.md import Limits, MDSettings, Segment, initial_state, run_segment
from superionic.errors import CampaignFileError, StageError
from superionic.execution.runner import Outcome
from superionic.execution.task import Context, Task, task
from superionic.results.learning import ErrorsApart
from superionic.results.studies import CompareRow, Comparison, LabelledDistances, StabilityRun, StabilityTest
from superionic.stages.base import ChosenPotential, FloatArray, load
from superionic.stages.predictions import Repulsion, predictions, repulsion_task
from superionic.stages.replay import Structures, predicted_task
from superionic.stages.studies import Fit, Study, all_options, train, training_seed
from superionic.training.dataset import Targets
from superionic.training.metrics import ErrorMetrics
from superionic.training.metrics import errors as errors_of
from superionic.training.pair_distances import distance_overlap, pair_distances
from superionic.transport.observables.framework import Framework

_SEGMENT_STEPS = 250
_REPULSION_STEP_A = 0.1


@dataclass(frozen=True)
class _Entrant:
    """One row of the comparison: its tasks."""

    method: str
    seed: int
    fitted: Fit | None
    forgotten: Task[ErrorMetrics] | None
    run: Task[StabilityRun] | None
    repulsion: Task[Repulsion]

    @property
    def tasks(self) -> list[Task[Any]]:
        """The tasks on which its row depends."""
        errors = None if self.fitted is None else self.fitted.errors
        return [one for one in (errors, self.forgotten, self.run, self.repulsion) if one is not None]


@dataclass(frozen=True)
class _Tests:
    """What every potential goes through.

    Attributes
    ----------
    others, before
        Structures of other chemistries, and the pretrained potential's predictions for them.
    stability, start
        The hot run, and the structure from which it starts.
    pushed
        Index of the structure in which pairs are pushed together.
    """

    others: Sequence[Atoms]
    before: Task[Targets]
    stability: StabilityTest | None
    start: Atoms
    pushed: int

    def entrant(self, study: Study, method: str, seed: int, fitted: Fit | None, *, forgets: bool) -> _Entrant:
        """Build the tasks of one potential."""
        bench = study.bench
        potential = study.potential if fitted is None else fitted.tuned
        label = method if fitted is None else fitted.label
        forgotten: Task[ErrorMetrics] | None = None
        if forgets:
            after = predictions(bench, f"other chemistries after {label}", self.others, potential)
            call = forgotten_task.of(after=after.result, before=self.before.result)
            forgotten = bench.task(f"forgotten by {label}", call)
        run: Task[StabilityRun] | None = None
        if self.stability is not None:
            hot = stability_task.of(potential=potential, how=self.stability, seed=study.seed, atoms=self.start)
            run = bench.task(f"stability of {label}", hot)
        pushed = repulsion_task.of(potential=potential, atoms=study.data.atoms[self.pushed], step_A=_REPULSION_STEP_A)
        repulsion = bench.task(f"repulsion by {label}", pushed)
        return _Entrant(method, seed, fitted, forgotten, run, repulsion)


def choose_methods(trainer: str, names: Sequence[str] | None = None) -> dict[str, Mapping[str, Any]]:
    """Return the ways of training of a trainer by name; all of them by default.

    Raises
    ------
    CampaignFileError
        If there is no such trainer, or it lacks one of the ways.
    """
    from superionic.registry import DELTA, trainable

    trainers = trainable()
    if trainer not in (DELTA, *trainers):
        raise CampaignFileError(
            f"There is no trainer for {trainer!r}.",
            where="--engine",
            fix=f"use --trainer {DELTA}, which corrects any potential, or one of: {', '.join(trainers)}",
        )
    known = {DELTA: {}} if trainer == DELTA else trainers[trainer].methods
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

    Every potential, the pretrained one included, pushes pairs of atoms together in the label of the smallest forces,
    which shows whether its repulsion has a hole (paper A, figures S6 and S7).

    Parameters
    ----------
    methods
        Options of each method that differ, by name (``methods`` of :class:`superionic.registry.Model`).
    others
        Stored name of a file with structures of other chemistries, for the test of forgetting; by default the
        built-in set.
    stability
        A run of the first test structure, the same for all; None to skip it. Without a mobile ion, it is the first of
        those that usually conduct.
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
    labelled = None
    first = (study.split.test or study.split.validation)[0]
    if stability is not None:
        stability = _with_mobile_ion(study, stability, first)
        labelled = _labelled(study, stability.temperature_K, first)
    tests = _Tests(tested, before, stability, study.data.atoms[first], _least_forces(study))
    # A new network of MACE knows only the elements of its labels.
    entrants = [
        tests.entrant(study, name, number, entered, forgets=methods.get(name, {}).get("mode") != "scratch")
        for name, number, entered in fits
    ]
    bench.runner.gather([one for entrant in entrants for one in entrant.tasks])
    distances = None if labelled is None else bench.runner.one(labelled)
    return Comparison(
        rows=tuple(_row(study, entrant, entrants, distances) for entrant in entrants),
        by=_apart(study, entrants),
        n_others=len(tested),
        n_replay=len(replayed),
        n_test=len(study.split.test),
        options=all_options(study),
        stability=stability,
        labelled=distances,
        pushed_label=tests.pushed,
        notes=study.split.notes,
    )


def _with_mobile_ion(study: Study, stability: StabilityTest, first: int) -> StabilityTest:
    """Return the test with a mobile ion of the structure that it starts from.

    Raises
    ------
    CampaignFileError
        If the structure does not hold the stated one.
    """
    from superionic.structures.crystal.oxidation import MOBILE_IONS

    symbols = sorted(set(study.bench.runner.one(study.read).atoms[first].get_chemical_symbols()))
    if not stability.mobile_ion:
        return replace(stability, mobile_ion=next((ion for ion in MOBILE_IONS if ion in symbols), ""))
    if stability.mobile_ion not in symbols:
        raise CampaignFileError(
            f"There is no {stability.mobile_ion} in the structure of the stability test.",
            where="--mobile",
            fix=f"use one of: {', '.join(symbols)}",
        )
    return stability


def _labelled(study: Study, temperature_K: float, first: int) -> Task[LabelledDistances]:
    """Build the task of distances in the labels of the composition that runs, at the temperature nearest to theirs."""
    stated = {fact.temperature_K for fact in study.facts if fact.composition == study.facts[first].composition}
    nearest = min((t for t in stated if t is not None), key=lambda t: abs(t - temperature_K), default=None)
    same = [
        number
        for number, fact in enumerate(study.facts)
        if fact.composition == study.facts[first].composition and nearest in (None, fact.temperature_K)
    ]
    call = labelled_distances_task.of(
        atoms=[study.data.atoms[number] for number in same], run=study.data.atoms[first], temperature_K=nearest
    )
    return study.bench.task("distances in the labels", call)


def _least_forces(study: Study) -> int:
    labels = study.bench.runner.one(study.read).labels
    return int(np.argmin([float(np.square(label.forces_eV_per_A).mean()) for label in labels]))


def _row(
    study: Study, entrant: _Entrant, entrants: Sequence[_Entrant], labelled: LabelledDistances | None
) -> CompareRow:
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
    run = None if entrant.run is None else _ended(runner.gather([entrant.run])[0])
    pairs = zip(labelled.distances, run.distances, strict=True) if labelled and run and run.distances else ()
    overlaps = [distance_overlap(ours, theirs) for ours, theirs in pairs]
    return replace(
        row,
        forgotten=None if entrant.forgotten is None else runner.one(entrant.forgotten),
        run=run,
        overlaps=tuple(overlap for overlap in overlaps if overlap is not None),
        repulsion=runner.one(entrant.repulsion).curves,
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


@task(version=3)
def stability_task(
    context: Context, *, potential: ChosenPotential, how: StabilityTest, seed: int, atoms: Atoms
) -> StabilityRun:
    """Run at high temperature, and report whether the run was stable to its end, and how near atoms came."""
    driver = load(potential, context)
    md = MDSettings(temperature_K=how.temperature_K, thermostat="csvr", timestep_fs=how.timestep_fs, save_every=20)
    n_steps = max(1, round(1000.0 * how.length_ps / md.timestep_fs))
    state = initial_state(atoms, md, seed % 2**32)
    segments: list[Segment] = []
    while state.step < n_steps and not (segments and segments[-1].stopped):
        n = min(_SEGMENT_STEPS, n_steps - state.step)
        segments.append(run_segment(state, driver, md, n, limits=Limits(keep_frames=True)))
        state = segments[-1].state
        context.progress(state.step / n_steps, f"{state.step} of {n_steps} steps")
    stopped = segments[-1].stopped
    positions = np.concatenate([segment.positions_A for segment in segments])
    run = StabilityRun(
        stable=stopped is None,
        stable_ps=state.step * md.timestep_fs * 1.0e-3,
        stopped=stopped or "",
        mean_temperature_K=math.nan,
    )
    if len(positions) == 0:
        return run
    conserved = [each.conserved_eV for each in segments if each.conserved_eV is not None]
    return replace(
        run,
        mean_temperature_K=float(np.mean(np.concatenate([segment.temperatures_K for segment in segments]))),
        drift_meV_per_atom=1000.0 * float(conserved[-1][-1] - conserved[0][0]) / len(atoms) if conserved else None,
        off_sites=_most_off_sites(atoms, positions, how.mobile_ion),
        distances=tuple(pair_distances(positions, atoms.cell.array, atoms.numbers)),
    )


def _most_off_sites(atoms: Atoms, positions_A: FloatArray, mobile_ion: str) -> float | None:
    """Return the largest share of the framework off its sites in any frame (n_frames, n_atoms, 3)."""
    ions = np.flatnonzero(np.array(atoms.get_chemical_symbols()) != mobile_ion)
    if len(ions) == 0:
        return None
    framework = Framework(atoms.positions[ions], atoms.cell.array, atoms.numbers[ions])
    return max(float(framework.off_sites(frame[ions], atoms.cell.array).left.mean()) for frame in positions_A)


@task(version=1)
def labelled_distances_task(
    _context: Context, *, atoms: Sequence[Atoms], run: Atoms, temperature_K: float | None
) -> LabelledDistances:
    """Count the distances in those structures that consist of the same atoms as the one that runs."""
    numbers = np.sort(run.numbers)
    same = [each for each in atoms if np.array_equal(np.sort(each.numbers), numbers)]
    positions = np.array([each.positions[np.argsort(each.numbers, kind="stable")] for each in same])
    cells = np.array([each.cell.array for each in same])
    return LabelledDistances(len(same), temperature_K, tuple(pair_distances(positions, cells, numbers)))
