"""Figures of conductivities and activation energies: against temperature, composition and the literature."""

from __future__ import annotations

from typing import Any, Final

from superionic.report.comparison import Comparison, comparisons
from superionic.report.figures_energy import fractions, triangle_frame, triangle_point
from superionic.report.figures_transport import by_id
from superionic.report.plots import (
    GREY,
    Panel,
    Plot,
    Series,
    pick,
    pick_marker,
)
from superionic.report.values import Record, Results, bounds, mapping, numbers, real, text
from superionic.report.words import composition_key, formula_text, listing, number, with_error

CompositionKey = tuple[tuple[str, float], ...]
_ROOM_K: Final = 300.0
_MOST_BANDS: Final = 4
_BANDS: Final = (
    "Dark and light band: where the line lies with 68 % and 95 % confidence; they hold only the statistical error. "
)

_TEMPERATURE_TICKS: Final = (200, 250, 300, 350, 400, 500, 600, 700, 800, 1000, 1200, 1500)


def _top_axis(low: float, high: float) -> tuple[list[float], list[str], str]:
    ticks: list[float] = []
    names = []
    for temperature in _TEMPERATURE_TICKS:
        at = 1000.0 / temperature
        if low <= at <= high and all(abs(at - other) > 0.09 * (high - low) for other in ticks):
            ticks.append(at)
            names.append(f"{temperature}")
    return ticks, names, "temperature (K)"


def arrhenius(results: Results) -> Plot | None:
    """Show conductivities against inverse temperature with their bands, beside published values."""
    fits = results.records("analyse", "arrhenius")
    runs = results.records("analyse", "runs")
    names = results.labels_by_id()
    series: list[Series] = []
    diffusion: list[Series] = []
    for index, (identity, found) in enumerate(by_id(runs).items()):
        diffusion.append(_diffusivities(found, names.get(identity, identity), pick(index), pick_marker(index)))
    banded = len(fits) <= _MOST_BANDS
    for index, fit in enumerate(fits):
        label = names.get(text(fit, "id"), text(fit, "id"))
        series += _arrhenius_series(fit, label, pick(index), pick_marker(index), bands=banded)
    if not fits:
        for index, (identity, found) in enumerate(by_id(runs).items()):
            series += _lone_conductivities(found, names.get(identity, identity), pick(index), pick_marker(index))
    diffusion = [item for item in diffusion if item.x]
    if not any(value is not None and value > 0 for item in series for value in item.y):
        series = []
    if not series and not diffusion:
        return None
    if series:
        series += _published_conductivities(
            results, {composition_key(text(record, "formula")) for record in [*fits, *runs]}
        )
    panels = []
    for found_series, label, title in (
        (series, "ionic conductivity σ (S/cm)", "Conductivity"),
        (diffusion, "tracer diffusivity D* (cm²/s)", "Diffusivity of the mobile ion"),
    ):
        if not found_series:
            continue
        x = [value for item in found_series for value in item.x if value is not None]
        pad = 0.05 * (max(x) - min(x)) or 0.1
        span = (min(x) - pad, max(x) + pad)
        y_range = _conductivity_range(found_series)
        guides = [(1000.0 / _ROOM_K, "300 K")] if span[0] <= 1000.0 / _ROOM_K <= span[1] else []
        panels.append(
            Panel(
                found_series,
                x_label="1000/T (K⁻¹)",
                y_label=label,
                title=title,
                y_log=True,
                x_range=span,
                y_range=y_range,
                guides=guides,
                top_axis=_top_axis(*span),
            )
        )
    return Plot(
        "arrhenius",
        "conductivity",
        "Arrhenius plot",
        "Points: simulated temperatures with 68 % intervals. Line: fit (dashed where it is extrapolated). "
        + (_BANDS if banded else "Bands are left out where more than four lines would overlap; see the table. ")
        + "Grey marks: published values (filled: measured, open: computed).",
        panels,
        columns=2,
        height=430,
    )


def _conductivity_range(found: list[Series]) -> tuple[float, float]:
    """Return a range that holds all points and lines, and bands only as far as they can be read."""
    core = [v for s in found if s.kind != "band" for v in s.y if v is not None and v > 0]
    wide = [v for s in found for v in [*s.low, *s.high] if v is not None and v > 0]
    low, high = min(core), max(core)
    low = max(min([low, *wide]), low / 100.0)
    high = min(max([high, *wide]), high * 100.0)
    return low / 1.6, high * 1.6


