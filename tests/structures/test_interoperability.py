from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import CompositionError, StructureError
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.structures.crystal.supercells import Supercell, supercell_sites
from superionic.structures.io.interoperability import crystal_to_pymatgen, from_pymatgen, to_icet, to_pymatgen
from superionic.structures.orderings.ordering import Ordering, to_atoms

CHARGES = {"Li": 1, "Y": 3, "Cl": -1}


@pytest.fixture(scope="module")
def decorated(lyc):
    """A supercell of Li3YCl6 with every other partly occupied site vacant."""
    sites = supercell_sites(lyc, Supercell.diagonal(1, 1, 2))
    species = []
    for index, parent in enumerate(sites.parent_site):
        site = lyc.sites[parent]
        species.append("X" if site.vacancy > 0 and index % 2 else next(iter(site.species)))
    return sites, Ordering(tuple(species), 24)


def test_an_ordering_as_a_structure_of_pymatgen(lyc, decorated):
    sites, ordering = decorated
    structure = to_pymatgen(sites, ordering)
    occupied = [i for i, s in enumerate(ordering.species) if s != "X"]
    assert len(structure) == len(occupied) < sites.n_sites
    assert [s.specie.symbol for s in structure] == [ordering.species[i] for i in occupied]
    assert structure.site_properties["supercell_site"] == occupied
    assert structure.site_properties["parent_site"] == [int(sites.parent_site[i]) for i in occupied]
    for site in structure:
        assert site.specie.symbol in lyc.sites[site.properties["parent_site"]].species
    assert structure.properties["degeneracy"] == 24
    assert np.array_equal(structure.lattice.matrix, sites.cell_A)
    atoms = to_atoms(sites, ordering)
    assert sorted(atoms.get_chemical_symbols()) == sorted(s.specie.symbol for s in structure)


def test_charges_are_carried(decorated):
    sites, ordering = decorated
    structure = to_pymatgen(sites, ordering, oxidation_states=CHARGES)
    assert {str(s.specie) for s in structure} == {"Li+", "Y3+", "Cl-"}
    with pytest.raises(CompositionError, match="Cl"):
        to_pymatgen(sites, ordering, oxidation_states={"Li": 1, "Y": 3})


def test_an_ordering_of_another_supercell_is_refused(lyc, decorated):
    with pytest.raises(CompositionError, match="sites"):
        to_pymatgen(supercell_sites(lyc, Supercell.diagonal(1, 1, 1)), decorated[1])


def test_a_crystal_goes_there_and_back(lyc):
    structure = crystal_to_pymatgen(lyc, oxidation_states=CHARGES)
    assert structure.composition.element_composition.as_dict() == pytest.approx(lyc.composition)
    again = from_pymatgen(structure, name=lyc.name)
    assert again.name == lyc.name
    assert again.spacegroup_number == lyc.spacegroup_number
    assert [s.label for s in again.sites] == [s.label for s in lyc.sites]
    assert [dict(s.species) for s in again.sites] == [dict(s.species) for s in lyc.sites]
    assert np.allclose(again.fractional, lyc.fractional, atol=1e-12)
    assert from_pymatgen(structure).name == structure.composition.reduced_formula


def test_dummies_of_pymatgen_are_vacancies_and_bad_structures_are_refused():
    from pymatgen.core import Lattice, Structure

    half = Structure(Lattice.cubic(4.0), [{"Li": 0.5, "X0+": 0.5}, {"D+": 1.0}], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert from_pymatgen(half).composition == {"Li": 0.5, "H": 1.0}
    close = Structure(Lattice.cubic(4.0), ["Li", "Cl"], [[0, 0, 0], [0.01, 0, 0]])
    with pytest.raises(StructureError, match="apart"):
        from_pymatgen(close)


def test_icet_takes_the_primitive_parent_and_the_allowed_species():
    cell = 5.0 * np.eye(3)
    x = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0.5]])
    mixed, full = {"Li": 0.5, "Na": 0.25}, {"Cl": 1.0}
    crystal = crystal_from_sites("bcc", cell, x, [mixed, mixed, full, full])
    parent, allowed = to_icet(crystal)
    assert sorted(allowed) == [["Cl"], ["Na", "Li", "X"]]
    assert parent.get_volume() == pytest.approx(125.0 / 2)
    assert parent.pbc.all()
    assert parent.get_chemical_symbols() == [species[0] for species in allowed]
    whole, allowed = to_icet(crystal, primitive=False)
    assert len(whole) == len(allowed) == 4
