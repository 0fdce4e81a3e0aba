from __future__ import annotations

import math

import numpy as np
import pytest

from superionic.transport.conductivity.budget import TransferTerm, widened
from superionic.transport.estimate import LEVEL_68, LEVEL_95
from superionic.units import BOLTZMANN_EV_PER_K


def test_the_transfer_error_grows_away_from_where_it_was_measured():
    term = TransferTerm(ln_sigma=0.3, Ea_eV=0.05, temperature_K=750.0)
    assert term.log_error(750.0) == pytest.approx(0.3)
    lever = (1 / 300 - 1 / 750) / BOLTZMANN_EV_PER_K
    assert term.log_error(300.0) == pytest.approx(math.hypot(0.3, 0.05 * lever))


@pytest.mark.parametrize("name", ["interval68", "interval95"])
def test_a_widened_interval_holds_two_independent_log_normal_errors(name):
    rng = np.random.default_rng(1)
    statistics, extra, level = 0.4, 0.7, {"interval68": LEVEL_68, "interval95": LEVEL_95}[name]
    from superionic.transport.estimate import student_quantile

    width = student_quantile(level, math.inf) * statistics
    low, high = widened(2.0, (2.0 * math.exp(-width), 2.0 * math.exp(width)), extra, level)
    drawn = 2.0 * np.exp(statistics * rng.standard_normal(40_000) + extra * rng.standard_normal(40_000))
    assert np.mean((drawn > low) & (drawn < high)) == pytest.approx(level, abs=0.008)


def test_no_further_error_changes_nothing_and_open_ends_stay_open():
    assert widened(1.0, (0.5, 2.0), 0.0, 0.6827) == pytest.approx((0.5, 2.0))
    low, high = widened(1.0, (0.0, math.inf), 1.0, 0.6827)
    assert (low, high) == (0.0, math.inf)
    assert widened(1.0, None, 1.0, 0.95) is None
