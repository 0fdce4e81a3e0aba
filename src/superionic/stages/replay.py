"""Replay data of a multi-head training: labels from a file, or structures labelled by the pretrained potential.

The heads themselves, and how they are trained, are in :mod:`superionic.models.mace.trainer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms

from superionic.errors import StructureError
from superionic.execution.kept_files import keep
from superionic.execution.task import Context, Task, task
from superionic.stages.base import Candidate, ChosenPotential, Workbench
from superionic.stages.label_file import read_task
from superionic.stages.predictions import predictions
from superionic.structures.io.frames import frames_of
from superionic.training.dataset import LabelledSet, Targets

MOST_OF_THE_RANKING: Final = 100
_DISPLACEMENT_A: Final = 0.08
_STRAIN: Final = 0.02


@dataclass(frozen=True)
class Structures:
    """Structures without labels."""

    atoms: tuple[Atoms, ...]


def replay_data(
    replay: str,
    bench: Workbench,
    pretrained: ChosenPotential,
    ranked: Sequence[Candidate],
    *,
    by_foundation: bool,
) -> Task[LabelledSet]:
    """Build the tasks that prepare replay data, and return the last one.

    Parameters
    ----------
    replay
        An extended XYZ file, or ``"foundation"`` for the ranked structures.
    pretrained
        The potential from which training starts.
    ranked
        Orderings and reference phases of the ranking; at most :data:`MOST_OF_THE_RANKING` are used, evenly spread.
    by_foundation
        Whether the pretrained potential labels the structures of the file, which then need no labels.
    """
    from superionic.training.base import FOUNDATION
    from superionic.training.distillation import evenly

    if replay == FOUNDATION:
        if not ranked:
            raise StructureError(
                "there are no ranked structures to replay",
                where=f"{bench.stage}: replay",
                fix="give a file as `replay`",
            )
        replayed = [ranked[index].structure for index in evenly(len(ranked), MOST_OF_THE_RANKING)]
        prepared = displaced_task.of(seed=bench.seed_for("replay data"), atoms=replayed)
    else:
        file, name = keep(replay), Path(replay).name
        if not by_foundation:
            return bench.task("replay labels", labels_task.of(file=file, name=name))
        prepared = structures_task.of(file=file, name=name)
    structures = bench.task("structures of replay data", prepared)
    atoms = [structures.result.atoms[index] for index in range(len(bench.runner.one(structures).atoms))]
    predicted = predictions(bench, "labels of replay data", atoms, pretrained)
    return bench.task("replay data", predicted_task.of(atoms=atoms, targets=predicted.result))


# ---- task functions -------------------------------------------------------------------------------------------------


@task(version=3)
def labels_task(context: Context, *, file: str, name: str) -> LabelledSet:
    """Read structures and their labels from a file.

    Raises
    ------
    StructureError
        If the file cannot be read, or a structure has no energy or forces.
    """
    labelled = read_task(context, file=file, name=name)
    return _replay_set(labelled.atoms, Targets.of_labels(labelled.labels))


@task(version=2)
def structures_task(_context: Context, *, file: str, name: str) -> Structures:
    """Read structures from a file and ignore any labels.

    Raises
    ------
    StructureError
        If the file cannot be read, has no structures, or one of them is not periodic.
    """
    try:
        frames = list(frames_of(Path(file)))
    except Exception as error:  # ASE's reader may raise anything
        raise StructureError(
            f"the structures cannot be read: {error}", where=name, fix="give an extended XYZ file, as ASE writes it"
        ) from error
    if not frames or not all(frame.pbc.all() for frame in frames):
        problem = "a structure is not periodic" if frames else "the file has no structures"
        raise StructureError(problem, where=name, fix='write pbc="T T T"' if frames else "check the file")
    return Structures(tuple(Atoms(numbers=f.numbers, positions=f.positions, cell=f.cell, pbc=True) for f in frames))


@task(version=2)
def displaced_task(_context: Context, *, seed: int, atoms: Sequence[Atoms]) -> Structures:
    """Strain and displace structures at random, since relaxed ones have no forces and would teach little."""
    structures = []
    for number, structure in enumerate(atoms):
        rng = np.random.default_rng([seed, number])
        strain = rng.uniform(-_STRAIN, _STRAIN, (3, 3))
        moved = Atoms(numbers=structure.numbers, positions=structure.positions, cell=structure.cell, pbc=True)
        moved.set_cell(moved.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        moved.positions += rng.normal(0.0, _DISPLACEMENT_A, moved.positions.shape)
        structures.append(moved)
    return Structures(tuple(structures))


@task(version=2)
def predicted_task(_context: Context, *, atoms: Sequence[Atoms], targets: Targets) -> LabelledSet:
    """Combine structures with the values that the pretrained potential predicts for them."""
    return _replay_set(atoms, targets)


def _replay_set(atoms: Sequence[Atoms], targets: Targets) -> LabelledSet:
    groups = tuple(str(number) for number in range(len(atoms)))
    return LabelledSet(tuple(atoms), targets, groups, "replay", "the pretrained model's own")
