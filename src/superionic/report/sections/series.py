"""Series of runs side by side: volumes, Ea and σ by potential and pressure, of one campaign or of several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from superionic.references import normal_formula
from superionic.references.matching import PRESSURE_TOLERANCE_GPA, TEMPERATURE_TOLERANCE_K
from superionic.references.spacegroups import spacegroup_symbol
from superionic.references.values import PublishedValue, Quantity
from superionic.report.composition_axes import unit_formula
from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.plots import GREY, Panel, Plot, Series, pick, pick_marker, thin, xy
from superionic.report.published import published_values, short_citation, source_words
from superionic.report.runs import NamedDependence, NamedRuns, materials, simulated
from superionic.report.section import Paragraph, Section, shown
from superionic.report.sections import conductivity, diffusion, simulations
from superionic.report.sections.conductivity_figures import arrhenius
from superionic.report.sigma import SIGMA_COLUMNS, sigma_cells
from superionic.report.table import Notes, Table, table_of
from superionic.report.words import UNKNOWN, interval, number, plural, sentence, with_error
from superionic.results.campaign import Results, Statement
from superionic.results.identity import Material
from superionic.results.transport import MaterialTransport
from superionic.settings.base import STUDENT

KEY: Final = "series"
TITLE: Final = "Series side by side"
_FIGURE_TITLE: Final = "Conductivity and volume by each series"
_MOST_PANELS: Final = 6
_MOST_VOLUMES: Final = 6
_MILLI: Final = 1000.0
_SUBJECT_COLUMNS: Final = ("formula", "spacegroup_number", "crystal")
_SERIES_COLUMNS: Final = (*_SUBJECT_COLUMNS, "series", "potential", "pressure_GPa")
_QUANTITIES: Final[tuple[Quantity, ...]] = ("volume_per_atom", "activation_energy", "conductivity")


@dataclass(frozen=True)
class Subject:
    """A material by what several campaigns know it by.

    Attributes
    ----------
    composition
        Its formula with the elements in alphabetical order.
    spacegroup_number
        Of its crystal; None where it is not known.
    crystal
        Name of the crystal where a campaign has several of this formula and space group, otherwise empty.
    formula
        Its reduced formula as the campaign writes it.
    """

    composition: str
    spacegroup_number: int | None
    crystal: str = ""
    formula: str = field(default="", compare=False)


@dataclass(frozen=True)
class Volume:
    """A volume per atom with its standard error; None where it has none, as for a relaxed cell."""

    value_A3: float
    error_A3: float | None


@dataclass(frozen=True, eq=False)
class SeriesView:
    """One series of runs.

    Attributes
    ----------
    name
        Name of the series, or of its campaign, or of both.
    results
        Results of its campaign, as if it had this series only.
    potential, pressure_GPa
        Name of the potential, and the pressure at which cells were equilibrated (None: the relaxed cells).
    not_run
        Why it has no runs; empty if it has some.
    """

    name: str
    results: Results
    potential: str
    pressure_GPa: float | None
    not_run: str = ""

    @cached_property
    def subjects(self) -> dict[Subject, Material]:
        """Its materials."""
        formulas = {each.run.ordering.material: each.formula for each in simulated(self.results)}
        formulas |= {each.material: each.formula for each in materials(self.results)}
        numbers = {crystal.name: crystal.spacegroup_number for crystal in self.results.crystals}
        bare = {
            material: Subject(normal_formula(formula), numbers.get(material.crystal), formula=formula)
            for material, formula in formulas.items()
        }
        counts = Counter(bare.values())
        return {each if counts[each] == 1 else replace(each, crystal=m.crystal): m for m, each in bare.items()}

    def line_of(self, subject: Subject) -> MaterialTransport | None:
        """Return σ(T) of a material; None where it has none."""
        material = self.subjects.get(subject)
        return next((each for each in materials(self.results) if each.material == material), None)

    def volumes_of(self, subject: Subject) -> dict[float, Volume]:
        """Return the mean volume of a material at each temperature in K; at 0 K that of the relaxed cell.

        It is that of the stage *volumes* where this ran by the same potential at the same pressure, otherwise that of
        the runs of this series at constant pressure.
        """
        material = self.subjects.get(subject)
        means: dict[float, list[Volume]] = {}
        for each in simulated(self.results):
            mean = None if each.mean_cell is None else each.mean_cell.volume_per_atom_A3
            if each.run.ordering.material == material and mean is not None:
                means.setdefault(each.run.temperature_K, []).append(Volume(mean.value, mean.error))
        at_pressure: dict[float, list[Volume]] = {}
        for stage in self.results.volumes_of_each:
            if (stage.potential, stage.pressure_GPa) != (self.potential, self.pressure_GPa):
                continue
            for run in stage.runs:
                mean = run.mean_cell.volume_per_atom_A3
                if run.run.ordering.material == material and mean is not None:
                    at_pressure.setdefault(run.run.temperature_K, []).append(Volume(mean.value, mean.error))
            for cell in stage.relaxed:
                if cell.ordering.material == material:
                    at_pressure.setdefault(0.0, []).append(Volume(cell.volume_A3_per_atom, None))
        return {temperature: _mean(volumes) for temperature, volumes in sorted((means | at_pressure).items())}


def _mean(volumes: Sequence[Volume]) -> Volume:
    errors = [each.error_A3 for each in volumes]
    known = [error for error in errors if error is not None]
    error = math.sqrt(sum(error**2 for error in known)) / len(volumes) if len(known) == len(errors) else None
    return Volume(sum(each.value_A3 for each in volumes) / len(volumes), error)


def views_of(results: Results) -> tuple[SeriesView, ...]:
    """Return the series of a campaign; empty if no transport was run."""
    if results.transport is None:
        return ()
    alone, *others = results.of_each_series
    first = results.transport
    pressure = first.runs[0].run.pressure_GPa if first.runs else None
    return (
        SeriesView(first.series or first.potential, alone, first.potential, pressure),
        *(
            SeriesView(series.name, its, series.potential, series.pressure_GPa, series.not_run)
            for series, its in zip(results.series, others, strict=True)
        ),
    )


def section(results: Results) -> Section:
    """Compare the series of a campaign, but those that show the number of labels; without content where it has one."""
    sized = () if results.sizes is None else results.sizes.names
    views = [view for view in views_of(results) if view.potential not in sized]
    if len(views) < 2:
        return Section(KEY, TITLE, [])
    compared = comparison(views)
    others = plural(len(views) - 1, "further series", "further series")
    lead = Paragraph(
        f"The values of this report are those of the series {views[0].name}. In {others} the same orderings ran by "
        "other potentials, at other pressures or with other settings; each is analysed by itself."
    )
    return replace(compared, blocks=[lead, *compared.blocks])


def doubts(results: Results) -> Iterator[Statement]:
    """Yield the doubts about the series after the first, but those that show the number of labels, under its name."""
    sized = () if results.sizes is None else results.sizes.names
    for view in views_of(results)[1:]:
        if view.potential in sized:
            continue
        if view.not_run:
            words = f"The series {view.name} has no values: {view.not_run}."
            yield Statement("warning", words, f"no values of series {view.name}")
        distilled = results.distil
        if view.potential == STUDENT and not view.not_run and distilled is not None and not distilled.verdict.passed:
            yield Statement("warning", f"Series {view.name}: its students failed parity with their teacher.")
        for statement in doubts_of(view):
            if statement.severity != "info":
                yield replace(statement, words=f"Series {view.name}: {statement.words}", short="")


def doubts_of(view: SeriesView) -> Iterator[Statement]:
    """Yield the doubts about the runs of one series and about what was analysed in them."""
    for of in (conductivity, diffusion, simulations):
        yield from of.doubts(view.results)


def comparison(views: Sequence[SeriesView], *, key: str = KEY, title: str = TITLE) -> Section:
    """Compare series of runs, of one campaign or of several (paper B, tables 1 and 2, figures 2d, 2e and 3).

    Parameters
    ----------
    views
        The series.
    key, title
        Name of the figure and of the files, and title of the section.
    """
    names = subject_names(views)
    published = {subject: published_of(views, subject) for subject in names}
    plot = replace(_plot(views, names, published), key=key)
    files = [_csv(views, names), _volumes_csv(views, names), _published_csv(published)]
    named = [replace(file, name=file.name.replace(KEY, key, 1)) for file in files if file.rows]
    return Section(key, title, shown(plot, _table(views, names, published)), named)


def subject_names(views: Sequence[SeriesView]) -> dict[Subject, str]:
    """Return the materials of all series with their names: formulas and, where needed, space groups and crystals."""
    formulas = {
        subject: unit_formula(view.results, subject.formula) for view in reversed(views) for subject in view.subjects
    }
    ordered = dict.fromkeys(subject for view in views for subject in view.subjects)
    counts = Counter(formulas.values())

    def name(subject: Subject) -> str:
        group = None if subject.spacegroup_number is None else spacegroup_symbol(subject.spacegroup_number)
        parts = [part for part in (group, subject.crystal) if part]
        alone = counts[formulas[subject]] == 1 or not parts
        return formulas[subject] if alone else f"{formulas[subject]} ({', '.join(parts)})"

    return {subject: name(subject) for subject in ordered}


# ---- published values -----------------------------------------------------------------------------------------------


def published_of(views: Sequence[SeriesView], subject: Subject) -> list[PublishedValue]:
    """Return the published values of a material at ambient pressure and at the pressures of the series."""
    values: dict[PublishedValue, None] = {}
    owner = next(view for view in views if subject in view.subjects)
    pressures = dict.fromkeys([0.0, *(view.pressure_GPa or 0.0 for view in views)])
    crystal = owner.subjects[subject].crystal
    for quantity in _QUANTITIES:
        for pressure in pressures:
            values |= dict.fromkeys(published_values(owner.results, crystal, subject.formula, quantity, pressure))
    return list(values)


@dataclass(frozen=True)
class _PublishedRow:
    """What one source states of a material by one method at one pressure, samples in the order of the source."""

    values: tuple[PublishedValue, ...]

    @property
    def source(self) -> str:
        return short_citation(self.values[0].source)

    @property
    def method(self) -> str:
        """What its methods have in common, such as the potential; otherwise all of them."""
        methods = list(dict.fromkeys(value.method for value in self.values))
        heads = {method.rpartition(", ")[0] for method in methods}
        return heads.pop() if len(methods) > 1 and len(heads) == 1 and "" not in heads else "; ".join(methods)

    @property
    def pressure_GPa(self) -> float | None:
        return next((value.pressure_GPa for value in self.values if value.pressure_GPa is not None), None)

    def cell(self, quantity: Quantity, temperature_K: float | None = None) -> str:
        """Write its values of a quantity, at a temperature if one is given, with the digits of the source."""
        stated = [
            f"{value.value:g}" + ("" if value.error is None else f" ± {value.error:g}")
            for value in self.values
            if value.quantity == quantity and (temperature_K is None or is_at(value, temperature_K))
        ]
        return "; ".join(stated) or UNKNOWN


def is_at(value: PublishedValue, temperature_K: float) -> bool:
    """Return whether a published value is at a temperature."""
    return value.temperature_K is not None and abs(value.temperature_K - temperature_K) <= TEMPERATURE_TOLERANCE_K


def _published_rows(values: Sequence[PublishedValue]) -> list[_PublishedRow]:
    groups: dict[tuple[str, str, str | None, int], list[PublishedValue]] = {}
    for value in values:
        pressure = round((value.pressure_GPa or 0.0) / PRESSURE_TOLERANCE_GPA)
        groups.setdefault((value.source, value.approach, value.model, pressure), []).append(value)
    rows = [_PublishedRow(tuple(members)) for members in groups.values()]
    return sorted(rows, key=lambda row: row.values[0].approach == "measured")  # calculated ones first, as in the paper


# ---- figure, table, files -------------------------------------------------------------------------------------------


def _plot(
    views: Sequence[SeriesView],
    names: dict[Subject, str],
    published: dict[Subject, list[PublishedValue]],
) -> Plot:
    panels: list[Panel] = []
    for subject in list(names)[:_MOST_PANELS]:
        lines = [(place, line) for place, view in enumerate(views) if (line := view.line_of(subject)) is not None]
        named = [
            NamedDependence(views[place].name, (), line.dependence, tuple(published[subject])) for place, line in lines
        ]
        # A series has one colour in all panels.
        places = [place for place, _ in lines]
        panels += [
            replace(panel, title=f"{names[subject]}: conductivity")
            for panel in (arrhenius(named, NamedRuns((), ()), places).panels if named else ())
        ]
        drawn = [series for place, view in enumerate(views) for series in _volume_series(view, subject, place)]
        if drawn:
            drawn += _published_volumes(published[subject])
            panels.append(Panel(drawn, "temperature (K)", "volume (Å³/atom)", f"{names[subject]}: volume"))
    return Plot(
        KEY,
        _FIGURE_TITLE,
        "Conductivity with 68 % intervals and the line through it (dashed where extrapolated), and mean volume at "
        "constant pressure (at 0 K that of the relaxed cell), by each series. Grey: published values (filled: "
        "measured; open: calculated), at ambient pressure and those of the series.",
        panels,
        height=400,
    )


def _volume_series(view: SeriesView, subject: Subject, index: int) -> list[Series]:
    points = list(view.volumes_of(subject).items())
    if not points:
        return []
    colour, line = pick(index), xy((t, volume.value_A3) for t, volume in points)
    return [
        Series(*line, view.name, "line", colour, legend=False),
        Series(
            *line,
            view.name,
            colour=colour,
            marker=pick_marker(index),
            low=[volume.value_A3 - (volume.error_A3 or 0.0) for _, volume in points],
            high=[volume.value_A3 + (volume.error_A3 or 0.0) for _, volume in points],
            hover=[f"{view.name} at {t:g} K: {number(volume.value_A3, 4)} Å³/atom" for t, volume in points],
        ),
    ]


def _published_volumes(values: Sequence[PublishedValue]) -> list[Series]:
    volumes = [value for value in values if value.quantity == "volume_per_atom" and value.temperature_K is not None]
    groups = {
        is_measured: [v for v in volumes if (v.kind == "measured") == is_measured] for is_measured in (True, False)
    }
    return [
        Series(
            [value.temperature_K for value in members],
            [value.value for value in members],
            f"{'measured' if is_measured else 'computed'} (published)",
            colour=GREY,
            marker="square" if is_measured else "diamond",
            filled=is_measured,
            size=8,
            hover=[f"{source_words(value)}: {number(value.value, 4)} Å³/atom" for value in members],
        )
        for is_measured, members in groups.items()
        if members
    ]


_Row = tuple[Subject, SeriesView | _PublishedRow]


def _table(
    views: Sequence[SeriesView],
    names: dict[Subject, str],
    published: dict[Subject, list[PublishedValue]],
) -> Table:
    notes = Notes()
    cells_K = _volume_temperatures(views)
    sigmas_K = report_temperatures(views)
    rows: list[_Row] = []
    for subject in names:
        rows += [(subject, view) for view in views]
        rows += [(subject, row) for row in _published_rows(published[subject])]

    def volume(row: _Row, temperature_K: float) -> str:
        subject, of = row
        if isinstance(of, _PublishedRow):
            return of.cell("volume_per_atom", temperature_K)
        one = of.volumes_of(subject).get(temperature_K)
        return (
            UNKNOWN
            if one is None
            else with_error(one.value_A3, one.error_A3)
            if one.error_A3
            else number(one.value_A3, 4)
        )

    def energy(row: _Row) -> str:
        subject, of = row
        if isinstance(of, _PublishedRow):
            return of.cell("activation_energy")
        line = of.line_of(subject)
        return UNKNOWN if line is None else with_error(line.dependence.Ea_eV, line.dependence.Ea_error_eV)

    def sigma(row: _Row, temperature_K: float) -> str:
        subject, of = row
        return (
            of.cell("conductivity", temperature_K)
            if isinstance(of, _PublishedRow)
            else _sigma(of.line_of(subject), temperature_K)
        )

    def remarks(row: _Row) -> str:
        subject, of = row
        return UNKNOWN if isinstance(of, _PublishedRow) else notes.refer(_remarks(of, subject))

    return table_of(
        "Activation energy, conductivity and mean volume at constant pressure by each series, and published values. σ "
        "has its 68 % interval; samples of one source are divided by semicolons.",
        rows,
        [
            ("Composition", lambda row: names[row[0]]),
            ("Series or source", lambda row: row[1].source if isinstance(row[1], _PublishedRow) else row[1].name),
            ("By", lambda row: row[1].method if isinstance(row[1], _PublishedRow) else row[1].potential),
            ("p, GPa", lambda row: UNKNOWN if row[1].pressure_GPa is None else f"{row[1].pressure_GPa:g}"),
            ("Eₐ, eV", energy),
            *((f"σ({t:g} K), mS/cm", lambda row, t=t: sigma(row, t)) for t in sigmas_K),
            *((f"V({t:g} K), Å³/atom", lambda row, t=t: volume(row, t)) for t in cells_K),
            ("Remarks", remarks),
        ],
        numeric=range(3, 5 + len(cells_K) + len(sigmas_K)),
        notes=notes,
    )


def _volume_temperatures(views: Sequence[SeriesView]) -> list[float]:
    """Return the temperatures at which the table states volumes: all of the stage *volumes* where it ran.

    Otherwise, those of the runs at which conductivities are stated, and others between the ends up to six.
    """
    known = {t for view in views for subject in view.subjects for t in view.volumes_of(subject)}
    of_stage = {
        t
        for view in views
        for stage in view.results.volumes_of_each
        for t in (*(run.run.temperature_K for run in stage.runs), *(0.0 for _ in stage.relaxed))
    }
    if of_stage & known:
        return sorted(of_stage & known)
    stated = known & set(report_temperatures(views))
    others = sorted(known - stated)
    return sorted(stated | {others[index] for index in thin(len(others), max(_MOST_VOLUMES - len(stated), 2))})


def report_temperatures(views: Sequence[SeriesView]) -> list[float]:
    """Return the temperatures at which the series state conductivities."""
    return sorted(
        {t for view in views for each in materials(view.results) for t in each.dependence.report_temperatures_K}
    )


def _sigma(line: MaterialTransport | None, temperature_K: float) -> str:
    value = None if line is None else line.dependence.conductivity_at(temperature_K)
    if value is None:
        return UNKNOWN
    low, high = (_MILLI * end for end in value.interval68_S_per_cm)
    if value.is_upper_bound:
        return f"< {number(_MILLI * value.interval95_S_per_cm[1])}"
    return f"{number(_MILLI * value.value_S_per_cm)} ({interval(low, high)})"


def _remarks(view: SeriesView, subject: Subject) -> list[str]:
    line = view.line_of(subject)
    if view.not_run:
        return [sentence(view.not_run)]
    if subject not in view.subjects:
        return ["This series has no runs of this material."]
    return [] if line is None else [sentence(words) for words in NamedDependence("", (), line.dependence).remarks]


def _cells(subject: Subject) -> Cells:
    return subject.formula, subject.spacegroup_number, subject.crystal


def _series_cells(subject: Subject, view: SeriesView) -> Cells:
    return (*_cells(subject), view.name, view.potential, view.pressure_GPa)


def _csv(views: Sequence[SeriesView], names: dict[Subject, str]) -> CsvTable:
    items: list[tuple[Cells, tuple[SeriesView, Subject, MaterialTransport | None, float]]] = [
        (_series_cells(subject, view), (view, subject, view.line_of(subject), temperature))
        for subject in names
        for view in views
        for temperature in report_temperatures(views)
    ]

    def of_line(line: MaterialTransport | None, temperature_K: float) -> Cells:
        if line is None:
            return (0, None, None, *sigma_cells(None), None, None)
        of = line.dependence
        sigma, verdict = of.conductivity_at(temperature_K), of.verdict_at(temperature_K)
        return (line.n_runs, of.Ea_eV, of.Ea_error_eV, *sigma_cells(sigma), verdict.kind, line.key)

    return csv_table(
        "series.csv",
        _SERIES_COLUMNS,
        items,
        [
            ("temperature_K", lambda each: each[3]),
            (("n_runs", "Ea_eV", "Ea_error_eV", *SIGMA_COLUMNS, "verdict", "key"), lambda each: of_line(*each[2:])),
            ("remarks", lambda each: "; ".join(_remarks(*each[:2]))),
        ],
    )


def _volumes_csv(views: Sequence[SeriesView], names: dict[Subject, str]) -> CsvTable:
    rows = tuple(
        (*_series_cells(subject, view), temperature, volume.value_A3, volume.error_A3)
        for subject in names
        for view in views
        for temperature, volume in view.volumes_of(subject).items()
    )
    columns = (*_SERIES_COLUMNS, "temperature_K", "volume_A3_per_atom", "volume_error_A3_per_atom")
    return CsvTable("series_volumes.csv", columns, rows)


def _published_csv(published: dict[Subject, list[PublishedValue]]) -> CsvTable:
    own = ("quantity", "value", "error", "unit", "temperature_K", "pressure_GPa", "approach", "method", "source", "doi")
    rows = tuple(
        (*_cells(subject), *(getattr(value, name) for name in own))
        for subject, values in published.items()
        for value in values
    )
    return CsvTable("series_published.csv", (*_SUBJECT_COLUMNS, *own), rows)
