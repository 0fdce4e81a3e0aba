"""What the orderings look like: coordination of cations, occupancies by Wyckoff position, short-range order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from superionic.chemistry import VACANCY
from superionic.enumeration.local_order import LocalOrder, SiteOccupancy, WarrenCowleyParameter
from superionic.report.composition_axes import material_cells, material_columns, unit_formula
from superionic.report.csv_tables import Cells, CsvTable
from superionic.report.plots import BLUE, GREEN, GREY, VERMILION, Panel, Plot, Series, pick, pick_marker
from superionic.report.section import Paragraph, Section, shown
from superionic.report.table import Table
from superionic.report.words import UNKNOWN, formula_text, listing, milli, number
from superionic.results.campaign import Results
from superionic.results.identity import Run
from superionic.results.ranking import MaterialOrder
from superionic.results.transport import RunOrder

_MOST_PANELS: Final = 24
_MANY: Final = 6  # with more panels, three stand side by side
_LEAST_SHARE: Final = 0.01  # below, a coordination during a run is a momentary vibration
_MOST_KINDS: Final = 12
_WEIGHTS: Final = {"boltzmann": "Boltzmann mean", "draws": "mean of draws"}
_COLUMNS: Final = ("ordering", "weights", "temperature_K", "run")


def section(results: Results) -> Section:
    """Describe the lowest orderings of each material by the last ranking, their mean, and where ions were in runs."""
    materials = results.rank[-1].order if results.rank else ()
    if not materials:
        return Section("order", "What the orderings look like", [])
    words = [_in_words(results, each) for each in materials]
    blocks = shown(
        Paragraph(
            " ".join(text for text in words if text) or "No cation has anions of several elements to choose from."
        ),
        _coordination_plot(results, materials),
        _coordination_table(results, materials),
        _sites_plot(results, materials),
        _sites_table(results, materials),
        _pairs_plot(results, materials),
        _pairs_table(results, materials),
    )
    files = [_coordination_csv(results, materials), _sites_csv(results, materials), _pairs_csv(results, materials)]
    return Section("order", "What the orderings look like", blocks, [file for file in files if file.rows])


def _in_words(results: Results, material: MaterialOrder) -> str:
    """Say which cations have anions of one element only, where there is a choice."""
    order = material.lowest[0].order
    kinds = [kind for kind in order.coordination if kind.cation != results.mobile_ion]
    if not _has_choice(order) or not kinds:
        return ""
    unmixed = [kind for kind in kinds if not kind.is_mixed and kind.anions]
    name = f"{unit_formula(results, material.formula)} ({material.material.label})"
    if not unmixed:
        return f"{name}: in the lowest ordering every cation but {results.mobile_ion} has anions of several elements."
    labels = listing(sorted({formula_text(kind.label) for kind in unmixed}))
    which = "all" if len(unmixed) == len(kinds) else "some"
    cations = f"cations but {results.mobile_ion}"
    return f"{name}: in the lowest ordering {which} {cations} have anions of one element only: {labels}."


def _left_out(materials: Sequence[MaterialOrder]) -> str:
    more = len(materials) - _MOST_PANELS
    return f" The first {_MOST_PANELS} of {len(materials)} materials; the table has all." if more > 0 else ""


def _has_choice(order: LocalOrder) -> bool:
    """Return whether there are anions of several elements."""
    return len({element for kind in order.coordination for element, _ in kind.anions}) > 1


def _structures(material: MaterialOrder) -> Iterator[tuple[str, float | None, LocalOrder, Cells]]:
    """Yield name, energy above the lowest, order and identifying cells of each described structure."""
    for place, each in enumerate(material.lowest):
        name = "lowest" if place == 0 else each.ordering.id.rpartition(" ")[2]
        yield name, each.above_lowest_eV_per_atom, each.order, (each.ordering.id, None, None, None)
    if (mean := material.mean) is not None:
        name = f"{_WEIGHTS[mean.weights]}, {mean.temperature_K:g} K"
        yield name, None, mean.order, (None, mean.weights, mean.temperature_K, None)


def _runs(results: Results, material: MaterialOrder) -> list[RunOrder]:
    """Return the local order in the runs of a material."""
    if results.analyse is None:
        return []
    return [each for each in results.analyse.orders if each.run.ordering.material == material.material]


def _in_runs(results: Results, material: MaterialOrder) -> Iterator[tuple[str, float | None, LocalOrder, Cells]]:
    """Yield the same as :func:`_structures` for each run."""
    names = {
        each.ordering: "lowest" if place == 0 else each.ordering.id.rpartition(" ")[2]
        for place, each in enumerate(material.lowest)
    }
    for each in _runs(results, material):
        run = each.run
        name = f"MD of {names.get(run.ordering, run.ordering.id.rpartition(' ')[2])}, {run.temperature_K:g} K"
        yield name, None, each.order, (run.ordering.id, None, run.temperature_K, run.label)


def _hottest(results: Results, material: MaterialOrder) -> RunOrder | None:
    """Return the local order in the hottest run of the lowest ordering."""
    own = [each for each in _runs(results, material) if each.run.ordering == material.lowest[0].ordering]
    return max(own, key=lambda each: each.run.temperature_K, default=None)


def _name(results: Results, material: MaterialOrder) -> str:
    return f"{unit_formula(results, material.formula)} · {material.material.label}"


# ---- coordination ---------------------------------------------------------------------------------------------------


def _coordination_plot(results: Results, materials: tuple[MaterialOrder, ...]) -> Plot:
    panels = []
    chosen = [material for material in materials if _has_choice(material.lowest[0].order)]
    for material in chosen[:_MOST_PANELS]:
        shares: dict[str, dict[str, float]] = {}
        orders = [(name, order) for name, _, order, _ in _structures(material) if not name.startswith("#")]
        if (hottest := _hottest(results, material)) is not None:
            orders.append((f"MD, {hottest.run.temperature_K:g} K", hottest.order))
        for name, order in orders:
            for kind in order.coordination:
                if kind.cation != results.mobile_ion and kind.share >= _LEAST_SHARE:
                    shares.setdefault(kind.label, {})[name] = 100.0 * kind.share
        labels = list(shares)[:_MOST_KINDS]
        names = [name for name, _ in orders]
        series = [
            Series(
                [k + 0.8 * ((i + 0.5) / len(names) - 0.5) for k in range(len(labels))],
                [shares[label].get(name, 0.0) for label in labels],
                name,
                "bars",
                GREEN if name.startswith("MD") else BLUE if i == 0 else VERMILION,
                bar_width=0.8 / len(names),
            )
            for i, name in enumerate(names)
        ]
        panels.append(
            Panel(
                series,
                "",
                "share of its cations (%)",
                _name(results, material),
                categories=tuple(formula_text(label) for label in labels),
                x_range=(-0.6, max(len(labels), 3) - 0.4),
            )
        )
    return Plot(
        "coordination",
        "Which anions surround each cation?",
        "Where there are several anions: share of each cation but the mobile ion by those around it, in the relaxed "
        "lowest ordering, in the mean, and on average over its hottest run. The shell ends at the largest relative gap "
        "of distances (Brunner 1977)." + _left_out(chosen),
        [panel for panel in panels if panel.series],
        columns=3 if len(chosen) > _MANY else 2,
        height=300,
    )


def _coordination_table(results: Results, materials: tuple[MaterialOrder, ...]) -> Table:
    rows = []
    for material in materials:
        for name, above, order, _ in (*_structures(material), *_in_runs(results, material)):
            for cation in dict.fromkeys(kind.cation for kind in order.coordination):
                kinds = [kind for kind in order.coordination if kind.cation == cation]
                shares = ", ".join(f"{formula_text(kind.label)} {number(100 * kind.share)} %" for kind in kinds[:4])
                more = f" and {len(kinds) - 4} more" if len(kinds) > 4 else ""
                rows.append(
                    [
                        unit_formula(results, material.formula),
                        material.material.label,
                        name,
                        milli(above),
                        cation,
                        shares + more,
                        number(100.0 * (order.unmixed_share(cation) or 0.0)),
                        number(sum(kind.share * kind.number for kind in kinds)),
                    ]
                )
    return Table(
        "Coordination of the cations, in orderings and on average over runs from them (MD). Unmixed: share of the "
        "cations that anions of one element coordinate.",
        (
            "Composition",
            "Material",
            "Structure",
            "Above lowest, meV/atom",
            "Cation",
            "Coordination",
            "Unmixed, %",
            "Mean number",
        ),
        rows,
        frozenset((3, 6, 7)),
    )


def _coordination_csv(results: Results, materials: tuple[MaterialOrder, ...]) -> CsvTable:
    rows = tuple(
        (
            *material_cells(results, material.material), material.formula, *cells, above, kind.cation, kind.label,
            kind.number, kind.is_mixed, kind.share, material.key,
        )
        for material in materials
        for _, above, order, cells in (*_structures(material), *_in_runs(results, material))
        for kind in order.coordination
    )  # fmt: skip
    columns = (
        *material_columns(results), "formula", *_COLUMNS, "above_lowest_eV_per_atom", "cation", "polyhedron",
        "coordination_number", "is_mixed", "share", "key",
    )  # fmt: skip
    return CsvTable("coordination_kinds.csv", columns, rows)


# ---- occupancies ----------------------------------------------------------------------------------------------------


def _of_runs(results: Results, material: MaterialOrder) -> list[tuple[Run, dict[str, float]]]:
    """Return the mean occupancies of sites of the crystal in the runs of a material, where they were determined."""
    if results.analyse is None:
        return []
    return [
        (record.run, {kind.label: kind.occupancy for kind in record.migration.site_kinds})
        for record in results.analyse.migration
        if record.run.ordering.material == material.material
        and record.migration is not None
        and record.migration.crystal is not None
    ]


def _mobile(results: Results, order: LocalOrder) -> list[SiteOccupancy]:
    return [site for site in order.sites if site.species == results.mobile_ion]


def _sites_plot(results: Results, materials: tuple[MaterialOrder, ...]) -> Plot:
    panels = []
    for material in materials[:_MOST_PANELS]:
        order = material.lowest[0].order
        labels = [site.site for site in _mobile(results, order)]
        columns = [("disordered crystal", [site.crystal_occupancy for site in _mobile(results, order)], GREY, False)]
        columns.append(("lowest", [site.occupancy for site in _mobile(results, order)], BLUE, True))
        if material.mean is not None:
            known = {site.site: site.occupancy for site in _mobile(results, material.mean.order)}
            name = f"{_WEIGHTS[material.mean.weights]}, {material.mean.temperature_K:g} K"
            columns.append((name, [known.get(label, 0.0) for label in labels], VERMILION, True))
        for index, (run, occupancies) in enumerate(_of_runs(results, material)):
            values = [occupancies.get(label, 0.0) for label in labels]
            columns.append((f"MD, {run.temperature_K:g} K", values, pick(index + 2), False))
        spread = 0.5
        series = [
            Series(
                [k + spread * ((i + 0.5) / len(columns) - 0.5) for k in range(len(labels))],
                [100.0 * value for value in values],
                name,
                "points",
                colour,
                filled=filled,
                size=9,
            )
            for i, (name, values, colour, filled) in enumerate(columns)
        ]
        if labels:
            panels.append(
                Panel(
                    series,
                    "",
                    "occupied (%)",
                    _name(results, material),
                    categories=tuple(labels),
                    x_range=(-0.6, len(labels) - 0.4),
                    y_range=(-5.0, 105.0),
                )
            )
    return Plot(
        "site_occupancies",
        f"On which sites is {results.mobile_ion}?",
        "Occupancy of the crystal's sites by Wyckoff position: in the disordered crystal, in the lowest ordering, in "
        "the mean of the orderings, and during molecular dynamics." + _left_out(materials),
        panels,
        columns=3 if len(materials) > _MANY else 2,
        height=300,
    )


def _sites_table(results: Results, materials: tuple[MaterialOrder, ...]) -> Table:
    rows = []
    for material in materials:
        mean = {} if material.mean is None else {(s.site, s.species): s.occupancy for s in material.mean.order.sites}
        runs = _of_runs(results, material)
        for site in material.lowest[0].order.sites:
            moved = [
                f"{number(100 * occupancies[site.site])} ({run.temperature_K:g} K)"
                for run, occupancies in runs
                if site.species == results.mobile_ion and site.site in occupancies
            ]
            averaged = mean.get((site.site, site.species), None if not mean else 0.0)
            rows.append(
                [
                    unit_formula(results, material.formula),
                    material.material.label,
                    site.site,
                    site.species,
                    number(100 * site.crystal_occupancy),
                    number(100 * site.occupancy),
                    UNKNOWN if averaged is None else number(100 * averaged),
                    "; ".join(moved) or UNKNOWN,
                ]
            )
    return Table(
        "Occupancies by Wyckoff position, in per cent. During MD: in runs whose sites are those of the crystal.",
        ("Composition", "Material", "Site", "Species", "Disordered crystal", "Lowest ordering", "Mean", "During MD"),
        rows,
        frozenset((4, 5, 6)),
    )


def _sites_csv(results: Results, materials: tuple[MaterialOrder, ...]) -> CsvTable:
    rows: list[Cells] = []
    for material in materials:
        head = (*material_cells(results, material.material), material.formula)
        for _, _, order, cells in _structures(material):
            rows += [
                (*head, *cells, site.site, site.species, site.n_sites, site.occupancy, site.crystal_occupancy)
                for site in order.sites
            ]
        sites = {site.site: site for site in _mobile(results, material.lowest[0].order)}
        for run, occupancies in _of_runs(results, material):
            for label, occupancy in occupancies.items():
                known = sites.get(label)
                rows.append(
                    (
                        *head,
                        run.ordering.id,
                        None,
                        run.temperature_K,
                        run.label,
                        label,
                        results.mobile_ion,
                        None,
                        occupancy,
                        None if known is None else known.crystal_occupancy,
                    )
                )
    columns = (
        *material_columns(results), "formula", *_COLUMNS, "site", "species", "n_sites", "occupancy",
        "crystal_occupancy",
    )  # fmt: skip
    return CsvTable("site_occupancies.csv", columns, tuple(rows))


# ---- short-range order ----------------------------------------------------------------------------------------------


def _species(species: str) -> str:
    return "vacancy" if species == VACANCY else species


def _drawn_pairs(results: Results, order: LocalOrder) -> list[tuple[str, str]]:
    """Return the pairs of species to draw: those without vacancies and mobile ions."""
    pairs = dict.fromkeys((pair.first, pair.second) for pair in order.pairs)
    return [pair for pair in pairs if not {VACANCY, results.mobile_ion} & set(pair)]


def _pairs_plot(results: Results, materials: tuple[MaterialOrder, ...]) -> Plot:
    panels = []
    orders = [material.lowest[0].order for material in materials[:_MOST_PANELS]]
    # A pair has the same colour in all panels, which share a legend.
    index_of = {name: k for k, name in enumerate(dict.fromkeys(n for o in orders for n in _drawn_pairs(results, o)))}
    for material, order in zip(materials, orders, strict=False):
        series = []
        for name in _drawn_pairs(results, order)[:_MOST_KINDS]:
            points = [pair for pair in order.pairs if (pair.first, pair.second) == name]
            series.append(
                Series(
                    [pair.distance_A for pair in points],
                    [pair.alpha for pair in points],
                    f"{_species(name[0])}–{_species(name[1])}",
                    "points",
                    pick(index_of[name]),
                    marker=pick_marker(index_of[name]),
                    size=9,
                    hover=[
                        f"shell {pair.shell}: α = {pair.alpha:.3f}, at random {pair.alpha_random:.3f}"
                        for pair in points
                    ],
                )
            )
        if (hottest := _hottest(results, material)) is not None and series:
            names = _drawn_pairs(results, order)[:_MOST_KINDS]
            series += [
                Series(
                    [pair.distance_A for pair in hottest.order.pairs if (pair.first, pair.second) == name],
                    [pair.alpha for pair in hottest.order.pairs if (pair.first, pair.second) == name],
                    f"{_species(name[0])}–{_species(name[1])}, MD",
                    "points",
                    pick(index_of[name]),
                    marker=pick_marker(index_of[name]),
                    filled=False,
                    size=13,
                )
                for name in names
            ]
        if series:
            panels.append(Panel(series, "distance in the crystal (Å)", "α", _name(results, material)))
    return Plot(
        "short_range_order",
        "Do species attract or avoid each other?",
        "Warren–Cowley parameters of the lowest ordering by shell: negative where two species attract each other, "
        "positive where they avoid each other. Open: on average over its hottest run; the same where species have not "
        "mixed. The table and the file have all pairs, vacancies too." + _left_out(materials),
        panels,
        columns=3 if len(materials) > _MANY else 2,
        height=300,
    )


def _pairs_table(results: Results, materials: tuple[MaterialOrder, ...]) -> Table:
    rows = []
    for material in materials:
        mean = {} if material.mean is None else {_pair(p): p.alpha for p in material.mean.order.pairs}
        lowest = material.lowest[0].ordering
        runs = [each for each in _runs(results, material) if each.run.ordering == lowest]
        in_runs = [(each.run, {_pair(p): p.alpha for p in each.order.pairs}) for each in runs]
        rows += [
            [
                unit_formula(results, material.formula),
                material.material.label,
                f"{_species(pair.first)}–{_species(pair.second)}",
                str(pair.shell),
                number(pair.distance_A),
                number(pair.neighbours),
                number(pair.alpha),
                number(mean.get(_pair(pair))),
                number(pair.alpha_random),
                "; ".join(
                    f"{number(alphas[_pair(pair)])} ({run.temperature_K:g} K)"
                    for run, alphas in in_runs
                    if _pair(pair) in alphas
                )
                or UNKNOWN,
            ]
            for pair in material.lowest[0].order.pairs
        ]
    return Table(
        "Warren–Cowley parameters α = 1 − p/c of the lowest ordering and of the mean, on the sites of the crystal; at "
        "random: mean over all decorations of the cell; during MD: on average over each run from the lowest ordering.",
        (
            "Composition",
            "Material",
            "Pair",
            "Shell",
            "Distance, Å",
            "Neighbours",
            "α, lowest",
            "α, mean",
            "α, at random",
            "α, during MD",
        ),
        rows,
        frozenset(range(3, 9)),
    )


def _pair(pair: WarrenCowleyParameter) -> tuple[str, str, tuple[str, str], int]:
    return pair.first, pair.second, pair.sublattices, pair.shell


def _pairs_csv(results: Results, materials: tuple[MaterialOrder, ...]) -> CsvTable:
    rows = tuple(
        (
            *material_cells(results, material.material), material.formula, *cells, *pair.sublattices,
            _species(pair.first), _species(pair.second), pair.shell, pair.distance_A, pair.neighbours, pair.alpha,
            pair.alpha_random,
        )
        for material in materials
        for _, _, order, cells in (*_structures(material), *_in_runs(results, material))
        for pair in order.pairs
    )  # fmt: skip
    columns = (
        *material_columns(results), "formula", *_COLUMNS, "sublattice_a", "sublattice_b", "first", "second", "shell",
        "distance_A", "neighbours", "alpha", "alpha_random",
    )  # fmt: skip
    return CsvTable("short_range_order.csv", columns, rows)
