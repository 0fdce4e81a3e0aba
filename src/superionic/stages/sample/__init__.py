"""Stage *sample*: molecular dynamics of the selected orderings, and snapshots of it for labelling.

A run stopped by the monitors is not lost: the part before the stop is sampled like any other, its last frames are among
the snapshots, and the result says why it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from superionic.dynamics.monitors import Limits
from superionic.errors import CalculationFailed
from superionic.execution.task import ArgumentGroup, Context, Task, task
from superionic.results.identity import Run
from superionic.results.learning import Exploration, SampledRun, SampleResult
from superionic.stages.base import (
    Candidate,
    ChosenPotential,
    FloatArray,
    IntArray,
    Snapshot,
    WithSnapshots,
    Workbench,
    failures_of,
    load,
    nothing_left,
)
from superionic.stages.chains import Chain, Phase, chain, md_settings
from superionic.stages.sample.choice import (
    BEFORE_THE_STOP,
    Frames,
    choose,
    last_frames,
    needs_committee,
    needs_potential,
)

if TYPE_CHECKING:
    from superionic.settings.learn import ActiveSettings
    from superionic.settings.sample import SampleSettings


@dataclass(frozen=True)
class ChosenFrames:
    """Frames of one run, as structures to be labelled.

    Attributes
    ----------
    frames
        Indices of their frames.
    chosen_by
        Number of frames chosen by each method.
    explored
        Disagreement of the committee in the run; None in plain sampling.
    flags
        Cautions, in sentences.
    mean_temperature_K
        Mean over its production; None if that has no frame.
    n_frames
        Number of frames of its production.
    stopped
        Why it ended early; None if it did not.
    """

    snapshots: tuple[Atoms, ...]
    frames: tuple[int, ...]
    chosen_by: Mapping[str, int]
    explored: Exploration | None
    flags: tuple[str, ...]
    mean_temperature_K: float | None
    n_frames: int
    stopped: str | None


def run(
    settings: SampleSettings,
    bench: Workbench,
    candidates: Sequence[Candidate],
    potential: ChosenPotential,
    temperature_K: float,
    *,
    count: int,
    explore: ActiveSettings | None = None,
    round_label: str = "",
    number: int = 1,
) -> WithSnapshots[SampleResult]:
    """Sample each candidate at one temperature.

    Parameters
    ----------
    settings
        The ``sample`` section.
    candidates
        The selected orderings.
    potential
        The potential that drives the dynamics: the universal one, or that of the round before. The disagreement of a
        committee is evaluated where it decides the choice of frames.
    count
        Number of snapshots of each run.
    explore
        The ``learn.active`` section: the run collects frames on which the committee disagrees, and only those are
        snapshots. None for plain sampling.
    round_label
        Distinguishes the runs of this round from those of others at the same temperature.

    Returns
    -------
    WithSnapshots
        An exploration may have no snapshots.

    Raises
    ------
    StageError
        If every run failed.
    """
    bench = bench.at("sample")
    tail = f" {round_label}" if round_label else ""
    phases = _phases(settings, temperature_K, _limits(settings, bench.mobile_ion, explore))
    # Evaluating all members is expensive; a run that they do not monitor needs only the first.
    mover = potential if explore is not None else potential.single
    runs: list[tuple[Candidate, Run]] = []
    tasks: list[Task[ChosenFrames]] = []
    for candidate in candidates:
        for replica in range(1, settings.replicas + 1):
            words = f" replica {replica}" if settings.replicas > 1 else ""
            label = f"{candidate.id} {temperature_K:g} K{words}{tail}"
            built = chain(bench, label, candidate.structure, settings.supercell, mover, phases)
            tasks.append(_snapshots(settings, bench, label, built, potential, count, explore))
            pressure = settings.pressure_GPa if settings.npt_ps > 0 else None
            runs.append(
                (candidate, Run(candidate.ordering, temperature_K, replica, potential.name, pressure, None, label))
            )
    outcomes = bench.runner.gather(tasks)
    failures = failures_of(outcomes)
    sampled: list[SampledRun] = []
    snapshots: list[Snapshot] = []
    for (candidate, one), outcome in zip(runs, outcomes, strict=True):
        if not outcome.ok:
            continue
        value = outcome.value
        sampled.append(
            SampledRun(
                run=one,
                formula=candidate.formula,
                chosen_by=value.chosen_by,
                explored=value.explored,
                flags=value.flags,
                mean_temperature_K=value.mean_temperature_K,
                n_frames=value.n_frames,
                n_snapshots=len(value.snapshots),
                stopped=value.stopped,
                key=outcome.task.key,
            )
        )
        snapshots += [
            Snapshot(
                id=f"{one.label} snapshot {index + 1}",
                structure=outcome.task.result.snapshots[index],
                formula=candidate.formula,
                run=one.label,
                ordering=one.ordering,
                temperature_K=temperature_K,
                round=number,
            )
            for index in range(len(value.snapshots))
        ]
    if not sampled or (not snapshots and explore is None):
        fix = "lower the temperature or time step"
        raise nothing_left("every sampling run failed", failures, where=bench.stage, fix=fix)
    result = SampleResult(number, temperature_K, potential.name, tuple(sampled), failures)
    return WithSnapshots(result, tuple(snapshots))


def _phases(settings: SampleSettings, temperature_K: float, limits: Limits) -> tuple[Phase, ...]:
    nvt = md_settings(settings, temperature_K, "nvt", engine=settings.md_engine)
    npt = md_settings(settings, temperature_K, "npt", engine=settings.md_engine)
    longest, equilibration = settings.segment_ps, settings.equilibration_ps
    in_average = None if equilibration > 0 else "npt"
    before = Phase("nvt before npt", nvt, settings.nvt_before_npt_ps, longest, limits=limits)
    return (
        replace(before, name="heating", length_ps=settings.heating_ps, ramp_from_K=settings.heating_from_K),
        before,
        Phase("npt", npt, settings.npt_ps, longest, limits=limits),
        Phase("equilibration", nvt, equilibration, longest, "npt", 0.2, limits),
        Phase("production", nvt, settings.production_ps, longest, in_average, 0.2, limits),
    )


def _limits(settings: SampleSettings, mobile_ion: str, explore: ActiveSettings | None) -> Limits:
    from ase.data import atomic_numbers

    monitors = settings.monitors
    drift = monitors.max_drift_meV_per_atom
    limits = Limits(
        conserved_eV_per_atom=None if drift is None else drift * 1.0e-3,
        distance_fraction=monitors.min_distance_fraction,
        keep_frames=True,
        melting=monitors.melting,
        volume_change=monitors.max_volume_change,
    )
    if monitors.melting != "off":
        mobile = int(atomic_numbers[mobile_ion])
        limits = replace(limits, melting_share=monitors.melting_share, mobile_number=mobile)
    if explore is not None:
        limits = replace(
            limits,
            collect_extrapolation=explore.collect_above_eV_per_A,
            extrapolation_every=max(1, round(explore.check_every_fs / settings.timestep_fs)),
            max_collected=explore.labels_per_round,
            max_extrapolation=explore.stop_above_eV_per_A,
        )
    return limits


def _snapshots(
    settings: SampleSettings,
    bench: Workbench,
    label: str,
    built: Chain,
    potential: ChosenPotential,
    count: int,
    explore: ActiveSettings | None,
) -> Task[ChosenFrames]:
    """Build the task that chooses the snapshots of one run."""
    before = built.segments("heating", "nvt before npt", "npt", "equilibration")
    production = built.segments("production")
    every = [*before, *production]
    words = f"snapshots of {label}"
    frames = RunFrames(
        count=count,
        seed=bench.seed_for(label, "snapshots"),
        last_frames_at_most=settings.monitors.last_frames,
        frame_interval_fs=settings.save_every_fs,
        numbers=production[0].result.state.numbers,
        positions=[segment.result.positions_A for segment in production],
        cells=[segment.result.cells_A for segment in production],
        positions_before=[segment.result.positions_A for segment in before],
        cells_before=[segment.result.cells_A for segment in before],
        temperatures_K=[segment.result.temperatures_K for segment in production],
        flags=[segment.result.flags for segment in every],
        stopped=production[-1].result.stopped,
    )
    if explore is not None:
        collected = collected_task.of(
            run=frames,
            timestep_fs=settings.timestep_fs,
            collect_above=explore.collect_above_eV_per_A,
            collected_positions=[segment.result.collected_positions_A for segment in every],
            collected_cells=[segment.result.collected_cells_A for segment in every],
            collected_grades=[segment.result.collected_grades for segment in every],
            grades=[segment.result.extrapolation for segment in every],
            steps=[segment.result.state.step for segment in (*before[-1:], production[-1])],
        )
        return bench.task(words, collected)
    method = settings.snapshot_method
    mixture = {str(name): share for name, share in settings.snapshot_mixture.items()}
    evaluator = potential if needs_committee(method, mixture) else potential.single
    call = snapshots_task.of(
        run=frames,
        max_strain=settings.max_strain,
        method=method,
        mixture=mixture,
        candidate_frames=settings.candidate_frames if needs_potential(method, mixture) else 1,
        potential=evaluator if needs_potential(method, mixture) else None,
    )
    return bench.task(words, call)


# ---- task functions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunFrames(ArgumentGroup):
    """The frames of one run, and the number to choose.

    Attributes
    ----------
    count, seed
        Number of frames to choose, and the seed of random choices.
    last_frames_at_most
        Largest number of frames before a stop to choose.
    frame_interval_fs
        Time between frames.
    numbers
        Atomic numbers.
    positions, cells, temperatures_K
        Those of the production, segment by segment.
    positions_before, cells_before
        Those of the phases before it.
    flags
        Flags of all segments.
    stopped
        Why the run ended early; None if it did not.
    """

    count: int
    seed: int
    last_frames_at_most: int
    frame_interval_fs: float
    numbers: IntArray
    positions: Sequence[FloatArray]
    cells: Sequence[FloatArray]
    positions_before: Sequence[FloatArray]
    cells_before: Sequence[FloatArray]
    temperatures_K: Sequence[FloatArray]
    flags: Sequence[Sequence[str]]
    stopped: str | None

    def last(self, n_frames: int, count: int) -> list[int]:
        """Return the indices of the last frames before a stop that are chosen."""
        return last_frames(n_frames, min(self.last_frames_at_most, count), self.frame_interval_fs)

    def as_structures(
        self,
        frames: Frames,
        choice: Sequence[tuple[int, str]],
        max_strain: float,
        rng: np.random.Generator,
        explored: Exploration | None = None,
    ) -> ChosenFrames:
        """Turn chosen frames into structures, strained at random except for those before a stop."""
        from superionic.training.snapshots import random_strain

        snapshots = []
        for frame, method in choice:
            atoms = frames.atoms(frame)
            if max_strain > 0 and method != BEFORE_THE_STOP:
                atoms = random_strain(atoms, max_strain, rng)
            atoms.wrap()
            snapshots.append(atoms)
        methods = [method for _, method in choice]
        temperatures = np.concatenate(self.temperatures_K)
        return ChosenFrames(
            snapshots=tuple(snapshots),
            frames=tuple(int(frame) for frame, _ in choice),
            chosen_by={method: methods.count(method) for method in sorted(set(methods))},
            explored=explored,
            flags=tuple(dict.fromkeys(flag for several in self.flags for flag in several)),
            mean_temperature_K=float(np.mean(temperatures)) if len(temperatures) else None,
            n_frames=len(temperatures),
            stopped=self.stopped,
        )


@task(version=3)
def snapshots_task(
    context: Context,
    *,
    run: RunFrames,
    max_strain: float,
    method: str,
    mixture: Mapping[str, float],
    candidate_frames: int,
    potential: ChosenPotential | None,
) -> ChosenFrames:
    """Choose frames of a run and strain each at random; add the last frames of a run that stopped, unstrained."""
    frames = Frames(run.numbers, np.concatenate(run.positions), np.concatenate(run.cells))
    from_production = len(frames)
    if run.stopped is not None and not from_production:
        frames = Frames(run.numbers, np.concatenate(run.positions_before), np.concatenate(run.cells_before))
    if len(frames) == 0:
        raise CalculationFailed(f"no frame to sample: {run.stopped or 'the run saved none'}")
    rng = np.random.default_rng(run.seed)
    count = min(run.count, len(frames))
    last = [] if run.stopped is None else run.last(len(frames), count)
    choice = choose(
        frames,
        count - len(last) if from_production else 0,
        method,
        mixture,
        rng=rng,
        candidate_frames=candidate_frames,
        potential=None if potential is None else load(potential, context),
        taken=last,
        progress=context.progress,
    )
    return run.as_structures(frames, [*choice, *((frame, BEFORE_THE_STOP) for frame in last)], max_strain, rng)


@task(version=3)
def collected_task(
    _context: Context,
    *,
    run: RunFrames,
    timestep_fs: float,
    collect_above: float,
    collected_positions: Sequence[FloatArray],
    collected_cells: Sequence[FloatArray],
    collected_grades: Sequence[FloatArray],
    grades: Sequence[FloatArray],
    steps: Sequence[int],
) -> ChosenFrames:
    """Choose frames on which the committee disagreed, and summarise its disagreement in the run.

    A run that stopped without a frame of high disagreement (all members were wrong alike) contributes its last frames.
    """
    from superionic.training.distillation import pick_by_grade

    disagreements = np.concatenate(grades)
    frames = Frames(run.numbers, np.concatenate(collected_positions), np.concatenate(collected_cells))
    picked = pick_by_grade([float(grade) for grade in np.concatenate(collected_grades)], run.count)
    choice = [(frame, "committee") for frame in picked]
    if run.stopped is not None and not choice:
        every = np.concatenate([*run.positions_before, *run.positions])
        frames = Frames(run.numbers, every, np.concatenate([*run.cells_before, *run.cells]))
        choice = [(frame, BEFORE_THE_STOP) for frame in run.last(len(frames), run.count)]
    explored = Exploration(
        length_ps=sum(steps) * timestep_fs * 1.0e-3,
        looked_at=len(disagreements),
        worst_eV_per_A=float(np.max(disagreements)) if len(disagreements) else None,
        above=int(np.sum(~(disagreements <= collect_above))),
    )
    return run.as_structures(frames, choice, 0.0, np.random.default_rng(run.seed), explored)
