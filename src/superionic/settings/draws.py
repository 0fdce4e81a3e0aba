"""The section `transport.draws` of the campaign file: orderings of a large cell, drawn at a temperature, that are run.

Paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h); defaults are its values where it gives one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from superionic.settings.base import Formulas, Matrix, RowsOfMatrix
from superionic.settings.enumerate import MonteCarloSettings
from superionic.settings.inputs import CrystalInput
from superionic.settings.rules import Problem, rule

FOUR_TIMES: RowsOfMatrix = ((4, 0, 0), (0, 4, 0), (0, 0, 4))


class DrawSettings(MonteCarloSettings):
    """Orderings of a large cell, drawn at a temperature and run beside the lowest ones (paper A: NaSICON).

    A cluster expansion is fitted to energies in the supercells of `crystals`, and Monte Carlo runs on it in the large
    cell. Each draw is relaxed as by `rank`, but by FIRE, and run by itself: an ordering counts as often as it is drawn.
    """

    supercell: Matrix = Field(
        default=FOUR_TIMES,
        description="The large cell, on the crystal, or on its primitive cell where `crystals` says `primitive`: a "
        "multiple of one of its supercells. The runs of draws are in this cell; `transport.supercell` does not repeat "
        "it (paper A: 4x4x4 of NaSICON's primitive cell, 2,560 atoms).",
    )
    n_samples: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Independent draws of each composition that are run."
    )
    potential: str | None = Field(
        default=None,
        description="Name of an entry of `potentials` whose energies order the ions; that of `rank` if left out.",
    )
    compositions: Formulas = Field(
        default=(), description="Compositions of which orderings are drawn; those that are run if empty."
    )

    @rule
    def _is_a_multiple_of_a_small_cell(self, crystals: tuple[CrystalInput, ...]) -> Iterator[Problem]:
        import numpy as np

        for crystal in crystals:
            times = [np.array(self.supercell) @ np.linalg.inv(np.array(small)) for small in crystal.all_supercells]
            if not any(np.allclose(each, np.rint(each), atol=1e-6) for each in times):
                message = f"the large cell is no multiple of a supercell of {crystal.name}"
                yield Problem(("supercell",), message, "take a multiple of one, such as twice or four times")
