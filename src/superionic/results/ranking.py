"""Results of the stage *rank*: orderings by relaxed energy, those culled, and a comparison of potentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from superionic.dynamics.relax.optimizers import Optimizer
from superionic.enumeration.local_order import LocalOrder
from superionic.execution.runner import Failure
from superionic.potentials.base import PotentialIdentity
from superionic.results.identity import Material, Ordering, ReferencePhase
from superionic.shown import Shown
from superionic.thermodynamics.rank_statistics import Correlation

RankMethod = Literal["relax-all", "halving", "single-points"]


@dataclass(frozen=True)
class RankedOrdering:
    """One ordering or reference phase; values are None for steps of the ranking that it did not reach.

    Attributes
    ----------
    key
        Key of the task with its relaxed structure.
    formula
        Reduced formula.
    n_atoms
        Number of atoms in the cell.
    degeneracy, ewald_eV
        Degeneracy and Ewald energy from the enumeration; None for references.
    prescreen_eV_per_atom
        Energy used by the pre-screen.
    single_point_eV_per_atom
        Energy before relaxation.
    reached_eV_per_atom
        Energy at which its relaxation was abandoned or ended.
    relaxed_eV_per_atom, volume_A3_per_atom, largest_force_eV_per_A
        Properties of the relaxed structure.
    lengths_A, angles_deg
        Relaxed cell: a, b, c and α, β, γ of the supercell.
    n_evaluations, n_steps, converged
        Cost and convergence of the relaxation.
    duplicate_of
        The ordering that it turned out to repeat.
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
class PrescreenAudit:
    """How many of the lowest orderings of one crystal and composition the pre-screen kept.

    Attributes
    ----------
    material, formula
        The material whose orderings competed, and its formula.
    kept, screened_out
        Number of orderings that went on, and that did not.
    audited, entered
        Number of the latter that were drawn at random and relaxed by the ranking potential, and of those among them
        that are lower than the last of the lowest that went on.
    n_lowest
        Number of lowest orderings that the recall is of.
    recall, recall_interval95
        Expected share of these that the pre-screen kept; None without an audit.
    recall_at_least_by_audit
        Lower 95 % limit of that share from the numbers audited and entered alone, whatever their energies.
    """

    material: Material
    formula: str
    kept: int
    screened_out: int
    audited: int
    entered: int
    n_lowest: int
    recall: float | None
    recall_interval95: tuple[float, float] | None
    recall_at_least_by_audit: float | None


@dataclass(frozen=True)
class Prescreen:
    """The pre-screen of all orderings.

    Attributes
    ----------
    by
        ``"none"``, ``"ewald"`` or the name of a potential.
    kept, of
        Number of orderings retained, and total number.
    audits
        Its recall for each crystal and composition of which something was screened out.
    """

    by: str
    kept: int
    of: int
    audits: tuple[PrescreenAudit, ...] = ()


@dataclass(frozen=True)
class Audit:
    """A random sample of culled orderings that were relaxed after all.

    Attributes
    ----------
    audited, culled
        Number relaxed, and number from which they were drawn.
    entered
        Number of them that belong among the lowest.
    """

    audited: int
    culled: int
    entered: int


