from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import CompositionError, PotentialError
from superionic.thermodynamics import Entry, compare_polymorphs, convex_hull

CL = {"Li": 3, "Y": 1, "Cl": 6}
BR = {"Li": 3, "Y": 1, "Br": 6}


def mixed(name, n_br, energy, *, crystal="C2/m", cells=1, convention="PBE", **options):
    """Li3YCl(6-n)Br(n), `cells` formula units."""
    counts = {"Li": 3 * cells, "Y": cells, "Cl": (6 - n_br) * cells, "Br": n_br * cells}
    return Entry(name, {k: v for k, v in counts.items() if v}, energy * cells, convention, crystal, **options)


def test_pseudo_binary_by_hand():
    entries = [
        mixed("cl", 0, -40.0, cells=3),
        mixed("br", 6, -34.0),
        mixed("half", 3, -37.0 - 0.3, cells=2),
        mixed("quarter", 2, -38.0 - 0.1),  # the tie line cl–half has -0.2 there
        mixed("half_up", 3, -37.0 - 0.2),
    ]
    hull = convex_hull(entries, [CL, BR])
    assert hull.end_members == ("Li3YCl6", "Li3YBr6")
    assert hull.end_member_names == ("cl", "br")
    np.testing.assert_allclose(hull.coordinates[:, 1], [0, 1, 0.5, 1 / 3, 0.5])
    np.testing.assert_allclose(hull.energies_above_hull_eV_per_formula_unit, [0, 0, 0, 0.1, 0.1], atol=1e-13)
    np.testing.assert_allclose(hull.energies_above_hull_eV_per_atom, [0, 0, 0, 0.01, 0.01], atol=1e-14)
    np.testing.assert_allclose(hull.formation_energies_eV_per_formula_unit, [0, 0, -0.3, -0.1, -0.2], atol=1e-13)
    np.testing.assert_allclose(hull.formation_energies_eV_per_atom, [0, 0, -0.03, -0.01, -0.02], atol=1e-14)
    assert hull.stable.tolist() == [True, True, True, False, False]
    assert hull.decompositions[3].names == ("cl", "half")
    np.testing.assert_allclose(hull.decompositions[3].fractions, [1 / 3, 2 / 3])
    assert hull.decompositions[4].names == ("half",)
    assert not hull.coordinates.flags.writeable


def test_energy_on_hull_is_exactly_zero_and_never_negative():
    rng = np.random.default_rng(1)
    entries = [
        mixed(f"e{i}", int(rng.integers(0, 7)), -30 - rng.normal(), cells=int(rng.integers(1, 4))) for i in range(60)
    ]
    entries += [mixed("cl", 0, -30.0), mixed("br", 6, -30.0)]
    hull = convex_hull(entries, [CL, BR])
    assert hull.energies_above_hull_eV_per_atom.min() == 0.0
    assert np.all(hull.energies_above_hull_eV_per_atom >= 0.0)
    assert hull.stable.sum() >= 2


def test_one_end_member_ranks_orderings_of_one_composition():
    entries = [mixed("a", 0, -40.0, cells=3), mixed("b", 0, -40.5), mixed("c", 0, -40.2)]
    hull = convex_hull(entries, [CL])
    np.testing.assert_allclose(hull.energies_above_hull_eV_per_formula_unit, [0.5, 0, 0.3], atol=1e-13)
    assert hull.decompositions[0].names == ("b",)


def test_formula_unit_of_entry_end_members_or_reduced_formula():
    entries = [mixed("cl", 0, -40.0), mixed("br", 6, -34.0), mixed("m", 3, -36.0, cells=4)]
    up = lambda **kw: convex_hull(entries, [CL, BR], **kw).energies_above_hull_eV_per_formula_unit[2]  # noqa: E731
    assert up() == 1.0
    assert up(formula_unit="reduced") == 1.0
    # Li3YCl3.5Br2.5-like cells: the reduced formula holds two end-member units
    odd = Entry("odd", {"Li": 12, "Y": 4, "Cl": 18, "Br": 6}, 4 * (-38.5 + 1.0), "PBE")
    units = lambda **kw: convex_hull([*entries, odd], [CL, BR], **kw).formula_units[3]  # noqa: E731
    assert units() == 4.0
    assert units(formula_unit="reduced") == 2.0
    given = mixed("m", 3, -36.0, cells=4, formula_units=2)
    assert convex_hull([*entries[:2], given], [CL, BR]).energies_above_hull_eV_per_formula_unit[2] == 2.0


