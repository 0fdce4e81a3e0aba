"""What the stage *enumerate* gives."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure


@dataclass(frozen=True)
class EnumerateResult:
    """The orderings of all cells."""

    failures: tuple[Failure, ...]
