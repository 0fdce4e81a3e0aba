"""Fewer points of a curve, for figures."""

from __future__ import annotations

import numpy as np


def thin(n: int, most: int) -> list[int]:
    """Return at most `most` indices of ``range(n)``, evenly spread, with both ends."""
    if n <= most:
        return list(range(n))
    return sorted({round(index * (n - 1) / (most - 1)) for index in range(most)})


def thin_log(n: int, most: int) -> list[int]:
    """Return at most `most` indices of ``range(n)``, evenly spread on a logarithmic axis, with both ends."""
    if n <= most:
        return list(range(n))
    spread = np.geomspace(1, n, most)
    return sorted({round(position) - 1 for position in spread.tolist()})
