"""The summary: the main results and how far to trust them in five lines, and one row for each material."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from superionic.report.composition_axes import material_cells, material_columns, unit_formula
from superionic.report.csv_tables import Cells, CsvTable
from superionic.report.runs import materials
from superionic.report.section import Block, Line, Lines, Paragraph, Section, Statements
from superionic.report.sections.stability import stability_of
from superionic.report.sigma import SIGMA_COLUMNS, SigmaUnit, sigma_cells, sigma_detail, sigma_words
from superionic.report.table import Table
from superionic.report.words import UNKNOWN, formula_text, listing, milli, number, plural, with_error
from superionic.results.campaign import Results, Statement
from superionic.results.identity import Material, Ordering
from superionic.results.transport import MaterialTransport
from superionic.transport.conductivity.doubts import Severity
from superionic.transport.conductivity.line import ConductivityAt
from superionic.transport.conductivity.of_temperature import TemperatureDependence

_MOST_REASONS = 4


def section(results: Results) -> Section:
    """Return the summary and the table of all materials."""
    ranked = best_first(materials(results))
    lines = [*_conductivity_lines(results, ranked), *_stability_line(results, ranked), *_potential_line(results)]
    blocks: list[Block] = [
        Lines((*lines, *trust_line(results.statements, _factor(ranked))))
        if lines
        else Paragraph("There is no conductivity, activation energy or stability to report yet.", "missing")
    ]
    if ranked:
        words = "* extrapolated beyond the simulated temperatures. Factor: upper over lower end of the 68 % interval."
        blocks += [_table(results, ranked), Paragraph(words, "quiet")]
    if results.statements:
        blocks.append(Statements("How far to trust these numbers", results.statements))
    return Section("summary", "Summary", blocks, [_csv(results, ranked)] if ranked else ())


def best_first(materials: Sequence[MaterialTransport]) -> list[MaterialTransport]:
    """Sort materials by conductivity at the first report temperature; those without one come last."""

    def order(material: MaterialTransport) -> tuple[bool, bool, float]:
        headline = material.dependence.headline
        if headline is None:
            return (True, True, 0.0)
        return (False, headline.is_upper_bound, -headline.value_S_per_cm)

    return sorted(materials, key=order)


def _factor(ranked: Sequence[MaterialTransport]) -> float | None:
    """Return the width of the headline's interval if there is only one material."""
    headline = ranked[0].dependence.headline if len(ranked) == 1 else None
    return headline.precision.factor if headline is not None else None


def trust_line(statements: Sequence[Statement], factor: float | None = None) -> Iterator[Line]:
    """Summarise the doubts in one line; thin statistics come with the width of the interval, the ratio of its ends."""
    counts = [
        plural(count, name)
        for severity, name in (("warning", "warning"), ("caution", "caution"), ("info", "note"))
        if (count := sum(statement.severity == severity for statement in statements))
    ]
    if not counts:
        return
    reasons = list(dict.fromkeys(statement.short for statement in statements if statement.short))
    if factor is not None:
        thin = "statistically thin"
        reasons = [f"{thin} (factor {number(factor, 2)})" if reason == thin else reason for reason in reasons]
    named = ", ".join(reasons[:_MOST_REASONS] + (["and more"] if len(reasons) > _MOST_REASONS else []))
    if not named:  # doubts without a short form, such as remarks on a trajectory, still count
        serious = any(statement.severity != "info" for statement in statements)
        named = "only with the reservations below" if serious else "no serious doubt"
    yield Line(f"Trust: {named}", f"explained in {listing(counts)} below", statements[0].severity)


