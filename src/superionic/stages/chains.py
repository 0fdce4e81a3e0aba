"""Molecular dynamics as chains of segments: each segment is a task whose input is the one before.

A chain has phases (heating, NPT, NVT …). Inside a phase the state of the integrator goes on unbroken from segment to
segment; between phases the positions and velocities go on, and the thermostat starts afresh. Segment boundaries are
fixed by the settings, so an interrupted chain equals an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import ChosenPotential, Workbench, potential_of

_SEGMENT_VERSION = 2
_CELL_VERSION = 1


@dataclass(frozen=True)
class Phase:
    """One part of a chain.

    Attributes
    ----------
    name
        ``heating``, ``npt``, ``production`` …
    md
        Arguments of :class:`superionic.dynamics.md.MDSettings`.
    length_ps
        How long; a phase of no length is left out.
    segment_ps
        Longest length of a segment.
    average_cell_of
        Name of an earlier NPT phase in whose average cell this phase runs.
    discard_fraction
        First part of that phase that the average leaves out.
    limits
        Arguments of :class:`superionic.dynamics.md.Limits`; None for its defaults. Where they end a segment early,
        the segments after it make no steps and carry the reason on.
    """

    name: str
    md: Mapping[str, Any]
    length_ps: float
    segment_ps: float
    average_cell_of: str | None = None
    discard_fraction: float = 0.0
    limits: Mapping[str, Any] | None = None


def chain(
    bench: Workbench,
    stage: str,
    label: str,
    structure: Ref,
    supercell: Sequence[Sequence[int]],
    potential: ChosenPotential,
    phases: Sequence[Phase],
    *,
    seed_name: str | None = None,
) -> dict[str, list[Task]]:
    """Build the tasks of one run.

    The seed of the first velocities is named by ``seed_name``, by the label if None: runs of one seed name start with
    the same velocities.

    Returns
    -------
    dict
        The segments of each phase, by its name; under ``average cell`` the task that averages the NPT cell, if any.
    """
    built: dict[str, list[Task]] = {}
    previous: Task | None = None
    may_stop = any(phase.limits is not None for phase in phases)
    watches_sites = any((phase.limits or {}).get("melting", "off") != "off" for phase in phases)
    for phase in phases:
        steps = round(phase.length_ps * 1000.0 / phase.md["timestep_fs"])
        every = phase.md["save_every"]
        if steps == 0:
            continue
        cell: Task | None = None
        if phase.average_cell_of in built:
            cell = bench.task(
                stage,
                f"average cell of {label}",
                "superionic.stages.chains:average_cell_task",
                _CELL_VERSION,
                {"discard_fraction": phase.discard_fraction},
                {
                    "cells": [segment["cells"] for segment in built[phase.average_cell_of]],
                    **({"stopped": built[phase.average_cell_of][-1]["stopped"]} if may_stop else {}),
                },
            )
            built["average cell"] = [cell]
        longest = max(every, round(phase.segment_ps * 1000.0 / phase.md["timestep_fs"]) // every * every)
        segments: list[Task] = []
        for number, first in enumerate(range(0, steps, longest)):
            settings: dict[str, Any] = {
                "md": {**phase.md, "ramp_steps": steps if phase.md.get("ramp_from_K") is not None else 0},
                "n_steps": min(longest, steps - first),
            }
            if phase.limits is not None:
                settings["limits"] = dict(phase.limits)
            inputs: dict[str, Ref | Sequence[Ref]] = {}
            if previous is None:
                settings["seed"] = bench.seed_for(stage, label if seed_name is None else seed_name)
                settings["supercell"] = [list(row) for row in supercell]
                inputs["structure"] = structure
            else:
                settings["new_phase"] = number == 0
                inputs["state"] = previous["state"]
                if may_stop:
                    inputs["stopped"] = previous["stopped"]
                if watches_sites:  # all segments measure from the structure that the chain began with
                    settings["supercell"] = [list(row) for row in supercell]
                    inputs["reference"] = structure
            if cell is not None and number == 0:
                inputs["cell"] = cell["cell"]
            previous = bench.task(
                stage,
                f"{label} {phase.name} {number + 1}",
                "superionic.stages.chains:segment_task",
                _SEGMENT_VERSION,
                settings,
                inputs,
                potential=potential,
                engine="lammps" if phase.md.get("engine") == "lammps" else None,
            )
            segments.append(previous)
        built[phase.name] = segments
    return built


def md_settings(settings: Mapping[str, Any], temperature_K: float, ensemble: str, **more: Any) -> dict[str, Any]:
    """Collect the arguments of :class:`superionic.dynamics.md.MDSettings` from a stage's section."""
    chosen = {
        "engine": settings.get("md_engine", "ase"),
        "ensemble": ensemble,
        "save_every": max(1, round(settings["save_every_fs"] / settings["timestep_fs"])),
        "temperature_K": temperature_K,
        "thermostat": settings["thermostat"],
        "thermostat_time_fs": settings["thermostat_time_fs"],
        "timestep_fs": settings["timestep_fs"],
    }
    if ensemble == "npt":
        barostat = settings.get("barostat", "mtk")
        chosen |= {
            "barostat": barostat,
            "barostat_time_fs": settings["barostat_time_fs"],
            "cell_motion": settings.get("cell_motion", "anisotropic"),
            "pressure_GPa": settings["pressure_GPa"],
            # Each barostat has the thermostat that it was derived with; the stage's own one drives NVT.
            "thermostat": "berendsen" if barostat == "berendsen" else "nose-hoover-chain",
        }
    return {**chosen, **more}


