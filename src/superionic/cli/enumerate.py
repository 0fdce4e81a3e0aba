"""The verb ``superionic enumerate``: its options, and how they become a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer

from superionic.cli.options import BlockOption, ChargesOption, CrystalArgument, JsonOption, grouped, parse_charges
from superionic.cli.spinner import spinner

if TYPE_CHECKING:
    from superionic.enumeration.request import Choice, SpaceOptions

_QUICK_LOOK = 20
"""Number of the lowest orderings that are listed where nothing else is asked for."""


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

    @property
    def coupling(self) -> Literal["per-orbit", "coupled"]:
        """Whether sites with the same species share one total."""
        return "per-orbit" if self.per_orbit else "coupled"


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
    if series_only:
        _count_supercells(file, cells, composition, output, block)
        return
    from superionic.enumeration.request import count_spaces

    choice = _choice(request, writes=output.out is not None)
    spaces = _space_options(request, cells, composition)
    with spinner("reading the crystal", quiet=output.as_json) as say:

        def show_count(label: str, number: int) -> None:
            if say is not None:
                say(f"{label} {number:,} orderings examined".strip())

        orderings = count_spaces(file, spaces, block=block)
        enumeration = orderings.choose(choice, progress=None if say is None else show_count)
        written = [] if output.out is None else enumeration.write(output.out)
    if output.as_json:
        files = {} if output.out is None else {"written": [str(path) for path in written]}
        typer.echo(json.dumps(enumeration.to_dict() | files))
        return
    from superionic.cli.orderings import show_enumeration

    show_enumeration(enumeration)
    if written:
        more = f" and {len(written) - 1} more files" if len(written) > 1 else ""
        typer.echo(f"wrote {enumeration.n_chosen} structures to {written[0]}{more}")


def _count_supercells(
    file: Path, cells: CellOptions, composition: CompositionOptions, output: OutputOptions, block: str | None
) -> None:
    """Count the orderings of all supercells up to an index, and print the numbers."""
    from superionic.enumeration.series import count_supercells

    series = count_supercells(
        file,
        cells.max_index or 1,
        any_composition=cells.any_composition,
        exchangeable=cells.exchangeable,
        block=block,
        diagonal_only=cells.diagonal,
        coupling=composition.coupling,
        oxidation_states=parse_charges(composition.charges),
        axes=composition.axis or (),
        formula_unit=composition.formula_unit,
        max_deviation=composition.max_deviation,
    )
    if output.as_json:
        typer.echo(json.dumps(series.to_dict()))
        return
    from superionic.cli.orderings import show_series

    show_series(series)


def _choice(request: RequestOptions, *, writes: bool) -> Choice:
    """Return which orderings the options ask for; without a method a quick look, or all where a file is written."""
    from superionic.enumeration.request import Choice

    quick = not (request.count or any(request.methods))
    return Choice(
        ewald_top=request.ewald_top,
        sample_draws=request.sample,
        thermal=request.thermal,
        search_lowest=request.search,
        search_budget=request.search_budget,
        monte_carlo_samples=request.monte_carlo,
        temperature_K=request.temperature,
        dielectric=request.dielectric,
        sweeps=request.sweeps,
        quick_look=_QUICK_LOOK if quick else None,
        list_all=quick and writes,
        seed=request.seed,
    )


def _space_options(request: RequestOptions, cells: CellOptions, composition: CompositionOptions) -> SpaceOptions:
    """Return the supercells and compositions that the options ask for."""
    from superionic.enumeration.request import SpaceOptions

    return SpaceOptions(
        supercell=_parse_supercell(cells.supercell),
        max_index=cells.max_index,
        diagonal_only=cells.diagonal,
        coupling=composition.coupling,
        oxidation_states=parse_charges(composition.charges),
        axes=tuple(composition.axis or ()),
        formula_unit=composition.formula_unit,
        max_deviation=composition.max_deviation,
        min_distance_A=None if request.min_distance == 0.0 else request.min_distance,
        max_listed=request.max_listed,
        seed=request.seed,
    )


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


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module to the command line."""
    app.command("enumerate")(enumerate_command)
