"""Guessing oxidation states and the mobile ion, for the files that `superionic init` writes.

A guess is shown to the user and can be changed; nothing guesses behind a campaign's back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, product
from typing import Final

from superionic.errors import CompositionError
from superionic.structures.disordered import DisorderedCrystal

_MOBILE: Final = ("Li", "Na", "Ag", "K", "Cu", "Mg", "Zn", "Ca", "F")
_MAX_COMBINATIONS: Final = 200_000
# Elements whose commonest state in solid electrolytes differs from, or narrows, the textbook lists.
_PREFERRED: Final[dict[str, tuple[int, ...]]] = {
    "H": (1, -1), "N": (-3, 5), "P": (5, 3, 4, -3), "As": (5, 3), "Sb": (5, 3), "S": (-2, 6), "Se": (-2, 4),
    "Te": (-2, 4),
    "Cl": (-1,), "Br": (-1,), "I": (-1,), "C": (4,), "Sn": (4, 2), "Ge": (4,), "Si": (4,), "Tl": (1, 3), "In": (3,),
}  # fmt: skip


def guess_oxidation_states(crystal: DisorderedCrystal, *, tolerance_e: float = 0.05) -> dict[str, int]:
    """Guess integer oxidation states that make the refined composition neutral.

    One state for each element: crystals of mixed valence, such as Fe2+ and Fe3+, need theirs given.

    Parameters
    ----------
    crystal
        The crystal.
    tolerance_e
        Largest net charge in e per atom that counts as neutral (refined occupancies seldom balance exactly).

    Returns
    -------
    dict
        One oxidation state for each species. Of the neutral choices the one with the commonest states is taken; rare
        states are tried only if no common ones fit.

    Raises
    ------
    CompositionError
        If no choice of oxidation states is neutral.
    """
    from pymatgen.core import Element

    amounts = crystal.composition
    common: list[tuple[int, ...]] = []
    rare: list[tuple[int, ...]] = []
    for species in amounts:
        element = Element(species)
        usual = _PREFERRED.get(species) or tuple(int(v) for v in element.common_oxidation_states) or (0,)
        others = sorted({int(v) for v in element.oxidation_states} - set(usual), key=lambda q: (abs(q), q))
        common.append(usual)
        rare.append((*usual, *others))
    best = _best_choice(common, list(amounts.values()), tolerance_e)
    if best is None:
        best = _best_choice(rare, list(amounts.values()), tolerance_e)
    if best is None:
        raise CompositionError(
            f"No oxidation states make {crystal.cell_formula} neutral.",
            where=crystal.name,
            fix="Give the oxidation states, or check the occupancies.",
        )
    return dict(zip(amounts, best, strict=True))


def _best_choice(
    options: Sequence[Sequence[int]], amounts: Sequence[float], tolerance_e: float
) -> tuple[int, ...] | None:
    """Return the neutral choice whose states stand earliest in their lists; None if none is neutral."""
    atoms = sum(amounts)
    best: tuple[tuple[int, float, tuple[int, ...]], tuple[int, ...]] | None = None
    for choice in islice(product(*options), _MAX_COMBINATIONS):
        charge = abs(sum(q * a for q, a in zip(choice, amounts, strict=True))) / atoms
        rarity = tuple(o.index(q) for o, q in zip(options, choice, strict=True))
        rank = (sum(rarity), round(charge, 6), rarity)
        if charge <= tolerance_e and (best is None or rank < best[0]):
            best = (rank, choice)
    return None if best is None else best[1]


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
