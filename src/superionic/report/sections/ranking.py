"""Ranking: energies of the orderings by the potential, the orderings culled, and a comparison of potentials."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from superionic.report.composition_axes import material_cells, material_columns, ordering_cells, unit_formula
from superionic.report.csv_tables import CsvTable, csv_table
from superionic.report.plots import BLUE, GREY, Panel, Plot, Series, thin
from superionic.report.section import Block, Paragraph, Section, shown
from superionic.report.sections.cells import percent_of
from superionic.report.table import Table, table_of
from superionic.report.words import MINUS, UNKNOWN, interval, milli, number, plural, whole_text
from superionic.results.campaign import Results, Statement
from superionic.results.identity import Material, OrderedCell, Ordering, ReferencePhase
from superionic.results.ranking import (
    ComparedEnergies,
    Comparison,
    HalvingReport,
    PrescreenAudit,
    RankedOrdering,
    RankResult,
)

_MOST_PANELS: Final = 6
_MOST_POINTS: Final = 2500
_SURE: Final = 0.95
_POOR: Final = 0.8
_FEW_AUDITED: Final = 3
"""A line needs two points: fewer than three leave no scatter about it from which a recall would follow."""
_LITTLE_AGREEMENT: Final = 0.5


def section(results: Results) -> Section:
    """Describe the ranking and, if there is one, that by the fine-tuned potential."""
    title = "Ranking by the potential"
    if not results.rank:
        return Section("ranking", title, [Paragraph("Orderings were not ranked with a potential.", "missing")])
    blocks: list[Block] = []
    for number_of_round, ranking in enumerate(results.rank, 1):
        blocks += [
            _potential(ranking),
            _plot(results, ranking, number_of_round),
            _table(results, ranking),
            _prescreen(results, ranking),
            _culling(results, ranking.halving),
            _comparisons(results, ranking.comparisons),
        ]
    files = [
        _orderings_csv(results),
        _prescreen_csv(results),
        _culling_csv(results),
        _comparisons_csv(results),
    ]
    return Section("ranking", title, shown(*blocks), [file for file in files if file.rows])


def _material(identity: Ordering | ReferencePhase) -> Material:
    return identity.material if isinstance(identity, Ordering) else Material(identity.name)


def doubts(results: Results) -> Iterator[Statement]:
    """Say what culling may have missed, and on which compositions potentials disagree."""
    for ranking in results.rank:
        for audit in ranking.prescreen.audits:
            yield from _about_prescreen(_name(results, audit), ranking.prescreen.by, audit)
        for report in ranking.halving:
            yield from _about_culling(_name(results, report), report)
        for other in ranking.comparisons:
            for group in other.rankings.groups if other.rankings is not None else ():
                if group.spearman.value is not None and group.spearman.value < _LITTLE_AGREEMENT:
                    yield Statement(
                        "caution",
                        f"{other.first} and {other.second} order the orderings of "
                        f"{unit_formula(results, group.formula)} differently "
                        f"(Spearman ρ = {number(group.spearman.value, 2)}).",
                        "potentials rank orderings differently",
                    )


def _about_culling(name: str, report: HalvingReport) -> Iterator[Statement]:
    if report.recall < _SURE:
        yield Statement(
            "caution",
            f"{name}: of the {plural(report.wanted, 'lowest ordering')} about {100 * report.recall:.0f} % (95 % "
            f"interval {interval(*report.recall_interval95)}) are expected among the relaxed ones; the rest were "
            "culled. Raise `rank.halving.keep_fraction`.",
            "low orderings may have been culled",
        )
    if report.widened:
        words = f"{name}: an audited ordering belonged among the lowest, so the culling margin was widened once."
        yield Statement("info", words)


def _about_prescreen(name: str, by: str, audit: PrescreenAudit) -> Iterator[Statement]:
    """Warn of a pre-screen that misses low orderings, or of one that was not tested."""
    if audit.recall is None or audit.recall_interval95 is None:
        yield Statement(
            "caution",
            f"{name}: {whole_text(audit.screened_out)} orderings were left out by {by} alone, and how many of the "
            "lowest are among them is not known. Set `rank.prescreen_audit` to 10 or more.",
            "the pre-screen was not tested",
        )
    elif audit.audited < _FEW_AUDITED:
        drawn = f"{plural(audit.audited, 'ordering')} that it had left out, drawn at random,"
        found = f"{audit.entered} of them among the lowest" if audit.entered else "none of them among the lowest"
        yield Statement(
            "warning" if audit.entered else "caution",
            f"{name}: the pre-screen by {by} was tested on {drawn} {found}. So few do not tell how many of the lowest "
            "it missed: set `rank.prescreen_audit` to 10 or more.",
            "the pre-screen misses low orderings" if audit.entered else "the pre-screen was hardly tested",
        )
    elif audit.recall < _SURE:
        yield Statement(
            "warning" if audit.recall < _POOR else "caution",
            f"{name}: the pre-screen by {by} kept about {100 * audit.recall:.0f} % (95 % interval "
            f"{interval(*audit.recall_interval95)}) of the {plural(audit.n_lowest, 'lowest ordering')}; "
            f"{audit.entered} of {audit.audited} that it had left out, drawn at random, are among the lowest. Raise "
            "`rank.prescreen_keep`, relax with the cheap potential (`rank.prescreen_steps`), or take a better one.",
            "the pre-screen misses low orderings",
        )


def _name(results: Results, report: HalvingReport | PrescreenAudit) -> str:
    return f"{unit_formula(results, report.formula)} ({report.material.label})"


def _potential(ranking: RankResult) -> Paragraph:
    identity, name = ranking.potential, ranking.potential_name
    parts = [
        f"{label}: {value}"
        for label, value in (
            ("Potential", name if name == identity.name else f"{name} ({identity.name})"),
            ("model", identity.model),
            ("version", identity.version),
            ("level of theory", identity.level_of_theory),
            ("energy scale", identity.energy_convention),
        )
        if value
    ]
    return Paragraph("; ".join(parts) + ".", "quiet")


def _plot(results: Results, ranking: RankResult, number_of_round: int) -> Plot:
    # Point-charge energies are per supercell, so those of different supercells cannot share an axis.
    groups: dict[OrderedCell, list[RankedOrdering]] = {}
    for entry in ranking.entries:
        if isinstance(entry.identity, Ordering) and entry.single_point_eV_per_atom is not None:
            groups.setdefault(entry.identity.cell, []).append(entry)
    several = [(cell, entries) for cell, entries in groups.items() if len(entries) > 1]
    panels = [
        panel
        for cell, entries in several[:_MOST_PANELS]
        if (panel := _panel(f"{unit_formula(results, entries[0].formula)} · {cell.id}", entries)) is not None
    ]
    more = f" The figure shows {_MOST_PANELS} of {len(several)} spaces." if len(several) > _MOST_PANELS else ""
    return Plot(
        "ranking" if number_of_round == 1 else f"ranking_{number_of_round}",
        f"Energies of the orderings by the potential{_which(results, ranking)}",
        "Each point is one ordering: before relaxation (open) and after relaxation of positions and cell (filled), "
        "above the lowest of its space. If the points rise together, the Ewald filter keeps the right orderings."
        + more,
        panels,
        columns=3 if len(panels) > 2 else 2,
        height=320,
    )


def _which(results: Results, ranking: RankResult) -> str:
    """Return the name of the potential, if there is more than one ranking."""
    return f" {ranking.potential_name}" if len(results.rank) > 1 else ""


def _panel(title: str, all_entries: Sequence[RankedOrdering]) -> Panel | None:
    entries = [all_entries[index] for index in thin(len(all_entries), _MOST_POINTS)]
    ewald = [entry.ewald_eV for entry in entries if entry.ewald_eV is not None]
    by_ewald = len(ewald) == len(entries) and len(set(ewald)) > 1
    x = [energy - min(ewald) for energy in ewald] if by_ewald else [float(i) for i in range(1, len(entries) + 1)]
    before, after = "before relaxation", "after relaxation"
    series = [
        *_points(x, entries, [entry.single_point_eV_per_atom for entry in entries], before, GREY, filled=False),
        *_points(x, entries, [entry.relaxed_eV_per_atom for entry in entries], after, BLUE, filled=True),
    ]
    if not series:
        return None
    return Panel(
        series, "Ewald energy, relative (eV)" if by_ewald else "ordering, by rank", "energy, relative (meV/atom)", title
    )


def _points(
    x: list[float],
    entries: Sequence[RankedOrdering],
    energies: Sequence[float | None],
    label: str,
    colour: str,
    *,
    filled: bool,
) -> list[Series]:
    lowest = min((energy for energy in energies if energy is not None), default=None)
    if lowest is None:
        return []
    y = [None if energy is None else 1000 * (energy - lowest) for energy in energies]
    hover = [
        f"{entry.identity.id}: {number(height)} meV/atom above the lowest {label}"
        + (" (not converged)" if filled and entry.converged is False else "")
        + (f", same as {entry.duplicate_of.id}" if entry.duplicate_of is not None else "")
        for entry, height in zip(entries, y, strict=True)
    ]
    return [Series(x, y, label, colour=colour, filled=filled, hover=hover, opacity=0.85)]


def _table(results: Results, ranking: RankResult) -> Table:
    unrelaxed = _above_lowest((entry, entry.single_point_eV_per_atom) for entry in ranking.entries)
    relaxed = _above_lowest((entry, entry.relaxed_eV_per_atom) for entry in ranking.entries)

    def order(entry: RankedOrdering) -> tuple[str, bool, float, float, str]:
        after, before = relaxed.get(entry.identity), unrelaxed.get(entry.identity)
        return (entry.formula, after is None, after or 0.0, before or 0.0, entry.identity.id)

    by = f", by the potential{_which(results, ranking)}" if len(results.rank) > 1 else ""
    return table_of(
        f"Orderings by energy, lowest first; energies above the lowest of the same composition{by}.",
        sorted(ranking.entries, key=order),
        [
            ("Ordering", lambda entry: entry.identity.id),
            ("Composition", lambda entry: unit_formula(results, entry.formula)),
            ("Crystal", lambda entry: _material(entry.identity).crystal),
            ("Degeneracy", lambda entry: whole_text(entry.degeneracy)),
            ("Unrelaxed, above lowest, meV/atom", lambda entry: milli(unrelaxed.get(entry.identity))),
            ("Relaxed, above lowest, meV/atom", lambda entry: milli(relaxed.get(entry.identity))),
            ("Relaxed energy, eV/atom", lambda entry: _energy(entry.relaxed_eV_per_atom)),
            ("Volume, Å³/atom", lambda entry: number(entry.volume_A3_per_atom, 4)),
            ("Minus refined, %", lambda entry: _minus_refined(results, ranking, entry)),
            ("State", _state),
        ],
        numeric=range(3, 9),
    )


def _minus_refined(results: Results, ranking: RankResult, entry: RankedOrdering) -> str:
    identity = entry.identity
    return percent_of(results, identity, ranking.potential_name, None) if isinstance(identity, Ordering) else UNKNOWN


def _energy(eV_per_atom: float | None) -> str:
    return UNKNOWN if eV_per_atom is None else f"{eV_per_atom:.4f}".replace("-", MINUS)


def _above_lowest(energies: Iterable[tuple[RankedOrdering, float | None]]) -> dict[Ordering | ReferencePhase, float]:
    """Return each energy relative to the lowest one of the same composition."""
    known = [(entry, energy) for entry, energy in energies if energy is not None]
    lowest: dict[str, float] = {}
    for entry, energy in known:
        lowest[entry.formula] = min(energy, lowest.get(entry.formula, energy))
    return {entry.identity: energy - lowest[entry.formula] for entry, energy in known}


def _state(entry: RankedOrdering) -> str:
    if entry.duplicate_of is not None:
        return f"same as {entry.duplicate_of.id}"
    if entry.n_steps is None:
        return "not relaxed"
    return f"{'relaxed' if entry.converged else 'not converged'} in {plural(entry.n_steps, 'step')}"


def _orderings_csv(results: Results) -> CsvTable:
    return csv_table(
        "orderings.csv",
        (*material_columns(results), "ordering", "potential"),
        [
            ((*material_cells(results, _material(entry.identity)), entry.identity.id, ranking.potential_name), entry)
            for ranking in results.rank
            for entry in ranking.entries
        ],
        [
            ("formula", lambda entry: entry.formula),
            ("n_atoms", lambda entry: entry.n_atoms),
            ("degeneracy", lambda entry: entry.degeneracy),
            ("ewald_eV", lambda entry: entry.ewald_eV),
            ("prescreen_eV_per_atom", lambda entry: entry.prescreen_eV_per_atom),
            ("single_point_eV_per_atom", lambda entry: entry.single_point_eV_per_atom),
            ("reached_eV_per_atom", lambda entry: entry.reached_eV_per_atom),
            ("relaxed_eV_per_atom", lambda entry: entry.relaxed_eV_per_atom),
            ("volume_A3_per_atom", lambda entry: entry.volume_A3_per_atom),
            ("largest_force_eV_per_A", lambda entry: entry.largest_force_eV_per_A),
            ("converged", lambda entry: entry.converged),
            ("n_steps", lambda entry: entry.n_steps),
            ("n_evaluations", lambda entry: entry.n_evaluations),
            ("duplicate_of", lambda entry: None if entry.duplicate_of is None else entry.duplicate_of.id),
            ("key", lambda entry: entry.key),
        ],
    )


def _culling(results: Results, reports: Sequence[HalvingReport]) -> Table:
    """Return a row for each crystal and composition: numbers of orderings, cost, and expected recall."""
    return table_of(
        "Culling. Recall: expected share of the requested lowest orderings that are among the relaxed ones, estimated "
        "from how far orderings drawn at random still relaxed.",
        reports,
        [
            ("Orderings of", lambda report: _name(results, report)),
            ("Ranked", lambda report: whole_text(report.orderings)),
            ("Relaxed", lambda report: whole_text(report.relaxed)),
            ("Culled", lambda report: whole_text(report.culled)),
            ("Evaluations", lambda report: whole_text(report.evaluations)),
            ("If all were relaxed", lambda report: _rounded(report.evaluations_if_all)),
            (
                "Audited orderings among the lowest",
                lambda report: "; ".join(f"{each.entered} of {each.audited}" for each in report.audits) or UNKNOWN,
            ),
            ("Recall", lambda report: number(report.recall, 3)),
            ("95 % interval", lambda report: interval(*report.recall_interval95)),
            ("Widened", lambda report: "yes" if report.widened else "no"),
        ],
        numeric=(1, 2, 3, 4, 5, 7),
    )


def _rounded(count: float | None) -> str:
    return whole_text(None if count is None else round(count))


def _culling_csv(results: Results) -> CsvTable:
    return csv_table(
        "culling.csv",
        (*material_columns(results), "formula", "potential"),
        [
            ((*material_cells(results, report.material), report.formula, ranking.potential_name), report)
            for ranking in results.rank
            for report in ranking.halving
        ],
        [
            ("ranked", lambda report: report.orderings),
            ("pilots", lambda report: report.pilots),
            ("relaxed", lambda report: report.relaxed),
            ("culled", lambda report: report.culled),
            ("wanted", lambda report: report.wanted),
            ("evaluations", lambda report: report.evaluations),
            ("evaluations_if_all", lambda report: report.evaluations_if_all),
            ("audited", lambda report: sum(audit.audited for audit in report.audits)),
            ("audited_among_the_lowest", lambda report: sum(audit.entered for audit in report.audits)),
            ("widened", lambda report: report.widened),
            ("recall", lambda report: report.recall),
            (("recall_low95", "recall_high95"), lambda report: report.recall_interval95),
            ("recall_at_least_by_audit", lambda report: report.recall_at_least_by_audit),
        ],
    )


def _prescreen(results: Results, ranking: RankResult) -> Table:
    """Return a row for each composition: what the pre-screen left out, and its recall."""
    return table_of(
        f"The pre-screen by {ranking.prescreen.by}, tested on orderings that it left out, drawn at random and relaxed "
        f"by {ranking.potential_name}: the share of the lowest orderings that it kept.",
        ranking.prescreen.audits,
        [
            ("Composition", lambda audit: _name(results, audit)),
            ("Kept", lambda audit: whole_text(audit.kept)),
            ("Left out", lambda audit: whole_text(audit.screened_out)),
            ("Tested", lambda audit: whole_text(audit.audited)),
            ("Of these among the lowest", lambda audit: whole_text(audit.entered)),
            ("Lowest", lambda audit: whole_text(audit.n_lowest)),
            ("Recall", lambda audit: number(audit.recall, 2)),
            (
                "95 % interval",
                lambda audit: UNKNOWN if audit.recall_interval95 is None else interval(*audit.recall_interval95),
            ),
            ("At least, by numbers alone", lambda audit: number(audit.recall_at_least_by_audit, 2)),
        ],
        numeric=(1, 2, 3, 4, 5, 6, 8),
    )


def _prescreen_csv(results: Results) -> CsvTable:
    return csv_table(
        "prescreen.csv",
        (*material_columns(results), "formula", "potential", "prescreen"),
        [
            (
                (
                    *material_cells(results, audit.material),
                    audit.formula,
                    ranking.potential_name,
                    ranking.prescreen.by,
                ),
                audit,
            )
            for ranking in results.rank
            for audit in ranking.prescreen.audits
        ],
        [
            ("kept", lambda audit: audit.kept),
            ("screened_out", lambda audit: audit.screened_out),
            ("audited", lambda audit: audit.audited),
            ("audited_among_the_lowest", lambda audit: audit.entered),
            ("n_lowest", lambda audit: audit.n_lowest),
            ("recall", lambda audit: audit.recall),
            (("recall_low95", "recall_high95"), lambda audit: audit.recall_interval95 or (None, None)),
            ("recall_at_least_by_audit", lambda audit: audit.recall_at_least_by_audit),
        ],
    )


def _comparisons(results: Results, others: Sequence[Comparison]) -> Table:
    """Return a row for each other potential and composition: agreement on the order of the same orderings."""
    return table_of(
        "Other potentials on the same orderings. Their energies are compared within a composition, and between "
        "compositions after a shift for each element; they do not enter the hull.",
        [(other, group) for other in others for group in (other.rankings.groups if other.rankings is not None else ())],
        [
            ("Potential", lambda row: row[0].second),
            ("Compared on", lambda row: row[0].after),
            ("Composition", lambda row: unit_formula(results, row[1].formula)),
            ("Orderings", lambda row: whole_text(row[1].n)),
            ("Spearman ρ", lambda row: number(row[1].spearman.value, 2)),
            ("95 % interval", lambda row: interval(row[1].spearman.low, row[1].spearman.high)),
            ("Kendall τ", lambda row: number(row[1].kendall.value, 2)),
            (
                "Lowest shared",
                lambda row: f"{round(row[1].lowest_shared * row[1].lowest_count)} of {row[1].lowest_count}",
            ),
            ("Same lowest", lambda row: "yes" if row[1].same_lowest else "no"),
            ("Spread, meV/atom", lambda row: " and ".join(number(each, 2) for each in row[1].spread_meV_per_atom)),
            (
                "Residual between compositions, meV/atom",
                lambda row: number(row[1].mean_difference_left_meV_per_atom, 2),
            ),
            ("Volume against the first, %", lambda row: number(_volume_percent(row[0], row[1].formula), 2)),
            ("Against refined, %", lambda row: number(_refined_percent(results, row[0], row[1].formula), 2)),
        ],
        numeric=(3, 4, 6, 10, 11, 12),
    )


def _volume_percent(other: Comparison, formula: str) -> float | None:
    """Return the mean difference of the volumes by the other potential from those by the first, in per cent."""
    differences = [
        each.second_A3_per_atom / each.first_A3_per_atom - 1.0 for each in other.volumes if each.formula == formula
    ]
    return 100.0 * sum(differences) / len(differences) if differences else None


def _refined_percent(results: Results, other: Comparison, formula: str) -> float | None:
    """Return the mean difference of the volumes by the other potential from the refined ones, in per cent."""
    first = {
        one.ordering: one.difference.volume_percent
        for one in results.cells
        if one.run is None and one.potential == other.first
    }
    differences = [
        (1.0 + first[each.ordering] / 100.0) * each.second_A3_per_atom / each.first_A3_per_atom - 1.0
        for each in other.volumes
        if each.formula == formula and each.ordering in first
    ]
    return 100.0 * sum(differences) / len(differences) if differences else None


def _volumes_of(other: Comparison, energies: ComparedEnergies) -> tuple[float | None, float | None]:
    known = {each.ordering: (each.first_A3_per_atom, each.second_A3_per_atom) for each in other.volumes}
    return known.get(energies.ordering, (None, None))


def _comparisons_csv(results: Results) -> CsvTable:
    return csv_table(
        "ranking_comparison.csv",
        (*material_columns(results), "ordering", "formula", "first_potential", "second_potential", "compared_on"),
        [
            (
                (*ordering_cells(results, each.ordering), each.formula, other.first, other.second, other.after),
                (each, _volumes_of(other, each)),
            )
            for ranking in results.rank
            for other in ranking.comparisons
            for each in (other.rankings.energies if other.rankings is not None else ())
        ],
        [
            ("first_eV_per_atom", lambda row: row[0].first_eV_per_atom),
            ("second_eV_per_atom", lambda row: row[0].second_eV_per_atom),
            ("difference_left_meV_per_atom", lambda row: row[0].left_meV_per_atom),
            (("first_A3_per_atom", "second_A3_per_atom"), lambda row: row[1]),
        ],
    )
