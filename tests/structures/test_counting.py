from __future__ import annotations

import json
import time
from itertools import permutations as arrangements
from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.errors import CompositionError
from superionic.structures.crystal.composition import IntegerComposition, integer_compositions
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.structures.crystal.supercells import Supercell, supercell_sites
from superionic.structures.io.files import read_crystal
from superionic.structures.orderings.counting import (
    count_all_compositions,
    count_both,
    count_by_index,
    count_orderings,
    disordered_blocks,
    fixed_decorations,
)
from superionic.structures.orderings.permutations import conjugacy_classes, moebius_terms


@pytest.fixture(scope="module")
def known(shared):
    return json.loads((shared / "known_counts.json").read_text())


def test_every_known_count_of_a_supercell_in_milliseconds(shared, charges, known):
    for name, case in known["fixed_supercell"].items():
        crystal = read_crystal(shared / case["cif"])
        cell = Supercell.diagonal(1, 1, 1)
        if case["supercell"] == "prim":
            crystal = crystal.primitive()
        else:
            cell = Supercell.parse([int(v) for v in case["supercell"].strip("()").split(",")])
        sites = supercell_sites(crystal, cell)
        coupling = "coupled" if "coupled" in name else "per-orbit"
        composition = integer_compositions(crystal, cell, charges, coupling=coupling)[0]
        start = time.perf_counter()
        count = count_orderings(sites, composition)
        assert time.perf_counter() - start < 0.5, name
        assert (count.raw, count.distinct, count.group_order) == (case["raw"], case["distinct"], case["group_order"])
        assert sites.n_sites == case["nsites"]


COUPLED = {"lyb_orbit.cif", "nas_coupled.cif", "lyc_coupled.cif"}


def composer(parent, charges, coupling):
    return lambda cell: integer_compositions(parent, cell, charges, coupling=coupling)[0]


def test_every_known_count_over_the_supercells_of_index_two(shared, charges, known):
    for case in known["all_HNF_index_2"]["cases"]:
        crystal = read_crystal(shared / case["cif"])
        coupling = "coupled" if case["cif"] in COUPLED else "per-orbit"
        compose = composer(crystal.primitive(), charges, coupling)
        (count,) = count_by_index(crystal, case["index"], compose, min_index=case["index"])
        found = (count.n_supercells, count.raw, count.distinct, count.non_superperiodic)
        assert found == (case["supercells"], case["raw"], case["distinct"], case["non_superperiodic"]), case["cif"]


@pytest.mark.parametrize(
    ("cif", "coupling", "expected"), [("lyb_h.cif", "per-orbit", 193), ("lyb_orbit.cif", "coupled", 4418)]
)
def test_known_counts_of_index_four(shared, charges, cif, coupling, expected):
    crystal = read_crystal(shared / cif)
    (count,) = count_by_index(crystal, 4, composer(crystal.primitive(), charges, coupling), min_index=4)
    assert count.non_superperiodic == expected


def test_binary_fcc_by_index(shared, known):
    crystal = read_crystal(shared / "fcc_AB.cif")
    table = known["fcc_binary_by_index"]
    found = {str(c.index): c.non_superperiodic for c in count_by_index(crystal, 10)}
    assert found == {k: v for k, v in table["labels_distinguishable"].items() if int(k) <= 10}
    found = {str(c.index): c.non_superperiodic for c in count_by_index(crystal, 8, min_index=2, exchangeable=True)}
    assert found == {k: v for k, v in table["labels_exchangeable"].items() if int(k) <= 8}


@pytest.mark.slow
def test_binary_fcc_to_the_end_of_the_tables(shared, known):
    crystal = read_crystal(shared / "fcc_AB.cif")
    table = known["fcc_binary_by_index"]
    found = {str(c.index): c.non_superperiodic for c in count_by_index(crystal, 16)}
    assert found == table["labels_distinguishable"]
    found = {str(c.index): c.non_superperiodic for c in count_by_index(crystal, 10, min_index=2, exchangeable=True)}
    assert found == table["labels_exchangeable"]


