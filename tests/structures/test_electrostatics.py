from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import CompositionError
from superionic.structures.crystal.composition import integer_compositions, substitute
from superionic.structures.crystal.supercells import supercell_sites
from superionic.structures.orderings.electrostatics import (
    charges_of,
    erfc_of_few,
    ewald_energies,
    ewald_matrix,
    lowest,
    supercell_ewald_matrix,
    table_energies,
)
from superionic.structures.orderings.ordering import list_ordering_table, to_atoms
from superionic.structures.orderings.space import ordering_space


@pytest.fixture(scope="module")
def listed(lyc, charges):
    sites = supercell_sites(lyc, "1x1x1")
    table = list_ordering_table(ordering_space(sites, integer_compositions(lyc, "1x1x1", charges)[0]))
    matrix = ewald_matrix(sites.cell_A, sites.fractional)
    return sites, table, matrix, table_energies(matrix, table, charges)


def test_energies_equal_pymatgens(listed, charges):
    from pymatgen.analysis.ewald import EwaldSummation
    from pymatgen.core import Structure

    sites, table, _, energies = listed
    for index in (0, 7, 29):
        atoms = to_atoms(sites, table[index])
        structure = Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions())
        structure.add_oxidation_state_by_element({s: charges[s] for s in ("Li", "Y", "Cl")})
        theirs = EwaldSummation(structure, acc_factor=20).total_energy
        assert energies[index] == pytest.approx(theirs, rel=1e-9)


def test_equivalent_orderings_have_equal_energies(listed, charges):
    sites, table, matrix, energies = listed
    values = charges_of(table.symbols, charges)
    for codes, energy in zip(table.codes, energies, strict=True):
        images = np.empty((sites.group_order, sites.n_sites))
        for g, p in enumerate(sites.permutations):
            images[g, p] = values[codes]
        np.testing.assert_allclose(ewald_energies(matrix, images), energy, rtol=1e-12)


def test_halide_order_costs_no_point_charge_energy(lyc, charges):
    mixed = substitute(lyc, {"Cl": {"Cl": 5 / 6, "Br": 1 / 6}})
    sites = supercell_sites(mixed, "1x1x1")
    overrides = {"Li1": {"Li": 1.0}, "Li2": {"Li": 0.5}, "Y2": {"Y": 1.0}, "Y3": {}}
    composition = integer_compositions(mixed, "1x1x1", charges, overrides=overrides)[0]
    table = list_ordering_table(ordering_space(sites, composition))
    energies = table_energies(ewald_matrix(sites.cell_A, sites.fractional), table, charges)
    assert len(table) > 300
    assert len(np.unique(np.round(energies, 6))) <= 3


@pytest.mark.parametrize("cell", ["1x1x2", [[1, 1, 0], [0, 2, 0], [0, 0, 1]]])
def test_symmetry_gives_the_same_matrix(lyc, cell):
    sites = supercell_sites(lyc, cell)
    np.testing.assert_allclose(
        supercell_ewald_matrix(sites), ewald_matrix(sites.cell_A, sites.fractional), rtol=1e-11, atol=1e-11
    )


def test_few_values_of_the_error_function_are_scipys_to_the_last_bit():
    from scipy.special import erfc

    x = np.concatenate([np.linspace(0.0, 6.2, 20_001), [1.0, np.nextafter(1.0, 0.0)]])
    np.testing.assert_array_equal(erfc_of_few(x), erfc(x))


def test_lowest_is_stable_among_ties():
    energies = np.array([1.0, -2.0 + 1e-12, 0.0, -2.0, -2.0 - 1e-12])
    assert lowest(energies, 4).tolist() == [1, 3, 4, 2]
    assert lowest(energies, 0).tolist() == []


def test_charges_of():
    np.testing.assert_array_equal(charges_of(["Li", "X", "Cl"], {"Li": 1, "Cl": -1}), [1.0, 0.0, -1.0])
    with pytest.raises(CompositionError, match="Br"):
        charges_of(["Br"], {"Li": 1})
