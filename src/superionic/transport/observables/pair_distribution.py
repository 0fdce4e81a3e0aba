"""Partial pair distribution functions g(r), by element and by kind of site, with coordination numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.diffusion.van_hove import shell_volumes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_FRAMES = 200
_FEWEST_FRAMES = 10
_MOST_DISTANCES = 4_000_000_000
_BLOCKS = 5
_SMOOTHED_A = 0.08
_FALLEN = 0.8
_RISEN = 0.1
_PEAK = 1.0


@dataclass(frozen=True, eq=False)
class PairDistribution:
    """Distribution of atoms of one element around those of another.

    Attributes
    ----------
    centre, neighbour
        Elements.
    site
        Kind of site that the centres are on, such as ``"Li1 (6h)"``; None for all of the element.
    r_A
        (n_bins,) middles of the bins.
    g
        (n_bins,) density of the neighbours at r over their mean density N/V.
    coordination
        (n_bins,) mean number of neighbours within the outer edge of the bin.
    first_peak_A, first_minimum_A
        Position of the first peak of g, and of the minimum after it; None without one.
    coordination_number, coordination_error
        Neighbours within that minimum, and the standard error from five parts of the run; None without a minimum.
    n_centres
        Mean number of centres in a frame.
    """

    centre: str
    neighbour: str
    site: str | None
    r_A: FloatArray
    g: FloatArray
    coordination: FloatArray
    first_peak_A: float | None
    first_minimum_A: float | None
    coordination_number: float | None
    coordination_error: float | None
    n_centres: float


def pair_distributions(
    positions_A: NDArray[Any],
    cells_A: FloatArray,
    symbols: Sequence[str],
    *,
    centres: Sequence[str] | None = None,
    labels: tuple[Sequence[str], NDArray[np.int64]] | None = None,
    r_max_A: float = 8.0,
    bin_A: float = 0.05,
) -> tuple[PairDistribution, ...]:
    """Count pairs in up to 200 frames, images of the cell included, so that r may exceed half a cell.

    Parameters
    ----------
    positions_A
        (n_frames, n_atoms, 3), wrapped or not.
    cells_A
        (3, 3) or (n_frames, 3, 3).
    symbols
        (n_atoms,) elements.
    centres
        Elements around which to count; all if None.
    labels
        Names of kinds of sites, and (n_frames, n_atoms) the kind that each atom is on, -1 for none: each occupied
        kind has its own g(r), besides those by element.
    r_max_A, bin_A
        Range and width of the bins.

    Returns
    -------
    tuple
        One for each pair of elements (the centre's first, in the order of the atoms), then those by site.

    Raises
    ------
    AnalysisError
        For inconsistent shapes, or bins wider than the range.
    """
    from superionic.transport.pair_kernels import count_near_pairs, count_pairs

    positions = np.asarray(positions_A)
    n_frames, n_atoms = positions.shape[:2]
    cells = np.asarray(cells_A, dtype=np.float64)
    if positions.ndim != 3 or len(symbols) != n_atoms or cells.shape not in {(3, 3), (n_frames, 3, 3)}:
        raise AnalysisError(
            f"{len(symbols)} elements, positions {positions.shape} and cells {cells.shape} do not fit together."
        )
    if not 0.0 < bin_A < r_max_A:
        raise AnalysisError("The bins must be narrower than the range.")
    elements = list(dict.fromkeys(symbols))
    kinds = np.array([elements.index(s) for s in symbols], dtype=np.int64)
    around = [e for e in elements if centres is None or e in centres]
    rows = np.array([around.index(s) if s in around else -1 for s in symbols], dtype=np.int64)
    names, on = labels if labels is not None else ((), np.zeros((0, 0), dtype=np.int64))
    n_bins = round(r_max_A / bin_A)
    mean_cell = cells if cells.ndim == 2 else cells.mean(axis=0)
    reach = _reach(mean_cell, n_bins * bin_A, spare=0.0 if cells.ndim == 2 else 0.05)
    images = int(np.prod(2 * reach + 1))
    frames = _frames(n_frames, images * n_atoms * max(1, int((rows >= 0).sum())) * (2 if names else 1))
    parts = min(_BLOCKS, len(frames))
    shape = (parts, len(around), len(elements), n_bins)
    counts = np.zeros(shape, dtype=np.int64)
    by_site = np.zeros((parts, len(names), len(elements), n_bins), dtype=np.int64)
    on_site = np.zeros((parts, len(names)))
    volumes = np.zeros(parts)
    per_part = np.zeros(parts)
    for k, frame in enumerate(frames.tolist()):
        part = k * parts // len(frames)
        cell = np.ascontiguousarray(cells if cells.ndim == 2 else cells[frame])
        # Where the cell changes, positions are in the mean cell, whose fractional coordinates apply in both.
        fractional = np.ascontiguousarray(np.asarray(positions[frame], dtype=np.float64) @ np.linalg.inv(mean_cell))
        here = np.ascontiguousarray(on[frame], dtype=np.int64) if names else rows
        inverse = np.ascontiguousarray(np.linalg.inv(cell))
        for of, into in ((rows, counts[part]), *([(here, by_site[part])] if names else [])):
            if reach.any():
                count_pairs(fractional, cell, kinds, of, reach, bin_A, into)
            else:
                count_near_pairs(fractional, cell, inverse, kinds, of, bin_A, into)
        if names:
            on_site[part] += np.bincount(here[here >= 0], minlength=len(names))
        volumes[part] += abs(float(np.linalg.det(cell)))
        per_part[part] += 1
    volume = float(volumes.sum() / per_part.sum())
    numbers = np.bincount(kinds, minlength=len(elements))
    distributions = [
        _distribution(
            (element, neighbour, None), counts[:, a, b], per_part * float((rows == a).sum()),
            len(frames), int(numbers[b]), volume, bin_A,
        )
        for a, element in enumerate(around)
        for b, neighbour in enumerate(elements)
    ]  # fmt: skip
    for a, name in enumerate(names):
        element_on_site = symbols[int(np.argmax((on == a).any(axis=0)))] if (on == a).any() else ""
        if not on_site[:, a].sum() > 0.0:
            continue
        distributions += [
            _distribution(
                (element_on_site, neighbour, name),
                by_site[:, a, b],
                on_site[:, a],
                len(frames),
                int(numbers[b]),
                volume,
                bin_A,
            )
            for b, neighbour in enumerate(elements)
        ]
    return tuple(distributions)


def _reach(cell: FloatArray, r_max_A: float, spare: float) -> IntArray:
    """Return how many cells beyond the nearest image (in fractional coordinates) an atom in range may be."""
    widths = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return np.asarray(np.floor(r_max_A * (1.0 + spare) / widths + 0.5 - 1e-9), dtype=np.int64)


def _frames(n_frames: int, distances: int) -> IntArray:
    most = min(_MOST_FRAMES, max(_FEWEST_FRAMES, _MOST_DISTANCES // max(1, distances)))
    return np.unique(np.linspace(0, n_frames - 1, min(n_frames, most)).astype(np.int64))


def _distribution(
    names: tuple[str, str, str | None],
    counts: NDArray[np.int64],
    centres: FloatArray,
    n_frames: int,
    n_neighbours: int,
    volume_A3: float,
    bin_A: float,
) -> PairDistribution:
    """Normalise the counts of parts (n_parts, n_bins) by the centres in each part (n_parts,)."""
    edges = np.arange(counts.shape[1] + 1) * bin_A
    whole = counts.sum(axis=0) / centres.sum()
    g = whole / (shell_volumes(edges) * n_neighbours / volume_A3)
    r = 0.5 * (edges[1:] + edges[:-1])
    peak, minimum = _first_shell(g, bin_A)
    number = error = None
    if minimum is not None:
        number = float(whole[: minimum + 1].sum())
        occupied = centres > 0.0
        each = counts[occupied, : minimum + 1].sum(axis=1) / centres[occupied]
        error = float(each.std(ddof=1) / math.sqrt(len(each))) if len(each) > 1 else None
    return PairDistribution(
        *names,
        r_A=np.asarray(r),
        g=np.asarray(g),
        coordination=np.asarray(np.cumsum(whole)),
        first_peak_A=None if peak is None else float(r[peak]),
        first_minimum_A=None if minimum is None else float(edges[minimum + 1]),
        coordination_number=number,
        coordination_error=error,
        n_centres=float(centres.sum() / n_frames),
    )


def _first_shell(g: FloatArray, bin_A: float) -> tuple[int | None, int | None]:
    """Return the bins of the first peak, and of the end of its shell: the middle of the lowest stretch after it.

    g is smoothed by 0.08 Å. The peak ends where g falls below 0.8 of it, the minimum where g rises again by a
    tenth of the fall.
    """
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(g, _SMOOTHED_A / bin_A, mode="constant")
    smooth[smooth < 1e-6] = 0.0
    peak: int | None = None
    low = 0
    for k in range(len(smooth)):
        if peak is None or (smooth[low] > _FALLEN * smooth[peak] and smooth[k] > smooth[peak]):
            if smooth[k] > _PEAK:
                peak = low = k
            continue
        if smooth[k] < smooth[low]:
            low = k
        elif smooth[low] < _FALLEN * smooth[peak] and smooth[k] > smooth[low] + _RISEN * (smooth[peak] - smooth[low]):
            lowest = np.flatnonzero(smooth[low : k + 1] <= smooth[low]) + low
            return peak, int(lowest[len(lowest) // 2])
    return peak, None
