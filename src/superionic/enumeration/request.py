"""Enumerating the orderings of one crystal file: the Python twin of ``superionic enumerate``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superionic.enumeration.chosen import SEARCH_BUDGET, ChosenOrderings, list_lowest, sample, search
from superionic.enumeration.counted import DEFAULT_MIN_DISTANCE_A, MAX_LISTED, CountedSpace, counted_spaces
from superionic.enumeration.monte_carlo import DEFAULT_DIELECTRIC, DEFAULT_SWEEPS, DEFAULT_TEMPERATURE_K, monte_carlo
from superionic.enumeration.result import EnumeratedPoint, Enumeration, RefusedPoint
from superionic.errors import CompositionError
from superionic.shown import Shown
from superionic.structures.crystal.axes import Axis, apply_point, grid_points, parse_axis
from superionic.structures.crystal.composition import MAX_DEVIATION, Coupling, compact_supercell, fitting_indices
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.crystal.oxidation import OxidationStates, find_oxidation_states
from superionic.structures.crystal.supercells import Supercell, inequivalent_supercells
from superionic.structures.io.files import read_crystal, read_oxidation_states
from superionic.structures.io.filesites import FileOxidationStates

_CELLS_TRIED = 4
_QUICK = 2_000_000
_REFUSALS_SHOWN = 5
_MAX_KEPT = 100_000
_MAX_CHOSEN = 1_000_000

MAX_INDEX = 100
"""Largest number of primitive cells for which all supercells are enumerated."""

PRIMITIVE = ("prim", "primitive")
"""Names of the primitive cell in place of a supercell."""

AUTO = "auto"
"""Name of the smallest supercell that fits."""


@dataclass(frozen=True)
class SpaceOptions:
    """The supercells and compositions of a crystal to be counted.

    Parameters
    ----------
    supercell, max_index, diagonal_only, coupling, oxidation_states, axes, formula_unit, occupancies, max_deviation,
    min_distance_A, max_listed, seed
        See :func:`enumerate_orderings`.

    Raises
    ------
    CompositionError
        If a number is out of bounds, or an option has no effect in combination with the others.
    """

    supercell: Any = "1x1x1"
    max_index: int | None = None
    diagonal_only: bool = False
    coupling: Coupling = "per-orbit"
    oxidation_states: Mapping[str, float] | None = None
    axes: tuple[str | Axis, ...] = ()
    formula_unit: str | None = None
    occupancies: Mapping[str, Mapping[str, float]] | None = None
    max_deviation: float | None = MAX_DEVIATION
    min_distance_A: float | None = DEFAULT_MIN_DISTANCE_A
    max_listed: int = MAX_LISTED
    seed: int = 0

    def __post_init__(self) -> None:
        _demand_effect("diagonal_only", self.diagonal_only, "max_index", self.max_index is not None)
        _demand_effect("formula_unit", self.formula_unit is not None, "axes", bool(self.axes))
        if self.max_index is not None and not (isinstance(self.supercell, str) and self.supercell == "1x1x1"):
            raise CompositionError(
                "max_index takes all supercells of the primitive cell, so that supercell has no effect.",
                fix="Give one of the two.",
            )
        demand_within("largest index", self.max_index, 1, MAX_INDEX)
        demand_within("seed", self.seed, 0, 2**63 - 1)
        demand_within("largest number listed", self.max_listed, 1, 10**11)
        demand_within("smallest distance in Å", self.min_distance_A, 0.0, 20.0)
        demand_within("largest deviation of an occupancy", self.max_deviation, 0.0, 1.0)


@dataclass(frozen=True)
class Choice:
    """The orderings of a space to return, and how to choose them; by default none.

    Parameters
    ----------
    ewald_top, sample_draws, thermal, search_lowest, search_budget, monte_carlo_samples, temperature_K, dielectric,
    sweeps, quick_look, list_all, seed
        See :func:`enumerate_orderings`.

    Raises
    ------
    CompositionError
        If a number is out of bounds, or two ways of choosing are asked for at once.
    """

    ewald_top: int | None = None
    sample_draws: int | None = None
    thermal: bool = False
    search_lowest: int | None = None
    search_budget: int = SEARCH_BUDGET
    monte_carlo_samples: int | None = None
    temperature_K: float = DEFAULT_TEMPERATURE_K
    dielectric: float = DEFAULT_DIELECTRIC
    sweeps: int = DEFAULT_SWEEPS
    quick_look: int | None = None
    list_all: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        ways = (self.ewald_top, self.sample_draws, self.search_lowest, self.monte_carlo_samples)
        if sum(way is not None for way in ways) > 1:
            raise CompositionError(
                "Orderings are either listed, sampled, searched for or drawn at a temperature.",
                fix="Ask for one of these at a time.",
            )
        _demand_effect("thermal", self.thermal, "sample_draws", self.sample_draws is not None)
        for name, value, most in (
            ("number of the lowest orderings", self.ewald_top, _MAX_CHOSEN),
            ("number of draws", self.sample_draws, _MAX_CHOSEN),
            ("number of the lowest orderings", self.search_lowest, _MAX_CHOSEN),
            ("number of draws", self.monte_carlo_samples, _MAX_KEPT),
            ("budget of the search", self.search_budget, 10**13),
            ("number of sweeps", self.sweeps, 10**8),
        ):
            demand_within(name, value, 1, most)
        demand_within("seed", self.seed, 0, 2**63 - 1)
        demand_within("temperature in K", self.temperature_K, 1.0, 10_000.0)
        demand_within("relative permittivity", self.dielectric, 0.01, 1e6)


def enumerate_orderings(
    file: str | Path,
    *,
    block: str | None = None,
    supercell: Any = "1x1x1",
    max_index: int | None = None,
    diagonal_only: bool = False,
    coupling: Coupling = "per-orbit",
    oxidation_states: Mapping[str, float] | None = None,
    axes: Sequence[str | Axis] = (),
    formula_unit: str | None = None,
    occupancies: Mapping[str, Mapping[str, float]] | None = None,
    max_deviation: float | None = MAX_DEVIATION,
    min_distance_A: float | None = DEFAULT_MIN_DISTANCE_A,
    ewald_top: int | None = None,
    sample_draws: int | None = None,
    thermal: bool = False,
    search_lowest: int | None = None,
    search_budget: int = SEARCH_BUDGET,
    monte_carlo_samples: int | None = None,
    temperature_K: float = DEFAULT_TEMPERATURE_K,
    dielectric: float = DEFAULT_DIELECTRIC,
    sweeps: int = DEFAULT_SWEEPS,
    quick_look: int | None = None,
    list_all: bool = False,
    max_listed: int = MAX_LISTED,
    seed: int = 0,
    progress: Callable[[str, int], None] | None = None,
) -> Enumeration:
    """Count the orderings of a disordered crystal, and list, search or sample them, or draw them at a temperature.

    In Python ``superionic.read_crystal(file).orderings("1x1x2").lowest(100)`` does the same in steps.

    Parameters
    ----------
    file
        The crystal, with its partial occupancies: CIF, POSCAR, extxyz or pymatgen JSON.
    block
        Data block of a CIF that holds several crystals; the first that lists atoms if None.
    supercell
        ``"1x1x2"``, three integers, a 3 × 3 integer matrix, ``"primitive"``, or ``"auto"``: the smallest one in which
        every species stays and no occupancy is off by more than `max_deviation`; one of up to three times that size
        is preferred if it holds the refined occupancies exactly.
    max_index
        Take all supercells of the primitive cell up to this many times its volume that symmetry does not make
        equivalent, instead of `supercell`.
    diagonal_only
        With `max_index`: only those with diagonal matrices.
    coupling
        ``"per-orbit"``, ``"coupled"``, or lists of names of sublattices that share one total.
    oxidation_states
        Charges in e by species; those not given come from the file or are guessed.
    axes
        Composition axes as text, such as ``"Cl:Br:x=0..6:0.5"`` (see :mod:`superionic.structures.crystal.axes`).
    formula_unit
        Formula unit in which the axes count; that of the crystal if None.
    occupancies
        Occupancies to be used instead of the refined ones, by name of the sublattice.
    max_deviation
        Largest difference of an occupancy from the refinement, as in a campaign: one atom more or fewer is always
        allowed, unless that would remove a species altogether. None: as wide as needed.
    min_distance_A
        Sites closer than this are not both occupied; None for no such rule.
    ewald_top
        Return this many orderings of lowest point-charge energy: exactly, by listing, where that is feasible.
    sample_draws
        Return this many random draws, uniform over the distinct orderings.
    thermal
        Draw in proportion to degeneracy instead.
    search_lowest
        Return this many of the lowest orderings that a replica-exchange search finds.
    search_budget
        Attempted swaps of the search, some 10⁶ a second.
    monte_carlo_samples
        Return this many decorrelated draws at a temperature, by replica-exchange Monte Carlo on point charges.
    temperature_K
        Temperature of these draws.
    dielectric
        Relative permittivity by which the energy of the point charges is divided in Monte Carlo.
    sweeps
        Length of the Monte Carlo run.
    quick_look
        If nothing else is requested: return this many of the lowest if listing takes at most a second.
    list_all
        Return all orderings, if there are at most 100,000.
    max_listed
        Refuse to list more distinct orderings than this.
    seed
        Seed of every random choice.
    progress
        Called from time to time with the label of the point and the number of orderings reached.

    Returns
    -------
    Enumeration

    Raises
    ------
    StructureError
        If the file cannot be read as a crystal.
    CompositionError
        If charges cannot be determined, no neutral composition fits, a space is too large to be listed, a number is out
        of bounds, or more than one of `ewald_top`, `sample_draws`, `search_lowest` and `monte_carlo_samples` is given.
    """
    choice = Choice(
        ewald_top=ewald_top, sample_draws=sample_draws, thermal=thermal, search_lowest=search_lowest,
        search_budget=search_budget, monte_carlo_samples=monte_carlo_samples, temperature_K=temperature_K,
        dielectric=dielectric, sweeps=sweeps, quick_look=quick_look, list_all=list_all, seed=seed,
    )  # fmt: skip
    spaces = SpaceOptions(
        supercell=supercell, max_index=max_index, diagonal_only=diagonal_only, coupling=coupling,
        oxidation_states=oxidation_states, axes=tuple(axes), formula_unit=formula_unit, occupancies=occupancies,
        max_deviation=max_deviation, min_distance_A=min_distance_A, max_listed=max_listed, seed=seed,
    )  # fmt: skip
    return count_spaces(file, spaces, block=block).choose(choice, progress=progress)


@dataclass(frozen=True, repr=False)
class Orderings(Shown):
    """The orderings of a crystal in one supercell, or in several and over a grid of compositions; counted.

    Parameters
    ----------
    counted
        An enumeration in which no orderings have been chosen yet.
    max_listed
        Refuse to list more distinct orderings than this.
    seed
        Seed of every random choice.
    """

    counted: Enumeration
    max_listed: int = MAX_LISTED
    seed: int = 0

    def count(self) -> int:
        """Return the number of symmetry-distinct orderings that respect the smallest distances, over all points.

        Raises
        ------
        CompositionError
            If they could not be counted exactly; ``counted`` has the estimate.
        """
        numbers = [point.counted.distinct for point in self.counted.points]
        known = [number for number in numbers if number is not None]
        if len(known) < len(numbers):
            raise CompositionError(
                "There are too many orderings that respect the smallest distances to be counted exactly.",
                where=self.counted.file,
                fix="Read the estimate from to_frame(), column allowed_fraction, or use a smaller supercell.",
            )
        return sum(known)

    def lowest(self, number: int, *, budget: int = SEARCH_BUDGET) -> Enumeration:
        """Return the orderings of lowest point-charge energy at each point.

        If there are at most `max_listed`, all are examined and the result is exact; otherwise a search of `budget`
        attempted swaps looks for them, and ``evidence`` says how far its independent runs agree.
        """
        if all(point.counted.plan.method == "list" for point in self.counted.points):
            return self.choose(Choice(ewald_top=number, seed=self.seed))
        return self.choose(Choice(search_lowest=number, search_budget=budget, seed=self.seed))

    def sample(self, number: int, *, thermal: bool = False) -> Enumeration:
        """Return random draws, uniform over the distinct orderings; `thermal`: in proportion to their degeneracy."""
        return self.choose(Choice(sample_draws=number, thermal=thermal, seed=self.seed))

    def at_temperature(
        self,
        number: int,
        temperature_K: float = DEFAULT_TEMPERATURE_K,
        *,
        dielectric: float = DEFAULT_DIELECTRIC,
        sweeps: int = DEFAULT_SWEEPS,
    ) -> Enumeration:
        """Return decorrelated draws at a temperature, by replica-exchange Monte Carlo on point charges."""
        return self.choose(
            Choice(
                monte_carlo_samples=number, temperature_K=temperature_K, dielectric=dielectric, sweeps=sweeps,
                seed=self.seed,
            )
        )  # fmt: skip

    def all(self) -> Enumeration:
        """Return all orderings, lowest first, if there are at most 100,000."""
        return self.choose(Choice(list_all=True, seed=self.seed))

    def choose(self, choice: Choice, *, progress: Callable[[str, int], None] | None = None) -> Enumeration:
        """Choose orderings of every point; see :func:`enumerate_orderings`."""
        points = []
        for point in self.counted.points:
            report = None if progress is None else (lambda n, label=point.label: progress(label, n))
            points.append(replace(point, chosen=_choose(point.counted, choice, self.max_listed, report)))
        return replace(self.counted, points=tuple(points))

    def _facts(self) -> Iterable[tuple[str, str]]:
        return self.counted._facts()

    def _records(self) -> Iterable[Mapping[str, Any]]:
        return self.counted._records()


def count_spaces(
    file: str | Path, options: SpaceOptions, *, block: str | None = None, crystal: DisorderedCrystal | None = None
) -> Orderings:
    """Count the orderings of a crystal in the requested supercells and compositions.

    Parameters
    ----------
    file, block
        The crystal file, as in :func:`enumerate_orderings`; charges are read from it too.
    options
        The supercells and compositions.
    crystal
        The crystal, if it was read before. With an axis whose charge other species balance the file is read again,
        because sites listed as empty may be filled.

    Raises
    ------
    StructureError
        If the file cannot be read as a crystal.
    CompositionError
        If charges cannot be determined, or no neutral composition fits.
    """
    axes = [axis_of(axis, options.formula_unit) for axis in options.axes]
    if crystal is None or any(axis.follows for axis in axes):
        crystal = crystal_of(file, axes, block=block)
    charges = charges_of_crystal(crystal, file, options.oxidation_states, axes, block=block)
    points: list[EnumeratedPoint] = []
    refusals: list[RefusedPoint] = []
    for parent, cell in _cells(crystal, options.supercell, options.max_index, options.diagonal_only):
        for point in grid_points(axes) if axes else [{}]:
            label = " ".join(f"{name}={value:g}" for name, value in point.items())
            try:
                counted = _counted(parent, cell, charges, axes, point, options)
            except CompositionError as error:
                if not axes and options.max_index is None:
                    raise  # the only one
                refusals.append(RefusedPoint(label, None if cell is None else str(cell), error))
                continue
            points.append(EnumeratedPoint(label, counted))
    if not points:
        raise _all_refused(refusals)
    counted_only = Enumeration(
        file=Path(file).name,
        crystal={
            "name": crystal.name,
            "refined_formula": crystal.formula,
            "refined_cell": crystal.cell_formula,
            "spacegroup": crystal.spacegroup_symbol,
            "spacegroup_number": crystal.spacegroup_number,
            "notes": list(crystal.notes),
        },
        oxidation_states={"values": dict(charges.values), "source": charges.source, "note": charges.note},
        coupling=options.coupling if isinstance(options.coupling, str) else [list(names) for names in options.coupling],
        points=tuple(points),
        refused=tuple(refusals),
    )
    return Orderings(counted_only, options.max_listed, options.seed)


def _demand_effect(name: str, is_given: bool, needed: str, has_effect: bool) -> None:
    if is_given and not has_effect:
        raise CompositionError(f"{name} has no effect without {needed}.", fix=f"Leave it out, or give {needed}.")


def _all_refused(refusals: Sequence[RefusedPoint]) -> CompositionError:
    """Return the error that no point fits, with the reason for each."""
    first = refusals[0].error
    listed = "; ".join(f"{refusal.place}: {refusal.error.message}" for refusal in refusals[:_REFUSALS_SHOWN])
    if len(refusals) == 1:
        return CompositionError(listed, where=first.where, fix=first.fix)
    more = f"; and {len(refusals) - _REFUSALS_SHOWN} more" if len(refusals) > _REFUSALS_SHOWN else ""
    return CompositionError(
        f"None of the {len(refusals)} points fits. {listed}{more}", where=first.where, fix=first.fix
    )


def demand_within(name: str, value: float | None, least: float, most: float) -> None:
    """Check that a number is within its bounds; None always is.

    Raises
    ------
    CompositionError
        If it is not.
    """
    if value is not None and not least <= value <= most:
        shown = value if abs(value) < 10**15 else "far too large"
        raise CompositionError(f"The {name} is {shown}; it lies between {least:g} and {most:g}.", fix="Give another.")


def charges_of_crystal(
    crystal: DisorderedCrystal,
    file: str | Path,
    given: Mapping[str, float] | None,
    axes: Sequence[Axis] = (),
    *,
    block: str | None = None,
) -> OxidationStates:
    """Find the charge of every species of a crystal and of its axes: given, from the file, or guessed."""
    known = given is not None and set(crystal.species) <= set(given)
    in_file = FileOxidationStates(None, "not asked") if known else read_oxidation_states(file, block=block)
    added = [species for axis in axes for species in (axis.replace, axis.by)]
    return find_oxidation_states(
        crystal, given, in_file.states, several=in_file.several, also=added, mixed_valence=True, where=str(file)
    )


def crystal_of(file: str | Path, axes: Sequence[Axis] = (), *, block: str | None = None) -> DisorderedCrystal:
    """Read a crystal, keeping the sites listed as empty that a following species may fill."""
    return read_crystal(file, block=block, keep_empty=sorted({species for axis in axes for species in axis.follows}))


def axis_of(axis: str | Axis, formula_unit: str | None) -> Axis:
    """Return an axis, read if it is text, with the formula unit in which it counts."""
    if isinstance(axis, str):
        return parse_axis(axis, formula_unit=formula_unit)
    return axis if formula_unit is None else replace(axis, formula_unit=formula_unit)


def _cells(
    crystal: DisorderedCrystal, supercell: Any, max_index: int | None, diagonal_only: bool
) -> list[tuple[DisorderedCrystal, Supercell | None]]:
    """Return parents and supercells of them; None for the smallest one that fits."""
    if max_index is not None:
        if max_index < 1:
            raise CompositionError(f"The largest index is {max_index}.", fix="Give 1 or more.")
        parent = crystal.primitive()
        return [
            (parent, cell)
            for index in range(1, max_index + 1)
            for cell in inequivalent_supercells(parent, index, diagonal_only=diagonal_only)
        ]
    name = supercell.strip().lower() if isinstance(supercell, str) else ""
    if name in PRIMITIVE:
        return [(crystal.primitive(), Supercell.diagonal(1, 1, 1))]
    if name == AUTO:
        return [(crystal, None)]
    return [(crystal, Supercell.parse(supercell))]


def _counted(
    crystal: DisorderedCrystal,
    cell: Supercell | None,
    charges: OxidationStates,
    axes: Sequence[Axis],
    point: Mapping[str, float],
    options: SpaceOptions,
) -> CountedSpace:
    exact: Mapping[str, Any] = {}
    if axes:
        crystal, exact = apply_point(crystal, axes, point, charges.values)

    def counted_in(cell: Supercell, max_deviation: float | None, *, strict: bool) -> CountedSpace:
        return counted_spaces(
            crystal, cell, charges.values,
            coupling=options.coupling, overrides=options.occupancies, exact_totals=exact, max_deviation=max_deviation,
            strict=strict, min_distance_A=options.min_distance_A, max_listed=options.max_listed, seed=options.seed,
        )[0]  # fmt: skip

    if cell is not None:
        return counted_in(cell, options.max_deviation, strict=False)
    max_deviation = MAX_DEVIATION if options.max_deviation is None else options.max_deviation
    fitting = fitting_indices(
        crystal,
        charges.values,
        coupling=options.coupling,
        overrides=options.occupancies,
        exact_totals=exact,
        max_deviation=max_deviation,
    )
    refusal: CompositionError | None = None
    for index in fitting[:_CELLS_TRIED] or [1]:  # if none fits, the error of the smallest cell says why
        try:
            return counted_in(compact_supercell(crystal, index), max_deviation, strict=True)
        except CompositionError as error:
            refusal = refusal or error
    assert refusal is not None  # noqa: S101 - one cell at least was tried
    raise refusal


def _choose(
    counted: CountedSpace, choice: Choice, max_listed: int, progress: Callable[[int], None] | None
) -> ChosenOrderings | None:
    space, charges, seed = counted.space, counted.oxidation_states, choice.seed
    if choice.sample_draws is not None:
        return sample(space, charges, choice.sample_draws, seed=seed, thermal=choice.thermal)
    if choice.search_lowest is not None:
        return search(space, charges, choice.search_lowest, seed=seed, budget=choice.search_budget)
    if choice.monte_carlo_samples is not None:
        return monte_carlo(
            space, charges, choice.monte_carlo_samples,
            temperature_K=choice.temperature_K, dielectric=choice.dielectric, n_sweeps=choice.sweeps, seed=seed,
        )  # fmt: skip
    number, most = choice.ewald_top, max_listed
    if choice.list_all:
        number, most = _MAX_KEPT, min(most, _MAX_KEPT)
    if number is None:
        if choice.quick_look is None or counted.plan.method != "list" or counted.count.distinct > _QUICK:
            return None
        number = choice.quick_look
    if counted.plan.method != "list" or (counted.distinct or 0) > most:
        raise CompositionError(
            f"The orderings of {counted.composition.formula} are too many to be listed: {counted.plan.reason}.",
            where=f"supercell {space.sites.supercell}",
            fix="Search for the lowest (--search), sample (--sample), use a smaller supercell, "
            f"or raise the limit (--max-listed, now {most:,}).",
        )
    return list_lowest(space, charges, number, seed=seed, progress=progress)
