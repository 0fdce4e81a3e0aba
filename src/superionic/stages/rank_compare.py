"""Ranking once more by other potentials, each in its own engine, and how far they agree.

The orderings that the first potential relaxed are evaluated by the others, as they are or after relaxation. Energies of
different potentials are compared by their order within a composition, and between compositions after a shift for each
element; they are never put on one hull.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from superionic.execution.runner import Failure
from superionic.execution.task import Context, Ref
from superionic.stages.base import Candidate, Workbench, failures_as_data
from superionic.stages.relaxations import Member, Relaxations, single_points

_COMPARE_VERSION = 1


def compare(
    settings: Mapping[str, Any], bench: Workbench, stage: str, ranked: Sequence[Candidate], first: str
) -> list[dict[str, Any]]:
    """Have the ranked orderings evaluated by every potential of ``compare_with``.

    Parameters
    ----------
    settings
        The ``rank`` section.
    bench
        The workbench, with the potentials.
    stage
        The stage that the tasks belong to.
    ranked
        Relaxed orderings, references left out.
    first
        Name of the potential that ranked.

    Returns
    -------
    list of dict
        For each potential who it is, how far it agrees within each composition, what is left between compositions, and
        the energies themselves.
    """
    found = []
    for name in settings["compare_with"]:
        other = bench.potentials[name]
        places: list[tuple[Candidate, Ref]] = []
        failures: list[Failure] = []
        if settings["compare_after"] == "relaxation":
            members = [Member(candidate, candidate.structure) for candidate in ranked]
            relaxations = Relaxations(bench, stage, other, settings, f" by {name}")
            relaxations.finish(members, "comparison")
            for member in members:
                if member.failure is not None:
                    failures.append(member.failure)
                elif member.place is not None:
                    places.append((member.candidate, Ref(member.place[0], ("items", member.place[1]))))
        else:
            structures = [candidate.structure for candidate in ranked]
            for candidate, (place, item) in zip(
                ranked, single_points(bench, stage, f"comparison by {name}", structures, other), strict=True
            ):
                if "failed" in item:
                    failures.append(Failure(f"{candidate.id} by {name}", item["failed"], place.task.key))
                else:
                    places.append((candidate, place))
        told = {
            "after": settings["compare_after"],
            "failures": failures_as_data(failures),
            "first": first,
            "potential": dict(other.identity),
            "second": name,
        }
        if places:
            task = bench.task(
                stage,
                f"comparison of {first} and {name}",
                "superionic.stages.rank_compare:compare_task",
                _COMPARE_VERSION,
                {
                    "count": settings["relax_top"],
                    "crystals": [candidate.crystal for candidate, _ in places],
                    "names": [candidate.id for candidate, _ in places],
                    "seed": bench.seed_for(stage, "comparison", name),
                },
                {
                    "compositions": [candidate.structure.task["composition"] for candidate, _ in places],
                    "first_eV": [candidate.structure.task["energy_eV"] for candidate, _ in places],
                    "second_eV": [Ref(place.task, (*place.path, "energy_eV")) for _, place in places],
                },
            )
            told |= {**bench.runner.one(task), "key": task.key}
        found.append(told)
    return found


# ---- task function ------------------------------------------------------------------------------------------------


def compare_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Compare two sets of energies of the same orderings."""
    import numpy as np

    from superionic.thermodynamics.composition import reduced_formula
    from superionic.thermodynamics.rank_statistics import correlations, element_shift, overlap_of_lowest

    compositions = inputs["compositions"]
    atoms = np.array([sum(composition.values()) for composition in compositions], dtype=float)
    first, second = np.array(inputs["first_eV"]) / atoms, np.array(inputs["second_eV"]) / atoms
    formulas = [reduced_formula(composition) for composition in compositions]
    shifts, left = element_shift((second - first) * atoms, compositions)
    # Few compositions leave the shifts of single elements open, though not their sums.
    elements = sorted({symbol for composition in compositions for symbol in composition})
    counts = np.array([[composition.get(symbol, 0) for symbol in elements] for composition in compositions])
    determined = int(np.linalg.matrix_rank(counts)) == len(elements)
    groups = []
    for formula in sorted(set(formulas)):
        chosen = np.flatnonzero([other == formula for other in formulas])
        a, b = first[chosen], second[chosen]
        measures = correlations(a, b, settings["seed"])
        groups.append(
            {
                "formula": formula,
                "kendall": asdict(measures["kendall"]),
                # With no more orderings than are counted, all are among the lowest: nothing to tell.
                "lowest_count": min(settings["count"], max(1, len(chosen) // 2)),
                "lowest_shared": overlap_of_lowest(a, b, min(settings["count"], max(1, len(chosen) // 2))),
                "n": len(chosen),
                "mean_difference_left_meV_per_atom": float(1000.0 * left[chosen].mean()),
                "same_lowest": settings["names"][chosen[int(a.argmin())]] == settings["names"][chosen[int(b.argmin())]],
                "spearman": asdict(measures["spearman"]),
                "spread_meV_per_atom": [float(1000.0 * a.std()), float(1000.0 * b.std())],
            }
        )
    return {
        "element_shifts_eV_per_atom": shifts if determined else None,
        "energies": [
            {
                "first_eV_per_atom": float(first[i]),
                "formula": formulas[i],
                "id": name,
                "left_meV_per_atom": float(1000.0 * left[i]),
                "second_eV_per_atom": float(second[i]),
            }
            for i, name in enumerate(settings["names"])
        ],
        "groups": groups,
    }
