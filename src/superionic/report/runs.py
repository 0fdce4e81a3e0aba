"""Runs and conductivities, from a campaign or the user's own files, with their names in figures, tables and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from superionic.references.values import PublishedValue
from superionic.report.composition_axes import material_columns, ordering_cells, unit_formula
from superionic.report.csv_tables import CsvCell
from superionic.report.plots import GREY, heat_colours
from superionic.report.words import formula_text
from superionic.results.analysis import Analysis
from superionic.results.campaign import Results
from superionic.results.identity import Material, Ordering, Run
from superionic.results.transport import AnalysedRun, MaterialTransport, SimulatedRun
from superionic.transport.conductivity.of_temperature import TemperatureDependence

T = TypeVar("T")

FILE_COLUMNS: Final = ("run", "temperature_K")


def materials(results: Results) -> tuple[MaterialTransport, ...]:
    """Return σ(T) of every material; empty if transport was not analysed."""
    return results.analyse.arrhenius if results.analyse is not None else ()


def analysed(results: Results) -> tuple[AnalysedRun, ...]:
    """Return every analysed run; empty if transport was not analysed."""
    return results.analyse.runs if results.analyse is not None else ()


def simulated(results: Results) -> tuple[SimulatedRun, ...]:
    """Return every run of the stage *transport*; empty without that stage."""
    return results.transport.runs if results.transport is not None else ()


@dataclass(frozen=True)
class RunName:
    """The names of one run.

    Attributes
    ----------
    group
        Name shared by the runs of one structure: the title of their panel.
    label
        Its own name, unique in the report.
    temperature_K
        Its temperature; None if unknown.
    cells
        The cells that identify it in files.
    """

    group: str
    label: str
    temperature_K: float | None
    cells: tuple[CsvCell, ...]

    @property
    def in_group(self) -> str:
        """Name that distinguishes it within its group."""
        return self.label if self.temperature_K is None else f"{self.temperature_K:g} K"

    @property
    def title(self) -> str:
        """Group and temperature."""
        return self.group if self.temperature_K is None else f"{self.group} at {self.temperature_K:g} K"


@dataclass(frozen=True)
class NamedRuns(Generic[T]):
    """One item for each run, with the names of the runs.

    Attributes
    ----------
    columns
        Names of the columns that identify a run in files.
    items
        Names and items, in the order of the results.
    """

    columns: tuple[str, ...]
    items: tuple[tuple[RunName, T], ...]

    def __bool__(self) -> bool:
        return bool(self.items)

    def groups(self) -> dict[str, list[tuple[RunName, T]]]:
        """Return the runs of each group, in the order of first appearance."""
        groups: dict[str, list[tuple[RunName, T]]] = {}
        for name, item in self.items:
            groups.setdefault(name.group, []).append((name, item))
        return groups

    def hottest(self) -> list[tuple[RunName, T]]:
        """Return the hottest run of each group; of several, the first."""
        return [max(members, key=lambda each: each[0].temperature_K or 0.0) for members in self.groups().values()]

    def colour_of(self, name: RunName) -> str:
        """Return the colour of a run's temperature among all runs."""
        known = [each.temperature_K for each, _ in self.items if each.temperature_K is not None]
        return GREY if name.temperature_K is None else heat_colours(known)[name.temperature_K]


def runs_of_campaign(results: Results, runs: Iterable[tuple[Run, T]]) -> NamedRuns[T]:
    """Name runs of a campaign."""
    names = ordering_names(results)
    columns = (
        "run", *material_columns(results), "ordering", "temperature_K", "replica",
        "potential", "member", "pressure_GPa",
    )  # fmt: skip

    def name(run: Run) -> RunName:
        cells = (
            run.label, *ordering_cells(results, run.ordering), run.temperature_K, run.replica, run.potential,
            run.member, run.pressure_GPa,
        )  # fmt: skip
        return RunName(names.get(run.ordering, run.ordering.id), run.label, run.temperature_K, cells)

    return NamedRuns(columns, tuple((name(run), item) for run, item in runs))


def runs_of_files(analysis: Analysis, items: Sequence[T]) -> NamedRuns[T]:
    """Name the runs of an analysis, one item for each."""
    one_structure = len({run.formula for run in analysis.runs}) == 1 and not analysis.identities
    names = []
    for number, run in enumerate(analysis.runs):
        temperature = run.transport.temperature_K
        group = formula_text(run.formula) if one_structure else run.name
        if analysis.identities:
            identity = analysis.identities[number]
            group = identity.ordering.id + (f" ({identity.series})" if identity.series else "")
        names.append(RunName(group, run.name, temperature, (run.name, temperature)))
    return NamedRuns(FILE_COLUMNS, tuple(zip(names, items, strict=True)))


def ordering_names(results: Results) -> dict[Ordering, str]:
    """Name the simulated orderings by formula and, where needed, by crystal or identity."""
    formulas = {each.run.ordering: unit_formula(results, each.formula) for each in simulated(results)}
    return _names({ordering: (formulas[ordering], ordering.material.crystal, ordering.id) for ordering in formulas})


def material_names(results: Results) -> dict[Material, str]:
    """Name the materials with conductivities by formula and, if several share it, by crystal or identity."""
    formulas = {each.material: unit_formula(results, each.formula) for each in materials(results)}
    return _names({material: (formulas[material], material.crystal, material.label) for material in formulas})


def _names(known: Mapping[T, tuple[str, str, str]]) -> dict[T, str]:
    """Return names from formula, crystal and identity, using as few of these as make them unique."""
    formulas = Counter(formula for formula, _, _ in known.values())
    crystals = Counter((formula, crystal) for formula, crystal, _ in known.values())
    return {
        each: formula
        if formulas[formula] == 1
        else f"{formula} ({crystal})"
        if crystals[formula, crystal] == 1
        else f"{formula} · {identity}"
        for each, (formula, crystal, identity) in known.items()
    }


@dataclass(frozen=True)
class NamedDependence:
    """σ(T) with its names.

    Attributes
    ----------
    name
        Name in figures and tables.
    cells
        The cells that identify it in files.
    dependence
        Arrhenius line, values, error budget, doubts.
    published
        Published conductivities and activation energies of the material.
    """

    name: str
    cells: tuple[CsvCell, ...]
    dependence: TemperatureDependence
    published: tuple[PublishedValue, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """Doubts, and flags that no doubt repeats."""
        doubts = [doubt.words for doubt in self.dependence.doubts]
        return doubts + [flag for flag in self.dependence.flags if not any(flag in words for words in doubts)]
