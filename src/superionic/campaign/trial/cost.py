"""What a first look costs on this machine as it is now: some steps of its dynamics are made and timed.

CPU times depend on the crystal (its density decides how many neighbours an atom has), on the machine, and on what else
runs on it, each by a factor of two. A second of measuring knows better than any table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from superionic.errors import CalculationFailed

if TYPE_CHECKING:
    from ase import Atoms

    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.plan import Plan, PlanLine

_STEPS: Final = 60
_STILL_FS: Final = 0.1
"""Time step of the steps that are timed: an ordering that is not relaxed flies apart at 2 fs."""

# CPU seconds where 100,000 numbers are read in _PACE_S: a worker with its imports and compiled loops, the driver with
# the orderings, and the analysis of a run (Li10GeP2S12, 20 ions, 1,001 frames).
_PACE_S: Final = 0.03
_WORKER_S: Final = 3.2
_DRIVER_S: Final = 7.0
_ANALYSIS_S: Final = 2.2
_RELAXATION_STEPS: Final = 60
_IN_A_RUN: Final = 1.2
"""Steps of a run over those that are timed: neighbour lists, monitors, frames, and another run on the next core."""


@dataclass(frozen=True)
class UnitCosts:
    """CPU seconds, measured here and now.

    Attributes
    ----------
    load_s
        To load the potential in a process.
    step_s
        A step of dynamics in the cell that is run.
    pace
        How long the rest takes here, relative to the machine on which its times were measured.
    """

    load_s: float
    step_s: float
    pace: float


def unit_costs(entry: Mapping[str, Any], atoms: Atoms, file: CampaignFile) -> UnitCosts | None:
    """Time a potential that runs in this process on a structure of the crystal; None where that does not work.

    Parameters
    ----------
    entry
        Of the campaign's ``potentials``.
    atoms
        An ordering, repeated as it is run.
    file
        The campaign, for its thermostat.
    """
    from superionic.campaign.loading import load_model
    from superionic.dynamics.md import MDSettings, initial_state, run_segment

    if file.transport is None:
        return None
    options = dict(entry)
    began = time.process_time()
    potential = load_model(options.pop("engine"), **options)
    load_s = time.process_time() - began
    still = MDSettings(
        temperature_K=file.transport.temperatures_K[0], thermostat=file.transport.thermostat, timestep_fs=_STILL_FS
    )
    try:
        # The first steps load compiled loops, or compile them.
        begun = run_segment(initial_state(atoms, still, 1), potential, still, 10)
        began = time.process_time()
        run_segment(begun.state, potential, still, _STEPS)
    except CalculationFailed:  # atoms that overlap before they are relaxed: the plan stands as it is
        return None
    return UnitCosts(load_s, _IN_A_RUN * (time.process_time() - began) / _STEPS, _pace())


def with_measured(plan: Plan, costs: UnitCosts, file: CampaignFile) -> Plan:
    """Put what was measured into the lines of a plan that are still estimated."""
    from superionic.stages.transport import lengths_at

    settings = file.transport
    if settings is None:
        return plan
    length_ps = 0.0
    for temperature in settings.temperatures_K:
        lengths = lengths_at(settings, temperature)
        length_ps += settings.heating_ps + lengths.nvt_equilibration_ps + lengths.production_ps
    repeats = abs(round(float(np.linalg.det(np.array(settings.supercell)))))
    relaxed = min(plan.spaces[0].distinct, file.enumerate.ewald_keep)
    start_s = min(plan.workers, len(settings.temperatures_K)) * (costs.load_s + costs.pace * _WORKER_S)
    seconds = {
        "enumerate": costs.pace * _DRIVER_S,
        "rank": start_s + relaxed * _RELAXATION_STEPS * costs.step_s / repeats,
        "transport": length_ps * 1000.0 / settings.timestep_fs * costs.step_s,
        "analyse": len(settings.temperatures_K) * costs.pace * _ANALYSIS_S,
    }

    def renewed(line: PlanLine) -> PlanLine:
        if line.basis != "estimated" or line.stage not in seconds:
            return line
        return replace(line, cpu_hours=seconds[line.stage] / 3600.0, basis="measured here")

    return replace(plan, lines=tuple(renewed(line) for line in plan.lines))


def _pace() -> float:
    """Time some Python, relative to the machine on which the other times were measured."""
    words = ["-1.2345678e-03"] * 100_000
    began = time.process_time()
    for word in words:
        float(word)
    return (time.process_time() - began) / _PACE_S
