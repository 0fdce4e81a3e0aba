from __future__ import annotations

import time
from itertools import permutations as arrangements
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from superionic.errors import CompositionError
from superionic.structures.crystal.composition import IntegerComposition, integer_compositions
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.structures.crystal.supercells import Supercell, supercell_sites
from superionic.structures.io.files import read_crystal
from superionic.structures.orderings import sampling
from superionic.structures.orderings.counting import count_orderings
from superionic.structures.orderings.counting_exclusions import count_allowed, estimate_allowed
from superionic.structures.orderings.sampling import canonicalise, find_allowed, sample_raw, sample_uniform_orbits
from superionic.structures.orderings.space import Block, OrderingSpace, ordering_space

NAMES = ("K", "Na", "Li", "X")


class FakeSites:
    """The parts of SupercellSites that errors name and that say whether atoms go together."""

    supercell = Supercell.diagonal(1, 1, 1)
    alternatives = np.zeros((0, 2), dtype=np.int64)


def group_of(generators, n, limit=120):
    """All products of permutations, None if there are more than the limit."""
    group, todo = {tuple(range(n))}, [tuple(range(n))]
    while todo:
        p = todo.pop()
        for g in generators:
            q = tuple(int(g[i]) for i in p)
            if q not in group:
                group.add(q)
                todo.append(q)
        if len(group) > limit:
            return None
    return np.array(sorted(group), dtype=np.int64)


def space_of(shapes, permutations, pairs=(), blocked=()):
    """Build a space from counts a block (the last is the vacancy), a group, and exclusions closed under the group."""
    blocks, start = [], 0
    for k, counts in enumerate(shapes):
        size = sum(counts)
        blocks.append(Block(f"b{k}", tuple(range(start, start + size)), NAMES[-len(counts) :], tuple(counts)))
        start += size
    closed = {tuple(sorted((int(p[i]), int(p[j])))) for p in permutations for i, j in pairs}
    shut = np.zeros(start, dtype=bool)
    shut[[int(p[i]) for p in permutations for i in blocked]] = True
    composition = IntegerComposition(
        counts=tuple(dict(zip(b.species, b.counts, strict=True)) for b in blocks),
        groups=tuple(b.members for b in blocks),
        deviation=0.0,
        formula="test",
        names=tuple(b.name for b in blocks),
    )
    return OrderingSpace(
        sites=FakeSites(),
        composition=composition,
        blocks=tuple(blocks),
        members=np.arange(start),
        block_of=np.repeat(np.arange(len(blocks)), [b.size for b in blocks]),
        permutations=permutations,
        translations=np.zeros(len(permutations), dtype=bool),
        group_order=len(permutations),
        exclusions=np.array(sorted(closed), dtype=np.int64).reshape(-1, 2),
        unavoidable=np.zeros((0, 2), dtype=np.int64),
        blocked=shut,
    )


def random_space(seed, shapes, with_exclusions):
    rng = np.random.default_rng(seed)
    n = sum(map(sum, shapes))
    permutations = None
    while permutations is None:
        generators = []
        for _ in range(rng.integers(1, 3)):
            generator, start = np.arange(n), 0
            for counts in shapes:
                size = sum(counts)
                generator[start : start + size] = start + rng.permutation(size)
                start += size
            generators.append(generator)
        permutations = group_of(generators, n)
    vacant = np.flatnonzero(np.repeat([len(c) > 1 for c in shapes], [sum(c) for c in shapes]))
    pairs, blocked = [], []
    if with_exclusions and len(vacant) > 1:
        pairs = [rng.choice(vacant, 2, replace=False) for _ in range(rng.integers(1, 4))]
        blocked = rng.choice(vacant, 1) if rng.random() < 0.2 else []
    return space_of(shapes, permutations, pairs, blocked)


def brute_force(space):
    """{canonical decoration: degeneracy} of all that respect the exclusions."""
    decorations = [()]
    for block in space.blocks:
        base = [k for k, c in enumerate(block.counts) for _ in range(c)]
        decorations = [d + a for d in decorations for a in sorted(set(arrangements(base)))]
    vacant = [block.species.index("X") for block in space.blocks for _ in block.members]

    def keeps(d):
        full = [a != b for a, b in zip(d, vacant, strict=True)]
        clash = any(full[i] and full[j] for i, j in space.exclusions)
        return not clash and not any(f and b for f, b in zip(full, space.blocked, strict=True))

    todo = {d for d in decorations if keeps(d)}
    orbits = {}
    while todo:
        d = todo.pop()
        images = set()
        for p in space.permutations:
            image = [0] * len(d)
            for i, target in enumerate(p):
                image[target] = d[i]
            images.add(tuple(image))
        todo -= images
        orbits[min(images)] = len(images)
    return orbits