def energy_line(dependence: TemperatureDependence) -> Iterator[Line]:
    """Yield the activation energy, if there is one and it is physical."""
    if dependence.Ea_eV is None or dependence.line is None or any(d.kind == "unphysical" for d in dependence.doubts):
        return
    low, high = dependence.line.temperature_range_K
    severity: Severity = "caution" if any(d.kind == "insignificant" for d in dependence.doubts) else "info"
    directions = dependence.directions
    each = f" · of the mean; {directions.words}" if directions is not None and directions.lines else ""
    yield Line(
        f"Eₐ = {with_error(dependence.Ea_eV, dependence.Ea_error_eV, 'eV')}",
        f"{plural(sum(dependence.line.used), 'temperature')}, {low:g}–{high:g} K{each}",
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
    n_with_sigma = sum(each.dependence.headline is not None for each in ranked)
    if n_with_sigma > 1:
        name += f", the highest of {n_with_sigma}"
    headline, verdict = best.dependence.headline, best.dependence.verdict
    if headline is None:
        temperature_K = best.dependence.report_temperatures_K[0]
        yield Line(f"No σ({temperature_K:g} K)", f"{verdict.words} · {name}", "warning")
    elif results.status == "student failed parity":
        detail = f"its {sigma_words(headline)} is not a result until it passes · {name}"
        yield Line("No result: the student failed parity with its teacher", detail, "warning")
    else:
        line = best.dependence.line
        detail = sigma_detail(headline, None if line is None else line.temperature_range_K)
        yield Line(sigma_words(headline), f"{detail} · {name}", verdict.severity)
    yield from energy_line(best.dependence)


def _stability_line(results: Results, ranked: Sequence[MaterialTransport]) -> Iterator[Line]:
    material = ranked[0].material if ranked else _most_stable(results)
    stability = stability_of(results, material) if material is not None else None
    if stability is None or material is None:
        return
    name = _name(results, stability.lowest.formula, material)
    if stability.one_composition:
        words = f"Lowest of {plural(stability.compared, 'ordering')} compared"
        if not stability.stable:
            words = f"{milli(stability.e_above_hull_eV_per_atom, 2)} meV/atom above the lowest ordering"
        yield Line(words, f"no competing compounds, so stability was not tested · {name}")
        return
    members = listing([formula_text(member) for member in stability.end_members])
    above = (
        "on the hull" if stability.stable else f"{milli(stability.e_above_hull_eV_per_atom, 2)} meV/atom above the hull"
    )
    yield Line(f"Stability: {above}", f"relative to {members} only, at 0 K · {name}")


def _most_stable(results: Results) -> Material | None:
    """Return the most stable material of the campaign, apart from reference phases, which are on the hull anyway."""
    entries = results.hull[-1].entries if results.hull else ()
    own = [entry for entry in entries if isinstance(entry.identity, Ordering)]
    return min(own, key=lambda entry: entry.e_above_hull_eV_per_atom).material if own else None


def _potential_line(results: Results) -> Iterator[Line]:
    if results.validate is None:
        return
    errors = results.validate.errors
    if errors.before is None:
        of = f"mean absolute, of {results.validate.potential} over {plural(errors.n_structures, 'label')}"
        yield Line(f"Force error {number(errors.after.mae_force_meV_per_A)} meV/Å", of)
        return
    worse = errors.after.mae_force_meV_per_A > errors.before.mae_force_meV_per_A
    yield Line(
        f"Force error {number(errors.after.mae_force_meV_per_A)} meV/Å",
        f"mean absolute, over {plural(errors.n_structures, 'structure')} of the {errors.set} set; before training "
        f"{number(errors.before.mae_force_meV_per_A)} meV/Å",
        "warning" if worse else "info",
    )


def _name(results: Results, formula: str, material: Material) -> str:
    return f"{unit_formula(results, formula)} ({material.crystal})"


def _table(results: Results, ranked: Sequence[MaterialTransport]) -> Table:
    temperatures = list(dict.fromkeys(t for each in ranked for t in each.dependence.report_temperatures_K))
    single = len(temperatures) == 1
    several = len({each.material.crystal for each in ranked}) > 1
    columns = ["Composition"] + ["Crystal"] * several
    first = len(columns)
    units = {t: SigmaUnit.of(each.dependence.conductivity_at(t) for each in ranked) for t in temperatures}
    for temperature, unit in units.items():
        columns += [f"σ({temperature:g} K), {unit.name} (68 %)"] + ["95 % interval"] * single
    stabilities = [stability_of(results, each.material) for each in ranked]
    on_a_hull = all(each is not None and not each.one_composition for each in stabilities)
    columns += ["Eₐ, eV", "Above the hull, meV/atom" if on_a_hull else "Stability", "Verdict"]
    numeric = frozenset(range(first, len(columns) - (1 if on_a_hull else 2)))
    rows = []
    for each, stability in zip(ranked, stabilities, strict=True):
        row = [unit_formula(results, each.formula)] + [each.material.crystal] * several
        for temperature, unit in units.items():
            row += _sigma_cells(each.dependence.conductivity_at(temperature), unit, single)
        verdict = each.dependence.verdict
        row += [
            with_error(each.dependence.Ea_eV, each.dependence.Ea_error_eV),
            UNKNOWN if stability is None else stability.number if on_a_hull else stability.words,
            _verdict(each) if verdict.kind in ("sound", "statistically thin") else verdict.kind,
        ]
        rows.append(row)
    return Table("Main results, the highest conductivity first.", columns, rows, numeric)


def _verdict(material: MaterialTransport) -> str:
    headline = material.dependence.headline
    return material.dependence.verdict.kind if headline is None else headline.precision.words


def _sigma_cells(value: ConductivityAt | None, unit: SigmaUnit, single: bool) -> list[str]:
    if value is None:
        return [UNKNOWN] * (2 if single else 1)
    star = "*" if value.extrapolated else ""
    bound = f"< {unit.value(value.interval95_S_per_cm[1])}"
    middle = bound if value.is_upper_bound else unit.value(value.value_S_per_cm) + star
    return [f"{middle} ({unit.ends(value.interval68_S_per_cm)})"] + [unit.ends(value.interval95_S_per_cm)] * single


def _csv(results: Results, ranked: Sequence[MaterialTransport]) -> CsvTable:
    """Return σ of each material at each report temperature."""

    def cells(each: MaterialTransport, temperature_K: float) -> Cells:
        dependence, stability = each.dependence, stability_of(results, each.material)
        value = dependence.conductivity_at(temperature_K)
        return (
            *material_cells(results, each.material),
            each.formula,
            temperature_K,
            *sigma_cells(value),
            *((None,) * 3 if value is None else (value.is_upper_bound, value.extrapolated, value.origin)),
            dependence.verdict_at(temperature_K).kind,
            dependence.Ea_eV,
            dependence.Ea_error_eV,
            None if stability is None else stability.e_above_hull_eV_per_atom,
            each.key,
        )

    columns = (
        *material_columns(results), "formula", "temperature_K", *SIGMA_COLUMNS,
        "is_upper_bound", "extrapolated", "origin", "verdict", "Ea_eV", "Ea_error_eV", "e_above_hull_eV_per_atom",
        "key",
    )  # fmt: skip
    rows = tuple(cells(each, at) for each in ranked for at in each.dependence.report_temperatures_K)
    return CsvTable("materials.csv", columns, rows)
