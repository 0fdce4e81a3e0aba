"""Results of the stages *hull* and *select*."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from superionic.results.identity import AxisValue, Material, Ordering, ReferencePhase
from superionic.shown import Shown

Reason = Literal["lowest of its composition", "Boltzmann draw"]


@dataclass(frozen=True)
class PhaseShare:
    """One phase of the decomposition of a composition.

    Attributes
    ----------
    identity
        The phase on the hull.
    fraction
        Its molar fraction, in formula units of the end members.
    """

    identity: Ordering | ReferencePhase
    fraction: float


@dataclass(frozen=True)
class HullEntry:
    """One relaxed structure on the hull or above it.

    Attributes
    ----------
    formula
        Its reduced formula.
    coordinates
        Molar fractions of the end members, in their formula units; they sum to one.
    decomposition
        Phases of the hull at its composition.
    formation_energy_eV_per_atom, formation_energy_eV_per_formula_unit
        Formation energy relative to the end members.
    e_above_hull_eV_per_atom, e_above_hull_eV_per_formula_unit
        Energy above the hull, not negative.
    formula_units
        Number of formula units in its cell, to which the energies per formula unit refer.
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
        """Crystal and composition; a reference phase is a material of its own."""
        return self.identity.material


@dataclass(frozen=True)
class PolymorphEnergy:
    """The lowest energy of one crystal at one composition."""

    crystal: str
    identity: Ordering | ReferencePhase
    energy_eV_per_atom: float


@dataclass(frozen=True)
class Polymorphs:
    """Energies of the crystals that compete at one composition.

    Attributes
    ----------
    formula
        Their common reduced formula.
    point
        Point of the composition grid; empty without axes.
    energies
        Lowest energy of each crystal, in ascending order.
    """

    formula: str
    point: tuple[AxisValue, ...]
    energies: tuple[PolymorphEnergy, ...]

    def energy_eV_per_atom(self, crystal: str) -> float | None:
        """Return the energy of one crystal; None if it was not computed at this composition."""
        return next((energy.energy_eV_per_atom for energy in self.energies if energy.crystal == crystal), None)


@dataclass(frozen=True, repr=False)
class PhaseDiagram(Shown):
    """Formation energies, the convex hull, and polymorphs at equal composition.

    Attributes
    ----------
    end_members
        Reduced formulas of the vertices.
    energy_convention
        The common convention of all energies.
    formula_unit
        Formula unit of the solid solution, to which energies per formula unit refer; None if each phase refers to that
        of the end members or to its own.
    entries
        Structures in the order of the candidates.
    polymorphs
        Compositions with two crystals or more.
    """

    end_members: tuple[str, ...]
    energy_convention: str
    formula_unit: str | None
    entries: tuple[HullEntry, ...]
    polymorphs: tuple[Polymorphs, ...]

    @property
    def one_composition(self) -> bool:
        """Whether there is a single end member, so that orderings are compared and not compounds."""
        return len(self.end_members) <= 1


@dataclass(frozen=True, repr=False)
class HullResult(PhaseDiagram):
    """The phase diagram from one potential.

    Attributes
    ----------
    potential
        Name of the potential in the campaign.
    """

    key: str
    potential: str


@dataclass(frozen=True)
class SelectedOrdering:
    """An ordering selected for sampling.

    Attributes
    ----------
    ordering, formula
        The ordering and its reduced formula.
    reason
        Why it was selected.
    energy_eV_per_fu
        Energy in its Boltzmann factor.
    """

    ordering: Ordering
    formula: str
    reason: Reason
    energy_eV_per_fu: float


@dataclass(frozen=True, repr=False)
class SelectResult(Shown):
    """The orderings selected for sampling.

    Attributes
    ----------
    key
        Key of the task that drew them.
    temperature_K
        Temperature of the Boltzmann factor.
    above
        Zero of their energies: the hull, or in campaigns without one the lowest ordering of the composition.
    selected
        The orderings in the order of the candidates.
    """

    key: str
    temperature_K: float
    above: Literal["hull", "lowest ordering"]
    selected: tuple[SelectedOrdering, ...]
