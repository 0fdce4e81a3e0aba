"""The first screen: the main results and how far to trust them in five lines, and one row for each material."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from superionic.report.composition_axes import axis_column, axis_values, unit_formula
from superionic.report.section import Block, CsvCell, CsvTable, Line, Lines, Paragraph, Section, Statements
from superionic.report.sections.stability import MaterialStability, stability_of
from superionic.report.table import Table
from superionic.report.words import (
    UNKNOWN,
    formula_text,
    interval,
    listing,
    milli,
    number,
    plural,
    with_error,
)
from superionic.results.campaign import Results, Statement
from superionic.results.identity import Material, Ordering
from superionic.results.transport import MaterialTransport
from superionic.transport.conductivity_line import ConductivityAt
from superionic.transport.doubts import Severity

_MOST_REASONS = 4
_TO_MILLI = 1000.0


def section(results: Results) -> Section:
    """Return the first screen and the table of all materials."""
    ranked = best_first(results.analyse.arrhenius if results.analyse is not None else ())
    lines = [
        *_conductivity_lines(results, ranked),
        *_stability_line(results, ranked),
        *_potential_line(results),
    ]
    blocks: list[Block] = [
        Lines((*lines, *trust_line(results.statements)))
        if lines
        else Paragraph("There is no conductivity, activation energy or stability to report yet.", "missing")
    ]
    if ranked:
        blocks.append(_table(results, ranked))
    if results.statements:
        blocks.append(Statements("How far to trust these numbers", results.statements))
    return Section("summary", "Summary", blocks, [_csv(results, ranked)] if ranked else ())


def best_first(found: Sequence[MaterialTransport]) -> list[MaterialTransport]:
    """Sort materials by the conductivity at the first temperature asked for; those without one stand last."""

    def order(material: MaterialTransport) -> tuple[bool, bool, float]:
        headline = material.dependence.headline
        if headline is None:
            return (True, True, 0.0)
        return (False, headline.is_upper_bound, -headline.value_S_per_cm)

    return sorted(found, key=order)


def trust_line(statements: Sequence[Statement]) -> Iterator[Line]:
    """Sum the doubts up in one line."""
    counts = [
        plural(count, name)
        for severity, name in (("warning", "warning"), ("caution", "caution"), ("info", "note"))
        if (count := sum(statement.severity == severity for statement in statements))
    ]
    if not counts:
        return
    reasons = list(dict.fromkeys(statement.short for statement in statements if statement.short))
    named = reasons[:_MOST_REASONS] + (["and more"] if len(reasons) > _MOST_REASONS else [])
    yield Line(
        f"Trust: {', '.join(named) if named else 'no grave doubt'}",
        f"why in {listing(counts)} below",
        statements[0].severity,
    )


def sigma_words(value: ConductivityAt) -> str:
    """Write σ at a temperature, or the bound that is known."""
    at = f"σ({value.temperature_K:g} K)"
    if value.is_upper_bound:
        return f"{at} < {number(_TO_MILLI * value.interval95_S_per_cm[1], 2)} mS/cm"
    return f"{at} = {number(_TO_MILLI * value.value_S_per_cm, 2)} mS/cm"


def sigma_detail(value: ConductivityAt, span_K: tuple[float, float] | None) -> str:
    """Say how sure a conductivity is, and how it came about."""
    sure = "an upper bound (95 %)" if value.is_upper_bound else f"68 %: {_milli_interval(value.interval68_S_per_cm)}"
    if value.origin == "runs":
        return f"{sure} · average of the runs at this temperature"
    span = f"{span_K[0]:g}–{span_K[1]:g} K" if span_K is not None else "the simulated temperatures"
    return f"{sure} · {'extrapolated' if value.extrapolated else 'interpolated'} from {span}"


def energy_line(found: MaterialTransport) -> Iterator[Line]:
    """Give the activation energy where there is one and it can be one."""
    dependence = found.dependence
    if dependence.Ea_eV is None or dependence.line is None or any(d.kind == "unphysical" for d in dependence.doubts):
        return
    low, high = dependence.line.temperature_range_K
    severity: Severity = "caution" if any(d.kind == "insignificant" for d in dependence.doubts) else "info"
    yield Line(
        f"Eₐ = {with_error(dependence.Ea_eV, dependence.Ea_error_eV, 'eV')}",
        f"{plural(sum(dependence.line.used), 'temperature')}, {low:g}–{high:g} K",
        severity,
    )


def _conductivity_lines(results: Results, ranked: Sequence[MaterialTransport]) -> Iterator[Line]:
    if results.status == "refused: student failed parity":
        yield Line("No conductivity: the student failed parity with its teacher", "", "warning")
        return
    if not ranked:
        return
    best = ranked[0]
    name = _name(results, best.formula, best.material)
    given = sum(each.dependence.headline is not None for each in ranked)
    if given > 1:
        name += f", the highest of {given}"
    headline, verdict = best.dependence.headline, best.dependence.verdict
    if headline is None:
        yield Line(f"No σ({best.dependence.report_temperatures_K[0]:g} K)", f"{verdict.words} · {name}", "warning")
    elif results.status == "student failed parity":
        detail = f"its {sigma_words(headline)} is none until it passes · {name}"
        yield Line("No result: the student failed parity with its teacher", detail, "warning")
    else:
        line = best.dependence.line
        detail = sigma_detail(headline, None if line is None else line.temperature_range_K)
        yield Line(sigma_words(headline), f"{detail} · {name}", verdict.severity)
    yield from energy_line(best)


def _stability_line(results: Results, ranked: Sequence[MaterialTransport]) -> Iterator[Line]:
    material = ranked[0].material if ranked else _most_stable(results)
    found = stability_of(results, material) if material is not None else None
    if found is None or material is None:
        return
    name = _name(results, found.formula, material)
    if found.one_composition:
        words = f"Lowest of {plural(found.compared, 'ordering')} compared"
        if not found.stable:
            words = f"{milli(found.e_above_hull_eV_per_atom, 2)} meV/atom above the lowest ordering"
        yield Line(words, f"no rival compounds, so this is no test of stability · {name}")
        return
    members = listing([formula_text(member) for member in found.end_members])
    above = "on the hull" if found.stable else f"{milli(found.e_above_hull_eV_per_atom, 2)} meV/atom above the hull"
    yield Line(f"Stability: {above}", f"against {members} only, at 0 K · {name}")


def _most_stable(results: Results) -> Material | None:
    """Return the campaign's own material that lies lowest: reference phases are on the hull by definition."""
    entries = results.hull[-1].entries if results.hull else ()
    own = [entry for entry in entries if isinstance(entry.identity, Ordering)]
    return min(own, key=lambda entry: entry.e_above_hull_eV_per_atom).material if own else None


