"""Hostile inputs: files and settings that must get an answer in words, within seconds and a gigabyte."""

from __future__ import annotations

import sys

import subjects
from bench import Bench, Tally


def hostile_inputs(bench: Bench, tally: Tally) -> None:
    """Judge what ``tests/hostile`` has."""
    folder = subjects.ROOT / "tests" / "hostile"
    if not (folder / "judge.py").exists():
        tally.skipped = "tests/hostile is not there"
        return
    sys.path.insert(0, str(folder))
    from judge import judge

    for verdict in judge(4) if bench.long else judge(every=24):  # tests/hostile takes each sixth
        tally.number += 1
        tally.wrong("wordless", f"{verdict.name}: {verdict.fault}", bool(verdict.fault))
