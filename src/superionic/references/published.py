"""Published and measured values of solid electrolytes, looked up by formula."""

from __future__ import annotations

from functools import cache

from superionic.chemistry import normal_formula
from superionic.references import paper_a, paper_b
from superionic.references.values import PublishedValue, Quantity

__all__ = ["PublishedValue", "all_values", "lookup"]


@cache
def all_values() -> tuple[PublishedValue, ...]:
    """Return all published values, paper B before paper A, in the order of its tables."""
    return (
        *paper_b.volumes(),
        *paper_b.transport(),
        *paper_b.mixed_halides(),
        *paper_b.model_errors(),
        *paper_a.halides(),
        *paper_a.benchmarks(),
        *paper_a.stability(),
        *paper_a.model_errors(),
    )


def lookup(
    reduced_formula: str, *, quantity: Quantity | None = None, kind: str | None = None, polymorph: str | None = None
) -> list[PublishedValue]:
    """Return the published values of exactly one composition; `matching` also finds those of families that include it.

    Parameters
    ----------
    reduced_formula
        The composition in any order and multiple: "Li3YCl6", "YLi3Cl6" and "Li9Y3Cl18" are the same.
    quantity
        Only this quantity, such as "conductivity".
    kind
        Only "measured" or only "calculated" values.
    polymorph
        Only values of this phase; values whose source names none are then left out.

    Returns
    -------
    list of PublishedValue
        Empty where nothing is known.

    Raises
    ------
    CompositionError
        If the formula cannot be read.
    """
    normal = normal_formula(reduced_formula)
    return [
        value
        for value in all_values()
        if not value.composition.is_family
        and normal_formula(value.formula) == normal
        and (quantity is None or value.quantity == quantity)
        and (kind is None or value.kind == kind)
        and (polymorph is None or value.polymorph == polymorph)
    ]
