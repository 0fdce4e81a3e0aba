"""Stage *transport*: NPT equilibration, average cell, NVT production, at several temperatures and with replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from superionic.errors import StageError
from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench, failures_as_data
from superionic.stages.chains import Phase, chain, md_settings

STAGE = "transport"
_RUN_VERSION = 2
_STUDENT = "student"
# A grade costs about as much as a step of the student.
_GRADE_EVERY_FS = 200.0
_NEVER = 1.0e12


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    candidates: Sequence[Candidate],
    potentials: Sequence[ChosenPotential],
) -> StageResult:
    """Run molecular dynamics of the lowest orderings.

    Parameters
    ----------
    settings
        The ``transport`` section.
    bench
        The workbench.
    candidates
        Relaxed orderings with their energies; references are left out.
    potentials
        The potential that drives the dynamics, or the members of a committee: replicas take turns with them, so that
        what the replicas scatter by holds what the members disagree by.

    Returns
    -------
    StageResult
        Candidates are the runs: their structure is the trajectory (see :func:`collect_task`), their facts say which
        ordering, temperature and replica.

    Raises
    ------
    StageError
        If every run failed, or no ordering is left to run.
    """
    chosen = lowest_orderings(settings, candidates)
    runs, tasks = [], []
    for candidate in chosen:
        for temperature in settings["temperatures_K"]:
            for replica in range(settings["replicas"]):
                member = replica % len(potentials)
                label = f"{candidate.id} {temperature:g} K"
                if settings["replicas"] > 1:
                    label += f" replica {replica + 1}"
                built = chain(
                    bench,
                    STAGE,
                    label,
                    candidate.structure,
                    settings["supercell"],
                    potentials[member],
                    _phases(settings, temperature, _limits(settings, potentials[member])),
                )
                production, npt = built["production"], built.get("npt", [])
                tasks.append(
                    bench.task(
                        STAGE,
                        f"trajectory of {label}",
                        "superionic.stages.transport:collect_task",
                        _RUN_VERSION,
                        {"frame_interval_ps": _frame_interval_ps(settings), "mobile_ion": bench.mobile_ion},
                        {
                            "cells": [segment["cells"] for segment in production],
                            "flags": [segment["flags"] for segment in [*npt, *production]],
                            "npt_cells": [segment["cells"] for segment in npt],
                            "npt_times_ps": [segment["times_ps"] for segment in npt],
                            "numbers": production[0]["numbers"],
                            "temperatures_K": [segment["temperatures_K"] for segment in production],
                            **_grades(potentials[member], [*npt, *production]),
                        },
                    )
                )
                facts = {
                    **candidate.facts,
                    "positions": [segment["positions"] for segment in production],
                    "frame_interval_ps": _frame_interval_ps(settings),
                    "member": member + 1 if len(potentials) > 1 else None,
                    "replica": replica + 1,
                    "temperature_K": temperature,
                }
                runs.append((label, candidate, facts))
    trajectories: list[Candidate] = []
    summaries, failures = [], []
    for (label, candidate, facts), task, outcome in zip(runs, tasks, bench.runner.gather(tasks), strict=True):
        if outcome.failure is not None:
            failures.append(outcome.failure)
            continue
        value = outcome.value
        summaries.append(
            {
                "ensemble": "NVT",
                "flags": list(dict.fromkeys(value["flags"])),
                "formula": candidate.facts["formula"],
                "id": candidate.id,
                "key": task.key,
                "length_ps": value["length_ps"],
                "mean_temperature_K": value["mean_temperature_K"],
                "member": facts["member"],
                "n_atoms": value["n_atoms"],
                "n_mobile": value["n_mobile"],
                "npt": value["npt"],
                "npt_drift": value["npt_drift"],
                "potential": potentials[0].name,
                "replica": facts["replica"],
                "run": label,
                "temperature_K": facts["temperature_K"],
                "thermostat": settings["thermostat"],
                "volume_A3_per_atom": value["volume_A3_per_atom"],
                "worst_extrapolation": value.get("worst_extrapolation"),
            }
        )
        trajectories.append(
            Candidate(
                label, candidate.crystal, candidate.composition_label, Ref(task), {**facts, "ordering": candidate.id}
            )
        )
    if not trajectories:
        reasons = "; ".join(sorted({failure.reason for failure in failures})[:3])
        raise StageError(
            f"every transport run failed ({reasons})", where=STAGE, fix="lower the temperatures or the time step"
        )
    return StageResult(
        {"failures": failures_as_data(failures), "potential": potentials[0].name, "runs": summaries},
        tuple(trajectories),
        failures=tuple(failures),
    )


def lowest_orderings(settings: Mapping[str, Any], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the orderings that are run: the lowest of each crystal and composition, within the limit above the hull.

    Raises
    ------
    StageError
        If no ordering is within the limit.
    """
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        if not candidate.is_reference:
            groups.setdefault((candidate.crystal, candidate.composition_label), []).append(candidate)
    limit = settings["max_energy_above_hull_meV_per_atom"]
    chosen = []
    for group in groups.values():
        group.sort(key=lambda candidate: candidate.facts["relaxed_eV_per_atom"])
        for candidate in group[: settings["per_composition"]]:
            above = candidate.facts.get("e_above_hull_eV_per_atom")
            if limit is None or above is None or above * 1000.0 <= limit:
                chosen.append(candidate)
    if not chosen:
        raise StageError(
            f"no ordering is within {limit:g} meV/atom of the hull",
            where="transport.max_energy_above_hull_meV_per_atom",
            fix="raise the limit, or remove it",
        )
    return chosen


