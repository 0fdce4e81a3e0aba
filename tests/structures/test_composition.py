from __future__ import annotations

import json
import time
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.errors import CompositionError, StructureError
from superionic.execution.codec import from_tree, to_tree
from superionic.structures.crystal.composition import (
    IntegerComposition,
    OccupancyBound,
    integer_compositions,
    smallest_index,
    substitute,
)
from superionic.structures.crystal.disordered import DisorderedCrystal, Site, Sublattice, crystal_from_sites
from superionic.structures.crystal.nearest import IntegerProblem, TooManyStates, has_integer_solution, nearest_vectors
from superionic.structures.crystal.supercells import supercell_sites


def test_the_demo_composition(lyc, charges):
    best = integer_compositions(lyc, "1x1x1", charges)[0]
    counts = dict(zip(best.names, (dict(c) for c in best.counts), strict=True))
    assert counts["Li1"] == {"Li": 5, "X": 1}
    assert counts["Li2"] == {"Li": 4, "X": 2}
    assert counts["Y2"] == {"Y": 1, "X": 1}
    assert counts["Y3"] == {"Y": 1, "X": 1}
    assert best.formula == "Li3YCl6"
    assert best.totals == {"Li": 9, "Y": 3, "Cl": 18}
    assert sorted(i for g in best.groups for i in g) == list(range(35))


def test_every_composition_is_neutral_and_they_are_ranked(lyc, charges):
    found = integer_compositions(lyc, "1x1x2", charges, max_deviation=0.3, limit=50)
    assert len(found) >= 20
    assert all(sum(charges[s] * n for s, n in c.totals.items()) == 0 for c in found)
    assert [c.deviation for c in found] == sorted(c.deviation for c in found)
    assert len({tuple(tuple(c.items()) for c in f.counts) for f in found}) == len(found)
    assert found == integer_compositions(lyc, "1x1x2", charges, max_deviation=0.3, limit=50)
    assert found[:3] == integer_compositions(lyc, "1x1x2", charges, max_deviation=0.3, limit=3)


def test_ranking_agrees_with_brute_force():
    rng = np.random.default_rng(7)
    x = np.array([[0, 0, 0], [0.31, 0.17, 0.05], [0.5, 0.62, 0.71], [0.83, 0.4, 0.37]])
    cell = np.array([[5, 0, 0], [0.7, 6, 0], [0.2, 0.9, 7.0]])
    for _ in range(5):
        a, b, c = rng.random(3)
        crystal = crystal_from_sites("random", cell, x, [{"Li": a}, {"Li": b}, {"Y": c}, {"Cl": 1.0}])
        n = 6
        counts = []
        for i, j, k in product(range(n + 1), repeat=3):
            if i + j + 3 * k == n:
                cost = sum(2 * (v - n * o) ** 2 / n for v, o in ((i, a), (j, b), (k, c)))
                counts.append((round(cost, 9), (i, j, k)))
        expected = [v for _, v in sorted(counts)][:4]
        found = integer_compositions(crystal, "1x2x3", {"Li": 1, "Y": 3, "Cl": -1}, max_deviation=1.0, limit=4)
        by_name = [[f.counts[g].get(s, 0) for g, s in enumerate(("Li", "Li", "Y"))] for f in found]
        assert sorted(tuple(v) for v in by_name) == sorted(expected)
        assert found[0].deviation == pytest.approx((min(counts)[0] / (3 * n)) ** 0.5, abs=1e-5)


def test_coupled_sublattices_share_a_total(lyc, charges):
    per_orbit = integer_compositions(lyc, "1x1x1", charges)[0]
    coupled = integer_compositions(lyc, "1x1x1", charges, coupling="coupled")[0]
    assert len(per_orbit.groups) == 8
    assert {n: dict(c) for n, c in zip(coupled.names, coupled.counts, strict=True)} == {
        "Li1+Li2": {"Li": 9, "X": 3},
        "Y1": {"Y": 1},
        "Y2+Y3": {"Y": 2, "X": 2},
        "Cl1": {"Cl": 6},
        "Cl2": {"Cl": 6},
        "Cl3": {"Cl": 6},
    }
    with pytest.raises(CompositionError, match="not a coupling"):
        integer_compositions(lyc, "1x1x1", charges, coupling="both")


def test_overrides_replace_the_refinement(lyc, charges):
    overrides = {"Li1": {"Li": 1.0}, "Li2": {"Li": 0.5}}
    best = integer_compositions(lyc, "1x1x1", charges, overrides=overrides)[0]
    assert dict(zip(best.names, best.counts, strict=True))["Li1"] == {"Li": 6}
    with pytest.raises(StructureError, match="no sublattice"):
        integer_compositions(lyc, "1x1x1", charges, overrides={"Na": {"Na": 1}})
    with pytest.raises(StructureError, match="between 0 and 1"):
        integer_compositions(lyc, "1x1x1", charges, overrides={"Li1": {"Li": 1.5}})


