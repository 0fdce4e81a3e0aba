from __future__ import annotations

import pytest

from superionic.errors import CalculationFailed
from superionic.labels.retries import NotConverged, Rung, climb

LADDER = (Rung("as set"), Rung("mixing", {"beta": 0.02}), Rung("eigensolver"), Rung("smearing"))


class FakeEngine:
    """Converges, or fails for good, on given rungs."""

    def __init__(self, converges: str | None, breaks: str | None = None) -> None:
        self.converges, self.breaks = converges, breaks
        self.tried: list[str] = []

    def __call__(self, rung: Rung) -> str:
        self.tried.append(rung.name)
        if rung.name == self.breaks:
            raise CalculationFailed("out of memory", {"code": 9})
        if rung.name != self.converges:
            raise NotConverged("did not converge in 5 steps", {"scf_steps": 5})
        return f"by {rung.name}"


@pytest.mark.parametrize("position", range(4))
def test_the_ladder_stops_at_the_first_rung_that_converges(position: int) -> None:
    names = [rung.name for rung in LADDER[: position + 1]]
    engine = FakeEngine(names[-1])
    result, attempts = climb(LADDER, engine)
    assert result == f"by {names[-1]}"
    assert engine.tried == names
    failed = [{"rung": name, "outcome": "did not converge in 5 steps", "scf_steps": 5} for name in names[:-1]]
    assert attempts == [*failed, {"rung": names[-1], "outcome": "converged"}]


def test_a_label_that_no_rung_saves_fails_with_all_attempts_on_record() -> None:
    with pytest.raises(CalculationFailed, match="tried in this order: as set, mixing, eigensolver, smearing") as caught:
        climb(LADDER, FakeEngine(None))
    assert [attempt["rung"] for attempt in caught.value.details["attempts"]] == [rung.name for rung in LADDER]
    assert caught.value.details["scf_steps"] == 5


def test_other_failures_are_not_tried_again() -> None:
    engine = FakeEngine(None, breaks="mixing")
    with pytest.raises(CalculationFailed, match="out of memory") as caught:
        climb(LADDER, engine)
    assert engine.tried == ["as set", "mixing"]
    assert caught.value.details["code"] == 9
    assert [attempt["outcome"] for attempt in caught.value.details["attempts"]][-1] == "out of memory"
