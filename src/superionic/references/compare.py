"""Comparison of a result with a published value, in the measure appropriate to its quantity."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, isfinite, log, log10
from typing import Literal

from superionic.errors import AnalysisError
from superionic.references.values import PublishedValue

MEASURED_CONDUCTIVITY_SCATTER_DEX = 0.85
"""Scatter of measured room-temperature conductivities of nominally one material: pooled standard deviation of log10 σ
within groups of one composition and space group in OBELiX 1.2.0 (NRC-Mila, CC-BY-4.0). Agreement with a
measurement closer than this is not significant."""


@dataclass(frozen=True)
class Comparison:
    """A result against a published value.

    Attributes
    ----------
    ours
        The result, in the unit of the published value.
    difference
        "decades": log10(ours/published); "percent": 100 (ours − published)/published; otherwise ours − published in
        the unit of the value.
    expected_scatter
        One standard deviation of `difference` from the errors of both sides, and for measured conductivities from the
        scatter between laboratories; None where no error is known.
    """

    published: PublishedValue
    ours: float
    difference: float
    measure: Literal["decades", "percent", "difference"]
    expected_scatter: float | None


def compare(
    ours: float, published: PublishedValue, *, error: float | None = None, interval68: tuple[float, float] | None = None
) -> Comparison:
    """Compare a result with a published value: conductivities in decades, volumes in percent, energies by difference.

    Parameters
    ----------
    ours
        The result in `published.unit`, at the temperature of the published value.
    published
        The value to compare with.
    error
        Standard error of the result in the same unit.
    interval68
        Its 68 % interval in the same unit, used instead of `error`: half its width in the measure of the comparison.

    Returns
    -------
    Comparison

    Raises
    ------
    AnalysisError
        If the result is not finite, or not positive where a ratio is formed.
    """
    if not isfinite(ours) or (published.quantity in ("conductivity", "volume_per_atom") and ours <= 0):
        raise AnalysisError(
            f"A {published.quantity} of {ours} {published.unit} cannot be compared", fix="leave the failed result out"
        )
    own_error = error if interval68 is None else (interval68[1] - interval68[0]) / 2
    errors = [value for value in (own_error, published.error) if value is not None]
    if published.quantity == "conductivity":
        relative = [] if published.error is None else [published.error / published.value]
        if interval68 is not None and interval68[0] > 0:
            relative.append(log(interval68[1] / interval68[0]) / 2)
        elif own_error is not None:
            relative.append(own_error / ours)
        scatter = [value / log(10.0) for value in relative]
        scatter += [MEASURED_CONDUCTIVITY_SCATTER_DEX] if published.kind == "measured" else []
        return Comparison(published, ours, log10(ours / published.value), "decades", _combined(scatter))
    if published.quantity == "volume_per_atom":
        percent = [100.0 * value / published.value for value in errors]
        difference = 100.0 * (ours - published.value) / published.value
        return Comparison(published, ours, difference, "percent", _combined(percent))
    return Comparison(published, ours, ours - published.value, "difference", _combined(errors))


def _combined(parts: list[float]) -> float | None:
    return hypot(*parts) if parts else None
