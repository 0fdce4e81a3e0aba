"""Stage *hull*: formation energies, energies above the hull, polymorphs at equal composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from superionic.execution.task import Context, Task, task
from superionic.results.identity import Ordering, ReferencePhase
from superionic.results.stability import HullEntry, HullResult, PhaseDiagram, PhaseShare, PolymorphEnergy, Polymorphs
from superionic.stages.base import Candidate, ChosenPotential, WithCandidates, Workbench

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


@task(version=2)
def hull_task(
    context: Context,
    *,
    end_members: Sequence[str],
    energy_convention: str,
    formula_unit: str | None,
    replacements: Sequence[tuple[str, str]],
    mobile_ion: str,
    identities: Sequence[Ordering | ReferencePhase],
    compositions: Sequence[Mapping[str, int]],
    energies_eV: Sequence[float],
) -> PhaseDiagram:
    """Calculate formation energies and the hull from total energies.

    The number of formula units of a cell follows from the framework of the formula unit
    (:func:`superionic.thermodynamics.formation.formula_units`). For a cell without that framework it is the number of
    end members in it, or that of its own reduced formula if the end members are simple phases.
    """
    del context
    from superionic.references import parse_formula
    from superionic.thermodynamics.formation import Entry, formula_units
    from superionic.thermodynamics.hull import compare_polymorphs, convex_hull

    unit = None if formula_unit is None else parse_formula(formula_unit)
    entries = [
        Entry(
            identity.id,
            composition,
            energy,
            energy_convention,
            identity.material.crystal,
            formula_units=None
            if unit is None
            else formula_units(composition, unit, replacements=replacements, mobile_ion=mobile_ion),
        )
        for identity, composition, energy in zip(identities, compositions, energies_eV, strict=True)
    ]
    simple_phases = any(isinstance(identity, ReferencePhase) for identity in identities)
    hull = convex_hull(
        entries,
        [parse_formula(member) for member in end_members],
        formula_unit="reduced" if simple_phases else "end-members",
    )
    by_name = {identity.id: identity for identity in identities}
    return PhaseDiagram(
        end_members=hull.end_members,
        energy_convention=hull.energy_convention,
        formula_unit=formula_unit,
        entries=tuple(
            HullEntry(
                identity=identity,
                formula=entries[i].formula,
                coordinates=tuple(float(share) for share in hull.coordinates[i]),
                decomposition=tuple(
                    PhaseShare(by_name[name], fraction)
                    for name, fraction in zip(
                        hull.decompositions[i].names, hull.decompositions[i].fractions, strict=True
                    )
                ),
                formation_energy_eV_per_atom=float(hull.formation_energies_eV_per_atom[i]),
                formation_energy_eV_per_formula_unit=float(hull.formation_energies_eV_per_formula_unit[i]),
                e_above_hull_eV_per_atom=float(hull.energies_above_hull_eV_per_atom[i]),
                e_above_hull_eV_per_formula_unit=float(hull.energies_above_hull_eV_per_formula_unit[i]),
                formula_units=float(hull.formula_units[i]),
                stable=bool(hull.stable[i]),
            )
            for i, identity in enumerate(identities)
        ),
        polymorphs=tuple(
            Polymorphs(
                formula=competing.formula,
                point=next((phase.material.point for phase in phases if isinstance(phase, Ordering)), ()),
                energies=tuple(
                    PolymorphEnergy(crystal, phase, energy)
                    for crystal, phase, energy in zip(
                        competing.crystals, phases, competing.energies_eV_per_atom, strict=True
                    )
                ),
            )
            for competing in compare_polymorphs(entries)
            if len(competing.crystals) > 1
            for phases in [[by_name[name] for name in competing.names]]
        ),
    )
