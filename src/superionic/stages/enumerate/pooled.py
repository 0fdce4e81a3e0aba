"""The lowest orderings of a composition over all supercells in which it was enumerated (paper A)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from superionic.results.identity import OrderedCell
from superionic.stages.enumerate.spaces import KeptOrdering, KeptOrderings

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

_SAME_ENERGY_EV_PER_ATOM: Final = 1.0e-7
_SAME_PLACE_A: Final = 0.01

NumberedOrderings = tuple[tuple[int, KeptOrdering], ...]
"""Orderings with their positions in the result of the task that gave them."""


def lowest_of_all_cells(
    kept: Mapping[OrderedCell, KeptOrderings], number: int | None
) -> dict[OrderedCell, NumberedOrderings]:
    """Return, for each cell, the orderings that are among the lowest of their composition over all its supercells.

    Energies are compared per atom. An ordering that repeats one of a smaller supercell is that one, and is left out. A
    composition in a single supercell keeps all of its orderings.

    Parameters
    ----------
    kept
        The orderings retained of each cell, at least `number` of each where there are so many.
    number
        Orderings of each composition; None for all.
    """
    compositions: dict[object, list[OrderedCell]] = {}
    for cell, value in kept.items():
        key = (cell.material, cell.composition_number, value.counted.formula)
        compositions.setdefault(key, []).append(cell)
    result = {cell: tuple(enumerate(value.orderings)) for cell, value in kept.items()}
    for cells in compositions.values() if number is not None else ():
        if len(cells) == 1:
            continue
        cells.sort(key=lambda cell: len(kept[cell].orderings[0].atoms) if kept[cell].orderings else 0)
        ranked = []
        for position, cell in enumerate(cells):
            smaller = [kept[each].orderings for each in cells[:position] if kept[each].orderings]
            ranked += [
                (round(ordering.ewald_eV / ordering.n_atoms, 9), position, index)
                for index, ordering in result[cell]
                if not any(_is_among(ordering, others) for others in smaller)
            ]
        ranked.sort()
        lowest = {(position, index) for _, position, index in ranked[:number]}
        for position, cell in enumerate(cells):
            result[cell] = tuple(pair for pair in result[cell] if (position, pair[0]) in lowest)
    return result


def _is_among(ordering: KeptOrdering, smaller: tuple[KeptOrdering, ...]) -> bool:
    """Tell whether an ordering is one of a smaller supercell, repeated."""
    energy = ordering.ewald_eV / ordering.n_atoms
    alike = any(abs(each.ewald_eV / each.n_atoms - energy) < _SAME_ENERGY_EV_PER_ATOM for each in smaller)
    return alike and _repeats(ordering.atoms, np.asarray(smaller[0].atoms.cell.array))


def _repeats(atoms: Atoms, cell_A: NDArray[np.float64]) -> bool:
    """Tell whether a structure is periodic with a smaller cell; no cell that does not fit into it is one."""
    large, numbers = np.asarray(atoms.cell.array), np.asarray(atoms.numbers)
    times = large @ np.linalg.inv(cell_A)
    if np.abs(times - np.round(times)).max() > 1.0e-6:
        return False
    places = atoms.get_scaled_positions(wrap=False)
    for shift in cell_A @ np.linalg.inv(large):
        away = (places + shift)[:, None] - places[None]
        distances = np.linalg.norm((away - np.round(away)) @ large, axis=2)
        nearest = distances.argmin(axis=1)
        if distances.min(axis=1).max() > _SAME_PLACE_A or np.any(numbers[nearest] != numbers):
            return False
    return True
