"""How right the stated errors of transport are, and how fast the mean squared displacement is.

    PYTHONPATH=src python benchmarks/transport.py --seeds 100

Prints, for walkers whose D*, D_σ and Haven ratio are known, the bias and scatter of our estimate, how often its
intervals hold the truth (of those that are no bounds), how many are upper bounds and how often those hold, and the same
of the literature's fit (a straight line through the MSD with the bound of He
2018); then the time of our MSD against the plain double loop over lags and origins in numpy, on the same input.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from walkers import brownian_walkers, exchanging_walkers, hopping_walkers, lattice_gas, strings

from superionic.transport.diffusion.diffusivity import charge_diffusivity, haven_ratio, tracer_diffusivity
from superionic.transport.diffusion.msd import mean_squared_displacement

_LONG = {"n_ions": 72, "duration_ps": 200.0, "frame_interval_ps": 0.1}
_SHORT = {"n_ions": 9, "duration_ps": 5.0, "frame_interval_ps": 0.02}


def _brownian(seed):
    truth = 0.05
    return brownian_walkers(
        n_ions=72, n_frames=2001, frame_interval_ps=0.1, diffusivity_A2_per_ps=truth, seed=seed
    ), truth


# D* over that of ions without memory, from forty runs of 20 to 40 ns (± 0.002); D_σ is exact, since exclusion cancels
# from the collective motion (Kutner, Phys. Lett. A 81, 239 (1981)). Sites along x, y, z, rate along z in 1/ps, ratio
# across.
GASES = {
    "exclusion, 10 hops an ion": ((6, 6, 4), 0.1 / 6.0, 1.0, 0.851),
    "exclusion, 50 hops an ion": ((6, 6, 4), 0.5 / 6.0, 1.0, 0.849),
    "channels, crossing 2 %": ((3, 3, 16), 0.25, 0.02, 0.331),
    "channels, crossing 10 %": ((3, 3, 16), 0.25, 0.1, 0.591),
}


def _gas(seed, name):
    """Make a half-filled lattice; give the truth of D* and of D_σ."""
    sites, rate, across, correlation = GASES[name]
    path = lattice_gas(
        sites=sites, concentration=0.5, duration_ps=200.0, frame_interval_ps=0.1, attempts_per_ps=rate, across=across,
        seed=seed,
    )  # fmt: skip
    n_ions, n_sites = path.shape[1], np.prod(sites)
    charge = rate * 9.0 * (1 - (n_ions - 1) / (n_sites - 1)) * (1.0 + 2.0 * across) / 3.0
    return path, (correlation * charge, charge)


def _exchange(seed, memory_ps):
    return exchanging_walkers(**_LONG, fast_per_ps=0.1, slow_per_ps=0.005, memory_ps=memory_ps, seed=seed)


def _strings(seed, size):
    walk = {"duration_ps": 200.0, "frame_interval_ps": 0.1, "hops_per_ion": 700 / 72}
    positions, truth = strings(size=size, n_ions=72, seed=seed, **walk)
    return positions, (truth, size * truth)


def _cages(hops, per_ps):
    return lambda s: hopping_walkers(**_LONG, hops_per_ion=hops / 72, cage_hops_per_ps=per_ps, seed=s)


REGIMES = {
    "free, 700 hops": (lambda s: hopping_walkers(**_LONG, hops_per_ion=700 / 72, seed=s), 0.1),
    "free, 90 hops": (lambda s: hopping_walkers(**_LONG, hops_per_ion=90 / 72, seed=s), 0.1),
    "free, 8 hops": (lambda s: hopping_walkers(**_LONG, hops_per_ion=8 / 72, seed=s), 0.1),
    "50 % frozen, 700 hops": (
        lambda s: hopping_walkers(**_LONG, hops_per_ion=700 / 72, frozen_fraction=0.5, seed=s),
        0.1,
    ),
    "caged 1/ps, 700 hops": (_cages(700, 1.0), 0.1),
    "caged 1/ps, 90 hops": (_cages(90, 1.0), 0.1),
    "caged 0.12/ps, 700 hops": (_cages(700, 0.12), 0.1),
    "caged 0.12/ps, 200 hops": (_cages(200, 0.12), 0.1),
    "caged 0.12/ps, 90 hops": (_cages(90, 0.12), 0.1),
    "caged 0.03/ps, 200 hops": (_cages(200, 0.03), 0.1),
    "closed cages 0.12/ps": (_cages(0, 0.12), 0.1),
    "closed cages 0.03/ps": (_cages(0, 0.03), 0.1),
    "Brownian": (_brownian, 0.1),
    **{name: (lambda s, n=name: _gas(s, n), 0.1) for name in GASES},
    "exchange, 100 ps": (lambda s: _exchange(s, 100.0), 0.1),
    "exchange, 30 ps": (lambda s: _exchange(s, 30.0), 0.1),
    "strings of two": (lambda s: _strings(s, 2), 0.1),
    "strings of three": (lambda s: _strings(s, 3), 0.1),
    "5 ps, 9 ions, 10 hops": (lambda s: hopping_walkers(**_SHORT, hops_per_ion=10 / 9, seed=s), 0.02),
    "5 ps, 9 ions, 3 hops": (lambda s: hopping_walkers(**_SHORT, hops_per_ion=3 / 9, seed=s), 0.02),
    "5 ps, 9 ions, 0.5 hops": (lambda s: hopping_walkers(**_SHORT, hops_per_ion=0.5 / 9, seed=s), 0.02),
}


def coverage(seeds, first_seed, names):
    header = (
        f"{'regime':26s} {'of':8s} {'bias':>7s} {'scatter':>8s} {'stated':>7s} {'in 68 %':>8s} {'in 95 %':>8s} "
        f"{'bounds':>7s} {'hold':>5s} {'no answer':>9s} {'ms':>6s}"
    )
    print(header)
    for name in names:
        make, dt = REGIMES[name]
        rows = {"D*": [], "D_σ": [], "H": [], "He 2018": []}
        spent = 0.0
        for seed in range(first_seed, first_seed + seeds):
            positions, truth = make(seed)
            truth, of_charge = truth if isinstance(truth, tuple) else (truth, truth)
            start = time.process_time()
            tracer = tracer_diffusivity(positions, dt)
            charge = charge_diffusivity(positions, dt, 1.0, tracer)
            spent += time.process_time() - start
            ratio = (("H", haven_ratio(tracer, charge), truth / of_charge),) if truth > 0.0 else ()
            for label, estimate, true in (
                ("D*", tracer.A2_per_ps, truth),
                ("D_σ", charge.A2_per_ps, of_charge),
                *ratio,
            ):
                inside = [low <= true <= high for low, high in (estimate.interval68, estimate.interval95)]
                unit = true or 1.0
                rows[label].append((estimate.value / unit, estimate.error / unit, *inside, estimate.is_upper_bound))
            if tracer.he2018 is not None and truth > 0.0:
                value, error = tracer.he2018.value_A2_per_ps / truth, tracer.he2018.error_A2_per_ps / truth
                rows["He 2018"].append((value, error, abs(value - 1) <= error, abs(value - 1) <= 1.96 * error, False))
        for label, found in rows.items():
            if label in {"H", "He 2018"} and truth == 0.0:
                continue
            table = np.array([row for row in found if np.isfinite(row[0])], dtype=float).reshape(-1, 5)
            missing = seeds - len(table)
            bound = table[:, 4] > 0.0
            free = table[~bound]
            line = f"{name:26s} {label:8s} "
            if len(free) > 1:
                # H has no mean (its denominator may vanish): the median stands for it, and half the central 68 %
                of_ratio = label == "H"
                middle = np.median(free[:, 0]) if of_ratio else free[:, 0].mean()
                spread = np.diff(np.quantile(free[:, 0], [0.16, 0.84]))[0] / 2 if of_ratio else free[:, 0].std(ddof=1)
                line += (
                    f"{middle - 1:+7.3f} {spread:8.3f} {np.median(free[:, 1]):7.3f} {free[:, 2].mean():8.2f} "
                    f"{free[:, 3].mean():8.2f} "
                )
            else:
                line += " " * 43
            holds = f"{table[bound, 3].mean():5.2f}" if bound.any() else " " * 5
            timing = f"{1000 * spent / seeds:6.1f}" if label == "D*" else ""
            print(f"{line}{int(bound.sum()):7d} {holds} {missing:9d} {timing}", flush=True)


def double_loop(positions):
    n = len(positions)
    return np.array([0.0, *(np.square(positions[lag:] - positions[:-lag]).sum(axis=2).mean() for lag in range(1, n))])


def speed(n_frames, n_ions):
    positions = brownian_walkers(
        n_ions=n_ions, n_frames=n_frames, frame_interval_ps=0.1, diffusivity_A2_per_ps=0.05, seed=0
    )
    timings = []
    for function in (lambda: mean_squared_displacement(positions, 0.1).msd_A2, lambda: double_loop(positions)):
        start = time.perf_counter()
        result = function()
        timings.append((time.perf_counter() - start, result))
    (ours, first), (peer, second) = timings
    np.testing.assert_allclose(first, second, rtol=1e-8, atol=1e-9)
    print(
        f"\nMSD of {n_frames} frames × {n_ions} ions, all lags, all origins: ours (with the 3×3 tensor) {ours:.3f} s, "
        f"numpy {np.__version__} double loop {peer:.3f} s, ratio {peer / ours:.0f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=10_000)
    parser.add_argument("--regime", action="append", choices=sorted(REGIMES))
    parser.add_argument("--frames", type=int, default=4000, help="frames of the timing")
    parser.add_argument("--ions", type=int, default=72, help="ions of the timing")
    arguments = parser.parse_args()
    coverage(arguments.seeds, arguments.first_seed, arguments.regime or list(REGIMES))
    speed(arguments.frames, arguments.ions)


if __name__ == "__main__":
    main()
