"""Select orderings of a counted space: the lowest in energy, or a random sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.chemistry import VACANCY
from superionic.enumeration.counted import Method
from superionic.enumeration.evidence import Evidence, SampleEvidence, SearchEvidence
from superionic.errors import CompositionError
from superionic.structures.crystal.symmetry import FloatArray, IntArray
from superionic.structures.orderings.electrostatics import lowest, supercell_ewald_matrix, table_energies
from superionic.structures.orderings.ordering import OrderingTable, to_atoms
from superionic.structures.orderings.ranking import EnergyHistogram, Tie, lowest_orderings
from superionic.structures.orderings.space import CodeArray, OrderingSpace

MAX_NODES = 10_000_000_000
"""Steps after which a walk is abandoned: some minutes; with exclusions a long walk may yield little."""

SEARCH_BUDGET = 50_000_000
"""Attempted swaps of a search: at most a minute of one core."""


@dataclass(frozen=True, eq=False)
class ChosenOrderings:
    """Orderings of one space with their point-charge energies.

    Parameters
    ----------
    method
        How they were obtained: ``"list"``, ``"search"``, ``"sample"`` or ``"monte-carlo"``.
    table
        The orderings, each once; lowest energy first, a sample or a Monte Carlo run in the order of its draws.
    energies_eV
        (n,) point-charge (Ewald) energy of the supercell.
    superperiodic
        (n,) bool: whether a smaller supercell has the ordering too; None if that was not examined.
    times_drawn
        (n,) number of times each was drawn; None if nothing was drawn.
    looked_at
        Number of distinct orderings whose energies were compared; None if unknown.
    tie, histogram, mean_eV, standard_deviation_eV
        Results of a listing; see :class:`~superionic.structures.orderings.ranking.RankedOrderings`.
    evidence
        For a search: how many independent runs agreed; for a sample: how exactly it was drawn; for Monte Carlo: how
        well it converged, and its short-range order. None for a listing, which needs none.
    """

    method: Method
    table: OrderingTable
    energies_eV: FloatArray
    superperiodic: NDArray[np.bool_] | None = None
    times_drawn: IntArray | None = None
    looked_at: int | None = None
    tie: Tie | None = None
    histogram: EnergyHistogram | None = None
    mean_eV: float | None = None
    standard_deviation_eV: float | None = None
    evidence: Evidence | None = None

    def __len__(self) -> int:
        return len(self.table)

    def atoms(self, space: OrderingSpace) -> list[Any]:
        """Return the orderings as ``ase.Atoms`` with degeneracy, energy and rank in ``info``."""
        result = []
        for ordering, about in zip(self.table, self.records(space), strict=True):
            atoms = to_atoms(space.sites, ordering)
            atoms.info.update(about)
            result.append(atoms)
        return result

    def records(self, space: OrderingSpace) -> Iterator[dict[str, Any]]:
        """Yield the properties of each ordering, by name."""
        for index, degeneracy in enumerate(self.table.degeneracies):
            about = {
                "degeneracy": int(degeneracy),
                "ewald_eV": float(self.energies_eV[index]),
                "rank": index,
                "method": self.method,
                "formula": space.composition.formula,
                "supercell": str(space.sites.supercell),
            }
            if self.superperiodic is not None:
                about["superperiodic"] = bool(self.superperiodic[index])
            if self.times_drawn is not None:
                about["times_drawn"] = int(self.times_drawn[index])
            yield about


def list_lowest(
    space: OrderingSpace,
    oxidation_states: Mapping[str, float],
    number: int,
    *,
    seed: int = 0,
    max_nodes: int | None = MAX_NODES,
    progress: Callable[[int], None] | None = None,
) -> ChosenOrderings:
    """Go through every ordering of a space and return those of lowest point-charge energy, exactly.

    Parameters
    ----------
    space, oxidation_states
        The space, and the charge in e of every species.
    number
        Number of orderings to return.
    seed
        Seed of the selection within a tie.
    max_nodes, progress
        See :func:`~superionic.structures.orderings.ranking.lowest_orderings`.
    """
    ranked = lowest_orderings(
        space,
        supercell_ewald_matrix(space.sites),
        oxidation_states,
        number,
        seed=seed,
        max_nodes=max_nodes,
        progress=progress,
    )
    return ChosenOrderings(
        method="list",
        table=OrderingTable.of(space, ranked.decorations, ranked.degeneracies),
        energies_eV=ranked.energies_eV,
        superperiodic=ranked.superperiodic,
        looked_at=ranked.distinct,
        tie=ranked.tie,
        histogram=ranked.histogram,
        mean_eV=ranked.mean_eV,
        standard_deviation_eV=ranked.standard_deviation_eV,
    )


def sample(
    space: OrderingSpace, oxidation_states: Mapping[str, float], draws: int, *, seed: int = 0, thermal: bool = False
) -> ChosenOrderings:
    """Draw orderings at random, from a space of any size.

    Parameters
    ----------
    space, oxidation_states
        The space, and the charge in e of every species.
    draws
        Number of independent draws; repeated draws are merged, and counted in ``times_drawn``.
    thermal
        Draw in proportion to degeneracy, as at infinite temperature, instead of uniformly over distinct orderings.
    """
    from superionic.structures.orderings.sampling import sample_raw, sample_uniform_orbits

    if draws < 1:
        raise CompositionError(f"{draws} orderings cannot be drawn.", fix="Ask for one or more.")
    rng = np.random.default_rng(seed)
    drawn = (sample_raw if thermal else sample_uniform_orbits)(space, draws, rng)
    _, first, times = np.unique(drawn.decorations, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first, kind="stable")
    table = OrderingTable.of(space, drawn.decorations[first[order]], drawn.degeneracies[first[order]])
    weights = "by degeneracy" if thermal else "alike"
    return ChosenOrderings(
        method="sample",
        table=table,
        energies_eV=table_energies(supercell_ewald_matrix(space.sites), table, oxidation_states),
        times_drawn=times[order].astype(np.int64),
        evidence=SampleEvidence(draws=draws, exact=drawn.exact, how=drawn.method, seed=seed, weights=weights),
    )


def search(
    space: OrderingSpace,
    oxidation_states: Mapping[str, float],
    number: int,
    *,
    seed: int = 0,
    budget: int = SEARCH_BUDGET,
) -> ChosenOrderings:
    """Search for the orderings of lowest point-charge energy in a space that is too large to be listed.

    Use replica exchange from independent starts (:func:`.search_ground_state`). Where species of equal charge are
    interchangeable, random orderings are drawn for each pattern of charges that the search yields.

    Parameters
    ----------
    space, oxidation_states
        The space, and the charge in e of every species.
    number
        Number of orderings to return; fewer if fewer were reached.
    budget
        Attempted swaps of all searches together, some 10⁶ a second.
    """
    from superionic.enumeration.lattice_of import lattice_of
    from superionic.structures.orderings.sampling import canonicalise
    from superionic.thermodynamics.lattice_mc.ground_state import search_ground_state

    if number < 1:
        raise CompositionError(f"{number} orderings cannot be searched for.", fix="Ask for one or more.")
    rng = np.random.default_rng(seed)
    lattice = lattice_of(space, oxidation_states, rng)
    charges, matrix = lattice.charges, lattice.matrix
    result = search_ground_state(
        lattice.swaps, lattice.ewald, seed=seed, keep=number, permutations=space.permutations, budget=budget
    )
    patterns = result.decorations
    if result.interchangeable:
        rounds = -(-number // len(patterns))
        filled = [_shuffled(row, space, charges, rng) for row in patterns for _ in range(rounds)]
        patterns = np.array(filled, dtype=np.uint8)
    canonical, degeneracies = canonicalise(space, patterns)
    _, first = np.unique(canonical, axis=0, return_index=True)
    first = np.sort(first)[:number] if not result.interchangeable else np.sort(first)
    table = OrderingTable.of(space, canonical[first], degeneracies[first])
    energies = table_energies(matrix, table, oxidation_states)
    order = lowest(energies, number)
    evidence = result.evidence
    return ChosenOrderings(
        method="search",
        table=OrderingTable(table.symbols, table.codes[order], table.degeneracies[order]),
        energies_eV=energies[order],
        evidence=SearchEvidence(
            converged=bool(result.converged),
            searches=len(evidence.lowest_eV),
            agreeing_on_the_lowest=int(evidence.n_agreeing),
            needed_to_agree=int(evidence.n_needed),
            lowest_of_each_eV=tuple(float(e) for e in evidence.lowest_eV),
            kept=len(evidence.found_by),
            kept_that_two_or_more_met=int(evidence.n_found_twice),
            attempted_swaps=int(evidence.attempts),
            equal_charges_change_places=bool(result.interchangeable),
            seed=seed,
        ),
    )


def _shuffled(
    row: CodeArray, space: OrderingSpace, charges: Sequence[FloatArray], rng: np.random.Generator
) -> CodeArray:
    """Permute the species of equal charge within each block at random; vacancies stay."""
    result = np.array(row)
    for index, block in enumerate(space.blocks):
        part = space.block_slice(index)
        codes = result[part]
        atoms = np.array([s != VACANCY for s in block.species])
        for charge in np.unique(charges[index][atoms]):
            alike = np.flatnonzero((charges[index] == charge) & atoms)
            where = np.flatnonzero(np.isin(codes, alike))
            codes[where] = rng.permutation(codes[where])
    return result
