"""Enumerating the orderings of one crystal file: the Python twin of ``superionic enumerate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from superionic.enumeration.chosen import SEARCH_BUDGET, ChosenOrderings, list_lowest, sample, search
from superionic.enumeration.counted import DEFAULT_MIN_DISTANCE_A, MAX_LISTED, CountedSpace, counted_spaces
from superionic.enumeration.monte_carlo import DEFAULT_DIELECTRIC, DEFAULT_SWEEPS, DEFAULT_TEMPERATURE_K, monte_carlo
from superionic.enumeration.result import EnumeratedPoint, Enumeration, RefusedPoint
from superionic.errors import CompositionError
from superionic.structures.axes import Axis, apply_point, grid_points, parse_axis
from superionic.structures.composition import Coupling, compact_supercell, fitting_indices
from superionic.structures.disordered import DisorderedCrystal
from superionic.structures.files import read_crystal, read_oxidation_states
from superionic.structures.filesites import FileOxidationStates
from superionic.structures.formulas import MAX_DEVIATION
from superionic.structures.oxidation import OxidationStates, find_oxidation_states
from superionic.structures.supercells import Supercell, inequivalent_supercells

_CELLS_TRIED = 4
_QUICK = 2_000_000
_REFUSALS_SHOWN = 5
_MAX_KEPT = 100_000
_MAX_CHOSEN = 1_000_000

MAX_INDEX = 100
"""Largest number of primitive cells whose supercells are gone through one by one."""

PRIMITIVE = ("prim", "primitive")
"""What names the primitive cell in place of a supercell."""

AUTO = "auto"
"""What names the smallest supercell that fits."""


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
        Take all supercells of the primitive cell up to this many times its volume that symmetry does not make equal,
        instead of `supercell`.
    diagonal_only
        With `max_index`: only those with diagonal matrices.
    coupling
        ``"per-orbit"``, ``"coupled"``, or lists of names of sublattices that share one total.
    oxidation_states
        Charges in e by species, as far as they are given; the others come from the file or are guessed.
    axes
        Composition axes as text, such as ``"Cl:Br:x=0..6:0.5"`` (see :mod:`superionic.structures.axes`).
    formula_unit
        Formula unit in which the axes count; that of the crystal if None.
    occupancies
        Occupancies to be used instead of the refined ones, by name of the sublattice.
    max_deviation
        Largest difference of an occupancy from the refinement, as in a campaign: one atom more or fewer is always
        allowed, unless it takes away all there is of a species. None: as wide as needed.
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
        That temperature.
    dielectric
        Relative permittivity by which the energy of the point charges is divided in Monte Carlo.
    sweeps
        Length of the Monte Carlo run.
    quick_look
        If nothing else is asked for: return this many of the lowest where listing takes no more than a second.
    list_all
        Return all orderings, if they are no more than 100,000.
    max_listed
        Refuse to list more distinct orderings than this.
    seed
        Of every random choice.
    progress
        Called with the label of the point and the number of orderings met, now and then.

    Returns
    -------
    Enumeration

    Raises
    ------
    StructureError
        If the file cannot be read as a crystal.
    CompositionError
        If charges cannot be told, no neutral composition fits, a space is too large to be listed, a number is out of
        bounds, or more than one of `ewald_top`, `sample_draws`, `search_lowest` and `monte_carlo_samples` is given.
    """
    if sum(wish is not None for wish in (ewald_top, sample_draws, search_lowest, monte_carlo_samples)) > 1:
        raise CompositionError(
            "Orderings are either listed, sampled, searched for or drawn at a temperature.",
            fix="Ask for one of these at a time.",
        )
    for name, is_given, needed, has_effect in (
        ("thermal", thermal, "sample_draws", sample_draws is not None),
        ("diagonal_only", diagonal_only, "max_index", max_index is not None),
        ("formula_unit", formula_unit is not None, "axes", bool(axes)),
    ):
        if is_given and not has_effect:
            raise CompositionError(f"{name} has no effect without {needed}.", fix=f"Leave it out, or give {needed}.")
    if max_index is not None and not (isinstance(supercell, str) and supercell == "1x1x1"):
        raise CompositionError(
            "max_index takes all supercells of the primitive cell, so that supercell has no effect.",
            fix="Give one of the two.",
        )
    if max_index is not None:
        demand_within("largest index", max_index, 1, MAX_INDEX)
    demand_within("seed", seed, 0, 2**63 - 1)
    for name, value, most in (
        ("number of the lowest orderings", ewald_top, _MAX_CHOSEN),
        ("number of draws", sample_draws, _MAX_CHOSEN),
        ("number of the lowest orderings", search_lowest, _MAX_CHOSEN),
        ("number of draws", monte_carlo_samples, _MAX_KEPT),
        ("budget of the search", search_budget, 10**13),
        ("number of sweeps", sweeps, 10**8),
        ("largest number that is listed", max_listed, 10**11),
    ):
        demand_within(name, value, 1, most)
    demand_within("temperature in K", temperature_K, 1.0, 10_000.0)
    demand_within("relative permittivity", dielectric, 0.01, 1e6)
    demand_within("smallest distance in Å", min_distance_A, 0.0, 20.0)
    demand_within("largest deviation of an occupancy", max_deviation, 0.0, 1.0)
    parsed = [axis_of(axis, formula_unit) for axis in axes]
    crystal = crystal_of(file, parsed, block=block)
    charges = charges_of_crystal(crystal, file, oxidation_states, parsed, block=block)
    wishes = _Wishes(
        ewald_top, sample_draws, thermal, search_lowest, search_budget,
        monte_carlo_samples, temperature_K, dielectric, sweeps,
        quick_look, list_all, max_listed, seed,
    )  # fmt: skip
    points: list[EnumeratedPoint] = []
    refusals: list[RefusedPoint] = []
    for parent, cell in _cells(crystal, supercell, max_index, diagonal_only):
        for point in grid_points(parsed) if parsed else [{}]:
            label = " ".join(f"{name}={value:g}" for name, value in point.items())
            try:
                counted = _counted(
                    parent, cell, charges, parsed, point,
                    coupling=coupling, overrides=occupancies, max_deviation=max_deviation,
                    min_distance_A=min_distance_A, max_listed=max_listed, seed=seed,
                )  # fmt: skip
            except CompositionError as error:
                if not parsed and max_index is None:
                    raise  # the only one
                refusals.append(RefusedPoint(label, None if cell is None else str(cell), error))
                continue
            report = None if progress is None else (lambda n, label=label: progress(label, n))
            chosen = _choose(counted, wishes, report)
            points.append(EnumeratedPoint(label, counted, chosen))
    if not points:
        raise _all_refused(refusals)
    return Enumeration(
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
        coupling=coupling if isinstance(coupling, str) else [list(names) for names in coupling],
        points=tuple(points),
        refused=tuple(refusals),
    )


