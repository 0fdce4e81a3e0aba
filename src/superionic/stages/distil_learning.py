"""How the students learn: training in segments, exploration when hot, and what comes back to the teacher.

A part of the stage *distil*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import ChosenPotential, Workbench
from superionic.stages.distil_data import PART_OF_RUN, STAGE, ComparedRun, distorted, nvt

_DATASET_VERSION = 1
_TRAIN_VERSION = 1
_FINISH_VERSION = 1
_COLLECTED_VERSION = 1

STUDENT = "student"


def student_of(weights: Ref, teacher: ChosenPotential, member: int) -> ChosenPotential:
    """Return a trained student as a potential for tasks: in the core, with the teacher's scale of energy."""
    convention = teacher.identity.energy_convention
    level = f"{teacher.identity.level_of_theory}, by a student of {teacher.name}"
    identity = replace(
        teacher.identity,
        checkpoint_sha256=weights.task.key,
        level_of_theory=level,
        licence="that of the teacher",
        model=f"student {member + 1} of {teacher.name}",
        name="nep",
        version="1",
    )
    options = {"energy_convention": convention, "level_of_theory": level}
    return ChosenPotential(STUDENT, "core", {"name": "nep", "model": None, "options": options}, identity, weights)


@dataclass(frozen=True)
class Fit:
    """The students after one round.

    Attributes
    ----------
    dataset
        The task with data and split.
    states
        The last training segment of each member.
    finished
        The task with the weights of each member.
    students
        The members as potentials.
    """

    dataset: Task
    states: tuple[Task, ...]
    finished: tuple[Task, ...]
    students: tuple[ChosenPotential, ...]


def fit(
    settings: Mapping[str, Any],
    bench: Workbench,
    labels: Sequence[Task],
    teacher: ChosenPotential,
    round_number: int,
    before: Fit | None,
) -> Fit:
    """Build the training of all members on the labels so far, from where the round before left them."""
    members = range(settings["students"])
    tail = f"round {round_number}"
    dataset = bench.task(
        STAGE,
        f"data {tail}",
        "superionic.stages.distil_learning:dataset_task",
        _DATASET_VERSION,
        {
            "max_structures": settings["data"]["max_structures"],
            "seeds": [bench.seed_for(STAGE, "split", member) for member in members],
            "validation_fraction": settings["validation_fraction"],
        },
        {"sets": [task["set"] for task in labels]},
    )
    epochs = settings["epochs"] if before is None else settings["refit_epochs"]
    rate_fraction = 1.0 if before is None else settings["refit_rate_fraction"]
    options = dict(settings["options"])
    if settings["learning_rate"] is not None:
        options["learning_rate"] = settings["learning_rate"]
    states = []
    for member in members:
        state = None if before is None else before.states[member]
        for number, first in enumerate(range(0, epochs, settings["epochs_per_segment"])):
            state = bench.task(
                STAGE,
                f"training of student {member + 1} {tail} {number + 1}",
                "superionic.stages.distil_learning:train_task",
                _TRAIN_VERSION,
                {
                    "begin": None if number else {"epochs": epochs, "rate_fraction": rate_fraction},
                    "n_epochs": min(settings["epochs_per_segment"], epochs - first),
                    "options": options,
                    "seed": bench.seed_for(STAGE, "student", member),
                },
                {
                    "set": dataset["set"],
                    "split": Ref(dataset, ("splits", member)),
                    **({} if state is None else {"state": state["state"]}),
                },
            )
        if state is None:
            raise ValueError("a student must be trained for at least one epoch")
        states.append(state)
    finished = tuple(
        bench.task(
            STAGE,
            f"student {member + 1} {tail}",
            "superionic.stages.distil_learning:finish_task",
            _FINISH_VERSION,
            {},
            {"set": dataset["set"], "split": Ref(dataset, ("splits", member)), "state": states[member]["state"]},
        )
        for member in members
    )
    students = tuple(student_of(task["weights"], teacher, member) for member, task in enumerate(finished))
    return Fit(dataset, tuple(states), finished, students)


