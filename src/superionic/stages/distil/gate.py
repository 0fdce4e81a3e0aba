"""The gate: what the students say on the teacher's own ground, and whether that will do.

A part of the stage *distil*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from superionic.execution.runner import Failure
from superionic.execution.task import Context, Task, task
from superionic.results.student import (
    Judgement,
    PairComparison,
    ParityPoints,
    RunComparison,
    StudentErrors,
    StudentParity,
)
from superionic.stages.base import ChosenPotential, FloatArray, IntArray, Workbench, failures_of, load
from superionic.stages.distil.data import ComparedRun, LabelledBatch, student_run
from superionic.training.committee import committee_mean, disagreement
from superionic.training.dataset import Targets
from superionic.training.distillation import PackedSet, PackedTargets, evenly, merge_sets, pack_labelled
from superionic.training.metrics import ErrorMetrics, errors
from superionic.training.pair_distances import Overlap, PairDistances, distance_overlap, pair_distances
from superionic.training.parity import (
    Criterion,
    DiffusivityPair,
    ParityLimits,
    Verdict,
    diffusivity_criteria,
    error_criteria,
    mean_volume,
    rms_force_eV_per_A,
    stability_criterion,
    structure_criterion,
    transfer_error,
    volume_criterion,
)
from superionic.transport.analysis import analyse_displacements

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil

KNOWN_AS = "superionic.stages.distil_gate"  # in keys, since before it moved here
_MOST_PARITY_FORCES = 1500
_RDF_RANGE_A = 8.0


def held_out_set(bench: Workbench, labels: Sequence[Task[LabelledBatch]]) -> Task[PackedSet]:
    """Build the task that puts the labels of the unseen frames together."""
    return bench.task("held-out set", merge_task.of(sets=[task.result.set for task in labels]))


def predictions_of(
    bench: Workbench, label: str, held_out: Task[PackedSet], students: Sequence[ChosenPotential]
) -> list[Task[PackedTargets]]:
    """Build the tasks in which each member evaluates the unseen frames."""
    return [
        bench.task(
            f"student {member + 1} on unseen frames {label}",
            predict_task.of(potential=student, set=held_out.result),
        )
        for member, student in enumerate(students)
    ]


def compared(
    settings: ResolvedDistil, bench: Workbench, runs: Sequence[ComparedRun], students: Sequence[ChosenPotential]
) -> tuple[list[tuple[ComparedRun, Task[RunComparison]]], list[Failure]]:
    """Let the students repeat the teacher's runs; build the comparisons of those that came to their end.

    Returns
    -------
    comparisons
        Run and task; a run that every member failed is missing.
    failures
        Members' runs that failed.
    """
    repeated = [
        [student_run(settings, bench, run, member, student) for member, student in enumerate(students)] for run in runs
    ]
    # NPT and NVT of a member do not read one another, so both are gathered.
    ends = [task for members in repeated for own in members for task in [*own.npt[-1:], own.last]]
    failed = {failure.key: failure for failure in failures_of(bench.runner.gather(ends))}
    comparisons = []
    for run, members in zip(runs, repeated, strict=True):
        sound = [own for own in members if not any(task.key in failed for task in [*own.npt[-1:], own.last])]
        if sound:
            comparisons.append((run, _comparison(settings, bench, run, sound)))
    return comparisons, list(failed.values())


def _comparison(
    settings: ResolvedDistil, bench: Workbench, run: ComparedRun, members: Sequence[ComparedRun]
) -> Task[RunComparison]:
    every = max(1, round(settings.save_every_fs / settings.timestep_fs))
    first = run.production[0].result
    return bench.task(
        f"comparison of {run.name}",
        compare_task.of(
            cells=first.cells_A,
            numbers=first.state.numbers,
            npt_cells=[[segment.result.cells_A for segment in one.npt] for one in (run, *members)],
            positions=[[segment.result.positions_A for segment in one.production] for one in (run, *members)],
            charge=bench.oxidation_states[bench.mobile_ion],
            frame_interval_ps=every * settings.timestep_fs * 1.0e-3,
            mobile_ion=bench.mobile_ion,
            npt_correlation_fraction=_correlation_fraction(settings),
            r_max_A=_RDF_RANGE_A,
            temperature_K=run.temperature_K,
        ),
    )


def _correlation_fraction(settings: ResolvedDistil) -> float:
    """Return the relaxation time of the barostat over the length of the NPT run."""
    if settings.npt_ps == 0:
        return 0.0
    return min(1.0, settings.barostat_time_fs * 1.0e-3 / settings.npt_ps)


def verdict_task_of(
    settings: ResolvedDistil,
    bench: Workbench,
    held_out: Task[PackedSet],
    predictions: Sequence[Task[PackedTargets]],
    first_predictions: Sequence[Task[PackedTargets]],
    comparisons: Sequence[tuple[ComparedRun, Task[RunComparison]]],
    failures: Sequence[Failure],
    clean_ps: Sequence[float],
) -> Task[Judgement]:
    """Build the task that judges."""
    limits = {field.name: getattr(settings.parity, field.name) for field in fields(ParityLimits)}
    return bench.task(
        "verdict",
        verdict_task.of(
            set=held_out.result,
            members=[task.result for task in predictions],
            first=[task.result for task in first_predictions],
            compared=[task.result for _, task in comparisons],
            names=[run.name for run, _ in comparisons],
            temperatures_K=[run.temperature_K for run, _ in comparisons],
            failures=[f"{failure.label}: {failure.reason}" for failure in failures],
            clean_ps=clean_ps,
            wanted_ps=settings.explore.clean_ps,
            explore_K=settings.explore.temperature_K,
            limits=ParityLimits(**limits),
        ),
    )


# ---- task functions -----------------------------------------------------------------------------------------------


@task(version=2)
def merge_task(_context: Context, *, sets: Sequence[PackedSet]) -> PackedSet:
    """Put labelled sets together."""
    return pack_labelled(merge_sets([packed.labelled for packed in sets]))


@task(version=1)
def predict_task(
    context: Context,
    *,
    potential: ChosenPotential,
    set: PackedSet,  # noqa: A002 - the data's own name
) -> PackedTargets:
    """Evaluate a set by a student."""
    student = load(potential, context)
    made = [student.evaluate(atoms) for atoms in set.structures]
    return PackedTargets(
        energies_eV=np.array([one.energy_eV for one in made]),
        forces_eV_per_A=np.concatenate([one.forces_eV_per_A for one in made]),
        stresses_eV_per_A3=np.array([one.stress_eV_per_A3 for one in made]),
    )


@task(version=5)
def compare_task(
    _context: Context,
    *,
    cells: FloatArray,
    numbers: IntArray,
    npt_cells: Sequence[Sequence[FloatArray]],
    positions: Sequence[Sequence[FloatArray]],
    charge: float,
    frame_interval_ps: float,
    mobile_ion: str,
    npt_correlation_fraction: float,
    r_max_A: float,
    temperature_K: float,
) -> RunComparison:
    """Compare one run of the teacher, the first, with the members' repetitions: distances, volumes, diffusivities."""
    cell = cells[0]
    joined = [np.concatenate(parts) for parts in positions]
    distances = [pair_distances(run, cell, numbers, r_max_A=r_max_A) for run in joined]
    analyses = [
        analyse_displacements(
            run,
            cell,
            numbers == atomic_numbers[mobile_ion],
            frame_interval_ps,
            temperature_K,
            charge,
            masses=atomic_masses[numbers],
        )
        for run in joined
    ]
    volumes = [
        mean_volume(np.concatenate(parts), len(numbers), correlation_fraction=npt_correlation_fraction)
        for parts in npt_cells
        if parts
    ]
    pairs = [_pair(teacher, [member[index] for member in distances[1:]]) for index, teacher in enumerate(distances[0])]
    return RunComparison(
        length_ps=(len(joined[0]) - 1) * frame_interval_ps,
        n_atoms=len(numbers),
        diffusivities_cm2_per_s=tuple(analysis.tracer_diffusivity_cm2_per_s for analysis in analyses),
        hops=tuple(int(analysis.n_hops) for analysis in analyses),
        volumes_A3_per_atom=tuple(volumes),
        pairs=tuple(pair for pair in pairs if pair is not None),
    )