def _limits(settings: Mapping[str, Any], potential: ChosenPotential) -> dict[str, Any] | None:
    """Let a student tell how far it extrapolates, without stopping: the report judges."""
    if potential.name != _STUDENT:
        return None
    every = max(1, round(_GRADE_EVERY_FS / settings["timestep_fs"]))
    return {"extrapolation_every": every, "max_collected": 0, "max_extrapolation": _NEVER}


def _grades(potential: ChosenPotential, segments: Sequence[Task]) -> dict[str, list[Ref]]:
    return {"grades": [segment["extrapolation"] for segment in segments]} if potential.name == _STUDENT else {}


def lengths_at(settings: Mapping[str, Any], temperature_K: float) -> Mapping[str, Any]:
    """Return ``nvt_equilibration_ps`` and ``production_ps`` at a temperature."""
    long_runs = settings["long_runs"]
    chosen = long_runs if long_runs is not None and temperature_K < long_runs["below_K"] else settings
    return {name: chosen[name] for name in ("nvt_equilibration_ps", "production_ps")}


def _phases(settings: Mapping[str, Any], temperature_K: float, limits: Mapping[str, Any] | None) -> tuple[Phase, ...]:
    lengths = lengths_at(settings, temperature_K)
    segment = settings["segment_ps"]
    nvt = md_settings(settings, temperature_K, "nvt")
    equilibration = lengths["nvt_equilibration_ps"]
    average = {"average_cell_of": "npt", "discard_fraction": settings["npt_discard_fraction"]}
    phases = (
        Phase("heating", {**nvt, "ramp_from_K": settings["heating_from_K"]}, settings["heating_ps"], segment),
        Phase("nvt before npt", nvt, settings["nvt_before_npt_ps"], segment),
        Phase("npt", md_settings(settings, temperature_K, "npt"), settings["npt_ps"], segment),
        Phase("equilibration", nvt, equilibration, segment, **average),
        Phase("production", nvt, lengths["production_ps"], segment, **(average if equilibration == 0 else {})),
    )
    return phases if limits is None else tuple(replace(phase, limits=limits) for phase in phases)


def _frame_interval_ps(settings: Mapping[str, Any]) -> float:
    every = max(1, round(settings["save_every_fs"] / settings["timestep_fs"]))
    return float(every * settings["timestep_fs"] * 1.0e-3)


# ---- task functions -----------------------------------------------------------------------------------------------


def collect_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Describe a run: cell, temperature, volumes on the way, who is mobile. The positions stay in its segments."""
    import numpy as np
    from ase.data import atomic_numbers

    numbers = np.asarray(inputs["numbers"])
    cell = inputs["cells"][0][0]
    volume = abs(float(np.linalg.det(cell))) / len(numbers)
    temperatures = np.concatenate(inputs["temperatures_K"])
    npt: dict[str, list[float]] = {"time_ps": [], "volume_A3_per_atom": []}
    drift = None
    if inputs["npt_cells"]:
        cells = np.concatenate(inputs["npt_cells"])
        times = np.concatenate(inputs["npt_times_ps"])
        stride = max(1, len(times) // 500)  # enough for a figure
        npt["time_ps"] = [float(t) for t in times[::stride]]
        volumes = abs(np.linalg.det(cells)) / len(numbers)
        npt["volume_A3_per_atom"] = [float(v) for v in volumes[::stride]]
        if (quarter := len(volumes) // 4) > 0:
            late, before = volumes[-quarter:].mean(), volumes[-2 * quarter : -quarter].mean()
            drift = float((late - before) / before)
    worst = [float(np.max(grades)) for grades in inputs.get("grades", []) if len(grades)]
    more = {"worst_extrapolation": max(worst)} if worst else {}
    return {
        **more,
        "cell_A": cell,
        "flags": [flag for flags in inputs["flags"] for flag in flags],
        "length_ps": (len(temperatures) - 1) * settings["frame_interval_ps"],
        "mean_temperature_K": float(temperatures.mean()),
        "n_atoms": len(numbers),
        "n_mobile": int(np.sum(numbers == atomic_numbers[settings["mobile_ion"]])),
        "npt": npt,
        "npt_drift": drift,
        "numbers": numbers,
        "volume_A3_per_atom": volume,
    }
