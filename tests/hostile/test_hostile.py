"""Each hostile input gets an answer in words, within seconds and a gigabyte."""

from __future__ import annotations

import sys

import pytest

from .judge import judge

EVERY = 6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured where Linux shows it")
def test_each_hostile_input_gets_an_answer_in_words() -> None:
    verdicts = list(judge(every=EVERY))  # all of them: make faults
    assert len(verdicts) >= 256
    assert [f"{verdict.name}: {verdict.fault}" for verdict in verdicts if verdict.fault] == []
