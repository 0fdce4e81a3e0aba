"""What a result is of: crystal, composition, ordering, temperature, replica, potential and pressure, as fields.

Names for people are made from these fields and never read back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Rows = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
ONCE: Final[Rows] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


@dataclass(frozen=True)
class AxisValue:
    """The place on one composition axis: the axis is called by the element that comes in."""

    axis: str
    value: float

    @property
    def label(self) -> str:
        """For people, e.g. ``"Br=3"``."""
        return f"{self.axis}={self.value:g}"


@dataclass(frozen=True)
class Material:
    """One crystal at one point of the composition grid: what a conductivity is of.

    Attributes
    ----------
    crystal
        Name of the crystal (the polymorph) in the campaign file.
    point
        Place on each composition axis; empty without axes.
    """

    crystal: str
    point: tuple[AxisValue, ...] = ()

    @property
    def composition_label(self) -> str:
        """Place on the axes, e.g. ``"In=1 Br=3"``; empty without axes."""
        return " ".join(value.label for value in self.point)

    @property
    def label(self) -> str:
        """Crystal and place on the axes, e.g. ``"c2m In=1 Br=3"``."""
        return " ".join(part for part in (self.crystal, self.composition_label) if part)


@dataclass(frozen=True)
class OrderedCell:
    """One material in one supercell: what is enumerated.

    Attributes
    ----------
    material
        Crystal and composition.
    supercell
        Integer matrix, rows as multiples of the crystal's vectors.
    composition_number
        Counts, from 1, the integer compositions nearest to the refinement; None where there is one.
    """

    material: Material
    supercell: Rows = ONCE
    composition_number: int | None = None

    @property
    def id(self) -> str:
        """Name, unique within the campaign, e.g. ``"p-3m1 Br=3 1x1x2"``."""
        name = self.material.label
        if self.supercell != ONCE:
            off = any(self.supercell[i][j] for i in range(3) for j in range(3) if i != j)
            diagonal = "x".join(str(self.supercell[i][i]) for i in range(3))
            name += " " + (str([list(row) for row in self.supercell]).replace(" ", "") if off else diagonal)
        return name if self.composition_number is None else f"{name} composition {self.composition_number}"


@dataclass(frozen=True)
class Ordering:
    """One symmetry-distinct ordering.

    Attributes
    ----------
    cell
        What was enumerated.
    index
        Its place among the orderings that went on, lowest Ewald energy first (or in the order of the draws).
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
    """An ordered phase that formation energies are taken against."""

    name: str

    @property
    def id(self) -> str:
        """Its name."""
        return self.name

    @property
    def material(self) -> Material:
        """A material of its own."""
        return Material(self.name)


@dataclass(frozen=True)
class Run:
    """One molecular-dynamics run.

    Attributes
    ----------
    ordering
        What moved.
    temperature_K, pressure_GPa
        Of the run; the pressure is that at which its cell was found (None: the relaxed cell).
    replica
        Counts, from 1, runs that differ by their velocities.
    potential
        Name, in the campaign, of what drove it.
    member
        Which member of a committee drove it, from 1; None for a single potential.
    label
        For people, unique within the campaign.
    """

    ordering: Ordering
    temperature_K: float
    replica: int
    potential: str
    pressure_GPa: float | None
    member: int | None
    label: str
