"""Replay data of a multi-head training: labels of a file, or structures that the pretrained potential labels itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from superionic.errors import StructureError
from superionic.execution.kept_files import keep
from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import Candidate, ChosenPotential, Workbench
from superionic.stages.label_file import read_task
from superionic.stages.predictions import predictions

_LABELS_VERSION = 1
_STRUCTURES_VERSION = 1
_DISPLACED_VERSION = 1
_PREDICTED_VERSION = 1
MOST_OF_THE_RANKING: Final = 100
_DISPLACEMENT_A: Final = 0.08
_STRAIN: Final = 0.02


def replay_data(
    replay: str,
    bench: Workbench,
    stage: str,
    pretrained: ChosenPotential,
    ranked: Sequence[Candidate],
    *,
    by_foundation: bool,
) -> Task:
    """Build the tasks that make replay data, and return the last: ``atoms`` and ``targets``.

    Parameters
    ----------
    replay
        An extended XYZ file, or ``"foundation"`` for what the ranking found.
    bench, stage
        The workbench, and what the tasks belong to.
    pretrained
        The potential that training begins with.
    ranked
        Orderings and reference phases of the ranking; at most :data:`MOST_OF_THE_RANKING` are taken, evenly.
    by_foundation
        Whether the pretrained potential labels the structures of the file, which then need no labels.
    """
    from superionic.training.base import FOUNDATION
    from superionic.training.distillation import evenly

    own = replay == FOUNDATION
    file = {} if own else {"file": keep(replay), "name": Path(replay).name}
    if not own and not by_foundation:
        function = "superionic.stages.replay:labels_task"
        return bench.task(stage, "replay labels", function, _LABELS_VERSION, file)
    if own:
        if not ranked:
            raise StructureError(
                "there are no ranked structures to replay", where=f"{stage}: replay", fix="give a file as `replay`"
            )
        taken = [ranked[index] for index in evenly(len(ranked), MOST_OF_THE_RANKING)]
        structures = bench.task(
            stage,
            "structures of replay data",
            "superionic.stages.replay:displaced_task",
            _DISPLACED_VERSION,
            {"seed": bench.seed_for(stage, "replay data")},
            {"atoms": [candidate.structure for candidate in taken]},
        )
    else:
        function = "superionic.stages.replay:structures_task"
        structures = bench.task(stage, "structures of replay data", function, _STRUCTURES_VERSION, file)
    atoms = [Ref(structures, ("atoms", index)) for index in range(bench.runner.one(structures)["n"])]
    predicted = predictions(bench, stage, "labels of replay data", atoms, pretrained)
    function = "superionic.stages.replay:predicted_task"
    inputs: dict[str, Any] = {"atoms": atoms, "targets": Ref(predicted)}
    return bench.task(stage, "replay data", function, _PREDICTED_VERSION, {}, inputs)


# ---- task functions -----------------------------------------------------------------------------------------------


def labels_task(settings: Mapping[str, Any], _inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Read structures and their labels out of a file.

    Raises
    ------
    StructureError
        If the file cannot be read, or a structure has no energy or forces.
    """
    import numpy as np

    found = read_task(settings, {}, context)
    missing = np.full(6, np.nan)
    stresses = [label["stress_eV_per_A3"] for label in found["labels"]]
    return {
        "atoms": found["atoms"],
        "n": len(found["atoms"]),
        "targets": {
            "energies_eV": np.array([label["energy_eV"] for label in found["labels"]]),
            "forces_eV_per_A": [label["forces_eV_per_A"] for label in found["labels"]],
            "stresses_eV_per_A3": np.array([missing if stress is None else stress for stress in stresses]),
        },
    }


def structures_task(settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Read structures out of a file, whatever it says of them.

    Raises
    ------
    StructureError
        If the file cannot be read, has no structures, or one of them is not periodic.
    """
    from ase import Atoms
    from ase.io import read

    name = settings["name"]
    try:
        frames = read(settings["file"], index=":", format="extxyz")
    except Exception as error:  # whatever ASE's reader stumbles over
        raise StructureError(
            f"the structures cannot be read: {error}", where=name, fix="give an extended XYZ file, as ASE writes it"
        ) from error
    if not frames or not all(frame.pbc.all() for frame in frames):
        problem = "a structure is not periodic" if frames else "the file has no structures"
        raise StructureError(problem, where=name, fix='write pbc="T T T"' if frames else "check the file")
    atoms = [Atoms(numbers=f.numbers, positions=f.positions, cell=f.cell, pbc=True) for f in frames]
    return {"atoms": atoms, "n": len(atoms)}


def displaced_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Strain and displace structures at random: relaxed ones have no forces, and would teach little."""
    import numpy as np
    from ase import Atoms

    structures = []
    for number, atoms in enumerate(inputs["atoms"]):
        rng = np.random.default_rng([settings["seed"], number])
        strain = rng.uniform(-_STRAIN, _STRAIN, (3, 3))
        moved = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
        moved.set_cell(moved.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        moved.positions += rng.normal(0.0, _DISPLACEMENT_A, moved.positions.shape)
        structures.append(moved)
    return {"atoms": structures, "n": len(structures)}


def predicted_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Put structures and the pretrained potential's values for them together."""
    return {
        "atoms": [atoms.copy() for atoms in inputs["atoms"]],
        "n": len(inputs["atoms"]),
        "targets": dict(inputs["targets"]),
    }
