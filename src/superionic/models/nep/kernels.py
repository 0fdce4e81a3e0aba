"""Inner loops of the neuroevolution potential: energies, forces and virial, descriptors, and gradients by parameter.

Everything here takes plain arrays and is compiled by numba. The energy of atom i is that of Fan et al., Phys. Rev. B
104, 104309 (2021) with the descriptors of Fan et al., J. Chem. Phys. 157, 114801 (2022): radial ones
``q_n = Σ_j g_n(r_ij)`` and angular ones, invariants of ``S_nlm = Σ_j g_n(r_ij) Y_lm(r_ij)``, with radial functions
``g_n = Σ_k c_nk f_k`` that are learned for each ordered pair of elements.

Arguments that all kernels share
--------------------------------
positions : (n_atoms, 3) in Å; types : (n_atoms,) index of the element; first : (n_atoms + 1,), neighbours : (n_pairs,),
shift : (n_pairs,) and shifts : (n_shifts, 3) in Å are a neighbour list, r_ij = positions[j] + shifts[shift] -
positions[i]; it may hold pairs beyond the cutoff. shape : (n_radial, k_radial, n_angular, k_angular, l_max, has_222,
has_1111), counts of functions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled_fast
from superionic.models.nep.model import MOST_ANGULAR

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
# sin πz = z Σ s_k z^2k and cos πz = Σ c_k z^2k for |z| ≤ ½, and e^-f = Σ e_k f^k for |f| ≤ ½ ln 2.
_SINE = tuple((-1) ** k * _PI ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(11))
_COSINE = tuple((-1) ** k * _PI ** (2 * k) / math.factorial(2 * k) for k in range(11))
_DECAY = tuple((-1) ** k / math.factorial(k) for k in range(14))
_LN2 = math.log(2.0)
_HALVES = 0.5 ** np.arange(64.0)
# Harmonics are kept in rows of this length, whatever l_max, so that loops over them have a known length.
_N_LM = 24
_G = 2 * MOST_ANGULAR


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
def switch(r: float, cutoff: float) -> tuple[float, float]:
    """Switching function f_c = ½ (1 + cos π r/r_c) and its derivative by r, for r up to the cutoff.

    With z = r/r_c - ½ these are ½ (1 - sin πz) and -½ π/r_c cos πz, by series whose first missing terms are 10⁻¹⁷ at
    most: a loop over them uses vector instructions, and no digit depends on a library.
    """
    z = r / cutoff - 0.5
    w = z * z
    sine = _SINE[9] + w * _SINE[10]
    cosine = _COSINE[9] + w * _COSINE[10]
    sine = _SINE[7] + w * (_SINE[8] + w * sine)
    cosine = _COSINE[7] + w * (_COSINE[8] + w * cosine)
    sine = _SINE[5] + w * (_SINE[6] + w * sine)
    cosine = _COSINE[5] + w * (_COSINE[6] + w * cosine)
    sine = _SINE[3] + w * (_SINE[4] + w * sine)
    cosine = _COSINE[3] + w * (_COSINE[4] + w * cosine)
    sine = _SINE[1] + w * (_SINE[2] + w * sine)
    cosine = _COSINE[1] + w * (_COSINE[2] + w * cosine)
    sine = z * (_SINE[0] + w * sine)
    cosine = _COSINE[0] + w * cosine
    return 0.5 - 0.5 * sine, (-0.5 * _PI / cutoff) * cosine


@compiled_fast
def chebyshev(x: float, n: int, value: FloatArray, slope: FloatArray) -> None:
    """Polynomials T_k(x), k < n, and their derivatives T'_k = k U_(k-1)."""
    value[0] = 1.0
    slope[0] = 0.0
    before, now = 1.0, x
    u_before, u_now = 0.0, 1.0
    for k in range(1, n):
        value[k] = now
        slope[k] = k * u_now
        before, now = now, 2.0 * x * now - before
        u_before, u_now = u_now, 2.0 * x * u_now - u_before


