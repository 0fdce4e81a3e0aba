"""What the teacher gives to the student: its runs, distorted structures, and the labels of both.

A part of the stage *distil*. Everything here is built as tasks; nothing is gathered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from superionic.dynamics.md import Segment
from superionic.dynamics.monitors import Limits
from superionic.execution.task import Context, Task, task
from superionic.results.identity import ONCE, Rows
from superionic.stages.base import Candidate, ChosenPotential, FloatArray, IntArray, Workbench, load
from superionic.stages.chains import Phase, chain, md_settings
from superionic.training.distillation import (
    PackedSet,
    PackedStructures,
    close_contacts,
    distorted_structures,
    evenly,
    label_structures,
    pack_labelled,
    pack_structures,
    rattled_and_relaxed,
)
from superionic.trajectories.mean_cell import average_cell

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil

KNOWN_AS = "superionic.stages.distil_data"  # in keys, since before it moved here
_DISCARD_FRACTION = 0.3
_BATCH = 20
_PARTS_OF_RUN = 10
PART_OF_RUN = " part "
"""What the names of groups hold that are parts of a run of the teacher."""


@dataclass(frozen=True)
class ComparedRun:
    """A run that teacher and students make alike: the same start, cell, length and temperature.

    Attributes
    ----------
    name
        Ordering and temperature.
    start
        Structure at which the NVT part starts, in the average cell of the teacher's NPT part.
    npt, production
        Segments of both parts.
    """

    name: str
    candidate: Candidate
    temperature_K: float
    start: Atoms
    npt: tuple[Task[Segment], ...]
    production: tuple[Task[Segment], ...]

    @property
    def last(self) -> Task[Segment]:
        """The segment that is made last."""
        return self.production[-1]


def teacher_run(
    settings: ResolvedDistil, bench: Workbench, candidate: Candidate, temperature_K: float, teacher: ChosenPotential
) -> ComparedRun:
    """Build one run of the teacher: NPT, the average cell of it, NVT in that cell."""
    name = f"{candidate.id} {temperature_K:g} K"
    npt = _npt(settings, bench, f"teacher {name}", candidate, temperature_K, teacher)
    start = bench.task(
        f"start of {name}",
        start_task.of(
            atoms=candidate.structure,
            cells=[segment.result.cells_A for segment in npt],
            discard_fraction=_DISCARD_FRACTION,
            supercell=settings.supercell,
        ),
    ).result
    production = nvt(settings, bench, f"teacher {name}", start, temperature_K, teacher, settings.production_ps)
    return ComparedRun(name, candidate, temperature_K, start, npt, production)


def student_run(
    settings: ResolvedDistil, bench: Workbench, run: ComparedRun, member: int, student: ChosenPotential
) -> ComparedRun:
    """Build the same run by a student: its own NPT, and NVT in the teacher's cell."""
    label = f"student {member + 1} {run.name}"
    npt = _npt(settings, bench, label, run.candidate, run.temperature_K, student)
    production = nvt(settings, bench, label, run.start, run.temperature_K, student, settings.production_ps)
    return ComparedRun(run.name, run.candidate, run.temperature_K, run.start, npt, production)


def held_out_run(
    settings: ResolvedDistil, bench: Workbench, run: ComparedRun, teacher: ChosenPotential
) -> tuple[Task[Segment], ...]:
    """Build a run of the teacher that no student learns from: other velocities, so another way."""
    return nvt(settings, bench, f"held out {run.name}", run.start, run.temperature_K, teacher, settings.held_out_ps)


def nvt(
    settings: ResolvedDistil,
    bench: Workbench,
    label: str,
    start: Atoms,
    temperature_K: float,
    potential: ChosenPotential,
    length_ps: float,
    *,
    equilibration_ps: float | None = None,
    limits: Limits | None = None,
) -> tuple[Task[Segment], ...]:
    """Build an NVT run from a structure, its equilibration (the section's own by default) left out of the result."""
    md = md_settings(settings, temperature_K, "nvt")
    first_ps = settings.equilibration_ps if equilibration_ps is None else equilibration_ps
    phases = [
        Phase("equilibration", md, first_ps, settings.segment_ps, limits=limits),
        Phase("production", md, length_ps, settings.segment_ps, limits=limits),
    ]
    return chain(bench, label, start, ONCE, potential, phases).segments("production")


