"""Boltzmann selection of orderings by their energy above the hull.

Source: paper A (Deng et al. 2025, doi:10.1039/d5ta05321h), Results: at 800 K, the lowest of each composition always.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superionic.errors import StageError
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def boltzmann_selection(
    e_above_hull_eV_per_fu: ArrayLike,
    composition_ids: Sequence[Hashable],
    *,
    n: int,
    rng: np.random.Generator,
    temperature_K: float = 800.0,
    degeneracies: ArrayLike | None = None,
) -> IntArray:
    """Select structures with p ∝ g exp(−E_hull / k_B T), without replacement, the lowest of each composition always.

    Parameters
    ----------
    e_above_hull_eV_per_fu
        (m,) energy above hull per formula unit in eV.
    composition_ids
        (m,) anything hashable that is equal for structures of one composition.
    n
        Number of structures to select, those always kept included; all if there are at most n.
    rng
        Source of randomness; m numbers are drawn from it.
    temperature_K
        Temperature of the Boltzmann factor; 800 K in paper A.
    degeneracies
        (m,) weights g, such as the number of equivalent orderings; None: 1 for all, as in paper A.

    Returns
    -------
    array of int, (min(n, m),)
        Indices in ascending order. The lowest structure of each composition (the first in a tie) is among them; the
        others are drawn one after another, each time from those that remain.

    Raises
    ------
    StageError
        If lengths differ, an energy or weight is not finite, the temperature is not positive, or n is smaller than
        the number of compositions.

    Notes
    -----
    Successive draws without replacement are the largest values of log p_i + G_i with independent Gumbel numbers G_i
    (Efraimidis and Spirakis, Inf. Process. Lett. 97, 181 (2006), in logarithms), which no large E_hull can underflow.
    """
    energies = np.asarray(e_above_hull_eV_per_fu, dtype=np.float64)
    weights = np.ones_like(energies) if degeneracies is None else np.asarray(degeneracies, dtype=np.float64)
    if energies.ndim != 1 or len(composition_ids) != len(energies) or weights.shape != energies.shape:
        raise StageError(
            f"Energies {energies.shape}, compositions ({len(composition_ids)},) and degeneracies {weights.shape} "
            "do not match",
            fix="give one of each per structure",
        )
    if not np.all(np.isfinite(energies)) or not np.all(np.isfinite(weights)) or np.any(weights <= 0):
        raise StageError(
            "An energy above hull is not finite, or a degeneracy not positive", fix="leave failed structures out"
        )
    if not (np.isfinite(temperature_K) and temperature_K > 0):
        raise StageError(
            f"The selection temperature is {temperature_K} K", fix="give a positive one (paper A has 800 K)"
        )
    lowest: dict[Hashable, int] = {}
    for i, composition in enumerate(composition_ids):
        if composition not in lowest or energies[i] < energies[lowest[composition]]:
            lowest[composition] = i
    if n < len(lowest):
        raise StageError(
            f"{n} structures are to be selected, but the lowest of each of {len(lowest)} compositions is always kept",
            fix=f"select {len(lowest)} structures or more",
        )
    keys = np.log(weights) - energies / (BOLTZMANN_EV_PER_K * temperature_K) + rng.gumbel(size=len(energies))
    keys[list(lowest.values())] = np.inf
    order = np.argsort(-keys, kind="stable")
    return np.sort(order[: min(n, len(energies))]).astype(np.int64)
