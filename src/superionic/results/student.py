"""What the stage *distil* gives."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure


@dataclass(frozen=True)
class DistilResult:
    """Students, and what the gate says of them."""

    failures: tuple[Failure, ...]
