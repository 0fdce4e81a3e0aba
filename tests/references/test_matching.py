from __future__ import annotations

import dataclasses
import types
import typing
from collections import Counter
from itertools import pairwise

import pytest

from superionic.errors import AnalysisError, CompositionError
from superionic.references import (
    Comparison,
    Match,
    OwnResult,
    PublishedValue,
    all_values,
    matching,
    parse_formula,
    temperatures_of,
)
from superionic.references.matching import PRESSURE_TOLERANCE_GPA, TEMPERATURE_TOLERANCE_K

VALUES = all_values()
STATED_PHASE = [v for v in VALUES if v.spacegroup is not None]
STATED_TEMPERATURE = [v for v in VALUES if v.temperature_K is not None]


def mixture(formulas):
    """Equal parts of all of them."""
    return "".join(f"({formula})" for formula in formulas)


def met_by(value, /, **changes):
    """Return the result of ours that meets a published value in all its conditions."""
    vertices = value.composition.vertices
    inside = mixture(vertices) if value.composition.mixtures else vertices[0]
    potential = "dft" if value.approach == "measured" else value.approach
    own = OwnResult(
        quantity=value.quantity,
        value=value.value,
        formula=inside,
        further_formulas=vertices[1:],
        potential=potential,
        family=value.model and value.model.lower(),
        spacegroup=value.spacegroup,
        temperature_K=value.temperature_K,
        temperature_range_K=value.temperature_range_K,
        pressure_GPa=value.pressure_GPa,
        relative_to=value.relative_to,
        other_spacegroup=value.other_spacegroup,
    )
    return dataclasses.replace(own, **changes)


def found(own):
    return [match.comparison.published for match in matching(own)]


def test_every_stored_value_is_met_and_compares_as_equal():
    met = 0
    for value in VALUES:
        match = next(m for m in matching(met_by(value)) if m.comparison.published == value)
        assert match.comparison.difference == 0
        assert match.same_method == (value.approach != "measured")
        assert match.within in (None, True)
        # That one side is measured, and that a family is meant, is always said; nothing else differs.
        assert len(match.differs) == (value.kind == "measured") + value.composition.is_family, match.differs
        met += 1
    assert met == len(VALUES) == 147
    assert Counter(v.quantity for v in VALUES) == {
        "volume_per_atom": 50,
        "conductivity": 37,
        "activation_energy": 32,
        "formation_energy": 2,
        "energy_above_hull": 9,
        "energy_above_polymorph": 1,
        "transition_temperature": 2,
        "mae_energy": 3,
        "mae_force": 2,
        "mae_stress": 2,
        "rmse_energy": 2,
        "rmse_force": 2,
        "rmse_stress": 2,
        "max_error_energy": 1,
    }


@pytest.mark.parametrize("other", [12, 164, 62, 63, 31, 167, 225, "Fd-3m"])
def test_another_polymorph_never_matches(other):
    for value in STATED_PHASE:
        others = found(met_by(value, spacegroup=other))
        assert all(v.spacegroup in (None, 227 if other == "Fd-3m" else other) for v in others)
        assert (value in others) == (value.spacegroup == other)


@pytest.mark.parametrize("shift", [-0.5, 2 * PRESSURE_TOLERANCE_GPA, 0.9999, 1.0])
def test_another_pressure_never_matches(shift):
    for value in VALUES:
        assert value not in found(met_by(value, pressure_GPa=(value.pressure_GPa or 0.0) + shift))


@pytest.mark.parametrize("shift", [-100.0, 1.01 * TEMPERATURE_TOLERANCE_K, 25.0, 500.0])
def test_another_temperature_never_matches(shift):
    for value in STATED_TEMPERATURE:
        assert value not in found(met_by(value, temperature_K=value.temperature_K + shift))
    for value in VALUES:
        if value.temperature_range_K is not None:
            assert value not in found(met_by(value, temperature_K=value.temperature_range_K[1] + 50.0))


@pytest.mark.parametrize("other", ["NaCl", "Li3YF6", "Li2YCl5", "Li3Y2Cl9", "Li3ScCl6", "Na3Zr2Si2PO11"])
def test_another_composition_never_matches(other):
    for value in VALUES:
        assert found(met_by(value, formula=other)) == []
        assert found(met_by(value, further_formulas=(other,))) == []


