"""What the teacher gives to the student: its runs, distorted structures, and the labels of both.

A part of the stage *distil*. Everything here is built as tasks; nothing is gathered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import Candidate, ChosenPotential, Workbench, potential_of
from superionic.stages.chains import Phase, chain, md_settings

STAGE = "distil"
_START_VERSION = 1
_FRAMES_VERSION = 1
_DISTORT_VERSION = 1
_RELAX_VERSION = 1
_LABEL_VERSION = 1

_DISCARD_FRACTION = 0.3
_BATCH = 20
_PARTS_OF_RUN = 10
PART_OF_RUN = " part "
"""What the names of groups hold that are parts of a run of the teacher."""
_ONCE = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@dataclass(frozen=True)
class ComparedRun:
    """A run that teacher and students make alike: the same start, cell, length and temperature.

    Attributes
    ----------
    name
        Ordering and temperature.
    candidate
        The ordering.
    temperature_K
        Its temperature.
    start
        Structure at which the NVT part starts, in the average cell of the teacher's NPT part.
    npt, production
        Segments of both parts.
    """

    name: str
    candidate: Candidate
    temperature_K: float
    start: Ref
    npt: tuple[Task, ...]
    production: tuple[Task, ...]

    @property
    def last(self) -> Task:
        """The segment that is made last."""
        return self.production[-1]


def lowest_of_each(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return the ``count`` orderings of lowest energy of each crystal and composition; references are left out."""
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        if not candidate.is_reference:
            groups.setdefault((candidate.crystal, candidate.composition_label), []).append(candidate)
    return [
        candidate
        for group in groups.values()
        for candidate in sorted(group, key=lambda c: float(c.facts["relaxed_eV_per_atom"]))[:count]
    ]


def teacher_run(
    settings: Mapping[str, Any], bench: Workbench, candidate: Candidate, temperature_K: float, teacher: ChosenPotential
) -> ComparedRun:
    """Build one run of the teacher: NPT, the average cell of it, NVT in that cell."""
    name = f"{candidate.id} {temperature_K:g} K"
    npt = _npt(settings, bench, f"teacher {name}", candidate, temperature_K, teacher)
    start = bench.task(
        STAGE,
        f"start of {name}",
        "superionic.stages.distil_data:start_task",
        _START_VERSION,
        {"discard_fraction": _DISCARD_FRACTION, "supercell": [list(row) for row in settings["supercell"]]},
        {"atoms": candidate.structure, "cells": [segment["cells"] for segment in npt]},
    )["atoms"]
    production = nvt(settings, bench, f"teacher {name}", start, temperature_K, teacher, settings["production_ps"])
    return ComparedRun(name, candidate, temperature_K, start, npt, production)


def student_run(
    settings: Mapping[str, Any], bench: Workbench, run: ComparedRun, member: int, student: ChosenPotential
) -> ComparedRun:
    """Build the same run by a student: its own NPT, and NVT in the teacher's cell."""
    label = f"student {member + 1} {run.name}"
    npt = _npt(settings, bench, label, run.candidate, run.temperature_K, student)
    production = nvt(settings, bench, label, run.start, run.temperature_K, student, settings["production_ps"])
    return ComparedRun(run.name, run.candidate, run.temperature_K, run.start, npt, production)


def held_out_run(
    settings: Mapping[str, Any], bench: Workbench, run: ComparedRun, teacher: ChosenPotential
) -> tuple[Task, ...]:
    """Build a run of the teacher that no student learns from: other velocities, so another way."""
    return nvt(settings, bench, f"held out {run.name}", run.start, run.temperature_K, teacher, settings["held_out_ps"])


def nvt(
    settings: Mapping[str, Any],
    bench: Workbench,
    label: str,
    start: Ref,
    temperature_K: float,
    potential: ChosenPotential,
    length_ps: float,
    *,
    limits: Mapping[str, Any] | None = None,
) -> tuple[Task, ...]:
    """Build an NVT run from a structure, its equilibration left out of what is returned."""
    md = md_settings(settings, temperature_K, "nvt")
    phases = [
        Phase("equilibration", md, settings["equilibration_ps"], settings["segment_ps"], limits=limits),
        Phase("production", md, length_ps, settings["segment_ps"], limits=limits),
    ]
    return tuple(chain(bench, STAGE, label, start, _ONCE, potential, phases)["production"])


