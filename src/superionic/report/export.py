"""Writing the report: one page, results.json, tables and figures, in a folder."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from superionic.errors import StorageError
from superionic.report.csv_tables import csv_tables
from superionic.report.draw_matplotlib import draw
from superionic.report.figures import all_plots
from superionic.report.html import page
from superionic.report.values import Results

FIGURE_FORMATS: Final = ("png", "svg", "pdf")
_OUR_FIGURES: Final = re.compile(
    r"(ewald_histogram|ranking|hull|polymorphs|learning_curve|parity|volumes|msd|anisotropy|arrhenius|"
    r"conductivity_and_activation_energy|composition_trends|density_[A-Za-z0-9_-]+)\.(png|svg|pdf)"
)


@dataclass(frozen=True)
class ReportFiles:
    """The files of a report.

    Attributes
    ----------
    html
        The page; it opens without a network and without the other files.
    json
        The results, all digits.
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
    results: Mapping[str, Any],
    folder: Path | str,
    *,
    arrays: Mapping[str, NDArray[Any]] | None = None,
    formats: Sequence[str] = ("png", "svg"),
) -> ReportFiles:
    """Write the report of a campaign.

    The same results and arrays make the same bytes. Each file appears whole or not at all; figures of an earlier report
    in the same folder that this one does not have are removed.

    Parameters
    ----------
    results
        What ``results.json`` is to hold: values of JSON, numpy numbers and arrays. Any stage may be missing or empty.
        Numbers that are not finite are written as null.
    folder
        Where to write; made if missing.
    arrays
        The density grids that the results name, (n1, n2, n3) in 1/Å³, by their key.
    formats
        Formats of the figures: "png", "svg", "pdf".

    Returns
    -------
    ReportFiles

    Raises
    ------
    StorageError
        The folder cannot be written.
    TypeError
        The results hold something that is not data.
    ValueError
        A format of figures is unknown.
    """
    unknown = [kind for kind in formats if kind not in FIGURE_FORMATS]
    if unknown:
        raise ValueError(f"unknown format of figures: {unknown[0]!r}; known are {', '.join(FIGURE_FORMATS)}")
    grids = dict(arrays or {})
    view = Results(results)
    plots = all_plots(view, grids)
    tables = csv_tables(view)
    html = page(view, plots, grids, formats=formats, csv_names=tuple(tables))
    target = Path(folder)
    written = json.dumps(view.raw, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    try:
        (target / "figures").mkdir(parents=True, exist_ok=True)
        (target / "tables").mkdir(exist_ok=True)
        json_path = _write(target / "results.json", written.encode())
        csv_paths = {name: _write(target / "tables" / name, content.encode()) for name, content in tables.items()}
        figures = []
        for plot in plots:
            for kind, data in draw(plot, tuple(formats)).items():
                figures.append(_write(target / "figures" / f"{plot.key}.{kind}", data))
        html_path = _write(target / "report.html", html.encode())
        _remove_stale(target / "figures", {path.name for path in figures})
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(
            f"The report cannot be written: {error.strerror or error}",
            where=str(error.filename or target),
            fix="free some disk space" if full else "choose a folder that you may write to",
        ) from error
    return ReportFiles(html_path, json_path, csv_paths, tuple(figures))


def _write(path: Path, data: bytes) -> Path:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _remove_stale(folder: Path, current: set[str]) -> None:
    for path in sorted(folder.iterdir()):
        if path.name not in current and _OUR_FIGURES.fullmatch(path.name):
            path.unlink()
