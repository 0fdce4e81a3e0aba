from __future__ import annotations

import json
import time
from itertools import permutations as arrangements

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.errors import CompositionError, StructureError
from superionic.structures.composition import IntegerComposition, integer_compositions
from superionic.structures.counting import count_orderings
from superionic.structures.disordered import crystal_from_sites
from superionic.structures.files import read_crystal
from superionic.structures.orderings import (
    _Block,
    list_ordering_table,
    list_orderings,
    sample_ordering_table,
    sample_orderings,
    to_atoms,
)
from superionic.structures.supercells import Supercell, supercell_sites

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
        table = list_ordering_table(sites, composition, limit=LISTED)
        assert len(table) == count.distinct
        assert int(table.degeneracies.sum()) == count.raw


def test_the_demo_case(lyc, charges):
    sites = supercell_sites(lyc, "1x1x1")
    composition = integer_compositions(lyc, "1x1x1", charges)[0]
    count = count_orderings(sites, composition)
    assert (count.raw, count.distinct, count.group_order) == (360, 30, 12)
    orderings = list_orderings(sites, composition)
    assert len(orderings) == 30
    assert sum(o.degeneracy for o in orderings) == 360
    assert orderings == list_orderings(sites, composition)


def random_group(n, generator):
    """Permutations of n points that a few random generators make."""
    identity = tuple(range(n))
    group, frontier = {identity}, [identity]
    generators = [tuple(int(v) for v in generator.permutation(n)) for _ in range(generator.integers(1, 3))]
    while frontier and len(group) <= 200:
        p = frontier.pop()
        for g in generators:
            q = tuple(g[i] for i in p)
            if q not in group:
                group.add(q)
                frontier.append(q)
    return np.array(sorted(group)) if len(group) <= 200 else np.array([identity])


def blocks_of(sizes, counts):
    """A composition on consecutive blocks of sites, and a group that acts on each block."""
    names = ("Li", "Na", "K", "X")
    groups, start = [], 0
    for size in sizes:
        groups.append(tuple(range(start, start + size)))
        start += size
    return IntegerComposition(
        counts=tuple(dict(zip(names, c, strict=False)) for c in counts),
        groups=tuple(groups),
        deviation=0.0,
        formula="test",
        names=tuple(f"g{i}" for i in range(len(sizes))),
    )


class FakeSites:
    """The part of SupercellSites that counting and listing use."""

    def __init__(self, permutations):
        self.permutations = permutations
        self.group_order, self.n_sites = permutations.shape
        self.supercell = Supercell.diagonal(1, 1, 1)


def brute_force(permutations, blocks):
    """All orbits, by making every decoration."""
    decorations = [()]
    for counts in blocks:
        base = [k for k, c in enumerate(counts) for _ in range(c)]
        decorations = [d + a for d in decorations for a in sorted(set(arrangements(base)))]
    todo, orbits = set(decorations), {}
    for d in decorations:
        if d in todo:
            images = set()
            for p in permutations:
                image = [0] * len(d)
                for i, target in enumerate(p):
                    image[target] = d[i]
                images.add(tuple(image))
            todo -= images
            orbits[min(images)] = len(images)
    return orbits


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    shapes=st.lists(
        st.sampled_from([(1, 1), (2, 1), (2, 2), (1, 1, 1), (2, 1, 1), (3, 1), (3,)]), min_size=1, max_size=3
    ),
)
def test_counts_and_lists_agree_with_brute_force(seed, shapes):
    generator = np.random.default_rng(seed)
    sizes = [sum(s) for s in shapes]
    # A group on the union that keeps each block: the direct product of a random group on each.
    parts = [random_group(size, generator) for size in sizes]
    index = np.indices([len(p) for p in parts]).reshape(len(parts), -1).T
    if len(index) > 300:
        index = index[:1]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    whole = [np.concatenate([p[i] + o for p, i, o in zip(parts, row, offsets, strict=False)]) for row in index]
    permutations = np.array(whole)
    sites, composition = FakeSites(permutations), blocks_of(sizes, shapes)
    expected = brute_force(permutations, shapes)
    count = count_orderings(sites, composition)
    assert count.raw == sum(expected.values())
    assert count.distinct == len(expected)
    table = list_ordering_table(sites, composition)
    symbols = ("Li", "Na", "K")
    ranks = np.array([symbols.index(s) for s in table.symbols]) if len(table.symbols) else np.zeros(0, int)
    # Species sort K < Na < Li by electronegativity; brute force numbers them as given, so compare orbits, not words.
    found = {}
    for codes, degeneracy in zip(table.codes, table.degeneracies, strict=True):
        decoration = ranks[codes]
        images = {tuple(int(v) for v in decoration[np.argsort(p)]) for p in permutations}
        found[min(images)] = int(degeneracy)
    assert found == expected


def test_canonical_means_smallest_image_and_the_list_is_sorted(lyc, charges):
    sites = supercell_sites(lyc, "1x1x1")
    composition = integer_compositions(lyc, "1x1x1", charges)[0]
    table = list_ordering_table(sites, composition)
    order = np.concatenate(composition.groups)
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
        sites = supercell_sites(crystal, cell)
        composition = integer_compositions(crystal, cell, charges, coupling="coupled")[0]
        assert len(list_orderings(sites, composition)) == count_orderings(sites, composition).distinct


