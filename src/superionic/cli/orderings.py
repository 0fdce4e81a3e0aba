"""The orderings of a crystal as text for a terminal.

``superionic enumerate`` imports this module only where it prints text: importing rich takes as long as listing the
orderings of a small crystal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from superionic.enumeration.chosen import ChosenOrderings
    from superionic.enumeration.evidence import MonteCarloEvidence
    from superionic.enumeration.result import EnumeratedPoint, Enumeration
    from superionic.enumeration.series import SupercellSeries

_SHOWN = 20
_SHOWN_ORDER = 10
_FAR = 0.1


def show_enumeration(result: Enumeration) -> None:
    """Print the crystal and, for each of its points, the count and the orderings that were chosen."""
    console = Console()
    crystal = result.crystal
    console.print(
        f"[bold]{escape(str(crystal['name']))}[/bold]  {crystal['spacegroup']} (No. {crystal['spacegroup_number']}), "
        f"{escape(str(crystal['refined_cell']))} in the cell as refined"
    )
    _show_notes(console, crystal["notes"])
    console.print(escape(_charges_text(result.oxidation_states)))
    for point in result.points:
        console.print()
        _show_point(console, point)
    for refusal in result.refused:
        console.print(f"[yellow]left out:[/yellow] {escape(str(refusal))}")


def show_series(series: SupercellSeries) -> None:
    """Print a table of the supercells of each index and the numbers of their orderings."""
    table = Table("index", "supercells", "raw", "distinct", "not superperiodic", box=None)
    for entry in series.by_index:
        table.add_row(
            str(entry.index),
            str(entry.n_supercells),
            _big(entry.raw),
            _big(entry.distinct),
            _big(entry.non_superperiodic),
        )
    console = Console()
    _show_notes(console, series.notes)
    if series.oxidation_states:
        console.print(escape(_charges_text(series.oxidation_states)))
    console.print(table)
    for entry in series.by_index:
        if entry.problem:
            console.print(f"[yellow]index {entry.index}:[/yellow] {escape(entry.problem)}")
    for loss in series.losses:
        console.print(f"[yellow]caution:[/yellow] {escape(loss)}")


def _show_notes(console: Any, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False)


def _show_point(console: Any, point: EnumeratedPoint) -> None:
    counted = point.counted
    space, composition, count, allowed = counted.space, counted.composition, counted.count, counted.allowed
    title = f"{composition.formula} in {space.sites.supercell}"
    console.print(f"[bold]{point.label + '  ' if point.label else ''}{title}[/bold]", end="  ")
    n_atoms = sum(composition.totals.values())
    console.print(f"{n_atoms} atoms on {space.sites.n_sites} sites, {count.group_order} operations")
    groups = Table("sites", "number", "counts", box=None, pad_edge=False)
    for name, group, counts in zip(composition.names, composition.groups, composition.counts, strict=True):
        if len(counts) > 1:
            groups.add_row(name, str(len(group)), " ".join(f"{s}{n}" for s, n in counts.items()))
    console.print(groups)
    console.print(f"occupancies differ from the refined ones by {composition.deviation:.4f} (root mean square)")
    if composition.deviation > _FAR:
        console.print("[yellow]that is a lot:[/yellow] a larger supercell or other charges may come closer")
    if composition.lost:
        console.print(f"[yellow]caution:[/yellow] {escape(composition.loss)}")
    if counted.skipped:
        console.print(f"{counted.skipped} closer compositions have no ordering with {space.rule}")
    console.print(f"{_big(count.raw)} orderings, [bold]{_big(count.distinct)} distinct[/bold]")
    if space.has_exclusions:
        rule = f"with {space.rule}"
        if allowed is not None:
            console.print(f"{_big(allowed.raw)}, [bold]{_big(allowed.distinct)} distinct[/bold], {rule}")
        elif counted.fraction is not None:
            fraction = counted.fraction
            part = (
                f"{fraction.fraction:.3g} ± {fraction.standard_error:.1g} of them"
                if fraction.fraction
                else f"some, but fewer than {fraction.upper_bound:.2g} of them"
            )
            console.print(f"{part} {rule} (estimated from {fraction.draws:,} draws)")
    console.print(f"plan: {counted.plan.method} ({counted.plan.reason})")
    if point.chosen is not None:
        _show_orderings(console, point.chosen)


def _show_orderings(console: Any, orderings: ChosenOrderings) -> None:
    from superionic.enumeration.evidence import MonteCarloEvidence
    from superionic.execution.codec import to_tree

    if orderings.tie is not None:
        tie = orderings.tie
        console.print(
            f"[yellow]tie:[/yellow] {tie.members:,} orderings have {tie.energy_eV:.6f} eV, which point "
            f"charges cannot tell apart; {tie.taken:,} of them were taken, spread evenly over the listing "
            f"(seed {tie.seed})"
        )
    if isinstance(orderings.evidence, MonteCarloEvidence):
        _show_monte_carlo(console, orderings.evidence)
    elif orderings.evidence is not None:
        for key, value in to_tree(orderings.evidence).items():
            console.print(f"{key.replace('_', ' ')}: {value}")
    table = Table(
        "rank",
        "Ewald energy (eV)",
        "above the lowest (eV)",
        "degeneracy",
        *(["drawn"] if orderings.times_drawn is not None else []),
        box=None,
    )
    lowest = min(orderings.energies_eV)
    for rank in range(min(_SHOWN, len(orderings))):
        energy = float(orderings.energies_eV[rank])
        drawn = [] if orderings.times_drawn is None else [str(orderings.times_drawn[rank])]
        table.add_row(
            str(rank), f"{energy:.6f}", f"{energy - lowest:.6f}", str(orderings.table.degeneracies[rank]), *drawn
        )
    console.print(table)
    if len(orderings) > _SHOWN:
        console.print(f"... and {len(orderings) - _SHOWN:,} more (--json and --out give all)")


def _show_monte_carlo(console: Any, evidence: MonteCarloEvidence) -> None:
    from superionic.enumeration.monte_carlo import most_informative

    by = "" if evidence.dielectric is None else f", relative permittivity {evidence.dielectric:g}"
    console.print(
        f"Monte Carlo at {evidence.temperature_K:g} K on {evidence.energy}{by}: "
        f"{evidence.independent_draws} independent draws, {evidence.sweeps:,} sweeps at "
        f"{len(evidence.temperatures_K)} temperatures, autocorrelation "
        f"{_formatted(evidence.autocorrelation_sweeps, '.3g')} sweeps"
    )
    if evidence.converged:
        console.print("converged: no test contradicts it")
    for flag in evidence.flags:
        console.print(f"[yellow]caution:[/yellow] {flag}")
    error = "" if evidence.heat_capacity_error_kB is None else f" ± {evidence.heat_capacity_error_kB:.1g}"
    mean, mean_error = _formatted(evidence.mean_energy_eV, ".4f"), _formatted(evidence.mean_energy_error_eV, ".4f")
    console.print(
        f"mean energy {mean} ± {mean_error} eV, heat capacity "
        f"{_formatted(evidence.heat_capacity_kB, '.3g')}{error} k_B per cell"
    )
    shown = most_informative(evidence.order_parameters, _SHOWN_ORDER)
    if not shown:
        return
    table = Table("pair", "sites", "distance (Å)", "Warren-Cowley α", "", box=None)
    for p in shown:
        sites = p.sites_a if p.sites_a == p.sites_b else f"{p.sites_a} · {p.sites_b}"
        meaning = ""
        if p.warren_cowley is not None and p.error is not None:
            differs = abs(p.warren_cowley) > 3.0 * p.error + 1e-9
            meaning = ("together" if p.warren_cowley < 0 else "apart") if differs else "as by chance"
        value = f"{_formatted(p.warren_cowley, '+.3f')} ± {_formatted(p.error, '.3f')}"
        table.add_row(f"{p.species_a}-{p.species_b}", sites, f"{p.distance_A:.2f}", value, meaning)
    console.print("short-range order (α: 0 by chance, negative: neighbours more often, 1: never)")
    console.print(table)
    rest = len(evidence.order_parameters) - len(shown)
    if rest > 0:
        console.print(f"... and {rest} more pairs (--json gives all)")


def _formatted(value: float | None, digits: str) -> str:
    return "unknown" if value is None else format(value, digits)


def _charges_text(charges: Mapping[str, Any]) -> str:
    states = ", ".join(f"{element} {value:+g}" for element, value in charges["values"].items())
    note = f"; {charges['note']}" if charges["note"] else ""
    return f"charges ({charges['source']}): {states}{note}"


def _big(number: int) -> str:
    return f"{number:,}" if number < 10**12 else f"{number:.4e}"
