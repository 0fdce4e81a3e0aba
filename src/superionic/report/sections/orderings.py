"""Orderings: the number of each composition, the spread of their Ewald energies, and the certainty of the choice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superionic.enumeration.evidence import MonteCarloEvidence, SearchEvidence
from superionic.report.composition_axes import material_cells, material_columns, unit_formula
from superionic.report.csv_tables import CsvTable, csv_table
from superionic.report.plots import BLUE, Panel, Plot, Series
from superionic.report.section import Paragraph, Section, shown
from superionic.report.table import Table, table_of
from superionic.report.words import supercell_text, whole_text
from superionic.results.campaign import Results, Statement
from superionic.results.identity import OrderedCell
from superionic.results.orderings import EnumeratedSpace

_MOST_PANELS: Final = 6
_MOST_BINS: Final = 60


def section(results: Results) -> Section:
    """Describe the spaces of orderings."""
    if results.enumerate is None:
        return Section("orderings", "Orderings", [Paragraph("Orderings were not enumerated.", "missing")])
    spaces = results.enumerate.spaces
    blocks = shown(_histograms(results, spaces), _table(results, spaces))
    return Section("orderings", "Orderings", blocks, [_csv(results, spaces)])


def doubts(results: Results) -> Iterator[Statement]:
    """Yield statements on the certainty of the choice of orderings."""
    for space in results.enumerate.spaces if results.enumerate is not None else ():
        name = f"{unit_formula(results, space.counted.formula)} ({space.cell.id})"
        if space.method == "sample":
            words = (
                f"{name}: {whole_text(space.listed)} of {whole_text(space.counted.count.distinct)} distinct orderings "
                "were examined, drawn at random; a lower one may exist."
            )
            yield Statement("info", words)
        if isinstance(space.evidence, SearchEvidence):
            yield _about_search(name, space.evidence)
        if isinstance(space.evidence, MonteCarloEvidence):
            yield from about_monte_carlo(name, space.evidence)
        if space.tie is not None:
            words = (
                f"{name}: {space.tie.members:,} orderings share the Ewald energy at which the choice ends, and "
                f"{space.tie.taken} of them were taken, spread evenly; point charges cannot distinguish them."
            )
            yield Statement("info", words)
        if space.counted.composition.lost:
            words = f"{name}: {space.counted.composition.loss}."
            yield Statement("warning", words, "a species of the crystal is lost")
        if space.counted.skipped:
            words = (
                f"{name}: {space.counted.skipped} compositions closer to the refinement were skipped, as they have no "
                "ordering that respects the exclusions."
            )
            yield Statement("caution", words)
    for left_out in results.enumerate.left_out if results.enumerate is not None else ():
        yield Statement("info", f"{left_out.cell.id} was left out: {left_out.reason}")


def _about_search(name: str, evidence: SearchEvidence) -> Statement:
    agreed = f"{evidence.agreeing_on_the_lowest} of {evidence.searches} independent searches"
    if evidence.converged:
        words = f"{name}: the orderings of lowest Ewald energy were searched; {agreed} agree on the lowest."
        return Statement("info", words)
    words = f"{name}: only {agreed} found the same lowest Ewald energy; a lower ordering is likely."
    return Statement("caution", words, "searches for orderings disagree")


def about_monte_carlo(name: str, evidence: MonteCarloEvidence) -> Iterator[Statement]:
    """Say how orderings were drawn at a temperature, and what is held against the run."""
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
        size = "is unknown" if error is None else f"is {error:.2g} meV/atom"
        yield Statement(
            "caution",
            f"{name}: the error of the fit to the potential on unseen orderings {size}; "
            f"{surrogate.tolerance_meV_per_atom:g} was required; raise `max_rounds`, `batch` or `pair_cutoff_A`.",
            "orderings drawn by a fit that is not converged",
        )
    evaluations = surrogate.evaluations if surrogate is not None else None
    if evaluations is not None and evaluations.failed:
        yield Statement(
            "caution", f"{name}: {evaluations.failed} of {evaluations.count} energies for Monte Carlo failed."
        )
    if evaluations is not None and evaluations.in_which_an_ion_left_its_site:
        yield Statement(
            "caution",
            f"{name}: in {evaluations.in_which_an_ion_left_its_site} of {evaluations.count} relaxations for Monte "
            "Carlo an ion moved by more than 1 Å; their energies may be those of other orderings.",
        )
    for flag in evidence.flags:
        yield Statement("caution", f"{name}: Monte Carlo: {flag}")


def _histograms(results: Results, spaces: tuple[EnumeratedSpace, ...]) -> Plot:
    spread = [space for space in spaces if space.histogram is not None or len(space.orderings) > 1]
    panels = [_histogram(results, space) for space in spread[:_MOST_PANELS]]
    more = f" The figure shows {_MOST_PANELS} of {len(spread)} spaces." if len(spread) > _MOST_PANELS else ""
    return Plot(
        "ewald_histogram",
        "Electrostatic energies of the orderings",
        "Point-charge (Ewald) energy per supercell of every listed ordering with formal oxidation states, above the "
        "lowest of its space. It is a filter that keeps like charges apart, and no measure of stability; see the "
        "ranking for that." + more,
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
        "Ewald energy, relative (eV)",
        "distinct orderings",
        f"{unit_formula(results, space.counted.formula)} · {space.cell.id}",
    )


def _binned(space: EnumeratedSpace) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts and edges relative to the lowest energy, for the whole listing or for the orderings retained."""
    if space.histogram is not None:
        counts = np.array(space.histogram.distinct, dtype=np.float64)
        # Neighbouring bins are joined until there are few enough to be legible.
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


