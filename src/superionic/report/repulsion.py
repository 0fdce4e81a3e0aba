"""The repulsion of pairs of atoms by potentials: a figure and a table, and which holes matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from superionic.potentials.repulsion import CORE_FRACTION, RepulsionCurve
from superionic.report.csv_tables import Cells, CsvTable, csv_table
from superionic.report.plots import Panel, Plot, Series

_MOST_PAIRS: Final = 6
_HIGHEST_EV: Final = 15.0
_HIGHEST_EV_PER_A: Final = 30.0
_LOWEST_SHARE: Final = 0.3


@dataclass(frozen=True)
class Pushed:
    """The curves of one potential, as they are drawn."""

    label: str
    colour: str
    curves: Sequence[RepulsionCurve]
    legend: bool = True


def repulsion_plot(potentials: Sequence[Pushed]) -> Plot:
    """Draw energy and force of each pair of elements; without panels if there are no curves."""
    pairs = list(dict.fromkeys(curve.pair for each in potentials for curve in each.curves))
    panels = []
    for pair in pairs[:_MOST_PAIRS]:
        drawn = [(each, curve) for each in potentials for curve in each.curves if curve.pair == pair]
        energies = [(each, curve.distances_A, curve.energies_eV) for each, curve in drawn]
        forces = [(each, curve.distances_A, curve.forces_eV_per_A) for each, curve in drawn]
        core = [(0.0, drawn[0][1].core_A, "core")]
        longest = max((max(distances, default=0.0) for _, distances, _ in energies), default=0.0)
        for lines, label, highest in (
            (energies, "energy (eV)", _HIGHEST_EV),
            (forces, "repulsive force (eV/Å)", _HIGHEST_EV_PER_A),
        ):
            series = [
                Series(x, y, each.label, "line", each.colour, width=1.6, legend=each.legend) for each, x, y in lines
            ]
            lowest = min((value for _, _, values in lines for value in values), default=0.0)
            y_range = (max(min(lowest, 0.0), -_LOWEST_SHARE * highest) - 0.04 * highest, highest)
            panels.append(
                Panel(
                    series, "distance (Å)", label, "–".join(pair), x_range=(0.0, longest), y_range=y_range, shaded=core
                )
            )
    words = (
        "Energy of the cell, and force between the nearest two atoms of each pair of elements, which are pushed "
        f"together while all others rest. In the core (shaded: below {CORE_FRACTION:g} of the sum of the covalent "
        "radii) energies must rise inwards; where a curve turns over instead, atoms that collide fall into a hole."
    )
    return Plot("repulsion", "Repulsion of pairs", words, panels, columns=2, height=300)


def repulsion_csv(columns: Sequence[str], potentials: Sequence[tuple[Cells, Sequence[RepulsionCurve]]]) -> CsvTable:
    """Return the curves, a row for each point, behind columns that identify the potential."""
    points = [
        ((*cells, "-".join(curve.pair), distance), (energy, force))
        for cells, curves in potentials
        for curve in curves
        for distance, energy, force in zip(curve.distances_A, curve.energies_eV, curve.forces_eV_per_A, strict=True)
    ]
    names = ("energy_eV", "force_eV_per_A")
    return csv_table("repulsion.csv", (*columns, "pair", "distance_A"), points, [(names, lambda point: point)])
