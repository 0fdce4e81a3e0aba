"""Structures of other chemistries, for testing what a fine-tuned potential has forgotten.

Simple crystals at their measured lattice constants (Wyckoff, Crystal Structures, 1963), each displaced and strained at
random twice. The reference is the pretrained potential's own prediction: its error there is unknown, but any change by
training is one that no label supports.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from ase import Atoms

_CRYSTALS: Final = (
    ("NaCl", "rocksalt", 5.64),
    ("MgO", "rocksalt", 4.21),
    ("LiF", "rocksalt", 4.03),
    ("KBr", "rocksalt", 6.60),
    ("CaO", "rocksalt", 4.81),
    ("CsCl", "cesiumchloride", 4.12),
    ("ZnS", "zincblende", 5.41),
    ("GaAs", "zincblende", 5.65),
    ("SiC", "zincblende", 4.36),
    ("CaF2", "fluorite", 5.46),
    ("Si", "diamond", 5.43),
    ("Al", "fcc", 4.05),
    ("Cu", "fcc", 3.61),
    ("Fe", "bcc", 2.87),
)
_DISPLACEMENT_A: Final = 0.08
_STRAIN: Final = 0.02
_EACH: Final = 2


def other_chemistries(seed: int, elements: Sequence[str] = ()) -> list[Atoms]:
    """Return the structures, in a fixed order.

    Parameters
    ----------
    seed
        Seed of displacements and strains.
    elements
        Elements to cover; crystals with others are left out. Empty: all elements.

    Returns
    -------
    list of ase.Atoms
        Cells of 8 to 12 atoms, two of each crystal.
    """
    from ase.build import bulk

    structures = []
    for number, (formula, kind, lattice_A) in enumerate(_CRYSTALS):
        rng = np.random.default_rng([seed, number])
        cell = bulk(formula, kind, a=lattice_A)
        cell = cell.repeat((2, 2, 2) if len(cell) < 3 else (2, 2, 1))
        for _ in range(_EACH):
            atoms = cell.copy()
            strain = rng.uniform(-_STRAIN, _STRAIN, (3, 3))
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
            atoms.positions += rng.normal(0.0, _DISPLACEMENT_A, atoms.positions.shape)
            if not elements or set(atoms.get_chemical_symbols()) <= set(elements):
                structures.append(atoms)
    return structures
