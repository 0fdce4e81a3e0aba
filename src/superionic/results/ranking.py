"""What the stage *rank* gives: orderings by their relaxed energies, what was culled, and what other potentials say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from superionic.dynamics.relax.optimizers import Optimizer
from superionic.execution.runner import Failure
from superionic.potentials.base import PotentialIdentity
from superionic.results.identity import Material, Ordering, ReferencePhase
from superionic.shown import Shown
from superionic.thermodynamics.rank_statistics import Correlation

RankMethod = Literal["relax-all", "halving", "single-points"]


@dataclass(frozen=True)
class RankedOrdering:
    """One ordering or reference phase, as far as the ranking took it; numbers are None where it was not taken so far.

    Attributes
    ----------
    identity
        Which one it is.
    key
        Of the task that has its relaxed structure.
    formula
        Reduced formula.
    n_atoms
        Atoms of the cell.
    degeneracy, ewald_eV
        From the enumeration; None for references.
    prescreen_eV_per_atom
        Energy by which the pre-screen judged it.
    single_point_eV_per_atom
        Energy before relaxation.
    reached_eV_per_atom
        Energy at which its relaxation was given up or ended.
    relaxed_eV_per_atom, volume_A3_per_atom, largest_force_eV_per_A
        Of the relaxed structure.
    lengths_A, angles_deg
        Of its cell: a, b, c and α, β, γ of the supercell.
    n_evaluations, n_steps, converged
        Of the relaxation.
    duplicate_of
        The ordering that it turned out to be.
    """

    identity: Ordering | ReferencePhase
    key: str | None
    formula: str
    n_atoms: int
    degeneracy: int | None
    ewald_eV: float | None
    prescreen_eV_per_atom: float | None
    single_point_eV_per_atom: float | None
    reached_eV_per_atom: float | None
    relaxed_eV_per_atom: float | None
    volume_A3_per_atom: float | None
    lengths_A: tuple[float, float, float] | None
    angles_deg: tuple[float, float, float] | None
    largest_force_eV_per_A: float | None
    n_evaluations: int | None
    n_steps: int | None
    converged: bool | None
    duplicate_of: Ordering | None


@dataclass(frozen=True)
class Prescreen:
    """What looked at all orderings first.

    Attributes
    ----------
    by
        ``"none"``, ``"ewald"`` or the name of a potential.
    kept, of
        How many orderings it left of how many.
    """

    by: str
    kept: int
    of: int


@dataclass(frozen=True)
class Audit:
    """Culled orderings that were relaxed after all, drawn at random.

    Attributes
    ----------
    audited, culled
        How many were relaxed of how many.
    entered
        How many of them belong among the lowest.
    """

    audited: int
    culled: int
    entered: int


@dataclass(frozen=True)
class HalvingReport:
    """What relaxing the orderings of one crystal and composition cost, what was culled, and what may be missing.

    Attributes
    ----------
    material, formula
        Whose orderings competed.
    orderings, pilots, relaxed, culled, wanted
        Numbers of orderings: ranked, drawn at random to learn the noise, relaxed to the end, given up, and asked for.
    evaluations, evaluations_if_all
        Evaluations of the potential, and what relaxing all to the end would have taken (None: not known).
    margins_meV_per_atom
        Noise within which nothing was culled, for each rung.
    audits
        One, or two where culling was made wider after the first.
    widened
        Whether it was.
    recall, recall_interval95
        Expected share of the lowest orderings that are among the relaxed ones.
    recall_at_least_by_audit
        Lower 95 % limit of that share by the last audit alone; None where nothing was culled.
    """

    material: Material
    formula: str
    orderings: int
    pilots: int
    relaxed: int
    culled: int
    wanted: int
    evaluations: int
    evaluations_if_all: float | None
    margins_meV_per_atom: tuple[float, ...]
    audits: tuple[Audit, ...]
    widened: bool
    recall: float
    recall_interval95: tuple[float, float]
    recall_at_least_by_audit: float | None


@dataclass(frozen=True)
class ComparedEnergies:
    """One ordering by two potentials.

    Attributes
    ----------
    ordering, formula
        Which one it is.
    first_eV_per_atom, second_eV_per_atom
        Its energies.
    left_meV_per_atom
        What is left of their difference after a shift for each element.
    """

    ordering: Ordering
    formula: str
    first_eV_per_atom: float
    second_eV_per_atom: float
    left_meV_per_atom: float


@dataclass(frozen=True)
class Agreement:
    """How far two potentials put the orderings of one composition into the same order.

    Attributes
    ----------
    formula, n
        The composition, and how many orderings of it.
    spearman, kendall
        Rank correlations.
    lowest_count, lowest_shared
        Share of so many lowest orderings of the one that are among as many lowest of the other.
    same_lowest
        Whether they agree on the lowest.
    spread_meV_per_atom
        Standard deviations of the energies, by the first and by the second.
    mean_difference_left_meV_per_atom
        Mean difference of the two, after a shift for each element.
    """

    formula: str
    n: int
    spearman: Correlation
    kendall: Correlation
    lowest_count: int
    lowest_shared: float
    same_lowest: bool
    spread_meV_per_atom: tuple[float, float]
    mean_difference_left_meV_per_atom: float


@dataclass(frozen=True)
class TwoRankings:
    """The energies of the same orderings by two potentials.

    Attributes
    ----------
    energies
        Of each ordering.
    groups
        One for each composition, in alphabetical order.
    element_shifts_eV_per_atom
        Shift of the second potential for each element; None where the compositions leave shifts open.
    """

    energies: tuple[ComparedEnergies, ...]
    groups: tuple[Agreement, ...]
    element_shifts_eV_per_atom: Mapping[str, float] | None


@dataclass(frozen=True)
class Comparison:
    """What another potential says of the ranked orderings; its energies never enter the hull.

    Attributes
    ----------
    first, second
        Names, in the campaign, of the potential that ranked and of the other one.
    potential
        Who the other one is.
    after
        Whether it evaluated the structures as the first one relaxed them, or relaxed them further.
    key
        Of the task that compared; None where nothing could be.
    rankings
        The energies, and how far they agree.
    failures
        Evaluations that failed.
    """

    first: str
    second: str
    potential: PotentialIdentity
    after: Literal["same structures", "relaxation"]
    key: str | None
    rankings: TwoRankings | None
    failures: tuple[Failure, ...]


@dataclass(frozen=True, repr=False)
class RankResult(Shown):
    """Orderings by their relaxed energies.

    Attributes
    ----------
    potential_name, potential
        Name, in the campaign, of the potential that ranked, and who it is.
    method, optimizer
        How orderings were chosen and relaxed.
    prescreen
        What looked at them first.
    repeated_before_ranking
        Orderings left out since they repeat one of another cell.
    entries
        All orderings, in the order of the enumeration, then the references.
    halving
        For each crystal and composition; empty with the method ``single-points``.
    comparisons
        For each other potential.
    failures
        Calculations that failed.
    """

    potential_name: str
    potential: PotentialIdentity
    method: RankMethod
    optimizer: Optimizer
    prescreen: Prescreen
    repeated_before_ranking: int
    entries: tuple[RankedOrdering, ...]
    halving: tuple[HalvingReport, ...]
    comparisons: tuple[Comparison, ...]
    failures: tuple[Failure, ...]
