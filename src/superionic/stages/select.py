"""Stage *select*: a Boltzmann choice of orderings by their energy above the hull (paper A)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.errors import StageError
from superionic.execution.task import Context, Ref, Task
from superionic.references import normal_formula
from superionic.stages.base import Candidate, StageResult, Workbench

STAGE = "select"
_SELECT_VERSION = 1


def run(
    settings: Mapping[str, Any], bench: Workbench, candidates: Sequence[Candidate], hull: Task | None
) -> StageResult:
    """Select orderings to be sampled; references never are.

    Parameters
    ----------
    settings
        The ``select`` section.
    bench
        The workbench.
    candidates
        Relaxed orderings, lowest of each composition first.
    hull
        The hull's task; without a hull the energy above the lowest ordering of the same composition takes its place.

    Returns
    -------
    StageResult
        The selected candidates.

    Raises
    ------
    StageError
        If no ordering has one of the wanted compositions.
    """
    wanted = {normal_formula(formula) for formula in settings["compositions"]}
    orderings = [
        candidate
        for candidate in candidates
        if not candidate.is_reference and (not wanted or normal_formula(candidate.facts["formula"]) in wanted)
    ]
    if not orderings:
        there = {str(candidate.facts["formula"]) for candidate in candidates if not candidate.is_reference}
        raise StageError(
            f"no ordering has one of the compositions {', '.join(settings['compositions'])}",
            where="select.compositions",
            fix=f"name some of: {', '.join(sorted(there))}",
        )
    inputs: dict[str, Any] = {"relaxed": [Ref(candidate.structure.task) for candidate in orderings]}
    if hull is not None:
        positions = {candidate.id: i for i, candidate in enumerate(candidates)}
        inputs["e_above_hull_eV_per_fu"] = [
            Ref(hull, ("entries", positions[candidate.id], "e_above_hull_eV_per_formula_unit"))
            for candidate in orderings
        ]
    task = bench.task(
        STAGE,
        "selection",
        "superionic.stages.select:select_task",
        _SELECT_VERSION,
        {
            "compositions": [f"{candidate.crystal}|{candidate.facts['formula']}" for candidate in orderings],
            "count": settings["count"],
            "seed": bench.seed_for(STAGE),
            "temperature_K": settings["temperature_K"],
        },
        inputs,
    )
    result = bench.runner.one(task)
    chosen = tuple(orderings[index] for index in result["indices"])
    selected = [
        {"id": candidate.id, "reason": reason, "energy_eV_per_fu": energy}
        for candidate, reason, energy in zip(chosen, result["reasons"], result["energies_eV_per_fu"], strict=True)
    ]
    summary = {"key": task.key, "selected": selected, "temperature_K": settings["temperature_K"]}
    return StageResult(summary, chosen, {"selection": task})


def select_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Draw orderings with p ∝ exp(−E/k_BT), the lowest of each composition always among them."""
    import numpy as np

    from superionic.thermodynamics.composition import reduced_composition
    from superionic.thermodynamics.selection import boltzmann_selection

    labels = settings["compositions"]
    if "e_above_hull_eV_per_fu" in inputs:
        energies = np.array(inputs["e_above_hull_eV_per_fu"])
    else:
        per_unit = []
        for entry in inputs["relaxed"]:
            unit = sum(reduced_composition(entry["composition"]).values())
            per_unit.append(entry["energy_eV"] * unit / entry["n_atoms"])
        lowest = {
            label: min(e for e, other in zip(per_unit, labels, strict=True) if other == label) for label in labels
        }
        energies = np.array([energy - lowest[label] for energy, label in zip(per_unit, labels, strict=True)])
    indices = boltzmann_selection(
        energies,
        labels,
        n=max(settings["count"], len(set(labels))),  # the lowest of each composition is always kept
        rng=np.random.default_rng(settings["seed"]),
        temperature_K=settings["temperature_K"],
    )
    best: dict[str, float] = {}
    for energy, label in zip(energies, labels, strict=True):
        best[label] = min(best.get(label, np.inf), float(energy))
    return {
        "energies_eV_per_fu": [float(energies[i]) for i in indices],
        "indices": [int(i) for i in indices],
        "reasons": [
            "lowest of its composition" if float(energies[i]) == best[labels[i]] else "Boltzmann draw" for i in indices
        ],
    }
