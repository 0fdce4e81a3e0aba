"""Guessing oxidation states and the mobile ion, for the files that `superionic init` writes.

A guess is shown to the user and can be changed; nothing guesses behind a campaign's back.
"""

from __future__ import annotations

from itertools import product
from typing import Final

from superionic.errors import CompositionError
from superionic.structures.disordered import DisorderedCrystal

_MOBILE: Final = ("Li", "Na", "Ag", "K", "Cu", "Mg", "Zn", "Ca", "F")
_MAX_COMBINATIONS: Final = 200_000
# Elements whose commonest state in solid electrolytes differs from, or narrows, the textbook lists.
_PREFERRED: Final[dict[str, tuple[int, ...]]] = {
    "H": (1,), "N": (-3, 5), "P": (5, 3), "As": (5, 3), "Sb": (5, 3), "S": (-2, 6), "Se": (-2, 4), "Te": (-2, 4),
    "Cl": (-1,), "Br": (-1,), "I": (-1,), "C": (4,), "Sn": (4, 2), "Ge": (4,), "Si": (4,), "Tl": (1, 3), "In": (3,),
}  # fmt: skip


def guess_oxidation_states(crystal: DisorderedCrystal, *, tolerance_e: float = 0.05) -> dict[str, int]:
    """Guess integer oxidation states that make the refined composition neutral.

    Parameters
    ----------
    crystal
        The crystal.
    tolerance_e
        Largest net charge in e per atom that counts as neutral (refined occupancies seldom balance exactly).

    Returns
    -------
    dict
        One oxidation state for each species. Of the neutral choices the one with the commonest states is taken.

    Raises
    ------
    CompositionError
        If no choice of common oxidation states is neutral.
    """
    from pymatgen.core import Element

    amounts = crystal.composition
    options: list[tuple[int, ...]] = []
    for species in amounts:
        common = _PREFERRED.get(species)
        if common is None:
            common = tuple(int(v) for v in Element(species).common_oxidation_states) or (0,)
        options.append(common)
    atoms = sum(amounts.values())
    best: tuple[tuple[int, float, tuple[int, ...]], tuple[int, ...]] | None = None
    for number, choice in enumerate(product(*options)):
        if number >= _MAX_COMBINATIONS:
            break
        charge = abs(sum(q * a for q, a in zip(choice, amounts.values(), strict=True))) / atoms
        rarity = tuple(o.index(q) for o, q in zip(options, choice, strict=True))
        rank = (sum(rarity), round(charge, 6), rarity)
        if charge <= tolerance_e and (best is None or rank < best[0]):
            best = (rank, choice)
    if best is None:
        raise CompositionError(
            f"No common oxidation states make {crystal.cell_formula} neutral.",
            where=crystal.name,
            fix="Give the oxidation states, or check the occupancies.",
        )
    return dict(zip(amounts, best[1], strict=True))


def guess_mobile_ion(crystal: DisorderedCrystal) -> str:
    """Guess which species moves: the first of Li, Na, Ag, K, Cu, Mg, Zn, Ca, F that the crystal holds.

    Raises
    ------
    CompositionError
        If it holds none of them.
    """
    for species in _MOBILE:
        if species in crystal.species:
            return species
    raise CompositionError(
        f"{crystal.formula} holds none of the usual mobile ions ({', '.join(_MOBILE)}).",
        where=crystal.name,
        fix="Name the mobile ion.",
    )