def test_end_member_may_bring_its_own_energy():
    reference = mixed("mp-br", 6, -34.0)
    hull = convex_hull([mixed("cl", 0, -40.0), mixed("half", 3, -36.5), mixed("worse-br", 6, -33.0)], [CL, reference])
    assert hull.names == ("cl", "half", "worse-br")
    np.testing.assert_allclose(hull.energies_above_hull_eV_per_formula_unit, [0, 0.5, 1.0], atol=1e-13)
    assert hull.decompositions[1].names == ("cl", "mp-br")
    assert hull.end_member_names == ("cl", "mp-br")


def test_bad_input_is_refused_with_its_fix():
    entries = [mixed("cl", 0, -40.0), mixed("half", 3, -36.5)]
    with pytest.raises(CompositionError, match="end member Li3YBr6") as caught:
        convex_hull(entries, [CL, BR])
    assert "compute" in str(caught.value.fix)
    with pytest.raises(CompositionError, match="called 'cl'"):
        convex_hull([*entries, mixed("cl", 6, -34.0)], [CL, BR])
    with pytest.raises(PotentialError, match="conventions"):
        convex_hull([*entries, mixed("br", 6, -34.0, convention="r2SCAN")], [CL, BR])
    with pytest.raises(PotentialError, match="conventions"):
        convex_hull(entries, [CL, mixed("br", 6, -34.0, convention="r2SCAN")])
    with pytest.raises(CompositionError, match="not a mixture"):
        convex_hull([*entries, Entry("nacl", {"Na": 1, "Cl": 1}, -6.0, "PBE")], [CL, BR])
    with pytest.raises(CompositionError, match="no entries"):
        convex_hull([], [CL])


def test_result_does_not_depend_on_the_order_of_entries():
    rng = np.random.default_rng(3)
    entries = [mixed(f"e{i}", i % 7, -30 - rng.normal(), cells=1 + i % 3) for i in range(21)]
    straight = convex_hull(entries, [CL, BR])
    turned = convex_hull(entries[::-1], [CL, BR])
    assert np.array_equal(straight.energies_above_hull_eV_per_atom, turned.energies_above_hull_eV_per_atom[::-1])


def test_polymorphs_at_equal_composition():
    entries = [
        mixed("p1", 0, -40.00, crystal="P-3m1", cells=3),
        mixed("p2", 0, -40.05, crystal="P-3m1"),
        mixed("c1", 0, -40.02, crystal="C2/m", cells=2),
        mixed("c2", 6, -34.00, crystal="C2/m"),
        mixed("p3", 6, -33.90, crystal="P-3m1"),
        mixed("lone", 3, -37.0, crystal="C2/m"),
    ]
    cl, br, half = compare_polymorphs(entries)
    assert (cl.formula, cl.crystals, cl.names) == ("Li3YCl6", ("P-3m1", "C2/m"), ("p2", "c1"))
    assert cl.energies_eV_per_atom[0] - cl.energies_eV_per_atom[1] == pytest.approx(-0.003, abs=1e-12)
    assert br.crystals == ("C2/m", "P-3m1")
    assert br.energies_eV_per_atom[1] - br.energies_eV_per_atom[0] == pytest.approx(0.010, abs=1e-12)
    assert half.crystals == ("C2/m",)
    with pytest.raises(PotentialError):
        compare_polymorphs([*entries, mixed("x", 0, -40.0, convention="other")])


def test_polymorphs_of_equal_energy_come_in_order_of_name():
    both = [mixed("a", 0, -40.0, crystal="P-3m1"), mixed("b", 0, -40.0, crystal="C2/m", cells=3)]
    assert compare_polymorphs(both)[0].crystals == ("C2/m", "P-3m1")


def halide(name, n_in, n_br, energy, cells=4):
    """Li3In(x)Y(1-x)Br(6y)Cl(6-6y) with n_in of four In and n_br of 24 Br."""
    counts = {"Li": 12, "In": n_in, "Y": 4 - n_in, "Br": n_br, "Cl": 24 - n_br}
    return Entry(name, {element: count for element, count in counts.items() if count}, cells * energy, "PBE")


