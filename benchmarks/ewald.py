"""Point-charge energies of orderings: one matrix per supercell against one Ewald summation per structure.

Both run in this process, on the same orderings, one after the other. Prints the time per structure, the ratio, and the
largest relative difference of the energies.

    python benchmarks/ewald.py [--cif FILE] [--supercell 1x1x2] [--orderings 2000] [--peer 10]
"""

from __future__ import annotations

import argparse
import os
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from superionic.structures.crystal.composition import integer_compositions
from superionic.structures.crystal.oxidation import guess_oxidation_states
from superionic.structures.crystal.supercells import supercell_sites
from superionic.structures.io.files import read_crystal
from superionic.structures.orderings.electrostatics import ewald_matrix, table_energies
from superionic.structures.orderings.ordering import OrderingTable, to_atoms
from superionic.structures.orderings.sampling import sample_raw
from superionic.structures.orderings.space import ordering_space

DEMO = Path(__file__).parents[1] / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cif", type=Path, default=DEMO)
    parser.add_argument("--supercell", default="1x1x2")
    parser.add_argument("--orderings", type=int, default=2000, help="how many orderings we rank")
    parser.add_argument("--peer", type=int, default=10, help="how many of them pymatgen computes")
    options = parser.parse_args()

    from pymatgen.analysis.ewald import EwaldSummation
    from pymatgen.core import Structure

    crystal = read_crystal(options.cif)
    charges = guess_oxidation_states(crystal)
    sites = supercell_sites(crystal, options.supercell)
    composition = integer_compositions(crystal, options.supercell, charges)[0]
    space = ordering_space(sites, composition)
    drawn = sample_raw(space, options.orderings, np.random.default_rng(0))
    table = OrderingTable.of(space, drawn.decorations, drawn.degeneracies)

    start = time.perf_counter()
    matrix = ewald_matrix(sites.cell_A, sites.fractional)
    built = time.perf_counter() - start
    start = time.perf_counter()
    energies = table_energies(matrix, table, charges)
    ours = time.perf_counter() - start

    theirs, worst = 0.0, 0.0
    compared = min(options.peer, len(table))
    for index in range(compared):
        atoms = to_atoms(sites, table[index])
        structure = Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions())
        structure.add_oxidation_state_by_element(charges)
        start = time.perf_counter()
        energy = EwaldSummation(structure).total_energy
        theirs += time.perf_counter() - start
        worst = max(worst, abs(energy / energies[index] - 1.0))

    each_ours, each_theirs = ours / len(table), theirs / compared
    with_matrix = (built + ours) / len(table)
    print(f"{crystal.formula} {options.supercell}: {sites.n_sites} sites, {len(table)} orderings")
    print(f"{'':34}{'s / structure':>16}{'ratio':>12}")
    print(f"{'pymatgen ' + version('pymatgen') + ' EwaldSummation':34}{each_theirs:16.3e}{1:12.0f}")
    print(f"{'superionic, matrix included':34}{with_matrix:16.3e}{each_theirs / with_matrix:12.0f}")
    print(f"{'superionic, matrix at hand':34}{each_ours:16.3e}{each_theirs / each_ours:12.0f}")
    print(f"matrix: {built:.3f} s once; largest relative difference of {compared} energies: {worst:.1e}")


if __name__ == "__main__":
    main()
