from __future__ import annotations

from fractions import Fraction

import pytest

from superionic.errors import CompositionError
from superionic.structures.crystal.axes import Axis, apply_point, formula_unit, grid_points, parse_axis
from superionic.structures.crystal.composition import compact_supercell, integer_compositions, smallest_index
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.structures.crystal.occupancies import follow_neutrality, redistribute, with_occupancies
from superionic.structures.io.files import read_crystal

STEPS = tuple(k / 2 for k in range(13))


@pytest.fixture(scope="module")
def states(charges):
    return {**charges, "In": 3, "I": -1, "S": -2, "Ge": 4}


def total(crystal, species):
    return crystal.composition.get(species, 0.0)


def test_the_text_form():
    assert parse_axis("Cl:Br:x=3") == Axis("Cl", "Br", "x", (3.0,))
    assert parse_axis("Cl:Br:x=0..6:0.5").values == STEPS
    assert parse_axis("Cl:Br:x=0..0.3:0.1").values == (0.0, 0.1, 0.2, 0.3)
    assert parse_axis("Cl:Br:x=0..2").values == (0.0, 1.0, 2.0)
    assert parse_axis(" Cl : Br : x = 0, 1.5 ,3 ") == Axis("Cl", "Br", "x", (0.0, 1.5, 3.0))
    assert parse_axis("Cl:Br:x=0,1,2..3:0.5").values == (0.0, 1.0, 2.0, 2.5, 3.0)
    assert parse_axis("Cl:Br:x=1/3").values == (1 / 3,)
    follows = Axis("P", "Si", "x", (2.0,), follows=("Na",))
    assert parse_axis("P:Si:x=2,Na=follows") == parse_axis("P:Si:x=2;Na") == follows
    assert parse_axis("P:Si:x=0..3,Na=follows,Li=follows").follows == ("Na", "Li")
    assert parse_axis("Cl:Br:6y=0.5") == Axis("Cl", "Br", "y", (0.5,), factor=6.0)
    assert parse_axis("S:O:4x") == Axis("S", "O", "x", (), factor=4.0)
    assert parse_axis("Cl:Br:x=3@Li3YCl6").formula_unit == "Li3YCl6"
    assert parse_axis("Cl:Br:x=3", formula_unit="YCl3").formula_unit == "YCl3"
    assert str(parse_axis("Cl:Br:6y=0.5")) == "Cl:Br:6y"


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("Cl:Br", "REPLACE:BY:NAME=VALUES"),
        ("cl:Br:x=1", "Did you mean Cl?"),
        ("Cl:Brr:x=1", "Did you mean Br?"),
        ("Cl:Br:x=1,Na=folows", "Did you mean Na=follows?"),
        ("Cl:Br:x=1,Na=2", "REPLACE:BY"),
        ("Cl:Br:x=a", "REPLACE:BY"),
        ("Cl:Br:x=1/0", "REPLACE:BY"),
        ("Cl:Br:=1", "REPLACE:BY"),
        ("Cl:Br:x=3..1", "START..STOP:STEP"),
        ("Cl:Br:x=0..1:0", "START..STOP:STEP"),
        ("Cl:Br:x=0..1:0.00001", "START..STOP:STEP"),
        ("Cl:Br:x=2,1", "Sort them"),
        ("Cl:Cl:x=1", "two different"),
        ("P:Si:x=2,P=follows", "another species"),
        ("X:Li:x=1", "Let a species follow"),
        ("Cl:Br:x=1@Li3(YCl6", "like Li3YCl6"),
    ],
)
def test_mistakes_in_the_text_name_the_fix(text, fix):
    with pytest.raises(CompositionError) as caught:
        parse_axis(text)
    assert fix in caught.value.fix
    assert text in (caught.value.where or "")


