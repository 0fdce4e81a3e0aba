"""Part of the stage *analyse*: vibrations, rotation of polyanions and pair distributions of each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from superionic.execution.runner import Failure
from superionic.execution.task import Context, task
from superionic.results.transport import RunObservables
from superionic.stages.base import FloatArray, Trajectory, TransportRun, Workbench, failures_of
from superionic.transport.observables.together import Observables

if TYPE_CHECKING:
    from superionic.settings.analyse import AnalyseSettings

KNOWN_AS = "superionic.stages.analyse_observables"  # its name in keys, from before it moved here


def observed_runs(
    settings: AnalyseSettings, bench: Workbench, runs: Sequence[TransportRun]
) -> tuple[tuple[RunObservables, ...], tuple[Failure, ...]]:
    """Calculate the requested observables besides transport; return them and the failures.

    Parameters
    ----------
    settings
        The ``analyse`` section.
    runs
        Runs of the stage *transport* whose transport was analysed.
    """
    if not settings.observables:
        return (), ()
    tasks = [
        bench.task(
            f"{', '.join(settings.observables)} in {each.run.label}",
            observables_task.of(
                frame_interval_ps=each.frame_interval_ps,
                mobile_ion=bench.mobile_ion,
                observables=list(settings.observables),
                temperature_K=each.run.temperature_K,
                positions=each.positions_A,
                run=each.trajectory,
            ),
        )
        for each in runs
    ]
    outcomes = bench.runner.gather(tasks)
    observed = tuple(
        RunObservables(each.run, outcome.task.key, outcome.value)
        for each, outcome in zip(runs, outcomes, strict=True)
        if outcome.ok
    )
    return observed, failures_of(outcomes)


# ---- task functions -----------------------------------------------------------------------------------------------


@task(version=1)
def observables_task(
    _context: Context,
    *,
    frame_interval_ps: float,
    mobile_ion: str,
    observables: Sequence[str],
    temperature_K: float,
    positions: Sequence[FloatArray],
    run: Trajectory,
) -> Observables:
    """Calculate the observables of one run."""
    from ase.data import atomic_masses, chemical_symbols

    from superionic.transport.observables.together import observe

    symbols = [chemical_symbols[number] for number in run.numbers]
    return observe(
        np.concatenate(positions),
        np.asarray(run.cell_A, dtype=np.float64),
        symbols,
        (mobile_ion,),
        frame_interval_ps,
        observables=tuple(observables),
        temperature_K=temperature_K,
        reference=np.array([symbol != mobile_ion for symbol in symbols]),
        masses=atomic_masses[run.numbers],
    )
