"""Orderings of large cells, drawn at a temperature and run beside the lowest ones, as paper A does for NaSICON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from superionic.errors import StageError
from superionic.execution.runner import Failure
from superionic.results.draws import DrawnOrdering, DrawsResult
from superionic.results.identity import ONCE
from superionic.stages import (
    analyse,
    enumerate,  # noqa: A004 - the stage's own name
    rank,
    transport,
)
from superionic.stages.base import lowest_of_each, of_compositions

if TYPE_CHECKING:
    from superionic.campaign.walk import Walk
    from superionic.settings.analyse import AnalyseSettings
    from superionic.settings.transport import TransportSettings
    from superionic.stages.base import Candidate, ChosenPotential, TransportRun
    from superionic.stages.distil import TeacherOf
    from superionic.stages.enumerate.spaces import Space
    from superionic.training.parity import TransferError


def run_draws(
    walk: Walk,
    settings: TransportSettings,
    spaces: Sequence[Space],
    candidates: Sequence[Candidate],
    drivers: Sequence[ChosenPotential],
    ask_teacher: TeacherOf | None = None,
) -> tuple[TransportRun, ...]:
    """Draw orderings of large cells, relax and run each, and add the result to the outputs of the walk.

    That none can be drawn, or none of their runs succeeds, is recorded, and no reason to stop.

    Parameters
    ----------
    settings
        The section ``transport``.
    spaces
        The small cells of the materials.
    candidates
        Relaxed orderings of the small cells.
    drivers
        What drives the runs: one potential, or the members of a committee in turn.
    ask_teacher
        The teacher of these drivers, if they are students.

    Raises
    ------
    StageError
        If no ordering has one of the compositions that the section names.
    """
    if settings.draws is None:
        return ()
    bench = walk.bench.at("transport").noted("draws")
    where = "transport.draws.compositions"
    requested = of_compositions(candidates, settings.draws.compositions or settings.compositions, where=where)
    lowest = {each.material: each.relaxed_eV_per_atom for each in lowest_of_each(requested, 1)}
    small = [space for space in spaces if space.material in lowest]
    ordering = walk.potential(settings.draws.potential or walk.file.rank.potential)
    drawn = enumerate.large_draws(settings.draws, walk.file.enumerate, bench, small, ordering)
    relaxed, failures = rank.relax_draws(walk.file.rank, bench, drawn.candidates, drivers[0].single)
    energies = {each.identity: each.relaxed_eV_per_atom for each in relaxed}
    result = DrawsResult(
        cells=drawn.cells,
        orderings=tuple(_drawn(each, energies.get(each.identity), lowest[each.material]) for each in drawn.candidates),
        failures=(*drawn.failures, *failures),
    )
    runs: tuple[TransportRun, ...] = ()
    if relaxed:
        every = {"supercell": ONCE, "compositions": (), "per_composition": len(relaxed)}
        every |= {"max_energy_above_hull_meV_per_atom": None}
        try:
            moved = transport.run(settings.model_copy(update=every), bench, relaxed, drivers, ask_teacher=ask_teacher)
        except StageError as error:
            result = replace(
                result, failures=(*result.failures, Failure("runs of draws", error.message, drawn.cells[0].key))
            )
        else:
            runs, result = moved.runs, replace(result, transport=moved.result)
    walk.outputs.draws.append(result)
    return runs


def _drawn(candidate: Candidate, energy: float | None, lowest: float | None) -> DrawnOrdering:
    above = None if energy is None or lowest is None else energy - lowest
    return DrawnOrdering(candidate.ordering, energy, above)


def analyse_draws(
    walk: Walk, settings: AnalyseSettings, runs: Sequence[TransportRun], transfer: TransferError | None
) -> None:
    """Analyse transport alone in the runs of draws: in each, and σ(T) of each material as the average over draws."""
    if not runs:
        return
    alone = settings.model_copy(update={"density_grid_A": None, "sites": "none", "observables": ()})
    analysed = analyse.run(alone, walk.bench.noted("draws"), runs, transfer, {}).result
    before = walk.outputs.draws[-1]
    failures = (*before.failures, *analysed.failures)
    walk.outputs.draws[-1] = replace(before, runs=analysed.runs, arrhenius=analysed.arrhenius, failures=failures)
