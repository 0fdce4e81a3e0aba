"""A campaign sized to a given wall time, as ``superionic init --budget 8h`` drafts it.

Sizes form a ladder, from generous to the smallest that still gives a conductivity. The first rung whose plan fits is
taken, and the file states what was given up for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from superionic.errors import CampaignFileError

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.plan import Plan
    from superionic.structures.crystal.disordered import DisorderedCrystal


@dataclass(frozen=True)
class Sizes:
    """The sizes of a drafted campaign.

    Attributes
    ----------
    orderings
        Orderings of lowest electrostatic energy that are kept and relaxed.
    labels
        Structures that the teacher labels in all.
    thick_A
        Least thickness of the cell of a run; the ordering is doubled along each axis if None.
    replicas
        Runs at each of them.
    npt_ps, production_ps
        Lengths of a run at constant pressure, and of that which is analysed.
    """

    orderings: int
    labels: int
    thick_A: float | None
    temperatures_K: tuple[int, ...]
    replicas: int
    npt_ps: int
    production_ps: int

    @property
    def seed_labels(self) -> int:
        """Labels of the first training: a third, as in the defaults of the campaign file."""
        return self.labels // 3


_SIX, _FIVE, _FOUR = (500, 600, 700, 800, 900, 1000), (600, 700, 800, 900, 1000), (700, 800, 900, 1000)

USUAL: Final = Sizes(200, 600, None, _FIVE, 2, 50, 200)
"""Sizes where no budget is stated."""

LADDER: Final = (
    Sizes(200, 600, 16.0, _SIX, 4, 50, 1000),
    Sizes(200, 600, 16.0, _SIX, 2, 50, 1000),
    Sizes(200, 600, 16.0, _SIX, 2, 50, 500),
    Sizes(200, 600, 16.0, _FIVE, 2, 50, 300),
    Sizes(200, 600, 14.0, _FIVE, 2, 50, 200),
    Sizes(100, 600, 12.0, _FIVE, 2, 50, 200),
    Sizes(100, 600, 12.0, _FOUR, 2, 40, 150),
    Sizes(50, 400, 12.0, _FOUR, 2, 30, 100),
    Sizes(50, 400, 12.0, _FOUR, 1, 30, 100),
    Sizes(50, 400, 9.0, _FOUR, 1, 30, 100),
    # Three temperatures are the fewest that show whether ln(σT) is straight; the hot ones, as the runs are short.
    Sizes(20, 300, 9.0, (700, 850, 1000), 1, 20, 60),
)
"""From generous to smallest; no size grows from one to the next."""


def draft_within(
    budget_h: float, crystal: DisorderedCrystal, draft: Callable[[Sizes, str], str], crystal_path: Path, folder: Path
) -> str:
    """Return the draft of the most generous sizes whose planned time on this machine fits.

    Parameters
    ----------
    budget_h
        Wall time in hours.
    draft
        Returns the campaign file for given sizes, headed by lines of comment.
    crystal_path, folder
        File of the crystal, and the folder in which the campaign file will stand.

    Raises
    ------
    CampaignFileError
        If not even the smallest sizes fit.
    """
    from superionic.campaign.file.load import parse_campaign
    from superionic.campaign.plan import estimate_plan

    drafts: list[_Draft] = []
    for sizes in LADDER:
        file = parse_campaign(draft(sizes, ""), folder / "campaign.yaml")
        counted = drafts[0].plan.spaces if drafts else None
        plan = estimate_plan(file, {file.crystals[0].name: crystal}, {}, folder, spaces=counted)
        drafts.append(_Draft(file, plan))
        if plan.wall_hours <= budget_h:
            return draft(sizes, _remarks(budget_h, drafts[0], drafts[-1]))
    least = drafts[-1]
    minutes = math.ceil(60.0 * least.plan.wall_hours)
    size = "; ".join(f"{name}: {value}" for name, value in least.values().items())
    raise CampaignFileError(
        f"No campaign of this crystal ends in {_time(budget_h)}: the smallest takes about "
        f"{_time(least.plan.wall_hours)} on {least.cores} ({size}).",
        where=str(crystal_path),
        fix=f"Give it --budget {minutes}min (in Python budget_h={math.ceil(minutes / 0.6) / 100:g}) or take a machine "
        f"with more cores; `superionic try {crystal_path}` screens it in some ten minutes.",
    )


@dataclass(frozen=True)
class _Draft:
    file: CampaignFile
    plan: Plan

    @property
    def cores(self) -> str:
        return f"{self.plan.workers} core" + ("s" if self.plan.workers > 1 else "")

    def values(self) -> dict[str, str]:
        """Return the sizes in words, as they come out for the crystal."""
        space, runs, distil = self.plan.spaces[0], self.file.transport, self.file.distil
        assert runs is not None  # noqa: S101 - every draft has both sections
        assert distil is not None  # noqa: S101
        atoms = space.n_atoms * abs(round(float(np.linalg.det(np.array(runs.supercell)))))
        return {
            "orderings kept and relaxed": f"{min(self.file.enumerate.ewald_keep, space.distinct)}",
            "labels by the teacher": f"{distil.on_policy.max_labels}",
            "atoms of a run": f"{atoms}",
            "temperatures": f"{len(runs.temperatures_K)} from {min(runs.temperatures_K):g} K",
            "runs at each temperature": f"{runs.replicas}",
            "equilibration of the cell": f"{runs.npt_ps:g} ps",
            "production of each run": f"{runs.production_ps:g} ps",
        }


def _remarks(budget_h: float, most: _Draft, drafted: _Draft) -> str:
    """Return, as lines of comment, the planned cost and what was given up from the most generous sizes."""
    now = drafted.values()
    given_up = [
        f"{name}: {now[name]} instead of {value}" for name, value in most.values().items() if now[name] != value
    ]
    hours = drafted.plan.wall_hours
    lines = [f"Sized for {_time(budget_h)} on {drafted.cores}: about {_time(hours)} by the plan, if all are kept busy."]
    if given_up:
        lines.append(f"Given up against the most generous sizes, which take about {_time(most.plan.wall_hours)}:")
        lines += [f"  {line}" for line in given_up]
    else:
        lines.append("Nothing was given up: these are the most generous sizes.")
    return "".join(f"# {line}\n" for line in lines)


def _time(hours: float) -> str:
    if hours < 2.0:
        return f"{60.0 * hours:.3g} min"
    return f"{hours:.3g} h" if hours < 72.0 else f"{hours / 24.0:.3g} days"
