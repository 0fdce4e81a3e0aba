"""Writing the report: one page, results.json, tables and figures, in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.contents import report_sections
from superionic.report.csv_tables import csv_text
from superionic.report.density_files import density_files
from superionic.report.draw_matplotlib import draw, drawn_from
from superionic.report.folder import ReportFolder, report_folder
from superionic.report.html import page
from superionic.report.plots import Plot
from superionic.report.section import Section
from superionic.report.sections.paths import drawn_densities
from superionic.results.campaign import Results
from superionic.results.document import to_json

FIGURE_FORMATS: Final = ("png", "svg", "pdf")


@dataclass(frozen=True)
class ReportFiles:
    """The files of a report.

    Attributes
    ----------
    html
        The page, which opens without a network and without the other files.
    json
        The results with all digits.
    csv
        The tables, by name.
    figures
        The figures, in the order of the page, each in all formats.
    """

    html: Path
    json: Path
    csv: Mapping[str, Path]
    figures: tuple[Path, ...]


def write_report(
    results: Results,
    folder: Path | str,
    *,
    grids: Mapping[str, NDArray[np.floating]] | None = None,
    formats: Sequence[str] = ("png", "svg"),
    further: Callable[[Path], object] | None = None,
) -> ReportFiles:
    """Write the report of a campaign.

    The same results and grids give the same bytes. Each file is written completely or not at all; a figure is drawn
    only if its data or the drawing code has changed; files of an earlier report that this one lacks are removed.

    Parameters
    ----------
    folder
        Where to write; created if missing.
    grids
        The density grids named in the results, (n1, n2, n3) in 1/Å³, by name.
    formats
        Formats of the figures: "png", "svg", "pdf".
    further
        Writes further files, such as structures, into the folder that it is called with.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    ValueError
        If a format of figures is unknown.
    """
    check_formats(formats)
    with report_folder(folder) as target:
        json_path = target.write("results.json", to_json(results).encode())
        if further is not None:
            with target.aside() as staging:
                further(staging)
        for path, density, grid in drawn_densities(results, grids or {}):
            for file, data in density_files(path, density, grid):
                target.write(file, data)
        sections = report_sections(results, grids or {}, target.names)
        csv, figures = write_tables_and_figures(target, sections, formats, tables="tables/")
        content = page(
            kind="superionic report",
            title=results.title,
            version=results.superionic,
            sections=sections,
            formats=formats,
        )
        html_path = target.write("report.html", content.encode())
    return ReportFiles(html_path, json_path, csv, figures)


def check_formats(formats: Sequence[str]) -> None:
    """Refuse unknown formats of figures."""
    unknown = [kind for kind in formats if kind not in FIGURE_FORMATS]
    if unknown:
        raise ValueError(f"unknown format of figures: {unknown[0]!r}; known are {', '.join(FIGURE_FORMATS)}")


def write_tables_and_figures(
    folder: ReportFolder, sections: Sequence[Section], formats: Sequence[str], *, tables: str
) -> tuple[dict[str, Path], tuple[Path, ...]]:
    """Write the CSV tables of sections, by name, and their figures.

    Parameters
    ----------
    sections
        Sections with the tables and figures.
    tables
        Path of the tables within the folder: empty, or ending with ``/``.
    """
    csv = {
        table.name: folder.write(tables + table.name, csv_text(table).encode())
        for section in sections
        for table in section.csv
    }
    figures = [path for section in sections for plot in section.plots for path in _figures(folder, plot, formats)]
    return csv, tuple(figures)


def _figures(folder: ReportFolder, plot: Plot, formats: Sequence[str]) -> list[Path]:
    """Write one figure in all formats; files drawn earlier from the same data are kept."""
    source = drawn_from(plot)
    names = {kind: f"figures/{plot.key}.{kind}" for kind in formats}
    paths = {kind: folder.keep(name, drawn_from=source) for kind, name in names.items()}
    # The formats are drawn together, since the first determines the layout for all.
    if None in paths.values():
        paths |= {
            kind: folder.write(names[kind], data, drawn_from=source)
            for kind, data in draw(plot, tuple(formats)).items()
        }
    return [path for path in paths.values() if path is not None]
