"""The page, tables and figures of a stand-alone analysis: one HTML file that opens without a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.csv_tables import CsvCell, CsvTable
from superionic.report.density_files import density_files, written_files
from superionic.report.export import ReportFiles, check_formats, write_tables_and_figures
from superionic.report.folder import report_folder
from superionic.report.html import page
from superionic.report.runs import FILE_COLUMNS, NamedDependence, NamedRuns, runs_of_files
from superionic.report.section import Block, Line, Lines, Links, Paragraph, Section, Statements
from superionic.report.sections import conductivity, diffusion, observables, paths
from superionic.report.sections.analysed_volumes import volumes
from superionic.report.sections.paths_figures import NamedGrid
from superionic.report.sections.summary import energy_line, trust_line
from superionic.report.sigma import sigma_detail, sigma_words
from superionic.report.table import Table, table_of
from superionic.report.words import UNKNOWN, formula_text, interval, number, plural, sentence, some, with_error
from superionic.results.analysis import Analysis, PooledTransport
from superionic.results.campaign import Statement
from superionic.trajectories.analysis import RunAnalysis
from superionic.transport.analysis import TransportAnalysis
from superionic.transport.conductivity.posterior import TransportSamples
from superionic.transport.estimate import Estimate
from superionic.transport.sites.jumps import SiteOccupation

_MOST_NOTICES: Final = 50


def grid_name(index: int) -> str:
    """Return the name of a run's density and of its files, from the run's index."""
    return f"density_{index:03d}"


def write_analysis(
    analysis: Analysis,
    folder: Path | str,
    *,
    grids: Mapping[str, NDArray[np.float64]] | None = None,
    jumps: CsvTable | None = None,
    samples: Sequence[TransportSamples] = (),
    formats: Sequence[str] = ("png", "svg"),
) -> ReportFiles:
    """Write ``result.json``, ``analysis.html``, CSV tables, figures and densities (cube, CHGCAR) of an analysis.

    Parameters
    ----------
    folder
        Where to write; created if missing. Files of an earlier analysis are overwritten or removed.
    grids
        Densities (a, b, c) in Å⁻³, ∫P = 1, by :func:`grid_name`.
    jumps
        Table of all jumps (:func:`jumps_csv`).
    samples
        Draws of the results, for ``samples.csv`` and ``samples.npz``, numbered if there are several.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    check_formats(formats)
    grids = grids or {}
    with report_folder(folder) as target:
        json_path = target.write("result.json", analysis.to_json().encode())
        for index, run in enumerate(analysis.runs):
            name = grid_name(index)
            if run.density is not None and name in grids:
                for file, data in density_files(name, run.density, grids[name]):
                    target.write(file, data)
        for index, drawn in enumerate(samples):
            stem = "samples" if len(samples) == 1 else f"samples_{index:03d}"
            target.write(f"{stem}.csv", drawn.to_csv().encode())
            target.write(f"{stem}.npz", drawn.to_npz())
        sections = analysis_sections(analysis, grids, jumps=jumps, files=target.names)
        csv, figures = write_tables_and_figures(target, sections, formats, tables="")
        content = page(
            kind="superionic analysis",
            title=_title(analysis),
            version=analysis.superionic,
            sections=sections,
            formats=formats,
            tables="",
        )
        html_path = target.write("analysis.html", content.encode())
    return ReportFiles(html_path, json_path, csv, figures)


def analysis_sections(
    analysis: Analysis,
    grids: Mapping[str, NDArray[np.float64]],
    *,
    jumps: CsvTable | None = None,
    files: Sequence[str] = (),
) -> tuple[Section, ...]:
    """Return the sections of the page of an analysis, starting with the summary.

    Parameters
    ----------
    analysis, grids, jumps
        See :func:`write_analysis`.
    files
        Paths, relative to the page, of further files beside tables and figures.
    """
    runs = runs_of_files(analysis, [run.transport for run in analysis.runs])
    sections = (
        _summary(analysis),
        diffusion.diffusion(runs),
        conductivity.conductivity(("formula",), _dependences(analysis), runs),
        volumes(analysis),
        _paths(analysis, grids, jumps, files),
        _observables(analysis),
        _reading(analysis, files),
    )
    return tuple(section for section in sections if section.blocks)


def jumps_csv(runs: Iterable[tuple[str, SiteOccupation, NDArray[np.int64]]]) -> CsvTable:
    """Return a table of all jumps: run, atom (its index in the file, from 0), time, sites, labels, vector.

    Parameters
    ----------
    runs
        Name, jumps, and (n_ions,) indices of the mobile ions of each run.
    """
    head = ("run", "atom", "left_ps", "arrived_ps", "from_site", "to_site", "from", "to", "x_A", "y_A", "z_A")
    return CsvTable(
        "jumps.csv", head, tuple(row for name, jumped, atoms in runs for row in _jumps(name, jumped, atoms))
    )


