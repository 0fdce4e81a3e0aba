"""Orderings: how many each composition has, how their Ewald energies are spread, and how sure the choice is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superionic.enumeration.evidence import MonteCarloEvidence, SearchEvidence
from superionic.report.composition_axes import axis_column, axis_values, unit_formula
from superionic.report.plots import BLUE, Panel, Plot, Series
from superionic.report.section import Block, CsvTable, Paragraph, Section
from superionic.report.table import Table
from superionic.report.words import whole_text
from superionic.results.campaign import Results, Statement
from superionic.results.identity import Rows
from superionic.results.orderings import EnumeratedSpace

_MOST_PANELS: Final = 6
_MOST_BINS: Final = 60


def section(results: Results) -> Section:
    """Describe the spaces of orderings."""
    if results.enumerate is None:
        return Section("orderings", "Orderings", [Paragraph("Orderings were not enumerated.", "missing")])
    spaces = results.enumerate.spaces
    blocks: list[Block] = [plot for plot in [_histograms(results, spaces)] if plot is not None]
    blocks.append(_table(results, spaces))
    return Section("orderings", "Orderings", blocks, [_csv(results, spaces)])


# ---- what a reader must know -----------------------------------------------------------------------------------------


def doubts(results: Results) -> Iterator[Statement]:
    """Say how sure the choice of the orderings is."""
    for space in results.enumerate.spaces if results.enumerate is not None else ():
        name = f"{unit_formula(results, space.counted.formula)} ({space.cell.id})"
        if space.method == "sample":
            yield Statement(
                "info",
                f"{name}: {whole_text(space.listed)} of {whole_text(space.counted.count.distinct)} distinct orderings "
                "were looked at, drawn at random; a lower one may exist.",
            )
        if isinstance(space.evidence, SearchEvidence):
            yield _about_search(name, space.evidence)
        if isinstance(space.evidence, MonteCarloEvidence):
            yield from _about_monte_carlo(name, space.evidence)
        if space.tie is not None:
            yield Statement(
                "info",
                f"{name}: {space.tie.members:,} orderings share the Ewald energy at which the choice ends, and "
                f"{space.tie.taken} of them were taken, spread evenly; point charges cannot tell them apart.",
            )
        if space.counted.skipped:
            yield Statement(
                "caution",
                f"{name}: {space.counted.skipped} compositions nearer to the refinement were passed over, as they "
                f"cannot keep like ions {space.counted.min_distance_A:g} Å apart.",
            )


def _about_search(name: str, evidence: SearchEvidence) -> Statement:
    agreed = f"{evidence.agreeing_on_the_lowest} of {evidence.searches} independent searches"
    if evidence.converged:
        words = f"{name}: the orderings of lowest Ewald energy were searched; {agreed} agree on the lowest."
        return Statement("info", words)
    words = f"{name}: only {agreed} found the same lowest Ewald energy; a lower ordering is likely."
    return Statement("caution", words, "searches for orderings disagree")


def _about_monte_carlo(name: str, evidence: MonteCarloEvidence) -> Iterator[Statement]:
    by = evidence.energy
    if evidence.dielectric is not None:
        by = f"{by} with a relative permittivity of {evidence.dielectric:g}"
    yield Statement(
        "info",
        f"{name}: the orderings are {evidence.independent_draws} independent draws at {evidence.temperature_K:g} K by "
        f"{by}, without vibrations; they are not the lowest ones.",
    )
    surrogate = evidence.surrogate
    if surrogate is not None and not surrogate.surrogate_converged:
        error = surrogate.error_meV_per_atom
        size = "is not known" if error is None else f"is {error:.2g} meV/atom"
        yield Statement(
            "caution",
            f"{name}: the error of the fit to the potential on orderings that it had not seen {size}, and "
            f"{surrogate.tolerance_meV_per_atom:g} were asked for; raise `max_rounds`, `batch` or `pair_cutoff_A`.",
            "orderings drawn by a fit that is not converged",
        )
    asked = surrogate.evaluations if surrogate is not None else None
    if asked is not None and asked.failed:
        yield Statement("caution", f"{name}: {asked.failed} of {asked.count} energies for Monte Carlo failed.")
    if asked is not None and asked.in_which_an_ion_left_its_site:
        yield Statement(
            "caution",
            f"{name}: in {asked.in_which_an_ion_left_its_site} of {asked.count} relaxations for Monte Carlo an ion "
            "moved more than 1 Å; their energies may be those of other orderings.",
        )
    for flag in evidence.flags:
        yield Statement("caution", f"{name}: Monte Carlo: {flag}")


# ---- the figure ------------------------------------------------------------------------------------------------------


def _histograms(results: Results, spaces: tuple[EnumeratedSpace, ...]) -> Plot | None:
    """Show how the electrostatic energies of the distinct orderings of each space are spread."""
    spread = [space for space in spaces if space.histogram is not None or len(space.orderings) > 1]
    if not spread:
        return None
    panels = [_histogram(results, space) for space in spread[:_MOST_PANELS]]
    more = f" Shown are {_MOST_PANELS} of {len(spread)} spaces." if len(spread) > _MOST_PANELS else ""
    return Plot(
        "ewald_histogram",
        "orderings",
        "Electrostatic energies of the orderings",
        "Point-charge (Ewald) energy per supercell of every listed ordering with formal oxidation states, above the "
        "lowest of its space. It is a filter that puts ions of like charge apart, not a stability: see the ranking for "
        "that." + more,
        panels,
        columns=3 if len(panels) > 2 else 2,
        height=290,
    )


def _histogram(results: Results, space: EnumeratedSpace) -> Panel:
    counts, edges = _binned(space)
    bars = Series(
        (0.5 * (edges[1:] + edges[:-1])).tolist(),
        counts.tolist(),
        "distinct orderings",
        "bars",
        BLUE,
        bar_width=float(edges[1] - edges[0]),
        hover=[
            f"{count:,.0f} orderings, {left:.3g} to {right:.3g} eV"
            for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True)
        ],
        legend=False,
    )
    return Panel(
        [bars],
        x_label="Ewald energy, relative (eV)",
        y_label="distinct orderings",
        title=f"{unit_formula(results, space.counted.formula)} · {space.cell.id}",
    )


def _binned(space: EnumeratedSpace) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts and edges, above the lowest energy: of the whole listing, or of the orderings that were kept."""
    if space.histogram is not None:
        counts = np.array(space.histogram.distinct, dtype=np.float64)
        # Neighbouring bins are joined until there are few enough to be seen.
        join = -(-len(counts) // _MOST_BINS)
        padded = np.zeros(-(-len(counts) // join) * join)
        padded[: len(counts)] = counts
        width = space.histogram.edges_eV[1] - space.histogram.edges_eV[0]
        edges = np.arange(len(padded) // join + 1, dtype=np.float64) * width * join
        return padded.reshape(-1, join).sum(axis=1), edges
    energies = np.array([ordering.ewald_eV for ordering in space.orderings])
    relative = energies - energies.min()
    drawn, ends = np.histogram(relative, bins=int(min(40, max(8, round(2 * len(relative) ** 0.5)))))
    return drawn.astype(np.float64), ends


# ---- table and file --------------------------------------------------------------------------------------------------


def _table(results: Results, spaces: tuple[EnumeratedSpace, ...]) -> Table:
    rows = []
    for space in spaces:
        material, number = space.cell.material, space.cell.composition_number
        label = " ".join(part for part in (material.composition_label, f"({number})" if number else "") if part)
        rows.append(
            [
                unit_formula(results, space.counted.formula),
                material.crystal,
                label,
                _supercell(space.cell.supercell),
                whole_text(space.counted.count.raw),
                whole_text(space.counted.count.distinct),
                whole_text(space.listed),
                whole_text(space.counted.count.group_order),
                space.method,
            ]
        )
    columns = [
        "Composition",
        "Crystal",
        "Label",
        "Supercell",
        "Arrangements",
        "Distinct",
        "Listed",
        "Symmetry operations",
        "Method",
    ]
    return Table("Spaces of orderings.", columns, rows, frozenset({4, 5, 6, 7}))


def _supercell(matrix: Rows) -> str:
    off = any(matrix[i][j] for i in range(3) for j in range(3) if i != j)
    return str([list(row) for row in matrix]) if off else " × ".join(str(matrix[i][i]) for i in range(3))


def _csv(results: Results, spaces: tuple[EnumeratedSpace, ...]) -> CsvTable:
    columns = (
        "crystal",
        *(axis_column(axis) for axis in results.axes),
        "supercell",
        "composition_number",
        "formula",
        "deviation",
        "min_distance_A",
        "raw",
        "distinct",
        "distinct_allowed",
        "listed",
        "kept",
        "method",
        "group_order",
        "spacegroup",
        "key",
    )
    rows = tuple(
        (
            space.cell.material.crystal,
            *axis_values(results, space.cell.material),
            str([list(row) for row in space.cell.supercell]),
            space.cell.composition_number,
            space.counted.formula,
            space.counted.composition.deviation,
            space.counted.min_distance_A,
            space.counted.count.raw,
            space.counted.count.distinct,
            space.counted.allowed.distinct if space.counted.allowed is not None else None,
            space.listed,
            len(space.orderings),
            space.method,
            space.counted.count.group_order,
            space.spacegroup,
            space.key,
        )
        for space in spaces
    )
    return CsvTable("enumeration.csv", columns, rows)
