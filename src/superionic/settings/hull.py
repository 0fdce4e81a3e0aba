"""The section `hull` of the campaign file: formation energies and the convex hull."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from superionic.settings.base import Formula, Formulas, StageSection
from superionic.settings.rules import Problem, rule
from superionic.settings.train import TrainSettings


class HullSettings(StageSection):
    """Formation energies, convex hull and comparison of polymorphs."""

    formula_unit: Formula | None = Field(
        default=None,
        description="Formula unit for energies per formula unit, e.g. Li3YCl6, at any composition of the solid "
        "solution; that of the first composition axis if left out, without axes that of the end members (or, beside "
        "`references`, the reduced formula).",
    )
    end_members: Formulas = Field(
        default=(),
        description="Compositions of the campaign whose lowest orderings are the vertices of the hull, e.g. "
        "[Li3YCl6, Li3YBr6]; the ends of the composition axes (or the `references`) if left out.",
    )
    repeat_with_fine_tuned: bool = Field(
        default=False,
        description="Compute the hull again with the fine-tuned potential (both papers): single points of all "
        "orderings that the first ranking compared, and relaxations of the `rank.relax_top` lowest. What follows goes "
        "on with these.",
    )

    @rule
    def _repetition_has_a_potential(self, train: TrainSettings | None) -> Iterator[Problem]:
        if self.repeat_with_fine_tuned and train is None:
            message = "this needs a `train` section, which this campaign leaves out"
            yield Problem(("repeat_with_fine_tuned",), message)
