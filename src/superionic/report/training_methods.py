"""Figures and tables of the study ``superionic train compare``: distances in hot runs, and repulsion of pairs."""

from __future__ import annotations

from collections.abc import Iterator

from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.plots import GREY, Panel, Plot, Series, pick
from superionic.results.studies import CompareRow, Comparison
from superionic.training.pair_distances import PairDistances

LABELS = "labels"
_HIGHEST_EV = 15.0
_HIGHEST_EV_PER_A = 30.0
_MOST_PANELS = 6


def comparison_plots(comparison: Comparison) -> list[Plot]:
    """Return the figures for which there are data."""
    return [plot for plot in (_distances_plot(comparison), _repulsion_plot(comparison)) if plot.panels]


def comparison_tables(comparison: Comparison) -> list[CsvTable]:
    """Return distances and curves, a row for each point."""
    distances: list[tuple[Cells, PairDistances]] = [
        ((row.method, row.seed, each.pair), each) for row, each in _runs(comparison)
    ]
    if comparison.labelled is not None:
        distances += [((LABELS, None, each.pair), each) for each in comparison.labelled.distances]
    points = [
        ((*identity, float(r)), (float(g), float(n)))
        for identity, each in distances
        for r, g, n in zip(each.centres_A, each.g, each.counts.sum(axis=0), strict=True)
    ]
    identity = ("method", "seed", "pair", "distance_A")
    curves = [
        ((row.method, row.seed, "-".join(curve.pair), r), (energy, force))
        for row in comparison.rows
        for curve in row.repulsion
        for r, energy, force in zip(curve.distances_A, curve.energies_eV, curve.forces_eV_per_A, strict=True)
    ]
    return [
        csv_table("pair_distances.csv", identity, points, [(("g", "pairs"), lambda point: point)]),
        csv_table("repulsion.csv", identity, curves, [(("energy_eV", "force_eV_per_A"), lambda point: point)]),
    ]


def _distances_plot(comparison: Comparison) -> Plot:
    labelled = {} if comparison.labelled is None else {each.pair: each for each in comparison.labelled.distances}
    pairs = list(dict.fromkeys([*labelled, *(each.pair for _, each in _runs(comparison))]))
    panels = []
    for pair in pairs[:_MOST_PANELS]:
        series = [Series(labelled[pair].centres_A.tolist(), labelled[pair].g.tolist(), LABELS, "line", GREY, width=3.5)]
        series += [
            Series(
                each.centres_A.tolist(), each.g.tolist(), row.method, "line", _colour(comparison, row), width=1.4,
                legend=row.seed == 0,
            )
            for row, each in _runs(comparison)
            if each.pair == pair
        ]  # fmt: skip
        panels.append(Panel(series, "distance (Å)", "g(r)", pair.replace("-", "–")))
    test, labels = comparison.stability, comparison.labelled
    words = "Radial distribution functions of hot runs by each potential from one structure"
    if test is not None and labels is not None:
        at = "" if labels.temperature_K is None else f" at {labels.temperature_K:g} K"
        words += f", {test.length_ps:g} ps at {test.temperature_K:g} K, and of the {labels.n_labels} labels{at}"
    words += (
        ". A run that blew up counts as far as it went. Weight at distances that the labels do not have is unphysical."
    )
    return Plot("pair_distances", "Distances between atoms in hot runs", words, panels, columns=3, height=280)


def _repulsion_plot(comparison: Comparison) -> Plot:
    pairs = list(dict.fromkeys(curve.pair for row in comparison.rows for curve in row.repulsion))
    panels: list[Panel] = []
    for pair in pairs[:_MOST_PANELS]:
        title = "–".join(pair)
        curves = [(row, curve) for row in comparison.rows for curve in row.repulsion if curve.pair == pair]
        core = [(0.0, max(curve.core_A for _, curve in curves), "core")]
        longest = max(curve.distances_A[0] for _, curve in curves if curve.distances_A)
        energies = [(row, curve.distances_A, curve.energies_eV) for row, curve in curves]
        forces = [(row, curve.distances_A, curve.forces_eV_per_A) for row, curve in curves]
        for lines, label, highest in (
            (energies, "energy (eV)", _HIGHEST_EV),
            (forces, "repulsive force (eV/Å)", _HIGHEST_EV_PER_A),
        ):
            series = [
                Series(x, y, row.method, "line", _colour(comparison, row), width=1.6, legend=row.seed == 0)
                for row, x, y in lines
            ]
            lowest = min([0.0, *(value for each in series for value in each.y if value is not None)])
            panels.append(
                Panel(
                    series,
                    "distance (Å)",
                    label,
                    title,
                    x_range=(0.0, longest),
                    y_range=(max(lowest, -highest) - 0.04 * highest, highest),
                    shaded=core,
                )
            )
    words = (
        "Energy of the cell and force between the nearest two atoms of each pair of elements that are pushed together, "
        "all others at rest. In the core (shaded: below 0.7 of the sum of the covalent radii) energies must rise "
        "inwards; a curve that turns over has a hole into which colliding atoms fall."
    )
    return Plot("repulsion", "Repulsion of pairs", words, panels, columns=2, height=300)


def _runs(comparison: Comparison) -> Iterator[tuple[CompareRow, PairDistances]]:
    for row in comparison.rows:
        yield from ((row, each) for each in (() if row.run is None else row.run.distances))


def _colour(comparison: Comparison, row: CompareRow) -> str:
    return pick(list(dict.fromkeys(each.method for each in comparison.rows)).index(row.method))
