"""The short version of ``make faults``; random kills, hostile inputs and Slurm have files of their own."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_nothing_is_lost_or_changed_by_any_fault(nothing_is_wrong_after):
    nothing_is_wrong_after("crashes", "errors", "damages", "drivers")
