"""Stage *hull*: formation energies, energies above the hull, polymorphs at equal composition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from superionic.execution.task import Task
from superionic.results.stability import HullResult, PhaseDiagram
from superionic.stages.base import Candidate, ChosenPotential, WithCandidates, Workbench
from superionic.stages.phase_diagram import hull_task

if TYPE_CHECKING:
    from superionic.settings.hull import HullSettings


@dataclass(frozen=True)
class HullOutput(WithCandidates[HullResult]):
    """The output of the stage: its result, the candidates with their energies above the hull, and the hull's task."""

    task: Task[PhaseDiagram]


def run(
    settings: HullSettings,
    bench: Workbench,
    candidates: Sequence[Candidate],
    potential: ChosenPotential,
    end_members: Sequence[str],
    *,
    replacements: Sequence[tuple[str, str]] = (),
    round_label: str = "",
) -> HullOutput:
    """Place every relaxed candidate on the hull between the end members.

    Parameters
    ----------
    settings
        The ``hull`` section.
    candidates
        Relaxed orderings and references, all by one potential.
    potential
        The potential of their energies.
    end_members
        Formulas of the vertices.
    replacements
        Pairs of elements that replace each other along the composition axes.
    round_label
        Distinguishes a second hull by the fine-tuned potential.
    """
    bench = bench.at("hull")
    relaxations = [candidate.relaxation for candidate in candidates]
    placing = bench.task(
        f"hull {round_label}".strip(),
        hull_task.of(
            end_members=list(end_members),
            energy_convention=potential.identity.energy_convention,
            formula_unit=settings.formula_unit,
            replacements=list(replacements),
            mobile_ion=bench.mobile_ion,
            identities=[candidate.identity for candidate in candidates],
            compositions=[relaxed.composition for relaxed in relaxations],
            energies_eV=[relaxed.energy_eV for relaxed in relaxations],
        ),
    )
    diagram = bench.runner.one(placing)
    result = HullResult(
        end_members=diagram.end_members,
        energy_convention=diagram.energy_convention,
        formula_unit=diagram.formula_unit,
        entries=diagram.entries,
        polymorphs=diagram.polymorphs,
        key=placing.key,
        potential=potential.name,
    )
    placed = tuple(
        replace(candidate, e_above_hull_eV_per_atom=entry.e_above_hull_eV_per_atom)
        for candidate, entry in zip(candidates, diagram.entries, strict=True)
    )
    return HullOutput(result, placed, placing)