def _potential_line(results: Results) -> Iterator[Line]:
    found = results.validate.errors if results.validate is not None else None
    if found is None:
        return
    worse = found.after.mae_force_meV_per_A > found.before.mae_force_meV_per_A
    yield Line(
        f"Force error {number(found.after.mae_force_meV_per_A)} meV/Å",
        f"mean absolute, over {plural(found.n_structures, 'structure')} of the {found.set} set; before training "
        f"{number(found.before.mae_force_meV_per_A)} meV/Å",
        "warning" if worse else "info",
    )


def _name(results: Results, formula: str, material: Material) -> str:
    return f"{unit_formula(results, formula)} ({material.crystal})"


def _milli_interval(ends_S_per_cm: tuple[float, float]) -> str:
    low, high = ends_S_per_cm
    return interval(_TO_MILLI * low, _TO_MILLI * high)


def _table(results: Results, ranked: Sequence[MaterialTransport]) -> Table:
    temperatures = list(dict.fromkeys(t for found in ranked for t in found.dependence.report_temperatures_K))
    single = len(temperatures) == 1
    columns = ["Composition", "Crystal"]
    for temperature in temperatures:
        columns += [f"σ({temperature:g} K), mS/cm", "68 % interval"] + ["95 % interval"] * single
    numeric = frozenset(range(2, len(columns) + 1))
    columns += ["Eₐ, eV", "Stability, meV/atom", "Verdict"]
    rows = []
    for found in ranked:
        row = [unit_formula(results, found.formula), found.material.crystal]
        for temperature in temperatures:
            row += _sigma_cells(found.dependence.conductivity_at(temperature), single)
        verdict = found.dependence.verdict
        stability = stability_of(results, found.material)
        row += [
            with_error(found.dependence.Ea_eV, found.dependence.Ea_error_eV),
            stability.words if stability is not None else UNKNOWN,
            _verdict(found) if verdict.kind in ("sound", "statistically thin") else verdict.kind,
        ]
        rows.append(row)
    caption = (
        "Main results, the highest conductivity first. * extrapolated beyond the simulated temperatures. Factor: upper "
        "over lower end of the 68 % interval."
    )
    return Table(caption, columns, rows, numeric)


def _verdict(found: MaterialTransport) -> str:
    headline = found.dependence.headline
    return found.dependence.verdict.kind if headline is None else headline.precision.words


def _sigma_cells(value: ConductivityAt | None, single: bool) -> list[str]:
    if value is None:
        return [UNKNOWN] * (3 if single else 2)
    ends = [value.interval68_S_per_cm] + [value.interval95_S_per_cm] * single
    star = "*" if value.extrapolated else ""
    middle = "below" if value.is_upper_bound else number(_TO_MILLI * value.value_S_per_cm, 2) + star
    return [middle, *(_milli_interval(pair) for pair in ends)]


def _csv(results: Results, ranked: Sequence[MaterialTransport]) -> CsvTable:
    """Return σ of each material at each temperature that was asked for."""
    columns = (
        "crystal",
        *(axis_column(axis) for axis in results.axes),
        "formula",
        "temperature_K",
        "sigma_S_per_cm",
        *(f"sigma_{end}_S_per_cm" for end in ("low68", "high68", "low95", "high95")),
        "is_upper_bound",
        "extrapolated",
        "origin",
        "verdict",
        "Ea_eV",
        "Ea_error_eV",
        "e_above_hull_eV_per_atom",
        "key",
    )
    rows = [row for found in ranked for row in _csv_rows(results, found, stability_of(results, found.material))]
    return CsvTable("materials.csv", columns, tuple(rows))


def _csv_rows(
    results: Results, found: MaterialTransport, stability: MaterialStability | None
) -> Iterator[tuple[CsvCell, ...]]:
    dependence = found.dependence
    for temperature in dependence.report_temperatures_K:
        yield (
            found.material.crystal,
            *axis_values(results, found.material),
            found.formula,
            temperature,
            *_sigma_values(dependence.conductivity_at(temperature)),
            dependence.verdict_at(temperature).kind,
            dependence.Ea_eV,
            dependence.Ea_error_eV,
            _above_hull(stability),
            found.key,
        )


def _sigma_values(value: ConductivityAt | None) -> tuple[CsvCell, ...]:
    if value is None:
        return (None,) * 8
    return (
        value.value_S_per_cm,
        *value.interval68_S_per_cm,
        *value.interval95_S_per_cm,
        value.is_upper_bound,
        value.extrapolated,
        value.origin,
    )


def _above_hull(stability: MaterialStability | None) -> float | None:
    return None if stability is None else stability.e_above_hull_eV_per_atom