SHAPES = st.lists(
    st.sampled_from([(1, 1), (2, 1), (1, 3), (2, 2), (1, 1, 1), (2, 1, 1), (1, 1, 2), (2, 3), (1, 4), (2, 4)]),
    min_size=1,
    max_size=3,
).filter(lambda shapes: sum(map(sum, shapes)) <= 9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), shapes=SHAPES, with_exclusions=st.booleans())
def test_counts_and_canonical_forms_agree_with_brute_force(seed, shapes, with_exclusions):
    space = random_space(seed, shapes, with_exclusions)
    expected = brute_force(space)
    count = count_allowed(space)
    assert (count.raw, count.distinct) == (sum(expected.values()), len(expected))
    rng = np.random.default_rng(seed)
    found = find_allowed(space, rng)
    assert (found is not None) == bool(expected)
    if not expected:
        for draw in (sample_uniform_orbits, sample_raw):
            with pytest.raises(CompositionError, match="exclude each other"):
                draw(space, 1, rng)
        return
    assert space.allows(found[None])[0]
    for draw in (sample_uniform_orbits, sample_raw):
        drawn = draw(space, 30, rng)
        assert drawn.exact
        for decoration, degeneracy in zip(drawn.decorations, drawn.degeneracies, strict=True):
            assert expected[tuple(decoration.tolist())] == degeneracy


CASES = [
    ([(2, 4)], 4, False),
    ([(2, 4)], 4, True),
    ([(1, 1, 2), (2, 3)], 2, False),
    ([(1, 1, 2), (2, 3)], 8, True),
    ([(1, 2), (1, 2), (1, 2)], 11, True),
    ([(1, 1, 4)], 23, True),
]


def frequencies(orbits, drawn):
    index = {d: k for k, d in enumerate(orbits)}
    return np.bincount([index[tuple(d.tolist())] for d in drawn.decorations], minlength=len(orbits))


@pytest.mark.parametrize(("shapes", "seed", "with_exclusions"), CASES)
def test_draws_follow_their_distributions(shapes, seed, with_exclusions):
    space = random_space(seed, shapes, with_exclusions)
    orbits = brute_force(space)
    assert len(orbits) > 3
    assert len(set(orbits.values())) > 1  # else the two distributions are the same
    assert space.has_exclusions == with_exclusions
    rng = np.random.default_rng(seed)
    n = 150 * len(orbits)
    by_orbit = sample_uniform_orbits(space, n, rng)
    assert chisquare(frequencies(orbits, by_orbit)).pvalue > 1e-3
    raw = sample_raw(space, n, rng)
    weights = np.array(list(orbits.values()), dtype=float)
    assert chisquare(frequencies(orbits, raw), n * weights / weights.sum()).pvalue > 1e-3
    assert by_orbit.exact
    assert raw.exact


@pytest.mark.parametrize("draw", [sample_uniform_orbits, sample_raw])
def test_draws_that_are_rejected_follow_the_same_distributions(draw):
    space = random_space(8, [(1, 1, 2), (2, 3)], True)
    orbits = brute_force(space)
    sample = draw(space, 150 * len(orbits), np.random.default_rng(0), budget=0.0)
    assert sample.exact
    assert "rejected" in sample.method
    weights = np.array(list(orbits.values()), dtype=float) if draw is sample_raw else np.ones(len(orbits))
    expected = len(sample) * weights / weights.sum()
    assert chisquare(frequencies(orbits, sample), expected).pvalue > 1e-3


def test_the_random_walk_says_that_it_is_not_exact_and_comes_near(monkeypatch):
    monkeypatch.setattr(sampling, "_REJECT_ABOVE", 2.0)
    space = random_space(4, [(2, 4)], True)
    orbits = brute_force(space)
    sample = sample_raw(space, 60 * len(orbits), np.random.default_rng(0), budget=0.0)
    assert not sample.exact
    weights = np.array(list(orbits.values()), dtype=float)
    assert chisquare(frequencies(orbits, sample), len(sample) * weights / weights.sum()).pvalue > 1e-3


def split_sites(n_chains, per_cell=1):
    """Pairs of half-occupied sites 1 Å apart."""
    x = np.array([[0.0, 0, 0], [0.1, 0, 0], [0.5, 0.5, 0.5]])
    crystal = crystal_from_sites("split", 10 * np.eye(3), x, [{"Li": 0.5}, {"Li": 0.5}, {"Cl": 1.0}])
    cell = Supercell.diagonal(n_chains, per_cell, 1)
    sites = supercell_sites(crystal, cell)
    composition = integer_compositions(crystal, cell, {"Li": 1, "Cl": -1})[0]
    return ordering_space(sites, composition, min_distance_A=1.5)


