"""Results of the stage *volumes*: cells against temperature."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.execution.runner import Failure
from superionic.results.identity import Ordering, Rows, Run
from superionic.shown import Shown
from superionic.transport.observables.volumes import MeanCell, ThermalExpansion, VolumeTrace


@dataclass(frozen=True)
class VolumeRun:
    """One run at constant pressure.

    Attributes
    ----------
    run
        Identity of the run.
    formula
        Formula of its ordering.
    key
        Key of the task that described it.
    n_atoms, supercell
        Atoms of its cell, and its vectors (rows) in terms of those of the ordering's cell.
    length_ps
        Length at constant pressure.
    mean_cell
        Mean cell without the first part.
    trace
        Volume over time.
    drift
        Relative change of the volume between the last two quarters; None for a few frames.
    flags
        Cautions, in sentences.
    """

    run: Run
    formula: str
    key: str
    n_atoms: int
    supercell: Rows
    length_ps: float
    mean_cell: MeanCell
    trace: VolumeTrace
    drift: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class RelaxedCell:
    """The cell of an ordering at 0 K, relaxed by the potential that drove the runs.

    Attributes
    ----------
    ordering, formula
        The ordering, and its formula.
    key
        Key of the task that relaxed it.
    lengths_A, angles_deg
        a, b, c and α, β, γ of its cell, repeated as in the runs.
    volume_A3_per_atom
        Volume per atom.
    converged
        Whether the largest force fell below the threshold.
    """

    ordering: Ordering
    formula: str
    key: str
    lengths_A: tuple[float, float, float]
    angles_deg: tuple[float, float, float]
    volume_A3_per_atom: float
    converged: bool


@dataclass(frozen=True)
class OrderingExpansion:
    """Thermal expansion of an ordering, from a line through the volumes per atom of its runs."""

    ordering: Ordering
    formula: str
    expansion: ThermalExpansion


@dataclass(frozen=True, repr=False)
class VolumesResult(Shown):
    """Cells against temperature by one potential at one pressure.

    Attributes
    ----------
    potential
        Name, in the campaign, of the potential.
    pressure_GPa
        The pressure.
    runs
        Runs at constant pressure.
    relaxed
        Relaxed cells.
    expansions
        Thermal expansion of each ordering that was run at two temperatures or more.
    failures
        Runs and relaxations that failed.
    """

    potential: str
    pressure_GPa: float
    runs: tuple[VolumeRun, ...]
    relaxed: tuple[RelaxedCell, ...]
    expansions: tuple[OrderingExpansion, ...]
    failures: tuple[Failure, ...]
