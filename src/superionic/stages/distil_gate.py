"""The gate: what the students say on the teacher's own ground, and whether that will do.

A part of the stage *distil*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from superionic.execution.runner import Failure
from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import ChosenPotential, Workbench, potential_of
from superionic.stages.distil_data import STAGE, ComparedRun, student_run

if TYPE_CHECKING:
    from superionic.training.dataset import Targets
    from superionic.training.parity import DiffusivityPair
    from superionic.transport.estimate import Estimate

_MERGE_VERSION = 1
_PREDICT_VERSION = 1
_COMPARE_VERSION = 4
_VERDICT_VERSION = 2

_MOST_PARITY_FORCES = 1500
_RDF_RANGE_A = 8.0


def held_out_set(bench: Workbench, labels: Sequence[Task]) -> Task:
    """Build the task that puts the labels of the unseen frames together."""
    return bench.task(
        STAGE,
        "held-out set",
        "superionic.stages.distil_gate:merge_task",
        _MERGE_VERSION,
        {},
        {"sets": [task["set"] for task in labels]},
    )


def predictions_of(bench: Workbench, label: str, held_out: Task, students: Sequence[ChosenPotential]) -> list[Task]:
    """Build the tasks in which each member evaluates the unseen frames."""
    return [
        bench.task(
            STAGE,
            f"student {member + 1} on unseen frames {label}",
            "superionic.stages.distil_gate:predict_task",
            _PREDICT_VERSION,
            {},
            {"set": held_out["set"]},
            potential=student,
        )
        for member, student in enumerate(students)
    ]


def compared(
    settings: Mapping[str, Any], bench: Workbench, runs: Sequence[ComparedRun], students: Sequence[ChosenPotential]
) -> tuple[list[tuple[ComparedRun, Task]], list[Failure]]:
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
    wanted = [own for members in repeated for own in members]
    # NPT and NVT of a member do not read one another, so both are asked for.
    ends = [task for own in wanted for task in [*own.npt[-1:], own.last]]
    failed = {o.task.key: o.failure for o in bench.runner.gather(ends) if o.failure is not None}
    failures = list({f.key: f for f in failed.values()}.values())
    comparisons = []
    for run, members in zip(runs, repeated, strict=True):
        sound = [own for own in members if not any(task.key in failed for task in [*own.npt[-1:], own.last])]
        if sound:
            comparisons.append((run, _comparison(settings, bench, run, sound)))
    return comparisons, failures


def _comparison(
    settings: Mapping[str, Any], bench: Workbench, run: ComparedRun, members: Sequence[ComparedRun]
) -> Task:
    every = max(1, round(settings["save_every_fs"] / settings["timestep_fs"]))
    inputs: dict[str, Ref | Sequence[Ref]] = {
        "cell": run.production[0]["cells"],
        "numbers": run.production[0]["numbers"],
    }
    for number, one in enumerate([run, *members]):
        inputs[f"npt_cells_{number}"] = [segment["cells"] for segment in one.npt]
        inputs[f"positions_{number}"] = [segment["positions"] for segment in one.production]
    return bench.task(
        STAGE,
        f"comparison of {run.name}",
        "superionic.stages.distil_gate:compare_task",
        _COMPARE_VERSION,
        {
            "charge": bench.oxidation_states[bench.mobile_ion],
            "frame_interval_ps": every * settings["timestep_fs"] * 1.0e-3,
            "mobile_ion": bench.mobile_ion,
            "n_runs": 1 + len(members),
            "npt_correlation_fraction": _correlation_fraction(settings),
            "r_max_A": _RDF_RANGE_A,
            "temperature_K": run.temperature_K,
        },
        inputs,
    )


def _correlation_fraction(settings: Mapping[str, Any]) -> float:
    """Return the relaxation time of the barostat over the length of the NPT run."""
    if settings["npt_ps"] == 0:
        return 0.0
    return min(1.0, float(settings["barostat_time_fs"]) * 1.0e-3 / float(settings["npt_ps"]))


def verdict_task_of(
    settings: Mapping[str, Any],
    bench: Workbench,
    held_out: Task,
    predictions: Sequence[Task],
    first_predictions: Sequence[Task],
    comparisons: Sequence[tuple[ComparedRun, Task]],
    failures: Sequence[Failure],
    clean_ps: Sequence[float],
) -> Task:
    """Build the task that judges."""
    return bench.task(
        STAGE,
        "verdict",
        "superionic.stages.distil_gate:verdict_task",
        _VERDICT_VERSION,
        {
            "clean_ps": list(clean_ps),
            "explore_K": settings["explore"]["temperature_K"],
            "failures": [f"{failure.label}: {failure.reason}" for failure in failures],
            "limits": dict(settings["parity"]),
            "n_runs": len(comparisons),
            "names": [run.name for run, _ in comparisons],
            "temperatures_K": [run.temperature_K for run, _ in comparisons],
            "wanted_ps": settings["explore"]["clean_ps"],
        },
        {
            "compared": [Ref(task) for _, task in comparisons],
            "first": [Ref(task) for task in first_predictions],
            "members": [Ref(task) for task in predictions],
            "set": held_out["set"],
        },
    )


# ---- task functions -----------------------------------------------------------------------------------------------


def merge_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Put labelled sets together."""
    from superionic.training.distillation import merge_sets, pack_labelled, unpack_labelled

    merged = merge_sets([unpack_labelled(packed) for packed in inputs["sets"]])
    return {"n": len(merged), "set": pack_labelled(merged)}