SQUARE = [
    {"Li": 3, "Y": 1, "Cl": 6},
    {"Li": 3, "In": 1, "Cl": 6},
    {"Li": 3, "Y": 1, "Br": 6},
    {"Li": 3, "In": 1, "Br": 6},
]


def test_square_of_a_reciprocal_system_by_hand():
    # YCl + InBr lies 0.2 eV below YBr + InCl: the diagonal between the former is a tie line of the end members.
    corners = [
        halide("YCl", 0, 0, -40.0),
        halide("InCl", 4, 0, -38.0),
        halide("YBr", 0, 24, -34.0),
        halide("InBr", 4, 24, -32.2),
    ]
    middle = halide("middle", 2, 12, -36.1 + 0.05)
    edge = halide("edge", 2, 0, -39.0 - 0.1)
    off = halide("off", 1, 18, -35.5)
    hull = convex_hull([*corners, middle, edge, off], SQUARE)
    assert hull.coordinates.shape == (7, 4)
    np.testing.assert_allclose(hull.coordinates.sum(axis=1), 1.0)
    # In the middle: half YCl + half InBr has -36.1 per formula unit; half YBr + half InCl -36.0.
    np.testing.assert_allclose(hull.coordinates[4], [0.5, 0, 0, 0.5])
    assert hull.formation_energies_eV_per_formula_unit[4] == pytest.approx(0.05, abs=1e-12)
    # It decomposes into 2/3 off + 1/3 InCl, at -36 1/3.
    assert hull.energies_above_hull_eV_per_formula_unit[4] == pytest.approx(36 + 1 / 3 - 36.05, abs=1e-12)
    assert hull.decompositions[4].names == ("InCl", "off")
    assert hull.formation_energies_eV_per_formula_unit[5] == pytest.approx(-0.1, abs=1e-12)
    assert hull.stable.tolist() == [True, True, True, True, False, True, True]
    # x = 1/4, y = 3/4 lies in the triangle YCl, YBr, InBr: 1/4 YCl + 1/2 YBr + 1/4 InBr = -35.05
    np.testing.assert_allclose(hull.coordinates[6], [0.25, 0, 0.5, 0.25])
    assert hull.formation_energies_eV_per_formula_unit[6] == pytest.approx(-35.5 + 35.05, abs=1e-12)
    np.testing.assert_allclose(hull.formula_units, 4.0)


def test_square_equals_the_triangle_that_holds_the_same_entries():
    rng = np.random.default_rng(5)
    triangle = [halide("InCl", 4, 0, -38.0), halide("YBr", 0, 24, -34.0), halide("InBr", 4, 24, -32.2)]
    inner = [
        halide(f"e{i}", n_in, n_br, -36 - rng.normal())
        for i, (n_in, n_br) in enumerate((a, b) for a in range(5) for b in range(0, 25, 6) if 6 * a + b >= 24)
    ]
    far = halide("YCl", 0, 0, +100.0)  # so high that it takes no part
    three = convex_hull([*triangle, *inner], SQUARE[1:])
    four = convex_hull([*triangle, *inner, far], SQUARE)
    np.testing.assert_allclose(
        four.energies_above_hull_eV_per_atom[:-1], three.energies_above_hull_eV_per_atom, atol=1e-14
    )
    np.testing.assert_allclose(
        four.formation_energies_eV_per_atom[:-1], three.formation_energies_eV_per_atom, atol=1e-14
    )


def test_end_members_are_corners_and_enclose():
    entries = [halide("YCl", 0, 0, -40.0), halide("YBr", 0, 24, -34.0), halide("half", 0, 12, -37.0)]
    with pytest.raises(CompositionError, match="Li3YBr3Cl3 is a mixture of the others"):
        convex_hull(entries, [SQUARE[0], SQUARE[2], {"Li": 3, "Y": 1, "Cl": 3, "Br": 3}])
    corners = [halide(f"c{i}", a, b, -36.0) for i, (a, b) in enumerate([(0, 0), (4, 0), (0, 12), (4, 12)])]
    members = [*SQUARE[:2], {"Li": 3, "Y": 1, "Cl": 3, "Br": 3}, {"Li": 3, "In": 1, "Cl": 3, "Br": 3}]
    with pytest.raises(CompositionError, match="outside"):
        convex_hull([*corners, halide("br", 2, 18, -36.0)], members)
