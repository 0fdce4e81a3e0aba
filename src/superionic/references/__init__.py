"""Published and measured values to compare with."""

from __future__ import annotations

from superionic.references.compare import Comparison, compare
from superionic.references.formulas import normal_formula, parse_formula
from superionic.references.published import all_values, lookup
from superionic.references.values import PublishedValue, Source

__all__ = [
    "Comparison",
    "PublishedValue",
    "Source",
    "all_values",
    "compare",
    "lookup",
    "normal_formula",
    "parse_formula",
]
