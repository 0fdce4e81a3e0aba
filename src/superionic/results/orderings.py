"""Results of the stage *enumerate*: the number of orderings of each cell, and the orderings retained."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.enumeration.counted import CountedComposition, Method
from superionic.enumeration.evidence import Evidence
from superionic.execution.runner import Failure
from superionic.results.identity import OrderedCell, Ordering
from superionic.shown import Shown
from superionic.structures.orderings.ranking import EnergyHistogram, Tie


@dataclass(frozen=True)
class EnumeratedOrdering:
    """An ordering retained for the ranking.

    Attributes
    ----------
    degeneracy
        Number of symmetry-equivalent decorations of the supercell.
    ewald_eV
        Point-charge energy of the supercell, with formal charges.
    times_drawn
        Number of times that Monte Carlo drew it; None for other methods.
    """

    ordering: Ordering
    degeneracy: int
    ewald_eV: float
    times_drawn: int | None


@dataclass(frozen=True, repr=False)
class EnumeratedSpace(Shown):
    """The orderings of one integer composition in one supercell.

    Attributes
    ----------
    cell
        Crystal, composition and supercell.
    key
        Key of the task that chose the orderings.
    counted
        The integer composition, and its number of orderings.
    spacegroup
        Hermann–Mauguin symbol of the disordered crystal.
    method
        How the orderings were explored.
    listed
        Number of distinct orderings whose energies were compared: all of a listing, or those drawn.
    evidence
        Evidence that a search, a sample or Monte Carlo is complete or converged; None for a listing.
    tie
        Orderings of equal energy among which the choice of the lowest ends, if there are any.
    histogram
        Energies of all orderings of a listing.
    orderings
        The orderings that go on to the ranking, lowest Ewald energy first, or in the order in which Monte Carlo drew
        them. Where a material has several supercells, they are those among the lowest of all of them.
    """

    cell: OrderedCell
    key: str
    counted: CountedComposition
    spacegroup: str
    method: Method
    listed: int
    evidence: Evidence | None
    tie: Tie | None
    histogram: EnergyHistogram | None
    orderings: tuple[EnumeratedOrdering, ...]


@dataclass(frozen=True)
class LeftOutCell:
    """A supercell of a crystal whose sites cannot hold a composition that other supercells of it hold.

    Attributes
    ----------
    cell
        Crystal, composition and supercell.
    reason
        Why, in a sentence.
    """

    cell: OrderedCell
    reason: str


@dataclass(frozen=True, repr=False)
class EnumerateResult(Shown):
    """The orderings of all materials and supercells; calculations that failed are left out and listed."""

    spaces: tuple[EnumeratedSpace, ...]
    failures: tuple[Failure, ...]
    left_out: tuple[LeftOutCell, ...] = ()
