"""Transport against composition: the central figures of papers A and B."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from superionic.report.composition_axes import (
    Point,
    line_words,
    material_cells,
    material_columns,
    unit_formula,
    varying_axes,
)
from superionic.report.composition_map import CompositionMap, composition_map, interpolated, rings
from superionic.report.csv_tables import Cells, CsvTable
from superionic.report.plots import GREY, HEAT_SCALE, Panel, Plot, Series, pick, pick_marker, xy
from superionic.report.runs import materials
from superionic.report.section import Paragraph, Section
from superionic.report.sections.stability import MaterialStability, energy_tags, polymorph_panel, stability_of
from superionic.report.sigma import SIGMA_COLUMNS, SigmaUnit, sigma_cells
from superionic.report.words import listing, number, plural, safe_name, with_error
from superionic.results.campaign import Results, Statement
from superionic.results.transport import AnalyseResult, MaterialTransport
from superionic.transport.conductivity.line import ConductivityAt

_KEY: Final = "composition"
_TITLE: Final = "Transport against composition"
_FEW_POINTS: Final = 10
_WIDE: Final = 20.0  # from this ratio of the highest to the lowest value on, colours show the logarithm


@dataclass(frozen=True)
class _Composition:
    """Results of one material: σ at the headline's temperature, Ea and stability; None for what is missing."""

    point: Point
    crystal: str
    name: str
    conductivity: ConductivityAt | None
    Ea_eV: float | None
    Ea_error_eV: float | None
    stability: MaterialStability | None

    @property
    def bounds_S_per_cm(self) -> tuple[float | None, float | None, float | None]:
        """The value at which σ is drawn, and the ends of its 68 % interval; an upper bound is drawn at its 95 % end."""
        sigma = self.conductivity
        if sigma is None:
            return None, None, None
        if sigma.is_upper_bound:
            return sigma.interval95_S_per_cm[1], None, None
        low, high = sigma.interval68_S_per_cm
        return sigma.value_S_per_cm, low, high if math.isfinite(high) else None


def section(results: Results) -> Section:
    """Draw σ and Ea over the composition axes; a campaign with one composition has no such section."""
    analysed = results.analyse
    if not results.axes:
        return Section(_KEY, _TITLE, [])
    if analysed is None:
        return Section(_KEY, _TITLE, [Paragraph("Transport was not analysed.", "missing")])
    axes, plot = _drawn(results, analysed)
    if plot is not None:
        return Section(_KEY, _TITLE, [plot, *_of_further_series(results)], [_csv(results)])
    words = "Only one composition has a conductivity or an activation energy, so there is no trend to draw."
    if axes:
        along = plural(len(axes), "axis", "axes")
        words = f"Compositions that differ along {along} cannot be drawn; the table of conductivities has them."
    return Section(_KEY, _TITLE, [Paragraph(words, "missing")], [_csv(results)])


def _drawn(results: Results, analysed: AnalyseResult) -> tuple[tuple[int, ...], Plot | None]:
    """Return the axes along which compositions differ, and the figure over one or two of them."""
    compositions = [_composition(results, each) for each in analysed.arrhenius]
    compositions = [each for each in compositions if len(each.point) == len(results.axes)]
    axes = varying_axes(results, [each.point for each in compositions])
    temperature = next((each.dependence.report_temperatures_K[0] for each in analysed.arrhenius), None)
    if temperature is not None and len(axes) == 1:
        return axes, _line_plot(results, compositions, axes[0], temperature)
    if temperature is not None and len(axes) == 2:
        return axes, _map_plot(results, compositions, temperature)
    return axes, None


def _of_further_series(results: Results) -> Iterator[Plot]:
    """Yield the figures of the series after the first, but those that show the number of labels."""
    sized = () if results.sizes is None else results.sizes.names
    for series, alone in zip(results.series, results.of_each_series[1:], strict=True):
        if series.analyse is None or series.potential in sized:
            continue
        _, plot = _drawn(alone, series.analyse)
        if plot is not None:
            yield replace(plot, key=f"{_KEY}_{safe_name(series.name)}", title=f"{plot.title}: series {series.name}")


def doubts(results: Results) -> Iterator[Statement]:
    """Say if the map of conductivities rests on few compositions."""
    points = [tuple(value.value for value in each.material.point) for each in materials(results)]
    distinct = set(points)
    if results.axes and len(varying_axes(results, points)) == 2 and len(distinct) < _FEW_POINTS:
        yield Statement(
            "info", f"The map of conductivities is interpolated between {plural(len(distinct), 'composition')} only."
        )


