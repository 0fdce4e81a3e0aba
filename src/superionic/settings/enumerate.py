"""Sections of the campaign file that say how orderings are found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from superionic.settings.base import (
    Count,
    CountOrZero,
    NotNegative,
    Positive,
    StageSection,
    Temperature,
)
from superionic.settings.inputs import Potentials, unknown_potential
from superionic.settings.rules import Problem, Section, rule, rule_of_file


class MonteCarloSettings(Section):
    """Orderings as they are at a temperature, by Monte Carlo with swaps (`method: monte-carlo`).

    Energies are those of point charges, or of a potential, for which a cluster expansion stands in that is fitted while
    Monte Carlo goes on.
    """

    temperature_K: Temperature = Field(
        default=800.0, description="Temperature of the orderings: that at which the disorder of the sample froze in."
    )
    n_samples: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=50, description="Independent draws of each composition that go on; equal ones are merged and counted."
    )
    n_sweeps: Annotated[int, Field(ge=100, le=100_000_000)] = Field(
        default=4000, description="Length of each run, in swaps tried for each site."
    )
    dielectric: Annotated[float, Field(ge=0.01, le=1e6)] = Field(
        default=10.0,
        description="Relative permittivity that screens the point charges; with a potential only for its first "
        "orderings. 1 is the vacuum and freezes nearly everything; Li3YCl6 relaxed by CHGNet has 12.",
    )
    potential: str | None = Field(
        default=None, description="Name of an entry of `potentials` whose energies order the ions; null: point charges."
    )
    relax_steps: CountOrZero = Field(
        default=30, description="Steps of relaxation at fixed cell before an energy is taken; 0: none."
    )
    initial: Annotated[int, Field(ge=5)] = Field(
        default=30, description="Energies before the first fit: half of them at the temperature, half at random."
    )
    batch: Count = Field(default=10, description="Energies of new orderings in each round.")
    max_rounds: Count = Field(
        default=8, description="Rounds after which learning ends, right or not; the report says which."
    )
    tolerance_meV_per_atom: Positive = Field(
        default=2.0,
        description="Learning ends when the fit is this right about orderings that it had not seen (root mean square).",
    )
    pair_cutoff_A: Positive = Field(default=7.0, description="Longest pairs that the fit may choose from.")
    triplet_cutoff_A: NotNegative = Field(
        default=0.0, description="Longest triplets that the fit may choose from; 0: none."
    )

    @rule
    def _potential_is_known(self, potentials: Potentials) -> Iterator[Problem]:
        yield from unknown_potential(self.potential, potentials)


class EnumerateSettings(StageSection):
    """Integer compositions of each crystal and their symmetry-distinct orderings."""

    method: Literal["auto", "list", "search", "sample", "monte-carlo"] = Field(
        default="auto",
        description="list: look at every distinct ordering. search: find those of lowest Ewald energy by replica "
        "exchange. sample: draw at random. monte-carlo: draw as at a temperature. auto: list if there are no more than "
        "`max_listed`, else search.",
    )
    max_listed: Annotated[int, Field(ge=1, le=100_000_000_000)] = Field(
        default=100_000_000, description="Distinct orderings of a composition that are listed at most (some 10 s)."
    )
    ewald_keep: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=200,
        description="Orderings of lowest Ewald energy of each composition, per atom and over all supercells of a "
        "crystal, that go on to the ranking (those of `monte-carlo` all do; paper A: 2000).",
    )
    sample_draws: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=2000, description="Random draws of the method `sample`, before the lowest are kept."
    )
    sample_weights: Literal["distinct", "degeneracy"] = Field(
        default="distinct",
        description="Chance of a draw: every distinct ordering alike, or in proportion to its degeneracy (thermal).",
    )
    min_distance_A: Annotated[float, Field(gt=0, le=20)] | None = Field(
        default=1.5,
        description="Like ions are never closer than this (unlike ones 2/3 of it, bonds to hydrogen 0.4, two hydrogens "
        "5/6): split sites are not both occupied. null: no such rule.",
    )
    max_compositions: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="Integer compositions nearest to the refined occupancies that are taken at each grid point.",
    )
    max_composition_deviation: Positive = Field(
        default=0.1,
        description="Largest deviation of an occupancy from the refined one; one atom more or fewer is always allowed, "
        "unless it takes away all there is of a species.",
    )
    monte_carlo: MonteCarloSettings = Field(
        default_factory=MonteCarloSettings, description="Settings of the method `monte-carlo`."
    )

    @rule_of_file
    def _settings_are_of_the_method(self, written: Mapping[str, Any]) -> Iterator[Problem]:
        """Find settings of other methods than the one that is used: who wrote them expects an effect."""
        for key, method in _OF_ONE_METHOD.items():
            if key in written and method != self.method:
                message = f"`{key}` has no effect with `method: {self.method}`"
                yield Problem((key,), message, f"leave it out, or write `method: {method}`", at_key=True)


_OF_ONE_METHOD: Final = {"sample_draws": "sample", "sample_weights": "sample", "monte_carlo": "monte-carlo"}