def _npt(
    settings: ResolvedDistil,
    bench: Workbench,
    label: str,
    candidate: Candidate,
    temperature_K: float,
    potential: ChosenPotential,
) -> tuple[Task[Segment], ...]:
    if settings.npt_ps == 0:
        return ()
    md = md_settings(settings, temperature_K, "npt", cell_motion=settings.cell_motion)
    phases = [Phase("npt", md, settings.npt_ps, settings.segment_ps)]
    # Teacher and students start with the same velocities: in short runs much of the noise of V(T) is then the same.
    seed_name = f"npt {candidate.id} {temperature_K:g} K"
    built = chain(bench, label, candidate.structure, settings.supercell, potential, phases, seed_name=seed_name)
    return built.segments("npt")


def frames_of(bench: Workbench, label: str, segments: Sequence[Task[Segment]], count: int) -> Task[PackedStructures]:
    """Build the task that takes frames of a run, evenly spread; consecutive ones form groups."""
    return bench.task(
        f"frames of {label}",
        frames_task.of(
            cells=[segment.result.cells_A for segment in segments],
            numbers=segments[0].result.state.numbers,
            positions=[segment.result.positions_A for segment in segments],
            count=count,
            group=label,
        ),
    )


def distorted(
    settings: ResolvedDistil,
    bench: Workbench,
    label: str,
    structure: Atoms,
    supercell: Rows,
    counts: tuple[int, int],
    word: str = "",
    contacts_before: int = 0,
) -> Task[PackedStructures]:
    """Build the task that distorts a structure.

    ``counts`` are of distorted ones and of close contacts, ``contacts_before`` of contacts that other structures have.
    """
    data = settings.data
    tail = f" {word}" if word else ""
    return bench.task(
        f"distorted {label}{tail}",
        distort_task.of(
            atoms=structure,
            supercell=supercell,
            seed=bench.seed_for("distort", label, word),
            group=f"{label}{tail}",
            distorted=counts[0],
            volumes=(data.volumes[0], data.volumes[1]),
            max_strain=data.max_strain,
            rattles_A=data.rattles_A,
            contacts=counts[1],
            contacts_before=contacts_before,
            contact_fractions=(data.contact_fractions[0], data.contact_fractions[1]),
        ),
    )


def rattled(
    settings: ResolvedDistil, bench: Workbench, candidate: Candidate, cycles: int, teacher: ChosenPotential
) -> Task[LabelledBatch]:
    """Build the task in which the teacher relaxes a rattled ordering a few steps, again and again."""
    data = settings.data
    return bench.task(
        f"rattled and relaxed {candidate.id}",
        rattle_relax_task.of(
            potential=teacher,
            atoms=candidate.structure,
            supercell=settings.supercell,
            seed=bench.seed_for("rattle", candidate.id),
            group=candidate.id,
            cycles=cycles,
            rattle_A=max(data.rattles_A),
            steps=data.relax_steps,
            max_strain=data.max_strain,
            max_force_eV_per_A=data.max_force_eV_per_A,
        ),
    )


def labels_of(
    settings: ResolvedDistil,
    bench: Workbench,
    label: str,
    frames: Task[PackedStructures],
    count: int,
    teacher: ChosenPotential,
) -> list[Task[LabelledBatch]]:
    """Build the tasks that label frames by the teacher, some at a time: a kill costs one batch."""
    return [
        bench.task(
            f"labels of {label} from {first + 1}",
            label_task.of(
                potential=teacher,
                frames=frames.result,
                first=first,
                last=min(first + _BATCH, count),
                max_force_eV_per_A=settings.data.max_force_eV_per_A,
            ),
        )
        for first in range(0, count, _BATCH)
    ]


# ---- task functions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelledBatch:
    """Labels of the teacher.

    Attributes
    ----------
    dropped
        For each structure that was left out, why.
    set
        The others.
    """

    dropped: tuple[str, ...]
    set: PackedSet


@task(version=2)
def start_task(
    _context: Context, *, atoms: Atoms, cells: Sequence[FloatArray], discard_fraction: float, supercell: Rows
) -> Atoms:
    """Repeat a structure and bring it to the average cell of an NPT run, at the same fractional coordinates."""
    repeated = _repeated(atoms, supercell)
    if cells:
        repeated.set_cell(average_cell(np.concatenate(cells), discard_fraction), scale_atoms=True)
    return repeated


