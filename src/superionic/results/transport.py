"""What the stages *transport* and *analyse* give."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure
from superionic.results.identity import Material, Rows, Run
from superionic.shown import Shown
from superionic.transport.analysis import TransportAnalysis
from superionic.transport.conductivity.of_temperature import TemperatureDependence
from superionic.transport.density.map import DensityMap
from superionic.transport.observables.together import Observables
from superionic.transport.observables.volumes import MeanCell, VolumeTrace
from superionic.transport.sites.migration_summary import MigrationSummary


@dataclass(frozen=True)
class SimulatedRun:
    """One molecular-dynamics run.

    Attributes
    ----------
    run
        Which one.
    formula
        Of its ordering.
    key
        Of the task that describes its trajectory.
    ensemble, thermostat
        Of the part that is analysed.
    length_ps, mean_temperature_K, n_atoms, n_mobile, volume_A3_per_atom
        Of that part.
    lengths_A, angles_deg, supercell
        Cell of that part, and how often it repeats the cell of the ordering: rows are its vectors.
    npt
        Volume on the way through the NPT part.
    mean_cell
        Mean cell of the NPT part, equilibration left out; None without one, or where it is too short to tell.
    npt_drift
        Relative change of the volume between the last two quarters of the NPT part.
    worst_extrapolation
        Highest extrapolation grade of a student that drove; None for other potentials.
    flags
        Sentences for the reader.
    """

    run: Run
    formula: str
    key: str
    ensemble: str
    thermostat: str
    length_ps: float
    mean_temperature_K: float
    n_atoms: int
    n_mobile: int
    volume_A3_per_atom: float
    lengths_A: tuple[float, float, float]
    angles_deg: tuple[float, float, float]
    supercell: Rows
    npt: VolumeTrace
    mean_cell: MeanCell | None
    npt_drift: float | None
    worst_extrapolation: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class TransportResult(Shown):
    """Molecular-dynamics runs by one potential.

    Attributes
    ----------
    potential
        Name, in the campaign, of what drove them.
    runs
        Those that came to their end.
    failures
        Those that did not.
    """

    potential: str
    runs: tuple[SimulatedRun, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, eq=False, repr=False)
class AnalysedRun(Shown):
    """What one run says about transport.

    Attributes
    ----------
    run
        Which one.
    formula
        Reduced formula of its ordering.
    key
        Of the task that analysed it.
    analysis
        Diffusivities, Haven ratio, conductivities; displacements at 200 lags at most.
    """

    run: Run
    formula: str
    key: str
    analysis: TransportAnalysis


@dataclass(frozen=True, eq=False, repr=False)
class MaterialTransport(Shown):
    """σ(T) of one material, from all its runs.

    Attributes
    ----------
    material
        Crystal and composition.
    formula
        Its reduced formula.
    key
        Of the task that fitted it.
    n_runs
        How many runs it rests on.
    dependence
        Line, values at the report temperatures, budget of errors, doubts.
    """

    material: Material
    formula: str
    key: str
    n_runs: int
    dependence: TemperatureDependence


@dataclass(frozen=True, eq=False)
class RunDensity:
    """Where the mobile ions of one run were.

    Attributes
    ----------
    run
        Which one.
    key
        Of the task that counted.
    grid
        Name of the grid, which is handed to the report beside the results.
    density
        All but the grid.
    """

    run: Run
    key: str
    grid: str
    density: DensityMap


@dataclass(frozen=True, eq=False)
class MigrationRecord:
    """Where the mobile ions of one run go.

    Attributes
    ----------
    run
        Which one.
    key
        Of the task that followed them.
    migration
        Sites, jumps, percolation; None where that cannot be told.
    flags
        Sentences for the reader, those of `migration` among them.
    """

    run: Run
    key: str
    migration: MigrationSummary | None
    flags: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RunObservables:
    """What one run shows besides transport.

    Attributes
    ----------
    run
        Which one.
    key
        Of the task that looked.
    observables
        Vibrations, rotation of polyanions, pair distributions, as far as they were asked for.
    """

    run: Run
    key: str
    observables: Observables


@dataclass(frozen=True, eq=False, repr=False)
class AnalyseResult(Shown):
    """Diffusivities, conductivities, activation energies and paths.

    Attributes
    ----------
    mobile_ion, charge
        What conducts, and its charge in e.
    runs
        Each run.
    arrhenius
        Each material over its temperatures.
    densities, migration
        Where ions are and where they go, run by run; empty where nobody asked.
    observables
        What runs show besides; empty where nobody asked.
    failures
        What could not be analysed.
    """

    mobile_ion: str
    charge: float
    runs: tuple[AnalysedRun, ...]
    arrhenius: tuple[MaterialTransport, ...]
    densities: tuple[RunDensity, ...]
    migration: tuple[MigrationRecord, ...]
    observables: tuple[RunObservables, ...]
    failures: tuple[Failure, ...]