def test_long_blocks_use_more_than_one_limb():
    n = 80
    rotations = np.array([np.roll(np.arange(n), k) for k in range(n)])
    composition = blocks_of([n], [(n - 2, 2)])
    sites = FakeSites(rotations)
    block = _Block(range(n), ("Li", "Na"), (n - 2, 2), rotations)
    assert len(block._weights) == 2
    table = list_ordering_table(sites, composition)
    assert len(table) == count_orderings(sites, composition).distinct == n // 2
    assert int(table.degeneracies.sum()) == n * (n - 1) // 2


def test_unranking_is_lexicographic():
    block = _Block(range(5), ("Li", "Na", "K"), (2, 2, 1), np.arange(5)[None, :])
    words = [tuple(int(v) for v in w) for w in block.unrank(np.arange(block.raw))]
    assert words == sorted(set(arrangements([0, 0, 1, 1, 2])))


def test_a_listing_past_its_limit_is_refused(lyc, charges):
    sites = supercell_sites(lyc, "1x1x2")
    composition = integer_compositions(lyc, "1x1x2", charges)[0]
    with pytest.raises(CompositionError, match="49,668") as caught:
        list_orderings(sites, composition, limit=1000)
    assert "Sample" in caught.value.fix


def test_a_composition_of_another_supercell_is_refused(lyc, charges):
    composition = integer_compositions(lyc, "1x1x2", charges)[0]
    with pytest.raises(StructureError, match="supercell"):
        count_orderings(supercell_sites(lyc, "1x1x1"), composition)


def test_an_ordered_crystal_has_one_ordering(examples, charges):
    crystal = read_crystal(examples / "li3ycl6" / "ycl3.cif")
    sites = supercell_sites(crystal, "1x1x1")
    composition = integer_compositions(crystal, "1x1x1", charges)[0]
    (only,) = list_orderings(sites, composition)
    assert only.degeneracy == 1
    assert to_atoms(sites, only).get_chemical_formula() == "Cl12Y4"
    assert sample_orderings(sites, composition, 3, np.random.default_rng(0)) == [only]


def test_samples_are_canonical_distinct_and_reproducible(lyc, charges):
    sites = supercell_sites(lyc, "1x1x2")
    composition = integer_compositions(lyc, "1x1x2", charges)[0]
    table = list_ordering_table(sites, composition)
    known = {c.tobytes(): int(d) for c, d in zip(table.codes, table.degeneracies, strict=True)}
    sample = sample_ordering_table(sites, composition, 200, np.random.default_rng(5))
    assert len({c.tobytes() for c in sample.codes}) == 200
    assert all(known[c.tobytes()] == d for c, d in zip(sample.codes, sample.degeneracies, strict=True))
    again = sample_ordering_table(sites, composition, 200, np.random.default_rng(5))
    np.testing.assert_array_equal(sample.codes, again.codes)


def test_samples_follow_the_degeneracies(lyc, charges, monkeypatch):
    from scipy.stats import chisquare

    monkeypatch.setattr("superionic.structures.orderings._LIST_INSTEAD", 0)  # draw, although the space is small
    sites = supercell_sites(lyc, "1x1x1")
    composition = integer_compositions(lyc, "1x1x1", charges)[0]
    table = list_ordering_table(sites, composition)
    index = {o: i for i, o in enumerate(table)}
    seen = np.zeros(len(table))
    rng = np.random.default_rng(11)
    for _ in range(300):
        seen[index[sample_orderings(sites, composition, 1, rng)[0]]] += 1
    expected = 300 * table.degeneracies / table.degeneracies.sum()
    assert chisquare(seen, expected).pvalue > 1e-3


def test_sampling_a_space_that_nobody_can_list(lyc, charges):
    sites = supercell_sites(lyc, "2x2x2")
    composition = integer_compositions(lyc, "2x2x2", charges)[0]
    assert count_orderings(sites, composition).distinct > 10**20
    sample = sample_orderings(sites, composition, 5, np.random.default_rng(0))
    assert len(set(sample)) == 5
    for ordering in sample:
        counts = {s: ordering.species.count(s) for s in set(ordering.species) - {"X"}}
        assert counts == composition.totals


def test_atoms_are_grouped_by_element_and_carry_the_degeneracy(lyc, charges):
    sites = supercell_sites(lyc, "1x1x1")
    ordering = list_orderings(sites, integer_compositions(lyc, "1x1x1", charges)[0])[0]
    atoms = to_atoms(sites, ordering)
    assert atoms.get_chemical_symbols() == ["Li"] * 9 + ["Y"] * 3 + ["Cl"] * 18
    assert atoms.info == {"degeneracy": ordering.degeneracy}
    assert atoms.pbc.all()
    assert atoms.get_volume() == pytest.approx(lyc.volume_A3)
    distances = atoms.get_all_distances(mic=True)
    assert distances[np.triu_indices(len(atoms), 1)].min() > 2.4
    with pytest.raises(CompositionError, match="sites"):
        to_atoms(supercell_sites(lyc, "1x1x2"), ordering)
