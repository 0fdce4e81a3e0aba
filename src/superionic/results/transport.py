"""What the stages *transport* and *analyse* give."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure
from superionic.results.identity import Run
from superionic.transport.volumes import MeanCell


@dataclass(frozen=True)
class VolumeTrace:
    """Volume on the way through the NPT part of a run, thinned for a figure; empty without such a part."""

    time_ps: tuple[float, ...] = ()
    volume_A3_per_atom: tuple[float, ...] = ()


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
    npt: VolumeTrace
    mean_cell: MeanCell | None
    npt_drift: float | None
    worst_extrapolation: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class TransportResult:
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


@dataclass(frozen=True)
class AnalyseResult:
    """Diffusivities, conductivities, activation energies and paths."""

    failures: tuple[Failure, ...]
