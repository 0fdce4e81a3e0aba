"""What speaks for orderings that were searched for, sampled, or drawn at a temperature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchEvidence:
    """How far the independent runs of a search agree.

    Parameters
    ----------
    converged
        Whether as many runs as are needed met the same lowest energy.
    searches
        Independent runs.
    agreeing_on_the_lowest, needed_to_agree
        How many of them met the lowest energy, and how many have to.
    lowest_of_each_eV
        Lowest energy that each run met, in eV a supercell.
    kept, kept_that_two_or_more_met
        Orderings of the list of the lowest, and those of them that two runs or more met.
    attempted_swaps
        Of all runs together.
    equal_charges_change_places
        Whether species of equal charge share sites, which point charges cannot tell apart.
    seed
        Of the search.
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
    """How a sample was drawn.

    Parameters
    ----------
    draws
        Independent draws.
    exact
        Whether each ordering had exactly the chance that it should have.
    how
        The method of drawing, in words.
    seed
        Of the draws.
    weights
        ``"alike"``: every distinct ordering has one chance; ``"by degeneracy"``: in proportion to its degeneracy.
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
    distance_A
        Distance of the shell.
    warren_cowley, error
        Warren–Cowley parameter and its standard error; None where it is not defined.
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
        Energies that were fitted, and clusters that the fit chose.
    pair_cutoff_A, triplet_cutoff_A
        Longest clusters among them.
    left_out_error_meV_per_atom
        Error on energies left out of the fit.
    fresh_of_the_round_before
        Energies of orderings that the fit before had proposed.
    error_on_fresh_meV_per_atom, bias_on_fresh_meV_per_atom
        Root-mean-square and mean error of the fit before on them; None where there are none.
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
    """Energies that a potential was asked for.

    Parameters
    ----------
    count, failed
        All of them, and those that it did not give.
    in_which_an_ion_left_its_site
        Relaxations in which an ion moved farther than within its site.
    """

    count: int
    failed: int
    in_which_an_ion_left_its_site: int


@dataclass(frozen=True)
class SurrogateEvidence:
    """How well the surrogate knew the energies of the potential that it stood in for.

    Parameters
    ----------
    evaluations
        What the potential was asked for; None where energies came from elsewhere.
    monte_carlo_converged, surrogate_converged
        Whether the run on the surrogate converged, and whether the surrogate was right within the tolerance.
    error_meV_per_atom
        Root-mean-square error on orderings that the fit had not seen; None where it is not known.
    tolerance_meV_per_atom
        Error up to which the surrogate counts as right.
    all_that_is_met_was_evaluated
        Whether Monte Carlo met no ordering whose energy was not known.
    fits
        All fits, the last one drew the orderings.
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
    """How well a Monte Carlo run converged, and the order that it found at its lowest temperature.

    Numbers are None where the run is too short to give them.

    Parameters
    ----------
    energy
        What gave the energies: ``"point charges"``, or a potential.
    dielectric
        Relative permittivity that screened the point charges; None for a potential.
    temperature_K
        Temperature of the draws.
    converged
        Whether nothing speaks against the run, nor against the surrogate if there is one.
    flags
        What speaks against the run, in words.
    independent_draws
        Draws, equal ones included.
    sweeps, sweeps_before_equilibrium, autocorrelation_sweeps
        Length of the run, of its part that no average has in it, and over which its energies forget their past.
    temperatures_K, acceptance, exchange_rates, round_trips
        Of the replicas, from the coldest to the hottest: accepted swaps, accepted exchanges of neighbours, and how
        often one went through all temperatures and back.
    mean_energy_eV, mean_energy_error_eV
        Mean energy of a supercell.
    heat_capacity_kB, heat_capacity_error_kB
        Heat capacity of a supercell.
    order_parameters
        Short-range order on the nearest shells.
    seed
        Of the run.
    surrogate
        Where the energies were those of a potential: how well the surrogate knew them.
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
