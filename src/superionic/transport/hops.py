"""Counting hops without knowing the sites."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.increments import average_blocks

FloatArray = NDArray[np.float64]

BOND_A = 3.0
"""Atoms farther apart than this are no neighbours in a polyanion."""
STRETCH = 1.25
"""An atom whose bond gets longer than this many times what it was has left its polyanion."""
_LOOKS = 50
_AVERAGED = 5


def count_hops(
    positions_A: FloatArray,
    frame_interval_ps: float,
    *,
    hop_distance_A: float = 1.5,
    residence_ps: float = 0.25,
    atoms: NDArray[np.bool_] | None = None,
    drift_A: FloatArray | None = None,
) -> NDArray[np.int64]:
    """Count how often each ion moved for good from where it was: (n_ions,) integers.

    Positions are averaged over ``residence_ps``, which removes most of the vibration. An ion has hopped when two
    averages in a row lie farther than ``hop_distance_A`` from its anchor; the second becomes the new anchor. Hops to
    and fro count each time, so the count is an upper bound of the hops that carry long-range diffusion.

    Parameters
    ----------
    positions_A
        (n_frames, n_ions, 3), unwrapped, framework drift removed.
    frame_interval_ps
        Time between frames in ps.
    hop_distance_A
        Half of a usual distance between neighbouring sites (3 Å), so that vibrations do not reach it.
    residence_ps
        Averaging time in ps; at least one frame.
    atoms
        (n_ions,) which of the ions to follow; all if omitted.
    drift_A
        (n_frames, 3) is taken off all positions.
    """
    if hop_distance_A <= 0.0:
        raise AnalysisError("The hop distance must be positive.")
    frames = max(1, round(residence_ps / frame_interval_ps))
    frames = max(1, min(frames, len(positions_A) // 3))
    blocks = average_blocks(positions_A, frames)
    if atoms is not None:
        blocks = np.take(blocks, np.flatnonzero(atoms), axis=1)
    if drift_A is not None:
        blocks = blocks - average_blocks(drift_A[:, None, :], frames)
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


def turning(
    positions_A: FloatArray, cell_A: FloatArray, framework: NDArray[np.intp], left: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tell which framework atoms left their places without leaving the atom that they are bound to.

    The atoms around the centre of a polyanion, such as S around P, change places where it turns; the centre stays.

    Parameters
    ----------
    positions_A
        (n_frames, n_atoms, 3), unwrapped.
    cell_A
        (3, 3) mean cell.
    framework
        (n_framework,) indices of the framework atoms.
    left
        (n_framework,) whether each has left its place.

    Returns
    -------
    ndarray
        (n_framework,) True for those of ``left`` whose nearest atom that stayed, within 3 Å, stayed the same.
    """
    from ase.neighborlist import primitive_neighbor_list

    found = np.zeros(len(framework), dtype=bool)
    if not left.any() or left.all():
        return found
    width = min(_AVERAGED, len(positions_A))
    starts = np.unique(np.linspace(0, len(positions_A) - width, _LOOKS).astype(int))
    first = np.asarray(positions_A[:width, framework], dtype=np.float64).mean(axis=0)
    i, j, distance, shift = primitive_neighbor_list("ijdS", (True, True, True), np.asarray(cell_A), first, BOND_A)
    bound = left[i] & ~left[j]
    i, j, distance, shift = i[bound], j[bound], distance[bound], shift[bound]
    order = np.lexsort((distance, i))
    atoms, where = np.unique(i[order], return_index=True)
    nearest = order[where]
    kept = np.ones(len(atoms), dtype=bool)
    for start in starts:
        place = np.asarray(positions_A[start : start + width, framework], dtype=np.float64).mean(axis=0)
        bond = place[j[nearest]] + shift[nearest] @ cell_A - place[atoms]
        kept &= np.sqrt(np.sum(bond**2, axis=1)) < STRETCH * distance[nearest]
    found[atoms[kept]] = True
    return found
