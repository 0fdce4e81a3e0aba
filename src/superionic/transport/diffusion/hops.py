"""Counting hops without knowing the sites."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.diffusion.increments import average_blocks

FloatArray = NDArray[np.float64]


def count_hops(
    positions_A: FloatArray,
    frame_interval_ps: float,
    *,
    hop_distance_A: float = 1.5,
    residence_ps: float = 0.25,
) -> NDArray[np.int64]:
    """Count the hops of each ion: (n_ions,) integers.

    Positions are averaged over ``residence_ps``, which removes most of the vibration. An ion has hopped when two
    averages in a row lie farther than ``hop_distance_A`` from its anchor; the second becomes the new anchor. Hops to
    and fro count each time, so the count is an upper bound on the hops that carry long-range diffusion.

    Parameters
    ----------
    positions_A
        (n_frames, n_ions, 3), unwrapped, framework drift removed.
    frame_interval_ps
        Time between frames in ps.
    hop_distance_A
        Half of a typical distance between neighbouring sites (3 Å), which vibrations do not reach.
    residence_ps
        Averaging time in ps; at least one frame.
    """
    if hop_distance_A <= 0.0:
        raise AnalysisError("The hop distance must be positive.")
    frames = max(1, round(residence_ps / frame_interval_ps))
    frames = max(1, min(frames, len(positions_A) // 3))
    blocks = average_blocks(positions_A, frames)
    anchors = blocks[0].copy()
    counts = np.zeros(blocks.shape[1], dtype=np.int64)
    limit = hop_distance_A**2
    away_before = np.zeros(len(counts), dtype=bool)
    for block in blocks[1:]:
        offset = block - anchors
        away = np.einsum("ia,ia->i", offset, offset) > limit
        hopped = away & away_before
        counts += hopped
        anchors[hopped] = block[hopped]
        away_before = away & ~hopped
    return counts
