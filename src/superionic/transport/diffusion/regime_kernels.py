"""Compiled loops of :mod:`.regime`; import it inside functions only.

All random numbers are drawn by numpy outside these loops, so that results are the same on every machine.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled

FloatArray = npt.NDArray[np.float64]


@compiled
def _log_normal_cdf(z: float) -> float:
    if z > -30.0:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2.0)))
    return -0.5 * z * z - math.log(-z * math.sqrt(2.0 * math.pi))


@compiled
def sample_memories(  # noqa: PLR0912 - one loop: calls would be compiled into it
    gram: FloatArray,
    moment: FloatArray,
    start: FloatArray,
    scales: FloatArray,
    chances: FloatArray,
    draws: FloatArray,
    n_sweeps: int,
    n_first: int,
) -> FloatArray:
    """Sample θ ≥ 0 from exp(−θᵀGθ/2 + mᵀθ) × prior, one coordinate after the other: (n_sweeps, n) samples.

    The prior of the first two coordinates is flat. The others are half-normal with one of ``scales``, each with
    its chance, or else zero. ``draws`` are uniform numbers, used over and over; ``n_first`` sweeps come
    before.
    """
    n, n_scales, used = len(moment), len(scales), 0
    theta = start.copy()
    samples = np.empty((n_sweeps, n))
    weight = np.empty(n_scales + 1)
    likely = 0.0
    for chance in chances:
        likely += chance
    for sweep in range(n_first + n_sweeps):
        for j in range(n):
            slope = moment[j] + gram[j, j] * theta[j]
            for k in range(n):
                slope -= gram[j, k] * theta[k]
            precision = gram[j, j]
            if j >= 2:
                top = math.log(1.0 - likely)
                weight[0] = top
                for s in range(n_scales):
                    p = gram[j, j] + 1.0 / scales[s] ** 2
                    z = slope / math.sqrt(p)
                    weight[s + 1] = (
                        math.log(2.0 * chances[s] / scales[s]) - 0.5 * math.log(p) + 0.5 * z * z + _log_normal_cdf(z)
                    )
                    top = max(top, weight[s + 1])
                total = 0.0
                for s in range(n_scales + 1):
                    weight[s] = math.exp(weight[s] - top)
                    total += weight[s]
                left = draws[used % len(draws)] * total
                used += 1
                chosen = 0
                while chosen < n_scales and left > weight[chosen]:
                    left -= weight[chosen]
                    chosen += 1
                if chosen == 0:
                    theta[j] = 0.0
                    continue
                precision += 1.0 / scales[chosen - 1] ** 2
            # A normal variable above zero: by its polar form where zero is not far out in its tail, else by an
            # exponential one (Robert, Stat. Comput. 5, 121 (1995)).
            deviation = 1.0 / math.sqrt(precision)
            low = -slope * deviation
            while True:
                one, two = draws[used % len(draws)], draws[(used + 1) % len(draws)]
                used += 2
                if low < 0.5:
                    value = math.sqrt(-2.0 * math.log(1.0 - one)) * math.cos(2.0 * math.pi * two)
                    if value > low:
                        break
                else:
                    rate = 0.5 * (low + math.sqrt(low * low + 4.0))
                    value = low - math.log(1.0 - one) / rate
                    if two <= math.exp(-0.5 * (value - rate) ** 2):
                        break
            theta[j] = (value - low) * deviation
        if sweep >= n_first:
            for j in range(n):  # a slice would compile the message of its error, too
                samples[sweep - n_first, j] = theta[j]
    return samples


@compiled
def collective_likelihood(
    power: FloatArray,
    shape: FloatArray,
    slow: FloatArray,
    fast: FloatArray,
    diffusivities: FloatArray,
    slow_shares: FloatArray,
    fast_shares: FloatArray,
    dimensions: int,
) -> FloatArray:
    """Log-likelihood of one walker's power (n,), with Jeffreys' prior of D: (n_slow_shares, n_fast_shares, n_D).

    Each power is that of ``dimensions`` Gaussian variables of the variance D·shape + β·slow + γ·fast.
    """
    result = np.empty((len(slow_shares), len(fast_shares), len(diffusivities)))
    for b in range(len(slow_shares)):
        for g in range(len(fast_shares)):
            for d in range(len(diffusivities)):
                total, information = 0.0, 0.0
                for k in range(len(power)):
                    diffusion = diffusivities[d] * shape[k]
                    expected = diffusion + slow_shares[b] * slow[k] + fast_shares[g] * fast[k]
                    total -= 0.5 * dimensions * (math.log(expected) + power[k] / expected)
                    information += (shape[k] / expected) ** 2
                result[b, g, d] = total + 0.5 * math.log(information)
    return result
