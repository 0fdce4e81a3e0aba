"""The subject of enumeration in a form for tasks: spaces, compositions, and the orderings retained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ase import Atoms

from superionic.enumeration.counted import CountedComposition, Method
from superionic.enumeration.evidence import Evidence
from superionic.execution.codec import LEFT_OUT
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
    """All settings that determine the orderings of one crystal at one composition in one supercell.

    Attributes
    ----------
    file_name, text
        Name of the crystal's file, whose ending gives the format, and the file's content.
    supercell
        Integer matrix whose rows are the supercell vectors in terms of the crystal's, or of its primitive cell's.
    oxidation_states
        Charge of each element, in e.
    coupling
        Which sites share their counts.
    exact_species
        Elements whose totals must be matched exactly.
    occupancies
        Occupancies by sublattice that replace those of the file.
    substitutions
        Elements to replace on all their sites, and the mixtures that replace them.
    primitive
        Whether the supercell is one of the primitive cell.
    """

    file_name: str
    text: str
    supercell: Rows
    oxidation_states: Mapping[str, float]
    coupling: Coupling
    exact_species: tuple[str, ...]
    occupancies: Mapping[str, Mapping[str, float]]
    substitutions: Mapping[str, Mapping[str, float]]
    primitive: bool = field(default=False, metadata={LEFT_OUT: True})

    def parent(self, context: Context) -> DisorderedCrystal:
        """Read the crystal inside a task, in its primitive cell if the supercell is one of that."""
        crystal = read_parent(self.file_name, self.text, context, self.occupancies)
        return crystal.primitive() if self.primitive else crystal

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
        """Count the orderings of the compositions of a crystal nearest to its refinement."""
        from superionic.enumeration.counted import counted_spaces

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


@dataclass(frozen=True)
class Space:
    """One crystal at one composition in one supercell, whose orderings are enumerated.

    Attributes
    ----------
    material
        Crystal and composition.
    settings
        Settings that determine the orderings.
    """

    material: Material
    settings: SpaceSettings

    @property
    def cell(self) -> OrderedCell:
        """Crystal, composition and supercell."""
        return OrderedCell(self.material, self.settings.supercell)


@dataclass(frozen=True)
class KeptOrdering:
    """An ordering retained for the ranking.

    Attributes
    ----------
    atoms
        Its unrelaxed structure.
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
    """The orderings retained of one composition; see :class:`superionic.results.orderings.EnumeratedSpace`."""

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
    """One composition of a space, as an argument of tasks.

    Attributes
    ----------
    space
        Crystal and supercell.
    composition
        The composition with its number of orderings: a part of a task's result.
    """

    space: SpaceSettings
    composition: CountedComposition

    def read(self, context: Context) -> tuple[DisorderedCrystal, OrderingSpace]:
        """Return the crystal, and the orderings of the composition."""
        from superionic.structures.crystal.supercells import supercell_sites
        from superionic.structures.orderings.space import ordering_space

        crystal = self.space.substituted(self.space.parent(context))
        orderings = ordering_space(
            supercell_sites(crystal, self.space.supercell),
            self.composition.composition,
            min_distance_A=self.composition.min_distance_A,
            oxidation_states=self.space.oxidation_states,
        )
        return crystal, orderings

    def retained(
        self, crystal: DisorderedCrystal, space: OrderingSpace, orderings: ChosenOrderings, keep: int | None = None
    ) -> KeptOrderings:
        """Return the orderings to retain, and the facts to report about their space.

        Parameters
        ----------
        crystal, space
            The output of :meth:`read`.
        orderings
            The orderings listed, drawn or found by a search.
        keep
            Number of orderings of lowest Ewald energy to retain; None: all, in their order.
        """
        from superionic.structures.orderings.electrostatics import lowest

        frames = orderings.atoms(space)
        times = orderings.times_drawn if keep is None else None
        indices = range(len(orderings)) if keep is None else [int(i) for i in lowest(orderings.energies_eV, keep)]
        return KeptOrderings(
            counted=self.composition,
            spacegroup=crystal.spacegroup_symbol,
            method=orderings.method,
            listed=len(orderings) if orderings.looked_at is None else orderings.looked_at,
            evidence=orderings.evidence,
            tie=orderings.tie,
            histogram=orderings.histogram,
            orderings=tuple(
                KeptOrdering(
                    atoms=frames[index],
                    n_atoms=len(frames[index]),
                    degeneracy=int(orderings.table.degeneracies[index]),
                    ewald_eV=float(orderings.energies_eV[index]),
                    times_drawn=None if times is None else int(times[index]),
                )
                for index in indices
            ),
        )
