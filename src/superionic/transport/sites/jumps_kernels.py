"""Inner loop of the site tracker: which site each ion belongs to, frame after frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@compiled
def nearest_site(
    x: float,
    y: float,
    z: float,
    inverse: FloatArray,
    cell: FloatArray,
    shape: IntArray,
    first: IntArray,
    candidate: IntArray,
    place: FloatArray,
    floors: IntArray,
) -> int:
    """Return the row of ``candidate`` nearest to (x, y, z), and the cell of the point in ``floors``.

    first : (n_voxels + 1,) rows of each voxel; candidate : (n,) sites; place : (n, 3) Cartesian, relative to the home
    cell. ``place`` of a voxel's rows holds every site that is the nearest one somewhere in the voxel.
    """
    fa = x * inverse[0, 0] + y * inverse[1, 0] + z * inverse[2, 0]
    fb = x * inverse[0, 1] + y * inverse[1, 1] + z * inverse[2, 1]
    fc = x * inverse[0, 2] + y * inverse[1, 2] + z * inverse[2, 2]
    na, nb, nc = int(np.floor(fa)), int(np.floor(fb)), int(np.floor(fc))
    floors[0], floors[1], floors[2] = na, nb, nc
    hx = x - (na * cell[0, 0] + nb * cell[1, 0] + nc * cell[2, 0])
    hy = y - (na * cell[0, 1] + nb * cell[1, 1] + nc * cell[2, 1])
    hz = z - (na * cell[0, 2] + nb * cell[1, 2] + nc * cell[2, 2])
    ia = min(int((fa - na) * shape[0]), shape[0] - 1)
    ib = min(int((fb - nb) * shape[1]), shape[1] - 1)
    ic = min(int((fc - nc) * shape[2]), shape[2] - 1)
    voxel = (ia * shape[1] + ib) * shape[2] + ic
    best, least = -1, 0.0
    for row in range(first[voxel], first[voxel + 1]):
        dx, dy, dz = hx - place[row, 0], hy - place[row, 1], hz - place[row, 2]
        distance = dx * dx + dy * dy + dz * dz
        if best < 0 or distance < least:
            best, least = row, distance
    return best


@compiled
def follow(  # noqa: PLR0912, PLR0915 -- one state machine, run for each ion and frame
    positions: npt.NDArray[Any],
    columns: IntArray,
    origins: FloatArray,
    maps: FloatArray,
    inverse: FloatArray,
    cell: FloatArray,
    shape: IntArray,
    first: IntArray,
    candidate: IntArray,
    candidate_cell: IntArray,
    place: FloatArray,
    safe: FloatArray,
    inner: FloatArray,
    commit: float,
    frame0: int,
    site: IntArray,
    image: IntArray,
    home: FloatArray,
    left: IntArray,
    settled: IntArray,
    time_on: IntArray,
    time_out: IntArray,
    moments: FloatArray,
    jumps: IntArray,
    begin: int,
    progress: IntArray,
) -> int:
    """Follow the ions from frame ``begin`` on; stops early when ``jumps`` may overflow.

    positions, columns, origins : as in :func:`superionic.transport.density.kernels.count_visits`. maps :
    (n_frames, 3, 3) turns positions into those of the mean cell; (0, 3, 3) where the cell does not change.
    safe, inner : (n_sites,) squares of half the distance to the next site, and of the radius of the inner region.
    State of each ion: site, image (cell of the site), home (its place), left (frame at which the ion left the site's
    Voronoi cell, -1 inside), settled. time_on, time_out : (n_sites,) frames on the site, and out of its Voronoi cell.
    moments : (n_sites, 4) Σx, Σy, Σz, Σr² from the site over the frames inside. jumps : (m, 8) rows (frame of leaving,
    frame of arrival, ion, from, to, cell of the end relative to the start). progress[0] receives the frame to continue
    from. Returns the number of jumps written.
    """
    n_jumps = 0
    n_frames = len(positions)
    floors = np.zeros(3, dtype=np.int64)
    for frame in range(begin, n_frames):
        if n_jumps + len(columns) > len(jumps):
            progress[0] = frame
            return n_jumps
        o = frame if len(origins) > 1 else 0
        ox, oy, oz = origins[o, 0], origins[o, 1], origins[o, 2]
        now = frame0 + frame
        for ion in range(len(columns)):
            column = columns[ion]
            x = positions[frame, column, 0] - ox
            y = positions[frame, column, 1] - oy
            z = positions[frame, column, 2] - oz
            if len(maps) > 0:
                m = maps[frame]
                x, y, z = (
                    x * m[0, 0] + y * m[1, 0] + z * m[2, 0],
                    x * m[0, 1] + y * m[1, 1] + z * m[2, 1],
                    x * m[0, 2] + y * m[1, 2] + z * m[2, 2],
                )
            s = site[ion]
            dx, dy, dz = x - home[ion, 0], y - home[ion, 1], z - home[ion, 2]
            distance = dx * dx + dy * dy + dz * dz
            if s < 0 or distance >= safe[s]:
                row = nearest_site(x, y, z, inverse, cell, shape, first, candidate, place, floors)
                n = candidate[row]
                ca = floors[0] + candidate_cell[row, 0]
                cb = floors[1] + candidate_cell[row, 1]
                cc = floors[2] + candidate_cell[row, 2]
                if s < 0:
                    s = n
                    site[ion] = n
                    image[ion, 0], image[ion, 1], image[ion, 2] = ca, cb, cc
                    for k in range(3):
                        home[ion, k] = place[row, k] + (
                            floors[0] * cell[0, k] + floors[1] * cell[1, k] + floors[2] * cell[2, k]
                        )
                    dx, dy, dz = x - home[ion, 0], y - home[ion, 1], z - home[ion, 2]
                    distance = dx * dx + dy * dy + dz * dz
                elif n != s or ca != image[ion, 0] or cb != image[ion, 1] or cc != image[ion, 2]:
                    px = place[row, 0] + floors[0] * cell[0, 0] + floors[1] * cell[1, 0] + floors[2] * cell[2, 0]
                    py = place[row, 1] + floors[0] * cell[0, 1] + floors[1] * cell[1, 1] + floors[2] * cell[2, 1]
                    pz = place[row, 2] + floors[0] * cell[0, 2] + floors[1] * cell[1, 2] + floors[2] * cell[2, 2]
                    ex, ey, ez = x - px, y - py, z - pz
                    gap = distance - (ex * ex + ey * ey + ez * ez)
                    hx, hy, hz = px - home[ion, 0], py - home[ion, 1], pz - home[ion, 2]
                    time_on[s] += 1
                    if left[ion] < 0:
                        left[ion] = now
                    time_out[s] += 1
                    if gap >= (2.0 * commit - 1.0) * (hx * hx + hy * hy + hz * hz):
                        # the ion has been on its new site since it left the old one
                        stayed = now - left[ion] + 1
                        if settled[ion] == 1:
                            jump = jumps[n_jumps]
                            jump[0], jump[1], jump[2], jump[3], jump[4] = left[ion], now, ion, s, n
                            jump[5], jump[6] = ca - image[ion, 0], cb - image[ion, 1]
                            jump[7] = cc - image[ion, 2]
                            n_jumps += 1
                        else:
                            stayed = now + 1  # its initial site was a guess
                        time_on[s] -= stayed
                        time_on[n] += stayed
                        site[ion] = n
                        image[ion, 0], image[ion, 1], image[ion, 2] = ca, cb, cc
                        home[ion, 0], home[ion, 1], home[ion, 2] = px, py, pz
                        left[ion] = -1
                        settled[ion] = 1
                    continue
            left[ion] = -1
            if distance < inner[s]:
                settled[ion] = 1
            time_on[s] += 1
            moments[s, 0] += dx
            moments[s, 1] += dy
            moments[s, 2] += dz
            moments[s, 3] += distance
    progress[0] = n_frames
    return n_jumps
