"""Chemical formulas: the order of the elements in them, and how amounts become text.

Elements stand in the order of rising Pauling electronegativity (as in Li3YCl6), ties in alphabetical order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import gcd
from typing import Final

VACANCY: Final = "X"
"""How an empty site is written."""

MAX_DEVIATION: Final = 0.1
"""Largest difference of an occupancy from the refined one, where none is given: in a campaign and elsewhere."""

_UNKNOWN: Final = 9.0

# Pauling's scale (CRC Handbook of Chemistry and Physics); elements without a value come last.
ELECTRONEGATIVITY: Final[Mapping[str, float]] = {
    "H": 2.2, "Li": 0.98, "Be": 1.57, "B": 2.04, "C": 2.55, "N": 3.04, "O": 3.44, "F": 3.98, "Na": 0.93,
    "Mg": 1.31, "Al": 1.61, "Si": 1.9, "P": 2.19, "S": 2.58, "Cl": 3.16, "K": 0.82, "Ca": 1.0, "Sc": 1.36,
    "Ti": 1.54, "V": 1.63, "Cr": 1.66, "Mn": 1.55, "Fe": 1.83, "Co": 1.88, "Ni": 1.91, "Cu": 1.9, "Zn": 1.65,
    "Ga": 1.81, "Ge": 2.01, "As": 2.18, "Se": 2.55, "Br": 2.96, "Kr": 3.0, "Rb": 0.82, "Sr": 0.95, "Y": 1.22,
    "Zr": 1.33, "Nb": 1.6, "Mo": 2.16, "Tc": 1.9, "Ru": 2.2, "Rh": 2.28, "Pd": 2.2, "Ag": 1.93, "Cd": 1.69,
    "In": 1.78, "Sn": 1.96, "Sb": 2.05, "Te": 2.1, "I": 2.66, "Xe": 2.6, "Cs": 0.79, "Ba": 0.89, "La": 1.1,
    "Ce": 1.12, "Pr": 1.13, "Nd": 1.14, "Pm": 1.13, "Sm": 1.17, "Eu": 1.2, "Gd": 1.2, "Tb": 1.1, "Dy": 1.22,
    "Ho": 1.23, "Er": 1.24, "Tm": 1.25, "Yb": 1.1, "Lu": 1.27, "Hf": 1.3, "Ta": 1.5, "W": 2.36, "Re": 1.9,
    "Os": 2.2, "Ir": 2.2, "Pt": 2.28, "Au": 2.54, "Hg": 2.0, "Tl": 1.62, "Pb": 2.33, "Bi": 2.02, "Po": 2.0,
    "At": 2.2, "Fr": 0.7, "Ra": 0.9, "Ac": 1.1, "Th": 1.3, "Pa": 1.5, "U": 1.38, "Np": 1.36, "Pu": 1.28,
}  # fmt: skip


def species_key(species: str) -> tuple[int, float, str]:
    """Sort key of a species: electronegativity, then name; the vacancy is last."""
    return (int(species == VACANCY), ELECTRONEGATIVITY.get(species, _UNKNOWN), species)


def sort_species(species: Iterable[str]) -> tuple[str, ...]:
    """Put species into the order of formulas, each once, the vacancy last."""
    return tuple(sorted(set(species), key=species_key))


def amounts_text(amounts: Mapping[str, float], *, digits: int = 3) -> str:
    """Write amounts as they are, such as ``Li9 Y3 Cl18`` or ``Li8.999 Y3 Cl18``; vacancies are left out."""
    parts = []
    for species in sort_species(amounts):
        amount = round(float(amounts[species]), digits)
        if species != VACANCY and amount > 0.0:
            parts.append(f"{species}{'' if amount == 1.0 else format(amount, f'.{digits + 3}g')}")
    return " ".join(parts)


def reduced_formula(amounts: Mapping[str, float], *, tolerance: float = 0.02) -> str:
    """Write the smallest integer formula, such as ``Li3YCl6``.

    Parameters
    ----------
    amounts
        Amount of each species, in any common unit (per cell, per formula unit); vacancies are left out.
    tolerance
        How far from an integer an amount may be (refined occupancies seldom sum up exactly). If any is farther
        off, decimal amounts per unit are written instead of wrong integers.

    Returns
    -------
    str
        The formula without blanks.
    """
    present = {s: float(a) for s, a in amounts.items() if s != VACANCY and a > 1e-9}
    whole = {s: round(a) for s, a in present.items()}
    if not present or any(abs(present[s] - n) > tolerance or n == 0 for s, n in whole.items()):
        return amounts_text(present).replace(" ", "")
    divisor = gcd(*whole.values())
    return "".join(f"{s}{whole[s] // divisor if whole[s] != divisor else ''}" for s in sort_species(whole))
