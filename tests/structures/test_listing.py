from __future__ import annotations

from itertools import permutations as arrangements
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.chemistry import VACANCY
from superionic.errors import CompositionError
from superionic.structures.crystal.composition import IntegerComposition
from superionic.structures.crystal.supercells import Supercell, SupercellSites
from superionic.structures.orderings.electrostatics import ewald_energies
from superionic.structures.orderings.listing import Walker, stream_orderings
from superionic.structures.orderings.ranking import RESOLUTION_EV, lowest_orderings
from superionic.structures.orderings.space import Block, OrderingSpace

ALPHABET = ("Li", "Y", "Br", "Cl", VACANCY)
CHARGES = {"Li": 1.0, "Y": 3.0, "Br": -1.0, "Cl": -1.0}


def closure(generators: list[tuple[int, ...]], n: int) -> np.ndarray:
    """All products of some permutations."""
    group = {tuple(range(n))}
    frontier = list(group)
    while frontier:
        new = []
        for a in frontier:
            for g in generators:
                image = tuple(g[i] for i in a)
                if image not in group:
                    group.add(image)
                    new.append(image)
        frontier = new
        if len(group) > 200:
            break
    return np.array(sorted(group)) if len(group) <= 200 else np.arange(n)[None, :]


def abstract_space(blocks: list[dict[str, int]], generators: list[tuple[int, ...]], pairs: list[tuple[int, int]]):
    """A space whose sites are mere numbers, with any group that keeps the blocks, and exclusions closed under it."""
    names, members, start = [], [], 0
    for index, counts in enumerate(blocks):
        size = sum(counts.values())
        names.append(f"b{index}")
        members.append(tuple(range(start, start + size)))
        start += size
    group = closure(generators, start)
    closed = sorted({tuple(sorted((int(g[i]), int(g[j])))) for g in group for i, j in pairs if i != j})
    sites = SupercellSites(
        np.eye(3) * 10, np.arange(3 * start).reshape(start, 3) / (3.0 * start), np.arange(start), group,
        np.repeat(np.arange(len(blocks)), [len(m) for m in members]), Supercell.diagonal(1, 1, 1),
        np.zeros((0, 2), dtype=np.int64),
    )  # fmt: skip
    composition = IntegerComposition(tuple(blocks), tuple(members), 0.0, "test", tuple(names))
    return OrderingSpace(
        sites=sites,
        composition=composition,
        blocks=tuple(
            Block(name, group_, tuple(counts), tuple(counts.values()))
            for name, group_, counts in zip(names, members, composition.counts, strict=True)
        ),
        members=np.arange(start),
        block_of=np.repeat(np.arange(len(blocks)), [len(m) for m in members]),
        permutations=group,
        translations=np.zeros(len(group), dtype=bool),
        group_order=len(group),
        exclusions=np.array(closed, dtype=np.int64).reshape(-1, 2),
        blocked=np.zeros(start, dtype=bool),
        unavoidable=np.zeros((0, 2), dtype=np.int64),
        min_distance_A=1.0 if closed else None,
    )


@st.composite
def spaces(draw, *, exclusions: bool):
    sizes = draw(st.lists(st.integers(2, 5), min_size=1, max_size=3).filter(lambda s: sum(s) <= 10))
    blocks = []
    for size in sizes:
        species = draw(st.permutations(ALPHABET))[: draw(st.integers(2, min(3, size)))]
        cuts = sorted(
            draw(st.lists(st.integers(1, size - 1), min_size=len(species) - 1, max_size=len(species) - 1, unique=True))
        )
        counts = np.diff([0, *cuts, size])
        ordered = sorted(zip(species, (int(c) for c in counts), strict=True), key=lambda p: ALPHABET.index(p[0]))
        blocks.append(dict(ordered))
    generators = []
    for _ in range(draw(st.integers(0, 2))):
        image: list[int] = []
        start = 0
        for size in sizes:
            image.extend(start + i for i in draw(st.permutations(range(size))))
            start += size
        generators.append(tuple(image))
    n = sum(sizes)
    pair = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    pairs = draw(st.lists(pair, min_size=1, max_size=3)) if exclusions else []
    return abstract_space(blocks, generators, pairs)


def brute_force(space: OrderingSpace) -> dict[tuple[int, ...], int]:
    """Canonical decorations and the sizes of their orbits, by trying everything."""
    parts = [sorted(set(arrangements([c for c, k in enumerate(b.counts) for _ in range(k)]))) for b in space.blocks]
    everything = np.array([sum(p, ()) for p in product(*parts)], dtype=np.uint8)
    everything = everything[space.allows(everything)]
    orbits: dict[tuple[int, ...], int] = {}
    for d in everything:
        images = np.empty((len(space.permutations), len(d)), dtype=int)
        np.put_along_axis(images, space.permutations, np.tile(d, (len(images), 1)), axis=1)
        smallest = min(map(tuple, images.tolist()))
        orbits[smallest] = orbits.get(smallest, 0) + 1
    return orbits


