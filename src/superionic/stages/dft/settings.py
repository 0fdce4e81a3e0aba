"""The section `dft` of the campaign file: relaxations and single points of the lowest orderings by DFT.

Paper B is the study of Li3YCl6-xBrx with a fine-tuned CHGNet; defaults are its values.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from superionic.settings.base import Count, CountOrZero, Optimizer, Positive
from superionic.settings.label import ReferenceMethodSettings
from superionic.settings.rules import Problem, rule


class DftSettings(ReferenceMethodSettings):
    """The lowest orderings by DFT: relaxed, and as the ranking potential relaxed them."""

    relax: CountOrZero = Field(
        default=20,
        description="Orderings of lowest energy of each crystal and composition that are relaxed, from the structures "
        "that the ranking potential gave them (paper B: 20); 0 for none. So are the `references`.",
    )
    single_points: CountOrZero = Field(
        default=0,
        description="Orderings of lowest energy of each crystal and composition whose energy is calculated in the "
        "structures that the ranking potential gave them. Those that are relaxed have it at no further cost.",
    )
    fmax_eV_per_A: Positive = Field(default=0.01, description="Largest force that ends a relaxation (paper B: 0.01).")
    max_steps: Count = Field(default=300, description="Steps after which a relaxation is given up as not converged.")
    optimizer: Optimizer = Field(
        default="QN",
        description="Optimizer: quasi-Newton from a Hessian of springs (QN, the fewest calculations), FIRE (paper B), "
        "or another one of ASE.",
    )
    relax_cell: bool = Field(default=True, description="Relax the cell as well as the positions.")
    segment_steps: Count = Field(
        default=5, description="Steps of one segment of a relaxation: what a killed run loses at most."
    )
    segment_limit_h: Positive = Field(
        default=24.0,
        description="Longest time of one segment, in hours. One that takes longer is ended, tried once more, and then "
        "recorded as failed.",
    )

    @property
    def dispersion_engines(self) -> tuple[str, ...]:
        """Environments in which the dispersion term is evaluated; a relaxation needs it at every step."""
        engines = super().dispersion_engines
        return (*engines, "gpaw") if engines and self.engine == "gpaw" and self.relax else engines

    @rule
    def _something_is_calculated(self) -> Iterator[Problem]:
        if self.relax == 0 and self.single_points == 0:
            yield Problem(("relax",), "nothing is calculated", "relax some orderings, or ask for single points")
