"""What the σ(300 K) of a trial is worth: the error that residuals show, its test on the other half, and the table."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from superionic.campaign.trial.model_error import (
    COLUMNS,
    ENOUGH,
    PRIOR_DECADES,
    ModelError,
    Residual,
    append_residual,
    excess_error,
    model_error,
    published,
    read_residuals,
)
from superionic.units import BOLTZMANN_EV_PER_K

OPTIONAL = {"residual_decades", "statistical_decades", "passed"}


def residual(name, value, statistical=0.1, teacher="t"):
    return Residual(name, "LiX", teacher, 1e-4, "σ(300 K)", value, statistical, True, 600.0, "0.2", "2026-11-30")


def drawn(n, decades, rng, bias=0.0):
    """Residuals of n crystals, whose statistical errors are between 0.1 and 0.6 decades."""
    errors = rng.uniform(0.1, 0.6, n)
    values = bias + rng.normal(0.0, np.hypot(errors, decades))
    return [residual(f"{k:05d}", float(values[k]), float(errors[k])) for k in range(n)]


def test_the_excess_error_has_its_closed_forms():
    assert excess_error([3.0, -4.0], [0.0, 0.0]) == pytest.approx(math.sqrt(12.5))
    # Equal errors: the mean square less theirs.
    assert excess_error([1.0, -2.0, 2.0], [1.0, 1.0, 1.0]) == pytest.approx(math.sqrt(2.0))
    assert excess_error([0.5, -0.5], [1.0, 1.0]) == 0.0
    assert excess_error([0.0, 0.0], [0.0, 0.0]) == 0.0


def test_a_known_error_is_recovered_and_its_intervals_hold_what_they_say():
    rng = np.random.default_rng(1)
    error = model_error("t", drawn(4000, 1.1, rng))
    assert error.decades == pytest.approx(1.1, abs=0.06)
    assert (error.basis, error.n_crystals, error.n_tested) == ("calibrated", 4000, 2000)
    assert error.held68 / error.n_tested == pytest.approx(0.683, abs=0.03)
    assert error.held95 / error.n_tested == pytest.approx(0.95, abs=0.015)
    # Twenty crystals set it well enough: on average over many tables the other half is held as often as stated.
    few = [model_error("t", drawn(20, 1.1, rng)) for _ in range(200)]
    assert sum(each.held68 for each in few) / 2000 == pytest.approx(0.683, abs=0.05)
    assert sum(each.held95 for each in few) / 2000 > 0.90
    # A bias is part of it: intervals stay as wide as the errors are.
    assert model_error("t", drawn(2000, 0.3, rng, bias=1.0)).decades == pytest.approx(math.hypot(0.3, 1.0), abs=0.06)


def test_too_few_crystals_of_this_teacher_leave_the_stated_assumption():
    rows = drawn(ENOUGH - 1, 0.2, np.random.default_rng(2))
    error = model_error("t", [*rows, residual("other", 0.1, teacher="u"), residual("none", None, None)])
    assert (error.decades, error.basis, error.n_crystals) == (PRIOR_DECADES, "prior", ENOUGH - 1)
    assert error.words.startswith("Not calibrated: a factor of 18 (1.25 decades) is assumed")
    assert f"tried by this teacher: {ENOUGH - 1} of the {ENOUGH} that" in error.words
    # Crystals that are far off, by whatever teacher, are not ignored until there are enough of them.
    off = model_error(
        "t", [*rows[:2], *(replace(each, teacher="u") for each in drawn(8, 3.0, np.random.default_rng(4)))]
    )
    assert off.decades > 2.0
    assert (off.basis, off.n_crystals, off.n_seen) == ("prior", 2, 10)
    assert "is assumed for the model, as the 10 crystals tried so far show." in off.words
    assert model_error("t", drawn(ENOUGH, 0.2, np.random.default_rng(2))).words.startswith("Calibrated on 10 crystals")


def test_an_error_of_sigma_by_the_activation_energy_alone_is_that_of_its_line():
    error = ModelError(1.0, "prior", 0)
    shift = error.Ea_eV(750.0, 300.0) / BOLTZMANN_EV_PER_K * (1.0 / 300.0 - 1.0 / 750.0)
    assert shift == pytest.approx(math.log(10.0))


def test_the_table_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "residuals.csv"
    refused = Residual("b, c", "", "t", -1e-10, 'refused: "no"', None, None, None, 0.0, "0.2", "2026-11-30")
    rows = (residual("a", 0.5), refused)
    for row in rows:
        append_residual(path, row)
    assert read_residuals(path.read_text(encoding="utf-8")) == rows


def test_the_table_that_comes_with_superionic_is_complete():
    for row in published():
        assert all(
            getattr(row, name) is not None for name in COLUMNS if not name.endswith("decades") and name != "passed"
        )
        assert (row.residual_decades is None) == (row.statistical_decades is None)
        assert row.residual_decades is None or row.measured_S_per_cm > 0.0