def test_another_quantity_never_matches():
    for value in VALUES:
        wrong = "conductivity" if value.quantity != "conductivity" else "volume_per_atom"
        assert value not in found(met_by(value, quantity=wrong, value=1.0))


def test_the_trigonal_chloride_and_10_kbar_stay_apart():
    own = OwnResult("conductivity", 15.7, "Cl18Y3Li9", "fine-tuned", "chgnet-0.3.0", temperature_K=300.0)
    trigonal = dataclasses.replace(own, spacegroup="P-3m1", pressure_GPa=1.0)
    (only,) = matching(trigonal)
    assert only.same_method
    assert only.differs == ()
    assert (only.comparison.published.value, only.comparison.published.pressure_GPa) == (15.7, 1.0)
    for pressure in (None, 0.0, 1e-4):
        values = found(dataclasses.replace(trigonal, pressure_GPa=pressure))
        assert {v.value for v in values} == {331.0, 122.0, 14.0, 0.09, 0.06, 0.04, 0.14, 0.51, 0.05, 5.36}
    # Of a monoclinic chloride nothing is published but the maximum over the series, whose polymorph is not named.
    (series,) = matching(dataclasses.replace(own, spacegroup="C2/m"))
    assert series.comparison.published.value == 5.36
    assert series.within is False
    assert any("no polymorph" in words for words in series.differs)


def test_measured_come_first_then_the_same_method():
    own = OwnResult("conductivity", 40.0, "Li3YBr6", "universal", "7net-mf-ompa", temperature_K=298.15, spacegroup=12)
    matches = matching(own)
    ranks = [0 if m.comparison.published.kind == "measured" else 1 if m.same_method else 2 for m in matches]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}
    (same,) = [m for m in matches if m.same_method]
    assert same.comparison.published.value == 42.0
    assert same.differs == (
        "published at 300 K, ours at 298.15 K",
        "our pressure is not stated and was taken as ambient",
    )
    student = [m for m in matching(dataclasses.replace(own, potential="student")) if m.same_method]
    assert student == []
    assert len(matching(dataclasses.replace(own, potential="student"))) == len(matches)


def test_what_we_do_not_know_of_ours_is_said():
    (gamma_to_beta,) = matching(
        OwnResult("transition_temperature", 600.0, "Li3PS4", "dft", spacegroup="Pmn2_1", other_spacegroup="Pnma")
    )
    assert gamma_to_beta.comparison.difference == pytest.approx(27.0)
    assert matching(OwnResult("transition_temperature", 600.0, "Li3PS4", "dft")) == ()
    unknown = OwnResult("activation_energy", 0.3, "Li3PS4", "fine-tuned", "MACE")
    assert {m.comparison.published.polymorph for m in matching(unknown)} == {"alpha", "beta"}
    assert all(any("ours not stated" in words for words in m.differs) for m in matching(unknown))
    beta = matching(dataclasses.replace(unknown, spacegroup=62))
    assert [m.comparison.published.value for m in beta] == [0.41, 0.44]


def test_energies_meet_only_on_the_same_hull():
    own = OwnResult("energy_above_hull", 1.5, "Li3In0.5Y0.5Br3Cl3", "fine-tuned", "mace", spacegroup=12)
    assert matching(own) == ()
    hull = ("Cl6InLi3", "Li6In2Br12", "Li3YBr6")
    matches = matching(dataclasses.replace(own, relative_to=hull))
    assert [(m.comparison.published.value, m.within) for m in matches] == [(0.0, None), (3.0, True)]
    assert matching(dataclasses.replace(own, relative_to=("Li3InCl6", "Li3YBr6"))) == ()


@pytest.mark.parametrize(
    ("formula", "belongs"),
    [
        ("Li3YBr3Cl3", True),
        ("Li3YBr4.5Cl1.5", True),
        ("Li12Y4Br22Cl2", True),
        ("Li300Y100Br550Cl50", True),
        ("Li300Y100Br551Cl49", False),
        ("Li3YBr2.5Cl3.5", False),
        ("Li3YBr6", False),
        ("Li3YBr4Cl2I", False),
    ],
)
def test_mixed_halides(formula, belongs):
    own = OwnResult(
        "conductivity", 0.7, formula, "fine-tuned", "chgnet", temperature_K=300.0, pressure_GPa=1.0, spacegroup=12
    )
    assert (0.7 in {v.value for v in found(own)}) == belongs