def test_the_orderings_of_a_supercell_are_those_of_all_cells_that_it_repeats():
    # Every ordering of a chain of n cells has one primitive period d | n: all orbits are sums over the divisors,
    # for the translations alone (a chiral crystal without rotations).
    x = np.array([[0.1, 0.2, 0.3], [0.37, 0.65, 0.8], [0.6, 0.1, 0.55], [0.81, 0.52, 0.13]])
    occupants = [{"Li": 0.5, "Na": 0.5}, {"Cl": 1.0}, {"Br": 1.0}, {"F": 1.0}]
    crystal = crystal_from_sites("chain", np.array([[4.0, 0, 0], [0.3, 5, 0], [0.2, 0.7, 6]]), x, occupants)
    assert len(crystal.rotations) == 1
    by_period = {}
    for n in (1, 2, 3, 4, 6, 12):
        sites = supercell_sites(crystal, Supercell.diagonal(n, 1, 1))
        free = np.flatnonzero(sites.parent_site == [len(s.species) > 1 for s in crystal.sites].index(True))
        everything, new = count_all_compositions(sites, [(free.tolist(), 2)])
        by_period[n] = new.distinct
        assert everything.raw == 2**n
        assert new.raw == n * new.distinct  # no translation leaves them: all orbits are full
        assert everything.distinct == sum(by_period[d] for d in by_period if n % d == 0)
    # Binary Lyndon words (OEIS A001037).
    assert by_period == {1: 2, 2: 1, 3: 2, 4: 3, 6: 9, 12: 335}


def closed(generators, n):
    group, todo = {tuple(range(n))}, [tuple(range(n))]
    while todo:
        p = todo.pop()
        for g in generators:
            q = tuple(int(g[i]) for i in p)
            if q not in group:
                group.add(q)
                todo.append(q)
    return np.array(sorted(group))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    matrix=st.sampled_from([[2, 1, 1], [2, 2, 1], [3, 1, 1], [1, 1, 2], [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]]),
    kind=st.sampled_from(["cubic", "tetragonal", "two", "vacant"]),
    li=st.integers(1, 3),
)
def test_both_conventions_agree_with_brute_force(matrix, kind, li):
    edges = np.diag([4.0, 4.0, 4.0 if kind == "cubic" else 5.0])
    x = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    free = {"Li": 0.5} if kind == "vacant" else {"Li": 0.5, "Na": 0.5}
    crystal = crystal_from_sites(kind, edges, x, [free, free if kind == "two" else {"Cl": 1.0}])
    sites = supercell_sites(crystal, matrix)
    group = [i for i, p in enumerate(sites.parent_site) if len(crystal.sites[p].species) > 1 or kind == "vacant"]
    group = [i for i in group if "Cl" not in crystal.sites[sites.parent_site[i]].species]
    n = len(group)
    if li >= n or n > 8:
        return
    position = {s: k for k, s in enumerate(group)}
    actions = [tuple(position[int(p[s])] for s in group) for p in sites.permutations]
    shifts = [tuple(position[int(p[s])] for s in group) for p in sites.translations]

    def orbits(decorations, swaps):
        todo, found = set(decorations), []
        while todo:
            d = todo.pop()
            images = set()
            for relabel in swaps:
                for action in actions:
                    image = [0] * n
                    for i, target in enumerate(action):
                        image[target] = relabel[d[i]]
                    images.add(tuple(image))
            todo -= images
            found.append((min(images), len(images)))
        return found

    def moved(d):
        return sum(all(d[t[i]] == d[i] for i in range(n)) for t in shifts) == 1

    plain, swapped = [(0, 1)], [(0, 1), (1, 0)]
    everything = list(product((0, 1), repeat=n))
    for decorations, swaps, counted in (
        (sorted(set(arrangements([0] * li + [1] * (n - li)))), plain, None),
        (everything, plain, count_all_compositions(sites, [(group, 2)])),
        (everything, swapped, count_all_compositions(sites, [(group, 2)], exchangeable=True)),
    ):
        count = counted
        if count is None:
            counts = ({"Li": li, "Na": n - li}, {"Cl": sites.n_sites - n})
            rest = tuple(i for i in range(sites.n_sites) if i not in position)
            full = [(g, c) for g, c in zip((tuple(group), rest), counts, strict=True) if g]
            composition = IntegerComposition(
                tuple(c for _, c in full), tuple(g for g, _ in full), 0.0, "test", tuple("ab"[: len(full)])
            )
            count = count_both(sites, composition)
            assert count[0] == count_orderings(sites, composition)
        found = orbits(decorations, swaps)
        fresh = [d for d, _ in found if moved(d)]
        assert (count[0].raw, count[0].distinct) == (len(decorations), len(found))
        assert (count[1].raw, count[1].distinct) == (sum(map(moved, decorations)), len(fresh))


