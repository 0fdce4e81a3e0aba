"""What sampling, labelling, training and validation give."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure


@dataclass(frozen=True)
class SampleResult:
    """Sampling runs of one round."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class LearningResult:
    """How the active loop went."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class LabelResult:
    """Labels of one round."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class TrainResult:
    """One training."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class ValidateResult:
    """Errors of the trained potential."""

    failures: tuple[Failure, ...]