@pytest.mark.parametrize(
    ("x", "y", "belongs"),
    [(1, 0, True), (0, 1, True), (0.25, 0.75, True), (0.5, 0.75, True), (0.25, 0.5, False), (0, 0, False)],
)
def test_the_halide_triangle(x, y, belongs):
    formula = f"Li3In{x}Y{1 - x}Br{6 * y}Cl{6 - 6 * y}"
    own = OwnResult("conductivity", 400.0, formula, "fine-tuned", "mace", temperature_K=800.0, spacegroup=12)
    ends = {
        m.comparison.published.bound: m.within for m in matching(own) if m.comparison.published.composition.is_family
    }
    assert ends == ({"lower": True, "upper": True} if belongs else {})


def test_test_sets_of_several_compositions():
    own = OwnResult("mae_energy", 1.6, "Li3YCl6", "fine-tuned", "chgnet", further_formulas=("Li3YBr6",))
    ends, series = (m for m in matching(own) if m.same_method)
    assert (ends.comparison.published.value, series.comparison.published.value) == (2.0, 3.5)
    mixed = found(dataclasses.replace(own, further_formulas=("Li3YBr3Cl3",)))
    assert [v.value for v in mixed] == [3.5]
    static = found(dataclasses.replace(own, temperature_K=0.0, potential="universal"))
    assert {v.value for v in static} == {11.0, 3.5}


def test_temperatures_to_ask_for():
    assert temperatures_of("Na3Zr2Si2PO12", "R-3c") == (573.0,)
    assert temperatures_of("Li3YBr6", 12) == (300.0, 800.0)
    assert temperatures_of("Li3YCl6", 164) == (300.0,)
    assert temperatures_of("Li3YCl6", 164, "volume_per_atom") == (0.0, 200.0, 300.0, 400.0, 600.0)
    assert temperatures_of("Li3YCl6", 12, "volume_per_atom") == ()
    assert temperatures_of("NaCl") == ()
    for value in STATED_TEMPERATURE:
        for formula in value.composition.vertices:
            assert value.temperature_K in temperatures_of(formula, value.spacegroup, value.quantity)


def test_an_interval_is_taken_in_decades():
    own = OwnResult("conductivity", 10.0, "Li3YCl6", "fine-tuned", "chgnet", temperature_K=300.0, pressure_GPa=1.0)
    (match,) = matching(dataclasses.replace(own, interval68=(5.0, 20.0), error=99.0))
    assert match.comparison.expected_scatter == pytest.approx(0.30103)
    (match,) = matching(dataclasses.replace(own, interval68=(0.0, 20.0)))
    assert match.comparison.expected_scatter == pytest.approx(1 / 2.302585)


def test_nonsense_is_refused():
    own = OwnResult("conductivity", 1.0, "Li3YCl6", "dft", temperature_K=300.0)
    with pytest.raises(CompositionError):
        matching(dataclasses.replace(own, formula="halide"))
    with pytest.raises(AnalysisError):
        matching(dataclasses.replace(own, spacegroup="C2/q"))
    with pytest.raises(AnalysisError):
        matching(dataclasses.replace(own, value=float("nan")))
    with pytest.raises(AnalysisError):
        matching(dataclasses.replace(own, value=0.0))


def test_families_are_simplices():
    for value in VALUES:
        amounts = [parse_formula(vertex) for vertex in value.composition.vertices]
        assert all(a != b for a, b in pairwise(amounts))
        assert all(value.composition.contains(vertex) for vertex in value.composition.vertices)


def test_fields_are_plain_for_a_codec_that_follows_type_hints():
    def check(hint):
        origin = typing.get_origin(hint)
        if origin in (typing.Union, types.UnionType, tuple):
            assert all(check(part) for part in typing.get_args(hint) if part is not Ellipsis)
        elif dataclasses.is_dataclass(hint):
            hints = typing.get_type_hints(hint)
            assert all(check(hints[field.name]) for field in dataclasses.fields(hint))
        else:
            assert origin is typing.Literal or hint in (str, float, int, bool, type(None)), hint
        return True

    for kind in (PublishedValue, Comparison, OwnResult, Match):
        assert check(kind)
