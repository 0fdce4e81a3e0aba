"""What the stage *enumerate* gives: how many orderings each cell has, and those that go on."""

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
    """An ordering that goes on.

    Attributes
    ----------
    ordering
        Which one it is.
    degeneracy
        How many decorations of the supercell it stands for.
    ewald_eV
        Point-charge energy of the supercell, with formal charges.
    times_drawn
        How often Monte Carlo drew it; None for other methods.
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
        Of the task that chose the orderings.
    counted
        The integer composition, and how many orderings it has.
    spacegroup
        Hermann–Mauguin symbol of the disordered crystal.
    method
        How the orderings were gone through.
    listed
        Distinct orderings whose energies were compared; those drawn, where not all were.
    evidence
        What speaks for a search, a sample or Monte Carlo; None for a listing.
    tie
        Orderings of equal energy at which the choice of the lowest ends, if it does.
    histogram
        Energies of all orderings of a listing.
    orderings
        Those that go on, lowest Ewald energy first, or in the order of the draws of Monte Carlo.
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


@dataclass(frozen=True, repr=False)
class EnumerateResult(Shown):
    """The orderings of all materials and supercells; calculations that failed are left out and listed."""

    spaces: tuple[EnumeratedSpace, ...]
    failures: tuple[Failure, ...]
