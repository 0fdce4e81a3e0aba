"""Figures of paths: densities, the network of jumps, free-energy profiles, van Hove maps, non-Gaussian parameters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from superionic.report.isosurface import coarsen, enclosing_level, isosurface
from superionic.report.plots import (
    ATOM_COLOURS,
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    Dash,
    HeatMap,
    Level,
    Markers,
    Panel,
    Plot,
    Segments,
    Series,
    Surface,
    Volume,
    pick,
)
from superionic.report.runs import NamedRuns, RunName
from superionic.report.words import number, safe_name
from superionic.transport.density.grid import smooth
from superionic.transport.density.map import DensityMap, FrameworkSite
from superionic.transport.sites.jump_rates import JumpKind
from superionic.transport.sites.migration_summary import MigrationSummary

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_MAPS: Final = 3
_OUTER_SHARE: Final = 0.9
_INNER_SHARE: Final = 0.5
_PAGE_POINTS_PER_AXIS: Final = 40
_PRINT_POINTS_PER_AXIS: Final = 18
_LOWEST_SHARE: Final = 1e-3
"""Lowest level that a reader can choose, as a share of the highest density."""
_MOST_RUNS: Final = 2
_MOST_CURVES: Final = 8
_MOST_PANELS: Final = 4
_WIDEST: Final = 2.4
_AXES: Final = "abc"
_LONGEST_A: Final = 8.0
_BRIGHTEST: Final = 0.985
_JUMP_COLOURS: Final = (VERMILION, BLUE, ORANGE, SKY, "#b8336a", "#5c946e")  # those that no kind of site has
_SITE_COLOURS: Final = ("#009E73", "#8c6d31", "#5254a3", "#CC79A7", GREY)


@dataclass(frozen=True)
class NamedGrid:
    """A density map with its grid (a, b, c) in Å⁻³, ∫P = 1, and the files that hold them, relative to the page."""

    density: DensityMap
    grid: NDArray[Any]
    files: tuple[str, ...] = ()


T = TypeVar("T")


def to_draw(runs: NamedRuns[T], chosen: Sequence[str]) -> list[tuple[RunName, T]]:
    """Return the runs of these labels, in their order; without any, the hottest of each structure, at most three."""
    by_label = {name.label: (name, item) for name, item in runs.items}
    return [by_label[label] for label in chosen if label in by_label] if chosen else runs.hottest()[:_MOST_MAPS]


def density_plots(
    ion: str, maps: NamedRuns[NamedGrid], migration: NamedRuns[MigrationSummary], chosen: Sequence[str]
) -> list[Plot]:
    """Plot the density maps of the runs of these labels, with their sites and paths."""
    paths = {name.label: run for name, run in migration.items}
    return [_density(ion, name, item, paths.get(name.label)) for name, item in to_draw(maps, chosen)]


def _framework(sites: tuple[FrameworkSite, ...], cell_A: FloatArray) -> list[Markers]:
    """Return the framework, element by element, wrapped into the cell."""
    symbols = sorted({site.symbol for site in sites})
    members = [np.array([site.position_A for site in sites if site.symbol == symbol]) for symbol in symbols]
    inverse = np.linalg.inv(cell_A)
    return [
        Markers(symbol, np.mod(positions @ inverse, 1.0) @ cell_A, ATOM_COLOURS[index % len(ATOM_COLOURS)])
        for index, (symbol, positions) in enumerate(zip(symbols, members, strict=True))
    ]


def _density(ion: str, name: RunName, item: NamedGrid, run: MigrationSummary | None) -> Plot:
    density = item.density
    cell = np.asarray(density.cell_A)
    grid = smooth(np.asarray(item.grid, dtype=np.float64), cell, density.smoothing_A)
    coarse = coarsen(grid, _PAGE_POINTS_PER_AXIS)
    isovalue = density.isovalue_per_A3
    outer = isovalue if 0 < isovalue < float(coarse.max()) else enclosing_level(coarse, _OUTER_SHARE)
    inner = enclosing_level(coarse, _INNER_SHARE)
    levels = [Level(outer, f"density of {ion}", SKY, 0.35, movable=True)]
    if inner > outer:
        levels.append(Level(inner, f"densest {100 * _INNER_SHARE:.0f} %", BLUE, 0.75))
    printed = coarsen(grid, _PRINT_POINTS_PER_AXIS)
    enclosed = float(coarse[coarse >= outer].sum() / coarse.sum())
    network = None if run is None else _of(run)
    return Plot(
        f"density_{safe_name(name.label)}",
        f"Where {ion} is: {name.title}",
        f"Probability density of {ion} over the run (its integral over the cell is 1), with the framework as spheres"
        + (". " if run is None else ", sites as diamonds (open: interstitials) and the observed jumps as lines. ")
        + (f"Smoothed by {number(density.smoothing_A, 2)} Å. " if density.smoothing_A > 0.0 else "")
        + f"Pale surface: {number(outer, 2)} Å⁻³ if not moved, around {100 * enclosed:.0f} % of the probability. "
        + ("" if network is None else _KINDS_OF_PATHS)
        + "Connected surfaces are paths that ions took in this run; a missing path may simply not have been taken yet. "
        "The maps show the density integrated along each cell vector, in fractions of the other two.",
        [_density_projection(grid, axis, cell) for axis in range(3)],
        Surface(
            cell,
            [*_framework(density.framework, cell), *([] if run is None else _sites(run))],
            [] if network is None else network.segments(),
            Volume(coarse, min(_LOWEST_SHARE * float(coarse.max()), outer), levels),
            [(*isosurface(printed, cell, level.value), level.colour, level.opacity) for level in levels],
        ),
        height=370,
        files=item.files,
    )


_MOST_KINDS: Final = 12
"""Where there are more kinds of sites, or of interstitials, they share one entry of the legend."""
_KINDS_OF_PATHS: Final = (
    "Solid lines are intraplane paths, within 30° of the ab plane of the run's cell, dashed ones interplane; a path "
    "crosses the face, edge or corner that the anion polyhedra of its two sites share. "
)


def _kinds(run: MigrationSummary) -> dict[str, list[int]]:
    """Return the indices of the sites by the entry of the legend that they share: their kind, or one for very many."""
    hosts = _hosts(run)
    by_label: dict[str, list[int]] = {}
    for index, site in enumerate(run.sites):
        by_label.setdefault(site.label, []).append(index)
    kinds: dict[str, list[int]] = {}
    for is_host, together in ((True, "sites"), (False, "interstitials")):
        own = {label: members for label, members in by_label.items() if hosts.get(label, True) == is_host}
        many = {together: sorted(index for members in own.values() for index in members)}
        kinds |= many if len(own) > _MOST_KINDS else own
    return kinds


def _hosts(run: MigrationSummary) -> dict[str, bool]:
    """Return which kinds of sites are those of the crystal; all are, where none is known."""
    return {kind.label: run.crystal is None or kind.refined_occupancy is not None for kind in run.site_kinds}


def _sites(run: MigrationSummary) -> list[Markers]:
    """Return the sites, kind by kind, wrapped into the cell; those of a crystal are full, interstitials are open."""
    cell, hosts = np.asarray(run.cell_A), _hosts(run)
    markers = []
    for index, (label, members) in enumerate(_kinds(run).items()):
        sites = [run.sites[k] for k in members]
        places = np.mod(np.array([site.fractional for site in sites]), 1.0) @ cell
        hover = [f"{site.label}: {number(site.occupancy, 2)} ions" for site in sites]
        filled = hosts.get(sites[0].label, True)
        markers.append(Markers(label, places, _SITE_COLOURS[index % len(_SITE_COLOURS)], "diamond", filled, 6.0, hover))
    return markers


def _density_projection(grid: FloatArray, axis: int, cell_A: FloatArray) -> Panel:
    values = coarsen(grid, 60).mean(axis=axis).T * np.linalg.norm(cell_A, axis=1)[axis]
    y, x = (((np.arange(n) + 0.5) / n).tolist() for n in values.shape)
    return _view_along(cell_A, axis, heat_map=HeatMap(x, y, values, "density (Å⁻²)"))


def _view_along(cell_A: FloatArray, axis: int, series: Sequence[Series] = (), heat_map: HeatMap | None = None) -> Panel:
    """Return a panel with the view along a cell vector, in fractions of the other two."""
    lengths = np.linalg.norm(cell_A, axis=1)
    across, up = (f"along {_AXES[i]} (fraction of {lengths[i]:.2f} Å)" for i in range(3) if i != axis)
    return Panel(series, across, up, f"View along {_AXES[axis]}", heat_map=heat_map)


def migration_plots(
    migration: NamedRuns[MigrationSummary], chosen: Sequence[str], in_space: Collection[str] = ()
) -> list[Plot]:
    """Plot the networks of jumps in the runs of these labels, and how ions move in the first of them.

    Parameters
    ----------
    in_space
        Labels of runs whose sites and paths a density map shows in three dimensions.
    """
    drawn = to_draw(migration, chosen)
    networks = [_network(name, run, in_space=name.label not in in_space) for name, run in drawn]
    first = drawn[:_MOST_RUNS]
    shown = [plot for plot in (*networks, *(_van_hove(*each) for each in first)) if plot is not None]
    return [*shown, _stays(first), _profiles(first), _non_gaussian(migration)]


@dataclass(frozen=True)
class _Path:
    """Jumps of one kind in both directions, as one entry of the legend; `members` are rows of the network."""

    label: str
    colour: str
    dash: Dash
    members: list[int]


@dataclass(frozen=True)
class _Network:
    """Sites wrapped into the cell, the observed jumps between them, and the kinds of paths, most frequent first."""

    run: MigrationSummary
    positions: FloatArray
    ends: FloatArray
    counts: IntArray
    paths: list[_Path]

    def segments(self) -> list[Segments]:
        """Return the jumps as lines in the cell, (n, 2, 3) in Å."""
        cell, most = np.asarray(self.run.cell_A), self.counts.max()
        return [
            Segments(
                path.label,
                self.ends[path.members] @ cell,
                path.colour,
                0.6 + (_WIDEST - 0.6) * float(self.counts[path.members].mean() / most),
                path.dash,
            )
            for path in self.paths
        ]


def _of(run: MigrationSummary) -> _Network | None:
    edges = np.asarray(run.edges).reshape(-1, 6)
    if len(edges) == 0:
        return None
    fractional = np.array([site.fractional for site in run.sites])
    positions, counts = np.mod(fractional, 1.0), edges[:, 5]
    steps = fractional[edges[:, 1]] - fractional[edges[:, 0]] + edges[:, 2:5]
    starts = positions[edges[:, 0]]
    return _Network(run, positions, np.stack([starts, starts + steps], axis=1), counts, _paths(run, counts))


def _paths(run: MigrationSummary, counts: IntArray) -> list[_Path]:
    groups: dict[tuple[str, bool], list[int]] = {}
    for row, number_of_kind in enumerate(np.asarray(run.edge_kinds).tolist()):
        kind = run.jump_kinds[number_of_kind]
        groups.setdefault((path_name(kind), kind.plane == "interplane"), []).append(row)
    ordered = sorted(groups.items(), key=lambda group: -counts[group[1]].sum())
    paths = [
        _Path(f"{name}: {int(counts[rows].sum())} jumps", _JUMP_COLOURS[index], "dash" if steep else "solid", rows)
        for index, ((name, steep), rows) in enumerate(ordered[: len(_JUMP_COLOURS)])
    ]
    rest = [row for _, rows in ordered[len(_JUMP_COLOURS) :] for row in rows]
    if rest:
        paths.append(_Path(f"other paths: {int(counts[rest].sum())} jumps", GREY, "dot", rest))
    return paths


def path_name(kind: JumpKind) -> str:
    """Return the name of the path of a kind of jump, the same in both directions."""
    ends = "–".join(sorted((kind.start, kind.end)))
    crossed = {None: "", "nothing": ", no common anion"}.get(kind.sharing, f", by a common {kind.sharing}")
    return f"{ends} {round(2.0 * kind.length_A) / 2.0:.1f} Å, {kind.plane}{crossed}"


def _network(name: RunName, run: MigrationSummary, *, in_space: bool) -> Plot | None:
    network = _of(run)
    if network is None:
        return None
    spans = [" and ".join(cluster.axes) for cluster in run.clusters]
    connected = (
        f"All jumps together connect the crystal along {' ; '.join(dict.fromkeys(spans))}. "
        if spans
        else "The observed jumps do not connect the crystal along any axis. "
    )
    return Plot(
        f"network_{safe_name(name.label)}",
        f"Jumps between sites: {name.title}",
        "Sites (diamonds, larger for higher occupancy; open: interstitials) and the observed jumps between them "
        "(lines, wider for more jumps; those through a face of the cell end outside it). "
        + _KINDS_OF_PATHS
        + connected
        + "The maps are views along each cell vector.",
        [_projection(network, axis) for axis in range(3)],
        Surface(np.asarray(run.cell_A), _sites(run), network.segments()) if in_space else None,
        columns=2 if in_space else 3,
        height=370,
    )


def _projection(network: _Network, axis: int) -> Panel:
    across, up = (other for other in range(3) if other != axis)
    ends, counts = network.ends, network.counts
    series: list[Series] = []
    for path in network.paths:
        for strong in (False, True):
            edges = [k for k in path.members if (counts[k] > 0.5 * counts.max()) == strong]
            xs, ys = ([v for k in edges for v in (*ends[k, :, i].tolist(), None)] for i in (across, up))
            if edges:
                width = 2.6 if strong else 1.0
                series.append(
                    Series(xs, ys, path.label, "line", path.colour, dash=path.dash, width=width, opacity=0.75)
                )
    sites, x = network.run.sites, network.positions
    for markers, members in zip(_sites(network.run), _kinds(network.run).values(), strict=True):
        occupancy = float(np.mean([sites[k].occupancy for k in members]))
        series.append(
            Series(
                x[members, across].tolist(),
                x[members, up].tolist(),
                markers.label,
                colour=markers.colour,
                marker=markers.marker,
                filled=markers.filled,
                size=4.0 + 5.0 * min(occupancy, 1.0),
                hover=[f"{sites[k].label} #{k}: {number(sites[k].occupancy, 2)} ions" for k in members],
            )
        )
    return _view_along(np.asarray(network.run.cell_A), axis, series)


def _stays(runs: list[tuple[RunName, MigrationSummary]]) -> Plot:
    panels = []
    for name, run in runs:
        series: list[Series] = []
        kinds = sorted(run.site_kinds, key=lambda kind: 0 if kind.stays is None else -kind.stays.n_ended)
        for index, kind in enumerate(kinds[:_MOST_CURVES]):
            stays = kind.stays
            if stays is not None:
                low, high = _known(stays.low95), _known(stays.high95)
                x = _known(stays.times_ps)
                series.append(Series(x, [], "", "band", pick(index), low, high, opacity=0.15, legend=False))
                series.append(Series(x, _known(stays.survival), kind.label, "line", pick(index), width=2.0))
        if series:
            panels.append(Panel(series, "time (ps)", "share remaining", name.title, y_range=(0.0, 1.02)))
    return Plot(
        "residence",
        "Residence times",
        "Share of the stays on each kind of site that last longer than a given time, with its 95 % interval "
        "(Kaplan–Meier, which accounts for stays cut off by the end of the run). It is exponential if leaving has no "
        "memory; a steep start with a long tail indicates ions that jump back at once.",
        panels,
        height=320,
    )


def _profiles(runs: list[tuple[RunName, MigrationSummary]]) -> Plot:
    panels = []
    for name, run in runs:
        series = []
        for index, path in enumerate(run.profiles[:_MOST_CURVES]):
            profile = path.profile
            label = f"{path.kind}: {number(profile.barrier_eV if profile.is_seen else None, 2)} eV"
            series += _with_band(profile.distance_A, profile.free_energy_eV, profile.error_eV, label, pick(index), 0.18)
        if series:
            panels.append(Panel(series, "along the path (Å)", "free energy (eV)", name.title))
    return Plot(
        "free_energy_profiles",
        "Free energy along the paths",
        "−k_BT ln P along the path of the lowest saddle between two sites, for the most frequent jumps, with its "
        "standard error (band). It is the free energy of one ion, averaged over the positions of the others, at the "
        "temperature of the run.",
        panels,
        height=330,
    )


def _with_band(
    x: FloatArray, y: FloatArray, error: FloatArray, label: str, colour: str, opacity: float
) -> list[Series]:
    """Return a line with a band of one standard error, and gaps at unknown values."""
    xs, middle = _known(x), _known(y)
    band = Series(xs, [], "", "band", colour, _known(y - error), _known(y + error), opacity=opacity, legend=False)
    return [band, Series(xs, middle, label, "line", colour, width=2.0)]


def _known(values: FloatArray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _van_hove(name: RunName, run: MigrationSummary) -> Plot:
    maps = run.van_hove
    panels = []
    for radii, values, title, label in (
        (maps.r_A, maps.radial_self_per_A, "The same ion", "4πr² G_s (Å⁻¹)"),
        (maps.distinct_r_A, maps.distinct_over_mean, "The other ions", "G_d/density"),
    ):
        if len(maps.lags_ps) < 2 or len(radii) < 2:
            continue
        shown = radii <= _LONGEST_A
        drawn = np.minimum(values[:, shown], np.quantile(values[:, shown], _BRIGHTEST))
        spread = HeatMap(radii[shown].tolist(), maps.lags_ps.tolist(), _rounded(drawn), label)
        panels.append(Panel(x_label="distance (Å)", y_label="time (ps)", y_log=True, title=title, heat_map=spread))
    return Plot(
        f"van_hove_{safe_name(name.label)}",
        f"Van Hove functions: {name.title}",
        "Distance that an ion has moved after some time (left), and density of the other ions around its initial "
        "position (right; 1 is the mean). Separate ridges at the distances between sites are jumps; density that grows "
        "at r = 0 on the right comes from ions that take the place of another. The brightest 1.5 % are cut off.",
        panels,
        height=330,
    )


def _rounded(values: FloatArray) -> FloatArray:
    """Round to the four digits that a map can show."""
    return np.array([[float(f"{value:.4g}") for value in row] for row in values])


def _non_gaussian(migration: NamedRuns[MigrationSummary]) -> Plot:
    panels = []
    for group, members in list(migration.groups().items())[:_MOST_PANELS]:
        series = []
        for name, run in members:
            curve = run.non_gaussian
            if len(curve.lags_ps) > 1:
                colour = migration.colour_of(name)
                series += _with_band(curve.lags_ps, curve.alpha2, curve.error, name.in_group, colour, 0.15)
        if series:
            panels.append(Panel(series, "time (ps)", "α₂", x_log=True, title=group))
    return Plot(
        "non_gaussian",
        "Non-Gaussian parameter",
        "α₂ is zero for Brownian motion, and large while a few ions jump and the others vibrate; it falls as one over "
        "time once every ion has jumped several times. If it is still high at the end, the run is too short. "
        "Bands: one standard error.",
        panels,
        height=310,
    )