def _all_refused(refusals: Sequence[RefusedPoint]) -> CompositionError:
    """Say that no point is left, and why of each."""
    first = refusals[0].error
    listed = "; ".join(f"{refusal.place}: {refusal.error.message}" for refusal in refusals[:_REFUSALS_SHOWN])
    if len(refusals) == 1:
        return CompositionError(listed, where=first.where, fix=first.fix)
    more = f"; and {len(refusals) - _REFUSALS_SHOWN} more" if len(refusals) > _REFUSALS_SHOWN else ""
    return CompositionError(
        f"None of the {len(refusals)} points fits. {listed}{more}", where=first.where, fix=first.fix
    )


def demand_within(name: str, value: float | None, least: float, most: float) -> None:
    """See that a number is within its bounds; None always is.

    Raises
    ------
    CompositionError
        If it is not.
    """
    if value is not None and not least <= value <= most:
        said = value if abs(value) < 10**15 else "far too large"
        raise CompositionError(f"The {name} is {said}; it lies between {least:g} and {most:g}.", fix="Give another.")


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
    """Read a crystal, with the sites that it lists as empty where a species that follows may go there."""
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
    **options: Any,
) -> CountedSpace:
    exact: Mapping[str, Any] = {}
    if axes:
        crystal, exact = apply_point(crystal, axes, point, charges.values)
    if cell is not None:
        return counted_spaces(crystal, cell, charges.values, exact_totals=exact, **options)[0]
    if options["max_deviation"] is None:
        options["max_deviation"] = MAX_DEVIATION
    fitting = fitting_indices(
        crystal,
        charges.values,
        coupling=options["coupling"],
        overrides=options["overrides"],
        exact_totals=exact,
        max_deviation=options["max_deviation"],
    )
    refusal: CompositionError | None = None
    for index in fitting[:_CELLS_TRIED] or [1]:  # where none fits, the smallest cell tells why
        cell = compact_supercell(crystal, index)
        try:
            return counted_spaces(crystal, cell, charges.values, exact_totals=exact, strict=True, **options)[0]
        except CompositionError as error:
            refusal = refusal or error
    assert refusal is not None  # noqa: S101 - one cell at least was tried
    raise refusal


@dataclass(frozen=True)
class _Wishes:
    """Which orderings of a space are wanted; see :func:`enumerate_orderings`."""

    ewald_top: int | None
    sample_draws: int | None
    thermal: bool
    search_lowest: int | None
    search_budget: int
    monte_carlo_samples: int | None
    temperature_K: float
    dielectric: float
    sweeps: int
    quick_look: int | None
    list_all: bool
    max_listed: int
    seed: int


def _choose(counted: CountedSpace, wishes: _Wishes, progress: Callable[[int], None] | None) -> ChosenOrderings | None:
    space, charges, seed = counted.space, counted.oxidation_states, wishes.seed
    if wishes.sample_draws is not None:
        return sample(space, charges, wishes.sample_draws, seed=seed, thermal=wishes.thermal)
    if wishes.search_lowest is not None:
        return search(space, charges, wishes.search_lowest, seed=seed, budget=wishes.search_budget)
    if wishes.monte_carlo_samples is not None:
        return monte_carlo(
            space, charges, wishes.monte_carlo_samples,
            temperature_K=wishes.temperature_K, dielectric=wishes.dielectric, n_sweeps=wishes.sweeps, seed=seed,
        )  # fmt: skip
    number, most = wishes.ewald_top, wishes.max_listed
    if wishes.list_all:
        number, most = _MAX_KEPT, min(most, _MAX_KEPT)
    if number is None:
        if wishes.quick_look is None or counted.plan.method != "list" or counted.count.distinct > _QUICK:
            return None
        number = wishes.quick_look
    if counted.plan.method != "list" or (counted.distinct or 0) > most:
        raise CompositionError(
            f"The orderings of {counted.composition.formula} are too many to be listed: {counted.plan.reason}.",
            where=f"supercell {space.sites.supercell}",
            fix="Search for the lowest (--search), sample (--sample), use a smaller supercell, "
            f"or raise the limit (--max-listed, now {most:,}).",
        )
    return list_lowest(space, charges, number, seed=seed, progress=progress)
