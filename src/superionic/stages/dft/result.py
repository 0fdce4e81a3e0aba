"""Results of the stage *dft*: energies and cells of the lowest orderings by a reference method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from superionic.labels.base import Reference
from superionic.results.further import StageResult
from superionic.results.identity import AxisValue, Ordering, ReferencePhase
from superionic.results.ranking import TwoRankings
from superionic.results.stability import PhaseDiagram

Triple = tuple[float, float, float]
KindOfEnergy = Literal["single points", "relaxed structures"]


@dataclass(frozen=True)
class CalculatedCell:
    """A cell: a, b, c, and α, β, γ of the supercell, and the volume per atom."""

    lengths_A: Triple
    angles_deg: Triple
    volume_A3_per_atom: float


@dataclass(frozen=True)
class RelaxedByReference:
    """A relaxation by the reference method.

    Attributes
    ----------
    key
        Key of the task with the relaxed structure.
    energy_eV_per_atom, cell
        What it ended with.
    largest_force_eV_per_A
        Largest remaining force component.
    n_steps, n_evaluations, converged
        Steps of the optimizer, calculations, and whether the forces fell below the threshold.
    """

    key: str
    energy_eV_per_atom: float
    cell: CalculatedCell
    largest_force_eV_per_A: float
    n_steps: int
    n_evaluations: int
    converged: bool


@dataclass(frozen=True)
class ByReference:
    """One ordering or reference phase, by the ranking potential and by the reference method.

    Attributes
    ----------
    identity, formula, n_atoms
        What it is, its reduced formula, and the atoms of its cell.
    potential_eV_per_atom, potential_cell
        Energy and cell by the potential, which relaxed it.
    potential_formation_eV_per_atom, potential_above_hull_eV_per_atom
        Its place on the potential's hull.
    single_point_key
        Key of the task that calculated the energy of that structure.
    single_point_eV_per_atom
        Energy of that structure by the reference method.
    relaxed
        Its relaxation by the reference method; None if it was not asked for, or failed.
    """

    identity: Ordering | ReferencePhase
    formula: str
    n_atoms: int
    potential_eV_per_atom: float
    potential_cell: CalculatedCell
    potential_formation_eV_per_atom: float
    potential_above_hull_eV_per_atom: float
    single_point_key: str
    single_point_eV_per_atom: float
    relaxed: RelaxedByReference | None

    @property
    def volume_percent(self) -> float | None:
        """Volume by the potential relative to that by the reference method; None without a relaxed one."""
        if self.relaxed is None:
            return None
        return 100.0 * (self.potential_cell.volume_A3_per_atom / self.relaxed.cell.volume_A3_per_atom - 1.0)


@dataclass(frozen=True)
class PolymorphGap:
    """Energy of one crystal over another at one composition, the lowest ordering of each (paper B, table 3).

    Attributes
    ----------
    formula, point
        The composition, and its point of the grid; empty without axes.
    crystal, other
        The two crystals; below zero the first one is favoured.
    eV_per_atom, eV_per_formula_unit
        E(crystal) − E(other) by the reference method.
    potential_eV_per_atom
        The same by the ranking potential, of the lowest by the potential.
    """

    formula: str
    point: tuple[AxisValue, ...]
    crystal: str
    other: str
    eV_per_atom: float
    eV_per_formula_unit: float
    potential_eV_per_atom: float


@dataclass(frozen=True)
class ReferenceEnergies:
    """What energies of one kind say, all by the reference method: no energy of the potential is among them.

    Attributes
    ----------
    of
        Whether they are single points in the structures of the potential, or energies of relaxed structures.
    diagram_key, diagram
        Formation energies, hull and polymorphs, and the key of their task; None if an end member has no energy.
    missing
        End members without an energy.
    gaps
        Each crystal against the last one, at each composition that both have.
    ranking_key, ranking
        Agreement with the potential (the first method) on the order of the orderings, and the key of its task.
    """

    of: KindOfEnergy
    diagram_key: str | None
    diagram: PhaseDiagram | None
    missing: tuple[str, ...]
    gaps: tuple[PolymorphGap, ...]
    ranking_key: str
    ranking: TwoRankings

    @property
    def formation_eV_per_atom(self) -> dict[Ordering | ReferencePhase, float]:
        """Formation energy of each structure; empty without a diagram."""
        if self.diagram is None:
            return {}
        return {entry.identity: entry.formation_energy_eV_per_atom for entry in self.diagram.entries}


@dataclass(frozen=True)
class DftResult(StageResult):
    """The lowest orderings by a reference method.

    Attributes
    ----------
    reference
        The method.
    stand_in
        Name, in the campaign, of the potential in the place of a reference method; None for one.
    potential
        Name, in the campaign, of the ranking potential.
    structures
        The orderings, the lowest of each material by the potential first, and then the reference phases.
    energies
        What single points and relaxed structures say; each only where it was calculated.
    """

    reference: Reference
    stand_in: str | None
    potential: str
    structures: tuple[ByReference, ...]
    energies: tuple[ReferenceEnergies, ...]

    @property
    def structure_keys(self) -> dict[str, str]:
        """Keys of the tasks with the relaxed structures, by the names of the orderings."""
        return {each.identity.id: each.relaxed.key for each in self.structures if each.relaxed is not None}
