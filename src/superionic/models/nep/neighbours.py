"""A neighbour list that is kept while atoms move little, without leaving a trace in the results.

The neighbours of an atom are always in the same order (by index, then by image), so sums over those within the cutoff
come out bit for bit the same whether the list was made at this step or twenty steps ago.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class NeighbourList:
    """Directed pairs within a cutoff of periodic structures.

    Parameters
    ----------
    cutoff_A
        All pairs up to this distance are in the list, at any time.
    skin_A
        How much farther it looks, so that it need not be made anew at each step.
    """

    def __init__(self, cutoff_A: float, skin_A: float = 0.7) -> None:
        self.cutoff_A = cutoff_A
        self.skin_A = skin_A
        self.first: IntArray = np.zeros(1, dtype=np.int64)
        self.neighbours: IntArray = np.zeros(0, dtype=np.int64)
        self.offsets_A: FloatArray = np.zeros((0, 3))
        self.n_built = 0
        self._images: FloatArray = np.zeros((0, 3))
        self._positions: FloatArray = np.zeros((0, 3))
        self._cell: FloatArray = np.zeros((3, 3))
        self._offsets_cell: FloatArray = np.zeros((3, 3))
        self._pbc = np.zeros(3, dtype=bool)

    def update(self, positions_A: FloatArray, cell_A: FloatArray, pbc: BoolArray) -> None:
        """Bring the list up to date for these positions (n_atoms, 3) and this cell, both in Å."""
        if self._still_holds(positions_A, cell_A, pbc):
            if not np.array_equal(cell_A, self._offsets_cell):
                self.offsets_A = _exact_offsets(self._images, cell_A)
                self._offsets_cell = cell_A.copy()
            return
        basis = np.array(cell_A, dtype=np.float64)
        for axis in np.flatnonzero(~pbc):
            # A direction without periods needs a vector to measure along; any of length will do.
            others = [basis[k] for k in range(3) if k != axis]
            normal = np.cross(others[0], others[1])
            length = np.linalg.norm(normal)
            basis[axis] = normal / length if length > 0.0 else np.eye(3)[axis]
        self.first, self.neighbours, images = _build(
            np.ascontiguousarray(positions_A), basis, pbc, self.cutoff_A + self.skin_A
        )
        self._images = images
        self._positions, self._cell, self._pbc = positions_A.copy(), cell_A.copy(), pbc.copy()
        self.offsets_A = _exact_offsets(images, cell_A)
        self._offsets_cell = cell_A.copy()
        self.n_built += 1

    def _still_holds(self, positions: FloatArray, cell: FloatArray, pbc: BoolArray) -> bool:
        if len(positions) != len(self._positions) or not np.array_equal(pbc, self._pbc):
            return False
        strain = 0.0
        before = self._positions
        if not np.array_equal(cell, self._cell):
            if not pbc.all():
                return False
            map_ = np.linalg.solve(self._cell, cell)
            strain = float(np.linalg.norm(map_ - np.eye(3)))
            before = before @ map_
        moved = float(np.sqrt(np.max(np.sum((positions - before) ** 2, axis=1), initial=0.0)))
        # A pair that is not in the list was farther than cutoff + skin; strain and motion bring it this much nearer.
        return (self.cutoff_A + self.skin_A) * (1.0 - strain) - 2.0 * moved > self.cutoff_A


def _exact_offsets(images: FloatArray, cell: FloatArray) -> FloatArray:
    """Image vectors in Å, each by itself, so that a result depends on the pair alone (no blocked matrix product)."""
    offsets: FloatArray = images[:, :1] * cell[0] + images[:, 1:2] * cell[1] + images[:, 2:] * cell[2]
    return offsets


@compiled
def _build(  # noqa: PLR0912, PLR0915 - one compiled loop
    positions: FloatArray, cell: FloatArray, pbc: BoolArray, cutoff: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Linked cells over the atoms and those of their images that lie within the cutoff of the cell.

    Returns first (n + 1,), neighbours (p,) and images (p, 3): lattice translations of the neighbour as given (not
    wrapped).
    """
    n = len(positions)
    inverse = np.linalg.inv(cell)
    wrapped = np.empty((n, 3))
    turns = np.zeros((n, 3))
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
            if pbc[a]:
                turns[i, a] = np.floor(f)
                f -= turns[i, a]
            wrapped[i, a] = f
            low[a], high[a] = min(low[a], f), max(high[a], f)
    # Atoms and images near enough, in fractional coordinates.
    room = 1
    for a in range(3):
        room *= 2 * images[a] + 1
    ghost_f = np.empty((n * room, 3))
    ghost_of = np.empty(n * room, dtype=np.int64)
    ghost_image = np.empty((n * room, 3))
    ghosts = 0
    for sa in range(-images[0], images[0] + 1):
        for sb in range(-images[1], images[1] + 1):
            for sc in range(-images[2], images[2] + 1):
                for i in range(n):
                    fa, fb, fc = wrapped[i, 0] + sa, wrapped[i, 1] + sb, wrapped[i, 2] + sc
                    if fa < low[0] - reach[0] or fa > high[0] + reach[0]:
                        continue
                    if fb < low[1] - reach[1] or fb > high[1] + reach[1]:
                        continue
                    if fc < low[2] - reach[2] or fc > high[2] + reach[2]:
                        continue
                    ghost_f[ghosts, 0], ghost_f[ghosts, 1], ghost_f[ghosts, 2] = fa, fb, fc
                    ghost_image[ghosts, 0], ghost_image[ghosts, 1], ghost_image[ghosts, 2] = sa, sb, sc
                    ghost_of[ghosts] = i
                    ghosts += 1
    bins = np.empty(3, dtype=np.int64)
    width = np.empty(3)
    for a in range(3):
        span = high[a] - low[a] + 2.0 * reach[a]
        # Bins at least a cutoff wide, so that neighbours lie in adjacent ones; not more bins than atoms need.
        bins[a] = max(1, min(int(span / reach[a]), 64))
        width[a] = span / bins[a] * (1.0 + 1.0e-12)
    head = np.full(bins[0] * bins[1] * bins[2], -1, dtype=np.int64)
    following = np.empty(max(ghosts, 1), dtype=np.int64)
    place = np.empty((max(ghosts, 1), 3), dtype=np.int64)
    cartesian = np.empty((max(ghosts, 1), 3))
    for g in range(ghosts):
        for a in range(3):
            place[g, a] = min(bins[a] - 1, max(0, int((ghost_f[g, a] - low[a] + reach[a]) / width[a])))
            cartesian[g, a] = ghost_f[g, 0] * cell[0, a] + ghost_f[g, 1] * cell[1, a] + ghost_f[g, 2] * cell[2, a]
        at = (place[g, 0] * bins[1] + place[g, 1]) * bins[2] + place[g, 2]
        following[g] = head[at]
        head[at] = g
    limit = cutoff * cutoff
    first = np.zeros(n + 1, dtype=np.int64)
    neighbours = np.empty(64 * max(n, 1), dtype=np.int64)
    vectors = np.empty((64 * max(n, 1), 3))
    keys = np.empty(1024, dtype=np.int64)
    which = np.empty(1024, dtype=np.int64)
    total = 0
    for i in range(n):
        x = wrapped[i, 0] * cell[0, 0] + wrapped[i, 1] * cell[1, 0] + wrapped[i, 2] * cell[2, 0]
        y = wrapped[i, 0] * cell[0, 1] + wrapped[i, 1] * cell[1, 1] + wrapped[i, 2] * cell[2, 1]
        z = wrapped[i, 0] * cell[0, 2] + wrapped[i, 1] * cell[1, 2] + wrapped[i, 2] * cell[2, 2]
        centre = np.empty(3, dtype=np.int64)
        for a in range(3):
            centre[a] = min(bins[a] - 1, max(0, int((wrapped[i, a] - low[a] + reach[a]) / width[a])))
        found = 0
        for ba in range(max(0, centre[0] - 1), min(bins[0], centre[0] + 2)):
            for bb in range(max(0, centre[1] - 1), min(bins[1], centre[1] + 2)):
                for bc in range(max(0, centre[2] - 1), min(bins[2], centre[2] + 2)):
                    g = head[(ba * bins[1] + bb) * bins[2] + bc]
                    while g >= 0:
                        dx, dy, dz = cartesian[g, 0] - x, cartesian[g, 1] - y, cartesian[g, 2] - z
                        j = ghost_of[g]
                        own = j == i and ghost_image[g, 0] == 0 and ghost_image[g, 1] == 0 and ghost_image[g, 2] == 0
                        if dx * dx + dy * dy + dz * dz < limit and not own:
                            if found == len(keys):
                                keys = np.concatenate((keys, keys))
                                which = np.concatenate((which, which))
                            key = j
                            for a in range(3):
                                # The translation of atom j as given relative to atom i as given.
                                turn = int(ghost_image[g, a] + turns[i, a] - turns[j, a])
                                key = key * 65536 + (turn + 32768)
                            keys[found] = key
                            which[found] = g
                            found += 1
                        g = following[g]
        while total + found > len(neighbours):
            neighbours = np.concatenate((neighbours, neighbours))
            vectors = np.concatenate((vectors, vectors))
        order = np.argsort(keys[:found])
        for at in range(found):
            g = which[order[at]]
            j = ghost_of[g]
            neighbours[total + at] = j
            for a in range(3):
                vectors[total + at, a] = ghost_image[g, a] + turns[i, a] - turns[j, a]
        total += found
        first[i + 1] = total
    return first, neighbours[:total].copy(), vectors[:total].copy()
