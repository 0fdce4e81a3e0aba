"""What the page says of the ranking itself: what was culled and what that cost, and how far potentials agree."""

from __future__ import annotations

from superionic.report.table import Table, cell
from superionic.report.values import Record, Results, bounds, mapping, real, records, text, whole
from superionic.report.words import UNKNOWN, formula_text, interval, number, plural, whole_text

_SURE = 0.95
_LITTLE_AGREEMENT = 0.5


def culling(results: Results) -> Table | None:
    """Return one row per crystal and composition: how many were relaxed, what was spent, and what may be missing."""
    rows = []
    for group in results.records("rank", "halving"):
        audits = records(group, "audits")
        spent, whole_cost = real(group, "evaluations"), real(group, "evaluations_if_all")
        rows.append(
            [
                text(group, "group") or UNKNOWN,
                whole_text(real(group, "orderings")),
                whole_text(real(group, "relaxed")),
                whole_text(real(group, "culled")),
                whole_text(spent),
                whole_text(None if whole_cost is None else round(whole_cost)),
                "; ".join(f"{whole(audit, 'entered')} of {whole(audit, 'audited')}" for audit in audits) or UNKNOWN,
                number(real(group, "recall"), 3),
                interval(*bounds(group, "recall_interval95")),
                "yes" if group.get("widened") else "no",
            ]
        )
    columns = [
        "Orderings of",
        "Ranked",
        "Relaxed",
        "Culled",
        "Evaluations",
        "If all were relaxed",
        "Audited that belong among the lowest",
        "Recall",
        "95 % interval",
        "Widened",
    ]
    caption = (
        "Culling. Recall: expected share of the wanted lowest orderings that are among the relaxed ones, from how far "
        "orderings drawn at random still fell."
    )
    return Table(caption, columns, rows, frozenset({1, 2, 3, 4, 5, 7}), None) if rows else None


def comparisons(results: Results) -> Table | None:
    """Return one row per other potential and composition: how far it orders the same orderings in the same way."""
    rows = []
    for other in results.records("rank", "comparisons"):
        name = text(other, "second") or UNKNOWN
        rows += [[name, text(other, "after"), *_agreement(group)] for group in records(other, "groups")]
    columns = [
        "Potential",
        "Compared on",
        "Composition",
        "Orderings",
        "Spearman ρ",
        "95 % interval",
        "Kendall τ",
        "Lowest shared",
        "Same lowest",
        "Spread, meV/atom",
        "Left between compositions, meV/atom",
    ]
    caption = (
        "Other potentials on the same orderings. Their energies are compared within a composition, and between "
        "compositions after a shift for each element; they are on no hull."
    )
    return Table(caption, columns, rows, frozenset({3, 4, 6, 10}), None) if rows else None


def _agreement(group: Record) -> list[str]:
    spearman, kendall = mapping(group, "spearman"), mapping(group, "kendall")
    count, shared = whole(group, "lowest_count"), real(group, "lowest_shared")
    spreads = group.get("spread_meV_per_atom")
    return [
        formula_text(text(group, "formula")),
        cell(group, "n"),
        number(real(spearman, "value"), 2),
        interval(real(spearman, "low"), real(spearman, "high")),
        number(real(kendall, "value"), 2),
        UNKNOWN if count is None or shared is None else f"{round(shared * count)} of {count}",
        "yes" if group.get("same_lowest") else "no",
        " and ".join(number(float(value), 2) for value in spreads) if isinstance(spreads, list) else UNKNOWN,
        number(real(group, "mean_difference_left_meV_per_atom"), 2),
    ]


def ranking_doubts(results: Results) -> list[tuple[str, str]]:
    """Return what a reader of the ranking has to know: severity and words."""
    found = []
    for group in results.records("rank", "halving"):
        recall, name = real(group, "recall"), text(group, "group")
        low, high = bounds(group, "recall_interval95")
        if recall is not None and recall < _SURE:
            wanted = plural(whole(group, "wanted") or 0, "lowest ordering")
            words = (
                f"{name}: of the {wanted} some {100 * recall:.0f} % (95 % interval {interval(low, high)}) are expected "
                "among the relaxed ones; the rest were culled. Raise `rank.halving.keep_fraction`."
            )
            found.append(("caution", words))
        if group.get("widened"):
            words = f"{name}: an audited ordering belonged among the lowest, so culling was made wider, once."
            found.append(("info", words))
    for other in results.records("rank", "comparisons"):
        for group in records(other, "groups"):
            value = real(mapping(group, "spearman"), "value")
            if value is not None and value < _LITTLE_AGREEMENT:
                words = (
                    f"{text(other, 'first')} and {text(other, 'second')} order the orderings of "
                    f"{formula_text(text(group, 'formula'))} differently (Spearman ρ = {number(value, 2)})."
                )
                found.append(("caution", words))
    return found