def _diffusivities(found: list[Record], label: str, colour: str, marker: str) -> Series:
    points = []
    for record in found:
        temperature = real(record, "temperature_K")
        diffusivity = mapping(record, "tracer_diffusivity_cm2_per_s")
        value = real(diffusivity, "value")
        low, high = bounds(diffusivity, "interval68")
        if temperature and value is not None and value > 0:
            low = low if low is None or low > 0 else None
            words = f"{label}, {text(record, 'run')}, {temperature:g} K: {number(value)} cm²/s"
            points.append((1000.0 / temperature, value, low if low is not None else value / 10, high, words))
    points.sort(key=lambda point: point[0])
    return Series(
        [p[0] for p in points],
        [p[1] for p in points],
        label,
        colour=colour,
        marker=marker,
        low=[p[2] for p in points],
        high=[p[3] for p in points],
        hover=[p[4] for p in points],
        size=8,
    )


def _lone_conductivities(found: list[Record], label: str, colour: str, marker: str) -> list[Series]:
    points = []
    for record in found:
        temperature = real(record, "temperature_K")
        sigma = mapping(record, "nernst_einstein_conductivity_S_per_cm")
        value = real(sigma, "value")
        if temperature and value is not None and value > 0:
            points.append((1000.0 / temperature, value, *bounds(sigma, "interval68")))
    if not points:
        return []
    x, y = [p[0] for p in points], [p[1] for p in points]
    return [
        Series(
            x, y, label, colour=colour, marker=marker, low=[p[2] for p in points], high=[p[3] for p in points], size=8
        )
    ]


def _arrhenius_series(fit: Record, label: str, colour: str, marker: str, *, bands: bool) -> list[Series]:
    out: list[Series] = []
    temperatures = numbers(fit, "temperatures_K")
    sigma = numbers(fit, "sigma_S_per_cm")
    raw = fit.get("sigma_interval68")
    pairs = raw if isinstance(raw, list) else []
    limits = [bounds({"pair": pair}, "pair") for pair in pairs] or [(None, None)] * len(sigma)
    band = mapping(fit, "band")
    inverse = [None if value is None else 1000.0 * value for value in numbers(band, "inverse_temperature_per_K")]
    for level, opacity in (("95", 0.13), ("68", 0.22)):
        low, high = numbers(band, f"low{level}"), numbers(band, f"high{level}")
        if bands and inverse and len(low) == len(high) == len(inverse):
            out.append(
                Series(
                    inverse, [], f"{label}: {level} % band", "band", colour, low, high, opacity=opacity, legend=False
                )
            )
    known = [1000.0 / value for value in temperatures if value]
    line = numbers(band, "sigma_S_per_cm")
    if inverse and len(line) == len(inverse):
        pairs_known = [(x, y) for x, y in zip(inverse, line, strict=True) if x is not None and y is not None]
        curve = sorted(pairs_known)
        inside = [p for p in curve if known and min(known) - 1e-9 <= p[0] <= max(known) + 1e-9]
        out.append(
            Series(
                [p[0] for p in curve],
                [p[1] for p in curve],
                label,
                "line",
                colour,
                dash="dash",
                width=1.3,
                legend=False,
            )
        )
        if len(inside) > 1:
            out.append(
                Series([p[0] for p in inside], [p[1] for p in inside], label, "line", colour, width=2.2, legend=False)
            )
    points = [
        (1000.0 / t, s, *limit)
        for t, s, limit in zip(temperatures, sigma, limits, strict=False)
        if t and s is not None and s > 0
    ]
    hover = [f"{label} at {1000.0 / p[0]:g} K: {number(p[1])} S/cm" for p in points]
    shown: dict[str, Any] = {"low": [p[2] for p in points], "high": [p[3] for p in points], "hover": hover, "size": 9}
    out.append(Series([p[0] for p in points], [p[1] for p in points], label, colour=colour, marker=marker, **shown))
    return out


