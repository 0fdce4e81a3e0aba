"""Figures and tables of the study ``superionic train compare``: distances in hot runs, and repulsion of pairs."""

from __future__ import annotations

from collections.abc import Iterator

from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.plots import GREY, Panel, Plot, Series, pick
from superionic.report.repulsion import Pushed, repulsion_csv, repulsion_plot
from superionic.results.studies import CompareRow, Comparison
from superionic.training.pair_distances import PairDistances

LABELS = "labels"
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
    columns = [(("g", "pairs"), lambda point: point)]
    return [
        csv_table("pair_distances.csv", ("method", "seed", "pair", "distance_A"), points, columns),
        repulsion_csv(("method", "seed"), [((row.method, row.seed), row.repulsion) for row in comparison.rows]),
    ]


def _distances_plot(comparison: Comparison) -> Plot:
    labelled = {} if comparison.labelled is None else {each.pair: each for each in comparison.labelled.distances}
    # Atoms that only now and then are within range show nothing.
    measured = [*labelled.values(), *(each for _, each in _runs(comparison))]
    pairs = list(dict.fromkeys(each.pair for each in measured if each.neighbours >= 1.0))
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
    words += ". A run that blew up counts as far as it went; distances that the labels do not have are unphysical."
    return Plot("pair_distances", "Distances between atoms in hot runs", words, panels, columns=3, height=280)


def _repulsion_plot(comparison: Comparison) -> Plot:
    named = [
        Pushed(row.method, _colour(comparison, row), row.repulsion, legend=row.seed == 0) for row in comparison.rows
    ]
    return repulsion_plot(named)


def _runs(comparison: Comparison) -> Iterator[tuple[CompareRow, PairDistances]]:
    for row in comparison.rows:
        yield from ((row, each) for each in (() if row.run is None else row.run.distances))


def _colour(comparison: Comparison, row: CompareRow) -> str:
    return pick(list(dict.fromkeys(each.method for each in comparison.rows)).index(row.method))
