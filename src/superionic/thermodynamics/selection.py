"""Selection of structures: Boltzmann selection, snapshots of trajectories, random strain.

Sources: paper A (Deng et al. 2025, doi:10.1039/d5ta05321h), Results, for Boltzmann selection at 800 K, 30 random
snapshots per run and random strain within ±3 %; paper B (arXiv:2510.09861), Computational Methods, for farthest point
sampling by the mean squared difference of atomic positions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superionic.errors import AnalysisError, StageError, StructureError
from superionic.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_FRAMES_PER_CHUNK = 2048


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


def farthest_point_sampling(
    positions_A: ArrayLike, cell_A: ArrayLike, n: int, *, start: int = 0, taken: Sequence[int] = ()
) -> IntArray:
    """Pick n frames that are as different as possible, by the mean squared difference of atomic positions.

    After the first, each next frame is the one whose nearest picked frame is farthest,
    d²(a, b) = (1/N) Σ_i |r_i(a) − r_i(b)|², with the shortest periodic image of each difference (paper B). Ions of one
    species that swap places count as moved.

    Parameters
    ----------
    positions_A
        (n_frames, n_atoms, 3) in Å, wrapped or not.
    cell_A
        (3, 3) cell vectors in rows in Å; for a varying cell its average.
    n
        Number of frames.
    start
        The frame picked first, if none is taken.
    taken
        Frames picked before: the new ones lie far from them, too.

    Returns
    -------
    array of int, (n,)
        Frame indices in the order of picking: the first m of them are the sample of size m. Ties go to the earlier
        frame.

    Raises
    ------
    AnalysisError
        If shapes are wrong, positions are not finite, or there are fewer than n frames.
    """
    positions = np.asarray(positions_A, dtype=np.float64)
    cell = np.asarray(cell_A, dtype=np.float64)
    if positions.ndim != 3 or positions.shape[2] != 3 or cell.shape != (3, 3):
        raise AnalysisError(
            f"Positions {positions.shape} and cell {cell.shape} are not (frames, atoms, 3) and (3, 3)",
            fix="give one array of frames and one cell",
        )
    n_frames = len(positions)
    excluded = set(taken)
    if (
        not 0 < n <= n_frames - len(excluded)
        or not 0 <= start < n_frames
        or any(not 0 <= i < n_frames for i in excluded)
    ):
        raise AnalysisError(
            f"{n} frames from frame {start} on are to be picked, but the trajectory has {n_frames}",
            fix="pick fewer frames, or run or save more",
        )
    if not np.all(np.isfinite(positions)):
        raise AnalysisError("The trajectory holds positions that are not finite", fix="leave broken frames out")
    image = _ShortestImage(cell)
    nearest = np.full(n_frames, np.inf)
    picked = sorted(excluded) or [start]
    for index in picked[:-1]:
        _lower(nearest, image, positions, index)
    while len(picked) < len(excluded) + n:
        _lower(nearest, image, positions, picked[-1])
        picked.append(int(np.argmax(nearest)))
    return np.array(picked[len(excluded) :], dtype=np.int64)


def random_snapshots(n_frames: int, n: int, rng: np.random.Generator) -> IntArray:
    """Pick n of n_frames frames at random, each at most once (paper A: 30 of a 10 ps run).

    Returns
    -------
    array of int, (n,)
        Frame indices in ascending order.

    Raises
    ------
    AnalysisError
        If there are fewer than n frames.
    """
    if not 0 < n <= n_frames:
        raise AnalysisError(
            f"{n} snapshots are to be taken from {n_frames} frames", fix="take fewer, or run or save more"
        )
    return np.sort(rng.choice(n_frames, size=n, replace=False)).astype(np.int64)


def random_strain(atoms: Atoms, max_strain: float, rng: np.random.Generator) -> Atoms:
    """Strain a structure at random: a symmetric tensor with components uniform in ±max_strain (paper A: 0.03).

    The cell becomes h (1 + ε), row vectors in h, and fractional coordinates stay. The three shear components are
    those of the tensor, half the engineering strains.

    Parameters
    ----------
    atoms
        The structure; it is not changed.
    max_strain
        Largest component, at least 0 and below 1/3 (so that 1 + ε is always positive definite).
    rng
        Source of randomness; six numbers are drawn.

    Returns
    -------
    Atoms
        A strained copy without calculator.

    Raises
    ------
    StructureError
        If max_strain is out of range or the structure has no three-dimensional cell.
    """
    if not 0.0 <= max_strain < 1.0 / 3.0:
        raise StructureError(f"The largest strain is {max_strain}", fix="give a fraction, such as 0.03 for 3 %")
    if atoms.cell.rank < 3:
        raise StructureError("A structure without a three-dimensional cell cannot be strained", fix="set its cell")
    xx, yy, zz, yz, xz, xy = rng.uniform(-max_strain, max_strain, size=6)
    strain = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    strained = atoms.copy()
    strained.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + strain), scale_atoms=True)
    return strained


def _lower(nearest: FloatArray, image: _ShortestImage, positions: FloatArray, index: int) -> None:
    """Update the distance of every frame to its nearest picked one after picking a frame."""
    for first in range(0, len(positions), _FRAMES_PER_CHUNK):
        part = slice(first, first + _FRAMES_PER_CHUNK)
        squares = image.squared_lengths(positions[part] - positions[index])
        np.minimum(nearest[part], squares.mean(axis=1), out=nearest[part])
    nearest[index] = -1.0


class _ShortestImage:
    """Squared lengths of displacements, each in its shortest periodic image.

    In a Minkowski-reduced cell the shortest image is among the wrapped displacement and its 26 neighbours; a wrapped
    displacement shorter than half the shortest lattice vector is already the shortest.
    """

    def __init__(self, cell: FloatArray) -> None:
        from ase.geometry.minkowski_reduction import minkowski_reduce

        if not np.all(np.isfinite(cell)) or abs(np.linalg.det(cell)) < 1e-9:
            raise AnalysisError("The cell has no volume", fix="give three independent cell vectors")
        self.cell: FloatArray = np.asarray(minkowski_reduce(cell)[0], dtype=np.float64)
        self.inverse: FloatArray = np.linalg.inv(self.cell).astype(np.float64)
        self.safe = 0.25 * float(np.min(np.sum(self.cell**2, axis=1)))
        self.neighbours: FloatArray = np.array(list(product((-1, 0, 1), repeat=3)), dtype=np.float64) @ self.cell

    def squared_lengths(self, displacements: FloatArray) -> FloatArray:
        """Return (...,) squared lengths in Å² of (..., 3) displacements in Å."""
        fractional = displacements @ self.inverse
        wrapped = (fractional - np.round(fractional)) @ self.cell
        squares: FloatArray = np.sum(wrapped**2, axis=-1)
        far = squares > self.safe
        if np.any(far):
            images = wrapped[far][:, None, :] + self.neighbours
            squares[far] = np.min(np.sum(images**2, axis=-1), axis=1)
        return squares
