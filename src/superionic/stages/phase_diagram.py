"""The phase diagram of total energies of one level of theory: by the ranking potential, or by a reference method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from superionic.execution.task import Context, task
from superionic.results.identity import Ordering, ReferencePhase
from superionic.results.stability import HullEntry, PhaseDiagram, PhaseShare, PolymorphEnergy, Polymorphs

KNOWN_AS = "superionic.stages.hull"  # its name in keys, from before it moved here


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
