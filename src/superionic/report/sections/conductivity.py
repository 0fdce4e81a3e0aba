"""Conductivity: the Arrhenius line with its band, σ and Ea with their errors, and what the errors consist of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from superionic.references.values import Quantity
from superionic.report.composition_axes import axis_column, axis_values
from superionic.report.published import published_values
from superionic.report.runs import NamedRuns, material_names, runs_of_campaign
from superionic.report.section import Block, Paragraph, Section
from superionic.report.sections.conductivity_figures import against_energy, arrhenius
from superionic.report.sections.conductivity_files import arrhenius_csv, budget_csv, conductivities_csv, points_csv
from superionic.report.sections.named_dependence import NamedDependence
from superionic.report.table import Notes, Table
from superionic.report.words import UNKNOWN, interval, number, plural, sentence, some, with_error
from superionic.results.campaign import Results, Statement
from superionic.transport.analysis import TransportAnalysis
from superionic.transport.conductivity_line import ConductivityAt
from superionic.transport.conductivity_of_temperature import TemperatureDependence
from superionic.transport.doubts import Doubt, DoubtKind
from superionic.transport.estimate import Estimate
from superionic.transport.slope_break import SlopeBreak

_COMPARED: Final[tuple[Quantity, ...]] = ("conductivity", "activation_energy")
_MOST_DOUBTS: Final = 3
_MILLI: Final = 1000.0
_SHORT: Final[dict[DoubtKind, str]] = {
    "no line": "no Arrhenius line",
    "unphysical": "unphysical activation energy",
    "upper bound": "only an upper bound",
    "insignificant": "activation energy not significant",
    "two temperatures": "two temperatures only",
}
_FORMS: Final = {"lnD": "ln D against 1/T", "lnSigmaT": "ln(σT) against 1/T"}


def section(results: Results) -> Section:
    """Describe the conductivities of a campaign."""
    if results.analyse is None:
        return Section("conductivity", "Conductivity", [Paragraph("Transport was not analysed.", "missing")])
    runs = runs_of_campaign(results, [(each.run, each.analysis) for each in results.analyse.runs])
    columns = ("crystal", *(axis_column(axis) for axis in results.axes), "formula", "n_runs", "key")
    return conductivity(columns, _dependences(results), runs)


def _dependences(results: Results) -> list[NamedDependence]:
    if results.analyse is None:
        return []
    names = material_names(results)
    pressures = {each.run.ordering.material: each.run.pressure_GPa for each in results.analyse.runs}
    return [
        NamedDependence(
            names[each.material],
            (each.material.crystal, *axis_values(results, each.material), each.formula, each.n_runs, each.key),
            each.dependence,
            tuple(
                value
                for quantity in _COMPARED
                for value in published_values(
                    results, each.material.crystal, each.formula, quantity, pressures.get(each.material)
                )
            ),
        )
        for each in results.analyse.arrhenius
    ]


def conductivity(
    columns: tuple[str, ...], found: Sequence[NamedDependence], runs: NamedRuns[TransportAnalysis]
) -> Section:
    """Describe conductivities of any origin.

    Parameters
    ----------
    columns
        Names of the columns that hold the identity of each in files.
    found
        Conductivities of temperature.
    runs
        The runs behind them.
    """
    blocks: list[Block] = [plot for plot in (arrhenius(found, runs), against_energy(found)) if plot is not None]
    if found:
        blocks += [_table(found), _conductivity_table(found)]
    if any(each.dependence.budget for each in found):
        blocks.append(_budget_table(found))
    if runs:
        blocks.append(_runs_table(runs))
    return Section(
        "conductivity",
        "Conductivity",
        blocks,
        [
            arrhenius_csv(columns, found),
            conductivities_csv(columns, found),
            points_csv(columns, found),
            budget_csv(columns, found),
        ]
        if found
        else [],
    )


def doubts(results: Results) -> Iterator[Statement]:
    """Say how far σ(T) can be believed: the doubts of all materials, those of one kind together where they are many."""
    yield from statements_of(_dependences(results))


def statements_of(found: Sequence[NamedDependence]) -> Iterator[Statement]:
    """Turn the doubts of conductivities into statements."""
    kinds: dict[str, dict[Doubt, list[str]]] = {}
    for each in found:
        for doubt in each.dependence.doubts:
            kinds.setdefault(doubt.kind, {}).setdefault(doubt, []).append(each.name)
    for of_kind in kinds.values():
        listed = list(of_kind.items())
        shown = listed if len(listed) <= _MOST_DOUBTS + 1 else listed[:_MOST_DOUBTS]
        for doubt, names in shown:
            whom = f"{some(names)}: " if len(found) > 1 else ""
            yield Statement(doubt.severity, whom + doubt.words, _SHORT.get(doubt.kind, doubt.kind))
        if len(shown) < len(listed):
            others = [name for _, names in listed[len(shown) :] for name in names]
            doubt = listed[len(shown)][0]
            yield Statement(
                doubt.severity,
                f"The same ({doubt.kind}) holds for {plural(len(others), 'further composition')}: {some(others)}; see "
                "the table of conductivities.",
            )


# ---- tables ----------------------------------------------------------------------------------------------------------


def _table(found: Sequence[NamedDependence]) -> Table:
    notes = Notes()
    rows = [
        [
            each.name,
            _FORMS[each.dependence.form],
            ", ".join(f"{point.temperature_K:g}" for point in each.dependence.points),
            str(each.dependence.n_runs),
            with_error(each.dependence.Ea_eV, each.dependence.Ea_error_eV),
            _chi2(each.dependence),
            _break_words(each.dependence.slope_break),
            notes.refer([sentence(words) for words in each.remarks]),
        ]
        for each in found
    ]
    columns = [
        "Composition",
        "Line",
        "Temperatures, K",
        "Runs",
        "Eₐ, eV",
        "χ² per freedom",
        "Break of the slope",
        "Remarks",
    ]
    return Table("Arrhenius lines.", columns, rows, frozenset({3, 4, 5}), notes.words)


def _chi2(dependence: TemperatureDependence) -> str:
    fit = dependence.fit
    return UNKNOWN if fit is None or fit.reduced_chi2 is None else number(fit.reduced_chi2, 2)


def _break_words(found: SlopeBreak | None) -> str:
    if found is None:
        return "not tested"
    if not found.significant:
        return f"none (p = {found.p_value:.2g})"
    return (
        f"at {found.temperature_K:.0f} K: {with_error(found.Ea_below_eV, found.Ea_below_error_eV)} below, "
        f"{with_error(found.Ea_above_eV, found.Ea_above_error_eV)} above (p = {found.p_value:.2g})"
    )


def _conductivity_table(found: Sequence[NamedDependence]) -> Table:
    rows = [
        [each.name, f"{temperature:g}", *_value_cells(each.dependence, temperature)]
        for each in found
        for temperature in each.dependence.report_temperatures_K
    ]
    columns = ["Composition", "T, K", "σ, mS/cm", "68 % interval", "95 % interval", "How", "Verdict"]
    return Table("Conductivities at the temperatures that were asked for.", columns, rows, frozenset({1, 2, 3, 4}))


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
    return "extrapolated" if value.extrapolated else "on the line, simulated" if value.simulated else "interpolated"


def _budget_table(found: Sequence[NamedDependence]) -> Table:
    wanted = list(dict.fromkeys(t for each in found for t in each.dependence.report_temperatures_K))
    rows = []
    for each in found:
        for term in each.dependence.budget:
            errors = dict(term.ln_sigma)
            rows.append(
                [
                    each.name,
                    term.words,
                    number(term.Ea_eV, 2),
                    *(number(errors.get(temperature), 2) for temperature in wanted),
                ]
            )
    columns = ["Composition", "Source of error", "Eₐ, eV", *(f"ln σ({temperature:g} K)" for temperature in wanted)]
    return Table(
        "What the errors consist of: standard deviations, which add in quadrature.",
        columns,
        rows,
        frozenset(range(2, len(columns))),
    )


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
        "Conductivity in each run: by the Nernst–Einstein relation from D*, as if ions moved independently of one "
        "another, and from the displacement of charge, D_σ, which holds their correlations and has the larger error."
    )
    return Table(caption, columns, rows, frozenset({1, 2, 3, 4, 5}))


def _sigma_cells(estimate: Estimate | None) -> list[str]:
    if estimate is None:
        return [UNKNOWN, UNKNOWN]
    if estimate.is_upper_bound:
        return ["upper bound", interval(*estimate.interval68)]
    return [number(estimate.value), interval(*estimate.interval68)]
