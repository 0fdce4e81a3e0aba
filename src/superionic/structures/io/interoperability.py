"""Crystals and orderings as objects of pymatgen, ASE and icet, and pymatgen's structures as crystals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from superionic.chemistry import VACANCY, sort_species
from superionic.errors import CompositionError
from superionic.structures.crystal.disordered import DisorderedCrystal, check_occupancies, crystal_from_sites
from superionic.structures.crystal.supercells import SupercellSites
from superionic.structures.orderings.ordering import Ordering


def to_pymatgen(
    sites: SupercellSites, ordering: Ordering, *, oxidation_states: Mapping[str, float] | None = None
) -> Any:
    """Turn an ordering into a structure of pymatgen.

    Parameters
    ----------
    oxidation_states
        Charges in e, which the species then carry.

    Returns
    -------
    pymatgen.core.Structure
        The occupied sites in the order of the supercell; vacant ones are left out. The site property ``parent_site``
        is the index of the site in the parent crystal, ``supercell_site`` that in the supercell;
        ``properties["degeneracy"]`` is the degeneracy.

    Raises
    ------
    CompositionError
        If the ordering is of another supercell, or a charge is missing.
    """
    from pymatgen.core import Structure

    if len(ordering.species) != sites.n_sites:
        raise CompositionError(
            f"The ordering has {len(ordering.species)} sites, the supercell {sites.n_sites}.",
            fix="Use the ordering with the supercell that it was made for.",
        )
    occupied = [i for i, s in enumerate(ordering.species) if s != VACANCY]
    structure = Structure(
        np.array(sites.cell_A),
        [_charged(ordering.species[i], oxidation_states) for i in occupied],
        np.array(sites.fractional)[occupied],
        site_properties={
            "parent_site": [int(sites.parent_site[i]) for i in occupied],
            "supercell_site": occupied,
        },
    )
    structure.properties["degeneracy"] = ordering.degeneracy
    return structure


def crystal_to_pymatgen(crystal: DisorderedCrystal, *, oxidation_states: Mapping[str, float] | None = None) -> Any:
    """Turn a crystal into a structure of pymatgen with its partial occupancies, site by site.

    Parameters
    ----------
    oxidation_states
        Charges in e, which the species then carry.

    Returns
    -------
    pymatgen.core.Structure
        Its sites carry the labels of the crystal and the site property ``sublattice``.

    Raises
    ------
    CompositionError
        If a charge is missing.
    """
    from pymatgen.core import Structure

    return Structure(
        np.array(crystal.cell_A),
        [{_charged(s, oxidation_states): v for s, v in site.species.items()} for site in crystal.sites],
        np.array(crystal.fractional),
        labels=[site.label for site in crystal.sites],
        site_properties={"sublattice": [crystal.sublattices[site.orbit].name for site in crystal.sites]},
    )


def from_pymatgen(structure: Any, *, name: str | None = None, symprec: float = 0.01) -> DisorderedCrystal:
    """Turn a structure of pymatgen, ordered or not, into a crystal; charges of its species are dropped.

    Parameters
    ----------
    structure
        ``pymatgen.core.Structure``. Deuterium counts as hydrogen; dummy species count as vacancies.
    name
        Name of the crystal; its formula where not given.
    symprec
        Distance tolerance in Å for finding the symmetry.

    Raises
    ------
    StructureError
        If the structure is impossible: no sites, no volume, occupancies out of range, full sites on top of each other.
    """
    from pymatgen.core import DummySpecies

    title = str(structure.composition.reduced_formula) if name is None else name
    occupancies: list[dict[str, float]] = []
    for site in structure:
        amounts: dict[str, float] = {}
        for species, amount in site.species.items():
            symbol = {"D": "H", "T": "H"}.get(str(species.symbol), str(species.symbol))
            if not isinstance(species, DummySpecies):
                amounts[symbol] = amounts.get(symbol, 0.0) + float(amount)
        check_occupancies(amounts, f"{title}, site {site.label}")
        occupancies.append({s: v for s, v in amounts.items() if v > 1e-6})
    filled = [i for i, o in enumerate(occupancies) if o]
    return crystal_from_sites(
        title,
        np.array(structure.lattice.matrix, dtype=np.float64),
        np.array(structure.frac_coords, dtype=np.float64).reshape(-1, 3)[filled],
        [occupancies[i] for i in filled],
        labels=[str(structure[i].label) for i in filled],
        symprec=symprec,
    )


def to_icet(crystal: DisorderedCrystal, *, primitive: bool = True) -> tuple[Any, list[list[str]]]:
    """Turn a crystal into the parent and the allowed species that icet's cluster spaces and enumerators take.

    Use them as ``ClusterSpace(atoms, cutoffs, chemical_symbols=allowed)`` or
    ``enumerate_structures(atoms, sizes, allowed)`` of icet 3. A vacancy is ``"X"``, as there.

    Parameters
    ----------
    crystal
        The crystal. Its occupancies are dropped: icet sets concentrations itself.
    primitive
        Whether to reduce the crystal to its primitive cell first, as icet requires.

    Returns
    -------
    parent : ase.Atoms
        Every site, with the first of its species.
    allowed : list of list of str
        The species allowed on each site, the vacancy last.
    """
    from ase import Atoms

    parent = crystal.primitive() if primitive else crystal
    allowed = [[*sort_species(site.species), *([VACANCY] if site.vacancy > 0.0 else [])] for site in parent.sites]
    atoms = Atoms(
        symbols=[species[0] for species in allowed],
        scaled_positions=parent.fractional,
        cell=parent.cell_A,
        pbc=True,
    )
    return atoms, allowed


def _charged(symbol: str, oxidation_states: Mapping[str, float] | None) -> Any:
    from pymatgen.core import Element, Species

    if oxidation_states is None:
        return Element(symbol)
    if symbol not in oxidation_states:
        raise CompositionError(
            f"The oxidation state of {symbol} is not given.",
            fix=f"Give a charge for {symbol} as well, or none at all.",
        )
    return Species(symbol, float(oxidation_states[symbol]))
