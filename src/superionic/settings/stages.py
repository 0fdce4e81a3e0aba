"""The stages of a campaign, each with its section of the campaign file, in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import Field

from superionic.registry import resolve
from superionic.settings.analyse import AnalyseSettings
from superionic.settings.base import StageSection
from superionic.settings.distil import DistilSettings
from superionic.settings.enumerate import EnumerateSettings
from superionic.settings.hull import HullSettings
from superionic.settings.label import LabelSettings
from superionic.settings.rank import RankSettings
from superionic.settings.sample import SampleSettings, SelectSettings
from superionic.settings.train import TrainSettings, ValidateSettings
from superionic.settings.transport import TransportSettings
from superionic.settings.volumes import VolumesSettings


class ReportSettings(StageSection):
    """The report."""

    title: str | None = Field(default=None, min_length=1, description="Title; the name of the campaign if left out.")


@dataclass(frozen=True)
class Stage:
    """A stage as all know it that list, plan, run or report the stages.

    Attributes
    ----------
    name
        In the campaign file, in results, and in the keys of its tasks.
    section
        Its section of the campaign file; None for a stage whose folder in ``stages/`` has everything about it, the
        section included (docs/authors/stage.md).
    needs
        Another stage without which it makes no sense; None for one that stands by itself.
    is_optional
        Whether a campaign has it only where its file or its preset names it.
    evaluates
        Whether its tasks evaluate a potential, in the environment of that.
    calculation
        What one of its calculations is called where failures are counted; empty where none can fail by itself.
    """

    name: str
    section: type[StageSection] | None = None
    needs: str | None = None
    is_optional: bool = False
    evaluates: bool = False
    calculation: str = ""

    @property
    def is_one_folder(self) -> bool:
        """Whether its folder in ``stages/`` has everything about it."""
        return self.section is None

    @property
    def settings(self) -> type[StageSection]:
        """Its section of the campaign file."""
        found: type[StageSection] = self.section or self.part("settings", f"{self._class_name}Settings")
        return found

    @property
    def result(self) -> type[Any]:
        """Class of the result of a stage of one folder."""
        found: type[Any] = self.part("result", f"{self._class_name}Result")
        return found

    def part(self, module: str, name: str) -> Any:
        """Import something from the folder of a stage, where nobody imports it by name.

        Parameters
        ----------
        module
            Module of the folder; empty for the folder itself.
        name
            Name in that module.
        """
        return resolve(".".join(filter(None, ("superionic.stages", self.name, module))) + f":{name}")

    @property
    def _class_name(self) -> str:
        return "".join(word.capitalize() for word in self.name.split("_"))


STAGES: Final[tuple[Stage, ...]] = (
    Stage("enumerate", EnumerateSettings, calculation="enumeration"),
    Stage("rank", RankSettings, evaluates=True, calculation="relaxation"),
    Stage("hull", HullSettings),
    Stage("dft", needs="hull", is_optional=True, evaluates=True, calculation="DFT calculation"),
    Stage("select", SelectSettings, needs="hull", is_optional=True),
    Stage("sample", SampleSettings, needs="select", is_optional=True, evaluates=True, calculation="sampling run"),
    Stage("label", LabelSettings, needs="sample", is_optional=True, evaluates=True, calculation="label"),
    Stage("train", TrainSettings, needs="label", is_optional=True, evaluates=True),
    Stage("validate", ValidateSettings, needs="label", is_optional=True, evaluates=True),
    Stage("distil", DistilSettings, is_optional=True, evaluates=True, calculation="run of teacher or student"),
    Stage("volumes", VolumesSettings, is_optional=True, evaluates=True, calculation="run at constant pressure"),
    Stage("transport", TransportSettings, evaluates=True, calculation="transport run"),
    Stage("analyse", AnalyseSettings, needs="transport", calculation="analysis"),
    Stage("report", ReportSettings),
)
"""The stages, in the order in which they run. `report` is the last and computes nothing."""


@cache
def sections() -> dict[str, type[StageSection]]:
    """Return the section of each stage, by its name, in the order in which the stages run."""
    return {stage.name: stage.settings for stage in STAGES}


def stage_named(name: str) -> Stage:
    """Return a stage.

    Raises
    ------
    KeyError
        If there is none of that name.
    """
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise KeyError(name)


NEEDS: Final[tuple[tuple[str, str], ...]] = (
    *((stage.name, stage.needs) for stage in STAGES if stage.needs is not None),
    ("learn", "train"),
)
"""Sections that make no sense without another one."""

OPTIONAL: Final[tuple[str, ...]] = (*(stage.name for stage in STAGES if stage.is_optional), "learn")
"""Sections that are in a campaign only where its file or its preset has them."""