def _published_conductivities(results: Results, formulas: set[CompositionKey]) -> list[Series]:
    groups: dict[tuple[str, bool], list[tuple[float, float, str]]] = {}
    for item in comparisons(results):
        if item.kind != "conductivity" or composition_key(item.formula) not in formulas or not item.temperature_K:
            continue
        for raw in (item.published.value, item.published.low, item.published.high):
            value = item.in_S_per_cm(raw)
            if value is not None and value > 0:
                words = (
                    f"{formula_text(item.formula)}, {item.method}, {item.short_source}: "
                    f"{number(value)} S/cm at {item.temperature_K:g} K"
                )
                groups.setdefault((item.formula, item.experiment), []).append(
                    (1000.0 / item.temperature_K, value, words)
                )
                if item.published.value is not None:
                    break
    return [
        Series(
            [p[0] for p in found],
            [p[1] for p in found],
            f"{formula_text(formula)}, {'measured' if experiment else 'computed'} (published)",
            colour="#5b6472",
            marker=("square", "diamond", "triangle-up", "triangle-down")[index % 4],
            filled=experiment,
            opacity=0.85,
            size=8,
            hover=[p[2] for p in found],
        )
        for index, ((formula, experiment), found) in enumerate(groups.items())
    ]


def conductivity_against_activation_energy(results: Results) -> Plot | None:
    """Show ours and the published pairs of activation energy and room-temperature conductivity."""
    series = []
    names = results.labels_by_id()
    formulas: dict[CompositionKey, str] = {}
    for index, fit in enumerate(results.records("analyse", "arrhenius")):
        energy, error = real(fit, "Ea_eV"), real(fit, "Ea_error_eV") or 0.0
        room = mapping(fit, "sigma_300K_mS_per_cm")
        sigma = real(room, "value")
        if energy is None or sigma is None or sigma <= 0:
            continue
        low, high = bounds(room, "interval68")
        label = names.get(text(fit, "id"), text(fit, "id"))
        formulas.setdefault(composition_key(text(fit, "formula")), pick(index))
        series.append(
            Series(
                [energy],
                [sigma],
                f"{label}, this work",
                colour=pick(index),
                marker="circle",
                low=[low],
                high=[high],
                x_low=[energy - error],
                x_high=[energy + error],
                size=11,
                hover=[f"{label}: {with_error(energy, error or None, 'eV')}, {number(sigma)} mS/cm"],
            )
        )
    published = [pair for pair in _published_pairs(results) if composition_key(pair[0].formula) in formulas]
    if not series or not published:
        return None
    for index, (item, energy, sigma) in enumerate(published):
        label = f"{formula_text(item.formula)}: {item.short_source}" + (f" ({item.method})" if item.method else "")
        hover = [f"{label}: {number(energy)} eV, {number(sigma)} mS/cm"]
        colour = formulas[composition_key(item.formula)] if len(formulas) > 1 else GREY
        marker = pick_marker(index % 6 + 1)
        series.append(
            Series([energy], [sigma], label, colour=colour, marker=marker, size=9, filled=item.experiment, hover=hover)
        )
    panel = Panel(series, x_label="activation energy Eₐ (eV)", y_label="σ at 300 K (mS/cm)", y_log=True)
    return Plot(
        "conductivity_and_activation_energy",
        "comparison",
        "Against the literature",
        "Activation energy and conductivity at 300 K, ours with 68 % intervals, beside published "
        "pairs (filled: measured; "
        "open: computed). Simulated values at 300 K are usually extrapolated from hotter runs.",
        [panel],
        columns=1,
        height=440,
    )


def _published_pairs(results: Results) -> list[tuple[Comparison, float, float]]:
    """Return published activation energies (eV) with the conductivity at 300 K (mS/cm) of the same sample."""
    energies: dict[tuple[str, str], list[tuple[Comparison, float]]] = {}
    sigmas: dict[tuple[str, str], list[float]] = {}
    for item in comparisons(results):
        # A work with several samples lists them in the same order for both quantities.
        key = (item.formula, item.source + ("" if item.experiment else item.method))
        value = item.published.value
        room = item.in_S_per_cm(value)
        if item.kind == "activation energy" and value is not None:
            energies.setdefault(key, []).append((item, value))
        elif item.kind == "conductivity" and item.temperature_K == _ROOM_K and room:
            sigmas.setdefault(key, []).append(1000.0 * room)
    return [
        (item, energy, sigma)
        for key, found in energies.items()
        if len(found) == len(sigmas.get(key, ()))
        for (item, energy), sigma in zip(found, sigmas[key], strict=True)
    ]