def test_substitution_keeps_symmetry_and_is_met_exactly(lyc, charges):
    half = substitute(lyc, {"Cl": {"Cl": 0.5, "Br": 0.5}}, name="x = 3")
    assert half.formula == "Li3YBr3Cl3"
    assert half.name == "x = 3"
    assert supercell_sites(half, "1x1x1").group_order == 12
    for composition in integer_compositions(half, "1x1x1", charges, exact_species=("Cl", "Br"), limit=10):
        assert (composition.totals["Cl"], composition.totals["Br"]) == (9, 9)
    full = substitute(lyc, {"Cl": {"Br": 1.0}})
    assert full.formula == "Li3YBr6"
    assert full.species == ("Li", "Y", "Br")
    assert substitute(lyc, {"Cl": {"Cl": 1.0, "Br": 0.0}}).sublattices == lyc.sublattices


def test_a_composition_that_does_not_fit_names_the_supercell_that_does(lyc, charges):
    x = substitute(lyc, {"Cl": {"Cl": 11 / 12, "Br": 1 / 12}})
    with pytest.raises(CompositionError) as caught:
        integer_compositions(x, "1x1x1", charges, exact_species=("Cl", "Br"))
    assert "16.500 Cl" in caught.value.message
    assert "1x1x2" in caught.value.fix
    assert integer_compositions(x, "1x1x2", charges, exact_species=("Cl", "Br"))[0].totals["Br"] == 3


def test_impossible_requests(lyc, charges):
    with pytest.raises(CompositionError, match="No oxidation state is given for Y"):
        integer_compositions(lyc, "1x1x1", {"Li": 1, "Cl": -1})
    with pytest.raises(CompositionError, match="No charge-neutral") as caught:
        integer_compositions(lyc, "1x1x1", {"Li": 1, "Y": 4, "Cl": -5})
    assert "oxidation states" in caught.value.fix
    with pytest.raises(CompositionError, match="limit"):
        integer_compositions(lyc, "1x1x1", charges, limit=0)
    with pytest.raises(CompositionError, match="cannot be replaced"):
        substitute(lyc, {"Br": {"Cl": 1.0}})
    with pytest.raises(CompositionError, match="sum to 1"):
        substitute(lyc, {"Cl": {"Br": 0.5}})
    with pytest.raises(CompositionError, match="do not fill"):
        IntegerComposition(({"Li": 1},), ((0, 1),), 0.0, "Li", ("Li1",))


def test_round_trip_through_plain_values(lyc, charges):
    best = integer_compositions(lyc, "1x1x1", charges)[0]
    assert from_tree(json.loads(json.dumps(to_tree(best))), IntegerComposition) == best


def test_fractional_oxidation_states():
    x = np.array([[0, 0, 0], [0.3, 0.2, 0.1]])
    cell = np.diag([4.0, 5.0, 6.0])
    crystal = crystal_from_sites("magnetite-like", cell, x, [{"Fe": 0.75}, {"O": 1.0}])
    best = integer_compositions(crystal, "1x2x2", {"Fe": 8 / 3, "O": -2})[0]
    assert best.totals == {"Fe": 3, "O": 4}


def orbits(*occupancies, sites):
    """Make a crystal without symmetry of orbits with so many sites each; places mean nothing here."""
    placed, sublattices = [], []
    for k, (species, n) in enumerate(zip(occupancies, sites, strict=True)):
        members = tuple(range(len(placed), len(placed) + n))
        placed += [Site(f"s{k}", (0.1 * k, 0.01 * m, 0.0), species, k, "a") for m in range(n)]
        sublattices.append(Sublattice(f"s{k}", members, species, "a", n))
    one = np.eye(3, dtype=np.int64)[None]
    return DisorderedCrystal("c", np.eye(3) * 20, tuple(placed), tuple(sublattices), one, np.zeros((1, 3)), 1, "P1")


def test_known_spaces_have_these_counts(shared, charges):
    from superionic.structures.io.files import read_crystal

    known = json.loads((shared / "known_counts.json").read_text())["fixed_supercell"]
    seen = 0
    for name, case in known.items():
        if not {e for block in case["blocks"] for e in block["comp"]} <= {*charges, "X"}:
            continue
        crystal = read_crystal(shared / case["cif"])
        if case["supercell"] == "prim":
            crystal, cell = crystal.primitive(), "1x1x1"
        else:
            cell = [int(v) for v in case["supercell"].strip("()").split(",")]
        coupling = "coupled" if "coupled" in name else "per-orbit"
        best = integer_compositions(crystal, cell, charges, coupling=coupling)[0]
        found = sorted(tuple(sorted(c.items())) for c in best.counts if len(c) > 1)
        assert found == sorted(tuple(sorted(b["comp"].items())) for b in case["blocks"]), name
        seen += 1
    assert seen >= 10