def predict_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Evaluate a set by a student; forces of all structures in one array."""
    import numpy as np

    from superionic.training.distillation import unpack_structures

    potential = potential_of(settings, inputs, context)
    structures, _ = unpack_structures(inputs["set"])
    made = [potential.evaluate(atoms) for atoms in structures]
    return {
        "energies_eV": np.array([one.energy_eV for one in made]),
        "forces_eV_per_A": np.concatenate([one.forces_eV_per_A for one in made]),
        "stresses_eV_per_A3": np.array([one.stress_eV_per_A3 for one in made]),
    }


def compare_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Compare one run of the teacher with the members' repetitions of it: distances, volumes, diffusivities."""
    import numpy as np
    from ase.data import atomic_masses, atomic_numbers

    from superionic.training.pair_distances import distance_overlap, pair_distances
    from superionic.training.parity import mean_volume
    from superionic.transport.analysis import analyse_displacements

    numbers, cell = np.asarray(inputs["numbers"]), np.asarray(inputs["cell"])[0]
    distances, diffusivities, hops = [], [], []
    runs = range(settings["n_runs"])
    for run in runs:
        positions = np.concatenate(inputs[f"positions_{run}"])
        distances.append(pair_distances(positions, cell, numbers, r_max_A=settings["r_max_A"]))
        analysis = analyse_displacements(
            positions,
            cell,
            numbers == atomic_numbers[settings["mobile_ion"]],
            settings["frame_interval_ps"],
            settings["temperature_K"],
            settings["charge"],
            masses=atomic_masses[numbers],
        )
        diffusivities.append(analysis.tracer_diffusivity_cm2_per_s.to_dict())
        hops.append(int(analysis.n_hops))
    npt = [inputs[f"npt_cells_{run}"] for run in runs]
    correlation = settings["npt_correlation_fraction"]
    volumes = [
        mean_volume(np.concatenate(parts), len(numbers), correlation_fraction=correlation) for parts in npt if parts
    ]
    overlaps = [
        [found for member in distances[1:] if (found := distance_overlap(teacher, member[index])) is not None]
        for index, teacher in enumerate(distances[0])
    ]
    return {
        "diffusivities_cm2_per_s": diffusivities,
        "hops": hops,
        "length_ps": (sum(len(part) for part in inputs["positions_0"]) - 1) * settings["frame_interval_ps"],
        "n_atoms": len(numbers),
        "pairs": [
            {
                "members": [[float(g) for g in np.round(member[index].g, 4)] for member in distances[1:]],
                "noise": max(overlap.noise for overlap in overlaps[index]),
                "overlaps": [overlap.overlap for overlap in overlaps[index]],
                "pair": teacher.pair,
                "r_A": [float(r) for r in np.round(teacher.centres_A, 4)],
                "teacher": [float(g) for g in np.round(teacher.g, 4)],
            }
            for index, teacher in enumerate(distances[0])
            if overlaps[index]
        ],
        "volumes_A3_per_atom": [{"error": volume.error, "value": volume.A3_per_atom} for volume in volumes],
    }