@compiled_fast
def _add_product(u: FloatArray, matrix: FloatArray, depth: int, columns: int, out: FloatArray) -> None:
    """Add ``u @ matrix`` to ``out``; depth is a multiple of three."""
    for r in range(0, depth, 3):
        u0, u1, u2 = u[r], u[r + 1], u[r + 2]
        for c in range(columns):
            out[c] += u0 * matrix[r, c] + u1 * matrix[r + 1, c] + u2 * matrix[r + 2, c]


@compiled_fast
def _products(
    rows: FloatArray,
    at_u: int,
    at_v: int,
    stride: int,
    depth: int,
    matrix: FloatArray,
    width: int,
    columns: int,
    out: FloatArray,
) -> None:
    """Write u @ matrix to ``out[:columns]`` and v @ matrix to ``out[width:width + columns]``.

    All arrays are flat: u and v begin at ``at_u`` and ``at_v`` of ``rows`` and have a ``stride``; ``matrix`` has
    ``depth`` rows (a multiple of three) of ``width``. With a width that is known where this is inlined, and indices
    that cannot be negative, few tests show the compiled code that it may use its vector instructions.
    """
    for r in range(0, depth, 3):
        u0, u1, u2 = rows[at_u + r * stride], rows[at_u + (r + 1) * stride], rows[at_u + (r + 2) * stride]
        v0, v1, v2 = rows[at_v + r * stride], rows[at_v + (r + 1) * stride], rows[at_v + (r + 2) * stride]
        at = r * width
        if r == 0:
            for c in range(columns):
                m0, m1, m2 = matrix[np.uintp(c)], matrix[np.uintp(width + c)], matrix[np.uintp(2 * width + c)]
                out[np.uintp(c)] = u0 * m0 + u1 * m1 + u2 * m2
                out[np.uintp(width + c)] = v0 * m0 + v1 * m1 + v2 * m2
        else:
            for c in range(columns):
                m0 = matrix[np.uintp(at + c)]
                m1 = matrix[np.uintp(at + width + c)]
                m2 = matrix[np.uintp(at + 2 * width + c)]
                out[np.uintp(c)] += u0 * m0 + u1 * m1 + u2 * m2
                out[np.uintp(width + c)] += v0 * m0 + v1 * m1 + v2 * m2