@st.composite
def problems(draw):
    n = draw(st.integers(1, 5))
    sizes = draw(st.lists(st.integers(1, 5), min_size=n, max_size=n))
    means = draw(st.lists(st.floats(0.0, 1.0), min_size=n, max_size=n))
    rows = draw(st.integers(1, 3))
    matrix = draw(st.lists(st.lists(st.integers(-3, 5), min_size=n, max_size=n), min_size=rows, max_size=rows))
    slack = draw(st.integers(0, 3 * n))
    for k, row in enumerate(matrix if slack < n else ()):
        row[slack] = int(k == 0)
    # Mostly solvable: the totals of some point of the box.
    point = [draw(st.integers(0, s)) for s in sizes]
    totals = np.array(matrix) @ point + draw(st.sampled_from([0, 0, 0, 1]))
    weights = 1.0 / np.array(sizes)
    weights[slack:][:1] = 0.0
    return IntegerProblem(
        means=np.round(np.array(means) * sizes, 3) * (weights > 0),
        weights=weights,
        lower=np.zeros(n, dtype=np.int64),
        upper=np.array(sizes, dtype=np.int64),
        coefficients=np.array(matrix, dtype=np.int64),
        totals=totals.astype(np.int64),
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(problems(), st.integers(1, 12))
def test_nearest_vectors_agree_with_brute_force(problem, limit):
    box = product(*(range(int(u) + 1) for u in problem.upper))
    every = [
        (float(np.sum(problem.weights * (np.array(v) - problem.means) ** 2)), v)
        for v in box
        if np.array_equal(problem.coefficients @ np.array(v), problem.totals)
    ]
    every.sort(key=lambda v: (round(v[0], 8), v[1]))
    found = nearest_vectors(problem, limit)
    assert [c for c, _ in found] == pytest.approx([c for c, _ in every[:limit]], abs=1e-8)
    assert {v for _, v in found} <= {v for _, v in every}
    assert len({v for _, v in found}) == len(found)
    if every:
        assert has_integer_solution(problem.coefficients, problem.totals)


def test_integer_solutions_need_a_common_divisor():
    assert has_integer_solution(np.array([[2, 3]]), np.array([1]))
    assert not has_integer_solution(np.array([[2, 4]]), np.array([3]))
    assert not has_integer_solution(np.array([[1, 1], [1, 1]]), np.array([1, 2]))
    assert not has_integer_solution(np.array([[1, 1], [1, -1]]), np.array([0, 1]))
    assert has_integer_solution(np.array([[0, 0]]), np.array([0]))


def test_a_search_that_grows_too_large_says_so():
    sizes = np.array([40] * 8)
    problem = IntegerProblem(
        means=sizes * 0.37,
        weights=1.0 / sizes,
        lower=np.zeros(8, dtype=np.int64),
        upper=sizes,
        coefficients=np.array([[1, 1, 1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6, 7, 8]]),
        totals=np.array([110, 700]),
    )
    with pytest.raises(TooManyStates):
        nearest_vectors(problem, 5, max_states=3)
    assert len(nearest_vectors(problem, 5)) == 5


def test_explicit_coupling(lyc, charges):
    found = integer_compositions(lyc, "1x1x1", charges, coupling=[["Li1", "Li2"]])[0]
    assert found.names == ("Li1+Li2", "Y1", "Y2", "Y3", "Cl1", "Cl2", "Cl3")
    assert dict(found.counts[0]) == {"Li": 9, "X": 3}
    # Groups may join sites with different species, full ones included.
    mixed = integer_compositions(lyc, "1x1x1", charges, coupling=[["Y1", "Y2", "Y3"], ["Li1"]])[0]
    assert dict(zip(mixed.names, mixed.counts, strict=True))["Y1+Y2+Y3"] == {"Y": 3, "X": 2}
    with pytest.raises(CompositionError, match="twice"):
        integer_compositions(lyc, "1x1x1", charges, coupling=[["Li1", "Li2"], ["Li2"]])
    with pytest.raises(StructureError, match="no sublattice 'Li9'"):
        integer_compositions(lyc, "1x1x1", charges, coupling=[["Li1", "Li9"]])


def test_exact_totals_are_met_or_named(lyc, charges):
    half = substitute(lyc, {"Cl": {"Cl": 0.5, "Br": 0.5}})
    for found in integer_compositions(half, "1x1x1", charges, exact_totals={"Br": 10}, limit=5):
        assert (found.totals["Cl"], found.totals["Br"]) == (8, 10)
    with pytest.raises(CompositionError, match=r"9\.500 Br") as caught:
        integer_compositions(half, "1x1x1", charges, exact_totals={"Br": Fraction(19, 2)})
    assert "2 parent cells, such as 1x1x2" in caught.value.fix
    third = {"Br": Fraction(28, 3), "Cl": Fraction(26, 3)}
    assert smallest_index(half, charges, exact_totals=third) == 3
    assert smallest_index(half, charges, exact_totals=third, max_index=2) is None


def test_refinements_off_neutral_are_met_as_near_as_possible():
    crystal = orbits({"Li": 0.3}, {"Zr": 1.0}, {"O": 1.0}, sites=(24, 4, 16))
    wide = integer_compositions(crystal, "1x1x1", {"Li": 1, "Zr": 4, "O": -2}, max_deviation=None)
    assert [c.totals["Li"] for c in wide] == [16]
    assert wide[0].deviation == pytest.approx(2**0.5 * (16 / 24 - 0.3), abs=1e-5)


def test_too_narrow_a_window_says_how_wide_is_enough():
    crystal = orbits({"Li": 0.3}, {"Zr": 1.0}, {"O": 1.0}, sites=(24, 4, 16))
    with pytest.raises(CompositionError) as caught:
        integer_compositions(crystal, "1x1x1", {"Li": 1, "Zr": 4, "O": -2})
    assert "now 0.1; 0.367 is enough" in caught.value.fix
    found = integer_compositions(crystal, "1x1x1", {"Li": 1, "Zr": 4, "O": -2}, max_deviation=0.367)
    assert found[0].totals["Li"] == 16


def test_bounds_on_occupied_sites():
    # Split sites: no more than half of each orbit, and no more than 6 of both together.
    crystal = orbits({"Li": 0.6}, {"Li": 0.4}, {"Cl": 1.0}, sites=(8, 8, 7))
    states = {"Li": 1, "Cl": -1}
    free = integer_compositions(crystal, "1x1x1", states, max_deviation=None)[0]
    assert [dict(c) for c in free.counts[:2]] == [{"Li": 4, "X": 4}, {"Li": 3, "X": 5}]
    one = OccupancyBound({"s0": 1}, 3)
    for cell, n in (("1x1x1", 1), ("1x1x2", 2)):
        bounded = integer_compositions(crystal, cell, states, max_occupied=[one], max_deviation=None, limit=50)
        assert max(c.counts[0].get("Li", 0) for c in bounded) == 3 * n
    with pytest.raises(CompositionError):
        integer_compositions(crystal, "1x1x1", states, max_occupied=[OccupancyBound({"s0": 1, "s1": 1}, 6)])
    pairs = OccupancyBound({"s0": 2, "s1": 1}, 9)
    weighted = integer_compositions(crystal, "1x1x1", states, max_occupied=[pairs], max_deviation=None, limit=50)
    counts = [(c.counts[0].get("Li", 0), c.counts[1].get("Li", 0)) for c in weighted]
    assert sorted(counts) == [(0, 7), (1, 6), (2, 5)]
    assert counts[0] == (2, 5)
    coupled = integer_compositions(
        crystal, "1x1x1", states, coupling="coupled", max_occupied=[OccupancyBound({"s0": 1, "s1": 1}, 7)]
    )
    assert dict(coupled[0].counts[0]) == {"Li": 7, "X": 9}
    full = OccupancyBound({"s2": 1}, 6)
    with pytest.raises(CompositionError, match="more sites are occupied"):
        integer_compositions(crystal, "1x1x1", states, max_occupied=[full])
    with pytest.raises(CompositionError, match="no meaning"):
        OccupancyBound({}, 3)


@pytest.mark.parametrize("cell", ["1x1x1", "2x2x2"])
def test_many_sublattices_of_many_species_take_seconds(cell):
    rng = np.random.default_rng(5)
    states = {"Li": 1, "Na": 1, "Y": 3, "Zr": 4, "P": 5, "O": -2, "Cl": -1, "S": -2, "N": -3}
    occupancies, sites = [], []
    for _ in range(30):
        names = sorted(rng.choice(list(states), int(rng.integers(1, 5)), replace=False))
        fractions = rng.dirichlet(np.ones(len(names) + 1))[:-1].round(3)
        occupancies.append({str(n): float(f) for n, f in zip(names, fractions, strict=True)})
        sites.append(int(rng.choice([4, 8, 16])))
    crystal = orbits(*occupancies, sites=sites)
    start = time.perf_counter()
    found = integer_compositions(crystal, cell, states, max_deviation=None)
    assert time.perf_counter() - start < 10.0
    assert len(found) == 20
    assert all(sum(states[s] * n for s, n in c.totals.items()) == 0 for c in found)
    assert [c.deviation for c in found] == sorted(c.deviation for c in found)