def _jumps(name: str, jumped: SiteOccupation, atoms: NDArray[np.int64]) -> Iterator[tuple[CsvCell, ...]]:
    labels, interval_ps = jumped.sites.labels, jumped.frame_interval_ps
    columns = (jumped.ion, jumped.left_frame, jumped.arrival_frame, jumped.start, jumped.end, jumped.vectors_A)
    for ion, left, arrived, start, end, vector in zip(*columns, strict=True):
        times = f"{left * interval_ps:.10g}", f"{arrived * interval_ps:.10g}"
        sites = int(start), int(end), labels[start], labels[end]
        yield (name, int(atoms[ion]), *times, *sites, *(f"{x:.4f}" for x in vector))


def _title(analysis: Analysis) -> str:
    runs = analysis.runs
    return runs[0].name if len(runs) == 1 else f"{runs[0].formula}: {len(runs)} runs"


def _dependences(analysis: Analysis) -> list[NamedDependence]:
    return [
        NamedDependence(
            formula_text(series.formula) if series.material is None else series.label,
            (series.label,),
            series.dependence,
        )
        for series in analysis.arrhenius
    ]


def statements(analysis: Analysis) -> list[Statement]:
    """Return what a reader must know about an analysis, the most serious first."""
    of_runs: dict[str, list[str]] = {}
    for run in analysis.runs:
        for flag in run.flags:
            of_runs.setdefault(flag, []).append(run.name)
    several = len(analysis.runs) > 1
    doubts = list(conductivity.statements_of(_dependences(analysis)))
    doubts += [
        Statement("caution", f"{some(names)}: {sentence(flag)}" if several else sentence(flag))
        for flag, names in of_runs.items()
    ]
    if analysis.expansion is not None:
        doubts += [Statement("caution", sentence(flag)) for flag in analysis.expansion.flags]
    return sorted(doubts, key=lambda statement: ("warning", "caution", "info").index(statement.severity))


def _summary(analysis: Analysis) -> Section:
    caveats = statements(analysis)
    blocks: list[Block] = [Lines((*_lines(analysis), *trust_line(caveats)))]
    single = _single(analysis)
    if single is not None:
        caption = "Averages over the replicas; their scatter is in the errors." if analysis.pooled else "All estimates."
        blocks.append(_estimates(caption, single))
    if caveats:
        blocks.append(Statements("How far to trust these numbers", tuple(caveats)))
    else:
        blocks.append(Paragraph("No reservations about these numbers."))
    return Section("summary", "Results", blocks)


def _lines(analysis: Analysis) -> list[Line]:
    """Return the lines of the summary, at most four."""
    lines: list[Line] = []
    for series in analysis.arrhenius[:2]:
        dependence = series.dependence
        name = f" · {series.label}" if series.material is not None else ""
        headline, verdict = dependence.headline, dependence.verdict
        if headline is None:
            lines.append(Line(f"No σ({dependence.report_temperatures_K[0]:g} K)", verdict.words + name, "warning"))
        else:
            span = None if dependence.line is None else dependence.line.temperature_range_K
            lines.append(Line(sigma_words(headline), sigma_detail(headline, span) + name, verdict.severity))
        lines += energy_line(dependence)
    if lines:
        return lines[:4]
    single = _single(analysis)
    if single is None:
        return [
            Line(f"{plural(len(analysis.runs), 'run')} at several temperatures", "no activation energy was requested")
        ]
    temperature = analysis.runs[0].transport.temperature_K
    at = "" if temperature is None else f"({temperature:g} K)"
    quantities = (
        (f"D*{at}", single.tracer_diffusivity_cm2_per_s, "cm²/s", "tracer diffusivity"),
        (f"σ{at}", single.nernst_einstein_conductivity_S_per_cm, "S/cm", "Nernst–Einstein, from D*"),
        ("Haven ratio", single.haven_ratio, "", "D*/D_σ"),
    )
    return [_line(name, value, unit, what) for name, value, unit, what in quantities if value is not None]


def _single(analysis: Analysis) -> TransportAnalysis | PooledTransport | None:
    return analysis.runs[0].transport if len(analysis.runs) == 1 else analysis.pooled


def _line(name: str, estimate: Estimate, unit: str, what: str) -> Line:
    words = f"{name} = {with_error(None if estimate.is_unknown else estimate.value, estimate.error, unit)}"
    if estimate.is_upper_bound and unit and not estimate.is_unknown:
        words = f"{name} < {number(estimate.interval95[1], 2)} {unit}"
    ends = f"68 %: {interval(*estimate.interval68)} · 95 %: {interval(*estimate.interval95)}"
    return Line(words, f"{ends} · {what}", "caution" if estimate.is_upper_bound else "info")


