"""The evidence for orderings that were searched for, sampled, or drawn at a temperature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchEvidence:
    """The agreement of the independent runs of a search.

    Parameters
    ----------
    converged
        Whether enough runs reached the same lowest energy.
    searches
        Number of independent runs.
    agreeing_on_the_lowest, needed_to_agree
        Number of runs that reached the lowest energy, and number required.
    lowest_of_each_eV
        Lowest energy reached by each run, in eV per supercell.
    kept, kept_that_two_or_more_met
        Number of orderings in the list of the lowest, and of those that two or more runs reached.
    attempted_swaps
        Number over all runs.
    equal_charges_change_places
        Whether species of equal charge share sites, which point charges cannot distinguish.
    """

    converged: bool
    searches: int
    agreeing_on_the_lowest: int
    needed_to_agree: int
    lowest_of_each_eV: tuple[float, ...]
    kept: int
    kept_that_two_or_more_met: int
    attempted_swaps: int
    equal_charges_change_places: bool
    seed: int


@dataclass(frozen=True)
class SampleEvidence:
    """The method of drawing a sample.

    Parameters
    ----------
    draws
        Number of independent draws.
    exact
        Whether each ordering had exactly the intended probability.
    how
        The method of drawing, in words.
    weights
        ``"alike"``: every distinct ordering is equally likely; ``"by degeneracy"``: in proportion to its degeneracy.
    """

    draws: int
    exact: bool
    how: str
    seed: int
    weights: str


@dataclass(frozen=True)
class PairOrder:
    """Short-range order of one pair of species on one shell of neighbours.

    Parameters
    ----------
    sites_a, species_a, sites_b, species_b
        Names of the two groups of sites, and the species on them; ``"X"`` is the vacancy.
    warren_cowley, error
        Warren–Cowley parameter and its standard error; None if undefined.
    """

    sites_a: str
    species_a: str
    sites_b: str
    species_b: str
    distance_A: float
    warren_cowley: float | None
    error: float | None


@dataclass(frozen=True)
class SurrogateFit:
    """Size and errors of one fit of the surrogate.

    Parameters
    ----------
    energies, terms
        Number of energies fitted, and of clusters that the fit selected.
    pair_cutoff_A, triplet_cutoff_A
        Length of the longest clusters among them.
    left_out_error_meV_per_atom
        Error on energies left out of the fit.
    fresh_of_the_round_before
        Number of energies of orderings proposed by the previous fit.
    error_on_fresh_meV_per_atom, bias_on_fresh_meV_per_atom
        Root-mean-square and mean error of the previous fit on them; None if there are none.
    """

    energies: int
    terms: int
    pair_cutoff_A: float
    triplet_cutoff_A: float
    left_out_error_meV_per_atom: float
    fresh_of_the_round_before: int
    error_on_fresh_meV_per_atom: float | None
    bias_on_fresh_meV_per_atom: float | None


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of a potential.

    Parameters
    ----------
    count, failed
        Number of all evaluations, and of failed ones.
    in_which_an_ion_left_its_site
        Number of relaxations in which an ion moved out of its site.
    """

    count: int
    failed: int
    in_which_an_ion_left_its_site: int


@dataclass(frozen=True)
class SurrogateEvidence:
    """The accuracy of the surrogate for the energies of the potential that it replaced.

    Parameters
    ----------
    evaluations
        Evaluations of the potential; None if energies came from elsewhere.
    monte_carlo_converged, surrogate_converged
        Whether the run on the surrogate converged, and whether the surrogate was accurate within the tolerance.
    error_meV_per_atom
        Root-mean-square error on orderings absent from the fit; None if unknown.
    tolerance_meV_per_atom
        Error up to which the surrogate counts as accurate.
    all_that_is_met_was_evaluated
        Whether the energy of every ordering reached by Monte Carlo was known.
    fits
        All fits; the last one was used to draw the orderings.
    """

    evaluations: Evaluations | None
    monte_carlo_converged: bool
    surrogate_converged: bool
    error_meV_per_atom: float | None
    tolerance_meV_per_atom: float
    all_that_is_met_was_evaluated: bool
    fits: tuple[SurrogateFit, ...]


@dataclass(frozen=True)
class MonteCarloEvidence:
    """The convergence of a Monte Carlo run, and the short-range order at its lowest temperature.

    Numbers are None if the run is too short to give them.

    Parameters
    ----------
    energy
        Source of the energies: ``"point charges"``, or a potential.
    dielectric
        Relative permittivity that screened the point charges; None for a potential.
    converged
        Whether nothing was flagged against the run or, if there is one, the surrogate.
    flags
        Objections to the run, in words.
    independent_draws
        Number of draws, repeated ones included.
    sweeps, sweeps_before_equilibrium, autocorrelation_sweeps
        Length of the run, of the initial part excluded from averages, and autocorrelation time of the energy.
    temperatures_K, acceptance, exchange_rates, round_trips
        Temperatures of the replicas, ascending; fraction of accepted swaps, and of accepted exchanges of neighbours;
        number of journeys through all temperatures and back.
    mean_energy_eV, mean_energy_error_eV
        Mean energy of a supercell.
    heat_capacity_kB, heat_capacity_error_kB
        Heat capacity of a supercell.
    order_parameters
        Short-range order on the nearest shells.
    surrogate
        The accuracy of the surrogate, if the energies were those of a potential.
    """

    energy: str
    dielectric: float | None
    temperature_K: float
    converged: bool
    flags: tuple[str, ...]
    independent_draws: int
    sweeps: int
    sweeps_before_equilibrium: int
    autocorrelation_sweeps: float | None
    temperatures_K: tuple[float, ...]
    acceptance: tuple[float | None, ...]
    exchange_rates: tuple[float | None, ...]
    round_trips: int
    mean_energy_eV: float | None
    mean_energy_error_eV: float | None
    heat_capacity_kB: float | None
    heat_capacity_error_kB: float | None
    order_parameters: tuple[PairOrder, ...]
    seed: int
    surrogate: SurrogateEvidence | None = None


Evidence = SearchEvidence | SampleEvidence | MonteCarloEvidence