def verdict_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Judge the students by all that was compared, and say what the transfer adds to the error."""
    import numpy as np

    from superionic.training.committee import committee_mean, disagreement
    from superionic.training.distillation import evenly, unpack_labelled
    from superionic.training.metrics import errors
    from superionic.training.pair_distances import Overlap
    from superionic.training.parity import (
        Criterion,
        MeanVolume,
        Verdict,
        diffusivity_criteria,
        error_criteria,
        rms_force_eV_per_A,
        stability_criterion,
        structure_criterion,
        transfer_error,
        volume_criterion,
    )

    limits, teacher = settings["limits"], unpack_labelled(inputs["set"]).targets
    members = [_targets(values, teacher) for values in inputs["members"]]
    first = [_targets(values, teacher) for values in inputs["first"]]
    criteria, metrics = error_criteria(
        members,
        teacher,
        max_energy_rmse_meV_per_atom=limits["max_energy_rmse_meV_per_atom"],
        max_force_error_ratio=limits["max_force_error_ratio"],
        max_stress_rmse_GPa=limits["max_stress_rmse_GPa"],
    )
    overlaps = {
        name: [Overlap(pair["pair"], min(pair["overlaps"]), pair["noise"]) for pair in found["pairs"]]
        for name, found in zip(settings["names"], inputs["compared"], strict=True)
    }
    volumes = {
        name: (sizes[0], sizes[1:])
        for name, found in zip(settings["names"], inputs["compared"], strict=True)
        if (sizes := [MeanVolume(v["value"], v["error"]) for v in found["volumes_A3_per_atom"]])
    }
    pairs = [
        _pair(name, temperature, found)
        for name, temperature, found in zip(
            settings["names"], settings["temperatures_K"], inputs["compared"], strict=True
        )
    ]
    criteria.append(stability_criterion(settings["clean_ps"], settings["wanted_ps"], settings["explore_K"]))
    failed = settings["failures"]
    criteria.append(
        Criterion(
            "runs that repeat the teacher's",
            not failed,
            f"{len(failed)} failed, the first: {failed[0]}" if failed else "none failed",
        )
    )
    criteria.append(structure_criterion(overlaps, min_overlap=limits["min_overlap"]))
    criteria.append(volume_criterion(volumes, max_difference_percent=limits["max_volume_difference_percent"]))
    criteria += diffusivity_criteria(pairs)
    transfer = transfer_error(pairs)
    mean = committee_mean(members)
    reference = np.concatenate(teacher.forces_eV_per_A).ravel()
    shown = evenly(len(reference), _MOST_PARITY_FORCES)
    predicted = np.concatenate(mean.forces_eV_per_A).ravel()
    return {
        "committee": None if len(members) < 2 else disagreement(members).summary(),
        "errors": {
            "after": [metric.to_dict() for metric in metrics],
            "after_mean": errors(mean, teacher).to_dict(),
            "first": [errors(one, teacher).to_dict() for one in first],
            "rms_force_meV_per_A": 1.0e3 * rms_force_eV_per_A(teacher),
        },
        "parity": {
            "energy_eV_per_atom": {
                "student": [float(x) for x in mean.energies_eV / mean.n_atoms],
                "teacher": [float(x) for x in teacher.energies_eV / teacher.n_atoms],
            },
            "force_eV_per_A": {
                "student": [float(predicted[i]) for i in shown],
                "teacher": [float(reference[i]) for i in shown],
            },
        },
        "transfer": None if transfer is None else transfer.to_dict(),
        "verdict": Verdict(tuple(criteria)).to_dict(),
    }


def _targets(values: Mapping[str, Any], like: Targets) -> Targets:
    import numpy as np

    from superionic.training.dataset import Targets

    forces = np.split(values["forces_eV_per_A"], np.cumsum(like.n_atoms)[:-1])
    return Targets(values["energies_eV"], tuple(forces), values["stresses_eV_per_A3"])


def _pair(name: str, temperature_K: float, found: Mapping[str, Any]) -> DiffusivityPair:
    from superionic.training.parity import DiffusivityPair

    estimates = [_estimate(values) for values in found["diffusivities_cm2_per_s"]]
    return DiffusivityPair(name, temperature_K, estimates[0], tuple(estimates[1:]), tuple(found["hops"]))


def _estimate(values: Mapping[str, Any]) -> Estimate:
    from superionic.transport.estimate import Estimate

    def number(value: float | None) -> float:
        return float("inf") if value is None else value

    return Estimate(
        value=number(values["value"]),
        error=number(values["error"]),
        interval68=(number(values["interval68"][0]), number(values["interval68"][1])),
        interval95=(number(values["interval95"][0]), number(values["interval95"][1])),
        is_upper_bound=values["is_upper_bound"],
    )