def _table(results: Results, spaces: tuple[EnumeratedSpace, ...]) -> Table:
    return table_of(
        "Spaces of orderings.",
        spaces,
        [
            ("Composition", lambda space: unit_formula(results, space.counted.formula)),
            ("Crystal", lambda space: space.cell.material.crystal),
            ("Label", lambda space: _label(space.cell)),
            ("Supercell", lambda space: supercell_text(space.cell.supercell)),
            ("Arrangements", lambda space: whole_text(space.counted.count.raw)),
            ("Distinct", lambda space: whole_text(space.counted.count.distinct)),
            ("Listed", lambda space: whole_text(space.listed)),
            ("Symmetry operations", lambda space: whole_text(space.counted.count.group_order)),
            ("Method", lambda space: space.method),
        ],
        numeric=range(4, 8),
    )


def _label(cell: OrderedCell) -> str:
    number = f"({cell.composition_number})" if cell.composition_number else ""
    return " ".join(part for part in (cell.material.composition_label, number) if part)


def _csv(results: Results, spaces: tuple[EnumeratedSpace, ...]) -> CsvTable:
    return csv_table(
        "enumeration.csv",
        material_columns(results),
        [(material_cells(results, space.cell.material), space) for space in spaces],
        [
            ("supercell", lambda space: str([list(row) for row in space.cell.supercell])),
            ("composition_number", lambda space: space.cell.composition_number),
            ("formula", lambda space: space.counted.formula),
            ("deviation", lambda space: space.counted.composition.deviation),
            ("min_distance_A", lambda space: space.counted.min_distance_A),
            ("raw", lambda space: space.counted.count.raw),
            ("distinct", lambda space: space.counted.count.distinct),
            (
                "distinct_allowed",
                lambda space: None if space.counted.allowed is None else space.counted.allowed.distinct,
            ),
            ("listed", lambda space: space.listed),
            ("kept", lambda space: len(space.orderings)),
            ("method", lambda space: space.method),
            ("group_order", lambda space: space.counted.count.group_order),
            ("spacegroup", lambda space: space.spacegroup),
            ("key", lambda space: space.key),
        ],
    )
