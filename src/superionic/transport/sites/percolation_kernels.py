"""Union–find on periodic grids and graphs, with the winding of clusters around the cell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@compiled
def find_root(parent: IntArray, offset: IntArray, node: int) -> int:
    """Return the root of ``node`` and leave its cell relative to the root's in ``offset[node]`` (paths are compressed).

    ``offset[x]`` is the cell in which x lies when ``parent[x]`` lies in cell zero.
    """
    root = node
    x, y, z = 0, 0, 0
    while parent[root] != root:
        x += offset[root, 0]
        y += offset[root, 1]
        z += offset[root, 2]
        root = parent[root]
    while parent[node] != root and node != root:
        following = parent[node]
        a, b, c = offset[node, 0], offset[node, 1], offset[node, 2]
        parent[node] = root
        offset[node, 0], offset[node, 1], offset[node, 2] = x, y, z
        x, y, z = x - a, y - b, z - c
        node = following
    return root


@compiled
def extend_basis(basis: IntArray, rank: int, a: int, b: int, c: int) -> int:
    """Add a winding vector to the ``rank`` independent rows of ``basis`` (3, 3) if it is independent; the new rank."""
    if a == 0 and b == 0 and c == 0:
        return rank
    if rank == 1:
        u, v, w = basis[0, 0], basis[0, 1], basis[0, 2]
        if v * c - w * b == 0 and w * a - u * c == 0 and u * b - v * a == 0:
            return rank
    elif rank == 2:
        u, v, w = basis[0, 0], basis[0, 1], basis[0, 2]
        p, q, r = basis[1, 0], basis[1, 1], basis[1, 2]
        if a * (v * r - w * q) + b * (w * p - u * r) + c * (u * q - v * p) == 0:
            return rank
    elif rank == 3:
        return rank
    basis[rank, 0], basis[rank, 1], basis[rank, 2] = a, b, c
    return rank + 1


@compiled
def join(
    parent: IntArray,
    offset: IntArray,
    size: IntArray,
    basis: IntArray,
    rank: IntArray,
    axes: IntArray,
    u: int,
    v: int,
    sx: int,
    sy: int,
    sz: int,
) -> int:
    """Join u in cell zero with v in cell (sx, sy, sz); returns the root of both.

    basis : (n, 3, 3), rank : (n,) and axes : (n,) (bits 1, 2, 4 for a, b, c) describe the windings of each root: the
    vectors by which a walk within the cluster comes back to where it began, in another cell.
    """
    ru = find_root(parent, offset, u)
    ux, uy, uz = offset[u, 0], offset[u, 1], offset[u, 2]
    rv = find_root(parent, offset, v)
    vx, vy, vz = offset[v, 0], offset[v, 1], offset[v, 2]
    # v lies in the cell of u plus the shift: dx is the cell of v's root relative to u's root
    dx, dy, dz = ux + sx - vx, uy + sy - vy, uz + sz - vz
    if ru == rv:
        rank[ru] = extend_basis(basis[ru], rank[ru], dx, dy, dz)
        axes[ru] |= (1 if dx != 0 else 0) | (2 if dy != 0 else 0) | (4 if dz != 0 else 0)
        return ru
    if size[ru] < size[rv]:
        ru, rv = rv, ru
        dx, dy, dz = -dx, -dy, -dz
    parent[rv] = ru
    offset[rv, 0], offset[rv, 1], offset[rv, 2] = dx, dy, dz
    size[ru] += size[rv]
    axes[ru] |= axes[rv]
    for row in range(rank[rv]):
        rank[ru] = extend_basis(basis[ru], rank[ru], basis[rv, row, 0], basis[rv, row, 1], basis[rv, row, 2])
    return ru


@compiled
def flood(  # noqa: PLR0912, PLR0915 -- one loop over neighbours; calls would cost more than they explain
    values: FloatArray, order: IntArray, shape: IntArray, axis_at: IntArray, rank_at: IntArray, merges: IntArray
) -> int:
    """Raise voxels in falling order of ``values`` and watch clusters appear, merge and wind around the cell.

    values : flat grid; order : voxels to include, by falling value. axis_at : (3,) and rank_at :
    (3,) receive the voxel at which a cluster first winds along a, b, c, and in 1, 2, 3 dimensions; -1 without.
    merges : (n, 10) rows, one for each peak that ends: the peak, voxels u of its cluster and w of the other cluster,
    both beside the saddle, the saddle, and the cells of u and of w relative to the saddle. Returns their number.
    """
    na, nb, nc = shape[0], shape[1], shape[2]
    n = na * nb * nc
    # Each peak is a node. A voxel has a node and its cell relative to that peak, so that only the few thousand peaks
    # are joined and searched, which fit into the cache.
    node_of = np.full(n, -1, dtype=np.int32)
    cell = np.zeros((n, 3), dtype=np.int32)
    # No two peaks are neighbours: at most one voxel in two along each axis is one. Memory that is not written to is
    # not taken.
    room, n_nodes = n // 8 + 1, 0
    parent, size, peak = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    rank, axes = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    offset, basis = np.empty((room, 3), dtype=np.int64), np.empty((room, 3, 3), dtype=np.int64)
    n_merges = 0
    best_rank, best_axes = 0, 0
    for voxel in order:
        ia = voxel // (nb * nc)
        ib = (voxel // nc) % nb
        ic = voxel % nc
        root = -1
        own, oa, ob, oc = -1, 0, 0, 0  # the highest neighbour so far, and its cell
        for da in range(-1, 2):
            for db in range(-1, 2):
                for dc in range(-1, 2):
                    ja, jb, jc = ia + da, ib + db, ic + dc
                    sa = -1 if ja < 0 else (1 if ja >= na else 0)
                    sb = -1 if jb < 0 else (1 if jb >= nb else 0)
                    sc = -1 if jc < 0 else (1 if jc >= nc else 0)
                    other = ((ja - sa * na) * nb + jb - sb * nb) * nc + jc - sc * nc
                    if node_of[other] < 0:
                        continue
                    node = node_of[other]
                    beside = find_root(parent, offset, node)
                    # The cell of the root beside, where the voxel is in cell zero.
                    xa = sa - cell[other, 0] - offset[node, 0]
                    xb = sb - cell[other, 1] - offset[node, 1]
                    xc = sc - cell[other, 2] - offset[node, 2]
                    if root < 0:
                        # A voxel with a neighbour is no peak, even if it is as high.
                        root, ra, rb, rc = beside, xa, xb, xc
                        node_of[voxel] = root
                        cell[voxel, 0], cell[voxel, 1], cell[voxel, 2] = -ra, -rb, -rc
                        size[root] += 1
                    elif beside == root:
                        wa, wb, wc = xa - ra, xb - rb, xc - rc
                        if wa != 0 or wb != 0 or wc != 0:
                            rank[root] = extend_basis(basis[root], rank[root], wa, wb, wc)
                            axes[root] |= (1 if wa != 0 else 0) | (2 if wb != 0 else 0) | (4 if wc != 0 else 0)
                    else:
                        pa, pb = peak[root], peak[beside]
                        row = merges[n_merges]
                        row[3] = voxel
                        if values[pa] < values[pb] or (values[pa] == values[pb] and pa > pb):
                            row[0], row[1], row[2] = pa, own, other
                            row[4], row[5], row[6] = oa, ob, oc
                            row[7], row[8], row[9] = sa, sb, sc
                        else:
                            row[0], row[1], row[2] = pb, other, own
                            row[4], row[5], row[6] = sa, sb, sc
                            row[7], row[8], row[9] = oa, ob, oc
                        n_merges += 1
                        higher = pb if values[pb] > values[pa] or (values[pb] == values[pa] and pb < pa) else pa
                        joined = join(parent, offset, size, basis, rank, axes, root, beside, xa - ra, xb - rb, xc - rc)
                        peak[joined] = higher
                        if joined != root:
                            root, ra, rb, rc = joined, xa, xb, xc
                    if own < 0 or values[other] > values[own]:
                        own, oa, ob, oc = other, sa, sb, sc
        if root < 0:
            root = n_nodes
            n_nodes += 1
            parent[root], size[root], rank[root], axes[root], peak[root] = root, 1, 0, 0, voxel
            offset[root, 0], offset[root, 1], offset[root, 2] = 0, 0, 0
            node_of[voxel] = root
        if rank[root] > best_rank:
            for k in range(best_rank, rank[root]):
                rank_at[k] = voxel
            best_rank = rank[root]
        fresh = axes[root] & ~best_axes
        if fresh:
            for k in range(3):
                if fresh & (1 << k):
                    axis_at[k] = voxel
            best_axes |= axes[root]
    return n_merges


@compiled
def climb(values: FloatArray, order: IntArray, shape: IntArray, label: IntArray, cell: IntArray) -> None:
    """Assign each voxel of ``order`` the peak of its steepest ascent, and its cell relative to that peak's.

    label : (n,), -1 where a voxel is left out; cell : (n, 3).
    """
    na, nb, nc = shape[0], shape[1], shape[2]
    for voxel in order:
        ia = voxel // (nb * nc)
        ib = (voxel // nc) % nb
        ic = voxel % nc
        best, ba, bb, bc = voxel, 0, 0, 0
        for da in range(-1, 2):
            for db in range(-1, 2):
                for dc in range(-1, 2):
                    ja, jb, jc = ia + da, ib + db, ic + dc
                    sa = -1 if ja < 0 else (1 if ja >= na else 0)
                    sb = -1 if jb < 0 else (1 if jb >= nb else 0)
                    sc = -1 if jc < 0 else (1 if jc >= nc else 0)
                    other = ((ja - sa * na) * nb + jb - sb * nb) * nc + jc - sc * nc
                    # only voxels with a label, which are earlier in the order, are higher
                    if other != voxel and label[other] >= 0 and (best == voxel or values[other] > values[best]):
                        best, ba, bb, bc = other, sa, sb, sc
        if best == voxel:
            label[voxel] = voxel
        else:
            label[voxel] = label[best]
            cell[voxel, 0] = cell[best, 0] - ba
            cell[voxel, 1] = cell[best, 1] - bb
            cell[voxel, 2] = cell[best, 2] - bc


@compiled
def join_edges(
    edges: IntArray, parent: IntArray, offset: IntArray, size: IntArray, basis: IntArray, rank: IntArray, axes: IntArray
) -> None:
    """Join the nodes of a graph along ``edges`` (n, 5): from, to, and the cell of the end relative to the start."""
    for k in range(len(edges)):
        join(
            parent, offset, size, basis, rank, axes,
            edges[k, 0], edges[k, 1], edges[k, 2], edges[k, 3], edges[k, 4],
        )  # fmt: skip
