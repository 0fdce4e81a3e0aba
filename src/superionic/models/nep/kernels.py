"""Inner loops of the neuroevolution potential: energies, forces and virial, descriptors, and gradients by parameter.

Everything here takes plain arrays and is compiled by numba. The energy of atom i is that of Fan et al., Phys. Rev. B
104, 104309 (2021) with the descriptors of Fan et al., J. Chem. Phys. 157, 114801 (2022): radial ones
``q_n = Σ_j g_n(r_ij)`` and angular ones, invariants of ``S_nlm = Σ_j g_n(r_ij) Y_lm(r_ij)``, with radial functions
``g_n = Σ_k c_nk f_k`` that are learned for each ordered pair of elements.

Arguments that all kernels share
--------------------------------
positions : (n_atoms, 3) in Å; types : (n_atoms,) index of the element; first : (n_atoms + 1,), neighbours : (n_pairs,)
and offsets : (n_pairs, 3) in Å are a neighbour list, r_ij = positions[j] + offset - positions[i]; it may hold pairs
beyond the cutoff. shape : (n_radial, k_radial, n_angular, k_angular, l_max, has_222, has_1111), counts of functions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled_fast

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

COULOMB_EV_A = 14.399645
"""e²/(4πε₀) in eV Å, to the digits of the NEP format."""

_PI = math.pi
_Y1 = math.sqrt(3.0 / (4.0 * _PI))
_Y2A = math.sqrt(15.0 / (4.0 * _PI))
_Y2B = math.sqrt(15.0 / (16.0 * _PI))
_Y20 = math.sqrt(5.0 / (16.0 * _PI))
_Y30 = math.sqrt(7.0 / (16.0 * _PI))
_Y31 = math.sqrt(21.0 / (32.0 * _PI))
_Y32 = math.sqrt(105.0 / (16.0 * _PI))
_Y32A = math.sqrt(105.0 / (4.0 * _PI))
_Y33 = math.sqrt(35.0 / (32.0 * _PI))
_Y40 = 3.0 / 16.0 * math.sqrt(1.0 / _PI)
_Y41 = 0.75 * math.sqrt(5.0 / (2.0 * _PI))
_Y42 = 3.0 / 8.0 * math.sqrt(5.0 / _PI)
_Y42A = 0.75 * math.sqrt(5.0 / _PI)
_Y43 = 0.75 * math.sqrt(35.0 / (2.0 * _PI))
_Y44 = 3.0 / 16.0 * math.sqrt(35.0 / _PI)
_Y44A = 0.75 * math.sqrt(35.0 / _PI)
# Invariant of three l = 2 harmonics with Wigner's 3j symbol, written as a multiple of tr(Q³), Q = Σ g (rr - 1/3).
_K222 = -36.0 * math.sqrt(2.0 / 35.0) * _Y20**3
# Invariant of four l = 1 harmonics: the fourth power of their sum, times ∫cos⁴-like weights of the NEP definition.
_K1111 = 7.0 / 15.0


@compiled_fast
def harmonics(x: float, y: float, z: float, l_max: int, out: FloatArray) -> None:
    """Real spherical harmonics l = 1 … l_max (≤ 4) of a unit vector, l by l, into ``out``."""
    xx, yy, zz = x * x, y * y, z * z
    out[0] = _Y1 * x
    out[1] = _Y1 * y
    out[2] = _Y1 * z
    if l_max < 2:
        return
    out[3] = _Y2A * x * y
    out[4] = _Y2A * y * z
    out[5] = _Y2A * x * z
    out[6] = _Y2B * (xx - yy)
    out[7] = _Y20 * (3.0 * zz - 1.0)
    if l_max < 3:
        return
    out[8] = _Y30 * z * (5.0 * zz - 3.0)
    out[9] = _Y31 * x * (5.0 * zz - 1.0)
    out[10] = _Y31 * y * (5.0 * zz - 1.0)
    out[11] = _Y32 * z * (xx - yy)
    out[12] = _Y32A * x * y * z
    out[13] = _Y33 * x * (xx - 3.0 * yy)
    out[14] = _Y33 * y * (3.0 * xx - yy)
    if l_max < 4:
        return
    out[15] = _Y40 * (35.0 * zz * zz - 30.0 * zz + 3.0)
    out[16] = _Y41 * x * z * (7.0 * zz - 3.0)
    out[17] = _Y41 * y * z * (7.0 * zz - 3.0)
    out[18] = _Y42 * (xx - yy) * (7.0 * zz - 1.0)
    out[19] = _Y42A * x * y * (7.0 * zz - 1.0)
    out[20] = _Y43 * x * z * (xx - 3.0 * yy)
    out[21] = _Y43 * y * z * (3.0 * xx - yy)
    out[22] = _Y44 * (xx * xx - 6.0 * xx * yy + yy * yy)
    out[23] = _Y44A * x * y * (xx - yy)


@compiled_fast
def harmonics_slope(x: float, y: float, z: float, l_max: int, h: FloatArray) -> tuple[float, float, float]:
    """Gradient of ``Σ_lm h_lm Y_lm`` as polynomials in x, y, z (not yet projected onto the sphere)."""
    xx, yy, zz = x * x, y * y, z * z
    gx = _Y1 * h[0]
    gy = _Y1 * h[1]
    gz = _Y1 * h[2]
    if l_max >= 2:
        a, b, c = _Y2A * h[3], _Y2A * h[4], _Y2A * h[5]
        d, e = 2.0 * _Y2B * h[6], 6.0 * _Y20 * h[7]
        gx += a * y + c * z + d * x
        gy += a * x + b * z - d * y
        gz += b * y + c * x + e * z
    if l_max >= 3:
        a, b, c = _Y30 * h[8], _Y31 * h[9], _Y31 * h[10]
        d, e = _Y32 * h[11], _Y32A * h[12]
        f, g = 3.0 * _Y33 * h[13], 3.0 * _Y33 * h[14]
        five = 5.0 * zz - 1.0
        gx += b * five + 2.0 * d * z * x + e * y * z + f * (xx - yy) + 2.0 * g * x * y
        gy += c * five - 2.0 * d * z * y + e * x * z - 2.0 * f * x * y + g * (xx - yy)
        gz += a * (15.0 * zz - 3.0) + 10.0 * z * (b * x + c * y) + d * (xx - yy) + e * x * y
    if l_max >= 4:
        a, b, c = _Y40 * h[15], _Y41 * h[16], _Y41 * h[17]
        d, e = _Y42 * h[18], _Y42A * h[19]
        f, g = _Y43 * h[20], _Y43 * h[21]
        p, q = _Y44 * h[22], _Y44A * h[23]
        seven, three = 7.0 * zz - 1.0, 7.0 * zz - 3.0
        x3, y3 = xx - 3.0 * yy, 3.0 * xx - yy
        gx += b * z * three + 2.0 * d * x * seven + e * y * seven + 3.0 * f * z * (xx - yy) + 6.0 * g * x * y * z
        gx += p * (4.0 * x * xx - 12.0 * x * yy) + q * y * y3
        gy += c * z * three - 2.0 * d * y * seven + e * x * seven - 6.0 * f * x * y * z + 3.0 * g * z * (xx - yy)
        gy += p * (4.0 * y * yy - 12.0 * xx * y) + q * x * x3
        gz += a * (140.0 * zz * z - 60.0 * z) + (b * x + c * y) * (21.0 * zz - 3.0)
        gz += 14.0 * z * (d * (xx - yy) + e * x * y) + f * x * x3 + g * y * y3
    return gx, gy, gz


@compiled_fast
def radial_basis(r: float, cutoff: float, n: int, value: FloatArray) -> None:
    """Functions f_k = ½ (T_k(2 (r/r_c - 1)² - 1) + 1) f_c(r), k < n, with f_c = ½ (1 + cos π r/r_c)."""
    fc = 0.5 * (1.0 + math.cos(_PI * r / cutoff))
    u = r / cutoff - 1.0
    x = 2.0 * u * u - 1.0
    value[0] = fc
    before, now = 1.0, x
    for k in range(1, n):
        value[k] = 0.5 * (now + 1.0) * fc
        before, now = now, 2.0 * x * now - before


@compiled_fast
def radial_basis_slope(r: float, cutoff: float, n: int, value: FloatArray, slope: FloatArray) -> None:
    """Functions of :func:`radial_basis` and their derivatives by r."""
    angle = _PI * r / cutoff
    fc = 0.5 * (1.0 + math.cos(angle))
    fcp = -0.5 * _PI / cutoff * math.sin(angle)
    u = r / cutoff - 1.0
    x = 2.0 * u * u - 1.0
    dx = 4.0 * u / cutoff
    value[0] = fc
    slope[0] = fcp
    before, now = 1.0, x
    # T'_k = k U_(k-1), and U obeys the same recurrence as T.
    u_before, u_now = 0.0, 1.0
    for k in range(1, n):
        half = 0.5 * (now + 1.0)
        value[k] = half * fc
        slope[k] = 0.5 * k * u_now * dx * fc + half * fcp
        before, now = now, 2.0 * x * now - before
        u_before, u_now = u_now, 2.0 * x * u_now - u_before


@compiled_fast
def _invariants(
    s: FloatArray, l_max: int, has_222: int, has_1111: int, n_angular: int, n: int, q: FloatArray, start: int
) -> None:
    """Angular descriptors of one radial channel n from its sums S_lm."""
    at = 0
    for l in range(1, l_max + 1):  # noqa: E741 - the angular momentum
        total = 0.0
        for m in range(2 * l + 1):
            total += s[at + m] * s[at + m]
        q[start + (l - 1) * n_angular + n] = total
        at += 2 * l + 1
    row = l_max
    if has_222:
        xy, yz, xz = s[3] / _Y2A, s[4] / _Y2A, s[5] / _Y2A
        difference, zz = s[6] / _Y2B, s[7] / (3.0 * _Y20)
        xx, yy = 0.5 * (difference - zz), -0.5 * (difference + zz)
        cube = xx * xx * xx + yy * yy * yy + zz * zz * zz
        cube += 3.0 * (xx * (xy * xy + xz * xz) + yy * (xy * xy + yz * yz) + zz * (xz * xz + yz * yz))
        cube += 6.0 * xy * yz * xz
        q[start + row * n_angular + n] = _K222 * cube
        row += 1
    if has_1111:
        one = q[start + n]
        q[start + row * n_angular + n] = _K1111 * one * one


@compiled_fast
def _invariants_slope(
    s: FloatArray,
    l_max: int,
    has_222: int,
    has_1111: int,
    n_angular: int,
    n: int,
    fp: FloatArray,
    start: int,
    out: FloatArray,
) -> None:
    """Give dE/dS_lm of channel n, from dE/dq."""
    at = 0
    for l in range(1, l_max + 1):  # noqa: E741 - the angular momentum
        factor = 2.0 * fp[start + (l - 1) * n_angular + n]
        for m in range(2 * l + 1):
            out[at + m] = factor * s[at + m]
        at += 2 * l + 1
    row = l_max
    if has_222:
        f = 3.0 * _K222 * fp[start + row * n_angular + n]
        xy, yz, xz = s[3] / _Y2A, s[4] / _Y2A, s[5] / _Y2A
        difference, zz = s[6] / _Y2B, s[7] / (3.0 * _Y20)
        xx, yy = 0.5 * (difference - zz), -0.5 * (difference + zz)
        # Q², the derivative of tr(Q³)/3.
        x2 = xx * xx + xy * xy + xz * xz
        y2 = yy * yy + xy * xy + yz * yz
        z2 = zz * zz + xz * xz + yz * yz
        out[3] += 2.0 * f * (xx * xy + xy * yy + xz * yz) / _Y2A
        out[4] += 2.0 * f * (xy * xz + yy * yz + yz * zz) / _Y2A
        out[5] += 2.0 * f * (xx * xz + xy * yz + xz * zz) / _Y2A
        out[6] += 0.5 * f * (x2 - y2) / _Y2B
        out[7] += f * (z2 - 0.5 * (x2 + y2)) / (3.0 * _Y20)
        row += 1
    if has_1111:
        one = s[0] * s[0] + s[1] * s[1] + s[2] * s[2]
        factor = 4.0 * _K1111 * one * fp[start + row * n_angular + n]
        for m in range(3):
            out[m] += factor * s[m]


@compiled_fast
def _network(
    q: FloatArray,
    scale: FloatArray,
    w0: FloatArray,
    b0: FloatArray,
    w1: FloatArray,
    bias: float,
    fp: FloatArray,
    hidden: FloatArray,
) -> float:
    """Energy of the one-layer network; dE/dq into ``fp``, activations into ``hidden``."""
    n_neurons, dim = w0.shape
    energy = -bias
    for d in range(dim):
        fp[d] = 0.0
    for m in range(n_neurons):
        total = -b0[m]
        for d in range(dim):
            total += w0[m, d] * (q[d] * scale[d])
        t = math.tanh(total)
        hidden[m] = t
        energy += w1[m] * t
        slope = w1[m] * (1.0 - t * t)
        for d in range(dim):
            fp[d] += slope * w0[m, d]
    for d in range(dim):
        fp[d] *= scale[d]
    return energy


@compiled_fast
def zbl(r: float, zi: float, zj: float, inner: float, outer: float) -> tuple[float, float]:
    """Screened nuclear repulsion (Ziegler et al. 1985), switched off from inner to outer, and its slope."""
    inverse_a = (zi**0.23 + zj**0.23) * 2.134563
    x = r * inverse_a
    a0, a1 = 0.18175 * math.exp(-3.1998 * x), 0.50986 * math.exp(-0.94229 * x)
    a2, a3 = 0.28022 * math.exp(-0.4029 * x), 0.02817 * math.exp(-0.20162 * x)
    charge = COULOMB_EV_A * zi * zj
    phi = charge * (a0 + a1 + a2 + a3)
    slope = -charge * inverse_a * (3.1998 * a0 + 0.94229 * a1 + 0.4029 * a2 + 0.20162 * a3)
    energy = phi / r
    slope = slope / r - phi / (r * r)
    if r > inner:
        width = _PI / (outer - inner)
        fc = 0.5 * (1.0 + math.cos(width * (r - inner)))
        fcp = -0.5 * width * math.sin(width * (r - inner))
        slope = slope * fc + energy * fcp
        energy *= fc
    return energy, slope


@compiled_fast
def _descriptors_of_atom(  # noqa: PLR0912 - one compiled loop
    i: int,
    positions: FloatArray,
    types: IntArray,
    first: IntArray,
    neighbours: IntArray,
    offsets: FloatArray,
    cutoffs: FloatArray,
    shape: IntArray,
    c_radial: FloatArray,
    c_angular: FloatArray,
    q: FloatArray,
    s: FloatArray,
    work: FloatArray,
    basis_sum: FloatArray,
) -> int:
    """Descriptors of atom i into q, the sums S into s; r, x, y, z, type and j of near neighbours into ``work``.

    Returns the number of neighbours within the radial cutoff.
    """
    n_radial, k_radial, n_angular, k_angular, l_max = shape[0], shape[1], shape[2], shape[3], shape[4]
    n_lm = (l_max + 1) * (l_max + 1) - 1
    rr, ra = cutoffs[0], cutoffs[1]
    limit = rr * rr
    ti = types[i]
    n_types = c_radial.shape[1]
    value = np.empty(max(k_radial, k_angular))
    y = np.empty(24)
    for t in range(n_types):
        for k in range(k_radial):
            basis_sum[t, k] = 0.0
    for n in range(n_angular):
        for a in range(n_lm):
            s[n, a] = 0.0
    found = 0
    px, py, pz = positions[i, 0], positions[i, 1], positions[i, 2]
    for p in range(first[i], first[i + 1]):
        j = neighbours[p]
        dx = positions[j, 0] + offsets[p, 0] - px
        dy = positions[j, 1] + offsets[p, 1] - py
        dz = positions[j, 2] + offsets[p, 2] - pz
        r2 = dx * dx + dy * dy + dz * dz
        if r2 >= limit:
            continue
        r = math.sqrt(r2)
        ux, uy, uz = dx / r, dy / r, dz / r
        tj = types[j]
        work[found, 0] = r
        work[found, 1] = ux
        work[found, 2] = uy
        work[found, 3] = uz
        work[found, 4] = j
        found += 1
        radial_basis(r, rr, k_radial, value)
        for k in range(k_radial):
            basis_sum[tj, k] += value[k]
        if r < ra:
            radial_basis(r, ra, k_angular, value)
            harmonics(ux, uy, uz, l_max, y)
            for n in range(n_angular):
                g = 0.0
                for k in range(k_angular):
                    g += c_angular[ti, tj, n, k] * value[k]
                for a in range(n_lm):
                    s[n, a] += g * y[a]
    for n in range(n_radial):
        total = 0.0
        for t in range(n_types):
            for k in range(k_radial):
                total += c_radial[ti, t, n, k] * basis_sum[t, k]
        q[n] = total
    for n in range(n_angular):
        _invariants(s[n], l_max, shape[5], shape[6], n_angular, n, q, n_radial)
    return found


@compiled_fast
def evaluate(  # noqa: PLR0912, PLR0915 - one compiled loop
    positions: FloatArray,
    types: IntArray,
    first: IntArray,
    neighbours: IntArray,
    offsets: FloatArray,
    cutoffs: FloatArray,
    shape: IntArray,
    c_radial: FloatArray,
    c_angular: FloatArray,
    scale: FloatArray,
    w0: FloatArray,
    b0: FloatArray,
    w1: FloatArray,
    bias: FloatArray,
    charges: FloatArray,
    inner: FloatArray,
    outer: FloatArray,
    energies: FloatArray,
    forces: FloatArray,
    virial: FloatArray,
) -> None:
    """Energies (n,) in eV, forces (n, 3) in eV/Å and dE/dε (3, 3) in eV; the outputs must come filled with zeros."""
    n_radial, k_radial, n_angular, k_angular, l_max = shape[0], shape[1], shape[2], shape[3], shape[4]
    n_lm = (l_max + 1) * (l_max + 1) - 1
    dim = w0.shape[2]
    n_types = c_radial.shape[1]
    rr, ra = cutoffs[0], cutoffs[1]
    most = 1
    for i in range(len(types)):
        most = max(most, first[i + 1] - first[i])
    q, fp, hidden = np.empty(dim), np.empty(dim), np.empty(w0.shape[1])
    s, g = np.empty((n_angular, n_lm)), np.empty((n_angular, n_lm))
    work = np.empty((most, 5))
    basis_sum, slopes = np.empty((n_types, k_radial)), np.empty((n_types, k_radial))
    value, slope = np.empty(max(k_radial, k_angular)), np.empty(max(k_radial, k_angular))
    y, h, hp = np.empty(24), np.empty(24), np.empty(24)
    for i in range(len(types)):
        ti = types[i]
        found = _descriptors_of_atom(
            i, positions, types, first, neighbours, offsets, cutoffs, shape, c_radial, c_angular, q, s, work, basis_sum
        )
        energies[i] += _network(q, scale, w0[ti], b0[ti], w1[ti], bias[ti], fp, hidden)
        for t in range(n_types):
            for k in range(k_radial):
                total = 0.0
                for n in range(n_radial):
                    total += fp[n] * c_radial[ti, t, n, k]
                slopes[t, k] = total
        for n in range(n_angular):
            _invariants_slope(s[n], l_max, shape[5], shape[6], n_angular, n, fp, n_radial, g[n])
        for p in range(found):
            r, ux, uy, uz = work[p, 0], work[p, 1], work[p, 2], work[p, 3]
            j = int(work[p, 4])
            tj = types[j]
            radial_basis_slope(r, rr, k_radial, value, slope)
            along = 0.0
            for k in range(k_radial):
                along += slopes[tj, k] * slope[k]
            fx, fy, fz = 0.0, 0.0, 0.0
            if r < ra:
                radial_basis_slope(r, ra, k_angular, value, slope)
                harmonics(ux, uy, uz, l_max, y)
                for a in range(n_lm):
                    h[a] = 0.0
                    hp[a] = 0.0
                for n in range(n_angular):
                    gn, gp = 0.0, 0.0
                    for k in range(k_angular):
                        gn += c_angular[ti, tj, n, k] * value[k]
                        gp += c_angular[ti, tj, n, k] * slope[k]
                    for a in range(n_lm):
                        h[a] += gn * g[n, a]
                        hp[a] += gp * g[n, a]
                for a in range(n_lm):
                    along += hp[a] * y[a]
                gx, gy, gz = harmonics_slope(ux, uy, uz, l_max, h)
                # The harmonics do not change along the bond: only the part across it counts.
                dot = gx * ux + gy * uy + gz * uz
                fx, fy, fz = (gx - dot * ux) / r, (gy - dot * uy) / r, (gz - dot * uz) / r
            if r < outer[ti, tj]:
                pair, pair_slope = zbl(r, charges[ti], charges[tj], inner[ti, tj], outer[ti, tj])
                energies[i] += 0.5 * pair
                along += 0.5 * pair_slope
            fx += along * ux
            fy += along * uy
            fz += along * uz
            forces[i, 0] += fx
            forces[i, 1] += fy
            forces[i, 2] += fz
            forces[j, 0] -= fx
            forces[j, 1] -= fy
            forces[j, 2] -= fz
            virial[0, 0] += r * ux * fx
            virial[0, 1] += r * ux * fy
            virial[0, 2] += r * ux * fz
            virial[1, 0] += r * uy * fx
            virial[1, 1] += r * uy * fy
            virial[1, 2] += r * uy * fz
            virial[2, 0] += r * uz * fx
            virial[2, 1] += r * uz * fy
            virial[2, 2] += r * uz * fz


@compiled_fast
def descriptors(
    positions: FloatArray,
    types: IntArray,
    first: IntArray,
    neighbours: IntArray,
    offsets: FloatArray,
    cutoffs: FloatArray,
    shape: IntArray,
    c_radial: FloatArray,
    c_angular: FloatArray,
    out: FloatArray,
) -> None:
    """Descriptors before scaling, into ``out`` of shape (n_atoms, dim)."""
    n_angular, k_radial, l_max = shape[2], shape[1], shape[4]
    most = 1
    for i in range(len(types)):
        most = max(most, first[i + 1] - first[i])
    s = np.empty((n_angular, (l_max + 1) * (l_max + 1) - 1))
    work, basis_sum = np.empty((most, 5)), np.empty((c_radial.shape[1], k_radial))
    for i in range(len(types)):
        _descriptors_of_atom(
            i,
            positions,
            types,
            first,
            neighbours,
            offsets,
            cutoffs,
            shape,
            c_radial,
            c_angular,
            out[i],
            s,
            work,
            basis_sum,
        )


@compiled_fast
def add_gradient(  # noqa: PLR0912 - one compiled loop
    weight: float,
    positions: FloatArray,
    types: IntArray,
    first: IntArray,
    neighbours: IntArray,
    offsets: FloatArray,
    cutoffs: FloatArray,
    shape: IntArray,
    c_radial: FloatArray,
    c_angular: FloatArray,
    scale: FloatArray,
    w0: FloatArray,
    b0: FloatArray,
    w1: FloatArray,
    bias: FloatArray,
    d_radial: FloatArray,
    d_angular: FloatArray,
    d_w0: FloatArray,
    d_b0: FloatArray,
    d_w1: FloatArray,
    d_bias: FloatArray,
) -> None:
    """Add ``weight`` times the derivative of the energy by each parameter to the d_… arrays (ZBL has none)."""
    n_radial, k_radial, n_angular, k_angular, l_max = shape[0], shape[1], shape[2], shape[3], shape[4]
    n_lm = (l_max + 1) * (l_max + 1) - 1
    n_neurons, dim = w0.shape[1], w0.shape[2]
    n_types = c_radial.shape[1]
    ra = cutoffs[1]
    most = 1
    for i in range(len(types)):
        most = max(most, first[i + 1] - first[i])
    q, fp, hidden = np.empty(dim), np.empty(dim), np.empty(n_neurons)
    s, g = np.empty((n_angular, n_lm)), np.empty((n_angular, n_lm))
    work, basis_sum = np.empty((most, 5)), np.empty((n_types, k_radial))
    value, y = np.empty(max(k_radial, k_angular)), np.empty(24)
    for i in range(len(types)):
        ti = types[i]
        found = _descriptors_of_atom(
            i, positions, types, first, neighbours, offsets, cutoffs, shape, c_radial, c_angular, q, s, work, basis_sum
        )
        _network(q, scale, w0[ti], b0[ti], w1[ti], bias[ti], fp, hidden)
        d_bias[ti] -= weight
        for m in range(n_neurons):
            t = hidden[m]
            d_w1[ti, m] += weight * t
            back = weight * w1[ti, m] * (1.0 - t * t)
            d_b0[ti, m] -= back
            for d in range(dim):
                d_w0[ti, m, d] += back * (q[d] * scale[d])
        for t in range(n_types):
            for n in range(n_radial):
                for k in range(k_radial):
                    d_radial[ti, t, n, k] += weight * fp[n] * basis_sum[t, k]
        for n in range(n_angular):
            _invariants_slope(s[n], l_max, shape[5], shape[6], n_angular, n, fp, n_radial, g[n])
        for p in range(found):
            r = work[p, 0]
            if r >= ra:
                continue
            tj = types[int(work[p, 4])]
            radial_basis(r, ra, k_angular, value)
            harmonics(work[p, 1], work[p, 2], work[p, 3], l_max, y)
            for n in range(n_angular):
                total = 0.0
                for a in range(n_lm):
                    total += g[n, a] * y[a]
                total *= weight
                for k in range(k_angular):
                    d_angular[ti, tj, n, k] += total * value[k]