@task(version=1)
def frames_task(
    _context: Context,
    *,
    cells: Sequence[FloatArray],
    numbers: IntArray,
    positions: Sequence[FloatArray],
    count: int,
    group: str,
) -> PackedStructures:
    """Take frames of a trajectory, evenly spread."""
    all_positions, all_cells = np.concatenate(positions), np.concatenate(cells)
    structures = wrapped(numbers, all_positions, all_cells, evenly(len(all_positions), count))
    # Neighbours in time stay together, and a part that is left out to choose the epoch has its like in the training
    # part. What errors are reported on is a run of its own.
    parts = [order * _PARTS_OF_RUN // len(structures) + 1 for order in range(len(structures))]
    return pack_structures(structures, [f"{group}{PART_OF_RUN}{part}" for part in parts])


@task(version=2)
def distort_task(
    _context: Context,
    *,
    atoms: Atoms,
    supercell: Rows,
    seed: int,
    group: str,
    distorted: int,
    volumes: tuple[float, float],
    max_strain: float,
    rattles_A: Sequence[float],
    contacts: int,
    contacts_before: int,
    contact_fractions: tuple[float, float],
) -> PackedStructures:
    """Distort a structure, and push pairs of its atoms together; each result is a group by itself."""
    repeated = _repeated(atoms, supercell)
    rng = np.random.default_rng(seed)
    structures = distorted_structures(
        repeated, distorted, rng, volumes=volumes, max_strain=max_strain, rattles_A=rattles_A
    )
    groups = [f"{group} distorted {number + 1}" for number in range(len(structures))]
    close = close_contacts(repeated, contacts, rng, fractions=contact_fractions, first_kind=contacts_before)
    groups += [f"{group} contact {number + 1}" for number in range(len(close))]
    return pack_structures([*structures, *close], groups)


@task(version=1)
def rattle_relax_task(
    context: Context,
    *,
    potential: ChosenPotential,
    atoms: Atoms,
    supercell: Rows,
    seed: int,
    group: str,
    cycles: int,
    rattle_A: float,
    steps: int,
    max_strain: float,
    max_force_eV_per_A: float,
) -> LabelledBatch:
    """Rattle, relax a few steps, repeat; each cycle is a group."""
    teacher = load(potential, context)
    repeated = _repeated(atoms, supercell)
    teacher.check_elements(repeated)
    labelled = rattled_and_relaxed(
        repeated,
        teacher,
        np.random.default_rng(seed),
        cycles=cycles,
        rattle_A=rattle_A,
        steps=steps,
        max_strain=max_strain,
        progress=context.progress,
    )
    largest = [float(np.linalg.norm(forces, axis=1).max()) for forces in labelled.targets.forces_eV_per_A]
    within_limit = labelled.subset([index for index, force in enumerate(largest) if force <= max_force_eV_per_A])
    named = replace(within_limit, groups=tuple(f"{group} relaxed {cycle}" for cycle in within_limit.groups))
    dropped = ("the force is above the limit",) * (len(labelled) - len(within_limit))
    return LabelledBatch(dropped, pack_labelled(named))


@task(version=1)
def label_task(
    context: Context,
    *,
    potential: ChosenPotential,
    frames: PackedStructures,
    first: int,
    last: int,
    max_force_eV_per_A: float,
) -> LabelledBatch:
    """Label some of the frames by the teacher."""
    teacher = load(potential, context)
    structures = frames.structures[first:last]
    for atoms in structures[:1]:
        teacher.check_elements(atoms)
    labels = label_structures(
        teacher, structures, frames.groups[first:last], max_force_eV_per_A=max_force_eV_per_A, progress=context.progress
    )
    return LabelledBatch(labels.dropped, pack_labelled(labels.labelled))


def wrapped(numbers: IntArray, positions_A: FloatArray, cells_A: FloatArray, frames: Sequence[int]) -> list[Atoms]:
    """Return frames of a trajectory with all atoms inside the cell."""
    structures = [
        Atoms(numbers=numbers, positions=positions_A[frame], cell=cells_A[frame], pbc=True) for frame in frames
    ]
    for atoms in structures:
        atoms.wrap()
    return structures


def _repeated(atoms: Atoms, supercell: Rows) -> Atoms:
    from ase.build import make_supercell

    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    return make_supercell(bare, np.array(supercell))
