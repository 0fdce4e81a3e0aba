"""Figures of paths: densities, the network of jumps, free-energy profiles, van Hove maps, non-Gaussian parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.isosurface import coarsen, enclosing_level, isosurface
from superionic.report.plots import (
    ATOM_COLOURS,
    BLUE,
    ORANGE,
    SKY,
    VERMILION,
    HeatMap,
    Mesh,
    Panel,
    Plot,
    Series,
    Surface,
    pick,
)
from superionic.report.runs import NamedRuns, RunName
from superionic.report.words import number
from superionic.transport.density.grid import smooth
from superionic.transport.density.map import DensityMap, FrameworkSite
from superionic.transport.sites.migration_summary import MigrationSummary

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_MAPS: Final = 3
_OUTER_SHARE: Final = 0.9
_INNER_SHARE: Final = 0.5
_PRINT_POINTS_PER_AXIS: Final = 18
_MOST_RUNS: Final = 2
_MOST_CURVES: Final = 8
_MOST_PANELS: Final = 4
_WIDEST: Final = 2.4
_AXES: Final = "abc"
_LONGEST_A: Final = 8.0
_BRIGHTEST: Final = 0.985
_JUMP_COLOURS: Final = (BLUE, VERMILION, ORANGE, SKY, "#b8336a", "#5c946e")  # those that no kind of site has


@dataclass(frozen=True)
class NamedGrid:
    """A density map with its grid (a, b, c) in Å⁻³, ∫P = 1."""

    density: DensityMap
    grid: NDArray[Any]


def density_plots(ion: str, maps: NamedRuns[NamedGrid]) -> list[Plot]:
    """Plot the density map of the hottest run of each structure, at most three."""
    return [_density(ion, *each) for each in maps.hottest()[:_MOST_MAPS]]


def _safe_name(label: str) -> str:
    """Return a label in a form fit for a file name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", label)


def _framework_atoms(sites: tuple[FrameworkSite, ...]) -> list[tuple[str, FloatArray]]:
    """Return the positions (n, 3) in Å of each element of the framework."""
    symbols = sorted({site.symbol for site in sites})
    return [(symbol, np.array([site.position_A for site in sites if site.symbol == symbol])) for symbol in symbols]


def _density(ion: str, name: RunName, item: NamedGrid) -> Plot:
    density = item.density
    cell = np.asarray(density.cell_A)
    grid = smooth(np.asarray(item.grid, dtype=np.float64), cell, density.smoothing_A)
    coarse = coarsen(grid)
    isovalue = density.isovalue_per_A3
    outer = isovalue if 0 < isovalue < float(coarse.max()) else enclosing_level(coarse, _OUTER_SHARE)
    inner = enclosing_level(coarse, _INNER_SHARE)
    levels = [(outer, SKY, 0.35)] + ([(inner, BLUE, 0.75)] if inner > outer else [])
    meshes = _meshes(coarse, cell, levels)
    print_meshes = _meshes(coarsen(grid, _PRINT_POINTS_PER_AXIS), cell, levels)
    enclosed = float(coarse[coarse >= outer].sum() / coarse.sum())
    shown = (
        f"Pale surface: {number(outer, 2)} Å⁻³, enclosing {100 * enclosed:.0f} % of the probability; dark surface: "
        f"the densest {100 * _INNER_SHARE:.0f} %. "
        if len(meshes) > 1
        else f"Surface: {number(outer, 2)} Å⁻³, which encloses {100 * enclosed:.0f} % of the probability. "
    )
    return Plot(
        f"density_{_safe_name(name.label)}",
        f"Where {ion} is: {name.title}",
        f"Probability density of {ion} over the run (its integral over the cell is 1), with the framework as points. "
        + (f"Smoothed by {number(density.smoothing_A, 2)} Å. " if density.smoothing_A > 0.0 else "")
        + shown
        + "Connected surfaces are paths that ions took in this run; a missing path may simply not have been taken yet. "
        "The maps show the density integrated along each cell vector, in fractions of the other two.",
        [_density_projection(grid, axis, cell) for axis in range(3)],
        Surface(meshes, print_meshes, _framework_atoms(density.framework), cell),
        height=370,
    )


def _meshes(grid: FloatArray, cell: FloatArray, levels: list[tuple[float, str, float]]) -> list[Mesh]:
    return [
        (*isosurface(grid, cell, level), f"density {number(level, 2)} Å⁻³", colour, opacity)
        for level, colour, opacity in levels
    ]


def _density_projection(grid: FloatArray, axis: int, cell_A: FloatArray) -> Panel:
    values = coarsen(grid, 60).mean(axis=axis).T * np.linalg.norm(cell_A, axis=1)[axis]
    y, x = (((np.arange(n) + 0.5) / n).tolist() for n in values.shape)
    return _view_along(cell_A, axis, heat_map=HeatMap(x, y, values, "density (Å⁻²)"))


