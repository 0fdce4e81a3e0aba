"""Part of the stage *analyse*: choose the runs whose densities and paths the report draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from superionic.chemistry import normal_formula
from superionic.results.identity import Material, Run
from superionic.results.transport import AnalysedRun, MaterialTransport

if TYPE_CHECKING:
    from superionic.settings.analyse import DrawnDensities

_MOST: Final = 6
_ORDERINGS_OF_ONE: Final = 3


def drawn_runs(
    settings: DrawnDensities, runs: Sequence[AnalysedRun], materials: Sequence[MaterialTransport]
) -> tuple[Run, ...]:
    """Return a run of the lowest ordering of each chosen material at each chosen temperature.

    Where there is one material and no choice, the three lowest orderings.

    Parameters
    ----------
    settings
        The chosen compositions and temperatures; those left out are the best conductor and the ends of the axes, six
        at most, and the highest temperature of each.
    runs, materials
        All runs, those of the lowest ordering of a material first, and σ(T) of all materials.
    """
    if settings.compositions:
        formulas = [normal_formula(formula) for formula in settings.compositions]
        named = [each.material for each in materials if normal_formula(each.formula) in formulas]
    else:
        named = _best_and_ends(materials)[:_MOST]
    n_orderings = _ORDERINGS_OF_ONE if len(named) == 1 and not settings.compositions else 1
    drawn: list[Run] = []
    for material in named:
        own = [each.run for each in runs if each.run.ordering.material == material]
        for ordering in list(dict.fromkeys(run.ordering for run in own))[:n_orderings]:
            of_ordering = [run for run in own if run.ordering == ordering]
            hottest = max(run.temperature_K for run in of_ordering)
            for temperature in settings.temperatures_K or (hottest,):
                drawn += [run for run in of_ordering if run.temperature_K == temperature][:1]
    return tuple(drawn)


def _best_and_ends(materials: Sequence[MaterialTransport]) -> list[Material]:
    """Return the material of the highest conductivity, then those at an end of every composition axis."""
    stated = [
        (sigma.value_S_per_cm, each.material)
        for each in materials
        if (sigma := each.dependence.headline) is not None and not sigma.is_upper_bound
    ]
    best = [max(stated, key=lambda each: each[0])[1]] if stated else []
    points = [[value.value for value in each.material.point] for each in materials]
    ends = [(min(values), max(values)) for values in zip(*points, strict=True)]
    at_ends = [
        each.material
        for each in materials
        if all(value.value in of_axis for value, of_axis in zip(each.material.point, ends, strict=True))
    ]
    return list(dict.fromkeys([*best, *at_ends]))
