"""Formation energies, convex hulls and the Boltzmann selection of orderings."""

from __future__ import annotations

from superionic.thermodynamics.composition import reduced_composition, reduced_formula
from superionic.thermodynamics.formation import Entry
from superionic.thermodynamics.hull import (
    Decomposition,
    Hull,
    PolymorphComparison,
    compare_polymorphs,
    convex_hull,
)
from superionic.thermodynamics.selection import boltzmann_selection

__all__ = [
    "Decomposition",
    "Entry",
    "Hull",
    "PolymorphComparison",
    "boltzmann_selection",
    "compare_polymorphs",
    "convex_hull",
    "reduced_composition",
    "reduced_formula",
]