def _pair(teacher: PairDistances, members: Sequence[PairDistances]) -> PairComparison | None:
    """Compare the distances of one pair of elements; None where such atoms are no neighbours."""
    overlaps = [overlap for member in members if (overlap := distance_overlap(teacher, member)) is not None]
    if not overlaps:
        return None
    return PairComparison(
        pair=teacher.pair,
        overlaps=tuple(overlap.overlap for overlap in overlaps),
        noise=max(overlap.noise for overlap in overlaps),
        r_A=_rounded(teacher.centres_A),
        teacher=_rounded(teacher.g),
        members=tuple(_rounded(member.g) for member in members),
    )


def _rounded(values: FloatArray) -> tuple[float, ...]:
    return tuple(np.round(values, 4).tolist())


@task(version=4)
def verdict_task(
    _context: Context,
    *,
    set: PackedSet,  # noqa: A002 - the data's own name
    members: Sequence[PackedTargets],
    first: Sequence[PackedTargets],
    compared: Sequence[RunComparison],
    names: Sequence[str],
    temperatures_K: Sequence[float],
    failures: Sequence[str],
    clean_ps: Sequence[float],
    wanted_ps: float,
    explore_K: float,
    limits: ParityLimits,
) -> Judgement:
    """Judge the students by all that was compared, and say what the transfer adds to the error."""
    teacher = set.labelled.targets
    predicted = [one.targets(set.n_atoms) for one in members]
    criteria, metrics = error_criteria(
        predicted,
        teacher,
        max_energy_rmse_meV_per_atom=limits.max_energy_rmse_meV_per_atom,
        max_force_error_ratio=limits.max_force_error_ratio,
        max_stress_rmse_GPa=limits.max_stress_rmse_GPa,
    )
    criteria.append(stability_criterion(clean_ps, wanted_ps, explore_K))
    equal, pairs = equal_run_criteria(
        compared,
        names,
        temperatures_K,
        failures,
        min_overlap=limits.min_overlap,
        max_volume_difference_percent=limits.max_volume_difference_percent,
    )
    return judgement(
        [*criteria, *equal], [one.targets(set.n_atoms) for one in first], metrics, predicted, teacher, pairs
    )


