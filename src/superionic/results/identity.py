"""The subject of a result: crystal, composition, ordering, temperature, replica, potential and pressure, as fields.

Display names are made from these fields and never parsed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from superionic.execution.codec import LEFT_OUT

Rows = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
ONCE: Final[Rows] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@dataclass(frozen=True)
class AxisValue:
    """A value on one composition axis, which is named after the substituting element."""

    axis: str
    value: float

    @property
    def label(self) -> str:
        """Display name, e.g. ``"Br=3"``."""
        return f"{self.axis}={self.value:g}"


@dataclass(frozen=True)
class Material:
    """One crystal at one point of the composition grid, which has a conductivity.

    Attributes
    ----------
    crystal
        Name of the crystal (the polymorph) in the campaign file.
    point
        Value on each composition axis; empty without axes.
    """

    crystal: str
    point: tuple[AxisValue, ...] = ()

    @property
    def composition_label(self) -> str:
        """Values on the axes, e.g. ``"In=1 Br=3"``; empty without axes."""
        return " ".join(value.label for value in self.point)

    @property
    def label(self) -> str:
        """Crystal and values on the axes, e.g. ``"c2m In=1 Br=3"``."""
        return " ".join(part for part in (self.crystal, self.composition_label) if part)


@dataclass(frozen=True)
class OrderedCell:
    """One material in one supercell, whose orderings are enumerated.

    Attributes
    ----------
    material
        Crystal and composition.
    supercell
        Integer matrix whose rows are the supercell vectors in terms of the crystal's.
    composition_number
        Number, from 1, among the integer compositions nearest to the refinement; None if there is only one.
    """

    material: Material
    supercell: Rows = ONCE
    composition_number: int | None = None

    @property
    def id(self) -> str:
        """Name, unique within the campaign, e.g. ``"p-3m1 Br=3 1x1x2"``."""
        name = self.material.label
        if self.supercell != ONCE:
            off_diagonal = any(self.supercell[i][j] for i in range(3) for j in range(3) if i != j)
            diagonal = "x".join(str(self.supercell[i][i]) for i in range(3))
            name += " " + (str([list(row) for row in self.supercell]).replace(" ", "") if off_diagonal else diagonal)
        return name if self.composition_number is None else f"{name} composition {self.composition_number}"


@dataclass(frozen=True)
class Ordering:
    """One symmetry-distinct ordering.

    Attributes
    ----------
    cell
        Material and supercell.
    index
        Its index among the orderings retained, lowest Ewald energy first (or in the order of the draws).
    """

    cell: OrderedCell
    index: int

    @property
    def id(self) -> str:
        """Name, unique within the campaign, e.g. ``"p-3m1 Br=3 #4"``."""
        return f"{self.cell.id} #{self.index}"

    @property
    def material(self) -> Material:
        """Crystal and composition."""
        return self.cell.material


@dataclass(frozen=True)
class ReferencePhase:
    """An ordered phase to which formation energies refer."""

    name: str

    @property
    def id(self) -> str:
        """Its name."""
        return self.name

    @property
    def material(self) -> Material:
        """The material of the phase: a crystal of its own name."""
        return Material(self.name)


@dataclass(frozen=True)
class Run:
    """One molecular-dynamics run.

    Attributes
    ----------
    temperature_K, pressure_GPa
        Temperature, and the pressure at which the cell was equilibrated (None: the relaxed cell).
    replica
        Number, from 1, of the run among those that differ only in their initial velocities.
    potential
        Name, in the campaign, of the potential that drove it.
    member
        Number, from 1, of the committee member that drove it; None for a single potential.
    label
        Display name, unique within the campaign.
    series
        Name of its series of runs; empty where the campaign has one only.
    """

    ordering: Ordering
    temperature_K: float
    replica: int
    potential: str
    pressure_GPa: float | None
    member: int | None
    label: str
    series: str = field(default="", metadata={LEFT_OUT: True})
