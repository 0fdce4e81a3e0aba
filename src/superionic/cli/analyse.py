"""The verb ``superionic analyse``: its options and its output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from superionic.cli.options import (
    ChargesOption,
    JsonOption,
    grouped,
    parse_charges,
    parse_temperatures,
    parse_words,
)
from superionic.cli.screen import plain_json
from superionic.cli.spinner import spinner

if TYPE_CHECKING:
    from superionic.results.analysis import Analysis, PooledTransport, SeriesOfRuns
    from superionic.trajectories.analysis import RunAnalysis
    from superionic.transport.analysis import TransportAnalysis
    from superionic.transport.observables.together import Observables
    from superionic.transport.sites.migration_summary import MigrationSummary

_DENSITY_GRID_A = 0.25
_MOST_ROWS = 12
_MOST_NOTICES = 5


@dataclass(frozen=True)
class RunOptions:
    """What was simulated in the files."""

    heading: ClassVar[str] = "Runs"

    mobile: Annotated[
        str | None, typer.Option(help="Mobile ion, e.g. Li (several: Li,Na).", show_default="guessed")
    ] = None
    charges: ChargesOption = None
    temperature_K: Annotated[
        float | None,
        typer.Option("--temperature-K", help="Temperature of the run, needed for σ.", show_default="from the file"),
    ] = None
    temperatures_K: Annotated[
        str | None,
        typer.Option(
            "--temperatures-K", help="A temperature for each file, e.g. 600,700,800; each file is then a run."
        ),
    ] = None
    replicas: Annotated[
        bool, typer.Option("--replicas", help="Each file is an independent run, all at one temperature.")
    ] = False
    arrhenius: Annotated[
        bool | None,
        typer.Option(
            "--arrhenius/--no-arrhenius", help="Fit an activation energy.", show_default="from two temperatures on"
        ),
    ] = None
    report_K: Annotated[
        str, typer.Option("--report-K", help="Temperatures at which to report σ from the Arrhenius fit.")
    ] = "300"
    run: Annotated[str | None, typer.Option(help="Run folder: words of a run's name.", show_default="all runs")] = None
    part: Annotated[str, typer.Option(help="Run folder: part of each run to analyse, production or npt.")] = (
        "production"
    )


@dataclass(frozen=True)
class ReadingOptions:
    """How trajectories are read, and what their files leave out."""

    heading: ClassVar[str] = "Reading"

    frame_interval_fs: Annotated[
        float | None,
        typer.Option("--frame-interval-fs", help="Time between frames.", show_default="from the file, if stated"),
    ] = None
    timestep_fs: Annotated[
        float | None, typer.Option("--timestep-fs", help="LAMMPS, DCD: time step, if the file counts steps.")
    ] = None
    elements: Annotated[
        str | None, typer.Option(help="LAMMPS, VASP 4: element of each type, in order, e.g. Li,Y,Cl.")
    ] = None
    units: Annotated[str | None, typer.Option(help="LAMMPS: units of the dump, e.g. metal or real.")] = None
    structure: Annotated[
        Path | None,
        typer.Option(
            help="XTC, DCD, VASP 4, XYZ without a cell: a structure file with the same atoms in the same order."
        ),
    ] = None
    file_format: Annotated[
        str | None, typer.Option("--format", help="Format of the files.", show_default="recognised")
    ] = None
    unwrap: Annotated[
        str, typer.Option(help="Unwrapping where the cell changes: mean-cell (best for crystals) or toroidal.")
    ] = "mean-cell"
    skip_ps: Annotated[
        float, typer.Option("--skip-ps", min=0.0, help="Leave out this much from the start of each run.")
    ] = 0.0
    stride: Annotated[int, typer.Option(min=1, help="Use every Nth frame only.")] = 1
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for unwrapped positions; reading that was killed resumes where it stopped."),
    ] = None


@dataclass(frozen=True)
class DiffusionOptions:
    """How diffusivities are estimated."""

    heading: ClassVar[str] = "Diffusion"

    axes: Annotated[str, typer.Option(help="Cartesian axes to average over: xyz, or xy for diffusion in a plane.")] = (
        "xyz"
    )
    plane: Annotated[
        str | None, typer.Option(help="Average over the plane of two cell vectors instead: ab, ac or bc.")
    ] = None
    framework: Annotated[
        str | None,
        typer.Option(help="Elements that define the drift, e.g. Y,Cl.", show_default="all that are not mobile"),
    ] = None
    drift: Annotated[
        str | None,
        typer.Option(
            help="Drift to remove: of the framework's centre of mass, of its mean position (number), or none.",
            show_default="mass",
        ),
    ] = None
    hop_length_A: Annotated[
        float, typer.Option("--hop-length-A", help="Typical distance between neighbouring sites.")
    ] = 3.0
    from_ps: Annotated[
        float | None,
        typer.Option(
            "--from-ps",
            help="With --to-ps: shortest lag of a window in which D is measured.",
            show_default="where D levels off",
        ),
    ] = None
    to_ps: Annotated[float | None, typer.Option("--to-ps", help="With --from-ps: longest lag of the window.")] = None

    def window_ps(self) -> tuple[float, float] | None:
        """Return the requested window of lags in ps; None if there is none.

        Raises
        ------
        AnalysisError
            If only one end is given.
        """
        if self.from_ps is not None and self.to_ps is not None:
            return self.from_ps, self.to_ps
        if self.from_ps is None and self.to_ps is None:
            return None
        from superionic.errors import AnalysisError

        raise AnalysisError(
            "A window of lags has two ends.",
            where="--from-ps" if self.to_ps is None else "--to-ps",
            fix="Give both, e.g. --from-ps 5 --to-ps 50, or neither.",
        )


@dataclass(frozen=True)
class PathwayOptions:
    """Which paths ions take, and what else is observed."""

    heading: ClassVar[str] = "Pathways and observables"

    sites: Annotated[
        str | None,
        typer.Option(
            help="Sites that ions jump between: density (its maxima), a CIF of the crystal, which may be disordered "
            "(its sites by their labels, and interstitial ones), or none.",
            show_default="density with --out, else none",
        ),
    ] = None
    isovalue: Annotated[
        float | None,
        typer.Option(
            help="Level of the density's surface in Å⁻³ (∫P = 1).",
            show_default="encloses 90 % of the ions, above the noise",
        ),
    ] = None
    observables: Annotated[
        str | None,
        typer.Option(
            help="Further observables: vibrations (attempt frequency, amplitude), rotation (of PS4, SO4, BH4 …) and "
            "pairs (g(r), coordination), separated by commas; all or none.",
            show_default="all with --out, else none",
        ),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """Where results go."""

    heading: ClassVar[str] = "Output"

    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for result.json, CSV, figures, density, sites, jumps and a page."),
    ] = None
    samples: Annotated[
        int | None,
        typer.Option(
            help="With --out: draws of D*, D_σ, Ea, ln D₀ and σ from their joint posterior, written to samples.csv "
            "and samples.npz, for propagating errors."
        ),
    ] = None
    as_json: JsonOption = False


@grouped
def analyse_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="XDATCAR, vasprun.xml, LAMMPS dump, extxyz, ASE .traj, H5MD, XTC or DCD; or the run folder of a "
            "campaign. Several files are one trajectory, in the order of their steps if they state them, else as given."
        ),
    ],
    runs: RunOptions,
    reading: ReadingOptions,
    diffusion: DiffusionOptions,
    pathways: PathwayOptions,
    output: OutputOptions,
) -> None:
    """Calculate diffusivity, Haven ratio and conductivity, with their errors, from existing trajectories.

    No fit window is needed: the lag where D levels off is determined, and doubts about a number stand beside it. Try
    [b]superionic analyse XDATCAR --mobile Li --frame-interval-fs 20 --temperature-K 700[/b]; for a LAMMPS dump add
    [b]--units metal --elements Li,Y,Cl --timestep-fs 2[/b]; for an activation energy
    [b]superionic analyse 600K.xdatcar 800K.xdatcar --temperatures-K 600,800[/b]; add [b]--out FOLDER[/b] for figures
    and for the paths of ions: density, sites, jumps, percolation ([b]--sites crystal.cif[/b]: on the crystal's sites).
    """
    from superionic.campaign.analysing import analyse
    from superionic.errors import AnalysisError

    isovalue, samples, out = pathways.isovalue, output.samples, output.out
    if isovalue is not None and not isovalue > 0.0:
        raise AnalysisError(
            f"The isovalue is {isovalue:g} Å⁻³; it must be above zero.", where="--isovalue", fix="Give e.g. 1e-3."
        )
    window_ps = diffusion.window_ps()
    if samples is not None:
        from superionic.transport.conductivity.posterior import check_samples

        check_samples(samples)
        if out is None:
            raise AnalysisError(
                "--samples writes files and needs a folder.", where="--samples", fix="Add --out FOLDER."
            )
    with spinner("reading", quiet=output.as_json) as say:

        def frames_read(n_read: int, total: int | None) -> None:
            if say is not None:
                say(f"{n_read:,} frames read" + (f" of {total:,}" if total else ""))

        analysis = analyse(
            files,
            mobile=parse_words(runs.mobile),
            frame_interval_fs=reading.frame_interval_fs,
            temperature_K=runs.temperature_K,
            temperatures_K=(
                None if runs.temperatures_K is None else parse_temperatures(runs.temperatures_K, "--temperatures-K")
            ),
            replicas=runs.replicas,
            arrhenius=runs.arrhenius,
            report_temperatures_K=parse_temperatures(runs.report_K, "--report-K"),
            charges=parse_charges(runs.charges),
            axes=diffusion.axes,
            plane=diffusion.plane,
            framework=parse_words(diffusion.framework),
            drift=diffusion.drift,  # type: ignore[arg-type]
            hop_length_A=diffusion.hop_length_A,
            window_ps=window_ps,
            skip_ps=reading.skip_ps,
            stride=reading.stride,
            density_grid_A=None if out is None else _DENSITY_GRID_A,
            isovalue_per_A3=isovalue,
            sites=pathways.sites or ("none" if out is None else "density"),
            observables=pathways.observables or ("none" if out is None else "all"),
            format=reading.file_format,
            elements=parse_words(reading.elements),
            units=reading.units,
            timestep_fs=reading.timestep_fs,
            structure=reading.structure,
            unwrap=reading.unwrap,  # type: ignore[arg-type]
            cache=reading.cache,
            run=runs.run,
            part=runs.part,
            progress=None if say is None else frames_read,
        )
    page = None if out is None else analysis.write(out, samples=samples or 0)
    if output.as_json:
        typer.echo(plain_json(analysis.to_json()), nl=False)
        return
    _show(analysis)
    if page is not None:
        typer.echo(f"wrote {page}")


def _show(analysis: Analysis) -> None:
    console = Console()
    for run in analysis.runs:
        transport = run.transport
        at = f" at {transport.temperature_K:g} K" if transport.temperature_K is not None else ""
        console.print(
            f"[bold]{escape(run.name)}[/bold]  {run.formula}{at}: {run.n_frames:,} frames, "
            f"{transport.duration_ps:g} ps, {transport.n_ions} {'+'.join(run.mobile)}"
        )
        charges = ", ".join(f"{element} {charge:+g}" for element, charge in run.charges.items())
        framework = ", ".join(run.framework)
        console.print(
            (f"charges: {charges} ({escape(run.charges_note)}); " if charges else "")
            + (f"drift of {framework} removed (centre of {run.drift})" if framework else "no drift removed")
        )
        _show_estimates(console, transport)
        start, end = transport.window_ps
        level = f"level from lags of {start:.3g} ps on" if transport.tracer.diffusive else "not level"
        level = level if end == transport.duration_ps else f"D at lags of {start:.3g} to {end:.3g} ps"
        console.print(f"{level}, {transport.n_hops:,} hops counted")
        _show_cell(console, run)
        if run.migration is not None:
            _show_migration(console, run.migration)
        if run.observables is not None:
            _show_observables(console, run.observables)
        for flag in run.migration_flags:
            console.print(f"[yellow]caution (sites):[/yellow] {escape(flag)}")
        for flag in run.flags:
            console.print(f"[yellow]caution:[/yellow] {escape(flag)}")
        for notice in run.notices[:_MOST_NOTICES]:
            console.print(f"[yellow]reading:[/yellow] {escape(str(notice))}")
        if len(run.notices) > _MOST_NOTICES:
            console.print(f"[yellow]reading:[/yellow] and {len(run.notices) - _MOST_NOTICES} more (--json has all)")
        console.print()
    if analysis.pooled is not None:
        console.print("[bold]average over the replicas[/bold]")
        _show_estimates(console, analysis.pooled)
    for series in analysis.arrhenius:
        _show_dependence(console, series, several=len(analysis.arrhenius) > 1)
    if analysis.expansion is not None:
        from superionic.report.words import with_error

        expansion = with_error(analysis.expansion.linear_per_K, analysis.expansion.linear_error_per_K, "K⁻¹")
        console.print(f"linear thermal expansion {expansion}")
        for flag in analysis.expansion.flags:
            console.print(f"[yellow]caution:[/yellow] {escape(flag)}")


def _show_estimates(console: Console, transport: TransportAnalysis | PooledTransport) -> None:
    from superionic.report.words import number, with_error

    table = Table("", "value", "68 %", "95 %", box=None, pad_edge=False)
    for estimate, name, unit in (
        (transport.tracer_diffusivity_cm2_per_s, "D* of the ions", "cm²/s"),
        (transport.charge_diffusivity_cm2_per_s, "D_σ of charge", "cm²/s"),
        (transport.haven_ratio, "Haven ratio", ""),
        (transport.nernst_einstein_conductivity_S_per_cm, "σ from D*", "S/cm"),
        (transport.ionic_conductivity_S_per_cm, "σ from D_σ", "S/cm"),
    ):
        if estimate is None:
            continue
        value = with_error(None if estimate.is_unknown else estimate.value, estimate.error, unit)
        if estimate.is_upper_bound and unit and not estimate.is_unknown:
            value = f"below {number(estimate.interval95[1], 2)} {unit}"
        table.add_row(name, value, _interval(estimate.interval68), _interval(estimate.interval95))
    console.print(table)


def _interval(ends: tuple[float, float]) -> str:
    from superionic.report.words import interval

    low, high = (end if math.isfinite(end) else None for end in ends)
    return interval(low, high)


def _show_cell(console: Console, run: RunAnalysis) -> None:
    from superionic.report.words import with_error

    if run.refined is not None:
        console.print(f"simulated cell minus the refined one: {run.refined.words}")
    volume = None if run.mean_cell is None else run.mean_cell.volume_per_atom_A3
    if run.mean_cell is None or volume is None:
        return
    volume_text = with_error(volume.value, volume.error, "Å³/atom")
    console.print(f"mean volume {volume_text} (first {run.mean_cell.discarded_ps:.3g} ps left out)")
    for item in run.comparisons:
        value = item.published
        console.print(
            f"  {item.difference:+.2f} % from the {value.kind} {value.value:g} Å³/atom at {value.temperature_K:g} K "
            f"({value.source.split(',')[0]} et al.)"
        )


def _show_migration(console: Console, migration: MigrationSummary) -> None:
    from superionic.report.words import number, with_error

    refined = migration.crystal is not None
    table = Table("site", "number", "occupancy", box=None, pad_edge=False)
    for name in [*(["in the crystal"] if refined else []), "mean stay, ps", "68 %", "median, ps", "shape"]:
        table.add_column(name)
    for kind in migration.site_kinds[:_MOST_ROWS]:
        more = [number(kind.refined_occupancy)] if refined else []
        stay = [number(kind.residence.mean_ps), _interval(kind.residence.interval68_ps)]
        median, shape = (None, None) if kind.stays is None else (kind.stays.median_ps, kind.stays.shape)
        stay += [number(median), number(shape, 2)]
        table.add_row(kind.label, str(kind.n_sites), number(kind.occupancy), *more, *stay)
    console.print(table)
    if len(migration.site_kinds) > _MOST_ROWS:
        console.print(f"and {len(migration.site_kinds) - _MOST_ROWS} more kinds of sites (--json has all)")
    axes = ", ".join(migration.connected_axes)
    spanned = f"connect the crystal along {axes}" if axes else "do not connect the crystal"
    console.print(f"{migration.n_jumps:,} jumps between sites {spanned}")
    concerted = migration.concerted
    if concerted is not None:
        ratio = concerted.ratio
        times = "" if ratio is None else f": {with_error(ratio, concerted.ratio_error)} times as many"
        console.print(
            f"{100.0 * concerted.fraction:.1f} % of them have a partner within {concerted.window_ps:g} ps and "
            f"{concerted.distance_A:g} Å; {100.0 * concerted.by_chance:.1f} % would by chance{times}"
        )
    if migration.percolation is not None:
        barriers = [
            f"{axis} {f'{barrier:.2g} eV' if math.isfinite(barrier) else 'not spanned'}"
            for axis, barrier in zip("abc", migration.percolation.barriers_eV, strict=True)
        ]
        console.print(f"barriers from the density: {', '.join(barriers)}")


def _show_observables(console: Console, observables: Observables) -> None:
    from superionic.report.words import interval, number, with_error

    vibrations = observables.vibrations
    if vibrations is not None and vibrations.attempt_frequency_THz is not None:
        attempt = with_error(vibrations.attempt_frequency_THz, vibrations.attempt_frequency_error_THz)
        mean = with_error(vibrations.mean_frequency_THz, vibrations.mean_frequency_error_THz)
        console.print(
            f"attempt frequency {attempt} THz, vibration amplitude {number(vibrations.amplitude_A, 3)} Å (as GEMDAT "
            f"defines them); mean frequency of the velocities {mean} THz"
        )
    for rotation in observables.rotations:
        low, high = rotation.interval95_ps
        time = "no rotation time"
        if rotation.rotation_time_ps is not None:
            time = f"rotation time {number(rotation.rotation_time_ps)} ps (95 %: {interval(low, high)})"
        elif low > 0.0:
            time = f"rotation time above {number(low, 2)} ps (95 %)"
        turned = f"{100.0 * rotation.fraction_turned:.0f} % turned during the run"
        console.print(f"{rotation.n_groups} {rotation.group}: {turned}, {time}")
    shells = [pair for pair in observables.pairs if pair.coordination_number is not None]
    if shells:
        table = Table("pair", "first peak, Å", "shell ends, Å", "neighbours", box=None, pad_edge=False)
        for pair in shells[:_MOST_ROWS]:
            name = f"{pair.centre}–{pair.neighbour}" + (f" on {pair.site}" if pair.site is not None else "")
            neighbours = with_error(pair.coordination_number, pair.coordination_error)
            table.add_row(escape(name), number(pair.first_peak_A), number(pair.first_minimum_A), neighbours)
        console.print(table)
        if len(shells) > _MOST_ROWS:
            console.print(f"and {len(shells) - _MOST_ROWS} more pairs (--json has all)")
    for flag in observables.flags:
        console.print(f"[yellow]caution (observables):[/yellow] {escape(flag)}")


def _show_dependence(console: Console, series: SeriesOfRuns, *, several: bool) -> None:
    from superionic.report.words import number, with_error

    dependence = series.dependence
    if several and series.material is not None:
        console.print(f"[bold]{escape(series.label)}[/bold]")
    if dependence.Ea_eV is not None:
        energy = with_error(dependence.Ea_eV, dependence.Ea_error_eV, "eV")
        console.print(f"[bold]activation energy[/bold] {energy}, of ln(σT)")
        if dependence.directions is not None and dependence.directions.lines:
            console.print(f"by direction: {escape(dependence.directions.words)}")
        if dependence.vogel is not None and dependence.vogel.significant:
            console.print(f"curved; by a Vogel-Tammann-Fulcher law (σT): {escape(dependence.vogel.words)}")
    for temperature in dependence.report_temperatures_K:
        value = dependence.conductivity_at(temperature)
        if value is None:
            console.print(f"σ({temperature:g} K) cannot be stated")
            continue
        beyond = " [yellow](extrapolated)[/yellow]" if value.extrapolated else ""
        if value.origin == "directions":
            beyond += " summed over the directions"
        low, high = value.interval68_S_per_cm
        ends = _interval((1000.0 * low, 1000.0 * high))
        console.print(f"σ({temperature:g} K) = {number(1000.0 * value.value_S_per_cm)} mS/cm (68 %: {ends}){beyond}")
    for doubt in dependence.doubts:
        console.print(f"[yellow]{doubt.severity}:[/yellow] {escape(doubt.words)}")
    for flag in dependence.flags:
        if not any(flag in doubt.words for doubt in dependence.doubts):  # a doubt that repeats it says more
            console.print(f"[yellow]caution:[/yellow] {escape(flag)}")


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module to the command line."""
    app.command("analyse")(analyse_command)
