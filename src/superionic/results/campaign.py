"""The results of a campaign: what ``results.json`` holds and :meth:`superionic.campaign.run.Campaign.run` returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeVar

import numpy as np

from superionic.execution.codec import plain_json, to_tree
from superionic.results.cells import CellComparison
from superionic.results.draws import DrawsResult
from superionic.results.further import StageResult
from superionic.results.learning import (
    LabelResult,
    LearningResult,
    RungComparison,
    SampleResult,
    TrainResult,
    ValidateResult,
)
from superionic.results.orderings import EnumerateResult
from superionic.results.ranking import RankResult
from superionic.results.sizes import SizesResult
from superionic.results.stability import HullResult, SelectResult
from superionic.results.student import DistilResult
from superionic.results.teachers import FurtherTeacher
from superionic.results.transport import AnalyseResult, FurtherSeries, TransportResult
from superionic.results.volumes import VolumesResult
from superionic.shown import Shown
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.crystal.refined_cell import RefinedCell

R = TypeVar("R", bound=StageResult)
_LATTICE_POINTS: Final = {"P": 1, "A": 2, "B": 2, "C": 2, "I": 2, "R": 3, "F": 4}
"""Of a conventional cell, by its centring."""
Severity = Literal["info", "caution", "warning"]
Status = Literal["complete", "incomplete", "student failed parity", "refused: student failed parity"]


@dataclass(frozen=True)
class Statement:
    """Something that a reader must know before using the numbers.

    Attributes
    ----------
    severity
        How serious it is.
    words
        The statement, in sentences.
    short
        A short form for the summary; empty if the statement does not belong there.
    """

    severity: Severity
    words: str
    short: str = ""


@dataclass(frozen=True)
class CrystalSites:
    """The sites of one crystallographic orbit of a crystal.

    Attributes
    ----------
    name
        Label of the site in its file.
    position
        Wyckoff position: its sites in the conventional cell and its letter, such as ``"4h"``.
    occupancies
        Occupancy of each species on each of the sites.
    vacancy
        Fraction of vacancies.
    charge
        Mean formal charge of what occupies a site, in e.
    fractional
        Fractional coordinates of the sites.
    """

    name: str
    position: str
    occupancies: Mapping[str, float]
    vacancy: float
    charge: float
    fractional: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class CrystalSummary:
    """One crystal of the campaign, as it was read.

    Attributes
    ----------
    name
        Name in the campaign file.
    formula
        Formula as refined.
    spacegroup
        Hermann–Mauguin symbol.
    spacegroup_number
        1 to 230.
    source
        Name of its file.
    cell
        Its cell as refined.
    cell_vectors_A
        Lattice vectors as rows, in Å.
    sites
        Its sites, orbit by orbit.
    """

    name: str
    formula: str
    spacegroup: str
    spacegroup_number: int
    source: str
    cell: RefinedCell
    cell_vectors_A: tuple[tuple[float, float, float], ...]
    sites: tuple[CrystalSites, ...]

    @classmethod
    def of(
        cls,
        crystal: DisorderedCrystal,
        *,
        name: str,
        source: str,
        primitive: bool,
        oxidation_states: Mapping[str, float],
    ) -> CrystalSummary:
        """Describe a crystal, of whose cell, or primitive cell, supercells are made."""
        # Wyckoff positions are named by their sites in the conventional cell, whatever the cell of the crystal is.
        points = sum(np.array_equal(rotation, np.eye(3)) for rotation in crystal.rotations)
        times = _LATTICE_POINTS.get(crystal.spacegroup_symbol[:1], 1) / max(1, points)
        return cls(
            name=name,
            formula=crystal.formula,
            spacegroup=crystal.spacegroup_symbol,
            spacegroup_number=crystal.spacegroup_number,
            source=source,
            cell=RefinedCell.of(crystal, primitive=primitive),
            cell_vectors_A=tuple((x, y, z) for x, y, z in crystal.cell_A.tolist()),
            sites=tuple(
                CrystalSites(
                    name=each.name,
                    position=f"{round(times * each.multiplicity)}{each.wyckoff}",
                    occupancies=dict(each.species),
                    vacancy=each.vacancy,
                    charge=sum(amount * oxidation_states[species] for species, amount in each.species.items()),
                    fractional=tuple(crystal.sites[index].fractional for index in each.sites),
                )
                for each in crystal.sublattices
            ),
        )


@dataclass(frozen=True)
class AxisSummary:
    """One composition axis, as stated in the campaign file.

    Attributes
    ----------
    axis
        The substituting element, after which :class:`superionic.results.identity.AxisValue` names the axis.
    replace
        The element replaced.
    formula_unit
        Formula unit in which the axis counts atoms.
    values
        Points of the grid.
    along
        Substitutions that accompany this one, as pairs ``(replaced, by)``.
    """

    axis: str
    replace: str
    formula_unit: str
    values: tuple[float, ...]
    along: tuple[tuple[str, str], ...] = ()

    @property
    def replacements(self) -> tuple[tuple[str, str], ...]:
        """Pairs of elements that replace each other along it."""
        return ((self.replace, self.axis), *self.along)


@dataclass(frozen=True, eq=False, repr=False)
class Results(Shown):
    """All results of a campaign so far; without dates and timings, so that equal campaigns have equal results.

    Attributes
    ----------
    superionic
        Version of the program.
    campaign, title
        Name in the campaign file, and title of the report.
    status
        Whether the campaign is complete and its results valid.
    mobile_ion, charge
        The mobile ion, and its charge in e.
    crystals, axes
        The crystals and composition axes studied.
    warnings
        What is missing.
    statements
        How far to trust the numbers, the most serious first.
    enumerate … analyse
        Result of each stage; None if it has not run. Stages that run in rounds have one result for each round; ranking
        and hull have one by the first potential and, if the campaign requests it, one by the fine-tuned potential.
    cells
        Relaxed cells, and those of runs at constant pressure, compared with the refined ones.
    learning
        How the active loop ended; None for other strategies.
    settings
        Settings of each stage as plain values.
    rungs
        The potentials of all rungs of a ladder on the same test sets; None where they are not compared.
    volumes
        Cells against temperature; None where the campaign leaves the stage out.
    further
        Results of stages of one folder that have run, in the order of the stages (:meth:`further_result`).
    teachers
        Students of further teachers, and their transport; those of the first are in `distil`, `transport`, `analyse`.
    draws
        Orderings of large cells drawn at a temperature, and transport in them; None where the campaign draws none.
    series
        Series of runs after the first, which is in `transport` and `analyse`.
    further_volumes
        Cells against temperature by the potentials and at the pressures of other series of runs.
    sizes
        Potentials trained on some of the labels, beside that of all; None where the campaign trains none.
    """

    superionic: str
    campaign: str
    title: str
    status: Status
    mobile_ion: str
    charge: float
    crystals: tuple[CrystalSummary, ...]
    axes: tuple[AxisSummary, ...]
    warnings: tuple[str, ...]
    statements: tuple[Statement, ...]
    enumerate: EnumerateResult | None
    rank: tuple[RankResult, ...]
    hull: tuple[HullResult, ...]
    select: SelectResult | None
    sample: tuple[SampleResult, ...]
    learning: LearningResult | None
    label: tuple[LabelResult, ...]
    train: tuple[TrainResult, ...]
    validate: ValidateResult | None
    distil: DistilResult | None
    transport: TransportResult | None
    cells: tuple[CellComparison, ...]
    analyse: AnalyseResult | None
    settings: Mapping[str, Any]
    rungs: RungComparison | None = None
    volumes: VolumesResult | None = None
    further: tuple[StageResult, ...] = ()
    teachers: tuple[FurtherTeacher, ...] = ()
    draws: DrawsResult | None = None
    series: tuple[FurtherSeries, ...] = ()
    further_volumes: tuple[VolumesResult, ...] = ()
    sizes: SizesResult | None = None

    @property
    def volumes_of_each(self) -> tuple[VolumesResult, ...]:
        """Cells against temperature, by each potential and at each pressure."""
        return (() if self.volumes is None else (self.volumes,)) + self.further_volumes

    @property
    def of_each_series(self) -> tuple[Results, ...]:
        """The results with one series of runs at a time, as if the campaign had no other; that of the first first."""
        alone = replace(self, series=())
        bare = replace(alone, teachers=(), cells=(), draws=None)
        return (alone, *(replace(bare, transport=series.transport, analyse=series.analyse) for series in self.series))

    @property
    def trained(self) -> TrainResult | None:
        """The training whose potential went on: that of the last round, or of the best rung of a ladder."""
        going_on = None if self.rungs is None else self.rungs.goes_on
        return next((train for train in reversed(self.train) if going_on in (None, train.round)), None)

    def further_result(self, kind: type[R]) -> R | None:
        """Return the result of a stage of one folder by its class; None if the stage has not run."""
        return next((result for result in self.further if isinstance(result, kind)), None)

    def __eq__(self, other: object) -> bool:
        # Arrays compare element by element, so compare the JSON of both.
        return isinstance(other, Results) and plain_json(to_tree(self)) == plain_json(to_tree(other))

    __hash__ = None  # type: ignore[assignment]

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield self.campaign, f"({self.status}): {', '.join(crystal.formula for crystal in self.crystals)}"
        for hull in self.hull[-1:]:
            yield "stable", f"{sum(entry.stable for entry in hull.entries)} of {len(hull.entries)} by {hull.potential}"
        for each in () if self.analyse is None else self.analyse.arrhenius:
            yield each.formula, ""
            yield from each.dependence._facts()
        severities = [statement.severity for statement in self.statements]
        yield "warnings", f"{severities.count('warning')}, cautions {severities.count('caution')} (.statements)"