def test_split_sites_share_one_atom():
    space = split_sites(30)
    assert len(space.exclusions) == 30
    # Half of the pairs fill their first site, the others their second.
    assert count_allowed(space).raw == comb(30, 15)
    sample = sample_uniform_orbits(space, 50, np.random.default_rng(0))
    assert sample.exact
    assert space.allows(sample.decorations).all()
    assert len({d.tobytes() for d in sample.decorations}) == 50
    # Random decorations hardly ever keep all 30 exclusions: an estimate says no more than a bound.
    estimate = estimate_allowed(space, np.random.default_rng(0), 1000)
    assert (estimate.fraction, estimate.standard_error, estimate.upper_bound) == (0.0, 0.0, 0.003)
    assert comb(30, 15) / count_orderings(space.sites, space.composition).raw < estimate.upper_bound


def test_a_composition_that_no_ordering_has_is_found_out():
    # A ring of seven with neighbours excluded holds three atoms, never four.
    ring = np.array([np.roll(np.arange(7), k) for k in range(7)])
    pairs = [(i, (i + 1) % 7) for i in range(7)]
    for atoms, raw, distinct in ((3, 7, 1), (4, 0, 0)):
        space = space_of([(atoms, 7 - atoms)], ring, pairs)
        count = count_allowed(space)
        assert (count.raw, count.distinct) == (raw, distinct)
        assert (find_allowed(space, np.random.default_rng(0), steps=500) is not None) == (raw > 0)


def test_hard_atoms_on_a_large_ring_are_counted_exactly():
    # k atoms on a ring of n without neighbours: n / (n - k) * C(n - k, k) (Kaplansky 1943).
    n, k = 120, 40
    ring = np.array([np.roll(np.arange(n), -r) for r in range(n)])
    space = space_of([(k, n - k)], ring, [(i, (i + 1) % n) for i in range(n)])
    assert count_allowed(space).raw == comb(n - k, k) * n // (n - k)
    assert estimate_allowed(space, np.random.default_rng(0), 100).upper_bound == pytest.approx(0.03)
    sample = sample_uniform_orbits(space, 20, np.random.default_rng(1))
    assert sample.exact
    assert space.allows(sample.decorations).all()


def test_too_much_work_is_declined_and_walked_around():
    space = split_sites(20)
    assert count_allowed(space, budget=10.0) is None
    sample = sample_raw(space, 5, np.random.default_rng(0), budget=10.0)
    assert not sample.exact
    assert "walk" in sample.method
    assert space.allows(sample.decorations).all()


def test_a_sample_is_reproducible_and_canonical(lyc, charges):
    sites = supercell_sites(lyc, "1x1x2")
    space = ordering_space(sites, integer_compositions(lyc, "1x1x2", charges)[0])
    for draw in (sample_uniform_orbits, sample_raw):
        sample = draw(space, 40, np.random.default_rng(3))
        again = draw(space, 40, np.random.default_rng(3))
        np.testing.assert_array_equal(sample.decorations, again.decorations)
        canonical, degeneracies = canonicalise(space, sample.decorations)
        np.testing.assert_array_equal(canonical, sample.decorations)
        np.testing.assert_array_equal(degeneracies, sample.degeneracies)
        for block in range(len(space.blocks)):
            part = sample.decorations[:, space.block_slice(block)]
            for code, count in enumerate(space.blocks[block].counts):
                assert np.all((part == code).sum(axis=1) == count)


def test_a_crystal_without_disorder_has_one_ordering_to_draw(examples, charges):
    crystal = read_crystal(examples / "li3ycl6" / "ycl3.cif")
    sites = supercell_sites(crystal, "1x1x1")
    space = ordering_space(sites, integer_compositions(crystal, "1x1x1", charges)[0])
    sample = sample_uniform_orbits(space, 3, np.random.default_rng(0))
    assert sample.decorations.shape == (3, 0)
    assert sample.degeneracies.tolist() == [1, 1, 1]
    with pytest.raises(CompositionError):
        sample_raw(space, -1, np.random.default_rng(0))


def test_a_space_of_1e30_orbits_is_sampled_fast(shared, charges):
    crystal = read_crystal(shared / "lycb_x3.cif")
    sites = supercell_sites(crystal, "1x2x2")
    space = ordering_space(sites, integer_compositions(crystal, "1x2x2", charges, coupling="coupled")[0])
    start = time.perf_counter()
    sample = sample_uniform_orbits(space, 2000, np.random.default_rng(0))
    assert time.perf_counter() - start < 1.0
    assert sample.exact
    assert len({d.tobytes() for d in sample.decorations}) == 2000
