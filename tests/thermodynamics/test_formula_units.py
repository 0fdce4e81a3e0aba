"""How many formula units a cell holds, and what energies per formula unit follow from it, by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from superionic.execution.task import Context
from superionic.references import parse_formula
from superionic.results.identity import AxisValue, Material, OrderedCell, Ordering, ReferencePhase
from superionic.stages.phase_diagram import hull_task
from superionic.stages.select import select_task
from superionic.thermodynamics.formation import formula_units
from superionic.units import BOLTZMANN_EV_PER_K

NASICON = {"unit": parse_formula("NaZr2P3O12"), "replacements": [("P", "Si")], "mobile_ion": "Na"}
HALIDE = {"unit": parse_formula("Li3YCl6"), "replacements": [("Y", "In"), ("Cl", "Br")], "mobile_ion": "Li"}
SULFIDE = {"unit": parse_formula("Li3PS4"), "replacements": [("P", "Ge"), ("S", "O")], "mobile_ion": "Li"}
ALIOVALENT = {"unit": parse_formula("Li3YCl6"), "replacements": [("Y", "Zr")], "mobile_ion": "Li"}


@pytest.mark.parametrize(
    ("cell", "rule", "units"),
    [
        ({"Na": 6, "Zr": 12, "P": 18, "O": 72}, NASICON, 6),  # 108 atoms, 18 in each unit
        ({"Na": 24, "Zr": 12, "Si": 18, "O": 72}, NASICON, 6),  # 126 atoms, 21 in each unit
        ({"Na": 18, "Zr": 12, "Si": 12, "P": 6, "O": 72}, NASICON, 6),
        ({"Li": 9, "Y": 3, "Cl": 18}, HALIDE, 3),
        ({"Li": 12, "In": 1, "Y": 3, "Br": 24}, HALIDE, 4),
        ({"Li": 6, "In": 1, "Y": 1, "Br": 6, "Cl": 6}, HALIDE, 2),  # reduced: Li6InYBr6Cl6
        ({"Li": 24, "P": 8, "S": 32}, SULFIDE, 8),
        ({"Li": 28, "P": 4, "Ge": 4, "S": 16, "O": 16}, SULFIDE, 8),  # 68 atoms at x = 1/2
        ({"Li": 16, "Ge": 4, "O": 16}, SULFIDE, 4),
        ({"Li": 5, "Y": 1, "Zr": 1, "Cl": 12}, ALIOVALENT, 2),  # Li vacancies make up for the charge
        ({"Li": 2, "Zr": 1, "Cl": 6}, ALIOVALENT, 1),
        ({"Li": 4, "Y": 2, "Cl": 12}, HALIDE, 2),  # Li left out: the framework tells
    ],
)
def test_a_cell_counts_by_its_framework(cell, rule, units):
    assert formula_units(cell, **rule) == units


def test_a_unit_may_be_written_at_any_composition_and_in_fractions():
    cell = {"Na": 24, "Zr": 12, "Si": 18, "O": 72}
    assert formula_units(cell, **(NASICON | {"unit": parse_formula("Na3Zr2Si2PO12")})) == 6
    half = parse_formula("Li3In0.5Y0.5Br3Cl3")
    assert formula_units({"Li": 9, "Y": 3, "Cl": 18}, **(HALIDE | {"unit": half})) == 3
    assert formula_units({"Li": 3, "Y": 1, "Cl": 6}, parse_formula("Li6Y2Cl12"), mobile_ion="Li") == Fraction(1, 2)


def test_what_has_another_framework_has_no_formula_unit():
    assert formula_units({"Li": 1, "Cl": 1}, **HALIDE) is None
    assert formula_units({"Li": 2, "Y": 1, "Cl": 5}, **HALIDE) is None
    assert formula_units({"Li": 3, "Sc": 1, "Cl": 6}, **HALIDE) is None
    assert formula_units({"Na": 1, "Zr": 2, "P": 2, "Si": 1, "O": 12}, parse_formula("NaZr2P3O12")) is None


def ordering(crystal, index, **point):
    values = tuple(AxisValue(axis, float(value)) for axis, value in point.items())
    return Ordering(OrderedCell(Material(crystal, values)), index)


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, lambda *_: None, {})


def test_nasicon_one_eV_per_formula_unit_is_one_at_every_composition(context):
    # Six formula units in each cell. Every second ordering lies 1 eV per formula unit above the one before.
    cells = [{"Na": 6 + 6 * x, "Zr": 12, "Si": 6 * x, "P": 18 - 6 * x, "O": 72} for x in (0, 1, 2, 3) for _ in range(2)]
    cells = [{element: count for element, count in cell.items() if count} for cell in cells]
    energies = [-6 * (150.0 + x) + 6.0 * above for x in (0, 1, 2, 3) for above in (0, 1)]
    orderings = [ordering("r-3c", index, Si=x) for x in (0, 1, 2, 3) for index in (0, 1)]
    diagram = hull_task(
        context,
        end_members=["NaZr2P3O12", "Na4Zr2Si3O12"],
        energy_convention="PBE",
        formula_unit="NaZr2P3O12",
        replacements=[("P", "Si")],
        mobile_ion="Na",
        identities=orderings,
        compositions=cells,
        energies_eV=energies,
    )
    assert [entry.formula_units for entry in diagram.entries] == [6.0] * 8
    above = [entry.e_above_hull_eV_per_formula_unit for entry in diagram.entries]
    np.testing.assert_allclose(above, [0, 1] * 4, atol=1e-12)
    per_atom = [entry.e_above_hull_eV_per_atom for entry in diagram.entries]
    np.testing.assert_allclose(per_atom[1::2], [1 / 18, 1 / 19, 1 / 20, 1 / 21], atol=1e-12)
    assert [entry.identity for entry in diagram.entries] == orderings
    parts = diagram.entries[5].decomposition
    assert [part.identity for part in parts] == [orderings[0], orderings[6]]
    assert [part.fraction for part in parts] == pytest.approx([1 / 3, 2 / 3])
    assert not diagram.polymorphs


def test_a_compound_against_simple_phases_counts_by_its_own_unit(context):
    licl, ycl3 = ReferencePhase("licl"), ReferencePhase("ycl3")
    lyc = ordering("p-3m1", 0)
    diagram = hull_task(
        context,
        end_members=["LiCl", "YCl3"],
        energy_convention="PBE",
        formula_unit=None,
        replacements=[],
        mobile_ion="Li",
        identities=[lyc, licl, ycl3],
        compositions=[{"Li": 9, "Y": 3, "Cl": 18}, {"Li": 4, "Cl": 4}, {"Y": 4, "Cl": 12}],
        energies_eV=[-3 * (3 * 7.0 + 17.0) + 3 * 0.5, -28.0, -68.0],
    )
    entry = diagram.entries[0]
    assert (entry.formula_units, entry.coordinates) == (3.0, (0.75, 0.25))
    assert entry.formation_energy_eV_per_formula_unit == pytest.approx(0.5, abs=1e-12)
    assert entry.e_above_hull_eV_per_atom == pytest.approx(0.05, abs=1e-12)
    assert [(part.identity, part.fraction) for part in entry.decomposition] == [(licl, 0.75), (ycl3, 0.25)]
    assert [each.formula_units for each in diagram.entries[1:]] == [4.0, 4.0]


def test_mixed_halides_against_simple_phases_keep_the_unit_of_their_axis(context):
    # Li6InYCl12 is one reduced formula and two formula units Li3MCl6.
    phases = [ReferencePhase(name) for name in ("licl", "incl3", "ycl3")]
    mixed = ordering("c2m", 0, In=0.5)
    diagram = hull_task(
        context,
        end_members=["LiCl", "InCl3", "YCl3"],
        energy_convention="PBE",
        formula_unit="Li3YCl6",
        replacements=[("Y", "In")],
        mobile_ion="Li",
        identities=[mixed, *phases],
        compositions=[{"Li": 6, "In": 1, "Y": 1, "Cl": 12}, {"Li": 1, "Cl": 1}, {"In": 1, "Cl": 3}, {"Y": 1, "Cl": 3}],
        energies_eV=[-6 * 7.0 - 15.0 - 17.0 - 0.6, -7.0, -15.0, -17.0],
    )
    assert diagram.entries[0].formula_units == 2.0
    assert diagram.entries[0].formation_energy_eV_per_formula_unit == pytest.approx(-0.3, abs=1e-12)


def test_polymorphs_have_their_point_and_their_orderings(context):
    low, high = ordering("c2m", 3, Br=6), ordering("p-3m1", 1, Br=6)
    diagram = hull_task(
        context,
        end_members=["Li3YBr6"],
        energy_convention="PBE",
        formula_unit="Li3YCl6",
        replacements=[("Cl", "Br")],
        mobile_ion="Li",
        identities=[high, low],
        compositions=[{"Li": 9, "Y": 3, "Br": 18}, {"Li": 6, "Y": 2, "Br": 12}],
        energies_eV=[-3 * 35.0, -2 * 35.1],
    )
    (competing,) = diagram.polymorphs
    assert competing.point == (AxisValue("Br", 6.0),)
    assert [(energy.crystal, energy.identity) for energy in competing.energies] == [("c2m", low), ("p-3m1", high)]
    assert competing.energy_eV_per_atom("p-3m1") == -3.5
    assert competing.energy_eV_per_atom("r-3") is None


def test_selection_without_a_hull_draws_by_formula_units_and_not_by_reduced_formulas(context):
    # Both cells hold two formula units and have the same gap; the reduced formula of the second one is twice as large.
    materials = [Material("c2m", (AxisValue("In", x),)) for x in (1.0, 0.5) for _ in range(2)]
    cells = [{"Li": 6, "In": 2, "Cl": 12}] * 2 + [{"Li": 6, "In": 1, "Y": 1, "Cl": 12}] * 2
    drawn = select_task(
        context,
        materials=materials,
        formulas=["Li3InCl6"] * 2 + ["Li6InYCl12"] * 2,
        count=4,
        seed=1,
        temperature_K=800.0,
        compositions=cells,
        energies_eV=[-70.0, -69.8, -71.0, -70.8],
        formula_unit="Li3YCl6",
        replacements=[("Y", "In")],
        mobile_ion="Li",
    )
    np.testing.assert_allclose(drawn.energies_eV_per_fu, [0.0, 0.1, 0.0, 0.1], atol=1e-12)
    assert drawn.reasons == ("lowest of its composition", "Boltzmann draw") * 2


def test_selection_follows_the_boltzmann_factor_of_the_energy_per_formula_unit(context):
    # The two NaSICON orderings above the lowest lie 0.1 eV per formula unit above the hull, at 18 and 21 atoms: they
    # are drawn equally often; per atom-count unit the second one would count 0.0857 eV and be drawn more often.
    materials = [Material("r-3c", (AxisValue("Si", x),)) for x in (0.0, 0.0, 3.0, 3.0)]
    counts = np.zeros(4)
    for seed in range(2000):
        drawn = select_task(
            context,
            materials=materials,
            formulas=["NaZr2P3O12"] * 2 + ["Na4Zr2Si3O12"] * 2,
            count=3,
            seed=seed,
            temperature_K=0.1 / BOLTZMANN_EV_PER_K,
            e_above_hull_eV_per_fu=[0.0, 0.1, 0.0, 0.1],
        )
        counts[list(drawn.indices)] += 1
    assert counts[0] == counts[2] == 2000
    assert abs(counts[1] - 1000) < 4 * np.sqrt(2000) / 2
