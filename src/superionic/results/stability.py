"""What the stages *hull* and *select* give."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure


@dataclass(frozen=True)
class HullResult:
    """Formation energies and the convex hull."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class SelectResult:
    """Orderings chosen to be sampled."""

    failures: tuple[Failure, ...]