def _estimates(caption: str, transport: TransportAnalysis | PooledTransport) -> Table:
    quantities = (
        ("Tracer diffusivity D*", transport.tracer_diffusivity_cm2_per_s, "cm²/s"),
        ("Charge diffusivity D_σ", transport.charge_diffusivity_cm2_per_s, "cm²/s"),
        ("Haven ratio D*/D_σ", transport.haven_ratio, ""),
        ("Conductivity (Nernst–Einstein, from D*)", transport.nernst_einstein_conductivity_S_per_cm, "S/cm"),
        ("Ionic conductivity (from D_σ)", transport.ionic_conductivity_S_per_cm, "S/cm"),
    )
    rows = [
        [
            name,
            f"below {number(estimate.interval95[1], 2)} (95 %)"
            if estimate.is_upper_bound and unit and not estimate.is_unknown
            else with_error(None if estimate.is_unknown else estimate.value, estimate.error),
            unit or UNKNOWN,
            interval(*estimate.interval68),
            interval(*estimate.interval95),
        ]
        for name, estimate, unit in quantities
        if estimate is not None
    ]
    return Table(caption, ["Quantity", "Value", "Unit", "68 % interval", "95 % interval"], rows, frozenset({1, 3, 4}))


def _paths(
    analysis: Analysis, grids: Mapping[str, NDArray[np.float64]], jumps: CsvTable | None, files: Sequence[str]
) -> Section:
    named = runs_of_files(analysis, list(enumerate(analysis.runs)))
    maps = [
        (
            name,
            NamedGrid(
                run.density,
                grids[grid_name(index)],
                written_files(grid_name(index), files),
            ),
        )
        for name, (index, run) in named.items
        if run.density is not None and grid_name(index) in grids
    ]
    migration = [(name, run.migration) for name, (_, run) in named.items if run.migration is not None]
    flags = [(name, run.migration_flags) for name, (_, run) in named.items if run.migration_flags]
    ion = ", ".join(analysis.runs[0].mobile)
    section = paths.paths(ion, NamedRuns(FILE_COLUMNS, tuple(maps)), NamedRuns(FILE_COLUMNS, tuple(migration)), flags)
    return Section(section.key, section.title, section.blocks, [*section.csv, *([jumps] if jumps is not None else [])])


def _observables(analysis: Analysis) -> Section:
    named = runs_of_files(analysis, [run.observables for run in analysis.runs])
    requested = tuple((name, each) for name, each in named.items if each is not None)
    return observables.observables(NamedRuns(FILE_COLUMNS, requested))


def _reading(analysis: Analysis, files: Sequence[str]) -> Section:
    def charges_of(run: RunAnalysis) -> str:
        charges = ", ".join(f"{element} {charge:+g}" for element, charge in run.charges.items()) or UNKNOWN
        return charges + (f" ({run.charges_note})" if run.charges_note else "")

    table = table_of(
        "What was read, and what was assumed.",
        analysis.runs,
        [
            ("Run", lambda run: run.name),
            ("Composition", lambda run: formula_text(run.formula)),
            ("Frames", lambda run: f"{run.n_frames} of {number(run.frame_interval_ps)} ps"),
            ("Length, ps", lambda run: number(run.transport.duration_ps)),
            ("Mobile", lambda run: ", ".join(run.mobile)),
            ("Drift removed by", lambda run: f"{run.drift} ({', '.join(run.framework) or 'no framework'})"),
            ("Charges", charges_of),
            ("Longest step between frames, Å", lambda run: number(run.largest_displacement_A, 2)),
            ("Missing frames", lambda run: f"{run.n_filled_frames} filled, {run.n_left_out_frames} left out"),
        ],
        numeric=(3, 7),
    )
    blocks: list[Block] = [table]
    notices = [Statement("caution", sentence(str(notice))) for run in analysis.runs for notice in run.notices]
    if notices:
        blocks.append(Statements("What could not be read or was left out", tuple(notices[:_MOST_NOTICES])))
        if len(notices) > _MOST_NOTICES:
            blocks.append(Paragraph(f"result.json has {len(notices) - _MOST_NOTICES} more.", "quiet"))
    else:
        blocks.append(Paragraph("All files were read completely."))
    if files:
        blocks += [
            Paragraph("Files with all digits of all numbers, and with the densities:", "quiet"),
            Links(tuple(files)),
        ]
    return Section("reading", "What was read, and how", blocks)
