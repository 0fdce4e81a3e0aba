"""Published and measured values, and the selection of those with which a result may be compared."""

from __future__ import annotations

from superionic.chemistry import normal_formula, parse_formula
from superionic.references.compare import Comparison, compare
from superionic.references.compositions import Composition
from superionic.references.matching import Match, OwnResult, matching, temperatures_of
from superionic.references.published import all_values, lookup
from superionic.references.spacegroups import spacegroup_number, spacegroup_symbol
from superionic.references.values import PublishedValue, Source

__all__ = [
    "Comparison",
    "Composition",
    "Match",
    "OwnResult",
    "PublishedValue",
    "Source",
    "all_values",
    "compare",
    "lookup",
    "matching",
    "normal_formula",
    "parse_formula",
    "spacegroup_number",
    "spacegroup_symbol",
    "temperatures_of",
]