@dataclass(frozen=True)
class Exploration:
    """What one hot run of a student showed.

    Attributes
    ----------
    run
        Where it started.
    member
        Which student ran.
    clean_ps
        How long it ran before it extrapolated too far or failed.
    ended
        Why it ended early; empty if it did not.
    worst_grade
        Largest extrapolation grade on the way; None if none was taken.
    n_collected
        Frames kept for the teacher.
    good
        Segments that were made.
    """

    run: ComparedRun
    member: int
    clean_ps: float
    ended: str
    worst_grade: float | None
    n_collected: int
    good: tuple[Task, ...]


def explore(
    settings: Mapping[str, Any],
    bench: Workbench,
    runs: Sequence[ComparedRun],
    students: Sequence[ChosenPotential],
    round_number: int,
) -> list[Exploration]:
    """Let every student run hot from each start, and see how far it comes."""
    chosen = settings["explore"]
    every = max(1, round(chosen["check_every_fs"] / settings["timestep_fs"]))
    limits = {
        "collect_extrapolation": chosen["collect_above"],
        "extrapolation_every": every,
        "max_collected": chosen["labels_per_round"],
        "max_extrapolation": chosen["stop_above"],
    }
    hot = {**settings, "equilibration_ps": 0.0}
    walks = [(run, member) for run in runs for member in range(len(students))]
    chains = [
        nvt(
            hot,
            bench,
            f"exploration {round_number} of {run.candidate.id} by student {member + 1}",
            run.start,
            chosen["temperature_K"],
            students[member],
            chosen["length_ps"],
            limits=limits,
        )
        for run, member in walks
    ]
    outcomes = iter(bench.runner.gather([segment for segments in chains for segment in segments]))
    found = []
    for (run, member), segments in zip(walks, chains, strict=True):
        clean, ended, grades, collected = 0.0, "", [], 0
        good = []
        for segment, outcome in [(segment, next(outcomes)) for segment in segments]:
            if outcome.failure is not None:
                ended = ended or outcome.failure.reason
                continue
            value = outcome.value
            good.append(segment)
            collected += len(value["collected_grades"])
            grades += [float(grade) for grade in value["extrapolation"]]
            if not ended:
                clean = value["state"]["step"] * settings["timestep_fs"] * 1.0e-3
                ended = value["stopped"] or ""
        found.append(Exploration(run, member, clean, ended, max(grades, default=None), collected, tuple(good)))
    return found


