"""Stability: the convex hull, energies above it, and polymorphs at equal composition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from superionic.report.composition_axes import (
    Point,
    amounts_per_unit,
    line_words,
    material_cells,
    material_columns,
    place_on_axes,
    unit_formula,
    varying_axes,
)
from superionic.report.composition_map import CompositionMap, composition_map, rings
from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.plots import BLUE, GREY, VERMILION, Panel, Plot, Series, pick, pick_marker, xy
from superionic.report.section import Block, Paragraph, Section, shown
from superionic.report.table import Table, table_of
from superionic.report.words import formula_text, listing, milli, number
from superionic.results.campaign import Results, Statement
from superionic.results.identity import Material, ReferencePhase
from superionic.results.stability import HullEntry, HullResult, PhaseDiagram, Polymorphs

_MOST_POINTS: Final = 2500
_MOST_BARS: Final = 30
_SMALLEST_SHOWN_MEV: Final = 0.005


@dataclass(frozen=True)
class MaterialStability:
    """The stability of the lowest ordering of one material.

    Attributes
    ----------
    end_members
        Reduced formulas of the end members of the hull.
    compared
        Number of structures from which the hull was calculated.
    """

    lowest: HullEntry
    end_members: tuple[str, ...]
    compared: int

    @property
    def e_above_hull_eV_per_atom(self) -> float:
        """Its energy above the hull."""
        return self.lowest.e_above_hull_eV_per_atom

    @property
    def stable(self) -> bool:
        """Whether it is on the hull."""
        return self.lowest.stable

    @property
    def one_composition(self) -> bool:
        """Whether the hull has one composition only, so that it compares orderings and not compounds."""
        return len(self.end_members) <= 1

    @property
    def number(self) -> str:
        """Its energy above the hull in meV/atom."""
        return "0" if self.stable else milli(self.e_above_hull_eV_per_atom, 2)

    @property
    def words(self) -> str:
        """The stability in a few words."""
        above = f"{self.number} meV/atom above"
        if self.one_composition:
            return "lowest ordering" if self.stable else f"{above} the lowest ordering"
        return "on the hull" if self.stable else above


def stability_of(results: Results, material: Material) -> MaterialStability | None:
    """Return the stability of a material from the last hull; None if it was not calculated."""
    if not results.hull:
        return None
    hull = results.hull[-1]
    own = [entry for entry in hull.entries if entry.material == material]
    return MaterialStability(min(own, key=_by_energy), hull.end_members, len(hull.entries)) if own else None


def doubts(results: Results) -> Iterator[Statement]:
    """Say what the hull does not show."""
    if not results.hull:
        return
    words = "Stability is at 0 K, without vibrations or configurational entropy, and against the end members only."
    if results.hull[-1].one_composition:
        words = "Stability was not tested: with one composition the hull only says which ordering is lowest."
    yield Statement("info", words)


def section(results: Results) -> Section:
    """Describe the hull by the last potential; the files hold those of all rounds."""
    if not results.hull:
        return Section("stability", "Stability", [Paragraph("Stability was not computed.", "missing")])
    hull = results.hull[-1]
    blocks: list[Block] = []
    if len(results.hull) > 1:
        before = listing([round_.potential for round_ in results.hull[:-1]])
        blocks.append(
            Paragraph(f"By the potential {hull.potential}; hull.csv also has the hull by {before}.", kind="quiet")
        )
    blocks += [
        _hull_plot(results, hull),
        _polymorph_plot(results, hull),
        _hull_table(results, hull),
        _polymorph_table(results, hull),
    ]
    files = [_hull_csv(results)]
    if any(round_.polymorphs for round_ in results.hull):
        files.append(_polymorph_csv(results))
    return Section("stability", "Stability", shown(*blocks), files)


def _hull_plot(results: Results, hull: HullResult) -> Plot:
    members = listing([formula_text(member) for member in hull.end_members])
    points = [point for entry in hull.entries if (point := place_on_axes(entry.identity)) is not None]
    axes = varying_axes(results, points)
    formation = (
        f"Formation energy of every ordering against {members}. The line joins the phases that are stable at 0 K; "
        "a phase above it gains energy by separating into its neighbours on the line."
    )
    simple_phases = any(isinstance(entry.identity, ReferencePhase) for entry in hull.entries)
    if len(axes) == 1:
        panel = _hull_over_line(results, hull, axes[0], simple_phases=simple_phases)
        words = (
            f"Energy of every ordering above the hull of mixtures of {members}. A compound above it gains energy by "
            "decomposing."
            if simple_phases
            else formation
        )
    elif len(axes) == 2 and composition_map(points) is not None:
        panel = _hull_over_map(results, hull)
        words = (
            f"Lowest energy above the convex hull at each composition, against {members}. A solid ring is on the hull "
            "(stable at 0 K), a dashed one above it; the number beside it and its colour show by how much, in meV/atom."
        )
    elif len(hull.end_members) == 2:
        panel, words = hull_over_share(hull), formation
    else:
        panel = hull_bars(hull)
        words = "Energy above the convex hull of each structure, the lowest first." + (
            " With one end member the hull is its lowest ordering: the bars compare orderings, not compounds."
            if hull.one_composition
            else ""
        )
    scale = f" All energies are on one scale: {hull.energy_convention}." if hull.energy_convention else ""
    return Plot("hull", "Convex hull", words + scale, [panel], columns=1, height=460)


def _hull_over_line(results: Results, hull: HullResult, axis: int, *, simple_phases: bool) -> Panel:
    """Draw the hull against the composition axis that varies."""
    entries = [(point[axis], entry) for entry in hull.entries if (point := place_on_axes(entry.identity)) is not None]
    x_label = line_words(results, axis, {x: entry.formula for x, entry in entries})
    if simple_phases:
        # The hull runs through phases that are not on this line.
        return Panel(
            _hull_points(entries, lambda entry: entry.e_above_hull_eV_per_atom),
            x_label,
            "energy above the hull (meV/atom)",
        )
    # Between compositions the hull is linear per formula unit, and per atom only if all have as many atoms per unit.
    amounts = [amounts_per_unit(results, entry.formula) for _, entry in entries]
    sizes = {None if each is None else sum(each.values()) for each in amounts}
    if len(sizes) == 1:
        y_label, height = "formation energy (meV/atom)", _formation_per_atom
    else:
        y_label, height = "formation energy (meV per formula unit)", _formation_per_unit
    return Panel([*_hull_line(entries, height), *_hull_points(entries, height)], x_label, y_label)


def hull_over_share(hull: PhaseDiagram) -> Panel:
    """Draw the hull against the molar fraction of the second end member."""
    entries = [(entry.coordinates[1], entry) for entry in hull.entries]
    first, last = (formula_text(member) for member in hull.end_members)
    return Panel(
        [*_hull_line(entries, _formation_per_atom), *_hull_points(entries, _formation_per_atom)],
        f"fraction x of {last} in (1 − x) {first} + x {last}",
        "formation energy (meV/atom)",
    )


def _formation_per_atom(entry: HullEntry) -> float:
    return entry.formation_energy_eV_per_atom


def _formation_per_unit(entry: HullEntry) -> float:
    return entry.formation_energy_eV_per_formula_unit


def _hull_line(entries: Sequence[tuple[float, HullEntry]], height: Callable[[HullEntry], float]) -> list[Series]:
    lowest: dict[float, float] = {}
    for x, entry in entries:
        if entry.stable:
            lowest[round(x, 9)] = min(lowest.get(round(x, 9), math.inf), 1000 * height(entry))
    x_values = sorted(lowest)
    return [Series(x_values, [lowest[x] for x in x_values], "convex hull", "line", VERMILION)] if lowest else []


def _hull_points(entries: Sequence[tuple[float, HullEntry]], height: Callable[[HullEntry], float]) -> list[Series]:
    series = []
    crystals = sorted({entry.material.crystal for _, entry in entries})
    for index, crystal in enumerate(crystals):
        for stable in (False, True):
            members = [each for each in entries if (each[1].material.crystal, each[1].stable) == (crystal, stable)]
            members = members[:: -(-len(members) // _MOST_POINTS) or 1]
            if not members:
                continue
            series.append(
                Series(
                    *xy((x, 1000 * height(entry)) for x, entry in members),
                    f"{crystal}, on the hull" if stable else f"{crystal}, above the hull",
                    colour=VERMILION if stable else pick((0, 2, 3, 4, 5)[index % 5]),
                    marker=pick_marker(index),
                    filled=stable,
                    size=10 if stable else 7,
                    hover=[_hover(entry) for _, entry in members],
                )
            )
    return series


def _hover(entry: HullEntry) -> str:
    return (
        f"{formula_text(entry.formula)} {entry.material.crystal} ({entry.identity.id}): formation "
        f"{milli(entry.formation_energy_eV_per_atom)} meV/atom, {milli(entry.e_above_hull_eV_per_atom)} meV/atom above "
        "the hull"
    )


def lowest_by_point(hull: HullResult) -> dict[Point, HullEntry]:
    """Return the lowest ordering at each point of the grid."""
    lowest: dict[Point, HullEntry] = {}
    for entry in hull.entries:
        point = place_on_axes(entry.identity)
        if point is not None and (
            point not in lowest or entry.e_above_hull_eV_per_atom < lowest[point].e_above_hull_eV_per_atom
        ):
            lowest[point] = entry
    return lowest


def _hull_over_map(results: Results, hull: HullResult) -> Panel:
    lowest = lowest_by_point(hull)
    plane = composition_map(list(lowest))
    assert plane is not None  # noqa: S101 - the caller has checked
    above = [1000 * entry.e_above_hull_eV_per_atom for entry in lowest.values()]
    discs = Series(
        *xy(plane.places[point] for point in lowest),
        size=14,
        hover=[_hover(entry) for entry in lowest.values()],
        legend=False,
    )
    stable = {point: entry.stable for point, entry in lowest.items()}
    if max(above) > _SMALLEST_SHOWN_MEV:
        discs = replace(discs, colour_values=above, colour_label="energy above the hull (meV/atom)")
    return Panel(
        [plane.outline, *rings(plane.places, stable, on_colours=False), discs],
        notes=[(*plane.beside(corner), unit_formula(results, lowest[corner].formula)) for corner in plane.corners],
        tags=energy_tags(plane, {p: e.e_above_hull_eV_per_atom for p, e in lowest.items() if not e.stable}),
        bare=True,
        x_range=plane.ranges[0],
        y_range=plane.ranges[1],
    )


def energy_tags(plane: CompositionMap, above_eV: Mapping[Point, float]) -> list[tuple[float, float, str]]:
    """Return tags with energies above the hull, in meV/atom, placed beside their rings and clear of corner names."""
    tags = []
    for point, energy in above_eV.items():
        x, y = plane.places[point]
        gap = 0.085 if point in plane.corners and plane.beside(point)[1] < y else -0.085
        tags.append((x, y + gap, milli(energy, 2)))
    return tags


def hull_bars(hull: PhaseDiagram) -> Panel:
    """Draw the energies above the hull, the lowest first."""
    ordered = sorted(hull.entries, key=_by_energy)[:_MOST_BARS]
    several = len({entry.formula for entry in ordered}) > 1
    names = [
        f"{formula_text(entry.formula)} {entry.material.crystal}" if several else entry.identity.id for entry in ordered
    ]
    heights = [1000 * entry.e_above_hull_eV_per_atom for entry in ordered]
    positions = [float(index) for index in range(len(heights))]
    bars = Series(positions, heights, "above the hull", "bars", BLUE, hover=[_hover(e) for e in ordered], legend=False)
    on_hull = [x for x, entry in zip(positions, ordered, strict=True) if entry.stable]
    dots = Series(on_hull, [0.0] * len(on_hull), "on the hull", colour=VERMILION, size=11)
    return Panel([bars, dots], y_label="energy above the hull (meV/atom)", categories=names)


def _hull_table(results: Results, hull: HullResult) -> Table:
    unit = f" Formula units (f.u.) are those of {formula_text(hull.formula_unit)}." if hull.formula_unit else ""
    return table_of(
        f"Energies against the hull.{unit}",
        sorted(hull.entries, key=_by_energy),
        [
            ("Composition", lambda entry: unit_formula(results, entry.formula)),
            ("Crystal", lambda entry: entry.material.crystal),
            ("Ordering", lambda entry: entry.identity.id),
            ("Formation energy, meV/atom", lambda entry: milli(entry.formation_energy_eV_per_atom)),
            ("Above hull, meV/atom", lambda entry: milli(entry.e_above_hull_eV_per_atom)),
            ("Above hull, meV/f.u.", lambda entry: milli(entry.e_above_hull_eV_per_formula_unit)),
            ("Stable at 0 K", lambda entry: "yes" if entry.stable else "no"),
        ],
        numeric=(3, 4, 5),
    )


def _by_energy(entry: HullEntry) -> tuple[float, str]:
    return (entry.e_above_hull_eV_per_atom, entry.identity.id)


def _hull_csv(results: Results) -> CsvTable:
    members = list(dict.fromkeys(member for hull in results.hull for member in hull.end_members))

    def identity(hull: HullResult, entry: HullEntry) -> Cells:
        shares = dict(zip(hull.end_members, entry.coordinates, strict=True))
        return (
            *material_cells(results, entry.material), entry.identity.id, hull.potential, entry.formula,
            entry.formula_units, *(shares.get(member) for member in members),
        )  # fmt: skip

    return csv_table(
        "hull.csv",
        (
            *material_columns(results), "ordering", "potential", "formula", "formula_units_per_cell",
            *(f"share_{member}" for member in members),
        ),
        [(identity(hull, entry), entry) for hull in results.hull for entry in hull.entries],
        [
            ("formation_energy_eV_per_atom", lambda entry: entry.formation_energy_eV_per_atom),
            ("formation_energy_eV_per_formula_unit", lambda entry: entry.formation_energy_eV_per_formula_unit),
            ("e_above_hull_eV_per_atom", lambda entry: entry.e_above_hull_eV_per_atom),
            ("e_above_hull_eV_per_formula_unit", lambda entry: entry.e_above_hull_eV_per_formula_unit),
            ("stable", lambda entry: entry.stable),
            (
                "decomposition",
                lambda entry: " + ".join(f"{part.fraction:.6g} {part.identity.id}" for part in entry.decomposition),
            ),
        ],
    )  # fmt: skip


def polymorph_panel(results: Results, hull: HullResult) -> Panel | None:
    """Draw E(polymorph 1) − E(polymorph 2) against the composition axis that varies; None unless exactly one does.

    Of more than two crystals each is compared with the last one.
    """
    competing = [item for item in hull.polymorphs if item.point]
    axes = varying_axes(results, [tuple(value.value for value in item.point) for item in competing])
    crystals = [crystal.name for crystal in results.crystals]
    if len(axes) != 1 or len(crystals) < 2:
        return None
    *others, last = crystals
    series = []
    for index, crystal in enumerate(others):
        known = sorted(
            (item.point[axes[0]].value, 1000 * gap, item.formula)
            for item in competing
            if (gap := _gap_eV(item, crystal, last)) is not None
        )
        x, gaps = [at for at, _, _ in known], [gap for _, gap, _ in known]
        hover = [
            f"{unit_formula(results, formula)}: E({crystal}) − E({last}) = {number(gap)} meV/atom"
            for _, gap, formula in known
        ]
        colour, name = pick(index + 2), f"E({crystal}) − E({last})"
        series += [
            Series(x, gaps, name, "line", colour, dash="dot", width=1.2, legend=False),
            Series(
                x, gaps, name, colour=colour, marker=pick_marker(index), size=9, hover=hover, legend=len(others) > 1
            ),
        ]
    if not any(each.x for each in series):
        return None
    ends = [value for each in series for value in each.x if value is not None]
    zero = Series([min(ends), max(ends)], [0.0, 0.0], "", "line", GREY, width=1.0, legend=False)
    return Panel(
        [zero, *series],
        line_words(results, axes[0], {item.point[axes[0]].value: item.formula for item in competing}),
        f"E({others[0]}) − E({last}) (meV/atom)" if len(others) == 1 else f"E − E({last}) (meV/atom)",
        "Competing polymorphs",
    )


def _gap_eV(item: Polymorphs, crystal: str, other: str) -> float | None:
    first, second = item.energy_eV_per_atom(crystal), item.energy_eV_per_atom(other)
    return None if first is None or second is None else first - second


def _polymorph_plot(results: Results, hull: HullResult) -> Plot:
    panel = polymorph_panel(results, hull)
    if panel is not None:
        panel = replace(panel, title="")
        words = (
            "Difference between the energies of the lowest orderings of two crystal types at equal composition; below "
            "zero the first one is favoured. The dotted line only guides the eye."
        )
    else:
        panel = _polymorphs_by_name(results, hull)
        words = "Energy of the lowest ordering of each crystal type at equal composition, relative to the favoured one."
    words += " Differences of a few meV/atom are within thermal energies and the error of the potential."
    return Plot("polymorphs", "Competing polymorphs", words, [panel], columns=1, height=340)


def _polymorphs_by_name(results: Results, hull: HullResult) -> Panel:
    crystals = sorted({energy.crystal for item in hull.polymorphs for energy in item.energies})
    series = []
    for index, crystal in enumerate(crystals):
        gaps = [_gap_eV(item, crystal, item.energies[0].crystal) for item in hull.polymorphs]
        heights = [None if gap is None else 1000 * gap for gap in gaps]
        offset = 0.16 * (index - (len(crystals) - 1) / 2)
        hover = [
            f"{unit_formula(results, item.formula)} {crystal}: {number(height)} meV/atom"
            for item, height in zip(hull.polymorphs, heights, strict=True)
        ]
        positions = [column + offset for column in range(len(heights))]
        series.append(
            Series(positions, heights, crystal, colour=pick(index), marker=pick_marker(index), size=10, hover=hover)
        )
    names = [unit_formula(results, item.formula) for item in hull.polymorphs]
    return Panel(series, y_label="energy, relative (meV/atom)", categories=names)


def _polymorph_table(results: Results, hull: HullResult) -> Table:
    def above(item: Polymorphs) -> str:
        lowest = item.energies[0].energy_eV_per_atom
        energies = sorted(item.energies, key=lambda energy: energy.crystal)
        return ", ".join(f"{each.crystal}: {milli(each.energy_eV_per_atom - lowest, 2)}" for each in energies)

    return table_of(
        "Polymorphs at equal composition.",
        hull.polymorphs,
        [
            ("Composition", lambda item: unit_formula(results, item.formula)),
            ("Favoured", lambda item: item.energies[0].crystal),
            ("Above the favoured one, meV/atom", above),
        ],
    )


def _polymorph_csv(results: Results) -> CsvTable:
    rows = [
        (
            *material_cells(results, Material(energy.crystal, item.point)), energy.identity.id, hull.potential,
            item.formula, energy.energy_eV_per_atom, energy.energy_eV_per_atom - item.energies[0].energy_eV_per_atom,
        )
        for hull in results.hull
        for item in hull.polymorphs
        for energy in item.energies
    ]  # fmt: skip
    columns = ("ordering", "potential", "formula", "energy_eV_per_atom", "e_above_favoured_eV_per_atom")
    return CsvTable("polymorphs.csv", (*material_columns(results), *columns), tuple(rows))