def test_grids():
    axes = [parse_axis("Y:In:x=0,0.5"), parse_axis("Cl:Br:6y=0,1")]
    assert grid_points(axes) == [{"x": 0, "y": 0}, {"x": 0, "y": 1}, {"x": 0.5, "y": 0}, {"x": 0.5, "y": 1}]
    assert grid_points([parse_axis("P:Ge:x=0..1:0.5"), parse_axis("S:O:4x")]) == [{"x": 0}, {"x": 0.5}, {"x": 1}]
    assert grid_points([]) == [{}]
    with pytest.raises(CompositionError, match="no values"):
        grid_points([parse_axis("S:O:4x")])
    with pytest.raises(CompositionError, match="different values"):
        grid_points([parse_axis("P:Ge:x=1"), parse_axis("S:O:x=2")])
    with pytest.raises(CompositionError, match="two axes"):
        grid_points([parse_axis("Cl:Br:x=1"), parse_axis("I:Br:y=2")])


def test_li3ycl6_to_li3ybr6(lyc, states):
    axes = [parse_axis("Cl:Br:x=0..6:0.5")]
    formulas = []
    for x in STEPS:
        parent, exact = apply_point(lyc, axes, {"x": x}, states)
        cells = smallest_index(parent, states, exact_totals=exact)
        assert cells == (1 if x == int(x) else 2)
        if cells == 2:
            with pytest.raises(CompositionError) as caught:
                integer_compositions(parent, "1x1x1", states, exact_totals=exact)
            assert "1x1x2" in caught.value.fix
        for supercell in ["1x1x1", "1x1x2"][cells - 1 :]:
            size = int(supercell[-1])
            found = integer_compositions(parent, supercell, states, exact_totals=exact)[0]
            assert found.totals.get("Br", 0) == 3 * size * x
            assert found.totals.get("Cl", 0) == 3 * size * (6 - x)
            assert (found.totals["Li"], found.totals["Y"]) == (9 * size, 3 * size)
            formulas.append(found.formula)
    assert (formulas[0], formulas[-1]) == ("Li3YCl6", "Li3YBr6")


def test_the_smallest_supercells_of_the_grid_of_paper_a(lyc, states):
    axes = [parse_axis("Y:In:x=0,0.25,0.5,1"), parse_axis("Cl:Br:6y=0..1:0.5")]
    points = grid_points(axes)
    assert len(points) == 12
    smallest = {0: 1, 0.25: 4, 0.5: 2, 1: 1}  # three In/Y sites in the parent cell
    for point in points:
        x, y = point["x"], point["y"]
        parent, exact = apply_point(lyc, axes, point, states)
        assert smallest_index(parent, states, exact_totals=exact) == smallest[x]
        cell = compact_supercell(lyc, smallest[x])
        totals = integer_compositions(parent, cell, states, exact_totals=exact)[0].totals
        units = 3 * smallest[x]
        assert totals.get("In", 0) == x * units
        assert totals.get("Y", 0) == (1 - x) * units
        assert totals.get("Br", 0) == 6 * y * units
        if x == 0.25:
            assert smallest_index(parent, states, exact_totals=exact, max_index=3) is None


def test_a_mixture_is_redistributed_on_its_sites(shared, states):
    mixed = read_crystal(shared / "lycb_x3.cif")
    axes = [parse_axis("Cl:Br:x=0..6:0.5")]
    assert formula_unit(mixed, axes) == ("Li3YBr3Cl3", 3)
    for point in grid_points(axes):
        new, exact = apply_point(mixed, axes, point, states)
        assert exact == {"Br": Fraction(3) * Fraction(point["x"]), "Cl": 18 - 3 * Fraction(point["x"])}
        assert total(new, "Br") == pytest.approx(3 * point["x"], abs=1e-6)
        assert total(new, "Cl") + total(new, "Br") == pytest.approx(18)
    same, _ = apply_point(mixed, axes, {"x": 3}, states)
    assert [dict(s.species) for s in same.sublattices] == [
        pytest.approx(dict(s.species), abs=1e-9) for s in mixed.sublattices
    ]
    found = integer_compositions(
        apply_point(mixed, axes, {"x": 3}, states)[0],
        "1x2x2",
        states,
        coupling="coupled",
        exact_totals={"Br": 9, "Cl": 9},
    )[0]
    blocks = [dict(c) for c in found.counts if len(c) > 1]
    assert blocks == [{"Li": 36, "X": 12}, {"Cl": 36, "Br": 36}]  # F4 of the known counts