def _npt(
    settings: Mapping[str, Any],
    bench: Workbench,
    label: str,
    candidate: Candidate,
    temperature_K: float,
    potential: ChosenPotential,
) -> tuple[Task, ...]:
    if settings["npt_ps"] == 0:
        return ()
    md = md_settings(settings, temperature_K, "npt")
    phases = [Phase("npt", md, settings["npt_ps"], settings["segment_ps"])]
    # Teacher and students start with the same velocities: in short runs much of the noise of V(T) is then the same.
    seed_name = f"npt {candidate.id} {temperature_K:g} K"
    built = chain(
        bench, STAGE, label, candidate.structure, settings["supercell"], potential, phases, seed_name=seed_name
    )
    return tuple(built["npt"])


def frames_of(bench: Workbench, label: str, segments: Sequence[Task], count: int) -> Task:
    """Build the task that takes frames of a run, evenly spread; consecutive ones form groups."""
    return bench.task(
        STAGE,
        f"frames of {label}",
        "superionic.stages.distil_data:frames_task",
        _FRAMES_VERSION,
        {"count": count, "group": label},
        {
            "cells": [segment["cells"] for segment in segments],
            "numbers": segments[0]["numbers"],
            "positions": [segment["positions"] for segment in segments],
        },
    )


def distorted(
    settings: Mapping[str, Any], bench: Workbench, label: str, structure: Ref, counts: tuple[int, int], word: str = ""
) -> Task:
    """Build the task that distorts a structure; ``counts`` are of distorted ones and of close contacts."""
    data = settings["data"]
    tail = f" {word}" if word else ""
    return bench.task(
        STAGE,
        f"distorted {label}{tail}",
        "superionic.stages.distil_data:distort_task",
        _DISTORT_VERSION,
        {
            "contact_fractions": list(data["contact_fractions"]),
            "contacts": counts[1],
            "distorted": counts[0],
            "group": f"{label}{tail}",
            "max_strain": data["max_strain"],
            "rattles_A": list(data["rattles_A"]),
            "seed": bench.seed_for(STAGE, "distort", label, word),
            "supercell": [list(row) for row in settings["supercell"]],
            "volumes": list(data["volumes"]),
        },
        {"atoms": structure},
    )


def rattled(
    settings: Mapping[str, Any], bench: Workbench, candidate: Candidate, cycles: int, teacher: ChosenPotential
) -> Task:
    """Build the task in which the teacher relaxes a rattled ordering a few steps, again and again."""
    data = settings["data"]
    return bench.task(
        STAGE,
        f"rattled and relaxed {candidate.id}",
        "superionic.stages.distil_data:rattle_relax_task",
        _RELAX_VERSION,
        {
            "cycles": cycles,
            "group": candidate.id,
            "max_force_eV_per_A": data["max_force_eV_per_A"],
            "max_strain": data["max_strain"],
            "rattle_A": max(data["rattles_A"]),
            "seed": bench.seed_for(STAGE, "rattle", candidate.id),
            "steps": data["relax_steps"],
            "supercell": [list(row) for row in settings["supercell"]],
        },
        {"atoms": candidate.structure},
        potential=teacher,
    )


def labels_of(
    settings: Mapping[str, Any], bench: Workbench, label: str, frames: Task, count: int, teacher: ChosenPotential
) -> list[Task]:
    """Build the tasks that label frames by the teacher, some at a time: a kill costs one batch."""
    return [
        bench.task(
            STAGE,
            f"labels of {label} from {first + 1}",
            "superionic.stages.distil_data:label_task",
            _LABEL_VERSION,
            {
                "first": first,
                "last": min(first + _BATCH, count),
                "max_force_eV_per_A": settings["data"]["max_force_eV_per_A"],
            },
            {"frames": Ref(frames)},
            potential=teacher,
        )
        for first in range(0, count, _BATCH)
    ]


# ---- task functions -----------------------------------------------------------------------------------------------