def test_species_are_exchanged_in_one_group_only(lyc):
    sites = supercell_sites(lyc, "1x1x1")
    groups = [(s.sites, 2) for s in lyc.sublattices if not s.is_ordered]
    with pytest.raises(CompositionError, match="one group"):
        count_all_compositions(sites, groups, exchangeable=True)
    with pytest.raises(CompositionError, match="all compositions"):
        count_by_index(lyc, 1, lambda cell: None, exchangeable=True)


def test_an_index_without_a_composition_says_why(lyc, charges):
    def compose(cell):
        if cell.multiplicity == 1:
            raise CompositionError("It does not fit.")
        return integer_compositions(lyc, cell, charges)[0]

    first, second = count_by_index(lyc, 2, compose)
    assert (first.problem, first.distinct, first.n_supercells) == ("It does not fit.", 0, 0)
    assert second.problem is None
    assert second.distinct >= second.non_superperiodic > 0
    assert all(s.composition is not None and s.supercell.multiplicity == 2 for s in second.supercells)


def test_an_ordered_crystal_is_superperiodic_in_every_larger_cell(examples, charges):
    crystal = read_crystal(examples / "li3ycl6" / "ycl3.cif").primitive()
    for cell, new in (("1x1x1", 1), ("1x1x2", 0)):
        sites = supercell_sites(crystal, cell)
        composition = integer_compositions(crystal, cell, charges)[0]
        assert disordered_blocks(composition) == []
        everything, fresh = count_both(sites, composition)
        assert (everything.raw, everything.distinct, fresh.distinct) == (1, 1, new)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    cycles=st.dictionaries(st.integers(1, 6), st.integers(1, 3), min_size=1, max_size=3).filter(
        lambda c: sum(c.values()) <= 6
    ),
    parts=st.lists(st.integers(0, 100), min_size=1, max_size=2),
)
def test_fixed_decorations_by_trying_all(cycles, parts):
    lengths = [length for length, number in sorted(cycles.items()) for _ in range(number)]
    total, kinds = sum(lengths), len(parts) + 1
    cuts = sorted(p % (total + 1) for p in parts)
    counts = tuple(b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True))
    expected = 0
    for species in product(range(kinds), repeat=len(lengths)):
        sums = [0] * kinds
        for s, length in zip(species, lengths, strict=True):
            sums[s] += length
        expected += tuple(sums) == counts
    assert fixed_decorations(tuple(sorted(cycles.items())), counts) == expected


def test_large_cycle_types_do_not_explode():
    start = time.perf_counter()
    assert fixed_decorations(((1, 600),), (300, 300)) == comb(600, 300)
    assert fixed_decorations(((1, 200), (2, 200)), (300, 300)) > 0
    value = fixed_decorations(((1, 48), (2, 72), (3, 32), (4, 48)), (96, 96, 288))
    assert value.bit_length() > 100
    assert time.perf_counter() - start < 5.0


def test_conjugacy_classes_of_symmetric_groups():
    # As many classes as partitions of n; the sizes are those of the cycle types.
    for n, sizes in ((3, [1, 2, 3]), (4, [1, 3, 6, 6, 8]), (5, [1, 10, 15, 20, 20, 24, 30])):
        representatives, found = conjugacy_classes(np.array(sorted(arrangements(range(n)))))
        assert representatives[0] == 0
        assert sorted(found.tolist()) == sizes


def test_moebius_numbers_of_translations():
    # The sum of mu(1, K) over all subgroups of a group is 0, of the trivial group 1.
    for shape, n_terms in (((1,), 1), ((4,), 2), ((2, 2), 5), ((2, 2, 2), 16), ((6,), 4), ((3, 3), 6), ((2, 3, 3), 12)):
        n = int(np.prod(shape))
        cells = np.indices(shape).reshape(len(shape), -1).T
        moves = [np.ravel_multi_index(tuple(((cells + t) % np.array(shape)).T), shape) for t in cells]
        terms = moebius_terms(np.array(sorted(map(tuple, moves))))
        assert len(terms) == n_terms
        assert sum(m for m, _ in terms) == (1 if n == 1 else 0)
        assert len({closed(generators, n).tobytes() for _, generators in terms}) == n_terms
        assert all(moebius != 0 for moebius, _ in terms)