@dataclass(frozen=True)
class HalvingReport:
    """Cost, culling and recall of successive halving for the orderings of one crystal and composition.

    Attributes
    ----------
    material, formula
        The material whose orderings competed, and its formula.
    orderings, pilots, relaxed, culled, wanted
        Number of orderings ranked, drawn at random to estimate the noise, relaxed to the end, culled, and requested.
    evaluations, evaluations_if_all
        Evaluations of the potential, and those needed to relax all orderings to the end (None if unknown).
    margins_meV_per_atom
        Noise within which no ordering was culled, for each rung.
    audits
        One audit, or two if the margin was widened after the first.
    widened
        Whether the margin was widened.
    recall, recall_interval95
        Expected share of the lowest orderings that are among the relaxed ones.
    recall_at_least_by_audit
        Lower 95 % limit of that share from the last audit alone; None if nothing was culled.
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
    """Energies of one ordering by two potentials.

    Attributes
    ----------
    ordering, formula
        The ordering and its reduced formula.
    first_eV_per_atom, second_eV_per_atom
        Its two energies.
    left_meV_per_atom
        Residual of their difference after a shift for each element.
    """

    ordering: Ordering
    formula: str
    first_eV_per_atom: float
    second_eV_per_atom: float
    left_meV_per_atom: float


@dataclass(frozen=True)
class ComparedVolume:
    """Volumes of one ordering, relaxed by the ranking potential and from there by the other.

    Attributes
    ----------
    ordering, formula
        The ordering and its reduced formula.
    first_A3_per_atom, second_A3_per_atom
        Its two volumes.
    """

    ordering: Ordering
    formula: str
    first_A3_per_atom: float
    second_A3_per_atom: float


@dataclass(frozen=True)
class Agreement:
    """Agreement of two potentials on the order of the orderings of one composition.

    Attributes
    ----------
    formula, n
        The composition, and its number of orderings.
    spearman, kendall
        Rank correlations.
    lowest_count, lowest_shared
        A number of lowest orderings, and the share of those of one potential that are among those of the other.
    same_lowest
        Whether they agree on the lowest ordering.
    spread_meV_per_atom
        Standard deviations of the energies by the first and by the second potential.
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
        Energies of each ordering.
    groups
        Agreement on each composition, in alphabetical order.
    element_shifts_eV_per_atom
        Shift of the second potential for each element; None if the compositions leave shifts undetermined.
    """

    energies: tuple[ComparedEnergies, ...]
    groups: tuple[Agreement, ...]
    element_shifts_eV_per_atom: Mapping[str, float] | None


@dataclass(frozen=True)
class Comparison:
    """The ranked orderings by another potential, whose energies never enter the hull.

    Attributes
    ----------
    first, second
        Names, in the campaign, of the ranking and of the other potential.
    potential
        Identity of the other potential.
    after
        Whether it evaluated the structures relaxed by the first one, or relaxed them further.
    key
        Key of the task that compared them; None if there was nothing to compare.
    rankings
        The energies and their agreement.
    failures
        Evaluations that failed.
    volumes
        Volumes by both, where the other potential relaxed the cells too.
    """

    first: str
    second: str
    potential: PotentialIdentity
    after: Literal["same structures", "relaxation"]
    key: str | None
    rankings: TwoRankings | None
    failures: tuple[Failure, ...]
    volumes: tuple[ComparedVolume, ...] = ()


@dataclass(frozen=True)
class OrderOfOrdering:
    """The local order of one relaxed ordering.

    Attributes
    ----------
    ordering
        The ordering.
    above_lowest_eV_per_atom
        Its energy above the lowest ordering of its material.
    order
        Coordination in the relaxed structure; short-range order and occupancies on the sites of the crystal.
    """

    ordering: Ordering
    above_lowest_eV_per_atom: float
    order: LocalOrder


@dataclass(frozen=True)
class MeanOrder:
    """The local order averaged over the relaxed orderings of one supercell.

    Attributes
    ----------
    weights
        ``"boltzmann"``: degeneracy × exp(−E/k_BT), E being the energy of the supercell, over the orderings that were
        relaxed; ``"draws"``: the number of times that Monte Carlo drew each.
    temperature_K
        Temperature of the Boltzmann factor, or of the draws.
    n_orderings, effective_number
        Number of orderings averaged, and (Σw)²/Σw².
    order
        The weighted mean.
    """

    weights: Literal["boltzmann", "draws"]
    temperature_K: float
    n_orderings: int
    effective_number: float
    order: LocalOrder


@dataclass(frozen=True)
class MaterialOrder:
    """What the orderings of one material look like.

    Attributes
    ----------
    material, formula
        Crystal and composition, and the reduced formula.
    key
        Key of the task that described them.
    lowest
        The lowest orderings, lowest first.
    mean
        The mean over the orderings of the lowest one's supercell; None if the campaign names no temperature.
    """

    material: Material
    formula: str
    key: str
    lowest: tuple[OrderOfOrdering, ...]
    mean: MeanOrder | None


@dataclass(frozen=True, repr=False)
class RankResult(Shown):
    """Orderings by their relaxed energies.

    Attributes
    ----------
    potential_name, potential
        Name, in the campaign, of the ranking potential, and its identity.
    method, optimizer
        How orderings were culled and relaxed.
    prescreen
        The pre-screen.
    repeated_before_ranking
        Number of orderings left out because they repeat one of another cell.
    entries
        All orderings, in the order of the enumeration, then the references.
    halving
        Report for each crystal and composition; empty with the method ``single-points``.
    comparisons
        Comparison with each other potential.
    failures
        Calculations that failed.
    order
        What the relaxed orderings of each material look like.
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
    order: tuple[MaterialOrder, ...] = ()