@pytest.mark.parametrize("name", ["nas_orbit", "nas_coupled"])
def test_sodium_follows_silicon(shared, states, name):
    primitive = read_crystal(shared / f"{name}.cif").primitive()
    axes = [parse_axis("P:Si:x=0..3:0.5,Na=follows")]
    assert formula_unit(primitive, axes) == ("Na3Zr2Si2PO12", 2)
    coupling = "coupled" if name == "nas_coupled" else "per-orbit"

    def composition_at(x):
        parent, exact = apply_point(primitive, axes, {"x": x}, states)
        return integer_compositions(parent, "1x1x1", states, coupling=coupling, exact_totals=exact)[0]

    for x in (point["x"] for point in grid_points(axes)):
        composition = composition_at(x)
        assert composition.totals.get("Na") == 2 * (1 + x)
        assert composition.totals.get("Si", 0) == 2 * x
        assert composition.totals.get("P", 0) == 2 * (3 - x)
        assert composition.deviation == 0.0
    blocks = sorted(tuple(sorted(c.items())) for c in composition_at(2).counts if len(c) > 1)
    sodium = (("Na", 4), ("X", 2)) if name == "nas_orbit" else (("Na", 6), ("X", 2))
    assert blocks == sorted([sodium, (("P", 2), ("Si", 4))])  # D1 and D2 of the known counts
    # The site that is full in the refinement stays full; the shared one empties.
    empty, _ = apply_point(primitive, axes, {"x": 0}, states)
    occupied = {s.name: round(s.species.get("Na", 0.0), 6) for s in empty.sublattices if s.name.startswith("Na")}
    assert list(occupied.values()) == ([1.0, 0.0] if name == "nas_orbit" else [0.25, 0.25])


def test_an_axis_that_changes_the_charge_needs_a_follower(shared, states):
    crystal = read_crystal(shared / "nas_orbit.cif")
    with pytest.raises(CompositionError, match=r"charge of the parent cell by \+6 e") as caught:
        apply_point(crystal, [parse_axis("P:Si:x=1")], {"x": 1}, states)
    assert "P:Si:x=1,Na=follows" in caught.value.fix
    unbalanced, _ = apply_point(crystal, [parse_axis("P:Si:x=1")], {"x": 1}, states, balanced=False)
    assert total(unbalanced, "Na") == pytest.approx(18)
    # x = 2 is the refinement: nothing changes, nothing need follow.
    assert apply_point(crystal, [parse_axis("P:Si:x=2")], {"x": 2}, states)[1] == {"Si": 12, "P": 6}
    with pytest.raises(CompositionError, match="K cannot follow"):
        apply_point(crystal, [parse_axis("P:Si:x=1;K")], {"x": 1}, states)
    with pytest.raises(CompositionError, match="its sites hold 0 to 24"):
        apply_point(crystal, [parse_axis("Zr:Y:x=2"), parse_axis("P:Si:y=3;Na")], {"x": 2, "y": 3}, states)


def test_shared_sites_keep_their_preferences_and_pure_sites_their_atoms(states):
    # As in argyrodites: 4 S that belong to PS4, and two sites where S and Cl mix unequally.
    x = [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.3], [0.1, 0.2, 0.7], [0.7, 0.15, 0.45]]
    sites = [{"P": 1.0}, {"S": 1.0}, {"S": 0.8, "Cl": 0.2}, {"S": 0.2, "Cl": 0.8}, {"Li": 1.0}]
    crystal = crystal_from_sites("a", [[6, 0, 0], [0.4, 7, 0], [0.3, 0.8, 8]], x, sites)
    axis = parse_axis("S:Cl:x=0.4,1,1.6")
    assert formula_unit(crystal, [axis]) == ("LiPS2Cl", 1)
    for point in grid_points([axis]):
        new, exact = apply_point(crystal, [axis], point, states, balanced=False)
        assert exact["Cl"] == Fraction(point["x"]).limit_denominator(100)
        first, second = (new.sublattices[k].species["Cl"] for k in (2, 3))
        assert first + second == pytest.approx(point["x"])
        assert dict(new.sublattices[1].species) == {"S": 1.0}
        # The ratio of the odds is that of the refinement.
        assert second / (1 - second) * (1 - first) / first == pytest.approx(16.0, rel=1e-6)
    with pytest.raises(CompositionError) as caught:
        apply_point(crystal, [axis], {"x": 2.5}, states, balanced=False)
    assert "0 to 2 Cl per formula unit" in caught.value.fix


