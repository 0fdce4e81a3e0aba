"""Stage *sample*: molecular dynamics of the selected orderings, and snapshots of it to be labelled.

A run that the monitors stop is not lost: what it did before is sampled as any other, its last frames are among the
snapshots, and the summary says why it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from superionic.errors import CalculationFailed, StageError
from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import (
    Candidate,
    ChosenPotential,
    StageResult,
    Workbench,
    failures_as_data,
    potential_of,
)
from superionic.stages.chains import Phase, chain, md_settings
from superionic.stages.sample_choice import needs_committee, needs_potential

STAGE = "sample"
_SNAPSHOT_VERSION = 2


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    candidates: Sequence[Candidate],
    potential: ChosenPotential,
    temperature_K: float,
    *,
    count: int | None = None,
    explore: Mapping[str, Any] | None = None,
    round_label: str = "",
) -> StageResult:
    """Sample each candidate at one temperature.

    Parameters
    ----------
    settings
        The ``sample`` section.
    bench
        The workbench.
    candidates
        The selected orderings.
    potential
        The potential that drives the dynamics: the universal one, or that of the round before. A committee is asked
        for its disagreement where frames are chosen by it.
    temperature_K
        Temperature of this round.
    count
        Snapshots of each run; that of the settings if None, which must be one number then.
    explore
        The ``learn.active`` section: the run collects frames that the committee disagrees about, and only those are
        snapshots. None for plain sampling.
    round_label
        Sets the runs of this round apart from those of others at the same temperature.

    Returns
    -------
    StageResult
        One candidate per snapshot; its facts name the run that it comes from. An exploration may have none.

    Raises
    ------
    StageError
        If every run failed.
    """
    wanted = settings["snapshots"] if count is None else count
    tail = f" {round_label}" if round_label else ""
    runs = [
        (
            f"{candidate.id} {temperature_K:g} K"
            + (f" replica {replica + 1}" if settings["replicas"] > 1 else "")
            + tail,
            candidate,
        )
        for candidate in candidates
        for replica in range(settings["replicas"])
    ]
    phases = _phases(settings, temperature_K, _limits(settings, bench.mobile_ion, explore))
    # Asking all members costs; a run that is not watched by them needs the first alone.
    mover = potential if explore is not None else replace(potential, committee=())
    tasks = []
    for label, candidate in runs:
        built = chain(bench, STAGE, label, candidate.structure, settings["supercell"], mover, phases)
        tasks.append(_snapshots(settings, bench, label, built, potential, wanted, explore))
    snapshots: list[Candidate] = []
    summaries, failures = [], []
    for (label, candidate), task, outcome in zip(runs, tasks, bench.runner.gather(tasks), strict=True):
        if outcome.failure is not None:
            failures.append(outcome.failure)
            continue
        value = outcome.value
        summaries.append(
            {
                "chosen_by": value["chosen_by"],
                "explored": value["explored"],
                "flags": value["flags"],
                "id": candidate.id,
                "key": task.key,
                "mean_temperature_K": value["mean_temperature_K"],
                "n_frames": value["n_frames"],
                "n_snapshots": len(value["snapshots"]),
                "potential": potential.name,
                "run": label,
                "stopped": value["stopped"],
                "temperature_K": temperature_K,
            }
        )
        for index in range(len(value["snapshots"])):
            facts = {
                "formula": candidate.facts["formula"],
                "ordering": candidate.id,
                "run": label,
                "temperature_K": temperature_K,
            }
            structure = Ref(task, ("snapshots", index))
            snapshots.append(
                Candidate(
                    f"{label} snapshot {index + 1}", candidate.crystal, candidate.composition_label, structure, facts
                )
            )
    if not summaries or (not snapshots and explore is None):
        reasons = "; ".join(sorted({failure.reason for failure in failures})[:3])
        raise StageError(
            f"every sampling run failed ({reasons})", where=STAGE, fix="lower the temperature or time step"
        )
    return StageResult(
        {"failures": failures_as_data(failures), "runs": summaries}, tuple(snapshots), failures=tuple(failures)
    )


def _phases(settings: Mapping[str, Any], temperature_K: float, limits: Mapping[str, Any]) -> tuple[Phase, ...]:
    nvt = md_settings(settings, temperature_K, "nvt")
    longest = settings["segment_ps"]
    return (
        Phase("npt", md_settings(settings, temperature_K, "npt"), settings["npt_ps"], longest, limits=limits),
        Phase(
            "equilibration",
            nvt,
            settings["equilibration_ps"],
            longest,
            average_cell_of="npt",
            discard_fraction=0.2,
            limits=limits,
        ),
        Phase(
            "production",
            nvt,
            settings["production_ps"],
            longest,
            average_cell_of="npt" if settings["equilibration_ps"] == 0 else None,
            discard_fraction=0.2,
            limits=limits,
        ),
    )


def _limits(settings: Mapping[str, Any], mobile_ion: str, explore: Mapping[str, Any] | None) -> dict[str, Any]:
    """Collect the arguments of :class:`superionic.dynamics.md.Limits`."""
    from ase.data import atomic_numbers

    monitors = settings["monitors"]
    drift = monitors["max_drift_meV_per_atom"]
    limits = {
        "conserved_eV_per_atom": None if drift is None else drift * 1.0e-3,
        "distance_fraction": monitors["min_distance_fraction"],
        "keep_frames": True,
        "melting": monitors["melting"],
        "volume_change": monitors["max_volume_change"],
    }
    if monitors["melting"] != "off":
        limits |= {"melting_share": monitors["melting_share"], "mobile_number": int(atomic_numbers[mobile_ion])}
    if explore is not None:
        limits |= {
            "collect_extrapolation": explore["collect_above_eV_per_A"],
            "extrapolation_every": max(1, round(explore["check_every_fs"] / settings["timestep_fs"])),
            "max_collected": explore["labels_per_round"],
            "max_extrapolation": explore["stop_above_eV_per_A"],
        }
    return limits


def _snapshots(
    settings: Mapping[str, Any],
    bench: Workbench,
    label: str,
    built: Mapping[str, Sequence[Task]],
    potential: ChosenPotential,
    count: int,
    explore: Mapping[str, Any] | None,
) -> Task:
    """Build the task that chooses the snapshots of one run."""
    production = built["production"]
    before = [segment for phase in ("npt", "equilibration") for segment in built.get(phase, ())]
    every = [*before, *production]
    chosen: dict[str, Any] = {
        "count": count,
        "frame_interval_fs": settings["save_every_fs"],
        "last_frames": settings["monitors"]["last_frames"],
        "max_strain": settings["max_strain"],
        "seed": bench.seed_for(STAGE, label, "snapshots"),
    }
    inputs: dict[str, Any] = {
        "cells": [segment["cells"] for segment in production],
        "cells_before": [segment["cells"] for segment in before],
        "flags": [segment["flags"] for segment in every],
        "numbers": production[0]["numbers"],
        "positions": [segment["positions"] for segment in production],
        "positions_before": [segment["positions"] for segment in before],
        "stopped": production[-1]["stopped"],
        "temperatures_K": [segment["temperatures_K"] for segment in production],
    }
    asked: ChosenPotential | None = None
    if explore is None:
        chosen |= {"method": settings["snapshot_method"], "mixture": dict(settings["snapshot_mixture"])}
        if needs_potential(chosen["method"], chosen["mixture"]):
            asked = (
                potential if needs_committee(chosen["method"], chosen["mixture"]) else replace(potential, committee=())
            )
            chosen["candidate_frames"] = settings["candidate_frames"]
    else:
        chosen |= {"collect_above": explore["collect_above_eV_per_A"], "timestep_fs": settings["timestep_fs"]}
        inputs |= {
            "collected_cells": [segment["collected_cells_A"] for segment in every],
            "collected_positions": [segment["collected_positions_A"] for segment in every],
            "grades": [segment["extrapolation"] for segment in every],
            "collected_grades": [segment["collected_grades"] for segment in every],
            "steps": [segment["state"] for segment in (before[-1:] if before else [])] + [production[-1]["state"]],
        }
    function = "snapshots_task" if explore is None else "collected_task"
    return bench.task(
        STAGE,
        f"snapshots of {label}",
        f"superionic.stages.sample:{function}",
        _SNAPSHOT_VERSION,
        chosen,
        inputs,
        potential=asked,
    )


# ---- task functions -----------------------------------------------------------------------------------------------


def snapshots_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Choose frames of a run and strain each at random; of a run that stopped the last ones, as they are, too."""
    import numpy as np

    from superionic.stages.sample_choice import BEFORE_THE_STOP, Frames, choose, last_frames

    stopped = inputs["stopped"]
    frames = Frames(inputs["numbers"], np.concatenate(inputs["positions"]), np.concatenate(inputs["cells"]))
    from_production = len(frames)
    if stopped is not None and not from_production:
        frames = _frames_before(inputs)
    if len(frames) == 0:
        raise CalculationFailed(f"no frame to sample: {stopped or 'the run saved none'}")
    rng = np.random.default_rng(settings["seed"])
    count = min(settings["count"], len(frames))
    last = []
    if stopped is not None:
        last = last_frames(len(frames), min(settings["last_frames"], count), settings["frame_interval_fs"])
    chosen = choose(
        frames,
        count - len(last) if from_production else 0,
        settings["method"],
        settings["mixture"],
        rng=rng,
        candidate_frames=settings.get("candidate_frames", 1),
        potential=potential_of(settings, inputs, context) if "potential" in settings else None,
        taken=last,
        progress=context.progress,
    )
    chosen += [(frame, BEFORE_THE_STOP) for frame in last]
    return {
        **_taken(frames, chosen, settings["max_strain"], rng),
        "explored": None,
        "flags": _flags(inputs),
        "mean_temperature_K": _mean_temperature(inputs),
        "n_frames": from_production,
        "stopped": stopped,
    }