def composition_trends(results: Results) -> Plot | None:
    """Show conductivity and activation energy against composition: along a line, or over a triangle."""
    members = [str(member) for member in results.stage("hull").get("end_members") or []]
    places = {text(entry, "id"): fractions(entry, len(members)) for entry in results.records("hull", "entries")}
    rows = []
    for fit in results.records("analyse", "arrhenius"):
        shares = places.get(text(fit, "id"))
        if shares is not None:
            rows.append((shares, fit))
    if len({tuple(round(share, 6) for share in shares) for shares, _ in rows}) < 2:
        return None
    if len(members) == 2:
        return _line_trend(rows, members)
    return _triangle_trend(rows, members) if len(members) == 3 else None


def _line_trend(rows: list[tuple[list[float], Record]], members: list[str]) -> Plot:
    groups: dict[str, list[tuple[float, Record]]] = {}
    for shares, fit in rows:
        groups.setdefault(text(fit, "crystal") or "all", []).append((shares[1], fit))
    sigma, energy = [], []
    for index, (crystal, found) in enumerate(sorted(groups.items())):
        found.sort(key=lambda item: item[0])
        look: dict[str, Any] = {"colour": pick(index), "marker": pick_marker(index)}
        x = [at for at, _ in found]
        rooms = [mapping(fit, "sigma_300K_mS_per_cm") for _, fit in found]
        limits = [bounds(room, "interval68") for room in rooms]
        values = [real(room, "value") for room in rooms]
        sigma.append(
            Series(x, values, crystal, low=[a for a, _ in limits], high=[b for _, b in limits], size=9, **look)
        )
        sigma.append(Series(x, values, crystal, "line", look["colour"], dash="dot", width=1.2, legend=False))
        energies = [real(fit, "Ea_eV") for _, fit in found]
        errors = [real(fit, "Ea_error_eV") or 0.0 for _, fit in found]
        low = [None if e is None else e - d for e, d in zip(energies, errors, strict=True)]
        high = [None if e is None else e + d for e, d in zip(energies, errors, strict=True)]
        energy.append(Series(x, energies, crystal, low=low, high=high, size=9, **look))
        energy.append(Series(x, energies, crystal, "line", look["colour"], dash="dot", width=1.2, legend=False))
    label = f"fraction x of {formula_text(members[1])}"
    panels = [
        Panel(sigma, x_label=label, y_label="σ at 300 K (mS/cm)", y_log=True, title="Conductivity"),
        Panel(energy, x_label=label, y_label="activation energy Eₐ (eV)", title="Activation energy"),
    ]
    first, last = (formula_text(member) for member in members)
    caption = f"From {first} (x = 0) to {last} (x = 1), with 68 % intervals. The dotted lines only guide the eye."
    return Plot(
        "composition_trends", "conductivity", "Transport against composition", caption, panels, columns=2, height=340
    )


def _triangle_trend(rows: list[tuple[list[float], Record]], members: list[str]) -> Plot:
    places = [triangle_point(shares) for shares, _ in rows]
    x, y = [p[0] for p in places], [p[1] for p in places]
    sigma = [real(mapping(fit, "sigma_300K_mS_per_cm"), "value") for _, fit in rows]
    energy = [real(fit, "Ea_eV") for _, fit in rows]
    names = [formula_text(text(fit, "formula")) for _, fit in rows]
    outline, corners = triangle_frame(members)
    panels = []
    for values, label, unit in ((sigma, "σ at 300 K", "mS/cm"), (energy, "activation energy Eₐ", "eV")):
        hover = [f"{name}: {number(value)} {unit}" for name, value in zip(names, values, strict=True)]
        points = Series(
            x, y, size=15, hover=hover, colour_values=values, colour_label=f"{label} ({unit})", legend=False
        )
        panels.append(
            Panel([outline, points], notes=corners, bare=True, x_range=(-0.15, 1.15), y_range=(-0.12, 1.0), title=label)
        )
    caption = f"Over the compositions between {listing([formula_text(m) for m in members])}; errors are in the table."
    return Plot(
        "composition_trends", "conductivity", "Transport against composition", caption, panels, columns=2, height=380
    )
