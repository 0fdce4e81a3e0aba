"""How right the stated errors of transport are, and how fast the mean squared displacement is.

    PYTHONPATH=src python benchmarks/transport.py --seeds 100

Prints, for walkers whose D*, D_σ and Haven ratio are known, the bias and scatter of our estimate, how often its
intervals hold the truth, and the same of the literature's fit (a straight line through the MSD with the bound of He
2018); then the time of our MSD against the plain double loop over lags and origins in numpy, on the same input.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from walkers import brownian_walkers, hopping_walkers, lattice_gas

from superionic.transport.diffusivity import charge_diffusivity, haven_ratio, tracer_diffusivity
from superionic.transport.msd import mean_squared_displacement

_LONG = {"n_ions": 72, "duration_ps": 200.0, "frame_interval_ps": 0.1}
_SHORT = {"n_ions": 9, "duration_ps": 5.0, "frame_interval_ps": 0.02}


def _brownian(seed):
    truth = 0.05
    return brownian_walkers(
        n_ions=72, n_frames=2001, frame_interval_ps=0.1, diffusivity_A2_per_ps=truth, seed=seed
    ), truth


# D* of a half-filled simple cubic lattice over that of ions without memory, from runs a hundred times as long (edges of
# 5 and 6 sites; ± 0.002); D_σ is exact, since exclusion cancels from the collective motion (Kutner, Phys. Lett. A 81,
# 239 (1981)).
LATTICE_CORRELATION = {5: 0.850, 6: 0.845}


def _exclusion(seed, edge, attempts_per_ps):
    """Make a half-filled cubic lattice; give the truth of D* and of D_σ."""
    path = lattice_gas(
        sites_per_edge=edge,
        concentration=0.5,
        duration_ps=200.0,
        frame_interval_ps=0.1,
        attempts_per_ps=attempts_per_ps,
        seed=seed,
    )
    n_ions, n_sites = path.shape[1], edge**3
    charge = attempts_per_ps * (1 - (n_ions - 1) / (n_sites - 1)) * 9.0 / 6.0
    return path, (LATTICE_CORRELATION[edge] * charge, charge)


REGIMES = {
    "free, 700 hops": (lambda s: hopping_walkers(**_LONG, hops_per_ion=700 / 72, seed=s), 0.1),
    "free, 90 hops": (lambda s: hopping_walkers(**_LONG, hops_per_ion=90 / 72, seed=s), 0.1),
    "free, 8 hops": (lambda s: hopping_walkers(**_LONG, hops_per_ion=8 / 72, seed=s), 0.1),
    "50 % frozen, 700 hops": (
        lambda s: hopping_walkers(**_LONG, hops_per_ion=700 / 72, frozen_fraction=0.5, seed=s),
        0.1,
    ),
    "caged 1/ps, 700 hops": (
        lambda s: hopping_walkers(**_LONG, hops_per_ion=700 / 72, cage_hops_per_ps=1.0, seed=s),
        0.1,
    ),
    "caged 1/ps, 90 hops": (
        lambda s: hopping_walkers(**_LONG, hops_per_ion=90 / 72, cage_hops_per_ps=1.0, seed=s),
        0.1,
    ),
    "Brownian": (_brownian, 0.1),
    "exclusion, 10 hops an ion": (lambda s: _exclusion(s, 5, 0.1), 0.1),
    "exclusion, 50 hops an ion": (lambda s: _exclusion(s, 6, 0.5), 0.1),
    "5 ps, 9 ions, 10 hops": (lambda s: hopping_walkers(**_SHORT, hops_per_ion=10 / 9, seed=s), 0.02),
    "5 ps, 9 ions, 3 hops": (lambda s: hopping_walkers(**_SHORT, hops_per_ion=3 / 9, seed=s), 0.02),
    "5 ps, 9 ions, 0.5 hops": (lambda s: hopping_walkers(**_SHORT, hops_per_ion=0.5 / 9, seed=s), 0.02),
}


def coverage(seeds, first_seed, names):
    header = (
        f"{'regime':24s} {'of':10s} {'bias':>7s} {'scatter':>8s} {'stated':>7s} {'in 68 %':>8s} {'in 95 %':>8s} "
        f"{'no answer':>9s} {'ms':>6s}"
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
            haven = haven_ratio(tracer, charge)
            spent += time.process_time() - start
            for label, estimate, true in (
                ("D*", tracer.A2_per_ps, truth),
                ("D_σ", charge.A2_per_ps, of_charge),
                ("H", haven, truth / of_charge),
            ):
                inside = [low <= true <= high for low, high in (estimate.interval68, estimate.interval95)]
                rows[label].append((estimate.value / true, estimate.error / true, *inside))
            if tracer.he2018 is not None:
                value, error = tracer.he2018.value_A2_per_ps / truth, tracer.he2018.error_A2_per_ps / truth
                rows["He 2018"].append((value, error, abs(value - 1) <= error, abs(value - 1) <= 1.96 * error))
        for label, found in rows.items():
            table = np.array([row for row in found if np.isfinite(row[0])], dtype=float)
            missing = seeds - len(table)
            if len(table) == 0:
                print(f"{name:24s} {label:10s} {'':>42s} {missing:9d}")
                continue
            # H has no mean (its denominator may vanish): the median stands for it, and half the central 68 %
            middle = np.median(table[:, 0]) if label == "H" else table[:, 0].mean()
            scatter = (
                np.diff(np.quantile(table[:, 0], [0.16, 0.84]))[0] / 2 if label == "H" else table[:, 0].std(ddof=1)
            )
            stated = np.median(table[:, 1])
            covered = np.mean([row[2:] for row in found], axis=0)
            timing = f"{1000 * spent / seeds:6.1f}" if label == "D*" else ""
            print(
                f"{name:24s} {label:10s} {middle - 1:+7.3f} {scatter:8.3f} {stated:7.3f} {covered[0]:8.2f} "
                f"{covered[1]:8.2f} {missing:9d} {timing}"
            )


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
