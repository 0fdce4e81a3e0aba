"""Results of the stages *transport* and *analyse*."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.enumeration.local_order import LocalOrder
from superionic.execution.runner import Failure
from superionic.potentials.repulsion import RepulsionCurve
from superionic.results.identity import Material, Ordering, Rows, Run
from superionic.shown import Shown
from superionic.training.on_policy import OwnFrames
from superionic.training.parity import Verdict
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
        Identity of the run.
    key
        Key of the task that describes its trajectory.
    ensemble, thermostat
        Ensemble and thermostat of the analysed part.
    length_ps, mean_temperature_K, n_atoms, n_mobile, volume_A3_per_atom
        Properties of the analysed part.
    lengths_A, angles_deg, supercell
        Cell of the analysed part, and its vectors (rows) in terms of those of the ordering's cell.
    npt
        Volume during the NPT part.
    mean_cell
        Mean cell of the NPT part after equilibration; None without an NPT part, or if it is too short.
    npt_drift
        Relative change of the volume between the last two quarters of the NPT part.
    worst_extrapolation
        Highest extrapolation grade of the student that drove the run; None for other potentials.
    flags
        Cautions, in sentences.
    own_frames
        The student that drove the run against its teacher, on frames of the run; None for other potentials, or where
        ``distil.production_frames`` is 0.
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
    own_frames: OwnFrames | None = None


@dataclass(frozen=True)
class RepulsionTest:
    """Pairs of atoms pushed together by the potential that drives runs.

    Attributes
    ----------
    ordering
        The relaxed ordering in which they are: the lowest that has all elements of the runs, or most of them.
    member
        Number of the member of a committee; None if there is one potential.
    curves
        One for each pair of elements that are neighbours.
    """

    ordering: Ordering
    member: int | None
    curves: tuple[RepulsionCurve, ...]


@dataclass(frozen=True, repr=False)
class TransportResult(Shown):
    """Molecular-dynamics runs by one potential.

    Attributes
    ----------
    potential
        Name, in the campaign, of the potential that drove them.
    runs
        Completed runs.
    failures
        Failed runs.
    series
        Name of this series of runs; empty where the campaign has one only.
    repulsion
        Test of the repulsion by each potential that drives them; one that failed is missing.
    verdict
        The students against their teacher on frames of these runs; None for other potentials.
    """

    potential: str
    runs: tuple[SimulatedRun, ...]
    failures: tuple[Failure, ...]
    series: str = ""
    repulsion: tuple[RepulsionTest, ...] = ()
    verdict: Verdict | None = None


@dataclass(frozen=True, eq=False, repr=False)
class AnalysedRun(Shown):
    """Transport in one run.

    Attributes
    ----------
    run
        Identity of the run.
    formula
        Reduced formula of its ordering.
    key
        Key of the task that analysed it.
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
        Key of the task that fitted it.
    n_runs
        Number of runs that it is based on.
    dependence
        Arrhenius line, values at the report temperatures, error budget, doubts.
    """

    material: Material
    formula: str
    key: str
    n_runs: int
    dependence: TemperatureDependence


@dataclass(frozen=True, eq=False)
class RunDensity:
    """The probability density of the mobile ions of one run.

    Attributes
    ----------
    run
        Identity of the run.
    key
        Key of the task that calculated it.
    grid
        Name of the grid, which the report receives beside the results.
    density
        All of the density but the grid.
    """

    run: Run
    key: str
    grid: str
    density: DensityMap


@dataclass(frozen=True, eq=False)
class MigrationRecord:
    """Migration of the mobile ions of one run.

    Attributes
    ----------
    run
        Identity of the run.
    key
        Key of the task that analysed it.
    migration
        Sites, jumps, percolation; None if they could not be determined.
    flags
        Cautions in sentences, including those of `migration`.
    """

    run: Run
    key: str
    migration: MigrationSummary | None
    flags: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RunObservables:
    """Observables of one run other than transport.

    Attributes
    ----------
    run
        Identity of the run.
    key
        Key of the task that calculated them.
    observables
        Vibrations, rotation of polyanions, pair distributions, as far as requested.
    """

    run: Run
    key: str
    observables: Observables


@dataclass(frozen=True)
class RunOrder:
    """Local order in one run.

    Attributes
    ----------
    run
        Identity of the run.
    key
        Key of the task that described it.
    order
        Mean over frames: coordination of all cations but the mobile ion; short-range order and occupancies on the
        sites of the crystal, each ion on the nearest.
    """

    run: Run
    key: str
    order: LocalOrder


@dataclass(frozen=True, eq=False, repr=False)
class AnalyseResult(Shown):
    """Diffusivities, conductivities, activation energies and paths.

    Attributes
    ----------
    mobile_ion, charge
        The mobile ion, and its charge in e.
    runs
        Transport in each run.
    arrhenius
        σ(T) of each material.
    densities, migration
        Probability density and migration in each run; empty unless requested.
    observables
        Further observables of each run; empty unless requested.
    failures
        Analyses that failed.
    drawn
        Runs whose density, sites and paths are drawn.
    orders
        Local order in each run of at most 3,000 atoms of a material with several anions, or with elements that share
        sites; empty unless sites of the crystal were requested.
    """

    mobile_ion: str
    charge: float
    runs: tuple[AnalysedRun, ...]
    arrhenius: tuple[MaterialTransport, ...]
    densities: tuple[RunDensity, ...]
    migration: tuple[MigrationRecord, ...]
    observables: tuple[RunObservables, ...]
    failures: tuple[Failure, ...]
    drawn: tuple[Run, ...] = ()
    orders: tuple[RunOrder, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class FurtherSeries(Shown):
    """A series of runs after the first, by another potential or at another pressure, analysed by itself.

    Attributes
    ----------
    name
        Name of the series.
    potential, pressure_GPa
        Name of the potential, and the pressure at which cells were equilibrated (None: the relaxed cells).
    not_run
        Why it has no runs, in words; empty if it has some.
    transport
        Its runs; None if it has none.
    analyse
        Transport in these, without densities, paths and further observables; None if it was not analysed.
    """

    name: str
    potential: str
    pressure_GPa: float | None
    not_run: str = ""
    transport: TransportResult | None = None
    analyse: AnalyseResult | None = None
