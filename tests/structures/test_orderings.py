from __future__ import annotations

import json
import time

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from superionic.errors import CompositionError, StructureError
from superionic.structures.crystal.composition import integer_compositions
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.structures.crystal.supercells import Supercell, supercell_sites
from superionic.structures.io.files import read_crystal
from superionic.structures.orderings.counting import count_both, count_orderings
from superionic.structures.orderings.listing import stream_orderings
from superionic.structures.orderings.ordering import list_ordering_table, to_atoms
from superionic.structures.orderings.space import ordering_space

LISTED = 50_000


def known_cases():
    from pathlib import Path

    file = Path(__file__).parents[3] / "shared" / "data" / "orderings" / "known_counts.json"
    if not file.exists():
        return []
    return sorted(json.loads(file.read_text())["fixed_supercell"].items())


CASES = known_cases()


@pytest.mark.skipif(not CASES, reason="the shared data are not here")
@pytest.mark.parametrize(("name", "case"), CASES, ids=[n for n, _ in CASES])
def test_known_counts(shared, charges, name, case):
    crystal = read_crystal(shared / case["cif"])
    if case["supercell"] == "prim":
        crystal, cell = crystal.primitive(), Supercell.diagonal(1, 1, 1)
    else:
        cell = Supercell.parse([int(v) for v in case["supercell"].strip("()").split(",")])
    sites = supercell_sites(crystal, cell)
    coupling = "coupled" if "coupled" in name else "per-orbit"
    composition = integer_compositions(crystal, cell, charges, coupling=coupling)[0]
    blocks = [dict(c) for c in composition.counts if len(c) > 1]
    assert sorted(map(str, blocks)) == sorted(str(b["comp"]) for b in case["blocks"]) or sorted(
        sorted(b.items()) for b in blocks
    ) == sorted(sorted(b["comp"].items()) for b in case["blocks"])
    start = time.perf_counter()
    count = count_orderings(sites, composition)
    assert time.perf_counter() - start < 1.0
    assert (count.raw, count.distinct, count.group_order) == (case["raw"], case["distinct"], case["group_order"])
    assert sites.n_sites == case["nsites"]
    if count.distinct <= LISTED:
        table = list_ordering_table(ordering_space(sites, composition), limit=LISTED)
        assert len(table) == count.distinct
        assert int(table.degeneracies.sum()) == count.raw


def test_the_demo_case(lyc, charges):
    sites = supercell_sites(lyc, "1x1x1")
    composition = integer_compositions(lyc, "1x1x1", charges)[0]
    count = count_orderings(sites, composition)
    assert (count.raw, count.distinct, count.group_order) == (360, 30, 12)
    orderings = list(list_ordering_table(ordering_space(sites, composition)))
    assert len(orderings) == 30
    assert sum(o.degeneracy for o in orderings) == 360
    assert orderings == list(list_ordering_table(ordering_space(sites, composition)))


def space_of(crystal, cell, charges, **options):
    return ordering_space(supercell_sites(crystal, cell), integer_compositions(crystal, cell, charges, **options)[0])


def test_canonical_means_smallest_image_and_the_list_is_sorted(lyc, charges):
    space = space_of(lyc, "1x1x1", charges)
    sites, table = space.sites, list_ordering_table(space)
    order = np.concatenate(space.composition.groups)
    words = []
    for codes in table.codes:
        images = []
        for p in sites.permutations:
            image = np.empty_like(codes)
            image[p] = codes
            images.append(tuple(image[order]))
        assert tuple(codes[order]) == min(images)
        words.append(tuple(codes[order]))
    assert words == sorted(words)


def test_a_coupled_group_with_symmetry_that_mixes_both_orbits_lists_right():
    x = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0, 0.5]])
    crystal = crystal_from_sites(
        "cube", 4 * np.eye(3), x, [{"Li": 0.5, "Na": 0.5}, {"Li": 0.5, "Na": 0.5}, {"Cl": 1.0}, {"Cl": 1.0}]
    )
    charges = {"Li": 1, "Na": 1, "Cl": -1}
    for cell in ("1x1x1", "1x1x2", "2x2x1"):
        space = space_of(crystal, cell, charges, coupling="coupled")
        assert len(list_ordering_table(space)) == count_orderings(space.sites, space.composition).distinct


def test_a_listing_past_its_limit_is_refused(lyc, charges):
    with pytest.raises(CompositionError, match="49,668") as caught:
        list_ordering_table(space_of(lyc, "1x1x2", charges), limit=1000)
    assert "Sample" in caught.value.fix


def test_a_composition_of_another_supercell_is_refused(lyc, charges):
    composition = integer_compositions(lyc, "1x1x2", charges)[0]
    with pytest.raises(StructureError, match="supercell"):
        count_orderings(supercell_sites(lyc, "1x1x1"), composition)