def _view_along(cell_A: FloatArray, axis: int, series: Sequence[Series] = (), heat_map: HeatMap | None = None) -> Panel:
    """Return a panel with the view along a cell vector, in fractions of the other two."""
    lengths = np.linalg.norm(cell_A, axis=1)
    across, up = (f"along {_AXES[i]} (fraction of {lengths[i]:.2f} Å)" for i in range(3) if i != axis)
    return Panel(series, across, up, f"View along {_AXES[axis]}", heat_map=heat_map)


def migration_plots(migration: NamedRuns[MigrationSummary]) -> list[Plot]:
    """Plot migration in the hottest run of each structure."""
    hottest = migration.hottest()[:_MOST_RUNS]
    plots = [_network(*each) for each in hottest] + [_van_hove(*each) for each in hottest]
    shown = [plot for plot in plots if plot is not None]
    return [*shown, _stays(hottest), _profiles(hottest), _non_gaussian(migration)]


@dataclass(frozen=True)
class _Network:
    """Sites, and the jumps between them by pairs of labels, the most frequent pair first."""

    run: MigrationSummary
    positions: FloatArray
    ends: FloatArray
    counts: IntArray
    kinds: dict[str, list[int]]

    @property
    def labels(self) -> list[str]:
        return [site.label for site in self.run.sites]

    def name(self, kind: str) -> str:
        return f"{kind}: {int(self.counts[self.kinds[kind]].sum())} jumps"


def _of(run: MigrationSummary) -> _Network | None:
    edges = np.asarray(run.edges).reshape(-1, 6)
    if len(edges) == 0:
        return None
    positions = np.array([site.fractional for site in run.sites])
    counts = edges[:, 5]
    kinds: dict[str, list[int]] = {}
    for index, (start, end) in enumerate(edges[:, :2]):
        kinds.setdefault("–".join(sorted((run.sites[start].label, run.sites[end].label))), []).append(index)
    ordered = sorted(kinds, key=lambda name: -counts[kinds[name]].sum())
    ends = np.stack([positions[edges[:, 0]], positions[edges[:, 1]] + edges[:, 2:5]], axis=1)
    return _Network(run, positions, ends, counts, {name: kinds[name] for name in ordered})


def _network(name: RunName, run: MigrationSummary) -> Plot | None:
    network = _of(run)
    if network is None:
        return None
    cell = np.asarray(run.cell_A)
    segments = [
        (network.ends[members] @ cell, network.name(kind), _jump_colour(index), _width(network.counts, members))
        for index, (kind, members) in enumerate(network.kinds.items())
    ]
    labels = network.labels
    sites = [
        (label, network.positions[[k for k, other in enumerate(labels) if other == label]] @ cell)
        for label in dict.fromkeys(labels)
    ]
    spans = [" and ".join(cluster.axes) for cluster in run.clusters]
    connected = (
        f"All jumps together connect the crystal along {' ; '.join(dict.fromkeys(spans))}. "
        if spans
        else "The observed jumps do not connect the crystal along any axis. "
    )
    return Plot(
        f"network_{_safe_name(name.label)}",
        f"Jumps between sites: {name.title}",
        "Sites (points, larger for higher occupancy) and the observed jumps between them (lines, wider for more "
        "jumps; those through a face of the cell end outside it). "
        + connected
        + "The maps are views along each cell vector.",
        [_projection(network, axis) for axis in range(3)],
        Surface((), (), sites, cell, segments),
        height=370,
    )


def _jump_colour(index: int) -> str:
    return _JUMP_COLOURS[index % len(_JUMP_COLOURS)]


def _width(counts: IntArray, members: list[int]) -> float:
    share = float(counts[members].mean() / counts.max())
    return 0.6 + (_WIDEST - 0.6) * share


def _projection(network: _Network, axis: int) -> Panel:
    across, up = (other for other in range(3) if other != axis)
    ends, counts = network.ends, network.counts
    series: list[Series] = []
    for index, (kind, members) in enumerate(network.kinds.items()):
        for strong in (False, True):
            edges = [k for k in members if (counts[k] > 0.5 * counts.max()) == strong]
            xs, ys = ([v for k in edges for v in (*ends[k, :, i].tolist(), None)] for i in (across, up))
            if edges:
                width = 2.6 if strong else 1.0
                series.append(
                    Series(xs, ys, network.name(kind), "line", _jump_colour(index), width=width, opacity=0.75)
                )
    labels, sites, x = network.labels, network.run.sites, network.positions
    for index, label in enumerate(dict.fromkeys(labels)):
        members = [k for k, other in enumerate(labels) if other == label]
        occupancy = float(np.mean([sites[k].occupancy for k in members]))
        series.append(
            Series(
                x[members, across].tolist(),
                x[members, up].tolist(),
                label,
                colour=ATOM_COLOURS[index % len(ATOM_COLOURS)],
                size=4.0 + 5.0 * min(occupancy, 1.0),
                hover=[f"{label} #{k}: {number(sites[k].occupancy, 2)} ions" for k in members],
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
        f"van_hove_{_safe_name(name.label)}",
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
