"""A neighbour list that is kept while atoms move little, without leaving a trace in the results.

The neighbours of an atom are always in the same order (by index, then by image), so sums over those within the cutoff
come out bit for bit the same whether the list was made at this step or twenty steps ago.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled
from superionic.errors import CalculationFailed

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_UNIT: FloatArray = np.eye(3)
_PERIODIC = np.ones(3, dtype=bool).tobytes()
_MOST_SHIFTS = 4096
"""Where atoms have wandered through so many cells, only the translations that occur are kept."""


class NeighbourList:
    """Directed pairs within a cutoff of periodic structures.

    Parameters
    ----------
    cutoff_A
        All pairs up to this distance are in the list, at any time.
    skin_A
        How much farther it looks, so that it need not be made anew at each step. A long one costs little: distances of
        pairs beyond the cutoff are a small part of an evaluation.

    Attributes
    ----------
    first, neighbours
        The neighbours of atom i are ``neighbours[first[i] : first[i + 1]]``.
    shift
        (n_pairs,) row of ``shifts_A`` that belongs to each pair: r_ij = positions[j] + shifts_A[shift] - positions[i].
    shifts_A
        (n_shifts, 3) translations in Å, of this cell. A few serve all pairs, so that a cell that changes costs nothing.
    n_built
        How often the list was made.
    """

    def __init__(self, cutoff_A: float, skin_A: float = 2.0) -> None:
        self.cutoff_A = cutoff_A
        self.skin_A = skin_A
        self.first: IntArray = np.zeros(1, dtype=np.int64)
        self.neighbours: IntArray = np.zeros(0, dtype=np.int64)
        self.shift: IntArray = np.zeros(0, dtype=np.int64)
        self.shifts_A: FloatArray = np.zeros((0, 3))
        self.n_built = 0
        self._images: FloatArray = np.zeros((0, 3))
        self._positions: FloatArray = np.zeros((0, 3))
        self._cell: FloatArray = np.zeros((3, 3))
        # Bytes, which are compared in no time: of the cell and pbc of the list, and of the cell of the shifts.
        self._made_for = (b"", b"")
        self._shifts_for = b""

    def update(self, positions_A: FloatArray, cell_A: FloatArray, pbc: BoolArray) -> None:
        """Bring the list up to date for these positions (n_atoms, 3) and this cell, both in Å.

        Raises
        ------
        CalculationFailed
            If atoms are more than some hundred thousand cells apart, or the cell is not finite.
        """
        cell, made_for = cell_A.tobytes(), (cell_A.tobytes(), pbc.tobytes())
        if self._still_holds(positions_A, cell_A, made_for):
            if cell != self._shifts_for:
                self.shifts_A, self._shifts_for = _exact_shifts(self._images, cell_A), cell
            return
        basis = np.array(cell_A, dtype=np.float64)
        for axis in np.flatnonzero(~pbc):
            # A direction without periods needs a vector to measure along; any of length will do.
            others = [basis[k] for k in range(3) if k != axis]
            normal = np.cross(others[0], others[1])
            length = np.linalg.norm(normal)
            basis[axis] = normal / length if length > 0.0 else np.eye(3)[axis]
        if not np.isfinite(basis).all():
            raise CalculationFailed("the cell is not finite, so that no neighbour list can be made")
        inverse = np.asarray(
            np.linalg.inv(basis), dtype=np.float64
        )  # here, since a compiled loop takes seconds to compile it
        self.first, self.neighbours, shift, farthest = _build(
            np.ascontiguousarray(positions_A), basis, inverse, pbc, self.cutoff_A + self.skin_A
        )
        sizes = tuple(2 * int(most) + 1 for most in farthest)
        n_shifts = math.prod(sizes)
        if n_shifts >= 2**62:
            raise CalculationFailed("atoms have moved so far apart that no neighbour list can be made")
        used: IntArray = np.arange(n_shifts if n_shifts <= _MOST_SHIFTS else 0)
        if n_shifts > _MOST_SHIFTS:
            used, shift = np.unique(shift, return_inverse=True)
        self.shift = shift
        self._images = np.stack(np.unravel_index(used, sizes), axis=1).astype(np.float64) - farthest
        self._positions, self._cell, self._made_for = positions_A.copy(), cell_A.copy(), made_for
        self.shifts_A, self._shifts_for = _exact_shifts(self._images, cell_A), cell
        self.n_built += 1

    def _still_holds(self, positions: FloatArray, cell: FloatArray, made_for: tuple[bytes, bytes]) -> bool:
        if len(positions) != len(self._positions) or made_for[1] != self._made_for[1]:
            return False
        strain, map_ = 0.0, _UNIT
        if made_for[0] != self._made_for[0]:
            if made_for[1] != _PERIODIC:
                return False
            map_ = np.ascontiguousarray(np.linalg.solve(self._cell, cell))
            strain = float(np.linalg.norm(map_ - _UNIT))
        moved = _farthest_move(positions, self._positions, map_)
        # A pair that is not in the list was farther than cutoff + skin; strain and motion bring it this much nearer.
        return (self.cutoff_A + self.skin_A) * (1.0 - strain) - 2.0 * moved > self.cutoff_A


def _exact_shifts(images: FloatArray, cell: FloatArray) -> FloatArray:
    """Image vectors in Å, each by itself, so that a result depends on the pair alone (no blocked matrix product)."""
    shifts: FloatArray = images[:, :1] * cell[0] + images[:, 1:2] * cell[1] + images[:, 2:] * cell[2]
    return shifts


@compiled
def _farthest_move(positions: FloatArray, before: FloatArray, map_: FloatArray) -> float:
    """Largest distance between positions and those before, mapped; infinite where one is not a number."""
    farthest = 0.0
    for i in range(len(positions)):
        squared = 0.0
        for a in range(3):
            went = before[i, 0] * map_[0, a] + before[i, 1] * map_[1, a] + before[i, 2] * map_[2, a]
            squared += (positions[i, a] - went) ** 2
        if not squared <= farthest:
            farthest = squared if squared == squared else np.inf  # noqa: PLR0124 - not a number
    return math.sqrt(farthest)


@compiled
def _build(  # noqa: PLR0912, PLR0915 - one compiled loop
    positions: FloatArray, cell: FloatArray, inverse: FloatArray, pbc: BoolArray, cutoff: float
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """List of pairs: first, neighbours, and for each pair its translation as a number, with the sizes of those numbers.

    Each atom and each of its images, by index and then by image, goes to all atoms within its reach: so the
    neighbours of an atom come in this order, and need no sorting. Atoms are looked up by bins half a cutoff wide. A
    translation by whole vectors (a, b, c) has the number that :func:`numpy.unravel_index` takes apart, each counted
    from minus the farthest.
    """
    n = len(positions)
    wrapped = np.empty((n, 3))
    turns = np.zeros((n, 3), dtype=np.int64)
    reach = np.empty(3)
    images = np.zeros(3, dtype=np.int64)
    for a in range(3):
        # Height of the cell over the plane of the two other vectors is 1/|column of the inverse|.
        reach[a] = cutoff * np.sqrt(inverse[0, a] ** 2 + inverse[1, a] ** 2 + inverse[2, a] ** 2)
        if pbc[a]:
            images[a] = int(np.ceil(reach[a]))
    low, high = np.full(3, 1.0e300), np.full(3, -1.0e300)
    for i in range(n):
        for a in range(3):
            f = positions[i, 0] * inverse[0, a] + positions[i, 1] * inverse[1, a] + positions[i, 2] * inverse[2, a]
            if pbc[a] and abs(f) < 1.0e15:
                turns[i, a] = int(np.floor(f))
                f -= turns[i, a]
            wrapped[i, a] = f
            low[a] = min(f, low[a])  # in this order, what is not a number changes neither
            high[a] = max(f, high[a])
    farthest = np.empty(3, dtype=np.int64)
    bins = np.empty(3, dtype=np.int64)
    width = np.empty(3)
    for a in range(3):
        least, most = 0, 0
        for i in range(n):
            least, most = min(least, turns[i, a]), max(most, turns[i, a])
        farthest[a] = images[a] + most - least
        span = max(high[a] - low[a], 1.0e-9)
        bins[a] = max(1, min(int(2.0 * span / reach[a]), 64))
        width[a] = span / bins[a]
    # Atoms by bin, those of neighbouring bins along c one after the other.
    n_bins = bins[0] * bins[1] * bins[2]
    begin = np.zeros(n_bins + 1, dtype=np.int64)
    bin_of = np.empty(n, dtype=np.int64)
    for i in range(n):
        at = 0
        for a in range(3):
            at = at * bins[a] + min(bins[a] - 1, max(0, int((wrapped[i, a] - low[a]) / width[a])))
        bin_of[i] = at
        begin[at + 1] += 1
    for at in range(n_bins):
        begin[at + 1] += begin[at]
    atom_at = np.empty(n, dtype=np.int64)
    cartesian = np.empty((n, 3))
    filled = begin[:-1].copy()
    for i in range(n):
        at = filled[bin_of[i]]
        filled[bin_of[i]] += 1
        atom_at[at] = i
        for a in range(3):
            cartesian[at, a] = wrapped[i, 0] * cell[0, a] + wrapped[i, 1] * cell[1, a] + wrapped[i, 2] * cell[2, a]
    limit = cutoff * cutoff
    room = 64
    counts = np.zeros(n, dtype=np.int64)
    who, by = np.empty((n, room), dtype=np.int64), np.empty((n, room), dtype=np.int64)
    f = np.empty(3)
    from_bin, to_bin = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for j in range(n):
        for sa in range(-images[0], images[0] + 1):
            for sb in range(-images[1], images[1] + 1):
                for sc in range(-images[2], images[2] + 1):
                    f[0], f[1], f[2] = wrapped[j, 0] + sa, wrapped[j, 1] + sb, wrapped[j, 2] + sc
                    near = True
                    for a in range(3):
                        if not low[a] - reach[a] <= f[a] <= high[a] + reach[a]:
                            near = False
                        from_bin[a] = max(0, int(np.floor((f[a] - reach[a] - low[a]) / width[a] - 1.0e-9)))
                        to_bin[a] = min(bins[a] - 1, int(np.floor((f[a] + reach[a] - low[a]) / width[a] + 1.0e-9)))
                    if not near:
                        continue
                    x = f[0] * cell[0, 0] + f[1] * cell[1, 0] + f[2] * cell[2, 0]
                    y = f[0] * cell[0, 1] + f[1] * cell[1, 1] + f[2] * cell[2, 1]
                    z = f[0] * cell[0, 2] + f[1] * cell[1, 2] + f[2] * cell[2, 2]
                    in_cell = sa == 0 and sb == 0 and sc == 0
                    for ba in range(from_bin[0], to_bin[0] + 1):
                        for bb in range(from_bin[1], to_bin[1] + 1):
                            row = (ba * bins[1] + bb) * bins[2]
                            for at in range(begin[row + from_bin[2]], begin[row + to_bin[2] + 1]):
                                dx, dy, dz = x - cartesian[at, 0], y - cartesian[at, 1], z - cartesian[at, 2]
                                if not dx * dx + dy * dy + dz * dz < limit:
                                    continue
                                i = atom_at[at]
                                if in_cell and i == j:
                                    continue
                                if counts[i] == room:
                                    who = np.concatenate((who, np.empty((n, room), dtype=np.int64)), axis=1)
                                    by = np.concatenate((by, np.empty((n, room), dtype=np.int64)), axis=1)
                                    room *= 2
                                # The translation of atom j as given relative to atom i as given.
                                ta = sa + turns[i, 0] - turns[j, 0] + farthest[0]
                                tb = sb + turns[i, 1] - turns[j, 1] + farthest[1]
                                tc = sc + turns[i, 2] - turns[j, 2] + farthest[2]
                                who[i, counts[i]] = j
                                by[i, counts[i]] = (ta * (2 * farthest[1] + 1) + tb) * (2 * farthest[2] + 1) + tc
                                counts[i] += 1
    first = np.zeros(n + 1, dtype=np.int64)
    for i in range(n):
        first[i + 1] = first[i] + counts[i]
    neighbours, shift = np.empty(first[n], dtype=np.int64), np.empty(first[n], dtype=np.int64)
    for i in range(n):
        for k in range(counts[i]):
            neighbours[first[i] + k] = who[i, k]
            shift[first[i] + k] = by[i, k]
    return first, neighbours, shift, farthest
