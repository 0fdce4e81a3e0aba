"""Orderings of large cells drawn at a temperature, and transport in them, beside that of the lowest orderings."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.enumeration.evidence import MonteCarloEvidence
from superionic.execution.runner import Failure
from superionic.results.identity import Material, OrderedCell, Ordering
from superionic.results.transport import AnalysedRun, MaterialTransport, TransportResult
from superionic.shown import Shown


@dataclass(frozen=True, repr=False)
class DrawnCell(Shown):
    """Monte Carlo of one material in a large cell.

    Attributes
    ----------
    cell
        Crystal, composition and large cell.
    key
        Key of the task that drew the orderings.
    formula, n_atoms
        Reduced formula, and atoms of the large cell.
    energies
        Energies in small cells to which the cluster expansion is fitted, by cell.
    evidence
        Convergence of the run, accuracy of the cluster expansion, short-range order.
    """

    cell: OrderedCell
    key: str
    formula: str
    n_atoms: int
    energies: tuple[tuple[OrderedCell, int], ...]
    evidence: MonteCarloEvidence


@dataclass(frozen=True)
class DrawnOrdering:
    """One draw; an ordering that was drawn twice is two of them.

    Attributes
    ----------
    ordering
        Cell, and number of the draw.
    relaxed_eV_per_atom
        Relaxed energy; None if the relaxation failed.
    above_lowest_eV_per_atom
        The same relative to the lowest ordering of small cells of its material.
    """

    ordering: Ordering
    relaxed_eV_per_atom: float | None
    above_lowest_eV_per_atom: float | None


@dataclass(frozen=True, eq=False, repr=False)
class DrawsResult(Shown):
    """Drawn orderings, their runs, and σ(T) as the average over draws.

    Attributes
    ----------
    cells
        Monte Carlo of each material.
    orderings
        The draws.
    transport
        Their runs; None if none succeeded.
    runs
        Transport in each of them.
    arrhenius
        σ(T) of each material, the average over its draws.
    failures
        What failed on the way.
    """

    cells: tuple[DrawnCell, ...]
    orderings: tuple[DrawnOrdering, ...]
    transport: TransportResult | None = None
    runs: tuple[AnalysedRun, ...] = ()
    arrhenius: tuple[MaterialTransport, ...] = ()
    failures: tuple[Failure, ...] = ()

    def of(self, material: Material) -> MaterialTransport | None:
        """Return σ(T) of the draws of a material; None if there is none."""
        return next((each for each in self.arrhenius if each.material == material), None)