def _composition(results: Results, transport: MaterialTransport) -> _Composition:
    dependence = transport.dependence
    return _Composition(
        point=tuple(value.value for value in transport.material.point),
        crystal=transport.material.crystal,
        name=unit_formula(results, transport.formula),
        conductivity=dependence.headline,
        Ea_eV=dependence.Ea_eV,
        Ea_error_eV=dependence.Ea_error_eV,
        stability=stability_of(results, transport.material),
    )


def _hover(each: _Composition, unit: SigmaUnit, temperature_K: float) -> str:
    value, low, high = (unit.of_value(bound) for bound in each.bounds_S_per_cm)
    if each.conductivity is None:
        sigma = f"no σ({temperature_K:g} K)"
    elif each.conductivity.is_upper_bound:
        sigma = f"σ({temperature_K:g} K) below {number(value)} {unit.name}"
    else:
        sigma = f"σ({temperature_K:g} K) = {number(value)} {unit.name} (68 %: {number(low)} to {number(high)})"
    above = "" if each.stability is None else f"; {each.stability.words}"
    energy = "no Eₐ" if each.Ea_eV is None else f"Eₐ = {with_error(each.Ea_eV, each.Ea_error_eV, 'eV')}"
    return f"{each.name} {each.crystal}: {sigma}; {energy}{above}"


def _without_conductivity(compositions: Sequence[_Composition]) -> str:
    several = len({each.crystal for each in compositions}) > 1
    without = [
        f"{each.name} {each.crystal}" if several else each.name for each in compositions if each.conductivity is None
    ]
    return f" No conductivity can be stated for {listing(without)}." if without else ""


def _line_plot(results: Results, compositions: Sequence[_Composition], axis: int, temperature_K: float) -> Plot:
    unit = SigmaUnit.of_numbers(each.bounds_S_per_cm[0] for each in compositions)
    formulas = {each.material.point[axis].value: each.formula for each in materials(results) if each.material.point}
    x_label = line_words(results, axis, formulas)
    sigma: list[Series] = []
    energy: list[Series] = []
    for index, crystal in enumerate(crystal.name for crystal in results.crystals):
        own = sorted((each for each in compositions if each.crystal == crystal), key=lambda each: each.point)
        if not own:
            continue
        colour, marker = pick(index), pick_marker(index)
        x = [each.point[axis] for each in own]
        hover = [_hover(each, unit, temperature_K) for each in own]
        values = [unit.of_value(each.bounds_S_per_cm[0]) for each in own]
        sigma.append(_guide(x, values, crystal, colour))
        for bound in (False, True):
            known = enumerate(each.conductivity for each in own)
            members = [i for i, value in known if value is not None and value.is_upper_bound is bound]
            if not members:
                continue
            ends = [[unit.of_value(own[i].bounds_S_per_cm[end]) for i in members] for end in (1, 2)]
            sigma.append(
                Series(
                    [x[i] for i in members],
                    [values[i] for i in members],
                    f"{crystal}: upper bound" if bound else crystal,
                    colour=colour,
                    marker="triangle-down" if bound else marker,
                    filled=not bound,
                    low=[] if bound else ends[0],
                    high=[] if bound else ends[1],
                    hover=[hover[i] for i in members],
                    size=9,
                )
            )
        energies = [each.Ea_eV for each in own]
        low, high = (
            [None if each.Ea_eV is None else each.Ea_eV + sign * (each.Ea_error_eV or 0.0) for each in own]
            for sign in (-1, 1)
        )
        energy += [
            _guide(x, energies, crystal, colour),
            Series(x, energies, crystal, colour=colour, marker=marker, low=low, high=high, hover=hover, size=9),
        ]
    at = f"{temperature_K:g} K"
    panels = [
        Panel(sigma, x_label, f"σ({at}) ({unit.name})", f"Conductivity at {at}", y_log=True),
        Panel(energy, x_label, "activation energy Eₐ (eV)", "Activation energy"),
    ]
    below = polymorph_panel(results, results.hull[-1]) if results.hull else None
    caption = "Points with 68 % intervals; the dotted lines only guide the eye."
    if below is not None:
        panels.append(below)
        caption += " Below: which crystal type is favoured at 0 K, at each composition."
    caption += _without_conductivity(compositions)
    return Plot("composition", "Conductivity and activation energy", caption, panels, height=340)


