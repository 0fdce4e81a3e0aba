"""Monte Carlo of PO4/SiO4 and Na/vacancy order in NaSICON by the Ewald model, on a large cell.

Prints the attempted swaps per second on one core, the autocorrelation time, and nearest-neighbour order against
temperature. Paper A samples the PO4/SiO4 disorder of Na3Zr2Si2PO12 on a 4 × 4 × 4 cell; so does this. Bare point
charges in vacuum overestimate the scale of the energies by the dielectric constant: ``--dielectric`` divides by it.

    python benchmarks/montecarlo.py CIF [--size 4x4x4] [--sweeps 1000] [--low 300] [--high 3000] [--dielectric 10]
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from superionic.structures.crystal.composition import integer_compositions
from superionic.structures.crystal.oxidation import guess_oxidation_states
from superionic.structures.crystal.supercells import supercell_sites
from superionic.structures.io.files import read_crystal
from superionic.structures.orderings.electrostatics import ewald_matrix
from superionic.structures.orderings.space import ordering_space
from superionic.thermodynamics.lattice_mc.lattice import EwaldEnergy, SwapSpace
from superionic.thermodynamics.lattice_mc.order_parameters import pair_shells
from superionic.thermodynamics.lattice_mc.sampling import TemperatureLadder, run_monte_carlo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cif", type=Path)
    parser.add_argument("--size", default="4x4x4", help="supercell of the primitive cell")
    parser.add_argument("--sweeps", type=int, default=1000)
    parser.add_argument("--low", type=float, default=300.0)
    parser.add_argument("--high", type=float, default=3000.0)
    parser.add_argument("--dielectric", type=float, default=10.0)
    parser.add_argument("--max-replicas", type=int, default=48)
    parser.add_argument("--cutoff", type=float, default=5.0, help="of the order parameters, in Å")
    options = parser.parse_args()

    crystal = read_crystal(options.cif).primitive()
    charges = dict(guess_oxidation_states(crystal)) | {"X": 0}
    sites = supercell_sites(crystal, options.size)
    composition = integer_compositions(crystal, options.size, charges, coupling="coupled")[0]
    listed = ordering_space(sites, composition)
    start = time.perf_counter()
    matrix = ewald_matrix(sites.cell_A, sites.fractional)
    print(f"{sites.n_sites} sites, {listed.n_free} free; Ewald matrix {time.perf_counter() - start:.1f} s")
    for block in listed.blocks:
        print(f"  {block.name}: {', '.join(f'{s} {n}' for s, n in zip(block.species, block.counts, strict=True))}")
    fixed = np.zeros(sites.n_sites)
    for group, counts in zip(composition.groups, composition.counts, strict=True):
        fixed[list(group)] = charges[next(iter(counts))]
    energy = EwaldEnergy.from_sites(
        matrix / options.dielectric,
        listed.members,
        listed.block_of,
        [[charges[s] for s in b.species] for b in listed.blocks],
        fixed,
    )
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.permutation(np.repeat(np.arange(len(b.counts)), b.counts)) for b in listed.blocks])
    vacancies = tuple(b.species.index("X") if "X" in b.species else None for b in listed.blocks)
    space = SwapSpace(listed.block_of, codes, vacancies)
    shells = pair_shells(sites.cell_A, sites.fractional[listed.members], listed.block_of, options.cutoff)

    run_monte_carlo(space, replace(energy, constant=0.0), temperature_K=1000.0, n_sweeps=1)  # compiles
    start = time.perf_counter()
    first = run_monte_carlo(
        space,
        energy,
        ladder=TemperatureLadder(options.low, options.high, max_replicas=options.max_replicas),
        n_sweeps=1,
        record_every=5,
    )
    print(f"ladder of {len(first.temperatures_K)} temperatures spaced in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    run = run_monte_carlo(space, energy, n_sweeps=options.sweeps, state=first.state, shells=shells)
    seconds = time.perf_counter() - start
    attempts = options.sweeps * len(run.temperatures_K) * listed.n_free
    print(f"{attempts:,} attempted swaps in {seconds:.1f} s, averages included: {attempts / seconds:,.0f} a second")
    print(f"discarded {run.n_discarded} of {run.n_sweeps} sweeps; {run.round_trips} round trips")
    for flag in run.flags:
        print(f"  flag: {flag}")
    assert run.order is not None
    names = []
    for p in run.order.parameters:
        a, b = listed.blocks[p.block_a].species[p.code_a], listed.blocks[p.block_b].species[p.code_b]
        names.append(f"{a}-{b} {p.distance_A:.2f}")
    print("T/K    accepted  exchange  tau/sweeps  samples  " + "  ".join(names))
    exchange = [*run.exchange, float("nan")]
    for k, temperature in enumerate(run.temperatures_K):
        alphas = "  ".join(f"{v:+.3f}±{e:.3f}" for v, e in zip(run.order.values[k], run.order.errors[k], strict=True))
        print(
            f"{temperature:6.0f} {run.acceptance[k]:8.3f} {exchange[k]:9.2f} {run.autocorrelation_sweeps[k]:10.1f} "
            f"{len(run.samples[k]):8d}   {alphas}"
        )


if __name__ == "__main__":
    main()