def start_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Repeat a structure and bring it to the average cell of an NPT run, fractional coordinates kept."""
    import numpy as np

    from superionic.dynamics.trajectory import average_cell

    atoms = _repeated(inputs["atoms"], settings["supercell"])
    if inputs["cells"]:
        atoms.set_cell(average_cell(np.concatenate(inputs["cells"]), settings["discard_fraction"]), scale_atoms=True)
    return {"atoms": atoms}


def frames_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Take frames of a trajectory, evenly spread."""
    import numpy as np
    from ase import Atoms

    from superionic.training.distillation import evenly, pack_structures

    positions, cells = np.concatenate(inputs["positions"]), np.concatenate(inputs["cells"])
    chosen = evenly(len(positions), settings["count"])
    structures = [
        Atoms(numbers=inputs["numbers"], positions=positions[frame], cell=cells[frame], pbc=True) for frame in chosen
    ]
    for atoms in structures:
        atoms.wrap()
    # Neighbours in time stay together, and a part that is left out to choose the epoch has its like in the training
    # part. What errors are reported on is a run of its own.
    parts = [order * _PARTS_OF_RUN // len(structures) + 1 for order in range(len(structures))]
    return pack_structures(structures, [f"{settings['group']}{PART_OF_RUN}{part}" for part in parts])


def distort_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Distort a structure, and push pairs of its atoms together; each result is a group by itself."""
    import numpy as np

    from superionic.training.distillation import close_contacts, distorted_structures, pack_structures

    atoms = _repeated(inputs["atoms"], settings["supercell"])
    rng = np.random.default_rng(settings["seed"])
    structures = distorted_structures(
        atoms,
        settings["distorted"],
        rng,
        volumes=tuple(settings["volumes"]),
        max_strain=settings["max_strain"],
        rattles_A=settings["rattles_A"],
    )
    groups = [f"{settings['group']} distorted {number + 1}" for number in range(len(structures))]
    contacts = close_contacts(atoms, settings["contacts"], rng, fractions=tuple(settings["contact_fractions"]))
    groups += [f"{settings['group']} contact {number + 1}" for number in range(len(contacts))]
    return pack_structures([*structures, *contacts], groups)


def rattle_relax_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Rattle, relax a few steps, repeat; each cycle is a group."""
    import numpy as np

    from superionic.training.distillation import pack_labelled, rattled_and_relaxed

    potential = potential_of(settings, inputs, context)
    atoms = _repeated(inputs["atoms"], settings["supercell"])
    potential.check_elements(atoms)
    labelled = rattled_and_relaxed(
        atoms,
        potential,
        np.random.default_rng(settings["seed"]),
        cycles=settings["cycles"],
        rattle_A=settings["rattle_A"],
        steps=settings["steps"],
        max_strain=settings["max_strain"],
        progress=context.progress,
    )
    largest = [float(np.linalg.norm(forces, axis=1).max()) for forces in labelled.targets.forces_eV_per_A]
    kept = [index for index, force in enumerate(largest) if force <= settings["max_force_eV_per_A"]]
    packed = pack_labelled(labelled.subset(kept))
    packed["groups"] = [f"{settings['group']} relaxed {group}" for group in packed["groups"]]
    return {"dropped": ["the force is above the limit"] * (len(labelled) - len(kept)), "set": packed}


def label_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Label some of the frames by the teacher."""
    from superionic.training.distillation import label_structures, pack_labelled, unpack_structures

    potential = potential_of(settings, inputs, context)
    structures, groups = unpack_structures(inputs["frames"])
    chosen = slice(settings["first"], settings["last"])
    for atoms in structures[chosen][:1]:
        potential.check_elements(atoms)
    labels = label_structures(
        potential,
        structures[chosen],
        groups[chosen],
        max_force_eV_per_A=settings["max_force_eV_per_A"],
        progress=context.progress,
    )
    return {"dropped": list(labels.dropped), "set": pack_labelled(labels.labelled)}


def _repeated(atoms: Any, supercell: Sequence[Sequence[int]]) -> Any:
    import numpy as np
    from ase import Atoms
    from ase.build import make_supercell

    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    return make_supercell(bare, np.array(supercell))