def test_an_ordered_crystal_has_one_ordering(examples, charges):
    crystal = read_crystal(examples / "li3ycl6" / "ycl3.cif")
    space = space_of(crystal, "1x1x1", charges)
    (only,) = list_ordering_table(space)
    assert only.degeneracy == 1
    assert to_atoms(space.sites, only).get_chemical_formula() == "Cl12Y4"


def test_atoms_are_grouped_by_element_and_carry_the_degeneracy(lyc, charges):
    space = space_of(lyc, "1x1x1", charges)
    sites, ordering = space.sites, list_ordering_table(space)[0]
    atoms = to_atoms(sites, ordering)
    assert atoms.get_chemical_symbols() == ["Li"] * 9 + ["Y"] * 3 + ["Cl"] * 18
    assert atoms.info == {"degeneracy": ordering.degeneracy}
    assert atoms.pbc.all()
    assert atoms.get_volume() == pytest.approx(lyc.volume_A3)
    distances = atoms.get_all_distances(mic=True)
    assert distances[np.triu_indices(len(atoms), 1)].min() > 2.4
    with pytest.raises(CompositionError, match="sites"):
        to_atoms(supercell_sites(lyc, "1x1x2"), ordering)


def test_superperiodic_orderings_are_those_of_a_smaller_cell(lyc, charges):
    for cell in ("1x1x2", [[1, 1, 0], [0, 2, 0], [0, 0, 1]]):
        space = space_of(lyc, cell, charges)
        chunks = list(stream_orderings(space))
        other = sum(int((~c.superperiodic).sum()) for c in chunks)
        assert other == count_both(space.sites, space.composition)[1].distinct
        assert other < sum(len(c) for c in chunks)


def test_exclusions_leave_only_orderings_without_close_atoms(lyc, charges):
    # The nearest sites of Y2 and Y3 are 2.99 Å apart: not both are occupied at 3 Å.
    composition = integer_compositions(lyc, "1x1x1", charges)[0]
    sites = supercell_sites(lyc, "1x1x1")
    everything = list_ordering_table(ordering_space(sites, composition))
    space = ordering_space(sites, composition, min_distance_A=3.0, oxidation_states=charges)
    kept = list_ordering_table(space)
    assert 0 < len(kept) < len(everything)
    metal = {"Li", "Y"}

    def closest(ordering):
        atoms = to_atoms(sites, ordering)
        atoms = atoms[[a.symbol in metal for a in atoms]]
        return neighbor_list("d", atoms, 3.0 - 1e-6).size

    assert {o for o in everything if closest(o) == 0} == set(kept)


def test_exclusions_tell_bonds_from_clashes():
    # Two cation sites 1.4 Å apart exclude each other; a cation and an anion at 1.4 Å are a bond.
    x = np.array([[0.0, 0, 0], [0.14, 0, 0], [0.5, 0.5, 0.5], [0.64, 0.5, 0.5]])
    charges = {"Li": 1, "P": 5, "O": -2}
    crystal = crystal_from_sites(
        "pair", 10 * np.eye(3), x, [{"Li": 0.5}, {"Li": 0.5}, {"P": 0.5}, {"O": 0.5}], labels=["a", "b", "c", "d"]
    )
    sites = supercell_sites(crystal, "2x1x1")
    composition = integer_compositions(crystal, "2x1x1", {"Li": 0, "P": 0, "O": 0})[0]
    space = ordering_space(sites, composition, min_distance_A=1.5, oxidation_states=charges)
    names = [crystal.sites[sites.parent_site[space.members[i]]].label for pair in space.exclusions for i in pair]
    assert sorted(set(names)) == ["a", "b"]
    assert len(ordering_space(sites, composition, min_distance_A=1.5).exclusions) == 4
    with pytest.raises(CompositionError, match="smallest distance"):
        ordering_space(sites, composition, min_distance_A=0.0)


def test_a_site_beside_an_atom_that_is_always_there_stays_vacant():
    x = np.array([[0.0, 0, 0], [0.1, 0, 0], [0.5, 0, 0]])
    crystal = crystal_from_sites(
        "beside", 10 * np.eye(3), x, [{"Li": 1.0}, {"Li": 0.3}, {"Li": 0.3}], labels=["full", "beside", "far"]
    )
    sites = supercell_sites(crystal, "2x1x1")
    composition = integer_compositions(crystal, "2x1x1", {"Li": 0}, coupling="coupled")[0]
    space = ordering_space(sites, composition, min_distance_A=1.5)
    assert space.blocked.sum() == 2
    labels = [crystal.sites[i].label for i in sites.parent_site]
    for ordering in list_ordering_table(space):
        assert all(s == "X" for s, name in zip(ordering.species, labels, strict=True) if name == "beside")
