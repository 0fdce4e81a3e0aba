"""Published values of the materials of a campaign, for figures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from superionic.references import PublishedValue, all_values
from superionic.references.matching import PRESSURE_TOLERANCE_GPA
from superionic.references.values import Quantity
from superionic.results.campaign import Results


def published_values(
    results: Results, crystal: str, formula: str, quantity: Quantity, pressure_GPa: float | None
) -> Iterator[PublishedValue]:
    """Yield the published values of a quantity of one material, at any temperature.

    Composition (exactly, or within the published family), polymorph (if the source names one) and pressure agree;
    a value without a pressure is taken to be at ambient pressure.

    Parameters
    ----------
    results
        Results of the campaign, with the space groups of its crystals.
    pressure_GPa
        Pressure of our runs; None for relaxed cells.
    """
    spacegroups = {each.name: each.spacegroup_number for each in results.crystals}
    for value in all_values():
        if (
            value.quantity == quantity
            and value.composition.contains(formula)
            and value.spacegroup in (None, spacegroups.get(crystal))
            and abs((pressure_GPa or 0.0) - (value.pressure_GPa or 0.0)) <= PRESSURE_TOLERANCE_GPA
        ):
            yield value


def short_citation(citation: str) -> str:
    """Shorten ``Z. Liu et al., Nat. Chem. 16, 1584 (2024)`` to ``Liu 2024``; leave other forms unchanged."""
    year = re.search(r"\((\d{4})\)", citation)
    author = re.match(r"(?:[A-Z][\w-]*\.[ -]?)+((?:[a-z]+ )*[A-Z][^\s,]+)", citation)
    return f"{author.group(1)} {year.group(1)}" if year and author else citation


def source_words(value: PublishedValue) -> str:
    """Return source and method for a legend: ``Liu 2024 (impedance spectroscopy)``."""
    return f"{short_citation(value.source)} ({value.method})" if value.method else short_citation(value.source)