@compiled_fast
def _invariants(
    s: FloatArray, l_max: int, has_222: int, has_1111: int, n_angular: int, n: int, q: FloatArray, start: int
) -> None:
    """Angular descriptors of one radial channel n from its sums S_lm."""
    at = start + n
    one = s[0] * s[0] + s[1] * s[1] + s[2] * s[2]
    q[at] = one
    if l_max >= 2:
        q[at + n_angular] = s[3] * s[3] + s[4] * s[4] + s[5] * s[5] + s[6] * s[6] + s[7] * s[7]
    if l_max >= 3:
        q[at + 2 * n_angular] = (
            s[8] * s[8] + s[9] * s[9] + s[10] * s[10] + s[11] * s[11] + s[12] * s[12] + s[13] * s[13] + s[14] * s[14]
        )
    if l_max >= 4:
        q[at + 3 * n_angular] = (
            (s[15] * s[15] + s[16] * s[16] + s[17] * s[17] + s[18] * s[18])
            + (s[19] * s[19] + s[20] * s[20] + s[21] * s[21] + s[22] * s[22])
            + s[23] * s[23]
        )
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
    """Return dE/dS_lm of channel n, from dE/dq."""
    at = start + n
    factor = 2.0 * fp[at]
    for a in range(3):
        out[a] = factor * s[a]
    if l_max >= 2:
        factor = 2.0 * fp[at + n_angular]
        for a in range(3, 8):
            out[a] = factor * s[a]
    if l_max >= 3:
        factor = 2.0 * fp[at + 2 * n_angular]
        for a in range(8, 15):
            out[a] = factor * s[a]
    if l_max >= 4:
        factor = 2.0 * fp[at + 3 * n_angular]
        for a in range(15, 24):
            out[a] = factor * s[a]
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
def _layers(w0: FloatArray, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
    """First layers with the scale in them, by descriptor and by neuron, filled up for :func:`_add_product`."""
    n_types, n_neurons, dim = w0.shape
    by_descriptor = np.zeros((n_types, _multiple(dim, 3), n_neurons))
    by_neuron = np.zeros((n_types, _multiple(n_neurons, 3), dim))
    for t in range(n_types):
        for m in range(n_neurons):
            for d in range(dim):
                by_neuron[t, m, d] = w0[t, m, d] * scale[d]
                by_descriptor[t, d, m] = by_neuron[t, m, d]
    return by_descriptor, by_neuron


@compiled_fast
def _network(
    q: FloatArray,
    by_descriptor: FloatArray,
    by_neuron: FloatArray,
    b0: FloatArray,
    w1: FloatArray,
    bias: float,
    fp: FloatArray,
    hidden: FloatArray,
    slope: FloatArray,
) -> float:
    """Energy of the one-layer network; dE/dq into ``fp``, activations into ``hidden``, dE by sums into ``slope``."""
    n_neurons, dim = len(b0), by_neuron.shape[1]
    for m in range(n_neurons):
        hidden[m] = -b0[m]
    _add_product(q, by_descriptor, len(by_descriptor), n_neurons, hidden)
    energy = -bias
    for m in range(n_neurons):
        x = hidden[m]
        # tanh |x| = (1 - e)/(1 + e) with e = exp -2|x| = 2^-n exp -f.
        y = 2.0 * abs(x)
        y = 43.0 if y > 43.0 else y  # noqa: FURB136 - what is not a number stays so
        n = int(y / _LN2 + 0.5) if y <= 43.0 else 0
        f = y - n * _LN2
        e = _DECAY[11] + f * (_DECAY[12] + f * _DECAY[13])
        e = _DECAY[8] + f * (_DECAY[9] + f * (_DECAY[10] + f * e))
        e = _DECAY[5] + f * (_DECAY[6] + f * (_DECAY[7] + f * e))
        e = _DECAY[2] + f * (_DECAY[3] + f * (_DECAY[4] + f * e))
        e = (_DECAY[0] + f * (_DECAY[1] + f * e)) * _HALVES[n]
        t = (1.0 - e) / (1.0 + e)
        t = -t if x < 0.0 else t
        hidden[m] = t
        energy += w1[m] * t
        slope[m] = w1[m] * (4.0 * e / ((1.0 + e) * (1.0 + e)))
    for d in range(dim):
        fp[d] = 0.0
    _add_product(slope, by_neuron, len(by_neuron), dim, fp)
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
def _angular_coefficients(c_angular: FloatArray) -> FloatArray:
    """Coefficients of T_k in g_n/f_c, shape (n_types, n_types, k · 16) with n in rows of 16, for :func:`_products`."""
    n_types, _, n_angular, k_angular = c_angular.shape
    out = np.zeros((n_types, n_types, _multiple(k_angular, 3) * MOST_ANGULAR))
    for own in range(n_types):
        for other in range(n_types):
            for n in range(n_angular):
                for k in range(k_angular):
                    half = 0.5 * c_angular[own, other, n, k]
                    out[own, other, k * MOST_ANGULAR + n] += half
                    out[own, other, n] += half
    return out


@compiled_fast
def _bonds_of_atom(
    i: int,
    positions: FloatArray,
    first: IntArray,
    neighbours: IntArray,
    shift: IntArray,
    shifts: FloatArray,
    cutoffs: FloatArray,
    near: IntArray,
    bonds: FloatArray,
) -> tuple[int, int]:
    """Write what lies around atom i into ``near`` and ``bonds``; the numbers within the radial and the angular cutoff.

    near : (2, most), the neighbour at the end of each bond, and which bonds are within the angular cutoff. bonds :
    (8, most), for each bond its unit vector, its length, and the radial switch with its slope; for each bond within the
    angular cutoff the angular switch with its slope.
    """
    rr, ra = cutoffs[0], cutoffs[1]
    limit = rr * rr
    px, py, pz = positions[i, 0], positions[i, 1], positions[i, 2]
    n_bonds = 0
    for p in range(first[i], first[i + 1]):
        j, k = neighbours[p], shift[p]
        dx = positions[j, 0] + shifts[k, 0] - px
        dy = positions[j, 1] + shifts[k, 1] - py
        dz = positions[j, 2] + shifts[k, 2] - pz
        r2 = dx * dx + dy * dy + dz * dz
        # Written in any case, and kept by counting it: this is faster than to branch.
        near[0, n_bonds] = j
        bonds[0, n_bonds] = dx
        bonds[1, n_bonds] = dy
        bonds[2, n_bonds] = dz
        bonds[3, n_bonds] = r2
        n_bonds += 1 if r2 < limit else 0
    for p in range(n_bonds):
        r = math.sqrt(bonds[3, p])
        inverse = 1.0 / r
        bonds[3, p] = r
        bonds[0, p] *= inverse
        bonds[1, p] *= inverse
        bonds[2, p] *= inverse
    for p in range(n_bonds):
        bonds[4, p], bonds[5, p] = switch(bonds[3, p], rr)
    n_angular_bonds = 0
    for p in range(n_bonds):
        near[1, n_angular_bonds] = p
        bonds[6, n_angular_bonds] = bonds[3, p]
        n_angular_bonds += 1 if bonds[3, p] < ra else 0
    for b in range(n_angular_bonds):
        bonds[6, b], bonds[7, b] = switch(bonds[6, b], ra)
    return n_bonds, n_angular_bonds


@compiled_fast
def _descriptors_of_atom(  # noqa: PLR0912 - one compiled loop
    ti: int,
    types: IntArray,
    cutoffs: FloatArray,
    shape: IntArray,
    c_radial: FloatArray,
    coefficients: FloatArray,
    n_bonds: int,
    n_angular_bonds: int,
    near: IntArray,
    bonds: FloatArray,
    q: FloatArray,
    s: FloatArray,
    sums: FloatArray,
    polynomials: FloatArray,
    g: FloatArray,
    y: FloatArray,
) -> None:
    """Descriptors of an atom of type ti from its bonds.

    q : (≥ dim,). sums : (n_types, k), the sums Σ f_k. Flat ones: s, the sums S_nlm in rows of 24. polynomials : (2 k,),
    scratch. g, for each angular bond 16 radial functions and their 16 derivatives. y, for each its 24 harmonics.
    """
    n_radial, k_radial, n_angular, k_angular, l_max = shape[0], shape[1], shape[2], shape[3], shape[4]
    rr, ra = cutoffs[0], cutoffs[1]
    n_types = c_radial.shape[1]
    depth, columns = len(polynomials) // 2, _multiple(n_angular, 4)
    for t in range(n_types):
        for k in range(k_radial):
            sums[t, k] = 0.0
    for p in range(n_bonds):
        tj = types[near[0, p]]
        u = bonds[3, p] / rr - 1.0
        x = 2.0 * u * u - 1.0
        fc = bonds[4, p]
        sums[tj, 0] += fc
        before, now = fc, x * fc
        for k in range(1, k_radial):
            sums[tj, k] += now
            before, now = now, 2.0 * x * now - before
    for t in range(n_types):
        for k in range(k_radial - 1, -1, -1):
            sums[t, k] = 0.5 * (sums[t, k] + sums[t, 0])
    for n in range(n_radial):
        total = 0.0
        for t in range(n_types):
            for k in range(k_radial):
                total += c_radial[ti, t, n, k] * sums[t, k]
        q[n] = total
    for b in range(n_angular_bonds):
        p = near[1, b]
        tj = types[near[0, p]]
        u = bonds[3, p] / ra - 1.0
        chebyshev(2.0 * u * u - 1.0, k_angular, polynomials, polynomials[depth:])
        own = g[b * _G : (b + 1) * _G]
        _products(polynomials, 0, depth, 1, depth, coefficients[ti, tj], MOST_ANGULAR, columns, own)
        fc, fcp = bonds[6, b], bonds[7, b]
        stretch = 4.0 * u / ra * fc
        for n in range(columns):
            value, rise = own[n], own[n + MOST_ANGULAR]
            own[n] = fc * value
            own[n + MOST_ANGULAR] = fcp * value + stretch * rise
        harmonics(bonds[0, p], bonds[1, p], bonds[2, p], l_max, y[b * _N_LM :])
    filled = _multiple(max(n_angular_bonds, 1), 3)
    for k in range(n_angular_bonds * _G, filled * _G):
        g[k] = 0.0
    for n in range(0, n_angular, 2):
        _products(g, n, n + 1, _G, filled, y, _N_LM, _N_LM, s[n * _N_LM :])
    for n in range(n_angular):
        _invariants(s[n * _N_LM :], l_max, shape[5], shape[6], n_angular, n, q, n_radial)


@compiled_fast
def _multiple(n: int, of: int) -> int:
    """Smallest multiple of a number that is not below n."""
    return (n + of - 1) // of * of


@compiled_fast
def _most(first: IntArray) -> int:
    """Room for the bonds of any atom: one more than it has neighbours, and a multiple of three."""
    most = 1
    for i in range(len(first) - 1):
        most = max(most, first[i + 1] - first[i] + 1)
    return _multiple(most, 3)


@compiled_fast
def evaluate(  # noqa: PLR0915 - one compiled loop
    positions: FloatArray,
    types: IntArray,
    first: IntArray,
    neighbours: IntArray,
    shift: IntArray,
    shifts: FloatArray,
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
    filled = _multiple(n_angular, 3)
    n_types, dim = c_radial.shape[1], w0.shape[2]
    rr = cutoffs[0]
    coefficients = _angular_coefficients(c_angular)
    by_descriptor, by_neuron = _layers(w0, scale)
    most = _most(first)
    near, bonds = np.empty((2, most), dtype=np.int64), np.empty((12, most))
    q, fp = np.zeros(by_descriptor.shape[1]), np.empty(dim)
    hidden, slope = np.empty(w0.shape[1]), np.zeros(by_neuron.shape[1])
    s, weights = np.empty((n_angular + 1) * _N_LM), np.zeros(filled * _N_LM)
    sums, polynomials = np.empty((n_types, k_radial)), np.zeros(2 * _multiple(k_angular, 3))
    g, y = np.zeros(most * _G), np.zeros(most * _N_LM)
    radial, radial_slope = np.empty((n_types, k_radial)), np.empty((n_types, k_radial))
    h = np.empty(2 * _N_LM)
    for i in range(len(types)):
        ti = types[i]
        n_bonds, n_angular_bonds = _bonds_of_atom(i, positions, first, neighbours, shift, shifts, cutoffs, near, bonds)
        _descriptors_of_atom(
            ti, types, cutoffs, shape, c_radial, coefficients, n_bonds, n_angular_bonds, near, bonds,
            q, s, sums, polynomials, g, y,
        )  # fmt: skip
        energies[i] += _network(q, by_descriptor[ti], by_neuron[ti], b0[ti], w1[ti], bias[ti], fp, hidden, slope)
        for t in range(n_types):
            whole = 0.0
            for k in range(k_radial):
                total = 0.0
                for n in range(n_radial):
                    total += fp[n] * c_radial[ti, t, n, k]
                radial[t, k] = 0.5 * total
                radial_slope[t, k] = 0.5 * k * total
                whole += 0.5 * total
            radial[t, 0] += whole
        for n in range(n_angular):
            _invariants_slope(
                s[n * _N_LM :], l_max, shape[5], shape[6], n_angular, n, fp, n_radial, weights[n * _N_LM :]
            )
        for p in range(n_bonds):
            tj = types[near[0, p]]
            u = bonds[3, p] / rr - 1.0
            x = 2.0 * u * u - 1.0
            before, now = 1.0, x
            u_before, u_now = 0.0, 1.0
            value, rise = radial[tj, 0], 0.0
            for k in range(1, k_radial):
                value += radial[tj, k] * now
                rise += radial_slope[tj, k] * u_now
                before, now = now, 2.0 * x * now - before
                u_before, u_now = u_now, 2.0 * x * u_now - u_before
            bonds[8, p] = bonds[5, p] * value + bonds[4, p] * (4.0 * u / rr) * rise
            bonds[9, p] = 0.0
            bonds[10, p] = 0.0
            bonds[11, p] = 0.0
        for b in range(n_angular_bonds):
            p = near[1, b]
            ux, uy, uz, r = bonds[0, p], bonds[1, p], bonds[2, p], bonds[3, p]
            # dE/dY_lm of this bond, and the same with the derivatives of the radial functions.
            _products(g, b * _G, b * _G + MOST_ANGULAR, 1, filled, weights, _N_LM, _N_LM, h)
            own = y[b * _N_LM : (b + 1) * _N_LM]
            a0, a1, a2, a3 = 0.0, 0.0, 0.0, 0.0
            for a in range(0, _N_LM, 4):
                a0 += h[_N_LM + a] * own[a]
                a1 += h[_N_LM + a + 1] * own[a + 1]
                a2 += h[_N_LM + a + 2] * own[a + 2]
                a3 += h[_N_LM + a + 3] * own[a + 3]
            gx, gy, gz = harmonics_slope(ux, uy, uz, l_max, h)
            # The harmonics do not change along the bond: only the part across it counts.
            dot = gx * ux + gy * uy + gz * uz
            inverse = 1.0 / r
            bonds[8, p] += (a0 + a1) + (a2 + a3)
            bonds[9, p] = (gx - dot * ux) * inverse
            bonds[10, p] = (gy - dot * uy) * inverse
            bonds[11, p] = (gz - dot * uz) * inverse
        own_x, own_y, own_z = 0.0, 0.0, 0.0
        vxx, vxy, vxz, vyx, vyy, vyz, vzx, vzy, vzz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for p in range(n_bonds):
            j = near[0, p]
            tj = types[j]
            ux, uy, uz, r, along = bonds[0, p], bonds[1, p], bonds[2, p], bonds[3, p], bonds[8, p]
            if r < outer[ti, tj]:
                pair, pair_slope = zbl(r, charges[ti], charges[tj], inner[ti, tj], outer[ti, tj])
                energies[i] += 0.5 * pair
                along += 0.5 * pair_slope
            fx, fy, fz = bonds[9, p] + along * ux, bonds[10, p] + along * uy, bonds[11, p] + along * uz
            own_x += fx
            own_y += fy
            own_z += fz
            forces[j, 0] -= fx
            forces[j, 1] -= fy
            forces[j, 2] -= fz
            rx, ry, rz = r * ux, r * uy, r * uz
            vxx += rx * fx
            vxy += rx * fy
            vxz += rx * fz
            vyx += ry * fx
            vyy += ry * fy
            vyz += ry * fz
            vzx += rz * fx
            vzy += rz * fy
            vzz += rz * fz
        forces[i, 0] += own_x
        forces[i, 1] += own_y
        forces[i, 2] += own_z
        virial[0, 0] += vxx
        virial[0, 1] += vxy
        virial[0, 2] += vxz
        virial[1, 0] += vyx
        virial[1, 1] += vyy
        virial[1, 2] += vyz
        virial[2, 0] += vzx
        virial[2, 1] += vzy
        virial[2, 2] += vzz


@compiled_fast
def descriptors(
    positions: FloatArray,
    types: IntArray,
    first: IntArray,
    neighbours: IntArray,
    shift: IntArray,
    shifts: FloatArray,
    cutoffs: FloatArray,
    shape: IntArray,
    c_radial: FloatArray,
    c_angular: FloatArray,
    out: FloatArray,
) -> None:
    """Descriptors before scaling, into ``out`` of shape (n_atoms, dim)."""
    coefficients = _angular_coefficients(c_angular)
    most = _most(first)
    near, bonds = np.empty((2, most), dtype=np.int64), np.empty((8, most))
    s, sums = np.empty((shape[2] + 1) * _N_LM), np.empty((c_radial.shape[1], shape[1]))
    polynomials = np.zeros(2 * _multiple(shape[3], 3))
    g, y = np.zeros(most * _G), np.zeros(most * _N_LM)
    for i in range(len(types)):
        n_bonds, n_angular_bonds = _bonds_of_atom(i, positions, first, neighbours, shift, shifts, cutoffs, near, bonds)
        _descriptors_of_atom(
            types[i], types, cutoffs, shape, c_radial, coefficients, n_bonds, n_angular_bonds, near, bonds,
            out[i], s, sums, polynomials, g, y,
        )  # fmt: skip


@compiled_fast
def add_gradient(
    weight: float,
    positions: FloatArray,
    types: IntArray,
    first: IntArray,
    neighbours: IntArray,
    shift: IntArray,
    shifts: FloatArray,
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
    n_types, n_neurons, dim = c_radial.shape[1], w0.shape[1], w0.shape[2]
    ra = cutoffs[1]
    coefficients = _angular_coefficients(c_angular)
    by_descriptor, by_neuron = _layers(w0, scale)
    most = _most(first)
    near, bonds = np.empty((2, most), dtype=np.int64), np.empty((8, most))
    q, fp = np.zeros(by_descriptor.shape[1]), np.empty(dim)
    hidden, slope = np.empty(n_neurons), np.zeros(by_neuron.shape[1])
    s, weights = np.empty((n_angular + 1) * _N_LM), np.zeros(n_angular * _N_LM)
    sums, polynomials = np.empty((n_types, k_radial)), np.zeros(2 * _multiple(k_angular, 3))
    g, y = np.zeros(most * _G), np.zeros(most * _N_LM)
    for i in range(len(types)):
        ti = types[i]
        n_bonds, n_angular_bonds = _bonds_of_atom(i, positions, first, neighbours, shift, shifts, cutoffs, near, bonds)
        _descriptors_of_atom(
            ti, types, cutoffs, shape, c_radial, coefficients, n_bonds, n_angular_bonds, near, bonds,
            q, s, sums, polynomials, g, y,
        )  # fmt: skip
        _network(q, by_descriptor[ti], by_neuron[ti], b0[ti], w1[ti], bias[ti], fp, hidden, slope)
        d_bias[ti] -= weight
        for m in range(n_neurons):
            d_w1[ti, m] += weight * hidden[m]
            back = weight * slope[m]
            d_b0[ti, m] -= back
            for d in range(dim):
                d_w0[ti, m, d] += back * (q[d] * scale[d])
        for t in range(n_types):
            for n in range(n_radial):
                for k in range(k_radial):
                    d_radial[ti, t, n, k] += weight * fp[n] * sums[t, k]
        for n in range(n_angular):
            _invariants_slope(
                s[n * _N_LM :], l_max, shape[5], shape[6], n_angular, n, fp, n_radial, weights[n * _N_LM :]
            )
        for b in range(n_angular_bonds):
            p = near[1, b]
            tj = types[near[0, p]]
            u = bonds[3, p] / ra - 1.0
            chebyshev(2.0 * u * u - 1.0, k_angular, polynomials, polynomials[len(polynomials) // 2 :])
            half = 0.5 * weight * bonds[6, b]
            for n in range(n_angular):
                total = 0.0
                for a in range(_N_LM):
                    total += weights[n * _N_LM + a] * y[b * _N_LM + a]
                total *= half
                for k in range(k_angular):
                    d_angular[ti, tj, n, k] += total * (polynomials[k] + 1.0)
