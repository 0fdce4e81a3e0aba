"""Figures of sites and jumps: the network, free-energy profiles, van Hove maps, the non-Gaussian parameter."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.plots import (
    ATOM_COLOURS,
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    HeatMap,
    Panel,
    Plot,
    Series,
    Surface,
    heat_colours,
    pick,
)
from superionic.report.values import Record, Results, mapping, numbers, real, records, text
from superionic.report.words import number

_MOST_RUNS: Final = 2
_MOST_CURVES: Final = 8
_WIDEST: Final = 2.4
_AXES: Final = "abc"
_LONGEST_A: Final = 8.0
_JUMP_COLOURS: Final = (BLUE, VERMILION, ORANGE, SKY, "#b8336a", "#5c946e")


def migration_plots(results: Results) -> list[Plot]:
    """Return the figures of where ions go for which `results` has data: for the hottest run of each ordering."""
    found = results.records("analyse", "migration")
    hottest: dict[str, Record] = {}
    for item in found:
        rival = hottest.get(text(item, "id"))
        if rival is None or (real(item, "temperature_K") or 0.0) > (real(rival, "temperature_K") or 0.0):
            hottest[text(item, "id")] = item
    chosen = list(hottest.values())[:_MOST_RUNS]
    plots = [_network(item, results) for item in chosen] + [_van_hove(item, results) for item in chosen]
    plots += [_profiles(chosen, results), _non_gaussian(found, results)]
    return [plot for plot in plots if plot is not None]


def _safe(item: Record) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text(item, "run") or text(item, "id"))


def _title(item: Record, results: Results) -> str:
    temperature = real(item, "temperature_K")
    name = results.labels_by_id().get(text(item, "id"), text(item, "id"))
    return name + (f" at {temperature:g} K" if temperature is not None else "")


def _triples(rows: Any, length: int) -> NDArray[np.float64]:
    good = [row for row in rows or [] if isinstance(row, list) and len(row) == length and None not in row]
    return np.array(good, dtype=np.float64).reshape(-1, max(length, 1))


def _network(item: Record, results: Results) -> Plot | None:
    cell = _triples(item.get("cell_A"), 3)
    sites = records(item, "sites")
    x = _triples([numbers(site, "fractional") for site in sites], 3)
    edges = _triples(item.get("edges"), 6)
    if cell.shape != (3, 3) or len(x) != len(sites) or len(edges) == 0:
        return None
    rows = edges.astype(np.int64)
    labels = [text(site, "label") for site in sites]
    kinds: dict[str, list[int]] = {}
    for k, row in enumerate(rows):
        kinds.setdefault("–".join(sorted((labels[row[0]], labels[row[1]]))), []).append(k)
    ends = np.stack([x[rows[:, 0]], x[rows[:, 1]] + rows[:, 2:5]], axis=1)
    counts = edges[:, 5]
    ordered = sorted(kinds, key=lambda name: -counts[kinds[name]].sum())
    segments = [
        (
            ends[kinds[name]] @ cell,
            f"{name}: {int(counts[kinds[name]].sum())} jumps",
            _jump_colour(i),
            _width(counts, kinds[name]),
        )
        for i, name in enumerate(ordered)
    ]
    held = {name: x[[k for k, label in enumerate(labels) if label == name]] @ cell for name in dict.fromkeys(labels)}
    lengths = np.linalg.norm(cell, axis=1)
    panels = [_projection(axis, ends, counts, kinds, ordered, x, labels, sites, lengths) for axis in range(3)]
    spans = [" and ".join(_strings(cluster.get("axes"))) for cluster in records(item, "clusters")]
    connected = (
        f"All jumps together go on without end along {' ; '.join(dict.fromkeys(spans))}. "
        if spans
        else "The jumps seen do not connect the crystal along any axis. "
    )
    return Plot(
        f"network_{_safe(item)}",
        "density",
        f"Jumps between sites: {_title(item, results)}",
        "Sites (points, larger where they are fuller) and the jumps seen between them (lines, wider where there "
        "were more; those through a face of the cell end outside it). "
        + connected
        + "The maps look along each cell vector.",
        panels,
        Surface((), (), list(held.items()), cell, segments),
        columns=2,
        height=370,
    )


def _strings(values: Any) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []


def _jump_colour(index: int) -> str:
    """Return a colour that no kind of site has, as long as there are such."""
    return _JUMP_COLOURS[index % len(_JUMP_COLOURS)]


def _width(counts: NDArray[np.float64], members: list[int]) -> float:
    share = float(counts[members].mean() / counts.max())
    return 0.6 + (_WIDEST - 0.6) * share


def _projection(
    axis: int,
    ends: NDArray[np.float64],
    counts: NDArray[np.float64],
    kinds: dict[str, list[int]],
    ordered: list[str],
    x: NDArray[np.float64],
    labels: list[str],
    sites: list[Record],
    lengths: NDArray[np.float64],
) -> Panel:
    across, up = (other for other in range(3) if other != axis)
    series: list[Series] = []
    for i, name in enumerate(ordered):
        for strong in (False, True):
            chosen = [k for k in kinds[name] if (counts[k] > 0.5 * counts.max()) == strong]
            xs: list[float | None] = []
            ys: list[float | None] = []
            for k in chosen:
                xs += [float(ends[k, 0, across]), float(ends[k, 1, across]), None]
                ys += [float(ends[k, 0, up]), float(ends[k, 1, up]), None]
            if chosen:
                width = 2.6 if strong else 1.0
                label = f"{name}: {int(counts[kinds[name]].sum())} jumps"
                series.append(Series(xs, ys, label, "line", _jump_colour(i), width=width, opacity=0.75))
    for j, label in enumerate(dict.fromkeys(labels)):
        members = [k for k, other in enumerate(labels) if other == label]
        full = float(np.mean([real(sites[k], "occupancy") or 0.0 for k in members]))
        hover = [f"{label} #{k}: {number(real(sites[k], 'occupancy'), 2)} ions" for k in members]
        xs, ys = [float(x[k, across]) for k in members], [float(x[k, up]) for k in members]
        size = 4.0 + 5.0 * min(full, 1.0)
        colour = ATOM_COLOURS[j % len(ATOM_COLOURS)]
        series.append(Series(xs, ys, label, "points", colour, size=size, hover=hover))
    return Panel(
        series,
        x_label=f"along {_AXES[across]} (fraction of {lengths[across]:.2f} Å)",
        y_label=f"along {_AXES[up]} (fraction of {lengths[up]:.2f} Å)",
        title=f"Seen along {_AXES[axis]}",
    )


def _profiles(chosen: list[Record], results: Results) -> Plot | None:
    panels = []
    for item in chosen:
        series = []
        for i, profile in enumerate(records(item, "profiles")[:_MOST_CURVES]):
            x, f, e = (numbers(profile, name) for name in ("distance_A", "free_energy_eV", "error_eV"))
            if not (len(x) == len(f) == len(e) > 1):
                continue
            low = [None if a is None or b is None else a - b for a, b in zip(f, e, strict=True)]
            high = [None if a is None or b is None else a + b for a, b in zip(f, e, strict=True)]
            label = f"{text(profile, 'kind')}: {number(real(profile, 'barrier_eV'), 2)} eV"
            series.append(Series(x, [], "", "band", pick(i), low, high, opacity=0.18, legend=False))
            series.append(Series(x, f, label, "line", pick(i), width=2.0))
        if series:
            title = _title(item, results)
            panels.append(Panel(series, x_label="along the path (Å)", y_label="free energy (eV)", title=title))
    if not panels:
        return None
    return Plot(
        "free_energy_profiles",
        "density",
        "Free energy along the paths",
        "−k_BT ln P along the path of the lowest saddle between two sites, for the most frequent jumps, with its "
        "standard error (band). It is that of one ion with the others where they happen to be, at the temperature "
        "of the run.",
        panels,
        columns=2,
        height=330,
    )


def _van_hove(item: Record, results: Results) -> Plot | None:
    maps = mapping(item, "van_hove")
    lags = [value for value in numbers(maps, "lags_ps") if value is not None]
    panels = []
    for rows, radii, title, label in (
        ("self_per_A", "r_A", "The same ion", "4πr² G_s (Å⁻¹)"),
        ("distinct_over_mean", "distinct_r_A", "The other ions", "G_d/density"),
    ):
        r = np.array([value for value in numbers(maps, radii) if value is not None])
        values = _triples(maps.get(rows), len(r))
        if len(lags) < 2 or len(r) < 2 or len(values) != len(lags):
            continue
        shown = r <= _LONGEST_A
        drawn = np.minimum(values[:, shown], np.quantile(values[:, shown], 0.985))
        spread = HeatMap([float(v) for v in r[shown]], [float(v) for v in lags], drawn, label)
        panels.append(Panel(x_label="distance (Å)", y_label="time (ps)", y_log=True, title=title, heat_map=spread))
    if not panels:
        return None
    return Plot(
        f"van_hove_{_safe(item)}",
        "density",
        f"Van Hove functions: {_title(item, results)}",
        "How far an ion has gone after some time (left), and how dense the other ions are at a distance from where it "
        "was (right; 1 is the mean). Separate ridges at the distances between sites are jumps; density that grows at "
        "r = 0 on the right are ions that step into the place another has left. The brightest 1.5 % are cut off.",
        panels,
        columns=2,
        height=330,
    )


def _non_gaussian(found: list[Record], results: Results) -> Plot | None:
    names = results.labels_by_id()
    by_id: dict[str, list[Record]] = {}
    for item in found:
        by_id.setdefault(text(item, "id"), []).append(item)
    known = [t for item in found if (t := real(item, "temperature_K")) is not None]
    colours = heat_colours(known) if known else {}
    panels = []
    for identity, items in list(by_id.items())[:4]:
        series = []
        for item in items:
            curve = mapping(item, "non_gaussian")
            x, y, e = (numbers(curve, name) for name in ("lags_ps", "alpha2", "error"))
            if not (len(x) == len(y) == len(e) > 1):
                continue
            temperature = real(item, "temperature_K")
            colour = colours.get(temperature or 0.0, GREY)
            low = [None if a is None or b is None else a - b for a, b in zip(y, e, strict=True)]
            high = [None if a is None or b is None else a + b for a, b in zip(y, e, strict=True)]
            label = f"{temperature:g} K" if temperature is not None else text(item, "run")
            series.append(Series(x, [], "", "band", colour, low, high, opacity=0.15, legend=False))
            series.append(Series(x, y, label, "line", colour))
        if series:
            title = names.get(identity, identity)
            panels.append(Panel(series, x_label="time (ps)", y_label="α₂", x_log=True, title=title))
    if not panels:
        return None
    return Plot(
        "non_gaussian",
        "density",
        "Non-Gaussian parameter",
        "α₂ is zero for Brownian motion and large while a few ions jump and the others rattle; it falls as one over "
        "time once every ion has jumped several times. Where it is still high at the end, the run is short. "
        "Bands: one standard error.",
        panels,
        columns=2,
        height=310,
    )
