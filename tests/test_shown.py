"""How results say themselves: numbers as the package *uncertainties* writes them, units from names, five lines."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from uncertainties import ufloat

from superionic.shown import Shown, number_text, words_and_unit
from superionic.transport.estimate import Estimate


def test_numbers_with_errors_are_those_of_uncertainties():
    draw = random.Random(1)
    assert number_text(3.44e-5, 2.2e-6) == "3.44(22)e-05"
    for _ in range(2000):
        value = draw.choice((1, -1)) * 10 ** draw.uniform(-9, 9)
        error = abs(value) * 10 ** draw.uniform(-6, 0.5)
        assert number_text(value, error) == f"{ufloat(value, error):.2uS}"


@pytest.mark.parametrize("error", [None, 0.0, float("inf"), float("nan")])
def test_without_a_known_error_there_is_no_bracket(error):
    assert number_text(0.25347, error) == "0.2535"


@pytest.mark.parametrize(
    ("name", "words", "unit"),
    [
        ("tracer_diffusivity_cm2_per_s", "tracer diffusivity", "cm²/s"),
        ("ionic_conductivity_S_per_cm", "ionic conductivity", "S/cm"),
        ("e_above_hull_eV_per_formula_unit", "e above hull", "eV/formula unit"),
        ("max_force_eV_per_A", "max force", "eV/Å"),
        ("volume_A3", "volume", "Å³"),
        ("density_per_A3", "density", "1/Å³"),
        ("haven_ratio", "Haven ratio", ""),
        ("n_hops", "hops", ""),
    ],
)
def test_units_stand_in_names(name, words, unit):
    assert words_and_unit(name) == (words, unit)


@dataclass(frozen=True, repr=False)
class Many(Shown):
    title: str
    volume_A3: float
    tracer_diffusivity_cm2_per_s: Estimate
    Ea_eV: float
    Ea_error_eV: float
    bound_cm2_per_s: Estimate
    flags: tuple[str, ...]


def many() -> Many:
    known = Estimate(3.44e-5, 2.2e-6, (3.2e-5, 3.7e-5), (3.0e-5, 3.9e-5))
    bound = Estimate(1e-8, 1e-8, (0.0, 2e-8), (0.0, 4.1e-8), is_upper_bound=True)
    return Many(
        "a <title>", 705.26, known, 0.2534, 0.0192, bound, tuple("a long sentence, and another" * 9 for _ in "ab")
    )


def test_a_result_says_its_estimates_first_and_never_takes_more_than_five_lines():
    text = repr(many())
    assert text.startswith("Many: tracer diffusivity 3.44(22)e-05 cm²/s · bound < 4.1e-08 cm²/s (95 %) · title")
    assert "Ea 0.253(19) eV" in text
    assert "volume 705.3 Å³" in text
    assert len(text.splitlines()) <= 5


def test_html_is_escaped_and_frames_keep_all_digits():
    result = many()
    assert "a &lt;title&gt;" in result._repr_html_()
    (row,) = result.to_frame().to_dict("records")
    assert row["tracer_diffusivity_cm2_per_s"] == 3.44e-5
    assert row["tracer_diffusivity_cm2_per_s_high95"] == 3.9e-5
    assert row["Ea_eV"] == 0.2534
