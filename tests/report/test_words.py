from __future__ import annotations

import pytest

from superionic.report.words import (
    formula_text,
    interval,
    listing,
    milli,
    number,
    plural,
    sentence,
    whole_text,
    with_error,
)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (None, "–"),
        (float("nan"), "–"),
        (12.345, "12.3"),
        (0.012345, "0.0123"),
        (1.234e-6, "1.23 × 10⁻⁶"),
        (-1.234e-6, "−1.23 × 10⁻⁶"),
        (99999.0, "1.00 × 10⁵"),
        (1234.6, "1235"),
        (0.9999, "1.00"),
        (9.999e-4, "0.00100"),
    ],
)
def test_numbers_keep_three_significant_digits(value, written):
    assert number(value) == written


@pytest.mark.parametrize(
    ("value", "error", "written"),
    [
        (0.2534, 0.0187, "0.253 ± 0.019"),
        (0.25, 0.045, "0.250 ± 0.045"),
        (123.4, 12.0, "123 ± 12"),
        (1.5e-6, 2.4e-7, "(1.50 ± 0.24) × 10⁻⁶"),
        (0.25, None, "0.250"),
        (0.25, 0.0, "0.250"),
        (0.0, 0.1, "0.00 ± 0.10"),
        (None, 0.1, "–"),
        (5.0, 0.0996, "5.00 ± 0.10"),
    ],
)
def test_the_error_decides_the_digits(value, error, written):
    assert with_error(value, error) == written


def test_open_intervals_are_said_in_words():
    assert interval(None, None) == "not bounded"
    assert interval(0, 2.0e-6) == "below 2.0 × 10⁻⁶"
    assert interval(None, 3.0) == "below 3.0"
    assert interval(1.0, None) == "above 1.0, no upper bound"
    assert interval(8.1, 18.2) == "8.1 to 18"
    assert interval(8.1e-7, 1.8e-6) == "(0.81 to 1.8) × 10⁻⁶"
    assert interval(5.9e-4, 2.5e5) == "5.9 × 10⁻⁴ to 2.5 × 10⁵"
    assert interval(-1.0, 2.0) == "−1.0 to 2.0"


def test_formulas():
    assert formula_text("Li3YCl6") == "Li₃YCl₆"
    assert formula_text("Li3In0.5Y0.5Br6") == "Li₃In₀.₅Y₀.₅Br₆"
    assert formula_text("") == ""


def test_counts_and_sentences():
    assert plural(1, "ordering") == "1 ordering"
    assert plural(12, "entry", "entries") == "12 entries"
    assert whole_text(18564) == "18\N{THIN SPACE}564"
    assert whole_text(10**15) == "1.0 × 10¹⁵"
    assert whole_text(10**400).startswith("about 10")
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert sentence("few_hops") == "Few hops."
    assert sentence("the run is short") == "The run is short."
    assert sentence("") == ""


def test_rounding_errors_of_energies_are_zero():
    assert milli(2.2e-19) == "0"
    assert milli(-1e-8) == "0"
    assert milli(0.00225) == "2.25"
    assert milli(None) == "–"
