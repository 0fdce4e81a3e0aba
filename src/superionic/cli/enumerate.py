"""The verb ``superionic enumerate``: its options and its output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from superionic.cli.options import BlockOption, ChargesOption, CrystalArgument, JsonOption, grouped, parse_charges
from superionic.cli.progress import spinner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from superionic.enumeration.chosen import ChosenOrderings
    from superionic.enumeration.evidence import MonteCarloEvidence
    from superionic.enumeration.result import EnumeratedPoint, Enumeration
    from superionic.enumeration.series import SupercellSeries

_SHOWN = 20
_SHOWN_ORDER = 10
_FAR = 0.1


@dataclass(frozen=True)
class RequestOptions:
    """Which orderings to return."""

    heading: ClassVar[str] = "Orderings"

    count: Annotated[
        bool,
        typer.Option("--count", help="Count only: exact numbers and a plan, in milliseconds, for a cell of any size."),
    ] = False
    ewald_top: Annotated[
        int | None,
        typer.Option(min=1, help="List all orderings; return this many of lowest point-charge energy, exactly."),
    ] = None
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Draw this many orderings, each distinct one with the same probability, from a space of any size.",
        ),
    ] = None
    thermal: Annotated[
        bool, typer.Option("--thermal", help="With --sample: probability in proportion to degeneracy instead.")
    ] = False
    search: Annotated[
        int | None,
        typer.Option(
            min=1, help="Search for this many of the lowest orderings by replica exchange, in a space of any size."
        ),
    ] = None
    search_budget: Annotated[
        int, typer.Option(min=1, help="With --search: number of attempted swaps, about a million a second.")
    ] = 50_000_000
    monte_carlo: Annotated[
        int | None,
        typer.Option(
            "--monte-carlo",
            min=1,
            help="Draw this many independent orderings from thermal equilibrium, with their short-range order.",
        ),
    ] = None
    temperature: Annotated[
        float, typer.Option("--temperature-K", help="With --monte-carlo: temperature at which the order is frozen in.")
    ] = 800.0
    dielectric: Annotated[
        float,
        typer.Option(
            help="With --monte-carlo: relative permittivity that screens point charges (1, vacuum, is too stiff)."
        ),
    ] = 10.0
    sweeps: Annotated[
        int, typer.Option(min=1, help="With --monte-carlo: length of the run, in attempted swaps per site.")
    ] = 4000
    min_distance: Annotated[
        float,
        typer.Option(
            min=0.0, help="Smallest distance in Å between like ions (2/3 of it between unlike ones); 0: no limit."
        ),
    ] = 1.5
    max_listed: Annotated[int, typer.Option(min=1, help="Refuse to list more distinct orderings than this.")] = (
        100_000_000
    )
    seed: Annotated[int, typer.Option(help="Seed of all random choices.")] = 0

    @property
    def methods(self) -> tuple[int | None, ...]:
        """Number of orderings requested from each method; None or 0 for a method that is not used."""
        return self.ewald_top, self.sample, self.search, self.monte_carlo


@dataclass(frozen=True)
class CellOptions:
    """Which supercells to decorate."""

    heading: ClassVar[str] = "Supercell"

    supercell: Annotated[
        str,
        typer.Option(
            help="Supercell: 1x1x2, a matrix such as '[[1,1,0],[0,1,0],[0,0,2]]', primitive, or auto (the smallest "
            "that fits the occupancies)."
        ),
    ] = "1x1x1"
    hnf: Annotated[bool, typer.Option("--hnf", help="All symmetry-distinct supercells of the primitive cell.")] = False
    max_index: Annotated[int | None, typer.Option(min=1, help="With --hnf: largest number of primitive cells.")] = None
    diagonal: Annotated[bool, typer.Option("--diagonal", help="With --hnf: diagonal matrices only.")] = False
    any_composition: Annotated[
        bool, typer.Option("--any-composition", help="With --hnf --count: all concentrations of the free species.")
    ] = False
    exchangeable: Annotated[
        bool,
        typer.Option(
            "--exchangeable",
            help="With --any-composition: orderings that differ only by exchanging species count once.",
        ),
    ] = False


@dataclass(frozen=True)
class CompositionOptions:
    """Which compositions to use."""

    heading: ClassVar[str] = "Composition"

    per_orbit: Annotated[
        bool,
        typer.Option(
            "--per-orbit/--coupled",
            help="Each crystallographic site has its own counts, or sites with the same species share one total.",
        ),
    ] = True
    axis: Annotated[
        list[str] | None,
        typer.Option(
            help="Composition axis, e.g. 'Cl:Br:x=3', 'Cl:Br:x=0..6:0.5', 'P:Si:x=2,Na=follows'; repeat it for a grid."
        ),
    ] = None
    formula_unit: Annotated[
        str | None, typer.Option(help="Formula unit that axes refer to, e.g. Li3YCl6.", show_default="the crystal's")
    ] = None
    charges: ChargesOption = None
    max_deviation: Annotated[
        float,
        typer.Option(
            help="Largest difference of an occupancy from the refined one; one atom more or fewer is always allowed "
            "(never with --supercell auto), unless it removes a species altogether. 1: no limit."
        ),
    ] = 0.1


@dataclass(frozen=True)
class OutputOptions:
    """Where orderings are written."""

    heading: ClassVar[str] = "Output"

    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File for the orderings: .extxyz, .cif or .vasp (one file each).")
    ] = None
    as_json: JsonOption = False


@grouped
def enumerate_command(
    context: typer.Context,
    file: CrystalArgument,
    request: RequestOptions,
    cells: CellOptions,
    composition: CompositionOptions,
    output: OutputOptions,
    block: BlockOption = None,
) -> None:
    """Count the orderings of a disordered crystal; list those lowest in energy, search for them, or sample them.

    By default it counts, suggests what to do next, and lists the lowest few if that is quick. Try
    [b]--supercell 1x1x2 --count[/b], then [b]--ewald-top 100 --out lowest.extxyz[/b]; for a mixed composition
    [b]--axis 'Cl:Br:x=0..6:0.5' --sample 200 --seed 1 --out sample.extxyz[/b]; for the disorder at 900 K
    [b]--monte-carlo 50 --temperature-K 900 --out thermal.extxyz[/b]; for all cells [b]--hnf --max-index 2 --count[/b].
    """
    _check_requests(request, cells, output)
    series_only = cells.hnf and not any(request.methods) and output.out is None
    _demand_effect(context, series_only=series_only)
    coupling = "per-orbit" if composition.per_orbit else "coupled"
    charges = parse_charges(composition.charges)
    if series_only:
        from superionic.enumeration.series import count_supercells

        series = count_supercells(
            file,
            cells.max_index or 1,
            any_composition=cells.any_composition,
            exchangeable=cells.exchangeable,
            block=block,
            diagonal_only=cells.diagonal,
            coupling=coupling,
            oxidation_states=charges,
            axes=composition.axis or (),
            formula_unit=composition.formula_unit,
            max_deviation=composition.max_deviation,
        )
        if output.as_json:
            typer.echo(json.dumps(series.to_dict()))
        else:
            _show_series(series)
        return
    from superionic.enumeration.request import enumerate_orderings

    quick = not (request.count or any(request.methods))
    with spinner("reading the crystal", quiet=output.as_json) as say:

        def show_count(label: str, number: int) -> None:
            if say is not None:
                say(f"{label} {number:,} orderings examined".strip())

        enumeration = enumerate_orderings(
            file,
            supercell=_parse_supercell(cells.supercell),
            max_index=cells.max_index,
            min_distance_A=None if request.min_distance == 0.0 else request.min_distance,
            ewald_top=request.ewald_top,
            sample_draws=request.sample,
            thermal=request.thermal,
            search_lowest=request.search,
            search_budget=request.search_budget,
            monte_carlo_samples=request.monte_carlo,
            temperature_K=request.temperature,
            dielectric=request.dielectric,
            sweeps=request.sweeps,
            quick_look=_SHOWN if quick else None,
            list_all=quick and output.out is not None,
            max_listed=request.max_listed,
            seed=request.seed,
            progress=None if say is None else show_count,
            block=block,
            diagonal_only=cells.diagonal,
            coupling=coupling,
            oxidation_states=charges,
            axes=composition.axis or (),
            formula_unit=composition.formula_unit,
            max_deviation=composition.max_deviation,
        )
        written = [] if output.out is None else enumeration.write(output.out)
    if output.as_json:
        files = {} if output.out is None else {"written": [str(path) for path in written]}
        typer.echo(json.dumps(enumeration.to_dict() | files))
        return
    _show(enumeration)
    if written:
        more = f" and {len(written) - 1} more files" if len(written) > 1 else ""
        typer.echo(f"wrote {enumeration.n_chosen} structures to {written[0]}{more}")


def _check_requests(request: RequestOptions, cells: CellOptions, output: OutputOptions) -> None:
    """Refuse options that contradict one another.

    Raises
    ------
    CompositionError
        If they do.
    """
    from superionic.errors import CompositionError

    if cells.hnf and cells.max_index is None:
        raise CompositionError("--hnf needs a largest index.", fix="Add --max-index, such as --max-index 4.")
    if cells.max_index is not None and not cells.hnf:
        raise CompositionError("--max-index has no effect without --hnf.", fix="Add --hnf.")
    if output.out is not None and request.count:
        raise CompositionError("--count gives no structures to write.", fix="Leave out --count or --out.")
    if request.count and any(request.methods):
        raise CompositionError(
            "--count gives no orderings.",
            fix="Use only one of --count, --ewald-top, --sample, --search and --monte-carlo.",
        )


_NEEDS = {
    "thermal": ("sample",),
    "search_budget": ("search",),
    "temperature": ("monte_carlo",),
    "dielectric": ("monte_carlo",),
    "sweeps": ("monte_carlo",),
    "formula_unit": ("axis",),
    "diagonal": ("hnf",),
    "any_composition": ("hnf",),
    "exchangeable": ("any_composition",),
}
"""Options that have an effect only together with another."""


def _demand_effect(context: typer.Context, *, series_only: bool) -> None:
    """Refuse an option that has no effect beside the others, since whoever gave it expects one."""
    from superionic.errors import CompositionError

    options = {parameter.name: parameter for parameter in context.command.params if parameter.name is not None}
    sources = {name: context.get_parameter_source(name) for name in options}
    on_command_line = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]

    def flag(name: str) -> str:
        spellings = [*options[name].opts, *options[name].secondary_opts]
        if name == "per_orbit":
            return spellings[0 if context.params[name] else 1]
        return max(spellings, key=len)

    def refuse(name: str, beside: str, fix: str) -> None:
        raise CompositionError(f"{flag(name)} has no effect {beside}.", where=flag(name), fix=fix)

    for name in on_command_line:
        for needed in _NEEDS.get(name, ()):
            if not context.params[needed]:
                refuse(name, f"without {flag(needed)}", f"Add {flag(needed)}, or leave out {flag(name)}.")
    if context.params["hnf"]:
        idle = {"supercell"}
        if series_only:
            idle |= {"min_distance", "max_listed", "seed"}
            if context.params["any_composition"]:
                idle |= {"axis", "charges", "per_orbit", "max_deviation"}
        for name in (n for n in on_command_line if n in idle):
            beside = "with --hnf" if name == "supercell" else "where the orderings of all supercells are only counted"
            if name in {"axis", "charges", "per_orbit", "max_deviation"}:
                beside = "with --any-composition"
            more = (
                " or ask for orderings, such as --sample 100" if name in {"min_distance", "max_listed", "seed"} else ""
            )
            refuse(name, beside, f"Leave out {flag(name)}{',' * bool(more)}{more}.")
        if not series_only and context.params["any_composition"]:
            refuse("any_composition", "where orderings are requested", "Leave it out, or only count (--count).")


def _parse_supercell(text: str) -> Any:
    stripped = text.strip()
    if not stripped.startswith("["):
        return stripped
    from superionic.errors import StructureError

    try:
        return json.loads(stripped)
    except (json.JSONDecodeError, RecursionError) as error:
        raise StructureError(
            f"{text[:100]!r} is not a supercell.", fix="Write 1x1x2, primitive, or [[1,0,0],[0,1,0],[0,0,2]]."
        ) from error


def _show(result: Enumeration) -> None:
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


def _show_series(series: SupercellSeries) -> None:
    console = Console()
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


def _charges_text(charges: Mapping[str, Any]) -> str:
    states = ", ".join(f"{element} {value:+g}" for element, value in charges["values"].items())
    note = f"; {charges['note']}" if charges["note"] else ""
    return f"charges ({charges['source']}): {states}{note}"


def _big(number: int) -> str:
    return f"{number:,}" if number < 10**12 else f"{number:.4e}"


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module to the command line."""
    app.command("enumerate")(enumerate_command)
