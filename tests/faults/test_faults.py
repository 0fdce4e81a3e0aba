"""The short version of ``make faults``, but for random kills, hostile inputs and Slurm, which have files of their own."""

from __future__ import annotations

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["crashes", "errors", "damages", "drivers"])
def test_nothing_is_lost_or_changed_by(kind, nothing_is_wrong_after):
    nothing_is_wrong_after(kind)
