"""Stage *sample*: molecular dynamics of the selected orderings, and snapshots of it to be labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.errors import StageError
from superionic.execution.task import Context, Ref
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench, failures_as_data
from superionic.stages.chains import Phase, chain, md_settings

STAGE = "sample"
_SNAPSHOT_VERSION = 1


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    candidates: Sequence[Candidate],
    potential: ChosenPotential,
    temperature_K: float,
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
        The potential that drives the dynamics: the universal one, or that of the round before.
    temperature_K
        Temperature of this round.

    Returns
    -------
    StageResult
        One candidate per snapshot; its facts name the run that it comes from.

    Raises
    ------
    StageError
        If every run failed.
    """
    runs = [
        (
            f"{candidate.id} {temperature_K:g} K" + (f" replica {replica + 1}" if settings["replicas"] > 1 else ""),
            candidate,
        )
        for candidate in candidates
        for replica in range(settings["replicas"])
    ]
    npt = Phase("npt", md_settings(settings, temperature_K, "npt"), settings["npt_ps"], settings["segment_ps"])
    nvt = md_settings(settings, temperature_K, "nvt")
    tasks = []
    for label, candidate in runs:
        phases = (
            npt,
            Phase(
                "equilibration",
                nvt,
                settings["equilibration_ps"],
                settings["segment_ps"],
                average_cell_of="npt",
                discard_fraction=0.2,
            ),
            Phase(
                "production",
                nvt,
                settings["production_ps"],
                settings["segment_ps"],
                average_cell_of="npt" if settings["equilibration_ps"] == 0 else None,
                discard_fraction=0.2,
            ),
        )
        built = chain(bench, STAGE, label, candidate.structure, settings["supercell"], potential, phases)
        production = built["production"]
        tasks.append(
            bench.task(
                STAGE,
                f"snapshots of {label}",
                "superionic.stages.sample:snapshots_task",
                _SNAPSHOT_VERSION,
                {
                    "count": settings["snapshots"],
                    "max_strain": settings["max_strain"],
                    "method": settings["snapshot_method"],
                    "seed": bench.seed_for(STAGE, label, "snapshots"),
                },
                {
                    "cells": [segment["cells"] for segment in production],
                    "numbers": production[0]["numbers"],
                    "positions": [segment["positions"] for segment in production],
                    "temperatures_K": [segment["temperatures_K"] for segment in production],
                },
            )
        )
    snapshots: list[Candidate] = []
    summaries, failures = [], []
    for (label, candidate), task, outcome in zip(runs, tasks, bench.runner.gather(tasks), strict=True):
        if outcome.failure is not None:
            failures.append(outcome.failure)
            continue
        value = outcome.value
        summaries.append(
            {
                "id": candidate.id,
                "key": task.key,
                "mean_temperature_K": value["mean_temperature_K"],
                "n_frames": value["n_frames"],
                "n_snapshots": len(value["snapshots"]),
                "potential": potential.name,
                "run": label,
                "temperature_K": temperature_K,
            }
        )
        for index in range(len(value["snapshots"])):
            facts = {"formula": candidate.facts["formula"], "run": label, "temperature_K": temperature_K}
            structure = Ref(task, ("snapshots", index))
            snapshots.append(
                Candidate(
                    f"{label} snapshot {index + 1}", candidate.crystal, candidate.composition_label, structure, facts
                )
            )
    if not snapshots:
        reasons = "; ".join(sorted({failure.reason for failure in failures})[:3])
        raise StageError(
            f"every sampling run failed ({reasons})", where=STAGE, fix="lower the temperature or time step"
        )
    return StageResult(
        {"failures": failures_as_data(failures), "runs": summaries}, tuple(snapshots), failures=tuple(failures)
    )


def snapshots_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Pick frames of a trajectory and strain each at random."""
    import numpy as np
    from ase import Atoms

    from superionic.thermodynamics.selection import farthest_point_sampling, random_snapshots, random_strain

    positions = np.concatenate(inputs["positions"])
    cells = np.concatenate(inputs["cells"])
    rng = np.random.default_rng(settings["seed"])
    count = min(settings["count"], len(positions))
    if settings["method"] == "random":
        frames = random_snapshots(len(positions), count, rng)
    else:
        frames = farthest_point_sampling(positions, cells[0], count)
    snapshots = []
    for frame in frames:
        atoms = Atoms(numbers=inputs["numbers"], positions=positions[frame], cell=cells[frame], pbc=True)
        if settings["max_strain"] > 0:
            atoms = random_strain(atoms, settings["max_strain"], rng)
        atoms.wrap()
        snapshots.append(atoms)
    return {
        "frames": [int(frame) for frame in frames],
        "mean_temperature_K": float(np.mean(np.concatenate(inputs["temperatures_K"]))),
        "n_frames": len(positions),
        "snapshots": snapshots,
    }
