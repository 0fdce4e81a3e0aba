"""Results of ``superionic analyse``, from the user's own trajectories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from superionic.execution.codec import plain_json, to_tree
from superionic.results.document import read_file, to_json
from superionic.results.identity import Material, Run
from superionic.shown import Shown
from superionic.trajectories.analysis import RunAnalysis
from superionic.transport.conductivity.of_temperature import TemperatureDependence
from superionic.transport.estimate import Estimate
from superionic.transport.observables.volumes import ThermalExpansion

if TYPE_CHECKING:
    from superionic.transport.conductivity.posterior import TransportSamples

ANALYSIS: Final = "superionic analysis"
"""The format stated in the file ``result.json``."""


@dataclass(frozen=True, repr=False)
class PooledTransport(Shown):
    """Averages over replicas, weighted by ions × time; their scatter is in the errors.

    Attributes are those of :class:`superionic.transport.analysis.TransportAnalysis`.
    """

    tracer_diffusivity_cm2_per_s: Estimate
    charge_diffusivity_cm2_per_s: Estimate
    haven_ratio: Estimate
    nernst_einstein_conductivity_S_per_cm: Estimate | None
    ionic_conductivity_S_per_cm: Estimate | None


@dataclass(frozen=True, eq=False, repr=False)
class SeriesOfRuns(Shown):
    """σ(T) of runs at several temperatures.

    Attributes
    ----------
    material
        Their material, if they are runs of a campaign; None for files, which are assumed to be of one structure.
    dependence
        Arrhenius line, values at the report temperatures, error budget, doubts.
    series
        Name of the campaign's series of runs; empty for files, and where the campaign has one only.
    """

    material: Material | None
    formula: str
    dependence: TemperatureDependence
    series: str = ""

    @property
    def label(self) -> str:
        """Name of material and series; the formula for files."""
        name = self.formula if self.material is None else self.material.label
        return f"{name} ({self.series})" if self.series else name


@dataclass(frozen=True, eq=False, repr=False)
class Analysis(Shown):
    """The analysis of one trajectory, of replicas, or of runs at several temperatures.

    Attributes
    ----------
    superionic
        Version of the program.
    runs
        Analysis of each run, in the order of the files.
    identities
        Identities of the runs of a campaign, in the same order; empty for files.
    pooled
        Averages over replicas; None unless there are several runs at one temperature.
    arrhenius
        Activation energy and conductivity at other temperatures, one for each material (and series of runs of the
        campaign); empty unless requested.
    expansion
        Thermal expansion from runs at constant pressure and several temperatures; None without.
    """

    superionic: str
    runs: tuple[RunAnalysis, ...]
    identities: tuple[Run, ...]
    pooled: PooledTransport | None
    arrhenius: tuple[SeriesOfRuns, ...]
    expansion: ThermalExpansion | None

    def __eq__(self, other: object) -> bool:
        # Arrays compare element by element, so compare the JSON of both.
        return isinstance(other, Analysis) and plain_json(to_tree(self)) == plain_json(to_tree(other))

    __hash__ = None  # type: ignore[assignment]

    def samples(self, n: int, *, seed: int = 0) -> tuple[TransportSamples, ...]:
        """Draw from the posterior of D*, D_σ, σ and, for several temperatures, Ea and ln D₀.

        Parameters
        ----------
        n
            Number of draws, up to a million.
        seed
            The same seed gives the same draws.

        Returns
        -------
        tuple of TransportSamples
            One for each series of temperatures (in `arrhenius`); without a series, one for all replicas together, or
            one for each run.
        """
        from superionic.transport.conductivity.posterior import samples_of_estimates

        if self.arrhenius:
            return tuple(series.dependence.samples(n, seed=seed) for series in self.arrhenius)
        known = [run.transport for run in self.runs]
        return tuple(
            samples_of_estimates(
                temperature,
                each.tracer_diffusivity_cm2_per_s,
                each.charge_diffusivity_cm2_per_s,
                each.haven_ratio,
                each.nernst_einstein_conductivity_S_per_cm,
                n,
                seed=seed,
            )
            for temperature, each in (
                [(run.temperature_K, run) for run in known]
                if self.pooled is None
                else [(known[0].temperature_K, self.pooled)]
            )
        )

    def to_json(self) -> str:
        """Return the text of ``result.json``: the same results give the same bytes."""
        return to_json(self, kind=ANALYSIS)

    def _facts(self) -> Iterator[tuple[str, str]]:
        for series in self.arrhenius:
            yield series.label, ""
            yield from series.dependence._facts()
        if self.pooled is not None:
            yield f"{len(self.runs)} replicas", "of " + self.runs[0].formula
            yield from self.pooled._facts()
        elif not self.arrhenius:
            for run in self.runs:
                yield from run._facts()


def read_analysis(path: Path | str) -> Analysis:
    """Read the ``result.json`` of an analysis.

    Raises
    ------
    StorageError
        If it is no such file, or of another version; the message says what to do.
    """
    return read_file(path, Analysis, kind=ANALYSIS, fix="run `superionic analyse --out` first")
