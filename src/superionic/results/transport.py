"""What the stages *transport* and *analyse* give."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure


@dataclass(frozen=True)
class TransportResult:
    """Molecular-dynamics runs."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class AnalyseResult:
    """Diffusivities, conductivities, activation energies and paths."""

    failures: tuple[Failure, ...]
