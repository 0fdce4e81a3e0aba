from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from superionic.errors import CompositionError, StructureError
from superionic.structures.composition import IntegerComposition, integer_compositions, substitute
from superionic.structures.disordered import crystal_from_sites
from superionic.structures.supercells import supercell_sites


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
    assert IntegerComposition.from_dict(best.to_dict()) == best


def test_fractional_oxidation_states():
    x = np.array([[0, 0, 0], [0.3, 0.2, 0.1]])
    cell = np.diag([4.0, 5.0, 6.0])
    crystal = crystal_from_sites("magnetite-like", cell, x, [{"Fe": 0.75}, {"O": 1.0}])
    best = integer_compositions(crystal, "1x2x2", {"Fe": 8 / 3, "O": -2})[0]
    assert best.totals == {"Fe": 3, "O": 4}