def listed(space: OrderingSpace, **options) -> dict[tuple[int, ...], int]:
    chunks = list(stream_orderings(space, **options))
    rows = [tuple(int(c) for c in d) for chunk in chunks for d in chunk.decorations]
    assert rows == sorted(rows)
    assert len(set(rows)) == len(rows)
    return dict(zip(rows, (int(g) for c in chunks for g in c.degeneracies), strict=True))


@pytest.mark.parametrize("exclusions", [False, True])
def test_listing_equals_brute_force_for_any_group(exclusions):
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(spaces(exclusions=exclusions))
    def check(space):
        assert listed(space) == brute_force(space)

    check()


def words(decorations: np.ndarray) -> np.ndarray:
    """Decorations as numbers in lexicographic order."""
    return decorations.astype(np.int64) @ 4 ** np.arange(decorations.shape[1] - 1, -1, -1, dtype=np.int64)


@pytest.mark.parametrize("seed", range(6))
def test_spaces_of_up_to_a_hundred_thousand_decorations(seed):
    rng = np.random.default_rng(seed)
    shapes = [
        [{"Li": 8, "X": 8}, {"Y": 1, "X": 3}],
        [{"Li": 4, "X": 4}, {"Br": 4, "Cl": 4}, {"Y": 2, "X": 3}],
        [{"Li": 3, "Y": 2, "X": 5}, {"Br": 3, "Cl": 3}],
    ]
    blocks = shapes[seed % 3]
    sizes = [sum(b.values()) for b in blocks]
    # Rotations and reflections of each block keep the group small enough and the stabilisers many.
    turn, flip, start = [], [], 0
    for size in sizes:
        shift = int(rng.integers(1, size))
        turn += [start + (i + shift) % size for i in range(size)]
        flip += [start + (-i) % size for i in range(size)]
        start += size
    pairs = [(0, int(rng.integers(1, sizes[0])))] if seed >= 3 else []
    space = abstract_space(blocks, [tuple(turn), tuple(flip)], pairs)
    everything = np.zeros((1, 0), dtype=np.uint8)
    for block in space.blocks:
        part = np.array(list(product(range(len(block.counts)), repeat=block.size)), dtype=np.uint8)
        part = part[np.all([np.sum(part == k, axis=1) == c for k, c in enumerate(block.counts)], axis=0)]
        everything = np.hstack([np.repeat(everything, len(part), axis=0), np.tile(part, (len(everything), 1))])
    assert len(everything) > 30_000
    everything = everything[space.allows(everything)]
    smallest = words(everything)
    for g in space.permutations:
        smallest = np.minimum(smallest, words(everything[:, np.argsort(g)]))
    expected, sizes_of = np.unique(smallest, return_counts=True)
    chunks = list(stream_orderings(space))
    np.testing.assert_array_equal(words(np.concatenate([c.decorations for c in chunks])), expected)
    np.testing.assert_array_equal(np.concatenate([c.degeneracies for c in chunks]), sizes_of)


@pytest.mark.parametrize("exclusions", [False, True])
def test_the_loop_gives_the_same_bits_compiled_in_plain_python_and_handed_over_midway(exclusions, monkeypatch):
    pytest.importorskip("numba")
    pairs = [(0, 3)] if exclusions else []
    space = abstract_space(
        [{"Li": 3, "X": 3}, {"Y": 1, "Cl": 1, "X": 2}],
        [(1, 2, 3, 4, 5, 0, 7, 8, 9, 6), (0, 5, 4, 3, 2, 1, 6, 9, 8, 7)],
        pairs,
    )
    raw = np.random.default_rng(0).normal(size=(10, 10))
    matrix = np.mean([(raw + raw.T)[np.ix_(g, g)] for g in space.permutations], axis=0)

    def lists(plain_steps, chunk):
        monkeypatch.setattr(Walker, "plain_steps_left", plain_steps)
        chunks = list(stream_orderings(space, chunk=chunk))
        assert all(len(c) == chunk for c in chunks[:-1])
        codes = np.concatenate([c.decorations for c in chunks])
        monkeypatch.setattr(Walker, "plain_steps_left", plain_steps)
        ranked = lowest_orderings(space, matrix, CHARGES, 3, seed=1)
        return codes.tobytes(), ranked

    codes, ranked = lists(0, 5)
    assert listed(space) == brute_force(space)
    for steps in (1, 17, 40, 10**6):
        again_codes, again = lists(steps, 5)
        assert (Walker.plain_steps_left > 0) == (steps == 10**6)
        assert again_codes == codes
        for name in ("decorations", "energies_eV", "degeneracies", "superperiodic"):
            np.testing.assert_array_equal(getattr(again, name), getattr(ranked, name))
        assert (again.mean_eV, again.standard_deviation_eV, again.histogram, again.tie) == (
            ranked.mean_eV, ranked.standard_deviation_eV, ranked.histogram, ranked.tie,
        )  # fmt: skip


