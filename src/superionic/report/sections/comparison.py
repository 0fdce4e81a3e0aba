"""Comparison with published values: our results, matched with those of others on everything that must agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from superionic.references import Match, OwnResult, matching
from superionic.references.values import PublishedValue, Quantity
from superionic.report.composition_axes import unit_formula
from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.own_results import Own, own_results
from superionic.report.plots import BLUE, GREY, ORANGE, VERMILION, Panel, Plot, Series, xy
from superionic.report.published import short_citation
from superionic.report.section import Paragraph, Section, shown
from superionic.report.table import Notes, Table, table_of
from superionic.report.words import MINUS, interval, number, sentence, with_error
from superionic.results.campaign import Results

_NAMES: Final[dict[Quantity, str]] = {
    "activation_energy": "activation energy Eₐ",
    "conductivity": "conductivity σ",
    "volume_per_atom": "volume",
    "formation_energy": "formation energy",
    "energy_above_hull": "energy above the hull",
    "energy_above_polymorph": "energy above the other polymorph",
    "transition_temperature": "transition temperature",
    "mae_energy": "mean absolute error of energies",
    "mae_force": "mean absolute error of forces",
    "mae_stress": "mean absolute error of stresses",
    "rmse_energy": "root-mean-square error of energies",
    "rmse_force": "root-mean-square error of forces",
    "rmse_stress": "root-mean-square error of stresses",
    "max_error_energy": "largest error of energies",
}
_UNITS: Final = {"A3/atom": "Å³/atom", "meV/A": "meV/Å"}
_PANELS: Final[tuple[tuple[str, tuple[Quantity, ...], bool], ...]] = (
    ("activation energy (eV)", ("activation_energy",), False),
    ("conductivity (mS/cm)", ("conductivity",), True),
    ("volume (Å³/atom)", ("volume_per_atom",), False),
    ("energy (meV/atom)", ("formation_energy", "energy_above_hull", "energy_above_polymorph"), False),
)


@dataclass(frozen=True)
class Compared:
    """One result of ours, one published value, and how the two differ."""

    of: Own
    match: Match

    @property
    def own(self) -> OwnResult:
        """Our result."""
        return self.of.result

    @property
    def published(self) -> PublishedValue:
        """The published value."""
        return self.match.comparison.published


def section(results: Results) -> Section:
    """Compare all our results with published ones."""
    pairs = list(comparisons(results))
    title = "Comparison with published values"
    if not pairs:
        words = "No published value of these materials and quantities, at these conditions, is known to superionic."
        return Section("comparison", title, [Paragraph(words, "missing")])
    return Section("comparison", title, shown(_parity(results, pairs), _table(results, pairs)), [_csv(pairs)])


def comparisons(results: Results) -> Iterator[Compared]:
    """Yield every pair of a result and a published value that can be compared fairly."""
    for own in own_results(results):
        for match in matching(own.result):
            yield Compared(own, match)


def _own_words(own: OwnResult) -> str:
    if own.interval68 is not None:
        return f"{number(own.value)} ({interval(*own.interval68)})"
    return with_error(own.value, own.error)


def _difference(match: Match) -> str:
    comparison = match.comparison
    if comparison.measure == "decades":
        return f"× {number(10.0**comparison.difference, 2)}"
    sign = "+" if comparison.difference > 0 else ""
    percent = " %" if comparison.measure == "percent" else ""
    return f"{sign}{number(comparison.difference, 2)}{percent}".replace("-", MINUS)


def _subject(results: Results, item: Compared) -> str:
    formula = unit_formula(results, item.own.formula)
    if item.of.material is None:
        return f"{formula} and others" if item.own.further_formulas else formula
    return f"{formula} ({item.of.material.crystal})"


def _quantity(item: Compared) -> str:
    temperature = item.own.temperature_K
    at = f" at {temperature:g} K" if temperature is not None else ""
    return f"{_NAMES[item.own.quantity]}{at}"


def _table(results: Results, pairs: list[Compared]) -> Table:
    notes = Notes()
    bounds = {"lower": "at least ", "upper": "at most ", "about": "about ", None: ""}

    def source(published: PublishedValue) -> str:
        doi = f" · doi:{published.doi}" if published.doi and published.doi not in published.source else ""
        return published.source + doi

    return table_of(
        "This work and published values for the same composition, polymorph, temperature and pressure.",
        pairs,
        [
            ("Composition", lambda item: _subject(results, item)),
            ("Quantity", _quantity),
            ("Run or potential", lambda item: item.of.run.label if item.of.run is not None else item.of.potential),
            ("This work", lambda item: _own_words(item.own)),
            (
                "Published",
                lambda item: bounds[item.published.bound] + with_error(item.published.value, item.published.error),
            ),
            ("Unit", lambda item: _unit(item.published)),
            ("Difference", lambda item: _difference(item.match)),
            (
                "How the published value was obtained",
                lambda item: ": ".join(filter(None, (item.published.kind, item.published.method))),
            ),
            ("Remarks", lambda item: notes.refer([sentence(words) for words in item.match.differs])),
            ("Source", lambda item: source(item.published)),
        ],
        numeric=(3, 4, 6),
        notes=notes,
    )


def _unit(published: PublishedValue) -> str:
    return _UNITS.get(published.unit, published.unit)


def _csv(pairs: list[Compared]) -> CsvTable:
    return csv_table(
        "comparison.csv",
        ("crystal", "composition", "formula", "ordering", "run"),
        [(_identity(item), item) for item in pairs],
        [
            ("potential", lambda item: item.of.potential),
            ("quantity", lambda item: item.own.quantity),
            ("temperature_K", lambda item: item.own.temperature_K),
            ("pressure_GPa", lambda item: item.own.pressure_GPa),
            ("ours", lambda item: item.own.value),
            ("ours_error", lambda item: item.own.error),
            (("ours_low68", "ours_high68"), lambda item: item.own.interval68 or (None, None)),
            ("published", lambda item: item.published.value),
            ("published_error", lambda item: item.published.error),
            ("bound", lambda item: item.published.bound),
            ("unit", lambda item: item.published.unit),
            ("difference", lambda item: item.match.comparison.difference),
            ("measure", lambda item: item.match.comparison.measure),
            ("expected_scatter", lambda item: item.match.comparison.expected_scatter),
            ("same_method", lambda item: item.match.same_method),
            ("within_bound", lambda item: item.match.within),
            ("approach", lambda item: item.published.approach),
            ("method", lambda item: item.published.method),
            ("polymorph", lambda item: item.published.polymorph),
            ("published_temperature_K", lambda item: item.published.temperature_K),
            ("published_pressure_GPa", lambda item: item.published.pressure_GPa),
            ("differs", lambda item: "; ".join(item.match.differs)),
            ("source", lambda item: item.published.source),
            ("doi", lambda item: item.published.doi),
        ],
    )


def _identity(item: Compared) -> Cells:
    material, run = item.of.material, item.of.run
    subject: Cells = (None, None) if material is None else (material.crystal, material.composition_label)
    return (*subject, item.own.formula, *((None, None) if run is None else (run.ordering.id, run.label)))


def _group(item: Compared) -> int:
    """Return the group of a published value: 0 measured, 1 by the same kind of potential, 2 calculated otherwise."""
    return 0 if item.published.approach == "measured" else 1 if item.match.same_method else 2


_GROUPS: Final = (
    ("measured", BLUE, "circle", True),
    ("calculated with the same kind of potential", VERMILION, "diamond", True),
    ("calculated otherwise", ORANGE, "square", False),
)


def _parity(results: Results, pairs: list[Compared]) -> Plot:
    panels = []
    for title, quantities, log in _PANELS:
        items = [
            item
            for item in pairs
            if item.own.quantity in quantities and (not log or min(item.own.value, item.published.value) > 0)
        ]
        if items:
            panels.append(_parity_panel(results, title, items, log=log))
    return Plot(
        "published_values",
        "This work against published values",
        "Each of our results, with its 68 % interval, against each published value for the same composition, "
        "polymorph, temperature and pressure; on the line both are equal. Published limits (at least, at most) are "
        "drawn at the limit.",
        panels,
        height=360,
    )


def _parity_panel(results: Results, title: str, items: list[Compared], *, log: bool) -> Panel:
    values = [value for item in items for value in (item.published.value, item.own.value)]
    least, most = min(values), max(values)
    pad = 0.05 * (most - least) or 0.05 * abs(most) or 1.0
    ends = [least / 1.5, most * 1.5] if log else [least - pad, most + pad]
    series = [Series(ends, ends, "equal", "line", GREY, width=1.2)]
    for group, (label, colour, marker, filled) in enumerate(_GROUPS):
        own = [item for item in items if _group(item) == group]
        if own:
            low, high = xy(_span(item.own) for item in own)
            series.append(
                Series(
                    *xy((item.published.value, item.own.value) for item in own),
                    label,
                    colour=colour,
                    marker=marker,
                    filled=filled,
                    low=low,
                    high=high,
                    hover=[_hover(results, item) for item in own],
                )
            )
    return Panel(series, f"published {title}", f"this work, {title}", x_log=log, y_log=log)


def _span(own: OwnResult) -> tuple[float, float]:
    if own.interval68 is not None:
        return own.interval68
    error = own.error or 0.0
    return own.value - error, own.value + error


def _hover(results: Results, item: Compared) -> str:
    return (
        f"{_subject(results, item)}: {_quantity(item)}, ours {_own_words(item.own)}, "
        f"published {number(item.published.value)} {_unit(item.published)} ({short_citation(item.published.source)})"
    )
