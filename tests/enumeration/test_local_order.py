"""Local order on structures whose counts are known without the code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from superionic.enumeration.local_order import coordination_kinds, local_order, mean_order
from superionic.errors import AnalysisError, CompositionError
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.structures.io.files import read_crystal

IONS = {"Li": 1.0, "Na": 1.0, "K": 1.0, "Y": 3.0, "F": -1.0, "Cl": -1.0, "Br": -1.0}


def parent(fractional, species, cell=4.0):
    """A cubic crystal, every site with these occupancies."""
    return crystal_from_sites("parent", np.eye(3) * cell, fractional, species)


FCC = [(0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)]
HALF = {"Na": 0.5, "K": 0.5}


def alphas(order, first, second):
    return [pair.alpha for pair in order.pairs if (pair.first, pair.second) == (first, second)]


def cube(codes) -> Atoms:
    """Eight sites of a simple cubic lattice, K where the code is 0."""
    grid = list(itertools.product((0, 1), repeat=3))
    return Atoms([("K", "Na")[code] for code in codes], np.array(grid) * 4.0, cell=np.eye(3) * 8.0, pbc=True)


def test_rock_salt_order_of_a_simple_cubic_lattice_by_hand():
    atoms = cube([sum(place) % 2 for place in itertools.product((0, 1), repeat=3)])
    order = local_order(atoms, parent([(0, 0, 0)], [HALF]), IONS)
    # 6 unlike, 12 like, 8 unlike neighbours.
    assert alphas(order, "K", "Na") == pytest.approx([-1.0, 1.0, -1.0])
    assert [pair.neighbours for pair in order.pairs] == [6.0, 12.0, 8.0]
    assert [pair.distance_A for pair in order.pairs] == pytest.approx([4.0, 4.0 * 2**0.5, 4.0 * 3**0.5])
    assert order.pairs[0].sublattices == ("K/Na", "K/Na")


def test_l10_order_by_hand_in_a_cell_whose_second_neighbours_are_its_own_images():
    atoms = Atoms("NaKKNa", np.array(FCC) * 4.0, cell=np.eye(3) * 4.0, pbc=True)
    order = local_order(atoms, parent(FCC, [HALF] * 4), IONS)
    # Layers of Na and of K: 8 of 12 first, 0 of 6 second, 16 of 24 third neighbours are unlike.
    assert alphas(order, "K", "Na") == pytest.approx([-1.0 / 3.0, 1.0, -1.0 / 3.0])
    assert [pair.neighbours for pair in order.pairs] == [12.0, 6.0, 24.0]
    assert order.pairs[1].alpha_random == pytest.approx(1.0)


def test_the_stated_mean_is_that_over_all_decorations():
    crystal = parent([(0, 0, 0)], [HALF])
    places = np.array([(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]) * 4.0
    orders = [
        local_order(
            Atoms([("K", "Na")[k in chosen] for k in range(4)], places, cell=[8.0, 8.0, 4.0], pbc=True), crystal, IONS
        )
        for chosen in itertools.combinations(range(4), 2)
    ]
    mean = mean_order(orders, np.ones(len(orders)))
    assert [pair.alpha for pair in mean.pairs] == pytest.approx([pair.alpha_random for pair in mean.pairs])
    # Two of the six nearest neighbours are the site's own images; of four sites the rest are unlike in 2 of 3.
    assert mean.pairs[0].alpha_random == pytest.approx(1.0 - (4 / 6) * (2 / 3) / 0.5)


def test_layers_of_two_rock_salts_by_hand():
    # K and F in one layer, Na and Cl in the next: each K has 4 F in its layer, 2 Cl above and below.
    cations, anions = np.array(FCC), np.array(FCC) + np.array([0.0, 0.0, 0.5])
    crystal = parent([*FCC, *map(tuple, anions % 1.0)], [HALF] * 4 + [{"F": 0.5, "Cl": 0.5}] * 4)
    symbols = ["K" if z == 0 else "Na" for z in cations[:, 2]] + ["F" if z % 1 == 0 else "Cl" for z in anions[:, 2]]
    atoms = Atoms(symbols, np.concatenate([cations, anions]) * 4.0, cell=np.eye(3) * 4.0, pbc=True)
    order = local_order(atoms, crystal, IONS)
    assert [(kind.label, kind.share) for kind in order.coordination if kind.cation == "K"] == [("[KCl2F4]", 1.0)]
    assert order.unmixed_share("K") == 0.0
    assert alphas(order, "K", "F")[0] == pytest.approx(1.0 - (4 / 6) / 0.5)
    assert alphas(order, "K", "Cl")[0] == pytest.approx(1.0 - (2 / 6) / 0.5)
    assert alphas(order, "Cl", "F")[0] == pytest.approx(-1.0 / 3.0)


def test_pure_and_mixed_octahedra_are_told_apart_and_agree_with_pymatgen():
    from pymatgen.analysis.local_env import BrunnerNNRelative, CrystalNN
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = bulk("LiCl", "rocksalt", a=5.1, cubic=True).repeat((2, 1, 1))
    atoms.symbols[[i for i in np.flatnonzero(atoms.symbols == "Cl") if atoms.positions[i, 0] > 4.0]] = "Br"
    atoms.rattle(0.05, seed=3)
    kinds = coordination_kinds(atoms, IONS)
    assert sum(kind.share for kind in kinds) == pytest.approx(1.0)
    assert all(kind.number == 6 for kind in kinds)
    structure = AseAtomsAdaptor.get_structure(atoms)
    structure.add_oxidation_state_by_element({"Li": 1, "Cl": -1, "Br": -1})
    for finder in (BrunnerNNRelative(), CrystalNN()):
        around = [
            tuple(sorted(near["site"].specie.symbol for near in finder.get_nn_info(structure, i)))
            for i in np.flatnonzero(atoms.symbols == "Li")
        ]
        for kind in kinds:
            mine = tuple(sorted(element for element, n in kind.anions for _ in range(n)))
            assert around.count(mine) / len(around) == pytest.approx(kind.share), (finder, kind)


def test_an_isolated_tetrahedron_far_from_all_others():
    place = np.array([(0, 0, 0), (1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]) * 1.2
    atoms = Atoms("YCl3Br", place, cell=np.eye(3) * 25.0, pbc=True)
    (kind,) = coordination_kinds(atoms, IONS)
    assert (kind.label, kind.number, kind.is_mixed) == ("[YCl3Br]", 4, True) or kind.label == "[YBrCl3]"


@pytest.fixture(scope="module")
def li3ybr6(root):
    return read_crystal(root / "examples" / "li3ycl6-xbrx" / "li3ybr6_c2m.cif")


def half_filled(crystal) -> Atoms:
    """Li3YBr6 with all 4g sites and half of the 4h sites occupied: the ground state of paper A."""
    taken = {"g": 4, "h": 2}
    symbols, places = [], []
    for site in crystal.sites:
        species = next(iter(site.species))
        if species == "Li":
            if taken[site.wyckoff] == 0:
                continue
            taken[site.wyckoff] -= 1
        symbols.append(species)
        places.append(site.fractional)
    return Atoms(symbols, scaled_positions=places, cell=crystal.cell_A, pbc=True)


def test_wyckoff_occupancies_survive_displacements_and_a_rigid_shift(li3ybr6):
    atoms = half_filled(li3ybr6)
    assert atoms.get_chemical_formula("hill") == "Br12Li6Y2"
    moved = atoms.copy()
    moved.rattle(0.25, seed=1)
    moved.positions += (0.3, -0.2, 0.1)
    moved.set_cell(moved.cell * 1.03, scale_atoms=True)
    for one in (atoms, moved):
        order = local_order(one, li3ybr6, IONS)
        occupancies = {site.site: site.occupancy for site in order.sites if site.species == "Li"}
        assert occupancies == {"Li1 (4g)": 1.0, "Li2 (4h)": 0.5}
        assert next(site.crystal_occupancy for site in order.sites if site.site == "Li2 (4h)") == pytest.approx(0.878)
    assert local_order(atoms, li3ybr6, IONS).misfit_A == pytest.approx(0.0, abs=1e-9)
    assert [kind.label for kind in local_order(atoms, li3ybr6, IONS).coordination if kind.cation == "Y"] == ["[YBr6]"]


def test_the_primitive_cell_has_the_same_order(li3ybr6):
    atoms = half_filled(li3ybr6)
    whole = local_order(atoms, li3ybr6, IONS)
    primitive = li3ybr6.primitive()
    doubled = local_order(atoms.repeat((1, 1, 2)), li3ybr6, IONS)
    assert [pair.alpha for pair in doubled.pairs] == pytest.approx([pair.alpha for pair in whole.pairs])
    full = Atoms(
        [next(iter(site.species)) for site in primitive.sites],
        scaled_positions=primitive.fractional,
        cell=primitive.cell_A,
        pbc=True,
    )
    assert {site.site for site in local_order(full, li3ybr6, IONS).sites} == {site.site for site in whole.sites}


def test_what_does_not_fit_is_an_error_that_says_what_to_do(li3ybr6):
    atoms = half_filled(li3ybr6)
    with pytest.raises(CompositionError, match="no oxidation state"):
        local_order(atoms, li3ybr6, {"Li": 1.0, "Br": -1.0})
    strange = atoms.copy()
    strange.set_cell(strange.cell * 1.4, scale_atoms=True)
    with pytest.raises(AnalysisError, match="no supercell") as refused:
        local_order(strange, li3ybr6, IONS)
    assert "crystal" in str(refused.value.fix)
