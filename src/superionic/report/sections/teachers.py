"""Students of several teachers side by side: Ea, σ and volumes, whose differences are the error of the model's form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from superionic.report.composition_axes import material_cells, material_columns
from superionic.report.csv_tables import CsvTable, csv_table
from superionic.report.plots import Panel, Plot, Series, pick, pick_marker, xy
from superionic.report.runs import material_names, materials
from superionic.report.section import Paragraph, Section, shown
from superionic.report.sigma import SIGMA_COLUMNS, sigma_cells
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, listing, number, with_error
from superionic.results.campaign import Results, Statement
from superionic.results.student import DistilResult
from superionic.results.transport import MaterialTransport, SimulatedRun, TransportResult

_MILLI: Final = 1000.0
_MOST_PANELS: Final = 6
_DIFFERENT_VOLUME_PERCENT: Final = 3.0


@dataclass(frozen=True)
class _OfTeacher:
    """What the students of one teacher gave: all there is to compare between teachers."""

    name: str
    distil: DistilResult
    transport: TransportResult | None
    arrhenius: tuple[MaterialTransport, ...]
    not_used: str = ""

    def line_of(self, each: MaterialTransport) -> MaterialTransport | None:
        """Return σ(T) of the same material by these students."""
        return next((own for own in self.arrhenius if own.material == each.material), None)

    def volume_A3_per_atom(self, each: MaterialTransport, temperature_K: float) -> float | None:
        """Return the mean volume of their runs of a material at a temperature."""
        volumes = [run.volume_A3_per_atom for run in self._runs(each) if run.run.temperature_K == temperature_K]
        return sum(volumes) / len(volumes) if volumes else None

    def temperatures_K(self, each: MaterialTransport) -> list[float]:
        """Return the temperatures of their runs of a material, the coldest first."""
        return sorted({run.run.temperature_K for run in self._runs(each)})

    def _runs(self, each: MaterialTransport) -> list[SimulatedRun]:
        runs = () if self.transport is None else self.transport.runs
        return [run for run in runs if run.run.ordering.material == each.material]


def _teachers(results: Results) -> list[_OfTeacher]:
    if results.distil is None or not results.teachers:
        return []
    first = _OfTeacher(results.distil.teacher.name, results.distil, results.transport, materials(results))
    return [first, *(_OfTeacher(t.name, t.distil, t.transport, t.arrhenius, t.not_used) for t in results.teachers)]


def section(results: Results) -> Section:
    """Compare the students of all teachers; without content where there is one teacher only."""
    teachers = _teachers(results)
    if not teachers:
        return Section("teachers", "Students of several teachers", [])
    first = teachers[0].name
    lead = Paragraph(
        f"The values of this report are those of the students of {first}. Students of "
        f"{listing([each.name for each in teachers[1:]])} made the same runs; how far all of them differ is the line "
        "“model form” of the error budget, and part of all intervals of σ and Eₐ."
    )
    blocks = (lead, _gates_table(teachers), _plot(results, teachers), _table(results, teachers))
    return Section("teachers", "Students of several teachers", shown(*blocks), [_csv(results, teachers)])


def doubts(results: Results) -> Iterator[Statement]:
    """Name the teachers whose students took no part, and volumes on which teachers disagree."""
    teachers = _teachers(results)
    for each in teachers[1:]:
        if each.not_used:
            yield Statement(
                "warning",
                f"The students of {each.name} are not part of the error of the model's form: {each.not_used}.",
                f"no students of {each.name}",
            )
    largest = max(
        (
            (abs(percent), percent, each.name)
            for each, _, _, percent, _ in _rows(results, teachers)
            if percent is not None
        ),
        default=None,
    )
    if largest is not None and largest[0] > _DIFFERENT_VOLUME_PERCENT:
        yield Statement(
            "caution",
            f"The teachers disagree on the volume: with students of {largest[2]} it differs by "
            f"{number(largest[1], 2)} % from that with students of {teachers[0].name}, and conductivity depends "
            "strongly on volume. The refined cell, and a term for dispersion, tell which is nearer.",
        )


_Row = tuple[_OfTeacher, MaterialTransport, float | None, float | None, float | None]


def _rows(results: Results, teachers: Sequence[_OfTeacher]) -> Iterator[_Row]:
    """Yield teacher, material, volume at the coldest temperature, its difference from the first in %, that in K."""
    for each in materials(results) if teachers else ():
        coldest = next(iter(teachers[0].temperatures_K(each)), None)
        reference = None if coldest is None else teachers[0].volume_A3_per_atom(each, coldest)
        for teacher in teachers:
            volume = None if coldest is None else teacher.volume_A3_per_atom(each, coldest)
            percent = None if volume is None or reference is None else 100.0 * (volume / reference - 1.0)
            yield teacher, each, volume, percent, coldest


def _gates_table(teachers: Sequence[_OfTeacher]) -> Table:
    def forces(each: _OfTeacher) -> str:
        errors = each.distil.errors
        return UNKNOWN if errors is None else number(errors.after_mean.rmse_force_meV_per_A)

    return table_of(
        "The teachers, and how their students did at the gate.",
        teachers,
        [
            ("Teacher", lambda each: each.name),
            ("Level of theory", lambda each: each.distil.teacher.identity.level_of_theory),
            ("Labels", lambda each: str(each.distil.learned_from.total)),
            ("Forces against it, meV/Å", forces),
            ("Gate", lambda each: "passed" if each.distil.verdict.passed else "failed"),
            ("Used", lambda each: each.not_used or "yes"),
        ],
        numeric=(2, 3),
    )


def _table(results: Results, teachers: Sequence[_OfTeacher]) -> Table:
    names = material_names(results)
    temperatures = list(dict.fromkeys(t for each in materials(results) for t in each.dependence.report_temperatures_K))

    def sigma(row: _Row, temperature_K: float) -> str:
        own = row[0].line_of(row[1])
        value = None if own is None else own.dependence.conductivity_at(temperature_K)
        return UNKNOWN if value is None else number(_MILLI * value.value_S_per_cm)

    def energy(row: _Row) -> str:
        own = row[0].line_of(row[1])
        if own is None:
            return UNKNOWN
        line = own.dependence.model_form.teachers[0] if own.dependence.model_form is not None else None
        error = own.dependence.Ea_error_eV if line is None else line.Ea_error_eV
        return with_error(own.dependence.Ea_eV, error)

    return table_of(
        "Activation energy with its own error, conductivity and volume by the students of each teacher; the volume is "
        "that of the runs at the lowest temperature.",
        _rows(results, teachers),
        [
            ("Composition", lambda row: names[row[1].material]),
            ("Teacher", lambda row: row[0].name),
            ("Eₐ, eV", energy),
            *((f"σ({t:g} K), mS/cm", lambda row, t=t: sigma(row, t)) for t in temperatures),
            ("Volume, Å³/atom", lambda row: number(row[2], 4)),
            ("Volume against the first, %", lambda row: number(row[3], 2)),
        ],
        numeric=range(2, 5 + len(temperatures)),
    )


def _plot(results: Results, teachers: Sequence[_OfTeacher]) -> Plot:
    names = material_names(results)
    panels = []
    for each in materials(results)[:_MOST_PANELS]:
        series = []
        for index, teacher in enumerate(teachers):
            own = teacher.line_of(each)
            if own is None:
                continue
            points = [
                (1000.0 / point.temperature_K, point.conductivity_S_per_cm.estimate)
                for point in own.dependence.points
                if not point.conductivity_S_per_cm.estimate.is_upper_bound
            ]
            low, high = xy(estimate.interval68 for _, estimate in points)
            x, y = xy((inverse, estimate.value) for inverse, estimate in points)
            colour, marker = pick(index), pick_marker(index)
            if points:
                series.append(Series(x, y, teacher.name, colour=colour, marker=marker, low=low, high=high))
            band = own.dependence.band
            if band is not None:
                inverse = [1000.0 * value for value in band.inverse_temperature_per_K]
                line = Series(inverse, band.sigma_S_per_cm, teacher.name, "line", colour, legend=not points)
                series.append(line)
        if series:
            panels.append(
                Panel(series, "1000/T (K⁻¹)", "ionic conductivity σ (S/cm)", names[each.material], y_log=True)
            )
    return Plot(
        "teachers",
        "Conductivity by the students of each teacher",
        "Points with 68 % intervals of the runs, and the line through them, by the students of each teacher.",
        panels,
        height=380,
    )


def _csv(results: Results, teachers: Sequence[_OfTeacher]) -> CsvTable:
    rows = []
    for each in materials(results):
        for teacher in teachers:
            own = teacher.line_of(each)
            for temperature in each.dependence.report_temperatures_K:
                value = None if own is None else own.dependence.conductivity_at(temperature)
                rows.append((teacher, each, own, temperature, value))

    def volumes(teacher: _OfTeacher, each: MaterialTransport) -> str:
        pairs = [(t, teacher.volume_A3_per_atom(each, t)) for t in teacher.temperatures_K(each)]
        return "; ".join(f"{t:g} K: {volume:.6g}" for t, volume in pairs if volume is not None)

    return csv_table(
        "teachers.csv",
        (*material_columns(results), "formula", "teacher"),
        [((*material_cells(results, each.material), each.formula, teacher.name), row)
         for row in rows for teacher, each in [(row[0], row[1])]],
        [
            ("level_of_theory", lambda row: row[0].distil.teacher.identity.level_of_theory),
            ("gate_passed", lambda row: row[0].distil.verdict.passed),
            ("not_used", lambda row: row[0].not_used),
            ("Ea_eV", lambda row: None if row[2] is None else row[2].dependence.Ea_eV),
            ("Ea_error_eV", lambda row: None if row[2] is None else row[2].dependence.Ea_error_eV),
            ("temperature_K", lambda row: row[3]),
            (SIGMA_COLUMNS, lambda row: sigma_cells(row[4])),
            ("volumes_A3_per_atom", lambda row: volumes(row[0], row[1])),
        ],
    )  # fmt: skip
