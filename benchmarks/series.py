"""How right σ(T) of several temperatures is: directions of different activation energy, upper bounds, curvature.

    PYTHONPATH=src python benchmarks/series.py --seeds 200

Walkers whose rates along a, b and c are activated, each with its energy, go through the analysis of runs (36 ions,
200 ps, five temperatures from 500 to 900 K); 300 K is extrapolated. Prints how often the directions are taken for
different, the bias of ln σ(300 K) with them and by the line of the mean, and how often the intervals hold the truth.
Then ten times as many series of counted hops: two of six temperatures as upper bounds, and how often a straight line is
taken for curved.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from superionic.transport.analysis import analyse_displacements
from superionic.transport.conductivity.arrhenius import arrhenius_fit_estimates
from superionic.transport.conductivity.of_temperature import RunTransport, temperature_dependence
from superionic.transport.conductivity.vogel import vogel_fit
from superionic.transport.estimate import count_like_estimate
from superionic.units import BOLTZMANN_EV_PER_K, siemens_per_cm

TEMPERATURES = (500.0, 600.0, 700.0, 800.0, 900.0)
CELL = np.diag([20.0, 20.0, 30.0])
IONS = 36
# name: activation energies (eV) and D at 700 K (Å²/ps) along a, b, c; ions that move as one
REGIMES = {
    "one Ea, many hops": ((0.25,) * 3, (0.1,) * 3, 1),
    "one Ea, few hops": ((0.25,) * 3, (0.01,) * 3, 1),
    "one Ea, c nine times a": ((0.25,) * 3, (0.03, 0.03, 0.27), 1),
    "one Ea, strings of three": ((0.25,) * 3, (0.1,) * 3, 3),
    "c 0.15, ab 0.33 eV": ((0.33, 0.33, 0.15), (0.10, 0.10, 0.12), 1),
    "c 0.15, ab 0.33 eV, a fifth of the hops": ((0.33, 0.33, 0.15), (0.02, 0.02, 0.024), 1),
}


def diffusivities(temperature, Ea, at_700):
    inverse = (1.0 / temperature - 1.0 / 700.0) / BOLTZMANN_EV_PER_K
    return np.array([d * math.exp(-e * inverse) for d, e in zip(at_700, Ea, strict=True)])


def run(rng, temperature, Ea, at_700, together):
    interval_ps, hop_A, frames = 0.5, 3.0, 401
    mean = diffusivities(temperature, Ea, at_700) * interval_ps / hop_A**2
    shape = (frames, IONS // together, 3)
    hops = np.repeat(rng.poisson(mean, shape) - rng.poisson(mean, shape), together, axis=1)
    walk = hop_A * np.cumsum(hops, axis=0) + rng.normal(0.0, 0.2, (frames, IONS, 3))
    positions = np.concatenate([walk, np.zeros((frames, 4, 3))], axis=1)
    return RunTransport.of(
        analyse_displacements(positions, CELL, np.arange(IONS + 4) < IONS, interval_ps, temperature, 1.0)
    )


def directions(seeds):
    print("| regime | taken for different | of ln σ(300 K): bias | of the mean's line | in 68 % | in 95 % |")
    print("|---|---|---|---|---|---|")
    for name, (Ea, at_700, together) in REGIMES.items():
        unit = siemens_per_cm(IONS, float(np.linalg.det(CELL)), 300.0)
        truth = unit * float(diffusivities(300.0, Ea, at_700).mean())
        rows = []
        for seed in range(seeds):
            rng = np.random.default_rng(20_000 + seed)
            found = temperature_dependence(
                [run(rng, t, Ea, at_700, together) for t in TEMPERATURES],
                form="lnSigmaT",
                report_temperatures_K=[300.0],
            )
            value = found.headline
            if value is None:
                continue
            (low68, high68), (low95, high95) = value.interval68_S_per_cm, value.interval95_S_per_cm
            different = found.directions is not None and found.directions.significant
            of_mean = found.line.predict(300.0).value
            rows.append(
                (
                    different,
                    math.log(value.value_S_per_cm / truth),
                    math.log(of_mean / truth),
                    low68 <= truth <= high68,
                    low95 <= truth <= high95,
                )
            )
        seen, bias, of_mean, in68, in95 = np.mean(rows, axis=0)
        print(f"| {name} | {seen:.3f} | {bias:+.2f} | {of_mean:+.2f} | {in68:.2f} | {in95:.2f} |", flush=True)


def counted(rng, temperature, bounded):
    """Count the hops of a run: 400 at 970 K, fewer where it is colder; the coldest two only bound from above."""
    line = math.exp(-0.3 / (BOLTZMANN_EV_PER_K * temperature))
    mean = 400.0 * line / math.exp(-0.3 / (BOLTZMANN_EV_PER_K * 970.0))
    if bounded == "short runs" and temperature < 600.0:
        mean *= 0.01
    seen, unit = int(rng.poisson(mean)), line / mean
    if bounded == "not level" and temperature < 600.0:
        excess = rng.choice([1.0, 1.3, 2.0, 4.0])
        value = max(seen, 1) * unit * excess
        return count_like_estimate(value, value * unit * excess, force_upper_bound=True)
    return count_like_estimate(seen * unit, seen * unit**2, bound_per_hop=unit if seen == 0 else None)


def bounds(seeds):
    temperatures = (500.0, 560.0, 630.0, 720.0, 830.0, 970.0)
    truth = math.exp(-0.3 / (BOLTZMANN_EV_PER_K * 300.0)) / 300.0
    print("| upper bounds | of six | Ea, 95 % | σ(300 K), 68 % | σ(300 K), 95 % |")
    print("|---|---|---|---|---|")
    for kind in ("short runs", "not level"):
        rng = np.random.default_rng(30_000)
        rows = []
        for _ in range(seeds):
            estimates = [counted(rng, t, kind).scaled(1.0 / t) for t in temperatures]
            fit = arrhenius_fit_estimates(temperatures, estimates, form="lnSigmaT")
            at = fit.predict(300.0)
            inside = [low <= truth <= high for low, high in (at.interval68, at.interval95)]
            rows.append((6 - sum(fit.used), abs(fit.Ea_eV - 0.3) <= 1.96 * fit.Ea_error_eV, *inside))
        number, Ea, in68, in95 = np.mean(rows, axis=0)
        print(f"| {kind} | {number:.1f} | {Ea:.2f} | {in68:.2f} | {in95:.2f} |", flush=True)


def curvature(seeds):
    rng = np.random.default_rng(40_000)
    temperatures = np.array([300.0, 340.0, 400.0, 480.0, 600.0, 800.0])
    laws = {
        "straight, 0.3 eV": -0.3 / (BOLTZMANN_EV_PER_K * temperatures),
        "VTF, T0 = 200 K, B = 900 K": -900.0 / (temperatures - 200.0),
    }
    print("| law, errors of 10 % | taken for curved | T0, K |")
    print("|---|---|---|")
    for name, ln in laws.items():
        found = [vogel_fit(temperatures, np.exp(ln + rng.normal(0.0, 0.1, 6)), [0.1] * 6) for _ in range(seeds)]
        curved = [each for each in found if each is not None and each.significant]
        T0 = f"{np.mean([each.T0_K for each in curved]):.0f}" if curved else ""
        print(f"| {name} | {len(curved) / seeds:.3f} | {T0} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    directions(seeds)
    print()
    bounds(10 * seeds)
    print()
    curvature(10 * seeds)


if __name__ == "__main__":
    main()
