"""What the stages *hull* and *select* give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from superionic.results.identity import AxisValue, Material, Ordering, ReferencePhase
from superionic.shown import Shown

Reason = Literal["lowest of its composition", "Boltzmann draw"]


@dataclass(frozen=True)
class PhaseShare:
    """A part of what a composition decomposes into.

    Attributes
    ----------
    identity
        The phase on the hull.
    fraction
        Its molar share, in formula units of the end members.
    """

    identity: Ordering | ReferencePhase
    fraction: float


@dataclass(frozen=True)
class HullEntry:
    """One relaxed structure on the hull or above it.

    Attributes
    ----------
    identity
        Which one it is.
    formula
        Its reduced formula.
    coordinates
        Shares of the end members, in their formula units; they add up to one.
    decomposition
        What the hull is made of at its composition.
    formation_energy_eV_per_atom, formation_energy_eV_per_formula_unit
        Against the end members.
    e_above_hull_eV_per_atom, e_above_hull_eV_per_formula_unit
        Zero or more.
    formula_units
        Formula units in its cell, which the energies per formula unit count by.
    stable
        Whether it is on the hull.
    """

    identity: Ordering | ReferencePhase
    formula: str
    coordinates: tuple[float, ...]
    decomposition: tuple[PhaseShare, ...]
    formation_energy_eV_per_atom: float
    formation_energy_eV_per_formula_unit: float
    e_above_hull_eV_per_atom: float
    e_above_hull_eV_per_formula_unit: float
    formula_units: float
    stable: bool

    @property
    def material(self) -> Material:
        """Crystal and composition; a reference is a material of its own."""
        return self.identity.material


@dataclass(frozen=True)
class PolymorphEnergy:
    """The lowest energy of one crystal at one composition."""

    crystal: str
    identity: Ordering | ReferencePhase
    energy_eV_per_atom: float


@dataclass(frozen=True)
class Polymorphs:
    """Crystals that compete at one composition.

    Attributes
    ----------
    formula
        Reduced formula that they have in common.
    point
        Its place on the composition grid; empty without axes.
    energies
        Of each crystal, the lowest first.
    """

    formula: str
    point: tuple[AxisValue, ...]
    energies: tuple[PolymorphEnergy, ...]

    def energy_eV_per_atom(self, crystal: str) -> float | None:
        """Energy of one crystal; None where it was not computed at this composition."""
        return next((energy.energy_eV_per_atom for energy in self.energies if energy.crystal == crystal), None)


@dataclass(frozen=True, repr=False)
class PhaseDiagram(Shown):
    """Formation energies, the convex hull, and polymorphs at equal composition.

    Attributes
    ----------
    end_members
        Reduced formulas of the vertices.
    energy_convention
        The one convention of all energies.
    formula_unit
        Formula unit of the solid solution, by which energies per formula unit count; None where every phase counts by
        that of the end members or by its own.
    entries
        In the order of the candidates.
    polymorphs
        Compositions of two crystals or more.
    """

    end_members: tuple[str, ...]
    energy_convention: str
    formula_unit: str | None
    entries: tuple[HullEntry, ...]
    polymorphs: tuple[Polymorphs, ...]

    @property
    def one_composition(self) -> bool:
        """Whether there is a single end member, so that orderings are compared and no compounds."""
        return len(self.end_members) <= 1


@dataclass(frozen=True, repr=False)
class HullResult(PhaseDiagram):
    """The phase diagram by one potential.

    Attributes
    ----------
    key
        Of its task.
    potential
        The campaign's name of the potential.
    """

    key: str
    potential: str


@dataclass(frozen=True)
class SelectedOrdering:
    """An ordering that goes on to be sampled.

    Attributes
    ----------
    ordering, formula
        Which one it is.
    reason
        Why.
    energy_eV_per_fu
        What it was drawn by.
    """

    ordering: Ordering
    formula: str
    reason: Reason
    energy_eV_per_fu: float


@dataclass(frozen=True, repr=False)
class SelectResult(Shown):
    """Orderings chosen to be sampled.

    Attributes
    ----------
    key
        Of the task that drew them.
    temperature_K
        Of the Boltzmann factor.
    above
        What their energies are above: the hull, or in campaigns without one the lowest ordering of the composition.
    selected
        In the order of the candidates.
    """

    key: str
    temperature_K: float
    above: Literal["hull", "lowest ordering"]
    selected: tuple[SelectedOrdering, ...]
