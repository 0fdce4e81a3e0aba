"""Stage *hull*: formation energies, energies above the hull, polymorphs at equal composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.execution.task import Context
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench

STAGE = "hull"
_HULL_VERSION = 1


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    candidates: Sequence[Candidate],
    potential: ChosenPotential,
    end_members: Sequence[str],
    *,
    round_label: str = "",
) -> StageResult:
    """Place every relaxed candidate on the hull between the end members.

    Parameters
    ----------
    settings
        The ``hull`` section.
    bench
        The workbench.
    candidates
        Relaxed orderings and references, all by one potential.
    potential
        The potential whose energies they carry.
    end_members
        Formulas of the vertices.
    round_label
        Distinguishes a second hull by the fine-tuned potential.

    Returns
    -------
    StageResult
        The same candidates, with ``e_above_hull_*`` among their facts.
    """
    task = bench.task(
        STAGE,
        f"hull {round_label}".strip(),
        "superionic.stages.hull:hull_task",
        _HULL_VERSION,
        {
            "end_members": list(end_members),
            "energy_convention": potential.identity.energy_convention,
            "formula_unit": settings["formula_unit"],
            "names": [candidate.id for candidate in candidates],
            "crystals": [candidate.crystal for candidate in candidates],
        },
        {
            "compositions": [_part(candidate, "composition") for candidate in candidates],
            "energies_eV": [_part(candidate, "energy_eV") for candidate in candidates],
        },
    )
    result = bench.runner.one(task)
    placed = []
    for candidate, entry in zip(candidates, result["entries"], strict=True):
        facts = {**candidate.facts, **{name: entry[name] for name in entry if name.startswith("e_above_hull")}}
        placed.append(Candidate(**{**candidate.__dict__, "facts": facts}))
    summary = {**result, "key": task.key, "potential": potential.name}
    return StageResult(summary, tuple(placed), {"hull": task})


def _part(candidate: Candidate, name: str) -> Any:
    return candidate.structure.task[name]


def hull_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Compute formation energies and the hull from total energies."""
    from superionic.references import parse_formula
    from superionic.thermodynamics.formation import Entry
    from superionic.thermodynamics.hull import compare_polymorphs, convex_hull

    unit = settings["formula_unit"]
    atoms_per_unit = None if unit is None else int(sum(parse_formula(unit).values()))
    entries = []
    for name, crystal, composition, energy in zip(
        settings["names"], settings["crystals"], inputs["compositions"], inputs["energies_eV"], strict=True
    ):
        n_atoms = sum(composition.values())
        is_reference = name == crystal
        fits = atoms_per_unit is not None and not is_reference and n_atoms % atoms_per_unit == 0
        units = n_atoms // atoms_per_unit if fits and atoms_per_unit else None
        entries.append(Entry(name, composition, energy, settings["energy_convention"], crystal, formula_units=units))
    # Against simple phases (LiCl + YCl3) a formula unit is that of the compound; along a solid solution every
    # composition counts as one unit of its end members.
    hull = convex_hull(
        entries,
        [parse_formula(member) for member in settings["end_members"]],
        formula_unit="reduced" if any(e.name == e.crystal for e in entries) else "end-members",
    )
    polymorphs = [
        {
            "crystals": dict(zip(found.crystals, found.energies_eV_per_atom, strict=True)),
            "formula": found.formula,
            "lowest": found.crystals[0],
        }
        for found in compare_polymorphs(entries)
        if len(found.crystals) > 1
    ]
    return {
        "end_members": list(hull.end_members),
        "energy_convention": hull.energy_convention,
        "entries": [
            {
                "coordinates": [float(c) for c in hull.coordinates[i]],
                "crystal": entry.crystal,
                "decomposition": dict(zip(hull.decompositions[i].names, hull.decompositions[i].fractions, strict=True)),
                "e_above_hull_eV_per_atom": float(hull.energies_above_hull_eV_per_atom[i]),
                "e_above_hull_eV_per_formula_unit": float(hull.energies_above_hull_eV_per_formula_unit[i]),
                "formation_energy_eV_per_atom": float(hull.formation_energies_eV_per_atom[i]),
                "formation_energy_eV_per_formula_unit": float(hull.formation_energies_eV_per_formula_unit[i]),
                "formula": entry.formula,
                "id": entry.name,
                "stable": bool(hull.stable[i]),
            }
            for i, entry in enumerate(entries)
        ],
        "polymorphs": polymorphs,
    }