def test_points_that_do_not_fit(lyc, states):
    with pytest.raises(CompositionError, match="x = 7 does not fit") as caught:
        apply_point(lyc, [parse_axis("Cl:Br:x=7")], {"x": 7}, states)
    assert "0 to 6 Br per formula unit" in caught.value.fix
    with pytest.raises(CompositionError, match="No oxidation state is given for Te"):
        apply_point(lyc, [parse_axis("Cl:Te:x=1")], {"x": 1}, states)
    with pytest.raises(CompositionError, match="none of S, Br"):
        apply_point(lyc, [parse_axis("S:Br:x=1")], {"x": 1}, states)
    with pytest.raises(CompositionError, match="no Cl or Br"):
        apply_point(lyc, [parse_axis("Cl:Br:x=1@LiI3")], {"x": 1}, states)
    with pytest.raises(CompositionError, match="in a circle"):
        apply_point(lyc, [parse_axis("Cl:Br:x=1"), parse_axis("Br:Cl:y=1")], {"x": 1, "y": 1}, states)
    with pytest.raises(CompositionError, match="cannot hold"):
        redistribute(with_occupancies(lyc, {"Cl1": {"Cl": 0.5, "Br": 0.5}}), {"Cl": 2, "Br": 16}, [5, 6, 7])


def test_two_axes_on_the_same_sites(lyc, states):
    axes = [parse_axis("Cl:Br:x=2"), parse_axis("Cl:I:y=1")]
    new, exact = apply_point(lyc, axes, {"x": 2, "y": 1}, states)
    assert exact == {"Br": 6, "I": 3, "Cl": 9}
    assert {s: round(total(new, s), 6) for s in ("Cl", "Br", "I")} == {"Cl": 9, "Br": 6, "I": 3}
    found = integer_compositions(new, "1x1x1", states, exact_totals=exact)[0]
    assert {s: found.totals[s] for s in ("Cl", "Br", "I")} == {"Cl": 9, "Br": 6, "I": 3}


def test_formula_units(lyc):
    assert formula_unit(lyc) == ("Li3YCl6", 3)
    # Aliovalent mixtures count as one: Ti + Al is 12.
    x = [[0, 0, 0.02 * k] for k in range(5)]
    crystal = crystal_from_sites(
        "c", [[9, 0, 0], [0, 9, 0], [0, 0, 60]], x, [{"Li": 0.7}, {"Ti": 0.85, "Al": 0.15}, *[{"O": 1.0}] * 3]
    )
    assert formula_unit(crystal)[1] == 1
    bare = crystal_from_sites("c", [[9, 0, 0], [0, 9, 0], [0, 0, 60]], x[:2], [{"Li": 0.7}, {"Cl": 0.9}])
    with pytest.raises(CompositionError, match="cannot be deduced") as caught:
        formula_unit(bare)
    assert "@" in caught.value.fix


def test_full_sites_empty_only_where_they_must(states):
    x = [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.3], [0.1, 0.2, 0.7]]
    cell = [[6, 0, 0], [0.4, 7, 0], [0.3, 0.8, 8]]
    crystal = crystal_from_sites("c", cell, x, [{"Li": 1.0}, {"Li": 0.5}, {"Cl": 1.0}, {"Cl": 0.2}])
    new = follow_neutrality(crystal, "Li", states)
    assert [round(s.species.get("Li", 0.0), 6) for s in new.sublattices[:2]] == [1.0, 0.2]
    bare = with_occupancies(crystal, {crystal.sublattices[3].name: {}, crystal.sublattices[2].name: {"Cl": 0.6}})
    assert [round(s.species.get("Li", 0.0), 6) for s in follow_neutrality(bare, "Li", states).sublattices[:2]] == [
        0.6,
        0,
    ]
    with pytest.raises(CompositionError, match="would make it neutral"):
        follow_neutrality(crystal, "Li", {"Li": 0.5, "Cl": -1})
    partly = follow_neutrality(crystal, "Li", {"Li": 0.5, "Cl": -1}, partly=True)
    assert total(partly, "Li") == pytest.approx(2.0)
