"""Figures of orderings, their energies, the convex hull and competing polymorphs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.plots import BLUE, GREEN, GREY, ORANGE, VERMILION, Panel, Plot, Series, pick, pick_marker
from superionic.report.values import Record, Results, mapping, numbers, real, records, text, thin
from superionic.report.words import composition_key, formula_text, listing, number, with_error

_MOST_PANELS: Final = 6
_MOST_POINTS: Final = 2500
_ON_HULL_EV: Final = 1e-6


def _space_name(space: Record) -> str:
    parts = [formula_text(text(space, "formula")), text(space, "crystal")]
    label = text(space, "composition_label")
    if label and composition_key(label) != composition_key(text(space, "formula")):
        parts.append(label)
    return " · ".join(part for part in parts if part)


def _binned(space: Record) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts and edges, above the lowest energy: of the whole listing, or of the orderings that were kept."""
    whole = mapping(space, "histogram")
    if whole:
        counts, edges = np.array(whole["distinct"], dtype=np.float64), np.array(whole["edges_eV"], dtype=np.float64)
        # Neighbouring bins are joined until no more than 60 are left.
        join = -(-len(counts) // 60)
        padded = np.zeros(-(-len(counts) // join) * join)
        padded[: len(counts)] = counts
        width = edges[1] - edges[0]
        return padded.reshape(-1, join).sum(axis=1), np.arange(len(padded) // join + 1) * width * join
    energies = np.array(_known(space, "ewald_eV"))
    relative = energies - energies.min()
    found, edges = np.histogram(relative, bins=int(min(40, max(8, round(2 * len(relative) ** 0.5)))))
    return found.astype(np.float64), edges


def ewald_histogram(results: Results) -> Plot | None:
    """Show how the electrostatic energies of the distinct orderings of each space are spread."""
    spaces = [
        space
        for space in results.records("enumerate", "spaces")
        if space.get("histogram") or len(_known(space, "ewald_eV")) > 1
    ]
    panels = []
    for space in spaces[:_MOST_PANELS]:
        counts, edges = _binned(space)
        middles = 0.5 * (edges[1:] + edges[:-1])
        width = float(edges[1] - edges[0])
        hover = [
            f"{count:,.0f} orderings, {left:.3g} to {right:.3g} eV"
            for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True)
        ]
        bars = Series(
            middles.tolist(),
            [float(c) for c in counts],
            "distinct orderings",
            "bars",
            BLUE,
            bar_width=width,
            hover=hover,
        )
        panels.append(
            Panel(
                [_without_legend(bars)],
                x_label="Ewald energy, relative (eV)",
                y_label="distinct orderings",
                title=_space_name(space),
            )
        )
    if not panels:
        return None
    more = len(spaces) - len(panels)
    tail = f" {more} further spaces are in enumeration.csv." if more > 0 else ""
    return Plot(
        "ewald_histogram",
        "orderings",
        "Electrostatic energies of the orderings",
        "Point-charge (Ewald) energy per supercell of every listed ordering with formal "
        "oxidation states, above the lowest of its "
        "space. It is a filter that puts ions of like charge apart, not a stability: see the ranking for that." + tail,
        panels,
        columns=3 if len(panels) > 2 else 2,
        height=290,
    )


def _known(parent: Record, key: str) -> list[float]:
    return [value for value in numbers(parent, key) if value is not None]


def _without_legend(series: Series) -> Series:
    return replace(series, legend=False)


def ranking(results: Results) -> Plot | None:
    """Show the energies of the potential against those of the point charges, for each space of orderings."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for entry in results.records("rank", "entries"):
        key = (text(entry, "formula"), text(entry, "crystal"), text(entry, "composition_label"))
        groups.setdefault(key, []).append(entry)
    panels = []
    # A space of one structure (an ordered reference phase) has nothing to rank.
    for entries in [entries for entries in groups.values() if len(entries) > 1][:_MOST_PANELS]:
        panel = _ranking_panel([entries[index] for index in thin(len(entries), _MOST_POINTS)])
        if panel is not None:
            panels.append(panel)
    if not panels:
        return None
    return Plot(
        "ranking",
        "ranking",
        "Energies of the orderings by the potential",
        "Each point is one ordering: before relaxation (open) and after relaxation of positions "
        "and cell (filled), above "
        "the lowest of its kind. If the points rise together, the Ewald filter keeps the right orderings.",
        panels,
        columns=3 if len(panels) > 2 else 2,
        height=320,
    )


def _ranking_panel(entries: list[Record]) -> Panel | None:
    ewald = [real(entry, "ewald_eV") for entry in entries]
    known = [value for value in ewald if value is not None]
    by_ewald = len(known) == len(entries) and len(set(known)) > 1
    lowest_ewald = min(known) if known else 0.0
    x = (
        [value - lowest_ewald if value is not None else None for value in ewald]
        if by_ewald
        else list(range(1, len(entries) + 1))
    )
    series = []
    kinds = (
        ("single_point_eV_per_atom", "before relaxation", GREY, False),
        ("relaxed_eV_per_atom", "after relaxation", BLUE, True),
    )
    for key, label, colour, filled in kinds:
        energies = [real(entry, key) for entry in entries]
        chosen = [value for value in energies if value is not None]
        if not chosen:
            continue
        y = [1000 * (value - min(chosen)) if value is not None else None for value in energies]
        hover = [
            f"{text(entry, 'id')}: {number(value)} meV/atom above the lowest {label}"
            + (" (not converged)" if filled and entry.get("converged") is False else "")
            + (f", same as {text(entry, 'duplicate_of')}" if entry.get("duplicate_of") else "")
            for entry, value in zip(entries, y, strict=True)
        ]
        series.append(Series(x, y, label, colour=colour, filled=filled, hover=hover, opacity=0.85))
    if not series:
        return None
    crystal = text(entries[0], "crystal")
    label = text(entries[0], "composition_label")
    name = formula_text(text(entries[0], "formula"))
    return Panel(
        series,
        x_label="Ewald energy, relative (eV)" if by_ewald else "ordering, by rank",
        y_label="energy, relative (meV/atom)",
        title=" · ".join(
            part
            for part in (name, crystal, label if label not in (text(entries[0], "formula"), "parent") else "")
            if part
        ),
    )


def hull(results: Results) -> Plot | None:
    """Show the convex hull: a line for two end members, a triangle for three, bars for one or for many."""
    entries = [e for e in results.records("hull", "entries") if real(e, "e_above_hull_eV_per_atom") is not None]
    members = [str(member) for member in results.stage("hull").get("end_members") or []]
    if not entries:
        return None
    widths = {len(numbers(entry, "coordinates")) for entry in entries}
    convention = text(results.stage("hull"), "energy_convention")
    scale = f" All energies are on one scale: {convention}." if convention else ""
    if len(members) == 2 and widths <= {2, 1}:
        panel = _binary_hull(entries, members)
        words = (
            "Formation energy of every ordering against "
            f"{listing([formula_text(m) for m in members])}. The line joins the "
            "phases that are stable at 0 K; a phase above it gains energy by separating into its "
            "neighbours on the line."
        )
    elif len(members) == 3 and widths <= {3, 2}:
        panel = _ternary_hull(entries, members)
        words = (
            "Lowest energy above the convex hull at each composition between "
            f"{listing([formula_text(m) for m in members])}. "
            "Filled circles with a ring lie on the hull (stable at 0 K); the colour says how far "
            "above it the others lie."
        )
    else:
        panel = _hull_bars(entries)
        words = "Energy above the convex hull of each composition, lowest ordering first. " + (
            "With one end member the hull is its lowest ordering: the bars compare orderings, not compounds."
            if len(members) <= 1
            else ""
        )
    return Plot("hull", "stability", "Convex hull", words.strip() + scale, [panel], columns=1, height=460)


def fractions(entry: Record, n_members: int) -> list[float] | None:
    """Return the shares of the end members in an entry; they add up to one."""
    found = numbers(entry, "coordinates")
    if any(value is None for value in found):
        return None
    shares = [float(value) for value in found if value is not None]
    if len(shares) == n_members - 1:
        shares = [1.0 - sum(shares), *shares]
    total = sum(shares)
    return [share / total for share in shares] if len(shares) == n_members and abs(total) > 1e-12 else None


def _binary_hull(entries: list[Record], members: list[str]) -> Panel:
    points: dict[str, list[tuple[float, float, str, bool]]] = {}
    line: dict[float, float] = {}
    for entry in entries:
        shares = fractions(entry, 2)
        formation = real(entry, "formation_energy_eV_per_atom")
        above = real(entry, "e_above_hull_eV_per_atom")
        if shares is None or formation is None or above is None:
            continue
        x, y = shares[1], 1000 * formation
        stable = bool(entry.get("stable"))
        words = (
            f"{formula_text(text(entry, 'formula'))} {text(entry, 'crystal')} ({text(entry, 'id')}): formation "
            f"{number(y)} meV/atom, {number(1000 * above)} meV/atom above the hull"
        )
        points.setdefault(text(entry, "crystal") or "orderings", []).append((x, y, words, stable))
        if stable:
            key = round(x, 9)
            line[key] = min(line.get(key, math.inf), y)
    series = []
    if len(line) > 1:
        series.append(Series(sorted(line), [line[x] for x in sorted(line)], "convex hull", "line", VERMILION))
    for index, (crystal, found) in enumerate(sorted(points.items())):
        for stable in (False, True):
            chosen = [point for point in found if point[3] is stable]
            chosen = [chosen[i] for i in thin(len(chosen), _MOST_POINTS)]
            if chosen:
                series.append(
                    Series(
                        [p[0] for p in chosen],
                        [p[1] for p in chosen],
                        f"{crystal}, on the hull" if stable else f"{crystal}, above the hull",
                        colour=VERMILION if stable else pick((0, 2, 3, 4, 5)[index % 5]),
                        marker=pick_marker(index),
                        filled=stable,
                        size=10 if stable else 7,
                        hover=[p[2] for p in chosen],
                    )
                )
    first, last = (formula_text(member) for member in members)
    return Panel(
        series, x_label=f"fraction x of {last} in (1 − x) {first} + x {last}", y_label="formation energy (meV/atom)"
    )


def triangle_point(shares: list[float]) -> tuple[float, float]:
    """Return the place of a composition in a triangle whose corners are (0, 0), (1, 0) and the top."""
    return shares[1] + 0.5 * shares[2], shares[2] * math.sqrt(3) / 2


def triangle_frame(members: list[str]) -> tuple[Series, list[tuple[float, float, str]]]:
    """Return the outline of a composition triangle and the names at its corners."""
    top = math.sqrt(3) / 2
    outline = Series([0, 1, 0.5, 0], [0, 0, top, 0], "", "line", GREY, width=1.2, legend=False)
    names = [formula_text(member) for member in members]
    return outline, [(0.0, -0.07, names[0]), (1.0, -0.07, names[1]), (0.5, top + 0.06, names[2])]


def _ternary_hull(entries: list[Record], members: list[str]) -> Panel:
    lowest: dict[tuple[float, ...], tuple[Record, list[float]]] = {}
    for entry in entries:
        shares = fractions(entry, 3)
        if shares is None:
            continue
        key = tuple(round(share, 6) for share in shares)
        rival = lowest.get(key)
        if rival is None or (real(entry, "e_above_hull_eV_per_atom") or 0.0) < (
            real(rival[0], "e_above_hull_eV_per_atom") or 0.0
        ):
            lowest[key] = (entry, shares)
    chosen = [lowest[key] for key in sorted(lowest)]
    places = [triangle_point(shares) for _, shares in chosen]
    above = [1000 * (real(entry, "e_above_hull_eV_per_atom") or 0.0) for entry, _ in chosen]
    names = [formula_text(text(entry, "formula")) for entry, _ in chosen]
    hover = [f"{name}: {number(value)} meV/atom above the hull" for name, value in zip(names, above, strict=True)]
    outline, corners = triangle_frame(members)
    inner = [
        name if entry.get("stable") and max(shares) < 1 - 1e-6 else ""
        for name, (entry, shares) in zip(names, chosen, strict=True)
    ]
    coloured = Series(
        [p[0] for p in places],
        [p[1] for p in places],
        size=15,
        hover=hover,
        texts=inner if sum(map(bool, inner)) <= 8 else (),
        colour_values=above,
        colour_label="energy above the hull (meV/atom)",
        legend=False,
    )
    stable = [place for place, (entry, _) in zip(places, chosen, strict=True) if entry.get("stable")]
    ring = Series(
        [p[0] for p in stable],
        [p[1] for p in stable],
        "on the hull (stable at 0 K)",
        colour=VERMILION,
        filled=False,
        size=20,
    )
    return Panel([outline, ring, coloured], notes=corners, bare=True, x_range=(-0.12, 1.12), y_range=(-0.12, 1.0))


def _hull_bars(entries: list[Record]) -> Panel:
    ordered = sorted(entries, key=lambda entry: (real(entry, "e_above_hull_eV_per_atom") or 0.0, text(entry, "id")))[
        :30
    ]
    several = len({text(entry, "formula") for entry in ordered}) > 1
    names = [formula_text(text(e, "formula")) + f" {text(e, 'crystal')}" if several else text(e, "id") for e in ordered]
    values = [1000 * (real(entry, "e_above_hull_eV_per_atom") or 0.0) for entry in ordered]
    x = [float(index) for index in range(len(values))]
    hover = [
        f"{text(e, 'id')}: {number(value)} meV/atom above the hull" for e, value in zip(ordered, values, strict=True)
    ]
    bars = Series(x, values, "above the hull", "bars", BLUE, hover=hover, legend=False)
    on_hull = [index for index, value in enumerate(values) if value <= 1000 * _ON_HULL_EV]
    dots = Series([float(i) for i in on_hull], [0.0] * len(on_hull), "on the hull", colour=VERMILION, size=11)
    return Panel([bars, dots], y_label="energy above the hull (meV/atom)", categories=names)


def polymorphs(results: Results) -> Plot | None:
    """Show by how much each polymorph lies above the lowest one of the same composition."""
    found = [item for item in records(results.stage("hull"), "polymorphs") if len(_crystals(item)) > 1]
    if not found:
        return None
    crystals = sorted({name for item in found for name in _crystals(item)})
    series = []
    for index, crystal in enumerate(crystals):
        values: list[float | None] = []
        for item in found:
            energies = _crystals(item)
            values.append(1000 * (energies[crystal] - min(energies.values())) if crystal in energies else None)
        offset = 0.16 * (index - (len(crystals) - 1) / 2)
        hover = [
            f"{formula_text(text(i, 'formula'))} {crystal}: {with_error(v, None)} meV/atom"
            for i, v in zip(found, values, strict=True)
        ]
        x = [position + offset for position in range(len(found))]
        colour = (BLUE, ORANGE, GREEN, VERMILION)[index % 4]
        series.append(Series(x, values, crystal, colour=colour, marker=pick_marker(index), size=10, hover=hover))
    names = [formula_text(text(item, "formula")) for item in found]
    panel = Panel(series, y_label="energy, relative (meV/atom)", categories=names)
    return Plot(
        "polymorphs",
        "stability",
        "Competing polymorphs",
        "Energy of the lowest ordering of each crystal type at equal composition; zero is the favoured one. A few "
        "meV/atom are within reach of temperature and of the error of the potential.",
        [panel],
        columns=1,
        height=340,
    )


def _crystals(item: Record) -> dict[str, float]:
    found = item.get("crystals")
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(name): float(value) for name, value in pairs if isinstance(value, int | float)}
