"""From a crystal to a counted space of orderings, with a plan for the next step: list, search or sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import numpy as np

from superionic.errors import CompositionError
from superionic.structures.crystal.composition import (
    MAX_DEVIATION,
    Coupling,
    IntegerComposition,
    OccupancyBound,
    integer_compositions,
)
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.crystal.supercells import Supercell, supercell_sites
from superionic.structures.orderings.counting import OrderingCount, count_orderings
from superionic.structures.orderings.counting_exclusions import AllowedFraction, count_allowed, estimate_allowed
from superionic.structures.orderings.exclusions import occupancy_bounds
from superionic.structures.orderings.sampling import find_allowed
from superionic.structures.orderings.space import OrderingSpace, exclusion_rule, ordering_space

DEFAULT_MIN_DISTANCE_A = 1.5
"""No two like-charged ions of an electrolyte sit closer; refined split sites do."""

MAX_LISTED = 100_000_000
"""Largest number of distinct orderings listed by default: some ten seconds of one core."""

_COMPOSITIONS_TRIED = 20
_FULL_UNIT = 0.03
_SHORTER_A = (1.4, 1.3, 1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_ESTIMATE_DRAWS = 20_000
_NODES_PER_ORDERING = 40.0

Method = Literal["list", "search", "sample", "monte-carlo"]


@dataclass(frozen=True)
class OrderingPlan:
    """The way to handle a space of this size.

    Parameters
    ----------
    method
        ``"list"``: go through every ordering. ``"search"``: search for those of lowest energy by replica exchange, and
        sample the rest. ``"sample"``: draw at random, exactly.
    reason
        Why, in a sentence.
    """

    method: Method
    reason: str


@dataclass(frozen=True, eq=False)
class CountedSpace:
    """A composition of a supercell, the space of its orderings, and its size.

    Parameters
    ----------
    crystal, oxidation_states
        The parent, and the charge in e of each species.
    space
        The space, its exclusions included.
    count
        Exact numbers of all orderings, whatever the distances between the sites.
    allowed
        Exact numbers of those that respect the exclusions; None if counting them would take too long.
    fraction
        The estimated fraction of decorations that respect the exclusions, if they were not counted.
    plan
        The plan for the next step.
    skipped
        Number of nearer compositions that were skipped, as none of their orderings respects the exclusions.
    """

    crystal: DisorderedCrystal
    oxidation_states: Mapping[str, float]
    space: OrderingSpace
    count: OrderingCount
    allowed: OrderingCount | None
    fraction: AllowedFraction | None
    plan: OrderingPlan
    skipped: int = 0

    @property
    def composition(self) -> IntegerComposition:
        """The counts on each group of sites."""
        return self.space.composition

    @property
    def distinct(self) -> int | None:
        """Number of distinct orderings to choose from, None if unknown."""
        return None if self.allowed is None else self.allowed.distinct

    @property
    def summary(self) -> CountedComposition:
        """The composition and the numbers alone."""
        space = self.space
        return CountedComposition(
            space.composition, self.count, self.allowed, self.plan, self.skipped, space.min_distance_A,
            len(space.exclusions),
        )  # fmt: skip


@dataclass(frozen=True)
class CountedComposition:
    """An integer composition of a supercell, with the number of its orderings: a counted space without its arrays.

    Parameters
    ----------
    composition
        The counts on each group of sites.
    count, allowed, plan, skipped
        As in :class:`CountedSpace`.
    min_distance_A, excluded_pairs
        Smallest distance of like ions (None: no such rule), and the number of pairs of sites that exclude each other by
        it, or as alternatives.
    """

    composition: IntegerComposition
    count: OrderingCount
    allowed: OrderingCount | None
    plan: OrderingPlan
    skipped: int
    min_distance_A: float | None
    excluded_pairs: int

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return self.composition.formula


def counted_spaces(
    crystal: DisorderedCrystal,
    supercell: Supercell | str | Sequence[Any],
    oxidation_states: Mapping[str, float],
    *,
    coupling: Coupling = "per-orbit",
    overrides: Mapping[str, Mapping[str, float]] | None = None,
    exact_species: Sequence[str] = (),
    exact_totals: Mapping[str, int | float | Fraction] | None = None,
    max_deviation: float | None = MAX_DEVIATION,
    strict: bool = False,
    min_distance_A: float | None = DEFAULT_MIN_DISTANCE_A,
    number: int = 1,
    max_listed: int = MAX_LISTED,
    seed: int = 0,
) -> list[CountedSpace]:
    """Find the nearest neutral compositions of a supercell that have orderings, and count the orderings.

    Parameters
    ----------
    crystal, supercell, oxidation_states, coupling, overrides, exact_species, exact_totals, max_deviation, strict
        As in :func:`~superionic.structures.crystal.composition.integer_compositions`.
    min_distance_A
        Sites closer than this are not both occupied (see :func:`.ordering_space`); None for no such rule.
    number
        Largest number of compositions, the nearest first. A composition none of whose orderings respects the distance
        is skipped.
    max_listed
        Largest number of distinct orderings for which the plan is to list them.
    seed
        Seed of the estimate, where the allowed orderings cannot be counted.

    Raises
    ------
    CompositionError
        If no neutral composition fits the supercell, or none of those tried has an ordering that respects the distance.
    """
    parsed = Supercell.parse(supercell)
    sites = supercell_sites(crystal, parsed)

    def compositions(bounds: Sequence[OccupancyBound], limit: int) -> list[IntegerComposition]:
        return integer_compositions(
            crystal, parsed, oxidation_states,
            coupling=coupling, overrides=overrides, exact_species=exact_species, exact_totals=exact_totals,
            max_occupied=bounds, max_deviation=max_deviation, strict=strict, limit=limit,
        )  # fmt: skip

    _demand_full_units(crystal)
    restricted = min_distance_A is not None or len(sites.alternatives) > 0
    bounds = occupancy_bounds(crystal, sites, min_distance_A, oxidation_states)
    try:
        tried = compositions(bounds, max(number, _COMPOSITIONS_TRIED) if restricted else number)
    except CompositionError:
        if not bounds or not _fits(partial(compositions, (), 1)):
            raise
        # The distance is the obstacle.
        tried = []
    spaces: list[CountedSpace] = []
    skipped = 0
    for composition in tried:
        space = ordering_space(sites, composition, min_distance_A=min_distance_A, oxidation_states=oxidation_states)
        counted = _count(crystal, oxidation_states, space, max_listed, seed, skipped)
        if counted is None:
            skipped += 1
            continue
        spaces.append(counted)
        if len(spaces) == number:
            break
    if spaces:
        return spaces

    def fits_at(distance_A: float) -> bool:
        shorter = occupancy_bounds(crystal, sites, distance_A, oxidation_states)
        return _fits(partial(compositions, shorter, 1))

    possible = next((d for d in _SHORTER_A if min_distance_A is not None and d < min_distance_A and fits_at(d)), None)
    hint = "" if possible is None else f" (counts exist at {possible:g} Å: --min-distance {possible:g})"
    rule = exclusion_rule(min_distance_A, len(sites.alternatives) > 0)
    raise CompositionError(
        f"No neutral composition near the refinement keeps {rule}.",
        where=f"{crystal.name}, supercell {parsed}",
        fix=f"Lower the smallest distance{hint}, use a larger supercell, or couple the sublattices.",
    )


def _demand_full_units(crystal: DisorderedCrystal) -> None:
    """Refuse disorder groups that no longer fill their units: exclusions cannot then keep their atoms together."""
    shares: dict[str, dict[str, float]] = {}
    for site in crystal.sites:
        if site.alternative is not None:
            shares.setdefault(site.alternative.assembly, {})[site.alternative.group] = sum(site.species.values())
    for assembly, occupancies in shares.items():
        if abs(sum(occupancies.values()) - 1.0) > _FULL_UNIT:
            raise CompositionError(
                f"The occupancies of the disorder groups of the assembly {assembly} sum to "
                f"{sum(occupancies.values()):.3g} here; their atoms are kept together only where they sum to 1.",
                where=crystal.name,
                fix="Leave the species of these sites as refined.",
            )


def _fits(compose: Callable[[], object]) -> bool:
    try:
        compose()
    except CompositionError:
        return False
    return True


def _count(
    crystal: DisorderedCrystal,
    oxidation_states: Mapping[str, float],
    space: OrderingSpace,
    max_listed: int,
    seed: int,
    skipped: int,
) -> CountedSpace | None:
    """Count a space; return None if none of its orderings respects the exclusions."""
    # Close full sites are bonds of the refinement; split sites filled by rounding are a mistake.
    may_be_vacant = [crystal.sublattices[orbit].vacancy > 0.0 for orbit in space.sites.orbits]
    if any(may_be_vacant[i] or may_be_vacant[j] for i, j in space.unavoidable):
        return None
    count = count_orderings(space.sites, space.composition)
    allowed: OrderingCount | None = count
    fraction = None
    if space.has_exclusions:
        allowed = count_allowed(space)
        if allowed is not None and allowed.distinct == 0:
            return None
        if allowed is None:
            rng = np.random.default_rng(seed)
            if find_allowed(space, rng) is None:
                return None
            fraction = estimate_allowed(space, rng, _ESTIMATE_DRAWS)
    plan = _plan(count, allowed, max_listed, moves_in_groups=space.moves_in_groups)
    return CountedSpace(crystal, dict(oxidation_states), space, count, allowed, fraction, plan, skipped)


def _plan(
    count: OrderingCount, allowed: OrderingCount | None, max_listed: int, *, moves_in_groups: bool
) -> OrderingPlan:
    if count.distinct <= max_listed:
        return OrderingPlan("list", f"{count.distinct:,} distinct orderings are no more than {max_listed:,}")
    if allowed is not None and allowed.distinct <= max_listed and count.distinct <= max_listed * _NODES_PER_ORDERING:
        return OrderingPlan("list", f"{allowed.distinct:,} of them are allowed, no more than {max_listed:,}")
    if moves_in_groups:
        return OrderingPlan(
            "sample", "atoms of disorder groups go together, which no search by swaps of two sites keeps"
        )
    if allowed is not None and allowed.distinct <= max_listed:
        return OrderingPlan(
            "search", f"{count.distinct:.3g} would have to be walked for the {allowed.distinct:,} allowed"
        )
    known = f"{count.distinct:.3g}" if allowed is None else f"{allowed.distinct:.3g}"
    return OrderingPlan("search", f"{known} distinct orderings are more than {max_listed:,}")
