"""Orderings at a temperature by a potential: a cluster surrogate learns its energies where Monte Carlo samples.

Monte Carlo needs millions of energies, a potential affords hundreds. So a cluster expansion replaces it: it is fitted
to some energies, Monte Carlo runs on it, the potential evaluates some of the orderings that the run reached, and so on,
until the surrogate is accurate for orderings outside its training set. Each step is a function here, so that the
energies in between may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from superionic.chemistry import VACANCY
from superionic.enumeration.chosen import ChosenOrderings
from superionic.enumeration.evidence import Evaluations, MonteCarloEvidence, SurrogateEvidence, SurrogateFit
from superionic.enumeration.lattice_of import ChargedLattice, lattice_of
from superionic.enumeration.monte_carlo import check_numbers, monte_carlo_draws, run, thermal_orderings
from superionic.errors import AnalysisError
from superionic.structures.crystal.symmetry import FloatArray
from superionic.structures.orderings.space import CodeArray, OrderingSpace

if TYPE_CHECKING:
    from ase import Atoms

    from superionic.thermodynamics.lattice_mc.surrogate import ClusterSurrogate

FEWEST_ENERGIES = 5
"""Smallest number of energies to which a surrogate is fitted."""

_WHOLE = 1e-6
_SAME_PLACE = 1e-3


@dataclass(frozen=True)
class LearningSettings:
    """Settings for learning a surrogate.

    Parameters
    ----------
    temperature_K, n_sweeps
        Temperature and length of the Monte Carlo run.
    pair_cutoff_A, triplet_cutoff_A
        Length of the longest clusters that the fit may use.
    """

    temperature_K: float
    n_sweeps: int
    pair_cutoff_A: float
    triplet_cutoff_A: float


@dataclass(frozen=True, eq=False)
class KnownEnergies:
    """The energies evaluated so far.

    Parameters
    ----------
    decorations, energies_eV
        (n, n_free) canonical, and (n,) energies per cell.
    tried
        (m, n_free) all decorations evaluated, failed ones included.
    fresh, expected_eV
        The last k of `energies_eV`, and the previous surrogate's predictions for them, each (k,); empty before the
        first fit.
    """

    decorations: CodeArray
    energies_eV: FloatArray
    tried: CodeArray
    fresh: FloatArray
    expected_eV: FloatArray


@dataclass(frozen=True, eq=False)
class Proposal:
    """Decorations whose energies are to be evaluated next.

    Parameters
    ----------
    fit
        Size and errors of the underlying fit.
    decorations
        (n, n_free) canonical; empty if Monte Carlo reached none that was not tried before.
    expected_eV
        (n,) energies per cell predicted by the surrogate.
    error_on_met_meV_per_atom
        If there are none: error of the fit on all orderings reached, which are all there are at this temperature.
    """

    fit: SurrogateFit
    decorations: CodeArray
    expected_eV: FloatArray
    error_on_met_meV_per_atom: float | None


def first_decorations(
    space: OrderingSpace,
    oxidation_states: Mapping[str, float],
    number: int,
    *,
    temperature_K: float,
    dielectric: float,
    n_sweeps: int,
    seed: int,
) -> CodeArray:
    """Return initial decorations: half drawn by point charges at the temperature, the rest at random.

    Returns
    -------
    (n, n_free) uint8
        Canonical, each once; fewer than requested if the space has fewer.

    Raises
    ------
    CompositionError
        If nothing can be swapped.
    """
    from superionic.structures.orderings.sampling import sample_uniform_orbits

    check_numbers(number, temperature_K, n_sweeps)
    thermal = monte_carlo_draws(
        space, oxidation_states, number,
        temperature_K=temperature_K, dielectric=dielectric, n_sweeps=n_sweeps, seed=seed,
    )  # fmt: skip
    distinct = _new(thermal, [], (number + 1) // 2)
    # Ten times as many as needed: in a small space most are drawn repeatedly.
    random = sample_uniform_orbits(space, 10 * number, np.random.default_rng(seed)).decorations
    return np.concatenate([distinct, _new(random, distinct, number - len(distinct))])


def propose(
    space: OrderingSpace,
    oxidation_states: Mapping[str, float],
    known: KnownEnergies,
    batch: int,
    settings: LearningSettings,
    seed: int,
) -> Proposal:
    """Fit a surrogate, run Monte Carlo on it, and pick orderings of the run that were not tried before.

    Raises
    ------
    AnalysisError
        If there are too few energies for a fit.
    """
    from superionic.structures.orderings.sampling import canonicalise

    lattice = lattice_of(space, oxidation_states, np.random.default_rng(seed))
    surrogate, fit = _fit(space, lattice, known, settings)
    result = run(
        space, lattice, surrogate, batch,
        temperature_K=settings.temperature_K, n_sweeps=settings.n_sweeps, seed=seed,
    )  # fmt: skip
    drawn = canonicalise(space, result.samples[0] if len(result.samples[0]) else result.state.snapshots[-1:, 0])[0]
    fresh = _new(drawn, known.tried, batch)
    error = None if len(fresh) else _error_on(drawn, surrogate.energies(drawn), known, _unit(space))
    expected = surrogate.energies(fresh) if len(fresh) else np.zeros(0)
    return Proposal(fit, fresh, expected, error)


def learned_draws(
    space: OrderingSpace,
    oxidation_states: Mapping[str, float],
    known: KnownEnergies,
    number: int,
    settings: LearningSettings,
    *,
    tolerance_meV_per_atom: float,
    fits: Sequence[SurrogateFit],
    seed: int,
    energy_name: str,
    evaluations: Evaluations | None = None,
    error_on_met_meV_per_atom: float | None = None,
) -> ChosenOrderings:
    """Fit the last surrogate, and draw orderings from Monte Carlo on it.

    Parameters
    ----------
    space, oxidation_states, known, settings
        The space, its charges, the known energies, and the settings.
    tolerance_meV_per_atom
        Root-mean-square error, on orderings new to the previous surrogate, up to which it counts as accurate.
    fits
        Fits of the previous proposals.
    energy_name, evaluations
        Source of the energies, and its evaluations; they go into the evidence.
    error_on_met_meV_per_atom
        Error of the last proposal, if that had nothing new: it is used instead.

    Raises
    ------
    AnalysisError
        If there are too few energies for a fit.
    """
    lattice = lattice_of(space, oxidation_states, np.random.default_rng(seed))
    surrogate, fit = _fit(space, lattice, known, settings)
    exhausted = error_on_met_meV_per_atom is not None
    error = error_on_met_meV_per_atom if exhausted else fit.error_on_fresh_meV_per_atom
    draws = thermal_orderings(
        space, oxidation_states, lattice, surrogate, number,
        temperature_K=settings.temperature_K, n_sweeps=settings.n_sweeps, seed=seed, energy_name=energy_name,
    )  # fmt: skip
    return _with_surrogate(draws, evaluations, error, tolerance_meV_per_atom, (*fits, fit), exhausted=exhausted)


def draws_of_larger_cell(
    space: OrderingSpace,
    oxidation_states: Mapping[str, float],
    structures: Sequence[Atoms],
    energies_eV: Sequence[float],
    number: int,
    settings: LearningSettings,
    *,
    tolerance_meV_per_atom: float,
    seed: int,
    energy_name: str,
    evaluations: Evaluations | None = None,
) -> ChosenOrderings:
    """Fit a surrogate to energies of smaller cells, and draw orderings of a larger one from Monte Carlo on it.

    An ordering of a smaller cell is one of the larger cell if it is repeated, and its energy is as many times as large;
    so the fit is one on the larger cell. It counts as accurate if its error on energies left out of the fit is below
    the tolerance.

    Parameters
    ----------
    space, oxidation_states, settings, energy_name, evaluations
        As for :func:`learned_draws`.
    structures, energies_eV
        Orderings of smaller cells on the sites of the crystal, and their energies per cell. Those of cells that do not
        fit into the larger one a whole number of times, or of another composition, are left out.

    Raises
    ------
    AnalysisError
        If fewer than five energies remain.
    """
    repeated = [decoration_of_repeated(space, atoms) for atoms in structures]
    fitting = [k for k, decoration in enumerate(repeated) if decoration is not None]
    n_atoms = sum(space.composition.totals.values())
    if len(fitting) < FEWEST_ENERGIES:
        raise AnalysisError(
            f"Of {len(structures)} orderings of smaller cells {len(fitting)} repeat to the composition of the large "
            f"cell ({space.composition.formula}); a surrogate needs {FEWEST_ENERGIES}.",
            fix="Take a large cell that is a multiple of smaller ones with several orderings of the same composition.",
        )
    known = KnownEnergies(
        decorations=np.array([repeated[k] for k in fitting], dtype=np.uint8),
        energies_eV=np.array([energies_eV[k] * n_atoms / len(structures[k]) for k in fitting]),
        tried=np.zeros((0, space.n_free), dtype=np.uint8),
        fresh=np.zeros(0),
        expected_eV=np.zeros(0),
    )
    lattice = lattice_of(space, oxidation_states, np.random.default_rng(seed))
    surrogate, fit = _fit(space, lattice, known, settings)
    draws = thermal_orderings(
        space, oxidation_states, lattice, surrogate, number,
        temperature_K=settings.temperature_K, n_sweeps=settings.n_sweeps, seed=seed, energy_name=energy_name,
    )  # fmt: skip
    error = fit.left_out_error_meV_per_atom
    return _with_surrogate(draws, evaluations, error, tolerance_meV_per_atom, (fit,), exhausted=False)


def decoration_of_repeated(space: OrderingSpace, atoms: Atoms) -> CodeArray | None:
    """Return the (n_free,) decoration of a supercell that an ordering of a smaller cell makes when it is repeated.

    None if the smaller cell does not fit a whole number of times, or the composition is another one.
    """
    from scipy.spatial import cKDTree

    times = np.asarray(space.sites.cell_A) @ np.linalg.inv(np.asarray(atoms.cell.array))
    if np.abs(times - np.rint(times)).max() > _WHOLE:
        return None
    places = np.mod(space.sites.fractional[space.members] @ times, 1.0) % 1.0
    distance, nearest = cKDTree(np.mod(atoms.get_scaled_positions(), 1.0) % 1.0, boxsize=1.0).query(places)
    symbols = np.where(distance < _SAME_PLACE, np.array(atoms.get_chemical_symbols())[nearest], VACANCY)
    codes = np.zeros(space.n_free, dtype=np.uint8)
    for index, block in enumerate(space.blocks):
        own = symbols[space.block_slice(index)]
        if tuple(int((own == species).sum()) for species in block.species) != block.counts:
            return None
        codes[space.block_slice(index)] = [block.species.index(symbol) for symbol in own]
    return codes


def _with_surrogate(
    draws: ChosenOrderings,
    evaluations: Evaluations | None,
    error_meV_per_atom: float | None,
    tolerance_meV_per_atom: float,
    fits: tuple[SurrogateFit, ...],
    *,
    exhausted: bool,
) -> ChosenOrderings:
    """Add the accuracy of the surrogate to the evidence of draws from Monte Carlo on it."""
    evidence = draws.evidence
    assert isinstance(evidence, MonteCarloEvidence)  # noqa: S101 - for the type checker: thermal draws have no other kind
    good = error_meV_per_atom is not None and error_meV_per_atom < tolerance_meV_per_atom
    learned = SurrogateEvidence(
        evaluations=evaluations,
        monte_carlo_converged=evidence.converged,
        surrogate_converged=good,
        error_meV_per_atom=error_meV_per_atom,
        tolerance_meV_per_atom=tolerance_meV_per_atom,
        all_that_is_met_was_evaluated=exhausted,
        fits=fits,
    )
    return replace(draws, evidence=replace(evidence, converged=good and evidence.converged, surrogate=learned))


def _unit(space: OrderingSpace) -> float:
    """Return the factor from eV per cell to meV per atom."""
    return 1000.0 / sum(space.composition.totals.values())


def _fit(
    space: OrderingSpace, lattice: ChargedLattice, known: KnownEnergies, settings: LearningSettings
) -> tuple[ClusterSurrogate, SurrogateFit]:
    from superionic.thermodynamics.lattice_mc.surrogate import fit_surrogate

    surrogate = fit_surrogate(_basis(space, lattice, settings), known.decorations, known.energies_eV)
    unit = _unit(space)
    miss = unit * (known.expected_eV - known.fresh)
    fit = SurrogateFit(
        energies=surrogate.n_data,
        terms=surrogate.n_terms,
        pair_cutoff_A=surrogate.pair_cutoff_A,
        triplet_cutoff_A=surrogate.triplet_cutoff_A,
        left_out_error_meV_per_atom=unit * float(surrogate.error_eV),
        fresh_of_the_round_before=len(miss),
        error_on_fresh_meV_per_atom=float(np.sqrt(np.mean(miss**2))) if len(miss) else None,
        bias_on_fresh_meV_per_atom=float(np.mean(miss)) if len(miss) else None,
    )
    return surrogate, fit


def _error_on(drawn: CodeArray, expected: FloatArray, known: KnownEnergies, unit: float) -> float | None:
    """Return the root-mean-square error on the draws, repeated ones included; failed ones left out."""
    energies = dict(zip((row.tobytes() for row in known.decorations), known.energies_eV.tolist(), strict=True))
    pairs = zip((row.tobytes() for row in drawn), expected.tolist(), strict=True)
    miss = [e - energies[key] for key, e in pairs if key in energies]
    return unit * float(np.sqrt(np.mean(np.square(miss)))) if miss else None


def _basis(space: OrderingSpace, lattice: ChargedLattice, settings: LearningSettings) -> Any:
    from superionic.thermodynamics.lattice_mc.cluster_basis import cluster_basis
    from superionic.thermodynamics.lattice_mc.order_parameters import pair_shells

    cutoff, fractional = settings.pair_cutoff_A, space.sites.fractional[space.members]
    try:
        shells = pair_shells(space.sites.cell_A, fractional, space.block_of, cutoff)
    except AnalysisError as error:
        raise AnalysisError(
            f"No two sites that order are within {cutoff:g} Å.", fix="Raise enumerate.monte_carlo.pair_cutoff_A."
        ) from error
    return cluster_basis(
        lattice.swaps, shells,
        triplet_cutoff_A=min(cutoff, settings.triplet_cutoff_A), permutations=space.permutations, ewald=lattice.ewald,
    )  # fmt: skip


def _new(drawn: CodeArray, old: CodeArray | Sequence[Any], number: int) -> CodeArray:
    """Return up to `number` of the canonical decorations drawn, evenly spread, each once and excluding old ones."""
    known = {np.asarray(row, dtype=np.uint8).tobytes() for row in old}
    new_rows: list[int] = []
    for index, row in enumerate(drawn):
        key = row.tobytes()
        if key not in known:
            known.add(key)
            new_rows.append(index)
    selected = np.array(new_rows, dtype=np.int64)
    if len(selected) > number:
        selected = selected[np.linspace(0, len(selected) - 1, number).astype(int)] if number else selected[:0]
    result: CodeArray = drawn[selected]
    return result
