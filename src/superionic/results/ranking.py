"""What the stage *rank* gives."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure


@dataclass(frozen=True)
class RankResult:
    """Orderings by their relaxed energies."""

    failures: tuple[Failure, ...]
