"""Results of stages whose folder has everything about them, which the results of a campaign hold beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from superionic.execution.runner import Failure


@dataclass(frozen=True)
class StageResult:
    """Base of the results of stages of one folder (docs/authors/stage.md).

    Attributes
    ----------
    stage
        Name of the stage, by which its result is read from ``results.json``.
    failures
        Calculations that failed.
    """

    stage: str
    failures: tuple[Failure, ...]

    @property
    def structure_keys(self) -> Mapping[str, str]:
        """Keys of tasks whose results have ``atoms`` that are written beside the report, by their names; here none."""
        return {}

    @staticmethod
    def variants() -> tuple[type[StageResult], ...]:
        """Return the classes of which a result may be."""
        from superionic.settings.stages import STAGES  # needs pydantic, which engines lack

        return tuple(stage.result for stage in STAGES if stage.is_one_folder)

    @staticmethod
    def variant_of(tree: Mapping[str, Any]) -> type[StageResult]:
        """Return the class of a result that was stored.

        Raises
        ------
        KeyError
            If no stage of one folder has that name.
        """
        from superionic.settings.stages import stage_named

        stage = stage_named(tree["stage"])
        if not stage.is_one_folder:
            raise KeyError(stage.name)
        result: type[StageResult] = stage.result
        return result
