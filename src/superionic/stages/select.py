"""Stage *select*: Boltzmann selection of orderings by their energy above the hull (paper A)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from superionic.execution.task import Context, Task, task
from superionic.results.identity import Material
from superionic.results.stability import PhaseDiagram, Reason, SelectedOrdering, SelectResult
from superionic.stages.base import Candidate, WithCandidates, Workbench, of_compositions

if TYPE_CHECKING:
    from superionic.settings.sample import SelectSettings

_Group = tuple[Material, str]


@dataclass(frozen=True)
class Selection:
    """The orderings drawn, as indices into the candidates.

    Attributes
    ----------
    indices
        Indices in ascending order.
    reasons, energies_eV_per_fu
        Why each was drawn, and its energy.
    """

    indices: tuple[int, ...]
    reasons: tuple[Reason, ...]
    energies_eV_per_fu: tuple[float, ...]


def run(
    settings: SelectSettings,
    bench: Workbench,
    candidates: Sequence[Candidate],
    hull: Task[PhaseDiagram] | None,
    *,
    formula_unit: str | None = None,
    replacements: Sequence[tuple[str, str]] = (),
) -> WithCandidates[SelectResult]:
    """Select orderings for sampling, never references.

    Parameters
    ----------
    settings
        The ``select`` section.
    candidates
        Relaxed orderings, lowest of each composition first.
    hull
        The hull's task; without a hull, energies refer to the lowest ordering of the same composition.
    formula_unit, replacements
        Formula unit of the solid solution, and the elements that replace each other in it; not used with a hull.

    Raises
    ------
    StageError
        If no ordering has one of the requested compositions.
    """
    bench = bench.at("select")
    orderings = of_compositions(candidates, settings.compositions, where="select.compositions")
    taken = {candidate.id for candidate in orderings}
    indices = [index for index, candidate in enumerate(candidates) if candidate.id in taken]
    materials = [candidate.material for candidate in orderings]
    formulas = [candidate.formula for candidate in orderings]
    if hull is not None:
        call = select_task.of(
            materials=materials,
            formulas=formulas,
            count=settings.count,
            seed=bench.seed_for(),
            temperature_K=settings.temperature_K,
            e_above_hull_eV_per_fu=[hull.result.entries[index].e_above_hull_eV_per_formula_unit for index in indices],
        )
    else:
        call = select_task.of(
            materials=materials,
            formulas=formulas,
            count=settings.count,
            seed=bench.seed_for(),
            temperature_K=settings.temperature_K,
            compositions=[candidate.relaxation.composition for candidate in orderings],
            energies_eV=[candidate.relaxation.energy_eV for candidate in orderings],
            formula_unit=formula_unit,
            replacements=list(replacements),
            mobile_ion=bench.mobile_ion,
        )
    drawing = bench.task("selection", call)
    drawn = bench.runner.one(drawing)
    selected = tuple(orderings[index] for index in drawn.indices)
    result = SelectResult(
        key=drawing.key,
        temperature_K=settings.temperature_K,
        above="lowest ordering" if hull is None else "hull",
        selected=tuple(
            SelectedOrdering(candidate.ordering, candidate.formula, reason, energy)
            for candidate, reason, energy in zip(selected, drawn.reasons, drawn.energies_eV_per_fu, strict=True)
        ),
    )
    return WithCandidates(result, selected)


@task(version=2)
def select_task(
    context: Context,
    *,
    materials: Sequence[Material],
    formulas: Sequence[str],
    count: int,
    seed: int,
    temperature_K: float,
    e_above_hull_eV_per_fu: Sequence[float] | None = None,
    compositions: Sequence[Mapping[str, int]] = (),
    energies_eV: Sequence[float] = (),
    formula_unit: str | None = None,
    replacements: Sequence[tuple[str, str]] = (),
    mobile_ion: str | None = None,
) -> Selection:
    """Draw orderings with p ∝ exp(−E/k_BT), always including the lowest of each crystal and composition.

    E is the energy above the hull; without a hull, the energy above the lowest ordering of the same crystal and
    composition, per formula unit of the solid solution, or per reduced formula if the cell does not contain that unit.
    """
    del context
    import numpy as np

    from superionic.thermodynamics.selection import boltzmann_selection

    groups = list(zip(materials, formulas, strict=True))
    if e_above_hull_eV_per_fu is not None:
        energies = np.array(e_above_hull_eV_per_fu)
    else:
        units = [_formula_units(cell, formula_unit, replacements, mobile_ion) for cell in compositions]
        per_unit = [energy / unit for energy, unit in zip(energies_eV, units, strict=True)]
        lowest = _lowest(per_unit, groups)
        energies = np.array([energy - lowest[group] for energy, group in zip(per_unit, groups, strict=True)])
    indices = boltzmann_selection(
        energies,
        groups,
        n=max(count, len(set(groups))),  # the lowest of each composition is always included
        rng=np.random.default_rng(seed),
        temperature_K=temperature_K,
    )
    best = _lowest(energies.tolist(), groups)
    return Selection(
        indices=tuple(int(i) for i in indices),
        reasons=tuple(
            "lowest of its composition" if float(energies[i]) == best[groups[i]] else "Boltzmann draw" for i in indices
        ),
        energies_eV_per_fu=tuple(float(energies[i]) for i in indices),
    )


def _lowest(energies: Sequence[float], groups: Sequence[_Group]) -> dict[_Group, float]:
    lowest: dict[_Group, float] = {}
    for energy, group in zip(energies, groups, strict=True):
        lowest[group] = min(lowest.get(group, energy), energy)
    return lowest


def _formula_units(
    composition: Mapping[str, int],
    formula_unit: str | None,
    replacements: Sequence[tuple[str, str]],
    mobile_ion: str | None,
) -> float:
    from superionic.references import parse_formula
    from superionic.thermodynamics.composition import reduced_composition
    from superionic.thermodynamics.formation import formula_units

    if formula_unit is not None:
        unit = parse_formula(formula_unit)
        units = formula_units(composition, unit, replacements=replacements, mobile_ion=mobile_ion)
        if units is not None:
            return float(units)
    return sum(composition.values()) / sum(reduced_composition(composition).values())