# ---- task functions -----------------------------------------------------------------------------------------------


def segment_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Run one segment, from a structure (the first of a chain) or from the state that the segment before left."""
    from dataclasses import replace

    import numpy as np
    from ase.build import make_supercell

    from superionic.dynamics.md import Limits, MDSettings, MDState, continued_state, initial_state, run_segment

    potential = potential_of(settings, inputs, context)
    md = MDSettings(**settings["md"])
    reference = None
    for name in ("structure", "reference"):
        if name in inputs:
            reference = make_supercell(inputs[name], np.array(settings["supercell"]))
    if "structure" in inputs:
        potential.check_elements(reference)
        state = initial_state(reference, md, settings["seed"])
    else:
        state = MDState.from_dict(inputs["state"])
        if settings["new_phase"] and inputs.get("stopped") is None:
            state = continued_state(state, cell_A=inputs.get("cell"))
    limits = Limits(**settings["limits"]) if "limits" in settings else None
    if inputs.get("stopped") is None:
        segment = run_segment(
            state,
            potential,
            md,
            settings["n_steps"],
            progress=context.progress,
            limits=limits,
            reference=reference,
        )
    else:
        segment = replace(run_segment(state, potential, md, 0, limits=limits), stopped=inputs["stopped"])
    return {
        "cells": np.asarray(segment.cells_A),
        "collected_cells_A": np.asarray(segment.collected_cells_A),
        "collected_grades": np.asarray(segment.collected_grades),
        "collected_positions_A": np.asarray(segment.collected_positions_A),
        "engine_parity": None if segment.engine_parity is None else dict(segment.engine_parity),
        "extrapolation": np.asarray(segment.extrapolation),
        "extrapolation_steps": np.asarray(segment.extrapolation_steps),
        "flags": list(segment.flags),
        "numbers": np.asarray(segment.state.numbers),
        "positions": np.asarray(segment.positions_A),
        "potential_energies_eV": np.asarray(segment.potential_energies_eV),
        "state": segment.state.to_dict(),
        "stopped": segment.stopped,
        "temperatures_K": np.asarray(segment.temperatures_K),
        "times_ps": np.asarray(segment.steps) * (md.timestep_fs * 1.0e-3),
    }


def average_cell_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Average the cell vectors of an NPT run, its first part left out; no cell if it stopped before its first frame."""
    import numpy as np

    from superionic.dynamics.trajectory import average_cell

    cells = np.concatenate(inputs["cells"])
    if len(cells) == 0 and inputs.get("stopped") is not None:
        return {"cell": None, "n_frames": 0}
    return {"cell": average_cell(cells, settings["discard_fraction"]), "n_frames": len(cells)}