def _guide(x: Sequence[float], y: Sequence[float | None], label: str, colour: str) -> Series:
    """Join points by a line that only guides the eye."""
    return Series(x, y, label, "line", colour, dash="dot", width=1.2, legend=False)


def _map_plot(results: Results, compositions: Sequence[_Composition], temperature_K: float) -> Plot | None:
    unit = SigmaUnit.of_numbers(each.bounds_S_per_cm[0] for each in compositions)
    panels = []
    few = []
    for crystal in (crystal.name for crystal in results.crystals):
        own = {each.point: each for each in compositions if each.crystal == crystal}
        plane = composition_map(list(own))
        if plane is None:
            continue
        panels.append(_map_panel(own, plane, unit, temperature_K, crystal if len(results.crystals) > 1 else ""))
        known = sum(each.conductivity is not None for each in own.values())
        if known < _FEW_POINTS:
            few.append(known)
    if not panels:
        return None
    caption = (
        f"Colours between the rings: σ({temperature_K:g} K), interpolated linearly between neighbouring compositions. "
        "A ring marks each simulated composition: solid if it is on the convex hull, dashed if it is above, with its "
        "energy above the hull in meV/atom. The colour inside the ring is the activation energy."
    )
    if few:
        caption += f" The map rests on {plural(min(few), 'composition')} only: between the rings it is a guess."
    caption += _without_conductivity(compositions)
    if not results.hull:
        caption += " Stability was not computed."
    title = "Map of the conductivity and the activation energy"
    return Plot("composition", title, caption, panels, columns=2 if len(panels) > 1 else 1, height=560)


def _map_panel(
    own: Mapping[Point, _Composition], plane: CompositionMap, unit: SigmaUnit, temperature_K: float, title: str
) -> Panel:
    known = {
        point: value for point, each in own.items() if (value := unit.of_value(each.bounds_S_per_cm[0])) is not None
    }
    label = f"σ({temperature_K:g} K) ({unit.name})"
    if known and max(known.values()) > _WIDE * min(known.values()):
        known = {point: math.log10(value) for point, value in known.items()}
        label = f"log₁₀ of {label}"
    heat_map = None
    if composition_map(list(known)) is not None:
        heat_map = interpolated([plane.places[point] for point in known], list(known.values()), label)
    stable = {point: each.stability is None or each.stability.stable for point, each in own.items()}
    discs = []
    for with_line in (True, False):
        members = [each for each in own.values() if (each.Ea_eV is not None) is with_line]
        disc = Series(
            *xy(plane.places[each.point] for each in members),
            "" if with_line else "no activation energy",
            colour=GREY,
            filled=with_line,
            size=16 if with_line else 9,
            hover=[_hover(each, unit, temperature_K) for each in members],
            legend=not with_line,
        )
        if with_line:
            disc = replace(
                disc,
                colour_values=[each.Ea_eV for each in members],
                colour_label="activation energy Eₐ (eV)",
                colour_scale=HEAT_SCALE,
                colour_bar="bottom",
            )
        if members:
            discs.append(disc)
    above = {
        point: each.stability.e_above_hull_eV_per_atom
        for point, each in own.items()
        if each.stability is not None and not each.stability.stable
    }
    return Panel(
        [plane.outline, *rings(plane.places, stable, on_colours=True), *discs],
        notes=[(*plane.beside(corner), own[corner].name) for corner in plane.corners],
        tags=energy_tags(plane, above),
        bare=True,
        title=title,
        x_range=plane.ranges[0],
        y_range=plane.ranges[1],
        heat_map=heat_map,
    )


def _csv(results: Results) -> CsvTable:
    def cells(each: MaterialTransport) -> Cells:
        dependence, stability = each.dependence, stability_of(results, each.material)
        return (
            *material_cells(results, each.material),
            each.formula,
            dependence.report_temperatures_K[0],
            *sigma_cells(dependence.headline),
            None if dependence.headline is None else dependence.headline.extrapolated,
            dependence.verdict.kind,
            dependence.Ea_eV,
            dependence.Ea_error_eV,
            *((None, None) if stability is None else (stability.e_above_hull_eV_per_atom, stability.stable)),
        )

    columns = (
        *material_columns(results), "formula", "temperature_K", *SIGMA_COLUMNS, "extrapolated", "verdict", "Ea_eV",
        "Ea_error_eV", "e_above_hull_eV_per_atom", "on_hull",
    )  # fmt: skip
    return CsvTable("composition.csv", columns, tuple(cells(each) for each in materials(results)))
