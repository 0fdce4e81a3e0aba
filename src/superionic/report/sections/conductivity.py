"""Conductivity: the Arrhenius line with its band, σ and Ea with their errors, and the error budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from superionic.references.values import Quantity
from superionic.report.composition_axes import material_cells, material_columns
from superionic.report.csv_tables import Cells, CsvTable, csv_table, estimate_cells, estimate_columns
from superionic.report.published import published_values
from superionic.report.runs import NamedDependence, NamedRuns, analysed, material_names, materials, runs_of_campaign
from superionic.report.section import Paragraph, Section, shown
from superionic.report.sections.conductivity_figures import against_energy, arrhenius, report_temperatures
from superionic.report.sigma import SIGMA_COLUMNS, sigma_cells
from superionic.report.table import Notes, Table, table_of
from superionic.report.words import UNKNOWN, interval, number, plural, sentence, some, with_error
from superionic.results.campaign import Results, Statement
from superionic.transport.analysis import TransportAnalysis
from superionic.transport.conductivity.arrhenius import ArrheniusFit, ArrheniusForm
from superionic.transport.conductivity.direction_lines import DirectionLines
from superionic.transport.conductivity.doubts import Doubt, DoubtKind
from superionic.transport.conductivity.line import ConductivityAt
from superionic.transport.conductivity.of_temperature import TemperatureDependence
from superionic.transport.conductivity.planes import PlaneLine, plane_lines
from superionic.transport.conductivity.slope_break import SlopeBreak
from superionic.transport.conductivity.vogel import FEWEST_POINTS, VogelFit
from superionic.transport.estimate import Estimate, PooledEstimate

_COMPARED: Final[tuple[Quantity, ...]] = ("conductivity", "activation_energy")
_MOST_DOUBTS: Final = 3
_MILLI: Final = 1000.0
_SHORT: Final[dict[DoubtKind, str]] = {
    "no line": "no Arrhenius line",
    "unphysical": "unphysical activation energy",
    "upper bound": "only an upper bound",
    "directions differ": "directions differ in activation energy",
    "teachers differ": "teachers differ",
    "curved": "curved Arrhenius plot",
    "insignificant": "activation energy not significant",
    "two temperatures": "two temperatures only",
}
FORMS: Final[dict[ArrheniusForm, str]] = {"lnD": "ln D against 1/T", "lnSigmaT": "ln(σT) against 1/T"}


def section(results: Results) -> Section:
    """Describe the conductivities of a campaign."""
    if results.analyse is None:
        return Section("conductivity", "Conductivity", [Paragraph("Transport was not analysed.", "missing")])
    runs = runs_of_campaign(results, [(each.run, each.analysis) for each in results.analyse.runs])
    columns = (*material_columns(results), "formula", "n_runs", "key")
    return conductivity(columns, _dependences(results), runs)


def _dependences(results: Results) -> list[NamedDependence]:
    names = material_names(results)
    pressures = {each.run.ordering.material: each.run.pressure_GPa for each in analysed(results)}
    return [
        NamedDependence(
            names[each.material],
            (*material_cells(results, each.material), each.formula, each.n_runs, each.key),
            each.dependence,
            tuple(
                value
                for quantity in _COMPARED
                for value in published_values(
                    results, each.material.crystal, each.formula, quantity, pressures.get(each.material)
                )
            ),
        )
        for each in materials(results)
    ]


def conductivity(
    columns: tuple[str, ...], dependences: Sequence[NamedDependence], runs: NamedRuns[TransportAnalysis]
) -> Section:
    """Describe conductivities of any origin.

    Parameters
    ----------
    columns
        Names of the columns in files that identify each material.
    dependences
        σ(T) of each material.
    runs
        The runs on which they are based.
    """
    blocks = (
        arrhenius(dependences, runs),
        against_energy(dependences),
        _table(dependences),
        _directions_table(dependences),
        _planes_table(dependences),
        _conductivity_table(dependences),
        _budget_table(dependences),
        _runs_table(runs),
    )
    tables = (_arrhenius_csv, _directions_csv, _planes_csv, _conductivities_csv, _points_csv, _budget_csv)
    files = [table(columns, dependences) for table in tables]
    return Section("conductivity", "Conductivity", shown(*blocks), files if dependences else [])


def doubts(results: Results) -> Iterator[Statement]:
    """Yield the doubts about σ(T) of all materials, those of one kind together if they are many."""
    yield from statements_of(_dependences(results))


def statements_of(dependences: Sequence[NamedDependence]) -> Iterator[Statement]:
    """Turn doubts about conductivities into statements."""
    kinds: dict[str, dict[Doubt, list[str]]] = {}
    for each in dependences:
        for doubt in each.dependence.doubts:
            kinds.setdefault(doubt.kind, {}).setdefault(doubt, []).append(each.name)
    for of_kind in kinds.values():
        listed = list(of_kind.items())
        shown = listed if len(listed) <= _MOST_DOUBTS + 1 else listed[:_MOST_DOUBTS]
        for doubt, names in shown:
            subject = f"{some(names)}: " if len(dependences) > 1 else ""
            yield Statement(doubt.severity, subject + doubt.words, _SHORT.get(doubt.kind, doubt.kind))
        if len(shown) < len(listed):
            others = [name for _, names in listed[len(shown) :] for name in names]
            doubt = listed[len(shown)][0]
            yield Statement(
                doubt.severity,
                f"The same ({doubt.kind}) applies to {plural(len(others), 'further composition')}: {some(others)}; see "
                "the table of conductivities.",
            )


def _table(dependences: Sequence[NamedDependence]) -> Table:
    notes = Notes()
    return table_of(
        "Arrhenius lines.",
        dependences,
        [
            ("Composition", lambda each: each.name),
            ("Fit of", lambda each: FORMS[each.dependence.form]),
            ("Temperatures, K", lambda each: ", ".join(f"{p.temperature_K:g}" for p in each.dependence.points)),
            ("Runs", lambda each: str(each.dependence.n_runs)),
            ("Eₐ, eV", lambda each: with_error(each.dependence.Ea_eV, each.dependence.Ea_error_eV)),
            ("χ² per degree of freedom", lambda each: _chi2(each.dependence)),
            ("Change of slope", lambda each: _break_words(each.dependence.slope_break)),
            ("Eₐ by direction", lambda each: _direction_words(each.dependence.directions)),
            ("Curvature", lambda each: _curvature_words(each.dependence)),
            ("Remarks", lambda each: notes.refer([sentence(words) for words in each.remarks])),
        ],
        numeric=(3, 4, 5),
        notes=notes,
    )


def _chi2(dependence: TemperatureDependence) -> str:
    fit = dependence.fit
    return UNKNOWN if fit is None or fit.reduced_chi2 is None else number(fit.reduced_chi2, 2)


def _break_words(kink: SlopeBreak | None) -> str:
    if kink is None:
        return "not tested"
    if not kink.significant:
        return f"none (p = {kink.p_value:.2g})"
    return (
        f"at {kink.temperature_K:.0f} K: {with_error(kink.Ea_below_eV, kink.Ea_below_error_eV)} below, "
        f"{with_error(kink.Ea_above_eV, kink.Ea_above_error_eV)} above (p = {kink.p_value:.2g})"
    )


def _direction_words(directions: DirectionLines | None) -> str:
    if directions is None:
        return "not tested"
    if not directions.significant:
        return f"the same (p = {directions.p_value:.2g})"
    return f"{directions.words or 'differs'} (p = {directions.p_value:.2g})"


def _curvature_words(dependence: TemperatureDependence) -> str:
    curved = dependence.vogel
    if curved is None:
        measured = sum(math.isfinite(p.conductivity_S_per_cm.estimate.log_error) for p in dependence.points)
        return "none" if measured >= FEWEST_POINTS else "not tested"
    return (
        f"VTF: {curved.words} (p = {curved.p_value:.2g})" if curved.significant else f"none (p = {curved.p_value:.2g})"
    )


def _directions_table(dependences: Sequence[NamedDependence]) -> Table:
    rows = [
        [
            each.name,
            line.name,
            str(line.multiplicity),
            with_error(line.fit.Ea_eV, line.fit.Ea_error_eV),
            number(line.fit.ln_prefactor, 3),
            *(number(_MILLI * line.fit.predict(temperature).value) for temperature in temperatures),
        ]
        for temperatures in (report_temperatures(dependences),)
        for each in dependences
        if each.dependence.directions is not None
        for line in each.dependence.directions.lines
    ]
    columns = ["Composition", "Direction", "Axes", "Eₐ, eV", "ln(σ₀T), S·K/cm"]
    columns += [f"σ({t:g} K), mS/cm" for t in report_temperatures(dependences)]
    caption = (
        "Directions of different activation energy, along the vectors of the simulated cell. σ is the mean over three "
        "axes, each from its own line."
    )
    return Table(caption, columns, rows, frozenset(range(2, len(columns))))


def _planes_table(dependences: Sequence[NamedDependence]) -> Table:
    temperatures = sorted({point.temperature_K for each in dependences for point in each.dependence.points})

    def diffusivity(line: PlaneLine, temperature_K: float) -> str:
        of = dict(zip(line.temperatures_K, line.diffusivities_cm2_per_s, strict=True)).get(temperature_K)
        if of is None:
            return UNKNOWN
        return f"< {number(of.interval95[1], 2)}" if of.is_upper_bound else with_error(of.value, of.error)

    return table_of(
        "Diffusion in the planes of the simulated cell (n = 2) and along their normals: the slope of ln D, and D in "
        "cm²/s, averaged over the runs at each temperature.",
        [(each.name, line) for each in dependences for line in plane_lines(each.dependence.points)],
        [
            ("Composition", lambda row: row[0]),
            ("D", lambda row: row[1].name),
            ("Eₐ, eV", lambda row: _line_energy(row[1].fit)),
            *((f"D({t:g} K), cm²/s", lambda row, t=t: diffusivity(row[1], t)) for t in temperatures),
        ],
        numeric=range(2, 3 + len(temperatures)),
    )


def _line_energy(fit: ArrheniusFit | None) -> str:
    return UNKNOWN if fit is None else with_error(fit.Ea_eV, fit.Ea_error_eV)


def _conductivity_table(dependences: Sequence[NamedDependence]) -> Table:
    rows = [
        [each.name, f"{temperature:g}", *_value_cells(each.dependence, temperature)]
        for each in dependences
        for temperature in each.dependence.report_temperatures_K
    ]
    columns = ["Composition", "T, K", "σ, mS/cm", "68 % interval", "95 % interval", "How", "Verdict"]
    return Table("Conductivities at the requested temperatures.", columns, rows, frozenset({1, 2, 3, 4}))


def _value_cells(dependence: TemperatureDependence, temperature_K: float) -> list[str]:
    value = dependence.conductivity_at(temperature_K)
    verdict = dependence.verdict_at(temperature_K)
    if value is None:
        return [UNKNOWN] * 4 + [verdict.kind]
    words = "upper bound" if value.is_upper_bound else number(_MILLI * value.value_S_per_cm)
    return [
        words,
        _milli_interval(value.interval68_S_per_cm),
        _milli_interval(value.interval95_S_per_cm),
        _how(value),
        value.precision.words if verdict.kind == "sound" else verdict.kind,
    ]


def _milli_interval(ends_S_per_cm: tuple[float, float]) -> str:
    return interval(_MILLI * ends_S_per_cm[0], _MILLI * ends_S_per_cm[1])


def _how(value: ConductivityAt) -> str:
    if value.origin == "runs":
        return "average of the runs"
    if value.origin == "directions":
        return "sum of directions, " + (
            "extrapolated" if value.extrapolated else "simulated" if value.simulated else "interpolated"
        )
    return "extrapolated" if value.extrapolated else "on the line, simulated" if value.simulated else "interpolated"


def _budget_table(dependences: Sequence[NamedDependence]) -> Table:
    temperatures = report_temperatures(dependences)
    rows = [
        [
            each.name,
            term.words,
            number(term.Ea_eV, 2),
            *(number(dict(term.ln_sigma).get(temperature), 2) for temperature in temperatures),
        ]
        for each in dependences
        for term in each.dependence.budget
    ]
    columns = ["Composition", "Source of error", "Eₐ, eV", *(f"ln σ({t:g} K)" for t in temperatures)]
    caption = "Error budget: standard deviations, which add in quadrature."
    if any(each.dependence.model_form is not None for each in dependences):
        caption += (
            " Model form: what the scatter between the students of different teachers adds to the other lines, at "
            "68 %; the 95 % intervals are wider than twice that where teachers are few."
        )
    return Table(caption, columns, rows, frozenset(range(2, len(columns))))


def _runs_table(runs: NamedRuns[TransportAnalysis]) -> Table:
    rows = [
        [
            name.label,
            number(name.temperature_K),
            *_sigma_cells(analysis.nernst_einstein_conductivity_S_per_cm),
            *_sigma_cells(analysis.ionic_conductivity_S_per_cm),
        ]
        for name, analysis in runs.items
    ]
    columns = ["Run", "T, K", "σ from D*, S/cm", "68 % interval", "σ from D_σ, S/cm", "68 % interval"]
    caption = (
        "Conductivity in each run: from D* by the Nernst–Einstein relation, as if ions moved independently of one "
        "another, and from the displacement of charge, D_σ, which includes their correlations and has a larger error."
    )
    return Table(caption, columns, rows, frozenset(range(1, 6)))


def _sigma_cells(estimate: Estimate | None) -> list[str]:
    if estimate is None:
        return [UNKNOWN, UNKNOWN]
    if estimate.is_upper_bound:
        return ["upper bound", interval(*estimate.interval68)]
    return [number(estimate.value), interval(*estimate.interval68)]


def _arrhenius_csv(identity: tuple[str, ...], dependences: Sequence[NamedDependence]) -> CsvTable:
    broken = (
        "break_temperature_K", "Ea_below_eV", "Ea_below_error_eV", "Ea_above_eV", "Ea_above_error_eV", "break_p_value",
    )  # fmt: skip
    return csv_table(
        "arrhenius.csv",
        identity,
        [(each.cells, each) for each in dependences],
        [
            ("form", lambda each: each.dependence.form),
            ("temperatures_K", lambda each: "; ".join(f"{p.temperature_K:g}" for p in each.dependence.points)),
            ("Ea_eV", lambda each: each.dependence.Ea_eV),
            ("Ea_error_eV", lambda each: each.dependence.Ea_error_eV),
            (("ln_prefactor", "degrees_of_freedom", "reduced_chi2"), lambda each: _fit_cells(each.dependence)),
            (broken, lambda each: _break_cells(each.dependence.slope_break)),
            ("directions_p_value", lambda each: _directions_p(each.dependence)),
            (_VTF_COLUMNS, lambda each: _vogel_cells(each.dependence.vogel)),
            (("transfer_ln_sigma", "transfer_Ea_eV"), lambda each: _transfer_cells(each.dependence)),
            (("n_teachers", "teachers_Ea_scatter_eV"), lambda each: _teacher_cells(each.dependence)),
            ("flags", lambda each: "; ".join(each.remarks)),
        ],
    )


def _directions_p(dependence: TemperatureDependence) -> float | None:
    return None if dependence.directions is None else dependence.directions.p_value


_VTF_COLUMNS: Final = (
    "vtf_T0_K", "vtf_T0_error_K", "vtf_B_K", "vtf_B_error_K", "vtf_ln_prefactor", "vtf_ln_prefactor_error",
    "vtf_p_value",
)  # fmt: skip


def _vogel_cells(curved: VogelFit | None) -> Cells:
    if curved is None:
        return (None,) * len(_VTF_COLUMNS)
    if not curved.significant:
        return (*(None,) * (len(_VTF_COLUMNS) - 1), curved.p_value)
    return (
        curved.T0_K, curved.T0_error_K, curved.B_K, curved.B_error_K, curved.ln_prefactor, curved.ln_prefactor_error,
        curved.p_value,
    )  # fmt: skip


def _directions_csv(identity: tuple[str, ...], dependences: Sequence[NamedDependence]) -> CsvTable:
    """Return the points and the line of each direction; no rows if directions do not differ."""
    rows = [
        (
            *each.cells, line.name, line.multiplicity, line.fit.Ea_eV, line.fit.Ea_error_eV, line.fit.ln_prefactor,
            point.temperature_K, *estimate_cells(estimate),
        )
        for each in dependences
        if each.dependence.directions is not None
        for line in each.dependence.directions.lines
        for point, estimate in zip(each.dependence.points, line.points, strict=True)
    ]  # fmt: skip
    columns = (
        *identity, "direction", "axes", "Ea_eV", "Ea_error_eV", "ln_prefactor", "temperature_K",
        *estimate_columns("sigma_S_per_cm"),
    )  # fmt: skip
    return CsvTable("arrhenius_directions.csv", columns, tuple(rows))


def _planes_csv(identity: tuple[str, ...], dependences: Sequence[NamedDependence]) -> CsvTable:
    """Return D in each plane and along each normal at each temperature, with the line through it."""
    rows = tuple(
        (*each.cells, line.name, *_energy_cells(line.fit), temperature, *estimate_cells(diffusivity))
        for each in dependences
        for line in plane_lines(each.dependence.points)
        for temperature, diffusivity in zip(line.temperatures_K, line.diffusivities_cm2_per_s, strict=True)
    )
    columns = (
        *identity, "direction", "Ea_eV", "Ea_error_eV", "ln_prefactor", "temperature_K",
        *estimate_columns("diffusivity_cm2_per_s"),
    )  # fmt: skip
    return CsvTable("arrhenius_planes.csv", columns, rows)


def _energy_cells(fit: ArrheniusFit | None) -> Cells:
    return (None,) * 3 if fit is None else (fit.Ea_eV, fit.Ea_error_eV, fit.ln_prefactor)


def _fit_cells(dependence: TemperatureDependence) -> Cells:
    fit = dependence.fit
    return (None,) * 3 if fit is None else (fit.ln_prefactor, fit.degrees_of_freedom, fit.reduced_chi2)


def _break_cells(kink: SlopeBreak | None) -> Cells:
    if kink is None:
        return (None,) * 6
    below, above = (kink.Ea_below_eV, kink.Ea_below_error_eV), (kink.Ea_above_eV, kink.Ea_above_error_eV)
    return (kink.temperature_K, *below, *above, kink.p_value)


def _transfer_cells(dependence: TemperatureDependence) -> Cells:
    transfer = dependence.transfer
    return (None, None) if transfer is None else (transfer.ln_sigma, transfer.Ea_eV)


def _teacher_cells(dependence: TemperatureDependence) -> Cells:
    model = dependence.model_form
    return (None, None) if model is None else (len(model.teachers), model.Ea_scatter_eV)


def _conductivities_csv(identity: tuple[str, ...], dependences: Sequence[NamedDependence]) -> CsvTable:
    rows = []
    for each in dependences:
        for temperature in each.dependence.report_temperatures_K:
            value = each.dependence.conductivity_at(temperature)
            how: Cells = (None,) * 5
            if value is not None:
                how = (value.log_error, value.is_upper_bound, value.extrapolated, value.simulated, value.origin)
            verdict = each.dependence.verdict_at(temperature).kind
            rows.append((*each.cells, temperature, *sigma_cells(value), *how, verdict))
    columns = (
        *identity, "temperature_K", *SIGMA_COLUMNS, "ln_sigma_error", "is_upper_bound", "extrapolated", "simulated",
        "origin", "verdict",
    )  # fmt: skip
    return CsvTable("conductivities.csv", columns, tuple(rows))


def _points_csv(identity: tuple[str, ...], dependences: Sequence[NamedDependence]) -> CsvTable:
    return csv_table(
        "arrhenius_points.csv",
        identity,
        [(each.cells, point) for each in dependences for point in each.dependence.points],
        [
            ("temperature_K", lambda point: point.temperature_K),
            ("n_runs_at_temperature", lambda point: point.n_runs),
            ("n_orderings", lambda point: point.conductivity_S_per_cm.n_orderings),
            (estimate_columns("sigma_S_per_cm"), lambda point: _pooled(point.conductivity_S_per_cm)),
            (estimate_columns("tracer_diffusivity_cm2_per_s"), lambda point: _pooled(point.diffusivity_cm2_per_s)),
            (estimate_columns("ionic_conductivity_S_per_cm"), lambda point: _pooled(point.ionic_conductivity_S_per_cm)),
            (estimate_columns("haven_ratio"), lambda point: _pooled(point.haven_ratio)),
        ],
    )


def _pooled(pooled: PooledEstimate | None) -> Cells:
    return estimate_cells(None if pooled is None else pooled.estimate)


def _budget_csv(identity: tuple[str, ...], dependences: Sequence[NamedDependence]) -> CsvTable:
    rows = tuple(
        (*each.cells, term.source, term.Ea_eV, temperature, error)
        for each in dependences
        for term in each.dependence.budget
        for temperature, error in term.ln_sigma
    )
    return CsvTable("error_budget.csv", (*identity, "source", "Ea_eV", "temperature_K", "ln_sigma"), rows)