def collected_frames(
    settings: Mapping[str, Any], bench: Workbench, explored: Sequence[Exploration], round_number: int
) -> list[tuple[str, Task, int]]:
    """Build the tasks that choose what the teacher is asked about.

    Returns
    -------
    list
        Label, task with frames, and how many frames it has at most. A run that failed without having noticed that it
        extrapolates gives its last frames, and distorted structures of its start besides.
    """
    share = max(1, settings["explore"]["labels_per_round"] // max(1, len(explored)))
    found = []
    for exploration in explored:
        label = f"{exploration.run.candidate.id} exploration {round_number} by student {exploration.member + 1}"
        if exploration.good:
            take = share if exploration.n_collected else max(1, share // 2)
            task = bench.task(
                STAGE,
                f"chosen from {label}",
                "superionic.stages.distil_learning:collected_task",
                _COLLECTED_VERSION,
                {"count": take, "group": label},
                {
                    "cells": [segment["cells"] for segment in exploration.good],
                    "collected_cells": [segment["collected_cells_A"] for segment in exploration.good],
                    "collected_positions": [segment["collected_positions_A"] for segment in exploration.good],
                    "grades": [segment["collected_grades"] for segment in exploration.good],
                    "numbers": exploration.good[0]["numbers"],
                    "positions": [segment["positions"] for segment in exploration.good],
                },
            )
            found.append((label, task, take))
        if exploration.ended and not exploration.n_collected:
            counts = (max(1, share // 4), max(1, share // 4))
            word = f"after round {round_number} by student {exploration.member + 1}"
            once = {**settings, "supercell": ((1, 0, 0), (0, 1, 0), (0, 0, 1))}
            task = distorted(once, bench, exploration.run.candidate.id, exploration.run.start, counts, word)
            found.append((f"{label} distorted", task, sum(counts)))
    return found


# ---- task functions -----------------------------------------------------------------------------------------------


def dataset_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Put labels together and deal them into the parts of each member."""
    from superionic.training.committee import member_split
    from superionic.training.distillation import evenly, merge_sets, pack_labelled, unpack_labelled

    merged = merge_sets([unpack_labelled(packed) for packed in inputs["sets"]])
    if len(merged) > settings["max_structures"]:
        merged = merged.subset(evenly(len(merged), settings["max_structures"]))
    # The epoch is chosen by what a student is for, runs; errors on hot, distorted structures would drown those.
    made_up = {group for group in merged.groups if PART_OF_RUN not in group}
    splits = [
        member_split(merged.groups, settings["validation_fraction"], seed, only_training=made_up)
        for seed in settings["seeds"]
    ]
    return {
        "n": len(merged),
        "n_groups": len(set(merged.groups)),
        "notes": list(dict.fromkeys(note for split in splits for note in split.notes)),
        "set": pack_labelled(merged),
        "splits": [{"train": list(split.train), "validation": list(split.validation)} for split in splits],
    }


def train_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Train a student for some epochs, from scratch or from the state that was left."""
    from dataclasses import replace

    from superionic.training import nep
    from superionic.training.distillation import unpack_labelled

    labelled = unpack_labelled(inputs["set"])
    train = labelled.subset(inputs["split"]["train"])
    validation = labelled.subset(inputs["split"]["validation"])
    begin = settings["begin"]
    options = nep.NepOptions(**settings["options"])
    if "state" not in inputs:
        state = nep.start(train, replace(options, epochs=begin["epochs"]), settings["seed"])
    else:
        state = nep.NepState.from_dict(inputs["state"])
        if begin is not None:
            rate = begin["rate_fraction"] * options.learning_rate
            state = nep.continue_with(state, epochs=begin["epochs"], learning_rate=rate)
    state = nep.train_epochs(state, train, validation, settings["n_epochs"], progress=context.progress)
    return {"state": state.to_dict()}


def finish_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Take the weights of the best epoch, with the measure of extrapolation, out of the last state."""
    from superionic.training import nep
    from superionic.training.distillation import unpack_labelled

    state = nep.NepState.from_dict(inputs["state"])
    train = unpack_labelled(inputs["set"]).subset(inputs["split"]["train"])
    return {
        "history": [dict(entry) for entry in state.history],
        "n_train": len(train),
        "n_validation": len(inputs["split"]["validation"]),
        "weights": dict(nep.finish(state, train)),
    }


def collected_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Choose frames where the student extrapolated most; where it never noticed, the last ones of its run."""
    import numpy as np
    from ase import Atoms

    from superionic.training.distillation import pack_structures, pick_by_grade

    grades = np.concatenate([np.asarray(grade) for grade in inputs["grades"]])
    if len(grades):
        positions, cells = np.concatenate(inputs["collected_positions"]), np.concatenate(inputs["collected_cells"])
        chosen = pick_by_grade([float(grade) for grade in grades], settings["count"])
    else:
        positions, cells = np.concatenate(inputs["positions"]), np.concatenate(inputs["cells"])
        chosen = list(range(max(0, len(positions) - settings["count"]), len(positions)))
    structures = [
        Atoms(numbers=inputs["numbers"], positions=positions[frame], cell=cells[frame], pbc=True) for frame in chosen
    ]
    for atoms in structures:
        atoms.wrap()
    return pack_structures(structures, [settings["group"]] * len(structures))
