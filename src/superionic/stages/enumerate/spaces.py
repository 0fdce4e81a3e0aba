"""What is enumerated, as tasks have it, and what they share: the space of a composition, and the orderings chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ase import Atoms

from superionic.enumeration.counted import CountedComposition, Method
from superionic.enumeration.evidence import Evidence
from superionic.errors import CompositionError
from superionic.execution.task import ArgumentGroup, Context
from superionic.results.identity import Material, OrderedCell, Rows
from superionic.stages.base import read_parent
from superionic.structures.crystal.equations import Coupling
from superionic.structures.orderings.ranking import EnergyHistogram, Tie

if TYPE_CHECKING:
    from superionic.enumeration.chosen import ChosenOrderings
    from superionic.enumeration.counted import CountedSpace
    from superionic.structures.crystal.disordered import DisorderedCrystal
    from superionic.structures.orderings.space import OrderingSpace


@dataclass(frozen=True)
class SpaceSettings:
    """What the orderings of one crystal at one composition in one supercell depend on.

    Attributes
    ----------
    file_name, text
        Name of the crystal's file, whose ending says the format, and what is in it.
    supercell
        Integer matrix, rows as multiples of the crystal's vectors.
    oxidation_states
        Charge of each element, in e.
    coupling
        Which sites share their counts.
    exact_species
        Elements whose totals have to be met exactly.
    occupancies
        Occupancies by sublattice that replace those of the file.
    substitutions
        Elements that are replaced on all their sites, by mixtures.
    """

    file_name: str
    text: str
    supercell: Rows
    oxidation_states: Mapping[str, float]
    coupling: Coupling
    exact_species: tuple[str, ...]
    occupancies: Mapping[str, Mapping[str, float]]
    substitutions: Mapping[str, Mapping[str, float]]

    def substituted(self, crystal: DisorderedCrystal) -> DisorderedCrystal:
        """Return the crystal with its elements replaced."""
        from superionic.structures.crystal.composition import substitute

        return substitute(crystal, self.substitutions) if self.substitutions else crystal

    def counted(
        self,
        crystal: DisorderedCrystal,
        *,
        max_deviation: float,
        min_distance_A: float | None,
        max_listed: int,
        number: int = 1,
    ) -> list[CountedSpace]:
        """Count the orderings of the compositions of a crystal that are nearest to its refinement."""
        from superionic.enumeration.counted import counted_spaces

        try:
            return counted_spaces(
                self.substituted(crystal),
                self.supercell,
                self.oxidation_states,
                coupling=self.coupling,
                overrides=self.occupancies or None,
                exact_species=self.exact_species,
                max_deviation=max_deviation,
                min_distance_A=min_distance_A,
                number=number,
                max_listed=max_listed,
            )
        except CompositionError as error:
            # The advice is given in the words of a campaign.
            fix = None if error.fix is None else error.fix.replace("max_deviation", "max_composition_deviation")
            raise CompositionError(error.message, where=error.where, fix=fix) from error


@dataclass(frozen=True)
class Space:
    """One crystal at one composition in one supercell: what is enumerated.

    Attributes
    ----------
    material
        Crystal and composition.
    settings
        All that the enumeration depends on.
    """

    material: Material
    settings: SpaceSettings

    @property
    def cell(self) -> OrderedCell:
        """Crystal, composition and supercell."""
        return OrderedCell(self.material, self.settings.supercell)


@dataclass(frozen=True)
class KeptOrdering:
    """An ordering that goes on.

    Attributes
    ----------
    atoms
        Its structure, not relaxed.
    n_atoms
        Atoms of it.
    degeneracy, ewald_eV, times_drawn
        As in :class:`superionic.results.orderings.EnumeratedOrdering`.
    """

    atoms: Atoms
    n_atoms: int
    degeneracy: int
    ewald_eV: float
    times_drawn: int | None


@dataclass(frozen=True)
class KeptOrderings:
    """The orderings of one composition that go on; see :class:`superionic.results.orderings.EnumeratedSpace`."""

    counted: CountedComposition
    spacegroup: str
    method: Method
    listed: int
    evidence: Evidence | None
    tie: Tie | None
    histogram: EnergyHistogram | None
    orderings: tuple[KeptOrdering, ...]


@dataclass(frozen=True)
class OrderingProblem(ArgumentGroup):
    """One composition of a space, as tasks take it.

    Attributes
    ----------
    space
        Crystal and supercell.
    composition
        The composition, counted: a part of a task's result.
    """

    space: SpaceSettings
    composition: CountedComposition

    def read(self, context: Context) -> tuple[DisorderedCrystal, OrderingSpace]:
        """Return the crystal, and the orderings of the composition."""
        from superionic.structures.crystal.supercells import supercell_sites
        from superionic.structures.orderings.space import ordering_space

        crystal = self.space.substituted(
            read_parent(self.space.file_name, self.space.text, context, self.space.occupancies)
        )
        orderings = ordering_space(
            supercell_sites(crystal, self.space.supercell),
            self.composition.composition,
            min_distance_A=self.composition.min_distance_A,
            oxidation_states=self.space.oxidation_states,
        )
        return crystal, orderings

    def kept(
        self, crystal: DisorderedCrystal, space: OrderingSpace, chosen: ChosenOrderings, keep: int | None = None
    ) -> KeptOrderings:
        """Return the orderings that go on, and what is reported of their space.

        Parameters
        ----------
        crystal, space, chosen
            As :meth:`read` gave them, and the orderings chosen.
        keep
            How many of lowest Ewald energy go on; None: all, in their order.
        """
        from superionic.structures.orderings.electrostatics import lowest

        frames = chosen.atoms(space)
        times = chosen.times_drawn if keep is None else None
        indices = range(len(chosen)) if keep is None else [int(i) for i in lowest(chosen.energies_eV, keep)]
        return KeptOrderings(
            counted=self.composition,
            spacegroup=crystal.spacegroup_symbol,
            method=chosen.method,
            listed=len(chosen) if chosen.looked_at is None else chosen.looked_at,
            evidence=chosen.evidence,
            tie=chosen.tie,
            histogram=chosen.histogram,
            orderings=tuple(
                KeptOrdering(
                    atoms=frames[index],
                    n_atoms=len(frames[index]),
                    degeneracy=int(chosen.table.degeneracies[index]),
                    ewald_eV=float(chosen.energies_eV[index]),
                    times_drawn=None if times is None else int(times[index]),
                )
                for index in indices
            ),
        )