def equal_run_criteria(
    compared: Sequence[RunComparison],
    names: Sequence[str],
    temperatures_K: Sequence[float],
    failures: Sequence[str],
    *,
    min_overlap: float,
    max_volume_difference_percent: float,
) -> tuple[list[Criterion], list[DiffusivityPair]]:
    """Judge runs that teacher and students made alike: structure, volume, diffusivity.

    Returns
    -------
    criteria, pairs
        The criteria, and the diffusivities from which the error of the transfer follows.
    """
    runs = list(zip(names, temperatures_K, compared, strict=True))
    overlaps = {name: [Overlap(p.pair, min(p.overlaps), p.noise) for p in run.pairs] for name, _, run in runs}
    volumes = {
        name: (run.volumes_A3_per_atom[0], run.volumes_A3_per_atom[1:])
        for name, _, run in runs
        if run.volumes_A3_per_atom
    }
    pairs = [
        DiffusivityPair(name, temperature, run.diffusivities_cm2_per_s[0], run.diffusivities_cm2_per_s[1:], run.hops)
        for name, temperature, run in runs
    ]
    criteria = [
        Criterion(
            "runs that repeat the teacher's",
            not failures,
            f"{len(failures)} failed, the first: {failures[0]}" if failures else "none failed",
        ),
        structure_criterion(overlaps, min_overlap=min_overlap),
        volume_criterion(volumes, max_difference_percent=max_volume_difference_percent),
        *diffusivity_criteria(pairs),
    ]
    return criteria, pairs


def judgement(
    criteria: Sequence[Criterion],
    first: Sequence[Targets],
    metrics: Sequence[ErrorMetrics],
    predicted: Sequence[Targets],
    teacher: Targets,
    pairs: Sequence[DiffusivityPair],
) -> Judgement:
    """Put a verdict together with what it goes by.

    Parameters
    ----------
    criteria
        All that was judged.
    first
        What each member said after its first training; empty where there was one training only.
    metrics
        Errors of each member.
    predicted, teacher
        What each member, and the teacher, says of the same frames.
    pairs
        Diffusivities in equal runs.
    """
    mean = committee_mean(predicted)
    forces, by_teacher = (np.concatenate(one.forces_eV_per_A).ravel() for one in (mean, teacher))
    shown = evenly(len(by_teacher), _MOST_PARITY_FORCES)
    return Judgement(
        verdict=Verdict(tuple(criteria)),
        errors=StudentErrors(
            first=tuple(errors(one, teacher) for one in first),
            after=tuple(metrics),
            after_mean=errors(mean, teacher),
            rms_force_meV_per_A=1.0e3 * rms_force_eV_per_A(teacher),
        ),
        parity=StudentParity(
            energy_eV_per_atom=ParityPoints(
                teacher=tuple((teacher.energies_eV / teacher.n_atoms).tolist()),
                student=tuple((mean.energies_eV / mean.n_atoms).tolist()),
            ),
            force_eV_per_A=ParityPoints(
                teacher=tuple(by_teacher[shown].tolist()), student=tuple(forces[shown].tolist())
            ),
        ),
        committee=disagreement(predicted).summary() if len(predicted) > 1 else None,
        transfer=transfer_error(pairs),
    )
