"""How runs are called in figures, tables and files, be they of a campaign or of files that a user has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from superionic.report.composition_axes import axis_column, axis_values, unit_formula
from superionic.report.csv_tables import CsvCell
from superionic.report.plots import GREY, heat_colours
from superionic.report.words import formula_text
from superionic.results.analysis import Analysis
from superionic.results.campaign import Results
from superionic.results.identity import Material, Ordering, Run

T = TypeVar("T")

FILE_COLUMNS: Final = ("run", "temperature_K")


@dataclass(frozen=True)
class RunName:
    """The names of one run.

    Attributes
    ----------
    group
        What runs of one structure share: the title of their panel.
    label
        Its own, unique in the report.
    temperature_K
        None where it is not known.
    cells
        Its identity in files.
    """

    group: str
    label: str
    temperature_K: float | None
    cells: tuple[CsvCell, ...]

    @property
    def in_group(self) -> str:
        """What tells it from the others of its group."""
        return self.label if self.temperature_K is None else f"{self.temperature_K:g} K"

    @property
    def title(self) -> str:
        """Group and temperature."""
        return self.group if self.temperature_K is None else f"{self.group} at {self.temperature_K:g} K"


@dataclass(frozen=True)
class NamedRuns(Generic[T]):
    """Something of each run, with the names of the runs.

    Attributes
    ----------
    columns
        Names of the columns that hold the identity of a run in files.
    items
        Runs, in the order of the results.
    """

    columns: tuple[str, ...]
    items: tuple[tuple[RunName, T], ...]

    def __bool__(self) -> bool:
        return bool(self.items)

    def groups(self) -> dict[str, list[tuple[RunName, T]]]:
        """Return the runs of each group, in the order of first appearance."""
        found: dict[str, list[tuple[RunName, T]]] = {}
        for name, item in self.items:
            found.setdefault(name.group, []).append((name, item))
        return found

    def hottest(self) -> list[tuple[RunName, T]]:
        """Return the hottest run of each group, the first of several."""
        return [max(members, key=lambda each: each[0].temperature_K or 0.0) for members in self.groups().values()]

    def colour_of(self, name: RunName) -> str:
        """Return the colour of a run's temperature among all runs."""
        known = [each.temperature_K for each, _ in self.items if each.temperature_K is not None]
        return GREY if name.temperature_K is None else heat_colours(known)[name.temperature_K]


def runs_of_campaign(results: Results, runs: Iterable[tuple[Run, T]]) -> NamedRuns[T]:
    """Name runs of a campaign."""
    names = ordering_names(results)
    columns = (
        "run", "crystal", *(axis_column(axis) for axis in results.axes), "ordering", "temperature_K", "replica",
        "potential", "member", "pressure_GPa",
    )  # fmt: skip
    return NamedRuns(
        columns,
        tuple(
            (
                RunName(
                    names.get(run.ordering, run.ordering.id),
                    run.label,
                    run.temperature_K,
                    (
                        run.label,
                        run.ordering.material.crystal,
                        *axis_values(results, run.ordering.material),
                        run.ordering.id,
                        run.temperature_K,
                        run.replica,
                        run.potential,
                        run.member,
                        run.pressure_GPa,
                    ),
                ),
                item,
            )
            for run, item in runs
        ),
    )


def runs_of_files(analysis: Analysis, items: Sequence[T]) -> NamedRuns[T]:
    """Name the runs of an analysis, one item for each."""
    one_structure = len({run.formula for run in analysis.runs}) == 1 and not analysis.identities
    names = []
    for number, run in enumerate(analysis.runs):
        temperature = run.transport.temperature_K
        group = formula_text(run.formula) if one_structure else run.name
        if analysis.identities:
            group = analysis.identities[number].ordering.id
        names.append(RunName(group, run.name, temperature, (run.name, temperature)))
    return NamedRuns(FILE_COLUMNS, tuple(zip(names, items, strict=True)))


def ordering_names(results: Results) -> dict[Ordering, str]:
    """Name the orderings that molecular dynamics was run for: by the formula, and by what tells it from the others."""
    formulas: dict[Ordering, str] = {}
    if results.transport is not None:
        formulas |= {each.run.ordering: unit_formula(results, each.formula) for each in results.transport.runs}
    return {
        ordering: _name(formula, ordering.material.crystal, ordering.id, list(formulas.values()), same_crystal)
        for ordering, formula in formulas.items()
        for same_crystal in [
            sum(f == formula and o.material.crystal == ordering.material.crystal for o, f in formulas.items())
        ]
    }


def material_names(results: Results) -> dict[Material, str]:
    """Name the materials whose conductivities are known: by the formula, and the crystal where several share it."""
    if results.analyse is None:
        return {}
    formulas = {each.material: unit_formula(results, each.formula) for each in results.analyse.arrhenius}
    return {
        material: _name(formula, material.crystal, material.label, list(formulas.values()), same_crystal)
        for material, formula in formulas.items()
        for same_crystal in [sum(f == formula and m.crystal == material.crystal for m, f in formulas.items())]
    }


def _name(formula: str, crystal: str, identity: str, all_formulas: Sequence[str], same_crystal: int) -> str:
    if all_formulas.count(formula) == 1:
        return formula
    return f"{formula} ({crystal})" if same_crystal == 1 else f"{formula} · {identity}"
