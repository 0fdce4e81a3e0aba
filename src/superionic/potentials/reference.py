"""Stored structures on which potentials are proved and compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms


def li3ycl6_cell() -> Atoms:
    """Return an ordered Li9Y3Cl18 cell (30 atoms) of trigonal Li3YCl6, slightly displaced so that no force vanishes.

    Geometry: the trigonal (P-3m1) form of Li3YCl6 of Asano et al., Adv. Mater. 30, 1803075 (2018), rounded to 0.001,
    with yttrium on (0, 0, 0) and on both (1/3, 2/3, 0.487) positions, lithium on the six positions of z = 1/2 and on
    three of the six of z = 0. The displacements are a fixed sine pattern of 0.05 Å amplitude.
    """
    x_li1, x_li2 = 0.326, 0.326
    fractional: list[tuple[float, float, float]] = []
    symbols: list[str] = []

    def add(symbol: str, *positions: tuple[float, float, float]) -> None:
        fractional.extend(positions)
        symbols.extend([symbol] * len(positions))

    add("Li", *_on_axis(x_li1, 0.5), *_on_axis(x_li2, 0.0)[:3])
    add("Y", (0.0, 0.0, 0.0), (1 / 3, 2 / 3, 0.487), (2 / 3, 1 / 3, 0.513))
    for x, z in ((0.108, 0.777), (0.563, 0.249), (0.210, 0.278)):
        add("Cl", *_on_mirror(x, z))
    cell = np.array([[11.20, 0.0, 0.0], [-5.60, 11.20 * np.sqrt(0.75), 0.0], [0.0, 0.0, 6.03]])
    atoms = Atoms(symbols, scaled_positions=np.array(fractional), cell=cell, pbc=True)
    phase = np.arange(3 * len(atoms), dtype=np.float64).reshape(-1, 3)
    atoms.positions += 0.05 * np.sin(1.0 + 2.3 * phase)
    return atoms


def cell_of(elements: Sequence[str]) -> Atoms:
    """Return the cell of :func:`li3ycl6_cell`, or one like it of other elements where Li, Y or Cl is not covered.

    Lithium becomes the lightest element, chlorine the heaviest and yttrium one between, and lengths scale with
    the covalent radii: a structure with sensible distances for checks that hold for any potential, not a compound.
    """
    atoms = li3ycl6_cell()
    if {"Li", "Y", "Cl"} <= set(elements):
        return atoms
    from ase.data import atomic_numbers, covalent_radii

    numbers = sorted(atomic_numbers[symbol] for symbol in elements)
    stands_for = {3: numbers[0], 39: numbers[len(numbers) // 2], 17: numbers[-1]}
    weights = {3: 1.0, 39: 1.0, 17: 2.0}
    before = sum(weight * covalent_radii[number] for number, weight in weights.items())
    after = sum(weight * covalent_radii[stands_for[number]] for number, weight in weights.items())
    atoms.numbers = np.array([stands_for[number] for number in atoms.numbers])
    atoms.set_cell(atoms.cell.array * (after / before), scale_atoms=True)
    return atoms


def _on_axis(x: float, z: float) -> list[tuple[float, float, float]]:
    """Return the positions (x, 0, z) under the operations of P-3m1 for z = 0 or 1/2."""
    return [(x, 0.0, z), (0.0, x, z), (-x, -x, z), (-x, 0.0, -z), (0.0, -x, -z), (x, x, -z)]


def _on_mirror(x: float, z: float) -> list[tuple[float, float, float]]:
    """Return the positions (x, 2x, z) under the operations of P-3m1."""
    return [(x, 2 * x, z), (-2 * x, -x, z), (x, -x, z), (-x, -2 * x, -z), (2 * x, x, -z), (-x, x, -z)]