def test_a_stream_does_not_depend_on_where_it_is_interrupted():
    space = abstract_space([{"Li": 3, "X": 3}, {"Y": 2, "X": 2}], [(1, 2, 3, 4, 5, 0, 7, 8, 9, 6)], [])
    whole = listed(space)
    assert sum(whole.values()) == 20 * 6
    for chunk in (1, 2, 7):
        assert listed(space, chunk=chunk) == whole


def test_a_listing_may_be_abandoned():
    space = abstract_space([{"Li": 5, "X": 5}], [], [])
    with pytest.raises(CompositionError, match="abandoned after 50 steps"):
        list(stream_orderings(space, max_nodes=50))


@pytest.mark.parametrize("exclusions", [False, True])
def test_the_lowest_are_exact_with_ties_and_statistics(exclusions):
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(spaces(exclusions=exclusions), st.integers(1, 40), st.integers(0, 3))
    def check(space, number, seed):
        rng = np.random.default_rng(seed)
        # A random interaction, averaged over the group: energies of equal orderings are equal.
        raw = rng.normal(size=(space.n_free, space.n_free))
        raw = raw + raw.T
        matrix = np.mean([raw[np.ix_(g, g)] for g in space.permutations], axis=0)
        charges = {**CHARGES, VACANCY: 0.0}
        orbits = brute_force(space)
        if not orbits:
            with pytest.raises(CompositionError, match="No ordering"):
                lowest_orderings(space, matrix, CHARGES, number)
            return
        q = np.array([charges[s] for s in space.symbols])
        codes = np.array(list(orbits), dtype=np.uint8)
        energies = ewald_energies(matrix, q[space.site_codes(codes)])
        sizes = np.array(list(orbits.values()))
        found = lowest_orderings(space, matrix, CHARGES, number, seed=seed)
        kept = min(number, len(orbits))
        assert len(found) == kept
        np.testing.assert_allclose(found.energies_eV, np.sort(energies)[:kept], atol=1e-9)
        rows = [tuple(int(c) for c in d) for d in found.decorations]
        assert len(set(rows)) == kept
        assert [orbits[r] for r in rows] == found.degeneracies.tolist()
        assert (found.distinct, found.raw) == (len(orbits), sizes.sum())
        assert found.mean_eV == pytest.approx(np.average(energies, weights=sizes), abs=1e-9)
        spread = np.sqrt(np.average((energies - found.mean_eV) ** 2, weights=sizes))
        assert found.standard_deviation_eV == pytest.approx(spread, abs=1e-6)
        if found.histogram is not None:
            edges = found.histogram.edges_eV
            np.testing.assert_array_equal(found.histogram.distinct, np.histogram(energies, edges)[0])
            np.testing.assert_array_equal(found.histogram.raw, np.histogram(energies, edges, weights=sizes)[0])
        at = np.abs(energies - np.sort(energies)[kept - 1]) <= RESOLUTION_EV
        room = number - int(np.sum(energies < np.sort(energies)[kept - 1] - RESOLUTION_EV))
        if at.sum() > room:
            assert found.tie is not None
            assert (found.tie.members, found.tie.raw, found.tie.taken) == (at.sum(), sizes[at].sum(), room)
        else:
            assert found.tie is None

    check()


def test_the_choice_within_a_tie_is_even():
    # Chlorine and bromine carry the same charge: all 924 orderings are one level.
    space = abstract_space([{"Br": 6, "Cl": 6}], [], [])
    matrix = np.zeros((12, 12))
    everything = [tuple(int(c) for c in d) for chunk in stream_orderings(space) for d in chunk.decorations]
    place = {row: index for index, row in enumerate(everything)}
    times = np.zeros(len(everything))
    for seed in range(200):
        found = lowest_orderings(space, matrix, CHARGES, 12, seed=seed)
        where = [place[tuple(int(c) for c in d)] for d in found.decorations]
        # One from each twelfth of the listing.
        assert [w // 77 for w in where] == list(range(12))
        times[where] += 1
    # 2400 draws over 924 members: chi-squared has 912 degrees of freedom (each stretch gives exactly one a time).
    expected = 2400 / 924
    chi2 = float(np.sum((times - expected) ** 2 / expected))
    assert abs(chi2 - 912) < 4 * np.sqrt(2 * 912)
