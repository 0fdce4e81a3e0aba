"""Random kills, the short version of those of ``make faults``; apart, so that they are tried beside the others."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_nothing_is_lost_or_changed_by_random_kills(nothing_is_wrong_after):
    nothing_is_wrong_after("kills")
