"""The figures of the section on conductivity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from superionic.references.values import PublishedValue
from superionic.report.plots import GREEN, GREY, PURPLE, VERMILION, Dash, Panel, Plot, Series, pick, pick_marker, xy
from superionic.report.published import source_words
from superionic.report.runs import NamedDependence, NamedRuns, RunName
from superionic.report.words import formula_text, number, with_error
from superionic.transport.analysis import TransportAnalysis
from superionic.transport.estimate import Estimate

_MOST_BANDS: Final = 4
_MILLI: Final = 1000.0
_SAME_K: Final = 5.0
_TEMPERATURE_TICKS: Final = (*range(200, 401, 50), *range(500, 801, 100), 1000, 1200, 1500)  # upper axis, in K
_PUBLISHED: Final = "#5b6472"
_BOUND: Final = "triangle-down"
_OF_DIRECTIONS: Final = (VERMILION, GREEN, PURPLE)


def report_temperatures(dependences: Sequence[NamedDependence]) -> list[float]:
    """Return the temperatures in K at which σ is reported, each once."""
    return list(dict.fromkeys(t for each in dependences for t in each.dependence.report_temperatures_K))


def arrhenius(
    dependences: Sequence[NamedDependence], runs: NamedRuns[TransportAnalysis], places: Sequence[int] = ()
) -> Plot:
    """Plot conductivities with their bands and published values, and diffusivities, against inverse temperature.

    ``places`` are the places of the dependences among all that one figure shows, which give their colours and markers;
    by default those in ``dependences``.
    """
    banded = len(dependences) <= _MOST_BANDS
    sigma = [
        series
        for index, each in zip(places or range(len(dependences)), dependences, strict=True)
        for series in _sigma_series(each, pick(index), pick_marker(index), bands=banded, alone=len(dependences) == 1)
    ]
    if sigma:
        sigma += _published_sigma(dependences)
    diffusion = [
        series
        for index, (group, members) in enumerate(runs.groups().items())
        for series in _diffusivities(group, members, pick(index), pick_marker(index))
    ]
    diffusion = [series for series in diffusion if series.x]
    several = len({name.temperature_K for name, _ in runs.items}) > 1 or any(
        each.dependence.line for each in dependences
    )
    panels = []
    for series_of_panel, label, title in (
        (sigma, "ionic conductivity σ (S/cm)", "Conductivity"),
        (diffusion, "tracer diffusivity D* (cm²/s)", "Diffusivity of the mobile ion"),
    ):
        x = [value for series in series_of_panel for value in series.x if value is not None]
        if not x or not several:
            continue
        pad = 0.05 * (max(x) - min(x)) or 0.1
        span = (min(x) - pad, max(x) + pad)
        guides = [
            (1000.0 / t, f"{t:g} K") for t in report_temperatures(dependences) if span[0] <= 1000.0 / t <= span[1]
        ]
        panels.append(
            Panel(
                series_of_panel,
                "1000/T (K⁻¹)",
                label,
                title,
                y_log=True,
                x_range=span,
                y_range=_range(series_of_panel),
                guides=guides,
                top_axis=_top_axis(*span),
            )
        )
    transferred = any(each.dependence.transfer is not None for each in dependences)
    scattered = any(each.dependence.model_form is not None for each in dependences)
    further = [" that of the student potential"] * transferred + [" the scatter between teachers"] * scattered
    bands = (
        "Dark and light bands: 68 % and 95 % confidence of the line; they include the statistical error"
        + (f" and{' and'.join(further)}. " if further else " only. ")
        if banded
        else "Bands are omitted if more than four lines would overlap; see the table. "
    )
    return Plot(
        "arrhenius",
        "Arrhenius plot",
        "Points: simulated temperatures with 68 % intervals. Line: fit (dashed where extrapolated). "
        + (
            "Triangles pointing down: 95 % upper bounds; the value may be anywhere below. "
            if _any_bound(panels)
            else ""
        )
        + (
            "Thin lines and open points: directions of different activation energy; the line is their mean. "
            if any(each.dependence.directions is not None and each.dependence.directions.lines for each in dependences)
            else ""
        )
        + (
            "Dotted curve: Vogel-Tammann-Fulcher law. "
            if any(each.dependence.vogel is not None and each.dependence.vogel.significant for each in dependences)
            else ""
        )
        + bands
        + (
            "Squares and diamonds in the colour of a composition: published values (filled: measured, open: computed); "
            "grey if they apply to several."
            if len(dependences) > 1
            else "Grey symbols: published values (filled: measured, open: computed)."
        ),
        panels,
        height=430,
    )


def _range(drawn: Sequence[Series]) -> tuple[float, float]:
    """Return a range that contains all points and lines, and bands within two decades of these."""
    core = [v for s in drawn if s.kind != "band" for v in s.y if v is not None and v > 0]
    wide = [v for s in drawn for v in [*s.low, *s.high] if v is not None and v > 0]
    low, high = min(core), max(core)
    low = max(min([low, *wide]), low / 100.0)
    high = min(max([high, *wide]), high * 100.0)
    return low / 1.6, high * 1.6


def _top_axis(low: float, high: float) -> tuple[list[float], list[str], str]:
    ticks: list[float] = []
    names = []
    for temperature in _TEMPERATURE_TICKS:
        at = 1000.0 / temperature
        if low <= at <= high and all(abs(at - other) > 0.12 * (high - low) for other in ticks):
            ticks.append(at)
            names.append(f"{temperature}")
    return ticks, names, "temperature (K)"


def _diffusivities(
    group: str, members: Sequence[tuple[RunName, TransportAnalysis]], colour: str, marker: str
) -> list[Series]:
    points, bounds = [], []
    for name, analysis in members:
        tracer = analysis.tracer_diffusivity_cm2_per_s
        if name.temperature_K is not None and tracer.is_upper_bound and math.isfinite(tracer.interval95[1]):
            bounds.append((1000.0 / name.temperature_K, tracer, f"{group}, {name.label}, {name.temperature_K:g} K"))
        elif name.temperature_K is not None and tracer.value > 0:
            words = f"{group}, {name.label}, {name.temperature_K:g} K: {number(tracer.value)} cm²/s"
            points.append((1000.0 / name.temperature_K, tracer, words))
    points.sort(key=lambda point: point[0])
    ends = [_drawn_ends(tracer) for _, tracer, _ in points]
    values = Series(
        *xy((x, tracer.value) for x, tracer, _ in points),
        group,
        colour=colour,
        marker=marker,
        low=[low for low, _ in ends],
        high=[high for _, high in ends],
        hover=[words for _, _, words in points],
        size=8,
    )
    return [values, upper_bounds(bounds, "cm²/s", colour, named=None if points else group)]


def upper_bounds(
    points: Sequence[tuple[float, Estimate, str]], unit: str, colour: str, *, named: str | None = None
) -> Series:
    """Return upper bounds as downward triangles at the 95 % bound, with a bar over a third of a decade.

    Parameters
    ----------
    points
        1000/T, the estimate, and the name of its subject.
    colour
        Colour of the series that they belong to.
    named
        Label in the legend, if that series has no other points.
    """
    ends = [estimate.interval95[1] for _, estimate, _ in points]
    return Series(
        [x for x, _, _ in points],
        ends,
        named or "upper bounds",
        colour=colour,
        marker=_BOUND,
        filled=False,
        low=[0.45 * end for end in ends],
        high=ends,
        hover=[f"{of}: below {number(end)} {unit} (95 %)" for (_, _, of), end in zip(points, ends, strict=True)],
        size=9,
        legend=named is not None,
    )


def _any_bound(panels: Sequence[Panel]) -> bool:
    return any(
        series.marker == _BOUND and not series.filled and series.x for panel in panels for series in panel.series
    )


def _drawn_ends(estimate: Estimate) -> tuple[float, float | None]:
    """Return the ends of a 68 % interval on a logarithmic axis; one that starts at zero is drawn over a decade."""
    low, high = estimate.interval68
    return low if low > 0 else estimate.value / 10, high if math.isfinite(high) else None


def _sigma_series(each: NamedDependence, colour: str, marker: str, *, bands: bool, alone: bool) -> list[Series]:
    out: list[Series] = []
    dependence, band = each.dependence, each.dependence.band
    bounded = [p for p in dependence.points if p.conductivity_S_per_cm.estimate.is_upper_bound]
    points = [p for p in dependence.points if p not in bounded and p.conductivity_S_per_cm.estimate.value > 0]
    if band is not None:
        inverse = [1000.0 * value for value in band.inverse_temperature_per_K]
        known = [1000.0 / point.temperature_K for point in dependence.points]
        # An unphysical line is not drawn beyond the simulated temperatures.
        extrapolates = dependence.conductivity_at(1000.0 / max(inverse)) is not None
        shown = [i for i, x in enumerate(inverse) if extrapolates or min(known) - 1e-9 <= x <= max(known) + 1e-9]
        inverse = [inverse[i] for i in shown]
        edges = (
            ("95", band.low95_S_per_cm, band.high95_S_per_cm, 0.13),
            ("68", band.low68_S_per_cm, band.high68_S_per_cm, 0.22),
        )
        for level, low, high, opacity in edges if bands else ():
            label = f"{each.name}: {level} % band"
            ends = [low[i] for i in shown], [high[i] for i in shown]
            out.append(Series(inverse, [], label, "band", colour, *ends, opacity=opacity, legend=False))
        curve = sorted(zip(inverse, [band.sigma_S_per_cm[i] for i in shown], strict=True))
        inside = [p for p in curve if min(known) - 1e-9 <= p[0] <= max(known) + 1e-9]
        out.append(_line(curve, each.name, colour, dashed=True))
        if len(inside) > 1:
            out.append(_line(inside, each.name, colour, dashed=False))
        shades = _OF_DIRECTIONS if alone else (colour,)
        out += [*_direction_series(each, shades, marker, inverse), *_vogel_series(each, colour, inverse)]
    estimates = [point.conductivity_S_per_cm.estimate for point in points]
    out.append(
        Series(
            [1000.0 / point.temperature_K for point in points],
            [estimate.value for estimate in estimates],
            each.name,
            colour=colour,
            marker=marker,
            low=[estimate.interval68[0] for estimate in estimates],
            high=[estimate.interval68[1] for estimate in estimates],
            hover=[
                f"{each.name} at {point.temperature_K:g} K: {number(estimate.value)} S/cm"
                for point, estimate in zip(points, estimates, strict=True)
            ],
            size=9,
        )
    )
    over = [
        (1000.0 / p.temperature_K, p.conductivity_S_per_cm.estimate, f"{each.name} at {p.temperature_K:g} K")
        for p in bounded
        if math.isfinite(p.conductivity_S_per_cm.estimate.interval95[1])
    ]
    out.append(upper_bounds(over, "S/cm", colour, named=None if points else each.name))
    return [series for series in out if series.x]


def _direction_series(
    each: NamedDependence, shades: Sequence[str], marker: str, inverse: Sequence[float]
) -> Iterator[Series]:
    """Yield the lines and points of directions, if directions differ."""
    directions = each.dependence.directions
    for number_of, line in enumerate(directions.lines if directions is not None else ()):
        label = f"{each.name}, {line.name}"
        shade = shades[number_of % len(shades)]
        curve = [(x, line.fit.predict(1000.0 / x).value) for x in inverse]
        yield Series(*xy(sorted(curve)), label, "line", shade, dash="dash", width=1.0, opacity=0.8, legend=False)
        measured = [
            (1000.0 / point.temperature_K, estimate)
            for point, estimate in zip(each.dependence.points, line.points, strict=True)
        ]
        drawn = [(x, e) for x, e in measured if not e.is_upper_bound and e.value > 0.0]
        yield Series(
            [x for x, _ in drawn],
            [e.value for _, e in drawn],
            label,
            colour=shade,
            marker=marker,
            filled=False,
            low=[e.interval68[0] for _, e in drawn],
            high=[e.interval68[1] for _, e in drawn],
            hover=[f"{label} at {1000.0 / x:g} K: {number(e.value)} S/cm" for x, e in drawn],
            size=6,
        )
        over = [(x, e, f"{label} at {1000.0 / x:g} K") for x, e in measured if e.is_upper_bound]
        yield upper_bounds([b for b in over if math.isfinite(b[1].interval95[1])], "S/cm", shade)


def _vogel_series(each: NamedDependence, colour: str, inverse: Sequence[float]) -> Iterator[Series]:
    """Yield the Vogel-Tammann-Fulcher curve, if the plot is significantly curved."""
    curved = each.dependence.vogel
    if curved is None or not curved.significant:
        return
    known = [(x, curved.value_at(1000.0 / x)) for x in sorted(inverse)]
    points = [(x, value * x / 1000.0) for x, value in known if value is not None]
    yield Series(*xy(points), f"{each.name}, VTF", "line", colour, dash="dot", width=1.4)


def _line(points: Sequence[tuple[float, float]], label: str, colour: str, *, dashed: bool) -> Series:
    dash: Dash
    dash, width = ("dash", 1.3) if dashed else ("solid", 2.2)
    return Series(*xy(points), label, "line", colour, dash=dash, width=width, legend=False)


def _published_sigma(dependences: Sequence[NamedDependence]) -> list[Series]:
    """Return published conductivities in the colours of their materials; grey if there is only one, or for families."""
    owners: dict[PublishedValue, list[int]] = {}
    for index, each in enumerate(dependences):
        for value in each.published:
            if value.quantity == "conductivity" and value.temperature_K is not None and value.value > 0:
                owners.setdefault(value, []).append(index)
    groups: dict[tuple[str, str, bool], list[PublishedValue]] = {}
    for value, indices in owners.items():
        colour = pick(indices[0]) if len(dependences) > 1 and len(indices) == 1 else _PUBLISHED
        groups.setdefault((colour, value.formula, value.kind == "measured"), []).append(value)
    return [
        Series(
            [1000.0 / (value.temperature_K or math.inf) for value in values],
            [value.value / _MILLI for value in values],
            f"{'measured' if measured else 'computed'} (published)",
            colour=colour,
            marker="square" if measured else "diamond",
            filled=measured,
            opacity=0.85,
            size=8,
            hover=[
                f"{formula_text(formula)}, {source_words(value)}: {number(value.value / _MILLI)} S/cm at "
                f"{value.temperature_K:g} K"
                for value in values
            ],
        )
        for (colour, formula, measured), values in groups.items()
    ]


def against_energy(dependences: Sequence[NamedDependence]) -> Plot:
    """Plot our pairs of activation energy and conductivity at the headline's temperature, and published ones."""
    series, pairs = [], []
    temperature = dependences[0].dependence.report_temperatures_K[0] if dependences else 0.0
    for index, each in enumerate(dependences):
        energy, sigma = each.dependence.Ea_eV, each.dependence.headline
        if energy is None or sigma is None or sigma.value_S_per_cm <= 0:
            continue
        error = each.dependence.Ea_error_eV or 0.0
        series.append(
            Series(
                [energy],
                [_MILLI * sigma.value_S_per_cm],
                f"{each.name}, this work",
                colour=pick(index),
                low=[_MILLI * sigma.interval68_S_per_cm[0]],
                high=[_MILLI * sigma.interval68_S_per_cm[1]],
                x_low=[energy - error],
                x_high=[energy + error],
                size=11,
                hover=[
                    f"{each.name}: {with_error(energy, error, 'eV')}, {number(_MILLI * sigma.value_S_per_cm)} mS/cm"
                ],
            )
        )
        colour = pick(index) if len(dependences) > 1 else GREY
        pairs += [(value, energy_, sigma_, colour) for value, energy_, sigma_ in _published_pairs(each, temperature)]
    for index, (value, energy, published, colour) in enumerate(pairs):
        label = f"{formula_text(value.formula)}: {source_words(value)}"
        series.append(
            Series(
                [energy],
                [published],
                label,
                colour=colour,
                marker=pick_marker(index % 6 + 1),
                size=9,
                filled=value.kind == "measured",
                hover=[f"{label}: {number(energy)} eV, {number(published)} mS/cm"],
            )
        )
    at = f"{temperature:g} K"
    return Plot(
        "conductivity_and_activation_energy",
        "Against the literature",
        f"Activation energy and conductivity at {at}, ours with 68 % intervals, and published pairs for the same "
        "polymorph at the same pressure (filled: measured; open: computed). Conductivities of simulations at low "
        "temperatures are usually extrapolated from hotter runs.",
        [Panel(series if pairs else (), "activation energy Eₐ (eV)", f"σ({at}) (mS/cm)", y_log=True)],
        columns=1,
        height=440,
    )


def _published_pairs(each: NamedDependence, temperature_K: float) -> Iterator[tuple[PublishedValue, float, float]]:
    """Yield published activation energies (eV), each with the conductivity (mS/cm) of the same sample."""
    energies: dict[tuple[str, str, str], list[PublishedValue]] = {}
    sigmas: dict[tuple[str, str, str], list[float]] = {}
    for value in each.published:
        # A publication with several samples lists them in the same order for both quantities.
        sample = (value.formula, value.source, "" if value.kind == "measured" else value.method)
        if value.quantity == "activation_energy":
            energies.setdefault(sample, []).append(value)
        elif value.temperature_K is not None and abs(value.temperature_K - temperature_K) <= _SAME_K:
            sigmas.setdefault(sample, []).append(value.value)
    for sample, values in energies.items():
        published = sigmas.get(sample, [])
        if len(values) == len(published):
            yield from ((value, value.value, sigma) for value, sigma in zip(values, published, strict=True))
