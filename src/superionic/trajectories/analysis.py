"""The analysis of one trajectory, from unwrapped positions to everything reported about its transport."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from superionic.errors import AnalysisError, CompositionError
from superionic.references.compare import Comparison, compare
from superionic.shown import Shown
from superionic.structures.crystal.oxidation import MOBILE_IONS, find_oxidation_states
from superionic.structures.crystal.refined_cell import CellDifference, compare_with_refined, parameters
from superionic.trajectories.crystal_sites import (
    CrystalSites,
    crystal_sites,
    framework_symmetry,
    mean_places,
    summary_of,
)
from superionic.trajectories.reading.base import ReadWarning, counted
from superionic.trajectories.unwrapping.trajectory import UnwrappedTrajectory
from superionic.transport.analysis import TransportAnalysis, analyse_displacements
from superionic.transport.density.grid import Density, DensityCounter, FrameworkCentre
from superionic.transport.density.map import DensityMap, FrameworkSite, framework_sites
from superionic.transport.observables.together import Observables, observe
from superionic.transport.observables.volumes import MeanCell, VolumeTrace, mean_cell
from superionic.transport.sites.migration import Block, Migration, analyse_migration
from superionic.transport.sites.migration_summary import MigrationSummary

if TYPE_CHECKING:
    from superionic.structures.crystal.disordered import DisorderedCrystal

FloatArray = npt.NDArray[np.float64]
Drift = Literal["mass", "number", "none"]
DRIFTS: tuple[Drift, ...] = ("mass", "number", "none")

_BLOCK = 2048
_DENSITY_GRID_A = 0.25
_TRACE_POINTS = 500
_NEUTRAL_E = 0.05
_USUAL_CHARGES = {
    "Li": 1.0, "Na": 1.0, "K": 1.0, "Rb": 1.0, "Cs": 1.0, "Ag": 1.0, "Cu": 1.0, "H": 1.0,
    "Mg": 2.0, "Ca": 2.0, "Zn": 2.0, "Al": 3.0, "F": -1.0, "Cl": -1.0, "Br": -1.0, "I": -1.0, "O": -2.0, "S": -2.0,
}  # fmt: skip
"""Charges of mobile ions, used where the composition does not determine them (a test of walkers without a crystal)."""
_NEAR_K = 26.0
"""Published volumes are compared up to this difference of temperature (300 K with 298 K and 323 K)."""


@dataclass(frozen=True)
class AnalysisOptions:
    """Options for the analysis of a trajectory.

    Attributes
    ----------
    mobile
        Elements of the mobile ions; the first known conductor among the atoms if empty.
    temperature_K, pressure_GPa
        Of the run; without a temperature there is no conductivity; without a pressure, ambient is assumed.
    charges
        Oxidation states by element; those not given are guessed.
    axes
        Cartesian axes to average over.
    plane
        Alternatively, the plane of two vectors of the mean cell.
    framework
        Elements whose centre defines the drift; all immobile ones if empty.
    drift
        Whether to remove the drift of the centre of mass or of number, or none; None: of mass if there is a framework.
    hop_length_A
        Usual distance between neighbouring sites.
    window_ps
        Lags chosen by the user between which D counts as constant; None to detect its plateau.
    density_grid_A
        Edge of a voxel of the density; None for no density.
    sites
        ``"density"`` or a crystal: find sites and jumps, at the maxima of the density or on the sites of the crystal
        (with interstitials in addition); ``"none"`` for neither.
    isovalue_per_A3
        Level of the surface of the density (∫P = 1); one that encloses 90 % of the ions, and is above the noise, if
        None.
    observables
        Further observables, out of :data:`superionic.transport.observables.together.OBSERVABLES`.
    """

    mobile: tuple[str, ...] = ()
    temperature_K: float | None = None
    pressure_GPa: float | None = None
    charges: Mapping[str, float] | None = None
    axes: tuple[int, ...] = (0, 1, 2)
    plane: tuple[int, int] | None = None
    framework: tuple[str, ...] = ()
    drift: Drift | None = None
    hop_length_A: float = 3.0
    window_ps: tuple[float, float] | None = None
    density_grid_A: float | None = None
    sites: Literal["none", "density"] | DisorderedCrystal = "none"
    isovalue_per_A3: float | None = None
    observables: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class RunAnalysis(Shown):
    """The results of one trajectory, without the trajectory itself.

    Attributes
    ----------
    name
        Name of the files, or of the run.
    transport
        Diffusivities, Haven ratio, conductivities.
    mobile, framework
        Elements of the mobile ions, and of the framework that defines the drift.
    drift
        How the drift was removed; ``"none"`` if it was not.
    charges, charges_note
        Oxidation states in e by element, and their origin; empty if none could be guessed.
    composition
        Atoms of each element.
    n_frames, frame_interval_ps
        Of the trajectory as analysed.
    cell_A, cell_varies
        (3, 3) mean cell, and whether it changes in time.
    largest_displacement_A
        Longest displacement of an atom between successive frames.
    n_filled_frames, n_left_out_frames, notices
        Missing frames filled by linear interpolation, frames outside the longest part without a long gap, and warnings
        of what could not be read.
    mean_cell, volumes
        Of a run whose cell changes: None and empty for a fixed cell.
    comparisons
        Mean volume compared with published ones.
    refined
        Mean cell compared with that of the crystal whose sites were requested; None without one.
    density
        Density of the ions, without the grid; None if not requested.
    migration
        Sites and jumps of the ions; None if not requested or not determined.
    migration_flags
        Remarks on the migration.
    observables
        Vibrations, rotation of polyanions, pair distributions; None if not requested.
    flags
        Remarks for the reader: on the reading, the cell and the analysis.
    """

    name: str
    transport: TransportAnalysis
    mobile: tuple[str, ...]
    framework: tuple[str, ...]
    drift: Drift
    charges: Mapping[str, float]
    charges_note: str
    composition: Mapping[str, int]
    n_frames: int
    frame_interval_ps: float
    cell_A: FloatArray
    cell_varies: bool
    largest_displacement_A: float
    n_filled_frames: int
    n_left_out_frames: int
    notices: tuple[ReadWarning, ...]
    mean_cell: MeanCell | None
    volumes: VolumeTrace
    comparisons: tuple[Comparison, ...]
    refined: CellDifference | None
    density: DensityMap | None
    migration: MigrationSummary | None
    migration_flags: tuple[str, ...]
    observables: Observables | None
    flags: tuple[str, ...]

    @property
    def formula(self) -> str:
        """Composition in smallest whole numbers, elements in the order of the file."""
        divisor = int(np.gcd.reduce(list(self.composition.values())))
        return "".join(e + (str(n // divisor) if n != divisor else "") for e, n in self.composition.items())

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield self.name, f"{', '.join(self.mobile)} moves, {self.transport.duration_ps:g} ps"
        yield from self.transport._facts()


@dataclass(frozen=True, eq=False)
class AnalysedTrajectory:
    """A trajectory with its results.

    Attributes
    ----------
    density
        Density of the mobile ions on a grid; None if not requested.
    migration, crystal
        Every jump, and the crystal whose sites were used; None if not requested or not determined.
    """

    result: RunAnalysis
    trajectory: UnwrappedTrajectory
    density: Density | None
    migration: Migration | None
    crystal: CrystalSites | None


def analyse_trajectory(
    trajectory: UnwrappedTrajectory, options: AnalysisOptions, *, name: str = "trajectory"
) -> AnalysedTrajectory:
    """Analyse one trajectory.

    Parameters
    ----------
    trajectory
        Unwrapped positions.
    name
        Name of the trajectory in the results.

    Raises
    ------
    AnalysisError
        If a requested element is absent, or there is no framework to define the drift.
    CompositionError
        If given charges are not valid.
    """
    from ase.data import atomic_masses, atomic_numbers

    symbols = np.array(trajectory.symbols)
    composition = counted(trajectory.symbols)
    mobile = _mobile(options.mobile, composition)
    is_mobile = np.isin(symbols, mobile)
    framework, is_framework, drift = _framework(options, composition, symbols, is_mobile)
    charges, note, flags = _charges(options, composition, mobile)
    selected = is_mobile | is_framework
    positions: npt.NDArray[Any] = trajectory.positions_A
    if not selected.all():
        positions = np.ascontiguousarray(positions[:, selected])
    numbers = np.array([atomic_numbers[s] for s in symbols])
    masses = atomic_masses[numbers]
    per_atom = np.array([charges.get(s, 0.0) for s in symbols])
    transport = analyse_displacements(
        positions,
        trajectory.cells_A,
        is_mobile[selected],
        trajectory.frame_interval_ps,
        options.temperature_K,
        per_atom[selected] if charges else None,
        masses=masses[selected] if drift == "mass" else None,
        kinds=numbers[selected],
        hop_length_A=options.hop_length_A,
        axes=options.axes,
        plane=options.plane,
        window_ps=options.window_ps,
    )
    if options.temperature_K is None:
        flags.append("No temperature was given, so there is no conductivity: --temperature-K 600.")
    cell = None
    if trajectory.cell_varies:
        cell = mean_cell(trajectory.cells_A, trajectory.frame_interval_ps, n_atoms=len(symbols))
        flags += cell.flags
    pathways = _Pathways()
    if options.density_grid_A is not None or options.sites != "none":
        anions = [element for element, charge in charges.items() if charge < 0.0]
        pathways = _find_pathways(trajectory, options, mobile, is_mobile, is_framework, masses, drift, anions)
    observables = None
    if options.observables:
        observables = observe(
            trajectory.positions_A,
            trajectory.cells_A,
            trajectory.symbols,
            mobile,
            trajectory.frame_interval_ps,
            observables=options.observables,
            temperature_K=options.temperature_K,
            reference=is_framework,
            masses=masses if drift == "mass" else None,
            occupation=None if pathways.migration is None else pathways.migration.occupation,
        )
    refined = None
    if pathways.crystal is not None and pathways.crystal.refined.is_of(composition):
        lengths, angles = parameters(np.asarray(trajectory.mean_cell_A))
        refined = compare_with_refined(pathways.crystal.refined, lengths, angles, pathways.crystal.matrix)
        if refined.severity is not None:
            warm = "; thermal expansion is part of it" if cell is not None and options.temperature_K else ""
            how = "far off" if refined.severity == "warning" else "off"
            flags.append(f"The cell is {how} the refined one: {refined.words}{warm}.")
    tracer = transport.tracer_diffusivity_cm2_per_s
    summary = None if pathways.migration is None else summary_of(pathways.migration, tracer, pathways.crystal)
    result = RunAnalysis(
        name=name,
        transport=transport,
        mobile=mobile,
        framework=framework,
        drift=drift,
        charges=charges,
        charges_note=note,
        composition=composition,
        n_frames=len(trajectory.positions_A),
        frame_interval_ps=trajectory.frame_interval_ps,
        cell_A=np.asarray(trajectory.mean_cell_A),
        cell_varies=trajectory.cell_varies,
        largest_displacement_A=trajectory.largest_displacement_A,
        n_filled_frames=trajectory.n_filled,
        n_left_out_frames=trajectory.n_left_out,
        notices=trajectory.notices,
        mean_cell=cell,
        volumes=_volumes(trajectory),
        comparisons=_comparisons(composition, cell, options),
        refined=refined,
        density=(
            None
            if pathways.density is None
            else DensityMap.of(pathways.density, pathways.sites, options.isovalue_per_A3)
        ),
        migration=summary,
        migration_flags=pathways.flags if summary is None else summary.flags,
        observables=observables,
        flags=tuple(dict.fromkeys([*trajectory.flags, *flags, *transport.flags])),
    )
    return AnalysedTrajectory(result, trajectory, pathways.density, pathways.migration, pathways.crystal)


def _volumes(trajectory: UnwrappedTrajectory) -> VolumeTrace:
    """Thin the volumes of a run whose cell changes for a figure."""
    if not trajectory.cell_varies:
        return VolumeTrace()
    stride = max(1, len(trajectory.cells_A) // _TRACE_POINTS)
    volumes = np.abs(np.linalg.det(trajectory.cells_A[::stride])) / len(trajectory.symbols)
    times = np.arange(len(volumes)) * stride * trajectory.frame_interval_ps
    return VolumeTrace(tuple(times.tolist()), tuple(volumes.tolist()))


def _mobile(elements: Sequence[str], composition: Mapping[str, int]) -> tuple[str, ...]:
    if not elements:
        present = [ion for ion in MOBILE_IONS if ion in composition]
        if not present:
            raise AnalysisError(
                f"None of the atoms ({', '.join(composition)}) is known to conduct.",
                fix=f"Name the mobile ion: --mobile {next(iter(composition))}.",
            )
        return (present[0],)
    for element in elements:
        if element not in composition:
            raise AnalysisError(
                f"There is no {element} in the trajectory; it holds {', '.join(composition)}.",
                fix=f"Name one of these as the mobile ion: --mobile {next(iter(composition))}.",
            )
    return tuple(dict.fromkeys(elements))


def _framework(
    options: AnalysisOptions,
    composition: Mapping[str, int],
    symbols: npt.NDArray[np.str_],
    is_mobile: npt.NDArray[np.bool_],
) -> tuple[tuple[str, ...], npt.NDArray[np.bool_], Drift]:
    if options.drift is not None and options.drift not in DRIFTS:
        raise AnalysisError(f"There is no drift {options.drift!r}.", fix=f"Choose one of {', '.join(DRIFTS)}.")
    for element in options.framework:
        if element not in composition:
            raise AnalysisError(
                f"There is no {element} in the trajectory; it holds {', '.join(composition)}.",
                fix="Name elements of the framework that are present: --framework Y,Cl.",
            )
    is_framework = ~is_mobile & (np.isin(symbols, options.framework) if options.framework else True)
    nothing = np.zeros(len(symbols), dtype=bool)
    if not is_framework.any():
        if options.framework or options.drift in ("mass", "number"):
            raise AnalysisError(
                "There is no framework to define the drift: all atoms named are mobile.",
                fix="Choose --drift none, or name other atoms as the framework: --framework Y,Cl.",
            )
        return (), nothing, "none"
    if options.drift == "none":
        return (), nothing, "none"
    names = tuple(e for e in composition if bool((is_framework & (symbols == e)).any()))
    return names, is_framework, options.drift or "mass"


def _charges(
    options: AnalysisOptions, composition: Mapping[str, int], mobile: Sequence[str]
) -> tuple[dict[str, float], str, list[str]]:
    charges_given = dict(options.charges or {})
    for element in charges_given:
        if element not in composition:
            raise AnalysisError(
                f"A charge is given for {element}, which the trajectory does not hold ({', '.join(composition)}).",
                fix="Leave it out of --charges.",
            )
    if all(element in charges_given for element in mobile):
        rest = "" if len(charges_given) == len(composition) else "; the charges of the other atoms are not needed"
        return charges_given, f"given{rest}", []
    values: dict[str, float] = {}
    flags: list[str] = []
    try:
        states = find_oxidation_states(
            {e: float(n) for e, n in composition.items()}, charges_given or None, tolerance_e=None, mixed_valence=True
        )
    except CompositionError as error:
        note = error.message
    else:
        values = {e: float(q) for e, q in states.values.items()}
        note = states.note.replace("refined composition", "composition")
        if abs(states.net_charge_e) > _NEUTRAL_E * sum(composition.values()):
            flags.append(
                f"The guessed charges leave a net charge of {states.net_charge_e:+.3g} e: check them (--charges)."
            )
    lacking = [element for element in mobile if not values.get(element)]
    if lacking and all(element in _USUAL_CHARGES for element in lacking):
        usual = {element: _USUAL_CHARGES[element] for element in lacking}
        words = ", ".join(f"{e} {q:+g}" for e, q in usual.items())
        flags.append(
            f"The composition does not determine the charge of the mobile ion; the usual one was used: {words}."
        )
        values, lacking = {**values, **usual}, []
    if lacking:
        flags.append(f"No charge is known for {', '.join(lacking)}, so there is no conductivity: give --charges.")
        return {}, note, flags
    return values, note, flags


@dataclass(frozen=True, eq=False)
class _Pathways:
    """Density, sites and jumps of the mobile ions."""

    density: Density | None = None
    sites: tuple[FrameworkSite, ...] = ()
    migration: Migration | None = None
    crystal: CrystalSites | None = None
    flags: tuple[str, ...] = ()


def _find_pathways(
    trajectory: UnwrappedTrajectory,
    options: AnalysisOptions,
    mobile: Sequence[str],
    is_mobile: npt.NDArray[np.bool_],
    is_framework: npt.NDArray[np.bool_],
    masses: FloatArray,
    drift: Drift,
    anions: Sequence[str],
) -> _Pathways:
    """Count visits, average the other atoms, and follow ions from site to site, block by block."""
    positions, cell = trajectory.positions_A, trajectory.mean_cell_A
    columns, ions, others = np.flatnonzero(is_framework), np.flatnonzero(is_mobile), np.flatnonzero(~is_mobile)

    def blocks() -> Iterator[Block]:
        centre = FrameworkCentre(columns, masses[columns] if drift == "mass" else None) if len(columns) else None
        for start in range(0, len(positions), _BLOCK):
            block = np.asarray(positions[start : start + _BLOCK])
            # Positions are in the frame of the mean cell, whatever the instantaneous cell.
            yield block, cell, None if centre is None else centre.add(block)

    places = mean_places(blocks(), others)
    symbols = [trajectory.symbols[i] for i in others]
    inside = np.mod(places @ np.linalg.inv(cell), 1.0) @ cell
    sites = framework_sites(symbols, inside)
    flags: tuple[str, ...] = ()
    grid_A = options.density_grid_A or _DENSITY_GRID_A
    if options.sites != "none":
        known = None
        if not isinstance(options.sites, str):
            known = crystal_sites(options.sites, mobile, cell, symbols, places)
        try:
            migration = analyse_migration(
                blocks,
                ions,
                len(positions),
                trajectory.frame_interval_ps,
                options.temperature_K,
                sites=None if known is None else known.sites,
                operations=framework_symmetry(cell, symbols, places) if known is None else known.operations,
                anions_A=places[np.isin(symbols, anions)],
                grid_spacing_A=grid_A,
            )
        except AnalysisError as error:  # a run too short to show sites still has a diffusivity
            flags = (f"No sites: {error.message}",)
        else:
            return _Pathways(migration.density, sites, migration, known)
    counter = DensityCounter(cell, ions, grid_spacing_A=grid_A)
    for block, cells, moved in blocks():
        counter.add(block, cells, moved)
    return _Pathways(counter.result(), sites, flags=flags)


def _comparisons(
    composition: Mapping[str, int], cell: MeanCell | None, options: AnalysisOptions
) -> tuple[Comparison, ...]:
    """Compare the mean volume of a run at constant pressure with published ones at it, near its temperature."""
    from superionic.references.matching import PRESSURE_TOLERANCE_GPA
    from superionic.references.published import lookup

    temperature = options.temperature_K
    if cell is None or cell.volume_per_atom_A3 is None or temperature is None:
        return ()
    formula = "".join(f"{element}{count}" for element, count in composition.items())
    volume = cell.volume_per_atom_A3
    return tuple(
        compare(volume.value, published, error=volume.error)
        for published in lookup(formula, quantity="volume_per_atom")
        if published.temperature_K is not None
        and abs(published.temperature_K - temperature) <= _NEAR_K
        and abs((published.pressure_GPa or 0.0) - (options.pressure_GPa or 0.0)) <= PRESSURE_TOLERANCE_GPA
    )