def collected_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Choose frames that the committee disagreed about, and tell how much of the run it disagreed about.

    A run that stopped without a frame of high disagreement (the members were wrong together) gives its last frames.
    """
    import numpy as np

    from superionic.stages.sample_choice import BEFORE_THE_STOP, Frames, last_frames
    from superionic.training.distillation import pick_by_grade

    positions, cells = np.concatenate(inputs["collected_positions"]), np.concatenate(inputs["collected_cells"])
    grades = [float(grade) for grade in np.concatenate(inputs["collected_grades"])]
    seen = np.concatenate(inputs["grades"])
    frames = Frames(inputs["numbers"], positions, cells)
    chosen = [(frame, "committee") for frame in pick_by_grade(grades, settings["count"])]
    stopped = inputs["stopped"]
    if stopped is not None and not chosen:
        frames = _frames_before(inputs)
        wanted = min(settings["last_frames"], settings["count"])
        last = last_frames(len(frames), wanted, settings["frame_interval_fs"])
        chosen = [(frame, BEFORE_THE_STOP) for frame in last]
    return {
        **_taken(frames, chosen, 0.0, np.random.default_rng(settings["seed"])),
        "explored": {
            "length_ps": sum(int(state["step"]) for state in inputs["steps"]) * settings["timestep_fs"] * 1.0e-3,
            "looked_at": len(seen),
            "worst_eV_per_A": float(np.max(seen)) if len(seen) else None,
            "above": int(np.sum(~(seen <= settings["collect_above"]))),
        },
        "flags": _flags(inputs),
        "mean_temperature_K": _mean_temperature(inputs),
        "n_frames": int(sum(len(part) for part in inputs["positions"])),
        "stopped": stopped,
    }


def _frames_before(inputs: Mapping[str, Any]) -> Any:
    """Frames of all phases, in order of time."""
    import numpy as np

    from superionic.stages.sample_choice import Frames

    positions = np.concatenate([*inputs["positions_before"], *inputs["positions"]])
    return Frames(inputs["numbers"], positions, np.concatenate([*inputs["cells_before"], *inputs["cells"]]))


def _taken(frames: Any, chosen: Sequence[tuple[int, str]], max_strain: float, rng: Any) -> dict[str, Any]:
    """Make structures of the chosen frames; those at the edge of what the potential knows are not strained further."""
    from superionic.stages.sample_choice import BEFORE_THE_STOP
    from superionic.thermodynamics.selection import random_strain

    snapshots = []
    for frame, method in chosen:
        atoms = frames.atoms(frame)
        if max_strain > 0 and method != BEFORE_THE_STOP:
            atoms = random_strain(atoms, max_strain, rng)
        atoms.wrap()
        snapshots.append(atoms)
    return {
        "chosen_by": {method: sum(name == method for _, name in chosen) for method in sorted({n for _, n in chosen})},
        "frames": [int(frame) for frame, _ in chosen],
        "snapshots": snapshots,
    }


def _flags(inputs: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(flag for flags in inputs["flags"] for flag in flags))


def _mean_temperature(inputs: Mapping[str, Any]) -> float | None:
    import numpy as np

    temperatures = np.concatenate(inputs["temperatures_K"])
    return float(np.mean(temperatures)) if len(temperatures) else None
